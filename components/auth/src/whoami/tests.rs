use common::{role::Role, secret::Kind};
use serde_json::{Value::Null, json};
use service::testing::TestApp;

use crate::router;

const WHOAMI: &str = "/api/auth/whoami";

#[tokio::test]
async fn a_person_is_told_who_they_are() {
    let t = TestApp::new(router());
    let tenant = t.tenant("main").await;
    let ada = t.user(&tenant, "Ada@example.com", Role::Viewer).await;
    let answer = t.as_(&ada, "GET", WHOAMI, Null).await;
    let body = answer.is(200);
    assert_eq!(
        body,
        json!({
            "tenant": "main", "user_id": ada.user, "email": "Ada@example.com", "role": "viewer",
            "agent_id": null, "agent_name": null, "agent_state": null, "owner": null, "ceiling": null,
            "credential": {
                "id": ada.credential, "kind": "session", "prefix": &ada.token[..16],
                "expires_at": "2026-01-03T03:04:05.000Z",
            },
            "scope": [
                "agents.list", "agents.read", "notifications.read", "notifications.write", "tokens.read", "tokens.write",
                "audit.read", "guides.read"
            ],
        })
    );
    assert_eq!(answer.header("cache-control"), "no-store");
}

/// R41: an agent's authority is never more than its ceiling and its owner's role, and follows both at once.
#[tokio::test]
async fn an_agents_scope_follows_its_ceiling_and_its_owners_role_at_once() {
    let t = TestApp::new(router());
    let tenant = t.tenant("main").await;
    let ada = t.user(&tenant, "ada@example.com", Role::Admin).await;
    let scout = t.agent(&ada, "scout", "agents.* users.* ui.notify").await;
    let scope = t.as_(&scout, "GET", WHOAMI, Null).await.is(200)["scope"].to_string();
    assert!(scope.contains("agents.create") && !scope.contains("users.") && !scope.contains("stop_all"), "{scope}");
    t.execute("UPDATE agents SET scope = 'agents.read agents.create'").await.unwrap();
    assert_eq!(t.as_(&scout, "GET", WHOAMI, Null).await.is(200)["scope"], json!(["agents.read", "agents.create"]));
    t.execute("UPDATE users SET role = 'viewer'").await.unwrap();
    assert_eq!(t.as_(&scout, "GET", WHOAMI, Null).await.is(200)["scope"], json!(["agents.read"]));
}

/// R41: an approved scope is shown while it counts, within the owner's role, custom scopes too; a key does not get it.
#[tokio::test]
async fn what_was_approved_is_part_of_the_scope_of_a_token() {
    let t = TestApp::new(router());
    let tenant = t.tenant("main").await;
    let ada = t.user(&tenant, "ada@example.com", Role::Member).await;
    let scout = t.agent(&ada, "scout", "agents.read").await;
    let key = t.credential(Kind::ApiKey, &tenant, &ada.user, scout.agent.as_ref(), "*", None).await;
    let (id, end) = (scout.agent.as_ref().unwrap(), t.now().plus_seconds(60).millis());
    for (number, granted) in [(1, "agents.update x.crm.read"), (2, "ui.notify guides.write users.read")] {
        t.execute(&format!(
            "INSERT INTO access_requests (id, tenant_id, agent_id, scope, reason, hours, state, created_at, granted, ends_at)
             VALUES ('acc_{number}', '{tenant}', '{id}', '{granted}', 'r', 1, 'approved', 0, '{granted}', {end})"
        ))
        .await
        .unwrap();
    }
    t.execute(&format!("INSERT INTO custom_scopes VALUES ('{tenant}', 'x.crm.read', 'r', 0, 'u')")).await.unwrap();
    let scope = async |actor| t.as_(actor, "GET", WHOAMI, Null).await.is(200)["scope"].clone();
    assert_eq!(scope(&scout).await, json!(["agents.read", "agents.update", "ui.notify", "x.crm.read"]));
    assert_eq!(scope(&key).await, json!(["agents.read"]));
    t.execute("UPDATE access_requests SET state = 'revoked' WHERE id = 'acc_1'").await.unwrap();
    assert_eq!(scope(&scout).await, json!(["agents.read", "ui.notify"]));
    t.execute("UPDATE users SET role = 'viewer'").await.unwrap();
    assert_eq!(scope(&scout).await, json!(["agents.read"]));
    t.execute("UPDATE users SET role = 'member'").await.unwrap();
    t.wait(60);
    assert_eq!(scope(&scout).await, json!(["agents.read"]));
}

/// A key acts as its agent, also while the agent is halted; a scope that was approved for the agent is not the key's.
#[tokio::test]
async fn a_key_is_told_whose_it_is() {
    let t = TestApp::new(router());
    let tenant = t.tenant("main").await;
    let ada = t.user(&tenant, "ada@example.com", Role::Member).await;
    let scout = t.agent(&ada, "scout", "agents.read agents.list").await;
    let key = t.credential(Kind::ApiKey, &tenant, &ada.user, scout.agent.as_ref(), "agents.read ui.notify", None).await;
    t.execute(
        "INSERT INTO access_requests (id, tenant_id, agent_id, scope, reason, hours, state, created_at, granted, ends_at)
         SELECT 'acc_1', tenant_id, id, 'ui.notify', 'r', 1, 'approved', 0, 'ui.notify', 9000000000000000 FROM agents",
    )
    .await
    .unwrap();
    t.execute("UPDATE agents SET state = 'stopped'").await.unwrap();
    assert_eq!(
        t.as_(&key, "GET", WHOAMI, Null).await.is(200),
        json!({
            "tenant": "main", "user_id": ada.user, "email": "ada@example.com", "role": "member",
            "agent_id": scout.agent, "agent_name": "scout", "agent_state": "stopped",
            "owner": "ada@example.com", "ceiling": ["agents.read", "agents.list"],
            "credential": { "id": key.credential, "kind": "api_key", "prefix": &key.token[..16], "expires_at": null },
            "scope": ["agents.read"],
        })
    );
}

/// R1: refused before the database is asked.
#[tokio::test]
async fn a_malformed_credential_reads_nothing() {
    let t = TestApp::new(router());
    let tenant = t.tenant("main").await;
    let ada = t.user(&tenant, "ada@example.com", Role::Admin).await;
    let before = t.db().statements();
    let flipped = format!("{}{}", &ada.token[..56], if ada.token.ends_with('0') { "1" } else { "0" });
    for bad in [flipped.as_str(), "acr_ses_short", "acr_xyz_", "", &ada.token[..56], "ghp_abc", "\u{e9}"] {
        let answer = t.call("GET", WHOAMI, &[("authorization", &format!("Bearer {bad}"))], Null).await;
        answer.refused(401, "invalid_token");
        assert_eq!(answer.header("www-authenticate"), "Bearer realm=\"accredit\", error=\"invalid_token\"");
    }
    t.nobody("GET", WHOAMI, Null).await.refused(401, "missing_credential");
    assert_eq!(t.db().statements(), before);
}

/// R13: the scheme in any case, blanks around the token; no other scheme, no second header, nothing longer than 4 KiB.
#[tokio::test]
async fn the_header_is_read_as_rfc_6750_says() {
    let t = TestApp::new(router());
    let tenant = t.tenant("main").await;
    let ada = t.user(&tenant, "ada@example.com", Role::Admin).await;
    for scheme in ["Bearer", "bearer", "BEARER", "Bearer  "] {
        let value = format!("{scheme} {}  ", ada.token);
        t.call("GET", WHOAMI, &[("authorization", &value)], Null).await.is(200);
    }
    let padded = format!("Bearer {}{}", " ".repeat(4096), ada.token);
    for bad in [format!("Basic {}", ada.token), ada.token.clone(), format!("Bearer{}", ada.token), padded] {
        t.call("GET", WHOAMI, &[("authorization", &bad)], Null).await.refused(401, "invalid_token");
    }
    let bearer = format!("Bearer {}", ada.token);
    let twice = [("authorization", bearer.as_str()), ("authorization", bearer.as_str())];
    t.call("GET", WHOAMI, &twice, Null).await.refused(401, "invalid_token");
    t.nobody("GET", &format!("{WHOAMI}?access_token={}", ada.token), Null).await.refused(400, "credential_in_url");
    // R202: the name alone is enough.
    t.as_(&ada, "GET", &format!("{WHOAMI}?access_token=x"), Null).await.refused(400, "credential_in_url");
}

/// R14: where a bearer token is sent, the cookie is ignored.
#[tokio::test]
async fn a_bearer_token_overrides_the_cookie() {
    let t = TestApp::new(router());
    let tenant = t.tenant("main").await;
    let ada = t.user(&tenant, "ada@example.com", Role::Admin).await;
    let eve = t.user(&tenant, "eve@example.com", Role::Viewer).await;
    let cookie = format!("a=b; accredit={}", ada.token);
    let by_cookie = t.call("GET", WHOAMI, &[("cookie", &cookie)], Null).await.is(200);
    assert_eq!(by_cookie["email"], "ada@example.com");
    let bearer = format!("Bearer {}", eve.token);
    let both = t.call("GET", WHOAMI, &[("cookie", &cookie), ("authorization", &bearer)], Null).await.is(200);
    assert_eq!(both["email"], "eve@example.com");
    for bad in ["Bearer nonsense", "Basic x", ""] {
        let both = t.call("GET", WHOAMI, &[("cookie", &cookie), ("authorization", bad)], Null).await;
        both.refused(401, "invalid_token");
    }
}

/// R742: a cookie of another page of the host hides none of ours, whatever it holds, and is none of ours.
#[tokio::test]
async fn a_cookie_beside_ours_can_hold_anything() {
    let t = TestApp::new(router());
    let tenant = t.tenant("main").await;
    let ada = t.user(&tenant, "ada@example.com", Role::Admin).await;
    let request = |cookie: Vec<u8>| {
        let request = http::Request::builder().uri(WHOAMI).header("host", "localhost:3000").header("cookie", cookie);
        request.body(service::body::RequestBody::from("")).unwrap()
    };
    let own = format!("accredit={}", ada.token).into_bytes();
    for other in ["city=Zürich".as_bytes(), b"city=Z\xfcrich"] {
        t.send(request([other, b"; ", &own[..]].concat())).await.is(200);
        t.send(request([&own[..], b";\t", other].concat())).await.is(200);
    }
    // Another name, whose white space browsers do not trim.
    for space in ["\u{85}", "\u{a0}", "\u{2000}"] {
        let forged = [space.as_bytes(), &own].concat();
        t.send(request(forged)).await.refused(401, "missing_credential");
    }
}

/// R73: a cookie counts on a loopback host only, unless `public_url` is https.
#[tokio::test]
async fn the_plain_cookie_counts_on_loopback_only() {
    let t = TestApp::new(router());
    let tenant = t.tenant("main").await;
    let ada = t.user(&tenant, "ada@example.com", Role::Admin).await;
    let request = |host: &str, cookie: &str| {
        let request = http::Request::builder().uri(WHOAMI).header("host", host);
        request.header("cookie", format!("{cookie}={}", ada.token)).body(service::body::RequestBody::from("")).unwrap()
    };
    t.send(request("localhost:3000", "accredit")).await.is(200);
    t.send(request("[::1]:3000", "accredit")).await.is(200);
    t.send(request("accredit.example:3000", "accredit")).await.refused(401, "missing_credential");
    t.send(request("localhost:3000", "__Host-accredit")).await.refused(401, "missing_credential");
}

/// R6, R11: a credential that has ended is refused, each end with its own word.
#[tokio::test]
async fn an_ended_credential_is_refused_with_its_reason() {
    let t = TestApp::new(router());
    let tenant = t.tenant("main").await;
    let ada = t.user(&tenant, "ada@example.com", Role::Admin).await;
    let soon = Some(t.now().plus_seconds(60));
    let pat = t.credential(Kind::Pat, &tenant, &ada.user, None, "*", soon).await;
    t.wait(59);
    t.as_(&pat, "GET", WHOAMI, Null).await.is(200);
    t.wait(1);
    t.as_(&pat, "GET", WHOAMI, Null).await.refused(401, "token_expired");
    t.execute(&format!("UPDATE credentials SET revoked_at = 1 WHERE id = '{}'", ada.credential)).await.unwrap();
    t.as_(&ada, "GET", WHOAMI, Null).await.refused(401, "token_revoked");
}

#[tokio::test]
async fn a_session_ends_when_it_idles_for_two_hours() {
    let t = TestApp::new(router());
    let tenant = t.tenant("main").await;
    let ada = t.user(&tenant, "ada@example.com", Role::Admin).await;
    for _ in 0..3 {
        t.wait(2 * 3600 - 1);
        t.as_(&ada, "GET", WHOAMI, Null).await.is(200);
    }
    t.wait(2 * 3600);
    t.as_(&ada, "GET", WHOAMI, Null).await.refused(401, "token_expired");
}

/// R19: a deactivated account's credentials are refused, its agents' too.
#[tokio::test]
async fn all_credentials_of_a_deactivated_account_are_refused() {
    let t = TestApp::new(router());
    let tenant = t.tenant("main").await;
    let ada = t.user(&tenant, "ada@example.com", Role::Admin).await;
    let scout = t.agent(&ada, "scout", "agents.read").await;
    t.execute("UPDATE users SET deactivated_at = 1").await.unwrap();
    for actor in [&ada, &scout] {
        t.as_(actor, "GET", WHOAMI, Null).await.refused(401, "account_deactivated");
    }
}

/// R15: a use is recorded once a minute, and at once from another address; a revoked credential is not touched; a failing write
/// refuses nobody.
#[tokio::test]
async fn a_use_is_recorded_once_a_minute() {
    let t = TestApp::new(router());
    let tenant = t.tenant("main").await;
    let ada = t.user(&tenant, "ada@example.com", Role::Admin).await;
    let used = "SELECT last_used_at || ' ' || last_used_address FROM credentials";
    let start = t.now().millis();
    t.as_(&ada, "GET", WHOAMI, Null).await.is(200);
    assert_eq!(t.texts(used).await, [format!("{start} 192.0.2.1")]);
    t.wait(59);
    let before = t.db().statements();
    t.as_(&ada, "GET", WHOAMI, Null).await.is(200);
    assert_eq!(t.db().statements(), before + 1, "one SELECT and no write");
    let bearer = format!("Bearer {}", ada.token);
    let elsewhere = [("authorization", bearer.as_str()), ("spin-client-addr", "192.0.2.2:5")];
    t.call("GET", WHOAMI, &elsewhere, Null).await.is(200);
    assert_eq!(t.texts(used).await, [format!("{} 192.0.2.2", start + 59_000)]);
    t.execute(
        "CREATE TRIGGER broken BEFORE UPDATE OF last_used_at ON credentials BEGIN SELECT RAISE(ABORT, 'no'); END",
    )
    .await
    .unwrap();
    t.wait(120);
    t.as_(&ada, "GET", WHOAMI, Null).await.is(200);
}

/// R16: when the database fails, no caller is told that it is unknown.
#[tokio::test]
async fn a_failing_database_is_503() {
    let t = TestApp::new(router());
    let tenant = t.tenant("main").await;
    let ada = t.user(&tenant, "ada@example.com", Role::Admin).await;
    t.execute("ALTER TABLE tenants RENAME TO gone").await.unwrap();
    let answer = t.as_(&ada, "GET", WHOAMI, Null).await;
    answer.refused(503, "database_unavailable");
    assert_eq!(answer.header("retry-after"), "1");
    assert!(!answer.text.contains("SELECT") && !answer.text.contains("gone"));
}

/// R58: `application/problem+json` for a client that asks for it.
#[tokio::test]
async fn a_refusal_is_a_problem_for_a_client_that_asks_for_one() {
    let t = TestApp::new(router());
    let answer = t.call("GET", WHOAMI, &[("accept", "application/problem+json")], Null).await;
    let body = answer.refused(401, "missing_credential");
    assert_eq!(answer.header("content-type"), "application/problem+json");
    assert_eq!((&body["status"], &body["type"]), (&json!(401), &body["doc_url"]));
}
