//! Table `audit`, as it is read: which caller may see which rows, and which parts of them.

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value as Json;

use crate::{
    args,
    db::{Affected, DbError, FromRow, Reads, Row, Rows, Value},
    permission::{self, Binder},
    person::Named,
    subject::Subject,
};
use common::{
    email,
    id::{AuditId, CredentialId, KeyId, UserId, begins_as_id},
    json,
    permission::Action,
    time::Timestamp,
};

/// A row of the trail, as it is answered.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "AuditRow")]
pub struct Entry {
    /// The id.
    pub id: AuditId,
    /// When it happened; of refusals, the minute.
    pub at: Timestamp,
    /// The action; of refusals, the slug.
    pub action: String,
    /// `done` or `refused`.
    pub outcome: String,
    /// Refusals that are summed in this row.
    pub count: i64,
    /// The person or agent that did it.
    pub actor: Actor,
    /// With which credential.
    pub credential_id: Option<String>,
    /// Session, PAT, agent token or API key.
    pub credential_kind: Option<String>,
    /// From where.
    pub address: Option<String>,
    /// In which request.
    pub request_id: Option<String>,
    /// The id of what it was done to.
    pub object: Option<String>,
    /// Its name, or address, now; null: it has none, is gone, or the caller may not read it.
    pub object_name: Option<String>,
    /// How it was before.
    pub before: Json,
    /// How it was afterwards.
    pub after: Json,
}

/// A person or an agent that did something.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "AuditActor")]
pub struct Actor {
    /// The person: of an agent, its owner at that time.
    pub user_id: Option<String>,
    /// The person's address.
    pub email: Option<String>,
    /// The agent, if one did it.
    pub agent_id: Option<String>,
    /// The agent's name.
    pub agent_name: Option<String>,
}

impl FromRow for Entry {
    fn from_row(row: &mut Row) -> Result<Self, DbError> {
        Ok(Self {
            id: row.take()?,
            at: row.take()?,
            action: row.take()?,
            outcome: row.take()?,
            count: row.take()?,
            actor: Actor { user_id: row.take()?, email: row.take()?, agent_id: row.take()?, agent_name: row.take()? },
            credential_id: row.take()?,
            credential_kind: row.take()?,
            address: row.take()?,
            request_id: row.take()?,
            object: row.take()?,
            object_name: row.take()?,
            before: stored_json(row)?,
            after: stored_json(row)?,
        })
    }
}

fn stored_json(row: &mut Row) -> Result<Json, DbError> {
    match row.take::<Option<String>>()? {
        None => Ok(Json::Null),
        Some(text) => json::parse(&text).ok_or(DbError::Row("not JSON")),
    }
}

/// The filter of the trail.
#[derive(Default)]
pub struct Filter {
    /// A user's id or address, an agent's id or name.
    pub actor: Option<String>,
    /// The action or slug.
    pub action: Option<String>,
    /// Any id, a user's address, an agent's, scope's or preset's name.
    pub object: Option<String>,
    /// The id of a credential, or of an API key, which stands for all secrets that it ever had.
    pub credential: Option<String>,
    /// The id of a request.
    pub request: Option<String>,
    /// `done` or `refused`.
    pub outcome: Option<String>,
    /// Not before.
    pub since: Option<Timestamp>,
    /// Before.
    pub until: Option<Timestamp>,
    /// What such people and their agents did; beside an actor, what either did.
    pub people: Option<Named>,
}

/// Whether an actor's name is a person's: an id or an address.
fn is_person(actor: &str) -> bool {
    actor.contains('@') || actor.starts_with(UserId::PREFIX)
}

impl Filter {
    /// Whether it leaves only rows of one agent, object, credential or request, for each of which there is an index.
    fn names_one(&self) -> bool {
        self.object.is_some()
            || self.credential.is_some()
            || self.request.is_some()
            || self.people.is_none() && self.actor.as_deref().is_some_and(|actor| !is_person(actor))
    }
}

/// At most `limit` rows that the caller may see, the newest first, behind the row `after` (empty: from the newest).
///
/// A caller with audit.read_all sees all rows of its tenant. Other callers see what was done by or to agents that they may read
/// (an archived one: that was theirs); of another agent in such a row only the id, and not what was written to it.
pub async fn list(
    reads: &dyn Rows,
    subject: &Subject,
    sees_all: bool,
    filter: &Filter,
    after: &str,
    limit: i64,
) -> Result<Vec<Entry>, DbError> {
    let mut binder = Binder::default();
    let tenant = binder.bind(&subject.tenant);
    let may = may_see(subject, sees_all, &mut binder);
    let wanted = conditions(filter, after, sees_all, (&tenant, &may), &mut binder);
    let newest = format!("ORDER BY r.seq DESC LIMIT {}", binder.bind(limit));
    let (with, wanted) = if sees_all {
        (String::new(), wanted)
    } else {
        // The newest of each agent's rows by the indexes, then the newest of all of these: the work grows with what the caller
        // may see, not with the trail.
        let rows = |column: &str| {
            format!(
                "SELECT x.seq FROM mine m JOIN audit x
                 ON x.seq IN (SELECT r.seq FROM audit r WHERE r.{column} = m.id AND {wanted} {newest})"
            )
        };
        (
            format!("WITH mine AS MATERIALIZED (SELECT a.id FROM agents a WHERE a.tenant_id = {tenant} AND {may}) "),
            format!("r.seq IN ({} UNION {})", rows("agent_id"), rows("object_id")),
        )
    };
    let sql = select(&with, &tenant, &may) + &format!(" WHERE {wanted} {newest}");
    reads.list(&sql, binder.into_args()).await
}

/// Whether the caller may see what the agent `a` did.
fn may_see(subject: &Subject, sees_all: bool, binder: &mut Binder) -> String {
    if sees_all {
        return "1".to_owned();
    }
    let live = permission::on_agent(subject, Action::Read, binder);
    let archived = permission::on_agent(subject, Action::Delete, binder);
    format!("iif(a.archived_at IS NULL, {live}, {archived})")
}

/// Whether an agent that the caller may know of has this name, or was archived with it.
pub async fn is_agent(reads: &dyn Rows, subject: &Subject, sees_all: bool, name: &str) -> Result<bool, DbError> {
    let mut binder = Binder::default();
    let (tenant, name) = (binder.bind(&subject.tenant), binder.bind(name));
    let may = may_see(subject, sees_all, &mut binder);
    let sql = format!("SELECT 1 WHERE {} IS NOT NULL", agent_named(&name, (&tenant, &may)));
    Ok(reads.optional::<Affected>(&sql, binder.into_args()).await?.is_some())
}

/// The id of the agent that has this name, or else of the last one that was archived with it.
fn agent_named(name: &str, (tenant, may): (&str, &str)) -> String {
    let named = format!(
        "SELECT a.id FROM agents a WHERE a.tenant_id = {tenant} AND a.name = {name} AND {may} AND a.archived_at"
    );
    format!("ifnull(({named} IS NULL), ({named} IS NOT NULL ORDER BY a.archived_at DESC, a.id DESC LIMIT 1))")
}

/// The conditions on a row `r` behind `after` that the filter leaves.
fn conditions(
    filter: &Filter,
    after: &str,
    sees_all: bool,
    (tenant, may): (&str, &str),
    binder: &mut Binder,
) -> String {
    // The unary plus keeps the index of the tenant out of the way of those of one agent, object, credential or request.
    let is_narrow = !sees_all || filter.names_one();
    let mut wanted = format!("{}r.tenant_id = {tenant}", if is_narrow { "+" } else { "" });
    if !after.is_empty() {
        let after = binder.bind(after);
        wanted.push_str(&format!(" AND r.seq < (SELECT seq FROM audit WHERE id = {after} AND tenant_id = {tenant})"));
    }
    let by_actor = filter.actor.as_ref().map(|actor| {
        let column = if is_person(actor) { "user_id" } else { "agent_id" };
        match actor.contains('@') {
            true => format!("r.{column} IN ({})", people_of(actor, tenant, binder)),
            false => format!("r.{column} = {}", id_of(actor, (tenant, may), binder)),
        }
    });
    let by_people = filter.people.as_ref().map(|people| {
        let is_one = people.was(binder);
        format!("EXISTS (SELECT 1 FROM users u WHERE u.id = r.user_id AND u.tenant_id = {tenant} AND {is_one})")
    });
    // A word can name an agent and people.
    let by: Vec<String> = by_actor.into_iter().chain(by_people).collect();
    if !by.is_empty() {
        wanted.push_str(&format!(" AND ({})", by.join(" OR ")));
    }
    if let Some(address) = filter.object.as_ref().filter(|object| object.contains('@')) {
        wanted.push_str(&format!(" AND r.object_id IN ({})", people_of(address, tenant, binder)));
    } else if let Some(object) = &filter.object {
        // Rows about a scope or a preset hold its name.
        let (id, name) = (id_of(object, (tenant, may), binder), binder.bind(object));
        // A person is shown without the domain.
        let (begin, end) = (binder.bind(format!("{object}@")), binder.bind(format!("{object}A")));
        wanted.push_str(&match begins_as_id(object) {
            false => format!(
                " AND r.object_id IN (SELECT ifnull({id}, {name}) AS id
                                      UNION ALL SELECT u.id FROM users u
                                      WHERE u.tenant_id = {tenant} AND u.email_key >= {begin} AND u.email_key < {end})"
            ),
            // What is done to a credential of an agent is about the agent.
            true if object.starts_with(CredentialId::PREFIX) => format!(
                " AND r.object_id IN (SELECT {name} AS id UNION ALL SELECT c.agent_id FROM credentials c
                                      WHERE c.id = {name} AND c.agent_id IS NOT NULL AND c.tenant_id = {tenant})
                  AND (r.object_id = {name} OR r.before ->> 'token' = {name})"
            ),
            true => format!(" AND r.object_id = {name}"),
        });
    }
    if let Some(credential) = &filter.credential {
        let id = binder.bind(credential);
        wanted.push_str(&match credential.starts_with(KeyId::PREFIX) {
            false => format!(" AND r.credential_id = {id}"),
            true => format!(
                " AND r.credential_id IN (SELECT c.id FROM credentials c WHERE c.key_id = {id}
                                          UNION ALL SELECT p.id FROM purged_credentials p WHERE p.key_id = {id})"
            ),
        });
    }
    let simple: [(&str, Option<Value>); 5] = [
        ("request_id =", filter.request.as_deref().map(Value::from)),
        ("action =", filter.action.as_deref().map(Value::from)),
        ("outcome =", filter.outcome.as_deref().map(Value::from)),
        ("at >=", filter.since.map(Value::from)),
        ("at <", filter.until.map(Value::from)),
    ];
    for (condition, value) in simple {
        if let Some(value) = value {
            wanted.push_str(&format!(" AND r.{condition} {}", binder.bind(value)));
        }
    }
    wanted
}

/// The id of a person or an agent: an agent that is named is looked up among those that the caller may know of.
fn id_of(named: &str, (tenant, may): (&str, &str), binder: &mut Binder) -> String {
    match named.contains('_') {
        true => binder.bind(named),
        false => agent_named(&binder.bind(named), (tenant, may)),
    }
}

/// Selects the ids of the person that has this address and of those that had it until they were deleted.
fn people_of(address: &str, tenant: &str, binder: &mut Binder) -> String {
    let key = binder.bind(email::key(address));
    format!(
        "SELECT id FROM users WHERE tenant_id = {tenant} AND email_key = {key}
         UNION ALL SELECT id FROM users WHERE tenant_id = {tenant} AND email_key > 'deleted ' AND email_key < 'deleted!' AND lower(email) = {key}"
    )
}

/// The columns of an [`Entry`]; `may` says whether the caller may read the agent `a`.
fn select(with: &str, tenant: &str, may: &str) -> String {
    let hidden = format!("EXISTS (SELECT 1 FROM agents a WHERE a.id = r.object_id AND NOT {may})");
    format!(
        "{with}SELECT r.id, r.at, r.action, r.outcome, r.count, r.user_id,
                (SELECT u.email FROM users u WHERE u.id = r.user_id AND u.tenant_id = {tenant}) AS email, r.agent_id,
                (SELECT a.name FROM agents a WHERE a.id = r.agent_id AND a.tenant_id = {tenant} AND {may}) AS agent,
                r.credential_id,
                ifnull((SELECT c.kind FROM credentials c WHERE c.id = r.credential_id),
                       (SELECT p.kind FROM purged_credentials p WHERE p.id = r.credential_id)) AS kind, r.address, r.request_id, r.object_id,
                CASE substr(r.object_id, 1, 4)
                    WHEN 'agt_' THEN (SELECT a.name FROM agents a WHERE a.id = r.object_id AND a.tenant_id = {tenant} AND {may})
                    WHEN 'usr_' THEN (SELECT u.email FROM users u WHERE u.id = r.object_id AND u.tenant_id = {tenant})
                    WHEN 'tok_' THEN (SELECT ifnull(c.name, (SELECT a.name FROM agents a WHERE a.id = c.agent_id AND {may})) FROM credentials c
                                      WHERE c.id = r.object_id AND c.tenant_id = {tenant})
                    WHEN 'whk_' THEN (SELECT w.name FROM webhooks w WHERE w.id = r.object_id AND w.tenant_id = {tenant})
                    WHEN 'cli_' THEN (SELECT o.name FROM oauth_clients o WHERE o.id = r.object_id AND o.tenant_id = {tenant})
                    WHEN 'res_' THEN (SELECT s.name FROM resources s WHERE s.id = r.object_id AND s.tenant_id = {tenant})
                END AS object_name,
                iif({hidden}, NULL, r.before) AS before, iif({hidden}, NULL, r.after) AS after
         FROM audit r"
    )
}

/// What was done and what was refused in an hour.
#[derive(Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "HourOfTrail")]
pub struct Hour {
    /// When it begins.
    pub at: Timestamp,
    /// Changes.
    pub done: i64,
    /// Refusals.
    pub refused: i64,
}

impl FromRow for Hour {
    fn from_row(row: &mut Row) -> Result<Self, DbError> {
        Ok(Self { at: row.take()?, done: row.take()?, refused: row.take()? })
    }
}

/// What was done and refused in the hour that begins then and in the hours after it: by everybody for a caller that sees all, or else by
/// the caller and the caller's agents. Hours in which nothing happened are left out.
pub async fn hours(
    reads: &dyn Rows,
    subject: &Subject,
    sees_all: bool,
    (since, until): (Timestamp, Timestamp),
) -> Result<Vec<Hour>, DbError> {
    let by = if sees_all { "" } else { " AND r.user_id = ?4" };
    // An hour is a stretch of the index, which is in the order of time: nothing is sorted.
    let sum = |outcome: &str| {
        format!(
            "(SELECT ifnull(sum(r.count), 0) FROM audit r
              WHERE r.tenant_id = ?1 AND r.at >= h.at AND r.at < h.at + 3600000 AND r.outcome = '{outcome}'{by})"
        )
    };
    let sql = format!(
        "WITH RECURSIVE h (at) AS (SELECT ?2 UNION ALL SELECT h.at + 3600000 FROM h WHERE h.at + 3600000 <= ?3)
         SELECT h.at AS at, {} AS done, {} AS refused FROM h ORDER BY at",
        sum("done"),
        sum("refused")
    );
    let mut args = args![&subject.tenant, since, until];
    if !sees_all {
        args.push(Value::from(&subject.user));
    }
    let mut hours: Vec<Hour> = reads.list(&sql, args).await?;
    hours.retain(|hour| hour.done + hour.refused > 0);
    Ok(hours)
}

/// The newest rows of what the subject and its agents did since then, as [`list`] shows them.
pub async fn own(reads: &dyn Rows, subject: &Subject, since: Timestamp, limit: i64) -> Result<Vec<Entry>, DbError> {
    let mut binder = Binder::default();
    let (tenant, user) = (binder.bind(&subject.tenant), binder.bind(&subject.user));
    let (since, limit) = (binder.bind(since), binder.bind(limit));
    let may = permission::on_agent(subject, Action::Read, &mut binder);
    let sql = select("", &tenant, &may)
        + &format!(
            " WHERE r.seq IN (SELECT seq FROM audit WHERE tenant_id = {tenant} AND at >= {since} AND user_id = {user}
                              ORDER BY at DESC LIMIT {limit})
              ORDER BY r.seq DESC"
        );
    reads.list(&sql, binder.into_args()).await
}

/// A row whole, in a form in which nothing can be hidden: texts as bytes, whatever they hold.
pub struct RawRow {
    /// The number.
    pub seq: i64,
    /// Every column, the number first.
    pub columns: Vec<Value>,
}

/// Columns of the table: all of them. One that a later migration adds needs another form of the seals.
const COLUMNS: usize = 15;

impl FromRow for RawRow {
    fn from_row(row: &mut Row) -> Result<Self, DbError> {
        let columns: Vec<Value> = (0..COLUMNS).map(|_| row.take()).collect::<Result<_, _>>()?;
        match columns.first() {
            Some(Value::Integer(seq)) => Ok(Self { seq: *seq, columns }),
            _ => Err(DbError::Row("an audit row without a number")),
        }
    }
}

impl RawRow {
    /// The row's id, if it is one of this tenant.
    pub fn id_within(&self, tenant: &str) -> Option<String> {
        let text = |at: usize| match self.columns.get(at) {
            Some(Value::Blob(bytes)) => std::str::from_utf8(bytes).ok(),
            _ => None,
        };
        text(1).filter(|_| text(3) == Some(tenant)).map(str::to_owned)
    }
}

/// All columns of a row.
macro_rules! raw {
    ($where:literal) => {
        concat!(
            "SELECT seq, CAST(id AS BLOB), at, CAST(tenant_id AS BLOB), CAST(user_id AS BLOB), CAST(agent_id AS BLOB),
                    CAST(credential_id AS BLOB), CAST(address AS BLOB), CAST(request_id AS BLOB), CAST(action AS BLOB),
                    CAST(object_id AS BLOB), CAST(outcome AS BLOB), count, CAST(before AS BLOB), CAST(after AS BLOB)
             FROM audit WHERE ",
            $where
        )
    };
}

/// At most `limit` rows of all tenants with numbers above `after` and up to `to`, the oldest first.
pub async fn raw_rows(reads: &dyn Rows, after: i64, to: i64, limit: i64) -> Result<Vec<RawRow>, DbError> {
    reads.list(raw!("seq > ?1 AND seq <= ?2 ORDER BY seq LIMIT ?3"), args![after, to, limit]).await
}

/// The row with this id. `None`: it was deleted, since it was older than the operator keeps rows.
pub async fn raw_row(reads: &dyn Rows, id: &AuditId) -> Result<Option<RawRow>, DbError> {
    reads.optional(raw!("id = ?1"), args![id]).await
}

/// A case of [`UNINDEXED`]: an index, and the column by which it finds rows.
macro_rules! lacks {
    ($index:literal, $column:literal) => {
        lacks!($index, $column, "")
    };
    ($index:literal, $column:literal, $more:literal) => {
        concat!(
            " WHEN t.",
            $column,
            " IS NOT NULL AND NOT EXISTS (SELECT 1 FROM audit i INDEXED BY ",
            $index,
            " WHERE i.",
            $column,
            " = t.",
            $column,
            $more,
            " AND i.seq = t.seq) THEN '",
            $index,
            "'"
        )
    };
}

/// The test of the same name knows that these are all indexes of the table.
pub(super) const UNINDEXED: &str = concat!(
    "SELECT seq, name FROM (SELECT t.seq, CASE",
    lacks!("sqlite_autoindex_audit_1", "id"),
    lacks!("audit_by_tenant", "tenant_id"),
    lacks!("audit_by_object", "object_id"),
    lacks!("audit_by_agent", "agent_id"),
    lacks!("audit_by_credential", "credential_id"),
    lacks!("audit_by_request", "request_id"),
    lacks!("audit_by_time", "tenant_id", " AND i.at = t.at"),
    " END AS name FROM audit t NOT INDEXED WHERE t.seq > ?1 AND t.seq <= ?2) WHERE name IS NOT NULL ORDER BY seq LIMIT 1"
);

/// The first row with a number above `after` and up to `to` that an index does not have, and which index. For a schema that is as the
/// migrations make it: what an index holds can differ from what it should hold all the same.
pub async fn unindexed(reads: &dyn Rows, after: i64, to: i64) -> Result<Option<(i64, String)>, DbError> {
    reads.optional(UNINDEXED, args![after, to]).await
}

impl FromRow for (i64, String) {
    fn from_row(row: &mut Row) -> Result<Self, DbError> {
        Ok((row.take()?, row.take()?))
    }
}

/// Rows with numbers above `seq`.
pub async fn count_above(reads: &dyn Rows, seq: i64) -> Result<i64, DbError> {
    Ok(reads.optional("SELECT count(*) FROM audit WHERE seq > ?1", args![seq]).await?.unwrap_or(0))
}
