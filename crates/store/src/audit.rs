//! Table `audit`. Each change writes its row in its own transaction: no row, no change.

pub mod chain;
pub mod checkpoint;
pub mod refusals;
pub mod retention;
pub mod seal;
pub mod trail;

use common::{id::AuditId, json};
use serde_json::Value as Json;

use crate::{
    args,
    db::{Affected, DbError, Reads, Rows, Tx},
    origin::Origin,
};

/// The event, for the row.
pub struct Event<'a> {
    /// The action, such as `agent.create`: the route's [`common::route::Route::audit`].
    pub action: &'static str,
    /// The id of what it was done to.
    pub object: &'a str,
    /// How it was before, without secrets; null when it did not exist.
    pub before: Json,
    /// How it is now, without secrets; null when it no longer exists.
    pub after: Json,
}

/// Whether no trigger is on the table but ours, which let nothing change a row (`build.rs` writes it). Then no trigger anywhere can take
/// a row away, or say something else in it: the row is what was written.
macro_rules! is_guarded {
    () => {
        include_str!(concat!(env!("OUT_DIR"), "/guarded.sql"))
    };
}

/// Reads itself back: what it returns is whether the row is there, and says what was meant.
const INSERT: &str = concat!(
    "INSERT INTO audit (id, at, tenant_id, user_id, agent_id, credential_id, address, request_id, action, object_id, outcome, before, after)
     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, 'done', ?11, ?12)
     RETURNING (id, at, tenant_id, user_id, agent_id, credential_id, address, request_id, action, object_id, outcome, count, before, after)
            IS (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, 'done', 1, ?11, ?12) AND ",
    is_guarded!(),
    " AS meant"
);

fn not_as_written() -> DbError {
    DbError::Unavailable(
        "something in the file drops or rewrites audit rows: no change is made without its row".to_owned(),
    )
}

/// Writes the row of a change. An error fails the change: the row is not there, or is not what was meant.
pub async fn insert(tx: &Tx<'_>, origin: &Origin<'_>, event: &Event<'_>) -> Result<(), DbError> {
    insert_as(tx, origin, &AuditId::generate(origin.now, origin.chance), event).await
}

/// The same with this id.
pub async fn insert_as(tx: &Tx<'_>, origin: &Origin<'_>, id: &AuditId, event: &Event<'_>) -> Result<(), DbError> {
    let json = |value: &Json| (!value.is_null()).then(|| json::to_text(value));
    let row = args![
        id,
        origin.now,
        origin.tenant,
        origin.user,
        origin.agent,
        origin.credential,
        origin.address,
        origin.request,
        event.action,
        event.object,
        json(&event.before),
        json(&event.after),
    ];
    match tx.optional(INSERT, row).await? {
        Some(1) => Ok(()),
        _ => Err(not_as_written()),
    }
}

/// Fails a transaction whose rows were written by a statement for many, if they may not be what was meant.
pub(crate) async fn check_guarded(tx: &Tx<'_>) -> Result<(), DbError> {
    match tx.optional(concat!("SELECT ", is_guarded!(), " AS guarded"), args![]).await? {
        Some(1) => Ok(()),
        _ => Err(not_as_written()),
    }
}

/// Whether there is a row of this action about a credential: about its agent and this token, or about the credential itself.
pub async fn exists(reads: &dyn Rows, (object, token): (&str, &str), action: &str) -> Result<bool, DbError> {
    let sql = "SELECT 1 FROM audit WHERE object_id IN (?1, ?2) AND action = ?3
               AND (object_id = ?2 OR before ->> 'token' = ?2) LIMIT 1";
    Ok(reads.optional::<Affected>(sql, args![object, token, action]).await?.is_some())
}

/// The members that differ between two objects: an audit row holds the members that were changed, not the others.
pub fn changed(before: Json, after: Json) -> (Json, Json) {
    let (Json::Object(mut before), Json::Object(mut after)) = (before, after) else { return (Json::Null, Json::Null) };
    before.retain(|name, value| {
        let differs = after.get(name) != Some(value);
        if !differs {
            after.shift_remove(name);
        }
        differs
    });
    (Json::Object(before), Json::Object(after))
}

/// Many agents that one statement is about to change, for their audit rows.
pub(crate) struct Many<'a> {
    /// The text before the statement, which may name a table.
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
pub(crate) async fn insert_for_many(
    tx: &Tx<'_>,
    origin: &Origin<'_>,
    action: &str,
    many: &Many<'_>,
) -> Result<(), DbError> {
    let Many { with, which, member, .. } = many;
    // The time part of the ids is made here, their random part by SQLite: hexadecimal digits are digits of an id too.
    let id = AuditId::generate(origin.now, origin.chance);
    let sql = format!(
        "{with} INSERT INTO audit (id, at, tenant_id, user_id, agent_id, credential_id, address, request_id, action, object_id, outcome,
                                   before, after)
         SELECT ?2 || lower(hex(randomblob(8))), ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, a.id, 'done', json_object('{member}', a.{member}),
                iif(?12, json_object('{member}', ?11, 'archived', json('true')), json_object('{member}', ?11))
         FROM agents a WHERE {which}"
    );
    let row = args![
        many.subject,
        id.time_part(),
        origin.now,
        origin.tenant,
        origin.user,
        origin.agent,
        origin.credential,
        origin.address,
        origin.request,
        action,
        many.after,
        many.is_archived,
    ];
    tx.execute(&sql, row).await?;
    check_guarded(tx).await
}
