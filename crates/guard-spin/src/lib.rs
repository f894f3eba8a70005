//! A guard in a component of Spin: the host's requests, clocks and variables. What is decided is in `guard-core`; where a request goes that
//! is let in, the component says: `guard` sends it on, `guard-middleware` calls what is composed behind it.
//!
//! What was heard is kept by the instance, which the host may end at any moment: then the next one asks. A body is read only if a rule names
//! tools; otherwise the host passes it on.
#![forbid(unsafe_code)]

#[cfg(target_family = "wasm")]
mod pass;
#[cfg(target_family = "wasm")]
pub use pass::{Behind, broken, configured, not_configured, pass, variable};
