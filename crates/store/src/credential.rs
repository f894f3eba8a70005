//! Table `credentials`: sessions, PATs, agent tokens, API keys. Only digests; the plaintext is never here.

pub mod expiring;
pub mod grantee;
pub mod list;
pub mod status;

use crate::{
    credential::status::{CredentialStatus, REVOKED, is_unended, status},
    subject::Subject,
};
use std::sync::LazyLock;

use common::agent::AgentState;
use schemars::JsonSchema;
use serde::Serialize;

use crate::{
    args,
    db::{Affected, Db, DbError, FromRow, Purpose, Reads, Row, Rows, Tx},
    page::PageRequest,
};
use common::{
    id::{AgentId, CredentialId, KeyId, TenantId, UserId},
    network,
    role::Role,
    scope::CustomScopes,
    secret::{Digest, Kind, Secret},
    time::Timestamp,
};

/// A credential with all that decides about its caller.
pub struct CredentialRow {
    /// The record's id.
    pub id: CredentialId,
    /// Its kind.
    pub kind: Kind,
    /// The part of it that is shown.
    pub prefix: String,
    /// Its own patterns.
    pub scope: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// Its end; `None` is never.
    pub expires_at: Option<Timestamp>,
    /// Its status now.
    pub status: CredentialStatus,
    /// The record's id of the credential that replaced it.
    pub replaced_by: Option<String>,
    /// The federated credential that it was given for.
    pub federated: Option<String>,
    /// The thumbprint of the key that it is bound to.
    pub bound_to: Option<String>,
    /// Of an app's access token: whether what the person gave the app has not ended.
    pub app: Option<bool>,
    /// Its last recorded use.
    pub last_used_at: Option<Timestamp>,
    /// From where.
    pub last_used_address: Option<String>,
    /// Of a session: how its person has proved who they are.
    pub proof: Option<Proof>,
    /// The subject whose authority it carries, as it is now.
    pub subject: Subject,
    /// What bounds a credential that rests on an editor's grant: it can do no more than that editor now.
    pub editor: Option<Editor>,
    /// The tenant's slug.
    pub tenant: String,
    /// The person's address.
    pub email: String,
    /// The agent, if it is an agent's.
    pub agent: Option<AgentRow>,
    /// The tenant's custom scopes.
    pub custom_scopes: CustomScopes,
}

/// How the person behind a session has proved who they are, and can prove it again.
pub struct Proof {
    /// When they last did.
    pub at: Timestamp,
    /// Whether they have a password.
    pub has_password: bool,
    /// Whether they have a second factor.
    pub has_factor: bool,
    /// Whether two factors are demanded of them, and this session has not proved two.
    is_demanded: bool,
}

impl Proof {
    /// Whether a second factor is demanded of the person, and there is none.
    pub fn lacks_factor(&self) -> bool {
        self.is_demanded && !self.has_factor
    }
}

/// When and how the person behind the session `c` has proved who they are: a moment, and a sum of what [`Proof`] says.
const PROOF: &str = "CASE WHEN c.kind = 'session' THEN ifnull(c.proved_at, c.created_at) END AS pa,
    CASE WHEN c.kind = 'session' THEN
        (u.password_hash IS NOT NULL)
        + 2 * EXISTS (SELECT 1 FROM factors f WHERE f.user_id = u.id AND f.confirmed_at IS NOT NULL)
        + 4 * (c.two_factors = 0 AND (t.second_factor = 'all' OR t.second_factor = 'admins' AND u.role = 'admin')) END AS ph";

impl FromRow for Option<Proof> {
    fn from_row(row: &mut Row) -> Result<Self, DbError> {
        let (at, how) = (row.take::<Option<Timestamp>>()?, row.take::<Option<i64>>()?);
        Ok(at.zip(how).map(|(at, how)| Proof {
            at,
            has_password: how & 1 != 0,
            has_factor: how & 2 != 0,
            is_demanded: how & 4 != 0,
        }))
    }
}

/// The editor on whose grant a credential rests.
pub struct Editor {
    /// The role of the person; of an agent, of its owner.
    pub role: Role,
    /// Of an agent: its ceiling; a person has all.
    pub scope: String,
}

/// The agent behind a credential.
pub struct AgentRow {
    /// Its name.
    pub name: String,
    /// Its state.
    pub state: AgentState,
    /// Its ceiling.
    pub scope: String,
    /// Whether it was archived.
    pub is_archived: bool,
    /// Whether it has spent more than its budget.
    pub is_over_budget: bool,
    /// The scopes that people approved for it and that have not ended, if this credential is its token and rests on no grant: patterns. One
    /// with a `=` before it was approved for good, and counts within the agent's ceiling.
    pub approved: String,
}

impl FromRow for CredentialRow {
    fn from_row(row: &mut Row) -> Result<Self, DbError> {
        let (custom_scopes, grantee) = (row.take()?, row.take::<Option<String>>()?);
        let (role, scope) = (row.take::<Option<Role>>()?, row.take::<Option<String>>()?);
        let editor = role.map(|role| Editor { role, scope: scope.unwrap_or_else(|| "*".to_owned()) });
        if editor.is_some() != grantee.is_some() {
            return Err(DbError::Row("a credential without the editor on whose grant it rests"));
        }
        let (id, kind, prefix, scope) = (row.take()?, row.take()?, row.take()?, row.take()?);
        let (created_at, expires_at, status, replaced_by) = (row.take()?, row.take()?, row.take()?, row.take()?);
        let (federated, bound_to, app) = (row.take()?, row.take()?, row.take()?);
        let (last_used_at, last_used_address) = (row.take()?, row.take()?);
        let proof = Option::<Proof>::from_row(row)?;
        let (tenant_id, tenant) = (row.take()?, row.take()?);
        let (user, email, role) = (row.take()?, row.take()?, row.take()?);
        let agent_id = row.take::<Option<AgentId>>()?;
        let agent = match &agent_id {
            None => None,
            Some(_) => Some(AgentRow {
                name: row.take()?,
                state: row.take()?,
                scope: row.take()?,
                is_archived: row.take()?,
                is_over_budget: row.take()?,
                approved: row.take::<Option<String>>()?.unwrap_or_default(),
            }),
        };
        let subject = Subject { tenant: tenant_id, user, role, agent: agent_id, grantee };
        Ok(Self {
            id,
            kind,
            prefix,
            scope,
            created_at,
            expires_at,
            status,
            replaced_by,
            federated,
            bound_to,
            app,
            last_used_at,
            last_used_address,
            proof,
            subject,
            editor,
            tenant,
            email,
            agent,
            custom_scopes,
        })
    }
}

/// The end of what was approved for good: the last moment that has four digits for its year.
pub const FOR_GOOD: Timestamp = Timestamp::from_millis(253_402_300_799_999);

/// Put together once: `(SELECT ?1)`, not `?1`, since SQLite plans a statement anew for each value of a parameter that it compared with
/// the condition of a partial index, which cost ten times the read (38 µs against 4) where the host does not forbid it.
static FIND: LazyLock<String> = LazyLock::new(|| {
    format!(
        "SELECT (SELECT group_concat(s.name, ' ') FROM custom_scopes s WHERE s.tenant_id = c.tenant_id) AS x, c.grantee,
                CASE WHEN c.grantee IS NOT NULL THEN (
                    SELECT e.role FROM users e
                    WHERE e.id = ifnull((SELECT g.owner_id FROM agents g WHERE g.id = c.grantee), c.grantee)) END AS er,
                (SELECT g.scope FROM agents g WHERE g.id = c.grantee) AS es,
                c.id, c.kind, c.prefix, c.scope, c.created_at, c.expires_at, {} AS status, c.replaced_by, c.federated_id, c.bound_to,
                CASE WHEN c.kind = 'pat' THEN (
                    SELECT o.ended_at IS NULL AND o.ends_at > (SELECT ?2) FROM oauth_grants o
                    WHERE o.credential_id = ifnull(c.replaced_by, c.id)) END AS ap,
                c.last_used_at, c.last_used_address, {PROOF},
                t.id, t.slug, u.id, u.email, u.role, a.id, a.name, a.state, a.scope, a.archived_at IS NOT NULL AS w,
                a.spent_cents > a.budget_cents IS TRUE AS z,
                CASE WHEN c.kind = 'agent_token' AND c.grantee IS NULL THEN (
                    SELECT group_concat(iif(r.ends_at < {}, r.granted, replace(' ' || r.granted, ' ', ' =')), ' ') FROM access_requests r
                    WHERE r.agent_id = c.agent_id AND r.state = 'approved' AND r.ends_at > (SELECT ?2)) END AS y
         FROM credentials c
         LEFT JOIN agents a ON a.id = c.agent_id
         JOIN users u ON u.id = ifnull(a.owner_id, c.user_id)
         JOIN tenants t ON t.id = c.tenant_id
         WHERE c.digest = (SELECT ?1)",
        status("(SELECT ?2)", REVOKED),
        FOR_GOOD.millis()
    )
});

/// The credential with this digest. One SELECT by primary key: every request runs it. Of one that was replaced and has ended, what is live in
/// its place is looked up: its refusal names that one, and no other that has ended too.
pub async fn find(reads: &dyn Rows, digest: &Digest, now: Timestamp) -> Result<Option<CredentialRow>, DbError> {
    let mut found: Option<CredentialRow> = reads.find(&FIND, args![digest, now]).await?;
    if let Some(row) = &mut found
        && row.replaced_by.is_some()
        && row.app.is_none()
        && matches!(row.status, CredentialStatus::Revoked | CredentialStatus::Expired)
    {
        let live = successor(reads, &row.id, row.subject.agent.as_ref(), now).await?;
        row.replaced_by = live.map(|live| live.id.to_string());
    }
    Ok(found)
}

/// The digest of the credential with this record.
pub async fn digest_of(reads: &dyn Rows, id: &str) -> Result<Option<Digest>, DbError> {
    let digits: Option<String> = reads.optional("SELECT hex(digest) FROM credentials WHERE id = ?1", args![id]).await?;
    Ok(digits.as_deref().and_then(Digest::parse))
}

/// Whether the credential with this digest was neither revoked nor has reached its end. `None`: it is unknown, or gone.
pub async fn is_live(reads: &dyn Rows, digest: &Digest, now: Timestamp) -> Result<Option<bool>, DbError> {
    let sql = format!("SELECT {} AS l FROM credentials c WHERE c.digest = ?1", is_unended("?2"));
    Ok(reads.optional::<i64>(&sql, args![digest, now]).await?.map(|live| live == 1))
}

/// A credential to be stored.
pub struct New<'a> {
    /// The record's id.
    pub id: &'a CredentialId,
    /// The secret, of which the digest and the shown prefix are stored.
    pub secret: &'a Secret,
    /// The tenant.
    pub tenant_id: &'a TenantId,
    /// The person that it belongs to.
    pub user_id: &'a UserId,
    /// The agent, if the credential belongs to one.
    pub agent_id: Option<&'a AgentId>,
    /// The name that its person gave it.
    pub name: Option<&'a str>,
    /// The API key whose secret it is.
    pub key_id: Option<&'a KeyId>,
    /// Patterns, separated by blanks.
    pub scope: &'a str,
    /// When it is made.
    pub created_at: Timestamp,
    /// Its end; `None` is never.
    pub expires_at: Option<Timestamp>,
    /// The client's own words about itself, for sessions.
    pub user_agent: Option<&'a str>,
    /// Who makes it.
    pub minter: Minter<'a>,
}

/// Who makes a credential, and by what right.
#[derive(Clone, Copy, Default)]
pub struct Minter<'a> {
    /// The id of the user or agent.
    pub by: Option<&'a str>,
    /// The record's id of the credential that it is made with.
    pub with: Option<&'a CredentialId>,
    /// The id of the user or agent on whose grant it rests; `None`: the maker is the agent's owner or an admin.
    pub grantee: Option<&'a str>,
}

/// Stores a credential.
pub async fn insert(tx: &Tx<'_>, new: &New<'_>) -> Result<(), DbError> {
    let place = (new.secret.kind() == Kind::AgentToken).then_some("active");
    tx.execute(
        "INSERT INTO credentials (digest, id, kind, prefix, tenant_id, user_id, agent_id, scope, created_at, expires_at, place, user_agent, name, key_id,
                                  minted_by, minted_with, grantee)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17)",
        args![
            &new.secret.digest(),
            new.id,
            new.secret.kind().as_str(),
            new.secret.shown(),
            new.tenant_id,
            new.user_id,
            new.agent_id,
            new.scope,
            new.created_at,
            new.expires_at,
            place,
            new.user_agent,
            new.name,
            new.key_id,
            new.minter.by,
            new.minter.with,
            new.minter.grantee,
        ],
    )
    .await
}

/// Binds a credential that was just made to the key with this thumbprint.
pub async fn bind(tx: &Tx<'_>, id: &CredentialId, key: &str) -> Result<(), DbError> {
    tx.execute("UPDATE credentials SET bound_to = ?2 WHERE id = ?1", args![id, key]).await
}

/// Binds a credential that was just made as the one is bound that it replaces.
pub async fn bind_as(tx: &Tx<'_>, id: &CredentialId, before: &CredentialId) -> Result<(), DbError> {
    let sql = "UPDATE credentials SET bound_to = b.bound_to FROM credentials b WHERE credentials.id = ?1 AND b.id = ?2 AND b.bound_to IS NOT NULL";
    tx.execute(sql, args![id, before]).await
}

/// Records a use. Never touches a revoked row, and decides again whether it is due, since many may come at once.
pub async fn record_use(db: &Db, digest: &Digest, now: Timestamp, address: &str) -> Result<(), DbError> {
    let sql = "UPDATE credentials SET last_used_at = ?2, last_used_address = ?3
               WHERE digest = ?1 AND revoked_at IS NULL
                 AND (last_used_at IS NULL OR last_used_at <= ?2 - 60000 OR last_used_address IS NOT ?3)";
    db.record(digest, sql, args![digest, now, address]).await
}

/// Records a use from another address than the last; `false`: another request did, or the credential was revoked.
pub async fn record_move(
    tx: &Tx<'_>,
    digest: &Digest,
    now: Timestamp,
    last: &str,
    address: &str,
) -> Result<bool, DbError> {
    let sql = "UPDATE credentials SET last_used_at = ?2, last_used_address = ?4
               WHERE digest = ?1 AND revoked_at IS NULL AND last_used_address = ?3 RETURNING 1";
    Ok(tx.optional::<Affected>(sql, args![digest, now, last, address]).await?.is_some())
}

/// Revokes by record id. The first moment stays: a credential that was revoked before stays as it is, and gives no row.
pub async fn revoke(tx: &Tx<'_>, id: &CredentialId, now: Timestamp) -> Result<bool, DbError> {
    let sql = "UPDATE credentials SET revoked_at = ?2 WHERE id = ?1 AND revoked_at IS NULL RETURNING 1";
    Ok(tx.optional::<Affected>(sql, args![id, now]).await?.is_some())
}

/// Revokes by record id, and with it the one before it that is in its grace: a person who ends the new one means both. Gives the ids of those
/// that were live, its own first.
pub async fn revoke_with_former(tx: &Tx<'_>, id: &CredentialId, now: Timestamp) -> Result<Vec<String>, DbError> {
    let mut ended = revoke_former(tx, id, now).await?;
    if revoke(tx, id, now).await? {
        ended.insert(0, id.to_string());
        let sql = "SELECT user_id FROM credentials WHERE id = ?1 AND kind = 'session'";
        if let Some(user) = tx.optional::<UserId>(sql, args![id]).await? {
            end_what_waits(tx, &user).await?;
        }
    }
    Ok(ended)
}

/// The id of a row that was just revoked, at `?2`; empty: it had ended by its own time.
macro_rules! was_live {
    () => {
        "iif(expires_at IS NULL OR expires_at > ?2, id, '') AS id"
    };
}
pub(crate) use was_live;

/// The ids of those that were live.
pub(crate) fn live(mut revoked: Vec<String>) -> Vec<String> {
    revoked.retain(|id| !id.is_empty());
    revoked
}

/// Revokes what a credential has replaced and is in its grace; gives the ids of those whose grace was not over.
async fn revoke_former(tx: &Tx<'_>, id: &CredentialId, now: Timestamp) -> Result<Vec<String>, DbError> {
    let sql = concat!(
        "UPDATE credentials SET revoked_at = ?2 WHERE replaced_by = ?1 AND revoked_at IS NULL RETURNING ",
        was_live!()
    );
    Ok(live(tx.list(sql, args![id, now]).await?))
}

/// Revokes every live credential that was made before a moment, every secret of a webhook's key, every federated
/// credential, every one-time code, and every approval that was decided before it, of all tenants;
/// gives each tenant with how many there were, without the codes.
pub async fn revoke_issued_before(
    tx: &Tx<'_>,
    before: Timestamp,
    now: Timestamp,
) -> Result<Vec<(TenantId, i64)>, DbError> {
    let sql = "SELECT tenant_id, count(*) FROM (
                   SELECT tenant_id FROM credentials WHERE revoked_at IS NULL AND created_at < ?1
                   UNION ALL SELECT tenant_id FROM api_keys WHERE sealed IS NOT NULL AND sealed_at < ?1
                   UNION ALL SELECT tenant_id FROM federated_credentials WHERE created_at < ?1
                   UNION ALL SELECT tenant_id FROM access_requests
                   WHERE state = 'approved' AND spent_at IS NULL AND ends_at > ?2 AND decided_at < ?1)
               GROUP BY tenant_id ORDER BY tenant_id";
    let counts = tx.list::<Counted>(sql, args![before, now]).await?;
    let sql = "UPDATE credentials SET revoked_at = ?2 WHERE revoked_at IS NULL AND created_at < ?1";
    tx.execute(sql, args![before, now]).await?;
    tx.execute("UPDATE api_keys SET sealed = NULL WHERE sealed_at < ?1", args![before]).await?;
    tx.execute("DELETE FROM former_hook_secrets WHERE sealed_at < ?1", args![before]).await?;
    // One that was deleted after the backup was made would be trusted again.
    tx.execute("DELETE FROM federated_credentials WHERE created_at < ?1", args![before]).await?;
    tx.execute("DELETE FROM codes WHERE created_at < ?1", args![before]).await?;
    // One that was revoked, or sent, after the backup was made would count again.
    let sql = "UPDATE access_requests SET state = 'revoked', decided_by = NULL, decided_at = ?2
               WHERE state = 'approved' AND spent_at IS NULL AND ends_at > ?2 AND decided_at < ?1";
    tx.execute(sql, args![before, now]).await?;
    Ok(counts.into_iter().map(|Counted(tenant, count)| (tenant, count)).collect())
}

/// Purges credentials that ended before this moment, but for the last secret of a key, which the key is shown by. The audit trail goes on to
/// know what they were.
pub async fn purge(db: &Db, since: Timestamp, most: i64) -> Result<(), DbError> {
    const OLD: &str = "ifnull(revoked_at, expires_at) <= ?1 AND (key_id IS NULL OR replaced_by IS NOT NULL)";
    let any = format!("SELECT 1 FROM credentials WHERE {OLD} LIMIT 1");
    if db.optional::<Affected>(&any, args![since]).await?.is_none() {
        return Ok(());
    }
    let old =
        format!("SELECT digest FROM credentials WHERE {OLD} ORDER BY ifnull(revoked_at, expires_at), digest LIMIT ?2");
    let tx = db.begin(Purpose::Revoking).await?;
    let sql = format!(
        "INSERT INTO purged_credentials (id, kind, key_id) SELECT id, kind, key_id FROM credentials WHERE digest IN ({old})
         ON CONFLICT (id) DO NOTHING"
    );
    tx.execute(&sql, args![since, most]).await?;
    tx.execute(&format!("DELETE FROM credentials WHERE digest IN ({old})"), args![since, most]).await?;
    tx.commit().await
}

struct Counted(TenantId, i64);

impl FromRow for Counted {
    fn from_row(row: &mut Row) -> Result<Self, DbError> {
        Ok(Self(row.take()?, row.take()?))
    }
}

/// Records that two factors were proved when a session began.
pub async fn proved_two_factors(tx: &Tx<'_>, session: &CredentialId) -> Result<(), DbError> {
    tx.execute("UPDATE credentials SET two_factors = 1 WHERE id = ?1 AND kind = 'session'", args![session]).await
}

/// Records when the person behind a session proved who they are.
pub async fn prove(tx: &Tx<'_>, session: &CredentialId, now: Timestamp) -> Result<(), DbError> {
    let sql = "UPDATE credentials SET proved_at = ?2 WHERE id = ?1 AND kind = 'session'";
    tx.execute(sql, args![session, now]).await
}

/// Takes from a person's other sessions what they have proved: there is more to prove from now on.
pub async fn unprove_others(tx: &Tx<'_>, user: &UserId, session: &CredentialId) -> Result<(), DbError> {
    let sql = "UPDATE credentials SET proved_at = 0 WHERE user_id = ?1 AND kind = 'session' AND id <> ?2 AND revoked_at IS NULL";
    tx.execute(sql, args![user, session]).await
}

/// Where a session was: what its client called itself, and the address that it was last used from.
pub struct Seen {
    /// The client.
    pub user_agent: Option<String>,
    /// The address.
    pub address: Option<String>,
}

impl FromRow for Seen {
    fn from_row(row: &mut Row) -> Result<Self, DbError> {
        Ok(Self { user_agent: row.take()?, address: row.take()? })
    }
}

/// Where a person's sessions were, of those that are not purged, the newest first.
pub async fn seen(reads: &dyn Rows, user: &str) -> Result<Vec<Seen>, DbError> {
    let sql = "SELECT user_agent, last_used_address FROM credentials WHERE user_id = ?1 AND kind = 'session'
               ORDER BY created_at DESC LIMIT 200";
    reads.list(sql, args![user]).await
}

/// Whether a session of a person was used from a network; without a person `false`, by the same work.
pub async fn is_known_network(reads: &dyn Rows, user: Option<&UserId>, network: &str) -> Result<bool, DbError> {
    let seen = seen(reads, user.map_or("", UserId::as_str)).await?;
    Ok(seen.iter().filter_map(|seen| seen.address.as_deref()).any(|address| network::of(address) == network))
}

/// Revokes one of a person's own live sessions; `false`: there is none of that id.
pub async fn revoke_session(tx: &Tx<'_>, user: &UserId, id: &str, now: Timestamp) -> Result<bool, DbError> {
    let sql = "UPDATE credentials SET revoked_at = ?3
               WHERE id = ?1 AND user_id = ?2 AND kind = 'session' AND revoked_at IS NULL RETURNING 1";
    let is_one = tx.optional::<Affected>(sql, args![id, user, now]).await?.is_some();
    if is_one {
        end_what_waits(tx, user).await?;
    }
    Ok(is_one)
}

/// Ends what the ended sessions of a person approved and nobody has fetched yet: devices, and codes for apps. Each would become a credential
/// that no list showed before. [`revoke`] leaves it, since people sign out right after they approve a device.
async fn end_what_waits(tx: &Tx<'_>, user: &UserId) -> Result<(), DbError> {
    let sql = "UPDATE device_requests SET state = 'denied' WHERE user_id = ?1 AND state = 'approved'
               AND NOT EXISTS (SELECT 1 FROM credentials c WHERE c.id = approved_by AND c.revoked_at IS NULL)";
    tx.execute(sql, args![user]).await?;
    // They live for a minute: which session has made one is not kept.
    let sql = "DELETE FROM codes WHERE user_id = ?1 AND kind = 'authorization' AND spent_at IS NULL";
    tx.execute(sql, args![user]).await
}

/// Revokes a person's sessions, all but the one given; gives how many there were.
pub async fn revoke_sessions(
    tx: &Tx<'_>,
    user: &UserId,
    but: Option<&CredentialId>,
    now: Timestamp,
) -> Result<usize, DbError> {
    let sql = "UPDATE credentials SET revoked_at = ?3
               WHERE user_id = ?1 AND kind = 'session' AND revoked_at IS NULL AND id IS NOT ?2 RETURNING 1";
    let ended = tx.list::<Affected>(sql, args![user, but, now]).await?.len();
    end_what_waits(tx, user).await?;
    Ok(ended)
}

/// Revokes a person's sessions that have proved one factor alone, all but the one given; gives how many there were.
pub async fn revoke_of_one_factor(
    tx: &Tx<'_>,
    user: &UserId,
    but: &CredentialId,
    now: Timestamp,
) -> Result<usize, DbError> {
    let sql = "UPDATE credentials SET revoked_at = ?3
               WHERE user_id = ?1 AND kind = 'session' AND two_factors = 0 AND revoked_at IS NULL AND id <> ?2 RETURNING 1";
    let ended = tx.list::<Affected>(sql, args![user, but, now]).await?.len();
    end_what_waits(tx, user).await?;
    Ok(ended)
}

/// A person's session, as that person and the tenant's admins may see it.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Session {
    /// The record's id.
    pub id: CredentialId,
    /// The part of it that is shown.
    pub prefix: String,
    /// When it began.
    pub created_at: Timestamp,
    /// When it ends, unless it idles before.
    pub expires_at: Option<Timestamp>,
    /// Its last recorded use.
    pub last_used_at: Option<Timestamp>,
    /// From where.
    pub last_used_address: Option<String>,
    /// The client's own words about itself.
    pub user_agent: Option<String>,
    /// Whether two factors were proved in it.
    pub two_factors: bool,
    /// When its person last proved who they are; null: they have to prove it anew.
    pub proved_at: Option<Timestamp>,
    /// Whether it is the one that asks.
    pub current: bool,
}

impl FromRow for Session {
    fn from_row(row: &mut Row) -> Result<Self, DbError> {
        Ok(Self {
            id: row.take()?,
            prefix: row.take()?,
            created_at: row.take()?,
            expires_at: row.take()?,
            last_used_at: row.take()?,
            last_used_address: row.take()?,
            user_agent: row.take()?,
            two_factors: row.take()?,
            proved_at: row.take()?,
            current: row.take()?,
        })
    }
}

/// A person's live sessions, the newest first. `current` marks the one that asks.
pub async fn sessions(
    reads: &dyn Rows,
    user: &UserId,
    current: &CredentialId,
    now: Timestamp,
    page: &PageRequest,
) -> Result<Vec<Session>, DbError> {
    let (at, id) = page.after();
    let sql = format!(
        "SELECT c.id, c.prefix, c.created_at, c.expires_at, c.last_used_at, c.last_used_address, c.user_agent, c.two_factors,
                nullif(ifnull(c.proved_at, c.created_at), 0) AS proved_at, c.id = ?2
         FROM credentials c JOIN users u ON u.id = c.user_id
         WHERE c.user_id = ?1 AND c.kind = 'session' AND (c.created_at, c.id) < (?4, ?5) AND {} IN ('active', 'expiring')
         ORDER BY c.created_at DESC, c.id DESC LIMIT ?6",
        status("?3", "c.revoked_at IS NOT NULL")
    );
    reads.list(&sql, args![user, current, now, at, id, page.rows()]).await
}

/// An agent's active token, as much as may be shown.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct TokenRecord {
    /// The record's id.
    pub id: CredentialId,
    /// The part of it that is shown.
    pub prefix: String,
    /// When it was issued.
    pub issued_at: Timestamp,
    /// Its end; null is never.
    pub expires_at: Option<Timestamp>,
    /// The patterns that it carries; it can use those within the ceiling and the owner's role.
    pub scope: common::scope::Patterns,
    /// The id of the user or agent that made it; null: unknown, since it is older than this record.
    pub minted_by: Option<String>,
    /// The record's id of the credential that it was made with.
    pub minted_with: Option<String>,
    /// The id of the editor on whose grant it rests; null: its maker was the agent's owner or an admin.
    pub grantee: Option<String>,
    /// Its last recorded use.
    pub last_used_at: Option<Timestamp>,
}

/// The row of an agent's active token that decides how it is replaced.
pub struct ActiveToken {
    /// The record's id.
    pub id: CredentialId,
    /// Its patterns.
    pub scope: String,
    /// Its end.
    pub expires_at: Option<Timestamp>,
}

impl FromRow for ActiveToken {
    fn from_row(row: &mut Row) -> Result<Self, DbError> {
        Ok(Self { id: row.take()?, scope: row.take()?, expires_at: row.take()? })
    }
}

/// The agent's token in the active place, ended or not.
pub async fn active(reads: &dyn Rows, agent: &AgentId) -> Result<Option<ActiveToken>, DbError> {
    let sql = "SELECT id, scope, expires_at FROM credentials
               WHERE agent_id = ?1 AND kind = 'agent_token' AND place = 'active' AND revoked_at IS NULL";
    reads.optional(sql, args![agent]).await
}

/// A live credential that took another one's place.
#[derive(Debug)]
pub struct Successor {
    /// The record's id.
    pub id: CredentialId,
    /// The part of it that is shown.
    pub prefix: String,
}

impl FromRow for Successor {
    fn from_row(row: &mut Row) -> Result<Self, DbError> {
        Ok(Self { id: row.take()?, prefix: row.take()? })
    }
}

/// The live credential that took this one's place: of an agent's token the active one, of others the end of the chain of rotations.
pub async fn successor(
    reads: &dyn Rows,
    id: &CredentialId,
    agent: Option<&AgentId>,
    now: Timestamp,
) -> Result<Option<Successor>, DbError> {
    let sql = "WITH RECURSIVE later (id) AS (
                   SELECT replaced_by FROM credentials WHERE id = ?1
                   UNION SELECT c.replaced_by FROM later JOIN credentials c ON c.id = later.id)
               SELECT c.id, c.prefix FROM later CROSS JOIN credentials c ON c.id = later.id
               WHERE c.replaced_by IS NULL AND c.revoked_at IS NULL AND (c.expires_at IS NULL OR c.expires_at > ?3)
               UNION ALL
               SELECT t.id, t.prefix FROM credentials c
               JOIN credentials t ON t.agent_id = ?2 AND t.kind = 'agent_token' AND t.place = 'active' AND t.revoked_at IS NULL
               WHERE c.id = ?1 AND c.kind = 'agent_token' AND t.id <> ?1 AND (t.expires_at IS NULL OR t.expires_at > ?3)
               LIMIT 1";
    reads.optional(sql, args![id, agent, now]).await
}

/// How many live credentials were made with this one, beside the one that took its place.
pub async fn made_with(
    tx: &Tx<'_>,
    id: &CredentialId,
    but: Option<&CredentialId>,
    now: Timestamp,
) -> Result<i64, DbError> {
    let sql = "SELECT count(*) FROM credentials WHERE minted_with = ?1 AND id IS NOT ?2 AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > ?3)";
    Ok(tx.optional(sql, args![id, but, now]).await?.unwrap_or_default())
}

/// How many live credentials of others' agents a person has made, without those that this transaction ends with the person's grants, and
/// the names of such agents that the person has opened to workloads of an issuer, a few at most.
pub async fn made_for_others(tx: &Tx<'_>, user: &UserId, now: Timestamp) -> Result<(i64, Vec<String>), DbError> {
    let of_others = "JOIN agents a ON a.id = m.agent_id AND a.owner_id <> ?1 AND a.archived_at IS NULL";
    let sql = format!(
        "SELECT count(*) AS n FROM credentials m {of_others}
         WHERE m.minted_by = ?1 AND m.agent_id IS NOT NULL AND m.revoked_at IS NULL AND (m.expires_at IS NULL OR m.expires_at > ?2)
           AND (m.grantee IS NULL OR {})",
        grantee::stands("m", "m.key_id")
    );
    let made = tx.optional(&sql, args![user, now]).await?.unwrap_or_default();
    let sql = format!(
        "SELECT DISTINCT a.name FROM federated_credentials m {of_others} WHERE m.created_by = ?1 ORDER BY a.name LIMIT 10"
    );
    Ok((made, tx.list(&sql, args![user]).await?))
}

/// Makes room for a new active token, `successor`: the one in its grace ends now; the active one ends now too or, when `grace_ends` is
/// given, moves into the grace until then, but never beyond its own end.
pub async fn replace_active(
    tx: &Tx<'_>,
    agent: &AgentId,
    successor: &CredentialId,
    grace_ends: Option<Timestamp>,
    now: Timestamp,
) -> Result<(), DbError> {
    tx.execute(
        "UPDATE credentials SET revoked_at = ?2, replaced_by = ifnull(replaced_by, ?4)
         WHERE agent_id = ?1 AND kind = 'agent_token' AND revoked_at IS NULL AND (place = 'grace' OR ?3 IS NULL)",
        args![agent, now, grace_ends, successor],
    )
    .await?;
    let Some(end) = grace_ends else { return Ok(()) };
    tx.execute(
        "UPDATE credentials SET place = 'grace', expires_at = min(ifnull(expires_at, ?2), ?2), replaced_by = ?3
         WHERE agent_id = ?1 AND kind = 'agent_token' AND revoked_at IS NULL AND place = 'active'",
        args![agent, end, successor],
    )
    .await
}

/// Revokes an agent's tokens (not its keys), the one in its grace too; gives the ids of those that were live.
pub async fn revoke_tokens(tx: &Tx<'_>, agent: &AgentId, now: Timestamp) -> Result<Vec<String>, DbError> {
    let sql = concat!(
        "UPDATE credentials SET revoked_at = ?2
         WHERE agent_id = ?1 AND kind = 'agent_token' AND revoked_at IS NULL RETURNING ",
        was_live!()
    );
    Ok(live(tx.list(sql, args![agent, now]).await?))
}
