//! Refusals and their fixes. One table (`error/table.rs`) owns slug, status, default sentence, fix and page; a test checks every row.
//!
//! A handler returns `Err(Code::AgentNotFound.into())`, or adds details ([`ApiError::detail`], [`ApiError::with`]). The service
//! crate writes the envelope, because only it knows the request id, the kind of caller and the requested format.

mod table;

use std::borrow::Cow;

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value as Json};

pub use crate::fix::Reader;
use crate::{
    fix::fitting,
    route::{Group, Route},
    scope::ScopeSet,
};

/// `Retry-After` for a refusal that an operator has to fix, seconds.
const OPERATOR_TAKES: i64 = 3_600;

/// One row of the table.
#[derive(Debug, PartialEq, Eq)]
pub struct Row {
    /// The stable slug, `error` in the envelope.
    pub slug: &'static str,
    /// The status.
    pub status: u16,
    /// The sentence that is used when a refusal has no sentence of its own.
    pub detail: &'static str,
    /// The step that fixes it, for people and for unknown callers. [`ApiError::with`] gives the value of `{name}`.
    pub fix: &'static str,
    /// The step for an agent, if it differs.
    pub agent_fix: Option<&'static str>,
    /// The page that explains it. Empty: the slug's own section of the error page.
    pub page: &'static str,
}

/// What a refusal means: a row of the table. Each row is a separate constant, so that a component contains only the texts of the
/// refusals that it can return.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Code(&'static Row);

/// The body of every refusal.
#[derive(Serialize, JsonSchema)]
pub struct Envelope<'a> {
    /// The slug.
    pub error: &'static str,
    /// What is wrong, as a sentence.
    pub detail: &'a str,
    /// The step that fixes it.
    pub fix: Cow<'a, str>,
    /// The page and section that explain it.
    pub doc_url: String,
    /// Further members that the handler added.
    #[serde(flatten)]
    pub extra: &'a Map<String, Json>,
    /// Present if the caller asked for `application/problem+json`.
    #[serde(flatten)]
    pub problem: Option<Problem>,
    /// The request's id, which is also in the log.
    pub request_id: &'a str,
}

/// The members that RFC 9457 registers, besides `detail`, which the envelope has already.
#[derive(Serialize, JsonSchema)]
pub struct Problem {
    /// The page that explains it.
    pub r#type: String,
    /// The table's sentence.
    pub title: &'static str,
    /// The status.
    pub status: u16,
}

/// A header that belongs to some refusals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefusalHeader {
    /// `Accept`: the media types that the route takes (RFC 9110, section 12.5.1).
    Accept,
    /// `Accept-Encoding`: the codings of a body that the server takes (RFC 9110, section 15.5.16).
    AcceptEncoding,
    /// `Accept-Ranges`.
    AcceptRanges,
    /// `Access-Control-Allow-Origin`: the pages that may read the refusal (the Fetch standard).
    AccessControlAllowOrigin,
    /// `Access-Control-Expose-Headers`: the headers of it that they may read.
    AccessControlExposeHeaders,
    /// `Allow`.
    Allow,
    /// `Content-Range`.
    ContentRange,
}

/// A refusal: a code and what the handler knows. Boxed, so that a `Result` stays small.
#[derive(Debug)]
pub struct ApiError(Box<Inner>);

#[derive(Debug)]
struct Inner {
    code: Code,
    detail: Option<String>,
    fix: Option<String>,
    params: Vec<(&'static str, String)>,
    extra: Map<String, Json>,
    missing_scopes: Option<ScopeSet>,
    retry_after: Option<i64>,
    cause: Option<String>,
    headers: Vec<(RefusalHeader, String)>,
    route: Option<&'static Route>,
    for_proxy: bool,
    bad_request: bool,
    metadata: Option<String>,
    page: Option<&'static str>,
}

impl From<Code> for ApiError {
    fn from(code: Code) -> Self {
        Self(Box::new(Inner {
            code,
            detail: None,
            fix: None,
            params: Vec::new(),
            extra: Map::new(),
            missing_scopes: None,
            retry_after: None,
            cause: None,
            headers: Vec::new(),
            route: None,
            for_proxy: false,
            bad_request: false,
            metadata: None,
            page: None,
        }))
    }
}

impl Code {
    /// Its row of the table.
    pub const fn row(self) -> &'static Row {
        self.0
    }

    /// Its own page, as a path on this server.
    pub fn reference_path(self) -> String {
        format!("/docs/agents/errors/{}", anchor(self.row().slug))
    }

    /// The code with a sentence of its own.
    pub fn detail(self, detail: impl Into<String>) -> ApiError {
        ApiError::from(self).detail(detail)
    }

    /// The code with a response header.
    pub fn header(self, name: RefusalHeader, value: impl Into<String>) -> ApiError {
        ApiError::from(self).header(name, value)
    }

    /// The code with a value for `{name}` in its fix.
    pub fn with(self, name: &'static str, value: impl Into<String>) -> ApiError {
        ApiError::from(self).with(name, value)
    }
}

impl ApiError {
    /// The refusal of a field that is missing, unknown or wrong.
    pub fn field(field: impl Into<String>, problem: impl Into<String>) -> Self {
        Self::of_field(field.into(), problem.into())
    }

    fn of_field(field: String, problem: String) -> Self {
        let fields = serde_json::json!([{ "field": field, "problem": problem }]);
        Self::from(Code::ValidationError).extra("fields", fields)
    }

    /// Sets the internal cause. It goes to the log, never to the caller.
    #[must_use]
    pub fn cause(mut self, cause: impl std::fmt::Display) -> Self {
        self.0.cause = Some(cause.to_string());
        self
    }

    /// Replaces the table's sentence.
    #[must_use]
    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.0.detail = Some(detail.into());
        self
    }

    /// Replaces the table's fix, for people and for agents.
    #[must_use]
    pub fn fix(mut self, fix: impl Into<String>) -> Self {
        self.0.fix = Some(fix.into());
        self
    }

    /// Replaces the table's page, for a slug that a standard has for several things.
    #[must_use]
    pub fn page(mut self, page: &'static str) -> Self {
        self.0.page = Some(page);
        self
    }

    /// Sets the value of `{name}` in the fix.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.0.params.push((name, value.into()));
        self
    }

    /// Adds a member to the envelope.
    #[must_use]
    pub fn extra(mut self, name: &str, value: impl Into<Json>) -> Self {
        self.0.extra.insert(name.to_owned(), value.into());
        self
    }

    /// The same without a member that was added.
    #[must_use]
    pub fn without(mut self, name: &str) -> Self {
        self.0.extra.shift_remove(name);
        self
    }

    /// A member that was added.
    pub fn member(&self, name: &str) -> Option<&Json> {
        self.0.extra.get(name)
    }

    /// Names the scopes that the route needs, and those that are missing.
    #[must_use]
    pub fn scopes(mut self, required: ScopeSet, missing: ScopeSet) -> Self {
        self.0.missing_scopes = Some(missing);
        self.extra("required_scopes", required.names()).extra("missing_scopes", missing.names())
    }

    /// The same by name, custom scopes included.
    #[must_use]
    pub fn lacking(self, required: Vec<&str>, missing: Vec<&str>) -> Self {
        self.extra("required_scopes", required).extra("missing_scopes", missing)
    }

    /// Makes it a refusal that a proxy passes on. `metadata` is where the metadata of the protected service are (RFC 9728).
    #[must_use]
    pub fn to_proxy(mut self, metadata: Option<String>) -> Self {
        self.0.for_proxy = true;
        self.0.metadata = metadata;
        self
    }

    /// Whether a proxy passes it on.
    pub fn is_for_proxy(&self) -> bool {
        self.0.for_proxy
    }

    /// Where the metadata of the protected service are.
    pub fn metadata(&self) -> Option<&str> {
        self.0.metadata.as_deref()
    }

    /// Sets `Retry-After`, in seconds.
    #[must_use]
    pub fn retry_after(mut self, seconds: i64) -> Self {
        self.0.retry_after = Some(seconds.max(1));
        self
    }

    /// Says at which route it happened: the page of a refusal of fields is that of the route, which lists them.
    #[must_use]
    pub fn at(mut self, route: &'static Route) -> Self {
        if self.0.code == Code::ValidationError && route.group != Group::Web {
            self.0.route = Some(route);
        }
        self
    }

    /// Adds to the detail.
    #[must_use]
    pub fn also(mut self, sentence: &str) -> Self {
        let detail = self.0.detail.take().unwrap_or_else(|| self.0.code.row().detail.to_owned());
        self.0.detail = Some(format!("{detail} {sentence}"));
        self
    }

    /// The same refusal under another code.
    #[must_use]
    pub fn instead(mut self, code: Code) -> Self {
        self.0.code = code;
        self
    }

    /// Answers with another status than the code's: what is 401 at a route is 400 where a token is asked for.
    #[must_use]
    pub fn as_bad_request(mut self) -> Self {
        self.0.bad_request = true;
        self
    }

    /// Its status.
    pub fn status(&self) -> u16 {
        if self.0.bad_request { 400 } else { self.0.code.row().status }
    }

    /// Adds a response header. The name is in lower case.
    #[must_use]
    pub fn header(mut self, name: RefusalHeader, value: impl Into<String>) -> Self {
        self.0.headers.push((name, value.into()));
        self
    }

    /// The response headers that were added.
    pub fn headers(&self) -> &[(RefusalHeader, String)] {
        &self.0.headers
    }

    /// The code.
    pub fn code(&self) -> Code {
        self.0.code
    }

    /// What is wrong, as a sentence.
    pub fn sentence(&self) -> &str {
        self.0.detail.as_deref().unwrap_or(self.0.code.row().detail)
    }

    /// The internal cause, for the log.
    pub fn inner(&self) -> Option<&str> {
        self.0.cause.as_deref()
    }

    /// The names of the missing scopes, custom ones included.
    pub fn missing_scopes(&self) -> Vec<&str> {
        let names = self.member("missing_scopes").and_then(Json::as_array);
        names.map(|names| names.iter().filter_map(Json::as_str).collect()).unwrap_or_default()
    }

    /// The value of `Retry-After`, in seconds. 429 and 503 always have one.
    pub fn seconds(&self) -> Option<i64> {
        self.0.retry_after.or(match (self.0.code, self.0.code.row().status) {
            (Code::DatabaseUnavailable, _) | (_, 429) => Some(1),
            (Code::DatabaseTooNew, _) => Some(60), // an upgrade is in progress
            // The operator has to act first: an immediate retry fixes nothing.
            (_, 503) => Some(OPERATOR_TAKES),
            _ => None,
        })
    }

    /// The envelope. `reader` is the caller, if it is known.
    pub fn envelope<'a>(&'a self, request_id: &'a str, link: &str, reader: Option<Reader<'_>>) -> Envelope<'a> {
        let row = self.0.code.row();
        let mut params: Vec<(&str, &str)> = self.0.params.iter().map(|(k, v)| (*k, v.as_str())).collect();
        params.extend(reader.as_ref().map(|reader| ("tenant", reader.tenant)));
        let agent = reader.as_ref().and_then(|reader| reader.agent_and_owner);
        let template = match (agent, row.agent_fix) {
            (Some((name, owner)), Some(fix)) => {
                let tell = reader.as_ref().map_or("", |reader| &reader.tell);
                params.extend([("agent", name), ("owner", owner), ("tell", tell)]);
                fix
            }
            _ => row.fix,
        };
        let fix = self.0.fix.as_deref().map_or_else(|| filled(template, &params), Cow::Borrowed);
        let fix = match &reader {
            Some(reader) => fitting(fix, reader),
            None => fix,
        };
        Envelope {
            error: row.slug,
            detail: self.sentence(),
            fix,
            doc_url: self.doc_url(link),
            extra: &self.0.extra,
            problem: None,
            request_id,
        }
    }

    fn doc_url(&self, link: &str) -> String {
        let row = self.0.code.row();
        if let Some(page) = self.0.page {
            return format!("{link}{page}");
        }
        if let Some(route) = self.0.route {
            return format!("{link}{}", route.reference_path());
        }
        match (self.0.missing_scopes.and_then(|missing| missing.names().first().copied()), row.page) {
            (Some(scope), "") if scope != "*" => {
                format!("{link}/docs/agents/scopes/{}", anchor(scope))
            }
            (_, "") => format!("{link}{}", self.0.code.reference_path()),
            (_, page) => format!("{link}{page}"),
        }
    }
}

/// Wrong fields that one refusal tells at most.
const MOST_FIELDS: usize = 50;

/// What is wrong about the values of a body, so that one refusal names all of it.
#[derive(Debug, Default)]
pub struct Flaws(Vec<(Cow<'static, str>, ApiError)>);

impl Flaws {
    /// The value of a field, if it is right.
    pub fn check<T>(&mut self, field: impl Into<Cow<'static, str>>, value: Result<T, ApiError>) -> Option<T> {
        value.map_err(|flaw| self.0.push((field.into(), flaw))).ok()
    }

    /// Goes on if nothing is wrong.
    pub fn end(self) -> Result<(), ApiError> {
        if self.0.is_empty() { Ok(()) } else { Err(self.refusal()) }
    }

    /// The refusal. A single flaw is refused as it is, and so is what is no flaw of a value, such as an outage.
    pub fn refusal(mut self) -> ApiError {
        let is_of_value = |flaw: &ApiError| matches!(flaw.code().row().status, 400 | 422);
        if let Some(other) = self.0.iter().position(|(_, flaw)| !is_of_value(flaw)) {
            return self.0.swap_remove(other).1;
        }
        if self.0.len() == 1 {
            return self.0.swap_remove(0).1;
        }
        let fields = self.0.iter().flat_map(|(field, flaw)| flaw.as_fields(field)).take(MOST_FIELDS);
        let fields: Vec<Json> = fields.collect();
        ApiError::from(Code::ValidationError).extra("fields", fields)
    }
}

impl ApiError {
    /// The flaw of a value as members of `fields`, each with the slug that it has where it is the only one.
    fn as_fields(&self, field: &str) -> Vec<Json> {
        if let Some(fields) = self.member("fields").and_then(Json::as_array) {
            return fields.clone();
        }
        let row = self.0.code.row();
        let params: Vec<(&str, &str)> = self.0.params.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let fix = self.0.fix.as_deref().map_or_else(|| filled(row.fix, &params), Cow::Borrowed);
        let problem = format!("is wrong: {}", self.sentence());
        vec![serde_json::json!({ "field": field, "problem": problem, "error": row.slug, "fix": fix })]
    }
}

/// The last part of the path of a page about a scope or a slug: dots and underscores become hyphens.
pub fn anchor(name: &str) -> String {
    name.replace(['.', '_'], "-")
}

/// Fills in a template. Most templates have no placeholders.
fn filled<'a>(template: &'a str, params: &[(&str, &str)]) -> Cow<'a, str> {
    let has_braces = template.bytes().any(|byte| matches!(byte, b'{' | b'}'));
    if has_braces { fill(template, params).into() } else { template.into() }
}

/// Replaces each `{name}` by its value, and `{{` and `}}` by single braces. A name without a value is removed.
fn fill(template: &str, params: &[(&str, &str)]) -> String {
    let mut text = String::with_capacity(template.len() + 32);
    let mut rest = template;
    while let Some(at) = rest.find(['{', '}']) {
        let (before, from) = rest.split_at(at);
        text.push_str(before);
        if let Some(after) = from.strip_prefix("{{") {
            text.push('{');
            rest = after;
        } else if let Some(after) = from.strip_prefix("}}") {
            text.push('}');
            rest = after;
        } else if let Some((name, after)) = from.strip_prefix('{').and_then(|from| from.split_once('}')) {
            let value = params.iter().find(|(key, _)| *key == name).map_or("", |(_, value)| value);
            text.push_str(value);
            rest = after;
        } else {
            text.push_str(from);
            rest = "";
        }
    }
    text.push_str(rest);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// R58, R59: every row is complete, and no two rows share a slug.
    #[test]
    fn every_code_says_what_is_wrong_and_how_to_fix_it() {
        let mut slugs = std::collections::BTreeSet::new();
        for code in Code::ALL {
            let row = code.row();
            assert!(slugs.insert(row.slug), "{} is in the table twice", row.slug);
            assert!((400..600).contains(&row.status));
            for sentence in [row.detail, row.fix].into_iter().chain(row.agent_fix) {
                assert!(sentence.ends_with('.') && sentence.len() > 10, "{}: {sentence}", row.slug);
                let single = sentence.replace("{{", "").replace("}}", "");
                for name in single.split('{').skip(1).filter_map(|after| after.split('}').next()) {
                    let is_name = name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
                    assert!(is_name && !name.is_empty(), "{}: {{{name}}} needs double braces: {sentence}", row.slug);
                }
            }
            assert!(row.page.is_empty() || row.page.starts_with("/docs/agents/"), "{}", row.slug);
        }
    }

    #[test]
    fn several_flaws_are_one_refusal_and_one_is_itself() {
        let flaws = |values: &[(&'static str, Code)]| {
            let mut flaws = Flaws::default();
            for (field, code) in values {
                assert!(flaws.check::<()>(*field, Err(code.with("field", *field).with("most", "64"))).is_none());
            }
            flaws.end()
        };
        assert!(flaws(&[]).is_ok());
        assert_eq!(flaws(&[("email", Code::InvalidEmail)]).unwrap_err().code(), Code::InvalidEmail);
        let both = flaws(&[("name", Code::InvalidText), ("email", Code::InvalidEmail)]).unwrap_err();
        assert_eq!(both.code(), Code::ValidationError);
        let fields = both.member("fields").unwrap();
        assert_eq!((&fields[0]["field"], &fields[0]["error"]), (&"name".into(), &"invalid_text".into()));
        assert_eq!((&fields[1]["field"], &fields[1]["error"]), (&"email".into(), &"invalid_email".into()));
        assert!(fields[0]["fix"].as_str().unwrap().starts_with("Send name as 1 to 64 characters"), "{fields}");
        // An outage is no flaw of a value.
        let outage = flaws(&[("email", Code::InvalidEmail), ("scope", Code::DatabaseUnavailable)]).unwrap_err();
        assert_eq!(outage.code(), Code::DatabaseUnavailable);
    }

    #[test]
    fn a_fix_is_filled_in_and_double_braces_become_single() {
        assert_eq!(fill("{{\"a\": {b}}} {c}.", &[("b", "1")]), "{\"a\": 1} .");
        assert_eq!(fill("open { end", &[]), "open { end");
    }

    #[test]
    fn an_agent_gets_the_fix_for_agents() {
        let error = Code::PersonRequired.detail("No.");
        let person = error.envelope("req_1", "", None);
        let agent = error.envelope(
            "req_1",
            "/acc",
            Some(Reader {
                tenant: "main",
                agent_and_owner: Some(("scout", "ada@example.com")),
                bar: Box::new(|_, _| None),
                tell: String::new(),
            }),
        );
        assert_eq!(agent.fix, "Ask ada@example.com, or an admin of your tenant, to do it.");
        assert_ne!(person.fix, agent.fix);
        assert_eq!(agent.doc_url, "/acc/docs/agents/concepts/permissions#for-people-only");
    }
}
