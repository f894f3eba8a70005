//! R181: real Caddy, Traefik and Envoy with the configurations of the recipe: who calls, and nothing that the client says of itself.

#![expect(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "helpers of tests: whatever is not as expected ends the test"
)]

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::{Value as Json, json};
use tests::{
    Answer, Client, Server, packages,
    proxy::{self, Proxy, Service, TOLD},
};

fn programs() -> PathBuf {
    packages::pypi(Path::new(env!("CARGO_TARGET_TMPDIR")), "proxies").join("packages")
}

fn caddy(accredit: &str, service: &str) -> Proxy {
    let program = programs().join("bin/caddy");
    Proxy::start("caddy", |folder, port| {
        let changes = [
            ("127.0.0.1:3000", accredit.to_owned()),
            ("127.0.0.1:8080", service.to_owned()),
            ("crm.example.com {", format!("http://127.0.0.1:{port} {{")),
        ];
        let site = proxy::configuration("Caddy", "caddyfile", &changes);
        let file = folder.join("Caddyfile");
        fs::write(&file, format!("{{\n\tadmin off\n\tauto_https off\n}}\n{site}")).unwrap();
        let mut command = Command::new(&program);
        command.args(["run", "--adapter", "caddyfile", "--config"]).arg(file);
        command
    })
}

fn traefik(accredit: &str, service: &str) -> Proxy {
    let program = programs().join("bin/traefik");
    Proxy::start("traefik", |folder, port| {
        let changes = [
            ("127.0.0.1:3000", accredit.to_owned()),
            ("127.0.0.1:8080", service.to_owned()),
            ("Host(`crm.example.com`)", "PathPrefix(`/`)".to_owned()),
            // It does not say its own name.
            ("[\"accredit\", \"without-token\"]", "[\"named\", \"accredit\", \"without-token\"]".to_owned()),
            ("  middlewares:\n    accredit:\n", "  middlewares:\n    named:\n      headers:\n        customResponseHeaders: { Via: traefik }\n    accredit:\n".to_owned()),
        ];
        let file = folder.join("dynamic.yaml");
        fs::write(&file, proxy::configuration("Traefik", "yaml", &changes)).unwrap();
        let mut command = Command::new(&program);
        command
            .arg(format!("--entryPoints.web.address=127.0.0.1:{port}"))
            .args(["--global.checkNewVersion=false", "--global.sendAnonymousUsage=false", "--log.level=ERROR"])
            .arg(format!("--providers.file.filename={}", file.display()));
        command
    })
}

fn envoy(accredit: &str, service: &str) -> Proxy {
    let program = programs().join("envoy/_bin/envoy");
    Proxy::start("envoy", |folder, port| {
        let at = |address: &str| address.rsplit(':').next().unwrap().to_owned();
        let changes = [
            ("address: 0.0.0.0, port_value: 80 ", format!("address: 127.0.0.1, port_value: {port} ")),
            ("port_value: 3000", format!("port_value: {}", at(accredit))),
            ("port_value: 8080", format!("port_value: {}", at(service))),
            // A busy machine may need longer.
            ("timeout: 2s", "timeout: 30s".to_owned()),
        ];
        let file = folder.join("envoy.yaml");
        fs::write(&file, proxy::configuration("Envoy", "yaml", &changes)).unwrap();
        let mut command = Command::new(&program);
        command.args(["--concurrency", "1", "--use-dynamic-base-id", "--config-path"]).arg(file);
        command
    })
}

fn refused(answer: &Answer, status: u16, slug: &str) {
    assert_eq!(answer.status(), status, "{answer:?}");
    let body: Json = serde_json::from_str(&answer.text()).unwrap();
    assert_eq!(body["error"], slug, "{body}");
    assert!(answer.header("www-authenticate").starts_with("Bearer realm=\"accredit\""), "{answer:?}");
}

/// The same for all; `cut_off` is what the proxy answers when it cannot ask.
fn protects(run: impl Fn(&str, &str) -> Proxy, cut_off: u16) {
    let (server, admin) = Server::with_admin();
    admin.post("/api/scopes/custom", &json!({ "name": "x.crm.read", "description": "d" })).is(201);
    let reader = server.agent(&admin, "reader", &["x.crm.read"]);
    let other = server.agent(&admin, "other", &["agents.read"]);
    let person = server.plant_pat(&admin, "x.crm.read");
    let service = Service::start();
    let proxy = run(server.host().address(), &service.address);
    let at = |client: &Client| proxy.client.with(client.bearer());
    let names = TOLD.map(str::to_uppercase);
    let forged = names.each_ref().map(|name| (name.as_str(), "forged"));
    for method in ["GET", "POST", "DELETE"] {
        let answer = at(&reader.client).call(method, "/orders/1?scope=x.other&tenant=evil", &forged, None);
        assert_eq!(answer.status(), 200, "{method}: {answer:?}");
        let head = answer.text().to_ascii_lowercase();
        assert!(
            head.starts_with(&format!("{} /orders/1?scope=x.other&tenant=evil ", method.to_ascii_lowercase())),
            "{head}"
        );
        assert!(!head.contains("forged") && !head.contains("authorization"), "{head}");
        for line in [
            format!("x-accredit-agent-id: {}", reader.id),
            "x-accredit-agent: reader".to_owned(),
            "x-accredit-owner: ada@example.com".to_owned(),
        ] {
            assert_eq!(head.lines().filter(|said| *said == line).count(), 1, "{line}: {head}");
        }
    }
    // A person has no agent, whatever the client sends.
    let head = at(&person).call("GET", "/", &forged, None).text().to_ascii_lowercase();
    assert!(head.contains("x-accredit-subject: usr_") && !head.contains("forged"), "{head}");
    let before = service.count();
    refused(&proxy.client.get("/"), 401, "missing_credential");
    refused(&proxy.client.with("nonsense").get("/"), 401, "invalid_token");
    refused(&proxy.client.with(admin.bearer()).get("/"), 401, "invalid_token");
    refused(&at(&other.client).get("/"), 403, "scope_denied");
    let mut more = 0;
    // None of the other spellings reaches the service.
    for name in TOLD.iter().flat_map(|name| proxy::spellings(name)) {
        let answer = at(&reader.client).call("GET", "/", &[(&name, "forged")], None);
        assert!(answer.status() == 400 || !answer.text().contains("forged"), "{name}: {answer:?}");
        more += usize::from(answer.status() == 200);
    }
    // R366: no client takes away what the service is told: an agent without its name would be a person.
    for sent in proxy::as_hops() {
        let headers: Vec<(&str, &str)> = sent.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let answer = at(&reader.client).call("GET", "/", &headers, None);
        let head = answer.text().to_ascii_lowercase();
        let is_told = TOLD.iter().all(|name| head.contains(&format!("\n{name}: ")));
        assert!(matches!(answer.status(), 400 | 403) || is_told, "{sent:?}: {answer:?}");
        more += usize::from(answer.status() == 200);
    }
    admin.post("/api/agents/reader/stop", &Json::Null).is(200);
    assert_eq!(at(&reader.client).get("/").status(), 403);
    drop(server);
    assert_eq!(at(&person).get("/").status(), cut_off);
    assert_eq!(service.count(), before + more, "nothing that was refused has reached the service");
}

#[test]
fn caddy_protects_a_service() {
    protects(caddy, 502);
}

#[test]
fn traefik_protects_a_service() {
    protects(traefik, 500);
}

#[test]
fn envoy_protects_a_service() {
    protects(envoy, 403);
}
