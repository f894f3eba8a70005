use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use common::role::Role;
use service::{
    settings::Settings,
    testing::{Actor, Answer, TestApp, at_once},
};
use store::key_set::{self, Source};

use super::*;
use crate::{
    oauth::testing::{TOKEN, encoded, form_at, form_with, public, signed},
    with_neighbours,
};

const ISSUER: &str = "https://token.actions.githubusercontent.com";
const AUDIENCE: &str = "http://127.0.0.1:3000";
const SUBJECT: &str = "repo:acme/shop:ref:refs/heads/main";
const CRM: &str = "https://crm.example.com";

/// Ada's agent, which trusts the main branch of a repository.
struct Site {
    t: TestApp,
    ada: Actor,
    id: String,
}

impl Site {
    async fn new() -> Self {
        Self::with(json!({})).await
    }

    async fn with(more: Json) -> Self {
        let settings = Settings {
            signing_keys: common::signing::keys("a-secret-of-the-operator-that-is-long-enough").unwrap(),
            ..Settings::default()
        };
        let t = TestApp::with(with_neighbours(), settings);
        let ada = t.ada().await;
        for scope in ["x.crm.read", "x.crm.write"] {
            let tenant = &ada.tenant;
            t.execute(&format!("INSERT INTO custom_scopes VALUES ('{tenant}', '{scope}', 'd', 0, 'u')")).await.unwrap();
        }
        t.agent(&ada, "scout", "agents.read ui.notify x.crm.read").await;
        let body = json!({ "identifier": CRM, "scopes": ["x.crm.read", "x.crm.write"], "introspectors": ["scout"] });
        t.as_(&ada, "POST", "/api/resources", body).await.is(201);
        let mut body = json!({
            "name": "main", "issuer": ISSUER, "subject": SUBJECT, "scope": ["agents.read", "x.crm.read"],
            "claims": { "environment": "prod" }, "jwks": { "keys": [public("github", "one")] },
        });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let made = t.as_(&ada, "POST", "/api/agents/scout/federated-credentials", body).await.is(201);
        Self { id: made["id"].as_str().unwrap().to_owned(), t, ada }
    }

    /// Claims that are trusted, but for these.
    fn claims(&self, changes: &[(&str, Json)]) -> Json {
        let now = self.t.now().millis() / 1000;
        let mut claims = json!({
            "iss": ISSUER, "aud": AUDIENCE, "sub": SUBJECT, "environment": "prod", "repository": "acme/shop",
            "iat": now, "nbf": now, "exp": now + 300, "jti": format!("jti-{}", self.t.number_of_next()),
        });
        for (name, value) in changes {
            match value {
                Null => drop(claims.as_object_mut().unwrap().remove(*name)),
                value => claims[*name] = value.clone(),
            }
        }
        claims
    }

    fn assertion(&self, changes: &[(&str, Json)]) -> String {
        signed("github", &json!({ "typ": "JWT", "alg": "ES256", "kid": "one" }), &self.claims(changes).to_string())
    }

    async fn send(&self, assertion: &str, more: &[(&str, &str)]) -> Answer {
        let pairs = [("grant_type", GRANT), ("client_id", self.id.as_str()), ("assertion", assertion)];
        form_with(&self.t, TOKEN, None, &encoded(&[&pairs, more].concat())).await
    }

    async fn refused(&self, assertion: &str, why: &str) {
        let refusal = self.send(assertion, &[]).await.refused(400, "invalid_grant");
        let detail = refusal["detail"].as_str().unwrap();
        assert!(detail.contains(why), "{detail}: {why}");
        assert_eq!(refusal["error_description"], refusal["detail"]);
        assert!(refusal["doc_url"].as_str().unwrap().ends_with("/concepts/workload-identity#refusals"), "{refusal}");
    }

    async fn whoami(&self, token: &Json) -> Answer {
        let caller = format!("Bearer {}", token.as_str().unwrap());
        self.t.call("GET", "/api/auth/whoami", &[("authorization", &caller)], Null).await
    }

    /// Deletes something; the closure.
    async fn ended(&self, path: &str) -> Json {
        let answer = self.t.as_(&self.ada, "DELETE", path, Null).await;
        answer.is(204);
        let closure = format!("/api/closures/{}", answer.header("x-accredit-closure"));
        self.t.as_(&self.ada, "GET", &closure, Null).await.is(200)
    }

    async fn number(&self, table: &str) -> i64 {
        self.t.number(&format!("SELECT count(*) FROM {table}")).await
    }
}

/// R467: a claim that is an object, such as `kubernetes.io`, or a list is no text: it equals none that is trusted, the empty one neither.
#[tokio::test]
async fn a_claim_that_is_no_text_equals_none() {
    let site = Site::with(json!({ "claims": { "environment": "" } })).await;
    for other in [json!({ "namespace": "evil" }), json!(["prod"]), json!({}), json!([])] {
        site.refused(&site.assertion(&[("environment", other)]), "claim environment has another value").await;
    }
    site.send(&site.assertion(&[("environment", json!(""))]), &[]).await.is(200);
}

trait Next {
    fn number_of_next(&self) -> u64;
}

impl Next for TestApp {
    fn number_of_next(&self) -> u64 {
        use std::sync::atomic::{AtomicU64, Ordering};
        static NEXT: AtomicU64 = AtomicU64::new(0);
        NEXT.fetch_add(1, Ordering::Relaxed)
    }
}

/// R171: a workload without a secret gets a short credential of its agent, which is in the trail and in the admin's list, and can be revoked.
#[tokio::test]
async fn a_workload_gets_a_short_credential_of_its_agent() {
    let site = Site::new().await;
    let answer = site.send(&site.assertion(&[]), &[]).await;
    let got = answer.is(200);
    assert_eq!(answer.header("cache-control"), "no-store");
    assert_eq!(
        (&got["token_type"], &got["expires_in"], &got["scope"]),
        (&json!("Bearer"), &json!(3600), &json!("agents.read x.crm.read"))
    );
    let who = site.whoami(&got["access_token"]).await.is(200);
    assert_eq!((&who["agent_name"], &who["scope"]), (&json!("scout"), &json!(["agents.read", "x.crm.read"])));
    let row = site.t.texts("SELECT after FROM audit WHERE action = 'agent.federated_credential.use'").await;
    assert_eq!(row.len(), 1);
    let row: Json = serde_json::from_str(&row[0]).unwrap();
    assert_eq!(
        (&row["issuer"], &row["subject"], &row["federated_credential"]),
        (&json!(ISSUER), &json!(SUBJECT), &json!(site.id))
    );

    let path = format!("/api/agents/scout/federated-credentials/{}", site.id);
    let shown = site.t.as_(&site.ada, "GET", &path, Null).await.is(200);
    assert_eq!(shown["live_credentials"], 1);
    assert!(shown["last_used_at"].is_string() && shown["keys"].is_null(), "{shown}");
    let listed = site.t.as_(&site.ada, "GET", "/auth/admin/tokens?kind=api_key", Null).await.is(200);
    let listed = &listed["items"][0];
    assert_eq!((&listed["name"], &listed["agent_name"]), (&json!("main"), &json!("scout")));
    let revoke = format!("/auth/admin/tokens/{}", listed["id"].as_str().unwrap());
    assert_eq!(site.ended(&revoke).await["ended"]["keys"], 1);
    site.whoami(&got["access_token"]).await.refused(401, "token_revoked");

    let got = site.send(&site.assertion(&[]), &[("scope", "x.crm.read")]).await.is(200);
    assert_eq!(site.whoami(&got["access_token"]).await.is(200)["scope"], json!(["x.crm.read"]));
    site.t.wait(3_601);
    let refusal = site.whoami(&got["access_token"]).await.refused(401, "token_expired");
    assert!(refusal["fix"].as_str().unwrap().contains(&format!("client_id={}", site.id)), "{refusal}");
    for beyond in ["ui.notify", "x.crm.write", "*", "agents.*", "nothing"] {
        let refusal = site.send(&site.assertion(&[]), &[("scope", beyond)]).await.refused(400, "invalid_scope");
        assert!(refusal["fix"].as_str().unwrap().contains("federated-credentials"), "{refusal}");
    }
}

/// R171: stop, deletion, another owner and archiving end what was given, and nothing new is given.
#[tokio::test]
async fn what_was_given_ends_with_agent_and_trust() {
    let site = Site::new().await;
    let got = site.send(&site.assertion(&[]), &[]).await.is(200);
    site.t.execute("UPDATE agents SET state = 'stopped' WHERE name = 'scout'").await.unwrap();
    let assertion = site.assertion(&[]);
    let refusal = site.send(&assertion, &[]).await.refused(400, "invalid_grant");
    assert_eq!(refusal["reason"], "agent_stopped", "{refusal}");
    assert_eq!(
        (site.number("assertions_seen").await, site.number("credentials WHERE federated_id IS NOT NULL").await),
        (1, 1)
    );
    site.t.execute("UPDATE agents SET state = 'running' WHERE name = 'scout'").await.unwrap();
    let second = site.send(&assertion, &[]).await.is(200);

    let path = format!("/api/agents/scout/federated-credentials/{}", site.id);
    let ended = site.ended(&path).await;
    assert_eq!((&ended["status"], &ended["ended"]["keys"]), (&json!("closed"), &json!(2)));
    for token in [&got, &second] {
        site.whoami(&token["access_token"]).await.refused(401, "token_revoked");
    }
    site.send(&site.assertion(&[]), &[]).await.refused(401, "invalid_client");
    site.t.as_(&site.ada, "DELETE", &path, Null).await.refused(404, "federated_credential_not_found");
    site.t.as_(&site.ada, "GET", &path, Null).await.refused(404, "federated_credential_not_found");

    // The agent's owner decides whom it trusts; the owner's account decides whether it may do anything.
    let site = Site::new().await;
    site.t.execute("UPDATE users SET deactivated_at = 1 WHERE email = 'ada@example.com'").await.unwrap();
    let refusal = site.send(&site.assertion(&[]), &[]).await.refused(400, "invalid_grant");
    assert_eq!(refusal["reason"], "account_deactivated");
}

/// R170: whatever is wrong with an assertion is refused in the form of OAuth, and gives nothing.
#[tokio::test]
async fn an_assertion_with_anything_wrong_gives_nothing() {
    let site = Site::new().await;
    let header = |more: Json| {
        let mut header = json!({ "typ": "JWT", "alg": "ES256", "kid": "one" });
        header.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        header
    };
    let claims = site.claims(&[]).to_string();
    let good = site.assertion(&[]);
    let (body, signature) = good.rsplit_once('.').unwrap();
    let now = site.t.now().millis() / 1000;
    for (assertion, why) in [
        ("x".to_owned(), "the token has no parts"),
        (format!("{body}."), "signature is wrong"),
        (format!("{body}.{}", signature.replace(|c: char| c.is_ascii_lowercase(), "A")), "signature is wrong"),
        (signed("other", &header(json!({})), &claims), "signature is wrong"),
        (signed("github", &header(json!({ "kid": "two" })), &claims), "no key that could have signed"),
        (signed("github", &header(json!({ "alg": "none" })), &claims), "algorithm is not accepted"),
        (signed("github", &header(json!({ "alg": "HS256" })), &claims), "algorithm is not accepted"),
        (signed("github", &header(json!({ "alg": "RS256" })), &claims), "no key that could have signed"),
        (signed("github", &header(json!({ "typ": "at+jwt" })), &claims), "another type"),
        (signed("github", &header(json!({ "typ": "dpop+jwt" })), &claims), "another type"),
        (signed("github", &header(json!({ "crit": ["x"], "x": 1 })), &claims), "critical header"),
        (
            signed("github", &header(json!({})), &claims.replacen('{', "{\"sub\":\"repo:acme/shop:x\",", 1)),
            "no JSON object",
        ),
        (signed("github", &header(json!({})), "[]"), "no JSON object"),
        (site.assertion(&[("iss", json!(format!("{ISSUER}/")))]), "another issuer"),
        (site.assertion(&[("aud", json!("https://github.com/acme"))]), "another audience"),
        (site.assertion(&[("aud", json!(["x", "y"]))]), "another audience"),
        (site.assertion(&[("exp", json!(now - 61))]), "expired"),
        (site.assertion(&[("exp", Null)]), "no exp"),
        (site.assertion(&[("nbf", json!(now + 61))]), "to come"),
        (site.assertion(&[("iat", json!(now + 61))]), "to come"),
        (site.assertion(&[("jti", json!(7))]), "jti"),
        (site.assertion(&[("jti", json!(""))]), "jti"),
        (site.assertion(&[("sub", json!("repo:acme/shop:ref:refs/heads/main2"))]), "sub is not trusted"),
        (site.assertion(&[("sub", json!("repo:acme/shop:pull_request"))]), "sub is not trusted"),
        (site.assertion(&[("sub", json!(format!("{SUBJECT}\n")))]), "sub is not trusted"),
        (site.assertion(&[("environment", json!("test"))]), "claim environment has another value"),
        (site.assertion(&[("environment", Null)]), "claim environment is missing"),
        (site.assertion(&[("environment", json!(["prod"]))]), "claim environment has another value"),
        ("a".repeat(20_000), "too long"),
    ] {
        site.refused(&assertion, why).await;
    }
    assert_eq!(
        (site.number("assertions_seen").await, site.number("credentials WHERE federated_id IS NOT NULL").await),
        (0, 0)
    );
    for (id, assertion) in [("fed_nothing", good.as_str()), ("scout", &good), (site.id.as_str(), "")] {
        let pairs = [("grant_type", GRANT), ("client_id", id), ("assertion", assertion)];
        let answer = form_with(&site.t, TOKEN, None, &encoded(&pairs)).await;
        match assertion {
            "" => answer.refused(400, "invalid_request"),
            _ => answer.refused(401, "invalid_client"),
        };
    }
    // What is right about it is taken all the same.
    for good in [
        site.assertion(&[("aud", json!(["https://other.example", AUDIENCE]))]),
        site.assertion(&[("jti", Null)]),
        signed("github", &json!({ "alg": "ES256", "kid": "one" }), &site.claims(&[]).to_string()),
        signed("github", &json!({ "alg": "ES256", "typ": "JOSE" }), &site.claims(&[]).to_string()),
        site.assertion(&[("exp", json!(now - 59)), ("iat", json!(now - 300))]),
    ] {
        site.send(&good, &[]).await.is(200);
    }
}

/// R256: GitHub writes ids into its subjects; who trusts them without, or the other way round, is told.
#[tokio::test]
async fn a_subject_that_differs_in_ids_alone_says_so() {
    let site = Site::new().await;
    for (subject, is_hinted) in [
        (SUBJECT.replacen("acme/shop", "acme@123/shop@456", 1), true),
        (SUBJECT.replacen("acme/shop", "acme@123/other@456", 1), false),
    ] {
        assert_ne!(subject, SUBJECT);
        let refusal = site.send(&site.assertion(&[("sub", json!(subject))]), &[]).await.refused(400, "invalid_grant");
        let fix = refusal["fix"].as_str().unwrap();
        assert_eq!(fix.contains("differ in ids such as @123 alone"), is_hinted, "{refusal}");
        assert_eq!(refusal["subject"], subject);
    }
}

/// R170: an assertion is taken once, by its `jti` or by what was signed, also of many requests at once; where a platform hands one to its
/// workload for a while, an admin says so.
#[tokio::test(flavor = "multi_thread")]
async fn an_assertion_is_taken_once() {
    let site = Site::new().await;
    for changes in [&[][..], &[("jti", Null)][..]] {
        let assertion = site.assertion(changes);
        site.send(&assertion, &[]).await.is(200);
        site.refused(&assertion, "sent before").await;
        site.t.wait(299);
        site.refused(&assertion, "sent before").await;
        site.t.wait(62);
        site.refused(&assertion, "expired").await;
    }
    // Another text with the same jti is the same assertion.
    let now = site.t.now().millis() / 1000;
    site.send(&site.assertion(&[("jti", json!("same"))]), &[]).await.is(200);
    site.refused(&site.assertion(&[("jti", json!("same")), ("exp", json!(now + 301))]), "sent before").await;

    let assertion = site.assertion(&[]);
    let answers = at_once(16, |_| site.send(&assertion, &[]));
    assert_eq!(answers.iter().filter(|answer| answer.status == 200).count(), 1);

    let site = Site::with(json!({ "single_use": false, "expires_in": 60 })).await;
    let assertion = site.assertion(&[]);
    for _ in 0..3 {
        assert_eq!(site.send(&assertion, &[]).await.is(200)["expires_in"], 60);
    }
    assert_eq!(site.number("assertions_seen").await, 0);
}

/// R171: for a service it gives a signed token, with the scopes that the agent can use and the service takes, which rests on a credential that
/// nobody holds.
#[tokio::test]
async fn a_workload_gets_a_signed_token_for_a_service() {
    let site = Site::new().await;
    let got = site.send(&site.assertion(&[]), &[("resource", CRM)]).await.is(200);
    assert_eq!((&got["expires_in"], &got["scope"]), (&json!(300), &json!("x.crm.read")));
    let token = got["access_token"].as_str().unwrap();
    let claims = URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap();
    let claims: Json = serde_json::from_slice(&claims).unwrap();
    let agent = site.t.texts("SELECT id FROM agents WHERE name = 'scout'").await;
    assert_eq!(
        (&claims["aud"], &claims["sub"], &claims["client_id"]),
        (&json!(CRM), &json!(agent[0]), &json!(agent[0]))
    );
    assert_eq!(site.number("credentials WHERE federated_id IS NOT NULL AND expires_at - created_at = 300000").await, 1);
    let path = format!("/api/agents/scout/federated-credentials/{}", site.id);
    site.ended(&path).await;
    assert_eq!(site.number("credentials WHERE federated_id IS NOT NULL AND revoked_at IS NULL").await, 0);

    let site = Site::new().await;
    let assertion = site.assertion(&[]);
    site.send(&assertion, &[("resource", "https://other.example")]).await.refused(400, "invalid_target");
    site.send(&assertion, &[("resource", CRM), ("scope", "x.crm.write")]).await.refused(400, "invalid_scope");
    site.send(&assertion, &[("resource", CRM), ("resource", CRM)]).await.refused(400, "invalid_target");
    // R311: also what is refused when the token would be signed.
    let pairs = [("grant_type", GRANT), ("client_id", &site.id), ("assertion", &assertion), ("resource", CRM)];
    let elsewhere = form_at(&site.t, "accredit.example", TOKEN, None, &encoded(&pairs)).await;
    elsewhere.refused(503, "public_url_missing");
    assert_eq!(site.number("credentials WHERE federated_id IS NOT NULL").await, 0);
    // Whatever was refused has not spent it. This server itself is no other service.
    site.send(&assertion, &[("resource", AUDIENCE)]).await.is(200);
}

/// R169: fetched keys count for an hour; a key that is not among them is looked for at most once a minute, and an outage is told as one.
#[tokio::test]
async fn fetched_keys_count_for_an_hour() {
    let t = TestApp::with(
        with_neighbours(),
        Settings {
            outbound_hosts: common::url::OutboundHosts::parse("token.actions.githubusercontent.com").unwrap(),
            ..Settings::default()
        },
    );
    let ada = t.ada().await;
    t.agent(&ada, "scout", "agents.read").await;
    let body = json!({ "name": "main", "issuer": ISSUER, "subject": SUBJECT });
    let made = t.as_(&ada, "POST", "/api/agents/scout/federated-credentials", body).await.is(201);
    let site = Site { id: made["id"].as_str().unwrap().to_owned(), t, ada };
    let source = Source::Issuer(ISSUER.to_owned());
    // Natively nobody fetches.
    let assertion = site.assertion(&[]);
    let answer = site.send(&assertion, &[]).await;
    let refusal = answer.refused(503, "key_set_unavailable");
    assert!(refusal["detail"].as_str().unwrap().contains("no answer has come yet"), "{refusal}");
    assert_eq!(answer.header("retry-after"), "60");
    key_set::take(site.t.db(), 1).await.unwrap();
    key_set::put(site.t.db(), &source, Err("its host answered 500"), site.t.now()).await.unwrap();
    let refusal = site.send(&assertion, &[]).await.refused(503, "key_set_unavailable");
    assert!(refusal["detail"].as_str().unwrap().contains("its host answered 500"), "{refusal}");
    let path = format!("/api/agents/scout/federated-credentials/{}", site.id);
    assert_eq!(site.t.as_(&site.ada, "GET", &path, Null).await.is(200)["keys_failure"], "its host answered 500");

    key_set::put(site.t.db(), &source, Ok(&json!([public("github", "one")])), site.t.now()).await.unwrap();
    site.send(&assertion, &[]).await.is(200);
    let header = json!({ "alg": "ES256", "kid": "two" });
    let rotated = |site: &Site| signed("next", &header, &site.claims(&[]).to_string());
    // R371: a key that was made since the set was fetched is no reason to give up.
    site.t.wait(10);
    let answer = site.send(&rotated(&site), &[]).await;
    let refusal = answer.refused(503, "key_set_unavailable");
    assert!(refusal["detail"].as_str().unwrap().contains("no such key yet"), "{refusal}");
    assert_eq!(answer.header("retry-after"), "50");
    assert!(!key_set::find(site.t.db(), &source).await.unwrap().unwrap().is_awaited, "asked for a moment ago");
    site.t.wait(50);
    site.send(&rotated(&site), &[]).await.refused(503, "key_set_unavailable");
    assert!(key_set::find(site.t.db(), &source).await.unwrap().unwrap().is_awaited, "asked for again");
    site.send(&site.assertion(&[]), &[]).await.is(200);
    let keys = json!([public("github", "one"), public("next", "two")]);
    key_set::put(site.t.db(), &source, Ok(&keys), site.t.now()).await.unwrap();
    site.send(&rotated(&site), &[]).await.is(200);
    site.t.wait(3_600);
    site.send(&site.assertion(&[]), &[]).await.refused(503, "key_set_unavailable");
}

/// R171: one federated credential has given so many credentials at most, and one network sends so many assertions.
#[tokio::test]
async fn what_is_given_is_bounded() {
    let site = Site::new().await;
    site.send(&site.assertion(&[]), &[]).await.is(200);
    let id = &site.id;
    site.t
        .execute(&format!(
            "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 199)
             INSERT INTO credentials (digest, id, kind, prefix, tenant_id, user_id, agent_id, scope, created_at, expires_at, federated_id)
             SELECT randomblob(32), 'tok_' || i, 'api_key', 'p', c.tenant_id, c.user_id, c.agent_id, c.scope, c.created_at, c.expires_at, '{id}'
             FROM n, (SELECT * FROM credentials WHERE federated_id = '{id}' LIMIT 1) c"
        ))
        .await
        .unwrap();
    let assertion = site.assertion(&[]);
    let answer = site.send(&assertion, &[]).await;
    answer.refused(429, "too_many_federated_tokens");
    assert_eq!(answer.header("retry-after"), "3600");
    site.t.execute("UPDATE credentials SET revoked_at = 1 WHERE id = 'tok_7'").await.unwrap();
    site.send(&assertion, &[]).await.is(200);
    let refusals = site.t.number("SELECT max(count) FROM attempts").await;
    assert!(refusals >= 3);
    site.t.execute("UPDATE attempts SET count = 600").await.unwrap();
    site.send(&assertion, &[]).await.refused(429, "too_many_attempts");
    let mia = site.t.user(&site.ada.tenant, "mia@example.com", Role::Member).await;
    let path = format!("/api/agents/scout/federated-credentials/{}", site.id);
    site.t.as_(&mia, "DELETE", &path, Null).await.refused(404, "agent_not_found");
}
