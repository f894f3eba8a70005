//! The authorization server over HTTP: metadata, keys, signed tokens as a service verifies them, two hosts, a new secret of the operator.

#![expect(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "helpers of tests: whatever is not as expected ends the test"
)]

use std::sync::atomic::{AtomicBool, Ordering};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value as Json, json};
use sha2::Sha256;
use tests::{
    Answer, Client, Server, at_once,
    oauth::{self, ACCESS_TOKEN, EXCHANGE, encoded},
    server::{Agent, text},
    until,
};

const CRM: &str = "https://crm.example.com";
const MAIL: &str = "https://mail.example.com";
const JWT: &str = "urn:ietf:params:oauth:token-type:jwt";
const OLD: &str = "the-old-secret-of-the-operator-is-long-enough";
const NEW: &str = "the-new-secret-of-the-operator-is-long-enough";

/// A server with two services, each an agent of its own, and an agent that calls them.
struct Site {
    server: Server,
    admin: Client,
    scout: Agent,
    crm: Agent,
    mail: Agent,
}

impl Site {
    fn new() -> Self {
        let server = Server::settings().variable("signing_key", OLD).start();
        let admin = server.bootstrap();
        for name in ["x.crm.read", "x.crm.write", "x.mail.send"] {
            admin.post("/api/scopes/custom", &json!({ "name": name, "description": "d" })).is(201);
        }
        let service = |name: &str| server.agent(&admin, name, &["tokens.introspect", "x.crm.read", "x.mail.send"]);
        let (crm, mail) = (service("crm"), service("mail"));
        let scout = server.agent(&admin, "scout", &["x.crm.read", "x.mail.send"]);
        let crm_scopes = ["x.crm.read", "x.crm.write"];
        let body = json!({ "identifier": CRM, "scopes": crm_scopes, "introspectors": ["crm"] });
        admin.post("/api/resources", &body).is(201);
        let body = json!({
            "identifier": MAIL, "scopes": ["x.mail.send"], "introspectors": ["mail"], "signing_alg": "ES256",
        });
        admin.post("/api/resources", &body).is(201);
        Self { server, admin, scout, crm, mail }
    }
}

fn form(client: &Client, path: &str, pairs: &[(&str, &str)]) -> Answer {
    client.form(path, &encoded(pairs))
}

fn exchange(client: &Client, token: &str, resource: &str) -> Answer {
    client.nobody().form("/oauth/token", &oauth::exchange(token, resource))
}

fn pass(service: &Client, received: &str, resource: &str) -> Answer {
    let pairs = [
        ("grant_type", EXCHANGE),
        ("subject_token", received),
        ("subject_token_type", JWT),
        ("actor_token", service.bearer()),
        ("actor_token_type", ACCESS_TOKEN),
        ("resource", resource),
    ];
    form(&service.nobody(), "/oauth/token", &pairs)
}

fn signed(answer: &Answer) -> String {
    text(&answer.is(200)["access_token"]).to_owned()
}

fn introspect(asking: &Client, token: &str) -> Json {
    form(asking, "/auth/introspect", &[("token", token)]).is(200)
}

/// A service that verifies by itself: it knows the key set, the issuer and its own identifier.
struct Verifier {
    keys: Json,
    issuer: String,
    identifier: &'static str,
    algorithm: &'static str,
}

impl Verifier {
    fn new(client: &Client, identifier: &'static str, algorithm: &'static str) -> Self {
        let metadata = client.nobody().get("/.well-known/oauth-authorization-server").is(200);
        let keys = client.nobody().get("/oauth/jwks").is(200);
        Self { keys, issuer: text(&metadata["issuer"]).to_owned(), identifier, algorithm }
    }

    /// The claims of a token that it takes at the time `now`.
    fn claims(&self, token: &str, now: i64) -> Result<Json, &'static str> {
        let decoded = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|_| "no base64url");
        let parsed = |part: &str| serde_json::from_slice::<Json>(&decoded(part)?).map_err(|_| "no JSON");
        let [head, claims, signature] = token.split('.').collect::<Vec<_>>()[..] else { return Err("no three parts") };
        let header = parsed(head)?;
        if header["alg"] != self.algorithm || header["typ"] != "at+jwt" {
            return Err("another algorithm or type");
        }
        let keys = self.keys["keys"].as_array().unwrap();
        let key = keys.iter().find(|key| key["kid"] == header["kid"] && key["alg"] == header["alg"]).ok_or("no key")?;
        let (message, signature) = (format!("{head}.{claims}"), decoded(signature)?);
        let member = |name: &str| URL_SAFE_NO_PAD.decode(text(&key[name])).unwrap();
        let holds = match self.algorithm {
            "EdDSA" => {
                let key = ed25519_dalek::VerifyingKey::from_bytes(&member("x").try_into().unwrap()).unwrap();
                let signature = ed25519_dalek::Signature::from_slice(&signature).map_err(|_| "no signature")?;
                key.verify_strict(message.as_bytes(), &signature).is_ok()
            }
            _ => {
                use p256::ecdsa::{Signature, VerifyingKey, signature::Verifier as _};
                let point = [vec![4], member("x"), member("y")].concat();
                let signature = Signature::from_slice(&signature).map_err(|_| "no signature")?;
                VerifyingKey::from_sec1_bytes(&point).unwrap().verify(message.as_bytes(), &signature).is_ok()
            }
        };
        let claims = parsed(claims)?;
        match () {
            () if !holds => Err("the signature"),
            () if claims["iss"] != self.issuer.as_str() => Err("the issuer"),
            () if claims["aud"] != self.identifier => Err("the audience"),
            () if claims["exp"].as_i64().is_none_or(|exp| exp <= now) => Err("the end"),
            () => Ok(claims),
        }
    }
}

/// R126: the metadata names routes that there are, at both paths, and the grants that the endpoint takes.
#[test]
fn a_client_finds_the_server_by_its_metadata() {
    let site = Site::new();
    let nobody = site.server.nobody();
    let answer = nobody.get("/.well-known/oauth-authorization-server");
    let metadata = answer.is(200);
    assert_eq!(nobody.get("/.well-known/openid-configuration").is(200), metadata);
    assert_eq!(metadata["issuer"], nobody.base_url());
    // R465: some clients ask for all that stands there.
    let resource = nobody.get("/.well-known/oauth-protected-resource").is(200);
    assert_eq!(metadata["scopes_supported"], resource["scopes_supported"]);
    assert!(!metadata["scopes_supported"].to_string().contains("write"), "{metadata}");
    // What clients of OpenID Connect Discovery refuse the document without.
    assert_eq!(metadata["subject_types_supported"], json!(["public"]));
    assert_eq!(metadata["id_token_signing_alg_values_supported"], json!(["ES256", "EdDSA"]));
    assert_eq!(answer.header("cache-control"), "public, max-age=300");
    for (name, value) in metadata.as_object().unwrap() {
        let Some(path) = value.as_str().and_then(|url| url.strip_prefix(nobody.base_url())) else { continue };
        if path.is_empty() {
            continue;
        }
        let is_read = ["jwks_uri", "service_documentation", "authorization_endpoint"].contains(&name.as_str());
        let method = if is_read { "GET" } else { "POST" };
        assert_ne!(nobody.call(method, path, &[], None).status(), 404, "{name}");
    }
    for grant in metadata["grant_types_supported"].as_array().unwrap() {
        let answer = form(&nobody, "/oauth/token", &[("grant_type", text(grant))]);
        // The grants of apps ask first who the client is.
        match text(grant) {
            "authorization_code" | "refresh_token" => assert_eq!(answer.is(401)["error"], "invalid_client"),
            _ => drop(answer.refused(400, "invalid_request")),
        }
    }
    form(&nobody, "/oauth/token", &[("grant_type", "password")]).refused(400, "unsupported_grant_type");
    nobody.post("/oauth/token", &json!({ "grant_type": EXCHANGE })).refused(415, "unsupported_media_type");
    let known = nobody.get("/oauth/jwks").header("etag").to_owned();
    assert_eq!(nobody.call("GET", "/oauth/jwks", &[("if-none-match", &known)], None).status(), 304);
    // What signs is in no answer and in no row.
    let tables = site.server.number("SELECT count(*) FROM signed_tokens");
    assert_eq!(tables, 0);
    assert!(!nobody.get("/oauth/jwks").text().contains("\"d\""));
}

/// R128, R129, R130: verified by the keys alone, told to its own service, passed on by name, and ended by a stop on another host.
#[test]
fn a_service_takes_a_token_and_a_stop_ends_it() {
    let site = Site::new();
    let second = site.server.second();
    let there = |client: &Client| client.at(second.host().base_url());
    let crm = Verifier::new(&site.admin, CRM, "EdDSA");
    let mail = Verifier::new(&site.admin, MAIL, "ES256");
    let token = signed(&exchange(&site.scout.client, site.scout.client.bearer(), CRM));
    let iat = |token: &str| {
        let claims = token.split('.').nth(1).unwrap();
        serde_json::from_slice::<Json>(&URL_SAFE_NO_PAD.decode(claims).unwrap()).unwrap()["iat"].as_i64().unwrap()
    };
    let now = iat(&token);
    let claims = crm.claims(&token, now).unwrap();
    assert_eq!((&claims["sub"], &claims["scope"]), (&json!(site.scout.id), &json!("x.crm.read")));
    assert_eq!(claims["exp"].as_i64().unwrap() - now, 300);
    assert_eq!(crm.claims(&token, now + 300), Err("the end"));
    assert_eq!(
        Verifier { identifier: MAIL, ..Verifier::new(&site.admin, MAIL, "EdDSA") }.claims(&token, now),
        Err("the audience")
    );

    // Forged in each way that a careless service would take, or that a careless server would.
    let (head, rest) = token.split_once('.').unwrap();
    let (body, signature) = rest.split_once('.').unwrap();
    let encoded = |json: Json| URL_SAFE_NO_PAD.encode(json.to_string());
    let kid = crm.keys["keys"][0]["kid"].clone();
    let hs256 = format!("{}.{body}", encoded(json!({ "typ": "at+jwt", "alg": "HS256", "kid": kid })));
    let public = URL_SAFE_NO_PAD.decode(text(&crm.keys["keys"][0]["x"])).unwrap();
    let mac = <Hmac<Sha256> as KeyInit>::new_from_slice(&public).unwrap().chain_update(&hs256).finalize().into_bytes();
    let wider = |name: &str, value: Json| {
        let mut claims = claims.clone();
        claims[name] = value;
        format!("{head}.{}.{signature}", encoded(claims))
    };
    for forged in [
        format!("{}.{body}.", encoded(json!({ "typ": "at+jwt", "alg": "none" }))),
        format!("{hs256}.{}", URL_SAFE_NO_PAD.encode(mac)),
        format!("{}.{body}.{signature}", encoded(json!({ "typ": "at+jwt", "alg": "EdDSA", "kid": "other" }))),
        wider("scope", json!("x.crm.write")),
        wider("aud", json!([CRM, MAIL])),
        wider("aud", json!(format!("{CRM}/"))),
        wider("exp", json!(9_000_000_000_i64)),
    ] {
        assert!(crm.claims(&forged, now).is_err(), "{forged}");
        assert_eq!(introspect(&site.crm.client, &forged), json!({ "active": false }));
        pass(&site.crm.client, &forged, MAIL).refused(400, "invalid_request");
    }

    // Its own service alone, and no other; not this server either.
    assert_eq!(introspect(&there(&site.crm.client), &token)["sub"], site.scout.id.as_str());
    for other in [&site.mail.client, &site.admin] {
        assert_eq!(introspect(other, &token), json!({ "active": false }));
    }
    site.server.with(&token).get("/api/auth/whoami").refused(401, "invalid_token");
    pass(&site.mail.client, &token, MAIL).refused(400, "invalid_request");

    let onward = signed(&pass(&there(&site.crm.client), &token, MAIL));
    // Each host of a server without `public_url` names itself.
    let elsewhere = Verifier { issuer: second.host().base_url().to_owned(), ..mail };
    let passed = elsewhere.claims(&onward, iat(&onward)).unwrap();
    assert_eq!((&passed["sub"], &passed["act"]), (&json!(site.scout.id), &json!({ "sub": site.crm.id })));
    assert_eq!(introspect(&site.mail.client, &onward)["act"], json!({ "sub": site.crm.id }));

    site.admin.post("/api/agents/scout/stop", &json!({})).is(200);
    for (service, token) in [(&site.crm.client, &token), (&site.mail.client, &onward)] {
        assert_eq!(introspect(&there(service), token), json!({ "active": false }));
    }
    let refused = exchange(&there(&site.scout.client), site.scout.client.bearer(), CRM).refused(400, "invalid_request");
    assert_eq!((&refused["reason"], &refused["error_description"]), (&json!("agent_stopped"), &refused["detail"]));
    // A person's credential is none that services take.
    let refused = exchange(&site.admin, site.admin.bearer(), CRM).refused(400, "invalid_request");
    assert_eq!(refused["reason"], "agent_required");
    assert!(!refused.to_string().contains(site.admin.bearer()), "{refused}");
}

/// R128: 16 callers on two hosts, and a stop in the middle of it: no exchange that begins after its answer gives anything.
#[test]
fn no_token_is_made_after_a_stop() {
    let site = Site::new();
    let second = site.server.second();
    let has_stopped = AtomicBool::new(false);
    let made = at_once(16, |number| {
        if number == 0 {
            until("eight tokens", || (site.server.number("SELECT count(*) FROM signed_tokens") >= 8).then_some(()));
            // Among so many writers it may have to come again.
            let stop = || site.admin.post("/api/agents/scout/stop", &json!({})).status();
            until("the stop", || (stop() == 200).then_some(()));
            has_stopped.store(true, Ordering::SeqCst);
            return 0;
        }
        let at =
            if number % 2 == 0 { site.scout.client.clone() } else { site.scout.client.at(second.host().base_url()) };
        let mut made = 0;
        loop {
            let is_after = has_stopped.load(Ordering::SeqCst);
            let answer = exchange(&at, site.scout.client.bearer(), CRM);
            match answer.status() {
                200 => assert!(!is_after, "made after the stop: {}", answer.text()),
                503 => {}
                _ => assert_eq!(answer.refused(400, "invalid_request")["reason"], "agent_stopped"),
            }
            made += i64::from(answer.status() == 200);
            if is_after {
                return made;
            }
        }
    });
    let stored = site.server.number("SELECT count(*) FROM signed_tokens");
    assert_eq!(made.into_iter().sum::<i64>(), stored);
    assert!(stored >= 8, "{stored}");
}

/// R126: with two secrets both are published and the first one signs; a token of the old one goes on, and is told as before.
#[test]
fn a_new_secret_takes_over_without_a_pause() {
    let site = Site::new();
    let token = signed(&exchange(&site.scout.client, site.scout.client.bearer(), CRM));
    let next = Server::settings().variable("signing_key", &format!("{NEW},{OLD}")).on(site.server.state()).start();
    let both = next.nobody().get("/oauth/jwks").is(200);
    let old = site.server.nobody().get("/oauth/jwks").is(200);
    let kids = |set: &Json| set["keys"].as_array().unwrap().iter().map(|key| key["kid"].clone()).collect::<Vec<_>>();
    assert_eq!((kids(&both).len(), &kids(&both)[2..]), (4, &kids(&old)[..]));
    let at = next.host().base_url();
    let newer = signed(&exchange(&site.scout.client.at(at), site.scout.client.bearer(), CRM));
    let kid = |token: &str| {
        let head = token.split('.').next().unwrap();
        serde_json::from_slice::<Json>(&URL_SAFE_NO_PAD.decode(head).unwrap()).unwrap()["kid"].clone()
    };
    assert_eq!((kid(&newer), kid(&token)), (kids(&both)[0].clone(), kids(&old)[0].clone()));
    for token in [&token, &newer] {
        assert_eq!(introspect(&site.crm.client.at(at), token)["active"], true);
    }
    let bare = Server::settings().on(site.server.state()).start();
    assert_eq!(bare.nobody().get("/oauth/jwks").is(200), json!({ "keys": [] }));
    exchange(&site.scout.client.at(bare.host().base_url()), site.scout.client.bearer(), CRM)
        .refused(503, "signing_disabled");
}

/// R168: a page of any origin gets tokens at the endpoints of OAuth and reads their refusals, without cookies; no other path lets it in.
#[test]
fn pages_of_every_origin_get_tokens_and_nothing_else() {
    let site = Site::new();
    let nobody = site.server.nobody();
    let page = [("origin", "https://app.example"), ("sec-fetch-site", "cross-site")];
    let ask = |method: &str, path: &str, asked: &str| {
        let headers = [&page[..], &[("access-control-request-method", asked)]].concat();
        nobody.call(method, path, &headers, None)
    };
    let open = [
        ("POST", "/oauth/token"),
        ("POST", "/oauth/revoke"),
        ("GET", "/oauth/jwks"),
        ("GET", "/.well-known/oauth-authorization-server"),
        ("GET", "/.well-known/openid-configuration"),
        ("GET", "/.well-known/oauth-protected-resource"),
        ("GET", "/.well-known/oauth-protected-resource/mcp"),
    ];
    for (method, path) in open {
        let preflight = ask("OPTIONS", path, method);
        assert_eq!((preflight.status(), preflight.text()), (204, String::new()), "{path}");
        assert_eq!(preflight.header("access-control-allow-origin"), "*", "{path}");
        assert_eq!(preflight.header("access-control-allow-methods"), method, "{path}");
        let headers = preflight.header("access-control-allow-headers");
        assert_eq!(headers, "authorization, content-type, dpop, mcp-protocol-version", "{path}");
        // Of an error too, or the page would not know it from a network that failed.
        let answer = ask(method, path, "");
        let expected: &[u16] = if method == "GET" { &[200] } else { &[400, 401] };
        assert!(expected.contains(&answer.status()), "{path}: {}", answer.text());
        assert_eq!(answer.header("access-control-allow-origin"), "*", "{path}");
        assert!(answer.header("access-control-expose-headers").contains("www-authenticate"), "{path}");
    }
    // A token, with the page's own headers.
    let form = [&page[..], &[("content-type", "application/x-www-form-urlencoded")]].concat();
    let asked = oauth::exchange(site.scout.client.bearer(), CRM);
    let got = nobody.call("POST", "/oauth/token", &form, Some(asked.as_bytes()));
    assert_eq!((got.status(), got.header("access-control-allow-origin")), (200, "*"), "{}", got.text());
    assert_eq!(got.header("access-control-allow-credentials"), "");

    // Nowhere else: neither a preflight nor an answer; and a change by another site's page is refused as before.
    for path in [
        "/api/auth/whoami",
        "/api/agents",
        "/auth/token",
        "/auth/device/code",
        "/auth/introspect",
        "/auth/verify",
        "/oauth/authorize",
        "/mcp",
        "/",
    ] {
        for method in ["OPTIONS", "GET"] {
            let answer = ask(method, path, "GET");
            assert_eq!(answer.header("access-control-allow-origin"), "", "{method} {path}");
            assert_eq!(answer.header("access-control-allow-methods"), "", "{method} {path}");
        }
    }
    let sign_in = nobody.call("POST", "/auth/token", &page, Some(b"{}"));
    sign_in.refused(403, "cross_site_request");
    // The cookie of a session is nothing there, and no preflight asks for it.
    let cookie = format!("accredit={}", site.admin.bearer());
    let with_cookie = [&form[..], &[("cookie", cookie.as_str())]].concat();
    let revoke = nobody.call("POST", "/oauth/revoke", &with_cookie, Some(b"token=x"));
    assert_eq!(revoke.is(401)["error"], "invalid_client");
    site.admin.get("/api/auth/whoami").is(200);
}
