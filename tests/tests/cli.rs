//! R65, R66, R104 to R107: the command `accredit`, the real program against the real host.

#![expect(clippy::unwrap_used, reason = "helpers of tests: whatever is not as expected ends the test")]

use std::{
    fs,
    io::{Read, Write},
    net::{Shutdown, TcpListener},
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::Path,
    process::Command,
    thread,
};

use serde_json::{Value as Json, json};
use sha2::Digest as _;
use tests::{
    Client, Server,
    cli::{Cli, program},
    host,
    process::Signal,
    server::{KEY, PASSWORD, text},
};

/// A user whose session is saved.
fn signed_in(server: &Server) -> Cli {
    let cli = Cli::of(server.host().base_url());
    cli.fed(&format!("{PASSWORD}\n"), &["auth", "login", "--password", "--email", "ada@example.com"]).is(0);
    cli
}

/// A server that keeps secrets of agents, and its first admin.
fn with_secrets() -> (Server, Client) {
    let server = Server::settings().variable("secrets_key", KEY).start();
    let admin = server.bootstrap();
    (server, admin)
}

/// A server that says the same to everybody.
fn saying(answer: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            thread::spawn(move || {
                let mut bytes = [0; 4096];
                drop(stream.read(&mut bytes));
                if answer.is_empty() {
                    // Says nothing, until the client gives up.
                    while stream.read(&mut bytes).is_ok_and(|read| read > 0) {}
                }
                drop(stream.write_all(answer.as_bytes()));
                drop(stream.shutdown(Shutdown::Write));
                // What else was sent: to close the connection before would reset it, and the client could lose the answer.
                while stream.read(&mut bytes).is_ok_and(|read| read > 0) {}
            });
        }
    });
    format!("http://{address}")
}

/// R605: the command stops reading what has no end.
#[test]
fn an_answer_without_end_is_not_read() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let sender = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        drop(stream.read(&mut [0; 4096]));
        let mut sent = 0_usize;
        let mut next = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n".to_vec();
        while sent < 512 << 20 && stream.write_all(&next).is_ok() {
            sent += next.len();
            next = vec![b' '; 1 << 20];
        }
        sent
    });
    Cli::of(&url).run(&["ready"]).is(3);
    let sent = sender.join().unwrap();
    assert!((64 << 20..128 << 20).contains(&sent), "{sent} bytes");
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o777
}

fn approve(session: &Client, code: &str, body: &Json) {
    session.post(&format!("/auth/device/{code}/approve"), body).is(200);
}

/// R66, R107: each kind of outcome has an exit status of its own.
#[test]
fn outcomes_are_told_apart_by_the_exit_status() {
    let (server, admin) = Server::with_admin();
    let url = server.host().base_url();
    assert!(Cli::new().run(&["whoami"]).is(64).err.contains("ACCREDIT_URL"));
    assert!(Cli::of(url).run(&["whoami"]).is(2).err.contains("accredit auth login"));
    for words in
        [vec![], vec!["nonsense"], vec!["agents"], vec!["agents", "get", "--nonsense"], vec!["agents", "create"]]
    {
        Cli::of(url).run(&words).is(64);
    }
    for words in [vec!["--help"], vec!["agents", "--help"], vec!["token", "create", "--help"], vec!["--version"]] {
        let ran = Cli::of(url).run(&words).is(0);
        assert!(!ran.out.is_empty() && ran.err.is_empty(), "{ran:?}");
    }
    let of_admin = Cli::of(url).variable("ACCREDIT_TOKEN", admin.bearer());
    of_admin.run(&["whoami"]).is(0);
    of_admin.run(&["agents", "get", "nobody"]).is(1);
    Cli::of(url).variable("ACCREDIT_TOKEN", "nonsense").run(&["whoami"]).is(2);
    let unknown = tests::secret::credential("acr_pat_");
    Cli::of(url).variable("ACCREDIT_TOKEN", &unknown).run(&["whoami"]).is(2);
    Cli::of("http://127.0.0.1:1").variable("ACCREDIT_TOKEN", admin.bearer()).run(&["whoami"]).is(3);
    for bad in ["nonsense", "http://accredit.example", "ftp://127.0.0.1"] {
        Cli::of(bad).run(&["whoami"]).is(64);
    }
}

/// R524: a sign-in ends what the one before had made for the profile, and nothing that came from elsewhere.
#[test]
fn a_sign_in_ends_the_credential_of_the_one_before() {
    let (server, admin) = Server::with_admin();
    let cli = Cli::of(server.host().base_url());
    let words = ["auth", "login", "--password", "--email", "ada@example.com"];
    let saved = || {
        let saved: Json = serde_json::from_str(&cli.saved()).unwrap();
        text(&saved["profiles"]["default"]["token"]).to_owned()
    };
    let sign_in = || {
        let ran = cli.fed(&format!("{PASSWORD}\n"), &words).is(0);
        (saved(), ran.err.contains("Ended the credential of the sign-in before."))
    };
    let (first, ended) = sign_in();
    assert!(!ended);
    let (second, ended) = sign_in();
    assert!(ended);
    server.with(&first).get("/api/auth/whoami").refused(401, "token_revoked");
    let pat = server.plant_pat(&admin, "agents.read");
    cli.fed(&format!("{}\n", pat.bearer()), &["auth", "login", "--token", "-"]).is(0);
    server.with(&second).get("/api/auth/whoami").refused(401, "token_revoked");
    assert!(!sign_in().1);
    pat.get("/api/auth/whoami").is(200);
    // The variable's token is ended, and the profile's is not.
    let last = saved();
    let cli = cli.variable("ACCREDIT_TOKEN", pat.bearer());
    let ran = cli.run(&["auth", "logout"]).is(0);
    assert!(ran.err.contains("The profile default is still signed in"), "{ran:?}");
    pat.get("/api/auth/whoami").refused(401, "token_revoked");
    server.with(&last).get("/api/auth/whoami").is(200);
}

/// R656: whatever takes the place of what a sign-in has made, it ends, at its own server.
#[test]
fn what_a_sign_in_has_made_ends_with_its_last_copy() {
    let (server, admin) = Server::with_admin();
    let (other, stranger) = Server::with_admin();
    let scout = server.agent(&admin, "scout", &["agents.read"]);
    let pat = server.plant_pat(&admin, "agents.read");
    let code = admin.post("/api/agents/scout/enrolment", &json!({})).is(201);
    let by_password = &["auth", "login", "--password", "--email", "ada@example.com"][..];
    let at_other = &[by_password, &["--url", other.host().base_url()]].concat()[..];
    let password = format!("{PASSWORD}\n");
    let token = format!("{}\n", pat.bearer());
    for (variable, input, words) in [
        (pat.bearer(), &password, by_password),
        ("", &password, at_other),
        ("", &token, &["auth", "import-token", "--token", "-"]),
        ("", &token, &["auth", "import-token", "--token", "-", "--skip-verify"]),
        ("", &token, &["auth", "login", "--token", "-"]),
        ("", &format!("{}\n", text(&code["code"])), &["auth", "enroll"]),
    ] {
        let cli = signed_in(&server);
        let saved: Json = serde_json::from_str(&cli.saved()).unwrap();
        let former = server.with(text(&saved["profiles"]["default"]["token"]));
        former.get("/api/auth/whoami").is(200);
        let cli = cli.variable("ACCREDIT_TOKEN", variable);
        let ran = cli.fed(input, words).is(0);
        assert!(ran.err.contains("Ended the credential of the sign-in before"), "{ran:?}");
        former.get("/api/auth/whoami").refused(401, "token_revoked");
    }
    drop((scout, stranger));
    // Of what cannot be ended it is said.
    let cli = signed_in(&server);
    drop(server);
    let ran = cli.fed(&password, at_other).is(0);
    assert!(ran.err.contains("could not be ended at http://") && ran.err.contains("and goes on"), "{ran:?}");
}

/// R657: a code is spent, and a credential made, only where it can be saved; and what cannot be saved all the same is not lost, or ended.
#[test]
fn no_code_is_spent_where_its_token_has_no_place() {
    let (server, admin) = Server::with_admin();
    let _scout = server.agent(&admin, "scout", &["agents.read"]);
    let code = admin.post("/api/agents/scout/enrolment", &json!({})).is(201);
    let code = format!("{}\n", text(&code["code"]));
    let password = format!("{PASSWORD}\n");
    let by_password = &["auth", "login", "--password", "--email", "ada@example.com"][..];
    let cli = Cli::of(server.host().base_url());
    let file = cli.home().join("file");
    fs::write(&file, "").unwrap();
    let cli = cli.variable("XDG_CONFIG_HOME", file.to_str().unwrap());
    let sessions = || admin.get("/auth/sessions").is(200)["items"].as_array().unwrap().len();
    let before = sessions();
    let ran = cli.fed(&code, &["auth", "enroll"]).is(1);
    assert!(ran.err.contains("accredit: ") && ran.out.is_empty(), "{ran:?}");
    cli.fed(&password, by_password).is(1);
    assert_eq!(sessions(), before);
    // A directory in the file's place is found when the file is put there.
    let cli = cli.variable("XDG_CONFIG_HOME", "");
    fs::create_dir_all(cli.folder().join("credentials.json/x")).unwrap();
    let ran = cli.fed(&password, by_password).is(1);
    assert!(ran.err.contains("Ended the credential of this sign-in."), "{ran:?}");
    assert_eq!(sessions(), before);
    let ran = cli.fed(&code, &["auth", "enroll"]).is(1);
    assert!(ran.err.contains("The code is spent."), "{ran:?}");
    server.with(ran.out.trim()).get("/api/auth/whoami").is(200);
    assert_eq!(fs::read_dir(cli.folder()).unwrap().count(), 1);
}

/// R65, R107: the files are for their owner alone, however they were; no output shows the credential; signing out ends it.
#[test]
fn a_credential_is_kept_in_a_file_for_its_owner_alone() {
    let (server, _) = Server::with_admin();
    let cli = Cli::of(server.host().base_url());
    fs::create_dir_all(cli.folder()).unwrap();
    fs::set_permissions(cli.folder(), fs::Permissions::from_mode(0o755)).unwrap();
    let words = ["auth", "login", "--password", "--email", "ada@example.com"];
    let ran = cli.fed(&format!("{PASSWORD}\n"), &words).is(0);
    let file = cli.folder().join("credentials.json");
    assert_eq!((mode(&cli.folder()), mode(&file)), (0o700, 0o600));
    let token = serde_json::from_str::<Json>(&cli.saved()).unwrap()["profiles"]["default"]["token"].clone();
    let token = text(&token).to_owned();
    for ran in
        [ran, cli.run(&["whoami"]).is(0), cli.run(&["auth", "status"]).is(0), cli.run(&["whoami", "--json"]).is(0)]
    {
        assert!(!ran.out.contains(&token) && !ran.err.contains(&token), "{ran:?}");
    }
    // Only what asks for it gets it.
    let line = format!("export ACCREDIT_URL='{}' ACCREDIT_TOKEN='{token}'\n", server.host().base_url());
    assert_eq!(cli.run(&["auth", "status", "--export"]).is(0).out, line);
    // An existing file that is wider is narrowed.
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    cli.run(&["whoami"]).is(0);
    assert_eq!(mode(&file), 0o600);

    let before = cli.saved();
    let refused =
        cli.fed(&format!("{}\n", tests::secret::credential("acr_pat_")), &["auth", "import-token", "--token", "-"]);
    refused.is(2);
    cli.fed("nonsense\n", &["auth", "import-token", "--token", "-"]).is(2);
    cli.fed("wrong\n", &words).is(2);
    assert_eq!(cli.saved(), before);

    // R519: what another server has given is not forgotten here while it works there.
    let ran = cli.run(&["--url", "http://127.0.0.1:1", "auth", "logout"]).is(1);
    assert!(ran.err.contains("is signed in to"), "{ran:?}");
    assert_eq!(cli.saved(), before);

    // R399: what has ended is followed by its closure.
    let ended = cli.run(&["auth", "logout"]).is(0).out;
    assert!(ended.starts_with("Signed out.\nclosure: accredit closures get cls_"), "{ended}");
    server.with(&token).get("/api/auth/whoami").refused(401, "token_revoked");
    assert!(!cli.saved().contains(&token));
    cli.run(&["whoami"]).is(2);
    assert_eq!(cli.run(&["auth", "logout"]).is(0).out, "You were not signed in.\n");

    fs::write(&file, "{ not json").unwrap();
    let ran = cli.run(&["whoami"]).is(2);
    assert!(ran.err.contains("damaged"), "{ran:?}");
}

/// R107: a saved credential goes to the server that it was saved with, and to no other.
#[test]
fn a_credential_is_sent_to_its_own_server_alone() {
    let (server, admin) = Server::with_admin();
    let cli = signed_in(&server);
    let other = Server::empty();
    let ran = cli.run(&["whoami", "--url", other.host().base_url()]).is(2);
    assert!(ran.err.contains("no credential"), "{ran:?}");
    // Profiles keep several apart.
    cli.fed(&format!("{}\n", admin.bearer()), &["auth", "import-token", "--token", "-", "--profile", "second"]).is(0);
    let own = Cli::new();
    fs::create_dir_all(own.folder()).unwrap();
    fs::copy(cli.folder().join("credentials.json"), own.folder().join("credentials.json")).unwrap();
    own.run(&["whoami", "--profile", "second"]).is(0);
    own.run(&["whoami"]).is(0);
    own.run(&["whoami", "--profile", "third"]).is(64);
    // The installer writes the address, and XDG names another place.
    let third = Cli::new();
    fs::create_dir_all(third.home().join("xdg/accredit")).unwrap();
    let config = format!("url = \"{}\"\n", server.host().base_url());
    fs::write(third.home().join("xdg/accredit/config.toml"), config).unwrap();
    let xdg = third.home().join("xdg");
    let third = third.variable("XDG_CONFIG_HOME", xdg.to_str().unwrap());
    third.run(&["ready"]).is(0);
    third.run(&["whoami"]).is(2);
}

/// R471: a profile goes on with the token that has replaced its own; one of the environment is for its user to set.
#[test]
fn a_token_that_replaces_itself_is_saved() {
    let (server, admin) = Server::with_admin();
    let cli = Cli::of(server.host().base_url());
    let signed_in_with = |token: &str| drop(cli.fed(&format!("{token}\n"), &["auth", "login", "--token", "-"]).is(0));
    let saved = || {
        let saved: Json = serde_json::from_str(&cli.saved()).unwrap();
        text(&saved["profiles"]["default"]["token"]).to_owned()
    };
    let pat = admin.post("/auth/tokens", &json!({ "name": "own" })).is(201);
    signed_in_with(text(&pat["token"]));
    let ran = cli.run(&["token", "rotate", "own", "--yes", "--raw"]).is(0);
    assert!(ran.out.starts_with("acr_pat_") && ran.err.contains("Saved in "), "{ran:?}");
    assert_eq!(saved(), ran.out.trim());

    let scout = server.agent(&admin, "scout", &["agents.token.issue", "agents.create", "agents.update", "agents.read"]);
    signed_in_with(scout.client.bearer());
    for name in ["me", "scout"] {
        let ran = cli.run(&["agents", "token", "issue", name, "--yes", "--raw"]).is(0);
        assert_eq!(saved(), ran.out.trim(), "{name}");
    }
    // The token of another agent is that agent's.
    let own = saved();
    server.with(&own).post("/api/agents", &json!({ "name": "below", "scope": ["agents.read"] })).is(201);
    cli.run(&["agents", "token", "issue", "below", "--yes"]).is(0);
    assert_eq!(saved(), own);
    let by_variable = Cli::of(server.host().base_url()).variable("ACCREDIT_TOKEN", &own);
    let ran = by_variable.run(&["agents", "token", "issue", "me", "--yes", "--raw"]).is(0);
    assert!(ran.out.starts_with("acr_agt_") && ran.err.contains("ACCREDIT_TOKEN holds the token that"), "{ran:?}");
}

/// R653: what cannot be undone is not done without an answer, also where one field alone makes it so.
#[test]
fn what_cannot_be_undone_needs_an_answer() {
    let (server, admin) = Server::with_admin();
    let bo = server.user(&admin, "bo@example.com", "member");
    let cli = signed_in(&server);
    cli.run(&["agents", "create", "boss", "--model", "m", "--no-token"]).is(0);
    let app = json!({ "name": "app", "redirect_uris": ["https://a.example/cb"], "confidential": true });
    let app = admin.post("/api/oauth/clients", &app).is(201);
    let id = text(&app["id"]);
    for words in [
        &["agents", "update", "boss", "--owner", "bo@example.com"][..],
        &["agents", "replace", "boss", "--description", "d"],
        &["admin", "clients", "rotate", id],
        &["admin", "users", "deactivate", "bo@example.com"],
    ] {
        let ran = cli.run(words).is(64);
        assert!(ran.err.contains("--yes"), "{ran:?}");
    }
    let ran = cli.run(&["admin", "users", "deactivate", "bo@example.com"]).is(64);
    assert!(ran.err.contains("Deactivate the user bo@example.com (usr_"), "{ran:?}");
    let boss = cli.run(&["agents", "get", "boss", "--json"]).is(0).json();
    assert_eq!((text(&boss["owner"]["email"]), text(&boss["model"])), ("ada@example.com", "m"));
    bo.get("/api/auth/whoami").is(200);
    cli.run(&["agents", "update", "boss", "--model", "n"]).is(0);
    cli.run(&["agents", "update", "boss", "--owner", "bo@example.com", "--yes"]).is(0);
}

/// R468, R469: who is meant is not decided by what another one has named theirs, nor by a variable that is passed over.
#[test]
fn nobody_else_is_meant_than_what_was_typed() {
    let (server, admin) = Server::with_admin();
    let cli = Cli::of(server.host().base_url()).variable("ACCREDIT_TOKEN", admin.bearer());
    let leaked = admin.post("/auth/tokens", &json!({ "name": "leaked" })).is(201);
    admin.post("/auth/tokens", &json!({ "name": leaked["prefix"] })).is(201);
    cli.run(&["admin", "tokens", "revoke", text(&leaked["prefix"]), "--yes"]).is(0);
    server.with(text(&leaked["token"])).get("/api/auth/whoami").refused(401, "token_revoked");
    let clear = "http://accredit.example";
    for off in ["", "0", "false"] {
        Cli::of(clear).variable("ACCREDIT_INSECURE", off).run(&["ready"]).is(64);
    }
    let ran = cli.variable("COLUMNS", "0").run(&["token", "list"]).is(0);
    assert!(ran.out.lines().next().unwrap().contains("PREFIX") && ran.out.contains("leaked "), "{ran:?}");
    let relative = Cli::of(server.host().base_url()).variable("ACCREDIT_CONFIG_DIR", "cfg");
    let ran = relative.fed(&format!("{}\n", admin.bearer()), &["auth", "login", "--token", "-"]).is(64);
    assert!(ran.err.contains("ACCREDIT_CONFIG_DIR") && !relative.folder().exists(), "{ran:?}");
}

/// R104, R106: signing in by a code, and a session of ten minutes for what only a session may do, stored nowhere.
#[test]
fn a_terminal_signs_in_by_a_code() {
    let (server, admin) = Server::with_admin();
    let cli = Cli::of(server.host().base_url());
    let waiting = cli.waiting(&["auth", "login", "--scope", "agents.read,agents.list"]);
    let shown = admin.get(&format!("/auth/device/{}", waiting.code)).is(200);
    assert_eq!((&shown["client"], &shown["scope"]), (&json!("accredit"), &json!(["agents.read", "agents.list"])));
    assert!(waiting.shown.contains(&format!("/device?user_code={}", waiting.code)), "{}", waiting.shown);
    approve(&admin, &waiting.code, &json!({ "scope": ["*"], "expires_in_days": 1 }));
    let ran = waiting.ended().is(0);
    assert!(ran.out.contains("Signed in as ada@example.com"), "{ran:?}");
    // Without a terminal it says what it waits for.
    assert_eq!(ran.err.matches("Waiting for you to approve it, until ").count(), 1, "{ran:?}");
    let saved = cli.saved();
    assert!(saved.contains("acr_pat_"));
    assert_eq!(cli.run(&["whoami", "--json"]).is(0).json()["credential"]["kind"], "pat");

    let waiting = cli.waiting(&["token", "create", "ci", "--scope", "agents.read", "--ttl", "7d", "--raw"]);
    approve(&admin, &waiting.code, &json!({}));
    let ran = waiting.ended().is(0);
    assert!(ran.out.starts_with("acr_pat_") && ran.out.lines().count() == 1, "{ran:?}");
    assert!(!ran.err.contains(ran.out.trim()));
    assert_eq!(cli.saved(), saved);
    assert_eq!(server.number("SELECT count(*) FROM credentials WHERE kind = 'pat' AND name = 'ci'"), 1);

    let waiting = cli.waiting(&["token", "create", "more"]);
    admin.post(&format!("/auth/device/{}/deny", waiting.code), &json!({})).is(200);
    let ran = waiting.ended().is(2);
    assert!(ran.err.contains("denied"), "{ran:?}");
}

/// R149: what was set for an agent can be taken away again: null is typed as none.
#[test]
fn a_bound_is_lifted_by_none() {
    let (server, admin) = Server::with_admin();
    let cli = signed_in(&server);
    let create = ["agents", "create", "scout", "--no-token", "--budget-cents", "500", "--description", "Looks"];
    cli.run(&create).is(0);
    let read = || {
        let agent = admin.get("/api/agents/scout").is(200);
        (agent["budget_cents"].clone(), agent["description"].clone())
    };
    cli.run(&["agents", "update", "scout", "--budget-cents", ""]).is(64);
    assert_eq!(read(), (json!(500), json!("Looks")));
    cli.run(&["agents", "update", "scout", "--budget-cents", "none", "--description", ""]).is(0);
    assert_eq!(read(), (json!(null), json!(null)));
    // R369: labels are replaced, all of them, and taken away by none.
    let labels = |typed: &str| {
        cli.run(&["agents", "update", "scout", "--labels", typed]).is(0);
        admin.get("/api/agents/scout").is(200)["labels"].clone()
    };
    assert_eq!(labels("x=1,y=2"), json!({ "x": "1", "y": "2" }));
    assert_eq!(labels("a=b"), json!({ "a": "b" }));
    assert_eq!(labels("none"), json!({}));
    let help = cli.run(&["agents", "update", "--help"]).is(0).out;
    assert!(help.contains("in place of all that it has, each as name=value, or none"), "{help}");
}

/// R369: what other programs write before a text, or make of a file, is no reason to refuse it or to lose it.
#[test]
fn files_of_other_programs_are_taken() {
    let (server, admin) = Server::with_admin();
    let pat = server.plant_pat(&admin, "agents.read agents.list");
    let cli = Cli::of(&server.host().base_url().replace("http://", "HTTP://"));
    let marked = format!("\u{feff}{}\r\n", pat.bearer());
    cli.fed(&marked, &["token", "check"]).is(0);
    // The file that a link leads to has the new token, and the link stays.
    let (link, target) = (cli.folder().join("credentials.json"), cli.home().join("saved.json"));
    fs::create_dir_all(cli.folder()).unwrap();
    std::os::unix::fs::symlink(&target, &link).unwrap();
    cli.fed(&marked, &["auth", "login", "--token", "-"]).is(0);
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    let saved = fs::read_to_string(&target).unwrap();
    assert!(saved.contains(pat.bearer()) && mode(&target) == 0o600, "{saved}");
    fs::write(&target, format!("\u{feff}{saved}")).unwrap();
    cli.run(&["whoami"]).is(0);
    fs::write(cli.home().join("agents.json"), "\u{feff}{\"agents\": []}").unwrap();
    let ran = cli.run(&["agents", "import", "agents.json"]);
    assert!(ran.code == 1 && !ran.err.contains("is no JSON"), "{ran:?}");
    // What cannot be written leaves no directory.
    let none = Cli::of(server.host().base_url());
    none.run(&["secrets", "write", "one/two/three"]).is(2);
    assert_eq!(fs::read_dir(none.home()).unwrap().count(), 0);
}

/// R369: a refusal leaves no word open, and no list of deliveries what became of them.
#[test]
fn nothing_is_left_open() {
    let empty = "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
    let token = tests::secret::credential("acr_pat_");
    let ran = Cli::of(&saying(empty)).variable("ACCREDIT_TOKEN", &token).run(&["whoami"]).is(3);
    assert!(ran.err.contains("is no Accredit server (404)."), "{ran:?}");
    let (server, _) = Server::with_admin();
    let login = ["auth", "login", "--password", "--email", "ada@example.com"];
    let ran = Cli::of(server.host().base_url()).fed("wrong password\n", &login).is(2);
    assert!(ran.err.contains("accredit admin users set-password '<id>'"), "{ran:?}");
    let body = json!({ "items": [{ "created_at": "2026-11-27T10:00:00.000Z", "kind": "agent.created", "state": "dead", "tries": 8,
        "status": 500, "error": "the receiver answered 500", "id": "dlv_1" }], "next_cursor": null });
    let body = body.to_string();
    let answer = format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}", body.len());
    let url = saying(format!("{answer}\r\nconnection: close\r\n\r\n{body}").leak());
    let ran = Cli::of(&url).variable("ACCREDIT_TOKEN", &token).run(&["admin", "webhooks", "deliveries", "whk_1"]).is(0);
    assert!(["TRIES", "STATUS", "ERROR", "500", "answered 500"].iter().all(|text| ran.out.contains(text)), "{ran:?}");
}

/// R66, R107: tables fit a narrow terminal; a pipe gets neither colours nor a spinner; `--json` is the API's answer, and no table.
#[test]
fn what_is_shown_fits_its_reader() {
    let (server, admin) = Server::with_admin();
    let cli = signed_in(&server);
    let long = "an-agent-with-a-name-that-is-much-longer-than-any-column-is";
    for name in ["scout", "builder", long] {
        admin
            .post("/api/agents", &json!({ "name": name, "description": "Does what it does, for a very long time" }))
            .is(201);
    }
    let narrow = Cli::of(server.host().base_url()).variable("ACCREDIT_TOKEN", admin.bearer()).variable("COLUMNS", "60");
    for words in [
        vec!["agents", "list"],
        vec!["agents", "get", long],
        vec!["whoami"],
        vec!["doctor", "--expect", "agents.list,agents.token.issue"],
        vec!["admin", "users", "list"],
        vec!["admin", "tokens", "list"],
        vec!["admin", "audit", "list"],
        vec!["auth", "sessions", "list"],
        vec!["scopes", "list"],
        vec!["presets", "list"],
        vec!["admin", "usage"],
        vec!["can", "agents.update", "--object", "scout"],
        vec!["skills", "list"],
    ] {
        let ran = narrow.run(&words).is(0);
        let json = narrow.run(&[words.clone(), vec!["--json"]].concat()).is(0);
        assert!(json.json().is_object() && json.out != ran.out, "{json:?}");
        assert!(!ran.out.is_empty() && !ran.out.contains('\u{1b}') && !ran.err.contains('\u{1b}'), "{ran:?}");
        for line in ran.out.lines() {
            assert!(line.chars().count() <= 60, "{words:?}: {line:?}");
        }
    }
    // In a pipe each row is one line.
    let listed = cli.run(&["agents", "list"]).is(0);
    assert!(listed.out.lines().any(|line| line.starts_with(long)), "{}", listed.out);
    assert_eq!(listed.out.lines().count(), 4);
    assert_eq!(cli.run(&["agents", "get", "scout", "--json"]).is(0).json(), admin.get("/api/agents/scout").is(200));
    let refused = cli.run(&["agents", "get", "nobody", "--json"]).is(1);
    assert_eq!(refused.json()["error"], "agent_not_found");
    assert!(refused.err.is_empty());
    // What cannot be written does not look as if it had been; a reader that is gone has what it wanted.
    let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    assert_eq!(cli.run_into(full, &["agents", "list"]), 1);
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    assert_eq!(cli.run_into(fs::File::from(std::os::fd::OwnedFd::from(writer)), &["agents", "list"]), 0);
}

/// R292: what several programs save at the same time is all saved.
#[test]
fn nothing_is_lost_that_is_saved_at_the_same_time() {
    let cli = Cli::of("http://127.0.0.1:1");
    let token = tests::secret::credential("acr_pat_");
    thread::scope(|scope| {
        for number in 0..16 {
            let (cli, token) = (&cli, &token);
            scope.spawn(move || {
                let profile = format!("number-{number}");
                let words = ["auth", "import-token", "--token", "-", "--skip-verify", "--profile", &profile];
                cli.fed(&format!("{token}\n"), &words).is(0);
            });
        }
    });
    let saved: Json = serde_json::from_str(&cli.saved()).unwrap();
    assert_eq!(saved["profiles"].as_object().unwrap().len(), 16);
    assert_eq!(fs::read_dir(cli.folder()).unwrap().count(), 1);
}

/// R290: a person who names no agent is told so, and one whose credential is for another server, which it is for.
#[test]
fn what_is_missing_is_said() {
    let (server, _admin) = Server::with_admin();
    let cli = signed_in(&server);
    for words in [&["agents", "logs"][..], &["agents", "logs", "--follow"], &["agents", "get"], &["agents", "explain"]]
    {
        let ran = cli.run(words).is(64);
        assert!(
            ran.err.contains("you are a person") && ran.err.contains(&format!("accredit {} ", words[..2].join(" ")))
        );
    }
    let ran = cli.run(&["whoami", "--url", "http://127.0.0.1:1"]).is(2);
    let own = format!("The profile default is signed in to {}.", server.host().base_url());
    assert!(ran.err.contains(&own) && ran.err.contains("without --url"), "{ran:?}");
    let ran = cli.run(&["login"]).is(64);
    assert!(ran.err.contains("'accredit auth login'"), "{ran:?}");
    assert_eq!(cli.run(&["help", "agents", "list"]).is(0).out, cli.run(&["agents", "list", "--help"]).is(0).out);
    let page = cli.run(&["man", "agents", "list"]).is(0).out;
    assert!(page.contains(".TH accredit-agents-list 1") && page.contains("\\-\\-all"), "{page}");
    cli.run(&["man", "nothing"]).is(64);
    // A proxy that has no answer of the server, and a server that says nothing.
    let proxy = saying("HTTP/1.1 502 Bad Gateway\r\ncontent-type: text/html\r\ncontent-length: 1\r\n\r\nx");
    let ran = cli.run(&["ready", "--url", &proxy]).is(3);
    assert!(ran.err.contains("says 502") && ran.err.contains("in a while"), "{ran:?}");
    let ran = cli.run(&["ready", "--url", &saying(""), "--timeout", "1s"]).is(3);
    assert!(ran.err.contains("not answered in time") && ran.err.contains("--timeout"), "{ran:?}");
    // Help fits a narrow terminal.
    let (_, help) = cli.in_terminal(60, &["agents", "create", "--help"]).ended();
    assert!(help.lines().all(|line| line.trim_end().chars().count() <= 60), "{help}");
}

/// R286: a list is read to its end, or as far as is asked for, in one table or one document; where there is more, that is said.
#[test]
fn a_list_is_read_to_its_end() {
    let (server, admin) = Server::with_admin();
    for number in 0..230 {
        let agent = json!({ "name": format!("scout-{number}"), "issue_token": false });
        admin.post("/api/agents", &agent).is(201);
    }
    let cli = signed_in(&server);
    let rows = |ran: &tests::cli::Ran| ran.out.lines().filter(|line| line.starts_with("scout-")).count();
    let page = cli.run(&["agents", "list"]).is(0);
    assert_eq!(rows(&page), 50);
    assert!(page.err.contains("There is more: add --all"), "{page:?}");
    let all = cli.run(&["agents", "list", "--all"]).is(0);
    assert_eq!((rows(&all), all.out.lines().count(), all.err.as_str()), (230, 231, ""));
    let all = cli.run(&["agents", "list", "--all", "--json"]).is(0).json();
    assert_eq!((all["items"].as_array().unwrap().len(), &all["next_cursor"]), (230, &json!(null)));
    let names: std::collections::BTreeSet<&str> =
        all["items"].as_array().unwrap().iter().map(|agent| text(&agent["name"])).collect();
    assert_eq!(names.len(), 230);
    // A program sees the cursor itself.
    let some = cli.run(&["agents", "list", "--limit", "210", "--json"]).is(0);
    assert_eq!((some.json()["items"].as_array().unwrap().len(), some.err.as_str()), (210, ""));
    let cursor = text(&some.json()["next_cursor"]).to_owned();
    let rest = cli.run(&["agents", "list", "--cursor", &cursor, "--all"]).is(0);
    assert_eq!((rows(&rest), rest.err.as_str()), (20, ""));
    let none = cli.run(&["agents", "list", "--q", "nothing", "--all"]).is(0);
    assert_eq!((none.out.as_str(), none.err.as_str()), ("", "There is nothing.\n"));
    let none = cli.run(&["agents", "list", "--q", "nothing", "--all", "--json"]).is(0).json();
    assert_eq!(none, json!({ "items": [], "next_cursor": null }));
    for wrong in [&["--limit", "0"][..], &["--limit", "x"], &["--limit", "5", "--all"]] {
        cli.run(&[&["agents", "list"], wrong].concat()).is(64);
    }
    // What the server refuses is refused in the same words.
    let refused = cli.run(&["agents", "list", "--all", "--state", "nothing", "--json"]).is(1);
    assert_eq!(refused.json()["error"], "invalid_filter");
    let (_, shown) = cli.in_terminal(80, &["agents", "list", "--limit", "2", "--json"]).ended();
    assert!(shown.contains("There is more: add --all"), "{shown}");
}

/// R240: the operator lets somebody into a tenant from a terminal: a link once, or a password at once.
#[test]
fn the_operator_makes_an_admin_of_a_tenant() {
    let (server, _admin) = Server::with_admin();
    let cli = Cli::of(server.host().base_url());
    let secret = format!("{}\n", server.operator_secret());
    let words = ["operator", "recover", "main", "new@example.com", "--name", "New", "--secret", "-", "--raw"];
    let linked = cli.fed(&secret, &words);
    let url = linked.is(0).out;
    assert!(url.contains("/invite?code="), "{url}");
    let both = format!("{secret}{PASSWORD}\n");
    let words = ["operator", "recover", "main", "new@example.com", "--secret", "-", "--password", "-"];
    cli.fed(&both, &words).is(0);
    let new = server.sign_in("new@example.com", None);
    assert_eq!(new.get("/api/auth/whoami").is(200)["role"], "admin");
}

/// R287: a duration, a date and a time are typed alike everywhere, in whatever the route counts.
#[test]
fn durations_are_typed_alike() {
    let (server, admin) = Server::with_admin();
    let cli = signed_in(&server);
    // Days of the newest credential.
    let life =
        || server.number("SELECT (expires_at - created_at) / 86400000 FROM credentials ORDER BY id DESC LIMIT 1");
    for (ttl, days) in [("2w", 14), ("30d", 30), ("7", 7), ("48h", 2)] {
        cli.run(&["agents", "create", "scout", "--ttl", ttl]).is(0);
        assert_eq!(life(), days, "{ttl}");
    }
    let soon = server.texts("SELECT strftime('%Y-%m-%dT%H:%M:%SZ', 'now', '+5 days', '+1 hour')");
    cli.run(&["token", "create", "ci", "--expires", soon.first().unwrap()]).is(0);
    assert_eq!(life(), 5);
    // R365: what is no whole number of days too.
    for (ttl, seconds) in [("12h", 43_200), ("1m", 60), ("36h", 129_600)] {
        cli.run(&["token", "create", "ci", "--ttl", ttl]).is(0);
        let life = "SELECT (expires_at - created_at) / 1000 FROM credentials ORDER BY id DESC LIMIT 1";
        assert_eq!(server.number(life), seconds, "{ttl}");
    }
    for (ttl, fix) in [("59s", "Write 1m or more."), ("soon", "30m, 12h, 7d or 2w"), ("2020-01-01", "to come")] {
        let ran = cli.run(&["token", "create", "ci", "--ttl", ttl]).is(64);
        assert!(ran.err.contains(fix), "{ran:?}");
    }
    cli.run(&["agents", "update", "scout", "--silent-after-minutes", "2h"]).is(0);
    assert_eq!(admin.get("/api/agents/scout").is(200)["silent_after_minutes"], 120);
    cli.run(&["agents", "update", "scout", "--silent-after-minutes", "none"]).is(0);
    assert_eq!(admin.get("/api/agents/scout").is(200)["silent_after_minutes"], json!(null));
    let scout = cli.run(&["agents", "token", "issue", "scout", "--grace-seconds", "10m", "--yes", "--raw"]).is(0);
    let scout = Cli::of(server.host().base_url()).variable("ACCREDIT_TOKEN", scout.out.trim());
    let asked = scout.run(&["access", "request", "agents.create", "--reason", "r", "--hours", "2d", "--json"]).is(0);
    assert_eq!(asked.json()["hours"], 48);
    scout.run(&["agents", "log", "here"]).is(0);
    for (since, is_there) in [("1h", true), ("2020-01-01", true), ("2100-01-01", false)] {
        let read = cli.run(&["agents", "logs", "scout", "--since", since]).is(0);
        assert_eq!(read.out.contains("here"), is_there, "{since}: {read:?}");
    }
    assert!(cli.run(&["agents", "logs", "scout", "--since", "soon"]).is(64).err.contains("2026-12-31"));
    cli.run(&["whoami", "--timeout", "2m"]).is(0);
    cli.run(&["whoami", "--timeout", "2h"]).is(64);
}

/// R106: the life of an agent by its verbs; what destroys asks; a refusal has its step as a command, its page and its request.
#[test]
fn an_agent_lives_by_verbs() {
    let (server, _) = Server::with_admin();
    let cli = signed_in(&server);
    let url = server.host().base_url();
    let made = cli.run(&["agents", "create", "scout", "--preset", "worker", "--labels", "team=a", "--raw"]).is(0);
    let scout = Cli::of(url).variable("ACCREDIT_TOKEN", made.out.trim());
    assert_eq!(scout.run(&["whoami", "--json"]).is(0).json()["agent_name"], "scout");
    let ran = cli.run(&["agents", "create", "builder", "--parent", "scout", "--scope", "agents.read"]).is(0);
    assert!(ran.out.contains("acr_agt_") && ran.err.contains("shown this once"), "{ran:?}");
    assert_eq!(cli.run(&["agents", "tree"]).is(0).out, "scout  running\n  builder  running\n");
    scout.run(&["agents", "log", "Started the build", "--level", "warn"]).is(0);
    assert!(cli.run(&["agents", "logs", "scout"]).is(0).out.contains("warn  Started the build"));
    scout.run(&["notify", "Build failed", "The tests fail."]).is(0);
    assert!(cli.run(&["notifications", "list"]).is(0).out.contains("Build failed"));

    let kept = scout.run(&["auth", "logout", "--keep"]).is(0);
    assert!(kept.out.contains("still works"), "{kept:?}");
    // A scope that it lacks: the step is a command that works.
    let refused = scout.run(&["agents", "create", "more"]).is(1);
    assert!(said(&refused.err, "ask: ").starts_with("accredit access request agents.create --reason"), "{refused:?}");
    assert!(refused.err.contains(&format!("page: {url}/docs/agents/")) && refused.err.contains("request: req_"));
    scout.run(&["access", "request", "agents.create", "--reason", "To build"]).is(0);
    let asked = cli.run(&["access", "list", "--state", "open", "--json"]).is(0).json();
    let id = text(&asked["items"][0]["id"]).to_owned();
    // The first letters are enough.
    cli.run(&["access", "approve", &id[..20], "--hours", "1", "--yes"]).is(0);
    scout.run(&["agents", "create", "more"]).is(0);
    assert!(scout.run(&["inbox", "read"]).is(0).out.contains("scope_granted"));

    // Several at once.
    let ran = cli.run(&["agents", "stop", "scout", "nobody"]).is(1);
    assert!(ran.out.contains("scout  stopped") && ran.err.contains("nobody"), "{ran:?}");
    let ran = scout.run(&["agents", "list"]).is(1);
    assert!(ran.err.contains("stopped"), "{ran:?}");
    cli.run(&["agents", "start", "scout"]).is(0);

    // R517: a name that a script has left empty is no profile.
    let ran = cli.run(&["agents", "list", "--profile", ""]).is(64);
    assert!(ran.err.contains("--profile"), "{ran:?}");

    // R512
    let ran = cli.run(&["agents", "get", "archived"]).is(1);
    assert!(ran.out.is_empty() && ran.err.contains("archived is a word of the server's own addresses"), "{ran:?}");

    // What destroys asks: without anybody to answer nothing happens.
    let ran = cli.run(&["agents", "delete", "builder"]).is(64);
    assert!(ran.err.contains("--yes"), "{ran:?}");
    assert_eq!(server.number("SELECT count(*) FROM agents WHERE archived_at IS NOT NULL"), 0);
    cli.run(&["agents", "delete", "builder", "--yes"]).is(0);
    assert_eq!(server.number("SELECT count(*) FROM agents WHERE archived_at IS NOT NULL"), 1);
    cli.run(&["agents", "restore", "builder"]).is(0);

    // Out and in again.
    let export = cli.run(&["agents", "export", "scout"]).is(0).out;
    fs::write(cli.home().join("tree.json"), &export).unwrap();
    cli.run(&["agents", "delete", "scout", "--confirm", "true", "--yes"]).is(0);
    cli.run(&["agents", "import", "tree.json"]).is(0);
    cli.run(&["agents", "get", "scout"]).is(0);
    // Each create had a key of its own.
    assert!(server.number("SELECT count(*) FROM idempotency") >= 4);
}

/// R221: a name that the server made another of is told, by each verb that registers agents; no other name becomes another: it is kept
/// as it was typed, or refused.
#[test]
fn a_name_that_became_another_is_told() {
    let (server, _) = Server::with_admin();
    let cli = signed_in(&server);
    let made = cli.run(&["agents", "create", "Bad Name", "--preset", "worker", "--raw"]).is(0);
    assert!(made.err.contains("Registered as bad-name, not as Bad Name."), "{made:?}");
    assert!(made.out.starts_with("acr_agt_") && made.out.lines().count() == 1, "{made:?}");
    let made = cli.run(&["agents", "create", "bad-name", "--no-token", "--json"]).is(0);
    assert!(made.err.contains("Registered as bad-name-2, not as bad-name.") && made.json()["name"] == "bad-name-2");
    assert!(!cli.run(&["agents", "create", "plain", "--no-token"]).is(0).err.contains("Registered as"));
    let document = cli.run(&["agents", "export", "plain"]).is(0).out.replace("\"plain\"", "\"Quite Plain\"");
    fs::write(cli.home().join("one.json"), document).unwrap();
    let made = cli.run(&["agents", "import", "one.json"]).is(0);
    assert!(made.err.contains("Registered as quite-plain, not as Quite Plain."), "{made:?}");

    let title = "A Name, With More";
    for words in [
        &["agents", "keys", "create", "plain", title, "--type", "internal", "--scope", "agents.read"][..],
        &["admin", "tenant", "update", "--name", title],
        &["token", "create", title, "--scope", "agents.read"],
    ] {
        let ran = cli.run(&[words, &["--json"]].concat()).is(0);
        assert!(ran.json()["name"] == title && ran.err.is_empty(), "{ran:?}");
    }
    for words in [&["presets", "put", "Bad Name", "--scope", "agents.read"][..], &["scopes", "define", "Bad Name", "d"]]
    {
        let ran = cli.run(words);
        assert!(ran.code == 1 && ran.err.contains("fix:"), "{words:?}: {ran:?}");
    }
}

/// R221: what a client of models needs is printed with the address, and with the token only when it is asked for.
#[test]
fn a_client_of_models_is_configured() {
    let (server, _) = Server::with_admin();
    let cli = signed_in(&server);
    let url = format!("{}/mcp", server.host().base_url());
    let saved: Json = serde_json::from_str(&cli.saved()).unwrap();
    let token = text(&saved["profiles"]["default"]["token"]).to_owned();
    for client in ["claude", "codex", "cursor", "gemini", "vscode", "json"] {
        let ran = cli.run(&["mcp", "config", "--client", client]).is(0);
        assert!(ran.out.contains(&url) && !format!("{ran:?}").contains(&token), "{ran:?}");
        let ran = cli.run(&["mcp", "config", "--client", client, "--with-token"]).is(0);
        assert!(ran.out.contains(&token) && ran.err.contains("warning:"), "{ran:?}");
    }
    let shown = cli.run(&["mcp", "config", "--json"]).is(0).json();
    assert!(text(&shown["config"]).starts_with("claude mcp add"), "{shown}");
    cli.run(&["mcp", "config", "--client", "other"]).is(64);
    let ran = Cli::of(server.host().base_url()).run(&["mcp", "config", "--with-token"]).is(2);
    assert!(ran.err.contains("accredit auth login"), "{ran:?}");
}

/// R149: a program gets the agent's secrets by its environment, byte for byte, and ends as it ends by itself: by its status, and by signals.
#[test]
fn a_program_runs_with_the_secrets_of_its_agent() {
    let (server, admin) = with_secrets();
    let url = server.host().base_url();
    let scout = server.agent(&admin, "scout", &["agents.read", "agents.secrets.read"]);
    let value = "a'b\"$(id)`id`\n\tlast\\";
    admin.put("/api/agents/scout/secrets", &json!({ "secrets": { "ONE": value, "TWO": "2" } })).is(200);
    let cli = Cli::of(url).variable("ACCREDIT_TOKEN", scout.client.bearer());
    let shown = cli.run(&["secrets", "exec", "--", "/bin/sh", "-c", "printf '%s|%s' \"$ONE\" \"$TWO\""]).is(0);
    assert_eq!((shown.out.as_str(), shown.err.as_str()), (format!("{value}|2").as_str(), ""));
    cli.run(&["secrets", "exec", "--", "/bin/sh", "-c", "exit 7"]).is(7);
    cli.run(&["secrets", "exec", "--agent", "scout", "--", "/bin/true"]).is(0);
    let ran = cli.run(&["secrets", "exec", "--", "/nowhere/program"]).is(127);
    assert!(ran.err.contains("cannot be run") && !ran.err.contains(value), "{ran:?}");
    cli.run(&["secrets", "exec", "--", "/"]).is(126);
    // A signal reaches the program itself.
    let script = "trap 'exit 9' TERM; echo ready; while :; do sleep 0.05; done";
    let mut started = cli.started(&["secrets", "exec", "--", "/bin/sh", "-c", script]);
    started.until("ready");
    assert_eq!(started.signalled(Signal::TERM), 9);
    // Nothing was left in the home.
    assert_eq!(fs::read_dir(cli.home()).unwrap().count(), 0);

    // Another agent's, a person's, or none.
    let reads = || server.number("SELECT count(*) FROM audit WHERE action = 'agent.secret.read'");
    let before = reads();
    let ran = cli.run(&["secrets", "exec", "--agent", "other", "--", "/bin/true"]).is(1);
    assert!(ran.err.contains("that of scout, not of other"), "{ran:?}");
    assert_eq!(reads(), before);
    let of_admin = Cli::of(url).variable("ACCREDIT_TOKEN", admin.bearer());
    let ran = of_admin.run(&["secrets", "exec", "--", "/bin/echo", "ran"]).is(1);
    assert!(ran.out.is_empty() && ran.err.contains("page:"), "{ran:?}");
    Cli::of(url).run(&["secrets", "exec", "--", "/bin/true"]).is(2);
    cli.run(&["secrets", "exec", "/bin/true"]).is(64);
    // As the recipe has it: lines for a shell.
    let ran = cli.run(&["secrets", "values", "--format", "env"]).is(0);
    assert!(ran.out.starts_with("export ONE='a'") && ran.out.ends_with("export TWO='2'\n"), "{ran:?}");
    // Lines for docker know no quotes, and no value with a line end.
    let ran = cli.run(&["secrets", "values", "--format", "docker"]).is(1);
    assert!(ran.out.is_empty() && ran.err.contains("The secret ONE has several lines"), "{ran:?}");
    admin.put("/api/agents/scout/secrets", &json!({ "secrets": { "ONE": "a'b \"$(id)" } })).is(200);
    assert_eq!(cli.run(&["secrets", "values", "--format", "docker"]).is(0).out, "ONE=a'b \"$(id)\nTWO=2\n");
    // A server that would steer the program.
    let answer = r#"{"secrets":{"GOOD":"1","LD_PRELOAD":"/tmp/x.so"}}"#;
    let hostile = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{answer}",
        answer.len()
    );
    let stranger = Cli::of(&saying(hostile.leak())).variable("ACCREDIT_TOKEN", scout.client.bearer());
    let ran = stranger.run(&["secrets", "exec", "--", "/bin/echo", "ran"]).is(1);
    assert!(ran.out.is_empty() && ran.err.contains("accredit agents secrets delete AGENT LD_PRELOAD"), "{ran:?}");
}

/// A key for SSH, made by ssh-keygen where there is one.
fn ssh_key(folder: &Path) -> String {
    let file = folder.join("id");
    let made = Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&file).status();
    match made {
        Ok(status) if status.success() => fs::read_to_string(file).unwrap(),
        _ => "-----BEGIN OPENSSH PRIVATE KEY-----\nb3Bl\n-----END OPENSSH PRIVATE KEY-----\n".to_owned(),
    }
}

/// R106: a secret with several lines comes from standard input as it is; what has one line by its nature stays one line.
#[test]
fn a_secret_of_several_lines_is_set_whole() {
    let (server, admin) = with_secrets();
    let scout = server.agent(&admin, "scout", &["agents.read", "agents.secrets.read"]);
    let cli = Cli::of(server.host().base_url()).variable("ACCREDIT_TOKEN", admin.bearer());
    let pem = "-----BEGIN PRIVATE KEY-----\nMC4CAQAw\n\tBQYD\n-----END PRIVATE KEY-----\n";
    let values = || scout.client.get("/api/agents/me/secrets/values").is(200)["secrets"].clone();
    for words in [
        &["agents", "secrets", "set", "scout", "PEM"][..],
        &["agents", "secrets", "set", "scout", "PEM", "--value", "-"],
    ] {
        admin.put("/api/agents/scout/secrets/PEM", &json!({ "value": "old" })).is(200);
        for (given, stored) in [(pem, pem), ("one line\n", "one line")] {
            let ran = cli.fed(given, words).is(0);
            assert!(!ran.out.contains("MC4") && !ran.err.contains("MC4"), "{ran:?}");
            assert_eq!(values()["PEM"], stored);
        }
    }
    // R433: a key of OpenSSH, to which its last line end belongs, comes out of it as it went in, and ssh-keygen takes it.
    admin.put("/api/agents/scout/secrets/PEM", &json!({ "value": "old" })).is(200);
    let given = ssh_key(cli.home());
    cli.fed(&given, &["agents", "secrets", "set", "scout", "SSH_KEY", "--value", "-"]).is(0);
    let as_scout = Cli::of(server.host().base_url()).variable("ACCREDIT_TOKEN", scout.client.bearer());
    as_scout.run(&["secrets", "write", "run"]).is(0);
    let written = as_scout.home().join("run/SSH_KEY");
    assert_eq!(fs::read_to_string(&written).unwrap(), given);
    if let Ok(read) = Command::new("ssh-keygen").args(["-y", "-P", "", "-f"]).arg(&written).output() {
        assert!(read.status.success(), "{read:?}");
    }
    cli.fed("", &["agents", "secrets", "set", "scout", "PEM"]).is(64);
    // A webhook's secret has one line: more is refused, and not cut.
    let create = ["agents", "keys", "create", "scout", "ci", "--type", "github", "--value", "-"];
    assert!(cli.fed("first-line-of-it\nsecond-line\n", &create).is(1).err.contains("visible ASCII"));
    cli.fed("first-line-of-it\n", &create).is(0);
}

/// R149: secrets in files are for their owner alone, whole or not there, and never behind a link.
#[test]
fn secrets_are_written_into_a_directory_and_not_out_of_it() {
    let (server, admin) = with_secrets();
    let scout = server.agent(&admin, "scout", &["agents.read", "agents.secrets.read"]);
    admin.put("/api/agents/scout/secrets", &json!({ "secrets": { "ONE": "1\n2", "TWO": "zwei" } })).is(200);
    let cli = Cli::of(server.host().base_url()).variable("ACCREDIT_TOKEN", scout.client.bearer());
    let folder = cli.home().join("run");
    let ran = cli.run(&["secrets", "write", "run", "--agent", "scout"]).is(0);
    assert_eq!(ran.out, "run/ONE\nrun/TWO\n");
    assert_eq!((mode(&folder), mode(&folder.join("ONE"))), (0o700, 0o600));
    assert_eq!(fs::read_to_string(folder.join("ONE")).unwrap(), "1\n2");

    // A link in a file's place is replaced; what it led to stays.
    let outside = cli.home().join("outside");
    fs::write(&outside, "precious").unwrap();
    fs::remove_file(folder.join("ONE")).unwrap();
    std::os::unix::fs::symlink(&outside, folder.join("ONE")).unwrap();
    std::os::unix::fs::symlink(&outside, folder.join(".TWO.part")).unwrap();
    admin.delete("/api/agents/scout/secrets/TWO").is(204);
    admin.put("/api/agents/scout/secrets/ONE", &json!({ "value": "new" })).is(200);
    let ran = cli.run(&["secrets", "write", "run/"]).is(0);
    assert!(ran.err.contains("run/TWO is no secret of this agent any more"), "{ran:?}");
    assert_eq!(fs::read_to_string(&outside).unwrap(), "precious");
    assert!(fs::symlink_metadata(folder.join("ONE")).unwrap().is_file());
    assert_eq!(fs::read_to_string(folder.join("ONE")).unwrap(), "new");

    // A directory that others can enter, one behind a link, and one in a file's place are refused before the values are read.
    let reads = || server.number("SELECT count(*) FROM audit WHERE action = 'agent.secret.read'");
    let before = reads();
    std::os::unix::fs::symlink(&folder, cli.home().join("link")).unwrap();
    fs::write(cli.home().join("file"), "").unwrap();
    fs::create_dir(cli.home().join("wide")).unwrap();
    fs::set_permissions(cli.home().join("wide"), fs::Permissions::from_mode(0o750)).unwrap();
    for bad in ["link", "link/", "file", "wide", "file/below"] {
        let ran = cli.run(&["secrets", "write", bad]).is(1);
        assert!(ran.out.is_empty(), "{ran:?}");
    }
    assert_eq!((reads(), fs::read_dir(cli.home().join("wide")).unwrap().count()), (before, 0));
    // What is above it and not there is made, for its owner alone.
    let ran = cli.run(&["secrets", "write", "new/agent/secrets"]).is(0);
    assert_eq!(ran.out, "new/agent/secrets/ONE\n");
    assert_eq!((mode(&cli.home().join("new")), mode(&cli.home().join("new/agent/secrets"))), (0o700, 0o700));
    fs::remove_file(folder.join("ONE")).unwrap();
    fs::create_dir(folder.join("ONE")).unwrap();
    assert!(cli.run(&["secrets", "write", "run"]).is(1).err.contains("is a directory"));
    let left: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(!left.iter().any(|name| name.to_string_lossy().contains("ONE.part")), "{left:?}");
}

/// R149: what creates can be told all that the route takes, and several agents get their codes at once.
#[test]
fn every_field_of_a_route_can_be_typed() {
    let (server, admin) = with_secrets();
    let cli = Cli::of(server.host().base_url()).variable("ACCREDIT_TOKEN", admin.bearer());
    fs::write(cli.home().join("secrets.json"), r#"{"GITHUB_TOKEN": "ghp_1"}"#).unwrap();
    let words = [
        "agents",
        "create",
        "scout",
        "--secrets",
        "secrets.json",
        "--access",
        "Ask Ada",
        "--compute",
        r#"{"host": "ci"}"#,
        "--agent-url",
        "https://scout.example.com/",
        "--no-token",
    ];
    cli.run(&words).is(0);
    let made = admin.get("/api/agents/scout").is(200);
    assert_eq!(
        (&made["access"], &made["compute"]["host"], &made["url"]),
        (&json!("Ask Ada"), &json!("ci"), &json!("https://scout.example.com/"))
    );
    assert_eq!(admin.get("/api/agents/scout/secrets").is(200)["items"][0]["name"], "GITHUB_TOKEN");
    cli.run(&[
        "presets",
        "put",
        "builder",
        "--scope",
        "agents.read",
        "--secrets",
        "GITHUB_TOKEN",
        "--probes",
        "github",
        "--defaults",
        r#"{"tier": 4}"#,
    ])
    .is(0);
    let preset = admin.get("/api/presets/builder").is(200);
    assert_eq!((&preset["secrets"], &preset["defaults"]["tier"]), (&json!(["GITHUB_TOKEN"]), &json!(4)));
    cli.run(&["admin", "users", "create", "max@example.com", "--name", "Max", "--no-invite"]).is(0);
    let help = cli.run(&["agents", "keys", "create", "--help"]).is(0);
    assert!(help.out.contains("<AGENT> <NAME>") && help.out.contains("standard"), "{}", help.out);
    assert!(cli.run(&["admin", "webhooks", "create", "--help"]).is(0).out.contains("--webhook-url"));
    assert!(cli.run(&["agents", "probes", "create", "--help"]).is(0).out.contains("--probe-url"));
    server.agent(&admin, "helper", &["agents.read"]);
    let ran = cli.run(&["agents", "enrol", "scout", "helper", "nobody", "--scope", "agents.read"]).is(1);
    assert!(ran.out.starts_with("scout  ") && ran.out.lines().count() == 1, "{ran:?}");
    assert!(ran.err.contains("helper  skipped") && ran.err.contains("nobody  "), "{ran:?}");
}

/// R107: a token is named by id, prefix or name; what can mean several means none.
#[test]
fn a_name_that_can_mean_several_is_refused_with_the_candidates() {
    let (server, admin) = Server::with_admin();
    let cli = signed_in(&server);
    let make = |name: &str| admin.post("/auth/tokens", &json!({ "name": name })).is(201);
    let (one, two, other) = (make("twin"), make("twin"), make("other"));
    let live = || server.number("SELECT count(*) FROM credentials WHERE kind = 'pat' AND revoked_at IS NULL");
    for ambiguous in ["twin", "tok_", "acr_pat_"] {
        let ran = cli.run(&["token", "revoke", ambiguous, "--yes"]).is(64);
        for token in [&one, &two] {
            assert!(ran.err.contains(text(&token["id"])), "{ran:?}");
        }
    }
    assert_eq!(live(), 3);
    cli.run(&["token", "revoke", "other", "--yes"]).is(0);
    cli.run(&["token", "revoke", text(&one["prefix"]), "--yes"]).is(0);
    // One twin is left, so the name means it.
    let rotated = cli.run(&["token", "rotate", "twin", "--raw", "--yes"]).is(0);
    server.with(rotated.out.trim()).get("/api/auth/whoami").is(200);
    assert_eq!(live(), 1);
    cli.run(&["token", "get", text(&other["id"])]).is(0);
    assert!(cli.run(&["token", "revoke", "nothing", "--yes"]).is(1).err.contains("does not exist"));
    // Users by address.
    server.user(&admin, "max@example.com", "member");
    assert_eq!(cli.run(&["admin", "users", "get", "max@example.com", "--json"]).is(0).json()["role"], "member");
    cli.run(&["admin", "users", "update", "max@example.com", "--role", "viewer"]).is(0);
    assert_eq!(server.texts("SELECT role FROM users WHERE email = 'max@example.com'"), ["viewer"]);
}

/// R387: an admin sees where a person is signed in, and ends one of their sessions, or all.
#[test]
fn the_sessions_of_a_person_are_ended_by_verbs() {
    let (server, admin) = Server::with_admin();
    let max = server.user(&admin, "max@example.com", "member");
    let second = server.sign_in("max@example.com", None);
    let cli = Cli::of(server.host().base_url()).variable("ACCREDIT_TOKEN", admin.bearer());
    let listed = cli.run(&["admin", "users", "sessions", "max@example.com", "--json"]).is(0);
    let listed: Json = serde_json::from_str(&listed.out).unwrap();
    assert_eq!(listed["items"].as_array().map(Vec::len), Some(2), "{listed}");
    let id = text(&second.get("/api/auth/whoami").is(200)["credential"]["id"]).to_owned();
    assert!(cli.run(&["admin", "users", "sessions", "max@example.com"]).is(0).out.contains(&id));
    let end = ["admin", "users", "end-session", "max@example.com", &id];
    assert!(cli.run(&end).is(64).err.contains("--yes"));
    cli.run(&[&end[..], &["--yes"]].concat()).is(0);
    second.get("/api/auth/whoami").refused(401, "token_revoked");
    max.get("/api/auth/whoami").is(200);
    cli.run(&[&end[..], &["--yes"]].concat()).is(1);
    cli.run(&["admin", "users", "end-sessions", "max@example.com", "--yes"]).is(0);
    max.get("/api/auth/whoami").refused(401, "token_revoked");
}

/// R399: a command that ends something says as its last line, or as JSON, what has ended and since when nobody accepts it; or which guard can
/// still do so, and how to follow it.
#[test]
fn a_command_says_what_it_has_ended() {
    let (server, admin) = Server::with_admin();
    let cli = signed_in(&server);
    let make = |name: &str| text(&admin.post("/auth/tokens", &json!({ "name": name })).is(201)["id"]).to_owned();
    make("laptop");
    let ran = cli.run(&["token", "revoke", "laptop", "--yes"]).is(0);
    let (done, line) = ran.out.split_once('\n').unwrap();
    assert!(done == "Revoked." && line.starts_with("closed: Nothing of it is accepted anywhere since 20"), "{ran:?}");
    assert!(line.contains("Ended: tokens 1. Closure: cls_"), "{ran:?}");
    make("desk");
    let closure = cli.run(&["token", "revoke", "desk", "--yes", "--json"]).is(0).json()["closure"].clone();
    assert_eq!((&closure["status"], &closure["ended"]["tokens"]), (&json!("closed"), &json!(1)), "{closure}");
    // A credential that ends itself cannot read its closure; its person can.
    let body = json!({ "name": "own", "scope": ["tokens.read", "tokens.write"] });
    let own = admin.post("/auth/tokens", &body).is(201);
    let by_token = Cli::of(server.host().base_url()).variable("ACCREDIT_TOKEN", text(&own["token"]));
    let ran = by_token.run(&["token", "revoke", text(&own["id"]), "--yes"]).is(0);
    assert!(ran.out.contains("closure: accredit closures get cls_"), "{ran:?}");

    // A guard remembers, so that what ends is closed once it knows.
    let guard = server.plant_pat(&admin, "tokens.introspect");
    for name in ["scout", "other"] {
        server.agent(&admin, name, &["agents.read", "ui.notify"]);
    }
    guard.get("/auth/epochs?guard=crm&lease=60").is(200);
    let ran = cli.run(&["agents", "stop", "scout"]).is(0);
    assert!(ran.out.starts_with("Stopped scout, and all below.\npartial: crm can accept it until 20"), "{ran:?}");
    let id = ran.out.split_once("accredit closures get ").unwrap().1.split(' ').next().unwrap().to_owned();
    let stopped = cli.run(&["agents", "stop", "other", "--json"]).is(0);
    assert_eq!((&stopped.json()["closure"]["status"], stopped.err.as_str()), (&json!("partial"), ""), "{stopped:?}");
    // The answer is what was changed, and stays it.
    let ran = cli.run(&["agents", "update", "other", "--scope", "agents.read", "--json"]).is(0);
    assert_eq!(ran.json()["name"], "other");
    assert!(ran.err.starts_with("partial: crm can accept it until 20"), "{ran:?}");
    let deleted = cli.run(&["agents", "delete", "other", "--yes", "--json"]).is(0).json();
    assert_eq!(deleted["closure"]["action"], "agent.archive", "{deleted}");
    let epoch = guard.get("/auth/epochs?guard=crm&lease=60").is(200)["epoch"].clone();
    guard.get(&format!("/auth/epochs?guard=crm&lease=60&after={epoch}")).is(200);
    assert_eq!(cli.run(&["closures", "get", &id, "--wait", "5s", "--json"]).is(0).json()["status"], "closed");
    // Several at once have one closure; what ends nothing has none.
    let ran = cli.run(&["agents", "start", "scout"]).is(0);
    assert_eq!(ran.out, "Started scout.\n");
    server.agent(&admin, "third", &["agents.read"]);
    let ran = cli.run(&["agents", "stop", "scout", "third"]).is(0);
    assert!(ran.out.lines().count() == 3 && ran.out.contains("Ended: agents 2, tokens 2."), "{ran:?}");
}

/// R107: what answers may be no Accredit; what it says controls no terminal; and it gets no credential by leading elsewhere.
#[test]
fn a_stranger_in_the_servers_place_is_found_out() {
    let token = tests::secret::credential("acr_pat_");
    let asked = |url: &str, words: &[&str]| Cli::of(url).variable("ACCREDIT_TOKEN", &token).run(words);
    let html =
        "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 13\r\nconnection: close\r\n\r\n<html></html>";
    let error =
        "HTTP/1.1 502 Bad Gateway\r\ncontent-type: text/html\r\ncontent-length: 4\r\nconnection: close\r\n\r\noops";
    let cut =
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 100\r\nconnection: close\r\n\r\n{\"a\":";
    let no_json =
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{a";
    for answer in [html, error, cut, no_json, "nonsense\r\n\r\n"] {
        let ran = asked(&saying(answer), &["whoami"]).is(3);
        assert!(ran.out.is_empty() && ran.err.contains("fix:") && !ran.err.contains(&token), "{ran:?}");
    }
    let moved =
        "HTTP/1.1 302 Found\r\nlocation: http://evil.example/\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
    let ran = asked(&saying(moved), &["whoami"]).is(3);
    assert!(ran.err.contains("evil.example"), "{ran:?}");
    let hostile = "HTTP/1.1 404 Not Found\r\ncontent-type: application/json\r\ncontent-length: 118\r\nconnection: close\r\n\r\n{\"error\":\"x\",\"detail\":\"\\u001b[31mred\\u202e\\u0007\",\"fix\":\"\\u001b]0;t\\u0007\",\"doc_url\":\"/\\u001b[2J\",\"request_id\":\"r\\u009b1\"}";
    let hostile = hostile.replace("118", &hostile.split("\r\n\r\n").nth(1).unwrap().len().to_string());
    let ran = asked(&saying(hostile.leak()), &["agents", "get", "a"]).is(1);
    assert!(!ran.err.chars().any(|c| c.is_control() && c != '\n') && !ran.err.contains('\u{202e}'), "{ran:?}");
    // A server that says nothing.
    let ran = asked(&saying(""), &["whoami", "--timeout", "1"]).is(3);
    assert!(ran.err.contains("not answered in time"), "{ran:?}");
    // Also where a session is asked for first.
    let ran = asked(&saying(""), &["token", "create", "ci", "--timeout", "1"]).is(3);
    assert!(ran.err.contains("not answered in time"), "{ran:?}");
}

/// R368: with `--json` too nothing that others have written controls a terminal: it is the same JSON, with escapes.
#[test]
fn json_controls_no_terminal() {
    let typed = "a\u{1b}[2J\u{9b}2J\u{7f}\u{202e}\u{200b}\u{e0001}\u{e9}";
    let one = json!({ "id": typed, "name": typed, "text": typed, "state": typed, "parent": null });
    let answer = json!({ "email": typed, "name": typed, "error": typed, "request_id": typed, "items": [one], "lines": [one],
        "checks": [one], "state": typed, "overall": typed, "agents": [one], "next_cursor": null });
    let is_safe = |out: &str| !out.chars().any(|c| c != '\n' && c != '\u{e9}' && !(' '..='~').contains(&c));
    let lines = format!("{answer}\n{answer}\n");
    for (status, media, body) in [
        ("200 OK", "application/json", answer.to_string()),
        ("404 Not Found", "application/json", answer.to_string()),
        ("200 OK", "application/x-ndjson", lines),
    ] {
        let head = format!("HTTP/1.1 {status}\r\ncontent-type: {media}\r\ncontent-length: {}", body.len());
        let url = saying(format!("{head}\r\nconnection: close\r\n\r\n{body}").leak());
        let cli = Cli::of(&url).variable("ACCREDIT_TOKEN", &tests::secret::credential("acr_pat_"));
        let verbs: &[&[&str]] = match media {
            "application/json" => &[
                &["whoami"],
                &["auth", "status"],
                &["agents", "list"],
                &["agents", "list", "--all"],
                &["agents", "tree"],
                &["agents", "logs", "a"],
                &["agents", "export", "a"],
                &["agents", "stop", "a", "b"],
                &["access", "wait", "acc_01m8dwhk0g6ww26xz0ep8paevh"],
                &["admin", "webhooks", "deliveries", "whk_1"],
                &["admin", "webhooks", "delivery", "whk_1", "whd_1"],
                &["doctor"],
            ],
            _ => &[&["admin", "audit", "export"]],
        };
        for words in verbs {
            let ran = cli.run(&[words, &["--json"][..]].concat());
            assert!(
                is_safe(&ran.out) && ran.out.contains("\\u009b") && ran.out.contains('\u{e9}'),
                "{words:?} {ran:?}"
            );
            let read: Json = serde_json::Deserializer::from_str(&ran.out).into_iter().next().unwrap().unwrap();
            assert!(read.to_string().contains("\u{9b}2J\u{7f}\u{202e}\u{200b}\u{e0001}"), "{words:?}");
        }
    }
}

/// R434: the trail comes as CSV too, as the server writes it and with nothing that controls a terminal.
#[test]
fn the_trail_is_exported_as_csv() {
    let (server, admin) = Server::with_admin();
    let agent = json!({ "name": "scout", "description": "a, \"b\"" });
    admin.post("/api/agents", &agent).is(201);
    let cli = Cli::of(server.host().base_url()).variable("ACCREDIT_TOKEN", admin.bearer());
    let out = cli.run(&["admin", "audit", "export", "--format", "csv", "--object", "scout"]).is(0).out;
    let asked = admin.get("/api/audit/export?format=csv&object=scout&action=agent.create").text();
    assert!(asked.ends_with("\r\n") && asked.lines().count() == 2 && out.starts_with(&asked), "{out:?}");
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/csv; charset=utf-8\r\nconnection: close\r\n\r\n";
    let url = saying(format!("{head}a\u{1b}[2J,\u{9b}2J\u{202e}\r\n").leak());
    let cli = Cli::of(&url).variable("ACCREDIT_TOKEN", &tests::secret::credential("acr_pat_"));
    let out = cli.run(&["admin", "audit", "export", "--format", "csv"]).is(0).out;
    assert_eq!(out, "a\\u001b[2J,\\u009b2J\\u202e\r\n");
}

/// R436: the step of a refusal that adds to the request is one that is typed, and it works.
#[test]
fn a_step_that_adds_to_a_request_is_an_option() {
    let (server, admin) = Server::with_admin();
    let cli = Cli::of(server.host().base_url()).variable("ACCREDIT_TOKEN", admin.bearer());
    for flag in [&["--confirm", "true"][..], &["--confirm"]] {
        for (name, parent) in [("root", None), ("leaf", Some("root"))] {
            admin.post("/api/agents", &json!({ "name": name, "parent": parent })).is(201);
        }
        let delete = ["agents", "delete", "root", "--yes"];
        let ran = cli.run(&delete).is(1);
        assert!(ran.err.contains("fix: Run the same command with --confirm true to archive this agent and"), "{ran:?}");
        cli.run(&[&delete[..], flag].concat()).is(0);
        admin.get("/api/agents/leaf").refused(404, "agent_not_found");
    }
    let user = server.user(&admin, "max@example.com", "member");
    user.post("/api/agents", &json!({ "name": "his" })).is(201);
    let delete = ["admin", "users", "delete", "max@example.com", "--yes"];
    let ran = cli.run(&delete).is(1);
    assert!(ran.err.contains("with --agents 'transfer:<id or address>' to give") && !ran.err.contains('?'), "{ran:?}");
    cli.run(&[&delete[..], &["--agents", "archive"]].concat()).is(0);
}

/// R437: letters that no name can have are said to be none.
#[test]
fn a_name_of_other_letters_is_told_which_it_can_have() {
    let (server, admin) = Server::with_admin();
    let cli = Cli::of(server.host().base_url()).variable("ACCREDIT_TOKEN", admin.bearer());
    let ran = cli.run(&["agents", "create", "日本語エージェント"]).is(1);
    assert!(ran.err.contains("1 to 63 letters a to z, digits and hyphens"), "{ran:?}");
}

/// R149: a refused field is told by its option; `--json` is the API's own answer.
#[test]
fn a_refused_field_is_told_by_its_option() {
    let (server, admin) = Server::with_admin();
    let cli = Cli::of(server.host().base_url()).variable("ACCREDIT_TOKEN", admin.bearer());
    server.agent(&admin, "scout", &["agents.read"]);
    server.agent(&admin, "helper", &["agents.read"]);
    // R452: before anything is asked.
    for words in [&["token", "create", "--ttl", "0d", "t"][..], &["agents", "enrol", "scout", "helper", "--ttl", "0d"]]
    {
        let ran = cli.run(words).is(64);
        let fix = said(&ran.err, "fix: ");
        assert!(fix.starts_with("Write at least 1m and at most 3650d, or never"), "{ran:?}");
        assert!(ran.err.contains("--ttl") && !ran.err.contains("expires_in_days"), "{ran:?}");
    }
    let wrong = ["agents", "create", "more", "--tier", "9", "--ttl", "1d"];
    let json = cli.run(&[&wrong[..], &["--json"]].concat()).is(1).json();
    assert!(json["field"] == "tier" && text(&json["fix"]).starts_with("Send tier "), "{json}");
    let ran = cli.run(&wrong).is(1);
    assert!(said(&ran.err, "fix: ").starts_with("Give --tier as a whole number"), "{ran:?}");
    // Several at once.
    let long = "m".repeat(1_000);
    let ran = cli.run(&[&wrong[..], &["--model", &long]].concat()).is(1);
    assert!(ran.err.contains("\n  --tier ") && ran.err.contains("\n  --model "), "{ran:?}");
}

/// R367: a word that the server does not know is told with what may be meant by it, and with where the right ones are; blanks stand between
/// words as commas do.
#[test]
fn a_word_that_is_not_known_leads_to_the_right_one() {
    let server = Server::settings().variable("outbound_hosts", "hooks.example.com").start();
    let admin = server.bootstrap();
    let cli = Cli::of(server.host().base_url()).variable("ACCREDIT_TOKEN", admin.bearer());
    server.agent(&admin, "scout", &["agents.read"]);
    admin.post("/api/scopes/custom", &json!({ "name": "x.crm.read", "description": "d" })).is(201);
    for words in [
        &["token", "create", "t", "--scope", "agents.reed,x.crm.reed"][..],
        &["agents", "create", "more", "--scope", "agents.reed x.crm.reed"],
        &["agents", "update", "scout", "--scope", "agents.reed", "--scope", "x.crm.reed"],
    ] {
        let ran = cli.run(words).is(1);
        assert!(ran.err.contains("\n  agents.reed: do you mean agents.read"), "{ran:?}");
        assert!(ran.err.contains("\n  x.crm.reed: do you mean x.crm.read?"), "{ran:?}");
        let fix = said(&ran.err, "fix: ");
        assert!(fix.contains("accredit scopes list and accredit scopes custom"), "{fix}");
        assert!(!ran.err.contains("valid_scopes"), "{ran:?}");
    }
    let made = cli.run(&["token", "create", "t", "--scope", "agents.read agents.list", "--json"]).is(0).json();
    assert_eq!(made["scope"], json!(["agents.list", "agents.read"]));
    let ran = cli.run(&["doctor", "--expect", "agents.reed"]).is(1);
    assert!(ran.err.contains("\n  agents.reed: do you mean agents.read"), "{ran:?}");
    let url = "https://hooks.example.com/";
    let ran = cli.run(&["admin", "webhooks", "create", "--webhook-url", url, "--kinds", "agent.statechanged"]).is(1);
    assert!(ran.err.contains("agent.statechanged: do you mean agent.state_changed"), "{ran:?}");
    assert!(said(&ran.err, "fix: ").contains("list on the page below") && ran.err.contains("page: "), "{ran:?}");
    // Where no agent was changed, each says why.
    let ran = cli.run(&["agents", "start", "nobody", "nothing"]).is(1);
    assert!(ran.err.contains("nobody  ") && ran.err.contains("nothing  ") && !ran.err.contains("results"), "{ran:?}");
}

/// R107: an address that is wrong leads to the right one.
#[test]
fn an_address_that_is_wrong_says_what_is_wrong() {
    let (server, admin) = Server::with_admin();
    let url = server.host().base_url();
    let asked = |url: &str, words: &[&str]| {
        Cli::new().variable("ACCREDIT_TOKEN", admin.bearer()).run(&[words, &["--url", url]].concat())
    };
    for path in ["/api", "/api/", "/docs/agents", "/nowhere"] {
        for words in [&["whoami"][..], &["agents", "list"], &["ready"]] {
            let ran = asked(&format!("{url}{path}"), words);
            assert_ne!(ran.code, 0, "{ran:?}");
            let fix = said(&ran.err, "fix: ");
            assert!(fix.ends_with(&format!("without the path: --url {url}")) && !fix.contains("accredit "), "{ran:?}");
        }
    }
    assert!(asked("", &["whoami"]).is(64).err.starts_with("error: The address of the server is empty."));
    let ran = asked(&url.replace("http://", "https://"), &["whoami"]).is(3);
    assert!(
        ran.err.contains("does not speak TLS") && said(&ran.err, "fix: ").ends_with(&format!("--url {url}")),
        "{ran:?}"
    );
}

/// R107: what is sent to this machine goes through no proxy, whatever the environment says; one that cannot be reached is named.
#[test]
fn a_proxy_is_not_asked_for_loopback() {
    let proxy = TcpListener::bind("127.0.0.1:0").unwrap();
    proxy.set_nonblocking(true).unwrap();
    let place = format!("http://ada:hidden@{}", proxy.local_addr().unwrap());
    let token = tests::secret::credential("acr_pat_");
    let error =
        "HTTP/1.1 502 Bad Gateway\r\ncontent-type: text/html\r\ncontent-length: 4\r\nconnection: close\r\n\r\noops";
    let server = saying(error);
    for url in [server.clone(), server.replace("127.0.0.1", "localhost")] {
        for name in ["ALL_PROXY", "all_proxy", "HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy"] {
            for none in ["", "accredit.example"] {
                let cli = Cli::of(&url).variable("ACCREDIT_TOKEN", &token).variable(name, &place);
                let ran = cli.variable("NO_PROXY", none).run(&["whoami"]).is(3);
                assert!(ran.err.contains("what stands before it says 502"), "{name}: {ran:?}");
            }
        }
    }
    assert_eq!(proxy.accept().unwrap_err().kind(), std::io::ErrorKind::WouldBlock);

    // Others are asked through it.
    let place = place.replace(&proxy.local_addr().unwrap().to_string(), "127.0.0.1:1");
    let cli = Cli::of("https://accredit.example").variable("ACCREDIT_TOKEN", &token).variable("https_proxy", &place);
    let ran = cli.run(&["whoami"]).is(3);
    assert!(ran.err.contains("The proxy http://127.0.0.1:1, ") && ran.err.contains("NO_PROXY"), "{ran:?}");
    assert!(!ran.err.contains("hidden"), "{ran:?}");
}

#[test]
fn some_verbs_ask_no_server() {
    let cli = Cli::new();
    let token = tests::secret::credential("acr_agt_");
    let ran = cli.fed(&format!("{token}\n"), &["token", "check", "-"]).is(0);
    assert!(ran.out.contains(&token[..16]) && !ran.out.contains(&token), "{ran:?}");
    cli.fed(&format!("{token}x\n"), &["token", "check"]).is(1);
    assert_eq!(cli.fed(&format!("{token}\n"), &["token", "check", "--json"]).is(0).json()["kind"], "agent_token");
    // R65: what is a credential by its place is repeated in no message.
    for words in [
        &["token", "check", &token][..],
        &["auth", "login", "--token", &token],
        &["agents", "secrets", "set", "scout", "KEY", "--value", &token],
        &["agents", "secrets", "set", "scout", "KEY", &token],
        &["whoami", &token],
    ] {
        let ran = cli.run(words).is(64);
        assert!(ran.out.is_empty() && ran.err.contains("credentials are not taken as arguments"), "{ran:?}");
        assert!(ran.err.contains("standard input") && !ran.err.contains(&token[..12]), "{ran:?}");
    }
    for shell in ["bash", "zsh", "fish"] {
        assert!(cli.run(&["completions", shell]).is(0).out.contains("accredit"));
    }
    assert!(cli.run(&["man"]).is(0).out.contains(".TH accredit"));
    cli.run(&["skills", "install", "skills"]).is(0);
    let installed = fs::read_to_string(cli.home().join("skills/accredit/SKILL.md")).unwrap();
    assert_eq!(cli.run(&["skills", "show", "accredit"]).is(0).out, installed);
    cli.run(&["skills", "show", "nonsense"]).is(64);
}

/// `doctor` ends as its finding is.
#[test]
fn the_doctor_says_how_it_stands_by_its_exit_status() {
    let (server, admin) = Server::with_admin();
    let url = server.host().base_url();
    let scout = server.agent(&admin, "scout", &["agents.read"]);
    let cli = Cli::of(url).variable("ACCREDIT_TOKEN", scout.client.bearer());
    cli.run(&["doctor"]).is(0);
    let ran = cli.run(&["doctor", "--expect", "agents.read,agents.update"]).is(1);
    assert!(
        ran.out.contains("missing_scope") && ran.err.contains("fix: ") && ran.err.contains("accredit access request"),
        "{ran:?}"
    );
    admin.post("/api/agents/scout/pause", &json!({})).is(200);
    cli.run(&["doctor"]).is(1);
    Cli::of(url).run(&["doctor"]).is(2);
    admin.delete("/api/agents/scout/token").is(204);
    cli.run(&["doctor"]).is(2);
    Cli::of("http://127.0.0.1:1").run(&["doctor"]).is(3);
}

/// The first admin, and their first steps, from a terminal alone.
#[test]
fn a_server_is_set_up_from_a_terminal() {
    let server = Server::empty();
    let cli = Cli::of(server.host().base_url());
    let secrets = format!("{}\n{PASSWORD}\n", server.operator_secret());
    let ran = cli.fed(&secrets, &["bootstrap", "--email", "ada@example.com", "--name", "Ada"]).is(0);
    assert!(!ran.out.contains(PASSWORD) && !ran.err.contains(server.operator_secret()), "{ran:?}");
    cli.fed(&format!("{PASSWORD}\n"), &["auth", "login", "--password", "--email", "ada@example.com"]).is(0);
    cli.run(&["admin", "users", "create", "max@example.com", "--name", "Max", "--role", "member"]).is(0);
    cli.fed(&format!("{PASSWORD}\n"), &["admin", "users", "set-password", "max@example.com"]).is(0);
    server.sign_in("max@example.com", None);
    assert_eq!(cli.run(&["ready", "--json"]).is(0).json()["bootstrapped"], true);
}

/// R107: an update is what the manifest says, or it is none; and it is in its place at once.
#[test]
fn the_program_replaces_itself_by_what_the_server_hands_out() {
    let folder = tempfile::tempdir().unwrap();
    let dist = folder.path().join("dist");
    fs::create_dir_all(&dist).unwrap();
    let new = b"#!/bin/sh\necho new\n";
    let sha256: String = sha2::Sha256::digest(new).iter().map(|byte| format!("{byte:02x}")).collect();
    let list = |sha256: &str| {
        let file = json!({ "kind": "binary", "platform": { "os": "linux", "arch": std::env::consts::ARCH },
            "file": "accredit-9.9.9", "size": new.len(), "sha256": sha256 });
        fs::write(dist.join("manifest.json"), json!({ "version": "9.9.9", "files": [file] }).to_string()).unwrap();
    };
    fs::write(dist.join("accredit-9.9.9"), new).unwrap();
    let bin = folder.path().join("bin");
    fs::create_dir_all(&bin).unwrap();
    let own = bin.join("accredit");
    fs::copy(program(), &own).unwrap();
    let manifest = host::write_manifest(folder.path());

    list(&"0".repeat(64));
    let server = Server::settings().manifest(manifest.clone()).start();
    let cli = Cli::of(server.host().base_url()).program(own.clone());
    let ran = cli.run(&["self", "update"]).is(1);
    assert!(ran.err.contains("SHA-256") && ran.err.contains("Nothing was changed"), "{ran:?}");
    assert_eq!(fs::read(&own).unwrap(), fs::read(program()).unwrap());
    assert_eq!(fs::read_dir(&bin).unwrap().count(), 1);
    drop(server);

    list(&sha256);
    let server = Server::settings().manifest(manifest).start();
    let cli = Cli::of(server.host().base_url()).program(own.clone());
    assert!(cli.run(&["self", "update", "--check"]).is(1).out.contains("9.9.9"));
    // What pip or uv has installed is theirs.
    let mark = folder.path().join("pyvenv.cfg");
    fs::write(&mark, "").unwrap();
    assert!(cli.run(&["self", "update"]).is(1).err.contains("uv tool upgrade accredit"));
    fs::remove_file(&mark).unwrap();
    let ran = cli.run(&["self", "update"]).is(0);
    assert!(ran.out.contains("9.9.9"), "{ran:?}");
    assert_eq!((fs::read(&own).unwrap().as_slice(), mode(&own)), (&new[..], 0o755));
    assert_eq!(cli.run(&[]).is(0).out, "new\n");
    assert_eq!(fs::read_dir(&bin).unwrap().count(), 1);
    // A server without a release.
    let empty = Server::empty();
    let cli = Cli::of(empty.host().base_url());
    if !host::manifest().with_file_name("dist/manifest.json").exists() {
        assert!(cli.run(&["self", "update"]).is(1).err.contains("offers no CLI"));
    }
}

/// What a line of this name says.
#[track_caller]
fn said<'t>(text: &'t str, name: &str) -> &'t str {
    text.lines().find_map(|line| line.strip_prefix(name)).unwrap()
}

/// R174, R208: from a refusal to the change, by pasting what the command shows.
#[test]
fn what_a_refusal_shows_is_pasted_until_the_change_is_made() {
    let (server, admin) = Server::with_admin();
    let scout = server.agent(&admin, "scout", &["agents.read"]);
    let cli = Cli::of(server.host().base_url()).variable("ACCREDIT_TOKEN", scout.client.bearer());
    let create = ["agents", "create", "helper", "--description", "It's $HOME"];
    let refused = cli.run(&create).is(1);
    let ask = said(&refused.err, "ask: ");
    assert!(refused.err.contains("fix: Ask for exactly this") && ask.contains(" --for '{"), "{refused:?}");
    let asked = cli.shell(ask).is(0);
    let wait = said(&asked.out, "next: ").split(": ").last().unwrap().trim_end_matches('.');
    assert!(wait.starts_with("accredit access wait acc_"), "{asked:?}");
    let id = wait.rsplit(' ').next().unwrap();
    thread::scope(|scope| {
        let waiting = scope.spawn(|| cli.shell(wait));
        admin.post(&format!("/api/access-requests/{id}/approve"), &json!({ "lasts": "once" })).is(200);
        let decided = waiting.join().unwrap().is(0);
        assert!(
            decided.out.contains("approved") && decided.out.contains("next: Run accredit agents create"),
            "{decided:?}"
        );
    });
    cli.run(&create).is(0);
    // It was once; what is denied ends the wait with 1.
    let refused = cli.run(&create).is(1);
    let asked = cli.shell(&format!("{} --json", said(&refused.err, "ask: "))).is(0).json();
    let id = text(&asked["id"]).to_owned();
    admin.post(&format!("/api/access-requests/{id}/deny"), &json!({ "reason": "One is enough." })).is(200);
    assert!(cli.run(&["access", "wait", &id]).is(1).out.contains("One is enough."));
    // R654: what is pasted runs as the same one, at the same server.
    let url = server.host().base_url();
    let cli = Cli::new();
    cli.fed(&format!("{}\n", admin.bearer()), &["auth", "login", "--token", "-", "--url", url]).is(0);
    let profile = ["--profile", "bot", "--url", url];
    cli.fed(&format!("{}\n", scout.client.bearer()), &[&["auth", "login", "--token", "-"][..], &profile].concat())
        .is(0);
    let refused = cli.run(&[&["agents", "update", "scout", "--model", "m"][..], &profile[..2]].concat()).is(1);
    let asked = cli.shell(said(&refused.err, "ask: ")).is(0);
    let wait = said(&asked.out, "next: ").split(": ").last().unwrap().trim_end_matches('.');
    assert!(wait.starts_with("accredit --profile bot access wait acc_"), "{asked:?}");
    let ran = cli.run(&["agents", "list", "--profile", "nope", "--url", url]).is(2);
    let fix = said(&ran.err, "fix: ");
    assert_eq!(fix, format!("Sign in: accredit --profile nope --url {url} auth login"));
}
