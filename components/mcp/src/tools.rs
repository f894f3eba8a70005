//! Tools: routes of the API that a model may call. What a tool says of itself was written from the types of its handler
//! (`docs/reference/mcp.json`); which tools a caller sees is what `GET /api?for=me` says; what a call does is the route's own.

use std::collections::BTreeSet;

use common::{
    error::ApiError,
    route::{self, Access, Query, ROUTES, Route},
    tool,
};
use serde_json::{Map, Value as Json, json};
use service::inside;

use crate::{
    api::{Api, Reply},
    arguments::{as_meant, leave_out_added, whole},
    fault::{Fault, envelope},
    reference::{MANUAL, reference},
    short,
};

/// The tools that the caller can use now, as `tools/list` has them, in an order that stays.
pub(crate) async fn usable(api: &Api<'_>) -> Result<Vec<Json>, Fault> {
    let reply = api.get(route::API_INDEX, &[], &[("for", "me")]).await?;
    if !reply.is_done() {
        return Err(Fault::of_api(reply.status, reply.json()));
    }
    let listed = reply.json();
    let routes = listed.get("routes").and_then(Json::as_array).map_or(&[][..], Vec::as_slice);
    let calls = routes.iter().filter_map(|route| route.get("call")?.as_str()?.split('?').next());
    let calls: BTreeSet<&str> = calls.collect();
    let known = &reference()?.tools;
    let is_usable = |route: &&Route| calls.contains(format!("{} {}", route.method, route.path).as_str());
    let usable = tool::tools().filter(is_usable).filter_map(|route| {
        let name = tool::name(route);
        let mut shown = Map::new();
        shown.insert("name".to_owned(), json!(name));
        shown.extend(known.get(&name)?.clone());
        Some(Json::Object(shown))
    });
    Ok(usable.collect())
}

/// The tool of this name.
pub(crate) fn find(name: &str) -> Option<&'static Route> {
    tool::tools().find(|route| tool::name(route) == name)
}

/// The tools that share most words with a name that no tool has, three at most: models swap words, and take the singular for the plural.
pub(crate) fn like(name: &str) -> Vec<String> {
    let words = |name: &str| -> Vec<String> {
        let words = name.split(|char: char| !char.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
        words.map(|word| word.trim_end_matches('s').to_ascii_lowercase()).collect()
    };
    let asked = words(name);
    let mut found: Vec<(usize, usize, String)> = tool::tools()
        .filter_map(|route| {
            let name = tool::name(route);
            let own = words(&name);
            let shared = own.iter().filter(|word| asked.contains(word)).count();
            (shared > 0).then_some((shared, own.len(), name))
        })
        .collect();
    let most = found.iter().map(|(shared, ..)| *shared).max().unwrap_or_default();
    found.retain(|(shared, ..)| *shared == most);
    // The sort is stable: of those that are alike, what an agent needs first.
    found.sort_by_key(|(_, length, _)| *length);
    found.into_iter().take(3).map(|(.., name)| name).collect()
}

/// A call of a tool, as a request of its route.
#[derive(Debug, PartialEq)]
pub(crate) struct Call {
    pub(crate) route: &'static Route,
    names: Vec<String>,
    query: Vec<(String, String)>,
    pub(crate) body: Option<Json>,
    pub(crate) key: Option<String>,
}

impl Call {
    /// Shares the arguments out to path, query and body. What the route does not know goes there too, so that it says so.
    pub(crate) fn new(route: &'static Route, mut arguments: Map<String, Json>) -> Result<Self, ApiError> {
        if let Some(tool) = reference().ok().and_then(|known| known.tools.get(&tool::name(route))) {
            let schema = tool.get("inputSchema").unwrap_or(&Json::Null);
            leave_out_added(&mut arguments, schema);
            let mut sent = Json::Object(arguments);
            as_meant(&mut sent, schema);
            // A model that sends a call again puts its arguments in another order: what was approved once, or has a key, is the same request.
            sent.sort_all_objects();
            arguments = if let Json::Object(left) = sent { left } else { Map::new() };
        }
        let mut names = Vec::new();
        for name in tool::path_arguments(route) {
            names.push(match arguments.shift_remove(&name) {
                Some(Json::String(text)) if !text.is_empty() => text,
                Some(_) => return Err(ApiError::field(name, "must be a string that is not empty")),
                None => return Err(ApiError::field(name, "is missing: a string")),
            });
        }
        let mut key = None;
        if route.is_idempotent
            && let Some(sent) = arguments.shift_remove("idempotency_key")
        {
            match sent {
                Json::String(text) => key = Some(text),
                _ => return Err(ApiError::field("idempotency_key", "must be a string")),
            }
        }
        let has_body = !matches!(route.method, "GET" | "DELETE");
        let is_of_query = |name: &str| match route.query {
            Query::Only(known) => known.contains(&name),
            Query::Any => false,
        };
        let (mut query, mut body) = (Vec::new(), Map::new());
        for (name, value) in arguments {
            let value = whole(value);
            if has_body && !is_of_query(&name) {
                body.insert(name, value);
                continue;
            }
            match value {
                Json::Null => {}
                Json::String(text) => query.push((name, text)),
                other => query.push((name, other.to_string())),
            }
        }
        Ok(Self { route, names, query, body: has_body.then_some(Json::Object(body)), key })
    }

    /// Whether the body holds a field.
    fn has_field(&self, name: &str) -> bool {
        self.body.as_ref().is_some_and(|body| body.get(name).is_some())
    }

    /// All scopes that the request needs.
    pub(crate) fn scopes(&self) -> Vec<&'static str> {
        let of_row = match self.route.access {
            Access::Scope(scope) => Some(scope),
            Access::Public | Access::Credential => None,
        };
        let of_fields = self.route.sent_fields(|name| self.has_field(name)).filter_map(|field| field.scope);
        let mut scopes = Vec::new();
        for scope in of_row.into_iter().chain(of_fields).map(common::scope::Scope::as_str) {
            if !scopes.contains(&scope) {
                scopes.push(scope);
            }
        }
        scopes
    }

    /// Sends it.
    pub(crate) async fn send(&self, api: &Api<'_>) -> Result<Reply, Fault> {
        let names: Vec<&str> = self.names.iter().map(String::as_str).collect();
        let query: Vec<(&str, &str)> = self.query.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let mut request = inside::request(api.app, self.route, &names, &query);
        if let Some(key) = &self.key {
            request = request.header("idempotency-key", inside::header_value(key));
        }
        api.send(request, self.body.as_ref().map(Json::to_string).unwrap_or_default()).await
    }
}

/// What a tool has answered, as long as a model can take it.
pub(crate) fn done(route: &Route, mut reply: Reply) -> Json {
    if let Some(said) = short::too_long(route, reply.text.len()) {
        return json!({ "content": [{ "type": "text", "text": said }], "isError": true });
    }
    if *route == *route::INBOX
        && let Some(page) = short::inbox(&reply.text)
    {
        reply.text = page.to_string();
    }
    let json = reply.json();
    // Where there is no body, only a header names what has ended.
    let (text, json) = match (&reply.closure, reply.text.is_empty()) {
        (_, false) => (reply.text.clone(), json),
        (None, true) => ("Done.".to_owned(), json),
        (Some(id), true) => {
            let asks = tool::name(route::CLOSURE_GET);
            let text =
                format!("Done. The tool {asks} with closure_id {id} says since when nobody accepts what has ended.");
            (text, json!({ "closure": { "id": id } }))
        }
    };
    let mut result = json!({ "content": [{ "type": "text", "text": text }], "isError": false });
    // Earlier revisions know objects alone.
    if let (true, Some(members)) = (json.is_object(), result.as_object_mut()) {
        members.insert("structuredContent".to_owned(), json);
    }
    result
}

/// A refusal, as an error that a model can act on.
pub(crate) fn refused(envelope: Json) -> Json {
    let text = |name: &str| envelope.get(name).and_then(Json::as_str).unwrap_or_default();
    let mut said = format!("Refused, {}. {}", text("error"), text("detail"));
    for field in envelope.get("fields").and_then(Json::as_array).into_iter().flatten() {
        let of = |name: &str| field.get(name).and_then(Json::as_str).unwrap_or_default();
        said.push_str(&format!("\n- {} {}", of("field"), of("problem")));
    }
    said.push_str(&format!("\nWhat to do: {}", text("fix")));
    for (call, tool) in named(text("fix")) {
        said.push_str(&format!("\nThe tool {tool} sends {call}."));
    }
    if let Some((_, page)) = text("doc_url").split_once("/docs/") {
        said.push_str(&format!("\nRead: {}{page}", MANUAL));
    }
    json!({ "content": [{ "type": "text", "text": said }], "structuredContent": envelope, "isError": true })
}

/// The same for a refusal of this component's own.
pub(crate) fn own(api: &Api<'_>, refusal: ApiError, route: &'static Route) -> Json {
    refused(envelope(api.app, &refusal.at(route)))
}

/// The requests that a fix names, and the tools that send them.
fn named(fix: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut words = fix.split_ascii_whitespace().peekable();
    while let Some(method) = words.next() {
        let Some(path) = words.peek().filter(|path| path.starts_with('/')) else { continue };
        let path = path.split('?').next().unwrap_or_default().trim_end_matches(['.', ',', ':', ';']);
        let fits = |route: &&&Route| {
            let (mut own, mut sent) = (route.path.split('/'), path.split('/'));
            let pairs = own.by_ref().zip(sent.by_ref()).all(|(own, sent)| own == sent || own.starts_with('{'));
            pairs && route.path.matches('/').count() == path.matches('/').count()
        };
        // A literal path comes before one with names.
        let rows = ROUTES.iter().filter(|route| route.method == method).filter(fits);
        let Some(route) = rows.min_by_key(|route| route.path.matches('{').count()) else { continue };
        let pair = (format!("{method} {}", route.path), tool::name(route));
        if tool::is_tool(route) && !found.contains(&pair) {
            found.push(pair);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(route: &'static Route, arguments: Json) -> Result<Call, ApiError> {
        Call::new(route, arguments.as_object().cloned().unwrap_or_default())
    }

    /// R138: each tool is described, and with every name of its path.
    #[test]
    fn every_tool_is_described() {
        let reference = reference().unwrap();
        for route in tool::tools() {
            let described = &reference.tools[&tool::name(route)];
            assert!(described["description"].as_str().is_some_and(|text| text.len() > 20), "{}", route.path);
            assert_eq!(described["inputSchema"]["type"], "object");
            for name in tool::path_arguments(route) {
                assert!(described["inputSchema"]["properties"].get(&name).is_some(), "{} {name}", route.path);
            }
        }
        assert_eq!(reference.tools.len(), tool::tools().count());
        assert!(reference.pages.contains_key("agents/concepts/mcp"));
    }

    /// R616: the order of a call's arguments makes no other request.
    #[test]
    fn the_order_of_arguments_means_nothing() {
        let pairs = [("agent", "me"), ("description", "a"), ("display_name", "b"), ("idempotency_key", "k")];
        let made = |pairs: &mut dyn Iterator<Item = &(&str, &str)>| {
            let arguments = pairs.map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
            Call::new(route::AGENTS_PATCH, arguments).unwrap()
        };
        let (one, other) = (made(&mut pairs.iter()), made(&mut pairs.iter().rev()));
        assert_eq!(one.body.as_ref().map(Json::to_string), other.body.as_ref().map(Json::to_string));
        let query = |text: &str| {
            let arguments: Json = serde_json::from_str(text).unwrap();
            call(route::LOGS_READ, arguments).unwrap().query
        };
        let nested = |text: &str| {
            call(route::AGENTS_CREATE, serde_json::from_str(text).unwrap()).unwrap().body.map(|body| body.to_string())
        };
        let create = nested(r#"{"name": "a", "labels": {"x": "1", "y": "2"}}"#);
        assert_eq!(create, nested(r#"{"labels": {"y": "2", "x": "1"}, "name": "a"}"#));
        let read = query(r#"{"agent": "me", "lines": 5, "level": "info"}"#);
        assert_eq!(read, query(r#"{"level": "info", "agent": "me", "lines": 5}"#));
    }

    /// R611: a name that no tool has leads to those that were meant.
    #[test]
    fn a_wrong_name_leads_to_those_like_it() {
        for (asked, first) in [
            ("get_agent", "agents_get"),
            ("stop-agent", "agent_stop"),
            ("AGENT.STOP", "agent_stop"),
            ("list_agents", "agents_list"),
            ("accredit__whoami", "whoami"),
            ("request_access", "access_ask"),
        ] {
            assert_eq!(like(asked).first().map(String::as_str), Some(first), "{asked}: {:?}", like(asked));
            assert!(like(asked).len() <= 3);
        }
        for asked in ["", "s", "_", "no-such-thing", "\u{e9}\u{301}"] {
            assert!(like(asked).is_empty(), "{asked}");
        }
    }

    /// R138, R494: arguments go to path, query and body, and what nobody knows goes along, so that it is refused.
    #[test]
    fn arguments_are_shared_out() {
        let made = call(
            route::KEYS_CREATE,
            json!({ "agent": "scout", "name": "ci", "scope": ["agents.read"], "idempotency_key": "k", "x": null, "days": 7.0, "part": 0.5 }),
        )
        .unwrap();
        assert_eq!((&made.names[..], made.key.as_deref()), (&["scout".to_owned()][..], Some("k")));
        assert_eq!(
            made.body,
            Some(json!({ "name": "ci", "scope": ["agents.read"], "x": null, "days": 7, "part": 0.5 }))
        );
        let read = call(route::INBOX, json!({ "wait": 5.0, "after": "evt_1", "limit": null, "y": true })).unwrap();
        let pairs: Vec<String> = read.query.iter().map(|(name, value)| format!("{name}={value}")).collect();
        assert_eq!((pairs.join("&").as_str(), read.body), ("after=evt_1&wait=5&y=true", None));
        for (arguments, problem) in
            [(json!({}), "is missing: a string"), (json!({ "agent": 1 }), "string"), (json!({ "agent": "" }), "string")]
        {
            let refusal = call(route::AGENTS_GET, arguments).unwrap_err();
            let fields = refusal.member("fields").cloned().unwrap();
            assert_eq!(fields[0]["field"], "agent");
            assert!(fields[0]["problem"].as_str().unwrap().contains(problem), "{fields}");
        }
        // No key is kept by a route that keeps none: it is a field that nobody knows.
        let beat = call(route::HEARTBEAT, json!({ "idempotency_key": "k" })).unwrap();
        assert_eq!((beat.key, beat.body), (None, Some(json!({ "idempotency_key": "k" }))));
    }

    /// R140: all scopes that a request needs, by its row and by the fields that it sends.
    #[test]
    fn all_scopes_are_named_at_once() {
        let change = call(route::AGENTS_PATCH, json!({ "agent": "scout", "owner": "mia@example.com" })).unwrap();
        assert_eq!(change.scopes(), ["agents.update", "agents.share"]);
        assert_eq!(call(route::WHOAMI, json!({})).unwrap().scopes(), Vec::<&str>::new());
    }

    /// R140: the requests of a fix are named as tools, and only those that are tools.
    #[test]
    fn a_refusal_names_the_tools_of_its_fix() {
        let fix = "Ask for it: POST /api/access-requests {\"scope\": \"agents.list\"}. Then GET /api/agents/me/inbox?wait=25.";
        let tools: Vec<String> = named(fix).into_iter().map(|(_, tool)| tool).collect();
        assert_eq!(tools, ["access_ask", "inbox"]);
        let tools: Vec<String> =
            named("Send PATCH /api/agents/scout, then POST /auth/token.").into_iter().map(|(_, tool)| tool).collect();
        assert_eq!(tools, ["agents_patch"]);
        let shown = refused(
            json!({ "error": "scope_denied", "detail": "No.", "fix": fix, "doc_url": "/x/docs/agents/scopes/a" }),
        );
        let text = shown["content"][0]["text"].as_str().unwrap();
        assert!(
            text.contains("accredit://manual/agents/scopes/a") && text.contains("The tool access_ask sends"),
            "{text}"
        );
        assert_eq!((&shown["isError"], &shown["structuredContent"]["error"]), (&json!(true), &json!("scope_denied")));
    }
}
