//! An agent's state and what it spends: columns of table `agents`.

use crate::{
    agent::{Agent, deploy::is_deployed},
    args,
    audit::{self, Many},
    db::{Affected, Db, DbError, FromRow, Purpose, Reads, Row, Tx},
    event,
    origin::Origin,
    permission::BELOW,
};
use common::{
    agent::AgentState,
    error::{ApiError, Code},
    event::EventKind,
    id::{AgentId, CredentialId},
    probe::ProbeStatus,
    time::Timestamp,
};
use serde_json::Value as Json;

/// The refusal of a change that is impossible while the agent above is halted. `name` is the name by which the caller may know it. `None`: the
/// caller may not read it.
pub fn parent_halted(parent: &Agent, name: Option<&str>) -> ApiError {
    let verb = if parent.state == AgentState::Paused { "resume" } else { "start" };
    let owner = &parent.owner.email;
    match name {
        Some(name) => Code::ParentHalted.with("parent", name).with("verb", verb).with("owner", owner),
        None => {
            let fix = format!("Ask its owner {owner} to {verb} the agent above it. Then send the same request again.");
            ApiError::from(Code::ParentHalted).fix(fix)
        }
    }
}

/// How many agents below this one are paused or stopped.
pub async fn halted_below(tx: &Tx<'_>, id: &AgentId) -> Result<i64, DbError> {
    let sql = format!(
        "{BELOW} SELECT count(*) AS number FROM below CROSS JOIN agents a ON a.id = below.id WHERE a.id <> ?1 AND a.state <> 'running'"
    );
    Ok(tx.optional(&sql, args![id]).await?.unwrap_or(0))
}

/// A change of state.
pub struct StateChange<'a> {
    /// The states that it changes.
    pub from: &'static [AgentState],
    /// The state that it brings.
    pub to: AgentState,
    /// Whether it reaches all agents below too.
    pub reaches_below: bool,
    /// The user or agent that changes it: an address, or an agent's id.
    pub by: &'a str,
    /// The event that each agent gets of it.
    pub event: (EventKind, &'a Json),
}

/// Changes the state of an agent, and of those below it where the change reaches them; gives the ids of all that were in one of
/// the states that it changes. Each agent below has an audit row of its own; that of the named one is the caller's to write.
pub async fn change(
    tx: &Tx<'_>,
    (origin, action): (&Origin<'_>, &str),
    id: &AgentId,
    change: &StateChange<'_>,
) -> Result<Vec<AgentId>, DbError> {
    let from = change.from.iter().map(|state| state.as_str()).collect::<Vec<_>>().join("', '");
    if change.reaches_below {
        let which = format!("a.id IN (SELECT id FROM below WHERE depth > 1) AND a.state IN ('{from}')");
        let subject = id.as_str();
        let after = change.to.as_str();
        let many = Many { with: BELOW, which: &which, subject, member: "state", after, is_archived: false };
        audit::insert_for_many(tx, origin, action, &many).await?;
    }
    let reached = if change.reaches_below { "SELECT id FROM below" } else { "SELECT ?1" };
    let which = format!("a.id IN ({reached}) AND a.archived_at IS NULL AND a.state IN ('{from}')");
    let (kind, data) = change.event;
    let with = if change.reaches_below { BELOW } else { "" };
    event::push_to_many(tx, origin, &event::Many { with, which: &which, subject: id.as_str(), kind, data }).await?;
    let sql = format!(
        "{BELOW} UPDATE agents SET inbox_seq = inbox_seq + 1, state = ?2, state_changed_at = ?3, state_changed_by = ?4, updated_at = ?3
         WHERE id IN ({reached}) AND archived_at IS NULL AND state IN ('{from}') RETURNING id"
    );
    tx.list(&sql, args![id, change.to, origin.now, change.by]).await
}

/// Stops every agent of the caller's tenant that is not stopped; returns their number.
pub async fn stop_all(tx: &Tx<'_>, audited: (&Origin<'_>, &str), by: &str, data: &Json) -> Result<i64, DbError> {
    let which = "a.tenant_id = ?1 AND a.archived_at IS NULL AND a.state <> 'stopped'";
    set_many(tx, audited, ("", which), (AgentState::Stopped, by), data).await
}

/// Undoes the tenant's last stop of all for the agents that it found in state `to` and whose state nobody has set since; returns their
/// number. An agent below one that stays stopped stays stopped, so running agents are restored before paused ones.
pub async fn start_all(
    tx: &Tx<'_>,
    audited: (&Origin<'_>, &str),
    by: &str,
    to: AgentState,
    data: &Json,
) -> Result<i64, DbError> {
    let state = to.as_str();
    let with = format!(
        "WITH RECURSIVE last (request_id) AS (
             SELECT s.request_id FROM audit s WHERE s.object_id = ?1 AND s.action = 'agent.stop_all' AND s.outcome = 'done'
             ORDER BY s.seq DESC LIMIT 1),
         halted (id, parent_id) AS MATERIALIZED (
             SELECT a.id, a.parent_id
             FROM last CROSS JOIN audit r ON r.request_id = last.request_id CROSS JOIN agents a ON a.id = r.object_id
             WHERE r.action = 'agent.stop_all' AND r.before ->> 'state' = '{state}'
               AND a.archived_at IS NULL AND a.state = 'stopped' AND a.state_changed_at = r.at),
         restored (id) AS (
             SELECT h.id FROM halted h LEFT JOIN agents p ON p.id = h.parent_id AND p.archived_at IS NULL
             WHERE p.id IS NULL OR p.state IN ('running', '{state}')
             UNION ALL SELECT h.id FROM restored above JOIN halted h ON h.parent_id = above.id) "
    );
    set_many(tx, audited, (&with, "a.id IN (SELECT id FROM restored)"), (to, by), data).await
}

/// Sets the state of many agents of the caller's tenant, with an audit row and an event for each; returns their number. `which` is a
/// condition on the agent `a`; it and `with`, the text before the statement, know the tenant as `?1`.
async fn set_many(
    tx: &Tx<'_>,
    (origin, action): (&Origin<'_>, &str),
    (with, which): (&str, &str),
    (to, by): (AgentState, &str),
    data: &Json,
) -> Result<i64, DbError> {
    let subject = origin.tenant.as_str();
    // Counted first, under the same lock: otherwise a row for each of many thousand agents would have to be returned here.
    let sql = format!("{with}SELECT count(*) FROM agents a WHERE {which}");
    let count: i64 = tx.optional(&sql, args![subject]).await?.unwrap_or(0);
    if count > 0 {
        let many = Many { with, which, subject, member: "state", after: to.as_str(), is_archived: false };
        audit::insert_for_many(tx, origin, action, &many).await?;
        let kind = EventKind::AgentStateChanged;
        event::push_to_many(tx, origin, &event::Many { with, which, subject, kind, data }).await?;
        let sql = format!(
            "{with}UPDATE agents AS a
             SET inbox_seq = inbox_seq + 1, state = ?2, state_changed_at = ?3, state_changed_by = ?4, updated_at = ?3 WHERE {which}"
        );
        tx.execute(&sql, args![subject, to, origin.now, by]).await?;
    }
    Ok(count)
}

/// The data that a heartbeat returns.
pub struct HeartbeatState {
    /// The state.
    pub state: AgentState,
    /// Cents that the agent may spend; `None`: no bound.
    pub budget_cents: Option<i64>,
    /// Cents that it has spent.
    pub spent_cents: i64,
    /// Events in its inbox.
    pub unread: i64,
    /// When it was found to have spent more than it may.
    pub over_budget_at: Option<Timestamp>,
    /// Its probes, by name.
    pub probes: Vec<ProbeResult>,
    /// Whether this is the first heartbeat since it was deployed.
    pub is_deployed: bool,
}

/// A probe of an agent, with what its last run found.
pub struct ProbeResult {
    /// The name.
    pub name: String,
    /// The outcome; `None`: it was not run.
    pub status: Option<ProbeStatus>,
    /// What was found, as a sentence.
    pub detail: String,
    /// The time of the last run.
    pub checked_at: Option<Timestamp>,
}

/// Reads the probes of a heartbeat, which are one column, so that it stays one statement.
fn probes(text: &str) -> Option<Vec<ProbeResult>> {
    type Written = (String, Option<String>, Option<String>, Option<i64>);
    let rows: Vec<Written> = serde_json::from_str(text).ok()?;
    let result = |(name, status, detail, checked_at): Written| {
        let status = match status {
            None => None,
            Some(word) => Some(ProbeStatus::from_word(&word)?),
        };
        let checked_at = checked_at.map(Timestamp::from_millis);
        Some(ProbeResult { name, status, detail: detail.unwrap_or_default(), checked_at })
    };
    rows.into_iter().map(result).collect()
}

impl FromRow for HeartbeatState {
    fn from_row(row: &mut Row) -> Result<Self, DbError> {
        Ok(Self {
            state: row.take()?,
            budget_cents: row.take()?,
            spent_cents: row.take()?,
            unread: row.take()?,
            over_budget_at: row.take()?,
            probes: probes(&row.take::<String>()?).ok_or(DbError::Row("not the probes of an agent"))?,
            is_deployed: row.take()?,
        })
    }
}

/// Marks an agent as seen, if it is the agent itself that reports, and stores what it reports as spent, if that is more than it reported
/// before. One hot statement. `None`: the agent is archived.
pub async fn heartbeat(
    db: &Db,
    (id, credential): (&AgentId, &CredentialId),
    (spent, is_itself): (Option<i64>, bool),
    now: Timestamp,
) -> Result<Option<HeartbeatState>, DbError> {
    let sql = concat!(
        "UPDATE agents SET last_seen_at = iif(?5, ?2, last_seen_at), silent_told_at = iif(?5, NULL, silent_told_at), spent_cents = max(spent_cents, ifnull(?3, 0)),
                                 over_budget_at = iif(max(spent_cents, ifnull(?3, 0)) > budget_cents, over_budget_at, NULL)
               WHERE id = (SELECT ?1) AND archived_at IS NULL
               RETURNING state, budget_cents, spent_cents, (SELECT count(*) FROM inbox WHERE agent_id = (SELECT ?1)) AS unread, over_budget_at,
                         (SELECT json_group_array(json_array(p.name, p.status, p.detail, p.checked_at))
                          FROM (SELECT * FROM probes WHERE agent_id = (SELECT ?1) ORDER BY name) p) AS probes,
                         ",
        is_deployed!("(SELECT ?4)"),
        " AS is_deployed"
    );
    let beats = match db.hot(sql, args![id, now, spent, credential, is_itself]).await {
        // One that puts the agent over its budget has an epoch, which a full database must not keep out.
        Err(DbError::Full) => db.single(Purpose::Revoking, sql, args![id, now, spent, credential, is_itself]).await,
        beats => beats,
    };
    Ok(beats?.into_iter().next())
}

/// Remembers that an agent has spent more than its budget; `false`: that was known.
pub async fn is_news_that_over_budget(tx: &Tx<'_>, id: &AgentId, now: Timestamp) -> Result<bool, DbError> {
    let sql = "UPDATE agents SET over_budget_at = ?2
               WHERE id = ?1 AND over_budget_at IS NULL AND spent_cents > budget_cents RETURNING 1";
    Ok(tx.optional::<Affected>(sql, args![id, now]).await?.is_some())
}
