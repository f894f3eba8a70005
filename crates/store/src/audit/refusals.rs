//! Table `refusals`: how often a known caller was refused with which slug in which minute.

use common::{
    id::{AgentId, RequestId, UserId},
    secret::Digest,
    time::Timestamp,
};

use crate::{
    args,
    db::{Affected, Db, DbError},
    origin::Origin,
};

const COUNT: &str = "
    ON CONFLICT (subject, slug, minute) DO UPDATE
    SET count = count + excluded.count, credential_id = excluded.credential_id, address = excluded.address, request_id = excluded.request_id";

/// Counts one refusal of a caller.
pub async fn count(db: &Db, origin: &Origin<'_>, slug: &str) -> Result<(), DbError> {
    let sql = format!(
        "INSERT INTO refusals (subject, slug, minute, count, tenant_id, user_id, agent_id, credential_id, address, request_id)
         VALUES (?1, ?2, ?3, ?10, ?4, ?5, ?6, ?7, ?8, ?9) {COUNT}"
    );
    let subject = origin.agent.map(AgentId::as_str).or(origin.user.map(UserId::as_str));
    let row = args![
        subject,
        slug,
        origin.now.minute(),
        origin.tenant,
        origin.user,
        origin.agent,
        origin.credential,
        origin.address,
        origin.request,
    ];
    let what = Digest::of_parts(&[subject.unwrap_or_default(), slug, &origin.now.minute().to_string()]);
    db.count(&what, &sql, row).await
}

/// Counts one failed sign-in. For an account that is not there the same statement runs and writes nothing.
pub async fn count_login(
    db: &Db,
    user: Option<&UserId>,
    slug: &str,
    (address, request): (&str, &RequestId),
    now: Timestamp,
) -> Result<(), DbError> {
    let sql = format!(
        "INSERT INTO refusals (subject, slug, minute, count, tenant_id, user_id, address, request_id)
         SELECT id, ?2, ?3, 1, tenant_id, id, ?4, ?5 FROM users WHERE id = ?1 {COUNT}"
    );
    db.hot::<Affected>(&sql, args![user, slug, now.minute(), address, request]).await.map(drop)
}
