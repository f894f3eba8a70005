//! Component `tokens`: personal access tokens, introspection, leaks.
#![forbid(unsafe_code)]

mod admin;
mod introspect;
mod leak;
mod pat;
mod routes;

pub use routes::router;

common::component!(crate::router);

/// Tests pass through the routes of other components too.
#[cfg(test)]
fn with_neighbours() -> common::router::Router {
    common::router::Router::together([router(), scopes::router()])
}
