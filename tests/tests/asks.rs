//! Refusals that finish the job: agents that know nothing but what the answers say, and a person who clicks once for each.
#![expect(clippy::indexing_slicing, reason = "helpers of tests: whatever is not as expected ends the test")]

use std::{
    sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value as Json, json};
use tests::{Answer, Client, Over, Server, at_once, server::text};

/// A request that an agent wants to send.
struct Wish {
    method: String,
    path: String,
    body: Option<Json>,
}

/// What became of a wish.
struct Fate {
    answer: Answer,
    /// Requests in all.
    sent: usize,
    /// From the first request to the last answer.
    took: Duration,
    /// From the decision, as the agent heard of it, to the last answer.
    after: Duration,
}

fn send(client: &Client, wish: &Wish, key: Option<&str>) -> Answer {
    let body = wish.body.as_ref().map(Json::to_string);
    let headers: Vec<(&str, &str)> = key.iter().map(|key| ("idempotency-key", *key)).collect();
    client.call(&wish.method, &wish.path, &headers, body.as_deref().map(str::as_bytes))
}

/// An agent without documentation. It sends its request; of a refusal it sends what `ask` holds; of the answer it does what `next` says; and
/// it sends its own request again if it is told to.
fn script(client: &Client, wish: &Wish) -> Fate {
    let (began, mut sent) = (Instant::now(), 1);
    let mut answer = send(client, wish, None);
    let mut heard = began;
    let ask = if answer.status() == 403 { answer.json()["ask"].clone() } else { Json::Null };
    if ask.is_object() {
        let body = ask["body"].to_string();
        let mut state = client.call(text(&ask["method"]), text(&ask["path"]), &[], Some(body.as_bytes()));
        sent += 1;
        while let Some(address) = waiting(&state.json()) {
            state = client.get(&address);
            sent += 1;
        }
        heard = Instant::now();
        let state = state.json();
        if text(&state["next"]).starts_with(&format!("Send {} {} again", wish.method, wish.path)) {
            answer = send(client, wish, None);
            sent += 1;
        }
    }
    Fate { answer, sent, took: began.elapsed(), after: heard.elapsed() }
}

/// Where to wait, as the words say.
fn waiting(state: &Json) -> Option<String> {
    let next = text(&state["next"]);
    let (_, address) = next.split_once("GET ").filter(|_| next.starts_with("Wait for the decision"))?;
    Some(address.trim_end_matches('.').to_owned())
}

/// A person who decides about each request as it comes, by one click, until `is_over`. Gives the number of clicks.
fn person(owner: &Client, (verb, body): (&str, &Json), is_over: &AtomicBool) -> usize {
    let mut clicks = 0;
    while !is_over.load(SeqCst) {
        let open = owner.get("/api/access-requests?state=open").is(200);
        for request in open["items"].as_array().into_iter().flatten() {
            owner.post(&format!("/api/access-requests/{}/{verb}", text(&request["id"])), body).is(200);
            clicks += 1;
        }
        thread::sleep(Duration::from_millis(20));
    }
    clicks
}

/// Runs the scripts side by side, with a person who decides.
fn run(server: &Server, owner: &Client, wishes: &[(Client, Wish)], click: (&str, &Json)) -> (Vec<Fate>, usize) {
    let (is_over, clicks) = (AtomicBool::new(false), AtomicUsize::new(0));
    let fates = thread::scope(|scope| {
        scope.spawn(|| clicks.store(person(owner, click, &is_over), SeqCst));
        let _over = Over(&is_over);
        at_once(wishes.len(), |number| script(&wishes[number].0, &wishes[number].1))
    });
    assert_eq!(server.number("SELECT count(*) FROM access_requests WHERE state = 'open'"), 0);
    (fates, clicks.load(SeqCst))
}

/// What ten agents want to send; `cargo xtask conformance` lets agents send the same.
const WISHES: &str = include_str!("../conformance/refusals.json");

/// Ten agents, each with a token that lacks one right.
fn ten(server: &Server, owner: &Client) -> Vec<(Client, Wish)> {
    let wishes: Vec<Json> = serde_json::from_str(WISHES).unwrap_or_default();
    assert_eq!(wishes.len(), 10);
    let one = |(number, wish): (usize, &Json)| {
        let name = format!("worker-{number}");
        // Any right but the one that it will need.
        let agent = server.agent(owner, &name, &["x.none"]).client;
        let method = text(&wish["method"]).to_owned();
        let path = text(&wish["path"]).replace("{name}", &name);
        (agent, Wish { method, path, body: wish.get("body").cloned() })
    };
    (1..).zip(&wishes).map(one).collect()
}

fn stage() -> (Server, Client, Client) {
    let (server, admin) = Server::with_admin();
    admin.post("/api/scopes/custom", &json!({ "name": "x.none", "description": "Nothing." })).is(201);
    let max = server.user(&admin, "max@example.com", "member");
    (server, admin, max)
}

/// R174, R176: ten of ten reach their answer with one click of a person, and can do it once. What it took is printed.
#[test]
fn ten_agents_without_documentation_reach_their_answer_with_one_click() {
    let (server, _admin, max) = stage();
    let wishes = ten(&server, &max);
    let (fates, clicks) = run(&server, &max, &wishes, ("approve", &json!({ "lasts": "once" })));
    let done = fates.iter().filter(|fate| [200, 201].contains(&fate.answer.status())).count();
    let mut times: Vec<Duration> = fates.iter().map(|fate| fate.took).collect();
    times.sort();
    println!("| agent sends | requests | to the answer | after the decision |\n|---|---|---|---|");
    for ((_, wish), fate) in wishes.iter().zip(&fates) {
        let (took, after) = (fate.took.as_millis(), fate.after.as_millis());
        println!("| {} {} | {} | {took} ms | {after} ms |", wish.method, wish.path, fate.sent);
    }
    println!(
        "{done} of {} agents reach 200 with {clicks} clicks; median {} ms, slowest {} ms",
        fates.len(),
        times[times.len() / 2].as_millis(),
        times[times.len() - 1].as_millis()
    );
    for ((_, wish), fate) in wishes.iter().zip(&fates) {
        let status = fate.answer.status();
        assert!([200, 201].contains(&status), "{} {}: {status} {}", wish.method, wish.path, fate.answer.text());
        assert!(fate.sent >= 4, "{}", fate.sent);
    }
    assert_eq!((done, clicks), (10, 10));
    assert_eq!(server.number("SELECT count(*) FROM access_requests WHERE spent_at IS NOT NULL"), 10);
    // Once was once.
    for (client, wish) in &wishes {
        send(client, wish, None).refused(403, "scope_denied");
    }
}

/// R177: a denied agent ends after its third request; it is told by whom, with which word, and asks no more.
#[test]
fn a_denial_ends_without_retries() {
    let (server, _admin, max) = stage();
    let wishes = ten(&server, &max);
    let (fates, clicks) = run(&server, &max, &wishes, ("deny", &json!({ "reason": "Not this year." })));
    assert_eq!(clicks, 10);
    for ((client, wish), fate) in wishes.iter().zip(&fates) {
        fate.answer.refused(403, "scope_denied");
        let again = script(client, wish);
        assert_eq!(again.sent, 1, "there is no ask to be sent");
        let refused = again.answer.refused(403, "scope_denied");
        assert!(text(&refused["detail"]).ends_with("max@example.com denied it: \"Not this year.\"."), "{refused}");
        assert_eq!((&refused["denied"]["by"], &refused["ask"]), (&json!("max@example.com"), &Json::Null));
        let asked =
            client.post("/api/access-requests", &fate.answer.json()["ask"]["body"]).refused(409, "recently_denied");
        assert!(text(&asked["fix"]).starts_with("Do not ask for it again before "), "{asked}");
    }
    assert_eq!(server.number("SELECT count(*) FROM access_requests"), 10);
}

/// R174: sixteen over two hosts send what was approved once: one passes. With one `Idempotency-Key` all get its answer.
#[test]
fn one_of_sixteen_over_two_hosts_passes() {
    let (server, _admin, max) = stage();
    let second = server.second();
    for (client, wish) in ten(&server, &max) {
        let refused = send(&client, &wish, None).refused(403, "scope_denied");
        let asked = client.post("/api/access-requests", &refused["ask"]["body"]).is(201);
        let path = format!("/api/access-requests/{}", text(&asked["id"]));
        max.post(&format!("{path}/approve"), &json!({ "lasts": "once" })).is(200);
        let answers = at_once(16, |number| {
            let at = if number % 2 == 0 { &server } else { &second };
            send(&client.at(at.host().base_url()), &wish, None)
        });
        let passed: Vec<&Answer> = answers.iter().filter(|answer| [200, 201].contains(&answer.status())).collect();
        let is_known = |answer: &Answer| [200, 201, 403, 503].contains(&answer.status());
        assert!(answers.iter().all(is_known), "{} {}", wish.method, wish.path);
        // A host that was too busy has said so, and nothing has happened.
        if passed.is_empty() {
            assert!(answers.iter().any(|answer| answer.status() == 503));
            assert_eq!(max.get(&path).is(200)["state"], "approved");
        } else {
            assert_eq!(passed.len(), 1, "{} {}", wish.method, wish.path);
            assert_eq!(max.get(&path).is(200)["state"], "spent");
        }
    }
    let keyed = server.agent(&max, "keyed", &["x.none"]).client;
    let body = json!({ "name": "only", "scope": ["x.none"] });
    let wish = Wish { method: "POST".to_owned(), path: "/api/agents".to_owned(), body: Some(body) };
    let refused = send(&keyed, &wish, Some("k")).refused(403, "scope_denied");
    let asked = keyed.post("/api/access-requests", &refused["ask"]["body"]).is(201);
    max.post(&format!("/api/access-requests/{}/approve", text(&asked["id"])), &json!({ "lasts": "once" })).is(200);
    let answers = at_once(16, |number| {
        let at = if number % 2 == 0 { &server } else { &second };
        send(&keyed.at(at.host().base_url()), &wish, Some("k"))
    });
    assert!(answers.iter().all(|answer| [201, 503].contains(&answer.status())));
    let first = send(&keyed, &wish, Some("k")).is(201);
    assert!(answers.iter().filter(|answer| answer.status() == 201).all(|answer| answer.json() == first));
    assert_eq!(server.number("SELECT count(*) FROM agents WHERE name LIKE 'only%'"), 1);
}

/// R176: an agent that was paused waits for its decision, and a refusal in the problem form carries the same ask.
#[test]
fn a_paused_agent_waits_for_its_decision() {
    let (server, _admin, max) = stage();
    let scout = server.agent(&max, "scout", &["x.none"]).client;
    let problem = scout.call("GET", "/api/agents", &[("accept", "application/problem+json")], None);
    assert_eq!(problem.header("content-type"), "application/problem+json");
    let ask = problem.json()["ask"].clone();
    assert_eq!(ask, scout.get("/api/agents").refused(403, "scope_denied")["ask"]);
    let asked = scout.post(text(&ask["path"]), &ask["body"]).is(201);
    let path = format!("/api/access-requests/{}", text(&asked["id"]));
    max.post("/api/agents/scout/pause", &json!({})).is(200);
    thread::scope(|scope| {
        let waits = scope.spawn(|| scout.get(&format!("{path}?wait=25")).is(200));
        max.post(&format!("{path}/approve"), &json!({ "lasts": "once" })).is(200);
        let told = waits.join().unwrap_or_default();
        assert_eq!(told["state"], "approved", "{told}");
        assert!(text(&told["next"]).starts_with("Send GET /api/agents again, once, before "), "{told}");
    });
    scout.get(&format!("{path}?wait=26")).refused(400, "invalid_wait");
    scout.get("/api/agents").refused(403, "agent_paused");
    max.post("/api/agents/scout/resume", &json!({})).is(200);
    scout.get("/api/agents").is(200);
}
