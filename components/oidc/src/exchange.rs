//! From a code to tokens (RFC 6749, sections 4.1.3 and 4.1.4).

use base64::{Engine, engine::general_purpose::STANDARD};
use common::error::{ApiError, Code};
use http::{Method, header};
use serde_json::Value as Json;
use service::settings::provider::IdentityProvider;

use crate::call::{self, error_word, outage, wrong_setup};

/// Words by which a token endpoint refuses how this server is set up (RFC 6749, section 5.2). The last two are GitHub's.
const OF_SETUP: [&str; 7] = [
    "invalid_client",
    "invalid_request",
    "invalid_scope",
    "unauthorized_client",
    "unsupported_grant_type",
    "incorrect_client_credentials",
    "redirect_uri_mismatch",
];

/// What a code is traded with.
pub(crate) struct Trade<'a> {
    /// The provider.
    pub(crate) provider: &'a IdentityProvider,
    /// Where.
    pub(crate) endpoint: &'a str,
    /// Whether the client secret goes into the form.
    pub(crate) secret_in_form: bool,
    /// The code.
    pub(crate) code: &'a str,
    /// The same as in the authentication request (RFC 6749, section 4.1.3).
    pub(crate) redirect_uri: &'a str,
    /// RFC 7636, section 4.5.
    pub(crate) verifier: &'a str,
}

impl Trade<'_> {
    /// Trades the code. The answer is the token response.
    pub(crate) async fn send(&self) -> Result<Json, ApiError> {
        let (id, secret) = (self.provider.client_id.as_str(), self.provider.client_secret.reveal());
        let mut pairs = vec![
            ("grant_type", "authorization_code"),
            ("code", self.code),
            ("redirect_uri", self.redirect_uri),
            ("code_verifier", self.verifier),
        ];
        let mut request = call::request(Method::POST, self.endpoint)
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
        if self.secret_in_form {
            pairs.extend([("client_id", id), ("client_secret", secret)]);
        } else {
            // RFC 6749, section 2.3.1: both are form-encoded first.
            let encoded = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
            let basic = STANDARD.encode(format!("{}:{}", encoded(id), encoded(secret)));
            request = request.header(header::AUTHORIZATION, format!("Basic {basic}"));
        }
        let form = form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
        let answer = call::send(request, form).await?;
        match (answer.status, error_word(&answer.body)) {
            (200, "") => Ok(answer.body),
            // RFC 6749, section 5.2: the code is wrong, used or too old. GitHub has a word of its own, and says it with 200.
            (_, "invalid_grant" | "bad_verification_code") => {
                let expired = Code::SignInExpired.with("provider", &self.provider.name);
                Err(expired.cause("the provider does not take the code"))
            }
            (status, word) if OF_SETUP.contains(&word) => {
                Err(wrong_setup(format!("{} answered {status} {word}", self.endpoint)))
            }
            (status, word) => Err(outage(format!("{} answered {status} {word}", self.endpoint))),
        }
    }
}
