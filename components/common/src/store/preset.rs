//! Table `presets`: what a class of agents needs, in versions. The built-in presets are version 1 of their names; a tenant's
//! own versions come after them.

use crate::{
    args,
    db::{DbError, FromRow, Reads, Row, Rows},
    id::TenantId,
    scope::{self, Patterns},
};

/// One version of a preset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Preset {
    /// Its name.
    pub name: String,
    /// Its version; 1 of a built-in name is the built-in one.
    pub version: i64,
    /// What an agent of this class may do at most.
    pub scope: Patterns,
}

impl FromRow for Preset {
    fn from_row(row: &mut Row) -> Result<Self, DbError> {
        Ok(Self { name: row.take()?, version: row.take()?, scope: row.take()? })
    }
}

impl From<scope::Preset> for Preset {
    fn from(built_in: scope::Preset) -> Self {
        Self { name: built_in.as_str().to_owned(), version: 1, scope: Patterns::of_preset(built_in) }
    }
}

/// The newest version of a preset: the tenant's own, or else the built-in one.
pub async fn newest(reads: &dyn Rows, tenant: &TenantId, name: &str) -> Result<Option<Preset>, DbError> {
    let sql =
        "SELECT name, version, scope FROM presets WHERE tenant_id = ?1 AND name = ?2 ORDER BY version DESC LIMIT 1";
    let own = reads.optional(sql, args![tenant, name]).await?;
    Ok(own.or_else(|| scope::Preset::from_text(name).map(Preset::from)))
}
