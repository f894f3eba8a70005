//! A client of the Model Context Protocol that sends one message at a time.

use serde_json::{Value as Json, json};

use crate::{Answer, Client};

/// The newest revision of the protocol.
pub const VERSION: &str = "2026-07-28";
/// What the names of the protocol's own members begin with.
pub const META: &str = "io.modelcontextprotocol/";

/// A message of the newest revision, and its answer.
#[track_caller]
pub fn send(client: &Client, method: &str, params: &Json) -> Answer {
    let mut params = params.clone();
    let capabilities = params.as_object_mut().and_then(|params| params.remove("capabilities")).unwrap_or(json!({}));
    params["_meta"] =
        json!({ format!("{META}protocolVersion"): VERSION, format!("{META}clientCapabilities"): capabilities });
    let message = json!({ "jsonrpc": "2.0", "id": "one", "method": method, "params": params });
    let name = match method {
        "tools/call" | "prompts/get" => params["name"].as_str(),
        "resources/read" => params["uri"].as_str(),
        _ => None,
    };
    let name = name.unwrap_or_default().to_owned();
    let mut headers = vec![("mcp-protocol-version", VERSION), ("mcp-method", method)];
    if !name.is_empty() {
        headers.push(("mcp-name", &name));
    }
    client.call("POST", "/mcp", &headers, Some(message.to_string().as_bytes()))
}
