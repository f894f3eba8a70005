//! A client over HTTP: one connection for each request, so that nothing is ever sent twice without the test's knowledge.

use serde_json::Value as Json;

use crate::{Answer, raw, schema};

/// A client of one server, with or without a credential.
#[derive(Clone)]
pub struct Client {
    base_url: String,
    bearer: Option<String>,
    /// Whether every answer must be as Accredit's are.
    is_of_accredit: bool,
}

impl Client {
    /// Of a host that serves anything.
    pub fn plain(base_url: &str) -> Self {
        Self { base_url: base_url.to_owned(), bearer: None, is_of_accredit: false }
    }

    /// Of a host that serves Accredit.
    pub fn of_accredit(base_url: &str) -> Self {
        Self { is_of_accredit: true, ..Self::plain(base_url) }
    }

    /// The same server, asked with this credential.
    #[must_use]
    pub fn with(&self, bearer: &str) -> Self {
        Self { bearer: Some(bearer.to_owned()), ..self.clone() }
    }

    /// The same server, asked without a credential.
    #[must_use]
    pub fn nobody(&self) -> Self {
        Self { bearer: None, ..self.clone() }
    }

    /// The same credential, at another server.
    #[must_use]
    pub fn at(&self, base_url: &str) -> Self {
        Self { base_url: base_url.to_owned(), ..self.clone() }
    }

    /// The credential.
    pub fn bearer(&self) -> &str {
        self.bearer.as_deref().unwrap_or_default()
    }

    /// The server.
    pub fn base_url(&self) -> &str {
        &self.base_url
    }

    /// Host and port of the server.
    pub fn address(&self) -> &str {
        self.base_url.trim_start_matches("http://")
    }

    /// Asks; `Err` when no answer came.
    pub fn try_call(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&[u8]>,
    ) -> Result<Answer, String> {
        let bearer = self.bearer.as_ref().map(|bearer| format!("Bearer {bearer}"));
        let mut all: Vec<(&str, &str)> = bearer.iter().map(|value| ("authorization", value.as_str())).collect();
        all.extend(headers);
        if body.is_some() && !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-type")) {
            all.push(("content-type", "application/json"));
        }
        // A method that may have a body says that it has none.
        let body = body.or_else(|| matches!(method, "POST" | "PUT" | "PATCH").then_some(b""));
        let bytes = raw::request(method, path, self.address(), &all, body);
        self.try_raw(&format!("{method} {path}"), &bytes)
    }

    /// Sends these very bytes; `Err` when no answer came.
    pub fn try_raw(&self, what: &str, bytes: &[u8]) -> Result<Answer, String> {
        let response = raw::exchange(self.address(), bytes).map_err(|error| format!("{what}: {error}"))?;
        let answer = Answer::new(what, &self.base_url, response);
        if self.is_of_accredit {
            answer.is_ours();
            schema::check(what, &answer);
        }
        Ok(answer)
    }

    /// Sends these very bytes, and gets an answer.
    #[track_caller]
    pub fn raw(&self, what: &str, bytes: &[u8]) -> Answer {
        self.try_raw(what, bytes).unwrap_or_else(|error| panic!("no answer to {error}"))
    }

    /// Asks, and gets an answer.
    #[track_caller]
    pub fn call(&self, method: &str, path: &str, headers: &[(&str, &str)], body: Option<&[u8]>) -> Answer {
        self.try_call(method, path, headers, body).unwrap_or_else(|error| panic!("no answer to {error}"))
    }

    /// GET.
    #[track_caller]
    pub fn get(&self, path: &str) -> Answer {
        self.call("GET", path, &[], None)
    }

    /// POST of a JSON body; null: without one.
    #[track_caller]
    pub fn post(&self, path: &str, body: &Json) -> Answer {
        let body = (!body.is_null()).then(|| body.to_string());
        self.call("POST", path, &[], body.as_deref().map(str::as_bytes))
    }

    /// POST of a JSON body with an `Idempotency-Key`.
    #[track_caller]
    pub fn post_once(&self, path: &str, key: &str, body: &Json) -> Answer {
        self.call("POST", path, &[("idempotency-key", key)], Some(body.to_string().as_bytes()))
    }

    /// POST of a form.
    #[track_caller]
    pub fn form(&self, path: &str, body: &str) -> Answer {
        self.call("POST", path, &[("content-type", "application/x-www-form-urlencoded")], Some(body.as_bytes()))
    }

    /// PUT of a JSON body.
    #[track_caller]
    pub fn put(&self, path: &str, body: &Json) -> Answer {
        self.call("PUT", path, &[], Some(body.to_string().as_bytes()))
    }

    /// PATCH with a JSON body.
    #[track_caller]
    pub fn patch(&self, path: &str, body: &Json) -> Answer {
        self.call("PATCH", path, &[], Some(body.to_string().as_bytes()))
    }

    /// DELETE.
    #[track_caller]
    pub fn delete(&self, path: &str) -> Answer {
        self.call("DELETE", path, &[], None)
    }
}
