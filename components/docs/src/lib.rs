//! Component `docs`: the index of routes, the documentation, health, and our 404 for every path that nobody else has.
#![forbid(unsafe_code)]

mod health;
mod html;
mod index;
mod pages;
mod routes;

pub use routes::router;

/// The entry, the same in every component.
#[cfg(target_family = "wasm")]
#[spin_sdk::http_service]
async fn handle(request: spin_sdk::http::Request) -> axum::response::Response {
    common::http::answer(request, router).await
}
