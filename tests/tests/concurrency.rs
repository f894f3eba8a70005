//! Many at once, in one instance and over two hosts on one file: no rule breaks, nobody is taken for somebody else.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
};

use serde_json::{Value as Json, json};
use tests::{Agent, Answer, Client, Server, at_once, raw::Connection, server::text, until};

/// A success, or a clean "come again".
#[track_caller]
fn success_or_busy(answer: &Answer, status: u16) -> Option<Json> {
    match answer.status() {
        409 => answer.envelope(),
        503 => _ = answer.refused(503, "database_unavailable"),
        _ => return Some(answer.is(status)),
    }
    None
}

/// R4: 50 issues at once over two hosts leave one active token, by the database's own constraint; with a grace one more.
#[test]
fn fifty_issues_at_once_leave_one_active_token() {
    let (server, admin) = Server::with_admin();
    let second = server.second();
    for grace in [0, 600] {
        let name = format!("scout-{grace}");
        let scout = server.agent(&admin, &name, &["agents.read"]);
        let answers = at_once(50, |number| {
            let at = if number % 2 == 0 { &server } else { &second };
            admin
                .at(at.host().base_url())
                .post(&format!("/api/agents/{name}/token/issue"), &json!({ "grace_seconds": grace }))
        });
        let issued: Vec<Json> = answers.iter().filter_map(|answer| success_or_busy(answer, 200)).collect();
        assert!(!issued.is_empty());
        let count = |more: &str| {
            server.number(&format!(
                "SELECT count(*) FROM credentials WHERE agent_id = '{}' AND revoked_at IS NULL {more}",
                scout.id
            ))
        };
        assert_eq!(count("AND place = 'active'"), 1);
        assert_eq!(count(""), if grace == 0 { 1 } else { 2 });
        // The hosts agree with the database: as many tokens work, and the active one is the last that was made.
        let live: Vec<String> = issued
            .iter()
            .filter(|issued| server.with(text(&issued["token"])).get("/api/auth/whoami").status() == 200)
            .map(|issued| text(&issued["id"]).to_owned())
            .collect();
        let first_lives = scout.client.get("/api/auth/whoami").status() == 200;
        assert_eq!(live.len() + usize::from(first_lives), usize::try_from(count("")).unwrap());
        assert!(live.contains(&text(&admin.get(&format!("/api/agents/{name}")).is(200)["token"]["id"]).to_owned()));
        let made = i64::try_from(issued.len()).unwrap();
        assert_eq!(
            server.number(&format!("SELECT count(*) FROM credentials WHERE agent_id = '{}'", scout.id)),
            made + 1
        );
        assert_eq!(
            server.number(&format!(
                "SELECT count(*) FROM audit WHERE object_id = '{}' AND action = 'agent.token.issue'",
                scout.id
            )),
            made
        );
    }
}

/// R39, R11: forty creates of one key at once over two hosts make one; forty rotations of it leave one active secret, and one in
/// its grace, and the hosts accept as many.
#[test]
fn forty_creates_and_rotations_of_one_key_leave_one() {
    let (server, admin) = Server::with_admin();
    let second = server.second();
    let scout = server.agent(&admin, "scout", &["agents.read"]);
    let send = |path: &str, body: Json| {
        at_once(40, |number| {
            let at = if number % 2 == 0 { &server } else { &second };
            admin.at(at.host().base_url()).post(path, &body)
        })
    };
    let keys = "/api/agents/scout/keys";
    let made: Vec<Json> =
        send(keys, json!({ "name": "acme/ci" })).iter().filter_map(|at| success_or_busy(at, 201)).collect();
    assert_eq!(made.len(), 1);
    assert_eq!(server.number("SELECT count(*) FROM api_keys"), 1);
    assert_eq!(server.number("SELECT count(*) FROM grants"), 1);
    let rotate = format!("{keys}/{}/rotate", text(&made[0]["id"]));
    let rotated = send(&rotate, json!({ "grace_seconds": 600 }));
    let rotated: Vec<Json> = rotated.iter().filter_map(|answer| success_or_busy(answer, 201)).collect();
    assert!(!rotated.is_empty());
    let live = "SELECT count(*) FROM credentials WHERE kind = 'api_key' AND revoked_at IS NULL";
    assert_eq!((server.number(live), server.number(&format!("{live} AND replaced_by IS NULL"))), (2, 1));
    let works = |key: &&Json| server.with(text(&key["key"])).get("/api/auth/whoami").status() == 200;
    assert_eq!(made.iter().chain(&rotated).filter(works).count(), 2);
    scout.client.get("/api/auth/whoami").is(200);
}

/// Contract, "names": forty creates of one name at once make forty agents with forty names.
#[test]
fn forty_creates_of_one_name_make_forty_names() {
    let (server, admin) = Server::with_admin();
    let second = server.second();
    let answers = at_once(40, |number| {
        let at = if number % 2 == 0 { &server } else { &second };
        admin.at(at.host().base_url()).post("/api/agents", &json!({ "name": "crowd", "issue_token": false }))
    });
    let names: Vec<String> = answers
        .iter()
        .filter_map(|answer| success_or_busy(answer, 201))
        .map(|agent| text(&agent["name"]).to_owned())
        .collect();
    let distinct: BTreeSet<&String> = names.iter().collect();
    assert_eq!(distinct.len(), names.len());
    assert_eq!(server.number("SELECT count(*) FROM agents"), i64::try_from(names.len()).unwrap());
    assert_eq!(
        server.number("SELECT count(*) FROM audit WHERE action = 'agent.create'"),
        i64::try_from(names.len()).unwrap()
    );
}

/// R17: one address at once is one user.
#[test]
fn twenty_users_of_one_address_are_one() {
    let (server, admin) = Server::with_admin();
    let second = server.second();
    let answers = at_once(20, |number| {
        let at = if number % 2 == 0 { &server } else { &second };
        let email = if number % 3 == 0 { "Eve@example.com" } else { "eve@EXAMPLE.com" };
        admin.at(at.host().base_url()).post("/api/users", &json!({ "email": email, "name": "Eve" }))
    });
    assert_eq!(answers.iter().filter_map(|answer| success_or_busy(answer, 201)).count(), 1);
    assert_eq!(server.number("SELECT count(*) FROM users WHERE email_key = 'eve@example.com'"), 1);
}

/// R18: admins who demote, deactivate and delete each other at once, through two hosts, leave one who can fix it.
#[test]
fn admins_who_end_each_other_at_once_leave_one() {
    let (server, ada) = Server::with_admin();
    let second = server.second();
    let id = |client: &Client| text(&client.get("/api/auth/whoami").is(200)["user_id"]).to_owned();
    let admins: Vec<Client> =
        (0..6).map(|number| server.user(&ada, &format!("admin-{number}@example.com"), "admin")).collect();
    let ids: Vec<String> = admins.iter().map(id).collect();
    ada.patch(&format!("/api/users/{}", id(&ada)), &json!({ "role": "viewer" })).is(200);
    let answers = at_once(admins.len(), |number| {
        let at = if number % 2 == 0 { &server } else { &second };
        let client = admins[number].at(at.host().base_url());
        let ends: Vec<Answer> = (1..ids.len())
            .map(|next| {
                let path = format!("/api/users/{}", ids[(number + next) % ids.len()]);
                match next % 3 {
                    0 => client.patch(&path, &json!({ "role": "member" })),
                    1 => client.post(&format!("{path}/deactivate"), &json!({})),
                    _ => client.delete(&path),
                }
            })
            .collect();
        ends
    });
    for answer in answers.iter().flatten() {
        // Done; or the caller is no longer an admin; or the other is gone; or the database was busy.
        assert!(matches!(answer.status(), 200 | 204 | 401 | 403 | 404 | 503), "{answer:?}");
    }
    assert!(server.number("SELECT count(*) FROM users WHERE role = 'admin' AND deactivated_at IS NULL") >= 1);
}

/// R6: once the answer to a revoke is there, no request that begins after it is let in by any host or instance.
#[test]
fn nothing_that_begins_after_a_revoke_is_let_in() {
    let (server, admin) = Server::with_admin();
    let second = server.second();
    for round in 0..5 {
        let scout = server.agent(&admin, &format!("scout-{round}"), &["agents.list"]);
        let (revoked, let_in) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let doors = [scout.client.clone(), scout.client.at(second.host().base_url())];
        thread::scope(|scope| {
            let mut running = Vec::new();
            for number in 0..8 {
                let (client, revoked, let_in) = (doors[number % 2].clone(), Arc::clone(&revoked), Arc::clone(&let_in));
                running.push(scope.spawn(move || {
                    let mut after = 0;
                    while after < 10 {
                        // Read before the request begins.
                        let must_be_refused = revoked.load(Ordering::SeqCst);
                        let answer = client.get(if number % 3 == 0 { "/api/agents" } else { "/api/auth/whoami" });
                        if must_be_refused {
                            answer.refused(401, "token_revoked");
                            after += 1;
                        } else {
                            assert!(matches!(answer.status(), 200 | 401), "{answer:?}");
                            let_in.fetch_add(usize::from(answer.status() == 200), Ordering::SeqCst);
                        }
                    }
                }));
            }
            // In the middle of them.
            until("all doors to be busy", || (let_in.load(Ordering::SeqCst) >= 16).then_some(()));
            admin.delete(&format!("/api/agents/scout-{round}/token")).is(204);
            revoked.store(true, Ordering::SeqCst);
            for thread in running {
                thread.join().unwrap();
            }
        });
    }
}

/// R68: callers who share an instance are kept apart: each learns only about itself, whatever the others ask meanwhile.
#[test]
fn many_callers_in_one_instance_are_kept_apart() {
    let (server, admin) = Server::with_admin();
    let mut callers: Vec<(Client, Json)> = Vec::new();
    for number in 0..20 {
        let Agent { name, client, .. } =
            server.agent(&admin, &format!("apart-{number}"), &["agents.list", "agents.read"]);
        callers.push((client, json!(name)));
    }
    let mia = server.user(&admin, "mia@example.com", "member");
    callers.extend([(admin, Json::Null), (mia, Json::Null)]);
    let callers = &callers;
    at_once(callers.len(), |number| {
        let (client, name) = &callers[number];
        let expected = client.get("/api/auth/whoami").is(200);
        assert_eq!(&expected["agent_name"], name);
        // On one connection, so that the host has no pause to sort anything out.
        let mut connection = Connection::open(client.address()).unwrap();
        for round in 0..60 {
            let path = match round % 3 {
                0 => "/api/auth/whoami".to_owned(),
                1 => "/api/agents".to_owned(),
                _ => format!("/api/agents/{}", name.as_str().unwrap_or("apart-0")),
            };
            connection
                .send(
                    format!("GET {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\n\r\n", client.bearer())
                        .as_bytes(),
                )
                .unwrap();
            let answer = Answer::new(&path, client.base_url(), connection.response(false).unwrap());
            match round % 3 {
                0 => assert_eq!(answer.is(200), expected),
                1 if name.is_string() => {
                    let items = answer.is(200)["items"].clone();
                    assert_eq!((items.as_array().map(Vec::len), &items[0]["name"]), (Some(1), name));
                }
                1 => _ = answer.is(200),
                _ if name.is_string() || expected["role"] == "admin" => {
                    assert_eq!(answer.is(200)["name"], name.as_str().unwrap_or("apart-0"));
                }
                _ => _ = answer.refused(404, "agent_not_found"),
            }
        }
    });
}

/// R4, R31: everything at once, over two hosts: the database holds what was answered, row for row.
#[test]
fn a_mixed_crowd_leaves_what_it_was_told() {
    let (server, admin) = Server::with_admin();
    let second = server.second();
    let told = at_once(12, |number| {
        let at = if number % 2 == 0 { &server } else { &second };
        let admin = admin.at(at.host().base_url());
        let mut live = Vec::new();
        for round in 0..6 {
            let name = format!("mixed-{number}-{round}");
            let Some(made) = success_or_busy(&admin.post("/api/agents", &json!({ "name": name })), 201) else {
                continue;
            };
            let mut token = made["auth_token"].clone();
            if let Some(issued) =
                success_or_busy(&admin.post(&format!("/api/agents/{name}/token/issue"), &json!({})), 200)
            {
                assert_eq!(admin.with(text(&token)).get("/api/auth/whoami").status(), 401);
                token = issued["token"].clone();
            }
            let is_gone =
                round % 2 == 0 && success_or_busy(&admin.delete(&format!("/api/agents/{name}")), 204).is_some();
            live.push((name, text(&token).to_owned(), !is_gone));
        }
        live
    });
    for (name, token, is_live) in told.into_iter().flatten() {
        let expected = if is_live { 200 } else { 401 };
        assert_eq!(server.with(&token).get("/api/auth/whoami").status(), expected, "{name}");
        assert_eq!(admin.get(&format!("/api/agents/{name}")).status(), if is_live { 200 } else { 404 }, "{name}");
    }
    assert_eq!(
        server.number("SELECT count(*) FROM audit WHERE action = 'agent.create'"),
        server.number("SELECT count(*) FROM agents"),
        "a row for each change"
    );
}
