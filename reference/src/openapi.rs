//! The OpenAPI document.

use std::collections::BTreeSet;

use common::{
    error::{Code, Envelope},
    route::{Access, Callers, Group, Media, Route},
    tool,
};
use schemars::SchemaGenerator;
use serde_json::{Map, Value as Json, json};
use service::{form, form::Shape, router::Described};

use crate::{examples, fields, fields::generator, words};

/// The header of a response whose change has ended something.
const CLOSURE: &str = "X-Accredit-Closure";

/// The document.
pub fn openapi(rows: &[Described]) -> Json {
    let mut generator = generator();
    let refusal = generator.subschema_for::<Envelope<'static>>();
    let mut paths: Map<String, Json> = Map::new();
    let mut groups = BTreeSet::new();
    // The first page of the manual has two paths; one of them is enough.
    for row in rows.iter().filter(|row| row.route.group != Group::Web && !row.route.path.ends_with('/')) {
        groups.insert(row.route.group);
        let operation = operation(row, &mut generator);
        let path = paths.entry(path(row.route)).or_insert_with(|| json!({}));
        if let Some(path) = path.as_object_mut() {
            path.insert(row.route.method.to_ascii_lowercase(), operation);
        }
    }
    let mut schemas = generator.take_definitions(true);
    for (name, schema) in &mut schemas {
        spell_out(schema);
        describe(name, schema);
    }
    let answers = shown(&paths, &schemas);
    let tags: Vec<Json> =
        groups.into_iter().map(|group| json!({ "name": group.as_str(), "description": group.title() })).collect();
    json!({
        "openapi": "3.1.0",
        "info": info(),
        "servers": [{ "url": "/", "description": "This server" }],
        "tags": tags,
        "security": [{ "bearer": [] }, { "cookie": [] }],
        "paths": paths,
        "components": {
            "securitySchemes": {
                "bearer": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "A session, a personal access token, an agent's token or a key. A session is what POST /auth/token answers.",
                },
                "cookie": {
                    "type": "apiKey",
                    "in": "cookie",
                    "name": "__Host-accredit",
                    "description": "A browser's session. A change by cookie also sends the header x-csrf-token, which whoami answers, and comes from this site.",
                },
            },
            "parameters": {
                "IdempotencyKey": {
                    "name": "Idempotency-Key",
                    "in": "header",
                    "description": "Sent again with the same key, the request is answered as before and does nothing twice.",
                    "schema": { "type": "string", "minLength": 1, "maxLength": 255 },
                },
                "Cursor": {
                    "name": "cursor",
                    "in": "query",
                    "description": "next_cursor of the page before; left out, the first page.",
                    "schema": { "type": "string" },
                },
                "Limit": {
                    "name": "limit",
                    "in": "query",
                    "description": "How many rows to answer, 1 to 200.",
                    "schema": { "type": "integer" },
                    "example": 50,
                },
            },
            "headers": {
                "Closure": {
                    "description": "The id of the closure of what the change has ended, which GET /api/closures/{id} shows: closed, or partial with the guards that may still accept it. Left out if nothing has ended, and where a response without a body is replayed.",
                    "schema": { "type": "string", "pattern": "^cls_[0-9a-z]{26}$" },
                    "example": "cls_01kahq0h8gpzq3wzkdw9b7v5xt",
                },
            },
            "responses": {
                "Refusal": {
                    "description": "Refused: what is wrong, the step that fixes it, and the page that explains it.",
                    "content": { "application/json": { "schema": refusal, "example": refused() } },
                },
            },
            "examples": answers,
            "schemas": schemas,
        },
    })
}

fn info() -> Json {
    json!({
        "title": "Accredit",
        "version": env!("CARGO_PKG_VERSION"),
        "summary": "The authority for the identity and the tokens of AI agents and of the people who own them",
        "description": "Begin with /llms.txt. Every refusal has the schema Envelope: follow its fix.",
        "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
    })
}

/// The example of a refusal.
fn refused() -> Json {
    json!(common::error::ApiError::from(Code::AgentNotFound).envelope("req_01K000000000000000000000AB", "", None))
}

/// Writes the schema of whatever it may be as `{}`, which says the same as `true`: many generators of clients read objects alone. Where
/// no further members are allowed, `false` stays, which all of them know.
fn spell_out(schema: &mut Json) {
    if *schema == json!(true) {
        *schema = json!({});
    }
    if let Some(words) = as_enum(schema) {
        *schema = words;
    }
    for (name, part) in schema.as_object_mut().into_iter().flatten() {
        match (name.as_str(), part) {
            ("properties" | "patternProperties" | "$defs", Json::Object(parts)) => {
                parts.values_mut().for_each(spell_out);
            }
            ("anyOf" | "oneOf" | "allOf" | "prefixItems", Json::Array(parts)) => parts.iter_mut().for_each(spell_out),
            ("items" | "additionalProperties" | "propertyNames" | "contains" | "not", part) => spell_out(part),
            _ => {}
        }
    }
}

/// A choice between constant words as an enumeration, which every generator of clients knows. What each word means stands in the description.
fn as_enum(schema: &Json) -> Option<Json> {
    let choices = schema.get("oneOf")?.as_array()?;
    let words: Vec<&str> = choices.iter().map(|choice| choice.get("const")?.as_str()).collect::<Option<_>>()?;
    let text = |of: &Json| of.get("description").and_then(Json::as_str).unwrap_or_default().to_owned();
    let meanings = choices.iter().zip(&words).map(|(choice, word)| format!(" `{word}`: {}", text(choice)));
    let description = format!("{}{}", text(schema), meanings.collect::<String>());
    Some(json!({ "type": "string", "enum": words, "description": description }))
}

/// Says what each member of a schema is, where its type does not.
fn describe(name: &str, schema: &mut Json) {
    for parts in ["anyOf", "oneOf", "allOf"] {
        for part in schema.get_mut(parts).and_then(Json::as_array_mut).into_iter().flatten() {
            describe(name, part);
        }
    }
    if let Some(items) = schema.get_mut("items") {
        describe(name, items);
    }
    for (field, about) in schema.get_mut("properties").and_then(Json::as_object_mut).into_iter().flatten() {
        describe(name, about);
        let is_said = about.get("description").is_some() || about.get("const").is_some();
        let Some(words) = words::answered(name, field).filter(|_| !is_said) else { continue };
        match about.as_object_mut() {
            Some(members) => drop(members.insert("description".to_owned(), json!(words))),
            // Whatever it is.
            None => *about = json!({ "description": words }),
        }
    }
}

/// Where the examples of answers are.
const EXAMPLES: &str = "#/components/examples/";

/// The examples that answers name, each once, by the name of its schema.
fn shown(paths: &Map<String, Json>, schemas: &Map<String, Json>) -> Map<String, Json> {
    let text = json!(paths).to_string();
    let named: BTreeSet<&str> = text.split(EXAMPLES).skip(1).filter_map(|rest| rest.split('"').next()).collect();
    let of = |name: &&str| Some((*name).to_owned()).zip(schemas.get(*name));
    let made = named.iter().filter_map(of).map(|(name, schema)| {
        let value = examples::answer(schema, schemas, &name);
        (name, json!({ "value": value }))
    });
    made.collect()
}

/// The path as OpenAPI writes it.
fn path(route: &Route) -> String {
    route.path.replace("{*", "{")
}

/// The names in a path.
pub(crate) fn names(route: &Route) -> Vec<&'static str> {
    let segments = route.path.split('/').filter_map(|segment| segment.strip_prefix('{')?.strip_suffix('}'));
    segments.map(|name| name.trim_start_matches('*')).collect()
}

fn operation(row: &Described, generator: &mut SchemaGenerator) -> Json {
    let route = row.route;
    let mut operation = Map::new();
    let mut put = |name: &str, value: Json| {
        operation.insert(name.to_owned(), value);
    };
    // The name of its tool too.
    put("operationId", json!(tool::name(route)));
    put("summary", json!(route.title));
    put("tags", json!([route.group.as_str()]));
    put("externalDocs", json!({ "url": route.page_path() }));
    if route.access == Access::Public {
        put("security", json!([]));
    }
    if let Access::Scope(scope) = route.access {
        put("x-required-scopes", json!([scope.as_str()]));
    }
    if route.is_idempotent {
        put("x-idempotent", json!(true));
    }
    let callers = match route.callers {
        Callers::Everyone => None,
        Callers::People => Some("people"),
        Callers::Agents => Some("agents"),
        Callers::Sessions => Some("sessions"),
    };
    if let Some(callers) = callers {
        put("x-callers", json!(callers));
    }
    if route.while_halted {
        put("x-while-halted", json!(true));
    }
    let parameters = parameters(row);
    if !parameters.is_empty() {
        put("parameters", json!(parameters));
    }
    if let Some(body) = request_body(row) {
        put("requestBody", body);
    }
    put("responses", responses(row, generator));
    Json::Object(operation)
}

/// A parameter that is the same wherever it is.
fn shared(name: &str) -> Option<&'static str> {
    match name {
        "cursor" => Some("Cursor"),
        "limit" => Some("Limit"),
        _ => None,
    }
}

fn parameters(row: &Described) -> Vec<Json> {
    let in_path = names(row.route).into_iter().map(|name| {
        let schema = json!({ "type": "string", "minLength": 1 });
        let words = words::in_path(row.route, name);
        json!({ "name": name, "in": "path", "description": words, "required": true, "schema": schema })
    });
    let in_query = fields::query(row).into_iter().map(|shape| {
        let mut schema = shape.schema;
        if schema.get("type").is_none() {
            schema = json!({ "type": "string" });
        }
        // Every list has them.
        if let Some(shared) = shared(shape.name) {
            return json!({ "$ref": format!("#/components/parameters/{shared}") });
        }
        let words = words::sent(row.route, shape.name);
        if let (Some(values), Some(members)) = (words.and_then(words::choices), schema.as_object_mut()) {
            members.insert("enum".to_owned(), json!(values));
        }
        let mut parameter = json!({ "name": shape.name, "in": "query", "description": words, "schema": schema });
        if let Some(members) = parameter.as_object_mut() {
            if shape.is_required {
                members.insert("required".to_owned(), json!(true));
            }
            if shape.name == "lines" {
                members.insert("example".to_owned(), json!(50));
            }
        }
        parameter
    });
    let key = row.route.is_idempotent.then(|| json!({ "$ref": "#/components/parameters/IdempotencyKey" }));
    in_path.chain(in_query).chain(key).collect()
}

/// Says what each field of a body is, also within lists.
pub(crate) fn say(route: &Route, schema: &mut Json) {
    for (name, about) in schema.get_mut("properties").and_then(Json::as_object_mut).into_iter().flatten() {
        say(route, about);
        if let (Some(members), Some(words)) = (about.as_object_mut(), words::sent(route, name)) {
            words::say(members, words);
        }
    }
    if let Some(items) = schema.get_mut("items") {
        say(route, items);
    }
}

fn request_body(row: &Described) -> Option<Json> {
    if row.route.media == Media::Form {
        let (required, known) = fields::form_of(row.route);
        let fields: Map<String, Json> = required
            .iter()
            .chain(known)
            .map(|name| ((*name).to_owned(), json!({ "type": "string", "description": words::sent(row.route, name) })))
            .collect();
        let schema = json!({ "type": "object", "required": required, "properties": fields });
        return Some(json!({ "required": true, "content": { row.route.media.as_str(): { "schema": schema } } }));
    }
    let shapes: &Vec<Shape> = row.takes.body.as_ref().filter(|shapes| !shapes.is_empty())?;
    let mut schema = form::object(shapes.clone());
    say(row.route, &mut schema);
    let mut content = json!({ "schema": schema });
    if let (Some(example), Some(members)) = (examples::body(row), content.as_object_mut()) {
        members.insert("example".to_owned(), example);
    }
    let is_required = shapes.iter().any(|shape| shape.is_required);
    Some(json!({ "required": is_required, "content": { row.route.media.as_str(): content } }))
}

fn responses(row: &Described, generator: &mut SchemaGenerator) -> Json {
    let mut responses = Map::new();
    // A test asks of each row that it says what it gives.
    if let Some(given) = row.gives {
        for status in given.statuses {
            let mut content = Map::new();
            // JSON of a type of its own, such as a set of keys, in the place of the plain one.
            let own = given.media.filter(|media| given.schema.is_some() && media.ends_with("+json"));
            if let Some(schema) = given.schema {
                content.insert(own.unwrap_or("application/json").to_owned(), answered(&json!(schema(generator))));
            }
            for media in given.media.filter(|_| own.is_none()).into_iter().flat_map(|media| media.split(", ")) {
                // What is JSON and no schema of ours is an object all the same; what is neither that nor text has none.
                let described = match media {
                    "application/json" => json!({ "schema": { "type": "object" } }),
                    media if media.starts_with("text/") => json!({ "schema": { "type": "string" } }),
                    _ => json!({}),
                };
                content.insert(media.to_owned(), described);
            }
            let mut response = json!({ "description": meaning(*status) });
            if let (false, Some(members)) = (content.is_empty(), response.as_object_mut()) {
                members.insert("content".to_owned(), content.into());
            }
            name_closure(row.route, &mut response);
            responses.insert(status.to_string(), response);
        }
        for status in given.empty {
            let mut plain = json!({ "description": meaning(*status) });
            name_closure(row.route, &mut plain);
            let response = responses.entry(status.to_string()).or_insert(plain);
            if let Some(members) = response.as_object_mut().filter(|members| members.contains_key("content")) {
                members.insert("description".to_owned(), json!(format!("{}, or no body", meaning(*status))));
            }
        }
    }
    // A message is refused as its own protocol has it; what the transport refuses is an envelope.
    let refusal = match row.route == common::route::MCP {
        true => json!({ "description": "Refused", "content": { "application/json": { "schema": { "anyOf": [
            { "$ref": "#/components/schemas/Envelope" },
            { "type": "object", "required": ["jsonrpc", "error"], "properties": {
                "jsonrpc": { "const": "2.0" },
                "id": { "type": ["string", "integer"] },
                "error": { "type": "object", "required": ["code", "message"], "properties": {
                    "code": { "type": "integer" }, "message": { "type": "string" },
                } },
            } },
        ] } } } }),
        false => json!({ "$ref": "#/components/responses/Refusal" }),
    };
    responses.insert("4XX".to_owned(), refusal.clone());
    responses.insert("5XX".to_owned(), refusal);
    Json::Object(responses)
}

/// The header that names what the change has ended.
fn name_closure(route: &Route, response: &mut Json) {
    // An app that revokes its token is no caller, so that its row says nothing of closures.
    let names = route.closes || route == common::route::OAUTH_REVOKE;
    if let (true, Some(members)) = (names, response.as_object_mut()) {
        members.insert("headers".to_owned(), json!({ CLOSURE: { "$ref": "#/components/headers/Closure" } }));
    }
}

/// The schema of an answer, with its example.
fn answered(schema: &Json) -> Json {
    let name = schema["$ref"].as_str().and_then(|target| target.rsplit('/').next());
    match name {
        Some(name) => {
            json!({ "schema": schema, "examples": { "answer": { "$ref": format!("{EXAMPLES}{name}") } } })
        }
        None => json!({ "schema": schema }),
    }
}

fn meaning(status: u16) -> &'static str {
    match status {
        201 => "Created",
        202 => "Accepted",
        303 => "The answer is at the path in the header Location",
        204 => "Done; there is no body",
        206 => "The part that was asked for",
        207 => "Done in part; each result says more",
        _ => "Done",
    }
}
