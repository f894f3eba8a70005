use common::{role::Role, vault::Vault};
use http::Request;
use service::{
    body::RequestBody,
    settings::Settings,
    testing::{Actor, Answer, TestApp},
};

use super::*;
use crate::with_neighbours;

// The signatures are made by @octokit/webhooks-methods, slack_sdk and standardwebhooks (PyPI), for the moment at which the tests begin:
// 2026-01-02T03:04:05Z.
const AT: &str = "1767323045";
const GITHUB: &str = "a-secret-of-octo";
const OPENED: (&str, &str) =
    (r#"{"action":"opened","number":7}"#, "sha256=fa52375d00a29fda3db5ebd9d1c7151a537b57512e5d3911f9e7e0c65a412785");
const PING: (&str, &str) = (
    r#"{"zen":"Keep it logically awesome.","hook_id":1}"#,
    "sha256=09f4db116a7979d4bf966b4a210a45db249d30906140842deff25886816894bc",
);
const FORM: (&str, &str) = (
    "payload=%7B%22action%22%3A%22closed%22%7D",
    "sha256=9bafe8e6df409d5096c364375577d87b284063da5ecc2615605ac6c006cb784b",
);
const SLACK: &str = "8f742231b10e8888abcd99yyyzzz85a5";
const MENTION: (&str, &str) = (
    r#"{"type":"event_callback","event_id":"Ev123","event":{"type":"app_mention","text":"hi"}}"#,
    "v0=2b62642fa0aa549e4b11678b58583df028750abeed64ec1b3f1323aee025462a",
);
const CHALLENGE: (&str, &str) = (
    r#"{"type":"url_verification","challenge":"3eZbrw1aB","token":"x"}"#,
    "v0=0a7075fa73545298df27108893c644acefbe30d05d18ce1b89459d437797117f",
);
const COMMAND: (&str, &str) = (
    "command=%2Fdeploy&text=now+please&trigger_id=13345224609.738474920.8088930838d88f008e0",
    "v0=63aa7de8336501df5989a812ed0be9c0f13eb7cd6d14f12efaf28490c3128b06",
);
const SSL_CHECK: (&str, &str) =
    ("ssl_check=1&token=x", "v0=9a00d7937da44c1e5b21ce3c60ba1fb2c470565d3fecbc216cbbf3ed7924356a");
const STANDARD: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwQWJjZGVmZ2g=";
const PAID: (&str, &str) =
    (r#"{"type":"invoice.paid","data":{"id":"inv_1"}}"#, "v1,ot4vYUdQUZXnDIX99QgZYomccVbN2rryaW94iIAdEkQ=");
const EVENTS: &str = "SELECT kind || ' ' || data FROM inbox WHERE kind = 'hook' ORDER BY seq";

struct Stage {
    t: TestApp,
    max: Actor,
    scout: Actor,
}

async fn stage() -> Stage {
    let vault = Vault::parse("a-key-of-the-operator-that-is-long-enough").unwrap();
    let t = TestApp::with(with_neighbours(), Settings { vault, ..Settings::default() });
    let tenant = t.tenant("main").await;
    let max = t.user(&tenant, "max@example.com", Role::Member).await;
    let scout = t.agent(&max, "scout", "*").await;
    Stage { t, max, scout }
}

impl Stage {
    /// The path for a new key with this secret.
    async fn key(&self, r#type: &str, secret: &str) -> String {
        let body = json!({ "name": r#type, "type": r#type, "value": secret });
        let made = self.t.as_(&self.max, "POST", "/api/agents/scout/keys", body).await.is(201);
        format!("/api/hooks/{}", made["id"].as_str().unwrap())
    }

    async fn send(&self, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let mut request = Request::post(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.t.send(request.body(RequestBody::from(body.to_owned())).unwrap()).await
    }

    async fn github(&self, path: &str, event: &str, id: &str, (body, signature): (&str, &str)) -> Answer {
        let media = if body.starts_with('{') { "application/json" } else { "application/x-www-form-urlencoded" };
        let headers = [
            ("x-hub-signature-256", signature),
            ("x-github-event", event),
            ("x-github-delivery", id),
            ("content-type", media),
        ];
        self.send(path, &headers, body).await
    }

    async fn slack(&self, path: &str, at: &str, (body, signature): (&str, &str)) -> Answer {
        let media = if body.starts_with('{') { "application/json" } else { "application/x-www-form-urlencoded" };
        let headers = [("x-slack-signature", signature), ("x-slack-request-timestamp", at), ("content-type", media)];
        self.send(path, &headers, body).await
    }

    async fn standard(&self, path: &str, id: &str, at: &str, (body, signature): (&str, &str)) -> Answer {
        let headers = [("webhook-id", id), ("webhook-timestamp", at), ("webhook-signature", signature)];
        self.send(path, &headers, body).await
    }
}

/// R33: GitHub's requests, as JSON and as a form, become events once; a ping is answered.
#[tokio::test]
async fn github_reaches_the_inbox_once() {
    let s = stage().await;
    let path = s.key("github", GITHUB).await;
    let ping = s.github(&path, "ping", "d-0", PING).await.is(200);
    assert_eq!(ping, json!({ "accepted": false, "ping": true }));
    let sent = s.github(&path, "issues", "d-1", OPENED).await.is(202);
    assert_eq!(sent["accepted"], true);
    let inbox = s.t.as_(&s.scout, "GET", "/api/agents/me/inbox", Null).await.is(200);
    let event = inbox["items"].as_array().unwrap().iter().find(|one| one["id"] == sent["event"]).unwrap();
    let key = path.rsplit('/').next().unwrap();
    let expected = json!({
        "key": { "id": key, "name": "github", "type": "github" }, "id": "d-1", "event": "issues", "content_type": "application/json",
        "body": { "action": "opened", "number": 7 }, "withheld": null,
    });
    assert_eq!((&event["type"], &event["data"]), (&json!("hook"), &expected));
    // Repeated, by its id or under another one.
    for id in ["d-1", "d-2"] {
        let again = s.github(&path, "issues", id, OPENED).await.is(200);
        assert_eq!(again, json!({ "accepted": false, "duplicate": true }));
    }
    s.github(&path, "issues", "d-3", FORM).await.is(202);
    let events = s.t.texts(EVENTS).await;
    assert!(events.len() == 2 && events[1].contains(r#""body":{"action":"closed"}"#), "{events:?}");
    assert_eq!(s.t.number("SELECT count(*) FROM audit WHERE action = 'agent.hook'").await, 2);
    assert_eq!(s.t.number("SELECT count(*) FROM inbox WHERE caused_by = (SELECT id FROM users)").await, 2);
}

/// R33: Slack's challenge is answered, an event and a slash command arrive, an old request does not.
#[tokio::test]
async fn slack_reaches_the_inbox_within_five_minutes() {
    let s = stage().await;
    let path = s.key("slack", SLACK).await;
    assert_eq!(s.slack(&path, AT, CHALLENGE).await.is(200), json!({ "challenge": "3eZbrw1aB" }));
    for (wait, sent) in [(0, MENTION), (0, MENTION), (300, COMMAND), (0, COMMAND)] {
        s.t.wait(wait);
        // R255: Slack takes 200 alone, and would show the person a body.
        let answer = s.slack(&path, AT, sent).await;
        assert_eq!((answer.status.as_u16(), answer.text.as_str()), (200, ""));
    }
    let events = s.t.texts(EVENTS).await;
    assert!(events.len() == 2 && events[1].contains(r#""command":"/deploy","text":"now please""#), "{events:?}");
    s.t.wait(1);
    s.slack(&path, AT, COMMAND).await.refused(401, "hook_refused");
}

/// R255: Slack's check of the certificate is answered, and is no event.
#[tokio::test]
async fn slack_checks_the_certificate() {
    let s = stage().await;
    let path = s.key("slack", SLACK).await;
    let answer = s.slack(&path, AT, SSL_CHECK).await;
    assert_eq!((answer.status.as_u16(), answer.text.as_str()), (200, ""));
    s.slack(&path, AT, (SSL_CHECK.0, MENTION.1)).await.refused(401, "hook_refused");
    assert!(s.t.texts(EVENTS).await.is_empty());
}

/// R255: what Svix signs comes under its own names of the headers; names of both kinds do not go together.
#[tokio::test]
async fn svix_has_names_of_its_own() {
    let s = stage().await;
    let path = s.key("standard", STANDARD).await;
    let (body, signature) = PAID;
    for mixed in [
        [("webhook-id", "msg_2abc"), ("svix-timestamp", AT), ("svix-signature", signature)],
        [("svix-id", "msg_2abc"), ("svix-timestamp", AT), ("webhook-signature", signature)],
        [("svix-id", "msg_other"), ("svix-timestamp", AT), ("svix-signature", signature)],
    ] {
        s.send(&path, &mixed, body).await.refused(401, "hook_refused");
    }
    let headers = [("svix-id", "msg_2abc"), ("svix-timestamp", AT), ("svix-signature", signature)];
    s.send(&path, &headers, body).await.is(202);
    // Known by its id, whatever the names.
    assert_eq!(s.standard(&path, "msg_2abc", AT, PAID).await.is(200)["duplicate"], true);
    let events = s.t.texts(EVENTS).await;
    assert!(events.len() == 1 && events[0].contains(r#""id":"msg_2abc""#), "{events:?}");
}

/// R33: a sender of Standard Webhooks.
#[tokio::test]
async fn standard_webhooks_reach_the_inbox_once() {
    let s = stage().await;
    let path = s.key("standard", STANDARD).await;
    s.standard(&path, "msg_2abc", AT, PAID).await.is(202);
    s.standard(&path, "msg_2abc", AT, PAID).await.is(200);
    s.standard(&path, "msg_3", AT, PAID).await.refused(401, "hook_refused");
    assert_eq!(s.t.texts(EVENTS).await.len(), 1);
    let made = json!({ "name": "made", "type": "standard" });
    let made = s.t.as_(&s.max, "POST", "/api/agents/scout/keys", made).await.is(201);
    assert!(made["key"].as_str().unwrap().starts_with("whsec_"));
    let bad = json!({ "name": "bad", "type": "standard", "value": "not-base64-of-anything" });
    s.t.as_(&s.max, "POST", "/api/agents/scout/keys", bad).await.refused(400, "invalid_standard_secret");
}

/// R33: whatever is wrong, the answer is the same, byte for byte but for the request's id.
#[tokio::test]
async fn every_failure_is_the_same_401() {
    let s = stage().await;
    let (github, slack, standard) =
        (s.key("github", GITHUB).await, s.key("slack", SLACK).await, s.key("standard", STANDARD).await);
    let bearer = s.t.as_(&s.max, "POST", "/api/agents/scout/keys", json!({ "name": "b" })).await.is(201);
    let bearer = format!("/api/hooks/{}", bearer["id"].as_str().unwrap());
    let mut answers = vec![
        s.github("/api/hooks/key_nothing", "issues", "d", OPENED).await,
        s.github("/api/hooks/%00", "issues", "d", OPENED).await,
        s.github(&bearer, "issues", "d", OPENED).await,
        s.github(&slack, "issues", "d", OPENED).await,
        s.github(&github, "issues", "d", (OPENED.0, PING.1)).await,
        s.github(&github, "issues", "d", (OPENED.0, "")).await,
        s.github(&github, "ping", "d", (OPENED.0, PING.1)).await,
        s.send(&github, &[], OPENED.0).await,
        s.send(&github, &[], "").await,
        s.slack(&slack, "1767322744", MENTION).await,
        s.slack(&slack, "", MENTION).await,
        s.slack(&slack, AT, (CHALLENGE.0, MENTION.1)).await,
        s.standard(&standard, "msg_2abc", AT, (PAID.0, "v1,AAAA")).await,
        s.standard(&standard, "", AT, PAID).await,
    ];
    for (end, back) in [
        ("UPDATE users SET deactivated_at = 1", "UPDATE users SET deactivated_at = NULL"),
        ("UPDATE agents SET archived_at = 1", "UPDATE agents SET archived_at = NULL"),
        ("UPDATE api_keys SET sealed = NULL WHERE type = 'github'", "SELECT 1"),
    ] {
        s.t.execute(end).await.unwrap();
        let answer = s.github(&github, "issues", "d", OPENED).await;
        s.t.execute(back).await.unwrap();
        answers.push(answer);
    }
    let told: Vec<Json> = answers
        .iter_mut()
        .map(|answer| {
            answer.headers.remove("x-request-id");
            let mut told = answer.refused_or_panic();
            told.as_object_mut().unwrap().remove("request_id");
            json!({ "body": told, "headers": format!("{:?}", answer.headers) })
        })
        .collect();
    assert!(told.windows(2).all(|pair| pair[0] == pair[1]), "{told:#?}");
    assert!(s.t.texts(EVENTS).await.is_empty());
    assert_eq!(s.t.number("SELECT count(*) FROM hooks_seen").await, 0);
}

trait Refused {
    fn refused_or_panic(&self) -> Json;
}

impl Refused for Answer {
    fn refused_or_panic(&self) -> Json {
        let body = self.is(401);
        assert_eq!(body["error"], "hook_refused", "{body}");
        body
    }
}

/// A halted agent gets the event, and reads it while it is halted.
#[tokio::test]
async fn a_halted_agent_gets_its_hooks() {
    let s = stage().await;
    let path = s.key("github", GITHUB).await;
    s.t.execute("UPDATE agents SET state = 'stopped'").await.unwrap();
    s.github(&path, "issues", "d-1", OPENED).await.is(202);
    let inbox = s.t.as_(&s.scout, "GET", "/api/agents/me/inbox", Null).await.is(200);
    assert_eq!(inbox["items"].as_array().unwrap().iter().filter(|one| one["type"] == "hook").count(), 1);
}

/// What the agent would not be allowed to keep is not kept: a credential of ours in the body.
#[tokio::test]
async fn a_body_with_a_credential_of_ours_is_withheld() {
    let s = stage().await;
    let path = s.key("github", GITHUB).await;
    let body = json!({ "commit": format!("token = {}", s.max.token) }).to_string();
    let key = WebhookSecret::of(GITHUB.to_owned());
    let signature = signature::github(&key, body.as_bytes());
    s.github(&path, "push", "d-1", (&body, &signature)).await.is(202);
    let events = s.t.texts(EVENTS).await;
    assert!(events[0].contains(r#""body":null,"withheld":"credential_in_text""#), "{events:?}");
}

/// R553: what is nested so deep that it would hide the inbox to its reader arrives as a text.
#[tokio::test]
async fn a_body_that_is_nested_too_deep_stays_a_text() {
    let s = stage().await;
    let path = s.key("github", GITHUB).await;
    let key = WebhookSecret::of(GITHUB.to_owned());
    for (levels, is_text) in [(64, false), (65, true), (120, true), (1_000, true)] {
        let body = format!("{{\"a\":{}{}}}", "[".repeat(levels - 1), "]".repeat(levels - 1));
        let signature = signature::github(&key, body.as_bytes());
        s.github(&path, "push", &format!("d-{levels}"), (&body, &signature)).await.is(202);
        let inbox = s.t.as_(&s.scout, "GET", "/api/agents/me/inbox", Null).await.is(200);
        let last = &inbox["items"].as_array().unwrap().last().unwrap()["data"]["body"];
        assert_eq!(last.as_str(), is_text.then_some(body.as_str()), "{levels}");
    }
}

/// A large body arrives whole, and a page of many of them stays bounded.
#[tokio::test]
async fn large_bodies_arrive_a_few_at_a_time() {
    let s = stage().await;
    let path = s.key("github", GITHUB).await;
    let key = WebhookSecret::of(GITHUB.to_owned());
    let text = "x".repeat(900 * 1024);
    for number in 0..5 {
        let body = json!({ "number": number, "text": text }).to_string();
        let signature = signature::github(&key, body.as_bytes());
        s.github(&path, "push", &format!("d-{number}"), (&body, &signature)).await.is(202);
    }
    let (mut seen, mut after) = (Vec::new(), String::new());
    for _ in 0..4 {
        let page = s.t.as_(&s.scout, "GET", &format!("/api/agents/me/inbox{after}"), Null).await.is(200);
        let items = page["items"].as_array().unwrap();
        let bodies: Vec<&Json> =
            items.iter().filter(|one| one["type"] == "hook").map(|one| &one["data"]["body"]).collect();
        assert!(bodies.len() <= 2 && bodies.iter().all(|body| body["text"] == json!(text)));
        seen.extend(bodies.iter().map(|body| body["number"].as_i64().unwrap()));
        after = format!("?after={}", page["cursor"].as_str().unwrap());
    }
    assert_eq!(seen, [0, 1, 2, 3, 4]);
}

/// R33: a known key whose secret cannot be opened, since secrets_key is missing or another one, is refused like an unknown one.
#[tokio::test]
async fn a_key_that_cannot_be_opened_is_refused_like_an_unknown_one() {
    let stage = stage().await;
    let path = stage.key("github", GITHUB).await;
    let other = Vault::parse("another-key-of-the-operator-that-is-long").unwrap();
    let (body, signature) = OPENED;
    for vault in [Vault::default(), other] {
        let t = TestApp::over_with(with_neighbours(), Settings { vault, ..Settings::default() }, &stage.t);
        let mut refusals = Vec::new();
        for path in [path.as_str(), "/api/hooks/key_nothing"] {
            let mut request = Request::post(path).header("content-type", "application/json");
            request = request.header("x-hub-signature-256", signature).header("x-github-event", "pull_request");
            let answer = t.send(request.body(RequestBody::from(body.to_owned())).unwrap()).await;
            let mut refused = answer.refused(401, "hook_refused");
            refused["request_id"] = Null;
            refusals.push(refused);
        }
        assert_eq!(refusals[0], refusals[1]);
    }
    assert_eq!(stage.t.texts(EVENTS).await.len(), 0);
}

/// R510: through the grace both secrets are taken; the former one ends with the grace, the next rotation, the key and its maker's right.
#[tokio::test]
async fn a_former_secret_is_taken_until_its_grace_ends() {
    let s = stage().await;
    let sent = async |path: &str, id: &str, secret: &str| {
        let body = json!({ "number": id }).to_string();
        let signature = signature::github(&WebhookSecret::of(secret.to_owned()), body.as_bytes());
        s.github(path, "push", id, (&body, &signature)).await
    };
    let rotate = |path: &str| format!("/api/agents/scout/keys/{}/rotate", path.rsplit('/').next().unwrap());
    let rotated =
        async |path: &str, actor: &Actor, body: Json| s.t.as_(actor, "POST", &rotate(path), body).await.is(201);
    let path = s.key("github", GITHUB).await;
    rotated(&path, &s.max, json!({ "value": "second-secret", "grace_seconds": 100 })).await;
    s.t.wait(99);
    sent(&path, "1", GITHUB).await.is(202);
    sent(&path, "2", "second-secret").await.is(202);
    // One request, signed by the one and sent again by the other.
    assert_eq!(sent(&path, "2", GITHUB).await.is(200)["duplicate"], true);
    s.t.wait(1);
    sent(&path, "3", GITHUB).await.refused(401, "hook_refused");
    // A second rotation ends the first grace, also in the same moment; without one the former secret ends at once.
    rotated(&path, &s.max, json!({ "value": "third-secret", "grace_seconds": 100 })).await;
    rotated(&path, &s.max, json!({ "value": "fourth-secret", "grace_seconds": 100 })).await;
    sent(&path, "4", "second-secret").await.refused(401, "hook_refused");
    sent(&path, "4", "third-secret").await.is(202);
    rotated(&path, &s.max, json!({ "value": "fifth-secret" })).await;
    sent(&path, "5", "fourth-secret").await.refused(401, "hook_refused");
    sent(&path, "5", "fifth-secret").await.is(202);
    // What ends the key's own secret, by whatever release, ends the former one.
    rotated(&path, &s.max, json!({ "value": "sixth-secret", "grace_seconds": 100 })).await;
    s.t.execute("UPDATE api_keys SET sealed = NULL").await.unwrap();
    assert_eq!(s.t.number("SELECT count(*) FROM former_hook_secrets").await, 0);
    // Nothing has a grace then.
    let body = json!({ "value": "seventh-secret", "grace_seconds": 100 });
    rotated(&path, &s.max, body).await;
    let before = "SELECT before FROM audit WHERE action = 'agent.key.rotate' ORDER BY seq DESC LIMIT 1";
    let before = s.t.texts(before).await.remove(0);
    assert!(before.contains(r#""grace_ends":null"#), "{before}");
    // A secret that an editor made rests on their grant, also when the owner has replaced it.
    let eve = s.t.user(&s.max.tenant, "eve@example.com", Role::Member).await;
    let grants = "/api/agents/scout/grants";
    let editor = json!({ "subject": "eve@example.com", "relation": "editor" });
    s.t.as_(&s.max, "POST", grants, editor.clone()).await.is(201);
    let made = json!({ "name": "hers", "type": "github", "value": GITHUB });
    let made = s.t.as_(&eve, "POST", "/api/agents/scout/keys", made).await.is(201);
    let path = format!("/api/hooks/{}", made["id"].as_str().unwrap());
    rotated(&path, &s.max, json!({ "value": "second-secret", "grace_seconds": 100 })).await;
    sent(&path, "6", GITHUB).await.is(202);
    s.t.as_(&s.max, "DELETE", grants, editor).await.is(204);
    sent(&path, "7", GITHUB).await.refused(401, "hook_refused");
    sent(&path, "7", "second-secret").await.is(202);
    rotated(&path, &s.max, json!({ "grace_seconds": 100 })).await;
    let key = format!("/api/agents/scout/keys/{}", made["id"].as_str().unwrap());
    s.t.as_(&s.max, "DELETE", &key, Null).await.is(204);
    assert_eq!(s.t.number("SELECT count(*) FROM former_hook_secrets").await, 0);
}

/// R748
#[test]
fn a_byte_order_mark_hides_no_json() {
    assert_eq!(parse("application/json", "\u{feff}{\"a\": 1}".as_bytes()), json!({ "a": 1 }));
    assert_eq!(parse("text/plain", "\u{feff}a".as_bytes()), json!("\u{feff}a"));
}
