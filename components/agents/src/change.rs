//! Changing an agent: its settings, its ceiling, its owner and its parent.

use common::{
    agent::{AgentSettings, AgentState, MOST_CENTS},
    error::{ApiError, Code},
    event::EventKind,
    id::{AgentId, UserId},
    scope::{Patterns, Scopes},
    text::within,
};
use serde_json::json;
use service::{
    change::{Answer, Change, Done, Write, new_owner},
    event::Event,
    extract::{Body, Path},
    form,
    form::Nullable,
    object, quota,
    response::Response,
};
use store::{
    agent::{self, Agent, state::parent_halted, tree},
    audit,
    permission::DEEPEST,
    preset,
};

use crate::bounds::{
    AgentChanges, Bounds, Child, apply_defaults, audited, check_covers_given_budget, check_tier, check_within_parent,
    find_parent, narrow_below, set_ceiling,
};

form! {
    pub(crate) struct Patch {
        spent_cents: Option<i64>,
        parent: Option<Nullable<String>>,
        owner: Option<String>,
        ..changes: AgentChanges,
    }
}

impl Patch {
    /// The fields that were sent, of those that ask for more of the caller than the others.
    fn sent(&self) -> Vec<&'static str> {
        let fields = [("parent", self.parent.is_some()), ("owner", self.owner.is_some())];
        fields.into_iter().filter(|(_, is_sent)| *is_sent).map(|(field, _)| field).collect()
    }

    fn apply(&self, settings: &mut AgentSettings) -> Result<(), ApiError> {
        self.changes.apply(settings)?;
        if let Some(spent) = self.spent_cents {
            settings.spent_cents = within("spent_cents", spent, 0..=MOST_CENTS)?;
        }
        Ok(())
    }
}

form! {
    pub(crate) struct Put {
        ..changes: AgentChanges,
    }
}

/// `PATCH /api/agents/{name}`: changes what is sent, clears what is sent as null. A narrower ceiling narrows every live credential of
/// the agent at once, and the ceilings of all agents below it.
pub(crate) async fn patch(change: Change<Body<Patch>>, Path(name): Path) -> Result<Response, ApiError> {
    let Body(patch) = &change.input;
    let ceiling = patch.changes.ceiling(change.app.db(), &change.caller).await?;
    patch.apply(&mut AgentSettings::new(Patterns::stored("")))?; // wrong values are refused before any look-up
    let sent = patch.sent();
    change
        .on_agent_with(
            |field| sent.contains(&field),
            &name,
            async |write, before, Body(patch)| {
                let mut settings = before.settings.clone();
                patch.apply(&mut settings)?;
                if let Some(ceiling) = ceiling {
                    set_ceiling(&mut settings, ceiling, Some(&before.settings));
                }
                let parent = patch.parent.map(|Nullable(parent)| parent);
                Edit { before, settings, parent, owner: patch.owner }.carry_out(write).await
            },
        )
        .await
}

/// `PUT /api/agents/{name}`: replaces all settings; what is left out becomes as it is for a new agent. Name, parent, owner and what was
/// spent stay.
pub(crate) async fn put(change: Change<Body<Put>>, Path(name): Path) -> Result<Response, ApiError> {
    let Body(put) = &change.input;
    let ceiling = put.changes.ceiling(change.app.db(), &change.caller).await?;
    let ceiling = ceiling.ok_or_else(|| ApiError::field("scope", "is missing: send scope or preset"))?;
    let mut settings = AgentSettings::new(Patterns::stored(""));
    let preset = match &ceiling.preset {
        Some((name, _)) => preset::newest(change.app.db(), change.caller.tenant_id(), name).await?,
        None => None,
    };
    apply_defaults(&change.app, &change.caller, preset.as_ref(), &mut settings)?;
    put.changes.apply(&mut settings)?;
    change
        .on_agent(&name, async |write, before, _| {
            set_ceiling(&mut settings, ceiling, Some(&before.settings));
            settings.spent_cents = before.settings.spent_cents;
            Edit { before, settings, parent: None, owner: None }.carry_out(write).await
        })
        .await
}

/// An agent and how it is to be.
struct Edit {
    before: Agent,
    settings: AgentSettings,
    /// The name of another parent. `None`: it keeps its own; `Some(None)`: it gets none.
    parent: Option<Option<String>>,
    /// The id or address of another owner.
    owner: Option<String>,
}

impl Edit {
    async fn carry_out(self, write: &Write<'_>) -> Result<Done, ApiError> {
        self.check_caller(write).await?;
        if self.changes("tier") {
            check_tier(write.app(), &write.caller, Some(self.settings.tier))?;
        }
        let custom = write.caller.custom_scopes();
        let (old, asked) = (&self.before.settings.scope, &self.settings.scope);
        let gain = asked.scopes(custom).without(&old.scopes(custom));
        let minted = write.caller.may_mint(gain, Scopes::default(), &self.before.owner.id, asked)?;
        let parent = self.new_parent(write).await?;
        let scope = if asked == old { asked.clone() } else { minted };
        let scope = match &parent {
            Some(parent) => scope.within(&[&parent.settings.scope.to_column()], custom),
            None => scope,
        };
        let owner = self.new_owner(write, parent.is_some()).await?;
        self.store(write, scope, parent.map(|parent| parent.id), owner).await
    }

    /// Whether it changes a field that the row names.
    fn changes(&self, field: &str) -> bool {
        let (old, new) = (&self.before.settings, &self.settings);
        match field {
            "scope" | "preset" => new.scope != old.scope,
            "tier" => new.tier != old.tier,
            "max_concurrent_tasks" => new.max_concurrent_tasks != old.max_concurrent_tasks,
            "budget_cents" => new.budget_cents != old.budget_cents,
            "spent_cents" => new.spent_cents != old.spent_cents,
            "silent_after_minutes" => new.silent_after_minutes != old.silent_after_minutes,
            _ => false, // parent and owner were checked when the agent was found
        }
    }

    /// Whether it asks for other bounds of the agent.
    fn changes_bounds(&self) -> bool {
        bounds(&self.settings) != bounds(&self.before.settings)
    }

    /// Refuses an agent the fields that it may not change. It may bound the agents below it, and never itself; an agent's parent, owner and
    /// what it has spent are for people to set.
    async fn check_caller(&self, write: &Write<'_>) -> Result<(), ApiError> {
        if write.caller.agent_id().is_none() {
            return Ok(());
        }
        let (old, new) = (&self.before.settings, &self.settings);
        if new.budget_cents != old.budget_cents {
            check_covers_given_budget(write, &self.before, new.budget_cents).await?;
        }
        let changes = |field: &str| self.changes(field);
        object::check_senders(&write.tx, &write.caller, write.route(), changes, &self.before.id).await
    }

    fn child(&self) -> Child<'_> {
        Child {
            scope: Some(&self.settings.scope),
            bounds: Bounds::of(&self.settings),
            id: Some(&self.before.id),
            before: Some(Bounds::of(&self.before.settings)),
        }
    }

    /// The parent that the agent has afterwards, and that can give what it is to have.
    async fn new_parent(&self, write: &Write<'_>) -> Result<Option<Agent>, ApiError> {
        let before = &self.before;
        match (&self.parent, &before.parent_id) {
            (Some(None), _) | (None, None) => Ok(None),
            (None, Some(id)) => {
                let parent = agent::by_id(&write.tx, id, write.now()).await?.ok_or(Code::ParentNotFound)?;
                if self.changes_bounds() {
                    check_within_parent(write, &parent, &self.child()).await?;
                }
                Ok(Some(parent))
            }
            (Some(Some(name)), _) => {
                let parent = find_parent(write, name, &before.owner.id).await?;
                check_fits_below(write, before, &parent).await?;
                check_within_parent(write, &parent, &self.child()).await?;
                Ok(Some(parent))
            }
        }
    }

    /// The owner that the agent gets. `None`: it keeps its own.
    async fn new_owner(&self, write: &Write<'_>, has_parent: bool) -> Result<Option<UserId>, ApiError> {
        match &self.owner {
            None => Ok(None),
            Some(_) if has_parent => Err(Code::HasParent.into()),
            Some(to) => Ok(Some(new_owner(write, to).await?).filter(|to| *to != self.before.owner.id)),
        }
    }

    async fn store(
        self,
        write: &Write<'_>,
        scope: Patterns,
        parent: Option<AgentId>,
        owner: Option<UserId>,
    ) -> Result<Done, ApiError> {
        let (before, changes_bounds) = (&self.before, self.changes_bounds());
        let settings = AgentSettings { scope, ..self.settings };
        if settings == before.settings && parent == before.parent_id && owner.is_none() {
            return Ok(Answer::ok(before)?.unchanged());
        }
        let only_narrows = parent == before.parent_id && owner.is_none() && is_narrower(&settings, &before.settings);
        agent::update(&write.tx, &before.id, &settings, write.now()).await?;
        if parent != before.parent_id {
            tree::set_parent(&write.tx, &before.id, parent.as_ref(), write.now()).await?;
        }
        if changes_bounds {
            let limits = json!({
                "scope": settings.scope, "tier": settings.tier, "max_concurrent_tasks": settings.max_concurrent_tasks,
                "budget_cents": settings.budget_cents, "spent_cents": settings.spent_cents,
            });
            write.emit(Event::of_agent(EventKind::LimitChanged, &before.id).data(limits)).await?;
        }
        if settings.scope != before.settings.scope {
            narrow_below(write, before).await?;
        }
        if let Some(owner) = &owner {
            transfer(write, before, owner).await?;
        }
        let mut after = agent::by_id(&write.tx, &before.id, write.now()).await?.ok_or(Code::AgentNotFound)?;
        if after.parent_id == before.parent_id {
            after.parent.clone_from(&before.parent); // its name is only for callers that may read it
        }
        let (old, new) = audit::changed(audited(before), audited(&after));
        if after.settings != before.settings || after.parent_id != before.parent_id {
            let names = new.as_object().into_iter().flat_map(|new| new.keys());
            let changed: Vec<&String> = names.filter(|name| *name != "updated_at").collect();
            let event = Event::of_agent(EventKind::AgentUpdated, &before.id).data(json!({ "changed": changed }));
            // Its new owner is told that they own it.
            write.emit(if owner.is_some() { event.no_news() } else { event }).await?;
        }
        Ok(Answer::ok(&after)?.audited(&before.id, old, new).narrowing(only_narrows))
    }
}

/// Whether settings differ from those before in their bounds alone, and none of these is wider.
fn is_narrower(new: &AgentSettings, old: &AgentSettings) -> bool {
    let bounded = AgentSettings {
        scope: new.scope.clone(),
        preset: new.preset.clone(),
        preset_version: new.preset_version,
        tier: new.tier,
        max_concurrent_tasks: new.max_concurrent_tasks,
        budget_cents: new.budget_cents,
        spent_cents: new.spent_cents,
        ..old.clone()
    };
    let cents = |budget: Option<i64>| budget.unwrap_or(i64::MAX);
    bounded == *new
        && new.scope.is_within(&old.scope)
        && new.tier >= old.tier
        && new.max_concurrent_tasks <= old.max_concurrent_tasks
        && cents(new.budget_cents) <= cents(old.budget_cents)
        && new.spent_cents >= old.spent_cents
        && bounds(new) != bounds(old)
}

/// The settings that bound an agent.
fn bounds(settings: &AgentSettings) -> (&Patterns, i64, i64, Option<i64>, i64) {
    let AgentSettings { scope, tier, max_concurrent_tasks, budget_cents, spent_cents, .. } = settings;
    (scope, *tier, *max_concurrent_tasks, *budget_cents, *spent_cents)
}

/// Gives the agent with all below it to another owner, and notifies them.
async fn transfer(write: &Write<'_>, agent: &Agent, owner: &UserId) -> Result<(), ApiError> {
    let origin = write.origin();
    tree::transfer(&write.tx, (&origin, write.action()), &agent.id, owner).await?;
    quota::check_given(write.app(), &write.tx, &write.caller, owner).await?;
    let title = format!("You now own the agent {}", agent.name);
    let body = format!(
        "{} gave it to you, with all agents below it. It has no token: issue one on its page.",
        write.caller.email()
    );
    let page = Some(format!("/agents/{}", agent.id));
    let event = Event::of_agent(EventKind::AgentTransferred, &agent.id).telling(owner, title, body, page);
    let body = format!(
        "{} gave the agent {}, with all agents below it, to another owner. Its credentials, keys and grants have ended.",
        write.author(),
        agent.name
    );
    let event = event.telling(&agent.owner.id, format!("You no longer own the agent {}", agent.name), body, None);
    write.emit(event.data(json!({ "owner": owner, "former_owner": agent.owner.id }))).await.map(drop)
}

/// Checks that the agent, with all below it, has a place below `parent`.
async fn check_fits_below(write: &Write<'_>, agent: &Agent, parent: &Agent) -> Result<(), ApiError> {
    if tree::is_at_or_below(&write.tx, &parent.id, &agent.id).await? {
        return Err(Code::TreeCycle.into());
    }
    let depth = tree::depth(&write.tx, &parent.id).await? + tree::height(&write.tx, &agent.id).await?;
    if depth > DEEPEST as i64 {
        return Err(Code::TreeTooDeep.with("parent", &parent.name));
    }
    // No agent runs below one that is halted.
    if parent.state != AgentState::Running && tree::any_runs(&write.tx, &agent.id).await? {
        return Err(parent_halted(parent, Some(&parent.name)));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use common::role::Role;
    use serde_json::{Value as Json, Value::Null, json};
    use service::testing::{Actor, TestApp};

    use crate::with_neighbours;

    /// What is left out becomes as it is for a new agent.
    #[tokio::test]
    async fn a_put_replaces_all_settings() {
        let t = TestApp::new(with_neighbours());
        let ada = t.ada().await;
        let body = json!({ "name": "scout", "description": "Old.", "labels": { "a": "1" }, "scope": ["*"], "tier": 1, "budget_cents": 5 });
        t.as_(&ada, "POST", "/api/agents", body).await.is(201);
        t.execute("UPDATE agents SET spent_cents = 3").await.unwrap();
        let after = t.as_(&ada, "PUT", "/api/agents/scout", json!({ "model": "m", "preset": "worker" })).await.is(200);
        for (member, value) in [
            ("description", Null),
            ("labels", json!({})),
            ("model", json!("m")),
            ("preset", json!("worker")),
            ("preset_version", json!(1)),
            ("tier", json!(3)),
            ("budget_cents", Null),
            ("spent_cents", json!(3)),
        ] {
            assert_eq!(after[member], value, "{member}");
        }
        for bad in [json!({}), json!({ "name": "x" }), json!({ "parent": null }), json!({ "owner": "x" })] {
            t.as_(&ada, "PUT", "/api/agents/scout", bad).await.refused(422, "validation_error");
        }
        t.as_(&ada, "PUT", "/api/agents/nobody", json!({ "preset": "worker" })).await.refused(404, "agent_not_found");
        assert_eq!(t.number("SELECT count(*) FROM audit WHERE action = 'agent.update'").await, 1);
    }

    /// R88: a client that reads an agent and sends back what it read changes nothing, the preset included.
    #[tokio::test]
    async fn the_scope_that_an_agent_has_keeps_its_preset() {
        let t = TestApp::new(with_neighbours());
        let ada = t.ada().await;
        let made = t.as_(&ada, "POST", "/api/agents", json!({ "name": "scout", "preset": "worker" })).await.is(201);
        for method in ["PUT", "PATCH"] {
            let body = json!({ "scope": made["scope"], "description": method });
            let after = t.as_(&ada, method, "/api/agents/scout", body).await.is(200);
            assert_eq!((&after["preset"], &after["preset_version"]), (&json!("worker"), &json!(1)), "{method}");
            assert_eq!(after["description"], method);
        }
        let after = t.as_(&ada, "PUT", "/api/agents/scout", json!({ "scope": ["agents.read"] })).await.is(200);
        assert_eq!((&after["preset"], &after["preset_version"]), (&Null, &Null));
    }

    /// R41, R8: a narrower ceiling narrows the agents below at once, and each is notified.
    #[tokio::test]
    async fn a_narrower_ceiling_narrows_all_below() {
        let t = TestApp::new(with_neighbours());
        let ada = t.ada().await;
        let boss = t.agent(&ada, "boss", "agents.*").await;
        let hand = t.agent_below(&ada, Some(&boss), "hand", "agents.*").await;
        let nail = t.agent_below(&ada, Some(&hand), "nail", "agents.read agents.list").await;
        t.as_(&nail, "GET", "/api/agents", Null).await.is(200);
        t.as_(&ada, "PATCH", "/api/agents/boss", json!({ "scope": ["agents.read", "agents.update"] })).await.is(200);
        t.as_(&nail, "GET", "/api/agents", Null).await.refused(403, "scope_denied");
        t.as_(&nail, "GET", "/api/agents/nail", Null).await.is(200);
        assert_eq!(
            t.texts("SELECT scope FROM agents ORDER BY name").await,
            ["agents.read agents.update", "agents.read agents.update", "agents.read"]
        );
        assert_eq!(t.number("SELECT count(*) FROM inbox WHERE kind = 'limit_changed'").await, 3);
        // A wider ceiling leaves those below as they are.
        t.as_(&ada, "PATCH", "/api/agents/boss", json!({ "scope": ["agents.*"] })).await.is(200);
        t.as_(&nail, "GET", "/api/agents", Null).await.refused(403, "scope_denied");
        // An agent bounds only those below it, and within its own ceiling.
        t.as_(&boss, "PATCH", "/api/agents/nail", json!({ "scope": ["agents.list"] }))
            .await
            .refused(400, "scope_too_wide");
        t.as_(&hand, "PATCH", "/api/agents/hand", json!({ "scope": ["agents.*"] }))
            .await
            .refused(403, "person_required");
        t.as_(&boss, "PATCH", "/api/agents/hand", json!({ "scope": ["agents.read"] })).await.is(200);
    }

    /// R46: a move makes no cycle and no tree that is too deep. It needs a parent of the same owner that runs and has the ceiling.
    #[tokio::test]
    async fn a_move_keeps_the_rules_of_the_tree() {
        let t = TestApp::new(with_neighbours());
        let ada = t.ada().await;
        let eve = t.user(&ada.tenant, "eve@example.com", Role::Member).await;
        let mut above: Option<Actor> = None;
        for number in 1..=5 {
            let next = t.agent_below(&ada, above.as_ref(), &format!("a{number}"), "agents.*").await;
            above = Some(next);
        }
        let b1 = t.agent(&ada, "b1", "agents.*").await;
        let b2 = t.agent_below(&ada, Some(&b1), "b2", "agents.*").await;
        let b3 = t.agent_below(&ada, Some(&b2), "b3", "agents.*").await;
        t.agent_below(&ada, Some(&b3), "b4", "agents.*").await;
        t.agent(&eve, "eves", "agents.*").await;
        t.agent(&ada, "narrow", "agents.read").await;
        let put = |name: &str, parent: Json| (format!("/api/agents/{name}"), json!({ "parent": parent }));
        for (name, parent, status, slug) in [
            ("a1", json!("a1"), 409, "tree_cycle"),
            ("a1", json!("a5"), 409, "tree_cycle"),
            ("b1", json!("a5"), 409, "tree_too_deep"),
            ("a1", json!("eves"), 409, "parent_of_another_owner"),
            ("a1", json!("nobody"), 404, "parent_not_found"),
            ("b4", json!("narrow"), 400, "scope_too_wide"),
            ("b4", json!(7), 422, "validation_error"),
        ] {
            let (path, body) = put(name, parent);
            t.as_(&ada, "PATCH", &path, body).await.refused(status, slug);
        }
        let (path, body) = put("b1", json!("a4"));
        assert_eq!(t.as_(&ada, "PATCH", &path, body).await.is(200)["parent"], "a4");
        let (path, body) = put("b1", Null);
        assert_eq!(t.as_(&ada, "PATCH", &path, body).await.is(200)["parent"], Null);
        t.execute("UPDATE agents SET state = 'stopped' WHERE name = 'a4'").await.unwrap();
        let (path, body) = put("b1", json!("a4"));
        t.as_(&ada, "PATCH", &path, body).await.refused(409, "parent_halted");
        // An editor changes settings, and not the parent.
        t.grant(b1.agent.as_ref().unwrap(), &ada.tenant, eve.user.as_str(), "editor", &ada.user).await;
        let (path, body) = put("b1", Null);
        t.as_(&eve, "PATCH", &path, body).await.refused(403, "permission_denied");
        let (path, body) = put("b2", Null);
        t.as_(&b1, "PATCH", &path, body).await.refused(403, "person_required");
        assert_eq!(t.number("SELECT count(*) FROM agents WHERE parent_id IS NULL").await, 4);
    }

    /// R724: a new owner is told once, and that the agent has no token; not what else was changed with it.
    #[tokio::test]
    async fn a_new_owner_is_told_once() {
        let t = TestApp::new(with_neighbours());
        let ada = t.ada().await;
        t.user(&ada.tenant, "eve@example.com", Role::Member).await;
        let boss = t.agent(&ada, "boss", "*").await;
        t.agent_below(&ada, Some(&boss), "hand", "*").await;
        let body = json!({ "owner": "eve@example.com", "parent": null, "description": "Another." });
        t.as_(&ada, "PATCH", "/api/agents/hand", body).await.is(200);
        let told = t.texts("SELECT email || ' ' || title || ' ' || body FROM notifications JOIN users ON users.id = user_id WHERE email LIKE 'eve%'").await;
        let text = "ada@example.com gave it to you, with all agents below it. It has no token: issue one on its page.";
        assert_eq!(told, [format!("eve@example.com You now own the agent hand {text}")]);
    }

    /// R8, R41: a new owner gets an agent with all below it, and every credential and grant ends.
    #[tokio::test]
    async fn a_tree_is_transferred_without_its_credentials() {
        let t = TestApp::new(with_neighbours());
        let ada = t.ada().await;
        let mia = t.user(&ada.tenant, "mia@example.com", Role::Member).await;
        let eve = t.user(&ada.tenant, "eve@example.com", Role::Member).await;
        let boss = t.agent(&mia, "boss", "*").await;
        let hand = t.agent_below(&mia, Some(&boss), "hand", "*").await;
        t.as_(&mia, "PATCH", "/api/agents/hand", json!({ "owner": "eve@example.com" }))
            .await
            .refused(409, "has_parent");
        t.user(&ada.tenant, "vic@example.com", Role::Viewer).await; // a viewer could not even stop it
        for bad in ["nobody@example.com", "boss", "vic@example.com"] {
            t.as_(&mia, "PATCH", "/api/agents/boss", json!({ "owner": bad })).await.refused(404, "owner_not_found");
        }
        t.as_(&hand, "GET", "/api/agents/me", Null).await.is(200);
        t.grant(boss.agent.as_ref().unwrap(), &ada.tenant, ada.user.as_str(), "editor", &mia.user).await;
        let given = t.as_(&mia, "PATCH", "/api/agents/boss", json!({ "owner": "EVE@example.com" })).await.is(200);
        assert_eq!((&given["owner"]["email"], &given["has_token"]), (&json!("eve@example.com"), &json!(false)));
        for gone in [&boss, &hand] {
            t.as_(gone, "GET", "/api/agents/me", Null).await.refused(401, "token_revoked");
        }
        t.as_(&mia, "GET", "/api/agents/hand", Null).await.refused(404, "agent_not_found");
        // Nobody whom the former owner chose can act for the new one. The new owner is notified, and each agent has an audit row.
        assert_eq!(t.number("SELECT count(*) FROM grants").await, 0);
        assert_eq!(t.number("SELECT count(*) FROM notifications WHERE user_id = (SELECT id FROM users WHERE email = 'eve@example.com')").await, 1);
        assert_eq!(t.number("SELECT count(DISTINCT object_id) FROM audit WHERE action = 'agent.update'").await, 2);
        assert_eq!(t.as_(&eve, "GET", "/api/agents/hand", Null).await.is(200)["owner"]["email"], "eve@example.com");
        t.as_(&eve, "POST", "/api/agents/hand/token/issue", json!({})).await.is(200);
        assert_eq!(
            t.number(
                "SELECT count(*) FROM agents WHERE owner_id = (SELECT id FROM users WHERE email = 'eve@example.com')"
            )
            .await,
            2
        );
        // One request can take a child out of its tree and transfer it.
        let both = json!({ "owner": "mia@example.com", "parent": null });
        t.as_(&eve, "PATCH", "/api/agents/hand", both).await.is(200);
        t.as_(&mia, "GET", "/api/agents/hand", Null).await.is(200);
    }

    #[tokio::test]
    async fn a_patch_changes_what_is_sent_and_clears_what_is_null() {
        let t = TestApp::new(with_neighbours());
        let ada = t.ada().await;
        let body = json!({ "name": "scout", "description": "Old.", "model": "m", "labels": { "a": "1" } });
        let made = t.as_(&ada, "POST", "/api/agents", body).await.is(201);
        t.wait(1);
        let change = json!({ "description": "New.", "model": null, "scope": ["agents.read"] });
        let after = t.as_(&ada, "PATCH", "/api/agents/scout", change).await.is(200);
        let mut expected = made.clone();
        expected.as_object_mut().unwrap().retain(|key, _| key != "auth_token" && key != "warnings");
        for (key, value) in [
            ("description", json!("New.")),
            ("model", Null),
            ("scope", json!(["agents.read"])),
            ("preset", Null),
            ("preset_version", Null),
            ("updated_at", json!("2026-01-02T03:04:06.000Z")),
        ] {
            expected[key] = value;
        }
        assert_eq!(after, expected);
        let audit = t.texts("SELECT json_extract(before, '$.description') || json_extract(after, '$.description') FROM audit WHERE action = 'agent.update'").await;
        assert_eq!(audit, ["Old.New."]);
        t.as_(&ada, "PATCH", "/api/agents/scout", json!({ "name": "x" })).await.refused(422, "validation_error");
        t.as_(&ada, "PATCH", "/api/agents/none", json!({ "model": "x" })).await.refused(404, "agent_not_found");
    }

    /// R8: an editor of somebody else's agent gives it nothing that they could not do themselves, whatever its owner may do.
    #[tokio::test]
    async fn an_editor_gives_an_agent_no_more_than_they_have() {
        let t = TestApp::new(with_neighbours());
        let ada = t.ada().await;
        let eve = t.user(&ada.tenant, "eve@example.com", Role::Member).await;
        let scout = t.agent(&ada, "scout", "agents.read guides.write").await;
        t.grant(scout.agent.as_ref().unwrap(), &ada.tenant, eve.user.as_str(), "editor", &ada.user).await;
        for scope in [json!(["*"]), json!(["tokens.introspect"])] {
            let body = json!({ "scope": scope });
            t.as_(&eve, "PATCH", "/api/agents/scout", body).await.refused(400, "scope_too_wide");
        }
        t.as_(&eve, "POST", "/api/agents/scout/token/issue", json!({})).await.refused(400, "scope_too_wide");
        let narrow = json!({ "scope": ["agents.read"] });
        t.as_(&eve, "POST", "/api/agents/scout/token/issue", narrow).await.is(200);
        t.as_(&ada, "POST", "/api/agents/scout/token/issue", json!({})).await.is(200);
    }
}
