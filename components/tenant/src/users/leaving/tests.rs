use common::{role::Role, secret::Kind};
use service::testing::{Actor, Answer, TestApp};

use super::*;
use crate::with_neighbours;

const WHOAMI: &str = "/api/auth/whoami";

async fn step(t: &TestApp, actor: &Actor, user: &Actor, step: &str) -> Answer {
    t.as_(actor, "POST", &format!("/api/users/{}/{step}", user.user), Null).await
}

async fn remove(t: &TestApp, actor: &Actor, user: &Actor, query: &str) -> Answer {
    t.as_(actor, "DELETE", &format!("/api/users/{}{query}", user.user), Null).await
}

/// R19, R8: from the next request on every credential of the user and of their agents is refused; sessions stay ended.
#[tokio::test]
async fn a_deactivated_account_is_refused_until_it_is_activated() {
    let t = TestApp::new(with_neighbours());
    let ada = t.ada().await;
    let max = t.user(&ada.tenant, "max@example.com", Role::Member).await;
    let pat = t.credential(Kind::Pat, &max.tenant, &max.user, None, "*", None).await;
    let scout = t.agent(&max, "scout", "*").await;
    t.execute(&format!(
        "INSERT INTO outbox (id, tenant_id, user_id, kind, recipient, data, state, due_at, created_at)
         VALUES ('out_1', '{0}', '{1}', 'test', 'max@example.com', '{{}}', 'due', 0, 0),
                ('out_2', '{0}', '{2}', 'test', 'ada@example.com', '{{}}', 'due', 0, 0),
                ('out_3', '{0}', '{1}', 'test', 'max@example.com', '{{}}', 'dead', 0, 0)",
        ada.tenant, max.user, ada.user
    ))
    .await
    .unwrap();
    for actor in [&max, &pat, &scout] {
        t.as_(actor, "GET", WHOAMI, Null).await.is(200);
    }
    let mut user = step(&t, &ada, &max, "deactivate").await.is(200);
    user.as_object_mut().unwrap().remove("closure");
    assert_eq!(user["warnings"], json!([]));
    assert_eq!((&user["active"], &user["deactivated_by"]), (&json!(false), &json!(ada.user)));
    assert!(user["deactivated_at"].is_string());
    t.as_(&max, "GET", WHOAMI, Null).await.refused(401, "token_revoked");
    for actor in [&pat, &scout] {
        t.as_(actor, "GET", WHOAMI, Null).await.refused(401, "account_deactivated");
    }
    assert_eq!(t.texts("SELECT id FROM outbox").await, ["out_2"]); // a deactivated user gets no mail
    assert_eq!(step(&t, &ada, &max, "deactivate").await.is(200), user); // again: as it was
    let list = t.as_(&ada, "GET", "/api/users?active=false", Null).await.is(200);
    user.as_object_mut().unwrap().remove("warnings");
    assert_eq!(list["items"], json!([user]));

    let user = step(&t, &ada, &max, "activate").await.is(200);
    assert_eq!((&user["active"], &user["deactivated_at"], &user["deactivated_by"]), (&json!(true), &Null, &Null));
    step(&t, &ada, &max, "activate").await.is(200);
    t.as_(&max, "GET", WHOAMI, Null).await.refused(401, "token_revoked");
    for actor in [&pat, &scout] {
        t.as_(actor, "GET", WHOAMI, Null).await.is(200);
    }
    let rows = t
        .texts("SELECT action || ' ' || before || ' ' || json_remove(after, '$.closure') FROM audit ORDER BY seq")
        .await;
    assert_eq!(
        rows,
        [r#"user.deactivate {"active":true} {"active":false}"#, r#"user.activate {"active":false} {"active":true}"#]
    );
}

/// R88: a kept answer does not say that an account is inactive which somebody has activated since.
#[tokio::test]
async fn a_repeated_deactivation_deactivates_again() {
    let t = TestApp::new(with_neighbours());
    let ada = t.ada().await;
    let max = t.user(&ada.tenant, "max@example.com", Role::Member).await;
    let (path, bearer) = (format!("/api/users/{}/deactivate", max.user), format!("Bearer {}", ada.token));
    let headers = [("authorization", bearer.as_str()), ("idempotency-key", "k")];
    for _ in 0..2 {
        assert_eq!(t.call("POST", &path, &headers, Null).await.is(200)["active"], false);
        assert_eq!(t.call("POST", &path, &headers, Null).await.header("idempotency-replayed"), "true");
        assert_eq!(t.number("SELECT count(*) FROM users WHERE deactivated_at IS NULL").await, 1);
        step(&t, &ada, &max, "activate").await.is(200);
    }
    assert_eq!(t.number("SELECT count(*) FROM audit WHERE action = 'user.deactivate'").await, 2);
}

/// R18: an admin cannot deactivate or delete their own account; of two who do it to each other at once, one is left.
#[tokio::test]
async fn an_admin_is_always_left() {
    for by in ["deactivate", "delete"] {
        let t = TestApp::new(with_neighbours());
        let ada = t.ada().await;
        step(&t, &ada, &ada, "deactivate").await.refused(409, "self_deactivation");
        remove(&t, &ada, &ada, "").await.refused(409, "self_deletion");
        remove(&t, &ada, &ada, "?agents=archive").await.refused(409, "self_deletion");
        // An inactive admin can be deleted while an active one is left.
        let idle = t.user(&ada.tenant, "idle@example.com", Role::Admin).await;
        step(&t, &ada, &idle, "deactivate").await.is(200);
        remove(&t, &ada, &idle, "").await.is(204);
        let max = t.user(&ada.tenant, "max@example.com", Role::Admin).await;
        let second = TestApp::over(with_neighbours(), &t);
        let (one, two) = match by {
            "delete" => tokio::join!(remove(&t, &ada, &max, ""), remove(&second, &max, &ada, "")),
            _ => tokio::join!(step(&t, &ada, &max, by), step(&second, &max, &ada, by)),
        };
        assert_ne!(one.status.is_success(), two.status.is_success(), "{by}: {} {}", one.text, two.text);
        let active = "SELECT count(*) FROM users WHERE role = 'admin' AND deactivated_at IS NULL";
        assert_eq!(t.number(active).await, 1, "{by}");
    }
}

/// R18, R8, R33: a deleted user is absent; the address is free, and its next user inherits nothing.
#[tokio::test]
async fn nothing_of_a_deleted_user_works() {
    let t = TestApp::new(with_neighbours());
    let ada = t.ada().await;
    let max = t.user(&ada.tenant, "max@example.com", Role::Member).await;
    let pat = t.credential(Kind::Pat, &max.tenant, &max.user, None, "*", None).await;
    let shared = t.agent(&ada, "shared", "*").await;
    t.grant(shared.agent.as_ref().unwrap(), &ada.tenant, max.user.as_str(), "editor", &ada.user).await;
    remove(&t, &ada, &max, "?agents=").await.refused(422, "validation_error");
    remove(&t, &ada, &max, "?agents=transfer:").await.refused(422, "validation_error");
    remove(&t, &ada, &max, "?agents=burn").await.refused(422, "validation_error");
    remove(&t, &ada, &max, "").await.is(204);
    for actor in [&max, &pat] {
        t.as_(actor, "GET", WHOAMI, Null).await.refused(401, "token_revoked");
    }
    assert_eq!(t.number("SELECT count(*) FROM grants").await, 0);
    let path = format!("/api/users/{}", max.user);
    let gone = [
        ("GET", String::new()),
        ("DELETE", String::new()),
        ("POST", "/activate".to_owned()),
        ("POST", "/deactivate".to_owned()),
    ];
    for (method, end) in gone {
        t.as_(&ada, method, &format!("{path}{end}"), Null).await.refused(404, "user_not_found");
    }
    t.as_(&ada, "PATCH", &path, json!({ "name": "Max" })).await.refused(404, "user_not_found");
    assert_eq!(t.as_(&ada, "GET", "/api/users", Null).await.is(200)["items"].as_array().unwrap().len(), 1);
    let again = t.as_(&ada, "POST", "/api/users", json!({ "email": "max@example.com", "name": "M" })).await.is(201);
    assert_ne!(again["id"], json!(max.user));
    let rows = t
        .texts("SELECT object_id || ' ' || before || ' ' || json_remove(after, '$.closure') FROM audit WHERE action = 'user.delete'")
        .await;
    let before = r#"{"email":"max@example.com","name":"max@example.com","role":"member","active":true}"#;
    assert_eq!(rows, [format!("{} {before} {{}}", max.user)]);
}

/// Agents always have an owner: whole trees get another one, without what was made for the former owner, or are archived.
#[tokio::test]
async fn the_agents_of_a_deleted_user_are_transferred_or_archived() {
    for is_transferred in [true, false] {
        let t = TestApp::new(with_neighbours());
        let ada = t.ada().await;
        let eve = t.user(&ada.tenant, "eve@example.com", Role::Member).await;
        let vic = t.user(&ada.tenant, "vic@example.com", Role::Viewer).await;
        let idle = t.user(&ada.tenant, "idle@example.com", Role::Member).await;
        step(&t, &ada, &idle, "deactivate").await.is(200);
        let foreign = t.user(&t.tenant("other").await, "out@example.com", Role::Member).await;
        let max = t.user(&ada.tenant, "max@example.com", Role::Member).await;
        t.agent(&max, "old", "*").await;
        t.execute("UPDATE agents SET archived_at = 1").await.unwrap();
        let boss = t.agent(&max, "boss", "*").await;
        let hand = t.agent_below(&max, Some(&boss), "hand", "*").await;
        let lone = t.agent(&max, "lone", "*").await;
        t.grant(boss.agent.as_ref().unwrap(), &ada.tenant, vic.user.as_str(), "editor", &max.user).await;

        let refused = remove(&t, &ada, &max, "").await.refused(409, "owns_agents");
        assert_eq!(refused["agents"], 3);
        assert!(refused["fix"].as_str().unwrap().contains(&format!("owner={}", max.user)));
        let no_owners = [&max, &vic, &idle, &foreign].map(|actor| actor.user.as_str());
        for to in no_owners.into_iter().chain(["nobody@example.com", "boss"]) {
            let refused = remove(&t, &ada, &max, &format!("?agents=transfer:{to}")).await;
            refused.refused(404, "owner_not_found");
        }
        for actor in [&max, &boss] {
            t.as_(actor, "GET", WHOAMI, Null).await.is(200); // refused: nothing has happened
        }

        let query = if is_transferred { "?agents=transfer:EVE@example.com" } else { "?agents=archive" };
        remove(&t, &ada, &max, query).await.is(204);
        for agent in [&boss, &hand, &lone] {
            t.as_(agent, "GET", WHOAMI, Null).await.refused(401, "token_revoked");
        }
        assert_eq!(t.number("SELECT count(*) FROM grants").await, 0);
        let owners = t.texts("SELECT owner_id || (archived_at IS NULL) FROM agents ORDER BY name").await;
        let expected = match is_transferred {
            // boss, hand, lone; old was archived before.
            true => [1, 1, 1, 0].map(|live| format!("{}{live}", eve.user)),
            false => [0; 4].map(|live| format!("{}{live}", ada.user)),
        };
        assert_eq!(owners, expected);
        let rows = "SELECT after FROM audit WHERE action = 'user.delete' AND object_id LIKE 'agt_%'";
        let after = match is_transferred {
            true => json!({ "owner_id": eve.user }),
            false => json!({ "owner_id": ada.user, "archived": true }),
        };
        assert_eq!(t.texts(rows).await, [0; 4].map(|_| after.to_string()));
        let rows = "SELECT after FROM audit WHERE action = 'user.delete' AND object_id LIKE 'usr_%'";
        assert!(t.texts(rows).await[0].contains("\"agents\":4"));
        let told = t.texts("SELECT user_id || title FROM notifications").await;
        let title = "You now own the agents of max@example.com";
        assert_eq!(told, if is_transferred { vec![format!("{}{title}", eve.user)] } else { vec![] });
    }
}

/// R677: what an admin has made for agents of others goes on when the admin is shut out or is none any more: whoever does that is told, and finds it.
#[tokio::test]
async fn what_an_admin_has_made_for_others_is_said_and_found() {
    let t = TestApp::new(with_neighbours());
    let ada = t.ada().await;
    let root = t.user(&ada.tenant, "root@example.com", Role::Admin).await;
    let max = t.user(&ada.tenant, "max@example.com", Role::Member).await;
    t.agent(&max, "scout", "agents.read").await;
    let own = t.agent(&root, "own", "agents.read").await;
    let issued = t.as_(&root, "POST", "/api/agents/scout/token/issue", json!({})).await.is(200);
    let key = json!({ "name": "k", "scope": ["agents.read"] });
    let made = t.as_(&root, "POST", "/api/agents/scout/keys", key.clone()).await.is(201);
    t.as_(&root, "POST", "/api/agents/own/keys", key).await.is(201);
    t.execute(&format!(
        "INSERT INTO federated_credentials (id, tenant_id, agent_id, name, issuer, audience, subject, claims, scope, keys, single_use, life, created_at, created_by)
         SELECT 'fed_1', tenant_id, id, 'ci', 'https://ci.example', 'a', 's', '{{}}', 'agents.read', '[]', 1, 600, 0, '{}' FROM agents WHERE name IN ('scout')",
        root.user
    ))
    .await
    .unwrap();
    let lowered = |role: &str| json!({ "role": role });
    let path = format!("/api/users/{}", root.user);
    let told = t.as_(&ada, "PATCH", &path, lowered("member")).await.is(200);
    let said = told["warnings"].to_string();
    assert!(
        said.contains("2 credentials of agents of others") && said.contains("as agents of others: scout."),
        "{said}"
    );
    // It says so each time.
    for _ in 0..2 {
        assert_eq!(step(&t, &ada, &root, "deactivate").await.is(200)["warnings"], told["warnings"]);
    }
    let list = async |query: &str| t.as_(&ada, "GET", &format!("/auth/admin/tokens?{query}"), Null).await;
    let found = list(&format!("minted_by={}&status=active", root.user)).await.is(200);
    let ids: Vec<&str> = found["items"].as_array().unwrap().iter().map(|one| one["id"].as_str().unwrap()).collect();
    assert!(ids.len() == 2 && ids.contains(&issued["id"].as_str().unwrap()), "{found} {made}");
    assert_eq!(list(&format!("minted_by={}", own.agent.as_ref().unwrap())).await.is(200)["items"], json!([]));
    for bad in ["max@example.com", "", "tok_1"] {
        list(&format!("minted_by={bad}")).await.refused(422, "validation_error");
    }
    // Once they are revoked, and somebody has taken the trust away, there is nothing to be said.
    for id in ids {
        t.as_(&ada, "DELETE", &format!("/auth/admin/tokens/{id}"), Null).await.is(204);
    }
    t.execute("DELETE FROM federated_credentials").await.unwrap();
    assert_eq!(step(&t, &ada, &root, "deactivate").await.is(200)["warnings"], json!([]));
}

/// R765: what an editor issued ends with the editor's account, so nothing of it is said to work.
#[tokio::test]
async fn what_ends_with_an_editors_account_is_not_said_to_work() {
    let t = TestApp::new(with_neighbours());
    let ada = t.ada().await;
    let max = t.user(&ada.tenant, "max@example.com", Role::Member).await;
    let scout = t.agent(&ada, "scout", "agents.read").await;
    t.grant(scout.agent.as_ref().unwrap(), &ada.tenant, max.user.as_str(), "editor", &ada.user).await;
    let key = json!({ "name": "k", "scope": ["agents.read"] });
    let made = t.as_(&max, "POST", "/api/agents/scout/keys", key).await.is(201);
    assert_eq!(made["grantee"], json!(max.user));
    for _ in 0..2 {
        assert_eq!(step(&t, &ada, &max, "deactivate").await.is(200)["warnings"], json!([]));
    }
    assert_eq!(t.number("SELECT count(*) FROM credentials WHERE kind = 'api_key' AND revoked_at IS NULL").await, 0);
}
