//! The files that `spin.toml` grants, and the pages that were made of them: each is made once in an instance.

use std::{
    collections::BTreeMap,
    io::Write as _,
    path::{self, PathBuf},
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use bytes::Bytes;
use common::{
    error::{ApiError, Code},
    route::Route,
};
use flate2::{Compression, write::GzEncoder};
use http::{HeaderValue, StatusCode, header};
use serde::Deserialize;
use serde_json::Value as Json;
use service::{
    accept::weight,
    body::Body,
    call::{Call, FromCall},
    headers::Headers,
    response::{Fresh, Response},
};

/// Where the component sees its folders.
const GRANTED: &str = "/";

/// The form of a page.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Form {
    Html,
    Markdown,
}

/// What is smaller is sent as it is: a packet or two.
const LARGE: usize = 4 * 1024;

/// A page as it is sent. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Written {
    media_type: &'static str,
    fresh: Fresh,
    /// The text in gzip's form, made when it is asked for the first time. `None`: it is too small for that.
    packed: Option<Arc<OnceLock<Option<Bytes>>>>,
}

impl Written {
    pub(crate) fn new(media_type: &'static str, text: String) -> Self {
        let packed = (text.len() >= LARGE).then(Arc::default);
        Self { media_type, fresh: Fresh::new(text), packed }
    }

    /// The page, or 304 for a client that has it. Both forms have the same tag, weak where it is packed: they differ in bytes alone.
    pub(crate) fn answer(&self, headers: &Headers) -> Response {
        let mut response = self.fresh.answer(headers, StatusCode::OK, self.media_type);
        let Some(packed) = &self.packed else { return response };
        response.headers_mut().insert(header::VARY, HeaderValue::from_static("accept-encoding"));
        let takes = headers.first("accept-encoding").unwrap_or_default();
        if weight(&takes, "gzip").is_none_or(|weight| weight == 0) {
            return response;
        }
        if let Body::Full(text) = response.body()
            && !text.is_empty()
        {
            let Some(packed) = packed.get_or_init(|| gzip(text)) else { return response };
            *response.body_mut() = packed.clone().into();
            response.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        let tag = response.headers().get(header::ETAG).and_then(|tag| tag.to_str().ok()).map(|tag| format!("W/{tag}"));
        if let Some(tag) = tag.and_then(|tag| HeaderValue::try_from(tag).ok()) {
            response.headers_mut().insert(header::ETAG, tag);
        }
        response
    }
}

/// `None`: it did not become smaller.
fn gzip(text: &[u8]) -> Option<Bytes> {
    let mut packed = GzEncoder::new(Vec::with_capacity(text.len() / 4), Compression::default());
    packed.write_all(text).ok()?;
    packed.finish().ok().filter(|packed| packed.len() < text.len()).map(Bytes::from)
}

/// What is known of a route beside its row: `reference/fields.json`.
#[derive(Clone, Default, Deserialize)]
pub(crate) struct Fields {
    /// The fields of the body: name, whether it must be sent, form.
    #[serde(default)]
    pub(crate) body: Vec<(String, bool, String)>,
    /// The fields of the query.
    #[serde(default)]
    pub(crate) query: Vec<(String, bool, String)>,
    /// A body to send.
    pub(crate) example: Option<Json>,
    /// A query to send.
    pub(crate) example_query: Option<String>,
    /// The status of a successful answer.
    pub(crate) status: Option<u16>,
    /// The members of a successful answer.
    pub(crate) answer: Option<Vec<String>>,
    /// What the fields are, by name: `reference/words.json`.
    #[serde(skip)]
    pub(crate) words: BTreeMap<String, String>,
}

/// The fields of all routes.
#[derive(Default)]
pub(crate) struct AllFields(BTreeMap<String, Fields>);

impl AllFields {
    /// Those of a route.
    pub(crate) fn of(&self, route: &Route) -> Fields {
        self.0.get(&format!("{} {}", route.method, route.path)).cloned().unwrap_or_default()
    }
}

/// The files, and the pages that were made of them. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Library(Arc<Inner>);

struct Inner {
    folder: PathBuf,
    fields: OnceLock<Arc<AllFields>>,
    /// By a name of ours, of which there are as many as pages.
    written: Mutex<BTreeMap<String, Written>>,
}

impl FromCall for Library {
    fn from_call(call: &mut Call) -> Result<Self, ApiError> {
        call.held()
    }
}

impl Library {
    /// The folders that `spin.toml` grants.
    pub(crate) fn granted() -> Self {
        Self::at(path::Path::new(GRANTED))
    }

    /// A folder.
    pub(crate) fn at(folder: &path::Path) -> Self {
        Self(Arc::new(Inner { folder: folder.into(), fields: OnceLock::new(), written: Mutex::default() }))
    }

    /// Reads a file. Every release has all of them, so a missing one is the server's fault.
    pub(crate) fn read(&self, name: &str) -> Result<String, ApiError> {
        std::fs::read_to_string(self.0.folder.join(name)).map_err(|error| unreadable(name, error))
    }

    /// The fields of all routes.
    pub(crate) fn fields(&self) -> Result<Arc<AllFields>, ApiError> {
        if let Some(fields) = self.0.fields.get() {
            return Ok(Arc::clone(fields));
        }
        let (name, of_words) = ("reference/fields.json", "reference/words.json");
        let mut fields: BTreeMap<String, Fields> =
            serde_json::from_str(&self.read(name)?).map_err(|error| unreadable(name, error))?;
        let words: BTreeMap<String, BTreeMap<String, String>> =
            serde_json::from_str(&self.read(of_words)?).map_err(|error| unreadable(of_words, error))?;
        for (route, words) in words {
            if let Some(fields) = fields.get_mut(&route) {
                fields.words = words;
            }
        }
        Ok(Arc::clone(self.0.fields.get_or_init(|| Arc::new(AllFields(fields)))))
    }

    /// The page of this name, made if it is asked for the first time.
    pub(crate) fn kept(
        &self,
        name: &str,
        make: impl FnOnce() -> Result<Written, ApiError>,
    ) -> Result<Written, ApiError> {
        if let Some(written) = self.0.written.lock().unwrap_or_else(PoisonError::into_inner).get(name) {
            return Ok(written.clone());
        }
        let made = make()?;
        self.0.written.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned(), made.clone());
        Ok(made)
    }
}

fn unreadable(name: &str, error: impl std::fmt::Display) -> ApiError {
    Code::Internal
        .detail("A page of the documentation cannot be read on this server. The error was logged with this request_id.")
        .cause(format!("docs/{name}: {error}"))
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use flate2::read::GzDecoder;

    use super::*;

    fn sent(written: &Written, headers: &[(&str, &str)]) -> Response {
        written.answer(&Headers::from(headers.iter().copied()))
    }

    /// R164: a client that takes gzip gets a large page packed, and knows either form by its tag.
    #[test]
    fn a_large_page_is_packed_for_clients_that_take_gzip() {
        let text = "Agents and people. ".repeat(500);
        let page = Written::new("text/plain", text.clone());
        for takes in ["gzip", "br, GZIP;q=0.5", "gzip;q=1.0"] {
            let packed = sent(&page, &[("accept-encoding", takes)]);
            assert_eq!(packed.headers()[header::CONTENT_ENCODING], "gzip");
            assert_eq!(packed.headers()[header::VARY], "accept-encoding");
            assert!(packed.headers()[header::ETAG].to_str().unwrap().starts_with("W/\""));
            let Body::Full(bytes) = packed.body() else { panic!("no bytes") };
            let mut unpacked = String::new();
            GzDecoder::new(&bytes[..]).read_to_string(&mut unpacked).unwrap();
            assert_eq!(unpacked, text);
        }
        for takes in ["", "br", "gzip;q=0", "gzip;q=0.000", "gzipped", "*"] {
            let plain = sent(&page, &[("accept-encoding", takes)]);
            assert!(!plain.headers().contains_key(header::CONTENT_ENCODING), "{takes}");
            assert_eq!(plain.headers()[header::VARY], "accept-encoding");
            assert_eq!(plain.body().length(), Some(text.len()));
        }
        let tag = sent(&page, &[]).headers()[header::ETAG].to_str().unwrap().to_owned();
        for known in [tag.clone(), format!("W/{tag}")] {
            let again = sent(&page, &[("accept-encoding", "gzip"), ("if-none-match", &known)]);
            assert_eq!((again.status(), again.body().length()), (StatusCode::NOT_MODIFIED, Some(0)));
            assert_eq!(again.headers()[header::ETAG], format!("W/{tag}"));
            assert!(!again.headers().contains_key(header::CONTENT_ENCODING));
        }
        let small = Written::new("text/plain", "small".to_owned());
        let plain = sent(&small, &[("accept-encoding", "gzip")]);
        assert!(!plain.headers().contains_key(header::CONTENT_ENCODING) && !plain.headers().contains_key(header::VARY));
    }
}
