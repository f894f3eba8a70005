use common::{
    role::Role,
    secret::{Kind, WebhookSecret},
    time::Timestamp,
    url::OutboundHosts,
    vault::Vault,
};
use service::{
    outbound::stub,
    settings::Settings,
    testing::{Actor, TestApp},
};

use super::*;
use crate::with_neighbours;

const WEBHOOKS: &str = "/api/webhooks";
const STATE: &str =
    "SELECT kind || ' ' || state || ' ' || tries || ' ' || ifnull(error, '-') FROM deliveries ORDER BY created_at, id";

fn settings() -> Settings {
    Settings {
        vault: Vault::parse("a-key-of-the-operator-that-is-long-enough").unwrap(),
        outbound_hosts: OutboundHosts::parse("*.example:* hooks.example").unwrap(),
        ..Settings::default()
    }
}

struct Stage {
    t: TestApp,
    /// An admin.
    ada: Actor,
    /// A member, who owns the agent scout with helper below it.
    max: Actor,
    scout: Actor,
    helper: Actor,
}

async fn stage() -> Stage {
    stage_with(settings()).await
}

async fn stage_with(settings: Settings) -> Stage {
    let t = TestApp::with(with_neighbours(), settings);
    let tenant = t.tenant("main").await;
    // Their tokens never end, however long a test waits.
    let ada = t.user(&tenant, "ada@example.com", Role::Admin).await;
    let ada = t.credential(Kind::Pat, &tenant, &ada.user, None, "*", None).await;
    let max = t.user(&tenant, "max@example.com", Role::Member).await;
    let max = t.credential(Kind::Pat, &tenant, &max.user, None, "*", None).await;
    let scout = t.agent(&max, "scout", "*").await;
    let helper = t.agent_below(&max, Some(&scout), "helper", "*").await;
    Stage { t, ada, max, scout, helper }
}

impl Stage {
    async fn webhook(&self, of: &Actor, mut body: Json) -> Json {
        body["url"] = json!("https://hooks.example/in");
        self.t.as_(of, "POST", WEBHOOKS, body).await.is(201)
    }

    async fn tick(&self) {
        self.t.wait(1);
        self.t.nobody("POST", "/internal/tick", Null).await.is(204);
    }

    async fn step(&self, agent: &str, verb: &str) {
        self.t.as_(&self.max, "POST", &format!("/api/agents/{agent}/{verb}"), Null).await.is(200);
    }
}

fn id(webhook: &Json) -> &str {
    webhook["id"].as_str().unwrap()
}

/// The kinds that were sent since the last call.
fn sent() -> Vec<Json> {
    stub::sent().iter().map(|request| serde_json::from_str(request.body()).unwrap()).collect()
}

fn kinds(sent: &[Json]) -> Vec<String> {
    let word =
        |one: &Json| format!("{} {}", one["kind"].as_str().unwrap(), one["agent"]["name"].as_str().unwrap_or("-"));
    let mut words: Vec<String> = sent.iter().map(word).collect();
    words.sort();
    words
}

/// R115: what happened is sent to the webhooks that ask for it, signed by Standard Webhooks, once.
#[tokio::test]
async fn an_event_is_signed_and_sent_once_to_each_webhook_that_asks_for_it() {
    let s = stage().await;
    let made = s.webhook(&s.max, json!({ "name": "Pager", "kinds": ["agent.*"] })).await;
    let expected = json!({
        "id": made["id"], "user_id": s.max.user, "user_email": "max@example.com", "user_active": true, "name": "Pager", "url": "https://hooks.example/in", "kinds": ["agent.*"],
        "agents": null, "state": "active", "why": null, "failures": 0, "failing_since": null, "left_out": 0,
        "secret_since": "2026-01-02T03:04:05.000Z", "former_secret_ends": null, "created_at": "2026-01-02T03:04:05.000Z",
        "updated_at": "2026-01-02T03:04:05.000Z", "secret": made["secret"],
    });
    assert_eq!(made, expected);
    s.webhook(&s.max, json!({ "kinds": ["message"] })).await;
    s.step("scout", "pause").await;
    assert!(sent().is_empty(), "not before the tick");
    for _ in 0..3 {
        s.tick().await;
    }
    let requests = stub::sent();
    assert_eq!(requests.len(), 2, "scout and helper below it");
    let secret = WebhookSecret::of(made["secret"].as_str().unwrap().to_owned());
    let mut bodies = Vec::new();
    for request in &requests {
        let header = |name: &str| request.headers()[name].to_str().unwrap();
        let all = ("webhook-id", "webhook-timestamp", "webhook-signature");
        let all = (header(all.0), header(all.1), header(all.2));
        assert!(signature::is_standard(&secret, all, request.body().as_bytes(), s.t.now()), "{all:?}");
        assert_eq!(
            (request.method().as_str(), request.uri().to_string().as_str()),
            ("POST", "https://hooks.example/in")
        );
        assert_eq!(header("content-type"), "application/json");
        let body: Json = serde_json::from_str(request.body()).unwrap();
        assert_eq!(body["id"], header("webhook-id"));
        bodies.push(body);
    }
    bodies.sort_by_key(|body| body["agent"]["name"].as_str().unwrap().to_owned());
    assert_eq!(
        bodies[1],
        json!({
            "id": bodies[1]["id"], "kind": "agent.state_changed", "at": "2026-01-02T03:04:05.000Z", "tenant": s.max.tenant,
            "agent": { "id": s.scout.agent, "name": "scout" },
            "data": { "step": "pause", "state": "paused", "by": "max@example.com", "at": s.scout.agent },
        })
    );
    assert_eq!(s.t.number("SELECT count(*) FROM events").await, 0, "given out");
    let list = s.t.as_(&s.max, "GET", &format!("{WEBHOOKS}/{}/deliveries?state=sent", id(&made)), Null).await.is(200);
    assert_eq!(list["items"].as_array().unwrap().len(), 2);
    assert_eq!((&list["items"][0]["status"], &list["items"][0]["tries"]), (&json!(200), &json!(1)));
    // The secret is stored sealed, and shown nowhere again.
    let again = s.t.as_(&s.max, "GET", &format!("{WEBHOOKS}/{}", id(&made)), Null).await.is(200);
    assert_eq!(again["secret"], Null);
    let stored = s.t.texts("SELECT hex(sealed) FROM webhooks").await;
    assert!(stored.iter().all(|sealed| sealed.len() > 100));
    // R422: for its own place, in which the tenant is part.
    let all = format!("SELECT hex(sealed) FROM webhooks WHERE id = '{}'", id(&made));
    let hex = s.t.texts(&all).await.remove(0);
    let sealed: Vec<u8> =
        (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect();
    let opened = settings().vault.open(deliver::PURPOSE, &[s.max.tenant.as_str(), id(&made)], &sealed);
    assert_eq!(opened.as_deref(), Ok(made["secret"].as_str().unwrap()));
    assert_eq!(
        s.t.number("SELECT count(*) FROM audit WHERE action = 'webhook.create' AND after LIKE '%whsec_%'").await,
        0
    );
}

/// R115: a webhook sees what its person may see, decided at the moment of sending.
#[tokio::test]
async fn a_webhook_sees_what_its_person_may_read_when_it_is_sent() {
    let s = stage().await;
    let mia = s.t.user(&s.max.tenant, "mia@example.com", Role::Member).await;
    for of in [&s.ada, &mia, &s.max] {
        s.webhook(of, json!({ "kinds": ["agent.state_changed"] })).await;
    }
    s.step("helper", "pause").await;
    s.tick().await;
    assert_eq!(kinds(&sent()), ["agent.state_changed helper"; 2], "the admin and the owner");
    s.t.grant(s.helper.agent.as_ref().unwrap(), &s.max.tenant, mia.user.as_str(), "viewer", &s.max.user).await;
    s.step("helper", "resume").await;
    s.tick().await;
    assert_eq!(kinds(&sent()).len(), 3, "a viewer too");
    // Queued while she may, sent when she may not.
    stub::will_answer(&[Err("no"), Err("no"), Err("no")]);
    s.step("helper", "pause").await;
    s.tick().await;
    assert_eq!(sent().len(), 3);
    s.t.execute("DELETE FROM grants").await.unwrap();
    s.t.wait(600);
    s.tick().await;
    assert_eq!(sent().len(), 2);
    let withheld = "SELECT data || ifnull(agent_id, '-') || ifnull(agent, '-') FROM deliveries WHERE state = 'dead'";
    assert_eq!(s.t.texts(withheld).await, ["{}--"]);
    // A person whose account is deactivated gets nothing, nor does one that is deleted have a webhook.
    s.t.execute(&format!("UPDATE users SET deactivated_at = 1 WHERE id = '{}'", s.ada.user)).await.unwrap();
    s.step("helper", "resume").await;
    s.tick().await;
    assert_eq!(sent().len(), 1);
    s.t.execute(&format!("UPDATE users SET deleted_at = 1 WHERE id = '{}'", s.ada.user)).await.unwrap();
    assert_eq!(s.t.number("SELECT count(*) FROM webhooks").await, 2);
}

#[tokio::test]
async fn a_webhook_can_ask_for_some_agents() {
    let s = stage().await;
    let made = s.webhook(&s.ada, json!({ "agents": ["helper"] })).await;
    assert_eq!(made["agents"], json!([s.helper.agent]));
    s.step("scout", "pause").await;
    s.t.as_(&s.scout, "GET", "/api/agents/me/inbox", Null).await.is(200);
    s.tick().await;
    assert_eq!(kinds(&sent()), ["agent.state_changed helper"]);
    // Without filters it gets all: notifications too, by their ids alone.
    s.step("scout", "resume").await;
    s.step("helper", "resume").await;
    s.tick().await;
    sent();
    // R621: one that is gone stays where it is, and stands in the way of no other; twice is once.
    let path = format!("{WEBHOOKS}/{}", id(&made));
    s.t.execute("UPDATE agents SET archived_at = 1 WHERE name = 'helper'").await.unwrap();
    let more = json!({ "agents": [s.helper.agent, "scout", "scout"] });
    let patched = s.t.as_(&s.ada, "PATCH", &path, more).await.is(200);
    assert_eq!(patched["agents"], json!([s.helper.agent, s.scout.agent]));
    let unknown = json!({ "agents": [s.helper.agent, "nobody"] });
    assert_eq!(s.t.as_(&s.ada, "PATCH", &path, unknown).await.refused(404, "agent_not_found")["agent"], "nobody");
    s.t.execute("UPDATE agents SET archived_at = NULL WHERE name = 'helper'").await.unwrap();
    let change = json!({ "agents": null, "kinds": ["notification", "message"] });
    s.t.as_(&s.ada, "PATCH", &format!("{WEBHOOKS}/{}", id(&made)), change).await.is(200);
    s.t.as_(&s.scout, "POST", "/api/ui/notify", json!({ "title": "t", "body": "b" })).await.is(201);
    s.t.as_(&s.max, "POST", "/api/agents/scout/messages", json!({ "text": "private words" })).await.is(201);
    s.tick().await;
    let all = sent();
    assert_eq!(kinds(&all), ["message scout", "notification scout"]);
    assert!(!json!(all).to_string().contains("private words"));
}

/// R116: what fails is tried again, later each time, for a day; then it is dead, and can be sent again.
#[tokio::test]
async fn what_fails_is_tried_for_a_day_and_a_dead_one_is_sent_again() {
    let s = stage().await;
    let made = s.webhook(&s.max, json!({ "kinds": ["agent.*"], "agents": ["helper"] })).await;
    s.step("helper", "pause").await;
    stub::will_answer(&[Ok((500, "what it said")), Ok((302, "")), Err("connection refused"), Ok((304, ""))]);
    s.tick().await;
    assert_eq!(s.t.texts(STATE).await, ["agent.state_changed due 1 the receiver answered 500"]);
    assert_eq!(s.t.texts("SELECT answer FROM deliveries").await, ["what it said"]);
    s.tick().await;
    assert_eq!(sent().len(), 1, "not before its time");
    s.t.wait(5);
    s.tick().await;
    assert_eq!(
        s.t.texts(STATE).await,
        ["agent.state_changed due 2 the receiver answered 302: redirects are not followed"]
    );
    s.t.wait(30);
    s.tick().await;
    assert_eq!(s.t.texts(STATE).await, ["agent.state_changed due 3 no answer: connection refused"]);
    // R612
    s.t.wait(120);
    s.tick().await;
    let said = "agent.state_changed due 4 the receiver answered 304, which says nothing of a delivery";
    assert_eq!(s.t.texts(STATE).await, [said]);
    stub::will_answer(&[Err("no"); 20]);
    for _ in 0..6 {
        s.t.wait(36_000);
        s.tick().await;
    }
    assert_eq!(s.t.texts(STATE).await, ["agent.state_changed dead 10 no answer: no"]);
    let found = s.t.as_(&s.max, "GET", &format!("{WEBHOOKS}/{}", id(&made)), Null).await.is(200);
    assert_eq!((&found["failures"], &found["state"]), (&json!(10), &json!("active")));
    // R598: they are those of this address.
    let path = format!("{WEBHOOKS}/{}", id(&made));
    let named = s.t.as_(&s.max, "PATCH", &path, json!({ "name": "other" })).await.is(200);
    assert_eq!(named["failures"], json!(10));
    let moved = s.t.as_(&s.max, "PATCH", &path, json!({ "url": "https://hooks.example/moved" })).await.is(200);
    assert_eq!((&moved["failures"], &moved["failing_since"]), (&json!(0), &Null));
    // A try that was under way to the former address does not count, and a webhook that works keeps its turn.
    let webhook = WebhookId::try_from(id(&made).to_owned()).unwrap();
    let late =
        store::webhook::count_failure(s.t.db(), (&webhook, "https://hooks.example/in"), s.t.now()).await.unwrap();
    assert_eq!(late, None);
    s.t.execute("UPDATE webhooks SET leased_until = 9000000000000").await.unwrap();
    s.t.as_(&s.max, "PATCH", &path, json!({ "url": "https://hooks.example/again" })).await.is(200);
    assert_eq!(s.t.number("SELECT leased_until FROM webhooks").await, 9_000_000_000_000);
    s.t.execute("UPDATE webhooks SET leased_until = 0").await.unwrap();
    let deliveries = format!("{WEBHOOKS}/{}/deliveries", id(&made));
    let dead = s.t.as_(&s.max, "GET", &format!("{deliveries}?state=dead"), Null).await.is(200)["items"][0].clone();
    // Ten tries took what is left of the stub's answers.
    stub::clear();
    sent();
    let again = s.t.as_(&s.max, "POST", &format!("{deliveries}/{}/retry", id(&dead)), Null).await.is(200);
    assert_eq!((&again["state"], &again["event_id"]), (&json!("due"), &dead["event_id"]));
    s.t.wait(600);
    s.tick().await;
    assert_eq!(s.t.texts(STATE).await, ["agent.state_changed sent 1 -"]);
    assert_eq!(sent()[0]["id"], dead["event_id"], "the same event as before");
    let found = s.t.as_(&s.max, "GET", &format!("{WEBHOOKS}/{}", id(&made)), Null).await.is(200);
    assert_eq!((&found["failures"], &found["failing_since"]), (&json!(0), &Null));
}

/// R116: a receiver that is gone, or fails for days, is sent nothing any more, and its person hears of it.
#[tokio::test]
async fn a_webhook_is_turned_off_when_its_receiver_is_gone_or_fails_for_days() {
    let s = stage().await;
    let made = s.webhook(&s.max, json!({ "kinds": ["agent.*"] })).await;
    s.step("helper", "pause").await;
    stub::will_answer(&[Ok((410, "bye"))]);
    s.tick().await;
    let path = format!("{WEBHOOKS}/{}", id(&made));
    let found = s.t.as_(&s.max, "GET", &path, Null).await.is(200);
    assert_eq!((&found["state"], &found["why"]), (&json!("disabled"), &json!("gone")));
    assert_eq!(s.t.texts(STATE).await, ["agent.state_changed dead 1 the receiver answered 410"]);
    let told = "SELECT title || ' ' || user_id FROM notifications";
    assert_eq!(s.t.texts(told).await, [format!("The webhook hooks.example was turned off {}", s.max.user)]);
    s.step("helper", "resume").await;
    s.tick().await;
    assert_eq!(sent().len(), 1, "nothing more");
    s.t.as_(&s.max, "POST", &format!("{path}/test"), Null).await.refused(409, "webhook_off");
    s.t.as_(&s.max, "PATCH", &path, json!({ "state": "active" })).await.is(200);
    s.step("helper", "pause").await;
    stub::will_answer(&[Err("no"); 2]);
    s.tick().await;
    s.t.wait(4 * 86_400);
    s.tick().await;
    let found = s.t.as_(&s.max, "GET", &path, Null).await.is(200);
    assert_eq!((&found["state"], &found["why"]), (&json!("disabled"), &json!("failing")));
    assert_eq!(s.t.number("SELECT count(*) FROM notifications").await, 2);
}

/// R116: one that fails holds up no other.
#[tokio::test]
async fn a_webhook_that_fails_pauses_alone() {
    let s = stage().await;
    let bad = s.webhook(&s.max, json!({ "kinds": ["agent.*"], "agents": ["scout"] })).await;
    s.webhook(&s.max, json!({ "kinds": ["agent.*"], "agents": ["helper"] })).await;
    s.step("scout", "pause").await;
    s.tick().await;
    sent();
    // The events of a webhook that fails wait for it; those of the other arrive.
    for (agent, verb) in [("scout", "resume"), ("helper", "resume"), ("scout", "pause")] {
        s.step(agent, verb).await;
    }
    s.t.execute(&format!("UPDATE webhooks SET url = 'https://not.on.the.list.test/' WHERE id = '{}'", id(&bad)))
        .await
        .unwrap();
    s.tick().await;
    assert_eq!(kinds(&sent()), ["agent.state_changed helper"; 2]);
    let tried = "SELECT sum(tries) FROM deliveries WHERE state = 'due'";
    assert_eq!(s.t.number(tried).await, 1, "one try, and no more until the pause is over");
    let error = "SELECT error FROM deliveries WHERE state = 'due' AND tries > 0";
    assert_eq!(s.t.texts(error).await, ["not sent: host_not_allowed"], "the operator's list counts at every sending");
}

/// R115: both secrets sign through the overlap, and only the new one after it.
#[tokio::test]
async fn a_secret_is_rotated_with_an_overlap() {
    let s = stage().await;
    let made = s.webhook(&s.max, json!({})).await;
    let path = format!("{WEBHOOKS}/{}", id(&made));
    let turned = s.t.as_(&s.max, "POST", &format!("{path}/rotate"), json!({ "overlap_hours": 1 })).await.is(201);
    assert_eq!(turned["former_secret_ends"], "2026-01-02T04:04:05.000Z");
    let signed_by = async |by: [&Json; 2]| {
        s.t.as_(&s.max, "POST", &format!("{path}/test"), Null).await.is(202);
        let request = stub::sent().pop().unwrap();
        let header = |name: &str| request.headers()[name].to_str().unwrap().to_owned();
        by.map(|made| {
            let secret = WebhookSecret::of(made["secret"].as_str().unwrap().to_owned());
            let (id, time, all) = (header("webhook-id"), header("webhook-timestamp"), header("webhook-signature"));
            signature::is_standard(&secret, (&id, &time, &all), request.body().as_bytes(), s.t.now())
        })
    };
    assert_eq!(signed_by([&made, &turned]).await, [true, true]);
    s.t.wait(3_600);
    assert_eq!(signed_by([&made, &turned]).await, [false, true]);
    let last = s.t.as_(&s.max, "POST", &format!("{path}/rotate"), json!({ "overlap_hours": 0 })).await.is(201);
    assert_eq!(signed_by([&turned, &last]).await, [false, true]);
    s.t.as_(&s.max, "POST", &format!("{path}/rotate"), json!({ "overlap_hours": 169 }))
        .await
        .refused(400, "invalid_number");
}

/// R117: a caller sees its own webhooks, an admin the tenant's; nobody else's exists for them.
#[tokio::test]
async fn people_have_webhooks_of_their_own_and_admins_see_all() {
    let s = stage().await;
    let made = s.webhook(&s.max, json!({})).await;
    let mia = s.t.user(&s.max.tenant, "mia@example.com", Role::Member).await;
    let path = format!("{WEBHOOKS}/{}", id(&made));
    let number = async |of: &Actor| s.t.as_(of, "GET", WEBHOOKS, Null).await.is(200)["items"].as_array().unwrap().len();
    assert_eq!((number(&s.max).await, number(&s.ada).await, number(&mia).await), (1, 1, 0));
    s.t.as_(&mia, "GET", &path, Null).await.refused(404, "webhook_not_found");
    s.t.as_(&s.scout, "GET", WEBHOOKS, Null).await.refused(403, "person_required");
    let pat = s.t.credential(Kind::Pat, &s.max.tenant, &s.max.user, None, "webhooks.read", None).await;
    s.t.as_(&pat, "GET", &path, Null).await.is(200);
    s.t.as_(&pat, "DELETE", &path, Null).await.refused(403, "scope_denied");
    // R310: what changes nothing is not in the trail.
    let same = json!({ "name": made["name"], "url": made["url"], "kinds": made["kinds"], "agents": made["agents"], "state": "active" });
    s.t.as_(&s.ada, "PATCH", &path, same).await.is(200);
    for _ in 0..2 {
        s.t.as_(&s.ada, "PATCH", &path, json!({ "state": "disabled" })).await.is(200);
    }
    s.t.as_(&s.max, "DELETE", &path, Null).await.is(204);
    assert_eq!(s.t.number("SELECT count(*) FROM webhooks").await, 0);
    let actions = "SELECT action FROM audit WHERE outcome = 'done' AND action LIKE 'webhook%' ORDER BY seq";
    assert_eq!(s.t.texts(actions).await, ["webhook.create", "webhook.update", "webhook.delete"]);
}

#[tokio::test]
async fn bad_input_is_refused_by_its_field() {
    let s = stage().await;
    let url = "https://hooks.example/in";
    for (body, status, slug) in [
        (json!({}), 422, "validation_error"),
        (json!({ "url": "http://hooks.example" }), 400, "invalid_outbound_url"),
        (json!({ "url": "https://u:p@hooks.example" }), 400, "invalid_outbound_url"),
        (json!({ "url": "https://elsewhere.test/" }), 403, "host_not_allowed"),
        (json!({ "url": "https://127.0.0.1/" }), 403, "host_not_allowed"),
        (json!({ "url": url, "kinds": [] }), 422, "validation_error"),
        (json!({ "url": url, "kinds": ["agent.flown"] }), 400, "unknown_event_kind"),
        (json!({ "url": url, "kinds": ["*"] }), 400, "unknown_event_kind"),
        (json!({ "url": url, "agents": [] }), 422, "validation_error"),
        (json!({ "url": url, "agents": ["nothing"] }), 404, "agent_not_found"),
        (json!({ "url": url, "name": "\u{202e}" }), 400, "invalid_text"),
        (json!({ "url": url, "secret": "mine" }), 422, "validation_error"),
    ] {
        s.t.as_(&s.max, "POST", WEBHOOKS, body).await.refused(status, slug);
    }
    let made = s.webhook(&s.max, json!({})).await;
    let path = format!("{WEBHOOKS}/{}", id(&made));
    s.t.as_(&s.max, "PATCH", &path, json!({ "state": "off" })).await.refused(422, "validation_error");
    s.t.as_(&s.max, "GET", &format!("{path}/deliveries?state=x"), Null).await.refused(400, "invalid_filter");
    for _ in 1..webhook::MOST_OF_A_USER {
        s.webhook(&s.max, json!({})).await;
    }
    s.t.as_(&s.max, "POST", WEBHOOKS, json!({ "url": url })).await.refused(409, "quota_reached");
    // Without the operator's key nothing is sealed, and so nothing made.
    let bare = TestApp::with(with_neighbours(), Settings { vault: Vault::default(), ..settings() });
    let tenant = bare.tenant("main").await;
    let eve = bare.user(&tenant, "eve@example.com", Role::Admin).await;
    bare.as_(&eve, "POST", WEBHOOKS, json!({ "url": url })).await.refused(503, "secrets_disabled");
}

/// R115: what happened before one call of the tick is sent in the order in which it happened.
#[tokio::test]
async fn events_are_sent_in_their_order() {
    let s = stage().await;
    s.webhook(&s.max, json!({ "kinds": ["agent.state_changed"] })).await;
    let steps = ["pause", "resume", "pause", "stop", "start", "pause", "resume", "stop"];
    for step in steps {
        s.step("helper", step).await;
    }
    s.tick().await;
    let order: Vec<Json> = sent().iter().map(|one| one["data"]["step"].clone()).collect();
    assert_eq!(json!(order), json!(steps));
}

/// R195: a test event and a delivery that a person sends again go at once, also while the webhook pauses; when one arrives, the pause is over.
#[tokio::test]
async fn a_test_and_a_retry_by_hand_wait_for_no_pause() {
    let s = stage().await;
    let made = s.webhook(&s.max, json!({ "kinds": ["agent.*"], "agents": ["helper"] })).await;
    let path = format!("{WEBHOOKS}/{}", id(&made));
    s.step("helper", "pause").await;
    stub::will_answer(&[Err("no"); 7]);
    s.tick().await;
    for _ in 0..5 {
        s.t.wait(7_200);
        s.tick().await;
    }
    s.step("helper", "resume").await;
    s.tick().await;
    assert_eq!(sent().len(), 6, "the webhook pauses");
    // One that fails changes nothing; one that waits for its next try keeps its tries.
    s.t.as_(&s.max, "POST", &format!("{path}/test"), Null).await.is(202);
    assert_eq!(kinds(&sent()), ["webhook.test -"], "at once, and nothing else");
    let list = s.t.as_(&s.max, "GET", &format!("{path}/deliveries"), Null).await.is(200);
    let waiting = list["items"].as_array().unwrap().iter().find(|one| one["tries"] == 6).unwrap().clone();
    let retry = format!("{path}/deliveries/{}/retry", id(&waiting));
    stub::clear();
    let again = s.t.as_(&s.max, "POST", &retry, Null).await.is(200);
    assert_eq!((&again["state"], &again["tries"]), (&json!("due"), &json!(6)));
    assert_eq!(kinds(&sent()), ["agent.state_changed helper"; 2], "it, and what waited behind the pause");
    let found = s.t.as_(&s.max, "GET", &path, Null).await.is(200);
    assert_eq!((&found["failures"], &found["failing_since"]), (&json!(0), &Null));
    let states = "SELECT kind || ' ' || state || ' ' || tries FROM deliveries ORDER BY kind, tries";
    assert_eq!(
        s.t.texts(states).await,
        ["agent.state_changed sent 1", "agent.state_changed sent 7", "webhook.test due 1"]
    );
    // And one that was sent is sent again.
    s.t.as_(&s.max, "POST", &retry, Null).await.is(200);
    assert_eq!(kinds(&sent()), ["agent.state_changed helper"]);
}

/// R195: nothing is left of what was withheld, and the answer says so.
#[tokio::test]
async fn a_withheld_delivery_cannot_be_sent_again() {
    let s = stage().await;
    let mia = s.t.user(&s.max.tenant, "mia@example.com", Role::Member).await;
    s.t.grant(s.helper.agent.as_ref().unwrap(), &s.max.tenant, mia.user.as_str(), "viewer", &s.max.user).await;
    let made = s.webhook(&mia, json!({ "kinds": ["agent.*"] })).await;
    s.step("helper", "pause").await;
    stub::will_answer(&[Err("no")]);
    s.tick().await;
    s.t.execute("DELETE FROM grants").await.unwrap();
    s.t.wait(600);
    s.tick().await;
    sent();
    let path = format!("{WEBHOOKS}/{}/deliveries", id(&made));
    let dead = s.t.as_(&mia, "GET", &format!("{path}?state=dead"), Null).await.is(200)["items"][0].clone();
    let retry = format!("{path}/{}/retry", id(&dead));
    s.t.as_(&mia, "POST", &retry, Null).await.refused(409, "delivery_withheld");
    assert_eq!(s.t.texts("SELECT state FROM deliveries").await, ["dead"]);
    assert!(sent().is_empty());
}

/// R297: what was sent can be read by those that may read the webhook, as it was sent, without a code for a token, and only while the
/// webhook's person may see it.
#[tokio::test]
async fn a_delivery_shows_what_is_sent() {
    let s = stage().await;
    let mia = s.t.user(&s.max.tenant, "mia@example.com", Role::Member).await;
    s.t.grant(s.helper.agent.as_ref().unwrap(), &s.max.tenant, mia.user.as_str(), "viewer", &s.max.user).await;
    let made = s.webhook(&mia, json!({ "kinds": ["agent.*"] })).await;
    s.step("helper", "pause").await;
    s.tick().await;
    let said = sent().remove(0);
    let path = format!("{WEBHOOKS}/{}/deliveries", id(&made));
    let listed = s.t.as_(&mia, "GET", &path, Null).await.is(200)["items"][0].clone();
    let path = format!("{path}/{}", id(&listed));
    for reader in [&mia, &s.ada] {
        let mut found = s.t.as_(reader, "GET", &path, Null).await.is(200);
        assert_eq!(found["body"].take(), said);
        found.as_object_mut().unwrap().remove("body");
        assert_eq!(found, listed);
    }
    s.t.as_(&s.max, "GET", &path, Null).await.refused(404, "webhook_not_found");
    let other = s.webhook(&s.max, json!({})).await;
    let crossed = format!("{WEBHOOKS}/{}/deliveries/{}", id(&other), id(&listed));
    s.t.as_(&s.max, "GET", &crossed, Null).await.refused(404, "delivery_not_found");
    let secret = json!({ "code": "acr_enr_x", "runtime": "pod" }).to_string();
    s.t.execute(&format!("UPDATE deliveries SET kind = 'agent.deploy', data = '{secret}'")).await.unwrap();
    assert_eq!(s.t.as_(&s.ada, "GET", &path, Null).await.is(200)["body"]["data"], json!({ "runtime": "pod" }));
    s.t.execute("DELETE FROM grants").await.unwrap();
    assert_eq!(s.t.as_(&mia, "GET", &path, Null).await.is(200)["body"], Null);
}

/// R196: an approval that ends by time is told once, as one that is revoked: to its agent, its owner and webhooks, also after a gap, and by the
/// same call of the tick.
#[tokio::test]
async fn the_end_of_an_approval_by_time_is_told_once() {
    let s = stage().await;
    s.webhook(&s.max, json!({ "kinds": ["access.ended"] })).await;
    let asker = s.t.agent(&s.max, "asker", "agents.read").await;
    // Only a session decides.
    let eve = s.t.user(&s.max.tenant, "eve@example.com", Role::Admin).await;
    let ask = |scope: &str, hours: i64| json!({ "scope": [scope], "hours": hours, "reason": "work" });
    let mut ids = Vec::new();
    for (scope, hours) in [("ui.notify", 1), ("agents.logs", 2), ("agents.message", 3)] {
        let asked = s.t.as_(&asker, "POST", "/api/access-requests", ask(scope, hours)).await.is(201);
        ids.push(asked["id"].as_str().unwrap().to_owned());
    }
    for id in &ids {
        s.t.as_(&eve, "POST", &format!("/api/access-requests/{id}/approve"), json!({})).await.is(200);
    }
    s.t.as_(&eve, "POST", &format!("/api/access-requests/{}/revoke", ids[2]), Null).await.is(200);
    s.tick().await;
    sent();
    let told = "SELECT count(*) FROM notifications WHERE title = 'An approval of asker has ended'";
    assert_eq!(s.t.number(told).await, 0, "nothing has ended by time");
    // Nothing ran for a day: each end is told, and once.
    s.t.wait(86_400);
    s.t.nobody("POST", "/internal/tick", Null).await.is(204);
    assert_eq!(kinds(&sent()), ["access.ended asker"; 2], "by the same tick");
    for _ in 0..3 {
        s.tick().await;
    }
    assert!(sent().is_empty());
    assert_eq!(s.t.number(told).await, 2);
    let inbox = "SELECT json_extract(data, '$.request') FROM inbox WHERE kind = 'access_denied' AND json_extract(data, '$.ended') = 1 ORDER BY seq";
    assert_eq!(s.t.texts(inbox).await, ids[..2], "the one that was revoked was told then");
}

/// R118: 7 days and 1 day before a credential ends, once each: to its agent, its person, and webhooks.
#[tokio::test]
async fn the_end_of_a_credential_is_told_a_week_and_a_day_before() {
    let s = stage().await;
    s.webhook(&s.max, json!({ "kinds": ["token_expiring"] })).await;
    let day = 86_400_000;
    let (start, agent) = (s.t.now().millis(), s.scout.agent.clone().unwrap());
    s.t.execute(&format!("UPDATE credentials SET expires_at = {} WHERE agent_id = '{agent}'", start + 30 * day))
        .await
        .unwrap();
    let pat = s.t.credential(Kind::Pat, &s.max.tenant, &s.max.user, None, "*", None).await;
    // Made for three days: only the last of them is news.
    s.t.execute(&format!("UPDATE credentials SET expires_at = {} WHERE id = '{}'", start + 3 * day, pat.credential))
        .await
        .unwrap();
    let told = "SELECT title FROM notifications WHERE source = 'accredit' ORDER BY created_at, title";
    s.tick().await;
    assert!(s.t.texts(told).await.is_empty());
    s.t.wait(2 * 86_400);
    for _ in 0..3 {
        s.tick().await;
        s.t.wait(60);
    }
    assert_eq!(s.t.texts(told).await, ["Your personal access token planted expires tomorrow or today"]);
    s.t.wait(21 * 86_400);
    for _ in 0..3 {
        s.tick().await;
        s.t.wait(60);
    }
    s.t.wait(6 * 86_400);
    for _ in 0..3 {
        s.tick().await;
        s.t.wait(60);
    }
    assert_eq!(
        s.t.texts(told).await[1..],
        [
            "The token of the agent scout expires in less than 7 days",
            "The token of the agent scout expires tomorrow or today"
        ]
    );
    // R647: a person is told of pages, and not of requests.
    let requests = "SELECT count(*) FROM notifications WHERE body LIKE '%POST %' OR body NOT LIKE '% on the %page%'";
    assert_eq!(s.t.number(requests).await, 0);
    let days = "SELECT json_extract(data, '$.days') || kind FROM inbox ORDER BY seq";
    assert_eq!(s.t.texts(days).await, ["7token_expiring", "1token_expiring"]);
    assert_eq!(kinds(&sent()), ["token_expiring -", "token_expiring scout", "token_expiring scout"]);
    assert!(Timestamp::from_millis(start + 30 * day) > s.t.now());
}

/// R312: what has arrived is written, and the webhook is given back, also when a statement between two tries fails.
#[tokio::test]
async fn a_failed_statement_loses_nothing_of_what_arrived() {
    let s = stage().await;
    s.webhook(&s.max, json!({ "kinds": ["agent.*"] })).await;
    s.step("scout", "pause").await;
    let fails = [
        // Something arrived: its failures are forgotten.
        "CREATE TRIGGER broken BEFORE UPDATE OF failing_since ON webhooks BEGIN SELECT RAISE(ABORT, 'broken'); END",
        // The next one may not be seen any more: it is withheld.
        "CREATE TRIGGER broken BEFORE UPDATE OF data ON deliveries BEGIN SELECT RAISE(ABORT, 'broken'); END",
    ];
    for (round, trigger) in fails.into_iter().enumerate() {
        s.t.execute("UPDATE deliveries SET state = 'due', tries = 0, due_at = 0").await.unwrap();
        s.t.execute("UPDATE webhooks SET failures = 1, failing_since = 1").await.unwrap();
        s.t.execute(trigger).await.unwrap();
        if round == 1 {
            // Behind the first one, which arrives.
            let last = "(SELECT max(id) FROM deliveries)";
            s.t.execute(&format!(
                "UPDATE deliveries SET due_at = 1, agent_id = 'agt_none', user_id = 'usr_none' WHERE id = {last}"
            ))
            .await
            .unwrap();
        }
        s.tick().await;
        assert_eq!(sent().len(), 1, "{trigger}");
        assert_eq!(
            s.t.number("SELECT count(*) FROM deliveries WHERE state = 'sent' AND tries = 1").await,
            1,
            "{trigger}"
        );
        assert_eq!(s.t.number("SELECT count(*) FROM webhooks WHERE leased_until = 0").await, 1, "{trigger}");
        s.t.execute("DROP TRIGGER broken").await.unwrap();
    }
}

/// R313: in a full database what came of a try is written all the same, without the answer: nothing is sent without end, and each try counts.
#[tokio::test]
async fn a_full_database_sends_nothing_again_and_again() {
    let s = stage_with(Settings { database_max_mib: Some(1), ..settings() }).await;
    let made = s.webhook(&s.max, json!({ "kinds": ["agent.*"] })).await;
    s.step("helper", "pause").await;
    stub::will_answer(&[Ok((500, "busy"))]);
    s.tick().await;
    assert_eq!(sent().len(), 1);
    // What a try leaves behind takes a page that is not there, and so do further events.
    s.t.execute("CREATE TABLE filler (x BLOB)").await.unwrap();
    let file = rusqlite::Connection::open(s.t.path()).unwrap();
    file.execute_batch(
        "INSERT INTO filler VALUES (zeroblob(20000000));
         CREATE TRIGGER fills AFTER UPDATE OF state ON deliveries BEGIN INSERT INTO filler VALUES (zeroblob(5000)); END;
         CREATE TRIGGER fills_too AFTER INSERT ON deliveries BEGIN INSERT INTO filler VALUES (zeroblob(5000)); END;
         INSERT INTO events (id, tenant_id, kind, user_id, at, data)
         SELECT 'evt_more', tenant_id, 'agent.state_changed', user_id, 0, '{}' FROM webhooks;",
    )
    .unwrap();
    stub::will_answer(&[Ok((500, "still busy")), Ok((200, "thanks"))]);
    let state =
        "SELECT state || ' ' || tries || ' ' || ifnull(status, '-') || ' ' || ifnull(answer, '-') FROM deliveries";
    for (pause, number, left) in [(6, 1, "due 2 500 -"), (31, 1, "sent 3 200 -"), (600, 0, "sent 3 200 -")] {
        s.t.wait(pause);
        s.tick().await;
        assert_eq!((sent().len(), s.t.texts(state).await), (number, vec![left.to_owned()]));
    }
    // One that is gone is turned off.
    file.execute_batch("UPDATE deliveries SET state = 'due', due_at = 0").unwrap();
    stub::will_answer(&[Ok((410, "bye"))]);
    s.tick().await;
    let found = s.t.as_(&s.max, "GET", &format!("{WEBHOOKS}/{}", id(&made)), Null).await.is(200);
    assert_eq!((&found["state"], &found["why"]), (&json!("disabled"), &json!("gone")));
}
