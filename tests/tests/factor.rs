//! Second factors, fresh proofs and the tenant's demands, on the real host: two hosts on one database, cookies and headers, restarts.

#![expect(clippy::indexing_slicing, reason = "helpers of tests: whatever is not as expected ends the test")]

use serde_json::{Value as Json, json};
use tests::{
    Answer, Client, Server, at_once,
    browser::{Browser, hidden},
    secret::unique,
    server::{PASSWORD, text},
    totp::{Authenticator, age_proofs},
};

const ADA: &str = "ada@example.com";

fn server() -> (Server, Client) {
    let server = Server::settings().variable("secrets_key", &[unique(), unique()].concat()).start();
    let admin = server.bootstrap();
    (server, admin)
}

fn sign_in(server: &Server, email: &str) -> Answer {
    server.nobody().post("/auth/token", &json!({ "email": email, "password": PASSWORD }))
}

#[track_caller]
fn ticket(server: &Server, email: &str) -> String {
    text(&sign_in(server, email).refused(401, "second_factor_required")["ticket"]).to_owned()
}

fn verify(client: &Client, ticket: &str, code: &str) -> Answer {
    client.post("/auth/factor/verify", &json!({ "ticket": ticket, "code": code }))
}

/// R96, R97: one code, sixteen times at once over two hosts, makes one session; then the same of a recovery code.
#[test]
fn one_code_at_once_over_two_hosts_lets_one_in() {
    let (server, admin) = server();
    let app = Authenticator::set_up(&server, &admin);
    let second = server.second();
    let sessions = || server.number("SELECT count(*) FROM credentials WHERE kind = 'session'");
    for recovery in [None, Some(&app.recovery_codes[0])] {
        let before = sessions();
        let tickets: Vec<String> = (0..16).map(|_| ticket(&server, ADA)).collect();
        // Behind the tickets, which take longer than a code lives on a slow machine.
        let code = recovery.cloned().unwrap_or_else(|| app.code(&server));
        let statuses = at_once(16, |number| {
            let at = if number % 2 == 0 { &server } else { &second };
            verify(&at.nobody(), &tickets[number], &code).status()
        });
        assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 1, "{statuses:?}");
        assert!(statuses.iter().all(|status| matches!(status, 200 | 403 | 429)), "{statuses:?}");
        assert_eq!(sessions(), before + 1);
        server.execute("DELETE FROM attempts");
    }
    // One ticket, with as many different codes as its person has.
    let (before, one) = (sessions(), ticket(&server, ADA));
    let statuses = at_once(8, |number| {
        let at = if number % 2 == 0 { &server } else { &second };
        verify(&at.nobody(), &one, &app.recovery_codes[number + 1]).status()
    });
    assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 1, "{statuses:?}");
    assert_eq!(sessions(), before + 1);
    assert_eq!(server.number("SELECT count(*) FROM recovery_codes WHERE used_at IS NOT NULL"), 2);
}

/// R381: a second factor that is set up ends the other sessions of its person that have proved one factor; the session that sets it up, one
/// that has proved two, tokens, and the sessions of others go on. The page says so before and after.
#[test]
fn a_second_factor_ends_sessions_that_knew_only_the_password() {
    let (server, admin) = server();
    let mia = server.user(&admin, "mia@example.com", "member");
    let (thief, strong) = (server.sign_in(ADA, None), server.sign_in(ADA, None));
    let strong_id = text(&strong.get("/api/auth/whoami").is(200)["credential"]["id"]).to_owned();
    server.execute(&format!("UPDATE credentials SET two_factors = 1 WHERE id = '{strong_id}'"));
    let pat = admin.post("/auth/tokens", &json!({ "name": "laptop", "scope": ["agents.read"] })).is(201);
    let pat = server.with(text(&pat["token"]));
    let second = server.second();

    // Begun, and a wrong code: nothing has happened yet.
    let begun = admin.post("/auth/factor", &Json::Null).is(201);
    let app = Authenticator { secret: text(&begun["secret"]).to_owned(), recovery_codes: Vec::new() };
    let code = app.code(&server);
    let wrong = if code == "000000" { "000001" } else { "000000" };
    admin.post("/auth/factor/confirm", &json!({ "code": wrong })).refused(403, "wrong_code");
    thief.get("/api/auth/whoami").is(200);
    let confirmed = admin.post("/auth/factor/confirm", &json!({ "code": app.code(&server) }));
    let closure = confirmed.header("x-accredit-closure").to_owned();
    confirmed.is(200);
    for host in [&server, &second] {
        host.with(thief.bearer()).get("/api/auth/whoami").refused(401, "token_revoked");
        for goes_on in [&admin, &strong, &pat, &mia] {
            host.with(goes_on.bearer()).get("/api/auth/whoami").is(200);
        }
    }
    assert_eq!(admin.get(&format!("/api/closures/{closure}")).is(200)["ended"]["sessions"], 1);
    // What has proved two factors elsewhere takes this one away by its code alone.
    strong.delete("/auth/factor").refused(403, "reauthentication_required");
    let after = server.texts("SELECT after FROM audit WHERE action = 'factor.confirm'");
    assert!(after.iter().any(|row| row.contains("\"sessions_ended\":1")), "{after:?}");

    // By the page: the same browser goes on, another is signed out.
    let (one, other) = (Browser::new(&server), Browser::new(&server));
    for browser in [&one, &other] {
        browser.sign_in("mia@example.com", PASSWORD, "/");
    }
    assert!(one.page("/security").contains("Your other sessions that knew only the password end then."));
    let html = one.submit("/security", "/security/begin", &[]).text();
    assert!(html.contains("Your other sessions that knew only the password"), "{html}");
    let app = Authenticator { secret: hidden(&html, "seed").replace(' ', ""), recovery_codes: Vec::new() };
    let code = app.code(&server);
    let html = one.submit_in(&html, "/security/confirm", &[("code", &code)]).text();
    assert!(html.contains("Your other sessions that had not proved two factors have ended."), "{html}");
    assert!(one.is_signed_in() && !other.is_signed_in());
    assert_eq!(other.get("/security").status(), 303);
}

/// R14, R98: a cookie beside a header does not count, whichever of them is fresh, and another credential is no step down.
#[test]
fn a_header_decides_alone_about_freshness() {
    let (server, admin) = server();
    let eve = admin.post("/api/users", &json!({ "email": "eve@example.com", "name": "Eve" })).is(201);
    age_proofs(&server);
    let fresh = server.sign_in(ADA, None);
    let path = format!("/api/users/{}/set-password", text(&eve["id"]));
    let body = json!({ "password": PASSWORD }).to_string();
    let send = |client: &Client, cookie: &Client| {
        let cookie = format!("accredit={}", cookie.bearer());
        client.call("POST", &path, &[("cookie", &cookie)], Some(body.as_bytes()))
    };
    send(&admin, &fresh).refused(403, "reauthentication_required");
    let pat = server.plant_pat(&admin, "*");
    send(&pat, &fresh).refused(403, "session_required");
    let agent = server.agent(&fresh, "scout", &["*"]);
    send(&agent.client, &fresh).refused(403, "session_required");
    send(&server.with("acr_ses_nothing"), &fresh).refused(401, "invalid_token");
    assert_eq!(
        server.number("SELECT count(*) FROM users WHERE email = 'eve@example.com' AND password_hash IS NULL"),
        1
    );
    send(&fresh, &admin).is(204);
    // A proof by cookie needs the token of its page, as every change.
    let cookie = format!("accredit={}", admin.bearer());
    let proof = json!({ "password": PASSWORD }).to_string();
    let origin = admin.base_url();
    let headers = [("cookie", cookie.as_str()), ("origin", origin)];
    let forged = server.nobody().call("POST", "/auth/reauthenticate", &headers, Some(proof.as_bytes()));
    forged.refused(403, "csrf_failed");
    let other_site = [("origin", "https://evil.example"), ("sec-fetch-site", "cross-site")];
    let body = json!({ "ticket": "x", "code": "1" }).to_string();
    let from = server.nobody().call("POST", "/auth/factor/verify", &other_site, Some(body.as_bytes()));
    from.refused(403, "cross_site_request");
}

/// R99: the demand closes people's routes at once, on every host, and nothing else; what the refusal says leads out of it.
#[test]
fn a_demand_counts_from_the_next_request_on() {
    let (server, admin) = server();
    let second = server.second();
    let eve = server.user(&admin, "eve@example.com", "member");
    let (pat, agent) = (server.plant_pat(&eve, "*"), server.agent(&eve, "scout", &["agents.read"]));
    admin.patch("/api/tenant", &json!({ "second_factor": "all" })).refused(409, "own_factor_first");
    let app = Authenticator::set_up(&server, &admin);
    admin.patch("/api/tenant", &json!({ "second_factor": "all" })).is(200);
    for host in [&server, &second] {
        let eve = eve.at(host.host().base_url());
        eve.get("/api/agents").refused(403, "second_factor_setup_required");
        eve.post("/auth/tokens", &json!({ "name": "way-round" })).refused(403, "second_factor_setup_required");
        eve.get("/api/auth/whoami").is(200);
        eve.get("/api/tenant").is(200);
        pat.at(host.host().base_url()).get("/api/agents").is(200);
        agent.client.at(host.host().base_url()).get("/api/agents/me").is(200);
    }
    // Every route that is open then is one of those that lead to a second factor, or out.
    let mut open: Vec<String> = vec![];
    for row in server.routes().iter().filter(|row| row["access"] != "public" && row["for_agents"] == false) {
        let (method, path) = (text(&row["method"]), text(&row["path"]));
        // No route carries this request out.
        let answer = eve.call(method, &format!("{path}?not-a-parameter=1"), &[], None);
        if answer.json()["error"] != "second_factor_setup_required" {
            answer.refused(422, "validation_error");
            open.push(format!("{method} {path}"));
        }
    }
    open.sort();
    assert_eq!(
        open,
        [
            "DELETE /auth/tokens/me",
            "GET /api/auth/whoami",
            "GET /api/tenant",
            "GET /auth/factor",
            "POST /auth/factor",
            "POST /auth/factor/confirm",
            "POST /auth/logout",
            "POST /auth/reauthenticate",
        ]
    );
    // The fix, to the letter.
    let of_eve = Authenticator::set_up(&server, &eve);
    eve.get("/api/agents").is(200);
    let code = of_eve.code(&server);
    verify(&second.nobody(), &ticket(&server, "eve@example.com"), &code).is(200);
    // An admin removes the factor of a person, and the person is told.
    admin.delete(&format!("/api/users/{}/factor", text(&eve.get("/api/auth/whoami").is(200)["user_id"]))).is(204);
    eve.get("/api/agents").refused(403, "second_factor_setup_required");
    let told = admin.get("/api/notifications").is(200);
    assert!(told["items"].as_array().unwrap().iter().all(|one| one["title"] != "Your second factor was removed"));
    let told = pat.get("/api/notifications").is(200);
    assert_eq!(told["items"][0]["title"], "Your second factor was removed");
    drop(app);
}

/// R96: tickets, factors and used codes are the database's: a host that was killed knows them when it comes back.
#[test]
fn a_ticket_outlives_its_host() {
    let (mut server, admin) = server();
    let app = Authenticator::set_up(&server, &admin);
    let (waiting, code) = (ticket(&server, ADA), app.recovery_codes[0].clone());
    let other = ticket(&server, ADA);
    server.kill_and_restart();
    verify(&server.nobody(), &waiting, &code).is(200);
    server.kill_and_restart();
    verify(&server.nobody(), &other, &code).refused(403, "wrong_code");
    // Without the key nothing is let in by an app, and recovery codes still are.
    let keyless = Server::settings().on(server.state()).variable("secrets_key", &"k".repeat(40)).start();
    let code = app.code(&server);
    verify(&keyless.nobody(), &other, &code).refused(503, "secrets_disabled");
    verify(&keyless.nobody(), &other, &app.recovery_codes[1]).is(200);
}

/// R98: a proof counts on every host from the next request on, for its own session only.
#[test]
fn a_proof_counts_on_every_host() {
    let (server, admin) = server();
    let second = server.second();
    let never = json!({ "name": "ci", "expires_in_days": null });
    age_proofs(&server);
    let at_second = admin.at(second.host().base_url());
    let refused = at_second.post("/auth/tokens", &never).refused(403, "reauthentication_required");
    assert_eq!((&refused["way"], &refused["max_age_seconds"]), (&json!("password"), &json!(900)));
    assert!(
        text(&refused["fix"]).starts_with("Send POST /auth/reauthenticate {\"password\": \"…\"}, then"),
        "{refused}"
    );
    admin.post("/auth/reauthenticate", &json!({ "password": PASSWORD })).is(200);
    at_second.post("/auth/tokens", &never).is(201);
    let audit = server.texts("SELECT after FROM audit WHERE action = 'session.prove'");
    assert_eq!(audit, ["{\"way\":\"password\"}"]);
    // A body that proves nothing, in every shape.
    for body in [json!({}), json!([]), json!({ "password": 1 }), json!({ "password": null }), json!({ "pin": "1" })] {
        admin.post("/auth/reauthenticate", &body).refused(422, "validation_error");
    }
    assert_eq!(admin.get("/api/tenant").is(200)["second_factor"], "nobody");
    let _: Json = admin.patch("/api/tenant", &json!({ "name": "Acme" })).is(200);
}
