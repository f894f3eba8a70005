//! `GET /api/auth/can?action=&object=`: may I do this? The decision that each route of a scope would make, and nothing is done.
//!
//! 1. `action` is a scope such as `agents.update`. Its rows of the route table say what its routes require: a kind of caller, a relation
//!    to the agent or the key, another relation or scope for some fields of the body.
//! 2. The factors are those of the guard, in its order: state, kind of caller, scope; then the relation to the object.
//! 3. An object that the caller may not read is an absent one: the same answer, by the same statements.

use std::collections::BTreeMap;

use common::{
    agent::AgentState,
    error::{ApiError, Code},
    id::KeyId,
    permission::Action,
    route::{Access, Callers, Field, Object, ROUTES, Route},
    scope::Scope,
    secret::Kind,
};
use http::StatusCode;
use schemars::JsonSchema;
use serde::Serialize;
use service::{
    app::App,
    caller::Caller,
    extract::Query,
    form, guard, object,
    response::{Response, json},
};
use store::explain::{self, ExplainedFactor, Explanation, KeyExplanation};

form! {
    pub(crate) struct Can {
        action: String,
        object: Option<String>,
    }
}

#[derive(Serialize, JsonSchema)]
pub(crate) struct Decision<'a> {
    /// Whether a route of the scope would let the caller in; of a custom scope, whether the credential carries it.
    allowed: bool,
    factors: Vec<ExplainedFactor>,
    missing_scopes: Vec<&'a str>,
    routes: Vec<RouteDecision>,
}

/// The decision of one route of the scope.
#[derive(Serialize, JsonSchema)]
struct RouteDecision {
    method: &'static str,
    path: &'static str,
    allowed: bool,
    /// Whether it is allowed too when the body holds this field.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    fields: BTreeMap<&'static str, bool>,
}

/// The handler.
pub(crate) async fn can(app: App, caller: Caller, Query(query): Query<Can>) -> Result<Response, ApiError> {
    // `explain` takes the bare word for the same question.
    let asked = match Action::from_word(&query.action) {
        Some(action) => format!("agents.{}", action.as_str()),
        None => query.action.clone(),
    };
    let Some(scope) = Scope::from_text(&asked) else {
        return custom(&caller, &query.action, query.object.is_some());
    };
    let mut rows: Vec<&Route> = ROUTES.iter().copied().filter(|row| row.access == Access::Scope(scope)).collect();
    let mut factors = Vec::with_capacity(12);
    states(&caller, &mut factors);
    kinds(&caller, scope, &rows, &mut factors);
    let carries = caller.scope().contains(scope);
    factors.push(scope_factor(carries, scope.as_str()));
    let found = match query.object.as_deref() {
        None if rows.iter().any(|row| row.object.is_some()) => {
            return Err(ApiError::field("object", "is missing: this action needs an agent or a key"));
        }
        None => Found::Nothing,
        Some(object) => {
            rows.retain(|row| row.object.is_some());
            if rows.is_empty() {
                return Err(no_object());
            }
            let is_key = |row: &&Route| matches!(row.object, Some(Object::Key(_)));
            let names_key = object.starts_with(KeyId::PREFIX) && rows.iter().any(is_key);
            rows.retain(|row| is_key(row) == names_key);
            match names_key {
                true => key(&app, &caller, object, &rows, &mut factors).await?,
                false => agent(&app, &caller, object, &rows, &mut factors).await?,
            }
        }
    };
    let names_own = |row: &Route| query.object.as_deref().is_some_and(|name| guard::is_own(name, &caller, row));
    let is_let_in = |row: &Route| {
        let is_accepted = row.while_halted || caller.is_accepted();
        is_accepted && (carries || names_own(row)) && guard::check_kind(&caller, row).is_ok()
    };
    let decide = |row: &&Route| RouteDecision {
        method: row.method,
        path: row.path,
        allowed: is_let_in(row) && found.allows(row, row.action(|_| false)),
        fields: row
            .fields
            .iter()
            .map(|field| (field.name, is_let_in(row) && found.allows_field(&caller, row, field)))
            .collect(),
    };
    let routes: Vec<RouteDecision> = rows.iter().map(decide).collect();
    let decision = Decision {
        allowed: routes.iter().any(|route| route.allowed),
        factors,
        missing_scopes: if carries { vec![] } else { vec![scope.as_str()] },
        routes,
    };
    json(StatusCode::OK, &decision)
}

/// A custom scope: whether the credential carries it is all that this server knows.
fn custom(caller: &Caller, name: &str, has_object: bool) -> Result<Response, ApiError> {
    if !caller.custom_scopes().names().iter().any(|defined| defined == name) {
        let known = Scope::ALL.iter().map(|scope| scope.as_str());
        let valid: Vec<&str> = known.chain(caller.custom_scopes().names().iter().map(String::as_str)).collect();
        return Err(Code::UnknownAction.with("valid", valid.join(", ")));
    }
    if has_object {
        return Err(no_object());
    }
    let carries = caller.scopes().has_custom(name);
    let mut factors = Vec::new();
    states(caller, &mut factors);
    factors.push(scope_factor(carries, name));
    let decision = Decision {
        allowed: carries && caller.is_accepted(),
        factors,
        missing_scopes: if carries { vec![] } else { vec![name] },
        routes: vec![],
    };
    json(StatusCode::OK, &decision)
}

fn no_object() -> ApiError {
    ApiError::field("object", "is not allowed: this action names neither an agent nor a key")
}

/// `why` in pieces: put together so, they cost a third of `format!`, and a check has ten.
fn held(factor: &'static str, holds: bool, why: &[&str]) -> ExplainedFactor {
    ExplainedFactor { factor, holds, why: why.concat() }
}

fn scope_factor(carries: bool, scope: &str) -> ExplainedFactor {
    let holds = if carries { "includes" } else { "lacks" };
    held("scope", carries, &["The effective scope of the credential ", holds, " ", scope, "."])
}

/// Whether the caller's agent is let in anywhere now.
fn states(caller: &Caller, factors: &mut Vec<ExplainedFactor>) {
    let Some((name, state)) = caller.agent() else {
        return factors.push(held("agent_running", true, &["The caller is a person."]));
    };
    let within = caller.check_budget().is_ok();
    let not = if within { " has not" } else { " has" };
    factors.push(held(
        "agent_running",
        state == AgentState::Running,
        &["The agent ", name, " is ", state.as_str(), "."],
    ));
    factors.push(held("within_budget", within, &["The agent ", name, not, " spent more than its budget."]));
}

/// The kind of caller that every route of the scope takes.
fn kinds(caller: &Caller, scope: Scope, rows: &[&Route], factors: &mut Vec<ExplainedFactor>) {
    let all = |callers: &[Callers]| !rows.is_empty() && rows.iter().all(|row| callers.contains(&row.callers));
    if scope.is_for_people() || all(&[Callers::People, Callers::Sessions]) {
        let why = "Only people may do this, whatever an agent's credential carries.";
        factors.push(held("person", caller.agent_id().is_none(), &[why]));
    }
    if all(&[Callers::Agents]) {
        factors.push(held("agent", caller.agent_id().is_some(), &["Only agents may do this."]));
    }
    if rows.is_empty() {
        factors.push(held("route", false, &["No route of this server needs this scope yet."]));
    }
    if all(&[Callers::Sessions]) {
        let is_session = caller.credential_kind() == Kind::Session;
        factors.push(held("session", is_session, &["Only a session may do this."]));
    }
}

/// The object that was asked about.
enum Found {
    /// None was named.
    Nothing,
    /// It is not there, or the caller may not read it.
    Absent,
    /// An agent, and how it stands to the caller.
    Agent {
        explanation: Explanation,
        /// It is the caller itself.
        is_itself: bool,
        /// It is the caller itself or above it.
        is_at_or_above: bool,
        /// The caller is above it.
        is_above: bool,
    },
    /// A key.
    Key(KeyExplanation),
}

impl Found {
    /// Whether the relations suffice for this action of the route.
    fn allows(&self, row: &Route, action: Option<Action>) -> bool {
        match (self, row.object) {
            (Self::Nothing, None) => true,
            (Self::Agent { is_itself, .. }, Some(Object::OwnAgent)) => *is_itself,
            (Self::Agent { is_at_or_above: true, .. }, Some(Object::AgentState(_))) => false,
            (Self::Agent { explanation, .. }, Some(_)) => action.is_some_and(|action| explanation.allows(action)),
            (Self::Key(explanation), Some(_)) => action.is_some_and(|action| explanation.allows(action)),
            _ => false,
        }
    }

    /// The same for a body that holds this field.
    fn allows_field(&self, caller: &Caller, row: &Route, field: &Field) -> bool {
        let is_above = matches!(self, Self::Agent { is_above: true, .. });
        object::may_send(field, caller, is_above)
            && object::carries_scope_of(field, caller)
            && self.allows(row, Some(field.action))
    }
}

/// The first relation that a row asks for.
fn action(rows: &[&Route]) -> Action {
    rows.iter().find_map(|row| row.action(|_| false)).unwrap_or(Action::Read)
}

/// Finds the agent with this name or id, and adds the factors of the relation to it. Absent and unreadable give the
/// same one factor, which does not hold.
async fn agent(
    app: &App,
    caller: &Caller,
    object: &str,
    rows: &[&Route],
    factors: &mut Vec<ExplainedFactor>,
) -> Result<Found, ApiError> {
    let action = action(rows);
    // `me` is the asking agent, here as in paths.
    let is_itself = caller.is_itself(object);
    let object = caller.agent_id().filter(|_| is_itself).map_or(object, |id| id.as_str());
    let found = explain::agent(app.db(), caller.subject(), object).await?;
    let Some(found) = found.filter(|found| found.allows(Action::Read)) else {
        factors.push(held("relation", false, &["This agent does not exist, or you may not read it."]));
        return Ok(Found::Absent);
    };
    let name = found.name.as_str();
    let (me, is_agent) = caller.agent().map_or((caller.email(), false), |(name, _)| (name, true));
    factors.extend(found.factors(action).map(|(factor, holds)| ExplainedFactor {
        factor: factor.as_str(),
        holds,
        why: factor.why(holds, me, is_agent, name),
    }));
    let may = if found.allows(action) { " may " } else { " may not " };
    let why = ["With these relations, ", me, may, action.as_str(), " ", name, "."];
    factors.push(held("relation", found.allows(action), &why));
    let mut is_at_or_above = false;
    if rows.iter().any(|row| matches!(row.object, Some(Object::AgentState(_)))) {
        is_at_or_above = object::is_at_or_above(app.db(), caller, &found.id).await?;
        let why = match is_at_or_above {
            true => "An agent cannot set its own state or the state of an agent above it.",
            false => "It is neither the agent's own state nor the state of an agent above it.",
        };
        factors.push(held("not_itself", !is_at_or_above, &[why]));
    }
    let is_above = match rows.iter().any(|row| !row.fields.is_empty()) {
        true => object::is_above(app.db(), caller, &found.id).await?,
        false => false,
    };
    Ok(Found::Agent { explanation: found, is_itself, is_at_or_above, is_above })
}

/// Finds the key with this id, and adds the factor of the relation to it and to its agent.
async fn key(
    app: &App,
    caller: &Caller,
    id: &str,
    rows: &[&Route],
    factors: &mut Vec<ExplainedFactor>,
) -> Result<Found, ApiError> {
    let action = action(rows);
    let found = explain::key(app.db(), caller.subject(), id).await?;
    let Some(found) = found.filter(|found| found.allows(Action::Read)) else {
        factors.push(held("relation", false, &["This key does not exist, or you may not read it."]));
        return Ok(Found::Absent);
    };
    let me = caller.agent().map_or(caller.email(), |(name, _)| name);
    let may = if found.allows(action) { " may " } else { " may not " };
    let relations = "With the relations to the key and to its agent, ";
    let why = [relations, me, may, action.as_str(), " the key ", &found.name, " of ", &found.agent, "."];
    factors.push(held("relation", found.allows(action), &why));
    Ok(Found::Key(found))
}

#[cfg(test)]
mod tests {
    use common::role::Role;
    use serde_json::{Value::Null, json};
    use service::testing::{Actor, TestApp};

    use crate::router;

    async fn ask(t: &TestApp, actor: &Actor, query: &str) -> serde_json::Value {
        t.as_(actor, "GET", &format!("/api/auth/can?{query}"), Null).await.is(200)
    }

    #[tokio::test]
    async fn the_decision_comes_with_its_factors() {
        let t = TestApp::new(router());
        let tenant = t.tenant("main").await;
        let ada = t.user(&tenant, "ada@example.com", Role::Member).await;
        let scout = t.agent(&ada, "scout", "agents.read agents.update users.read").await;
        assert_eq!(ask(&t, &scout, "action=agents.update&object=scout").await["allowed"], true);
        assert_eq!(ask(&t, &scout, "action=agents.update&object=me").await["allowed"], true);
        let id = scout.agent.as_ref().unwrap();
        assert_eq!(ask(&t, &scout, &format!("action=agents.update&object={id}")).await["allowed"], true);
        let body = ask(&t, &scout, "action=agents.delete&object=scout").await;
        assert_eq!((&body["allowed"], &body["missing_scopes"]), (&json!(false), &json!(["agents.delete"])));
        t.execute("UPDATE agents SET budget_cents = 1, spent_cents = 2").await.unwrap();
        let body = ask(&t, &scout, "action=agents.update&object=scout").await;
        assert_eq!((&body["allowed"], &body["factors"][1]["holds"]), (&json!(false), &json!(false)));
        t.execute("UPDATE agents SET spent_cents = 1").await.unwrap();
        // R43: an agent does not set its own state.
        let boss = t.agent(&ada, "boss", "agents.lifecycle").await;
        t.agent_below(&ada, Some(&boss), "hand", "agents.read").await;
        for (object, allowed) in [("boss", false), (boss.agent.as_ref().unwrap().as_str(), false), ("hand", true)] {
            let query = format!("action=agents.lifecycle&object={object}");
            assert_eq!(ask(&t, &boss, &query).await["allowed"], allowed, "{object}");
            assert_eq!(ask(&t, &ada, &query).await["allowed"], true);
        }
        // Nor that of an agent above it, whatever grants it has.
        let hand = t.agent_below(&ada, Some(&boss), "finger", "agents.lifecycle").await;
        t.grant(boss.agent.as_ref().unwrap(), &ada.tenant, hand.agent.as_ref().unwrap().as_str(), "editor", &ada.user)
            .await;
        let body = ask(&t, &hand, "action=agents.lifecycle&object=boss").await;
        assert_eq!(body["allowed"], false, "{body}");
        assert_eq!(ask(&t, &hand, "action=agents.update&object=boss").await["factors"][3]["holds"], true);
        let body = ask(&t, &ada, "action=ui.notify").await;
        assert_eq!((&body["allowed"], &body["factors"][1]["factor"]), (&json!(false), &json!("agent")));
        assert_eq!(ask(&t, &ada, "action=guides.read").await["allowed"], true);
        for query in ["action=agents.delete", "action=ui.notify&object=scout", "action=agents.list&object=scout"] {
            let refused =
                t.as_(&ada, "GET", &format!("/api/auth/can?{query}"), Null).await.refused(422, "validation_error");
            assert_eq!(refused["fields"][0]["field"], "object");
        }
        let body = ask(&t, &scout, "action=users.read").await;
        assert_eq!((&body["allowed"], &body["factors"][2]["factor"]), (&json!(false), &json!("person")));
        let body = ask(&t, &ada, "action=users.write").await;
        assert_eq!((&body["allowed"], &body["missing_scopes"]), (&json!(false), &json!(["users.write"])));
        assert_eq!(ask(&t, &ada, "action=agents.share&object=scout").await["allowed"], true);
        t.execute("UPDATE agents SET state = 'paused'").await.unwrap();
        let body = ask(&t, &scout, "action=agents.read&object=scout").await;
        assert_eq!((&body["allowed"], &body["factors"][0]["holds"]), (&json!(false), &json!(false)));
        for unknown in ["fly", "fly&object=scout", "agents.raed&object=scout", "agents.*"] {
            t.as_(&ada, "GET", &format!("/api/auth/can?action={unknown}"), Null).await.refused(400, "unknown_action");
        }
        t.as_(&ada, "GET", "/api/auth/can", Null).await.refused(422, "validation_error");
    }

    /// Whether the answer allows the route with this method and the end of its path.
    fn route(told: &serde_json::Value, method: &str, end: &str) -> serde_json::Value {
        let routes = told["routes"].as_array().unwrap();
        let is_it =
            |route: &&serde_json::Value| route["method"] == method && route["path"].as_str().unwrap().ends_with(end);
        routes.iter().find(is_it).unwrap_or_else(|| panic!("no {method} {end} in {told}")).clone()
    }

    /// Whether the answer allows PATCH to hold a bound, `spent_cents` alike, and `owner` and `parent`.
    fn fields(told: &serde_json::Value) -> (bool, bool, bool) {
        let fields = route(told, "PATCH", "/{name}")["fields"].clone();
        let allowed = |name: &str| fields[name].as_bool().unwrap();
        assert!(
            ["preset", "tier", "max_concurrent_tasks", "budget_cents"]
                .iter()
                .all(|name| allowed(name) == allowed("scope"))
        );
        (allowed("scope"), allowed("owner"), allowed("parent"))
    }

    /// R36: a scope with several routes is decided route by route: a log is appended by its own agent only, and another parent or owner
    /// asks for more than other fields do.
    #[tokio::test]
    async fn each_route_of_a_scope_is_decided_by_its_own_row() {
        let t = TestApp::new(crate::router());
        let tenant = t.tenant("main").await;
        let ada = t.user(&tenant, "ada@example.com", Role::Member).await;
        let max = t.user(&tenant, "max@example.com", Role::Member).await;
        let scout = t.agent(&ada, "scout", "agents.logs agents.update").await;
        let id = scout.agent.as_ref().unwrap();
        t.grant(id, &ada.tenant, max.user.as_str(), "editor", &ada.user).await;
        let told = ask(&t, &max, "action=agents.update&object=scout").await;
        assert_eq!(route(&told, "PATCH", "/{name}")["allowed"], true);
        assert_eq!(fields(&told), (true, false, false));
        let told = ask(&t, &ada, "action=agents.update&object=scout").await;
        assert_eq!(fields(&told), (true, true, true));
        // An agent is the owner of itself, but these fields are for people.
        let told = ask(&t, &scout, "action=agents.update&object=scout").await;
        assert_eq!(route(&told, "PATCH", "/{name}")["allowed"], true);
        assert_eq!(fields(&told), (false, false, false));
        assert_eq!(route(&told, "PUT", "/{name}")["fields"]["tier"], false);
        for (actor, may_append) in [(&scout, true), (&ada, false), (&max, false)] {
            let told = ask(&t, actor, "action=agents.logs&object=scout").await;
            assert_eq!(told["allowed"], true, "{told}");
            assert_eq!(route(&told, "GET", "/logs")["allowed"], true, "{told}");
            assert_eq!(route(&told, "POST", "/logs")["allowed"], may_append, "{told}");
        }
        let told = ask(&t, &ada, "action=agents.delete&object=scout").await;
        assert_eq!(told["routes"].as_array().unwrap().len(), 1, "only the routes that name an agent: {told}");
    }

    /// R36: a key has relations of its own, beside those to its agent.
    #[tokio::test]
    async fn a_key_is_an_object() {
        let t = TestApp::new(crate::router());
        let tenant = t.tenant("main").await;
        let ada = t.user(&tenant, "ada@example.com", Role::Member).await;
        let max = t.user(&tenant, "max@example.com", Role::Member).await;
        let scout = t.agent(&ada, "scout", "agents.read").await;
        let id = scout.agent.as_ref().unwrap();
        t.execute(&format!(
            "INSERT INTO api_keys (id, tenant_id, agent_id, name, type, created_at, created_by)
             VALUES ('key_1', '{}', '{id}', 'crm', 'external', 1, '{}')",
            ada.tenant, ada.user
        ))
        .await
        .unwrap();
        let told = ask(&t, &ada, "action=agents.keys.write&object=key_1").await;
        for (method, end) in [("POST", "/rotate"), ("DELETE", "/{id}"), ("POST", "/grants")] {
            assert_eq!(route(&told, method, end)["allowed"], true, "{method} {end}");
        }
        // Of the agent alone nobody is an editor of the key.
        t.grant(id, &ada.tenant, max.user.as_str(), "editor", &ada.user).await;
        let read = "action=agents.keys.read&object=key_1";
        let (hidden, absent) = (ask(&t, &max, read).await, ask(&t, &max, "action=agents.keys.read&object=key_2").await);
        assert_eq!(hidden, absent);
        assert_eq!(hidden["allowed"], false);
        t.execute(&format!(
            "INSERT INTO grants (tenant_id, object_id, subject_id, relation, created_at, created_by)
             VALUES ('{}', 'key_1', '{}', 'editor', 1, '{}')",
            ada.tenant, max.user, ada.user
        ))
        .await
        .unwrap();
        let told = ask(&t, &max, "action=agents.keys.write&object=key_1").await;
        for (method, end, allowed) in [("POST", "/rotate", true), ("DELETE", "/{id}", true), ("POST", "/grants", false)]
        {
            assert_eq!(route(&told, method, end)["allowed"], allowed, "{method} {end}");
        }
        let told = ask(&t, &max, "action=agents.keys.write&object=scout").await;
        assert_eq!(route(&told, "POST", "/keys")["allowed"], true, "{told}");
    }

    /// R33: an object that is not there, one that may not be read and one of another tenant: the same 200, the same statements.
    #[tokio::test]
    async fn an_unreadable_object_is_an_absent_one() {
        let t = TestApp::new(router());
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
            let body = ask(&t, &ada, &format!("action=agents.read&object={object}")).await;
            answers.push((body, t.db().statements() - before));
        }
        assert_eq!(answers[0].0["allowed"], false);
        assert!(answers.windows(2).all(|pair| pair[0] == pair[1]), "{answers:?}");
    }
}
