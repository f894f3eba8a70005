//! Component `notify`: what agents tell people, what agents are told, mail, and the tick, which does what no caller does.
#![forbid(unsafe_code)]

mod inbox;
mod mail;
mod notifications;
mod outbound;
mod routes;
mod tell;
mod tick;

pub use routes::router;

common::component!(crate::router);
