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
