//! Component `tokens`: personal access tokens, introspection, leaks.
#![forbid(unsafe_code)]

mod admin;
mod introspect;
mod leak;
mod pat;
mod routes;

pub use routes::router;

common::component!(crate::router);

common::with_neighbours!(scopes);
