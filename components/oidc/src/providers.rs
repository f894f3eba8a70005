//! The providers by name, and `GET /auth/oidc`.

use common::error::{ApiError, Code};
use http::StatusCode;
use schemars::JsonSchema;
use serde::Serialize;
use service::{
    app::App,
    credential::own_base,
    response::{self, Response},
    settings::provider::IdentityProvider,
};

/// The provider with this name.
pub(crate) fn find<'a>(app: &'a App, name: &str) -> Result<&'a IdentityProvider, ApiError> {
    let found = app.settings().identity_providers.iter().find(|provider| provider.name == name);
    found.ok_or_else(|| Code::ProviderNotFound.into())
}

/// Where a provider sends the browser back to. Each has a path of its own: an answer that one provider gives in the place of another
/// arrives at the wrong one (RFC 9700, section 4.4.2.2).
pub(crate) fn redirect_uri(app: &App, provider: &IdentityProvider) -> Result<String, ApiError> {
    let base = own_base(app).ok_or(Code::PublicUrlMissing)?;
    Ok(format!("{base}/auth/oidc/{}/callback", provider.name))
}

/// The providers, whole.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "IdentityProviders")]
pub(crate) struct All {
    items: Vec<Shown>,
}

/// A provider, for a page's button.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "IdentityProvider")]
struct Shown {
    /// What requests call it.
    name: String,
    /// What its button says.
    label: String,
    /// What is known of it beforehand: `google`, `microsoft`, `github` or `generic`.
    preset: &'static str,
}

/// `GET /auth/oidc`: what a page needs for its buttons.
pub(crate) async fn list(app: App) -> Result<Response, ApiError> {
    let shown = |provider: &IdentityProvider| Shown {
        name: provider.name.clone(),
        label: provider.label.clone(),
        preset: provider.preset.as_str(),
    };
    response::json(StatusCode::OK, &All { items: app.settings().identity_providers.iter().map(shown).collect() })
}
