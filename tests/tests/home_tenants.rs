//! People of a second tenant: every mail and every redirect leads them to their own sign-in, and nobody else learns that there is one.

#![expect(
    clippy::indexing_slicing,
    clippy::panic,
    reason = "helpers of tests: whatever is not as expected ends the test"
)]

use serde_json::{Value as Json, json};
use tests::{
    Server,
    browser::Browser,
    server::{PASSWORD, text},
    sink::{Received, Sink},
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

/// R183: each kind of mail names the tenant as its people call it, and each of its links leads a person without a session to that tenant's
/// own sign-in.
#[test]
fn every_mail_leads_to_the_tenant_of_its_reader() {
    let sink = Sink::new();
    let server = sink.mail("webhook").variable("secrets_key", &"k".repeat(40)).start();
    server.bootstrap();
    let admin = server.tenant("northwind");
    admin.patch("/api/tenant", &json!({ "name": "Northwind Traders" })).is(200);
    let base = server.host().base_url().to_owned();
    // One mail after the other, each told by what made it.
    let mut number = 0;
    let mut mail = |what: &str| {
        let found = until(what, || sink.received().get(number).cloned());
        number += 1;
        for part in ["text", "html"] {
            let told = text(&found.body[part]);
            assert!(told.contains("Northwind Traders") && !told.contains("tenant northwind"), "{what}: {told}");
        }
        found
    };
    let lands = |link: &str| {
        let stranger = Browser::new(&server);
        let answer = stranger.get(link);
        let login = if answer.status() == 303 { answer.header("location").to_owned() } else { link.to_owned() };
        assert!(login.contains("tenant=northwind"), "{link} leads to {login}");
        if answer.status() == 303 {
            let html = stranger.page(&login);
            assert!(html.contains("name=\"tenant\"") && html.contains("value=\"northwind\""), "{login}: {html}");
            // Somebody who only has an address learns no name.
            assert!(!html.contains("Northwind"), "{html}");
        }
    };
    let check = |mail: &Received| {
        let links = links(&base, mail);
        assert!(!links.is_empty(), "{mail:?}");
        for link in &links {
            lands(link);
        }
        links.into_iter().find(|link| link.contains("code="))
    };

    // An invitation: the password is set, and the person is led to their own sign-in.
    let eve = admin.post("/api/users", &json!({ "email": "eve@northwind.example", "name": "Eve" })).is(201);
    let link = check(&mail("the invitation")).unwrap_or_default();
    let browser = Browser::new(&server);
    let html = browser.page(&link);
    let set = browser.submit_in(&html, "/invite", &[("password", PASSWORD)]);
    assert_eq!(set.header("location"), "/login?done=password-set&tenant=northwind");
    let html = browser.page(set.header("location"));
    let typed = [("email", "eve@northwind.example"), ("password", PASSWORD), ("tenant", "northwind")];
    assert_eq!(browser.submit_in(&html, "/auth/login", &typed).header("location"), "/");
    // The browser knows the tenant from now on, by its name.
    let out = browser.submit("/security", "/logout", &[]);
    let html = browser.page(out.header("location"));
    assert!(html.contains("to Northwind Traders") && html.contains("value=\"northwind\""), "{html}");
    assert!(browser.page("/forgot").contains("value=\"northwind\""));
    assert!(browser.get("/agents").header("location").starts_with("/login?next="));
    // A code that is spent leads to where another one is asked for.
    let again = browser.submit_in(&browser.page(&link), "/invite", &[("password", NEW)]).text();
    assert!(again.contains("href=\"/login?tenant=northwind\""), "{again}");

    // A forgotten password.
    let asked = Browser::new(&server);
    let typed = [("email", "eve@northwind.example"), ("tenant", "northwind")];
    assert_eq!(
        asked.submit("/forgot", "/forgot", &typed).header("location"),
        "/login?done=reset-asked&tenant=northwind"
    );
    let link = check(&mail("the reset")).unwrap_or_default();
    let html = asked.page(&link);
    let set = asked.submit_in(&html, "/reset", &[("password", NEW)]);
    assert_eq!(set.header("location"), "/login?done=password-set&tenant=northwind");
    check(&mail("the change of the password"));

    // A link to sign in.
    let typed = [("email", "eve@northwind.example"), ("tenant", "northwind"), ("next", "/tokens")];
    let asked = Browser::new(&server).submit("/login", "/login/link", &typed);
    assert_eq!(asked.header("location"), "/login?done=link-asked&next=%2F&tenant=northwind");
    let link = check(&mail("the link")).unwrap_or_default();
    let browser = Browser::new(&server);
    let html = browser.page(&link);
    assert_eq!(browser.submit_in(&html, "/auth/email/verify", &[]).header("location"), "/");
    let gone = Browser::new(&server);
    let spent = gone.submit_in(&gone.page(&link), "/auth/email/verify", &[]).text();
    assert!(spent.contains("href=\"/login?tenant=northwind\""), "{spent}");

    // What tells of an account, of an agent or of a credential.
    let path = format!("/api/users/{}", text(&eve["id"]));
    admin.patch(&path, &json!({ "role": "admin" })).is(200);
    admin.patch(&path, &json!({ "role": "member" })).is(200);
    check(&mail("the lower role"));
    let now = "eva@northwind.example";
    admin.patch(&path, &json!({ "email": now })).is(200);
    let mut told: Vec<String> = ["the old address", "the new address"]
        .map(|what| {
            let mail = mail(what);
            let words = text(&mail.body["text"]).to_owned();
            assert!(words.contains("from eve@northwind.example to eva@northwind.example"), "{words}");
            check(&mail);
            text(&mail.body["to"]).to_owned()
        })
        .into();
    told.sort();
    assert_eq!(told, ["eva@northwind.example", "eve@northwind.example"]);
    let agent = server.agent(&admin, "scout", &["agents.list"]);
    agent.client.post("/api/access-requests", &json!({ "scope": ["agents.update"], "reason": "Why not" })).is(201);
    check(&mail("the access request"));
    server.nobody().post("/auth/leaks", &json!({ "token": agent.client.bearer() })).is(204);
    check(&mail("the leak"));
    admin.post("/api/mail/test", &json!({})).is(202);
    check(&mail("the test"));
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
            .contains("name=\"tenant\" autocomplete=\"organization\" value=\"\"")
    );
}
