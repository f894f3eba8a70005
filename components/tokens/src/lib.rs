//! Component `tokens`: sessions, personal access tokens, devices that are signed in, every credential for admins, leaks, and OAuth.
#![forbid(unsafe_code)]

mod admin_tokens;
mod leaks;
mod oauth;
mod receipt;
mod routes;
mod sessions;
mod tokens;

pub use routes::router;

service::component!(crate::router);

service::with_neighbours!(auth, tenant);
