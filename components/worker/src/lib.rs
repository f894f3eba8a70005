//! Component `worker`: mail, probes and housekeeping. It is the only component that calls other servers.
#![forbid(unsafe_code)]

mod letter;
mod mail;
mod outbound;
mod probes;
mod reseal;
mod routes;
mod tick;

pub use routes::router;

service::component!(crate::router);

service::with_neighbours!(agents, keys, notify);
