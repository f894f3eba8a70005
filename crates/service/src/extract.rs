//! The extractors: a body, a query, a segment of the path.

use bytes::Bytes;
use common::{
    error::{ApiError, Code, RefusalHeader},
    json::BYTE_ORDER_MARK,
    route::{Media, Route},
};

use crate::{
    body::{RequestBody, Unusable},
    call::{Call, FromCall, Takes},
    form,
    form::{Form, Input},
    headers::Headers,
};

/// The body: a JSON object, read into a form.
pub struct Body<T>(pub T);

impl<T: Form> FromCall for Body<T> {
    const READS_BODY: bool = true;

    fn takes(takes: &mut Takes) {
        takes.body = Some(T::shapes());
    }

    fn from_call(call: &mut Call) -> Result<Self, ApiError> {
        Input::body(&call.body()?, call.route.secrets)?.read().map(Self)
    }
}

form! {
    /// The form of a route whose body has no fields.
    pub struct Empty {}
}

/// The query, read into a form.
pub struct Query<T>(pub T);

impl<T: Form> FromCall for Query<T> {
    fn takes(takes: &mut Takes) {
        takes.query = Some(T::shapes());
    }

    fn from_call(call: &mut Call) -> Result<Self, ApiError> {
        Input::query(call.app.head().uri.query().unwrap_or_default())?.read().map(Self)
    }
}

/// The query, or without one the body: for a DELETE that names more than its path does, since many clients send no body with DELETE.
pub struct QueryOrBody<T>(pub T);

impl<T: Form> FromCall for QueryOrBody<T> {
    const READS_BODY: bool = true;

    fn takes(takes: &mut Takes) {
        takes.query = Some(T::shapes());
    }

    fn from_call(call: &mut Call) -> Result<Self, ApiError> {
        let bytes = call.body()?;
        match call.app.head().uri.query() {
            Some(text) => {
                Input::body(&bytes, &[])?.read::<Empty>()?; // what the query says stands nowhere else
                Input::query(text)?.read().map(Self)
            }
            None => Input::body(&bytes, &[])?.read().map(Self),
        }
    }
}

/// The body as it was sent, byte for byte, for what is signed.
pub struct Raw(pub Bytes);

impl FromCall for Raw {
    const READS_BODY: bool = true;

    fn from_call(call: &mut Call) -> Result<Self, ApiError> {
        call.body().map(Self)
    }
}

/// The pairs of a body of type `application/x-www-form-urlencoded`, for protocols that send one. Such protocols send credentials, and
/// what they send is compared and never kept: these texts are not searched for credentials.
pub struct UrlEncoded(pub Vec<(String, String)>);

impl FromCall for UrlEncoded {
    const READS_BODY: bool = true;

    fn from_call(call: &mut Call) -> Result<Self, ApiError> {
        let bytes = call.body()?;
        // Read as it is, or not at all: a text that was repaired is another one than was sent.
        if percent_encoding::percent_decode(&bytes).decode_utf8().is_err() {
            let refusal = Code::InvalidRequest.detail("The form is not UTF-8.");
            return Err(refusal.fix("Send the form (application/x-www-form-urlencoded) in UTF-8, percent-encoded."));
        }
        Ok(Self(form_urlencoded::parse(&bytes).into_owned().collect()))
    }
}

/// One segment of the path, percent-decoded. A text that cannot be a name names nothing: the look-up returns 404.
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

/// Reads a body, which must not be larger than the row allows. One that is not empty must say that it is of the type of the row: a page of
/// another site can send neither JSON nor a credential without asking first, but any text without a type of its own.
pub(crate) async fn read_body(route: &Route, headers: &Headers, body: RequestBody) -> Result<Bytes, ApiError> {
    let declared = headers.first("content-length").and_then(|length| length.parse().ok());
    let most = route.most_body;
    let bytes = body.read(declared, most).await.map_err(|unusable| match unusable {
        Unusable::TooLong => {
            let detail = format!("The body is larger than {} KiB.", most / 1024);
            Code::BodyTooLarge.detail(detail).with("most", most.to_string())
        }
        Unusable::TooSlow => Code::BodyTooSlow.into(),
        Unusable::CutOff => Code::InvalidJson.detail("The body ended before it was complete."),
    })?;
    if bytes.is_empty() {
        return Ok(bytes);
    }
    // What was sent stands behind a coding that is not undone here.
    if headers.first("content-encoding").is_some_and(|sent| !sent.trim_ascii().eq_ignore_ascii_case("identity")) {
        let refusal = Code::UnsupportedMediaType.detail("The body has a Content-Encoding. This server takes none.");
        let refusal = refusal.fix("Send the body as it is, not compressed, without the header Content-Encoding.");
        return Err(refusal.header(RefusalHeader::AcceptEncoding, "identity"));
    }
    let media = route.media.as_str();
    if route.media == Media::Any || headers.first("content-type").is_some_and(|sent| is_of(&sent, media)) {
        return Ok(if route.media == Media::Json { without_mark(bytes) } else { bytes });
    }
    Err(Code::UnsupportedMediaType.with("type", media).header(RefusalHeader::Accept, media))
}

/// JSON without the byte order mark that some programs put before a text; a reader may pass over one (RFC 8259, section 8.1).
fn without_mark(bytes: Bytes) -> Bytes {
    if bytes.starts_with(BYTE_ORDER_MARK.as_bytes()) { bytes.slice(BYTE_ORDER_MARK.len()..) } else { bytes }
}

/// Whether the value of a `Content-Type` is of a media type, whatever its parameters (RFC 9110, section 8.3.1).
fn is_of(sent: &str, media: &str) -> bool {
    sent.trim_ascii().split_at_checked(media.len()).is_some_and(|(name, rest)| {
        name.eq_ignore_ascii_case(media) && (rest.is_empty() || rest.trim_ascii_start().starts_with(';'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// R748
    #[test]
    fn a_byte_order_mark_is_no_part_of_json() {
        for (sent, read) in [("\u{feff}{}", "{}"), ("{}", "{}"), ("\u{feff}", ""), ("\u{feff}\u{feff}", "\u{feff}")] {
            assert_eq!(without_mark(Bytes::from(sent)), read, "{sent:?}");
        }
    }

    /// R84
    #[test]
    fn a_media_type_is_read_without_its_parameters_and_in_any_case() {
        for sent in ["application/json", "Application/JSON", "application/json; charset=utf-8", " application/json ;x"]
        {
            assert!(is_of(sent, "application/json"), "{sent}");
        }
        for sent in
            ["", "text/plain", "text/plain; application/json", "application/json, text/plain", "application/jso"]
        {
            assert!(!is_of(sent, "application/json"), "{sent}");
        }
    }
}
