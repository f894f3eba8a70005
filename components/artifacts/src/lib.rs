//! Component `artifacts`: hands out the CLI that lies in `dist/`, and the script that installs it. It has no database.
#![forbid(unsafe_code)]

mod dist;
mod download;
mod install;
mod manifest;
mod routes;
#[cfg(test)]
mod testing;

pub use routes::router;

service::component!(crate::router);
