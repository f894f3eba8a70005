//! What classes of agents need: presets in versions, and the agents that lack something of the newest one.

use axum::{http::StatusCode, response::Response};
use common::{
    caller::Caller,
    error::{ApiError, Code},
    form,
    form::{Ask, Field, Params},
    http::{App, Segment, json},
    idempotency::Answer,
    page::{Page, Paging, Wanted},
    route,
    scope::Scopes,
    store::preset::{self, Drifting, Preset},
    write::Begun,
};
use serde::Serialize;
use serde_json::{Value as Json, Value::Null, json};

/// The most characters of a name.
const NAME: usize = 32;

#[derive(Serialize)]
struct All {
    items: Vec<Preset>,
}

/// `GET /api/presets`: the newest versions, by name; all of them: there are 55 at most.
pub(crate) async fn list(app: App, caller: Caller) -> Result<Response, ApiError> {
    json(StatusCode::OK, &All { items: preset::list(app.db(), caller.tenant_id()).await? })
}

/// A list that can only be empty until what it names is there.
pub(crate) struct Empty;

impl Field for Empty {
    const EXPECTED: &'static str = "an empty list: presets name no secrets and no probes yet";

    fn from_json(value: Json) -> Option<Self> {
        value.as_array().is_some_and(Vec::is_empty).then_some(Self)
    }
}

form! {
    pub(crate) struct Put {
        scope: Vec<String>,
        secrets: Option<Empty>,
        probes: Option<Empty>,
    }
}

fn is_name(name: &str) -> bool {
    (1..=NAME).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && !name.starts_with('-')
        && !name.ends_with('-')
}

/// `PUT /api/presets/{name}`: a new version, for the agents that are registered or changed from now on. The scope of the
/// newest version changes nothing.
pub(crate) async fn put(app: App, caller: Caller, Segment(name): Segment, ask: Ask<Put>) -> Result<Response, ApiError> {
    if !is_name(&name) {
        return Err(Code::InvalidPresetName.into());
    }
    let scope = caller.read_scope(&ask.body.scope)?;
    let write = match app.write(route::PRESET_PUT, &caller, None).await? {
        Begun::First(write) => write,
        Begun::Again(answer) => return Ok(answer),
    };
    let tenant = write.caller.tenant_id();
    let before = preset::newest(&write.tx, tenant, &name).await?;
    if let Some(same) = before.as_ref().filter(|newest| newest.scope == scope) {
        return json(StatusCode::OK, same); // nothing changes, so there is nothing to audit
    }
    let by = write.caller.user_id();
    if !preset::insert(&write.tx, tenant, &name, before.as_ref(), &scope, by, app.now()).await? {
        return Err(Code::TooManyPresets.into());
    }
    let after = preset::newest(&write.tx, tenant, &name).await?.ok_or(Code::PresetNotFound)?;
    let audited = |preset: &Preset| json!({ "version": preset.version, "scope": preset.scope });
    let (was, is) = (before.as_ref().map_or(Null, audited), audited(&after));
    write.finish(&name, was, is, Answer::json(StatusCode::OK, &after)?).await
}

#[derive(Serialize)]
struct Drift {
    preset: String,
    version: i64,
    #[serde(flatten)]
    page: Page<Lacking>,
}

/// An agent that lacks something of its preset.
#[derive(Serialize)]
struct Lacking {
    agent: String,
    preset_version: Option<i64>,
    missing_scopes: Vec<String>,
    /// Null: it has no live token.
    token_missing_scopes: Option<Vec<String>>,
    fix: String,
}

impl Lacking {
    fn of(agent: Drifting, needed: &Scopes, preset: &str, caller: &Caller) -> Self {
        let missing = |scope: Scopes| -> Vec<String> {
            needed.clone().without(&scope).all_names().into_iter().map(str::to_owned).collect()
        };
        let missing_scopes = missing(agent.scope.scopes(caller.defined()));
        let token_missing_scopes = agent.token.map(|scope| missing(scope.scopes(caller.defined())));
        let name = &agent.name;
        let mut steps = Vec::new();
        if !missing_scopes.is_empty() {
            steps.push(format!("PATCH /api/agents/{name} {{\"preset\": \"{preset}\"}}"));
        }
        let mut ending = "";
        if token_missing_scopes.as_ref().is_some_and(|missing| !missing.is_empty()) {
            steps.push(format!("POST /api/agents/{name}/token/issue"));
            ending = ", and give the agent the token of the last answer";
        }
        // An agent may not widen itself.
        let who = caller.agent_id().map_or("Send".to_owned(), |_| format!("Ask {} to send", agent.owner));
        let fix = format!("{who} {}{ending}.", steps.join(", then "));
        Self { agent: agent.name, preset_version: agent.version, missing_scopes, token_missing_scopes, fix }
    }
}

/// `GET /api/presets/{name}/drift`: the agents of this preset whose ceiling or live token lacks something of its newest
/// version, and how to mend each. What only people can use no agent lacks.
pub(crate) async fn drift(
    app: App,
    caller: Caller,
    Segment(name): Segment,
    Params(ask): Params<Paging>,
) -> Result<Response, ApiError> {
    let wanted = Wanted::read(&caller, ask.limit, ask.cursor.as_deref(), &["drift", &name])?;
    let newest = preset::newest(app.db(), caller.tenant_id(), &name).await?.ok_or(Code::PresetNotFound)?;
    let needed = newest.scope.scopes(caller.defined()).for_agents();
    let rows = preset::drift(app.db(), &caller, &name, &needed, &wanted, app.now()).await?;
    let page = wanted.page(rows, |row| (row.created_at, row.id.to_string()));
    let items = page.items.into_iter().map(|agent| Lacking::of(agent, &needed, &name, &caller)).collect();
    let page = Page { items, next_cursor: page.next_cursor };
    json(StatusCode::OK, &Drift { preset: newest.name, version: newest.version, page })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use common::{
        scope::{self, Role},
        secret::Kind,
        testing::TestApp,
    };

    use super::*;
    use crate::with_neighbours;

    const PRESETS: &str = "/api/presets";

    fn path(name: &str) -> String {
        format!("{PRESETS}/{name}")
    }

    #[tokio::test]
    async fn the_newest_versions_are_listed_by_name() {
        let t = TestApp::new(with_neighbours());
        let ada = t.ada().await;
        let scout = t.agent(&ada, "scout", "").await;
        let listed = t.as_(&scout, "GET", PRESETS, Null).await.is(200);
        let names: Vec<&str> =
            listed["items"].as_array().unwrap().iter().map(|item| item["name"].as_str().unwrap()).collect();
        assert_eq!(names, ["engineer", "operator", "publisher", "reader", "worker"]);
        assert_eq!(
            listed["items"][3],
            json!({
                "name": "reader", "version": 1, "scope": ["agents.list", "agents.read", "audit.read", "guides.read"],
                "secrets": [], "probes": [], "built_in": true, "created_at": null, "created_by": null,
            })
        );
        let body = json!({ "scope": ["ui.notify", "agents.read", "ui.notify"], "secrets": [], "probes": [] });
        let made = t.as_(&ada, "PUT", &path("reader"), body).await.is(200);
        let expected = json!({
            "name": "reader", "version": 2, "scope": ["agents.read", "ui.notify"], "secrets": [], "probes": [],
            "built_in": false, "created_at": "2026-01-02T03:04:05.000Z", "created_by": "ada@example.com",
        });
        assert_eq!(made, expected);
        t.as_(&ada, "PUT", &path("scribe"), json!({ "scope": ["guides.write"] })).await.is(200);
        let listed = t.as_(&scout, "GET", PRESETS, Null).await.is(200);
        assert_eq!((&listed["items"][3], &listed["items"][4]["version"]), (&expected, &json!(1)));
        // Another tenant's are its own.
        let other = t.tenant("other").await;
        let eve = t.user(&other, "eve@example.com", Role::Admin).await;
        assert_eq!(t.as_(&eve, "GET", PRESETS, Null).await.is(200)["items"].as_array().unwrap().len(), 5);
        t.as_(&eve, "GET", &format!("{}/drift", path("scribe")), Null).await.refused(404, "preset_not_found");
        let rows = t.texts("SELECT action || ' ' || object_id || ' ' || ifnull(before, '-') || ' ' || after FROM audit ORDER BY seq").await;
        assert_eq!(
            rows,
            [
                "preset.put reader {\"version\":1,\"scope\":[\"agents.list\",\"agents.read\",\"audit.read\",\"guides.read\"]} {\"version\":2,\"scope\":[\"agents.read\",\"ui.notify\"]}",
                "preset.put scribe - {\"version\":1,\"scope\":[\"guides.write\"]}",
            ]
        );
    }

    #[tokio::test]
    async fn the_same_scope_again_changes_nothing() {
        let t = TestApp::new(with_neighbours());
        let ada = t.ada().await;
        let worker: Vec<&str> = scope::Preset::Worker.scope().split(' ').rev().collect();
        let same = t.as_(&ada, "PUT", &path("worker"), json!({ "scope": worker })).await.is(200);
        assert_eq!((&same["version"], &same["built_in"]), (&json!(1), &json!(true)));
        let first = t.as_(&ada, "PUT", &path("scribe"), json!({ "scope": ["ui.*"] })).await.is(200);
        t.wait(5);
        assert_eq!(t.as_(&ada, "PUT", &path("scribe"), json!({ "scope": ["ui.*"] })).await.is(200), first);
        assert_eq!(
            (t.number("SELECT count(*) FROM presets").await, t.number("SELECT count(*) FROM audit").await),
            (1, 1)
        );
    }

    /// R12: admins write presets, and no agent; what is no preset is refused.
    #[tokio::test]
    async fn bad_presets_are_refused() {
        let t = TestApp::new(with_neighbours());
        let ada = t.ada().await;
        let max = t.user(&ada.tenant, "max@example.com", Role::Member).await;
        let scout = t.agent(&ada, "scout", "*").await;
        let narrow = t.credential(Kind::Pat, &ada.tenant, &ada.user, None, "agents.*", None).await;
        let wide = t.credential(Kind::Pat, &ada.tenant, &ada.user, None, "presets.write", None).await;
        let body = json!({ "scope": ["agents.read"] });
        t.as_(&scout, "PUT", &path("a"), body.clone()).await.refused(403, "person_required");
        for actor in [&max, &narrow] {
            t.as_(actor, "PUT", &path("a"), body.clone()).await.refused(403, "scope_denied");
        }
        for name in ["A", "a_b", "-a", "a-", "a.b", "%20", "a%2Fb", &"a".repeat(33)] {
            t.as_(&ada, "PUT", &path(name), body.clone()).await.refused(400, "invalid_preset_name");
        }
        for (body, status, slug) in [
            (json!({}), 422, "validation_error"),
            (json!({ "scope": "agents.read" }), 422, "validation_error"),
            (json!({ "scope": ["agents.read"], "secrets": ["k"] }), 422, "validation_error"),
            (json!({ "scope": ["agents.read"], "probes": [{}] }), 422, "validation_error"),
            (json!({ "scope": ["agents.read"], "probes": null }), 422, "validation_error"),
            (json!({ "scope": ["agents.read"], "version": 3 }), 422, "validation_error"),
            (json!({ "scope": [] }), 400, "unknown_scope"),
            (json!({ "scope": ["fly"] }), 400, "unknown_scope"),
        ] {
            t.as_(&ada, "PUT", &path("a"), body).await.refused(status, slug);
        }
        assert_eq!(t.number("SELECT count(*) FROM presets").await, 0);
        t.as_(&wide, "PUT", &path(&"a".repeat(32)), body).await.is(200);
    }

    #[tokio::test]
    async fn names_and_versions_are_bounded() {
        let t = TestApp::new(with_neighbours());
        let ada = t.ada().await;
        for number in 0..49 {
            let row = format!("('{}', 'p{number}', 1, 'ui.notify', 0, '{}')", ada.tenant, ada.user);
            t.execute(&format!("INSERT INTO presets VALUES {row}")).await.unwrap();
        }
        let body = json!({ "scope": ["agents.read"] });
        t.as_(&ada, "PUT", &path("worker"), body.clone()).await.is(200);
        t.as_(&ada, "PUT", &path("one-more"), body.clone()).await.refused(409, "too_many_presets");
        t.as_(&ada, "PUT", &path("reader"), body.clone()).await.refused(409, "too_many_presets");
        t.as_(&ada, "PUT", &path("p7"), body.clone()).await.is(200);
        t.execute("UPDATE presets SET version = 1000 WHERE name = 'p8'").await.unwrap();
        t.as_(&ada, "PUT", &path("p8"), body).await.refused(409, "too_many_presets");
    }

    /// A new version counts for who is registered, changed or issued a token from then on; R59: the fix of an unknown preset.
    #[tokio::test]
    async fn agents_are_registered_with_the_newest_version() {
        let t = TestApp::new(with_neighbours());
        let ada = t.ada().await;
        t.as_(&ada, "PUT", &path("scribe"), json!({ "scope": ["agents.read"] })).await.is(200);
        t.as_(&ada, "PUT", &path("scribe"), json!({ "scope": ["agents.read", "ui.notify"] })).await.is(200);
        let body = json!({ "name": "scout", "preset": "scribe" });
        let made = t.as_(&ada, "POST", "/api/agents", body).await.is(201);
        assert_eq!((&made["preset"], &made["preset_version"]), (&json!("scribe"), &json!(2)));
        assert_eq!(made["scope"], json!(["agents.read", "ui.notify"]));
        t.as_(&ada, "PUT", &path("worker"), json!({ "scope": ["ui.notify"] })).await.is(200);
        let made = t.as_(&ada, "POST", "/api/agents", json!({ "name": "plain" })).await.is(201);
        assert_eq!((&made["scope"], &made["preset_version"]), (&json!(["ui.notify"]), &json!(2)));
        let refused = t.as_(&ada, "POST", "/api/agents", json!({ "name": "x", "preset": "none" })).await;
        let refused = refused.refused(400, "unknown_preset");
        assert_eq!(refused["fix"], "Send preset as a name that GET /api/presets lists, such as worker.");
    }

    /// Drift: what ceiling and token lack of the newest version, and the fix, followed to the letter, mends it.
    #[tokio::test]
    async fn drift_is_told_and_its_fix_mends_it() {
        let t = TestApp::new(with_neighbours());
        let ada = t.ada().await;
        let drift = format!("{}/drift", path("worker"));
        for (name, preset) in [("first", "worker"), ("other", "reader"), ("silent", "worker")] {
            let body = json!({ "name": name, "preset": preset, "issue_token": name != "silent" });
            t.as_(&ada, "POST", "/api/agents", body).await.is(201);
            t.wait(1);
        }
        let told = t.as_(&ada, "GET", &drift, Null).await.is(200);
        assert_eq!(told, json!({ "preset": "worker", "version": 1, "items": [], "next_cursor": null }));
        // A token that was narrowed lacks something, though the ceiling does not.
        t.as_(&ada, "POST", "/api/agents/first/token/issue", json!({ "scope": ["agents.*"] }))
            .await
            .refused(400, "scope_too_wide");
        t.as_(
            &ada,
            "POST",
            "/api/agents/first/token/issue",
            json!({ "scope": ["agents.list", "ui.*", "agents.read"] }),
        )
        .await
        .is(200);
        let told = t.as_(&ada, "GET", &drift, Null).await.is(200);
        assert_eq!(
            told["items"],
            json!([{
                "agent": "first", "preset_version": 1, "missing_scopes": [],
                "token_missing_scopes": ["agents.logs", "agents.message", "guides.read"],
                "fix": "Send POST /api/agents/first/token/issue, and give the agent the token of the last answer.",
            }])
        );
        // The new version names what only people can use: no agent lacks that.
        let scope = json!({ "scope": ["agents.*", "guides.read", "ui.notify", "users.read"] });
        t.as_(&ada, "PUT", &path("worker"), scope).await.is(200);
        let told = t.as_(&ada, "GET", &drift, Null).await.is(200);
        assert_eq!(
            (&told["version"], &told["items"][0]["agent"], &told["items"][1]["agent"]),
            (&json!(2), &json!("silent"), &json!("first"))
        );
        let (silent, first) = (&told["items"][0], &told["items"][1]);
        assert_eq!(silent["token_missing_scopes"], Null);
        assert_eq!(silent["fix"], "Send PATCH /api/agents/silent {\"preset\": \"worker\"}.");
        let missing = first["missing_scopes"].to_string();
        assert!(
            missing.contains("agents.create") && !missing.contains("agents.stop_all") && !missing.contains("users"),
            "{missing}"
        );
        assert_eq!(
            first["fix"],
            "Send PATCH /api/agents/first {\"preset\": \"worker\"}, then POST /api/agents/first/token/issue, and give the agent \
             the token of the last answer."
        );
        for name in ["first", "silent"] {
            t.as_(&ada, "PATCH", &format!("/api/agents/{name}"), json!({ "preset": "worker" })).await.is(200);
        }
        assert_eq!(t.as_(&ada, "GET", &drift, Null).await.is(200)["items"][0]["missing_scopes"], json!([]));
        let issued = t.as_(&ada, "POST", "/api/agents/first/token/issue", Null).await.is(200);
        assert_eq!(t.as_(&ada, "GET", &drift, Null).await.is(200)["items"], json!([]));
        // An agent may not widen itself, so it is told whom to ask.
        t.as_(&ada, "PUT", &path("worker"), json!({ "scope": ["*"] })).await.is(200);
        let bearer = format!("Bearer {}", issued["token"].as_str().unwrap());
        let told = t.call("GET", &drift, &[("authorization", &bearer)], Null).await.is(200);
        assert_eq!(told["items"].as_array().unwrap().len(), 1, "an agent reads itself");
        assert!(told["items"][0]["fix"].as_str().unwrap().starts_with("Ask ada@example.com to send PATCH "), "{told}");
    }

    /// R36: pages in SQL of what drifts and may be read; custom scopes and patterns count as they cover.
    #[tokio::test]
    async fn drift_is_paged_over_what_may_be_read() {
        let t = TestApp::new(with_neighbours());
        let ada = t.ada().await;
        let max = t.user(&ada.tenant, "max@example.com", Role::Member).await;
        t.execute(&format!("INSERT INTO custom_scopes VALUES ('{}', 'x.crm.read', 'r', 0, 'u')", ada.tenant))
            .await
            .unwrap();
        t.as_(&ada, "PUT", &path("crm"), json!({ "scope": ["x.crm.read", "agents.keys.read"] })).await.is(200);
        for number in 0..20 {
            let owner = if number % 2 == 0 { &max } else { &ada };
            let scope =
                ["x.crm.* agents.keys.*", "x.* agents.*", "*", "agents.keys.read", "x.crm.read agents.keys.write"]
                    [number / 2 % 5];
            t.agent(owner, &format!("a{number}"), scope).await;
            t.wait(1);
        }
        t.execute("UPDATE agents SET preset = 'crm', preset_version = 1").await.unwrap();
        let (mut seen, mut query) = (Vec::new(), "limit=3".to_owned());
        loop {
            let page = t.as_(&max, "GET", &format!("{}/drift?{query}", path("crm")), Null).await.is(200);
            let items = page["items"].as_array().unwrap();
            seen.extend(
                items.iter().map(|item| format!("{} {}", item["agent"].as_str().unwrap(), item["missing_scopes"])),
            );
            let Some(cursor) = page["next_cursor"].as_str() else { break };
            assert_eq!(items.len(), 3);
            query = format!("limit=3&cursor={cursor}");
        }
        let lacks =
            ["a18 [\"agents.keys.read\"]", "a16 [\"x.crm.read\"]", "a8 [\"agents.keys.read\"]", "a6 [\"x.crm.read\"]"];
        assert_eq!(seen, lacks);
        let narrow = t.credential(Kind::Pat, &max.tenant, &max.user, None, "agents.read", None).await;
        t.as_(&narrow, "GET", &format!("{}/drift", path("crm")), Null).await.refused(403, "scope_denied");
    }

    /// Forty at once: versions without a gap, one row each.
    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn forty_puts_at_once_are_forty_versions() {
        let t = Arc::new(TestApp::new(with_neighbours()));
        let ada = Arc::new(t.ada().await);
        let second = Arc::new(TestApp::over(with_neighbours(), &t));
        let tasks: Vec<_> = (0..40)
            .map(|number| {
                let (app, ada) = (Arc::clone(if number % 2 == 0 { &t } else { &second }), Arc::clone(&ada));
                let scope = scope::Scope::ALL[number % scope::Scope::ALL.len()].as_str();
                tokio::spawn(async move {
                    app.as_(&ada, "PUT", &path("worker"), json!({ "scope": [scope, "ui.notify"] })).await.is(200)
                })
            })
            .collect();
        let mut versions = Vec::new();
        for task in tasks {
            versions.push(task.await.unwrap()["version"].as_i64().unwrap());
        }
        versions.sort_unstable();
        versions.dedup();
        let rows = t.number("SELECT count(*) FROM presets").await;
        assert_eq!(t.number("SELECT max(version) FROM presets").await, rows + 1);
        assert_eq!(i64::try_from(versions.len()).unwrap(), rows);
        assert_eq!(t.number("SELECT count(*) FROM audit").await, rows);
    }
}
