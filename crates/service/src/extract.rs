//! The extractors: a body, a query, a segment of the path.

use bytes::Bytes;
use common::error::{ApiError, Code};
use http_body_util::BodyExt;

use crate::{
    body,
    call::{Call, FromCall},
    form,
    form::{Form, Input},
    headers::Headers,
};

/// The largest body that a route takes, bytes.
pub const MAX_BODY: usize = 64 * 1024;

/// The body: a JSON object, read into a form.
pub struct Body<T>(pub T);

impl<T: Form> FromCall for Body<T> {
    const READS_BODY: bool = true;

    fn from_call(call: &mut Call) -> Result<Self, ApiError> {
        Input::body(&call.body()?)?.read().map(Self)
    }
}

form! {
    /// The form of a route whose body has no fields.
    pub struct Empty {}
}

/// The query, read into a form.
pub struct Query<T>(pub T);

impl<T: Form> FromCall for Query<T> {
    fn from_call(call: &mut Call) -> Result<Self, ApiError> {
        Input::query(call.app.head().uri.query().unwrap_or_default())?.read().map(Self)
    }
}

/// The query, or without one the body: for a DELETE that names more than its path does, since many clients send no body with DELETE.
pub struct QueryOrBody<T>(pub T);

impl<T: Form> FromCall for QueryOrBody<T> {
    const READS_BODY: bool = true;

    fn from_call(call: &mut Call) -> Result<Self, ApiError> {
        let bytes = call.body()?;
        match call.app.head().uri.query() {
            Some(text) => Input::query(text)?.read().map(Self),
            None => Input::body(&bytes)?.read().map(Self),
        }
    }
}

/// The pairs of a body of type `application/x-www-form-urlencoded`, for protocols that send one.
pub struct UrlEncoded(pub Vec<(String, String)>);

impl FromCall for UrlEncoded {
    const READS_BODY: bool = true;

    fn from_call(call: &mut Call) -> Result<Self, ApiError> {
        Ok(Self(form_urlencoded::parse(&call.body()?).into_owned().collect()))
    }
}

/// One segment of the path, percent-decoded. What cannot be a name is the name of nothing: the look-up gives 404.
pub struct Path(pub String);

impl FromCall for Path {
    fn from_call(call: &mut Call) -> Result<Self, ApiError> {
        Ok(Self(call.segments.next().unwrap_or_default()))
    }
}

/// The next segment, if the pattern has one more name.
impl FromCall for Option<Path> {
    fn from_call(call: &mut Call) -> Result<Self, ApiError> {
        Ok(call.segments.next().map(Path))
    }
}

/// Reads a body, which must not be larger than [`MAX_BODY`].
pub(crate) async fn read_body(headers: &Headers, mut body: body::Body) -> Result<Bytes, ApiError> {
    let declared = headers.first("content-length").and_then(|length| length.parse::<u64>().ok());
    if declared.is_some_and(|length| length > MAX_BODY as u64) {
        return Err(Code::BodyTooLarge.into());
    }
    // Copied piece by piece: each piece comes in a buffer of its own, and kept, those of single bytes would fill the memory.
    let mut bytes = Vec::new();
    // The host enforces the declared length; asking it for the end of a complete body would cost two more calls.
    while declared.is_none_or(|length| (bytes.len() as u64) < length) {
        let cut_off = || Code::InvalidJson.detail("The body ended before it was complete.");
        let frame = match body.frame().await {
            Some(frame) => frame.map_err(|_| cut_off())?,
            None if declared.is_some() => return Err(cut_off()),
            None => break,
        };
        let Some(piece) = frame.data_ref() else { continue };
        if bytes.len() + piece.len() > MAX_BODY {
            return Err(Code::BodyTooLarge.into());
        }
        bytes.extend_from_slice(piece);
    }
    Ok(bytes.into())
}
