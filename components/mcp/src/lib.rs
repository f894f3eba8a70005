//! Component `mcp`: this server by the Model Context Protocol, for clients of models. It has no database and no secret: a tool asks the
//! routes of the API with the credential of its caller, so that it can do what the API lets that caller do, and nothing else.
//!
//! The protocol is stateless in its revision 2026-07-28: each request says which revision it speaks and what its client can do. Clients of
//! earlier revisions begin with `initialize`; they get no session, and need none here.
//!
//! Imports run one way, from the bottom of this list to the top:
//!
//! ```text
//! routes                  from a row to its handler
//! server                  from a message to the answer of its method
//! listen                  subscriptions: a stream of what has changed
//! ask, prompts            what an agent lacks is asked for; texts to begin with
//! tools                   tools
//! resources               the manual, and what the caller may see of itself
//! arguments, short        arguments as a model means them; answers that a model can take
//! reference               what the build knows of tools and pages
//! api                     requests to the other components
//! message, fault          what was sent, by JSON-RPC 2.0 and by the revision; what is wrong with it
//! metadata                where clients get a token (RFC 9728)
//! ```
#![forbid(unsafe_code)]

mod api;
mod arguments;
mod ask;
mod fault;
mod listen;
mod message;
mod metadata;
mod prompts;
mod reference;
mod resources;
mod routes;
mod server;
mod short;
mod tools;

pub use routes::router;

service::component!(crate::router);
