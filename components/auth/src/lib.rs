//! Component `auth`: who is asking, sessions, users.
#![forbid(unsafe_code)]

mod routes;
mod sessions;
mod users;
mod whoami;

pub use routes::router;

/// The entry, the same in every component.
#[cfg(target_family = "wasm")]
#[spin_sdk::http_service]
async fn handle(request: spin_sdk::http::Request) -> axum::response::Response {
    common::http::answer(request, router).await
}
