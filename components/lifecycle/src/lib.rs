//! Component `lifecycle`: the state of agents: start, stop, pause, resume, restart; heartbeats and logs.
#![forbid(unsafe_code)]

mod heartbeat;
mod log;
mod routes;
mod state;

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
        registry::router(),
        scopes::router(),
        sharing::router(),
    ])
}
