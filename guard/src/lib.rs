//! A component that stands before an application of your own, on the same host, and lets in the callers that Accredit verifies. The
//! application has no route: it is reached by service chaining alone.
//!
//! It remembers nothing. Each request is verified with Accredit, and one that cannot be verified is refused: so a stop holds here at the
//! next request, and no closure waits for it. It reads no body; the host passes bodies on.
#![forbid(unsafe_code)]

pub mod decide;
#[cfg(target_family = "wasm")]
mod pass;
