//! Component `docs`: the documentation, the OpenAPI document, what agents read first, and our 404 for every path that no other component has.
#![forbid(unsafe_code)]

mod html;
mod library;
mod llms;
mod pages;
mod routes;
mod tables;

pub use pages::page_names;
pub use routes::router;

#[cfg(test)]
fn router_for_tests() -> service::router::Router {
    let docs = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs");
    routes::over(library::Library::at(&docs))
}

service::component!(crate::router);
