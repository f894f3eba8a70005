use common::id::{RequestId, TenantId, UserId};

use super::*;
use crate::{args, testing::TestDb};

const TENANT: &str = "ten_main";

async fn rows(t: &TestDb, count: usize) {
    let tx = t.db().begin(crate::db::Purpose::Durable).await.unwrap();
    for _ in 0..count {
        let sql = "INSERT INTO audit (id, at, tenant_id, user_id, action, object_id, outcome, after)
                   SELECT 'aud_' || n, n, iif(n % 2, 'ten_main', 'ten_other'), 'usr_a', 'x.y', 'agt_a', 'done', '{}'
                   FROM (SELECT ifnull(max(seq), 0) + 1 AS n FROM audit)";
        tx.execute(sql, vec![]).await.unwrap();
    }
    tx.commit().await.unwrap();
}

async fn seal(t: &TestDb, setting: &str) -> Option<String> {
    let schema = schema::look(t.db()).await.unwrap();
    run(t.db(), &keys(setting), &schema, t.now()).await.unwrap().map(|head| head.to_string())
}

/// Ten rows under three seals, and the head.
async fn sealed(new: fn() -> TestDb) -> (TestDb, String) {
    let t = new();
    let mut head = None;
    for count in [3, 4, 3] {
        rows(&t, count).await;
        t.wait(1);
        head = seal(&t, "key").await;
    }
    (t, head.unwrap())
}

async fn verified(t: &TestDb, setting: &str, from: i64, head: Option<&str>) -> Report {
    let head = head.map(|head| Head::parse(head).unwrap());
    let from = (from != i64::MIN).then_some(from);
    verify(t.db(), &keys(setting), TENANT, from, head.as_ref()).await.unwrap()
}

async fn first_bad(t: &TestDb, head: Option<&str>) -> Option<(i64, Option<String>, &'static str)> {
    let report = verified(t, "key", i64::MIN, head).await;
    assert_eq!(report.ok, report.first_bad.is_none());
    report.first_bad.map(|bad| (bad.seq, bad.id, bad.what))
}

/// A change by somebody who can write to the file, and who leaves the schema as it was.
async fn bend(t: &TestDb, statements: &[&str]) {
    let triggers = "FROM sqlite_schema WHERE type = 'trigger' AND tbl_name LIKE 'audit%' ORDER BY name";
    let made = t.texts(&format!("SELECT sql {triggers}")).await;
    for name in t.texts(&format!("SELECT name {triggers}")).await {
        t.execute(&format!("DROP TRIGGER {name}")).await.unwrap();
    }
    for statement in statements.iter().copied().chain(made.iter().map(String::as_str)) {
        t.execute(statement).await.unwrap();
    }
}

async fn what_is_new_is_sealed_and_nothing_else(new: fn() -> TestDb) {
    let t = new();
    assert_eq!(seal(&t, "").await, None);
    rows(&t, 2).await;
    assert_eq!(seal(&t, "").await, None, "no key");
    assert_eq!(t.number("SELECT count(*) FROM audit_seals").await, 0);
    let first = seal(&t, "key").await.unwrap();
    assert!(first.starts_with("2 ") && first.len() == 2 + 64, "{first}");
    assert_eq!(seal(&t, "key").await, None, "nothing is new");
    rows(&t, 1).await;
    let report = verified(&t, "key", i64::MIN, Some(&first)).await;
    let expected = serde_json::json!({
        "ok": true, "verified_from": 1, "rows": 2, "sealed_to": 2, "head": &first[2..], "unsealed": 1, "next_from": null, "first_bad": null,
    });
    assert_eq!(serde_json::to_value(report).unwrap(), expected);
}

/// A backlog is sealed in bounded steps, and verified in bounded requests that can be continued.
async fn a_long_trail_is_sealed_and_verified_in_parts(new: fn() -> TestDb) {
    let t = new();
    rows(&t, 5_100).await;
    assert!(seal(&t, "key").await.unwrap().starts_with("5000 "));
    assert!(seal(&t, "key").await.unwrap().starts_with("5100 "));
    assert_eq!(t.number("SELECT count(*) FROM audit_seals").await, 6);
    let whole = verified(&t, "key", i64::MIN, None).await;
    assert_eq!((whole.ok, whole.rows, whole.next_from), (true, 5_100, None));
    let rest = verified(&t, "key", 4_321, None).await;
    assert_eq!((rest.ok, rest.rows, rest.next_from), (true, 1_100, None), "from the seal that covers the row");
    let none = verified(&t, "key", 5_101, None).await;
    assert_eq!((none.ok, none.rows, none.next_from), (true, 0, None));
}

/// R31: an edited row is found and named, whichever column was edited; of another tenant by its number alone.
async fn an_edited_row_is_found(new: fn() -> TestDb) {
    for (edit, what) in [
        ("action = 'x.z'", "changed"),
        ("after = NULL", "changed"),
        ("after = CAST(x'ff' AS TEXT)", "changed"),
        ("user_id = '', agent_id = 'usr_a'", "changed"),
        ("at = at + 1", "changed"),
        ("count = 2", "changed"),
    ] {
        let (t, head) = sealed(new).await;
        assert_eq!(first_bad(&t, Some(&head)).await, None);
        bend(&t, &[&format!("UPDATE audit SET {edit} WHERE seq IN (5, 9)")]).await;
        assert_eq!(first_bad(&t, None).await, Some((5, Some("aud_5".to_owned()), what)), "{edit}");
        bend(&t, &["UPDATE audit SET action = 'x.z' WHERE seq = 4"]).await;
        assert_eq!(first_bad(&t, None).await, Some((4, None, "changed")), "another tenant's row");
    }
}

/// R31: a removed row is found, in the middle, at the beginning and at the end.
async fn a_removed_row_is_found(new: fn() -> TestDb) {
    for seq in [1, 5, 7, 10] {
        let (t, _) = sealed(new).await;
        bend(&t, &[&format!("DELETE FROM audit WHERE seq = {seq}")]).await;
        assert_eq!(first_bad(&t, None).await, Some((seq, None, "removed")));
    }
    let (t, _) = sealed(new).await;
    bend(&t, &["DELETE FROM audit WHERE seq > 6"]).await;
    assert_eq!(first_bad(&t, None).await, Some((7, None, "removed")));
}

/// R31: a row that was removed before it could be sealed leaves a gap, which is found too.
async fn a_row_that_was_removed_before_it_was_sealed_is_found(new: fn() -> TestDb) {
    let (t, _) = sealed(new).await;
    rows(&t, 3).await;
    bend(&t, &["DELETE FROM audit WHERE seq = 12"]).await;
    seal(&t, "key").await.unwrap();
    assert_eq!(first_bad(&t, None).await, Some((12, None, "removed")));
    let behind = verified(&t, "key", 14, None).await;
    assert!(behind.ok, "what follows can be verified from there");
}

/// R31: two rows that changed places are found.
async fn reordered_rows_are_found(new: fn() -> TestDb) {
    let (t, _) = sealed(new).await;
    bend(
        &t,
        &[
            "UPDATE audit SET seq = 100 WHERE seq = 5",
            "UPDATE audit SET seq = 5 WHERE seq = 7",
            "UPDATE audit SET seq = 7 WHERE seq = 100",
        ],
    )
    .await;
    assert_eq!(first_bad(&t, None).await, Some((5, Some("aud_7".to_owned()), "changed")));
}

/// R31: a row that was put in before the first one is found.
async fn an_added_row_is_found(new: fn() -> TestDb) {
    let (t, _) = sealed(new).await;
    let row =
        "INSERT INTO audit (seq, id, at, tenant_id, action, outcome) VALUES (-3, 'aud_x', 1, 'ten_main', 'x', 'done')";
    t.execute(row).await.unwrap();
    assert_eq!(first_bad(&t, None).await, Some((-3, Some("aud_x".to_owned()), "added")));
}

/// R31: the end cut off together with its seals leaves a chain that is whole; the head that was logged is not in it.
async fn a_tail_that_was_cut_with_its_seals_is_found_by_the_head(new: fn() -> TestDb) {
    let (t, head) = sealed(new).await;
    bend(&t, &["DELETE FROM audit WHERE seq > 7", "DELETE FROM audit_seals WHERE from_seq > 7"]).await;
    assert_eq!(first_bad(&t, None).await, None, "nothing tells without the head");
    assert_eq!(first_bad(&t, Some(&head)).await, Some((8, None, "cut_off")));
    assert_eq!(first_bad(&t, Some(&head[3..])).await, Some((8, None, "cut_off")));
    // It does not help to go on behind the cut either, as if nothing had happened.
    bend(&t, &["UPDATE sqlite_sequence SET seq = 7 WHERE name = 'audit'"]).await;
    rows(&t, 6).await;
    seal(&t, "key").await.unwrap();
    assert_eq!(first_bad(&t, None).await, None);
    assert_eq!(first_bad(&t, Some(&head)).await, Some((10, None, "cut_off")), "at or before the head");
    // Everything cut.
    bend(&t, &["DELETE FROM audit", "DELETE FROM audit_seals"]).await;
    assert_eq!(first_bad(&t, Some(&head)).await, Some((1, None, "cut_off")));
}

/// R31: seals that were falsified are found: removed in the middle, moved, changed in any column, made with another key.
async fn a_bent_seal_is_found(new: fn() -> TestDb) {
    for (statement, seq, what) in [
        ("DELETE FROM audit_seals WHERE from_seq = 4", 4, "seal_removed"),
        ("DELETE FROM audit_seals WHERE from_seq = 1", 1, "seal_removed"),
        ("UPDATE audit_seals SET sealed_at = sealed_at + 1 WHERE from_seq = 4", 4, "seal_changed"),
        ("UPDATE audit_seals SET mac = zeroblob(32) WHERE from_seq = 4", 4, "seal_changed"),
        ("UPDATE audit_seals SET digests = zeroblob(160) WHERE from_seq = 4", 4, "seal_changed"),
        ("UPDATE audit_seals SET to_seq = 6 WHERE from_seq = 4", 4, "seal_changed"),
        ("UPDATE audit_seals SET key_id = zeroblob(8) WHERE from_seq = 4", 4, "unknown_key"),
    ] {
        let (t, _) = sealed(new).await;
        bend(&t, &[statement]).await;
        assert_eq!(first_bad(&t, None).await, Some((seq, None, what)), "{statement}");
    }
    let (t, _) = sealed(new).await;
    assert_eq!(verified(&t, "guessed", i64::MIN, None).await.first_bad, Some(Mismatch::at(1, "unknown_key")));
}

/// R31: seals are insert-only, and there is one chain, whichever host seals.
async fn a_seal_cannot_be_changed_removed_replaced_or_doubled(new: fn() -> TestDb) {
    let (t, head) = sealed(new).await;
    for bent in [
        "UPDATE audit_seals SET sealed_at = 1",
        "UPDATE OR REPLACE audit_seals SET from_seq = 1",
        "DELETE FROM audit_seals",
        "INSERT OR REPLACE INTO audit_seals SELECT * FROM audit_seals",
        "REPLACE INTO audit_seals SELECT from_seq, to_seq, 1, key_id, mac, digests FROM audit_seals WHERE from_seq = 4",
        "INSERT INTO audit_seals SELECT 12, 13, 1, key_id, mac, digests FROM audit_seals WHERE from_seq = 4",
        "INSERT INTO audit_seals SELECT NULL, 13, 1, key_id, mac, digests FROM audit_seals WHERE from_seq = 4",
        "INSERT OR REPLACE INTO audit_seals SELECT 11, 7, 1, key_id, mac, digests FROM audit_seals WHERE from_seq = 4",
    ] {
        assert!(t.execute(bent).await.is_err(), "{bent}");
    }
    assert_eq!(t.texts("SELECT from_seq || '-' || to_seq FROM audit_seals").await, ["1-3", "4-7", "8-10"]);
    assert_eq!(first_bad(&t, Some(&head)).await, None);
}

/// Two hosts that read the same newest seal: one of them seals, the other one finds it done.
async fn two_hosts_that_seal_at_once_make_one_chain(new: fn() -> TestDb) {
    let (t, _) = sealed(new).await;
    rows(&t, 1).await;
    let end = seal::before(t.db(), i64::MAX).await.unwrap().unwrap();
    let made = |at: i64| Seal {
        from_seq: end.to_seq + 1,
        to_seq: end.to_seq + 1,
        sealed_at: Timestamp::from_millis(at),
        key_id: vec![0; 8],
        mac: Digest::of(b"x"),
        digests: vec![0; LISTED],
    };
    assert!(seal::insert(t.db(), &made(1)).await.unwrap());
    assert!(!seal::insert(t.db(), &made(2)).await.unwrap());
    assert_eq!(t.number("SELECT sealed_at FROM audit_seals WHERE from_seq = 11").await, 1);
}

/// A new key goes on with the chain; the old one verifies what it sealed, and cannot go on.
async fn a_key_can_be_replaced_and_the_old_one_cannot_come_back(new: fn() -> TestDb) {
    let (t, _) = sealed(new).await;
    rows(&t, 2).await;
    let head = seal(&t, "new key").await.unwrap();
    assert!(verified(&t, "new key", i64::MIN, Some(&head)).await.ok);
    assert_eq!(verified(&t, "new", i64::MIN, None).await.first_bad, Some(Mismatch::at(1, "unknown_key")));
    rows(&t, 1).await;
    seal(&t, "key").await.unwrap();
    for from in [i64::MIN, 13] {
        let bad = verified(&t, "new key", from, None).await.first_bad;
        assert_eq!(bad, Some(Mismatch::at(13, "seal_changed")));
    }
}

/// A change by the server itself.
async fn change(t: &TestDb) -> Result<(), DbError> {
    use crate::audit::{Event, insert};
    let (user, tenant) = (UserId::generate(t.now(), t.chance()), TenantId::generate(t.now(), t.chance()));
    let request = RequestId::generate(t.now(), t.chance());
    let origin = crate::origin::Origin {
        tenant: &tenant,
        user: Some(&user),
        agent: None,
        credential: None,
        address: "192.0.2.1",
        request: &request,
        now: t.now(),
        chance: t.chance(),
    };
    let tx = t.db().begin(crate::db::Purpose::Durable).await?;
    tx.execute("INSERT INTO tenants (id, slug, created_at) VALUES (?1, ?1, 0)", args![&tenant]).await?;
    let event =
        Event { action: "x.y", object: "o", before: serde_json::Value::Null, after: serde_json::json!({ "a": 1 }) };
    insert(&tx, &origin, &event).await?;
    tx.commit().await
}

/// R76: a trigger that drops audit rows, or says somebody else in them, makes changes fail: none is without its row. Verifying says
/// what is wrong, and the rows that were written meanwhile never look sealed as if nothing had been.
async fn a_trigger_that_bends_rows_stops_changes_and_is_found(new: fn() -> TestDb) {
    for (trigger, statements) in [
        (
            "evil",
            vec!["CREATE TRIGGER evil BEFORE INSERT ON audit WHEN NEW.action = 'x.y' BEGIN SELECT RAISE(IGNORE); END"],
        ),
        (
            "an_audit_row_is_never_changed",
            vec![
                "DROP TRIGGER an_audit_row_is_never_changed",
                "CREATE TRIGGER an_audit_row_is_never_changed AFTER INSERT ON audit BEGIN UPDATE audit SET user_id = 'usr_b' WHERE seq = NEW.seq; END",
            ],
        ),
        (
            "evil",
            vec![
                "DROP TRIGGER an_audit_row_is_never_changed",
                "CREATE TRIGGER evil AFTER INSERT ON audit BEGIN UPDATE audit SET user_id = 'usr_b' WHERE seq = NEW.seq; END",
            ],
        ),
    ] {
        let (t, head) = sealed(new).await;
        change(&t).await.unwrap();
        let made = t.texts("SELECT sql FROM sqlite_schema WHERE name = 'an_audit_row_is_never_changed'").await;
        for statement in &statements {
            t.execute(statement).await.unwrap();
        }
        assert!(matches!(change(&t).await, Err(DbError::Unavailable(_))), "{statements:?}");
        assert_eq!(t.number("SELECT count(*) FROM tenants").await, 1, "the change did not happen");
        assert_eq!(t.number("SELECT count(*) FROM audit WHERE action = 'x.y' AND object_id = 'o'").await, 1);
        let report = verified(&t, "key", i64::MIN, Some(&head)).await;
        let bad = Mismatch::with(0, "schema_changed", format!("trigger {trigger}"));
        assert_eq!((report.ok, report.first_bad), (false, Some(bad)), "{statements:?}");
        // With a number, the rows are looked at; it is not ok all the same.
        let report = verified(&t, "key", 1, None).await;
        assert_eq!((report.ok, report.rows), (false, 10));
        // What is sealed meanwhile stays marked when the schema is as it was.
        seal(&t, "key").await.unwrap();
        t.execute(&format!("DROP TRIGGER {trigger}")).await.unwrap();
        t.execute("DROP TRIGGER IF EXISTS an_audit_row_is_never_changed").await.unwrap();
        t.execute(made.first().unwrap()).await.unwrap();
        change(&t).await.unwrap();
        seal(&t, "key").await.unwrap();
        let report = verified(&t, "key", i64::MIN, None).await;
        let marked = Mismatch::with(11, "schema_changed", format!("trigger {trigger}").chars().take(32).collect());
        assert_eq!((report.ok, report.first_bad), (false, Some(marked)), "{statements:?}");
        assert!(verified(&t, "key", 12, None).await.ok, "what follows");
        // A marked seal guards its rows like any other.
        bend(&t, &["UPDATE audit SET user_id = 'usr_b' WHERE seq = 11"]).await;
        let bad = verified(&t, "key", i64::MIN, None).await.first_bad.unwrap();
        assert_eq!((bad.seq, bad.what), (11, "changed"));
    }
}

/// R76: an index that does not hold a sealed row, so that no list would show it, is found: one put in place of ours, and one whose
/// text was put back.
async fn an_index_that_hides_a_row_is_found(new: fn() -> TestDb) {
    for (index, column) in [
        ("audit_by_tenant", "tenant_id"),
        ("audit_by_object", "object_id"),
        ("audit_by_agent", "agent_id"),
        ("audit_by_credential", "credential_id"),
        ("audit_by_request", "request_id"),
        ("audit_by_time", "tenant_id, at"),
    ] {
        let (t, _) = sealed(new).await;
        t.execute(
            "INSERT INTO audit (id, at, tenant_id, user_id, agent_id, credential_id, request_id, action, object_id, outcome)
             VALUES ('aud_x', 1, 'ten_main', 'usr_a', 'agt_a', 'tok_a', 'req_a', 'x', 'agt_a', 'done')",
        )
        .await
        .unwrap();
        seal(&t, "key").await.unwrap();
        let made = t.texts(&format!("SELECT sql FROM sqlite_schema WHERE name = '{index}'")).await.remove(0);
        t.execute(&format!("DROP INDEX {index}")).await.unwrap();
        t.execute(&format!("CREATE INDEX {index} ON audit ({column}, seq) WHERE id <> 'aud_x'")).await.unwrap();
        let bad = verified(&t, "key", i64::MIN, None).await.first_bad.unwrap();
        assert_eq!((bad.seq, bad.what, bad.object), (0, "schema_changed", Some(format!("index {index}"))));
        t.db().close();
        let file = rusqlite::Connection::open(t.path()).unwrap();
        file.pragma_update(None, "writable_schema", true).unwrap();
        file.execute("UPDATE sqlite_schema SET sql = ?1 WHERE name = ?2", [made.as_str(), index]).unwrap();
        let version: i64 = file.query_row("PRAGMA schema_version", [], |row| row.get(0)).unwrap();
        file.pragma_update(None, "schema_version", version + 1).unwrap();
        drop(file);
        for from in [i64::MIN, 11] {
            let bad = verified(&t, "key", from, None).await.first_bad.unwrap();
            assert_eq!((bad.seq, bad.what, bad.object), (11, "not_indexed", Some(format!("index {index}"))));
        }
    }
}

/// R76: verifying holds the table against every index that it has.
async fn every_index_of_the_table_is_known(new: fn() -> TestDb) {
    let t = new();
    let indexes = "FROM pragma_index_list('audit') i, pragma_index_info(i.name) c WHERE c.seqno = 0";
    let first = t.texts(&format!("SELECT i.name || ' WHERE i.' || c.name || ' = t.' || c.name {indexes}")).await;
    assert_eq!(trail::UNINDEXED.matches("INDEXED BY").count(), first.len());
    for index in first {
        assert!(trail::UNINDEXED.contains(&format!("INDEXED BY {index} AND")), "{index}");
    }
}

/// R76: a database that says it is newer is no proof of anything, and what is sealed meanwhile is not marked: in a rolling upgrade the
/// older release cannot tell.
async fn a_newer_version_cannot_be_compared(new: fn() -> TestDb) {
    let (t, _) = sealed(new).await;
    let version = t.number("PRAGMA user_version").await;
    t.execute("PRAGMA user_version = 99").await.unwrap();
    t.db().close();
    let report = verified(&t, "key", i64::MIN, None).await;
    let bad = Mismatch::with(0, "schema_newer", "version 99".to_owned());
    assert_eq!((report.ok, report.first_bad), (false, Some(bad)));
    rows(&t, 1).await;
    seal(&t, "key").await.unwrap();
    t.execute(&format!("PRAGMA user_version = {version}")).await.unwrap();
    assert!(verified(&t, "key", i64::MIN, None).await.ok);
}

#[test]
fn a_head_is_read_as_it_is_logged() {
    let mac = Digest::of(b"x");
    let logged = Head { seq: Some(12), mac }.to_string();
    assert_eq!(Head::parse(&logged).map(|head| (head.seq, head.mac)), Some((Some(12), mac)));
    assert_eq!(Head::parse(&format!(" {mac} ")).map(|head| (head.seq, head.mac)), Some((None, mac)));
    for bad in ["", "12", "x y", &format!("x {mac}"), &format!("1  {mac}"), &mac.to_string()[1..]] {
        assert!(Head::parse(bad).is_none(), "{bad}");
    }
}

/// Columns cannot run into each other, and what differs in type differs.
#[test]
fn rows_that_differ_have_digests_that_differ() {
    let blob = |text: &str| Value::Blob(text.into());
    let digest = |columns: Vec<Value>| row_digest(&RawRow { seq: 1, columns });
    let all = [
        digest(vec![blob("ab"), blob("c")]),
        digest(vec![blob("a"), blob("bc")]),
        digest(vec![blob("abc"), blob("")]),
        digest(vec![blob("abc"), Value::Null]),
        digest(vec![blob("abc")]),
        digest(vec![Value::Integer(0)]),
        digest(vec![Value::Null]),
    ];
    for (at, one) in all.iter().enumerate() {
        assert!(all.iter().skip(at + 1).all(|other| other != one), "{at}");
    }
}

crate::testing::on_every_engine! {
    what_is_new_is_sealed_and_nothing_else
    a_long_trail_is_sealed_and_verified_in_parts
    an_edited_row_is_found
    a_removed_row_is_found
    a_row_that_was_removed_before_it_was_sealed_is_found
    reordered_rows_are_found
    an_added_row_is_found
    a_tail_that_was_cut_with_its_seals_is_found_by_the_head
    a_bent_seal_is_found
    a_seal_cannot_be_changed_removed_replaced_or_doubled
    two_hosts_that_seal_at_once_make_one_chain
    a_key_can_be_replaced_and_the_old_one_cannot_come_back
    a_trigger_that_bends_rows_stops_changes_and_is_found
    an_index_that_hides_a_row_is_found
    every_index_of_the_table_is_known
    a_newer_version_cannot_be_compared
}
