//! Which agents the caller may read.

use axum::{http::StatusCode, response::Response};
use common::{
    caller::Caller,
    error::{ApiError, Code},
    form,
    form::Params,
    http::{App, text, written_json},
    page::Wanted,
    store::agent::{self, Filter},
};

form! {
    pub(crate) struct List {
        q: Option<String>,
        state: Option<String>,
        owner: Option<String>,
        parent: Option<String>,
        has_token: Option<String>,
        limit: Option<i64>,
        cursor: Option<String>,
    }
}

/// `GET /api/agents`: the agents that the caller may read.
pub(crate) async fn list(app: App, caller: Caller, Params(ask): Params<List>) -> Result<Response, ApiError> {
    let filters = [&ask.q, &ask.state, &ask.owner, &ask.parent, &ask.has_token]
        .map(|filter| filter.as_deref().unwrap_or_default());
    let q = ask.q.as_deref().filter(|q| !q.trim().is_empty()).map(|q| text("q", q, 100)).transpose()?;
    let wanted = Wanted::read(&caller, ask.limit, ask.cursor.as_deref(), &filters)?;
    if ask.state.as_deref().is_some_and(|state| !["running", "paused", "stopped"].contains(&state)) {
        return Err(Code::InvalidFilter.with("field", "state").with("valid", "running, paused, stopped"));
    }
    let has_token = match ask.has_token.as_deref() {
        None => None,
        Some("true") => Some(true),
        Some("false") => Some(false),
        Some(_) => return Err(Code::InvalidFilter.with("field", "has_token").with("valid", "true, false")),
    };
    let (state, owner, parent) = (ask.state.as_deref(), ask.owner.as_deref(), ask.parent.as_deref());
    let filter = Filter { q: q.as_deref(), state, owner, parent, has_token };
    let page = agent::list(app.db(), &caller, &filter, &wanted, app.now()).await?;
    Ok(written_json(StatusCode::OK, page))
}

#[cfg(test)]
mod tests {
    use common::{
        scope::Role,
        secret::{Kind, Secret},
        testing::{Actor, TestApp},
    };
    use serde_json::{Value as Json, Value::Null, json};

    use crate::with_neighbours;

    /// R47: agent and token come into being together, and the token is stored as it was answered.
    #[tokio::test]
    async fn an_agent_is_registered_with_a_token() {
        let t = TestApp::new(with_neighbours());
        let ada = t.ada().await;
        let body = json!({
            "name": "Build Bot", "display_name": " The builder ", "description": "Builds.", "runtime": "docker", "model": "m-1",
            "labels": { "team": "core" }, "scope": ["agents.read", "ui.*"], "expires_in_days": 1,
        });
        let answer = t.as_(&ada, "POST", "/api/agents", body).await;
        let made = answer.is(201);
        assert_eq!(answer.header("cache-control"), "no-store");
        let token = Secret::parse(made["auth_token"].as_str().unwrap()).unwrap();
        assert_eq!(
            made,
            json!({
                "id": made["id"], "name": "build-bot", "display_name": "The builder", "description": "Builds.",
                "runtime": "docker", "model": "m-1", "labels": { "team": "core" }, "scope": ["agents.read", "ui.*"],
                "approved": [], "preset": null, "preset_version": null, "url": null, "tier": 3, "max_concurrent_tasks": 1, "budget_cents": null,
                "spent_cents": 0, "state": "running", "state_changed_at": null, "state_changed_by": null, "owner": { "id": ada.user, "email": "ada@example.com" }, "parent": null,
                "created_at": "2026-01-02T03:04:05.000Z", "updated_at": "2026-01-02T03:04:05.000Z", "last_seen_at": null,
                "has_token": true,
                "token": {
                    "id": made["token"]["id"], "prefix": token.shown(), "issued_at": "2026-01-02T03:04:05.000Z",
                    "expires_at": "2026-01-03T03:04:05.000Z", "last_used_at": null, "scope": ["agents.read", "ui.*"],
                },
                "auth_token": token.reveal(), "warnings": [],
            })
        );
        // R5, R3: read again it is the same, without the secret.
        let mut expected = made.clone();
        expected.as_object_mut().unwrap().retain(|key, _| key != "auth_token" && key != "warnings");
        assert_eq!(t.as_(&ada, "GET", "/api/agents/build-bot", Null).await.is(200), expected);
        assert_eq!(t.as_(&ada, "GET", "/api/agents", Null).await.is(200)["items"], json!([expected]));
        let by_id = format!("/api/agents/{}", made["id"].as_str().unwrap());
        assert_eq!(t.as_(&ada, "GET", &by_id, Null).await.is(200), expected, "its id does as well");
        t.as_(&ada, "GET", "/api/agents/agt_nothing", Null).await.refused(404, "agent_not_found");
        assert_eq!(t.number("SELECT count(*) FROM audit WHERE action = 'agent.create' AND outcome = 'done'").await, 1);
        let leaked = format!("SELECT count(*) FROM audit WHERE after LIKE '%{}%'", token.reveal());
        assert_eq!(t.number(&leaked).await, 0);
    }

    /// R33: below an agent that one may not read there is nothing to be seen, as below one that does not exist.
    #[tokio::test]
    async fn the_filter_by_the_agent_above_tells_nothing_of_it() {
        let t = TestApp::new(with_neighbours());
        let ada = t.ada().await;
        let eve = t.user(&ada.tenant, "eve@example.com", Role::Member).await;
        let boss = t.agent(&ada, "boss", "agents.read").await;
        let hand = t.agent_below(&ada, Some(&boss), "hand", "agents.read").await;
        t.grant(hand.agent.as_ref().unwrap(), &ada.tenant, eve.user.as_str(), "viewer", &ada.user).await;
        let seen = t.as_(&eve, "GET", "/api/agents", Null).await.is(200);
        assert_eq!((&seen["items"][0]["name"], &seen["items"][0]["parent"]), (&json!("hand"), &Null));
        for parent in ["boss", boss.agent.as_ref().unwrap().as_str(), "nobody"] {
            let below = t.as_(&eve, "GET", &format!("/api/agents?parent={parent}"), Null).await.is(200);
            assert_eq!(below["items"], json!([]), "{parent}");
        }
        let below = t.as_(&ada, "GET", "/api/agents?parent=boss", Null).await.is(200);
        assert_eq!(below["items"][0]["name"], "hand");
    }

    /// A list's rows are written by SQLite, one agent by us: the same members, in the same order, whatever stands in them.
    #[tokio::test]
    async fn a_list_writes_an_agent_as_a_read_does() {
        let t = TestApp::new(with_neighbours());
        let ada = t.ada().await;
        let odd = "\"quoted\" \\ back / é 𝄞 <&>";
        for body in [
            json!({
                "name": "full", "display_name": odd, "description": format!("{odd}\nline\ttab"), "runtime": odd, "model": odd,
                "labels": { "b": odd, "a": "1", odd: "" }, "scope": ["agents.read", "ui.*", "agents.logs"], "expires_in_days": 1,
                "url": "https://a.example.com/x?y=1", "tier": 1, "max_concurrent_tasks": 7, "budget_cents": 900,
            }),
            json!({ "name": "below", "parent": "full", "scope": ["agents.read"], "issue_token": false }),
            json!({ "name": "plain", "preset": "reader" }),
        ] {
            t.as_(&ada, "POST", "/api/agents", body).await.is(201);
        }
        t.wait(1);
        t.as_(&ada, "POST", "/api/agents/plain/pause", Null).await.is(200);
        for sql in [
            "UPDATE agents SET last_seen_at = 1767323045999, spent_cents = 5 WHERE name = 'full'",
            "UPDATE credentials SET last_used_at = 1767323045001 WHERE kind = 'agent_token'",
            "INSERT INTO access_requests (id, tenant_id, agent_id, scope, reason, hours, state, created_at, granted, ends_at)
             SELECT 'acc_' || n, tenant_id, id, 's' || n, 'r', 1, 'approved', 0, n, 9e12 FROM agents, (SELECT 'audit.read users.read' AS n UNION SELECT 'x')
             WHERE name = 'full'",
        ] {
            t.execute(sql).await.unwrap();
        }
        let page = t.as_(&ada, "GET", "/api/agents?limit=2", Null).await.is(200);
        let rest = format!("/api/agents?cursor={}", page["next_cursor"].as_str().unwrap());
        let last = t.as_(&ada, "GET", &rest, Null).await.is(200);
        assert_eq!(last["next_cursor"], Null);
        let all = [page["items"].as_array().unwrap().as_slice(), last["items"].as_array().unwrap()].concat();
        assert_eq!(all.len(), 3);
        for listed in &all {
            let name = listed["name"].as_str().unwrap();
            let read = t.as_(&ada, "GET", &format!("/api/agents/{name}"), Null).await.is(200);
            // As texts: the order of the members counts.
            assert_eq!(listed.to_string(), read.to_string());
        }
        let full = all.iter().find(|agent| agent["name"] == "full").unwrap();
        assert_eq!(full["approved"], json!(["audit.read", "users.read", "x"]));
        assert_eq!(full["last_seen_at"], "2026-01-02T03:04:05.999Z");
    }

    #[tokio::test]
    async fn an_agent_is_a_worker_unless_told_otherwise() {
        let t = TestApp::new(with_neighbours());
        let ada = t.ada().await;
        let made = t.as_(&ada, "POST", "/api/agents", json!({ "name": "scout", "issue_token": false })).await.is(201);
        assert_eq!(
            (&made["preset"], &made["auth_token"], &made["has_token"], &made["token"]),
            (&json!("worker"), &Null, &json!(false), &Null)
        );
        assert_eq!(t.number("SELECT count(*) FROM credentials WHERE kind = 'agent_token'").await, 0);
        let made = t.as_(&ada, "POST", "/api/agents", json!({ "name": "eng", "preset": "engineer" })).await.is(201);
        assert!(made["scope"].as_array().unwrap().contains(&json!("agents.secrets.*")));
        assert_eq!(made["token"]["expires_at"], Null);
    }

    #[tokio::test]
    async fn a_taken_name_gets_a_number_up_to_100() {
        let t = TestApp::new(with_neighbours());
        let ada = t.ada().await;
        let body = json!({ "name": "Scout", "issue_token": false });
        for number in 1..=100 {
            let made = t.as_(&ada, "POST", "/api/agents", body.clone()).await.is(201);
            let expected = if number == 1 { "scout".to_owned() } else { format!("scout-{number}") };
            assert_eq!(made["name"], expected);
        }
        t.as_(&ada, "POST", "/api/agents", body).await.refused(409, "name_taken");
    }

    /// R44 and the shapes: what cannot be is refused, each with its slug, and nothing is stored.
    #[tokio::test]
    async fn what_cannot_be_registered_is_refused() {
        let t = TestApp::new(with_neighbours());
        let ada = t.ada().await;
        let many: std::collections::BTreeMap<String, String> =
            (0..33).map(|n| (n.to_string(), String::new())).collect();
        for (body, status, slug) in [
            (json!({}), 422, "validation_error"),
            (json!({ "name": 7 }), 422, "validation_error"),
            (json!({ "name": "a", "tier": "1" }), 422, "validation_error"),
            (json!({ "name": "a", "tier": 0 }), 400, "invalid_number"),
            (json!({ "name": "a", "tier": 6 }), 400, "invalid_number"),
            (json!({ "name": "a", "budget_cents": -1 }), 400, "invalid_number"),
            (json!({ "name": "a", "max_concurrent_tasks": 0 }), 400, "invalid_number"),
            (json!({ "name": "a", "url": "http://a.example.com" }), 400, "invalid_agent_url"),
            (json!({ "name": "a", "url": "https://169.254.169.254/" }), 400, "invalid_agent_url"),
            (json!({ "name": "a", "parent": "b" }), 404, "parent_not_found"),
            (json!({ "name": "a", "secrets": {} }), 422, "validation_error"),
            (json!({ "name": "a", "labels": ["x"] }), 422, "validation_error"),
            (json!({ "name": "a", "scope": null }), 422, "validation_error"),
            (json!({ "name": "a", "issue_token": null }), 422, "validation_error"),
            (json!({ "name": "a", "expires_in_days": 1.5 }), 422, "validation_error"),
            (json!({ "name": "a", "expires_in_days": 1e30 }), 422, "validation_error"),
            (json!({ "name": "a", "scope": ["agents.read"], "preset": "worker" }), 422, "validation_error"),
            (json!({ "name": "a/../b" }), 400, "invalid_name"),
            (json!({ "name": ".." }), 400, "invalid_name"),
            (json!({ "name": "\\" }), 400, "invalid_name"),
            (json!({ "name": "a\u{0}b" }), 400, "invalid_name"),
            (json!({ "name": "" }), 400, "invalid_name"),
            (json!({ "name": "Import" }), 400, "invalid_name"),
            (json!({ "name": "x".repeat(10_000) }), 400, "invalid_name"),
            (json!({ "name": "a", "display_name": "a\u{202e}b" }), 400, "invalid_text"),
            (json!({ "name": "a", "labels": many }), 400, "invalid_labels"),
            (json!({ "name": "a", "labels": { "": "x" } }), 400, "invalid_labels"),
            (json!({ "name": "a", "scope": ["agents.fly", "agents.read"] }), 400, "unknown_scope"),
            (json!({ "name": "a", "scope": [] }), 400, "unknown_scope"),
            (json!({ "name": "a", "preset": "boss" }), 400, "unknown_preset"),
            (json!({ "name": "a", "expires_in_days": 0 }), 400, "invalid_lifetime"),
            (json!({ "name": "a", "expires_in_days": -1 }), 400, "invalid_lifetime"),
            (json!({ "name": "a", "expires_in_days": 3651 }), 400, "invalid_lifetime"),
        ] {
            t.as_(&ada, "POST", "/api/agents", body).await.refused(status, slug);
        }
        assert_eq!(t.number("SELECT (SELECT count(*) FROM agents) + (SELECT count(*) FROM audit)").await, 0);
    }

    /// R8, R9: a PAT gives no more than it has, for no longer than it lives; a session warns of what has no effect.
    #[tokio::test]
    async fn what_is_minted_is_never_wider_or_longer_lived_than_the_minter() {
        let t = TestApp::new(with_neighbours());
        let ada = t.ada().await;
        let ends = Some(t.now().plus_seconds(10 * 86_400));
        let pat = t
            .credential(
                Kind::Pat,
                &ada.tenant,
                &ada.user,
                None,
                "agents.create agents.read agents.list agents.update",
                ends,
            )
            .await;
        let refused = t
            .as_(&pat, "POST", "/api/agents", json!({ "name": "a", "scope": ["agents.*"] }))
            .await
            .refused(400, "scope_too_wide");
        assert!(refused["excess_scopes"].as_array().unwrap().contains(&json!("agents.delete")), "{refused}");
        let long = json!({ "name": "a", "scope": ["agents.read"], "expires_in_days": 11 });
        t.as_(&pat, "POST", "/api/agents", long).await.refused(400, "lifetime_too_long");
        let never = json!({ "name": "a", "scope": ["agents.read"], "expires_in_days": null });
        t.as_(&pat, "POST", "/api/agents", never).await.refused(400, "lifetime_too_long");
        assert_eq!(t.number("SELECT count(*) FROM agents").await, 0);
        let made = t.as_(&pat, "POST", "/api/agents", json!({ "name": "a", "scope": ["agents.read"] })).await.is(201);
        assert_eq!(made["token"]["expires_at"], "2026-01-12T03:04:05.000Z");
        assert_eq!(made["warnings"].as_array().unwrap().len(), 1);
        t.as_(&pat, "PATCH", "/api/agents/a", json!({ "scope": ["agents.delete"] }))
            .await
            .refused(400, "scope_too_wide");
        let made = t
            .as_(&ada, "POST", "/api/agents", json!({ "name": "b", "scope": ["agents.read", "users.read"] }))
            .await
            .is(201);
        assert!(made["warnings"][0].as_str().unwrap().contains("users.read"), "{made}");
    }

    /// R38, R47: when a part of it fails, nothing of it is there.
    #[tokio::test]
    async fn a_failed_create_leaves_nothing() {
        let t = TestApp::new(with_neighbours());
        let ada = t.ada().await;
        t.execute("CREATE TRIGGER broken BEFORE INSERT ON audit BEGIN SELECT RAISE(ABORT, 'no'); END").await.unwrap();
        t.as_(&ada, "POST", "/api/agents", json!({ "name": "a" })).await.refused(503, "database_unavailable");
        assert_eq!(
            t.number(
                "SELECT (SELECT count(*) FROM agents) + (SELECT count(*) FROM credentials WHERE agent_id NOT NULL)"
            )
            .await,
            0
        );
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

    /// R42, R37: with the agent die its credentials; who takes the name inherits nothing, and is not what is deleted.
    #[tokio::test]
    async fn an_archived_agents_name_is_free_and_nothing_is_inherited() {
        let t = TestApp::new(with_neighbours());
        let ada = t.ada().await;
        let eve = t.user(&ada.tenant, "eve@example.com", Role::Member).await;
        let scout = t.agent(&ada, "scout", "agents.read").await;
        t.grant(scout.agent.as_ref().unwrap(), &ada.tenant, eve.user.as_str(), "editor", &ada.user).await;
        t.as_(&eve, "GET", "/api/agents/scout", Null).await.is(200);
        t.as_(&scout, "GET", "/api/agents/scout", Null).await.is(200);
        t.as_(&ada, "DELETE", "/api/agents/scout", Null).await.is(204);
        let refused = t.as_(&scout, "GET", "/api/agents/scout", Null).await.refused(401, "token_revoked");
        assert_eq!(refused["fix"], "Ask ada@example.com for a new token: POST /api/agents {\"name\": \"scout\"}.");
        t.as_(&ada, "DELETE", "/api/agents/scout", Null).await.refused(404, "agent_not_found");
        t.as_(&ada, "POST", "/api/agents", json!({ "name": "scout" })).await.is(201);
        t.as_(&eve, "GET", "/api/agents/scout", Null).await.refused(404, "agent_not_found");
        t.as_(&scout, "GET", "/api/agents/scout", Null).await.refused(401, "token_revoked");
        assert_eq!(t.number("SELECT count(*) FROM grants").await, 0);
    }

    /// R33, R45: on every verb an agent that one may not read is an absent one: same body, headers and statements.
    #[tokio::test]
    async fn absent_and_foreign_are_alike() {
        let t = TestApp::new(with_neighbours());
        let ada = t.ada().await;
        let eve = t.user(&ada.tenant, "eve@example.com", Role::Member).await;
        let other = t.tenant("other").await;
        let zoe = t.user(&other, "zoe@example.com", Role::Admin).await;
        let spy = t.agent(&eve, "spy", "agents.*").await;
        t.agent(&ada, "scout", "agents.read").await;
        for actor in [&eve, &zoe, &spy] {
            t.as_(actor, "GET", "/api/agents", Null).await.is(200); // records the use, so that no later request does
            for (method, tail, body) in [
                ("GET", "", Null),
                ("PATCH", "", json!({ "model": "x" })),
                ("DELETE", "", Null),
                ("POST", "/token/issue", json!({})),
                ("DELETE", "/token", Null),
            ] {
                let mut seen = vec![];
                for name in ["scout", "nobody", "UPPER", "%2e%2e", "a%2Fb", "%ff", "%00"] {
                    let before = t.db().statements();
                    let answer = t.as_(actor, method, &format!("/api/agents/{name}{tail}"), body.clone()).await;
                    let mut refused = answer.refused(404, "agent_not_found");
                    refused["request_id"] = Null;
                    let names: Vec<String> = answer.headers.keys().map(ToString::to_string).collect();
                    seen.push((refused.to_string(), names, t.db().statements() - before));
                }
                assert!(seen.windows(2).all(|pair| pair[0] == pair[1]), "{method} {tail} {seen:#?}");
            }
        }
        assert_eq!(t.number("SELECT count(*) FROM agents WHERE archived_at IS NULL").await, 2);
        assert_eq!(t.number("SELECT count(*) FROM credentials WHERE revoked_at IS NOT NULL").await, 0);
    }

    /// R34: who may read and not change is told what is missing, and nothing has changed.
    #[tokio::test]
    async fn a_reader_is_told_what_is_missing() {
        let t = TestApp::new(with_neighbours());
        let ada = t.ada().await;
        let eve = t.user(&ada.tenant, "eve@example.com", Role::Member).await;
        let scout = t.agent(&ada, "scout", "agents.read").await;
        t.grant(scout.agent.as_ref().unwrap(), &ada.tenant, eve.user.as_str(), "viewer", &ada.user).await;
        for (method, path, needed) in [
            ("PATCH", "/api/agents/scout", json!(["editor", "owner", "tenant.admin"])),
            ("DELETE", "/api/agents/scout", json!(["owner", "tenant.admin"])),
            ("POST", "/api/agents/scout/token/issue", json!(["editor", "owner", "tenant.admin"])),
            ("DELETE", "/api/agents/scout/token", json!(["editor", "owner", "tenant.admin"])),
        ] {
            let refused = t.as_(&eve, method, path, Null).await.refused(403, "permission_denied");
            assert_eq!(refused["required_relations"], needed);
            assert!(refused["fix"].as_str().unwrap().contains("ada@example.com"));
        }
        t.as_(&scout, "GET", "/api/agents/scout", Null).await.is(200);
    }

    /// R41: an agent touches itself and nothing else, whoever owns it; with a grant it does what its owner may do too.
    #[tokio::test]
    async fn an_agent_of_an_admin_is_no_admin() {
        let t = TestApp::new(with_neighbours());
        let ada = t.ada().await;
        let eve = t.user(&ada.tenant, "eve@example.com", Role::Member).await;
        let scout = t.agent(&ada, "scout", "agents.*").await;
        let other = t.agent(&ada, "other", "agents.read").await;
        let helper = t.agent(&eve, "helper", "agents.*").await;
        t.as_(&scout, "PATCH", "/api/agents/scout", json!({ "model": "m" })).await.is(200);
        t.as_(&scout, "GET", "/api/agents/other", Null).await.refused(404, "agent_not_found");
        let seen = t.as_(&scout, "GET", "/api/agents", Null).await.is(200);
        assert_eq!(seen["items"].as_array().unwrap().len(), 1);
        // A grant to an agent is worth nothing while its owner has none.
        t.grant(
            other.agent.as_ref().unwrap(),
            &ada.tenant,
            helper.agent.as_ref().unwrap().as_str(),
            "editor",
            &ada.user,
        )
        .await;
        t.as_(&helper, "GET", "/api/agents/other", Null).await.refused(404, "agent_not_found");
        t.grant(other.agent.as_ref().unwrap(), &ada.tenant, eve.user.as_str(), "viewer", &ada.user).await;
        t.as_(&helper, "GET", "/api/agents/other", Null).await.is(200);
        t.as_(&helper, "PATCH", "/api/agents/other", json!({ "model": "m" })).await.refused(403, "permission_denied");
        let own = json!({ "scope": ["agents.read"] });
        t.as_(&scout, "PATCH", "/api/agents/scout", own).await.refused(403, "person_required");
    }

    /// R8: an editor of somebody else's agent gives it nothing that he could not do himself, whatever its owner may do.
    #[tokio::test]
    async fn an_editor_gives_an_agent_no_more_than_he_has() {
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

    /// What was sent is never dropped: a label that stands twice is refused.
    #[tokio::test]
    async fn a_label_that_stands_twice_is_refused() {
        let t = TestApp::new(with_neighbours());
        let ada = t.ada().await;
        let body = r#"{"name": "a", "labels": {"x": "1", "x": "2"}}"#;
        let request = axum::http::Request::builder().method("POST").uri("/api/agents");
        let request = request.header("authorization", format!("Bearer {}", ada.token));
        t.send(request.body(axum::body::Body::from(body)).unwrap()).await.refused(422, "validation_error");
    }

    /// R36: filter, limit and order happen in SQL; no gap, nothing twice; who may read nothing sees an empty list.
    #[tokio::test]
    async fn a_list_of_every_second_agent_is_paged_without_gaps() {
        let t = TestApp::new(with_neighbours());
        let ada = t.ada().await;
        let eve = t.user(&ada.tenant, "eve@example.com", Role::Member).await;
        let zoe = t.user(&ada.tenant, "zoe@example.com", Role::Member).await;
        for number in 0..120 {
            t.wait(i64::from(number % 3 == 0)); // several of one moment, too
            let agent = t.agent(&ada, &format!("a{number}"), "agents.read").await;
            if number % 2 == 0 {
                t.grant(agent.agent.as_ref().unwrap(), &ada.tenant, eve.user.as_str(), "viewer", &ada.user).await;
            }
        }
        let (mut names, mut sizes, mut cursor) = (vec![], vec![], String::new());
        loop {
            let page = t.as_(&eve, "GET", &format!("/api/agents?limit=50{cursor}"), Null).await.is(200);
            let items = page["items"].as_array().unwrap();
            sizes.push(items.len());
            names.extend(items.iter().map(|item| item["name"].as_str().unwrap().to_owned()));
            let Some(next) = page["next_cursor"].as_str() else { break };
            cursor = format!("&cursor={next}");
        }
        assert_eq!(sizes, [50, 10]);
        names.sort();
        names.dedup();
        assert_eq!(names.len(), 60);
        assert_eq!(t.as_(&zoe, "GET", "/api/agents", Null).await.is(200), json!({ "items": [], "next_cursor": null }));
    }

    #[tokio::test]
    async fn a_list_is_narrowed_by_its_filters() {
        let t = TestApp::new(with_neighbours());
        let ada = t.ada().await;
        let eve = t.user(&ada.tenant, "eve@example.com", Role::Member).await;
        t.agent(&ada, "alpha", "agents.read").await;
        t.agent(&eve, "beta", "agents.read").await;
        t.as_(&ada, "POST", "/api/agents", json!({ "name": "gamma_x", "issue_token": false })).await.is(201);
        t.execute("UPDATE agents SET state = 'paused' WHERE name = 'beta'").await.unwrap();
        for (query, names) in [
            ("q=ALPH", vec!["alpha"]),
            ("q=%25", vec![]),
            ("q=_", vec![]),
            ("state=paused", vec!["beta"]),
            ("owner=EVE@example.com", vec!["beta"]),
            ("has_token=false", vec!["gamma-x"]),
            ("has_token=true&q=a", vec!["alpha", "beta"]),
        ] {
            let list = t.as_(&ada, "GET", &format!("/api/agents?{query}"), Null).await.is(200);
            let mut seen: Vec<&str> =
                list["items"].as_array().unwrap().iter().map(|item| item["name"].as_str().unwrap()).collect();
            seen.sort_unstable();
            assert_eq!(seen, names, "{query}");
        }
        let long = format!("q={}", "x".repeat(50_000));
        t.as_(&ada, "GET", &format!("/api/agents?{long}"), Null).await.refused(400, "invalid_text");
        for query in ["state=asleep", "has_token=1"] {
            t.as_(&ada, "GET", &format!("/api/agents?{query}"), Null).await.refused(400, "invalid_filter");
        }
    }

    /// R43: a halted agent is refused on its next request.
    #[tokio::test]
    async fn a_halted_agent_is_refused() {
        let t = TestApp::new(with_neighbours());
        let ada = t.ada().await;
        let scout = t.agent(&ada, "scout", "agents.*").await;
        for (state, slug) in [("paused", "agent_paused"), ("stopped", "agent_stopped")] {
            t.execute(&format!("UPDATE agents SET state = '{state}'")).await.unwrap();
            t.as_(&scout, "GET", "/api/agents/scout", Null).await.refused(403, slug);
        }
    }

    /// R31: refusals of known callers are counted.
    #[tokio::test]
    async fn refusals_are_counted_by_subject_and_slug() {
        let t = TestApp::new(with_neighbours());
        let ada = t.ada().await;
        let plain = t.agent(&ada, "plain", "ui.notify").await;
        for _ in 0..3 {
            t.as_(&plain, "GET", "/api/agents", Null).await.refused(403, "scope_denied");
        }
        let counted = t.texts("SELECT subject || ' ' || slug || ' ' || count FROM refusals").await;
        assert_eq!(counted, [format!("{} scope_denied 3", plain.agent.unwrap())]);
    }

    /// R51, R53: a create is kept with its secret, for the credential that made it only.
    #[tokio::test]
    async fn a_secret_is_replayed_to_the_credential_that_got_it() {
        let t = TestApp::new(with_neighbours());
        let ada = t.ada().await;
        let second =
            t.credential(Kind::Session, &ada.tenant, &ada.user, None, "*", Some(t.now().plus_seconds(3600))).await;
        let body = json!({ "name": "scout" });
        let call = |actor: &Actor, key: &str, body: &Json| {
            let bearer = format!("Bearer {}", actor.token);
            let (key, body) = (key.to_owned(), body.clone());
            let t = &t;
            async move {
                t.call("POST", "/api/agents", &[("authorization", &bearer), ("idempotency-key", &key)], body).await
            }
        };
        let first = call(&ada, "\"k 1\"", &body).await.is(201);
        let again = call(&ada, "k 1", &body).await;
        assert_eq!((again.is(201), again.header("idempotency-replayed")), (first.clone(), "true"));
        call(&second, "k 1", &body).await.refused(409, "idempotency_other_credential");
        call(&second, "k 1", &json!({ "name": "other" })).await.refused(422, "idempotency_mismatch");
        call(&ada, "", &body).await.refused(400, "invalid_idempotency_key");
        assert_eq!(t.number("SELECT count(*) FROM agents").await, 1);
        let kept: Vec<u8> = {
            let file = rusqlite::Connection::open(t.path()).unwrap();
            file.query_row("SELECT answer FROM idempotency", [], |row| row.get(0)).unwrap()
        };
        let token = first["auth_token"].as_str().unwrap().as_bytes();
        assert!(!kept.windows(token.len()).any(|window| window == token), "sealed at rest");
        t.wait(24 * 3600);
        let third =
            t.credential(Kind::Session, &ada.tenant, &ada.user, None, "*", Some(t.now().plus_seconds(3600))).await;
        assert_eq!(call(&third, "k 1", &body).await.is(201)["name"], "scout-2");
    }
}
