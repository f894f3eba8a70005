//! Probes: is an agent let in by somebody else's API? Each is run by hand, by the tick when it is due, after a heartbeat if its result is
//! stale, and when its secret was set.
//!
//! 1. The URL is checked against the operator's list when the probe is made and at every run; the host refuses private addresses.
//! 2. One statement lets one run at a time have a probe. The request is sent outside of any transaction.
//! 3. A finding is stored in one transaction with what it leads to: when the outcome has changed, the agent and its owner are told.

mod verdict;

use common::{
    agent_secret::{SecretName, SecretValue},
    error::{ApiError, Code, Flaws},
    event::EventKind,
    id::{AgentId, ProbeId, TenantId, UserId},
    probe::ProbeStatus,
    route::Route,
    text::{text, within},
    url::{Url, check_outbound},
};
use http::{HeaderValue, Request, StatusCode, header};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Value::Null, json};
use service::{
    app::{App, log},
    caller::Caller,
    change::{Answer, Change},
    event::{self, Event},
    extract::{Body, Empty, Path},
    form,
    form::Nullable,
    object, outbound,
    response::{Response, json},
    secrets,
};
use store::{
    db::{DbError, Purpose, Tx},
    origin::Origin,
    probe::{self, Due, Finding, Probe},
};

/// Bytes that are read of an answer at most.
const MOST_READ: usize = 4 * 1024;
/// How long one run has a probe, seconds: longer than a request may take.
const LEASE: i64 = 15;
/// Probes that one tick runs at most.
const MOST_AT_ONCE: usize = 4;

/// Headers that a probe may not set: they are the connection's, or this server's own.
const RESERVED: [&str; 14] = [
    "accept",
    "connection",
    "content-length",
    "content-type",
    "expect",
    "host",
    "keep-alive",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
];

/// A probe, with the step that fixes what it found.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "ProbeWithFix")]
pub(crate) struct Shown {
    #[serde(flatten)]
    probe: Probe,
    fix: Option<String>,
}

impl Shown {
    fn of(probe: Probe, agent: &str) -> Self {
        let detail = probe.detail.as_deref().unwrap_or_default();
        let fix = probe.status.and_then(|status| status.fix(detail, agent, &probe.secret, probe.id.as_str()));
        Self { probe, fix }
    }
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Probes")]
pub(crate) struct All {
    items: Vec<Shown>,
}

/// `GET /api/agents/{name}/probes`: by name. The list has one page, since an agent has at most 16.
pub(crate) async fn list(
    app: App,
    caller: Caller,
    route: &'static Route,
    Path(name): Path,
) -> Result<Response, ApiError> {
    let agent = object::agent(app.db(), &caller, route, &name, app.now()).await?;
    let probes = probe::list(app.db(), &agent.id).await?;
    json(StatusCode::OK, &All { items: probes.into_iter().map(|probe| Shown::of(probe, &agent.name)).collect() })
}

form! {
    pub(crate) struct Create {
        name: String,
        method: Option<String>,
        url: String,
        secret: String,
        header: Option<String>,
        scheme: Option<Nullable<String>>,
        expect_status: Option<i64>,
        every_hours: Option<Nullable<i64>>,
    }
}

/// A probe to be made, checked.
struct Draft {
    name: String,
    method: String,
    url: String,
    secret: SecretName,
    header: String,
    scheme: String,
    expect_status: i64,
    every_hours: Option<i64>,
}

impl Draft {
    fn read(body: &Create) -> Result<Self, ApiError> {
        let invalid = |field: &'static str, expected: &'static str| {
            Code::InvalidProbe.with("field", field).with("expected", expected).extra("field", field)
        };
        let mut flaws = Flaws::default();
        let is = |is_good: bool, field, expected| if is_good { Ok(()) } else { Err(invalid(field, expected)) };
        let name = flaws.check("name", text("name", &body.name, 64));
        let method = body.method.as_deref().unwrap_or("GET");
        flaws.check("method", is(["GET", "HEAD", "POST"].contains(&method), "method", "one of: GET, HEAD, POST"));
        let secret = flaws.check("secret", SecretName::read(&body.secret));
        let header = body.header.as_deref().unwrap_or("Authorization");
        let is_header = (1..=64).contains(&header.len())
            && header.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
            && !RESERVED.contains(&header.to_ascii_lowercase().as_str());
        let expected =
            "the name of a request header, such as Authorization or PRIVATE-TOKEN, that is not one of the connection";
        flaws.check("header", is(is_header, "header", expected));
        let default = if header.eq_ignore_ascii_case("authorization") { "Bearer" } else { "" };
        let scheme = match &body.scheme {
            None => default,
            Some(Nullable(scheme)) => scheme.as_deref().unwrap_or_default(),
        };
        let is_scheme = scheme.len() <= 32 && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.=".contains(&b));
        let expected = "the word before the secret, such as Bearer or token, or null";
        flaws.check("scheme", is(is_scheme, "scheme", expected));
        let status =
            flaws.check("expect_status", within("expect_status", body.expect_status.unwrap_or(200), 200..=299));
        let every_hours = body.every_hours.as_ref().and_then(|Nullable(hours)| *hours);
        let every_hours = every_hours.map(|hours| within("every_hours", hours, 1..=168)).transpose();
        let every_hours = flaws.check("every_hours", every_hours);
        let (Some(name), Some(secret), Some(expect_status), Some(every_hours)) = (name, secret, status, every_hours)
        else {
            return Err(flaws.refusal());
        };
        flaws.end()?;
        Ok(Self {
            name,
            method: method.to_owned(),
            url: body.url.clone(),
            secret,
            header: header.to_owned(),
            scheme: scheme.to_owned(),
            expect_status,
            every_hours,
        })
    }
}

/// `POST /api/agents/{name}/probes`: makes a probe, and does not run it.
pub(crate) async fn create(change: Change<Body<Create>>, Path(name): Path) -> Result<Response, ApiError> {
    let draft = Draft::read(&change.input.0)?;
    change
        .on_agent(&name, async |write, agent, _| {
            check_outbound("url", &draft.url, &write.app().settings().outbound_hosts)?;
            let id = ProbeId::generate(write.now(), write.app().chance());
            let new = probe::New {
                id: &id,
                agent: &agent.id,
                name: &draft.name,
                method: &draft.method,
                url: &draft.url,
                secret: draft.secret.as_str(),
                header: &draft.header,
                scheme: &draft.scheme,
                expect_status: draft.expect_status,
                every_hours: draft.every_hours,
                by: write.caller.subject().id(),
                now: write.now(),
            };
            probe::insert(&write.tx, &new).await.map_err(|refusal| refusal.with("agent", &agent.name))?;
            let made = probe::find(&write.tx, &agent.id, id.as_str()).await?.ok_or_else(|| not_found(&agent.name))?;
            let after = json!({ "probe": id, "name": made.name, "url": made.url, "secret": made.secret });
            Ok(Answer::created(&Shown::of(made, &agent.name))?.audited(&agent.id, Null, after))
        })
        .await
}

fn not_found(agent: &str) -> ApiError {
    Code::ProbeNotFound.with("agent", agent)
}

/// `DELETE /api/agents/{name}/probes/{id}`.
pub(crate) async fn delete(change: Change<()>, Path(name): Path, Path(id): Path) -> Result<Response, ApiError> {
    change
        .on_agent(&name, async |write, agent, ()| {
            let found = probe::find(&write.tx, &agent.id, &id).await?.ok_or_else(|| not_found(&agent.name))?;
            probe::delete(&write.tx, &found.id).await?;
            let before = json!({ "probe": found.id, "name": found.name, "url": found.url, "secret": found.secret });
            Ok(Answer::no_content().audited(&agent.id, before, Null))
        })
        .await
}

/// `POST /api/agents/{name}/probes/{id}/run`: sends the request now, and answers what was found.
pub(crate) async fn run(
    mut change: Change<Body<Empty>>,
    Path(name): Path,
    Path(id): Path,
) -> Result<Response, ApiError> {
    let app = change.app.clone();
    let agent = object::agent(app.db(), &change.caller, change.route(), &name, app.now()).await?;
    let found = probe::find(app.db(), &agent.id, &id).await?.ok_or_else(|| not_found(&agent.name))?;
    change.spend_first().await?;
    let until = app.now().plus_seconds(LEASE);
    if let Err(busy_until) = probe::begin(app.db(), &found.id, app.now(), until).await? {
        let seconds = app.now().seconds_until(busy_until);
        return Err(Code::ProbeBusy.with("agent", &agent.name).retry_after(seconds));
    }
    let finding = check(&app, change.caller.tenant_id(), &agent.id, &found).await?;
    change
        .on_agent(agent.id.as_str(), async |write, agent, _| {
            // Deleted meanwhile, or another agent's by now.
            let before = probe::find(&write.tx, &agent.id, &id).await?.ok_or_else(|| not_found(&agent.name))?;
            let whose = Whose { agent: &agent.id, agent_name: &agent.name, cause: &write.cause };
            // The request may be older than the answer by the longest time that this one takes.
            let origin = Origin { now: app.clock().now(), ..write.origin() };
            settle(write.app(), &write.tx, &origin, &whose, (&found, &before), &finding).await?;
            let after = probe::find(&write.tx, &agent.id, &id).await?.ok_or_else(|| not_found(&agent.name))?;
            let audited = |probe: &Probe| json!({ "probe": probe.id, "status": probe.status });
            let (old, new) = (audited(&before), audited(&after));
            Ok(Answer::ok(&Shown::of(after, &agent.name))?.audited(&agent.id, old, new))
        })
        .await
}

/// Runs due probes, a bounded number of them, side by side: one that waits for a slow server holds up none of the others. `true`: there were
/// some.
pub(crate) async fn run_due(app: &App) -> Result<bool, DbError> {
    let (mut taken, mut taking) = (Vec::new(), Ok(()));
    while taken.len() < MOST_AT_ONCE {
        let now = app.clock().now();
        match probe::take_due(app.db(), now, now.plus_seconds(LEASE)).await {
            Ok(Some(due)) => taken.push(due),
            Ok(None) => break,
            // Those that were taken nobody else runs.
            Err(error) => {
                taking = Err(error);
                break;
            }
        }
    }
    let running = taken.iter().map(|due| run_one(app, due));
    futures_util::future::join_all(running).await.into_iter().fold(taking, Result::and)?;
    Ok(!taken.is_empty())
}

async fn run_one(app: &App, due: &Due) -> Result<(), DbError> {
    let finding = match due.is_running {
        true => check(app, &due.tenant, &due.agent, &due.probe).await,
        false => return probe::put_off(app.db(), &due.probe.id, app.clock().now()).await,
    };
    let finding = match finding {
        Ok(finding) => finding,
        Err(refusal) => {
            let cause = refusal.inner().unwrap_or(refusal.code().row().slug);
            log(app.request_id(), &format!("probe {}", due.probe.id), cause);
            return probe::put_off(app.db(), &due.probe.id, app.clock().now()).await;
        }
    };
    let now = app.clock().now();
    let tx = app.db().begin(Purpose::Durable).await?;
    // What was found is of no use if the probe was deleted, or its agent given away, meanwhile.
    let Some(before) = probe::find(&tx, &due.agent, due.probe.id.as_str()).await? else { return Ok(()) };
    let whose = Whose { agent: &due.agent, agent_name: &due.agent_name, cause: &due.owner };
    let origin = Origin { now, ..app.origin(&due.tenant, None) };
    settle(app, &tx, &origin, &whose, (&due.probe, &before), &finding).await?;
    match tx.commit().await {
        // There is no room for what was found: its time counts all the same.
        Err(DbError::Full) => probe::put_off(app.db(), &due.probe.id, now).await,
        committed => committed,
    }
}

/// Sends a probe's request and judges the answer. Whatever the other server does is a finding; `Err` is a failure of this one.
async fn check(app: &App, tenant: &TenantId, agent: &AgentId, probe: &Probe) -> Result<Finding, ApiError> {
    let finding = |status, detail: String| Ok(Finding { status, http_status: None, detail });
    let host = Url::parse(&probe.url).map_or("", |url| url.host);
    if check_outbound("url", &probe.url, &app.settings().outbound_hosts).is_err() {
        let detail = format!("The operator of this server does not allow requests to {host}.");
        return finding(ProbeStatus::NotAllowed, detail);
    }
    let name = &probe.secret;
    let Some(secret) = secrets::value(app, app.db(), tenant, agent, name).await? else {
        return finding(ProbeStatus::MissingSecret, format!("The agent has no secret {name}."));
    };
    let Some(request) = request(probe, &secret) else {
        let detail = format!("The secret {name} cannot be sent in a header, which holds one line of visible ASCII.");
        return finding(ProbeStatus::MissingSecret, detail);
    };
    match outbound::send(request, MOST_READ).await {
        Ok(answer) => Ok(verdict::verdict(host, probe.expect_status, &answer, &secret)),
        Err(cause) => {
            let cause = verdict::cleaned(&cause, &secret);
            finding(ProbeStatus::Unreachable, format!("{host} did not answer: {cause}."))
        }
    }
}

/// The request of a probe. `None`: the secret cannot stand in a header.
fn request(probe: &Probe, secret: &SecretValue) -> Option<Request<String>> {
    let secret = secret.reveal().trim_end_matches(['\n', '\r']);
    if secret.is_empty() || !secret.bytes().all(|b| b.is_ascii_graphic() || b == b' ') {
        return None;
    }
    let value = if probe.scheme.is_empty() { secret.to_owned() } else { format!("{} {secret}", probe.scheme) };
    let mut value = HeaderValue::from_str(&value).ok()?;
    value.set_sensitive(true);
    Request::builder()
        .method(probe.method.as_str())
        .uri(&probe.url)
        .header(header::ACCEPT, "application/json")
        .header(header::USER_AGENT, "accredit-probe")
        .header(probe.header.to_ascii_lowercase(), value)
        .body(String::new())
        .ok()
}

/// Whom a finding concerns.
struct Whose<'a> {
    agent: &'a AgentId,
    agent_name: &'a str,
    /// The person for whose quota the event counts.
    cause: &'a UserId,
}

/// Stores a finding about a probe as it was taken; `before` is the probe as it is by now. When the outcome has changed, the agent is told,
/// and its owner too, unless the owner ran it.
async fn settle(
    app: &App,
    tx: &Tx<'_>,
    origin: &Origin<'_>,
    whose: &Whose<'_>,
    (taken, before): (&Probe, &Probe),
    found: &Finding,
) -> Result<(), DbError> {
    probe::finish(tx, taken, found, origin.now).await?;
    let is_good = found.status == ProbeStatus::Ok;
    // A first success is no news.
    if before.status == Some(found.status) || (is_good && before.status.is_none()) {
        return Ok(());
    }
    let (name, agent) = (&before.name, whose.agent_name);
    let (kind, title) = match is_good {
        true => (EventKind::ProbeRecovered, format!("The probe {name} of {agent} succeeds again")),
        false => (EventKind::ProbeFailed, format!("The probe {name} of {agent} fails")),
    };
    let data = json!({ "id": before.id, "probe": name, "status": found.status, "detail": found.detail });
    let fix = found.status.fix(&found.detail, agent, &before.secret, before.id.as_str());
    let body = fix.unwrap_or_else(|| found.detail.clone());
    let event = Event::of_agent(kind, whose.agent).data(data).saying(title, body);
    event::deliver(app, tx, origin, Some(whose.cause), &event).await.map(drop)
}

#[cfg(test)]
mod tests;
