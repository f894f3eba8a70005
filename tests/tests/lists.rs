//! Lists: searched, filtered, sorted and paged on the server, over HTTP and on pages, whose address is their state.

use serde_json::{Value as Json, json};
use tests::{
    Answer, Client, Server,
    browser::{Browser, hidden, unescaped},
    server::text,
};

fn names(list: &Json, member: &str) -> Vec<String> {
    list["items"].as_array().into_iter().flatten().map(|item| text(&item[member]).to_owned()).collect()
}

fn filled(admin: &Client) {
    for (name, display) in [("beta", "Desk"), ("alpha", "Shop"), ("gamma", "Desk 2")] {
        admin.post("/api/agents", &json!({ "name": name, "display_name": display })).is(201);
        admin.post("/auth/tokens", &json!({ "name": format!("{name} laptop"), "scope": ["agents.read"] })).is(201);
        let uri = format!("https://{name}.example.com/cb");
        admin.post("/api/oauth/clients", &json!({ "name": display, "redirect_uris": [uri] })).is(201);
        let identifier = format!("https://{name}.example.com");
        admin.post("/api/resources", &json!({ "identifier": identifier, "name": display, "scopes": [] })).is(201);
        let url = format!("https://hooks.example.com/{name}");
        admin.post("/api/webhooks", &json!({ "url": url, "name": display })).is(201);
    }
}

/// Sends a form of a page: the fields are those of the form, as `name=value` with `&` between them.
fn send(browser: &Browser, page: &str, action: &str, fields: &str) -> Answer {
    let html = browser.page(page);
    let pairs = fields.split('&').filter_map(|field| field.split_once('='));
    let csrf = hidden(&html, "csrf");
    let mut sent = vec![("csrf", csrf.as_str())];
    sent.extend(pairs);
    browser.post_from(browser.base_url(), action, &sent)
}

fn started() -> (Server, Client) {
    let server = Server::settings()
        .variable("secrets_key", &"k".repeat(40))
        .variable("outbound_hosts", "hooks.example.com")
        .start();
    let admin = server.bootstrap();
    (server, admin)
}

/// R188: what has a name is found by a part of it and sorted by it, page by page.
#[test]
fn lists_are_searched_and_sorted() {
    let (server, admin) = started();
    filled(&admin);
    for (path, member) in [
        ("/api/agents", "display_name"),
        ("/api/oauth/clients", "name"),
        ("/api/resources", "name"),
        ("/api/webhooks", "name"),
    ] {
        let get = |query: &str| admin.get(&format!("{path}?{query}")).is(200);
        let mut found = names(&get("q=desk"), member);
        found.sort();
        assert_eq!(found, ["Desk", "Desk 2"], "{path}");
        assert_eq!(names(&get("q=%25"), member), [""; 0], "{path}");
        // Agents are sorted by their names, which are unique; the others by what people call them.
        let sorted = if path == "/api/agents" { ["Shop", "Desk", "Desk 2"] } else { ["Desk", "Desk 2", "Shop"] };
        let (mut seen, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = get(&format!("sort=name&limit=1{cursor}"));
            seen.extend(names(&page, member));
            let Some(next) = page["next_cursor"].as_str() else { break };
            cursor = format!("&cursor={next}");
        }
        assert_eq!(seen, sorted, "{path}");
        assert_eq!(names(&get("sort=created_at&limit=1"), member), ["Desk 2"], "{path}");
        admin.get(&format!("{path}?sort=size")).refused(400, "invalid_filter");
    }
    assert_eq!(names(&admin.get("/auth/tokens?q=ALPHA").is(200), "name"), ["alpha laptop"]);
    let any = admin.get("/auth/tokens?kind=any&q=alpha").is(200);
    let mut kinds = names(&any, "kind");
    kinds.sort();
    assert_eq!(kinds, ["agent_token", "pat"]);
    assert!(any["items"].as_array().unwrap().iter().any(|one| one["agent"] == "alpha"), "{any}");
    let prefix = text(&any["items"][0]["prefix"]).to_owned();
    assert_eq!(names(&admin.get(&format!("/auth/admin/tokens?q={prefix}")).is(200), "prefix"), [prefix]);
    admin.get("/auth/tokens?kind=session").refused(400, "invalid_filter");

    let agent = admin.post("/api/agents", &json!({ "name": "writer", "scope": ["agents.logs"] })).is(201);
    let writer = server.with(text(&agent["auth_token"]));
    for (level, line) in [("info", "one"), ("error", "two 100%"), ("error", "three")] {
        writer.post("/api/agents/writer/logs", &json!({ "level": level, "text": line })).is(201);
    }
    let log = |query: &str| {
        let log = admin.get(&format!("/api/agents/writer/logs?{query}")).is(200);
        let lines = log["lines"].as_array().cloned().unwrap_or_default();
        lines.iter().map(|line| text(&line["text"]).to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(log("level=error"), ["two 100%", "three"]);
    assert_eq!(log("q=0%25"), ["two 100%"]);
    assert_eq!(log("until=2020-01-01T00:00:00Z"), [""; 0]);
    // R431: also from page to page no line is left out, where many have one time.
    for part in 0..2 {
        let lines: Vec<_> = (0..100).map(|line| json!({ "text": format!("line {part} {line:02}.") })).collect();
        writer.post("/api/agents/writer/logs", &json!({ "lines": lines })).is(201);
    }
    server.execute("UPDATE agent_logs SET at = (SELECT max(at) FROM agent_logs)");
    let (browser, mut path, mut pages) = (Browser::of(&server, &admin), "/agents/writer/log".to_owned(), Vec::new());
    while pages.len() < 4 {
        let page = browser.page(&path);
        let older = page.split("<a class=\"button small end\" href=\"").nth(1).and_then(|rest| rest.split('"').next());
        let older = older.map(unescaped);
        pages.push(page);
        let Some(older) = older else { break };
        path = older;
    }
    assert_eq!(pages.len(), 3);
    for part in 0..2 {
        for line in 0..100 {
            let line = format!("line {part} {line:02}.");
            assert_eq!(pages.iter().filter(|page| page.contains(&line)).count(), 1, "{line}");
        }
    }
    admin.get("/api/agents/writer/logs?level=loud").refused(400, "invalid_filter");
}

/// R188: on each page the address is the state: a search and an order stay in the links, a filter that is refused is told above an empty
/// list with its status, and there is a way back.
#[test]
fn the_address_of_a_page_is_the_state_of_its_list() {
    let (server, admin) = started();
    filled(&admin);
    let browser = Browser::of(&server, &admin);
    admin.delete("/api/agents/gamma").is(204);
    for path in [
        "/agents",
        "/tokens",
        "/admin/users",
        "/admin/clients",
        "/admin/resources",
        "/admin/webhooks",
        "/admin/tokens",
        "/access",
        "/archived",
    ] {
        let page = browser.get(&format!("{path}?q=nothing-like-this&cursor="));
        assert_eq!(page.status(), 200, "{path}");
        let html = page.text();
        assert!(html.contains("value=\"nothing-like-this\"") && html.contains("matches"), "{path}: {html}");
        // Told once, above an empty list, with the status of the refusal.
        let page = browser.get(&format!("{path}?sort=size"));
        let html = page.text();
        assert_eq!((page.status(), html.matches("class=\"note bad\"").count()), (400, 1), "{path}: {html}");
        let stale = browser.get(&format!("{path}?cursor=x&q=a"));
        assert_eq!(stale.header("location"), format!("{path}?q=a&done=from-the-start"));
    }
    for path in [
        "/agents?state=asleep",
        "/tokens?status=gone",
        "/admin/users?role=king",
        "/admin/tokens?kind=x",
        "/admin/tokens?unused_since=x",
        "/access?state=x",
        "/notifications?since=x",
        "/admin/audit?outcome=x",
        "/admin/audit?until=x",
        "/agents/alpha/log?level=loud",
    ] {
        let page = browser.get(path);
        let html = page.text();
        assert_eq!((page.status(), html.matches("class=\"note bad\"").count()), (400, 1), "{path}: {html}");
        assert!(!html.contains("Send "), "{path}: {html}");
    }
    let html = browser.page("/agents?q=a&sort=created_at");
    assert!(html.contains("aria-sort=\"descending\"") && html.contains("href=\"/agents?q=a\""), "{html}");
    let html = browser.page("/tokens?sort=expires_at");
    assert!(html.contains("aria-sort=\"ascending\""), "{html}");
    // What the tile of the first page counts is what its list shows.
    let html = browser.page("/");
    assert!(html.contains("/tokens?status=expiring&amp;kind=any"), "{html}");
}

/// The items of all pages of a list, one on each.
fn all_of(client: &Client, path: &str, item: impl Fn(&Json) -> String) -> Vec<String> {
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = client.get(&format!("{path}&limit=1{cursor}")).is(200);
        seen.extend(page.get("items").and_then(Json::as_array).into_iter().flatten().map(&item));
        let Some(next) = page.get("next_cursor").and_then(Json::as_str) else { return seen };
        cursor = format!("&cursor={next}");
    }
}

/// R341: a filter of a person takes what lists show of people; a name only from those that are shown names.
#[test]
fn a_person_is_filtered_by_what_is_shown() {
    let (server, admin) = Server::with_admin();
    let max = server.user(&admin, "max@example.com", "member");
    let mia = server.user(&admin, "mia@example.com", "member");
    let id = text(&max.get("/api/auth/whoami").is(200)["user_id"]).to_owned();
    admin.patch(&format!("/api/users/{id}"), &json!({ "name": "Maximilian Weber" })).is(200);
    server.agent(&admin, "alpha", &["agents.read"]);
    for name in ["beta", "gamma"] {
        server.agent(&max, name, &["agents.read"]);
    }
    max.post("/api/agents/beta/grants", &json!({ "subject": "mia@example.com", "relation": "viewer" })).is(201);
    let owned = |client: &Client, owner: &str| {
        let mut names = names(&client.get(&format!("/api/agents?owner={owner}")).is(200), "name");
        names.sort();
        names
    };
    for owner in ["max", "MAX@example.com", "max%40example.com", &id, "weber", "%20Weber%20"] {
        assert_eq!(owned(&admin, owner), ["beta", "gamma"], "{owner}");
    }
    assert_eq!(owned(&admin, "example.com").len(), 3);
    assert_eq!(owned(&mia, "max"), ["beta"]);
    for (client, owner) in [(&mia, "weber"), (&admin, "nobody"), (&admin, "%25"), (&admin, "m_x"), (&admin, "usr_max")]
    {
        assert_eq!(owned(client, owner), [""; 0], "{owner}");
    }
    assert_eq!(owned(&admin, "").len(), 3, "nothing typed is no filter");
    for user in ["max", "weber", &id] {
        let tokens = admin.get(&format!("/auth/admin/tokens?user={user}")).is(200);
        let mut emails = names(&tokens, "user_email");
        emails.dedup();
        assert_eq!(emails, ["max@example.com"], "{user}");
    }
    // The trail: what a person and their agents did, and what was done to them. An agent that has the name is among them.
    let actors = |actor: &str| {
        let rows = admin.get(&format!("/api/audit?actor={actor}")).is(200);
        let rows = rows["items"].as_array().cloned().unwrap_or_default();
        let mut actors: Vec<String> =
            rows.iter().map(|row| format!("{} {}", row["actor"]["email"], row["actor"]["agent_name"])).collect();
        actors.dedup();
        actors
    };
    assert_eq!(actors("max"), ["\"max@example.com\" null"]);
    assert_eq!(actors("weber"), ["\"max@example.com\" null"]);
    assert_eq!(actors("nobody"), [""; 0]);
    let about = admin.get("/api/audit?object=max").is(200);
    let mut about = names(&about, "object_name");
    about.dedup();
    assert_eq!(about, ["max@example.com"]);
    let agent = server.agent(&admin, "max", &["agents.read", "ui.notify"]);
    agent.client.post("/api/access-requests", &json!({ "scope": ["agents.update"], "reason": "Why not" })).is(201);
    assert_eq!(actors("max"), ["\"ada@example.com\" \"max\"", "\"max@example.com\" null"]);
    // No agent is called so.
    assert_eq!(actors("Max"), ["\"max@example.com\" null"]);
    admin.get("/api/audit?actor=usr_max").refused(400, "invalid_filter");

    let browser = Browser::of(&server, &admin);
    for (page, one, other) in [
        ("/agents?owner=max", "beta", ">alpha<"),
        ("/admin/tokens?user=max", "max@example.com", "title=\"ada@example.com\" class"),
    ] {
        let html = browser.page(page);
        assert!(html.contains(one) && !html.contains(other), "{page}: {html}");
    }
}

/// R341: requests and archived agents are searched, filtered and sorted, page by page; cursors belong to their filters.
#[test]
fn requests_and_archived_agents_are_searched_and_sorted() {
    let (server, admin) = Server::with_admin();
    let max = server.user(&admin, "max@example.com", "member");
    let mia = server.user(&admin, "mia@example.com", "member");
    let mut ids = Vec::new();
    for (owner, name, scope, reason) in [
        (&admin, "beta", "agents.update", "to keep my text true"),
        (&max, "gamma", "agents.create", "100% of the desk"),
        (&max, "alpha", "agents.update", "for ticket 8812"),
    ] {
        let agent = server.agent(owner, name, &["agents.read"]);
        let asked = agent.client.post("/api/access-requests", &json!({ "scope": [scope], "reason": reason })).is(201);
        ids.push(text(&asked["id"]).to_owned());
        let more =
            agent.client.post("/api/access-requests", &json!({ "scope": ["agents.message"], "reason": "to say so" }));
        let path = format!("/api/access-requests/{}/deny", text(&more.is(201)["id"]));
        owner.post(&path, &json!({})).is(200);
    }
    let agent = |one: &Json| text(&one["agent"]["name"]).to_owned();
    let of = |client: &Client, query: &str| all_of(client, &format!("/api/access-requests?{query}"), agent);
    for (query, found) in [
        ("state=open", &["alpha", "gamma", "beta"][..]),
        ("state=open&sort=created_at", &["alpha", "gamma", "beta"]),
        ("state=open&sort=name", &["alpha", "beta", "gamma"]),
        ("sort=name", &["alpha", "alpha", "beta", "beta", "gamma", "gamma"]),
        ("state=decided&sort=name", &["alpha", "beta", "gamma"]),
        ("state=decided&q=agents.message", &["alpha", "gamma", "beta"]),
        ("q=ticket", &["alpha"]),
        ("q=%25", &["gamma"]),
        ("q=AGENTS.UPDATE&sort=name", &["alpha", "beta"]),
        ("q=gam&state=open", &["gamma"]),
        ("owner=max&state=open", &["alpha", "gamma"]),
        ("owner=max%40example.com&agent=gamma&state=open", &["gamma"]),
        ("owner=mia", &[]),
        ("agent=nobody", &[]),
    ] {
        assert_eq!(of(&admin, query), found, "{query}");
    }
    assert_eq!(of(&max, "sort=name"), ["alpha", "alpha", "gamma", "gamma"]);
    assert_eq!(of(&mia, "sort=name"), [""; 0]);
    // Of each agent the newest first.
    let alphas = admin.get("/api/access-requests?sort=name&limit=2").is(200);
    assert_eq!(names(&alphas, "state"), ["denied", "open"]);
    let cursor = text(&alphas["next_cursor"]).to_owned();
    for query in ["sort=created_at", "sort=name&q=a", "sort=name&owner=max", ""] {
        admin.get(&format!("/api/access-requests?{query}&cursor={cursor}")).refused(400, "invalid_cursor");
    }
    let words = [
        ("/api/access-requests?state=lost", "open, approved, denied, revoked, ended, spent, decided"),
        ("/api/access-requests?sort=size", "created_at, name"),
        ("/api/agents/archived?sort=created_at", "archived_at, name"),
    ];
    for (path, valid) in words {
        let refused = admin.get(path).refused(400, "invalid_filter");
        assert!(text(&refused["fix"]).contains(valid), "{refused}");
    }

    for (owner, name) in [(&max, "gamma"), (&admin, "beta"), (&max, "alpha")] {
        owner.delete(&format!("/api/agents/{name}")).is(204);
    }
    let name = |one: &Json| text(&one["name"]).to_owned();
    let archived = |client: &Client, query: &str| all_of(client, &format!("/api/agents/archived?{query}"), name);
    let gamma = text(&admin.get("/api/agents/archived?q=gamma").is(200)["items"][0]["id"]).to_owned();
    for (query, found) in [
        ("", &["alpha", "beta", "gamma"][..]),
        ("sort=archived_at", &["alpha", "beta", "gamma"]),
        ("sort=name", &["alpha", "beta", "gamma"]),
        ("q=ALPH", &["alpha"]),
        ("q=%25", &[]),
        (&format!("q={gamma}"), &["gamma"]),
        ("owner=max", &["alpha", "gamma"]),
        ("owner=ada%40example.com&sort=name", &["beta"]),
    ] {
        assert_eq!(archived(&admin, query), found, "{query}");
    }
    assert_eq!(archived(&max, "sort=name"), ["alpha", "gamma"]);
    assert_eq!(archived(&mia, "q=alpha"), [""; 0]);

    let browser = Browser::of(&server, &admin);
    let html = browser.page("/archived?owner=max&sort=name");
    assert!(html.contains(">gamma<") && !html.contains(">beta<") && html.contains("aria-sort=\"ascending\""), "{html}");
    // A purge leads back to the list that it was begun from.
    let confirm = browser.page(&format!("/archived/{gamma}?back=%2Farchived%3Fowner%3Dmax"));
    let purged = browser.submit_in(&confirm, &format!("/archived/{gamma}/purge"), &[]);
    assert_eq!(purged.header("location"), "/archived?owner=max&done=purged");
    assert!(
        !browser
            .page(&format!(
                "/archived/{}?back=https%3A%2F%2Fevil.example",
                text(&admin.get("/api/agents/archived").is(200)["items"][0]["id"])
            ))
            .contains("evil")
    );
    assert_eq!(browser.get("/archived?sort=size").status(), 400);
}

/// R341: mails are found by a part of the address that they go to.
#[test]
fn mails_are_found_by_their_recipient() {
    let server = Server::settings()
        .variable("mail_provider", "resend")
        .variable("mail_from", "no-reply@accredit.example")
        .variable("mail_token", "token")
        .start();
    let admin = server.bootstrap();
    for name in ["max", "mia"] {
        let email = format!("{name}@example.com");
        admin.post("/api/users", &json!({ "email": email, "name": name, "role": "member" })).is(201);
    }
    let found = |query: &str| {
        let mut found = names(&admin.get(&format!("/api/mail/outbox?{query}")).is(200), "recipient");
        found.sort();
        found
    };
    assert_eq!(found("q=MAX"), ["max@example.com"]);
    assert_eq!((found("q=example.com").len(), found("q=m%25x").len(), found("q=max&state=sent").len()), (2, 0, 0));
    let browser = Browser::of(&server, &admin);
    let html = browser.page("/admin/outbox?q=mia");
    assert!(html.contains(">mia@example.com<") && !html.contains(">max@example.com<"), "{html}");
    assert!(
        html.contains("href=\"/admin/outbox?q=mia&#38;state=sent\"")
            || html.contains("/admin/outbox?q=mia&amp;state=sent"),
        "{html}"
    );
}

/// The address of the link of a page that stands in this relation to it.
fn related(html: &str, relation: &str) -> Option<String> {
    let (_, rest) = html.split_once(&format!("rel=\"{relation}\" href=\""))?;
    Some(tests::browser::unescaped(rest.split('"').next()?))
}

/// R342: each page of a list leads to the one before it, and to the first one.
#[test]
fn each_page_of_a_list_leads_back() {
    let (server, admin) = Server::with_admin();
    for number in 0..45 {
        server.agent(&admin, &format!("agent-{number:02}"), &["agents.read"]);
    }
    let browser = Browser::of(&server, &admin);
    let mut pages = vec!["/agents?q=agent".to_owned()];
    while let Some(next) = related(&browser.page(pages.last().unwrap()), "next") {
        pages.push(next);
    }
    assert_eq!(pages.len(), 3, "{pages:?}");
    assert_eq!(related(&browser.page(&pages[0]), "prev"), None);
    for (page, before) in pages.iter().skip(1).zip(&pages) {
        let html = browser.page(page);
        assert_eq!(related(&html, "prev").as_ref(), Some(before));
        assert!(html.contains("<a class=\"button small\" href=\"/agents?q=agent\">First page</a>"), "{html}");
    }
    // A click on a page leads back to it.
    let back = tests::browser::hidden(&browser.page(&pages[2]), "back");
    assert_eq!(back, pages[2]);
    let stale = browser.get(&pages[2].replace("q=agent", "q=age"));
    assert_eq!(stale.header("location"), "/agents?q=age&done=from-the-start");
    // The parts of pages that are lists too: 45 rows of the trail are about one agent.
    for number in 0..60 {
        admin.patch("/api/agents/agent-00", &json!({ "description": format!("{number}") })).is(200);
    }
    let second = related(&browser.page("/agents/agent-00/history"), "next").unwrap();
    assert_eq!(related(&browser.page(&second), "prev").as_deref(), Some("/agents/agent-00/history"));
    for number in 0..20 {
        server.sign_in("ada@example.com", None).get("/api/auth/whoami").is(200);
        if number % 5 == 0 {
            server.execute("DELETE FROM attempts");
        }
    }
    let second = related(&browser.page("/security"), "next").unwrap();
    assert!(second.ends_with("#sessions"), "{second}");
    let html = browser.page(second.trim_end_matches("#sessions"));
    assert_eq!(related(&html, "prev").as_deref(), Some("/security#sessions"));
}

/// R189: the trail says names, also of what is gone.
#[test]
fn the_trail_says_names() {
    let (_server, admin) = started();
    admin.post("/api/agents", &json!({ "name": "scout" })).is(201);
    let made = admin.post("/auth/tokens", &json!({ "name": "laptop" })).is(201);
    admin.delete(&format!("/auth/tokens/{}", text(&made["id"]))).is(204);
    let trail = admin.get("/api/audit?outcome=done").is(200);
    let named: Vec<(String, String)> = trail["items"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|row| (text(&row["action"]).to_owned(), row["object_name"].as_str().unwrap_or_default().to_owned()))
        .collect();
    for (action, name) in [("token.revoke", "laptop"), ("token.create", "laptop"), ("agent.create", "scout")] {
        assert!(named.contains(&(action.to_owned(), name.to_owned())), "{named:?}");
    }
}

/// R190: a field that names what is not there says so beside itself, with what was typed kept.
#[test]
fn a_field_that_names_nothing_says_so() {
    let (server, admin) = started();
    filled(&admin);
    let service = text(&admin.get("/api/resources").is(200)["items"][0]["id"]).to_owned();
    let webhook = text(&admin.get("/api/webhooks").is(200)["items"][0]["id"]).to_owned();
    let browser = Browser::of(&server, &admin);
    let long = "which=all&agents=nobody-here&url=https://hooks.example.com/a&name=a";
    for (page, action, fields, field) in [
        ("/agents/alpha/settings", "/agents/alpha/settings", "form=owner&owner=nobody-here@example.com", "owner"),
        ("/agents/alpha/settings", "/agents/alpha/settings", "form=place&parent=nobody-here", "parent"),
        ("/agents/alpha/sharing", "/agents/alpha/share", "subject=nobody-here&relation=viewer", "subject"),
        ("/register", "/register", "name=new&parent=nobody-here&preset=worker", "parent"),
        ("/register", "/register", "name=new&preset=nobody-here", "preset"),
        (
            "/admin/resources",
            &format!("/admin/resources/{service}/change"),
            "name=a&introspectors=nobody-here",
            "introspectors",
        ),
        ("/admin/webhooks", &format!("/admin/webhooks/{webhook}/change"), long, "agents"),
        (
            "/agents/alpha/secrets",
            "/agents/alpha/new-probe",
            "name=a&url=https://elsewhere.example.com/&secret=A_B",
            "url",
        ),
        (
            "/agents/alpha/secrets",
            "/agents/alpha/new-probe",
            "name=a&url=https://hooks.example.com/&secret=A_B&expect_status=404",
            "expect_status",
        ),
        ("/agents/alpha/settings", "/agents/alpha/settings", "form=settings&compute={nobody-here", "compute"),
        (
            "/agents/alpha/credentials",
            "/agents/alpha/trust",
            "form=trust&may=all&name=a&issuer=nobody-here&subject=x",
            "issuer",
        ),
    ] {
        let answer = send(&browser, page, action, fields);
        let html = answer.text();
        assert!((400..500).contains(&answer.status()), "{action} {fields}: {} {html}", answer.status());
        assert!(html.contains(&format!("id=\"wrong-{field}\"")), "{action} {fields}: {html}");
        let is_kept = !fields.contains("nobody-here") || field == "preset" || html.contains("nobody-here");
        assert!(is_kept, "{action} {fields}: {html}");
    }
}

/// R191, R192: what an agent may touch and what its runtime gives it, probes with all of their fields, and workloads that it trusts, by
/// forms.
#[test]
fn an_agent_is_described_probed_and_trusted_by_forms() {
    let (server, admin) = started();
    admin.post("/api/agents", &json!({ "name": "alpha" })).is(201);
    let browser = Browser::of(&server, &admin);
    let described = "form=settings&access=The tickets.&compute={\"cpu\": 2}";
    assert_eq!(send(&browser, "/agents/alpha/settings", "/agents/alpha/settings", described).status(), 303);
    let agent = admin.get("/api/agents/alpha").is(200);
    assert_eq!((&agent["access"], &agent["compute"]), (&json!("The tickets."), &json!({ "cpu": 2 })));
    let html = browser.page("/agents/alpha");
    assert!(html.contains("The tickets.") && html.contains("<dt>Compute</dt>"), "{html}");
    assert_eq!(send(&browser, "/agents/alpha/settings", "/agents/alpha/settings", "form=settings").status(), 303);
    let agent = admin.get("/api/agents/alpha").is(200);
    assert_eq!((&agent["access"], &agent["compute"]), (&Json::Null, &Json::Null));

    for (fields, method, scheme, status) in [
        ("name=a&method=HEAD&scheme=token&expect_status=204", "HEAD", json!("token"), 204),
        ("name=b&method=GET&bare=yes", "GET", json!(""), 200),
        ("name=c&method=POST", "POST", json!("Bearer"), 200),
    ] {
        let fields = format!("{fields}&url=https://hooks.example.com/me&secret=A_B");
        assert_eq!(
            send(&browser, "/agents/alpha/secrets", "/agents/alpha/new-probe", &fields).status(),
            303,
            "{fields}"
        );
        let probes = admin.get("/api/agents/alpha/probes").is(200);
        let probe = probes["items"]
            .as_array()
            .unwrap()
            .iter()
            .find(|probe| fields.contains(&format!("name={}&", text(&probe["name"]))));
        let probe = probe.unwrap();
        assert_eq!((text(&probe["method"]), &probe["expect_status"]), (method, &json!(status)));
        assert!(probe["scheme"] == scheme || (scheme == "" && probe["scheme"].is_null()), "{probe}");
    }

    let trust = "form=trust&may=all&name=ci&issuer=https://hooks.example.com&subject=repo:acme/shop:*&claims=environment: production\
                 &audience=accredit&expires_in=600&single_use=yes";
    assert_eq!(send(&browser, "/agents/alpha/credentials", "/agents/alpha/trust", trust).status(), 303);
    let path = "/api/agents/alpha/federated-credentials";
    let made = admin.get(path).is(200)["items"][0].clone();
    assert_eq!(
        (&made["name"], &made["claims"], &made["single_use"], &made["expires_in"]),
        (&json!("ci"), &json!({ "environment": "production" }), &json!(true), &json!(600))
    );
    let html = browser.page("/agents/alpha/credentials");
    assert!(html.contains("repo:acme/shop:*") && html.contains(text(&made["id"])), "{html}");
    let again = send(&browser, "/agents/alpha/credentials", "/agents/alpha/trust", trust);
    assert!(again.text().contains("id=\"wrong-name\""), "{}", again.text());
    let ended = format!("key={}", text(&made["id"]));
    assert_eq!(send(&browser, "/agents/alpha/credentials", "/agents/alpha/untrust", &ended).status(), 303);
    assert_eq!(admin.get(path).is(200)["items"], json!([]));
}
