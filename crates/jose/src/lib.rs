//! JSON Object Signing: signatures of other issuers, and the key sets that verify them. It knows neither the network nor the database.
#![forbid(unsafe_code)]

mod jws;
mod key_set;

pub use jws::{ALGORITHMS, Jws, has_signed};
pub use key_set::{are_distinct, read};
use serde_json::Value as Json;

/// A text of an object; empty if there is none.
fn text<'a>(object: &'a Json, name: &str) -> &'a str {
    object.get(name).and_then(Json::as_str).unwrap_or_default()
}
