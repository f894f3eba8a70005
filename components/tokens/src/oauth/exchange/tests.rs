use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use common::{
    role::Role,
    secret::{Digest, Kind},
};
use http::Request;
use serde_json::Value::Null;
use service::{
    body::RequestBody,
    settings::Settings,
    testing::{Actor, Answer, TestApp, at_once},
};

use super::*;
use crate::with_neighbours;

const CRM: &str = "https://crm.example.com";
const MAIL: &str = "https://mail.example.com";
const SECRET: &str = "a secret of the operator that is long enough";

fn settings(secret: &str) -> Settings {
    Settings { signing_keys: common::signing::keys(&secret.replace(' ', "-")).unwrap(), ..Settings::default() }
}

/// A tenant with Ada, three services that are agents, and what they take.
struct Site {
    t: TestApp,
    ada: Actor,
    scout: Actor,
    crm: Actor,
    mail: Actor,
}

impl Site {
    async fn new() -> Self {
        let t = TestApp::with(with_neighbours(), settings(SECRET));
        let ada = t.ada().await;
        let tenant = &ada.tenant;
        for scope in ["x.crm.read", "x.crm.write", "x.mail.send"] {
            t.execute(&format!("INSERT INTO custom_scopes VALUES ('{tenant}', '{scope}', 'd', 0, 'u')")).await.unwrap();
        }
        let scout = t.agent(&ada, "scout", "agents.read x.crm.read x.mail.send").await;
        let crm = t.agent(&ada, "crm", "x.* tokens.introspect").await;
        let mail = t.agent(&ada, "mail", "x.* tokens.introspect").await;
        for (identifier, scopes, service) in
            [(CRM, json!(["x.crm.read", "x.crm.write"]), "crm"), (MAIL, json!(["x.mail.send"]), "mail")]
        {
            let body = json!({ "identifier": identifier, "scopes": scopes, "introspectors": [service] });
            t.as_(&ada, "POST", "/api/resources", body).await.is(201);
        }
        Self { t, ada, scout, crm, mail }
    }

    async fn send(&self, pairs: &[(&str, &str)]) -> Answer {
        send(&self.t, pairs).await
    }

    /// Exchanges a credential of an agent.
    async fn exchange(&self, actor: &Actor, more: &[(&str, &str)]) -> Answer {
        self.send(&[&[("subject_token", &*actor.token), ("subject_token_type", ACCESS_TOKEN)], more].concat()).await
    }

    /// A token of an agent for a service.
    async fn token(&self, actor: &Actor, resource: &str) -> String {
        text(&self.exchange(actor, &[("resource", resource)]).await.is(200)["access_token"])
    }

    /// Exchanges a signed token that a service has received.
    async fn pass(&self, received: &str, service: &Actor, more: &[(&str, &str)]) -> Answer {
        let own = [
            ("subject_token", received),
            ("subject_token_type", JWT),
            ("actor_token", &*service.token),
            ("actor_token_type", ACCESS_TOKEN),
        ];
        self.send(&[&own, more].concat()).await
    }

    async fn introspect(&self, service: &Actor, token: &str) -> Json {
        let form = form_urlencoded::Serializer::new(String::new()).append_pair("token", token).finish();
        let request = Request::post("/auth/introspect")
            .header("host", "localhost:3000")
            .header("authorization", format!("Bearer {}", service.token))
            .header("content-type", "application/x-www-form-urlencoded");
        self.t.send(request.body(RequestBody::from(form)).unwrap()).await.is(200)
    }
}

async fn send(t: &TestApp, pairs: &[(&str, &str)]) -> Answer {
    let mut form = form_urlencoded::Serializer::new(String::new());
    form.append_pair("grant_type", GRANT).extend_pairs(pairs);
    let request = Request::post("/oauth/token")
        .header("host", "localhost:3000")
        .header("content-type", "application/x-www-form-urlencoded");
    t.send(request.body(RequestBody::from(form.finish())).unwrap()).await
}

fn text(json: &Json) -> String {
    json.as_str().unwrap().to_owned()
}

fn part(token: &str, number: usize) -> Json {
    let part = token.split('.').nth(number).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
}

/// Verifies a token as a service does: by the key set alone.
async fn verify(t: &TestApp, token: &str) -> bool {
    let keys = t.nobody("GET", "/oauth/jwks", Null).await.is(200);
    let (header, [head, claims, signature]) =
        (part(token, 0), <[&str; 3]>::try_from(token.split('.').collect::<Vec<_>>()).unwrap());
    let signed = format!("{head}.{claims}");
    let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
    let Some(key) = keys["keys"].as_array().unwrap().iter().find(|key| key["kid"] == header["kid"]) else {
        return false;
    };
    assert_eq!((&key["alg"], &key["use"]), (&header["alg"], &json!("sig")));
    let member = |name: &str| URL_SAFE_NO_PAD.decode(key[name].as_str().unwrap()).unwrap();
    match header["alg"].as_str().unwrap() {
        "EdDSA" => {
            let key = ed25519_dalek::VerifyingKey::from_bytes(&member("x").try_into().unwrap()).unwrap();
            let signature = ed25519_dalek::Signature::from_slice(&signature).unwrap();
            key.verify_strict(signed.as_bytes(), &signature).is_ok()
        }
        "ES256" => {
            use p256::ecdsa::{Signature, VerifyingKey, signature::Verifier};
            let point = [vec![4], member("x"), member("y")].concat();
            let key = VerifyingKey::from_sec1_bytes(&point).unwrap();
            key.verify(signed.as_bytes(), &Signature::from_slice(&signature).unwrap()).is_ok()
        }
        other => panic!("{other}"),
    }
}

/// R128: an agent's token for a signed one: one audience, the scopes that are effective and that the service takes, five minutes.
#[tokio::test]
async fn an_agent_gets_a_signed_token_for_one_service() {
    let site = Site::new().await;
    let answer = site.exchange(&site.scout, &[("resource", CRM)]).await;
    let body = answer.is(200);
    assert_eq!(answer.header("cache-control"), "no-store");
    let token = text(&body["access_token"]);
    assert_eq!(
        body,
        json!({
            "access_token": token, "issued_token_type": ACCESS_TOKEN, "token_type": "Bearer", "expires_in": 300, "scope": "x.crm.read",
        })
    );
    let (header, claims) = (part(&token, 0), part(&token, 1));
    assert_eq!((&header["typ"], &header["alg"]), (&json!("at+jwt"), &json!("EdDSA")));
    let begins = site.t.now().millis() / 1000;
    assert_eq!(
        claims,
        json!({
            "iss": "http://localhost:3000", "sub": site.scout.agent, "aud": CRM, "client_id": site.scout.agent, "scope": "x.crm.read",
            "iat": begins, "exp": begins + 300, "jti": claims["jti"], "tenant": "main",
            "owner": site.ada.user, "epoch": 0, "rests_on": claims["rests_on"],
        })
    );
    assert!(claims["jti"].as_str().unwrap().starts_with("jti_") && verify(&site.t, &token).await);
    assert_eq!(
        site.introspect(&site.crm, &token).await,
        json!({
            "active": true, "scope": "x.crm.read", "token_type": "Bearer", "sub": site.scout.agent, "client_id": site.scout.agent,
            "aud": CRM, "jti": claims["jti"], "iat": begins, "exp": begins + 300,
        })
    );
    site.t.execute("UPDATE resources SET signing_alg = 'ES256'").await.unwrap();
    let token = site.token(&site.scout, CRM).await;
    assert_eq!(part(&token, 0)["alg"], "ES256");
    assert!(verify(&site.t, &token).await);
    let rows = "SELECT count(*) FROM audit WHERE action = 'token.exchange'";
    assert_eq!(site.t.number(rows).await, 1, "the first of several is in the trail");
    site.token(&site.scout, MAIL).await;
    assert_eq!(site.t.number(rows).await, 2);
    site.t.wait(300);
    site.token(&site.scout, MAIL).await;
    assert_eq!(site.t.number(rows).await, 3);
    let of_the_agent = format!("{rows} AND agent_id = '{}'", site.scout.agent.as_ref().unwrap());
    assert_eq!(site.t.number(&of_the_agent).await, 3);
}

/// R129: a token for one service is nothing at another one, at another tenant, at this server, or once it was changed.
#[tokio::test]
async fn a_token_is_told_to_its_service_alone() {
    let site = Site::new().await;
    let token = site.token(&site.scout, CRM).await;
    let inactive = json!({ "active": false });
    for other in [&site.mail, &site.ada] {
        assert_eq!(site.introspect(other, &token).await, inactive);
    }
    let other = site.t.tenant("other").await;
    let eve = site.t.user(&other, "eve@example.com", Role::Admin).await;
    assert_eq!(site.introspect(&eve, &token).await, inactive);
    let bearer = Actor { token: token.clone(), ..site.scout.clone() };
    site.t.as_(&bearer, "GET", "/api/auth/whoami", Null).await.refused(401, "invalid_token");
    site.pass(&token, &site.mail, &[("resource", MAIL)]).await.refused(400, "invalid_request");

    let [head, claims, signature] = <[&str; 3]>::try_from(token.split('.').collect::<Vec<_>>()).unwrap();
    let encoded = |json: &Json| URL_SAFE_NO_PAD.encode(json.to_string());
    let mut wider = part(&token, 1);
    wider["scope"] = json!("x.crm.read x.crm.write");
    let keys = site.t.nobody("GET", "/oauth/jwks", Null).await.is(200);
    let public = URL_SAFE_NO_PAD.decode(keys["keys"][0]["x"].as_str().unwrap()).unwrap();
    let hs256 =
        format!("{}.{claims}", encoded(&json!({ "alg": "HS256", "typ": "at+jwt", "kid": keys["keys"][0]["kid"] })));
    let mac = common::secret::Key::derive(&public, "", &[]).mac(hs256.as_bytes());
    for forged in [
        format!("{}.{claims}.", encoded(&json!({ "alg": "none", "typ": "at+jwt" }))),
        format!("{hs256}.{}", URL_SAFE_NO_PAD.encode(mac.bytes())),
        format!("{}.{claims}.{signature}", encoded(&json!({ "alg": "EdDSA", "typ": "at+jwt", "kid": "unknown" }))),
        format!("{head}.{}.{signature}", encoded(&wider)),
        format!("{head}.{claims}."),
        format!("{head}.{claims}"),
        format!("{token}A"),
        format!("{token}="),
        format!("{token}.{token}"),
        "..".to_owned(),
        "a".repeat(20_000),
    ] {
        assert_eq!(site.introspect(&site.crm, &forged).await, inactive, "{forged}");
        site.pass(&forged, &site.crm, &[("resource", MAIL)]).await.refused(400, "invalid_request");
    }
    assert_eq!(site.introspect(&site.crm, &format!(" {token} ")).await["active"], true);
    site.t.wait(299);
    assert_eq!(site.introspect(&site.crm, &token).await["active"], true);
    site.t.wait(1);
    assert_eq!(site.introspect(&site.crm, &token).await, inactive, "its end has come");
}

/// R128: every exchange asks for the truth at that moment, and introspection does.
#[tokio::test]
async fn what_has_ended_gets_no_token_and_its_tokens_end() {
    for (change, reason) in [
        ("UPDATE agents SET state = 'paused'", "agent_paused"),
        ("UPDATE agents SET state = 'stopped'", "agent_stopped"),
        ("UPDATE agents SET budget_cents = 1, spent_cents = 2", "over_budget"),
        ("UPDATE agents SET archived_at = 1", "token_revoked"),
        ("UPDATE credentials SET revoked_at = 1 WHERE agent_id IS NOT NULL", "token_revoked"),
        ("UPDATE credentials SET expires_at = 1 WHERE agent_id IS NOT NULL", "token_expired"),
        ("UPDATE users SET deactivated_at = 1", "account_deactivated"),
    ] {
        let site = Site::new().await;
        let carol = site.t.user(&site.ada.tenant, "carol@example.com", Role::Admin).await;
        let sql = format!("UPDATE resources SET introspectors = '[\"{}\"]'", carol.user);
        let token = site.token(&site.scout, CRM).await;
        site.t.execute(&sql).await.unwrap();
        assert_eq!(site.introspect(&carol, &token).await["active"], true);
        let change =
            change.replace("users SET deactivated_at = 1", "users SET deactivated_at = 1 WHERE email LIKE 'ada%'");
        site.t.execute(&change).await.unwrap();
        assert_eq!(site.introspect(&carol, &token).await, json!({ "active": false }), "{change}");
        let refused = site.exchange(&site.scout, &[("resource", CRM)]).await.refused(400, "invalid_request");
        assert_eq!(
            (&refused["reason"], &refused["error_description"]),
            (&json!(reason), &refused["detail"]),
            "{change}"
        );
        assert_eq!(site.t.number("SELECT count(*) FROM signed_tokens").await, 1, "{change}");
    }
}

/// R128: between the look and the statement somebody may press Stop: the statement decides.
#[tokio::test]
async fn a_stop_is_never_overtaken() {
    let site = Site::new().await;
    site.token(&site.scout, CRM).await;
    let found = store::resource::identified(site.t.db(), &site.ada.tenant, CRM).await.unwrap().unwrap();
    let insert = async |rests_on: &[String], resource: &common::id::ResourceId, number: u8| {
        let id = common::id::SignedTokenId::generate(site.t.now(), site.t.chance());
        let new = signed_token::New {
            id: &id,
            digest: Digest::of(&[number]),
            resource,
            rests_on,
            client_id: "c",
            act: None,
            scope: "",
            bound_to: None,
            created_at: site.t.now(),
            expires_at: site.t.now().plus_seconds(300),
        };
        signed_token::insert_hot(site.t.db(), &new).await.unwrap()
    };
    let (scout, crm) = (site.scout.credential.to_string(), site.crm.credential.to_string());
    let both = [scout.clone(), crm];
    assert!(insert(&both, &found.id, 1).await && insert(&both[..1], &found.id, 2).await);
    assert!(!insert(&[scout.clone(), "tok_unknown".to_owned()], &found.id, 3).await);
    site.t.execute("UPDATE agents SET state = 'stopped' WHERE name = 'crm'").await.unwrap();
    assert!(!insert(&both, &found.id, 4).await && insert(&both[..1], &found.id, 5).await);
    site.t.execute("DELETE FROM resources").await.unwrap();
    assert!(!insert(&both[..1], &found.id, 6).await);
}

/// R128: never longer than the credential that it is exchanged for.
#[tokio::test]
async fn a_token_never_outlives_what_it_rests_on() {
    let site = Site::new().await;
    let ends = Some(Timestamp::from_millis(site.t.now().millis() + 100_400));
    let key = site
        .t
        .credential(Kind::ApiKey, &site.ada.tenant, &site.ada.user, site.scout.agent.as_ref(), "x.crm.read", ends)
        .await;
    assert_eq!(site.exchange(&key, &[("resource", CRM)]).await.is(200)["expires_in"], 100);
    let token = site.token(&key, CRM).await;
    site.t.wait(40);
    let passed = site.pass(&token, &site.crm, &[("resource", CRM)]).await.is(200);
    assert_eq!(passed["expires_in"], 60);
    site.t.wait(60);
    site.t.clock().fetch_add(200, std::sync::atomic::Ordering::SeqCst);
    let refused = site.exchange(&key, &[("resource", CRM)]).await.refused(400, "invalid_request");
    assert_eq!(refused["reason"], "token_expired", "it ends within the second");
}

/// R128: the scope is what is effective, within what the service takes; a wish for more is refused with the step to it.
#[tokio::test]
async fn a_scope_is_never_wider_than_what_counts_now() {
    let site = Site::new().await;
    let ask = async |scope: &str| site.exchange(&site.scout, &[("resource", CRM), ("scope", scope)]).await;
    assert_eq!(ask("x.crm.read").await.is(200)["scope"], "x.crm.read");
    assert_eq!(ask("  x.crm.read x.crm.read ").await.is(200)["scope"], "x.crm.read");
    let refused = ask("x.crm.read x.crm.write").await.refused(400, "invalid_scope");
    assert_eq!((&refused["missing_scopes"], &refused["reason"]), (&json!(["x.crm.write"]), &json!("scope_denied")));
    assert!(text(&refused["fix"]).contains("POST /api/access-requests"), "{refused}");
    for foreign in ["agents.read", "x.mail.send", "*", "x.*", "x.crm.*", "openid"] {
        let refused = ask(foreign).await.refused(400, "invalid_scope");
        assert_eq!(refused["unknown_scopes"], json!([foreign]));
    }
    let secret = ask(&site.ada.token).await.refused(400, "invalid_scope");
    assert!(!secret.to_string().contains(&site.ada.token), "{secret}");

    let idle = site.t.agent(&site.ada, "idle", "agents.read").await;
    let refused = site.exchange(&idle, &[("resource", CRM)]).await.refused(400, "invalid_scope");
    assert_eq!(refused["missing_scopes"], json!(["x.crm.read", "x.crm.write"]));
    let body = json!({ "identifier": "https://who.example.com" });
    site.t.as_(&site.ada, "POST", "/api/resources", body).await.is(201);
    let plain = site.exchange(&idle, &[("resource", "https://who.example.com")]).await.is(200);
    assert_eq!(plain["scope"], "", "a service without scopes takes every agent of the tenant");
    site.exchange(&idle, &[("resource", "https://who.example.com"), ("scope", "x.crm.read")])
        .await
        .refused(400, "invalid_scope");

    // What is taken away afterwards is gone at introspection, and what comes back is back.
    let max = site.t.user(&site.ada.tenant, "max@example.com", Role::Admin).await;
    let worker = site.t.agent(&max, "worker", "x.crm.*").await;
    let token = site.token(&worker, CRM).await;
    for change in [
        "UPDATE users SET role = 'viewer' WHERE email LIKE 'max%'",
        "UPDATE agents SET scope = 'agents.read' WHERE name = 'worker'",
        "UPDATE resources SET scopes = 'x.crm.write'",
        "DELETE FROM custom_scopes WHERE name = 'x.crm.read'",
    ] {
        site.t.execute(change).await.unwrap();
        let expected = if change.contains("viewer") { "x.crm.read" } else { "" };
        assert_eq!(site.introspect(&site.crm, &token).await["scope"], expected, "{change}");
        site.t.execute("UPDATE users SET role = 'admin'").await.unwrap();
    }
}

/// R130: a service passes on what it was sent, under its own name, for what both may do; three services in a row at most.
#[tokio::test]
async fn each_hop_is_named_and_three_are_the_most() {
    let site = Site::new().await;
    let token = site.token(&site.scout, CRM).await;
    let passed = site.pass(&token, &site.crm, &[("resource", MAIL)]).await.is(200);
    assert_eq!(passed["scope"], "x.mail.send");
    let second = text(&passed["access_token"]);
    let claims = part(&second, 1);
    let (scout, crm, mail) = (&site.scout.agent, &site.crm.agent, &site.mail.agent);
    assert_eq!(
        (&claims["sub"], &claims["client_id"], &claims["act"], &claims["aud"]),
        (&json!(scout), &json!(crm), &json!({ "sub": crm }), &json!(MAIL))
    );
    assert_eq!(site.introspect(&site.mail, &second).await["act"], json!({ "sub": crm }));
    assert_eq!(site.introspect(&site.crm, &second).await["active"], false);
    let third = text(&site.pass(&second, &site.mail, &[("resource", CRM)]).await.is(200)["access_token"]);
    assert_eq!(part(&third, 1)["act"], json!({ "sub": mail, "act": { "sub": crm } }));
    let fourth = text(&site.pass(&third, &site.crm, &[("resource", MAIL)]).await.is(200)["access_token"]);
    assert_eq!(part(&fourth, 1)["act"], json!({ "sub": crm, "act": { "sub": mail, "act": { "sub": crm } } }));
    let refused = site.pass(&fourth, &site.mail, &[("resource", CRM)]).await.refused(400, "invalid_request");
    assert_eq!(refused["reason"], "too_many_hops");

    // A service that was sent the credential itself is named as well.
    let acting = [("resource", MAIL), ("actor_token", &*site.crm.token), ("actor_token_type", ACCESS_TOKEN)];
    let named = part(&text(&site.exchange(&site.scout, &acting).await.is(200)["access_token"]), 1);
    assert_eq!((&named["client_id"], &named["act"]), (&json!(crm), &json!({ "sub": crm })));

    // Without the service that acts, what it passed on is nothing: also further down.
    site.t.execute("UPDATE agents SET state = 'stopped' WHERE name = 'mail'").await.unwrap();
    assert_eq!(site.introspect(&site.crm, &third).await, json!({ "active": false }));
    assert_eq!(site.introspect(&site.crm, &token).await["active"], true);
    site.t.execute("UPDATE agents SET state = 'running'").await.unwrap();
    site.t.execute("UPDATE agents SET state = 'stopped' WHERE name = 'scout'").await.unwrap();
    for (service, token) in [(&site.crm, &token), (&site.mail, &second), (&site.crm, &third), (&site.mail, &fourth)] {
        assert_eq!(site.introspect(service, token).await, json!({ "active": false }));
    }
    site.pass(&token, &site.crm, &[("resource", MAIL)]).await.refused(400, "invalid_request");
}

/// R130: a service passes on nothing that it may not do itself, and nothing that the agent left out.
#[tokio::test]
async fn a_hop_makes_nothing_wider() {
    let site = Site::new().await;
    let small = site.t.agent(&site.ada, "small", "x.crm.read tokens.introspect").await;
    let sql = format!("UPDATE resources SET introspectors = '[\"{}\"]'", small.agent.as_ref().unwrap());
    let token = site.token(&site.scout, CRM).await;
    site.t.execute(&sql).await.unwrap();
    let refused = site.pass(&token, &small, &[("resource", MAIL)]).await.refused(400, "invalid_scope");
    assert!(text(&refused["detail"]).starts_with("The service that acts"), "{refused}");

    let rich = site.t.agent(&site.ada, "rich", "x.*").await;
    let crm = format!("UPDATE resources SET introspectors = '[\"{}\"]'", site.crm.agent.as_ref().unwrap());
    site.t.execute(&crm).await.unwrap();
    let narrow = site.exchange(&rich, &[("resource", CRM), ("scope", "x.crm.read")]).await.is(200);
    let narrow = text(&narrow["access_token"]);
    let passed = site.pass(&narrow, &site.crm, &[("resource", CRM)]).await.is(200);
    assert_eq!(passed["scope"], "x.crm.read");
    let refused = site.pass(&narrow, &site.crm, &[("resource", CRM), ("scope", "x.crm.write")]).await;
    assert_eq!(refused.refused(400, "invalid_scope")["missing_scopes"], json!(["x.crm.write"]));
}

/// R131: a form that is wrong in anything gives nothing.
#[tokio::test]
async fn a_wrong_form_is_refused() {
    let site = Site::new().await;
    let (agent, person) = (site.scout.token.clone(), site.ada.token.clone());
    let pat = site.t.credential(Kind::Pat, &site.ada.tenant, &site.ada.user, None, "*", None).await;
    let good: &[(&str, &str)] = &[("subject_token", &agent), ("subject_token_type", ACCESS_TOKEN), ("resource", CRM)];
    site.send(good).await.is(200);
    for (field, value, slug) in [
        ("subject_token", "", "invalid_request"),
        ("subject_token", &*person, "invalid_request"),
        ("subject_token", &pat.token, "invalid_request"),
        ("subject_token", "acr_agt_x", "invalid_request"),
        ("subject_token", "eyJhbGciOiJub25lIn0.e30.", "invalid_request"),
        ("subject_token_type", "", "invalid_request"),
        ("subject_token_type", JWT, "invalid_request"),
        ("subject_token_type", "urn:ietf:params:oauth:token-type:refresh_token", "invalid_request"),
        ("requested_token_type", "urn:ietf:params:oauth:token-type:refresh_token", "invalid_request"),
        ("actor_token_type", ACCESS_TOKEN, "invalid_request"),
        ("resource", "", "invalid_request"),
        ("resource", "https://crm.example.com/a", "invalid_target"),
        ("resource", "https://crm.example.com:444", "invalid_target"),
        ("resource", "http://localhost:3000", "invalid_target"),
        ("resource", "crm.example.com", "invalid_target"),
        ("audience", MAIL, "invalid_target"),
        ("resource", "[\"https://crm.example.com\"]", "invalid_target"),
        ("resource", "https://crm.example.com https://mail.example.com", "invalid_target"),
    ] {
        let kept = good.iter().filter(|(name, _)| *name != field).copied();
        let pairs: Vec<_> = kept.chain([(field, value)]).collect();
        let refused = site.send(&pairs).await.refused(400, slug);
        assert_eq!(refused["error_description"], refused["detail"], "{field}={value}");
        assert!(!refused.to_string().contains(&agent) && !refused.to_string().contains(&pat.token), "{refused}");
    }
    for (twice, slug) in [
        (("subject_token", &*agent), "invalid_request"),
        (("subject_token_type", ACCESS_TOKEN), "invalid_request"),
        (("resource", MAIL), "invalid_target"),
        (("resource", CRM), "invalid_target"),
        (("grant_type", GRANT), "invalid_request"),
    ] {
        site.send(&[good, &[twice]].concat()).await.refused(400, slug);
    }
    site.send(
        &[good, &[("audience", CRM), ("requested_token_type", JWT), ("client_id", "any"), ("x", "y"), ("x", "z")]]
            .concat(),
    )
    .await
    .is(200);
    let token = site.token(&site.scout, CRM).await;
    let bare = [("subject_token", &*token), ("subject_token_type", JWT), ("resource", MAIL)];
    assert_eq!(site.send(&bare).await.refused(400, "invalid_request")["field"], "actor_token");
    let other = site.t.tenant("other").await;
    let eve = site.t.user(&other, "eve@example.com", Role::Admin).await;
    let spy = site.t.agent(&eve, "spy", "x.*").await;
    for actor in [&spy, &site.ada, &pat] {
        site.pass(&token, actor, &[("resource", MAIL)]).await.refused(400, "invalid_request");
    }
    let acting = [("resource", CRM), ("actor_token", &*spy.token), ("actor_token_type", ACCESS_TOKEN)];
    site.exchange(&site.scout, &acting).await.refused(400, "invalid_request");
    site.exchange(&spy, &[("resource", CRM)]).await.refused(400, "invalid_target");
}

/// R744: a service is named in each spelling of its identifier, and its tokens have it as it was registered.
#[tokio::test]
async fn a_service_is_found_by_each_spelling() {
    let site = Site::new().await;
    for resource in ["https://crm.example.com/", "https://CRM.example.com", "https://crm.example.com:443"] {
        let token = site.token(&site.scout, resource).await;
        assert_eq!(part(&token, 1)["aud"], CRM, "{resource}");
    }
}

/// R126: without the operator's secret nothing is signed, and with a list the first one signs and all are published.
#[tokio::test]
async fn the_operators_secrets_sign_one_after_the_other() {
    let site = Site::new().await;
    let old = site.token(&site.scout, CRM).await;
    let keyless = TestApp::over_with(with_neighbours(), Settings::default(), &site.t);
    let pairs = [("subject_token", &*site.scout.token), ("subject_token_type", ACCESS_TOKEN), ("resource", CRM)];
    send(&keyless, &pairs).await.refused(503, "signing_disabled");
    assert_eq!(keyless.nobody("GET", "/oauth/jwks", Null).await.is(200), json!({ "keys": [] }));
    assert!(!verify(&keyless, &old).await);

    let next = TestApp::over_with(with_neighbours(), settings(&format!("{},{SECRET}", "n".repeat(32))), &site.t);
    let answer = next.nobody("GET", "/oauth/jwks", Null).await;
    assert_eq!(answer.is(200)["keys"].as_array().unwrap().len(), 4);
    assert_eq!(answer.header("content-type"), "application/jwk-set+json");
    assert_eq!(answer.header("cache-control"), "public, max-age=300");
    let known = next.call("GET", "/oauth/jwks", &[("if-none-match", answer.header("etag"))], Null).await;
    known.is(304);
    let new = text(&send(&next, &pairs).await.is(200)["access_token"]);
    assert!(verify(&next, &old).await && verify(&next, &new).await && !verify(&site.t, &new).await);
    assert_ne!(part(&new, 0)["kid"], part(&old, 0)["kid"]);
    assert_eq!(site.introspect(&site.crm, &new).await["active"], true);
    assert!(!answer.text.contains('d') || answer.is(200)["keys"][0].get("d").is_none());
}

/// R126: the issuer is the address that the operator set, whatever host a request names; without one it is a loopback host's.
#[tokio::test]
async fn the_issuer_is_never_what_a_stranger_says() {
    let site = Site::new().await;
    let ask = async |t: &TestApp, host: &str, path: &str, form: &str| {
        let request = if form.is_empty() { Request::get(path) } else { Request::post(path) };
        let request = request.header("host", host).header("content-type", "application/x-www-form-urlencoded");
        t.send(request.body(RequestBody::from(form.to_owned())).unwrap()).await
    };
    let form = form_urlencoded::Serializer::new(String::new())
        .extend_pairs([
            ("grant_type", GRANT),
            ("subject_token", &*site.scout.token),
            ("subject_token_type", ACCESS_TOKEN),
        ])
        .append_pair("resource", CRM)
        .finish();
    let metadata = "/.well-known/oauth-authorization-server";
    ask(&site.t, "evil.example", metadata, "").await.refused(503, "public_url_missing");
    ask(&site.t, "evil.example", "/oauth/token", &form).await.refused(503, "public_url_missing");
    assert_eq!(site.t.number("SELECT count(*) FROM signed_tokens").await, 0);
    let named = Settings {
        public_url: service::settings::PublicUrl::parse("https://acme.example/accredit/"),
        ..settings(SECRET)
    };
    let named = TestApp::over_with(with_neighbours(), named, &site.t);
    let told = ask(&named, "evil.example", metadata, "").await.is(200);
    assert_eq!(
        (&told["issuer"], &told["jwks_uri"]),
        (&json!("https://acme.example/accredit"), &json!("https://acme.example/accredit/oauth/jwks"))
    );
    let token = text(&ask(&named, "evil.example", "/oauth/token", &form).await.is(200)["access_token"]);
    assert_eq!(part(&token, 1)["iss"], "https://acme.example/accredit");
}

/// R128: tokens are bounded, ended ones are purged, and the resource takes its tokens with it.
#[tokio::test]
async fn tokens_are_bounded_and_purged() {
    let site = Site::new().await;
    let token = site.token(&site.scout, CRM).await;
    let credential = &site.scout.credential;
    // One token of 64 looks how many there are, by its digest.
    let tokens = async |first: i64, last: i64, digest: &str| {
        let ends = site.t.now().plus_seconds(300).millis();
        let tokens = format!(
            "WITH RECURSIVE n (i) AS (SELECT {first} UNION ALL SELECT i + 1 FROM n WHERE i < {last})
             INSERT INTO signed_tokens
             SELECT CAST({digest} || printf('%031d', i) AS BLOB), 'jti', 'res', '{credential}', '[]', 'c', NULL, '', {}, {ends}, NULL FROM n",
            site.t.now().millis()
        );
        site.t.execute(&tokens).await.unwrap();
    };
    tokens(2, 4_998, "char(4)").await;
    tokens(4_999, 4_999, "char(3)").await;
    site.exchange(&site.scout, &[("resource", MAIL)]).await.is(200);
    // It is full until fewer are left, not until the first one ends.
    let end = site.t.now().plus_seconds(300).millis();
    let earlier = format!(
        "UPDATE signed_tokens SET expires_at = {end} - 200000 WHERE digest = CAST(char(4) || printf('%031d', 2) AS BLOB)"
    );
    site.t.execute(&earlier).await.unwrap();
    tokens(5_000, 5_000, "char(3)").await;
    assert_eq!(site.t.number("SELECT until FROM full_credentials").await, end);
    let answer = site.exchange(&site.scout, &[("resource", MAIL)]).await;
    answer.refused(429, "too_many_signed_tokens");
    assert_eq!(answer.header("retry-after"), "300");
    let others = site.exchange(&site.crm, &[("resource", CRM)]).await;
    others.is(200);
    let resource = "DELETE FROM resources WHERE identifier = 'https://crm.example.com'";
    site.t.execute(resource).await.unwrap();
    assert_eq!(site.introspect(&site.crm, &token).await, json!({ "active": false }));
    site.t.wait(300);
    site.exchange(&site.scout, &[("resource", MAIL)]).await.is(200); // whether somebody has purged or not
    signed_token::purge(site.t.db(), site.t.now(), 10_000).await.unwrap();
    assert_eq!(site.t.number("SELECT count(*) FROM signed_tokens").await, 1);
}

/// R128: exchanges at the same time, on two hosts, while the agent is stopped: none is made after the stop, and each has its own `jti`.
#[tokio::test]
async fn exchanges_race_with_a_stop() {
    let site = Site::new().await;
    let second = TestApp::over_with(with_neighbours(), settings(SECRET), &site.t);
    let stop = format!("UPDATE agents SET state = 'stopped' WHERE id = '{}'", site.scout.agent.as_ref().unwrap());
    let answers = at_once(16, async |number| {
        if number == 8 {
            site.t.execute(&stop).await.unwrap();
            return None;
        }
        let t = if number % 2 == 0 { &site.t } else { &second };
        let pairs = [("subject_token", &*site.scout.token), ("subject_token_type", ACCESS_TOKEN), ("resource", CRM)];
        Some(send(t, &pairs).await)
    });
    let mut seen = std::collections::BTreeSet::new();
    for answer in answers.into_iter().flatten() {
        match answer.status.as_u16() {
            200 => assert!(seen.insert(text(&part(&text(&answer.is(200)["access_token"]), 1)["jti"]))),
            _ => assert_eq!(answer.refused(400, "invalid_request")["reason"], "agent_stopped"),
        }
    }
    let stored = site.t.number("SELECT count(*) FROM signed_tokens").await;
    assert_eq!(stored, i64::try_from(seen.len()).unwrap());
    site.exchange(&site.scout, &[("resource", CRM)]).await.refused(400, "invalid_request");
}
