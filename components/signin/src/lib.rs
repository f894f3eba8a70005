//! Component `signin`: the routes that hash passwords, and those of the operator. A hash occupies its whole instance for some 60 ms,
//! which is why they are apart from all others.
#![forbid(unsafe_code)]

mod bootstrap;
mod change_password;
mod operator;
mod password;
mod routes;
mod sign_in;
mod tries;

pub use routes::router;

service::component!(crate::router);
