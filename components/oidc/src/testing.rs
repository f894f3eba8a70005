//! For native tests: providers that answer as they are told, and sign with keys of their own.

use std::{cell::RefCell, collections::BTreeMap, rc::Rc};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use http::Request;
use p256::ecdsa::{Signature, SigningKey, signature::Signer};
use serde_json::{Value as Json, json};
use service::{
    outbound::stub,
    settings::{Settings, provider::IdentityProvider},
    testing::{Answer, TestApp},
};

pub(crate) const ACME: &str = "https://sso.acme.example";
pub(crate) const OTHER: &str = "https://id.other.example";

/// The settings of a server with two providers and GitHub.
pub(crate) fn settings() -> Settings {
    let read = Settings::read(|name| {
        let value = match name {
            "oidc1" => {
                "preset=generic name=acme issuer=https://sso.acme.example client_id=accredit domains=acme.example,sales:sales.example label=Acme SSO"
            }
            "oidc2" => {
                "preset=generic name=other issuer=https://id.other.example client_id=accredit domains=other.example"
            }
            "oidc3" => "preset=github client_id=hub domains=acme.example",
            "oidc1_secret" | "oidc2_secret" | "oidc3_secret" => "s3cret+/=",
            "public_url" => "https://accredit.example/acc",
            _ => return None,
        };
        Some(value.to_owned())
    });
    read.unwrap()
}

pub(crate) fn providers() -> Vec<IdentityProvider> {
    settings().identity_providers
}

pub(crate) fn provider(text: &str) -> IdentityProvider {
    let value = |name: &str| match name {
        "oidc1" => Some(text.to_owned()),
        "oidc1_secret" => Some("s3cret".to_owned()),
        _ => None,
    };
    Settings::read(value).unwrap().identity_providers.remove(0)
}

/// A key of a provider.
pub(crate) struct Key {
    id: String,
    key: SigningKey,
}

impl Key {
    pub(crate) fn new(id: &str) -> Self {
        let mut seed = [7; 32];
        for (to, from) in seed.iter_mut().zip(id.bytes()) {
            *to = from;
        }
        Self { id: id.to_owned(), key: SigningKey::from_slice(&seed).unwrap() }
    }

    pub(crate) fn public(&self) -> Json {
        let point = self.key.verifying_key().to_sec1_point(false);
        let coordinate = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let bytes = point.as_bytes();
        json!({ "kty": "EC", "crv": "P-256", "kid": self.id, "use": "sig", "alg": "ES256",
                "x": coordinate(&bytes[1..33]), "y": coordinate(&bytes[33..]) })
    }

    /// A token of these claims.
    pub(crate) fn sign(&self, claims: &Json) -> String {
        let header = json!({ "alg": "ES256", "kid": self.id, "typ": "JWT" });
        let signed = unsigned(&header, claims);
        let signature: Signature = self.key.sign(signed.as_bytes());
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature.to_bytes()))
    }
}

/// Header and claims of a token.
pub(crate) fn unsigned(header: &Json, claims: &Json) -> String {
    let encoded = |json: &Json| URL_SAFE_NO_PAD.encode(json.to_string());
    format!("{}.{}", encoded(header), encoded(claims))
}

/// What providers answer: by method and URL, and whatever else is an outage.
#[derive(Clone, Default)]
pub(crate) struct World(Rc<RefCell<BTreeMap<String, (u16, String)>>>);

impl World {
    /// Both providers, each with a key of its own.
    pub(crate) fn new() -> Self {
        let world = Self::default();
        for (issuer, key) in [(ACME, "acme-1"), (OTHER, "other-1")] {
            world.says(issuer, &metadata(issuer));
            world.has_keys(issuer, &[Key::new(key).public()]);
        }
        let answers = world.clone();
        stub::serve(Box::new(move |request: &Request<String>| {
            let asked = format!("{} {}", request.method(), request.uri());
            answers.0.borrow().get(&asked).cloned().ok_or_else(|| "ConnectionTimeout".to_owned())
        }));
        world
    }

    pub(crate) fn answers(&self, asked: &str, status: u16, body: &str) {
        self.0.borrow_mut().insert(asked.to_owned(), (status, body.to_owned()));
    }

    pub(crate) fn is_silent(&self, asked: &str) {
        self.0.borrow_mut().remove(asked);
    }

    pub(crate) fn says(&self, issuer: &str, metadata: &Json) {
        self.answers(&format!("GET {issuer}/.well-known/openid-configuration"), 200, &metadata.to_string());
    }

    pub(crate) fn has_keys(&self, issuer: &str, keys: &[Json]) {
        self.answers(&format!("GET {issuer}/keys"), 200, &json!({ "keys": keys }).to_string());
    }

    /// The next codes are traded for this token.
    pub(crate) fn trades(&self, issuer: &str, id_token: &str) {
        let tokens = json!({ "access_token": "a", "token_type": "Bearer", "id_token": id_token });
        self.answers(&format!("POST {issuer}/token"), 200, &tokens.to_string());
    }
}

pub(crate) fn metadata(issuer: &str) -> Json {
    json!({ "issuer": issuer, "authorization_endpoint": format!("{issuer}/authorize"),
            "token_endpoint": format!("{issuer}/token"), "jwks_uri": format!("{issuer}/keys") })
}

/// What was begun, as the browser has it.
pub(crate) struct Begun {
    pub(crate) provider: &'static str,
    pub(crate) url: String,
    pub(crate) flow: String,
    pub(crate) state: String,
    pub(crate) nonce: String,
}

impl Begun {
    pub(crate) fn read(provider: &'static str, begun: &Json) -> Self {
        let text = |name: &str| begun[name].as_str().unwrap().to_owned();
        let url = text("url");
        let (_, query) = url.split_once('?').unwrap();
        let pairs: BTreeMap<String, String> = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        let pair = |name: &str| pairs.get(name).cloned().unwrap_or_default();
        Self { provider, flow: text("flow"), state: pair("state"), nonce: pair("nonce"), url }
    }

    /// Claims that are right.
    pub(crate) fn claims(&self, t: &TestApp) -> Json {
        let (issuer, now) = (if self.provider == "other" { OTHER } else { ACME }, t.now().millis() / 1000);
        json!({ "iss": issuer, "aud": "accredit", "sub": "7", "exp": now + 300, "iat": now, "nonce": self.nonce,
                "email": "max@acme.example", "email_verified": true, "name": "Max" })
    }

    /// What the browser brings back.
    pub(crate) fn back(&self) -> Json {
        json!({ "flow": self.flow, "state": self.state, "code": "c0de" })
    }
}

pub(crate) async fn begin(t: &TestApp, provider: &'static str, next: &str) -> Begun {
    let path = format!("/auth/oidc/{provider}/start");
    Begun::read(provider, &t.nobody("POST", &path, json!({ "next": next })).await.is(200))
}

pub(crate) async fn finish(t: &TestApp, provider: &str, back: &Json) -> Answer {
    t.nobody("POST", &format!("/auth/oidc/{provider}/finish"), back.clone()).await
}
