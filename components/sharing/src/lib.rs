//! Component `sharing`: who may do what with an agent or a key: grants, explanations.
#![forbid(unsafe_code)]

mod routes;
mod sharing;

pub use routes::router;

common::component!(crate::router);

common::with_neighbours!(access, agents, archive, keys, lifecycle, registry, scopes);
