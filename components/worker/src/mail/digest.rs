//! What goes out together, and when.

use common::{role::Role, secret};
use serde_json::{Value as Json, Value::Null, json};
use service::{
    outbound::stub,
    testing::{Actor, TestApp, at_once},
};
use store::{
    db::Purpose,
    outbox::{self, Kind},
};

use super::tests::settings;
use crate::with_neighbours;

const ASK: &str = "/api/access-requests";

struct Stage {
    t: TestApp,
    ada: Actor,
    max: Actor,
    scout: Actor,
}

/// Ada is the admin; Max, a member, owns scout.
async fn stage() -> Stage {
    let t = TestApp::with(with_neighbours(), settings("webhook"));
    let tenant = t.tenant("main").await;
    let ada = t.user(&tenant, "ada@example.com", Role::Admin).await;
    let max = t.user(&tenant, "max@example.com", Role::Member).await;
    let scout = t.agent(&max, "scout", "ui.notify").await;
    Stage { t, ada, max, scout }
}

async fn ask(t: &TestApp, scout: &Actor, scope: &str) -> String {
    let body = json!({ "scope": scope, "reason": "see https://evil.example/ <b>now</b>" });
    t.as_(scout, "POST", ASK, body).await.is(201)["id"].as_str().unwrap().to_owned()
}

/// Ticks, and gives the subjects and texts that went out, by recipient.
async fn sent(t: &TestApp) -> Vec<(String, String, String)> {
    t.wait(1);
    t.nobody("POST", "/internal/tick", Null).await.is(204);
    let mut letters: Vec<_> = stub::sent()
        .iter()
        .map(|sent| {
            let body: Json = serde_json::from_str(sent.body()).unwrap();
            let member = |name: &str| body[name].as_str().unwrap().to_owned();
            assert!(!member("html").contains("evil.example"), "no words of an agent's");
            (member("to"), member("subject"), member("text"))
        })
        .collect();
    letters.sort();
    letters
}

async fn queue(t: &TestApp, to: &Actor, email: &str, kind: Kind) -> bool {
    let tx = t.db().begin(Purpose::Durable).await.unwrap();
    let data = json!({ "agent": "hand", "minutes": 5, "last_seen_at": "2026-01-02T03:04:05.000Z" });
    let mail = outbox::New { tenant: &to.tenant, user: &to.user, recipient: email, kind, data: &data };
    let is_queued = outbox::offer(&tx, &mail, t.chance(), t.now()).await.unwrap();
    tx.commit().await.unwrap();
    is_queued
}

/// R123: a request reaches owner and admins at once, with one link that only shows it, and no words of the agent's.
#[tokio::test]
async fn an_access_request_is_mailed_to_owner_and_admins() {
    let Stage { t, max, scout, .. } = stage().await;
    t.user(&max.tenant, "mia@example.com", Role::Member).await;
    let id = ask(&t, &scout, "agents.list agents.read").await;
    // Asked again it is the same request, and no further mail.
    let body = json!({ "scope": "agents.list agents.read", "reason": "again" });
    t.as_(&scout, "POST", ASK, body).await.is(200);
    let letters = sent(&t).await;
    let recipients: Vec<&str> = letters.iter().map(|(to, ..)| to.as_str()).collect();
    assert_eq!(recipients, ["ada@example.com", "max@example.com"]);
    for (_, subject, text) in &letters {
        assert_eq!(subject, "scout asks for access");
        assert!(text.contains("agents.list, agents.read, for 24 hours."), "{text}");
        let links: Vec<&str> = text.lines().filter(|line| line.starts_with("https://")).collect();
        assert_eq!(
            links,
            [&format!("https://accredit.example/acme/access/{id}"), "https://accredit.example/acme"],
            "the page, and where the mail comes from"
        );
    }
    assert_eq!(t.texts("SELECT state FROM access_requests").await, ["open"]);
}

/// R124: what comes within an hour of a mail goes out together, once the hour is over; what is urgent does not wait.
#[tokio::test]
async fn further_mails_of_an_hour_are_one_digest() {
    let Stage { t, max, scout, ada } = stage().await;
    ask(&t, &scout, "agents.list").await;
    assert_eq!(sent(&t).await.len(), 2);
    t.wait(600);
    let second = ask(&t, &scout, "agents.read").await;
    t.wait(600);
    let third = ask(&t, &scout, "audit.read").await;
    assert!(queue(&t, &max, "max@example.com", Kind::Silent).await);
    assert_eq!(sent(&t).await, [], "they wait");
    assert!(queue(&t, &max, "max@example.com", Kind::Leak).await);
    let letters = sent(&t).await;
    assert_eq!(letters.len(), 1, "a leak does not: {letters:?}");
    assert_eq!(letters[0].1, "A credential was leaked");
    t.wait(2_395);
    assert_eq!(sent(&t).await, [], "not before its time");
    t.wait(5);
    let letters = sent(&t).await;
    let told: Vec<_> = letters.iter().map(|(to, subject, _)| (to.as_str(), subject.as_str())).collect();
    assert_eq!(
        told,
        [("ada@example.com", "2 messages from Accredit"), ("max@example.com", "3 messages from Accredit")]
    );
    let text = &letters[1].2;
    for part in [
        format!("* The agent scout asks for agents.read, for 24 hours.\n  https://accredit.example/acme/access/{second}\n"),
        format!("* The agent scout asks for audit.read, for 24 hours.\n  https://accredit.example/acme/access/{third}\n"),
        "* The agent hand was last heard of at 2026-01-02 03:04 UTC. Its limit is 5 minutes.\n  https://accredit.example/acme/agents/hand\n".to_owned(),
    ] {
        assert!(text.contains(&part), "{part} in {text}");
    }
    assert_eq!(t.number("SELECT count(*) FROM outbox WHERE state <> 'sent'").await, 0);
    // The digest begins another hour.
    assert!(queue(&t, &ada, "ada@example.com", Kind::Expiring).await);
    assert_eq!(sent(&t).await, []);
    t.wait(3_600);
    assert_eq!(sent(&t).await.len(), 1);
}

/// R123: a credential that ends in a week is mailed to its person, and to an agent's owner: once, not again on its last day.
#[tokio::test]
async fn a_credential_that_ends_soon_is_mailed_once() {
    let Stage { t, ada, max, scout } = stage().await;
    let end = t.now().plus_seconds(8 * 86_400);
    t.credential(secret::Kind::Pat, &ada.tenant, &ada.user, None, "*", Some(end)).await;
    t.credential(secret::Kind::Session, &ada.tenant, &ada.user, None, "*", Some(end)).await;
    t.execute(&format!("UPDATE credentials SET expires_at = {} WHERE agent_id IS NOT NULL", end.millis()))
        .await
        .unwrap();
    assert_eq!(sent(&t).await, [], "not yet");
    t.wait(2 * 86_400);
    let letters = sent(&t).await;
    let told: Vec<_> = letters.iter().map(|(to, subject, _)| (to.as_str(), subject.as_str())).collect();
    assert_eq!(
        told,
        [("ada@example.com", "Your token ends soon"), ("max@example.com", "The token of the agent scout ends soon")]
    );
    for ((_, _, text), page) in letters.iter().zip(["/tokens", "/agents/scout/credentials"]) {
        assert!(text.contains("ends at 2026-01-10 03:04 UTC. From then on it is refused."), "{text}");
        assert!(text.contains(&format!("https://accredit.example/acme{page}\n")), "{text}");
        assert!(!text.contains(&max.token) && !text.contains(&scout.token), "{text}");
    }
    t.wait(5 * 86_400 + 3_600);
    assert_eq!(sent(&t).await, [], "the last day is a notification alone");
    assert_eq!(t.number("SELECT count(*) FROM notifications").await, 4);
}

/// R124: what fails together is tried again together, under the same key; two senders at once send it once.
#[tokio::test]
async fn a_digest_that_fails_is_tried_again_and_is_sent_once() {
    let Stage { t, max, .. } = stage().await;
    for _ in 0..3 {
        assert!(queue(&t, &max, "max@example.com", Kind::Silent).await);
    }
    stub::will_answer(&[Ok((500, "")), Ok((200, ""))]);
    let tick = async || {
        t.wait(1);
        t.nobody("POST", "/internal/tick", Null).await.is(204);
        stub::sent()
    };
    let key = |sent: &[http::Request<String>]| sent[0].headers()["idempotency-key"].clone();
    let first = tick().await;
    assert_eq!(t.texts("SELECT DISTINCT state || tries FROM outbox").await, ["due1"]);
    t.wait(60);
    let again = tick().await;
    assert_eq!((first.len(), again.len()), (1, 1));
    assert_eq!(key(&first), key(&again));
    assert_eq!(t.texts("SELECT DISTINCT state || tries FROM outbox").await, ["sent2"]);

    t.execute("UPDATE outbox SET state = 'due', due_at = 0").await.unwrap();
    let taken = at_once(8, async |_| outbox::take(t.db(), t.now()).await.unwrap().len());
    assert_eq!(taken.iter().sum::<usize>(), 3, "{taken:?}");
    assert_eq!(taken.iter().max(), Some(&3), "all by one");
}

/// R124: a person gets no mail of a kind that they have turned off, and all others.
#[tokio::test]
async fn a_kind_that_is_turned_off_is_not_mailed() {
    let Stage { t, ada, max, scout } = stage().await;
    let choose = async |who: &Actor, body: Json| {
        t.as_(who, "PATCH", "/api/notifications/preferences", body).await.is(200);
    };
    choose(&ada, json!({ "access_requests": false, "leaks": false })).await;
    choose(&max, json!({ "silent_agents": false, "expiring": false })).await;
    ask(&t, &scout, "agents.list").await;
    for kind in [Kind::Leak, Kind::Expiring, Kind::Silent] {
        assert_eq!(queue(&t, &ada, "ada@example.com", kind).await, kind != Kind::Leak, "{kind:?}");
        assert_eq!(queue(&t, &max, "max@example.com", kind).await, kind == Kind::Leak, "{kind:?}");
    }
    let queued = "SELECT substr(recipient, 1, 3) || ' ' || kind FROM outbox ORDER BY recipient, kind";
    assert_eq!(t.texts(queued).await, ["ada expiring", "ada silent", "max access_request", "max leak"]);
}

/// R123: what was decided meanwhile, or is for somebody else to decide by now, is not mailed any more.
#[tokio::test]
async fn a_request_that_is_decided_is_left_out() {
    let Stage { t, max, scout, .. } = stage().await;
    ask(&t, &scout, "agents.list").await;
    assert_eq!(sent(&t).await.len(), 2);
    let decided = ask(&t, &scout, "agents.read").await;
    let open = ask(&t, &scout, "audit.read").await;
    t.as_(&max, "POST", &format!("{ASK}/{decided}/deny"), Null).await.is(200);
    t.wait(3_600);
    t.execute("UPDATE users SET role = 'member'").await.unwrap();
    let letters = sent(&t).await;
    assert_eq!(letters.len(), 1, "Ada decides about nothing any more: {letters:?}");
    assert_eq!((letters[0].0.as_str(), letters[0].1.as_str()), ("max@example.com", "scout asks for access"));
    assert!(letters[0].2.contains(&open) && !letters[0].2.contains(&decided), "{}", letters[0].2);
    assert_eq!(t.number("SELECT count(*) FROM outbox WHERE state = 'due'").await, 0);
}

/// R124: however much happens, at most a hundred mails wait for one person, and a leak still arrives.
#[tokio::test]
async fn only_so_many_wait() {
    let Stage { t, max, .. } = stage().await;
    for number in 0..=outbox::MOST_WAITING {
        let is_queued = queue(&t, &max, "max@example.com", Kind::Silent).await;
        assert_eq!(is_queued, number < outbox::MOST_WAITING);
    }
    assert!(queue(&t, &max, "max@example.com", Kind::Leak).await);
    let letters = sent(&t).await;
    assert_eq!(letters.len(), 2);
    let (_, subject, text) = &letters[0];
    assert_eq!(subject, "100 messages from Accredit");
    assert!(text.contains("There may be more than these"), "{text}");
}
