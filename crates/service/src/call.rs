//! A request on its way to its handler, and what the handler's arguments are made of.

use bytes::Bytes;
use common::{
    error::{ApiError, Code},
    exact,
    route::Route,
};
use http::{Extensions, Method};

use crate::{app::App, caller::Caller, form::Shape, headers::Headers};

/// A request on its way to its handler.
pub struct Call {
    /// The request's view of the instance.
    pub app: App,
    /// The row of the route that was chosen.
    pub route: &'static Route,
    /// The caller; `None` at a public route.
    pub(crate) caller: Option<Caller>,
    pub(crate) body: Option<Result<Bytes, ApiError>>,
    pub(crate) segments: std::vec::IntoIter<String>,
    pub(crate) held: Extensions,
}

impl Call {
    /// The body, or why it could not be read; the error is given once.
    pub(crate) fn body(&mut self) -> Result<Bytes, ApiError> {
        match &self.body {
            Some(Ok(bytes)) => Ok(bytes.clone()),
            Some(Err(_)) | None => self.body.take().unwrap_or(Ok(Bytes::new())),
        }
    }

    /// The body as far as it was read.
    pub(crate) fn body_bytes(&self) -> Bytes {
        match &self.body {
            Some(Ok(bytes)) => bytes.clone(),
            Some(Err(_)) | None => Bytes::new(),
        }
    }

    /// Finds again what the names of the path stand for.
    pub(crate) fn find_names(&mut self) {
        self.segments = exact::names(self.route, self.app.path()).into_iter();
    }

    /// The value of this type that the router holds.
    pub fn held<T: Clone + Send + Sync + 'static>(&self) -> Result<T, ApiError> {
        self.held.get().cloned().ok_or_else(|| ApiError::from(Code::Internal).cause("the router holds no such value"))
    }
}

/// What handlers read of a request, as the types of their arguments say.
#[derive(Clone, Default)]
pub struct Takes {
    /// The fields of the body; `None`: its fields are not known by name, or it takes none.
    pub body: Option<Vec<Shape>>,
    /// The fields of the query.
    pub query: Option<Vec<Shape>>,
}

/// An argument of a handler.
pub trait FromCall: Sized {
    /// Whether it is made of the body.
    const READS_BODY: bool = false;
    /// Whether it changes something in a transaction of its own.
    const CHANGES: bool = false;

    /// Says what it reads of a request.
    fn takes(_: &mut Takes) {}

    /// Makes it, or says why the request is refused.
    fn from_call(call: &mut Call) -> Result<Self, ApiError>;
}

impl FromCall for () {
    fn from_call(_: &mut Call) -> Result<Self, ApiError> {
        Ok(())
    }
}

impl FromCall for App {
    fn from_call(call: &mut Call) -> Result<Self, ApiError> {
        Ok(call.app.clone())
    }
}

impl FromCall for Caller {
    fn from_call(call: &mut Call) -> Result<Self, ApiError> {
        call.caller.clone().ok_or_else(|| ApiError::from(Code::Internal).cause("no caller: a public route"))
    }
}

impl FromCall for &'static Route {
    fn from_call(call: &mut Call) -> Result<Self, ApiError> {
        Ok(call.route)
    }
}

impl FromCall for Headers {
    fn from_call(call: &mut Call) -> Result<Self, ApiError> {
        Ok(call.app.headers().clone())
    }
}

impl FromCall for Method {
    fn from_call(call: &mut Call) -> Result<Self, ApiError> {
        Ok(call.app.head().method.clone())
    }
}
