//! Component `agents`: the registry, the archive, state, logs, sharing, requests for access, presets. It encrypts the
//! secrets of agents that are registered with some.
#![forbid(unsafe_code)]

mod access_requests;
mod archived;
mod bounds;
mod change;
mod deploy;
mod explain;
mod export_import;
mod get;
mod grants;
mod heartbeat;
mod list;
mod logs;
mod overview;
mod presets;
#[cfg(test)]
mod reach;
mod register;
mod routes;
#[cfg(test)]
mod sequences;
mod state;

pub use routes::router;

service::component!(crate::router);

service::with_neighbours!(keys, tenant, tokens);
