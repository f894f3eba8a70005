//! What every component is made of: from a request of the host to a handler, and from what the handler decides to the response.
//!
//! Imports run one way, from the bottom of this list to the top:
//!
//! ```text
//! macros                      what a component writes once
//! entry, testing              where requests come from: the host, or a test
//! http                        one request: router, refusal, headers of every response
//! router                      from the path to the row and its handler
//! nowhere                     the page for a browser at an address that does not exist
//! enrolment                   one-time codes for the token of an agent
//! issue, secrets              what a token of an agent may carry; secrets of agents, sealed and opened
//! change                      the one way to change something
//! extract, idempotency        the arguments of handlers; kept answers
//! paths                       which path is of which row, and which was meant
//! missing                     what a caller lacks beside a scope
//! session                     the end of every way to sign in
//! call                        a request on its way to its handler
//! grantee, mint, object       what every new credential must respect; the object that a request names
//! event                       delivers what happened to all whom it concerns
//! link, mail                  links that open something once; mail that a change leaves behind
//! quota, throttle             what one person and one tenant may store; how often something may be asked for
//! once                        what was approved for one request alone is spent by it
//! reader                      what the fixes of a refusal know of the caller that reads them
//! guard                       lets a caller in, or says why not
//! proxy                       what a proxy asks in the name of a request that it passes on
//! cors                        pages of other origins, where they may ask
//! whoami                      the caller, as it is told about itself
//! watch                       requests that wait until somebody has written
//! bell                        how one task wakes another one
//! caller                      who is calling, and what may they do
//! fixes                       how a caller fixes a refusal
//! proof                       proofs that a sender has the key that its credential is bound to
//! credential                  what a caller presents
//! form                        bodies and queries, field by field
//! site                        the address of this server
//! inside                      requests to other components
//! app, response, body         the request's view of the instance; responses
//! outbound                    requests to other servers
//! accept, clock, headers,     what comes from outside
//! settings
//! ```
#![forbid(unsafe_code)]

pub mod accept;
pub mod app;
mod bell;
pub mod body;
pub mod call;
pub mod caller;
pub mod change;
pub mod clock;
mod cors;
pub mod credential;
pub mod enrolment;
#[cfg(target_family = "wasm")]
pub mod entry;
pub mod event;
pub mod extract;
mod fixes;
pub mod form;
pub mod grantee;
pub mod guard;
pub mod headers;
pub mod http;
pub mod idempotency;
pub mod inside;
pub mod issue;
pub mod link;
mod macros;
pub mod mail;
pub mod mint;
pub mod missing;
mod nowhere;
pub mod object;
mod once;
pub mod outbound;
mod paths;
pub mod proof;
pub mod proxy;
pub mod quota;
pub mod reader;
pub mod response;
pub mod router;
pub mod secrets;
pub mod session;
pub mod settings;
pub mod site;
#[cfg(not(target_family = "wasm"))]
pub mod testing;
pub mod throttle;
pub mod watch;
pub mod whoami;
