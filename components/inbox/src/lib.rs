//! Component `inbox`: what agents and people are told: inboxes, messages, notifications.
#![forbid(unsafe_code)]

mod events;
mod notifications;
mod routes;

pub use routes::router;

common::component!(crate::router);

/// Tests pass through the routes of other components too.
#[cfg(test)]
fn with_neighbours() -> common::router::Router {
    common::router::Router::together([router(), notify::router()])
}
