//! Component `scopes`: what can be given: scopes, those of a tenant's own, presets.
#![forbid(unsafe_code)]

mod presets;
mod routes;
mod scopes;

pub use routes::router;

common::component!(crate::router);

common::with_neighbours!(access, agents, archive, keys, lifecycle, registry, sharing, tokens);
