//! `POST /oauth/token` (RFC 6749, section 3.2): finds the grant that the form names. Each grant has a file of its own.

use common::{
    error::{ApiError, Code},
    route::Route,
};
use schemars::JsonSchema;
use service::{app::App, extract::UrlEncoded, proof, response::Response};

use super::{
    authorization_code, device, exchange,
    form::{Parameters, as_oauth},
    issued, jwt_bearer, refresh_token,
};

/// The grants, as the metadata lists them.
pub(crate) const GRANTS: &[&str] =
    &[device::GRANT, authorization_code::GRANT, refresh_token::GRANT, exchange::GRANT, jwt_bearer::GRANT];

/// What the grants answer.
#[derive(JsonSchema)]
#[schemars(rename = "GrantedToken", untagged)]
#[expect(dead_code, reason = "it describes what each grant answers by itself")]
pub(crate) enum Granted<'a> {
    /// To a device.
    Device(device::Given<'a>),
    /// To an app.
    App(issued::Issued),
    /// To an agent, for a service.
    Exchanged(exchange::Exchanged<'a>),
    /// To a workload.
    Workload(jwt_bearer::Issued),
}

/// The handler.
pub(crate) async fn token(app: App, route: &'static Route, UrlEncoded(form): UrlEncoded) -> Result<Response, ApiError> {
    grant(&app, route, &Parameters(form)).await.map_err(as_oauth)
}

async fn grant(app: &App, route: &'static Route, form: &Parameters) -> Result<Response, ApiError> {
    form.check_once()?;
    let grant = form.get("grant_type")?;
    let key = proof::of_request(app).await?;
    let key = key.as_deref();
    match grant {
        device::GRANT => device::grant(app, route, form, key).await,
        authorization_code::GRANT => authorization_code::grant(app, form, key).await,
        refresh_token::GRANT => refresh_token::grant(app, form, key).await,
        exchange::GRANT => exchange::grant(app, form, key).await,
        jwt_bearer::GRANT => jwt_bearer::grant(app, form, key).await,
        _ => Err(Code::UnsupportedGrant.with("grants", GRANTS.join(", "))),
    }
}
