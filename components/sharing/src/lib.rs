//! Component `sharing`: who may do what with an agent or a key: grants, explanations.
#![forbid(unsafe_code)]

mod routes;
mod sharing;

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
        registry::router(),
        scopes::router(),
    ])
}
