//! Component `tenant`: what belongs to a tenant: users, custom scopes, the audit trail. It has the key that seals the trail.
#![forbid(unsafe_code)]

mod audit;
mod guides;
mod resources;
mod routes;
mod scopes;
mod settings;
mod usage;
mod users;

pub use routes::router;

service::component!(crate::router);

service::with_neighbours!(agents, auth, keys, tokens);
