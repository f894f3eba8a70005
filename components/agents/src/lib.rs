//! Component `agents`: the registry of agents, and their tokens.
#![forbid(unsafe_code)]

mod access;
mod archive;
mod ask;
mod bounds;
mod change;
mod create;
mod heartbeat;
mod keys;
mod lifecycle;
mod log;
mod preset;
mod registry;
mod routes;
#[cfg(test)]
mod sequences;
mod sharing;
mod token;
mod transfer;

pub use routes::router;

common::component!(crate::router);
