//! `GET /api/auth/can?action=&object=`: may I do this? The decision that the route itself would make, factor by factor, and
//! nothing is done.
//!
//! 1. `action` is a scope such as `agents.update`. The route table says what its routes want: people only, a session, a
//!    relation to the agent in their path.
//! 2. The factors are those of the door, in its order: state, kind of caller, scope; then the relation to the object.
//! 3. An object that the caller may not read is an absent one: the same answer, by the same statements.

use axum::{http::StatusCode, response::Response};
use common::{
    caller::Caller,
    error::{ApiError, Code},
    form,
    form::Params,
    http::{App, json},
    id::AgentId,
    permission::Action,
    route::{Access, ROUTES},
    scope::Scope,
    store::{
        grant::{self, Held},
        tree,
    },
};
use serde::Serialize;

form! {
    pub(crate) struct Can {
        action: String,
        object: Option<String>,
    }
}

#[derive(Serialize)]
struct Decision<'a> {
    allowed: bool,
    factors: Vec<Held>,
    missing_scopes: Vec<&'a str>,
}

/// The handler.
pub(crate) async fn can(app: App, caller: Caller, Params(ask): Params<Can>) -> Result<Response, ApiError> {
    let Some(scope) = Scope::from_text(&ask.action) else {
        return if ask.object.is_some() { Err(no_object()) } else { custom(&caller, &ask.action) };
    };
    let wants = Wants::of(scope);
    let mut factors = Vec::with_capacity(12);
    states(&caller, &mut factors);
    if wants.person {
        let why = "People only may do this, whatever an agent carries.";
        factors.push(held("person", caller.agent_id().is_none(), &[why]));
    }
    if wants.agent {
        factors.push(held("agent", caller.agent_id().is_some(), &["Only agents may do this."]));
    }
    if !wants.anything {
        factors.push(held("route", false, &["No route of this server asks for this scope yet."]));
    }
    if wants.session {
        let is_session = caller.credential_kind() == common::secret::Kind::Session;
        factors.push(held("session", is_session, &["Only a session may do this."]));
    }
    let carries = caller.scope().contains(scope);
    factors.push(scope_factor(carries, scope.as_str()));
    // An agent may name itself so, here as in paths.
    let object = ask.object.as_deref().map(|object| match caller.agent() {
        Some((own, _)) if object == "me" => own,
        _ => object,
    });
    match (wants.on_agent, object) {
        (Some(action), Some(object)) => {
            let found = relation(&app, &caller, object, action, &mut factors).await?;
            if scope == Scope::AgentsLifecycle {
                let is_own = match (caller.agent_id(), found) {
                    (Some(own), Some(found)) => tree::is_at_or_below(app.db(), own, &found).await?,
                    _ => false,
                };
                let why = match is_own {
                    true => "An agent never sets its own state, nor that of an agent above it.",
                    false => "It is not the agent's own state, nor that of an agent above it.",
                };
                factors.push(held("not_itself", !is_own, &[why]));
            }
        }
        (Some(_), None) => return Err(ApiError::field("object", "is missing: this action is done with an agent")),
        (None, Some(_)) => return Err(no_object()),
        (None, None) => {}
    }
    let missing_scopes = if carries { vec![] } else { vec![scope.as_str()] };
    answer(factors, missing_scopes)
}

/// What the routes of a scope want beside it.
#[derive(Default)]
struct Wants {
    /// Whether any route asks for the scope.
    anything: bool,
    /// A person, each of them.
    person: bool,
    /// An agent, each of them.
    agent: bool,
    /// A session, each of them.
    session: bool,
    /// The relation to the agent in their path.
    on_agent: Option<Action>,
}

impl Wants {
    fn of(scope: Scope) -> Self {
        let mut wants = Self { person: scope.is_for_people(), ..Self::default() };
        for row in ROUTES.iter().filter(|row| row.access == Access::Scope(scope)) {
            let before = |wanted: bool| wanted || !wants.anything;
            wants = Self {
                anything: true,
                person: scope.is_for_people() || (before(wants.person) && row.for_people),
                agent: before(wants.agent) && row.for_agents,
                session: before(wants.session) && row.session_only,
                on_agent: wants.on_agent.or_else(|| row.action.filter(|_| row.path.contains("{name}"))),
            };
        }
        wants
    }
}

/// A custom scope: whether the credential carries it is all that is ours to say.
fn custom(caller: &Caller, name: &str) -> Result<Response, ApiError> {
    if !caller.defined().names().iter().any(|defined| defined == name) {
        let known = Scope::ALL.iter().map(|scope| scope.as_str());
        let valid: Vec<&str> = known.chain(caller.defined().names().iter().map(String::as_str)).collect();
        return Err(Code::UnknownAction.with("valid", valid.join(", ")));
    }
    let carries = caller.scopes().has_custom(name);
    let mut factors = Vec::new();
    states(caller, &mut factors);
    factors.push(scope_factor(carries, name));
    answer(factors, if carries { vec![] } else { vec![name] })
}

fn no_object() -> ApiError {
    ApiError::field("object", "is not known here: this action names no agent")
}

fn scope_factor(carries: bool, scope: &str) -> Held {
    let holds = if carries { "holds" } else { "lacks" };
    held("scope", carries, &["The effective scope of the credential ", holds, " ", scope, "."])
}

fn answer(factors: Vec<Held>, missing_scopes: Vec<&str>) -> Result<Response, ApiError> {
    // The relation's own factors stand in alternatives; `relation` sums them up.
    let decisive = |held: &&Held| {
        ["agent_running", "within_budget", "person", "agent", "route", "session", "scope", "relation", "not_itself"]
            .contains(&held.factor)
    };
    let allowed = factors.iter().filter(decisive).all(|held| held.holds);
    json(StatusCode::OK, &Decision { allowed, factors, missing_scopes })
}

/// `why` in pieces: put together so, they cost a third of `format!`, and a check has ten.
fn held(factor: &'static str, holds: bool, why: &[&str]) -> Held {
    Held { factor, holds, why: why.concat() }
}

/// Whether the caller's agent is let in anywhere now.
fn states(caller: &Caller, factors: &mut Vec<Held>) {
    let Some((name, state)) = caller.agent() else {
        return factors.push(held("agent_running", true, &["The caller is a person."]));
    };
    let within = caller.within_budget().is_ok();
    let not = if within { " has not" } else { " has" };
    factors.push(held("agent_running", state == "running", &["The agent ", name, " is ", state, "."]));
    factors.push(held("within_budget", within, &["The agent ", name, not, " spent more than its budget."]));
}

/// The factors of the relation to an agent, by name or id; gives its id. Absent and unreadable are one factor that does not hold.
async fn relation(
    app: &App,
    caller: &Caller,
    object: &str,
    action: Action,
    factors: &mut Vec<Held>,
) -> Result<Option<AgentId>, ApiError> {
    let told = grant::explain(app.db(), caller.into(), object, action).await?.filter(|told| told.may_read);
    let Some(told) = told else {
        factors.push(held("relation", false, &["There is no such agent, or you may not read it."]));
        return Ok(None);
    };
    let found = told.name.as_str();
    let (me, is_agent) = caller.agent().map_or((caller.email(), false), |(name, _)| (name, true));
    factors.extend(told.factors.iter().map(|(factor, holds)| Held {
        factor: factor.as_str(),
        holds: *holds,
        why: factor.why(*holds, me, is_agent, found),
    }));
    let may = if told.allowed { " may " } else { " may not " };
    let why = ["By these relations ", me, may, action.as_str(), " ", found, "."];
    factors.push(held("relation", told.allowed, &why));
    Ok(Some(told.id))
}

#[cfg(test)]
mod tests {
    use common::{
        scope::Role,
        testing::{Actor, TestApp},
    };
    use serde_json::{Value::Null, json};

    use crate::with_neighbours;

    async fn ask(t: &TestApp, actor: &Actor, query: &str) -> serde_json::Value {
        t.as_(actor, "GET", &format!("/api/auth/can?{query}"), Null).await.is(200)
    }

    #[tokio::test]
    async fn the_decision_is_told_with_its_factors() {
        let t = TestApp::new(with_neighbours());
        let tenant = t.tenant("main").await;
        let ada = t.user(&tenant, "ada@example.com", Role::Member).await;
        let scout = t.agent(&ada, "scout", "agents.read agents.update users.read").await;
        assert_eq!(ask(&t, &scout, "action=agents.update&object=scout").await["allowed"], true);
        assert_eq!(ask(&t, &scout, "action=agents.update&object=me").await["allowed"], true);
        let id = scout.agent.as_ref().unwrap();
        assert_eq!(ask(&t, &scout, &format!("action=agents.update&object={id}")).await["allowed"], true);
        let told = ask(&t, &scout, "action=agents.delete&object=scout").await;
        assert_eq!((&told["allowed"], &told["missing_scopes"]), (&json!(false), &json!(["agents.delete"])));
        t.execute("UPDATE agents SET budget_cents = 1, spent_cents = 2").await.unwrap();
        let told = ask(&t, &scout, "action=agents.update&object=scout").await;
        assert_eq!((&told["allowed"], &told["factors"][1]["holds"]), (&json!(false), &json!(false)));
        t.execute("UPDATE agents SET spent_cents = 1").await.unwrap();
        // R43: its state is not its own.
        let boss = t.agent(&ada, "boss", "agents.lifecycle").await;
        t.agent_below(&ada, Some(&boss), "hand", "agents.read").await;
        for (object, allowed) in [("boss", false), (boss.agent.as_ref().unwrap().as_str(), false), ("hand", true)] {
            let query = format!("action=agents.lifecycle&object={object}");
            assert_eq!(ask(&t, &boss, &query).await["allowed"], allowed, "{object}");
            assert_eq!(ask(&t, &ada, &query).await["allowed"], true);
        }
        // Nor that of an agent above it, whatever was granted to it.
        let hand = t.agent_below(&ada, Some(&boss), "finger", "agents.lifecycle").await;
        t.grant(boss.agent.as_ref().unwrap(), &ada.tenant, hand.agent.as_ref().unwrap().as_str(), "editor", &ada.user)
            .await;
        let told = ask(&t, &hand, "action=agents.lifecycle&object=boss").await;
        assert_eq!(told["allowed"], false, "{told}");
        assert_eq!(ask(&t, &hand, "action=agents.update&object=boss").await["factors"][3]["holds"], true);
        let told = ask(&t, &ada, "action=ui.notify").await;
        assert_eq!((&told["allowed"], &told["factors"][1]["factor"]), (&json!(false), &json!("agent")));
        assert_eq!(ask(&t, &ada, "action=webhooks.read").await["allowed"], false);
        for query in ["action=agents.delete", "action=ui.notify&object=scout", "action=agents.list&object=scout"] {
            let refused =
                t.as_(&ada, "GET", &format!("/api/auth/can?{query}"), Null).await.refused(422, "validation_error");
            assert_eq!(refused["fields"][0]["field"], "object");
        }
        let told = ask(&t, &scout, "action=users.read").await;
        assert_eq!((&told["allowed"], &told["factors"][2]["factor"]), (&json!(false), &json!("person")));
        let told = ask(&t, &ada, "action=users.write").await;
        assert_eq!((&told["allowed"], &told["missing_scopes"]), (&json!(false), &json!(["users.write"])));
        assert_eq!(ask(&t, &ada, "action=agents.share&object=scout").await["allowed"], true);
        t.execute("UPDATE agents SET state = 'paused'").await.unwrap();
        let told = ask(&t, &scout, "action=agents.read&object=scout").await;
        assert_eq!((&told["allowed"], &told["factors"][0]["holds"]), (&json!(false), &json!(false)));
        t.as_(&ada, "GET", "/api/auth/can?action=fly", Null).await.refused(400, "unknown_action");
        t.as_(&ada, "GET", "/api/auth/can", Null).await.refused(422, "validation_error");
    }

    /// R33: an object that is not there, one that may not be read and one of another tenant: the same 200, the same statements.
    #[tokio::test]
    async fn an_unreadable_object_is_an_absent_one() {
        let t = TestApp::new(with_neighbours());
        let (tenant, other) = (t.tenant("main").await, t.tenant("other").await);
        let ada = t.user(&tenant, "ada@example.com", Role::Member).await;
        let max = t.user(&tenant, "max@example.com", Role::Member).await;
        let eve = t.user(&other, "eve@example.com", Role::Admin).await;
        t.agent(&max, "hidden", "*").await;
        t.agent(&eve, "foreign", "*").await;
        ask(&t, &ada, "action=agents.list").await; // its use is recorded
        let mut answers = Vec::new();
        for object in ["hidden", "foreign", "nothing", "..%2F", ""] {
            let before = t.db().statements();
            let told = ask(&t, &ada, &format!("action=agents.read&object={object}")).await;
            answers.push((told, t.db().statements() - before));
        }
        assert_eq!(answers[0].0["allowed"], false);
        assert!(answers.windows(2).all(|pair| pair[0] == pair[1]), "{answers:?}");
    }
}
