//! Component `agents`: one agent: read it, change it, archive it.
#![forbid(unsafe_code)]

mod change;
mod one;
mod routes;

pub use routes::router;

common::component!(crate::router);

common::with_neighbours!(access, archive, keys, lifecycle, registry, scopes, sharing);
