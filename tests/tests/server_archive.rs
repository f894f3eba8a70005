//! R152, R162: the server as an archive: unpacked into an empty place it serves, with nothing of this repository, and compiles nothing.

#![expect(clippy::unwrap_used, reason = "helpers of tests: whatever is not as expected ends the test")]

use std::{
    collections::BTreeSet,
    fs,
    io::{BufRead, BufReader, Read},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Arc,
    time::Instant,
};

use serde_json::{Value as Json, json};
use tempfile::TempDir;
use tests::{
    Client, Server, Shared, Start, host,
    process::{Running, Signal, signal},
    proxy::Service,
    server::{KEY, PASSWORD, text},
    until,
};

/// Packs what was built, and unpacks it into another place.
fn unpacked(folder: &Path) -> PathBuf {
    let mut pack = Command::new(env!("CARGO"));
    pack.current_dir(host::root()).args(["run", "--quiet", "--package", "xtask", "--"]);
    let packed = pack.args(["dist", "--server", "--no-build", "--into"]).arg(folder.join("made")).output().unwrap();
    assert!(packed.status.success(), "{}", String::from_utf8_lossy(&packed.stderr));
    let archives = fs::read_dir(folder.join("made")).unwrap().map(|entry| entry.unwrap().path());
    let archive = archives.into_iter().find(|path| path.to_string_lossy().ends_with(".tar.gz")).unwrap();
    let mut sum = Command::new("sha256sum");
    sum.current_dir(folder.join("made")).args(["--check", "--quiet"]).arg(archive.with_extension("gz.sha256"));
    assert!(sum.status().unwrap().success());
    let to = folder.join("unpacked");
    fs::create_dir(&to).unwrap();
    assert!(Command::new("tar").arg("-C").arg(&to).arg("-xpf").arg(&archive).status().unwrap().success());
    let server = fs::read_dir(&to).unwrap().next().unwrap().unwrap().path();
    assert_eq!(fs::read_dir(&to).unwrap().count(), 1);
    server
}

/// The server, unpacked into a place of its own.
struct Archive {
    folder: TempDir,
    server: PathBuf,
}

static ARCHIVE: Shared<Archive> = Shared::new();

fn archive() -> Arc<Archive> {
    ARCHIVE.get(|| {
        let folder = tempfile::tempdir().unwrap();
        let server = unpacked(folder.path());
        Archive { folder, server }
    })
}

/// R152.
#[test]
fn the_archive_serves_from_an_empty_place() {
    let archive = archive();
    let server = &archive.server;
    let checked =
        Command::new("sha256sum").args(["--check", "--quiet", "SHA256SUMS"]).current_dir(server).output().unwrap();
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
    let mode = fs::metadata(server.join("accredit-host")).unwrap().permissions().mode();
    assert_eq!(mode & 0o111, 0o111);
    let readme = fs::read_to_string(server.join("README.md")).unwrap();
    assert!(!readme.contains('{') && readme.contains("glibc"), "{readme}");
    for file in [
        "accredit.service",
        "accredit.env.example",
        "Containerfile",
        "LICENSE",
        "spinapp.yaml",
        "docs/operations.md",
        "guard/spin.toml",
        "guard/address.toml",
        "guard/guard_middleware.wasm",
        "guard/middleware.toml",
    ] {
        assert!(server.join(file).is_file(), "{file}");
    }

    let (state, cache) = (archive.folder.path().join("state"), archive.folder.path().join("cache"));
    let start = Start::new(server.join("spin.toml")).program(server.join("accredit-host")).switch("--no-tick");
    let start = start.variable("operator_secret", "an-operator-secret-that-is-long-enough");
    let host = start.flag("--state-dir", &state).flag("--cache-dir", &cache).run();
    // It compiled nothing.
    assert_eq!(kept_in(&cache), 0, "{}", host.log());
    let client = host.client();
    assert_eq!(client.get("/readyz").is(200)["status"], "ready");
    let well = Command::new(server.join("accredit-host")).args(["health", "--url", host.base_url()]).status().unwrap();
    assert!(well.success(), "{well}");
    let index = client.get("/api").is(200);
    assert_eq!(index["version"], env!("CARGO_PKG_VERSION"));
    // Both where the build said so, or neither.
    assert_eq!(index["commit"].is_string(), index["built_at"].is_string(), "{}", index["commit"]);
    client.get("/llms.txt").is_text(200, "Accredit");
    client.get("/openapi.json").is(200);
    client.call("GET", "/", &[("accept", "text/html")], None).is(303);
    client.call("GET", "/setup", &[("accept", "text/html")], None).is_text(200, "Operator secret");
    assert!(state.join("sqlite_db.db").exists());
}

/// What a host that was built for this machine's C library needs beside its own files: by `ldd`, names and where they are.
fn libraries(program: &Path) -> Vec<(String, PathBuf)> {
    let said = Command::new("ldd").arg(program).output().unwrap();
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    let paths = said.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        words.find(|word| word.starts_with('/')).map(PathBuf::from)
    });
    paths.map(|path| (path.file_name().unwrap().to_string_lossy().into_owned(), path)).collect()
}

/// R415: in a root that has the archive, an empty directory for temporary files, and the libraries that the operator's pages name, and nothing
/// else, the server comes to its first page. Where no program can be given another root, the test fails and says so.
#[test]
fn the_archive_serves_from_an_empty_root() {
    let archive = archive();
    let place = tempfile::tempdir_in(archive.folder.path()).unwrap();
    let root = place.path().join("root");
    for folder in ["tmp", "state"] {
        fs::create_dir_all(root.join(folder)).unwrap();
        fs::set_permissions(root.join(folder), fs::Permissions::from_mode(0o700)).unwrap();
    }
    assert!(Command::new("cp").arg("-al").arg(&archive.server).arg(root.join("accredit")).status().unwrap().success());
    let needed = libraries(&archive.server.join("accredit-host"));
    let pages = fs::read_to_string(archive.server.join("docs/operations.md")).unwrap();
    for (name, path) in &needed {
        assert!(pages.contains(&format!("`{name}`")), "the operator's pages do not name {name}");
        let inside = root.join(path.strip_prefix("/").unwrap());
        fs::create_dir_all(inside.parent().unwrap()).unwrap();
        fs::copy(path, inside).unwrap();
    }
    // A root of its own takes the right to set one: root has it, and others get it in a namespace of their own.
    let mut command = Command::new("sh");
    let enter = "[ \"$(id -u)\" = 0 ] && exec chroot \"$@\" || exec unshare --map-root-user chroot \"$@\"";
    command.args(["-c", enter, "sh"]).arg(&root).env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    command.args(["/accredit/accredit-host", "--from", "/accredit/spin.toml", "--listen", "127.0.0.1:0"]);
    command.args(["--state-dir", "/state", "--no-cache", "--format", "json", "--quiet"]);
    command.env("SPIN_VARIABLE_OPERATOR_SECRET", KEY).env("TMPDIR", "/tmp");
    let began = Instant::now();
    let mut host = Running(command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap());
    let mut line = String::new();
    BufReader::new(host.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let said: Json = serde_json::from_str(&line).unwrap_or_else(|_| {
        drop(host.0.kill());
        let mut log = String::new();
        drop(host.0.stderr.take().unwrap().read_to_string(&mut log));
        panic!("no host could be started in a root of its own, which takes root or a namespace of users: {line}{log}")
    });
    let nobody = Client::of_accredit(said["base_url"].as_str().unwrap());
    nobody.call("GET", "/setup", &[("accept", "text/html")], None).is_text(200, "Operator secret");
    println!("first page from an empty root after {} ms, with {} libraries", began.elapsed().as_millis(), needed.len());
    assert_eq!(nobody.get("/readyz").is(200)["status"], "ready");
    let body = json!({ "secret": KEY, "email": "ada@example.com", "name": "Ada", "password": PASSWORD });
    nobody.post("/auth/bootstrap", &body).is(201);
    // It has really had no other root.
    let inside: BTreeSet<String> = fs::read_dir(&root)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .filter(|name| !name.starts_with("lib"))
        .collect();
    assert_eq!(inside, BTreeSet::from(["accredit", "state", "tmp"].map(str::to_owned)));
    assert!(root.join("state/sqlite_db.db").is_file());
}

/// R364, R460: the guard of the archive, with each manifest beside it, protects an application of somebody else and a service at an address.
#[test]
fn the_guard_of_the_archive_goes_before_an_application() {
    let archive = archive();
    let (server, admin) = Server::with_admin();
    admin.post("/api/scopes/custom", &json!({ "name": "x.crm.read", "description": "d" })).is(201);
    let crm = server.agent(&admin, "crm", &["tokens.introspect"]);
    let resource =
        json!({ "identifier": "https://crm.example.com", "scopes": ["x.crm.read"], "introspectors": ["crm"] });
    admin.post("/api/resources", &resource).is(201);
    let other = server.agent(&admin, "other", &["agents.read"]);

    let folder = archive.folder.path().join("guarded");
    fs::create_dir(&folder).unwrap();
    for wasm in ["guard.wasm", "guard_middleware.wasm"] {
        fs::copy(archive.server.join("guard").join(wasm), folder.join(wasm)).unwrap();
    }
    fs::copy(host::wasm_directory().join("trap.wasm"), folder.join("crm.wasm")).unwrap();
    let address = server.host().address();
    let service = Service::start();
    for (number, (name, compiled)) in
        [("spin.toml", 1), ("address.toml", 0), ("middleware.toml", 1)].into_iter().enumerate()
    {
        let reader = server.agent(&admin, &format!("reader-{number}"), &["x.crm.read"]);
        let manifest = fs::read_to_string(archive.server.join("guard").join(name)).unwrap();
        let manifest = manifest.replace("https://accredit.example.com", &format!("http://{address}"));
        let manifest = manifest.replace("https://crm.internal.example.com", &format!("http://{}", service.address));
        fs::write(folder.join(name), manifest).unwrap();
        let cache = archive.folder.path().join(format!("cache-of-{name}"));
        let start = Start::new(folder.join(name)).program(archive.server.join("accredit-host")).switch("--no-tick");
        let start = start.variable("crm_token", crm.client.bearer()).variable("crm_secret", "only the guard knows it");
        let start = start.flag("--allow-private", address).flag("--allow-private", &service.address);
        let guarded = start.flag("--cache-dir", &cache).run();
        // The application alone was compiled, or what it was composed to.
        assert_eq!(kept_in(&cache), compiled, "{name}: {}", guarded.log());
        let at = |bearer: &str| guarded.client().with(bearer).get("/orders/who");
        let passed = at(reader.client.bearer());
        assert_eq!(passed.status(), 200, "{name}: {}", guarded.log());
        let said = passed.text();
        assert_eq!(said.contains("x-crm-secret: only the guard knows it"), name == "address.toml", "{said}");
        assert!(!said.contains(reader.client.bearer()), "{said}");
        assert_eq!((at(other.client.bearer()).status(), guarded.client().get("/").status()), (403, 401), "{name}");
        let stopped = admin.post(&format!("/api/agents/reader-{number}/stop"), &Json::Null).is(200);
        let closure = format!("/api/closures/{}?wait=25", text(&stopped["closure"]["id"]));
        until("the guard has heard", || (admin.get(&closure).is(200)["status"] == "closed").then_some(()));
        assert_eq!(at(reader.client.bearer()).status(), 403, "{name}");
    }
}

/// The lines of the first block of shell behind this text.
#[track_caller]
fn block<'t>(text: &'t str, heading: &str) -> Vec<&'t str> {
    let below = text.split_once(heading).unwrap().1;
    let inside = below.split_once("```sh\n").and_then(|(_, rest)| rest.split_once("\n```")).unwrap().0;
    inside.lines().collect()
}

/// R152, R209: the steps of the operator's pages, as they stand there, in an empty directory and home; but for the port, which is a free one.
#[test]
fn the_steps_for_the_archive_are_followed_to_the_letter() {
    let archive = archive();
    let (folder, home) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    for made in fs::read_dir(archive.folder.path().join("made")).unwrap().flatten() {
        if made.path().is_file() {
            fs::copy(made.path(), folder.path().join(made.file_name())).unwrap();
        }
    }
    let pages = archive.server.join("docs/operations.md");
    let steps = fs::read_to_string(&pages).unwrap();
    let steps = block(&steps, "\n## The server without Rust\n");
    let readme = fs::read_to_string(archive.server.join("README.md")).unwrap();
    let of_readme = block(&readme, "# Accredit server");
    assert!(steps.ends_with(&of_readme), "{steps:?} {of_readme:?}");
    let script = steps.join("\n").replace("linux-x86_64", &format!("linux-{}", std::env::consts::ARCH));
    let script =
        format!("set -e\n{} --listen 127.0.0.1:0 --format json", script.replace("\nSPIN_", "\nexec env SPIN_"));
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", &script]).env_clear().env("HOME", home.path()).env("PATH", "/usr/bin:/bin");
    shell.current_dir(folder.path()).stdin(Stdio::null()).stdout(Stdio::piped());
    let mut host = Running(shell.spawn().unwrap());
    let mut line = String::new();
    BufReader::new(host.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let said: Json = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}"));
    let nobody = Client::of_accredit(said["base_url"].as_str().unwrap());
    nobody.call("GET", "/setup", &[("accept", "text/html")], None).is_text(200, "Operator secret");
    let server = fs::read_dir(folder.path()).unwrap().flatten().find(|entry| entry.path().is_dir()).unwrap().path();
    let secret = fs::read_to_string(server.join("operator-secret")).unwrap();
    let mode = |file: &str| fs::metadata(server.join(file)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("operator-secret"), mode("state")), (0o600, 0o700));
    let body =
        serde_json::json!({ "secret": secret.trim(), "email": "ada@example.com", "name": "Ada", "password": PASSWORD });
    nobody.post("/auth/bootstrap", &body).is(201);

    // A backup of the running server, as the pages have it but for the place.
    let pages = fs::read_to_string(pages).unwrap();
    let backup = block(&pages, "\n## Backup\n").join("\n").replace("/var/lib/accredit", "state");
    let mut shell = Command::new("/bin/sh");
    shell.args(["-e", "-c", &backup]).env_clear().env("HOME", home.path()).env("PATH", ".:/usr/bin:/bin");
    let made = shell.current_dir(&server).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    signal(host.0.id(), Signal::TERM);
    assert!(host.0.wait().unwrap().success());
}

/// The compiled components in a cache.
fn kept_in(cache: &Path) -> usize {
    let files = fs::read_dir(cache).unwrap().map(|entry| entry.unwrap().file_name());
    files.filter(|name| name.to_string_lossy().ends_with(".cwasm")).count()
}

/// R162: a component whose compiled form is not for this version of the engine, or this class of machine, is compiled, and one line says so.
#[test]
fn what_was_compiled_for_another_machine_is_compiled_here() {
    let archive = archive();
    let place = tempfile::tempdir_in(archive.folder.path()).unwrap();
    let server = place.path().join("server");
    let copied = Command::new("cp").arg("-al").arg(&archive.server).arg(&server).status().unwrap();
    assert!(copied.success());
    let all: Vec<PathBuf> = fs::read_dir(server.join("compiled")).unwrap().map(|entry| entry.unwrap().path()).collect();
    // The guard beside those of the application, and smaller than each of them.
    assert_eq!(all.len(), fs::read_dir(server.join("components")).unwrap().count() + 1);
    let largest = all.iter().max_by_key(|path| fs::metadata(path).unwrap().len()).unwrap();
    let mut bytes = fs::read(largest).unwrap();
    // As a file of another version says it: its header has the version of the engine.
    let version = bytes.windows(5).position(|found| found == b"48.0.").unwrap();
    bytes[version] = b'3';
    // Not the file that the other copy has too.
    fs::remove_file(largest).unwrap();
    fs::write(largest, bytes).unwrap();

    let cache = place.path().join("cache");
    let start = Start::new(server.join("spin.toml")).program(server.join("accredit-host")).switch("--no-tick");
    let host = start.flag("--state-dir", place.path().join("state")).flag("--cache-dir", &cache).run();
    assert_eq!(host.client().get("/readyz").is(200)["status"], "ready");
    host.client().get("/cli/manifest.json");
    assert_eq!(kept_in(&cache), 1);
    let told = host.log().lines().filter(|line| line.contains("were compiled ahead")).count();
    assert_eq!(told, 1, "{}", host.log());
}

/// R152: the unit of systemd and the Containerfile start the host with flags that it has, below what the archive has, and with no right that it
/// does not need.
#[test]
fn the_unit_and_the_containerfile_fit_the_program() {
    let archive = archive();
    let read = |name: &str| fs::read_to_string(archive.server.join(name)).unwrap();
    let help = Command::new(archive.server.join("accredit-host")).arg("--help").output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    let (unit, container) = (read("accredit.service"), read("Containerfile"));
    let started = [("ExecStart=", &unit), ("ENTRYPOINT ", &container)].map(|(begin, file)| {
        let line = file.lines().find_map(|line| line.strip_prefix(begin)).unwrap();
        let words: Vec<&str> = line.split(['[', ']', '"', ',', ' ']).filter(|word| !word.is_empty()).collect();
        words.join(" ")
    });
    for line in &started {
        let mut words = line.split_whitespace();
        assert_eq!(words.next(), Some("/opt/accredit/accredit-host"));
        assert!(line.contains("--from /opt/accredit/spin.toml"), "{line}");
        for flag in words.filter(|word| word.starts_with("--")) {
            assert!(help.contains(&format!("{flag} ")) || help.contains(&format!("{flag}\n")), "{flag}");
        }
    }
    for hardened in [
        "NoNewPrivileges=yes",
        "CapabilityBoundingSet=",
        "ProtectSystem=strict",
        "ProtectHome=yes",
        "PrivateTmp=yes",
        "PrivateDevices=yes",
        "RestrictNamespaces=yes",
        "SystemCallFilter=@system-service",
        "UMask=0077",
    ] {
        assert!(unit.lines().any(|line| line == hardened), "{hardened}");
    }
    assert!(container.lines().any(|line| line == "USER accredit"), "{container}");
    // R675: what is copied is there, has all that the manifest names, and is nothing else of the folder, where secrets and databases may be.
    let copied: Vec<&str> = container
        .lines()
        .filter_map(|line| line.strip_prefix("COPY "))
        .flat_map(|line| line.rsplit_once(' ').unwrap().0.split(' '))
        .collect();
    for name in &copied {
        assert!(*name != "." && archive.server.join(name).exists(), "{name}");
    }
    for needed in ["accredit-host", "spin.toml", "components", "compiled", "docs", "dist"] {
        assert!(copied.contains(&needed), "{needed}");
    }
    // What it names as the configuration is there, and every line of it is a variable of the application.
    let manifest = read("spin.toml");
    for line in read("accredit.env.example").lines().filter_map(|line| line.strip_prefix("SPIN_VARIABLE_")) {
        let name = line.split('=').next().unwrap().to_lowercase();
        assert!(manifest.contains(&format!("\n{name} = {{ default")), "{name}");
    }
}

/// R162: the manifest for SpinKube sets variables that the application has, and the paths of its volume.
#[test]
fn the_manifest_for_spinkube_fits_the_application() {
    let archive = archive();
    let read = |name: &str| fs::read_to_string(archive.server.join(name)).unwrap();
    let (app, manifest) = (read("spinapp.yaml"), read("spin.toml"));
    assert!(app.contains("apiVersion: core.spinkube.dev/v1alpha1\nkind: SpinApp\n"), "{app}");
    assert!(app.contains(&format!("image: registry.example.com/accredit:{}\n", env!("CARGO_PKG_VERSION"))), "{app}");
    let variables = app.split_once("  variables:\n").unwrap().1.split_once("  runtimeConfig:\n").unwrap().0;
    let names: Vec<&str> = variables.lines().filter_map(|line| line.strip_prefix("    - name: ")).collect();
    assert!(names.len() > 4 && names.contains(&"operator_secret"));
    for name in names {
        assert!(manifest.contains(&format!("\n{name} = {{ default")), "{name}");
    }
    // What this repository's own runtime configuration has, it has too.
    for line in read("runtime-config.toml").lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        assert!(app.contains(&format!("    {line}\n")), "{line}");
    }
    // R675: what Spin and Kubernetes refuse, or wait for without an end.
    let ids = [app.matches("runAsNonRoot: true").count(), app.matches("runAsUser: 1").count()];
    assert!(ids[0] == ids[1] && !app.contains("=false") && !app.contains("ReadWriteOncePod"), "{app}");
    let mount = app.lines().find_map(|line| line.trim().strip_prefix("mountPath: ")).unwrap();
    assert_eq!(app.matches(&format!("path = \"{mount}/")).count(), 2);
}

/// R152: the bill of materials names each crate once, with its licence, and what it stands on.
#[test]
fn the_bill_of_materials_is_whole() {
    let archive = archive();
    let server = &archive.server;
    let bill: Json = serde_json::from_str(&fs::read_to_string(server.join("sbom.cdx.json")).unwrap()).unwrap();
    assert_eq!((&bill["bomFormat"], &bill["specVersion"]), (&"CycloneDX".into(), &"1.6".into()));
    let parts = bill["components"].as_array().unwrap();
    let names: BTreeSet<&str> = parts.iter().filter_map(|part| part["name"].as_str()).collect();
    for name in ["wasmtime", "rusqlite", "spin-sdk", "accredit-host", "web", "common", "guard"] {
        assert!(names.contains(name), "{name}");
    }
    // What only tests and builds need is not in it.
    assert!(!names.contains("xtask") && !names.contains("tests") && !names.contains("proptest"));
    let references: BTreeSet<&str> = parts.iter().filter_map(|part| part["bom-ref"].as_str()).collect();
    assert_eq!(references.len(), parts.len());
    for part in parts {
        assert!(part["licenses"].is_array(), "{part}");
        let is_from_registry = part["purl"].is_string();
        let digest = part["hashes"].as_array().and_then(|all| all.first()?["content"].as_str());
        assert_eq!(digest.map(str::len), is_from_registry.then_some(64), "{part}");
    }
    let own = bill["metadata"]["component"]["bom-ref"].as_str().unwrap();
    for edge in bill["dependencies"].as_array().unwrap() {
        let from = edge["ref"].as_str().unwrap();
        assert!(from == own || references.contains(from), "{from}");
        for to in edge["dependsOn"].as_array().unwrap() {
            assert!(references.contains(to.as_str().unwrap()), "{to}");
        }
    }
}
