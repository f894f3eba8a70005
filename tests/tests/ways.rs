//! Ways in by mail, over HTTP: from the request to the mail at a sink, to the page that its link leads to, and in.

#![expect(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "helpers of tests: whatever is not as expected ends the test"
)]

use std::time::{Duration, Instant};

use serde_json::{Value as Json, json};
use tests::{
    Answer, Client, Server, at_once,
    browser::{Browser, encoded},
    server::{PASSWORD, text},
    sink::{Received, Reply, Sink},
    totp::age_proofs,
    until,
};

const NEW: &str = "a-quiet-orbit-of-nine";

fn stage() -> (Sink, Server, Client) {
    let sink = Sink::new();
    let server = sink.mail("webhook").start();
    let admin = server.bootstrap();
    (sink, server, admin)
}

/// The next mail, which nobody ticks for.
fn mail(sink: &Sink, number: usize) -> Received {
    until("a mail", || sink.received().get(number).cloned())
}

/// The path of a mail's link, with its query.
fn link(server: &Server, mail: &Received) -> String {
    let base = server.host().base_url();
    let told = text(&mail.body["text"]);
    let at = told.find(&format!("{base}/")).unwrap_or_else(|| panic!("no link to {base} in {told}"));
    let link = told[at + base.len()..].split_whitespace().next().unwrap_or_default();
    assert!(text(&mail.body["html"]).contains(&link.replace('&', "&#38;")), "{mail:?}");
    link.to_owned()
}

fn code(link: &str) -> String {
    link.split_once("code=").unwrap().1.split('&').next().unwrap().to_owned()
}

/// R92, R95: a mailed link signs in once. It comes without a tick, right after the answer; opening its page spends nothing.
#[test]
fn a_mailed_link_signs_in_once_and_opening_it_spends_nothing() {
    let (sink, server, _) = stage();
    let nobody = server.nobody();
    nobody.post("/auth/email/link", &json!({ "email": "ADA@example.com", "next": "/agents" })).is(204);
    let mail = mail(&sink, 0);
    assert_eq!(
        (&mail.body["to"], &mail.body["subject"]),
        (&json!("ada@example.com"), &json!("Your link to sign in to Accredit"))
    );
    let link = link(&server, &mail);
    assert!(link.starts_with("/auth/email/verify?code=") && link.ends_with("&next=%2Fagents"), "{link}");
    // Scanners of mail open links, with HEAD and GET, and more than once.
    for method in ["HEAD", "GET", "GET"] {
        let page = nobody.call(method, &link, &[("accept", "text/html")], None);
        assert_eq!(
            (page.status(), page.header("referrer-policy"), page.header("cache-control")),
            (200, "strict-origin", "no-store")
        );
    }
    assert_eq!(server.number("SELECT count(*) FROM codes WHERE spent_at IS NULL"), 1);
    let code = code(&link);
    let statuses = at_once(16, |_| server.nobody().post("/auth/email/token", &json!({ "code": code })).status());
    assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 1, "{statuses:?}");
    nobody.post("/auth/email/token", &json!({ "code": code })).refused(400, "invalid_code");
    assert_eq!(server.number("SELECT count(*) FROM audit WHERE action = 'session.link'"), 1);
    // It is in no log and no row.
    assert!(!server.host().log().contains(&code));
    for table in ["codes", "audit", "outbox", "mail_requests", "idempotency", "refusals"] {
        let columns = server.texts(&format!(
            "SELECT group_concat('ifnull(' || name || ', '''')', ' || ') FROM pragma_table_info('{table}')"
        ));
        assert_eq!(
            server.number(&format!("SELECT count(*) FROM {table} WHERE instr({}, '{code}')", columns[0])),
            0,
            "{table}"
        );
    }
}

/// R92: a forgotten password. The mail comes at once, the link works once, and every session ends; then a mail says so.
#[test]
fn a_forgotten_password_is_set_anew_by_mail() {
    let (sink, server, admin) = stage();
    server.nobody().post("/auth/forgot", &json!({ "email": "ada@example.com" })).is(204);
    let link = link(&server, &mail(&sink, 0));
    assert!(link.starts_with("/reset?code="), "{link}");
    let body = json!({ "code": code(&link), "new": NEW });
    let second = server.second();
    let statuses = at_once(16, |number| {
        let at = if number % 2 == 0 { &server } else { &second };
        at.nobody().post("/auth/reset", &body).status()
    });
    assert_eq!(statuses.iter().filter(|status| **status == 204).count(), 1, "{statuses:?}");
    admin.get("/api/auth/whoami").refused(401, "token_revoked");
    server
        .nobody()
        .post("/auth/token", &json!({ "email": "ada@example.com", "password": PASSWORD }))
        .refused(401, "login_failed");
    server.nobody().post("/auth/token", &json!({ "email": "ada@example.com", "password": NEW })).is(200);
    let told = mail(&sink, 1);
    assert_eq!(told.body["subject"], "Your password was changed");
    assert!(text(&told.body["text"]).contains("from the address 127.0.0.1"), "{told:?}");
    assert_eq!(server.number("SELECT count(*) FROM audit WHERE action = 'user.reset_password'"), 1);
}

/// R23: the code of a reset sets a password and does nothing else: it signs nobody in, before or after. The code of a link sets none.
#[test]
fn a_reset_signs_nobody_in_and_a_link_sets_no_password() {
    let (sink, server, admin) = stage();
    let nobody = server.nobody();
    nobody.post("/auth/forgot", &json!({ "email": "ada@example.com" })).is(204);
    let reset = code(&link(&server, &mail(&sink, 0)));
    nobody.post("/auth/email/link", &json!({ "email": "ada@example.com" })).is(204);
    let sign_in = code(&link(&server, &mail(&sink, 1)));
    nobody.post("/auth/email/token", &json!({ "code": reset })).refused(400, "invalid_code");
    nobody.post("/auth/reset", &json!({ "code": sign_in, "new": NEW })).refused(400, "invalid_code");
    for other in [&reset, &sign_in] {
        nobody.post("/auth/invite", &json!({ "code": other, "password": NEW })).refused(400, "invalid_code");
    }
    nobody.post("/auth/reset", &json!({ "code": reset })).refused(422, "validation_error");
    nobody.post("/auth/reset", &json!({ "code": reset, "new": "short" })).refused(400, "weak_password");
    assert_eq!(server.number("SELECT count(*) FROM codes WHERE spent_at IS NOT NULL"), 0);
    admin.get("/api/auth/whoami").is(200);

    let done = nobody.post("/auth/reset", &json!({ "code": reset, "new": NEW }));
    assert_eq!((done.status(), done.text().as_str(), done.header("set-cookie")), (204, "", ""));
    let sessions = "SELECT count(*) FROM credentials WHERE kind = 'session' AND revoked_at IS NULL";
    assert_eq!(server.number(sessions), 0);
}

/// R92: an invitation by mail, and what ends it.
#[test]
fn an_invitation_is_mailed_and_ends_with_the_account() {
    let (sink, server, admin) = stage();
    let invite = |email: &str| {
        text(&admin.post("/api/users", &json!({ "email": email, "name": "<b>Eve</b>" })).is(201)["id"]).to_owned()
    };
    let eve = invite("eve@example.com");
    let sent = mail(&sink, 0);
    assert_eq!(
        (&sent.body["to"], &sent.body["subject"]),
        (&json!("eve@example.com"), &json!("You are invited to Accredit"))
    );
    assert!(!text(&sent.body["html"]).contains("<b>Eve"), "{sent:?}");
    let first = code(&link(&server, &sent));
    admin.post(&format!("/api/users/{eve}/deactivate"), &json!({})).is(200);
    let accept = |code: &str| server.nobody().post("/auth/invite", &json!({ "code": code, "password": NEW }));
    accept(&first).refused(400, "invalid_code");
    admin.post(&format!("/api/users/{eve}/activate"), &json!({})).is(200);
    accept(&first).refused(400, "invalid_code");
    let by_hand = text(&admin.post(&format!("/api/users/{eve}/invite"), &json!({})).is(200)["url"]).to_owned();
    accept(&code(&by_hand)).is(204);
    accept(&code(&by_hand)).refused(400, "invalid_code");
    server.nobody().post("/auth/token", &json!({ "email": "eve@example.com", "password": NEW })).is(200);
}

/// R326: a person that has come in needs no invitation: it ends, with what waits of it. A new one ends the one before, and one that is
/// accepted afterwards is told of.
#[test]
fn the_first_sign_in_ends_invitations_and_so_does_a_newer_one() {
    let (sink, server, admin) = stage();
    let fay =
        text(&admin.post("/api/users", &json!({ "email": "fay@example.com", "name": "Fay" })).is(201)["id"]).to_owned();
    let invited = format!("/api/users/{fay}/invite");
    let accept = |code: &str| server.nobody().post("/auth/invite", &json!({ "code": code, "password": NEW }));
    let first = code(&link(&server, &mail(&sink, 0)));
    let second = code(text(&admin.post(&invited, &json!({})).is(200)["url"]));
    accept(&first).refused(400, "invalid_code");
    admin.post(&invited, &json!({ "mail": true })).is(204);
    accept(&second).refused(400, "invalid_code");
    let third = code(&link(&server, &mail(&sink, 1)));
    let reset = code(text(&admin.post(&format!("/api/users/{fay}/reset-password"), &json!({})).is(200)["url"]));
    // She comes in by a link that she asked for.
    server.nobody().post("/auth/email/link", &json!({ "email": "fay@example.com" })).is(204);
    let by_link = code(&link(&server, &mail(&sink, 2)));
    let session = server.nobody().post("/auth/email/token", &json!({ "code": by_link })).is(200);
    let session = server.with(text(&session["access_token"]));
    accept(&third).refused(400, "invalid_code");
    server.nobody().post("/auth/reset", &json!({ "code": reset, "new": NEW })).refused(400, "invalid_code");
    session.get("/api/auth/whoami").is(200);
    assert_eq!(sink.received().len(), 3);
    // One that an admin makes afterwards sets a password, and she hears of it.
    let later = code(text(&admin.post(&invited, &json!({})).is(200)["url"]));
    accept(&later).is(204);
    session.get("/api/auth/whoami").refused(401, "token_revoked");
    let told = mail(&sink, 3);
    assert_eq!(
        (&told.body["to"], &told.body["subject"]),
        (&json!("fay@example.com"), &json!("A password was set for your account"))
    );
    // Who comes by the invitation itself gets no such mail.
    let gus =
        text(&admin.post("/api/users", &json!({ "email": "gus@example.com", "name": "Gus" })).is(201)["id"]).to_owned();
    let own = code(&link(&server, &mail(&sink, 4)));
    accept(&own).is(204);
    server.nobody().post("/auth/token", &json!({ "email": "gus@example.com", "password": NEW })).is(200);
    assert_eq!(server.number(&format!("SELECT count(*) FROM outbox WHERE user_id = '{gus}' AND kind <> 'invite'")), 0);
}

/// R327: an address that is corrected before its person has come: the right one gets the invitation, and the wrong one nothing of it.
#[test]
fn an_invitation_follows_a_corrected_address() {
    let (sink, server, admin) = stage();
    let id =
        text(&admin.post("/api/users", &json!({ "email": "tpyo@example.com", "name": "Ty" })).is(201)["id"]).to_owned();
    let wrong = code(&link(&server, &mail(&sink, 0)));
    admin.patch(&format!("/api/users/{id}"), &json!({ "email": "typo@example.com" })).is(200);
    let sent = mail(&sink, 1);
    assert_eq!(
        (&sent.body["to"], &sent.body["subject"]),
        (&json!("typo@example.com"), &json!("You are invited to Accredit"))
    );
    let accept = |code: &str| server.nobody().post("/auth/invite", &json!({ "code": code, "password": NEW }));
    accept(&wrong).refused(400, "invalid_code");
    accept(&code(&link(&server, &sent))).is(204);
    // Once somebody uses the account, both addresses are told, as ever.
    admin.patch(&format!("/api/users/{id}"), &json!({ "email": "ty@example.com" })).is(200);
    let mut told: Vec<String> = (2..4).map(|at| text(&mail(&sink, at).body["to"]).to_owned()).collect();
    told.sort();
    assert_eq!(told, ["ty@example.com", "typo@example.com"]);
    // Nobody was invited: nobody is.
    let body = json!({ "email": "zoe@example.com", "name": "Zoe", "invite": false });
    let zoe = text(&admin.post("/api/users", &body).is(201)["id"]).to_owned();
    admin.patch(&format!("/api/users/{zoe}"), &json!({ "email": "zo@example.com" })).is(200);
    assert_eq!(server.number(&format!("SELECT count(*) FROM outbox WHERE user_id = '{zoe}'")), 0);
}

/// R328: what strangers ask for in a person's name keeps neither an admin from mailing them a link, nor the person, where they are at home.
#[test]
fn strangers_keep_nobody_from_a_link() {
    let sink = Sink::new();
    let server = sink.mail("webhook").variable("trusted_proxies", "127.0.0.1").start();
    let admin = server.bootstrap();
    let vic = server.user(&admin, "vic@example.com", "member");
    vic.call("GET", "/api/auth/whoami", &[("x-forwarded-for", "198.51.100.7")], None).is(200);
    until("the use is recorded", || {
        let sql = "SELECT count(*) FROM credentials WHERE last_used_address = '198.51.100.7'";
        (server.number(sql) == 1).then_some(())
    });
    let ask = |path: &str, from: &str| {
        let body = json!({ "email": "vic@example.com" }).to_string();
        server.nobody().call("POST", path, &[("x-forwarded-for", from)], Some(body.as_bytes()))
    };
    for from in ["203.0.113.5", "203.0.113.200"] {
        for _ in 0..5 {
            ask("/auth/forgot", from).is(204);
        }
    }
    ask("/auth/forgot", "203.0.113.5").refused(429, "too_many_mails");
    mail(&sink, 9);
    // A stranger gets the same answer, and no mail goes out; from a network of the person's own one does.
    ask("/auth/email/link", "192.0.2.77").is(204);
    ask("/auth/email/link", "198.51.100.7").is(204);
    let own = mail(&sink, 10);
    assert_eq!(own.body["subject"], "Your link to sign in to Accredit");
    assert!(text(&own.body["text"]).contains("from the address 198.51.100.7"), "{own:?}");
    until("all requests are settled", || (server.number("SELECT count(*) FROM mail_requests") == 0).then_some(()));
    assert_eq!(
        server.number("SELECT count(*) FROM audit WHERE action IN ('user.forgot_password', 'session.link')"),
        11
    );
    // The admin's own.
    let id = text(&vic.get("/api/auth/whoami").is(200)["user_id"]).to_owned();
    admin.post(&format!("/api/users/{id}/reset-password"), &json!({ "mail": true })).is(204);
    let sent = mail(&sink, 11);
    let told = text(&sent.body["text"]);
    assert!(told.contains("ada@example.com sends you a link to set a new password"), "{told}");
    assert!(!told.contains("from the address"), "{told}");
    let reset = code(&link(&server, &sent));
    server.nobody().post("/auth/reset", &json!({ "code": reset, "new": NEW })).is(204);
    server.execute("UPDATE tenants SET ways = 'link'");
    admin.post(&format!("/api/users/{id}/reset-password"), &json!({ "mail": true })).is(204);
    let told = until("the link", || {
        let sent = sink.received();
        sent.iter()
            .rfind(|sent| {
                text(&sent.body["subject"]) == "Your link to sign in to Accredit"
                    && text(&sent.body["text"]).contains("ada@example.com")
            })
            .cloned()
    });
    assert_eq!(told.body["to"], "vic@example.com");
}

/// R24: whether an address has an account shows in no answer, and in no time that it takes.
#[test]
fn a_stranger_learns_of_no_account_by_asking_for_mails() {
    let sink = Sink::new();
    let server = sink.mail("webhook").variable("trusted_proxies", "127.0.0.1").start();
    let admin = server.bootstrap();
    for number in 0..20 {
        admin
            .post("/api/users", &json!({ "email": format!("n{number}@example.com"), "name": "N", "invite": false }))
            .is(201);
    }
    let ask = |email: &str, from: &str| {
        let body = json!({ "email": email }).to_string();
        let begun = Instant::now();
        let answer = server.nobody().call("POST", "/auth/forgot", &[("x-forwarded-for", from)], Some(body.as_bytes()));
        let took = begun.elapsed();
        let kept = |(name, _): &&(String, String)| !matches!(name.as_str(), "date" | "x-request-id");
        let headers: Vec<(String, String)> = answer.headers().iter().filter(kept).cloned().collect();
        ((answer.status(), answer.text(), headers), took)
    };
    ask("warm@example.com", "192.0.2.1");
    let (mut seen, mut known, mut unknown) = (Vec::new(), Vec::new(), Vec::new());
    for number in 0..20 {
        for (email, times) in
            [(format!("n{number}@example.com"), &mut known), (format!("x{number}@example.com"), &mut unknown)]
        {
            let (answer, took) = ask(&email, &format!("198.51.100.{number}"));
            seen.push(answer);
            times.push(took);
        }
    }
    assert_eq!(seen[0].0, 204);
    assert!(seen.windows(2).all(|pair| pair[0] == pair[1]), "{seen:#?}");
    let median = |times: &mut Vec<Duration>| {
        times.sort();
        times[times.len() / 2]
    };
    // The statements are the same, which the native tests hold.
    println!("known {:?}, unknown {:?}", median(&mut known), median(&mut unknown));
    until("a mail for each account, and for nobody else", || {
        let to: Vec<Json> = sink.received().iter().map(|sent| sent.body["to"].clone()).collect();
        assert!(to.iter().all(|to| text(to).starts_with('n')), "{to:?}");
        (to.len() == 20).then_some(())
    });
}

/// R93: no header of a request gets into a mail.
#[test]
fn a_host_header_poisons_no_mail() {
    let (sink, server, _) = stage();
    let body = json!({ "email": "ada@example.com" }).to_string();
    for headers in
        [&[("host", "evil.example")][..], &[("host", "127.0.0.1.evil.example")], &[("host", "localhost@evil.example")]]
    {
        let answer = Client::plain(server.host().base_url()).call(
            "POST",
            "/auth/forgot",
            &[headers, &[("content-type", "application/json")]].concat(),
            Some(body.as_bytes()),
        );
        assert!(matches!(answer.status(), 400 | 503), "{answer:?}");
    }
    let more =
        [("x-forwarded-host", "evil.example"), ("x-forwarded-proto", "https"), ("forwarded", "host=evil.example")];
    server.nobody().call("POST", "/auth/forgot", &more, Some(body.as_bytes())).is(204);
    let sent = mail(&sink, 0);
    assert!(!sent.body.to_string().contains("evil"), "{sent:?}");
    link(&server, &sent);
}

/// R95: a mail that is queued while another one is being sent, or in the second of a tick, goes out without a further tick; with a
/// provider that fails for one, the others are sent.
#[test]
fn a_mail_never_waits_for_a_tick() {
    let (sink, server, admin) = stage();
    let people: Vec<String> = (0..8).map(|number| format!("n{number}@example.com")).collect();
    sink.will(&[Reply::Status(500, "")]);
    at_once(8, |number| {
        let body = json!({ "email": people[number], "name": "N" });
        if number % 4 == 0 {
            server.nobody().post("/internal/tick", &json!({}));
        }
        admin.post("/api/users", &body).status()
    });
    let created = server.number("SELECT count(*) FROM users") - 1;
    server.until_number("SELECT count(*) FROM outbox WHERE state = 'sent'", created - 1);
    let failed = "SELECT count(*) FROM outbox WHERE state = 'due' AND last_error = 'the provider answered 500'";
    server.until_number(failed, 1);
}

/// R95, R226: an address of any script is one account, however it is written, and mail is sent to its domain in ASCII.
#[test]
fn an_address_of_any_script_is_one_account() {
    let (sink, server, admin) = stage();
    let made =
        admin.post("/api/users", &json!({ "email": "Zo\u{eb}@B\u{fc}cher.example", "name": "Zo\u{eb}" })).is(201);
    assert_eq!(made["email"], "Zo\u{eb}@b\u{fc}cher.example");
    let sent = mail(&sink, 0);
    assert_eq!(sent.body["to"], "Zo\u{eb}@xn--bcher-kva.example");
    let code = code(&link(&server, &sent));
    server.nobody().post("/auth/invite", &json!({ "code": code, "password": NEW })).is(204);
    for written in
        ["zo\u{eb}@b\u{fc}cher.example", "ZOE\u{308}@XN--BCHER-KVA.EXAMPLE", "zoe\u{308}@bu\u{308}cher.example"]
    {
        server.nobody().post("/auth/token", &json!({ "email": written, "password": NEW })).is(200);
        admin.post("/api/users", &json!({ "email": written, "name": "Z" })).refused(409, "email_taken");
    }
    // Wherever an address finds somebody, each way of writing it does.
    server.agent(&admin, "scout", &["agents.read"]);
    for written in ["ZO\u{cb}@XN--BCHER-KVA.EXAMPLE", "zo\u{eb}@B\u{dc}CHER.example"] {
        let escaped = encoded(written);
        for list in ["/api/users?q=", "/api/audit?actor="] {
            let found = admin.get(&format!("{list}{escaped}")).is(200);
            assert!(!found["items"].as_array().unwrap().is_empty(), "{list}{written}");
        }
        admin.post("/api/agents/scout/grants", &json!({ "subject": written, "relation": "viewer" })).is(201);
        admin.delete(&format!("/api/agents/scout/grants?subject={escaped}")).is(204);
        assert_eq!(admin.get("/api/agents/scout/grants").is(200)["items"], json!([]));
    }
    for written in ["ZO%C3%8B", "zo%C3%AB"] {
        assert_eq!(admin.get(&format!("/api/users?q={written}")).is(200)["items"][0]["email"], made["email"]);
    }
    admin.post("/api/users", &json!({ "email": "o@example.com", "name": "Bj\u{f6}rn \u{c5}ngstr\u{f6}m" })).is(201);
    for written in ["%C3%A5ngstr%C3%B6m", "bj%C3%B6rn%20%C3%85", "%C3%85NGSTR%C3%96M"] {
        assert_eq!(
            admin.get(&format!("/api/users?q={written}")).is(200)["items"][0]["email"],
            "o@example.com",
            "{written}"
        );
    }
}

/// R260: the page of a mailed link says whose account it is at which tenant, with a field by which a password manager knows the account,
/// and a link that works no more says how it ended. HEAD and GET spend nothing.
#[test]
fn the_page_of_a_link_says_whose_it_is_and_how_it_ended() {
    let (sink, server, admin) = stage();
    admin.patch("/api/tenant", &json!({ "name": "Acme & <b>Co</b>" })).is(200);
    admin.post("/api/users", &json!({ "email": "eve@example.com", "name": "Eve" })).is(201);
    let invited = link(&server, &mail(&sink, 0));
    server.nobody().post("/auth/forgot", &json!({ "email": "ada@example.com" })).is(204);
    let reset = link(&server, &mail(&sink, 1));
    server.nobody().post("/auth/email/link", &json!({ "email": "ada@example.com" })).is(204);
    let sign_in = link(&server, &mail(&sink, 2));
    let browser = Browser::new(&server);
    for (link, email) in [(&invited, "eve@example.com"), (&reset, "ada@example.com"), (&sign_in, "ada@example.com")] {
        assert_eq!(browser.send("HEAD", link, &[], None).status(), 200);
        let html = browser.page(link);
        assert!(html.contains(&format!("<b>{email}</b> at <b>Acme &#38; &#60;b&#62;Co")), "{html}");
        let field = format!("name=\"email\" autocomplete=\"username\" readonly value=\"{email}\"");
        assert_eq!(html.contains(&field), link != &sign_in, "{html}");
    }
    assert_eq!(server.number("SELECT count(*) FROM codes WHERE spent_at IS NOT NULL"), 0);

    let stranger = Browser::new(&server);
    let gone = |link: &str, said: &str, to: &str| {
        let page = stranger.get(link);
        assert_eq!(page.status(), 410, "{}", page.text());
        let html = page.text();
        assert!(html.contains(said) && html.contains(&format!("href=\"{to}\"")), "{html}");
        assert!(!html.contains("<form") && !html.contains("@example.com"), "{html}");
    };
    assert_eq!(
        browser.submit(&invited, "/invite", &[("password", NEW)]).header("location"),
        "/login?done=password-set&tenant=main"
    );
    gone(&invited, "This link was used before.", "/forgot");
    // The code of one page is none at another.
    gone(&reset.replace("/reset", "/invite"), "does not work any more", "/forgot");
    server.execute("UPDATE codes SET expires_at = unixepoch() * 1000 - 1 WHERE kind = 'reset'");
    gone(&reset, "It worked for 24 hours.", "/forgot");
    assert_eq!(browser.submit(&sign_in, "/auth/email/verify", &[]).header("location"), "/");
    gone(&sign_in, "It signed somebody in.", "/login");
    // R715: the browser that it signed in is led on.
    assert!(browser.get(&sign_in).text().contains("You are signed in as <b>ada@example.com</b>."));
    gone(&reset.replace(&code(&reset), &"x".repeat(43)), "A newer link took its place", "/forgot");
    let cut = browser.get(&reset[..reset.len() - 9]);
    assert_eq!(cut.status(), 400);
    assert!(cut.text().contains("A part of this link is missing."), "{}", cut.text());
}

/// R260: pages look at codes in the name of their visitor's network, so wrong codes are counted there too.
#[test]
fn looks_at_wrong_codes_are_bounded() {
    let (_sink, server, _) = stage();
    let nobody = server.nobody();
    let path = format!("/reset?code={}", "x".repeat(43));
    let open = || nobody.call("GET", &path, &[("accept", "text/html")], None).status();
    for _ in 0..60 {
        assert_eq!(open(), 410);
    }
    assert_eq!(open(), 429);
    nobody.post("/auth/code", &json!({ "code": "x".repeat(43) })).refused(429, "too_many_attempts");
}

/// R261: where no password lets anybody in, none is set: the invitation leads to the ways that do, and the mail says which.
#[test]
fn an_invitation_leads_to_the_ways_of_its_tenant() {
    let (sink, server, admin) = stage();
    let invite =
        |email: &str| text(&admin.post("/api/users", &json!({ "email": email, "name": "E" })).is(201)["id"]).to_owned();
    let eve = invite("eve@example.com");
    let early = link(&server, &mail(&sink, 0));
    admin.patch("/api/tenant", &json!({ "ways": ["link"] })).is(200);
    let browser = Browser::new(&server);
    let opened = |link: &str| {
        server
            .nobody()
            .post("/auth/invite", &json!({ "code": code(link), "password": NEW }))
            .refused(403, "way_disabled");
        let html = browser.page(link);
        assert!(html.contains("there is none to set") && !html.contains("type=\"password\""), "{html}");
        html
    };
    opened(&early);
    let by_hand = text(&admin.post(&format!("/api/users/{eve}/invite"), &json!({})).is(200)["url"]).to_owned();
    let html = opened(by_hand.strip_prefix(server.host().base_url()).unwrap());
    let asked = browser.submit_in(&html, "/login/link", &[]);
    assert_eq!(asked.header("location"), "/login?done=link-asked&next=%2F&tenant=main");
    let mailed = self::link(&server, &mail(&sink, 1));
    assert_eq!(browser.submit(&mailed, "/auth/email/verify", &[]).header("location"), "/");
    assert_eq!(server.number("SELECT count(*) FROM users WHERE email LIKE 'eve%' AND password_hash IS NOT NULL"), 0);
    // A reset that was mailed before sets none either.
    invite("max@example.com");
    let told = mail(&sink, 2);
    assert!(text(&told.body["text"]).contains("by a link that is mailed to you"), "{told:?}");
    assert!(!text(&told.body["text"]).contains("code="), "{told:?}");
}

/// R262: a mailed invitation or reset that was used proves the address; one that an admin handed over proves nothing.
#[test]
fn a_mailed_code_proves_the_address() {
    let (sink, server, admin) = stage();
    let proved = |email: &str| {
        server.number(&format!("SELECT count(*) FROM users WHERE email = '{email}' AND email_verified_at IS NOT NULL"))
            == 1
    };
    let accept = |link: &str| {
        server.nobody().post("/auth/invite", &json!({ "code": code(link), "password": NEW })).is(204);
    };
    admin.post("/api/users", &json!({ "email": "eve@example.com", "name": "E" })).is(201);
    let mailed = link(&server, &mail(&sink, 0));
    assert!(!proved("eve@example.com"));
    accept(&mailed);
    assert!(proved("eve@example.com"));

    let body = json!({ "email": "max@example.com", "name": "M", "invite": false });
    let max = text(&admin.post("/api/users", &body).is(201)["id"]).to_owned();
    accept(text(&admin.post(&format!("/api/users/{max}/invite"), &json!({})).is(200)["url"]));
    let by_hand = text(&admin.post(&format!("/api/users/{max}/reset-password"), &json!({})).is(200)["url"]).to_owned();
    server.nobody().post("/auth/reset", &json!({ "code": code(&by_hand), "new": "another-quiet-orbit" })).is(204);
    assert!(!proved("max@example.com"));
    let before = sink.received().len();
    server.nobody().post("/auth/forgot", &json!({ "email": "max@example.com" })).is(204);
    let reset = until("the reset", || {
        sink.received().into_iter().skip(before).find(|sent| text(&sent.body["text"]).contains("/reset?code="))
    });
    server.nobody().post("/auth/reset", &json!({ "code": code(&link(&server, &reset)), "new": NEW })).is(204);
    assert!(proved("max@example.com"));
}

const ADDRESS: &str = "/auth/email";
const CONFIRM: &str = "/auth/email/confirm";

/// Asks for another address, and gives the code that is mailed there.
fn wants(sink: &Sink, server: &Server, person: &Client, email: &str) -> String {
    let before = sink.received().len();
    person.post(ADDRESS, &json!({ "email": email })).is(202);
    code(&link(server, &mail(sink, before)))
}

fn sign_in(server: &Server, email: &str) -> Answer {
    server.nobody().post("/auth/token", &json!({ "email": email, "password": PASSWORD }))
}

/// R217: a person changes their own address: a mail goes to the new one, nothing changes before its code comes with their session, and then
/// everything has: sign-in, codes of before, other sessions, the mails to both, the trail.
#[test]
fn a_person_changes_their_own_address() {
    let (sink, server, admin) = stage();
    let other = server.sign_in("ada@example.com", None);
    let pat = server.plant_pat(&admin, "*");
    let (nobody, old) = (server.nobody(), json!({ "email": "ada@example.com" }));
    nobody.post("/auth/email/link", &old).is(204);
    let by_link = code(&link(&server, &mail(&sink, 0)));
    nobody.post("/auth/forgot", &old).is(204);
    let reset = code(&link(&server, &mail(&sink, 1)));

    let asked = admin.post(ADDRESS, &json!({ "email": "Ada.L@B\u{fc}cher.example" })).is(202);
    assert_eq!(asked["email"], "Ada.L@b\u{fc}cher.example");
    let sent = mail(&sink, 2);
    assert_eq!(
        (&sent.body["to"], &sent.body["subject"]),
        (&json!("Ada.L@xn--bcher-kva.example"), &json!("Confirm your new address for Accredit"))
    );
    assert!(text(&sent.body["text"]).contains("ada@example.com asked from the address 127.0.0.1"), "{sent:?}");
    let link = link(&server, &sent);
    assert!(link.starts_with("/security/address?code="), "{link}");
    let code = code(&link);
    // Scanners of mail open links; the code is in no address to which a sign-in leads.
    for method in ["HEAD", "GET", "GET"] {
        let page = nobody.call(method, &link, &[("accept", "text/html")], None);
        assert_eq!((page.status(), page.header("location")), (303, "/login?done=address-waits&next=%2Fsecurity"));
    }
    let browser = Browser::of(&server, &admin);
    for _ in 0..2 {
        let page = browser.get(&link);
        assert_eq!((page.status(), page.header("referrer-policy")), (200, "strict-origin"));
    }
    let shown = admin.get(ADDRESS).is(200);
    assert_eq!((&shown["email"], &shown["pending"]["email"]), (&json!("ada@example.com"), &asked["email"]));
    sign_in(&server, "ada@example.com").is(200);
    sign_in(&server, "ada.l@b\u{fc}cher.example").refused(401, "login_failed");

    let second = server.second();
    let statuses = at_once(8, |number| {
        let at = if number % 2 == 0 { admin.clone() } else { admin.at(second.host().base_url()) };
        at.post(CONFIRM, &json!({ "code": code })).status()
    });
    assert_eq!(statuses.iter().filter(|status| **status == 204).count(), 1, "{statuses:?}");
    admin.post(CONFIRM, &json!({ "code": code })).refused(400, "invalid_code");
    let whoami = "/api/auth/whoami";
    assert_eq!(admin.get(whoami).is(200)["email"], "Ada.L@b\u{fc}cher.example");
    assert_eq!(admin.get(ADDRESS).is(200)["pending"], Json::Null);
    other.get(whoami).refused(401, "token_revoked");
    pat.get(whoami).is(200);
    sign_in(&server, "ada@example.com").refused(401, "login_failed");
    sign_in(&server, "ada.l@XN--BCHER-KVA.example").is(200);
    nobody.post("/auth/email/token", &json!({ "code": by_link })).refused(400, "invalid_code");
    nobody.post("/auth/reset", &json!({ "code": reset, "new": NEW })).refused(400, "invalid_code");
    assert_eq!(server.number("SELECT count(*) FROM users WHERE email_verified_at IS NOT NULL"), 1);

    let mut told = [3, 4].map(|number| {
        let mail = mail(&sink, number);
        let words = text(&mail.body["text"]).to_owned();
        assert!(words.contains("from ada@example.com to Ada.L@b\u{fc}cher.example from the address"), "{words}");
        assert!(words.contains("Your other sessions are ended.") && words.contains("If you did not expect this"));
        text(&mail.body["to"]).to_owned()
    });
    told.sort();
    assert_eq!(told, ["Ada.L@xn--bcher-kva.example", "ada@example.com"]);
    let rows = "SELECT action || ' ' || ifnull(before ->> 'email', '-') || ' ' || (after ->> 'email') FROM audit
                WHERE action LIKE 'user.%email' ORDER BY seq";
    assert_eq!(
        server.texts(rows),
        ["user.ask_email - Ada.L@b\u{fc}cher.example", "user.change_email ada@example.com Ada.L@b\u{fc}cher.example"]
    );
    assert!(!server.host().log().contains(&code));
    for table in ["codes", "audit", "outbox", "idempotency", "refusals"] {
        let columns = server.texts(&format!(
            "SELECT group_concat('ifnull(' || name || ', '''')', ' || ') FROM pragma_table_info('{table}')"
        ));
        let held = format!("SELECT count(*) FROM {table} WHERE instr({}, '{code}')", columns[0]);
        assert_eq!(server.number(&held), 0, "{table}");
    }
}

/// R217: whose address it is, the database decides when it is confirmed: one of several gets it, and the others are told.
#[test]
fn an_address_that_is_taken_is_refused_when_it_is_confirmed() {
    let (sink, server, admin) = stage();
    let eve = server.user(&admin, "eve@example.com", "member");
    let max = server.user(&admin, "max@example.com", "member");
    // Taken before: the answer says nothing, and the mail comes all the same.
    let taken = wants(&sink, &server, &eve, "MAX@example.com");
    eve.post(CONFIRM, &json!({ "code": taken })).refused(409, "email_taken");
    // The code is not spent: the wish still waits.
    assert_eq!(eve.get(ADDRESS).is(200)["pending"]["email"], "MAX@example.com");
    // Taken after: an admin gives it to somebody else.
    let free = wants(&sink, &server, &eve, "free@example.com");
    admin.post("/api/users", &json!({ "email": "Free@example.com", "name": "F", "invite": false })).is(201);
    eve.post(CONFIRM, &json!({ "code": free })).refused(409, "email_taken");
    assert_eq!(eve.get("/api/auth/whoami").is(200)["email"], "eve@example.com");
    // Two at once, on two hosts.
    let both = [wants(&sink, &server, &eve, "both@example.com"), wants(&sink, &server, &max, "Both@Example.com")];
    let second = server.second();
    let people = [eve.clone(), max.at(second.host().base_url())];
    let mut answers = at_once(2, |number| people[number].post(CONFIRM, &json!({ "code": both[number] })));
    answers.sort_by_key(Answer::status);
    assert_eq!(answers[0].status(), 204, "{answers:?}");
    answers[1].refused(409, "email_taken");
    assert_eq!(server.number("SELECT count(*) FROM users WHERE email_key = 'both@example.com'"), 1);
    // The same address in another tenant is another person's.
    until("the mails of the change", || {
        (server.number("SELECT count(*) FROM outbox WHERE state <> 'sent'") == 0).then_some(())
    });
    let zoe = server.tenant("northwind");
    let code = wants(&sink, &server, &zoe, "both@example.com");
    zoe.post(CONFIRM, &json!({ "code": code })).is(204);
}

/// R217: a code that was withdrawn, replaced or has expired opens nothing, nor one of a person who was deactivated or has another password;
/// an own address is no other one; without a fresh proof nobody asks.
#[test]
fn a_wish_for_another_address_can_be_withdrawn_and_ends() {
    let (sink, server, admin) = stage();
    let eve = server.user(&admin, "eve@example.com", "member");
    let confirm = |person: &Client, code: &str| person.post(CONFIRM, &json!({ "code": code }));
    let first = wants(&sink, &server, &eve, "one@example.com");
    let second = wants(&sink, &server, &eve, "two@example.com");
    confirm(&eve, &first).refused(400, "invalid_code");
    confirm(&admin, &second).refused(400, "invalid_code");
    for _ in 0..2 {
        eve.delete(ADDRESS).is(204);
    }
    confirm(&eve, &second).refused(400, "invalid_code");
    let third = wants(&sink, &server, &eve, "three@example.com");
    server.execute("UPDATE codes SET expires_at = 1 WHERE kind = 'new_address'");
    confirm(&eve, &third).refused(400, "invalid_code");
    for same in ["EVE@example.com", " eve@EXAMPLE.com"] {
        eve.post(ADDRESS, &json!({ "email": same })).refused(409, "same_email");
    }
    let fourth = wants(&sink, &server, &eve, "four@example.com");
    let id = eve.get("/api/auth/whoami").is(200)["user_id"].clone();
    admin.post(&format!("/api/users/{}/deactivate", text(&id)), &json!({})).is(200);
    assert_eq!(confirm(&eve, &fourth).status(), 401);
    admin.post(&format!("/api/users/{}/activate", text(&id)), &json!({})).is(200);
    let eve = server.sign_in("eve@example.com", None);
    confirm(&eve, &fourth).refused(400, "invalid_code");
    let fifth = wants(&sink, &server, &eve, "five@example.com");
    eve.post("/auth/password", &json!({ "current": PASSWORD, "new": NEW })).is(204);
    confirm(&eve, &fifth).refused(400, "invalid_code");
    age_proofs(&server);
    eve.post(ADDRESS, &json!({ "email": "six@example.com" })).refused(403, "reauthentication_required");
    let pat = server.plant_pat(&eve, "*");
    pat.post(ADDRESS, &json!({ "email": "six@example.com" })).refused(403, "session_required");
    let agent = server.agent(&eve, "scout", &["agents.list"]);
    agent.client.post(ADDRESS, &json!({ "email": "six@example.com" })).refused(403, "session_required");
    assert_eq!(eve.get("/api/auth/whoami").is(200)["email"], "eve@example.com");
    assert_eq!(server.number("SELECT count(*) FROM codes WHERE kind = 'new_address' AND expires_at > 1"), 0);
}

/// R402: a deactivated person is out of every door on the next request, on every host: by session, token and agent, by password, by what was
/// mailed before, and by a device that was approved before. By a provider: `oidc.rs`.
#[test]
fn a_deactivated_person_is_out_of_every_door() {
    let (sink, server, admin) = stage();
    let second = server.second();
    let max = server.user(&admin, "max@example.com", "member");
    let id = text(&max.get("/api/auth/whoami").is(200)["user_id"]).to_owned();
    let agent = server.agent(&max, "scout", &["agents.read"]);
    let key = max.post("/api/agents/scout/keys", &json!({ "name": "ci" })).is(201);
    let (key, pat) = (server.with(text(&key["key"])), server.plant_pat(&max, "*"));
    let ask = |path: &str| {
        let number = sink.received().len();
        server.nobody().post(path, &json!({ "email": "max@example.com" })).is(204);
        code(&link(&server, &mail(&sink, number)))
    };
    let (by_link, by_reset) = (ask("/auth/email/link"), ask("/auth/forgot"));
    let device = server.nobody().form("/auth/device/code", "name=notebook&client_id=cli&scope=agents.read").is(200);
    max.post(&format!("/auth/device/{}/approve", text(&device["user_code"])), &json!({})).is(200);
    let mails = sink.received().len();

    admin.post(&format!("/api/users/{id}/deactivate"), &json!({})).is(200);
    for host in [&second, &server] {
        let base = host.host().base_url();
        let nobody = host.nobody();
        max.at(base).get("/api/auth/whoami").refused(401, "token_revoked");
        for client in [&pat, &agent.client, &key] {
            client.at(base).get("/api/auth/whoami").refused(401, "account_deactivated");
            let asked = admin.at(base).form("/auth/introspect", &format!("token={}", client.bearer())).is(200);
            assert_eq!(asked, json!({ "active": false }));
        }
        let page = Browser::of(host, &max.at(base)).get("/agents");
        assert_eq!((page.status(), page.header("location")), (303, "/login?next=%2Fagents"));
        let password = json!({ "email": "max@example.com", "password": PASSWORD });
        nobody.post("/auth/token", &password).refused(401, "login_failed");
        nobody.post("/auth/email/token", &json!({ "code": by_link })).refused(400, "invalid_code");
        nobody.post("/auth/reset", &json!({ "code": by_reset, "new": NEW })).refused(400, "invalid_code");
        let grant = "urn:ietf:params:oauth:grant-type:device_code";
        let polled = nobody.form(
            "/auth/device/token",
            &format!("grant_type={grant}&client_id=cli&device_code={}", text(&device["device_code"])),
        );
        assert!(polled.status() == 400 && polled.json().get("access_token").is_none(), "{}", polled.text());
        // Asking anew is answered as for everybody, and mails nothing.
        nobody.post("/auth/email/link", &json!({ "email": "max@example.com" })).is(204);
    }
    server.tick();
    assert_eq!(sink.received().len(), mails, "nothing is mailed to them");
    let live =
        format!("SELECT count(*) FROM credentials WHERE user_id = '{id}' AND kind = 'session' AND revoked_at IS NULL");
    assert_eq!(server.number(&live), 0);
}
