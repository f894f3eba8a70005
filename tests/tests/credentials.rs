//! The credential that a request carries: how it is read, when it is refused, what is recorded.

#![expect(clippy::indexing_slicing, reason = "helpers of tests: whatever is not as expected ends the test")]

use std::{collections::BTreeSet, sync::Arc};

use serde_json::{Value as Json, json};
use tests::{
    Client, Server, Shared, raw,
    secret::{credential, is_well_formed},
    server::{Agent, text},
    until,
};

const WHOAMI: &str = "/api/auth/whoami";

struct Site {
    server: Server,
    admin: Client,
}

static SITE: Shared<Site> = Shared::new();

fn site() -> Arc<Site> {
    SITE.get(|| {
        let (server, admin) = Server::with_admin();
        Site { server, admin }
    })
}

fn who(client: &Client) -> String {
    let who = client.get(WHOAMI).is(200);
    who["agent_name"].as_str().or(who["email"].as_str()).unwrap_or_default().to_owned()
}

/// R1: with the database gone, a malformed credential is still a plain 401, since it is not looked up. A well-formed one is 503.
/// R16: a database that fails is never "unknown", "forbidden" or "allowed".
#[test]
fn a_malformed_credential_asks_the_database_nothing_and_a_broken_database_is_503() {
    let (server, admin) = Server::with_admin();
    let scout = server.agent(&admin, "scout", &["agents.*"]);
    server.execute("ALTER TABLE credentials RENAME TO gone");
    let token = scout.client.bearer();
    let flipped = format!("{}{}", &token[..56], if token.ends_with('0') { "1" } else { "0" });
    let stranger = credential("acr_xyz_");
    for bad in [
        flipped.as_str(),
        "acr_agt_short",
        "",
        "ghp_abc",
        &token[..56],
        &format!("{token}0"),
        &stranger,
        "acr_agt_\u{e9}",
    ] {
        server.with(bad).get(WHOAMI).refused(401, "invalid_token");
    }
    server.nobody().get(WHOAMI).refused(401, "missing_credential");
    for known in [token, &credential("acr_agt_"), &credential("acr_ses_"), &credential("acr_pat_")] {
        let client = server.with(known);
        for (method, path) in
            [("GET", WHOAMI), ("GET", "/api/agents"), ("GET", "/api/agents/scout"), ("DELETE", "/api/agents/scout")]
        {
            let refused = client.call(method, path, &[], None).refused(503, "database_unavailable");
            let text = refused.to_string();
            assert!(!text.contains("SELECT") && !text.contains("credentials") && !text.contains("sqlite"), "{text}");
        }
    }
    server.execute("ALTER TABLE gone RENAME TO credentials");
    assert_eq!(who(&scout.client), "scout");
}

/// R16: the other groups, and routes without a credential, say 503 too; what needs no database goes on.
#[test]
fn whatever_needs_the_database_says_503_when_it_fails() {
    let (server, admin) = Server::with_admin();
    server.execute("ALTER TABLE users RENAME TO gone");
    let nobody = server.nobody();
    nobody
        .post("/auth/token", &json!({ "email": "ada@example.com", "password": "x" }))
        .refused(503, "database_unavailable");
    admin.get("/api/users").refused(503, "database_unavailable");
    admin.post("/api/agents", &json!({ "name": "scout" })).refused(503, "database_unavailable");
    nobody.get("/healthz").is(200);
    server.execute("ALTER TABLE gone RENAME TO users");
    admin.get("/api/users").is(200);
    assert_eq!(server.number("SELECT count(*) FROM agents"), 0);
}

/// The form of an issued secret: prefix, 57 characters in all, checksum at the end; 16 of them are shown later.
#[test]
fn what_is_issued_has_the_published_shape() {
    let site = site();
    let scout = site.server.agent(&site.admin, "shape", &["agents.read"]);
    assert!(is_well_formed(scout.client.bearer(), "acr_agt_"), "an agent's token");
    assert!(is_well_formed(site.admin.bearer(), "acr_ses_"), "a session");
    let whoami = scout.client.get(WHOAMI).is(200);
    assert_eq!(whoami["credential"]["prefix"], scout.client.bearer()[..16]);
    let index = site.server.nobody().get("/api").is(200);
    let pattern = text(&index["credential_pattern"]);
    assert!(pattern.contains("acr_") && pattern.contains("43") && pattern.contains('6'), "{pattern}");
}

/// R13: the scheme in any case, blanks trimmed; nothing in the query, no `Basic`, no second header, nothing over 4 KiB.
#[test]
fn the_header_is_read_as_rfc_6750_says() {
    let site = site();
    let (nobody, token) = (site.server.nobody(), site.admin.bearer());
    for value in [
        format!("Bearer {token}"),
        format!("bearer {token}"),
        format!("BEARER {token}"),
        format!("  Bearer   {token}  "),
    ] {
        nobody.call("GET", WHOAMI, &[("authorization", &value)], None).is(200);
    }
    let long = format!("Bearer {}{token}", " ".repeat(4096));
    for value in [
        format!("Basic {token}"),
        token.to_owned(),
        format!("Bearer{token}"),
        format!("Bearer {token} x"),
        long,
        "Bearer".to_owned(),
    ] {
        nobody.call("GET", WHOAMI, &[("authorization", &value)], None).refused(401, "invalid_token");
    }
    let bearer = format!("Bearer {token}");
    nobody
        .call("GET", WHOAMI, &[("authorization", &bearer), ("authorization", &bearer)], None)
        .refused(401, "invalid_token");
    // For every sender: it may have leaked by that.
    for client in [&nobody, &site.admin] {
        client.get(&format!("{WHOAMI}?access_token={token}")).refused(400, "credential_in_url");
    }
    // By the name of the parameter alone, whatever it holds.
    for client in [&nobody, &site.admin] {
        client.get(&format!("{WHOAMI}?access_token=nothing")).refused(400, "credential_in_url");
    }
    let mut bytes = raw::request("GET", WHOAMI, nobody.address(), &[], None);
    bytes.truncate(bytes.len() - 2);
    bytes.extend_from_slice(b"authorization: Bearer \xff\xfe\r\n\r\n");
    // Spin itself refuses a header that is not UTF-8, with an empty 500; nobody gets in by one either way.
    let answer = raw::exchange(nobody.address(), &bytes).unwrap();
    let body = String::from_utf8_lossy(&answer.body).into_owned();
    let is_the_hosts = answer.status == 500 && body.is_empty();
    assert!(is_the_hosts || (answer.status == 401 && body.contains("\"error\":\"invalid_token\"")), "{answer:?}");
}

/// R14: where a bearer is sent, the cookie is ignored, whether the bearer is valid or not.
#[test]
fn a_bearer_silences_the_cookie() {
    let site = site();
    let scout = site.server.agent(&site.admin, "silencer", &["agents.read"]);
    let nobody = site.server.nobody();
    let cookie = format!("a=b; accredit={}", site.admin.bearer());
    let by_cookie = nobody.call("GET", WHOAMI, &[("cookie", &cookie)], None).is(200);
    assert_eq!(by_cookie["email"], "ada@example.com");
    let both = scout.client.call("GET", WHOAMI, &[("cookie", &cookie)], None).is(200);
    assert_eq!(both["agent_name"], "silencer");
    let (unknown, basic) = (format!("Bearer {}", credential("acr_ses_")), "Basic YTpi".to_owned());
    for bad in [unknown, basic, "Bearer nonsense".to_owned(), String::new()] {
        nobody.call("GET", WHOAMI, &[("cookie", &cookie), ("authorization", &bad)], None).refused(401, "invalid_token");
    }
    // Only a session is ever carried by a cookie (R7), and only on this host.
    for other in [scout.client.bearer(), "nonsense"] {
        nobody.call("GET", WHOAMI, &[("cookie", &format!("accredit={other}"))], None).refused(401, "invalid_token");
    }
    nobody
        .call("GET", WHOAMI, &[("cookie", &format!("__Host-accredit={}", site.admin.bearer()))], None)
        .refused(401, "missing_credential");
    let elsewhere =
        format!("GET {WHOAMI} HTTP/1.1\r\nhost: accredit.example\r\ncookie: {cookie}\r\nconnection: close\r\n\r\n");
    nobody.raw("a cookie at a host that is not loopback", elsewhere.as_bytes()).refused(401, "missing_credential");
}

/// R29: a change by cookie without the CSRF token and this site's own origin is refused, and nothing has happened.
#[test]
fn a_change_by_cookie_needs_this_sites_origin_and_token() {
    let site = site();
    let session = site.server.sign_in("ada@example.com", None);
    let nobody = site.server.nobody();
    let (cookie, own) = (format!("accredit={}", session.bearer()), nobody.base_url().to_owned());
    let attempts: [&[(&str, &str)]; 7] = [
        &[],
        &[("origin", &own)],
        &[("x-csrf-token", "x")],
        &[("origin", "https://evil.example"), ("x-csrf-token", "x")],
        &[("origin", "null"), ("x-csrf-token", "x")],
        &[("origin", &own), ("x-csrf-token", "x")],
        &[("origin", &own), ("x-csrf-token", "")],
    ];
    for more in attempts {
        let headers: Vec<(&str, &str)> =
            std::iter::once(("cookie", cookie.as_str())).chain(more.iter().copied()).collect();
        nobody.call("POST", "/auth/logout", &headers, None).refused(403, "csrf_failed");
        nobody.call("DELETE", "/auth/sessions", &headers, None).refused(403, "csrf_failed");
        nobody.call("POST", "/api/agents", &headers, Some(b"{\"name\":\"by-cookie\"}")).refused(403, "csrf_failed");
    }
    assert_eq!(site.server.number("SELECT count(*) FROM agents WHERE name LIKE 'by-cookie%'"), 0);
    assert_eq!(who(&session), "ada@example.com");
    // Reading changes nothing.
    nobody.call("GET", "/api/agents", &[("cookie", &cookie)], None).is(200);
    // The fix, to the letter: the token as a bearer.
    session.post("/auth/logout", &json!({})).is(204);
    session.get(WHOAMI).refused(401, "token_revoked");
}

/// R6: a revoked credential is refused on the very next request, on every instance and on a second host.
#[test]
fn a_revoked_credential_is_refused_everywhere_at_once() {
    let (server, admin) = Server::with_admin();
    let second = server.second();
    let both = |client: &Client| [client.clone(), client.at(second.host().base_url())];
    for round in 0..10 {
        let scout = server.agent(&admin, &format!("scout-{round}"), &["agents.*"]);
        for at in both(&scout.client) {
            at.get(WHOAMI).is(200);
        }
        // Each time at the other host.
        both(&admin)[round % 2].delete(&format!("/api/agents/{}/token", scout.name)).is(204);
        for at in both(&scout.client) {
            at.get(WHOAMI).refused(401, "token_revoked");
            at.get("/api/agents").refused(401, "token_revoked");
        }
    }
    let session = server.sign_in("ada@example.com", None);
    both(&session)[1].post("/auth/logout", &json!({})).is(204);
    for at in both(&session) {
        at.get(WHOAMI).refused(401, "token_revoked");
    }
}

/// R6, R21: ending all other sessions ends them everywhere, and this one stays.
#[test]
fn other_sessions_end_and_this_one_stays() {
    let (server, admin) = Server::with_admin();
    let second = server.second();
    let others: Vec<Client> = (0..3).map(|_| server.sign_in("ada@example.com", None)).collect();
    let listed = admin.get("/auth/sessions").is(200);
    let current: Vec<&Json> =
        listed["items"].as_array().into_iter().flatten().filter(|session| session["current"] == true).collect();
    assert_eq!((listed["items"].as_array().map(Vec::len), current.len()), (Some(4), 1), "{listed}");
    admin.at(second.host().base_url()).delete("/auth/sessions").is(204);
    assert_eq!(who(&admin), "ada@example.com");
    for other in others {
        other.get(WHOAMI).refused(401, "token_revoked");
    }
}

/// R11: within the grace both tokens work; at its end, as the database has it, the old one is refused.
#[test]
fn a_rotation_has_its_grace_and_no_more() {
    let site = site();
    let old = site.server.agent(&site.admin, "rotating", &["agents.read"]);
    let issue = format!("/api/agents/{}/token/issue", old.name);
    let new = site.server.with(text(&site.admin.post(&issue, &json!({ "grace_seconds": 2 })).is(200)["token"]));
    let ends = site
        .server
        .number(&format!("SELECT expires_at FROM credentials WHERE agent_id = '{}' AND place = 'grace'", old.id));
    let now = || i64::try_from(std::time::UNIX_EPOCH.elapsed().unwrap().as_millis()).unwrap();
    until("the end of the grace", || {
        let before = now();
        let answer = old.client.get(WHOAMI);
        let after = now();
        // The server decided between the two readings of the clock.
        match answer.status() {
            200 => assert!(before < ends, "answered {} ms after the grace", before - ends),
            _ => {
                answer.refused(401, "token_expired");
                assert!(after >= ends, "refused {} ms before the end of the grace", ends - after);
            }
        }
        new.get(WHOAMI).is(200);
        (answer.status() == 401).then_some(())
    });
}

/// R11: a second rotation ends the first grace; a token that rotates itself keeps scope and end, and gets at least 60 s.
#[test]
fn a_second_rotation_ends_the_first_grace() {
    let site = site();
    let first = site.server.agent(&site.admin, "twice", &["agents.read", "agents.token.issue"]);
    let issue = "/api/agents/twice/token/issue";
    let rotate = |client: &Client, body: Json| site.server.with(text(&client.post(issue, &body).is(200)["token"]));
    let second = rotate(&site.admin, json!({ "grace_seconds": 3600 }));
    first.client.get(WHOAMI).is(200);
    let third = rotate(&second, json!({}));
    first.client.get(WHOAMI).refused(401, "token_revoked");
    second.get(WHOAMI).is(200);
    third.get(WHOAMI).is(200);
    third.post(issue, &json!({ "grace_seconds": 59 })).refused(400, "invalid_grace");
    third.post(issue, &json!({ "scope": ["agents.read"] })).refused(400, "rotation_keeps_rights");
    let live = "SELECT count(*) FROM credentials c JOIN agents a ON a.id = c.agent_id WHERE a.name = 'twice' AND c.revoked_at IS NULL";
    assert_eq!(site.server.number(live), 2);
    let left = "SELECT min(c.expires_at - c.created_at) FROM credentials c JOIN agents a ON a.id = c.agent_id
                WHERE a.name = 'twice' AND c.revoked_at IS NULL AND place = 'grace'";
    assert!(site.server.number(left) >= 60_000);
}

/// R10: the life that was asked for, and nothing else.
#[test]
fn a_life_is_within_its_bounds_and_never_means_never() {
    let site = site();
    let scout: Agent = site.server.agent(&site.admin, "living", &["agents.read"]);
    let issue = |days: &str| {
        let body = format!("{{\"expires_in_days\": {days}}}");
        site.admin.call("POST", "/api/agents/living/token/issue", &[], Some(body.as_bytes()))
    };
    for days in ["0", "-1", "3651", "9223372036854775807"] {
        issue(days).refused(400, "invalid_lifetime");
    }
    for days in ["1.5", "1e30", "\"7\"", "true", "99999999999999999999", "[]"] {
        let answer = issue(days);
        assert!(matches!(answer.status(), 400 | 422), "{days}: {}", answer.text());
        answer.envelope();
    }
    scout.client.get(WHOAMI).is(200);
    let expires = "SELECT c.expires_at - c.created_at FROM credentials c JOIN agents a ON a.id = c.agent_id WHERE a.name = 'living' AND c.revoked_at IS NULL";
    for days in [1, 3650] {
        issue(&days.to_string()).is(200);
        assert_eq!(site.server.number(expires), days * 86_400_000);
    }
    assert_eq!(issue("null").is(200)["expires_at"], Json::Null);
    let never = "SELECT count(*) FROM credentials c JOIN agents a ON a.id = c.agent_id
                 WHERE a.name = 'living' AND c.revoked_at IS NULL AND c.expires_at IS NULL";
    assert_eq!(site.server.number(never), 1);
}

/// R365: every credential can be made for less than a day, and one that is made by it lives no longer.
#[test]
fn every_credential_can_live_for_less_than_a_day() {
    let (server, admin) = Server::with_admin();
    server.agent(&admin, "scout", &["agents.*"]);
    let life = |id: &str| {
        server.number(&format!("SELECT expires_at - created_at FROM credentials WHERE id = '{id}' OR key_id = '{id}'"))
    };
    let made = |path: &str, body: Json, status: u16| text(&admin.post(path, &body).is(status)["id"]).to_owned();
    let short = |mut body: Json, seconds: i64| {
        body["expires_in"] = json!(seconds);
        body
    };
    assert_eq!(life(&made("/auth/tokens", short(json!({ "name": "an hour" }), 3_600), 201)), 3_600_000);
    assert_eq!(life(&made("/api/agents/scout/token/issue", short(json!({}), 60), 200)), 60_000);
    assert_eq!(life(&made("/api/agents/scout/keys", short(json!({ "name": "ci" }), 90_000), 201)), 90_000_000);
    let registered = admin.post("/api/agents", &short(json!({ "name": "brief" }), 600)).is(201);
    let brief = server.with(text(&registered["auth_token"]));
    assert_eq!(life(text(&brief.get(WHOAMI).is(200)["credential"]["id"])), 600_000);
    for (path, body, status) in [
        ("/api/agents/scout/enrolment", json!({}), 201),
        ("/api/agents/bulk/enrolment", json!({ "names": ["scout"], "with_token": true }), 200),
    ] {
        let answer = admin.post(path, &short(body, 120)).is(status);
        let code = answer["issued"]["scout"]["code"].as_str().or(answer["code"].as_str()).unwrap_or_default();
        let enrolled = server.nobody().post("/api/agents/enroll", &json!({ "code": code })).is(200);
        assert_eq!(life(text(&enrolled["id"])), 120_000, "{path}");
    }
    // Neither together, nor out of bounds, nor beyond the maker's own life.
    for (body, status, slug) in [
        (json!({ "expires_in": 59 }), 400, "invalid_lifetime"),
        (json!({ "expires_in": 0 }), 400, "invalid_lifetime"),
        (json!({ "expires_in": 315_360_001 }), 400, "invalid_lifetime"),
        (json!({ "expires_in": 3_600, "expires_in_days": 1 }), 422, "validation_error"),
        (json!({ "expires_in": null }), 422, "validation_error"),
        (json!({ "expires_in": "3600" }), 422, "validation_error"),
    ] {
        admin.post("/api/agents/scout/token/issue", &body).refused(status, slug);
    }
    server.agent(&admin, "minter", &["agents.*"]);
    let own = admin.post("/api/agents/minter/token/issue", &json!({ "expires_in": 3_600 })).is(200);
    let own = server.with(text(&own["token"]));
    let below =
        |seconds: i64| own.post("/api/agents", &short(json!({ "name": "below", "scope": ["agents.read"] }), seconds));
    below(7_200).refused(400, "lifetime_too_long");
    below(60).is(201);
}

/// R8: no sequence of mints ends with a credential that is wider, or lives longer, than the first one.
#[test]
fn no_sequence_of_mints_widens_or_lengthens() {
    const ASKED: [&str; 7] =
        ["*", "agents.*", "agents.token.*", "ui.notify", "agents.delete", "users.read", "agents.token.issue"];
    let site = site();
    // The seed is fixed: a failure repeats.
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut roll = |sides: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state >> 33).unwrap_or(0) % sides
    };
    let (mut minted, mut refused) = (0, 0);
    for round in 0..6 {
        let pat = site
            .server
            .plant_pat(&site.admin, "agents.create agents.read agents.token.issue agents.list agents.update");
        let days = 5 + i64::try_from(roll(20)).unwrap_or(0);
        let id = text(&pat.get(WHOAMI).is(200)["credential"]["id"]).to_owned();
        site.server
            .execute(&format!("UPDATE credentials SET expires_at = created_at + {days} * 86400000 WHERE id = '{id}'"));
        let mut minters = vec![pat];
        for step in 0..25 {
            let minter = minters[roll(minters.len())].clone();
            let own = minter.get(WHOAMI);
            if own.status() == 401 {
                continue; // replaced by a later step
            }
            let own = own.is(200);
            // Mostly scopes that it has, so that chains grow long; now and then one that it lacks.
            let mut scope: Vec<&str> =
                own["scope"].as_array().into_iter().flatten().map(text).filter(|_| roll(5) > 0).collect();
            if roll(5) == 0 {
                scope.push(ASKED[roll(ASKED.len())]);
            }
            let mut body = json!({ "scope": scope });
            match roll(6) {
                0 => body["expires_in_days"] = json!(1 + roll(30)),
                1 => body["expires_in_days"] = Json::Null,
                2 => body["expires_in"] = json!(60 + roll(200_000)),
                _ => {}
            }
            // An agent that replaces its own token may not ask for either.
            if own["agent_name"].is_string() && roll(3) > 0 {
                body = json!({});
            }
            let answer = match own["agent_name"].as_str() {
                Some(name) => minter.post(&format!("/api/agents/{name}/token/issue"), &body),
                None => {
                    body["name"] = json!(format!("minted-{round}-{step}"));
                    minter.post("/api/agents", &body)
                }
            };
            if answer.status() >= 400 {
                answer.envelope();
                refused += 1;
                continue;
            }
            let made = answer.json();
            let new = site.server.with(made["auth_token"].as_str().or(made["token"].as_str()).unwrap_or_default());
            let now = new.get(WHOAMI).is(200);
            let names = |who: &Json| -> BTreeSet<String> {
                who["scope"].as_array().into_iter().flatten().map(|name| text(name).to_owned()).collect()
            };
            assert!(names(&now).is_subset(&names(&own)), "{body}: {own} minted {now}");
            // Times in this form sort as texts.
            let ends = |who: &Json| who["credential"]["expires_at"].as_str().map(str::to_owned);
            let (old, young) = (ends(&own), ends(&now));
            assert!(young.is_some() && young <= old, "{body}: {own} minted {now}");
            minters.push(new);
            minted += 1;
        }
    }
    println!("{minted} minted, {refused} refused");
    assert!(minted > 40 && refused > 20, "{minted} minted, {refused} refused");
}

/// R5: every time is answered as it is stored, wherever it is shown.
#[test]
fn times_are_answered_as_they_are_stored() {
    let site = site();
    site.server.agent(&site.admin, "timed", &["agents.read"]);
    let issued = site.admin.post("/api/agents/timed/token/issue", &json!({ "expires_in_days": 7 })).is(200);
    let stored = format!(
        "SELECT strftime('%Y-%m-%dT%H:%M:%S', created_at / 1000, 'unixepoch') || printf('.%03dZ', created_at % 1000) || ' ' ||
                strftime('%Y-%m-%dT%H:%M:%S', expires_at / 1000, 'unixepoch') || printf('.%03dZ', expires_at % 1000)
         FROM credentials WHERE id = '{}'",
        text(&issued["id"])
    );
    let shown = format!("{} {}", text(&issued["issued_at"]), text(&issued["expires_at"]));
    assert_eq!(site.server.texts(&stored), [shown]);
    let seen = site.admin.get("/api/agents/timed").is(200);
    for field in ["id", "prefix", "issued_at", "expires_at"] {
        assert_eq!(seen["token"][field], issued[field], "{field}");
    }
    let new = site.server.with(text(&issued["token"]));
    assert_eq!(new.get(WHOAMI).is(200)["credential"]["expires_at"], issued["expires_at"]);
}

/// R15: a use is recorded, once a minute; a failing record refuses nobody and is logged; a revoked row is never touched.
#[test]
fn a_use_is_recorded_and_refuses_nobody() {
    let (server, admin) = Server::with_admin();
    let scout = server.agent(&admin, "scout", &["agents.read"]);
    let used = format!("SELECT count(*) FROM credentials WHERE agent_id = '{}' AND last_used_at IS NOT NULL", scout.id);
    assert_eq!(server.number(&used), 0);
    scout.client.get(WHOAMI).is(200);
    server.until_number(&used, 1);
    let when = format!("SELECT last_used_at FROM credentials WHERE agent_id = '{}'", scout.id);
    let first = server.number(&when);
    for _ in 0..20 {
        scout.client.get(WHOAMI).is(200);
    }
    // Another credential's use is written after these: once that is there, these would be there too.
    let other = server.agent(&admin, "other", &["agents.read"]);
    other.client.get(WHOAMI).is(200);
    server.until_number(
        &format!("SELECT count(*) FROM credentials WHERE agent_id = '{}' AND last_used_at IS NOT NULL", other.id),
        1,
    );
    assert_eq!(server.number(&when), first);

    server.execute("CREATE TRIGGER broken BEFORE UPDATE OF last_used_at ON credentials BEGIN SELECT RAISE(ABORT, 'use-recording is broken'); END");
    let third = server.agent(&admin, "third", &["agents.read"]);
    third.client.get(WHOAMI).is(200);
    tests::host::until_logged(server.host(), "use-recording is broken");
    third.client.get("/api/agents/third").is(200);
    server.execute("DROP TRIGGER broken");

    admin.delete("/api/agents/scout/token").is(204);
    let row = format!("SELECT revoked_at || ' ' || last_used_at FROM credentials WHERE agent_id = '{}'", scout.id);
    let before = server.texts(&row);
    scout.client.get(WHOAMI).refused(401, "token_revoked");
    third.client.get(WHOAMI).is(200);
    server.until_number(
        &format!("SELECT count(*) FROM credentials WHERE agent_id = '{}' AND last_used_at IS NOT NULL", third.id),
        1,
    );
    assert_eq!(server.texts(&row), before);
}

/// R71: the address is the one that the host reports; a client's own copy of the header, and an untrusted proxy's, are ignored.
/// R15: a changed address is recorded at once.
#[test]
fn the_address_is_the_hosts_word() {
    let site = site();
    let scout = site.server.agent(&site.admin, "addressed", &["agents.read"]);
    let forged = [
        ("spin-client-addr", "6.6.6.6:1"),
        ("x-forwarded-for", "6.6.6.6"),
        ("x-real-ip", "6.6.6.6"),
        ("forwarded", "for=6.6.6.6"),
    ];
    scout.client.call("GET", WHOAMI, &forged, None).is(200);
    let address = format!("SELECT ifnull(last_used_address, '') FROM credentials WHERE agent_id = '{}'", scout.id);
    until("the use to be recorded", || (site.server.texts(&address) != [""]).then_some(()));
    assert_eq!(site.server.texts(&address), ["127.0.0.1"]);

    let behind = Server::settings().variable("trusted_proxies", "127.0.0.1 10.0.0.1").on(site.server.state()).start();
    let client = scout.client.at(behind.host().base_url());
    for (forwarded, expected) in [("192.0.2.7", "192.0.2.7"), ("6.6.6.6, 192.0.2.8, 10.0.0.1", "192.0.2.8")] {
        client.call("GET", WHOAMI, &[("x-forwarded-for", forwarded)], None).is(200);
        until(&format!("{expected} to be recorded"), || (site.server.texts(&address) == [expected]).then_some(()));
    }
}

/// R353: what an open page asks by itself is no use of its session. From another address it is recorded all the same: a thief could say so of
/// each request.
#[test]
fn a_session_is_not_used_unseen_from_elsewhere() {
    let server = Server::settings().variable("trusted_proxies", "127.0.0.1").start();
    let session = server.bootstrap();
    let cookie = format!("accredit={}", session.bearer());
    let ask = |from: &str, unattended: &[(&str, &str)]| {
        let headers = [&[("cookie", cookie.as_str()), ("x-forwarded-for", from)], unattended].concat();
        server.nobody().call("GET", WHOAMI, &headers, None).is(200);
    };
    let from = |address: &str| format!("SELECT count(*) FROM credentials WHERE last_used_address = '{address}'");
    ask("203.0.113.5", &[]);
    server.until_number(&from("203.0.113.5"), 1);
    ask("203.0.113.9", &[("x-accredit-unattended", "1")]);
    server.until_number(&from("203.0.113.9"), 1);
}
