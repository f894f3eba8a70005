//! Component `archive`: the archived agents: list, restore, purge.
#![forbid(unsafe_code)]

mod archived;
mod routes;

pub use routes::router;

common::component!(crate::router);

common::with_neighbours!(access, agents, keys, lifecycle, registry, scopes, sharing);
