//! Changing an agent: what is said of it, what it may do and spend, whose it is and below whom it stands.

use axum::{http::StatusCode, response::Response};
use common::{
    agents::{Said, audited, keeps_what_is_given, narrow_below, new_owner, parent, within_parent},
    audit,
    caller::Caller,
    error::{ApiError, Code},
    form,
    form::{Ask, OrNull},
    http::{App, Segment, json},
    id::NotificationId,
    idempotency::Answer,
    mint::{self, Rights},
    permission::{Action, DEEPEST},
    route::{self, Route},
    scope::{Patterns, Scopes},
    store::{
        agent::{self, Agent, Fields, Labels},
        inbox, notification,
        state::halted,
        tree,
    },
    write::{Begun, Write},
};
use serde_json::json;

form! {
    pub(crate) struct Patch {
        display_name: Option<OrNull<String>>,
        description: Option<OrNull<String>>,
        runtime: Option<OrNull<String>>,
        model: Option<OrNull<String>>,
        url: Option<OrNull<String>>,
        labels: Option<Labels>,
        scope: Option<Vec<String>>,
        preset: Option<String>,
        tier: Option<i64>,
        max_concurrent_tasks: Option<i64>,
        budget_cents: Option<OrNull<i64>>,
        spent_cents: Option<i64>,
        parent: Option<OrNull<String>>,
        owner: Option<String>,
    }
}

form! {
    pub(crate) struct Put {
        display_name: Option<OrNull<String>>,
        description: Option<OrNull<String>>,
        runtime: Option<OrNull<String>>,
        model: Option<OrNull<String>>,
        url: Option<OrNull<String>>,
        labels: Option<Labels>,
        scope: Option<Vec<String>>,
        preset: Option<String>,
        tier: Option<i64>,
        max_concurrent_tasks: Option<i64>,
        budget_cents: Option<OrNull<i64>>,
    }
}

/// What is to be changed.
struct Change {
    route: &'static Route,
    /// Whether what is left out falls back to what a new agent has.
    anew: bool,
    said: Said,
    rights: Option<Rights>,
    parent: Option<OrNull<String>>,
    owner: Option<String>,
}

/// `PATCH /api/agents/{name}`: changes what is sent, clears what is sent as null. A narrower ceiling narrows every live
/// credential of the agent at once, and the ceilings of all agents below it.
pub(crate) async fn patch(
    app: App,
    caller: Caller,
    Segment(name): Segment,
    ask: Ask<Patch>,
) -> Result<Response, ApiError> {
    let body = ask.body;
    let change = Change {
        route: route::AGENTS_PATCH,
        anew: false,
        rights: mint::rights(app.db(), &caller, body.scope.as_deref(), body.preset.as_deref()).await?,
        said: Said {
            display_name: body.display_name,
            description: body.description,
            runtime: body.runtime,
            model: body.model,
            url: body.url,
            labels: body.labels,
            tier: body.tier,
            max_concurrent_tasks: body.max_concurrent_tasks,
            budget_cents: body.budget_cents,
            spent_cents: body.spent_cents,
        },
        parent: body.parent,
        owner: body.owner,
    };
    apply(app, caller, name, change).await
}

/// `PUT /api/agents/{name}`: says anew all that a create says; what is left out is as it is for a new agent. Name, parent,
/// owner and what was spent stay.
pub(crate) async fn put(app: App, caller: Caller, Segment(name): Segment, ask: Ask<Put>) -> Result<Response, ApiError> {
    let body = ask.body;
    let rights = mint::rights(app.db(), &caller, body.scope.as_deref(), body.preset.as_deref()).await?;
    let change = Change {
        route: route::AGENTS_PUT,
        anew: true,
        rights: Some(rights.ok_or_else(|| ApiError::field("scope", "is missing: send scope or preset"))?),
        said: Said {
            display_name: body.display_name,
            description: body.description,
            runtime: body.runtime,
            model: body.model,
            url: body.url,
            labels: body.labels,
            tier: body.tier,
            max_concurrent_tasks: body.max_concurrent_tasks,
            budget_cents: body.budget_cents,
            spent_cents: None,
        },
        parent: None,
        owner: None,
    };
    apply(app, caller, name, change).await
}

async fn apply(app: App, caller: Caller, name: String, change: Change) -> Result<Response, ApiError> {
    let Change { route, anew, said, rights, parent: place, owner } = change;
    // Who says below whom an agent stands, or whose it is, says who else may act on it.
    let action = if place.is_some() || owner.is_some() { Action::Share } else { Action::Update };
    said.clone().put_into(&mut Fields::new(Patterns::stored("")))?; // what the values alone decide comes first

    agent::get(app.db(), &caller, &name, action, app.now()).await?; // early 404 or 403; decided again below
    let write = match app.write(route, &caller, None).await? {
        Begun::First(write) => write,
        Begun::Again(answer) => return Ok(answer),
    };
    let before = agent::get(&write.tx, &write.caller, &name, action, app.now()).await?;
    let old = Fields::from(&before);
    let mut fields = match anew {
        true => Fields { spent_cents: old.spent_cents, ..Fields::new(old.scope.clone()) },
        false => old.clone(),
    };
    said.put_into(&mut fields)?;
    if let Some(rights) = rights {
        (fields.scope, fields.preset) = (rights.scope, rights.preset);
    }
    let is_bounded = bounds(&fields) != bounds(&old);
    if write.caller.agent_id().is_some() && fields.budget_cents != old.budget_cents {
        keeps_what_is_given(&write, &before, fields.budget_cents).await?;
    }
    if is_bounded || place.is_some() || owner.is_some() {
        may_bound(
            &write,
            &before,
            is_bounded && place.is_none() && owner.is_none() && fields.spent_cents == old.spent_cents,
        )
        .await?;
    }
    let defined = write.caller.defined();
    let gain = fields.scope.scopes(defined).without(&old.scope.scopes(defined));
    let minted = write.caller.may_mint(gain, Scopes::default(), &before.owner.id, &fields.scope)?;

    let place = place.map(|OrNull(place)| place);
    let parent = match (&place, &before.parent_id) {
        (Some(None), _) | (None, None) => None,
        (None, Some(above)) => {
            let parent = agent::by_id(&write.tx, above, app.now()).await?.ok_or(Code::ParentNotFound)?;
            if is_bounded {
                within_parent(&write, &parent, Some(&before), &fields).await?;
            }
            Some(parent)
        }
        (Some(Some(above)), _) => {
            let parent = parent(&app, &write, above, before.owner.id.as_str()).await?;
            may_stand_below(&write, &before, &parent).await?;
            within_parent(&write, &parent, Some(&before), &fields).await?;
            Some(parent)
        }
    };
    if fields.scope != old.scope {
        fields.scope = minted;
    }
    if let Some(parent) = &parent {
        fields.scope = fields.scope.within(&[&parent.scope.to_column()], write.caller.defined());
    }
    let parent_id = parent.map(|parent| parent.id);
    let owner = match owner {
        None => None,
        Some(_) if parent_id.is_some() => return Err(Code::HasParent.into()),
        Some(to) => Some(new_owner(&write, &to).await?).filter(|to| *to != before.owner.id),
    };
    if fields == old && parent_id == before.parent_id && owner.is_none() {
        return json(StatusCode::OK, &before); // nothing changes, so there is nothing to audit
    }
    agent::update(&write.tx, &before.id, &fields, app.now()).await?;
    if parent_id != before.parent_id {
        tree::put_below(&write.tx, &before.id, parent_id.as_ref(), app.now()).await?;
    }
    if is_bounded {
        let told = json!({
            "scope": fields.scope, "tier": fields.tier, "max_concurrent_tasks": fields.max_concurrent_tasks,
            "budget_cents": fields.budget_cents, "spent_cents": fields.spent_cents,
        });
        inbox::push(&write.tx, &before.id, "limit_changed", &told, app.now()).await?;
    }
    if fields.scope != old.scope {
        narrow_below(&app, &write, &before).await?;
    }
    if let Some(owner) = &owner {
        tree::give(&write, &before.id, owner, app.now()).await?;
        let id = NotificationId::generate(app.now(), app.chance());
        let title = format!("The agent {} is yours now", before.name);
        let body = format!("{} gave it to you, with all agents below it.", write.caller.email());
        notification::tell(&write.tx, &id, write.caller.tenant_id(), owner, (&title, &body), app.now()).await?;
    }
    let mut after = agent::by_id(&write.tx, &before.id, app.now()).await?.ok_or(Code::AgentNotFound)?;
    if after.parent_id == before.parent_id {
        after.parent.clone_from(&before.parent); // told only to who may read it
    }
    let answer = Answer::json(StatusCode::OK, &after)?;
    let (was, is) = audit::changed(audited(&before), audited(&after));
    write.finish(before.id.as_str(), was, is, answer).await
}

/// What bounds an agent, and is not its own to change.
fn bounds(fields: &Fields) -> (&Patterns, i64, i64, Option<i64>, i64) {
    (&fields.scope, fields.tier, fields.max_concurrent_tasks, fields.budget_cents, fields.spent_cents)
}

/// An agent never changes what bounds it. It may bound the agents below it; where an agent stands, whose it is and what it has
/// spent is for people to say.
async fn may_bound(write: &Write<'_>, agent: &Agent, bounds_only: bool) -> Result<(), ApiError> {
    let Some(own) = write.caller.agent_id() else { return Ok(()) };
    if bounds_only && agent.id != *own && tree::is_at_or_below(&write.tx, &agent.id, own).await? {
        return Ok(());
    }
    Err(Code::PersonRequired.detail(
        "An agent changes scope, tier, tasks and budget only of the agents below it, and never parent, owner or what was spent.",
    ))
}

/// Whether the agent, with all below it, fits below the parent.
async fn may_stand_below(write: &Write<'_>, agent: &Agent, parent: &Agent) -> Result<(), ApiError> {
    if tree::is_at_or_below(&write.tx, &parent.id, &agent.id).await? {
        return Err(Code::TreeCycle.into());
    }
    let depth = tree::depth(&write.tx, &parent.id).await? + tree::height(&write.tx, &agent.id).await?;
    if depth > DEEPEST as i64 {
        return Err(Code::TreeTooDeep.with("parent", &parent.name));
    }
    // What runs, runs below what runs.
    if parent.state != "running" && tree::any_runs(&write.tx, &agent.id).await? {
        return Err(halted(parent, &parent.name));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use common::{
        scope::Role,
        testing::{Actor, TestApp},
    };
    use serde_json::Value::{self as Json, Null};

    use super::*;
    use crate::with_neighbours;

    /// A PUT says anew all that a create says: what is left out is as it is for a new agent.
    #[tokio::test]
    async fn a_put_leaves_nothing_of_what_was_said_before() {
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

    /// R41, R8: a narrower ceiling narrows all below it at once, and each is told.
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
        // Widened again, those below stay as they are: nobody asked for more.
        t.as_(&ada, "PATCH", "/api/agents/boss", json!({ "scope": ["agents.*"] })).await.is(200);
        t.as_(&nail, "GET", "/api/agents", Null).await.refused(403, "scope_denied");
        // An agent bounds those below it, and nobody else.
        t.as_(&boss, "PATCH", "/api/agents/nail", json!({ "scope": ["agents.list"] }))
            .await
            .refused(400, "scope_too_wide");
        t.as_(&hand, "PATCH", "/api/agents/hand", json!({ "scope": ["agents.*"] }))
            .await
            .refused(403, "person_required");
        t.as_(&boss, "PATCH", "/api/agents/hand", json!({ "scope": ["agents.read"] })).await.is(200);
    }

    /// R46: no cycle, not too deep; and one owner, a running parent and its ceiling hold for a move too.
    #[tokio::test]
    async fn a_move_keeps_the_tree_a_tree() {
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
        // An editor changes what is said of it, not where it stands.
        t.grant(b1.agent.as_ref().unwrap(), &ada.tenant, eve.user.as_str(), "editor", &ada.user).await;
        let (path, body) = put("b1", Null);
        t.as_(&eve, "PATCH", &path, body).await.refused(403, "permission_denied");
        let (path, body) = put("b2", Null);
        t.as_(&b1, "PATCH", &path, body).await.refused(403, "person_required");
        assert_eq!(t.number("SELECT count(*) FROM agents WHERE parent_id IS NULL").await, 4);
    }

    /// R8, R41: who gets an agent gets none of the credentials that others hold; the whole tree goes.
    #[tokio::test]
    async fn a_tree_is_given_away_without_its_credentials() {
        let t = TestApp::new(with_neighbours());
        let ada = t.ada().await;
        let mia = t.user(&ada.tenant, "mia@example.com", Role::Member).await;
        let eve = t.user(&ada.tenant, "eve@example.com", Role::Member).await;
        let boss = t.agent(&mia, "boss", "*").await;
        let hand = t.agent_below(&mia, Some(&boss), "hand", "*").await;
        t.as_(&mia, "PATCH", "/api/agents/hand", json!({ "owner": "eve@example.com" }))
            .await
            .refused(409, "has_parent");
        t.user(&ada.tenant, "vic@example.com", Role::Viewer).await; // who could not even stop it
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
        // Nobody of the former owner's choice acts for the new one, who is told; each agent has a row.
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
        // A child leaves its tree and goes in one request.
        let both = json!({ "owner": "mia@example.com", "parent": null });
        t.as_(&eve, "PATCH", "/api/agents/hand", both).await.is(200);
        t.as_(&mia, "GET", "/api/agents/hand", Null).await.is(200);
    }
}
