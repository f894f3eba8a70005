use common::role::Role;
use serde_json::Value as Json;
use service::{settings::Settings, testing::TestApp};

use super::*;
use crate::router;

const LINK: &str = "/auth/email/link";
const FORGOT: &str = "/auth/forgot";

fn with_mail(public_url: &'static str) -> TestApp {
    let settings = Settings::read(|name| match name {
        "mail_provider" => Some("webhook".to_owned()),
        "public_url" => Some(public_url.to_owned()),
        _ => None,
    });
    TestApp::with(router(), settings.unwrap())
}

async fn stage() -> TestApp {
    let t = with_mail("https://accredit.example/acme");
    let tenant = t.tenant("main").await;
    t.user(&tenant, "Ada@example.com", Role::Admin).await;
    t
}

/// R24: nothing of a request depends on whether its address has an account: neither the answer nor a single statement.
#[tokio::test]
async fn a_known_and_an_unknown_address_are_one_answer_and_one_amount_of_work() {
    let t = stage().await;
    t.execute(
        "INSERT INTO users (id, tenant_id, email, email_key, name, role, created_at, deactivated_at)
               SELECT 'usr_idle', id, 'idle@example.com', 'idle@example.com', 'Idle', 'member', 0, 1 FROM tenants",
    )
    .await
    .unwrap();
    for path in [LINK, FORGOT] {
        t.execute("DELETE FROM attempts").await.unwrap();
        let mut seen = Vec::new();
        for (email, tenant) in [
            ("ada@example.com", Json::Null),
            ("nobody@example.com", Json::Null),
            ("idle@example.com", Json::Null),
            ("ada@example.com", json!("main")),
            ("ada@example.com", json!("nowhere")),
        ] {
            let before = t.db().statements();
            let answer = t.nobody("POST", path, json!({ "email": email, "tenant": tenant })).await;
            answer.is(204);
            let mut headers = answer.headers.clone();
            headers.remove("x-request-id");
            seen.push((t.db().statements() - before, headers, answer.text));
        }
        assert!(seen.windows(2).all(|pair| pair[0] == pair[1]), "{seen:?}");
    }
    assert_eq!(t.number("SELECT count(*) FROM mail_requests").await, 10);
    assert_eq!(t.number("SELECT (SELECT count(*) FROM outbox) + (SELECT count(*) FROM codes)").await, 0, "not yet");
}

/// R663: a mail to set a new password leads on as well.
#[tokio::test]
async fn a_request_keeps_what_was_sent_and_from_where() {
    let t = stage().await;
    t.nobody("POST", LINK, json!({ "email": "ADA@Example.com", "next": "/agents?q=a" })).await.is(204);
    t.nobody("POST", FORGOT, json!({ "email": "ada@example.com", "tenant": "main" })).await.is(204);
    t.nobody("POST", FORGOT, json!({ "email": "ada@example.com", "next": "/device" })).await.is(204);
    assert_eq!(
        t.texts("SELECT kind || ' ' || ifnull(tenant, '-') || ' ' || email_key || ' ' || address || ' ' || data FROM mail_requests").await,
        [
            "link - ada@example.com 192.0.2.1 {\"next\":\"/agents?q=a\",\"base\":\"https://accredit.example/acme\",\"address\":\"192.0.2.1\"}",
            "reset main ada@example.com 192.0.2.1 {\"base\":\"https://accredit.example/acme\",\"address\":\"192.0.2.1\"}",
            "reset - ada@example.com 192.0.2.1 {\"next\":\"/device\",\"base\":\"https://accredit.example/acme\",\"address\":\"192.0.2.1\"}",
        ]
    );
}

/// R27: `next` leads nowhere else, whatever is sent.
#[tokio::test]
async fn next_is_a_path_of_this_site() {
    let t = stage().await;
    for next in ["https://evil.example", "//evil.example", "/%5cevil.example", "javascript:alert(1)", ""] {
        for path in [LINK, FORGOT] {
            t.nobody("POST", path, json!({ "email": "ada@example.com", "next": next })).await.is(204);
        }
        t.execute("DELETE FROM attempts").await.unwrap();
    }
    assert_eq!(t.number("SELECT count(*) FROM mail_requests WHERE data ->> 'next' = '/'").await, 10);
}

/// R93: a link leads to `public_url`; without it, to the host of the request only if that is a loopback host. Nobody else's host gets
/// into a mail, whatever headers are sent.
#[tokio::test]
async fn a_host_header_poisons_no_link() {
    let poisoned =
        [("host", "evil.example"), ("x-forwarded-host", "evil.example"), ("spin-full-url", "https://evil.example/")];
    let body = json!({ "email": "ada@example.com" });
    let t = stage().await;
    t.call("POST", FORGOT, &poisoned, body.clone()).await.is(204);
    assert_eq!(t.texts("SELECT data ->> 'base' FROM mail_requests").await, ["https://accredit.example/acme"]);
    let t = with_mail("");
    for headers in [
        &poisoned[..],
        &[("host", "127.0.0.1.evil.example")],
        &[("host", "localhost:80@evil.example")],
        &[("host", "localhost:")],
        &[("host", "localhost/evil")],
    ] {
        // The first header of a name counts, so the harness's own must not be there.
        let mut request = http::Request::post(FORGOT).header("content-type", "application/json");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(service::body::RequestBody::from(body.to_string())).unwrap();
        t.send(request).await.refused(503, "public_url_missing");
    }
    assert_eq!(t.number("SELECT count(*) FROM mail_requests").await, 0);
    t.nobody("POST", FORGOT, body).await.is(204);
    assert_eq!(t.texts("SELECT data ->> 'base' FROM mail_requests").await, ["http://127.0.0.1:3000"]);
}

/// R92: one address gets few mails that it did not ask for, from one network and from all; others still get theirs.
#[tokio::test]
async fn mails_are_bounded_by_address_and_by_network() {
    let t = stage().await;
    let ask = async |email: &str, from: &str, path: &str| {
        t.call("POST", path, &[("spin-client-addr", from)], json!({ "email": email })).await
    };
    for number in 0..5 {
        let (email, path) = if number % 2 == 0 { ("ada@example.com", LINK) } else { ("ADA@example.com", FORGOT) };
        ask(email, "192.0.2.1:1", path).await.is(204);
    }
    let refused = ask("ada@example.com", "192.0.2.1:1", LINK).await;
    refused.refused(429, "too_many_mails");
    assert_eq!(refused.header("retry-after"), "600");
    ask("max@example.com", "192.0.2.1:1", LINK).await.is(204);
    for number in 2..7 {
        ask("ada@example.com", &format!("192.0.2.{number}:1"), FORGOT).await.is(204);
    }
    // What others asked for is no refusal: the worker knows by the network whom it mails all the same.
    let number = t.number("SELECT count(*) FROM mail_requests WHERE data ->> 'network' IS NOT NULL").await;
    assert_eq!(number, 0);
    ask("ada@example.com", "192.0.2.9:1", FORGOT).await.is(204);
    let network = "SELECT data ->> 'network' FROM mail_requests WHERE data ->> 'network' IS NOT NULL";
    assert_eq!(t.texts(network).await, ["192.0.2.9"]);
    t.wait(3_600);
    ask("ada@example.com", "192.0.2.9:1", FORGOT).await.is(204);
    for number in 0..30 {
        ask(&format!("n{number}@example.com"), "198.51.100.1:1", LINK).await.is(204);
    }
    ask("n31@example.com", "198.51.100.1:1", LINK).await.refused(429, "too_many_mails");
    ask("n31@example.com", "198.51.100.2:1", LINK).await.is(204);
}

#[tokio::test]
async fn what_cannot_be_mailed_is_refused_and_nothing_is_stored() {
    let t = stage().await;
    for (body, status, slug) in [
        (json!({}), 422, "validation_error"),
        (json!({ "email": 1 }), 422, "validation_error"),
        (json!({ "email": "ada@example.com", "to": "x" }), 422, "validation_error"),
        (json!({ "email": "ada" }), 400, "invalid_email"),
        (json!({ "email": "a@example.com, b@example.com" }), 400, "invalid_email"),
        (json!({ "email": "ada@example.com\r\nbcc: eve@example.com" }), 400, "invalid_email"),
        (json!({ "email": "ada@example.com", "tenant": "No Slug" }), 400, "invalid_tenant"),
    ] {
        for path in [LINK, FORGOT] {
            t.nobody("POST", path, body.clone()).await.refused(status, slug);
        }
    }
    assert_eq!(t.number("SELECT (SELECT count(*) FROM mail_requests) + (SELECT count(*) FROM attempts)").await, 0);
    let without = TestApp::new(router());
    for path in [LINK, FORGOT] {
        without.nobody("POST", path, json!({ "email": "ada@example.com" })).await.refused(503, "mail_disabled");
    }
}
