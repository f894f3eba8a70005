//! Component `people`: people: their sessions, and the users of a tenant.
#![forbid(unsafe_code)]

mod routes;
mod sessions;
mod users;

pub use routes::router;

common::component!(crate::router);

/// Tests pass through the routes of other components too.
#[cfg(test)]
fn with_neighbours() -> common::router::Router {
    common::router::Router::together([router(), auth::router()])
}
