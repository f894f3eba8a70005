//! Component `notify`: for now the tick alone, which does what no caller does.
#![forbid(unsafe_code)]

mod routes;
mod tick;

pub use routes::router;

common::component!(crate::router);
