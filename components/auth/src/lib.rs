//! Component `auth`: who is asking, sessions, users, the audit trail.
#![forbid(unsafe_code)]

mod audit;
mod can;
mod doctor;
mod routes;
mod sessions;
mod users;
mod whoami;

pub use routes::router;

common::component!(crate::router);
