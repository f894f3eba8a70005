//! A component that stands before an application of your own, on the same host, and lets in the callers that Accredit verifies. The
//! application has no route: it is reached by service chaining alone. Or it is a service elsewhere, which gets a secret that no caller has.
//!
//! What is decided is in `guard-core`; here are the host's requests, clocks and variables. What was heard is kept by the instance, which the
//! host may end at any moment: then the next one asks. A body is read only if a rule names tools; otherwise the host passes it on.
#![forbid(unsafe_code)]

pub mod app;
#[cfg(target_family = "wasm")]
mod pass;
