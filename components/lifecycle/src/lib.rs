//! Component `lifecycle`: the state of agents: start, stop, pause, resume, restart; heartbeats and logs.
#![forbid(unsafe_code)]

mod heartbeat;
mod log;
mod routes;
mod state;

pub use routes::router;

common::component!(crate::router);

common::with_neighbours!(access, agents, archive, keys, registry, scopes, sharing);
