//! Component `auth`: the caller, and what it may do. Its routes only read, and it holds no secret.
#![forbid(unsafe_code)]

mod can;
mod closures;
mod doctor;
mod epochs;
mod health;
mod index;
mod introspect;
mod routes;
mod verify;
mod whoami;

pub use routes::router;

service::component!(crate::router);

service::with_neighbours!(agents, keys, tenant, tokens);
