//! The database: migrations, connections, permission, and all SQL. One file for each table.
//!
//! Imports run one way, from the bottom of this list to the top:
//!
//! ```text
//! testing                               a database for tests, with people and agents in it
//! housekeeping                          what the tick purges
//! usage                                 what tenants and people store, for their quotas
//! signed_token                          signed tokens that are out, each for a resource
//! federated_credential                  workloads that an agent trusts, which need no secret
//! hook                                  keys of which signed requests are taken
//! explain, grant, key, preset, probe    tables about agents, and why a subject may do something
//! access_request, agent, notification   tables about what users have
//! mail_request                          mails that strangers ask for, by the address of a user
//! delivery, webhook                     where events are sent, and what was
//! identity                              who a person is at a provider
//! addressee                             whom an event concerns
//! user                                  the table of users; another password ends their sessions
//! event                                 what has happened, for webhooks and for many inboxes at once
//! inbox                                 what an agent reads, with the credential that it presents
//! closure                               what a change has ended; who can still accept it
//! attempt, audit, credential            tables that name no other
//! code, custom_scope, device            …
//! epoch, factor, guard, guide           …
//! kept_answer                           …
//! oauth_client, oauth_document          …
//! oauth_grant, resource                 …
//! lease                                 what one instance at a time does
//! key_set, proof                        the public keys of others; proofs of keys that were taken
//! outbox, sealed, stream, tenant        …
//! person                                people, as filters of lists name them
//! permission                            who may do what, compiled to SQL
//! page, origin, subject                 pages of lists; where a change comes from; the caller as a subject
//! db                                    connections and transactions over Spin's SQLite, or rusqlite in native tests; migrations
//! ```
#![forbid(unsafe_code)]

pub mod access_request;
pub mod addressee;
pub mod agent;
pub mod attempt;
pub mod audit;
pub mod closure;
pub mod code;
pub mod credential;
pub mod custom_scope;
pub mod db;
pub mod delivery;
pub mod device;
pub mod epoch;
pub mod event;
pub mod explain;
pub mod factor;
pub mod federated_credential;
pub mod grant;
pub mod guard;
pub mod guide;
pub mod hook;
pub mod housekeeping;
pub mod identity;
pub mod inbox;
pub mod kept_answer;
pub mod key;
pub mod key_set;
pub mod lease;
pub mod mail_request;
pub mod notification;
pub mod oauth_client;
pub mod oauth_document;
pub mod oauth_grant;
pub mod origin;
pub mod outbox;
pub mod page;
pub mod permission;
pub mod person;
pub mod preset;
pub mod probe;
pub mod proof;
pub mod resource;
pub mod sealed;
pub mod signed_token;
pub mod stream;
pub mod subject;
pub mod tenant;
#[cfg(not(target_family = "wasm"))]
pub mod testing;
pub mod usage;
pub mod user;
pub mod webhook;
