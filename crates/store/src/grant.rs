//! Table `grants`: which users and agents may read or edit an object beside its owner.

use common::{
    email,
    id::TenantId,
    permission::{Action, Relation},
    time::Timestamp,
};
use schemars::JsonSchema;
use serde::Serialize;

use crate::{
    agent, args,
    db::{Affected, DbError, FromRow, Reads, Row, Rows, Tx},
    page::{PageRequest, user_named},
    permission::{Binder, PermissionSql},
    subject::Subject,
};

/// Grants of one object at most.
pub const MOST: i64 = 1_000;

/// A grant, as a caller that may share the object sees it.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Grant {
    /// The user or agent that has it.
    pub subject: Named,
    /// Editor or viewer.
    pub relation: Relation,
    /// When.
    pub created_at: Timestamp,
    /// The id of the user or agent that gave it.
    pub created_by: String,
}

/// A user or an agent.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[schemars(rename = "GrantSubject")]
pub struct Named {
    /// `user` or `agent`.
    pub kind: &'static str,
    /// The id.
    pub id: String,
    /// The user's address or the agent's name.
    pub name: String,
}

impl Named {
    fn new(id: String, name: String) -> Self {
        Self { kind: if id.starts_with("agt_") { "agent" } else { "user" }, id, name }
    }
}

impl FromRow for Grant {
    fn from_row(row: &mut Row) -> Result<Self, DbError> {
        Ok(Self {
            subject: Named::new(row.take()?, row.take()?),
            relation: row.take()?,
            created_at: row.take()?,
            created_by: row.take()?,
        })
    }
}

const SELECT: &str = "
    SELECT g.subject_id, ifnull(u.email, s.name), g.relation, g.created_at, g.created_by
    FROM grants g LEFT JOIN users u ON u.id = g.subject_id LEFT JOIN agents s ON s.id = g.subject_id
    WHERE g.object_id = ?1";

/// An object's grants, the newest first.
pub async fn list(reads: &dyn Rows, object: &str, page: &PageRequest) -> Result<Vec<Grant>, DbError> {
    let (at, id) = page.after();
    let sql = format!(
        "{SELECT} AND (g.created_at, g.subject_id || g.relation) < (?2, ?3)
         ORDER BY g.created_at DESC, g.subject_id || g.relation DESC LIMIT ?4"
    );
    reads.list(&sql, args![object, at, id, page.rows()]).await
}

/// One grant.
pub async fn find(reads: &dyn Rows, object: &str, subject: &str, relation: Relation) -> Result<Option<Grant>, DbError> {
    let sql = format!("{SELECT} AND g.subject_id = ?2 AND g.relation = ?3");
    reads.optional(&sql, args![object, subject, relation]).await
}

/// A grant to be stored.
pub struct New<'a> {
    /// The tenant.
    pub tenant: &'a TenantId,
    /// The object that is shared.
    pub object: &'a str,
    /// The id of the user or agent of the same tenant that gets it.
    pub subject: &'a str,
    /// Editor or viewer.
    pub relation: Relation,
    /// The id of the user or agent that gives it.
    pub by: &'a str,
    /// Now.
    pub now: Timestamp,
}

/// The outcome of storing a grant.
#[derive(Debug, PartialEq, Eq)]
pub enum Inserted {
    /// It is there now.
    Created,
    /// It was there before.
    Exists,
    /// The object has as many as it may.
    TooMany,
}

/// Stores a grant.
pub async fn insert(tx: &Tx<'_>, new: &New<'_>) -> Result<Inserted, DbError> {
    let known = "SELECT 1 FROM grants WHERE object_id = ?1 AND subject_id = ?2 AND relation = ?3";
    if tx.optional::<Affected>(known, args![new.object, new.subject, new.relation]).await?.is_some() {
        return Ok(Inserted::Exists);
    }
    let count = "SELECT count(*) FROM grants WHERE object_id = ?1";
    if tx.optional::<i64>(count, args![new.object]).await?.unwrap_or(0) >= MOST {
        return Ok(Inserted::TooMany);
    }
    let sql = "INSERT INTO grants (object_id, subject_id, relation, tenant_id, created_at, created_by) VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
    let row = args![new.object, new.subject, new.relation, new.tenant, new.now, new.by];
    tx.execute(sql, row).await?;
    Ok(Inserted::Created)
}

/// Takes grants of a subject away (by id, address or name): one relation, or all; gives those that there were.
pub async fn delete(
    tx: &Tx<'_>,
    object: &str,
    subject: &str,
    relation: Option<Relation>,
) -> Result<Vec<Grant>, DbError> {
    let sql = format!(
        "{SELECT} AND (?3 IS NULL OR g.relation = ?3)
         AND (g.subject_id = ?2 OR u.email_key = ?4 OR (s.name = ?2 AND s.archived_at IS NULL))"
    );
    let found: Vec<Grant> = tx.list(&sql, args![object, subject.trim(), relation, email::key(subject)]).await?;
    for grant in &found {
        let sql = "DELETE FROM grants WHERE object_id = ?1 AND subject_id = ?2 AND relation = ?3";
        tx.execute(sql, args![object, &grant.subject.id, grant.relation]).await?;
    }
    Ok(found)
}

/// A user or an agent of the tenant, as a grant or an explanation names one.
#[derive(Clone, Debug)]
pub struct NamedSubject {
    /// Kind, id and name.
    pub named: Named,
    /// The subject.
    pub subject: Subject,
    /// Whether the person's account is active.
    pub is_active: bool,
}

impl FromRow for NamedSubject {
    fn from_row(row: &mut Row) -> Result<Self, DbError> {
        let named = Named::new(row.take()?, row.take()?);
        let (tenant, user, role) = (row.take()?, row.take()?, row.take()?);
        let (is_active, agent) = (row.take()?, row.take()?);
        Ok(Self { named, subject: Subject { tenant, user, role, agent, grantee: None }, is_active })
    }
}

/// The user (by id or address) or agent (by id or name) that a text names. An agent that `asking` may not read counts as absent.
pub async fn find_subject(reads: &dyn Rows, asking: &Subject, text: &str) -> Result<Option<NamedSubject>, DbError> {
    let mut binder = Binder::default();
    let text = text.trim();
    let (column, user) = user_named(text);
    let (tenant, user) = (binder.bind(&asking.tenant), binder.bind(user));
    let (name, agent) = (agent::column(text), binder.bind(text));
    let readable = PermissionSql::new(asking, &mut binder).on_agent(Action::Read);
    let sql = format!(
        "SELECT u.id, u.email, u.tenant_id, u.id, u.role, u.deactivated_at IS NULL, NULL
         FROM users u WHERE u.tenant_id = {tenant} AND u.{column} = {user} AND u.deleted_at IS NULL
         UNION ALL
         SELECT a.id, a.name, a.tenant_id, u.id, u.role, u.deactivated_at IS NULL, a.id
         FROM agents a JOIN users u ON u.id = a.owner_id
         WHERE a.tenant_id = {tenant} AND a.{name} = {agent} AND a.archived_at IS NULL AND {readable}
         LIMIT 1"
    );
    reads.optional(&sql, binder.into_args()).await
}
