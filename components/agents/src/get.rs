//! Reads one agent.

use common::{error::ApiError, route::Route};
use http::StatusCode;
use service::{
    app::App,
    caller::Caller,
    extract::Path,
    object,
    response::{Response, json},
};

/// `GET /api/agents/{name}`: one agent.
pub(crate) async fn get(
    app: App,
    caller: Caller,
    route: &'static Route,
    Path(name): Path,
) -> Result<Response, ApiError> {
    json(StatusCode::OK, &object::agent(app.db(), &caller, route, &name, app.now()).await?)
}

#[cfg(test)]
mod tests;
