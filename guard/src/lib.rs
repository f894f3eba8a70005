//! A component that stands before an application of your own, on the same host, and lets in the callers that Accredit verifies. The
//! application has no route: it is reached by service chaining alone. Or it is a service elsewhere, which gets a secret that no caller has.
#![forbid(unsafe_code)]

pub mod app;
#[cfg(target_family = "wasm")]
mod component;
