//! Component `agents`: the registry of agents, and their tokens.
#![forbid(unsafe_code)]

mod ask;
mod registry;
mod routes;
mod sharing;
mod token;

pub use routes::router;

common::component!(crate::router);
