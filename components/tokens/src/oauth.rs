//! The OAuth 2.1 authorization server: the token endpoint with one file for each grant, what it says of itself, its keys.

pub(crate) mod apps;
pub(crate) mod authorization_code;
pub(crate) mod authorize;
pub(crate) mod clients;
pub(crate) mod form;
pub(crate) mod issued;
pub(crate) mod jwks;
pub(crate) mod metadata;
pub(crate) mod refresh_token;
pub(crate) mod revoke;
#[cfg(test)]
pub(crate) mod testing;
pub(crate) mod token;
