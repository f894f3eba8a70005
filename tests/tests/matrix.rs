//! R12: every route of the table against every kind of credential, every role and every single scope. A caller
//! is let in exactly where the design says; no request has an effect, since each carries a query parameter that no route
//! knows: a caller whose refusal names this parameter has passed the guard.

#![expect(clippy::indexing_slicing, reason = "helpers of tests: whatever is not as expected ends the test")]

use std::collections::BTreeSet;

use serde_json::json;
use tests::{
    Answer, Client, Server,
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
}

fn rows(server: &Server) -> Vec<Row> {
    let routes = server.routes();
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
        })
        // What comes behind a proxy's own path is not looked at: `auth` tests it.
        .filter(|row| row.access != "public" && !row.path.contains("{*"))
        .collect()
}

/// Sends a request that no route carries out.
fn ask(client: &Client, row: &Row) -> Answer {
    client.call(&row.method, &format!("{}?not-a-parameter=1", row.path), &[], None)
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

fn check(caller: &Caller, row: &Row) {
    let (what, answer) = (format!("{} at {} {}", caller.what, row.method, row.path), ask(&caller.client, row));
    assert_eq!(answer.header("cache-control"), "no-store", "{what}");
    match expected(caller, row) {
        None => {
            let refused = answer.is(422);
            assert_eq!(refused["fields"][0]["field"], "not-a-parameter", "{what}: {refused}");
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

/// The tests of this file must change nothing.
fn fingerprint(server: &Server) -> Vec<i64> {
    [
        "SELECT count(*) FROM users",
        "SELECT count(*) FROM agents",
        "SELECT count(*) FROM agents WHERE archived_at IS NOT NULL",
        "SELECT count(*) FROM credentials",
        "SELECT count(*) FROM credentials WHERE revoked_at IS NOT NULL",
        "SELECT count(*) FROM audit WHERE outcome = 'done'",
        "SELECT count(*) FROM idempotency",
    ]
    .map(|sql| server.number(sql))
    .to_vec()
}

fn person(server: &Server, admin: &Client, role: &str) -> Client {
    server.user(admin, &format!("{role}@example.com"), role)
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
        for row in &rows {
            check(caller, row);
        }
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
        for row in &rows {
            check(caller, row);
        }
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
        for row in &rows {
            check(caller, row);
        }
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
        for row in &rows {
            check(&caller, row);
        }
    }
    admin.patch("/api/agents/everything", &json!({ "scope": ["agents.read"] })).is(200);
    let caller = Caller {
        what: "an agent with a narrowed ceiling".to_owned(),
        kind: Kind::Agent,
        client: agent.client.clone(),
        scope: BTreeSet::from(["agents.read"]),
    };
    for row in &rows {
        check(&caller, row);
    }
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
