use std::cell::Cell;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use common::secret::Kind;
use http::Request;
use serde_json::{Value as Json, Value::Null, json};
use service::{
    body::RequestBody,
    settings::Settings,
    testing::{Actor, Answer, TestApp, at_once},
};
use store::{
    key_set::Keys,
    oauth_document::{self, Document},
};

use crate::{
    oauth::{
        clients::ASSERTION_TYPE,
        testing::{
            CALLBACK, TOKEN, allowed, client, encoded, form_with, jwk, proof, public, refresh, request, signed,
            thumbprint, trade,
        },
    },
    with_neighbours,
};

const WHOAMI: (&str, &str) = ("GET", "/api/auth/whoami");
const CRM: &str = "https://crm.example.com";
const SECRET: &str = "a-secret-of-the-operator-that-is-long-enough";

/// A client with the key `a`, let in by Ada.
struct Site {
    t: TestApp,
    ada: Actor,
    id: String,
}

impl Site {
    async fn new() -> Self {
        let settings = Settings { signing_keys: common::signing::keys(SECRET).unwrap(), ..Settings::default() };
        let t = TestApp::with(with_neighbours(), settings);
        let ada = t.ada().await;
        let made = client(&t, &ada, false).await;
        Self { t, ada, id: made["id"].as_str().unwrap().to_owned() }
    }

    /// Sends a form to the token endpoint with these proofs.
    async fn form(&self, proofs: &[&str], body: &str) -> Answer {
        let mut request = Request::post(TOKEN)
            .header("host", "127.0.0.1:3000")
            .header("content-type", "application/x-www-form-urlencoded")
            .header("spin-client-addr", "192.0.2.7:1");
        for proof in proofs {
            request = request.header("dpop", *proof);
        }
        self.t.send(request.body(RequestBody::from(body.to_owned())).unwrap()).await
    }

    /// A proof of a key for the token endpoint.
    fn proof(&self, key: &str) -> String {
        proof(&self.t, key, ("POST", TOKEN), None, &[])
    }

    async fn trade(&self, key: &str, asked: &[(&str, &str)]) -> Answer {
        let code = allowed(&self.t, &self.ada, &request(&self.id, asked)).await;
        self.form(&[&self.proof(key)], &trade(&self.id, &code, &[])).await
    }

    /// An access token of this server that is bound to a key.
    async fn bound(&self, key: &str) -> String {
        let got = self.trade(key, &[]).await.is(200);
        assert_eq!(got["token_type"], "DPoP");
        got["access_token"].as_str().unwrap().to_owned()
    }

    async fn ask(&self, (method, path): (&str, &str), scheme: &str, token: &str, proofs: &[&str]) -> Answer {
        let authorization = format!("{scheme} {token}");
        let mut headers = vec![("authorization", authorization.as_str())];
        headers.extend(proofs.iter().map(|proof| ("dpop", *proof)));
        self.t.call(method, path, &headers, Null).await
    }

    fn for_whoami(&self, key: &str, token: &str, changes: &[(&str, Json)]) -> String {
        proof(&self.t, key, WHOAMI, Some(token), changes)
    }

    async fn refresh(&self, proofs: &[&str], token: &Json) -> Answer {
        let pairs =
            [("grant_type", "refresh_token"), ("client_id", &*self.id), ("refresh_token", token.as_str().unwrap())];
        self.form(proofs, &encoded(&pairs)).await
    }
}

/// R210: a token that was asked for with a proof is worth something with proofs of the same key alone.
#[tokio::test]
async fn a_bound_token_needs_a_proof_of_its_key() {
    let site = Site::new().await;
    let token = site.bound("a").await;
    let good = site.for_whoami("a", &token, &[]);
    let answer = site.ask(WHOAMI, "DPoP", &token, &[&good]).await;
    assert_eq!(answer.is(200)["credential"]["kind"], "pat");
    assert!(site.ask(WHOAMI, "dpop", &token, &[&site.for_whoami("a", &token, &[])]).await.status == 200);

    let answer = site.ask(WHOAMI, "Bearer", &token, &[]).await;
    assert!(answer.refused(401, "invalid_token")["fix"].as_str().unwrap().contains("DPoP"));
    let challenge = "DPoP realm=\"accredit\", error=\"invalid_token\", algs=\"ES256 EdDSA\"";
    assert_eq!(answer.header("www-authenticate"), challenge);
    // Nor with a proof beside it.
    let proved = site.for_whoami("a", &token, &[]);
    site.ask(WHOAMI, "Bearer", &token, &[&proved]).await.refused(401, "invalid_token");
    let answer = site.ask(WHOAMI, "DPoP", &token, &[]).await;
    answer.refused(401, "invalid_dpop_proof");
    let challenge = "DPoP realm=\"accredit\", error=\"invalid_dpop_proof\", algs=\"ES256 EdDSA\"";
    assert_eq!(answer.header("www-authenticate"), challenge);
    let other = site.for_whoami("b", &token, &[]);
    site.ask(WHOAMI, "DPoP", &token, &[&other]).await.refused(401, "invalid_dpop_proof");
    // Each is counted as a refusal of that caller, for the trail.
    let counted = site.t.texts("SELECT slug || ' ' || count FROM refusals ORDER BY slug").await;
    assert_eq!(counted, ["invalid_dpop_proof 2", "invalid_token 2"]);
    // A session is bound to nothing, and no proof makes it so.
    let session = site.ada.token.clone();
    let proved = site.for_whoami("a", &session, &[]);
    let answer = site.ask(WHOAMI, "DPoP", &session, &[&proved]).await;
    answer.refused(401, "invalid_token");
    assert!(answer.header("www-authenticate").starts_with("Bearer "));
    // A token that is unknown is that, whatever comes with it.
    let unknown = token.replace(&token[10..14], "AAAA");
    site.ask(WHOAMI, "DPoP", &unknown, &[&good]).await.refused(401, "invalid_token");
}

/// R211: RFC 9449, section 4.3, one rule after the other, at a route and where a token is asked for.
#[tokio::test]
async fn every_rule_of_the_standard_is_checked() {
    let site = Site::new().await;
    let token = site.bound("a").await;
    let now = site.t.now().millis() / 1000;
    let mut private = jwk("a");
    private["d"] = json!("AQAB");
    let rules: &[(&str, Json, &str)] = &[
        ("typ", json!("jwt"), "typ"),
        ("typ", Null, "typ"),
        ("alg", json!("none"), "alg"),
        ("alg", json!("HS256"), "alg"),
        ("alg", json!("EdDSA"), "no key of its alg"),
        ("jwk", Null, "no jwk"),
        ("jwk", private, "private key"),
        ("jwk", jwk("b"), "signature"),
        ("jwk", json!({ "kty": "oct", "k": "AQAB" }), "private key"),
        ("htm", json!("DELETE"), "htm"),
        ("htm", json!("get"), "htm"),
        ("htm", Null, "htm"),
        ("htu", json!("http://127.0.0.1:3000/api/agents"), "htu"),
        ("htu", json!("https://127.0.0.1:3000/api/auth/whoami"), "htu"),
        ("htu", json!("http://127.0.0.1:3001/api/auth/whoami"), "htu"),
        ("htu", json!("http://evil.example/api/auth/whoami"), "htu"),
        ("htu", json!("/api/auth/whoami"), "htu"),
        ("htu", Null, "htu"),
        ("ath", Null, "ath"),
        ("ath", json!("AAAA"), "ath"),
        ("iat", json!(now - 60), "ago"),
        ("iat", json!(now + 61), "ahead"),
        ("iat", json!("now"), "iat"),
        ("iat", Null, "iat"),
        ("exp", json!(now), "exp"),
        ("exp", json!("later"), "exp"),
        ("nbf", json!(now + 61), "nbf"),
        ("jti", Null, "jti"),
        ("jti", json!(""), "jti"),
        ("long", json!("a".repeat(4_096)), "longer"),
    ];
    for (name, value, why) in rules {
        let changed = site.for_whoami("a", &token, &[(name, value.clone())]);
        let refused = site.ask(WHOAMI, "DPoP", &token, &[&changed]).await.refused(401, "invalid_dpop_proof");
        assert!(refused["detail"].as_str().unwrap().contains(why), "{name} {why}: {refused}");
        if *name == "ath" {
            continue;
        }
        let code = allowed(&site.t, &site.ada, &request(&site.id, &[])).await;
        let changed = proof(&site.t, "a", ("POST", TOKEN), None, &[(name, value.clone())]);
        let answer = site.form(&[&changed], &trade(&site.id, &code, &[])).await;
        let refused = answer.refused(400, "invalid_dpop_proof");
        assert!(refused["error_description"].as_str().unwrap().contains(why), "{name} {why}: {refused}");
        assert_eq!(answer.header("www-authenticate"), "");
        // Nothing was spent.
        site.form(&[&site.proof("a")], &trade(&site.id, &code, &[])).await.is(200);
    }
    for (name, value) in [
        ("htu", json!("HTTP://127.0.0.1:3000/api/auth/whoami?a=b#c")),
        ("htu", json!("http://127.0.0.1:3000/api/auth/who%61mi")),
        ("iat", json!(now - 59)),
        ("iat", json!(now + 60)),
    ] {
        let changed = site.for_whoami("a", &token, &[(name, value.clone())]);
        assert!(site.ask(WHOAMI, "DPoP", &token, &[&changed]).await.status == 200, "{name} {value}");
    }
    let queried = site.for_whoami("a", &token, &[("htu", json!("http://127.0.0.1:3000/api/auth/doctor"))]);
    assert!(
        site.ask(("GET", "/api/auth/doctor?expect=agents.read"), "DPoP", &token, &[&queried]).await.status == 200,
        "without its query"
    );
    let two = [site.for_whoami("a", &token, &[]), site.for_whoami("a", &token, &[])];
    let refused = site.ask(WHOAMI, "DPoP", &token, &[&two[0], &two[1]]).await.refused(401, "invalid_dpop_proof");
    assert!(refused["detail"].as_str().unwrap().contains("more than one"), "{refused}");
    let joined = two.join(", ");
    site.ask(WHOAMI, "DPoP", &token, &[&joined]).await.refused(401, "invalid_dpop_proof");
    for text in ["", "a", "a.b.c", "\u{e9}"] {
        site.ask(WHOAMI, "DPoP", &token, &[text]).await.refused(401, "invalid_dpop_proof");
    }
    // The proof of one token is none of another one's, of the same key.
    let second = site.bound("a").await;
    let first = site.for_whoami("a", &token, &[]);
    site.ask(WHOAMI, "DPoP", &second, &[&first]).await.refused(401, "invalid_dpop_proof");
}

/// R211: a proof is taken once, also if twenty send it at once; and the window in which it is known ends when it does.
#[tokio::test]
async fn a_proof_is_taken_once() {
    let site = Site::new().await;
    let token = site.bound("a").await;
    let one = site.for_whoami("a", &token, &[]);
    let answers = at_once(20, |_| async { site.ask(WHOAMI, "DPoP", &token, &[&one]).await.status.as_u16() });
    assert_eq!(answers.iter().filter(|status| **status == 200).count(), 1, "{answers:?}");
    assert_eq!(answers.iter().filter(|status| **status == 401).count(), 19, "{answers:?}");
    // Of another key the same `jti` is another proof: nobody spends the proofs of others.
    let other = site.bound("b").await;
    let same = |key: &str, token: &str| site.for_whoami(key, token, &[("jti", json!("the same"))]);
    assert!(site.ask(WHOAMI, "DPoP", &token, &[&same("a", &token)]).await.status == 200);
    assert!(site.ask(WHOAMI, "DPoP", &other, &[&same("b", &other)]).await.status == 200);
    site.ask(WHOAMI, "DPoP", &token, &[&same("a", &token)]).await.refused(401, "invalid_dpop_proof");
    // One that nobody believes is not kept.
    let before = site.t.number("SELECT count(*) FROM proofs_seen").await;
    let wrong = site.for_whoami("a", &token, &[("htm", json!("POST"))]);
    site.ask(WHOAMI, "DPoP", &token, &[&wrong]).await.refused(401, "invalid_dpop_proof");
    assert_eq!(site.t.number("SELECT count(*) FROM proofs_seen").await, before);
    let now = site.t.now();
    store::proof::purge(site.t.db(), now.plus_seconds(59), 100).await.unwrap();
    assert_eq!(site.t.number("SELECT count(*) FROM proofs_seen").await, before);
    store::proof::purge(site.t.db(), now.plus_seconds(60), 100).await.unwrap();
    assert_eq!(site.t.number("SELECT count(*) FROM proofs_seen").await, 0);
    site.t.wait(60);
    site.ask(WHOAMI, "DPoP", &token, &[&one]).await.refused(401, "invalid_dpop_proof");
}

/// R212, R230: the refresh token of a public client is bound as its access token; without its key nothing is spent, and nothing ends.
#[tokio::test]
async fn refresh_tokens_of_public_clients_are_bound() {
    let site = Site::new().await;
    let got = site.trade("a", &[]).await.is(200);
    let token = &got["refresh_token"];
    site.refresh(&[], token).await.refused(400, "invalid_dpop_proof");
    site.refresh(&[&site.proof("b")], token).await.refused(400, "invalid_dpop_proof");
    let next = site.refresh(&[&site.proof("a")], token).await.is(200);
    assert_eq!(next["token_type"], "DPoP");
    let access = next["access_token"].as_str().unwrap();
    site.ask(WHOAMI, "Bearer", access, &[]).await.refused(401, "invalid_token");
    assert!(site.ask(WHOAMI, "DPoP", access, &[&site.for_whoami("a", access, &[])]).await.status == 200);

    // A grant to a client without a key is bound by the first proof that comes later (RFC 9449, section 5), and until then by nothing.
    let code = allowed(&site.t, &site.ada, &request(&site.id, &[])).await;
    let plain = site.form(&[], &trade(&site.id, &code, &[])).await.is(200);
    assert_eq!(plain["token_type"], "Bearer");
    let plain = refresh(&site.t, &site.id, &plain["refresh_token"]).await.is(200);
    assert_eq!(plain["token_type"], "Bearer");
    let bound = site.refresh(&[&site.proof("a")], &plain["refresh_token"]).await.is(200);
    assert_eq!(bound["token_type"], "DPoP");
    let trail = site.t.number("SELECT count(*) FROM audit").await;
    refresh(&site.t, &site.id, &bound["refresh_token"]).await.refused(400, "invalid_dpop_proof");
    site.refresh(&[&site.proof("b")], &bound["refresh_token"]).await.refused(400, "invalid_dpop_proof");
    let access = bound["access_token"].as_str().unwrap();
    assert!(site.ask(WHOAMI, "DPoP", access, &[&site.for_whoami("a", access, &[])]).await.status == 200);
    assert_eq!(site.t.number("SELECT count(*) FROM audit").await, trail, "nothing is spent, and nothing ends");
    let next = site.refresh(&[&site.proof("a")], &bound["refresh_token"]).await.is(200);
    // By another key it is never bound anew.
    site.refresh(&[&site.proof("b")], &next["refresh_token"]).await.refused(400, "invalid_dpop_proof");
    site.refresh(&[&site.proof("a")], &next["refresh_token"]).await.is(200);

    // A confidential client proves itself, so that it may change its key.
    let made = client(&site.t, &site.ada, true).await;
    let (id, secret) = (made["id"].as_str().unwrap(), made["client_secret"].as_str().unwrap());
    let code = allowed(&site.t, &site.ada, &request(id, &[])).await;
    let got = site.form(&[&site.proof("a")], &trade(id, &code, &[("client_secret", secret)])).await.is(200);
    let refresh = encoded(&[
        ("grant_type", "refresh_token"),
        ("client_id", id),
        ("client_secret", secret),
        ("refresh_token", got["refresh_token"].as_str().unwrap()),
    ]);
    let got = site.form(&[&site.proof("b")], &refresh).await.is(200);
    assert_eq!(got["token_type"], "DPoP");
    let plain = encoded(&[
        ("grant_type", "refresh_token"),
        ("client_id", id),
        ("client_secret", secret),
        ("refresh_token", got["refresh_token"].as_str().unwrap()),
    ]);
    assert_eq!(site.form(&[], &plain).await.is(200)["token_type"], "Bearer");
}

/// R212, R230: a client that may prove itself, and does, is bound to its key as long as its document lets it prove nothing; one that must is not.
#[tokio::test]
async fn a_client_that_may_prove_itself_is_bound_to_its_key() {
    let site = Site::new().await;
    let id = "https://app.example.com/client.json";
    let describe = async |is_public| {
        let keys = Keys::Pasted(vec![public("app", "one")]);
        let proof = oauth_document::Proof { keys: Some(keys), is_public };
        let document = Document { name: "Editor".to_owned(), redirect_uris: vec![CALLBACK.to_owned()], proof };
        oauth_document::put(site.t.db(), id, &document, site.t.now()).await.unwrap();
    };
    let count = Cell::new(0);
    let proved = || {
        count.set(count.get() + 1);
        let now = site.t.now().millis() / 1000;
        let claims = json!({
            "iss": id, "sub": id, "aud": "http://127.0.0.1:3000", "iat": now, "exp": now + 60,
            "jti": format!("jti-{}", count.get()),
        });
        signed("app", &json!({ "alg": "ES256", "kid": "one" }), &claims.to_string())
    };
    let renewed = async |key: &str, token: &Json| {
        let pairs = [
            ("grant_type", "refresh_token"),
            ("client_id", id),
            ("refresh_token", token.as_str().unwrap()),
            ("client_assertion_type", ASSERTION_TYPE),
            ("client_assertion", &proved()),
        ];
        site.form(&[&site.proof(key)], &encoded(&pairs)).await
    };
    describe(true).await;
    let code = allowed(&site.t, &site.ada, &request(id, &[])).await;
    let assertion = proved();
    let with_key = [("client_assertion_type", ASSERTION_TYPE), ("client_assertion", assertion.as_str())];
    let got = site.form(&[&site.proof("a")], &trade(id, &code, &with_key)).await.is(200);
    assert_eq!(got["token_type"], "DPoP");
    renewed("b", &got["refresh_token"]).await.refused(400, "invalid_dpop_proof");
    let next = renewed("a", &got["refresh_token"]).await.is(200);

    describe(false).await;
    let code = allowed(&site.t, &site.ada, &request(id, &[])).await;
    let assertion = proved();
    let with_key = [("client_assertion_type", ASSERTION_TYPE), ("client_assertion", assertion.as_str())];
    let got = site.form(&[&site.proof("a")], &trade(id, &code, &with_key)).await.is(200);
    assert_eq!(renewed("b", &got["refresh_token"]).await.is(200)["token_type"], "DPoP");
    // What was bound stays so.
    renewed("b", &next["refresh_token"]).await.refused(400, "invalid_dpop_proof");
}

/// R212: a code is for the key that the client named when it asked (RFC 9449, section 10).
#[tokio::test]
async fn a_code_is_for_the_key_that_was_named() {
    let site = Site::new().await;
    let jkt = thumbprint("a");
    let asked = [("dpop_jkt", jkt.as_str())];
    assert_eq!(site.trade("a", &asked).await.is(200)["token_type"], "DPoP");
    site.trade("b", &asked).await.refused(400, "invalid_grant");
    let code = allowed(&site.t, &site.ada, &request(&site.id, &asked)).await;
    form_with(&site.t, TOKEN, None, &trade(&site.id, &code, &[])).await.refused(400, "invalid_grant");
    for wrong in ["short", &"=".repeat(43)] {
        let body = json!({ "request": request(&site.id, &[("dpop_jkt", wrong)]) });
        let answer = site.t.as_(&site.ada, "POST", "/api/oauth/authorize", body).await.is(200);
        assert!(answer["redirect_to"].as_str().unwrap().contains("error=invalid_request"), "{answer}");
    }
}

/// R213: signed tokens say their key in `cnf`, and introspection says it of every token.
#[tokio::test]
async fn tokens_say_what_they_are_bound_to() {
    let site = Site::new().await;
    let (t, ada) = (&site.t, &site.ada);
    t.execute(&format!("INSERT INTO custom_scopes VALUES ('{}', 'x.crm.read', 'd', 0, 'u')", ada.tenant))
        .await
        .unwrap();
    let scout = t.agent(ada, "scout", "agents.read x.crm.read").await;
    let crm = t.agent(ada, "crm", "x.* tokens.introspect agents.read").await;
    let body = json!({ "identifier": CRM, "scopes": ["x.crm.read"], "introspectors": ["crm"] });
    t.as_(ada, "POST", "/api/resources", body).await.is(201);
    let exchange = |subject: &str| {
        encoded(&[
            ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
            ("subject_token", subject),
            ("subject_token_type", "urn:ietf:params:oauth:token-type:access_token"),
            ("resource", CRM),
        ])
    };
    let introspect = async |token: &str| {
        let basic = format!("Bearer {}", crm.token);
        form_with(t, "/auth/introspect", Some(&basic), &encoded(&[("token", token)])).await.is(200)
    };
    let cnf = json!({ "jkt": thumbprint("a") });
    let is_told = |told: &Json| {
        assert_eq!((&told["active"], &told["token_type"], &told["cnf"]), (&json!(true), &json!("DPoP"), &cnf))
    };
    let claims = |token: &str| -> Json {
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap()).unwrap()
    };

    let got = site.form(&[&site.proof("a")], &exchange(&scout.token)).await.is(200);
    let signed = got["access_token"].as_str().unwrap();
    assert_eq!((&got["token_type"], &claims(signed)["cnf"]), (&json!("DPoP"), &cnf));
    is_told(&introspect(signed).await);
    let plain = site.form(&[], &exchange(&scout.token)).await.is(200);
    assert_eq!(plain["token_type"], "Bearer");
    let plain = plain["access_token"].as_str().unwrap();
    assert_eq!(claims(plain).get("cnf"), None);
    let told = introspect(plain).await;
    assert_eq!((&told["token_type"], told.get("cnf")), (&json!("Bearer"), None));

    // The agent's own token, bound as it is issued: it is exchanged with its key alone.
    t.execute(&format!("UPDATE credentials SET bound_to = '{}' WHERE id = '{}'", thumbprint("a"), scout.credential))
        .await
        .unwrap();
    is_told(&introspect(&scout.token).await);
    site.form(&[], &exchange(&scout.token)).await.refused(400, "invalid_dpop_proof");
    site.form(&[&site.proof("b")], &exchange(&scout.token)).await.refused(400, "invalid_dpop_proof");
    site.form(&[&site.proof("a")], &exchange(&scout.token)).await.is(200);

    // An app's token for a service, and for this server.
    let asked = [("resource", CRM), ("scope", "x.crm.read")];
    let got = site.trade("a", &asked).await.is(200);
    let signed = got["access_token"].as_str().unwrap();
    assert_eq!(claims(signed)["cnf"], cnf);
    is_told(&introspect(signed).await);
    let next = site.refresh(&[&site.proof("a")], &got["refresh_token"]).await.is(200);
    assert_eq!(claims(next["access_token"].as_str().unwrap())["cnf"], cnf);
    is_told(&introspect(&site.bound("a").await).await);
    let metadata = t.nobody("GET", "/.well-known/oauth-authorization-server", Null).await.is(200);
    assert_eq!(metadata["dpop_signing_alg_values_supported"], json!(["ES256", "EdDSA"]));
}

/// R214: behind a proxy a proof is for the service's request, as the proxy says it; what the proxy does not say, the client could.
#[tokio::test]
async fn forward_auth_wants_proofs_for_the_services_request() {
    let site = Site::new().await;
    let token = site.bound("a").await;
    let of = |method: &str, url: &str| proof(&site.t, "a", (method, ""), Some(&token), &[("htu", json!(url))]);
    let ask = async |path: &str, proof: &str, said: &[(&str, &str)]| {
        let authorization = format!("DPoP {token}");
        let mut headers = vec![("authorization", authorization.as_str()), ("dpop", proof)];
        headers.extend(said);
        site.t.call("GET", path, &headers, Null).await
    };
    let said =
        [("x-forwarded-method", "POST"), ("x-forwarded-uri", "/v1/contacts?a=b"), ("x-forwarded-host", "evil.example")];
    let verify = format!("/auth/verify?resource={CRM}/v1");
    let good = || of("POST", "https://crm.example.com/v1/contacts");
    assert!(ask(&verify, &good(), &said).await.status == 200);
    let refused = async |path: &str, proof: &str, said: &[(&str, &str)]| {
        let answer = ask(path, proof, said).await;
        answer.refused(401, "invalid_dpop_proof");
        answer
    };
    refused(&verify, &of("GET", "https://crm.example.com/v1/contacts"), &said).await;
    refused(&verify, &of("POST", "https://crm.example.com/v1/other"), &said).await;
    refused(&verify, &of("POST", "https://evil.example/v1/contacts"), &said).await;
    // A proof for this server is none for a service.
    refused(&verify, &of("GET", "http://127.0.0.1:3000/auth/verify"), &[]).await;
    refused(&verify, &good(), &said[..1]).await;
    refused(&verify, &good(), &said[1..]).await;
    refused("/auth/verify", &good(), &said).await;
    // Where the query is the client's own, it names no service.
    let below = format!("/auth/verify/-/v1/contacts?resource={CRM}/v1");
    refused(&below, &good(), &said).await;
    let twice = [said[0], said[1], said[1]];
    refused(&verify, &good(), &twice).await;
    let answer = refused(&verify, &of("GET", "https://crm.example.com/"), &said).await;
    assert!(answer.header("www-authenticate").contains("resource_metadata="), "{answer:?}");
    let bearer = format!("Bearer {token}");
    site.t.call("GET", &verify, &[("authorization", &bearer)], Null).await.refused(401, "invalid_token");
}

/// R210: the other components ask here whether a proof is signed; nothing else is decided.
#[tokio::test]
async fn a_signature_is_verified_for_the_other_components() {
    let site = Site::new().await;
    let good = site.proof("a");
    for _ in 0..2 {
        site.t.nobody("POST", "/internal/proofs", json!({ "proof": good })).await.is(204);
    }
    let bent = format!("{}A", &good[..good.len() - 4]);
    for wrong in [bent.as_str(), "", "a.b.c", &proof(&site.t, "a", ("POST", TOKEN), None, &[("jwk", jwk("b"))])] {
        site.t.nobody("POST", "/internal/proofs", json!({ "proof": wrong })).await.refused(400, "invalid_dpop_proof");
    }
}

/// R210: a personal access token that is bound stays so when it is rotated.
#[tokio::test]
async fn a_rotated_token_stays_bound() {
    let site = Site::new().await;
    let pat = site.t.credential(Kind::Pat, &site.ada.tenant, &site.ada.user, None, "*", None).await;
    let bind = format!("UPDATE credentials SET bound_to = '{}' WHERE id = '{}'", thumbprint("a"), pat.credential);
    site.t.execute(&bind).await.unwrap();
    let path = format!("/auth/tokens/{}/rotate", pat.credential);
    let got = site.t.as_(&site.ada, "POST", &path, json!({})).await.is(201);
    let next = got["token"].as_str().unwrap();
    site.ask(WHOAMI, "Bearer", next, &[]).await.refused(401, "invalid_token");
    assert!(site.ask(WHOAMI, "DPoP", next, &[&site.for_whoami("a", next, &[])]).await.status == 200);
    // Signed by a key whose name is another one than that in its own header.
    let header = json!({ "typ": "dpop+jwt", "alg": "ES256", "jwk": public("a", "a") });
    let claims = json!({ "jti": "x", "htm": "GET", "htu": "http://127.0.0.1:3000/api/auth/whoami", "iat": site.t.now().millis() / 1000 });
    let forged = signed("b", &header, &claims.to_string());
    site.ask(WHOAMI, "DPoP", next, &[&forged]).await.refused(401, "invalid_dpop_proof");
}
