//! What a caller is told instead of the service's answer.

use serde_json::json;

use crate::{
    header::{self, Header},
    question::Answer,
    settings::Settings,
};

/// An answer of the guard's own, or Accredit's refusal.
#[derive(Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Its status.
    pub status: u16,
    /// Its headers, without its length.
    pub headers: Vec<Header>,
    /// Its body.
    pub body: Vec<u8>,
}

impl Refusal {
    /// JSON of the guard's own.
    pub fn json(status: u16, body: String) -> Self {
        let headers = [("content-type", "application/json"), ("cache-control", "no-store")];
        let headers = headers.map(|(name, value)| (name.to_owned(), value.as_bytes().to_vec())).to_vec();
        Self { status, headers, body: body.into_bytes() }
    }

    /// Accredit's own, which says why, and how to fix it.
    pub fn of_accredit(answer: Answer) -> Self {
        Self { status: answer.status, headers: header::refused(&answer.headers), body: answer.body }
    }

    /// The guard could not find out.
    pub fn not_verified(detail: &str) -> Self {
        let fix = "Wait a moment, then send the request again. If it goes on, tell the operator of this service.";
        Self::json(503, json!({ "error": "not_verified", "detail": detail, "fix": fix }).to_string())
    }

    /// The request cannot be compared with the rules.
    pub fn ambiguous(settings: &Settings, detail: &str) -> Self {
        let fix = "Send the request in its plain form.";
        Self::json(400, envelope(settings, "ambiguous_request", detail, fix).to_string())
    }

    /// A body that is too long to be looked at.
    pub fn too_large(settings: &Settings, most: usize) -> Self {
        let detail = format!("The body is larger than {most} bytes.");
        let fix = "Send less in one request.";
        Self::json(413, envelope(settings, "body_too_large", &detail, fix).to_string())
    }

    /// A signed token that counts for nothing here (RFC 6750, section 3.1).
    pub fn invalid_token(settings: &Settings, why: &str) -> Self {
        let detail = format!("The signed token is not accepted: {why}.");
        let fix = format!(
            "Get a new token for {} with POST {}/oauth/token, and send it as Authorization: Bearer <token>.",
            settings.resource, settings.accredit
        );
        let body = envelope(settings, "invalid_token", &detail, &fix);
        Self::json(401, body.to_string()).with_challenge(settings, "error=\"invalid_token\", ")
    }

    /// A proof that does not count, or a signed token that came without one that it needs (RFC 9449, section 7.1).
    pub fn not_proved(settings: &Settings, error: &str, why: &str) -> Self {
        let detail = format!("The key that the signed token is bound to is not proved: {why}.");
        let fix = "Send Authorization: DPoP <token>, and in the header DPoP a new proof of the key for this request.";
        let algs = common::proof::ALGORITHMS.join(" ");
        let body = Self::json(401, envelope(settings, error, &detail, fix).to_string());
        body.with_scheme(settings, "DPoP", &format!("error=\"{error}\", algs=\"{algs}\", "))
    }

    /// A signed token without the scopes that the request needs.
    pub fn insufficient(settings: &Settings, missing: &[&str]) -> Self {
        let detail = "The signed token does not carry every scope that this request needs.";
        let fix = format!(
            "Get a token for {} that carries: {}. If the agent cannot use it, ask for it with POST {}/api/access-requests.",
            settings.resource,
            missing.join(" "),
            settings.accredit
        );
        let mut body = envelope(settings, "scope_denied", detail, &fix);
        if let Some(members) = body.as_object_mut() {
            members.insert("missing_scopes".to_owned(), json!(missing));
        }
        let challenge = format!("error=\"insufficient_scope\", scope=\"{}\", ", missing.join(" "));
        Self::json(403, body.to_string()).with_challenge(settings, &challenge)
    }

    fn with_challenge(self, settings: &Settings, what: &str) -> Self {
        self.with_scheme(settings, "Bearer", what)
    }

    fn with_scheme(mut self, settings: &Settings, scheme: &str, what: &str) -> Self {
        let metadata = settings.metadata_url();
        let value = format!("{scheme} realm=\"accredit\", {what}resource_metadata=\"{metadata}\"");
        self.headers.push(("www-authenticate".to_owned(), value.into_bytes()));
        self
    }
}

fn envelope(settings: &Settings, error: &str, detail: &str, fix: &str) -> serde_json::Value {
    let page = format!("{}/docs/agents/concepts/guarding#refusals", settings.accredit);
    json!({ "error": error, "detail": detail, "fix": fix, "doc_url": page })
}
