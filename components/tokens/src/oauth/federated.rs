//! `/api/agents/{name}/federated-credentials`: whom an agent trusts. Workloads of an issuer, by their subject, get credentials of the agent
//! (`jwt_bearer`).

use std::collections::BTreeMap;

use common::{
    error::{ApiError, Code},
    event::EventKind,
    id::FederatedCredentialId,
    route::Route,
    text::{text, within},
    url::{Url, check_outbound},
    workload,
};
use http::StatusCode;
use serde_json::{Map, Value as Json, Value::Null, json};
use service::{
    app::App,
    caller::Caller,
    change::{Answer, Change},
    credential::own_base,
    event::Event,
    extract::{Body, Path, Query},
    form,
    form::PageQuery,
    issue::grantable_scope,
    mint, object,
    response::{Response, json},
};
use store::{
    agent::Agent,
    db::Rows,
    federated_credential::{self, FederatedCredential, Inserted, New},
    key_set::{Keys, Source},
};

use super::key_sets;

/// The longest issuer and audience, characters.
const LONGEST: usize = 500;
/// Further claims at most, and the longest name and value of one.
const MOST_CLAIMS: usize = 16;
const LONGEST_CLAIM: (usize, usize) = (64, 255);
/// Claims that have a place of their own, or are different each time.
const RESERVED: [&str; 7] = ["iss", "sub", "aud", "exp", "nbf", "iat", "jti"];
/// The life of a credential at most, seconds.
const LONGEST_LIFE: i64 = 3_600;

/// `GET /api/agents/{name}/federated-credentials`: the newest first.
pub(crate) async fn list(
    app: App,
    caller: Caller,
    route: &'static Route,
    Path(name): Path,
    Query(query): Query<PageQuery>,
) -> Result<Response, ApiError> {
    let page = caller.page(&app, &query)?;
    let agent = object::agent(app.db(), &caller, route, &name, app.now()).await?;
    let rows = federated_credential::list(app.db(), &agent.id, &page, app.now()).await?;
    json(StatusCode::OK, &page.page(rows, |row| (row.created_at, row.id.to_string())))
}

/// The agent's own one with this id.
async fn find(reads: &dyn Rows, agent: &Agent, id: &str, app: &App) -> Result<FederatedCredential, ApiError> {
    let found = federated_credential::find(reads, id, app.now()).await?.filter(|found| found.agent == agent.id);
    found.ok_or_else(|| Code::FederatedCredentialNotFound.with("agent", &agent.name))
}

/// `GET /api/agents/{name}/federated-credentials/{id}`.
pub(crate) async fn get(
    app: App,
    caller: Caller,
    route: &'static Route,
    Path(name): Path,
    Path(id): Path,
) -> Result<Response, ApiError> {
    let agent = object::agent(app.db(), &caller, route, &name, app.now()).await?;
    json(StatusCode::OK, &find(app.db(), &agent, &id, &app).await?)
}

form! {
    pub(crate) struct Create {
        name: String,
        issuer: String,
        subject: String,
        audience: Option<String>,
        claims: Option<BTreeMap<String, String>>,
        scope: Option<Vec<String>>,
        preset: Option<String>,
        jwks_uri: Option<String>,
        jwks: Option<Map<String, Json>>,
        single_use: Option<bool>,
        expires_in: Option<i64>,
    }
}

/// Whether a text can be an issuer or an audience: they are compared byte by byte.
fn is_plain(text: &str) -> bool {
    (1..=LONGEST).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic())
}

/// The values of one to be made, checked.
struct Draft {
    name: String,
    audience: String,
    claims: BTreeMap<String, String>,
    keys: Keys,
    life: i64,
}

impl Draft {
    fn read(app: &App, body: &Create) -> Result<Self, ApiError> {
        let plain = "must be 1 to 500 visible characters of ASCII without blanks";
        if !is_plain(&body.issuer) {
            return Err(ApiError::field("issuer", plain));
        }
        let audience = match &body.audience {
            Some(sent) if is_plain(sent) => sent.clone(),
            Some(_) => return Err(ApiError::field("audience", plain)),
            None => own_base(app).ok_or_else(|| {
                ApiError::field("audience", "must be sent, since this server does not know its own address")
            })?,
        };
        if !workload::is_pattern(&body.subject) {
            let problem = "must be 1 to 255 visible characters of ASCII; * stands for characters other than : and /, at most 8 times, and never in the first two parts";
            return Err(ApiError::field("subject", problem));
        }
        if workload::is_trust_domain(&body.issuer) && !workload::is_of_domain(&body.issuer, &body.subject) {
            let problem = format!("must begin with {}/, as all subjects of this trust domain do", body.issuer);
            return Err(ApiError::field("subject", problem));
        }
        let claims = body.claims.clone().unwrap_or_default();
        check_claims(&claims)?;
        let life = within("expires_in", body.expires_in.unwrap_or(LONGEST_LIFE), 60..=LONGEST_LIFE)?;
        Ok(Self { name: text("name", &body.name, 64)?, audience, claims, keys: read_keys(app, body)?, life })
    }
}

fn check_claims(claims: &BTreeMap<String, String>) -> Result<(), ApiError> {
    if claims.len() > MOST_CLAIMS {
        return Err(ApiError::field("claims", format!("must have at most {MOST_CLAIMS} members")));
    }
    for (name, value) in claims {
        let (longest_name, longest_value) = LONGEST_CLAIM;
        if name.is_empty() || name.len() > longest_name || RESERVED.contains(&name.as_str()) {
            let problem = format!("must have names of 1 to {longest_name} bytes, and none of {}", RESERVED.join(", "));
            return Err(ApiError::field("claims", problem));
        }
        if value.len() > longest_value {
            return Err(ApiError::field("claims", format!("must have values of at most {longest_value} bytes")));
        }
    }
    Ok(())
}

/// Where the keys come from: pasted, at a URL, or by discovery of the issuer.
fn read_keys(app: &App, body: &Create) -> Result<Keys, ApiError> {
    if let Some(keys) = key_sets::read(app, body.jwks.as_ref(), body.jwks_uri.as_deref())? {
        return Ok(keys);
    }
    let has_discovery = Url::parse(&body.issuer).is_some_and(|url| !url.path.contains('?'));
    if !has_discovery {
        return Err(ApiError::field(
            "issuer",
            "must be an https URL without a query, or jwks_uri or jwks must be sent",
        ));
    }
    check_outbound("issuer", &body.issuer, &app.settings().outbound_hosts)?;
    Ok(Keys::From(Source::Issuer(body.issuer.clone())))
}

/// For the audit trail.
fn audited(found: &FederatedCredential) -> Json {
    json!({
        "federated_credential": found.id, "name": found.name, "issuer": found.issuer, "audience": found.audience,
        "subject": found.subject, "claims": found.claims, "scope": found.scope, "jwks_uri": found.jwks_uri,
        "has_pasted_keys": found.has_pasted_keys, "single_use": found.single_use, "expires_in": found.expires_in,
    })
}

/// For events.
fn named(found: &FederatedCredential) -> Json {
    json!({ "key": found.id, "name": found.name, "type": "federated", "issuer": found.issuer })
}

/// `POST /api/agents/{name}/federated-credentials`: the agent's owner or an admin trusts an issuer.
pub(crate) async fn create(change: Change<Body<Create>>, Path(name): Path) -> Result<Response, ApiError> {
    let Body(body) = &change.input;
    let draft = Draft::read(&change.app, body)?;
    let (scope, preset) = (body.scope.as_deref(), body.preset.as_deref());
    let scope = mint::requested_scope(change.app.db(), &change.caller, scope, preset).await?;
    change
        .on_agent(&name, async |write, agent, Body(body)| {
            let scope = scope.map_or_else(|| agent.settings.scope.clone(), |requested| requested.scope);
            let scope = grantable_scope(write, &agent, &scope, true)?;
            let id = FederatedCredentialId::generate(write.now(), write.app().chance());
            let new = New {
                id: &id,
                tenant: write.caller.tenant_id(),
                agent: &agent.id,
                name: &draft.name,
                issuer: &body.issuer,
                audience: &draft.audience,
                subject: &body.subject,
                claims: &draft.claims,
                scope: &scope,
                keys: &draft.keys,
                single_use: body.single_use.unwrap_or(true),
                life: draft.life,
                by: write.caller.user_id().as_str(),
                now: write.now(),
            };
            match federated_credential::insert(&write.tx, &new).await? {
                Inserted::Created => {}
                Inserted::Taken => return Err(Code::FederatedCredentialTaken.with("agent", &agent.name)),
                Inserted::TooMany => return Err(Code::TooManyFederatedCredentials.with("agent", &agent.name)),
            }
            let made = find(&write.tx, &agent, id.as_str(), write.app()).await?;
            write.emit(Event::of_agent(EventKind::AgentKeyCreated, &agent.id).data(named(&made))).await?;
            Ok(Answer::created(&made)?.audited(&agent.id, Null, audited(&made)))
        })
        .await
}

/// `DELETE /api/agents/{name}/federated-credentials/{id}`: what it has given is refused from the next request on.
pub(crate) async fn delete(change: Change<()>, Path(name): Path, Path(id): Path) -> Result<Response, ApiError> {
    change
        .on_agent(&name, async |write, agent, ()| {
            let found = find(&write.tx, &agent, &id, write.app()).await?;
            let revoked = federated_credential::delete(&write.tx, &found.id, write.now()).await?;
            let itself = found.id.to_string();
            let ended = if revoked.is_empty() { std::slice::from_ref(&itself) } else { &revoked };
            let what = format!("deleted the federated credential {}", found.name);
            write.emit_ended(EventKind::AgentKeyDeleted, (&agent.id, &agent.name), &what, ended).await?;
            let after = json!({ "revoked": revoked });
            Ok(Answer::no_content().audited(&agent.id, audited(&found), after))
        })
        .await
}

#[cfg(test)]
mod tests;
