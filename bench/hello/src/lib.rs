//! Answers `hello` to everything: the limit of the platform, which `cargo xtask bench` measures all else against.

use spin_sdk::http::{IntoResponse, Request};
use spin_sdk::http_service;

#[http_service]
async fn hello(_request: Request) -> impl IntoResponse {
    http::Response::builder()
        .header("content-type", "text/plain")
        .header("content-length", "5")
        .body("hello".to_owned())
}
