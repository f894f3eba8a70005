//! Asking a server that runs on this machine.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

pub(crate) struct Client {
    agent: ureq::Agent,
    base: String,
}

pub(crate) struct Answer {
    pub(crate) status: u16,
    /// The id that the server gave to the request; empty if it gave none.
    pub(crate) request_id: String,
    /// The body, or null when it is not JSON.
    pub(crate) body: Value,
}

impl Client {
    /// `base` is scheme, host and port.
    pub(crate) fn new(base: &str) -> Self {
        let settings = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            // A server on this machine is never behind a proxy, whatever the environment says.
            .proxy(None)
            .timeout_global(Some(Duration::from_secs(30)))
            .build();
        Self { agent: settings.into(), base: base.to_owned() }
    }

    pub(crate) fn call(&self, method: &str, path: &str, bearer: Option<&str>, body: Option<&Value>) -> Result<Answer> {
        let mut request = ureq::http::Request::builder().method(method).uri(format!("{}{path}", self.base));
        if let Some(bearer) = bearer {
            request = request.header("authorization", format!("Bearer {bearer}"));
        }
        let answer = match body {
            Some(body) => self.agent.run(request.header("content-type", "application/json").body(body.to_string())?),
            None => self.agent.run(request.body(())?),
        };
        read(answer, method, path)
    }

    /// Sends a form, which must succeed; gives the body of the answer.
    pub(crate) fn form(&self, path: &str, form: &str) -> Result<Value> {
        let request = ureq::http::Request::builder().method("POST").uri(format!("{}{path}", self.base));
        let request = request.header("content-type", "application/x-www-form-urlencoded").body(form.to_owned())?;
        read(self.agent.run(request), "POST", path)?.succeeded("POST", path)
    }

    /// Opens a page, or another path, with these headers; returns how long its first byte took.
    pub(crate) fn first_byte(&self, path: &str, headers: &[(&str, &str)]) -> Result<Duration> {
        let request = ureq::http::Request::builder().uri(format!("{}{path}", self.base));
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value)).body(())?;
        let since = Instant::now();
        let mut answer = self.agent.run(request).with_context(|| format!("GET {path}"))?;
        let took = since.elapsed();
        ensure!(answer.status() == 200, "GET {path} answered {}", answer.status());
        answer.body_mut().read_to_string().with_context(|| format!("GET {path}"))?;
        Ok(took)
    }

    /// As `call`, for a call that must succeed.
    pub(crate) fn must(&self, method: &str, path: &str, bearer: Option<&str>, body: Option<&Value>) -> Result<Value> {
        self.call(method, path, bearer, body)?.succeeded(method, path)
    }
}

fn read(answer: Result<ureq::http::Response<ureq::Body>, ureq::Error>, method: &str, path: &str) -> Result<Answer> {
    let mut answer = answer.with_context(|| format!("{method} {path}"))?;
    let status = answer.status().as_u16();
    let request_id =
        answer.headers().get("x-request-id").and_then(|id| id.to_str().ok()).unwrap_or_default().to_owned();
    let text = answer.body_mut().read_to_string().with_context(|| format!("{method} {path}"))?;
    Ok(Answer { status, request_id, body: serde_json::from_str(&text).unwrap_or(Value::Null) })
}

impl Answer {
    /// The body of an answer to a call that must succeed.
    pub(crate) fn succeeded(self, method: &str, path: &str) -> Result<Value> {
        ensure!((200..300).contains(&self.status), "{method} {path} answered {}: {}", self.status, self.body);
        Ok(self.body)
    }
}

/// A string field of an answer.
pub(crate) fn text(body: &Value, field: &str) -> Result<String> {
    Ok(body.get(field).and_then(Value::as_str).with_context(|| format!("no field {field} in {body}"))?.to_owned())
}
