//! Resources: services of the tenant that take signed tokens. Everybody in the tenant sees them, since agents ask for tokens by their
//! identifiers; admins register and change them.

use std::collections::BTreeSet;

use common::{
    error::{ApiError, Code, Flaws},
    id::ResourceId,
    scope::{CustomScopes, Scope},
    text::{isolated, persons_name},
    url::{self, Url},
};
use http::StatusCode;
use serde_json::{Value as Json, Value::Null, json};
use service::{
    app::App,
    caller::Caller,
    change::{Answer, Change},
    extract::{Body, Path, Query},
    form,
    form::NamedQuery,
    quota,
    response::{Response, json},
    site,
};
use store::{
    audit, code,
    db::Rows,
    grant,
    oauth_grant::Common,
    resource::{self, Inserted, MOST, Resource, Settings, SigningAlg},
};

/// Characters of an identifier, of which each token holds a copy.
const LONGEST: usize = 500;
/// Characters of a name.
const NAME: usize = 64;
/// Scopes of a resource.
const MOST_SCOPES: usize = 50;
/// Introspectors of a resource.
const MOST_INTROSPECTORS: usize = 20;
/// How an admin makes room.
const FREE: &str = "Delete resources that nobody needs with DELETE /api/resources/<id>, which GET /api/resources lists";

async fn find(reads: &dyn Rows, caller: &Caller, id: &str) -> Result<Resource, ApiError> {
    Ok(resource::find(reads, caller.tenant_id(), id).await?.ok_or(Code::ResourceNotFound)?)
}

/// The resource as this caller sees it: who may introspect is for those that may change it.
fn shown(caller: &Caller, resource: Resource) -> Resource {
    let introspectors = resource.introspectors.filter(|_| caller.scope().contains(Scope::ScopesWrite));
    Resource { introspectors, ..resource }
}

/// `GET /api/resources`: the tenant's, the newest first.
pub(crate) async fn list(app: App, caller: Caller, Query(query): Query<NamedQuery>) -> Result<Response, ApiError> {
    let (q, order) = query.wanted()?;
    let page = caller.page(&app, &query.page)?;
    let rows = resource::list(app.db(), caller.tenant_id(), (q.as_deref(), order), &page).await?;
    let rows = rows.into_iter().map(|row| shown(&caller, row)).collect();
    json(StatusCode::OK, &page.ordered(rows, order, |row| (row.created_at, row.id.to_string(), row.name.clone())))
}

/// `GET /api/resources/{id}`.
pub(crate) async fn get(app: App, caller: Caller, Path(id): Path) -> Result<Response, ApiError> {
    let found = find(app.db(), &caller, &id).await?;
    json(StatusCode::OK, &shown(&caller, found))
}

/// Checks an identifier (RFC 8707, section 2). It is kept as it was sent.
fn check_identifier(app: &App, text: &str) -> Result<(), ApiError> {
    let url = Url::parse(text).filter(|url| url.fragment.is_none() && text.len() <= LONGEST);
    let url = url.ok_or(Code::InvalidIdentifier)?;
    if !url.is_secure && !is_loopback(url.host) {
        return Err(Code::InvalidIdentifier.detail("The identifier is neither https nor of a loopback host."));
    }
    // What has this server as its audience would look like a credential for it, which signed tokens are not.
    let lower = |text: &str| url::normal(text).unwrap_or_default().to_ascii_lowercase();
    let own = lower(&site::address(app).unwrap_or_default());
    let rest = lower(text).strip_prefix(&own).map(str::to_owned);
    let is_own = !own.is_empty() && rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', '?']));
    if is_own {
        return Err(Code::InvalidIdentifier.detail("The identifier is the address of this server."));
    }
    Ok(())
}

/// Whether a host leads to the machine itself.
fn is_loopback(host: &str) -> bool {
    let inner = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
    match inner.parse::<std::net::IpAddr>() {
        Ok(address) => address.is_loopback(),
        Err(_) => host == "localhost" || host.ends_with(".localhost"),
    }
}

/// Checks names of custom scopes; gives them sorted. Scopes of this server are for this server alone.
fn check_scopes(caller: &Caller, sent: &[String]) -> Result<Vec<String>, ApiError> {
    let known = caller.custom_scopes().names();
    let unknown: Vec<&str> = sent.iter().filter(|name| !known.contains(name)).map(String::as_str).collect();
    if !unknown.is_empty() {
        let names: Vec<&str> = unknown.into_iter().filter(|name| CustomScopes::is_name(name)).collect();
        let which = match names.as_slice() {
            [] => String::new(),
            names => format!("; there is no {}, so leave it out, or define it", names.join(", ")),
        };
        let problem =
            format!("must hold names of custom scopes of your tenant, which GET /api/scopes/custom lists{which}");
        return Err(ApiError::field("scopes", problem));
    }
    let names: BTreeSet<&String> = sent.iter().collect();
    check_length("scopes", names.len(), MOST_SCOPES)?;
    Ok(names.into_iter().cloned().collect())
}

/// Finds the users (by id or address) and agents (by id or name) whose credentials are the service's own; gives their ids. Those in `has` stay:
/// one of them may be gone meanwhile.
async fn read_introspectors(
    reads: &dyn Rows,
    caller: &Caller,
    has: &[String],
    sent: &[String],
) -> Result<Vec<String>, ApiError> {
    check_length("introspectors", sent.len(), MOST_INTROSPECTORS)?;
    let mut ids = BTreeSet::new();
    for name in sent {
        ids.insert(match has.contains(name) {
            true => name.clone(),
            false => {
                let found = grant::find_subject(reads, caller.subject(), name).await?;
                found.ok_or_else(|| missing(name))?.named.id
            }
        });
    }
    Ok(ids.into_iter().collect())
}

fn missing(name: &str) -> ApiError {
    let shown: String = name.chars().take(100).collect();
    Code::SubjectNotFound
        .detail(format!("Your tenant has no user and no agent {shown}, or you may not read that agent."))
}

fn check_length(field: &'static str, length: usize, most: usize) -> Result<(), ApiError> {
    if length > most {
        return Err(ApiError::field(field, format!("must contain at most {most} entries")));
    }
    Ok(())
}

fn read_alg(word: &str) -> Result<SigningAlg, ApiError> {
    SigningAlg::from_word(word).ok_or_else(|| ApiError::field("signing_alg", "must be EdDSA or ES256"))
}

/// For the audit trail.
fn audited(resource: &Resource) -> Json {
    json!({
        "identifier": resource.identifier, "name": resource.name, "scopes": resource.scopes,
        "introspectors": resource.introspectors, "signing_alg": resource.signing_alg,
    })
}

form! {
    pub(crate) struct Create {
        identifier: String,
        name: Option<String>,
        scopes: Option<Vec<String>>,
        introspectors: Option<Vec<String>>,
        signing_alg: Option<String>,
    }
}

/// `POST /api/resources`: registers a service.
pub(crate) async fn create(change: Change<Body<Create>>) -> Result<Response, ApiError> {
    let Body(body) = &change.input;
    let mut flaws = Flaws::default();
    flaws.check("identifier", check_identifier(&change.app, &body.identifier));
    let host = Url::parse(&body.identifier).map_or("", |url| url.host);
    let host: String = host.chars().take(NAME).collect();
    let name = flaws.check("name", body.name.as_ref().map_or(Ok(host), |name| persons_name("name", name, NAME)));
    let alg = flaws.check("signing_alg", body.signing_alg.as_deref().map_or(Ok(SigningAlg::EdDsa), read_alg));
    flaws.check("scopes", check_scopes(&change.caller, body.scopes.as_deref().unwrap_or_default()));
    let (Some(name), Some(signing_alg)) = (name, alg) else { return Err(flaws.refusal()) };
    flaws.end()?;
    change
        .run(async |write, Body(body)| {
            // Again, of the caller as it is in the transaction.
            let scopes = check_scopes(&write.caller, body.scopes.as_deref().unwrap_or_default())?;
            let sent = body.introspectors.as_deref().unwrap_or_default();
            let introspectors = read_introspectors(&write.tx, &write.caller, &[], sent).await?;
            let settings = Settings { name: &name, scopes: &scopes, signing_alg, introspectors: &introspectors };
            let id = ResourceId::generate(write.now(), write.app().chance());
            let whose = (write.caller.tenant_id(), write.caller.user_id());
            match resource::insert(&write.tx, (&id, &body.identifier), whose, &settings, write.now()).await? {
                Inserted::Created => {}
                Inserted::Taken => return Err(Code::ResourceTaken.into()),
                Inserted::TooMany => return Err(quota::reached("resources", FREE, "tenant", MOST)),
            }
            let made = find(&write.tx, &write.caller, id.as_str()).await?;
            Ok(Answer::created(&made)?.audited(&id, Null, audited(&made)))
        })
        .await
}

form! {
    pub(crate) struct Patch {
        name: Option<String>,
        scopes: Option<Vec<String>>,
        introspectors: Option<Vec<String>>,
        signing_alg: Option<String>,
    }
}

/// `PATCH /api/resources/{id}`: changes what is sent. The identifier stays: another one is another resource.
pub(crate) async fn patch(change: Change<Body<Patch>>, Path(id): Path) -> Result<Response, ApiError> {
    let Body(body) = &change.input;
    let mut flaws = Flaws::default();
    let name = flaws.check("name", body.name.as_deref().map(|name| persons_name("name", name, NAME)).transpose());
    let alg = flaws.check("signing_alg", body.signing_alg.as_deref().map(read_alg).transpose());
    let (Some(name), Some(signing_alg)) = (name, alg) else { return Err(flaws.refusal()) };
    if name.is_none() && signing_alg.is_none() && body.scopes.is_none() && body.introspectors.is_none() {
        return Err(ApiError::field("", "send at least one of: name, scopes, introspectors, signing_alg"));
    }
    change
        .on(&id, find, async |write, before, Body(body)| {
            let were = before.introspectors.clone().unwrap_or_default();
            let scopes = match &body.scopes {
                // What is left of it may name a scope that was deleted meanwhile.
                Some(sent) if sent.iter().all(|name| before.scopes.contains(name)) => {
                    before.scopes.iter().filter(|name| sent.contains(name)).cloned().collect()
                }
                Some(sent) => check_scopes(&write.caller, sent)?,
                None => before.scopes.clone(),
            };
            let introspectors = match &body.introspectors {
                Some(sent) => read_introspectors(&write.tx, &write.caller, &were, sent).await?,
                None => were.clone(),
            };
            let only_narrows = name.is_none()
                && signing_alg.is_none()
                && scopes.iter().all(|name| before.scopes.contains(name))
                && introspectors.iter().all(|id| were.contains(id));
            let settings = Settings {
                name: name.as_deref().unwrap_or(&before.name),
                scopes: &scopes,
                signing_alg: signing_alg.unwrap_or(before.signing_alg),
                introspectors: &introspectors,
            };
            if !resource::update(&write.tx, &before.id, &settings, write.now()).await? {
                return Ok(Answer::ok(&before)?.unchanged());
            }
            let after = find(&write.tx, &write.caller, before.id.as_str()).await?;
            let (old, new) = audit::changed(audited(&before), audited(&after));
            Ok(Answer::ok(&after)?.audited(&before.id, old, new).narrowing(only_narrows))
        })
        .await
}

/// `DELETE /api/resources/{id}`: from now on no token is made for it, and none is told as active. With it ends what people let apps do
/// there: one of the same identifier that is registered later is another one.
pub(crate) async fn delete(change: Change<()>, Path(id): Path) -> Result<Response, ApiError> {
    change
        .on(&id, find, async |write, found, ()| {
            let (service, name, by) = (&found.identifier, isolated(&found.name), write.author());
            let body = format!(
                "{by} removed the service {name}: the apps that you let in for it can do nothing there in your name any more."
            );
            let title = format!("The service {name} was removed");
            let ended = write.end_apps(Common::Service(service), &title, &body).await?;
            code::end_of_service(&write.tx, write.caller.tenant_id(), service, write.now()).await?;
            resource::delete(&write.tx, &found.id).await?;
            Ok(Answer::no_content().audited(&found.id, audited(&found), json!({ "grants_ended": ended })))
        })
        .await
}

#[cfg(test)]
mod tests;
