//! Component `auth`: who is asking, and what may he do?
#![forbid(unsafe_code)]

mod can;
mod doctor;
mod routes;
mod whoami;

pub use routes::router;

common::component!(crate::router);

/// Tests pass through the routes of other components too.
#[cfg(test)]
fn with_neighbours() -> common::router::Router {
    common::router::Router::together([router(), audit::router()])
}
