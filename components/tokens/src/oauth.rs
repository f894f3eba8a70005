//! The OAuth 2.1 authorization server: the token endpoint with one file for each grant, what it says of itself, and signed tokens.
//!
//! ```text
//! token               the endpoint: finds the grant
//! authorization_code  what a person's decision gave an app
//! refresh_token       the next tokens of an app
//! device              what a person gave a device (RFC 8628)
//! exchange            token exchange (RFC 8693)
//! jwt_bearer          what a workload's platform has signed, for a credential of its agent (RFC 7523)
//! federated           whom an agent trusts
//! assertion, key_sets assertions in JWT, and the public keys of others
//! issued              what the grants of a person have in common
//! authorize           what an app asks of a person, and what the person decides
//! clients             clients of admins, and how a client proves itself
//! registration        clients that register themselves (RFC 7591)
//! apps, revoke        the end of what an app was given, by its person and by itself
//! jwt                 signed tokens for the services of a tenant (RFC 9068)
//! jwks, keys          the public keys, and how keys are derived
//! proofs              whether the key in a proof of possession has signed it (RFC 9449)
//! metadata            what the server says of itself (RFC 8414)
//! form                what requests and answers have in common
//! ```

pub(crate) mod apps;
mod assertion;
pub(crate) mod authorization_code;
pub(crate) mod authorize;
pub(crate) mod clients;
pub(crate) mod device;
pub(crate) mod exchange;
pub(crate) mod federated;
pub(crate) mod form;
pub(crate) mod issued;
pub(crate) mod jwks;
pub(crate) mod jwt;
pub(crate) mod jwt_bearer;
mod key_sets;
pub(crate) mod keys;
pub(crate) mod metadata;
pub(crate) mod proofs;
pub(crate) mod refresh_token;
pub(crate) mod registration;
pub(crate) mod revoke;
#[cfg(test)]
pub(crate) mod testing;
pub(crate) mod token;
