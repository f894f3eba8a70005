//! What `cargo xtask reference` has written of tools and of the manual's pages.

use std::{collections::BTreeMap, sync::OnceLock};

use serde::Deserialize;
use serde_json::{Map, Value as Json};

use crate::fault::Fault;

/// What stands before the path of a page. Pages may be read without a credential too, below `/docs/`.
pub(crate) const MANUAL: &str = "accredit://manual/";

const REFERENCE: &str = include_str!("../../../docs/reference/mcp.json");

/// Tools and pages.
#[derive(Deserialize)]
pub(crate) struct Reference {
    /// By name.
    pub(crate) tools: BTreeMap<String, Map<String, Json>>,
    /// The titles of the manual's pages, by their paths below `/docs/`.
    pub(crate) pages: Map<String, Json>,
}

/// As it was written, read once.
pub(crate) fn reference() -> Result<&'static Reference, Fault> {
    static READ: OnceLock<Option<Reference>> = OnceLock::new();
    READ.get_or_init(|| serde_json::from_str(REFERENCE).ok()).as_ref().ok_or_else(Fault::internal)
}
