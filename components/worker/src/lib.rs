//! Component `worker`: mail, webhooks, probes and housekeeping. It alone may call the mail providers, and the hosts that the operator
//! allows.
#![forbid(unsafe_code)]

mod approvals;
mod client_documents;
mod deliver;
mod deployments;
mod expiring;
mod key_sets;
mod letter;
mod mail;
mod probes;
mod quotas;
mod reseal;
mod routes;
mod silence;
mod tick;
mod webhooks;

pub use routes::router;

service::component!(crate::router);

service::with_neighbours!(agents, keys, notify);
