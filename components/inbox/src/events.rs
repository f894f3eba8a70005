//! An agent's inbox: events with numbers, in order, at least once, until the agent acknowledges them by the last id.

use std::time::Duration;

use axum::{http::StatusCode, response::Response};
use common::{
    caller::Caller,
    error::{ApiError, Code},
    form,
    form::{Ask, OrNull, Params},
    http::{App, Segment, json, prose},
    idempotency::Answer,
    permission::Action,
    route,
    store::{
        agent,
        inbox::{self, Event},
    },
    time::Timestamp,
    write::Begun,
};
use serde::Serialize;
use serde_json::{Map, Value as Json, Value::Null, json};

/// The longest wait for an event, seconds: less than what proxies usually allow a request.
const MOST_WAIT: i64 = 25;
/// The largest `data` of a message, bytes.
const MOST_DATA: usize = 16 * 1024;

form! {
    pub(crate) struct Read {
        after: Option<String>,
        wait: Option<i64>,
        limit: Option<i64>,
    }
}

#[derive(Serialize)]
struct Shown {
    id: String,
    r#type: String,
    at: Timestamp,
    data: Json,
}

impl From<Event> for Shown {
    fn from(event: Event) -> Self {
        Self { id: inbox::id(event.seq), r#type: event.kind, at: event.at, data: event.data }
    }
}

#[derive(Serialize)]
struct Page {
    items: Vec<Shown>,
    /// The last id of the page: `after` for the next one, `upto` to acknowledge this one. What was sent when it is empty.
    cursor: Option<String>,
}

fn number(id: &str) -> Result<i64, ApiError> {
    inbox::seq(id).ok_or_else(|| Code::InvalidEvent.into())
}

/// `GET /api/agents/me/inbox?after=&wait=`: the events behind `after`, the oldest first. With `wait` it answers as soon as there
/// is one, or when that many seconds are over. Who waits is asked for his credential at every look.
pub(crate) async fn read(app: App, mut caller: Caller, Params(ask): Params<Read>) -> Result<Response, ApiError> {
    let after = ask.after.as_deref().map(number).transpose()?.unwrap_or(0);
    let limit = ask.limit.unwrap_or(50);
    if !(1..=200).contains(&limit) {
        return Err(Code::InvalidLimit.into());
    }
    let wait = ask.wait.unwrap_or(0);
    if !(0..=MOST_WAIT).contains(&wait) {
        return Err(Code::InvalidWait.into());
    }
    let mut looks = wait;
    loop {
        let agent = caller.agent_id().ok_or(Code::AgentRequired)?;
        let events = inbox::list(app.db(), agent, after, limit).await?;
        if !events.is_empty() || looks == 0 {
            let items: Vec<Shown> = events.into_iter().map(Shown::from).collect();
            let cursor = items.last().map(|event| event.id.clone()).or(ask.after);
            return json(StatusCode::OK, &Page { items, cursor });
        }
        looks -= 1;
        common::time::pause(Duration::from_secs(1)).await;
        caller = caller.again(app.db(), app.clock().now()).await?;
        caller.still(app.clock().now(), route::INBOX)?;
    }
}

form! {
    pub(crate) struct Acknowledge {
        upto: String,
    }
}

#[derive(Serialize)]
struct Acknowledged {
    acknowledged: usize,
    unread: i64,
}

/// `POST /api/agents/me/inbox/ack` `{upto}`: forgets all events up to this one. Asked again it finds nothing more to forget.
pub(crate) async fn acknowledge(app: App, caller: Caller, ask: Ask<Acknowledge>) -> Result<Response, ApiError> {
    let upto = number(&ask.body.upto)?;
    let agent = caller.agent_id().ok_or(Code::AgentRequired)?;
    // A number that never was would forget what comes later, unread.
    if upto > inbox::last(app.db(), agent).await? {
        return Err(Code::InvalidEvent.into());
    }
    let acknowledged = inbox::acknowledge(app.db(), agent, upto).await?;
    let unread = inbox::unread(app.db(), agent).await?;
    json(StatusCode::OK, &Acknowledged { acknowledged, unread })
}

form! {
    pub(crate) struct Message {
        text: String,
        data: Option<OrNull<Map<String, Json>>>,
    }
}

#[derive(Serialize)]
struct Sent {
    id: String,
    created_at: Timestamp,
}

/// `POST /api/agents/{name}/messages`: puts a message into an agent's inbox. Who sends it is taken from the credential.
pub(crate) async fn message(
    app: App,
    caller: Caller,
    Segment(name): Segment,
    ask: Ask<Message>,
) -> Result<Response, ApiError> {
    let text = prose("text", &ask.body.text, 4_000)?;
    let data = ask.body.data.and_then(|OrNull(data)| data).map(Json::Object);
    if data.as_ref().is_some_and(|data| form::written(data).len() > MOST_DATA) {
        return Err(Code::DataTooLarge.into());
    }
    let early = agent::get(app.db(), &caller, &name, Action::Read, app.now()).await?; // 404; decided again below
    let kept = ask.kept.map(|kept| kept.about(early.id.as_str()));
    let write = match app.write(route::MESSAGE, &caller, kept).await? {
        Begun::First(write) => write,
        Begun::Again(answer) => return Ok(answer),
    };
    let target = agent::get(&write.tx, &write.caller, early.id.as_str(), Action::Read, app.now()).await?;
    if inbox::unread(&write.tx, &target.id).await? >= inbox::MOST {
        return Err(Code::InboxFull.into());
    }
    let from = match write.caller.agent() {
        Some((name, _)) => json!({ "kind": "agent", "id": caller.subject_id(), "name": name }),
        None => json!({ "kind": "user", "id": caller.subject_id(), "name": caller.email() }),
    };
    let event = json!({ "from": from, "text": text, "data": data });
    let seq = inbox::push(&write.tx, &target.id, "message", &event, app.now()).await?;
    let answer = Answer::json(StatusCode::CREATED, &Sent { id: inbox::id(seq), created_at: app.now() })?;
    write.finish(target.id.as_str(), Null, json!({ "event": inbox::id(seq) }), answer).await
}

#[cfg(test)]
mod tests {
    use common::{
        scope::Role,
        testing::{Actor, TestApp},
    };

    use super::*;
    use crate::with_neighbours;

    const INBOX: &str = "/api/agents/me/inbox";
    const MESSAGES: &str = "/api/agents/scout/messages";

    async fn stage() -> (TestApp, Actor, Actor) {
        let t = TestApp::new(with_neighbours());
        let tenant = t.tenant("main").await;
        let ada = t.user(&tenant, "ada@example.com", Role::Member).await;
        let scout = t.agent(&ada, "scout", "agents.message agents.read").await;
        (t, ada, scout)
    }

    /// R57: in order, with ids, again until they are acknowledged, and never after.
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
        let told = t.as_(&scout, "POST", &format!("{INBOX}/ack"), json!({ "upto": ids[1] })).await.is(200);
        assert_eq!(told, json!({ "acknowledged": 2, "unread": 1 }));
        let told = t.as_(&scout, "POST", &format!("{INBOX}/ack"), json!({ "upto": ids[1] })).await.is(200);
        assert_eq!(told, json!({ "acknowledged": 0, "unread": 1 }));
        assert_eq!(t.as_(&scout, "GET", INBOX, Null).await.is(200)["items"][0]["data"]["text"], "three");
        // What was never there cannot be acknowledged.
        for upto in ["evt_0000000000000004", "evt_9999999999999999"] {
            t.as_(&scout, "POST", &format!("{INBOX}/ack"), json!({ "upto": upto })).await.refused(400, "invalid_event");
        }
        assert_eq!(ids, ["evt_0000000000000001", "evt_0000000000000002", "evt_0000000000000003"]);
        t.execute("UPDATE agents SET state = 'paused'").await.unwrap();
        t.as_(&scout, "GET", INBOX, Null).await.is(200); // halted too
        t.as_(&scout, "POST", &format!("{INBOX}/ack"), json!({ "upto": ids[2] })).await.refused(403, "agent_paused");
    }

    #[tokio::test]
    async fn only_who_may_read_an_agent_sends_it_messages() {
        let (t, ada, scout) = stage().await;
        let max = t.user(&ada.tenant, "max@example.com", Role::Member).await;
        let helper = t.agent(&max, "helper", "agents.message").await;
        for actor in [&max, &helper] {
            t.as_(actor, "POST", MESSAGES, json!({ "text": "hi" })).await.refused(404, "agent_not_found");
        }
        t.as_(&scout, "POST", MESSAGES, json!({ "text": "to myself" })).await.is(201);
        let page = t.as_(&scout, "GET", INBOX, Null).await.is(200);
        assert_eq!(page["items"][0]["data"]["from"], json!({ "kind": "agent", "id": scout.agent, "name": "scout" }));
        assert_eq!(t.as_(&helper, "GET", INBOX, Null).await.is(200)["items"], json!([]));
        t.as_(&ada, "GET", INBOX, Null).await.refused(403, "agent_required");
        for (body, slug) in [
            (json!({ "text": "" }), "invalid_text"),
            (json!({ "text": "a", "data": { "a": "x".repeat(17_000) } }), "data_too_large"),
        ] {
            t.as_(&ada, "POST", MESSAGES, body).await.refused(400, slug);
        }
        t.as_(&ada, "POST", MESSAGES, json!({ "text": "a", "data": [1] })).await.refused(422, "validation_error");
        for (query, slug) in [("after=x", "invalid_event"), ("limit=0", "invalid_limit"), ("wait=26", "invalid_wait")] {
            t.as_(&scout, "GET", &format!("{INBOX}?{query}"), Null).await.refused(400, slug);
        }
        t.execute(
            "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 10000)
             INSERT INTO inbox SELECT (SELECT id FROM agents WHERE name = 'scout'), i + 100, 'x', '{}', 0 FROM n",
        )
        .await
        .unwrap();
        t.as_(&ada, "POST", MESSAGES, json!({ "text": "a" })).await.refused(409, "inbox_full");
    }
}
