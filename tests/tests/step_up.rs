//! A step up of people who have neither a password nor a second factor: they sign in again, and come back to the form that they sent.

#![expect(clippy::indexing_slicing, reason = "helpers of tests: whatever is not as expected ends the test")]

use tests::{
    Server,
    browser::{Browser, hidden, is_page},
    server::{PASSWORD, text},
    sink::Sink,
    totp::age_proofs,
    until,
};

/// The path of the first link to sign in in the mails from this number on: others tell people what has changed.
fn link(sink: &Sink, server: &Server, number: usize) -> String {
    let base = server.host().base_url();
    let link = |told: &str| {
        let at = told.find(&format!("{base}/auth/email/verify"))?;
        told[at + base.len()..].split_whitespace().next().map(str::to_owned)
    };
    until("a link", || sink.received().iter().skip(number).find_map(|mail| link(text(&mail.body["text"]))))
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
        let again = asked.header("location").to_owned();
        assert!(asked.status() == 303 && again.starts_with("/login/again?form="), "{}", asked.text());
        let ways = browser.get(&again);
        assert_eq!(ways.status(), 403);
        is_page(&ways);
        let html = ways.text();
        assert!(html.contains("ada@example.com") && html.contains("action=\"/login/link\""), "{html}");
        // No address and no mail holds what was typed.
        let before = sink.received().len();
        let sent = browser.submit_in(&html, "/login/link", &[]);
        assert_eq!(sent.header("location"), format!("{again}&done=link-asked"));
        assert!(browser.get(sent.header("location")).text().contains("a mail with a link is on its way"));
        let link = link(&sink, &server, before);
        assert!(link.contains("&next=%2Flogin%2Fagain%3Fform%3D"), "{link}");
        let opened = browser.page(&link);
        assert_eq!(browser.submit_in(&opened, "/auth/email/verify", &[]).header("location"), again);
        let html = browser.page(&again);
        assert!(html.contains("Nothing is done yet") && !html.contains("purple-otter"), "{html}");
        assert_eq!(server.number("SELECT count(*) FROM users WHERE role = 'admin'"), 1 + i64::from(act == "password"));
        if act == "change" {
            assert_eq!(hidden(&html, "name"), "Eve & \"Co\" <b>");
            assert!(html.contains("<dt>Role</dt><dd>admin</dd>") && !html.contains("<b>\""), "{html}");
        } else {
            assert!(html.contains("type=\"password\" name=\"password\""), "{html}");
        }
        let kept = again.replace("/login/again?form", "kept");
        let typed_again: &[(&str, &str)] = if act == "change" { &[] } else { typed };
        let done = browser.submit_in(&html, &format!("{path}?{kept}"), typed_again);
        assert_eq!(done.header("location"), format!("{page}?done=changed"), "{}", done.text());
        // It was sent: nothing waits any more.
        assert_eq!(browser.get(&again).header("location"), "/");
        assert!(!browser.has_cookie("accredit-kept"));
        age_proofs(&server);
    }
    assert_eq!(server.texts("SELECT name FROM users WHERE role = 'admin' AND email LIKE 'eve%'"), ["Eve & \"Co\" <b>"]);
}

/// R182: what waits is shown to nobody else who uses the browser, ends with a sign-out, and cannot be made by an address.
#[test]
fn what_waits_is_of_one_person() {
    let (sink, server, browser) = stage();
    age_proofs(&server);
    let begin = || {
        let to = browser.submit("/security", "/security/begin", &[]).header("location").to_owned();
        assert!(to.starts_with("/login/again?form="), "{to}");
        to
    };
    begin();
    assert!(browser.has_cookie("accredit-kept"));
    browser.submit("/tokens", "/logout", &[]);
    assert!(!browser.has_cookie("accredit-kept"));
    assert_eq!(browser.get("/login/again?action=%2Fstop-all&fields=x").header("location"), "/");

    // Another person who signs in with the same browser, while it waits.
    let asked = browser.submit("/login", "/login/link", &[("email", "ada@example.com")]);
    assert_eq!(asked.status(), 303);
    let page = browser.page(&link(&sink, &server, 1));
    browser.submit_in(&page, "/auth/email/verify", &[]);
    age_proofs(&server);
    let again = begin();
    let ada = server.with(&browser.cookie("accredit").unwrap_or_default());
    server.execute("UPDATE credentials SET proved_at = unixepoch() * 1000 WHERE kind = 'session'");
    server.user(&ada, "max@example.com", "member");
    browser.sign_in("max@example.com", PASSWORD, "/");
    assert!(browser.has_cookie("accredit-kept"));
    let refused = browser.get(&again);
    assert_eq!((refused.status(), refused.header("location")), (303, "/"));
    assert!(!browser.has_cookie("accredit-kept"));
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
        let again = asked.header("location").to_owned();
        let html = browser.get(&again).text();
        assert!(html.contains("too long to be kept"), "{html}");
        let number = sink.received().len();
        browser.submit_in(&html, "/login/link", &[]);
        let opened = browser.page(&link(&sink, &server, number));
        browser.submit_in(&opened, "/auth/email/verify", &[]);
        assert_eq!(browser.get(&again).header("location"), "/");
    }
    assert_eq!(server.number("SELECT count(*) FROM credentials WHERE kind = 'pat'"), 0);
}

/// Ends every session, as time does: a browser forgets its cookie then too.
fn end_sessions(server: &Server) {
    server.execute("UPDATE credentials SET expires_at = unixepoch() * 1000 - 1 WHERE kind = 'session'");
}

/// R263: what was typed when the session had ended is found again after the sign-in, of the same person alone, with no password; and nothing
/// is done before they say so.
#[test]
fn a_form_waits_for_its_person_when_their_session_has_ended() {
    let (server, admin) = Server::with_admin();
    server.user(&admin, "max@example.com", "admin");
    let browser = Browser::new(&server);
    browser.sign_in("ada@example.com", PASSWORD, "/");
    let (html, tab) = (browser.page("/admin/users"), browser.page("/admin/users"));
    let typed = [("email", "eve@example.com"), ("name", "Eve & \"Co\" <b>"), ("password", "purple-otter-lamp")];
    end_sessions(&server);
    let send = |html: &str, typed: &[(&str, &str)]| {
        browser.submit_in(html, "/admin/users", typed).header("location").to_owned()
    };
    let asked = send(&html, &typed);
    assert!(asked.starts_with("/login?done=form-waits&next=%2Flogin%2Fagain%3Fform%3D"), "{asked}");
    let page = browser.page(&asked);
    assert!(page.contains("what you typed is kept for 15 minutes"), "{page}");
    // Another tab with the same form: neither disturbs the other.
    let other = browser.page(&send(&tab, &[("email", "una@example.com"), ("name", "Una")]));
    let enter = |page: &str, email: &str| {
        let entered = browser.submit_in(page, "/auth/login", &[("email", email), ("password", PASSWORD)]);
        entered.header("location").to_owned()
    };
    for (page, email, name) in [(&page, "eve@example.com", "Eve & \"Co\" <b>"), (&other, "una@example.com", "Una")] {
        let again = enter(page, "ada@example.com");
        let html = browser.page(&again);
        assert!(html.contains("Nothing is done yet") && !html.contains("purple-otter"), "{html}");
        assert_eq!((hidden(&html, "email"), hidden(&html, "name")), (email.to_owned(), name.to_owned()));
        let added = format!("SELECT count(*) FROM users WHERE email = '{email}'");
        assert_eq!(server.number(&added), 0);
        let kept = again.replace("/login/again?form", "kept");
        let done = browser.submit_in(&html, &format!("/admin/users?{kept}"), &[]);
        assert_eq!((done.status(), server.number(&added)), (200, 1), "{}", done.text());
        assert_eq!(browser.get(&again).header("location"), "/");
    }

    // Somebody else, and somebody who has signed out.
    let html = browser.page("/admin/users");
    end_sessions(&server);
    let page = browser.page(&send(&html, &typed[..2]));
    let again = enter(&page, "max@example.com");
    assert!(again.starts_with("/login/again?form="), "{again}");
    assert_eq!(browser.get(&again).header("location"), "/");
    assert!(!browser.has_cookie("accredit-kept"));
    // The form is not one of the last session any more.
    end_sessions(&server);
    assert_eq!(send(&html, &typed[..2]), "/login?next=%2F");
    browser.sign_in("max@example.com", PASSWORD, "/");
    let html = browser.page("/admin/users");
    browser.submit("/security", "/logout", &[]);
    assert_eq!(browser.submit_in(&html, "/admin/users", &typed[..2]).header("location"), "/login?next=%2F");
    assert!(!browser.has_cookie("accredit-kept") && !browser.has_cookie("accredit-last"));
}

/// R263: a form of another site is not kept, and one in which nothing was typed leads back to its page, where its button says what it does.
#[test]
fn only_what_was_typed_on_our_own_page_waits() {
    let (server, admin) = Server::with_admin();
    server.agent(&admin, "scout", &["agents.read"]);
    let browser = Browser::new(&server);
    browser.sign_in("ada@example.com", PASSWORD, "/");
    let html = browser.page("/agents/scout");
    let csrf = hidden(&html, "csrf");
    end_sessions(&server);
    let typed = [("csrf", "another-token"), ("name", "Evil"), ("email", "eve@example.com")];
    let sent = browser.post_from("https://evil.example", "/admin/users", &typed);
    assert_eq!(sent.header("location"), "/login?next=%2F");
    assert!(!browser.has_cookie("accredit-kept"));
    let page = format!("{}/agents/scout?x=1", browser.base_url());
    let headers = [
        ("content-type", "application/x-www-form-urlencoded"),
        ("origin", browser.base_url()),
        ("referer", page.as_str()),
    ];
    let stopped = browser.send("POST", "/agents/scout/stop", &headers, Some(format!("csrf={csrf}").as_bytes()));
    assert_eq!(stopped.header("location"), "/login?done=session-ended&next=%2Fagents%2Fscout%3Fx%3D1");
    assert!(!browser.has_cookie("accredit-kept"));
}
