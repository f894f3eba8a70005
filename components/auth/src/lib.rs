//! Component `auth`: who is asking, sessions, users.
#![forbid(unsafe_code)]

mod can;
mod routes;
mod sessions;
mod users;
mod whoami;

pub use routes::router;

common::component!(crate::router);
