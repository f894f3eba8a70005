//! The registry: names, unreadable objects, tokens that work at once, deletion of the agent that was looked up.

use std::sync::Arc;

use serde_json::{Value as Json, json};
use tests::{Answer, Client, Server, Shared, at_once, server::text};

const WHOAMI: &str = "/api/auth/whoami";

struct Site {
    server: Server,
    admin: Client,
    member: Client,
}

static SITE: Shared<Site> = Shared::new();

fn site() -> Arc<Site> {
    SITE.get(|| {
        let (server, admin) = Server::with_admin();
        let member = server.user(&admin, "mia@example.com", "member");
        Site { server, admin, member }
    })
}

/// R44: there is one set of rules for names; a name that breaks them is refused and not stored.
#[test]
fn a_name_is_a_slug_or_refused() {
    let site = site();
    let nora = site.server.user(&site.admin, "nora@example.com", "member");
    let long = "x".repeat(10_000);
    for bad in [
        "a/../b",
        "..",
        "a..b",
        "\\",
        "a\\b",
        "a/b",
        "/",
        "",
        " ",
        "-",
        "\u{fc}\u{fc}",
        "a\nb",
        "a\u{0}b",
        "a\u{7f}b",
        "a\u{85}b",
        "me",
        "ME",
        " Me ",
        "archived",
        "bulk",
        "deploy",
        "enroll",
        "import",
        "stop-all",
        "Stop All",
        &long,
        &"x".repeat(64),
    ] {
        nora.post("/api/agents", &json!({ "name": bad })).refused(400, "invalid_name");
    }
    for no_text in [json!(null), json!(7), json!(["a"]), json!({})] {
        nora.post("/api/agents", &json!({ "name": no_text })).refused(422, "validation_error");
    }
    nora.post("/api/agents", &json!({})).refused(422, "validation_error");
    let stored =
        "SELECT count(*) FROM agents a JOIN users u ON u.id = a.owner_id WHERE u.email_key = 'nora@example.com'";
    assert_eq!(site.server.number(stored), 0);
    for (typed, slug) in [(" Build  Bot_7 ", "build-bot-7"), ("a.b", "a-b"), (&"y".repeat(63), &"y".repeat(63) as &str)]
    {
        let made = nora.post("/api/agents", &json!({ "name": typed })).is(201);
        assert_eq!(made["name"], slug);
        nora.get(&format!("/api/agents/{slug}")).is(200);
    }
}

/// Contract, "names": taken gives -2 and so on; when all 100 are taken: 409.
#[test]
fn a_taken_name_gets_a_number_up_to_a_hundred() {
    let site = site();
    let make = || site.admin.post("/api/agents", &json!({ "name": "popular", "issue_token": false }));
    assert_eq!(make().is(201)["name"], "popular");
    for number in 2..=100 {
        assert_eq!(make().is(201)["name"], format!("popular-{number}"));
    }
    make().refused(409, "name_taken");
}

/// R9: unknown scopes and fields are refused, and the refusal names valid ones; nothing that was sent is dropped.
#[test]
fn nothing_that_was_sent_is_dropped() {
    let site = site();
    let refused = site
        .admin
        .post("/api/agents", &json!({ "name": "n", "scope": ["agents.read", "agents.fly"] }))
        .refused(400, "unknown_scope");
    assert_eq!(refused["unknown_scopes"], json!(["agents.fly"]));
    assert!(refused["valid_scopes"].as_array().is_some_and(|valid| valid.contains(&json!("agents.read"))));
    for later in ["secrets", "id", "owner", "state", "spent_cents", "nonsense"] {
        let answer = site.admin.post("/api/agents", &json!({ "name": "n", later: "x" }));
        let refused = answer.refused(422, "validation_error");
        assert_eq!(refused["fields"][0]["field"], later);
    }
    let full = json!({
        "name": "full", "display_name": "The full one", "description": "All of it.", "runtime": "docker", "model": "m-1",
        "labels": { "team": "core", "tier": "" }, "preset": "engineer", "expires_in_days": 30, "url": "https://full.example.com/a",
        "tier": 2, "max_concurrent_tasks": 4, "budget_cents": 0, "parent": null,
    });
    let made = site.admin.post("/api/agents", &full).is(201);
    let seen = site.admin.get("/api/agents/full").is(200);
    for (field, _) in full.as_object().unwrap().iter().filter(|(field, _)| *field != "expires_in_days") {
        assert_eq!(made[field], full[field], "{field}");
        assert_eq!(seen[field], full[field], "{field}");
    }
    assert!(seen.get("auth_token").is_none());
}

/// R47: the token of a create works on the next request and lives like any other; agent and token are made together or not at all.
#[test]
fn the_inline_token_works_at_once_and_survives_a_restart() {
    let (mut server, admin) = Server::with_admin();
    let scout = server.agent(&admin, "scout", &["agents.read"]);
    assert_eq!(scout.client.get(WHOAMI).is(200)["agent_name"], "scout");
    let second = server.second();
    scout.client.at(second.host().base_url()).get(WHOAMI).is(200);
    admin.patch("/api/agents/scout", &json!({ "description": "changed" })).is(200);
    server.agent(&admin, "another", &["agents.read"]);
    server.kill_and_restart();
    let after = scout.client.at(server.host().base_url());
    assert_eq!(after.get(WHOAMI).is(200)["agent_id"], scout.id);

    // It is never done by half: when the token cannot be stored, there is no agent either.
    server.execute("CREATE TRIGGER broken BEFORE INSERT ON credentials WHEN NEW.kind = 'agent_token' BEGIN SELECT RAISE(ABORT, 'no'); END");
    let admin = admin.at(server.host().base_url());
    admin.post("/api/agents", &json!({ "name": "half" })).refused(503, "database_unavailable");
    admin.get("/api/agents/half").refused(404, "agent_not_found");
    // R31: no audit row, no change.
    server.execute(
        "DROP TRIGGER broken; CREATE TRIGGER broken BEFORE INSERT ON audit BEGIN SELECT RAISE(ABORT, 'no'); END",
    );
    admin.post("/api/agents", &json!({ "name": "half" })).refused(503, "database_unavailable");
    admin.delete("/api/agents/scout").refused(503, "database_unavailable");
    assert_eq!(server.number("SELECT count(*) FROM agents WHERE name = 'half'"), 0);
    after.get(WHOAMI).is(200);
    server.execute("DROP TRIGGER broken");
    admin.post("/api/agents", &json!({ "name": "half" })).is(201);
}

/// An answer without what may differ between two answers that say the same.
fn essence(answer: &Answer, name: &str) -> (u16, Vec<(String, String)>, String) {
    let mut headers: Vec<(String, String)> = answer
        .headers()
        .iter()
        .filter(|(name, _)| !matches!(name.as_str(), "date" | "x-request-id"))
        .cloned()
        .collect();
    headers.sort();
    let id = answer.header("x-request-id").to_owned();
    (answer.status(), headers, answer.text().replace(&id, "<request>").replace(name, "<name>"))
}

/// The requests about one agent.
const OF_AN_AGENT: [(&str, &str, Option<&str>); 5] = [
    ("GET", "", None),
    ("PATCH", "", Some("{}")),
    ("DELETE", "", None),
    ("POST", "/token/issue", Some("{}")),
    ("DELETE", "/token", None),
];

/// R33: an agent that one may not read is like one that was never there, on every route that names one; R45: with one
/// slug and one fix. The other's agent is untouched.
#[test]
fn absent_and_foreign_agents_cannot_be_told_apart() {
    let site = site();
    let other = site.server.tenant("foreign");
    let foreign = site.server.agent(&other, "their-agent", &["agents.*"]);
    let own = site.server.agent(&site.admin, "admins-agent", &["agents.*"]);
    let gone = site.server.agent(&site.member, "gone-agent", &["agents.*"]);
    site.member.delete("/api/agents/gone-agent").is(204);
    let sibling = site.server.agent(&site.member, "sibling", &["*"]);
    for caller in [&site.member, &sibling.client] {
        let mut fixes = Vec::new();
        for (method, tail, body) in OF_AN_AGENT {
            let ask =
                |name: &str| caller.call(method, &format!("/api/agents/{name}{tail}"), &[], body.map(str::as_bytes));
            let absent = ask("never-there");
            let refused = absent.refused(404, "agent_not_found");
            fixes.push((text(&refused["fix"]).to_owned(), text(&refused["doc_url"]).to_owned()));
            for name in [&foreign.name, &own.name, &gone.name, &foreign.id, &own.id] {
                assert_eq!(essence(&ask(name), name), essence(&absent, "never-there"), "{method} {name}{tail}");
            }
        }
        fixes.dedup();
        assert_eq!(fixes.len(), 1, "{fixes:?}");
        // With a key too: a replay reveals nothing.
        let once = |name: &str| caller.post_once(&format!("/api/agents/{name}/token/issue"), "r33", &json!({}));
        assert_eq!(essence(&once(&own.name), &own.name), essence(&once("never-there"), "never-there"));
        for query in ["", "?q=agent", "?owner=ada@example.com", "?has_token=true", "?state=running"] {
            let seen = caller.get(&format!("/api/agents{query}")).is(200).to_string();
            for name in [&foreign.name, &own.name, &gone.name] {
                assert!(!seen.contains(name.as_str()), "{query}: {seen}");
            }
        }
    }
    for untouched in [&foreign, &own] {
        untouched.client.get(WHOAMI).is(200);
    }
}

/// R33: a user of another tenant, and another's session, are absent too.
#[test]
fn absent_and_foreign_users_and_sessions_cannot_be_told_apart() {
    let site = site();
    let other = site.server.tenant("far");
    let them = other.get(WHOAMI).is(200);
    let (user, session) = (text(&them["user_id"]), text(&them["credential"]["id"]));
    for (method, path, body, slug) in [
        ("GET", "/api/users/<id>", None, "user_not_found"),
        ("PATCH", "/api/users/<id>", Some("{\"role\":\"viewer\"}"), "user_not_found"),
        ("DELETE", "/api/users/<id>?agents=archive", None, "user_not_found"),
        ("POST", "/api/users/<id>/activate", None, "user_not_found"),
        ("POST", "/api/users/<id>/deactivate", None, "user_not_found"),
        ("POST", "/api/users/<id>/set-password", Some("{\"password\":\"another quiet orbit\"}"), "user_not_found"),
        ("DELETE", "/auth/sessions/<id>", None, "session_not_found"),
    ] {
        let ask = |id: &str| site.admin.call(method, &path.replace("<id>", id), &[], body.map(str::as_bytes));
        let absent = ask("usr_00000000000000000000000000");
        absent.refused(404, slug);
        for foreign in [user, session] {
            assert_eq!(
                essence(&ask(foreign), foreign),
                essence(&absent, "usr_00000000000000000000000000"),
                "{method} {path}"
            );
        }
    }
    other.get(WHOAMI).is(200);
    // A session of a colleague is as absent as a stranger's.
    let colleague = text(&site.member.get(WHOAMI).is(200)["credential"]["id"]).to_owned();
    site.admin.delete(&format!("/auth/sessions/{colleague}")).refused(404, "session_not_found");
    site.member.get(WHOAMI).is(200);
}

/// A path segment that cannot be a name is an absent agent, whatever is in it.
#[test]
fn what_can_be_no_name_is_an_absent_agent() {
    let site = site();
    for segment in
        ["%2e%2e", "..%2f..", "%00", "a%20b", "%ff", "%F0%9F%A6%80", "'%20OR%201=1--", "%25", "A", &"x".repeat(5000)]
    {
        site.admin.get(&format!("/api/agents/{segment}")).refused(404, "agent_not_found");
        site.admin.delete(&format!("/api/agents/{segment}")).refused(404, "agent_not_found");
    }
}

/// R34: a caller that may read an agent but not change it is told what is missing. (Shared through the database: no route does it yet.)
#[test]
fn a_reader_is_told_what_is_missing() {
    let site = site();
    let shared = site.server.agent(&site.admin, "shared", &["agents.read"]);
    let reader = text(&site.member.get(WHOAMI).is(200)["user_id"]).to_owned();
    site.server.execute(&format!(
        "INSERT INTO grants SELECT id, '{reader}', 'viewer', tenant_id, 0, owner_id FROM agents WHERE id = '{}'",
        shared.id
    ));
    site.member.get("/api/agents/shared").is(200);
    for (method, tail, body) in OF_AN_AGENT.into_iter().skip(1) {
        let answer = site.member.call(method, &format!("/api/agents/shared{tail}"), &[], body.map(str::as_bytes));
        let refused = answer.refused(403, "permission_denied");
        assert!(refused["required_relations"].as_array().is_some_and(|missing| !missing.is_empty()), "{refused}");
        assert!(text(&refused["fix"]).contains("ada@example.com"), "{refused}");
    }
    shared.client.get(WHOAMI).is(200);
}

/// R8: an agent raises no ceiling, not even its own, and a PAT gives no scope that it lacks; an agent can change
/// what it may change of itself.
#[test]
fn no_caller_raises_its_own_rights() {
    let site = site();
    let climber = site.server.agent(&site.admin, "climber", &["agents.read", "agents.update", "agents.token.issue"]);
    climber.client.patch("/api/agents/climber", &json!({ "description": "climbs" })).is(200);
    for body in [json!({ "scope": ["*"] }), json!({ "preset": "engineer" }), json!({ "scope": ["agents.read"] })] {
        climber.client.patch("/api/agents/climber", &body).refused(403, "person_required");
    }
    let pat = site.server.plant_pat(&site.admin, "agents.read agents.update agents.token.issue");
    pat.patch("/api/agents/climber", &json!({ "scope": ["agents.read", "agents.delete"] }))
        .refused(400, "scope_too_wide");
    pat.patch("/api/agents/climber", &json!({ "preset": "engineer" })).refused(400, "scope_too_wide");
    // Nobody mints beyond the agent's ceiling, not even a session.
    let issue = "/api/agents/climber/token/issue";
    site.admin.post(issue, &json!({ "scope": ["agents.delete"] })).refused(400, "scope_too_wide");
    site.admin.post(issue, &json!({ "preset": "engineer" })).refused(400, "scope_too_wide");
    let scope = climber.client.get(WHOAMI).is(200)["scope"].clone();
    assert_eq!(scope, json!(["agents.read", "agents.update", "agents.token.issue"]));
}

/// R42: an agent's credentials end with it; an agent that reuses its name inherits nothing.
#[test]
fn a_reused_name_inherits_nothing() {
    let site = site();
    let first = site.server.agent(&site.member, "phoenix", &["agents.*"]);
    let next = site.server.with(text(
        &site.member.post("/api/agents/phoenix/token/issue", &json!({ "grace_seconds": 600 })).is(200)["token"],
    ));
    site.member.delete("/api/agents/phoenix").is(204);
    for dead in [&first.client, &next] {
        dead.get(WHOAMI).refused(401, "token_revoked");
    }
    let second = site.server.agent(&site.member, "phoenix", &["agents.read"]);
    assert_eq!(second.name, "phoenix");
    assert_ne!(second.id, first.id);
    for dead in [&first.client, &next] {
        dead.get(WHOAMI).refused(401, "token_revoked");
    }
    assert_eq!(second.client.get(WHOAMI).is(200)["scope"], json!(["agents.read"]));
}

/// R37: a delete ends the agent that it looked up. Names change hands while many delete by name; every row that ends was ended by
/// exactly one answered delete, and every token is live exactly if its agent is.
#[test]
fn a_delete_ends_what_it_looked_up_and_nothing_else() {
    let (server, admin) = Server::with_admin();
    let second = server.second();
    let done = at_once(8, |number| {
        let at = if number % 2 == 0 { &server } else { &second };
        let admin = admin.at(at.host().base_url());
        let (mut deleted, mut made) = (0_i64, Vec::new());
        for _ in 0..15 {
            let answer = admin.post("/api/agents", &json!({ "name": "relay", "scope": ["agents.read"] }));
            if answer.status() == 201 {
                let agent = answer.json();
                made.push((text(&agent["id"]).to_owned(), text(&agent["auth_token"]).to_owned()));
            } else {
                answer.refused(503, "database_unavailable");
            }
            let answer = admin.delete("/api/agents/relay");
            match answer.status() {
                204 => deleted += 1,
                404 => _ = answer.refused(404, "agent_not_found"),
                _ => _ = answer.refused(503, "database_unavailable"),
            }
        }
        (deleted, made)
    });
    let deleted: i64 = done.iter().map(|(deleted, _)| deleted).sum();
    assert!(deleted > 0);
    assert_eq!(server.number("SELECT count(*) FROM agents WHERE archived_at IS NOT NULL"), deleted);
    assert_eq!(
        server.number("SELECT count(*) FROM audit WHERE action = 'agent.archive' AND outcome = 'done'"),
        deleted
    );
    assert_eq!(server.number("SELECT count(DISTINCT object_id) FROM audit WHERE action = 'agent.archive'"), deleted);
    for (id, token) in done.into_iter().flat_map(|(_, made)| made) {
        let is_archived = server.number(&format!("SELECT archived_at IS NOT NULL FROM agents WHERE id = '{id}'")) == 1;
        let answer = server.with(&token).get(WHOAMI);
        if is_archived {
            answer.refused(401, "token_revoked");
        } else {
            assert_eq!(answer.is(200)["agent_id"], json!(id));
        }
    }
}

/// R36: a list is paged without gaps or repetitions, also while others add to it.
#[test]
fn a_list_is_paged_without_gaps() {
    let (server, admin) = Server::with_admin();
    let mia = server.user(&admin, "mia@example.com", "member");
    for number in 0..24 {
        let owner = if number % 2 == 0 { &mia } else { &admin };
        owner.post("/api/agents", &json!({ "name": format!("a-{number}"), "issue_token": false })).is(201);
    }
    let (mut seen, mut cursor, mut pages) = (Vec::new(), String::new(), 0);
    loop {
        let page = mia.get(&format!("/api/agents?limit=5{cursor}")).is(200);
        seen.extend(page["items"].as_array().into_iter().flatten().map(|agent| text(&agent["name"]).to_owned()));
        pages += 1;
        // Newer than all that is listed: on no later page.
        mia.post("/api/agents", &json!({ "name": format!("later-{pages}"), "issue_token": false })).is(201);
        let Json::String(next) = &page["next_cursor"] else { break };
        cursor = format!("&cursor={next}");
    }
    let expected: Vec<String> =
        (0..24).rev().filter(|number| number % 2 == 0).map(|number| format!("a-{number}")).collect();
    assert_eq!((seen, pages), (expected, 3));
    // A cursor is bound to caller and filters.
    let next = text(&mia.get("/api/agents?limit=5").is(200)["next_cursor"]).to_owned();
    admin.get(&format!("/api/agents?limit=5&cursor={next}")).refused(400, "invalid_cursor");
    mia.get(&format!("/api/agents?limit=5&q=a&cursor={next}")).refused(400, "invalid_cursor");
    for (query, slug) in [
        ("limit=0", "invalid_limit"),
        ("limit=201", "invalid_limit"),
        ("cursor=x", "invalid_cursor"),
        ("state=dead", "invalid_filter"),
    ] {
        mia.get(&format!("/api/agents?{query}")).refused(400, slug);
    }
    for query in ["limit=x", "nonsense=1", "limit=1&limit=2"] {
        mia.get(&format!("/api/agents?{query}")).refused(422, "validation_error");
    }
}

/// R85: a cursor is bound to everything in the query but itself and `limit`, whatever order the filters have, and to the credential; and it
/// cannot be changed.
#[test]
fn a_cursor_belongs_to_its_filters_and_to_its_credential() {
    let (server, admin) = Server::with_admin();
    for name in ["scout", "guide", "third"] {
        server.agent(&admin, name, &["agents.read"]);
    }
    let filters = "state=running&owner=ada%40example.com&q=";
    let page = admin.get(&format!("/api/agents?limit=1&{filters}")).is(200);
    let cursor = text(&page["next_cursor"]).to_owned();
    for same in [
        format!("limit=1&{filters}&cursor={cursor}"),
        format!("cursor={cursor}&{filters}"),
        format!("owner=ada%40example.com&cursor={cursor}&q=&limit=2&state=running"),
    ] {
        let next = admin.get(&format!("/api/agents?{same}")).is(200);
        assert_ne!(next["items"][0]["id"], page["items"][0]["id"]);
    }
    let refused = |client: &Client, query: &str| {
        client.get(&format!("/api/agents?{query}")).refused(400, "invalid_cursor");
    };
    for other in
        ["", "state=running", "state=running&owner=ada%40example.com", "state=stopped&owner=ada%40example.com&q="]
    {
        refused(&admin, &format!("{other}&cursor={cursor}"));
    }
    refused(&admin, &format!("{filters}&has_token=true&cursor={cursor}"));
    for changed in
        [format!("{cursor}A"), cursor[..cursor.len() - 1].to_owned(), format!("A{}", &cursor[1..]), "A".repeat(90)]
    {
        if changed != cursor {
            refused(&admin, &format!("{filters}&cursor={changed}"));
        }
    }
    for other in [server.sign_in("ada@example.com", None), server.plant_pat(&admin, "*")] {
        refused(&other, &format!("{filters}&cursor={cursor}"));
    }
}

/// A cursor is bound to its list: no other list takes it, also when both have the same filters.
#[test]
fn a_cursor_belongs_to_its_list() {
    let (server, admin) = Server::with_admin();
    for name in ["scout", "guide"] {
        server.agent(&admin, name, &["agents.read"]);
        server.user(&admin, &format!("{name}@example.com"), "member");
        admin.post("/auth/tokens", &json!({ "name": name, "scope": ["agents.read"] })).is(201);
    }
    server.sign_in("ada@example.com", None);
    let lists = ["/api/agents", "/api/users", "/api/audit", "/auth/sessions", "/auth/tokens", "/auth/admin/tokens"];
    let cursors = lists.map(|list| text(&admin.get(&format!("{list}?limit=1")).is(200)["next_cursor"]).to_owned());
    for (from, cursor) in lists.iter().zip(&cursors) {
        for list in lists {
            let answer = admin.get(&format!("{list}?limit=1&cursor={cursor}"));
            if list == *from {
                answer.is(200)
            } else {
                answer.refused(400, "invalid_cursor")
            };
        }
    }
}
