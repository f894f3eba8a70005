//! Where clients of this server get a token: the metadata of a protected resource (RFC 9728), which a refusal for want of a credential
//! names.

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

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "ProtectedResource")]
pub(crate) struct Metadata {
    /// What a token is for.
    resource: String,
    /// Who issues tokens: this server itself.
    authorization_servers: Vec<String>,
    /// What a client needs to begin with. What it lacks, a refusal names.
    scopes_supported: Vec<&'static str>,
    bearer_methods_supported: Vec<&'static str>,
    dpop_signing_alg_values_supported: &'static [&'static str],
    resource_name: &'static str,
    resource_documentation: String,
}

/// `GET /.well-known/oauth-protected-resource`, and the same below the path of `/mcp` (RFC 9728, section 3.1).
pub(crate) async fn get(app: App) -> Result<Response, ApiError> {
    let server = own_base(&app).ok_or(Code::PublicUrlMissing)?;
    let metadata = Metadata {
        resource: format!("{server}{}", resource(&app)),
        scopes_supported: Preset::Worker.scope().split_ascii_whitespace().collect(),
        bearer_methods_supported: vec!["header"],
        dpop_signing_alg_values_supported: common::proof::ALGORITHMS,
        resource_name: "Accredit",
        resource_documentation: format!("{server}/docs/agents/concepts/mcp"),
        authorization_servers: vec![server],
    };
    let mut response = json(StatusCode::OK, &metadata)?;
    // It depends on the `Host` of the request.
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

/// The path of what was asked for, or asked about: clients compare it letter by letter with the address that they were given (section 3.3).
fn resource(app: &App) -> &'static str {
    if app.path().ends_with('/') { "/mcp/" } else { "/mcp" }
}

/// Where it is. `None`: without `public_url`, only a loopback host is believed to be this server, as where tokens are given out.
pub(crate) fn address(app: &App) -> Option<String> {
    own_base(app).map(|server| format!("{server}/.well-known/oauth-protected-resource{}", resource(app)))
}
