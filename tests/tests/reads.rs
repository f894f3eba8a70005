//! What an agent reads: R119 (what it can use), R120 (one description of the API), R121 (no refusal leads nowhere), R122 (small pages).

use std::{collections::BTreeSet, sync::Arc};

use serde_json::{Value as Json, json};
use tests::{Client, Server, Shared, docs, host, server::text};

static SITE: Shared<(Server, Client)> = Shared::new();

fn site() -> Arc<(Server, Client)> {
    SITE.get(Server::with_admin)
}

/// R119: an agent with nothing but a URL and a token finds what it can do in two requests.
#[test]
fn an_agent_finds_its_routes_in_two_requests() {
    let site = site();
    let agent = site.0.agent(&site.1, "newcomer", &["agents.list", "agents.read", "ui.notify"]).client;
    let whoami = agent.get("/api/auth/whoami");
    assert!(whoami.header("link").starts_with("</llms.txt>; rel=\"service-doc\""), "{whoami:?}");
    let whoami = whoami.is(200);
    assert_eq!((&whoami["owner"], &whoami["ceiling"]), (&json!("ada@example.com"), &whoami["scope"]));
    let listed = agent.get("/api?for=me").is(200);
    let routes = listed["routes"].as_array().cloned().unwrap_or_default();
    let notify = routes.iter().find(|route| route["call"] == "POST /api/ui/notify").cloned().unwrap_or_default();
    agent.post("/api/ui/notify", &notify["example"]).is(201);
    // What is listed is what the guard lets in: no more, and no less.
    for row in site.0.routes() {
        let call = format!("{} {}", text(&row["method"]), text(&row["path"]));
        // A proxy asks there, and no agent.
        if row["access"] == "public" || text(&row["path"]).starts_with("/auth/verify") {
            continue;
        }
        let is_listed = routes.iter().any(|route| text(&route["call"]).split('?').next() == Some(call.as_str()));
        let path = text(&row["path"]).replace("{name}", "newcomer").replace("{id}", "none");
        let answer = agent.call(text(&row["method"]), &format!("{path}?not-a-parameter=1"), &[], None);
        assert_eq!(answer.status() == 422, is_listed, "{call}: {}", answer.text());
    }
    agent.get("/llms.txt").is_text(200, "GET /api?for=me");
    agent.get("/llms-full.txt").is_text(200, "# Inbox");
}

/// R119, R121: a path that is nearly right names the right one, wherever it arrives.
#[test]
fn a_path_that_is_nearly_right_names_the_right_one() {
    let site = site();
    for (method, path, meant) in [
        ("GET", "/api/agents/", "GET /api/agents"),
        ("GET", "/API/agents", "GET /api/agents"),
        ("POST", "/api/notify", "POST /api/ui/notify"),
        ("GET", "/api/auth/whoami/", "GET /api/auth/whoami"),
        ("GET", "/api/inbox", "GET /api/agents/me/inbox"),
    ] {
        let refused = site.1.call(method, path, &[], None).refused(404, "not_found");
        assert_eq!(refused["did_you_mean"][0], meant, "{path}: {refused}");
        assert!(text(&refused["fix"]).contains(meant), "{refused}");
    }
    let refused = site.1.get("/nothing/like/it").refused(404, "not_found");
    assert!(text(&refused["fix"]).contains("/llms.txt") && refused["did_you_mean"].is_null(), "{refused}");
}

/// R121: a method that no caller of this kind can use is not named.
#[test]
fn a_405_names_only_the_methods_of_the_callers_kind() {
    let site = site();
    let agent = site.0.agent(&site.1, "methodical", &["*"]).client;
    let refused = agent.call("PUT", "/api/access-requests/acc_1", &[], None);
    refused.refused(405, "method_not_allowed");
    assert_eq!(refused.header("allow"), "GET,HEAD,DELETE");
    let refused = site.1.call("PUT", "/api/access-requests/acc_1", &[], None);
    refused.refused(405, "method_not_allowed");
    assert_eq!(refused.header("allow"), "GET,HEAD");
    let refused = agent.call("PUT", "/api/users", &[], None).refused(403, "person_required");
    assert!(text(&refused["fix"]).contains("ada@example.com"), "{refused}");
}

/// R121: an ask that cannot help is not advised: what else is missing is named, and how to tell the owner.
#[test]
fn a_missing_relation_is_named_beside_the_missing_scope() {
    let site = site();
    let (server, admin) = (&site.0, &site.1);
    let agent = server.agent(admin, "modest", &["agents.read", "ui.notify"]).client;
    let mute = server.agent(admin, "mute", &["agents.read"]).client;
    server.agent(admin, "other", &["agents.read"]);
    for (path, why) in [
        ("/api/agents/modest/stop", "An agent cannot set its own state"),
        ("/api/agents/other/stop", "This object does not exist, or you may not read it"),
        ("/api/agents/absent/stop", "This object does not exist, or you may not read it"),
        ("/api/agents/other/logs", "Only the agent itself may do this"),
    ] {
        let refused = agent.post(path, &json!({})).refused(403, "scope_denied");
        let fix = text(&refused["fix"]).to_owned();
        assert!(fix.contains(why) && !fix.contains("access-requests"), "{path}: {fix}");
        // The step works as it stands.
        let body = &fix[fix.find('{').unwrap_or_default()..=fix.rfind('}').unwrap_or_default()];
        agent.post("/api/ui/notify", &serde_json::from_str(body).unwrap_or_default()).is(201);
        let refused = mute.post(path, &json!({})).refused(403, "scope_denied");
        assert!(!text(&refused["fix"]).contains("/api/ui/notify"), "{refused}");
    }
    // R33: absent and unreadable are the same, but for the name that was sent.
    let of = |name: &str| {
        let mut refused = agent.post(&format!("/api/agents/{name}/stop"), &json!({})).json();
        refused["request_id"] = Json::Null;
        refused.to_string().replace(name, "NAME")
    };
    assert_eq!(of("other"), of("absent"));
}

/// R121: what was asked for already is not to be asked for again: the request is named, and where its answer comes.
#[test]
fn an_open_request_is_named_instead_of_another_ask() {
    let site = site();
    let agent = site.0.agent(&site.1, "waiting", &["agents.read"]).client;
    let change = json!({ "description": "mine" });
    agent.patch("/api/agents/waiting", &change).refused(403, "scope_denied");
    let asked = agent.post("/api/access-requests", &json!({ "scope": "agents.update", "reason": "Mine." })).is(201);
    let refused = agent.patch("/api/agents/waiting", &change).refused(403, "scope_denied");
    assert_eq!(refused["access_request"], asked["id"]);
    let waits = format!("GET /api/access-requests/{}?wait=25", text(&asked["id"]));
    assert!(text(&refused["fix"]).contains(&waits), "{refused}");
    // Withdrawn, it is gone, and the fix is to ask.
    agent.delete(&format!("/api/access-requests/{}", text(&asked["id"]))).is(204);
    agent.get(&format!("/api/access-requests/{}", text(&asked["id"]))).refused(404, "request_not_found");
    let refused = agent.patch("/api/agents/waiting", &change).refused(403, "scope_denied");
    assert!(text(&refused["fix"]).contains("POST /api/access-requests"), "{refused}");
}

/// R121: the fields that are missing are told with their form, and the page is that of the route.
#[test]
fn a_refusal_of_fields_names_their_form_and_the_routes_page() {
    let site = site();
    let agent = site.0.agent(&site.1, "formal", &["*"]).client;
    let refused = agent.post("/api/agents/me/logs", &json!({ "lines": 1 })).refused(422, "validation_error");
    assert_eq!(refused["fields"][0]["problem"], "must be a list of objects {text, level}");
    assert_eq!(refused["doc_url"], "/docs/agents/routes/post-api-agents-name-logs");
    docs::check(site.0.host().base_url(), text(&refused["doc_url"]));
    let refused = agent.post("/api/ui/notify", &json!({ "title": 1 })).refused(422, "validation_error");
    assert_eq!(refused["fields"][1], json!({ "field": "body", "problem": "is missing: a string" }));
}

/// R121: no example of ours is itself refused for what it sends.
#[test]
fn no_example_is_refused_for_what_it_sends() {
    let site = site();
    let agent = site.0.agent(&site.1, "exemplary", &["*"]).client;
    let path = host::root().join("docs/reference/fields.json");
    let fields: Json =
        std::fs::read_to_string(path).ok().and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default();
    let mut sent = 0;
    for (call, known) in fields.as_object().into_iter().flatten() {
        let (Some((method, path)), false) =
            (call.split_once(' '), known["example"].is_null() && known["example_query"].is_null())
        else {
            continue;
        };
        let path = path
            .replace("{name}", "none")
            .replace("{id}", "none")
            .replace("{key}", "OPENAI_KEY")
            .replace("{source}", "app:crm")
            + known["example_query"].as_str().unwrap_or_default();
        let body = (!known["example"].is_null()).then(|| known["example"].to_string());
        let mut fits = false;
        for client in [&agent, &site.1] {
            let answer = client.call(method, &path, &[], body.as_deref().map(str::as_bytes));
            let is_one_of = |slugs: &[&str]| slugs.contains(&text(&answer.json()["error"]));
            // No example can know a code or an event of this server, or prove a key.
            assert!(
                !matches!(answer.status(), 400 | 422)
                    || is_one_of(&[
                        "invalid_code",
                        "invalid_enrolment_code",
                        "invalid_event",
                        "unknown_client",
                        "invalid_dpop_proof"
                    ]),
                "{call}: {}",
                answer.text()
            );
            // Nor its secrets; and this server lets nothing be called.
            fits |=
                answer.status() != 403 || is_one_of(&["host_not_allowed", "wrong_operator_secret", "wrong_password"]);
        }
        assert!(fits, "{call}: neither kind of caller may send it");
        sent += 1;
    }
    assert!(sent > 25, "{sent}");
}

/// R121: an agent replaces its own token whatever its scopes, with the same scope and the same end, and ends it.
#[test]
fn an_agent_replaces_and_ends_its_own_token_without_any_scope() {
    let site = site();
    let old = site.0.agent(&site.1, "turning", &["agents.read"]).client;
    assert_eq!(old.get("/api/auth/can?action=agents.token.issue&object=me").is(200)["allowed"], true);
    let before = old.get("/api/auth/whoami").is(200);
    let issued = old.post("/api/agents/me/token/issue", &json!({})).is(200);
    let new = site.0.with(text(&issued["token"]));
    let after = new.get("/api/auth/whoami").is(200);
    assert_eq!(
        (&before["scope"], &before["credential"]["expires_at"]),
        (&after["scope"], &after["credential"]["expires_at"])
    );
    new.post("/api/agents/me/token/issue", &json!({ "scope": ["*"] })).refused(400, "rotation_keeps_rights");
    let refused = new.post("/api/agents/newcomer/token/issue", &json!({})).refused(403, "scope_denied");
    assert!(text(&refused["fix"]).contains("Asking for the scope does not help"), "{refused}");
    new.delete("/auth/tokens/me").is(204);
    new.get("/api/auth/whoami").refused(401, "token_revoked");
}

/// R121: small things that sent an agent down a wrong road: a total that falls, an empty inbox, a key that has no effect.
#[test]
fn what_has_no_effect_is_said() {
    let site = site();
    let agent = site.0.agent(&site.1, "careful", &["agents.read"]).client;
    agent.post("/api/agents/me/heartbeat", &json!({ "spent_cents": 40 })).is(200);
    let beat = agent.post("/api/agents/me/heartbeat", &json!({ "spent_cents": 10 })).is(200);
    assert_eq!(beat["spent_cents"], 40);
    assert!(text(&beat["warnings"][0]).contains("running total"), "{beat}");
    let empty = agent.get("/api/agents/me/inbox").is(200);
    let acknowledged = agent.post("/api/agents/me/inbox/ack", &json!({ "upto": empty["cursor"] })).is(200);
    assert_eq!(acknowledged, json!({ "acknowledged": 0, "unread": 0 }));
    let beat = agent.call("POST", "/api/agents/me/heartbeat", &[("idempotency-key", "one")], Some(b"{}"));
    assert_eq!((beat.status(), beat.header("idempotency-key-status")), (200, "ignored"));
    let kept = site.1.post_once("/api/agents", "kept", &json!({ "name": "kept" }));
    assert_eq!((kept.status(), kept.header("idempotency-key-status")), (201, ""));
}

/// R121: `can` and `explain` take each other's words.
#[test]
fn can_and_explain_take_the_same_words() {
    let site = site();
    let agent = site.0.agent(&site.1, "wordy", &["agents.read"]).client;
    for action in ["read", "agents.read"] {
        assert_eq!(agent.get(&format!("/api/auth/can?action={action}&object=me")).is(200)["allowed"], true);
        let told = agent.get(&format!("/api/agents/me/explain?action={action}&subject=me")).is(200);
        assert_eq!((&told["allowed"], &told["action"]), (&json!(true), &json!("read")));
    }
    let refused = agent.get("/api/agents/me/explain?action=fly").refused(400, "unknown_action");
    assert!(text(&refused["fix"]).starts_with("Send action as one of"), "{refused}");
    // Which parameter is wrong is said.
    let site_admin = &site.1;
    let refused = site_admin.get("/api/agents/wordy/explain?subject=absent").refused(404, "subject_not_found");
    assert!(text(&refused["fix"]).starts_with("Send subject as"), "{refused}");
    let refused = agent.get("/api/auth/can?action=fly&object=me").refused(400, "unknown_action");
    assert!(text(&refused["fix"]).starts_with("Send action as"), "{refused}");
    let refused = agent.get("/api/auth/can?action=read&objekt=me").refused(422, "validation_error");
    assert_eq!(refused["fields"][0]["field"], "objekt");
}

/// R203: the example of each answer is what its schema says.
#[test]
fn the_examples_of_answers_fit_their_schemas() {
    assert!(tests::schema::check_examples() > 100);
}

/// R61, R120: the document is served as it is stored, in one piece, with an operation for each row of the table; and the page for people
/// stands beside it.
#[test]
fn the_document_is_served() {
    let site = site();
    let served = site.0.nobody().get("/openapi.json");
    let document = served.is(200);
    assert_eq!((&document["openapi"], served.header("content-type")), (&json!("3.1.0"), "application/json"));
    assert_eq!(document["paths"]["/api/agents"]["post"]["x-required-scopes"], json!(["agents.create"]));
    let operations = document["paths"].as_object().into_iter().flatten().flat_map(|(path, operations)| {
        operations.as_object().into_iter().flatten().map(move |(method, _)| format!("{} {path}", method.to_uppercase()))
    });
    // Paths that end with a slash are of first pages that have another path, or are for pip alone.
    let known = site.0.routes().into_iter().filter(|row| !text(&row["path"]).ends_with('/'));
    let known = known.map(|row| format!("{} {}", text(&row["method"]), text(&row["path"]).replace("{*", "{")));
    assert_eq!(operations.collect::<BTreeSet<_>>(), known.collect());
    let again = site.0.nobody().call("GET", "/openapi.json", &[("if-none-match", served.header("etag"))], None);
    assert_eq!((again.status(), again.text().as_str()), (304, ""));
    // R164: a client that takes gzip gets it packed.
    let plain = Client::plain(site.0.host().base_url());
    let packed = plain.call("GET", "/openapi.json", &[("accept-encoding", "gzip")], None);
    assert_eq!((packed.status(), packed.header("content-encoding")), (200, "gzip"));
    assert_eq!(packed.header("etag"), format!("W/{}", served.header("etag")));
    assert!(packed.text().len() * 3 < served.text().len());
    let page = site.0.nobody().call("GET", "/docs/api/agents", &[("accept", "text/html")], None);
    assert!(
        page.text().contains("/docs/agents/routes/post-api-agents") && !page.text().contains("<script"),
        "{page:?}"
    );
}

/// R299: where the document gives the values of a filter, they are all there are: each is taken, and another one is refused with the same list.
#[test]
fn the_values_of_filters_are_those_of_the_document() {
    let (server, admin) = &*site();
    let document = server.nobody().get("/openapi.json").is(200);
    server.agent(admin, "filtered", &["agents.read"]);
    let mut count = 0;
    for (path, methods) in document["paths"].as_object().unwrap() {
        for parameter in methods["get"]["parameters"].as_array().into_iter().flatten() {
            let Some(values) = parameter["schema"]["enum"].as_array().filter(|_| path.starts_with("/a")) else {
                continue;
            };
            let (name, values) = (text(&parameter["name"]), values.iter().map(text).collect::<Vec<_>>());
            let path = path.replace("{name}", "filtered").replace("{id}", "unknown");
            let refused = admin.get(&format!("{path}?{name}=nonsense")).is(400);
            let (_, valid) = text(&refused["fix"]).split_once(": ").unwrap();
            assert_eq!(valid.trim_end_matches('.').split(", ").collect::<Vec<_>>(), values, "{path} {name}");
            for value in values {
                let answer = admin.get(&format!("{path}?{name}={value}"));
                assert!(answer.status() == 200 || path.contains("unknown"), "{path} {name}={value}: {answer:?}");
            }
            count += 1;
        }
    }
    assert!(count > 10, "{count}");
}
