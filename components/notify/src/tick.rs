//! `POST /internal/tick`: housekeeping. Public, without a body, always 204; leased in the database to once a second, so that
//! whoever calls it, and how often, makes no difference.

use axum::response::Response;
use common::{
    db::DbError,
    error::ApiError,
    http::{App, empty, log},
    seal,
    store::housekeeping,
};

use crate::mail;

/// The handler. A failure is logged and tried again by the next tick; the caller could do nothing about it.
pub(crate) async fn tick(app: App) -> Result<Response, ApiError> {
    if let Err(error) = run(&app).await {
        log(app.request_id(), "tick", &error.to_string());
    }
    Ok(empty())
}

async fn run(app: &App) -> Result<(), DbError> {
    if !housekeeping::take_lease(app.db(), app.now()).await? {
        return Ok(());
    }
    // Behind the answer: a provider that is slow holds up neither the caller nor the rest of this.
    let sender = app.clone();
    app.afterwards(async move { mail::send_due(&sender).await }).await;
    housekeeping::purge(app.db(), app.now()).await?;
    let written = housekeeping::write_refusals(app).await;
    // What is there is sealed, also when nothing more can be written because the database is full.
    if let Some(head) = seal::run(app.db(), &app.settings().audit_keys, app.now()).await? {
        log(app.request_id(), "tick", &format!("audit head {head}"));
    }
    written
}

#[cfg(test)]
mod tests {
    use common::{scope::Role, settings::Settings, testing::TestApp};
    use serde_json::Value::Null;

    use crate::with_neighbours;

    async fn tick(t: &TestApp) {
        t.nobody("POST", "/internal/tick", Null).await.is(204);
    }

    #[tokio::test]
    async fn the_tick_runs_once_a_second_however_often_it_is_called() {
        let t = TestApp::new(with_neighbours());
        tick(&t).await;
        let before = t.db().statements();
        tick(&t).await;
        assert_eq!(t.db().statements() - before, 1, "the lease alone");
        t.wait(1);
        let before = t.db().statements();
        tick(&t).await;
        assert!(t.db().statements() - before > 1);
    }

    /// R53: kept answers and counters go when their time is over, and not before.
    #[tokio::test]
    async fn what_has_ended_is_purged() {
        let t = TestApp::new(with_neighbours());
        let now = t.now().millis();
        t.execute(&format!(
            "INSERT INTO idempotency VALUES (x'01', 'usr_a', 'tok_a', x'00', 0, 201, x'00', {now}), (x'02', 'usr_a', 'tok_a', x'00', 0, 201, x'00', {})",
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

    /// R53: notifications go after 90 days, and not before.
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
            "INSERT INTO refusals VALUES ('{0}', 'scope_denied', {minute}, 41, '{1}', '{0}', NULL, 'tok_a', '192.0.2.1', 'req_a')",
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
    async fn an_audit_row_cannot_be_bent() {
        let t = TestApp::new(with_neighbours());
        let insert =
            "INTO audit (seq, id, at, tenant_id, action, outcome) VALUES (1, 'aud_1', 1, 'ten_1', 'x', 'done')";
        t.execute(&format!("INSERT {insert}")).await.unwrap();
        for bent in [
            "UPDATE audit SET action = 'y'".to_owned(),
            "DELETE FROM audit".to_owned(),
            format!("INSERT OR REPLACE {insert}"),
            format!("REPLACE {insert}"),
            "INSERT OR REPLACE INTO audit (id, at, tenant_id, action, outcome) VALUES ('aud_1', 2, 'ten_1', 'y', 'done')".to_owned(),
        ] {
            assert!(t.execute(&bent).await.is_err(), "{bent}");
        }
        assert_eq!(t.texts("SELECT seq || id || at || action FROM audit").await, ["1aud_11x"]);
    }

    /// R31: while there is a key, each tick seals what is new, its own rows too; without one it seals nothing.
    #[tokio::test]
    async fn the_tick_seals_what_is_new() {
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
            "INSERT INTO refusals VALUES ('usr_a', 'scope_denied', 60000, 1, 'ten_1', 'usr_a', NULL, NULL, NULL, NULL)",
        )
        .await
        .unwrap();
        t.execute(&row("aud_2")).await.unwrap();
        t.wait(1);
        tick(&t).await;
        assert_eq!(t.texts(seals).await, ["1-1", "2-3"]);
    }

    /// R74: what was written beyond the bound of a full database is sealed too.
    #[tokio::test]
    async fn a_full_database_is_sealed_all_the_same() {
        let mut settings = Settings::read(|name| (name == "audit_key").then(|| "a key".to_owned())).unwrap();
        settings.database_max_mib = Some(1);
        let t = TestApp::with(with_neighbours(), settings);
        tick(&t).await;
        let file = rusqlite::Connection::open(t.path()).unwrap();
        file.execute_batch(
            "CREATE TABLE filler (x BLOB); INSERT INTO filler VALUES (zeroblob(2000000));
             INSERT INTO audit (id, at, tenant_id, action, outcome) VALUES ('aud_1', 1, 'ten_1', 'x', 'done');
             INSERT INTO refusals VALUES ('usr_a', 'scope_denied', 60000, 1, 'ten_1', 'usr_a', NULL, NULL, NULL, hex(zeroblob(9000)));",
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
}
