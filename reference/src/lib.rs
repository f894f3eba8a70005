//! What the server says about its own routes, made of the route table and of the types of the handlers: [`openapi`], which the server
//! hands out as `/openapi.json`, and [`fields`], which `GET /api?for=me`, `/llms.txt` and the pages of the routes are made of, and [`tools`], which `/mcp`
//! hands out; and the patterns of the routes, by which the host's log names requests.
//!
//! All are files below `docs/reference`, so that no component carries the types of another. `cargo xtask reference` writes them, and
//! a test fails when they are stale.

mod by_route;
mod examples;
mod fields;
mod openapi;
mod tools;
mod words;

use std::path::{Path, PathBuf};

use serde_json::Value as Json;
use service::router::Described;

pub use examples::{body as example_body, query as example_query};
pub use fields::fields;
pub use openapi::openapi;
pub use tools::tools;

/// The rows of every component but the pages for people, in the order of the table.
fn described() -> Vec<Described> {
    let routers = [
        agents::router(),
        artifacts::router(),
        auth::router(),
        docs::router(),
        keys::router(),
        mcp::router(),
        notify::router(),
        oidc::router(),
        signin::router(),
        tenant::router(),
        tokens::router(),
        worker::router(),
    ];
    let mut rows: Vec<Described> = routers.iter().flat_map(service::router::Router::described).collect();
    rows.sort_by_key(|row| common::route::ROUTES.iter().position(|route| *route == row.route));
    rows
}

/// The files with their contents.
pub fn files() -> Vec<(PathBuf, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/reference");
    let rows = described();
    vec![
        (folder.join("openapi.json"), lines(&openapi(&rows))),
        (folder.join("fields.json"), lines(&fields(&rows))),
        (folder.join("routes.txt"), patterns()),
        (folder.join("words.json"), lines(&by_route::all(&rows))),
        (folder.join("mcp.json"), lines(&tools(&rows, &folder.join("..")))),
    ]
}

/// The patterns of all routes and pages, one a line: the access log of the host names requests by them.
fn patterns() -> String {
    let all: std::collections::BTreeSet<&str> = common::route::ROUTES.iter().map(|route| route.path).collect();
    all.into_iter().map(|path| format!("{path}\n")).collect()
}

/// A document with one line for each path, each schema and each route: small, and a change of one route is a change of one line.
fn lines(document: &Json) -> String {
    let mut text = String::new();
    write(&mut text, document, "");
    text + "\n"
}

fn write(text: &mut String, value: &Json, name: &str) {
    let is_spread = ["", "paths", "components", "schemas", "examples", "tools", "pages"].contains(&name);
    let Some(members) = value.as_object().filter(|_| is_spread) else {
        text.push_str(&value.to_string());
        return;
    };
    text.push('{');
    for (at, (name, value)) in members.iter().enumerate() {
        text.push_str(if at == 0 { "\n" } else { ",\n" });
        text.push_str(&format!("{}: ", Json::from(name.as_str())));
        write(text, value, name);
    }
    text.push_str("\n}");
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use common::route::{Group, ROUTES};
    use serde_json::json;

    use super::*;

    /// R120: the files are what the code says.
    #[test]
    fn the_files_are_up_to_date() {
        for (path, contents) in files() {
            let stored = std::fs::read_to_string(&path).unwrap_or_default();
            assert!(stored == contents, "{} is stale: run `cargo xtask reference`", path.display());
        }
    }

    /// R120: every row of the table but the pages is an operation, and no two have one id.
    #[test]
    fn every_row_of_the_table_is_an_operation() {
        let document = openapi(&described());
        let paths = document["paths"].as_object().unwrap();
        let operations: Vec<&Json> = paths.values().flat_map(|path| path.as_object().unwrap().values()).collect();
        assert_eq!(
            operations.len(),
            ROUTES.iter().filter(|route| route.group != Group::Web && !route.path.ends_with('/')).count()
        );
        let ids: BTreeSet<&str> =
            operations.iter().map(|operation| operation["operationId"].as_str().unwrap()).collect();
        assert_eq!(ids.len(), operations.len());
    }

    /// R289: generators of clients make types with names: what is one of several words is an enumeration, and what is one of several objects
    /// is one of several schemas. An operation is called as its tool.
    #[test]
    fn every_type_of_a_client_has_a_name() {
        fn unnamed(at: &str, schema: &Json, found: &mut Vec<String>) {
            for (name, part) in schema.as_object().into_iter().flatten() {
                let parts = part.as_array().filter(|_| ["anyOf", "oneOf"].contains(&name.as_str()));
                let is_unnamed = |part: &&Json| part.get("const").is_some() || part.get("properties").is_some();
                if parts.into_iter().flatten().any(|part| is_unnamed(&part)) {
                    found.push(format!("{at}/{name}"));
                }
                unnamed(&format!("{at}/{name}"), part, found);
            }
        }
        let document = openapi(&described());
        let mut found = Vec::new();
        unnamed("", &document["components"]["schemas"], &mut found);
        assert!(found.is_empty(), "{found:#?}");
        assert_eq!(document["components"]["schemas"]["Role"]["enum"], json!(["viewer", "member", "curator", "admin"]));
        assert_eq!(document["paths"]["/api/agents"]["get"]["operationId"], "agents_list");
    }

    /// R120: no schema's name stands for two types: the second would be numbered.
    #[test]
    fn each_schema_has_a_name_of_its_own() {
        let document = openapi(&described());
        for name in document["components"]["schemas"].as_object().unwrap().keys() {
            assert!(!name.ends_with(|c: char| c.is_ascii_digit()), "{name} is the name of two types");
        }
    }

    /// R203: each operation says what it answers, and every field and parameter is described.
    #[test]
    fn everything_is_described() {
        fn undescribed(at: &str, schema: &Json, found: &mut Vec<String>) {
            for part in
                ["anyOf", "oneOf", "allOf"].iter().flat_map(|parts| schema[*parts].as_array().into_iter().flatten())
            {
                undescribed(at, part, found);
            }
            if schema["items"].is_object() {
                undescribed(at, &schema["items"], found);
            }
            for (field, about) in schema["properties"].as_object().into_iter().flatten() {
                let says = |name: &str| about.get(name).is_some();
                if !says("description") && !says("const") {
                    found.push(format!("{at} {field}"));
                }
                undescribed(&format!("{at} {field}"), about, found);
            }
        }
        let document = openapi(&described());
        let mut found = Vec::new();
        for (name, schema) in document["components"]["schemas"].as_object().unwrap() {
            undescribed(name, schema, &mut found);
        }
        for (path, operations) in document["paths"].as_object().unwrap() {
            for (method, operation) in operations.as_object().unwrap() {
                let at = format!("{method} {path}");
                let is_given = |status: &String| status.starts_with('2') || status.starts_with('3');
                assert!(
                    operation["responses"].as_object().unwrap().keys().any(is_given),
                    "{at} does not say what it answers"
                );
                for parameter in operation["parameters"].as_array().into_iter().flatten() {
                    if parameter["$ref"].is_null() && !parameter["description"].is_string() {
                        found.push(format!("{at} {}", parameter["name"]));
                    }
                }
                for content in
                    operation["requestBody"]["content"].as_object().into_iter().flatten().map(|(_, content)| content)
                {
                    undescribed(&at, &content["schema"], &mut found);
                }
            }
        }
        assert!(found.is_empty(), "without a description: {found:#?}");
    }

    /// R203: the document stays of a size that clients read: some half as much again as it was when it had neither descriptions nor examples.
    #[test]
    fn the_document_is_bounded() {
        let (path, contents) = files().remove(0);
        assert!(contents.len() <= 400_000, "{}: {} bytes", path.display(), contents.len());
    }

    /// R120: no schema is a bare true or false, which generators of clients refuse; `additionalProperties: false` is known to all of them.
    #[test]
    fn every_schema_is_an_object() {
        /// The words whose values are true or false and no schemas.
        const FLAGS: [&str; 8] =
            ["const", "default", "deprecated", "enum", "example", "examples", "readOnly", "uniqueItems"];
        fn bare(at: &str, part: &Json, found: &mut Vec<String>) {
            match part {
                Json::Bool(_) => found.push(at.to_owned()),
                Json::Array(parts) => parts.iter().for_each(|part| bare(at, part, found)),
                Json::Object(members) => {
                    for (name, part) in members {
                        let is_closed = name == "additionalProperties" && *part == Json::Bool(false);
                        if !is_closed && !FLAGS.contains(&name.as_str()) {
                            bare(&format!("{at}/{name}"), part, found);
                        }
                    }
                }
                _ => {}
            }
        }
        fn schemas(at: &str, part: &Json, found: &mut Vec<String>) {
            match part {
                Json::Array(parts) => parts.iter().for_each(|part| schemas(at, part, found)),
                Json::Object(members) => {
                    for (name, part) in members {
                        match name.as_str() {
                            "schema" => bare(&format!("{at}/schema"), part, found),
                            _ => schemas(&format!("{at}/{name}"), part, found),
                        }
                    }
                }
                _ => {}
            }
        }
        let document = openapi(&described());
        let mut found = Vec::new();
        for (name, schema) in document["components"]["schemas"].as_object().unwrap() {
            bare(name, schema, &mut found);
        }
        for part in ["parameters", "responses"] {
            schemas(part, &document["components"][part], &mut found);
        }
        schemas("paths", &document["paths"], &mut found);
        assert!(found.is_empty(), "schemas that are true or false: {found:#?}");
        // What is exported can be imported.
        let exported = &document["components"]["schemas"]["ExportedAgents"]["properties"]["agents"]["items"];
        let members: Vec<&String> = exported["properties"].as_object().unwrap().keys().collect();
        assert!(exported["type"] == "object" && members.contains(&&"name".to_owned()), "{exported}");
    }

    /// R120: every reference leads somewhere.
    #[test]
    fn every_reference_leads_somewhere() {
        let document = openapi(&described());
        let text = document.to_string();
        for target in text.split("\"$ref\":\"#").skip(1).filter_map(|rest| rest.split('"').next()) {
            assert!(document.pointer(target).is_some(), "{target}");
        }
    }

    /// R121: a field that must be sent is in the example, and each row with such fields has one.
    #[test]
    fn examples_have_every_field_that_must_be_sent() {
        for row in described() {
            let required = |shapes: &Option<Vec<service::form::Shape>>| -> Vec<&str> {
                shapes.iter().flatten().filter(|shape| shape.is_required).map(|shape| shape.name).collect()
            };
            let (body, query) = (required(&row.takes.body), required(&row.takes.query));
            if !body.is_empty() {
                let example = example_body(&row).unwrap();
                assert!(body.iter().all(|name| !example[*name].is_null()), "{}: {example}", row.route.path);
            }
            if !query.is_empty() {
                let example = example_query(&row).unwrap();
                assert!(
                    query.iter().all(|name| example.contains(&format!("{name}="))),
                    "{}: {example}",
                    row.route.path
                );
            }
        }
    }
}
