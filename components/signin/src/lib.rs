//! Component `signin`: the routes that hash passwords or take codes, and those of the operator. A hash occupies its
//! whole instance for some 60 ms, which is why they are apart from all others.
#![forbid(unsafe_code)]

mod address;
mod bootstrap;
mod change_password;
mod codes;
mod factor;
mod letters;
mod operator;
mod password;
mod reauthenticate;
mod recover;
mod routes;
mod sign_in;
mod strength;
mod totp;
mod tries;

pub use routes::router;

service::component!(crate::router);
