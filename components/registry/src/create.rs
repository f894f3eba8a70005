//! Registering agents: one at a time, or many that were exported. Both take the same path through the same rules.

use axum::{http::StatusCode, response::Response};
use common::{
    agents::{Said, audited, parent, within_parent},
    caller::Caller,
    error::{ApiError, Code},
    form,
    form::{Ask, OrNull},
    http::App,
    id::AgentId,
    idempotency::Answer,
    mint::{self, Rights},
    permission::{Action, DEEPEST},
    route,
    scope::{Patterns, Scopes},
    secret::{Kind, Secret},
    store::{
        agent::{self, Agent, AgentName, Fields, Labels},
        state::halted,
        tree,
    },
    time::Lifetime,
    write::{Begun, Write},
};
use serde::Serialize;
use serde_json::Value as Json;

form! {
    pub(crate) struct Create {
        name: String,
        display_name: Option<OrNull<String>>,
        description: Option<OrNull<String>>,
        runtime: Option<OrNull<String>>,
        model: Option<OrNull<String>>,
        url: Option<OrNull<String>>,
        parent: Option<OrNull<String>>,
        labels: Option<Labels>,
        scope: Option<Vec<String>>,
        preset: Option<String>,
        tier: Option<i64>,
        max_concurrent_tasks: Option<i64>,
        budget_cents: Option<OrNull<i64>>,
        expires_in_days: Option<OrNull<i64>>,
        pub(crate) issue_token: Option<bool>,
    }
}

/// An agent to be registered: what can be checked without the tree is.
pub(crate) struct Draft {
    pub(crate) name: AgentName,
    /// The name of the agent above it.
    pub(crate) parent: Option<String>,
    /// What was asked for; `None`: what the preset `worker` gives, or as much of it as there is to give.
    rights: Option<Rights>,
    fields: Fields,
    /// Whether the tier was left out: then an agent gives no better one than it has.
    tier_left_out: bool,
    lifetime: Option<Lifetime>,
    issue_token: bool,
}

impl Draft {
    /// Reads what was sent.
    pub(crate) async fn read(app: &App, caller: &Caller, body: Create) -> Result<Self, ApiError> {
        let name = AgentName::parse(&body.name).ok_or(Code::InvalidName)?;
        let rights = mint::rights(app.db(), caller, body.scope.as_deref(), body.preset.as_deref()).await?;
        let mut fields = Fields::new(Patterns::stored(""));
        let tier_left_out = body.tier.is_none();
        let said = Said {
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
        };
        said.put_into(&mut fields)?;
        Ok(Self {
            name,
            parent: body.parent.and_then(|OrNull(parent)| parent),
            rights,
            fields,
            tier_left_out,
            lifetime: mint::lifetime(body.expires_in_days)?,
            issue_token: body.issue_token.unwrap_or(true),
        })
    }

    /// Registers the agent below its parent, and issues its token.
    pub(crate) async fn register(mut self, app: &App, write: &Write<'_>) -> Result<Registered, ApiError> {
        let caller = &write.caller;
        // An agent registers below itself, unless it names one of those below it.
        let above = self.parent.as_deref().or(caller.agent().map(|(name, _)| name));
        let parent = match above {
            Some(name) => Some(parent(app, write, name, caller.user_id().as_str()).await?),
            None => None,
        };
        let mut warnings = Vec::new();
        let wanted = match self.rights.take() {
            Some(rights) => rights,
            None => default_rights(write, parent.as_ref(), &mut warnings).await?,
        };
        (self.fields.scope, self.fields.preset) = (wanted.scope, wanted.preset);
        if let Some(parent) = &parent {
            let depth = tree::depth(&write.tx, &parent.id).await?;
            if depth >= DEEPEST as i64 {
                return Err(Code::TreeTooDeep.with("parent", &parent.name));
            }
            if parent.state != "running" {
                return Err(halted(parent, &parent.name));
            }
            if self.tier_left_out && caller.agent_id().is_some() {
                self.fields.tier = self.fields.tier.max(parent.tier);
            }
            within_parent(write, parent, None, &self.fields).await?;
        }
        let scope = &self.fields.scope;
        let scope = caller.may_mint(scope.scopes(caller.defined()), Scopes::default(), caller.user_id(), scope)?;
        self.fields.scope = match &parent {
            Some(parent) => scope.within(&[&parent.scope.to_column()], caller.defined()),
            None => scope,
        };
        let scope = &self.fields.scope;
        mint::warn_of_no_effect(caller, scope, caller.role(), true, &mut warnings);
        let id = AgentId::generate(app.now(), app.chance());
        let new = agent::New {
            id: &id,
            tenant_id: caller.tenant_id(),
            owner_id: caller.user_id(),
            parent_id: parent.as_ref().map(|parent| &parent.id),
            fields: &self.fields,
            created_at: app.now(),
        };
        let stored = agent::insert(&write.tx, &self.name, &new).await?.ok_or(Code::NameTaken)?;
        let secret = match self.issue_token {
            false => None,
            true => {
                let (expires_at, capped) = caller.cap_life(self.lifetime, app.now())?;
                warnings.extend(capped);
                let owner = (caller.tenant_id(), caller.user_id());
                let (_, secret) = mint::agent_token(app, &write.tx, owner, &id, &scope.to_column(), expires_at).await?;
                Some(secret)
            }
        };
        let agent = agent::get(&write.tx, caller, &stored, Action::Read, app.now()).await?;
        Ok(Registered { agent, secret, warnings })
    }
}

/// An agent that was registered.
pub(crate) struct Registered {
    pub(crate) agent: Agent,
    pub(crate) secret: Option<Secret>,
    pub(crate) warnings: Vec<String>,
}

/// As it is answered.
#[derive(Serialize)]
pub(crate) struct Created<'a> {
    #[serde(flatten)]
    agent: &'a Agent,
    auth_token: Option<&'a str>,
    warnings: &'a [String],
}

impl Registered {
    /// The form of the answer.
    pub(crate) fn form(&self) -> Created<'_> {
        let auth_token = self.secret.as_ref().map(Secret::reveal);
        Created { agent: &self.agent, auth_token, warnings: &self.warnings }
    }
}

/// The ceiling of whom nothing was asked for: the preset `worker`, and no more of it than the agent above has, and than the
/// minter can give.
async fn default_rights(
    write: &Write<'_>,
    parent: Option<&Agent>,
    warnings: &mut Vec<String>,
) -> Result<Rights, ApiError> {
    let caller = &write.caller;
    let worker = mint::of_preset(&write.tx, caller, "worker").await?;
    let all = worker.scope.scopes(caller.defined());
    let mut given = all.clone();
    if let Some(parent) = parent {
        given = given.and(&parent.scope.scopes(caller.defined()));
    }
    if caller.credential_kind() != Kind::Session {
        given = given.and(&caller.mintable());
    }
    let missing = all.without(&given);
    if missing.is_empty() {
        return Ok(worker);
    }
    if given.is_empty() {
        caller.refuse_excess(missing.clone(), &worker.scope)?;
    }
    let names = missing.names(caller.defined()).join(", ");
    warnings.push(format!("scope was left out and is the preset worker without what cannot be given here: {names}."));
    Ok(Rights { scope: given.to_patterns(), preset: None })
}

/// `POST /api/agents`: registers an agent of the caller's and, unless told not to, issues its token; all of it or nothing.
pub(crate) async fn create(app: App, caller: Caller, ask: Ask<Create>) -> Result<Response, ApiError> {
    let draft = Draft::read(&app, &caller, ask.body).await?;
    let write = match app.write(route::AGENTS_CREATE, &caller, ask.kept).await? {
        Begun::First(write) => write,
        Begun::Again(answer) => return Ok(answer),
    };
    let made = draft.register(&app, &write).await?;
    let answer = match &made.secret {
        Some(_) => Answer::secret(StatusCode::CREATED, &made.form())?,
        None => Answer::json(StatusCode::CREATED, &made.form())?,
    };
    write.finish(made.agent.id.as_str(), Json::Null, audited(&made.agent), answer).await
}

#[cfg(test)]
mod tests {
    use common::{
        scope::Role,
        testing::{Actor, TestApp},
    };
    use serde_json::{Value::Null, json};

    use super::*;
    use crate::with_neighbours;

    /// The same actor with the token that an answer holds.
    fn with_token(owner: &Actor, made: &Json) -> Actor {
        let token = made["auth_token"].as_str().unwrap().to_owned();
        let (tenant, user, credential) = (owner.tenant.clone(), owner.user.clone(), owner.credential.clone());
        Actor { tenant, user, agent: None, credential, token }
    }

    /// R41, R12: an agent registers agents below itself, or below those below it, for its owner; and owns nothing else.
    #[tokio::test]
    async fn an_agent_registers_below_itself() {
        let t = TestApp::new(with_neighbours());
        let ada = t.ada().await;
        let boss = t.agent(&ada, "boss", "agents.*").await;
        t.agent(&ada, "other", "agents.*").await;
        let made = t.as_(&boss, "POST", "/api/agents", json!({ "name": "hand", "scope": ["agents.*"] })).await.is(201);
        assert_eq!((&made["parent"], &made["owner"]["email"]), (&json!("boss"), &json!("ada@example.com")));
        let hand = with_token(&ada, &made);
        let finger = json!({ "name": "finger", "scope": ["agents.read"] });
        assert_eq!(t.as_(&hand, "POST", "/api/agents", finger).await.is(201)["parent"], "hand");
        let nail = json!({ "name": "nail", "parent": "finger", "scope": ["agents.read"] });
        assert_eq!(t.as_(&boss, "POST", "/api/agents", nail).await.is(201)["parent"], "finger");
        // What is below is its own; what is above, or beside, is absent.
        for name in ["hand", "finger", "nail"] {
            t.as_(&boss, "GET", &format!("/api/agents/{name}"), Null).await.is(200);
            t.as_(&boss, "PATCH", &format!("/api/agents/{name}"), json!({ "model": "m" })).await.is(200);
        }
        for name in ["boss", "other"] {
            t.as_(&hand, "GET", &format!("/api/agents/{name}"), Null).await.refused(404, "agent_not_found");
            let below = json!({ "name": "x", "parent": name, "scope": ["agents.read"] });
            t.as_(&hand, "POST", "/api/agents", below).await.refused(404, "parent_not_found");
        }
        let list = t.as_(&boss, "GET", "/api/agents?parent=hand", Null).await.is(200);
        assert_eq!(list["items"].as_array().unwrap().len(), 1);
        let own = t.as_(&hand, "GET", "/api/agents/me", Null).await.is(200);
        assert_eq!(own["name"], "hand");
    }

    /// R8: a child gets no more than its parent's ceiling has and the minter can use, for no longer.
    #[tokio::test]
    async fn a_child_has_no_more_than_its_parent() {
        let t = TestApp::new(with_neighbours());
        let ada = t.ada().await;
        let boss = t.agent(&ada, "boss", "agents.create agents.read").await;
        let wide = json!({ "name": "x", "scope": ["agents.*"] });
        t.as_(&boss, "POST", "/api/agents", wide.clone()).await.refused(400, "scope_too_wide");
        // Not even a session: the bound is the parent's.
        let wide = json!({ "name": "x", "parent": "boss", "scope": ["agents.*"] });
        t.as_(&ada, "POST", "/api/agents", wide).await.refused(400, "scope_too_wide");
        let made = t.as_(&boss, "POST", "/api/agents", json!({ "name": "x" })).await.is(201);
        assert_eq!((&made["scope"], &made["preset"]), (&json!(["agents.read"]), &Null));
        assert!(made["warnings"][0].as_str().unwrap().contains("ui.notify"), "{made}");
        let only = t.agent(&ada, "only", "agents.create").await;
        t.as_(&only, "POST", "/api/agents", json!({ "name": "y" })).await.refused(400, "scope_too_wide");
        assert_eq!(t.number("SELECT count(*) FROM agents").await, 3);
    }

    /// Budgets and tiers are not raised by making agents below oneself.
    #[tokio::test]
    async fn an_agent_gives_no_more_than_it_has() {
        let t = TestApp::new(with_neighbours());
        let ada = t.ada().await;
        let boss = t.agent(&ada, "boss", "agents.create agents.read agents.update").await;
        t.execute("UPDATE agents SET budget_cents = 100, spent_cents = 10, tier = 2, max_concurrent_tasks = 4")
            .await
            .unwrap();
        let make = |name: &str, more: Json| {
            let mut body = json!({ "name": name, "scope": ["agents.read"], "budget_cents": 50 });
            for (key, value) in more.as_object().unwrap() {
                body[key] = value.clone();
            }
            body
        };
        for (more, field, value) in [
            (json!({ "tier": 1 }), "tier", "least 2"),
            (json!({ "max_concurrent_tasks": 5 }), "max_concurrent_tasks", "most 4"),
            (json!({ "budget_cents": 91 }), "budget_cents", "most 90"),
            (json!({ "budget_cents": null }), "budget_cents", "most 90"),
        ] {
            let refused = t.as_(&boss, "POST", "/api/agents", make("x", more)).await.refused(400, "beyond_parent");
            assert_eq!(refused["field"], field);
            assert!(refused["fix"].as_str().unwrap().contains(value), "{refused}");
        }
        t.as_(&boss, "POST", "/api/agents", make("x", json!({}))).await.is(201);
        // The second one shares what is left.
        t.as_(&boss, "POST", "/api/agents", make("y", json!({}))).await.refused(400, "beyond_parent");
        t.as_(&boss, "POST", "/api/agents", make("y", json!({ "budget_cents": 40 }))).await.is(201);
        t.as_(&boss, "PATCH", "/api/agents/x", json!({ "budget_cents": 51 })).await.refused(400, "beyond_parent");
        t.as_(&boss, "PATCH", "/api/agents/x", json!({ "budget_cents": 20, "tier": 4 })).await.is(200);
        t.as_(&boss, "PATCH", "/api/agents/y", json!({ "budget_cents": 70 })).await.is(200);
        for own in [
            json!({ "budget_cents": 1_000 }),
            json!({ "tier": 1 }),
            json!({ "spent_cents": 0 }),
            json!({ "max_concurrent_tasks": 9 }),
        ] {
            t.as_(&boss, "PATCH", "/api/agents/me", own).await.refused(403, "person_required");
        }
        assert_eq!(t.number("SELECT sum(budget_cents) FROM agents WHERE name <> 'boss'").await, 90);
        // A person is bound by none of it but the scope.
        t.as_(&ada, "POST", "/api/agents", make("z", json!({ "parent": "boss", "tier": 1, "budget_cents": null })))
            .await
            .is(201);
    }

    /// R46: at most 8 deep; one owner; nothing begins below what is halted.
    #[tokio::test]
    async fn a_tree_is_at_most_eight_deep_and_of_one_owner() {
        let t = TestApp::new(with_neighbours());
        let ada = t.ada().await;
        let eve = t.user(&ada.tenant, "eve@example.com", Role::Member).await;
        for number in 1..=8 {
            let parent = if number == 1 { Null } else { json!(format!("a{}", number - 1)) };
            let body = json!({ "name": format!("a{number}"), "parent": parent, "issue_token": false });
            t.as_(&ada, "POST", "/api/agents", body).await.is(201);
        }
        let body = json!({ "name": "a9", "parent": "a8" });
        t.as_(&ada, "POST", "/api/agents", body).await.refused(409, "tree_too_deep");
        t.agent(&eve, "eves", "agents.*").await;
        t.as_(&ada, "POST", "/api/agents", json!({ "name": "b", "parent": "eves" }))
            .await
            .refused(409, "parent_of_another_owner");
        t.as_(&eve, "POST", "/api/agents", json!({ "name": "b", "parent": "a1" }))
            .await
            .refused(404, "parent_not_found");
        t.execute("UPDATE agents SET state = 'paused' WHERE name = 'a3'").await.unwrap();
        let refused = t
            .as_(&ada, "POST", "/api/agents", json!({ "name": "b", "parent": "a3" }))
            .await
            .refused(409, "parent_halted");
        assert!(refused["fix"].as_str().unwrap().contains("POST /api/agents/a3/resume"), "{refused}");
        assert_eq!(t.number("SELECT count(*) FROM agents").await, 9);
    }

    /// R8: a pattern wider than the minter's own stands for what it covers today: what is defined later falls to nobody.
    #[tokio::test]
    async fn what_is_defined_later_is_not_part_of_what_was_minted() {
        let t = TestApp::new(with_neighbours());
        let ada = t.ada().await;
        let max = t.user(&ada.tenant, "max@example.com", Role::Member).await;
        let define = |name: &str| {
            format!("INSERT INTO custom_scopes VALUES ('{}', '{name}', 'x', 1, '{}')", ada.tenant, ada.user)
        };
        t.execute(&define("x.crm.read")).await.unwrap();
        let own = "agents.create agents.read agents.update agents.token.issue agents.keys.write x.crm.*";
        let pat = t.credential(Kind::Pat, &max.tenant, &max.user, None, own, None).await;
        let boss = t.agent(&max, "boss", own).await;
        for (minter, name) in [(&pat, "by-pat"), (&boss, "by-agent")] {
            let body = json!({ "name": name, "scope": ["x.*", "agents.read"] });
            let made = t.as_(minter, "POST", "/api/agents", body).await.is(201);
            assert_eq!(made["scope"], json!(["agents.read", "x.crm.read"]));
            let path = format!("/api/agents/{name}");
            let told = t.as_(minter, "PATCH", &path, json!({ "scope": ["x.*"] })).await.is(200);
            assert_eq!(told["scope"], json!(["x.crm.read"]));
            let told = t.as_(minter, "PATCH", &path, json!({ "scope": ["x.crm.*"] })).await.is(200);
            assert_eq!(told["scope"], json!(["x.crm.*"]), "its own pattern it gives as it is");
        }
        t.agent(&max, "wide", "*").await;
        let issued = t.as_(&pat, "POST", "/api/agents/wide/token/issue", json!({ "scope": ["x.*"] })).await.is(200);
        assert_eq!(issued["scope"], json!(["x.crm.read"]));
        let ask = json!({ "name": "ci", "scope": ["x.*"] });
        let key = t.as_(&pat, "POST", "/api/agents/wide/keys", ask).await.is(201);
        assert_eq!(key["scope"], json!(["x.crm.read"]));
        // Who gets the secret of a wider key by rotating it gets no more either.
        t.as_(&max, "POST", "/api/agents/wide/keys", json!({ "name": "own", "scope": ["x.*"] })).await.is(201);
        let keys = t.as_(&max, "GET", "/api/agents/wide/keys?name=own", Null).await.is(200);
        assert_eq!(keys["items"][0]["scope"], json!(["x.*"]));
        let rotate = format!("/api/agents/wide/keys/{}/rotate", keys["items"][0]["id"].as_str().unwrap());
        assert_eq!(t.as_(&pat, "POST", &rotate, json!({})).await.is(201)["scope"], json!(["x.crm.read"]));
        // Narrowed from above, a wider pattern below is cut too.
        let top = t.agent(&max, "top", "x.*").await;
        t.agent_below(&max, Some(&top), "low", "x.*").await;
        t.as_(&max, "PATCH", "/api/agents/top", json!({ "scope": ["x.crm.read"] })).await.is(200);
        assert_eq!(t.texts("SELECT scope FROM agents WHERE name = 'low'").await, ["x.crm.read"]);
    }

    /// A budget is given out once: not again when a child was archived, shrunk, or comes back.
    #[tokio::test]
    async fn a_budget_is_not_given_out_twice() {
        let t = TestApp::new(with_neighbours());
        let ada = t.ada().await;
        let boss = t.agent(&ada, "boss", "agents.*").await;
        t.execute("UPDATE agents SET budget_cents = 100 WHERE name = 'boss'").await.unwrap();
        let make = |name: &str| json!({ "name": name, "scope": ["agents.*"], "budget_cents": 100 });
        let first = t.as_(&boss, "POST", "/api/agents", make("a")).await.is(201);
        t.execute("UPDATE agents SET spent_cents = 60 WHERE name = 'a'").await.unwrap();
        t.as_(&boss, "PATCH", "/api/agents/a", json!({ "budget_cents": 10 })).await.refused(400, "beyond_parent");
        t.as_(&boss, "DELETE", "/api/agents/a", Null).await.is(204);
        t.as_(&boss, "POST", "/api/agents", make("b")).await.refused(400, "beyond_parent");
        let rest = json!({ "name": "b", "scope": ["agents.*"], "budget_cents": 40 });
        t.as_(&boss, "POST", "/api/agents", rest).await.is(201);
        let back = format!("/api/agents/archived/{}", first["id"].as_str().unwrap());
        t.as_(&boss, "POST", &format!("{back}/restore"), Null).await.refused(400, "beyond_parent");
        t.as_(&boss, "DELETE", &back, Null).await.refused(403, "person_required");
        // What a child gave on, it cannot be made to have again.
        let hand =
            t.as_(&boss, "POST", "/api/agents/b/token/issue", json!({ "scope": ["agents.create"] })).await.is(200);
        let bearer = format!("Bearer {}", hand["token"].as_str().unwrap());
        let body = json!({ "name": "c", "scope": ["agents.create"], "budget_cents": 40 });
        t.call("POST", "/api/agents", &[("authorization", &bearer)], body).await.is(201);
        t.as_(&boss, "PATCH", "/api/agents/b", json!({ "budget_cents": 0 })).await.refused(400, "beyond_parent");
        // Nor is what a grandchild has spent free again when both are archived.
        t.execute("UPDATE agents SET spent_cents = 40 WHERE name = 'c'").await.unwrap();
        t.as_(&boss, "DELETE", "/api/agents/b?confirm=true", Null).await.is(204);
        let again = json!({ "name": "d", "scope": ["agents.create"], "budget_cents": 1 });
        t.as_(&boss, "POST", "/api/agents", again).await.refused(400, "beyond_parent");
    }

    /// R33: of the agent above, who may not read it learns nothing but the id: not from the agent, its list, its trail or a fix.
    #[tokio::test]
    async fn the_agent_above_is_hidden_from_who_may_not_read_it() {
        let t = TestApp::new(with_neighbours());
        let ada = t.ada().await;
        let eve = t.user(&ada.tenant, "eve@example.com", Role::Member).await;
        let top = t.agent(&ada, "hidden-top", "agents.*").await;
        let mid = t.agent_below(&ada, Some(&top), "mid", "agents.*").await;
        t.grant(mid.agent.as_ref().unwrap(), &ada.tenant, eve.user.as_str(), "editor", &ada.user).await;
        t.as_(&top, "POST", "/api/agents/mid/pause", Null).await.is(200);
        t.as_(&ada, "POST", "/api/agents/hidden-top/pause", Null).await.is(200);
        for (method, path, status) in [
            ("GET", "/api/agents/mid", 200),
            ("GET", "/api/agents", 200),
            ("GET", "/api/agents/mid/export", 200),
            ("POST", "/api/agents/mid/resume", 409),
        ] {
            let answer = t.as_(&eve, method, path, Null).await;
            answer.is(status);
            assert!(!answer.text.contains("hidden-top"), "{path}: {}", answer.text);
        }
        t.as_(&eve, "PATCH", "/api/agents/mid", json!({ "model": "m" })).await.is(200);
        assert_eq!(t.as_(&ada, "GET", "/api/agents/mid", Null).await.is(200)["parent"], "hidden-top");
        let rows = t.texts("SELECT ifnull(before, '') || ifnull(after, '') FROM audit WHERE object_id IN (SELECT id FROM agents WHERE name = 'mid')").await;
        assert!(!rows.is_empty() && rows.iter().all(|row| !row.contains("hidden-top")), "{rows:?}");
    }
}
