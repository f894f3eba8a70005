//! R12, R72, R73: exactly the routes of the table are reachable, through the component that it names, with the grants that
//! the component's world lists.

#![expect(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "helpers of tests: whatever is not as expected ends the test"
)]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use serde_json::{Value as Json, json};
use tests::{Client, Server, Shared, docs, host, server::text};
use toml::Table;

static SITE: Shared<(Server, Client)> = Shared::new();

fn site() -> Arc<(Server, Client)> {
    SITE.get(|| {
        // With what the operator has to name before its route answers.
        let server = Server::settings().variable("security_contact", "mailto:security@example.com").start();
        let admin = server.bootstrap();
        (server, admin)
    })
}

/// A row of the route table, as the index shows it.
struct Row {
    method: String,
    path: String,
    group: String,
    access: String,
    /// Whether people are refused.
    for_agents: bool,
    page: String,
}

fn rows(server: &Server) -> Vec<Row> {
    let index = server.nobody().get("/api").is(200);
    let mut rows = Vec::new();
    for group in index["groups"].as_array().into_iter().flatten() {
        for route in group["routes"].as_array().into_iter().flatten() {
            rows.push(Row {
                method: text(&route["method"]).to_owned(),
                path: text(&route["path"]).to_owned(),
                group: text(&group["group"]).to_owned(),
                access: text(&route["access"]).to_owned(),
                for_agents: route["for_agents"] == true,
                page: text(&route["page"]).to_owned(),
            });
        }
    }
    assert!(rows.len() > 20, "the whole table");
    rows
}

/// A path that the row's pattern matches.
fn example(pattern: &str) -> String {
    let segments = pattern.split('/').map(|segment| match segment {
        "{*page}" => "agents/errors",
        "{*path}" => "orders/1",
        _ if segment.starts_with('{') => "some-thing",
        _ => segment,
    });
    segments.collect::<Vec<_>>().join("/")
}

fn manifest() -> Table {
    fs::read_to_string(host::manifest()).unwrap().parse().unwrap()
}

/// The component that the manifest gives a path to: at the first segment in which two patterns differ, a literal beats a
/// name, and a name beats the rest.
fn component(manifest: &Table, path: &str) -> String {
    let triggers = manifest["trigger"]["http"].as_array().unwrap();
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    let rank = |route: &str| -> Option<Vec<u8>> {
        let mut rank = Vec::new();
        let mut left = parts.iter();
        for segment in route.split('/').filter(|segment| !segment.is_empty()) {
            if segment == "..." {
                rank.push(2);
                return Some(rank);
            }
            let part = left.next()?;
            match segment.strip_prefix(':') {
                Some(_) => rank.push(1),
                None if segment == *part => rank.push(0),
                None => return None,
            }
        }
        left.next().is_none().then_some(rank)
    };
    let best =
        triggers.iter().filter_map(|trigger| Some((rank(trigger["route"].as_str()?)?, trigger["component"].as_str()?)));
    best.min().map(|(_, component)| component.to_owned()).unwrap_or_default()
}

/// R12: every row reaches the component of its group, and that component has it.
#[test]
fn every_row_reaches_its_component() {
    let site = site();
    let manifest = manifest();
    for row in rows(&site.0) {
        let path = example(&row.path);
        assert_eq!(component(&manifest, &path), row.group, "{} {}", row.method, row.path);
        let answer = site.0.nobody().call(&row.method, &path, &[], None);
        match row.access.as_str() {
            // Another 404 is the route's own: the object that its path names does not exist.
            "public" if answer.status() == 404 => {
                assert_ne!(answer.json()["error"], "not_found", "{} {path}", row.method);
            }
            "public" => assert!(!matches!(answer.status(), 405 | 500..), "{} {path}: {answer:?}", row.method),
            _ => _ = answer.refused(401, "missing_credential"),
        }
        let group = &manifest["component"][&row.group];
        // The manifest runs the files that `spin build` builds.
        let source = group["source"].as_str().unwrap();
        let command = group["build"]["command"].as_str().unwrap();
        assert_eq!(source, format!("target/wasm32-wasip1/release/{}.wasm", row.group));
        assert!(command.ends_with(&format!(" -p {}", row.group)), "{command}");
    }
}

/// The methods of a path.
#[derive(Default)]
struct Methods {
    known: BTreeSet<String>,
    /// Those that are not for agents alone.
    of_people: BTreeSet<String>,
}

/// R12: each path has the methods of its rows and no other; HEAD is GET without a body. A person is told of no method that is for agents
/// alone, and a path that has no other is refused to people whatever the method.
#[test]
fn every_other_method_is_refused_with_those_that_are_allowed() {
    let site = site();
    let mut places: BTreeMap<String, Methods> = BTreeMap::new();
    for row in rows(&site.0) {
        let place = places.entry(example(&row.path)).or_default();
        let head = (row.method == "GET").then(|| "HEAD".to_owned());
        for method in head.into_iter().chain([row.method]) {
            if !row.for_agents {
                place.of_people.insert(method.clone());
            }
            place.known.insert(method);
        }
    }
    let nobody = site.0.nobody();
    // Proxies ask there by the method of the request that they pass on.
    places.retain(|path, _| !path.starts_with("/auth/verify"));
    for (path, Methods { known, of_people }) in places {
        for method in ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW"] {
            if known.contains(method) {
                continue;
            }
            for (client, expected) in [(&nobody, &known), (&site.1, &of_people)] {
                let answer = client.call(method, &path, &[], None);
                if expected.is_empty() {
                    answer.refused(403, "agent_required");
                    continue;
                }
                answer.refused(405, "method_not_allowed");
                let allowed: BTreeSet<String> =
                    answer.header("allow").split(',').map(|method| method.trim().to_owned()).collect();
                assert_eq!(&allowed, expected, "{method} {path}");
            }
        }
        if known.contains("HEAD") {
            let (get, head) = (nobody.get(&path), nobody.call("HEAD", &path, &[], None));
            assert_eq!((head.status(), head.text()), (get.status(), String::new()), "HEAD {path}");
            for name in ["content-type", "content-length"] {
                assert_eq!(head.header(name), get.header(name), "HEAD {path}: {name}");
            }
        }
    }
}

/// R12, R58: a path that the table does not name does not exist, whatever group it would belong to and whichever caller asks.
#[test]
fn an_unknown_path_is_our_404() {
    let site = site();
    for path in [
        "/nothing",
        "/api/nothing",
        "/api/auth/nothing",
        "/api/users/a/b",
        "/api/users/a/b/c",
        "/api/agents/a/b",
        "/api/agents/a/token/issue/x",
        "/auth/nothing",
        "/cli",
        "/cli/",
        "/cli/nothing",
        "/cli/wheel",
        "/cli/wheel/a/b",
        "/cli/install.sh/x",
        "/auth",
        "/operator",
        "/operator/nothing",
        "/operator/tenants/x",
        "/internal",
        "/internal/tick/x",
        "/docs/nothing",
        "/docs/agents/../../etc/passwd",
        "/.env",
        "/.git/config",
        "/favicon.ico",
        "/admin",
        "/debug",
        "/metrics",
        "/API",
        "//api",
        "/api//agents",
        "/%61pi",
        "/api/agents%2f",
        "/.well-known/security.txt.bak",
    ] {
        for client in [&site.0.nobody(), &site.1] {
            client.get(path).refused(404, "not_found");
            // Whether a page of the documentation exists is known only when it is read, and reading it is GET.
            let posted = client.post(path, &json!({}));
            match path.starts_with("/docs/") {
                true => posted.refused(405, "method_not_allowed"),
                false => posted.refused(404, "not_found"),
            };
        }
    }
}

/// R73: nothing that only development needs is reachable, nor what belongs to the manifest's other routes.
#[test]
fn what_is_not_built_yet_is_not_there() {
    let site = site();
    for path in ["/api/nothing", "/oauth/nothing"] {
        let answer = site.1.post(path, &json!({}));
        answer.refused(404, "not_found");
    }
}

/// R59: every page that the index names is there.
#[test]
fn every_page_of_the_index_is_served() {
    let site = site();
    for row in rows(&site.0) {
        docs::check(site.0.host().base_url(), &row.page);
    }
}

#[test]
fn the_server_says_that_it_is_well() {
    let site = site();
    let nobody = site.0.nobody();
    assert_eq!(nobody.get("/healthz").is(200)["status"], "ok");
    assert_eq!(nobody.get("/readyz").is(200), json!({ "status": "ready", "bootstrapped": true }));
    let home = nobody.get("/");
    assert_eq!((home.status(), home.header("location")), (303, "/docs/"));
    let docs = nobody.call("GET", "/docs/", &[("accept", "text/html")], None);
    assert!(
        docs.header("content-security-policy").starts_with("default-src 'none'")
            && docs.header("x-content-type-options") == "nosniff"
    );
}

/// Contract, "public_url": its path comes before every link; and R29's cookie is then the other one.
#[test]
fn the_path_of_public_url_prefixes_every_link() {
    let server = Server::settings().variable("public_url", "https://example.com/acc").start();
    let admin = server.bootstrap();
    let refused = admin.get("/api/agents/nobody").is(404);
    assert!(text(&refused["doc_url"]).starts_with("/acc/docs/agents/"), "{refused}");
    assert_eq!(server.nobody().get("/").header("location"), "/acc/docs/");
    let index = server.nobody().get("/api").is(200).to_string();
    assert!(index.contains("\"page\":\"/acc/docs/") && !index.contains("\"page\":\"/docs/"), "{index}");
    let whoami =
        |cookie: String| server.nobody().call("GET", "/api/auth/whoami", &[("cookie", &cookie)], None).status();
    assert_eq!(whoami(format!("accredit={}", admin.bearer())), 401);
    assert_eq!(whoami(format!("__Host-accredit={}", admin.bearer())), 200);
}

/// R73: a setting that cannot be used serves nothing, rather than something unsafe, and the log names it.
#[test]
fn a_setting_that_cannot_be_used_serves_nothing() {
    for (name, value) in [("public_url", "javascript:alert(1)"), ("database_max_mib", "plenty")] {
        let server = Server::settings().variable(name, value).start();
        // R680: the process is alive, and whoever starts it anew for that gains nothing.
        assert_eq!(Client::plain(server.host().base_url()).get("/healthz").is(200)["status"], "ok");
        for path in ["/api/auth/whoami", "/api/agents", "/readyz"] {
            let answer = Client::plain(server.host().base_url()).get(path);
            assert_eq!(answer.status(), 500, "{name}: {path}");
            assert_eq!(answer.json()["error"], "internal");
        }
        host::until_logged(server.host(), name);
    }
}

/// R73: the manifest passes each setting under its own name, or fills a slot with it; all may be left unset, secrets are marked as secrets,
/// and each component gets only the secrets that it has a use for.
#[test]
fn the_manifest_passes_settings_under_their_own_names() {
    let manifest = manifest();
    let variables = manifest["variables"].as_table().unwrap();
    for (name, variable) in variables {
        // A slot of allowed_outbound_hosts: Spin refuses to start where one is empty, so unset is a name that never exists.
        let unset = match name.as_str() {
            "mail_host" => "mail.invalid",
            name if name.starts_with("oidc_host") => "oidc.invalid",
            _ => "",
        };
        assert_eq!(variable["default"].as_str(), Some(unset), "{name} has a default");
        let is_secret = name.contains("secret") || name.ends_with("_key") || name.ends_with("_token");
        assert_eq!(variable.get("secret").and_then(toml::Value::as_bool).unwrap_or(false), is_secret, "{name}");
    }
    let mut passed = BTreeSet::new();
    for (id, component) in manifest["component"].as_table().unwrap() {
        for (name, template) in component["variables"].as_table().unwrap() {
            assert_eq!(template.as_str(), Some(format!("{{{{ {name} }}}}").as_str()), "{id}");
            passed.insert(name.clone());
            match name.as_str() {
                "operator_secret" | "hashes_per_second" => assert_eq!(id, "signin"),
                "mail_host" | "mail_from" | "mail_token" => assert_eq!(id, "worker"),
                name if name.starts_with("oidc") => assert_eq!(id, "oidc"),
                "secrets_key" => {
                    assert!(["agents", "keys", "signin", "worker"].contains(&id.as_str()), "{id} has the vault's key")
                }
                "signing_key" => assert_eq!(id, "tokens"),
                "audit_key" => assert!(["tenant", "worker"].contains(&id.as_str()), "{id} has the audit key"),
                _ => {}
            }
        }
        let hosts = component.get("allowed_outbound_hosts").and_then(toml::Value::as_array).into_iter().flatten();
        let slots = hosts.filter_map(|host| host.as_str()?.strip_prefix("https://{{ ")?.strip_suffix(" }}"));
        passed.extend(slots.map(str::to_owned));
        // The bound of the disk goes to every component that may write to it.
        assert!(
            component["variables"].get("database_max_mib").is_some() || component.get("sqlite_databases").is_none(),
            "{id}"
        );
    }
    assert_eq!(passed, variables.keys().cloned().collect());
}

/// R73: the settings that the code asks for are those that the manifest passes to components, and one place asks.
#[test]
fn one_place_reads_the_settings_of_the_manifest() {
    let manifest = manifest();
    let code = fs::read_to_string(host::root().join("crates/service/src/settings.rs")).unwrap();
    let (_, names) = code.split_once("pub const NAMES: &[&str] = &[").unwrap();
    let (names, _) = names.split_once("];").unwrap();
    let asked: BTreeSet<&str> = names.split('"').skip(1).step_by(2).collect();
    let components = manifest["component"].as_table().unwrap().values();
    let passed = components.flat_map(|component| component["variables"].as_table().unwrap().keys().map(String::as_str));
    assert_eq!(asked, passed.collect());
}

/// The imports of a built core module: the functions by module.
fn imports(wasm: &[u8]) -> BTreeMap<String, BTreeSet<String>> {
    let mut modules: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for payload in wasmparser::Parser::new(0).parse_all(wasm) {
        if let wasmparser::Payload::ImportSection(section) = payload.unwrap() {
            for import in section.into_imports() {
                let import = import.unwrap();
                modules.entry(import.module.to_owned()).or_default().insert(import.name.to_owned());
            }
        }
    }
    modules
}

/// The imports and exports of each world of `wit/worlds.wit`, with the worlds that it includes; worlds that only others include are no
/// component's.
fn worlds() -> BTreeMap<String, BTreeSet<String>> {
    let text = fs::read_to_string(host::root().join("wit/worlds.wit")).unwrap();
    let mut worlds: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let (mut current, mut included) = (String::new(), BTreeSet::new());
    for line in
        text.lines().map(|line| line.split("//").next().unwrap_or_default().trim().trim_end_matches([';', '{', ' ']))
    {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        match word {
            "world" => {
                rest.clone_into(&mut current);
                worlds.insert(current.clone(), BTreeSet::new());
            }
            "import" | "export" => _ = worlds.get_mut(&current).unwrap().insert(rest.to_owned()),
            "include" => {
                let more = worlds[rest].clone();
                worlds.get_mut(&current).unwrap().extend(more);
                included.insert(rest.to_owned());
            }
            "" | "}" | "package" => {}
            _ => panic!("a line of worlds.wit that this test does not understand: {line}"),
        }
    }
    worlds.retain(|name, _| !included.contains(name));
    worlds
}

/// The system interfaces that the standard library may import: chance, the clock, log lines and the abort. No files, no sockets.
const OF_THE_SYSTEM: [&str; 6] =
    ["clock_time_get", "environ_get", "environ_sizes_get", "fd_write", "proc_exit", "random_get"];

/// The further ones, where the manifest grants files: reading, and nothing that writes.
const OF_FILES: [&str; 8] = [
    "fd_close",
    "fd_fdstat_get",
    "fd_filestat_get",
    "fd_prestat_dir_name",
    "fd_prestat_get",
    "fd_read",
    "fd_seek",
    "path_open",
];

/// R72: a built component imports what its world lists, and the manifest grants what it imports.
#[test]
fn grants_imports_and_worlds_agree() {
    let manifest = manifest();
    let worlds = worlds();
    let components = manifest["component"].as_table().unwrap();
    assert_eq!(worlds.keys().collect::<Vec<_>>(), components.keys().collect::<Vec<_>>(), "a world for each component");
    for (id, component) in components {
        let wasm = fs::read(host::manifest().with_file_name("").join(component["source"].as_str().unwrap())).unwrap();
        let imported = imports(&wasm);
        let interface = |module: &str| imported.keys().any(|known| known.contains(module));
        let granted =
            |key: &str| component.get(key).and_then(toml::Value::as_array).is_some_and(|list| !list.is_empty());
        assert_eq!(interface("spin:sqlite/"), granted("sqlite_databases"), "{id}: SQLite");
        assert_eq!(interface("spin:key-value/"), granted("key_value_stores"), "{id}: key-value");
        assert_eq!(
            interface("wasi:http/client") || interface("wasi:http/outgoing"),
            granted("allowed_outbound_hosts"),
            "{id}: outbound"
        );
        assert!(component.get("environment").is_none(), "{id}: no environment");
        let reads_files =
            imported.get("wasi_snapshot_preview1").is_some_and(|functions| functions.contains("path_open"));
        assert_eq!(reads_files, granted("files"), "{id}: files");
        assert!(!granted("files") || ["artifacts", "docs"].contains(&id.as_str()), "{id} has files");
        let listed = &worlds[id];
        let mut unlisted = Vec::new();
        for (module, functions) in &imported {
            match module.as_str() {
                "wasi_snapshot_preview1" => {
                    let is_listed = |function: &&String| {
                        OF_THE_SYSTEM.contains(&function.as_str())
                            || (granted("files") && OF_FILES.contains(&function.as_str()))
                    };
                    unlisted.extend(functions.iter().filter(|function| !is_listed(function)));
                }
                // Intrinsics of the component model: waiting, tasks.
                "$root" | "[export]$root" => {}
                _ if listed.contains(module.trim_start_matches("[export]")) => {}
                _ => unlisted.push(module),
            }
        }
        assert!(unlisted.is_empty(), "{id} imports what its world does not list: {unlisted:?}");
    }
}

/// Far beyond the size of any component, bytes: it guards against accidents, such as a dependency with a large table. What all of them
/// may weigh together is in docs/performance.md; it depends on the standard library that they are built with.
const LARGEST: usize = 3_000_000;

#[test]
fn no_component_is_far_too_large() {
    let manifest = manifest();
    let sizes = manifest["component"].as_table().unwrap().iter().map(|(id, component)| {
        let wasm = host::manifest().with_file_name("").join(component["source"].as_str().unwrap());
        (id, fs::metadata(wasm).unwrap().len() as usize)
    });
    let larger: Vec<_> = sizes.filter(|(_, size)| *size > LARGEST).collect();
    assert!(larger.is_empty(), "more than {LARGEST} bytes: {larger:?}");
}

#[test]
fn the_index_gives_every_row_in_full() {
    let index = site().0.nobody().get("/api").is(200);
    for group in index["groups"].as_array().into_iter().flatten() {
        assert!(!text(&group["title"]).is_empty());
        for route in group["routes"].as_array().into_iter().flatten() {
            for member in ["for_people", "for_agents", "session_only", "fresh", "while_halted", "idempotent"] {
                assert!(route[member].is_boolean(), "{route}");
            }
            assert!(
                !text(&route["title"]).is_empty() && (route["audit"].is_string() || route["audit"] == Json::Null),
                "{route}"
            );
        }
    }
}

/// The contributors' page quotes a real route, and each quotation stands in the file that it names.
#[test]
fn the_page_about_adding_a_route_quotes_the_code() {
    let page = fs::read_to_string(host::root().join("docs/adding-a-route.md")).unwrap();
    let mut quoted = 0;
    let mut file = None;
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        if let Some(name) = line.strip_prefix('`').and_then(|rest| rest.strip_suffix('`')) {
            file = Some(name);
        } else if line == "```rust" {
            let name = file.take().expect("a block has its file above it");
            let source = fs::read_to_string(host::root().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
            let source: Vec<&str> = source.lines().map(str::trim).collect();
            let block: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").map(str::trim).collect();
            assert!(source.windows(block.len()).any(|window| window == block), "{name} has no\n{}", block.join("\n"));
            quoted += 1;
        }
    }
    assert_eq!(quoted, 6);
}

/// A path in the contributors' pages leads to a file or a folder.
#[test]
fn the_pages_for_contributors_name_files_that_are_there() {
    let mut checked = 0;
    for page in ["README.md", "CONTRIBUTING.md", "docs/architecture.md", "docs/adding-a-route.md", "docs/operations.md"]
    {
        let text = fs::read_to_string(host::root().join(page)).unwrap();
        for word in text.split('`').skip(1).step_by(2) {
            let roots = ["crates/", "components/", "host/", "tests/", "xtask/", "migrations/", "wit/"];
            let is_path = roots.iter().any(|root| word.starts_with(root)) && !word.contains(['<', '*', ' ', '…']);
            if !is_path {
                continue;
            }
            // `a/{b,c}.rs` names two files.
            let (before, after) = word.split_once('{').map_or((word, ""), |(before, rest)| (before, rest));
            let (names, end) = after.split_once('}').unwrap_or(("", ""));
            for name in names.split(',') {
                let path = format!("{before}{name}{end}");
                assert!(host::root().join(&path).exists(), "{page}: there is no {path}");
                checked += 1;
            }
        }
    }
    assert!(checked > 30, "{checked}");
}

/// R398: each row of the page's table of RFC 9700 has tests, and each of them is a test of this repository.
#[test]
fn each_row_of_rfc_9700_names_tests_that_are_there() {
    let page = fs::read_to_string(host::root().join("docs/security.md")).unwrap();
    let (_, rest) = page.split_once("## OAuth: what RFC 9700 lists").unwrap();
    let section = rest.split("\n## ").next().unwrap();
    let mut sources = Vec::new();
    for folder in ["tests/tests", "components", "crates"] {
        files(&host::root().join(folder), "rs", &mut sources);
    }
    let is_test = |name: &str| {
        let begins = format!("fn {name}(");
        sources.iter().any(|path| {
            let text = fs::read_to_string(path).unwrap();
            let before = text.find(&begins).map(|place| text[..place].trim_end().trim_end_matches("async").trim_end());
            before.and_then(|before| before.lines().last()).is_some_and(|line| {
                let line = line.trim_start();
                line.starts_with("#[test]") || line.starts_with("#[tokio::test")
            })
        })
    };
    let (mut rows, mut named) = (0, BTreeSet::new());
    for row in section.lines().filter(|line| line.starts_with("| ") && line.contains(|c: char| c.is_ascii_digit())) {
        let tests = row.trim_end_matches(" |").rsplit(" | ").next().unwrap();
        let tests: Vec<&str> = tests.split('`').skip(1).step_by(2).collect();
        assert!(!tests.is_empty(), "{row}");
        rows += 1;
        named.extend(tests);
    }
    for name in &named {
        assert!(is_test(name), "docs/security.md: {name} is no test");
    }
    // All of its recommendations and attacks.
    for asked in (1..=6).map(|number| format!("2.{number}")).chain((1..=17).map(|number| format!("4.{number}"))) {
        let is_it = |cell: &str| cell.split(", ").any(|one| one == asked || one.starts_with(&format!("{asked}.")));
        let is_there = section.lines().filter_map(|line| line.strip_prefix("| ")?.split(" | ").next()).any(is_it);
        assert!(is_there, "no row is about section {asked}");
    }
    assert!(rows >= 20 && named.len() > 30, "{rows} rows, {} tests", named.len());
}

/// Files that hold commands to paste.
fn pages(folder: &Path, found: &mut Vec<PathBuf>) {
    files(folder, "md", found);
}

/// The files below a folder whose names end so.
fn files(folder: &Path, ends: &str, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, ends, found);
        } else if path.extension().is_some_and(|end| end == ends) {
            found.push(path);
        }
    }
}

/// R84: a command that sends a body says of what type it is; without a header, curl would say that it is a form.
#[test]
fn every_command_of_the_docs_sends_the_media_type_of_its_route() {
    let mut files: Vec<PathBuf> = [
        "README.md",
        "CONTRIBUTING.md",
        "CHANGELOG.md",
        "SECURITY.md",
        "xtask/src/up.rs",
        "components/artifacts/src/install.sh",
    ]
    .map(|name| host::root().join(name))
    .into();
    pages(&host::root().join("docs"), &mut files);
    pages(&host::root().join("migrations"), &mut files);
    let (mut json, mut forms) = (0, 0);
    for file in &files {
        let text = fs::read_to_string(file).unwrap();
        for command in text.split("curl ").skip(1) {
            // To the end of its last line: a line goes on behind a backslash, and within quotes.
            let mut quotes = 0;
            let goes_on = |line: &&str| {
                quotes += line.matches('\'').count();
                line.ends_with('\\') || quotes % 2 == 1
            };
            let lines = command.lines().take_while(goes_on).count() + 1;
            let command = command.lines().take(lines).collect::<Vec<_>>().join(" ");
            let sends = |flag: &str| command.contains(&format!(" {flag} ")) || command.contains(&format!(" {flag}="));
            let glued = ["-d'", "-d\"", "-d@", "-d{"].into_iter().any(|flag| command.contains(&format!(" {flag}")));
            let flags = ["-d", "--data", "--data-raw", "--data-binary", "--data-urlencode", "--json", "-T", "-F"];
            // With -G all of it is the query.
            if sends("-G") || (!glued && !flags.into_iter().any(sends)) {
                continue;
            }
            let says_json = command.to_lowercase().contains("content-type: application/json");
            if ["/auth/introspect", "/auth/device/", "/oauth/token"].iter().any(|path| command.contains(path)) {
                assert!(
                    (glued || sends("-d") || sends("--data-urlencode")) && !says_json,
                    "{}: curl {command}",
                    file.display()
                );
                forms += 1;
            } else {
                assert!(says_json, "{}: curl {command}", file.display());
                json += 1;
            }
        }
    }
    assert!(json > 15 && forms > 6, "{json} {forms}");
}
