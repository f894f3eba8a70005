//! `POST /api/agents/{name}/messages`: puts a message into an agent's inbox. The sender is taken from the credential.

use common::{
    error::{ApiError, Code},
    event::EventKind,
    json,
    text::prose,
    time::Timestamp,
};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value as Json, Value::Null, json};
use service::{
    change::{Answer, Change},
    event::Event,
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

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "SentMessage")]
pub(crate) struct Sent {
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
            let sender = (&write.cause, write.app().settings().quotas.bytes);
            quota::check_bytes(write.app(), &write.tx, write.caller.tenant_id(), sender).await?;
            let sender = write.caller.subject().id();
            let from = match write.caller.agent() {
                Some((name, _)) => json!({ "kind": "agent", "id": sender, "name": name }),
                None => json!({ "kind": "user", "id": sender, "name": write.caller.email() }),
            };
            let event = json!({ "from": from, "text": text, "data": data });
            let event = Event::of_agent(EventKind::Message, &agent.id).data(event).for_webhooks(json!({ "from": from }));
            let seq = write.emit(event).await?.ok_or_else(|| {
                let most = inbox::MOST_OF_ANOTHER;
                Code::InboxFull.detail(format!("This agent's inbox holds {most} events that you caused, the most for a person who does not own the agent."))
            })?;
            let id = inbox::id(seq);
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
             INSERT INTO inbox (agent_id, seq, kind, data, created_at) SELECT (SELECT id FROM agents WHERE name = 'scout'), i + 100, 'x', '{}', 0 FROM n",
        )
        .await
        .unwrap();
        t.as_(&ada, "POST", MESSAGES, json!({ "text": "a" })).await.refused(409, "inbox_full");
    }

    /// R86: a message counts for the person behind its sender and not for the owner of the inbox; when it is acknowledged, it counts no more.
    #[tokio::test]
    async fn messages_count_for_their_sender() {
        let quotas = store::usage::Quotas { bytes: 8_000, ..Settings::default().quotas };
        let t = TestApp::with(router(), Settings { quotas, ..Settings::default() });
        let ada = t.ada().await;
        let max = t.user(&ada.tenant, "max@example.com", Role::Member).await;
        let eve = t.user(&ada.tenant, "eve@example.com", Role::Member).await;
        let scopes = "agents.message agents.read";
        let (scout, other) = (t.agent(&ada, "scout", scopes).await, t.agent(&ada, "other", scopes).await);
        t.grant(scout.agent.as_ref().unwrap(), &ada.tenant, max.user.as_str(), "viewer", &ada.user).await;
        t.grant(scout.agent.as_ref().unwrap(), &ada.tenant, eve.user.as_str(), "viewer", &ada.user).await;
        // A token that Eve issued for an agent: what it sends is Eve's.
        let lent = t.lent(&other, &eve, scopes).await;
        let own = "/api/agents/other/messages";
        let long = json!({ "text": "x".repeat(3_900) });
        for (by, path) in [(&max, MESSAGES), (&lent, own)] {
            for _ in 0..2 {
                t.as_(by, "POST", path, long.clone()).await.is(201);
            }
            let refused = t.as_(by, "POST", path, long.clone()).await.refused(409, "quota_reached");
            assert_eq!((&refused["of"], &refused["limit"]), (&json!("person"), &json!(8_000)));
        }
        t.as_(&eve, "POST", MESSAGES, long.clone()).await.refused(409, "quota_reached");
        // The owner and the owner's agents go on.
        assert_eq!(t.number(&format!("SELECT bytes FROM usage WHERE subject_id = '{}'", ada.user)).await, 0);
        t.as_(&ada, "POST", MESSAGES, long.clone()).await.is(201);
        t.as_(&scout, "POST", MESSAGES, json!({ "text": "x" })).await.is(201);
        assert!(t.number(&format!("SELECT bytes FROM usage WHERE subject_id = '{}'", max.user)).await > 7_800);
        let last = t.as_(&scout, "GET", INBOX, Null).await.is(200)["cursor"].clone();
        t.as_(&scout, "POST", &format!("{INBOX}/ack"), json!({ "upto": last })).await.is(200);
        let last = t.as_(&lent, "GET", INBOX, Null).await.is(200)["cursor"].clone();
        t.as_(&lent, "POST", &format!("{INBOX}/ack"), json!({ "upto": last })).await.is(200);
        assert_eq!(t.number("SELECT sum(bytes) FROM usage").await, 0);
        t.as_(&max, "POST", MESSAGES, long).await.is(201);
    }

    /// R86: an inbox holds only so many events of one person who does not own the agent, so that the owner can always send more.
    #[tokio::test]
    async fn nobody_fills_the_inbox_of_anothers_agent() {
        let t = TestApp::new(router());
        let ada = t.ada().await;
        let max = t.user(&ada.tenant, "max@example.com", Role::Admin).await;
        let eve = t.user(&ada.tenant, "eve@example.com", Role::Admin).await;
        t.agent(&ada, "scout", "agents.message agents.read").await;
        t.execute(&format!(
            "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000)
             INSERT INTO inbox (agent_id, seq, kind, data, created_at, caused_by)
             SELECT (SELECT id FROM agents WHERE name = 'scout'), i + 100, 'x', '{{}}', 0, '{}' FROM n",
            max.user
        ))
        .await
        .unwrap();
        let body = json!({ "text": "a" });
        let refused = t.as_(&max, "POST", MESSAGES, body.clone()).await.refused(409, "inbox_full");
        assert!(refused["detail"].as_str().unwrap().contains("1000 events that you caused"), "{refused}");
        for by in [&ada, &eve] {
            t.as_(by, "POST", MESSAGES, body.clone()).await.is(201);
        }
    }
}
