//! Apps that a person lets in, over HTTP: the page of consent, clients that an admin registered or that are known by a document, the tokens,
//! and races over two hosts.
#![expect(clippy::indexing_slicing, reason = "helpers of tests: whatever is not as expected ends the test")]

use std::{
    io::{BufRead, BufReader, Write},
    path::Path,
    process::Stdio,
    time::Instant,
};

use serde_json::{Value as Json, json};
use tests::{
    Answer, Client, PATIENCE, Server, at_once,
    browser::{Browser, is_page, unescaped},
    host::until_logged,
    oauth::{CALLBACK, VERIFIER, code, encoded, parameter, refresh, request, request_for, trade, trade_for},
    packages,
    process::asking,
    server::{PASSWORD, text},
    sink::{Reply, Sink},
};

const CLIENTS: &str = "/api/oauth/clients";

const KEY: &str = "a-signing-key-of-the-tests-that-is-long-enough";

/// How many requests race, and how often.
const TIMES: usize = 20;

fn registered(admin: &Client) -> String {
    let body = json!({ "name": "Planner", "redirect_uris": [CALLBACK, "http://127.0.0.1/cb"] });
    text(&admin.post(CLIENTS, &body).is(201)["id"]).to_owned()
}

/// R133, R134, R137: from an app's link through sign-in and consent to a token that works, and to the person's page that ends it.
#[test]
fn a_person_lets_an_app_in_and_ends_it() {
    let (server, admin) = Server::with_admin();
    let id = registered(&admin);
    let browser = Browser::new(&server);
    let path = format!("/oauth/authorize?{}", request_for(&id, CALLBACK, "agents.read tokens.read tokens.write"));
    let answer = browser.get(&path);
    assert_eq!(answer.status(), 303);
    assert!(answer.header("location").starts_with("/login?next=%2Foauth%2Fauthorize%3F"), "{answer:?}");
    let answer = browser.sign_in("ada@example.com", PASSWORD, &path);
    assert_eq!((answer.status(), answer.header("location")), (303, path.as_str()));

    let page = browser.page(&path);
    for part in
        ["Let Planner in?", "app.example.com", "Read an agent: its state", "this server, in your name", "90 days"]
    {
        assert!(page.contains(part), "{part} in {page}");
    }
    let policy = browser.get(&path).header("content-security-policy").to_owned();
    assert!(policy.contains("form-action 'self' https://app.example.com; frame-ancestors 'none'"), "{policy}");
    // Nothing is given by looking, by a form of another site, or with no box ticked.
    assert_eq!(server.number("SELECT count(*) FROM codes"), 0);
    let text_of_request = path.split_once('?').unwrap().1;
    let stolen = [("act", "allow"), ("request", text_of_request), ("scope", "agents.read"), ("csrf", "x")];
    let answer = browser.post_from("https://evil.example", "/oauth/authorize", &stolen);
    assert_eq!(answer.status(), 403, "{answer:?}");
    // R496: a client's request by POST becomes a look at the page.
    let sent = [("client_id", id.as_str()), ("state", "a b")];
    let answer = browser.post_from("https://app.example.com", "/oauth/authorize", &sent);
    let to = format!("/oauth/authorize?client_id={id}&state=a+b");
    assert_eq!((answer.status(), answer.header("location")), (303, to.as_str()), "{answer:?}");
    let answer = browser.submit_in(&page, "/oauth/authorize", &[("days", "7")]);
    answer.is_text(400, "Tick at least one, or deny.");
    assert_eq!(server.number("SELECT count(*) FROM codes"), 0);

    let ticked = [("scope", "agents.read"), ("scope", "tokens.read"), ("days", "7")];
    let answer = browser.submit_in(&page, "/oauth/authorize", &ticked);
    assert_eq!(answer.status(), 303, "{}", answer.text());
    let to = answer.header("location").to_owned();
    assert!(to.starts_with("https://app.example.com/cb?code="), "{to}");
    assert_eq!(unescaped(&parameter(&to, "state")), "s-1");
    let issuer = parameter(&to, "iss").replace("%3A", ":").replace("%2F", "/");
    assert_eq!(issuer, server.nobody().get("/.well-known/oauth-authorization-server").is(200)["issuer"]);

    let got = server.nobody().form("/oauth/token", &trade(&id, &parameter(&to, "code"))).is(200);
    assert_eq!(got["scope"], "agents.read tokens.read");
    let app = server.with(text(&got["access_token"]));
    assert_eq!(app.get("/api/auth/whoami").is(200)["scope"], json!(["agents.read", "tokens.read"]));
    app.get("/api/users").refused(403, "scope_denied");
    // R231: what a refresh replaced is told so, and is no row of any list.
    let next = server.nobody().form("/oauth/token", &refresh(&id, text(&got["refresh_token"]))).is(200);
    let refused = app.get("/api/auth/whoami").refused(401, "token_revoked");
    assert!(text(&refused["fix"]).contains("POST /oauth/token with grant_type=refresh_token"), "{refused}");
    assert_eq!(admin.get("/auth/tokens").is(200)["items"].as_array().unwrap().len(), 1);
    let app = server.with(text(&next["access_token"]));
    app.get("/api/auth/whoami").is(200);
    let tokens = browser.page("/tokens");
    assert!(tokens.contains("Apps that you let in") && tokens.contains("Planner"), "{tokens}");
    let one = text(&admin.get("/auth/apps").is(200)["items"][0]["id"]).to_owned();
    let answer = browser.submit_in(&tokens, &format!("/tokens/{one}/end-app"), &[]);
    assert!(answer.status() == 303 && answer.header("location").starts_with("/tokens?done=app-ended&closure="));
    let refused = app.get("/api/auth/whoami").refused(401, "token_revoked");
    assert!(text(&refused["fix"]).contains("/oauth/authorize"), "{refused}");
    server.nobody().form("/oauth/token", &refresh(&id, text(&next["refresh_token"]))).refused(400, "invalid_grant");

    let denied = browser.submit_in(page.split("<h2>Or not</h2>").nth(1).unwrap(), "/oauth/authorize", &[]);
    assert_eq!(denied.status(), 303);
    assert!(denied.header("location").contains("error=access_denied"), "{denied:?}");
}

/// R250, R251, R257: a program that answers to a scheme of its own is let in, and trades its code as a client of OAuth 2.1 does.
#[test]
fn a_program_with_a_scheme_of_its_own_is_let_in() {
    let (server, admin) = Server::with_admin();
    let app = "cursor://anysphere.cursor-mcp/oauth/callback";
    let body = json!({ "name": "Cursor", "redirect_uris": [app] });
    let id = text(&admin.post(CLIENTS, &body).is(201)["id"]).to_owned();
    let browser = Browser::of(&server, &admin);
    let path = format!("/oauth/authorize?{}", request_for(&id, app, "openid agents.read"));
    let page = browser.page(&path);
    assert!(page.contains("opens addresses with") && page.contains("cursor:"), "{page}");
    let policy = browser.get(&path).header("content-security-policy").to_owned();
    assert!(policy.contains("form-action 'self' cursor:; frame-ancestors 'none'"), "{policy}");
    let answer = browser.submit_in(&page, "/oauth/authorize", &[("scope", "agents.read"), ("days", "7")]);
    assert_eq!(answer.status(), 303, "{}", answer.text());
    let to = answer.header("location").to_owned();
    assert!(to.starts_with(&format!("{app}?code=")), "{to}");
    let code = parameter(&to, "code");
    let form = [
        ("grant_type", "authorization_code"),
        ("client_id", id.as_str()),
        ("code", code.as_str()),
        ("code_verifier", VERIFIER),
    ];
    let got = server.nobody().form("/oauth/token", &encoded(&form)).is(200);
    assert_eq!(got["scope"], "agents.read");
    let other = request_for(&id, "cursor://anysphere.cursor-mcp/oauth/callback2", "agents.read");
    assert_eq!(browser.get(&format!("/oauth/authorize?{other}")).status(), 400);
}

/// R133: what is wrong about client or redirect URI is a page that leads nowhere; all else goes to the app.
#[test]
fn only_a_registered_redirect_uri_is_ever_answered() {
    let (server, admin) = Server::with_admin();
    let id = registered(&admin);
    let browser = Browser::of(&server, &admin);
    for bad in [
        request("cli_nobody"),
        request_for(&id, "https://evil.example/cb", "agents.read"),
        request_for(&id, "https://app.example.com/cb/../evil", "agents.read"),
        request_for(&id, "https://app.example.com@evil.example/cb", "agents.read"),
        format!("{}&redirect_uri=https%3A%2F%2Fevil.example%2Fcb", request(&id)),
        String::new(),
    ] {
        for answer in [
            browser.get(&format!("/oauth/authorize?{bad}")),
            browser.post_from(browser.base_url(), "/oauth/authorize", &[("act", "deny"), ("request", &bad)]),
        ] {
            assert_eq!((answer.status(), answer.header("location")), (400, ""), "{bad}: {}", answer.text());
            is_page(&answer);
            assert!(!answer.text().contains("evil.example"), "{}", answer.text());
            assert!(!answer.header("content-security-policy").contains("evil.example"), "{answer:?}");
        }
    }
    let plain = request(&id).replace("S256", "plain");
    let answer = browser.get(&format!("/oauth/authorize?{plain}"));
    assert_eq!(answer.status(), 303);
    let to = answer.header("location");
    assert!(to.starts_with("https://app.example.com/cb?error=invalid_request&"), "{to}");
    assert_eq!((parameter(to, "state"), parameter(to, "iss").is_empty()), ("s-1".to_owned(), false));

    // R568: whom the app expects stands in the form, until something else was typed.
    let hinted = format!("/oauth/authorize?{}&login_hint=lin%2B1%40example.com", request(&id));
    let visitor = Browser::new(&server);
    let login = visitor.get(&hinted).header("location").to_owned();
    assert!(visitor.page(&login).contains("value=\"lin+1@example.com\""));
    let answer = visitor.sign_in("ada@example.com", "not this one", &hinted);
    assert!(
        answer.text().contains("value=\"ada@example.com\"") && !answer.text().contains("value=\"lin"),
        "{answer:?}"
    );
    assert_eq!(visitor.sign_in("ada@example.com", PASSWORD, &hinted).header("location"), hinted);

    // A long state survives the sign-in.
    let state = "s".repeat(2_200);
    let long = request(&id).replace("s%2D1", &state);
    let visitor = Browser::new(&server);
    let path = format!("/oauth/authorize?{long}");
    let answer = visitor.get(&path);
    let login = answer.header("location").to_owned();
    visitor.page(&login);
    let answer = visitor.sign_in("ada@example.com", PASSWORD, &path);
    assert_eq!(answer.header("location"), path);
    let page = visitor.page(&path);
    let answer = visitor.submit_in(&page, "/oauth/authorize", &[("scope", "agents.read"), ("days", "1")]);
    assert_eq!(parameter(answer.header("location"), "state"), state);
    let answer = visitor.get(&format!("{path}{}", "x".repeat(1_000)));
    assert_eq!((answer.status(), answer.header("location")), (400, ""));
}

/// R133: scopes of which a route takes a fresh proof are given with one, which is asked for in place and leads on to the app.
#[test]
fn a_fresh_proof_is_asked_for_in_place() {
    let (server, admin) = Server::with_admin();
    let id = registered(&admin);
    let browser = Browser::of(&server, &admin);
    let page = browser.page(&format!("/oauth/authorize?{}", request_for(&id, CALLBACK, "users.read users.write")));
    server.execute("UPDATE credentials SET proved_at = 1 WHERE kind = 'session'");
    let ticked = [("scope", "users.read"), ("scope", "users.write"), ("days", "1")];
    let asked = browser.submit_in(&page, "/oauth/authorize", &ticked);
    asked.is_text(403, "Is it you?");
    is_page(&asked);
    // A browser holds the redirect after this form against the policy too.
    assert!(
        asked.header("content-security-policy").contains("form-action 'self' https://app.example.com;"),
        "{asked:?}"
    );
    let answer = browser.submit_in(&asked.text(), "/oauth/authorize", &[("proof_password", "not this one")]);
    answer.is_text(403, "Is it you?");
    let answer = browser.submit_in(&asked.text(), "/oauth/authorize", &[("proof_password", PASSWORD)]);
    assert_eq!(answer.status(), 303, "{}", answer.text());
    assert!(answer.header("location").starts_with("https://app.example.com/cb?code="), "{answer:?}");
    assert_eq!(server.texts("SELECT json_extract(data, '$.scope') FROM codes"), ["users.read users.write"]);
}

fn document(id: &str, redirect: &str) -> &'static str {
    let text = json!({
        "client_id": id, "client_name": "Editor", "redirect_uris": [redirect], "token_endpoint_auth_method": "none",
    });
    Box::leak(text.to_string().into_boxed_str())
}

/// R132: a client is known by a document that this server fetches once, of an allowed host, for a person who is signed in.
#[test]
fn a_client_is_known_by_its_document() {
    let sink = Sink::new();
    let server = Server::settings()
        .variable("outbound_hosts", &sink.address())
        .flag("--runtime-config-file", &sink.runtime_config().to_string_lossy())
        .flag("--allow-private", &sink.address())
        .start();
    let admin = server.bootstrap();
    let id = format!("https://{}/client.json", sink.address());
    let asked = |id: &str| request_for(id, "http://127.0.0.1:51004/callback", "agents.read");
    let path = |id: &str| format!("/oauth/authorize?{}", asked(id));
    assert_eq!(Browser::new(&server).get(&path(&id)).status(), 303);
    assert!(sink.received().is_empty(), "no stranger has anything fetched");

    let browser = Browser::of(&server, &admin);
    for (reply, why) in [
        (Reply::Status(404, "{}"), "answered 404"),
        (Reply::Status(200, "{"), "no JSON object"),
        (Reply::Status(200, document("https://other.example/client.json", "http://127.0.0.1/callback")), "not its URL"),
        (Reply::Redirect("https://localhost:1/client.json".to_owned()), "redirects are not followed"),
        (Reply::Endless, "answered 400"),
    ] {
        sink.will(&[reply]);
        let answer = browser.get(&path(&id));
        assert_eq!(answer.header("location"), "");
        answer.is_text(400, why);
    }
    browser.get(&path("https://elsewhere.example.com/client.json")).is_text(403, "elsewhere.example.com");

    let before = sink.received().len();
    sink.will(&[Reply::Status(200, document(&id, "http://127.0.0.1/callback"))]);
    let page = browser.page(&path(&id));
    for part in
        ["Let Editor in?", &sink.address(), "which calls itself so", "127.0.0.1:51004", "other programs could pretend"]
    {
        assert!(page.contains(part), "{part} in {page}");
    }
    let answer = browser.submit_in(&page, "/oauth/authorize", &[("scope", "agents.read"), ("days", "30")]);
    let to = answer.header("location").to_owned();
    assert!(to.starts_with("http://127.0.0.1:51004/callback?code="), "{to}");
    let body = trade_for(&id, &parameter(&to, "code"), "http://127.0.0.1:51004/callback");
    let got = server.nobody().form("/oauth/token", &body).is(200);
    server.nobody().form("/oauth/token", &refresh(&id, text(&got["refresh_token"]))).is(200);
    let received = sink.received();
    assert_eq!(received.len(), before + 1, "kept for a while");
    let sent = received.last().unwrap();
    assert_eq!((sent.line.as_str(), sent.header("cookie"), sent.header("authorization")), ("GET /client.json", "", ""));

    // A fault of an app that nobody here has looked at leads there by a link alone.
    let answer = browser.get(&format!("/oauth/authorize?{}", asked(&id).replace("S256", "plain")));
    assert_eq!((answer.status(), answer.header("location")), (200, ""));
    assert!(
        answer.text().contains("href=\"http://127.0.0.1:51004/callback?error=invalid_request"),
        "{}",
        answer.text()
    );
}

/// R424: a document that is too long, comes too late, never ends, or is at a private address is none: each is told in time, nothing of it is
/// kept, and a private address is not asked.
#[test]
fn a_document_is_bounded_in_size_time_and_place() {
    let sink = Sink::new();
    let start = |more: &[&str]| {
        let mut settings = Server::settings()
            .variable("outbound_hosts", &format!("{} 127.0.0.1:* [::ffff:127.0.0.1]:* 0x7f.1:*", sink.address()))
            .flag("--runtime-config-file", &sink.runtime_config().to_string_lossy());
        for address in more {
            settings = settings.flag("--allow-private", address);
        }
        settings.start()
    };
    let server = start(&[&sink.address()]);
    let browser = Browser::of(&server, &server.bootstrap());
    let path =
        |id: &str| format!("/oauth/authorize?{}", request_for(id, "http://127.0.0.1:51004/callback", "agents.read"));
    let id = format!("https://{}/client.json", sink.address());
    let good = document(&id, "http://127.0.0.1/callback");
    // As long as it may be, and a byte more: blanks behind it are part of it.
    let padded = |length: usize| &*Box::leak(format!("{good:<length$}").into_boxed_str());
    for (reply, why) in [
        (Reply::Status(200, padded(10 * 1024 + 1)), "it is longer than 10 KiB, or ended too late"),
        (Reply::Chunks(64), "it is longer than 10 KiB, or ended too late"),
        (Reply::Chunks(1), "it is longer than 10 KiB, or ended too late"),
        (Reply::Length(5_000, good), "it is longer than 10 KiB, or ended too late"),
        (Reply::Silence, "its host does not answer, or not in time"),
    ] {
        sink.will(std::slice::from_ref(&reply));
        let begun = Instant::now();
        let asked = sink.received().len();
        browser.get(&path(&id)).is_text(400, why);
        assert!(begun.elapsed() < PATIENCE, "{reply:?}: {:?}", begun.elapsed());
        assert_eq!(sink.received().len(), asked + 1, "{reply:?}");
    }
    assert_eq!(server.number("SELECT count(*) FROM oauth_documents"), 0);
    sink.will(&[Reply::Status(200, padded(10 * 1024))]);
    assert!(browser.page(&path(&id)).contains("Let Editor in?"));
    let asked = sink.received().len();

    let server = start(&[]);
    let browser = Browser::of(&server, &server.bootstrap());
    let port = sink.address().replace("localhost:", "");
    for host in ["localhost", "127.0.0.1", "[::ffff:127.0.0.1]", "0x7f.1"] {
        let id = format!("https://{host}:{port}/client.json");
        // What is behind the name is for the operator's log.
        let answer = browser.get(&path(&id));
        answer.is_text(400, "its host does not answer, or not in time");
        assert!(!answer.text().contains("not public"), "{host}");
        let said = format!("could not call https://{host}:{port}: destination IP address is prohibited");
        until_logged(server.host(), &said);
    }
    assert_eq!(sink.received().len(), asked);
}

/// R134: an app that is made of npm's openid-client needs nothing but the server's address and its client id.
#[test]
fn openid_client_is_let_in() {
    let (server, admin) = Server::with_admin();
    let id = registered(&admin);
    let issuer = server.host().base_url();
    let mut process = asking("node")
        .args(["client.mjs", issuer, &id, CALLBACK])
        .current_dir(packages::npm(Path::new(env!("CARGO_TARGET_TMPDIR")), "oidc"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
    let address = lines.next().expect("the address for the browser").unwrap();
    let path = address.strip_prefix(issuer).unwrap();
    let browser = Browser::of(&server, &admin);
    let page = browser.page(path);
    let ticked = [("scope", "agents.read"), ("scope", "tokens.read"), ("days", "90")];
    let answer = browser.submit_in(&page, "/oauth/authorize", &ticked);
    writeln!(process.stdin.as_ref().unwrap(), "{}", answer.header("location")).unwrap();
    let done: Json = serde_json::from_str(&lines.next().expect("what came of it").unwrap()).unwrap();
    let expected =
        json!({ "scope": ["agents.read", "tokens.read"], "expires_in": 3600, "rotated": true, "after": 401 });
    assert_eq!(done, expected);
    process.wait().unwrap();
}

/// R136, R396: twenty times twenty requests at once over two hosts: one gets tokens for a code, one for a refresh token, and what was sent
/// twice ends.
#[test]
fn twenty_at_once_over_two_hosts_get_one_answer() {
    let (server, admin) = Server::with_admin();
    let second = server.second();
    let id = registered(&admin);
    let send = |body: &str| -> Vec<Json> {
        let answers = at_once(TIMES, |number| {
            let at = if number % 2 == 0 { &server } else { &second };
            server.nobody().at(at.host().base_url()).form("/oauth/token", body)
        });
        for answer in &answers {
            assert!(matches!(answer.status(), 200 | 400 | 503), "{answer:?}");
        }
        answers.iter().filter(|answer| answer.status() == 200).map(Answer::json).collect()
    };
    for _ in 0..TIMES {
        let decided = admin.post("/api/oauth/authorize", &json!({ "request": request(&id) })).is(200);
        let got = send(&trade(&id, &code(&decided)));
        assert_eq!(got.len(), 1, "{got:?}");
        assert_eq!(server.number("SELECT count(*) FROM oauth_grants WHERE ended_at IS NULL"), 0);
        server.with(text(&got[0]["access_token"])).get("/api/auth/whoami").refused(401, "token_revoked");

        let decided = admin.post("/api/oauth/authorize", &json!({ "request": request(&id) })).is(200);
        let first = server.nobody().form("/oauth/token", &trade(&id, &code(&decided))).is(200);
        let got = send(&refresh(&id, text(&first["refresh_token"])));
        assert_eq!(got.len(), 1, "{got:?}");
        assert_eq!(server.number("SELECT count(*) FROM oauth_grants WHERE ended_at IS NULL"), 0);
        server.with(text(&got[0]["access_token"])).get("/api/auth/whoami").refused(401, "token_revoked");
    }
    let metadata = server.nobody().get("/.well-known/oauth-authorization-server").is(200);
    for (member, value) in [
        ("code_challenge_methods_supported", json!(["S256"])),
        ("response_types_supported", json!(["code"])),
        ("client_id_metadata_document_supported", json!(true)),
        ("authorization_response_iss_parameter_supported", json!(true)),
    ] {
        assert_eq!(metadata[member], value, "{member}");
    }
}

/// R396: of twenty requests at once over two hosts one gets the token of an approved device, and no later one does.
#[test]
fn twenty_at_once_get_one_token_for_a_device() {
    let (server, admin) = Server::with_admin();
    let second = server.second();
    for round in 1..=5 {
        let codes = server.nobody().form("/auth/device/code", "name=laptop&scope=agents.read").is(200);
        admin.post(&format!("/auth/device/{}/approve", text(&codes["user_code"])), &json!({})).is(200);
        let grant = "urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Adevice_code";
        let body = format!("grant_type={grant}&device_code={}", text(&codes["device_code"]));
        let answers = at_once(TIMES, |number| {
            let at = if number % 2 == 0 { &server } else { &second };
            server.nobody().at(at.host().base_url()).form("/oauth/token", &body)
        });
        assert!(answers.iter().all(|answer| matches!(answer.status(), 200 | 400 | 503)), "{answers:?}");
        let got: Vec<&Answer> = answers.iter().filter(|answer| answer.status() == 200).collect();
        assert_eq!(got.len(), 1, "{answers:?}");
        let token = got[0].json()["access_token"].clone();
        server.nobody().form("/oauth/token", &body).refused(400, "invalid_grant");
        server.with(text(&token)).get("/api/auth/whoami").is(200);
        assert_eq!(server.number("SELECT count(*) FROM credentials WHERE kind = 'pat'"), round);
    }
}

/// R589: what was approved in a session and not fetched yet ends with that session, whichever way it ends, but for the person's own
/// sign-out: people sign out right after they approve a device.
#[test]
fn what_was_let_in_and_not_fetched_ends_with_the_session() {
    let (server, admin) = Server::with_admin();
    let id = registered(&admin);
    let max = server.user(&admin, "max@example.com", "member");
    let user = text(&max.get("/api/auth/whoami").is(200)["user_id"]).to_owned();
    let grant = "urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Adevice_code";
    let made = |email: &str| {
        format!(
            "SELECT count(*) FROM credentials c JOIN users u ON u.id = c.user_id WHERE u.email = '{email}' AND c.kind <> 'session'"
        )
    };
    let id_of = |session: &Client| text(&session.get("/api/auth/whoami").is(200)["credential"]["id"]).to_owned();
    // A device and an app that wait for what `session` has approved.
    let waiting = |session: &Client| {
        let codes = server.nobody().form("/auth/device/code", "name=laptop&scope=agents.read").is(200);
        session.post(&format!("/auth/device/{}/approve", text(&codes["user_code"])), &json!({})).is(200);
        let decided = session.post("/api/oauth/authorize", &json!({ "request": request(&id) })).is(200);
        [format!("grant_type={grant}&device_code={}", text(&codes["device_code"])), trade(&id, &code(&decided))]
    };
    let sign_in = || server.sign_in("max@example.com", None);
    let (change, sessions) = (json!({ "current": PASSWORD, "new": PASSWORD }), format!("/api/users/{user}/sessions"));
    type End<'a> = (&'a str, &'a dyn Fn(&Client, &Client) -> Answer);
    let ends: [End<'_>; 7] = [
        ("a changed password", &|_, other| other.post("/auth/password", &change)),
        ("the end of all others", &|_, other| other.delete("/auth/sessions")),
        ("the end of this one", &|session, other| other.delete(&format!("/auth/sessions/{}", id_of(session)))),
        ("a leak", &|session, _| server.nobody().post("/auth/leaks", &json!({ "token": session.bearer() }))),
        ("the end of this one by an admin", &|session, _| {
            admin.delete(&format!("/auth/admin/tokens/{}", id_of(session)))
        }),
        ("a password that an admin sets", &|_, _| {
            admin.post(&format!("/api/users/{user}/set-password"), &json!({ "password": PASSWORD }))
        }),
        ("the end of all by an admin", &|_, _| admin.delete(&sessions)),
    ];
    for (what, end) in ends {
        let (session, other) = (sign_in(), sign_in());
        let [device, app] = waiting(&session);
        assert!(matches!(end(&session, &other).status(), 200 | 204), "{what}");
        server.nobody().form("/oauth/token", &device).refused(400, "access_denied");
        server.nobody().form("/oauth/token", &app).refused(400, "invalid_grant");
        assert_eq!(server.number(&made("max@example.com")), 0, "{what}");
    }
    let session = sign_in();
    let [device, app] = waiting(&session);
    session.post("/auth/logout", &json!({})).is(204);
    server.nobody().form("/oauth/token", &device).is(200);
    server.nobody().form("/oauth/token", &app).is(200);
}

/// A value as it stands in the query of an address.
fn escaped(value: &str) -> String {
    encoded(&[("", value)]).trim_start_matches('=').to_owned()
}

/// R595: a person who is asked under another account signs in as somebody else, and comes back to the question.
#[test]
fn a_page_that_asks_can_be_answered_as_somebody_else() {
    let (server, admin) = Server::with_admin();
    let id = registered(&admin);
    server.user(&admin, "max@example.com", "member");
    let codes = server.nobody().form("/auth/device/code", "name=laptop&scope=agents.read").is(200);
    let app = format!("/oauth/authorize?{}", request_for(&id, CALLBACK, "agents.read"));
    for path in [app, format!("/device?user_code={}", text(&codes["user_code"]))] {
        let browser = Browser::of(&server, &server.sign_in("ada@example.com", None));
        let page = browser.page(&path);
        assert!(page.contains("ada@example.com, admin in"), "{page}");
        let form = page.split("<form").find(|form| form.contains("Sign in as somebody else")).unwrap();
        let left = browser.submit_in(&format!("<form{form}"), "/logout", &[]);
        let to = left.header("location");
        assert_eq!(left.status(), 303);
        let begin = escaped(path.split_once('?').unwrap().0);
        assert!(to.starts_with(&format!("/login?next={begin}%3F")), "{to}");
        browser.page(to);
        let back = browser.sign_in("max@example.com", PASSWORD, &path);
        assert_eq!((back.status(), back.header("location")), (303, path.as_str()));
        assert!(browser.page(&path).contains("max@example.com, member in"));
    }
}

/// R220: what a code or a refresh token that is sent twice has ended is a closure, which the trail names and the person can follow.
#[test]
fn what_is_sent_twice_has_a_closure() {
    let (server, admin) = Server::with_admin();
    let id = registered(&admin);
    let send = |body: &str| server.nobody().form("/oauth/token", body);
    for (number, what) in (1..).zip(["code", "refresh token"]) {
        let decided = admin.post("/api/oauth/authorize", &json!({ "request": request(&id) })).is(200);
        let trade = trade(&id, &code(&decided));
        let got = send(&trade).is(200);
        let again = refresh(&id, text(&got["refresh_token"]));
        let (got, twice) = match what {
            "code" => (got, trade),
            _ => (send(&again).is(200), again),
        };
        let app = server.with(text(&got["access_token"]));
        app.get("/api/auth/whoami").is(200);
        for _ in 0..2 {
            send(&twice).refused(400, "invalid_grant");
        }
        app.get("/api/auth/whoami").refused(401, "token_revoked");
        send(&refresh(&id, text(&got["refresh_token"]))).refused(400, "invalid_grant");
        let row = admin.get("/api/audit?action=oauth.replay").is(200)["items"][0].clone();
        assert_eq!(row["after"]["sent_twice"], what);
        let closure = admin.get(&format!("/api/closures/{}", text(&row["after"]["closure"]["id"]))).is(200);
        assert_eq!((&closure["status"], &closure["ended"]["tokens"]), (&json!("closed"), &json!(1)), "{what}");
        assert_eq!(server.number("SELECT count(*) FROM closures"), number, "{what}");
    }
}

/// R398, RFC 9700 sections 4.2, 4.11, 4.12 and 4.16: the page of consent is shown in no frame, asks no other site for anything, tells no site
/// where its visitor was, and sends nobody on that has not signed in; a decision is answered so that no form is sent on.
#[test]
fn the_page_of_consent_tells_nobody_else() {
    let server = Server::settings().variable("signing_key", KEY).start();
    let admin = server.bootstrap();
    let id = registered(&admin);
    // A request with a fault does not make this server the first step of somebody else's link.
    let stranger = Browser::new(&server);
    for asked in [request(&id), request(&id).replace("S256", "plain"), request_for(&id, CALLBACK, "nothing.like.this")]
    {
        let answer = stranger.get(&format!("/oauth/authorize?{asked}"));
        assert!(answer.status() == 303 && answer.header("location").starts_with("/login?next="), "{asked}: {answer:?}");
    }
    let browser = Browser::of(&server, &admin);
    // Nor of a link to a program that registered itself: its person follows the way back by hand.
    let local = "http://127.0.0.1/cb";
    let body = json!({ "redirect_uris": [local] });
    let dynamic = text(&server.nobody().post("/oauth/register", &body).is(201)["client_id"]).to_owned();
    let asked = request_for(&dynamic, local, "agents.read").replace("S256", "plain");
    let answer = browser.get(&format!("/oauth/authorize?{asked}"));
    assert_eq!(answer.header("location"), "", "{answer:?}");
    assert!(answer.text().contains("error=invalid_request"), "{}", answer.text());

    let path = format!("/oauth/authorize?{}", request(&id));
    let answer = browser.get(&path);
    assert_eq!((answer.status(), answer.header("referrer-policy")), (200, "same-origin"));
    assert_eq!((answer.header("cache-control"), answer.header("x-content-type-options")), ("no-store", "nosniff"));
    let policy = answer.header("content-security-policy");
    for part in ["default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'"] {
        assert!(policy.contains(part), "{policy}");
    }
    let page = answer.text();
    for part in ["src=\"http", "src=\"//", "<iframe", "<base", "postMessage"] {
        assert!(!page.contains(part), "{part} in {page}");
    }
    let ticked = [("scope", "agents.read"), ("days", "7")];
    let denied = page.split("<h2>Or not</h2>").nth(1).unwrap();
    for answer in
        [browser.submit_in(&page, "/oauth/authorize", &ticked), browser.submit_in(denied, "/oauth/authorize", &[])]
    {
        // 303 and no other: with 307 or 308 a browser would send the form to the app.
        assert_eq!(answer.status(), 303, "{}", answer.text());
        assert!(answer.header("location").starts_with(CALLBACK), "{answer:?}");
        assert_eq!(answer.header("cache-control"), "no-store");
    }
}

/// R398, RFC 9700 sections 2.1.2, 2.4, 4.3.2 and 4.17: there is no flow that gives a token without a code, none that takes a person's
/// password, no answer but in the query of the redirect URI, and no credential in an address.
#[test]
fn no_flow_that_was_given_up_is_there() {
    let (server, admin) = Server::with_admin();
    let id = registered(&admin);
    let nobody = server.nobody();
    let metadata = nobody.get("/.well-known/oauth-authorization-server").is(200);
    assert_eq!(
        (&metadata["response_types_supported"], &metadata["response_modes_supported"]),
        (&json!(["code"]), &json!(["query"]))
    );
    let grants = [
        "authorization_code",
        "refresh_token",
        "urn:ietf:params:oauth:grant-type:device_code",
        "urn:ietf:params:oauth:grant-type:jwt-bearer",
        "urn:ietf:params:oauth:grant-type:token-exchange",
    ];
    let mut listed: Vec<&str> = metadata["grant_types_supported"].as_array().unwrap().iter().map(text).collect();
    listed.sort_unstable();
    assert_eq!(listed, grants);
    for grant in ["password", "client_credentials", "implicit", "PASSWORD", "Authorization_Code"] {
        let form =
            format!("grant_type={grant}&client_id={id}&username=ada%40example.com&password={}", encoded_password());
        nobody.form("/oauth/token", &form).refused(400, "unsupported_grant_type");
    }
    let browser = Browser::of(&server, &admin);
    let kinds = ["token", "id_token", "code+token", "code+id_token", "none"]
        .map(|kind| ("response_type=code", kind, "response_type"));
    let modes =
        ["fragment", "form_post", "web_message", "query.jwt"].map(|mode| ("response_type=code", mode, "response_mode"));
    for (known, value, name) in kinds.into_iter().chain(modes) {
        let with = if name == "response_type" { String::new() } else { format!("{known}&") };
        let asked = request(&id).replace(known, &format!("{with}{name}={value}"));
        let answer = browser.get(&format!("/oauth/authorize?{asked}"));
        let to = answer.header("location");
        assert_eq!(answer.status(), 303, "{asked}: {}", answer.text());
        // The error comes in the query too, whatever way was asked for.
        assert!(to.starts_with(&format!("{CALLBACK}?error=")) && !to.contains('#'), "{asked}: {to}");
    }
    assert_eq!(server.number("SELECT count(*) FROM codes"), 0);

    let decided = admin.post("/api/oauth/authorize", &json!({ "request": request(&id) })).is(200);
    let form = trade(&id, &code(&decided));
    // Neither the address of the endpoint nor GET takes a code, and looking spends none.
    assert_eq!(nobody.get(&format!("/oauth/token?{form}")).status(), 405);
    let by_address = nobody.form(&format!("/oauth/token?{form}"), "");
    assert!((400..500).contains(&by_address.status()), "{}", by_address.text());
    let got = nobody.form("/oauth/token", &form).is(200);
    for token in [&got["access_token"], &got["refresh_token"]] {
        let path = format!("/api/auth/whoami?access_token={}", text(token));
        nobody.get(&path).refused(400, "credential_in_url");
    }
}

fn encoded_password() -> String {
    PASSWORD.replace(' ', "+")
}

/// R398, RFC 9700 section 4.15: no client chooses its id, and neither its id nor its secret is a credential of the API, of a person or an agent.
#[test]
fn no_client_passes_for_a_person_or_an_agent() {
    let server = Server::settings().variable("signing_key", KEY).start();
    let admin = server.bootstrap();
    let person = text(&admin.get("/api/auth/whoami").is(200)["user_id"]).to_owned();
    for name in ["id", "client_id", "sub"] {
        let mut body = json!({ "name": "Planner", "redirect_uris": [CALLBACK] });
        body[name] = json!(person);
        admin.post(CLIENTS, &body).refused(422, "validation_error");
    }
    let body =
        json!({ "client_id": person, "sub": person, "client_name": person, "redirect_uris": ["http://127.0.0.1/cb"] });
    let dynamic = server.nobody().post("/oauth/register", &body).is(201);
    assert!(text(&dynamic["client_id"]).starts_with("dyn_"), "{dynamic}");
    let body = json!({ "name": "Server", "redirect_uris": [CALLBACK], "confidential": true });
    let made = admin.post(CLIENTS, &body).is(201);
    let (id, secret) = (text(&made["id"]), text(&made["client_secret"]));
    assert!(id.starts_with("cli_"), "{id}");
    for credential in [id, secret, text(&dynamic["client_id"])] {
        server.with(credential).get("/api/auth/whoami").refused(401, "invalid_token");
    }
    // A token names its client beside its person, never in the place of it.
    let public = registered(&admin);
    let decided = admin.post("/api/oauth/authorize", &json!({ "request": request(&public) })).is(200);
    let got = server.nobody().form("/oauth/token", &trade(&public, &code(&decided))).is(200);
    let asking = server.plant_pat(&admin, "tokens.introspect agents.read");
    let told = asking.form("/auth/introspect", &format!("token={}", text(&got["access_token"]))).is(200);
    assert_eq!((&told["sub"], &told["client_id"], &told["kind"]), (&json!(person), &json!(public), &json!("pat")));
}
