//! Components from wasm files, and middleware put before one (`wasi:http/middleware`), by the manifest's `dependencies.middleware` of a trigger.
//!
//! A composed component is one component: its parts have the same variables, hosts, databases and so on. So a middleware may import only what
//! its entry inherits. The environment and the files of the component it always gets, since every program imports them.

use anyhow::{Context as _, Result, ensure};
use wac_graph::types::Package;
use wac_graph::{CompositionGraph, EncodeOptions};
use wasi_preview1_component_adapter_provider::WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER;
use wit_component::ComponentEncoder;

use crate::manifest::Inherited;

/// What a middleware exports, and what it imports from the part behind it.
const HANDLER: &str = "wasi:http/handler@0.3.0";

/// Keys of a component, and how the interfaces begin by which a part of it uses them.
const GRANTS: [(&str, &[&str]); 4] = [
    ("allowed_outbound_hosts", &["wasi:http/client", "wasi:sockets/"]),
    ("key_value_stores", &["spin:key-value/", "fermyon:spin/key-value"]),
    ("sqlite_databases", &["spin:sqlite/", "fermyon:spin/sqlite"]),
    ("variables", &["spin:variables/", "fermyon:spin/variables", "fermyon:spin/config"]),
];

/// Makes a component of a core module for WASI preview 1. A component stays as it is.
pub(crate) fn encode(wasm: Vec<u8>) -> Result<Vec<u8>> {
    const COMPONENT: [u8; 8] = *b"\0asm\x0d\0\x01\0";
    if wasm.starts_with(&COMPONENT) {
        return Ok(wasm);
    }
    ComponentEncoder::default()
        .validate(true)
        .module(&wasm)?
        .adapter("wasi_snapshot_preview1", WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER)?
        .encode()
}

/// Puts middleware before a component: the first one gets a request first. All are wasm as [`encode`] takes it.
pub(crate) fn chain(middleware: Vec<(Vec<u8>, &Inherited)>, component: Vec<u8>) -> Result<Vec<u8>> {
    let mut graph = CompositionGraph::new();
    let package = Package::from_bytes("component", None, encode(component)?, graph.types_mut())?;
    let package = graph.register_package(package)?;
    let innermost = graph.instantiate(package);
    let mut behind = graph.alias_instance_export(innermost, HANDLER)?;
    for (place, (wasm, inherited)) in middleware.into_iter().enumerate().rev() {
        let of = || format!("in the middleware {}", place + 1);
        let package = Package::from_bytes(&format!("middleware-{place}"), None, encode(wasm)?, graph.types_mut())
            .with_context(of)?;
        for import in graph.types()[package.ty()].imports.keys() {
            check(import, inherited).with_context(of)?;
        }
        let package = graph.register_package(package)?;
        let instance = graph.instantiate(package);
        graph.set_instantiation_argument(instance, HANDLER, behind).with_context(of)?;
        behind = graph.alias_instance_export(instance, HANDLER).with_context(of)?;
    }
    graph.export(behind, HANDLER)?;
    Ok(graph.encode(EncodeOptions::default())?)
}

/// Whether a middleware that inherits this may import that.
fn check(import: &str, inherited: &Inherited) -> Result<()> {
    let grant = GRANTS.iter().find(|(_, interfaces)| interfaces.iter().any(|begin| import.starts_with(begin)));
    let Some((key, _)) = grant else { return Ok(()) };
    ensure!(inherited.has(key), "it imports {import}, so `inherit_configuration` must name {key:?}");
    Ok(())
}
