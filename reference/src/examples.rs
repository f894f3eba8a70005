//! Examples of what is sent, made of the fields' names. A test sends each of them to the server.

use serde_json::{Map, Value as Json, json};
use service::{form::Shape, router::Described};

/// The value of a field in examples, by the beginning of the path and the field's name; the first that fits counts.
const VALUES: &[(&str, &str, &str)] = &[
    ("/api/scopes/custom", "name", r#""x.crm.read""#),
    ("/api/scopes/custom", "description", r#""Read customers""#),
    ("/api/users", "name", r#""Mia""#),
    ("/auth/bootstrap", "name", r#""Ada""#),
    ("/operator", "name", r#""Ada""#),
    ("/operator/tenants", "tenant", r#""acme""#),
    ("/auth/tokens", "name", r#""ci""#),
    ("/api/agents/{name}/keys", "name", r#""ci""#),
    ("/api/agents/import", "agents", r#"[{"name": "scout"}]"#),
    ("/api/presets", "scope", r#"["agents.list", "agents.read"]"#),
    ("/api/agents/{name}/probes", "secret", r#""OPENAI_KEY""#),
    ("/cli/download", "os", r#""linux""#),
    ("/cli/download", "arch", r#""x86_64""#),
    ("/auth/leaks", "token", r#""<the leaked credential>""#),
    ("/auth/introspect", "token", r#""<the token to ask about>""#),
    ("/api/resources", "identifier", r#""https://crm.example.com""#),
    ("/api/oauth", "request", r#""client_id=cli_00000000000000000000000000""#),
    ("/api/oauth/documents", "client_id", r#""https://example.com/client.json""#),
    ("/api/agents/{name}/federated-credentials", "name", r#""github""#),
    ("/api/agents/{name}/federated-credentials", "issuer", r#""https://token.actions.githubusercontent.com""#),
    ("/api/agents/{name}/federated-credentials", "subject", r#""repo:acme/shop:environment:production""#),
    ("", "name", r#""scout""#),
    ("", "names", r#"["scout"]"#),
    ("", "email", r#""mia@example.com""#),
    ("", "password", r#""correct horse battery""#),
    ("", "new", r#""correct horse battery""#),
    ("", "current", r#""the present password""#),
    ("", "secret", r#""<the operator secret>""#),
    ("", "scope", r#""agents.update""#),
    ("", "reason", r#""For my task.""#),
    ("", "subject", r#""mia@example.com""#),
    ("", "relation", r#""viewer""#),
    ("", "action", r#""agents.read""#),
    ("", "object", r#""me""#),
    ("", "title", r#""Report ready""#),
    ("", "body", r#""The report is ready.""#),
    ("", "text", r#""Please pause the crawl.""#),
    ("", "upto", r#""evt_0000000000000042""#),
    ("", "issued_before", r#""2026-11-22T02:38:46Z""#),
    ("", "key", r#""OPENAI_KEY""#),
    ("", "value", r#""sk-example""#),
    ("", "url", r#""https://example.com/""#),
    ("", "redirect_uris", r#"["https://example.com/callback"]"#),
    ("", "code", r#""<the code>""#),
    ("", "token", r#""<the token>""#),
];

/// Fields that need not be sent, but make a better example.
const SHOWN: &[(&str, &str, &str)] = &[
    ("POST", "/api/agents/{name}/deploy-status", r#"{"reason": "Out of memory."}"#),
    ("POST", "/api/agents/me/heartbeat", r#"{"spent_cents": 120}"#),
    ("POST", "/api/agents/{name}/logs", r#"{"level": "info", "text": "Started."}"#),
    ("PATCH", "/api/agents/{name}", r#"{"description": "Reads the news."}"#),
    ("PUT", "/api/agents/{name}", r#"{"scope": ["agents.read"]}"#),
    ("POST", "/auth/password", r#"{"current": "the present password", "new": "correct horse battery"}"#),
    ("PATCH", "/api/users/{id}", r#"{"role": "member"}"#),
    ("POST", "/api/access-requests", r#"{"scope": "agents.update", "reason": "To describe myself."}"#),
    ("POST", "/api/access-requests/{id}/approve", r#"{"hours": 24}"#),
    ("PUT", "/api/agents/{name}/secrets", r#"{"secrets": {"OPENAI_KEY": "sk-example"}}"#),
    (
        "PUT",
        "/api/guides/{source}",
        r#"{"pages": [{"name": "refunds", "title": "Refunds", "text": "A refund needs the number of its order."}]}"#,
    ),
];

fn value(path: &str, shape: &Shape) -> Json {
    let known = VALUES.iter().find(|(start, name, _)| *name == shape.name && path.starts_with(start));
    if let Some(value) = known.and_then(|(.., text)| serde_json::from_str(text).ok()) {
        return value;
    }
    match shape.schema.get("type").and_then(Json::as_str) {
        Some("integer") => json!(1),
        Some("boolean") => json!(true),
        Some("array") => json!([]),
        Some("object") => json!({}),
        _ => json!(format!("<{}>", shape.name)),
    }
}

/// The example of a body. `None`: nothing needs to be sent.
pub fn body(row: &Described) -> Option<Json> {
    let route = row.route;
    if let Some((.., text)) = SHOWN.iter().find(|(method, path, _)| (*method, *path) == (route.method, route.path)) {
        return serde_json::from_str(text).ok();
    }
    let shapes = row.takes.body.iter().flatten().filter(|shape| shape.is_required);
    let members: Map<String, Json> = shapes.map(|shape| (shape.name.to_owned(), value(route.path, shape))).collect();
    (!members.is_empty()).then_some(Json::Object(members))
}

/// The example of a query, with its question mark. `None`: nothing needs to be sent.
pub fn query(row: &Described) -> Option<String> {
    if row.route == common::route::CAN {
        return Some("?action=agents.read&object=me".to_owned());
    }
    let shapes: Vec<&Shape> = row.takes.query.iter().flatten().filter(|shape| shape.is_required).collect();
    let pairs = shapes.iter().map(|shape| {
        let value = value(row.route.path, shape);
        format!("{}={}", shape.name, value.as_str().map_or_else(|| value.to_string(), str::to_owned))
    });
    (!shapes.is_empty()).then(|| format!("?{}", pairs.collect::<Vec<_>>().join("&")))
}

/// Texts in the examples of answers, by the end of the schema's name or by the member's.
const TEXTS: &[(&str, &str)] = &[
    ("AgentId", "agt_01K00000000000000000000000"),
    ("UserId", "usr_01K00000000000000000000000"),
    ("TenantId", "ten_01K00000000000000000000000"),
    ("CredentialId", "tok_01K00000000000000000000000"),
    ("KeyId", "key_01K00000000000000000000000"),
    ("id", "01K00000000000000000000000"),
    ("name", "scout"),
    ("agent_name", "scout"),
    ("agent", "scout"),
    ("tenant", "main"),
    ("email", "ada@example.com"),
    ("owner", "ada@example.com"),
    ("created_by", "ada@example.com"),
    ("scope", "agents.read"),
    ("method", "GET"),
    ("path", "/api/agents"),
    ("call", "GET /api/agents"),
    ("url", "https://example.com/"),
    ("token_type", "Bearer"),
    ("version", "0.1.0"),
    ("jsonrpc", "2.0"),
];

/// The example of an answer, made of its schema: the members that it always has.
pub(crate) fn answer(schema: &Json, schemas: &Map<String, Json>, name: &str) -> Json {
    sample(schema, schemas, name, 6)
}

fn sample(schema: &Json, schemas: &Map<String, Json>, name: &str, depth: usize) -> Json {
    if let Some(target) = schema["$ref"].as_str().and_then(|target| target.rsplit('/').next()) {
        let Some(found) = schemas.get(target).filter(|_| depth > 0) else { return Json::Null };
        let is_id = target.ends_with("Id");
        return sample(found, schemas, if is_id { target } else { name }, depth - 1);
    }
    if !schema["const"].is_null() {
        return schema["const"].clone();
    }
    let first = |of: &str| schema[of].as_array().and_then(|values| values.first()).cloned();
    if let Some(first) = first("enum") {
        return first;
    }
    if let Some(first) = first("anyOf").or_else(|| first("oneOf")) {
        let mut made = sample(&first, schemas, name, depth);
        // What stands beside the alternatives is a part of each.
        if let (Some(made), true) = (made.as_object_mut(), schema["properties"].is_object()) {
            made.extend(members(schema, schemas, depth));
        }
        return made;
    }
    let kind = match &schema["type"] {
        Json::Array(kinds) => kinds.first().and_then(Json::as_str),
        kind => kind.as_str(),
    };
    match kind {
        Some("object") => Json::Object(members(schema, schemas, depth)),
        Some("array") if schema["items"].is_object() => json!([sample(&schema["items"], schemas, name, depth)]),
        Some("array") => json!([]),
        Some("integer" | "number") => json!(1),
        Some("boolean") => json!(true),
        Some("string") if schema["format"] == "date-time" => json!("2026-11-22T02:38:46.000Z"),
        Some("string") => {
            let text = TEXTS
                .iter()
                .find(|(known, _)| *known == name)
                .map_or_else(|| "…".to_owned(), |(_, text)| (*text).to_owned());
            json!(text)
        }
        _ => Json::Null,
    }
}

fn members(schema: &Json, schemas: &Map<String, Json>, depth: usize) -> Map<String, Json> {
    let required = schema["required"].as_array().into_iter().flatten().filter_map(Json::as_str);
    let known = required.filter_map(|name| Some((name, schema["properties"].get(name)?)));
    known.map(|(name, schema)| (name.to_owned(), sample(schema, schemas, name, depth))).collect()
}
