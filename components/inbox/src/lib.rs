//! Component `inbox`: what agents and people are told: inboxes, messages, notifications.
#![forbid(unsafe_code)]

mod events;
mod notifications;
mod routes;

pub use routes::router;

common::component!(crate::router);

common::with_neighbours!(tell);
