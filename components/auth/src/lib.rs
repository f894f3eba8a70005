//! Component `auth`: the caller, and what it may do. Its routes only read, and it holds no secret.
#![forbid(unsafe_code)]

mod can;
mod doctor;
mod health;
mod index;
mod introspect;
mod routes;
mod whoami;

pub use routes::router;

service::component!(crate::router);

service::with_neighbours!(tenant);
