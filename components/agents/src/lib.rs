//! Component `agents`: the registry of agents.
#![forbid(unsafe_code)]

mod archive;
mod ask;
mod bounds;
mod change;
mod create;
mod registry;
mod routes;
mod transfer;

pub use routes::router;

common::component!(crate::router);

/// Tests pass through the routes of other components too.
#[cfg(test)]
fn with_neighbours() -> common::router::Router {
    common::router::Router::together([router(), access::router(), keys::router(), lifecycle::router()])
}
