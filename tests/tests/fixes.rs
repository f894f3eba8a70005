//! R200: what a refusal advises can be done by the caller that reads it. Every route of the table is asked by every kind of caller, in every
//! state of an agent, with an empty body and with the route's own example; whatever request, page or link the answer names is then looked
//! at as that caller.

#![expect(
    clippy::indexing_slicing,
    clippy::panic,
    reason = "helpers of tests: whatever is not as expected ends the test"
)]

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value as Json, json};
use tests::{Answer, Client, Server, at_once, docs, host, server::text};

const METHODS: [&str; 5] = ["GET", "POST", "PUT", "PATCH", "DELETE"];

/// Words before a request which say that somebody else sends it.
const OTHERS: [&str; 8] = ["ask ", "admin", "owner ", "operator", "can send", "@", "the service", "let the agent"];

/// Routes that end what the walk asks with, or stop everything. Each has tests of its own.
const ENDS: [&str; 7] = [
    "DELETE /auth/tokens/me",
    "POST /auth/logout",
    "DELETE /auth/sessions",
    "POST /api/agents/stop-all",
    "POST /auth/password",
    "PATCH /api/tenant",
    "POST /internal/key-sets",
];

struct Walk<'a> {
    server: &'a Server,
    rows: Vec<Json>,
    examples: Json,
    /// What was looked at already: a caller and a request.
    seen: BTreeSet<(String, String)>,
    /// How many of each kind were followed.
    followed: BTreeMap<&'static str, usize>,
}

/// The requests that a fix tells its reader to send.
fn advised(fix: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let sentences = fix.split(". ").filter(|sentence| !sentence.starts_with("When you run again"));
    for sentence in sentences {
        for (at, _) in sentence.match_indices(" /") {
            let (before, rest) = (&sentence[..at], &sentence[at + 1..]);
            let Some(method) = METHODS.iter().find(|method| before.ends_with(**method)) else { continue };
            let said = before[..before.len() - method.len()].to_lowercase();
            // It says whose request it is, or what it lacks.
            if OTHERS.iter().any(|word| said.contains(word))
                || sentence.contains(" needs ")
                || sentence.contains(" a session")
            {
                continue;
            }
            let mut is_inside = false;
            let end = rest.find(|c: char| {
                is_inside = (is_inside || c == '<') && c != '>';
                !is_inside && (c.is_whitespace() || ",;:)".contains(c))
            });
            let path = rest[..end.unwrap_or(rest.len())].trim_end_matches('.');
            found.push(((*method).to_owned(), path.to_owned()));
        }
    }
    found
}

/// The steps in an answer, also of a diagnosis and of one of several results.
fn steps_in(answer: &Json, found: &mut Vec<String>) {
    for (name, member) in answer.as_object().into_iter().flatten() {
        match member.as_str() {
            Some(step) if ["fix", "next"].contains(&name.as_str()) => found.push(step.to_owned()),
            _ => steps_in(member, found),
        }
    }
    for item in answer.as_array().into_iter().flatten() {
        steps_in(item, found);
    }
}

impl<'a> Walk<'a> {
    fn new(server: &'a Server) -> Self {
        let path = host::root().join("docs/reference/fields.json");
        let examples = std::fs::read_to_string(path).ok().and_then(|text| serde_json::from_str(&text).ok());
        let (seen, followed) = (BTreeSet::new(), BTreeMap::new());
        Self { server, rows: server.routes(), examples: examples.unwrap_or_default(), seen, followed }
    }

    /// Asks every route as this caller, and looks at what the answers name.
    fn every_route(&mut self, who: &str, client: &Client, names: &[&str]) {
        for row in self.rows.clone() {
            let call = format!("{} {}", text(&row["method"]), text(&row["path"]));
            if ENDS.contains(&call.as_str()) || call.contains("{*") || text(&row["path"]).contains("/stream") {
                continue;
            }
            let known = self.examples[&call].clone();
            let query = known["example_query"].as_str().unwrap_or_default();
            for name in names {
                let path = text(&row["path"]).replace("{name}", name).replace("{id}", "none").replace("{key}", "NONE");
                let path = path.replace("{source}", "app:none").replace("{provider}", "none") + query;
                let form = row["content_type"] == "application/x-www-form-urlencoded";
                let mut bodies = vec![None];
                if row["method"] != "GET" && !form {
                    bodies.push(Some(json!({})));
                }
                if !known["example"].is_null() {
                    bodies.push(Some(known["example"].clone()));
                }
                for body in bodies {
                    let body = body.map(|body| body.to_string());
                    let answer = client.call(text(&row["method"]), &path, &[], body.as_deref().map(str::as_bytes));
                    self.look(&format!("{who}: {} {path}", text(&row["method"])), client, &answer);
                }
            }
        }
    }

    /// Asks every route as this agent; where the refusal advises an ask, that is sent and approved, and the refused request goes through then.
    /// Its owner approves, for one request where it can be named, and for hours, and takes back what is left.
    fn every_ask(&mut self, (who, agent): (&str, &Client), owner: &Client, names: &[&str], before: &dyn Fn()) {
        for row in self.rows.clone() {
            let (method, path) = (text(&row["method"]), text(&row["path"]));
            let call = format!("{method} {path}");
            // The agent's own token is not to be replaced meanwhile.
            let is_left_out = path.contains("{*") || path.contains("/stream") || path.ends_with("/token/issue");
            if ENDS.contains(&call.as_str()) || is_left_out {
                continue;
            }
            let known = self.examples[&call].clone();
            for name in names {
                let path = path.replace("{name}", name).replace("{id}", "none").replace("{key}", "NONE");
                let path = path.replace("{source}", "app:none").replace("{provider}", "none");
                let path = path + known["example_query"].as_str().unwrap_or_default();
                let mut bodies = vec![None];
                if method != "GET" && row["content_type"] != "application/x-www-form-urlencoded" {
                    bodies.push(Some(known["example"].clone()).filter(|body| !body.is_null()).or(Some(json!({}))));
                }
                for (body, lasts) in bodies.iter().flat_map(|body| ["once", "hours"].map(|lasts| (body, lasts))) {
                    before();
                    let body = body.as_ref().map(Json::to_string);
                    let send = || agent.call(method, &path, &[], body.as_deref().map(str::as_bytes));
                    let what = format!("{who}: {method} {path} {}", body.as_deref().unwrap_or_default());
                    let refusal = send();
                    if refusal.status() < 400 || refusal.header("content-type") != "application/json" {
                        continue;
                    }
                    let ask = refusal.json()["ask"].clone();
                    if !ask.is_object() || (lasts == "once" && ask["body"]["for"].is_null()) {
                        continue;
                    }
                    // No more than is missing.
                    assert_eq!(ask["body"]["scope"], refusal.json()["missing_scopes"], "{what}: {ask}");
                    let body = ask["body"].to_string();
                    let asked = agent.call(text(&ask["method"]), text(&ask["path"]), &[], Some(body.as_bytes()));
                    assert_eq!(asked.status(), 201, "{what}: {ask}: {}", asked.text());
                    let request = format!("/api/access-requests/{}", text(&asked.json()["id"]));
                    owner.post(&format!("{request}/approve"), &json!({ "lasts": lasts })).is(200);
                    let again = send();
                    // Which hosts may be called is no matter of rights.
                    let is_let_in = !matches!(again.status(), 401..=403) || again.json()["error"] == "host_not_allowed";
                    assert!(is_let_in, "{what}: approved for {lasts}: {}", again.text());
                    owner.post(&format!("{request}/revoke"), &json!({}));
                    self.count("approved");
                    if again.status() < 300 {
                        self.count("done");
                    }
                }
            }
        }
    }

    /// Looks at what an answer names.
    fn look(&mut self, what: &str, client: &Client, answer: &Answer) {
        let who = what.split(':').next().unwrap_or_default();
        for link in answer.header("link").split(',').filter(|link| !link.is_empty()) {
            let path = link.split(['<', '>']).nth(1).unwrap_or_default();
            if self.is_new(who, path) {
                assert_eq!(client.get(path).status(), 200, "{what}: {link}");
                self.count("link");
            }
        }
        // The document has refusals as examples, which are for other readers.
        let is_document = what.contains("GET /openapi.json");
        if answer.header("content-type") != "application/json" || answer.text().is_empty() || is_document {
            return;
        }
        let refusal = answer.json();
        if let Some(page) = refusal["doc_url"].as_str().filter(|page| self.is_new("", page)) {
            docs::check(client.base_url(), page);
            self.count("page");
        }
        let mut steps = Vec::new();
        steps_in(&refusal, &mut steps);
        let is_agent = ["agent", "worker"].iter().any(|word| who.contains(word));
        for step in steps {
            // Nobody raises a person's role for an agent.
            assert!(!is_agent || !step.contains("PATCH /api/users") || !step.contains("role"), "{what}: {step}");
            for (method, path) in advised(&step) {
                self.try_it(&format!("{what}: {step}"), who, client, (&method, &path));
                self.count("fix");
            }
        }
        if let Some(ask) = refusal["ask"].as_object() {
            self.try_it(
                &format!("{what}: {}", refusal["ask"]),
                who,
                client,
                (text(&ask["method"]), text(&ask["path"])),
            );
            self.count("ask");
        }
    }

    fn is_new(&mut self, who: &str, what: &str) -> bool {
        self.seen.insert((who.to_owned(), what.to_owned()))
    }

    fn count(&mut self, kind: &'static str) {
        *self.followed.entry(kind).or_default() += 1;
    }

    /// Asserts that the caller is let in to a request, which is sent so that it does nothing: with a parameter that no route knows.
    fn try_it(&mut self, what: &str, who: &str, client: &Client, (method, path): (&str, &str)) {
        if !self.is_new(who, &format!("{method} {path}")) || path.ends_with("/<step>") {
            return;
        }
        let plain = path.split('?').next().unwrap_or_default();
        let (row, _) = self.row(method, plain).unwrap_or_else(|| panic!("{what}: no route {method} {plain}"));
        if row["access"] == "public" {
            return;
        }
        let sent: String = plain
            .split('/')
            .map(|part| if part.starts_with('<') { "none" } else { part })
            .collect::<Vec<_>>()
            .join("/");
        let answer = client.call(method, &format!("{sent}?not-a-parameter=1"), &[], None);
        let refused = answer.json();
        // A session may have to prove again who its person is: the refusal says how.
        let is_let_in =
            refused["fields"][0]["field"] == "not-a-parameter" || refused["error"] == "reauthentication_required";
        assert!(is_let_in, "{what}\nadvises {method} {sent}, which is refused: {refused}");
    }

    /// The row of a path, and how many of its parts are names.
    fn row(&self, method: &str, path: &str) -> Option<(Json, usize)> {
        let sent: Vec<&str> = path.split('/').collect();
        let fits = |row: &&Json| {
            let own: Vec<&str> = text(&row["path"]).split('/').collect();
            let is_part = |(own, sent): (&&str, &&str)| own == sent || (own.starts_with('{') && !sent.is_empty());
            let is_whole = own.last().is_some_and(|last| last.starts_with("{*")) || own.len() == sent.len();
            row["method"] == method && is_whole && own.iter().zip(&sent).all(is_part)
        };
        let names = |row: &Json| text(&row["path"]).matches('{').count();
        let found = self.rows.iter().filter(fits).map(|row| (row.clone(), names(row))).min_by_key(|(_, names)| *names);
        // Pages are not in the index.
        found.or_else(|| (self.server.nobody().get(path).status() < 400).then(|| (json!({ "access": "public" }), 0)))
    }
}

/// The names with which each caller asks: its own, one that it may not read, and one that nobody has.
const NAMES: [&str; 3] = ["me", "foreign", "absent"];

#[test]
fn a_running_agent_reads_nothing_that_it_cannot_do() {
    let (server, admin) = Server::with_admin();
    let other = server.user(&admin, "eve@example.com", "member");
    server.agent(&other, "foreign", &["agents.read"]);
    let presets = admin.get("/api/presets").is(200);
    let worker: Vec<&str> = presets["items"]
        .as_array()
        .into_iter()
        .flatten()
        .find(|preset| preset["name"] == "worker")
        .map(|preset| preset["scope"].as_array().into_iter().flatten().map(text).collect())
        .unwrap_or_default();
    assert!(worker.len() > 3, "{presets}");
    let mut walk = Walk::new(&server);
    for (who, scope) in
        [("a worker", worker), ("an agent with *", vec!["*"]), ("an agent with one scope", vec!["agents.read"])]
    {
        let agent = server.agent(&admin, who.replace([' ', '*'], "-").trim_matches('-'), &scope);
        walk.every_route(who, &agent.client, &NAMES);
        let key = admin
            .post(&format!("/api/agents/{}/keys", agent.name), &json!({ "name": "walk", "scope": ["agents.read"] }))
            .is(201);
        walk.every_route(&format!("a key of {who}"), &server.with(text(&key["key"])), &NAMES[..1]);
    }
    assert!(
        walk.followed["fix"] > 100 && walk.followed["ask"] > 20 && walk.followed["page"] > 30,
        "{:?}",
        walk.followed
    );
}

/// R413: whatever ask a refusal advises, its approval makes the refused request go through.
#[test]
fn what_is_advised_to_be_asked_for_helps() {
    let (server, admin) = Server::with_admin();
    let max = server.user(&admin, "max@example.com", "member");
    let other = server.user(&admin, "eve@example.com", "member");
    server.agent(&other, "foreign", &["agents.read"]);
    let kinds = [
        ("an agent of an admin", &admin, &["agents.read", "ui.notify"][..]),
        ("an agent of a member", &max, &["agents.list", "agents.update"]),
        ("an agent that can do little", &max, &["agents.logs"]),
    ];
    let counts = at_once(kinds.len(), |number| {
        let (who, owner, scope) = kinds[number];
        let mut walk = Walk::new(&server);
        let name = who.replace(' ', "-");
        let agent = server.agent(owner, &name, scope);
        let below = format!("{name}-below");
        // Some of what is approved archives or halts it.
        let there = || {
            let state = owner.get(&format!("/api/agents/{below}"));
            match state.status() {
                200 if state.json()["state"] == "running" => {}
                200 => drop(owner.post(&format!("/api/agents/{below}/restart"), &json!({}))),
                _ => drop(owner.post("/api/agents", &json!({ "name": below, "parent": name })).is(201)),
            }
        };
        walk.every_ask((who, &agent.client), owner, &["me", &below, "foreign"], &there);
        let key = json!({ "name": "walk", "scope": [scope[0]] });
        let key = owner.post(&format!("/api/agents/{name}/keys"), &key).is(201);
        let counts = [walk.followed["approved"], walk.followed["done"]];
        walk.every_ask((&format!("a key of {who}"), &server.with(text(&key["key"]))), owner, &["me"], &there);
        counts
    });
    assert!(counts.iter().all(|[approved, done]| *approved > 100 && *done > 30), "{counts:?}");
}

#[test]
fn a_halted_agent_reads_nothing_that_it_cannot_do() {
    let (server, admin) = Server::with_admin();
    let agent = server.agent(&admin, "halting", &["*"]).client;
    let mut walk = Walk::new(&server);
    let halt = |verb: &str| admin.post(&format!("/api/agents/halting/{verb}"), &json!({})).is(200);
    halt("pause");
    walk.every_route("a paused agent", &agent, &NAMES);
    halt("resume");
    halt("stop");
    walk.every_route("a stopped agent", &agent, &NAMES);
    halt("start");
    admin.patch("/api/agents/halting", &json!({ "budget_cents": 1 })).is(200);
    agent.post("/api/agents/me/heartbeat", &json!({ "spent_cents": 2 })).is(200);
    walk.every_route("an agent over its budget", &agent, &NAMES);
    let refused = agent.get("/api/access-requests/none").refused(404, "request_not_found");
    assert!(text(&refused["fix"]).starts_with("When you run again"), "{refused}");
    admin.delete("/api/agents/halting").is(204);
    walk.every_route("an archived agent", &agent, &NAMES[..1]);
}

#[test]
fn people_and_services_read_nothing_that_they_cannot_do() {
    let (server, admin) = Server::with_admin();
    let member = server.user(&admin, "mia@example.com", "member");
    let viewer = server.user(&admin, "vic@example.com", "viewer");
    server.agent(&admin, "foreign", &["agents.read"]);
    let mut walk = Walk::new(&server);
    for (who, client) in [
        ("an admin", admin.clone()),
        ("a member", member.clone()),
        ("a viewer", viewer),
        ("a PAT with one scope", server.plant_pat(&admin, "agents.read")),
        ("a PAT of a member", server.plant_pat(&member, "*")),
        ("a service", server.plant_pat(&admin, "tokens.introspect")),
        ("nobody", server.nobody()),
    ] {
        walk.every_route(who, &client, &NAMES[1..]);
    }
    assert!(walk.followed["fix"] > 100, "{:?}", walk.followed);
}

/// A person who stores as much as they may.
#[test]
fn at_a_full_quota_nothing_is_advised_that_cannot_be_done() {
    // Each on a server of its own: who walks all routes frees some of what is stored.
    for who in ["an agent", "a narrow agent", "an admin"] {
        let server = Server::settings().variable("quotas", "agents=2 credentials=6").start();
        let admin = server.bootstrap();
        let agent = server.agent(&admin, "filling", &["*"]).client;
        let narrow =
            server.agent(&admin, "narrow", &["agents.create", "agents.keys.write", "agents.token.issue"]).client;
        while admin.post("/auth/tokens", &json!({ "name": "more" })).status() == 201 {}
        let client = match who {
            "an agent" => agent,
            "a narrow agent" => narrow,
            _ => admin,
        };
        let third = json!({ "name": "third", "scope": ["agents.create"] });
        client.post("/api/agents", &third).refused(409, "quota_reached");
        Walk::new(&server).every_route(who, &client, &["me"]);
    }
}

/// R419: at every path a 405 names only methods that this kind of caller can use, and one at least if there is any.
#[test]
fn no_405_names_what_its_reader_cannot_use() {
    let (server, admin) = Server::with_admin();
    let agent = server.agent(&admin, "methodical", &["*"]).client;
    let key = admin.post("/api/agents/methodical/keys", &json!({ "name": "k", "scope": ["agents.read"] })).is(201);
    let pat = server.plant_pat(&admin, "*");
    let rows = server.routes();
    let paths: BTreeSet<&str> = rows.iter().map(|row| text(&row["path"])).filter(|path| !path.contains("{*")).collect();
    let mut refused = 0;
    for path in paths {
        let own: Vec<&str> = rows.iter().filter(|row| row["path"] == path).map(|row| text(&row["method"])).collect();
        // A path with names can be one of another row too.
        let sent = path.replace("{name}", "methodical").replace("{id}", "none").replace("{key}", "NONE");
        let sent = sent.replace("{source}", "app:none").replace("{provider}", "none").replace("{key_id}", "none");
        for (who, client) in [
            ("an agent", &agent),
            ("a key", &server.with(text(&key["key"]))),
            ("an admin", &admin),
            ("a PAT", &pat),
            ("nobody", &server.nobody()),
        ] {
            for method in METHODS.iter().filter(|method| !own.contains(*method)) {
                let answer = client.call(method, &sent, &[], None);
                if answer.status() != 405 {
                    continue;
                }
                refused += 1;
                for allowed in answer.header("allow").split(',').map(str::trim).filter(|allowed| *allowed != "HEAD") {
                    let tried = client.call(allowed, &format!("{sent}?not-a-parameter=1"), &[], None);
                    let is_json = tried.header("content-type") == "application/json" && !tried.text().is_empty();
                    let slug = if is_json { tried.json()["error"].clone() } else { Json::Null };
                    let is_kind = ["person_required", "agent_required", "session_required", "method_not_allowed"];
                    assert!(
                        !is_kind.iter().any(|kind| slug == *kind),
                        "{who}: {method} {sent} names {allowed}: {slug}"
                    );
                }
            }
        }
    }
    assert!(refused > 500, "{refused}");
}

/// R419: a credential in the query is refused at every route, with the warning that it may be in logs.
#[test]
fn no_route_takes_a_credential_in_its_query() {
    let (server, admin) = Server::with_admin();
    let mut tried = 0;
    for row in server.routes() {
        if row["access"] == "public" || text(&row["path"]).contains("{*") || text(&row["path"]).contains("/stream") {
            continue;
        }
        let (method, path) = (text(&row["method"]), text(&row["path"]).replace(['{', '}'], ""));
        for name in ["token", "access_token", "api_key"] {
            let answer = admin.call(method, &format!("{path}?{name}=x"), &[], None);
            let refused = answer.refused(400, "credential_in_url");
            assert!(text(&refused["detail"]).contains("may have leaked"), "{method} {path}: {refused}");
            tried += 1;
        }
    }
    assert!(tried > 300, "{tried}");
}

/// An agent may report its own failed deployment without any scope, and reads how it went only with one.
#[test]
fn an_agent_that_reads_nothing_is_not_told_to_read() {
    let (server, admin) = Server::with_admin();
    let agent = server.agent(&admin, "undeployed", &["ui.notify"]).client;
    let refused = agent.post("/api/agents/me/deploy-status", &json!({ "reason": "x" })).refused(409, "not_deploying");
    assert!(text(&refused["fix"]).contains("you lack agents.read"), "{refused}");
    let refused = agent.post("/api/agents", &json!({ "name": "x" })).refused(403, "scope_denied");
    assert_eq!(refused["ask"]["path"], "/api/access-requests");
    let reader = server.agent(&admin, "reader", &["agents.read"]).client;
    let refused = reader.get("/api/agents/absent").refused(404, "agent_not_found");
    let fix = "ada@example.com can send GET /api/agents for you: you lack agents.list. Names are in lower case.";
    assert_eq!(refused["fix"], fix);
}

/// R121: an agent that must not do something itself learns how it tells its owner, and can.
#[test]
fn an_agent_is_told_how_it_tells_its_owner() {
    let (server, admin) = Server::with_admin();
    let agent = server.agent(&admin, "teller", &["ui.notify"]).client;
    let mute = server.agent(&admin, "mute", &["agents.read"]).client;
    for (method, path, slug) in [("GET", "/api/users", "person_required"), ("POST", "/api/users", "session_required")] {
        let refused = agent.call(method, path, &[], None).refused(403, slug);
        let fix = text(&refused["fix"]);
        let body =
            fix.split_once("POST /api/ui/notify ").map(|(_, body)| body.trim_end_matches('.')).unwrap_or_default();
        agent.post("/api/ui/notify", &serde_json::from_str(body).unwrap_or_default()).is(201);
        let told = admin.get("/api/notifications?limit=1").is(200);
        assert!(text(&told["items"][0]["body"]).contains(&format!("{method} {path}")), "{told}");
        let refused = mute.call(method, path, &[], None).refused(403, slug);
        assert!(!text(&refused["fix"]).contains("ui/notify"), "{refused}");
    }
}

/// R202: a query that names a credential is refused with the warning, whatever its value is; queries of others are not looked at.
#[test]
fn a_query_that_names_a_credential_is_refused() {
    let (server, admin) = Server::with_admin();
    for path in
        ["/api/auth/whoami?access_token=ghp_0123", "/api/agents?TOKEN=x", "/nowhere?api_key=1", "/llms.txt?token="]
    {
        for client in [&server.nobody(), &admin] {
            let refused = client.get(path).refused(400, "credential_in_url");
            assert!(text(&refused["detail"]).contains("may have leaked"), "{refused}");
        }
    }
    for path in ["/login?token=x", "/.well-known/oauth-authorization-server?access_token=x", "/healthz?token=x"] {
        assert_eq!(server.nobody().get(path).status(), 200, "{path}");
    }
}

/// R201: the page for setting up says what to do where nobody can.
#[test]
fn a_server_without_an_operator_secret_says_how_it_gets_one() {
    let server = Server::settings().variable("operator_secret", "").start();
    let page = server.nobody().call("GET", "/setup", &[("accept", "text/html")], None);
    page.is_text(200, "without an operator secret");
    assert!(!page.text().contains("<form class=\"sheet\""), "{}", page.text());
    let server = Server::empty();
    server.nobody().call("GET", "/setup", &[("accept", "text/html")], None).is_text(200, "Operator secret");
    let body = json!({ "secret": server.operator_secret(), "email": "ada@example.com", "name": "Ada", "password": tests::server::PASSWORD });
    for _ in 0..12 {
        server.nobody().call("GET", "/setup", &[("accept", "text/html")], None).is_text(200, "Operator secret");
    }
    server.nobody().post("/auth/bootstrap", &body).is(201);
}
