use common::{role::Role, secret::Kind};

use super::*;
use crate::{args, db::Purpose, testing::TestDb};

/// What the tenant's numbers say: `kind id change`.
async fn said(t: &TestDb) -> Vec<String> {
    t.texts("SELECT kind || ' ' || object_id || ' ' || change FROM epochs ORDER BY tenant_id, epoch").await
}

/// R144: every change that takes a right away has a number, whatever makes it; one that gives a right has none.
#[tokio::test]
async fn what_takes_a_right_away_is_numbered() {
    let t = TestDb::new();
    let ada = t.ada().await;
    let scout = t.agent(&ada, "scout", "agents.read").await;
    let (agent, user, tenant) = (scout.agent.clone().unwrap(), ada.user.clone(), ada.tenant.clone());
    t.grant(&agent, &tenant, user.as_str(), "viewer", &user).await;
    t.execute(&format!("INSERT INTO custom_scopes VALUES ('{tenant}', 'x.a', 'a', 0, 'u')")).await.unwrap();
    t.execute(&format!(
        "INSERT INTO access_requests (id, tenant_id, agent_id, scope, reason, hours, state, created_at, granted, ends_at)
         VALUES ('acc_1', '{tenant}', '{agent}', 'ui.notify', 'r', 1, 'approved', 0, 'ui.notify', 9)"
    ))
    .await
    .unwrap();
    t.execute(&format!(
        "INSERT INTO api_keys (id, tenant_id, agent_id, name, type, sealed, sealed_at, created_at, created_by)
         VALUES ('key_1', '{tenant}', '{agent}', 'hook', 'github', x'01', 0, 0, 'u')"
    ))
    .await
    .unwrap();
    assert_eq!(said(&t).await, Vec::<String>::new());
    let (of_agent, of_user) = (format!("agent {agent}"), format!("user {user}"));
    let of_token = format!("credential {}", scout.credential);
    for (sql, expected) in [
        ("UPDATE agents SET state = 'paused'", Some(format!("{of_agent} halted"))),
        ("UPDATE agents SET state = 'stopped'", Some(format!("{of_agent} halted"))),
        ("UPDATE agents SET state = 'stopped'", None),
        ("UPDATE agents SET state = 'running'", None),
        ("UPDATE agents SET budget_cents = 10, spent_cents = 10", None),
        ("UPDATE agents SET spent_cents = 11", Some(format!("{of_agent} halted"))),
        ("UPDATE agents SET spent_cents = 12", None),
        ("UPDATE agents SET budget_cents = NULL", None),
        ("UPDATE agents SET budget_cents = 1", Some(format!("{of_agent} halted"))),
        ("UPDATE agents SET scope = 'agents.list'", Some(format!("{of_agent} narrowed"))),
        ("UPDATE agents SET description = 'd', last_seen_at = 1", None),
        ("UPDATE access_requests SET state = 'revoked'", Some(format!("{of_agent} narrowed"))),
        ("DELETE FROM grants", Some(format!("{of_user} narrowed"))),
        ("DELETE FROM custom_scopes", Some(format!("tenant {tenant} narrowed"))),
        ("UPDATE api_keys SET sealed = x'02'", None),
        ("UPDATE api_keys SET sealed = NULL", Some("key key_1 ended".to_owned())),
        ("UPDATE users SET role = 'member'", Some(format!("{of_user} narrowed"))),
        ("UPDATE users SET role = 'admin'", None),
        ("UPDATE users SET role = 'viewer'", Some(format!("{of_user} narrowed"))),
        ("UPDATE users SET deactivated_at = 1", Some(format!("{of_user} ended"))),
        ("UPDATE users SET deactivated_at = NULL", None),
        ("UPDATE users SET deleted_at = 1, deactivated_at = 1", Some(format!("{of_user} ended"))),
        ("UPDATE credentials SET last_used_at = 1 WHERE agent_id IS NOT NULL", None),
        ("UPDATE credentials SET expires_at = 5 WHERE agent_id IS NOT NULL", Some(format!("{of_token} narrowed"))),
        ("UPDATE credentials SET expires_at = 6 WHERE agent_id IS NOT NULL", None),
        ("UPDATE credentials SET revoked_at = 5 WHERE agent_id IS NOT NULL", Some(format!("{of_token} ended"))),
        ("UPDATE agents SET archived_at = 1", Some(format!("{of_agent} ended"))),
    ] {
        let before = said(&t).await.len();
        t.execute(sql).await.unwrap();
        let new = said(&t).await.split_off(before);
        assert_eq!(new, Vec::from_iter(expected), "{sql}");
    }
    let count = t.number("SELECT count(*) FROM epochs").await;
    assert_eq!(last(t.db(), &tenant).await.unwrap(), count);
}

/// R144: a change that is rolled back leaves no gap, and each tenant has numbers of its own.
#[tokio::test]
async fn numbers_are_gapless_in_each_tenant() {
    let t = TestDb::new();
    let ada = t.ada().await;
    let other = t.tenant("other").await;
    let eve = t.user(&other, "eve@example.com", Role::Admin).await;
    for number in 0..4 {
        let tx = t.db().begin(Purpose::Revoking).await.unwrap();
        for actor in [&ada, &eve] {
            let pat = "UPDATE users SET deactivated_at = ?2 WHERE id = ?1";
            tx.execute(pat, args![&actor.user, None::<String>]).await.unwrap();
            tx.execute(pat, args![&actor.user, number]).await.unwrap();
        }
        if number % 2 == 0 {
            tx.commit().await.unwrap();
        }
    }
    for actor in [&ada, &eve] {
        let found = after(t.db(), &actor.tenant, 0, 100).await.unwrap().unwrap();
        assert_eq!(found.iter().map(|row| row.epoch).collect::<Vec<_>>(), [1, 2]);
        assert!(found.iter().all(|row| row.id == actor.user.as_str()));
    }
}

/// R144: what a guard has missed for a day it cannot be told any more, and it is never told a part of it.
#[tokio::test]
async fn old_numbers_are_purged_and_what_is_missing_is_noticed() {
    let t = TestDb::new();
    let ada = t.ada().await;
    let (db, tenant) = (t.db(), ada.tenant.clone());
    let end = async || {
        let pat = t.credential(Kind::Pat, &ada.tenant, &ada.user, None, "*", None).await;
        t.execute(&format!("UPDATE credentials SET revoked_at = 1 WHERE id = '{}'", pat.credential)).await.unwrap();
    };
    for _ in 0..3 {
        end().await;
    }
    purge(db, t.now(), 100).await.unwrap();
    t.wait(KEPT - 1);
    end().await;
    purge(db, t.now(), 100).await.unwrap();
    assert_eq!(after(db, &tenant, 0, 100).await.unwrap().map(|all| all.len()), Some(4));
    t.wait(1);
    purge(db, t.now(), 2).await.unwrap();
    for (from, expected) in [(0, None), (1, None), (2, Some(2)), (3, Some(1)), (4, Some(0)), (5, None)] {
        let found = after(db, &tenant, from, 100).await.unwrap();
        assert_eq!(found.map(|all| all.len()), expected, "{from}");
    }
    // The last one stays, however old: the next one goes on from it.
    t.wait(10 * KEPT);
    purge(db, t.now(), 100).await.unwrap();
    assert_eq!(t.number("SELECT count(*) FROM epochs").await, 1);
    end().await;
    assert_eq!(last(db, &tenant).await.unwrap(), 5);
}
