use super::*;
use crate::{
    audit::chain::{self, Head, keys},
    db::schema::{self, Schema},
    testing::TestDb,
};

const DAY: i64 = 86_400;

/// Three seals a day apart, of 3, 4 and 3 rows; gives the heads.
async fn sealed(t: &TestDb) -> Vec<String> {
    let mut heads = Vec::new();
    for count in [3, 4, 3] {
        for _ in 0..count {
            t.execute(
                "INSERT INTO audit (id, at, tenant_id, user_id, action, object_id, outcome, after)
                 SELECT 'aud_' || n, n, 'ten_main', 'usr_a', 'x.y', 'agt_a', 'done', '{}'
                 FROM (SELECT ifnull(max(seq), 0) + 1 AS n FROM audit)",
            )
            .await
            .unwrap();
        }
        let schema = schema::look(t.db()).await.unwrap();
        heads.push(chain::run(t.db(), &keys("key"), &schema, t.now()).await.unwrap().unwrap().to_string());
        t.wait(DAY);
    }
    heads
}

async fn purge(t: &TestDb, days: i64) -> Option<i64> {
    t.wait(60);
    run(t.db(), &keys("key"), days, t.now()).await.unwrap().map(|made| made.to_seq)
}

async fn verified(t: &TestDb, setting: &str, from: Option<i64>, head: Option<&str>) -> chain::Report {
    let head = head.map(|head| Head::parse(head).unwrap());
    chain::verify(t.db(), &keys(setting), "ten_main", from, head.as_ref()).await.unwrap()
}

/// R157: what is older than the operator keeps it goes by whole seals, and what is left is verified from there on.
#[tokio::test]
async fn old_rows_go_and_what_is_left_is_verified() {
    let t = TestDb::new();
    let heads = sealed(&t).await;
    assert_eq!(purge(&t, 4).await, None, "nothing is old enough");
    let seals = t.number("SELECT count(*) FROM audit_seals").await;
    assert_eq!(purge(&t, 3).await, Some(3));
    assert_eq!(t.texts("SELECT CAST(min(seq) || '-' || max(seq) AS TEXT) FROM audit").await, ["4-10"]);
    assert_eq!(t.number("SELECT count(*) FROM audit_seals").await, seals - 1);
    for head in [&heads[2], &heads[1], &heads[0]] {
        let report = verified(&t, "key", None, Some(head)).await;
        assert!(report.ok, "{head}: {:?}", report.first_bad);
        assert_eq!((report.verified_from, report.rows, report.sealed_to), (4, 7, 10));
    }
    assert!(verified(&t, "key", Some(2), None).await.ok);
    // Again, and never the newest seal, however old it is.
    t.wait(100 * DAY);
    assert_eq!(purge(&t, 30).await, Some(7));
    assert_eq!(purge(&t, 30).await, None);
    assert_eq!(t.number("SELECT rows FROM audit_checkpoints").await, 7);
    let report = verified(&t, "key", None, Some(&heads[2])).await;
    assert!(report.ok && report.verified_from == 8, "{:?}", report.first_bad);
    // The triggers stand again, as the migrations make them.
    assert_eq!(schema::look(t.db()).await.unwrap(), Schema::AsMade);
    for sql in ["DELETE FROM audit WHERE seq = 8", "DELETE FROM audit_seals"] {
        assert!(t.execute(sql).await.is_err(), "{sql}");
    }
    // The chain goes on, under another key too.
    t.execute("INSERT INTO audit (id, at, tenant_id, action, outcome) VALUES ('aud_new', 1, 'ten_main', 'x', 'done')")
        .await
        .unwrap();
    chain::run(t.db(), &keys("new,key"), &Schema::AsMade, t.now()).await.unwrap().unwrap();
    let report = verified(&t, "new,key", None, None).await;
    assert!(report.ok && report.sealed_to == 11, "{:?}", report.first_bad);
}

/// R157: a check-point is worth its seal: one that was made, changed or taken away without a key is a fault, and stops further deleting.
#[tokio::test]
async fn a_checkpoint_that_no_key_has_made_is_a_fault() {
    for (sql, what) in [
        ("UPDATE audit_checkpoints SET rows = 2", "checkpoint_changed"),
        ("UPDATE audit_checkpoints SET seal = zeroblob(32)", "checkpoint_changed"),
        ("UPDATE audit_checkpoints SET key_id = zeroblob(8)", "unknown_key"),
        ("DELETE FROM audit_checkpoints", "seal_removed"),
        (
            "INSERT INTO audit (seq, id, at, tenant_id, action, outcome) VALUES (2, 'aud_old', 1, 'ten_main', 'x', 'done')",
            "added",
        ),
    ] {
        let t = TestDb::new();
        sealed(&t).await;
        assert_eq!(purge(&t, 3).await, Some(3));
        t.execute(sql).await.unwrap();
        let report = verified(&t, "key", None, None).await;
        assert_eq!(report.first_bad.map(|bad| bad.what), Some(what), "{sql}");
        t.wait(100 * DAY);
        let again = run(t.db(), &keys("key"), 30, t.now()).await;
        assert!(again.is_err() || sql.starts_with("INSERT"), "{sql}");
    }
}

/// R157: without a key of the trail nothing is deleted: nobody could tell a deleted row from one that never was.
#[tokio::test]
async fn without_a_key_everything_stays() {
    let t = TestDb::new();
    sealed(&t).await;
    t.wait(1_000 * DAY);
    assert!(run(t.db(), &[], 30, t.now()).await.unwrap().is_none());
    assert_eq!(t.number("SELECT count(*) FROM audit").await, 10);
}

/// R157: rows that somebody has changed are not deleted as if they were well.
#[tokio::test]
async fn what_is_not_as_it_was_sealed_stays() {
    let t = TestDb::new();
    sealed(&t).await;
    let made = t.texts("SELECT sql FROM sqlite_schema WHERE name = 'an_audit_row_is_never_changed'").await;
    t.execute("DROP TRIGGER an_audit_row_is_never_changed").await.unwrap();
    t.execute("UPDATE audit SET user_id = 'usr_b' WHERE seq = 2").await.unwrap();
    t.execute(&made[0]).await.unwrap();
    t.wait(100 * DAY);
    assert!(run(t.db(), &keys("key"), 30, t.now()).await.is_err());
    assert_eq!(t.number("SELECT count(*) FROM audit").await, 10);
}
