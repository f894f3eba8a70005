//! What a model reads of each tool, and the titles of the manual's pages, for component `mcp`.

use std::{fs, path::Path};

use common::{
    route::{Access, Object},
    tool,
};
use serde_json::{Map, Value as Json, json};
use service::{form, router::Described};

use crate::{examples, fields, openapi};

/// By name: title, description, schema of the arguments, the route, hints. Then the pages, by their paths below `/docs/`.
pub fn tools(rows: &[Described], docs: &Path) -> Json {
    let of = |row: &&Described| tool::is_tool(row.route);
    let tools: Map<String, Json> = rows.iter().filter(of).map(|row| (tool::name(row.route), described(row))).collect();
    let pages: Map<String, Json> =
        docs::page_names().iter().map(|page| ((*page).to_owned(), title(docs, page))).collect();
    json!({ "tools": tools, "pages": pages })
}

fn described(row: &Described) -> Json {
    let route = row.route;
    let needs = match route.access {
        Access::Scope(scope) => format!("Needs the scope {}.", scope.as_str()),
        Access::Public | Access::Credential => "Needs no scope.".to_owned(),
    };
    let page = route.page.split('#').next().unwrap_or_default();
    let arguments = arguments(row);
    json!({
        "title": route.title,
        "description": format!("{}. {needs} Details: accredit://manual/agents/{page}", route.title),
        "inputSchema": arguments,
        "_meta": { "accredit/route": format!("{} {}", route.method, route.path) },
        "annotations": {
            "readOnlyHint": route.is_safe(),
            "destructiveHint": tool::is_destructive(route),
            "idempotentHint": tool::is_repeatable(route),
            "openWorldHint": tool::is_of_the_world(route),
        },
    })
}

/// The schema of a tool's arguments: the names in the path, the query and the fields of the body, from the types that the route reads.
fn arguments(row: &Described) -> Json {
    let route = row.route;
    let mut shapes = fields::query(row);
    // What a DELETE names may be sent in the query or in the body.
    if !matches!(route.method, "GET" | "DELETE") {
        shapes.extend(row.takes.body.iter().flatten().cloned());
    }
    let mut schema = form::object(shapes);
    openapi::say(route, &mut schema);
    let mut required: Vec<Json> = Vec::new();
    let mut properties = Map::new();
    for name in tool::path_arguments(route) {
        let about = match (name.as_str(), route.object) {
            ("agent", Some(Object::OwnAgent)) => "Always me: the calling agent.",
            ("agent", _) => "The agent's name. An agent is itself by me.",
            (name, _) if name.ends_with("_id") || name == "delivery" => "The id.",
            _ => "The name.",
        };
        required.push(json!(name));
        properties.insert(name, json!({ "type": "string", "minLength": 1, "description": about }));
    }
    let example = examples::body(row).unwrap_or_default();
    for (name, schema) in schema.get("properties").and_then(Json::as_object).into_iter().flatten() {
        let mut schema = with_one_type(schema.clone());
        of_any_type(&mut schema);
        if let (Some(example), Some(members)) = (example.get(name), schema.as_object_mut()) {
            members.insert("examples".to_owned(), json!([example]));
        }
        let before = properties.insert(name.clone(), schema);
        assert!(before.is_none(), "{} has two arguments {name}", route.path);
    }
    if route.is_idempotent {
        let about = "A text of your own: sent again with it, the same call does nothing twice.";
        properties.insert(
            "idempotency_key".to_owned(),
            json!({ "type": "string", "minLength": 1, "maxLength": 255, "description": about }),
        );
    }
    required.extend(schema.get("required").and_then(Json::as_array).into_iter().flatten().cloned());
    if let Some(members) = schema.as_object_mut() {
        members.insert("properties".to_owned(), Json::Object(properties));
        if !required.is_empty() {
            members.insert("required".to_owned(), json!(required));
        }
    }
    schema
}

/// The same of a value of any type: some clients leave out each tool that has a value without one.
fn of_any_type(schema: &mut Json) {
    if let Some(about) = schema.as_object_mut()
        && !["type", "anyOf", "enum", "const"].iter().any(|word| about.contains_key(*word))
    {
        let any = ["object", "string", "number", "boolean", "null"].map(|kind| json!({ "type": kind }));
        let list = json!({ "type": "array", "items": { "anyOf": any } });
        about.insert("anyOf".to_owned(), any.into_iter().chain([list]).collect());
    }
}

/// A schema in which what may be of several types, such as a text or null, is one of several schemas of one type: some clients hand schemas on to
/// models whose service takes no list of types, and refuses all tools for one.
fn with_one_type(schema: Json) -> Json {
    let mut about = match schema {
        Json::Object(about) => about,
        Json::Array(list) => return list.into_iter().map(with_one_type).collect(),
        other => return other,
    };
    about.values_mut().for_each(|value| *value = with_one_type(value.take()));
    if let Some(properties) = about.get_mut("properties").and_then(Json::as_object_mut) {
        properties.values_mut().for_each(of_any_type);
    }
    let Some(Json::Array(types)) = about.get("type").cloned() else { return Json::Object(about) };
    let mut whole: Map<String, Json> =
        about.remove("description").map(|text| ("description".to_owned(), text)).into_iter().collect();
    let of_type = |name: Json| {
        if name == "null" {
            return json!({ "type": name });
        }
        let mut one = about.clone();
        one.insert("type".to_owned(), name);
        Json::Object(one)
    };
    whole.insert("anyOf".to_owned(), types.into_iter().map(of_type).collect());
    Json::Object(whole)
}

/// The heading of a page.
fn title(docs: &Path, page: &str) -> Json {
    let name = if page.ends_with('/') { format!("{page}index.md") } else { format!("{page}.md") };
    let text = fs::read_to_string(docs.join(name)).unwrap_or_default();
    json!(text.lines().find_map(|line| line.strip_prefix("# ")).unwrap_or(page).replace('`', ""))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    /// R258: a model is told what each argument of a tool is, in the words of the reference.
    #[test]
    fn every_argument_of_a_tool_is_described() {
        let document = tools(&crate::described(), Path::new(env!("CARGO_MANIFEST_DIR")));
        let all = document["tools"].as_object().unwrap();
        let mut count = 0;
        for (name, tool) in all {
            for (argument, schema) in tool["inputSchema"]["properties"].as_object().into_iter().flatten() {
                let about = schema["description"].as_str().unwrap_or_default();
                assert!(about.len() > 3, "{name}: {argument} has no description");
                // R299: where there are few values, they are given.
                let values =
                    crate::words::choices(about).filter(|_| schema["type"] == "string").map(|values| json!(values));
                assert_eq!(values.as_ref(), schema.get("enum"), "{name}: {argument}");
                count += 1;
            }
        }
        // R486: no list of types anywhere, which some models' services refuse.
        assert!(!document.to_string().contains(r#""type":["#));
        // R673: nor a value without any, for which some clients leave the whole tool out.
        fn check(schema: &Json, place: &str) {
            let of = |word: &str| schema.get(word);
            let any = of("anyOf").and_then(Json::as_array);
            assert!(of("type").is_some() || any.is_some_and(|any| !any.is_empty()), "{place} has no type");
            any.into_iter().flatten().chain(of("items")).for_each(|one| check(one, place));
            assert!(of("type").is_none_or(|kind| kind != "array" || of("items").is_some()), "{place} has no items");
            for (name, one) in of("properties").and_then(Json::as_object).into_iter().flatten() {
                check(one, &format!("{place} {name}"));
            }
        }
        all.iter().for_each(|(name, tool)| check(&tool["inputSchema"], name));
        let of = |tool: &str, argument: &str| all[tool]["inputSchema"]["properties"][argument].clone();
        assert_eq!(of("notify", "priority")["enum"], json!(["low", "normal", "high"]));
        let parent = json!([{ "type": "string" }, { "type": "null" }]);
        assert_eq!(of("agents_create", "parent")["anyOf"], parent);
        assert_eq!(of("agents_import", "agents")["items"]["properties"]["parent"]["anyOf"], parent);
        assert_eq!(of("users_list", "sort")["enum"], json!(["created_at", "name", "email", "last_login_at"]));
        assert!(count > 200 && all["inbox"]["inputSchema"]["properties"]["wait"]["description"].as_str().is_some());
    }
}
