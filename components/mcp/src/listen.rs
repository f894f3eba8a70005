//! `subscriptions/listen` (revision 2026-07-28, Subscriptions): a stream of server-sent events that says what has changed. It is made of the
//! streams of component `notify`, which look up the caller again before each look, and end with its credential.

use std::{collections::VecDeque, convert::Infallible};

use bytes::Bytes;
use common::{
    event::EventKind,
    route::{self, Route},
};
use futures_util::stream;
use serde_json::{Map, Value as Json, json};
use service::{
    body::Body,
    inside,
    response::{Response, event_stream},
};

use crate::{
    api::Api,
    fault::Fault,
    message::Message,
    resources::{INBOX, NOTIFICATIONS, is_agent},
};

/// The longest beginning of a line that is looked at: data are passed over.
const LINE: usize = 100;

/// What the client is told of.
#[derive(Clone, Debug, Default, PartialEq)]
struct Told {
    tools: bool,
    resource: Option<&'static str>,
}

impl Told {
    /// What the server agrees to tell of all that is asked for. An agent learns of its tools by its inbox; a person's tools change with the
    /// role, of which no stream tells.
    fn agreed(asked: &Map<String, Json>, is_agent: bool) -> Self {
        let resource = if is_agent { INBOX } else { NOTIFICATIONS };
        let uris = asked.get("resourceSubscriptions").and_then(Json::as_array).into_iter().flatten();
        let is_asked = uris.filter_map(Json::as_str).any(|uri| uri == resource);
        Self {
            tools: is_agent && asked.get("toolsListChanged") == Some(&Json::Bool(true)),
            resource: is_asked.then_some(resource),
        }
    }

    fn is_nothing(&self) -> bool {
        *self == Self::default()
    }

    fn shown(&self) -> Json {
        let mut shown = Map::new();
        if self.tools {
            shown.insert("toolsListChanged".to_owned(), json!(true));
        }
        if let Some(uri) = self.resource {
            shown.insert("resourceSubscriptions".to_owned(), json!([uri]));
        }
        Json::Object(shown)
    }
}

/// Whether an event of this kind in an agent's inbox may change which tools the agent can use.
fn changes_tools(kind: &str) -> bool {
    use EventKind::{
        AccessApproved, AccessDenied, AgentOverBudget, AgentStateChanged, AgentTokenRevoked, AgentTransferred,
        LimitChanged,
    };
    let kinds = [
        AccessApproved,
        AccessDenied,
        AgentOverBudget,
        AgentStateChanged,
        AgentTokenRevoked,
        AgentTransferred,
        LimitChanged,
    ];
    kinds.iter().any(|known| known.in_inbox() == kind)
}

/// From the lines of another component's stream to the messages of this one.
struct Translated {
    told: Told,
    id: Json,
    /// The beginning of a line that is not complete.
    line: Vec<u8>,
    waiting: VecDeque<String>,
}

impl Translated {
    fn new(told: Told, id: Json) -> Self {
        let mut new = Self { told, id, line: Vec::new(), waiting: VecDeque::new() };
        let agreed = new.told.shown();
        new.notify("notifications/subscriptions/acknowledged", json!({ "notifications": agreed }));
        new
    }

    fn put(&mut self, message: &Json) {
        self.waiting.push_back(format!("event: message\ndata: {message}\n\n"));
    }

    fn meta(&self) -> Json {
        json!({ "io.modelcontextprotocol/subscriptionId": self.id })
    }

    fn notify(&mut self, method: &str, mut params: Json) {
        if let Some(members) = params.as_object_mut() {
            members.insert("_meta".to_owned(), self.meta());
        }
        self.put(&json!({ "jsonrpc": "2.0", "method": method, "params": params }));
    }

    /// Takes a piece in.
    fn take(&mut self, piece: &[u8]) {
        let (mut tools, mut resource) = (false, false);
        for byte in piece {
            match byte {
                b'\n' => {
                    let line = std::mem::take(&mut self.line);
                    let line = String::from_utf8_lossy(&line);
                    if let Some(kind) = line.strip_prefix("event: ") {
                        tools |= self.told.tools && changes_tools(kind);
                        resource |= kind != "refused";
                    } else if line == ":" {
                        self.waiting.push_back(":\n\n".to_owned());
                    }
                }
                byte if self.line.len() < LINE => self.line.push(*byte),
                _ => {}
            }
        }
        // Several at once are told once.
        if tools {
            self.notify("notifications/tools/list_changed", json!({}));
        }
        if let (true, Some(uri)) = (resource, self.told.resource) {
            self.notify("notifications/resources/updated", json!({ "uri": uri }));
        }
    }

    /// The answer to the request, with which the stream ends.
    fn end(&mut self) {
        let result = json!({ "resultType": "complete", "_meta": self.meta() });
        self.put(&json!({ "jsonrpc": "2.0", "id": self.id, "result": result }));
    }
}

/// `subscriptions/listen`.
pub(crate) async fn listen(api: &Api<'_>, message: &Message, id: &Json) -> Result<Response, Fault> {
    let Some(Json::Object(asked)) = message.params.get("notifications") else {
        return Err(Fault::params("Invalid params: notifications must be an object"));
    };
    let is_agent = is_agent(&api.whoami().await?);
    let told = Told::agreed(asked, is_agent);
    let source = if is_agent { route::INBOX_STREAM } else { route::NOTIFICATIONS_STREAM };
    let from = match told.is_nothing() {
        true => Body::empty(),
        false => open(api, source).await?,
    };
    let state = (from, Translated::new(told, id.clone()), false);
    let pieces = stream::unfold(state, |(mut from, mut into, mut is_over)| async move {
        loop {
            if let Some(text) = into.waiting.pop_front() {
                return Some((Ok::<_, Infallible>(Bytes::from(text)), (from, into, is_over)));
            }
            if is_over {
                return None;
            }
            match from.next().await {
                Some(Ok(piece)) => into.take(&piece),
                // It has come to its end, or to that of the credential; the client comes again if it wants to.
                _ => {
                    into.end();
                    is_over = true;
                }
            }
        }
    });
    Ok(event_stream(Body::pieces(pieces)))
}

async fn open(api: &Api<'_>, source: &Route) -> Result<Body, Fault> {
    let inside::Reply { status, body, .. } =
        api.begin(inside::request(api.app, source, &[], &[]), String::new()).await?;
    let status = status.as_u16();
    if status == 200 {
        return Ok(body);
    }
    let bytes = body.collect().await.unwrap_or_default();
    let envelope = serde_json::from_slice(&bytes).unwrap_or(Json::Null);
    Err(if status == 401 { Fault::unauthorized(envelope, false) } else { Fault::of_api(status, envelope) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn agreed(asked: Json, is_agent: bool) -> Json {
        Told::agreed(asked.as_object().unwrap(), is_agent).shown()
    }

    /// R141: the server tells what it agreed to, and no more.
    #[test]
    fn only_what_was_asked_for_is_agreed_to() {
        let all = json!({ "toolsListChanged": true, "promptsListChanged": true, "resourcesListChanged": true,
                          "resourceSubscriptions": [INBOX, NOTIFICATIONS, "x", 1] });
        assert_eq!(agreed(all.clone(), true), json!({ "toolsListChanged": true, "resourceSubscriptions": [INBOX] }));
        assert_eq!(agreed(all, false), json!({ "resourceSubscriptions": [NOTIFICATIONS] }));
        assert_eq!(agreed(json!({ "toolsListChanged": "yes", "resourceSubscriptions": {} }), true), json!({}));
    }

    /// R141: events become notifications wherever their lines are cut, and their data go nowhere.
    #[test]
    fn events_become_notifications() {
        let asked = json!({ "toolsListChanged": true, "resourceSubscriptions": [INBOX] });
        let told = Told::agreed(asked.as_object().unwrap(), true);
        let mut into = Translated::new(told, json!("a"));
        let first = into.waiting.pop_front().unwrap();
        assert!(
            first.contains("notifications/subscriptions/acknowledged") && first.contains("subscriptionId\":\"a\""),
            "{first}"
        );
        let text = "retry: 2000\n\n:\n\nid: evt_1\nevent: message\ndata: {\"event: scope_granted\": 1}\n\nid: evt_2\nevent: scope_granted\ndata: {}\n\n";
        for byte in text.bytes() {
            into.take(&[byte]);
        }
        let said: Vec<String> = into.waiting.drain(..).collect();
        let methods: Vec<&str> =
            said.iter().filter_map(|text| text.split("\"method\":\"").nth(1)?.split('"').next()).collect();
        assert_eq!(said.first().map(String::as_str), Some(":\n\n"));
        let (tools, updated) = ("notifications/tools/list_changed", "notifications/resources/updated");
        assert_eq!(methods, [updated, tools, updated]);
        assert!(said.iter().all(|text| !text.contains("data: {\"event")), "{said:?}");
        into.take(&vec![b'x'; 1_000_000]);
        assert_eq!(into.line.len(), LINE);
    }
}
