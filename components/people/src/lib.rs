//! Component `people`: people: their sessions, and the users of a tenant.
#![forbid(unsafe_code)]

mod end;
mod routes;
mod sessions;
mod users;

pub use routes::router;

common::component!(crate::router);

common::with_neighbours!(auth);
