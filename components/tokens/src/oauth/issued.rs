//! What the grants of a person have in common: the answer, the resource, and the end of a grant of which something was sent twice.

use common::{
    error::{ApiError, Code},
    id::TenantId,
    route::Route,
    scope::Patterns,
    secret::RefreshToken,
    text::isolated,
    url::{self, Url},
};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Value as Json, Value::Null, json};
use service::{app::App, caller::Caller, change, credential::own_base};
use store::{
    audit::Event,
    db::{Purpose, Rows, Tx},
    epoch, notification,
    oauth_grant::{self, Grant},
    resource::{self, Resource},
};

use super::{
    form::{Parameters, token_type},
    jwt,
};

/// The answer (RFC 6749, section 5.1).
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "AppToken")]
pub(crate) struct Issued {
    access_token: String,
    token_type: &'static str,
    expires_in: i64,
    refresh_token: String,
    scope: String,
}

impl Issued {
    pub(super) fn new(
        (access_token, expires_in): (String, i64),
        refresh: &RefreshToken,
        scope: &Patterns,
        key: Option<&str>,
    ) -> Self {
        let (refresh_token, scope) = (refresh.reveal().to_owned(), scope.to_column());
        Self { access_token, token_type: token_type(key), expires_in, refresh_token, scope }
    }
}

/// A service for which a token is made.
pub(super) struct Service<'a> {
    /// Its identifier.
    pub(super) identifier: &'a str,
    /// The tenant.
    pub(super) tenant: &'a TenantId,
}

impl Service<'_> {
    /// The service, if this server signs tokens.
    pub(super) async fn find(&self, app: &App) -> Result<Resource, ApiError> {
        if app.settings().signing_keys.is_empty() {
            return Err(Code::SigningDisabled.into());
        }
        Ok(resource::identified(app.db(), self.tenant, self.identifier).await?.ok_or(Code::InvalidTarget)?)
    }
}

/// Makes a signed token for a service, which rests on the record of a grant: it ends at introspection with the grant. Its scope is what of the
/// granted one the person can use now and the service takes now. `tx` is as [`jwt::issue`] has it.
pub(super) async fn sign(
    app: &App,
    tx: Option<&Tx<'_>>,
    service: &Resource,
    (record, client): (&str, &str),
    scope: &Patterns,
    key: Option<&str>,
) -> Result<(jwt::Issued, Patterns), ApiError> {
    let ended = || Code::InvalidGrant.detail("What the person gave has ended.");
    let reads: &dyn Rows = match tx {
        Some(tx) => tx,
        None => app.db(),
    };
    let subject = Caller::of_record(reads, record, app.now()).await?.ok_or_else(ended)?;
    subject.check_live().map_err(|_| ended())?;
    let (given, can) = (scope.to_column(), subject.scopes());
    let is_carried = |name: &&str| can.has_custom(name) && service.scopes.iter().any(|taken| taken == name);
    let names: Vec<String> = given.split(' ').filter(is_carried).map(str::to_owned).collect();
    // A service that tells callers apart by scopes would let in a token without any of them, if it looked at the signature alone.
    if names.is_empty() {
        return Err(Code::InvalidScope.detail("The person can use none of the given scopes at this service now."));
    }
    let grant = jwt::Grant {
        resource: service,
        footing: None,
        scopes: &names,
        client_id: client,
        act: None,
        rests_on: &[subject.credential_id().to_string()],
        ends: None,
        key,
    };
    let issued = jwt::issue(app, tx, (&subject, &subject), grant).await?;
    Ok((issued, Patterns::stored(&names.join(" "))))
}

/// The resource that a token request names (RFC 8707): one at most.
pub(super) fn resource(form: &Parameters) -> Result<Option<&str>, ApiError> {
    form.find("resource").map_err(|_| {
        Code::InvalidTarget.detail("A request names at most one resource.").fix("Send resource once, or leave it out.")
    })
}

/// Whether what a client names is this server: its address, also with the path where it speaks MCP. Scheme and host are the same in capital
/// letters (RFC 3986, section 6.2.2.1).
pub(super) fn is_own(app: &App, resource: &str) -> bool {
    let Some(base) = own_base(app) else { return false };
    let origin = Url::parse(&base).map_or(base.len(), |url| base.len() - url.path.len());
    let (Some((own, path)), Some((named, rest))) = (base.split_at_checked(origin), resource.split_at_checked(origin))
    else {
        return false;
    };
    own.eq_ignore_ascii_case(named) && matches!(rest.strip_prefix(path), Some("" | "/" | "/mcp" | "/mcp/"))
}

/// Refuses a token request that names another resource than the person was asked about.
pub(super) fn check_resource(app: &App, sent: Option<&str>, service: Option<&str>) -> Result<(), ApiError> {
    let Some(sent) = sent else { return Ok(()) };
    let is_right = match service {
        Some(service) => url::is_same(sent, service),
        None => is_own(app, sent),
    };
    if is_right {
        Ok(())
    } else {
        Err(Code::InvalidTarget
            .detail("The person was not asked about this resource.")
            .fix("Send the resource that the authorization request named, or leave it out."))
    }
}

/// Ends a grant of which a code or a refresh token was sent twice.
pub(super) async fn end_for_replay(app: &App, tx: &Tx<'_>, grant: &Grant, what: &str) -> Result<(), ApiError> {
    let after = json!({ "name": grant.client_name, "client_id": grant.client_id, "sent_twice": what });
    let body = format!(
        "A {what} of the app {} was sent twice. Somebody may have copied it, so everything that you gave the app has ended. Let the app in again if you use it.",
        grant.client_name
    );
    end_and_tell(app, tx, grant, ("oauth.replay", after), &body).await
}

/// Ends the grant of a refresh token that somebody found in the open.
pub(crate) async fn end_leaked(app: &App, route: &Route, token: &RefreshToken) -> Result<(), ApiError> {
    let found = oauth_grant::of_family(app.db(), token, app.now()).await?.filter(|found| found.is_live);
    let Some(grant) = found else { return Ok(()) };
    let tx = app.db().begin(Purpose::Revoking).await?;
    let after =
        json!({ "kind": "refresh_token", "name": grant.client_name, "client_id": grant.client_id, "revoked": true });
    let body = format!(
        "A refresh token of the app {} was reported as leaked, so everything that you gave the app has ended. Check what it was used for.",
        isolated(&grant.client_name)
    );
    end_and_tell(app, &tx, &grant, (route.audit.unwrap_or_default(), after), &body).await?;
    Ok(tx.commit().await?)
}

/// Ends a grant that nobody asked to end, with its audit row, and tells its person. One that was ended before changes nothing.
async fn end_and_tell(
    app: &App,
    tx: &Tx<'_>,
    grant: &Grant,
    (action, after): (&'static str, Json),
    body: &str,
) -> Result<(), ApiError> {
    let since = epoch::last(tx, &grant.tenant).await?;
    if !oauth_grant::end(tx, grant.id.as_str(), app.now()).await? {
        return Ok(());
    }
    let event = Event { action, object: grant.id.as_str(), before: Null, after };
    // Its person and the admins can follow it.
    change::audit_closing(tx, &app.origin(&grant.tenant, None), (since, grant.user.as_str()), event).await?;
    let title = format!("{} was signed out", grant.client_name);
    let when = (&grant.tenant, app.chance(), app.now());
    notification::insert_own(tx, when, (&grant.user, None), (&title, body)).await?;
    Ok(())
}

#[cfg(test)]
mod tests;
