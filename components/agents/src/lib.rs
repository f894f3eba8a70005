//! Component `agents`: one agent: read it, change it, archive it.
#![forbid(unsafe_code)]

mod change;
mod one;
mod routes;

pub use routes::router;

common::component!(crate::router);

/// Tests pass through the routes of other components too.
#[cfg(test)]
fn with_neighbours() -> common::router::Router {
    common::router::Router::together([
        router(),
        access::router(),
        archive::router(),
        keys::router(),
        lifecycle::router(),
        registry::router(),
        scopes::router(),
        sharing::router(),
    ])
}
