//! `POST /mcp`: from a message to the answer of its method.

use common::{
    error::{ApiError, Code},
    route::{self},
};
use http::{HeaderValue, StatusCode, header};
use schemars::JsonSchema;
use serde_json::{Map, Value as Json, json};
use service::{
    app::App,
    credential::own_origin,
    extract::Raw,
    guard,
    response::{self, Response, written_json},
};

use crate::{
    api::Api,
    ask::{self, Retry},
    fault::Fault,
    listen::listen,
    message::{LEGACY, Message, SUPPORTED, members_of},
    prompts, resources,
    tools::{self, Call},
};

/// The answer to a message; a subscription is answered by a stream of them.
#[derive(JsonSchema)]
#[schemars(rename = "McpAnswer")]
#[expect(dead_code, reason = "it describes what each method answers by itself")]
pub(crate) struct Answered {
    /// `2.0`.
    jsonrpc: &'static str,
    /// The id of the message.
    id: Json,
    /// What its method answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<Map<String, Json>>,
    /// In its place, why there is no answer: `code` and `message`.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<Map<String, Json>>,
}

/// What a model reads before all else.
const INSTRUCTIONS: &str = "Accredit decides what AI agents may do, and for whom. Begin with the tool whoami. The tools that are listed are \
those that your credential can use now. Every refusal has a fix: follow it to the letter, and never work around a refusal. If an agent lacks \
a scope, call the tool all the same: its owner is asked, and the same call goes through once it is approved. The manual is in the resources.";

/// How long a list may be kept, milliseconds: rights change.
const LIST_LIVES: i64 = 60_000;
/// The same of what only a release changes.
const FIXED_LIVES: i64 = 3_600_000;

/// The handler. What the transport refuses has the form of every refusal here; what a message is answered is of JSON-RPC.
pub(crate) async fn post(app: App, Raw(body): Raw) -> Result<Response, ApiError> {
    guard::check_own_page(&app, route::MCP)?;
    // A page that has made its own name lead to this machine sends that name as host and as origin: only a name that the operator says, or
    // a loopback one, is this server's.
    if app.headers().first("origin").is_some() && own_origin(&app).is_none() {
        return Err(Code::CrossSite.into());
    }
    let read = Message::read(app.headers(), &body);
    let id = match &read {
        Ok(message) => message.id.clone(),
        Err((_, id)) => id.clone(),
    };
    let is_modern = read.as_ref().map_or(true, |message| message.is_modern);
    Ok(match answer(&app, read.map_err(|(fault, _)| fault)).await {
        Ok(response) => response,
        Err(fault) => fault.response(&app, id.as_ref(), is_modern),
    })
}

/// Without a credential nothing is answered, not even what is wrong with the message.
async fn answer(app: &App, read: Result<Message, Fault>) -> Result<Response, Fault> {
    let api = Api::of(app)?;
    let message = match read {
        Ok(message) => message,
        Err(fault) => {
            api.whoami().await?;
            return Err(fault);
        }
    };
    let Some(id) = &message.id else {
        api.whoami().await?;
        return Ok(response::empty(StatusCode::ACCEPTED));
    };
    if message.is_modern && message.method == "subscriptions/listen" {
        return listen(&api, &message, id).await;
    }
    let mut result = called(&api, &message).await?;
    if message.is_modern {
        let of_server = json!({ "io.modelcontextprotocol/serverInfo": server() });
        result.entry("resultType").or_insert_with(|| json!("complete"));
        result.insert("_meta".to_owned(), of_server);
    }
    let body = json!({ "jsonrpc": "2.0", "id": id, "result": result });
    let mut response = written_json(StatusCode::OK, body.to_string());
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

/// The result of a request.
async fn called(api: &Api<'_>, message: &Message) -> Result<Map<String, Json>, Fault> {
    let is_modern = message.is_modern;
    let kept = |mut result: Json, lives: i64, is_public: bool| {
        if let (true, Some(members)) = (is_modern, result.as_object_mut()) {
            members.insert("ttlMs".to_owned(), json!(lives));
            members.insert("cacheScope".to_owned(), json!(if is_public { "public" } else { "private" }));
        }
        result
    };
    let is_cursor = |sent: &Json| !sent.is_null() && sent.as_str() != Some("");
    if message.method.ends_with("/list") && message.params.get("cursor").is_some_and(is_cursor) {
        return Err(Fault::params("Invalid params: this cursor is none of this server's; every list is whole"));
    }
    let result = match (message.method.as_str(), is_modern) {
        ("server/discover", true) => {
            api.whoami().await?;
            let result = json!({ "supportedVersions": SUPPORTED, "capabilities": capabilities(true), "instructions": INSTRUCTIONS });
            kept(result, FIXED_LIVES, true)
        }
        ("initialize", false) => {
            api.whoami().await?;
            let asked = message.text("protocolVersion");
            let asked = asked.ok_or_else(|| Fault::params("Invalid params: protocolVersion must be a string"))?;
            let version = LEGACY.iter().find(|known| **known == asked).or(LEGACY.first());
            json!({ "protocolVersion": version, "capabilities": capabilities(false), "serverInfo": server(), "instructions": INSTRUCTIONS })
        }
        ("ping", false) => {
            api.whoami().await?;
            json!({})
        }
        ("tools/list", _) => kept(json!({ "tools": tools::usable(api).await? }), LIST_LIVES, false),
        ("tools/call", _) => call(api, message).await?,
        ("resources/list", _) => {
            let whoami = api.whoami().await?;
            kept(json!({ "resources": resources::list(api, &whoami).await? }), LIST_LIVES, false)
        }
        ("resources/templates/list", _) => {
            api.whoami().await?;
            kept(json!({ "resourceTemplates": resources::templates() }), FIXED_LIVES, true)
        }
        ("resources/read", _) => {
            let uri = message.text("uri").ok_or_else(|| Fault::params("Invalid params: uri must be a string"))?;
            let read = resources::read(api, uri, is_modern).await?;
            kept(json!({ "contents": read.contents }), read.lives, read.is_public)
        }
        ("prompts/list", _) => {
            api.whoami().await?;
            kept(json!({ "prompts": prompts::list() }), FIXED_LIVES, true)
        }
        ("prompts/get", _) => {
            let name = message.text("name").ok_or_else(|| Fault::params("Invalid params: name must be a string"))?;
            prompts::get(api, name, &arguments(message)?).await?
        }
        (method, _) => {
            api.whoami().await?;
            return Err(Fault::method(method));
        }
    };
    match result {
        Json::Object(members) => Ok(members),
        _ => Err(Fault::internal()),
    }
}

/// The arguments of a tool or a prompt; some programs send them as JSON in a text.
fn arguments(message: &Message) -> Result<Map<String, Json>, Fault> {
    let sent = match message.params.get("arguments") {
        None | Some(Json::Null) => return Ok(Map::new()),
        Some(Json::String(text)) if text.trim().is_empty() => return Ok(Map::new()),
        Some(Json::String(text)) => common::json::parse(text),
        Some(sent) => Some(sent.clone()),
    };
    sent.and_then(members_of).ok_or_else(|| Fault::params("Invalid params: arguments must be an object"))
}

/// `tools/call`: what the route answers, or why it does not.
async fn call(api: &Api<'_>, message: &Message) -> Result<Json, Fault> {
    let name = message.text("name").ok_or_else(|| Fault::params("Invalid params: name must be a string"))?;
    let (arguments, retry) = (arguments(message)?, Retry::read(message)?);
    let Some(route) = tools::find(name) else {
        api.whoami().await?;
        let name: String = name.chars().take(100).collect();
        let like = tools::like(&name).join(", ");
        let like = if like.is_empty() { like } else { format!(". Tools with such a name: {like}") };
        return Err(Fault::params(format!("Unknown tool: {name}{like}")));
    };
    let call = match Call::new(route, arguments) {
        Ok(call) => call,
        Err(refusal) => {
            api.whoami().await?;
            return Ok(tools::own(api, refusal, route));
        }
    };
    let earlier = match retry {
        Some(retry) => {
            let state = retry.wait(api).await?;
            Some((retry, state))
        }
        None => None,
    };
    let reply = call.send(api).await?;
    if reply.is_done() {
        return Ok(tools::done(route, reply));
    }
    let envelope = reply.json();
    match reply.status == 403 && envelope.get("missing_scopes").is_some() {
        true => ask::missing(api, message, &call, envelope, earlier).await,
        false => Ok(tools::refused(envelope)),
    }
}

/// Who answers.
fn server() -> Json {
    json!({ "name": "accredit", "title": "Accredit", "version": env!("CARGO_PKG_VERSION") })
}

/// What the server has. Without sessions, clients of earlier revisions are told of no change.
fn capabilities(is_modern: bool) -> Json {
    match is_modern {
        true => json!({ "tools": { "listChanged": true }, "resources": { "subscribe": true }, "prompts": {} }),
        false => json!({ "tools": {}, "resources": {}, "prompts": {} }),
    }
}

#[cfg(test)]
mod tests {
    use service::headers::Headers;

    use super::*;

    /// R745: arguments as programs send them: in a text, and an empty object as an empty list.
    #[test]
    fn arguments_are_taken_as_they_are_meant() {
        let of = |sent: Json| {
            let params = json!({ "name": "a", "arguments": sent });
            let body = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params });
            let message = Message::read(&Headers::from([]), body.to_string().as_bytes()).unwrap();
            arguments(&message).ok().map(Json::Object)
        };
        for none in [Json::Null, json!({}), json!([]), json!(""), json!("{}"), json!("[]")] {
            assert_eq!(of(none.clone()), Some(json!({})), "{none}");
        }
        assert_eq!(of(json!("{\"agent\": \"me\"}")), Some(json!({ "agent": "me" })));
        for bad in [json!("{\"a\": 1, \"a\": 2}"), json!("agent"), json!("[1]"), json!([{}]), json!(1), json!(true)] {
            assert_eq!(of(bad.clone()), None, "{bad}");
        }
    }
}
