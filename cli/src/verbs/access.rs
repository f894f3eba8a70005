//! What agents may do: presets, scopes, services, guides, and requests for access.

use common::route;

use super::{Kind, Show, Verb};
use crate::span::Unit;

const REQUESTS: &[(&str, &str)] = &[
    ("AGENT", "agent.name"),
    ("STATE", "state"),
    ("SCOPE", "scope"),
    ("FOR", "for.words"),
    ("REASON", "reason"),
    ("ID", "id"),
];

/// All of them.
pub(super) fn all() -> Vec<Verb> {
    [presets(), scopes(), resources(), guides(), requests()].into_iter().flatten().collect()
}

/// Presets.
fn presets() -> Vec<Verb> {
    vec![
        Verb::new("presets list", route::PRESETS_LIST).table(&[
            ("NAME", "name"),
            ("VERSION", "version"),
            ("SCOPE", "scope"),
        ]),
        Verb::new("presets put", route::PRESET_PUT)
            .needs("scope", Kind::Words)
            .field("secrets", Kind::Words)
            .field("probes", Kind::Texts)
            .field("defaults", Kind::Data),
        Verb::new("presets get", route::PRESET_GET),
        Verb::new("presets delete", route::PRESET_DELETE).asks("Delete the preset {name}?").done("Deleted."),
        Verb::new("presets drift", route::PRESET_DRIFT).table(&[("AGENT", "agent"), ("LACKS", "missing_scopes")]),
    ]
}

/// Scopes.
fn scopes() -> Vec<Verb> {
    vec![
        Verb::new("scopes list", route::SCOPES)
            .show(Show::Table("scopes", &[("SCOPE", "name"), ("ALLOWS", "description")])),
        Verb::new("scopes custom", route::SCOPES_CUSTOM).table(&[("SCOPE", "name"), ("ALLOWS", "description")]),
        Verb::new("scopes define", route::SCOPES_DEFINE).takes("name", Kind::Text).takes("description", Kind::Text),
        Verb::new("scopes remove", route::SCOPES_REMOVE)
            .takes_query("name")
            .asks("Delete the scope {name}?")
            .done("Deleted {name}."),
    ]
}

/// Services for which tokens are signed.
fn resources() -> Vec<Verb> {
    let resources = |verb: Verb| verb.look_up(route::RESOURCES_LIST, "res_");
    vec![
        Verb::new("resources list", route::RESOURCES_LIST).table(&[
            ("IDENTIFIER", "identifier"),
            ("NAME", "name"),
            ("SCOPES", "scopes"),
            ("ID", "id"),
        ]),
        resources(Verb::new("resources get", route::RESOURCES_GET)),
        Verb::new("resources create", route::RESOURCES_CREATE)
            .takes("identifier", Kind::Text)
            .field("name", Kind::Text)
            .field("scopes", Kind::Words)
            .field("introspectors", Kind::Words)
            .field("signing_alg", Kind::Text),
        resources(Verb::new("resources update", route::RESOURCES_PATCH))
            .field("name", Kind::Text)
            .field("scopes", Kind::Words)
            .field("introspectors", Kind::Words)
            .field("signing_alg", Kind::Text),
        resources(Verb::new("resources delete", route::RESOURCES_DELETE))
            .asks("Delete the service {id}, and end its tokens?")
            .done("Deleted."),
    ]
}

/// Guides.
fn guides() -> Vec<Verb> {
    vec![
        Verb::new("guides list", route::GUIDES_LIST).table(&[
            ("SOURCE", "source"),
            ("NAME", "name"),
            ("TITLE", "title"),
            ("SINCE", "updated_at"),
        ]),
        Verb::new("guides get", route::GUIDES_GET),
        Verb::new("guides prompt", route::GUIDES_PROMPT),
        Verb::new("guides put", route::GUIDES_PUT)
            .file("A file of JSON: {\"pages\": [{\"name\", \"title\", \"text\"}]}; - is standard input"),
        Verb::new("guides delete", route::GUIDES_DELETE)
            .asks("Delete the guides of {source}?")
            .done("Deleted the guides of {source}."),
    ]
}

/// Requests for access, and closures.
fn requests() -> Vec<Verb> {
    let requests = |verb: Verb| verb.look_up(route::ACCESS_LIST, "acc_");
    vec![
        Verb::new("access request", route::ACCESS_ASK)
            .takes("scope", Kind::Words)
            .needs("reason", Kind::Text)
            .field("hours", Kind::Lasts(Unit::Hours))
            .field("for", Kind::Data)
            .typed(", as JSON {method, path, body_sha256, body}"),
        Verb::new("access list", route::ACCESS_LIST).table(REQUESTS),
        requests(Verb::new("access get", route::ACCESS_GET)),
        Verb::new("closures get", route::CLOSURE_GET),
        Verb::new("closures receipt", route::CLOSURE_RECEIPT).show(Show::Plain),
        requests(Verb::new("access withdraw", route::ACCESS_WITHDRAW))
            .asks("Withdraw the request {id}?")
            .done("Withdrawn."),
        requests(Verb::new("access approve", route::ACCESS_APPROVE))
            .field("scope", Kind::Words)
            .field("lasts", Kind::Text)
            .field("hours", Kind::Lasts(Unit::Hours))
            .asks("Approve the request {id}?"),
        requests(Verb::new("access deny", route::ACCESS_DENY)).field("reason", Kind::Text),
        requests(Verb::new("access revoke", route::ACCESS_REVOKE)).asks("Revoke the approval {id}?").done("Revoked."),
    ]
}
