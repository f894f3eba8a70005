//! `POST /api/agents/{name}/messages`: puts a message into an agent's inbox. The sender is taken from the credential.

use common::{
    error::{ApiError, Code},
    json,
    text::prose,
    time::Timestamp,
};
use serde::Serialize;
use serde_json::{Map, Value as Json, Value::Null, json};
use service::{
    change::{Answer, Change},
    extract::{Body, Path},
    form,
    form::Nullable,
    quota,
    response::Response,
};
use store::inbox;

/// The largest `data` of a message, bytes.
const MOST_DATA: usize = 16 * 1024;

form! {
    pub(crate) struct Message {
        text: String,
        data: Option<Nullable<Map<String, Json>>>,
    }
}

#[derive(Serialize)]
struct Sent {
    id: String,
    created_at: Timestamp,
}

/// The handler.
pub(crate) async fn send(change: Change<Body<Message>>, Path(name): Path) -> Result<Response, ApiError> {
    let Body(message) = &change.input;
    let text = prose("text", &message.text, 4_000)?;
    let data = message.data.clone().and_then(|Nullable(data)| data).map(Json::Object);
    if data.as_ref().is_some_and(|data| json::to_text(data).len() > MOST_DATA) {
        return Err(Code::DataTooLarge.into());
    }
    change
        .on_agent(&name, async |write, agent, _| {
            if inbox::unread(&write.tx, &agent.id).await? >= inbox::MOST {
                return Err(Code::InboxFull.into());
            }
            quota::check_bytes(write.app(), &write.tx, &write.caller, &agent.owner.id).await?;
            let sender = write.caller.subject().id();
            let from = match write.caller.agent() {
                Some((name, _)) => json!({ "kind": "agent", "id": sender, "name": name }),
                None => json!({ "kind": "user", "id": sender, "name": write.caller.email() }),
            };
            let event = json!({ "from": from, "text": text, "data": data });
            let id = inbox::id(inbox::push(&write.tx, &agent.id, "message", &event, write.now()).await?);
            let after = json!({ "event": id });
            Ok(Answer::created(&Sent { id, created_at: write.now() })?.audited(&agent.id, Null, after))
        })
        .await
}

#[cfg(test)]
mod tests {
    use common::role::Role;
    use service::{settings::Settings, testing::TestApp};

    use super::*;
    use crate::router;

    const INBOX: &str = "/api/agents/me/inbox";
    const MESSAGES: &str = "/api/agents/scout/messages";

    #[tokio::test]
    async fn only_a_caller_that_may_read_an_agent_sends_it_messages() {
        let t = TestApp::new(router());
        let tenant = t.tenant("main").await;
        let ada = t.user(&tenant, "ada@example.com", Role::Member).await;
        let scout = t.agent(&ada, "scout", "agents.message agents.read").await;
        let max = t.user(&ada.tenant, "max@example.com", Role::Member).await;
        let helper = t.agent(&max, "helper", "agents.message").await;
        for actor in [&max, &helper] {
            t.as_(actor, "POST", MESSAGES, json!({ "text": "hi" })).await.refused(404, "agent_not_found");
        }
        t.as_(&scout, "POST", MESSAGES, json!({ "text": "to myself" })).await.is(201);
        let page = t.as_(&scout, "GET", INBOX, Null).await.is(200);
        assert_eq!(page["items"][0]["data"]["from"], json!({ "kind": "agent", "id": scout.agent, "name": "scout" }));
        assert_eq!(t.as_(&helper, "GET", INBOX, Null).await.is(200)["items"], json!([]));
    }

    #[tokio::test]
    async fn a_message_that_is_too_long_or_for_a_full_inbox_is_refused() {
        let t = TestApp::new(router());
        let tenant = t.tenant("main").await;
        let ada = t.user(&tenant, "ada@example.com", Role::Member).await;
        t.agent(&ada, "scout", "agents.message agents.read").await;
        for (body, slug) in [
            (json!({ "text": "" }), "invalid_text"),
            (json!({ "text": "a", "data": { "a": "x".repeat(17_000) } }), "data_too_large"),
        ] {
            t.as_(&ada, "POST", MESSAGES, body).await.refused(400, slug);
        }
        t.as_(&ada, "POST", MESSAGES, json!({ "text": "a", "data": [1] })).await.refused(422, "validation_error");
        t.execute(
            "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 10000)
             INSERT INTO inbox SELECT (SELECT id FROM agents WHERE name = 'scout'), i + 100, 'x', '{}', 0 FROM n",
        )
        .await
        .unwrap();
        t.as_(&ada, "POST", MESSAGES, json!({ "text": "a" })).await.refused(409, "inbox_full");
    }
    /// R86: inboxes of a person's agents hold as much as the quota allows, whoever writes; acknowledged events make room.
    #[tokio::test]
    async fn inboxes_of_a_person_are_bounded() {
        let quotas = store::usage::Quotas { bytes: 8_000, ..Settings::default().quotas };
        let t = TestApp::with(router(), Settings { quotas, ..Settings::default() });
        let ada = t.ada().await;
        let max = t.user(&ada.tenant, "max@example.com", Role::Admin).await;
        let scout = t.agent(&ada, "scout", "agents.message agents.read").await;
        let long = json!({ "text": "x".repeat(3_900) });
        for by in [&ada, &max] {
            t.as_(by, "POST", MESSAGES, long.clone()).await.is(201);
        }
        for by in [&ada, &max, &scout] {
            let refused = t.as_(by, "POST", MESSAGES, long.clone()).await.refused(409, "quota_reached");
            assert_eq!((&refused["of"], &refused["limit"]), (&json!("person"), &json!(8_000)));
        }
        let last = t.as_(&scout, "GET", INBOX, Null).await.is(200)["items"][1]["id"].clone();
        t.as_(&scout, "POST", &format!("{INBOX}/ack"), json!({ "upto": last })).await.is(200);
        assert_eq!(t.number("SELECT sum(bytes) + sum(agents) FROM usage").await, 2);
        t.as_(&ada, "POST", MESSAGES, long).await.is(201);
    }
}
