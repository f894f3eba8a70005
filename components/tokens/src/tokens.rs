//! Personal access tokens (PATs): the credentials of a person's command line and CI.
//!
//! Only a session makes a PAT. A session of its person rotates it, or it rotates itself: the new one has its name, scope and end, and
//! the old one lives through a grace. A second rotation ends the first grace.

use common::{
    error::{ApiError, Code, Flaws},
    event::EventKind,
    id::{AgentId, CredentialId},
    scope::Patterns,
    secret::{Kind, Secret},
    text::{isolated, part, text},
    time::{Lifetime, Timestamp},
};
use http::StatusCode;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Value::Null, json};
use service::{
    app::App,
    caller::Caller,
    change::{Answer, Change, Done, Write},
    extract::{Body, Path, Query},
    form,
    form::PageQuery,
    mint::{self, Life, NewCredential},
    quota,
    response::{Response, json},
};
use store::{
    code,
    credential::{
        self,
        list::{self, Filter, Sort, Token},
        status::CredentialStatus,
    },
    db::Rows,
    outbox, tenant,
};

form! {
    pub(crate) struct Create {
        name: String,
        scope: Option<Vec<String>>,
        ..life: Life,
    }
}

/// A new PAT: its record, and the one time that its secret is shown.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "NewToken")]
pub(crate) struct Shown<'a> {
    #[serde(flatten)]
    record: &'a Token,
    token: &'a str,
    warnings: &'a [String],
}

/// Makes a PAT of the caller's person.
async fn insert(
    write: &Write<'_>,
    name: &str,
    scope: &Patterns,
    expires_at: Option<Timestamp>,
) -> Result<(Token, Secret), ApiError> {
    let new = NewCredential {
        kind: Kind::Pat,
        id: CredentialId::generate(write.now(), write.app().chance()),
        user: write.caller.user_id(),
        agent: None,
        key: None,
        name: Some(name),
        scope,
        expires_at,
        grantee: None,
    };
    let secret = mint::credential(&write.tx, &write.origin(), &new).await?;
    let record = get_own(&write.tx, &write.caller, new.id.as_str(), write.now()).await?;
    Ok((record, secret))
}

/// `POST /auth/tokens`: makes a PAT. The route takes sessions only, so that no PAT makes another.
pub(crate) async fn create(mut change: Change<Body<Create>>) -> Result<Response, ApiError> {
    let Body(body) = &mut change.input;
    let mut flaws = Flaws::default();
    let name = flaws.check("name", text("name", &body.name, 64));
    let scope = body.scope.take().unwrap_or_else(|| vec!["*".to_owned()]);
    let scope = flaws.check("scope", change.caller.read_scope(&scope));
    let asked = flaws.check(body.life.field(), body.life.read());
    let (Some(name), Some(scope), Some(asked)) = (name, scope, asked) else { return Err(flaws.refusal()) };
    if asked == Some(Lifetime::Never) {
        change.require_fresh()?;
    }

    change
        .run(async |write, _| {
            let mut warnings = Vec::new();
            let lifetime = match asked {
                Some(asked) => asked,
                None => tenant::get(&write.tx, write.caller.tenant_id()).await?.pat_lifetime(),
            };
            if lifetime == Lifetime::Never {
                write.require_fresh()?;
            }
            quota::check_credentials(write.app(), &write.tx, &write.caller, write.caller.user_id()).await?;
            mint::warn_of_no_effect(&write.caller, &scope, write.caller.role(), false, &mut warnings);
            let expires_at = lifetime.ending(write.now());
            let (record, secret) = insert(write, &name, &scope, expires_at).await?;
            let shown = Shown { record: &record, token: secret.reveal(), warnings: &warnings };
            // Somebody who has a session for a moment could make themselves one that lasts.
            let told = json!({ "name": name, "scope": scope, "expires_at": expires_at });
            write.mail(write.caller.user_id(), outbox::Kind::TokenMade, told).await?;
            let after = json!({ "name": name, "scope": scope, "expires_at": expires_at });
            Ok(Answer::created(&shown)?.with_secret().audited(&record.id, Null, after))
        })
        .await
}

/// One of the PATs of the caller's person.
async fn get_own(reads: &dyn Rows, caller: &Caller, id: &str, now: Timestamp) -> Result<Token, ApiError> {
    let found = list::find(reads, caller.tenant_id(), Some(caller.user_id()), id, now).await?;
    found.ok_or_else(|| Code::TokenNotFound.into())
}

form! {
    pub(crate) struct List {
        q: Option<String>,
        kind: Option<String>,
        sort: Option<String>,
        status: Option<String>,
        ..page: PageQuery,
    }
}

/// Reads `sort`.
pub(crate) fn read_sort(word: Option<&str>) -> Result<Sort, ApiError> {
    let invalid = || Code::InvalidFilter.with("field", "sort").with("valid", Sort::WORDS);
    word.map_or(Ok(Sort::default()), |word| Sort::from_word(word).ok_or_else(invalid))
}

/// Reads `status`.
pub(crate) fn read_status(word: Option<&str>) -> Result<Option<CredentialStatus>, ApiError> {
    let valid = || CredentialStatus::ALL.map(CredentialStatus::as_str).join(", ");
    let invalid = || Code::InvalidFilter.with("field", "status").with("valid", valid());
    word.map(|word| CredentialStatus::from_word(word).ok_or_else(invalid)).transpose()
}

/// `GET /auth/tokens`: the PATs of the caller's person; with `kind=any` also the credentials of that person's agents.
pub(crate) async fn list(app: App, caller: Caller, Query(query): Query<List>) -> Result<Response, ApiError> {
    let (sort, status) = (read_sort(query.sort.as_deref())?, read_status(query.status.as_deref())?);
    let q = part(query.q.as_deref())?;
    let page = caller.page(&app, &query.page)?;
    let kind = match query.kind.as_deref() {
        None | Some("pat") => Some(Kind::Pat),
        Some("any") => None,
        Some(_) => return Err(Code::InvalidFilter.with("field", "kind").with("valid", "pat, any")),
    };
    let (own, q, lasting) = (Some(caller.user_id()), q.as_deref(), kind.is_none());
    let filter = Filter { own, q, kind, lasting, status, sort, ..Filter::default() };
    let rows = list::list(app.db(), caller.tenant_id(), &filter, &page, app.now()).await?;
    json(StatusCode::OK, &page.page(rows, |row| (Timestamp::from_millis(row.place), row.id.to_string())))
}

/// `GET /auth/tokens/{id}`: one of the PATs of the caller's person. A PAT may always read itself.
pub(crate) async fn get(app: App, caller: Caller, Path(id): Path) -> Result<Response, ApiError> {
    json(StatusCode::OK, &get_own(app.db(), &caller, &id, app.now()).await?)
}

form! {
    pub(crate) struct Rotate {
        grace_seconds: Option<i64>,
    }
}

/// The PAT, if the caller may rotate it: a session of its person, or the PAT itself.
async fn get_to_rotate(reads: &dyn Rows, caller: &Caller, id: &str, now: Timestamp) -> Result<Token, ApiError> {
    let found = get_own(reads, caller, id, now).await?;
    if found.id != *caller.credential_id() && caller.credential_kind() != Kind::Session {
        return Err(caller
            .session_required()
            .detail("A personal access token can rotate only itself. Rotating another token needs a session."));
    }
    Ok(found)
}

/// `POST /auth/tokens/{id}/rotate`: a new secret with the name, scope and end of the old one.
pub(crate) async fn rotate(change: Change<Body<Rotate>>, Path(id): Path) -> Result<Response, ApiError> {
    let Body(body) = &change.input;
    let is_itself = change.caller.credential_id().as_str() == id;
    let grace = mint::grace(body.grace_seconds, if is_itself { mint::OWN_GRACE } else { 0 })?;
    let now = change.app.now();
    let find = async |reads: &dyn Rows, caller: &Caller, id: &str| get_to_rotate(reads, caller, id, now).await;

    change
        .on(&id, find, async |write, old, _| {
            if old.client.is_some() {
                return Err(Code::AppToken.with("token", old.id.as_str()));
            }
            if old.replaced_by.is_some() {
                return Err(replaced(write, &old).await?);
            }
            // Rotating is not minting: the new one has the old one's scope and end. But a session that nobody has proved for a while gets no
            // secret that never ends.
            if old.expires_at.is_none() && write.caller.credential_kind() == Kind::Session {
                write.require_fresh()?;
            }
            let name = old.name.as_deref().unwrap_or("PAT");
            let scope = old.scope.defined(write.caller.custom_scopes());
            let (record, secret) = insert(write, name, &scope, old.expires_at).await?;
            credential::bind_as(&write.tx, &record.id, &old.id).await?;
            let grace_ends = (grace > 0).then(|| now.plus_seconds(grace));
            // A rotation must not bring back to life what has ended.
            if !list::replace(&write.tx, &old.id, &record.id, grace_ends, now).await? {
                return Err(Code::TokenEnded.into());
            }
            // Somebody who has a session for a moment could so take a token that lasts.
            if write.caller.credential_kind() == Kind::Session {
                let told = json!({ "name": name, "scope": scope, "expires_at": old.expires_at, "replaces": true });
                write.mail(write.caller.user_id(), outbox::Kind::TokenMade, told).await?;
            }
            let warnings = Vec::from_iter(mint::warn_of_end(old.expires_at, now));
            let shown = Shown { record: &record, token: secret.reveal(), warnings: &warnings };
            let after = json!({ "replaced_by": record.id, "grace_ends": grace_ends });
            Ok(Answer::created(&shown)?.with_secret().audited(&old.id, Null, after))
        })
        .await
}

/// The refusal of a token that was rotated before. It names the one that works now: a client that lost the answer goes on with that one,
/// and makes no third.
async fn replaced(write: &Write<'_>, old: &Token) -> Result<ApiError, ApiError> {
    Ok(match credential::successor(&write.tx, &old.id, None, write.now()).await? {
        Some(next) => Code::TokenReplaced
            .detail(format!("This token was replaced by {}…, so it cannot be rotated again.", next.prefix))
            .with("successor", next.id.as_str())
            .extra("replaced_by", next.id.as_str()),
        None => Code::TokenEnded.detail("This token was replaced, and the token that replaced it has ended too."),
    })
}

/// `DELETE /auth/tokens/{id}`: revokes one of the PATs of the caller's person. 204 too when it was revoked before.
pub(crate) async fn revoke(change: Change<()>, Path(id): Path) -> Result<Response, ApiError> {
    let now = change.app.now();
    let find = async |reads: &dyn Rows, caller: &Caller, id: &str| get_own(reads, caller, id, now).await;
    change.on(&id, find, async |write, found, ()| revoke_found(write, found).await).await
}

/// Revokes a credential, and the one before it if that is in its grace. One that was revoked before stays as it is, with the first moment.
pub(crate) async fn revoke_found(write: &Write<'_>, found: Token) -> Result<Done, ApiError> {
    let ended = credential::revoke_with_former(&write.tx, &found.id, write.now()).await?;
    if ended.is_empty() {
        return Ok(Answer::no_content().unchanged());
    }
    // A runtime that ends its own token may have made room for the one that a code brings.
    if found.id != *write.caller.credential_id() {
        code::end_of_token(&write.tx, &found.id).await?;
    }
    let what = format!("revoked the {} {}…", found.kind.title(), found.prefix);
    let agent = found.owner.agent_id.clone().and_then(|id| AgentId::try_from(id).ok());
    match (&agent, &found.owner.agent_name) {
        (Some(agent), Some(name)) => {
            write.emit_ended(EventKind::AgentTokenRevoked, (agent, name), &what, &ended).await?;
        }
        _ => {
            let (title, body) = told_of_end(write, &found, &what);
            write.tell(&found.owner.user_id, &title, &body).await?;
        }
    }
    // What is done to a credential of an agent is about the agent, so that every caller that may read the agent sees it.
    Ok(match agent {
        Some(agent) => {
            let before = json!({ "token": found.id, "kind": found.kind, "name": found.name });
            Answer::no_content().audited(agent, before, Null)
        }
        None => {
            let before = json!({ "kind": found.kind, "name": found.name, "user_id": found.owner.user_id });
            Answer::no_content().audited(&found.id, before, Null)
        }
    })
}

/// What a person reads of a credential of theirs that somebody else has ended: of an app's, that the app can do nothing any more.
fn told_of_end(write: &Write<'_>, found: &Token, what: &str) -> (String, String) {
    let by = write.author();
    if let Some(app) = &found.client {
        let app = isolated(app);
        let body = format!("{by} ended what you gave the app {app}: it can do nothing in your name any more.");
        return (format!("The app {app} was signed out"), body);
    }
    let name = found.name.as_ref().map(|name| format!(" ({name})")).unwrap_or_default();
    (format!("Your {} was revoked", found.kind.title()), format!("{by} {what}{name} of yours."))
}

#[cfg(test)]
mod tests;
