//! Component `agents`: the registry of agents, and their tokens.
#![forbid(unsafe_code)]

mod archive;
mod ask;
mod change;
mod create;
mod registry;
mod routes;
#[cfg(test)]
mod sequences;
mod sharing;
mod token;
mod transfer;

pub use routes::router;

common::component!(crate::router);
