//! Refusals that finish the job: ten scripted agents, each of which lacks one right and knows nothing but what the answers say, and a person
//! who clicks once for each. `tests/tests/asks.rs` tries the same agents with a person who denies, and over two hosts.

use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use super::{EVERY, World};
use crate::http::{Answer, Client, text};

/// What the agents send: `method`, `path` and perhaps `body`.
const WISHES: &str = include_str!("../../../tests/conformance/refusals.json");

/// A scope that opens nothing, so that each agent carries one.
const NOTHING: &str = "x.none";

/// For how long an agent waits for its decision.
const LONGEST: Duration = Duration::from_secs(60);

/// An agent with the request that it wants to send.
struct Script {
    name: String,
    token: String,
    method: String,
    path: String,
    body: Option<Value>,
    client: Client,
}

/// What became of it.
struct Fate {
    status: u16,
    /// Requests in all.
    requests: u32,
    /// From the first request to the last answer, and from the answer that told the decision; milliseconds.
    took: u128,
    after: u128,
}

impl Script {
    fn new(world: &World<'_>, number: usize, wish: &Value) -> Result<Self> {
        let name = format!("script-{number}");
        let made = world.post("/api/agents", &json!({ "name": name, "scope": [NOTHING] }))?;
        Ok(Self {
            token: text(&made, "auth_token")?,
            method: text(wish, "method")?,
            path: text(wish, "path")?.replace("{name}", &name),
            body: wish.get("body").cloned(),
            client: Client::new(world.base_url),
            name,
        })
    }

    fn send(&self) -> Result<Answer> {
        self.client.call(&self.method, &self.path, Some(&self.token), self.body.as_ref())
    }

    /// It sends its request; of a refusal it sends what `ask` holds; of the answer it does what `next` says; and it sends its own request
    /// again if it is told to.
    fn play(&self) -> Result<Fate> {
        let (began, mut requests) = (Instant::now(), 1);
        let mut answer = self.send()?;
        let mut heard = began;
        if let Some(ask) = answer.body.get("ask").filter(|ask| ask.is_object()).cloned() {
            let (method, path) = (text(&ask, "method")?, text(&ask, "path")?);
            let mut state = self.client.call(&method, &path, Some(&self.token), ask.get("body"))?.body;
            requests += 1;
            while let Some(address) = waiting(&state).filter(|_| began.elapsed() < LONGEST) {
                state = self.client.call("GET", &address, Some(&self.token), None)?.body;
                requests += 1;
            }
            heard = Instant::now();
            if next(&state).starts_with(&format!("Send {} {} again", self.method, self.path)) {
                answer = self.send()?;
                requests += 1;
            }
        }
        let (took, after) = (began.elapsed().as_millis(), heard.elapsed().as_millis());
        Ok(Fate { status: answer.status, requests, took, after })
    }
}

/// What an access request tells its agent to do.
fn next(state: &Value) -> &str {
    state.get("next").and_then(Value::as_str).unwrap_or_default()
}

/// Where to wait, as the words say.
fn waiting(state: &Value) -> Option<String> {
    let next = next(state);
    let (_, address) = next.split_once("GET ").filter(|_| next.starts_with("Wait for the decision"))?;
    Some(address.trim_end_matches('.').to_owned())
}

/// One click for each request that is open; counts those of each agent.
fn click(world: &World<'_>, clicks: &mut BTreeMap<String, u32>) -> Result<()> {
    let open = world.get("/api/access-requests?state=open")?;
    for request in open.get("items").and_then(Value::as_array).into_iter().flatten() {
        world.post(&format!("/api/access-requests/{}/approve", text(request, "id")?), &json!({ "lasts": "once" }))?;
        let name = text(request.get("agent").context("an access request without an agent")?, "name")?;
        *clicks.entry(name).or_default() += 1;
    }
    Ok(())
}

/// The agents side by side, and the person. Gives how many reached their answer with one click, and the times.
pub(super) fn play(world: &World<'_>) -> Result<Value> {
    world.post("/api/scopes/custom", &json!({ "name": NOTHING, "description": "Nothing." }))?;
    let wishes: Vec<Value> = serde_json::from_str(WISHES).context("tests/conformance/refusals.json")?;
    let scripts: Vec<Script> =
        (1..).zip(&wishes).map(|(number, wish)| Script::new(world, number, wish)).collect::<Result<_>>()?;
    let mut clicks = BTreeMap::new();
    let fates: Vec<Fate> = thread::scope(|scope| {
        let playing: Vec<_> = scripts.iter().map(|script| scope.spawn(|| script.play())).collect();
        while playing.iter().any(|one| !one.is_finished()) {
            click(world, &mut clicks)?;
            thread::sleep(EVERY);
        }
        let ended = playing.into_iter().map(|one| one.join().map_err(|_| anyhow::anyhow!("a script panicked"))?);
        ended.collect::<Result<_>>()
    })?;
    let clicks_of = |script: &Script| clicks.get(&script.name).copied().unwrap_or_default();
    let is_done = |script: &Script, fate: &Fate| (200..300).contains(&fate.status) && clicks_of(script) == 1;
    let both = || scripts.iter().zip(&fates);
    let reached = both().filter(|(script, fate)| is_done(script, fate)).count();
    let mut times: Vec<u128> = fates.iter().map(|fate| fate.took).collect();
    times.sort_unstable();
    let each: Vec<Value> = both()
        .map(|(script, fate)| {
            json!({
                "sends": format!("{} {}", script.method, script.path), "status": fate.status, "clicks": clicks_of(script),
                "requests": fate.requests, "ms": fate.took, "ms_after_decision": fate.after,
            })
        })
        .collect();
    Ok(json!({
        "agents": scripts.len(), "reached": reached, "share": share(reached, scripts.len()),
        "median_ms": times.get(times.len() / 2), "slowest_ms": times.last(), "each": each,
    }))
}

/// The share and the time, as they are printed.
pub(super) fn in_words(played: &Value) -> String {
    let of = |name: &str| played.get(name).map(Value::to_string).unwrap_or_default();
    format!(
        "{} of {} agents reach their answer with one click of a person; median {} ms, slowest {} ms",
        of("reached"),
        of("agents"),
        of("median_ms"),
        of("slowest_ms")
    )
}

/// Whether no agent was left without its answer.
pub(super) fn all_reached(played: &Value) -> bool {
    played.get("reached") == played.get("agents")
}

/// A share in hundredths.
fn share(of: usize, all: usize) -> f64 {
    let hundredths = u32::try_from(of * 100 / all.max(1)).unwrap_or_default();
    f64::from(hundredths) / 100.0
}

#[cfg(test)]
mod tests {
    use super::*;

    /// R397: an agent waits where the words say, and nowhere else.
    #[test]
    fn a_script_does_what_next_says() {
        let state =
            json!({ "next": "Wait for the decision of max or an admin: GET /api/access-requests/acc_1?wait=25." });
        assert_eq!(waiting(&state).as_deref(), Some("/api/access-requests/acc_1?wait=25"));
        assert_eq!(waiting(&json!({ "next": "Send GET /api/agents again, once." })), None);
        assert_eq!(waiting(&json!({})), None);
        assert_eq!((share(9, 10), share(0, 0)), (0.9, 0.0));
    }
}
