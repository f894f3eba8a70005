use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use common::{
    role::Role,
    secret::{Digest, Kind},
};
use service::{
    settings::Settings,
    testing::{Actor, TestApp},
};

use super::*;
use crate::with_neighbours;

const SECRET: &str = "a-secret-of-the-operator-that-is-long-enough";

fn settings() -> Settings {
    Settings { signing_keys: common::signing::keys(SECRET).unwrap(), ..Settings::default() }
}

/// Ada revokes a personal access token of hers; the id of the closure.
async fn revoked(t: &TestApp, ada: &Actor) -> (String, String) {
    let pat = t.credential(Kind::Pat, &ada.tenant, &ada.user, None, "*", None).await;
    let answer = t.as_(ada, "DELETE", &format!("/auth/tokens/{}", pat.credential), Null).await;
    (answer.header("x-accredit-closure").to_owned(), pat.credential.to_string())
}

fn part(token: &str, number: usize) -> Json {
    let part = token.split('.').nth(number).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
}

/// R166: a receipt is signed by a key of the set, and says everything that the closure says, by name.
#[tokio::test]
async fn a_receipt_says_what_has_ended_and_is_signed() {
    let t = TestApp::with(with_neighbours(), settings());
    let ada = t.ada().await;
    let (id, token) = revoked(&t, &ada).await;
    let answer = t.as_(&ada, "GET", &format!("/api/closures/{id}/receipt"), Null).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_eq!(answer.header("content-type"), "application/jwt");
    assert_eq!(answer.header("content-disposition"), format!("attachment; filename=\"{id}.jwt\""));
    let keys = t.nobody("GET", "/oauth/jwks", Null).await.is(200);
    let (header, claims) = (part(&answer.text, 0), part(&answer.text, 1));
    assert_eq!(header, json!({ "typ": "closure+jwt", "alg": "EdDSA", "kid": keys["keys"][0]["kid"] }));
    let (signed, signature) = answer.text.rsplit_once('.').unwrap();
    let key: [u8; 32] = URL_SAFE_NO_PAD.decode(keys["keys"][0]["x"].as_str().unwrap()).unwrap().try_into().unwrap();
    let signature: [u8; 64] = URL_SAFE_NO_PAD.decode(signature).unwrap().try_into().unwrap();
    let key = ed25519_dalek::VerifyingKey::from_bytes(&key).unwrap();
    key.verify_strict(signed.as_bytes(), &ed25519_dalek::Signature::from_bytes(&signature)).unwrap();

    let at = "2026-01-02T03:04:05.000Z";
    let facts = json!({
        "id": id, "tenant": ada.tenant, "user": ada.user, "agent": null, "action": "token.revoke", "object": token, "at": at, "epoch": 1,
        "ended": { "agents": 0, "people": 0, "tokens": 1, "keys": 0, "sessions": 0, "approvals": 0, "streams": 0 },
        "ids": { "agents": [], "people": [], "tokens": [token], "keys": [], "sessions": [], "approvals": [] },
    });
    let digest = Digest::of(facts.to_string().as_bytes()).to_string();
    assert_eq!(
        claims,
        json!({
            "iss": "http://127.0.0.1:3000", "iat": 1_767_323_045, "sub": id, "closure": facts, "digest": digest,
            "status": "closed", "closed_at": at, "latest": null, "waiting": [], "audit": claims["audit"],
        })
    );
    // The trail names the digest in the row that the receipt names, with the digest that the row's seal lists.
    let row =
        "SELECT id || ' ' || seq || ' ' || (after ->> '$.closure.digest') FROM audit WHERE action = 'token.revoke'";
    let audit = &claims["audit"];
    assert_eq!(t.texts(row).await, [format!("{} {} {digest}", audit["id"].as_str().unwrap(), audit["seq"])]);
    assert_eq!(audit["digest"].as_str().unwrap().len(), 64);
    // It is no token.
    let bearer = Actor { token: answer.text.clone(), ..ada.clone() };
    t.as_(&bearer, "GET", "/api/auth/whoami", Null).await.refused(401, "invalid_token");
}

/// R166: a partial closure has a receipt too, which says until when a guard can go on.
#[tokio::test]
async fn a_receipt_of_a_partial_closure_says_so() {
    let t = TestApp::with(with_neighbours(), settings());
    let ada = t.ada().await;
    let guard = t.credential(Kind::Pat, &ada.tenant, &ada.user, None, "tokens.introspect", None).await;
    t.as_(&guard, "GET", "/auth/epochs?guard=g1&after=0", Null).await.is(200);
    let (id, _) = revoked(&t, &ada).await;
    let claims = async || {
        let answer = t.as_(&ada, "GET", &format!("/api/closures/{id}/receipt"), Null).await;
        part(&answer.text, 1)
    };
    let partial = claims().await;
    let until = "2026-01-02T03:04:16.000Z";
    assert_eq!(
        (&partial["status"], &partial["closed_at"], &partial["latest"]),
        (&json!("partial"), &Null, &json!(until))
    );
    assert_eq!(partial["waiting"], json!([{ "guard": "g1", "until": until }]));
    t.wait(11);
    let closed = claims().await;
    assert_eq!((&closed["status"], &closed["closed_at"]), (&json!("closed"), &json!(until)));
    assert_eq!((&closed["closure"], &closed["digest"]), (&partial["closure"], &partial["digest"]));
}

/// R166: without a key nothing is signed; a closure that is not the caller's is not there, with a key and without.
#[tokio::test]
async fn a_receipt_needs_a_key_and_a_caller_whom_the_closure_concerns() {
    for settings in [settings(), Settings::default()] {
        let is_signing = !settings.signing_keys.is_empty();
        let t = TestApp::with(with_neighbours(), settings);
        let ada = t.ada().await;
        let (id, _) = revoked(&t, &ada).await;
        let path = format!("/api/closures/{id}/receipt");
        if !is_signing {
            t.as_(&ada, "GET", &path, Null).await.refused(503, "signing_disabled");
        }
        let max = t.user(&ada.tenant, "max@example.com", Role::Member).await;
        let other = t.tenant("other").await;
        let eve = t.user(&other, "eve@example.com", Role::Admin).await;
        for stranger in [&max, &eve] {
            t.as_(stranger, "GET", &path, Null).await.refused(404, "closure_not_found");
        }
        t.as_(&ada, "GET", "/api/closures/cls_nothing/receipt", Null).await.refused(404, "closure_not_found");
        t.as_(&ada, "GET", &format!("{path}?wait=1"), Null).await.refused(422, "validation_error");
        t.nobody("GET", &path, Null).await.refused(401, "missing_credential");
    }
}

/// R166: a closure of a release that kept neither its row nor ids has a receipt that claims neither.
#[tokio::test]
async fn a_receipt_of_an_older_closure_claims_no_row() {
    let t = TestApp::with(with_neighbours(), settings());
    let ada = t.ada().await;
    t.execute(&format!(
        "INSERT INTO closures (id, tenant_id, user_id, action, object_id, at, since, epoch, ended, closed_at)
         VALUES ('cls_old', '{}', '{}', 'agent.stop', 'agt_1', 0, 0, 1,
                 '{{\"agents\":1,\"people\":0,\"tokens\":0,\"keys\":0,\"sessions\":0,\"approvals\":0,\"streams\":0}}', 5)",
        ada.tenant, ada.user
    ))
    .await
    .unwrap();
    let answer = t.as_(&ada, "GET", "/api/closures/cls_old/receipt", Null).await;
    let claims = part(&answer.text, 1);
    assert_eq!((&claims["audit"], &claims["closure"]["ids"]), (&Null, &Null));
    assert_eq!(claims["closed_at"], "1970-01-01T00:00:00.005Z");
}
