//! For tests: an app that a person lets in, step by step.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use common::secret::Digest;
use http::Request;
use p256::ecdsa::{Signature, SigningKey, signature::Signer};
use serde_json::{Value as Json, json};
use service::{
    body::RequestBody,
    testing::{Actor, Answer, TestApp},
};

pub(crate) const CALLBACK: &str = "https://app.example.com/cb";
pub(crate) const CLIENTS: &str = "/api/oauth/clients";
pub(crate) const AUTHORIZE: &str = "/api/oauth/authorize";
pub(crate) const TOKEN: &str = "/oauth/token";
pub(crate) const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";

/// The challenge of a verifier.
pub(crate) fn challenge(verifier: &str) -> String {
    URL_SAFE_NO_PAD.encode(Digest::of(verifier.as_bytes()).bytes())
}

/// Pairs as a form or a query.
pub(crate) fn encoded(pairs: &[(&str, &str)]) -> String {
    form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish()
}

/// Sends a form, perhaps with an `Authorization` header.
pub(crate) async fn form_with(t: &TestApp, path: &str, basic: Option<&str>, body: &str) -> Answer {
    form_at(t, "127.0.0.1:3000", path, basic, body).await
}

/// The same at another name of the host.
pub(crate) async fn form_at(t: &TestApp, host: &str, path: &str, basic: Option<&str>, body: &str) -> Answer {
    let mut request = Request::post(path)
        .header("host", host)
        .header("content-type", "application/x-www-form-urlencoded")
        .header("spin-client-addr", "192.0.2.7:1");
    if let Some(basic) = basic {
        request = request.header("authorization", basic);
    }
    t.send(request.body(RequestBody::from(body.to_owned())).unwrap()).await
}

/// Registers a client.
pub(crate) async fn client(t: &TestApp, admin: &Actor, confidential: bool) -> Json {
    let body =
        json!({ "name": "Planner", "redirect_uris": [CALLBACK, "http://127.0.0.1/cb"], "confidential": confidential });
    t.as_(admin, "POST", CLIENTS, body).await.is(201)
}

/// A good request of a client, in which some parameters are other ones; an empty value leaves one out.
pub(crate) fn request(client: &str, changes: &[(&str, &str)]) -> String {
    let challenge = challenge(VERIFIER);
    let mut pairs = vec![
        ("response_type", "code"),
        ("client_id", client),
        ("redirect_uri", CALLBACK),
        ("code_challenge", challenge.as_str()),
        ("code_challenge_method", "S256"),
        ("scope", "agents.read agents.list"),
        ("state", "s-1"),
    ];
    for (name, value) in changes {
        pairs.retain(|(known, _)| known != name);
        if !value.is_empty() {
            pairs.push((name, value));
        }
    }
    encoded(&pairs)
}

/// The parameters of an address that a browser is sent to.
pub(crate) fn parameters(answer: &Json) -> Vec<(String, String)> {
    let to = answer["redirect_to"].as_str().unwrap();
    form_urlencoded::parse(to.split_once('?').unwrap().1.as_bytes()).into_owned().collect()
}

/// One of them.
pub(crate) fn parameter(answer: &Json, name: &str) -> String {
    let all = parameters(answer);
    all.into_iter().find(|(known, _)| known == name).map(|(_, value)| value).unwrap_or_default()
}

/// Lets an app in; its code.
pub(crate) async fn allowed(t: &TestApp, person: &Actor, request: &str) -> String {
    let answer = t.as_(person, "POST", AUTHORIZE, json!({ "request": request })).await.is(200);
    let code = parameter(&answer, "code");
    assert_eq!(code.len(), 43, "{answer}");
    code
}

/// The form that trades a code, in which some parameters are other ones.
pub(crate) fn trade(client: &str, code: &str, changes: &[(&str, &str)]) -> String {
    let mut pairs = vec![
        ("grant_type", "authorization_code"),
        ("client_id", client),
        ("code", code),
        ("redirect_uri", CALLBACK),
        ("code_verifier", VERIFIER),
    ];
    for (name, value) in changes {
        pairs.retain(|(known, _)| known != name);
        if !value.is_empty() {
            pairs.push((name, value));
        }
    }
    encoded(&pairs)
}

/// Lets an app in, and gets its tokens.
pub(crate) async fn tokens(t: &TestApp, person: &Actor, client: &str) -> Json {
    let code = allowed(t, person, &request(client, &[])).await;
    form_with(t, TOKEN, None, &trade(client, &code, &[])).await.is(200)
}

/// Sends a refresh token.
pub(crate) async fn refresh(t: &TestApp, client: &str, token: &Json) -> Answer {
    let pairs = [("grant_type", "refresh_token"), ("client_id", client), ("refresh_token", token.as_str().unwrap())];
    form_with(t, TOKEN, None, &encoded(&pairs)).await
}

/// The person with the access token of an answer.
pub(crate) fn bearing(person: &Actor, answer: &Json) -> Actor {
    Actor { token: answer["access_token"].as_str().unwrap().to_owned(), ..person.clone() }
}

/// The key of this name.
fn key(name: &str) -> SigningKey {
    SigningKey::from_slice(Digest::of(name.as_bytes()).bytes()).unwrap()
}

/// The public key of this name, under an id of its own or another one's.
pub(crate) fn public(name: &str, id: &str) -> Json {
    let point = key(name).verifying_key().to_sec1_point(false);
    let bytes = point.as_bytes();
    json!({
        "kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": id,
        "x": URL_SAFE_NO_PAD.encode(&bytes[1..33]), "y": URL_SAFE_NO_PAD.encode(&bytes[33..]),
    })
}

/// A token that the key of this name has signed.
pub(crate) fn signed(name: &str, header: &Json, claims: &str) -> String {
    let text = format!("{}.{}", URL_SAFE_NO_PAD.encode(header.to_string()), URL_SAFE_NO_PAD.encode(claims));
    let signature: Signature = key(name).sign(text.as_bytes());
    format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature.to_bytes()))
}

/// The public key of this name as it stands in a proof.
pub(crate) fn jwk(name: &str) -> Json {
    let mut key = public(name, "");
    key.as_object_mut().unwrap().retain(|member, _| ["kty", "crv", "x", "y"].contains(&member.as_str()));
    key
}

/// The thumbprint of the key of this name.
pub(crate) fn thumbprint(name: &str) -> String {
    let key = jwk(name);
    common::proof::thumbprint("EC", "P-256", key["x"].as_str().unwrap(), key["y"].as_str())
}

/// A proof of the key of this name for a request, in which some members of header or claims are other ones; null leaves one out.
pub(crate) fn proof(
    t: &TestApp,
    name: &str,
    (method, path): (&str, &str),
    token: Option<&str>,
    changes: &[(&str, Json)],
) -> String {
    static COUNT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
    let count = COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let mut header = json!({ "typ": "dpop+jwt", "alg": "ES256", "jwk": jwk(name) });
    let mut claims = json!({
        "jti": format!("proof-{count}"), "htm": method, "htu": format!("http://127.0.0.1:3000{path}"),
        "iat": t.now().millis() / 1000,
    });
    if let Some(token) = token {
        claims["ath"] = json!(challenge(token));
    }
    for (member, value) in changes {
        let part = if ["typ", "alg", "jwk", "kid"].contains(member) { &mut header } else { &mut claims };
        part[*member] = value.clone();
        if value.is_null() {
            part.as_object_mut().unwrap().shift_remove(*member);
        }
    }
    signed(name, &header, &claims.to_string())
}
