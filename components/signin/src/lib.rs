//! Component `signin`: the routes that hash passwords. A hash holds up its whole instance for some 60 ms, which is why they
//! are apart from all others.
#![forbid(unsafe_code)]

mod bootstrap;
mod operator;
mod own;
mod password;
mod routes;
mod sign_in;

pub use routes::router;

common::component!(crate::router);
