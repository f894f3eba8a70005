//! Mail over HTTP: through the real component and host to a sink that speaks TLS, over crashes and over two hosts.

use std::time::Instant;

use serde_json::{Value as Json, json};
use tests::{
    Client, GIVEN_UP, Server,
    server::text,
    sink::{Reply, Sink, TOKEN},
    until,
};

const TEST: &str = "/api/mail/test";
const OUTBOX: &str = "/api/mail/outbox";
const STATE: &str = "SELECT state || ' ' || tries || ' ' || ifnull(last_error, '-') FROM outbox";

fn stage(provider: &str) -> (Sink, Server, Client) {
    let sink = Sink::new();
    let server = sink.mail(provider).start();
    let admin = server.bootstrap();
    (sink, server, admin)
}

/// Ticks until the only mail is in this state.
#[track_caller]
fn until_state(server: &Server, state: &str) {
    until(state, || {
        server.tick();
        (server.texts(STATE) == [state]).then_some(())
    });
}

#[test]
fn each_provider_gets_its_request_once() {
    let (from, to, subject) = ("no-reply@example.com", "ada@example.com", "Mail from Accredit works");
    let auto = json!({ "Auto-Submitted": "auto-generated" });
    let words = "You requested this mail to test whether mail works. It does.\n\n-- \nAccredit, tenant main\n";
    let html = Json::Null;
    let bearer = format!("Bearer {TOKEN}");
    for (provider, line, body) in [
        (
            "resend",
            "POST /emails",
            json!({ "from": from, "to": [to], "subject": subject, "text": words, "html": html, "headers": auto }),
        ),
        (
            "sendgrid",
            "POST /v3/mail/send",
            json!({
                "personalizations": [{ "to": [{ "email": to }] }], "from": { "email": from }, "subject": subject, "headers": auto,
                "content": [{ "type": "text/plain", "value": words }, { "type": "text/html", "value": html }],
                "tracking_settings": {
                    "click_tracking": { "enable": false, "enable_text": false }, "open_tracking": { "enable": false },
                },
            }),
        ),
        (
            "postmark",
            "POST /email",
            json!({
                "From": from, "To": to, "Subject": subject, "TextBody": words, "HtmlBody": html, "TrackOpens": false,
                "Headers": [{ "Name": "Auto-Submitted", "Value": "auto-generated" }],
                "TrackLinks": "None",
            }),
        ),
        ("webhook", "POST /", json!({ "from": from, "to": to, "subject": subject, "text": words, "html": html })),
    ] {
        let (sink, server, admin) = stage(provider);
        let queued = admin.post(TEST, &json!({})).is(202);
        assert_eq!(queued, json!({ "queued": true, "id": server.texts("SELECT id FROM outbox")[0] }));
        until("the mail at the sink, without a tick", || (!sink.received().is_empty()).then_some(()));
        until_state(&server, "sent 1 -");
        for _ in 0..3 {
            server.tick();
        }
        let received = sink.received();
        assert_eq!(received.len(), 1, "{received:?}");
        let mut sent = received[0].clone();
        let at = match provider {
            "sendgrid" => "/content/1/value",
            "postmark" => "/HtmlBody",
            _ => "/html",
        };
        let html = sent.body.pointer_mut(at).map(Json::take).unwrap_or_default();
        assert!(text(&html).contains("It does.</p>"), "{html}");
        assert_eq!((sent.line.as_str(), &sent.body), (line, &body));
        assert_eq!(sent.header("host"), sink.address());
        assert_eq!(sent.header("content-type"), "application/json");
        match provider {
            "postmark" => {
                assert_eq!((sent.header("x-postmark-server-token"), sent.header("authorization")), (TOKEN, ""));
            }
            _ => assert_eq!(sent.header("authorization"), bearer),
        }
        let item = admin.get(&format!("{OUTBOX}?state=sent")).is(200)["items"][0].clone();
        assert_eq!((&item["recipient"], &item["kind"]), (&json!(to), &json!("test")));

        // The token is the provider's: it is in no log, no answer, no row.
        assert!(!server.host().log().contains(TOKEN) && !item.to_string().contains(TOKEN));
        let database = std::fs::read(server.database_file()).unwrap();
        let journal = std::fs::read(server.database_file().with_extension("db-wal")).unwrap_or_default();
        for file in [database, journal] {
            assert!(!file.windows(TOKEN.len()).any(|window| window == TOKEN.as_bytes()));
        }
    }
}

#[test]
fn what_fails_is_tried_again_and_what_is_refused_is_dead() {
    let (sink, server, admin) = stage("resend");
    sink.will(&[Reply::Status(500, TOKEN), Reply::Redirect("https://localhost:1/".to_owned())]);
    let id = text(&admin.post(TEST, &json!({})).is(202)["id"]).to_owned();
    until_state(&server, "due 1 the provider answered 500");
    for _ in 0..3 {
        server.tick();
    }
    assert_eq!(sink.received().len(), 1, "not before its time");
    let wait = server.number("SELECT due_at - created_at FROM outbox");
    assert!((60_000..90_000).contains(&wait), "{wait}");
    server.execute("UPDATE outbox SET due_at = 0");
    until_state(&server, "due 2 the provider answered 302");
    assert_eq!(sink.received().len(), 2, "a redirect is not followed");
    sink.will(&[Reply::Status(422, r#"{"name": "validation_error", "message": "no"}"#)]);
    server.execute("UPDATE outbox SET due_at = 0");
    until_state(&server, "dead 3 the provider answered 422 validation_error");

    let retry = format!("{OUTBOX}/{id}/retry");
    server.plant_pat(&admin, "*").post(&retry, &json!({})).refused(403, "session_required");
    assert_eq!(admin.post(&retry, &json!({})).is(200)["state"], "due");
    until_state(&server, "sent 1 -");
    assert_eq!(sink.received().len(), 4);
    assert!(!server.host().log().contains(TOKEN), "{}", server.host().log());
}

/// A sink that takes the request and never answers: neither the tick nor anybody else waits for it.
#[test]
fn a_provider_that_does_not_answer_holds_up_nobody() {
    let (sink, server, admin) = stage("webhook");
    sink.will(&[Reply::Silence, Reply::Endless]);
    admin.post(TEST, &json!({})).is(202);
    until("the request at the sink", || {
        let begun = Instant::now();
        server.tick();
        assert!(begun.elapsed() < GIVEN_UP, "{:?}", begun.elapsed());
        (!sink.received().is_empty()).then_some(())
    });
    let begun = Instant::now();
    for _ in 0..20 {
        admin.get("/api/notifications/count").is(200);
        server.tick();
    }
    admin.post(TEST, &json!({})).is(202);
    assert!(begun.elapsed() < GIVEN_UP, "{:?}", begun.elapsed());
    // It is given up within ten seconds, and the next one has its turn; of its endless answer only the beginning is read.
    let refused = "SELECT count(*) FROM outbox WHERE state = 'dead' AND last_error = 'the provider answered 400'";
    until("an end of both", || {
        server.tick();
        (server.number("SELECT count(*) FROM outbox WHERE last_error LIKE 'no answer: %' AND state = 'due'") == 1
            && server.number(refused) == 1)
            .then_some(())
    });
    server.execute("UPDATE outbox SET due_at = 0 WHERE state = 'due'");
    until("the mail sent", || {
        server.tick();
        (server.number("SELECT count(*) FROM outbox WHERE state = 'sent'") == 1).then_some(())
    });
}

/// R69: a queued mail is sent, whatever happens between the queue and the sending.
#[test]
fn a_mail_survives_a_killed_host() {
    let (sink, mut server, admin) = stage("webhook");
    sink.will(&[Reply::Silence]);
    admin.post(TEST, &json!({})).is(202);
    until("the request at the sink", || {
        server.tick();
        (!sink.received().is_empty()).then_some(())
    });
    // Killed while it waits for the answer: the mail is its sender's until the lease is over, and then anybody's.
    server.kill_and_restart();
    assert_eq!(server.texts(STATE), ["due 1 -"]);
    server.tick();
    assert_eq!(sink.received().len(), 1);
    server.execute("UPDATE outbox SET due_at = 0; UPDATE leases SET until = 0");
    until_state(&server, "sent 2 -");
    assert_eq!(sink.received().len(), 2);
    assert_eq!(sink.received()[0].header("idempotency-key"), sink.received()[1].header("idempotency-key"));
}

#[test]
fn two_hosts_send_each_mail_once() {
    let (sink, server, admin) = stage("webhook");
    let second = server.second();
    server.execute(
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 40)
         INSERT INTO outbox (id, tenant_id, user_id, kind, recipient, data, due_at, created_at)
         SELECT 'out_' || i, tenant_id, id, 'test', 'n' || i || '@example.com', '{}', 0, 0 FROM n, users",
    );
    std::thread::scope(|scope| {
        for host in [&server, &second, &server, &second] {
            scope.spawn(move || {
                until("all mails sent", || {
                    host.tick();
                    // As if the other's turn were over: the rows alone keep the two apart.
                    host.execute("UPDATE leases SET until = 0 WHERE name = 'mail'");
                    (host.number("SELECT count(*) FROM outbox WHERE state <> 'sent'") == 0).then_some(())
                });
            });
        }
    });
    let mut received: Vec<String> = sink.received().iter().map(|sent| text(&sent.body["to"]).to_owned()).collect();
    assert_eq!(received.len(), 40);
    received.sort();
    received.dedup();
    assert_eq!(received.len(), 40);
    assert_eq!(admin.get(&format!("{OUTBOX}?limit=200")).is(200)["items"].as_array().map(Vec::len), Some(40));
}

#[test]
fn a_leak_is_mailed_to_owner_and_admins() {
    let (sink, server, admin) = stage("webhook");
    let max = server.user(&admin, "max@example.com", "member");
    let scout = server.agent(&max, "scout", &["agents.read"]).client;
    server.nobody().post("/auth/leaks", &json!({ "token": scout.bearer() })).is(204);
    until("two mails", || {
        server.tick();
        (sink.received().len() == 2).then_some(())
    });
    let mut received = sink.received();
    received.sort_by_key(|sent| text(&sent.body["to"]).to_owned());
    for (sent, to) in received.iter().zip(["ada@example.com", "max@example.com"]) {
        assert_eq!(sent.body["to"], to);
        assert_eq!(sent.body["subject"], "A credential was leaked");
        let told = text(&sent.body["text"]);
        assert!(told.contains("the agent scout") && told.contains(&scout.bearer()[..16]), "{told}");
        assert!(!told.contains(scout.bearer()));
    }
}

#[test]
fn without_configuration_there_is_no_mail_and_leaks_still_work() {
    let (server, admin) = Server::with_admin();
    let refused = admin.post(TEST, &json!({})).refused(503, "mail_disabled");
    assert!(text(&refused["fix"]).contains("mail_provider"), "{refused}");
    let scout = server.agent(&admin, "scout", &["agents.read"]).client;
    server.nobody().post("/auth/leaks", &json!({ "token": scout.bearer() })).is(204);
    server.tick();
    scout.get("/api/auth/whoami").refused(401, "token_revoked");
    assert_eq!(server.number("SELECT count(*) FROM notifications"), 1);
    assert_eq!(server.number("SELECT count(*) FROM outbox"), 0);
}

/// R72: a mail host with a private address is refused, unless the operator says otherwise at the host.
#[test]
fn a_private_mail_host_is_refused() {
    let sink = Sink::new();
    let server = Server::settings()
        .variable("mail_provider", "webhook")
        .variable("mail_host", &sink.address())
        .variable("mail_from", "no-reply@example.com")
        .variable("mail_token", TOKEN)
        .flag("--runtime-config-file", &sink.runtime_config().to_string_lossy())
        .start();
    let admin = server.bootstrap();
    admin.post(TEST, &json!({})).is(202);
    until_state(&server, "due 1 no answer: its address is not public (DestinationIpProhibited)");
    assert!(sink.received().is_empty());
}

/// A sink with an untrusted certificate gets nothing: neither the mail nor the token.
#[test]
fn a_mail_host_that_is_not_trusted_gets_nothing() {
    let (trusted, other) = (Sink::new(), Sink::new());
    let server = trusted
        .mail("webhook")
        .variable("mail_host", &other.address())
        .flag("--allow-private", &other.address())
        .start();
    let admin = server.bootstrap();
    admin.post(TEST, &json!({})).is(202);
    until("a failed try", || {
        server.tick();
        let said = server.texts(STATE)[0].clone();
        said.starts_with("due 1 no answer: ").then_some(())
    });
    assert!(other.received().is_empty());
}

/// R73: a setting that cannot be used is named, and what does not need it goes on.
#[test]
fn mail_settings_that_cannot_be_used_stop_the_component_that_sends() {
    for (name, value) in [("mail_provider", "pigeon"), ("mail_from", ""), ("mail_token", ""), ("mail_host", "a..b")] {
        let sink = Sink::new();
        let server = sink.mail("webhook").variable(name, value).start();
        let answer = server.nobody().get("/api/mail/outbox");
        assert_eq!((answer.status(), &answer.json()["error"]), (500, &json!("internal")), "{name}");
        tests::host::until_logged(server.host(), name);
        server.nobody().get("/api/auth/whoami").refused(401, "missing_credential");
    }
}

/// R156: what is beyond the mails that one call sends is sent by another call at once, and no tick is needed.
#[test]
fn many_mails_are_sent_without_a_tick() {
    let (sink, server, admin) = stage("webhook");
    server.execute(
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 50)
         INSERT INTO outbox (id, tenant_id, user_id, kind, recipient, data, due_at, created_at)
         SELECT 'out_' || i, u.tenant_id, u.id, 'test', u.email, '{}', 0, 0 FROM n, users u",
    );
    admin.post(TEST, &json!({})).is(202);
    until("all mails", || (sink.received().len() == 51).then_some(()));
    server.until_number("SELECT count(*) FROM outbox WHERE state = 'sent'", 51);
}
