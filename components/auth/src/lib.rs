//! Component `auth`: who is asking, and what may he do?
#![forbid(unsafe_code)]

mod can;
mod doctor;
mod routes;
mod whoami;

pub use routes::router;

common::component!(crate::router);

common::with_neighbours!(audit);
