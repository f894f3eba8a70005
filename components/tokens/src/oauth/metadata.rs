//! What the authorization server says of itself (RFC 8414). The same document is at the path of OpenID Connect Discovery, where some
//! clients look first; it promises no ID tokens, since there are none.

use common::error::{ApiError, Code};
use http::{HeaderValue, StatusCode, header};
use schemars::JsonSchema;
use serde::Serialize;
use service::{
    app::App,
    credential::own_base,
    response::{Response, json},
};

use super::token::GRANTS;

/// Seconds for which others may keep the metadata and the keys.
const KEPT: &str = "public, max-age=300";

/// The document.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "AuthorizationServer")]
pub(crate) struct Metadata {
    issuer: String,
    token_endpoint: String,
    token_endpoint_auth_methods_supported: &'static [&'static str],
    device_authorization_endpoint: String,
    introspection_endpoint: String,
    introspection_endpoint_auth_methods_supported: &'static [&'static str],
    jwks_uri: String,
    grant_types_supported: &'static [&'static str],
    response_types_supported: &'static [&'static str],
    service_documentation: String,
}

/// `GET /.well-known/oauth-authorization-server`, and its alias. Without `public_url` there is an issuer on a loopback host only: what a
/// caller sends is no name of this server.
pub(crate) async fn get(app: App) -> Result<Response, ApiError> {
    let issuer = own_base(&app).ok_or(Code::PublicUrlMissing)?;
    let metadata = Metadata {
        token_endpoint: format!("{issuer}/oauth/token"),
        token_endpoint_auth_methods_supported: &["none"],
        device_authorization_endpoint: format!("{issuer}/auth/device/code"),
        introspection_endpoint: format!("{issuer}/auth/introspect"),
        introspection_endpoint_auth_methods_supported: &["Bearer"],
        jwks_uri: format!("{issuer}/oauth/jwks"),
        grant_types_supported: GRANTS,
        response_types_supported: &[],
        service_documentation: format!("{issuer}/docs/agents/concepts/oauth"),
        issuer,
    };
    Ok(kept(json(StatusCode::OK, &metadata)?))
}

/// An answer that others may keep for a while.
pub(super) fn kept(mut response: Response) -> Response {
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static(KEPT));
    response
}
