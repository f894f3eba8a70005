//! R43: `GET /api/auth/can` is the decision of the route itself. Each caller asks first, then sends the request: it is refused with 403
//! or 404 exactly where the answer said so, route by route and field by field.

#![expect(
    clippy::indexing_slicing,
    clippy::panic,
    reason = "helpers of tests: whatever is not as expected ends the test"
)]

use serde_json::{Value as Json, json};
use tests::{Client, Server, server::text};

/// A request, and the question about it.
struct Attempt {
    scope: &'static str,
    method: &'static str,
    path: &'static str,
    body: Option<Json>,
    /// A field of the body that the row decides about.
    field: Option<&'static str>,
}

fn attempt(scope: &'static str, method: &'static str, path: &'static str) -> Attempt {
    Attempt { scope, method, path, body: None, field: None }
}

impl Attempt {
    fn body(self, body: Json) -> Self {
        Self { body: Some(body), ..self }
    }

    fn field(self, field: &'static str) -> Self {
        Self { field: Some(field), ..self }
    }
}

fn attempts() -> Vec<Attempt> {
    let empty = || json!({});
    vec![
        attempt("agents.read", "GET", "/api/agents/{name}"),
        attempt("agents.read", "GET", "/api/agents/{name}/export"),
        attempt("agents.update", "PATCH", "/api/agents/{name}").body(json!({ "description": "d" })),
        attempt("agents.update", "PATCH", "/api/agents/{name}")
            .body(json!({ "owner": "mia@example.com" }))
            .field("owner"),
        attempt("agents.update", "PATCH", "/api/agents/{name}").body(json!({ "parent": "boss" })).field("parent"),
        attempt("agents.logs", "GET", "/api/agents/{name}/logs"),
        attempt("agents.logs", "POST", "/api/agents/{name}/logs").body(json!({ "text": "line" })),
        attempt("agents.lifecycle", "POST", "/api/agents/{name}/restart").body(empty()),
        attempt("agents.share", "GET", "/api/agents/{name}/grants"),
        attempt("agents.message", "POST", "/api/agents/{name}/messages").body(json!({ "text": "hello" })),
        attempt("agents.keys.read", "GET", "/api/agents/{name}/keys"),
        attempt("agents.keys.read", "GET", "/api/agents/{name}/keys/{id}"),
        attempt("agents.keys.read", "GET", "/api/agents/{name}/keys/{id}/grants"),
        attempt("agents.keys.write", "POST", "/api/agents/{name}/keys/{id}/rotate").body(empty()),
        attempt("agents.keys.write", "POST", "/api/agents/{name}/keys/{id}/grants")
            .body(json!({ "subject": "max@example.com", "relation": "viewer" })),
    ]
}

/// What `can` says of the attempt.
fn told(client: &Client, attempt: &Attempt, key: &str) -> bool {
    let object = if attempt.path.contains("{id}") { key } else { "target" };
    let answer = client.get(&format!("/api/auth/can?action={}&object={object}", attempt.scope)).is(200);
    let is_it = |route: &&Json| route["method"] == attempt.method && route["path"] == attempt.path;
    let route = answer["routes"].as_array().and_then(|routes| routes.iter().find(is_it));
    let route = route.unwrap_or_else(|| panic!("no {} {} in {answer}", attempt.method, attempt.path));
    let decided = attempt.field.map_or(&route["allowed"], |field| &route["fields"][field]);
    decided.as_bool().unwrap_or_else(|| panic!("no decision in {answer}"))
}

/// R83: each field of the table that takes a scope beside its route's: refused without it and with all other scopes, and `can` says so;
/// let in with both.
#[test]
fn a_field_with_a_scope_of_its_own_is_refused_without_it() {
    let (server, admin) = Server::with_admin();
    server.user(&admin, "mia@example.com", "member");
    server.agent(&admin, "boss", &["*"]);
    let routes = server.routes();
    let scopes = admin.get("/api/scopes").is(200);
    let scopes: Vec<&str> = scopes["scopes"].as_array().into_iter().flatten().map(|one| text(&one["name"])).collect();
    let mut tried = Vec::new();
    for (route, field) in routes.iter().flat_map(|route| {
        route["fields"]
            .as_array()
            .into_iter()
            .flatten()
            .filter(|field| field["scope"].is_string())
            .map(move |field| (route, field))
    }) {
        let (method, path, own) = (text(&route["method"]), text(&route["path"]), text(&route["access"]));
        let (name, scope) = (text(&field["name"]), text(&field["scope"]));
        let target = format!("target{}", tried.len());
        let agent = server.agent(&admin, &target, &["*"]);
        let body = match name {
            "owner" => json!({ "owner": "mia@example.com" }),
            "parent" => json!({ "parent": "boss" }),
            other => panic!("no value for the field {other} of {method} {path}"),
        };
        let send = |client: &Client| {
            client.call(method, &path.replace("{name}", &target), &[], Some(body.to_string().as_bytes()))
        };
        let can = |client: &Client| {
            let told = client.get(&format!("/api/auth/can?action={own}&object={target}")).is(200);
            let is_it = |told: &&Json| told["method"] == method && told["path"] == path;
            told["routes"].as_array().and_then(|all| all.iter().find(is_it)).map(|told| told["fields"][name] == true)
        };
        let others: Vec<&str> = scopes.iter().copied().filter(|other| *other != scope).collect();
        for without in [own.to_owned(), others.join(" ")] {
            let pat = server.plant_pat(&admin, &without);
            let refused = send(&pat).refused(403, "scope_denied");
            assert_eq!(refused["missing_scopes"], json!([scope]), "{refused}");
            assert!(text(&refused["detail"]).contains(name), "{refused}");
            assert_eq!(can(&pat), Some(false), "{name}");
        }
        agent.client.get("/api/auth/whoami").is(200);
        let before = admin.get(&format!("/api/agents/{target}")).is(200);
        assert_eq!((&before["parent"], &before["owner"]["email"]), (&Json::Null, &json!("ada@example.com")));
        let pat = server.plant_pat(&admin, &format!("{own} {scope}"));
        assert_eq!(can(&pat), Some(true), "{name}");
        send(&pat).is(200);
        tried.push(name);
    }
    assert_eq!(tried, ["owner", "parent"]);
}

#[test]
fn can_says_what_each_route_decides() {
    let (server, admin) = Server::with_admin();
    let user = |name: &str| server.user(&admin, &format!("{name}@example.com"), "member");
    let (mia, max, vic, sam) = (user("mia"), user("max"), user("vic"), user("sam"));
    let all = ["*"];
    let boss = server.agent(&mia, "boss", &all);
    let made = mia.post("/api/agents", &json!({ "name": "target", "scope": all, "parent": "boss" })).is(201);
    let target = server.with(text(&made["auth_token"]));
    let other = server.agent(&mia, "other", &all);
    let friend = server.agent(&mia, "friend", &all);
    let made = mia.post("/api/agents/target/keys", &json!({ "name": "crm", "scope": ["agents.read"] })).is(201);
    let key = text(&made["id"]).to_owned();
    let share = |path: &str, subject: &str, relation: &str| {
        mia.post(path, &json!({ "subject": subject, "relation": relation })).is(201);
    };
    share("/api/agents/target/grants", "max@example.com", "editor");
    share("/api/agents/target/grants", "vic@example.com", "viewer");
    share("/api/agents/target/grants", "friend", "editor");
    share(&format!("/api/agents/target/keys/{key}/grants"), "max@example.com", "editor");
    share(&format!("/api/agents/target/keys/{key}/grants"), "vic@example.com", "viewer");
    let narrow = server.plant_pat(&mia, "agents.read agents.update");
    let callers: [(&str, &Client); 11] = [
        ("the admin", &admin),
        ("the owner", &mia),
        ("an editor", &max),
        ("a viewer", &vic),
        ("a stranger", &sam),
        ("the owner's narrow token", &narrow),
        ("the agent itself", &target),
        ("the agent above", &boss.client),
        ("another agent of the owner", &other.client),
        ("an agent with a grant", &friend.client),
        ("nobody's agent", &server.agent(&sam, "lone", &all).client),
    ];
    let (mut allowed, mut refused) = (0, 0);
    for attempt in attempts() {
        for (what, client) in callers {
            let told = told(client, &attempt, &key);
            let path = attempt.path.replace("{name}", "target").replace("{id}", &key);
            let body = attempt.body.as_ref().map(Json::to_string);
            let answer = client.call(attempt.method, &path, &[], body.as_deref().map(str::as_bytes));
            let is_let_in = !matches!(answer.status(), 403 | 404);
            assert_eq!(is_let_in, told, "{what}: {} {path} {body:?}: {}", attempt.method, answer.text());
            *(if told { &mut allowed } else { &mut refused }) += 1;
        }
    }
    assert!(allowed > 40 && refused > 40, "{allowed} {refused}");
}
