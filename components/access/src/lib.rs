//! Component `access`: who may do what with an agent: grants, explanations, requests for access, presets.
#![forbid(unsafe_code)]

mod preset;
mod requests;
mod routes;
#[cfg(test)]
mod sequences;
mod sharing;

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
    ])
}
