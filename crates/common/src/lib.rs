//! The words of the domain: ids, time, secrets, scopes, roles, permission, routes and errors. No I/O, no HTTP, no SQL.
//!
//! Imports run one way, from the bottom of this list to the top:
//!
//! ```text
//! network                which addresses are of one household
//! workload               patterns of subjects: which workloads of an issuer are trusted
//! proof                  proofs that a sender has a key (DPoP)
//! oauth                  rules for what OAuth clients send: redirect URIs, challenges of PKCE, client ids that are URLs
//! text, url, json, email rules for texts
//! entrance               ways to sign in, and the demand of a second factor
//! agent, agent_secret    names, states and settings of agents; names and values of their secrets
//! vault                  encryption of what has to be read again
//! signature, signing     signatures of webhooks; what the keys of signed tokens are derived from
//! error                  the table of refusals
//! fix                    fixes as their reader can follow them
//! exact                  one request of a route, named exactly
//! tool                   the routes that are tools of models
//! route, event           the table of routes; the kinds of events
//! probe                  what a check of another service's API has found
//! role, preset           named sets of scopes
//! permission, scope      actions and relations; what a credential may be used for
//! id, secret, time       values
//! letter                 characters that are not seen, or stand for others
//! task                   how a component waits for what it spawns
//! ```
#![forbid(unsafe_code)]

pub mod agent;
pub mod agent_secret;
pub mod email;
pub mod entrance;
pub mod error;
pub mod event;
pub mod exact;
pub mod fix;
pub mod id;
pub mod json;
pub mod letter;
pub mod network;
pub mod oauth;
pub mod permission;
pub mod preset;
pub mod probe;
pub mod proof;
pub mod role;
pub mod route;
pub mod scope;
pub mod secret;
pub mod signature;
pub mod signing;
pub mod task;
pub mod text;
pub mod time;
pub mod tool;
pub mod url;
pub mod vault;
pub mod workload;
