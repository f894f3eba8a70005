use common::{role::Role, url::OutboundHosts, vault::Vault};
use serde_json::Value as Json;
use service::{
    outbound::stub,
    settings::Settings,
    testing::{Actor, TestApp},
};

use super::*;
use crate::with_neighbours;

const PROBES: &str = "/api/agents/scout/probes";
const KEY: &str = "a-key-of-the-operator-that-is-long-enough";
const VALUE: &str = "ghp_0123456789abcdefghij";
const REFUSED: &str = r#"{"message":"Resource not accessible by personal access token","documentation_url":"https://docs.github.com/rest","status":"403"}"#;

fn settings(hosts: &str) -> Settings {
    let outbound_hosts = OutboundHosts::parse(hosts).unwrap();
    Settings { vault: Vault::parse(KEY).unwrap(), outbound_hosts, ..Settings::default() }
}

/// Ada owns the agent scout, which has a secret. Max is the admin.
async fn stage_with(settings: Settings) -> (TestApp, Actor, Actor, Actor) {
    let t = TestApp::with(with_neighbours(), settings);
    let tenant = t.tenant("main").await;
    let ada = t.user(&tenant, "ada@example.com", Role::Member).await;
    let max = t.user(&tenant, "max@example.com", Role::Admin).await;
    let scout = t.agent(&ada, "scout", "agents.*").await;
    let body = json!({ "secrets": { "GITHUB_TOKEN": VALUE } });
    t.as_(&ada, "PUT", "/api/agents/scout/secrets", body).await.is(200);
    t.execute("DELETE FROM inbox").await.unwrap();
    (t, ada, max, scout)
}

async fn stage() -> (TestApp, Actor, Actor, Actor) {
    stage_with(settings("api.github.com gitlab.example.com")).await
}

fn github() -> Json {
    json!({ "name": "github", "url": "https://api.github.com/user", "secret": "GITHUB_TOKEN" })
}

async fn make(t: &TestApp, by: &Actor, body: Json) -> String {
    t.as_(by, "POST", PROBES, body).await.is(201)["id"].as_str().unwrap().to_owned()
}

async fn run_by(t: &TestApp, by: &Actor, id: &str) -> Json {
    t.wait(3); // a probe is run once in two seconds
    t.as_(by, "POST", &format!("{PROBES}/{id}/run"), json!({})).await.is(200)
}

async fn tick(t: &TestApp) {
    t.wait(2);
    t.nobody("POST", "/internal/tick", Null).await.is(204);
}

async fn events(t: &TestApp) -> Vec<String> {
    t.texts("SELECT kind || ' ' || (data ->> 'status') FROM inbox ORDER BY seq").await
}

#[tokio::test]
async fn a_probe_sends_the_secret_as_it_says() {
    let (t, ada, _, _) = stage().await;
    let made = t.as_(&ada, "POST", PROBES, github()).await.is(201);
    let id = made["id"].as_str().unwrap();
    assert_eq!(
        made,
        json!({
            "id": id, "name": "github", "method": "GET", "url": "https://api.github.com/user", "secret": "GITHUB_TOKEN",
            "header": "Authorization", "scheme": "Bearer", "expect_status": 200, "every_hours": null,
            "created_at": "2026-01-02T03:04:05.000Z", "created_by": ada.user, "status": null, "http_status": null,
            "detail": null, "checked_at": null, "changed_at": null, "fix": null,
        })
    );
    assert!(stub::sent().is_empty(), "making it runs nothing");
    let ran = run_by(&t, &ada, id).await;
    assert_eq!((&ran["status"], &ran["http_status"], &ran["fix"]), (&json!("ok"), &json!(200), &Null));
    assert_eq!(ran["detail"], "api.github.com answered 200.");
    let gitlab = json!({
        "name": "gitlab", "method": "HEAD", "url": "https://gitlab.example.com/api/v4/user", "secret": "GITHUB_TOKEN",
        "header": "PRIVATE-TOKEN",
    });
    run_by(&t, &ada, &make(&t, &ada, gitlab).await).await;
    let sent = stub::sent();
    let seen: Vec<_> = sent.iter().map(|sent| (sent.method().as_str(), sent.uri().to_string())).collect();
    assert_eq!(
        seen,
        [
            ("GET", "https://api.github.com/user".to_owned()),
            ("HEAD", "https://gitlab.example.com/api/v4/user".to_owned())
        ]
    );
    let header = |at: usize, name: &str| sent[at].headers().get(name).and_then(|value| value.to_str().ok());
    assert_eq!(header(0, "authorization"), Some(format!("Bearer {VALUE}").as_str()));
    assert_eq!((header(1, "private-token"), header(1, "authorization")), (Some(VALUE), None));
    assert!(sent[0].headers()["authorization"].is_sensitive());
    assert_eq!(events(&t).await, Vec::<String>::new(), "a first success is no news");
}

/// R113: what another server says of a refused secret reaches those who can mend it, and the secret reaches nobody.
#[tokio::test]
async fn a_refusal_is_told_once_in_the_other_servers_words() {
    let (t, ada, max, _) = stage().await;
    let id = make(&t, &ada, github()).await;
    let echo = format!("{{\"message\": \"Bad credentials: {VALUE}\"}}");
    stub::will_answer(&[
        Ok((403, REFUSED)),
        Ok((403, REFUSED)),
        Ok((401, &echo)),
        Err("ConnectionTimeout"),
        Ok((200, "{}")),
    ]);
    let ran = run_by(&t, &max, &id).await;
    let said = "api.github.com answered 403: \"Resource not accessible by personal access token\".";
    assert_eq!((&ran["status"], &ran["detail"]), (&json!("forbidden"), &json!(said)));
    assert_eq!(
        ran["fix"],
        format!(
            "{said} Give the credential there what it lacks, or set another one with PUT /api/agents/scout/secrets/GITHUB_TOKEN {{\"value\": \"…\"}}. Then send POST /api/agents/scout/probes/{id}/run."
        )
    );
    assert_eq!(events(&t).await, ["probe_failed forbidden"]);
    let told = "SELECT title || ': ' || body FROM notifications WHERE user_id = (SELECT id FROM users WHERE email = 'ada@example.com') ORDER BY id";
    let notes = t.texts(told).await;
    assert!(
        notes.len() == 1 && notes[0].starts_with("The probe github of scout fails: api.github.com answered 403"),
        "{notes:?}"
    );
    run_by(&t, &max, &id).await;
    assert_eq!(events(&t).await.len(), 1, "the same again is no news");
    let ran = run_by(&t, &max, &id).await;
    assert_eq!(ran["status"], "unauthorized");
    assert!(ran["detail"].as_str().unwrap().contains("Bad credentials: [removed]"), "{ran}");
    let ran = run_by(&t, &max, &id).await;
    assert_eq!((&ran["status"], &ran["http_status"]), (&json!("unreachable"), &Null));
    assert_eq!(ran["detail"], "api.github.com did not answer: ConnectionTimeout.");
    assert_eq!(run_by(&t, &max, &id).await["status"], "ok");
    assert_eq!(
        events(&t).await,
        ["probe_failed forbidden", "probe_failed unauthorized", "probe_failed unreachable", "probe_recovered ok"]
    );
    assert_eq!(t.texts(told).await.len(), 4);
    let words = "SELECT (SELECT group_concat(body) FROM notifications) || (SELECT group_concat(data) FROM inbox)
                 || (SELECT group_concat(ifnull(before, '') || ifnull(after, '')) FROM audit) || (SELECT group_concat(detail) FROM probes)";
    assert!(!t.texts(words).await[0].contains("0123456789"), "the secret is nowhere");
}

/// R114: no probe of a host that the operator has not allowed, when it is made and at every run.
#[tokio::test]
async fn only_allowed_hosts_are_probed() {
    let (t, ada, _, _) = stage().await;
    for (url, status, slug) in [
        ("https://evil.example.com/", 403, "host_not_allowed"),
        ("https://api.github.com:8443/", 403, "host_not_allowed"),
        ("https://169.254.169.254/latest/meta-data/", 403, "host_not_allowed"),
        ("https://auth.spin.internal/", 403, "host_not_allowed"),
        ("http://api.github.com/", 400, "invalid_outbound_url"),
        ("https://x@api.github.com/", 400, "invalid_outbound_url"),
        ("https://api.github.com./", 400, "invalid_outbound_url"),
        ("file:///etc/passwd", 400, "invalid_outbound_url"),
    ] {
        let mut body = github();
        body["url"] = json!(url);
        t.as_(&ada, "POST", PROBES, body).await.refused(status, slug);
    }
    let id = make(&t, &ada, github()).await;
    // The operator takes the host off the list: the next run sends nothing.
    let narrowed = TestApp::over(with_neighbours(), &t);
    narrowed.wait(3);
    let ran = narrowed.as_(&ada, "POST", &format!("{PROBES}/{id}/run"), json!({})).await.is(200);
    assert_eq!(ran["status"], "not_allowed");
    assert!(ran["fix"].as_str().unwrap().contains("outbound_hosts"), "{ran}");
    assert!(stub::sent().is_empty());
}

#[tokio::test]
async fn a_probe_is_checked_when_it_is_made() {
    let (t, ada, max, scout) = stage().await;
    for (field, value, status, slug) in [
        ("method", json!("DELETE"), 400, "invalid_probe"),
        ("method", json!("GET\r\nX: y"), 400, "invalid_probe"),
        ("secret", json!("github"), 400, "invalid_secret_name"),
        ("header", json!("Host"), 400, "invalid_probe"),
        ("header", json!("Transfer-Encoding"), 400, "invalid_probe"),
        ("header", json!("a b"), 400, "invalid_probe"),
        ("header", json!(""), 400, "invalid_probe"),
        ("scheme", json!("Bearer\r\nX:"), 400, "invalid_probe"),
        ("expect_status", json!(302), 400, "invalid_number"),
        ("every_hours", json!(0), 400, "invalid_number"),
        ("every_hours", json!(169), 400, "invalid_number"),
        ("name", json!(""), 400, "invalid_text"),
        ("more", json!(1), 422, "validation_error"),
    ] {
        let mut body = github();
        body[field] = value.clone();
        t.as_(&ada, "POST", PROBES, body).await.refused(status, slug);
    }
    make(&t, &ada, github()).await;
    t.as_(&ada, "POST", PROBES, github()).await.refused(409, "probe_taken");
    for number in 1..16 {
        let mut body = github();
        body["name"] = json!(format!("p{number}"));
        make(&t, &scout, body).await;
    }
    let mut body = github();
    body["name"] = json!("more");
    t.as_(&max, "POST", PROBES, body).await.refused(409, "too_many_probes");
    let id = t.texts("SELECT id FROM probes WHERE name = 'github'").await.remove(0);
    t.as_(&ada, "DELETE", &format!("{PROBES}/{id}"), Null).await.is(204);
    t.as_(&ada, "DELETE", &format!("{PROBES}/{id}"), Null).await.refused(404, "probe_not_found");
    t.as_(&ada, "POST", &format!("{PROBES}/{id}/run"), json!({})).await.refused(404, "probe_not_found");
    let actions =
        t.texts("SELECT action FROM audit WHERE action LIKE 'agent.probe.%' GROUP BY action ORDER BY action").await;
    assert_eq!(actions, ["agent.probe.create", "agent.probe.delete"]);
}

#[tokio::test]
async fn a_secret_that_is_not_there_or_no_header_is_a_finding() {
    let (t, ada, _, _) = stage().await;
    let mut body = github();
    body["secret"] = json!("OTHER_TOKEN");
    let id = make(&t, &ada, body).await;
    let ran = run_by(&t, &ada, &id).await;
    assert_eq!(
        (&ran["status"], &ran["detail"]),
        (&json!("missing_secret"), &json!("The agent has no secret OTHER_TOKEN."))
    );
    t.as_(&ada, "PUT", "/api/agents/scout/secrets/OTHER_TOKEN", json!({ "value": "a\nb" })).await.is(200);
    let ran = run_by(&t, &ada, &id).await;
    assert_eq!(ran["status"], "missing_secret");
    assert!(!ran.to_string().contains("a\\nb"), "{ran}");
    t.as_(&ada, "PUT", "/api/agents/scout/secrets/OTHER_TOKEN", json!({ "value": "line\n" })).await.is(200);
    assert_eq!(run_by(&t, &ada, &id).await["status"], "ok");
    assert_eq!(stub::sent()[0].headers()["authorization"], "Bearer line");
}

/// A probe is run once at a time and not more often than every two seconds, over all hosts.
#[tokio::test]
async fn a_probe_is_run_once_at_a_time() {
    let (t, ada, _, _) = stage().await;
    let id = make(&t, &ada, github()).await;
    run_by(&t, &ada, &id).await;
    let busy = t.as_(&ada, "POST", &format!("{PROBES}/{id}/run"), json!({})).await;
    busy.refused(429, "probe_busy");
    assert_eq!(busy.header("retry-after"), "2");
    assert_eq!(stub::sent().len(), 1);
}

#[tokio::test]
async fn the_tick_runs_what_is_due_and_nothing_of_a_halted_agent() {
    let (t, ada, _, scout) = stage().await;
    let mut body = github();
    body["every_hours"] = json!(6);
    make(&t, &ada, body).await;
    body = github();
    body["name"] = json!("by hand");
    make(&t, &ada, body).await;
    stub::will_answer(&[Ok((401, r#"{"message":"Bad credentials"}"#))]);
    tick(&t).await;
    tick(&t).await;
    assert_eq!(stub::sent().len(), 1, "once, and only the one that is run by itself");
    assert_eq!(events(&t).await, ["probe_failed unauthorized"]);
    assert_eq!(t.number("SELECT count(*) FROM notifications").await, 1);
    assert_eq!(t.number("SELECT count(*) FROM audit WHERE action LIKE 'agent.probe.run'").await, 0);
    t.wait(6 * 3600);
    t.execute("UPDATE agents SET state = 'paused'").await.unwrap();
    tick(&t).await;
    assert!(stub::sent().is_empty(), "nothing of a halted agent");
    t.execute("UPDATE agents SET state = 'running'").await.unwrap();
    t.wait(6 * 3600);
    tick(&t).await;
    assert_eq!(stub::sent().len(), 1);
    assert_eq!(events(&t).await, ["probe_failed unauthorized", "probe_recovered ok"]);

    // A heartbeat makes stale results due, and says what was found last.
    t.wait(86_400);
    let beat = t.as_(&scout, "POST", "/api/agents/me/heartbeat", json!({})).await.is(200);
    let names: Vec<_> =
        beat["probes"].as_array().unwrap().iter().map(|probe| (&probe["name"], &probe["status"])).collect();
    assert_eq!(names, [(&json!("by hand"), &Null), (&json!("github"), &json!("ok"))]);
    stub::will_answer(&[Ok((403, REFUSED)), Ok((403, REFUSED))]);
    tick(&t).await;
    assert_eq!(stub::sent().len(), 2);
    let beat = t.as_(&scout, "POST", "/api/agents/me/heartbeat", json!({})).await.is(200);
    assert!(beat["warnings"][0].as_str().unwrap().contains("by hand failed. api.github.com answered 403"), "{beat}");
    tick(&t).await;
    assert!(stub::sent().is_empty(), "a fresh result is not asked for again");
    // Another value of the secret is tried at once.
    let pat = t.credential(common::secret::Kind::Pat, &ada.tenant, &ada.user, None, "*", None).await;
    t.as_(&pat, "PUT", "/api/agents/scout/secrets/GITHUB_TOKEN", json!({ "value": "new-value-of-it" })).await.is(200);
    tick(&t).await;
    assert_eq!(stub::sent().len(), 2);
}

/// R688: a secret that is set while a run is under way with the one before makes a run of its own, whoever has begun the first.
#[tokio::test]
async fn a_secret_that_is_set_during_a_run_is_tried_too() {
    let (t, ada, ..) = stage().await;
    let id = make(&t, &ada, github()).await;
    let (path, at) = (t.path(), t.now().plus_seconds(5));
    for by_hand in [true, false] {
        let (path, asked) = (path.clone(), std::cell::Cell::new(false));
        stub::serve(Box::new(move |_| {
            // What setting the secret does to its probes.
            if !asked.replace(true) {
                let file = rusqlite::Connection::open(&path).unwrap();
                file.execute("UPDATE probes SET due_at = ?1", [at.millis()]).unwrap();
            }
            Ok((401, "{}".to_owned()))
        }));
        if by_hand {
            run_by(&t, &ada, &id).await;
        } else {
            t.execute("UPDATE probes SET due_at = 1, busy_until = 0").await.unwrap();
            tick(&t).await;
        }
        assert_eq!(stub::sent().len(), 1, "{by_hand}");
        assert_eq!(t.number("SELECT due_at FROM probes").await, at.millis(), "{by_hand}");
        t.wait(5);
        tick(&t).await;
        assert_eq!(stub::sent().len(), 1, "{by_hand}");
        assert_eq!(t.number("SELECT count(*) FROM probes WHERE due_at IS NULL").await, 1, "{by_hand}");
    }
}

/// R48: with a new key in front, the tick seals again what was sealed under the old ones; then they can be taken away.
#[tokio::test]
async fn the_tick_seals_again_under_the_first_key() {
    let (t, ada, _, scout) = stage().await;
    t.as_(
        &ada,
        "POST",
        "/api/agents/scout/keys",
        json!({ "name": "hook", "type": "github", "value": "s3cret-of-a-hook" }),
    )
    .await
    .is(201);
    let sealed =
        Vault::parse(KEY).unwrap().seal(common::vault::TOTP, &[ada.user.as_str()], "JBSWY3DP", t.chance()).unwrap();
    let hex: String = sealed.iter().map(|byte| format!("{byte:02x}")).collect();
    t.execute(&format!("INSERT INTO factors (user_id, sealed, created_at) VALUES ('{}', x'{hex}', 0)", ada.user))
        .await
        .unwrap();
    let key_of = "SELECT count(DISTINCT k) FROM (SELECT substr(sealed, 1, 8) AS k FROM agent_secrets UNION ALL SELECT substr(sealed, 1, 8) FROM api_keys UNION ALL SELECT substr(sealed, 1, 8) FROM factors)";
    assert_eq!(t.number(key_of).await, 1);
    let before = t.texts("SELECT hex(sealed) FROM agent_secrets UNION ALL SELECT hex(sealed) FROM api_keys UNION ALL SELECT hex(sealed) FROM factors").await;
    let new = "a-new-key-of-the-operator-that-is-long";
    let both = Settings { vault: Vault::parse(&format!("{new},{KEY}")).unwrap(), ..settings("") };
    let both = TestApp::over_with(with_neighbours(), both, &t);
    t.wait(2);
    both.nobody("POST", "/internal/tick", Null).await.is(204);
    let after = t.texts("SELECT hex(sealed) FROM agent_secrets UNION ALL SELECT hex(sealed) FROM api_keys UNION ALL SELECT hex(sealed) FROM factors").await;
    assert_eq!((after.len(), t.number(key_of).await), (3, 1));
    assert!(before.iter().zip(&after).all(|(before, after)| before[..16] != after[..16]), "another key seals each");
    let only = Settings { vault: Vault::parse(new).unwrap(), ..settings("") };
    let only = TestApp::over_with(with_neighbours(), only, &t);
    let read = only.as_(&scout, "GET", "/api/agents/me/secrets/values", Null).await.is(200);
    assert_eq!(read["secrets"], json!({ "GITHUB_TOKEN": VALUE }));
    t.as_(&scout, "GET", "/api/agents/me/secrets/values", Null).await.refused(503, "secrets_disabled");
}

/// R313: a finding that has no room in a full database puts the probe off: it is not sent again and again.
#[tokio::test]
async fn a_full_database_runs_no_probe_again_and_again() {
    let full = Settings { database_max_mib: Some(1), ..settings("api.github.com") };
    let (t, ada, _, _) = stage_with(full).await;
    let mut every_day = github();
    every_day["every_hours"] = json!(24);
    make(&t, &ada, every_day).await;
    rusqlite::Connection::open(t.path())
        .unwrap()
        .execute_batch(
            "CREATE TABLE filler (x BLOB); INSERT INTO filler VALUES (zeroblob(2000000));
             CREATE TRIGGER fills AFTER UPDATE OF status ON probes BEGIN INSERT INTO filler VALUES (zeroblob(5000)); END",
        )
        .unwrap();
    for _ in 0..20 {
        t.wait(30);
        tick(&t).await;
    }
    assert_eq!(stub::sent().len(), 2, "at once, and after the time of one that could not be run");
}
