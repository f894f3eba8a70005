//! Table `credentials` as its people see it: personal access tokens, and all credentials of a tenant for its admins.

use schemars::JsonSchema;
use serde::Serialize;

use super::status::{CredentialStatus, REVOKED, status_until};
use crate::{
    args,
    db::{Affected, DbError, FromRow, Reads, Row, Rows, Tx},
    page::{PageRequest, any_has, like, pattern},
    permission::Binder,
    person::Named,
};
use common::{
    id::{CredentialId, TenantId, UserId},
    scope::Patterns,
    secret::Kind,
    time::Timestamp,
};

/// A credential's record, as much as may be shown.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Token {
    /// The record's id.
    pub id: CredentialId,
    /// Session, PAT, agent token or API key.
    pub kind: Kind,
    /// The name that its person gave it.
    pub name: Option<String>,
    /// The part of it that is shown.
    pub prefix: String,
    /// Its patterns.
    pub scope: Patterns,
    /// Its status.
    pub status: CredentialStatus,
    /// When it was made.
    pub created_at: Timestamp,
    /// Its end; null is never. Of an app's access token that of what was given: until then a refresh brings the next one.
    pub expires_at: Option<Timestamp>,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
    /// The record that replaced it, if it was rotated.
    pub replaced_by: Option<String>,
    /// The id of the user or agent that made it; null: unknown, since it is older than this record.
    pub minted_by: Option<String>,
    /// The record's id of the credential that it was made with.
    pub minted_with: Option<String>,
    /// The id of the editor on whose grant it rests; null: its maker was the agent's owner or an admin.
    pub grantee: Option<String>,
    /// Its last recorded use.
    pub last_used_at: Option<Timestamp>,
    /// From where.
    pub last_used_ip: Option<String>,
    /// The name of the OAuth client that it was given to; null: it is no access token of one.
    pub client: Option<String>,
    /// The name of the agent, if it is one's.
    pub agent: Option<String>,
    /// Its owner; of an agent's: the person who owns the agent now.
    #[serde(skip)]
    pub owner: Owner,
    /// The value that the list is sorted by.
    #[serde(skip)]
    pub place: i64,
}

/// The owner of a credential, and what a session of theirs is used with.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[schemars(rename = "TokenOwner")]
pub struct Owner {
    /// The person.
    pub user_id: UserId,
    /// Their address.
    pub user_email: String,
    /// The agent, if it is one's.
    pub agent_id: Option<String>,
    /// Its name.
    pub agent_name: Option<String>,
    /// What the client of a session called itself when its person signed in; null: it said nothing, or this is no session.
    pub user_agent: Option<String>,
}

impl FromRow for Token {
    fn from_row(row: &mut Row) -> Result<Self, DbError> {
        Ok(Self {
            id: row.take()?,
            kind: row.take()?,
            name: row.take()?,
            prefix: row.take()?,
            scope: row.take()?,
            status: row.take()?,
            created_at: row.take()?,
            expires_at: row.take()?,
            revoked_at: row.take()?,
            replaced_by: row.take()?,
            minted_by: row.take()?,
            minted_with: row.take()?,
            grantee: row.take()?,
            last_used_at: row.take()?,
            last_used_ip: row.take()?,
            client: row.take()?,
            agent: row.take()?,
            owner: Owner {
                user_id: row.take()?,
                user_email: row.take()?,
                agent_id: row.take()?,
                agent_name: row.take()?,
                user_agent: row.take()?,
            },
            place: row.take()?,
        })
    }
}

/// The order of a list; the greatest first, but for the end, where the soonest comes first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sort {
    /// When it was made.
    #[default]
    Created,
    /// Its last recorded use; a credential that was never used comes last.
    LastUsed,
    /// Its end; a credential that never ends comes last.
    Expires,
}

impl Sort {
    /// The words, as they are asked for.
    pub const WORDS: &str = "created_at, last_used_at, expires_at";

    /// The order that a word names.
    pub fn from_word(word: &str) -> Option<Self> {
        match word {
            "created_at" => Some(Self::Created),
            "last_used_at" => Some(Self::LastUsed),
            "expires_at" => Some(Self::Expires),
            _ => None,
        }
    }

    fn expression(self, end: &str) -> String {
        match self {
            Self::Created => "c.created_at".to_owned(),
            Self::LastUsed => "ifnull(c.last_used_at, 0)".to_owned(),
            Self::Expires => format!("-ifnull({end}, 9223372036854775807)"),
        }
    }
}

/// The filter of a list.
#[derive(Default)]
pub struct Filter<'a> {
    /// Of this person, by id.
    pub own: Option<&'a UserId>,
    /// Of this person.
    pub user: Option<Named>,
    /// A part of its name or its agent's, or how it begins.
    pub q: Option<&'a str>,
    /// Of this kind.
    pub kind: Option<Kind>,
    /// Neither sessions nor what clients and workloads renew themselves: what [`ending`] counts.
    pub lasting: bool,
    /// Of this status.
    pub status: Option<CredentialStatus>,
    /// Made with this credential, by id.
    pub minted_with: Option<&'a CredentialId>,
    /// Made by this person or agent, by id.
    pub minted_by: Option<&'a str>,
    /// Not used since; a credential that was never used counts from when it was made.
    pub unused_since: Option<Timestamp>,
    /// The order.
    pub sort: Sort,
}

/// The end of the credential `c`: of an app's access token that of the grant `o`, while that lives, since a refresh brings the next one.
fn end(now: &str) -> String {
    format!("iif(c.revoked_at IS NULL AND o.ended_at IS NULL AND o.ends_at > {now}, o.ends_at, c.expires_at)")
}

fn select(now: &str, place: &str) -> String {
    let end = end(now);
    format!(
        "SELECT c.id, c.kind, c.name, c.prefix, c.scope, {} AS status, c.created_at, {end} AS ends, c.revoked_at, c.replaced_by,
                c.minted_by, c.minted_with, c.grantee, c.last_used_at, c.last_used_address, o.client_name, a.name AS agent, u.id, u.email, a.id, a.name, c.user_agent, {place} AS place
         FROM credentials c
         LEFT JOIN agents a ON a.id = c.agent_id
         LEFT JOIN oauth_grants o ON o.credential_id = c.id
         JOIN users u ON u.id = ifnull(a.owner_id, c.user_id)",
        status_until(&end, now, REVOKED)
    )
}

/// The tenant's credentials that the filter leaves, one page.
pub async fn list(
    reads: &dyn Rows,
    tenant: &TenantId,
    filter: &Filter<'_>,
    page: &PageRequest,
    now: Timestamp,
) -> Result<Vec<Token>, DbError> {
    let mut binder = Binder::default();
    let now = binder.bind(now);
    let place = filter.sort.expression(&end(&now));
    let (at, id) = page.after();
    let (at, id) = (binder.bind(at), binder.bind(id));
    let tenant = binder.bind(tenant);
    // A person's own, and what one credential has made, are found by their indexes, and not among all that the tenant has.
    let is_narrow = filter.own.is_some() || filter.minted_with.is_some() || filter.minted_by.is_some();
    let plus = if is_narrow { "+" } else { "" };
    let mut sql =
        select(&now, &place) + &format!(" WHERE {plus}c.tenant_id = {tenant} AND ({place}, c.id) < ({at}, {id})");
    // An app's access token is one row: the secrets that refreshes replaced are none.
    sql.push_str(" AND (c.replaced_by IS NULL OR c.minted_with IS NOT c.replaced_by)");
    if let Some(own) = filter.own {
        sql.push_str(&format!(" AND c.user_id = {}", binder.bind(own)));
    }
    if let Some(user) = &filter.user {
        sql.push_str(&format!(" AND {}", user.was(&mut binder)));
    }
    if let Some(kind) = filter.kind {
        sql.push_str(&format!(" AND c.kind = {}", binder.bind(kind.as_str())));
    }
    if filter.lasting {
        sql.push_str(" AND c.kind <> 'session' AND c.federated_id IS NULL AND o.credential_id IS NULL");
    }
    if let Some(only) = filter.status {
        // A credential that is expiring is active too.
        let words = match only {
            CredentialStatus::Active => "'active', 'expiring'".to_owned(),
            other => binder.bind(other.as_str()),
        };
        sql.push_str(&format!(" AND {} IN ({words})", status_until(&end(&now), &now, REVOKED)));
    }
    if let Some(q) = filter.q {
        let (q, begun) = (binder.bind(pattern(q)), binder.bind(like(q)));
        let named = any_has(&q, &["c.name", "a.name"]);
        sql.push_str(&format!(" AND ({named} OR c.prefix LIKE substr({begun}, 2) ESCAPE '\\')"));
    }
    if let Some(with) = filter.minted_with {
        sql.push_str(&format!(" AND c.minted_with = {}", binder.bind(with)));
    }
    if let Some(by) = filter.minted_by {
        sql.push_str(&format!(" AND c.minted_by = {} AND c.agent_id IS NOT NULL", binder.bind(by)));
    }
    if let Some(since) = filter.unused_since {
        sql.push_str(&format!(" AND ifnull(c.last_used_at, c.created_at) < {}", binder.bind(since)));
    }
    sql.push_str(&format!(" ORDER BY {place} DESC, c.id DESC LIMIT {}", binder.bind(page.rows())));
    reads.list(&sql, binder.into_args()).await
}

/// How many live credentials of a person and of that person's agents, beside sessions and what clients renew themselves, end before this
/// moment.
pub async fn ending(reads: &dyn Rows, user: &UserId, now: Timestamp, before: Timestamp) -> Result<i64, DbError> {
    let sql = "SELECT count(*) AS n FROM credentials
               WHERE user_id = ?1 AND revoked_at IS NULL AND kind <> 'session' AND federated_id IS NULL AND expires_at > ?2 AND expires_at < ?3
                 AND NOT EXISTS (SELECT 1 FROM oauth_grants o WHERE o.credential_id = credentials.id)";
    Ok(reads.find(sql, args![user, now, before]).await?.unwrap_or_default())
}

/// One credential of the tenant; with `own`, only a PAT of that person.
pub async fn find(
    reads: &dyn Rows,
    tenant: &TenantId,
    own: Option<&UserId>,
    id: &str,
    now: Timestamp,
) -> Result<Option<Token>, DbError> {
    let sql = select("(SELECT ?4)", "0")
        + " WHERE c.id = ?1 AND c.tenant_id = ?2 AND (?3 IS NULL OR (c.user_id = ?3 AND c.kind = 'pat'))";
    reads.optional(&sql, args![id, tenant, own.map(UserId::as_str), now]).await
}

/// Ends a PAT or an API key's secret that is replaced: at once or, with `grace_ends`, then, but never beyond its own end. The one that
/// it had replaced itself ends now. `false`: it is not live, or was replaced before.
pub async fn replace(
    tx: &Tx<'_>,
    id: &CredentialId,
    successor: &CredentialId,
    grace_ends: Option<Timestamp>,
    now: Timestamp,
) -> Result<bool, DbError> {
    super::revoke_former(tx, id, now).await?;
    let sql = "UPDATE credentials
               SET replaced_by = ?2, revoked_at = iif(?4 IS NULL, ?3, NULL),
                   expires_at = iif(?4 IS NULL, expires_at, min(ifnull(expires_at, ?4), ?4))
               WHERE id = ?1 AND kind IN ('pat', 'api_key') AND revoked_at IS NULL AND replaced_by IS NULL
                 AND (expires_at IS NULL OR expires_at > ?3) RETURNING 1";
    Ok(tx.optional::<Affected>(sql, args![id, successor, now, grace_ends]).await?.is_some())
}
