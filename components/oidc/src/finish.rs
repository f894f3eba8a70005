//! `POST /auth/oidc/{provider}/finish`: what the provider sent back with the browser.
//!
//! 1. Open what was begun and hold `state` against it (RFC 6749, section 10.12): begun here, with this provider, in this browser.
//! 2. Spend it: whatever comes of it, it was used.
//! 3. Hold `iss` against the provider (RFC 9207, section 2.4): no other one's answer is taken for this one's.
//! 4. Trade the code (RFC 6749, section 4.1.3; RFC 7636, section 4.5).
//! 5. Verify the ID token (OpenID Connect Core 1.0, section 3.1.3.7), or ask GitHub's API.
//! 6. Find the account, and let its person in; or link the identity to the person who asked for it.

use common::{
    error::{ApiError, Code},
    secret::Digest,
};
use http::StatusCode;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value as Json;
use service::{
    app::App,
    extract::{Body, Path},
    form,
    form::Nullable,
    response::{self, Response},
    session::SignedIn,
    settings::provider::{ANY_DIRECTORY, IdentityProvider, Preset},
};
use store::attempt;

use crate::{
    accounts::{self, Identity},
    call::{self, outage, wrong_setup},
    discovery,
    exchange::Trade,
    flow::{self, Flow},
    github,
    id_token::{self, invalid},
    providers,
};

/// Characters of a code at most.
const LONGEST_CODE: usize = 4096;

form! {
    pub(crate) struct Finish {
        flow: String,
        state: String,
        code: Option<Nullable<String>>,
        iss: Option<Nullable<String>>,
        error: Option<Nullable<String>>,
    }
}

/// The handler.
pub(crate) async fn finish(app: App, Path(name): Path, Body(sent): Body<Finish>) -> Result<Response, ApiError> {
    let provider = providers::find(&app, &name)?;
    let expired = || Code::SignInExpired.with("provider", &provider.name);
    let begun = Flow::open(provider, &sent.flow, &sent.state, app.now()).ok_or_else(expired)?;
    let given = |field: Option<Nullable<String>>| field.and_then(|Nullable(text)| text);
    let (code, iss, error) = (given(sent.code), given(sent.iss), given(sent.error));
    let answer = async {
        spend(&app, provider, &begun).await?;
        check_issuer(&app, provider, iss.as_deref()).await?;
        if let Some(word) = error {
            return Err(refused(&word));
        }
        let code = code.filter(|code| !code.is_empty() && code.len() <= LONGEST_CODE);
        let identity = identify(&app, provider, &begun, &code.ok_or_else(expired)?).await?;
        if begun.is_link() {
            accounts::link(&app, provider, &identity, &begun).await?;
            return linked(provider, &identity, &begun);
        }
        with_next(accounts::sign_in(&app, provider, &identity, begun.is_again()).await?, &begun).await
    };
    // A page goes on where its visitor wanted to go, whatever happened here.
    Box::pin(answer).await.map_err(|refusal| refusal.extra("next", begun.next()))
}

/// Step 2, and what bounds the calls.
async fn spend(app: &App, provider: &IdentityProvider, begun: &Flow) -> Result<(), ApiError> {
    call::admit(app).await?;
    let once = Digest::of_parts(&["oidc state", &begun.state()]);
    match attempt::count(app.db(), &once, 1, app.now(), flow::LIFE).await?.count {
        1 => Ok(()),
        _ => Err(Code::SignInExpired.with("provider", &provider.name)),
    }
}

/// Step 3. GitHub names none.
async fn check_issuer(app: &App, provider: &IdentityProvider, iss: Option<&str>) -> Result<(), ApiError> {
    let is_asked = provider.preset != Preset::Github;
    match iss {
        // Which directory of many it is, only the token says: step 5 compares it.
        Some(_) if provider.issuer.contains(ANY_DIRECTORY) => Ok(()),
        Some(iss) if iss == provider.issuer => Ok(()),
        Some(_) => Err(invalid("the answer is of another issuer")),
        None if is_asked && discovery::metadata(app, provider).await?.names_issuer => {
            Err(invalid("the answer names no issuer"))
        }
        None => Ok(()),
    }
}

/// The provider's own refusal (RFC 6749, section 4.1.2.1; OpenID Connect Core 1.0, section 3.1.2.6).
fn refused(word: &str) -> ApiError {
    match word {
        "server_error" | "temporarily_unavailable" => outage(format!("the provider sent the person back: {word}")),
        "invalid_request" | "invalid_scope" | "unauthorized_client" | "unsupported_response_type" => {
            wrong_setup(format!("the provider sent the person back: {word}"))
        }
        "access_denied"
        | "login_required"
        | "interaction_required"
        | "consent_required"
        | "account_selection_required" => {
            ApiError::from(Code::ProviderRefused).cause(format!("the provider sent the person back: {word}"))
        }
        // Anybody can write into the address: other words stay out of the log.
        _ => ApiError::from(Code::ProviderRefused).cause("the provider sent the person back with another error"),
    }
}

/// Steps 4 and 5.
async fn identify(app: &App, provider: &IdentityProvider, begun: &Flow, code: &str) -> Result<Identity, ApiError> {
    let (redirect_uri, verifier) = (providers::redirect_uri(app, provider)?, begun.verifier());
    let trade = Trade {
        provider,
        endpoint: github::TOKEN,
        secret_in_form: true,
        code,
        redirect_uri: &redirect_uri,
        verifier: &verifier,
    };
    if provider.preset == Preset::Github {
        return github::identity(provider, &trade.send().await?).await;
    }
    let metadata = discovery::metadata(app, provider).await?;
    let (endpoint, secret_in_form) = (metadata.token_endpoint.as_str(), metadata.wants_secret_in_form);
    let tokens = Trade { endpoint, secret_in_form, ..trade }.send().await?;
    id_token::identity(app, provider, &metadata, begun, &tokens).await
}

/// What finishing answers.
#[derive(Serialize, JsonSchema)]
#[serde(untagged)]
#[schemars(rename = "FinishedAtProvider")]
pub(crate) enum Finished<'a> {
    /// A sign-in.
    #[expect(dead_code, reason = "the session is answered as by every sign-in, with where to go")]
    SignedIn(SignedInAtProvider<'a>),
    /// An identity that was linked.
    Linked(LinkedAtProvider<'a>),
}

/// A sign-in through a provider.
#[derive(Serialize, JsonSchema)]
pub(crate) struct SignedInAtProvider<'a> {
    #[serde(flatten)]
    session: SignedIn<'a>,
    /// Where the person wanted to go.
    next: &'a str,
}

/// A provider's identity that was linked.
#[derive(Serialize, JsonSchema)]
pub(crate) struct LinkedAtProvider<'a> {
    linked: Linked<'a>,
    /// Where the person wanted to go.
    next: &'a str,
}

/// An identity that was linked.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "LinkedIdentity")]
pub(crate) struct Linked<'a> {
    provider: &'a str,
    email: Option<&'a str>,
}

fn linked(provider: &IdentityProvider, identity: &Identity, begun: &Flow) -> Result<Response, ApiError> {
    let linked = Linked { provider: &provider.name, email: identity.said_email.as_deref() };
    response::uncached_json(StatusCode::OK, &Finished::Linked(LinkedAtProvider { linked, next: begun.next() }))
}

/// Adds to the answer of a sign-in where the person wanted to go.
async fn with_next(signed_in: Response, begun: &Flow) -> Result<Response, ApiError> {
    let internal = || ApiError::from(Code::Internal).cause("the answer of a sign-in is no object");
    let (parts, body) = signed_in.into_parts();
    let bytes = body.collect().await.map_err(|_| internal())?;
    let mut answer: Json = serde_json::from_slice(&bytes).map_err(|_| internal())?;
    answer.as_object_mut().ok_or_else(internal)?.insert("next".to_owned(), begun.next().into());
    response::uncached_json(parts.status, &answer)
}

#[cfg(test)]
mod tests;
