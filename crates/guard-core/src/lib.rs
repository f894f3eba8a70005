//! What a guard before a service decides, without a network, a clock or a runtime: the component `guard` and the layer `guard-tower` bring
//! these, and ask what they are told to ask.
//!
//! Imports run one way, from the bottom of this list to the top:
//!
//! ```text
//! guard                  the decision
//! keys, token            the public keys of Accredit, and tokens that they have signed
//! proof                  proofs that a sender has the key that its token is bound to
//! epochs                 what has ended, as far as the guard has heard
//! refusal                what a caller is told instead
//! question               what Accredit is asked
//! header                 the headers of a request that pass, and those that do not
//! settings               what the operator says
//! rules                  which scopes a request needs, by method, path and tool
//! ```
#![forbid(unsafe_code)]

mod epochs;
mod guard;
pub mod header;
mod keys;
mod proof;
pub mod question;
mod refusal;
pub mod rules;
pub mod settings;
mod token;

pub use guard::{Asked, Check, Guard, Now, Step};
pub use header::Header;
pub use question::{Answer, Question};
pub use refusal::Refusal;
pub use settings::{Settings, Wrong};
