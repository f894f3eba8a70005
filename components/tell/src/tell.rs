//! `POST /api/ui/notify`: an agent tells its owner, or a user who may read it, something. One hot statement: the row, whether
//! there is such a recipient, and the kept answer.

use axum::{
    http::StatusCode,
    response::{IntoResponse, Response},
};
use common::{
    caller::Caller,
    db::DbError,
    error::{ApiError, Code},
    form,
    form::{Ask, OrNull},
    http::{App, prose, text},
    id::NotificationId,
    idempotency::{Answer, KEPT_FOR},
    store::notification::{self, New},
};
use serde::Serialize;

form! {
    pub(crate) struct Notify {
        title: String,
        body: String,
        priority: Option<String>,
        app_origin: Option<OrNull<String>>,
        action_url: Option<OrNull<String>>,
        user: Option<OrNull<String>>,
    }
}

#[derive(Serialize)]
struct Delivered<'a> {
    delivered: bool,
    notification_id: &'a NotificationId,
}

/// The handler.
pub(crate) async fn notify(app: App, caller: Caller, ask: Ask<Notify>) -> Result<Response, ApiError> {
    let body = ask.body;
    let (title, message) = (text("title", &body.title, 120)?, prose("body", &body.body, 4_000)?);
    let priority = body.priority.as_deref().unwrap_or("normal");
    if !["low", "normal", "high"].contains(&priority) {
        return Err(Code::InvalidPriority.into());
    }
    let sent = [body.app_origin, body.action_url, body.user].map(|sent| sent.and_then(|OrNull(text)| text));
    let [app_origin, action_url, user] = sent.each_ref().map(Option::as_deref);
    let app_origin = app_origin.map(|origin| text("app_origin", origin, 200)).transpose()?;
    if action_url.is_some_and(|url| !is_link(url)) {
        return Err(Code::InvalidUrl.with("field", "action_url"));
    }
    if let Some(request) = &ask.kept
        && let Some(answer) = request.replayed(&app, app.db(), &caller).await?
    {
        return Ok(answer);
    }
    let id = NotificationId::generate(app.now(), app.chance());
    let answer = Answer::json(StatusCode::CREATED, &Delivered { delivered: true, notification_id: &id })?;
    let kept = match &ask.kept {
        None => None,
        Some(request) => Some((request.digest(), request.seal(&app, &caller, &answer)?)),
    };
    let new = New {
        id: &id,
        title: &title,
        body: &message,
        priority,
        app_origin: app_origin.as_deref(),
        action_url,
        user: user.map(str::trim),
        now: app.now(),
        kept,
    };
    match notification::notify(app.db(), &caller, &new, app.now().plus_seconds(KEPT_FOR)).await {
        Ok(true) => Ok(answer.into_response()),
        Ok(false) if new.kept.is_some() && common::store::kept::is_full(app.db(), &caller).await? => {
            Err(Code::TooManyKeys.into())
        }
        Ok(false) => Err(Code::RecipientNotFound.into()),
        // A racing request with the same key was first: its row made the whole statement fail.
        Err(error @ DbError::Unavailable(_)) => match &ask.kept {
            Some(request) => request.replayed(&app, app.db(), &caller).await?.ok_or_else(|| error.into()),
            None => Err(error.into()),
        },
        Err(error) => Err(error.into()),
    }
}

/// An https URL or a path of this site: nothing that a browser would run or that leads elsewhere unseen.
fn is_link(url: &str) -> bool {
    let is_plain = url.len() <= 2_000
        && url.bytes().all(|b| (0x21..0x7f).contains(&b) && !matches!(b, b'"' | b'<' | b'>' | b'\\'));
    // No empty and no dot segment: what a browser makes of them may lead away.
    let path = url.split(['?', '#']).next().unwrap_or_default();
    let is_local =
        url.starts_with('/') && !path.contains("//") && !path.split('/').any(|part| matches!(part, "." | ".."));
    let is_https = url.strip_prefix("https://").is_some_and(|rest| {
        let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
        !host.is_empty() && !host.contains('@')
    });
    is_plain && (is_local || is_https)
}

#[cfg(test)]
mod tests {
    use common::{
        scope::Role,
        testing::{Actor, TestApp},
    };
    use serde_json::{Value::Null, json};

    use crate::with_neighbours;

    const NOTIFY: &str = "/api/ui/notify";

    async fn stage() -> (TestApp, Actor, Actor) {
        let t = TestApp::new(with_neighbours());
        let tenant = t.tenant("main").await;
        let ada = t.user(&tenant, "ada@example.com", Role::Member).await;
        let scout = t.agent(&ada, "scout", "ui.notify").await;
        (t, ada, scout)
    }

    /// R54, R56: the row's own id; every field as it was sent, defaults included; the source from the credential.
    #[tokio::test]
    async fn the_owner_is_told() {
        let (t, ada, scout) = stage().await;
        let ask = json!({
            "title": " Done ", "body": "Line 1\nLine 2", "priority": "high", "app_origin": "agent:other", "action_url": "/agents/scout",
        });
        let told = t.as_(&scout, "POST", NOTIFY, ask).await.is(201);
        assert_eq!(told, json!({ "delivered": true, "notification_id": told["notification_id"] }));
        let list = t.as_(&ada, "GET", "/api/notifications", Null).await.is(200);
        assert_eq!(
            list["items"],
            json!([{
                "id": told["notification_id"], "source": "agent:scout", "agent_id": scout.agent, "app_origin": "agent:other",
                "title": "Done", "body": "Line 1\nLine 2", "priority": "high", "action_url": "/agents/scout",
                "created_at": "2026-01-02T03:04:05.000Z", "read_at": null,
            }])
        );
        let plain = t.as_(&scout, "POST", NOTIFY, json!({ "title": "a", "body": "b" })).await.is(201);
        assert_eq!(t.texts("SELECT priority FROM notifications ORDER BY priority DESC").await, ["normal", "high"]);
        assert_ne!(plain["notification_id"], told["notification_id"]);
        t.as_(&ada, "POST", NOTIFY, json!({ "title": "a", "body": "b" })).await.refused(403, "agent_required");
    }

    /// R54, R55: to the owner, or to a user who may read the agent, and to nobody else.
    #[tokio::test]
    async fn only_who_may_read_the_agent_is_told() {
        let (t, ada, scout) = stage().await;
        let other = t.tenant("other").await;
        let max = t.user(&ada.tenant, "max@example.com", Role::Member).await;
        let mia = t.user(&ada.tenant, "mia@example.com", Role::Admin).await;
        let eve = t.user(&other, "eve@example.com", Role::Admin).await;
        let ask = |user: &str| json!({ "title": "a", "body": "b", "user": user });
        for user in ["max@example.com", max.user.as_str(), "eve@example.com", eve.user.as_str(), "nobody"] {
            t.as_(&scout, "POST", NOTIFY, ask(user)).await.refused(404, "recipient_not_found");
        }
        assert_eq!(t.number("SELECT count(*) FROM notifications").await, 0);
        t.as_(&scout, "POST", NOTIFY, ask("MIA@example.com")).await.is(201);
        t.grant(scout.agent.as_ref().unwrap(), &ada.tenant, max.user.as_str(), "viewer", &ada.user).await;
        t.as_(&scout, "POST", NOTIFY, ask(max.user.as_str())).await.is(201);
        for (person, rows) in [(&ada, 0), (&max, 1), (&mia, 1), (&eve, 0)] {
            let list = t.as_(person, "GET", "/api/notifications", Null).await.is(200);
            assert_eq!(list["items"].as_array().unwrap().len(), rows);
        }
        t.execute("UPDATE users SET deactivated_at = 1 WHERE email = 'max@example.com'").await.unwrap();
        t.as_(&scout, "POST", NOTIFY, ask("max@example.com")).await.refused(404, "recipient_not_found");
    }

    #[tokio::test]
    async fn what_cannot_be_shown_is_refused() {
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
            ("action_url", "/a b", "invalid_url"),
            ("action_url", "/..//evil.example", "invalid_url"),
            ("action_url", "/a/../b", "invalid_url"),
        ] {
            let mut ask = json!({ "title": "a", "body": "b" });
            ask[field] = json!(value);
            t.as_(&scout, "POST", NOTIFY, ask).await.refused(400, slug);
        }
        assert_eq!(t.number("SELECT count(*) FROM notifications").await, 0);
    }

    /// Null is what was left out, as the page says.
    #[tokio::test]
    async fn null_is_left_out() {
        let (t, _, scout) = stage().await;
        let body = json!({ "title": "a", "body": "b", "user": null, "app_origin": null, "action_url": null });
        t.as_(&scout, "POST", NOTIFY, body).await.is(201);
        assert_eq!(
            t.number("SELECT count(*) FROM notifications WHERE app_origin IS NULL AND action_url IS NULL").await,
            1
        );
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
        t.call("POST", NOTIFY, &headers, json!({ "title": "a", "body": "c" }))
            .await
            .refused(422, "idempotency_mismatch");
        assert_eq!(t.number("SELECT count(*) FROM notifications").await, 1);
        // 24 hours later the key is free.
        t.wait(86_400);
        t.call("POST", NOTIFY, &headers, json!({ "title": "a", "body": "c" })).await.is(201);
        let before = t.db().statements();
        t.as_(&scout, "POST", NOTIFY, json!({ "title": "a", "body": "b" })).await.is(201);
        assert_eq!(t.db().statements() - before, 2, "the caller and the notification");
        // R53: what one caller can keep is bounded.
        t.execute(
            "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000)
             INSERT INTO idempotency SELECT randomblob(32), (SELECT id FROM agents), 'tok', x'00', 0, 201, x'00', 9e15 FROM n",
        )
        .await
        .unwrap_or_else(|error| panic!("{error}"));
        let headers = [("authorization", bearer.as_str()), ("idempotency-key", "k2")];
        t.call("POST", NOTIFY, &headers, json!({ "title": "a", "body": "c" }))
            .await
            .refused(429, "too_many_idempotency_keys");
    }
}
