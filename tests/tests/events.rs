//! R194: every kind of event of the manual's page is made by a deed here, and reaches whom the page says: the agent's inbox, the inbox of the
//! agent above, its person, the admins, and a webhook. A kind that the page lists and that no deed makes fails the test.

#![expect(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "helpers of tests: whatever is not as expected ends the test"
)]

use std::fs;

use data_encoding::{BASE64, HEXLOWER};
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value as Json, json};
use sha2::Sha256;
use tests::{
    Client, Server,
    host::root,
    server::{PASSWORD, text},
    sink::{Reply, Sink},
    until,
};

/// A row of the page.
struct Row {
    kind: String,
    to: String,
    in_inboxes: String,
}

impl Row {
    fn goes_to(&self, word: &str) -> bool {
        self.to.split(", ").any(|one| one == word)
    }
}

/// The kinds, as the page lists them; a test of the crate `common` holds it and the code together.
fn rows() -> Vec<Row> {
    let page = fs::read_to_string(root().join("docs/agents/concepts/events.md")).unwrap();
    let rows = page.lines().filter(|line| line.starts_with("| `"));
    rows.map(|line| {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let kind = cells[1].trim_matches('`').to_owned();
        let in_inboxes = if cells[4].is_empty() { kind.clone() } else { cells[4].trim_matches('`').to_owned() };
        Row { kind, to: cells[3].to_owned(), in_inboxes }
    })
    .collect()
}

/// Ada, an admin, does it; Eve is another admin; Max owns boss, and below it an agent of its own for each deed.
struct Stage {
    server: Server,
    /// Gets all events of the tenant.
    sink: Sink,
    ada: Client,
    eve: (String, Client),
    max: (String, Client),
}

/// The agent of one deed.
struct Subject {
    name: String,
    id: String,
    client: Client,
}

impl Subject {
    fn path(&self, rest: &str) -> String {
        format!("/api/agents/{}{rest}", self.name)
    }
}

fn stage() -> Stage {
    let sink = Sink::new();
    let server = sink.allowed().start();
    let ada = server.bootstrap();
    let person = |email: &str, role: &str| {
        let client = server.user(&ada, email, role);
        let id = text(&client.get("/api/auth/whoami").is(200)["user_id"]).to_owned();
        // Not the session, which a new password ends.
        (id, server.plant_pat(&client, "*"))
    };
    let (eve, max) = (person("eve@example.com", "admin"), person("max@example.com", "member"));
    server.agent(&max.1, "boss", &["agents.*", "ui.notify"]);
    let hook = json!({ "url": format!("https://{}/all", sink.address()) });
    ada.post("/api/webhooks", &hook).is(201);
    Stage { server, sink, ada, eve, max }
}

impl Stage {
    fn subject(&self, kind: &str) -> Subject {
        let name = kind.replace(['.', '_'], "-");
        let body = json!({ "name": name, "scope": ["agents.read", "ui.notify", "agents.deploy"], "parent": "boss" });
        let made = self.max.1.post("/api/agents", &body).is(201);
        let client = self.server.with(text(&made["auth_token"]));
        Subject { name, id: text(&made["id"]).to_owned(), client }
    }

    fn url(&self, path: &str) -> String {
        format!("https://{}{path}", self.sink.address())
    }

    /// Archives an agent; gives the path of the archived one.
    fn archived(&self, of: &Subject) -> String {
        self.max.1.delete(&of.path("")).is(204);
        format!("/api/agents/archived/{}", of.id)
    }

    fn request(&self, of: &Subject, verb: &str) -> String {
        let body = json!({ "scope": ["agents.logs"], "hours": 1, "reason": "to work" });
        let made = of.client.post("/api/access-requests", &body).is(201);
        let path = format!("/api/access-requests/{}", text(&made["id"]));
        if !verb.is_empty() {
            self.ada.post(&format!("{path}/{verb}"), &json!({})).is(200);
        }
        path
    }

    fn key(&self, of: &Subject, body: &Json) -> String {
        of.path(&format!("/keys/{}", text(&self.ada.post(&of.path("/keys"), body).is(201)["id"])))
    }

    /// A probe that was run; what it finds is what the sink says at this path.
    fn probe(&self, of: &Subject, path: &str) -> String {
        self.max.1.put(&of.path("/secrets"), &json!({ "secrets": { "T": "a-secret-of-another-service" } })).is(200);
        let body = json!({ "name": "p", "url": self.url(path), "secret": "T" });
        let made = self.max.1.post(&of.path("/probes"), &body).is(201);
        of.path(&format!("/probes/{}", text(&made["id"])))
    }

    fn user(&self, email: &str) -> String {
        let made = self.ada.post("/api/users", &json!({ "email": email, "name": "U", "invite": false })).is(201);
        format!("/api/users/{}", text(&made["id"]))
    }

    /// Makes an event of the kind, about this agent or about a person.
    fn make(&self, kind: &str, of: &Subject) {
        let (ada, max, nothing) = (&self.ada, &self.max.1, &json!({}));
        let max_path = format!("/api/users/{}", self.max.0);
        match kind {
            "agent.created" => {} // it was
            "agent.updated" => drop(ada.patch(&of.path(""), &json!({ "description": "new" })).is(200)),
            "agent.archived" => drop(ada.delete(&of.path("")).is(204)),
            "agent.restored" => drop(ada.post(&format!("{}/restore", self.archived(of)), nothing).is(200)),
            "agent.purged" => drop(ada.delete(&self.archived(of)).is(204)),
            "agent.state_changed" => drop(ada.post(&of.path("/pause"), nothing).is(200)),
            "agent.restart" => drop(ada.post(&of.path("/restart"), nothing).is(200)),
            "agent.transferred" => {
                max.patch(&of.path(""), &json!({ "parent": null })).is(200);
                ada.patch(&of.path(""), &json!({ "owner": "eve@example.com" })).is(200);
            }
            "agent.deploy" => drop(ada.post("/api/agents/deploy", &json!({ "name": of.name })).is(202)),
            "agent.deployed" => {
                max.post("/api/agents/deploy", &json!({ "name": of.name })).is(202);
                let code = until("the code", || {
                    let all = self.sink.received();
                    let found = all
                        .iter()
                        .find(|one| one.body["kind"] == "agent.deploy" && one.body["agent"]["id"] == *of.id)?;
                    Some(text(&found.body["data"]["code"]).to_owned())
                });
                let enrolled = self.server.nobody().post("/api/agents/enroll", &json!({ "code": code })).is(200);
                let runtime = self.server.with(text(&enrolled["token"]));
                runtime.post("/api/agents/me/heartbeat", nothing).is(200);
            }
            "agent.deploy_failed" => {
                max.post("/api/agents/deploy", &json!({ "name": of.name })).is(202);
                of.client.post(&of.path("/deploy-status"), &json!({ "reason": "no room" })).is(200);
            }
            "agent.token_rotated" => drop(ada.post(&of.path("/token/issue"), nothing).is(200)),
            "agent.token_revoked" => drop(ada.delete(&of.path("/token")).is(204)),
            "agent.key_created" => drop(self.key(of, &json!({ "name": "ci" }))),
            "agent.key_rotated" => {
                let key = self.key(of, &json!({ "name": "ci" }));
                ada.post(&format!("{key}/rotate"), nothing).is(201);
            }
            "agent.key_deleted" => {
                let key = self.key(of, &json!({ "name": "ci" }));
                ada.delete(&key).is(204);
            }
            "agent.over_budget" => {
                max.patch(&of.path(""), &json!({ "budget_cents": 10 })).is(200);
                of.client.post("/api/agents/me/heartbeat", &json!({ "spent_cents": 20 })).is(200);
            }
            "agent.silent" => {
                max.patch(&of.path(""), &json!({ "silent_after_minutes": 30 })).is(200);
                of.client.post("/api/agents/me/heartbeat", nothing).is(200);
                self.server.execute(&format!(
                    "UPDATE agents SET last_seen_at = 1, state_changed_at = 1 WHERE id = '{}'",
                    of.id
                ));
            }
            "limit_changed" => drop(ada.patch(&of.path(""), &json!({ "budget_cents": 7 })).is(200)),
            "grant_taken" => {
                let grant = json!({ "subject": of.id, "relation": "viewer" });
                max.post("/api/agents/boss/grants", &grant).is(201);
                ada.delete(&format!("/api/agents/boss/grants?subject={}", of.id)).is(204);
            }
            "access.requested" => drop(self.request(of, "")),
            "access.approved" => drop(self.request(of, "approve")),
            "access.denied" => drop(self.request(of, "deny")),
            "access.ended" => {
                let request = self.request(of, "approve");
                let id = request.rsplit('/').next().unwrap();
                self.server.execute(&format!("UPDATE access_requests SET ends_at = 1 WHERE id = '{id}'"));
            }
            "secret_changed" => {
                drop(ada.put(&of.path("/secrets"), &json!({ "secrets": { "T": "a-secret-of-another" } })).is(200))
            }
            "probe_failed" => {
                self.sink.answers("/failing", Reply::Status(401, "bad credentials"));
                ada.post(&format!("{}/run", self.probe(of, "/failing")), nothing).is(200);
            }
            "probe_recovered" => {
                self.sink.answers("/recovering", Reply::Status(401, "bad credentials"));
                let probe = self.probe(of, "/recovering");
                max.post(&format!("{probe}/run"), nothing).is(200);
                self.sink.answers("/recovering", Reply::Status(200, "{}"));
                self.server.execute("UPDATE probes SET busy_until = 0");
                ada.post(&format!("{probe}/run"), nothing).is(200);
            }
            "token_expiring" => {
                let three_days = "(unixepoch() + 3 * 86400) * 1000";
                self.server.execute(&format!(
                    "UPDATE credentials SET created_at = 1, expires_at = {three_days} WHERE agent_id = '{}'",
                    of.id
                ));
                self.server.execute("UPDATE leases SET until = 0 WHERE name = 'expiring'");
            }
            "credential.leaked" => {
                let token = of.client.bearer();
                self.server.nobody().post("/auth/leaks", &json!({ "token": token })).is(204);
            }
            "user.created" => drop(self.user("created@example.com")),
            "user.updated" => drop(ada.patch(&max_path, &json!({ "name": "Maximilian" })).is(200)),
            "user.activated" => {
                let user = self.user("active@example.com");
                ada.post(&format!("{user}/deactivate"), nothing).is(200);
                ada.post(&format!("{user}/activate"), nothing).is(200);
            }
            "user.deactivated" => {
                drop(ada.post(&format!("{}/deactivate", self.user("idle@example.com")), nothing).is(200))
            }
            "user.deleted" => drop(ada.delete(&self.user("gone@example.com")).is(204)),
            "user.password_set" => {
                // Not the first one, which is no news to the person: they have one.
                ada.post(&format!("{max_path}/set-password"), &json!({ "password": format!("{PASSWORD}-2") })).is(204);
            }
            "message" => drop(ada.post(&of.path("/messages"), &json!({ "text": "hello" })).is(201)),
            "hook" => {
                let secret = "a-secret-of-github-that-is-long-enough";
                let body = json!({ "name": "in", "type": "github", "value": secret });
                let made = max.post(&of.path("/keys"), &body).is(201);
                let sent = br#"{"zen":"x"}"#;
                let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
                mac.update(sent);
                let signature = format!("sha256={}", HEXLOWER.encode(&mac.finalize().into_bytes()));
                let headers = [
                    ("content-type", "application/json"),
                    ("x-github-event", "push"),
                    ("x-github-delivery", "d-1"),
                    ("x-hub-signature-256", signature.as_str()),
                ];
                let path = format!("/api/hooks/{}", text(&made["id"]));
                self.server.nobody().call("POST", &path, &headers, Some(sent)).is(202);
            }
            "notification" => {
                of.client.post("/api/ui/notify", &json!({ "title": "t", "body": "b" })).is(201);
            }
            "webhook.test" => {
                let hook = ada.get("/api/webhooks").is(200)["items"][0]["id"].clone();
                ada.post(&format!("/api/webhooks/{}/test", text(&hook)), nothing).is(202);
            }
            "webhook.disabled" => {
                self.sink.answers("/gone", Reply::Status(410, ""));
                let body = json!({ "url": self.url("/gone"), "kinds": ["webhook.test"] });
                let hook = max.post("/api/webhooks", &body).is(201)["id"].clone();
                max.post(&format!("/api/webhooks/{}/test", text(&hook)), nothing).is(202);
            }
            unknown => panic!("no deed makes {unknown}: write one, here"),
        }
    }

    fn has(&self, sql: &str) -> bool {
        self.server.number(sql) > 0
    }

    fn inbox(&self, agent: &str, row: &Row) -> bool {
        self.has(&format!("SELECT count(*) FROM inbox WHERE agent_id = {agent} AND kind = '{}'", row.in_inboxes))
    }

    /// Whether a person has a notification of the server's own.
    fn is_told(&self, user: &str) -> bool {
        self.has(&format!("SELECT count(*) FROM notifications WHERE user_id = '{user}' AND source = 'accredit'"))
    }
}

#[test]
fn every_kind_is_made_by_a_deed_and_reaches_whom_the_page_says() {
    let s = stage();
    let rows = rows();
    assert!(rows.len() >= 40, "the page's table was not read");
    for row in &rows {
        let kind = row.kind.as_str();
        let clear = || {
            s.server.execute("DELETE FROM notifications");
            s.server.execute("DELETE FROM inbox");
        };
        // Of all others the making of the agent is not what this looks for.
        let is_about_its_making = kind == "agent.created";
        clear();
        let of = s.subject(kind);
        if !is_about_its_making {
            clear();
        }
        let before = s.sink.received().len();
        s.make(kind, &of);
        let got = until(kind, || {
            s.server.tick();
            let all = s.sink.received();
            let from = if is_about_its_making { 0 } else { before.min(all.len()) };
            all[from..].iter().find(|one| one.line == "POST /all" && one.body["kind"] == kind).cloned()
        });
        assert!(got.header("webhook-signature").starts_with("v1,"), "{kind}");
        assert!(BASE64.decode(got.header("webhook-signature").trim_start_matches("v1,").as_bytes()).is_ok(), "{kind}");
        let is_of_agent = row.goes_to("agent") || row.goes_to("above");
        if is_of_agent {
            assert_eq!(got.body["agent"]["id"], *of.id, "{kind}: {}", got.body);
        }
        assert_eq!(s.inbox(&format!("'{}'", of.id), row), row.goes_to("agent"), "{kind}: agent");
        let boss = "(SELECT id FROM agents WHERE name = 'boss')";
        assert_eq!(s.inbox(boss, row), row.goes_to("above"), "{kind}: above");
        let person = row.goes_to("person") || row.goes_to("person (of agents too)");
        if person {
            assert!(s.is_told(&s.max.0), "{kind}: person");
        }
        if row.goes_to("admins") {
            assert!(s.is_told(&s.eve.0), "{kind}: admins");
        } else if kind != "agent.transferred" {
            assert!(!s.is_told(&s.eve.0), "{kind}: an admin is told of what needs none");
        }
        // Of a bound they are told as of any change of the agent.
        if !person && is_of_agent && kind != "limit_changed" {
            assert!(!s.is_told(&s.max.0), "{kind}: a person that the page does not name");
        }
    }
}
