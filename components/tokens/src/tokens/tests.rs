use common::role::Role;
use serde_json::Value as Json;
use service::{
    settings::{Provider, Settings},
    testing::{Actor, TestApp},
};
use store::usage::Quotas;

use super::*;
use crate::with_neighbours;

const PATS: &str = "/auth/tokens";

async fn ada(t: &TestApp) -> Actor {
    let tenant = t.tenant("main").await;
    t.user(&tenant, "ada@example.com", Role::Member).await
}

/// The same person with the token of an answer.
fn with(actor: &Actor, made: &Json) -> Actor {
    let token = made["token"].as_str().unwrap().to_owned();
    Actor {
        tenant: actor.tenant.clone(),
        user: actor.user.clone(),
        agent: None,
        credential: actor.credential.clone(),
        token,
    }
}

fn path(made: &Json) -> String {
    format!("{PATS}/{}", made["id"].as_str().unwrap())
}

/// R3, R5, R9: shown once, stored as answered; fields that were left out have the contract's defaults.
#[tokio::test]
async fn a_pat_is_made_and_shown_once() {
    let t = TestApp::new(with_neighbours());
    let ada = ada(&t).await;
    let made = t.as_(&ada, "POST", PATS, json!({ "name": " laptop " })).await.is(201);
    let secret = Secret::parse(made["token"].as_str().unwrap()).unwrap();
    assert_eq!(secret.kind(), Kind::Pat);
    assert_eq!(
        made,
        json!({
            "id": made["id"], "kind": "pat", "name": "laptop", "prefix": secret.shown(), "scope": ["*"], "status": "active",
            "created_at": "2026-01-02T03:04:05.000Z", "expires_at": "2026-04-02T03:04:05.000Z", "revoked_at": null,
            "replaced_by": null, "minted_by": ada.user, "minted_with": ada.credential, "grantee": null, "last_used_at": null,
            "last_used_ip": null, "client": null, "agent": null, "token": secret.reveal(), "warnings": [],
        })
    );
    let mut expected = made.clone();
    expected.as_object_mut().unwrap().retain(|key, _| key != "token" && key != "warnings");
    assert_eq!(t.as_(&ada, "GET", &path(&made), Json::Null).await.is(200), expected);
    assert_eq!(t.as_(&ada, "GET", PATS, Json::Null).await.is(200)["items"], json!([expected]));
    let audited = t.texts("SELECT action || ' ' || after FROM audit").await;
    assert!(audited[0].starts_with("token.create {") && !audited[0].contains(secret.reveal()), "{audited:?}");
}

/// R10: bounds, and "never" is never.
#[tokio::test]
async fn a_lifetime_is_1_to_3650_days_or_never() {
    let t = TestApp::new(with_neighbours());
    let ada = ada(&t).await;
    let with_days = |days: Json| json!({ "name": "x", "expires_in_days": days });
    for bad in [json!(0), json!(-1), json!(3651)] {
        t.as_(&ada, "POST", PATS, with_days(bad)).await.refused(400, "invalid_lifetime");
    }
    for bad in [json!(1.5), json!(1e30), json!("9")] {
        t.as_(&ada, "POST", PATS, with_days(bad)).await.refused(422, "validation_error");
    }
    assert_eq!(t.as_(&ada, "POST", PATS, with_days(Json::Null)).await.is(201)["expires_at"], Json::Null);
    assert_eq!(t.number("SELECT count(*) FROM credentials WHERE kind = 'pat' AND expires_at IS NULL").await, 1);
    assert_eq!(t.number("SELECT count(*) FROM credentials WHERE kind = 'pat'").await, 1);
}

/// R7, R9: only a session makes one; scopes that the role lacks are a warning; unknown scopes are refused and named.
#[tokio::test]
async fn scopes_are_checked_and_a_pat_makes_no_pat() {
    let t = TestApp::new(with_neighbours());
    let ada = ada(&t).await;
    let made = t.as_(&ada, "POST", PATS, json!({ "name": "x", "scope": ["users.read", "agents.read"] })).await.is(201);
    assert!(made["warnings"][0].as_str().unwrap().ends_with("lacks them: users.read."), "{made}");
    let refused =
        t.as_(&ada, "POST", PATS, json!({ "name": "x", "scope": ["x.crm.read"] })).await.refused(400, "unknown_scope");
    assert_eq!(refused["unknown_scopes"], json!(["x.crm.read"]));
    t.as_(&with(&ada, &made), "POST", PATS, json!({ "name": "y" })).await.refused(403, "session_required");
    let agent = t.agent(&ada, "scout", "*").await;
    t.as_(&agent, "POST", PATS, json!({ "name": "y" })).await.refused(403, "session_required");
    assert_eq!(t.number("SELECT count(*) FROM credentials WHERE kind = 'pat'").await, 1);
}

/// R583: who ends a token ends the one before it too, which is in its grace; by the one before nothing else ends.
#[tokio::test]
async fn a_pat_ends_with_the_one_before_it() {
    let t = TestApp::new(with_neighbours());
    let ada = ada(&t).await;
    let rotated = async |name: &str| {
        let body = json!({ "name": name, "scope": ["agents.read"], "expires_in_days": 3 });
        let first = t.as_(&ada, "POST", PATS, body).await.is(201);
        let grace = json!({ "grace_seconds": 600 });
        let next = t.as_(&with(&ada, &first), "POST", &format!("{}/rotate", path(&first)), grace).await.is(201);
        (first, next)
    };
    let (first, next) = rotated("ci").await;
    t.as_(&ada, "DELETE", &path(&next), Json::Null).await.is(204);
    for made in [&first, &next] {
        t.as_(&with(&ada, made), "GET", &path(made), Json::Null).await.refused(401, "token_revoked");
    }
    let (first, next) = rotated("cd").await;
    t.as_(&ada, "DELETE", &path(&first), Json::Null).await.is(204);
    t.as_(&with(&ada, &first), "GET", &path(&first), Json::Null).await.refused(401, "token_revoked");
    t.as_(&with(&ada, &next), "GET", &path(&next), Json::Null).await.is(200);
}

/// R11: both work within the grace, the old one ends the second it is over, and a second rotation ends the first grace.
#[tokio::test]
async fn a_pat_rotates_itself_with_a_grace() {
    let t = TestApp::new(with_neighbours());
    let ada = ada(&t).await;
    let body = json!({ "name": "ci", "scope": ["agents.read"], "expires_in_days": 3 });
    let first = t.as_(&ada, "POST", PATS, body).await.is(201);
    let one = with(&ada, &first);
    t.as_(&one, "POST", &format!("{}/rotate", path(&first)), json!({ "grace_seconds": 59 }))
        .await
        .refused(400, "invalid_grace");
    let second = t.as_(&one, "POST", &format!("{}/rotate", path(&first)), Json::Null).await.is(201);
    for member in ["name", "scope", "expires_at"] {
        assert_eq!(second[member], first[member], "{member}");
    }
    let two = with(&ada, &second);
    t.wait(59);
    for (pat, made) in [(&one, &first), (&two, &second)] {
        t.as_(pat, "GET", &path(made), Json::Null).await.is(200);
    }
    // Replaced is replaced: the old one cannot fork the line.
    t.as_(&one, "POST", &format!("{}/rotate", path(&first)), Json::Null).await.refused(409, "token_replaced");
    let third =
        t.as_(&two, "POST", &format!("{}/rotate", path(&second)), json!({ "grace_seconds": 86_400 })).await.is(201);
    t.as_(&one, "GET", &path(&first), Json::Null).await.refused(401, "token_revoked");
    t.wait(86_399);
    t.as_(&two, "GET", &path(&second), Json::Null).await.is(200);
    t.wait(1);
    t.as_(&two, "GET", &path(&second), Json::Null).await.refused(401, "token_expired");
    let three = with(&ada, &third);
    t.wait(100_000);
    // The grace never outlives the end that was there.
    let fourth =
        t.as_(&three, "POST", &format!("{}/rotate", path(&third)), json!({ "grace_seconds": 86_400 })).await.is(201);
    t.wait(72_740);
    for (made, pat) in [(&third, &three), (&fourth, &with(&ada, &fourth))] {
        t.as_(pat, "GET", &path(made), Json::Null).await.is(200);
    }
    t.wait(1);
    for (made, pat) in [(&third, &three), (&fourth, &with(&ada, &fourth))] {
        t.as_(pat, "GET", &path(made), Json::Null).await.refused(401, "token_expired");
    }
}

#[tokio::test]
async fn a_session_rotates_at_once_and_another_pat_does_not() {
    let t = TestApp::new(with_neighbours());
    let ada = ada(&t).await;
    let first = t.as_(&ada, "POST", PATS, json!({ "name": "a" })).await.is(201);
    let other = t.as_(&ada, "POST", PATS, json!({ "name": "b" })).await.is(201);
    let rotate = format!("{}/rotate", path(&first));
    t.as_(&with(&ada, &other), "POST", &rotate, Json::Null).await.refused(403, "session_required");
    let second = t.as_(&ada, "POST", &rotate, Json::Null).await.is(201);
    t.as_(&with(&ada, &first), "GET", &path(&first), Json::Null).await.refused(401, "token_revoked");
    t.as_(&with(&ada, &second), "GET", &path(&second), Json::Null).await.is(200);
    // R88: a caller that lost the answer is told which token works now, and goes on with that one.
    let refused = t.as_(&ada, "POST", &rotate, Json::Null).await.refused(409, "token_replaced");
    assert_eq!(refused["replaced_by"], second["id"]);
    // The token itself is told, too, wherever it is sent.
    let told = t.as_(&with(&ada, &first), "GET", "/auth/tokens", Json::Null).await.refused(401, "token_revoked");
    assert_eq!(told["replaced_by"], second["id"]);
    let successor = second["id"].as_str().unwrap();
    let fix = format!(
        "Use the credential that replaced it, {successor}. If that one is lost, rotate it with a session: POST /auth/tokens/{successor}/rotate."
    );
    assert_eq!(told["fix"], fix.as_str());
    assert!(refused["detail"].as_str().unwrap().contains(second["prefix"].as_str().unwrap()), "{refused}");
    let next = format!("{}/rotate", path(&second));
    assert!(refused["fix"].as_str().unwrap().contains(&format!("POST {next}")), "{refused}");
    let third = t.as_(&ada, "POST", &next, Json::Null).await.is(201);
    let refused = t.as_(&ada, "POST", &rotate, Json::Null).await.refused(409, "token_replaced");
    assert_eq!(refused["replaced_by"], third["id"], "the end of the line");
    t.as_(&ada, "DELETE", &path(&third), Json::Null).await.is(204);
    t.as_(&ada, "POST", &rotate, Json::Null).await.refused(409, "token_ended");
    // A revoked PAT cannot be rotated back to life.
    t.as_(&ada, "DELETE", &path(&other), Json::Null).await.is(204);
    t.as_(&ada, "POST", &format!("{}/rotate", path(&other)), Json::Null).await.refused(409, "token_ended");
}

/// Contract, section 2: a PAT always reads and revokes itself, and no other one without the scope.
#[tokio::test]
async fn a_pat_without_scopes_reads_and_revokes_itself_alone() {
    let t = TestApp::new(with_neighbours());
    let ada = ada(&t).await;
    let made = t.as_(&ada, "POST", PATS, json!({ "name": "a", "scope": ["agents.read"] })).await.is(201);
    let other = t.as_(&ada, "POST", PATS, json!({ "name": "b" })).await.is(201);
    let pat = with(&ada, &made);
    t.as_(&pat, "GET", &path(&made), Json::Null).await.is(200);
    t.as_(&pat, "GET", PATS, Json::Null).await.refused(403, "scope_denied");
    t.as_(&pat, "GET", &path(&other), Json::Null).await.refused(403, "scope_denied");
    t.as_(&pat, "DELETE", &path(&other), Json::Null).await.refused(403, "scope_denied");
    t.as_(&pat, "DELETE", &path(&made), Json::Null).await.is(204);
    t.as_(&pat, "GET", &path(&made), Json::Null).await.refused(401, "token_revoked");
    let revoked = t.as_(&ada, "GET", &path(&made), Json::Null).await.is(200)["revoked_at"].clone();
    t.wait(5);
    t.as_(&ada, "DELETE", &path(&made), Json::Null).await.is(204);
    assert_eq!(t.as_(&ada, "GET", &path(&made), Json::Null).await.is(200)["revoked_at"], revoked);
    assert_eq!(t.number("SELECT count(*) FROM audit WHERE action = 'token.revoke'").await, 1);
}

/// R33: somebody else's token, and one that is not a PAT, are as absent as one that never was.
#[tokio::test]
async fn a_foreign_token_is_an_absent_one() {
    let t = TestApp::new(with_neighbours());
    let ada = ada(&t).await;
    let eve = t.user(&ada.tenant, "eve@example.com", Role::Admin).await;
    let made = t.as_(&ada, "POST", PATS, json!({ "name": "a" })).await.is(201);
    // Its use is written down once a minute.
    t.as_(&eve, "GET", PATS, Json::Null).await.is(200);
    for (method, tail) in [("GET", ""), ("DELETE", ""), ("POST", "/rotate")] {
        let mut answers = Vec::new();
        for id in [made["id"].as_str().unwrap(), eve.credential.as_str(), "tok_nothing", "%2F"] {
            let before = t.db().statements();
            let answer = t.as_(&eve, method, &format!("{PATS}/{id}{tail}"), Json::Null).await;
            let mut body = answer.refused(404, "token_not_found");
            body["request_id"] = Json::Null;
            answers.push((body, t.db().statements() - before));
        }
        assert!(answers.windows(2).all(|pair| pair[0] == pair[1]), "{answers:?}");
    }
    assert_eq!(t.number("SELECT count(*) FROM credentials WHERE revoked_at IS NOT NULL").await, 0);
}

#[tokio::test]
async fn the_list_is_filtered_sorted_and_paged() {
    let t = TestApp::new(with_neighbours());
    let ada = ada(&t).await;
    for (name, days) in [("soon", json!(3)), ("never", Json::Null), ("later", json!(30)), ("gone", json!(1))] {
        t.as_(&ada, "POST", PATS, json!({ "name": name, "expires_in_days": days })).await.is(201);
        t.wait(10);
    }
    t.wait(86_400);
    // The session has ended meanwhile.
    let later = t.credential(Kind::Session, &ada.tenant, &ada.user, None, "*", None).await;
    let names = async |query: &str| -> Vec<String> {
        let page = t.as_(&later, "GET", &format!("{PATS}?{query}"), Json::Null).await.is(200);
        page["items"].as_array().unwrap().iter().map(|item| item["name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names("").await, ["gone", "later", "never", "soon"]);
    assert_eq!(names("sort=expires_at").await, ["gone", "soon", "later", "never"]);
    assert_eq!(names("status=active").await, ["later", "never", "soon"]);
    assert_eq!(names("status=expiring").await, ["soon"]);
    assert_eq!(names("status=expired").await, ["gone"]);
    assert!(names("status=revoked").await.is_empty());
    let mut seen = Vec::new();
    let mut cursor = String::new();
    loop {
        let path = format!("{PATS}?sort=expires_at&limit=1{cursor}");
        let page = t.as_(&later, "GET", &path, Json::Null).await.is(200);
        seen.push(page["items"][0]["name"].as_str().unwrap().to_owned());
        let Some(next) = page["next_cursor"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    assert_eq!(seen, ["gone", "soon", "later", "never"]);
    t.as_(&later, "GET", &format!("{PATS}?sort=name"), Json::Null).await.refused(400, "invalid_filter");
    t.as_(&later, "GET", &format!("{PATS}?status=live"), Json::Null).await.refused(400, "invalid_filter");
}

/// R32: never on the first use, and once for each change of the address.
#[tokio::test]
async fn a_use_from_another_address_is_audited() {
    let t = TestApp::new(with_neighbours());
    let ada = ada(&t).await;
    let made = t.as_(&ada, "POST", PATS, json!({ "name": "a" })).await.is(201);
    let bearer = format!("Bearer {}", made["token"].as_str().unwrap());
    let moved = "SELECT before || ' ' || after FROM audit WHERE action = 'token.first_use_new_ip'";
    for (address, rows) in
        [("192.0.2.1:1", 0), ("192.0.2.1:9", 0), ("192.0.2.2:1", 1), ("192.0.2.2:1", 1), ("192.0.2.1:1", 2)]
    {
        let headers = [("authorization", bearer.as_str()), ("spin-client-addr", address)];
        t.call("GET", PATS, &headers, Json::Null).await.is(200);
        assert_eq!(t.texts(moved).await.len(), rows, "{address}");
    }
    assert_eq!(t.texts(moved).await[0], r#"{"address":"192.0.2.1"} {"address":"192.0.2.2"}"#);
    let shown = t.as_(&ada, "GET", &path(&made), Json::Null).await.is(200);
    assert_eq!(
        (&shown["last_used_ip"], &shown["last_used_at"]),
        (&json!("192.0.2.1"), &json!("2026-01-02T03:04:05.000Z"))
    );
}

/// R51: the same credential gets the secret again, another one of the same person does not.
#[tokio::test]
async fn a_create_is_replayed_to_the_same_session_only() {
    let t = TestApp::new(with_neighbours());
    let ada = ada(&t).await;
    let bearer = format!("Bearer {}", ada.token);
    let headers = [("authorization", bearer.as_str()), ("idempotency-key", "k")];
    let first = t.call("POST", PATS, &headers, json!({ "name": "a" })).await;
    let again = t.call("POST", PATS, &headers, json!({ "name": "a" })).await;
    assert_eq!((first.is(201), again.header("idempotency-replayed")), (again.is(201), "true"));
    let other = t.credential(Kind::Session, &ada.tenant, &ada.user, None, "*", None).await;
    let bearer = format!("Bearer {}", other.token);
    let headers = [("authorization", bearer.as_str()), ("idempotency-key", "k")];
    t.call("POST", PATS, &headers, json!({ "name": "a" })).await.refused(409, "idempotency_other_credential");
    assert_eq!(t.number("SELECT count(*) FROM credentials WHERE kind = 'pat'").await, 1);
}

/// R86: live credentials of a person are bounded; a rotation makes none more, and one that has ended makes room.
#[tokio::test]
async fn credentials_of_a_person_are_bounded() {
    let quotas = Quotas { credentials: 3, ..Settings::default().quotas };
    let t = TestApp::with(with_neighbours(), Settings { quotas, ..Settings::default() });
    let ada = ada(&t).await;
    t.agent(&ada, "scout", "*").await;
    let first = t.as_(&ada, "POST", PATS, json!({ "name": "a", "expires_in_days": 1 })).await.is(201);
    t.as_(&ada, "POST", PATS, json!({ "name": "b", "expires_in_days": null })).await.is(201);
    let more = json!({ "name": "c" });
    let refused = t.as_(&ada, "POST", PATS, more.clone()).await.refused(409, "quota_reached");
    assert_eq!((&refused["quota"], &refused["of"]), (&json!("live credentials"), &json!("person")));
    let max = t.user(&ada.tenant, "max@example.com", Role::Member).await;
    t.as_(&max, "POST", PATS, more.clone()).await.is(201);
    t.as_(&ada, "POST", &format!("{}/rotate", path(&first)), Json::Null).await.is(201);
    t.as_(&ada, "POST", PATS, more.clone()).await.refused(409, "quota_reached");
    t.wait(86_400);
    let ada = t.credential(Kind::Session, &ada.tenant, &ada.user, None, "*", None).await;
    t.as_(&ada, "POST", PATS, more.clone()).await.is(201);
    t.as_(&ada, "POST", PATS, more).await.refused(409, "quota_reached");
}

/// R98: a token that never ends takes a fresh proof, asked for or usual; one that ends does not.
#[tokio::test]
async fn a_token_that_never_ends_takes_a_fresh_proof() {
    let t = TestApp::new(with_neighbours());
    let ada = ada(&t).await;
    let never = json!({ "name": "a", "expires_in_days": null });
    let made = t.as_(&ada, "POST", PATS, never.clone()).await.is(201);
    t.wait(900);
    t.as_(&ada, "POST", PATS, never).await.refused(403, "reauthentication_required");
    // Nor is there another secret of one that is there.
    let rotate = format!("{PATS}/{}/rotate", made["id"].as_str().unwrap());
    t.as_(&ada, "POST", &rotate, Json::Null).await.refused(403, "reauthentication_required");
    t.as_(&ada, "POST", PATS, json!({ "name": "b", "expires_in_days": 3650 })).await.is(201);
    t.execute("UPDATE tenants SET pat_days = 7").await.unwrap();
    let usual = t.as_(&ada, "POST", PATS, json!({ "name": "c" })).await.is(201);
    assert_eq!(usual["expires_at"], t.now().plus_seconds(7 * 86_400).to_string());
    t.execute("UPDATE tenants SET pat_days = NULL").await.unwrap();
    t.as_(&ada, "POST", PATS, json!({ "name": "d" })).await.refused(403, "reauthentication_required");
    assert_eq!(t.number("SELECT count(*) FROM credentials WHERE kind = 'pat'").await, 3);
}

/// R373: a script that makes tokens fills nobody's mailbox. R374: a rotated token says that it ends as soon as the one before.
#[tokio::test]
async fn ten_tokens_in_an_hour_are_mailed_and_a_rotated_one_warns_of_its_end() {
    let settings = Settings { mail_provider: Some(Provider::Resend), ..Settings::default() };
    let t = TestApp::with(with_neighbours(), settings);
    let ada = ada(&t).await;
    let mails = "SELECT count(*) FROM outbox WHERE kind = 'token_made'";
    for _ in 0..12 {
        t.as_(&ada, "POST", PATS, json!({ "name": "script", "expires_in_days": 30 })).await.is(201);
    }
    assert_eq!(t.number(mails).await, 10);
    t.wait(3_601);
    let made = t.as_(&ada, "POST", PATS, json!({ "name": "later", "expires_in_days": 30 })).await.is(201);
    assert_eq!(t.number(mails).await, 11);
    let rotated = t.as_(&ada, "POST", &format!("{}/rotate", path(&made)), json!({})).await.is(201);
    assert_eq!(rotated["warnings"], json!([]));
    // R702: a session that takes a token over is mailed, and a token that replaces itself is not.
    assert_eq!(t.number(&format!("{mails} AND data ->> 'replaces' = 1")).await, 1);
    t.wait(24 * 86_400);
    let again = t.as_(&with(&ada, &rotated), "POST", &format!("{}/rotate", path(&rotated)), json!({})).await.is(201);
    assert_eq!(again["expires_at"], made["expires_at"]);
    assert!(again["warnings"][0].as_str().unwrap().contains("rotating keeps the end"), "{again}");
    assert_eq!(t.number(mails).await, 12);
}
