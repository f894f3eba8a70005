//! Component `notify`: notifications for people, inboxes of agents, messages.
#![forbid(unsafe_code)]

mod inbox;
mod messages;
mod notifications;
mod notify;
mod preferences;
mod routes;
mod stream;

pub use routes::router;

service::component!(crate::router);
