//! R185: every form route of the table takes the token in its field and in the header, and nothing without it.

use std::{cell::RefCell, rc::Rc};

use common::{
    route::{Group, ROUTES, Route},
    secret::{Chance, Kind, Secret},
};
use http::Request;
use serde_json::json;
use service::{body::RequestBody, outbound::stub, testing::TestApp};

use crate::{form::query, router};

/// The text of the form and of its cookie, where there is no session.
const TOKEN: &str = "AAAAAAAAAAAAAAAAAAAAAAAA";

/// What fills the names of a path, and the fields without which a form asks the API for nothing.
fn sample(route: &Route) -> (String, Vec<(&'static str, &'static str)>) {
    let (act, fields): (&str, &[(&str, &str)]) = match route.path {
        "/security/{act}" => ("begin", &[]),
        "/profile/identities/{id}/{act}" => ("unlink", &[]),
        "/agents/{name}/{part}" => ("stop", &[]),
        "/archived/{id}/{act}" => ("purge", &[]),
        "/access/{id}/{act}" => ("deny", &[]),
        "/tokens/{id}/{act}" => ("revoke", &[]),
        "/notifications/{id}/{act}" => ("read", &[]),
        "/admin/outbox/{id}/{act}" => ("retry", &[]),
        "/admin/users/{id}/{act}" => ("deactivate", &[]),
        "/admin/webhooks/{id}/{act}" | "/admin/clients/{id}/{act}" | "/admin/resources/{id}/{act}" => ("delete", &[]),
        "/admin/presets/{name}/{act}" | "/admin/scopes/{name}/{act}" => ("delete", &[]),
        "/admin/presets" => ("", &[("scope", "ui.notify")]),
        "/tokens" => ("", &[("may", "all")]),
        "/admin/tenant" => ("", &[("way", "password")]),
        "/admin/webhooks" => ("", &[("which", "all")]),
        "/device" => ("", &[("act", "deny"), ("user_code", "BCDF-GHJK")]),
        "/oauth/authorize" => ("", &[("act", "deny"), ("request", "client_id=cli_1")]),
        _ => ("", &[]),
    };
    let path =
        route.path.replace("{act}", act).replace("{part}", act).replace("{id}", "one").replace("{name}", "scout");
    let mut fields = fields.to_vec();
    if route.path == "/leaks" {
        // The form of one, and nobody's.
        let found = Secret::generate(Kind::Pat, &Chance::seeded(7));
        fields.push(("token", String::leak(found.reveal().to_owned())));
    }
    (path, fields)
}

#[tokio::test]
async fn every_form_takes_its_token_in_the_field_and_in_the_header() {
    let forms = ROUTES.iter().filter(|route| route.group == Group::Web && route.method == "POST");
    for route in forms {
        let (path, fields) = sample(route);
        for (field, header) in [(Some(TOKEN), None), (None, Some(TOKEN)), (Some(TOKEN), Some("other")), (None, None)] {
            let sent: Rc<RefCell<Vec<(String, String)>>> = Rc::default();
            let seen = Rc::clone(&sent);
            stub::serve(Box::new(move |request| {
                let token = request.headers().get("x-csrf-token").and_then(|token| token.to_str().ok());
                let what = format!("{} {}", request.method(), request.uri().path());
                if request.method() != "GET" {
                    seen.borrow_mut().push((what, token.unwrap_or_default().to_owned()));
                }
                let caller = json!({ "role": "admin", "email": "ada@example.com", "scope": ["*"], "csrf_token": "c" });
                Ok((200, json!({ "caller": caller, "bootstrapped": false }).to_string()))
            }));
            let mut typed = fields.clone();
            typed.extend(field.map(|token| ("csrf", token)));
            let request = Request::post(&path)
                .header("host", "127.0.0.1:3000")
                .header("origin", "http://127.0.0.1:3000")
                .header("cookie", format!("accredit=one; accredit-form={TOKEN}; accredit-ticket=one"))
                .header("content-type", "application/x-www-form-urlencoded");
            let request = match header {
                Some(token) => request.header("x-csrf-token", token),
                None => request,
            };
            let answer = TestApp::new(router()).send(request.body(RequestBody::from(query(&typed))).unwrap()).await;
            let sent = sent.borrow();
            if field.or(header).is_some() {
                assert!(!sent.is_empty(), "{path} changes nothing: {} {}", answer.status, answer.text);
            }
            // Without it nothing is asked, or the API decides, and refuses.
            for (what, token) in sent.iter() {
                assert_eq!(token, field.or(header).unwrap_or_default(), "{path}: {what}");
            }
        }
    }
}

/// Forms of visitors without a session, and the one that ends a session.
const FOR_VISITORS: [&str; 10] = [
    "/auth/login",
    "/login/factor",
    "/login/link",
    "/auth/email/verify",
    "/forgot",
    "/reset",
    "/invite",
    "/leaks",
    "/logout",
    "/setup",
];

/// R263: every form whose session has ended leads to the sign-in, and what was typed waits, or its page is opened again.
#[tokio::test]
async fn every_form_outlives_its_session() {
    let forms = ROUTES.iter().filter(|route| route.group == Group::Web && route.method == "POST");
    for route in forms.filter(|route| !FOR_VISITORS.contains(&route.path)) {
        let (path, mut typed) = sample(route);
        typed.extend([("csrf", TOKEN), ("name", "typed"), ("password", "purple-otter")]);
        for session in ["accredit=one; ", ""] {
            stub::serve(Box::new(|request| {
                let status = if request.uri().path() == "/readyz" { 200 } else { 401 };
                Ok((status, json!({ "error": "token_expired" }).to_string()))
            }));
            let request = Request::post(&path)
                .header("host", "127.0.0.1:3000")
                .header("origin", "http://127.0.0.1:3000")
                .header("referer", "http://127.0.0.1:3000/here?x=1")
                .header("cookie", format!("{session}accredit-last=usr_ada.{TOKEN}"))
                .header("content-type", "application/x-www-form-urlencoded");
            let answer = TestApp::new(router()).send(request.body(RequestBody::from(query(&typed))).unwrap()).await;
            let to = answer.headers.get("location").map_or("", |to| to.to_str().unwrap());
            let is_of_its_page = ["/device", "/oauth/authorize"].contains(&route.path);
            let expected = match is_of_its_page {
                true => "/login?done=session-ended&next=%2Fhere%3Fx%3D1",
                false => "/login?done=form-waits&next=%2Flogin%2Fagain%3Fform%3D",
            };
            assert!(answer.status == 303 && to.starts_with(expected), "{path}: {} {to} {}", answer.status, answer.text);
            let lines: Vec<&str> =
                answer.headers.get_all("set-cookie").iter().map(|line| line.to_str().unwrap()).collect();
            let kept = lines.iter().find(|line| line.starts_with("accredit-kept-"));
            assert_eq!(kept.is_some(), !is_of_its_page, "{path}: {lines:?}");
            let text = kept.and_then(|line| line.split_once('.')?.1.split(';').next()).unwrap_or_default();
            let text = base64::Engine::decode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, text).unwrap();
            let text = String::from_utf8(text).unwrap();
            assert!(!text.contains("purple-otter") && !text.contains(TOKEN), "{path}: {text}");
        }
    }
}

/// R646: the address of every form can be opened, as by a reload of the page that answered it: it leads to the page of the form.
#[tokio::test]
async fn the_address_of_every_form_leads_to_its_page() {
    stub::serve(Box::new(|request| {
        let body = match request.uri().path() {
            "/api/overview" => json!({ "caller": { "role": "admin", "scope": ["*"], "email": "ada@example.com" } }),
            _ => json!({ "items": [{ "id": "one" }] }),
        };
        Ok((200, body.to_string()))
    }));
    let is_page = |path: &str| ROUTES.iter().any(|row| row.method == "GET" && row.path == path);
    let posts = ROUTES.iter().filter(|route| route.group == Group::Web && route.method == "POST");
    for route in posts.filter(|route| !is_page(route.path) || route.path == "/agents/{name}/{part}") {
        let (path, _) = sample(route);
        let open = async |path: &str| {
            let request = Request::get(path).header("host", "127.0.0.1:3000").header("accept", "text/html");
            let request = request.header("cookie", "accredit=one").body(RequestBody::from(String::new())).unwrap();
            TestApp::new(router()).send(request).await
        };
        let led = open(&path).await;
        assert_eq!(led.status.as_u16(), 303, "{path}: {}", led.text);
        let page = open(led.header("location")).await;
        assert!([200, 303].contains(&page.status.as_u16()), "{path} leads to {}", led.header("location"));
    }
}
