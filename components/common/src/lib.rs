//! What two components of Accredit must agree on.
//!
//! The layers, each calling only those below it:
//!
//! ```text
//! http, router, form, page, write   the door, from a request to its handler, what is read of a request, pages of lists, the
//!                    one way to change something
//! caller, route, mint, agents   who is asking; which routes there are, and who may come in; what is given, and to whom
//! idempotency, audit, seal  kept answers; rows that cannot be bent
//! permission, store  grants compiled to SQL; one file per table
//! db, migrate        connections and transactions over Spin's SQLite or rusqlite
//! id, time, scope, secret, vault, settings   no I/O
//! ```
//!
//! `error` may be named by all.
#![forbid(unsafe_code)]

pub mod agents;
pub mod audit;
pub mod caller;
pub mod db;
pub mod error;
pub mod form;
pub mod http;
pub mod id;
pub mod idempotency;
mod migrate;
pub mod mint;
pub mod page;
pub mod permission;
pub mod route;
pub mod router;
pub mod scope;
pub mod seal;
pub mod secret;
pub mod settings;
pub mod store;
#[cfg(not(target_family = "wasm"))]
pub mod testing;
pub mod time;
pub mod vault;
pub mod write;
