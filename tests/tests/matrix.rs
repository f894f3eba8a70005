//! R12, R395: every route of the table against every kind of credential, every role and every single scope: over HTTP, and once more as a
//! tool of a model where it is one. A caller is let in exactly where the design says; no request has an effect, since each carries a
//! parameter that no route knows: a caller whose refusal names this parameter has passed the guard.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "helpers of tests: whatever is not as expected ends the test"
)]

use std::collections::BTreeSet;

use serde_json::{Map, Value as Json, json};
use tests::{
    Answer, Client, Server, host, mcp,
    server::{PASSWORD, text},
};

/// Contract: all scopes there are.
const SCOPES: [&str; 34] = [
    "agents.list",
    "agents.read",
    "agents.logs",
    "agents.create",
    "agents.update",
    "agents.delete",
    "agents.lifecycle",
    "agents.deploy",
    "agents.share",
    "agents.message",
    "agents.stop_all",
    "agents.token.issue",
    "agents.token.revoke",
    "agents.keys.read",
    "agents.keys.write",
    "agents.secrets.read",
    "agents.secrets.write",
    "ui.notify",
    "notifications.read",
    "notifications.write",
    "tokens.read",
    "tokens.write",
    "tokens.admin",
    "tokens.introspect",
    "users.read",
    "users.write",
    "audit.read",
    "audit.read_all",
    "webhooks.read",
    "webhooks.write",
    "guides.read",
    "guides.write",
    "presets.write",
    "scopes.write",
];

const ROLES: [&str; 4] = ["viewer", "member", "curator", "admin"];

/// Design, section 2: the most that a role can do.
fn ceiling(role: &str) -> BTreeSet<&'static str> {
    let viewer = |scope: &str| {
        matches!(scope, "agents.list" | "agents.read" | "audit.read" | "guides.read" | "tokens.read" | "tokens.write")
            || scope.starts_with("notifications.")
    };
    let member = |scope: &str| {
        viewer(scope)
            || (scope.starts_with("agents.") && scope != "agents.stop_all")
            || scope == "ui.notify"
            || scope.starts_with("webhooks.")
    };
    let allowed = |scope: &&str| match role {
        "viewer" => viewer(scope),
        "member" => member(scope),
        "curator" => member(scope) || *scope == "guides.write",
        _ => true,
    };
    SCOPES.into_iter().filter(allowed).collect()
}

/// Design, section 2: the scopes that no agent can use, whatever it carries.
fn is_for_people(scope: &str) -> bool {
    scope.starts_with("users.")
        || scope.starts_with("webhooks.")
        || matches!(scope, "tokens.admin" | "audit.read_all" | "agents.stop_all" | "presets.write" | "scopes.write")
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Session,
    Pat,
    Agent,
}

struct Caller {
    what: String,
    kind: Kind,
    client: Client,
    /// The scopes that it can use at most.
    scope: BTreeSet<&'static str>,
}

struct Row {
    method: String,
    path: String,
    access: String,
    for_people: bool,
    for_agents: bool,
    session_only: bool,
    while_halted: bool,
    tool: Option<Tool>,
}

/// A row as a tool of models.
struct Tool {
    name: String,
    /// What it cannot do without, and a parameter that it does not know.
    arguments: Json,
}

/// What a parameter that no route knows is called.
const UNKNOWN: &str = "not-a-parameter";

/// The tools, as the server describes them to models.
fn described() -> Map<String, Json> {
    let path = host::root().join("docs/reference/mcp.json");
    let reference = std::fs::read_to_string(path).expect("the reference of tools");
    let reference: Json = serde_json::from_str(&reference).expect("JSON");
    reference["tools"].as_object().cloned().expect("tools")
}

/// The tool of a route.
fn tool(tools: &Map<String, Json>, route: &str) -> Option<Tool> {
    let (name, tool) = tools.iter().find(|(_, tool)| tool["_meta"]["accredit/route"] == route)?;
    let schema = &tool["inputSchema"];
    let mut arguments = json!({ UNKNOWN: 1 });
    for property in schema["required"].as_array().into_iter().flatten().map(text) {
        if schema["properties"][property]["minLength"] == 1 {
            arguments[property] = json!("none");
        }
    }
    Some(Tool { name: name.clone(), arguments })
}

fn rows(server: &Server) -> Vec<Row> {
    let (routes, tools) = (server.routes(), described());
    routes
        .iter()
        .map(|route| Row {
            method: text(&route["method"]).to_owned(),
            path: text(&route["path"])
                .replace("{name}", "target")
                .replace("{id}", "some-id")
                .replace("{key}", "SOME_KEY"),
            access: text(&route["access"]).to_owned(),
            for_people: route["for_people"] == true,
            for_agents: route["for_agents"] == true,
            session_only: route["session_only"] == true,
            while_halted: route["while_halted"] == true,
            tool: tool(&tools, &format!("{} {}", text(&route["method"]), text(&route["path"]))),
        })
        // What comes behind a proxy's own path is not looked at: `auth` tests it.
        .filter(|row| row.access != "public" && !row.path.contains("{*"))
        .collect()
}

/// Sends a request that no route carries out.
fn ask(client: &Client, row: &Row) -> Answer {
    client.call(&row.method, &format!("{}?{UNKNOWN}=1", row.path), &[], None)
}

/// Calls a tool so that it is not carried out.
fn ask_tool(client: &Client, tool: &Tool) -> Answer {
    mcp::send(client, "tools/call", &json!({ "name": tool.name, "arguments": tool.arguments }))
}

/// The envelope of a tool's refusal, as a model reads it.
#[track_caller]
fn told(answer: &Answer, what: &str) -> Json {
    let result = answer.is(200)["result"].clone();
    assert_eq!(result["isError"], true, "{what}: {result}");
    result["structuredContent"].clone()
}

/// The slug of the refusal that the design demands, or none for a caller that is let in.
fn expected(caller: &Caller, row: &Row) -> Option<&'static str> {
    if row.session_only && caller.kind != Kind::Session {
        Some("session_required")
    } else if row.for_people && caller.kind == Kind::Agent {
        Some("person_required")
    } else if row.for_agents && caller.kind != Kind::Agent {
        Some("agent_required")
    } else if row.access != "credential" && !caller.scope.contains(row.access.as_str()) {
        Some("scope_denied")
    } else {
        None
    }
}

/// One caller at one row, by both ways.
fn check(caller: &Caller, row: &Row) {
    check_http(caller, row);
    if let Some(tool) = &row.tool {
        check_tool(caller, row, tool);
    }
}

fn check_http(caller: &Caller, row: &Row) {
    let (what, answer) = (format!("{} at {} {}", caller.what, row.method, row.path), ask(&caller.client, row));
    assert_eq!(answer.header("cache-control"), "no-store", "{what}");
    match expected(caller, row) {
        None => {
            let refused = answer.is(422);
            assert_eq!(refused["fields"][0]["field"], UNKNOWN, "{what}: {refused}");
        }
        Some(slug) => {
            assert_eq!(answer.json()["error"], slug, "{what}: {}", answer.text());
            let refused = answer.refused(403, slug);
            if slug == "scope_denied" {
                // All that is missing, at once.
                assert_eq!(refused["missing_scopes"], json!([row.access]), "{what}");
                assert_eq!(refused["required_scopes"], json!([row.access]), "{what}");
            }
        }
    }
}

/// R395: what HTTP allows a caller, its tool allows, and nothing else.
fn check_tool(caller: &Caller, row: &Row, tool: &Tool) {
    let (what, answer) = (format!("{} at the tool {}", caller.what, tool.name), ask_tool(&caller.client, tool));
    assert_eq!(answer.header("cache-control"), "no-store", "{what}");
    match expected(caller, row) {
        None => {
            let refused = told(&answer, &what);
            assert_eq!(refused["error"], "validation_error", "{what}: {refused}");
            let mut fields = refused["fields"].as_array().into_iter().flatten();
            assert!(fields.any(|field| field["field"] == UNKNOWN), "{what}: {refused}");
        }
        Some("scope_denied") => {
            // An agent has asked for it by this; a person's client can get a token with more, from its person, where their role allows it.
            let refused = if caller.kind == Kind::Agent {
                told(&answer, &what)
            } else if answer.header("www-authenticate").is_empty() {
                let refused = told(&answer, &what);
                assert!(text(&refused["fix"]).contains("raise your role"), "{what}: {refused}");
                refused
            } else {
                let challenge = format!("error=\"insufficient_scope\", scope=\"{}\"", row.access);
                assert!(answer.header("www-authenticate").contains(&challenge), "{what}: {answer:?}");
                answer.is(403)["error"]["data"].clone()
            };
            assert_eq!(refused["error"], "scope_denied", "{what}: {refused}");
            assert_eq!(refused["missing_scopes"], json!([row.access]), "{what}");
        }
        Some(slug) => assert_eq!(told(&answer, &what)["error"], slug, "{what}"),
    }
}

/// R395: a caller is shown the tools that let it in, and no other.
fn check_list(caller: &Caller, rows: &[Row]) {
    // What a credential may always do with itself is listed, and a call that names another one is refused.
    let own = ["token_issue", "pats_get", "pats_revoke", "deploy_failed"];
    let listed = mcp::send(&caller.client, "tools/list", &json!({})).is(200)["result"]["tools"].clone();
    let listed: BTreeSet<&str> = listed.as_array().into_iter().flatten().map(|tool| text(&tool["name"])).collect();
    for row in rows {
        let Some(tool) = &row.tool else { continue };
        let is_let_in = expected(caller, row).is_none();
        let is_listed = listed.contains(tool.name.as_str());
        let is_own = own.contains(&tool.name.as_str()) && !is_let_in;
        assert!(is_listed == is_let_in || is_own, "{} at the tool {}: {is_listed}", caller.what, tool.name);
    }
}

fn check_all(caller: &Caller, rows: &[Row]) {
    for row in rows {
        check(caller, row);
    }
    check_list(caller, rows);
}

/// The tests of this file must change nothing.
fn fingerprint(server: &Server) -> Vec<i64> {
    [
        "SELECT count(*) FROM users",
        "SELECT count(*) FROM agents",
        "SELECT count(*) FROM agents WHERE archived_at IS NOT NULL",
        "SELECT count(*) FROM credentials",
        "SELECT count(*) FROM credentials WHERE revoked_at IS NOT NULL",
        // A tool that an agent lacks a scope for has asked for it.
        "SELECT count(*) FROM audit WHERE outcome = 'done' AND action <> 'access.request'",
        "SELECT count(*) FROM idempotency",
    ]
    .map(|sql| server.number(sql))
    .to_vec()
}

fn person(server: &Server, admin: &Client, role: &str) -> Client {
    server.user(admin, &format!("{role}@example.com"), role)
}

/// R395: every tool is a row of the table, and what takes a session is none: no model decides for a person.
#[test]
fn every_tool_is_a_row_that_takes_more_than_sessions() {
    let server = Server::empty();
    server.bootstrap();
    let rows = rows(&server);
    let tools: BTreeSet<String> = rows.iter().filter_map(|row| Some(row.tool.as_ref()?.name.clone())).collect();
    assert_eq!(tools, described().keys().cloned().collect());
    assert!(tools.len() > 80, "{}", tools.len());
    for row in rows.iter().filter(|row| row.session_only) {
        assert!(row.tool.is_none(), "{} {}", row.method, row.path);
    }
}

#[test]
fn without_a_credential_every_route_of_the_table_but_the_public_ones_is_closed() {
    let server = Server::empty();
    server.bootstrap();
    for row in rows(&server) {
        for (client, slug) in [
            (server.nobody(), "missing_credential"),
            (server.with("nonsense"), "invalid_token"),
            (server.with(&tests::secret::credential("acr_ses_")), "invalid_token"),
        ] {
            ask(&client, &row).refused(401, slug);
            if let Some(tool) = &row.tool {
                let refused = ask_tool(&client, tool).is(401);
                assert_eq!(refused["error"]["data"]["error"], slug, "{}: {refused}", tool.name);
            }
        }
    }
}

#[test]
fn no_role_reaches_beyond_its_ceiling_by_session_or_pat() {
    let (server, admin) = Server::with_admin();
    let rows = rows(&server);
    let mut callers = Vec::new();
    for role in ROLES {
        let session = person(&server, &admin, role);
        let pat = server.plant_pat(&session, "*");
        let caller = |what: &str, kind: Kind, client: Client| Caller {
            what: format!("{what} of a {role}"),
            kind,
            client,
            scope: ceiling(role),
        };
        callers.extend([caller("the session", Kind::Session, session), caller("a PAT with *", Kind::Pat, pat)]);
    }
    let before = fingerprint(&server);
    for caller in &callers {
        let whoami = caller.client.get("/api/auth/whoami").is(200)["scope"].clone();
        if whoami != json!(["*"]) {
            let names: BTreeSet<&str> = whoami.as_array().into_iter().flatten().map(text).collect();
            assert_eq!(names, caller.scope, "{}", caller.what);
        } else {
            assert_eq!(caller.scope.len(), SCOPES.len(), "{}", caller.what);
        }
        check_all(caller, &rows);
    }
    assert_eq!(fingerprint(&server), before);
}

/// R7: a PAT reaches nothing that is for sessions only, whatever its scope.
#[test]
fn a_pat_with_one_scope_reaches_the_routes_of_that_scope() {
    let (server, admin) = Server::with_admin();
    let rows = rows(&server);
    let callers: Vec<Caller> = SCOPES
        .map(|scope| Caller {
            what: format!("a PAT with {scope}"),
            kind: Kind::Pat,
            client: server.plant_pat(&admin, scope),
            scope: BTreeSet::from([scope]),
        })
        .into();
    let before = fingerprint(&server);
    for caller in &callers {
        check_all(caller, &rows);
    }
    assert_eq!(fingerprint(&server), before);
}

#[test]
fn an_agents_token_with_one_scope_reaches_the_routes_of_that_scope() {
    let (server, admin) = Server::with_admin();
    let rows = rows(&server);
    let callers: Vec<Caller> = SCOPES
        .map(|scope| Caller {
            what: format!("an agent with {scope}"),
            kind: Kind::Agent,
            client: server.agent(&admin, &format!("only {scope}"), &[scope]).client,
            scope: if is_for_people(scope) { BTreeSet::new() } else { BTreeSet::from([scope]) },
        })
        .into();
    let before = fingerprint(&server);
    for caller in &callers {
        check_all(caller, &rows);
    }
    assert_eq!(fingerprint(&server), before);
}

/// R41: an agent that carries everything has its ceiling and its owner's role, as they are now.
#[test]
fn an_agents_authority_follows_its_owners_role_and_its_ceiling() {
    let (server, admin) = Server::with_admin();
    let rows = rows(&server);
    let owner = person(&server, &admin, "admin");
    let agent = server.agent(&owner, "everything", &["*"]);
    for role in ROLES {
        server.execute(&format!("UPDATE users SET role = '{role}' WHERE email_key = 'admin@example.com'"));
        let scope = ceiling(role).into_iter().filter(|scope| !is_for_people(scope)).collect();
        let caller = Caller {
            what: format!("an agent with * of a {role}"),
            kind: Kind::Agent,
            client: agent.client.clone(),
            scope,
        };
        check_all(&caller, &rows);
    }
    admin.patch("/api/agents/everything", &json!({ "scope": ["agents.read"] })).is(200);
    let caller = Caller {
        what: "an agent with a narrowed ceiling".to_owned(),
        kind: Kind::Agent,
        client: agent.client.clone(),
        scope: BTreeSet::from(["agents.read"]),
    };
    check_all(&caller, &rows);
    // R41: an agent of an admin is not an admin.
    admin.patch("/api/agents/everything", &json!({ "scope": ["*"] })).is(200);
    let other = server.agent(&admin, "other", &["agents.read"]);
    for (method, path) in [("GET", ""), ("DELETE", ""), ("POST", "/token/issue"), ("DELETE", "/token")] {
        agent.client.call(method, &format!("/api/agents/other{path}"), &[], None).refused(404, "agent_not_found");
    }
    other.client.get("/api/auth/whoami").is(200);
}

/// R7: neither a PAT nor an agent makes a user, a session or a password: by header, by cookie, by both.
#[test]
fn no_pat_and_no_agent_changes_people() {
    let (server, admin) = Server::with_admin();
    let pat = server.plant_pat(&admin, "*");
    let agent = server.agent(&admin, "climber", &["*"]).client;
    let id = text(&admin.get("/api/auth/whoami").is(200)["user_id"]).to_owned();
    let set_password = format!("/api/users/{id}/set-password");
    let user = json!({ "email": "mallory@example.com", "name": "M", "role": "admin" }).to_string();
    let password = json!({ "password": "another quiet orbit" }).to_string();
    let before = fingerprint(&server);
    for climber in [&pat, &agent] {
        let cookie = format!("accredit={}", climber.bearer());
        for (path, body) in [("/api/users", &user), (&set_password, &password)] {
            climber.call("POST", path, &[], Some(body.as_bytes())).refused(403, "session_required");
            climber.call("POST", path, &[("cookie", &cookie)], Some(body.as_bytes())).refused(403, "session_required");
            let by_cookie = server.nobody().call("POST", path, &[("cookie", &cookie)], Some(body.as_bytes()));
            by_cookie.refused(401, "invalid_token");
            // A session's cookie beside it does not help: the header decides alone.
            let both = format!("accredit={}", admin.bearer());
            climber.call("POST", path, &[("cookie", &both)], Some(body.as_bytes())).refused(403, "session_required");
        }
    }
    assert_eq!(fingerprint(&server), before);
    server.nobody().post("/auth/token", &json!({ "email": "ada@example.com", "password": PASSWORD })).is(200);
}

/// R43: a halted agent may ask who it is and how it stands, and nothing else; over its budget no more.
#[test]
fn a_halted_agent_is_refused_on_its_next_request() {
    let (server, admin) = Server::with_admin();
    let agent = server.agent(&admin, "halting", &["*"]);
    let open = [
        "GET /api/auth/whoami",
        "GET /api/auth/can",
        "GET /api/auth/doctor",
        "GET /api/access-requests/some-id",
        "GET /api/agents/me/inbox",
        "GET /api/agents/me/inbox/stream",
        "POST /api/agents/me/heartbeat",
        "DELETE /auth/tokens/me",
    ];
    let refused_everywhere = |status: u16, slug: &str| {
        for row in &rows(&server) {
            let named = format!("{} {}", row.method, row.path);
            assert_eq!(row.while_halted, open.contains(&named.as_str()), "{named}");
            if !row.while_halted {
                // Some proxies take a 402 for a failure.
                let status = if row.path == "/auth/verify" { 403 } else { status };
                ask(&agent.client, row).refused(status, slug);
            }
            let Some(tool) = &row.tool else { continue };
            let refused = told(&ask_tool(&agent.client, tool), &tool.name);
            let slug = match (row.while_halted, row.for_people) {
                (false, _) => slug,
                (true, true) => "person_required",
                (true, false) => "validation_error",
            };
            assert_eq!(refused["error"], slug, "{}: {refused}", tool.name);
        }
    };
    for (verb, back, state, slug) in
        [("pause", "resume", "paused", "agent_paused"), ("stop", "start", "stopped", "agent_stopped")]
    {
        admin.post(&format!("/api/agents/halting/{verb}"), &json!({})).is(200);
        assert_eq!(agent.client.get("/api/auth/whoami").is(200)["agent_state"], state);
        assert_eq!(agent.client.post("/api/agents/me/heartbeat", &json!({})).is(200)["state"], state);
        refused_everywhere(403, slug);
        admin.post(&format!("/api/agents/halting/{back}"), &json!({})).is(200);
        agent.client.get("/api/agents/halting").is(200);
    }
    admin.patch("/api/agents/halting", &json!({ "budget_cents": 100 })).is(200);
    agent.client.post("/api/agents/me/heartbeat", &json!({ "spent_cents": 101 })).is(200);
    refused_everywhere(402, "over_budget");
    admin.patch("/api/agents/halting", &json!({ "spent_cents": 0 })).is(200);
    agent.client.get("/api/agents/halting").is(200);
}
