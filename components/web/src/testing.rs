//! For native tests: pages, and an API that answers what a test says.

use http::Request;
use serde_json::{Value as Json, Value::Null};
use service::{
    body::RequestBody,
    outbound::stub,
    testing::{Answer, TestApp},
};

use crate::{form::query, router};

const COOKIE: &str = "accredit=one";

/// A visitor with a session.
pub(crate) struct Visitor(TestApp);

impl Visitor {
    /// The API answers by `api`: from a method and a path to a status and a body.
    pub(crate) fn new(api: impl Fn(&str, &str) -> (u16, Json) + 'static) -> Self {
        stub::serve(Box::new(move |request| {
            let (status, body) = api(request.method().as_str(), request.uri().path());
            Ok((status, body.to_string()))
        }));
        Self(TestApp::new(router()))
    }

    /// Opens a page.
    pub(crate) async fn open(&self, path: &str) -> Answer {
        self.0.call("GET", path, &[("cookie", COOKIE), ("accept", "text/html")], Null).await
    }

    /// Opens a page with a further cookie, as an answer has set it.
    pub(crate) async fn open_with(&self, cookie: &str, path: &str) -> Answer {
        let cookie = format!("{COOKIE}; {}", cookie.split(';').next().unwrap_or_default());
        self.0.call("GET", path, &[("cookie", &cookie), ("accept", "text/html")], Null).await
    }

    /// Opens a page that a page of this kind of site leads to.
    pub(crate) async fn open_from(&self, path: &str, site: &str) -> Answer {
        self.0.call("GET", path, &[("cookie", COOKIE), ("accept", "text/html"), ("sec-fetch-site", site)], Null).await
    }

    /// Sends a form that visitors without a session have too.
    pub(crate) async fn send_open(&self, path: &str, fields: &[(&str, &str)]) -> Answer {
        let token = "A".repeat(24);
        let request = Request::post(path)
            .header("host", "127.0.0.1:3000")
            .header("origin", "http://127.0.0.1:3000")
            .header("cookie", format!("{COOKIE}; accredit-form={token}"))
            .header("content-type", "application/x-www-form-urlencoded")
            .body(RequestBody::from(query(fields) + "&csrf=" + &token));
        self.0.send(request.unwrap()).await
    }

    /// Sends a form.
    pub(crate) async fn send(&self, path: &str, fields: &[(&str, &str)]) -> Answer {
        self.send_with("", path, fields).await
    }

    /// Sends a form with a further cookie, as an answer has set it.
    pub(crate) async fn send_with(&self, cookie: &str, path: &str, fields: &[(&str, &str)]) -> Answer {
        let cookie = cookie.split(';').next().unwrap_or_default();
        let request = Request::post(path)
            .header("host", "127.0.0.1:3000")
            .header("cookie", format!("{COOKIE}; {cookie}"))
            .header("content-type", "application/x-www-form-urlencoded")
            .body(RequestBody::from(query(fields)));
        self.0.send(request.unwrap()).await
    }
}
