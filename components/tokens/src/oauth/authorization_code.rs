//! The grant `authorization_code` (RFC 6749, section 4.1.3; RFC 7636, section 4.5): trades a code for what its person allowed.
//!
//! A code is spent by the first whole request that sends it, also by one that may not have it: it was seen by somebody who should not have.
//! What lacks a parameter or a proof, names another resource, or is refused for anything but the code itself, spends nothing. A code that is
//! sent again ends what it gave.

use common::{
    error::{ApiError, Code},
    id::{AppGrantId, CredentialId},
    oauth::verifies,
    scope::Patterns,
    secret::{Digest, Kind, OneTimeCode, RefreshToken, Secret},
};
use http::StatusCode;
use serde_json::{Value as Json, Value::Null, json};
use service::{
    app::App,
    mint::{self, NewCredential},
    response::{Response, uncached_json},
};
use store::{
    audit::{self, Event},
    code::{self, Granted},
    credential,
    db::{Purpose, Tx},
    oauth_document, oauth_grant,
    resource::Resource,
    user,
};

use super::{
    clients,
    form::Parameters,
    issued::{self, Issued, Service},
};

/// The grant type.
pub(crate) const GRANT: &str = "authorization_code";

fn invalid(why: &str) -> ApiError {
    Code::InvalidGrant.detail(why)
}

/// The code was not found, which may have many reasons: a stranger learns none of them.
fn unknown() -> ApiError {
    invalid("This code is unknown, has expired or was used before.")
}

/// Answers a request with this grant type.
pub(crate) async fn grant(app: &App, form: &Parameters, key: Option<&str>) -> Result<Response, ApiError> {
    let client = clients::authenticate(app, form).await?;
    let code = OneTimeCode::parse(form.get("code")?).ok_or_else(unknown)?.digest();
    let sent = Sent {
        client: &client,
        redirect_uri: form.find("redirect_uri")?,
        verifier: form.get("code_verifier")?,
        resource: issued::resource(form)?,
        key,
        is_public: clients::is_public(app, form, &client).await?,
    };
    if code::find(app.db(), code::Kind::Authorization, &code, app.now()).await?.is_none() {
        end_given(app, &code).await?;
        return Err(unknown());
    }
    let tx = app.db().begin(Purpose::Durable).await?;
    // It may have been deleted meanwhile, and with it ended all that it was given.
    clients::check_again(app, &tx, form, &client).await?;
    let Some(granted) = code::spend(&tx, code::Kind::Authorization, &code, app.now()).await? else {
        drop(tx);
        end_given(app, &code).await?;
        return Err(unknown());
    };
    match issue(app, &tx, &code, &granted, &sent).await {
        Ok(given) => {
            let answer = answer(app, &tx, &given, &sent).await?;
            tx.commit().await?;
            uncached_json(StatusCode::OK, &answer)
        }
        // The code stays spent.
        Err(refusal) if refusal.code() == Code::InvalidGrant => {
            tx.commit().await?;
            Err(refusal)
        }
        Err(refusal) => Err(refusal),
    }
}

/// What a client sends with a code.
struct Sent<'a> {
    client: &'a str,
    /// OAuth 2.1 has no use for it beside PKCE, and its clients leave it out. One that is sent is compared.
    redirect_uri: Option<&'a str>,
    verifier: &'a str,
    resource: Option<&'a str>,
    /// The thumbprint of the key that it proves.
    key: Option<&'a str>,
    is_public: bool,
}

/// What a code gave.
struct Given {
    /// The record of the access token; of a grant for a service, what its signed tokens rest on, whose secret nobody has.
    credential: CredentialId,
    secret: Secret,
    expires_in: i64,
    refresh: RefreshToken,
    scope: Patterns,
    service: Option<Resource>,
}

/// The answer, with the signed token of a grant for a service.
async fn answer(app: &App, tx: &Tx<'_>, given: &Given, sent: &Sent<'_>) -> Result<Issued, ApiError> {
    Ok(match &given.service {
        None => {
            let access = (given.secret.reveal().to_owned(), given.expires_in);
            Issued::new(access, &given.refresh, &given.scope, sent.key)
        }
        Some(service) => {
            let record = (given.credential.as_str(), sent.client);
            let (signed, scope) = issued::sign(app, Some(tx), service, record, &given.scope, sent.key).await?;
            Issued::new((signed.token, signed.expires_in), &given.refresh, &scope, sent.key)
        }
    })
}

/// Makes what a code stands for.
async fn issue(app: &App, tx: &Tx<'_>, code: &Digest, granted: &Granted, sent: &Sent<'_>) -> Result<Given, ApiError> {
    let text = |name: &str| granted.data.get(name).and_then(Json::as_str);
    if text("client_id") != Some(sent.client) {
        return Err(invalid("This code was made for another client."));
    }
    if sent.redirect_uri.is_some_and(|sent| text("redirect_uri") != Some(sent)) {
        return Err(invalid("redirect_uri is not that of the authorization request."));
    }
    // An admin may have taken it from the client meanwhile, since it leads to somebody else.
    if !clients::still_leads_to(tx, sent.client, text("redirect_uri").unwrap_or_default()).await? {
        return Err(invalid("The client no longer has the redirect URI of the authorization request."));
    }
    if !verifies(text("challenge").unwrap_or_default(), sent.verifier) {
        return Err(invalid("code_verifier is not what code_challenge was made of."));
    }
    // RFC 9449, section 10: the code is for the key that the client named when it asked.
    if text("dpop_jkt").is_some_and(|key| sent.key != Some(key)) {
        return Err(invalid("The request does not prove the key that dpop_jkt of the authorization request named."));
    }
    issued::check_resource(app, sent.resource, text("service"))?;
    let user = granted.user_id.as_ref().ok_or_else(unknown)?;
    // The codes of a deactivated account have ended with it; this is what decides all the same.
    user::login_of(tx, user).await?.filter(|login| login.is_active).ok_or_else(unknown)?;

    let service = match text("service") {
        None => None,
        Some(identifier) => Some(Service { identifier, tenant: &granted.tenant_id }.find(app).await?),
    };
    let (now, chance) = (app.now(), app.chance());
    let (id, refresh) = (AppGrantId::generate(now, chance), RefreshToken::generate(chance));
    let (name, scope) = (text("client_name").unwrap_or("app"), Patterns::stored(text("scope").unwrap_or_default()));
    let days = granted.data.get("days").and_then(Json::as_i64).unwrap_or(1);
    let ends = now.plus_seconds(days * 86_400);
    let access_ends = if service.is_some() { ends } else { now.plus_seconds(oauth_grant::ACCESS).min(ends) };
    let origin = app.origin(&granted.tenant_id, Some(user));
    let credential = CredentialId::generate(now, chance);
    let new = NewCredential {
        kind: Kind::Pat,
        id: credential.clone(),
        user,
        agent: None,
        key: None,
        name: Some(name),
        scope: &scope,
        expires_at: Some(access_ends),
        grantee: None,
    };
    let secret: Secret = mint::credential(tx, &origin, &new).await?;
    if let (Some(key), None) = (sent.key, &service) {
        credential::bind(tx, &credential, key).await?;
    }
    let new = oauth_grant::New {
        id: &id,
        tenant: &granted.tenant_id,
        user,
        client_id: sent.client,
        client_name: name,
        resource: text("service"),
        scope: &scope,
        credential: Some(&credential),
        refresh: &refresh,
        expires_at: ends,
        bound_to: sent.key.filter(|_| sent.is_public),
    };
    oauth_grant::insert(tx, &new, now).await?;
    oauth_document::keep(tx, sent.client, now.plus_seconds(oauth_document::KEYS_LIFE)).await?;
    code::set_given(tx, code, id.as_str()).await?;
    let after =
        json!({ "name": name, "client_id": sent.client, "scope": scope, "expires_at": ends, "credential": credential });
    audit::insert(tx, &origin, &Event { action: "oauth.token", object: id.as_str(), before: Null, after }).await?;
    Ok(Given { credential, secret, expires_in: now.seconds_until(access_ends), refresh, scope, service })
}

/// Ends what a code gave that is sent again, and tells its person once.
async fn end_given(app: &App, code: &Digest) -> Result<(), ApiError> {
    if !code::is_spent(app.db(), code::Kind::Authorization, code).await? {
        return Ok(());
    }
    let tx = app.db().begin(Purpose::Revoking).await?;
    let Some(spent) = code::was_spent(&tx, code::Kind::Authorization, code).await? else { return Ok(()) };
    let given = spent.data.get("given").and_then(Json::as_str);
    if let (Some(given), Some(user)) = (given, &spent.user_id)
        && let Some(grant) = oauth_grant::find(&tx, user, given, app.now()).await?
    {
        issued::end_for_replay(app, &tx, &grant, "code").await?;
    }
    Ok(tx.commit().await?)
}
