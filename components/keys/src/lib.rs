//! Component `keys`: the credentials of an agent: its token and its keys.
#![forbid(unsafe_code)]

mod keys;
mod routes;
mod token;

pub use routes::router;

common::component!(crate::router);

common::with_neighbours!(access, agents, archive, lifecycle, registry, scopes, sharing);
