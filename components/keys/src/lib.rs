//! Component `keys`: the token, the keys and the secrets of an agent. It has the key that encrypts stored secrets.
#![forbid(unsafe_code)]

mod enrolment;
mod hooks;
mod keys;
mod routes;
mod secrets;
mod token;

pub use routes::router;

service::component!(crate::router);

service::with_neighbours!(agents, notify, tenant);
