//! The status of a credential: one expression decides everywhere whether it is live.

use schemars::JsonSchema;
use serde::Serialize;

use crate::db::{DbError, FromValue, Value};

/// A session ends when it was not used for this long, seconds.
pub const SESSION_IDLE: i64 = 2 * 3600;
/// A credential that ends sooner than this is called expiring, seconds.
pub const EXPIRING: i64 = 7 * 86_400;

/// The status of a credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum CredentialStatus {
    /// Live.
    Active,
    /// Live, for less than 7 days more.
    Expiring,
    /// Its end has passed, or it is a session that was idle for too long.
    Expired,
    /// It was revoked, or its agent is archived.
    Revoked,
    /// It is refused as long as the account of its person is deactivated.
    Deactivated,
}

impl CredentialStatus {
    /// Every status.
    pub const ALL: [Self; 5] = [Self::Active, Self::Expiring, Self::Expired, Self::Revoked, Self::Deactivated];

    /// The word that is answered.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Expiring => "expiring",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
            Self::Deactivated => "deactivated",
        }
    }

    /// The status that a word names.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == word)
    }
}

impl FromValue for CredentialStatus {
    fn from_value(value: Value) -> Result<Self, DbError> {
        Self::from_word(&String::from_value(value)?).ok_or(DbError::Row("not a status of a credential"))
    }
}

/// When a credential counts as revoked.
pub(crate) const REVOKED: &str = "c.revoked_at IS NOT NULL OR a.archived_at IS NOT NULL";

/// The status of the credential `c` of the person `u` and perhaps the agent `a`, at the moment `now`, an expression. `revoked` is the
/// condition for that status.
pub(crate) fn status(now: &str, revoked: &str) -> String {
    status_until("c.expires_at", now, revoked)
}

/// The same of a credential whose end is this expression.
pub(crate) fn status_until(end: &str, now: &str, revoked: &str) -> String {
    let (idle, soon) = (SESSION_IDLE * 1000, EXPIRING * 1000);
    format!(
        "CASE WHEN {revoked} THEN 'revoked'
              WHEN {end} <= {now} OR (c.kind = 'session' AND ifnull(c.last_used_at, c.created_at) <= {now} - {idle})
              THEN 'expired'
              WHEN u.deactivated_at IS NOT NULL THEN 'deactivated'
              WHEN {end} < {now} + {soon} THEN 'expiring' ELSE 'active' END"
    )
}

/// Whether the credential `c` was neither revoked nor has reached its end.
pub(crate) fn is_unended(now: &str) -> String {
    format!("c.revoked_at IS NULL AND (c.expires_at IS NULL OR c.expires_at > {now})")
}
