use common::error::ApiError;
use http::StatusCode;
use schemars::JsonSchema;
use serde::Serialize;
use service::{
    app::App,
    response::{Response, json},
};
use store::tenant;

#[derive(Serialize, JsonSchema)]
pub(crate) struct Health {
    status: &'static str,
}

#[derive(Serialize, JsonSchema)]
pub(crate) struct Ready {
    status: &'static str,
    bootstrapped: bool,
}

/// `GET /healthz`: the process answers. It asks nothing of the database.
pub(crate) async fn healthz() -> Result<Response, ApiError> {
    json(StatusCode::OK, &Health { status: "ok" })
}

/// `GET /readyz`: the database answers; 503 while it does not.
pub(crate) async fn readyz(app: App) -> Result<Response, ApiError> {
    let bootstrapped = tenant::is_bootstrapped(app.db()).await?;
    json(StatusCode::OK, &Ready { status: "ready", bootstrapped })
}

#[cfg(test)]
mod tests;
