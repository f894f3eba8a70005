//! Component `tokens`: personal access tokens, all credentials for admins, introspection, scopes, leaks.
#![forbid(unsafe_code)]

mod admin;
mod introspect;
mod leak;
mod pat;
mod routes;
mod scopes;

pub use routes::router;

common::component!(crate::router);
