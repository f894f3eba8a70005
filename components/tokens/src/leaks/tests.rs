use common::{role::Role, secret::Kind};
use service::{
    settings::{Provider, Settings},
    testing::TestApp,
};

use super::*;
use crate::with_neighbours;

#[tokio::test]
async fn a_leaked_credential_ends_and_the_reporter_learns_nothing() {
    let t = TestApp::new(with_neighbours());
    let tenant = t.tenant("main").await;
    let ada = t.user(&tenant, "ada@example.com", Role::Admin).await;
    let scout = t.agent(&ada, "scout", "*").await;
    let unknown = Secret::generate(common::secret::Kind::Pat, &common::secret::Chance::seeded(9));
    for token in [scout.token.as_str(), &scout.token, unknown.reveal(), "nonsense"] {
        let answer = t.nobody("POST", "/auth/leaks", json!({ "token": token })).await;
        answer.is(204);
        assert!(answer.text.is_empty() && answer.headers.len() == 1, "{:?}", answer.headers);
    }
    t.as_(&scout, "GET", "/api/scopes/custom", Null).await.refused(401, "token_revoked");
    t.as_(&ada, "GET", "/api/scopes/custom", Null).await.is(200);
    assert_eq!(t.number("SELECT count(*) FROM audit WHERE action = 'token.leaked'").await, 1);
    // The owner and the admins are notified, once, without the secret.
    assert_eq!(t.texts("SELECT user_id FROM notifications").await, [ada.user.to_string()]);
    assert!(!t.texts("SELECT body FROM notifications").await[0].contains(&scout.token));
}

/// A key of an agent ends like any other, and the agent's token and other keys stay.
#[tokio::test]
async fn a_leaked_key_ends_and_its_agents_others_stay() {
    let t = TestApp::new(with_neighbours());
    let tenant = t.tenant("main").await;
    t.user(&tenant, "ada@example.com", Role::Admin).await;
    let max = t.user(&tenant, "max@example.com", Role::Member).await;
    let scout = t.agent(&max, "scout", "*").await;
    let key = async || t.credential(Kind::ApiKey, &tenant, &max.user, scout.agent.as_ref(), "agents.read", None).await;
    let (leaked, other) = (key().await, key().await);
    t.nobody("POST", "/auth/leaks", json!({ "token": leaked.token })).await.is(204);
    t.as_(&leaked, "GET", "/api/scopes/custom", Null).await.refused(401, "token_revoked");
    for actor in [&scout, &other] {
        t.as_(actor, "GET", "/api/scopes/custom", Null).await.is(200);
    }
    let bodies = t
        .texts("SELECT u.email || ': ' || n.body FROM notifications n JOIN users u ON u.id = n.user_id ORDER BY 1")
        .await;
    assert!(bodies.len() == 2 && bodies.iter().all(|body| body.contains("the agent scout")), "{bodies:?}");
    let rows = t.texts("SELECT after FROM audit WHERE action = 'token.leaked'").await.join("");
    assert!(rows.contains("api_key") && !rows.contains(&leaked.token), "{rows}");
}

/// Where there is mail, the report queues its mails in its own transaction; where there is none, it queues nothing.
#[tokio::test]
async fn owner_and_admins_get_a_mail_where_there_is_mail() {
    for mail_provider in [None, Some(Provider::Resend)] {
        let t = TestApp::with(with_neighbours(), Settings { mail_provider, ..Settings::default() });
        let tenant = t.tenant("main").await;
        t.user(&tenant, "ada@example.com", Role::Admin).await;
        t.user(&tenant, "eve@example.com", Role::Member).await;
        let max = t.user(&tenant, "max@example.com", Role::Member).await;
        let scout = t.agent(&max, "scout", "*").await;
        for _ in 0..2 {
            t.nobody("POST", "/auth/leaks", json!({ "token": scout.token })).await.is(204);
        }
        let queued = t.texts("SELECT recipient || ' ' || kind || ' ' || state FROM outbox ORDER BY recipient").await;
        let expected = ["ada@example.com leak due", "max@example.com leak due"];
        assert_eq!(queued, if mail_provider.is_some() { &expected[..] } else { &[] });
        assert!(t.texts("SELECT data FROM outbox").await.iter().all(|data| !data.contains(&scout.token)));
        assert_eq!(t.number("SELECT count(*) FROM notifications").await, 2);
    }
}

/// A thief may have rotated a leaked credential: the owner is notified of its successor, once, also when the
/// leaked one had ended.
#[tokio::test]
async fn the_owner_is_notified_of_the_successor() {
    let t = TestApp::new(with_neighbours());
    let tenant = t.tenant("main").await;
    let ada = t.user(&tenant, "ada@example.com", Role::Admin).await;
    let bodies = async || t.texts("SELECT body FROM notifications ORDER BY id").await;
    let rotate = async |actor: &service::testing::Actor, grace: i64| {
        let path = format!("/auth/tokens/{}/rotate", actor.credential);
        let made = t.as_(&ada, "POST", &path, json!({ "grace_seconds": grace })).await.is(201);
        let mut next = actor.clone();
        next.token = made["token"].as_str().unwrap().to_owned();
        next.credential = store::db::FromValue::from_value(made["id"].as_str().unwrap().into()).unwrap();
        next
    };
    let first = t.credential(Kind::Pat, &tenant, &ada.user, None, "*", None).await;
    let second = rotate(&first, 3600).await;
    let third = rotate(&second, 3600).await; // the second is in its grace
    let shown = Secret::parse(&third.token).unwrap().shown();
    for _ in 0..2 {
        t.nobody("POST", "/auth/leaks", json!({ "token": first.token })).await.is(204);
    }
    assert_eq!(bodies().await.len(), 1);
    assert!(bodies().await[0].contains(&format!("{shown}… has replaced it")), "{:?}", bodies().await);
    t.wait(1);
    for _ in 0..2 {
        t.nobody("POST", "/auth/leaks", json!({ "token": second.token })).await.is(204);
    }
    assert_eq!(bodies().await.len(), 2);
    assert!(bodies().await[0].contains("It had already expired or been revoked. However,"), "{:?}", bodies().await);
    assert!(bodies().await[1].contains("It was revoked. However,"), "{:?}", bodies().await);
    t.as_(&third, "GET", "/auth/tokens", Null).await.is(200); // its owner decides
    // An agent's token: the active one.
    t.wait(1);
    let scout = t.agent(&ada, "scout", "*").await;
    t.execute("UPDATE credentials SET place = 'grace' WHERE kind = 'agent_token'").await.unwrap();
    let next = t.credential(Kind::AgentToken, &tenant, &ada.user, scout.agent.as_ref(), "*", None).await;
    t.nobody("POST", "/auth/leaks", json!({ "token": scout.token })).await.is(204);
    let shown = Secret::parse(&next.token).unwrap().shown();
    assert!(bodies().await[2].contains(&format!("{shown}… has replaced it")), "{:?}", bodies().await);
    // For a credential that had ended and has no successor nobody is notified.
    t.execute("UPDATE credentials SET revoked_at = 1 WHERE kind = 'agent_token' AND revoked_at IS NULL").await.unwrap();
    t.nobody("POST", "/auth/leaks", json!({ "token": next.token })).await.is(204);
    assert_eq!(bodies().await.len(), 3);
}

/// R608: those that are told of a leak hear how much that was made with it still works; admins are led to the list of that, and the owner to
/// the agent's credentials.
#[tokio::test]
async fn what_a_leaked_credential_has_made_is_said() {
    let t = TestApp::new(with_neighbours());
    let tenant = t.tenant("main").await;
    let ada = t.user(&tenant, "ada@example.com", Role::Admin).await;
    let max = t.user(&tenant, "max@example.com", Role::Member).await;
    let scout = t.agent(&max, "scout", "*").await;
    let key = async || t.credential(Kind::ApiKey, &tenant, &max.user, scout.agent.as_ref(), "agents.read", None).await;
    let (leaked, one, ended, other) = (key().await, key().await, key().await, key().await);
    for made in [&one, &ended] {
        let sql = "UPDATE credentials SET minted_with = '{with}' WHERE id = '{id}'";
        let sql = sql.replace("{with}", leaked.credential.as_str()).replace("{id}", made.credential.as_str());
        t.execute(&sql).await.unwrap();
    }
    t.execute(&format!("UPDATE credentials SET revoked_at = 1 WHERE id = '{}'", ended.credential)).await.unwrap();
    t.nobody("POST", "/auth/leaks", json!({ "token": leaked.token })).await.is(204);
    let told = t
        .texts("SELECT u.email || ' ' || n.action_url || ' ' || n.body FROM notifications n JOIN users u ON u.id = n.user_id ORDER BY 1")
        .await;
    let list = format!("/admin/tokens?minted_with={}", leaked.credential);
    let agent = format!("/agents/{}/credentials", scout.agent.as_ref().unwrap());
    assert!(told[0].starts_with(&format!("ada@example.com {list} ")), "{told:?}");
    assert!(told[1].starts_with(&format!("max@example.com {agent} ")), "{told:?}");
    assert!(told.iter().all(|body| body.contains("One credential that was made with it still works")), "{told:?}");
    let path = format!("/auth/admin/tokens?minted_with={}&sort=created_at", leaked.credential);
    let page = t.as_(&ada, "GET", &path, Null).await.is(200);
    let listed: Vec<&str> = page["items"].as_array().unwrap().iter().filter_map(|row| row["id"].as_str()).collect();
    assert!(listed.len() == 2 && !listed.contains(&other.credential.as_str()), "{page}");
    let live = t.as_(&ada, "GET", &format!("{path}&status=active"), Null).await.is(200);
    assert_eq!(live["items"][0]["id"], one.credential.as_str());
    for bad in ["", "scout", "agt_1"] {
        let path = format!("/auth/admin/tokens?minted_with={bad}");
        t.as_(&ada, "GET", &path, Null).await.refused(422, "validation_error");
    }
}

#[tokio::test]
async fn reports_are_counted_by_network() {
    let t = TestApp::new(with_neighbours());
    t.tenant("main").await;
    for _ in 0..REPORTS {
        t.nobody("POST", "/auth/leaks", json!({ "token": "nonsense" })).await.is(204);
    }
    let refused = t.nobody("POST", "/auth/leaks", json!({ "token": "nonsense" })).await;
    refused.refused(429, "too_many_reports");
    assert_eq!(refused.header("retry-after"), "600");
}

/// R168: a secret of an OAuth client that was found in the open ends, once, and only that secret; its registrant and the admins are told.
#[tokio::test]
async fn a_leaked_secret_of_a_client_ends_and_admins_are_told() {
    use crate::oauth::testing::{CLIENTS, TOKEN, allowed, client, form_with, request, trade};
    for mail_provider in [None, Some(Provider::Resend)] {
        let t = TestApp::with(with_neighbours(), Settings { mail_provider, ..Settings::default() });
        let ada = t.ada().await;
        t.user(&ada.tenant, "mia@example.com", Role::Admin).await;
        t.user(&ada.tenant, "max@example.com", Role::Member).await;
        let made = client(&t, &ada, true).await;
        let (id, secret) = (made["id"].as_str().unwrap(), made["client_secret"].as_str().unwrap());
        let code = allowed(&t, &ada, &request(id, &[])).await;
        let unknown = ClientSecret::generate(&common::secret::Chance::seeded(9));
        for token in [unknown.reveal(), secret, secret] {
            let answer = t.nobody("POST", "/auth/leaks", json!({ "token": token })).await;
            answer.is(204);
            assert!(answer.text.is_empty() && answer.headers.len() == 1, "{:?}", answer.headers);
        }
        // It proves nothing now, and the client did not become a public one.
        for secret in [secret, ""] {
            let sent = trade(id, &code, &[("client_secret", secret)]);
            form_with(&t, TOKEN, None, &sent).await.refused(401, "invalid_client");
        }
        let path = format!("{CLIENTS}/{id}");
        let got = t.as_(&ada, "GET", &path, Null).await.is(200);
        assert_eq!((&got["secret_ended_at"], &got["confidential"]), (&json!("2026-01-02T03:04:05.000Z"), &json!(true)));
        let rows = t.texts("SELECT object_id || after FROM audit WHERE action = 'token.leaked'").await;
        assert_eq!(rows, [format!("{id}{{\"kind\":\"client_secret\",\"name\":\"Planner\",\"revoked\":true}}")]);
        let told = t
            .texts(
                "SELECT u.email || n.title || n.body FROM notifications n JOIN users u ON u.id = n.user_id ORDER BY 1",
            )
            .await;
        assert_eq!(told.len(), 2, "{told:?}");
        assert!(told[0].starts_with("ada@") && told[1].starts_with("mia@") && told[0].contains("Planner"), "{told:?}");
        assert!(!told.concat().contains(secret), "{told:?}");
        let mails = "SELECT count(*) FROM outbox WHERE kind = 'leak'";
        assert_eq!(t.number(mails).await, if mail_provider.is_some() { 2 } else { 0 });
        // Another one works, and the client goes on with what it was given.
        let next = t.as_(&ada, "POST", &format!("{path}/rotate"), Null).await.is(201);
        assert_eq!(next["secret_ended_at"], Null);
        let sent = trade(id, &code, &[("client_secret", next["client_secret"].as_str().unwrap())]);
        form_with(&t, TOKEN, None, &sent).await.is(200);
    }
}
