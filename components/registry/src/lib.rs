//! Component `registry`: which agents there are: list, register, export, import.
#![forbid(unsafe_code)]

mod create;
mod list;
mod routes;
mod transfer;

pub use routes::router;

common::component!(crate::router);

common::with_neighbours!(access, agents, archive, keys, lifecycle, scopes, sharing);
