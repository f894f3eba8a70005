use common::{
    role::Role,
    secret::Kind,
    vault::{SECRET, Vault},
};
use service::{
    settings::Settings,
    testing::{Actor, TestApp},
};
use store::usage::Quotas;

use super::*;
use crate::with_neighbours;

const SECRETS: &str = "/api/agents/scout/secrets";
const VALUES: &str = "/api/agents/me/secrets/values";
const KEY: &str = "a-key-of-the-operator-that-is-long-enough";
const VALUE: &str = "ghp_0123456789abcdefghij";

fn settings() -> Settings {
    Settings { vault: Vault::parse(KEY).unwrap(), ..Settings::default() }
}

/// Ada, a member, owns the agent scout; Max is another member.
async fn stage_with(settings: Settings) -> (TestApp, Actor, Actor, Actor) {
    let t = TestApp::with(with_neighbours(), settings);
    let tenant = t.tenant("main").await;
    let ada = t.user(&tenant, "ada@example.com", Role::Member).await;
    let max = t.user(&tenant, "max@example.com", Role::Member).await;
    let scout = t.agent(&ada, "scout", "agents.*").await;
    (t, ada, max, scout)
}

async fn stage() -> (TestApp, Actor, Actor, Actor) {
    stage_with(settings()).await
}

async fn values(t: &TestApp, scout: &Actor) -> Json {
    t.as_(scout, "GET", VALUES, Null).await.is(200)["secrets"].clone()
}

async fn set(t: &TestApp, by: &Actor, secrets: Json) {
    t.as_(by, "PUT", SECRETS, json!({ "secrets": secrets })).await.is(200);
}

/// What SQLite writes with `hex`.
fn bytes_of(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

/// R610: who sets secrets hears that the agent cannot read them, and the agent's doctor says it, until it can.
#[tokio::test]
async fn secrets_that_their_agent_cannot_read_are_warned_of() {
    let (t, ada, ..) = stage().await;
    let one = json!({ "TOKEN": VALUE });
    let body = json!({ "name": "lean", "preset": "worker", "secrets": one });
    let made = t.as_(&ada, "POST", "/api/agents", body).await.is(201);
    let warned = |answer: &Json, part: &str| {
        let warnings = answer["warnings"].as_array().cloned().unwrap_or_default();
        assert!(warnings.len() == 1 && warnings[0].as_str().unwrap().contains(part), "{part}: {answer}");
    };
    warned(&made, "The scope of lean lacks agents.secrets.read");
    let secrets = "/api/agents/lean/secrets";
    let several = async || t.as_(&ada, "PUT", secrets, json!({ "secrets": one })).await.is(200);
    let single = async || t.as_(&ada, "PUT", &format!("{secrets}/TOKEN"), json!({ "value": VALUE })).await.is(200);
    warned(&several().await, "The scope of lean lacks");
    warned(&single().await, "The scope of lean lacks");
    let scope = json!({ "scope": ["agents.read", "agents.secrets.read"] });
    t.as_(&ada, "PATCH", "/api/agents/lean", scope).await.is(200);
    warned(&several().await, "The token of lean does not carry agents.secrets.read");
    t.as_(&ada, "POST", "/api/agents/lean/token/issue", json!({})).await.is(200);
    for answer in [several().await, single().await] {
        assert_eq!(answer.get("warnings"), None, "{answer}");
    }
}

/// R111: people set values and see names and ages; the agent alone reads values, and each time is on record.
#[tokio::test]
async fn people_see_names_and_the_agent_alone_reads_values() {
    let (t, ada, _, scout) = stage().await;
    let made = t.as_(&ada, "PUT", SECRETS, json!({ "secrets": { "B_KEY": "two", "GITHUB_TOKEN": VALUE } })).await;
    let at = "2026-01-02T03:04:05.000Z";
    let record = |name: &str| json!({ "name": name, "created_at": at, "updated_at": at, "updated_by": ada.user });
    assert_eq!(made.is(200), json!({ "items": [record("B_KEY"), record("GITHUB_TOKEN")] }));
    assert_eq!(
        t.as_(&ada, "GET", SECRETS, Null).await.is(200),
        json!({ "items": [record("B_KEY"), record("GITHUB_TOKEN")] })
    );
    t.wait(60);
    let one = t.as_(&ada, "PUT", &format!("{SECRETS}/B_KEY"), json!({ "value": "three" })).await.is(200);
    let later =
        json!({ "name": "B_KEY", "created_at": at, "updated_at": "2026-01-02T03:05:05.000Z", "updated_by": ada.user });
    assert_eq!(one, later);
    assert_eq!(t.as_(&ada, "GET", &format!("{SECRETS}/B_KEY"), Null).await.is(200), later);

    let answer = t.as_(&scout, "GET", VALUES, Null).await;
    assert_eq!(answer.header("cache-control"), "no-store");
    assert_eq!(answer.is(200), json!({ "secrets": { "B_KEY": "three", "GITHUB_TOKEN": VALUE } }));
    t.as_(&ada, "GET", VALUES, Null).await.refused(403, "agent_required");
    t.nobody("GET", VALUES, Null).await.refused(401, "missing_credential");

    let rows = t
        .texts("SELECT action || ' ' || ifnull(before, '-') || ' ' || ifnull(after, '-') FROM audit ORDER BY seq")
        .await;
    let named = |name: &str| json!([record(name)]);
    assert_eq!(
        rows,
        [
            r#"agent.secret.set {"replaced":[]} {"set":["B_KEY","GITHUB_TOKEN"]}"#.to_owned(),
            format!(r#"agent.secret.set {{"replaced":{}}} {{"set":["B_KEY"]}}"#, named("B_KEY")),
            r#"agent.secret.read - {"format":"json","names":["B_KEY","GITHUB_TOKEN"]}"#.to_owned(),
        ]
    );
    assert_eq!(t.number("SELECT count(DISTINCT object_id) FROM audit").await, 1);
}

/// R48, R111: at rest only ciphertext, and one that was moved to another name, agent or tenant does not open.
#[tokio::test]
async fn a_value_is_encrypted_for_its_own_place() {
    let (t, ada, _, scout) = stage().await;
    let other = t.agent(&ada, "other", "agents.*").await;
    set(&t, &ada, json!({ "A": VALUE, "B": "two" })).await;
    t.as_(&ada, "PUT", "/api/agents/other/secrets", json!({ "secrets": { "A": "theirs" } })).await.is(200);
    assert_eq!(
        t.number(&format!("SELECT count(*) FROM agent_secrets WHERE instr(sealed, CAST('{VALUE}' AS BLOB)) > 0")).await,
        0
    );
    let id = scout.agent.as_ref().unwrap();
    // R422: the place is tenant, agent and name, each of which must be the same.
    let stored =
        t.texts(&format!("SELECT hex(sealed) FROM agent_secrets WHERE agent_id = '{id}' AND name = 'A'")).await;
    let vault = settings().vault;
    let place = [ada.tenant.as_str(), id.as_str(), "A"];
    assert_eq!(vault.open(SECRET, &place, &bytes_of(&stored[0])).as_deref(), Ok(VALUE));
    let elsewhere = vault.seal(SECRET, &["ten_other", id.as_str(), "A"], "two of theirs", t.chance()).unwrap();
    let elsewhere: String = elsewhere.iter().map(|byte| format!("{byte:02x}")).collect();
    for bend in [
        format!("UPDATE agent_secrets SET sealed = x'{elsewhere}' WHERE agent_id = '{id}' AND name = 'A'"),
        format!(
            "UPDATE agent_secrets SET sealed = (SELECT sealed FROM agent_secrets WHERE name = 'B') WHERE agent_id = '{id}' AND name = 'A'"
        ),
        format!(
            "UPDATE agent_secrets SET sealed = (SELECT sealed FROM agent_secrets WHERE agent_id <> '{id}') WHERE agent_id = '{id}' AND name = 'A'"
        ),
    ] {
        t.execute(&bend).await.unwrap();
        let refused = t.as_(&scout, "GET", VALUES, Null).await;
        refused.refused(500, "internal");
        assert!(!refused.text.contains("two") && !refused.text.contains("theirs"), "{}", refused.text);
    }
    assert_eq!(values(&t, &other).await, json!({ "A": "theirs" }));
}

/// R111: all of them are set, or none; what is wrong is named, and no value is repeated.
#[tokio::test]
async fn several_secrets_are_set_all_or_none() {
    let (t, ada, _, scout) = stage().await;
    set(&t, &ada, json!({ "A": "old" })).await;
    let ours = t.agent(&ada, "ours", "").await.token;
    let long = "x".repeat(8193);
    for (bad, status, slug) in [
        (json!({ "A": "new", "path": "x" }), 400, "invalid_secret_name"),
        (json!({ "A": "new", "PATH": "x" }), 400, "invalid_secret_name"),
        (json!({ "A": "new", "LD_PRELOAD": "/tmp/x.so" }), 400, "invalid_secret_name"),
        (json!({ "A": "new", "ACCREDIT_URL": "x" }), 400, "invalid_secret_name"),
        (json!({ "A": "new", "": "x" }), 400, "invalid_secret_name"),
        (json!({ "A": "new", "B": "" }), 400, "invalid_secret_value"),
        (json!({ "A": "new", "B": "a\u{0}b" }), 400, "invalid_secret_value"),
        (json!({ "A": "new", "B": long }), 400, "invalid_secret_value"),
        // A credential of this server would get round grants, and a probe would send it elsewhere.
        (json!({ "A": "new", "B": ours }), 422, "credential_in_text"),
        (json!({ "A": "new", "B": format!("Bearer {ours}") }), 422, "credential_in_text"),
        (json!({ "A": "new", "B": 7 }), 422, "validation_error"),
        (json!({ "A": "new", "B": null }), 422, "validation_error"),
        (json!({}), 422, "validation_error"),
        (json!([]), 422, "validation_error"),
    ] {
        let refused = t.as_(&ada, "PUT", SECRETS, json!({ "secrets": bad })).await;
        refused.refused(status, slug);
        assert!(!refused.text.contains(&ours) && !refused.text.contains("xxxx"), "{}", refused.text);
    }
    t.as_(&ada, "PUT", &format!("{SECRETS}/a"), json!({ "value": "x" })).await.refused(400, "invalid_secret_name");
    t.as_(&ada, "PUT", &format!("{SECRETS}/A"), json!({})).await.refused(422, "validation_error");
    assert_eq!(values(&t, &scout).await, json!({ "A": "old" }));

    let all: serde_json::Map<String, Json> = (0..64).map(|n| (format!("S{n}"), json!("v"))).collect();
    let refused = t.as_(&ada, "PUT", SECRETS, json!({ "secrets": all })).await.refused(409, "too_many_secrets");
    assert!(refused["fix"].as_str().unwrap().contains("DELETE /api/agents/scout/secrets/"), "{refused}");
    assert_eq!(t.number("SELECT count(*) FROM agent_secrets").await, 1);
    t.as_(&ada, "DELETE", &format!("{SECRETS}/A"), Null).await.is(204);
    set(&t, &ada, json!(all)).await;
    assert_eq!(t.number("SELECT count(*) FROM agent_secrets").await, 64);
}

/// R111: by relation, scope and state; absent and foreign are the same.
#[tokio::test]
async fn others_do_what_their_relation_and_scope_allow() {
    let (t, ada, max, scout) = stage().await;
    set(&t, &ada, json!({ "A": VALUE })).await;
    let one = format!("{SECRETS}/A");
    for (method, path, body) in [
        ("GET", SECRETS, Null),
        ("GET", &one, Null),
        ("PUT", SECRETS, json!({ "secrets": { "A": "x" } })),
        ("PUT", &one, json!({ "value": "x" })),
        ("DELETE", &one, Null),
    ] {
        t.as_(&max, method, path, body).await.refused(404, "agent_not_found");
    }
    t.as_(&ada, "POST", "/api/agents/scout/grants", json!({ "subject": "max@example.com", "relation": "viewer" }))
        .await
        .is(201);
    assert_eq!(t.as_(&max, "GET", SECRETS, Null).await.is(200)["items"][0]["name"], "A");
    t.as_(&max, "PUT", &one, json!({ "value": "x" })).await.refused(403, "permission_denied");
    t.as_(&max, "DELETE", &one, Null).await.refused(403, "permission_denied");
    t.as_(&ada, "GET", &format!("{SECRETS}/B"), Null).await.refused(404, "secret_not_found");
    t.as_(&ada, "DELETE", &format!("{SECRETS}/B"), Null).await.refused(404, "secret_not_found");

    let reader = t.credential(Kind::Pat, &ada.tenant, &ada.user, None, "agents.secrets.read", None).await;
    t.as_(&reader, "GET", SECRETS, Null).await.is(200);
    t.as_(&reader, "PUT", &one, json!({ "value": "x" })).await.refused(403, "scope_denied");
    let narrow = t.agent(&ada, "narrow", "agents.read").await;
    t.as_(&narrow, "GET", VALUES, Null).await.refused(403, "scope_denied");
    // The agent reads its own and no other's, and may set its own with the scope.
    assert_eq!(values(&t, &scout).await, json!({ "A": VALUE }));
    t.as_(&scout, "PUT", "/api/agents/me/secrets/A", json!({ "value": "own" })).await.is(200);
    assert_eq!(values(&t, &scout).await, json!({ "A": "own" }));

    for (state, slug) in [("paused", "agent_paused"), ("stopped", "agent_stopped")] {
        t.execute(&format!("UPDATE agents SET state = '{state}' WHERE name = 'scout'")).await.unwrap();
        t.as_(&scout, "GET", VALUES, Null).await.refused(403, slug);
    }
}

/// R111: what a shell evaluates is quoted; files are a map of their texts.
#[tokio::test]
async fn values_are_read_in_three_forms() {
    let (t, ada, _, scout) = stage().await;
    let key = "-----BEGIN KEY-----\nit's $HOME `x`\n-----END KEY-----\n";
    set(&t, &ada, json!({ "B": key, "A": "plain" })).await;
    let read = async |format: &str| t.as_(&scout, "GET", &format!("{VALUES}?format={format}"), Null).await;
    assert_eq!(read("json").await.is(200), json!({ "secrets": { "A": "plain", "B": key } }));
    assert_eq!(read("files").await.is(200), json!({ "A": "plain", "B": key }));
    let env = read("env").await;
    assert_eq!((env.status.as_u16(), env.header("cache-control")), (200, "no-store"));
    assert_eq!(env.header("content-type"), "text/plain; charset=utf-8");
    let quoted = key.replace('\'', "'\\''");
    assert_eq!(env.text, format!("export A='plain'\nexport B='{quoted}'\n"));
    read("xml").await.refused(400, "invalid_filter");
    t.as_(&ada, "DELETE", &format!("{SECRETS}/A"), Null).await.is(204);
    t.as_(&ada, "DELETE", &format!("{SECRETS}/B"), Null).await.is(204);
    assert_eq!(read("env").await.text, "");
    assert_eq!(read("json").await.is(200), json!({ "secrets": {} }));
}

/// R48: without a key nothing is stored and nothing opens; a key that was replaced still opens what it sealed.
#[tokio::test]
async fn without_the_key_there_are_no_secrets() {
    let (t, ada, _, scout) = stage_with(Settings::default()).await;
    t.as_(&ada, "PUT", SECRETS, json!({ "secrets": { "A": "x" } })).await.refused(503, "secrets_disabled");
    t.as_(&ada, "PUT", &format!("{SECRETS}/A"), json!({ "value": "x" })).await.refused(503, "secrets_disabled");
    assert_eq!(t.as_(&ada, "GET", SECRETS, Null).await.is(200), json!({ "items": [] }));
    assert_eq!(values(&t, &scout).await, json!({}));
    assert_eq!(t.number("SELECT count(*) FROM agent_secrets").await, 0);

    let (t, ada, _, scout) = stage().await;
    set(&t, &ada, json!({ "A": VALUE })).await;
    let without = TestApp::over(with_neighbours(), &t);
    without.as_(&scout, "GET", VALUES, Null).await.refused(503, "secrets_disabled");
    without.as_(&ada, "DELETE", &format!("{SECRETS}/A"), Null).await.is(204);
}

/// R42, R111: with the agent, or with its owner, its secrets end.
#[tokio::test]
async fn secrets_end_with_the_agent_and_with_another_owner() {
    let (t, ada, max, _) = stage().await;
    let count = "SELECT count(*) FROM agent_secrets";
    set(&t, &ada, json!({ "A": VALUE })).await;
    t.as_(&ada, "PATCH", "/api/agents/scout", json!({ "owner": "max@example.com" })).await.is(200);
    assert_eq!(t.number(count).await, 0);
    set(&t, &max, json!({ "A": VALUE })).await;
    let stored = t
        .number("SELECT bytes FROM usage WHERE subject_id = (SELECT id FROM users WHERE email = 'max@example.com')")
        .await;
    assert!(stored > 128 + VALUE.len() as i64, "{stored}");
    t.as_(&max, "DELETE", "/api/agents/scout", Null).await.is(204);
    assert_eq!(t.number(count).await, 0);
    let sum = "SELECT sum(stored_bytes) FROM agents";
    let left = t.number(sum).await;
    let id = t.texts("SELECT id FROM agents").await.remove(0);
    t.as_(&max, "POST", &format!("/api/agents/archived/{id}/restore"), json!({})).await.is(200);
    assert_eq!(t.as_(&max, "GET", SECRETS, Null).await.is(200), json!({ "items": [] }));
    assert_eq!(t.number(sum).await, left);
}

/// R86: what is stored counts for the agent's owner.
#[tokio::test]
async fn secrets_count_for_the_quota() {
    let quotas = Quotas { bytes: 6000, ..Settings::default().quotas };
    let (t, ada, _, scout) = stage_with(Settings { quotas, ..settings() }).await;
    let refused = t
        .as_(&ada, "PUT", SECRETS, json!({ "secrets": { "A": "x".repeat(7000) } }))
        .await
        .refused(409, "quota_reached");
    assert_eq!(refused["quota"], "stored bytes");
    assert_eq!(values(&t, &scout).await, json!({}));
    set(&t, &ada, json!({ "A": "x".repeat(1000) })).await;
}

#[tokio::test]
async fn the_agent_hears_that_a_secret_is_another_one() {
    let (t, ada, _, _) = stage().await;
    set(&t, &ada, json!({ "A": VALUE, "B": "two" })).await;
    t.as_(&ada, "DELETE", &format!("{SECRETS}/A"), Null).await.is(204);
    let events = t.texts("SELECT kind || ' ' || data FROM inbox ORDER BY seq").await;
    assert_eq!(
        events,
        [r#"secret_changed {"set":["A","B"],"deleted":[]}"#, r#"secret_changed {"set":[],"deleted":["A"]}"#]
    );
}

/// R511: a name that is refused since, and was stored before, holds up none of the others; it is listed, and can be deleted.
#[tokio::test]
async fn a_name_of_before_is_given_to_nobody() {
    let (t, ada, _, scout) = stage().await;
    set(&t, &ada, json!({ "A": "one", "B": "two" })).await;
    t.execute("UPDATE agent_secrets SET name = 'PSQLRC' WHERE name = 'B'").await.unwrap();
    assert_eq!(values(&t, &scout).await, json!({ "A": "one" }));
    t.as_(&ada, "PUT", &format!("{SECRETS}/PSQLRC"), json!({ "value": "x" })).await.refused(400, "invalid_secret_name");
    t.as_(&ada, "DELETE", &format!("{SECRETS}/PSQLRC"), Null).await.is(204);
    assert_eq!(t.number("SELECT count(*) FROM agent_secrets").await, 1);
}

/// R770: a credential that may only write secrets does not read by it which there are.
#[tokio::test]
async fn who_may_only_write_secrets_is_answered_what_was_sent() {
    let (t, ada, ..) = stage().await;
    set(&t, &ada, json!({ "KNOWN": VALUE })).await;
    let pat = t.credential(Kind::Pat, &ada.tenant, &ada.user, None, "agents.secrets.write", None).await;
    let names = |answer: &Json| {
        let items = answer["items"].as_array().cloned().unwrap_or_default();
        items.iter().map(|item| item["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let sent = json!({ "secrets": { "SENT": VALUE } });
    assert_eq!(names(&t.as_(&pat, "PUT", SECRETS, sent.clone()).await.is(200)), ["SENT"]);
    assert_eq!(names(&t.as_(&ada, "PUT", SECRETS, sent).await.is(200)), ["KNOWN", "SENT"]);
}
