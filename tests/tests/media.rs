//! R84: which requests a browser may send for a page. A body says its type, on every route of the table; and public routes that change
//! something take no request of another site. Both are decided before anything is counted or hashed.

use serde_json::json;
use tests::{
    Client, OPEN, Server,
    server::{PASSWORD, text},
};

struct Row {
    method: String,
    path: String,
    media: String,
    is_public: bool,
    client: Client,
}

/// The rows that take a body, each with a caller whose kind it takes.
fn rows(server: &Server, admin: &Client) -> Vec<Row> {
    let scout = server.agent(admin, "scout", &["*"]).client;
    let routes = server.routes();
    let with_body = routes.iter().filter(|route| route["content_type"].is_string());
    let row = |route: &serde_json::Value| Row {
        method: text(&route["method"]).to_owned(),
        path: text(&route["path"]).replace("{name}", "scout").replace("{id}", "some-id").replace("{key}", "SOME_KEY"),
        media: text(&route["content_type"]).to_owned(),
        is_public: route["access"] == "public",
        client: match (route["access"] == "public", route["for_agents"] == true) {
            (true, _) => server.nobody(),
            (_, true) => scout.clone(),
            _ => admin.clone(),
        },
    };
    with_body.map(row).collect()
}

/// The routes that read no body.
const WITHOUT_BODY: [&str; 2] = ["/internal/tick", "/internal/key-sets"];

const COUNTED: [&str; 5] = [
    "SELECT count(*) FROM attempts",
    "SELECT count(*) FROM audit WHERE outcome = 'done'",
    "SELECT count(*) FROM users",
    "SELECT count(*) FROM agents",
    "SELECT count(*) FROM credentials WHERE revoked_at IS NULL",
];

#[test]
fn a_body_of_another_media_type_is_refused_on_every_route() {
    let (server, admin) = Server::with_admin();
    let rows = rows(&server, &admin);
    let before = COUNTED.map(|sql| server.number(sql));
    let mut tried = 0;
    // What others sign is taken as it is, whatever they call it.
    for row in rows.iter().filter(|row| !WITHOUT_BODY.contains(&row.path.as_str()) && row.media != "*/*") {
        let others = [
            "application/json",
            "application/x-www-form-urlencoded",
            "text/plain",
            "multipart/form-data; boundary=x",
            "",
            "application/jsonx",
            "text/plain; application/json",
        ];
        for sent in others.into_iter().filter(|sent| *sent != row.media) {
            let answer = row.client.call(&row.method, &row.path, &[("content-type", sent)], Some(b"{\"a\": 1}"));
            let refused = answer.refused(415, "unsupported_media_type");
            assert!(text(&refused["fix"]).contains(&row.media), "{refused}");
            assert_eq!(answer.header("accept"), row.media);
            tried += 1;
        }
        // The fix, followed; with parameters and in any case as well.
        // But any form asks for a device's code, and that is counted.
        if row.path == "/auth/device/code" {
            continue;
        }
        for sent in [row.media.clone(), format!("{}; charset=utf-8", row.media), row.media.to_uppercase()] {
            let answer = row.client.call(&row.method, &row.path, &[("content-type", &sent)], Some(b"{\"a\": 1}"));
            assert_ne!(answer.status(), 415, "{} {}: {}", row.method, row.path, answer.text());
        }
    }
    assert!(tried > 200, "{tried}");
    assert_eq!(COUNTED.map(|sql| server.number(sql)), before);
    // A body that is empty needs no type.
    admin.call("POST", "/api/agents/scout/restart", &[], None).is(200);
    admin.call("POST", "/api/agents/scout/restart", &[("content-type", "text/plain")], Some(b"")).is(200);
}

/// R227: a body that is coded is refused, since it would be read, signed or searched as something that was not sent.
#[test]
fn a_coded_body_is_refused_on_every_route() {
    let (server, admin) = Server::with_admin();
    let rows = rows(&server, &admin);
    let before = COUNTED.map(|sql| server.number(sql));
    for row in rows.iter().filter(|row| !WITHOUT_BODY.contains(&row.path.as_str())) {
        let media = row.media.replace("*/*", "application/json");
        for coding in ["gzip", "br", "identity, gzip"] {
            let headers = [("content-type", media.as_str()), ("content-encoding", coding)];
            let answer = row.client.call(&row.method, &row.path, &headers, Some(b"{\"a\": 1}"));
            let refused = answer.refused(415, "unsupported_media_type");
            assert!(text(&refused["fix"]).contains("Content-Encoding"), "{refused}");
            assert_eq!(answer.header("accept-encoding"), "identity");
        }
    }
    assert_eq!(COUNTED.map(|sql| server.number(sql)), before);
    let identity = [("content-type", "application/json"), ("content-encoding", "identity")];
    admin.call("POST", "/api/agents/scout/restart", &identity, Some(b"{}")).is(200);
}

/// What a page of another site makes a browser send, word for word: a form, or a text without a type of its own.
#[test]
fn a_page_of_another_site_locks_nobody_out_and_spends_no_hash() {
    let (server, _) = Server::with_admin();
    let nobody = server.nobody();
    let wrong = json!({ "email": "ada@example.com", "password": "wrong" }).to_string();
    let hashes = "SELECT count(*) FROM attempts";
    let before = server.number(hashes);
    for headers in [
        vec![("content-type", "text/plain;charset=UTF-8")],
        vec![("content-type", "application/x-www-form-urlencoded"), ("origin", "https://evil.example")],
        vec![("content-type", "application/json"), ("sec-fetch-site", "cross-site")],
        vec![("content-type", "application/json"), ("sec-fetch-site", "same-site")],
        vec![("content-type", "application/json"), ("origin", "https://evil.example")],
        vec![("content-type", "application/json"), ("origin", "null"), ("sec-fetch-site", "same-origin")],
    ] {
        for _ in 0..3 {
            let answer = nobody.call("POST", "/auth/token", &headers, Some(wrong.as_bytes()));
            assert!(matches!(answer.status(), 403 | 415), "{headers:?}: {}", answer.text());
        }
    }
    assert_eq!(server.number(hashes), before);
    let right = json!({ "email": "ada@example.com", "password": PASSWORD }).to_string();
    let own = nobody.base_url().to_owned();
    for headers in
        [vec![], vec![("sec-fetch-site", "none")], vec![("sec-fetch-site", "same-origin"), ("origin", own.as_str())]]
    {
        nobody.call("POST", "/auth/token", &headers, Some(right.as_bytes())).is(200);
    }
}

#[test]
fn every_public_change_refuses_other_sites() {
    let (server, admin) = Server::with_admin();
    let rows = rows(&server, &admin);
    // To begin at a provider changes nothing. Where apps get tokens, pages of every origin may: they have no cookie there, and prove themselves.
    let is_change =
        |row: &&Row| row.is_public && row.path != "/auth/oidc/{provider}/start" && !OPEN.contains(&row.path.as_str());
    let changing: Vec<&Row> = rows.iter().filter(is_change).collect();
    assert!(changing.len() >= 6);
    // One of them is the tick, which takes away what has ended by then.
    server.execute("UPDATE attempts SET ends_at = (unixepoch() + 3600) * 1000");
    let before = COUNTED.map(|sql| server.number(sql));
    for row in &changing {
        for header in [
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-site", "same-site"),
            ("sec-fetch-site", "anything"),
            ("origin", "https://evil.example"),
            ("origin", "null"),
            ("origin", "http://127.0.0.1:1"),
            ("origin", "file://"),
        ] {
            let answer = row.client.call(&row.method, &row.path, &[header], Some(b"{}"));
            answer.refused(403, "cross_site_request");
        }
        // The fix, followed.
        let answer = row.client.call(&row.method, &row.path, &[], Some(b"{}"));
        assert!(!answer.text().contains("cross_site_request"), "{answer:?}");
    }
    assert_eq!(COUNTED.map(|sql| server.number(sql)), before);
    // Reading is open to all, and so are changes with a credential, which no other site has.
    let cross = [("sec-fetch-site", "cross-site"), ("origin", "https://evil.example")];
    server.nobody().call("GET", "/healthz", &cross, None).is(200);
    admin.call("POST", "/api/agents", &cross, Some(json!({ "name": "other" }).to_string().as_bytes())).is(201);
}

/// With `public_url`, its origin is this site's, whatever the request's `Host` says.
#[test]
fn the_origin_of_public_url_is_this_sites() {
    let server = Server::settings().variable("public_url", "https://Acc.example").start();
    server.bootstrap();
    let nobody = server.nobody();
    let right = json!({ "email": "ada@example.com", "password": PASSWORD }).to_string();
    nobody.call("POST", "/auth/token", &[("origin", "https://acc.example")], Some(right.as_bytes())).is(200);
    let own = nobody.base_url().to_owned();
    for foreign in [own.as_str(), "http://acc.example", "https://acc.example:444", "https://acc.example.evil.example"] {
        let answer = nobody.call("POST", "/auth/token", &[("origin", foreign)], Some(right.as_bytes()));
        answer.refused(403, "cross_site_request");
    }
}
