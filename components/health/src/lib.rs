//! Component `health`: is the server well?
#![forbid(unsafe_code)]

mod health;
mod routes;

pub use routes::router;

common::component!(crate::router);
