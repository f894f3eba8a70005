//! R63, R64: the CLI as the server hands it out, and the installer, run for real. The program is a stand-in, since
//! the server only hands out bytes; `installing.rs` installs the real one.

#![expect(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "helpers of tests: whatever is not as expected ends the test"
)]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value as Json, json};
use sha2::{Digest, Sha256};
use tempfile::TempDir;
use tests::{Answer, PATIENCE, Server, Shared, host, packages, raw, until};

const PROGRAM: &[u8] = b"#!/bin/sh\necho accredit 1.2.3\n";
const WHEEL_NAME: &str = "accredit-1.2.3-py3-none-manylinux_2_17_x86_64.whl";
const SCRIPT: &str = "/cli/install.sh";
const PROGRAM_PATH: &str = "/cli/download?os=linux&arch=x86_64";

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A folder with a manifest of Accredit and a `dist` beside it.
struct Release {
    folder: TempDir,
    files: Vec<Json>,
}

impl Release {
    /// With an empty `dist`.
    fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("accredit-release-").tempdir().unwrap();
        fs::create_dir(folder.path().join("dist")).unwrap();
        Self { folder, files: Vec::new() }
    }

    /// With the stand-in for every platform that may run these tests, and a wheel.
    fn usual() -> Self {
        let release = Self::new();
        let platforms = [("linux", "x86_64"), ("linux", "aarch64"), ("macos", "x86_64"), ("macos", "aarch64")];
        let release = platforms.into_iter().fold(release, |release, (os, arch)| {
            release.file("binary", &format!("accredit-1.2.3-{os}-{arch}"), (os, arch), PROGRAM)
        });
        release.file("wheel", WHEEL_NAME, ("linux", "x86_64"), b"a wheel").list("1.2.3")
    }

    fn file(mut self, kind: &str, name: &str, (os, arch): (&str, &str), bytes: &[u8]) -> Self {
        fs::write(self.dist().join(name), bytes).unwrap();
        let platform = json!({ "os": os, "arch": arch });
        let size = bytes.len();
        self.files
            .push(json!({ "kind": kind, "platform": platform, "file": name, "size": size, "sha256": sha256(bytes) }));
        self
    }

    fn list(self, version: &str) -> Self {
        let manifest = json!({ "version": version, "files": self.files });
        fs::write(self.dist().join("manifest.json"), manifest.to_string()).unwrap();
        self
    }

    fn dist(&self) -> PathBuf {
        self.folder.path().join("dist")
    }

    fn settings(&self) -> tests::server::Settings {
        Server::settings().manifest(host::write_manifest(self.folder.path()))
    }

    fn serve(&self) -> Server {
        self.settings().start()
    }
}

static SITE: Shared<Server> = Shared::new();

/// One server for all tests that change nothing about it.
fn site() -> Arc<Server> {
    SITE.get(|| Release::usual().serve())
}

/// Asks with these very bytes as `Host`.
fn try_with_host(server: &Server, host: &[u8]) -> std::io::Result<raw::Response> {
    let request = [b"GET /cli/install.sh HTTP/1.1\r\nconnection: close\r\nhost: ", host, b"\r\n\r\n"].concat();
    raw::exchange(server.host().address(), &request)
}

fn with_host(server: &Server, host: &[u8]) -> raw::Response {
    try_with_host(server, host).unwrap()
}

#[test]
fn every_route_hands_out_what_the_manifest_lists() {
    let site = site();
    let nobody = site.nobody();
    assert_eq!(nobody.get("/cli/latest").is(200), json!({ "version": "1.2.3" }));
    let listing = nobody.get("/cli/manifest.json").is(200);
    assert_eq!(listing["version"], "1.2.3");
    let files = listing["files"].as_array().unwrap();
    assert_eq!(files.len(), 5);
    for file in files {
        let answer = nobody.get(file["url"].as_str().unwrap());
        assert_eq!(answer.status(), 200);
        assert_eq!(sha256(answer.text().as_bytes()), file["sha256"].as_str().unwrap());
        assert_eq!(answer.header("content-length"), file["size"].to_string());
        assert_eq!(answer.header("etag"), format!("\"{}\"", file["sha256"].as_str().unwrap()));
        let name = format!("attachment; filename=\"{}\"", file["file"].as_str().unwrap());
        assert_eq!(answer.header("content-disposition"), name);
    }
}

/// HEAD is GET without the body: the same status and headers, the length of what would come too.
#[test]
fn head_says_what_get_would_send() {
    let site = site();
    let nobody = site.nobody();
    let wheel = format!("/cli/wheel/{WHEEL_NAME}");
    for path in [SCRIPT, "/cli/manifest.json", "/cli/latest", PROGRAM_PATH, &wheel, "/cli/wheel/none", "/cli/download"]
    {
        let bytes = |method: &str| raw::request(method, path, nobody.address(), &[], None);
        let get = nobody.get(path);
        // To the end of the connection: nothing comes behind the head.
        let mut connection = raw::Connection::open(nobody.address()).unwrap();
        connection.send(&bytes("HEAD")).unwrap();
        let head = connection.response(true).unwrap();
        assert_eq!(connection.rest().unwrap(), b"", "HEAD {path}");
        let plain = |headers: &[(String, String)]| -> BTreeMap<String, String> {
            headers.iter().filter(|(name, _)| !["date", "x-request-id"].contains(&name.as_str())).cloned().collect()
        };
        assert_eq!((head.status, plain(&head.headers)), (get.status(), plain(get.headers())), "HEAD {path}");
        assert_eq!(get.header("content-length"), get.text().len().to_string(), "{path}");
    }
}

#[test]
fn ranges_and_conditions_are_answered() {
    let site = site();
    let ask = |headers: &[(&str, &str)]| site.nobody().call("GET", PROGRAM_PATH, headers, None);
    let tag = format!("\"{}\"", sha256(PROGRAM));
    let size = PROGRAM.len();
    let part = |answer: &Answer| (answer.status(), answer.text(), answer.header("content-range").to_owned());
    let text = |range: std::ops::Range<usize>| String::from_utf8(PROGRAM[range].to_vec()).unwrap();
    assert_eq!(part(&ask(&[("range", "bytes=2-5")])), (206, text(2..6), format!("bytes 2-5/{size}")));
    assert_eq!(
        part(&ask(&[("range", "bytes=-4")])),
        (206, text(size - 4..size), format!("bytes {}-{}/{size}", size - 4, size - 1))
    );
    assert_eq!(part(&ask(&[("range", "bytes=2-5"), ("if-range", &tag)])).0, 206);
    for headers in [
        vec![("range", "bytes=2-5"), ("if-range", "\"other\"")],
        vec![("range", "bytes=0-1,4-5")],
        vec![("range", "bytes=5-2")],
        vec![("range", "nonsense")],
    ] {
        assert_eq!(part(&ask(&headers)), (200, text(0..size), String::new()), "{headers:?}");
    }
    let beyond = ask(&[("range", "bytes=100000-")]);
    beyond.refused(416, "range_not_satisfiable");
    assert_eq!(beyond.header("content-range"), format!("bytes */{size}"));
    let same = ask(&[("if-none-match", &tag)]);
    assert_eq!((same.status(), same.text(), same.header("etag")), (304, String::new(), tag.as_str()));
    // RFC 9110, section 8.6: if it had a length, it would be that of what it stands for.
    assert!(["".to_owned(), size.to_string()].contains(&same.header("content-length").to_owned()), "{same:?}");
    // The parts are the whole.
    let first = ask(&[("range", "bytes=0-9")]).text();
    let rest = ask(&[("range", "bytes=10-"), ("if-range", &tag)]).text();
    assert_eq!(format!("{first}{rest}").as_bytes(), PROGRAM);
}

/// Only what the manifest names leaves the server, whatever a path says.
#[test]
fn no_path_leads_to_another_file() {
    let release = Release::usual();
    fs::write(release.dist().join("kept-1-py3-none-any.whl"), "not listed").unwrap();
    fs::write(release.folder.path().join("outside-1-py3-none-any.whl"), "outside").unwrap();
    let server = release.serve();
    for name in [
        "kept-1-py3-none-any.whl",
        "manifest.json",
        "README.md",
        "accredit-1.2.3-linux-x86_64",
        "..%2foutside-1-py3-none-any.whl",
        "..%5coutside-1-py3-none-any.whl",
        "%2e%2e%2f%2e%2e%2fetc%2fpasswd",
        "%2fetc%2fpasswd",
        ".%2faccredit-1.2.3-py3-none-manylinux_2_17_x86_64.whl",
        "%00",
    ] {
        server.nobody().get(&format!("/cli/wheel/{name}")).refused(404, "artifact_not_found");
    }
    for path in
        ["/cli/wheel/../manifest.json", "/cli/wheel/../../etc/passwd", "/cli/../spin.toml", "/cli/wheel//etc/passwd"]
    {
        server.nobody().get(path).refused(404, "not_found");
    }
    for query in ["os=..&arch=..", "os=linux&arch=..%2f..%2fetc%2fpasswd", "os=&arch=", "os=plan9&arch=x86_64"] {
        let refused = server.nobody().get(&format!("/cli/download?{query}")).refused(404, "artifact_not_found");
        assert_eq!(refused["platforms"].as_array().unwrap().len(), 4);
        // R59: its fix works.
        server.nobody().get("/cli/manifest.json").is(200);
    }
}

/// R58, R59: while nothing was built, all routes say so, and their fix works. The server starts without the folder too.
#[test]
fn without_a_release_there_is_an_honest_404() {
    let empty = Release::new();
    let missing = Release::new();
    fs::remove_dir(missing.dist()).unwrap();
    for release in [empty, missing] {
        let server = release.serve();
        let nobody = server.nobody();
        let wheel = format!("/cli/wheel/{WHEEL_NAME}");
        for path in [SCRIPT, "/cli/manifest.json", "/cli/latest", PROGRAM_PATH, &wheel] {
            let refused = nobody.get(path).refused(404, "cli_not_built");
            assert!(refused["fix"].as_str().unwrap().contains("GET /docs/agents/"), "{refused}");
            assert_eq!(nobody.call("HEAD", path, &[], None).status(), 404);
        }
        assert_eq!(nobody.get("/docs/agents/").status(), 200);
    }
}

/// A damaged release is a clear fault, logged with its reason, and the next request is served.
#[test]
fn a_damaged_release_is_a_fault_that_is_logged() {
    for (text, reason) in [
        ("{\"version\":", "dist/manifest.json: EOF"),
        ("{\"version\": \"1.2.3;id\", \"files\": []}", "dist/manifest.json: not a valid version"),
        (
            "{\"version\": \"1.2.3\", \"files\": [{\"kind\": \"binary\", \"platform\": {\"os\": \"linux\", \"arch\": \"x86_64\"}, \"file\": \"../spin.toml\", \"size\": 1, \"sha256\": \"\"}]}",
            "not a valid file name",
        ),
    ] {
        let release = Release::usual();
        fs::write(release.dist().join("manifest.json"), text).unwrap();
        let server = release.serve();
        for path in [SCRIPT, "/cli/manifest.json", "/cli/latest", PROGRAM_PATH] {
            let refused = server.nobody().get(path).refused(500, "internal");
            assert!(!refused.to_string().contains(";id"), "{refused}");
        }
        host::until_logged(server.host(), reason);
        server.nobody().get("/cli/nothing").refused(404, "not_found");
    }
    let release = Release::usual();
    fs::write(release.dist().join(WHEEL_NAME), "another size").unwrap();
    let server = release.serve();
    server.nobody().get(&format!("/cli/wheel/{WHEEL_NAME}")).refused(500, "internal");
    host::until_logged(server.host(), &format!("dist/{WHEEL_NAME}: the file has 12 bytes"));
    assert_eq!(server.nobody().get(PROGRAM_PATH).status(), 200, "the others are served");
}

/// R63: the `Host` that a caller sends has the strict form of an address, or there is no script.
#[test]
fn a_strange_host_gets_no_script() {
    let site = site();
    let hosts: [&[u8]; 26] = [
        b"",
        b"evil host",
        b"evil\"",
        b"evil'",
        b"';evil;'",
        b"$(evil)",
        b"a.com$(evil)",
        b"`evil`",
        b"evil;id",
        b"evil&id",
        b"evil|id",
        b"evil\\",
        b"evil\x0b",
        b"evil.com%0a",
        b"evil.com:80%0a",
        b"evil.com\x00",
        b"evil.com\xc2\x85",
        b"evil.com:",
        b"evil.com:99999",
        b"evil.com/path",
        b"user@evil.com",
        b"evil..com",
        b"[::1",
        b"[fe80::1%25evil]",
        b"[evil]",
        b"evil.com, a.com",
    ];
    for host in hosts {
        // Spin closes the connection without an answer where a host is not an authority: no script is sent.
        let Ok(answer) = try_with_host(&site, host) else { continue };
        let (body, what) =
            (String::from_utf8_lossy(&answer.body).into_owned(), String::from_utf8_lossy(host).into_owned());
        assert_eq!(answer.status, 400, "{what:?}: {body}");
        // Either ours, or the host's own for a host that is none, or an empty one for a request that is not HTTP.
        if !body.is_empty() {
            let refused: Json = serde_json::from_str(&body).unwrap();
            assert!(
                ["invalid_host", "invalid_request"].iter().any(|slug| refused["error"] == *slug),
                "{what:?}: {body}"
            );
        }
        assert!(!body.contains("evil") && !body.contains("#!") && !body.contains(['`', '$']), "{what:?}: {body}");
    }
    // A line end at the very end is the end of the line: what comes behind it is another header, or the request's end.
    for end in ["a.com\n", "a.com\r\n"] {
        let Ok(answer) = try_with_host(&site, end.as_bytes()) else { continue };
        assert!(answer.status == 400 || String::from_utf8_lossy(&answer.body).contains("server='https://a.com'\n"));
    }
    if let Ok(folded) = try_with_host(&site, b"a.com\r\n evil") {
        assert!(folded.status == 400 && !String::from_utf8_lossy(&folded.body).contains("evil"), "{folded:?}");
    }
    let twice = with_host(&site, b"a.com\r\nhost: evil.com");
    assert!(twice.status == 400 && !String::from_utf8_lossy(&twice.body).contains("#!"), "{twice:?}");
    // Headers that proxies add are a caller's words too.
    let forwarded = [
        ("x-forwarded-host", "evil.com"),
        ("forwarded", "host=evil.com"),
        ("x-forwarded-proto", "evil"),
        ("spin-full-url", "http://evil.com/"),
    ];
    let script = site.nobody().call("GET", SCRIPT, &forwarded, None);
    assert!(script.status() == 200 && !script.text().contains("evil"), "{script:?}");
}

/// R63: names with underscores, ports and IPv6 literals are taken, and this machine itself is asked without TLS.
#[test]
fn a_host_of_a_good_shape_is_in_the_script() {
    let site = site();
    for (host, url) in [
        ("example.com", "https://example.com"),
        ("build_host.example:8443", "https://build_host.example:8443"),
        ("192.0.2.7:3000", "https://192.0.2.7:3000"),
        ("[2001:db8::1]:3000", "https://[2001:db8::1]:3000"),
        ("[::1]:3000", "http://[::1]:3000"),
        ("localhost:3000", "http://localhost:3000"),
        ("127.0.0.1", "http://127.0.0.1"),
    ] {
        let answer = with_host(&site, host.as_bytes());
        let script = String::from_utf8(answer.body).unwrap();
        assert_eq!(answer.status, 200, "{host}: {script}");
        assert!(script.contains(&format!("\n  server='{url}'\n")), "{host}: {script}");
    }
}

/// R63: once the operator has set `public_url`, nothing that a caller sends counts; and its path is kept.
#[test]
fn public_url_counts_alone() {
    let release = Release::usual();
    let server = release.settings().variable("public_url", "https://example.com:8443/team_1/acc").start();
    for host in [&b"evil.com"[..], b"$(evil)", b"evil;id"] {
        let answer = with_host(&server, host);
        let script = String::from_utf8(answer.body).unwrap();
        assert_eq!(answer.status, 200, "{script}");
        assert!(
            script.contains("\n  server='https://example.com:8443/team_1/acc'\n") && !script.contains("evil"),
            "{script}"
        );
    }
    let listing = server.nobody().get("/cli/manifest.json").is(200);
    assert_eq!(listing["files"][0]["url"], "/team_1/acc/cli/download?os=linux&arch=x86_64");
    let refused = server.nobody().get("/cli/wheel/none").is(404);
    assert_eq!(refused["doc_url"], "/team_1/acc/docs/agents/cli#downloads");
}

/// The shells that the script is run by.
const SHELLS: [&[&str]; 4] = [&["sh"], &["dash"], &["bash", "--posix"], &["busybox", "sh"]];

/// A person's home, in which nothing is but what the test puts there.
struct Home {
    folder: TempDir,
    /// Where temporary files go.
    temporary: TempDir,
}

impl Home {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), temporary: tempfile::tempdir().unwrap() }
    }

    fn path(&self, below: &str) -> PathBuf {
        self.folder.path().join(below)
    }

    /// Runs a script as `curl … | sh -s -- options` does.
    fn run(&self, shell: &[&str], script: &str, options: &[&str]) -> Output {
        self.run_with(shell, script, options, "/usr/local/bin:/usr/bin:/bin")
    }

    fn run_with(&self, shell: &[&str], script: &str, options: &[&str], path: &str) -> Output {
        let mut child = Command::new(shell[0])
            .args(&shell[1..])
            .args(["-s", "--"])
            .args(options)
            .env_clear()
            .env("HOME", self.folder.path())
            .env("TMPDIR", self.temporary.path())
            .env("PATH", path)
            .current_dir(self.temporary.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // A shell that has ended reads no more.
        drop(child.stdin.take().unwrap().write_all(script.as_bytes()));
        child.wait_with_output().unwrap()
    }

    /// Every file and folder below it, with its mode and what is in it.
    fn state(&self) -> BTreeMap<PathBuf, (u32, Vec<u8>)> {
        let mut found = BTreeMap::new();
        walk(self.folder.path(), &mut found);
        found
    }

    fn mode(&self, below: &str) -> u32 {
        fs::metadata(self.path(below)).unwrap().permissions().mode() & 0o777
    }

    fn has_no_leftovers(&self) -> bool {
        fs::read_dir(self.temporary.path()).unwrap().next().is_none()
            && !self.state().keys().any(|path| path.file_name().unwrap().to_string_lossy().starts_with(".accredit."))
    }
}

fn walk(folder: &Path, found: &mut BTreeMap<PathBuf, (u32, Vec<u8>)>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let mode = fs::symlink_metadata(&path).unwrap().permissions().mode();
        if path.is_dir() {
            found.insert(path.clone(), (mode, Vec::new()));
            walk(&path, found);
        } else {
            found.insert(path.clone(), (mode, fs::read(&path).unwrap()));
        }
    }
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// R64: in an empty HOME it installs, a second run is as good as the first, and the server is noted.
#[test]
fn the_script_installs_into_an_empty_home() {
    let site = site();
    let script = site.nobody().get(SCRIPT).text();
    for shell in SHELLS {
        let home = Home::new();
        let output = home.run(shell, &script, &[]);
        assert!(output.status.success(), "{shell:?}: {}", said(&output));
        assert_eq!(fs::read(home.path(".local/bin/accredit")).unwrap(), PROGRAM);
        assert_eq!((home.mode(".local/bin/accredit"), home.mode(".config/accredit")), (0o755, 0o700));
        let config = fs::read_to_string(home.path(".config/accredit/config.toml")).unwrap();
        assert_eq!(config, format!("url = \"{}\"\n", site.host().base_url()));
        assert_eq!(home.mode(".config/accredit/config.toml"), 0o600);
        let text = said(&output);
        for part in ["accredit 1.2.3 for ", "is not in your PATH", "auth login", "/docs/agents/"] {
            assert!(text.contains(part), "{shell:?}: no {part:?} in {text}");
        }
        let ran = Command::new(home.path(".local/bin/accredit")).output().unwrap();
        assert_eq!(ran.stdout, b"accredit 1.2.3\n");
        let before = home.state();
        let path = format!("{}:/usr/local/bin:/usr/bin:/bin", home.path(".local/bin").display());
        let again = home.run_with(shell, &script, &[], &path);
        assert!(again.status.success() && !said(&again).contains("not in your PATH"), "{}", said(&again));
        // R601: another one that comes first is named, and the next steps go by the whole path; a slash at the end is none.
        let first = home.path("first");
        fs::create_dir(&first).unwrap();
        fs::copy(home.path(".local/bin/accredit"), first.join("accredit")).unwrap();
        let hidden = said(&home.run_with(shell, &script, &[], &format!("{}:{path}", first.display())));
        assert!(
            hidden.contains(&format!("Another accredit comes first in your PATH: {}/accredit", first.display())),
            "{hidden}"
        );
        assert!(hidden.contains(".local/bin/accredit auth login"), "{hidden}");
        let slash = said(&home.run_with(shell, &script, &[], &path.replacen(':', "/:", 1)));
        assert!(slash.contains("  accredit auth login") && !slash.contains("PATH"), "{slash}");
        fs::remove_dir_all(first).unwrap();
        assert!(home.state() == before && home.has_no_leftovers(), "{shell:?}");
    }
}

/// R438: what the script says to do next is pasted as it stands, also where the home has blanks and quotes.
#[test]
fn the_next_steps_are_pasted() {
    let site = site();
    let script = site.nobody().get(SCRIPT).text();
    for shell in SHELLS {
        let home = Home::new();
        let bin = home.path("it's a $(home) \"of\" Ada/bin");
        fs::create_dir_all(bin.parent().unwrap()).unwrap();
        let pasted = |line: &str| {
            let mut pasted = Command::new(shell[0]);
            pasted.args(&shell[1..]).args(["-c", line]).env_clear().env("PATH", "/usr/bin:/bin").output().unwrap()
        };
        let place = format!(
            "ACCREDIT_INSTALL_DIR='{}'; export ACCREDIT_INSTALL_DIR\n",
            bin.display().to_string().replace('\'', "'\\''")
        );
        let output = home.run(shell, &format!("{place}{script}"), &[]);
        assert!(output.status.success(), "{shell:?}: {}", said(&output));
        let text = said(&output);
        let line =
            |end: &str| text.lines().find_map(|line| line.strip_prefix("  ")?.strip_suffix(end)).unwrap().to_owned();
        let step = line(" auth login    sign in");
        assert_eq!(pasted(&step).stdout, b"accredit 1.2.3\n", "{step}");
        let export = text.lines().find(|line| line.contains("export PATH")).unwrap();
        assert_eq!(pasted(&format!("{export}\naccredit")).stdout, b"accredit 1.2.3\n", "{export}");
    }
}

/// The user's own places are used where they are absolute, and nothing is written elsewhere.
#[test]
fn the_script_installs_where_the_user_says() {
    let site = site();
    let script = site.nobody().get(SCRIPT).text();
    let with = |home: &Home, name: &str, place: &str| {
        let place = place.replace('~', &home.path("").display().to_string());
        home.run(&["sh"], &format!("{name}='{place}'; export {name}\n{script}"), &[])
    };
    for (name, place, program, config) in [
        ("ACCREDIT_INSTALL_DIR", "~opt/my bin/", "opt/my bin/accredit", ".config/accredit/config.toml"),
        ("XDG_CONFIG_HOME", "~xdg", ".local/bin/accredit", "xdg/accredit/config.toml"),
        ("ACCREDIT_CONFIG_DIR", "~own", ".local/bin/accredit", "own/config.toml"),
        ("XDG_CONFIG_HOME", "relative", ".local/bin/accredit", ".config/accredit/config.toml"),
    ] {
        let home = Home::new();
        let output = with(&home, name, place);
        assert!(output.status.success(), "{name}: {}", said(&output));
        let files = home.state().into_iter().filter(|(path, _)| path.is_file()).map(|(path, _)| path);
        let expected: BTreeSet<PathBuf> = [home.path(program), home.path(config)].into();
        assert_eq!(files.collect::<BTreeSet<_>>(), expected, "{name}");
        assert!(home.has_no_leftovers());
    }
    for name in ["ACCREDIT_INSTALL_DIR", "ACCREDIT_CONFIG_DIR"] {
        let home = Home::new();
        let output = with(&home, name, "relative");
        assert!(output.status.code() == Some(1) && said(&output).contains("absolute"), "{}", said(&output));
        assert!(home.state().is_empty());
    }
}

/// Existing content stays: other keys, comments, tables, the credentials; a folder that was open to others is narrowed.
#[test]
fn the_script_keeps_what_is_configured() {
    let site = site();
    let script = site.nobody().get(SCRIPT).text();
    let url = site.host().base_url();
    for (before, after) in [
        ("# mine\ncolour = \"never\"\n", format!("# mine\ncolour = \"never\"\nurl = \"{url}\"\n")),
        (
            "url = \"https://old.example\"\ncolour = \"never\"\n[profiles.work]\nurl = \"https://work.example\"\n",
            format!("url = \"{url}\"\ncolour = \"never\"\n[profiles.work]\nurl = \"https://work.example\"\n"),
        ),
        (
            "[profiles.work]\nurl = \"https://work.example\"\n",
            format!("url = \"{url}\"\n\n[profiles.work]\nurl = \"https://work.example\"\n"),
        ),
        (
            "lists = [\n  [\"a\", \"]\"], # [\n  [\"b\"]\n]\nurl = \"https://old.example\"\n[profiles.work]\nurl = \"u\"\n",
            format!("lists = [\n  [\"a\", \"]\"], # [\n  [\"b\"]\n]\nurl = \"{url}\"\n[profiles.work]\nurl = \"u\"\n"),
        ),
        (
            "text = \"\"\"\n[ [\nurl = 1\n\"\"\"\nurl = \"https://old.example\"\n[profiles.work]\n",
            format!("text = \"\"\"\n[ [\nurl = 1\n\"\"\"\nurl = \"{url}\"\n[profiles.work]\n"),
        ),
        ("url_of_something = 1", format!("url_of_something = 1\nurl = \"{url}\"\n")),
        // R472: a key in quotes is the key, and what some editors write before a text is none of it.
        ("\"url\" = \"https://old.example\"\n", format!("url = \"{url}\"\n")),
        ("'url'='https://old.example'\n", format!("url = \"{url}\"\n")),
        ("\u{feff}url = \"https://old.example\"\nx = 1\n", format!("url = \"{url}\"\nx = 1\n")),
        ("\u{feff}[profiles.a]\nurl = \"u\"\n", format!("url = \"{url}\"\n\n[profiles.a]\nurl = \"u\"\n")),
        ("", format!("url = \"{url}\"\n")),
    ] {
        let home = Home::new();
        fs::create_dir_all(home.path(".config/accredit")).unwrap();
        fs::set_permissions(home.path(".config/accredit"), fs::Permissions::from_mode(0o755)).unwrap();
        fs::write(home.path(".config/accredit/config.toml"), before).unwrap();
        fs::write(home.path(".config/accredit/credentials"), "kept").unwrap();
        let output = home.run(&["sh"], &script, &[]);
        assert!(output.status.success(), "{}", said(&output));
        assert_eq!(fs::read_to_string(home.path(".config/accredit/config.toml")).unwrap(), after);
        assert_eq!(fs::read_to_string(home.path(".config/accredit/credentials")).unwrap(), "kept");
        assert_eq!(home.mode(".config/accredit"), 0o700);
        assert!(home.run(&["sh"], &script, &[]).status.success());
        assert_eq!(fs::read_to_string(home.path(".config/accredit/config.toml")).unwrap(), after);
    }
    // A file that it cannot read it leaves alone, and says so.
    let home = Home::new();
    fs::create_dir_all(home.path(".config/accredit")).unwrap();
    let strange = "list = [\n[profiles.work]\nurl = \"u\"\n";
    fs::write(home.path(".config/accredit/config.toml"), strange).unwrap();
    let output = home.run(&["sh"], &script, &[]);
    assert!(output.status.success() && said(&output).contains("Not configured: add url ="), "{}", said(&output));
    assert_eq!(fs::read_to_string(home.path(".config/accredit/config.toml")).unwrap(), strange);
    // A link to a file elsewhere stays a link.
    let home = Home::new();
    fs::create_dir_all(home.path(".config/accredit")).unwrap();
    fs::write(home.path("dotfile.toml"), "colour = \"never\"\n").unwrap();
    symlink(home.path("dotfile.toml"), home.path(".config/accredit/config.toml")).unwrap();
    assert!(home.run(&["sh"], &script, &[]).status.success());
    assert!(fs::symlink_metadata(home.path(".config/accredit/config.toml")).unwrap().is_symlink());
    let config = fs::read_to_string(home.path("dotfile.toml")).unwrap();
    assert_eq!(config, format!("colour = \"never\"\nurl = \"{url}\"\n"));
}

/// `--dry-run` says what would be done, and nothing is done.
#[test]
fn a_dry_run_changes_nothing() {
    let site = site();
    let script = site.nobody().get(SCRIPT).text();
    for shell in SHELLS {
        let home = Home::new();
        let output = home.run(shell, &script, &["--dry-run"]);
        assert!(output.status.success(), "{}", said(&output));
        for part in ["Would download", ".local/bin/accredit", "config.toml", "Nothing was changed"] {
            assert!(said(&output).contains(part), "{part:?}: {}", said(&output));
        }
        assert!(home.state().is_empty() && home.has_no_leftovers());
        let help = home.run(shell, &script, &["--help"]);
        assert!(help.status.success() && said(&help).contains("--dry-run"));
        assert_eq!(home.run(shell, &script, &["--nonsense"]).status.code(), Some(64));
        assert!(home.state().is_empty());
    }
}

/// R64: a download that differs from what the server promised is refused, what was installed before stays, and nothing is left behind.
#[test]
fn a_corrupted_download_is_refused_and_leaves_nothing() {
    let release = Release::usual();
    for name in ["accredit-1.2.3-linux-x86_64", "accredit-1.2.3-linux-aarch64"] {
        // The same length, another byte: the server cannot see it, the installer must.
        let mut corrupted = PROGRAM.to_vec();
        corrupted[20] ^= 1;
        fs::write(release.dist().join(name), corrupted).unwrap();
    }
    let server = release.serve();
    let script = server.nobody().get(SCRIPT).text();
    for shell in SHELLS {
        let home = Home::new();
        let output = home.run(shell, &script, &[]);
        assert!(
            !output.status.success() && said(&output).contains("the downloaded file does not match"),
            "{}",
            said(&output)
        );
        assert!(home.state().is_empty() && home.has_no_leftovers(), "{:?}", home.state());
        fs::create_dir_all(home.path(".local/bin")).unwrap();
        fs::write(home.path(".local/bin/accredit"), "the one before").unwrap();
        let before = home.state();
        assert!(!home.run(shell, &script, &[]).status.success());
        assert!(home.state() == before && home.has_no_leftovers());
    }
}

/// R472: a program that does not run here replaces none that does.
#[test]
fn a_program_that_does_not_run_is_not_installed() {
    let add = |release: Release, arch| {
        release.file("binary", &format!("accredit-1.2.3-linux-{arch}"), ("linux", arch), b"\x7fELF of another machine")
    };
    let server = ["x86_64", "aarch64"].into_iter().fold(Release::new(), add).list("1.2.3").serve();
    let script = server.nobody().get(SCRIPT).text();
    for shell in SHELLS {
        let home = Home::new();
        fs::create_dir_all(home.path(".local/bin")).unwrap();
        fs::write(home.path(".local/bin/accredit"), "the one before").unwrap();
        let before = home.state();
        let output = home.run(shell, &script, &[]);
        assert!(output.status.code() == Some(1) && said(&output).contains("does not run"), "{}", said(&output));
        assert!(home.state() == before && home.has_no_leftovers());
    }
}

/// A server that is gone, a platform that is not there, a HOME that is not usable: each is reported, and nothing is left behind.
#[test]
fn the_script_says_why_it_cannot() {
    let site = site();
    let script = site.nobody().get(SCRIPT).text();
    let elsewhere = script.replace(site.host().base_url(), "http://127.0.0.1:1");
    let no_platform = script.replace("'linux-", "'plan9-").replace("'macos-", "'plan9-");
    let home = Home::new();
    for (script, words) in
        [(&elsewhere, "the download from http://127.0.0.1:1 failed"), (&no_platform, "has no accredit for")]
    {
        let output = home.run(&["sh"], script, &[]);
        assert!(output.status.code() == Some(1) && said(&output).contains(words), "{}", said(&output));
        assert!(home.state().is_empty() && home.has_no_leftovers());
    }
    fs::create_dir_all(home.path(".local/bin/accredit")).unwrap();
    let output = home.run(&["sh"], &script, &[]);
    assert!(!output.status.success() && said(&output).contains("is a directory"), "{}", said(&output));
}

/// A folder with some of the system's programs, to be all of a PATH.
fn tools(names: &[&str]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for name in names {
        symlink(packages::program(name), folder.path().join(name)).unwrap();
    }
    folder
}

/// R427: with curl or wget, with sha256sum or shasum: the tools that are there are used, and a missing one is reported before anything is done.
#[test]
fn the_script_takes_the_tools_that_are_there() {
    let site = site();
    let script = site.nobody().get(SCRIPT).text();
    let always = TOOLS;
    for (tool, check) in [("curl", "sha256sum"), ("wget", "sha256sum"), ("curl", "shasum")] {
        let folder = tools(&[&always[..], &[tool, check]].concat());
        // A tool that is a Perl script needs Perl.
        let more = tools(&["perl"]);
        let path = format!("{}:{}", folder.path().display(), more.path().display());
        let home = Home::new();
        let output = home.run_with(&["/bin/sh"], &script, &[], &path);
        assert!(output.status.success(), "{tool}, {check}: {}", said(&output));
        assert_eq!(fs::read(home.path(".local/bin/accredit")).unwrap(), PROGRAM);
        assert!(home.has_no_leftovers());
    }
    for (tools, words) in [
        (tools(&[&always[..], &["sha256sum"]].concat()), "curl or wget is required"),
        (tools(&[&always[..], &["curl", "wget"]].concat()), "sha256sum or shasum is required"),
    ] {
        let home = Home::new();
        let output = home.run_with(&["/bin/sh"], &script, &[], &tools.path().to_string_lossy());
        assert!(output.status.code() == Some(1) && said(&output).contains(words), "{}", said(&output));
        assert!(home.state().is_empty() && home.has_no_leftovers());
    }
}

/// What the script needs beside a program that downloads and one that makes digests.
const TOOLS: [&str; 10] = ["awk", "cat", "chmod", "cp", "mkdir", "mktemp", "mv", "rm", "uname", "wc"];

/// A PATH for each program that can download, with no other one in it.
fn downloaders() -> [(&'static str, TempDir); 3] {
    [("curl", "curl"), ("wget", "wget"), ("busybox", "wget")].map(|(name, link)| {
        let folder = tools(&[&TOOLS[..], &["sha256sum", "timeout"]].concat());
        symlink(packages::program(name), folder.path().join(link)).unwrap();
        (name, folder)
    })
}

/// R81: the files with which people configure curl and wget change nothing, and no credential in them is sent.
#[test]
fn the_script_downloads_without_the_users_configuration() {
    let site = site();
    let script = site.nobody().get(SCRIPT).text();
    for (name, folder) in downloaders() {
        let home = Home::new();
        let evil = home.path("evil");
        let curlrc =
            format!("include\nmax-filesize = 1\ntrace-ascii = {}\nproxy = http://127.0.0.1:1\n", evil.display());
        let wgetrc = format!(
            "save_headers = on\noutput_document = {}\nuse_proxy = on\nhttp_proxy = http://127.0.0.1:1/\n",
            evil.display()
        );
        for (name, text) in [(".curlrc", &curlrc), (".wgetrc", &wgetrc), (".config/curlrc", &curlrc)] {
            fs::create_dir_all(home.path(name).parent().unwrap()).unwrap();
            fs::write(home.path(name), text).unwrap();
        }
        let output = home.run_with(&["/bin/sh"], &script, &[], &folder.path().to_string_lossy());
        assert!(output.status.success(), "{name}: {}", said(&output));
        assert_eq!(fs::read(home.path(".local/bin/accredit")).unwrap(), PROGRAM, "{name}");
        assert!(!evil.exists() && home.has_no_leftovers(), "{name}");

        let (address, heads) = strange_server(|mut stream| {
            let length = PROGRAM.len();
            drop(write!(
                stream,
                "HTTP/1.1 401 Unauthorized\r\nwww-authenticate: Basic realm=\"x\"\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n"
            ));
        });
        fs::write(home.path(".netrc"), "default login ada password secret\n").unwrap();
        fs::set_permissions(home.path(".netrc"), fs::Permissions::from_mode(0o600)).unwrap();
        let elsewhere = script.replace(site.host().base_url(), &address);
        assert!(!home.run_with(&["/bin/sh"], &elsewhere, &[], &folder.path().to_string_lossy()).status.success());
        let heads = heads.lock().unwrap().join("\n").to_ascii_lowercase();
        assert!(heads.starts_with("get ") && !heads.contains("authorization"), "{name}: {heads}");
    }
}

/// A server on a port of its own, which reads a request's head and then does what it likes; and the heads that it read.
fn strange_server(answer: impl Fn(TcpStream) + Send + Sync + 'static) -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let heads = Arc::new(Mutex::new(Vec::new()));
    let (answer, kept) = (Arc::new(answer), Arc::clone(&heads));
    // Ends with the process.
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let (answer, kept) = (Arc::clone(&answer), Arc::clone(&kept));
            thread::spawn(move || {
                let lines = BufReader::new(&stream).lines().map_while(Result::ok).take_while(|line| !line.is_empty());
                kept.lock().unwrap().push(lines.collect::<Vec<_>>().join("\n"));
                answer(stream);
            });
        }
    });
    (address, heads)
}

/// R81: a server that is silent, or slow, or sends without end is given up, and nothing is left behind.
#[test]
fn the_script_gives_a_server_up_that_stalls_or_does_not_end() {
    let site = site();
    let script = site.nobody().get(SCRIPT).text();
    let hurried = script.replace("silence=30\n", "silence=2\n").replace("longest=3600\n", "longest=4\n");
    assert_eq!(hurried.len() + 4, script.len(), "both limits are in the script");
    let head = |length: &str| format!("HTTP/1.1 200 OK\r\nconnection: close\r\n{length}\r\n");
    let (silent, _) = strange_server(|stream| {
        // Until the client goes away.
        drop((&stream).read(&mut [0]));
    });
    let half = head("content-length: 30\r\n") + "#!/bin";
    let (stalling, _) = strange_server(move |mut stream| {
        drop(stream.write_all(half.as_bytes()));
        drop((&stream).read(&mut [0]));
    });
    let slow = head("content-length: 30\r\n");
    let (slow, _) = strange_server(move |mut stream| {
        drop(stream.write_all(slow.as_bytes()));
        while stream.write_all(b"#").is_ok() {
            thread::sleep(Duration::from_millis(1500));
        }
    });
    let (endless, sent) = (head(""), Arc::new(AtomicUsize::new(0)));
    let counted = Arc::clone(&sent);
    let (endless, _) = strange_server(move |mut stream| {
        drop(stream.write_all(endless.as_bytes()));
        while stream.write_all(&[b'x'; 65_536]).is_ok() {
            counted.fetch_add(65_536, Ordering::Relaxed);
        }
    });
    for (name, folder) in downloaders() {
        for (what, address) in [("silent", &silent), ("stalling", &stalling), ("slow", &slow), ("endless", &endless)] {
            let home = Home::new();
            let script = hurried.replace(site.host().base_url(), address);
            let start = Instant::now();
            let output = home.run_with(&["/bin/sh"], &script, &[], &folder.path().to_string_lossy());
            assert!(
                output.status.code() == Some(1) && said(&output).contains("nothing was changed"),
                "{name}, {what}: {}",
                said(&output)
            );
            assert!(start.elapsed() < PATIENCE, "{name}, {what}");
            assert!(home.state().is_empty() && home.has_no_leftovers(), "{name}, {what}");
        }
    }
    assert!(sent.load(Ordering::Relaxed) < 100 << 20, "{sent:?}");
}

/// R81: the size is compared before the digest.
#[test]
fn a_download_of_another_length_is_refused_by_its_length() {
    let site = site();
    let script = site.nobody().get(SCRIPT).text();
    let short = PROGRAM.get(..20).unwrap_or_default();
    let (address, _) = strange_server(move |mut stream| {
        drop(write!(stream, "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", short.len()));
        drop(stream.write_all(short));
    });
    for shell in SHELLS {
        let home = Home::new();
        let output = home.run(shell, &script.replace(site.host().base_url(), &address), &[]);
        let expected = format!("(20 bytes, expected {})", PROGRAM.len());
        assert!(output.status.code() == Some(1) && said(&output).contains(&expected), "{}", said(&output));
        assert!(home.state().is_empty() && home.has_no_leftovers());
    }
}

/// R81: a script that was cut off in transfer does nothing, wherever it was cut. Only the end of its last line may be missing.
#[test]
fn a_part_of_the_script_does_nothing() {
    let site = site();
    let script = site.nobody().get(SCRIPT).text();
    let whole = script.trim_end().len();
    let mut cuts: Vec<usize> = (0..whole).step_by(97).collect();
    cuts.extend(whole - 200..whole);
    for shell in SHELLS {
        let home = Home::new();
        for cut in &cuts {
            // With an option, which a part of the script must not lose.
            let output = home.run(shell, &script[..*cut], &["--dry-run"]);
            assert!(!said(&output).contains("accredit 1.2.3"), "{shell:?}, cut at {cut}: {}", said(&output));
            assert!(home.state().is_empty() && home.has_no_leftovers(), "{shell:?}, cut at {cut}");
        }
        let output = home.run(shell, &script[..whole], &["--dry-run"]);
        assert!(said(&output).contains("Nothing was changed") && home.state().is_empty(), "{}", said(&output));
    }
}

/// The script is one that every POSIX shell can read, and that the linter has nothing against.
#[test]
fn the_script_is_posix() {
    let site = site();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("install.sh");
    fs::write(&path, site.nobody().get(SCRIPT).text()).unwrap();
    let mut checks: Vec<Vec<&str>> = SHELLS.into_iter().map(|shell| [shell, &["-n"]].concat()).collect();
    checks.push(vec!["shellcheck", "--shell=sh"]);
    for check in checks {
        let output = Command::new(packages::program(check[0])).args(&check[1..]).arg(&path).output().unwrap();
        assert!(output.status.success(), "{check:?}: {}", said(&output));
    }
}

/// A download that can be stopped in the middle.
struct Download {
    stream: BufReader<TcpStream>,
    length: u64,
    digest: Sha256,
    got: u64,
}

impl Download {
    fn begin(address: &str) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        (&stream).write_all(&raw::request("GET", PROGRAM_PATH, address, &[], None)).unwrap();
        let mut stream = BufReader::new(stream);
        let mut length = 0;
        loop {
            let mut line = String::new();
            stream.read_line(&mut line).unwrap();
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
            if line == "\r\n" {
                return Self { stream, length, digest: Sha256::new(), got: 0 };
            }
        }
    }

    fn read_to(&mut self, bytes: u64) {
        let mut piece = vec![0; 64 * 1024];
        while self.got < bytes {
            let read = self.stream.read(&mut piece).unwrap();
            assert!(read > 0, "it ended after {} bytes", self.got);
            self.digest.update(&piece[..read]);
            self.got += u64::try_from(read).unwrap();
        }
    }
}

/// R164: a file of 10 MiB, downloaded by fifty clients at once that stop in the middle: the host holds none of it, and all get all of it.
#[test]
fn large_downloads_at_once_need_no_memory() {
    const MIB: u64 = 1024 * 1024;
    const SIZE: u64 = 10 * MIB;
    const AT_ONCE: usize = 50;
    /// KiB that the host may have more. On a busy machine each download may have an instance of its own, and with it some 1,250.
    const MOST: u64 = 100_000;
    let bytes: Vec<u8> = (0..SIZE).map(|place| (place.wrapping_mul(2_654_435_761) >> 16) as u8).collect();
    let expected = sha256(&bytes);
    let release = Release::new().file("binary", "accredit-large", ("linux", "x86_64"), &bytes).list("1.2.3");
    drop(bytes);
    let server = release.serve();
    let download = |stop: &dyn Fn()| {
        let mut download = Download::begin(server.host().address());
        assert_eq!(download.length, SIZE);
        download.read_to(SIZE / 2);
        stop();
        download.read_to(SIZE);
        let digest: String = download.digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!((download.got, digest), (SIZE, expected.clone()));
    };
    download(&|| {});
    let before = server.host().peak_memory();
    // Not barriers: a thread that fails would leave the others waiting for ever.
    let (arrived, measured) = (AtomicUsize::new(0), AtomicBool::new(false));
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                download(&|| {
                    arrived.fetch_add(1, Ordering::SeqCst);
                    until("the measurement", || measured.load(Ordering::SeqCst).then_some(()));
                });
            });
        }
        until("every download in its middle", || (arrived.load(Ordering::SeqCst) == AT_ONCE).then_some(()));
        let during = server.host().memory();
        measured.store(true, Ordering::SeqCst);
        // Fifty halves of the file are 250 MiB.
        assert!(during < before + MOST, "{before} KiB before, {during} KiB in the middle of {AT_ONCE} downloads");
    });
    let after = server.host().peak_memory();
    eprintln!("the host's peak: {before} KiB after one download, {after} KiB after {AT_ONCE} at once");
    assert!(after < before + MOST, "{before} KiB after one download, {after} KiB after {AT_ONCE} at once");
}

/// R80: a time-out for the beginning of an answer does not end its body, which takes as long as its reader needs.
#[test]
fn a_download_may_take_longer_than_an_answer_may_take_to_begin() {
    const SIZE: u64 = 32 << 20;
    let bytes = vec![b'x'; usize::try_from(SIZE).unwrap()];
    let release = Release::new().file("binary", "accredit-large", ("linux", "x86_64"), &bytes).list("1.2.3");
    let server = release.settings().flag("--request-timeout", "1s").start();
    let mut download = Download::begin(server.host().address());
    download.read_to(SIZE / 4);
    thread::sleep(Duration::from_secs(3));
    download.read_to(SIZE);
    assert_eq!(download.got, SIZE);
    assert!(!server.host().log().contains("failed"), "{}", server.host().log());
}
