//! Tables `tenants` and `bootstrap`.

use crate::{
    args,
    db::{Affected, DbError, FromRow, Reads, Row, Rows, Tx},
};
use common::{
    entrance::{Demand, Entrance, Entrances},
    id::{TenantId, UserId},
    time::{Lifetime, Timestamp},
};
use schemars::JsonSchema;
use serde::Serialize;

/// A tenant with its settings, as its people may see them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Tenant {
    /// The slug, which names it in requests.
    pub slug: String,
    /// The name that pages show; null: the slug.
    pub name: Option<String>,
    /// The ways to sign in that it allows.
    pub ways: Entrances,
    /// Of whom it demands a second factor.
    pub second_factor: Demand,
    /// Days that a personal access token lives if its maker does not say; null: for ever.
    pub pat_days: Option<i64>,
}

impl FromRow for Tenant {
    fn from_row(row: &mut Row) -> Result<Self, DbError> {
        let (slug, name, ways, demand) = (row.take()?, row.take()?, row.take::<String>()?, row.take::<String>()?);
        Ok(Self {
            slug,
            name,
            ways: Entrances::stored(&ways),
            second_factor: Demand::from_word(&demand).ok_or(DbError::Row("not a demand of a second factor"))?,
            pat_days: row.take()?,
        })
    }
}

impl Tenant {
    /// How long a personal access token lives if its maker does not say.
    pub fn pat_lifetime(&self) -> Lifetime {
        self.pat_days.map_or(Lifetime::Never, Lifetime::days)
    }
}

const COLUMNS: &str = "slug, name, ways, second_factor, pat_days";

/// A tenant with its settings.
pub async fn get(reads: &dyn Rows, id: &TenantId) -> Result<Tenant, DbError> {
    let sql = format!("SELECT {COLUMNS} FROM tenants WHERE id = ?1");
    reads.optional(&sql, args![id]).await?.ok_or(DbError::Row("no row of a tenant"))
}

/// The tenant of the bootstrap, if there is one.
pub async fn find_usual(reads: &dyn Rows) -> Result<Option<Tenant>, DbError> {
    let sql = format!("SELECT {COLUMNS} FROM tenants WHERE id = (SELECT tenant_id FROM bootstrap)");
    reads.optional(&sql, args![]).await
}

/// Adds a way to sign in; `false`: the tenant allows it already.
pub async fn allow(tx: &Tx<'_>, id: &TenantId, way: Entrance) -> Result<bool, DbError> {
    let ways = get(tx, id).await?.ways;
    if ways.allow(way) {
        return Ok(false);
    }
    tx.execute("UPDATE tenants SET ways = ?2 WHERE id = ?1", args![id, ways.with(way).to_column()]).await?;
    Ok(true)
}

/// Stores the settings of a tenant. `false`: with these ways no active admin could sign in. `has_mail`: whether links can be mailed.
pub async fn update(tx: &Tx<'_>, id: &TenantId, tenant: &Tenant, has_mail: bool) -> Result<bool, DbError> {
    let sql = "UPDATE tenants SET name = ?2, ways = ?3, second_factor = ?4, pat_days = ?5
               WHERE id = ?1 AND EXISTS (
                   SELECT 1 FROM users u WHERE u.tenant_id = ?1 AND u.role = 'admin' AND u.deactivated_at IS NULL
                   AND (?7 OR ?6 AND u.password_hash IS NOT NULL
                        OR ?8 AND EXISTS (SELECT 1 FROM identities i WHERE i.user_id = u.id AND i.last_used_at IS NOT NULL)))
               RETURNING 1";
    let row = args![
        id,
        tenant.name.as_deref(),
        tenant.ways.to_column(),
        tenant.second_factor.as_str(),
        tenant.pat_days,
        tenant.ways.allow(Entrance::Password),
        tenant.ways.allow(Entrance::Link) && has_mail,
        tenant.ways.allow(Entrance::Oidc),
    ];
    Ok(tx.optional::<Affected>(sql, row).await?.is_some())
}

/// What decides how a person's sign-in goes on.
pub struct Rules {
    /// The ways that the tenant allows.
    pub ways: Entrances,
    /// Whether the person has a second factor.
    pub has_factor: bool,
    /// Whether the person has ever signed in.
    pub was_here: bool,
}

impl FromRow for Rules {
    fn from_row(row: &mut Row) -> Result<Self, DbError> {
        Ok(Self { ways: Entrances::stored(&row.take::<String>()?), has_factor: row.take()?, was_here: row.take()? })
    }
}

/// What decides how the sign-in of a person of this tenant goes on.
pub async fn rules(reads: &dyn Rows, id: &TenantId, user: &UserId) -> Result<Rules, DbError> {
    let sql = "SELECT ways, EXISTS (SELECT 1 FROM factors f WHERE f.user_id = ?2 AND f.confirmed_at IS NOT NULL) AS x,
                      EXISTS (SELECT 1 FROM users u WHERE u.id = ?2 AND u.last_login_at IS NOT NULL) AS y
               FROM tenants WHERE id = ?1";
    reads.optional(sql, args![id, user]).await?.ok_or(DbError::Row("no row of a tenant"))
}

/// Makes a tenant; `false`: the slug is taken.
pub async fn insert(tx: &Tx<'_>, id: &TenantId, slug: &str, now: Timestamp) -> Result<bool, DbError> {
    let sql =
        "INSERT INTO tenants (id, slug, created_at) VALUES (?1, ?2, ?3) ON CONFLICT (slug) DO NOTHING RETURNING 1";
    Ok(tx.optional::<Affected>(sql, args![id, slug, now]).await?.is_some())
}

/// The tenant with this slug or, without one, the tenant of the bootstrap.
pub async fn find(reads: &dyn Rows, slug: Option<&str>) -> Result<Option<TenantId>, DbError> {
    let sql = "SELECT id FROM tenants WHERE id = iif(?1 IS NULL, (SELECT tenant_id FROM bootstrap),
                                                                 (SELECT id FROM tenants WHERE slug = ?1))";
    reads.optional(sql, args![slug]).await
}

/// The slug that a link needs to lead to this tenant; `None`: it is the usual one, which nobody has to name.
pub async fn slug_to_name(reads: &dyn Rows, tenant: &TenantId) -> Result<Option<String>, DbError> {
    let sql =
        "SELECT slug FROM tenants WHERE id = ?1 AND id <> ifnull((SELECT tenant_id FROM bootstrap WHERE id = 1), id)";
    reads.optional(sql, args![tenant]).await
}

/// Whether it is the tenant of the bootstrap.
pub async fn is_first(reads: &dyn Rows, tenant: &TenantId) -> Result<bool, DbError> {
    let sql = "SELECT 1 FROM bootstrap WHERE tenant_id = ?1";
    Ok(reads.find::<Affected>(sql, args![tenant]).await?.is_some())
}

/// Spends the one bootstrap; `false`: it was spent before.
pub async fn claim_bootstrap(tx: &Tx<'_>, tenant: &TenantId, now: Timestamp) -> Result<bool, DbError> {
    let sql = "INSERT INTO bootstrap (id, tenant_id, at) VALUES (1, ?1, ?2) ON CONFLICT (id) DO NOTHING RETURNING 1";
    Ok(tx.optional::<Affected>(sql, args![tenant, now]).await?.is_some())
}

/// Whether the first tenant was made.
pub async fn is_bootstrapped(reads: &dyn Rows) -> Result<bool, DbError> {
    Ok(reads.optional::<i64>("SELECT count(*) FROM bootstrap", args![]).await? == Some(1))
}
