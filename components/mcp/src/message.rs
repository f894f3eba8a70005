//! What a client sent: one message of JSON-RPC 2.0 in the body of a POST, and the headers that repeat a part of it (revision 2026-07-28,
//! Streamable HTTP).

use common::{json, text::of_mcp_header};
use serde_json::{Map, Value as Json};
use service::headers::Headers;

use crate::fault::Fault;

/// The revisions in which each request says which one it speaks.
pub(crate) const MODERN: &[&str] = &["2026-07-28"];
/// Those that begin with `initialize`, the newest first.
pub(crate) const LEGACY: &[&str] = &["2025-11-25", "2025-06-18", "2025-03-26"];
/// All of them.
pub(crate) const SUPPORTED: &[&str] = &["2026-07-28", "2025-11-25", "2025-06-18", "2025-03-26"];

const VERSION: &str = "io.modelcontextprotocol/protocolVersion";
const CAPABILITIES: &str = "io.modelcontextprotocol/clientCapabilities";

/// A request or, without an id, a notification.
#[derive(Debug)]
pub(crate) struct Message {
    pub(crate) id: Option<Json>,
    pub(crate) method: String,
    pub(crate) params: Map<String, Json>,
    /// Whether it is of a revision in which each request stands for itself.
    pub(crate) is_modern: bool,
    /// Whether its client can show an address to its person, and ask whether to open it.
    pub(crate) opens_addresses: bool,
}

/// A fault, and the id of the request that it is about, if that could be read.
pub(crate) type Unreadable = (Fault, Option<Json>);

impl Message {
    /// Reads a body with its headers.
    pub(crate) fn read(headers: &Headers, body: &[u8]) -> Result<Self, Unreadable> {
        let text = std::str::from_utf8(body).map_err(|_| (Fault::parse("Parse error: the body is not UTF-8"), None))?;
        let parsed = json::parse_strict(text).map_err(|error| match error.is_data() {
            true => (Fault::request("Invalid request: a member is sent twice"), None),
            false => {
                let (line, column) = (error.line(), error.column());
                (Fault::parse(format!("Parse error: the body is not JSON, see line {line}, column {column}")), None)
            }
        })?;
        let invalid = |message: &str, id: Option<Json>| (Fault::request(format!("Invalid request: {message}")), id);
        let mut members = match parsed {
            Json::Object(members) => members,
            Json::Array(_) => {
                return Err(invalid("batches are not taken: send each message in a POST of its own", None));
            }
            _ => return Err(invalid("the body is not an object", None)),
        };
        let id = match members.shift_remove("id") {
            None => None,
            // A whole number is one in each notation: it comes back as it came.
            Some(id) if id.is_string() || id.as_f64().is_some_and(|number| number.fract() == 0.0) => Some(id),
            Some(_) => return Err(invalid("the id must be a string or a whole number", None)),
        };
        if members.get("jsonrpc").and_then(Json::as_str) != Some("2.0") {
            return Err(invalid("jsonrpc must be \"2.0\"", id));
        }
        let method = match members.shift_remove("method") {
            Some(Json::String(method)) => method,
            Some(_) => return Err(invalid("the method must be a string", id)),
            None => {
                return Err(invalid("there is no method; this server sends no requests that could be answered", id));
            }
        };
        let params = match members.shift_remove("params") {
            // Some clients write what they leave out.
            None | Some(Json::Null) => Map::new(),
            Some(params) => match members_of(params) {
                Some(params) => params,
                None => return Err((Fault::params("Invalid params: params must be an object"), id)),
            },
        };
        let mut message = Self { id, method, params, is_modern: false, opens_addresses: false };
        match message.check(headers) {
            Ok(()) => Ok(message),
            Err(fault) => Err((fault, message.id)),
        }
    }

    /// A text among the parameters.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.params.get(name).and_then(Json::as_str)
    }

    fn meta(&self, name: &str) -> Option<&Json> {
        self.params.get("_meta").and_then(|meta| meta.get(name))
    }

    /// Finds out which revision it is of, and holds the headers against the body.
    fn check(&mut self, headers: &Headers) -> Result<(), Fault> {
        if self.id.is_none() {
            return Ok(()); // a notification changes nothing here, and no revision says what its headers must be
        }
        let header = headers.single("mcp-protocol-version");
        match (self.meta(VERSION), header.as_deref()) {
            (None, None) => return Ok(()),
            (None, Some(version)) if LEGACY.contains(&version) || self.method == "initialize" => return Ok(()),
            (None, Some(version)) if MODERN.contains(&version) => {
                return Err(Fault::params(format!("Invalid params: _meta has no {VERSION}")));
            }
            (None, Some(version)) => return Err(Fault::version(version, SUPPORTED)),
            (Some(Json::String(version)), Some(header)) if version == header => {
                if LEGACY.contains(&header) {
                    return Ok(());
                }
                if !MODERN.contains(&header) {
                    return Err(Fault::version(header, SUPPORTED));
                }
            }
            (Some(Json::String(_)), Some(_)) => {
                return Err(Fault::header("MCP-Protocol-Version is not the version in _meta"));
            }
            (Some(Json::String(_)), None) => return Err(Fault::header("MCP-Protocol-Version is missing or unclear")),
            (Some(_), _) => return Err(Fault::params(format!("Invalid params: {VERSION} must be a string"))),
        }
        let Some(capabilities) = self.meta(CAPABILITIES).cloned().and_then(members_of) else {
            return Err(Fault::params(format!("Invalid params: _meta has no {CAPABILITIES}")));
        };
        let opens_addresses = capabilities.get("elicitation").is_some_and(|modes| modes.get("url").is_some());
        is_repeated(headers, "Mcp-Method", &self.method)?;
        let name = match self.method.as_str() {
            "tools/call" | "prompts/get" => Some("name"),
            "resources/read" => Some("uri"),
            _ => None,
        };
        if let Some(name) = name {
            let value =
                self.text(name).ok_or_else(|| Fault::params(format!("Invalid params: {name} must be a string")))?;
            is_repeated(headers, "Mcp-Name", value)?;
        }
        (self.is_modern, self.opens_addresses) = (true, opens_addresses);
        Ok(())
    }
}

/// The members of an object. PHP, which knows no empty objects, writes a list without items for one.
pub(crate) fn members_of(value: Json) -> Option<Map<String, Json>> {
    match value {
        Json::Object(members) => Some(members),
        Json::Array(items) if items.is_empty() => Some(Map::new()),
        _ => None,
    }
}

/// Whether a header repeats a value of the body.
fn is_repeated(headers: &Headers, name: &str, value: &str) -> Result<(), Fault> {
    let sent = headers.single(&name.to_ascii_lowercase());
    let sent = sent.ok_or_else(|| Fault::header(format!("{name} is missing or unclear")))?;
    match of_mcp_header(&sent) {
        Some(sent) if sent == value => Ok(()),
        _ => Err(Fault::header(format!("{name} is not what the body says"))),
    }
}

#[cfg(test)]
mod tests {
    use base64::{Engine, engine::general_purpose::STANDARD};
    use serde_json::json;

    use super::*;

    /// A modern request with its headers.
    fn modern(method: &str, params: Json) -> Json {
        let mut params = params;
        params["_meta"] = json!({ VERSION: "2026-07-28", CAPABILITIES: { "elicitation": { "url": {} } } });
        json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params })
    }

    /// The code and the status of what is wrong; 0: nothing.
    fn code(headers: &[(&str, &str)], body: &str) -> i64 {
        let headers = Headers::from(headers.iter().copied());
        match Message::read(&headers, body.as_bytes()) {
            Ok(_) => 0,
            Err((fault, _)) => fault.code(),
        }
    }

    /// R139: what is no message is told by the code of JSON-RPC, whatever it is.
    #[test]
    fn what_is_no_message_is_told_so() {
        for (body, expected) in [
            ("", -32700),
            ("{", -32700),
            ("\u{0}", -32700),
            ("[]", -32600),
            ("[{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"}]", -32600),
            ("1", -32600),
            ("null", -32600),
            ("{}", -32600),
            ("{\"jsonrpc\":\"1.0\",\"id\":1,\"method\":\"ping\"}", -32600),
            ("{\"jsonrpc\":2,\"id\":1,\"method\":\"ping\"}", -32600),
            ("{\"jsonrpc\":\"2.0\",\"id\":null,\"method\":\"ping\"}", -32600),
            ("{\"jsonrpc\":\"2.0\",\"id\":1.5,\"method\":\"ping\"}", -32600),
            ("{\"jsonrpc\":\"2.0\",\"id\":{},\"method\":\"ping\"}", -32600),
            ("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":7}", -32600),
            ("{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{}}", -32600),
            ("{\"jsonrpc\":\"2.0\",\"id\":1,\"id\":2,\"method\":\"ping\"}", -32600),
            ("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\",\"params\":[1]}", -32602),
            // R745
            ("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\",\"params\":[]}", 0),
            // R481
            ("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\",\"params\":null}", 0),
            ("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"}", 0),
            // R585.
            ("{\"jsonrpc\":\"2.0\",\"id\":5.0,\"method\":\"ping\"}", 0),
            ("{\"jsonrpc\":\"2.0\",\"id\":\"a\",\"method\":\"ping\",\"params\":{}}", 0),
            ("{\"jsonrpc\":\"2.0\",\"method\":\"notifications/initialized\"}", 0),
        ] {
            assert_eq!(code(&[], body), expected, "{body}");
        }
        assert_eq!(Message::read(&Headers::from([]), b"\xff").unwrap_err().0.code(), -32700);
        let deep = "[".repeat(100_000);
        assert_eq!(code(&[], &deep), -32700);
    }

    /// R139: of a modern request the headers repeat what the body says; one that is missing, twice or different is refused.
    #[test]
    fn headers_repeat_the_body() {
        let call = modern("tools/call", json!({ "name": "whoami" })).to_string();
        let version = ("mcp-protocol-version", "2026-07-28");
        let (method, name) = (("mcp-method", "tools/call"), ("mcp-name", "whoami"));
        for (headers, expected) in [
            (vec![version, method, name], 0),
            (vec![version, method, ("mcp-name", "=?base64?d2hvYW1p?=")], 0),
            (vec![version, method, ("mcp-name", "=?base64?d2hvYW1?=")], -32020),
            (vec![version, method, ("mcp-name", "=?base64?!?=")], -32020),
            (vec![version, method, ("mcp-name", "WHOAMI")], -32020),
            (vec![version, method, name, name], -32020),
            (vec![version, method], -32020),
            (vec![version, name], -32020),
            (vec![version, ("mcp-method", "tools/list"), name], -32020),
            (vec![method, name], -32020),
            (vec![version, version, method, name], -32020),
            (vec![("mcp-protocol-version", "2025-11-25"), method, name], -32020),
        ] {
            assert_eq!(code(&headers, &call), expected, "{headers:?}");
        }
        // A name that no header can hold as it is.
        let uri = "accredit://manual/ä";
        let read = modern("resources/read", json!({ "uri": uri })).to_string();
        let encoded = format!("=?base64?{}?=", STANDARD.encode(uri));
        let headers = [version, ("mcp-method", "resources/read"), ("mcp-name", encoded.as_str())];
        assert_eq!(code(&headers, &read), 0);
    }

    /// R139: a revision that is not known is refused with those that are; a request of a modern one is whole.
    #[test]
    fn each_request_says_its_revision() {
        let of = |version: &str| {
            let mut call = modern("tools/list", json!({}));
            call["params"]["_meta"][VERSION] = json!(version);
            code(&[("mcp-protocol-version", version), ("mcp-method", "tools/list")], &call.to_string())
        };
        assert_eq!([of("2026-07-28"), of("2025-06-18"), of("1900-01-01"), of("")], [0, 0, -32022, -32022]);
        let (version, method) = (("mcp-protocol-version", "2026-07-28"), ("mcp-method", "tools/list"));
        for meta in [
            json!({}),
            json!({ VERSION: "2026-07-28" }),
            json!({ VERSION: 1, CAPABILITIES: {} }),
            json!({ VERSION: "2026-07-28", CAPABILITIES: [1] }),
            json!([]),
        ] {
            let body = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": { "_meta": meta } });
            assert_eq!(code(&[version, method], &body.to_string()), -32602, "{body}");
        }
        // R745
        let meta = json!({ VERSION: "2026-07-28", CAPABILITIES: [] });
        let body = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": { "_meta": meta } });
        assert_eq!(code(&[version, method], &body.to_string()), 0);
        let legacy = r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#;
        for (headers, expected) in [
            (vec![], 0),
            (vec![("mcp-protocol-version", "2025-11-25")], 0),
            (vec![("mcp-protocol-version", "2025-03-26")], 0),
            (vec![("mcp-protocol-version", "2024-11-05")], -32022),
            (vec![version], -32602),
        ] {
            assert_eq!(code(&headers, legacy), expected, "{headers:?}");
        }
        let read =
            Message::read(&Headers::from([version, method]), modern("tools/list", json!({})).to_string().as_bytes());
        let message = read.unwrap();
        assert!(message.is_modern && message.opens_addresses);
    }
}
