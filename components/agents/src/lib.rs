//! Component `agents`: the registry of agents, and their tokens.
#![forbid(unsafe_code)]

mod ask;
mod registry;
mod routes;
mod token;

pub use routes::router;

/// The entry, the same in every component.
#[cfg(target_family = "wasm")]
#[spin_sdk::http_service]
async fn handle(request: spin_sdk::http::Request) -> axum::response::Response {
    common::http::answer(request, router).await
}
