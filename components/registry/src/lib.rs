//! Component `registry`: which agents there are: list, register, export, import.
#![forbid(unsafe_code)]

mod create;
mod list;
mod routes;
mod transfer;

pub use routes::router;

common::component!(crate::router);

/// Tests pass through the routes of other components too.
#[cfg(test)]
fn with_neighbours() -> common::router::Router {
    common::router::Router::together([
        router(),
        access::router(),
        agents::router(),
        archive::router(),
        keys::router(),
        lifecycle::router(),
        scopes::router(),
        sharing::router(),
    ])
}
