//! People of a second tenant: every mail and every redirect leads them to their own sign-in, and nobody else learns that there is one.

#![expect(clippy::indexing_slicing, reason = "helpers of tests: whatever is not as expected ends the test")]

use serde_json::{Value as Json, json};
use tests::{
    Client, Server,
    browser::Browser,
    server::{PASSWORD, text},
    sink::{Received, Sink},
    totp::Authenticator,
    until,
};

const NEW: &str = "a-quiet-orbit-of-nine";

/// The paths of all links in a mail, which are the same in text and HTML.
fn links(base: &str, mail: &Received) -> Vec<String> {
    let (told, html) = (text(&mail.body["text"]), text(&mail.body["html"]));
    let ends = |c: char| c.is_whitespace();
    let found: Vec<String> =
        told.split(base).skip(1).map(|rest| rest.split(ends).next().unwrap_or_default().to_owned()).collect();
    for link in &found {
        assert!(html.contains(&format!("href=\"{base}{}\"", link.replace('&', "&#38;"))), "{link} is not in {html}");
    }
    found
}

/// The next mail each time, which names the tenant as its people call it.
struct Mails<'a> {
    sink: &'a Sink,
    number: usize,
}

impl Mails<'_> {
    fn next(&mut self, what: &str) -> Received {
        let found = until(what, || self.sink.received().get(self.number).cloned());
        self.number += 1;
        for part in ["text", "html"] {
            let told = text(&found.body[part]);
            assert!(told.contains("Northwind Traders") && !told.contains("tenant northwind"), "{what}: {told}");
        }
        found
    }
}

/// The second tenant, whose name is not its slug.
fn northwind(server: &Server) -> Client {
    server.bootstrap();
    let admin = server.tenant("northwind");
    admin.patch("/api/tenant", &json!({ "name": "Northwind Traders" })).is(200);
    admin
}

/// Asserts that a person without a session comes from a link to the sign-in of the tenant.
fn lands(server: &Server, link: &str) {
    let stranger = Browser::new(server);
    let answer = stranger.get(link);
    if answer.status() == 200 {
        assert!(link.contains("tenant=northwind"), "{link}");
        return;
    }
    let login = answer.header("location").strip_prefix("/login?").unwrap_or_default().to_owned();
    assert!(answer.status() == 303 && login.contains("tenant=northwind"), "{link} leads to {login}");
    let html = stranger.page(&format!("/login?{login}"));
    assert!(html.contains("name=\"tenant\"") && html.contains("value=\"northwind\""), "{login}: {html}");
    // Somebody who only has an address learns no name.
    assert!(!html.contains("Northwind"), "{html}");
}

/// R183: what a mail's link leads to, and all that follows it, stays with the tenant of its reader.
#[test]
fn people_come_by_mail_to_their_own_tenant() {
    let sink = Sink::new();
    let server = sink.mail("webhook").start();
    let admin = northwind(&server);
    let base = server.host().base_url().to_owned();
    let mut mails = Mails { sink: &sink, number: 0 };
    let link = |mail: Received| {
        let [link] = links(&base, &mail).try_into().expect("one link");
        lands(&server, &link);
        link
    };

    // An invitation: the password is set, and the person is led to their own sign-in.
    admin.post("/api/users", &json!({ "email": "eve@northwind.example", "name": "Eve" })).is(201);
    let invited = link(mails.next("the invitation"));
    let browser = Browser::new(&server);
    let set = browser.submit(&invited, "/invite", &[("password", PASSWORD)]);
    assert_eq!(set.header("location"), "/login?done=password-set&tenant=northwind");
    let html = browser.page(set.header("location"));
    let typed = [("email", "eve@northwind.example"), ("password", PASSWORD), ("tenant", "northwind")];
    assert_eq!(browser.submit_in(&html, "/auth/login", &typed).header("location"), "/");
    // The browser knows the tenant from now on, by its name.
    let out = browser.submit("/security", "/logout", &[]);
    let html = browser.page(out.header("location"));
    assert!(html.contains("to Northwind Traders") && html.contains("value=\"northwind\""), "{html}");
    assert!(browser.page("/forgot").contains("value=\"northwind\""));
    assert!(browser.page(browser.get("/agents").header("location")).contains("value=\"northwind\""));
    // A code that is spent leads to where another one is asked for.
    let again = browser.get(&invited);
    assert_eq!(again.status(), 410);
    let again = again.text();
    for to in ["/login", "/forgot"] {
        assert!(again.contains(&format!("href=\"{to}?tenant=northwind\"")), "{again}");
    }

    // A forgotten password.
    let asked = Browser::new(&server);
    let typed = [("email", "eve@northwind.example"), ("tenant", "northwind")];
    let sent = asked.submit("/forgot", "/forgot", &typed);
    assert_eq!(sent.header("location"), "/login?done=reset-asked&tenant=northwind");
    let reset = link(mails.next("the reset"));
    let set = asked.submit(&reset, "/reset", &[("password", NEW)]);
    assert_eq!(set.header("location"), "/login?done=password-set&tenant=northwind");
    mails.next("the change of the password");

    // A link to sign in.
    let sent = Browser::new(&server).submit("/login", "/login/link", &typed);
    assert_eq!(sent.header("location"), "/login?done=link-asked&next=%2F&tenant=northwind");
    let one = link(mails.next("the link"));
    let browser = Browser::new(&server);
    assert_eq!(browser.submit(&one, "/auth/email/verify", &[]).header("location"), "/");
    let gone = Browser::new(&server);
    let spent = gone.get(&one).text();
    assert!(spent.contains("href=\"/login?tenant=northwind\""), "{spent}");
}

/// R183: each kind of mail names the tenant as its people call it, and each of its links leads a person without a session to that tenant's
/// own sign-in.
#[test]
fn every_mail_leads_to_the_tenant_of_its_reader() {
    let base = "https://accredit.example";
    let sink = Sink::new();
    let server = sink.mail("webhook").variable("secrets_key", &"k".repeat(40)).variable("public_url", base).start();
    let admin = northwind(&server);
    let mut mails = Mails { sink: &sink, number: 0 };
    let check = |mail: &Received| {
        let links = links(base, mail);
        assert!(!links.is_empty(), "{mail:?}");
        for link in &links {
            lands(&server, link);
        }
    };

    let eve = admin.post("/api/users", &json!({ "email": "eve@northwind.example", "name": "Eve" })).is(201);
    check(&mails.next("the invitation"));
    let ask = json!({ "email": "eve@northwind.example", "tenant": "northwind" });
    server.nobody().post("/auth/forgot", &ask).is(204);
    check(&mails.next("the reset"));
    server.nobody().post("/auth/email/link", &ask).is(204);
    check(&mails.next("the link"));
    let path = format!("/api/users/{}", text(&eve["id"]));
    // The first password changes none.
    for password in [NEW, PASSWORD] {
        admin.post(&format!("{path}/set-password"), &json!({ "password": password })).is(204);
    }
    check(&mails.next("the change of the password"));
    admin.patch(&path, &json!({ "role": "admin" })).is(200);
    check(&mails.next("the higher role"));
    admin.patch(&path, &json!({ "role": "member" })).is(200);
    check(&mails.next("the lower role"));
    let session = server.sign_in("eve@northwind.example", Some("northwind"));
    Authenticator::set_up(&server, &session);
    check(&mails.next("the new factor"));
    admin.delete(&format!("{path}/factor")).is(204);
    check(&mails.next("the removed factor"));
    admin.patch(&path, &json!({ "email": "eva@northwind.example" })).is(200);
    let mut told = ["the old address", "the new address"].map(|what| {
        let mail = mails.next(what);
        let words = text(&mail.body["text"]);
        assert!(words.contains("from eve@northwind.example to eva@northwind.example"), "{words}");
        check(&mail);
        text(&mail.body["to"]).to_owned()
    });
    told.sort();
    assert_eq!(told, ["eva@northwind.example", "eve@northwind.example"]);
    admin.post("/auth/email", &json!({ "email": "head@northwind.example" })).is(202);
    check(&mails.next("the new address"));
    let agent = server.agent(&admin, "scout", &["agents.list"]);
    agent.client.post("/api/access-requests", &json!({ "scope": ["agents.update"], "reason": "Why not" })).is(201);
    check(&mails.next("the access request"));
    server.nobody().post("/auth/leaks", &json!({ "token": agent.client.bearer() })).is(204);
    check(&mails.next("the leak"));
    for (kind, data) in [
        ("silent", json!({ "agent": "scout", "minutes": 5, "last_seen_at": "2026-01-02T03:04:05Z" })),
        ("identity_linked", json!({ "provider": "Acme SSO", "email": null })),
        ("expiring", json!({ "agent": "scout", "kind": "agent", "expires_at": "2026-01-02T03:04:05Z" })),
    ] {
        server.execute(&format!(
            "INSERT INTO outbox (id, tenant_id, user_id, kind, recipient, data, due_at, created_at)
             SELECT 'out_{kind}', tenant_id, id, '{kind}', email, '{data}', 0, 0 FROM users WHERE email LIKE 'admin@northwind%'"
        ));
        server.tick();
        check(&mails.next(kind));
    }
    admin.post("/api/mail/test", &json!({})).is(202);
    check(&mails.next("the test"));
    let kinds = "SELECT DISTINCT kind FROM outbox ORDER BY kind";
    assert_eq!(
        server.texts(kinds),
        [
            "access_request",
            "email_changed",
            "expiring",
            "factor_added",
            "factor_removed",
            "identity_linked",
            "invite",
            "leak",
            "link",
            "new_address",
            "password_changed",
            "reset",
            "role_lowered",
            "role_raised",
            "silent",
            "test"
        ],
        "every kind that there is"
    );
}

/// R183: the usual tenant is named on its sign-in page and in no address; an address that names a tenant which there is not looks as one
/// that there is.
#[test]
fn a_sign_in_page_tells_no_stranger_of_a_tenant() {
    let (server, admin) = Server::with_admin();
    admin.patch("/api/tenant", &json!({ "name": "Acme & Sons" })).is(200);
    server.tenant("northwind");
    let html = Browser::new(&server).page("/login");
    assert!(html.contains("to Acme &#38; Sons") || html.contains("to Acme &amp; Sons"), "{html}");
    let of = |slug: &str| {
        let html = Browser::new(&server).page(&format!("/login?tenant={slug}")).replace(slug, "X");
        let form = html.split("name=\"csrf\" value=\"").nth(1).and_then(|rest| rest.split_once('"'));
        form.map(|(_, rest)| rest.to_owned()).unwrap_or_else(|| panic!("{html}"))
    };
    assert_eq!(of("northwind"), of("southwind"));
    let known: Json = server.nobody().get("/auth/ways").is(200);
    assert_eq!((&known["tenant"], &known["name"]), (&json!("main"), &json!("Acme & Sons")));
    // Named all the same, the usual one is not another one.
    assert!(
        Browser::new(&server)
            .page("/login?tenant=main")
            .contains("spellcheck=\"false\" autocomplete=\"off\" value=\"\"")
    );
}
