//! The OAuth 2.1 authorization server: the token endpoint with one file for each grant, what it says of itself, its keys.

pub(crate) mod form;
pub(crate) mod jwks;
pub(crate) mod metadata;
pub(crate) mod token;
