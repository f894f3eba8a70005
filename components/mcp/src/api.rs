//! The API as the caller of a message sees it: requests to the other components with the caller's own `Authorization`.

use common::{
    error::Code,
    route::{self, Route},
};
use http::{Request, header, request::Builder};
use serde_json::Value as Json;
use service::{
    app::{self, App},
    idempotency::CLOSURE,
    inside, proof,
};

use crate::fault::{Fault, envelope};

/// The API with a caller's credential.
pub(crate) struct Api<'a> {
    pub(crate) app: &'a App,
}

/// An answer, read to its end.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) text: String,
    /// The id of the closure of what the request has ended.
    pub(crate) closure: Option<String>,
}

impl Reply {
    pub(crate) fn is_done(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The body as JSON; null if it is none.
    pub(crate) fn json(&self) -> Json {
        serde_json::from_str(&self.text).unwrap_or(Json::Null)
    }
}

impl<'a> Api<'a> {
    /// For a caller that has sent a credential of some kind: the API looks what it is. A cookie is none here, since a browser sends it
    /// with the requests of every page.
    pub(crate) fn of(app: &'a App) -> Result<Self, Fault> {
        if app.headers().all("authorization").is_empty() {
            let envelope = envelope(app, &Code::MissingCredential.into());
            return Err(Fault::unauthorized(envelope, true));
        }
        Ok(Self { app })
    }

    /// Reads.
    pub(crate) async fn get(&self, route: &Route, names: &[&str], asked: &[(&str, &str)]) -> Result<Reply, Fault> {
        self.send(inside::request(self.app, route, names, asked), String::new()).await
    }

    /// Sends a request with a body, which may be empty. A credential that is not good ends the message; whatever else is answered is for
    /// the caller of this function.
    pub(crate) async fn send(&self, request: Builder, body: String) -> Result<Reply, Fault> {
        let inside::Reply { status, headers, body } = self.begin(request, body).await?;
        let bytes = body.collect().await.map_err(|_| self.outage("an answer broke off"))?;
        let (status, text) = (status.as_u16(), String::from_utf8_lossy(&bytes).into_owned());
        let closure = headers.get(CLOSURE).and_then(|id| id.to_str().ok()).map(str::to_owned);
        let reply = Reply { status, text, closure };
        match status {
            401 => Err(Fault::unauthorized(reply.json(), false)),
            500.. if !reply.json().is_object() => Err(self.outage(&format!("a component answered {status}"))),
            _ => Ok(reply),
        }
    }

    /// The same for an answer whose body is still to come.
    pub(crate) async fn begin(&self, mut request: Builder, body: String) -> Result<inside::Reply, Fault> {
        for value in self.app.headers().all("authorization") {
            request = request.header(header::AUTHORIZATION, value);
        }
        // What proves the caller's key is for this request, whatever is asked for it.
        if proof::is_sent(self.app) {
            for value in self.app.headers().all(proof::HEADER) {
                request = request.header(proof::HEADER, value);
            }
            let [method, path, id] = proof::FOR;
            request = request.header(method, self.app.head().method.as_str()).header(path, self.app.path());
            request = request.header(id, self.app.request_id().as_str());
        }
        if !body.is_empty() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        let request: Request<String> = request
            .header(header::CONTENT_LENGTH, body.len())
            .body(body)
            .map_err(|error| self.outage(&error.to_string()))?;
        inside::send(request).await.map_err(|cause| self.outage(&cause))
    }

    /// Who is calling. What is answered to others than the caller is their own affair: only a good credential gets here.
    pub(crate) async fn whoami(&self) -> Result<Json, Fault> {
        let reply = self.get(route::WHOAMI, &[], &[]).await?;
        match reply.is_done() {
            true => Ok(reply.json()),
            false => Err(Fault::of_api(reply.status, reply.json())),
        }
    }

    fn outage(&self, cause: &str) -> Fault {
        app::log(self.app.request_id(), "asking a component", cause);
        Fault::internal()
    }
}
