use common::{id::AgentId, role::Role, scope::Scope, secret::Kind};
use service::testing::{TestApp, at_once};

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
            "secrets": [], "probes": [], "defaults": {}, "built_in": true, "created_at": null, "created_by": null,
        })
    );
    let body = json!({ "scope": ["ui.notify", "agents.read", "ui.notify"], "secrets": [], "probes": [] });
    let made = t.as_(&ada, "PUT", &path("reader"), body).await.is(200);
    let expected = json!({
        "name": "reader", "version": 2, "scope": ["agents.read", "ui.notify"], "secrets": [], "probes": [],
        "defaults": {}, "built_in": false, "created_at": "2026-01-02T03:04:05.000Z", "created_by": "ada@example.com",
    });
    assert_eq!(made, expected);
    t.as_(&ada, "PUT", &path("scribe"), json!({ "scope": ["guides.write"] })).await.is(200);
    let listed = t.as_(&scout, "GET", PRESETS, Null).await.is(200);
    assert_eq!((&listed["items"][3], &listed["items"][4]["version"]), (&expected, &json!(1)));
    // Another tenant does not see them.
    let other = t.tenant("other").await;
    let eve = t.user(&other, "eve@example.com", Role::Admin).await;
    assert_eq!(t.as_(&eve, "GET", PRESETS, Null).await.is(200)["items"].as_array().unwrap().len(), 5);
    t.as_(&eve, "GET", &format!("{}/drift", path("scribe")), Null).await.refused(404, "preset_not_found");
    let rows = t
        .texts(
            "SELECT action || ' ' || object_id || ' ' || ifnull(before, '-') || ' ' || after FROM audit ORDER BY seq",
        )
        .await;
    assert_eq!(
        rows,
        [
            "preset.put reader {\"version\":1,\"scope\":[\"agents.list\",\"agents.read\",\"audit.read\",\"guides.read\"],\"secrets\":[],\"probes\":[],\"defaults\":{}} {\"version\":2,\"scope\":[\"agents.read\",\"ui.notify\"],\"secrets\":[],\"probes\":[],\"defaults\":{}}",
            "preset.put scribe - {\"version\":1,\"scope\":[\"guides.write\"],\"secrets\":[],\"probes\":[],\"defaults\":{}}",
        ]
    );
}

#[tokio::test]
async fn the_same_scope_again_changes_nothing() {
    let t = TestApp::new(with_neighbours());
    let ada = t.ada().await;
    let worker: Vec<&str> = common::preset::Preset::Worker.scope().split(' ').rev().collect();
    let same = t.as_(&ada, "PUT", &path("worker"), json!({ "scope": worker })).await.is(200);
    assert_eq!((&same["version"], &same["built_in"]), (&json!(1), &json!(true)));
    let first = t.as_(&ada, "PUT", &path("scribe"), json!({ "scope": ["ui.*"] })).await.is(200);
    t.wait(5);
    assert_eq!(t.as_(&ada, "PUT", &path("scribe"), json!({ "scope": ["ui.*"] })).await.is(200), first);
    assert_eq!((t.number("SELECT count(*) FROM presets").await, t.number("SELECT count(*) FROM audit").await), (1, 1));
}

/// R12: only admins write presets, never an agent; a body that makes no preset is refused.
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
        (json!({ "scope": ["agents.read"], "secrets": [7] }), 422, "validation_error"),
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
        t.execute(&format!(
            "INSERT INTO presets (tenant_id, name, version, scope, created_at, created_by) VALUES {row}"
        ))
        .await
        .unwrap();
    }
    let body = json!({ "scope": ["agents.read"] });
    t.as_(&ada, "PUT", &path("worker"), body.clone()).await.is(200);
    t.as_(&ada, "PUT", &path("one-more"), body.clone()).await.refused(409, "too_many_presets");
    t.as_(&ada, "PUT", &path("reader"), body.clone()).await.refused(409, "too_many_presets");
    t.as_(&ada, "PUT", &path("p7"), body.clone()).await.is(200);
    t.execute("UPDATE presets SET version = 1000 WHERE name = 'p8'").await.unwrap();
    t.as_(&ada, "PUT", &path("p8"), body).await.refused(409, "too_many_presets");
}

/// A new version counts for agents that are registered from then on; R59: the fix of an unknown preset.
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

/// Drift: what ceiling and token lack of the newest version. Following the fix to the letter ends it.
#[tokio::test]
async fn drift_is_listed_and_its_fix_ends_it() {
    let t = TestApp::new(with_neighbours());
    let ada = t.ada().await;
    let drift = format!("{}/drift", path("worker"));
    for (name, preset) in [("first", "worker"), ("other", "reader"), ("silent", "worker")] {
        let body = json!({ "name": name, "preset": preset, "issue_token": name != "silent" });
        t.as_(&ada, "POST", "/api/agents", body).await.is(201);
        t.wait(1);
    }
    let answer = t.as_(&ada, "GET", &drift, Null).await.is(200);
    assert_eq!(answer, json!({ "preset": "worker", "version": 1, "items": [], "next_cursor": null }));
    // A token that was narrowed lacks scopes that the ceiling holds.
    t.as_(&ada, "POST", "/api/agents/first/token/issue", json!({ "scope": ["agents.*"] }))
        .await
        .refused(400, "scope_too_wide");
    t.as_(&ada, "POST", "/api/agents/first/token/issue", json!({ "scope": ["agents.list", "ui.*", "agents.read"] }))
        .await
        .is(200);
    let answer = t.as_(&ada, "GET", &drift, Null).await.is(200);
    assert_eq!(
        answer["items"],
        json!([{
            "agent": "first", "preset_version": 1, "missing_scopes": [],
            "token_missing_scopes": ["agents.logs", "agents.message", "guides.read"], "missing_secrets": [],
            "fix": "Send POST /api/agents/first/token/issue, and give the agent the token of the last response.",
        }])
    );
    // The new version names scopes that only people can use: those are not missing from any agent.
    let scope = json!({ "scope": ["agents.*", "guides.read", "ui.notify", "users.read"] });
    t.as_(&ada, "PUT", &path("worker"), scope).await.is(200);
    let answer = t.as_(&ada, "GET", &drift, Null).await.is(200);
    assert_eq!(
        (&answer["version"], &answer["items"][0]["agent"], &answer["items"][1]["agent"]),
        (&json!(2), &json!("silent"), &json!("first"))
    );
    let (silent, first) = (&answer["items"][0], &answer["items"][1]);
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
         the token of the last response."
    );
    for name in ["first", "silent"] {
        t.as_(&ada, "PATCH", &format!("/api/agents/{name}"), json!({ "preset": "worker" })).await.is(200);
    }
    assert_eq!(t.as_(&ada, "GET", &drift, Null).await.is(200)["items"][0]["missing_scopes"], json!([]));
    let issued = t.as_(&ada, "POST", "/api/agents/first/token/issue", Null).await.is(200);
    assert_eq!(t.as_(&ada, "GET", &drift, Null).await.is(200)["items"], json!([]));
    // An agent must not widen itself, so its fix names the person to ask.
    t.as_(&ada, "PUT", &path("worker"), json!({ "scope": ["*"] })).await.is(200);
    let bearer = format!("Bearer {}", issued["token"].as_str().unwrap());
    let answer = t.call("GET", &drift, &[("authorization", &bearer)], Null).await.is(200);
    assert_eq!(answer["items"].as_array().unwrap().len(), 1, "an agent reads itself");
    assert!(answer["items"][0]["fix"].as_str().unwrap().starts_with("Ask ada@example.com to send PATCH "), "{answer}");
}

/// R36: pages in SQL of the drifting agents that may be read; custom scopes and patterns count by what they cover.
#[tokio::test]
async fn drift_is_paged_over_readable_agents() {
    let t = TestApp::new(with_neighbours());
    let ada = t.ada().await;
    let max = t.user(&ada.tenant, "max@example.com", Role::Member).await;
    t.execute(&format!("INSERT INTO custom_scopes VALUES ('{}', 'x.crm.read', 'r', 0, 'u')", ada.tenant))
        .await
        .unwrap();
    t.as_(&ada, "PUT", &path("crm"), json!({ "scope": ["x.crm.read", "agents.keys.read"] })).await.is(200);
    for number in 0..20 {
        let owner = if number % 2 == 0 { &max } else { &ada };
        let scope = ["x.crm.* agents.keys.*", "x.* agents.*", "*", "agents.keys.read", "x.crm.read agents.keys.write"]
            [number / 2 % 5];
        t.agent(owner, &format!("a{number}"), scope).await;
        t.wait(1);
    }
    t.execute("UPDATE agents SET preset = 'crm', preset_version = 1").await.unwrap();
    let (mut seen, mut query) = (Vec::new(), "limit=3".to_owned());
    loop {
        let page = t.as_(&max, "GET", &format!("{}/drift?{query}", path("crm")), Null).await.is(200);
        let items = page["items"].as_array().unwrap();
        seen.extend(items.iter().map(|item| format!("{} {}", item["agent"].as_str().unwrap(), item["missing_scopes"])));
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

/// Forty at once make versions without a gap, each with one audit row.
#[tokio::test]
async fn forty_puts_at_once_are_forty_versions() {
    let t = TestApp::new(with_neighbours());
    let ada = t.ada().await;
    let second = TestApp::over(with_neighbours(), &t);
    let mut versions = at_once(40, async |number| {
        let app = if number % 2 == 0 { &t } else { &second };
        let scope = Scope::ALL[number % Scope::ALL.len()].as_str();
        let made = app.as_(&ada, "PUT", &path("worker"), json!({ "scope": [scope, "ui.notify"] })).await.is(200);
        made["version"].as_i64().unwrap()
    });
    versions.sort_unstable();
    versions.dedup();
    let rows = t.number("SELECT count(*) FROM presets").await;
    assert_eq!(t.number("SELECT max(version) FROM presets").await, rows + 1);
    assert_eq!(i64::try_from(versions.len()).unwrap(), rows);
    assert_eq!(t.number("SELECT count(*) FROM audit").await, rows);
}

/// R112: a preset lists what its agents need and how they are set; each change of it is a version, and GET shows all.
#[tokio::test]
async fn a_preset_lists_secrets_probes_and_defaults_in_versions() {
    let t = TestApp::new(with_neighbours());
    let ada = t.ada().await;
    let defaults = json!({ "runtime": "docker", "model": "m", "tier": 4, "max_concurrent_tasks": 3, "budget_cents": 900, "labels": { "team": "core" } });
    let body = json!({
        "scope": ["agents.read"], "secrets": ["SLACK_TOKEN", "GITHUB_TOKEN", "SLACK_TOKEN"], "probes": ["github"],
        "defaults": defaults,
    });
    let made = t.as_(&ada, "PUT", &path("scribe"), body.clone()).await.is(200);
    for (member, value) in [
        ("version", json!(1)),
        ("secrets", json!(["GITHUB_TOKEN", "SLACK_TOKEN"])),
        ("probes", json!(["github"])),
        ("defaults", defaults.clone()),
    ] {
        assert_eq!(made[member], value, "{member}");
    }
    assert_eq!(t.as_(&ada, "PUT", &path("scribe"), body).await.is(200)["version"], 1, "the same again");
    let second = t.as_(&ada, "PUT", &path("scribe"), json!({ "scope": ["agents.read"] })).await.is(200);
    assert_eq!((&second["version"], &second["secrets"], &second["defaults"]), (&json!(2), &json!([]), &json!({})));
    let scout = t.agent(&ada, "scout", "").await;
    let mut whole = second.clone();
    whole["versions"] = json!([second, made]);
    assert_eq!(t.as_(&scout, "GET", &path("scribe"), Null).await.is(200), whole);
    let reader = t.as_(&ada, "GET", &path("reader"), Null).await.is(200);
    assert_eq!((&reader["built_in"], reader["versions"].as_array().unwrap().len()), (&json!(true), 1));
    t.as_(&ada, "PUT", &path("reader"), json!({ "scope": ["agents.read"] })).await.is(200);
    let reader = t.as_(&ada, "GET", &path("reader"), Null).await.is(200);
    let versions: Vec<_> =
        reader["versions"].as_array().unwrap().iter().map(|v| (&v["version"], &v["built_in"])).collect();
    assert_eq!(versions, [(&json!(2), &json!(false)), (&json!(1), &json!(true))]);
    t.as_(&ada, "GET", &path("nothing"), Null).await.refused(404, "preset_not_found");
    for (bad, status, slug) in [
        (json!({ "secrets": ["PATH"] }), 400, "invalid_secret_name"),
        (json!({ "secrets": ["a"] }), 400, "invalid_secret_name"),
        (json!({ "secrets": "A" }), 422, "validation_error"),
        (json!({ "probes": [""] }), 400, "invalid_text"),
        (json!({ "probes": (0..33).map(|n| format!("p{n}")).collect::<Vec<_>>() }), 422, "validation_error"),
        (json!({ "defaults": { "scope": ["*"] } }), 422, "validation_error"),
        (json!({ "defaults": { "tier": 6 } }), 400, "invalid_number"),
        (json!({ "defaults": { "labels": { "": "x" } } }), 400, "invalid_labels"),
        (json!({ "defaults": [] }), 422, "validation_error"),
    ] {
        let mut body = json!({ "scope": ["agents.read"] });
        body.as_object_mut().unwrap().extend(bad.as_object().unwrap().clone());
        t.as_(&ada, "PUT", &path("bad"), body).await.refused(status, slug);
    }
    assert_eq!(t.number("SELECT count(*) FROM presets WHERE name = 'bad'").await, 0);
}

/// R112
#[tokio::test]
async fn a_preset_is_deleted_while_no_agent_has_it() {
    let t = TestApp::new(with_neighbours());
    let ada = t.ada().await;
    t.as_(&ada, "DELETE", &path("reader"), Null).await.refused(409, "preset_built_in");
    t.as_(&ada, "DELETE", &path("scribe"), Null).await.refused(404, "preset_not_found");
    for name in ["scribe", "reader"] {
        t.as_(&ada, "PUT", &path(name), json!({ "scope": ["agents.read"] })).await.is(200);
    }
    t.as_(&ada, "POST", "/api/agents", json!({ "name": "scout", "preset": "scribe" })).await.is(201);
    t.as_(&ada, "DELETE", &path("scribe"), Null).await.refused(409, "preset_in_use");
    let max = t.user(&ada.tenant, "max@example.com", Role::Member).await;
    t.as_(&max, "DELETE", &path("reader"), Null).await.refused(403, "scope_denied");
    t.as_(&ada, "PATCH", "/api/agents/scout", json!({ "preset": "reader" })).await.is(200);
    t.as_(&ada, "DELETE", &path("scribe"), Null).await.is(204);
    t.as_(&ada, "GET", &path("scribe"), Null).await.refused(404, "preset_not_found");
    t.as_(&ada, "PATCH", "/api/agents/scout", json!({ "scope": ["agents.list"] })).await.is(200);
    t.as_(&ada, "DELETE", &path("reader"), Null).await.is(204);
    assert_eq!(t.as_(&ada, "GET", &path("reader"), Null).await.is(200)["version"], 1, "as it was built");
    let rows = t.texts("SELECT object_id FROM audit WHERE action = 'preset.delete' ORDER BY seq").await;
    assert_eq!(rows, ["scribe", "reader"]);
}

/// R112: drift names the secrets that an agent lacks, to callers that may see which it has.
#[tokio::test]
async fn drift_names_missing_secrets() {
    let settings = service::settings::Settings {
        vault: common::vault::Vault::parse("a-key-of-the-operator-that-is-long-enough").unwrap(),
        ..Default::default()
    };
    let t = TestApp::with(with_neighbours(), settings);
    let ada = t.ada().await;
    let body = json!({ "scope": ["agents.read"], "secrets": ["A", "B"] });
    t.as_(&ada, "PUT", &path("scribe"), body).await.is(200);
    let body = json!({ "name": "scout", "preset": "scribe", "secrets": { "A": "x" } });
    let made = t.as_(&ada, "POST", "/api/agents", body).await.is(201);
    assert_eq!(
        made["warnings"],
        json!([
            "The scope of scout lacks agents.secrets.read, so scout cannot read its secrets: add it with PATCH /api/agents/scout, then issue its token anew.",
            "Agents of this preset need secrets that scout does not have: B. Set them with PUT /api/agents/scout/secrets."
        ])
    );
    let drift = t.as_(&ada, "GET", &format!("{}/drift", path("scribe")), Null).await.is(200);
    assert_eq!(drift["items"][0]["missing_secrets"], json!(["B"]));
    assert_eq!(drift["items"][0]["fix"], "Send PUT /api/agents/scout/secrets/B {\"value\": \"…\"}.");
    let pat = t.credential(Kind::Pat, &ada.tenant, &ada.user, None, "agents.list", None).await;
    let drift = t.as_(&pat, "GET", &format!("{}/drift", path("scribe")), Null).await.is(200);
    assert_eq!(drift["items"], json!([]), "it lacks nothing that this caller may see");
    // R768: the token comes last, which is handed on, and who may only read the agent asks its owner.
    let body = json!({ "scope": ["agents.read", "agents.logs"], "secrets": ["A", "B"] });
    t.as_(&ada, "PUT", &path("scribe"), body).await.is(200);
    let steps = "PATCH /api/agents/scout {\"preset\": \"scribe\"}, then PUT /api/agents/scout/secrets/B {\"value\": \"…\"}, then POST \
                 /api/agents/scout/token/issue, and give the agent the token of the last response.";
    let max = t.user(&ada.tenant, "max@example.com", Role::Member).await;
    let scout = made["id"].as_str().unwrap().to_owned();
    t.grant(&AgentId::try_from(scout).unwrap(), &ada.tenant, max.user.as_str(), "viewer", &ada.user).await;
    for (reader, sender) in [(&ada, "Send"), (&max, "Ask ada@example.com to send")] {
        let drift = t.as_(reader, "GET", &format!("{}/drift", path("scribe")), Null).await.is(200);
        assert_eq!(drift["items"][0]["fix"], format!("{sender} {steps}"));
    }
    let body = json!({ "scope": ["agents.read"], "secrets": ["A", "B"] });
    t.as_(&ada, "PUT", &path("scribe"), body).await.is(200);
    t.as_(&ada, "PUT", "/api/agents/scout/secrets/B", json!({ "value": "y" })).await.is(200);
    let drift = t.as_(&ada, "GET", &format!("{}/drift", path("scribe")), Null).await.is(200);
    assert_eq!(drift["items"], json!([]));
}
