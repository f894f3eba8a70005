//! Tables `factors` and `recovery_codes`: second factors of people. Secrets are sealed by the vault, of recovery codes only the digest is
//! stored, and each code is taken by one statement.

use crate::{
    args,
    db::{Affected, DbError, FromRow, Reads, Row, Rows, Tx},
};
use common::{id::UserId, secret::Digest, time::Timestamp};

/// A person's second factor.
pub struct Factor {
    /// The secret of TOTP, sealed.
    pub sealed: Vec<u8>,
    /// When it was begun.
    pub created_at: Timestamp,
    /// When it was confirmed by its first code. `None`: nobody is asked for it yet.
    pub confirmed_at: Option<Timestamp>,
    /// Recovery codes that were not used.
    pub recovery_codes: i64,
}

impl FromRow for Factor {
    fn from_row(row: &mut Row) -> Result<Self, DbError> {
        Ok(Self {
            sealed: row.take()?,
            created_at: row.take()?,
            confirmed_at: row.take()?,
            recovery_codes: row.take()?,
        })
    }
}

/// A person's second factor, confirmed or not.
pub async fn find(reads: &dyn Rows, user: &UserId) -> Result<Option<Factor>, DbError> {
    let sql = "SELECT sealed, created_at, confirmed_at,
                      (SELECT count(*) FROM recovery_codes r WHERE r.user_id = ?1 AND r.used_at IS NULL) AS codes
               FROM factors WHERE user_id = ?1";
    reads.optional(sql, args![user]).await
}

/// Begins to set one up, in the place of one that was begun before; `false`: there is a confirmed one.
pub async fn begin(tx: &Tx<'_>, user: &UserId, sealed: &[u8], now: Timestamp) -> Result<bool, DbError> {
    let sql = "INSERT INTO factors (user_id, sealed, created_at) VALUES (?1, ?2, ?3)
               ON CONFLICT (user_id) DO UPDATE SET sealed = ?2, created_at = ?3 WHERE confirmed_at IS NULL RETURNING 1";
    Ok(tx.optional::<Affected>(sql, args![user, sealed.to_vec(), now]).await?.is_some())
}

/// Confirms the one that was begun with this secret, by a code of this time step; `false`: it is confirmed, or was begun anew.
pub async fn confirm(tx: &Tx<'_>, user: &UserId, sealed: &[u8], step: i64, now: Timestamp) -> Result<bool, DbError> {
    let sql = "UPDATE factors SET confirmed_at = ?4, last_step = ?3
               WHERE user_id = ?1 AND sealed = ?2 AND confirmed_at IS NULL RETURNING 1";
    Ok(tx.optional::<Affected>(sql, args![user, sealed.to_vec(), step, now]).await?.is_some())
}

/// Takes the code of a time step: it, and those of all steps before it, are never taken again (RFC 6238, section 5.2). `false`: it was
/// taken before, or the factor is another one by now. One that lies ten minutes ahead is that of a clock that was wrong: it keeps
/// nobody out.
pub async fn take_step(tx: &Tx<'_>, user: &UserId, sealed: &[u8], step: i64) -> Result<bool, DbError> {
    let sql = "UPDATE factors SET last_step = ?3
               WHERE user_id = ?1 AND sealed = ?2 AND confirmed_at IS NOT NULL AND (last_step < ?3 OR last_step > ?3 + 20) RETURNING 1";
    Ok(tx.optional::<Affected>(sql, args![user, sealed.to_vec(), step]).await?.is_some())
}

/// Uses a recovery code up. `false`: it is unknown, was used before, or its factor is not confirmed.
pub async fn take_recovery_code(tx: &Tx<'_>, user: &UserId, code: &Digest, now: Timestamp) -> Result<bool, DbError> {
    let sql = "UPDATE recovery_codes SET used_at = ?3
               WHERE digest = ?2 AND user_id = ?1 AND used_at IS NULL
                 AND EXISTS (SELECT 1 FROM factors f WHERE f.user_id = ?1 AND f.confirmed_at IS NOT NULL) RETURNING 1";
    Ok(tx.optional::<Affected>(sql, args![user, code, now]).await?.is_some())
}

/// Puts these recovery codes in the place of all that were there.
pub async fn replace_recovery_codes(tx: &Tx<'_>, user: &UserId, codes: &[Digest]) -> Result<(), DbError> {
    tx.execute("DELETE FROM recovery_codes WHERE user_id = ?1", args![user]).await?;
    for code in codes {
        tx.execute("INSERT INTO recovery_codes (digest, user_id) VALUES (?1, ?2)", args![code, user]).await?;
    }
    Ok(())
}

/// Removes a person's second factor, with its recovery codes; `false`: there is no confirmed one.
pub async fn remove(tx: &Tx<'_>, user: &UserId) -> Result<bool, DbError> {
    tx.execute("DELETE FROM recovery_codes WHERE user_id = ?1", args![user]).await?;
    let sql = "DELETE FROM factors WHERE user_id = ?1 RETURNING confirmed_at IS NOT NULL AS x";
    Ok(tx.optional::<i64>(sql, args![user]).await? == Some(1))
}
