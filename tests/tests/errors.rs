//! R58: every refusal of ours has the envelope, whatever was sent. R59: its page is there ([`tests::docs`] looks behind the
//! `doc_url` of every refusal that any test meets), and its fix works when it is followed to the letter.

#![expect(clippy::unwrap_used, reason = "helpers of tests: whatever is not as expected ends the test")]

use std::sync::Arc;

use serde_json::{Value as Json, json};
use tests::{
    Answer, Client, Server, Shared, at_once, docs,
    raw::{self, Connection},
    server::text,
};

static SITE: Shared<(Server, Client)> = Shared::new();

fn site() -> Arc<(Server, Client)> {
    SITE.get(Server::with_admin)
}

/// Sends a body to a route that takes one, known caller or not: both read bodies by the same rules.
fn send(client: &Client, path: &str, body: &[u8]) -> Answer {
    client.call("POST", path, &[], Some(body))
}

/// R58: a path with an empty segment in it is some component's, and gets our refusal on every host.
#[test]
fn a_doubled_slash_in_a_path_is_refused_in_the_envelope() {
    let (server, admin) = &*site();
    for client in [&server.nobody(), admin] {
        for path in [
            "/api//agents",
            "/api/agents//messages",
            "/api/agents//token/issue",
            "/api/users//set-password",
            "/auth//token",
        ] {
            for method in ["GET", "POST", "DELETE"] {
                let answer = client.call(method, path, &[], Some(b"{}"));
                assert!((400..500).contains(&answer.status()), "{method} {path}: {answer:?}");
                answer.envelope();
            }
        }
    }
}

/// RFC 9110, section 8.6: an answer without content has no length.
#[test]
fn a_204_has_no_length() {
    let (server, admin) = &*site();
    for answer in [
        server.nobody().post("/internal/tick", &json!({})),
        server.sign_in("ada@example.com", None).post("/auth/logout", &json!({})),
    ] {
        assert_eq!(
            (answer.status(), answer.header("content-length"), answer.header("transfer-encoding")),
            (204, "", "")
        );
    }
    assert_eq!(admin.get("/nowhere").header("content-length"), admin.get("/nowhere").text().len().to_string());
}

/// R58, R748: broken JSON, invalid UTF-8, two byte order marks, and what is nested too deep.
#[test]
fn a_body_that_is_no_json_is_refused() {
    let site = site();
    let deep = format!("{{\"name\":{}{}}}", "[".repeat(20_000), "]".repeat(20_000));
    let bodies: [&[u8]; 14] = [
        b"{",
        b"{\"name\":}",
        b"{\"name\":\"a\"}x",
        b"{'name':'a'}",
        b"{\"name\":\"a\",}",
        b"\xff",
        b"{\"name\":\"\xff\"}",
        b"{\"name\":\"\xed\xa0\x80\"}",
        b"\xef\xbb\xbf\xef\xbb\xbf{\"name\":\"a\"}",
        b"{\"name\":\"\\ud800\"}",
        b"{\"name\":\"a\nb\"}",
        b"{\"name\":01}",
        b"NaN",
        deep.as_bytes(),
    ];
    for body in bodies {
        for (client, path) in [(&site.1, "/api/agents"), (&site.0.nobody(), "/auth/token")] {
            let refused = send(client, path, body).refused(400, "invalid_json");
            // The response does not repeat the body of the request.
            assert!(refused.to_string().len() < 600, "{refused}");
        }
    }
    assert_eq!(site.0.number("SELECT count(*) FROM agents WHERE name = 'a'"), 0);
}

/// R58: JSON that is not an object, a repeated field, and a field of the wrong type.
#[test]
fn a_body_of_the_wrong_shape_is_refused_and_names_the_field() {
    let site = site();
    for body in ["[]", "null", "7", "\"name\"", "true", "[{\"name\":\"a\"}]"] {
        let refused = send(&site.1, "/api/agents", body.as_bytes()).refused(422, "validation_error");
        assert_eq!(refused["fields"][0]["field"], "", "{body}");
    }
    for (body, field) in [
        ("{\"name\":\"shape-a\",\"name\":\"shape-b\"}", "name"),
        ("{\"name\":1}", "name"),
        ("{}", "name"),
        ("", "name"),
        ("{\"name\":\"shape-a\",\"labels\":{\"a\":1}}", "labels"),
        ("{\"name\":\"shape-a\",\"scope\":\"agents.read\"}", "scope"),
        ("{\"name\":\"shape-a\",\"issue_token\":\"yes\"}", "issue_token"),
        ("{\"name\":\"shape-a\",\"no_such\":1}", "no_such"),
        ("{\"name\":\"shape-a\",\"__proto__\":{}}", "__proto__"),
    ] {
        let refused = send(&site.1, "/api/agents", body.as_bytes()).refused(422, "validation_error");
        assert_eq!(refused["fields"][0]["field"], field, "{body}: {refused}");
        assert!(!text(&refused["fields"][0]["problem"]).is_empty());
    }
    assert_eq!(site.0.number("SELECT count(*) FROM agents WHERE name LIKE 'shape-%'"), 0);
}

/// R58: an oversized body is refused by its declared length, and without one when it has grown too large.
#[test]
fn an_oversized_body_is_refused() {
    let site = site();
    let padded = |length: usize| {
        let head = "{\"name\":\"padded\",\"description\":\"\",\"no_such\":\"";
        format!("{head}{}\"}}", "x".repeat(length - head.len() - 2))
    };
    let address = site.1.address().to_owned();
    let authorization = format!("Bearer {}", site.1.bearer());
    let headers = [("authorization", authorization.as_str()), ("content-type", "application/json")];
    for (length, status, slug) in
        [(65_536, 422, "validation_error"), (65_537, 413, "body_too_large"), (1_000_000, 413, "body_too_large")]
    {
        let body = padded(length);
        assert_eq!(body.len(), length);
        site.1
            .raw("declared", &raw::request("POST", "/api/agents", &address, &headers, Some(body.as_bytes())))
            .refused(status, slug);
        let mut chunked = raw::request(
            "POST",
            "/api/agents",
            &address,
            &[headers[0], headers[1], ("transfer-encoding", "chunked")],
            None,
        );
        for piece in body.as_bytes().chunks(8192) {
            chunked.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
            chunked.extend_from_slice(piece);
            chunked.extend_from_slice(b"\r\n");
        }
        chunked.extend_from_slice(b"0\r\n\r\n");
        site.1.raw("chunked", &chunked).refused(status, slug);
    }
    // A false length, up to the largest that a host lets through: refused before a byte of it has come.
    for length in ["99999999999", "9223372036854775808", "18446744073709551600"] {
        let mut connection = Connection::open(&address).unwrap();
        let head = format!(
            "POST /api/agents HTTP/1.1\r\nhost: {address}\r\nauthorization: {authorization}\r\ncontent-length: {length}\r\n\r\n"
        );
        connection.send(head.as_bytes()).unwrap();
        let answer = Answer::new("a huge length", site.1.base_url(), connection.response(false).unwrap());
        answer.refused(413, "body_too_large");
    }
}

/// R58, R70: a body that comes in single bytes is a body like any other, also from several at once: what arrives piece by
/// piece must not cost more than what arrives whole.
#[test]
fn a_body_in_single_bytes_is_a_body() {
    let site = site();
    let nobody = site.0.nobody();
    let email = "e".repeat(60_000);
    let body = json!({ "email": email, "password": "wrong horse" }).to_string();
    let headers = [("content-type", "application/json"), ("transfer-encoding", "chunked")];
    let mut request = raw::request("POST", "/auth/token", nobody.address(), &headers, None);
    for byte in body.bytes() {
        request.extend_from_slice(&[b'1', b'\r', b'\n', byte, b'\r', b'\n']);
    }
    request.extend_from_slice(b"0\r\n\r\n");
    for answer in at_once(8, |_| nobody.raw("single bytes", &request)) {
        assert!(matches!(answer.status(), 401 | 429), "{answer:?}");
        answer.envelope();
    }
}

/// R58: a body that breaks off changes nothing, and the next request is answered.
#[test]
fn a_body_that_breaks_off_changes_nothing() {
    let site = site();
    for end in [true, false] {
        let mut connection = Connection::open(site.1.address()).unwrap();
        let head = format!(
            "POST /api/agents HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\nauthorization: Bearer {}\r\ncontent-length: 100\r\n\r\n{{\"name\":\"half\"}}",
            site.1.bearer()
        );
        connection.send(head.as_bytes()).unwrap();
        if end {
            connection.end().unwrap();
            if let Ok(response) = connection.response(false) {
                assert!((400..500).contains(&response.status), "{response:?}");
            }
        }
    }
    site.1.get("/api/agents/half").refused(404, "agent_not_found");
}

/// R58: a client that asks for `application/problem+json` gets it, with the members of RFC 9457.
#[test]
fn a_client_that_asks_for_a_problem_gets_one() {
    let site = site();
    for path in ["/api/agents", "/nothing", "/auth/token"] {
        let answer = site.0.nobody().call("GET", path, &[("accept", "application/problem+json")], None);
        let body = answer.json();
        assert_eq!(answer.header("content-type"), "application/problem+json", "{path}");
        assert_eq!((&body["status"], &body["type"]), (&json!(answer.status()), &body["doc_url"]));
        assert!(!text(&body["title"]).is_empty() && !text(&body["error"]).is_empty());
    }
}

/// R30: a text that was sent never comes back as markup, and no answer is one that a browser would run.
#[test]
fn nothing_that_was_typed_comes_back_as_markup() {
    let site = site();
    let evil = "<script>alert(1)</script>";
    for (path, body) in [
        ("/api/agents/%3Cscript%3Ealert(1)%3C%2Fscript%3E", None),
        ("/%3Cscript%3Ealert(1)%3C%2Fscript%3E?x=%3Cscript%3E", None),
        ("/docs/%3Cscript%3Ealert(1)", None),
        ("/api/agents", Some(json!({ "name": evil, evil: evil }))),
    ] {
        let answer = match body {
            None => site.1.get(path),
            Some(body) => site.1.post(path, &body),
        };
        answer.envelope();
    }
    let key = format!("k{}", "\u{e9}");
    site.1
        .call("POST", "/api/agents", &[("idempotency-key", &key)], Some(b"{\"name\":\"x\"}"))
        .refused(400, "invalid_idempotency_key");
}

/// R59: every slug that the server documents has its section, and every link of every page leads somewhere.
#[test]
fn the_pages_hold_together() {
    let site = site();
    let fetch = |page: &str| site.0.nobody().call("GET", page, &[("accept", "text/markdown")], None);
    let statuses = fetch("/docs/agents/errors/all").text();
    let slugs = |status: &str| fetch(&format!("/docs/agents/errors/{status}")).text().matches("- [`").count();
    let slugs: usize = statuses.split("](/docs/agents/errors/").skip(1).map(|rest| slugs(&rest[..3])).sum();
    assert!(slugs > 100, "{slugs}");
    for page in [
        "/docs/",
        "/docs/agents/",
        "/docs/agents/errors",
        "/docs/agents/errors/all",
        "/docs/agents/concepts/permissions",
    ] {
        for link in fetch(page).text().split("](").skip(1).filter_map(|rest| rest.split(')').next().map(str::to_owned))
        {
            if link.starts_with("/docs/agents/") {
                docs::check(site.0.host().base_url(), &link);
            }
        }
    }
}

/// A call that a fix names.
#[derive(Debug)]
struct Call {
    method: String,
    path: String,
    body: Option<Json>,
}

/// The calls that a fix names, in their order; of alternatives (", or …") the first.
fn calls_in(fix: &Json) -> Vec<Call> {
    let mut calls = Vec::new();
    let mut rest = text(fix).split(", or ").next().unwrap_or_default();
    while let Some(start) =
        ["GET /", "POST /", "PATCH /", "PUT /", "DELETE /"].iter().filter_map(|call| rest.find(call)).min()
    {
        let (method, tail) = rest[start..].split_once(' ').unwrap();
        let path: String = tail.chars().take_while(|c| !c.is_whitespace() && !matches!(c, ',' | ';' | ':')).collect();
        let after = tail[path.len()..].trim_start();
        let body = after.starts_with('{').then(|| serde_json::Deserializer::from_str(after).into_iter::<Json>().next());
        calls.push(Call {
            method: method.to_owned(),
            path: path.trim_end_matches('.').to_owned(),
            body: body.flatten().and_then(Result::ok),
        });
        rest = &tail[path.len()..];
    }
    assert!(!calls.is_empty(), "no call in {fix}");
    calls
}

/// Does what a fix says, call by call, each of which must work; the last answer.
#[track_caller]
fn follow(client: &Client, fix: &Json) -> Json {
    let mut last = Json::Null;
    for Call { method, path, body } in calls_in(fix) {
        let answer = client.call(&method, &path, &[], body.map(|body| body.to_string()).as_deref().map(str::as_bytes));
        assert!(answer.status() < 300, "following {fix}: {method} {path}: {}", answer.text());
        last = answer.json();
    }
    last
}

/// R59: an agent that lacks a scope asks as the fix says, its owner approves, and it can do what it could not, within its
/// ceiling and beyond it, at another host too.
#[test]
fn the_fix_for_a_missing_scope_works() {
    let site = site();
    let second = site.0.second();
    let lacking = site.0.agent(&site.1, "lacking", &["agents.read"]);
    let change = json!({ "description": "mine" });
    let refused = lacking.client.patch("/api/agents/lacking", &change).refused(403, "scope_denied");
    let asked = follow(&lacking.client, &refused["fix"]);
    assert_eq!((&asked["scope"], &asked["state"]), (&json!(["agents.update"]), &json!("open")));
    let path = format!("/api/access-requests/{}", text(&asked["id"]));
    site.1.at(second.host().base_url()).post(&format!("{path}/approve"), &json!({})).is(200);
    lacking.client.patch("/api/agents/lacking", &change).is(200);
    lacking.client.get("/api/agents/lacking").is(200);
    lacking.client.at(second.host().base_url()).patch("/api/agents/lacking", &json!({ "description": "ours" })).is(200);
    site.1.post(&format!("{path}/revoke"), &json!({})).is(200);
    lacking.client.at(second.host().base_url()).patch("/api/agents/lacking", &change).refused(403, "scope_denied");
}

/// R378: what an agent may never change about itself is no matter of a scope, and no ask for one is advised.
#[test]
fn no_ask_is_advised_for_what_only_people_may_change() {
    let (server, admin) = Server::with_admin();
    let scout = server.agent(&admin, "scout", &["agents.read"]);
    for field in [
        json!({ "budget_cents": 9 }),
        json!({ "scope": ["agents.read"] }),
        json!({ "tier": "high" }),
        json!({ "max_concurrent_tasks": 9 }),
        json!({ "owner": "eve@example.com" }),
        json!({ "description": "d", "parent": null }),
    ] {
        let refused = scout.client.patch("/api/agents/me", &field).refused(403, "scope_denied");
        assert!(refused.get("ask").is_none() && text(&refused["fix"]).contains("does not help"), "{field}: {refused}");
    }
    let refused = scout.client.patch("/api/agents/me", &json!({ "description": "d" })).refused(403, "scope_denied");
    assert!(refused.get("ask").is_some(), "{refused}");
    let below = json!({ "name": "below", "parent": "scout" });
    admin.post("/api/agents", &below).is(201);
    let refused = scout.client.patch("/api/agents/below", &json!({ "budget_cents": 9 })).refused(403, "scope_denied");
    assert!(refused.get("ask").is_some(), "{refused}");
}

/// R59, R121: where the owner's role lacks it, asking does not help, and the fix says so.
#[test]
fn the_fix_for_a_scope_beyond_the_role_names_the_role() {
    let site = site();
    let vic = site.0.user(&site.1, "vic@example.com", "member");
    let agent = site.0.agent(&vic, "vics", &["agents.read", "agents.update"]);
    site.0.execute("UPDATE users SET role = 'viewer' WHERE email_key = 'vic@example.com'");
    let refused =
        agent.client.patch("/api/agents/vics", &json!({ "description": "mine" })).refused(403, "scope_denied");
    let fix = text(&refused["fix"]);
    assert!(
        fix.starts_with("The role of your owner does not allow agents.update") && fix.contains("vic@example.com"),
        "{fix}"
    );
    assert!(!fix.contains("PATCH") && !fix.contains("access-requests"), "nobody's role is an agent's to change: {fix}");
    // A person without the role is sent to an admin.
    let refused = vic.post("/api/agents", &json!({ "name": "more" })).refused(403, "scope_denied");
    let raise = &calls_in(&refused["fix"])[0];
    assert_eq!((raise.method.as_str(), raise.body.as_ref()), ("PATCH", Some(&json!({ "role": "member" }))));
    site.1.patch(&raise.path, &json!({ "role": "member" })).is(200);
    vic.post("/api/agents", &json!({ "name": "more" })).is(201);
}

/// R59: the fix is to sign in to the tenant of the credential.
#[test]
fn the_fix_for_a_revoked_token_names_the_tenant() {
    let site = site();
    let other = site.0.tenant("elsewhere");
    let pat = site.0.plant_pat(&other, "*");
    let id = text(&pat.get("/api/auth/whoami").is(200)["credential"]["id"]).to_owned();
    other.delete(&format!("/auth/tokens/{id}")).is(204);
    let refused = pat.get("/api/auth/whoami").refused(401, "token_revoked");
    assert_eq!(calls_in(&refused["fix"])[0].body.as_ref().map(|body| body["tenant"].clone()), Some(json!("elsewhere")));
}

/// R59: the owner gives the scopes that no approval gives; a refusal of too wide scopes names those that can be given.
#[test]
fn the_fixes_for_wider_scopes_work() {
    let site = site();
    let (server, admin) = (&site.0, &site.1);
    let agent = server.agent(admin, "sharer", &["agents.read"]);
    let refused = agent.client.get("/api/agents/me/grants").refused(403, "scope_denied");
    let issued = follow(admin, &refused["fix"]);
    server.with(text(&issued["token"])).get("/api/agents/me/grants").is(200);
    // An editor, by a token that carries less than the ceiling.
    let mia = server.user(admin, "mia@example.com", "member");
    admin.post("/api/agents", &json!({ "name": "wide", "scope": ["*"] })).is(201);
    admin.post("/api/agents/wide/grants", &json!({ "subject": "mia@example.com", "relation": "editor" })).is(201);
    let pat = server.plant_pat(&mia, "agents.*");
    let refused = pat.post("/api/agents/wide/keys", &json!({ "name": "ci" })).refused(400, "scope_too_wide");
    let fix = text(&refused["fix"]);
    let scope: Json =
        fix.split_once("\"scope\": ").map(|(_, rest)| &rest[..=rest.find(']').unwrap()]).unwrap().parse().unwrap();
    assert!(!fix.contains("users.") && !fix.contains("agents.stop_all"), "{fix}");
    pat.post("/api/agents/wide/keys", &json!({ "name": "ci", "scope": scope })).is(201);
}

/// R59: for everybody else, each fix that names a call, or a value to send, is followed as it stands.
#[test]
fn fixes_work_when_they_are_followed() {
    let site = site();
    let (server, admin) = (&site.0, &site.1);
    // missing_credential, invalid_token: sign in.
    for client in [server.nobody(), server.with("nonsense")] {
        let fix = client.get("/api/agents").json()["fix"].clone();
        let calls = calls_in(&fix);
        assert_eq!((calls[0].method.as_str(), calls[0].path.as_str()), ("POST", "/auth/token"), "{fix}");
    }
    server.sign_in("ada@example.com", None).get("/api/agents").is(200);
    // agent_not_found, not_found, user_not_found, session_not_found, method_not_allowed: each names a list that is there.
    for (method, path) in [
        ("GET", "/api/agents/none"),
        ("GET", "/none"),
        ("GET", "/api/users/none"),
        ("DELETE", "/auth/sessions/none"),
        ("PUT", "/api"),
    ] {
        let refused = admin.call(method, path, &[], None);
        refused.envelope();
        follow(admin, &refused.json()["fix"]);
    }
    // token_revoked, for an agent: its owner issues another.
    let agent = server.agent(admin, "revoked", &["agents.read"]);
    admin.delete("/api/agents/revoked/token").is(204);
    let refused = agent.client.get("/api/auth/whoami").refused(401, "token_revoked");
    let issued = follow(admin, &refused["fix"]);
    server.with(text(&issued["token"])).get("/api/auth/whoami").is(200);
    // token_revoked of a token that was replaced (R88): the one that replaced it works, and the fix is for the case that it is lost.
    let pat = admin.post("/auth/tokens", &json!({ "name": "replaced" })).is(201);
    let next = admin.post(&format!("/auth/tokens/{}/rotate", text(&pat["id"])), &json!({})).is(201);
    let refused = server.with(text(&pat["token"])).get("/api/auth/whoami").refused(401, "token_revoked");
    assert_eq!(refused["replaced_by"], next["id"]);
    server.with(text(&next["token"])).get("/api/auth/whoami").is(200);
    let third = follow(admin, &refused["fix"]);
    server.with(text(&third["token"])).get("/api/auth/whoami").is(200);
    // idempotency_ended (R53): anew, with another key.
    let again = |key: &str| admin.post_once("/api/agents/revoked/token/issue", key, &json!({}));
    again("ended").is(200);
    admin.delete("/api/agents/revoked/token").is(204);
    again("ended").refused(409, "idempotency_ended");
    server.with(text(&again("other").is(200)["token"])).get("/api/auth/whoami").is(200);
    // unknown_scope: names of valid_scopes.
    let refused =
        admin.post("/api/agents", &json!({ "name": "fixed", "scope": ["no.such"] })).refused(400, "unknown_scope");
    admin.post("/api/agents", &json!({ "name": "fixed", "scope": refused["valid_scopes"] })).is(201);
    // scope_too_wide for a PAT: without what is named.
    let pat = server.plant_pat(admin, "agents.create agents.read agents.token.issue");
    let asked = json!({ "name": "by-pat", "scope": ["agents.read", "ui.notify", "agents.delete"] });
    let refused = pat.post("/api/agents", &asked).refused(400, "scope_too_wide");
    assert_eq!(refused["excess_scopes"], json!(["agents.delete", "ui.notify"]));
    pat.post("/api/agents", &json!({ "name": "by-pat", "scope": ["agents.read"] })).is(201);
    // session_required: sign in, and send that.
    pat.post("/api/users", &json!({})).refused(403, "session_required");
    // invalid_limit, invalid_filter: a value that is named.
    admin.get("/api/agents?limit=0").refused(400, "invalid_limit");
    admin.get("/api/agents?limit=200").is(200);
    let refused = admin.get("/api/agents?state=asleep").refused(400, "invalid_filter");
    assert!(text(&refused["fix"]).contains("running, paused, stopped"), "{refused}");
    admin.get("/api/agents?state=paused").is(200);
    // email_taken: the named list finds the user.
    let refused =
        admin.post("/api/users", &json!({ "email": "Ada@example.com", "name": "A" })).refused(409, "email_taken");
    let found = admin.get(&calls_in(&refused["fix"])[0].path.replace("<address>", "ada@example.com")).is(200);
    assert_eq!(found["items"][0]["email"], "ada@example.com");
    // idempotency_mismatch: the first body again.
    let body = json!({ "name": "once", "issue_token": false });
    admin.post_once("/api/agents", "fix", &body).is(201);
    admin.post_once("/api/agents", "fix", &json!({ "name": "twice" })).refused(422, "idempotency_mismatch");
    admin.post_once("/api/agents", "fix", &body).is(201);
    // csrf_failed is followed in credentials.rs, the two of rotation here: leave out what is named.
    let own = server.agent(admin, "own", &["agents.token.issue", "agents.read"]);
    own.client
        .post("/api/agents/own/token/issue", &json!({ "scope": ["agents.read"] }))
        .refused(400, "rotation_keeps_rights");
    own.client.post("/api/agents/own/token/issue", &json!({ "grace_seconds": 0 })).refused(400, "invalid_grace");
    own.client.post("/api/agents/own/token/issue", &json!({ "grace_seconds": 60 })).is(200);
}

/// R59: a caller that presents a key is told how to make another key; the agent's token stays what it is.
#[test]
fn the_fixes_for_keys_work() {
    let site = site();
    let (server, admin) = (&site.0, &site.1);
    let agent = server.agent(admin, "keyed", &["agents.list", "agents.read"]);
    let make =
        |name: &str| admin.post("/api/agents/keyed/keys", &json!({ "name": name, "scope": ["agents.read"] })).is(201);
    // scope_denied, then token_revoked: the owner makes another key.
    let lacking = make("lacking");
    let refused = server.with(text(&lacking["key"])).get("/api/agents").refused(403, "scope_denied");
    let made = follow(admin, &refused["fix"]);
    let key = server.with(text(&made["key"]));
    key.get("/api/agents").is(200);
    key.get("/api/agents/keyed").is(200);
    let path = |key: &Json| format!("/api/agents/keyed/keys/{}", text(&key["id"]));
    admin.delete(&path(&made)).is(204);
    let refused = key.get("/api/agents").refused(401, "token_revoked");
    server.with(text(&follow(admin, &refused["fix"])["key"])).get("/api/auth/whoami").is(200);
    // key_not_found: the named list is there.
    let refused = admin.get("/api/agents/keyed/keys/none").refused(404, "key_not_found");
    follow(admin, &refused["fix"]);
    // key_ended: deleted and made anew.
    server.execute("UPDATE credentials SET revoked_at = 1 WHERE name = 'lacking'");
    let refused = admin.post(&format!("{}/rotate", path(&lacking)), &json!({})).refused(409, "key_ended");
    follow(admin, &refused["fix"]);
    admin.get(&path(&lacking)).refused(404, "key_not_found");
    // key_taken: the key that is there is rotated.
    let taken = make("taken");
    let refused = admin.post("/api/agents/keyed/keys", &json!({ "name": "taken" })).refused(409, "key_taken");
    assert!(text(&refused["fix"]).contains(&format!("POST {}/rotate", path(&taken))), "{refused}");
    admin.post(&format!("{}/rotate", path(&taken)), &json!({})).is(201);
    agent.client.get("/api/auth/whoami").is(200);
}

/// R8, R11, R59: a token in its grace replaces nothing any more: a retry must not end the token that replaced it.
#[test]
fn a_token_in_its_grace_replaces_nothing() {
    let site = site();
    let (server, admin) = (&site.0, &site.1);
    let old = server.agent(admin, "short-lived", &["agents.read", "agents.token.issue"]);
    let path = "/api/agents/short-lived/token/issue";
    let next = old.client.post(path, &json!({})).is(200);
    let refused = old.client.post(path, &json!({})).refused(409, "token_replaced");
    assert!(text(&refused["fix"]).contains("ask ada@example.com"), "{refused}");
    server.with(text(&next["token"])).get("/api/auth/whoami").is(200);
}

/// R9, R58: a DELETE ignores nothing that it was sent: a body that the route does not take is refused, and nothing is deleted.
#[test]
fn a_delete_takes_no_body_that_it_does_not_know() {
    let site = site();
    let agent = site.0.agent(&site.1, "deleting", &["*"]).client;
    let mut refused = 0;
    for route in site.0.routes().iter().filter(|route| route["method"] == "DELETE") {
        let path = text(&route["path"]).replace("{name}", "none").replace("{id}", "none").replace("{key}", "NONE");
        let client = if route["for_agents"] == true { &agent } else { &site.1 };
        let answer = client.call("DELETE", &path, &[], Some(br#"{"unknown": 1}"#));
        let fields = answer.refused(422, "validation_error")["fields"].clone();
        let named = fields.as_array().is_some_and(|fields| fields.iter().any(|field| field["field"] == "unknown"));
        assert!(named, "{path}: {fields}");
        refused += 1;
    }
    assert!(refused > 10, "{refused}");
}
