//! Component `oidc`: sign-in through providers of identities, by OpenID Connect, and for GitHub by OAuth 2 and its API. It alone may
//! call the providers, and has the secrets by which they know this server.
//!
//! The steps (OpenID Connect Core 1.0, section 3.1.1), with the pages of `web` between this component and the browser:
//!
//! ```text
//! POST /auth/oidc/{provider}/start    makes state, nonce and PKCE, and answers where to send the browser        start, flow
//!      at the provider                the person signs in there
//! POST /auth/oidc/{provider}/finish   trades the code for an ID token, verifies it, and lets the person in        finish
//! ```
//!
//! Imports run one way, from the bottom of this list to the top:
//!
//! ```text
//! routes
//! start, finish, identities   the handlers
//! id_token, userinfo, github  from the provider's answers to an identity
//! accounts                    from an identity to an account
//! exchange                    the code for tokens
//! discovery                   what a provider says of itself
//! flow, providers             what was begun; the providers by name
//! cache, call                 the key-value store; requests to providers
//! ```
#![forbid(unsafe_code)]

mod accounts;
mod cache;
mod call;
mod discovery;
mod exchange;
mod finish;
mod flow;
mod github;
mod id_token;
mod identities;
mod providers;
mod routes;
mod start;
#[cfg(test)]
mod testing;
mod userinfo;

pub use routes::router;

service::component!(crate::router);
