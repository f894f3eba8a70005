//! Keys of an agent: bearers that authenticate as it, and secrets of webhooks, which are not credentials.
//!
//! A key is more than its secret: its id, name and grants stay when the secret is rotated, and every check and change uses the id.
//! The caller that makes a key is its editor; its owner is the agent's owner.

use common::{
    error::{ApiError, Code, Flaws},
    event::EventKind,
    id::{AgentId, CredentialId, KeyId, UserId},
    permission::{Action, Relation},
    route::Route,
    scope::Patterns,
    secret::{Kind, Secret, WebhookSecret},
    signature,
    text::text,
    time::{Lifetime, Timestamp},
    vault,
};
use http::StatusCode;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{
    Value::{self as Json, Null},
    json,
};
use service::{
    app::App,
    caller::Caller,
    change::{Answer, Change, Write},
    event::Event,
    extract::{Body, Path, Query},
    form,
    form::PageQuery,
    grantee,
    issue::grantable_scope,
    mint::{self, Life, NewCredential},
    object, quota,
    response::{Response, json},
};
use store::{
    agent::{self, Agent, tree},
    credential::{list, status::CredentialStatus},
    db::Rows,
    grant,
    key::{self, AgentKey, Filter, Key, KeyType, Sealed},
};

form! {
    pub(crate) struct List {
        name: Option<String>,
        r#type: Option<String>,
        ..page: PageQuery,
    }
}

/// `GET /api/agents/{name}/keys`: the keys that the caller may read.
pub(crate) async fn list(
    app: App,
    caller: Caller,
    route: &'static Route,
    Path(name): Path,
    Query(query): Query<List>,
) -> Result<Response, ApiError> {
    let valid = || KeyType::ALL.map(KeyType::as_str).join(", ");
    let invalid = || Code::InvalidFilter.with("field", "type").with("valid", valid());
    let r#type = query.r#type.as_deref().map(|word| KeyType::from_word(word).ok_or_else(invalid)).transpose()?;
    let page = caller.page(&app, &query.page)?;
    let agent = object::agent(app.db(), &caller, route, &name, app.now()).await?;
    let filter = Filter { name: query.name.as_deref(), r#type };
    let rows = key::list(app.db(), caller.subject(), &agent.id, &filter, &page, app.now()).await?;
    json(StatusCode::OK, &page.page(rows, |row| (row.created_at, row.id.to_string())))
}

/// `GET /api/agents/{name}/keys/{id}`: one key.
pub(crate) async fn get(
    app: App,
    caller: Caller,
    route: &'static Route,
    Path(name): Path,
    Path(id): Path,
) -> Result<Response, ApiError> {
    let found = object::key(app.db(), &caller, route, (&name, &id), app.now()).await?;
    json(StatusCode::OK, &found.key)
}

form! {
    pub(crate) struct Create {
        name: String,
        r#type: Option<String>,
        scope: Option<Vec<String>>,
        preset: Option<String>,
        value: Option<String>,
        ..life: Life,
    }
}

impl Create {
    /// Refuses fields that keys of this type do not have.
    fn check_fields(&self, r#type: KeyType) -> Result<(), ApiError> {
        let sent = [
            ("scope", self.scope.is_some()),
            ("preset", self.preset.is_some()),
            ("expires_in_days", self.life.expires_in_days.is_some()),
            ("expires_in", self.life.expires_in.is_some()),
            ("value", self.value.is_some()),
        ];
        let is_foreign = |field: &str| (field == "value") != r#type.is_webhook();
        match sent.into_iter().find(|(field, is_sent)| *is_sent && is_foreign(field)) {
            Some((field, _)) => Err(foreign_field(field, r#type)),
            None => Ok(()),
        }
    }
}

/// The refusal of a field that keys of this type do not have.
fn foreign_field(field: &'static str, r#type: KeyType) -> ApiError {
    ApiError::field(field, format!("is not allowed for keys of type {}", r#type.as_str()))
}

/// A key to be made: the values that its type leaves open.
enum Draft {
    Bearer { scope: Option<Patterns>, lifetime: Option<Lifetime> },
    Webhook(WebhookSecret),
}

impl Draft {
    async fn read(app: &App, caller: &Caller, r#type: KeyType, body: &mut Create) -> Result<Self, ApiError> {
        if r#type.is_webhook() {
            let sent = read_webhook_secret(r#type, body.value.take())?;
            return Ok(Self::Webhook(sent.unwrap_or_else(|| generate(app, r#type))));
        }
        let (scope, preset) = (body.scope.as_deref(), body.preset.as_deref());
        let mut flaws = Flaws::default();
        let scope = flaws.check("scope", mint::requested_scope(app.db(), caller, scope, preset).await);
        let lifetime = flaws.check(body.life.field(), body.life.read());
        flaws.check("name", text("name", &body.name, 64));
        let (Some(scope), Some(lifetime)) = (scope, lifetime) else { return Err(flaws.refusal()) };
        flaws.end()?;
        Ok(Self::Bearer { scope: scope.map(|requested| requested.scope), lifetime })
    }
}

/// Reads `value`: a webhook's secret. `None`: it was not sent.
fn read_webhook_secret(r#type: KeyType, value: Option<String>) -> Result<Option<WebhookSecret>, ApiError> {
    let Some(text) = value else { return Ok(None) };
    match r#type {
        KeyType::Standard => signature::parse(&text).map(Some).ok_or_else(|| Code::InvalidStandardSecret.into()),
        _ => WebhookSecret::parse(text).map(Some).ok_or_else(|| Code::InvalidWebhookSecret.into()),
    }
}

/// A new secret for keys of this type.
fn generate(app: &App, r#type: KeyType) -> WebhookSecret {
    match r#type {
        KeyType::Standard => signature::generate(app.chance()),
        _ => WebhookSecret::generate(app.chance()),
    }
}

/// A webhook's secret as it is stored: encrypted for its place, and with its maker. `grantee`: see [`grantee::of`].
fn seal<'a>(
    write: &'a Write<'_>,
    (agent, key): (&AgentId, &KeyId),
    secret: &WebhookSecret,
    grantee: Option<&'a str>,
) -> Result<Sealed<'a>, ApiError> {
    let (app, place) = (write.app(), [agent.as_str(), key.as_str()]);
    let secret = app.settings().vault.seal(vault::WEBHOOK, &place, secret.reveal(), app.chance())?;
    Ok(Sealed { secret, minter: mint::minter(&write.origin(), grantee) })
}

/// The secret of a key.
enum KeySecret {
    Bearer(Secret),
    Webhook(WebhookSecret),
}

impl KeySecret {
    fn reveal(&self) -> &str {
        match self {
            Self::Bearer(secret) => secret.reveal(),
            Self::Webhook(secret) => secret.reveal(),
        }
    }
}

/// A key, and the one time that its secret is shown.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "NewKey")]
pub(crate) struct Shown<'a> {
    #[serde(flatten)]
    record: &'a Key,
    key: &'a str,
    warnings: &'a [String],
}

/// `POST /api/agents/{name}/keys`: makes a key with its secret and its maker's grant, all or nothing.
pub(crate) async fn create(mut change: Change<Body<Create>>, Path(name): Path) -> Result<Response, ApiError> {
    let Body(body) = &mut change.input;
    let r#type = match body.r#type.as_deref() {
        None => KeyType::External,
        Some(word) => KeyType::from_word(word).ok_or(Code::UnknownKeyType)?,
    };
    body.check_fields(r#type)?;
    let draft = Draft::read(&change.app, &change.caller, r#type, body).await?;
    let key_name = text("name", &body.name, 64)?;
    change
        .on_agent(&name, async |write, agent, _| {
            quota::check_credentials(write.app(), &write.tx, &write.caller, &agent.owner.id).await?;
            let id = KeyId::generate(write.now(), write.app().chance());
            let grantee = grantee::of(&write.tx, &write.caller, &agent, write.now()).await?;
            let sealed = match &draft {
                Draft::Webhook(secret) => Some(seal(write, (&agent.id, &id), secret, grantee.as_deref())?),
                Draft::Bearer { .. } => None,
            };
            let new = key::New {
                id: &id,
                tenant_id: write.caller.tenant_id(),
                agent_id: &agent.id,
                name: &key_name,
                r#type,
                sealed,
                by: write.caller.subject().id(),
                now: write.now(),
            };
            if let Err(refusal) = key::insert(&write.tx, new).await {
                return Err(not_inserted(write, &agent, (&key_name, r#type), refusal).await?);
            }
            grant_to_maker(write, &agent, &id).await?;
            let mut warnings = Vec::new();
            let secret = match draft {
                Draft::Webhook(secret) => KeySecret::Webhook(secret),
                Draft::Bearer { scope, lifetime } => {
                    let scope = scope.unwrap_or_else(|| agent.settings.scope.clone());
                    let scope = grantable_scope(write, &agent, &scope, grantee.is_none())?;
                    let (expires_at, capped) = write.caller.cap_life(lifetime, write.now())?;
                    warnings.extend(capped);
                    mint::warn_of_no_effect(&write.caller, &scope, agent.owner.role, true, &mut warnings);
                    let credential = CredentialId::generate(write.now(), write.app().chance());
                    let new = bearer(&agent, (&id, &key_name), credential, &scope, expires_at, grantee.as_deref());
                    KeySecret::Bearer(mint::credential(&write.tx, &write.origin(), &new).await?)
                }
            };
            let made = get_made(write, &agent.id, &id).await?;
            write.emit(Event::of_agent(EventKind::AgentKeyCreated, &agent.id).data(named(&made))).await?;
            let shown = Shown { record: &made, key: secret.reveal(), warnings: &warnings };
            Ok(Answer::created(&shown)?.with_secret().audited(&agent.id, Null, audited(&made)))
        })
        .await
}

/// The refusal of a key that could not be stored. Of a name that is taken it says what the caller can do with the key that has it.
async fn not_inserted(
    write: &Write<'_>,
    agent: &Agent,
    (name, r#type): (&str, KeyType),
    refusal: ApiError,
) -> Result<ApiError, ApiError> {
    let refusal = refusal.with("agent", &agent.name);
    if refusal.code() != Code::KeyTaken {
        return Ok(refusal);
    }
    let caller = &write.caller;
    let page = caller.page(write.app(), &PageQuery { cursor: None, limit: Some(1) })?;
    let filter = Filter { name: Some(name), r#type: Some(r#type) };
    let known = key::list(&write.tx, caller.subject(), &agent.id, &filter, &page, write.now()).await?;
    Ok(match known.first() {
        None => refusal.fix("Send another name."), // the caller may not read it
        Some(key) if matches!(key.status, CredentialStatus::Expired | CredentialStatus::Revoked) => {
            refusal.detail("The agent has a key with this name and type, which has ended.").fix(format!(
                "Delete it with DELETE /api/agents/{}/keys/{}, then send the same request again. Or send another name.",
                agent.name, key.id
            ))
        }
        Some(key) => refusal.with("id", key.id.as_str()),
    })
}

/// The credential of a bearer.
fn bearer<'a>(
    agent: &'a Agent,
    (key, name): (&'a KeyId, &'a str),
    id: CredentialId,
    scope: &'a Patterns,
    expires_at: Option<Timestamp>,
    grantee: Option<&'a str>,
) -> NewCredential<'a> {
    NewCredential {
        kind: Kind::ApiKey,
        id,
        user: &agent.owner.id,
        agent: Some(&agent.id),
        key: Some(key),
        name: Some(name),
        scope,
        expires_at,
        grantee,
    }
}

/// The key as it is after the change.
async fn get_made(write: &Write<'_>, agent: &AgentId, key: &KeyId) -> Result<Key, ApiError> {
    let path = (agent.as_str(), key.as_str());
    Ok(key::get(&write.tx, write.caller.subject(), path, Action::Read, write.now()).await?.key)
}

/// Makes the caller the key's editor, or, if the caller's credential rests on an editor's grant, that editor; and if this is an agent that
/// makes a key for somebody else's agent, its owner too: a grant to an agent counts only for what its owner may do.
async fn grant_to_maker(write: &Write<'_>, agent: &Agent, key: &KeyId) -> Result<(), ApiError> {
    let (caller, by) = (&write.caller, write.caller.subject().id());
    let (maker, person) = match caller.grantee() {
        None => (by, Some(caller.user_id().clone())),
        Some(grantee) => (grantee, tree::owner(&write.tx, grantee).await?),
    };
    let person = person.filter(|person| maker != person.as_str() && agent.owner.id != *person);
    for subject in std::iter::once(maker).chain(person.as_ref().map(UserId::as_str)) {
        let new = grant::New {
            tenant: caller.tenant_id(),
            object: key.as_str(),
            subject,
            relation: Relation::Editor,
            by,
            now: write.now(),
        };
        grant::insert(&write.tx, &new).await?;
    }
    Ok(())
}

/// For events.
fn named(key: &Key) -> Json {
    json!({ "key": key.id, "name": key.name, "type": key.r#type })
}

/// For the audit trail.
fn audited(key: &Key) -> Json {
    json!({
        "key": key.id, "name": key.name, "type": key.r#type, "scope": key.scope, "expires_at": key.expires_at,
        "token": key.secret,
    })
}

form! {
    pub(crate) struct Rotate {
        grace_seconds: Option<i64>,
        value: Option<String>,
    }
}

/// `POST /api/agents/{name}/keys/{id}/rotate`: a new secret for the same key. The old one lives through the
/// grace.
pub(crate) async fn rotate(
    mut change: Change<Body<Rotate>>,
    Path(name): Path,
    Path(id): Path,
) -> Result<Response, ApiError> {
    let Body(body) = &mut change.input;
    let grace_seconds = body.grace_seconds;
    let grace = mint::grace(grace_seconds, 0)?;
    let value = body.value.take();
    let has_value = value.is_some();
    let (route, now) = (change.route(), change.app.now());
    let find = async |reads: &dyn Rows, caller: &Caller, id: &str| {
        let found = object::key(reads, caller, route, (&name, id), now).await?;
        let r#type = found.key.r#type;
        if has_value && !r#type.is_webhook() { Err(foreign_field("value", r#type)) } else { Ok(found) }
    };
    change
        .on(&id, find, async |write, found, _| {
            let (secret, rotated) = if found.key.r#type.is_webhook() {
                let sent = read_webhook_secret(found.key.r#type, value)?;
                let secret = sent.unwrap_or_else(|| generate(write.app(), found.key.r#type));
                let agent = get_agent(write, &found).await?;
                let grantee = grantee::of(&write.tx, &write.caller, &agent, write.now()).await?;
                let sealed = seal(write, (&found.agent_id, &found.key.id), &secret, grantee.as_deref())?;
                let grace_ends = (grace > 0).then(|| now.plus_seconds(grace));
                let has_grace = key::reseal(&write.tx, &found.key.id, sealed, grace_ends, now).await?;
                let grace_ends = grace_ends.filter(|_| has_grace);
                (KeySecret::Webhook(secret), Rotated { grace_ends, warnings: Vec::new() })
            } else {
                let (secret, rotated) = rotate_bearer(write, &found, grace_seconds).await?;
                (KeySecret::Bearer(secret), rotated)
            };
            let made = get_made(write, &found.agent_id, &found.key.id).await?;
            let data =
                json!({ "key": made.id, "name": made.name, "type": made.r#type, "grace_ends": rotated.grace_ends });
            write.emit(Event::of_agent(EventKind::AgentKeyRotated, &found.agent_id).data(data)).await?;
            let shown = Shown { record: &made, key: secret.reveal(), warnings: &rotated.warnings };
            let before = json!({ "key": found.key.id, "token": found.key.secret, "grace_ends": rotated.grace_ends });
            Ok(Answer::created(&shown)?.with_secret().audited(&found.agent_id, before, audited(&made)))
        })
        .await
}

/// The result of a rotation, beside the new secret.
struct Rotated {
    grace_ends: Option<Timestamp>,
    warnings: Vec<String>,
}

/// The agent of the key that is rotated.
async fn get_agent(write: &Write<'_>, found: &AgentKey) -> Result<Agent, ApiError> {
    agent::get(&write.tx, write.caller.subject(), found.agent_id.as_str(), Action::Update, write.now()).await
}

async fn rotate_bearer(
    write: &Write<'_>,
    found: &AgentKey,
    grace_seconds: Option<i64>,
) -> Result<(Secret, Rotated), ApiError> {
    let (caller, key) = (&write.caller, &found.key);
    let ended = || Code::KeyEnded.with("agent", &found.agent).with("id", key.id.as_str());
    let (Some(old), Some(scope)) = (&key.secret, &key.scope) else { return Err(ended()) };
    let agent = get_agent(write, found).await?;
    let grantee = grantee::of(&write.tx, &write.caller, &agent, write.now()).await?;
    let is_itself = old == caller.credential_id();
    let (scope, expires_at, warned) = if is_itself {
        (scope.defined(caller.custom_scopes()), key.expires_at, Vec::new()) // its own scope and end: this is not minting
    } else if key::holds(&write.tx, &key.id, caller.credential_id()).await? {
        // A secret in its grace replaces nothing: a retry must not end the secret that replaced it.
        let step = format!("POST /api/agents/{}/keys/{}/rotate", found.agent, key.id);
        return Err(Code::TokenReplaced.with("step", step));
    } else {
        let too_wide = |refusal: ApiError| match refusal.code() {
            Code::ScopeTooWide => refusal.instead(Code::RotationTooWide).with("agent", &agent.name),
            _ => refusal,
        };
        let (scope, narrowed) = within_ceiling(caller, &agent, scope)?;
        let scope = grantable_scope(write, &agent, &scope, grantee.is_none()).map_err(too_wide)?;
        let (expires_at, capped) = capped_end(caller, key.expires_at, write.now())?;
        (scope, expires_at, narrowed.into_iter().chain(capped).collect())
    };
    let grace = mint::grace(grace_seconds, if is_itself { mint::OWN_GRACE } else { 0 })?;
    let grace_ends = (grace > 0).then(|| write.now().plus_seconds(grace));
    let id = CredentialId::generate(write.now(), write.app().chance());
    if !list::replace(&write.tx, old, &id, grace_ends, write.now()).await? {
        return Err(ended());
    }
    let new = bearer(&agent, (&key.id, &key.name), id, &scope, expires_at, grantee.as_deref());
    let secret = mint::credential(&write.tx, &write.origin(), &new).await?;
    let warnings = warned.into_iter().chain(mint::warn_of_end(expires_at, write.now())).collect();
    Ok((secret, Rotated { grace_ends, warnings }))
}

/// What of a key's scope the agent's ceiling still has, which may have been narrowed since: the key could use no more of it anyway. The
/// warning says what was left out. Refused if nothing is left.
fn within_ceiling(caller: &Caller, agent: &Agent, scope: &Patterns) -> Result<(Patterns, Option<String>), ApiError> {
    let custom = caller.custom_scopes();
    let (carried, ceiling) = (scope.scopes(custom), agent.settings.scope.scopes(custom));
    let beyond = carried.clone().without(&ceiling);
    if beyond.is_empty() {
        return Ok((scope.clone(), None));
    }
    let (left, names) = (carried.and(&ceiling), beyond.names(custom).join(", "));
    if left.is_empty() {
        let fix = format!(
            "Create a key within the ceiling, which GET /api/agents/{0} shows: POST /api/agents/{0}/keys {{\"name\": \"…\", \"scope\": […]}}. Or \
             ask its owner {1} to widen the ceiling.",
            agent.name, agent.owner.email
        );
        let detail = format!("The agent's ceiling has nothing any more of what this key carries: {names}.");
        return Err(Code::RotationTooWide.detail(detail).fix(fix).extra("excess_scopes", beyond.names(custom)));
    }
    let warning =
        format!("The key carries less than before, because the agent's ceiling lacks these scopes now: {names}.");
    Ok((left.to_patterns(), Some(warning)))
}

/// The end that a rotated key keeps, but no later than the caller's own; the warning says so when it was capped.
fn capped_end(
    caller: &Caller,
    end: Option<Timestamp>,
    now: Timestamp,
) -> Result<(Option<Timestamp>, Option<String>), ApiError> {
    match caller.cap_life(None, now)? {
        (Some(cap), warning) if end.is_none_or(|end| cap < end) => Ok((Some(cap), warning)),
        _ => Ok((end, None)),
    }
}

/// `DELETE /api/agents/{name}/keys/{id}`: deletes the key with its grants. Its secrets are refused from the next request on, and its
/// name is free.
pub(crate) async fn delete(change: Change<()>, Path(name): Path, Path(id): Path) -> Result<Response, ApiError> {
    change
        .on_key((&name, &id), async |write, found, ()| {
            let revoked = key::delete(&write.tx, &found, write.now()).await?;
            if let Some(agent) = agent::by_id(&write.tx, &found.agent_id, write.now()).await? {
                let key = found.key.id.to_string();
                let what = format!("deleted the key {}", found.key.name);
                // Of a key whose secret had ended, or is no credential, the key itself has ended.
                let ended = if revoked.is_empty() { std::slice::from_ref(&key) } else { &revoked };
                write.emit_ended(EventKind::AgentKeyDeleted, (&agent.id, &agent.name), &what, ended).await?;
            }
            let after = json!({ "revoked": revoked });
            Ok(Answer::no_content().audited(&found.agent_id, audited(&found.key), after))
        })
        .await
}

#[cfg(test)]
mod tests;
