//! What the requests and the answers of OAuth have in common: forms, scopes, the type of a token, refusals.

use common::{
    error::{ApiError, Code},
    secret::Secret,
    text::{credential_in, text},
};
use service::{app::App, caller::Caller, reader};

/// The longest name of a machine and of a program, characters.
const MOST_NAME: usize = 64;
/// Scopes of OpenID Connect, which its libraries always ask for. There are no ID tokens here, and every client gets refresh tokens, so that they
/// change nothing (RFC 6749, section 3.3: the answer says the scope that was given).
const IGNORED: [&str; 6] = ["openid", "profile", "email", "address", "phone", "offline_access"];

/// A form of OAuth: unknown parameters are ignored, an empty one is left out, and none may come twice (RFC 6749, section 3.1).
pub(crate) struct Parameters(pub(crate) Vec<(String, String)>);

/// Parameters of requests for a token. Of resources a standard allows several (RFC 8707), which have a refusal of their own.
const ONCE: [&str; 19] = [
    "grant_type",
    "client_id",
    "client_secret",
    "client_assertion",
    "client_assertion_type",
    "scope",
    "code",
    "code_verifier",
    "redirect_uri",
    "refresh_token",
    "device_code",
    "assertion",
    "subject_token",
    "subject_token_type",
    "actor_token",
    "actor_token_type",
    "requested_token_type",
    "username",
    "password",
];

impl Parameters {
    /// Refuses a form in which a parameter of requests for a token stands twice, whichever grant reads it: two readers of the request could
    /// take it for two things (RFC 6749, section 3.2).
    pub(crate) fn check_once(&self) -> Result<(), ApiError> {
        ONCE.into_iter().try_for_each(|name| self.find(name).map(drop))
    }

    /// The value of a parameter that may be left out.
    pub(crate) fn find(&self, name: &'static str) -> Result<Option<&str>, ApiError> {
        let mut sent = self.0.iter().filter(|(known, _)| known == name).map(|(_, value)| value.trim());
        match (sent.next(), sent.next()) {
            (value, None) => Ok(value.filter(|value| !value.is_empty())),
            (_, Some(_)) => Err(Code::InvalidRequest
                .detail(format!("The form contains {name} more than once."))
                .with("field", name)),
        }
    }

    /// The value of a parameter that must be there.
    pub(crate) fn get(&self, name: &'static str) -> Result<&str, ApiError> {
        let missing = || Code::InvalidRequest.detail(format!("The form lacks {name}.")).with("field", name);
        self.find(name)?.ok_or_else(missing)
    }

    /// What a client calls itself. A person reads it, so it is one line that shows all that is in it; and it is kept, so it holds no
    /// credential.
    pub(crate) fn name(&self, name: &'static str, otherwise: &str) -> Result<String, ApiError> {
        let Some(sent) = self.find(name)? else { return Ok(otherwise.to_owned()) };
        if Secret::is_in(sent.as_bytes()) {
            return Err(credential_in(name));
        }
        text(name, sent, MOST_NAME).map_err(|_| {
            let detail = format!("{name} has more than {MOST_NAME} characters, or some that cannot be seen.");
            Code::InvalidRequest.detail(detail).with("field", name)
        })
    }
}

/// The words of a scope that is asked of a person, but for those that change nothing.
pub(super) fn scope_words(asked: &str) -> impl Iterator<Item = &str> {
    asked.split_ascii_whitespace().filter(|word| !IGNORED.contains(word))
}

/// The type of a token that is bound to a key, or to none (RFC 9449, section 5).
pub(crate) const fn token_type(key: Option<&str>) -> &'static str {
    if key.is_some() { "DPoP" } else { "Bearer" }
}

/// A refusal of ours under a code of OAuth, with the same sentence and the same step, and a page that explains it. One that is nobody's fault
/// stays.
pub(super) fn as_code(code: Code, page: &'static str, (app, caller): (&App, &Caller), refusal: ApiError) -> ApiError {
    let row = refusal.code().row();
    if row.status >= 429 || row.status == 400 {
        return refusal;
    }
    let envelope = refusal.envelope("", app.settings().link(), Some(reader::of(caller, app)));
    code.detail(refusal.sentence()).fix(envelope.fix.clone().into_owned()).page(page).extra("reason", envelope.error)
}

/// Adds the sentence under the name that it has in RFC 6749, section 5.2.
pub(crate) fn as_oauth(refusal: ApiError) -> ApiError {
    let refusal = if refusal.code() == Code::InvalidProof { refusal.as_bad_request() } else { refusal };
    let has_name = refusal.status() == 400 || refusal.code() == Code::InvalidClient;
    let sentence = refusal.sentence().to_owned();
    if has_name { refusal.extra("error_description", sentence) } else { refusal }
}
