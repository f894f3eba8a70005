//! Agents, counted and in few words, for the first page of a person.

use common::{agent::AgentState, id::AgentId, permission::Action, scope::Patterns, time::Timestamp};
use schemars::JsonSchema;
use serde::Serialize;

use crate::{
    db::{DbError, FromRow, Reads, Row, Rows, page},
    permission::{Binder, PermissionSql},
    subject::Subject,
};

/// How many agents the caller may read.
#[derive(Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "AgentCounts")]
pub struct Counts {
    /// Running.
    pub running: i64,
    /// Paused.
    pub paused: i64,
    /// Stopped.
    pub stopped: i64,
    /// Of how many people they are.
    pub owners: i64,
}

impl FromRow for Counts {
    fn from_row(row: &mut Row) -> Result<Self, DbError> {
        Ok(Self { running: row.take()?, paused: row.take()?, stopped: row.take()?, owners: row.take()? })
    }
}

/// Counts the agents that the caller may read: for an admin by the index alone, some 80 µs for 1,000 of them.
pub async fn count(reads: &dyn Rows, subject: &Subject) -> Result<Counts, DbError> {
    let mut binder = Binder::default();
    let agents = PermissionSql::new(subject, &mut binder).readable_states();
    let sum = |state: &str| format!("ifnull(sum(n) FILTER (WHERE state = '{state}'), 0) AS {state}");
    let states = ["running", "paused", "stopped"].map(sum).join(", ");
    let sql = format!("SELECT {states}, count(DISTINCT owner_id) AS owners, (SELECT ?2) AS user FROM ({agents})");
    Ok(reads.optional(&sql, binder.into_args()).await?.unwrap_or_default())
}

/// An agent in few words.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "BriefAgent")]
pub struct Brief {
    /// The id.
    pub id: AgentId,
    /// The name.
    pub name: String,
    /// Its name for people, or else its description.
    pub title: Option<String>,
    /// Its state.
    pub state: AgentState,
    /// Its owner's address.
    pub owner: String,
    /// Whether the owner's account is active: while it is not, no credential of the agent works.
    pub owner_active: bool,
    /// The name of the agent above it, for a caller that may read that one.
    pub parent: Option<String>,
    /// Its ceiling.
    pub scope: Patterns,
    /// Its last heartbeat.
    pub last_seen_at: Option<Timestamp>,
}

impl FromRow for Brief {
    fn from_row(row: &mut Row) -> Result<Self, DbError> {
        Ok(Self {
            id: row.take()?,
            name: row.take()?,
            title: row.take()?,
            state: row.take()?,
            owner: row.take()?,
            owner_active: row.take()?,
            parent: row.take()?,
            scope: row.take()?,
            last_seen_at: row.take()?,
        })
    }
}

/// The newest agents that the caller may read.
pub async fn newest(reads: &dyn Rows, subject: &Subject, most: i64) -> Result<Vec<Brief>, DbError> {
    let mut binder = Binder::default();
    let (at, id) = (binder.bind(i64::MAX), binder.bind(""));
    let permission = PermissionSql::new(subject, &mut binder);
    let most = binder.bind(most);
    let above = permission.about("p").on_agent(Action::Read);
    let ids = permission.readable("", (&at, &id), &most);
    let sql = format!(
        "SELECT json_array(a.id, a.name, ifnull(a.display_name, substr(a.description, 1, 120)), a.state, u.email, u.deactivated_at IS NULL, CASE WHEN {above} THEN p.name END,
                           a.scope, a.last_seen_at) AS r
         FROM (SELECT id FROM ({ids}) ORDER BY id DESC) l CROSS JOIN agents a ON a.id = l.id
         JOIN users u ON u.id = a.owner_id LEFT JOIN agents p ON p.id = a.parent_id AND p.archived_at IS NULL"
    );
    reads.packed(&page(&sql), binder.into_args()).await
}
