//! R178 to R180: signed tokens at services behind a guard: the component before an application, the same as middleware of its route, and the
//! layer of tower before a real server of axum. All hear of what has ended through a line that counts the questions, and can be cut.

#![expect(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "helpers of tests: whatever is not as expected ends the test"
)]

use std::{net::TcpListener, thread};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use guard_tower::{GuardLayer, Settings};
use serde_json::{Value as Json, json};
use tests::{
    Agent, Answer, Client, Host, Server,
    line::Line,
    oauth::{encoded, exchange},
    proxy::{self, Shape},
    server::text,
    until,
};

const ISSUER: &str = "https://accredit.example.com";
const CRM: &str = "https://crm.example.com/v1";
const OLD: &str = "the-old-secret-of-the-operator-is-long-enough";
const NEW: &str = "the-new-secret-of-the-operator-is-long-enough";
const SECRET: &str = "s3cret-of-the-upstream";
const RULES: &str =
    "GET /orders/* = x.crm.read; POST /mcp tool delete_order = x.crm.write; GET /admin/** = x.crm.write";

/// A server, a service's own agent, an agent that calls it, and the line between.
struct Site {
    server: Server,
    admin: Client,
    scout: Agent,
    line: Line,
    settings: Vec<(&'static str, String)>,
}

fn server(signing_key: &str) -> tests::server::Settings {
    Server::settings().variable("signing_key", signing_key).variable("public_url", ISSUER)
}

impl Site {
    fn new(lease: u32) -> Self {
        let server = server(OLD).start();
        let admin = server.bootstrap();
        for name in ["x.crm.read", "x.crm.write"] {
            admin.post("/api/scopes/custom", &json!({ "name": name, "description": "d" })).is(201);
        }
        let service = server.agent(&admin, "crm", &["tokens.introspect"]);
        let scout = server.agent(&admin, "scout", &["x.crm.read", "x.crm.write"]);
        let body = json!({ "identifier": CRM, "scopes": ["x.crm.read", "x.crm.write"], "introspectors": ["crm"] });
        admin.post("/api/resources", &body).is(201);
        let line = Line::to(server.host().address());
        let settings = vec![
            ("accredit", ISSUER.to_owned()),
            ("ask", format!("http://{}", line.address)),
            ("resource", CRM.to_owned()),
            ("scope", "-".to_owned()),
            ("tenant", "main".to_owned()),
            ("token", service.client.bearer().to_owned()),
            ("lease", lease.to_string()),
            ("rules", RULES.to_owned()),
            ("secret_header", "X-Api-Key".to_owned()),
            ("secret", SECRET.to_owned()),
        ];
        Self { server, admin, scout, line, settings }
    }

    fn setting(&self, name: &str) -> Option<String> {
        self.settings.iter().find(|(known, _)| *known == name).map(|(_, value)| value.clone())
    }

    /// The guard before an application.
    fn guarded(&self, shape: Shape) -> Host {
        shape.start(&self.line.address, &self.settings)
    }

    /// A server of axum in this process, with the layer before it; it ends with the process.
    fn layered(&self) -> Client {
        let layer = GuardLayer::new(Settings::read(|name| self.setting(name)).unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
            runtime.block_on(async {
                let app = axum::Router::new().fallback(reached).layer(layer);
                axum::serve(tokio::net::TcpListener::from_std(listener).unwrap(), app).await.unwrap();
            });
        });
        Client::plain(&format!("http://{address}"))
    }

    /// A signed token of the agent.
    fn token(&self, scope: &str) -> String {
        self.token_of(&self.server, scope)
    }

    /// The same, signed by a server that has the same database.
    fn token_of(&self, server: &Server, scope: &str) -> String {
        let form = exchange(self.scout.client.bearer(), CRM) + "&" + &encoded(&[("scope", scope)]);
        text(&server.nobody().form("/oauth/token", &form).is(200)["access_token"]).to_owned()
    }

    /// Waits until a request is let in without a question about its credential.
    #[track_caller]
    fn until_sure(&self, client: &Client, path: &str) -> Answer {
        until("a request is decided without asking", || {
            let before = self.line.count();
            let answer = client.get(path);
            assert_eq!(answer.status(), 200, "{answer:?}");
            (self.line.count() == before).then_some(answer)
        })
    }

    /// Stops the agent, and waits until nothing of it is accepted anywhere.
    fn stop(&self) {
        let closure = self.admin.post("/api/agents/scout/stop", &Json::Null).is(200)["closure"].clone();
        let path = format!("/api/closures/{}?wait=25", text(&closure["id"]));
        until("the closure is closed", || (self.admin.get(&path).is(200)["status"] == "closed").then_some(()));
    }
}

/// What the application behind the layer says: with which request it was reached.
async fn reached(request: axum::extract::Request) -> axum::response::Response {
    let headers =
        request.headers().iter().map(|(name, value)| json!([name.as_str(), String::from_utf8_lossy(value.as_bytes())]));
    let mut said = json!({ "uri": request.uri().to_string(), "headers": headers.collect::<Vec<_>>() });
    let bytes = axum::body::to_bytes(request.into_body(), 1024 * 1024).await.unwrap();
    said["bytes"] = json!(bytes.len());
    axum::response::Response::builder()
        .header("x-repeated", format!("key={SECRET}"))
        .header("x-other", "1")
        .body(said.to_string().into())
        .unwrap()
}

#[track_caller]
fn refused(answer: &Answer, status: u16, slug: &str) -> Json {
    assert_eq!(answer.status(), status, "{answer:?}");
    let body: Json = serde_json::from_str(&answer.text()).unwrap();
    assert_eq!(body["error"], slug, "{body}");
    assert!(!answer.text().contains(SECRET) && !format!("{:?}", answer.headers()).contains(SECRET));
    if status == 401 || slug == "scope_denied" {
        let metadata = "resource_metadata=\"https://crm.example.com/.well-known/oauth-protected-resource/v1\"";
        assert!(answer.header("www-authenticate").ends_with(metadata), "{answer:?}");
    }
    body
}

fn told(answer: &Answer) -> Vec<(String, String)> {
    let said: Json = serde_json::from_str(&answer.text()).unwrap();
    let pair = |pair: &Json| (text(&pair[0]).to_ascii_lowercase(), text(&pair[1]).to_owned());
    said["headers"].as_array().unwrap().iter().map(pair).collect()
}

/// The same for the component, for middleware (R460) and for the layer.
fn at_each_guard(lease: u32, test: impl Fn(&Site, &Client)) {
    for shape in [Shape::Component, Shape::Middleware] {
        let site = Site::new(lease);
        let guarded = site.guarded(shape);
        test(&site, &guarded.client());
        let (log, own) = (guarded.log(), site.setting("token").unwrap());
        assert!(!log.contains(SECRET) && !log.contains(&own), "{shape:?}: {log}");
    }
    let site = Site::new(lease);
    test(&site, &site.layered());
}

/// R178, R180: a signed token is let in without a question; what the service is told is Accredit's alone, with the secret; a stop holds
/// when its closure says so; and an agent that was started again gets in with a new token.
#[test]
fn a_signed_token_is_let_in_until_a_stop() {
    at_each_guard(10, |site, guarded| {
        let forged = [("x-accredit-agent-id", "forged"), ("X-Accredit-Owner", "forged"), ("x-api-key", "forged")];
        let token = site.token("x.crm.read");
        let at = guarded.with(&token);
        site.until_sure(&at, "/orders/1");
        let answer = at.call("GET", "/orders/1?x=1", &forged, None);
        assert_eq!(answer.status(), 200, "{answer:?}");
        let headers = told(&answer);
        let find = |wanted: &str| {
            let mut found = headers.iter().filter(|(name, _)| name == wanted).map(|(_, value)| value.clone());
            let first = found.next();
            assert_eq!(found.next(), None, "{wanted} twice");
            first
        };
        let claims: Json =
            serde_json::from_slice(&URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap()).unwrap();
        assert_eq!(find("x-accredit-agent-id").as_deref(), Some(site.scout.id.as_str()));
        assert_eq!(find("x-accredit-subject").as_deref(), Some(text(&claims["owner"])));
        assert_eq!(find("x-accredit-scopes").as_deref(), Some("x.crm.read"));
        assert_eq!(find("x-accredit-credential").as_deref(), Some(text(&claims["jti"])));
        assert_eq!((find("x-accredit-owner"), find("authorization")), (None, None));
        assert_eq!(find("x-api-key").as_deref(), Some(SECRET));
        assert!(!format!("{:?}", answer.headers()).contains(SECRET), "{answer:?}");

        // R366: the client takes nothing of that away, not from a service that passes the request on either.
        for sent in proxy::as_hops() {
            let named: Vec<(&str, &str)> = sent.iter().map(|(name, value)| (*name, value.as_str())).collect();
            let headers = told(&at.call("GET", "/orders/1", &named, None));
            for (wanted, value) in [("x-accredit-kind", "signed_token"), ("x-accredit-agent-id", &site.scout.id)] {
                assert!(headers.contains(&(wanted.to_owned(), value.to_owned())), "{sent:?}: {headers:?}");
            }
            let taking = |(name, value): &(String, String)| name == "connection" && value.contains("ccredit");
            assert!(!headers.iter().any(taking), "{sent:?}: {headers:?}");
        }

        // The agent's own token too, once it was asked about.
        let own = guarded.with(site.scout.client.bearer());
        site.until_sure(&own, "/orders/1");

        site.stop();
        refused(&at.get("/orders/1"), 401, "invalid_token");
        refused(&own.get("/orders/1"), 403, "agent_stopped");
        site.admin.post("/api/agents/scout/start", &Json::Null).is(200);
        site.until_sure(&guarded.with(&site.token("x.crm.read")), "/orders/1");
    });
}

/// R178: what is not exactly a token of this server for this service is refused.
#[test]
fn a_token_that_is_not_exactly_right_is_refused() {
    at_each_guard(10, |site, guarded| {
        let token = site.token("x.crm.read");
        site.until_sure(&guarded.with(&token), "/orders/1");
        let [head, body, signature] = token.split('.').collect::<Vec<_>>()[..] else { unreachable!() };
        let claims: Json = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(body).unwrap()).unwrap();
        let encode = |json: &Json| URL_SAFE_NO_PAD.encode(json.to_string());
        let headed = |json: Json| format!("{}.{body}.{signature}", encode(&json));
        let header: Json = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(head).unwrap()).unwrap();
        let mut wider = claims.clone();
        wider["scope"] = json!("x.crm.read x.crm.write");
        for bad in [
            headed(json!({ "typ": "at+jwt", "alg": "none", "kid": header["kid"] })),
            headed(json!({ "typ": "at+jwt", "alg": "HS256", "kid": header["kid"] })),
            headed(json!({ "typ": "at+jwt", "alg": "ES256", "kid": header["kid"] })),
            headed(json!({ "typ": "at+jwt", "alg": "EdDSA", "kid": "unknown" })),
            format!("{head}.{}.{signature}", encode(&wider)),
            format!("{head}.{body}."),
            "a.b.c".to_owned(),
        ] {
            refused(&guarded.with(&bad).get("/orders/1"), 401, "invalid_token");
        }
        refused(&guarded.with("nonsense").get("/orders/1"), 401, "invalid_token");
        refused(&guarded.get("/orders/1"), 401, "missing_credential");
        // A key that the server has begun to sign with is fetched when it is named.
        let second = server(&format!("{NEW},{OLD}")).on(site.server.state()).start();
        site.line.mend(second.host().address());
        let rotated = site.token_of(&second, "x.crm.read");
        assert_ne!(rotated.split('.').next(), Some(head));
        site.until_sure(&guarded.with(&rotated), "/orders/1");
        site.until_sure(&guarded.with(&token), "/orders/1");
    });
}

/// R179: what a request needs is said by its path and its tool; the body goes on as it was.
#[test]
fn rules_decide_by_path_and_tool() {
    at_each_guard(10, |site, guarded| {
        let (reader, writer) = (guarded.with(&site.token("x.crm.read")), guarded.with(&site.token("x.crm.write")));
        assert_eq!(reader.get("/orders/1").status(), 200);
        let body = refused(&writer.get("/orders/1"), 403, "scope_denied");
        assert_eq!(body["missing_scopes"], json!(["x.crm.read"]));
        for path in ["/admin", "/Admin/", "/%61dmin/x"] {
            refused(&reader.get(path), 403, "scope_denied");
            assert_eq!(writer.get(path).status(), 200, "{path}");
        }
        for path in ["/x/..%2fadmin", "//admin", "/admin;x", "/x%2fy"] {
            refused(&writer.get(path), 400, "ambiguous_request");
        }
        assert_eq!(reader.get("/elsewhere").status(), 200, "no rule, and no scope is needed");
        let call = |client: &Client, name: &str, headers: &[(&str, &str)]| {
            let message = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": { "name": name } });
            let headers = [headers, &[("content-type", "application/json")]].concat();
            client.call("POST", "/mcp", &headers, Some(message.to_string().as_bytes()))
        };
        refused(&call(&reader, "delete_order", &[]), 403, "scope_denied");
        refused(&call(&reader, "delete_order", &[("mcp-name", "list_orders")]), 400, "ambiguous_request");
        assert_eq!(call(&writer, "delete_order", &[]).status(), 200);
        assert_eq!(call(&reader, "list_orders", &[("mcp-name", "list_orders")]).status(), 200);
        for body in ["[]", "{", "{\"method\":\"a\",\"method\":\"tools/call\"}"] {
            refused(&writer.call("POST", "/mcp", &[], Some(body.as_bytes())), 400, "ambiguous_request");
        }
        refused(&writer.call("POST", "/mcp", &[], Some(&vec![b' '; 1024 * 1024 + 1])), 413, "body_too_large");
        let long = vec![b' '; 700_000];
        let answer = writer.call("POST", "/mcp/body", &[], Some(&long));
        let said: Json = serde_json::from_str(&answer.text()).unwrap();
        assert_eq!(said["bytes"], 700_000);
        let metadata = guarded.get("/.well-known/oauth-protected-resource/v1");
        let metadata: Json = serde_json::from_str(&metadata.text()).unwrap();
        assert_eq!(metadata["scopes_supported"], json!(["x.crm.read", "x.crm.write"]));
    });
}

/// R178: cut off from Accredit, a guard lets nobody in once its lease is over, whatever it has heard before; and everybody again afterwards.
#[test]
fn a_guard_that_is_cut_off_refuses() {
    at_each_guard(1, |site, guarded| {
        let (signed, own) = (guarded.with(&site.token("x.crm.read")), guarded.with(site.scout.client.bearer()));
        for client in [&signed, &own] {
            site.until_sure(client, "/orders/1");
        }
        site.line.cut();
        for client in [&signed, &own] {
            let answer =
                until("the lease is over", || Some(client.get("/orders/1")).filter(|answer| answer.status() != 200));
            refused(&answer, 503, "not_verified");
            refused(&client.get("/orders/1"), 503, "not_verified");
        }
        // It was stopped meanwhile, and its closure waits for nobody longer than the lease.
        site.stop();
        site.line.mend(site.server.host().address());
        until("the guard asks again", || (signed.get("/orders/1").status() == 401).then_some(()));
        refused(&own.get("/orders/1"), 403, "agent_stopped");
    });
}

/// R462: a guard that begins asks about a credential once, and not for each request that comes before its first answer about the epochs.
#[test]
fn a_guard_that_begins_asks_once() {
    for signed in [true, false] {
        let sent = |site: &Site, guarded: &Client| {
            site.line.hold_epochs(50);
            let token = site.token("x.crm.read");
            let client = guarded.with(if signed { &token } else { site.scout.client.bearer() });
            for _ in 0..30 {
                assert_eq!(client.get("/orders/1").status(), 200);
            }
            // One, or some on a machine on which the first answer takes longer than a guard waits for it; each of 30 without the wait.
            assert!(site.line.count() < 10, "{} questions", site.line.count());
        };
        at_each_guard(10, sent);
    }
}

/// R483: what a guard asks, and a body that it has read, is sent at once, also while its question about the epochs is held back: here for longer
/// than it waits for an answer.
#[test]
fn a_body_of_a_guards_own_waits_for_nothing() {
    at_each_guard(60, |site, guarded| {
        let token = site.token("x.crm.read x.crm.write");
        // Since then something has ended, so that a guard that begins asks about the token.
        site.server.agent(&site.admin, "other", &["agents.read"]);
        site.admin.post("/api/agents/other/stop", &Json::Null).is(200);
        let at = guarded.with(&token);
        assert_eq!(at.get("/orders/1").status(), 200);
        assert_eq!(site.line.count(), 1);
        let call = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": { "name": "delete_order" } });
        assert_eq!(at.call("POST", "/mcp", &[], Some(call.to_string().as_bytes())).status(), 200);
    });
}

/// R482: a header that a message of WASI may not hold is no failure.
#[test]
fn headers_of_a_connection_are_no_failure() {
    at_each_guard(10, |site, guarded| {
        let at = guarded.with(site.scout.client.bearer());
        // The one of tower has it from its own host, and passes it on.
        let answer = at.call("GET", "/orders/1", &[("proxy-authorization", "Basic eA==")], None);
        assert_eq!(answer.status(), 200, "{answer:?}");
    });
}

/// R460: behind middleware an application is asked what the client has asked, with the host's words about it, and nothing of the guard's own
/// credential; a guard that is not set up lets nobody in.
#[test]
fn an_application_behind_middleware_sees_the_request_as_it_came() {
    let site = Site::new(10);
    let guarded = site.guarded(Shape::Middleware);
    let own = guarded.client().with(site.scout.client.bearer());
    let answer = own.call("POST", "/orders/1?x=%20y", &[("x-own", "1"), ("connection", "x-own")], Some(b"body"));
    let said: Json = serde_json::from_str(&answer.text()).unwrap();
    assert_eq!(said["uri"], format!("{}/orders/1?x=%20y", guarded.base_url()), "{said}");
    let headers = told(&answer);
    let last = |wanted: &str| headers.iter().rev().find(|(name, _)| name == wanted).map(|(_, value)| value.as_str());
    assert_eq!((last("spin-path-info"), last("spin-matched-route")), (Some("/orders/1"), Some("/...")), "{headers:?}");
    assert!(last("spin-client-addr").is_some_and(|client| client.starts_with("127.0.0.1:")), "{headers:?}");
    assert_eq!((last("authorization"), last("x-accredit-agent")), (None, Some("scout")), "{headers:?}");

    let settings: Vec<_> = site.settings.iter().filter(|(name, _)| *name != "resource").cloned().collect();
    let wrong = Shape::Middleware.start(&site.line.address, &settings);
    refused(&wrong.client().with(site.scout.client.bearer()).get("/orders/1"), 503, "not_verified");
    assert!(wrong.log().contains("the setting guard_resource is missing: every request is refused"), "{}", wrong.log());
}
