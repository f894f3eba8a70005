//! The fields of each route: what is sent, and what is answered.

use common::route::{Group, Media, Query, Route};
use schemars::{SchemaGenerator, generate::SchemaSettings};
use serde_json::{Map, Value as Json, json};
use service::{form::Shape, router::Described};

use crate::examples;

/// Makes schemas as OpenAPI 3.1 has them, of what is written and not of what is read.
pub(crate) fn generator() -> SchemaGenerator {
    let mut settings = SchemaSettings::draft2020_12().for_serialize();
    settings.definitions_path = "/components/schemas".into();
    settings.meta_schema = None;
    settings.into_generator()
}

/// By method and path: the fields of the body and of the query, each with its name, whether it must be sent and its form in words; an
/// example; the status and the members of a successful answer.
pub fn fields(rows: &[Described]) -> Json {
    let mut generator = generator();
    let known = rows.iter().filter(|row| row.route.group != Group::Web);
    let members = known.map(|row| (format!("{} {}", row.route.method, row.route.path), of_row(row, &mut generator)));
    Json::Object(members.collect())
}

fn of_row(row: &Described, generator: &mut SchemaGenerator) -> Json {
    let mut entry = Map::new();
    if let Some(body) = row.takes.body.as_ref().filter(|body| !body.is_empty()) {
        entry.insert("body".to_owned(), body.iter().map(of_shape).collect());
    }
    if row.route.media == Media::Form {
        let (required, known) = form_of(row.route);
        let of = |names: &[&str], is_required: bool| -> Vec<Json> {
            names.iter().map(|name| json!([name, is_required, "a string"])).collect()
        };
        entry.insert("body".to_owned(), json!([of(required, true), of(known, false)].concat()));
    }
    let query = query(row);
    if !query.is_empty() {
        entry.insert("query".to_owned(), query.iter().map(of_shape).collect());
    }
    if let Some(example) = examples::body(row) {
        entry.insert("example".to_owned(), example);
    }
    if let Some(example) = examples::query(row) {
        entry.insert("example_query".to_owned(), json!(example));
    }
    if let Some(given) = row.gives {
        entry.insert("status".to_owned(), json!(given.statuses.first()));
        if let Some(schema) = given.schema {
            let schema = schema(generator);
            let members = members(schema.as_value(), generator);
            entry.insert("answer".to_owned(), json!(members));
        }
    }
    Json::Object(entry)
}

/// The parameters that a form of OAuth must have, and those that some grants of it take. Standards say them, and no type of ours does.
pub(crate) fn form_of(route: &Route) -> (&'static [&'static str], &'static [&'static str]) {
    match route.path {
        "/auth/device/code" => (&[], &["client_id", "client_secret", "name", "scope", "want"]),
        "/auth/device/token" => (&["grant_type", "device_code"], &["client_id", "client_secret"]),
        "/oauth/token" => (
            &["grant_type"],
            &[
                "client_id",
                "client_secret",
                "code",
                "redirect_uri",
                "code_verifier",
                "refresh_token",
                "device_code",
                "subject_token",
                "subject_token_type",
                "actor_token",
                "actor_token_type",
                "requested_token_type",
                "assertion",
                "resource",
                "scope",
            ],
        ),
        "/oauth/revoke" => (&["token"], &["client_id", "client_secret"]),
        _ => (&["token"], &[]),
    }
}

fn of_shape(shape: &Shape) -> Json {
    json!([shape.name, shape.is_required, shape.expected])
}

/// The query parameters of a row: those that the table names, with the types that its handler gives them.
pub(crate) fn query(row: &Described) -> Vec<Shape> {
    let shapes = row.takes.query.iter().flatten();
    match row.route.query {
        Query::Any => shapes.cloned().collect(),
        Query::Only(names) => {
            let of = |name: &&'static str| {
                let known = shapes.clone().find(|shape| shape.name == *name);
                known.cloned().unwrap_or_else(|| Shape::of::<Option<String>>(name))
            };
            names.iter().map(of).collect()
        }
    }
}

/// The names of the members of an answer.
fn members(schema: &Json, generator: &SchemaGenerator) -> Vec<String> {
    if let Some(name) = schema["$ref"].as_str().and_then(|target| target.rsplit('/').next()) {
        return generator.definitions().get(name).map_or_else(Vec::new, |schema| members(schema, generator));
    }
    if let Some(first) = schema["anyOf"].as_array().and_then(|any| any.first()) {
        return members(first, generator);
    }
    schema["properties"].as_object().into_iter().flatten().map(|(name, _)| name.clone()).collect()
}
