//! Personal access tokens, introspection and custom scopes over HTTP; and that no sequence of mints gives more than the minter had.

#![expect(clippy::indexing_slicing, reason = "helpers of tests: whatever is not as expected ends the test")]

use std::collections::BTreeSet;

use proptest::{prelude::*, test_runner::TestRunner};
use serde_json::{Value as Json, json};
use tests::{Client, Server, server::text};

const PATS: &str = "/auth/tokens";
const WHOAMI: &str = "/api/auth/whoami";

fn pat(session: &Client, ask: &Json) -> (Client, Json) {
    let made = session.post(PATS, ask).is(201);
    (session.with(text(&made["token"])), made)
}

fn introspect(asking: &Client, token: &str) -> Json {
    asking.form("/auth/introspect", &format!("token={token}")).is(200)
}

/// R6, R11: made, used, rotated by itself, revoked; each refused on the next request, on a second host on the same files too.
#[test]
fn a_pat_lives_rotates_and_dies_on_every_host() {
    let (server, admin) = Server::with_admin();
    let second = server.second();
    let (one, made) = pat(&admin, &json!({ "name": "ci", "scope": ["agents.read"], "expires_in_days": 7 }));
    assert_eq!(one.get(WHOAMI).is(200)["scope"], json!(["agents.read"]));
    assert_eq!(one.at(second.host().base_url()).get(WHOAMI).is(200)["credential"]["kind"], "pat");
    let rotated = one.post(&format!("{PATS}/{}/rotate", text(&made["id"])), &json!({})).is(201);
    let two = one.with(text(&rotated["token"]));
    for pat in [&one, &two] {
        pat.get(WHOAMI).is(200);
    }
    admin.delete(&format!("{PATS}/{}", text(&rotated["id"]))).is(204);
    for host in [&server, &second] {
        two.at(host.host().base_url()).get(WHOAMI).refused(401, "token_revoked");
    }
    // R2: neither secret is in the file.
    for secret in [one.bearer(), two.bearer()] {
        let found = server.number(&format!("SELECT count(*) FROM audit WHERE after LIKE '%{secret}%'"));
        assert_eq!(found, 0);
    }
}

/// R50: one key, 40 callers, two hosts: one PAT.
#[test]
fn forty_callers_with_one_key_make_one_pat() {
    let (server, admin) = Server::with_admin();
    let second = server.second();
    let ask = json!({ "name": "once" });
    std::thread::scope(|scope| {
        for number in 0..40 {
            let at = if number % 2 == 0 { admin.clone() } else { admin.at(second.host().base_url()) };
            let ask = &ask;
            scope.spawn(move || {
                let answer = at.post_once(PATS, "the-key", ask);
                assert!(matches!(answer.status(), 201 | 503), "{}", answer.text());
            });
        }
    });
    assert_eq!(server.number("SELECT count(*) FROM credentials WHERE kind = 'pat'"), 1);
}

/// R11: 20 rotations of one PAT at once: one wins, the others are told that it was replaced.
#[test]
fn a_pat_is_replaced_once() {
    let (server, admin) = Server::with_admin();
    let (one, made) = pat(&admin, &json!({ "name": "ci" }));
    let path = format!("{PATS}/{}/rotate", text(&made["id"]));
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let rotating: Vec<_> = (0..20).map(|_| scope.spawn(|| one.post(&path, &json!({})).status())).collect();
        rotating.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(statuses.iter().filter(|status| **status == 201).count(), 1, "{statuses:?}");
    assert!(statuses.iter().all(|status| matches!(status, 201 | 409 | 503)), "{statuses:?}");
    assert_eq!(server.number("SELECT count(*) FROM credentials WHERE kind = 'pat' AND replaced_by IS NULL"), 1);
}

#[test]
fn a_service_introspects_what_agents_bring_it() {
    let (server, admin) = Server::with_admin();
    admin.post("/api/scopes/custom", &json!({ "name": "x.crm.read", "description": "Read customers." })).is(201);
    let scout = server.agent(&admin, "scout", &["agents.read", "x.crm.*"]);
    let (service, _) = pat(&admin, &json!({ "name": "crm", "scope": ["tokens.introspect", "x.crm.*"] }));
    let told = introspect(&service, scout.client.bearer());
    assert_eq!((&told["active"], &told["scope"]), (&json!(true), &json!("x.crm.read")));
    assert_eq!(introspect(&admin, scout.client.bearer())["scope"], "agents.read x.crm.read");
    admin.patch("/api/agents/scout", &json!({ "scope": ["agents.read"] })).is(200);
    assert_eq!(introspect(&service, scout.client.bearer())["scope"], "");
    assert_eq!(introspect(&service, admin.bearer()), json!({ "active": false }), "a session");
    admin.delete("/api/agents/scout/token").is(204);
    assert_eq!(introspect(&service, scout.client.bearer()), json!({ "active": false }));
    service.get("/api/agents").refused(403, "scope_denied");
}

/// A holder of a credential, as the model knows it.
struct Holder {
    client: Client,
    is_session: bool,
}

/// The scopes that a credential can use, and when it ends (the far end of time for never).
fn power(client: &Client) -> Option<(BTreeSet<String>, String)> {
    let answer = client.get(WHOAMI);
    if answer.status() != 200 {
        return None;
    }
    let who = answer.is(200);
    let names = who["scope"].as_array().into_iter().flatten().map(|name| text(name).to_owned()).collect();
    let end = who["credential"]["expires_at"].as_str().unwrap_or("9999").to_owned();
    Some((names, end))
}

fn is_within(gained: &BTreeSet<String>, own: &BTreeSet<String>) -> bool {
    own.contains("*") || gained.is_subset(own)
}

const ASKED: [&[&str]; 6] = [
    &["*"],
    &["agents.*"],
    &["agents.token.issue", "agents.read"],
    &["agents.read"],
    &["x.crm.*", "agents.token.issue"],
    &["ui.notify", "users.write"],
];

/// R8: never wider, never longer, by any sequence of mint, rotate and update.
#[test]
fn no_sequence_of_mints_gives_more_than_the_minter_had() {
    let (server, admin) = Server::with_admin();
    admin.post("/api/scopes/custom", &json!({ "name": "x.crm.read", "description": "Read customers." })).is(201);
    let member = server.user(&admin, "max@example.com", "member");
    let mut config = ProptestConfig::with_cases(24);
    config.failure_persistence = None;
    let steps = proptest::collection::vec((0..5_u8, any::<u8>(), 0..6_usize, 0..4_u8), 4..14);
    let number = std::cell::Cell::new(0);
    TestRunner::new(config)
        .run(&steps, |steps| {
            number.set(number.get() + 1);
            let name = format!("minted-{}", number.get());
            let first =
                member.post("/api/agents", &json!({ "name": name, "scope": ["agents.*", "x.crm.read"] })).is(201);
            let mut holders = vec![
                Holder { client: member.clone(), is_session: true },
                Holder { client: member.with(text(&first["auth_token"])), is_session: false },
            ];
            for (step, who, asked, days) in steps {
                let at = usize::from(who) % holders.len();
                let (minter, is_session) = (holders[at].client.clone(), holders[at].is_session);
                let Some((own, own_end)) = power(&minter) else { continue };
                let mut ask = json!({ "scope": ASKED[asked] });
                match days {
                    0 => {}
                    1 => ask["expires_in_days"] = json!(1),
                    2 => ask["expires_in_days"] = json!(400),
                    _ => ask["expires_in_days"] = Json::Null,
                }
                let me = minter.get(WHOAMI).is(200);
                let answer = match step {
                    0 | 1 => minter.post(&format!("/api/agents/{name}/token/issue"), &ask),
                    2 => {
                        ask["name"] = json!("a pat");
                        minter.post(PATS, &ask)
                    }
                    3 if me["credential"]["kind"] == "pat" => {
                        minter.post(&format!("{PATS}/{}/rotate", text(&me["credential"]["id"])), &json!({}))
                    }
                    3 => minter.post(&format!("/api/agents/{name}/token/issue"), &json!({})),
                    _ => minter.patch(&format!("/api/agents/{name}"), &json!({ "scope": ASKED[asked] })),
                };
                prop_assert!(answer.status() < 500, "{}", answer.text());
                if step == 4 || answer.status() >= 300 {
                    // A ceiling that was raised must not have given the agent more than the caller that raised it has.
                    continue;
                }
                let made = answer.json();
                let new = minter.with(text(&made["token"]));
                let Some((gained, end)) = power(&new) else { continue };
                prop_assert!(is_session || is_within(&gained, &own), "{gained:?} by {own:?}");
                prop_assert!(is_session || end <= own_end, "{end} by {own_end}");
                prop_assert!(!gained.contains("*") && !gained.contains("users.write"), "{gained:?} of a member");
                if made["id"].is_string() && text(&made["token"]).starts_with("acr_pat_") {
                    prop_assert!(is_session || me["credential"]["kind"] == "pat");
                }
                holders.push(Holder { client: new, is_session: false });
            }
            Ok(())
        })
        .unwrap();
}
