//! Table `proofs_seen`: proofs that a sender has a key (DPoP, RFC 9449), each of which is taken in one request.

use common::{secret::Digest, time::Timestamp};

use crate::{
    args,
    db::{Affected, Db, DbError, Purpose},
};

/// A request may need several answers of other components, which all ask with its proof.
const SPEND: &str = "INSERT INTO proofs_seen (digest, request, expires_at) VALUES (?1, ?2, ?3)
     ON CONFLICT (digest) DO UPDATE SET request = request WHERE request = excluded.request RETURNING 1";

/// Takes a proof, which nobody takes after a moment, for a request; `false`: another request had it.
pub async fn spend(db: &Db, proof: &Digest, request: &str, until: Timestamp) -> Result<bool, DbError> {
    match db.hot::<Affected>(SPEND, args![proof, request, until]).await {
        // What takes a right away needs a proof too.
        Err(DbError::Full) => {
            let row = args![proof, request, until];
            Ok(!db.single::<Affected>(Purpose::Revoking, SPEND, row).await?.is_empty())
        }
        taken => Ok(!taken?.is_empty()),
    }
}

/// Purges proofs that nobody takes any more.
pub async fn purge(db: &Db, now: Timestamp, most: i64) -> Result<(), DbError> {
    let sql =
        "DELETE FROM proofs_seen WHERE digest IN (SELECT digest FROM proofs_seen WHERE expires_at <= ?1 LIMIT ?2)";
    db.hot::<Affected>(sql, args![now, most]).await.map(drop)
}
