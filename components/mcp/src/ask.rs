//! What an agent lacks is asked for: a call that is refused for want of a scope opens the access request, and its client is told where the
//! person decides (revision 2026-07-28, Multi Round-Trip Requests, and Elicitation by address). The call that is sent again goes through
//! once it is approved.
//!
//! Between the two calls the client keeps the request's id. It proves nothing: its sender reads that request with a credential of
//! their own, or finds none.

use common::{
    id::{AccessRequestId, is_id},
    role::Role,
    route,
    scope::Scope,
};
use serde_json::{Value as Json, json};
use service::{inside, site};

use crate::{
    api::Api,
    fault::Fault,
    message::Message,
    resources::is_agent,
    tools::{Call, refused},
};

/// The name of the question that is put to the client's person.
const QUESTION: &str = "approval";
/// How long a call that was sent again waits for somebody to decide, seconds.
const WAIT: &str = "20";

/// A call that was sent before.
pub(crate) struct Retry {
    request: AccessRequestId,
    /// Whether the client's person did not want to open the address.
    is_declined: bool,
}

impl Retry {
    /// What the client kept; `None`: the call is sent for the first time.
    pub(crate) fn read(message: &Message) -> Result<Option<Self>, Fault> {
        let answer = match message.params.get("inputResponses") {
            None => None,
            Some(Json::Object(answers)) => answers.get(QUESTION).and_then(|answer| answer.get("action")?.as_str()),
            Some(_) => return Err(Fault::params("Invalid params: inputResponses must be an object")),
        };
        let is_declined = matches!(answer, Some("decline" | "cancel"));
        match message.params.get("requestState") {
            None => Ok(None),
            Some(state) => {
                let id = state.as_str().filter(|id| is_id(id, &[AccessRequestId::PREFIX]));
                let id = id.and_then(|id| AccessRequestId::try_from(id.to_owned()).ok());
                let request =
                    id.ok_or_else(|| Fault::params("Invalid params: requestState is none of this server's"))?;
                Ok(Some(Self { request, is_declined }))
            }
        }
    }

    /// Waits for a while until somebody has decided. The state of the request; empty: it is not there.
    pub(crate) async fn wait(&self, api: &Api<'_>) -> Result<String, Fault> {
        let wait = if self.is_declined { "0" } else { WAIT };
        let reply = api.get(route::ACCESS_GET, &[self.request.as_str()], &[("wait", wait)]).await?;
        Ok(reply.json().get("state").and_then(Json::as_str).unwrap_or_default().to_owned())
    }
}

/// What becomes of a call that was refused for want of a scope.
pub(crate) async fn missing(
    api: &Api<'_>,
    message: &Message,
    call: &Call,
    envelope: Json,
    earlier: Option<(Retry, String)>,
) -> Result<Json, Fault> {
    let whoami = api.whoami().await?;
    if !is_agent(&whoami) {
        let needed = call.scopes();
        let role = whoami.get("role").and_then(Json::as_str).and_then(Role::from_word);
        let is_allowed = |scope: &&str| {
            role.zip(Scope::from_text(scope)).is_some_and(|(role, scope)| role.ceiling().contains(scope))
        };
        if !needed.iter().all(is_allowed) {
            // No token of this person can carry it.
            return Ok(refused(envelope));
        }
        // A person's client can ask its person for a token with more, at the authorization server. Clients of earlier revisions ask for exactly
        // the scopes that they are told, so they are told those that they have too.
        let has = whoami.get("scope").and_then(Json::as_array).filter(|_| !message.is_modern);
        let mut scopes: Vec<&str> = has.into_iter().flatten().filter_map(Json::as_str).collect();
        scopes.retain(|scope| !needed.contains(scope));
        scopes.extend(needed);
        return Err(Fault::insufficient_scope(envelope, scopes.join(" ")));
    }
    let owner = whoami.get("owner").and_then(Json::as_str).unwrap_or("Your owner").to_owned();
    let request = match earlier {
        Some((retry, state)) if state == "open" => {
            if retry.is_declined {
                let fix = format!(
                    "The request {} stays open until {owner} or an admin decides. Go on with something else, and call the tool again after \
                     the event scope_granted.",
                    retry.request.as_str()
                );
                return Ok(told(envelope, retry.request.as_str(), None, fix));
            }
            retry.request.as_str().to_owned()
        }
        // Asked and answered: nobody is asked twice by one call.
        Some((retry, state)) if !state.is_empty() => {
            let id = retry.request.as_str().to_owned();
            let fix = match state.as_str() {
                "approved" => {
                    format!(
                        "The request {id} was approved, but not for this call: in part, or once for the call as it was first sent. Tell \
                         {owner} what you still cannot do."
                    )
                }
                "spent" => format!(
                    "The request {id} was approved once, and the call has gone through. To make it once more, call the tool without \
                     requestState: that asks {owner} again."
                ),
                _ => format!(
                    "The request {id} is {state}: that is the answer. Do not ask again. Tell {owner} what you could not do, and go on with \
                     something else."
                ),
            };
            return Ok(told(envelope, &id, None, fix));
        }
        _ => match opened(api, call, &envelope).await? {
            Some(id) => id,
            // Nobody could approve it; the refusal says who can help.
            None => return Ok(refused(envelope)),
        },
    };
    let tool = common::tool::name(call.route);
    let address = site::address(api.app).map(|server| format!("{server}/access/{request}"));
    if let (true, Some(address)) = (message.opens_addresses, &address) {
        let name = whoami.get("agent_name").and_then(Json::as_str).unwrap_or("An agent");
        let asks = format!(
            "{name} asks for {} to use the tool {tool} ({}). {owner} or an admin decides on this page. Then the call goes on.",
            call.scopes().join(", "),
            call.route.title
        );
        let question =
            json!({ "method": "elicitation/create", "params": { "mode": "url", "message": asks, "url": address } });
        return Ok(
            json!({ "resultType": "input_required", "inputRequests": { QUESTION: question }, "requestState": request }),
        );
    }
    let place = address.as_deref().map(|address| format!(" at {address}")).unwrap_or_default();
    let fix = format!(
        "{owner} was asked: the request {request} is open, and they or an admin decide{place}. Show that address to the person whom you work \
         for, if you talk to one. Call the tool inbox with wait 25 until the event scope_granted or access_denied arrives, then call {tool} \
         again, once."
    );
    Ok(told(envelope, &request, address, fix))
}

/// The refusal with the request that was opened for it.
fn told(mut envelope: Json, request: &str, address: Option<String>, fix: String) -> Json {
    if let Some(members) = envelope.as_object_mut() {
        // It was asked.
        members.shift_remove("ask");
        members.insert("fix".to_owned(), json!(fix));
        members.insert("access_request".to_owned(), json!(request));
        if let Some(address) = address {
            members.insert("approve_at".to_owned(), json!(address));
        }
    }
    refused(envelope)
}

/// Opens the access request, or finds the one that is open. `None`: nobody could approve it, or an approval would not help.
async fn opened(api: &Api<'_>, call: &Call, envelope: &Json) -> Result<Option<String>, Fault> {
    if let Some(id) = envelope.get("access_request").and_then(Json::as_str) {
        return Ok(Some(id.to_owned()));
    }
    // The API carries an ask only where it helps: not for a key, nor where a relation is missing too, nor after a denial.
    let Some(mut body) = envelope.get("ask").and_then(|ask| ask.get("body")).cloned() else { return Ok(None) };
    if let Some(members) = body.as_object_mut() {
        let tool = common::tool::name(call.route);
        members.insert("reason".to_owned(), format!("The tool {tool} needs it: {}.", call.route.title).into());
    }
    let reply = api.send(inside::request(api.app, route::ACCESS_ASK, &[], &[]), body.to_string()).await?;
    let id = reply.json().get("id").and_then(Json::as_str).map(str::to_owned);
    Ok(id.filter(|_| reply.is_done()))
}
