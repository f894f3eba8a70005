//! What the authorization server says of itself (RFC 8414). The same document is at the path of OpenID Connect Discovery, where some
//! clients look first; it promises no ID tokens, since there are none.

use common::{
    error::{ApiError, Code},
    preset::Preset,
};
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

/// How clients prove themselves.
const CLIENTS: &[&str] = &["none", "client_secret_basic", "client_secret_post", "private_key_jwt"];

/// The document.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "AuthorizationServer")]
pub(crate) struct Metadata {
    issuer: String,
    authorization_endpoint: String,
    authorization_response_iss_parameter_supported: bool,
    client_id_metadata_document_supported: bool,
    code_challenge_methods_supported: &'static [&'static str],
    response_modes_supported: &'static [&'static str],
    /// RFC 7591; left out where the server has no key to know such clients by.
    #[serde(skip_serializing_if = "Option::is_none")]
    registration_endpoint: Option<String>,
    revocation_endpoint: String,
    revocation_endpoint_auth_methods_supported: &'static [&'static str],
    revocation_endpoint_auth_signing_alg_values_supported: &'static [&'static str],
    /// What an app begins with, and not all that there are (RFC 8414, section 2): there are clients that ask for whatever stands here.
    scopes_supported: Vec<&'static str>,
    token_endpoint: String,
    token_endpoint_auth_methods_supported: &'static [&'static str],
    token_endpoint_auth_signing_alg_values_supported: &'static [&'static str],
    device_authorization_endpoint: String,
    dpop_signing_alg_values_supported: &'static [&'static str],
    introspection_endpoint: String,
    /// Types of tokens by which a service proves itself, and the method of clients that sends one as a password (RFC 8414, section 2).
    introspection_endpoint_auth_methods_supported: &'static [&'static str],
    jwks_uri: String,
    grant_types_supported: &'static [&'static str],
    response_types_supported: &'static [&'static str],
    /// What OpenID Connect Discovery requires beside (section 3): clients that find the document at its path refuse one without these two. They
    /// promise no ID token.
    subject_types_supported: &'static [&'static str],
    id_token_signing_alg_values_supported: &'static [&'static str],
    service_documentation: String,
}

/// `GET /.well-known/oauth-authorization-server`, and its alias. Without `public_url` there is an issuer on a loopback host only: what a
/// caller sends is no name of this server.
pub(crate) async fn get(app: App) -> Result<Response, ApiError> {
    let issuer = own_base(&app).ok_or(Code::PublicUrlMissing)?;
    let metadata = Metadata {
        token_endpoint: format!("{issuer}/oauth/token"),
        token_endpoint_auth_methods_supported: CLIENTS,
        token_endpoint_auth_signing_alg_values_supported: jose::ALGORITHMS,
        authorization_endpoint: format!("{issuer}/oauth/authorize"),
        authorization_response_iss_parameter_supported: true,
        client_id_metadata_document_supported: true,
        code_challenge_methods_supported: &["S256"],
        response_modes_supported: &["query"],
        registration_endpoint: (!app.settings().signing_keys.is_empty()).then(|| format!("{issuer}/oauth/register")),
        revocation_endpoint: format!("{issuer}/oauth/revoke"),
        revocation_endpoint_auth_methods_supported: CLIENTS,
        revocation_endpoint_auth_signing_alg_values_supported: jose::ALGORITHMS,
        scopes_supported: Preset::Worker.scope().split_ascii_whitespace().collect(),
        device_authorization_endpoint: format!("{issuer}/auth/device/code"),
        dpop_signing_alg_values_supported: common::proof::ALGORITHMS,
        introspection_endpoint: format!("{issuer}/auth/introspect"),
        introspection_endpoint_auth_methods_supported: &["Bearer", "DPoP", "client_secret_basic"],
        jwks_uri: format!("{issuer}/oauth/jwks"),
        grant_types_supported: GRANTS,
        response_types_supported: &["code"],
        subject_types_supported: &["public"],
        id_token_signing_alg_values_supported: common::proof::ALGORITHMS,
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
