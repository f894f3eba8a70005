//! Component `audit`: the audit trail: list, export, verify.
#![forbid(unsafe_code)]

mod routes;
mod trail;

pub use routes::router;

common::component!(crate::router);
