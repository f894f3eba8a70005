//! Audit rows. Each change writes its row in its own transaction: no row, no change.

use serde_json::Value as Json;

use crate::{
    caller::Caller,
    db::{DbError, Tx},
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

/// Writes a row for each agent `a` whose state is about to become `to`, by one statement. `with` comes before the statement and
/// may name a table; `which` is a condition on `a`; both know `subject` as `?1`.
pub(crate) async fn of_states(
    write: &Write<'_>,
    to: &str,
    (with, which, subject): (&str, &str, &str),
) -> Result<(), DbError> {
    let (app, caller) = (write.app(), &write.caller);
    // The time of the ids is made here, their chance where the rows are: hexadecimal digits are digits of an id too.
    let id = AuditId::generate(app.now(), app.chance());
    let sql = format!(
        "{with} INSERT INTO audit (id, at, tenant_id, user_id, agent_id, credential_id, address, request_id, action, object_id, outcome,
                                   before, after)
         SELECT ?2 || lower(hex(randomblob(8))), ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, a.id, 'done', json_object('state', a.state),
                json_object('state', ?11)
         FROM agents a WHERE a.archived_at IS NULL AND {which}"
    );
    let row = crate::args![
        subject,
        id.time_part(),
        app.now(),
        caller.tenant_id(),
        caller.user_id(),
        caller.agent_id(),
        caller.credential_id(),
        app.address(),
        app.request_id().as_str(),
        write.action(),
        to,
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
