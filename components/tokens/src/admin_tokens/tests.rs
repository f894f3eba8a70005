use common::role::Role;
use serde_json::{Value::Null, json};
use service::testing::{Actor, TestApp};
use store::credential::status::{CredentialStatus, SESSION_IDLE};

use super::*;
use crate::with_neighbours;

const ALL: &str = "/auth/admin/tokens";

#[tokio::test]
async fn an_admin_sees_and_revokes_every_credential_of_their_tenant_only() {
    let t = TestApp::new(with_neighbours());
    let (main, other) = (t.tenant("main").await, t.tenant("other").await);
    let ada = t.user(&main, "ada@example.com", Role::Admin).await;
    let max = t.user(&main, "max@example.com", Role::Member).await;
    let eve = t.user(&other, "eve@example.com", Role::Admin).await;
    let pat = t.credential(Kind::Pat, &main, &max.user, None, "agents.read", None).await;
    let scout = t.agent(&max, "scout", "agents.read").await;
    t.as_(&max, "GET", ALL, Null).await.refused(403, "scope_denied");
    t.as_(&scout, "GET", ALL, Null).await.refused(403, "person_required");

    let ids = async |query: &str| -> Vec<String> {
        let page = t.as_(&ada, "GET", &format!("{ALL}?{query}"), Null).await.is(200);
        page["items"].as_array().unwrap().iter().map(|item| item["id"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(ids("").await.len(), 4, "two sessions, a PAT and an agent's token");
    assert_eq!(ids("kind=pat").await, [pat.credential.to_string()]);
    assert_eq!(ids("user=MAX@example.com").await.len(), 3);
    assert_eq!(ids(&format!("user={}&kind=agent_token", max.user)).await, [scout.credential.to_string()]);
    assert!(ids(&format!("user={}", eve.user)).await.is_empty());
    t.wait(61);
    ids("").await;
    assert_eq!(ids("unused_since=2026-01-02T03:05:00Z&kind=session").await, [max.credential.to_string()]);
    let item = t.as_(&ada, "GET", &format!("{ALL}?kind=agent_token"), Null).await.is(200)["items"][0].clone();
    assert_eq!(
        (&item["user_email"], &item["agent_name"], &item["agent_id"]),
        (&"max@example.com".into(), &"scout".into(), &scout.agent.as_ref().unwrap().as_str().into())
    );

    // R334: a session says what it is used with, and no other credential does.
    t.execute("UPDATE credentials SET user_agent = 'Firefox/1' WHERE kind = 'session'").await.unwrap();
    for (kind, agent) in [("session", json!("Firefox/1")), ("pat", Null)] {
        let page = t.as_(&ada, "GET", &format!("{ALL}?user={}&kind={kind}", max.user), Null).await.is(200);
        assert_eq!(page["items"][0]["user_agent"], agent, "{kind}");
    }

    let key = t.credential(Kind::ApiKey, &main, &max.user, scout.agent.as_ref(), "agents.read", None).await;
    let item = t.as_(&ada, "GET", &format!("{ALL}?kind=api_key"), Null).await.is(200)["items"][0].clone();
    assert_eq!((&item["id"], &item["agent_name"]), (&key.credential.as_str().into(), &"scout".into()));

    // R6: refused on the next request.
    for actor in [&pat, &key, &scout] {
        t.as_(&ada, "DELETE", &format!("{ALL}/{}", actor.credential), Null).await.is(204);
        t.as_(actor, "GET", "/api/scopes/custom", Null).await.refused(401, "token_revoked");
        t.as_(&ada, "DELETE", &format!("{ALL}/{}", actor.credential), Null).await.is(204);
    }
    assert_eq!(t.number("SELECT count(*) FROM audit WHERE action = 'token.revoke'").await, 3);
    // R33: another tenant's is an absent one.
    for id in [eve.credential.as_str(), "tok_nothing"] {
        t.as_(&ada, "DELETE", &format!("{ALL}/{id}"), Null).await.refused(404, "token_not_found");
    }
    for (bad, slug) in [
        ("kind=x", "invalid_filter"),
        ("status=x", "invalid_filter"),
        ("sort=x", "invalid_filter"),
        ("unused_since=yesterday", "invalid_time"),
    ] {
        t.as_(&ada, "GET", &format!("{ALL}?{bad}"), Null).await.refused(400, slug);
    }
}

/// The list, its filter and the guard agree about every credential.
#[tokio::test]
async fn a_credentials_status_is_what_the_guard_makes_of_it() {
    let t = TestApp::new(with_neighbours());
    let tenant = t.tenant("main").await;
    let idle = t.user(&tenant, "max@example.com", Role::Admin).await;
    t.wait(1);
    let ends = Some(t.now().plus_seconds(86_400));
    let hardly_idle = t.credential(Kind::Session, &tenant, &idle.user, None, "*", ends).await;
    t.wait(SESSION_IDLE - 1);

    let pat = async |of: &Actor, seconds: Option<i64>| {
        let ends = seconds.map(|seconds| t.now().plus_seconds(seconds));
        t.credential(Kind::Pat, &tenant, &of.user, None, "*", ends).await
    };
    let (active, expiring, at_its_end, revoked) = (
        pat(&idle, None).await,
        pat(&idle, Some(7 * 86_400 - 1)).await,
        pat(&idle, Some(0)).await,
        pat(&idle, None).await,
    );
    t.execute(&format!("UPDATE credentials SET revoked_at = 1 WHERE id = '{}'", revoked.credential)).await.unwrap();
    let running = t.agent(&idle, "running", "*").await;
    let archived = t.agent(&idle, "archived-one", "*").await;
    t.execute("UPDATE agents SET archived_at = 1 WHERE name = 'archived-one'").await.unwrap();
    let left = t.user(&tenant, "eve@example.com", Role::Member).await;
    let (left_pat, left_agent) = (pat(&left, None).await, t.agent(&left, "left", "*").await);
    let left_ended = pat(&left, Some(0)).await;
    t.execute("UPDATE users SET deactivated_at = 1 WHERE email = 'eve@example.com'").await.unwrap();

    let expected = [
        (&idle, "expired", Some("token_expired")),
        (&hardly_idle, "expiring", None),
        (&active, "active", None),
        (&expiring, "expiring", None),
        (&at_its_end, "expired", Some("token_expired")),
        (&revoked, "revoked", Some("token_revoked")),
        (&running, "active", None),
        (&archived, "revoked", Some("token_revoked")),
        (&left, "deactivated", Some("account_deactivated")),
        (&left_pat, "deactivated", Some("account_deactivated")),
        (&left_agent, "deactivated", Some("account_deactivated")),
        (&left_ended, "expired", Some("token_expired")),
    ];
    let list = async |query: &str| {
        let page = t.as_(&active, "GET", &format!("{ALL}?{query}"), Null).await.is(200);
        let rows = page["items"].as_array().unwrap().iter();
        let mut rows: Vec<_> = rows.map(|row| json!([row["id"], row["status"]])).collect();
        rows.sort_by_key(ToString::to_string);
        rows
    };
    let rows = |is_listed: &dyn Fn(&str) -> bool| {
        let listed = expected.iter().filter(|(_, status, _)| is_listed(status));
        let mut rows: Vec<_> = listed.map(|(actor, status, _)| json!([actor.credential, status])).collect();
        rows.sort_by_key(ToString::to_string);
        rows
    };
    assert_eq!(list("").await, rows(&|_| true));
    for only in CredentialStatus::ALL.map(CredentialStatus::as_str) {
        let is_listed = |status: &str| status == only || (only == "active" && status == "expiring");
        assert_eq!(list(&format!("status={only}")).await, rows(&is_listed), "{only}");
    }
    for (actor, status, refusal) in expected {
        let answer = t.as_(actor, "GET", "/api/scopes/custom", Null).await;
        match refusal {
            None => _ = answer.is(200),
            Some(slug) => _ = answer.refused(401, slug),
        }
        assert_eq!(refusal.is_none(), matches!(status, "active" | "expiring"), "{status}");
    }

    let refused = t.as_(&active, "GET", &format!("{ALL}?status=live"), Null).await.refused(400, "invalid_filter");
    assert_eq!(refused["fix"], "Send status as one of: active, expiring, expired, revoked, deactivated.");
}

/// R762: what ends a credential of an agent is found about the agent, by all that may read it, and about the credential.
#[tokio::test]
async fn the_trail_of_an_agent_tells_which_of_its_credentials_were_ended() {
    let t = TestApp::new(with_neighbours());
    let tenant = t.tenant("main").await;
    let ada = t.user(&tenant, "ada@example.com", Role::Admin).await;
    let max = t.user(&tenant, "max@example.com", Role::Member).await;
    let scout = t.agent(&max, "scout", "agents.read").await;
    let agent = scout.agent.clone().unwrap();
    let key = async || t.credential(Kind::ApiKey, &tenant, &max.user, Some(&agent), "agents.read", None).await;
    let (ended, leaked) = (key().await, key().await);
    t.as_(&ada, "DELETE", &format!("{ALL}/{}", scout.credential), Null).await.is(204);
    t.as_(&ended, "DELETE", "/auth/tokens/me", Null).await.is(204);
    for _ in 0..2 {
        t.nobody("POST", "/auth/leaks", json!({ "token": leaked.token })).await.is(204);
    }
    let expected = [("token.leaked", &leaked), ("token.revoke", &ended), ("token.revoke", &scout)];
    for reader in [&ada, &max] {
        let rows = t.as_(reader, "GET", "/api/audit?object=scout&outcome=done", Null).await.is(200);
        let rows = rows["items"].as_array().unwrap();
        let told =
            |row: &serde_json::Value| (row["action"].clone(), row["object"].clone(), row["before"]["token"].clone());
        let rows: Vec<_> = rows.iter().map(told).collect();
        assert_eq!(rows, expected.map(|(action, one)| (json!(action), json!(agent), json!(one.credential))));
        for (action, one) in expected {
            let of_it = t.as_(reader, "GET", &format!("/api/audit?object={}", one.credential), Null).await.is(200);
            assert_eq!(of_it["items"].as_array().unwrap().len(), 1, "{of_it}");
            assert_eq!(of_it["items"][0]["action"], action);
        }
    }
}
