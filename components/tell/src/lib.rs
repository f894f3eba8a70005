//! Component `tell`: an agent tells its owner something. What is called so often is built for speed, and is alone in its component
//! since that takes room.
#![forbid(unsafe_code)]

mod routes;
mod tell;

pub use routes::router;

common::component!(crate::router);

common::with_neighbours!(inbox);
