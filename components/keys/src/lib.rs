//! Component `keys`: the credentials of an agent: its token and its keys.
#![forbid(unsafe_code)]

mod keys;
mod routes;
mod token;

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
        lifecycle::router(),
        registry::router(),
        scopes::router(),
        sharing::router(),
    ])
}
