//! Workload identity over HTTP: an issuer that speaks TLS and signs with keys of its own, the component that fetches them, two hosts.

#![expect(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "helpers of tests: whatever is not as expected ends the test"
)]

use std::time::SystemTime;

use serde_json::{Value as Json, json};
use tests::{
    Answer, Client, Server, at_once,
    host::until_logged,
    oauth::{CALLBACK, VERIFIER, code, encoded, request},
    provider::{EvilProvider, Fault, Signed, public_key, token},
    server::text,
};

const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
const GRANT: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
const PATH: &str = "/api/agents/scout/federated-credentials";
const SUBJECT: &str = "repo:acme/shop:ref:refs/heads/main";
const AUDIENCE: &str = "https://accredit.example.com";
const GIVEN: &str = "SELECT count(*) FROM credentials WHERE federated_id IS NOT NULL";

/// An agent that trusts the workloads of an issuer.
struct Site {
    issuer: EvilProvider,
    server: Server,
    admin: Client,
    id: String,
}

impl Site {
    fn new() -> Self {
        let issuer = EvilProvider::start();
        let server = Server::settings()
            .variable("outbound_hosts", &issuer.address())
            .flag("--runtime-config-file", &issuer.runtime_config().to_string_lossy())
            .flag("--allow-private", &issuer.address())
            .start();
        let admin = server.bootstrap();
        server.agent(&admin, "scout", &["agents.read", "ui.notify"]);
        let body = json!({
            "name": "ci", "issuer": issuer.issuer(), "subject": "repo:acme/*:ref:refs/heads/main", "audience": AUDIENCE,
            "scope": ["agents.read"], "claims": { "environment": "prod" },
        });
        let id = text(&admin.post(PATH, &body).is(201)["id"]).to_owned();
        Self { issuer, server, admin, id }
    }

    fn claims(&self, id: &str) -> Json {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
        json!({
            "iss": self.issuer.issuer(), "sub": SUBJECT, "aud": [AUDIENCE], "environment": "prod", "jti": id,
            "iat": now, "nbf": now, "exp": now + 600,
        })
    }

    fn assertion(&self, id: &str, key: &str) -> String {
        token(&self.claims(id), &Signed::By(key))
    }

    fn form(&self, assertion: &str) -> String {
        encoded(&[("grant_type", GRANT), ("client_id", &self.id), ("assertion", assertion)])
    }

    fn send(&self, assertion: &str) -> Answer {
        self.server.nobody().form("/oauth/token", &self.form(assertion))
    }

    /// As if a minute had passed since the keys were last asked for.
    fn a_minute_later(&self) {
        self.server.execute("UPDATE key_sets SET tried_at = tried_at - 61000");
    }
}

/// R169, R170, R171: from the issuer's discovery document to a credential of the agent, which ends with the trust.
#[test]
fn a_workload_is_its_agent_without_a_secret() {
    let site = Site::new();
    assert!(site.issuer.asked().is_empty(), "nobody has waited for the keys");
    let got = site.send(&site.assertion("1", "one")).is(200);
    assert_eq!(site.issuer.asked(), ["/.well-known/openid-configuration", "/keys"]);
    assert_eq!((&got["token_type"], &got["scope"]), (&json!("Bearer"), &json!("agents.read")));
    let workload = site.server.with(text(&got["access_token"]));
    let who = workload.get("/api/auth/whoami").is(200);
    assert_eq!((&who["agent_name"], &who["scope"]), (&json!("scout"), &json!(["agents.read"])));
    workload.get("/api/agents/scout").is(200);
    workload.post("/api/ui/notify", &json!({ "title": "t", "body": "b" })).refused(403, "scope_denied");

    // What is wrong, in the form of OAuth.
    let answer = site.send(&site.assertion("1", "one"));
    let refusal = answer.refused(400, "invalid_grant");
    assert_eq!(refusal["error_description"], "The assertion is not accepted: it was sent before.");
    let wrong = |change: (&str, Json)| {
        let mut claims = site.claims("2");
        claims[change.0] = change.1;
        token(&claims, &Signed::By("one"))
    };
    for assertion in [
        wrong(("sub", json!("repo:evil/shop:ref:refs/heads/main"))),
        wrong(("sub", json!("repo:acme/a/shop:ref:refs/heads/main"))),
        wrong(("environment", json!("test"))),
        wrong(("aud", json!(format!("{AUDIENCE}/")))),
        wrong(("iss", json!(format!("{}/", site.issuer.issuer())))),
        wrong(("exp", json!(1000))),
        token(&site.claims("2"), &Signed::As(json!({ "alg": "none" }), "")),
        token(&site.claims("2"), &Signed::As(json!({ "alg": "HS256", "kid": "one" }), "AAAA")),
        token(&site.claims("2"), &Signed::As(json!({ "alg": "ES256", "kid": "one" }), &"A".repeat(86))),
    ] {
        site.send(&assertion).refused(400, "invalid_grant");
    }
    assert!(site.issuer.asked().is_empty(), "the keys are known");
    assert_eq!(site.server.number(GIVEN), 1);

    site.admin.post("/api/agents/scout/stop", &json!({})).is(200);
    workload.get("/api/agents/scout").refused(403, "agent_stopped");
    assert_eq!(site.send(&site.assertion("3", "one")).refused(400, "invalid_grant")["reason"], "agent_stopped");
    site.admin.post("/api/agents/scout/start", &json!({})).is(200);
    site.send(&site.assertion("3", "one")).is(200);
    let shown = site.admin.get(&format!("{PATH}/{}", site.id)).is(200);
    assert_eq!((&shown["live_credentials"], &shown["keys_failure"]), (&json!(2), &Json::Null));
    let answer = site.admin.delete(&format!("{PATH}/{}", site.id));
    answer.is(204);
    let closure = site.admin.get(&format!("/api/closures/{}", answer.header("x-accredit-closure"))).is(200);
    assert_eq!((&closure["status"], &closure["ended"]["keys"]), (&json!("closed"), &json!(2)));
    workload.get("/api/auth/whoami").refused(401, "token_revoked");
    site.send(&site.assertion("4", "one")).refused(401, "invalid_client");
    let metadata = site.server.nobody().get("/.well-known/oauth-authorization-server").is(200);
    assert!(metadata["grant_types_supported"].as_array().unwrap().contains(&json!(GRANT)), "{metadata}");
}

/// R391: what GitHub and Kubernetes sign with: RS256, by the key that `kid` names of a set that has others too, and once.
#[test]
fn an_assertion_that_is_signed_by_rs256_is_taken_once() {
    let site = Site::new();
    site.issuer.has_keys(&["one", "rsa-2", "rsa"]);
    let assertion = site.assertion("1", "rsa");
    let got = site.send(&assertion).is(200);
    let who = site.server.with(text(&got["access_token"])).get("/api/auth/whoami").is(200);
    assert_eq!((&who["agent_name"], &who["scope"]), (&json!("scout"), &json!(["agents.read"])));
    let refused = site.send(&assertion).refused(400, "invalid_grant");
    assert_eq!(refused["error_description"], "The assertion is not accepted: it was sent before.");
    let (signed, signature) = assertion.rsplit_once('.').unwrap();
    let another = site.assertion("2", "rsa");
    let claims = site.claims("2");
    let rs256 =
        |kid: &str, signature: &str| token(&claims, &Signed::As(json!({ "alg": "RS256", "kid": kid }), signature));
    for bad in [
        // The signature of another assertion, none, and ones that are too short or wrong.
        format!("{}.{signature}", another.rsplit_once('.').unwrap().0),
        format!("{signed}."),
        rs256("rsa", "AAAA"),
        rs256("rsa", &"A".repeat(342)),
        // Other ways to sign by the same key are none here.
        token(&claims, &Signed::As(json!({ "alg": "PS256", "kid": "rsa" }), signature)),
        token(&claims, &Signed::As(json!({ "alg": "RS512", "kid": "rsa" }), signature)),
        token(&claims, &Signed::As(json!({ "alg": "HS256", "kid": "rsa" }), &"A".repeat(43))),
    ] {
        site.send(&bad).refused(400, "invalid_grant");
    }
    // A key of another kind is none that could have signed: the issuer may have one of that name since.
    site.send(&rs256("one", signature)).refused(503, "key_set_unavailable");
    assert_eq!(site.server.number(GIVEN), 1);
    site.send(&another).is(200);
    // Keys that an admin has pasted, as for a cluster that this server cannot reach.
    let body = json!({
        "name": "cluster", "issuer": "https://kubernetes.default.svc.cluster.local", "subject": "system:serviceaccount:prod:scout",
        "audience": AUDIENCE, "jwks": { "keys": [public_key("rsa")] },
    });
    let id = text(&site.admin.post(PATH, &body).is(201)["id"]).to_owned();
    let mut claims = site.claims("3");
    (claims["iss"], claims["sub"]) = (body["issuer"].clone(), body["subject"].clone());
    let form = |key: &str| {
        let assertion = token(&claims, &Signed::By(key));
        encoded(&[("grant_type", GRANT), ("client_id", &id), ("assertion", &assertion)])
    };
    let nobody = site.server.nobody();
    nobody.form("/oauth/token", &form("one")).refused(400, "invalid_grant");
    nobody.form("/oauth/token", &form("rsa")).is(200);
    nobody.form("/oauth/token", &form("rsa")).refused(400, "invalid_grant");
    assert_eq!(site.server.number(GIVEN), 3);
}

/// R424: keys at a private address are not fetched, although the operator's list has the name.
#[test]
fn keys_at_a_private_address_are_not_fetched() {
    let issuer = EvilProvider::start();
    let server = Server::settings()
        .variable("outbound_hosts", &issuer.address())
        .flag("--runtime-config-file", &issuer.runtime_config().to_string_lossy())
        .start();
    let admin = server.bootstrap();
    server.agent(&admin, "scout", &["agents.read"]);
    let body = json!({ "name": "ci", "issuer": issuer.issuer(), "subject": SUBJECT, "audience": AUDIENCE });
    let id = text(&admin.post(PATH, &body).is(201)["id"]).to_owned();
    let site = Site { issuer, server, admin, id };
    site.send(&site.assertion("1", "one")).refused(503, "key_set_unavailable");
    assert!(site.issuer.asked().is_empty());
    until_logged(site.server.host(), "destination IP address is prohibited");
}

/// R169: a key that is not known has the set fetched again, once a minute; an issuer that fails is told as an outage, and nothing of it is
/// believed.
#[test]
fn keys_are_fetched_again_and_an_outage_is_told() {
    let site = Site::new();
    site.send(&site.assertion("1", "one")).is(200);
    site.issuer.has_keys(&["one", "two"]);
    site.issuer.asked();
    // R371: a key that its issuer has made since is no reason to give up; one that it has not made is.
    let answer = site.send(&site.assertion("2", "two"));
    answer.refused(503, "key_set_unavailable");
    assert!((1..=60).contains(&answer.header("retry-after").parse::<u32>().unwrap()), "{answer:?}");
    assert!(site.issuer.asked().is_empty(), "they were fetched a moment ago");
    site.issuer.has_keys(&["one"]);
    site.a_minute_later();
    site.send(&site.assertion("2", "two")).refused(400, "invalid_grant");
    site.issuer.has_keys(&["one", "two"]);
    site.issuer.asked();
    site.a_minute_later();
    site.send(&site.assertion("2", "two")).is(200);
    assert_eq!(site.issuer.asked().len(), 2);

    for (path, fault) in [
        ("/keys", Fault::Status(500)),
        ("/keys", Fault::Redirect),
        ("/keys", Fault::Huge),
        ("/keys", Fault::Broken),
        ("/.well-known/openid-configuration", Fault::Status(404)),
        ("/.well-known/openid-configuration", Fault::Redirect),
    ] {
        site.server.execute("DELETE FROM key_sets");
        site.issuer.fails(path, Some(fault));
        let answer = site.send(&site.assertion("3", "one"));
        answer.refused(503, "key_set_unavailable");
        assert!(!answer.header("retry-after").is_empty(), "{fault:?}");
        assert!(site.issuer.asked().iter().all(|path| !path.ends_with("/moved")), "{fault:?}");
        site.issuer.fails(path, None);
    }
    for (name, value) in [
        ("jwks_uri", json!("https://elsewhere.example.com/keys")),
        ("jwks_uri", json!("https://169.254.169.254/keys")),
        ("jwks_uri", json!("http://localhost/keys")),
        ("issuer", json!("https://elsewhere.example.com")),
    ] {
        site.server.execute("DELETE FROM key_sets");
        site.issuer.says(name, value);
        site.send(&site.assertion("3", "one")).refused(503, "key_set_unavailable");
        site.issuer.says("jwks_uri", json!(format!("{}/keys", site.issuer.issuer())));
    }
    site.issuer.says("issuer", json!(site.issuer.issuer()));
    site.a_minute_later();
    site.send(&site.assertion("3", "one")).is(200);
    // It takes no stranger: a caller finds nothing to fetch.
    site.issuer.asked();
    assert_eq!(site.server.nobody().post("/internal/key-sets", &Json::Null).status(), 204);
    assert!(site.issuer.asked().is_empty());
}

/// R169, R170: sixteen requests at once over two hosts: the keys are fetched once, and one assertion gives one credential.
#[test]
fn sixteen_at_once_over_two_hosts_get_one_credential() {
    let site = Site::new();
    let second = site.server.second();
    let send = |assertion: &str| {
        let form = site.form(assertion);
        let answers = at_once(16, |number| {
            let at = if number % 2 == 0 { &site.server } else { &second };
            site.server.nobody().at(at.host().base_url()).form("/oauth/token", &form)
        });
        for answer in &answers {
            assert!(matches!(answer.status(), 200 | 400 | 503), "{answer:?}");
        }
        answers.iter().filter(|answer| answer.status() == 200).count()
    };
    assert_eq!(send(&site.assertion("1", "one")), 1);
    assert_eq!(site.issuer.asked().iter().filter(|path| *path == "/keys").count(), 1);
    for id in ["2", "3"] {
        assert_eq!(send(&site.assertion(id, "one")), 1);
    }
    assert_eq!(site.server.number(GIVEN), 3);
}

/// R172: an OAuth client proves itself by a key that is fetched from where it serves its set; over two hosts an assertion is taken once.
#[test]
fn a_client_proves_itself_by_a_key_that_is_fetched() {
    let site = Site::new();
    let body = json!({
        "name": "Planner", "redirect_uris": [CALLBACK], "jwks_uri": format!("{}/keys", site.issuer.issuer()),
    });
    let made = site.admin.post("/api/oauth/clients", &body).is(201);
    assert_eq!((&made["token_endpoint_auth_method"], &made["client_secret"]), (&json!("private_key_jwt"), &Json::Null));
    let id = text(&made["id"]).to_owned();
    let assertion = |number: &str, key: &str| {
        let mut claims = site.claims(number);
        (claims["iss"], claims["sub"], claims["aud"]) = (json!(id), json!(id), json!([site.server.host().base_url()]));
        token(&claims, &Signed::By(key))
    };
    let decided = site.admin.post("/api/oauth/authorize", &json!({ "request": request(&id) })).is(200);
    let trade = |assertion: &str| {
        encoded(&[
            ("grant_type", "authorization_code"),
            ("code", &code(&decided)),
            ("redirect_uri", CALLBACK),
            ("code_verifier", VERIFIER),
            ("client_id", &id),
            ("client_assertion_type", ASSERTION_TYPE),
            ("client_assertion", assertion),
        ])
    };
    let nobody = site.server.nobody();
    nobody.form("/oauth/token", &trade(&assertion("1", "two"))).refused(401, "invalid_client");
    assert_eq!(site.issuer.asked(), ["/keys"]);
    let got = nobody.form("/oauth/token", &trade(&assertion("1", "one"))).is(200);
    assert!(site.issuer.asked().is_empty(), "the keys are known");
    site.server.with(text(&got["access_token"])).get("/api/auth/whoami").is(200);
    let refresh = |assertion: &str| {
        encoded(&[
            ("grant_type", "refresh_token"),
            ("refresh_token", text(&got["refresh_token"])),
            ("client_assertion_type", ASSERTION_TYPE),
            ("client_assertion", assertion),
        ])
    };
    nobody.form("/oauth/token", &refresh(&assertion("1", "one"))).refused(401, "invalid_client");
    let form = refresh(&assertion("2", "one"));
    let answers = at_once(16, |_| nobody.form("/oauth/token", &form));
    for answer in &answers {
        assert!(matches!(answer.status(), 200 | 401 | 503), "{answer:?}");
    }
    assert_eq!(answers.iter().filter(|answer| answer.status() == 200).count(), 1);
}

/// R566: a client that is known by its document, as assistants of large providers are, proves itself by a key that is fetched from where the
/// document says; without one it gets nothing.
#[test]
fn a_client_of_a_document_proves_itself_by_a_key_that_is_fetched() {
    let site = Site::new();
    let id = format!("{}/.well-known/openid-configuration", site.issuer.issuer());
    for (name, value) in [
        ("client_id", json!(id)),
        ("client_name", json!("Assistant")),
        ("redirect_uris", json!([CALLBACK])),
        ("token_endpoint_auth_method", json!("private_key_jwt")),
        ("token_endpoint_auth_signing_alg", json!("RS256")),
    ] {
        site.issuer.says(name, value);
    }
    let read =
        site.admin.get(&format!("/api/oauth/documents?client_id={}", encoded(&[("", &id)]).trim_start_matches('=')));
    assert_eq!(read.is(200)["name"], "Assistant");
    let decided = site.admin.post("/api/oauth/authorize", &json!({ "request": request(&id) })).is(200);
    let form = |proof: &[(&str, &str)]| {
        let code = code(&decided);
        let mut form = vec![
            ("grant_type", "authorization_code"),
            ("code", &*code),
            ("redirect_uri", CALLBACK),
            ("code_verifier", VERIFIER),
            ("client_id", &*id),
        ];
        form.extend(proof);
        encoded(&form)
    };
    let mut claims = site.claims("1");
    (claims["iss"], claims["sub"], claims["aud"]) = (json!(id), json!(id), json!(site.server.host().base_url()));
    let assertion = token(&claims, &Signed::By("one"));
    site.issuer.asked();
    let nobody = site.server.nobody();
    nobody.form("/oauth/token", &form(&[])).refused(401, "invalid_client");
    assert!(site.issuer.asked().is_empty());
    let proof = [("client_assertion_type", ASSERTION_TYPE), ("client_assertion", &*assertion)];
    let got = nobody.form("/oauth/token", &form(&proof)).is(200);
    assert_eq!(site.issuer.asked(), ["/keys"]);
    site.server.with(text(&got["access_token"])).get("/api/auth/whoami").is(200);
}

/// R389: a workload of SPIFFE, by an SVID that does not say who has signed it; the keys of a trust domain speak for that domain alone.
#[test]
fn a_workload_of_spiffe_need_not_say_who_has_signed() {
    let site = Site::new();
    let domain = "spiffe://acme.example";
    let body = json!({
        "name": "spire", "issuer": domain, "subject": "spiffe://acme.example/ns/*/sa/api", "audience": AUDIENCE,
        "jwks_uri": format!("{}/keys", site.issuer.issuer()), "single_use": false,
    });
    let id = text(&site.admin.post(PATH, &body).is(201)["id"]).to_owned();
    let send = |client: &str, changes: &[(&str, Json)]| {
        let mut claims = site.claims("1");
        claims.as_object_mut().unwrap().retain(|name, _| ["aud", "exp"].contains(&name.as_str()));
        claims["sub"] = json!("spiffe://acme.example/ns/prod/sa/api");
        for (name, value) in changes {
            claims[*name] = value.clone();
        }
        let assertion = token(&claims, &Signed::By("one"));
        let form = encoded(&[("grant_type", GRANT), ("client_id", client), ("assertion", &assertion)]);
        site.server.nobody().form("/oauth/token", &form)
    };
    let got = send(&id, &[]).is(200);
    assert_eq!(site.issuer.asked(), ["/keys"]);
    let who = site.server.with(text(&got["access_token"])).get("/api/auth/whoami").is(200);
    assert_eq!(who["agent_name"], "scout");
    // Once more, as SPIRE hands it out for a while; and with an issuer that is the domain.
    send(&id, &[]).is(200);
    send(&id, &[("iss", json!(domain))]).is(200);
    let before = site.server.number(GIVEN);
    for (changes, why) in [
        (vec![("iss", json!(site.issuer.issuer()))], "its iss is another issuer"),
        (vec![("iss", json!(""))], "its iss is another issuer"),
        (vec![("sub", json!("spiffe://evil.example/ns/prod/sa/api"))], "its sub is of another trust domain"),
        (vec![("sub", json!("spiffe://acme.example/ns/prod/sa/db"))], "its sub is not trusted"),
        (vec![("aud", json!(["https://other.example.com"]))], "its aud is another audience"),
    ] {
        let refused = send(&id, &changes).refused(400, "invalid_grant");
        assert_eq!(refused["error_description"], format!("The assertion is not accepted: {why}."));
    }
    // Every other issuer has to be named.
    let refused = send(&site.id, &[("sub", json!(SUBJECT)), ("environment", json!("prod"))]);
    let refused = refused.refused(400, "invalid_grant");
    assert_eq!(refused["error_description"], "The assertion is not accepted: its iss is another issuer.");
    assert_eq!(site.server.number(GIVEN), before);
}
