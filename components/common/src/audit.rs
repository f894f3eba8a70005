//! Audit rows. Each change writes its row in its own transaction: no row, no change.

use serde_json::Value as Json;

use crate::{
    caller::Caller,
    db::{DbError, Happened, Reads, Rows, Tx},
    form::written,
    http::App,
    id::{AuditId, TenantId, UserId},
    write::Write,
};

/// What happened, for the row.
pub struct Event<'a> {
    /// What was done, such as `agent.create`: the route's [`crate::route::Route::audit`].
    pub action: &'static str,
    /// The id of what it was done to.
    pub object: &'a str,
    /// How it was before, without secrets; null when it was not.
    pub before: Json,
    /// How it is now, without secrets; null when it is no more.
    pub after: Json,
}

const INSERT: &str = "
    INSERT INTO audit (id, at, tenant_id, user_id, agent_id, credential_id, address, request_id, action, object_id, outcome, before, after)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, 'done', ?11, ?12)";

/// Writes the row of a caller's change.
pub async fn by_caller(app: &App, tx: &Tx<'_>, caller: &Caller, event: &Event<'_>) -> Result<(), DbError> {
    let credential = caller.credential_id().as_str();
    insert(
        app,
        tx,
        caller.tenant_id(),
        Some(caller.user_id()),
        caller.agent_id().map(|id| id.as_str()),
        Some(credential),
        event,
    )
    .await
}

/// Writes the row of a change that needs no credential: a sign-in, a bootstrap. `user` is whom it made or let in.
pub async fn by_user(
    app: &App,
    tx: &Tx<'_>,
    tenant: &TenantId,
    user: Option<&UserId>,
    event: &Event<'_>,
) -> Result<(), DbError> {
    insert(app, tx, tenant, user, None, None, event).await
}

/// Whether there is a row of this action about an object.
pub async fn is_there(reads: &dyn Rows, object: &str, action: &str) -> Result<bool, DbError> {
    let sql = "SELECT 1 FROM audit WHERE object_id = ?1 AND action = ?2 LIMIT 1";
    Ok(reads.optional::<Happened>(sql, crate::args![object, action]).await?.is_some())
}

/// Of two objects, the members that differ: an audit row holds what was changed, not all that was left.
pub fn changed(before: Json, after: Json) -> (Json, Json) {
    let (Json::Object(mut was), Json::Object(mut is)) = (before, after) else { return (Json::Null, Json::Null) };
    let same: Vec<String> =
        was.iter().filter(|(key, value)| is.get(*key) == Some(value)).map(|(key, _)| key.clone()).collect();
    for key in same {
        was.remove(&key);
        is.remove(&key);
    }
    (Json::Object(was), Json::Object(is))
}

/// Many agents that one statement is about to change, for their audit rows.
pub(crate) struct Many<'a> {
    /// What comes before the statement and may name a table.
    pub with: &'a str,
    /// A condition on the agent `a`; it and `with` know `subject` as `?1`.
    pub which: &'a str,
    /// An id.
    pub subject: &'a str,
    /// The member that changes, and the column that it is of.
    pub member: &'a str,
    /// Its value afterwards.
    pub after: &'a str,
    /// Whether they are archived by it, too.
    pub is_archived: bool,
}

/// Writes a row for each of many agents, by one statement.
pub(crate) async fn of_many(write: &Write<'_>, many: &Many<'_>) -> Result<(), DbError> {
    let (app, caller, Many { with, which, member, .. }) = (write.app(), &write.caller, many);
    // The time of the ids is made here, their chance where the rows are: hexadecimal digits are digits of an id too.
    let id = AuditId::generate(app.now(), app.chance());
    let sql = format!(
        "{with} INSERT INTO audit (id, at, tenant_id, user_id, agent_id, credential_id, address, request_id, action, object_id, outcome,
                                   before, after)
         SELECT ?2 || lower(hex(randomblob(8))), ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, a.id, 'done', json_object('{member}', a.{member}),
                iif(?12, json_object('{member}', ?11, 'archived', json('true')), json_object('{member}', ?11))
         FROM agents a WHERE {which}"
    );
    let row = crate::args![
        many.subject,
        id.time_part(),
        app.now(),
        caller.tenant_id(),
        caller.user_id(),
        caller.agent_id(),
        caller.credential_id(),
        app.address(),
        app.request_id().as_str(),
        write.action(),
        many.after,
        many.is_archived,
    ];
    write.tx.execute(&sql, row).await
}

async fn insert(
    app: &App,
    tx: &Tx<'_>,
    tenant: &TenantId,
    user: Option<&UserId>,
    agent: Option<&str>,
    credential: Option<&str>,
    event: &Event<'_>,
) -> Result<(), DbError> {
    let json = |value: &Json| (!value.is_null()).then(|| written(value));
    let row = crate::args![
        &AuditId::generate(app.now(), app.chance()),
        app.now(),
        tenant,
        user.map(UserId::as_str),
        agent,
        credential,
        app.address(),
        app.request_id().as_str(),
        event.action,
        event.object,
        json(&event.before),
        json(&event.after),
    ];
    tx.execute(INSERT, row).await
}
