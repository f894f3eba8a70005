//! An agent's inbox: numbered events, delivered in order and at least once, until the agent acknowledges them by the last id.

use common::{
    error::{ApiError, Code},
    route::Route,
    scope::Scope,
    time::Timestamp,
};
use http::StatusCode;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value as Json;
use service::{
    app::App,
    caller::Caller,
    enrolment::without_code,
    extract::{Body, Query},
    form, guard,
    response::{Response, json},
    watch::Watch,
};
use store::inbox::{self, Event};

form! {
    pub(crate) struct Read {
        after: Option<String>,
        wait: Option<i64>,
        limit: Option<i64>,
    }
}

/// An event as it is answered.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Event")]
pub(crate) struct Shown {
    pub(crate) id: String,
    pub(crate) r#type: String,
    at: Timestamp,
    data: Json,
}

impl Shown {
    /// The event as this caller may see it. Any credential of an agent reads its inbox, but a code for the token of an agent below is for
    /// those that deploy.
    pub(crate) fn to(caller: &Caller, event: Event) -> Self {
        let may_deploy = caller.scope().contains(Scope::AgentsDeploy);
        let data = if may_deploy { event.data } else { without_code(&event.kind, event.data) };
        Self { id: inbox::id(event.seq), r#type: event.kind, at: event.at, data }
    }
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Events")]
pub(crate) struct Page {
    items: Vec<Shown>,
    /// The last id of the page: `after` for the next one, `upto` to acknowledge this one. Of an empty page: the `after`
    /// of the request, or the place before the first event.
    cursor: String,
}

/// The number in an event's id.
pub(crate) fn number(id: &str) -> Result<i64, ApiError> {
    inbox::seq(id).ok_or_else(|| Code::InvalidEvent.into())
}

/// Refuses a place behind the agent's last event. Nothing is there until so many events have come, and those would be missed: as by an agent
/// that still has a place from before the database was restored.
pub(crate) async fn check_place(app: &App, caller: &Caller, place: i64) -> Result<(), ApiError> {
    if place == 0 {
        return Ok(());
    }
    let agent = caller.agent_id().ok_or(Code::AgentRequired)?;
    let last = inbox::last(app.db(), agent).await?;
    if place <= last {
        return Ok(());
    }
    let detail = format!(
        "Your last event is {}: {} was never sent, or the server was restored from a backup.",
        inbox::id(last),
        inbox::id(place)
    );
    let fix = "Read your inbox from its beginning, without after and without Last-Event-ID, and go on with the ids that you get.";
    Err(Code::InvalidEvent.detail(detail).fix(fix))
}

/// The events behind `after`, the oldest first. One statement decides whether the credential is still live, and reads them.
pub(crate) async fn look(
    app: &App,
    caller: &Caller,
    route: &Route,
    after: i64,
    limit: i64,
) -> Result<Vec<Event>, ApiError> {
    let now = app.clock().now();
    match inbox::read(app.db(), &caller.digest(), now, after, limit).await? {
        Some(events) => Ok(events),
        None => {
            // It has ended since the guard let it in; look why.
            guard::stay(&caller.reload(app.db(), now).await?, route)?;
            Err(Code::InvalidToken.into())
        }
    }
}

/// `GET /api/agents/me/inbox?after=&wait=`: the events behind `after`. With `wait` it answers as soon as there is one, or when that many
/// seconds are over.
pub(crate) async fn read(
    app: App,
    route: &'static Route,
    caller: Caller,
    Query(query): Query<Read>,
) -> Result<Response, ApiError> {
    let after = query.after.as_deref().map(number).transpose()?.unwrap_or(0);
    let limit = query.limit.unwrap_or(50);
    if !(1..=200).contains(&limit) {
        return Err(Code::InvalidLimit.into());
    }
    let mut watch = Watch::begin(&app, &caller, query.wait).await?.of_inbox(caller.agent_id());
    let mut is_checked = false;
    loop {
        let events = look(&app, &caller, route, after, limit).await?;
        if events.is_empty() && !is_checked {
            check_place(&app, &caller, after).await?;
            is_checked = true;
        }
        if !events.is_empty() || watch.is_over() {
            let items: Vec<Shown> = events.into_iter().map(|event| Shown::to(&caller, event)).collect();
            let cursor = items.last().map(|event| event.id.clone()).unwrap_or_else(|| inbox::id(after));
            return json(StatusCode::OK, &Page { items, cursor });
        }
        watch.wait(&app).await?;
    }
}

form! {
    pub(crate) struct Acknowledge {
        upto: String,
    }
}

#[derive(Serialize, JsonSchema)]
pub(crate) struct Acknowledged {
    acknowledged: usize,
    unread: i64,
}

/// `POST /api/agents/me/inbox/ack` `{upto}`: deletes all events up to this one. Repeated, it finds nothing more to delete.
pub(crate) async fn acknowledge(app: App, caller: Caller, Body(body): Body<Acknowledge>) -> Result<Response, ApiError> {
    let upto = number(&body.upto)?;
    let agent = caller.agent_id().ok_or(Code::AgentRequired)?;
    caller.check_for_itself(app.db()).await?;
    // A number that was never given out would delete later events unread.
    check_place(&app, &caller, upto).await?;
    let acknowledged = inbox::acknowledge(app.db(), agent, upto).await?;
    let unread = inbox::unread(app.db(), agent).await?;
    json(StatusCode::OK, &Acknowledged { acknowledged, unread })
}

#[cfg(test)]
mod tests {
    use common::{role::Role, secret::Kind};
    use serde_json::{Value::Null, json};
    use service::testing::{Actor, TestApp};

    use crate::router;

    const INBOX: &str = "/api/agents/me/inbox";
    const MESSAGES: &str = "/api/agents/scout/messages";

    async fn stage() -> (TestApp, Actor, Actor) {
        let t = TestApp::new(router());
        let tenant = t.tenant("main").await;
        let ada = t.user(&tenant, "ada@example.com", Role::Member).await;
        let scout = t.agent(&ada, "scout", "agents.message agents.read").await;
        (t, ada, scout)
    }

    /// R57: in order, with ids, repeatedly until they are acknowledged, and never after.
    #[tokio::test]
    async fn messages_are_read_in_order_until_they_are_acknowledged() {
        let (t, ada, scout) = stage().await;
        let mut ids = Vec::new();
        for text in ["one", "two", "three"] {
            let sent = t.as_(&ada, "POST", MESSAGES, json!({ "text": text, "data": { "n": 1 } })).await.is(201);
            ids.push(sent["id"].as_str().unwrap().to_owned());
        }
        let page = t.as_(&scout, "GET", INBOX, Null).await.is(200);
        assert_eq!(
            page["items"][0],
            json!({
                "id": ids[0], "type": "message", "at": "2026-01-02T03:04:05.000Z",
                "data": { "from": { "kind": "user", "id": ada.user, "name": "ada@example.com" }, "text": "one", "data": { "n": 1 } },
            })
        );
        assert_eq!(page["cursor"], json!(ids[2]));
        let rest = t.as_(&scout, "GET", &format!("{INBOX}?after={}&limit=1", ids[0]), Null).await.is(200);
        assert_eq!((&rest["items"][0]["id"], &rest["cursor"]), (&json!(ids[1]), &json!(ids[1])));
        let body = t.as_(&scout, "POST", &format!("{INBOX}/ack"), json!({ "upto": ids[1] })).await.is(200);
        assert_eq!(body, json!({ "acknowledged": 2, "unread": 1 }));
        let body = t.as_(&scout, "POST", &format!("{INBOX}/ack"), json!({ "upto": ids[1] })).await.is(200);
        assert_eq!(body, json!({ "acknowledged": 0, "unread": 1 }));
        assert_eq!(t.as_(&scout, "GET", INBOX, Null).await.is(200)["items"][0]["data"]["text"], "three");
        // An event that never was cannot be acknowledged.
        for upto in ["evt_0000000000000004", "evt_9999999999999999"] {
            t.as_(&scout, "POST", &format!("{INBOX}/ack"), json!({ "upto": upto })).await.refused(400, "invalid_event");
        }
        assert_eq!(ids, ["evt_0000000000000001", "evt_0000000000000002", "evt_0000000000000003"]);
        t.execute("UPDATE agents SET state = 'paused'").await.unwrap();
        t.as_(&scout, "GET", INBOX, Null).await.is(200); // halted too
        t.as_(&scout, "POST", &format!("{INBOX}/ack"), json!({ "upto": ids[2] })).await.refused(403, "agent_paused");
    }

    #[tokio::test]
    async fn a_bad_query_is_refused_and_people_have_no_inbox() {
        let (t, ada, scout) = stage().await;
        t.as_(&ada, "GET", INBOX, Null).await.refused(403, "agent_required");
        for (query, slug) in [("after=x", "invalid_event"), ("limit=0", "invalid_limit"), ("wait=26", "invalid_wait")] {
            t.as_(&scout, "GET", &format!("{INBOX}?{query}"), Null).await.refused(400, slug);
        }
    }

    /// R761: a key of a program elsewhere reads the inbox of its agent and deletes nothing there.
    #[tokio::test]
    async fn an_external_key_acknowledges_nothing() {
        let (t, ada, scout) = stage().await;
        let sent = t.as_(&ada, "POST", MESSAGES, json!({ "text": "one" })).await.is(201);
        let key = (Kind::ApiKey, &ada.tenant, &ada.user, scout.agent.as_ref());
        let key = t.credential(key.0, key.1, key.2, key.3, "agents.read", None).await;
        let upto = json!({ "upto": sent["id"] });
        for (kind, acknowledged) in [("external", None), ("internal", Some(1))] {
            t.execute(&format!(
                "INSERT OR REPLACE INTO api_keys (id, tenant_id, agent_id, name, type, created_at, created_by)
                 SELECT 'key_1', tenant_id, id, 'ci', '{kind}', 0, owner_id FROM agents"
            ))
            .await
            .unwrap();
            t.execute("UPDATE credentials SET key_id = 'key_1' WHERE kind = 'api_key'").await.unwrap();
            t.as_(&key, "GET", INBOX, Null).await.is(200);
            let answer = t.as_(&key, "POST", &format!("{INBOX}/ack"), upto.clone()).await;
            match acknowledged {
                None => assert_ne!(answer.refused(403, "permission_denied"), Null),
                Some(count) => assert_eq!(answer.is(200)["acknowledged"], count),
            }
        }
    }

    /// R57: a waiting inbox is read when somebody has written, and once more at its end.
    #[tokio::test]
    async fn a_waiting_inbox_asks_nothing_while_nobody_writes() {
        let (t, _ada, scout) = stage().await;
        let asked = async |path: &str| {
            let before = t.db().statements();
            t.as_(&scout, "GET", path, Null).await.is(200);
            t.db().statements() - before
        };
        let at_once = asked(INBOX).await;
        // The version of the database, and the last look.
        assert!(asked(&format!("{INBOX}?wait=25")).await <= at_once + 2);
    }
}
