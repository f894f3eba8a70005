//! Component `inbox`: what agents are told: their inboxes, and messages to them.
#![forbid(unsafe_code)]

mod events;
mod routes;

pub use routes::router;

common::component!(crate::router);
