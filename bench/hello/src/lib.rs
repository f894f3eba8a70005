//! Answers `hello` at `/hello`: the limit of the platform, which `cargo xtask bench` measures all else against.
//!
//! A component as the Spin SDK makes one, with axum's router; it does nothing more.

use std::sync::OnceLock;

use axum::{Router, response::Response, routing::get};
use spin_sdk::{
    http::{IntoResponse, Request},
    http_service,
};
use tower_service::Service;

static ROUTER: OnceLock<Router> = OnceLock::new();

#[http_service]
async fn handle(request: Request) -> impl IntoResponse {
    let mut router = ROUTER.get_or_init(|| Router::new().route("/hello", get(|| async { "hello" }))).clone();
    let answered: Result<Response, _> = router.call(request).await;
    answered
}
