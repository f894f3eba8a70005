//! The OAuth 2.1 authorization server: the token endpoint with one file for each grant, what it says of itself, and signed tokens.
//!
//! ```text
//! token               the endpoint: finds the grant
//! exchange            token exchange (RFC 8693)
//! authorization_code, refresh_token   the grants of apps that people let in
//! authorize, clients, apps            what a person is asked; the clients; what was let in
//! issued, revoke      what an app is given; how it gives it back (RFC 7009)
//! jwt                 signed tokens for the services of a tenant (RFC 9068)
//! jwks, keys          the public keys, and how keys are derived
//! metadata            what the server says of itself (RFC 8414)
//! form                forms and refusals
//! ```

pub(crate) mod apps;
pub(crate) mod authorization_code;
pub(crate) mod authorize;
pub(crate) mod clients;
pub(crate) mod exchange;
pub(crate) mod form;
pub(crate) mod issued;
pub(crate) mod jwks;
pub(crate) mod jwt;
mod keys;
pub(crate) mod metadata;
pub(crate) mod refresh_token;
pub(crate) mod revoke;
#[cfg(test)]
pub(crate) mod testing;
pub(crate) mod token;
