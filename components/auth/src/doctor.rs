//! `GET /api/auth/doctor?expect=`: is anything in the way of what I am here to do? Each check is a decision that the door makes
//! for every request, made by the same functions and without effect; each that fails has the fix of the refusal.
//!
//! 1. Of everybody: credential and account; of an agent its state and its budget.
//! 2. Then one check for each expected scope: a route that asks for it, the kind of caller, and the scope itself.

use axum::{http::StatusCode, response::Response};
use common::{
    caller::Caller,
    error::{ApiError, Code},
    form,
    form::Params,
    http::{App, json},
    scope::{Patterns, Scope, ScopeSet, Scopes},
    secret::Kind,
    store::{agent, preset, token::EXPIRING},
};
use serde::Serialize;

form! {
    pub(crate) struct Doctor {
        expect: Option<String>,
    }
}

#[derive(Serialize)]
struct Diagnosis {
    overall: &'static str,
    checks: Vec<Check>,
}

#[derive(Serialize)]
struct Check {
    check: &'static str,
    requires: String,
    status: &'static str,
    detail: String,
    /// Null: there is nothing to mend. On a check that is `ok` it makes a warning.
    fix: Option<String>,
}

/// The handler.
pub(crate) async fn doctor(app: App, caller: Caller, Params(ask): Params<Doctor>) -> Result<Response, ApiError> {
    let expected = match ask.expect {
        Some(text) => Some(named(&app, &caller, &text).await?),
        None => own(&app, &caller).await?,
    };
    let patient = Patient { app: &app, caller: &caller };
    let mut checks = vec![patient.credential(), patient.account()];
    if let Some((name, _)) = caller.agent() {
        let running = format!("The agent {name} is running.");
        checks.push(patient.check("state", "a running agent", caller.running(), running));
        let within = format!("The agent {name} has not spent more than its budget.");
        checks.push(patient.check("budget", "an agent within its budget", caller.within_budget(), within));
    }
    if let Some(expected) = &expected {
        patient.scopes(expected, &mut checks);
    }
    // Only what was decided counts: a check that was skipped makes nothing good.
    let any = |is: fn(&Check) -> bool| checks.iter().any(is);
    let overall = if any(|check| !["ok", "skipped"].contains(&check.status)) {
        "fail"
    } else if any(|check| check.status == "skipped" || check.fix.is_some()) {
        "warn"
    } else {
        "ok"
    };
    json(StatusCode::OK, &Diagnosis { overall, checks })
}

/// What `expect` names: scopes and patterns, and the newest versions of presets, with commas or blanks between them.
async fn named(app: &App, caller: &Caller, text: &str) -> Result<Scopes, ApiError> {
    let unknown = |what: Vec<String>| ApiError::from(Code::UnknownExpectation).extra("unknown", what);
    let words = text.split([',', ' ']).map(str::trim).filter(|word| !word.is_empty());
    let (presets, scopes): (Vec<&str>, Vec<&str>) = words.partition(|word| word.starts_with("preset:"));
    let mut expected = Scopes { known: ScopeSet::EMPTY, custom: Default::default() };
    for word in &presets {
        let name = word.strip_prefix("preset:").unwrap_or_default();
        let newest = preset::newest(app.db(), caller.tenant_id(), name).await?;
        let newest = newest.ok_or_else(|| unknown(vec![(*word).to_owned()]))?;
        expected = expected.or(of_a_class(caller, &newest.scope));
    }
    if presets.is_empty() || !scopes.is_empty() {
        let scopes: Vec<String> = scopes.into_iter().map(str::to_owned).collect();
        let scopes = Patterns::parse(&scopes, caller.defined()).map_err(unknown)?;
        expected = expected.or(scopes.scopes(caller.defined()));
    }
    Ok(expected)
}

/// What is expected of who names nothing: of an agent its preset, in the newest version, or else its ceiling; of a person
/// nothing.
async fn own(app: &App, caller: &Caller) -> Result<Option<Scopes>, ApiError> {
    let Some(id) = caller.agent_id() else { return Ok(None) };
    // Archived since the door let it in: its next request is refused there.
    let Some(agent) = agent::by_id(app.db(), id, app.now()).await? else { return Ok(None) };
    let newest = match &agent.preset {
        Some(name) => preset::newest(app.db(), caller.tenant_id(), name).await?,
        None => None,
    };
    let scope = newest.map_or(agent.scope, |newest| newest.scope);
    Ok(Some(of_a_class(caller, &scope)))
}

/// What a preset or a ceiling means for this caller: an agent is not ill for lack of what no agent can use.
fn of_a_class(caller: &Caller, patterns: &Patterns) -> Scopes {
    let all = patterns.scopes(caller.defined());
    if caller.agent_id().is_none() {
        return all;
    }
    let usable = Scope::ALL.iter().copied().filter(|scope| caller.kind_for(*scope).is_ok()).collect();
    Scopes { known: all.known.and(usable), custom: all.custom }
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
                let (detail, fix) = self.told(&refusal);
                Check { check, requires, status, detail, fix: Some(fix) }
            }
        }
    }

    /// What the refusal would tell this caller.
    fn told(&self, refusal: &ApiError) -> (String, String) {
        let link = self.app.settings().link();
        let envelope = refusal.envelope(self.app.request_id().as_str(), link, Some(self.caller.known()));
        (envelope.detail.to_owned(), envelope.fix.into_owned())
    }

    fn credential(&self) -> Check {
        let (caller, now) = (self.caller, self.app.now());
        let what = format!("{} {}", caller.credential_kind().as_str(), caller.credential_prefix());
        let end = caller.expires_at().map_or("never ends".to_owned(), |end| format!("ends at {end}"));
        let good = format!("The credential {what} is live and {end}.");
        let mut check = self.check("credential", "a live credential", caller.live(now), good);
        // A session always ends soon.
        let is_ending = caller.expires_at().is_some_and(|end| end <= now.plus_seconds(EXPIRING));
        if check.fix.is_none() && is_ending && caller.credential_kind() != Kind::Session {
            check.fix = Some(self.told(&caller.ended(Code::TokenExpired)).1);
        }
        check
    }

    fn account(&self) -> Check {
        let (email, role) = (self.caller.email(), self.caller.role().as_str());
        let good = format!("The account {email} is active and has the role {role}.");
        self.check("account", "an active account", self.caller.live(self.app.now()), good)
    }

    /// One check for each expected scope.
    fn scopes(&self, expected: &Scopes, checks: &mut Vec<Check>) {
        let good = |name: &str| format!("The credential can use {name}.");
        for scope in Scope::ALL.iter().copied().filter(|scope| expected.known.contains(*scope)) {
            let decided = self.caller.kind_for(scope).and_then(|()| self.caller.require(scope));
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
                detail: "Nothing is expected that could be checked.".to_owned(),
                fix: Some("Name what you need: GET /api/auth/doctor?expect=preset:worker.".to_owned()),
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use common::{
        scope::Role,
        testing::{Actor, TestApp},
    };
    use serde_json::{Value as Json, Value::Null, json};

    use super::*;
    use crate::with_neighbours;

    const DOCTOR: &str = "/api/auth/doctor";

    async fn stage(scope: &str) -> (TestApp, Actor, Actor) {
        let t = TestApp::new(with_neighbours());
        let tenant = t.tenant("main").await;
        let ada = t.user(&tenant, "ada@example.com", Role::Member).await;
        let scout = t.agent(&ada, "scout", scope).await;
        (t, ada, scout)
    }

    async fn ask(t: &TestApp, actor: &Actor, query: &str) -> Json {
        t.as_(actor, "GET", &format!("{DOCTOR}{query}"), Null).await.is(200)
    }

    /// `check requires status`, of every check behind the first two.
    fn found(told: &Json) -> Vec<String> {
        let text = |check: &Json, name: &str| check[name].as_str().unwrap().to_owned();
        let checks = told["checks"].as_array().unwrap().iter().skip(2);
        checks
            .map(|check| format!("{} {} {}", text(check, "check"), text(check, "requires"), text(check, "status")))
            .collect()
    }

    #[tokio::test]
    async fn a_healthy_agent_is_told_so_check_by_check() {
        let (t, ada, scout) = stage("agents.read ui.notify").await;
        let told = ask(&t, &scout, "").await;
        let good = |check: &str, requires: &str, detail: String| json!({ "check": check, "requires": requires, "status": "ok", "detail": detail, "fix": null });
        let prefix = &scout.token[..16];
        assert_eq!(
            told,
            json!({ "overall": "ok", "checks": [
                good("credential", "a live credential", format!("The credential agent_token {prefix} is live and never ends.")),
                good("account", "an active account", "The account ada@example.com is active and has the role member.".into()),
                good("state", "a running agent", "The agent scout is running.".into()),
                good("budget", "an agent within its budget", "The agent scout has not spent more than its budget.".into()),
                good("scope", "agents.read", "The credential can use agents.read.".into()),
                good("scope", "ui.notify", "The credential can use ui.notify.".into()),
            ] })
        );
        let told = ask(&t, &ada, "").await;
        assert_eq!((&told["overall"], told["checks"].as_array().unwrap().len()), (&json!("ok"), 2));
        assert_eq!(t.number("SELECT count(*) FROM audit").await, 0);
    }

    /// R43: the doctor answers a halted and an overspent agent, and says what is wrong with the fix of the refusal.
    #[tokio::test]
    async fn a_halted_agent_may_ask_and_is_told_so() {
        let (t, _, scout) = stage("agents.read").await;
        for (state, slug, check) in
            [("paused", "agent_paused", 2), ("stopped", "agent_stopped", 2), ("running", "over_budget", 3)]
        {
            let spent = i64::from(state == "running") * 9;
            t.execute(&format!("UPDATE agents SET state = '{state}', budget_cents = 5, spent_cents = {spent}"))
                .await
                .unwrap();
            let told = ask(&t, &scout, "").await;
            assert_eq!(told["overall"], "fail");
            let bad = &told["checks"][check];
            let status = if check == 3 { "over_budget" } else { state };
            assert_eq!(bad["status"], status);
            assert_eq!(told["checks"][4]["status"], "ok", "what it carries is there all the same");
            let refused = t.as_(&scout, "GET", "/api/audit", Null).await;
            let refused = refused.refused(if check == 3 { 402 } else { 403 }, slug);
            assert_eq!((&bad["fix"], &bad["detail"]), (&refused["fix"], &refused["detail"]));
        }
    }

    /// The fix of a missing scope is that of the 403; R59: it holds for people, agents and keys alike.
    #[tokio::test]
    async fn a_missing_scope_has_the_fix_of_the_refusal() {
        let (t, ada, scout) = stage("agents.read").await;
        let pat = t.credential(Kind::Pat, &ada.tenant, &ada.user, None, "agents.read", None).await;
        let key = t.credential(Kind::ApiKey, &ada.tenant, &ada.user, scout.agent.as_ref(), "agents.read", None).await;
        for actor in [&scout, &pat, &key] {
            let told = ask(&t, actor, "?expect=audit.read").await;
            let check = told["checks"].as_array().unwrap().last().unwrap().clone();
            let refused = t.as_(actor, "GET", "/api/audit", Null).await.refused(403, "scope_denied");
            assert_eq!((&told["overall"], &check["status"]), (&json!("fail"), &json!("missing_scope")));
            assert_eq!((&check["fix"], &check["detail"]), (&refused["fix"], &refused["detail"]));
        }
    }

    /// An agent is held to its preset in the newest version, or else to its ceiling; never to what no agent can use.
    #[tokio::test]
    async fn an_agent_is_held_to_its_preset_or_its_ceiling() {
        let (t, ada, scout) = stage("agents.list agents.read audit.read guides.read").await;
        t.execute("UPDATE agents SET preset = 'reader', preset_version = 1").await.unwrap();
        assert_eq!(ask(&t, &scout, "").await["overall"], "ok");
        t.execute(&format!(
            "INSERT INTO presets VALUES ('{0}', 'reader', 2, 'agents.* users.read x.crm.read', 0, '{1}')",
            ada.tenant, ada.user
        ))
        .await
        .unwrap();
        t.execute(&format!("INSERT INTO custom_scopes VALUES ('{}', 'x.crm.read', 'r', 0, 'u')", ada.tenant))
            .await
            .unwrap();
        let told = ask(&t, &scout, "").await;
        let lines = found(&told);
        assert_eq!(told["overall"], "fail");
        assert!(lines.contains(&"scope agents.read ok".to_owned()), "{lines:?}");
        assert!(lines.contains(&"scope agents.create missing_scope".to_owned()), "{lines:?}");
        assert!(lines.contains(&"scope x.crm.read missing_scope".to_owned()), "{lines:?}");
        assert!(!lines.iter().any(|line| line.contains("users.") || line.contains("stop_all")), "{lines:?}");
        t.execute("UPDATE agents SET preset = NULL, preset_version = NULL, scope = '*'").await.unwrap();
        t.execute("UPDATE credentials SET scope = '*'").await.unwrap();
        t.execute("UPDATE users SET role = 'admin'").await.unwrap();
        let told = ask(&t, &scout, "").await;
        assert_eq!(told["overall"], "ok", "{told}");
        // R41: the owner's role is part of every decision.
        t.execute("UPDATE users SET role = 'viewer'").await.unwrap();
        let lines = found(&ask(&t, &scout, "").await);
        assert!(lines.contains(&"scope agents.read ok".to_owned()), "{lines:?}");
        assert!(lines.contains(&"scope agents.update missing_scope".to_owned()), "{lines:?}");
        // Nothing expected is nothing found good.
        t.execute("UPDATE agents SET scope = ''").await.unwrap();
        let told = ask(&t, &scout, "").await;
        assert_eq!((&told["overall"], found(&told).pop()), (&json!("warn"), Some("scope a scope skipped".to_owned())));
    }

    #[tokio::test]
    async fn what_is_expected_is_named_as_preset_or_scopes() {
        let (t, ada, scout) = stage("agents.read agents.keys.*").await;
        assert_eq!(
            found(&ask(&t, &scout, "?expect=agents.keys.*,ui.notify%20agents.read").await)[2..],
            [
                "scope agents.read ok",
                "scope agents.keys.read ok",
                "scope agents.keys.write ok",
                "scope ui.notify missing_scope"
            ]
        );
        // Whoever it is for: people only, agents only, sessions only.
        assert_eq!(found(&ask(&t, &scout, "?expect=users.read").await)[2..], ["scope users.read denied"]);
        assert_eq!(
            found(&ask(&t, &ada, "?expect=ui.notify,agents.read").await),
            ["scope agents.read ok", "scope ui.notify denied"]
        );
        t.execute("UPDATE users SET role = 'admin'").await.unwrap();
        let pat = t.credential(Kind::Pat, &ada.tenant, &ada.user, None, "*", None).await;
        let told = ask(&t, &pat, "?expect=users.write").await;
        assert_eq!(found(&told), ["scope users.write denied"]);
        assert!(told["checks"][2]["fix"].as_str().unwrap().contains("POST /auth/token"), "{told}");
        assert_eq!(ask(&t, &ada, "?expect=users.write").await["overall"], "ok");
        let told = ask(&t, &scout, "?expect=preset:reader").await;
        assert_eq!(
            found(&told)[2..],
            [
                "scope agents.list missing_scope",
                "scope agents.read ok",
                "scope audit.read missing_scope",
                "scope guides.read missing_scope"
            ]
        );
        for bad in [
            "",
            ",",
            "preset:",
            "preset:none",
            "fly",
            "agents.read,fly",
            "preset:reader,fly",
            "preset:none,agents.read",
        ] {
            t.as_(&scout, "GET", &format!("{DOCTOR}?expect={bad}"), Null).await.refused(400, "unknown_expectation");
        }
        t.as_(&scout, "GET", &format!("{DOCTOR}?preset=reader"), Null).await.refused(422, "validation_error");
        t.nobody("GET", DOCTOR, Null).await.refused(401, "missing_credential");
    }

    /// An end within 7 days is a warning; sessions always end soon.
    #[tokio::test]
    async fn an_end_that_is_near_is_warned_of() {
        let (t, ada, scout) = stage("agents.read").await;
        let end = |days: i64| Some(t.now().plus_seconds(days * 86_400));
        for (days, overall) in [(8, "ok"), (7, "warn"), (1, "warn")] {
            let pat = t.credential(Kind::Pat, &ada.tenant, &ada.user, None, "*", end(days)).await;
            let told = ask(&t, &pat, "").await;
            assert_eq!((&told["overall"], &told["checks"][0]["status"]), (&json!(overall), &json!("ok")), "{days}");
            assert_eq!(told["checks"][0]["fix"].is_string(), overall == "warn");
        }
        t.execute(&format!(
            "UPDATE credentials SET expires_at = {} WHERE kind = 'agent_token'",
            t.now().plus_seconds(60).millis()
        ))
        .await
        .unwrap();
        let told = ask(&t, &scout, "").await;
        assert_eq!(told["overall"], "warn");
        assert_eq!(
            told["checks"][0]["fix"],
            "Ask ada@example.com for a new token: POST /api/agents/scout/token/issue."
        );
        assert_eq!(ask(&t, &ada, "").await["overall"], "ok");
        let key = t.credential(Kind::ApiKey, &ada.tenant, &ada.user, scout.agent.as_ref(), "*", end(2)).await;
        let fix = ask(&t, &key, "").await["checks"][0]["fix"].clone();
        assert!(fix.as_str().unwrap().contains("POST /api/agents/scout/keys"), "{fix}");
    }

    /// What was approved counts as it does at the doors.
    #[tokio::test]
    async fn what_was_approved_is_there() {
        let (t, _, scout) = stage("agents.read").await;
        t.execute(&format!(
            "INSERT INTO access_requests (id, tenant_id, agent_id, scope, reason, hours, state, created_at, granted, ends_at)
             SELECT 'acc_1', tenant_id, id, 'audit.read', 'r', 1, 'approved', 0, 'audit.read', {} FROM agents",
            t.now().plus_seconds(60).millis()
        ))
        .await
        .unwrap();
        for overall in ["ok", "fail"] {
            assert_eq!(ask(&t, &scout, "?expect=audit.read").await["overall"], overall);
            t.wait(60);
        }
    }
}
