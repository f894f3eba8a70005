//! Component `notify`: for now the tick alone, which does what no caller does.
#![forbid(unsafe_code)]

mod routes;
mod tick;

pub use routes::router;

/// The entry, the same in every component.
#[cfg(target_family = "wasm")]
#[spin_sdk::http_service]
async fn handle(request: spin_sdk::http::Request) -> axum::response::Response {
    common::http::answer(request, router).await
}
