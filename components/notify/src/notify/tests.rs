use common::role::Role;
use serde_json::{Value::Null, json};
use service::{
    settings::{PublicUrl, Settings},
    testing::{Actor, TestApp},
};
use store::usage::Quotas;

use crate::router;

const NOTIFY: &str = "/api/ui/notify";

async fn stage() -> (TestApp, Actor, Actor) {
    let public_url = PublicUrl::parse("https://own.example");
    let t = TestApp::with(router(), Settings { public_url, ..Settings::default() });
    let tenant = t.tenant("main").await;
    let ada = t.user(&tenant, "ada@example.com", Role::Member).await;
    let scout = t.agent(&ada, "scout", "ui.notify").await;
    (t, ada, scout)
}

/// R54, R56: the row's own id; every field as it was sent, defaults included; the source from the credential.
#[tokio::test]
async fn the_owner_is_notified() {
    let (t, ada, scout) = stage().await;
    let body = json!({
        "title": " Done ", "body": "Line 1\nLine 2", "priority": "high", "app_origin": "agent:other", "action_url": "/agents/scout",
    });
    let sent = t.as_(&scout, "POST", NOTIFY, body).await.is(201);
    assert_eq!(sent, json!({ "delivered": true, "notification_id": sent["notification_id"] }));
    let list = t.as_(&ada, "GET", "/api/notifications", Null).await.is(200);
    assert_eq!(
        list["items"],
        json!([{
            "id": sent["notification_id"], "source": "agent:scout", "agent_id": scout.agent, "app_origin": "agent:other",
            "title": "Done", "body": "Line 1\nLine 2", "priority": "high", "action_url": "/agents/scout",
            "created_at": "2026-01-02T03:04:05.000Z", "read_at": null,
        }])
    );
    let plain = t.as_(&scout, "POST", NOTIFY, json!({ "title": "a", "body": "b" })).await.is(201);
    assert_eq!(t.texts("SELECT priority FROM notifications ORDER BY priority DESC").await, ["normal", "high"]);
    assert_ne!(plain["notification_id"], sent["notification_id"]);
    t.as_(&ada, "POST", NOTIFY, json!({ "title": "a", "body": "b" })).await.refused(403, "agent_required");
}

/// R54, R55: the owner, or a user that may read the agent, and no other user.
#[tokio::test]
async fn only_a_user_that_may_read_the_agent_is_notified() {
    let (t, ada, scout) = stage().await;
    let other = t.tenant("other").await;
    let max = t.user(&ada.tenant, "max@example.com", Role::Member).await;
    let mia = t.user(&ada.tenant, "mia@example.com", Role::Admin).await;
    let eve = t.user(&other, "eve@example.com", Role::Admin).await;
    let body = |user: &str| json!({ "title": "a", "body": "b", "user": user });
    for user in ["max@example.com", max.user.as_str(), "eve@example.com", eve.user.as_str(), "nobody"] {
        t.as_(&scout, "POST", NOTIFY, body(user)).await.refused(404, "recipient_not_found");
    }
    assert_eq!(t.number("SELECT count(*) FROM notifications").await, 0);
    t.as_(&scout, "POST", NOTIFY, body("MIA@example.com")).await.is(201);
    t.grant(scout.agent.as_ref().unwrap(), &ada.tenant, max.user.as_str(), "viewer", &ada.user).await;
    t.as_(&scout, "POST", NOTIFY, body(max.user.as_str())).await.is(201);
    for (person, rows) in [(&ada, 0), (&max, 1), (&mia, 1), (&eve, 0)] {
        let list = t.as_(person, "GET", "/api/notifications", Null).await.is(200);
        assert_eq!(list["items"].as_array().unwrap().len(), rows);
    }
    t.execute("UPDATE users SET deactivated_at = 1 WHERE email = 'max@example.com'").await.unwrap();
    t.as_(&scout, "POST", NOTIFY, body("max@example.com")).await.refused(404, "recipient_not_found");
}

#[tokio::test]
async fn a_text_or_link_that_cannot_be_shown_is_refused() {
    let (t, _, scout) = stage().await;
    for (field, value, slug) in [
        ("title", "", "invalid_text"),
        ("title", &*"x".repeat(121), "invalid_text"),
        ("body", &"x".repeat(4_001), "invalid_text"),
        ("title", "a\u{202e}b", "invalid_text"),
        ("priority", "urgent", "invalid_priority"),
        ("action_url", "javascript:alert(1)", "invalid_url"),
        ("action_url", "//evil.example", "invalid_url"),
        ("action_url", "/\\evil.example", "invalid_url"),
        ("action_url", "http://example.com", "invalid_url"),
        ("action_url", "https://", "invalid_url"),
        ("action_url", "https://a@b", "invalid_url"),
        ("action_url", "https://a b.example", "invalid_url"),
        ("action_url", "https://a.example:x/", "invalid_url"),
        ("action_url", "https://-/", "invalid_url"),
        ("action_url", "https://a.example/%zz", "invalid_url"),
        ("action_url", "example.com/a", "invalid_url"),
        ("action_url", "/a b", "invalid_url"),
        ("action_url", "/..//evil.example", "invalid_url"),
        ("action_url", "/agents/../b", "invalid_url"),
        ("action_url", "/agents/.%2E/device", "invalid_url"),
        // R348: an agent leads nobody to where one is let in or decides by a click.
        ("action_url", "/device?user_code=BCDF-GHJK", "invalid_url"),
        ("action_url", "/oauth/authorize?client_id=a", "invalid_url"),
        ("action_url", "/auth/oidc/acme/login", "invalid_url"),
        ("action_url", "/login", "invalid_url"),
        ("action_url", "https://OWN.example/device?user_code=BCDF-GHJK", "invalid_url"),
        ("action_url", "https://own.example:8443/device", "invalid_url"),
        ("action_url", "https://own.example/agents/%2e%2e/device", "invalid_url"),
        // R602.
        ("action_url", "/agents/..%2f..%2Flogin", "invalid_url"),
        ("action_url", "/agents/a%5Cb", "invalid_url"),
    ] {
        let mut body = json!({ "title": "a", "body": "b" });
        body[field] = json!(value);
        t.as_(&scout, "POST", NOTIFY, body).await.refused(400, slug);
    }
    assert_eq!(t.number("SELECT count(*) FROM notifications").await, 0);
    for url in ["https://own.example/agents/scout", "/", "/access/req_1", "/guides/a#b", "https://desk.example/device"]
    {
        let body = json!({ "title": "a", "body": "b", "action_url": url });
        t.as_(&scout, "POST", NOTIFY, body).await.is(201);
    }
}

/// A field that is null counts as left out, as the page says.
#[tokio::test]
async fn null_counts_as_left_out() {
    let (t, _, scout) = stage().await;
    let body = json!({ "title": "a", "body": "b", "user": null, "app_origin": null, "action_url": null });
    t.as_(&scout, "POST", NOTIFY, body).await.is(201);
    assert_eq!(t.number("SELECT count(*) FROM notifications WHERE app_origin IS NULL AND action_url IS NULL").await, 1);
    t.as_(&scout, "POST", NOTIFY, json!({ "title": null, "body": "b" })).await.refused(422, "validation_error");
}

/// R50, R51: one key, one notification; another body is refused; one statement does it all.
#[tokio::test]
async fn a_key_notifies_once() {
    let (t, _, scout) = stage().await;
    let bearer = format!("Bearer {}", scout.token);
    let headers = [("authorization", bearer.as_str()), ("idempotency-key", "k")];
    let first = t.call("POST", NOTIFY, &headers, json!({ "title": "a", "body": "b" })).await;
    let before = t.db().statements();
    let again = t.call("POST", NOTIFY, &headers, json!({ "title": "a", "body": "b" })).await;
    assert_eq!(t.db().statements() - before, 2, "the caller and the kept answer");
    assert_eq!((first.is(201), again.header("idempotency-replayed")), (again.is(201), "true"));
    t.call("POST", NOTIFY, &headers, json!({ "title": "a", "body": "c" })).await.refused(422, "idempotency_mismatch");
    assert_eq!(t.number("SELECT count(*) FROM notifications").await, 1);
    // 24 hours later the key is free.
    t.wait(86_400);
    t.call("POST", NOTIFY, &headers, json!({ "title": "a", "body": "c" })).await.is(201);
    let before = t.db().statements();
    t.as_(&scout, "POST", NOTIFY, json!({ "title": "a", "body": "b" })).await.is(201);
    assert_eq!(t.db().statements() - before, 2, "the caller and the notification");
    // R53: the number of kept answers of one caller is bounded.
    t.execute(
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000)
         INSERT INTO idempotency SELECT randomblob(32), (SELECT id FROM agents), 'tok', x'00', 0, 201, x'00', 9e15, NULL FROM n",
    )
    .await
    .unwrap_or_else(|error| panic!("{error}"));
    let headers = [("authorization", bearer.as_str()), ("idempotency-key", "k2")];
    t.call("POST", NOTIFY, &headers, json!({ "title": "a", "body": "c" }))
        .await
        .refused(429, "too_many_idempotency_keys");
}

/// R86: a person has as many notifications as the quota allows and a few more, of which one in 32 counts them; then none, until some
/// are deleted. Others are notified.
#[tokio::test]
async fn notifications_of_a_person_are_bounded() {
    let quotas = Quotas { notifications: 10, ..Settings::default().quotas };
    let t = TestApp::with(router(), Settings { quotas, ..Settings::default() });
    let ada = t.ada().await;
    let max = t.user(&ada.tenant, "max@example.com", Role::Admin).await;
    let scout = t.agent(&ada, "scout", "ui.notify").await;
    let body = json!({ "title": "t", "body": "b" });
    let mut sent = 0;
    let refused = loop {
        let answer = t.as_(&scout, "POST", NOTIFY, body.clone()).await;
        if answer.status.as_u16() != 201 {
            break answer;
        }
        sent += 1;
        assert!(sent < 400, "no end");
    };
    let refused = refused.refused(409, "quota_reached");
    assert_eq!((&refused["quota"], &refused["limit"]), (&json!("notifications"), &json!(10)));
    // R679: whole sentences, also for an agent, whose fixes are fitted.
    let fix = refused["fix"].as_str().unwrap();
    assert!(fix.contains("can delete notifications") && !fix.contains("which") && !fix.contains(" /"), "{fix}");
    for _ in 0..40 {
        t.as_(&scout, "POST", NOTIFY, body.clone()).await.refused(409, "quota_reached");
    }
    t.as_(&scout, "POST", NOTIFY, json!({ "title": "t", "body": "b", "user": "max@example.com" })).await.is(201);
    t.as_(&scout, "POST", NOTIFY, json!({ "title": "t", "body": "b", "user": "no@example.com" }))
        .await
        .refused(404, "recipient_not_found");
    assert_eq!(t.number("SELECT count(*) FROM notifications").await, sent + 1);
    for id in t.texts(&format!("SELECT id FROM notifications WHERE user_id <> '{}'", max.user)).await {
        t.as_(&ada, "DELETE", &format!("/api/notifications/{id}"), Null).await.is(204);
    }
    t.as_(&scout, "POST", NOTIFY, body).await.is(201);
}

/// R86: what others send a person, and what the server tells them, leaves room for what the person's own agents send. The server's own
/// takes none of it; agents of others, and a credential that an editor issued, use at most half.
#[tokio::test]
async fn others_leave_room_for_a_persons_own_agents() {
    let quotas = Quotas { notifications: 100, ..Settings::default().quotas };
    let t = TestApp::with(router(), Settings { quotas, ..Settings::default() });
    let ada = t.ada().await;
    let max = t.user(&ada.tenant, "max@example.com", Role::Member).await;
    let (scout, other) = (t.agent(&ada, "scout", "ui.notify").await, t.agent(&max, "other", "ui.notify").await);
    let lent = t.lent(&t.agent(&ada, "lent", "ui.notify").await, &max, "ui.notify").await;
    t.execute(&format!(
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 200)
         INSERT INTO notifications (id, tenant_id, user_id, source, title, body, priority, created_at)
         SELECT 'ntf_' || i, '{}', '{}', 'accredit', 't', 'b', 'high', 0 FROM n",
        ada.tenant, ada.user
    ))
    .await
    .unwrap();
    let body = json!({ "title": "t", "body": "b", "user": "ada@example.com" });
    let until_refused = async |by: &Actor| {
        for sent in 0..1_000 {
            let answer = t.as_(by, "POST", NOTIFY, body.clone()).await;
            if answer.status.as_u16() != 201 {
                answer.refused(409, "quota_reached");
                return sent;
            }
        }
        panic!("no end");
    };
    let of_others = until_refused(&other).await;
    assert!((50..250).contains(&of_others), "{of_others}");
    assert_eq!(until_refused(&lent).await, 0);
    t.execute("DELETE FROM notifications WHERE source <> 'accredit'").await.unwrap();
    t.execute("UPDATE users SET is_notified_enough = 0, is_notified_enough_by_others = 1").await.unwrap();
    assert_eq!(until_refused(&other).await, 0);
    assert!(until_refused(&scout).await >= 100);
}
