use common::role::Role;
use serde_json::{Value::Null, json};
use service::{settings::Settings, testing::TestApp};

use crate::with_neighbours;

pub(crate) async fn tick(t: &TestApp) {
    t.nobody("POST", "/internal/tick", Null).await.is(204);
}

#[tokio::test]
async fn the_tick_runs_once_a_second_however_often_it_is_called() {
    let t = TestApp::new(with_neighbours());
    tick(&t).await;
    let before = t.db().statements();
    tick(&t).await;
    assert_eq!(t.db().statements() - before, 4, "is an event, a delivery or a probe due? And the lease");
    t.wait(1);
    let before = t.db().statements();
    tick(&t).await;
    assert!(t.db().statements() - before > 1);
}

/// R300: a clock that was ahead for a while holds nothing up once it is right again: the tick runs, and what it put off is due.
#[tokio::test]
async fn a_clock_that_was_ahead_holds_nothing_up() {
    let t = TestApp::new(with_neighbours());
    let tenant = t.tenant("main").await;
    let ada = t.user(&tenant, "ada@example.com", Role::Member).await;
    let month = t.now().plus_seconds(30 * 86_400).millis();
    for sql in [
        format!("UPDATE leases SET until = {month} WHERE name <> 'nearly full'"),
        format!("INSERT INTO attempts VALUES (x'01', 3, {month}), (x'02', 3, {})", t.now().plus_seconds(600).millis()),
        format!("INSERT INTO streams VALUES ('req_1', '{}', {month})", ada.user),
    ] {
        t.execute(&sql).await.unwrap();
    }
    // What the tick fails to bring back the next one does.
    t.execute("CREATE TRIGGER broken BEFORE DELETE ON attempts BEGIN SELECT RAISE(ABORT, 'broken'); END")
        .await
        .unwrap();
    tick(&t).await;
    assert_eq!(t.texts("SELECT hex(key) FROM attempts ORDER BY key").await, ["01", "02"]);
    t.execute("DROP TRIGGER broken").await.unwrap();
    tick(&t).await;
    assert_eq!(t.number(&format!("SELECT count(*) FROM leases WHERE until = {month}")).await, 0);
    assert_eq!(t.texts("SELECT hex(key) FROM attempts").await, ["02"]);
    assert_eq!(t.number("SELECT count(*) FROM streams").await, 0);
    // From then on it is an ordinary tick, once a second.
    let before = t.db().statements();
    tick(&t).await;
    assert_eq!(t.db().statements() - before, 4);
}

/// R53: kept answers and counters are deleted when their time is over, and not before.
#[tokio::test]
async fn ended_rows_are_purged() {
    let t = TestApp::new(with_neighbours());
    let now = t.now().millis();
    t.execute(&format!(
        "INSERT INTO idempotency VALUES (x'01', 'usr_a', 'tok_a', x'00', 0, 201, x'00', {now}, NULL), (x'02', 'usr_a', 'tok_a', x'00', 0, 201, x'00', {}, NULL)",
        now + 1500
    ))
    .await
    .unwrap();
    t.execute(&format!("INSERT INTO attempts VALUES (x'01', 3, {now}), (x'02', 3, {})", now + 1500)).await.unwrap();
    let left = "SELECT (SELECT count(*) FROM idempotency) * 10 + (SELECT count(*) FROM attempts)";
    tick(&t).await;
    assert_eq!(t.number(left).await, 11);
    t.wait(2);
    tick(&t).await;
    assert_eq!(t.number(left).await, 0);
}

/// R53: notifications are deleted after 90 days, and not before.
#[tokio::test]
async fn old_notifications_are_purged() {
    let t = TestApp::new(with_neighbours());
    let tenant = t.tenant("main").await;
    let ada = t.user(&tenant, "ada@example.com", Role::Member).await;
    let scout = t.agent(&ada, "scout", "ui.notify").await;
    let tell = serde_json::json!({ "title": "Done", "body": "All is well." });
    t.as_(&scout, "POST", "/api/ui/notify", tell.clone()).await.is(201);
    t.wait(1);
    t.as_(&scout, "POST", "/api/ui/notify", tell).await.is(201);
    for (seconds, left) in [(90 * 86_400 - 1, 2), (1, 1), (1, 0)] {
        t.wait(seconds);
        tick(&t).await;
        assert_eq!(t.number("SELECT count(*) FROM notifications").await, left);
    }
}

/// R31: a minute's refusals become one audit row for each subject and slug, once the minute is over.
#[tokio::test]
async fn refusals_of_a_minute_become_one_row() {
    let t = TestApp::new(with_neighbours());
    let tenant = t.tenant("main").await;
    let ada = t.user(&tenant, "ada@example.com", Role::Admin).await;
    let minute = t.now().minute().millis();
    t.execute(&format!(
        "INSERT INTO refusals VALUES ('{0}', 'scope_denied', {minute}, 41, '{1}', '{0}', NULL, 'tok_a', '192.0.2.1', 'req_a', NULL, NULL)",
        ada.user, tenant
    ))
    .await
    .unwrap();
    tick(&t).await;
    assert_eq!(t.number("SELECT count(*) FROM audit").await, 0, "the minute is not over");
    t.wait(60);
    tick(&t).await;
    t.wait(1);
    tick(&t).await;
    let rows =
        t.texts("SELECT user_id || ' ' || action || ' ' || outcome || ' ' || count || ' ' || at FROM audit").await;
    assert_eq!(rows, [format!("{} scope_denied refused 41 {minute}", ada.user)]);
    assert_eq!(t.number("SELECT count(*) FROM refusals").await, 0);
}

/// R31: audit rows are neither changed, deleted nor replaced.
#[tokio::test]
async fn an_audit_row_cannot_be_changed() {
    let t = TestApp::new(with_neighbours());
    let insert = "INTO audit (seq, id, at, tenant_id, action, outcome) VALUES (1, 'aud_1', 1, 'ten_1', 'x', 'done')";
    t.execute(&format!("INSERT {insert}")).await.unwrap();
    for statement in [
        "UPDATE audit SET action = 'y'".to_owned(),
        "DELETE FROM audit".to_owned(),
        format!("INSERT OR REPLACE {insert}"),
        format!("REPLACE {insert}"),
        "INSERT OR REPLACE INTO audit (id, at, tenant_id, action, outcome) VALUES ('aud_1', 2, 'ten_1', 'y', 'done')"
            .to_owned(),
    ] {
        assert!(t.execute(&statement).await.is_err(), "{statement}");
    }
    assert_eq!(t.texts("SELECT seq || id || at || action FROM audit").await, ["1aud_11x"]);
}

/// R31: while there is a key, each tick seals the new rows, its own too; without a key it seals nothing.
#[tokio::test]
async fn the_tick_seals_new_rows() {
    let settings = Settings::read(|name| (name == "audit_key").then(|| "a key".to_owned())).unwrap();
    let (t, row) = (TestApp::with(with_neighbours(), settings), |id: &str| {
        format!("INSERT INTO audit (id, at, tenant_id, action, outcome) VALUES ('{id}', 1, 'ten_1', 'x', 'done')")
    });
    let keyless = TestApp::over(with_neighbours(), &t);
    t.execute(&row("aud_1")).await.unwrap();
    tick(&keyless).await;
    let seals = "SELECT from_seq || '-' || to_seq FROM audit_seals";
    assert_eq!(t.texts(seals).await, Vec::<String>::new());
    for _ in 0..2 {
        t.wait(1);
        tick(&t).await;
        assert_eq!(t.texts(seals).await, ["1-1"]);
    }
    t.execute(
        "INSERT INTO refusals VALUES ('usr_a', 'scope_denied', 60000, 1, 'ten_1', 'usr_a', NULL, NULL, NULL, NULL, NULL, NULL)",
    )
    .await
    .unwrap();
    t.execute(&row("aud_2")).await.unwrap();
    t.wait(1);
    tick(&t).await;
    assert_eq!(t.texts(seals).await, ["1-1", "2-3"]);
}

/// R76: the tick says once that the schema is not the migrations', once that it is again, and marks what it seals meanwhile.
#[tokio::test]
async fn the_tick_notes_a_changed_schema() {
    let settings = Settings::read(|name| (name == "audit_key").then(|| "a key".to_owned())).unwrap();
    let t = TestApp::with(with_neighbours(), settings);
    let said = "SELECT ifnull(schema_said, 'nothing') FROM schema_info";
    let marks = "SELECT count(*) FROM audit_seals WHERE substr(digests, 1, 8) = zeroblob(8)";
    for (number, (statement, says, marked)) in [
        ("SELECT 1", "nothing", 0),
        ("CREATE TRIGGER evil AFTER INSERT ON agents BEGIN SELECT 1; END", "schema_changed: trigger evil", 1),
        ("SELECT 1", "schema_changed: trigger evil", 2),
        ("DROP TRIGGER evil", "nothing", 2),
    ]
    .into_iter()
    .enumerate()
    {
        t.execute(statement).await.unwrap();
        t.execute(&format!(
            "INSERT INTO audit (id, at, tenant_id, action, outcome) VALUES ('aud_{number}', 1, 'ten_1', 'x', 'done')"
        ))
        .await
        .unwrap();
        t.wait(1);
        tick(&t).await;
        let text = t.texts(said).await.remove(0);
        assert!(text.starts_with(says), "{text}");
        assert_eq!(t.number(marks).await, marked);
        assert_eq!(t.number("SELECT max(to_seq) FROM audit_seals").await, i64::try_from(number).unwrap() + 1);
    }
}

/// R74: rows that were written beyond the bound of a full database are sealed too.
#[tokio::test]
async fn a_full_database_is_sealed_all_the_same() {
    let mut settings = Settings::read(|name| (name == "audit_key").then(|| "a key".to_owned())).unwrap();
    settings.database_max_mib = Some(1);
    let t = TestApp::with(with_neighbours(), settings);
    tick(&t).await;
    let file = rusqlite::Connection::open(t.path()).unwrap();
    // The audit row leaves no room on its page, so that the one of the refusal would need one more.
    file.execute_batch(
        "CREATE TABLE filler (x BLOB); INSERT INTO filler VALUES (zeroblob(2000000));
         INSERT INTO audit (id, at, tenant_id, action, outcome, before) VALUES ('aud_1', 1, 'ten_1', 'x', 'done', hex(zeroblob(2000)));
         INSERT INTO refusals VALUES ('usr_a', 'scope_denied', 60000, 1, 'ten_1', 'usr_a', NULL, NULL, NULL, hex(zeroblob(200)), NULL, NULL);",
    )
    .unwrap();
    t.wait(1);
    tick(&t).await;
    assert_eq!(t.texts("SELECT from_seq || '-' || to_seq FROM audit_seals").await, ["1-1"]);
}

#[tokio::test]
async fn a_failing_tick_is_204_all_the_same() {
    let t = TestApp::new(with_neighbours());
    tick(&t).await;
    t.execute("DROP TABLE leases").await.unwrap();
    tick(&t).await;
}

/// R692: closures that a guard holds open, however many, keep those of other tenants from nothing.
#[tokio::test]
async fn closures_that_stay_open_hold_up_no_others() {
    let t = TestApp::new(with_neighbours());
    let until = t.now().plus_seconds(60).millis();
    t.execute(&format!("INSERT INTO guards VALUES ('ten_a', 'tok_1', 'guard', 1, {until})")).await.unwrap();
    t.execute(
        "INSERT INTO closures (id, tenant_id, user_id, action, object_id, at, since, epoch, ended)
         SELECT 'clo_' || value, iif(value > 1000, 'ten_b', 'ten_a'), 'usr_1', 'token.revoke', 'tok_1', 1, 1, 2, '{}'
         FROM (WITH RECURSIVE n(value) AS (SELECT 701 UNION ALL SELECT value + 1 FROM n WHERE value < 1001) SELECT value FROM n)",
    )
    .await
    .unwrap();
    tick(&t).await;
    assert_eq!(t.texts("SELECT id FROM closures WHERE closed_at IS NOT NULL").await, ["clo_1001"]);
}

/// R314: whatever fails of a tick, the rest of it is done.
#[tokio::test]
async fn a_step_that_fails_holds_up_no_other() {
    for broken in ["closures", "refusals", "agent_logs", "signed_tokens"] {
        let settings = Settings::read(|name| (name == "audit_key").then(|| "a key".to_owned())).unwrap();
        let t = TestApp::with(with_neighbours(), settings);
        tick(&t).await;
        t.execute("INSERT INTO audit (id, at, tenant_id, action, outcome) VALUES ('aud_1', 1, 'ten_1', 'x', 'done')")
            .await
            .unwrap();
        t.execute("INSERT INTO attempts (key, count, ends_at) VALUES (x'01', 1, 1)").await.unwrap();
        t.execute(&format!("ALTER TABLE {broken} RENAME TO gone")).await.unwrap();
        t.wait(1);
        tick(&t).await;
        assert_eq!(t.texts("SELECT from_seq || '-' || to_seq FROM audit_seals").await, ["1-1"], "{broken}");
        assert_eq!(t.number("SELECT count(*) FROM attempts").await, 0, "{broken}");
    }
}

/// R314: the operators are told that the database is nearly full also when the first try to tell them failed.
#[tokio::test]
async fn that_the_database_is_nearly_full_is_told_after_a_failure_too() {
    let t = TestApp::with(with_neighbours(), Settings { database_max_mib: Some(2), ..Settings::default() });
    t.ada().await;
    tick(&t).await;
    let file = rusqlite::Connection::open(t.path()).unwrap();
    file.execute_batch(
        "CREATE TABLE filler (x BLOB); INSERT INTO filler VALUES (zeroblob(1500000));
         CREATE TRIGGER broken BEFORE INSERT ON notifications BEGIN SELECT RAISE(ABORT, 'broken'); END",
    )
    .unwrap();
    t.wait(1);
    tick(&t).await;
    t.execute("DROP TRIGGER broken").await.unwrap();
    for _ in 0..2 {
        t.wait(1);
        tick(&t).await;
        assert_eq!(t.texts("SELECT title FROM notifications").await, ["The database is nearly full"]);
    }
}

/// R86: the operator is told once that the database is nearly full, and again when it is so again.
#[tokio::test]
async fn the_operator_is_told_that_the_database_is_nearly_full() {
    let t = TestApp::with(with_neighbours(), Settings { database_max_mib: Some(2), ..Settings::default() });
    let ada = t.ada().await;
    let max = t.user(&ada.tenant, "max@example.com", Role::Member).await;
    let zoe = t.tenant("other").await;
    t.user(&zoe, "zoe@example.com", Role::Admin).await;
    let told = "SELECT count(*) FROM notifications";
    let file = rusqlite::Connection::open(t.path()).unwrap();
    file.execute_batch("CREATE TABLE filler (x BLOB)").unwrap();
    for (round, bytes) in [(1, 1_500_000), (2, 1_600_000)] {
        t.wait(1);
        tick(&t).await;
        assert_eq!(t.number(told).await, round - 1);
        file.execute_batch(&format!("INSERT INTO filler VALUES (zeroblob({bytes}))")).unwrap();
        for _ in 0..3 {
            t.wait(1);
            tick(&t).await;
            assert_eq!(t.number(told).await, round);
        }
        file.execute_batch("DELETE FROM filler").unwrap();
    }
    assert_eq!(t.texts("SELECT DISTINCT user_id FROM notifications").await, [ada.user.to_string()]);
    assert_ne!(ada.user, max.user);
}

/// R421: just below four fifths of the bound nobody is told, just above it they are.
#[tokio::test]
async fn below_four_fifths_nobody_is_told() {
    const BOUND: i64 = 4 * 1024 * 1024;
    let t = TestApp::with(with_neighbours(), Settings { database_max_mib: Some(4), ..Settings::default() });
    t.ada().await;
    let file = rusqlite::Connection::open(t.path()).unwrap();
    file.execute_batch("CREATE TABLE filler (x BLOB)").unwrap();
    for (percent, told) in [(79, 0), (81, 1)] {
        // By pages of the file, so that the share is what it should be, whatever the tables take.
        while t.db().size().await.unwrap().0 * 100 < BOUND * percent {
            file.execute_batch("INSERT INTO filler VALUES (zeroblob(4000))").unwrap();
        }
        let (used, bound) = t.db().size().await.unwrap();
        assert_eq!((bound, used * 100 / BOUND), (Some(BOUND), percent));
        t.wait(1);
        tick(&t).await;
        assert_eq!(t.number("SELECT count(*) FROM notifications").await, told, "{percent} %");
    }
}

/// R157: the tick deletes old audit rows after the days that the operator has set, and not before; verifying says from where on there are
/// rows. Where nothing is set, they stay.
#[tokio::test]
async fn old_audit_rows_go_after_the_days_that_the_operator_has_set() {
    let settings = |days: &'static str| {
        let known = move |name: &str| match name {
            "audit_key" => Some("a key".to_owned()),
            "audit_retention_days" if !days.is_empty() => Some(days.to_owned()),
            _ => None,
        };
        Settings::read(known).unwrap()
    };
    let t = TestApp::with(with_neighbours(), settings("30"));
    let for_ever = TestApp::over_with(with_neighbours(), settings(""), &t);
    let ada = t.ada().await;
    let rows = "SELECT min(seq) || '-' || max(seq) FROM audit";
    // Two seals, a day apart; the newest one stays in any case.
    for number in [1, 2] {
        t.execute(&format!(
            "INSERT INTO audit (id, at, tenant_id, action, outcome) VALUES ('aud_{number}', 1, '{}', 'x', 'done')",
            ada.tenant
        ))
        .await
        .unwrap();
        tick(&t).await;
        t.wait(86_400);
    }
    // The first one was made 30 days ago but for a second.
    t.wait(28 * 86_400 - 3_601);
    tick(&t).await;
    t.wait(3_600);
    tick(&t).await;
    assert_eq!(t.texts(rows).await, ["1-2"]);
    t.wait(60);
    tick(&for_ever).await;
    assert_eq!(t.texts(rows).await, ["1-2"], "nothing is set there");
    t.wait(1);
    tick(&t).await;
    assert_eq!(t.texts(rows).await, ["2-2"]);
    let verifying = TestApp::over_with(tenant::router(), settings("30"), &t);
    let eve = t.user(&ada.tenant, "eve@example.com", Role::Admin).await;
    let report = verifying.as_(&eve, "GET", "/api/audit/verify", Null).await.is(200);
    assert_eq!((&report["ok"], &report["verified_from"], &report["rows"]), (&json!(true), &json!(2), &json!(1)));
}

/// R86: a person whose old notifications were purged is notified again.
#[tokio::test]
async fn who_was_notified_enough_is_notified_again() {
    let t = TestApp::new(with_neighbours());
    t.ada().await;
    t.execute("UPDATE users SET is_notified_enough = 1").await.unwrap();
    tick(&t).await;
    assert_eq!(t.number("SELECT sum(is_notified_enough) FROM users").await, 0);
}

/// R158: what has ended goes after the operator's days, and not before; what has not stays. The last secret of a key stays with the key, and
/// the trail goes on to know what the others were.
#[tokio::test]
async fn what_has_ended_is_purged_after_the_operators_days() {
    let t = TestApp::with(with_neighbours(), Settings { retention_days: 10, ..Settings::default() });
    let ada = t.ada().await;
    let scout = t.agent(&ada, "scout", "agents.logs agents.read").await;
    let id = scout.agent.as_ref().unwrap();
    let now = t.now().millis();
    t.execute(&format!(
        "INSERT INTO api_keys (id, tenant_id, agent_id, name, type, created_at, created_by) VALUES ('key_a', '{}', '{id}', 'a', 'external', 0, '{}')",
        ada.tenant, ada.user
    ))
    .await
    .unwrap();
    for (number, kind, more, revoked, expires) in [
        (1, "pat", "NULL, NULL, NULL, NULL", format!("{now}"), "NULL".to_owned()),
        (2, "pat", "NULL, NULL, NULL, NULL", "NULL".to_owned(), format!("{now}")),
        (3, "pat", "NULL, NULL, NULL, NULL", format!("{}", now + 1_000), format!("{now}")),
        (4, "api_key", "AGENT, NULL, 'key_a', 'tok_5'", format!("{now}"), "NULL".to_owned()),
        (5, "api_key", "AGENT, NULL, 'key_a', NULL", format!("{now}"), "NULL".to_owned()),
        (6, "pat", "NULL, NULL, NULL, NULL", "NULL".to_owned(), "NULL".to_owned()),
    ] {
        let more = more.replace("AGENT", &format!("'{id}'"));
        t.execute(&format!(
            "INSERT INTO credentials (digest, id, kind, prefix, tenant_id, user_id, scope, created_at, agent_id, place, key_id, replaced_by, revoked_at, expires_at)
             VALUES (randomblob(32), 'tok_{number}', '{kind}', 'x', '{}', '{}', '*', 0, {more}, {revoked}, {expires})",
            ada.tenant, ada.user
        ))
        .await
        .unwrap();
    }
    t.execute(&format!(
        "INSERT INTO webhooks (id, tenant_id, user_id, name, url, sealed_at, takes_notifications, state, why, created_at, updated_at)
         VALUES ('whk_a', '{}', '{}', 'a', 'https://a.example/', 0, 0, 'disabled', 'by_hand', 0, 0)",
        ada.tenant, ada.user
    ))
    .await
    .unwrap();
    t.as_(&scout, "POST", "/api/agents/me/logs", serde_json::json!({ "text": "hello" })).await.is(201);
    t.execute(&format!("INSERT INTO inbox (agent_id, seq, kind, data, created_at, caused_by) VALUES ('{id}', 1, 'x', '{{}}', {now}, '')")).await.unwrap();
    let stored = format!("SELECT stored_bytes FROM agents WHERE id = '{id}'");
    assert!(t.number(&stored).await > 0);
    for (number, state) in [(1, "sent"), (2, "dead"), (3, "due")] {
        t.execute(&format!(
            "INSERT INTO deliveries (id, webhook_id, event_id, kind, at, data, state, due_at, created_at)
             VALUES ('del_{number}', 'whk_a', 'msg_a', 'webhook.test', 0, '{{}}', '{state}', {now}, 0)"
        ))
        .await
        .unwrap();
        t.execute(&format!(
            "INSERT INTO codes (digest, kind, tenant_id, data, created_at, expires_at, spent_at)
             VALUES (randomblob(32), 'link', '{}', '{{}}', 0, {}, 1)",
            ada.tenant,
            now + (number / 3) * 1_000
        ))
        .await
        .unwrap();
    }
    let left = "SELECT id FROM credentials WHERE id LIKE 'tok_%' AND length(id) = 5 ORDER BY id";
    let others = "SELECT (SELECT count(*) FROM codes) * 1000 + (SELECT count(*) FROM deliveries) * 100 + (SELECT count(*) FROM inbox) * 10
                         + (SELECT count(*) FROM agent_logs)";
    t.wait(10 * 86_400 - 1);
    tick(&t).await;
    assert_eq!((t.texts(left).await.len(), t.number(others).await), (6, 3_311));
    t.wait(1);
    tick(&t).await;
    assert_eq!(t.texts(left).await, ["tok_3", "tok_5", "tok_6"]);
    assert_eq!(t.number(others).await, 1_100, "a code that ended later, and what is still due");
    assert_eq!(t.number(&stored).await, 0, "what they took is given back");
    assert_eq!(
        t.texts("SELECT id || ' ' || ifnull(key_id, '') FROM purged_credentials ORDER BY id").await,
        ["tok_1 ", "tok_2 ", "tok_4 key_a"]
    );
}

/// R423: the pages say for how long things are kept, with the numbers of the code.
#[test]
fn the_pages_say_for_how_long_things_are_kept() {
    use store::{device, epoch, guard, hook, key_set, oauth_document, oauth_grant, outbox};
    const OPERATIONS: &str = include_str!("../../../../docs/operations.md");
    const SECURITY: &str = include_str!("../../../../docs/security.md");
    const QUOTAS: &str = include_str!("../../../../docs/agents/concepts/quotas.md");
    const DAY: i64 = 86_400;
    let time = |seconds: i64| match seconds {
        3_600 => "an hour".to_owned(),
        DAY => "a day".to_owned(),
        604_800 => "a week".to_owned(),
        days => {
            assert_eq!(days % DAY, 0, "{days}");
            format!("{} days", days / DAY)
        }
    };
    // By the first words of a row; the rows with `retention_days` are tested by what is purged.
    let (sent, dead) = (outbox::SENT_KEPT, outbox::DEAD_KEPT);
    let (document, key_set) = (time(oauth_document::LIFE), time(key_set::KEPT));
    let ended = |seconds: i64| format!("{} after its end", time(seconds));
    for (page, what, kept) in [
        (OPERATIONS, "mails that were sent", format!("{sent} and {dead} days, and no longer than `retention_days`")),
        (OPERATIONS, "requests of devices", format!("{} after their end", time(device::KEPT))),
        (OPERATIONS, "the ids of signed requests", time(hook::KNOWN)),
        (OPERATIONS, "what apps were given", ended(oauth_grant::KEPT)),
        (OPERATIONS, "documents of OAuth clients", format!("{document}; {key_set} after they were fetched last")),
        (OPERATIONS, "guards", format!("{} after their lease has ended", time(guard::KEPT))),
        (QUOTAS, "what apps were given", ended(oauth_grant::KEPT)),
        (QUOTAS, "the ids of signed requests", time(hook::KNOWN)),
        (QUOTAS, "answers to an `Idempotency-Key`, [epochs]", time(epoch::KEPT)),
        (OPERATIONS, "epochs, kept answers", time(epoch::KEPT)),
        (OPERATIONS, "epochs, kept answers", time(service::idempotency::KEPT_FOR)),
        (OPERATIONS, "deliveries of webhooks", "`retention_days` after their end".to_owned()),
        (
            QUOTAS,
            "credentials, one-time codes and deliveries",
            format!("{} days, if the operator has set no other number", Settings::default().retention_days),
        ),
    ] {
        let row =
            page.lines().find(|line| line.starts_with(&format!("| {what}"))).unwrap_or_else(|| panic!("no {what}"));
        assert!(row.ends_with(&format!(" | {kept} |")), "{row}: the code says {kept}");
    }
    let default = format!("| `retention_days` | {} |", Settings::default().retention_days);
    assert!(OPERATIONS.contains(&default), "{default}");
    for (what, said) in [
        ("mails that are due", format!("purged {sent} days after a mail was sent, {dead} days after it was given up")),
        ("device codes", format!("purged {} after they ended", time(device::KEPT))),
        ("key sets of others", format!("purged {key_set} after they were fetched last")),
        ("documents of OAuth clients", format!("in clear, for {document}")),
        ("authorization codes", "deleted `retention_days` after their end".to_owned()),
        ("codes of links", "deleted `retention_days` after their end".to_owned()),
        (
            "events, messages",
            "deliveries, with the first 2 KB of the answer, for `retention_days` after their end".to_owned(),
        ),
    ] {
        let row = SECURITY.lines().find(|line| line.starts_with(&format!("| {what}")));
        assert!(row.is_some_and(|row| row.contains(&said)), "{what}: {said}");
    }
}

/// R623: a clock that is ahead for a moment, or no tick for days, deletes nothing; an hour later what is old goes.
#[tokio::test]
async fn a_clock_that_is_ahead_for_a_moment_deletes_nothing() {
    let t = TestApp::new(with_neighbours());
    let ada = t.ada().await;
    t.agent(&ada, "scout", "agents.read").await;
    let live = async || t.number("SELECT count(*) FROM credentials").await;
    t.execute("UPDATE credentials SET expires_at = created_at + 90 * 86400000").await.unwrap();
    tick(&t).await;
    let all = live().await;
    for _ in 0..3 {
        t.wait(200 * 86_400);
        tick(&t).await;
        t.wait(6);
        tick(&t).await;
        assert_eq!(live().await, all);
        t.wait(-200 * 86_400);
        tick(&t).await;
        assert_eq!(live().await, all);
    }
    t.wait(200 * 86_400);
    tick(&t).await;
    t.wait(3_600);
    tick(&t).await;
    assert_eq!(live().await, 0);
}
