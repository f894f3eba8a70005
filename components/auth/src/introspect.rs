//! `POST /auth/introspect` (RFC 7662): a service of the company asks what a credential that it was given may do now.
//!
//! 1. The form holds `token`; all other parameters are ignored (RFC 7662, section 2.1).
//! 2. A credential that is not live now, belongs to another tenant or to a halted agent gives `{"active": false}`, and nothing more; so
//!    does a session, which is for this server alone: one that comes to a service was stolen, or its person was made to give it away.
//! 3. A signed token (RFC 9068) is told to the services alone that it is for, as long as all that it rests on is accepted: nothing of it is
//!    verified here, since it is found by its digest among those that this server signed.
//! 4. A live credential gives what a service decides by: the scopes that it can use now, of those of the resources whose service is asking
//!    and of those that the service's own credential carries; `sub`, the person whose authority it carries; `act`, the agent that acts with
//!    it (RFC 8693, section 4.1); its end.

use common::{
    error::{ApiError, Code},
    scope::Scopes,
    secret::{Kind, Secret},
};
use http::StatusCode;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value as Json;
use service::{
    app::App,
    caller::Caller,
    extract::UrlEncoded,
    response::{Response, json},
};
use store::{oauth_grant, resource, signed_token};

/// What a service is told of a credential.
#[derive(Serialize, JsonSchema)]
#[serde(untagged)]
#[schemars(rename = "Introspection")]
pub(crate) enum Told<'a> {
    Active(Active<'a>),
    Signed(Box<Signed>),
    Inactive(Inactive),
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "InactiveToken")]
pub(crate) struct Inactive {
    active: bool,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "ActiveToken")]
pub(crate) struct Active<'a> {
    active: bool,
    scope: String,
    token_type: &'static str,
    sub: &'a str,
    /// The agent that acts with the person's authority.
    #[serde(skip_serializing_if = "Option::is_none")]
    act: Option<Actor<'a>>,
    /// The kind of credential: a member of our own.
    kind: Kind,
    /// The app that a person let in, whose access token it is (RFC 7662, section 2.2).
    #[serde(skip_serializing_if = "Option::is_none")]
    client_id: Option<String>,
    /// The key that the sender must prove.
    #[serde(skip_serializing_if = "Option::is_none")]
    cnf: Option<Confirmation>,
    /// Seconds since 1970-01-01T00:00:00Z, as RFC 7662 has them.
    iat: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    exp: Option<i64>,
}

/// A signed token, with its claims as they are now.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "ActiveSignedToken")]
pub(crate) struct Signed {
    active: bool,
    /// What it carries, of what its subject can use now and the service takes now.
    scope: String,
    token_type: &'static str,
    /// The agent, or else the person, whose authority it carries.
    sub: String,
    /// The services that act, the last one outside.
    #[serde(skip_serializing_if = "Option::is_none")]
    act: Option<Json>,
    client_id: String,
    /// The key that the sender must prove.
    #[serde(skip_serializing_if = "Option::is_none")]
    cnf: Option<Confirmation>,
    /// The identifier of the service that it is for.
    aud: String,
    jti: String,
    iat: i64,
    exp: i64,
}

/// The key that a token is bound to (RFC 9449, section 6.2).
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Confirmation")]
pub(crate) struct Confirmation {
    /// The thumbprint of the key (RFC 7638).
    jkt: String,
}

impl Confirmation {
    fn of(key: Option<&str>) -> Option<Self> {
        key.map(|key| Self { jkt: key.to_owned() })
    }
}

/// The type of a token: one that is bound to a key is worth nothing without a proof of that key.
const fn token_type(cnf: Option<&Confirmation>) -> &'static str {
    if cnf.is_some() { "DPoP" } else { "Bearer" }
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "ActingAgent")]
pub(crate) struct Actor<'a> {
    sub: &'a str,
    name: &'a str,
}

/// The handler.
pub(crate) async fn introspect(app: App, caller: Caller, UrlEncoded(form): UrlEncoded) -> Result<Response, ApiError> {
    let mut tokens = form.iter().filter(|(name, _)| name == "token");
    let (Some((_, token)), None) = (tokens.next(), tokens.next()) else {
        let detail = "The form must contain the parameter token exactly once.";
        return Err(Code::InvalidRequest.with("field", "token").detail(detail).extra("error_description", detail));
    };
    let token = token.trim();
    let found = match Secret::parse(token) {
        Some(secret) => Caller::find_by_secret(app.db(), secret, app.now()).await?,
        None => return introspect_signed(&app, &caller, token).await,
    };
    let is_told = |found: &Caller| {
        found.tenant_id() == caller.tenant_id() && found.credential_kind() != Kind::Session && found.is_accepted()
    };
    let Some(found) = found.filter(is_told) else { return inactive() };
    let grant = match found.credential_kind() {
        Kind::Pat => oauth_grant::of_credential(app.db(), found.credential_id(), app.now()).await?,
        _ => None,
    };
    let own = resource::scopes_of_service(app.db(), caller.tenant_id(), caller.subject().id()).await?;
    let own = Scopes::stored(&own, caller.custom_scopes()).or(caller.scopes());
    let scopes = found.scopes().and(&own);
    let cnf = Confirmation::of(found.bound_to());
    let form = Active {
        active: true,
        scope: scopes.all_names().join(" "),
        token_type: token_type(cnf.as_ref()),
        sub: found.user_id().as_str(),
        act: found.agent_id().zip(found.agent()).map(|(id, (name, _))| Actor { sub: id.as_str(), name }),
        kind: found.credential_kind(),
        client_id: grant.map(|grant| grant.client_id),
        cnf,
        iat: found.issued_at().millis().div_euclid(1000),
        exp: found.expires_at().map(|end| end.millis().div_euclid(1000)),
    };
    json(StatusCode::OK, &Told::Active(form))
}

fn inactive() -> Result<Response, ApiError> {
    json(StatusCode::OK, &Told::Inactive(Inactive { active: false }))
}

/// The same for a signed token.
async fn introspect_signed(app: &App, caller: &Caller, token: &str) -> Result<Response, ApiError> {
    let asking = (caller.tenant_id(), caller.subject().id());
    let Some(found) = signed_token::find(app.db(), token, asking, app.now()).await? else { return inactive() };
    let subject = Caller::of_record(app.db(), &found.credential, app.now()).await?;
    let Some(subject) = subject.filter(Caller::is_accepted) else { return inactive() };
    let usable = subject.scopes();
    let is_carried = |name: &&str| usable.has_custom(name) && found.resource.scopes.iter().any(|taken| taken == name);
    let carried: Vec<&str> = found.scope.split_ascii_whitespace().filter(is_carried).collect();
    let cnf = Confirmation::of(found.bound_to.as_deref());
    let form = Signed {
        active: true,
        scope: carried.join(" "),
        token_type: token_type(cnf.as_ref()),
        sub: subject.subject().id().to_owned(),
        act: found.act.as_deref().and_then(common::json::parse),
        client_id: found.client_id,
        cnf,
        aud: found.resource.identifier,
        jti: found.id,
        iat: found.created_at.millis().div_euclid(1000),
        exp: found.expires_at.millis().div_euclid(1000),
    };
    json(StatusCode::OK, &Told::Signed(Box::new(form)))
}

#[cfg(test)]
mod tests;
