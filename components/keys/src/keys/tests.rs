use common::{
    role::Role,
    vault::{OpenError, Vault},
};
use serde_json::Value as Json;
use service::{
    settings::Settings,
    testing::{Actor, TestApp, at_once},
};
use store::db::Reads;

use super::*;
use crate::with_neighbours;

const KEYS: &str = "/api/agents/scout/keys";
const SELF: &str = "/api/agents/scout";
const SECRETS_KEY: &str = "a-key-of-the-operator-that-is-long-enough";

fn settings() -> Settings {
    Settings { vault: Vault::parse(SECRETS_KEY).unwrap(), ..Settings::default() }
}

struct Stage {
    t: TestApp,
    ada: Actor,
    max: Actor,
    scout: Actor,
}

/// Ada, a member, owns the agent scout; Max is another member.
async fn stage() -> Stage {
    let t = TestApp::with(with_neighbours(), settings());
    let tenant = t.tenant("main").await;
    let ada = t.user(&tenant, "ada@example.com", Role::Member).await;
    let max = t.user(&tenant, "max@example.com", Role::Member).await;
    let scout = t.agent(&ada, "scout", "agents.* ui.notify").await;
    Stage { t, ada, max, scout }
}

impl Stage {
    async fn make(&self, by: &Actor, body: Json) -> Json {
        self.t.as_(by, "POST", KEYS, body).await.is(201)
    }

    async fn share(&self, path: &str, subject: &str, relation: &str) {
        let body = json!({ "subject": subject, "relation": relation });
        self.t.as_(&self.ada, "POST", &format!("{path}/grants"), body).await.is(201);
    }
}

fn path(key: &Json) -> String {
    format!("{KEYS}/{}", key["id"].as_str().unwrap())
}

fn rotate(key: &Json) -> String {
    format!("{}/rotate", path(key))
}

/// The same actor with the key of an answer.
fn with(actor: &Actor, made: &Json) -> Actor {
    by(actor, &made["key"])
}

/// The same actor with a token or key.
fn by(actor: &Actor, secret: &Json) -> Actor {
    Actor { token: secret.as_str().unwrap().to_owned(), ..actor.clone() }
}

/// The key of an answer, without what is shown once.
fn record(made: &Json) -> Json {
    let mut record = made.clone();
    record.as_object_mut().unwrap().retain(|name, _| name != "key" && name != "warnings");
    record
}

fn ids(page: &Json) -> Vec<String> {
    page["items"].as_array().unwrap().iter().map(|item| item["id"].as_str().unwrap().to_owned()).collect()
}

/// R3, R5: shown once, stored as answered; it authenticates as the agent.
#[tokio::test]
async fn a_key_is_made_and_shown_once() {
    let stage = stage().await;
    let Stage { t, ada, scout, .. } = &stage;
    let body = json!({ "name": " acme/ci ", "scope": ["agents.read"], "expires_in_days": 30 });
    let made = stage.make(ada, body).await;
    let secret = Secret::parse(made["key"].as_str().unwrap()).unwrap();
    assert_eq!(secret.kind(), Kind::ApiKey);
    assert_eq!(
        made,
        json!({
            "id": made["id"], "name": "acme/ci", "type": "external", "prefix": secret.shown(), "scope": ["agents.read"],
            "status": "active", "created_at": "2026-01-02T03:04:05.000Z", "created_by": ada.user,
            "minted_by": ada.user, "minted_with": ada.credential, "grantee": null,
            "expires_at": "2026-02-01T03:04:05.000Z", "last_used_at": null, "key": secret.reveal(), "warnings": [],
        })
    );
    let mut expected = record(&made);
    assert_eq!(t.as_(ada, "GET", &path(&made), Null).await.is(200), expected);
    let key = with(scout, &made);
    assert_eq!(t.as_(&key, "GET", SELF, Null).await.is(200)["name"], "scout");
    t.as_(&key, "GET", KEYS, Null).await.refused(403, "scope_denied");
    expected["last_used_at"] = "2026-01-02T03:04:05.000Z".into();
    assert_eq!(t.as_(ada, "GET", KEYS, Null).await.is(200), json!({ "items": [expected], "next_cursor": null }));
    let row = t.texts("SELECT action || ' ' || object_id || ' ' || after FROM audit").await;
    assert!(row[0].starts_with(&format!("agent.key.create {} {{", scout.agent.as_ref().unwrap())), "{row:?}");
    assert!(!row[0].contains(secret.reveal()), "{row:?}");
    assert_eq!(
        t.texts("SELECT relation || ' ' || subject_id || ' ' || object_id FROM grants").await,
        [format!("editor {} {}", ada.user, made["id"].as_str().unwrap())]
    );
    let stored = "SELECT name || ' ' || kind || ' ' || key_id FROM credentials WHERE kind = 'api_key'";
    assert_eq!(t.texts(stored).await, [format!("acme/ci api_key {}", made["id"].as_str().unwrap())]);
}

/// R2, R3, R40: a webhook's secret is stored encrypted, shown once, and is not a credential.
#[tokio::test]
async fn a_webhooks_secret_is_encrypted_and_no_bearer() {
    let stage = stage().await;
    let Stage { t, ada, scout, .. } = &stage;
    let sent = "a-secret-of-GitHub's-own";
    let made = stage.make(ada, json!({ "name": "repo", "type": "github", "value": sent })).await;
    assert_eq!(
        made,
        json!({
            "id": made["id"], "name": "repo", "type": "github", "prefix": null, "scope": null, "status": "active",
            "created_at": "2026-01-02T03:04:05.000Z", "created_by": ada.user, "minted_by": ada.user,
            "minted_with": ada.credential, "grantee": null, "expires_at": null, "last_used_at": null, "key": sent, "warnings": [],
        })
    );
    let slack = stage.make(ada, json!({ "name": "repo", "type": "slack" })).await;
    let secret = slack["key"].as_str().unwrap();
    assert!(secret.len() == 43 && !secret.starts_with("acr_"), "{slack}");
    for made in [&made, &slack] {
        t.as_(&with(scout, made), "GET", SELF, Null).await.refused(401, "invalid_token");
        assert_eq!(t.as_(ada, "GET", &path(made), Null).await.is(200), record(made));
    }
    let again = stage.t.as_(ada, "POST", &rotate(&made), json!({ "value": "another-secret" })).await.is(201);
    assert_eq!((&again["id"], &again["key"]), (&made["id"], &json!("another-secret")));
    let rotated = t.as_(ada, "POST", &rotate(&slack), Null).await.is(201);
    assert_ne!(rotated["key"], slack["key"]);
    assert_eq!(t.number("SELECT count(*) FROM credentials WHERE kind = 'api_key'").await, 0);

    // What is stored opens in its own row, and nowhere else.
    let sealed = "SELECT sealed FROM api_keys ORDER BY type";
    let sealed: Vec<Vec<u8>> = t.db().list::<Blob>(sealed, vec![]).await.unwrap().into_iter().map(|b| b.0).collect();
    let vault = Vault::parse(SECRETS_KEY).unwrap();
    let agent = scout.agent.as_ref().unwrap().as_str();
    let open = |made: &Json, at: usize| {
        vault.open(common::vault::WEBHOOK, &[agent, made["id"].as_str().unwrap()], &sealed[at])
    };
    assert_eq!(open(&made, 0).as_deref(), Ok("another-secret"));
    assert_eq!(open(&slack, 1).as_deref(), Ok(rotated["key"].as_str().unwrap()));
    assert_eq!(open(&made, 1), Err(OpenError::Altered));

    let everything: Vec<u8> = ["", "-wal"]
        .iter()
        .filter_map(|end| std::fs::read(format!("{}{end}", t.path().display())).ok())
        .flatten()
        .collect();
    assert!(everything.windows(5).any(|part| part == b"scout"));
    for secret in [sent, "another-secret", secret, rotated["key"].as_str().unwrap(), SECRETS_KEY] {
        assert!(!everything.windows(secret.len()).any(|part| part == secret.as_bytes()), "{secret}");
    }
}

struct Blob(Vec<u8>);

impl store::db::FromRow for Blob {
    fn from_row(row: &mut store::db::Row) -> Result<Self, store::db::DbError> {
        row.take().map(Self)
    }
}

/// R48: without the operator's key no webhook's secret is taken; bearers are.
#[tokio::test]
async fn without_the_operators_key_there_are_no_webhooks() {
    let t = TestApp::new(with_neighbours());
    let tenant = t.tenant("main").await;
    let ada = t.user(&tenant, "ada@example.com", Role::Member).await;
    t.agent(&ada, "scout", "agents.*").await;
    for kind in ["github", "slack"] {
        let refused = t.as_(&ada, "POST", KEYS, json!({ "name": "x", "type": kind })).await;
        refused.refused(503, "secrets_disabled");
        assert_eq!(refused.header("retry-after"), "3600", "waiting for a second fixes nothing");
    }
    t.as_(&ada, "POST", KEYS, json!({ "name": "x", "type": "internal" })).await.is(201);
    assert_eq!(t.number("SELECT count(*) FROM api_keys").await, 1);
    assert_eq!(t.number("SELECT count(*) FROM grants").await, 1, "nothing of the refused ones is left");
}

#[tokio::test]
async fn what_cannot_be_a_key_is_refused() {
    let stage = stage().await;
    let Stage { t, ada, .. } = &stage;
    let secret = Secret::generate(Kind::Pat, &common::secret::Chance::seeded(9));
    for (body, status, slug) in [
        (json!({}), 422, "validation_error"),
        (json!({ "name": 7 }), 422, "validation_error"),
        (json!({ "name": "x", "kind": "github" }), 422, "validation_error"),
        (json!({ "name": "x", "value": "12345678" }), 422, "validation_error"),
        (json!({ "name": "x", "type": "internal", "value": "12345678" }), 422, "validation_error"),
        (json!({ "name": "x", "type": "slack", "scope": ["agents.read"] }), 422, "validation_error"),
        (json!({ "name": "x", "type": "github", "preset": "worker" }), 422, "validation_error"),
        (json!({ "name": "x", "type": "github", "expires_in_days": null }), 422, "validation_error"),
        (json!({ "name": "x", "scope": ["agents.read"], "preset": "worker" }), 422, "validation_error"),
        (json!({ "name": "  " }), 400, "invalid_text"),
        (json!({ "name": "x".repeat(65) }), 400, "invalid_text"),
        (json!({ "name": "a\u{202e}b" }), 400, "invalid_text"),
        (json!({ "name": "x", "type": "gitlab" }), 400, "unknown_key_type"),
        (json!({ "name": "x", "type": "github", "value": "1234567" }), 400, "invalid_webhook_secret"),
        (json!({ "name": "x", "type": "github", "value": "x".repeat(257) }), 400, "invalid_webhook_secret"),
        (json!({ "name": "x", "type": "github", "value": "with a blank" }), 400, "invalid_webhook_secret"),
        (json!({ "name": "x", "type": "github", "value": "caf\u{e9}-caf\u{e9}" }), 400, "invalid_webhook_secret"),
        (json!({ "name": "x", "type": "github", "value": secret.reveal() }), 422, "credential_in_text"),
        (json!({ "name": "x", "expires_in_days": 0 }), 400, "invalid_lifetime"),
        (json!({ "name": "x", "expires_in_days": 3651 }), 400, "invalid_lifetime"),
        (json!({ "name": "x", "expires_in_days": 1.5 }), 422, "validation_error"),
        (json!({ "name": "x", "scope": [] }), 400, "unknown_scope"),
        (json!({ "name": "x", "scope": ["agents.fly"] }), 400, "unknown_scope"),
        (json!({ "name": "x", "preset": "nobody" }), 400, "unknown_preset"),
        (json!({ "name": "x", "scope": ["audit.read"] }), 400, "scope_too_wide"),
    ] {
        let refused = t.as_(ada, "POST", KEYS, body.clone()).await;
        refused.refused(status, slug);
        if let Some(value) = body["value"].as_str() {
            assert!(!refused.text.contains(value), "{}", refused.text);
        }
    }
    assert_eq!(t.number("SELECT count(*) FROM api_keys").await, 0);
    assert_eq!(t.number("SELECT count(*) FROM credentials WHERE kind = 'api_key'").await, 0);
    let (bearer, hook) =
        (stage.make(ada, json!({ "name": "x" })).await, stage.make(ada, json!({ "name": "x", "type": "slack" })).await);
    for (key, body, status, slug) in [
        (&bearer, json!({ "value": "12345678" }), 422, "validation_error"),
        (&bearer, json!({ "scope": ["agents.read"] }), 422, "validation_error"),
        (&bearer, json!({ "grace_seconds": -1 }), 400, "invalid_grace"),
        (&bearer, json!({ "grace_seconds": 86_401 }), 400, "invalid_grace"),
        (&hook, json!({ "grace_seconds": -1 }), 400, "invalid_grace"),
        (&hook, json!({ "grace_seconds": 86_401 }), 400, "invalid_grace"),
        (&hook, json!({ "value": "short" }), 400, "invalid_webhook_secret"),
    ] {
        t.as_(ada, "POST", &rotate(key), body).await.refused(status, slug);
    }
    t.as_(&with(&stage.scout, &bearer), "GET", SELF, Null).await.is(200);
    t.as_(ada, "GET", &format!("{KEYS}?type=gitlab"), Null).await.refused(400, "invalid_filter");
    t.as_(ada, "GET", &format!("{KEYS}?kind=github"), Null).await.refused(422, "validation_error");
}

/// R39: found by (agent, name, type), which is once; 40 at once over two instances make one.
#[tokio::test]
async fn forty_creates_of_one_key_at_once_make_one() {
    let stage = stage().await;
    let Stage { t, ada, .. } = &stage;
    let other = TestApp::over(with_neighbours(), t);
    let answers = at_once(40, |number| {
        let at = if number % 2 == 0 { t } else { &other };
        at.as_(ada, "POST", KEYS, json!({ "name": "ci" }))
    });
    let mut made = 0;
    for answer in answers {
        match answer.status.as_u16() {
            201 => made += 1,
            503 => _ = answer.refused(503, "database_unavailable"),
            _ => _ = answer.refused(409, "key_taken"),
        }
    }
    assert_eq!((made, t.number("SELECT count(*) FROM api_keys").await), (1, 1));
    assert_eq!(t.number("SELECT count(*) FROM credentials WHERE kind = 'api_key'").await, 1);
    assert_eq!(t.number("SELECT count(*) FROM grants").await, 1);
    assert_eq!(t.number("SELECT count(*) FROM audit WHERE action = 'agent.key.create'").await, 1);
    // Another type, or another agent, is another key.
    t.as_(ada, "POST", KEYS, json!({ "name": "ci", "type": "internal" })).await.is(201);
    t.agent(ada, "other", "agents.*").await;
    t.as_(ada, "POST", "/api/agents/other/keys", json!({ "name": "ci" })).await.is(201);
    let found = t.as_(ada, "GET", &format!("{KEYS}?name=ci&type=external"), Null).await.is(200);
    assert_eq!(ids(&found).len(), 1);
    assert_eq!(ids(&t.as_(ada, "GET", &format!("{KEYS}?name=ci"), Null).await.is(200)).len(), 2);
    assert!(ids(&t.as_(ada, "GET", &format!("{KEYS}?name=c"), Null).await.is(200)).is_empty());
}

/// R11: forty rotations at once leave one active secret and one in its grace, and these two work.
#[tokio::test]
async fn forty_rotations_at_once_leave_two_secrets() {
    let stage = stage().await;
    let first = stage.make(&stage.ada, json!({ "name": "ci", "scope": ["agents.read"] })).await;
    let Stage { t, ada, scout, .. } = &stage;
    let other = TestApp::over(with_neighbours(), t);
    let path = rotate(&first);
    let answers = at_once(40, |number| {
        let at = if number % 2 == 0 { t } else { &other };
        at.as_(ada, "POST", &path, json!({ "grace_seconds": 600 }))
    });
    let mut made = vec![first.clone()];
    for answer in answers {
        match answer.status.as_u16() {
            503 => _ = answer.refused(503, "database_unavailable"),
            _ => made.push(answer.is(201)),
        }
    }
    let mut live = 0;
    for key in &made {
        live += i64::from(t.as_(&with(scout, key), "GET", SELF, Null).await.status == 200);
    }
    let count = "SELECT count(*) FROM credentials WHERE kind = 'api_key' AND revoked_at IS NULL";
    assert_eq!((live, t.number(count).await), (2, 2));
    assert_eq!(t.number(&format!("{count} AND replaced_by IS NULL")).await, 1);
    assert_eq!(t.number("SELECT count(*) FROM audit WHERE action = 'agent.key.rotate'").await, made.len() as i64 - 1);
}

/// R36: paged in SQL: no gap, nothing twice; a caller that may read none of them gets an empty list.
#[tokio::test]
async fn of_120_keys_every_second_is_readable() {
    let stage = stage().await;
    let Stage { t, ada, max, scout, .. } = &stage;
    stage.share(SELF, "max@example.com", "viewer").await;
    let agent = scout.agent.as_ref().unwrap();
    for number in 0..120 {
        t.execute(&format!(
            "INSERT INTO api_keys (id, tenant_id, agent_id, name, type, created_at, created_by)
             VALUES ('key_{number:03}', '{}', '{agent}', 'k{number}', 'external', {}, '{}')",
            ada.tenant,
            number / 7,
            ada.user
        ))
        .await
        .unwrap();
    }
    assert!(ids(&t.as_(max, "GET", KEYS, Null).await.is(200)).is_empty());
    t.execute(&format!(
        "INSERT INTO grants SELECT id, '{}', 'viewer', tenant_id, 0, created_by FROM api_keys WHERE substr(id, -1) IN ('0','2','4','6','8')",
        max.user
    ))
    .await
    .unwrap();
    let first = t.as_(max, "GET", &format!("{KEYS}?limit=50"), Null).await.is(200);
    let next = format!("{KEYS}?limit=50&cursor={}", first["next_cursor"].as_str().unwrap());
    let second = t.as_(max, "GET", &next, Null).await.is(200);
    let seen = [ids(&first), ids(&second)].concat();
    assert_eq!((ids(&first).len(), ids(&second).len(), &second["next_cursor"]), (50, 10, &Null));
    let expected: Vec<String> = (0..120).rev().filter(|n| n % 2 == 0).map(|n| format!("key_{n:03}")).collect();
    assert_eq!(seen, expected);
    // A cursor is bound to its caller and filters.
    t.as_(ada, "GET", &next, Null).await.refused(400, "invalid_cursor");
    t.as_(max, "GET", &format!("{next}&type=external"), Null).await.refused(400, "invalid_cursor");
    assert_eq!(ids(&t.as_(ada, "GET", &format!("{KEYS}?limit=200"), Null).await.is(200)).len(), 120);
    t.as_(ada, "POST", KEYS, json!({ "name": "more" })).await.is(201);
    t.execute(
        "WITH RECURSIVE n (n) AS (SELECT 121 UNION ALL SELECT n + 1 FROM n WHERE n < 499)
         INSERT INTO api_keys (id, tenant_id, agent_id, name, type, created_at, created_by)
         SELECT printf('key_%03d', n), tenant_id, agent_id, 'n' || n, type, created_at, created_by FROM n, api_keys WHERE id = 'key_000'",
    )
    .await
    .unwrap();
    t.as_(ada, "POST", KEYS, json!({ "name": "yet more" })).await.refused(409, "too_many_api_keys");
}

/// R35: both factors, the key's and its agent's, and an active account of the tenant; refused, nothing has changed.
#[tokio::test]
async fn a_change_needs_the_key_the_agent_and_an_active_account() {
    let stage = stage().await;
    let Stage { t, ada, max, scout } = &stage;
    let made = stage.make(ada, json!({ "name": "ci", "scope": ["agents.read"] })).await;
    let state = "SELECT (SELECT count(*) FROM api_keys) || ' ' || (SELECT group_concat(id) FROM credentials WHERE revoked_at IS NULL)
                 || ' ' || (SELECT count(*) FROM grants) || ' ' || (SELECT count(*) FROM audit WHERE outcome = 'done')";
    let attempts = [
        ("POST", rotate(&made), json!({})),
        ("DELETE", path(&made), Null),
        ("GET", format!("{}/grants", path(&made)), Null),
        ("POST", format!("{}/grants", path(&made)), json!({ "subject": "max@example.com", "relation": "viewer" })),
        ("DELETE", format!("{}/grants?subject=ada@example.com", path(&made)), Null),
    ];
    // Without the agent nothing at all.
    for (method, path, body) in &attempts {
        t.as_(max, method, path, body.clone()).await.refused(404, "agent_not_found");
    }
    t.as_(max, "POST", KEYS, json!({ "name": "mine" })).await.refused(404, "agent_not_found");
    // Editor of the key, viewer of the agent.
    stage.share(SELF, "max@example.com", "viewer").await;
    t.as_(max, "GET", &path(&made), Null).await.refused(404, "key_not_found");
    stage.share(&path(&made), "max@example.com", "editor").await;
    assert_eq!(t.as_(max, "GET", &path(&made), Null).await.is(200), record(&made));
    let before = t.texts(state).await;
    for (method, path, body) in &attempts {
        let refused = t.as_(max, method, path, body.clone()).await.refused(403, "permission_denied");
        assert_eq!(refused["required_relations_to_agent"], json!(["editor", "owner", "tenant.admin"]), "{refused}");
    }
    t.as_(max, "POST", KEYS, json!({ "name": "mine" })).await.refused(403, "permission_denied");
    assert_eq!(t.texts(state).await, before);
    // Editor of the agent, viewer of the key; then without the key.
    stage.share(SELF, "max@example.com", "editor").await;
    t.as_(ada, "DELETE", &format!("{}/grants?subject=max@example.com", path(&made)), Null).await.is(204);
    stage.share(&path(&made), "max@example.com", "viewer").await;
    let before = t.texts(state).await;
    for (method, path, body) in &attempts {
        let refused = t.as_(max, method, path, body.clone()).await.refused(403, "permission_denied");
        assert_eq!(refused.get("required_relations_to_agent"), None, "{refused}");
        assert!(refused["required_relations"].to_string().contains("owner"), "{refused}");
    }
    assert_eq!(t.texts(state).await, before);
    t.as_(ada, "DELETE", &format!("{}/grants?subject=max@example.com", path(&made)), Null).await.is(204);
    let before = t.texts(state).await;
    for (method, path, body) in &attempts {
        t.as_(max, method, path, body.clone()).await.refused(404, "key_not_found");
    }
    assert!(ids(&t.as_(max, "GET", KEYS, Null).await.is(200)).is_empty());
    assert_eq!(t.texts(state).await, before);
    // With both, until the account is deactivated.
    stage.share(&path(&made), "max@example.com", "editor").await;
    let rotated = t.as_(max, "POST", &rotate(&made), json!({})).await.is(201);
    t.execute("UPDATE users SET deactivated_at = 1 WHERE email = 'max@example.com'").await.unwrap();
    let before = t.texts(state).await;
    for (method, path, body) in &attempts {
        t.as_(max, method, path, body.clone()).await.refused(401, "account_deactivated");
    }
    assert_eq!(t.texts(state).await, before);
    t.as_(&with(scout, &rotated), "GET", SELF, Null).await.is(200);
}

/// R38: a deleted key is gone with its grants and its secrets; a new key of its name inherits nothing.
#[tokio::test]
async fn a_deleted_key_is_gone_and_its_name_is_free() {
    let stage = stage().await;
    let Stage { t, ada, max, scout } = &stage;
    stage.share(SELF, "max@example.com", "viewer").await;
    let old = stage.make(ada, json!({ "name": "ci" })).await;
    stage.share(&path(&old), "max@example.com", "viewer").await;
    let rotated = t.as_(ada, "POST", &rotate(&old), json!({ "grace_seconds": 600 })).await.is(201);
    t.as_(ada, "DELETE", &path(&old), Null).await.is(204);
    t.as_(ada, "DELETE", &path(&old), Null).await.refused(404, "key_not_found");
    for made in [&old, &rotated] {
        let refused = t.as_(&with(scout, made), "GET", SELF, Null).await.refused(401, "token_revoked");
        // R620: what replaced the one is gone too.
        let fix = "Ask ada@example.com for a new token: POST /api/agents/scout/keys {\"name\": \"<a new name>\"}.";
        assert_eq!((refused["fix"].as_str(), refused["replaced_by"].is_null()), (Some(fix), true));
    }
    let new = stage.make(ada, json!({ "name": "ci" })).await;
    t.as_(max, "GET", &path(&new), Null).await.refused(404, "key_not_found");
    t.as_(max, "GET", &path(&old), Null).await.refused(404, "key_not_found");
    assert_eq!(t.number("SELECT count(*) FROM grants WHERE object_id LIKE 'key_%'").await, 1);
    t.as_(&with(scout, &new), "GET", SELF, Null).await.is(200);
    let row = t.texts("SELECT before || ' ' || after FROM audit WHERE action = 'agent.key.delete'").await;
    assert!(row.len() == 1 && row[0].contains("\"name\":\"ci\"") && row[0].contains("revoked"), "{row:?}");
}

/// R8: no wider than the ceiling and the minter, no longer than the minter; an editor gives no key that shares or archives.
#[tokio::test]
async fn a_key_is_no_wider_and_no_longer_than_its_minter() {
    let stage = stage().await;
    let Stage { t, ada, max, scout } = &stage;
    let all = stage.make(ada, json!({ "name": "all" })).await;
    assert_eq!(all["scope"], json!(["agents.*", "ui.notify"]), "the agent's ceiling");
    assert!(all["warnings"][0].as_str().unwrap().contains("agents.stop_all"), "{all}");
    let preset = stage.make(ada, json!({ "name": "p", "scope": ["agents.list"] })).await;
    assert_eq!(preset["scope"], json!(["agents.list"]));
    let refused = t.as_(ada, "POST", KEYS, json!({ "name": "x", "scope": ["*"] })).await;
    assert!(refused.refused(400, "scope_too_wide")["excess_scopes"].to_string().contains("audit.read"));
    let ends = Some(t.now().plus_seconds(86_400));
    let scope = "agents.keys.* agents.read";
    let pat = t.credential(Kind::Pat, &ada.tenant, &ada.user, None, scope, ends).await;
    t.as_(&pat, "POST", KEYS, json!({ "name": "x" })).await.refused(400, "scope_too_wide");
    t.as_(&pat, "POST", KEYS, json!({ "name": "x", "scope": ["ui.notify"] })).await.refused(400, "scope_too_wide");
    let body = json!({ "name": "x", "scope": ["agents.read"], "expires_in_days": 2 });
    t.as_(&pat, "POST", KEYS, body).await.refused(400, "lifetime_too_long");
    let capped = stage.make(&pat, json!({ "name": "capped", "scope": [scope.split(' ').next().unwrap()] })).await;
    assert_eq!(capped["expires_at"], "2026-01-03T03:04:05.000Z");
    assert!(capped["warnings"][0].as_str().unwrap().contains("cannot outlive"), "{capped}");
    // A key makes a key: the chain ends when its first link does.
    let key = with(scout, &capped);
    let second = stage.make(&key, json!({ "name": "second", "scope": ["agents.keys.read"] })).await;
    assert_eq!((&second["expires_at"], &second["created_by"]), (&capped["expires_at"], &json!(scout.agent)));
    // The trail says that the agent did it, and with which of its credentials.
    let by = "SELECT r.agent_id || ' ' || c.key_id FROM audit r JOIN credentials c ON c.id = r.credential_id ORDER BY r.seq DESC LIMIT 1";
    let expected = format!("{} {}", scout.agent.as_ref().unwrap(), capped["id"].as_str().unwrap());
    assert_eq!(t.texts(by).await, [expected]);
    t.as_(&key, "POST", KEYS, json!({ "name": "third", "scope": ["agents.read"] }))
        .await
        .refused(400, "scope_too_wide");
    // What was approved for the agent is its token's, and nothing to be minted from.
    let agent = scout.agent.as_ref().unwrap();
    t.execute(&format!(
        "INSERT INTO access_requests (id, tenant_id, agent_id, scope, reason, hours, state, created_at, granted, ends_at)
         VALUES ('acc_1', '{}', '{agent}', 'guides.read', 'r', 1, 'approved', 0, 'guides.read', 9000000000000000)",
        ada.tenant
    ))
    .await
    .unwrap();
    t.as_(scout, "POST", KEYS, json!({ "name": "x", "scope": ["guides.read"] })).await.refused(400, "scope_too_wide");
    // An editor of the agent, with a session: an editor cannot grant what an editor cannot do.
    stage.share(SELF, "max@example.com", "editor").await;
    let refused = t.as_(max, "POST", KEYS, json!({ "name": "x" })).await.refused(400, "scope_too_wide");
    assert_eq!(refused["excess_scopes"], json!(["agents.delete", "agents.share"]));
    stage.make(max, json!({ "name": "x", "scope": ["agents.read"] })).await;
    assert_eq!(t.number("SELECT count(*) FROM api_keys").await, 5);
}

/// R11: name, scope and end stay; both work within the grace; a second rotation ends the first one.
#[tokio::test]
async fn a_rotated_key_is_the_same_key() {
    let stage = stage().await;
    let Stage { t, ada, scout, .. } = &stage;
    let body = json!({ "name": "ci", "type": "internal", "scope": ["agents.read"], "expires_in_days": 10 });
    let first = stage.make(ada, body).await;
    t.wait(5);
    let second = t.as_(ada, "POST", &rotate(&first), json!({ "grace_seconds": 100 })).await.is(201);
    for member in ["id", "name", "type", "scope", "created_at", "created_by", "expires_at", "status"] {
        assert_eq!(second[member], first[member], "{member}");
    }
    assert_eq!(second["prefix"], second["key"].as_str().unwrap()[..16]);
    t.wait(99);
    for made in [&first, &second] {
        t.as_(&with(scout, made), "GET", SELF, Null).await.is(200);
    }
    t.wait(1);
    t.as_(&with(scout, &first), "GET", SELF, Null).await.refused(401, "token_expired");
    let third = t.as_(ada, "POST", &rotate(&first), json!({ "grace_seconds": 86_400 })).await.is(201);
    let fourth = t.as_(ada, "POST", &rotate(&first), json!({ "grace_seconds": 86_400 })).await.is(201);
    t.as_(&with(scout, &second), "GET", SELF, Null).await.refused(401, "token_revoked");
    for made in [&third, &fourth] {
        t.as_(&with(scout, made), "GET", SELF, Null).await.is(200);
    }
    // Without a grace the old one ends at once.
    let fifth = t.as_(ada, "POST", &rotate(&first), Null).await.is(201);
    for made in [&third, &fourth] {
        t.as_(&with(scout, made), "GET", SELF, Null).await.refused(401, "token_revoked");
    }
    t.as_(&with(scout, &fifth), "GET", SELF, Null).await.is(200);
    assert_eq!(t.number("SELECT count(*) FROM api_keys").await, 1);
    assert_eq!(t.number("SELECT count(*) FROM credentials WHERE kind = 'api_key' AND revoked_at IS NULL").await, 1);
    assert_eq!(t.number("SELECT count(*) FROM audit WHERE action = 'agent.key.rotate'").await, 4);
    // A grace never outlives the end that was there.
    t.wait(10 * 86_400 - 105 - 10);
    let pat = t.credential(Kind::Pat, &ada.tenant, &ada.user, None, "agents.*", None).await;
    t.as_(&pat, "POST", &rotate(&first), json!({ "grace_seconds": 3600 })).await.is(201);
    let ends = "SELECT expires_at FROM credentials WHERE replaced_by IS NOT NULL AND revoked_at IS NULL";
    assert_eq!(t.number(ends).await, t.now().plus_seconds(10).millis());
}

/// R11: a key that rotates itself keeps its scope and end, and lives on for at least 60 seconds.
#[tokio::test]
async fn a_key_rotates_itself() {
    let stage = stage().await;
    let Stage { t, ada, scout, .. } = &stage;
    let scope = ["agents.keys.write", "agents.read"];
    let first = stage.make(ada, json!({ "name": "ci", "scope": scope, "expires_in_days": 10 })).await;
    let one = with(scout, &first);
    t.as_(&one, "POST", &rotate(&first), json!({ "grace_seconds": 59 })).await.refused(400, "invalid_grace");
    let second = t.as_(&one, "POST", "/api/agents/me/keys/x/rotate", json!({})).await;
    second.refused(404, "key_not_found");
    let me = rotate(&first).replace("scout", "me");
    let second = t.as_(&one, "POST", &me, json!({})).await.is(201);
    assert_eq!((&second["scope"], &second["expires_at"]), (&first["scope"], &first["expires_at"]));
    t.wait(59);
    t.as_(&one, "GET", SELF, Null).await.is(200);
    // In its grace it replaces nothing; the step for its agent names the key.
    let refused = t.as_(&one, "POST", &rotate(&first), json!({})).await.refused(409, "token_replaced");
    assert!(refused["fix"].as_str().unwrap().contains(&format!("POST {}", rotate(&first))), "{refused}");
    t.as_(&with(scout, &second), "GET", SELF, Null).await.is(200);
    t.wait(1);
    t.as_(&one, "GET", SELF, Null).await.refused(401, "token_expired");
}

/// R8: the caller that rotates a key gets its new secret, so rotating has the bounds of minting.
#[tokio::test]
async fn a_rotated_key_carries_no_more_than_its_caller_can_grant() {
    let stage = stage().await;
    let Stage { t, ada, max, scout } = &stage;
    let all = stage.make(ada, json!({ "name": "all" })).await;
    let little = stage.make(ada, json!({ "name": "little", "scope": ["agents.read"] })).await;
    let ends = Some(t.now().plus_seconds(86_400));
    let pat = t.credential(Kind::Pat, &ada.tenant, &ada.user, None, "agents.keys.* agents.read", ends).await;
    let refused = t.as_(&pat, "POST", &rotate(&all), json!({})).await.refused(400, "rotation_too_wide");
    assert!(refused["excess_scopes"].to_string().contains("ui.notify"), "{refused}");
    let capped = t.as_(&pat, "POST", &rotate(&little), json!({})).await.is(201);
    assert_eq!(capped["expires_at"], "2026-01-03T03:04:05.000Z");
    assert!(capped["warnings"][0].as_str().unwrap().contains("cannot outlive"), "{capped}");
    let refused = t.as_(&with(scout, &capped), "POST", &rotate(&all), json!({})).await;
    refused.refused(403, "scope_denied");
    // An editor of agent and key, with a session.
    stage.share(SELF, "max@example.com", "editor").await;
    stage.share(&path(&all), "max@example.com", "editor").await;
    let refused = t.as_(max, "POST", &rotate(&all), json!({})).await.refused(400, "rotation_too_wide");
    assert_eq!(refused["excess_scopes"], json!(["agents.delete", "agents.share"]));
    t.as_(&with(scout, &all), "GET", SELF, Null).await.is(200);
    // The owner's session, as the fix says.
    t.as_(ada, "POST", &rotate(&all), json!({})).await.is(201);
    // The agent itself, with what it has; another of its keys, with less.
    let keeper = t.credential(Kind::ApiKey, &ada.tenant, &ada.user, scout.agent.as_ref(), "agents.keys.*", None).await;
    for key in [&all, &little] {
        let refused = t.as_(&keeper, "POST", &rotate(key), json!({})).await.refused(400, "rotation_too_wide");
        assert!(refused["fix"].as_str().unwrap().starts_with("Ask your owner ada@example.com"), "{refused}");
        t.as_(scout, "POST", &rotate(key), json!({})).await.is(201);
    }
}

/// R771: who wants a name that is taken is told the key's id, and to delete it where it has ended.
#[tokio::test]
async fn a_name_that_is_taken_says_what_can_be_done_with_its_key() {
    let stage = stage().await;
    let Stage { t, ada, max, .. } = &stage;
    let made = stage.make(ada, json!({ "name": "ci", "scope": ["agents.read"] })).await;
    let again = json!({ "name": "ci", "scope": ["agents.read"] });
    let refused = t.as_(ada, "POST", KEYS, again.clone()).await.refused(409, "key_taken");
    assert!(refused["fix"].as_str().unwrap().contains(&format!("POST {}/rotate", path(&made))), "{refused}");
    // An editor of the agent may not read a key of somebody else's.
    stage.share(SELF, "max@example.com", "editor").await;
    let refused = t.as_(max, "POST", KEYS, again.clone()).await.refused(409, "key_taken");
    assert_eq!(refused["fix"], "Send another name.");
    t.execute("UPDATE credentials SET revoked_at = 1 WHERE name = 'ci'").await.unwrap();
    let refused = t.as_(ada, "POST", KEYS, again.clone()).await.refused(409, "key_taken");
    assert!(
        refused["fix"].as_str().unwrap().starts_with(&format!("Delete it with DELETE {}", path(&made))),
        "{refused}"
    );
    t.as_(ada, "DELETE", &path(&made), Null).await.is(204);
    t.as_(ada, "POST", KEYS, again).await.is(201);
}

/// R764: a key that carries more than the ceiling does by now is rotated with what is left of it, and the agent is named in the refusal.
#[tokio::test]
async fn a_key_is_rotated_within_a_ceiling_that_was_narrowed() {
    let stage = stage().await;
    let Stage { t, ada, scout, .. } = &stage;
    let both = stage.make(ada, json!({ "name": "both", "scope": ["agents.read", "ui.notify"] })).await;
    let gone = stage.make(ada, json!({ "name": "gone", "scope": ["ui.notify"] })).await;
    t.as_(ada, "PATCH", SELF, json!({ "scope": ["agents.read", "agents.keys.*"] })).await.is(200);
    let rotated = t.as_(ada, "POST", &rotate(&both), json!({})).await.is(201);
    assert_eq!(rotated["scope"], json!(["agents.read"]));
    assert!(rotated["warnings"].to_string().contains("lacks these scopes now: ui.notify"), "{rotated}");
    t.as_(&with(scout, &rotated), "GET", SELF, Null).await.is(200);
    let refused = t.as_(ada, "POST", &rotate(&gone), json!({})).await.refused(400, "rotation_too_wide");
    assert_eq!(refused["excess_scopes"], json!(["ui.notify"]));
    assert!(refused["fix"].as_str().unwrap().contains("POST /api/agents/scout/keys"), "{refused}");
    let pat = t.credential(Kind::Pat, &ada.tenant, &ada.user, None, "agents.keys.*", None).await;
    let refused = t.as_(&pat, "POST", &rotate(&both), json!({})).await.refused(400, "rotation_too_wide");
    assert!(refused["fix"].as_str().unwrap().contains("POST /api/agents/scout/keys"), "{refused}");
}

/// An ended key is not rotated back to life; following the fix makes a new one.
#[tokio::test]
async fn an_ended_key_stays_ended() {
    let stage = stage().await;
    let Stage { t, ada, scout, .. } = &stage;
    let short = stage.make(ada, json!({ "name": "short", "expires_in_days": 1, "scope": ["agents.read"] })).await;
    let leaked = stage.make(ada, json!({ "name": "leaked", "scope": ["agents.read"] })).await;
    let soon = t.as_(ada, "GET", &path(&short), Null).await.is(200);
    assert_eq!(soon["status"], "expiring");
    t.execute("UPDATE credentials SET revoked_at = 1 WHERE name = 'leaked'").await.unwrap();
    t.wait(86_400);
    let ada = &t.credential(Kind::Session, &ada.tenant, &ada.user, None, "*", None).await;
    for (key, status, slug) in [(&short, "expired", "token_expired"), (&leaked, "revoked", "token_revoked")] {
        assert_eq!(t.as_(ada, "GET", &path(key), Null).await.is(200)["status"], status);
        t.as_(&with(scout, key), "GET", SELF, Null).await.refused(401, slug);
        let refused = t.as_(ada, "POST", &rotate(key), json!({ "grace_seconds": 60 })).await.refused(409, "key_ended");
        let fix = refused["fix"].as_str().unwrap();
        assert!(fix.starts_with(&format!("Send DELETE {}, then POST {KEYS} ", path(key))), "{fix}");
        t.as_(ada, "DELETE", &path(key), Null).await.is(204);
        t.as_(ada, "POST", KEYS, json!({ "name": key["name"] })).await.is(201);
    }
}

/// R41, R42, R43: a key follows its agent: its state, its ceiling, its owner, its end.
#[tokio::test]
async fn a_key_follows_its_agent() {
    let stage = stage().await;
    let Stage { t, ada, scout, .. } = &stage;
    let made = stage.make(ada, json!({ "name": "ci" })).await;
    let hook = stage.make(ada, json!({ "name": "repo", "type": "github" })).await;
    let key = with(scout, &made);
    for (state, slug) in [("paused", "agent_paused"), ("stopped", "agent_stopped")] {
        t.execute(&format!("UPDATE agents SET state = '{state}'")).await.unwrap();
        t.as_(&key, "GET", SELF, Null).await.refused(403, slug);
    }
    t.execute("UPDATE agents SET state = 'running', budget_cents = 1, spent_cents = 2").await.unwrap();
    t.as_(&key, "GET", SELF, Null).await.refused(402, "over_budget");
    t.execute("UPDATE agents SET budget_cents = NULL").await.unwrap();
    t.as_(&key, "GET", SELF, Null).await.is(200);
    t.as_(ada, "PATCH", SELF, json!({ "scope": ["agents.list"] })).await.is(200);
    let refused = t.as_(&key, "GET", SELF, Null).await.refused(403, "scope_denied");
    assert!(refused["fix"].as_str().unwrap().contains("then POST /api/agents/scout/keys {\"name\""), "{refused}");
    t.as_(ada, "PATCH", SELF, json!({ "scope": ["agents.*"] })).await.is(200);
    t.execute("UPDATE users SET role = 'viewer' WHERE email = 'ada@example.com'").await.unwrap();
    t.as_(&key, "GET", KEYS, Null).await.refused(403, "scope_denied");
    t.as_(&key, "GET", SELF, Null).await.is(200);
    t.execute("UPDATE users SET role = 'member', deactivated_at = 1 WHERE email = 'ada@example.com'").await.unwrap();
    t.as_(&key, "GET", SELF, Null).await.refused(401, "account_deactivated");
    t.execute("UPDATE users SET deactivated_at = NULL").await.unwrap();
    // Given away: what was made for the former owner ends, keys and their grants too.
    t.as_(ada, "PATCH", SELF, json!({ "owner": "max@example.com" })).await.is(200);
    t.as_(&key, "GET", SELF, Null).await.refused(401, "token_revoked");
    for made in [&made, &hook] {
        t.as_(&stage.max, "GET", &path(made), Null).await.refused(404, "key_not_found");
    }
    assert_eq!(t.number("SELECT count(*) FROM grants").await, 0);
    // Archived: likewise, and restored it has none.
    let made = stage.make(&stage.max, json!({ "name": "ci" })).await;
    t.as_(&stage.max, "DELETE", SELF, Null).await.is(204);
    t.as_(&with(scout, &made), "GET", SELF, Null).await.refused(401, "token_revoked");
    assert_eq!(t.number("SELECT (SELECT count(*) FROM grants) + (SELECT count(*) FROM api_keys)").await, 0);
    let restore = format!("/api/agents/archived/{}/restore", scout.agent.as_ref().unwrap());
    t.as_(&stage.max, "POST", &restore, Null).await.is(200);
    assert!(ids(&t.as_(&stage.max, "GET", KEYS, Null).await.is(200)).is_empty());
    t.as_(&with(scout, &made), "GET", SELF, Null).await.refused(401, "token_revoked");
}

/// A key's status is what the guard makes of it.
#[tokio::test]
async fn a_deactivated_owners_key_is_called_deactivated() {
    let stage = stage().await;
    let Stage { t, ada, scout, .. } = &stage;
    let root = t.user(&ada.tenant, "root@example.com", Role::Admin).await;
    let made = stage.make(ada, json!({ "name": "ci" })).await;
    t.execute("UPDATE users SET deactivated_at = 1 WHERE email = 'ada@example.com'").await.unwrap();
    assert_eq!(t.as_(&root, "GET", &path(&made), Null).await.is(200)["status"], "deactivated");
    t.as_(&with(scout, &made), "GET", SELF, Null).await.refused(401, "account_deactivated");
    t.execute("UPDATE users SET deactivated_at = NULL").await.unwrap();
    assert_eq!(t.as_(&root, "GET", &path(&made), Null).await.is(200)["status"], "active");
    t.as_(&with(scout, &made), "GET", SELF, Null).await.is(200);
}

#[tokio::test]
async fn a_key_is_shared_by_itself() {
    let stage = stage().await;
    let Stage { t, ada, max, scout } = &stage;
    let made = stage.make(ada, json!({ "name": "ci" })).await;
    let grants = format!("{}/grants", path(&made));
    let own = json!({
        "subject": { "kind": "user", "id": ada.user, "name": "ada@example.com" }, "relation": "editor",
        "created_at": "2026-01-02T03:04:05.000Z", "created_by": ada.user,
    });
    assert_eq!(t.as_(ada, "GET", &grants, Null).await.is(200)["items"], json!([own]), "its maker is its editor");
    stage.share(SELF, "max@example.com", "viewer").await;
    let body = json!({ "subject": "max@example.com", "relation": "viewer" });
    let given = t.as_(ada, "POST", &grants, body.clone()).await.is(201);
    assert_eq!(t.as_(ada, "POST", &grants, body).await.is(200), given, "it is there already");
    assert_eq!(ids(&t.as_(max, "GET", KEYS, Null).await.is(200)), [made["id"].as_str().unwrap()]);
    assert_eq!(t.as_(ada, "GET", &format!("{SELF}/grants"), Null).await.is(200)["items"].as_array().unwrap().len(), 1);
    t.as_(ada, "POST", &grants, json!({ "subject": max.user, "relation": "owner" }))
        .await
        .refused(400, "unknown_relation");
    t.as_(ada, "POST", &grants, json!({ "subject": "x", "relation": "viewer" }))
        .await
        .refused(404, "subject_not_found");
    // The scope of keys is enough, that of sharing agents is not asked for; and not the other way round.
    let scope = "agents.keys.*";
    let pat = t.credential(Kind::Pat, &ada.tenant, &ada.user, None, scope, None).await;
    t.as_(&pat, "DELETE", &format!("{grants}?subject=max@example.com"), Null).await.is(204);
    t.as_(max, "GET", &path(&made), Null).await.refused(404, "key_not_found");
    let pat = t.credential(Kind::Pat, &ada.tenant, &ada.user, None, "agents.share agents.read", None).await;
    t.as_(&pat, "GET", &grants, Null).await.refused(403, "scope_denied");
    let audited = "SELECT action || ' ' || object_id FROM audit WHERE action LIKE 'agent.key.%share' AND ifnull(before, after) LIKE '%\"key\":\"key_%'";
    let agent = scout.agent.as_ref().unwrap();
    assert_eq!(t.texts(audited).await, [format!("agent.key.share {agent}"), format!("agent.key.unshare {agent}")]);
    t.execute(&format!(
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 999)
         INSERT INTO grants SELECT '{}', 'usr_' || i, 'viewer', '{}', 0, 'x' FROM n",
        made["id"].as_str().unwrap(),
        ada.tenant
    ))
    .await
    .unwrap();
    let body = json!({ "subject": "max@example.com", "relation": "viewer" });
    let refused = t.as_(ada, "POST", &grants, body).await.refused(409, "too_many_grants");
    assert!(refused["fix"].as_str().unwrap().contains(&format!("DELETE {grants}?subject=")), "{refused}");
}

/// The maker of a key for somebody else's agent keeps access to it, and so does a maker agent's owner; no other agent of theirs
/// does.
#[tokio::test]
async fn an_editors_agent_has_the_key_that_it_made() {
    let stage = stage().await;
    let Stage { t, max, .. } = &stage;
    let (helper, idle) = (t.agent(max, "helper", "agents.*").await, t.agent(max, "idle", "agents.*").await);
    for agent in [&helper, &idle] {
        let id = agent.agent.as_ref().unwrap();
        t.grant(stage.scout.agent.as_ref().unwrap(), &max.tenant, id.as_str(), "editor", &stage.ada.user).await;
    }
    stage.share(SELF, "max@example.com", "editor").await;
    let made = stage.make(&helper, json!({ "name": "ci", "scope": ["agents.read"] })).await;
    assert_eq!(made["created_by"], json!(helper.agent));
    for actor in [&helper, max] {
        t.as_(actor, "POST", &rotate(&made), json!({})).await.is(201);
    }
    t.as_(&idle, "GET", &path(&made), Null).await.refused(404, "key_not_found");
    t.as_(&helper, "GET", &format!("{}/grants", path(&made)), Null).await.refused(403, "permission_denied");
    t.as_(&helper, "DELETE", &path(&made), Null).await.is(204);
}

/// An admin has every key of the tenant, an agent those of the agents below it; an agent of an admin has neither.
#[tokio::test]
async fn an_admin_and_the_agent_above_have_the_key() {
    let stage = stage().await;
    let Stage { t, ada, scout, .. } = &stage;
    let root = t.user(&ada.tenant, "root@example.com", Role::Admin).await;
    let roots = t.agent(&root, "roots", "agents.*").await;
    t.agent_below(ada, Some(scout), "below", "agents.read").await;
    let keys = "/api/agents/below/keys";
    let made = t.as_(ada, "POST", keys, json!({ "name": "ci" })).await.is(201);
    let id = made["id"].as_str().unwrap();
    for actor in [scout, &root] {
        assert_eq!(ids(&t.as_(actor, "GET", keys, Null).await.is(200)), [id]);
        t.as_(actor, "POST", &format!("{keys}/{id}/rotate"), json!({})).await.is(201);
        t.as_(actor, "GET", &format!("{keys}/{id}/grants"), Null).await.is(200);
    }
    t.as_(&roots, "GET", &format!("{keys}/{id}"), Null).await.refused(404, "agent_not_found");
    // A key is of one agent: by another one's path it is absent.
    t.as_(ada, "GET", &format!("{KEYS}/{id}"), Null).await.refused(404, "key_not_found");
    t.as_(ada, "DELETE", &format!("{KEYS}/{id}"), Null).await.refused(404, "key_not_found");
    t.as_(scout, "DELETE", &format!("{keys}/{id}"), Null).await.is(204);
    assert_eq!(t.number("SELECT count(*) FROM api_keys").await, 0);
}

/// R51: sealed, and given again to the same credential only; made once.
#[tokio::test]
async fn a_repeated_create_gives_the_first_key_again() {
    let stage = stage().await;
    let Stage { t, ada, .. } = &stage;
    let pat = t.credential(Kind::Pat, &ada.tenant, &ada.user, None, "*", None).await;
    let send = async |actor: &Actor, path: &str, key: &str, body: Json| {
        let bearer = format!("Bearer {}", actor.token);
        t.call("POST", path, &[("authorization", bearer.as_str()), ("idempotency-key", key)], body).await
    };
    for body in [json!({ "name": "ci" }), json!({ "name": "ci", "type": "github", "value": "12345678" })] {
        let key = body["type"].as_str().unwrap_or("bearer");
        let first = send(ada, KEYS, key, body.clone()).await.is(201);
        assert_eq!(send(ada, KEYS, key, body.clone()).await.is(201), first);
        send(&pat, KEYS, key, body.clone()).await.refused(409, "idempotency_other_credential");
        let rotated = send(ada, &rotate(&first), "r", json!({})).await.is(201);
        assert_eq!(send(ada, &rotate(&first), "r", json!({})).await.is(201), rotated);
    }
    assert_eq!(t.number("SELECT count(*) FROM api_keys").await, 2);
    assert_eq!(t.number("SELECT count(*) FROM credentials WHERE kind = 'api_key'").await, 2);
}

/// R74: deleting goes through when the database has reached its bound.
#[tokio::test]
async fn a_key_can_be_deleted_when_the_database_is_full() {
    let t = TestApp::with(with_neighbours(), Settings { database_max_mib: Some(1), ..Settings::default() });
    let tenant = t.tenant("main").await;
    let ada = t.user(&tenant, "ada@example.com", Role::Member).await;
    let scout = t.agent(&ada, "scout", "agents.*").await;
    let made = t.as_(&ada, "POST", KEYS, json!({ "name": "ci" })).await.is(201);
    let file = rusqlite::Connection::open(t.path()).unwrap();
    file.execute_batch("CREATE TABLE filler (x BLOB); INSERT INTO filler VALUES (zeroblob(2000000));").unwrap();
    let mut refused = false;
    for number in 0..99 {
        let answer = t.as_(&ada, "POST", KEYS, json!({ "name": format!("k{number}") })).await;
        if answer.status != 201 {
            answer.refused(503, "storage_full");
            refused = true;
            break;
        }
    }
    assert!(refused, "the bound holds");
    t.as_(&ada, "DELETE", &path(&made), Null).await.is(204);
    t.as_(&with(&scout, &made), "GET", SELF, Null).await.refused(401, "token_revoked");
}

/// R86: keys count for the live credentials that a person may have; a rotation makes none more.
#[tokio::test]
async fn keys_of_a_person_are_bounded() {
    let quotas = store::usage::Quotas { credentials: 2, ..Settings::default().quotas };
    let t = TestApp::with(with_neighbours(), Settings { quotas, ..settings() });
    let ada = t.ada().await;
    t.agent(&ada, "scout", "*").await;
    let made = t.as_(&ada, "POST", KEYS, json!({ "name": "a" })).await.is(201);
    t.as_(&ada, "POST", KEYS, json!({ "name": "b" })).await.refused(409, "quota_reached");
    let key = format!("{KEYS}/{}", made["id"].as_str().unwrap());
    t.as_(&ada, "POST", &format!("{key}/rotate"), json!({})).await.is(201);
    t.as_(&ada, "DELETE", &key, Json::Null).await.is(204);
    t.as_(&ada, "POST", KEYS, json!({ "name": "b" })).await.is(201);
}

/// R86: an editor uses at most half of what the owner may have, so that the owner always has the other half.
#[tokio::test]
async fn an_editor_does_not_use_up_the_owners_credentials() {
    let quotas = store::usage::Quotas { credentials: 6, ..Settings::default().quotas };
    let t = TestApp::with(with_neighbours(), Settings { quotas, ..settings() });
    let ada = t.ada().await;
    let max = t.user(&ada.tenant, "max@example.com", Role::Member).await;
    let scout = t.agent(&ada, "scout", "*").await;
    let lent = t.lent(&scout, &max, "agents.*").await;
    let make = |name: &str| json!({ "name": name, "scope": ["agents.read"] });
    t.as_(&max, "POST", KEYS, make("a")).await.is(201);
    t.as_(&lent, "POST", KEYS, make("b")).await.is(201);
    for by in [&max, &lent] {
        let told = t.as_(by, "POST", KEYS, make("c")).await.refused(409, "quota_reached");
        let fix = told["fix"].as_str().unwrap();
        assert!(
            fix.contains("Revoke personal access tokens and delete keys that nobody needs.")
                && !fix.contains(" and GET"),
            "{fix}"
        );
    }
    t.as_(&ada, "POST", KEYS, make("c")).await.is(201);
}

/// R88: the secret that a rotation replaced, and the token that was issued anew, say which record has replaced them; one that was revoked
/// names none.
#[tokio::test]
async fn a_replaced_secret_names_its_successor() {
    let stage = stage().await;
    let Stage { t, ada, scout, .. } = &stage;
    let key = stage.make(ada, json!({ "name": "a", "scope": ["agents.read"] })).await;
    let rotated = t.as_(ada, "POST", &rotate(&key), json!({})).await.is(201);
    let refused = t.as_(&by(scout, &key["key"]), "GET", "/api/agents/scout", Json::Null).await;
    let refused = refused.refused(401, "token_revoked");
    let next = t.texts("SELECT id FROM credentials WHERE kind = 'api_key' AND replaced_by IS NULL").await;
    assert_eq!(refused["replaced_by"], json!(next[0]));
    assert!(
        refused["fix"].as_str().unwrap().starts_with(&format!("Use the credential that replaced it, {}.", next[0]))
    );
    t.as_(ada, "DELETE", &path(&key), Json::Null).await.is(204);
    let refused = t.as_(&by(scout, &rotated["key"]), "GET", "/api/agents/scout", Json::Null).await;
    assert_eq!(refused.refused(401, "token_revoked")["replaced_by"], Json::Null);
    for (grace, slug) in [(0, "token_revoked"), (60, "token_expired")] {
        let old = t
            .texts("SELECT id FROM credentials WHERE kind = 'agent_token' AND place = 'active' AND revoked_at IS NULL")
            .await;
        let before = t.as_(ada, "POST", "/api/agents/scout/token/issue", json!({})).await.is(200);
        assert_eq!(
            t.texts(&format!("SELECT replaced_by FROM credentials WHERE id = '{}'", old[0])).await,
            [before["id"].as_str().unwrap()]
        );
        let body = json!({ "grace_seconds": grace });
        let after = t.as_(ada, "POST", "/api/agents/scout/token/issue", body).await.is(200);
        t.wait(grace);
        let refused = t.as_(&by(scout, &before["token"]), "GET", "/api/agents/scout", Json::Null).await;
        assert_eq!(refused.refused(401, slug)["replaced_by"], after["id"]);
    }
}

/// R620: the refusal of a replaced credential names the one that is live in its place, however often that was replaced, and none if none is.
#[tokio::test]
async fn a_replaced_secret_names_the_live_end_of_its_line() {
    let stage = stage().await;
    let Stage { t, ada, scout, .. } = &stage;
    let key = stage.make(ada, json!({ "name": "a", "scope": ["agents.read"] })).await;
    let (mut tokens, mut secrets) = (Vec::new(), vec![key["key"].clone()]);
    for _ in 0..3 {
        tokens.push(t.as_(ada, "POST", "/api/agents/scout/token/issue", json!({})).await.is(200));
        secrets.push(t.as_(ada, "POST", &rotate(&key), json!({})).await.is(201)["key"].clone());
    }
    let next = t.texts("SELECT id FROM credentials WHERE kind = 'api_key' AND revoked_at IS NULL").await;
    let ended = async |secret: &Json| {
        let refused = t.as_(&by(scout, secret), "GET", "/api/agents/scout", Null).await.refused(401, "token_revoked");
        (refused["replaced_by"].clone(), refused["fix"].as_str().unwrap().to_owned())
    };
    assert_eq!(ended(&tokens[0]["token"]).await.0, tokens[2]["id"]);
    assert_eq!(ended(&tokens[1]["token"]).await.0, tokens[2]["id"]);
    assert_eq!(ended(&secrets[0]).await.0, json!(next[0]));
    t.as_(ada, "DELETE", "/api/agents/scout/token", Null).await.is(204);
    t.as_(ada, "DELETE", &path(&key), Null).await.is(204);
    for secret in [&tokens[0]["token"], &tokens[1]["token"], &tokens[2]["token"], &secrets[0]] {
        let (next, fix) = ended(secret).await;
        assert_eq!(next, Null);
        assert!(!fix.contains("replaced"), "{fix}");
    }
}

/// R53, R88: a kept answer whose token has ended since is not replayed as if the token worked.
#[tokio::test]
async fn an_answer_whose_token_has_ended_is_not_replayed() {
    let t = TestApp::with(with_neighbours(), settings());
    let ada = t.ada().await;
    t.agent(&ada, "scout", "agents.*").await;
    let issue = "/api/agents/scout/token/issue";
    let bearer = format!("Bearer {}", ada.token);
    let headers = [("authorization", bearer.as_str()), ("idempotency-key", "k")];
    let first = t.call("POST", issue, &headers, json!({})).await.is(200);
    assert_eq!(t.call("POST", issue, &headers, json!({})).await.is(200), first);
    t.as_(&ada, "DELETE", "/api/agents/scout/token", Json::Null).await.is(204);
    t.call("POST", issue, &headers, json!({})).await.refused(409, "idempotency_ended");
    let headers = [("authorization", bearer.as_str()), ("idempotency-key", "another")];
    t.call("POST", issue, &headers, json!({})).await.is(200);
    // R620: nor when it is gone, as with a purged agent.
    t.execute("DELETE FROM credentials WHERE kind = 'agent_token'").await.unwrap();
    t.call("POST", issue, &headers, json!({})).await.refused(409, "idempotency_ended");
}

/// A key whose secret had ended, or is no credential, is named itself when it is deleted: never an empty list.
#[tokio::test]
async fn a_deleted_key_is_named_although_its_secret_had_ended() {
    let t = TestApp::new(with_neighbours());
    let ada = t.ada().await;
    t.agent(&ada, "scout", "agents.read").await;
    let made =
        t.as_(&ada, "POST", "/api/agents/scout/keys", json!({ "name": "ci", "expires_in_days": 1 })).await.is(201);
    t.execute("UPDATE credentials SET revoked_at = 1 WHERE kind = 'api_key'").await.unwrap();
    let path = format!("/api/agents/scout/keys/{}", made["id"].as_str().unwrap());
    t.as_(&ada, "DELETE", &path, Null).await.is(204);
    let told = t.texts("SELECT data FROM inbox WHERE kind = 'credentials_ended'").await;
    assert_eq!(told, [json!({ "credentials": [made["id"]], "grantee": null }).to_string()]);
}
