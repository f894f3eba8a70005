//! Table `refusals`: how often a credential was refused with which slug in which minute. Each has rows of its own, so that one that was stolen
//! is not hidden by those of its owner.

use common::{
    id::{AgentId, CredentialId, RequestId, UserId},
    json,
    secret::Digest,
    time::Timestamp,
};
use serde_json::json;

use crate::{
    args,
    db::{Affected, Db, DbError},
    origin::Origin,
};

const COUNT: &str = "
    ON CONFLICT (subject, slug, minute) DO UPDATE
    SET count = count + excluded.count, address = excluded.address, request_id = excluded.request_id, last = excluded.last";

/// Counts one refusal of a caller, with the method and the path of the route, and the scopes that were lacking.
pub async fn count(
    db: &Db,
    origin: &Origin<'_>,
    slug: &str,
    (route, lacking): (&str, &[String]),
) -> Result<(), DbError> {
    let sql = format!(
        "INSERT INTO refusals (subject, slug, minute, count, tenant_id, user_id, agent_id, credential_id, address, request_id, last, first_at)
         VALUES (?1, ?2, ?3, ?12, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11) {COUNT}"
    );
    let subject = origin
        .credential
        .map(CredentialId::as_str)
        .or(origin.agent.map(AgentId::as_str))
        .or(origin.user.map(UserId::as_str));
    let about = match lacking {
        [] => json!({ "route": route, "last_at": origin.now }),
        lacking => json!({ "route": route, "missing_scopes": lacking, "last_at": origin.now }),
    };
    let last = json::to_text(&about);
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
        last,
        origin.now,
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
        "INSERT INTO refusals (subject, slug, minute, count, tenant_id, user_id, address, request_id, first_at, last)
         SELECT id, ?2, ?3, 1, tenant_id, id, ?4, ?5, ?6, ?7 FROM users WHERE id = ?1 {COUNT}"
    );
    let last = json::to_text(&json!({ "last_at": now }));
    db.hot::<Affected>(&sql, args![user, slug, now.minute(), address, request, now, last]).await.map(drop)
}

#[cfg(test)]
mod tests {
    use futures_util::future::{join, join_all};

    use common::secret::Kind;

    use super::*;
    use crate::{
        housekeeping,
        testing::{Actor, TestDb},
    };

    /// Refuses the caller from each address as often as it says, at once: the first write begins when all have come.
    async fn refuse(t: &TestDb, caller: &Actor, from: &[(&str, usize)]) -> Vec<Result<(), DbError>> {
        let request = RequestId::generate(t.now(), t.chance());
        let origin = |address| Origin {
            tenant: &caller.tenant,
            user: Some(&caller.user),
            agent: caller.agent.as_ref(),
            credential: Some(&caller.credential),
            address,
            request: &request,
            now: t.now(),
            chance: t.chance(),
        };
        let addresses = from.iter().flat_map(|(address, times)| std::iter::repeat_n(*address, *times));
        let counts = addresses.map(|address| async move {
            count(t.db(), &origin(address), "scope_denied", ("GET /x", &["agents.read".to_owned()])).await
        });
        let held = t.db().hold_records().await;
        join(join_all(counts), async { drop(held) }).await.0
    }

    const COUNTED: &str = "SELECT credential_id || ' ' || address || ' ' || count FROM refusals ORDER BY address";

    /// R390: what a stolen key was refused stands under its own id, whatever its owner does in the same minute.
    #[tokio::test]
    async fn each_credential_has_rows_of_its_own() {
        let t = TestDb::new();
        let owner = t.ada().await;
        let thief = t.credential(Kind::Pat, &owner.tenant, &owner.user, None, "*", None).await;
        let refused = [refuse(&t, &thief, &[("198.51.100.9", 3)]).await, refuse(&t, &owner, &[("192.0.2.1", 2)]).await];
        assert!(refused.iter().flatten().all(Result::is_ok));
        let expected = [format!("{} 192.0.2.1 2", owner.credential), format!("{} 198.51.100.9 3", thief.credential)];
        assert_eq!(t.texts(COUNTED).await, expected);
        t.wait(60);
        housekeeping::write_refusals(t.db(), t.chance(), t.now()).await.unwrap();
        assert_eq!(t.texts(&COUNTED.replace("refusals", "audit")).await, expected);
        // R609: what the last one was about stands beside it.
        let about =
            "{\"route\":\"GET /x\",\"missing_scopes\":[\"agents.read\"],\"last_at\":\"2026-01-02T03:04:05.000Z\"}";
        assert_eq!(t.texts("SELECT after FROM audit WHERE outcome = 'refused'").await, [about, about]);
    }

    /// R390: of refusals that are added up while one is written, the last one's address stands in the row, and their number.
    #[tokio::test]
    async fn the_last_one_of_a_flood_is_named() {
        let t = TestDb::new();
        let ada = t.ada().await;
        let refused = refuse(&t, &ada, &[("192.0.2.1", 20), ("192.0.2.2", 20), ("198.51.100.9", 20)]).await;
        assert!(refused.iter().all(Result::is_ok));
        assert_eq!(t.texts(COUNTED).await, [format!("{} 198.51.100.9 60", ada.credential)]);
    }

    /// R390: a write that fails loses its own number, not those that came while it ran.
    #[tokio::test]
    async fn a_failed_write_loses_its_own_number_only() {
        let t = TestDb::new();
        let ada = t.ada().await;
        let fails = "CREATE TRIGGER first_fails BEFORE INSERT ON refusals WHEN new.count = 1
                     BEGIN SELECT RAISE(ABORT, 'this one'); END";
        t.execute(fails).await.unwrap();
        let refused = refuse(&t, &ada, &[("192.0.2.1", 20)]).await;
        assert_eq!(refused.iter().filter(|refused| refused.is_err()).count(), 1, "the one that wrote says so");
        assert_eq!(t.texts(COUNTED).await, [format!("{} 192.0.2.1 19", ada.credential)]);
    }
}
