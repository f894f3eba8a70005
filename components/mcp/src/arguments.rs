//! The arguments of a tool as a model meant them: models and their programs write numbers with a fraction, null or a text without characters
//! for what they do not set, lists and objects as JSON in a text, and some add arguments of their own.

use common::json;
use serde_json::{Map, Value as Json};

/// A number without a fraction, which models write as `5.0` too, is a whole one.
pub(crate) fn whole(value: Json) -> Json {
    json::whole(&value).filter(|_| value.is_f64()).map_or(value, Json::from)
}

/// Puts right, at each depth, what the schema does not take and what can mean only one thing: a list, an object, a number or a truth value that
/// stands in a text, as several programs send it, a list without items for an object, which is how PHP writes one, and null or nothing for a
/// member that is not set, which many models send.
pub(crate) fn as_meant(value: &mut Json, schema: &Json) {
    if let Some(meant) = value.as_str().and_then(|text| in_text(text, schema)) {
        *value = meant;
    }
    if value.as_array().is_some_and(Vec::is_empty) && takes(schema, "object") && !takes(schema, "array") {
        *value = Json::Object(Map::new());
    }
    match value {
        Json::Object(members) => {
            let of = |name: &str| schema.get("properties").and_then(|all| all.get(name));
            members.retain(|name, value| match value {
                Json::Null => !of(name).is_some_and(refuses_null),
                Json::String(text) if text.is_empty() => !of(name).is_some_and(|schema| refuses_nothing(name, schema)),
                _ => true,
            });
            for (name, value) in members {
                if let Some(schema) = of(name) {
                    as_meant(value, schema);
                }
            }
        }
        Json::Array(items) => {
            if let Some(schema) = schema.get("items") {
                items.iter_mut().for_each(|item| as_meant(item, schema));
            }
        }
        _ => {}
    }
}

/// The types that a schema names. (R494: no schema of a tool has a list of types.)
fn types(schema: &Json) -> impl Iterator<Item = &str> {
    let any = schema.get("anyOf").and_then(Json::as_array).into_iter().flatten();
    std::iter::once(schema).chain(any).filter_map(|one| one.get("type")?.as_str())
}

fn takes(schema: &Json, kind: &str) -> bool {
    types(schema).any(|known| known == kind)
}

/// The value that stands in a text as JSON, if the schema takes its type, and takes no text, or the text can be nothing but a list or an object.
fn in_text(text: &str, schema: &Json) -> Option<Json> {
    let takes = |kind: &str| takes(schema, kind);
    if takes("string") && !text.trim_start().starts_with(['[', '{']) {
        return None;
    }
    let value = whole(serde_json::from_str(text).ok()?);
    let fits = match &value {
        Json::Array(_) => takes("array"),
        Json::Object(_) => takes("object"),
        Json::Bool(_) => takes("boolean"),
        Json::Null => takes("null"),
        Json::Number(number) => takes("number") || (takes("integer") && !number.is_f64()),
        Json::String(_) => false,
    };
    fits.then_some(value)
}

/// Whether a schema names types, and null is none of them.
fn refuses_null(schema: &Json) -> bool {
    let mut named = types(schema).peekable();
    named.peek().is_some() && named.all(|kind| kind != "null")
}

/// Texts of which one without characters means nothing, though their schemas take every one.
const NEVER_EMPTY: [&str; 2] = ["cursor", "has_token"];

/// Whether a text without characters can only stand for what is not set: where a schema takes numbers and truth values, or words of its own.
/// A list or an object could be meant to be empty.
fn refuses_nothing(name: &str, schema: &Json) -> bool {
    let is_free = |one: &Json| one.get("type").is_some_and(|kind| kind == "string") && one.get("enum").is_none();
    let any = schema.get("anyOf").and_then(Json::as_array).into_iter().flatten();
    let takes_text = std::iter::once(schema).chain(any).any(is_free);
    let is_single = types(schema).next().is_some() && !takes(schema, "array") && !takes(schema, "object");
    NEVER_EMPTY.contains(&name) || (is_single && !takes_text)
}

/// What programs add to the arguments of every tool: n8n the first four, and Cursor the last one to a tool that has none.
const ADDED: [&str; 5] = ["toolCallId", "sessionId", "chatInput", "action", "random_string"];

/// Leaves out what programs add, where the tool knows no such argument.
pub(crate) fn leave_out_added(arguments: &mut Map<String, Json>, schema: &Json) {
    let is_known = |name: &str| schema.get("properties").is_some_and(|all| all.get(name).is_some());
    arguments.retain(|name, _| !ADDED.contains(&name.as_str()) || is_known(name));
}

#[cfg(test)]
mod tests {
    use common::route::{self, Route};
    use serde_json::json;

    use super::*;
    use crate::{reference::reference, tools::Call};

    fn call(route: &'static Route, arguments: Json) -> Result<Call, common::error::ApiError> {
        Call::new(route, arguments.as_object().cloned().unwrap_or_default())
    }

    /// R590: what a tool's schema has no null for is left out where it is null, at each depth; what null clears is sent, and so is what is
    /// unknown.
    #[test]
    fn null_is_left_out_where_it_means_nothing() {
        let made =
            call(route::LOGS_APPEND, json!({ "agent": "me", "lines": [{ "text": "x", "level": null }], "text": null }))
                .unwrap();
        assert_eq!(made.body, Some(json!({ "lines": [{ "text": "x" }] })));
        let sent = json!({ "agent": "a", "model": null, "compute": null, "labels": null, "tier": null, "x": null });
        let made = call(route::AGENTS_PATCH, sent).unwrap();
        assert_eq!(made.body, Some(json!({ "model": null, "compute": null, "x": null })));
        let made = call(route::AGENTS_CREATE, json!({ "name": "a", "idempotency_key": null })).unwrap();
        assert_eq!(made.key, None);
        // Every field that a tool does not need can be null, of every tool.
        for (name, tool) in &reference().unwrap().tools {
            let schema = &tool["inputSchema"];
            let all = schema["properties"].as_object().unwrap().keys().map(|name| (name.clone(), Json::Null));
            let mut sent = Json::Object(all.collect());
            as_meant(&mut sent, schema);
            for (field, _) in sent.as_object().unwrap() {
                let means = &schema["properties"][field];
                assert!(means.get("type").is_none(), "{name} {field}: {means}");
            }
        }
    }

    /// R672: what stands in a text as JSON is what the schema takes, at each depth; a text that may be one stays one.
    #[test]
    fn what_stands_in_a_text_is_taken_for_what_it_is() {
        let sent = json!({
            "name": "[1]", "scope": "[\"agents.read\"]", "labels": "{\"team\": \"[x]\"}", "tier": "4", "issue_token": "false",
            "budget_cents": "2.0", "compute": "{\"cpu\": 2}", "model": "null", "description": "{\"a\": 1}",
        });
        let made = call(route::AGENTS_CREATE, sent).unwrap().body;
        let meant = json!({
            "name": "[1]", "scope": ["agents.read"], "labels": { "team": "[x]" }, "tier": 4, "issue_token": false,
            "budget_cents": 2, "compute": { "cpu": 2 }, "model": "null", "description": "{\"a\": 1}",
        });
        assert_eq!(made, Some(meant));
        let lines = json!({ "agent": "me", "lines": "[{\"text\": \"{}\", \"level\": null}]" });
        let made = call(route::LOGS_APPEND, lines).unwrap().body;
        assert_eq!(made, Some(json!({ "lines": [{ "text": "{}" }] })));
        let made = |scope: &str| call(route::ACCESS_ASK, json!({ "scope": scope })).unwrap().body;
        assert_eq!(made("[\"agents.create\"]"), Some(json!({ "scope": ["agents.create"] })));
        assert_eq!(made("agents.create"), Some(json!({ "scope": "agents.create" })));
        // What is no JSON, or of another type, goes along, so that the route says what it takes.
        for (field, text) in
            [("scope", "agents.read"), ("tier", "four"), ("tier", "4.5"), ("labels", "[1]"), ("tier", "\"4\"")]
        {
            let made = call(route::AGENTS_CREATE, json!({ "name": "a", field: text })).unwrap().body;
            assert_eq!(made, Some(json!({ "name": "a", field: text })));
        }
    }

    /// R745: an empty list is an empty object where there can be no list, at each depth; an empty text is left out where no text can be.
    #[test]
    fn what_is_empty_is_taken_for_what_it_is() {
        let sent = json!({
            "name": "a", "labels": [], "secrets": [], "scope": [], "compute": [], "description": "", "issue_token": "",
            "expires_in_days": "", "tier": "", "model": "",
        });
        let made = call(route::AGENTS_CREATE, sent).unwrap().body;
        let meant = json!({
            "name": "a", "labels": {}, "secrets": {}, "scope": [], "compute": [], "description": "", "model": "",
        });
        assert_eq!(made, Some(meant));
        // What could be meant to be empty goes along, and so does what is unknown.
        let made = call(route::AGENTS_CREATE, json!({ "name": "a", "scope": "", "labels": "", "x": "" })).unwrap().body;
        assert_eq!(made, Some(json!({ "name": "a", "scope": "", "labels": "", "x": "" })));
        let lines = json!({ "agent": "me", "lines": [{ "text": "", "level": "" }] });
        let made = call(route::LOGS_APPEND, lines).unwrap().body;
        assert_eq!(made, Some(json!({ "lines": [{ "text": "" }] })));
        let none = json!({ "limit": "", "cursor": "", "has_token": "", "state": "", "sort": "" });
        assert_eq!(call(route::AGENTS_LIST, none).unwrap(), call(route::AGENTS_LIST, json!({})).unwrap());
    }

    /// R745: what programs add to the arguments is no mistake of the model.
    #[test]
    fn what_programs_add_is_left_out() {
        let added = json!({
            "toolCallId": "t", "sessionId": "s", "chatInput": "c", "action": "sendMessage", "random_string": "r",
        });
        assert_eq!(call(route::WHOAMI, added.clone()).unwrap(), call(route::WHOAMI, json!({})).unwrap());
        assert_eq!(call(route::CAN, added).unwrap(), call(route::CAN, json!({ "action": "sendMessage" })).unwrap());
        assert_ne!(call(route::WHOAMI, json!({ "sessionID": "s" })).unwrap(), call(route::WHOAMI, json!({})).unwrap());
    }
}
