use common::{role::Role, secret::Kind, url::OutboundHosts};
use service::{settings::Settings, testing::TestApp};

use super::*;
use crate::with_neighbours;

const PATH: &str = "/api/agents/scout/federated-credentials";

fn keys() -> Json {
    json!({ "keys": [{
        "kty": "EC", "crv": "P-256", "kid": "a", "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
        "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
    }] })
}

fn body(more: Json) -> Json {
    let mut body =
        json!({ "name": "ci", "issuer": "kubernetes", "subject": "system:serviceaccount:prod:api", "jwks": keys() });
    for (name, value) in more.as_object().unwrap() {
        match value {
            Null => drop(body.as_object_mut().unwrap().remove(name)),
            value => body[name] = value.clone(),
        }
    }
    body
}

fn app() -> TestApp {
    let outbound_hosts = OutboundHosts::parse("issuer.example.com").unwrap();
    TestApp::with(with_neighbours(), Settings { outbound_hosts, ..Settings::default() })
}

/// R169: keys come from one place: pasted, from a URL, or by discovery; of hosts that the operator allows.
#[tokio::test]
async fn keys_come_from_one_place() {
    let t = app();
    let ada = t.ada().await;
    t.agent(&ada, "scout", "agents.read").await;
    let made = t.as_(&ada, "POST", PATH, body(json!({}))).await.is(201);
    assert_eq!(
        (&made["has_pasted_keys"], &made["audience"], &made["single_use"], &made["expires_in"], &made["scope"]),
        (&json!(true), &json!("http://127.0.0.1:3000"), &json!(true), &json!(3600), &json!(["agents.read"]))
    );
    let issuer = "https://issuer.example.com/tenant";
    let more = json!({ "name": "two", "issuer": issuer, "jwks": null });
    let made = t.as_(&ada, "POST", PATH, body(more)).await.is(201);
    assert_eq!((&made["has_pasted_keys"], &made["jwks_uri"]), (&json!(false), &Null));
    let uri = "https://issuer.example.com/keys?v=1";
    let made = t.as_(&ada, "POST", PATH, body(json!({ "name": "three", "jwks": null, "jwks_uri": uri }))).await.is(201);
    assert_eq!(made["jwks_uri"], uri);
    assert_eq!(t.as_(&ada, "GET", PATH, Null).await.is(200)["items"].as_array().unwrap().len(), 3);
    for (more, status, slug) in [
        (json!({ "jwks_uri": uri }), 422, "validation_error"),
        (json!({ "jwks": null }), 422, "validation_error"),
        // R445: keys that no assertion can tell apart.
        (json!({ "jwks": { "keys": [keys()["keys"][0], keys()["keys"][0]] } }), 422, "validation_error"),
        (json!({ "jwks": null, "issuer": "https://issuer.example.com/?x" }), 422, "validation_error"),
        (json!({ "jwks": null, "issuer": "http://issuer.example.com" }), 400, "invalid_outbound_url"),
        (json!({ "jwks": null, "issuer": "https://evil.example" }), 403, "host_not_allowed"),
        (json!({ "jwks": null, "issuer": "https://127.0.0.1" }), 403, "host_not_allowed"),
        (json!({ "jwks": null, "issuer": "https://a@issuer.example.com" }), 422, "validation_error"),
        (json!({ "jwks": null, "jwks_uri": "https://evil.example/k" }), 403, "host_not_allowed"),
        (json!({ "jwks": null, "jwks_uri": "http://issuer.example.com/k" }), 400, "invalid_outbound_url"),
        (json!({ "jwks": {} }), 422, "validation_error"),
        (json!({ "jwks": { "keys": [] } }), 422, "validation_error"),
        (json!({ "jwks": { "keys": [{ "kty": "oct", "k": "AA" }] } }), 422, "validation_error"),
        (json!({ "jwks": "x" }), 422, "validation_error"),
    ] {
        let mut more = more;
        more["name"] = json!("bad");
        t.as_(&ada, "POST", PATH, body(more)).await.refused(status, slug);
    }
    let private = keys()["keys"][0].clone();
    let mut private = private;
    private["d"] = json!("AA");
    let refusal = t
        .as_(&ada, "POST", PATH, body(json!({ "jwks": { "keys": [private] } })))
        .await
        .refused(422, "validation_error");
    assert!(refusal.to_string().contains("private or a shared key"), "{refusal}");
}

/// R389: of a trust domain of SPIFFE, whose keys have to be said, subjects of that domain alone are trusted.
#[tokio::test]
async fn a_trust_domain_is_trusted_for_its_own_subjects() {
    let t = app();
    let ada = t.ada().await;
    t.agent(&ada, "scout", "agents.read").await;
    let issuer = "spiffe://acme.example";
    let of = |subject: &str| json!({ "issuer": issuer, "subject": subject });
    for bad in ["spiffe://evil.example/ns/prod", "spiffe://acme.example.evil/ns/prod", "spiffe://acme.example/", "api"]
    {
        let refused = t.as_(&ada, "POST", PATH, body(of(bad))).await.refused(422, "validation_error");
        assert_eq!(refused["fields"][0]["field"], "subject", "{bad}: {refused}");
    }
    let mut without_keys = of("spiffe://acme.example/ns/prod/sa/*");
    without_keys["jwks"] = Null;
    let refused = t.as_(&ada, "POST", PATH, body(without_keys)).await.refused(422, "validation_error");
    assert_eq!(refused["fields"][0]["field"], "issuer");
    let made = t.as_(&ada, "POST", PATH, body(of("spiffe://acme.example/ns/prod/sa/*"))).await.is(201);
    assert_eq!(made["issuer"], issuer);
}

/// R170: what is trusted is said exactly.
#[tokio::test]
async fn what_is_trusted_is_said_exactly() {
    let t = app();
    let ada = t.ada().await;
    t.agent(&ada, "scout", "agents.read").await;
    let many: serde_json::Map<String, Json> = (0..17).map(|n| (format!("c{n}"), json!("x"))).collect();
    for (field, value) in [
        ("subject", json!("*")),
        ("subject", json!("repo:*/shop:ref")),
        ("subject", json!("")),
        ("subject", json!("a b")),
        ("issuer", json!("")),
        ("issuer", json!("a b")),
        ("issuer", json!("x".repeat(501))),
        ("audience", json!("")),
        ("audience", json!("a\u{202e}")),
        ("claims", json!({ "sub": "x" })),
        ("claims", json!({ "": "x" })),
        ("claims", json!({ "x": "y".repeat(256) })),
        ("claims", json!({ "x": 7 })),
        ("claims", json!(many)),
        ("unknown", json!(1)),
    ] {
        let refusal = t.as_(&ada, "POST", PATH, body(json!({ field: value }))).await.refused(422, "validation_error");
        assert!(refusal["fields"].to_string().contains(field), "{refusal}");
    }
    for (more, status, slug) in [
        (json!({ "name": "" }), 400, "invalid_text"),
        (json!({ "expires_in": 59 }), 400, "invalid_number"),
        (json!({ "expires_in": 3601 }), 400, "invalid_number"),
        (json!({ "scope": ["nothing"] }), 400, "unknown_scope"),
        (json!({ "scope": ["agents.create"] }), 400, "scope_too_wide"),
        (json!({ "scope": ["*"] }), 400, "scope_too_wide"),
        (json!({ "preset": "nothing" }), 400, "unknown_preset"),
    ] {
        t.as_(&ada, "POST", PATH, body(more)).await.refused(status, slug);
    }
    assert_eq!(t.number("SELECT count(*) FROM federated_credentials").await, 0);
    let claims = json!({ "repository": "acme/shop", "environment": "prod" });
    let made = t.as_(&ada, "POST", PATH, body(json!({ "claims": claims }))).await.is(201);
    assert_eq!(made["claims"], claims);
    t.as_(&ada, "POST", PATH, body(json!({}))).await.refused(409, "federated_credential_taken");
    for number in 1..federated_credential::MOST {
        t.as_(&ada, "POST", PATH, body(json!({ "name": format!("n{number}") }))).await.is(201);
    }
    t.as_(&ada, "POST", PATH, body(json!({ "name": "more" }))).await.refused(409, "too_many_federated_credentials");
}

/// R171: an owner and an admin trust for an agent; an editor may end it, a reader may read it, and no agent trusts for itself.
#[tokio::test]
async fn only_owners_and_admins_trust() {
    let t = app();
    let ada = t.ada().await;
    let mia = t.user(&ada.tenant, "mia@example.com", Role::Member).await;
    let max = t.user(&ada.tenant, "max@example.com", Role::Member).await;
    let eve = t.user(&t.tenant("other").await, "eve@example.com", Role::Admin).await;
    let scout = t.agent(&mia, "scout", "agents.*").await;
    let id = scout.agent.clone().unwrap();
    let small = |name: &str| body(json!({ "name": name, "scope": ["agents.read"] }));
    t.as_(&scout, "POST", PATH, small("own")).await.refused(403, "person_required");
    t.as_(&max, "POST", PATH, small("x")).await.refused(404, "agent_not_found");
    t.as_(&eve, "POST", PATH, small("x")).await.refused(404, "agent_not_found");
    t.grant(&id, &ada.tenant, max.user.as_str(), "editor", &mia.user).await;
    t.as_(&max, "POST", PATH, small("x")).await.refused(403, "permission_denied");
    let made = t.as_(&mia, "POST", PATH, small("one")).await.is(201);
    t.as_(&ada, "POST", PATH, small("two")).await.is(201);
    // R679: its owner is told what it is, in words that alarm.
    let told = t.texts(&format!("SELECT title || ' ' || body FROM notifications WHERE user_id = '{}'", mia.user)).await;
    assert!(
        told.iter().any(|one| one.starts_with("Workloads may act as scout ada@example.com lets workloads of")),
        "{told:?}"
    );
    let narrow = t.credential(Kind::Pat, &ada.tenant, &mia.user, None, "agents.read", None).await;
    t.as_(&narrow, "POST", PATH, small("x")).await.refused(403, "scope_denied");
    let one = format!("{PATH}/{}", made["id"].as_str().unwrap());
    assert_eq!(t.as_(&max, "GET", &one, Null).await.is(200)["name"], "one");
    let other = t.agent(&mia, "other", "agents.read").await;
    drop(other);
    let elsewhere = one.replace("scout", "other");
    t.as_(&mia, "GET", &elsewhere, Null).await.refused(404, "federated_credential_not_found");
    t.as_(&mia, "DELETE", &elsewhere, Null).await.refused(404, "federated_credential_not_found");
    let ended = t.as_(&max, "DELETE", &one, Null).await;
    assert_eq!(ended.status, 204, "{}", ended.text);
    let rows = t.texts("SELECT action FROM audit WHERE action LIKE 'agent.federated%' ORDER BY seq").await;
    assert_eq!(
        rows,
        ["agent.federated_credential.create", "agent.federated_credential.create", "agent.federated_credential.delete"]
    );
    // A replayed request makes no second one.
    let key = [("authorization", format!("Bearer {}", mia.token)), ("idempotency-key", "k-1".to_owned())];
    let key: Vec<(&str, &str)> = key.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let first = t.call("POST", PATH, &key, small("three")).await.is(201);
    assert_eq!(t.call("POST", PATH, &key, small("three")).await.is(201), first);
}
