//! The files that `spin.toml` grants, and the pages that were made of them: each is made once in an instance.

use std::{
    collections::BTreeMap,
    path::{self, PathBuf},
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use common::{
    error::{ApiError, Code},
    route::Route,
};
use http::StatusCode;
use serde::Deserialize;
use serde_json::Value as Json;
use service::{
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

/// A page as it is sent.
#[derive(Clone)]
pub(crate) struct Written {
    media_type: &'static str,
    fresh: Fresh,
}

impl Written {
    pub(crate) fn new(media_type: &'static str, text: String) -> Self {
        Self { media_type, fresh: Fresh::new(text) }
    }

    /// The page, or 304 for a client that has it.
    pub(crate) fn answer(&self, headers: &Headers) -> Response {
        self.fresh.answer(headers, StatusCode::OK, self.media_type)
    }
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
        let name = "reference/fields.json";
        let fields = serde_json::from_str(&self.read(name)?).map_err(|error| unreadable(name, error))?;
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
