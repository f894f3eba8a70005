//! Component `access`: what agents ask for, and what people say to it.
#![forbid(unsafe_code)]

mod requests;
mod routes;
#[cfg(test)]
mod sequences;

pub use routes::router;

common::component!(crate::router);

/// Tests pass through the routes of other components too.
#[cfg(test)]
fn with_neighbours() -> common::router::Router {
    common::router::Router::together([
        router(),
        agents::router(),
        archive::router(),
        keys::router(),
        lifecycle::router(),
        registry::router(),
        scopes::router(),
        sharing::router(),
    ])
}
