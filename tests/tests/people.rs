//! Bootstrap, sign-in and its throttle, users, tenants.

#![expect(clippy::indexing_slicing, reason = "helpers of tests: whatever is not as expected ends the test")]

use serde_json::{Value as Json, json};
use tests::{
    Client, Server, at_once,
    server::{PASSWORD, text},
    until,
};

fn bootstrap(server: &Server) -> Json {
    json!({ "secret": server.operator_secret(), "email": "ada@example.com", "name": "Ada", "password": PASSWORD })
}

/// R22: the first tenant is made once, however many ask at the same time, and through whichever host.
#[test]
fn twenty_bootstraps_at_once_make_one_tenant() {
    let server = Server::empty();
    let second = server.second();
    let answers = at_once(20, |number| {
        let at = if number % 2 == 0 { &server } else { &second };
        let mut body = bootstrap(&server);
        body["email"] = json!(format!("admin-{number}@example.com"));
        // Also with different slugs: the bootstrap happens once, not once for each name.
        body["tenant"] = json!(format!("tenant-{}", number % 3));
        at.nobody().post("/auth/bootstrap", &body)
    });
    assert_eq!(answers.iter().filter(|answer| answer.status() == 201).count(), 1);
    for answer in answers.iter().filter(|answer| answer.status() != 201) {
        if answer.status() == 503 {
            answer.refused(503, "database_unavailable");
        } else {
            answer.refused(403, "already_bootstrapped");
        }
    }
    assert_eq!(server.number("SELECT count(*) FROM tenants"), 1);
    assert_eq!(server.number("SELECT count(*) FROM users"), 1);
    assert_eq!(server.number("SELECT count(*) FROM audit WHERE action = 'tenant.bootstrap'"), 1);
    assert_eq!(server.nobody().get("/readyz").is(200)["bootstrapped"], true);
}

/// R73: no default secret; if it is unset or empty, the operator's routes do not exist.
#[test]
fn without_an_operator_secret_nobody_makes_a_tenant() {
    let server = Server::settings().variable("operator_secret", "").start();
    for secret in ["", " ", "secret", "changeme", "{{ operator_secret }}"] {
        let body = json!({ "secret": secret, "tenant": "main", "email": "ada@example.com", "name": "Ada", "password": PASSWORD });
        server.nobody().post("/auth/bootstrap", &body).refused(404, "not_found");
        server.nobody().post("/operator/tenants", &body).refused(404, "not_found");
    }
    assert_eq!(server.nobody().get("/readyz").is(200)["bootstrapped"], false);
    assert_eq!(server.number("SELECT count(*) FROM tenants"), 0);
}

#[test]
fn a_wrong_operator_secret_makes_nothing_and_the_right_one_once() {
    let server = Server::empty();
    let nobody = server.nobody();
    let mut wrong = bootstrap(&server);
    wrong["secret"] = json!("not this one");
    nobody.post("/auth/bootstrap", &wrong).refused(403, "wrong_operator_secret");
    assert_eq!(server.number("SELECT count(*) FROM tenants"), 0);
    server.bootstrap();
    nobody.post("/auth/bootstrap", &bootstrap(&server)).refused(403, "already_bootstrapped");
    // R73: a development's password does not open it either.
    nobody
        .post("/auth/token", &json!({ "email": "admin@example.com", "password": "admin" }))
        .refused(401, "login_failed");
}

/// R24: unknown address, unknown tenant, wrong password and inactive account cannot be told apart.
#[test]
fn a_stranger_learns_nothing_of_accounts() {
    let (server, admin) = Server::with_admin();
    server.user(&admin, "idle@example.com", "member");
    admin.post("/api/users", &json!({ "email": "no-password@example.com", "name": "N" })).is(201);
    server.execute("UPDATE users SET deactivated_at = 1 WHERE email_key = 'idle@example.com'");
    let mut seen = Vec::new();
    for body in [
        json!({ "email": "ada@example.com", "password": "wrong horse" }),
        json!({ "email": "nobody@example.com", "password": PASSWORD }),
        json!({ "email": "ada@example.com", "password": PASSWORD, "tenant": "nowhere" }),
        json!({ "email": "idle@example.com", "password": PASSWORD }),
        json!({ "email": "no-password@example.com", "password": PASSWORD }),
        json!({ "email": "no address at all", "password": PASSWORD }),
    ] {
        let answer = server.nobody().post("/auth/token", &body);
        let mut refused = answer.refused(401, "login_failed");
        refused["request_id"] = Json::Null;
        let kept = |(name, _): &&(String, String)| !matches!(name.as_str(), "date" | "x-request-id");
        let headers: Vec<(String, String)> = answer.headers().iter().filter(kept).cloned().collect();
        seen.push((refused.to_string(), headers));
    }
    assert!(seen.windows(2).all(|pair| pair[0] == pair[1]), "{seen:#?}");
    assert_eq!(server.number("SELECT count(*) FROM credentials WHERE kind = 'session'"), 2);
}

/// R25: the sixth wrong try in ten minutes is refused, known account or not; over a restart and on a second host; and
/// others, also from elsewhere to the same account, can still sign in.
#[test]
fn guessing_is_throttled_and_the_owner_is_not_locked_out() {
    let mut server = Server::settings().variable("trusted_proxies", "127.0.0.1").start();
    let admin = server.bootstrap();
    server.user(&admin, "eve@example.com", "member");
    let guess = |server: &Server, email: &str, from: &str, password: &str| {
        let body = json!({ "email": email, "password": password }).to_string();
        server.nobody().call("POST", "/auth/token", &[("x-forwarded-for", from)], Some(body.as_bytes()))
    };
    for email in ["ada@example.com", "ADA@example.com", "nobody@example.com"] {
        for _ in 0..3 {
            guess(&server, email, "192.0.2.1", "wrong horse");
        }
    }
    for _ in 0..2 {
        guess(&server, "nobody@example.com", "192.0.2.1", "wrong horse");
    }
    for email in ["ada@example.com", "nobody@example.com"] {
        // With the right password too: it is not even looked at.
        let refused = guess(&server, email, "192.0.2.1", PASSWORD);
        refused.refused(429, "too_many_attempts");
        let wait: u32 = refused.header("retry-after").parse().unwrap();
        assert!((1..=600).contains(&wait), "{wait}");
    }
    guess(&server, "ada@example.com", "198.51.100.7", PASSWORD).is(200);
    guess(&server, "eve@example.com", "192.0.2.1", PASSWORD).is(200);
    server.kill_and_restart();
    guess(&server, "ada@example.com", "192.0.2.1", PASSWORD).refused(429, "too_many_attempts");
    let second = server.second();
    guess(&second, "ada@example.com", "192.0.2.1", PASSWORD).refused(429, "too_many_attempts");
    // IPv6 by its /64, which one household has whole.
    for number in 1..=5 {
        guess(&server, "ada@example.com", &format!("2001:db8:1:1::{number}"), "wrong horse")
            .refused(401, "login_failed");
    }
    guess(&server, "ada@example.com", "2001:db8:1:1:ffff::1", PASSWORD).refused(429, "too_many_attempts");
    guess(&server, "ada@example.com", "2001:db8:1:2::1", PASSWORD).is(200);
}

/// R25: an account is one account, however its tenant is named.
#[test]
fn naming_the_tenant_gives_no_further_guesses() {
    let (server, _) = Server::with_admin();
    let guess = |tenant: Option<&str>| {
        let mut body = json!({ "email": "ada@example.com", "password": "wrong horse" });
        if let Some(tenant) = tenant {
            body["tenant"] = json!(tenant);
        }
        server.nobody().post("/auth/token", &body)
    };
    for tenant in [None, Some("main"), None, Some("main"), None] {
        guess(tenant).refused(401, "login_failed");
    }
    guess(None).refused(429, "too_many_attempts");
    guess(Some("main")).refused(429, "too_many_attempts");
}

/// R25: an IPv4-mapped IPv6 address, as a host that listens on both reports it, is that IPv4 address, not one network of all of them.
#[test]
fn a_mapped_address_is_the_address_that_it_holds() {
    let server = Server::settings().variable("trusted_proxies", "127.0.0.1").start();
    let admin = server.bootstrap();
    let sign_in = |from: &str, password: &str| {
        let body = json!({ "email": "ada@example.com", "password": password }).to_string();
        server.nobody().call("POST", "/auth/token", &[("x-forwarded-for", from)], Some(body.as_bytes()))
    };
    for _ in 0..5 {
        sign_in("::ffff:192.0.2.1", "wrong horse").refused(401, "login_failed");
    }
    sign_in("192.0.2.1", PASSWORD).refused(429, "too_many_attempts");
    sign_in("::ffff:198.51.100.7", PASSWORD).is(200);
    admin.get("/api/auth/whoami").is(200);
}

/// R74: a try that is refused before its hash leaves no row: otherwise the throttle itself would fill the disk.
#[test]
fn tries_that_are_sent_away_leave_nothing() {
    let (server, _) = Server::with_admin();
    let slow = Server::settings().variable("hashes_per_second", "1").on(server.state()).start();
    server.execute("DELETE FROM attempts");
    let answers = at_once(60, |number| {
        let body = json!({ "email": format!("stranger-{number}@example.com"), "password": "wrong horse" });
        slow.nobody().post("/auth/token", &body).status()
    });
    let hashed = answers.iter().filter(|status| **status == 401).count();
    assert!(hashed < 60, "{answers:?}");
    // Two for each that was looked at, of its network and of all, and the two counters of hashes: of the network, and of all.
    let rows = server.number("SELECT count(*) FROM attempts");
    assert!(rows <= 2 * i64::try_from(hashed).unwrap() + 2, "{rows} rows of {hashed} hashes");
}

/// R25: guesses at once do not slip through together.
#[test]
fn guesses_at_once_are_counted_one_by_one() {
    let (server, _) = Server::with_admin();
    let second = server.second();
    let answers = at_once(24, |number| {
        let at = if number % 2 == 0 { &server } else { &second };
        at.nobody().post("/auth/token", &json!({ "email": "ada@example.com", "password": "wrong horse" }))
    });
    let count = |status: u16| answers.iter().filter(|answer| answer.status() == status).count();
    assert_eq!(count(401) + count(429) + count(503), 24);
    assert!(count(401) <= 5, "{} wrong passwords were looked at", count(401));
    assert!(count(429) > 0);
}

/// R25: so many hashes in a second, and no more; a try that was refused before its hash is not a wrong try.
#[test]
fn the_server_hashes_only_so_many_passwords_in_a_second() {
    let (server, _) = Server::with_admin();
    let slow = Server::settings().variable("hashes_per_second", "1").on(server.state()).start();
    let answers = at_once(12, |number| {
        slow.nobody()
            .post("/auth/token", &json!({ "email": format!("nobody-{number}@example.com"), "password": "wrong horse" }))
    });
    for answer in &answers {
        match answer.status() {
            401 => answer.refused(401, "login_failed"),
            503 => answer.refused(503, "database_unavailable"),
            _ => answer.refused(429, "too_many_hashes"),
        };
    }
    assert!(answers.iter().any(|answer| answer.status() == 429));
    server.nobody().post("/auth/token", &json!({ "email": "ada@example.com", "password": PASSWORD })).is(200);
}

/// R17, R20: one user for an address whatever its case; an invalid user is refused, and nothing of it is stored.
#[test]
fn a_user_that_cannot_be_is_not_made() {
    let (server, admin) = Server::with_admin();
    for (body, status, slug) in [
        (json!({ "email": "ADA@Example.com", "name": "A" }), 409, "email_taken"),
        (json!({ "email": "nobody", "name": "N" }), 400, "invalid_email"),
        (json!({ "email": "a@example.com\r\nbcc: b@example.com", "name": "N" }), 400, "invalid_email"),
        (json!({ "email": "<script>@example.com", "name": "N" }), 400, "invalid_email"),
        (json!({ "email": "n@example.com", "name": "\u{202e}N" }), 400, "invalid_text"),
        (json!({ "email": "n@example.com", "name": "N", "role": "root" }), 400, "unknown_role"),
        (json!({ "email": "n@example.com", "name": "N", "role": "Admin" }), 400, "unknown_role"),
        (json!({ "email": "n@example.com", "name": "N", "password": "x" }), 422, "validation_error"),
        (json!({ "email": "n@example.com" }), 422, "validation_error"),
    ] {
        admin.post("/api/users", &body).refused(status, slug);
    }
    assert_eq!(server.number("SELECT count(*) FROM users"), 1);
    assert_eq!(server.number("SELECT count(*) FROM audit WHERE action = 'user.create'"), 0);
}

/// R17, R33: the same address in two tenants are two people, and the admin of each tenant sees only the one in it.
#[test]
fn two_tenants_share_nothing() {
    let (server, ada) = Server::with_admin();
    let other = server.tenant("other");
    other.post("/api/users", &json!({ "email": "ada@example.com", "name": "The other Ada" })).is(201);
    let emails = |client: &Client| {
        let mut emails: Vec<String> = client.get("/api/users").is(200)["items"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|user| text(&user["email"]).to_owned())
            .collect();
        emails.sort();
        emails
    };
    assert_eq!(emails(&ada), ["ada@example.com"]);
    assert_eq!(emails(&other), ["ada@example.com", "admin@other.example"]);
    // The password of one is not the other's.
    let body = json!({ "email": "ada@example.com", "password": PASSWORD, "tenant": "other" });
    server.nobody().post("/auth/token", &body).refused(401, "login_failed");
}

/// R21: a password that is set ends the sessions that were there; weak ones are refused.
#[test]
fn a_new_password_ends_the_sessions_of_the_old_one() {
    let (server, admin) = Server::with_admin();
    let eve = server.user(&admin, "eve@example.com", "member");
    let id = text(&eve.get("/api/auth/whoami").is(200)["user_id"]).to_owned();
    let path = format!("/api/users/{id}/set-password");
    for weak in ["", "short", "password123", &"x".repeat(257)] {
        admin.post(&path, &json!({ "password": weak })).refused(400, "weak_password");
    }
    // R335: the refusal says what is wrong, also of the names of the tenant and of the product.
    for (weak, why) in [
        ("Summer2026!", "one common word"),
        ("P@ssw0rd", "one common word"),
        ("Accredit2026", "one common word"),
        ("Main-12345", "an address or a name"),
    ] {
        let refused = admin.post(&path, &json!({ "password": weak })).refused(400, "weak_password");
        assert!(text(&refused["detail"]).contains(why), "{refused}");
    }
    eve.get("/api/auth/whoami").is(200);
    admin.post(&path, &json!({ "password": "another quiet orbit" })).is(204);
    eve.get("/api/auth/whoami").refused(401, "token_revoked");
    let sign_in = |password: &str| {
        server.nobody().post("/auth/token", &json!({ "email": "eve@example.com", "password": password }))
    };
    sign_in(PASSWORD).refused(401, "login_failed");
    sign_in("another quiet orbit").is(200);
}

/// R26: a broken hash is the server's fault, reported and logged, and not a wrong password.
#[test]
fn a_broken_hash_is_not_a_wrong_password() {
    let (server, _) = Server::with_admin();
    server.execute("UPDATE users SET password_hash = 'no hash'");
    let answer = server.nobody().post("/auth/token", &json!({ "email": "ada@example.com", "password": PASSWORD }));
    let refused = answer.refused(500, "internal");
    tests::host::until_logged(server.host(), text(&refused["request_id"]));
}

/// The path of a user, found by their address.
fn path_of(admin: &Client, email: &str) -> String {
    let found = admin.get(&format!("/api/users?q={email}")).is(200);
    format!("/api/users/{}", text(&found["items"][0]["id"]))
}

/// R19, R18: a user leaves. Deactivated: all their credentials are refused at once, and nobody signs in. Deleted: their agents go
/// on with another owner, and their address is free.
#[test]
fn a_user_leaves_and_their_agents_stay() {
    let (server, ada) = Server::with_admin();
    let mia = server.user(&ada, "mia@example.com", "member");
    let eve = server.user(&ada, "eve@example.com", "member");
    let pat = mia.post("/auth/tokens", &json!({ "name": "laptop" })).is(201);
    let pat = server.with(text(&pat["token"]));
    let agent = server.agent(&mia, "scout", &["agents.read"]);
    let whoami = "/api/auth/whoami";
    let path = path_of(&ada, "mia@example.com");
    for client in [&mia, &pat, &agent.client] {
        client.get(whoami).is(200);
    }

    assert_eq!(ada.post(&format!("{path}/deactivate"), &json!({})).is(200)["active"], false);
    mia.get(whoami).refused(401, "token_revoked");
    for client in [&pat, &agent.client] {
        client.get(whoami).refused(401, "account_deactivated");
    }
    let sign_in = json!({ "email": "mia@example.com", "password": PASSWORD });
    server.nobody().post("/auth/token", &sign_in).refused(401, "login_failed");

    assert_eq!(ada.post(&format!("{path}/activate"), &json!({})).is(200)["active"], true);
    mia.get(whoami).refused(401, "token_revoked"); // the session has ended for good
    for client in [&pat, &agent.client] {
        client.get(whoami).is(200);
    }
    server.nobody().post("/auth/token", &sign_in).is(200);

    // The fix of owns_agents, followed.
    let refused = ada.delete(&path).refused(409, "owns_agents");
    assert!(text(&refused["fix"]).contains("?agents=transfer:"), "{refused}");
    ada.delete(&format!("{path}?agents=transfer:eve@example.com")).is(204);
    server.nobody().post("/auth/token", &sign_in).refused(401, "login_failed");
    for client in [&pat, &agent.client] {
        client.get(whoami).refused(401, "token_revoked");
    }
    let told = eve.get("/api/notifications").is(200);
    assert_eq!(told["items"][0]["title"], "You now own the agents of mia@example.com");
    let issued = eve.post("/api/agents/scout/token/issue", &json!({})).is(200);
    assert_eq!(server.with(text(&issued["token"])).get(whoami).is(200)["email"], "eve@example.com");
    // The next user with this address is another user; the trail still names the former one.
    let again = server.user(&ada, "mia@example.com", "viewer");
    assert_eq!(again.get("/api/agents").is(200)["items"], json!([]));
    let trail = ada.get("/api/audit?action=agent.create").is(200);
    assert_eq!(trail["items"][0]["actor"]["email"], "mia@example.com");
    assert_ne!(trail["items"][0]["actor"]["user_id"], again.get(whoami).is(200)["user_id"]);
}

/// R18: each refusal has its own slug, and a fix that works.
#[test]
fn a_tenant_keeps_its_last_admin() {
    let (server, ada) = Server::with_admin();
    let own = path_of(&ada, "ada@example.com");
    let refused = ada.patch(&own, &json!({ "role": "member" })).refused(409, "last_admin");
    assert!(text(&refused["fix"]).contains("PATCH /api/users/<id> {\"role\": \"admin\"}"), "{refused}");
    ada.post(&format!("{own}/deactivate"), &json!({})).refused(409, "self_deactivation");
    ada.delete(&own).refused(409, "self_deletion");
    ada.patch(&own, &json!({ "email": "not an address" })).refused(400, "invalid_email");
    // The fix of last_admin, followed.
    let max = server.user(&ada, "max@example.com", "member");
    ada.patch(&path_of(&ada, "max@example.com"), &json!({ "role": "admin" })).is(200);
    ada.patch(&own, &json!({ "role": "member" })).is(200);
    ada.get("/api/users").refused(403, "scope_denied");
    max.post(&format!("{own}/deactivate"), &json!({})).is(200);
    ada.get("/api/auth/whoami").refused(401, "token_revoked");
}

/// R21: a person's own password is changed with the current one; all other sessions end, tokens stay live.
#[test]
fn a_person_changes_the_own_password() {
    let (server, ada) = Server::with_admin();
    let sign_in =
        |word: &str| server.nobody().post("/auth/token", &json!({ "email": "ada@example.com", "password": word }));
    let other = server.with(text(&sign_in(PASSWORD).is(200)["access_token"]));
    let pat = ada.post("/auth/tokens", &json!({ "name": "laptop" })).is(201);
    let new = "another quiet orbit";
    ada.post("/auth/password", &json!({ "current": "wrong", "new": new })).refused(403, "wrong_password");
    ada.post("/auth/password", &json!({ "current": PASSWORD, "new": new })).is(204);
    ada.get("/api/auth/whoami").is(200);
    server.with(text(&pat["token"])).get("/api/auth/whoami").is(200);
    other.get("/api/auth/whoami").refused(401, "token_revoked");
    sign_in(PASSWORD).refused(401, "login_failed");
    sign_in(new).is(200);
}

/// R89: the right password, sent twelve times at once from one network, is let in twelve times. Of twelve wrong ones at once five are
/// checked, as one after the other.
#[test]
fn passwords_that_are_being_checked_are_not_wrong_ones() {
    let (server, admin) = Server::with_admin();
    server.user(&admin, "eve@example.com", "member");
    let nobody = server.nobody();
    let sign_in =
        |email: &str, password: &str| nobody.post("/auth/token", &json!({ "email": email, "password": password }));
    for _ in 0..3 {
        at_once(12, |_| {
            // One that has waited for a place for five seconds, as on a slow machine, is told to come again in a second.
            until("a place", || match sign_in("ada@example.com", PASSWORD) {
                answer if answer.status() == 429 && answer.header("retry-after") == "1" => None,
                answer => Some(answer.is(200)),
            })
        });
    }
    assert_eq!(
        server.number(
            "SELECT count(*) FROM attempts WHERE ends_at - (SELECT max(at) FROM audit) BETWEEN 20000 AND 700000"
        ),
        0
    );
    let answers = at_once(12, |number| sign_in("eve@example.com", &format!("wrong horse {number}")));
    let wrong = answers.iter().filter(|answer| answer.status() == 401).count();
    assert_eq!(wrong, 5, "{answers:?}");
    for answer in answers.iter().filter(|answer| answer.status() != 401) {
        answer.refused(429, "too_many_attempts");
    }
    sign_in("eve@example.com", PASSWORD).refused(429, "too_many_attempts");
    // The operator's secret is bounded in the same way.
    let guess = |secret: String| {
        nobody.post(
            "/auth/bootstrap",
            &json!({ "secret": secret, "email": "a@example.com", "name": "A", "password": PASSWORD }),
        )
    };
    let answers = at_once(30, |number| guess(format!("wrong {number}")));
    assert_eq!(answers.iter().filter(|answer| answer.status() == 403).count(), 10, "{answers:?}");
    guess(server.operator_secret().to_owned()).refused(429, "too_many_attempts");
}

/// R440: a person is found by their name however its letters were typed, when it was given and when it is looked for.
#[test]
fn a_name_is_found_however_it_was_typed() {
    let (_server, admin) = Server::with_admin();
    for (email, name) in [("zoe@example.com", "Zoe\u{308} Young"), ("max@example.com", "Maxime\u{301}")] {
        admin.post("/api/users", &json!({ "email": email, "name": name, "invite": false })).is(201);
    }
    for (q, email) in
        [("Zo%C3%AB", "zoe@example.com"), ("Zoe%CC%88%20Y", "zoe@example.com"), ("maxim%C3%A9", "max@example.com")]
    {
        let found = admin.get(&format!("/api/users?q={q}")).is(200);
        assert_eq!((&found["items"][0]["email"], found["items"].as_array().unwrap().len()), (&json!(email), 1), "{q}");
    }
    // R490: without their marks too, in any case, and the other way round.
    for (email, name) in [("jose@example.com", "Jos\u{e9} Nguy\u{1ec5}n"), ("lukasz@example.com", "\u{141}ukasz Jose")]
    {
        admin.post("/api/users", &json!({ "email": email, "name": name, "invite": false })).is(201);
    }
    for (q, found) in [("NGUYEN", 1), ("lukasz%20j", 1), ("Jos%C3%A9", 2), ("jo%20s", 0), ("j_s", 0)] {
        assert_eq!(admin.get(&format!("/api/users?q={q}")).is(200)["items"].as_array().unwrap().len(), found, "{q}");
    }
    // R495: also where letters and marks were typed apart.
    admin.post("/api/agents", &json!({ "name": "scout", "display_name": "Caf\u{e9}" })).is(201);
    assert_eq!(admin.get("/api/agents?q=cafe%CC%81").is(200)["items"].as_array().unwrap().len(), 1);
    // R495: names of services and of the tenant are composed too.
    let body =
        json!({ "identifier": "https://a.example", "name": "Cafe\u{301}", "scopes": ["x.a"], "introspectors": [] });
    admin.post("/api/scopes/custom", &json!({ "name": "x.a", "description": "A." })).is(201);
    assert_eq!(admin.post("/api/resources", &body).is(201)["name"], "Caf\u{e9}");
    assert_eq!(admin.patch("/api/tenant", &json!({ "name": "Cafe\u{301}" })).is(200)["name"], "Caf\u{e9}");
    // What is shown as nothing is no name.
    for name in ["\u{34f}", "\u{fe0f}\u{fe0f}", "Ada\u{fe0f}"] {
        admin
            .post("/api/users", &json!({ "email": "eve@example.com", "name": name, "invite": false }))
            .refused(400, "invalid_text");
    }
}
