//! Component `archive`: the archived agents: list, restore, purge.
#![forbid(unsafe_code)]

mod archived;
mod routes;

pub use routes::router;

common::component!(crate::router);

/// Tests pass through the routes of other components too.
#[cfg(test)]
fn with_neighbours() -> common::router::Router {
    common::router::Router::together([
        router(),
        access::router(),
        agents::router(),
        keys::router(),
        lifecycle::router(),
        registry::router(),
        scopes::router(),
        sharing::router(),
    ])
}
