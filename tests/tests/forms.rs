//! What every form of every page does, and every change by cookie.
//!
//! R29, R388: a change by cookie takes the token of its own session: at every route of the API in the header, and at every form of every page in
//! the field `csrf` or in the header. Every form that changes something has the field.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "helpers of tests: whatever is not as expected ends the test"
)]

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value as Json, json};
use tests::{
    Answer, Client, Server,
    browser::{Browser, encoded, fields, hidden, is_page},
    host,
    server::{PASSWORD, text},
    sink::{Reply, Sink},
    until,
};

const JSON: &str = "application/json";
const FORM: &str = "application/x-www-form-urlencoded";

/// All rows of the tables that a change could touch, once nothing waits to be sent. What a use leaves behind is none: when a session was used,
/// and what was tried and refused, which comes into the trail when its minute has ended; nor who is sending.
fn state(server: &Server) -> BTreeMap<String, Vec<String>> {
    let waiting = "SELECT (SELECT count(*) FROM outbox WHERE state = 'due') + (SELECT count(*) FROM events)
                        + (SELECT count(*) FROM deliveries WHERE state = 'due')";
    server.until_number(waiting, 0);
    let tables = server.texts(
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'
         AND name NOT IN ('attempts', 'refusals', 'leases') AND name NOT LIKE '%_fts%'",
    );
    let rows = |table: &String| {
        let columns = server.texts(&format!(
            "SELECT name FROM pragma_table_info('{table}') WHERE name NOT LIKE 'last_used_%' AND name <> 'leased_until'"
        ));
        let done = if table == "audit" { "WHERE outcome = 'done'" } else { "" };
        let row = columns.iter().map(|name| format!("quote(\"{name}\")")).collect::<Vec<_>>().join(" || ' ' || ");
        server.texts(&format!("SELECT {row} FROM \"{table}\" {done} ORDER BY 1"))
    };
    tables.iter().map(|table| (table.clone(), rows(table))).collect()
}

/// A path that a pattern matches, of things that are not there.
fn example(pattern: &str) -> String {
    let segments = pattern.split('/').map(|segment| if segment.starts_with('{') { "none" } else { segment });
    segments.collect::<Vec<_>>().join("/")
}

/// The token of a session.
fn token(session: &Client) -> String {
    let cookie = format!("accredit={}", session.bearer());
    let whoami = session.nobody().call("GET", "/api/auth/whoami", &[("cookie", &cookie)], None).is(200);
    text(&whoami["csrf_token"]).to_owned()
}

/// R388: at every route of the API that changes something, a cookie counts with the token of its own session in the header, from this site;
/// nothing has happened without it.
#[test]
fn every_change_by_cookie_takes_the_token_of_its_session() {
    let (server, admin) = Server::with_admin();
    let eve = server.user(&admin, "eve@example.com", "admin");
    server.agent(&admin, "scout", &["agents.read"]);
    let second = server.sign_in("ada@example.com", None);
    let nobody = server.nobody();
    let own = nobody.base_url();
    let ask = |session: &Client, row: &Json, body: &str, more: &[(&str, &str)]| -> Answer {
        let cookie = format!("accredit={}", session.bearer());
        let media = row["content_type"].as_str().unwrap_or(JSON);
        let mut headers = vec![("cookie", cookie.as_str()), ("content-type", media)];
        headers.extend(more);
        nobody.call(text(&row["method"]), &example(text(&row["path"])), &headers, Some(body.as_bytes()))
    };
    let rows: Vec<Json> = server
        .routes()
        .into_iter()
        .filter(|row| row["method"] != "GET" && !row["audit"].is_null() && row["access"] != "public")
        .collect();
    assert!(rows.len() > 100, "every change: {}", rows.len());
    let tokens = [token(&admin), token(&second), token(&eve)];
    assert_eq!(tokens.iter().collect::<BTreeSet<_>>().len(), 3);
    let longer = format!("{}x", tokens[0]);
    let before = state(&server);
    for row in &rows {
        let what = format!("{} {}", row["method"], row["path"]);
        for wrong in ["", "x", &tokens[1], &tokens[2], &longer] {
            let mut headers = vec![("origin", own)];
            if !wrong.is_empty() {
                headers.push(("x-csrf-token", wrong));
            }
            let told = ask(&admin, row, "{}", &headers);
            assert_eq!(told.refused(403, "csrf_failed")["error"], "csrf_failed", "{what}");
        }
        for origin in ["https://evil.example", "null"] {
            let headers = [("origin", origin), ("x-csrf-token", tokens[0].as_str())];
            ask(&admin, row, "{}", &headers).refused(403, "csrf_failed");
        }
        // A field of JSON is none: another site's form could send it.
        ask(&admin, row, &json!({ "csrf": tokens[0] }).to_string(), &[("origin", own)]).refused(403, "csrf_failed");
    }
    assert_eq!(state(&server), before);
    for row in &rows {
        // Each in a session of its own: some end it.
        let session = server.sign_in("ada@example.com", None);
        let token = token(&session);
        let answer = ask(&session, row, "{}", &[("origin", own), ("x-csrf-token", &token)]);
        let body = answer.text();
        assert!(!body.contains("csrf_failed"), "{} {}: {body}", row["method"], row["path"]);
    }
    for action in ["agent.stop_all", "agent.start_all"] {
        let done = format!(
            "SELECT count(*) FROM audit WHERE outcome = 'done' AND object_id LIKE 'agt_%' AND action = '{action}'"
        );
        assert_eq!(server.number(&done), 1, "{action} went through");
    }
}

/// A form of a page that changes something.
struct Form {
    page: String,
    action: String,
    fields: Vec<(String, String)>,
    /// The names of the fields into which people type.
    typed: Vec<String>,
}

/// The forms of a page that change something, once for each address that a button sends them to. Each has the field.
fn forms(page: &str, html: &str) -> Vec<Form> {
    let value = |tag: &str, name: &str| {
        tag.split_once(&format!(" {name}=\"")).and_then(|(_, rest)| rest.split('"').next().map(str::to_owned))
    };
    let mut found = Vec::new();
    for form in html.split("<form").skip(1).filter_map(|rest| rest.split("</form>").next()) {
        let tag = form.split('>').next().unwrap_or_default();
        if !tag.contains("method=\"post\"") {
            continue;
        }
        assert!(!hidden(form, "csrf").is_empty() && form.matches("name=\"csrf\"").count() == 1, "{page}: {form}");
        let mut actions: Vec<String> =
            form.split(" formaction=\"").skip(1).filter_map(|rest| rest.split('"').next()).map(str::to_owned).collect();
        let own = value(tag, "action");
        actions.extend(own.clone());
        assert!(!actions.is_empty(), "{page}: {form}");
        let mut fields = match &own {
            Some(action) => fields(&format!("<form{form}"), action, ""),
            None => vec![("csrf".to_owned(), hidden(form, "csrf")), ("once".to_owned(), hidden(form, "once"))],
        };
        // What its first button says.
        let button = form.split("<button").nth(1).and_then(|rest| rest.split('>').next()).unwrap_or_default();
        fields.extend(value(button, "name").zip(value(button, "value")));
        // A form of settings that does not say what it showed has changed it all.
        fields.retain(|(name, _)| name != "shown");
        let fields_of_text = form.split('<').filter(|tag| {
            tag.starts_with("textarea ")
                || tag.starts_with("input ")
                    && ["text", "password"].iter().any(|kind| tag.contains(&format!("type=\"{kind}\"")))
        });
        let typed: Vec<String> = fields_of_text
            .filter(|tag| !tag.contains(" hidden") && !tag.contains(" readonly"))
            .filter_map(|tag| value(tag, "name"))
            .collect();
        for action in actions {
            found.push(Form { page: page.to_owned(), action, fields: fields.clone(), typed: typed.clone() });
        }
    }
    found
}

/// What a form asks the API for nothing without.
fn also(action: &str) -> &[(&str, &str)] {
    match action {
        _ if action.ends_with("/set-secret") => &[("key", "TOKEN"), ("value", "one")],
        "/tokens" => &[("may", "all"), ("name", "laptop")],
        "/install" | "/register" => &[("name", "new-one")],
        "/admin/webhooks" => &[("which", "all")],
        "/device" | "/oauth/authorize" => &[("act", "deny")],
        "/auth/login" => &[("email", "ada@example.com"), ("password", PASSWORD)],
        "/login/link" | "/forgot" => &[("email", "ada@example.com")],
        "/leaks" => &[("token", "nothing")],
        _ => &[],
    }
}

/// Sends a form with this token in its field, or in the header.
fn send(browser: &Browser, form: &Form, field: &str, header: &str) -> Answer {
    let mut sent: Vec<(&str, &str)> = form
        .fields
        .iter()
        .filter(|(name, _)| name != "csrf")
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    sent.retain(|(name, _)| !also(&form.action).iter().any(|(known, _)| known == name));
    sent.extend(also(&form.action));
    if !field.is_empty() {
        sent.push(("csrf", field));
    }
    let body: Vec<String> = sent.iter().map(|(name, value)| format!("{name}={}", encoded(value))).collect();
    let mut headers = vec![("content-type", FORM), ("origin", browser.base_url())];
    if !header.is_empty() {
        headers.push(("x-csrf-token", header));
    }
    browser.send("POST", &form.action, &headers, Some(body.join("&").as_bytes()))
}

/// Whether a pattern of a path matches it.
fn is_of(pattern: &str, path: &str) -> bool {
    let (pattern, path): (Vec<&str>, Vec<&str>) =
        (pattern.split('/').collect(), path.split('?').next().unwrap_or_default().split('/').collect());
    pattern.len() == path.len()
        && pattern.iter().zip(path).all(|(pattern, part)| pattern.starts_with('{') || *pattern == part)
}

/// The patterns of pages that take a form.
fn patterns(server: &Server) -> Vec<String> {
    let listed = std::fs::read_to_string(host::root().join("docs/reference/routes.txt")).expect("the list of paths");
    let api: BTreeSet<String> = server.routes().iter().map(|row| text(&row["path"]).to_owned()).collect();
    let takes =
        |path: &&str| server.nobody().call("POST", &example(path), &[("accept", "text/html")], None).status() != 405;
    listed
        .lines()
        .filter(|path| !api.contains(*path) && !path.starts_with("/docs"))
        .filter(takes)
        .map(str::to_owned)
        .collect()
}

/// A tenant with something to change on every page; what mails lead to; and the pages.
fn world(sink: &Sink, server: &Server, admin: &Client) -> (Vec<String>, Vec<String>) {
    let scout = server.agent(admin, "scout", &["agents.read"]);
    let max = server.user(admin, "max@example.com", "member");
    let max = text(&max.get("/api/auth/whoami").is(200)["user_id"]).to_owned();
    let ask = |scope: &str| {
        let asked = scout.client.post("/api/access-requests", &json!({ "scope": [scope], "reason": "r" })).is(201);
        format!("/access/{}", text(&asked["id"]))
    };
    let request = ask("agents.create");
    admin.post("/api/agents", &json!({ "name": "old" })).is(201);
    admin.delete("/api/agents/old").is(204);
    let archived = text(&admin.get("/api/agents/archived").is(200)["items"][0]["id"]).to_owned();
    admin.post("/auth/tokens", &json!({ "name": "laptop" })).is(201);
    server.sign_in("ada@example.com", None);
    let callback = "https://planner.example.com/cb";
    let client = admin.post("/api/oauth/clients", &json!({ "name": "Planner", "redirect_uris": [callback] })).is(201);
    let client = text(&client["id"]).to_owned();
    admin.post("/api/scopes/custom", &json!({ "name": "x.crm.read", "description": "Read customers." })).is(201);
    let service = admin.post("/api/resources", &json!({ "identifier": "https://payments.example.com" })).is(201);
    let hook = format!("https://{}/hook", sink.address());
    let webhook = admin.post("/api/webhooks", &json!({ "url": hook })).is(201);
    server.execute(
        "INSERT INTO identities (id, user_id, issuer, subject, provider, email, created_at, last_used_at)
         SELECT 'idn_1', id, 'https://old.example', '1', 'old', 'a@old.example', 1, 1 FROM users WHERE email = 'ada@example.com'",
    );
    // A mail that is given up, to send again.
    sink.will(&[Reply::Status(400, "")]);
    server.nobody().post("/auth/forgot", &json!({ "email": "max@example.com" })).is(204);
    server.until_number("SELECT count(*) FROM outbox WHERE state = 'dead'", 1);
    let device = server.nobody().form("/auth/device/code", "name=notebook&client_id=cli").is(200);
    let pages: Vec<String> = ["/", "/agents", "/register", "/stop-all", "/access", "/tokens", "/tokens?new=1", "/security", "/notifications", "/install"]
        .into_iter()
        .chain(["/admin/users", "/admin/tenant", "/admin/tokens", "/admin/webhooks", "/admin/outbox", "/admin/clients", "/admin/resources", "/admin/presets", "/admin/presets/worker", "/admin/scopes"])
        .map(str::to_owned)
        .chain(["", "/credentials", "/secrets", "/sharing", "/log", "/settings"].map(|tab| format!("/agents/scout{tab}")))
        .chain([
            request,
            format!("/archived/{archived}"),
            format!("/admin/users/{max}"),
            format!("/admin/webhooks/{}", text(&webhook["id"])),
            format!("/admin/clients/{client}"),
            format!("/admin/resources/{}", text(&service["id"])),
            format!("/device?user_code={}", text(&device["user_code"])),
            format!(
                "/oauth/authorize?response_type=code&client_id={client}&redirect_uri={}&code_challenge={}&code_challenge_method=S256&scope=agents.read",
                encoded(callback),
                "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
            ),
            "/archived".to_owned(),
        ])
        .collect();
    // Pages of visitors without a session.
    let number = sink.received().len();
    server.agent(admin, "resting", &["agents.read"]);
    admin.post("/api/agents/resting/stop", &json!({})).is(200);
    for path in ["/auth/email/link", "/auth/forgot"] {
        server.nobody().post(path, &json!({ "email": "ada@example.com" })).is(204);
    }
    admin.post("/api/users", &json!({ "email": "ivy@example.com", "name": "Ivy" })).is(201);
    let base = server.host().base_url();
    let link = |of: &str| {
        let begin = format!("{base}{of}?code=");
        let found = |mail: &tests::sink::Received| {
            let told = mail.body["text"].as_str()?;
            let at = told.find(&begin)?;
            told[at + base.len()..].split_whitespace().next().map(str::to_owned)
        };
        until(of, || sink.received().iter().skip(number).find_map(found))
    };
    let mut doors = vec!["/login".to_owned(), "/forgot".to_owned(), "/leaks".to_owned()];
    doors.extend(["/auth/email/verify", "/reset", "/invite"].map(link));
    (pages, doors)
}

/// R388: every form of every page has its token in the field `csrf`; it goes with the token there, or in the header alone, and with no other.
#[test]
fn every_form_takes_the_token_of_its_session() {
    let sink = Sink::new();
    let server = sink
        .mail("webhook")
        .variable("secrets_key", &"k".repeat(40))
        .variable("outbound_hosts", &sink.address())
        .variable("oidc1", "preset=google client_id=one")
        .variable("oidc1_secret", "one")
        .start();
    let setup = Browser::new(&server);
    let mut all = forms("/setup", &setup.page("/setup"));
    let strange = Browser::new(&server);
    strange.page("/setup");
    let strange_token = strange.cookie("accredit-form").expect("a token");
    for (field, header) in [("", ""), (strange_token.as_str(), ""), ("", &strange_token)] {
        assert_eq!(send(&setup, &all[0], field, header).status(), 403);
    }
    let admin = server.bootstrap();
    let (pages, doors) = world(&sink, &server, &admin);
    let of_session = |session: &Client| (Browser::of(&server, session), token(session));
    let (browser, _) = of_session(&admin);
    for page in &pages {
        all.extend(forms(page, &browser.page(page)));
    }
    for page in &doors {
        all.extend(forms(page, &setup.page(page)));
    }
    // What a visitor ticks.
    let request = text(&admin.get("/api/access-requests").is(200)["items"][0]["id"]).to_owned();
    for form in all.iter_mut().filter(|form| form.action.starts_with("/access/ticked")) {
        form.fields.push(("request".to_owned(), request.clone()));
    }
    let known = patterns(&server);
    let covered = |pattern: &&String| all.iter().any(|form| is_of(pattern, &form.action));
    let missing: Vec<&String> = known.iter().filter(|pattern| !covered(pattern)).collect();
    assert_eq!(missing, [&"/login/factor".to_owned()], "its form is tried in pages.rs and factor.rs");
    assert!(known.len() > 30, "{known:?}");
    let mut once = BTreeSet::new();
    all.retain(|form| form.action != "/setup" && once.insert(form.action.clone()));
    // What takes things away comes last.
    let ends =
        ["delete", "purge", "archive", "deactivate", "logout", "stop", "end-", "/end", "unlink", "revoke", "deny"];
    all.sort_by_key(|form| ends.iter().any(|word| form.action.contains(word)));

    let is_door = |form: &Form| doors.contains(&form.page);
    let (second, eve) = (server.sign_in("ada@example.com", None), server.user(&admin, "eve@example.com", "admin"));
    let before = state(&server);
    let mut wrongs: Vec<String> = Vec::new();
    for form in &all {
        let (visitor, wrong) = match is_door(form) {
            true => (&setup, vec![String::new(), "A".repeat(24), strange_token.clone()]),
            false => (&browser, vec![String::new(), "x".to_owned(), token(&second), token(&eve)]),
        };
        for wrong in &wrong {
            for (field, header) in [(wrong.as_str(), ""), ("", wrong.as_str())] {
                let refused = send(visitor, form, field, header);
                let told = refused.text();
                let status = if form.action.contains("/ticked/") { 409 } else { 403 };
                // R475: who is still signed in is asked once more.
                let said = if form.action == "/logout" { "<h1>Sign out?</h1>" } else { "out of date" };
                if refused.status() != status || !told.contains(said) {
                    wrongs.push(format!(
                        "{} {wrong:?}: {} {}",
                        form.action,
                        refused.status(),
                        refused.header("location")
                    ));
                    continue;
                }
                is_page(&refused);
            }
        }
    }
    assert!(wrongs.is_empty(), "{wrongs:#?}");
    assert_eq!(state(&server), before);

    let mut done = 0;
    for (number, form) in all.iter().enumerate() {
        // What can be done once alone is done by each of the two in turn.
        for by_header in [number % 2 == 0, number % 2 != 0] {
            let (visitor, token) = if is_door(form) {
                let visitor = Browser::new(&server);
                visitor.page("/login");
                let token = visitor.cookie("accredit-form").expect("a token");
                (visitor, token)
            } else {
                of_session(&server.sign_in("ada@example.com", None))
            };
            let went = if by_header { send(&visitor, form, "", &token) } else { send(&visitor, form, &token, "") };
            let (status, told) = (went.status(), went.text());
            // No provider can be asked here.
            let may_fail = form.action.ends_with("/google/link");
            let is_taken = !told.contains("out of date") && (status < 500 || may_fail);
            assert!(is_taken, "{} {by_header}: {status} {told}", form.action);
            done += u32::from(matches!(status, 200 | 303));
        }
    }
    // The others go on to what the API says of their fields.
    assert!(done > 80, "{done} of {}", 2 * all.len());
}

/// Longer than any field takes.
const TOO_LONG: usize = 5_000;
/// Fields that no page shows again.
const SECRETS: [&str; 5] = ["password", "current", "new", "value", "token"];

/// R403: what is wrong in a form is told beside its field, on the page of the form, with all that was typed but what is secret.
#[test]
fn every_form_keeps_what_was_typed() {
    let sink = Sink::new();
    let server = sink
        .mail("webhook")
        .variable("secrets_key", &"k".repeat(40))
        .variable("outbound_hosts", &sink.address())
        .start();
    let setup = Browser::new(&server);
    let mut all = forms("/setup", &setup.page("/setup"));
    let mut wrong = Vec::new();
    let mut look = |visitor: &Browser, form: &Form| {
        let long = |name: &str| format!("typed-{name}-{}", "w".repeat(TOO_LONG));
        let mut sent: Vec<(String, String)> =
            form.fields.iter().filter(|(name, _)| !form.typed.contains(name) && name != "may").cloned().collect();
        sent.push(("may".to_owned(), "all".to_owned()));
        if !form.typed.iter().any(|name| name == "scope") {
            sent.push(("scope".to_owned(), "ui.notify".to_owned()));
        }
        sent.extend(form.typed.iter().map(|name| (name.clone(), long(name))));
        let sent: Vec<(&str, &str)> = sent.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let refused = visitor.post_from(visitor.base_url(), &form.action, &sent);
        let html = refused.text();
        if !(400..500).contains(&refused.status()) || !html.contains("aria-invalid=\"true\"") {
            wrong.push(format!(
                "{}: {} {} {:?}",
                form.action,
                refused.status(),
                refused.header("location"),
                form.typed
            ));
            return;
        }
        is_page(&refused);
        for name in &form.typed {
            let is_secret = SECRETS.contains(&name.as_str());
            if html.contains(&long(name)) == is_secret {
                wrong.push(format!("{}: {name} is {}", form.action, if is_secret { "shown" } else { "lost" }));
            }
        }
    };
    // With the right secret: a wrong one is all that is said.
    all[0].typed.retain(|name| name != "secret");
    all[0].fields.push(("secret".to_owned(), server.operator_secret().to_owned()));
    look(&setup, &all[0]);
    let admin = server.bootstrap();
    let (pages, doors) = world(&sink, &server, &admin);
    let browser = Browser::of(&server, &admin);
    for page in &pages {
        all.extend(forms(page, &browser.page(page)));
    }
    for page in &doors {
        all.extend(forms(page, &setup.page(page)));
    }
    let mut once = BTreeSet::new();
    all.retain(|form| {
        form.action != "/setup" && !form.typed.is_empty() && once.insert((form.action.clone(), form.typed.clone()))
    });
    for form in &all {
        look(if doors.contains(&form.page) { &setup } else { &browser }, form);
    }
    assert!(wrong.is_empty() && all.len() > 30, "{}: {wrong:#?}", all.len());
}
