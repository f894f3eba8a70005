//! Component `artifacts`: hands out the CLI that lies in `dist/`, the script that installs it, and an index for pip and uv. It has no database.
#![forbid(unsafe_code)]

mod dist;
mod download;
mod install;
mod manifest;
mod routes;
mod simple;
#[cfg(test)]
mod testing;

pub use routes::router;

service::component!(crate::router);
