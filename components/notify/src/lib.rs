//! Component `notify`: what agents tell people, mail, and the tick, which does what no caller does.
#![forbid(unsafe_code)]

mod mail;
mod outbound;
mod routes;
mod tell;
mod tick;

pub use routes::router;

common::component!(crate::router);

common::with_neighbours!(inbox);
