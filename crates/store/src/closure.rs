//! Table `closures`: what a change has ended, and since when no guard can accept it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use crate::{
    args,
    credential::status::is_unended,
    db::{Affected, Db, DbError, FromRow, Purpose, Reads, Row, Rows, Tx},
    guard::{self, Waiting},
    origin::Origin,
};
use common::{
    id::{AuditId, ClosureId, TenantId},
    json,
    secret::Digest,
    time::Timestamp,
};

/// Ids of each kind that are kept at most: of what is more, the counts say how many.
const MOST_IDS: usize = 1_000;

/// How many of each kind can be used no longer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Ended {
    /// Agents that were halted or archived, or whose owner can no longer sign in.
    pub agents: i64,
    /// Accounts.
    pub people: i64,
    /// Tokens of agents, and personal access tokens.
    pub tokens: i64,
    /// API keys of agents, and secrets of webhooks of others.
    pub keys: i64,
    /// Sessions.
    pub sessions: i64,
    /// Approvals that counted.
    pub approvals: i64,
    /// Event streams that were open, which end at their next look.
    pub streams: i64,
}

impl FromRow for Ended {
    fn from_row(row: &mut Row) -> Result<Self, DbError> {
        Ok(Self {
            agents: row.take()?,
            people: row.take()?,
            tokens: row.take()?,
            keys: row.take()?,
            sessions: row.take()?,
            approvals: row.take()?,
            streams: row.take()?,
        })
    }
}

/// The ids of what can be used no longer, of each kind as many as are kept: in the order of their making.
#[derive(Serialize)]
struct Ids {
    agents: Vec<String>,
    people: Vec<String>,
    tokens: Vec<String>,
    keys: Vec<String>,
    sessions: Vec<String>,
    approvals: Vec<String>,
}

/// Counts and ids in one row.
struct Counted(Ended, Ids);

impl FromRow for Counted {
    fn from_row(row: &mut Row) -> Result<Self, DbError> {
        let ended = Ended::from_row(row)?;
        let mut ids = || -> Result<Vec<String>, DbError> {
            let mut ids: Vec<String> = row.take()?;
            ids.sort_unstable();
            Ok(ids)
        };
        let ids =
            Ids { agents: ids()?, people: ids()?, tokens: ids()?, keys: ids()?, sessions: ids()?, approvals: ids()? };
        Ok(Self(ended, ids))
    }
}

/// Whether a guard can still accept any of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "ClosureStatus")]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// None can.
    Closed,
    /// Some guards have not heard of it, and their leases run.
    Partial,
}

/// A closure as it is answered.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Closure {
    /// The id.
    pub id: ClosureId,
    /// The number of the last thing that the change took away.
    pub epoch: i64,
    /// The action, as in the audit trail.
    pub action: String,
    /// The id of the object that was named.
    pub object: String,
    /// The time of the request.
    pub at: Timestamp,
    /// What has ended.
    pub ended: Ended,
    /// Whether a guard can still accept any of it.
    pub status: Status,
    /// Since when nobody accepts any of it; null while a guard still can.
    pub closed_at: Option<Timestamp>,
    /// The latest moment at which a guard can still accept some of it; null if none can.
    pub latest: Option<Timestamp>,
    /// The guards that have not heard of it.
    pub waiting: Vec<Waiting>,
}

/// A closure as it is stored.
#[derive(Debug)]
pub struct Stored {
    /// The id.
    pub id: ClosureId,
    /// The tenant.
    pub tenant: TenantId,
    /// The person behind the change.
    pub user: String,
    /// The agent that made it.
    pub agent: Option<String>,
    action: String,
    object: String,
    at: Timestamp,
    epoch: i64,
    ended: Ended,
    closed_at: Option<Timestamp>,
    /// The row of the change in the trail, and the ids of what has ended. `None`: it is of a release that kept neither.
    audit: Option<AuditId>,
    ids: Option<Json>,
}

impl FromRow for Stored {
    fn from_row(row: &mut Row) -> Result<Self, DbError> {
        Ok(Self {
            id: row.take()?,
            tenant: row.take()?,
            user: row.take()?,
            agent: row.take()?,
            action: row.take()?,
            object: row.take()?,
            at: row.take()?,
            epoch: row.take()?,
            ended: serde_json::from_str(&row.take::<String>()?).map_err(|_| DbError::Row("no counts of a closure"))?,
            closed_at: row.take()?,
            audit: row.take()?,
            ids: row
                .take::<Option<String>>()?
                .map(|ids| json::parse(&ids).ok_or(DbError::Row("no ids of a closure")))
                .transpose()?,
        })
    }
}

const COLUMNS: &str = "id, tenant_id, user_id, agent_id, action, object_id, at, epoch, ended, closed_at, audit_id, ids";

/// The change that opens a closure.
pub struct New<'a> {
    /// Its audited action.
    pub action: &'a str,
    /// The id of its object.
    pub object: &'a str,
    /// The tenant's last number before it.
    pub since: i64,
    /// The person behind it.
    pub user: &'a str,
    /// Its row in the trail.
    pub audit: &'a AuditId,
}

/// What the numbers between `?2` and `?3` of the tenant `?1` are about, at the moment `?4`. A credential counts once, whether it was
/// revoked itself or is its agent's or its person's.
fn counts() -> String {
    let live = is_unended("?4");
    let kinds = ["gone", "people", "tokens", "keys", "sessions", "approvals"];
    let counts = kinds.map(|kind| format!("(SELECT count(*) FROM {kind}) AS number_of_{kind}")).join(", ");
    let lists = kinds
        .map(|kind| {
            format!("(SELECT json_group_array(id) FROM (SELECT id FROM {kind} LIMIT {MOST_IDS})) AS ids_of_{kind}")
        })
        .join(", ");
    format!(
        "WITH e AS (SELECT kind, object_id, change FROM epochs WHERE tenant_id = ?1 AND epoch > ?2 AND epoch <= ?3),
              people AS (SELECT DISTINCT object_id AS id FROM e WHERE kind = 'user' AND change = 'ended'),
              gone AS (SELECT object_id AS id FROM e WHERE kind = 'agent' AND change <> 'narrowed'
                       UNION SELECT a.id FROM people CROSS JOIN agents a ON a.owner_id = people.id WHERE a.archived_at IS NULL),
              ids AS (SELECT object_id AS id FROM e WHERE kind = 'credential' AND change = 'ended'
                      UNION SELECT c.id FROM gone CROSS JOIN credentials c ON c.agent_id = gone.id WHERE {live}
                      UNION SELECT c.id FROM people CROSS JOIN credentials c ON c.user_id = people.id WHERE c.agent_id IS NULL AND {live}),
              kinds AS (SELECT c.kind, c.id FROM ids CROSS JOIN credentials c ON c.id = ids.id),
              tokens AS (SELECT id FROM kinds WHERE kind IN ('pat', 'agent_token')),
              keys AS (SELECT id FROM kinds WHERE kind = 'api_key' UNION ALL SELECT object_id FROM e WHERE kind = 'key'),
              sessions AS (SELECT id FROM kinds WHERE kind = 'session'),
              approvals AS (SELECT access_requests.id FROM gone CROSS JOIN access_requests ON access_requests.agent_id = gone.id
                            WHERE access_requests.state = 'approved' AND access_requests.ends_at > ?4
                            UNION ALL
                            SELECT access_requests.id
                            FROM (SELECT DISTINCT object_id AS id FROM e WHERE kind = 'agent' AND change = 'narrowed') AS less
                            CROSS JOIN access_requests ON access_requests.agent_id = less.id
                            WHERE access_requests.state = 'revoked' AND access_requests.decided_at = ?4),
              subjects AS (SELECT id FROM gone UNION SELECT id FROM people)
         SELECT {counts},
                (SELECT count(*) FROM subjects CROSS JOIN streams ON streams.subject_id = subjects.id WHERE streams.until > ?4) AS streams,
                {lists}"
    )
}

/// Writes down what a change has ended, in its transaction. `None`: nothing.
pub async fn open(tx: &Tx<'_>, origin: &Origin<'_>, new: &New<'_>) -> Result<Option<Stored>, DbError> {
    let epoch = crate::epoch::last(tx, origin.tenant).await?;
    if epoch == new.since {
        return Ok(None);
    }
    let counted = tx.optional(&counts(), args![origin.tenant, new.since, epoch, origin.now]).await?;
    let Counted(ended, ids) = counted.ok_or(DbError::Row("no counts of a closure"))?;
    let (ended, ids) = (json::to_text(&serde_json::json!(ended)), json::to_text(&serde_json::json!(ids)));
    let sql = format!(
        "INSERT INTO closures (id, tenant_id, user_id, agent_id, action, object_id, at, since, epoch, ended, audit_id, ids)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12) RETURNING {COLUMNS}"
    );
    let id = ClosureId::generate(origin.now, origin.chance);
    let row = args![
        &id,
        origin.tenant,
        new.user,
        origin.agent,
        new.action,
        new.object,
        origin.now,
        new.since,
        epoch,
        ended,
        new.audit,
        ids
    ];
    tx.optional(&sql, row).await
}

/// The closure with this id.
pub async fn find(reads: &dyn Rows, id: &str) -> Result<Option<Stored>, DbError> {
    let sql = format!("SELECT {COLUMNS} FROM closures WHERE id = ?1");
    reads.optional(&sql, args![id]).await
}

impl Stored {
    /// Adds it to what the audit row of its change says of the object afterwards, so that the sealed trail holds it.
    pub fn add_to(&self, after: &mut Json) {
        let digest = self.digest().to_string();
        let closure = serde_json::json!({ "id": self.id, "epoch": self.epoch, "ended": self.ended, "digest": digest });
        match after {
            Json::Object(members) => drop(members.insert("closure".to_owned(), closure)),
            after => *after = serde_json::json!({ "closure": closure }),
        }
    }

    /// What never changes of it.
    pub fn facts(&self) -> Json {
        serde_json::json!({
            "id": self.id, "tenant": self.tenant, "user": self.user, "agent": self.agent, "action": self.action,
            "object": self.object, "at": self.at, "epoch": self.epoch, "ended": self.ended, "ids": self.ids,
        })
    }

    /// The digest of [`Stored::facts`] as compact JSON: the row of the change in the trail names it.
    pub fn digest(&self) -> Digest {
        Digest::of(json::to_text(&self.facts()).as_bytes())
    }

    /// The row of the change in the trail.
    pub fn audit(&self) -> Option<&AuditId> {
        self.audit.as_ref()
    }

    /// The closure before its transaction has committed: a guard may still accept all of it.
    pub fn provisional(&self) -> Closure {
        self.shown(Status::Partial, Vec::new())
    }

    /// The closure at `now`, a moment after its transaction has committed, and closed from then on if no guard can accept any of it.
    pub async fn settled(&mut self, db: &Db, now: Timestamp) -> Result<Closure, DbError> {
        let mut waiting = match self.closed_at {
            Some(_) => Vec::new(),
            None => guard::waiting(db, &self.tenant, self.epoch, now).await?,
        };
        if waiting.is_empty() && self.closed_at.is_none() {
            // Another one may have closed it: the first moment stays.
            close(db, &[self.id.as_str()], now).await?;
            self.closed_at = find(db, self.id.as_str()).await?.and_then(|stored| stored.closed_at);
            if self.closed_at.is_none() {
                waiting = guard::waiting(db, &self.tenant, self.epoch, now).await?;
            }
        }
        let status = if self.closed_at.is_some() { Status::Closed } else { Status::Partial };
        Ok(self.shown(status, waiting))
    }

    fn shown(&self, status: Status, waiting: Vec<Waiting>) -> Closure {
        Closure {
            id: self.id.clone(),
            epoch: self.epoch,
            action: self.action.clone(),
            object: self.object.clone(),
            at: self.at,
            ended: self.ended.clone(),
            status,
            closed_at: self.closed_at,
            latest: waiting.first().map(|guard| guard.until),
            waiting,
        }
    }
}

/// A guard that can still accept what the closure at hand has ended, at the moment `?2`.
const OPEN: &str =
    "SELECT 1 FROM guards g WHERE g.tenant_id = closures.tenant_id AND g.until > ?2 AND g.heard < closures.epoch";

/// Open closures that no guard holds open, tenant by tenant, the oldest first. Those that one does keep none from being found.
pub async fn list_due(reads: &dyn Rows, most: i64, now: Timestamp) -> Result<Vec<String>, DbError> {
    let sql = format!(
        "SELECT id FROM closures WHERE closed_at IS NULL AND NOT EXISTS ({OPEN}) ORDER BY tenant_id, id LIMIT ?1"
    );
    reads.list(&sql, args![most, now]).await
}

/// Closes those of these closures that no guard can accept any of. `now` is a moment after they were found, so that it is one after their
/// transactions have committed.
pub async fn close(db: &Db, ids: &[&str], now: Timestamp) -> Result<(), DbError> {
    let sql = format!(
        "UPDATE closures SET closed_at = ?2
         WHERE id IN (SELECT value FROM json_each(?1)) AND closed_at IS NULL AND NOT EXISTS ({OPEN}) RETURNING 1"
    );
    let ids = json::to_text(&serde_json::json!(ids));
    match db.hot::<Affected>(&sql, args![&ids, now]).await {
        Err(DbError::Full) => db.single::<Affected>(Purpose::Revoking, &sql, args![&ids, now]).await.map(drop),
        closed => closed.map(drop),
    }
}
