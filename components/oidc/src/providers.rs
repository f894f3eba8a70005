//! The providers by name, and `GET /auth/oidc`.

use common::error::{ApiError, Code};
use http::StatusCode;
use serde_json::{Value as Json, json};
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

/// `GET /auth/oidc`: what a page needs for its buttons.
pub(crate) async fn list(app: App) -> Result<Response, ApiError> {
    let shown = |provider: &IdentityProvider| json!({ "name": provider.name, "label": provider.label, "preset": provider.preset.as_str() });
    let items: Vec<Json> = app.settings().identity_providers.iter().map(shown).collect();
    response::json(StatusCode::OK, &json!({ "items": items }))
}
