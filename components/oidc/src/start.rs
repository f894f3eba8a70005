//! `POST /auth/oidc/{provider}/start` and `…/link`: where to send the browser, and what it has to keep.

use common::{
    error::{ApiError, Code},
    secret::Digest,
};
use http::{HeaderValue, StatusCode};
use schemars::JsonSchema;
use serde::Serialize;
use service::{
    app::App,
    caller::Caller,
    extract::{Body, Path},
    form,
    form::Nullable,
    response::{self, Response},
    settings::provider::{IdentityProvider, Preset},
};

use crate::{
    accounts, discovery,
    flow::{self, Flow},
    github, providers,
};

/// A sign-in that was begun.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "BegunSignIn")]
pub(crate) struct Begun {
    /// The provider's page, where the person signs in.
    url: String,
    /// What finishes the sign-in, sealed.
    flow: String,
    /// How long it may take, seconds.
    expires_in: i64,
}

form! {
    pub(crate) struct Begin {
        next: Option<Nullable<String>>,
    }
}

form! {
    pub(crate) struct BeginSignIn {
        next: Option<Nullable<String>>,
        again: Option<bool>,
        other: Option<bool>,
    }
}

/// What is begun.
struct How {
    /// Of a link: the session that asked for it.
    session: Option<Digest>,
    /// The person is to prove anew who they are.
    is_again: bool,
    /// The person has to see at the provider as whom they come: a session of theirs there must not lead them back unasked.
    is_other: bool,
}

/// `POST /auth/oidc/{provider}/start`.
pub(crate) async fn start(app: App, Path(name): Path, Body(begin): Body<BeginSignIn>) -> Result<Response, ApiError> {
    let how = How { session: None, is_again: begin.again == Some(true), is_other: begin.other == Some(true) };
    answer(&app, &name, begin.next, how).await
}

/// `POST /auth/oidc/{provider}/link`: the same, for the person of this session. The identity is linked when the provider has
/// answered, if the session is still there and the tenant still lets people in so.
pub(crate) async fn link(
    app: App,
    caller: Caller,
    Path(name): Path,
    Body(begin): Body<Begin>,
) -> Result<Response, ApiError> {
    accounts::check_linking(app.db(), caller.tenant_id()).await?;
    let how = How { session: Some(caller.digest()), is_again: false, is_other: true };
    answer(&app, &name, begin.next, how).await
}

async fn answer(app: &App, name: &str, next: Option<Nullable<String>>, how: How) -> Result<Response, ApiError> {
    let provider = providers::find(app, name)?;
    let next = next.and_then(|Nullable(next)| next).unwrap_or_default();
    let flow = Flow::begin(&next, (how.session, how.is_again), app.now(), app.chance());
    let url = authentication_request(app, provider, &flow, how.is_other).await?;
    let begun = Begun { url, flow: flow.seal(provider, app.chance())?, expires_in: flow::LIFE };
    response::uncached_json(StatusCode::OK, &begun)
}

/// What the provider is to show its person, also where they have a session there (OpenID Connect Core 1.0, section 3.1.2.1).
fn prompt(preset: Preset, is_again: bool, is_other: bool) -> Option<&'static str> {
    match preset {
        Preset::Microsoft if is_again => Some("login"),
        _ if !is_other => None,
        // Section 15.1: every provider knows this one, and not every one `select_account`.
        Preset::Generic => Some("login"),
        Preset::Google | Preset::Microsoft | Preset::Github => Some("select_account"),
    }
}

/// The authentication request: RFC 6749, section 4.1.1; OpenID Connect Core 1.0, section 3.1.2.1; RFC 7636, section 4.3.
async fn authentication_request(
    app: &App,
    provider: &IdentityProvider,
    flow: &Flow,
    is_other: bool,
) -> Result<String, ApiError> {
    let (redirect_uri, state, challenge) = (providers::redirect_uri(app, provider)?, flow.state(), flow.challenge());
    let mut pairs = vec![
        ("response_type", "code"),
        ("client_id", provider.client_id.as_str()),
        ("redirect_uri", redirect_uri.as_str()),
        ("state", state.as_str()),
        ("code_challenge", challenge.as_str()),
        ("code_challenge_method", "S256"),
    ];
    let (endpoint, nonce) = match provider.preset {
        Preset::Github => (github::AUTHORIZE.to_owned(), None),
        _ => (discovery::metadata(app, provider).await?.authorization_endpoint, Some(flow.nonce())),
    };
    match &nonce {
        None => pairs.push(("scope", github::SCOPE)),
        Some(nonce) => pairs.extend([("scope", "openid email profile"), ("nonce", nonce.as_str())]),
    }
    if flow.is_again() && nonce.is_some() {
        // Somebody who has the person's browser must not come through by a sign-in of theirs that is still open there; and the token has to say
        // when they signed in (`auth_time`).
        pairs.push(("max_age", "0"));
    }
    pairs.extend(prompt(provider.preset, flow.is_again(), is_other).map(|prompt| ("prompt", prompt)));
    let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
    let sign = if endpoint.contains('?') { '&' } else { '?' };
    let url = format!("{endpoint}{sign}{query}");
    // It goes into a header and a page.
    if HeaderValue::from_str(&url).is_err() {
        return Err(ApiError::from(Code::ProviderUnavailable).cause("the authorization endpoint cannot be in a header"));
    }
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// R710: the word that each provider knows.
    #[test]
    fn each_provider_is_asked_by_a_word_that_it_knows() {
        let select = Some("select_account");
        for (preset, again, other) in [
            (Preset::Google, None, select),
            (Preset::Microsoft, Some("login"), select),
            (Preset::Github, None, select),
            (Preset::Generic, None, Some("login")),
        ] {
            let asked =
                [(true, false), (false, true), (false, false)].map(|(again, other)| prompt(preset, again, other));
            assert_eq!(asked, [again, other, None], "{preset:?}");
        }
    }
}
