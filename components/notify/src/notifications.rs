//! A person's own notifications. No other person's are ever counted, shown or changed: each statement names the person.

use common::{
    error::{ApiError, Code},
    text::{moment, part},
};
use http::StatusCode;
use schemars::JsonSchema;
use serde::Serialize;
use service::{
    app::App,
    caller::Caller,
    extract::{Body, Empty, Path, Query},
    form,
    form::PageQuery,
    headers::Headers,
    response::{Fresh, Response, json, no_content},
};
use store::notification;

use crate::notify::PRIORITIES;

form! {
    pub(crate) struct List {
        unread_only: Option<bool>,
        since: Option<String>,
        q: Option<String>,
        priority: Option<String>,
        ..page: PageQuery,
    }
}

/// `GET /api/notifications`: the caller's own, the newest first.
pub(crate) async fn list(
    app: App,
    caller: Caller,
    headers: Headers,
    Query(query): Query<List>,
) -> Result<Response, ApiError> {
    let since = query.since.as_deref().map(|since| moment("since", since)).transpose()?;
    let q = part(query.q.as_deref())?;
    let priority = query.priority.as_deref();
    if priority.is_some_and(|word| !PRIORITIES.contains(&word)) {
        return Err(Code::InvalidFilter.with("field", "priority").with("valid", PRIORITIES.join(", ")));
    }
    let unread_only = query.unread_only.unwrap_or(false);
    let filter = notification::Filter { q: q.as_deref(), priority, unread_only, since };
    let page = caller.page(&app, &query.page)?;
    let rows = notification::list(app.db(), caller.user_id(), &filter, &page).await?;
    tagged(&headers, &page.page(rows, |row| (row.created_at, row.id.to_string())))
}

/// `GET /api/notifications/count`: how many, and how many of them unread.
pub(crate) async fn count(app: App, caller: Caller, headers: Headers) -> Result<Response, ApiError> {
    let count = notification::count(app.db(), caller.user_id()).await?;
    tagged(&headers, &count.ok_or_else(|| ApiError::from(Code::Internal).cause("no count"))?)
}

/// A JSON answer with an entity tag.
fn tagged(headers: &Headers, form: &impl Serialize) -> Result<Response, ApiError> {
    let text = serde_json::to_string(form).map_err(|error| ApiError::from(Code::Internal).cause(error))?;
    Ok(Fresh::new(text).answer(headers, StatusCode::OK, "application/json"))
}

/// `POST /api/notifications/{id}/read`: marks one as read. Repeated, it keeps the first time.
pub(crate) async fn read(app: App, caller: Caller, Path(id): Path, _: Body<Empty>) -> Result<Response, ApiError> {
    let marked = notification::mark_read(app.db(), caller.user_id(), &id, app.now()).await?;
    json(StatusCode::OK, &marked.ok_or(Code::NotificationNotFound)?)
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "MarkedAsRead")]
pub(crate) struct Marked {
    read: usize,
}

form! {
    pub(crate) struct ReadAll {
        until: Option<String>,
    }
}

/// `POST /api/notifications/read-all`: marks all of the caller's own as read, or those from before `until`: what somebody has seen.
pub(crate) async fn read_all(app: App, caller: Caller, Body(body): Body<ReadAll>) -> Result<Response, ApiError> {
    let until = body.until.as_deref().map(|until| moment("until", until)).transpose()?;
    let read = notification::mark_all_read(app.db(), caller.user_id(), until, app.now()).await?;
    json(StatusCode::OK, &Marked { read })
}

/// `DELETE /api/notifications/{id}`: deletes one of the caller's own.
pub(crate) async fn delete(app: App, caller: Caller, Path(id): Path, _: Body<Empty>) -> Result<Response, ApiError> {
    match notification::delete(app.db(), caller.user_id(), &id).await? {
        true => {
            notification::is_no_more_enough(app.db(), caller.user_id()).await?;
            Ok(no_content())
        }
        false => Err(Code::NotificationNotFound.into()),
    }
}

#[cfg(test)]
mod tests {
    use common::role::Role;
    use serde_json::{Value as Json, Value::Null, json};
    use service::testing::TestApp;

    use crate::router;

    const ALL: &str = "/api/notifications";

    /// R55: list, count, read and delete affect the caller's own only; another person's id is an absent one.
    #[tokio::test]
    async fn people_are_kept_apart() {
        let t = TestApp::new(router());
        let tenant = t.tenant("main").await;
        let ada = t.user(&tenant, "ada@example.com", Role::Member).await;
        let max = t.user(&tenant, "max@example.com", Role::Admin).await;
        let scout = t.agent(&ada, "scout", "ui.notify").await;
        let mut ids = Vec::new();
        for title in ["one", "two", "three"] {
            let sent = t.as_(&scout, "POST", "/api/ui/notify", json!({ "title": title, "body": "b" })).await.is(201);
            ids.push(sent["notification_id"].as_str().unwrap().to_owned());
            t.wait(1);
        }
        assert_eq!(t.as_(&max, "GET", ALL, Null).await.is(200)["items"], json!([]));
        for (method, tail) in [("POST", "/read"), ("DELETE", "")] {
            let mut answers = Vec::new();
            for id in [ids[0].as_str(), "ntf_nothing"] {
                let before = t.db().statements();
                let answer = t.as_(&max, method, &format!("{ALL}/{id}{tail}"), Null).await;
                let mut body = answer.refused(404, "notification_not_found");
                body["request_id"] = Null;
                answers.push((body, t.db().statements() - before));
            }
            assert_eq!(answers[0], answers[1]);
        }
        assert_eq!(t.as_(&max, "POST", &format!("{ALL}/read-all"), Null).await.is(200), json!({ "read": 0 }));
        // R356: what has come since somebody looked stays unread.
        let seen = json!({ "until": "2026-01-02T03:04:05Z" });
        assert_eq!(t.as_(&ada, "POST", &format!("{ALL}/read-all"), seen).await.is(200), json!({ "read": 0 }));
        let body = json!({ "until": "lately" });
        t.as_(&ada, "POST", &format!("{ALL}/read-all"), body).await.refused(400, "invalid_time");
        assert_eq!(t.as_(&ada, "GET", &format!("{ALL}/count"), Null).await.is(200), json!({ "unread": 3, "total": 3 }));

        let read = t.as_(&ada, "POST", &format!("{ALL}/{}/read", ids[0]), Null).await.is(200);
        t.wait(9);
        assert_eq!(t.as_(&ada, "POST", &format!("{ALL}/{}/read", ids[0]), Null).await.is(200), read);
        let titles = async |query: &str| -> Vec<Json> {
            let page = t.as_(&ada, "GET", &format!("{ALL}?{query}"), Null).await.is(200);
            page["items"].as_array().unwrap().iter().map(|item| item["title"].clone()).collect()
        };
        assert_eq!(titles("unread_only=true").await, [json!("three"), json!("two")]);
        assert_eq!(titles("since=2026-01-02T03:04:06Z").await, [json!("three"), json!("two")]);
        t.as_(&ada, "DELETE", &format!("{ALL}/{}", ids[2]), Null).await.is(204);
        t.as_(&ada, "DELETE", &format!("{ALL}/{}", ids[2]), Null).await.refused(404, "notification_not_found");
        assert_eq!(t.as_(&ada, "POST", &format!("{ALL}/read-all"), Null).await.is(200), json!({ "read": 1 }));
        assert_eq!(t.as_(&ada, "GET", &format!("{ALL}/count"), Null).await.is(200), json!({ "unread": 0, "total": 2 }));
        t.as_(&ada, "GET", &format!("{ALL}?since=now"), Null).await.refused(400, "invalid_time");
        t.as_(&ada, "GET", &format!("{ALL}?unread_only=maybe"), Null).await.refused(422, "validation_error");
        t.as_(&scout, "GET", ALL, Null).await.refused(403, "person_required");
    }

    #[tokio::test]
    async fn since_includes_its_own_moment() {
        let t = TestApp::new(router());
        let ada = t.ada().await;
        let scout = t.agent(&ada, "scout", "ui.notify").await;
        t.as_(&scout, "POST", "/api/ui/notify", json!({ "title": "one", "body": "b" })).await.is(201);
        for (since, count) in [("05.000Z", 1), ("05Z", 1), ("05.001Z", 0), ("04.999Z", 1)] {
            let page = t.as_(&ada, "GET", &format!("{ALL}?since=2026-01-02T03:04:{since}"), Null).await.is(200);
            assert_eq!(page["items"].as_array().unwrap().len(), count, "{since}");
        }
    }

    #[tokio::test]
    async fn an_unchanged_answer_is_304() {
        let t = TestApp::new(router());
        let tenant = t.tenant("main").await;
        let ada = t.user(&tenant, "ada@example.com", Role::Member).await;
        let scout = t.agent(&ada, "scout", "ui.notify").await;
        let bearer = format!("Bearer {}", ada.token);
        for path in [ALL.to_owned(), format!("{ALL}/count")] {
            let tag = t.as_(&ada, "GET", &path, Null).await.header("etag").to_owned();
            let headers = [("authorization", bearer.as_str()), ("if-none-match", tag.as_str())];
            let same = t.call("GET", &path, &headers, Null).await;
            assert_eq!((same.status.as_u16(), same.text.as_str(), same.header("etag")), (304, "", tag.as_str()));
            t.as_(&scout, "POST", "/api/ui/notify", json!({ "title": "a", "body": "b" })).await.is(201);
            assert_ne!(t.call("GET", &path, &headers, Null).await.header("etag"), tag);
        }
    }
}
