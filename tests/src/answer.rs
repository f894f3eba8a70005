//! The response to a request.

use serde_json::Value as Json;

use crate::{docs, raw::Response};

/// The paths at which pages of every origin get a token.
pub const OPEN: [&str; 7] = [
    "/oauth/register",
    "/oauth/token",
    "/oauth/revoke",
    "/oauth/jwks",
    "/.well-known/oauth-authorization-server",
    "/.well-known/openid-configuration",
    "/.well-known/oauth-protected-resource",
];

/// An answer, read to its end.
#[derive(Clone, Debug)]
pub struct Answer {
    what: String,
    base_url: String,
    response: Response,
}

impl Answer {
    /// The answer of the server to `what`.
    pub fn new(what: &str, base_url: &str, response: Response) -> Self {
        Self { what: what.to_owned(), base_url: base_url.to_owned(), response }
    }

    /// The status.
    pub fn status(&self) -> u16 {
        self.response.status
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.response.body).into_owned()
    }

    /// The first header of that name; empty when there is none.
    pub fn header(&self, name: &str) -> &str {
        self.response.header(name).unwrap_or_default()
    }

    /// All headers.
    pub fn headers(&self) -> &[(String, String)] {
        &self.response.headers
    }

    /// The body; null when it is empty.
    #[track_caller]
    pub fn json(&self) -> Json {
        if self.response.body.is_empty() {
            return Json::Null;
        }
        serde_json::from_slice(&self.response.body)
            .unwrap_or_else(|error| panic!("{}: {error}: {}", self.what, self.text()))
    }

    /// Asserts what every answer of Accredit has.
    #[track_caller]
    pub fn is_ours(&self) {
        let id = self.header("x-request-id");
        assert!(id.starts_with("req_") && id.len() == 30, "{}: x-request-id is {id:?}; {self:?}", self.what);
        // No other site's pages may read our answers, but those that they need to get a token.
        let open = self.header("access-control-allow-origin");
        let may_be_open = OPEN.iter().any(|path| self.what.contains(path));
        assert!(open.is_empty() || (open == "*" && may_be_open), "{}: {open}", self.what);
        assert_eq!(self.header("access-control-allow-credentials"), "", "{}", self.what);
    }

    /// Asserts the status and gives the body.
    #[track_caller]
    pub fn is(&self, status: u16) -> Json {
        assert_eq!(self.status(), status, "{}: {}", self.what, self.text());
        self.json()
    }

    /// Asserts the status, and that the body, which is text, has this in it.
    #[track_caller]
    pub fn is_text(&self, status: u16, part: &str) {
        assert_eq!(self.status(), status, "{}: {}", self.what, self.text());
        assert!(self.text().contains(part), "{}: no {part:?} in {}", self.what, self.text());
    }

    /// R58, R59: asserts a refusal, that its envelope is whole, that its headers fit, and that its page is there.
    #[track_caller]
    pub fn refused(&self, status: u16, slug: &str) -> Json {
        let body = self.is(status);
        let what = &self.what;
        assert_eq!(body["error"], slug, "{what}: {body}");
        self.envelope();
        body
    }

    /// R58, R59: asserts that this is a refusal of ours, whatever it refuses.
    #[track_caller]
    pub fn envelope(&self) {
        let (body, what) = (self.members(), &self.what);
        let fix = body["fix"].as_str().unwrap_or_default();
        assert!(!fix.contains("  ") && !fix.contains("{}"), "{what}: a fix with a hole: {fix}");
        match self.status() {
            401 => {
                let schemes: &[&str] = match body["error"].as_str() {
                    // An OAuth client proves itself otherwise (RFC 6749, section 5.2).
                    Some("invalid_client") => &["Basic "],
                    Some("invalid_dpop_proof") => &["DPoP "],
                    // A token that is bound to a key is none in the scheme Bearer (RFC 9449, section 7.2).
                    Some("invalid_token") => &["Bearer ", "DPoP "],
                    _ => &["Bearer "],
                };
                let challenge = self.header("www-authenticate");
                assert!(schemes.iter().any(|scheme| challenge.starts_with(scheme)), "{what}: {self:?}");
            }
            405 => assert!(!self.header("allow").is_empty(), "{what}: {self:?}"),
            _ => {}
        }
        if let Some(missing) = body["missing_scopes"].as_array() {
            let names: Vec<&str> = missing.iter().filter_map(Json::as_str).collect();
            let challenge =
                format!("Bearer realm=\"accredit\", error=\"insufficient_scope\", scope=\"{}\"", names.join(" "));
            assert_eq!(self.header("www-authenticate"), challenge, "{what}");
        }
        docs::check(&self.base_url, body["doc_url"].as_str().unwrap_or_default());
    }

    /// R363: asserts a refusal of the host itself, which may serve an application without the page that it names.
    #[track_caller]
    pub fn refused_by_host(&self, status: u16, slug: &str) {
        let (body, what) = (self.members(), &self.what);
        assert_eq!((self.status(), &body["error"]), (status, &Json::from(slug)), "{what}: {body}");
        assert_eq!(body["doc_url"], "/docs/agents/errors#of-the-host", "{what}");
    }

    /// The members and headers that every refusal has.
    #[track_caller]
    fn members(&self) -> Json {
        let (body, what) = (self.json(), &self.what);
        for member in ["error", "detail", "fix", "doc_url", "request_id"] {
            assert!(body[member].as_str().is_some_and(|text| !text.is_empty()), "{what}: no {member} in {body}");
        }
        assert_eq!(self.header("content-type"), "application/json", "{what}");
        assert_eq!(self.header("x-request-id"), body["request_id"], "{what}");
        if matches!(self.status(), 429 | 503) {
            assert!(self.header("retry-after").parse::<u32>().is_ok_and(|seconds| seconds > 0), "{what}: {self:?}");
        }
        body
    }
}
