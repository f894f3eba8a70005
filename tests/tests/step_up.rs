//! A step up of people who have neither a password nor a second factor: they sign in again, and come back to the form that they sent.

#![expect(
    clippy::indexing_slicing,
    clippy::panic,
    reason = "helpers of tests: whatever is not as expected ends the test"
)]

use tests::{
    Server,
    browser::{Browser, hidden, is_page},
    server::{PASSWORD, text},
    sink::Sink,
    totp::age_proofs,
    until,
};

/// The path of the link in the mail with this number.
fn link(sink: &Sink, server: &Server, number: usize) -> String {
    let mail = until("a mail", || sink.received().get(number).cloned());
    let (base, told) = (server.host().base_url(), text(&mail.body["text"]));
    let at = told.find(&format!("{base}/auth/email/verify")).unwrap_or_else(|| panic!("no link in {told}"));
    told[at + base.len()..].split_whitespace().next().unwrap_or_default().to_owned()
}

/// An admin who signs in by mailed links alone.
fn stage() -> (Sink, Server, Browser) {
    let sink = Sink::new();
    let server = sink.mail("webhook").variable("secrets_key", &"k".repeat(40)).start();
    server.bootstrap();
    server.execute("UPDATE users SET password_hash = NULL");
    let browser = Browser::new(&server);
    let asked = browser.submit("/login", "/login/link", &[("email", "ada@example.com")]);
    assert_eq!(asked.header("location"), "/login?done=link-asked&next=%2F");
    let page = browser.page(&link(&sink, &server, 0));
    assert_eq!(browser.submit_in(&page, "/auth/email/verify", &[]).header("location"), "/");
    (sink, server, browser)
}

/// R182: a form that needs a fresh proof waits for a sign-in by mailed link. It comes back with what was typed but the password, does
/// nothing by itself, and goes on by its button, once.
#[test]
fn a_form_waits_for_a_mailed_link() {
    let (sink, server, browser) = stage();
    let created = [("email", "eve@example.com"), ("name", "Eve")];
    assert_eq!(
        browser.submit("/admin/users", "/admin/users", &created).header("location"),
        "/admin/users?done=invited"
    );
    until("the invitation", || sink.received().get(1).cloned());
    let eve = server.texts("SELECT id FROM users WHERE email LIKE 'eve%'").remove(0);
    let page = format!("/admin/users/{eve}");
    age_proofs(&server);
    for (act, typed) in [
        ("change", [("name", "Eve & \"Co\" <b>"), ("role", "admin")].as_slice()),
        ("password", [("password", "purple-otter-lamp-nine")].as_slice()),
    ] {
        let path = format!("{page}/{act}");
        let asked = browser.submit(&page, &path, typed);
        assert_eq!((asked.status(), asked.header("location")), (303, "/login/again"), "{}", asked.text());
        let ways = browser.get("/login/again");
        assert_eq!(ways.status(), 403);
        is_page(&ways);
        let html = ways.text();
        assert!(html.contains("ada@example.com") && html.contains("action=\"/login/link\""), "{html}");
        // No address and no mail holds what was typed.
        let before = sink.received().len();
        let sent = browser.submit_in(&html, "/login/link", &[]);
        assert_eq!(sent.header("location"), "/login/again?done=link-asked");
        assert!(browser.get("/login/again?done=link-asked").text().contains("a mail with a link is on its way"));
        let link = link(&sink, &server, before);
        assert!(link.ends_with("&next=%2Flogin%2Fagain"), "{link}");
        let opened = browser.page(&link);
        assert_eq!(browser.submit_in(&opened, "/auth/email/verify", &[]).header("location"), "/login/again");
        let html = browser.page("/login/again");
        assert!(html.contains("Nothing is done yet") && !html.contains("purple-otter"), "{html}");
        assert_eq!(server.number("SELECT count(*) FROM users WHERE role = 'admin'"), 1 + i64::from(act == "password"));
        if act == "change" {
            assert_eq!(hidden(&html, "name"), "Eve & \"Co\" <b>");
            assert!(html.contains("<dt>Role</dt><dd>admin</dd>") && !html.contains("<b>\""), "{html}");
        } else {
            assert!(html.contains("type=\"password\" name=\"password\""), "{html}");
        }
        let again: &[(&str, &str)] = if act == "change" { &[] } else { typed };
        let done = browser.submit_in(&html, &path, again);
        assert_eq!(done.header("location"), format!("{page}?done=changed"), "{}", done.text());
        // It was sent: nothing waits any more.
        assert_eq!(browser.get("/login/again").header("location"), "/");
        age_proofs(&server);
    }
    assert_eq!(server.texts("SELECT name FROM users WHERE role = 'admin' AND email LIKE 'eve%'"), ["Eve & \"Co\" <b>"]);
}

/// R182: what waits is shown to nobody else who uses the browser, ends with a sign-out, and cannot be made by an address.
#[test]
fn what_waits_is_of_one_person() {
    let (sink, server, browser) = stage();
    age_proofs(&server);
    let begin = || browser.submit("/security", "/security/begin", &[]).header("location").to_owned();
    assert_eq!(begin(), "/login/again");
    let kept = browser.cookie("accredit-kept");
    assert!(kept.is_some());
    browser.submit("/tokens", "/logout", &[]);
    assert!(browser.cookie("accredit-kept").is_none());
    assert_eq!(browser.get("/login/again?action=%2Fstop-all&fields=x").header("location"), "/");

    // Another person who signs in with the same browser, while it waits.
    let asked = browser.submit("/login", "/login/link", &[("email", "ada@example.com")]);
    assert_eq!(asked.status(), 303);
    let page = browser.page(&link(&sink, &server, 1));
    browser.submit_in(&page, "/auth/email/verify", &[]);
    age_proofs(&server);
    assert_eq!(begin(), "/login/again");
    let ada = server.with(&browser.cookie("accredit").unwrap_or_default());
    server.execute("UPDATE credentials SET proved_at = unixepoch() * 1000 WHERE kind = 'session'");
    server.user(&ada, "max@example.com", "member");
    browser.sign_in("max@example.com", PASSWORD, "/");
    assert!(browser.cookie("accredit-kept").is_some());
    let refused = browser.get("/login/again");
    assert_eq!((refused.status(), refused.header("location")), (303, "/"));
    assert!(browser.cookie("accredit-kept").is_none());
}

/// R182: what is too long for a browser to keep is typed again; the page says so before.
#[test]
fn what_is_too_long_is_typed_again() {
    let (sink, server, browser) = stage();
    age_proofs(&server);
    let long = "x".repeat(5_000);
    let typed = [("name", long.as_str()), ("scope", "*"), ("days", "never")];
    let asked = browser.submit("/tokens", "/tokens", &typed);
    // A name of this length is refused before anything is asked, or the form waits without it.
    if asked.status() == 303 {
        let html = browser.get("/login/again").text();
        assert!(html.contains("too long to be kept"), "{html}");
        let number = sink.received().len();
        browser.submit_in(&html, "/login/link", &[]);
        let opened = browser.page(&link(&sink, &server, number));
        browser.submit_in(&opened, "/auth/email/verify", &[]);
        assert_eq!(browser.get("/login/again").header("location"), "/");
    }
    assert_eq!(server.number("SELECT count(*) FROM credentials WHERE kind = 'pat'"), 0);
}
