//! Keys of an agent: bearers that authenticate as it, and secrets of webhooks, which are no credentials at all.
//!
//! A key is more than its secret: its id, name and grants stay when the secret is rotated. What is checked and done is checked
//! and done by the id. Who made a key is its editor; its owner is the agent's owner.

use axum::{http::StatusCode, response::Response};
use common::{
    caller::Caller,
    db::Tx,
    error::{ApiError, Code},
    form,
    form::{Ask, OrNull, Params},
    http::{App, Segment, json, text},
    id::{AgentId, CredentialId, KeyId, UserId},
    idempotency::Answer,
    mint,
    page::Wanted,
    permission::Action,
    route,
    scope::Patterns,
    secret::{Kind, Secret, WebhookSecret},
    store::{
        agent::{self, Agent},
        credential, grant,
        key::{self, Filter, Found, Key, Type},
        token,
    },
    time::{Lifetime, Timestamp},
    write::{Begun, Write},
};
use serde::Serialize;
use serde_json::{Value::Null, json};

use crate::{
    ask::{self, Rights},
    token::{may_give, within_ceiling},
};

/// What the vault seals a webhook's secret for, beside the ids of agent and key.
const WEBHOOK: &str = "webhook";

form! {
    pub(crate) struct List {
        name: Option<String>,
        r#type: Option<String>,
        limit: Option<i64>,
        cursor: Option<String>,
    }
}

/// `GET /api/agents/{name}/keys`: the keys that the caller may read.
pub(crate) async fn list(
    app: App,
    caller: Caller,
    Segment(name): Segment,
    Params(ask): Params<List>,
) -> Result<Response, ApiError> {
    let valid = || Type::ALL.map(Type::as_str).join(", ");
    let invalid = || Code::InvalidFilter.with("field", "type").with("valid", valid());
    let only = ask.r#type.as_deref().map(|word| Type::from_word(word).ok_or_else(invalid)).transpose()?;
    let filters = ["keys", &name, ask.name.as_deref().unwrap_or_default(), only.map_or("", Type::as_str)];
    let wanted = Wanted::read(&caller, ask.limit, ask.cursor.as_deref(), &filters)?;
    let target = agent::get(app.db(), &caller, &name, Action::Read, app.now()).await?;
    let filter = Filter { name: ask.name.as_deref(), r#type: only };
    let rows = key::list(app.db(), &caller, &target.id, &filter, &wanted, app.now()).await?;
    json(StatusCode::OK, &wanted.page(rows, |row| (row.created_at, row.id.to_string())))
}

/// `GET /api/agents/{name}/keys/{id}`: one key.
pub(crate) async fn get(
    app: App,
    caller: Caller,
    Segment(name): Segment,
    Segment(id): Segment,
) -> Result<Response, ApiError> {
    let found = key::get(app.db(), &caller, (&name, &id), Action::Read, app.now()).await?;
    json(StatusCode::OK, &found.key)
}

form! {
    pub(crate) struct Create {
        name: String,
        r#type: Option<String>,
        scope: Option<Vec<String>>,
        preset: Option<String>,
        expires_in_days: Option<OrNull<i64>>,
        value: Option<String>,
    }
}

/// What a key is to be.
enum Draft {
    Bearer { rights: Option<Rights>, lifetime: Option<Lifetime> },
    Webhook(WebhookSecret),
}

impl Draft {
    async fn read(app: &App, caller: &Caller, r#type: Type, body: Create) -> Result<Self, ApiError> {
        let sent = [
            ("scope", body.scope.is_some()),
            ("preset", body.preset.is_some()),
            ("expires_in_days", body.expires_in_days.is_some()),
            ("value", body.value.is_some()),
        ];
        let is_strange = |field: &str| (field == "value") != r#type.is_webhook();
        if let Some((field, _)) = sent.into_iter().find(|(field, is_sent)| *is_sent && is_strange(field)) {
            return Err(strange(field, r#type));
        }
        if r#type.is_webhook() {
            return Ok(Self::Webhook(brought(body.value)?.unwrap_or_else(|| WebhookSecret::generate(app.chance()))));
        }
        let rights = ask::rights(app.db(), caller, body.scope.as_deref(), body.preset.as_deref()).await?;
        Ok(Self::Bearer { rights, lifetime: mint::lifetime(body.expires_in_days)? })
    }
}

/// The refusal of a field that keys of this type do not have.
fn strange(field: &'static str, r#type: Type) -> ApiError {
    ApiError::field(field, format!("is not for keys of type {}", r#type.as_str()))
}

/// The webhook's secret that was sent, if one was.
fn brought(value: Option<String>) -> Result<Option<WebhookSecret>, ApiError> {
    value.map(|text| WebhookSecret::parse(text).ok_or_else(|| Code::InvalidWebhookSecret.into())).transpose()
}

fn seal(app: &App, agent: &AgentId, key: &KeyId, secret: &WebhookSecret) -> Result<Vec<u8>, ApiError> {
    let place = [agent.as_str(), key.as_str()];
    app.settings().vault.seal(WEBHOOK, &place, secret.reveal(), app.chance())
}

/// A key with the one time that its secret is shown.
#[derive(Serialize)]
struct Shown<'a> {
    #[serde(flatten)]
    record: &'a Key,
    key: &'a str,
    warnings: &'a [String],
}

/// The secret of a bearer, to be stored.
struct Bearer<'a> {
    id: &'a CredentialId,
    key: &'a KeyId,
    agent: &'a AgentId,
    owner: &'a UserId,
    name: &'a str,
    scope: &'a Patterns,
    expires_at: Option<Timestamp>,
}

impl Bearer<'_> {
    async fn mint(&self, app: &App, tx: &Tx<'_>, caller: &Caller) -> Result<Secret, ApiError> {
        let secret = Secret::generate(Kind::ApiKey, app.chance());
        let new = credential::New {
            id: self.id,
            secret: &secret,
            tenant_id: caller.tenant_id(),
            user_id: self.owner,
            agent_id: Some(self.agent),
            name: Some(self.name),
            key_id: Some(self.key),
            scope: &self.scope.to_column(),
            created_at: app.now(),
            expires_at: self.expires_at,
            user_agent: None,
        };
        credential::insert(tx, &new).await?;
        Ok(secret)
    }
}

/// `POST /api/agents/{name}/keys`: makes a key, with its maker's grant and its secret, or nothing of it.
pub(crate) async fn create(
    app: App,
    caller: Caller,
    Segment(name): Segment,
    ask: Ask<Create>,
) -> Result<Response, ApiError> {
    let r#type = match ask.body.r#type.as_deref() {
        None => Type::External,
        Some(word) => Type::from_word(word).ok_or(Code::UnknownKeyType)?,
    };
    let key_name = text("name", &ask.body.name, 64)?;
    let draft = Draft::read(&app, &caller, r#type, ask.body).await?;
    agent::get(app.db(), &caller, &name, Action::Update, app.now()).await?; // early 404 or 403; decided again below
    let write = match app.write(route::KEYS_CREATE, &caller, ask.kept).await? {
        Begun::First(write) => write,
        Begun::Again(answer) => return Ok(answer),
    };
    let target = agent::get(&write.tx, &write.caller, &name, Action::Update, app.now()).await?;
    let id = KeyId::generate(app.now(), app.chance());
    let sealed = match &draft {
        Draft::Webhook(secret) => Some(seal(&app, &target.id, &id, secret)?),
        Draft::Bearer { .. } => None,
    };
    let by = write.caller.subject_id();
    let new = key::New {
        id: &id,
        tenant_id: write.caller.tenant_id(),
        agent_id: &target.id,
        name: &key_name,
        r#type,
        sealed,
        by,
        now: app.now(),
    };
    key::insert(&write.tx, new).await.map_err(|refusal| refusal.with("agent", &target.name))?;
    give_to_maker(&app, &write, &target, &id).await?;
    let mut warnings = Vec::new();
    let secret = match draft {
        Draft::Webhook(secret) => secret.reveal().to_owned(),
        Draft::Bearer { rights, lifetime } => {
            let scope = rights.map_or_else(|| target.scope.clone(), |rights| rights.scope);
            within_ceiling(&write.caller, &target, &scope)?;
            may_give(&app, &write, &target, &scope).await?;
            let (expires_at, capped) = write.caller.cap_life(lifetime, app.now())?;
            warnings.extend(capped);
            mint::warn_of_no_effect(&write.caller, &scope, target.owner.role, true, &mut warnings);
            let (agent, owner) = (&target.id, &target.owner.id);
            let credential = CredentialId::generate(app.now(), app.chance());
            let bearer = Bearer { id: &credential, key: &id, agent, owner, name: &key_name, scope: &scope, expires_at };
            bearer.mint(&app, &write.tx, &write.caller).await?.reveal().to_owned()
        }
    };
    let made = key::get(&write.tx, &write.caller, (&target.name, id.as_str()), Action::Read, app.now()).await?;
    let answer = Answer::secret(StatusCode::CREATED, &Shown { record: &made.key, key: &secret, warnings: &warnings })?;
    write.finish(target.id.as_str(), Null, audited(&made.key), answer).await
}

/// Who makes a key is its editor. So is the owner of an agent that makes one for somebody else's: a grant to an agent counts
/// only for what its owner may do too.
async fn give_to_maker(app: &App, write: &Write<'_>, target: &Agent, key: &KeyId) -> Result<(), ApiError> {
    let caller = &write.caller;
    let by = caller.subject_id();
    let person = caller.user_id().as_str();
    let also = (by != person && target.owner.id.as_str() != person).then_some(person);
    for subject in std::iter::once(by).chain(also) {
        let new = grant::New {
            tenant: caller.tenant_id(),
            object: key.as_str(),
            subject,
            relation: "editor",
            by,
            now: app.now(),
        };
        grant::insert(&write.tx, &new).await?;
    }
    Ok(())
}

/// For the audit trail.
fn audited(key: &Key) -> serde_json::Value {
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

/// `POST /api/agents/{name}/keys/{id}/rotate`: a new secret of the same key. A bearer's old one lives through the grace; a
/// webhook's ends at once.
pub(crate) async fn rotate(
    app: App,
    caller: Caller,
    Segment(name): Segment,
    Segment(id): Segment,
    ask: Ask<Rotate>,
) -> Result<Response, ApiError> {
    let asked = ask.body.grace_seconds;
    mint::grace(asked, 0)?;
    let value = brought(ask.body.value)?;
    let path = (name.as_str(), id.as_str());
    let early = key::get(app.db(), &caller, path, Action::Update, app.now()).await?; // 404 or 403; decided again below
    let r#type = early.key.r#type; // which a key never changes
    if r#type.is_webhook() && asked.is_some() {
        return Err(strange("grace_seconds", r#type));
    }
    if !r#type.is_webhook() && value.is_some() {
        return Err(strange("value", r#type));
    }
    let write = match app.write(route::KEYS_ROTATE, &caller, ask.kept).await? {
        Begun::First(write) => write,
        Begun::Again(answer) => return Ok(answer),
    };
    let found = key::get(&write.tx, &write.caller, path, Action::Update, app.now()).await?;
    let (secret, rotated) = if r#type.is_webhook() {
        let secret = value.unwrap_or_else(|| WebhookSecret::generate(app.chance()));
        let sealed = seal(&app, &found.agent_id, &found.key.id, &secret)?;
        key::reseal(&write.tx, &found.key.id, sealed, app.now()).await?;
        (secret.reveal().to_owned(), Rotated::default())
    } else {
        let (secret, rotated) = rotate_bearer(&app, &write, &found, asked).await?;
        (secret.reveal().to_owned(), rotated)
    };
    let made = key::get(&write.tx, &write.caller, path, Action::Read, app.now()).await?;
    let shown = Shown { record: &made.key, key: &secret, warnings: &rotated.warnings };
    let answer = Answer::secret(StatusCode::CREATED, &shown)?;
    let before = json!({ "key": found.key.id, "token": found.key.secret, "grace_ends": rotated.grace_ends });
    write.finish(found.agent_id.as_str(), before, audited(&made.key), answer).await
}

/// What there is to say of a rotation.
#[derive(Default)]
struct Rotated {
    grace_ends: Option<Timestamp>,
    warnings: Vec<String>,
}

async fn rotate_bearer(
    app: &App,
    write: &Write<'_>,
    found: &Found,
    asked: Option<i64>,
) -> Result<(Secret, Rotated), ApiError> {
    let (caller, key) = (&write.caller, &found.key);
    let ended = || Code::KeyEnded.with("agent", &found.agent).with("id", key.id.as_str());
    let (Some(old), Some(scope)) = (&key.secret, &key.scope) else { return Err(ended()) };
    let target = agent::get(&write.tx, caller, &found.agent, Action::Update, app.now()).await?;
    let (mut expires_at, mut warnings, mut least) = (key.expires_at, Vec::new(), 0);
    if old == caller.credential_id() {
        least = mint::OWN_GRACE; // itself: its own scope and end, which is no minting
    } else if key::holds(&write.tx, &key.id, caller.credential_id()).await? {
        // In its grace it replaces nothing: a retry must not end the secret that replaced it.
        let step = format!("POST /api/agents/{}/keys/{}/rotate", found.agent, key.id);
        return Err(Code::TokenReplaced.with("step", step));
    } else {
        let too_wide = |refusal: ApiError| match refusal.code() {
            Code::ScopeTooWide => refusal.instead(Code::RotationTooWide),
            _ => refusal,
        };
        may_give(app, write, &target, scope).await.map_err(too_wide)?;
        let (cap, warning) = caller.cap_life(None, app.now())?;
        if cap.is_some() && expires_at.is_none_or(|end| cap.is_some_and(|cap| cap < end)) {
            expires_at = cap;
            warnings.extend(warning);
        }
    }
    let grace = mint::grace(asked, least)?;
    let grace_ends = (grace > 0).then(|| app.now().plus_seconds(grace));
    let id = CredentialId::generate(app.now(), app.chance());
    if !token::replace(&write.tx, old, &id, grace_ends, app.now()).await? {
        return Err(ended());
    }
    let (agent, owner, name) = (&target.id, &target.owner.id, key.name.as_str());
    let bearer = Bearer { id: &id, key: &key.id, agent, owner, name, scope, expires_at };
    let secret = bearer.mint(app, &write.tx, caller).await?;
    Ok((secret, Rotated { grace_ends, warnings }))
}

/// `DELETE /api/agents/{name}/keys/{id}`: the key is gone with its grants, its secrets are refused from the next request on,
/// and its name is free.
pub(crate) async fn delete(
    app: App,
    caller: Caller,
    Segment(name): Segment,
    Segment(id): Segment,
) -> Result<Response, ApiError> {
    let path = (name.as_str(), id.as_str());
    key::get(app.db(), &caller, path, Action::Delete, app.now()).await?; // early 404 or 403; decided again below
    let write = app.relieve(route::KEYS_DELETE, &caller).await?;
    let found = key::get(&write.tx, &write.caller, path, Action::Delete, app.now()).await?;
    let revoked = key::delete(&write.tx, &found, app.now()).await?;
    let after = json!({ "revoked": revoked });
    write.finish(found.agent_id.as_str(), audited(&found.key), after, Answer::empty()).await
}
