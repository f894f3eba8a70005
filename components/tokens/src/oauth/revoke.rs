//! `POST /oauth/revoke` (RFC 7009): a client gives back what it was given. Each token of a grant ends all of it.

use common::{
    error::{ApiError, Code},
    route::Route,
    secret::{Kind, RefreshToken, Secret},
};
use http::StatusCode;
use serde_json::{Value::Null, json};
use service::{
    app::App,
    caller::Caller,
    change,
    extract::UrlEncoded,
    idempotency::with_closure,
    response::{Response, empty},
};
use store::{
    audit::Event,
    credential,
    db::Purpose,
    epoch,
    oauth_grant::{self, Grant},
    signed_token,
};

use super::{
    clients,
    form::{Parameters, as_oauth},
};

/// The handler.
pub(crate) async fn revoke(
    app: App,
    route: &'static Route,
    UrlEncoded(form): UrlEncoded,
) -> Result<Response, ApiError> {
    try_revoke(&app, route, &Parameters(form)).await.map_err(as_oauth)
}

async fn try_revoke(app: &App, route: &Route, form: &Parameters) -> Result<Response, ApiError> {
    let client = match clients::authenticate(app, form).await {
        Ok(client) => client,
        Err(refusal) => return end_of_device(app, route, form, refusal).await,
    };
    let Some(grant) = find(app, form.get("token")?).await? else { return Ok(empty(StatusCode::OK)) };
    if grant.client_id != client {
        return Err(Code::UnauthorizedClient.into());
    }
    let tx = app.db().begin(Purpose::Revoking).await?;
    let since = epoch::last(&tx, &grant.tenant).await?;
    if !oauth_grant::end(&tx, grant.id.as_str(), app.now()).await? {
        return Ok(empty(StatusCode::OK));
    }
    let before = json!({ "name": grant.client_name, "client_id": grant.client_id, "scope": grant.scope });
    let event = Event { action: route.audit.unwrap_or_default(), object: grant.id.as_str(), before, after: Null };
    let whose = (since, grant.user.as_str());
    let closure = change::audit_closing(&tx, &app.origin(&grant.tenant, None), whose, event).await?;
    tx.commit().await?;
    let id = closure.as_ref().map(|closure| closure.id.as_str());
    Ok(with_closure(empty(StatusCode::OK), id))
}

/// Ends the token of a person that a program has which is no registered client, such as one that a device got: the program says what it is
/// (section 2.1), and whoever holds a token may end it, as with `DELETE /auth/tokens/me`. Anything else is refused as it was.
async fn end_of_device(app: &App, route: &Route, form: &Parameters, refusal: ApiError) -> Result<Response, ApiError> {
    let secret = Secret::parse(form.get("token")?).filter(|secret| secret.kind() == Kind::Pat);
    let Some(secret) = secret.filter(|_| refusal.code() == Code::InvalidClient) else { return Err(refusal) };
    if !clients::is_unregistered(app, form).await? {
        return Err(refusal);
    }
    let Some(found) = Caller::find_by_secret(app.db(), secret, app.now()).await? else {
        return Ok(empty(StatusCode::OK));
    };
    let id = found.credential_id();
    if oauth_grant::of_credential(app.db(), id, app.now()).await?.is_some() {
        return Err(refusal);
    }
    let tx = app.db().begin(Purpose::Revoking).await?;
    let since = epoch::last(&tx, found.tenant_id()).await?;
    if credential::revoke_with_former(&tx, id, app.now()).await?.is_empty() {
        return Ok(empty(StatusCode::OK));
    }
    let before = json!({ "kind": found.credential_kind(), "user_id": found.user_id() });
    let event = Event { action: route.audit.unwrap_or_default(), object: id.as_str(), before, after: Null };
    let origin = app.origin(found.tenant_id(), Some(found.user_id()));
    let closure = change::audit_closing(&tx, &origin, (since, found.user_id().as_str()), event).await?;
    tx.commit().await?;
    Ok(with_closure(empty(StatusCode::OK), closure.as_ref().map(|closure| closure.id.as_str())))
}

/// The grant that a token is of. `None`: the token is unknown, which is no error (section 2.2).
async fn find(app: &App, token: &str) -> Result<Option<Grant>, ApiError> {
    if let Some(token) = RefreshToken::parse(token) {
        return Ok(oauth_grant::of_family(app.db(), &token, app.now()).await?);
    }
    let record = match Secret::parse(token) {
        Some(secret) => credential::find(app.db(), &secret.digest(), app.now()).await?.map(|known| known.id),
        // The access token of a grant for a service is a signed one.
        None => signed_token::credential_of(app.db(), token).await?,
    };
    let Some(record) = record else { return Ok(None) };
    match oauth_grant::of_credential(app.db(), &record, app.now()).await? {
        Some(grant) => Ok(Some(grant)),
        None => Err(Code::UnsupportedTokenType.into()),
    }
}
