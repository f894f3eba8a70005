//! Services behind Accredit: a real nginx with the configuration of the recipe; and a stop that holds everywhere from its closure on.

#![expect(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "helpers of tests: whatever is not as expected ends the test"
)]

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Mutex, RwLock,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{SystemTime, UNIX_EPOCH},
};

use serde_json::{Value as Json, json};
use tests::{
    Agent, Client, Host, Over, PATIENCE, Server, at_once,
    line::Line,
    oauth::exchange,
    packages,
    proxy::{self, Proxy, Service, TOLD},
    server::{KEY, text},
    until, until_within,
};

/// The nginx of this machine, or Debian's.
fn program() -> PathBuf {
    let can_ask = |program: &PathBuf| {
        let version = Command::new(program).arg("-V").output();
        version.is_ok_and(|said| String::from_utf8_lossy(&said.stderr).contains("http_auth_request_module"))
    };
    let installed = ["nginx", "/usr/sbin/nginx"].map(PathBuf::from).into_iter().find(can_ask);
    installed.unwrap_or_else(|| {
        let program = packages::debian(Path::new(env!("CARGO_TARGET_TMPDIR")), "nginx").join("usr/sbin/nginx");
        assert!(can_ask(&program), "{} has no auth_request", program.display());
        program
    })
}

/// A real nginx with the configuration of the recipe, in which only the addresses are others.
fn nginx(accredit: &str, service: &str) -> Proxy {
    let program = program();
    Proxy::start("nginx", |folder, port| {
        let changes = [
            ("127.0.0.1:3000", accredit.to_owned()),
            ("127.0.0.1:8080", service.to_owned()),
            ("listen 80;", format!("listen 127.0.0.1:{port};")),
            // A service that takes uploads.
            ("location / {", "location / { client_max_body_size 8m;".to_owned()),
        ];
        let site = proxy::configuration("nginx", "nginx", &changes);
        let place = folder.display();
        let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|kind| format!("{kind}_temp_path {place}/{kind};"));
        let main = format!(
            "daemon off; worker_processes 1; pid {place}/pid; error_log stderr; {}\nevents {{ worker_connections 64; }}\n\
             http {{ access_log off; {} {site} }}",
            // Workers of a master that is root must be able to use the folder.
            "master_process off;",
            temporary.concat()
        );
        let file = folder.join("nginx.conf");
        fs::write(&file, main).unwrap();
        let mut command = Command::new(&program);
        command.arg("-p").arg(folder).arg("-e").arg("stderr").arg("-c").arg(&file);
        command
    })
}

fn define(admin: &Client, scope: &str) {
    admin.post("/api/scopes/custom", &json!({ "name": scope, "description": "d" })).is(201);
}

/// R143: behind a real nginx with the configuration of the recipe: the service is told who calls, by Accredit alone; every refusal is
/// Accredit's own; and a stop ends access at the next request.
#[test]
fn a_real_nginx_protects_a_service_as_the_recipe_says() {
    let (server, admin) = Server::with_admin();
    define(&admin, "x.crm.read");
    let reader = server.agent(&admin, "reader", &["x.crm.read"]);
    let other = server.agent(&admin, "other", &["agents.read"]);
    let service = Service::start();
    let nginx = nginx(server.host().address(), &service.address);
    assert_eq!(service.count(), 0);
    let at = |agent: &Agent| nginx.client.with(agent.client.bearer());

    // Who calls, and nothing that the client says of itself: in any case, twice, or written otherwise.
    let mut forged: Vec<(String, String)> = Vec::new();
    for name in TOLD {
        for written in proxy::spellings(name).into_iter().chain([name.to_owned(), name.to_uppercase()]) {
            forged.push((written, "forged".to_owned()));
        }
    }
    let headers: Vec<(&str, &str)> = forged.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    for method in ["GET", "POST", "DELETE", "OPTIONS"] {
        let answer = at(&reader).call(method, "/orders/1?scope=x.other&tenant=evil", &headers, None);
        assert_eq!(answer.status(), 200, "{method}: {answer:?}");
        let head = answer.text().to_ascii_lowercase();
        assert!(
            head.starts_with(&format!("{} /orders/1?scope=x.other&tenant=evil ", method.to_ascii_lowercase())),
            "{head}"
        );
        assert!(!head.contains("forged") && !head.contains("authorization"), "{head}");
        let told = |name: &str| {
            let mut lines = head.lines().filter_map(|line| line.split_once(": ")).filter(|(key, _)| *key == name);
            let value = lines.next().map(|(_, value)| value.to_owned());
            assert_eq!(lines.next(), None, "{name} twice: {head}");
            value.unwrap_or_default()
        };
        assert_eq!((told("x-accredit-agent"), told("x-accredit-agent-id")), ("reader".to_owned(), reader.id.clone()));
        assert_eq!(
            (told("x-accredit-owner"), told("x-accredit-tenant")),
            ("ada@example.com".to_owned(), "main".to_owned())
        );
        assert_eq!(
            (told("x-accredit-scopes"), told("x-accredit-kind")),
            ("x.crm.read".to_owned(), "agent_token".to_owned())
        );
    }
    // R366: no client takes away what the service is told.
    for sent in proxy::as_hops() {
        let named: Vec<(&str, &str)> = sent.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let head = at(&reader).call("GET", "/", &named, None).text().to_ascii_lowercase();
        assert!(TOLD.iter().all(|name| head.contains(&format!("\n{name}: "))), "{sent:?}: {head}");
    }
    // R305: an upload is no business of the question.
    assert_eq!(at(&reader).call("POST", "/upload", &[], Some(&vec![b'a'; 3 << 20])).status(), 200);

    // A person has no agent: then the header is not there at all, whatever the client sends.
    let pat = server.plant_pat(&admin, "x.crm.read");
    let head = nginx.client.with(pat.bearer()).call("GET", "/", &headers, None);
    assert_eq!(head.status(), 200);
    assert!(
        !head.text().to_ascii_lowercase().contains("forged") && !head.text().contains("X-Accredit-Agent"),
        "{}",
        head.text()
    );

    // Refusals are Accredit's own, and none of them reaches the service.
    let served = service.count();
    let refused = |answer: &tests::Answer, status: u16, slug: &str| {
        assert_eq!(answer.status(), status, "{answer:?}");
        let body: Json = serde_json::from_str(&answer.text()).unwrap();
        assert_eq!(body["error"], slug, "{body}");
        let challenge = answer.header("www-authenticate");
        (body, challenge.to_owned())
    };
    let metadata = "resource_metadata=\"https://crm.example.com/.well-known/oauth-protected-resource\"";
    let (_, challenge) = refused(&nginx.client.get("/"), 401, "missing_credential");
    assert_eq!(challenge, format!("Bearer realm=\"accredit\", {metadata}"));
    refused(&nginx.client.with("nonsense").get("/"), 401, "invalid_token");
    refused(&nginx.client.with(admin.bearer()).get("/"), 401, "invalid_token");
    let (body, challenge) = refused(&at(&other).get("/"), 403, "scope_denied");
    assert_eq!(body["missing_scopes"], json!(["x.crm.read"]));
    assert_eq!(
        challenge,
        format!("Bearer realm=\"accredit\", error=\"insufficient_scope\", scope=\"x.crm.read\", {metadata}")
    );
    server.execute("UPDATE agents SET budget_cents = 1, spent_cents = 2 WHERE name = 'reader'");
    refused(&at(&reader).get("/"), 403, "over_budget");
    server.execute("UPDATE agents SET budget_cents = NULL WHERE name = 'reader'");
    assert_eq!(at(&reader).get("/").status(), 200);

    // A stop, and a revocation, at the next request.
    for (step, slug) in [("pause", "agent_paused"), ("stop", "agent_stopped")] {
        let closure = admin.post(&format!("/api/agents/reader/{step}"), &Json::Null).is(200)["closure"].clone();
        assert_eq!(closure["status"], "closed");
        refused(&at(&reader).get("/"), 403, slug);
    }
    admin.post("/api/agents/reader/start", &Json::Null).is(200);
    assert_eq!(at(&reader).get("/").status(), 200);
    admin.call("DELETE", "/api/agents/reader/token", &[], None).is(204);
    refused(&at(&reader).get("/"), 401, "token_revoked");
    assert_eq!(service.count(), served + 2);

    // Without Accredit nothing is let through.
    drop(server);
    assert_eq!(nginx.client.with(pat.bearer()).get("/").status(), 500);
    assert_eq!(service.count(), served + 2);
}

/// R143: the guard before an application on the same host: it passes requests on with their bodies, tells who calls, lets nothing forged
/// through, says where to get a token, and refuses when it cannot ask.
#[test]
fn the_guard_protects_an_application_on_the_same_host() {
    let (server, admin) = Server::with_admin();
    define(&admin, "x.crm.read");
    let reader = server.agent(&admin, "reader", &["x.crm.read"]);
    let other = server.agent(&admin, "other", &["agents.read"]);
    let address = server.host().address();
    let settings = [
        ("accredit", format!("http://{address}")),
        ("resource", "https://crm.example.com/v1".to_owned()),
        ("scope", "x.crm.read".to_owned()),
        ("tenant", "main".to_owned()),
    ];
    let guarded = proxy::guarded(address, &settings);
    let at = |bearer: &str| guarded.client().with(bearer);
    let forged: Vec<(&str, &str)> =
        TOLD.iter().map(|name| (*name, "forged")).chain([("x_accredit_agent", "forged")]).collect();
    for (method, path, body) in [("GET", "/orders/who?x=1", None), ("POST", "/orders/body", Some(&[b'a'; 70_000][..]))]
    {
        let answer = at(reader.client.bearer()).call(method, path, &forged, body);
        assert_eq!(answer.status(), 200, "{answer:?}");
        let reached: Json = serde_json::from_str(&answer.text()).unwrap();
        if body.is_some() {
            assert_eq!(reached["bytes"], 70_000);
            continue;
        }
        assert_eq!((&reached["name"], &reached["method"]), (&json!("app"), &json!("GET")));
        assert!(text(&reached["uri"]).ends_with("/orders/who?x=1"), "{reached}");
        let all = reached["headers"].to_string().to_ascii_lowercase();
        assert!(!all.contains("forged") && !all.contains("authorization"), "{all}");
        assert!(all.contains(&format!("[\"x-accredit-agent-id\",\"{}\"]", reader.id)), "{all}");
    }
    let refused = |bearer: &str, status: u16, slug: &str| {
        let answer = at(bearer).get("/orders/who");
        assert_eq!(answer.status(), status, "{answer:?}");
        let body: Json = serde_json::from_str(&answer.text()).unwrap();
        assert_eq!(body["error"], slug, "{body}");
        answer.header("www-authenticate").to_owned()
    };
    let metadata = "resource_metadata=\"https://crm.example.com/.well-known/oauth-protected-resource/v1\"";
    assert!(refused(other.client.bearer(), 403, "scope_denied").ends_with(metadata));
    assert!(refused("nonsense", 401, "invalid_token").ends_with(metadata));
    let told = guarded.client().get("/.well-known/oauth-protected-resource/v1");
    let told: Json = serde_json::from_str(&told.text()).unwrap();
    assert_eq!(
        (&told["resource"], &told["scopes_supported"]),
        (&json!("https://crm.example.com/v1"), &json!(["x.crm.read"]))
    );
    admin.post("/api/agents/reader/stop", &Json::Null).is(200);
    refused(reader.client.bearer(), 403, "agent_stopped");
    let pat = server.plant_pat(&admin, "x.crm.read");
    assert_eq!(at(pat.bearer()).get("/orders/who").status(), 200);
    drop(server);
    refused(pat.bearer(), 503, "not_verified");
}

fn millis() -> i64 {
    i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap()
}

/// `2026-11-26T12:04:31.220Z` as milliseconds, as SQLite reads it.
fn moment(server: &Server, at: &Json) -> i64 {
    server.number(&format!("SELECT CAST(round(unixepoch('{}', 'subsec') * 1000) AS INTEGER)", text(at)))
}

/// A tree of 200 agents: ten below the top, and some 19 below each of these. Parents come before their children.
fn tree(server: &Server, admin: &Client) -> Vec<Agent> {
    let mut agents = vec![server.agent(admin, "top", &["agents.read", "x.crm.read"])];
    for number in 1..200 {
        let parent = if number <= 10 { "top".to_owned() } else { format!("a{}", number % 10 + 1) };
        let body = json!({ "name": format!("a{number}"), "scope": ["agents.read", "x.crm.read"], "parent": parent });
        let made = admin.post("/api/agents", &body).is(201);
        let client = server.with(text(&made["auth_token"]));
        agents.push(Agent { name: text(&made["name"]).to_owned(), id: text(&made["id"]).to_owned(), client });
    }
    agents
}

const ISSUER: &str = "https://accredit.example.com";
const VERIFY: &str = "/auth/verify?scope=agents.read&tenant=main";

/// The component `guard` before an application on a host of its own, and its line to Accredit.
struct Guard {
    name: &'static str,
    line: Line,
    host: Host,
    /// Signed tokens of the agents that call it by one, by their places in the tree.
    signed: RwLock<Vec<String>>,
    let_in: AtomicUsize,
}

/// How many agents of the tree call guards by a signed token.
const SIGNED: usize = 20;

impl Guard {
    fn resource(name: &str) -> String {
        format!("https://{name}.example.com")
    }

    /// It is before a service of its own, which the agent `crm` may ask about.
    fn start(server: &Server, admin: &Client, crm: &Agent, (name, lease): (&'static str, u32)) -> Self {
        let (line, resource) = (Line::to(server.host().address()), Self::resource(name));
        let body = json!({ "identifier": resource, "scopes": ["x.crm.read"], "introspectors": ["crm"] });
        until("a service is registered", || {
            Some(admin.post("/api/resources", &body)).filter(|made| made.status() != 503)
        })
        .is(201);
        let settings = [
            ("accredit", ISSUER.to_owned()),
            ("ask", format!("http://{}", line.address)),
            ("resource", resource),
            ("scope", "x.crm.read".to_owned()),
            ("tenant", "main".to_owned()),
            ("token", crm.client.bearer().to_owned()),
            ("lease", lease.to_string()),
        ];
        // One instance, which nothing but the host's end ends: what it has heard, it knows.
        let flags = [
            ("--max-instance-reuse-count", "1000000"),
            ("--max-instance-concurrent-reuse-count", "64"),
            ("--idle-instance-timeout", "600s"),
        ];
        let host = proxy::guarded_by(&line.address, &settings, if lease == 5 { &[] } else { &flags });
        let guard = Self { name, line, host, signed: RwLock::default(), let_in: AtomicUsize::new(0) };
        until("the guard answers", || (guard.host.client().get("/orders/who").status() == 401).then_some(()));
        guard
    }

    /// Gets signed tokens for the first agents.
    fn sign(&self, agents: &[Agent]) {
        let token = |agent: &Agent| {
            let form = exchange(agent.client.bearer(), &Self::resource(self.name));
            let ask = || Some(agent.client.form("/oauth/token", &form)).filter(|answer| answer.status() != 503);
            text(&until("a token is signed", ask).is(200)["access_token"]).to_owned()
        };
        let signed = agents.iter().take(SIGNED).map(token).collect();
        *self.signed.write().unwrap() = signed;
    }

    fn admits(&self, place: usize, agent: &Agent) -> bool {
        let signed = self.signed.read().unwrap().get(place).cloned();
        let bearer = signed.unwrap_or_else(|| agent.client.bearer().to_owned());
        let is_admitted = self.host.client().with(&bearer).get("/orders/who").status() == 200;
        if is_admitted {
            self.let_in.fetch_add(1, Ordering::AcqRel);
        }
        is_admitted
    }
}

/// When the lease of the guard of a name ends.
fn lease(server: &Server, name: &str) -> i64 {
    server.number(&format!("SELECT max(until) FROM guards WHERE name LIKE '{name}.%'"))
}

/// Sends a change until the database is not too busy for it.
fn changed(admin: &Client, path: &str, body: &Json) -> Json {
    until(path, || Some(admin.post(path, body)).filter(|answer| answer.status() != 503)).is(200)
}

/// Follows a closure on a host until it is closed.
fn followed(admin: &Client, closure: &Json, before_each: impl Fn()) -> Json {
    let path = format!("/api/closures/{}?wait=5", text(&closure["id"]));
    // Callers that hammer leave a slow machine little for the guard that comes back.
    until_within(PATIENCE * 2, "the closure is closed", || {
        before_each();
        Some(admin.get(&path).is(200)).filter(|closure| closure["status"] == "closed")
    })
}

/// R147, R167, R385: 32 callers hammer on two hosts, through `/auth/verify`, the API and three guards before applications, by tokens of agents and
/// by signed ones, while the top of a tree of 200 agents is halted twice and one guard is cut off: nothing that begins after a closure's moment
/// is admitted anywhere, until the tree runs again. A closure that is partial is closed when the guard comes back, or when its lease has ended.
#[test]
fn nothing_that_begins_after_a_closure_is_admitted_anywhere() {
    const CALLERS: usize = 32;
    let server = Server::settings().variable("signing_key", KEY).variable("public_url", ISSUER).start();
    let admin = server.bootstrap();
    let second = server.second();
    define(&admin, "x.crm.read");
    let agents = tree(&server, &admin);
    let crm = server.agent(&admin, "crm", &["tokens.introspect"]);
    let guards = [("first", 5), ("second", 5), ("third", 60)];
    let guards = guards.map(|guard| RwLock::new(Guard::start(&server, &admin, &crm, guard)));
    let sign = || guards.iter().for_each(|guard| guard.read().unwrap().sign(&agents));
    sign();
    let third = &guards[2];
    let (is_over, let_in, told) = (AtomicBool::new(false), AtomicUsize::new(0), Mutex::new(Vec::new()));
    let more_are_let_in = || {
        let at_guards = || guards.each_ref().map(|guard| guard.read().unwrap().let_in.load(Ordering::Acquire));
        let (before, at_each) = (let_in.load(Ordering::Acquire), at_guards());
        until("callers are let in everywhere", || {
            let is_more = at_guards().iter().zip(at_each).all(|(now, before)| *now > before + 20);
            (is_more && let_in.load(Ordering::Acquire) > before + 200).then_some(())
        });
    };
    let without_third = |step: &str| {
        let name = third.read().unwrap().name;
        let (of_it, last) = (format!("name LIKE '{name}.%'"), "(SELECT coalesce(max(epoch), 0) FROM epochs)");
        until("the third guard follows", || {
            let has_heard = server.number(&format!("SELECT count(*) FROM guards WHERE {of_it} AND heard >= {last}"));
            let has_not = server.number(&format!("SELECT count(*) FROM guards WHERE {of_it} AND heard < {last}"));
            (has_heard > 0 && has_not == 0).then_some(())
        });
        more_are_let_in();
        third.read().unwrap().line.cut();
        let lease = lease(&server, name);
        let closure = changed(&admin, &format!("/api/agents/top/{step}"), &Json::Null)["closure"].clone();
        assert_eq!((&closure["ended"]["agents"], &closure["ended"]["tokens"]), (&json!(200), &json!(200)), "{closure}");
        if closure["status"] == "partial" {
            let waiting = closure["waiting"].as_array().unwrap();
            let is_third = |guard: &Json| text(&guard["guard"]).starts_with(name);
            // On a slow machine its lease may have ended before the change was made.
            assert!(waiting.iter().any(is_third) || millis() > lease, "{closure}");
        } else {
            assert!(moment(&server, &closure["closed_at"]) >= lease, "{closure}");
        }
        (closure, lease)
    };
    let main = || {
        // Whatever becomes of this, the callers end.
        let _over = Over(&is_over);
        // It comes back: it hears of the pause, and says so when it asks again.
        let (paused, lease) = without_third("pause");
        third.read().unwrap().line.mend(server.host().address());
        let first = followed(&admin.at(second.host().base_url()), &paused, || ());
        let resumed = millis();
        // The lease is a minute.
        assert!(paused["status"] != "partial" || moment(&server, &first["closed_at"]) < lease, "{first}");
        for names in agents.chunks(20) {
            let names: Vec<&str> = names.iter().map(|agent| agent.name.as_str()).collect();
            changed(&admin, "/api/agents/bulk/resume", &json!({ "names": names }));
        }
        // Another one in its place, with a shorter lease. It does not come back: its lease ends. Nothing waits for the one that was killed.
        {
            let mut third = third.write().unwrap();
            third.host.kill();
            *third = Guard::start(&server, &admin, &crm, ("fourth", 3));
        }
        sign();
        let (stopped, lease) = without_third("stop");
        let second = followed(&admin.at(second.host().base_url()), &stopped, || {
            server.execute("DELETE FROM guards WHERE name LIKE 'third.%'");
        });
        assert!(moment(&server, &second["closed_at"]) >= lease, "{second}");
        *told.lock().unwrap() =
            vec![(moment(&server, &first["closed_at"]), resumed), (moment(&server, &second["closed_at"]), i64::MAX)];
    };
    let hammer = |number: usize| {
        let (mut begun, mut turn) = (Vec::new(), number);
        loop {
            // Looked at before: each caller asks for every agent once after the closure.
            let is_last = is_over.load(Ordering::Acquire);
            for _ in 0..if is_last { agents.len() } else { 1 } {
                turn += 1;
                let place = turn % agents.len();
                let (began, agent) = (millis(), &agents[place]);
                let on = |host: &Server, path: &str| agent.client.at(host.host().base_url()).get(path).status() == 200;
                let is_admitted = match (turn + number) % 6 {
                    0 => on(&server, VERIFY),
                    1 => on(&second, VERIFY),
                    2 => on(&second, &format!("/api/agents/{}", agent.name)),
                    way => guards[way - 3].read().unwrap().admits(place, agent),
                };
                if is_admitted {
                    let_in.fetch_add(1, Ordering::AcqRel);
                    begun.push(began);
                }
            }
            if is_last {
                return begun;
            }
        }
    };
    let admitted = at_once(CALLERS + 1, |number| match number {
        0 => {
            main();
            Vec::new()
        }
        number => hammer(number),
    });
    for (closed, resumed) in told.into_inner().unwrap() {
        let late: Vec<&i64> = admitted.iter().flatten().filter(|began| (closed + 1..resumed).contains(began)).collect();
        assert!(late.is_empty(), "{closed} to {resumed}: {late:?}");
    }
    let page = crm.client.get("/auth/epochs?after=0&limit=1000").is(200);
    let numbers: Vec<i64> =
        page["items"].as_array().unwrap().iter().map(|item| item["epoch"].as_i64().unwrap()).collect();
    assert_eq!(numbers, (1..=400).collect::<Vec<i64>>());
}

/// R145: a guard that waits hears of a stop while it waits, on another host; without news it is answered within half of its lease.
#[test]
fn a_guard_that_waits_hears_of_a_stop() {
    let (server, admin) = Server::with_admin();
    let second = server.second();
    server.agent(&admin, "scout", &["agents.read"]);
    let guard = server.plant_pat(&admin, "tokens.introspect").at(second.host().base_url());
    let pages = at_once(2, |number| match number {
        0 => guard.get("/auth/epochs?after=0&wait=25&guard=g1&lease=60").is(200),
        _ => admin.post("/api/agents/scout/pause", &Json::Null).is(200),
    });
    assert_eq!(pages[0]["items"][0]["change"], "halted");
    // It has not taken it in before it says so.
    let path = format!("/api/closures/{}", text(&pages[1]["closure"]["id"]));
    guard.get("/auth/epochs?after=1&guard=g1").is(200);
    assert_eq!(admin.get(&path).is(200)["status"], "closed");
    let quiet = guard.call("GET", "/auth/epochs?after=1&wait=25&guard=g1&lease=1", &[("if-none-match", "\"1\"")], None);
    assert_eq!((quiet.status(), quiet.text()), (304, String::new()));
    assert!(quiet.header("x-accredit-held-ms").parse::<u32>().unwrap() < 20_000, "{quiet:?}");
}
