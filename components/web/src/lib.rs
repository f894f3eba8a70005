//! Component `web`: the pages for people. It has no database and no secret: a page asks the routes of the API with the cookie of its
//! visitor, so that it can show and do what the API lets that visitor see and do, and nothing else.
//!
//! Imports run one way, from the bottom of this list to the top:
//!
//! ```text
//! routes                                            from a row to its page
//! home, agents, agent, archived, access, tokens,
//! install, security, device, notifications, users,
//! tenant, all_tokens, webhooks, audit, login, setup,
//! clients, resources, receipt, guides, outbox,
//! links, leaks, providers, again, authorize,
//! presets, custom_scopes                            one file for each page
//! page                                              what every page has: header, note, policy
//! identities                                        providers that are offered, and what is linked with them
//! scopes                                            what a new credential may do, to choose from
//! home_tenant                                       the tenant of a visitor without a session
//! flows                                             what this browser has begun at providers
//! kept                                              a form that waits for a sign-in
//! list                                              lists on pages, whose state is the address
//! qr                                                QR codes
//! chart                                             what happened, as a drawing
//! shown                                             forms of settings, which others may have changed meanwhile
//! words                                             times, states and events in words
//! api                                               requests to the other components
//! help                                              refusals in words for people
//! bidi                                              texts from right to left
//! assets, cookie, form                              style and script; cookies; what was typed
//! ```
#![forbid(unsafe_code)]

mod access;
mod again;
mod agent;
mod agents;
mod all_tokens;
mod api;
mod archived;
mod assets;
mod audit;
mod authorize;
mod bidi;
mod chart;
mod clients;
mod cookie;
mod custom_scopes;
mod device;
mod flows;
mod form;
mod guides;
mod help;
mod home;
mod home_tenant;
mod identities;
mod install;
mod kept;
mod leaks;
mod links;
mod list;
mod login;
mod notifications;
mod outbox;
mod page;
mod presets;
mod providers;
mod qr;
mod receipt;
mod resources;
mod routes;
mod scopes;
mod security;
mod setup;
mod shown;
mod tenant;
#[cfg(test)]
mod testing;
mod tokens;
mod users;
mod webhooks;
mod words;

pub use routes::router;

service::component!(crate::router);
