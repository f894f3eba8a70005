//! R87, R310: a full database. Every route that changes something says here whether it goes through then: what takes a right away does, what
//! gives one or stores more does not, and where the body decides, both are sent. Before each request no page is free, and the page that
//! the audit row would go to has no room.

#![expect(clippy::unwrap_used, reason = "helpers of tests: whatever is not as expected ends the test")]

use std::collections::BTreeSet;

use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value as Json, json};
use sha2::Sha256;
use tests::{
    Answer, Client, Server,
    server::{KEY, PASSWORD, text},
    totp::Authenticator,
};

/// What becomes of a request when the database is full.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Full {
    /// It goes through.
    Works,
    /// It goes through, and sent once more it ends nothing and adds nothing to the trail: nobody fills the database by it.
    Ends,
    /// 503 `storage_full`.
    Refused,
}
use Full::{Ends, Refused, Works};

/// The routes that are not asked here, and why not.
const ELSEWHERE: &[&str] = &[
    // Reads, though it is a POST.
    "POST /auth/introspect",
    "POST /auth/code",
    // Store nothing.
    "POST /auth/oidc/{provider}/start",
    "POST /auth/oidc/{provider}/link",
    // Needs a provider: `oidc` tests whom it lets in then.
    "POST /auth/oidc/{provider}/finish",
    // There is a first tenant already.
    "POST /auth/bootstrap",
    // This server sends no mail.
    "POST /api/mail/test",
    "POST /api/mail/outbox/{id}/retry",
    "POST /auth/email",
    "POST /auth/email/confirm",
    "POST /auth/email/link",
    "POST /auth/email/token",
    "POST /auth/forgot",
    // Writes rows for other routes; `worker` tests what it leaves out.
    "POST /internal/tick",
    // Fetches what a request for a token waits for, and may lose it.
    "POST /internal/key-sets",
    // Stores nothing.
    "POST /oauth/register",
    "POST /internal/proofs",
    // Sends requests of other routes.
    "POST /mcp",
];

/// The routes of the last list that end nothing: they let somebody in, or mark something.
const ENDS_NOTHING: &[&str] = &[
    "POST /auth/token",
    "POST /auth/factor/verify",
    "POST /auth/reauthenticate",
    "POST /auth/invite",
    "POST /operator/recover",
    "POST /api/agents/me/heartbeat",
    "POST /api/agents/me/inbox/ack",
    "POST /api/notifications/{id}/read",
    "POST /api/notifications/read-all",
];

struct Site {
    server: Server,
    admin: Client,
    asked: BTreeSet<String>,
}

impl Site {
    /// Fills all pages that are in use, so that whatever is written next to the audit trail needs one more.
    fn leave_no_page(&self) {
        self.server.execute(&format!(
            "INSERT INTO audit (id, at, tenant_id, action, object_id, outcome, before)
             VALUES ('aud_' || lower(hex(randomblob(13))), 0, (SELECT id FROM tenants LIMIT 1), 'filler', 'none', 'done', '{}')",
            "x".repeat(3_850)
        ));
    }

    /// Sends a request of a row, and holds the answer against what the row says.
    #[track_caller]
    fn ask(&mut self, row: &str, full: Full, client: &Client, path: &str, body: &Json) -> Json {
        self.asked.insert(row.to_owned());
        self.leave_no_page();
        let pages = self.server.number("PRAGMA page_count");
        let method = row.split(' ').next().unwrap();
        // A text is a form.
        let (media, sent) = match body.as_str() {
            Some(form) => ("application/x-www-form-urlencoded", form.to_owned()),
            None => ("application/json", body.to_string()),
        };
        let sent = Some(sent.as_bytes()).filter(|_| !body.is_null());
        let send = || client.call(method, path, &[("content-type", media)], sent);
        let answer = send();
        match full {
            Refused => {
                answer.refused(503, "storage_full");
                assert_eq!(self.server.number("PRAGMA page_count"), pages, "{row} {body}: it has grown");
            }
            Works | Ends => assert!(answer.status() < 300, "{row} {path} {body}: {answer:?}"),
        }
        if full == Ends {
            let done = || self.server.number("SELECT count(*) FROM audit WHERE outcome = 'done'");
            let before = done();
            send();
            assert_eq!(done(), before, "{row} {path}: it is in the trail again");
        }
        answer.json()
    }
}

/// The body of a hook, larger than what is free.
fn long_hook() -> String {
    json!({ "text": "x".repeat(6_000) }).to_string()
}

/// As GitHub signs a body.
fn signed_by_github(secret: &str, body: &str) -> String {
    let mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap().chain_update(body).finalize();
    let hex: String = mac.into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256={hex}")
}

#[test]
fn what_takes_a_right_away_goes_through_when_the_database_is_full() {
    let server = Server::settings()
        .variable("database_max_mib", "2")
        .variable("secrets_key", KEY)
        .variable("signing_key", KEY)
        .variable("outbound_hosts", "localhost:1")
        .start();
    let admin = server.bootstrap();
    let mut site = Site { server, admin: admin.clone(), asked: BTreeSet::new() };
    let server = &site.server;
    let scopes = ["agents.read", "agents.logs", "agents.create", "ui.notify", "agents.message"];

    // All that the requests name.
    let max = server.user(&admin, "max@example.com", "curator");
    let user = |email: &str| {
        let body = json!({ "email": email, "name": "User", "role": "member" });
        text(&admin.post("/api/users", &body).is(201)["id"]).to_owned()
    };
    let (bare, idle, gone, halted) =
        (user("bare@example.com"), user("idle@example.com"), user("gone@example.com"), user("halted@example.com"));
    admin.post(&format!("/api/users/{idle}/deactivate"), &json!({})).is(200);
    let max_id = text(&admin.get("/api/users?q=max@").is(200)["items"][0]["id"]).to_owned();
    let scout = server.agent(&admin, "scout", &scopes);
    for name in ["other", "third", "fourth", "fifth", "filed", "purged", "stopped", "paused", "leaked"] {
        server.agent(&admin, name, &scopes);
    }
    let bounds = json!({ "tier": 3, "max_concurrent_tasks": 9, "budget_cents": 900, "preset": "worker" });
    admin.patch("/api/agents/fifth", &bounds).is(200);
    for name in ["filed", "purged"] {
        admin.delete(&format!("/api/agents/{name}")).is(204);
    }
    let archived = |name: &str| {
        let list = admin.get("/api/agents/archived").is(200)["items"].clone();
        let row = list.as_array().unwrap().iter().find(|agent| agent["name"] == name).cloned().unwrap();
        format!("/api/agents/archived/{}", text(&row["id"]))
    };
    let (archived, purged) = (archived("filed"), archived("purged"));
    admin.post("/api/agents/stopped/stop", &json!({})).is(200);
    admin.post("/api/agents/paused/pause", &json!({})).is(200);
    let pat = |name: &str| {
        let made = admin.post("/auth/tokens", &json!({ "name": name })).is(201);
        (format!("/auth/tokens/{}", text(&made["id"])), text(&made["token"]).to_owned())
    };
    server.execute(&format!(
        "INSERT INTO identities (id, user_id, issuer, subject, provider, created_at)
         VALUES ('idn_max', '{max_id}', 'https://sso.example', '7', 'acme', 0)"
    ));
    let (first, second, third) = (pat("first"), pat("second"), pat("third"));
    let own = server.with(&pat("own").1);
    let key = |name: &str| {
        let made = admin.post("/api/agents/scout/keys", &json!({ "name": name })).is(201);
        format!("/api/agents/scout/keys/{}", text(&made["id"]))
    };
    let (kept_key, lost_key) = (key("kept"), key("lost"));
    let viewer = json!({ "subject": "max@example.com", "relation": "viewer" });
    let editor = json!({ "subject": "max@example.com", "relation": "editor" });
    for path in ["/api/agents/scout/grants".to_owned(), format!("{kept_key}/grants")] {
        admin.post(&path, &viewer).is(201);
    }
    let ask = |scope: &str| {
        let made = scout.client.post("/api/access-requests", &json!({ "scope": scope, "reason": "r" })).is(201);
        format!("/api/access-requests/{}", text(&made["id"]))
    };
    let (open, denied, approved) = (ask("agents.list"), ask("agents.update"), ask("agents.delete"));
    let withdrawn = ask("guides.read");
    admin.post(&format!("{approved}/approve"), &json!({})).is(200);
    admin.post("/api/scopes/custom", &json!({ "name": "x.crm.read", "description": "d" })).is(201);
    let body = json!({ "identifier": "https://crm.example", "scopes": ["x.crm.read"], "introspectors": ["scout"] });
    let resource = format!("/api/resources/{}", text(&admin.post("/api/resources", &body).is(201)["id"]));
    let open_service = json!({ "identifier": "https://open.example" });
    admin.post("/api/resources", &open_service).is(201);
    let exchange = json!(tests::oauth::exchange(scout.client.bearer(), "https://open.example"));
    let guides = |text: &str| json!({ "pages": [{ "name": "a", "title": "A", "text": text }] });
    admin.put("/api/guides/app:kept", &guides("before")).is(200);
    let preset = |scope: &[&str]| json!({ "scope": scope });
    admin.put("/api/presets/own", &preset(&["agents.*"])).is(200);
    admin.put("/api/presets/unused", &preset(&["agents.*"])).is(200);
    let secrets = json!({ "secrets": { "KEPT": "x", "LOST": "x" } });
    admin.put("/api/agents/scout/secrets", &secrets).is(200);
    let probe = |name: &str| json!({ "name": name, "url": "https://localhost:1/", "secret": "KEPT" });
    let probe_id = text(&admin.post("/api/agents/scout/probes", &probe("kept")).is(201)["id"]).to_owned();
    let webhook = |name: &str| json!({ "url": "https://localhost:1/", "name": name, "kinds": ["agent.created"] });
    let webhook_id = text(&admin.post("/api/webhooks", &webhook("kept")).is(201)["id"]).to_owned();
    let webhook_path = format!("/api/webhooks/{webhook_id}");
    admin.post(&format!("{webhook_path}/test"), &json!({})).is(202);
    let deliveries = admin.get(&format!("{webhook_path}/deliveries")).is(200);
    let delivery = format!("{webhook_path}/deliveries/{}", text(&deliveries["items"][0]["id"]));
    let made = admin.post("/api/agents/scout/keys", &json!({ "name": "github", "type": "github" })).is(201);
    let hook_path = format!("/api/hooks/{}", text(&made["id"]));
    let signature = signed_by_github(text(&made["key"]), &long_hook());
    scout.client.post("/api/ui/notify", &json!({ "title": "t", "body": "b" })).is(201);
    let notified = text(&admin.get("/api/notifications").is(200)["items"][0]["id"]).to_owned();
    let event = admin.post("/api/agents/scout/messages", &json!({ "text": "hi" })).is(201);
    let leaving = server.sign_in("ada@example.com", None);
    let eve = server.user(&admin, "eve@example.com", "member");
    let eve_id = text(&eve.get("/api/auth/whoami").is(200)["user_id"]).to_owned();
    server.execute(&format!(
        "INSERT INTO identities (id, user_id, issuer, subject, provider, created_at)
         VALUES ('idn_eve', '{eve_id}', 'https://sso.example', '8', 'acme', 0)"
    ));
    let app = Authenticator::set_up(server, &eve);
    let ticket = server.nobody().post("/auth/token", &json!({ "email": "eve@example.com", "password": PASSWORD }));
    let ticket = ticket.refused(401, "second_factor_required")["ticket"].clone();
    let begun = Authenticator {
        secret: text(&max.post("/auth/factor", &Json::Null).is(201)["secret"]).to_owned(),
        recovery_codes: vec![],
    };
    let code = |path: String| {
        let link = admin.post(&path, &json!({})).is(200);
        text(&link["url"]).split_once("code=").map(|(_, code)| code.to_owned()).unwrap()
    };
    let (reset, invitation) =
        (code(format!("/api/users/{halted}/reset-password")), code(format!("/api/users/{bare}/invite")));

    admin.post("/api/agents/deploy", &json!({ "name": "other" })).is(202);
    let enrolment = text(&admin.post("/api/agents/third/enrolment", &json!({})).is(201)["code"]).to_owned();
    let device = || {
        let codes = server.nobody().form("/auth/device/code", "name=laptop").is(200);
        let path = format!("/auth/device/{}", text(&codes["user_code"]));
        (path, text(&codes["device_code"]).to_owned())
    };
    let (waiting, unwanted, trusted) = (device(), device(), device());
    admin.post(&format!("{}/approve", trusted.0), &json!({})).is(200);
    let redeem = json!(format!("grant_type=urn:ietf:params:oauth:grant-type:device_code&device_code={}", trusted.1));

    let body = json!({ "name": "App", "redirect_uris": ["https://app.example.com/cb"], "confidential": false });
    let client_id = text(&admin.post("/api/oauth/clients", &body).is(201)["id"]).to_owned();
    let asked = json!({ "request": tests::oauth::request(&client_id) });
    let trade =
        || tests::oauth::trade(&client_id, &tests::oauth::code(&admin.post("/api/oauth/authorize", &asked).is(200)));
    let let_in = || {
        let got = server.nobody().form("/oauth/token", &trade()).is(200);
        text(&got["refresh_token"]).to_owned()
    };
    let (code_form, app_refresh, _more) = (json!(trade()), let_in(), let_in());
    let revoke_form = json!(format!("client_id={client_id}&token={app_refresh}"));
    let refresh_form = json!(format!("grant_type=refresh_token&client_id={client_id}&refresh_token={app_refresh}"));
    let app_id = text(&admin.get("/auth/apps").is(200)["items"][0]["id"]).to_owned();
    let client_path = format!("/api/oauth/clients/{client_id}");
    let confidential =
        json!({ "name": "Server", "redirect_uris": ["https://app.example.com/cb"], "confidential": true });
    let made = admin.post("/api/oauth/clients", &confidential).is(201);
    let secret_client = format!("/api/oauth/clients/{}", text(&made["id"]));

    let trust = json!({
        "name": "ci", "issuer": "ci", "subject": "a:b:c",
        "jwks": { "keys": [{ "kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo" }] },
    });
    let federated = text(&admin.post("/api/agents/scout/federated-credentials", &trust).is(201)["id"]).to_owned();
    let federated = format!("/api/agents/scout/federated-credentials/{federated}");

    // Full, and beyond the bound: as after many revocations.
    server.execute("INSERT INTO attempts (key, count, ends_at) VALUES (randomblob(3000000), 1, 9000000000000)");
    let nothing = Json::Null;
    let empty = json!({});
    let long = "x".repeat(1_900);

    // What gives a right or stores more.
    let admin = &site.admin.clone();
    let tenant = json!({ "secret": site.server.operator_secret(), "tenant": "more", "email": "a@example.com", "name": "A", "password": PASSWORD });
    let new_user = json!({ "email": "new@example.com", "name": "New" });
    let imported = json!({ "agents": [{ "name": "imported", "scope": ["agents.read"] }] });
    let password = json!({ "password": PASSWORD });
    let lines: Vec<Json> = (0..30).map(|_| json!({ "text": long })).collect();
    for (row, client, path, body) in [
        ("POST /operator/tenants", admin, "/operator/tenants".to_owned(), &tenant),
        ("POST /auth/tokens", admin, "/auth/tokens".to_owned(), &json!({ "name": "more" })),
        ("POST /auth/device/{id}/approve", admin, format!("{}/approve", waiting.0), &empty),
        ("POST /auth/device/token", admin, "/auth/device/token".to_owned(), &redeem),
        ("POST /oauth/token", admin, "/oauth/token".to_owned(), &redeem),
        ("POST /oauth/token", admin, "/oauth/token".to_owned(), &code_form),
        ("POST /oauth/token", admin, "/oauth/token".to_owned(), &refresh_form),
        ("POST /api/oauth/authorize", admin, "/api/oauth/authorize".to_owned(), &asked),
        ("POST /api/oauth/authorize/deny", admin, "/api/oauth/authorize/deny".to_owned(), &asked),
        ("POST /api/oauth/clients", admin, "/api/oauth/clients".to_owned(), &body),
        ("PATCH /api/oauth/clients/{id}", admin, client_path.clone(), &json!({ "name": long.get(..64) })),
        ("POST /api/oauth/clients/{id}/rotate", admin, format!("{secret_client}/rotate"), &nothing),
        ("POST /oauth/token", admin, "/oauth/token".to_owned(), &exchange),
        ("POST /api/resources", admin, "/api/resources".to_owned(), &json!({ "identifier": "https://more.example" })),
        ("PATCH /api/resources/{id}", admin, resource.clone(), &json!({ "introspectors": ["scout", "other"] })),
        ("PATCH /api/resources/{id}", admin, resource.clone(), &json!({ "name": "CRM", "introspectors": [] })),
        ("POST /auth/tokens/{id}/rotate", admin, format!("{}/rotate", first.0), &nothing),
        ("POST /api/users", admin, "/api/users".to_owned(), &new_user),
        ("POST /auth/factor", admin, "/auth/factor".to_owned(), &nothing),
        ("POST /auth/factor/recovery-codes", &eve, "/auth/factor/recovery-codes".to_owned(), &nothing),
        ("DELETE /auth/factor", &eve, "/auth/factor".to_owned(), &nothing),
        ("DELETE /api/users/{id}/factor", admin, format!("/api/users/{eve_id}/factor"), &nothing),
        ("PATCH /api/tenant", admin, "/api/tenant".to_owned(), &json!({ "name": "Acme" })),
        ("POST /api/users/{id}/set-password", admin, format!("/api/users/{bare}/set-password"), &password),
        ("PATCH /api/users/{id}", admin, format!("/api/users/{bare}"), &json!({ "role": "curator" })),
        ("PATCH /api/users/{id}", admin, format!("/api/users/{bare}"), &json!({ "role": "viewer", "name": "Other" })),
        ("POST /api/users/{id}/invite", admin, format!("/api/users/{bare}/invite"), &nothing),
        ("POST /api/users/{id}/reset-password", admin, format!("/api/users/{max_id}/reset-password"), &nothing),
        ("POST /api/users/{id}/activate", admin, format!("/api/users/{idle}/activate"), &empty),
        (
            "POST /api/scopes/custom",
            admin,
            "/api/scopes/custom".to_owned(),
            &json!({ "name": "x.a", "description": "d" }),
        ),
        ("POST /api/agents", admin, "/api/agents".to_owned(), &json!({ "name": "more" })),
        ("PATCH /api/agents/{name}", admin, "/api/agents/fifth".to_owned(), &json!({ "tier": 2 })),
        ("PATCH /api/agents/{name}", admin, "/api/agents/fifth".to_owned(), &json!({ "max_concurrent_tasks": 10 })),
        ("PATCH /api/agents/{name}", admin, "/api/agents/fifth".to_owned(), &json!({ "budget_cents": null })),
        ("PATCH /api/agents/{name}", admin, "/api/agents/fifth".to_owned(), &json!({ "scope": ["*"] })),
        ("PATCH /api/agents/{name}", admin, "/api/agents/fifth".to_owned(), &json!({ "spent_cents": 0, "tier": 2 })),
        ("PATCH /api/agents/{name}", admin, "/api/agents/fifth".to_owned(), &json!({ "tier": 4, "description": long })),
        ("PATCH /api/agents/{name}", admin, "/api/agents/fifth".to_owned(), &json!({ "owner": "max@example.com" })),
        (
            "PATCH /api/agents/{name}",
            admin,
            "/api/agents/fifth".to_owned(),
            &json!({ "parent": "scout", "scope": ["agents.read"] }),
        ),
        ("PUT /api/agents/{name}", admin, "/api/agents/fifth".to_owned(), &json!({ "scope": ["agents.read"] })),
        ("POST /api/agents/archived/{id}/restore", admin, format!("{archived}/restore"), &nothing),
        ("POST /api/agents/import", admin, "/api/agents/import".to_owned(), &imported),
        ("POST /api/agents/{name}/start", admin, "/api/agents/stopped/start".to_owned(), &nothing),
        ("POST /api/agents/{name}/resume", admin, "/api/agents/paused/resume".to_owned(), &nothing),
        ("POST /api/agents/{name}/restart", admin, "/api/agents/paused/restart".to_owned(), &nothing),
        ("POST /api/agents/bulk/start", admin, "/api/agents/bulk/start".to_owned(), &json!({ "names": ["stopped"] })),
        ("POST /api/agents/bulk/resume", admin, "/api/agents/bulk/resume".to_owned(), &json!({ "names": ["paused"] })),
        (
            "POST /api/agents/bulk/restart",
            admin,
            "/api/agents/bulk/restart".to_owned(),
            &json!({ "names": ["paused"] }),
        ),
        ("POST /api/agents/{name}/logs", &scout.client, "/api/agents/me/logs".to_owned(), &json!({ "lines": lines })),
        ("POST /api/agents/{name}/keys/{id}/grants", admin, format!("{kept_key}/grants"), &editor),
        ("POST /api/agents/{name}/grants", admin, "/api/agents/scout/grants".to_owned(), &editor),
        (
            "POST /api/access-requests",
            &scout.client,
            "/api/access-requests".to_owned(),
            &json!({ "scope": "agents.lifecycle", "reason": long[..400] }),
        ),
        ("POST /api/access-requests/{id}/approve", admin, format!("{open}/approve"), &empty),
        ("PUT /api/presets/{name}", admin, "/api/presets/own".to_owned(), &preset(&["agents.*", "ui.notify"])),
        ("PUT /api/presets/{name}", admin, "/api/presets/another".to_owned(), &preset(&["agents.read"])),
        ("DELETE /api/presets/{name}", admin, "/api/presets/unused".to_owned(), &nothing),
        ("PUT /api/guides/{source}", admin, "/api/guides/app:kept".to_owned(), &guides(&long)),
        ("DELETE /api/guides/{source}", admin, "/api/guides/app:kept".to_owned(), &nothing),
        (
            "PUT /api/agents/{name}/secrets",
            admin,
            "/api/agents/scout/secrets".to_owned(),
            &json!({ "secrets": { "MORE": "x" } }),
        ),
        (
            "PUT /api/agents/{name}/secrets/{key}",
            admin,
            "/api/agents/scout/secrets/KEPT".to_owned(),
            &json!({ "value": "y" }),
        ),
        ("POST /api/agents/{name}/probes", admin, "/api/agents/scout/probes".to_owned(), &probe("more")),
        ("POST /api/agents/{name}/probes/{id}/run", admin, format!("/api/agents/scout/probes/{probe_id}/run"), &empty),
        ("POST /api/agents/{name}/token/issue", admin, "/api/agents/other/token/issue".to_owned(), &empty),
        ("POST /api/agents/{name}/enrolment", admin, "/api/agents/other/enrolment".to_owned(), &empty),
        (
            "POST /api/agents/bulk/enrolment",
            admin,
            "/api/agents/bulk/enrolment".to_owned(),
            &json!({ "names": ["other"], "with_token": true }),
        ),
        (
            "POST /api/agents/deploy",
            admin,
            "/api/agents/deploy".to_owned(),
            &json!({ "name": "deployed", "create": { "scope": ["agents.read"] } }),
        ),
        (
            "POST /api/agents/{name}/deploy-status",
            admin,
            "/api/agents/other/deploy-status".to_owned(),
            &json!({ "reason": "x" }),
        ),
        ("POST /api/agents/enroll", admin, "/api/agents/enroll".to_owned(), &json!({ "code": enrolment })),
        ("POST /api/agents/{name}/keys", admin, "/api/agents/scout/keys".to_owned(), &json!({ "name": "more" })),
        (
            "POST /api/agents/{name}/federated-credentials",
            admin,
            "/api/agents/scout/federated-credentials".to_owned(),
            &json!({ "name": "more", "issuer": "ci", "subject": "a", "jwks": trust["jwks"] }),
        ),
        ("POST /api/agents/{name}/keys/{id}/rotate", admin, format!("{kept_key}/rotate"), &empty),
        ("POST /api/webhooks", admin, "/api/webhooks".to_owned(), &webhook("more")),
        ("PATCH /api/webhooks/{id}", admin, webhook_path.clone(), &json!({ "kinds": ["agent.*"] })),
        ("PATCH /api/webhooks/{id}", admin, webhook_path.clone(), &json!({ "state": "disabled", "name": "other" })),
        ("POST /api/webhooks/{id}/rotate", admin, format!("{webhook_path}/rotate"), &nothing),
        ("POST /api/webhooks/{id}/test", admin, format!("{webhook_path}/test"), &nothing),
        ("POST /api/webhooks/{id}/deliveries/{delivery}/retry", admin, format!("{delivery}/retry"), &nothing),
        (
            "POST /api/ui/notify",
            &scout.client,
            "/api/ui/notify".to_owned(),
            &json!({ "title": "t", "body": "b".repeat(4_000) }),
        ),
        (
            "PATCH /api/notifications/preferences",
            admin,
            "/api/notifications/preferences".to_owned(),
            &json!({ "silent_agents": false }),
        ),
        ("POST /api/agents/{name}/messages", admin, "/api/agents/scout/messages".to_owned(), &json!({ "text": long })),
        ("POST /auth/name", admin, "/auth/name".to_owned(), &json!({ "name": "Ada Lovelace" })),
    ] {
        site.ask(row, Refused, client, &path, body);
    }
    let first_code = json!({ "code": begun.code(&site.server) });
    site.ask("POST /auth/factor/confirm", Refused, &max, "/auth/factor/confirm", &first_code);
    site.asked.insert("POST /api/hooks/{key_id}".to_owned());
    site.leave_no_page();
    let signed =
        [("content-type", "application/json"), ("x-hub-signature-256", &*signature), ("x-github-event", "issues")];
    let hook = site.server.nobody().call("POST", &hook_path, &signed, Some(long_hook().as_bytes()));
    hook.refused(503, "storage_full");
    // A sign-in, which begins before anybody is known.
    site.ask("POST /auth/device/code", Works, admin, "/auth/device/code", &json!("name=more"));

    // What makes a right less, as the body says: also when sign-ins have used up all that is kept for them.
    let use_up = |server: &Server| {
        server.execute("INSERT INTO attempts (key, count, ends_at) VALUES (randomblob(8000000), 2, 9000000000000)");
        let used = server.number("SELECT page_count - freelist_count FROM pragma_page_count, pragma_freelist_count");
        assert!(used > 512 + 4096, "{used} pages: the bound, and what is kept for sign-ins");
    };
    let give_back = |server: &Server| server.execute("DELETE FROM attempts WHERE count = 2 AND length(key) > 32");
    use_up(&site.server);
    let changed = json!({ "current": PASSWORD, "new": "another-long-password" });
    site.ask("POST /auth/password", Works, &max, "/auth/password", &changed);
    site.ask(
        "POST /api/users/{id}/set-password",
        Works,
        admin,
        &format!("/api/users/{max_id}/set-password"),
        &password,
    );
    give_back(&site.server);
    let max = site.server.sign_in("max@example.com", None);
    for _ in 0..2 {
        site.server.sign_in("max@example.com", None);
    }
    let sessions = max.get("/auth/sessions").is(200)["items"].clone();
    let mut others = sessions.as_array().unwrap().iter().filter(|session| session["current"] == false);
    let mut ended = || text(&others.next().unwrap()["id"]).to_owned();
    let (ended, other) = (ended(), ended());
    use_up(&site.server);
    site.ask("PATCH /api/users/{id}", Works, admin, &format!("/api/users/{max_id}"), &json!({ "role": "member" }));
    for narrower in [
        json!({ "tier": 4 }),
        json!({ "max_concurrent_tasks": 8 }),
        json!({ "budget_cents": 800 }),
        json!({ "spent_cents": 5 }),
        json!({ "scope": ["agents.read", "agents.list", "ui.notify"] }),
        json!({ "scope": ["agents.read"], "tier": 5, "budget_cents": 0 }),
    ] {
        site.ask("PATCH /api/agents/{name}", Works, admin, "/api/agents/fifth", &narrower);
    }
    site.ask("PATCH /api/webhooks/{id}", Works, admin, &webhook_path, &json!({ "state": "disabled" }));
    site.ask("PATCH /api/resources/{id}", Works, admin, &resource, &json!({ "introspectors": [], "scopes": [] }));
    let put = json!({ "scope": ["agents.read"], "tier": 5, "max_concurrent_tasks": 2, "budget_cents": 0 });
    let after = site.ask("PUT /api/agents/{name}", Works, admin, "/api/agents/fifth", &put);
    assert_eq!((&after["max_concurrent_tasks"], &after["tier"]), (&json!(2), &json!(5)));
    site.ask("PUT /api/presets/{name}", Works, admin, "/api/presets/own", &preset(&["agents.read"]));
    give_back(&site.server);

    // What takes one away, and what only reads, marks or deletes.
    let sign_in = json!({ "email": "max@example.com", "password": PASSWORD });
    let recover = json!({ "secret": site.server.operator_secret(), "tenant": "main", "email": "gone@example.com", "password": PASSWORD });
    site.ask(
        "POST /auth/reset",
        Works,
        admin,
        "/auth/reset",
        &json!({ "code": reset, "new": "another-long-password" }),
    );
    for (row, client, path, body) in [
        ("POST /auth/token", admin, "/auth/token".to_owned(), &sign_in),
        (
            "POST /auth/factor/verify",
            admin,
            "/auth/factor/verify".to_owned(),
            &json!({ "ticket": ticket, "code": app.recovery_codes[0] }),
        ),
        ("POST /auth/reauthenticate", admin, "/auth/reauthenticate".to_owned(), &json!({ "password": PASSWORD })),
        ("POST /auth/invite", admin, "/auth/invite".to_owned(), &json!({ "code": invitation, "password": PASSWORD })),
        ("POST /operator/recover", admin, "/operator/recover".to_owned(), &recover),
        ("POST /auth/logout", &leaving, "/auth/logout".to_owned(), &nothing),
        ("DELETE /auth/sessions/{id}", &max, format!("/auth/sessions/{ended}"), &nothing),
        ("DELETE /api/users/{id}/sessions/{session}", admin, format!("/api/users/{max_id}/sessions/{other}"), &nothing),
        ("DELETE /auth/identities/{id}", &max, "/auth/identities/idn_max".to_owned(), &nothing),
        ("DELETE /api/users/{id}/identities", admin, format!("/api/users/{eve_id}/identities"), &nothing),
        ("DELETE /auth/email", &max, "/auth/email".to_owned(), &nothing),
        ("DELETE /auth/sessions", &max, "/auth/sessions".to_owned(), &nothing),
        ("DELETE /api/users/{id}/sessions", admin, format!("/api/users/{eve_id}/sessions"), &nothing),
        ("DELETE /auth/tokens/{id}", admin, first.0.clone(), &nothing),
        ("DELETE /auth/admin/tokens/{id}", admin, second.0.replace("/auth/tokens", "/auth/admin/tokens"), &nothing),
        ("POST /auth/device/{id}/deny", admin, format!("{}/deny", unwanted.0), &nothing),
        ("POST /auth/leaks", admin, "/auth/leaks".to_owned(), &json!({ "token": third.1 })),
        ("POST /oauth/revoke", admin, "/oauth/revoke".to_owned(), &revoke_form),
        ("DELETE /auth/apps/{id}", admin, format!("/auth/apps/{app_id}"), &nothing),
        ("DELETE /api/oauth/clients/{id}", admin, client_path.clone(), &nothing),
        ("DELETE /auth/tokens/me", &own, "/auth/tokens/me".to_owned(), &nothing),
        ("POST /api/users/{id}/deactivate", admin, format!("/api/users/{halted}/deactivate"), &empty),
        ("DELETE /api/users/{id}", admin, format!("/api/users/{gone}"), &nothing),
        ("DELETE /api/resources/{id}", admin, resource, &nothing),
        ("DELETE /api/webhooks/{id}", admin, webhook_path, &nothing),
        ("DELETE /api/scopes/custom", admin, "/api/scopes/custom?name=x.crm.read".to_owned(), &nothing),
        ("DELETE /api/agents/archived/{id}", admin, purged, &nothing),
        ("POST /api/agents/{name}/pause", admin, "/api/agents/other/pause".to_owned(), &nothing),
        ("POST /api/agents/{name}/stop", admin, "/api/agents/other/stop".to_owned(), &nothing),
        ("POST /api/agents/bulk/pause", admin, "/api/agents/bulk/pause".to_owned(), &json!({ "names": ["third"] })),
        ("POST /api/agents/bulk/stop", admin, "/api/agents/bulk/stop".to_owned(), &json!({ "names": ["third"] })),
        ("DELETE /api/agents/{name}/secrets/{key}", admin, "/api/agents/scout/secrets/LOST".to_owned(), &nothing),
        ("DELETE /api/agents/{name}/probes/{id}", admin, format!("/api/agents/scout/probes/{probe_id}"), &nothing),
        ("POST /api/agents/me/heartbeat", &scout.client, "/api/agents/me/heartbeat".to_owned(), &empty),
        (
            "POST /api/agents/me/inbox/ack",
            &scout.client,
            "/api/agents/me/inbox/ack".to_owned(),
            &json!({ "upto": event["id"] }),
        ),
        ("POST /api/notifications/{id}/read", admin, format!("/api/notifications/{notified}/read"), &nothing),
        ("POST /api/notifications/read-all", admin, "/api/notifications/read-all".to_owned(), &nothing),
        ("DELETE /api/notifications/{id}", admin, format!("/api/notifications/{notified}"), &nothing),
        ("DELETE /api/access-requests/{id}", &scout.client, withdrawn, &nothing),
        ("POST /api/access-requests/{id}/deny", admin, format!("{denied}/deny"), &json!({ "reason": "no" })),
        ("POST /api/access-requests/{id}/revoke", admin, format!("{approved}/revoke"), &nothing),
        (
            "DELETE /api/agents/{name}/keys/{id}/grants",
            admin,
            format!("{kept_key}/grants?subject=max@example.com"),
            &nothing,
        ),
        (
            "DELETE /api/agents/{name}/grants",
            admin,
            "/api/agents/scout/grants?subject=max@example.com".to_owned(),
            &nothing,
        ),
        ("DELETE /api/agents/{name}/keys/{id}", admin, lost_key, &nothing),
        ("DELETE /api/agents/{name}/federated-credentials/{id}", admin, federated, &nothing),
        ("DELETE /api/agents/{name}/enrolment", admin, "/api/agents/third/enrolment".to_owned(), &nothing),
        ("DELETE /api/agents/{name}/token", admin, "/api/agents/scout/token".to_owned(), &nothing),
        ("DELETE /api/agents/{name}", admin, "/api/agents/fourth".to_owned(), &nothing),
        ("POST /api/agents/stop-all", admin, "/api/agents/stop-all".to_owned(), &nothing),
    ] {
        let full = if ENDS_NOTHING.contains(&row) { Works } else { Ends };
        site.ask(row, full, client, &path, body);
    }
    site.ask("POST /api/agents/start-all", Refused, admin, "/api/agents/start-all", &nothing);
    let all = json!({ "secret": site.server.operator_secret(), "issued_before": "2999-01-01T00:00:00Z" });
    site.ask("POST /operator/revoke", Works, admin, "/operator/revoke", &all);
    admin.get("/api/auth/whoami").refused(401, "token_revoked");
    assert_eq!(site.server.texts("PRAGMA integrity_check"), ["ok"]);

    // A new route has to say here which it is.
    let rows = site.server.routes().into_iter().filter(|row| row["method"] != "GET");
    let rows: BTreeSet<String> = rows.map(|row| format!("{} {}", text(&row["method"]), text(&row["path"]))).collect();
    site.asked.extend(ELSEWHERE.iter().map(ToString::to_string));
    assert_eq!(site.asked, rows);
}

/// R87: the configured bound counts, and not what SQLite made of it for a connection that was opened when the file was larger; and what
/// was freed can be used again.
#[test]
fn the_bound_is_the_configured_one_for_new_connections_too() {
    let mut server = Server::settings().variable("database_max_mib", "2").start();
    let admin = server.bootstrap();
    server.execute("INSERT INTO attempts (key, count, ends_at) VALUES (randomblob(3000000), 1, 9000000000000)");
    // Pages that are free, in a file beyond the bound.
    server.execute("INSERT INTO attempts (key, count, ends_at) VALUES (randomblob(200000), 2, 9000000000000)");
    server.execute("DELETE FROM attempts WHERE count = 2");
    let scout = json!({ "name": "scout", "description": "x".repeat(1_900), "scope": ["ui.notify"] });
    for _ in 0..2 {
        admin.at(server.host().base_url()).post("/api/agents", &scout).refused(503, "storage_full");
        server.kill_and_restart();
    }
    server.execute("DELETE FROM attempts WHERE length(key) > 32");
    let admin = admin.at(server.host().base_url());
    let made = admin.post("/api/agents", &scout).is(201);
    // Hot statements, whose connection was opened in a file that is larger than the bound.
    let scout = server.with(text(&made["auth_token"]));
    let long = json!({ "title": "t", "body": "b".repeat(4_000) });
    scout.post("/api/ui/notify", &long).is(201);
    server.execute("INSERT INTO attempts (key, count, ends_at) VALUES (randomblob(2500000), 1, 9000000000000)");
    scout.post("/api/ui/notify", &long).refused(503, "storage_full");
}

/// R86: one member of one tenant does not fill the database of all, by messages, logs or changes, and the other tenants go on. Both
/// refusals name what to do, and a right is taken away all the same.
#[test]
fn one_person_does_not_fill_the_database_of_all() {
    let server = Server::settings().variable("database_max_mib", "24").start();
    let admin = server.bootstrap();
    let other = server.tenant("other");
    let eve = server.user(&admin, "eve@example.com", "member");
    let spam = server.agent(&eve, "spam", &["agents.message", "agents.read", "agents.logs", "ui.notify"]);
    let until_refused = |what: &str, send: &dyn Fn(usize) -> Answer| {
        let refused = (0..20_000).map(send).find(|answer| !matches!(answer.status(), 200 | 201));
        refused.unwrap_or_else(|| panic!("no end of {what}"))
    };
    let big = json!({ "text": "x".repeat(4_000), "data": { "a": "y".repeat(16_000) } });
    let refused =
        until_refused("messages", &|_| eve.post("/api/agents/spam/messages", &big)).refused(409, "quota_reached");
    assert_eq!(
        (&refused["quota"], &refused["of"], &refused["limit"]),
        (&json!("stored bytes"), &json!("person"), &json!(2 << 20))
    );
    let lines: Vec<Json> = (0..30).map(|_| json!({ "text": "x".repeat(2_000) })).collect();
    let lines = json!({ "lines": lines });
    let refused =
        until_refused("lines", &|_| spam.client.post("/api/agents/me/logs", &lines)).refused(409, "quota_reached");
    assert!(text(&refused["fix"]).starts_with("Ask eve@example.com to make room."), "{refused}");
    // The fix, to the letter.
    let events = spam.client.get("/api/agents/me/inbox?limit=200").is(200);
    let last = events["items"].as_array().unwrap().last().unwrap()["id"].clone();
    spam.client.post("/api/agents/me/inbox/ack", &json!({ "upto": last })).is(200);
    spam.client.post("/api/agents/me/logs", &lines).is(201);
    let long = |number: usize| json!({ "description": format!("{number}{}", "z".repeat(1_900)) });
    let refused = until_refused("changes", &|number| eve.patch("/api/agents/spam", &long(number)));
    refused.refused(429, "too_many_changes");
    assert!(refused.header("retry-after").parse::<u64>().unwrap() > 80_000);
    let pages = server.number("PRAGMA page_count") * 4096;
    assert!(pages < 12 << 20, "{pages} bytes");
    // All others go on, and so does what takes rights away.
    for client in [&admin, &other] {
        client.post("/api/agents", &json!({ "name": "scout", "description": "x".repeat(1_900) })).is(201);
        client.post("/api/agents/scout/messages", &big).is(201);
    }
    let usage = admin.get("/api/usage").is(200);
    assert_eq!(usage["users"][0]["email"], "eve@example.com");
    assert!(usage["users"][0]["bytes"].as_i64() > Some(50_000) && usage["tenant"]["bytes"].as_i64() > Some(50_000));
    eve.patch("/api/agents/spam", &json!({ "scope": ["agents.read"] })).is(200);
    eve.delete("/api/agents/spam").is(204);
}
