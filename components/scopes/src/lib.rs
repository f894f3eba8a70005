//! Component `scopes`: what can be given: scopes, those of a tenant's own, presets.
#![forbid(unsafe_code)]

mod presets;
mod routes;
mod scopes;

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
        sharing::router(),
        tokens::router(),
    ])
}
