use common::role::Role;
use service::{
    settings::Settings,
    testing::{Actor, TestApp},
};

use super::*;
use crate::router;

async fn stage(mail_provider: &'static str) -> (TestApp, Actor) {
    let settings = Settings::read(|name| match name {
        "mail_provider" => Some(mail_provider.to_owned()),
        "public_url" => Some("https://accredit.example/acme".to_owned()),
        _ => None,
    });
    let t = TestApp::with(router(), settings.unwrap());
    let tenant = t.tenant("main").await;
    let ada = t.user(&tenant, "ada@example.com", Role::Admin).await;
    (t, ada)
}

async fn new_user(t: &TestApp, ada: &Actor) -> String {
    let body = json!({ "email": "eve@example.com", "name": "Eve", "invite": false });
    t.as_(ada, "POST", "/api/users", body).await.is(201)["id"].as_str().unwrap().to_owned()
}

/// R94: a link is shown once; neither the trail nor the database holds what opens it.
#[tokio::test]
async fn an_admin_gets_a_link_for_another_once() {
    let (t, ada) = stage("").await;
    let eve = new_user(&t, &ada).await;
    for (route, page, ends, action) in [
        ("invite", "invite", "2026-01-09T03:04:05.000Z", "user.invite"),
        ("reset-password", "reset", "2026-01-03T03:04:05.000Z", "user.reset_link"),
    ] {
        let bearer = format!("Bearer {}", ada.token);
        let headers = [("authorization", bearer.as_str()), ("idempotency-key", route)];
        let answer = t.call("POST", &format!("/api/users/{eve}/{route}"), &headers, Null).await;
        let made = answer.is(200);
        let url = made["url"].as_str().unwrap();
        let code = url.strip_prefix(&format!("https://accredit.example/acme/{page}?code=")).unwrap();
        assert_eq!(made, json!({ "url": url, "expires_at": ends }));
        assert_eq!(answer.header("cache-control"), "no-store");
        let rows = t.texts(&format!("SELECT object_id || ' ' || after FROM audit WHERE action = '{action}'")).await;
        assert_eq!(rows, [format!("{eve} {{\"expires_at\":\"{ends}\"}}")]);
        for table in ["codes", "audit", "idempotency", "outbox", "notifications"] {
            let columns = t.texts(&format!("SELECT name FROM pragma_table_info('{table}')")).await;
            for column in columns {
                let held = format!("SELECT count(*) FROM {table} WHERE instr(CAST({column} AS TEXT), '{code}')");
                assert_eq!(t.number(&held).await, 0, "{table}.{column}");
            }
        }
    }
    assert_eq!(t.number("SELECT count(*) FROM idempotency").await, 0, "no answer with a code is kept");
    assert_eq!(t.texts("SELECT title FROM notifications").await, ["A link to set your password was made"]);
}

#[tokio::test]
async fn a_link_is_made_by_an_admins_session_for_an_active_other_only() {
    let (t, ada) = stage("").await;
    let eve = new_user(&t, &ada).await;
    let max = t.user(&ada.tenant, "max@example.com", Role::Curator).await;
    let other = t.tenant("other").await;
    let zoe = t.user(&other, "zoe@example.com", Role::Admin).await;
    let pat = t.credential(common::secret::Kind::Pat, &ada.tenant, &ada.user, None, "*", None).await;
    for route in ["invite", "reset-password"] {
        let path = format!("/api/users/{eve}/{route}");
        t.as_(&max, "POST", &path, Null).await.refused(403, "scope_denied");
        t.as_(&pat, "POST", &path, Null).await.refused(403, "session_required");
        t.as_(&zoe, "POST", &path, Null).await.refused(404, "user_not_found");
        t.nobody("POST", &path, Null).await.refused(401, "missing_credential");
    }
    t.as_(&ada, "POST", &format!("/api/users/{}/reset-password", ada.user), Null).await.refused(409, "own_password");
    t.execute(&format!("UPDATE users SET password_hash = 'x' WHERE id = '{eve}'")).await.unwrap();
    t.as_(&ada, "POST", &format!("/api/users/{eve}/invite"), Null).await.refused(409, "already_joined");
    t.as_(&ada, "POST", &format!("/api/users/{eve}/reset-password"), Null).await.is(200);
    t.execute(&format!("UPDATE users SET deactivated_at = 1 WHERE id = '{eve}'")).await.unwrap();
    for route in ["invite", "reset-password"] {
        t.as_(&ada, "POST", &format!("/api/users/{eve}/{route}"), Null).await.refused(409, "user_deactivated");
    }
    assert_eq!(t.number("SELECT count(*) FROM codes").await, 0);
}

/// Without an address of its own the server makes no link that would lead elsewhere.
#[tokio::test]
async fn a_server_without_an_address_makes_no_link() {
    let t = TestApp::new(router());
    let tenant = t.tenant("main").await;
    let ada = t.user(&tenant, "ada@example.com", Role::Admin).await;
    let eve = new_user(&t, &ada).await;
    let mut request = http::Request::post(format!("/api/users/{eve}/invite")).header("host", "accredit.example");
    request = request.header("authorization", format!("Bearer {}", ada.token));
    let request = request.body(service::body::RequestBody::from("")).unwrap();
    t.send(request).await.refused(503, "public_url_missing");
    assert_eq!(t.number("SELECT count(*) FROM codes").await, 0);
}

/// R244: a person that has not joined is invited once more, by a mail that says so; one that has is not.
#[tokio::test]
async fn an_invitation_is_mailed_again() {
    let (t, ada) = stage("webhook").await;
    let eve = new_user(&t, &ada).await;
    let (path, mail) = (format!("/api/users/{eve}/invite"), json!({ "mail": true }));
    t.as_(&ada, "POST", &path, mail.clone()).await.is(204);
    assert_eq!(t.texts("SELECT kind || ' ' || recipient FROM outbox").await, ["invite eve@example.com"]);
    assert_eq!(t.texts("SELECT after FROM audit WHERE action = 'user.invite'").await, [r#"{"mailed":true}"#]);
    let max = t.user(&ada.tenant, "max@example.com", Role::Curator).await;
    t.as_(&max, "POST", &path, mail.clone()).await.refused(403, "scope_denied");
    t.execute(&format!("UPDATE users SET password_hash = 'x' WHERE id = '{eve}'")).await.unwrap();
    t.as_(&ada, "POST", &path, mail.clone()).await.refused(409, "already_joined");
    let (t, ada) = stage("").await;
    let eve = new_user(&t, &ada).await;
    t.as_(&ada, "POST", &format!("/api/users/{eve}/invite"), mail).await.refused(503, "mail_disabled");
    assert_eq!(t.number("SELECT count(*) FROM outbox").await, 0);
}

#[tokio::test]
async fn a_new_user_is_invited_by_mail_or_the_admin_is_told_how() {
    let (t, ada) = stage("webhook").await;
    let body = json!({ "email": "eve@example.com", "name": "Eve <b>" });
    let bearer = format!("Bearer {}", ada.token);
    let headers = [("authorization", bearer.as_str()), ("idempotency-key", "once")];
    let made = t.call("POST", "/api/users", &headers, body.clone()).await.is(201);
    assert_eq!(made["warnings"], json!([]));
    assert_eq!(t.call("POST", "/api/users", &headers, body).await.is(201), made, "replayed, and mailed once");
    assert_eq!(
        t.texts("SELECT kind || ' ' || recipient || ' ' || data FROM outbox").await,
        [
            r#"invite eve@example.com {"base":"https://accredit.example/acme","name":"Eve <b>","role":"member","by":"ada@example.com","address":"192.0.2.1"}"#
        ]
    );
    t.as_(&ada, "POST", "/api/users", json!({ "email": "max@example.com", "name": "Max", "invite": false }))
        .await
        .is(201);
    assert_eq!(t.number("SELECT count(*) FROM outbox").await, 1);
    assert_eq!(t.number("SELECT count(*) FROM codes").await, 0, "a code is minted when its mail is sent");

    let (t, ada) = stage("").await;
    let made = t.as_(&ada, "POST", "/api/users", json!({ "email": "eve@example.com", "name": "Eve" })).await.is(201);
    let warning = made["warnings"][0].as_str().unwrap();
    assert!(warning.contains(&format!("POST /api/users/{}/invite", made["id"].as_str().unwrap())), "{warning}");
    assert_eq!(t.number("SELECT count(*) FROM outbox").await, 0);
    t.as_(&ada, "POST", "/api/users", json!({ "email": "x@example.com", "name": "X", "invite": "no" }))
        .await
        .refused(422, "validation_error");
}

/// R92: an admin's session mails strangers a hundred times an hour, and no more.
#[tokio::test]
async fn invitations_by_mail_are_bounded() {
    let (t, ada) = stage("webhook").await;
    let invite = async |number: i64| {
        let body = json!({ "email": format!("n{number}@example.com"), "name": "N" });
        t.as_(&ada, "POST", "/api/users", body).await
    };
    for number in 0..MOST {
        invite(number).await.is(201);
    }
    invite(MOST).await.refused(429, "too_many_mails");
    assert_eq!(t.number("SELECT count(*) FROM users").await, MOST + 1);
    let by_hand = json!({ "email": "hand@example.com", "name": "H", "invite": false });
    t.as_(&ada, "POST", "/api/users", by_hand).await.is(201);
}

/// R716: nothing of a role is mailed to a person who has not come to the account yet.
#[tokio::test]
async fn another_role_is_not_mailed_before_the_person_comes() {
    let (t, ada) = stage("webhook").await;
    let new = json!({ "email": "max@example.com", "name": "Max", "role": "curator" });
    let max = t.as_(&ada, "POST", "/api/users", new).await.is(201);
    for role in ["viewer", "member"] {
        let path = format!("/api/users/{}", max["id"].as_str().unwrap());
        t.as_(&ada, "PATCH", &path, json!({ "role": role })).await.is(200);
    }
    assert_eq!(t.texts("SELECT kind FROM outbox").await, ["invite"]);
}

/// R330: another role is mailed to the person, and a new admin to the other admins, also one whose account is made as one.
#[tokio::test]
async fn another_role_is_mailed_to_the_person_and_a_new_admin_to_the_others() {
    let (t, ada) = stage("webhook").await;
    let max = t.user(&ada.tenant, "max@example.com", Role::Curator).await;
    let zoe = t.user(&ada.tenant, "zoe@example.com", Role::Admin).await;
    let path = format!("/api/users/{}", max.user);
    for role in ["admin", "member"] {
        t.as_(&ada, "PATCH", &path, json!({ "role": role })).await.is(200);
    }
    let body = json!({ "email": "new@example.com", "name": "N", "role": "admin", "invite": false });
    t.as_(&ada, "POST", "/api/users", body).await.is(201);
    let by = r#""by":"ada@example.com","address":"192.0.2.1""#;
    assert_eq!(
        t.texts("SELECT kind || ' ' || recipient || ' ' || data FROM outbox ORDER BY kind DESC, recipient, data").await,
        [
            format!(r#"role_raised max@example.com {{"was":"curator","now":"admin",{by}}}"#),
            format!(r#"role_raised zoe@example.com {{"who":"max@example.com","was":"curator","now":"admin",{by}}}"#),
            format!(r#"role_raised zoe@example.com {{"who":"new@example.com","was":null,"now":"admin",{by}}}"#),
            format!(r#"role_lowered max@example.com {{"was":"admin","now":"member",{by}}}"#),
        ]
    );
    drop(zoe);
}
