//! `GET /api/auth/doctor?expect=`: does anything prevent the caller's work? Each check is a decision that the guard makes for
//! every request, made by the same functions and without effect; a check that fails has the fix of the refusal.
//!
//! 1. For every caller: credential and account; for an agent also its state and its budget.
//! 2. Then one check for each expected scope: a route that asks for it, the kind of caller, and the scope itself.
//! 3. For an agent, whether it can read the secrets that it has; then one for each secret and probe that the expected presets list, and for
//!    each other probe that it has. A probe that fails is a warning: it tells of somebody else's server. So are secrets that cannot be read.

use std::collections::BTreeSet;

use common::{
    error::{ApiError, Code},
    id::AgentId,
    probe::ProbeStatus,
    scope::{Patterns, Scope, Scopes},
    secret::Kind,
};
use http::StatusCode;
use schemars::JsonSchema;
use serde::Serialize;
use service::{
    app::App,
    caller::Caller,
    extract::Query,
    form, guard, reader,
    response::{Response, json},
};
use store::{
    agent::{self, secret},
    credential::status::EXPIRING,
    preset::{self, Preset},
    probe,
};

form! {
    pub(crate) struct Doctor {
        expect: Option<String>,
    }
}

/// The name of the checks of probes.
const PROBE: &str = "probe";

/// What the expected presets need beside scopes.
#[derive(Default)]
struct Needed {
    secrets: BTreeSet<String>,
    probes: BTreeSet<String>,
}

impl Needed {
    fn add(&mut self, preset: Preset) {
        self.secrets.extend(preset.secrets);
        self.probes.extend(preset.probes);
    }
}

#[derive(Serialize, JsonSchema)]
pub(crate) struct Diagnosis {
    overall: &'static str,
    checks: Vec<Check>,
}

#[derive(Serialize, JsonSchema)]
struct Check {
    check: &'static str,
    requires: String,
    status: &'static str,
    detail: String,
    /// Null: there is nothing to fix. On a check that is `ok` it makes a warning.
    fix: Option<String>,
}

/// The handler.
pub(crate) async fn doctor(app: App, caller: Caller, Query(query): Query<Doctor>) -> Result<Response, ApiError> {
    let mut needed = Needed::default();
    let expected = match query.expect {
        Some(text) => Some(named(&app, &caller, &text, &mut needed).await?),
        None => own(&app, &caller, &mut needed).await?,
    };
    let patient = Patient { app: &app, caller: &caller };
    let mut checks = vec![patient.credential(), patient.account()];
    if let Some((name, _)) = caller.agent() {
        let running = format!("The agent {name} is running.");
        checks.push(patient.check("state", "a running agent", caller.check_running(), running));
        let within = format!("The agent {name} has not spent more than its budget.");
        checks.push(patient.check("budget", "an agent within its budget", caller.check_budget(), within));
    }
    if let Some(expected) = &expected {
        patient.scopes(expected, &mut checks);
    }
    if let Some(agent) = caller.agent_id() {
        patient.secrets(agent, &needed, &mut checks).await?;
        patient.probes(agent, &needed, &mut checks).await?;
    }
    // Only what was decided counts: a skipped check is not a success.
    let any = |is: fn(&Check) -> bool| checks.iter().any(is);
    let overall = if any(|check| !["ok", "skipped"].contains(&check.status) && check.check != PROBE) {
        "fail"
    } else if any(|check| check.status != "ok" || check.fix.is_some()) {
        "warn"
    } else {
        "ok"
    };
    json(StatusCode::OK, &Diagnosis { overall, checks })
}

/// The scopes that `expect` names: scopes, patterns and presets, which stand for their newest versions, with commas or blanks between them.
async fn named(app: &App, caller: &Caller, text: &str, needed: &mut Needed) -> Result<Scopes, ApiError> {
    let unknown = |what: Vec<String>| ApiError::from(Code::UnknownExpectation).extra("unknown", what);
    let words = text.split([',', ' ']).map(str::trim).filter(|word| !word.is_empty());
    let (presets, scopes): (Vec<&str>, Vec<&str>) = words.partition(|word| word.starts_with("preset:"));
    let mut expected = Scopes::default();
    for word in &presets {
        let name = word.strip_prefix("preset:").unwrap_or_default();
        let newest = preset::newest(app.db(), caller.tenant_id(), name).await?;
        let newest = newest.ok_or_else(|| unknown(vec![(*word).to_owned()]))?;
        expected = expected.or(of_a_class(caller, &newest.scope));
        needed.add(newest);
    }
    if presets.is_empty() || !scopes.is_empty() {
        let scopes: Vec<String> = scopes.into_iter().map(str::to_owned).collect();
        let scopes = Patterns::parse(&scopes, caller.custom_scopes()).map_err(unknown)?;
        expected = expected.or(scopes.scopes(caller.custom_scopes()));
    }
    Ok(expected)
}

/// The scopes expected of a caller that names nothing: of an agent its preset, in the newest version, or else its ceiling; of a person
/// nothing.
async fn own(app: &App, caller: &Caller, needed: &mut Needed) -> Result<Option<Scopes>, ApiError> {
    let Some(id) = caller.agent_id() else { return Ok(None) };
    // Archived since the guard let it in, which refuses its next request.
    let Some(agent) = agent::by_id(app.db(), id, app.now()).await? else { return Ok(None) };
    let newest = match &agent.settings.preset {
        Some(name) => preset::newest(app.db(), caller.tenant_id(), name).await?,
        None => None,
    };
    let scope = newest.as_ref().map_or(agent.settings.scope, |newest| newest.scope.clone());
    newest.into_iter().for_each(|newest| needed.add(newest));
    Ok(Some(of_a_class(caller, &scope)))
}

/// The scopes that a preset or a ceiling means for this caller: an agent does not fail for lack of a scope that no agent can use.
fn of_a_class(caller: &Caller, patterns: &Patterns) -> Scopes {
    let all = patterns.scopes(caller.custom_scopes());
    if caller.agent_id().is_none() {
        return all;
    }
    let usable = Scope::ALL.iter().copied().filter(|scope| guard::check_kind_for(caller, *scope).is_ok()).collect();
    Scopes { known: all.known.and(usable), custom: all.custom }
}

/// What a probe's outcome is called here.
fn verdict(found: ProbeStatus) -> &'static str {
    match found {
        ProbeStatus::Ok => "ok",
        ProbeStatus::Unauthorized | ProbeStatus::NotAllowed => "denied",
        ProbeStatus::Forbidden => "missing_scope",
        ProbeStatus::MissingSecret => "missing_secret",
        ProbeStatus::Unexpected | ProbeStatus::Unreachable => "unreachable",
    }
}

struct Patient<'a> {
    app: &'a App,
    caller: &'a Caller,
}

impl Patient<'_> {
    /// A decision as a check.
    fn check(&self, check: &'static str, requires: &str, decided: Result<(), ApiError>, good: String) -> Check {
        let requires = requires.to_owned();
        match decided {
            Ok(()) => Check { check, requires, status: "ok", detail: good, fix: None },
            Err(refusal) => {
                let status = match refusal.code() {
                    Code::ScopeDenied => "missing_scope",
                    Code::TokenExpired => "expired",
                    Code::AgentPaused => "paused",
                    Code::AgentStopped => "stopped",
                    Code::OverBudget => "over_budget",
                    _ => "denied",
                };
                let (detail, fix) = self.detail_and_fix(&refusal);
                Check { check, requires, status, detail, fix: Some(fix) }
            }
        }
    }

    /// The detail and the fix that the refusal would have for this caller.
    fn detail_and_fix(&self, refusal: &ApiError) -> (String, String) {
        let link = self.app.settings().link();
        let envelope = refusal.envelope(self.app.request_id().as_str(), link, Some(reader::of(self.caller, self.app)));
        (envelope.detail.to_owned(), envelope.fix.into_owned())
    }

    fn credential(&self) -> Check {
        let (caller, now) = (self.caller, self.app.now());
        let what = format!("{} {}", caller.credential_kind().as_str(), caller.credential_prefix());
        let end = caller.expires_at().map_or("never expires".to_owned(), |end| format!("expires at {end}"));
        let good = format!("The credential {what} is live and {end}.");
        let mut check = self.check("credential", "a live credential", caller.check_live(), good);
        // A session always ends soon, and so does what a workload gets.
        let is_short = caller.credential_kind() == Kind::Session || caller.federated().is_some();
        let is_ending = caller.expires_at().is_some_and(|end| end <= now.plus_seconds(EXPIRING));
        if check.fix.is_none() && is_ending && !is_short {
            check.fix = Some(self.detail_and_fix(&caller.ended(Code::TokenExpired)).1);
        }
        check
    }

    fn account(&self) -> Check {
        let (email, role) = (self.caller.email(), self.caller.role().as_str());
        let good = format!("The account {email} is active and has the role {role}.");
        self.check("account", "an active account", self.caller.check_live(), good)
    }

    /// One check for each secret that a preset lists.
    async fn secrets(&self, agent: &AgentId, needed: &Needed, checks: &mut Vec<Check>) -> Result<(), ApiError> {
        let names: Vec<String> = needed.secrets.iter().cloned().collect();
        let missing = secret::missing(self.app.db(), agent, &names).await?;
        let (me, owner) = self.caller.agent_and_owner().unwrap_or_default();
        if !secret::list(self.app.db(), agent).await?.is_empty() {
            let scope = Scope::AgentsSecretsRead;
            let good = format!("The agent {me} can read its secrets.");
            let check = self.check("secrets", scope.as_str(), self.caller.require(scope), good);
            // A warning: it may have others that it needs less, or be given their values by its runtime.
            checks.push(Check { status: "ok", ..check });
        }
        for name in names {
            let (status, detail, fix) = if missing.contains(&name) {
                let step = format!("PUT /api/agents/{me}/secrets/{name} {{\"value\": \"…\"}}");
                (
                    "missing_secret",
                    format!("The agent {me} has no secret {name}."),
                    Some(format!("Ask {owner} to send {step}.")),
                )
            } else {
                ("ok", format!("The agent {me} has the secret {name}."), None)
            };
            checks.push(Check { check: "secret", requires: name, status, detail, fix });
        }
        Ok(())
    }

    /// One check for each probe that the agent has, or that a preset lists.
    async fn probes(&self, agent: &AgentId, needed: &Needed, checks: &mut Vec<Check>) -> Result<(), ApiError> {
        let (me, owner) = self.caller.agent_and_owner().unwrap_or_default();
        let probes = probe::list(self.app.db(), agent).await?;
        for name in needed.probes.iter().filter(|name| probes.iter().all(|probe| probe.name != **name)) {
            checks.push(Check {
                check: PROBE,
                requires: name.clone(),
                status: "skipped",
                detail: format!("The agent {me} has no probe {name}."),
                fix: Some(format!("Ask {owner} to create it with POST /api/agents/{me}/probes.")),
            });
        }
        for probe in probes {
            let detail = probe.detail.unwrap_or_default();
            let fix = probe.status.and_then(|status| status.fix(&detail, me, &probe.secret, probe.id.as_str()));
            let (status, detail, fix) = match probe.status {
                None => {
                    let run = format!("POST /api/agents/{me}/probes/{}/run", probe.id);
                    let step = format!("Ask {owner} to send {run}, or wait until it is run after a heartbeat.");
                    ("skipped", format!("The probe {} was not run yet.", probe.name), Some(step))
                }
                Some(status) => (verdict(status), detail, fix),
            };
            checks.push(Check { check: PROBE, requires: probe.name, status, detail, fix });
        }
        Ok(())
    }

    /// One check for each expected scope.
    fn scopes(&self, expected: &Scopes, checks: &mut Vec<Check>) {
        let good = |name: &str| format!("The credential can use {name}.");
        for scope in Scope::ALL.iter().copied().filter(|scope| expected.known.contains(*scope)) {
            let decided = guard::check_kind_for(self.caller, scope).and_then(|()| self.caller.require(scope));
            checks.push(self.check("scope", scope.as_str(), decided, good(scope.as_str())));
        }
        for name in &expected.custom {
            checks.push(self.check("scope", name, self.caller.require_custom(name), good(name)));
        }
        if expected.is_empty() {
            checks.push(Check {
                check: "scope",
                requires: "a scope".to_owned(),
                status: "skipped",
                detail: "There is no expected scope to check.".to_owned(),
                fix: Some(
                    "Name in expect what you need, for example GET /api/auth/doctor?expect=preset:worker.".to_owned(),
                ),
            });
        }
    }
}

#[cfg(test)]
mod tests;
