//! Component `docs`: the index of routes, the documentation, and our 404 for every path that no other component has.
#![forbid(unsafe_code)]

mod html;
mod index;
mod pages;
mod routes;

pub use routes::router;

service::component!(crate::router);
