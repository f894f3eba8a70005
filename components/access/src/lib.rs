//! Component `access`: what agents ask for, and what people say to it.
#![forbid(unsafe_code)]

mod requests;
mod routes;
#[cfg(test)]
mod sequences;

pub use routes::router;

common::component!(crate::router);

common::with_neighbours!(agents, archive, keys, lifecycle, registry, scopes, sharing);
