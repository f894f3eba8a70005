//! Who else may read or edit an agent or one of its keys, and why somebody may do something with it, or not.

use axum::{http::StatusCode, response::Response};
use common::{
    caller::Caller,
    db::Rows,
    error::{ApiError, Code},
    form,
    form::{Ask, Params, Wish},
    http::{App, Segment, json},
    id::{AgentId, KeyId},
    idempotency::Answer,
    page::{Paging, Wanted},
    permission::{Action, Relation},
    route::Route,
    scope::Scope,
    store::{
        agent,
        grant::{self, Found, Given, Held, Named},
        key,
    },
    time::Timestamp,
    write::Begun,
};
use serde::Serialize;
use serde_json::{
    Value::{self as Json, Null},
    json,
};

/// What is shared: the agent, or the key, that the path names.
struct Shared {
    name: String,
    key: Option<Segment>,
}

impl Shared {
    /// What it is, if the caller may share it.
    async fn get(&self, reads: &dyn Rows, caller: &Caller, now: Timestamp) -> Result<Object, ApiError> {
        let Some(Segment(key)) = &self.key else {
            let found = agent::get(reads, caller, &self.name, Action::Share, now).await?;
            return Ok(Object { agent_id: found.id, agent: found.name, key: None });
        };
        let found = key::get(reads, caller, (&self.name, key), Action::Share, now).await?;
        Ok(Object { agent_id: found.agent_id, agent: found.agent, key: Some(found.key.id) })
    }
}

/// What is shared, as it was found.
struct Object {
    agent_id: AgentId,
    agent: String,
    key: Option<KeyId>,
}

impl Object {
    fn id(&self) -> &str {
        self.key.as_ref().map_or(self.agent_id.as_str(), KeyId::as_str)
    }

    /// Where its grants are.
    fn path(&self) -> String {
        match &self.key {
            None => format!("/api/agents/{}/grants", self.agent),
            Some(key) => format!("/api/agents/{}/keys/{key}/grants", self.agent),
        }
    }

    /// What the audit trail has of it: a key's rows are its agent's.
    fn audited(&self, mut told: Json) -> Json {
        if let (Some(key), Json::Object(members)) = (&self.key, &mut told) {
            members.insert("key".to_owned(), key.as_str().into());
        }
        told
    }
}

/// `GET /api/agents/{name}/grants`, `GET /api/agents/{name}/keys/{id}/grants`: who may read or edit it, beside its owner and
/// the tenant's admins.
pub(crate) async fn list(
    app: App,
    caller: Caller,
    Segment(name): Segment,
    key: Option<Segment>,
    Params(ask): Params<Paging>,
) -> Result<Response, ApiError> {
    let filters = ["grants", &name, key.as_ref().map_or("", |Segment(key)| key)];
    let wanted = Wanted::read(&caller, ask.limit, ask.cursor.as_deref(), &filters)?;
    let shared = Shared { name, key };
    let object = shared.get(app.db(), &caller, app.now()).await?;
    let rows = grant::list(app.db(), object.id(), &wanted).await?;
    json(StatusCode::OK, &wanted.page(rows, |row| (row.created_at, row.subject.id.clone() + &row.relation)))
}

form! {
    pub(crate) struct Give {
        subject: String,
        relation: String,
    }
}

fn relation(word: &str) -> Result<Relation, ApiError> {
    Relation::of_grant(word).ok_or_else(|| Code::UnknownRelation.into())
}

async fn subject(reads: &dyn Rows, caller: &Caller, text: &str) -> Result<Found, ApiError> {
    grant::subject(reads, caller, text).await?.ok_or_else(|| Code::SubjectNotFound.into())
}

/// `POST /api/agents/{name}/grants`, `POST /api/agents/{name}/keys/{id}/grants`: gives a grant; one that is there already is answered as it is.
pub(crate) async fn give(
    app: App,
    caller: Caller,
    route: &'static Route,
    Segment(name): Segment,
    key: Option<Segment>,
    ask: Ask<Give>,
) -> Result<Response, ApiError> {
    let (shared, relation) = (Shared { name, key }, relation(&ask.body.relation)?);
    let early = shared.get(app.db(), &caller, app.now()).await?; // 404 or 403; decided again below
    let kept = ask.kept.map(|kept| kept.about(early.id()));
    let write = match app.write(route, &caller, kept).await? {
        Begun::First(write) => write,
        Begun::Again(answer) => return Ok(answer),
    };
    let shared = Shared { name: early.agent_id.to_string(), ..shared }; // whoever has the name by now
    let object = shared.get(&write.tx, &write.caller, app.now()).await?;
    let to = subject(&write.tx, &write.caller, &ask.body.subject).await?;
    let new = grant::New {
        tenant: caller.tenant_id(),
        object: object.id(),
        subject: &to.named.id,
        relation: relation.as_str(),
        by: caller.subject_id(),
        now: app.now(),
    };
    let given = grant::insert(&write.tx, &new).await?;
    if given == Given::TooMany {
        return Err(Code::TooManyGrants.with("path", object.path()));
    }
    let stored = grant::find(&write.tx, object.id(), &to.named.id, relation.as_str()).await?;
    let stored =
        stored.ok_or_else(|| ApiError::from(Code::Internal).cause("a grant that was just given is not there"))?;
    if given == Given::Already {
        return json(StatusCode::OK, &stored); // nothing changes, so there is nothing to audit
    }
    let answer = Answer::json(StatusCode::CREATED, &stored)?;
    let after = object.audited(json!({ "subject": to.named.id, "relation": relation.as_str() }));
    write.finish(object.agent_id.as_str(), Null, after, answer).await
}

form! {
    pub(crate) struct Take {
        subject: String,
        relation: Option<String>,
    }
}

/// `DELETE /api/agents/{name}/grants?subject=&relation=`, `DELETE /api/agents/{name}/keys/{id}/grants?…`: takes one grant away, or
/// all of the subject's. 204 too when there was none.
pub(crate) async fn take(
    app: App,
    caller: Caller,
    route: &'static Route,
    Segment(name): Segment,
    key: Option<Segment>,
    Wish(ask): Wish<Take>,
) -> Result<Response, ApiError> {
    let shared = Shared { name, key };
    let relation = ask.relation.as_deref().map(relation).transpose()?.map(Relation::as_str);
    shared.get(app.db(), &caller, app.now()).await?; // early 404 or 403; decided again below
    let write = app.relieve(route, &caller).await?;
    let object = shared.get(&write.tx, &write.caller, app.now()).await?;
    // Whom it was given to, whether or not the caller may read him now.
    let taken = grant::delete(&write.tx, object.id(), &ask.subject, relation).await?;
    if taken.is_empty() {
        return write.nothing(Answer::empty());
    }
    // Of a subject the id alone: not all who may read the object may read him.
    let taken: Vec<_> = taken.iter().map(|at| json!({ "subject": at.subject.id, "relation": at.relation })).collect();
    let before = object.audited(json!({ "grants": taken }));
    write.finish(object.agent_id.as_str(), before, Null, Answer::empty()).await
}

form! {
    pub(crate) struct Explain {
        subject: Option<String>,
        action: Option<String>,
    }
}

#[derive(Serialize)]
struct Explanation {
    agent: String,
    subject: Named,
    action: &'static str,
    allowed: bool,
    factors: Vec<Held>,
}

/// `GET /api/agents/{name}/explain?subject=&action=`: each factor of the decision. About oneself; about others only with
/// `share`.
pub(crate) async fn explain(
    app: App,
    caller: Caller,
    Segment(name): Segment,
    Params(ask): Params<Explain>,
) -> Result<Response, ApiError> {
    let valid = Action::ALL.map(Action::as_str).join(", ");
    let action = match ask.action.as_deref() {
        None => Action::Read,
        Some(word) => Action::from_word(word).ok_or_else(|| Code::UnknownAction.with("valid", valid))?,
    };
    let me = caller.subject_id();
    let is_me = |text: &str| {
        let own = caller.agent().map_or(caller.email(), |(name, _)| name);
        text.trim() == me || text.trim().eq_ignore_ascii_case(own)
    };
    let target = agent::get(app.db(), &caller, &name, Action::Read, app.now()).await?;
    // Decided before anybody is looked up: who may not ask about others does not learn who there is.
    if !ask.subject.as_deref().is_none_or(is_me) {
        caller.require(Scope::AgentsShare)?;
        agent::get(app.db(), &caller, &name, Action::Share, app.now()).await?;
    }
    let about = subject(app.db(), &caller, ask.subject.as_deref().unwrap_or(me)).await?;
    let told = grant::explain(app.db(), about.subject(caller.tenant_id()), target.id.as_str(), action).await?;
    let told = told.ok_or(Code::AgentNotFound)?; // archived in between
    let mut factors = vec![Held {
        factor: "account_active",
        holds: about.is_active,
        why: format!("The account of {} is {}.", whose(&about), if about.is_active { "active" } else { "deactivated" }),
    }];
    factors.extend(told.factors.iter().map(|(factor, holds)| Held {
        factor: factor.as_str(),
        holds: *holds,
        why: factor.why(*holds, &about.named.name, about.agent.is_some(), &target.name),
    }));
    let rights = rights(&app, &about, action).await?;
    let allowed = told.allowed && about.is_active && rights.iter().all(|held| held.holds);
    factors.extend(rights);
    let form = Explanation {
        agent: target.name.clone(),
        subject: about.named.clone(),
        action: action.as_str(),
        allowed,
        factors,
    };
    json(StatusCode::OK, &form)
}

/// Whose account and role count for somebody.
fn whose(about: &Found) -> String {
    let name = &about.named.name;
    if about.agent.is_some() { format!("the owner of {name}") } else { name.clone() }
}

/// What must hold beside the relation, whoever stands so to the object: the role, and of an agent its ceiling, state and
/// budget. What a credential carries is another question, which only its bearer can ask.
async fn rights(app: &App, about: &Found, action: Action) -> Result<Vec<Held>, ApiError> {
    let needed = match action {
        Action::Read => Scope::AgentsRead,
        Action::Update => Scope::AgentsUpdate,
        Action::Delete => Scope::AgentsDelete,
        Action::Share => Scope::AgentsShare,
    };
    let (scope, role, name) = (needed.as_str(), about.role.as_str(), &about.named.name);
    let has = |holds: bool| if holds { "has" } else { "lacks" };
    let in_role = about.role.ceiling().contains(needed);
    let why = format!("The role {role} of {} {} {scope}.", whose(about), has(in_role));
    let mut held = vec![Held { factor: "role", holds: in_role, why }];
    let Some(id) = &about.agent else { return Ok(held) };
    let agent = agent::by_id(app.db(), id, app.now()).await?.ok_or(Code::SubjectNotFound)?;
    let in_ceiling = agent.scope.set().contains(needed) || agent.approved.set().contains(needed);
    let is_within = agent.budget_cents.is_none_or(|budget| agent.spent_cents <= budget);
    let spent = match agent.budget_cents {
        None => format!("{name} has no budget to keep to."),
        Some(budget) => format!("{name} has spent {} of {budget} cents.", agent.spent_cents),
    };
    for (factor, holds, why) in [
        (
            "ceiling",
            in_ceiling,
            format!("The ceiling of {name}, with what was approved for it, {} {scope}.", has(in_ceiling)),
        ),
        ("agent_running", agent.state == "running", format!("{name} is {}.", agent.state)),
        ("within_budget", is_within, spent),
    ] {
        held.push(Held { factor, holds, why });
    }
    Ok(held)
}

#[cfg(test)]
mod tests {
    use common::{
        scope::Role,
        testing::{Actor, TestApp},
    };

    use super::*;
    use crate::with_neighbours;

    const GRANTS: &str = "/api/agents/scout/grants";

    struct Stage {
        t: TestApp,
        ada: Actor,
        max: Actor,
        scout: Actor,
        helper: Actor,
    }

    /// Ada owns the agent scout, Max the agent helper; neither is an admin.
    async fn stage() -> Stage {
        let t = TestApp::new(with_neighbours());
        let tenant = t.tenant("main").await;
        let ada = t.user(&tenant, "ada@example.com", Role::Member).await;
        let max = t.user(&tenant, "max@example.com", Role::Member).await;
        let scout = t.agent(&ada, "scout", "agents.*").await;
        let helper = t.agent(&max, "helper", "agents.*").await;
        Stage { t, ada, max, scout, helper }
    }

    #[tokio::test]
    async fn a_grant_lets_in_and_taking_it_away_shuts_out() {
        let Stage { t, ada, max, .. } = stage().await;
        t.as_(&max, "GET", "/api/agents/scout", Null).await.refused(404, "agent_not_found");
        let ask = json!({ "subject": "MAX@example.com", "relation": "viewer" });
        let given = t.as_(&ada, "POST", GRANTS, ask.clone()).await.is(201);
        assert_eq!(
            given,
            json!({
                "subject": { "kind": "user", "id": max.user, "name": "max@example.com" }, "relation": "viewer",
                "created_at": "2026-01-02T03:04:05.000Z", "created_by": ada.user,
            })
        );
        assert_eq!(t.as_(&ada, "POST", GRANTS, ask).await.is(200), given, "it is there already");
        assert_eq!(t.as_(&ada, "GET", GRANTS, Null).await.is(200), json!({ "items": [given], "next_cursor": null }));
        t.as_(&max, "GET", "/api/agents/scout", Null).await.is(200);
        // R34: who may read and not more is told what is missing.
        let refused =
            t.as_(&max, "PATCH", "/api/agents/scout", json!({ "model": "m" })).await.refused(403, "permission_denied");
        assert_eq!(refused["required_relations"], json!(["editor", "owner", "tenant.admin"]));
        t.as_(&max, "GET", GRANTS, Null).await.refused(403, "permission_denied");
        t.as_(&ada, "POST", GRANTS, json!({ "subject": max.user, "relation": "editor" })).await.is(201);
        t.as_(&max, "PATCH", "/api/agents/scout", json!({ "model": "m" })).await.is(200);
        t.as_(&ada, "DELETE", &format!("{GRANTS}?subject=max@example.com&relation=editor"), Null).await.is(204);
        t.as_(&max, "PATCH", "/api/agents/scout", json!({ "model": "n" })).await.refused(403, "permission_denied");
        t.as_(&ada, "DELETE", GRANTS, json!({ "subject": "max@example.com" })).await.is(204);
        t.as_(&ada, "DELETE", GRANTS, json!({ "subject": "max@example.com" })).await.is(204);
        t.as_(&max, "GET", "/api/agents/scout", Null).await.refused(404, "agent_not_found");
        assert_eq!(t.number("SELECT count(*) FROM audit WHERE action IN ('agent.share', 'agent.unshare')").await, 4);
    }

    /// R8: an agent owns itself, so who may not share or archive it gives it no token that can; and nothing of the grant is left
    /// in such a token.
    #[tokio::test]
    async fn an_editor_issues_no_token_that_shares_or_archives() {
        let Stage { t, ada, max, .. } = stage().await;
        t.as_(&ada, "POST", GRANTS, json!({ "subject": "max@example.com", "relation": "editor" })).await.is(201);
        let issue = "/api/agents/scout/token/issue";
        let refused = t.as_(&max, "POST", issue, Null).await.refused(400, "scope_too_wide");
        assert_eq!(refused["excess_scopes"], json!(["agents.delete", "agents.share"]));
        t.as_(&max, "POST", issue, json!({ "scope": ["agents.read", "agents.update"] })).await.is(200);
        t.as_(&ada, "POST", issue, Null).await.is(200);
    }

    /// Who may not ask about others learns by no answer who there is.
    #[tokio::test]
    async fn asking_about_others_tells_outsiders_nothing() {
        let Stage { t, ada, max, .. } = stage().await;
        let worker = t.agent(&ada, "worker", "agents.read").await;
        t.as_(&ada, "POST", GRANTS, json!({ "subject": "max@example.com", "relation": "viewer" })).await.is(201);
        for who in ["ada@example.com", "nobody@example.com", ada.user.as_str()] {
            let path = format!("/api/agents/scout/explain?subject={who}");
            t.as_(&max, "GET", &path, Null).await.refused(403, "permission_denied");
            let path = format!("/api/agents/worker/explain?subject={who}");
            t.as_(&worker, "GET", &path, Null).await.refused(403, "scope_denied");
        }
        t.as_(&worker, "GET", "/api/agents/worker/explain?subject=worker", Null).await.is(200);
    }

    /// What an owner sees in the list he can take away, although he may not read the subject any more.
    #[tokio::test]
    async fn a_grant_to_what_one_may_not_read_can_be_taken_back() {
        let Stage { t, ada, max, helper, .. } = stage().await;
        let helpers = "/api/agents/helper/grants";
        t.as_(&max, "POST", helpers, json!({ "subject": "ada@example.com", "relation": "viewer" })).await.is(201);
        t.as_(&ada, "POST", GRANTS, json!({ "subject": "helper", "relation": "editor" })).await.is(201);
        t.as_(&max, "DELETE", &format!("{helpers}?subject=ada@example.com"), Null).await.is(204);
        let id = helper.agent.as_ref().unwrap();
        t.as_(&ada, "DELETE", &format!("{GRANTS}?subject={id}"), Null).await.is(204);
        assert_eq!(t.as_(&ada, "GET", GRANTS, Null).await.is(200)["items"], json!([]));
        let row = t.texts("SELECT before FROM audit WHERE action = 'agent.unshare' ORDER BY seq DESC LIMIT 1").await;
        assert!(row[0].contains("\"relation\":\"editor\""), "{row:?}");
        t.as_(&ada, "DELETE", &format!("{GRANTS}?subject=nobody@example.com"), Null).await.is(204);
    }

    /// An agent with a grant reads only what its owner may read too.
    #[tokio::test]
    async fn a_grant_to_an_agent_needs_its_owner_too() {
        let Stage { t, ada, max, helper, .. } = stage().await;
        // Ada cannot see Max's agent, so for her it is not there.
        let ask = json!({ "subject": "helper", "relation": "viewer" });
        t.as_(&ada, "POST", GRANTS, ask.clone()).await.refused(404, "subject_not_found");
        t.as_(&ada, "POST", GRANTS, json!({ "subject": "nobody@example.com", "relation": "viewer" }))
            .await
            .refused(404, "subject_not_found");
        t.as_(&max, "POST", "/api/agents/helper/grants", json!({ "subject": "ada@example.com", "relation": "viewer" }))
            .await
            .is(201);
        t.as_(&ada, "POST", GRANTS, ask).await.is(201);
        t.as_(&helper, "GET", "/api/agents/scout", Null).await.refused(404, "agent_not_found");
        t.as_(&ada, "POST", GRANTS, json!({ "subject": "max@example.com", "relation": "viewer" })).await.is(201);
        t.as_(&helper, "GET", "/api/agents/scout", Null).await.is(200);
        t.as_(&ada, "POST", GRANTS, json!({ "subject": "helper", "relation": "owner" }))
            .await
            .refused(400, "unknown_relation");
    }

    #[tokio::test]
    async fn an_explanation_names_each_factor() {
        let Stage { t, ada, max, scout, .. } = stage().await;
        let told = t.as_(&scout, "GET", "/api/agents/scout/explain?action=update", Null).await.is(200);
        let held = |told: &Json| -> Vec<String> {
            let factors = told["factors"].as_array().unwrap().iter();
            factors.filter(|at| at["holds"] == true).map(|at| at["factor"].as_str().unwrap().to_owned()).collect()
        };
        assert_eq!(
            (&told["allowed"], held(&told)),
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
        let told = t.as_(&ada, "GET", path, Null).await.is(200);
        assert_eq!(
            (&told["allowed"], held(&told)),
            (&json!(false), ["account_active", "tenant_gate", "role"].map(str::to_owned).into())
        );
        t.as_(&ada, "POST", GRANTS, json!({ "subject": "max@example.com", "relation": "editor" })).await.is(201);
        let told = t.as_(&ada, "GET", path, Null).await.is(200);
        assert_eq!(
            (&told["allowed"], held(&told)),
            (&json!(true), ["account_active", "tenant_gate", "editor", "role"].map(str::to_owned).into())
        );
        // A grant alone is not enough: the role has to reach so far, and an agent has to run.
        t.execute("UPDATE users SET role = 'viewer' WHERE email = 'max@example.com'").await.unwrap();
        let told = t.as_(&ada, "GET", path, Null).await.is(200);
        assert_eq!(
            (&told["allowed"], held(&told)),
            (&json!(false), ["account_active", "tenant_gate", "editor"].map(str::to_owned).into())
        );
        t.execute("UPDATE users SET role = 'member' WHERE email = 'max@example.com'").await.unwrap();
        t.execute("UPDATE agents SET state = 'paused' WHERE name = 'scout'").await.unwrap();
        let told = t.as_(&ada, "GET", "/api/agents/scout/explain?subject=scout", Null).await.is(200);
        assert_eq!((&told["allowed"], held(&told).contains(&"agent_running".to_owned())), (&json!(false), false));
        t.execute("UPDATE agents SET state = 'running' WHERE name = 'scout'").await.unwrap();
        // About others only with `share`; about what one may not read, nothing.
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
