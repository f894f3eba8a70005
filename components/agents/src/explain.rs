//! Why a user or an agent may do something with an agent, or not.

use common::{
    agent::AgentState,
    error::{ApiError, Code},
    permission::Action,
    route::Route,
    scope::Scope,
};
use http::StatusCode;
use schemars::JsonSchema;
use serde::Serialize;
use service::{
    app::App,
    caller::Caller,
    extract::{Path, Query},
    form, object,
    response::{Response, json},
};
use store::{
    agent,
    explain::{self, ExplainedFactor},
    grant::{self, Named, NamedSubject},
};

form! {
    pub(crate) struct Explain {
        subject: Option<String>,
        action: Option<String>,
    }
}

#[derive(Serialize, JsonSchema)]
pub(crate) struct Explanation {
    agent: String,
    subject: Named,
    action: &'static str,
    allowed: bool,
    factors: Vec<ExplainedFactor>,
}

/// `GET /api/agents/{name}/explain?subject=&action=`: each factor of the decision. Every caller may ask about itself; about others it
/// needs `share`.
pub(crate) async fn explain(
    app: App,
    caller: Caller,
    route: &'static Route,
    Path(name): Path,
    Query(query): Query<Explain>,
) -> Result<Response, ApiError> {
    let action = query.action.as_deref().map_or(Ok(Action::Read), action)?;
    let target = object::agent(app.db(), &caller, route, &name, app.now()).await?;
    // `me` is the asking caller, as in paths.
    let subject = query.subject.as_deref().filter(|text| *text != "me");
    // Decided before any subject is looked up: a caller that may not ask about others does not learn which subjects exist.
    if !subject.is_none_or(|text| is_caller(&caller, text)) {
        caller.require(Scope::AgentsShare)?;
        agent::get(app.db(), caller.subject(), &name, Action::Share, app.now()).await?;
    }
    let about = subject.unwrap_or(caller.subject().id());
    let mut about = grant::find_subject(app.db(), caller.subject(), about).await?.ok_or(Code::SubjectNotFound)?;
    if about.subject.id() == caller.subject().id() {
        // About itself, by the credential that it asks with.
        about.subject.grantee.clone_from(&caller.subject().grantee);
    }
    let relations = explain::agent(app.db(), &about.subject, target.id.as_str()).await?;
    let relations = relations.ok_or(Code::AgentNotFound)?; // archived since it was looked up
    let is_agent = about.subject.agent.is_some();
    let mut factors = vec![account(&about)];
    factors.extend(relations.factors(action).map(|(factor, holds)| ExplainedFactor {
        factor: factor.as_str(),
        holds,
        why: factor.why(holds, &about.named.name, is_agent, &target.name),
    }));
    let rights = rights(&app, &about, action).await?;
    let allowed = relations.allows(action) && about.is_active && rights.iter().all(|right| right.holds);
    factors.extend(rights);
    let form = Explanation { agent: target.name, subject: about.named, action: action.as_str(), allowed, factors };
    json(StatusCode::OK, &form)
}

fn action(word: &str) -> Result<Action, ApiError> {
    let valid = Action::ALL.map(Action::as_str).join(", ");
    // `can` takes the scope for the same question.
    let word = word.strip_prefix("agents.").unwrap_or(word);
    Action::from_word(word).ok_or_else(|| Code::UnknownAction.with("valid", valid))
}

/// Whether a text names the caller: by id, address or name.
fn is_caller(caller: &Caller, text: &str) -> bool {
    let name = caller.agent().map_or(caller.email(), |(name, _)| name);
    text.trim() == caller.subject().id() || text.trim().eq_ignore_ascii_case(name)
}

/// The person whose account and role count for the subject.
fn person(about: &NamedSubject) -> String {
    let name = &about.named.name;
    if about.subject.agent.is_some() { format!("the owner of {name}") } else { name.clone() }
}

fn account(about: &NamedSubject) -> ExplainedFactor {
    let state = if about.is_active { "active" } else { "deactivated" };
    let why = format!("The account of {} is {state}.", person(about));
    ExplainedFactor { factor: "account_active", holds: about.is_active, why }
}

/// What must hold beside the relation, whatever the object is: the role, and of an agent its ceiling, state and budget. What a
/// credential carries is another question, which only its bearer can ask.
async fn rights(app: &App, about: &NamedSubject, action: Action) -> Result<Vec<ExplainedFactor>, ApiError> {
    let needed = match action {
        Action::Read => Scope::AgentsRead,
        Action::Update => Scope::AgentsUpdate,
        Action::Delete => Scope::AgentsDelete,
        Action::Share => Scope::AgentsShare,
    };
    let (scope, role, name) = (needed.as_str(), about.subject.role, &about.named.name);
    let has = |holds: bool| if holds { "has" } else { "lacks" };
    let in_role = role.ceiling().contains(needed);
    let why = format!("The role {} of {} {} {scope}.", role.as_str(), person(about), has(in_role));
    let role = ExplainedFactor { factor: "role", holds: in_role, why };
    let Some(id) = &about.subject.agent else { return Ok(vec![role]) };
    let agent = agent::by_id(app.db(), id, app.now()).await?.ok_or(Code::SubjectNotFound)?;
    let in_ceiling = agent.settings.scope.set().contains(needed) || agent.approved.set().contains(needed);
    let ceiling = format!("The ceiling of {name}, including what was approved for it, {} {scope}.", has(in_ceiling));
    let state = format!("{name} is {}.", agent.state.as_str());
    let spent = match agent.settings.budget_cents {
        None => format!("{name} has no budget, so its spending is not limited."),
        Some(budget) => format!("{name} has spent {} of {budget} cents.", agent.settings.spent_cents),
    };
    let is_running = agent.state == AgentState::Running;
    let is_within = !agent.settings.is_over_budget();
    Ok(vec![
        role,
        ExplainedFactor { factor: "ceiling", holds: in_ceiling, why: ceiling },
        ExplainedFactor { factor: "agent_running", holds: is_running, why: state },
        ExplainedFactor { factor: "within_budget", holds: is_within, why: spent },
    ])
}

#[cfg(test)]
mod tests {
    use common::role::Role;
    use serde_json::{
        Value::{self as Json, Null},
        json,
    };
    use service::testing::{Actor, TestApp};

    use crate::with_neighbours;

    const GRANTS: &str = "/api/agents/scout/grants";

    struct Stage {
        t: TestApp,
        ada: Actor,
        max: Actor,
        scout: Actor,
    }

    /// Ada owns the agent scout, Max the agent helper; neither is an admin.
    async fn stage() -> Stage {
        let t = TestApp::new(with_neighbours());
        let tenant = t.tenant("main").await;
        let ada = t.user(&tenant, "ada@example.com", Role::Member).await;
        let max = t.user(&tenant, "max@example.com", Role::Member).await;
        let scout = t.agent(&ada, "scout", "agents.*").await;
        t.agent(&max, "helper", "agents.*").await;
        Stage { t, ada, max, scout }
    }

    /// No answer shows a caller that may not ask about others which subjects exist.
    #[tokio::test]
    async fn asking_about_others_tells_outsiders_nothing() {
        let Stage { t, ada, max, .. } = stage().await;
        let worker = t.agent(&ada, "worker", "agents.read").await;
        t.as_(&ada, "POST", GRANTS, json!({ "subject": "max@example.com", "relation": "viewer" })).await.is(201);
        for subject in ["ada@example.com", "nobody@example.com", ada.user.as_str()] {
            let path = format!("/api/agents/scout/explain?subject={subject}");
            t.as_(&max, "GET", &path, Null).await.refused(403, "permission_denied");
            let path = format!("/api/agents/worker/explain?subject={subject}");
            t.as_(&worker, "GET", &path, Null).await.refused(403, "scope_denied");
        }
        t.as_(&worker, "GET", "/api/agents/worker/explain?subject=worker", Null).await.is(200);
    }

    #[tokio::test]
    async fn an_explanation_names_each_factor() {
        let Stage { t, ada, max, scout, .. } = stage().await;
        let answer = t.as_(&scout, "GET", "/api/agents/scout/explain?action=update", Null).await.is(200);
        let held = |answer: &Json| -> Vec<String> {
            let factors = answer["factors"].as_array().unwrap().iter();
            factors.filter(|at| at["holds"] == true).map(|at| at["factor"].as_str().unwrap().to_owned()).collect()
        };
        assert_eq!(
            (&answer["allowed"], held(&answer)),
            (
                &json!(true),
                [
                    "account_active",
                    "tenant_gate",
                    "itself",
                    "owner",
                    "role",
                    "ceiling",
                    "agent_running",
                    "within_budget"
                ]
                .map(str::to_owned)
                .into()
            )
        );
        let path = "/api/agents/scout/explain?subject=max@example.com&action=update";
        let answer = t.as_(&ada, "GET", path, Null).await.is(200);
        assert_eq!(
            (&answer["allowed"], held(&answer)),
            (&json!(false), ["account_active", "tenant_gate", "role"].map(str::to_owned).into())
        );
        t.as_(&ada, "POST", GRANTS, json!({ "subject": "max@example.com", "relation": "editor" })).await.is(201);
        let answer = t.as_(&ada, "GET", path, Null).await.is(200);
        assert_eq!(
            (&answer["allowed"], held(&answer)),
            (&json!(true), ["account_active", "tenant_gate", "editor", "role"].map(str::to_owned).into())
        );
        // A grant alone is not enough: the role must allow the action, and an agent must run.
        t.execute("UPDATE users SET role = 'viewer' WHERE email = 'max@example.com'").await.unwrap();
        let answer = t.as_(&ada, "GET", path, Null).await.is(200);
        assert_eq!(
            (&answer["allowed"], held(&answer)),
            (&json!(false), ["account_active", "tenant_gate", "editor"].map(str::to_owned).into())
        );
        t.execute("UPDATE users SET role = 'member' WHERE email = 'max@example.com'").await.unwrap();
        t.execute("UPDATE agents SET state = 'paused' WHERE name = 'scout'").await.unwrap();
        let answer = t.as_(&ada, "GET", "/api/agents/scout/explain?subject=scout", Null).await.is(200);
        assert_eq!((&answer["allowed"], held(&answer).contains(&"agent_running".to_owned())), (&json!(false), false));
        t.execute("UPDATE agents SET state = 'running' WHERE name = 'scout'").await.unwrap();
        // Asking about others needs `share`; nothing is returned about an unreadable agent.
        t.as_(&max, "GET", "/api/agents/scout/explain?subject=ada@example.com", Null)
            .await
            .refused(403, "permission_denied");
        t.as_(&max, "GET", "/api/agents/scout/explain", Null).await.is(200);
        t.as_(&ada, "GET", "/api/agents/helper/explain", Null).await.refused(404, "agent_not_found");
        t.as_(&ada, "GET", "/api/agents/scout/explain?action=fly", Null).await.refused(400, "unknown_action");
        t.execute("UPDATE users SET deactivated_at = 1 WHERE email = 'max@example.com'").await.unwrap();
        assert_eq!(t.as_(&ada, "GET", path, Null).await.is(200)["allowed"], false);
    }
}
