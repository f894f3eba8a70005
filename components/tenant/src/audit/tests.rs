use std::sync::Arc;

use common::{
    id::RequestIds,
    role::Role,
    secret::{Chance, Kind},
};
use http::{Method, Uri};
use serde_json::{
    Value::{self as Json, Null},
    json,
};
use service::{
    app::{Env, Head},
    body::RequestBody,
    clock::Clock,
    headers::Headers,
    http::serve,
    settings::Settings,
    testing::{Actor, TestApp},
};
use store::{
    agent::archived,
    audit::chain,
    credential::status::SESSION_IDLE,
    db::{Purpose, schema::Schema},
};

use super::cell;
use crate::router;

struct Site {
    t: TestApp,
    ada: Actor,
    mia: Actor,
    scout: Actor,
    hidden: Actor,
}

fn id(agent: &Actor) -> String {
    agent.agent.as_ref().unwrap().to_string()
}

/// Ada is an admin and owns the agent `hidden`; Mia is a member and owns `scout`.
async fn site() -> Site {
    site_with(Settings::default()).await
}

async fn site_with(settings: Settings) -> Site {
    let t = TestApp::with(router(), settings);
    let tenant = t.tenant("main").await;
    let ada = t.user(&tenant, "ada@example.com", Role::Admin).await;
    let mia = t.user(&tenant, "mia@example.com", Role::Member).await;
    let scout = t.agent(&mia, "scout", "*").await;
    let hidden = t.agent(&ada, "hidden", "*").await;
    Site { t, ada, mia, scout, hidden }
}

impl Site {
    /// Plants a row: what `by` did to `object`.
    async fn row(&self, name: &str, by: &Actor, object: &str) {
        let agent = by.agent.as_ref().map_or("NULL".to_owned(), |id| format!("'{id}'"));
        let at = self.t.now().millis();
        let sql = format!(
            "INSERT INTO audit (id, at, tenant_id, user_id, agent_id, credential_id, address, request_id, action, object_id, outcome, before, after)
             VALUES ('aud_{name}', {at}, '{}', '{}', {agent}, '{}', '192.0.2.1', 'req_1', 'x.{name}', '{object}', 'done', '{{\"a\":1}}', '{{\"a\":2}}')",
            by.tenant, by.user, by.credential
        );
        self.t.execute(&sql).await.unwrap();
    }

    async fn sees(&self, actor: &Actor, query: &str) -> Vec<String> {
        let list = self.t.as_(actor, "GET", &format!("/api/audit{query}"), Null).await.is(200);
        ids(&list)
    }
}

fn ids(list: &Json) -> Vec<String> {
    let items = list["items"].as_array().unwrap();
    items.iter().map(|row| row["id"].as_str().unwrap().trim_start_matches("aud_").to_owned()).collect()
}

/// Rows about both agents, about neither, and another tenant's.
async fn crowd() -> Site {
    let s = site().await;
    s.row("user", &s.ada, s.mia.user.as_str()).await;
    s.row("mia_scout", &s.mia, &id(&s.scout)).await;
    s.row("scout_scout", &s.scout, &id(&s.scout)).await;
    s.row("ada_hidden", &s.ada, &id(&s.hidden)).await;
    s.row("hidden_scout", &s.hidden, &id(&s.scout)).await;
    s.row("scout_hidden", &s.scout, &id(&s.hidden)).await;
    let other = s.t.tenant("other").await;
    let eve = s.t.user(&other, "eve@example.com", Role::Admin).await;
    let agent = s.t.agent(&eve, "scout", "*").await;
    s.row("eve", &eve, &id(&agent)).await;
    s.row("eve_scout", &agent, &id(&s.scout)).await;
    s
}

/// R36: with audit.read_all a caller sees all rows of the tenant; never another tenant's.
#[tokio::test]
async fn callers_see_what_happened_to_the_agents_that_they_may_read() {
    let s = crowd().await;
    let all = ["scout_hidden", "hidden_scout", "ada_hidden", "scout_scout", "mia_scout", "user"];
    assert_eq!(s.sees(&s.ada, "").await, all);
    let of_scout = ["scout_hidden", "hidden_scout", "scout_scout", "mia_scout"];
    assert_eq!(s.sees(&s.mia, "").await, of_scout);
    assert_eq!(s.sees(&s.scout, "").await, of_scout);
    assert_eq!(
        s.sees(&s.hidden, "").await,
        ["scout_hidden", "hidden_scout", "ada_hidden"],
        "an agent does not have its owner's rights as an admin"
    );
    let vic = s.t.user(&s.ada.tenant, "vic@example.com", Role::Viewer).await;
    assert_eq!(s.sees(&vic, "").await, Vec::<String>::new());
    s.t.grant(s.scout.agent.as_ref().unwrap(), &s.ada.tenant, vic.user.as_str(), "viewer", &s.mia.user).await;
    assert_eq!(s.sees(&vic, "").await, of_scout);
    // An admin's token without audit.read_all sees the agents' rows, which for an admin are all agents'.
    let pat = s.t.credential(Kind::Pat, &s.ada.tenant, &s.ada.user, None, "audit.read", None).await;
    assert_eq!(s.sees(&pat, "").await, all[..5]);
    // R694: what a list and an export are of is said: else a part of the trail would look like all of it.
    for (actor, covers) in [(&s.ada, "tenant"), (&s.mia, "agents"), (&s.scout, "agents"), (&pat, "agents")] {
        for path in ["/api/audit", "/api/audit/export"] {
            assert_eq!(s.t.as_(actor, "GET", path, Null).await.header("x-accredit-covers"), covers, "{path}");
        }
    }
    let narrow = s.t.credential(Kind::Pat, &s.ada.tenant, &s.ada.user, None, "audit.read_all", None).await;
    s.t.as_(&narrow, "GET", "/api/audit", Null).await.refused(403, "scope_denied");
}

/// R33: of an agent that the caller may not read a row shows the id, and nothing more.
#[tokio::test]
async fn of_an_unreadable_agent_a_row_shows_the_id_alone() {
    let s = crowd().await;
    let list = s.t.as_(&s.mia, "GET", "/api/audit?limit=2", Null).await.is(200);
    let row = |name: &str, by: &Actor, object: &Actor, email: &str| {
        json!({
            "id": format!("aud_{name}"), "at": "2026-01-02T03:04:05.000Z", "action": format!("x.{name}"),
            "outcome": "done", "count": 1,
            "actor": { "user_id": by.user.as_str(), "email": email, "agent_id": id(by), "agent_name": "scout" },
            "credential_id": by.credential.as_str(), "credential_kind": "agent_token", "address": "192.0.2.1", "request_id": "req_1",
            "object": id(object), "object_name": "scout", "before": { "a": 1 }, "after": { "a": 2 },
        })
    };
    let mut by_scout = row("scout_hidden", &s.scout, &s.hidden, "mia@example.com");
    for member in ["object_name", "before", "after"] {
        by_scout[member] = Null;
    }
    let mut by_hidden = row("hidden_scout", &s.hidden, &s.scout, "ada@example.com");
    by_hidden["actor"]["agent_name"] = Null;
    assert_eq!(list["items"], json!([by_scout, by_hidden]));
    let all = s.t.as_(&s.ada, "GET", "/api/audit?limit=2", Null).await.is(200);
    by_scout["object_name"] = json!("hidden");
    by_scout["before"] = json!({ "a": 1 });
    by_scout["after"] = json!({ "a": 2 });
    by_hidden["actor"]["agent_name"] = json!("hidden");
    assert_eq!(all["items"], json!([by_scout, by_hidden]));
    // Its name finds nothing, like a name without an agent; its id finds the rows that are shown anyway.
    for name in ["hidden", "nobody", "nobody@example.com", "agt_00000000000000000000000000"] {
        for filter in ["actor", "object"] {
            assert_eq!(s.sees(&s.mia, &format!("?{filter}={name}")).await, Vec::<String>::new());
        }
    }
    assert_eq!(s.sees(&s.mia, &format!("?object={}", id(&s.hidden))).await, ["scout_hidden"]);
}

#[tokio::test]
async fn only_the_owner_sees_the_rows_of_an_archived_agent() {
    let s = crowd().await;
    let vic = s.t.user(&s.ada.tenant, "vic@example.com", Role::Viewer).await;
    s.t.grant(s.scout.agent.as_ref().unwrap(), &s.ada.tenant, vic.user.as_str(), "editor", &s.mia.user).await;
    assert_eq!(s.sees(&vic, "").await.len(), 4);
    s.t.execute("UPDATE agents SET archived_at = 1 WHERE name = 'scout'").await.unwrap();
    assert_eq!(s.sees(&vic, "").await, Vec::<String>::new());
    assert_eq!(s.sees(&s.mia, "").await.len(), 4);
    // Its name is still its own until another agent has it.
    let by_name = [s.sees(&s.mia, "?actor=scout").await, s.sees(&s.mia, "?object=scout").await];
    let by_id = ["actor", "object"].map(|field| format!("?{field}={}", id(&s.scout)));
    assert_eq!(by_name, [s.sees(&s.mia, &by_id[0]).await, s.sees(&s.mia, &by_id[1]).await]);
    assert!(by_name.iter().all(|seen| !seen.is_empty()));
    let next = s.t.agent(&s.mia, "scout", "*").await;
    assert_eq!(s.sees(&s.mia, "?actor=scout").await, s.sees(&s.mia, &format!("?actor={}", id(&next))).await);
}

#[tokio::test]
async fn filters_narrow_the_list() {
    let s = crowd().await;
    s.t.wait(60);
    s.row("late", &s.mia, &id(&s.scout)).await;
    s.t.execute(&format!(
        "INSERT INTO audit (id, at, tenant_id, agent_id, action, outcome, count)
         SELECT 'aud_refused', 1767323045000, tenant_id, id, 'scope_denied', 'refused', 41 FROM agents WHERE id = '{}'",
        id(&s.scout)
    ))
    .await
    .unwrap();
    for (query, expected) in [
        ("?actor=scout".to_owned(), vec!["refused", "scout_hidden", "scout_scout"]),
        (format!("?actor={}", id(&s.scout)), vec!["refused", "scout_hidden", "scout_scout"]),
        ("?actor=MIA@example.com".to_owned(), vec!["late", "scout_hidden", "scout_scout", "mia_scout"]),
        (format!("?actor={}&object=hidden", s.mia.user), vec!["scout_hidden"]),
        ("?object=mia@example.com".to_owned(), vec!["user"]),
        (format!("?object={}&action=x.late", id(&s.scout)), vec!["late"]),
        ("?outcome=refused".to_owned(), vec!["refused"]),
        ("?outcome=done&since=2026-01-02T03:05:05Z".to_owned(), vec!["late"]),
        (
            "?actor=ada@example.com&until=2026-01-02T03:05:05.000Z".to_owned(),
            vec!["hidden_scout", "ada_hidden", "user"],
        ),
        ("?since=2026-01-02T03:05:05.001Z".to_owned(), vec![]),
        ("?action=agent.purge".to_owned(), vec![]),
    ] {
        assert_eq!(s.sees(&s.ada, &query).await, expected, "{query}");
    }
}

/// R763: a word that names an agent hides no person whom it names too.
#[tokio::test]
async fn an_actor_is_an_agent_and_people_of_that_name() {
    let s = crowd().await;
    let by_mia = s.sees(&s.ada, "?actor=mia@example.com").await;
    assert_eq!(s.sees(&s.ada, "?actor=mia").await, by_mia);
    let mia = s.t.agent(&s.ada, "mia", "*").await;
    s.row("by_agent", &mia, &id(&s.hidden)).await;
    let both: Vec<String> = std::iter::once("by_agent".to_owned()).chain(by_mia).collect();
    assert_eq!(s.sees(&s.ada, "?actor=mia").await, both);
    assert_eq!(s.sees(&s.ada, &format!("?actor={}", id(&mia))).await, ["by_agent"]);
}

/// R526: rows of a person who was deleted show the address, so a filter by it finds them, also when somebody else has it by now.
#[tokio::test]
async fn a_deleted_person_is_found_by_the_address() {
    let s = crowd().await;
    let all = s.sees(&s.ada, "?actor=mia@example.com").await;
    assert!(!all.is_empty());
    let delete = "UPDATE users SET deleted_at = 1, deactivated_at = 1, email_key = 'deleted ' || id WHERE email_key = 'mia@example.com'";
    s.t.execute(delete).await.unwrap();
    for again in [false, true] {
        if again {
            s.t.user(&s.ada.tenant, "mia@example.com", Role::Member).await;
        }
        for actor in ["mia@example.com", "MIA@example.com", "mia"] {
            assert_eq!(s.sees(&s.ada, &format!("?actor={actor}")).await, all, "{actor}");
        }
        assert_eq!(s.sees(&s.ada, "?object=mia@example.com").await, ["user"]);
        assert_eq!(s.sees(&s.ada, "?actor=eve@example.com").await, Vec::<String>::new());
    }
}

/// R77: what a credential and what a request did. A key's id stands for all secrets that it ever had, also when it was deleted, and its
/// agent purged with it. The list and the export are the same, and show nothing that the caller could not see before.
#[tokio::test]
async fn the_trail_tells_what_a_credential_and_a_request_did() {
    let s = site().await;
    let key = "key_01kdyak348axzwnnqwv1cjqy5m";
    let mut secrets = Vec::new();
    for number in 0..3 {
        let agent = s.scout.agent.as_ref();
        let secret = s.t.credential(Kind::ApiKey, &s.mia.tenant, &s.mia.user, agent, "*", None).await;
        let revoked = if number < 2 { "1" } else { "NULL" };
        let replaced = if number < 2 { "'tok_next'" } else { "NULL" };
        s.t.execute(&format!(
            "UPDATE credentials SET key_id = '{key}', replaced_by = {replaced}, revoked_at = {revoked} WHERE id = '{}'",
            secret.credential
        ))
        .await
        .unwrap();
        s.row(&format!("key{number}"), &secret, &id(&s.scout)).await;
        secrets.push(secret);
    }
    s.row("token", &s.scout, &id(&s.hidden)).await;
    s.row("session", &s.mia, &id(&s.scout)).await;
    s.row("foreign", &s.hidden, &id(&s.hidden)).await;
    let request = "req_01kdyak348axzwnnqwv1cjqy5m";
    s.t.execute(&format!(
        "INSERT INTO audit (id, at, tenant_id, user_id, agent_id, request_id, action, object_id, outcome)
         SELECT 'aud_' || value, 1767323045000, '{}', '{}', '{}', '{request}', 'x', 'o', 'done' FROM json_each('[\"req1\", \"req2\"]')",
        s.mia.tenant, s.mia.user, id(&s.scout)
    ))
    .await
    .unwrap();
    let queries = [
        (format!("?credential={key}"), vec!["key2", "key1", "key0"]),
        (format!("?credential={}", secrets[1].credential), vec!["key1"]),
        (format!("?credential={}", s.scout.credential), vec!["token"]),
        (format!("?credential={}", s.mia.credential), vec!["session"]),
        (format!("?credential={}&action=agent.purge", s.mia.credential), vec![]),
        (format!("?request={request}"), vec!["req2", "req1"]),
        (format!("?request={request}&limit=1"), vec!["req2"]),
        ("?credential=tok_00000000000000000000000000".to_owned(), vec![]),
    ];
    for (query, expected) in &queries {
        for caller in [&s.ada, &s.mia] {
            assert_eq!(s.sees(caller, query).await, *expected, "{query}");
        }
    }
    let hidden = format!("?credential={}", s.hidden.credential);
    assert_eq!(s.sees(&s.ada, &hidden).await, ["foreign"]);
    assert_eq!(s.sees(&s.mia, &hidden).await, Vec::<String>::new());
    let kinds = async || {
        let list = s.t.as_(&s.ada, "GET", "/api/audit", Null).await.is(200);
        let kinds = list["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|row| row["credential_kind"].as_str().unwrap_or("none").to_owned());
        kinds.collect::<Vec<_>>()
    };
    let all = ["none", "none", "agent_token", "session", "agent_token", "api_key", "api_key", "api_key"];
    assert_eq!(kinds().await, all);
    // The agent is purged, and its credentials with it.
    s.t.execute("UPDATE agents SET archived_at = 1 WHERE name = 'scout'").await.unwrap();
    let tx = s.t.db().begin(Purpose::Durable).await.unwrap();
    archived::purge(&tx, s.scout.agent.as_ref().unwrap()).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(s.t.number("SELECT count(*) FROM credentials WHERE kind = 'api_key'").await, 0);
    assert_eq!(kinds().await, all);
    for (query, expected) in &queries {
        assert_eq!(s.sees(&s.ada, query).await, *expected, "{query}");
    }
    for (query, expected) in &queries {
        if !query.contains("limit") {
            let export = s.t.as_(&s.ada, "GET", &format!("/api/audit/export{query}"), Null).await;
            export.is(200);
            // Of the exports before this one the trail has rows too.
            let rows = export.text.lines().filter(|line| !line.contains("audit.export"));
            assert_eq!(rows.count(), expected.len(), "{query}");
        }
    }
}

const CLIENT: &str = "cli_01kdyak348axzwnnqwv1cjqy5m";
const GRANT: &str = "apg_01kdyak348axzwnnqwv1cjqy5m";

/// R77: a value that can be the name of nothing that a filter looks for is refused, never an empty list; the refusal says what the
/// filter takes.
#[tokio::test]
async fn a_filter_that_can_match_nothing_is_refused() {
    let s = site().await;
    let (user, agent, token) = (s.mia.user.to_string(), id(&s.scout), s.mia.credential.to_string());
    for (field, good, bad) in [
        (
            "actor",
            // R592: also a part of an address or a name, as every filter by a person.
            vec![
                user.as_str(),
                &agent,
                "scout",
                "nobody",
                "mia@example.com",
                "mia@",
                "@example.com",
                "mia.x",
                "Mia",
                "key_accounts@example.com",
                "a b",
                "me",
            ],
            vec![token.as_str(), "key_01kdyak348axzwnnqwv1cjqy5m", "usr_1", "acr_ses_12345678", &user[..20]],
        ),
        (
            "object",
            // R591: also what rows of other kinds have there.
            vec![
                user.as_str(),
                &agent,
                &token,
                "scout",
                "worker",
                "x.crm.read",
                "mia@example.com",
                "mia.x",
                "Mia@Example.com",
                "out_of_office@example.com",
                "app:one",
                CLIENT,
                GRANT,
            ],
            vec![
                "key_01kdyak348axzwnnqwv1cjqy5m",
                "req_01kdyak348axzwnnqwv1cjqy5m",
                "Scout",
                "tok_1",
                "acr_ses_12345678",
            ],
        ),
        (
            "credential",
            vec![token.as_str(), "key_01kdyak348axzwnnqwv1cjqy5m"],
            vec![user.as_str(), "scout", "laptop", "tok_x", "acr_ses_12345678"],
        ),
        // R525
        // R593: nor any other word that no row has.
        (
            "action",
            vec!["agent.create", "scope_denied", "oauth.token", "session.start"],
            vec![
                "agents.create",
                "agents.read",
                "user",
                "user.created",
                "USER.CREATE",
                "user.create,user.update",
                "user.*",
            ],
        ),
        ("request", vec!["req_01kdyak348axzwnnqwv1cjqy5m"], vec!["01kdyak348axzwnnqwv1cjqy5m", &token, "req_1"]),
    ] {
        for route in ["/api/audit", "/api/audit/export"] {
            let path = |value: &str| format!("{route}?{field}={}", value.replace('@', "%40").replace(' ', "%20"));
            for value in &good {
                s.t.as_(&s.ada, "GET", &path(value), Null).await.is(200);
            }
            for value in &bad {
                let refused = s.t.as_(&s.ada, "GET", &path(value), Null).await.refused(400, "invalid_filter");
                let fix = refused["fix"].as_str().unwrap();
                assert!(fix.starts_with(&format!("Send {field} as one of: ")), "{fix}");
                assert!(
                    !refused.to_string().contains(value) || value.len() < 9,
                    "what was sent is not repeated: {refused}"
                );
            }
        }
    }
}

/// R77: rows about presets and scopes are found by their names.
#[tokio::test]
async fn rows_about_names_are_found() {
    let s = site().await;
    for (number, object) in ["fetcher", "x.crm.read"].into_iter().enumerate() {
        s.row(&number.to_string(), &s.ada, object).await;
        assert_eq!(s.sees(&s.ada, &format!("?object={object}")).await, [number.to_string()]);
        assert_eq!(s.sees(&s.mia, &format!("?object={object}")).await, Vec::<String>::new());
    }
}

#[tokio::test]
async fn an_invalid_filter_is_refused() {
    let s = site().await;
    for (query, status, slug) in [
        ("outcome=failed", 400, "invalid_filter"),
        ("since=yesterday", 400, "invalid_time"),
        ("until=2026-11-22", 400, "invalid_time"),
        ("actor=", 400, "invalid_text"),
        ("action=%00", 400, "invalid_text"),
        ("object=%E2%80%AE", 400, "invalid_text"),
        ("limit=0", 400, "invalid_limit"),
        ("limit=x", 422, "validation_error"),
        ("cursor=x", 400, "invalid_cursor"),
        ("who=me", 422, "validation_error"),
        ("actor=a&actor=b", 422, "validation_error"),
    ] {
        s.t.as_(&s.ada, "GET", &format!("/api/audit?{query}"), Null).await.refused(status, slug);
    }
    for query in ["limit=1", "cursor=x", "who=me"] {
        s.t.as_(&s.ada, "GET", &format!("/api/audit/export?{query}"), Null).await.refused(422, "validation_error");
    }
}

/// R36: 120 rows of which every second may be seen are pages of 50 and 10; nothing twice, no gap. The export is the same.
#[tokio::test]
async fn pages_have_no_gap_and_the_export_is_all_of_them() {
    let s = site().await;
    for number in 0..120 {
        let object = if number % 2 == 0 { &s.scout } else { &s.hidden };
        s.row(&format!("{number}"), &s.ada, &id(object)).await;
    }
    let expected: Vec<String> = (0..60).rev().map(|number| (number * 2).to_string()).collect();
    let first = s.t.as_(&s.mia, "GET", "/api/audit", Null).await.is(200);
    let cursor = first["next_cursor"].as_str().unwrap();
    // A row that is written meanwhile moves nothing.
    s.row("new", &s.ada, &id(&s.scout)).await;
    let second = s.t.as_(&s.mia, "GET", &format!("/api/audit?cursor={cursor}"), Null).await.is(200);
    assert_eq!((ids(&first).len(), ids(&second).len(), &second["next_cursor"]), (50, 10, &Null));
    assert_eq!([ids(&first), ids(&second)].concat(), expected);
    // Another caller's cursor, and another filter's.
    s.t.as_(&s.ada, "GET", &format!("/api/audit?cursor={cursor}"), Null).await.refused(400, "invalid_cursor");
    let other = format!("/api/audit?outcome=done&cursor={cursor}");
    s.t.as_(&s.mia, "GET", &other, Null).await.refused(400, "invalid_cursor");

    let export = s.t.as_(&s.mia, "GET", "/api/audit/export?until=2030-01-01T00:00:00Z", Null).await;
    assert_eq!(export.header("content-type"), "application/x-ndjson");
    assert_eq!(export.header("cache-control"), "no-store");
    let lines: Vec<Json> = export.text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(
        lines[1..],
        [first["items"].as_array().unwrap().clone(), second["items"].as_array().unwrap().clone()].concat()
    );
    assert_eq!(lines[0]["id"], "aud_new");
    // More than is read at once.
    let all = s.t.as_(&s.ada, "GET", "/api/audit/export", Null).await;
    assert_eq!(all.text.lines().count(), 122, "with the export before it, and without itself");
    let exports = "SELECT user_id || ' ' || after FROM audit WHERE action = 'audit.export' ORDER BY rowid";
    let range = r#"{"filters":{"until":"2030-01-01T00:00:00Z"}}"#;
    let expected = [format!("{} {range}", s.mia.user), format!("{} {{\"filters\":{{}}}}", s.ada.user)];
    assert_eq!(s.t.texts(exports).await, expected);
    let none = s.t.as_(&s.ada, "GET", "/api/audit/export?outcome=refused", Null).await;
    assert_eq!((none.status.as_u16(), none.text.as_str()), (200, ""));
}

/// Begins an export of 150 rows, a batch and a half; `meanwhile` happens when its first batch was sent. Gives the lines that were sent,
/// and whether the export ended as one that is complete.
async fn export_while(s: &Site, actor: &Actor, meanwhile: impl AsyncFnOnce()) -> (usize, bool) {
    let at = s.t.now().millis();
    s.t.execute(&format!(
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 150)
         INSERT INTO audit (id, at, tenant_id, user_id, action, object_id, outcome)
         SELECT 'aud_' || i, {at}, '{}', '{}', 'x', '{}', 'done' FROM n",
        s.ada.tenant,
        s.ada.user,
        id(&s.scout)
    ))
    .await
    .unwrap();
    let env = Env {
        db: s.t.db(),
        clock: Clock::Fixed(s.t.clock()),
        chance: s.t.chance().clone(),
        requests: RequestIds::new(&Chance::seeded(3)),
        settings: Settings::default(),
    };
    let headers = Headers::from([("authorization", format!("Bearer {}", actor.token).as_str())]);
    let head = Head { method: Method::GET, uri: Uri::from_static("/api/audit/export"), headers };
    let mut body = serve(&Arc::new(env), &router(), head, RequestBody::from("")).await.into_body();
    let mut next = async || match body.next().await? {
        Ok(piece) => Some(Ok(piece.split(|byte| *byte == b'\n').count() - 1)),
        Err(broken) => Some(Err(broken)),
    };
    let mut lines = next().await.unwrap().unwrap();
    meanwhile().await;
    while let Some(piece) = next().await {
        match piece {
            Ok(more) => lines += more,
            Err(_) => return (lines, false),
        }
    }
    (lines, true)
}

#[tokio::test]
async fn an_export_goes_on_while_its_caller_is_let_in() {
    let s = site().await;
    assert_eq!(export_while(&s, &s.ada, async || s.t.wait(SESSION_IDLE - 1)).await, (150, true));
}

#[tokio::test]
async fn an_export_breaks_off_when_its_session_idles_out() {
    let s = site().await;
    assert_eq!(export_while(&s, &s.ada, async || s.t.wait(SESSION_IDLE)).await, (100, false));
}

#[tokio::test]
async fn an_export_breaks_off_when_its_token_ends() {
    let s = site().await;
    let ends = Some(s.t.now().plus_seconds(60));
    let pat = s.t.credential(Kind::Pat, &s.mia.tenant, &s.mia.user, None, "audit.read", ends).await;
    assert_eq!(export_while(&s, &pat, async || s.t.wait(60)).await, (100, false));
}

#[tokio::test]
async fn an_export_breaks_off_when_its_session_is_revoked() {
    let s = site().await;
    let revoke = async || s.t.execute("UPDATE credentials SET revoked_at = 1").await.unwrap();
    assert_eq!(export_while(&s, &s.ada, revoke).await, (100, false));
}

#[tokio::test]
async fn an_export_breaks_off_when_its_agent_is_paused() {
    let s = site().await;
    let pause = async || s.t.execute("UPDATE agents SET state = 'paused'").await.unwrap();
    assert_eq!(export_while(&s, &s.scout, pause).await, (100, false));
}

#[tokio::test]
async fn an_outage_is_503_and_not_a_short_export() {
    let s = site().await;
    s.t.execute("ALTER TABLE audit RENAME TO gone").await.unwrap();
    for path in ["/api/audit", "/api/audit/export"] {
        s.t.as_(&s.ada, "GET", path, Null).await.refused(503, "database_unavailable");
    }
}

#[tokio::test]
async fn verifying_needs_a_key_a_person_and_the_scope() {
    let s = crowd().await;
    let path = "/api/audit/verify";
    s.t.as_(&s.ada, "GET", path, Null).await.refused(503, "audit_key_missing");
    s.t.as_(&s.ada, "GET", &format!("{path}?head=x"), Null).await.refused(400, "invalid_head");
    s.t.as_(&s.ada, "GET", &format!("{path}?from=x"), Null).await.refused(422, "validation_error");
    s.t.as_(&s.mia, "GET", path, Null).await.refused(403, "scope_denied");
    s.t.as_(&s.hidden, "GET", path, Null).await.refused(403, "person_required");
}

/// The rows of all tenants are looked at; of another tenant's bad row only the number is answered.
#[tokio::test]
async fn verifying_names_the_first_bad_row_of_the_callers_tenant() {
    let settings = || Settings::read(|name| (name == "audit_key").then(|| "a key".to_owned())).unwrap();
    let s = site_with(settings()).await;
    let other = s.t.tenant("other").await;
    let eve = s.t.user(&other, "eve@example.com", Role::Admin).await;
    for (name, by) in [("1", &s.ada), ("2", &eve), ("3", &s.ada)] {
        s.row(name, by, "x").await;
    }
    let head =
        chain::run(s.t.db(), &settings().audit_keys, &Schema::AsMade, s.t.now()).await.unwrap().unwrap().to_string();
    let path = format!("/api/audit/verify?head={}", head.replace(' ', "%20"));
    let whole = json!({
        "ok": true, "verified_from": 1, "rows": 3, "sealed_to": 3, "head": &head[2..], "unsealed": 0, "next_from": null, "first_bad": null,
    });
    assert_eq!(s.t.as_(&s.ada, "GET", &path, Null).await.is(200), whole);
    let guard = s.t.texts("SELECT sql FROM sqlite_schema WHERE name = 'an_audit_row_is_never_changed'").await.remove(0);
    s.t.execute("DROP TRIGGER an_audit_row_is_never_changed").await.unwrap();
    s.t.execute("UPDATE audit SET action = 'y' WHERE seq > 1").await.unwrap();
    let bent = s.t.as_(&s.ada, "GET", &path, Null).await.is(200);
    let bad =
        json!({ "seq": 0, "id": null, "what": "schema_changed", "object": "trigger an_audit_row_is_never_changed" });
    assert_eq!((&bent["ok"], &bent["first_bad"], &bent["sealed_to"]), (&json!(false), &bad, &json!(3)));
    s.t.execute(&guard).await.unwrap();
    let named = |answer: Json| answer["first_bad"].clone();
    let to_ada = named(s.t.as_(&s.ada, "GET", &path, Null).await.is(200));
    assert_eq!(to_ada, json!({ "seq": 2, "id": null, "what": "changed" }));
    let to_eve = named(s.t.as_(&eve, "GET", &path, Null).await.is(200));
    assert_eq!(to_eve, json!({ "seq": 2, "id": "aud_2", "what": "changed" }));
}

/// R340, R450: CSV has the same rows in columns, and a spreadsheet calculates none of its cells.
#[tokio::test]
async fn the_trail_is_exported_as_csv() {
    let s = site().await;
    s.row("1", &s.ada, &id(&s.scout)).await;
    let csv = s.t.as_(&s.ada, "GET", "/api/audit/export?format=csv&object=scout", Null).await;
    assert_eq!((csv.status.as_u16(), csv.header("content-type")), (200, "text/csv; charset=utf-8"));
    assert_eq!(csv.header("content-disposition"), "attachment; filename=\"audit.csv\"");
    let lines: Vec<&str> = csv.text.split_terminator("\r\n").collect();
    assert!(lines[0].starts_with("id,at,action,outcome,count,actor_user_id,actor_email,"), "{}", lines[0]);
    assert!(
        lines.len() == 2 && lines[1].starts_with("\"aud_1\",\"") && lines[1].contains("\"ada@example.com\""),
        "{lines:?}"
    );
    let none = s.t.as_(&s.ada, "GET", "/api/audit/export?format=csv&outcome=refused", Null).await;
    assert_eq!(none.text.lines().count(), 1, "the names of the columns");
    let refused = s.t.as_(&s.ada, "GET", "/api/audit/export?format=xlsx", Null).await.refused(400, "invalid_filter");
    assert_eq!(refused["fix"], "Send format as one of: ndjson, csv.");
    s.t.as_(&s.ada, "GET", "/api/audit?format=csv", Null).await.refused(422, "validation_error");

    for (value, written) in [
        ("", r#""""#),
        ("3", r#""3""#),
        ("plain, \"quoted\"", r#""plain, ""quoted""""#),
        ("=1+1", r#""'=1+1""#),
        ("+49 30", r#""'+49 30""#),
        ("-2", r#""'-2""#),
        ("@SUM(A1)", r#""'@SUM(A1)""#),
        (" =1+1", r#""' =1+1""#),
        ("\u{3000}＝1+1", "\"'\u{3000}＝1+1\""),
        ("＋49 30", r#""'＋49 30""#),
        ("－2", r#""'－2""#),
        ("＠SUM(A1)", r#""'＠SUM(A1)""#),
        ("\t=1", r#""'\u0009=1""#),
        ("\r=1", r#""'\u000d=1""#),
        ("a\nb", r#""a\u000ab""#),
    ] {
        assert_eq!(cell(value), written);
    }
}
