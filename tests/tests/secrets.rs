//! R2, R3: a secret is returned once, and after that it is found nowhere: in no file, no log, and no later answer.

#![expect(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "helpers of tests: whatever is not as expected ends the test"
)]

use std::{
    fs,
    path::{Path, PathBuf},
};

use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use serde_json::{Value as Json, json};
use tests::{
    Answer, Server,
    secret::unique,
    server::{PASSWORD, text},
    totp::Authenticator,
};

/// The forms in which bytes in a file would reveal the secret to a reader.
fn forms(secret: &str) -> Vec<(String, Vec<u8>)> {
    let mut forms = vec![("as it is".to_owned(), secret.as_bytes().to_vec())];
    let hex: String = secret.bytes().map(|byte| format!("{byte:02x}")).collect();
    forms.push(("in UTF-16".to_owned(), secret.encode_utf16().flat_map(u16::to_le_bytes).collect()));
    forms.push(("in upper-case hex".to_owned(), hex.to_uppercase().into_bytes()));
    forms.push(("in hex".to_owned(), hex.into_bytes()));
    forms.push(("backwards".to_owned(), secret.bytes().rev().collect()));
    // In base64 the text looks different at each of three offsets; the middle of it does not depend on what stands around.
    for offset in 0..3 {
        let padded = [vec![0; offset], secret.as_bytes().to_vec()].concat();
        let text = STANDARD.encode(padded);
        let middle = text.get(4..text.len() - 4).unwrap_or_default().as_bytes().to_vec();
        forms.push((format!("in base64, {offset} bytes in"), middle));
    }
    // A credential's random bytes by themselves.
    if let Some(bytes) = secret.get(8..51).and_then(|body| URL_SAFE_NO_PAD.decode(body).ok()) {
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        forms.push(("its bytes in hex".to_owned(), hex.into_bytes()));
        forms.push((
            "its bytes in base64".to_owned(),
            STANDARD.encode(&bytes).trim_end_matches('=').as_bytes().to_vec(),
        ));
        forms.push(("its bytes".to_owned(), bytes));
    }
    forms
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    let Some(first) = needle.first() else { return false };
    let mut rest = haystack;
    while let Some(at) = rest.iter().position(|byte| byte == first) {
        rest = &rest[at..];
        if rest.starts_with(needle) {
            return true;
        }
        rest = &rest[1..];
    }
    false
}

#[test]
fn the_search_finds_what_it_looks_for() {
    let secret = "acr_agt_0123456789abcdefghijklmnopqrstuvwxyzABCDEFGhijklmno";
    let found = |text: &[u8]| forms(secret).iter().any(|(_, form)| contains(text, form));
    assert!(found(format!("x{secret}y").as_bytes()));
    for before in ["", "a", "ab"] {
        assert!(found(STANDARD.encode(format!("{before}{secret} and more")).as_bytes()), "{before:?}");
    }
    assert!(!found(b"acr_agt_0123456789abcdef"));
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

#[test]
fn after_its_one_answer_a_secret_is_found_nowhere() {
    let vault = [unique(), unique()].concat();
    let server = Server::settings().ticking().variable("secrets_key", &vault).start();
    let mut secrets: Vec<(&str, String)> = vec![
        ("the operator secret", server.operator_secret().to_owned()),
        ("a password", PASSWORD.to_owned()),
        ("the key of stored secrets", vault),
    ];
    let mut later: Vec<Answer> = Vec::new();
    let nobody = server.nobody();

    // Every kind of secret that there is, made in every way that there is.
    let bootstrap =
        json!({ "secret": server.operator_secret(), "email": "ada@example.com", "name": "Ada", "password": PASSWORD });
    later.push(nobody.post("/auth/bootstrap", &bootstrap));
    later.push(nobody.post("/auth/bootstrap", &bootstrap));
    let tenant = json!({ "secret": server.operator_secret(), "tenant": "other", "email": "eve@example.com", "name": "Eve", "password": PASSWORD });
    later.push(nobody.post("/operator/tenants", &tenant));
    let ada = server.sign_in("ada@example.com", None);
    let ended = server.sign_in("ada@example.com", None);
    secrets.extend([("a session", ada.bearer().to_owned()), ("an ended session", ended.bearer().to_owned())]);
    let created =
        ada.post_once("/api/agents", "the-key-of-the-create", &json!({ "name": "scout", "scope": ["*"] })).is(201);
    secrets.push(("an inline token", text(&created["auth_token"]).to_owned()));
    let replayed = ada.post_once("/api/agents", "the-key-of-the-create", &json!({ "name": "scout", "scope": ["*"] }));
    assert_eq!(replayed.is(201), created, "the one answer, again for its own credential");
    let scout = server.with(text(&created["auth_token"]));
    let issued = ada
        .post_once("/api/agents/scout/token/issue", "the-key-of-the-issue", &json!({ "grace_seconds": 600 }))
        .is(200);
    secrets.push(("an issued token", text(&issued["token"]).to_owned()));
    let rotated = server.with(text(&issued["token"])).post("/api/agents/scout/token/issue", &json!({})).is(200);
    secrets.push(("a rotated token", text(&rotated["token"]).to_owned()));
    let brought = format!("brought-{}", unique());
    for (what, ask) in [
        ("a key", json!({ "name": "ci" })),
        ("a webhook's secret", json!({ "name": "repo", "type": "github" })),
        ("a webhook's secret that was brought", json!({ "name": "chat", "type": "slack", "value": brought })),
    ] {
        let made = ada.post_once("/api/agents/scout/keys", what, &ask).is(201);
        let path = format!("/api/agents/scout/keys/{}", text(&made["id"]));
        let rotated = ada.post(&format!("{path}/rotate"), &json!({})).is(201);
        secrets.extend([(what, text(&made["key"]).to_owned()), (what, text(&rotated["key"]).to_owned())]);
        later.extend([
            ada.get(&path),
            ada.post("/api/agents/scout/keys", &ask),
            ada.post(&format!("{path}/rotate"), &ask),
        ]);
        later.push(server.with(text(&made["key"])).get("/api/auth/whoami"));
    }
    later.push(ada.get("/api/agents/scout/keys"));
    later.push(ada.get("/api/audit"));
    let user = ada.post("/api/users", &json!({ "email": "mia@example.com", "name": "Mia" })).is(201);
    let another = "another quiet orbit for mia";
    secrets.push(("a password that was set", another.to_owned()));
    later.push(ada.post(&format!("/api/users/{}/set-password", text(&user["id"])), &json!({ "password": another })));

    // A second factor: its secret, its recovery codes, and the ticket of a sign-in.
    let mia = server.nobody().post("/auth/token", &json!({ "email": "mia@example.com", "password": another })).is(200);
    let mia = server.with(text(&mia["access_token"]));
    let app = Authenticator::set_up(&server, &mia);
    let waiting = nobody.post("/auth/token", &json!({ "email": "mia@example.com", "password": another }));
    let ticket = text(&waiting.refused(401, "second_factor_required")["ticket"]).to_owned();
    let verify = json!({ "ticket": ticket, "code": app.recovery_codes[0] });
    let signed_in = nobody.post("/auth/factor/verify", &verify).is(200);
    secrets.extend([
        ("the secret of a second factor", app.secret.clone()),
        ("a recovery code", app.recovery_codes[0].clone()),
        ("a recovery code without hyphens", app.recovery_codes[1].replace('-', "")),
        ("a ticket", ticket),
        ("a session by a second factor", text(&signed_in["access_token"]).to_owned()),
    ]);
    later.push(nobody.post("/auth/factor/verify", &verify));
    later.push(mia.get("/auth/factor"));
    later.push(mia.post("/auth/factor", &json!({})));
    later.push(mia.post("/auth/reauthenticate", &json!({ "code": app.recovery_codes[0] })));

    // Everything that shows or refuses any of it.
    let now = server.with(text(&rotated["token"]));
    for client in [&ada, &ended, &scout, &now, &nobody] {
        for path in
            ["/api/auth/whoami", "/api/agents", "/api/agents/scout", "/api/users", "/auth/sessions", "/readyz", "/api"]
        {
            later.push(client.get(path));
        }
        let token = client.bearer().to_owned();
        later.push(nobody.get(&format!("/api/auth/whoami?access_token={token}")));
        later.push(client.get(&format!("/api/agents?token={token}")));
        for broken in [format!("{token}x"), token.to_lowercase(), format!("x{token}")] {
            later.push(server.with(&broken).get("/api/auth/whoami"));
        }
        later.push(nobody.post("/auth/token", &json!({ "email": token, "password": token })));
        later.push(nobody.post("/auth/token", &json!({ "password": 7, "email": PASSWORD })));
        later.push(client.call("POST", "/api/agents", &[], Some(format!("{{\"name\": \"{token}\"").as_bytes())));
        later.push(client.post("/api/agents", &json!({ "name": "n", "scope": [token] })));
        later.push(client.post_once(
            "/api/agents",
            "the-key-of-the-create",
            &json!({ "name": "scout", "scope": ["*"] }),
        ));
    }
    later.push(nobody.post(
        "/auth/bootstrap",
        &json!({ "secret": "wrong", "email": "x@example.com", "name": "X", "password": another }),
    ));
    later.push(ada.patch("/api/agents/scout", &json!({ "description": "changed" })));
    later.push(ended.post("/auth/logout", &json!({})));
    later.push(ada.delete("/api/agents/scout/token"));
    later.push(ada.delete("/api/agents/scout"));
    // A failing statement must not take its parameters to the log.
    server.execute("ALTER TABLE credentials RENAME TO gone");
    later.push(ada.get("/api/auth/whoami"));
    later.push(nobody.post("/auth/token", &json!({ "email": "ada@example.com", "password": PASSWORD })));
    server.execute("ALTER TABLE gone RENAME TO credentials");

    // An echo to the sender would be no leak, but we send none: only the replay of the create holds a secret again.
    for answer in &later {
        let is_replay = answer.header("idempotency-replayed") == "true";
        for (what, secret) in secrets.iter().filter(|_| !is_replay) {
            // A text that a caller sent as a scope or a name may be named in the refusal to that caller.
            let text = answer.text().replace(&format!("\"unknown_scopes\":[\"{secret}\"]"), "");
            for (form, bytes) in forms(secret) {
                assert!(!contains(text.as_bytes(), &bytes), "{what} stands {form} in: {answer:?}");
            }
            for (name, value) in answer.headers() {
                assert!(!value.contains(secret.as_str()), "{what} stands in the header {name} of {answer:?}");
            }
        }
    }
    let mut searched: Vec<(String, Vec<u8>)> = vec![("the log".to_owned(), server.host().log().into_bytes())];
    let state = files(server.state().path());
    assert!(
        state.iter().any(|path| path.ends_with("sqlite_db.db"))
            && state.iter().any(|path| path.ends_with("sqlite_db.db-wal")),
        "{state:?}"
    );
    searched.extend(state.iter().map(|path| (path.display().to_string(), fs::read(path).unwrap())));
    for (place, bytes) in &searched {
        for (what, secret) in secrets
            .iter()
            .map(|(what, secret)| (*what, secret.as_str()))
            .chain([("a key", "the-key-of-the-create"), ("a key", "the-key-of-the-issue")])
        {
            for (form, needle) in forms(secret) {
                assert!(!contains(bytes, &needle), "{what} stands {form} in {place}");
            }
        }
    }
}

/// R3: an agent's token is shown by the answer that makes it, and by no other.
#[test]
fn a_token_is_shown_once() {
    let (server, admin) = Server::with_admin();
    let made = admin.post("/api/agents", &json!({ "name": "scout" })).is(201);
    let token = text(&made["auth_token"]);
    let mut shown = admin.get("/api/agents/scout").is(200);
    assert_eq!(shown["token"]["prefix"], token[..16]);
    assert!(!shown.to_string().contains(&token[..17]));
    assert_eq!(shown.as_object_mut().and_then(|agent| agent.remove("auth_token")), None::<Json>);
    let rows = server.texts("SELECT ifnull(before, '') || ifnull(after, '') FROM audit").join("\n");
    assert!(rows.contains(&token[..16]) && !rows.contains(&token[..17]), "{rows}");
}

/// Where the body is dropped: one route reads none, the others none that nobody signed or nobody with a credential sent.
const WITHOUT_BODY: [&str; 4] = ["/internal/tick", "/internal/key-sets", "/api/hooks/{key_id}", "/mcp"];

const FORM: &str = "application/x-www-form-urlencoded";

/// R82: a live credential in any text of any route's body, in the name of a member, in a path, a query or a header that is kept: refused
/// or cut off, on every route of the table; and afterwards it is found nowhere.
#[test]
fn a_credential_in_somebody_elses_text_is_stored_nowhere() {
    let server = Server::settings().ticking().start();
    let admin = server.bootstrap();
    let scout = server.agent(&admin, "scout", &["*"]);
    let pat = server.plant_pat(&admin, "*");
    let live = pat.bearer().to_owned();
    let escaped = live.replace("acr_", "\\u0061cr_");
    let mut later = Vec::new();
    for route in server.routes() {
        let (method, pattern) = (text(&route["method"]), text(&route["path"]));
        let path = pattern
            .replace("{name}", "scout")
            .replace("{id}", "some-id")
            .replace("{key}", "SOME_KEY")
            .replace("{*page}", "x")
            .replace("{scope}/{*path}", "-/x")
            .replace("{file}", "x");
        let client = match (route["access"] == "public", route["for_agents"] == true) {
            (true, _) => server.nobody(),
            (_, true) => scout.client.clone(),
            _ => admin.clone(),
        };
        for at in [format!("{path}?x={live}"), format!("{path}?{live}"), format!("{path}?x=%61cr{}&y", &live[3..])] {
            let answer = client.call(method, &at, &[], None);
            answer.refused(400, "credential_in_url");
            later.push(answer);
        }
        if method == "GET" {
            continue;
        }
        if route["content_type"] == FORM {
            for field in ["client_id", "name", "scope", "anything"] {
                let body = format!("{field}={live}");
                let answer = client.form(&path, &body);
                // What a device calls itself is kept. Everything else is compared or dropped.
                if pattern == "/auth/device/code" && matches!(field, "client_id" | "name") {
                    assert_eq!(answer.refused(422, "credential_in_text")["fields"][0]["field"], field);
                }
                later.push(answer);
            }
            continue;
        }
        for (body, field) in [
            (format!(r#"{{"anything": "{live}"}}"#), "anything"),
            (format!(r#"{{"text": "see {escaped}!"}}"#), "text"),
            (format!(r#"{{"lines": [1, {{"text": ["{live}"]}}]}}"#), "lines"),
            (format!(r#"{{"labels": {{"{live}": "x"}}}}"#), "labels"),
            (format!(r#"{{"{live}": "x"}}"#), ""),
            (format!(r#"{{"{live}": "x", "{live}": "y"}}"#), ""),
        ] {
            let answer = client.call(method, &path, &[], Some(body.as_bytes()));
            if !WITHOUT_BODY.contains(&pattern) {
                assert_eq!(answer.refused(422, "credential_in_text")["fields"][0]["field"], field, "{method} {path}");
            }
            later.push(answer);
        }
    }
    for path in [
        format!("/nowhere/{live}"),
        format!("/api/agents/{live}"),
        format!("/auth/tokens/{}", live.replace('_', "%5f")),
    ] {
        for method in ["GET", "DELETE", "PATCH"] {
            later.push(admin.call(method, &path, &[], None));
            later.last().unwrap().refused(400, "credential_in_url");
        }
        assert_eq!(admin.call("HEAD", &path, &[], None).status(), 400);
    }
    let body = json!({ "name": "other" }).to_string();
    later.push(admin.call("POST", "/api/agents", &[("idempotency-key", &live)], Some(body.as_bytes())));
    assert_eq!(later.last().unwrap().refused(422, "credential_in_text")["fields"][0]["field"], "Idempotency-Key");
    // What is kept without being asked for is cut off in front of it.
    let body = json!({ "email": "ada@example.com", "password": PASSWORD }).to_string();
    for agent in [format!("tool/1 ({live}) x"), format!("tool/1 {}", "x".repeat(180) + &live), live.clone()] {
        later.push(server.nobody().call("POST", "/auth/token", &[("user-agent", &agent)], Some(body.as_bytes())));
        later.last().unwrap().is(200);
    }
    assert_eq!(server.number("SELECT count(*) FROM credentials WHERE user_agent = 'tool/1 ([removed]'"), 1);
    // Fields that are compared with a secret may hold one, and what only looks like one may stand anywhere.
    let nobody = server.nobody();
    later.push(nobody.post("/auth/token", &json!({ "email": "ada@example.com", "password": live })));
    later.last().unwrap().refused(401, "login_failed");
    let account =
        json!({ "secret": live, "email": "eve@example.com", "name": "Eve", "password": PASSWORD, "tenant": "other" });
    later.push(nobody.post("/operator/tenants", &account));
    later.last().unwrap().refused(403, "wrong_operator_secret");
    later.push(admin.post("/auth/password", &json!({ "current": live, "new": "another quiet orbit" })));
    later.last().unwrap().refused(403, "wrong_password");
    let form = format!("token={live}");
    assert_eq!(admin.form("/auth/introspect", &form).is(200)["active"], true);
    let like = tests::secret::credential("acr_pat_");
    let like = format!("{}{}", &like[..56], if like.ends_with('0') { '1' } else { '0' });
    admin.patch("/api/agents/scout", &json!({ "description": format!("not {like}, nor acr_pat_…") })).is(200);

    for answer in &later {
        assert!(!answer.text().contains(&live) && !answer.text().contains(&live[..24]), "{answer:?}");
    }
    let mut searched: Vec<(String, Vec<u8>)> = vec![("the log".to_owned(), server.host().log().into_bytes())];
    let state = files(server.state().path());
    searched.extend(state.iter().map(|path| (path.display().to_string(), fs::read(path).unwrap())));
    for (place, bytes) in &searched {
        for (form, needle) in forms(&live) {
            assert!(!contains(bytes, &needle), "it stands {form} in {place}");
        }
    }
    // The fix: its finder ends it.
    nobody.post("/auth/leaks", &json!({ "token": live })).is(204);
    pat.get("/api/auth/whoami").refused(401, "token_revoked");
}
