//! Component `notify`: what agents tell people, mail, and the tick, which does what no caller does.
#![forbid(unsafe_code)]

mod mail;
mod outbound;
mod routes;
mod tell;
mod tick;

pub use routes::router;

common::component!(crate::router);

/// Tests pass through the routes of other components too.
#[cfg(test)]
fn with_neighbours() -> common::router::Router {
    common::router::Router::together([router(), inbox::router()])
}
