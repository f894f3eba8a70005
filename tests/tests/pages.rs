//! The pages: as a browser without a script uses them, with its cookies and its forms.

#![expect(
    clippy::indexing_slicing,
    clippy::panic,
    reason = "helpers of tests: whatever is not as expected ends the test"
)]

use serde_json::{Value as Json, json};
use tests::{
    Agent, Answer, Client, Server,
    browser::{Browser, encoded, fields, has_policy, hidden, is_page, unescaped},
    server::{KEY, PASSWORD, text},
    totp::{Authenticator, age_proofs},
};

/// A text that would be markup if any page wrote it as it is.
const HOSTILE: &str = "\"'><img src=x onerror=alert(1)>&amp;";

#[track_caller]
fn leads_to(answer: &Answer, path: &str) {
    // A stop leads to a page that shows its closure, whose id nobody knows before.
    let location = answer.header("location").split("&closure=cls_").next();
    assert_eq!((answer.status(), location), (303, Some(path)), "{}", answer.text());
    has_policy(answer);
}

/// R553: what one agent holds hides neither other agents nor the trail, and what would is refused.
#[test]
fn what_is_nested_hides_nothing_beside_it() {
    let (server, admin) = Server::with_admin();
    admin.post("/api/agents", &json!({ "name": "beside" })).is(201);
    let nested = |levels| (0..levels).fold(json!(1), |json, _| json!([json]));
    // The body is one level more.
    for levels in [64, 100, 126] {
        let refused = admin.post("/api/agents", &json!({ "name": "deep", "compute": nested(levels) }));
        refused.refused(400, "invalid_json");
    }
    admin.post("/api/agents", &json!({ "name": "deep", "compute": nested(63) })).is(201);
    let browser = Browser::of(&server, &admin);
    for path in ["/", "/agents", "/agents/deep", "/agents/deep/history", "/admin/audit"] {
        let html = browser.page(path);
        assert!(html.contains("deep") && (path.starts_with("/agents/") || html.contains("beside")), "{path}: {html}");
    }
    // One that another release took: the page says that it cannot be shown, and not that there is none.
    let (opened, closed) = ("[".repeat(126), "]".repeat(126));
    server.execute(&format!("UPDATE agents SET compute = '{opened}{closed}' WHERE name = 'deep'"));
    assert_eq!(browser.get("/agents").status(), 503);
}

/// Every page of a visitor, with what is in it of this tenant.
fn pages(admin: &Client, agent: &Agent) -> Vec<String> {
    let id_of = |path: &str| text(&admin.get(path).is(200)["items"][0]["id"]).to_owned();
    let name = &agent.name;
    let mut pages: Vec<String> = [
        "/",
        "/agents",
        "/register",
        "/archived",
        "/stop-all",
        "/access",
        "/tokens?status=all",
        "/security",
        "/device",
        "/notifications",
        "/guides",
        "/admin/users",
        "/admin/tokens",
        "/admin/audit?verify=1",
        "/admin/tenant",
        "/admin/clients",
        "/admin/outbox",
        "/admin/resources",
        "/admin/presets",
        "/admin/presets/worker",
        "/admin/scopes",
    ]
    .map(str::to_owned)
    .into();
    pages.extend(
        ["", "/credentials", "/secrets", "/sharing", "/why", "/log", "/history", "/settings"]
            .map(|tab| format!("/agents/{name}{tab}")),
    );
    pages.push(format!("/access/{}", id_of("/api/access-requests")));
    pages.push(format!("/admin/users/{}", id_of("/api/users")));
    pages
}

/// R104: a person compares the code of a device and decides by form; the link fills in the code and nothing else.
#[test]
fn a_device_is_signed_in_by_form() {
    let (server, admin) = Server::with_admin();
    let nobody = server.nobody();
    let ask = |body: &str| nobody.form("/auth/device/code", body).is(200);
    let poll = |codes: &Json, client: &str| {
        let code = text(&codes["device_code"]);
        let client = encoded(client);
        let body =
            format!("grant_type=urn:ietf:params:oauth:grant-type:device_code&device_code={code}&client_id={client}");
        nobody.form("/auth/device/token", &body)
    };
    let codes = ask(&format!("name={}&client_id={}&scope=agents.read+agents.list", encoded(HOSTILE), encoded(HOSTILE)));
    let link = text(&codes["verification_uri_complete"]).strip_prefix(nobody.base_url()).unwrap_or_default().to_owned();

    // Without a session the link leads through the sign-in, and back to itself.
    let browser = Browser::new(&server);
    leads_to(&browser.get(&link), &format!("/login?next={}", encoded(&link).replace("%2D", "-").replace("%5F", "_")));
    leads_to(&browser.sign_in("ada@example.com", PASSWORD, &link), &link);
    let page = browser.page(&format!("{link}&scope=*&days=1"));
    assert!(
        page.contains(text(&codes["user_code"])) && page.contains("127.0.0.1") && !page.contains(HOSTILE),
        "{page}"
    );
    assert_eq!(page.matches("name=\"scope\"").count(), page.matches(" checked").count(), "{page}");
    assert!(page.contains("<option value=\"90\" selected>"), "{page}");

    // Nothing happens without the token of the form, nor by opening the page.
    let fields = [("act", "approve"), ("user_code", text(&codes["user_code"]))];
    assert_eq!(browser.post_from(nobody.base_url(), "/device", &fields).status(), 403);
    poll(&codes, HOSTILE).refused(400, "authorization_pending");
    let answer = browser.submit_in(&page, "/device", &[("scope", "agents.read"), ("days", "7")]);
    leads_to(&answer, "/device?done=device-approved");
    assert!(browser.page("/device?done=device-approved").contains("Approved."));
    assert_eq!(poll(&codes, HOSTILE).is(200)["scope"], "agents.read");
    assert!(browser.page("/tokens").contains("acr_pat_"));

    // Typed by hand, however; denied; and a code that is none keeps what was typed.
    let codes = ask("name=laptop&want=session");
    let typed = text(&codes["user_code"]).to_lowercase().replace('-', "");
    let page = browser.page(&format!("/device?user_code={typed}"));
    assert!(
        page.contains("ten minutes") && page.contains(text(&codes["user_code"])) && !page.contains("name=\"scope\"")
    );
    let deny = page.rsplit_once("<form").map(|(_, rest)| format!("<form{rest}")).unwrap_or_default();
    leads_to(&browser.submit_in(&deny, "/device", &[]), "/device?done=device-denied");
    poll(&codes, "").refused(400, "access_denied");
    let answer = browser.get("/device?user_code=BCDF-GHJK");
    assert_eq!(answer.status(), 404);
    is_page(&answer);
    assert!(
        answer.text().contains("value=\"BCDF-GHJK\"") && answer.text().contains("No device waits"),
        "{}",
        answer.text()
    );
    drop(admin);
}

/// R28: a page without a session leads to the form for signing in, which knows where the visitor wanted to go; programs get JSON.
#[test]
fn a_page_without_a_session_leads_to_the_sign_in() {
    let (server, admin) = Server::with_admin();
    let agent = server.agent(&admin, "scout", &["agents.create"]);
    agent.client.post("/api/access-requests", &json!({ "scope": ["agents.update"], "reason": "Why not" })).is(201);
    let browser = Browser::new(&server);
    for path in pages(&admin, &agent) {
        leads_to(&browser.get(&path), &format!("/login?next={}", plus(&path)));
    }
    // A session that has ended is none.
    let gone = server.sign_in("ada@example.com", None);
    gone.post("/auth/logout", &json!({})).is(204);
    leads_to(&Browser::of(&server, &gone).get("/agents?q=a%20b"), "/login?next=%2Fagents%3Fq%3Da%2520b");
    // A form of somebody who is signed out changes nothing.
    leads_to(&browser.post_from(browser.base_url(), "/stop-all", &[("csrf", "x")]), "/login?next=%2F");
    assert_eq!(server.number("SELECT count(*) FROM agents WHERE state = 'running'"), 1);
    // What is not a page is as it was.
    browser.get("/api/agents").refused(401, "missing_credential");
    server.nobody().get("/nothing").refused(404, "not_found");
    browser.send("PUT", "/agents", &[], Some(b"")).refused(405, "method_not_allowed");
    assert_eq!(server.nobody().get("/").header("location"), "/docs/");
}

/// As the server writes a query.
fn plus(text: &str) -> String {
    text.bytes()
        .map(|b| match b {
            b if b.is_ascii_alphanumeric() || b"*-._".contains(&b) => char::from(b).to_string(),
            b => format!("%{b:02X}"),
        })
        .collect()
}

/// R27, R24: sign-in by form; a wrong password keeps what was typed, but never the password.
#[test]
fn signing_in_leads_on_and_a_wrong_password_keeps_the_rest() {
    let (server, _) = Server::with_admin();
    let browser = Browser::new(&server);
    let wrong = browser.sign_in("ada@example.com", "wrong-horse-battery", "/agents?q=scout&state=running");
    assert_eq!(wrong.status(), 401);
    is_page(&wrong);
    let html = wrong.text();
    assert!(html.contains("value=\"ada@example.com\"") && !html.contains("wrong-horse-battery"), "{html}");
    assert!(html.contains("name=\"next\" value=\"/agents?q=scout&#38;state=running\""), "{html}");
    assert!(html.contains("role=\"alert\""), "{html}");
    let right = browser.submit_in(&html, "/auth/login", &[("email", "ada@example.com"), ("password", PASSWORD)]);
    leads_to(&right, "/agents?q=scout&state=running");
    let browser = Browser::new(&server);
    leads_to(&browser.sign_in("ada@example.com", PASSWORD, "/agents?q=scout"), "/agents?q=scout");
    assert!(browser.page("/agents?q=scout").contains("aria-current=\"page\">Agents"));
    // An unknown account is told the same.
    let unknown = Browser::new(&server).sign_in("nobody@example.com", PASSWORD, "/");
    assert_eq!((unknown.status(), unknown.text().contains("role=\"alert\"")), (401, true));
}

/// R27: `next` never leaves this site, however it is written, and at every hop.
#[test]
fn next_never_leaves_this_site() {
    let (server, _) = Server::with_admin();
    for next in [
        "//evil.example",
        "/\\evil.example",
        "https://evil.example",
        "javascript:alert(1)",
        "/%2fevil.example",
        "/a%0d%0ab",
        "/\tb",
        "/%255cevil",
    ] {
        let browser = Browser::new(&server);
        assert!(
            browser.page(&format!("/login?next={}", encoded(next))).contains("name=\"next\" value=\"/\""),
            "{next}"
        );
        leads_to(&browser.sign_in("ada@example.com", PASSWORD, next), "/");
        // Also if the form itself was changed.
        let html = browser.page("/login?next=%2F&email=");
        let html = html.replace("name=\"next\" value=\"/\"", &format!("name=\"next\" value=\"{next}\""));
        leads_to(
            &browser.submit_in(&html, "/auth/login", &[("email", "ada@example.com"), ("password", PASSWORD)]),
            "/",
        );
        let back = browser.submit("/tokens", "/logout", &[("back", next)]);
        leads_to(&back, "/login?done=signed-out");
    }
}

/// R29: a form of another site, or without the token, signs nobody in and changes nothing.
#[test]
fn forms_of_other_sites_are_refused() {
    let (server, admin) = Server::with_admin();
    let own = server.nobody().base_url().to_owned();
    let sessions = || server.number("SELECT count(*) FROM credentials WHERE kind = 'session'");
    let before = sessions();
    let browser = Browser::new(&server);
    let html = browser.page("/login");
    let token = hidden(&html, "csrf");
    let typed = [("email", "ada@example.com"), ("password", PASSWORD), ("next", "/")];
    let with = |csrf: &str| {
        typed.iter().copied().chain([("csrf", csrf)]).map(|(n, v)| (n.to_owned(), v.to_owned())).collect::<Vec<_>>()
    };
    for (origin, csrf) in
        [("https://evil.example", token.as_str()), ("null", &token), (&own, ""), (&own, "AAAAAAAAAAAAAAAAAAAAAAAA")]
    {
        let fields = with(csrf);
        let fields: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let refused = browser.post_from(origin, "/auth/login", &fields);
        assert_eq!(refused.status(), 403, "{origin} {csrf}");
        is_page(&refused);
        assert!(refused.text().contains("value=\"ada@example.com\"") && !refused.text().contains(PASSWORD));
    }
    assert_eq!(sessions(), before);
    // Of somebody who is signed in: the API's own check.
    let agent = server.agent(&admin, "scout", &["agents.read"]);
    let signed_in = Browser::of(&server, &admin);
    let html = signed_in.page("/agents/scout");
    let token = hidden(&html, "csrf");
    for (origin, csrf) in [("https://evil.example", token.as_str()), ("null", &token), (&own, ""), (&own, "x")] {
        let refused = signed_in.post_from(origin, "/agents/scout/stop", &[("csrf", csrf)]);
        assert_eq!(refused.status(), 403, "{origin} {csrf}");
        is_page(&refused);
        assert!(refused.text().contains("out of date"), "{}", refused.text());
    }
    let state = |name: &str| text(&admin.get(&format!("/api/agents/{name}")).is(200)["state"]).to_owned();
    assert_eq!(state(&agent.name), "running");
    let stopped = signed_in.post_from(&own, "/agents/scout/stop", &[("csrf", &token)]);
    leads_to(&stopped, "/agents/scout?done=stopped");
    assert_eq!(state(&agent.name), "stopped");
    // R148: the page says since when nothing of the agent is accepted.
    let html = signed_in.page(stopped.header("location"));
    assert!(html.contains("Nothing of scout can be accepted anywhere since "), "{html}");
}

/// R71: the address that counts for a sign-in by form is the visitor's, whatever the visitor says; and a program that says the same is
/// not believed either.
#[test]
fn a_page_passes_the_visitors_own_address_on() {
    let (server, admin) = Server::with_admin();
    let browser = Browser::new(&server);
    let html = browser.page("/login");
    let token = hidden(&html, "csrf");
    let body = format!("csrf={token}&email={}&password={}", encoded("ada@example.com"), encoded(PASSWORD));
    let own = browser.base_url();
    let headers = [
        ("content-type", "application/x-www-form-urlencoded"),
        ("origin", own),
        ("x-forwarded-for", "6.6.6.6"),
        ("spin-client-addr", "0.0.0.0:0"),
        ("user-agent", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"),
    ];
    assert_eq!(browser.send("POST", "/auth/login", &headers, Some(body.as_bytes())).status(), 303);
    assert!(browser.page("/security").contains("Firefox on Linux"));
    server
        .nobody()
        .call(
            "POST",
            "/auth/token",
            &headers[2..],
            Some(json!({ "email": "ada@example.com", "password": PASSWORD }).to_string().as_bytes()),
        )
        .is(200);
    let lied = [("authorization", format!("Bearer {}", admin.bearer()))];
    server
        .nobody()
        .call(
            "GET",
            "/api/auth/whoami",
            &[("authorization", &lied[0].1), ("x-forwarded-for", "6.6.6.6"), ("spin-client-addr", "0.0.0.0:0")],
            None,
        )
        .is(200);
    assert_eq!(server.texts("SELECT DISTINCT address FROM audit WHERE action = 'session.start'"), ["127.0.0.1"]);
    let addresses: Vec<Json> = admin.get("/auth/sessions").is(200)["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["last_used_address"].clone())
        .collect();
    assert!(addresses.iter().all(|address| address == "127.0.0.1" || address.is_null()), "{addresses:?}");
}

/// R71: the host that a page asks for is named by our component alone; elsewhere than on loopback a page without `public_url` says what
/// is missing.
#[test]
fn nobody_outside_names_another_host() {
    let (server, admin) = Server::with_admin();
    let asked = |path: &str| {
        let request = format!(
            "GET {path} HTTP/1.1\r\nhost: accredit.example\r\nx-forwarded-host: 127.0.0.1:3000\r\nspin-client-addr: 0.0.0.0:0\r\n\
             accept: text/html\r\ncookie: accredit={}\r\nconnection: close\r\n\r\n",
            admin.bearer()
        );
        server.nobody().raw(path, request.as_bytes())
    };
    asked("/api/auth/whoami").refused(401, "missing_credential");
    leads_to(&asked("/tokens"), "/login?next=%2Ftokens");
    let login = asked("/login");
    is_page(&login);
    assert!(login.text().contains("public_url") && !login.text().contains("<form"), "{}", login.text());
}

/// R22: a server is set up once, in the browser.
#[test]
fn a_server_is_set_up_once() {
    let server = Server::empty();
    let browser = Browser::new(&server);
    leads_to(&browser.get("/login"), "/setup");
    let typed = |secret| [("secret", secret), ("name", "Ada"), ("email", "ada@example.com"), ("password", PASSWORD)];
    let wrong = browser.submit("/setup", "/setup", &typed("not-the-operator-secret"));
    is_page(&wrong);
    let html = wrong.text();
    assert!(
        wrong.status() == 403
            && html.contains("value=\"Ada\"")
            && !html.contains("not-the-operator")
            && !html.contains(PASSWORD),
        "{html}"
    );
    assert_eq!(server.number("SELECT count(*) FROM users"), 0);
    leads_to(
        &browser.submit("/setup", "/setup", &typed(server.operator_secret())),
        "/login?done=set-up&email=ada%40example.com&tenant=main",
    );
    assert_eq!(server.number("SELECT count(*) FROM users"), 1);
    leads_to(&browser.get("/setup"), "/login");
    // The form that was open elsewhere.
    leads_to(&browser.submit_in(&html, "/setup", &typed(server.operator_secret())), "/login");
    leads_to(&browser.sign_in("ada@example.com", PASSWORD, "/"), "/");
    assert!(browser.page("/").contains("Register an agent"));
}

/// R21: log-out ends the session in the database.
#[test]
fn signing_out_ends_the_session() {
    let (server, _) = Server::with_admin();
    let browser = Browser::new(&server);
    browser.sign_in("ada@example.com", PASSWORD, "/");
    let session = browser.cookie("accredit").unwrap();
    server.with(&session).get("/api/auth/whoami").is(200);
    leads_to(&browser.submit("/", "/logout", &[]), "/login?done=signed-out");
    assert!(browser.cookie("accredit").is_none());
    server.with(&session).get("/api/auth/whoami").refused(401, "token_revoked");
    assert!(browser.page("/login?done=signed-out").contains("You are signed out."));
}

/// R3: an agent is registered and stopped by forms; its token is shown in the answer to the form, and nowhere after it.
#[test]
fn an_agent_lives_by_forms() {
    let (server, admin) = Server::with_admin();
    let browser = Browser::of(&server, &admin);
    let refused = browser.submit(
        "/register",
        "/register",
        &[("name", "///"), ("description", "answers tickets"), ("preset", "reader")],
    );
    is_page(&refused);
    let html = refused.text();
    assert!(
        refused.status() == 400
            && html.contains("value=\"answers tickets\"")
            && html.contains("value=\"reader\" checked"),
        "{html}"
    );
    let form = browser.page("/register");
    let typed = [("name", "Support Desk"), ("description", "answers tickets"), ("preset", "worker"), ("days", "30")];
    let made = browser.submit_in(&form, "/register", &typed);
    is_page(&made);
    assert_eq!(made.status(), 200, "{}", made.text());
    let token = secret_in(&made.text());
    let agent = server.with(&token);
    assert_eq!(agent.get("/api/auth/whoami").is(200)["agent_name"], "support-desk");
    // R362: what became of the name that was typed, which stays the one for people.
    assert!(made.text().contains("You typed Support Desk. The agent&#39;s name is support-desk."), "{}", made.text());
    assert_eq!(admin.get("/api/agents/support-desk").is(200)["display_name"], "Support Desk");
    assert!(browser.page("/agents/support-desk/log").contains("<title>Log · support-desk"));
    // The same form again, as a reload sends it, shows the same token, and makes no second agent.
    assert_eq!(secret_in(&browser.submit_in(&form, "/register", &typed).text()), token);
    assert_eq!(server.number("SELECT count(*) FROM agents"), 1);
    for tab in ["", "/credentials", "/history"] {
        assert!(!browser.page(&format!("/agents/support-desk{tab}")).contains(&token));
    }
    let state = || text(&admin.get("/api/agents/support-desk").is(200)["state"]).to_owned();
    // R640: a row names its agent by the id.
    let id = text(&admin.get("/api/agents/support-desk").is(200)["id"]).to_owned();
    leads_to(&browser.submit("/", &format!("/agents/{id}/stop"), &[]), "/?done=stopped");
    assert_eq!(state(), "stopped");
    agent.get("/api/agents").refused(403, "agent_stopped");
    for (act, done, expected) in
        [("start", "started", "running"), ("pause", "paused", "paused"), ("resume", "resumed", "running")]
    {
        leads_to(
            &browser.submit("/agents/support-desk", &format!("/agents/support-desk/{act}"), &[]),
            &format!("/agents/support-desk?done={done}"),
        );
        assert_eq!(state(), expected);
    }
    // A new token, which ends the first.
    let issued = browser.submit(
        "/agents/support-desk/credentials",
        "/agents/support-desk/issue",
        &[("may", "all"), ("grace", "0")],
    );
    let second = secret_in(&issued.text());
    agent.get("/api/auth/whoami").refused(401, "token_revoked");
    server.with(&second).get("/api/auth/whoami").is(200);
    leads_to(
        &browser.submit("/agents/support-desk/credentials", "/agents/support-desk/revoke", &[]),
        "/agents/support-desk/credentials?done=revoked",
    );
    server.with(&second).get("/api/auth/whoami").refused(401, "token_revoked");
    // A key.
    let key = browser.submit(
        "/agents/support-desk/credentials",
        "/agents/support-desk/new-key",
        &[("name", "acme/ci"), ("type", "external"), ("may", "all")],
    );
    let key = server.with(&secret_in(&key.text()));
    key.get("/api/auth/whoami").is(200);
    leads_to(
        &browser.submit("/agents/support-desk/credentials", "/agents/support-desk/delete-key", &[]),
        "/agents/support-desk/credentials?done=deleted",
    );
    key.get("/api/auth/whoami").refused(401, "token_revoked");
    leads_to(&browser.submit("/agents/support-desk", "/agents/support-desk/archive", &[]), "/agents?done=archived");
    admin.get("/api/agents/support-desk").refused(404, "agent_not_found");
    let missing = browser.get("/agents/support-desk");
    is_page(&missing);
    assert_eq!(missing.status(), 404);
}

#[track_caller]
/// R111, R113: secrets are set and deleted by forms and never shown; probes are made and run, and say what they found.
#[test]
fn secrets_and_probes_are_kept_by_forms() {
    let server = Server::settings().variable("secrets_key", KEY).variable("outbound_hosts", "localhost:1").start();
    let admin = server.bootstrap();
    let scout = server.agent(&admin, "scout", &["agents.secrets.read"]);
    let browser = Browser::of(&server, &admin);
    let (page, at) = ("/agents/scout/secrets", |act: &str| format!("/agents/scout/{act}"));
    let empty = browser.page(page);
    assert!(empty.contains("No secrets.") && empty.contains("No probes."), "{empty}");
    // A browser ends lines with two characters; a value has those that were meant.
    let typed = "-----BEGIN KEY-----\r\n<img src=x>\r\n-----END KEY-----\r\n";
    let set = browser.submit(page, &at("set-secret"), &[("key", "DEPLOY_KEY"), ("value", typed)]);
    leads_to(&set, "/agents/scout/secrets?done=set");
    let shown = browser.page(page);
    assert!(shown.contains("DEPLOY_KEY") && !shown.contains("BEGIN KEY"), "{shown}");
    let values = scout.client.get("/api/agents/me/secrets/values").is(200);
    assert_eq!(values["secrets"]["DEPLOY_KEY"], typed.replace("\r\n", "\n"));
    // What is refused keeps the name and not the value.
    let refused = browser.submit(page, &at("set-secret"), &[("key", "PATH"), ("value", "a-value-to-forget")]);
    let html = refused.text();
    assert_eq!(refused.status(), 400, "{html}");
    assert!(html.contains("value=\"PATH\"") && !html.contains("a-value-to-forget"), "{html}");
    assert!(html.contains("This name is not allowed for a secret."), "{html}");

    let fields = [("name", "desk"), ("url", "https://evil.example.com/"), ("secret", "DEPLOY_KEY")];
    let refused = browser.submit(page, &at("new-probe"), &fields);
    assert!(refused.status() == 403 && refused.text().contains("outbound_hosts"), "{}", refused.text());
    admin.put("/api/agents/scout/secrets/TOKEN", &json!({ "value": "one-line-of-text" })).is(200);
    let fields = [("name", "desk"), ("url", "https://localhost:1/me"), ("secret", "TOKEN"), ("every_hours", "")];
    leads_to(&browser.submit(page, &at("new-probe"), &fields), "/agents/scout/secrets?done=made");
    assert!(browser.page(page).contains("Not run"));
    leads_to(&browser.submit(page, &at("run-probe"), &[]), "/agents/scout/secrets?done=ran");
    let shown = browser.page(page);
    assert!(shown.contains("No answer") && shown.contains("localhost did not answer"), "{shown}");
    leads_to(&browser.submit(page, &at("delete-probe"), &[]), "/agents/scout/secrets?done=deleted");
    leads_to(&browser.submit(page, &at("delete-secret"), &[]), "/agents/scout/secrets?done=deleted");
    assert_eq!(server.texts("SELECT name FROM agent_secrets"), ["TOKEN"]);

    // A viewer sees names and no forms; without the scope of reading, not even those.
    let max = server.user(&admin, "max@example.com", "member");
    admin.post("/api/agents/scout/grants", &json!({ "subject": "max@example.com", "relation": "viewer" })).is(201);
    assert!(Browser::of(&server, &max).page(page).contains("TOKEN"));
    let vic = server.user(&admin, "vic@example.com", "viewer");
    admin.post("/api/agents/scout/grants", &json!({ "subject": "vic@example.com", "relation": "viewer" })).is(201);
    let html = Browser::of(&server, &vic).page(page);
    assert!(html.contains("You may not see the secrets of this agent.") && !html.contains("TOKEN"), "{html}");
}

fn secret_in(html: &str) -> String {
    let secret = html.split("<code id=\"secret\">").nth(1).and_then(|rest| rest.split('<').next());
    secret.unwrap_or_else(|| panic!("no secret in {html}")).to_owned()
}

/// The stop for all says how many, and stops them.
#[test]
fn all_agents_stop_with_two_clicks() {
    let (server, admin) = Server::with_admin();
    let member = server.user(&admin, "max@example.com", "member");
    for name in ["one", "two", "three"] {
        server.agent(&admin, name, &["agents.read"]);
    }
    let browser = Browser::of(&server, &admin);
    assert!(browser.page("/").contains("href=\"/stop-all\""));
    assert!(browser.page("/stop-all").contains("Stop 3 agents?"));
    leads_to(&browser.submit("/stop-all", "/stop-all", &[]), "/?done=stopped-all");
    assert_eq!(server.number("SELECT count(*) FROM agents WHERE state = 'stopped'"), 3);
    assert!(browser.page("/stop-all").contains("No agent is running"));
    // R584: and back.
    leads_to(&browser.submit("/stop-all", "/start-all", &[]), "/?done=started-all");
    assert_eq!(server.number("SELECT count(*) FROM agents WHERE state = 'running'"), 3);
    assert!(!browser.page("/stop-all").contains("/start-all"), "nothing is stopped");
    // Where there is nothing to undo, it does not say that something was undone.
    admin.post("/api/agents/one/stop", &json!({})).is(200);
    let nothing = browser.submit("/stop-all", "/start-all", &[]);
    leads_to(&nothing, "/stop-all?done=nothing-to-undo");
    assert!(browser.page("/stop-all?done=nothing-to-undo").contains("Nothing was undone"));
    assert_eq!(server.number("SELECT count(*) FROM agents WHERE state = 'stopped'"), 1);
    assert!(!Browser::of(&server, &member).page("/").contains("/stop-all"));
}

/// R604: where an agent was given a secret and cannot read it, its page says what is missing: the scope, or a token that carries it; and so
/// does the refusal that the agent gets.
#[test]
fn a_secret_that_its_agent_cannot_read_is_said_to_be_one() {
    let server = Server::settings().variable("secrets_key", &"k".repeat(40)).start();
    let admin = server.bootstrap();
    let scout = server.agent(&admin, "scout", &["agents.read"]).client;
    let browser = Browser::of(&server, &admin);
    let page = || browser.page("/agents/scout/secrets");
    let reads = |agent: &Client| agent.get("/api/agents/me/secrets/values");
    assert!(!page().contains("agents.secrets.read."));
    admin.put("/api/agents/scout/secrets/STRIPE_KEY", &json!({ "value": "v" })).is(200);
    assert!(page().contains("It cannot read them: its scope lacks agents.secrets.read."), "{}", page());
    let fix = |refused: Answer| text(&refused.refused(403, "scope_denied")["fix"]).to_owned();
    assert!(!fix(reads(&scout)).contains("only your token lacks it"));
    let scope = json!(["agents.read", "agents.secrets.read"]);
    admin.patch("/api/agents/scout", &json!({ "scope": scope })).is(200);
    assert!(page().contains("Its token does not carry agents.secrets.read."), "{}", page());
    let said = fix(reads(&scout));
    let step = format!("ada@example.com can send POST /api/agents/scout/token/issue {{\"scope\": {scope}}}");
    assert!(said.contains("only your token lacks it") && said.contains(&step), "{said}");
    let issued = admin.post("/api/agents/scout/token/issue", &json!({ "scope": scope })).is(200);
    reads(&server.with(text(&issued["token"]))).is(200);
    assert!(!page().contains("agents.secrets.read."));
    // An approval counts beside the scope of the agent, for as long as it lasts.
    admin.patch("/api/agents/scout", &json!({ "scope": ["agents.read"] })).is(200);
    assert!(page().contains("its scope lacks agents.secrets.read."));
    let token = admin.post("/api/agents/scout/token/issue", &json!({})).is(200);
    let scout = server.with(text(&token["token"]));
    let ask = json!({ "scope": ["agents.secrets.read"], "reason": "To begin" });
    let asked = text(&scout.post("/api/access-requests", &ask).is(201)["id"]).to_owned();
    admin.post(&format!("/api/access-requests/{asked}/approve"), &json!({ "hours": 1 })).is(200);
    reads(&scout).is(200);
    assert!(!page().contains("agents.secrets.read."), "{}", page());
}

/// R30: whatever a person or an agent typed is text on every page that shows it.
#[test]
fn hostile_texts_are_text_on_every_page() {
    let (server, admin) = Server::with_admin();
    let mut body = json!({ "name": "scout", "scope": ["agents.logs", "ui.notify"] });
    for field in ["display_name", "description", "runtime", "model"] {
        body[field] = json!(format!("{field}{HOSTILE}"));
    }
    body["labels"] = json!({ "team": HOSTILE });
    let made = admin.post("/api/agents", &body);
    let made = if made.status() == 201 { made.is(201) } else { panic!("{}", made.text()) };
    let agent = Agent {
        name: "scout".to_owned(),
        id: text(&made["id"]).to_owned(),
        client: server.with(text(&made["auth_token"])),
    };
    let client = &agent.client;
    client
        .post("/api/access-requests", &json!({ "scope": ["agents.update"], "reason": format!("reason{HOSTILE}") }))
        .is(201);
    let told = json!({ "title": format!("title{HOSTILE}"), "body": format!("body{HOSTILE}"), "app_origin": "x", "action_url": "https://evil.example/\"><script>" });
    let told = client.post("/api/ui/notify", &told);
    assert!(matches!(told.status(), 201 | 400 | 422), "{}", told.text());
    client
        .post("/api/ui/notify", &json!({ "title": format!("title{HOSTILE}"), "body": format!("body{HOSTILE}") }))
        .is(201);
    client.post("/api/agents/scout/logs", &json!({ "text": format!("line{HOSTILE}") })).is(201);
    admin.post("/auth/tokens", &json!({ "name": format!("pat{}", HOSTILE) })).is(201);
    let key = admin.post("/api/agents/scout/keys", &json!({ "name": "key\"><script>" }));
    assert!(matches!(key.status(), 201 | 400 | 422), "{}", key.text());
    let made = admin
        .post("/api/users", &json!({ "email": "o'hara+\"x\"@example.com", "name": "<b>O'Hara</b>", "role": "member" }));
    if made.status() != 201 {
        admin
            .post("/api/users", &json!({ "email": "o'hara@example.com", "name": "<b>O'Hara</b>", "role": "member" }))
            .is(201);
    }
    let agent_string = format!("agent{HOSTILE}");
    let sign_in = json!({ "email": "ada@example.com", "password": PASSWORD }).to_string();
    server.nobody().call("POST", "/auth/token", &[("user-agent", &agent_string)], Some(sign_in.as_bytes())).is(200);

    let browser = Browser::of(&server, &admin);
    let (mut shown, mut all) = (0, pages(&admin, &agent));
    all.push(format!("/agents?q={0}&owner={0}&parent={0}", encoded(HOSTILE)));
    all.push(format!("/admin/audit?actor={0}&action={0}&object={0}", encoded(HOSTILE)));
    all.push(format!("/admin/users?q={}", encoded(HOSTILE)));
    all.push(format!("/login?next={0}&email={0}&tenant={0}", encoded(HOSTILE)));
    all.push(format!("/register?name={0}&parent={0}&description={0}", encoded(HOSTILE)));
    all.push(format!("/agents/scout/why?subject={}", encoded(HOSTILE)));
    all.push(format!("/tokens?status=all&done={}", encoded(HOSTILE)));
    all.push(format!("/agents/{}", encoded(HOSTILE)));
    for path in all {
        let answer = browser.get(&path);
        is_page(&answer);
        let html = answer.text();
        for raw in ["<img", "<script src=//", "<b>O'Hara", "\"><script>", "'><script"] {
            assert!(!html.contains(raw), "{raw} on {path}: {html}");
        }
        shown += usize::from(html.contains("&#60;img") || html.contains("&lt;img"));
    }
    assert!(shown >= 10, "hostile texts are on {shown} pages only");
}

/// Admins' pages are for admins: others see no link to them, and get a page that says so.
#[test]
fn pages_for_admins_are_refused_to_others() {
    let (server, admin) = Server::with_admin();
    let id = text(&admin.get("/api/users").is(200)["items"][0]["id"]).to_owned();
    for role in ["viewer", "member", "curator"] {
        let browser = Browser::of(&server, &server.user(&admin, &format!("{role}@example.com"), role));
        // A visitor who may have webhooks has the page about them.
        assert!(!browser.page("/").replace("/admin/webhooks", "").contains("/admin/"), "{role}");
        for path in [
            "/admin/users".to_owned(),
            format!("/admin/users/{id}"),
            "/admin/audit".to_owned(),
            "/admin/tenant".to_owned(),
            "/admin/clients".to_owned(),
            "/admin/resources".to_owned(),
            "/admin/presets".to_owned(),
            "/admin/presets/worker".to_owned(),
            "/admin/scopes".to_owned(),
            "/admin/tokens".to_owned(),
            "/stop-all".to_owned(),
        ] {
            let refused = browser.get(&path);
            assert_eq!(refused.status(), 403, "{role} {path}");
            is_page(&refused);
        }
        // And by a form that was sent anyway.
        let html = browser.page("/tokens");
        let html = html.replace("action=\"/tokens\"", "action=\"/admin/users\"");
        let refused = browser.submit_in(
            &html,
            "/admin/users",
            &[("email", "eve@example.com"), ("name", "Eve"), ("role", "admin")],
        );
        assert_eq!(refused.status(), 403, "{role}: {}", refused.text());
        is_page(&refused);
    }
    assert_eq!(server.number("SELECT count(*) FROM users WHERE email = 'eve@example.com'"), 0);
}

/// People are added, changed and deactivated by forms.
#[test]
fn an_admin_keeps_people_by_forms() {
    let (server, admin) = Server::with_admin();
    let browser = Browser::of(&server, &admin);
    let typed = [("email", "max@example.com"), ("name", "Max"), ("role", "member"), ("password", "short")];
    let weak = browser.submit("/admin/users", "/admin/users", &typed);
    assert_eq!(weak.status(), 400, "{}", weak.text());
    is_page(&weak);
    let id = text(&admin.get("/api/users?q=max").is(200)["items"][0]["id"]).to_owned();
    let page = format!("/admin/users/{id}");
    leads_to(
        &browser.submit(&page, &format!("{page}/password"), &[("password", PASSWORD)]),
        &format!("{page}?done=changed"),
    );
    let max = server.sign_in("max@example.com", None);
    leads_to(
        &browser.submit(&page, &format!("{page}/change"), &[("name", "Max"), ("role", "viewer")]),
        &format!("{page}?done=changed"),
    );
    assert_eq!(max.get("/api/auth/whoami").is(200)["role"], "viewer");
    leads_to(&browser.submit(&page, &format!("{page}/deactivate"), &[]), &format!("{page}?done=deactivated"));
    assert_eq!(max.get("/api/auth/whoami").status(), 401);
    leads_to(&browser.submit(&page, &format!("{page}/activate"), &[]), &format!("{page}?done=activated"));
    server.sign_in("max@example.com", None);
    // The last admin stays one, and the page says why.
    let own = format!("/admin/users/{}", text(&admin.get("/api/auth/whoami").is(200)["user_id"]));
    let refused = browser.submit(&own, &format!("{own}/change"), &[("name", "Ada"), ("role", "member")]);
    assert_eq!(refused.status(), 409);
    is_page(&refused);
    assert_eq!(admin.get("/api/auth/whoami").is(200)["role"], "admin");
}

/// R334, R387: an admin sees where a person is signed in and what was proved there, and ends one of their sessions, or all.
#[test]
fn an_admin_ends_a_persons_sessions_by_forms() {
    let (server, admin) = Server::with_admin();
    let max = server.user(&admin, "max@example.com", "member");
    let second = server.sign_in("max@example.com", None);
    let whoami = max.get("/api/auth/whoami").is(200);
    let (id, session) = (text(&whoami["user_id"]), text(&whoami["credential"]["id"]).to_owned());
    let browser = Browser::of(&server, &admin);
    let page = format!("/admin/users/{id}");
    let html = browser.page(&page);
    let ends = |html: &str| html.matches(" name=\"session\" value=\"tok_").count();
    assert_eq!(ends(&html), 2, "{html}");
    assert!(html.contains(&format!("href=\"/admin/tokens?user={id}\"")), "{html}");

    assert!(html.contains("data-label=\"Proved\">one factor <small"), "{html}");

    let ended = browser.submit(&page, &format!("{page}/end-session"), &[("session", &session)]);
    leads_to(&ended, &format!("{page}?done=ended"));
    max.get("/api/auth/whoami").refused(401, "token_revoked");
    second.get("/api/auth/whoami").is(200);
    server.sign_in("max@example.com", None);
    leads_to(&browser.submit(&page, &format!("{page}/end-sessions"), &[]), &format!("{page}?done=ended-all"));
    second.get("/api/auth/whoami").refused(401, "token_revoked");
    assert_eq!(ends(&browser.page(&page)), 0);
    let told = server.texts(&format!("SELECT title FROM notifications WHERE user_id = '{id}' ORDER BY created_at"));
    assert_eq!(told, ["Your session was ended", "Your sessions were ended"]);

    // On the admin's own page the session that shows it stays.
    let own = format!("/admin/users/{}", text(&admin.get("/api/auth/whoami").is(200)["user_id"]));
    let other = server.sign_in("ada@example.com", None);
    let html = browser.page(&own);
    assert!(html.contains(">this one<") && html.contains(">End all others<") && ends(&html) > 0, "{html}");
    leads_to(&browser.submit(&own, &format!("{own}/end-sessions"), &[]), &format!("{own}?done=ended-all"));
    other.get("/api/auth/whoami").refused(401, "token_revoked");
    admin.get("/api/auth/whoami").is(200);
}

/// R406: the home page says at a glance which agents there are and how they are, who owns them, what they may do and what they ask for, what
/// has happened today, drawn from what really has, and how each and all of them are stopped; and it sets up a coding agent.
#[test]
fn home_answers_its_questions_at_a_glance() {
    let (server, admin) = Server::with_admin();
    let browser = Browser::of(&server, &admin);
    let max = server.user(&admin, "max@example.com", "member");
    let boss = server.agent(&max, "boss", &["agents.read", "agents.list"]);
    let helper = json!({ "name": "helper", "parent": "boss", "scope": ["agents.read"] });
    let helper = text(&max.post("/api/agents", &helper).is(201)["id"]).to_owned();
    boss.client.post("/api/agents/me/heartbeat", &json!({})).is(200);
    boss.client.post("/api/access-requests", &json!({ "scope": ["agents.create"], "reason": "Ticket 8812" })).is(201);
    admin.post("/api/agents/helper/pause", &json!({})).is(200);
    let done = |html: &str| -> Option<i64> {
        let (before, _) = html.split_once(" done</span>")?;
        before.rsplit('>').next()?.parse().ok()
    };
    let html = browser.page("/");
    let row = |name: &str| {
        let link = html.find(&format!("class=\"name\" href=\"/agents/{name}\""));
        let link = link.unwrap_or_else(|| panic!("no {name} in {html}"));
        let from = html[..link].rfind("<tr ").unwrap();
        html[from..].split("</tr>").next().unwrap_or_default().to_owned()
    };
    let (above, below) = (row("boss"), row("helper"));
    assert!(html.find("\"/agents/boss\"").unwrap() < html.find("\"/agents/helper\"").unwrap(), "a tree");
    assert!(!above.contains("<i>") && below.contains("<i></i>"), "{above} {below}");
    for (row, parts) in [
        (
            &above,
            [
                "Running",
                "title=\"max@example.com\"",
                "agents.list",
                "<time datetime=",
                &format!("formaction=\"/agents/{}/stop\"", boss.id),
            ],
        ),
        (
            &below,
            [
                "Paused",
                "title=\"max@example.com\"",
                "agents.read",
                ">never<",
                &format!("formaction=\"/agents/{helper}/resume\""),
            ],
        ),
    ] {
        for part in parts {
            assert!(row.contains(part), "{part} in {row}");
        }
    }
    for part in
        ["Ticket 8812", "href=\"/stop-all\"", "href=\"/install\"", "registered <", "paused <", "<svg class=\"chart\""]
    {
        assert!(html.contains(part), "{part} in {html}");
    }
    // The drawing counts real rows: one more change is one more.
    assert_eq!(done(&html), Some(server.number("SELECT count(*) FROM audit")), "{html}");
    admin.post("/api/agents/helper/resume", &json!({})).is(200);
    assert_eq!(done(&browser.page("/")), Some(server.number("SELECT count(*) FROM audit")));
}

/// An access request is decided on its page: a part of it for some hours, or not at all.
#[test]
fn an_access_request_is_decided_by_form() {
    let (server, admin) = Server::with_admin();
    let agent = server.agent(&admin, "scout", &["agents.read"]);
    let ask = |scope: Json| {
        let asked =
            agent.client.post("/api/access-requests", &json!({ "scope": scope, "reason": "For ticket 8812" })).is(201);
        format!("/access/{}", text(&asked["id"]))
    };
    let browser = Browser::of(&server, &admin);
    let both = ask(json!(["agents.create", "agents.update"]));
    assert!(browser.page("/").contains(&format!("href=\"{both}\"")));
    let page = browser.page(&both);
    assert!(page.contains("Register an agent and issue its token") && page.contains("For ticket 8812"), "{page}");
    let refused = browser.submit(&both, &format!("{both}/approve"), &[("scope", "agents.create"), ("hours", "a day")]);
    is_page(&refused);
    assert!(matches!(refused.status(), 400 | 422) && refused.text().contains("value=\"a day\""), "{}", refused.text());
    leads_to(
        &browser.submit(&both, &format!("{both}/approve"), &[("scope", "agents.create"), ("hours", "2")]),
        "/access?done=approved",
    );
    let scope = agent.client.get("/api/auth/whoami").is(200)["scope"].clone();
    assert_eq!(scope, json!(["agents.read", "agents.create"]));
    let other = ask(json!(["agents.lifecycle"]));
    leads_to(&browser.submit(&other, &format!("{other}/deny"), &[("reason", "Not today")]), "/access?done=denied");
    leads_to(&browser.submit("/access", &format!("{both}/revoke"), &[]), "/access?done=revoked");
    assert_eq!(agent.client.get("/api/auth/whoami").is(200)["scope"], json!(["agents.read"]));
    assert!(browser.page(&other).contains("Denied"));
}

/// R386: the page of a request shows the body that its agent sends, a member a line; what would not be seen, or would turn what stands beside
/// it, is an escape. Of a body that is not shown it says so.
#[test]
fn a_body_is_shown_on_the_page_of_its_request() {
    let (server, admin) = Server::with_admin();
    let agent = server.agent(&admin, "scout", &["agents.read"]).client;
    let browser = Browser::of(&server, &admin);
    let page_of = |body: &str| {
        let headers = [("content-type", "application/json")];
        let refused = agent.call("POST", "/api/agents", &headers, Some(body.as_bytes())).refused(403, "scope_denied");
        let asked = agent.post("/api/access-requests", &refused["ask"]["body"]).is(201);
        unescaped(&browser.page(&format!("/access/{}", text(&asked["id"]))))
    };
    let page = page_of("{\"name\":\"helper\",\"description\":\"a\u{202e}b<i>\u{200b}\",\"scope\":[\"agents.read\"]}");
    let shown = "{\n  \"name\": \"helper\",\n  \"description\": \"a\\u202eb<i>\\u200b\",\n  \"scope\": [\n    \"agents.read\"\n  ]\n}</pre>";
    assert!(page.contains(shown) && page.contains("with this body, and no other"), "{page}");
    // Where one click decides, too.
    for list in ["/access", "/"] {
        assert!(unescaped(&browser.page(list)).contains(shown), "{list}");
    }
    let page = page_of("{\"name\":\"helper\",\"secrets\":{\"A\":\"hush\"}}");
    assert!(page.contains("which it does not show") && !page.contains("hush"), "{page}");
}

/// Tokens and sessions of one's own.
#[test]
fn own_tokens_and_sessions_are_kept_by_forms() {
    let (server, admin) = Server::with_admin();
    let browser = Browser::of(&server, &admin);
    let refused = browser.submit("/tokens", "/tokens", &[("name", "laptop"), ("scope", "agents.fly"), ("days", "30")]);
    is_page(&refused);
    assert!(refused.status() == 400 && refused.text().contains("There is no scope agents.fly."), "{}", refused.text());
    // R581: what programs mostly need is chosen beforehand.
    let html = browser.page("/tokens?new=1");
    assert!(html.contains("value=\"agents\" checked") && html.matches(" checked").count() == 1, "{html}");
    // R357: a form in which nothing is chosen makes no token that may do everything.
    let refused = browser.submit("/tokens?new=1", "/tokens", &[("name", "laptop"), ("may", "some"), ("days", "30")]);
    assert!(refused.status() == 400 && refused.text().contains("Tick at least one"), "{}", refused.text());
    assert_eq!(server.number("SELECT count(*) FROM credentials WHERE kind = 'pat'"), 0);
    let made = browser.submit(
        "/tokens",
        "/tokens",
        &[("name", "laptop"), ("scope", "agents.read agents.list"), ("days", "30")],
    );
    let pat = server.with(&secret_in(&made.text()));
    assert_eq!(pat.get("/api/auth/whoami").is(200)["scope"], json!(["agents.list", "agents.read"]));
    let id = text(&admin.get("/auth/tokens").is(200)["items"][0]["id"]).to_owned();
    let rotated = browser.submit("/tokens", &format!("/tokens/{id}/rotate"), &[]);
    let second = server.with(&secret_in(&rotated.text()));
    assert_eq!(pat.get("/api/auth/whoami").status(), 401);
    let id = text(&admin.get("/auth/tokens?status=active").is(200)["items"][0]["id"]).to_owned();
    leads_to(&browser.submit("/tokens", &format!("/tokens/{id}/revoke"), &[]), "/tokens?done=revoked");
    second.get("/api/auth/whoami").refused(401, "token_revoked");
    let other = server.sign_in("ada@example.com", None);
    leads_to(&browser.submit("/security", "/sessions/others/end", &[]), "/security?done=ended");
    assert_eq!(other.get("/api/auth/whoami").status(), 401);
    admin.get("/api/auth/whoami").is(200);
    let wrong = browser.submit(
        "/security",
        "/profile/password",
        &[("current", "not-my-password"), ("new", "purple-otter-lamp-nine")],
    );
    is_page(&wrong);
    assert!(wrong.status() >= 400 && !wrong.text().contains("purple-otter"), "{}", wrong.text());
    let right = [("current", PASSWORD), ("new", "purple-otter-lamp-nine")];
    leads_to(&browser.submit("/security", "/profile/password", &right), "/security?done=password");
    leads_to(&Browser::new(&server).sign_in("ada@example.com", "purple-otter-lamp-nine", "/"), "/");
}

/// R96: a second factor is set up on its page, whose secret is shown once and can be scanned, and ends every sign-in by form.
#[test]
fn a_second_factor_is_set_up_and_asked_for_by_forms() {
    let server = Server::settings().variable("secrets_key", &"k".repeat(40)).start();
    let admin = server.bootstrap();
    let browser = Browser::of(&server, &admin);
    leads_to(&browser.get("/profile"), "/security");
    let begun = browser.submit("/security", "/security/begin", &[]);
    is_page(&begun);
    let html = begun.text();
    let uri = html
        .split("href=\"otpauth://totp/")
        .nth(1)
        .and_then(|rest| rest.split('"').next())
        .unwrap_or_else(|| panic!("{html}"));
    let secret = uri.split("secret=").nth(1).and_then(|rest| rest.get(..32)).unwrap().to_owned();
    let grouped =
        html.split("<code id=\"secret\">").nth(1).and_then(|rest| rest.split('<').next()).unwrap().replace(' ', "");
    assert_eq!(grouped, secret);
    assert!(html.contains("<svg class=\"qr\"") && html.contains("aria-label=\"The secret as a QR code\""), "{html}");
    let mut app = Authenticator { secret: secret.clone(), recovery_codes: vec![] };
    let wrong = browser.submit_in(&html, "/security/confirm", &[("code", "000000")]);
    assert_eq!(wrong.status(), 403);
    is_page(&wrong);
    // A visitor who has scanned it badly can do so again.
    assert!(wrong.text().contains(&secret) && wrong.text().contains("role=\"alert\""), "{}", wrong.text());
    assert!(wrong.text().contains("<svg class=\"qr\""), "{}", wrong.text());
    let on = browser.submit_in(&wrong.text(), "/security/confirm", &[("code", &app.code(&server))]);
    is_page(&on);
    let codes = on.text();
    let codes = codes.split("class=\"codes\">").nth(1).and_then(|rest| rest.split('<').next()).unwrap();
    app.recovery_codes = codes.split_whitespace().map(str::to_owned).collect();
    assert_eq!((on.status(), app.recovery_codes.len()), (200, 10));
    // As a file too, without a script and without an address of the server.
    let file = on.text();
    let file =
        file.split("download=\"accredit-recovery-codes.txt\" href=\"data:text/plain;charset=utf-8,").nth(1).unwrap();
    let file = file.split('"').next().unwrap();
    for code in &app.recovery_codes {
        assert!(file.contains(&format!("{}%0D%0A", code.replace('-', "%2D"))), "{code}: {file}");
    }
    assert!(file.contains("ada%40example%2Ecom%20at%20main"), "{file}");
    let page = browser.page("/security");
    assert!(page.contains("10 of your 10 recovery codes") && !page.contains(&secret), "{page}");

    // The sign-in by form: where it wanted to go is kept, a wrong code asks again, and a ticket that ended begins anew.
    let other = Browser::new(&server);
    leads_to(&other.get("/login/factor"), "/login");
    let next = "/agents?q=a&state=running";
    let asked = other.sign_in("ada@example.com", PASSWORD, next).header("location").to_owned();
    assert!(asked.starts_with(&format!("/login/factor?next={}&at=", plus(next))), "{asked}");
    let asked = other.page(&asked);
    assert!(other.cookie("accredit").is_none(), "no session before the code");
    let wrong = other.submit_in(&asked, "/login/factor", &[("code", "000000")]);
    assert_eq!(wrong.status(), 403);
    is_page(&wrong);
    let foreign =
        other.post_from("https://evil.example", "/login/factor", &[("code", &app.code(&server)), ("next", "/")]);
    assert_eq!(foreign.status(), 403);
    leads_to(&other.submit_in(&wrong.text(), "/login/factor", &[("code", &app.code(&server))]), next);
    assert!(other.cookie("accredit").is_some() && !other.has_cookie("accredit-ticket"));
    other.page(next);
    let late = Browser::new(&server);
    let asked = late.page(late.sign_in("ada@example.com", PASSWORD, next).header("location"));
    // A second tab, which has begun once more, disturbs the first one neither before nor after it is in.
    let tab = late.page(late.sign_in("ada@example.com", PASSWORD, "/tokens").header("location"));
    let wrong = late.submit_in(&tab, "/login/factor", &[("code", "000000")]).text();
    let first = late.page(late.sign_in("ada@example.com", PASSWORD, "/access").header("location"));
    leads_to(&late.submit_in(&first, "/login/factor", &[("code", &app.recovery_codes[9])]), "/access");
    leads_to(&late.submit_in(&wrong, "/login/factor", &[("code", &app.recovery_codes[8])]), "/tokens");
    let slow = Browser::new(&server);
    let slowed = slow.page(slow.sign_in("ada@example.com", PASSWORD, next).header("location"));
    server.execute("UPDATE codes SET expires_at = 1 WHERE kind = 'ticket'");
    // R528: who is in by now is led on.
    leads_to(&late.submit_in(&asked, "/login/factor", &[("code", &app.code(&server))]), next);
    let ended = slow.submit_in(&slowed, "/login/factor", &[("code", &app.code(&server))]);
    assert_eq!(ended.status(), 401);
    is_page(&ended);
    assert!(
        ended.text().contains("action=\"/auth/login\"")
            && ended.text().contains("name=\"next\" value=\"/agents?q=a&#38;state=running\""),
        "{}",
        ended.text()
    );

    // New recovery codes, and an end of it, each with a proof that is asked for in place.
    age_proofs(&server);
    let asked = browser.submit("/security", "/security/codes", &[]);
    assert_eq!(asked.status(), 403);
    is_page(&asked);
    let wrong = browser.submit_in(&asked.text(), "/security/codes", &[("proof_code", "111111")]);
    assert!(wrong.status() == 403 && wrong.text().contains("role=\"alert\""), "{}", wrong.text());
    let proved = browser.submit_in(&wrong.text(), "/security/codes", &[("proof_code", &app.code(&server))]);
    assert!(proved.status() == 200 && !proved.text().contains(&app.recovery_codes[0]), "{}", proved.text());
    leads_to(&browser.submit("/security", "/security/remove", &[]), "/security?done=factor-removed");
    assert_eq!(server.number("SELECT count(*) FROM factors"), 0);
}

/// R98: a form that needs a fresh proof comes back with the field for it, keeps what was typed but passwords, and goes on where it was.
#[test]
fn a_form_asks_for_a_proof_in_place() {
    let (server, admin) = Server::with_admin();
    let browser = Browser::of(&server, &admin);
    let made = admin.post("/api/users", &json!({ "email": "eve@example.com", "name": "Eve" })).is(201);
    let page = format!("/admin/users/{}", text(&made["id"]));
    age_proofs(&server);
    // Making an admin.
    let typed = [("name", "Eve & \"Co\""), ("role", "admin")];
    let asked = browser.submit(&page, &format!("{page}/change"), &typed);
    assert_eq!(asked.status(), 403);
    is_page(&asked);
    let html = asked.text();
    assert!(html.contains("name=\"role\" value=\"admin\"") && html.contains("name=\"proof_password\""), "{html}");
    let wrong = browser.submit_in(&html, &format!("{page}/change"), &[("proof_password", "wrong-horse-battery")]);
    assert_eq!(wrong.status(), 403);
    is_page(&wrong);
    assert!(
        wrong.text().contains("role=\"alert\"") && !wrong.text().contains("wrong-horse-battery"),
        "{}",
        wrong.text()
    );
    assert_eq!(server.number("SELECT count(*) FROM users WHERE role = 'admin'"), 1);
    let done = browser.submit_in(&wrong.text(), &format!("{page}/change"), &[("proof_password", PASSWORD)]);
    leads_to(&done, &format!("{page}?done=changed"));
    assert_eq!(server.texts("SELECT name FROM users WHERE role = 'admin' AND email LIKE 'eve%'"), ["Eve & \"Co\""]);
    // Setting a password: it is typed again, and never shown.
    age_proofs(&server);
    let asked = browser.submit(&page, &format!("{page}/password"), &[("password", "purple-otter-lamp-nine")]);
    assert_eq!(asked.status(), 403);
    assert!(!asked.text().contains("purple-otter") && asked.text().contains("name=\"password\""), "{}", asked.text());
    let typed = [("proof_password", PASSWORD), ("password", "purple-otter-lamp-nine")];
    leads_to(&browser.submit_in(&asked.text(), &format!("{page}/password"), &typed), &format!("{page}?done=changed"));
    leads_to(&Browser::new(&server).sign_in("eve@example.com", "purple-otter-lamp-nine", "/"), "/");
    // A token that never ends is made once, and shown.
    age_proofs(&server);
    let asked = browser.submit("/tokens", "/tokens", &[("name", "ci"), ("scope", "agents.read"), ("days", "never")]);
    assert_eq!(asked.status(), 403);
    let made = browser.submit_in(&asked.text(), "/tokens", &[("proof_password", PASSWORD)]);
    let pat = server.with(&secret_in(&made.text()));
    assert_eq!(pat.get("/api/auth/whoami").is(200)["scope"], json!(["agents.read"]));
    assert_eq!(server.number("SELECT count(*) FROM credentials WHERE kind = 'pat' AND expires_at IS NULL"), 1);
}

/// R99: the tenant's settings are a page; its name is on every page, a way that is off has no form, and a demand leads to the page that
/// fulfils it.
#[test]
fn the_tenant_is_set_by_a_form() {
    let server = Server::settings().variable("secrets_key", &"k".repeat(40)).start();
    let admin = server.bootstrap();
    let eve = server.user(&admin, "eve@example.com", "member");
    let browser = Browser::of(&server, &admin);
    let settings = |demand: &'static str, days: &'static str| {
        [
            ("name", "Acme <b>&</b> Sons"),
            ("way", "password"),
            ("way", "oidc"),
            ("second_factor", demand),
            ("pat_days", days),
        ]
    };
    let refused = browser.submit("/admin/tenant", "/admin/tenant", &settings("nobody", "some"));
    is_page(&refused);
    assert!(
        refused.status() == 422 && refused.text().contains("<option value=\"some\" selected>"),
        "{}",
        refused.text()
    );
    // R358: what is wrong is said as people would say it.
    let none = browser.submit("/admin/tenant", "/admin/tenant", &[("second_factor", "nobody"), ("pat_days", "never")]);
    assert!(none.status() == 400 && none.text().contains("Choose at least one way."), "{}", none.text());
    let refused = browser.submit("/admin/tenant", "/admin/tenant", &settings("all", "30"));
    assert!(refused.status() == 409 && refused.text().contains("value=\"30\""), "{}", refused.text());
    leads_to(
        &browser.submit("/admin/tenant", "/admin/tenant", &settings("nobody", "30")),
        "/admin/tenant?done=changed",
    );
    let home = Browser::of(&server, &eve).page("/");
    assert!(home.contains("Acme &#60;b&#62;&#38;&#60;/b&#62; Sons") || home.contains("Acme &lt;b&gt;"), "{home}");
    let made = admin.post("/auth/tokens", &json!({ "name": "a" })).is(201);
    assert!(!made["expires_at"].is_null());
    // A demand: every page leads to the one that fulfils it, and one can sign out.
    let app = Authenticator::set_up(&server, &admin);
    leads_to(&browser.submit("/admin/tenant", "/admin/tenant", &settings("all", "30")), "/admin/tenant?done=changed");
    let of_eve = Browser::of(&server, &eve);
    for path in ["/", "/agents", "/tokens", "/notifications"] {
        // R351: and from there on to what was asked for.
        leads_to(&of_eve.get(path), &format!("/security?next={}", encoded(path)));
    }
    let page = of_eve.page("/security");
    assert!(page.contains("asks you for a second factor") && page.contains("action=\"/security/begin\""), "{page}");
    leads_to(&of_eve.submit("/security", "/logout", &[]), "/login?done=signed-out");
    // With the way off, the form is gone.
    assert!(Browser::new(&server).page("/login").contains("name=\"password\""));
    server.execute("UPDATE tenants SET ways = 'oidc'");
    assert!(!Browser::new(&server).page("/login").contains("name=\"password\""));
    drop(app);
}

/// R336: where nobody signs in by a password, no form sets a first one, and the page says why.
#[test]
fn no_form_sets_a_password_where_the_tenant_has_none() {
    let (server, admin) = Server::with_admin();
    let eve = server.user(&admin, "eve@example.com", "member");
    let id = text(&eve.get("/api/auth/whoami").is(200)["user_id"]).to_owned();
    let (browser, of_eve) = (Browser::of(&server, &admin), Browser::of(&server, &eve));
    let (person, first) =
        (format!("/admin/users/{id}"), "UPDATE users SET password_hash = NULL WHERE email LIKE 'eve%'");
    let has_form = |html: &str| html.contains("type=\"password\"");
    for path in ["/admin/users", &person] {
        assert!(has_form(&browser.page(path)), "{path}");
    }
    let html = of_eve.page("/security");
    assert!(html.contains("name=\"current\"") && html.contains(">Change it<"), "{html}");
    server.execute(first);
    let html = of_eve.page("/security");
    assert!(!html.contains("name=\"current\"") && html.contains(">Set it<"), "{html}");
    server.execute("UPDATE tenants SET ways = 'link'");
    for path in ["/admin/users", &person] {
        let html = browser.page(path);
        assert!(!has_form(&html) && html.contains("Nobody signs in to main with a password"), "{path}: {html}");
    }
    let html = of_eve.page("/security");
    assert!(!has_form(&html) && html.contains("so you can set none"), "{html}");
    // A password that is there proves who its person is.
    let html = browser.page("/security");
    assert!(has_form(&html) && html.contains("still proves that it is you"), "{html}");
}

/// An outage is a page, never a 500.
#[test]
fn an_outage_is_a_page() {
    let (server, admin) = Server::with_admin();
    let browser = Browser::of(&server, &admin);
    browser.page("/agents");
    server.execute("ALTER TABLE credentials RENAME TO gone");
    for path in ["/", "/agents", "/tokens", "/admin/audit"] {
        let answer = browser.get(path);
        assert_eq!(answer.status(), 503, "{path}");
        is_page(&answer);
        assert!(answer.header("retry-after") == "5" && answer.text().contains("not available"), "{}", answer.text());
    }
    server.execute("ALTER TABLE gone RENAME TO credentials");
}

/// The style and the script may be kept, since their path says their version.
#[test]
fn style_and_script_are_kept_by_browsers() {
    let server = Server::empty();
    let browser = Browser::new(&server);
    let html = browser.page("/setup");
    for (mark, media_type) in [("href=\"/assets/", "text/css"), ("src=\"/assets/", "text/javascript")] {
        let path = html.split(mark).nth(1).and_then(|rest| rest.split('"').next()).unwrap();
        let path = format!("/assets/{path}");
        let answer = server.nobody().get(&path);
        assert!(answer.status() == 200 && answer.header("content-type").starts_with(media_type), "{path}");
        assert!(answer.header("cache-control").contains("max-age=31536000"), "{answer:?}");
        let tag = answer.header("etag").to_owned();
        assert_eq!(server.nobody().call("GET", &path, &[("if-none-match", &tag)], None).status(), 304);
    }
    server.nobody().get("/assets/1/nothing.js").refused(404, "not_found");
    assert_eq!(server.nobody().get("/assets/1/style.css").header("cache-control"), "no-cache");
}

/// R94: an admin invites a colleague, who chooses a password and signs in, all by forms; the link is shown once.
#[test]
fn a_colleague_joins_by_a_link_that_is_handed_over() {
    let (server, admin) = Server::with_admin();
    let browser = Browser::of(&server, &admin);
    let shown = browser.submit("/admin/users", "/admin/users", &[("email", "eve@example.com"), ("name", HOSTILE)]);
    assert_eq!(shown.status(), 200, "{}", shown.text());
    is_page(&shown);
    let html = shown.text();
    let at =
        html.find(&format!("{}/invite?code=", server.host().base_url())).unwrap_or_else(|| panic!("no link in {html}"));
    let link = html[at + server.host().base_url().len()..].split('<').next().unwrap_or_default().to_owned();
    let id = text(&admin.get("/api/users?q=eve@").is(200)["items"][0]["id"]).to_owned();
    assert!(!browser.page(&format!("/admin/users/{id}")).contains("code="), "shown once");

    let eve = Browser::new(&server);
    let answer = eve.get(&link);
    is_page(&answer);
    assert_eq!(answer.header("referrer-policy"), "strict-origin");
    let html = answer.text();
    let weak = eve.submit_in(&html, "/invite", &[("password", "short")]);
    assert_eq!(weak.status(), 400);
    is_page(&weak);
    assert!(!weak.text().contains("value=\"short\""));
    // The page with the refusal still has the code: nothing was spent.
    let set = eve.submit_in(&weak.text(), "/invite", &[("password", PASSWORD), ("email", "eve@example.com")]);
    leads_to(&set, "/login?done=password-set&email=eve%40example.com&tenant=main");
    assert!(eve.page(set.header("location")).contains("value=\"eve@example.com\""));
    let again = eve.submit_in(&html, "/invite", &[("password", PASSWORD)]);
    assert_eq!(again.status(), 410);
    is_page(&again);
    assert!(again.text().contains("was used before") && !again.text().contains("name=\"code\""), "{}", again.text());
    leads_to(&eve.sign_in("eve@example.com", PASSWORD, "/agents"), "/agents");

    // The same button is a reset for somebody who has a password.
    let shown = browser.submit(&format!("/admin/users/{id}"), &format!("/admin/users/{id}/link"), &[]);
    assert!(shown.text().contains("/reset?code="), "{}", shown.text());
}

/// R92, R94: the pages of links, without a script: another site's form spends nothing, and an address without a code has no form.
#[test]
fn pages_of_links_spend_codes_by_their_own_forms_only() {
    let sink = tests::sink::Sink::new();
    let server = sink.mail("webhook").start();
    server.bootstrap();
    let browser = Browser::new(&server);
    let asked = browser.submit("/login?next=%2Ftokens", "/auth/login", &[]).text();
    assert!(asked.contains("formaction=\"/login/link\""), "{asked}");
    let csrf = browser.cookie("accredit-form").unwrap();
    let base = server.host().base_url().to_owned();
    let fields = |next: &'static str| {
        [("csrf", csrf.clone()), ("email", "ada@example.com".to_owned()), ("next", next.to_owned())]
    };
    let post = |from: &str, next: &'static str| {
        let fields = fields(next);
        let fields: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
        browser.post_from(from, "/login/link", &fields)
    };
    assert_eq!(post("https://evil.example", "/tokens").status(), 403);
    leads_to(&post(&base, "//evil.example"), "/login?done=link-asked&next=%2F");
    leads_to(&post(&base, "/tokens"), "/login?done=link-asked&next=%2Ftokens");
    let links: Vec<String> = (0..2)
        .map(|number| {
            let sent = tests::until("a mail", || sink.received().get(number).cloned());
            let told = text(&sent.body["text"]).to_owned();
            let at = told.find(&format!("{base}/auth/email/verify")).expect("a link");
            told[at + base.len()..].split_whitespace().next().unwrap_or_default().to_owned()
        })
        .collect();
    let link = links.iter().find(|link| link.ends_with("next=%2Ftokens")).expect("the second link").clone();
    let html = browser.page(&link);
    let (code, csrf) = (hidden(&html, "code"), hidden(&html, "csrf"));
    let foreign = browser.post_from("https://evil.example", "/auth/email/verify", &[("csrf", &csrf), ("code", &code)]);
    assert_eq!(foreign.status(), 403);
    let without = browser.post_from(&base, "/auth/email/verify", &[("code", &code)]);
    assert_eq!(without.status(), 403);
    assert_eq!(server.number("SELECT count(*) FROM codes WHERE spent_at IS NOT NULL"), 0);
    leads_to(&browser.submit_in(&html, "/auth/email/verify", &[]), "/tokens");
    browser.page("/tokens");
    // R528: a form that is sent twice leads on for whom it has let in, and says to others that the link was used.
    leads_to(&browser.submit_in(&html, "/auth/email/verify", &[]), "/tokens");
    let other = Browser::new(&server);
    assert_eq!(other.get(&link).status(), 410);

    let stranger = Browser::new(&server);
    for path in ["/reset", "/invite", "/auth/email/verify"] {
        let answer = stranger.get(path);
        assert_eq!(answer.status(), 400);
        is_page(&answer);
        assert!(!answer.text().contains("<form"), "{}", answer.text());
        let hostile = stranger.get(&format!("{path}?code={}&next={}", encoded(HOSTILE), encoded("//evil.example")));
        assert_eq!(hostile.status(), 400);
        let hostile = hostile.text();
        assert!(!hostile.contains("<img") && !hostile.contains("evil.example"), "{hostile}");
    }
    leads_to(&stranger.submit("/forgot", "/forgot", &[("email", "nobody@example.com")]), "/login?done=reset-asked");
    // R338: what was typed is repeated, once, the same for an address that has an account, as a text, and not by the address of the page.
    let repeated = |typed: &str| {
        leads_to(&stranger.submit("/forgot", "/forgot", &[("email", typed)]), "/login?done=reset-asked");
        let html = stranger.page("/login?done=reset-asked");
        assert!(!stranger.page("/login?done=reset-asked").contains("You typed"), "said once");
        html.split("You typed ").nth(1).and_then(|html| html.split("</span>").next()).unwrap_or_default().to_owned()
    };
    for typed in ["nobody@example.com", "ada@example.com"] {
        assert_eq!(repeated(typed), format!("{typed}. If that is not right, ask once more."));
    }
    assert!(repeated("\u{5e9}\u{5dc}@example.com").starts_with("<bdi>\u{5e9}\u{5dc}@example.com</bdi>. If"));
    let told = repeated("o'a&b@example.com");
    assert!(!told.contains("&b@") && told.contains("b@example.com"), "{told}");
    let refused = stranger.submit("/forgot", "/forgot", &[("email", "no address")]);
    assert_eq!(refused.status(), 400);
    assert!(refused.text().contains("value=\"no address\""), "{}", refused.text());
}

/// R614: pages say what an agent did, who gave it what, and that the owner of agents is deactivated.
#[test]
fn pages_say_who_gave_and_did_what() {
    let (server, admin) = Server::with_admin();
    let scout = server.agent(&admin, "scout", &["agents.read"]);
    let ask = json!({ "scope": "agents.logs", "reason": "To see why the release failed.", "hours": 8 });
    let asked = scout.client.post("/api/access-requests", &ask).is(201);
    let path = format!("/access/{}", text(&asked["id"]));
    admin.post(&format!("/api/access-requests/{}/approve", text(&asked["id"])), &json!({ "hours": 8 })).is(200);
    let browser = Browser::of(&server, &admin);
    let decided = browser.page(&path);
    assert!(decided.contains("<dt>Decided</dt>") && decided.contains(" by ada</dd>"), "{decided}");
    let state = browser.page("/agents/scout");
    assert!(state.contains(": approved by ada, ends ") && state.contains("To see why the release failed."), "{state}");
    for (which, holds) in [("", false), ("?which=did", true)] {
        let history = browser.page(&format!("/agents/scout/history{which}"));
        assert!(history.contains("access.request") && history.contains("agent.create") != holds, "{which}: {history}");
    }
    let theirs = server.user(&admin, "max@example.com", "member");
    server.agent(&theirs, "helper", &["agents.read"]);
    let of = format!("/admin/users/{}", server.texts("SELECT id FROM users WHERE email = 'max@example.com'")[0]);
    assert!(!browser.page(&of).contains("Owner deactivated"));
    server.execute("UPDATE users SET deactivated_at = 1 WHERE email = 'max@example.com'");
    assert!(browser.page(&of).contains("Owner deactivated"));
}

/// R607: anybody ends a credential that they have found, by a page; nobody learns whether it was one. An address that holds one leads there.
#[test]
fn a_leaked_credential_is_ended_by_a_page() {
    let (server, admin) = Server::with_admin();
    let scout = server.agent(&admin, "scout", &["agents.read"]);
    let stranger = Browser::new(&server);
    let live = format!("SELECT count(*) FROM credentials WHERE agent_id = '{}' AND revoked_at IS NULL", scout.id);
    let cut = &scout.client.bearer()[..56];
    let refused = stranger.submit("/leaks", "/leaks", &[("token", cut)]);
    assert!(refused.status() == 400 && refused.text().contains("57 characters") && !refused.text().contains(cut));
    assert_eq!(server.number(&live), 1);
    let unknown = tests::secret::credential("acr_pat_");
    let said = [unknown.as_str(), scout.client.bearer(), scout.client.bearer()].map(|token| {
        leads_to(&stranger.submit("/leaks", "/leaks", &[("token", token)]), "/leaks?done=leak-reported");
        let html = stranger.page("/leaks?done=leak-reported");
        assert!(!html.contains(token), "{html}");
        html.split("class=\"note").nth(1).and_then(|html| html.split("</div>").next()).unwrap_or_default().to_owned()
    });
    assert!(said[0].contains("Nobody is told here") && said.iter().all(|one| *one == said[0]), "{said:?}");
    assert_eq!(server.number(&live), 0);
    assert_eq!(server.number("SELECT count(*) FROM audit WHERE action = 'token.leaked'"), 1);
    // By no form of another site.
    let key = server.agent(&admin, "other", &["agents.read"]);
    let without = stranger.post_from(stranger.base_url(), "/leaks", &[("token", key.client.bearer())]);
    assert_eq!(without.status(), 403);
    key.client.get("/api/auth/whoami").is(200);
    for path in ["/admin/tokens?q=", "/agents?q=", "/", "/nothing/"] {
        let answer = stranger.get(&format!("{path}{}", key.client.bearer()));
        let html = answer.text();
        assert!(
            answer.status() == 400 && html.starts_with("<!doctype html>") && html.contains("href=\"/leaks\""),
            "{path}: {} {html}",
            answer.status()
        );
        assert!(!html.contains(key.client.bearer()), "{html}");
    }
}

/// Every part of an agent that a form sends is changed, and nothing else; an owner is given away by a form of its own.
#[test]
fn an_agents_settings_are_changed_by_forms() {
    let (server, admin) = Server::with_admin();
    server.user(&admin, "max@example.com", "member");
    server.agent(&admin, "boss", &["agents.read"]);
    let agent = server.agent(&admin, "scout", &["agents.read", "agents.list"]);
    let browser = Browser::of(&server, &admin);
    let (page, form) = ("/agents/scout/settings", "/agents/scout/settings");
    let done = "/agents/scout/settings?done=changed";
    let get = || admin.get("/api/agents/scout").is(200);
    let before = get();
    let wrong = browser.submit(page, form, &[("budget", "a lot"), ("description", "Looks around"), ("tier", "2")]);
    is_page(&wrong);
    let html = wrong.text();
    assert!(
        wrong.status() == 400 && html.contains("value=\"a lot\"") && html.contains("id=\"wrong-budget\""),
        "{html}"
    );
    // R442: of two labels with one name neither is dropped.
    let twice = browser.submit(page, form, &[("labels", "team: market\nteam: sales"), ("description", "Looks around")]);
    is_page(&twice);
    let html = twice.text();
    assert!(twice.status() == 400 && html.contains("team: market\nteam: sales</textarea>"), "{html}");
    assert!(html.contains("id=\"wrong-labels\"") && html.contains("team stands twice"), "{html}");
    assert_eq!(get(), before);
    let typed = [
        ("display_name", "Scout"),
        ("description", "Looks around"),
        ("url", "https://agents.example.com/scout"),
        ("tier", "2"),
        ("max_concurrent_tasks", "4"),
        ("budget", "12,50"),
        ("labels", "team: market\neu"),
    ];
    leads_to(&browser.submit(page, form, &typed), done);
    let after = get();
    for (field, value) in [
        ("display_name", json!("Scout")),
        ("description", json!("Looks around")),
        ("url", json!("https://agents.example.com/scout")),
        ("tier", json!(2)),
        ("max_concurrent_tasks", json!(4)),
        ("budget_cents", json!(1250)),
        ("labels", json!({ "team": "market", "eu": "" })),
        ("scope", before["scope"].clone()),
    ] {
        assert_eq!(after[field], value, "{field}");
    }
    let own = |fields: &[(&str, &str)]| {
        let token = hidden(&browser.page(page), "csrf");
        let mut sent = vec![("csrf", token.as_str())];
        sent.extend(fields);
        browser.post_from(browser.base_url(), form, &sent)
    };
    leads_to(&own(&[("form", "ceiling"), ("scope", "agents.read")]), done);
    assert_eq!(agent.client.get("/api/auth/whoami").is(200)["scope"], json!(["agents.read"]));
    leads_to(&own(&[("form", "place"), ("parent", "boss")]), done);
    assert_eq!(get()["parent"], "boss");
    let cycle = own(&[("form", "place"), ("parent", "scout")]);
    assert!(cycle.status() == 409 && cycle.text().contains("id=\"wrong-parent\""), "{}", cycle.text());
    leads_to(&own(&[("form", "place"), ("parent", "")]), done);
    leads_to(&own(&[("form", "owner"), ("owner", "max@example.com")]), "/agents/scout?done=given-away");
    assert_eq!((&get()["owner"]["email"], &get()["parent"]), (&json!("max@example.com"), &Json::Null));
    agent.client.get("/api/auth/whoami").refused(401, "token_revoked");
}

/// A form of settings, and what two admins do to it.
struct Open {
    page: String,
    form: String,
    /// A part of the form that no other form of the page has.
    mark: &'static str,
    /// The route that reads and changes the same.
    api: String,
    /// What somebody else changes while the form stands open, and what the visitor then types in another field.
    theirs: Json,
    other: (&'static str, &'static str),
    /// What somebody else changes once more, and what the visitor types in the same field, which gives rights. Empty: none does.
    again: Json,
    same: &'static [(&'static str, &'static str)],
}

/// R325: a form that stood open changes what its visitor has changed in it, and nothing that somebody else has changed meanwhile; what
/// gives rights is not changed over another change that nobody here has seen.
#[test]
#[expect(clippy::too_many_lines, reason = "one row for each form")]
fn a_form_that_stood_open_changes_only_what_its_visitor_has_changed() {
    let server = Server::settings()
        .variable("secrets_key", &"k".repeat(40))
        .variable("outbound_hosts", "hooks.example.com")
        .start();
    let admin = server.bootstrap();
    let max = server.user(&admin, "max@example.com", "admin");
    let max = text(&max.get("/api/auth/whoami").is(200)["user_id"]).to_owned();
    server.user(&admin, "eve@example.com", "member");
    for (name, scope) in [("boss", vec!["*"]), ("top", vec!["*"]), ("scout", vec!["agents.list", "agents.read"])] {
        admin.post("/api/agents", &json!({ "name": name, "scope": scope, "description": "one\ntwo" })).is(201);
    }
    for name in ["x.crm.read", "x.crm.write"] {
        admin.post("/api/scopes/custom", &json!({ "name": name, "description": "d" })).is(201);
    }
    let made = |path: &str, body: &Json| text(&admin.post(path, body).is(201)["id"]).to_owned();
    let uris = json!(["https://a.example.com/cb", "https://old.example.com/cb"]);
    let client = made("/api/oauth/clients", &json!({ "name": "App", "redirect_uris": uris }));
    let service = json!({ "identifier": "https://crm.example.com", "name": "Crm", "scopes": ["x.crm.read"], "introspectors": ["boss"] });
    let service = made("/api/resources", &service);
    let hook = json!({ "url": "https://hooks.example.com/a", "name": "Hook", "agents": ["boss", "scout"], "kinds": ["agent.*", "user.*"] });
    let hook = made("/api/webhooks", &hook);
    let (agent, agent_page) = ("/api/agents/scout".to_owned(), "/agents/scout/settings".to_owned());
    let of_admins = |path: &str, id: &str| (format!("/admin/{path}/{id}"), format!("/admin/{path}/{id}/change"));
    let (user_page, user_form) = of_admins("users", &max);
    let (client_page, client_form) = of_admins("clients", &client);
    let (service_page, service_form) = of_admins("resources", &service);
    let (hook_page, hook_form) = of_admins("webhooks", &hook);
    let none: &[(&str, &str)] = &[];
    let rows = [
        Open {
            page: user_page.clone(),
            form: user_form,
            mark: "",
            api: format!("/api/users/{max}"),
            theirs: json!({ "role": "viewer" }),
            other: ("name", "Maximilian"),
            again: json!({ "role": "member" }),
            same: &[("role", "admin")],
        },
        Open {
            page: user_page.clone(),
            form: format!("{user_page}/address"),
            mark: "",
            api: format!("/api/users/{max}"),
            theirs: json!({ "name": "Max again" }),
            other: ("email", "maxi@example.com"),
            again: json!({ "email": "max2@example.com" }),
            same: &[("email", "max3@example.com")],
        },
        Open {
            page: "/admin/tenant".to_owned(),
            form: "/admin/tenant".to_owned(),
            mark: "",
            api: "/api/tenant".to_owned(),
            theirs: json!({ "ways": ["password"], "name": "Acme" }),
            other: ("pat_days", "30"),
            again: json!({ "ways": ["password", "link"] }),
            same: &[("way", "oidc")],
        },
        Open {
            page: agent_page.clone(),
            form: agent_page.clone(),
            mark: "value=\"settings\"",
            api: agent.clone(),
            theirs: json!({ "budget_cents": 500, "labels": { "team": "a" } }),
            other: ("runtime", "langgraph"),
            again: json!({ "budget_cents": 600 }),
            same: &[("budget", "9000")],
        },
        Open {
            page: agent_page.clone(),
            form: agent_page.clone(),
            mark: "value=\"ceiling\"",
            api: agent.clone(),
            theirs: json!({ "description": "one\ntwo" }),
            other: ("scope", "agents.list agents.read guides.read"),
            again: json!({ "scope": ["agents.read"] }),
            same: &[("scope", "agents.list agents.read guides.read audit.read")],
        },
        Open {
            page: agent_page.clone(),
            form: agent_page.clone(),
            mark: "value=\"place\"",
            api: agent,
            theirs: json!({ "parent": "boss" }),
            other: ("owner", "ada@example.com"),
            again: json!({ "parent": "top" }),
            same: &[("parent", "")],
        },
        Open {
            page: client_page,
            form: client_form,
            mark: "",
            api: format!("/api/oauth/clients/{client}"),
            theirs: json!({ "redirect_uris": ["https://a.example.com/cb"] }),
            other: ("name", "Another"),
            again: json!({ "redirect_uris": ["https://b.example.com/cb"] }),
            same: &[("redirect_uris", "https://a.example.com/cb https://old.example.com/cb")],
        },
        Open {
            page: service_page,
            form: service_form,
            mark: "",
            api: format!("/api/resources/{service}"),
            theirs: json!({ "introspectors": [] }),
            other: ("name", "Another"),
            again: json!({ "scopes": [] }),
            same: &[("scopes", "x.crm.read x.crm.write")],
        },
        Open {
            page: hook_page,
            form: hook_form,
            mark: "",
            api: format!("/api/webhooks/{hook}"),
            theirs: json!({ "agents": ["scout"], "kinds": ["agent.*"] }),
            other: ("name", "Another"),
            again: json!({ "url": "https://hooks.example.com/b" }),
            same: &[("url", "https://hooks.example.com/c")],
        },
        Open {
            page: "/security".to_owned(),
            form: "/profile/mails".to_owned(),
            mark: "",
            api: "/api/notifications/preferences".to_owned(),
            theirs: json!({ "leaks": false }),
            other: ("mail", ""),
            again: Json::Null,
            same: none,
        },
    ];
    let browser = Browser::of(&server, &admin);
    let send = |row: &Open, html: &str, typed: &[(&str, &str)]| {
        let mut sent = fields(html, &row.form, row.mark);
        // A box that is ticked beside the others, or a field with another text.
        for (name, value) in typed {
            match sent.iter_mut().find(|(known, _)| known == name && *name != "way") {
                Some(field) => (*value).clone_into(&mut field.1),
                None => sent.push(((*name).to_owned(), (*value).to_owned())),
            }
        }
        let sent: Vec<(&str, &str)> = sent.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        browser.post_from(browser.base_url(), &row.form, &sent)
    };
    // As people have set it: what a webhook's receiver does meanwhile is not theirs.
    let stands = |api: &str| {
        let mut now = admin.get(api).is(200);
        for member in ["failures", "failing_since"] {
            now.as_object_mut().and_then(|now| now.remove(member));
        }
        now
    };
    for row in &rows {
        let at = format!("{} {}", row.form, row.mark);
        // Nothing is changed in it.
        let (html, before) = (browser.page(&row.page), stands(&row.api));
        // The form of the address begins empty, and is not sent so.
        let begins = if row.form.ends_with("/address") { 400 } else { 303 };
        assert_eq!(send(row, &html, &[]).status(), begins, "{at}");
        assert_eq!(stands(&row.api), before, "{at}");
        // Another field.
        admin.patch(&row.api, &row.theirs).is(200);
        let theirs = stands(&row.api);
        let answer = send(row, &html, &[row.other]);
        assert_eq!(answer.status(), 303, "{at}: {}", answer.text());
        let now = stands(&row.api);
        for member in row.theirs.as_object().into_iter().flatten().map(|(member, _)| member) {
            assert_eq!(now[member], theirs[member], "{at} {member}");
        }
        let own = row.other.0;
        if own != "mail" && own != "owner" {
            assert_ne!(now[own], before[own], "{at} {own}");
        }
        // The same field.
        let Some((field, typed)) = row.same.first() else { continue };
        let html = browser.page(&row.page);
        admin.patch(&row.api, &row.again).is(200);
        let theirs = stands(&row.api);
        let refused = send(row, &html, row.same);
        assert_eq!(refused.status(), 409, "{at}: {}", refused.text());
        is_page(&refused);
        assert_eq!(stands(&row.api), theirs, "{at}");
        let shown = refused.text();
        assert!(shown.contains("Somebody else changed the same while this form stood open."), "{at}: {shown}");
        assert!(shown.contains(&format!("id=\"wrong-{field}\"")) || *field == "way", "{at}: {shown}");
        // It shows how it stands; sent once more with the same, it is what the visitor wants.
        let answer = send(row, &shown, &[]);
        assert_eq!(answer.status(), 303, "{at}: {}", answer.text());
        assert_eq!(stands(&row.api), theirs, "{at}");
        let answer = send(row, &shown, &[(field, typed)]);
        assert_eq!(answer.status(), 303, "{at}: {}", answer.text());
        assert_ne!(stands(&row.api), theirs, "{at}");
    }
}

/// An archived agent is restored by a click and purged by two.
#[test]
fn archived_agents_are_restored_and_purged_by_forms() {
    let (server, admin) = Server::with_admin();
    let agent = server.agent(&admin, "scout", &["agents.read"]);
    let browser = Browser::of(&server, &admin);
    let (page, own) = ("/archived", format!("/archived/{}", agent.id));
    browser.submit("/agents/scout", "/agents/scout/archive", &[]);
    leads_to(&browser.submit(page, &format!("{own}/restore"), &[]), "/agents/scout?done=restored");
    assert_eq!(admin.get("/api/agents/scout").is(200)["state"], "stopped");
    assert_eq!(browser.get(&own).status(), 404);
    browser.submit("/agents/scout", "/agents/scout/archive", &[]);
    assert!(browser.page(&own).contains("Purge scout for good?"));
    leads_to(&browser.submit(&own, &format!("{own}/purge"), &[]), "/archived?done=purged");
    assert_eq!(server.number("SELECT count(*) FROM agents"), 0);
}

/// An admin revokes any credential, and sees those of one person; nobody else does.
#[test]
fn every_credential_is_revoked_by_form() {
    let (server, admin) = Server::with_admin();
    let max = server.user(&admin, "max@example.com", "member");
    let agent = server.agent(&max, "scout", &["agents.read"]);
    let browser = Browser::of(&server, &admin);
    let id = text(&max.get("/api/auth/whoami").is(200)["user_id"]).to_owned();
    let page = format!("/admin/tokens?user={id}&kind=agent_token");
    let html = browser.page(&page);
    assert!(html.contains("scout") && html.matches("Yes, revoke it").count() == 1, "{html}");
    let token = text(&admin.get(&format!("/auth/admin/tokens?user={id}&kind=agent_token")).is(200)["items"][0]["id"])
        .to_owned();
    let done = format!("{page}&done=revoked");
    leads_to(&browser.submit(&page, &format!("/admin/tokens/{token}/revoke"), &[]), &done);
    agent.client.get("/api/auth/whoami").refused(401, "token_revoked");
    let html =
        Browser::of(&server, &max).page("/tokens").replace("action=\"/tokens\"", "action=\"/admin/tokens/x/revoke\"");
    assert_eq!(Browser::of(&server, &max).submit_in(&html, "/admin/tokens/x/revoke", &[]).status(), 403);
}

/// The trail is passed on as a file: the same bytes as the API's, and refused to others.
#[test]
fn the_trail_is_a_file() {
    let (server, admin) = Server::with_admin();
    for number in 0..120 {
        admin.post("/api/agents", &json!({ "name": format!("a{number}"), "issue_token": false })).is(201);
    }
    let browser = Browser::of(&server, &admin);
    let file = browser.get("/admin/audit/export?action=agent.create");
    assert_eq!((file.status(), file.header("content-type")), (200, "application/x-ndjson"));
    assert_eq!(file.header("content-disposition"), "attachment; filename=\"audit.ndjson\"");
    assert_eq!(file.text().lines().count(), 120);
    assert_eq!(file.text(), admin.get("/api/audit/export?action=agent.create").text());
    let trail = browser.page("/admin/audit?action=audit.export");
    assert_eq!(trail.matches("exported the audit trail").count(), 2, "{trail}");
    // R340: the same rows for spreadsheets.
    let csv = browser.get("/admin/audit/export?action=agent.create&format=csv");
    assert_eq!((csv.status(), csv.header("content-type")), (200, "text/csv; charset=utf-8"));
    assert_eq!(csv.text().lines().count(), 121);
    admin.get("/api/audit/export?action=agent.create&format=csv").is_text(200, "id,at,");
    let refused = browser.get("/admin/audit/export?actor=%00");
    is_page(&refused);
    assert_eq!(refused.status(), 400);
    leads_to(&Browser::new(&server).get("/admin/audit/export"), "/login?next=%2Fadmin%2Faudit%2Fexport");
}

/// Everybody sees how to install; the token of a coding agent is in the answer to the form alone.
#[test]
fn a_coding_agent_is_set_up_by_a_text() {
    let (server, admin) = Server::with_admin();
    let public = Browser::new(&server).page("/install");
    assert!(public.contains(&format!("curl -fsSL {}/cli/install.sh | sh", server.nobody().base_url())), "{public}");
    assert!(public.contains("/login?next=%2Finstall"), "{public}");
    let browser = Browser::of(&server, &admin);
    assert!(browser.page("/install").contains("acr_pat_…"));
    let made = browser.submit("/install", "/install", &[("name", "laptop"), ("may", "agents")]);
    is_page(&made);
    let html = made.text();
    let token = html.split("printf %s ").nth(1).and_then(|rest| rest.split_whitespace().next()).unwrap();
    let own = server.with(token).get("/api/auth/whoami").is(200);
    assert!(
        own["scope"].as_array().unwrap().contains(&json!("agents.create")) && own["scope"] != json!(["*"]),
        "{own}"
    );
    assert!(!browser.page("/install").contains(token) && !browser.page("/tokens").contains(token));
    let wrong = browser.submit("/install", "/install", &[("name", &"x".repeat(65))]);
    assert!(wrong.status() == 400 && wrong.text().contains("id=\"wrong-name\""), "{}", wrong.text());
}

/// R168: admins register, change and delete OAuth clients and services on pages; a secret is shown once, and hostile texts stay texts.
#[test]
fn clients_and_services_are_managed_by_form() {
    let (server, admin) = Server::with_admin();
    let browser = Browser::of(&server, &admin);
    admin.post("/api/scopes/custom", &json!({ "name": "x.crm.read", "description": "d" })).is(201);
    server.agent(&admin, "crm", &["tokens.introspect"]);

    // R582: what sets the tenant up is below one item.
    for path in ["tenant", "webhooks", "clients", "resources", "outbox"] {
        let html = browser.page(&format!("/admin/{path}"));
        assert!(html.contains("aria-current=\"page\">Settings</a>"), "{path}");
        assert!(html.contains(&format!("<a href=\"/admin/{path}\" aria-current=\"page\">")), "{path}");
    }
    // A client that keeps a secret.
    let path = "/admin/clients";
    let refused = browser.submit(path, path, &[("name", HOSTILE), ("redirect_uris", "http://app.example.com/cb")]);
    assert_eq!(refused.status(), 400, "{}", refused.text());
    is_page(&refused);
    assert!(
        refused.text().contains("http://app.example.com/cb") && !refused.text().contains("<img"),
        "{}",
        refused.text()
    );
    let uris = "https://app.example.com/cb\r\n  http://127.0.0.1/cb ";
    let made = browser.submit(path, path, &[("name", HOSTILE), ("redirect_uris", uris), ("confidential", "yes")]);
    assert_eq!(made.status(), 200, "{}", made.text());
    is_page(&made);
    let secret = made.text().split("acr_cls_").nth(1).map(|rest| format!("acr_cls_{}", &rest[..49])).unwrap();
    let client = admin.get("/api/oauth/clients").is(200)["items"][0].clone();
    assert_eq!(client["redirect_uris"], json!(["https://app.example.com/cb", "http://127.0.0.1/cb"]));
    assert_eq!((&client["name"], &client["confidential"]), (&json!(HOSTILE), &json!(true)));
    let own = format!("{path}/{}", text(&client["id"]));
    for page in [path, &own] {
        let html = browser.page(page);
        assert!(!html.contains(&secret) && !html.contains("<img") && html.contains("&#60;img"), "{html}");
    }
    let other = browser.submit(&own, &format!("{own}/rotate"), &[]);
    assert!(other.text().contains("acr_cls_") && !other.text().contains(&secret), "{}", other.text());
    let change = format!("{own}/change");
    leads_to(
        &browser.submit(&own, &change, &[("name", "Planner"), ("redirect_uris", "https://b.example.com/cb")]),
        &format!("{own}?done=changed"),
    );
    let changed = admin.get(&format!("/api/oauth/clients/{}", text(&client["id"]))).is(200);
    assert_eq!(
        (&changed["name"], &changed["redirect_uris"]),
        (&json!("Planner"), &json!(["https://b.example.com/cb"]))
    );
    let refused = browser.submit(&own, &change, &[("name", "Planner"), ("redirect_uris", "")]);
    assert_eq!(refused.status(), 400, "{}", refused.text());
    leads_to(&browser.submit(&own, &format!("{own}/delete"), &[]), "/admin/clients?done=deleted");
    assert_eq!(browser.get(&own).status(), 404);
    // A public one has no secret to show.
    let made = browser.submit(path, path, &[("name", "App"), ("redirect_uris", "http://127.0.0.1/cb")]);
    let own = made.header("location").split('?').next().unwrap().to_owned();
    assert_eq!(made.status(), 303, "{}", made.text());
    assert!(!browser.page(&own).contains("New secret"), "{own}");
    assert_eq!(browser.post_from(browser.base_url(), &format!("{own}/fly"), &[]).status(), 404);

    // A service.
    let path = "/admin/resources";
    let fields = [
        ("identifier", "ftp://crm.example.com"),
        ("name", HOSTILE),
        ("scopes", "x.crm.read"),
        ("signing_alg", "EdDSA"),
    ];
    let refused = browser.submit(path, path, &fields);
    assert_eq!(refused.status(), 400, "{}", refused.text());
    is_page(&refused);
    assert!(!refused.text().contains("<img"), "{}", refused.text());
    let unknown =
        [("identifier", "https://crm.example.com"), ("introspectors", "nobody-like-this"), ("signing_alg", "EdDSA")];
    let refused = browser.submit(path, path, &unknown);
    assert_eq!(refused.status(), 404, "{}", refused.text());
    is_page(&refused);
    let fields = [
        ("identifier", "https://crm.example.com"),
        ("name", HOSTILE),
        ("scopes", "x.crm.read"),
        ("introspectors", "crm, ada@example.com"),
        ("signing_alg", "ES256"),
    ];
    let made = browser.submit(path, path, &fields);
    assert_eq!(made.status(), 303, "{}", made.text());
    let own = made.header("location").split('?').next().unwrap().to_owned();
    let resource = admin.get("/api/resources").is(200)["items"][0].clone();
    assert_eq!(own, format!("{path}/{}", text(&resource["id"])));
    assert_eq!((&resource["signing_alg"], &resource["scopes"]), (&json!("ES256"), &json!(["x.crm.read"])));
    for page in [path, &own] {
        let html = browser.page(page);
        assert!(!html.contains("<img") && html.contains("&#60;img"), "{html}");
    }
    assert!(browser.page(&own).contains("value=\"ES256\" selected"));
    // What stands in the form, sent as it is, changes nothing; without a scope and an account it takes less.
    let ids: Vec<&str> = resource["introspectors"].as_array().unwrap().iter().map(text).collect();
    let same =
        [("name", "CRM"), ("scopes", "x.crm.read"), ("introspectors", &*ids.join(" ")), ("signing_alg", "ES256")];
    leads_to(&browser.submit(&own, &format!("{own}/change"), &same), &format!("{own}?done=changed"));
    let less = [("name", "CRM"), ("scopes", ""), ("introspectors", ""), ("signing_alg", "EdDSA")];
    leads_to(&browser.submit(&own, &format!("{own}/change"), &less), &format!("{own}?done=changed"));
    let resource = admin.get("/api/resources").is(200)["items"][0].clone();
    let expected = (&json!("CRM"), &json!([]), &json!([]), &json!("EdDSA"));
    assert_eq!(
        (&resource["name"], &resource["scopes"], &resource["introspectors"], &resource["signing_alg"]),
        expected
    );
    leads_to(&browser.submit(&own, &format!("{own}/delete"), &[]), "/admin/resources?done=deleted");
    assert_eq!(browser.get(&own).status(), 404);
}

/// R686: an admin defines scopes and makes presets by form, sees who lacks something of a version, and deletes what is in no use.
#[test]
fn presets_and_scopes_are_made_by_form() {
    let (server, admin) = Server::with_admin();
    let browser = Browser::of(&server, &admin);
    let scopes = "/admin/scopes";
    for (name, status) in [("crm.read", 400), ("x.", 400), ("x.crm.read", 303), ("x.crm.read", 409)] {
        let sent = browser.submit(scopes, scopes, &[("name", name), ("description", HOSTILE)]);
        assert_eq!(sent.status(), status, "{name}: {}", sent.text());
    }
    let html = browser.page(scopes);
    assert!(html.contains("x.crm.read") && !html.contains("<img"), "{html}");

    let presets = "/admin/presets";
    let fields = [("name", "Support"), ("scope", "ui.notify"), ("scope", "x.crm.read"), ("secrets", "CRM_KEY, OTHER")];
    leads_to(&browser.submit(presets, presets, &fields), "/admin/presets/support?done=made");
    let taken = browser.submit(presets, presets, &fields);
    assert!(taken.status() == 400 && taken.text().contains("There is a preset of this name."), "{}", taken.text());
    for (name, scope) in [("a b", "ui.notify"), ("empty", "")] {
        let refused = browser.submit(presets, presets, &[("name", name), ("scope", scope)]);
        assert_eq!(refused.status(), 400, "{name}: {}", refused.text());
        is_page(&refused);
    }
    let made = admin.get("/api/presets/support").is(200);
    assert_eq!(
        (&made["version"], &made["scope"], &made["secrets"]),
        (&json!(1), &json!(["ui.notify", "x.crm.read"]), &json!(["CRM_KEY", "OTHER"]))
    );
    admin.post("/api/agents", &json!({ "name": "scout", "preset": "support" })).is(201);

    let own = "/admin/presets/support";
    let version = [
        ("scope", "ui.notify"),
        ("scope", "x.crm.read"),
        ("scope", "agents.read"),
        ("secrets", ""),
        ("probes", "crm works\n"),
        ("runtime", "langgraph"),
        ("tier", "4"),
        ("budget", "12.50"),
        ("labels", "team: support"),
    ];
    let wrong = browser.submit(own, &format!("{own}/change"), &[("scope", "ui.notify"), ("budget", "lots")]);
    assert!(wrong.status() == 400 && wrong.text().contains("value=\"lots\""), "{}", wrong.text());
    leads_to(&browser.submit(own, &format!("{own}/change"), &version), &format!("{own}?done=changed"));
    let made = admin.get("/api/presets/support").is(200);
    assert_eq!((&made["version"], &made["probes"], &made["secrets"]), (&json!(2), &json!(["crm works"]), &json!([])));
    let defaults = json!({ "runtime": "langgraph", "tier": 4, "budget_cents": 1250, "labels": { "team": "support" } });
    assert_eq!(made["defaults"], defaults);
    let html = browser.page(own);
    for part in ["value=\"12.50\"", "team: support", "/agents/scout/settings", "agents.read</code>"] {
        assert!(html.contains(part), "{part}: {html}");
    }
    // The form of the first version, sent late, makes no third one.
    let old = html.replace("name=\"version\" value=\"2\"", "name=\"version\" value=\"1\"");
    assert_eq!(browser.submit_in(&old, &format!("{own}/change"), &version).status(), 409);
    assert_eq!(admin.get("/api/presets/support").is(200)["version"], 2);
    assert_eq!(browser.submit_in(&old, &format!("{own}/give"), &[]).status(), 409);
    leads_to(&browser.submit(own, &format!("{own}/give"), &[]), &format!("{own}?done=changed"));
    assert_eq!(admin.get("/api/agents/scout").is(200)["scope"], json!(["agents.read", "ui.notify", "x.crm.read"]));
    assert!(!browser.page(own).contains(&format!("{own}/give")));

    let used = browser.submit(own, &format!("{own}/delete"), &[]);
    assert_eq!(used.status(), 409, "{}", used.text());
    is_page(&used);
    admin.patch("/api/agents/scout", &json!({ "preset": "worker" })).is(200);
    leads_to(&browser.submit(own, &format!("{own}/delete"), &[]), "/admin/presets?done=deleted");
    assert_eq!(browser.get(own).status(), 404);
    leads_to(&browser.submit(scopes, "/admin/scopes/x.crm.read/delete", &[]), "/admin/scopes?done=deleted");
    assert_eq!(admin.get("/api/scopes/custom").is(200)["items"], json!([]));
}

/// R166: after a stop the page has a link to the receipt, which is a file; a server that signs nothing says so on a page.
#[test]
fn a_stop_leads_to_its_receipt() {
    for key in ["", KEY] {
        let server = Server::settings().variable("signing_key", key).start();
        let admin = server.bootstrap();
        server.agent(&admin, "scout", &["agents.read"]);
        let browser = Browser::of(&server, &admin);
        let answer = browser.submit("/agents/scout", "/agents/scout/stop", &[]);
        let html = browser.page(answer.header("location"));
        // R430: without a guard nothing of it is accepted from the stop on.
        assert!(html.contains("Nothing of scout can be accepted anywhere since "), "{html}");
        let link = html.split("href=\"/closures/").nth(1).unwrap_or_else(|| panic!("no receipt: {html}"));
        let path = format!("/closures/{}", link.split('"').next().unwrap());
        let receipt = browser.get(&path);
        if key.is_empty() {
            assert_eq!(receipt.status(), 503);
            is_page(&receipt);
            continue;
        }
        let id = path.split('/').nth(2).unwrap();
        assert_eq!((receipt.status(), receipt.header("content-type")), (200, "application/jwt"), "{}", receipt.text());
        assert_eq!(receipt.header("content-disposition"), format!("attachment; filename=\"{id}.jwt\""));
        assert_eq!(receipt.text(), admin.get(&format!("/api{path}")).text());
        let absent = browser.get("/closures/cls_nothing/receipt");
        assert_eq!(absent.status(), 404);
        is_page(&absent);
    }
}

/// R356: what has come since the page was shown stays unread.
#[test]
fn only_what_was_shown_is_marked_as_read() {
    let (server, admin) = Server::with_admin();
    let agent = server.agent(&admin, "scout", &["ui.notify"]).client;
    let notify = |title: &str| agent.post("/api/ui/notify", &json!({ "title": title, "body": "b" })).is(201);
    notify("one");
    let browser = Browser::of(&server, &admin);
    let page = browser.page("/notifications");
    notify("two");
    leads_to(&browser.submit_in(&page, "/notifications/all/read", &[]), "/notifications?done=marked");
    assert_eq!(server.texts("SELECT title FROM notifications WHERE read_at IS NULL"), ["two"]);
}

/// R358: what one click gives is on the page before it, every scope of it.
#[test]
fn one_click_gives_nothing_that_is_not_shown() {
    let (server, admin) = Server::with_admin();
    let agent = server.agent(&admin, "scout", &["agents.read"]).client;
    let scopes = [
        "agents.create",
        "agents.delete",
        "agents.deploy",
        "agents.lifecycle",
        "agents.list",
        "agents.message",
        "agents.update",
    ];
    agent.post("/api/access-requests", &json!({ "scope": scopes, "reason": "For ticket 8812" })).is(201);
    let browser = Browser::of(&server, &admin);
    for page in ["/", "/access"] {
        let page = browser.page(page);
        for scope in scopes {
            assert!(page.contains(&format!("<span class=\"tag\">{scope}</span>")), "{scope}: {page}");
        }
    }
}

/// R358: a request of which nothing is ticked is answered by what can be done about it; from its list it is decided by one click.
#[test]
fn a_request_is_decided_from_its_list() {
    let (server, admin) = Server::with_admin();
    let agent = server.agent(&admin, "scout", &["agents.read"]).client;
    let ask = |scope: &str| {
        let asked =
            agent.post("/api/access-requests", &json!({ "scope": [scope], "reason": "For ticket 8812", "hours": 3 }));
        format!("/access/{}", text(&asked.is(201)["id"]))
    };
    let browser = Browser::of(&server, &admin);
    let (first, second) = (ask("agents.create"), ask("agents.update"));
    let none = browser.submit(&first, &format!("{first}/approve"), &[("hours", "2"), ("lasts", "hours")]);
    assert!(none.status() == 400 && none.text().contains("Tick at least one, or deny."), "{}", none.text());
    leads_to(&browser.submit("/access", &format!("{first}/approve"), &[]), "/access?done=approved");
    leads_to(&browser.submit("/", &format!("{second}/deny"), &[]), "/?done=denied");
    let given = admin.get(&format!("/api/access-requests/{}", first.trim_start_matches("/access/"))).is(200);
    assert_eq!((&given["granted"], &given["lasts"]), (&json!(["agents.create"]), &json!("hours")), "{given}");
    assert_eq!(agent.get("/api/auth/whoami").is(200)["scope"], json!(["agents.read", "agents.create"]));
}

/// R343: the page of a person shows what they have linked at providers, and one button unlinks all of it, with a fresh proof.
#[test]
fn an_admin_sees_and_unlinks_the_sign_ins_of_a_person() {
    let (server, admin) = Server::with_admin();
    let max = server.user(&admin, "max@example.com", "member");
    let id = text(&max.get("/api/auth/whoami").is(200)["user_id"]).to_owned();
    let (page, path) = (format!("/admin/users/{id}"), format!("/api/users/{id}/identities"));
    let browser = Browser::of(&server, &admin);
    assert!(!browser.page(&page).contains("Sign-ins"), "nothing is linked, and nobody offers to");
    for number in 1..=2 {
        server.execute(&format!(
            "INSERT INTO identities (id, user_id, issuer, subject, provider, email, created_at, last_used_at)
             VALUES ('idn_{number}', '{id}', 'https://old.example', '{number}', 'old', 'max{number}@old.example', {number}, 1700000000000)"
        ));
    }
    let listed = admin.get(&path).is(200);
    let first = json!({ "id": "idn_1", "provider": "old", "email": "max1@old.example",
        "created_at": "1970-01-01T00:00:00.001Z", "last_used_at": "2023-11-14T22:13:20.000Z" });
    assert_eq!((&listed["items"][1], listed["items"].as_array().map(Vec::len)), (&first, Some(2)), "{listed}");
    max.get(&path).refused(403, "scope_denied");
    admin.get("/api/users/usr_none/identities").refused(404, "user_not_found");
    let html = browser.page(&page);
    for part in ["Sign-ins", "max1@old.example", "max2@old.example", "Unlink the sign-ins of User"] {
        assert!(html.contains(part), "{part}: {html}");
    }
    age_proofs(&server);
    let act = format!("{page}/unlink");
    let asked = browser.submit_in(&html, &act, &[]);
    assert!(asked.status() == 403 && asked.text().contains("Is it you?"), "{}", asked.text());
    assert_eq!(server.number("SELECT count(*) FROM identities"), 2);
    leads_to(
        &browser.submit_in(&asked.text(), &act, &[("proof_password", PASSWORD)]),
        &format!("{page}?done=unlinked-all"),
    );
    assert_eq!(server.number("SELECT count(*) FROM identities"), 0);
    assert!(!browser.page(&page).contains("max1@old.example"));
    assert_eq!(max.get("/api/notifications").is(200)["items"][0]["title"], "Your sign-in was unlinked");
}

/// R345: notifications of high priority are told apart, and are shown alone; a search finds the agent's name.
#[test]
fn notifications_of_high_priority_are_shown_alone() {
    let (server, admin) = Server::with_admin();
    for (agent, title, priority) in [
        ("scout", "Disk is full", "high"),
        ("scout", "All is well", "normal"),
        ("clerk", "Filed", "low"),
        ("clerk", "Stuck", "high"),
    ] {
        if server.number(&format!("SELECT count(*) FROM agents WHERE name = '{agent}'")) == 0 {
            server.agent(&admin, agent, &["ui.notify"]);
        }
        let token = admin.post(&format!("/api/agents/{agent}/token/issue"), &json!({})).is(200);
        let body = json!({ "title": title, "body": "as it says", "priority": priority });
        server.with(text(&token["token"])).post("/api/ui/notify", &body).is(201);
    }
    let titles = |query: &str| {
        let list = admin.get(&format!("/api/notifications?{query}")).is(200);
        let titles: Vec<String> =
            list["items"].as_array().into_iter().flatten().map(|one| text(&one["title"]).to_owned()).collect();
        titles
    };
    assert_eq!(titles("priority=high"), ["Stuck", "Disk is full"]);
    assert_eq!(titles("priority=low"), ["Filed"]);
    assert_eq!(titles("q=SCOUT"), ["All is well", "Disk is full"]);
    assert_eq!(titles("q=scout&priority=high"), ["Disk is full"]);
    assert_eq!(
        (titles("q=agent:").len(), titles("q=it%20say").len()),
        (0, 4),
        "what stands before a name is no part of it"
    );
    let refused = admin.get("/api/notifications?priority=urgent").refused(400, "invalid_filter");
    assert!(text(&refused["fix"]).contains("low, normal, high"), "{refused}");

    let browser = Browser::of(&server, &admin);
    let html = browser.page("/notifications");
    assert_eq!(
        (html.matches("class=\"unread high\"").count(), html.matches("<li class=\"unread\"").count()),
        (2, 2),
        "{html}"
    );
    assert!(html.contains("href=\"/notifications?show=high\""), "{html}");
    let html = browser.page("/notifications?show=high");
    assert!(html.contains("Disk is full") && !html.contains("All is well") && !html.contains(">Filed<"), "{html}");
    assert!(html.contains("<a href=\"/notifications?show=high\" aria-current=\"true\">High priority</a>"), "{html}");
    admin.post("/api/notifications/read-all", &json!({})).is(200);
    let html = browser.page("/notifications?show=high&q=scout");
    assert!(html.contains("<li class=\"high\"") && html.contains("Disk is full") && !html.contains("Stuck"), "{html}");
    assert!(html.contains("name=\"show\" value=\"high\""), "{html}");
}

/// R344: several requests are decided at once, each as by its own button; what could not be is named with the reason, and stays ticked.
#[test]
fn several_requests_are_decided_at_once() {
    let (server, admin) = Server::with_admin();
    let agent = server.agent(&admin, "scout", &["agents.read", "agents.update"]).client;
    let ask = |body: Json| text(&agent.post("/api/access-requests", &body).is(201)["id"]).to_owned();
    let of = |scope: &str| ask(json!({ "scope": [scope], "reason": "For ticket 8812", "hours": 3 }));
    let state = |id: &str| {
        let request = admin.get(&format!("/api/access-requests/{id}")).is(200);
        format!("{} {} {}", text(&request["state"]), request["lasts"], request["granted"])
    };
    let browser = Browser::of(&server, &admin);
    let (approve, deny) = ("/access/ticked/approve", "/access/ticked/deny");
    let once = ask(json!({ "reason": "this one", "for": { "method": "DELETE", "path": "/api/agents/scout" } }));
    let (first, second, third) = (of("agents.create"), of("agents.message"), of("agents.lifecycle"));
    let none = browser.submit("/access", approve, &[]);
    assert!(none.status() == 400 && none.text().contains("Nothing is ticked."), "{}", none.text());
    let ticked = [("request", first.as_str()), ("request", &once), ("request", &first)];
    leads_to(&browser.submit("/access", approve, &ticked), "/access?done=approved-all");
    assert_eq!(state(&first), "approved \"hours\" [\"agents.create\"]");
    assert_eq!(state(&once), "approved \"once\" [\"agents.delete\"]");
    assert_eq!((state(&second).as_str(), state(&third).as_str()), ("open null null", "open null null"));

    // Another one is decided meanwhile, one is not there, and the filters of the list stay.
    let html = browser.page("/access?q=ticket&state=open");
    admin.post(&format!("/api/access-requests/{second}/approve"), &json!({ "hours": 1 })).is(200);
    let ticked = [("request", second.as_str()), ("request", &third), ("request", "acc_none")];
    let path = "/access/ticked/deny?q=ticket&state=open";
    let csrf = tests::browser::hidden(&html, "csrf");
    let fields: Vec<(&str, &str)> = [("csrf", csrf.as_str())].into_iter().chain(ticked).collect();
    let some = browser.post_from(browser.base_url(), path, &fields);
    let html = some.text();
    assert_eq!(some.status(), 409, "{html}");
    for part in [
        "1 of 3 requests are denied.",
        "scout, agents.message:",
        "already approved",
        "One:</b> This request does not exist",
        "value=\"ticket\"",
    ] {
        assert!(html.contains(part), "{part}: {html}");
    }
    assert_eq!(state(&third), "denied null null");
    assert_eq!(state(&second), "approved \"hours\" [\"agents.message\"]");

    // A deny of all, and who may not decide decides nothing.
    let (fourth, fifth) = (of("agents.logs"), of("agents.list"));
    let mia = server.user(&admin, "mia@example.com", "member");
    let other = Browser::of(&server, &mia);
    let csrf = tests::browser::hidden(&other.page("/access"), "csrf");
    let refused = other.post_from(other.base_url(), approve, &[("csrf", &csrf), ("request", &fourth)]);
    assert!(refused.status() == 409 && refused.text().contains("0 of 1 requests are approved."), "{}", refused.text());
    leads_to(
        &browser.submit("/access", deny, &[("request", fourth.as_str()), ("request", &fifth)]),
        "/access?done=denied-all",
    );
    assert_eq!((state(&fourth), state(&fifth)), ("denied null null".to_owned(), "denied null null".to_owned()));
    let told = server.number("SELECT count(*) FROM inbox WHERE kind = 'access_denied'");
    assert_eq!(told, 3);
}

/// R344: where one of several needs a fresh proof, the others are decided, and the form asks for the proof once for those that are left.
#[test]
fn several_requests_need_one_proof() {
    let (server, admin) = Server::with_admin();
    let wide: Vec<String> = {
        let scopes = admin.get("/api/scopes").is(200);
        let names = scopes["items"].as_array().or(scopes["scopes"].as_array()).cloned().unwrap_or_default();
        let names = names.iter().map(|one| text(&one["name"]).to_owned());
        names.filter(|name| name.starts_with("agents.") && !name.ends_with('*') && name != "agents.share").collect()
    };
    let ask = |name: &str, scope: Json| {
        let agent = server.agent(&admin, name, &["ui.notify"]).client;
        text(&agent.post("/api/access-requests", &json!({ "scope": scope, "reason": "all of it" })).is(201)["id"])
            .to_owned()
    };
    let wide: Vec<&String> = wide.iter().filter(|name| name.as_str() != "agents.stop_all").collect();
    let (one, two, small) = (ask("one", json!(wide)), ask("two", json!(wide)), ask("three", json!(["agents.read"])));
    age_proofs(&server);
    let browser = Browser::of(&server, &admin);
    let ticked = [("request", one.as_str()), ("request", &two), ("request", &small)];
    let asked = browser.submit("/access", "/access/ticked/approve", &ticked);
    let html = asked.text();
    assert_eq!(asked.status(), 403, "{html}");
    assert!(
        html.contains("Is it you?") && html.contains(&one) && html.contains(&two) && !html.contains(&small),
        "{html}"
    );
    let state = |id: &str| text(&admin.get(&format!("/api/access-requests/{id}")).is(200)["state"]).to_owned();
    assert_eq!([state(&one), state(&two), state(&small)], ["open", "open", "approved"]);
    let done = browser.submit_in(&html, "/access/ticked/approve", &[("proof_password", PASSWORD)]);
    leads_to(&done, "/access?done=approved-all");
    assert_eq!([state(&one), state(&two)], ["approved", "approved"]);
}

/// R263: no form of any page loses what was typed when the session has ended meanwhile.
#[test]
fn every_form_waits_for_its_person_when_their_session_has_ended() {
    let (server, admin) = Server::with_admin();
    let agent = server.agent(&admin, "scout", &["agents.read"]);
    agent.client.post("/api/access-requests", &json!({ "scope": ["agents.update"], "reason": "Work" })).is(201);
    let client = json!({ "name": "An app", "redirect_uris": ["https://app.example.com/back"] });
    let client = admin.post("/api/oauth/clients", &client).is(201);
    let service = admin.post("/api/resources", &json!({ "identifier": "https://crm.example.com" })).is(201);
    let more = [("clients", &client), ("resources", &service)]
        .map(|(list, made)| format!("/admin/{list}/{}", text(&made["id"])));
    let browser = Browser::new(&server);
    browser.sign_in("ada@example.com", PASSWORD, "/");
    let mut forms = Vec::new();
    for page in pages(&admin, &agent).into_iter().chain(more) {
        let answer = browser.get(&page);
        let html = answer.text();
        for way in ["method=\"post\" action=\"", " formaction=\""] {
            for rest in html.split(way).skip(1) {
                let action = rest.split('"').next().unwrap().to_owned();
                if !action.starts_with("/auth/") && !action.starts_with("/login") && action != "/logout" {
                    forms.push((html.clone(), action));
                }
            }
        }
    }
    forms.sort_by(|one, other| one.1.cmp(&other.1));
    forms.dedup_by(|one, other| one.1 == other.1);
    assert!(forms.len() > 25, "{forms:?}");
    server.execute("UPDATE credentials SET expires_at = unixepoch() * 1000 - 1 WHERE kind = 'session'");
    for (html, action) in &forms {
        let answer = browser.submit_in(
            html,
            action,
            &[("key", "TOKEN"), ("secret", "TOKEN"), ("probe", "desk"), ("session", "tok_1")],
        );
        let location = answer.header("location");
        let waits =
            ["/login?done=form-waits&", "/login?done=session-ended&"].iter().any(|way| location.starts_with(way));
        assert!(waits, "{action}: {} {location}", answer.status());
    }
}

/// R430: each form that ends something leads to a page that says where it may still be accepted, and since when nowhere; before that no page
/// promises anything.
#[test]
fn a_page_says_until_when_what_it_ended_may_be_accepted() {
    let server = Server::settings().variable("signing_key", KEY).start();
    let admin = server.bootstrap();
    let guard = server.plant_pat(&admin, "tokens.introspect");
    let max = server.user(&admin, "max@example.com", "member");
    let person = format!("/admin/users/{}", text(&max.get("/api/auth/whoami").is(200)["user_id"]));
    for name in ["scout", "desk", "front"] {
        server.agent(&admin, name, &["agents.read", "agents.list"]);
    }
    let scout = server.agent(&admin, "asking", &["agents.read"]).client;
    let asked = json!({ "scope": ["agents.update"], "reason": "For ticket 8812" });
    let asked = text(&scout.post("/api/access-requests", &asked).is(201)["id"]).to_owned();
    admin.post(&format!("/api/access-requests/{asked}/approve"), &json!({ "hours": 1 })).is(200);
    let pat = admin.post("/auth/tokens", &json!({ "name": "ci", "scope": ["agents.read"] })).is(201);
    let pat = format!("/tokens/{}/revoke", text(&pat["id"]));
    let browser = Browser::of(&server, &admin);
    // One guard that is not heard from again.
    guard.get("/auth/epochs?guard=cutoff&lease=60").is(200);
    let (revoke, approval) = (format!("{person}/end-sessions"), format!("/access/{asked}/revoke"));
    let (deactivate, change) = (format!("{person}/deactivate"), format!("{person}/change"));
    let (none, role) = ([].as_slice(), [("name", "Max"), ("role", "viewer")]);
    let forms = [
        ("/agents/scout", "/agents/scout/pause", none),
        ("/agents/scout", "/agents/scout/stop", none),
        (&person, &change, &role),
        ("/agents/desk/credentials", "/agents/desk/revoke", none),
        ("/agents/front", "/agents/front/archive", none),
        ("/access", &approval, none),
        ("/tokens", &pat, none),
        (&person, &revoke, none),
        (&person, &deactivate, none),
        ("/stop-all", "/stop-all", none),
    ];
    let waits = "1 guard not yet heard from: until ";
    for (page, form, fields) in forms {
        let done = browser.submit(page, form, fields);
        assert_eq!(done.status(), 303, "{form}: {}", done.text());
        let location = done.header("location").to_owned();
        assert!(location.contains("done=") && location.contains("&closure=cls_"), "{form}: {location}");
        let html = browser.page(&location);
        let said =
            html.split("class=\"note good\"").nth(1).and_then(|rest| rest.split("</div>").next()).unwrap_or_default();
        assert!(said.contains(waits) && said.contains("/receipt\">Signed receipt</a>"), "{form}: {html}");
        assert!(!html.contains("Nothing of "), "{form}: {html}");
        // By the address alone it is not said.
        assert!(!browser.page(&location).contains(waits), "{form}");
    }
}

/// R220: the page with a new token says since when the one before is not accepted, with its receipt, as a stop does; one that goes on for a
/// time is not said to have ended.
#[test]
fn a_new_token_says_since_when_the_one_before_is_refused() {
    let server = Server::settings().variable("signing_key", KEY).start();
    let admin = server.bootstrap();
    let mut before = server.agent(&admin, "scout", &["agents.read"]).client;
    let browser = Browser::of(&server, &admin);
    let (page, act) = ("/agents/scout/credentials", "/agents/scout/issue");
    let html = browser.submit(page, act, &[("may", "all"), ("grace", "0")]).text();
    before.get("/api/auth/whoami").refused(401, "token_revoked");
    before = server.with(&secret_in(&html));
    assert!(html.contains("Nothing of the token before it can be accepted anywhere since "), "{html}");
    let link = html.split("href=\"/closures/").nth(1).unwrap_or_else(|| panic!("no receipt: {html}"));
    let receipt = browser.get(&format!("/closures/{}", link.split('"').next().unwrap()));
    assert_eq!((receipt.status(), receipt.header("content-type")), (200, "application/jwt"), "{}", receipt.text());

    let html = browser.submit(page, act, &[("may", "all"), ("grace", "3600")]).text();
    before.get("/api/auth/whoami").is(200);
    assert!(html.contains("The one before it works on for the time that you chose."), "{html}");
    assert!(!html.contains("can be accepted anywhere") && !html.contains("/closures/"), "{html}");

    leads_to(&browser.submit(page, "/agents/scout/revoke", &[]), &format!("{page}?done=revoked"));
    let html = browser.submit(page, act, &[("may", "all")]).text();
    assert!(html.contains("It had none before.") && !html.contains("/closures/"), "{html}");
}

/// R187: a browser at an address that does not exist gets a page; programs, and what is theirs, get the envelope.
#[test]
fn an_unknown_address_is_a_page_for_browsers() {
    let (server, _) = Server::with_admin();
    let browser = Browser::new(&server);
    for path in ["/nothing", "/docs/agents/nothing", "/agents/scout/log/nothing", "/assets-of-nobody"] {
        let answer = browser.get(path);
        assert_eq!((answer.status(), answer.header("content-type")), (404, "text/html; charset=utf-8"), "{path}");
        has_policy(&answer);
        assert!(answer.text().contains("<h1>This page does not exist</h1>"), "{}", answer.text());
        server.nobody().get(path).refused(404, "not_found");
    }
    browser.get("/api/nothing").refused(404, "not_found");
    // R646: where a form is sent to leads to its page.
    for (path, page) in [("/auth/login", "/login"), ("/logout", "/"), ("/login/link", "/login")] {
        leads_to(&browser.get(path), page);
        server.nobody().get(path).refused(405, "method_not_allowed");
    }
    let style = browser.page("/login");
    assert!(style.contains("/assets/"));
    assert_eq!(browser.get("/assets/0/style.css").status(), 200, "the style of the page");
}

/// R473: an address that is a page's but for its slashes leads there, with its query; nobody is led to another site.
#[test]
fn an_address_with_slashes_too_many_leads_to_its_page() {
    let (server, _) = Server::with_admin();
    let browser = Browser::new(&server);
    for (path, page) in [
        ("/agents/", "/agents"),
        ("/agents/scout/", "/agents/scout"),
        ("/login/?next=%2Fagents", "/login?next=%2Fagents"),
        ("/forgot/", "/forgot"),
        ("/admin", "/admin/users"),
        ("/admin/", "/admin/users"),
        ("/admin/users/?q=a%20b", "/admin/users?q=a%20b"),
        ("/auth/email/verify/?code=x", "/auth/email/verify?code=x"),
        ("/docs/agents/cli/", "/docs/agents/cli"),
    ] {
        leads_to(&browser.get(path), page);
    }
    for path in ["/nothing/", "//evil.example/", "/admin/nothing/", "/logout/"] {
        assert_eq!(browser.get(path).status(), 404, "{path}");
    }
    server.nobody().get("/agents/").refused(404, "not_found");
}

/// R475: a person that signs out by a page of an earlier session is asked once more, and is not left to believe that they are signed out; a form for
/// signing in that was sent at another address than the operator's says so, and one without its cookie says what may be missing.
#[test]
fn a_form_of_an_earlier_session_says_how_things_stand() {
    let (server, _) = Server::with_admin();
    let browser = Browser::new(&server);
    browser.sign_in("ada@example.com", PASSWORD, "/");
    let before = browser.page("/agents");
    leads_to(&browser.submit("/", "/logout", &[]), "/login?done=signed-out");
    browser.sign_in("ada@example.com", PASSWORD, "/");
    let asked = browser.submit_in(&before, "/logout", &[]);
    assert_eq!(asked.status(), 403);
    has_policy(&asked);
    let html = asked.text();
    assert!(html.contains("<h1>Sign out?</h1>") && html.contains("you are still signed in"), "{html}");
    assert_eq!(browser.get("/agents").status(), 200, "nothing was ended");
    leads_to(&browser.submit_in(&html, "/logout", &[]), "/login?done=signed-out");
    leads_to(&browser.get("/agents"), "/login?next=%2Fagents");

    let stranger = Browser::new(&server);
    let typed = [("email", "ada@example.com"), ("password", PASSWORD), ("csrf", "x")];
    let html = stranger.post_from(stranger.base_url(), "/auth/login", &typed).text();
    assert!(html.contains("Send it once more. If this comes again, let this browser keep the cookies"), "{html}");

    let server = Server::settings().variable("public_url", "https://accredit.example.com/a").start();
    server.bootstrap();
    let browser = Browser::new(&server);
    let html = browser.post_from(browser.base_url(), "/auth/login", &typed).text();
    assert!(html.contains("by another address than https://accredit.example.com."), "{html}");
    assert!(html.contains("Open https://accredit.example.com/a/ and sign in there."), "{html}");
    let html = browser.post_from("null", "/auth/login", &typed).text();
    assert!(html.contains("This form was out of date."), "{html}");
}

/// R243: a browser in which somebody else signs in leaves no session behind; one's own goes on. A visitor who is signed in is not asked to sign in.
#[test]
fn who_signs_in_after_another_ends_the_others_session() {
    let (server, admin) = Server::with_admin();
    admin.post("/api/users", &json!({ "email": "eve@example.com", "name": "Eve", "role": "member" })).is(201);
    let eve = server.texts("SELECT id FROM users WHERE email = 'eve@example.com'").remove(0);
    admin.post(&format!("/api/users/{eve}/set-password"), &json!({ "password": PASSWORD })).is(204);
    let browser = Browser::new(&server);
    let session = |browser: &Browser| server.with(&browser.cookie("accredit").unwrap());
    browser.sign_in("ada@example.com", PASSWORD, "/agents");
    let first = session(&browser);
    leads_to(&browser.get("/login"), "/");
    // Also in another tab, which waits at the form; but for somebody who means to sign in as another person.
    leads_to(&browser.get("/login?next=%2Fagents%3Fq%3Da"), "/agents?q=a");
    leads_to(&browser.get("/login?next=%2F%2Fevil.example"), "/");
    assert_eq!(browser.get("/login?next=%2Fagents&tenant=main").status(), 200);
    browser.sign_in("ada@example.com", PASSWORD, "/agents");
    let second = session(&browser);
    first.get("/api/auth/whoami").is(200);
    browser.sign_in("eve@example.com", PASSWORD, "/agents");
    first.get("/api/auth/whoami").is(200);
    second.get("/api/auth/whoami").refused(401, "token_revoked");
    assert_eq!(session(&browser).get("/api/auth/whoami").is(200)["email"], "eve@example.com");
}

/// R186: what the address says was done is shown only after it was done, once.
#[test]
fn no_link_says_that_something_was_done() {
    let (server, admin) = Server::with_admin();
    let browser = Browser::of(&server, &admin);
    for path in ["/admin/users?done=deleted", "/security?done=password", "/login?done=password-set"] {
        let html = browser.page(path);
        assert!(!html.contains("role=\"status\"><b>"), "{path}: {html}");
    }
    // Nor does a sign-in on the way there.
    let other = Browser::new(&server);
    leads_to(&other.sign_in("ada@example.com", PASSWORD, "/security?done=password"), "/security?done=password");
    assert!(!other.page("/security?done=password").contains("Your password is changed"));
    let done = browser.submit("/security", "/profile/mails", &[("mail", "leaks")]);
    leads_to(&done, "/security?done=changed");
    // Another word than that of the form is none.
    assert!(!browser.page("/security?done=password").contains("Your password is changed"));
    leads_to(&browser.submit("/security", "/profile/mails", &[("mail", "leaks")]), "/security?done=changed");
    assert!(browser.page("/security?done=changed").contains("<b>Saved.</b>"));
    assert!(!browser.page("/security?done=changed").contains("<b>Saved.</b>"), "said once");
}

/// R185: a form that is not UTF-8 is refused as a page, and nothing of it is stored.
#[test]
fn a_form_that_is_not_utf_8_is_refused() {
    let (server, admin) = Server::with_admin();
    let browser = Browser::of(&server, &admin);
    let csrf = hidden(&browser.page("/register"), "csrf");
    let body = format!("csrf={csrf}&name=scout&description=%FF%FE");
    let headers = [("content-type", "application/x-www-form-urlencoded"), ("origin", browser.base_url())];
    let refused = browser.send("POST", "/register", &headers, Some(body.as_bytes()));
    assert_eq!((refused.status(), refused.header("content-type")), (400, "text/html; charset=utf-8"));
    has_policy(&refused);
    assert!(refused.text().contains("The form is not UTF-8."), "{}", refused.text());
    assert_eq!(server.number("SELECT count(*) FROM agents"), 0);
    server.nobody().form("/oauth/token", "grant_type=%FF").refused(400, "invalid_request");
}

/// R185: all wrong fields of a form are told at once, each beside its field, with what was typed kept.
#[test]
fn all_wrong_fields_are_told_at_once() {
    let (server, admin) = Server::with_admin();
    let browser = Browser::of(&server, &admin);
    for (page, form, typed, wrong) in [
        (
            "/admin/users",
            "/admin/users",
            [("name", ""), ("email", "nobody"), ("role", "king")],
            ["name", "email", "role"],
        ),
        (
            "/register",
            "/register",
            [("name", "///"), ("model", "a\u{202e}b"), ("days", "0")],
            ["name", "model", "days"],
        ),
        ("/tokens", "/tokens", [("name", " "), ("scope", "no.such"), ("days", "0")], ["name", "scope", "days"]),
    ] {
        let refused = browser.submit(page, form, &typed);
        is_page(&refused);
        let html = refused.text();
        for field in wrong {
            assert!(html.contains(&format!("id=\"wrong-{field}\"")), "{form} {field}: {} {html}", refused.status());
        }
    }
    let refused = admin.post("/api/users", &json!({ "email": "nobody", "name": "", "role": "king" }));
    let told = refused.refused(422, "validation_error");
    let fields: Vec<&str> = told["fields"].as_array().unwrap().iter().map(|one| text(&one["field"])).collect();
    assert_eq!(fields, ["name", "email", "role"]);
    // A single one is refused as it always was.
    admin.post("/api/users", &json!({ "email": "nobody", "name": "N" })).refused(400, "invalid_email");
}

/// R185: routes that take several texts, lists and names say at once all that is wrong, and keep nothing of it.
#[test]
fn all_wrong_values_of_a_body_are_told_at_once() {
    let (server, admin) = Server::with_admin();
    let scout = server.agent(&admin, "scout", &["ui.notify"]).client;
    let page = json!({ "name": "Big", "title": "", "text": "a\u{202e}b" });
    for (who, method, path, body, wrong) in [
        (
            &admin,
            "POST",
            "/api/resources",
            json!({ "identifier": "nowhere", "name": "", "scopes": ["x.none"], "signing_alg": "none" }),
            vec!["identifier", "name", "signing_alg", "scopes"],
        ),
        (
            &admin,
            "PUT",
            "/api/presets/night",
            json!({ "scope": ["no.such"], "secrets": ["lower"], "probes": [""], "defaults": { "tier": 9 } }),
            vec!["scope", "secrets", "probes", "defaults"],
        ),
        (
            &admin,
            "PUT",
            "/api/guides/app:crm",
            json!({ "pages": [{ "name": "one", "title": "T", "text": "t" }, page, { "name": "one", "title": "T", "text": 1 }] }),
            vec!["pages[1].name", "pages[1].title", "pages[1].text", "pages[2].text"],
        ),
        (
            &scout,
            "POST",
            "/api/ui/notify",
            json!({ "title": "", "body": "", "priority": "urgent", "app_origin": "", "action_url": "javascript:1" }),
            vec!["title", "body", "priority", "app_origin", "action_url"],
        ),
    ] {
        let told = who.call(method, path, &[], Some(body.to_string().as_bytes())).refused(422, "validation_error");
        let fields: Vec<&str> = told["fields"].as_array().unwrap().iter().map(|one| text(&one["field"])).collect();
        assert_eq!(fields, wrong, "{path}: {told}");
    }
    for table in ["resources", "presets", "guides", "notifications"] {
        assert_eq!(server.number(&format!("SELECT count(*) FROM {table}")), 0, "{table}");
    }
}

/// R184: an admin changes a person's address and deletes a person on their page, which says what ends; agents are archived or given away.
#[test]
fn a_person_is_readdressed_and_deleted_by_forms() {
    let (server, admin) = Server::with_admin();
    let eve = server.user(&admin, "eve@example.com", "member");
    let max = server.user(&admin, "max@example.com", "member");
    server.agent(&eve, "scout", &["agents.read"]);
    let browser = Browser::of(&server, &admin);
    let id = |email: &str| text(&admin.get(&format!("/api/users?q={email}")).is(200)["items"][0]["id"]).to_owned();
    let page = format!("/admin/users/{}", id("eve@"));
    let refused = browser.submit(&page, &format!("{page}/address"), &[("email", "max@example.com")]);
    assert!(refused.status() == 409 && refused.text().contains("id=\"wrong-email\""), "{}", refused.text());
    let done = browser.submit(&page, &format!("{page}/address"), &[("email", "eva@example.com")]);
    leads_to(&done, &format!("{page}?done=address-changed"));
    leads_to(&Browser::new(&server).sign_in("eva@example.com", PASSWORD, "/"), "/");

    let html = browser.page(&page);
    assert!(html.contains("Nobody can bring it back") && html.contains("Their agents: 1"), "{html}");
    let form = format!("{page}/delete");
    let nobody = [("agents", "transfer"), ("to", "nobody@example.com")];
    let refused = browser.submit_in(&html, &form, &nobody);
    is_page(&refused);
    assert!(refused.status() == 404 && refused.text().contains("id=\"wrong-to\""), "{}", refused.text());
    assert!(refused.text().contains("value=\"nobody@example.com\""), "{}", refused.text());
    // R603: an admin who names a new owner does not mean to archive the agents.
    let unclear = browser.submit_in(&html, &form, &[("agents", "archive"), ("to", "max@example.com")]);
    assert!(unclear.status() == 400 && unclear.text().contains("Nobody was deleted."), "{}", unclear.text());
    let given = browser.submit_in(&html, &form, &[("agents", "transfer"), ("to", "max@example.com")]);
    leads_to(&given, "/admin/users?done=person-deleted");
    eve.get("/api/auth/whoami").refused(401, "token_revoked");
    assert_eq!(text(&admin.get("/api/agents/scout").is(200)["owner"]["email"]), "max@example.com");
    // Archived, without a choice of another one.
    let page = format!("/admin/users/{}", id("max@"));
    leads_to(
        &browser.submit(&page, &format!("{page}/delete"), &[("agents", "archive")]),
        "/admin/users?done=person-deleted",
    );
    max.get("/api/auth/whoami").refused(401, "token_revoked");
    admin.get("/api/agents/scout").refused(404, "agent_not_found");
    // One's own page offers no end.
    let own = browser.page(&format!("/admin/users/{}", id("ada@")));
    assert!(!own.contains("/delete\""), "{own}");
}

/// R104: the page of a device's code does not ask again by itself: that would use the look-ups of its person up.
#[test]
fn the_page_of_a_device_has_no_stream() {
    let (server, admin) = Server::with_admin();
    let browser = Browser::of(&server, &admin);
    assert!(browser.page("/tokens").contains("data-stream="));
    assert!(!browser.page("/device").contains("data-stream="));
}

/// R276: a place of a list that is stale, cut, of other filters or of another person leads to the first page, with the filters kept.
#[test]
fn a_foreign_place_of_a_list_leads_to_its_start() {
    let (server, admin) = Server::with_admin();
    let agent = server.agent(&admin, "scout", &["agents.read"]);
    for number in 0..30 {
        let email = format!("p{number}@example.com");
        admin.post("/api/users", &json!({ "email": email, "name": "Pat", "role": "member", "invite": false })).is(201);
    }
    let browser = Browser::of(&server, &admin);
    let first = browser.page("/admin/users?role=member");
    let next = first.split("cursor=").nth(1).and_then(|rest| rest.split('"').next()).unwrap_or_default();
    assert!(browser.page(&format!("/admin/users?role=member&cursor={next}")).contains("First page"));
    let name = &agent.name;
    for cursor in [next, "abc", "%00"] {
        for list in [
            "/agents?q=o",
            "/access?state=denied",
            "/tokens?status=all",
            "/notifications?show=unread",
            "/guides?source=app%3Acrm",
            "/security",
            "/archived",
            "/admin/users?role=viewer",
            "/admin/tokens?kind=pat",
            "/admin/clients?q=a",
            "/admin/resources?q=a",
            "/admin/webhooks?q=a",
            "/admin/audit?outcome=refused",
            &format!("/agents/{name}/credentials"),
            &format!("/agents/{name}/sharing"),
            &format!("/agents/{name}/history"),
        ] {
            let sign = if list.contains('?') { '&' } else { '?' };
            let answer = browser.get(&format!("{list}{sign}cursor={cursor}"));
            let start = format!("{list}{sign}done=from-the-start");
            leads_to(&answer, &start);
            let page = browser.page(&start);
            assert!(page.contains("here it is from the start") && !page.contains("cursor is"), "{page}");
        }
    }
}

/// R277: a wrong value in the address of a page is told in words for people, on a page that goes on.
#[test]
fn a_wrong_value_of_an_address_is_told_to_a_person() {
    let (server, admin) = Server::with_admin();
    let agent = server.agent(&admin, "scout", &["agents.read"]);
    let browser = Browser::of(&server, &admin);
    let name = &agent.name;
    let long = "x".repeat(300);
    for path in [
        "/agents?state=asleep".to_owned(),
        "/agents?sort=colour".to_owned(),
        "/agents?has_token=perhaps".to_owned(),
        format!("/agents?q={long}"),
        "/agents?owner=nobody%40example.com".to_owned(),
        "/agents?parent=nobody".to_owned(),
        "/access?state=lost".to_owned(),
        "/access?agent=nobody".to_owned(),
        "/tokens?status=lost".to_owned(),
        "/tokens?kind=lost".to_owned(),
        "/tokens?sort=colour".to_owned(),
        "/notifications?since=yesterday".to_owned(),
        format!("/notifications?q={long}"),
        format!("/guides?q={long}"),
        "/guides?source=a%20b".to_owned(),
        "/admin/users?role=king".to_owned(),
        "/admin/users?state=perhaps".to_owned(),
        "/admin/users?sort=colour".to_owned(),
        "/admin/tokens?user=nobody%40example.com".to_owned(),
        "/admin/tokens?unused_since=never".to_owned(),
        "/admin/tokens?kind=lost&status=lost".to_owned(),
        "/admin/clients?sort=colour".to_owned(),
        format!("/admin/resources?q={long}"),
        "/admin/webhooks?q=%E2%80%AE".to_owned(),
        "/admin/audit?since=yesterday".to_owned(),
        "/admin/audit?outcome=lost".to_owned(),
        "/admin/audit?actor=nobody%40example.com".to_owned(),
        "/admin/audit?object=%00".to_owned(),
        "/admin/audit/export?since=yesterday".to_owned(),
        format!("/agents/{name}/log?level=loud"),
        format!("/agents/{name}/log?until=yesterday"),
        format!("/agents/{name}/why?subject=nobody%40example.com&action=read"),
        format!("/agents/{name}/why?action=sing"),
        format!("/agents/{name}/key?key=lost"),
        "/device?user_code=lost".to_owned(),
        "/register?parent=nobody".to_owned(),
    ] {
        let answer = browser.get(&path);
        assert!([200, 400, 404, 422].contains(&answer.status()), "{path}: {} {}", answer.status(), answer.text());
        is_page(&answer);
        let page = answer.text();
        let told = page.split("<main").nth(1).unwrap_or_default();
        for words in [
            "RFC 3339",
            "Send ",
            "/api/",
            "GET ",
            "after trimming",
            "multi-line",
            "cursor",
            "parameter",
            "validation_error",
        ] {
            assert!(!told.contains(words), "{path} says {words}: {told}");
        }
        // It goes on: by the list itself, or by a link.
        assert!(told.contains("<form") || told.contains("class=\"button"), "{path}: {told}");
    }
}
