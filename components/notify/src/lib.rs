//! Component `notify`: mail, and the tick, which does what no caller does.
#![forbid(unsafe_code)]

mod mail;
mod outbound;
mod routes;
mod tick;

pub use routes::router;

common::component!(crate::router);

common::with_neighbours!(tell);
