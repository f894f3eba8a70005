//! Forms: what a body or a query may hold, field by field.
//!
//! [`form!`](crate::form!) declares a struct and how it is read. All that is wrong with a body is told at once: a field that
//! is missing, unknown, sent twice or of the wrong type. What a value means is for the handler.

use axum::body::Body;
use http_body_util::BodyExt;
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{Error as _, MapAccess, SeqAccess, Visitor},
};
use serde_json::{Map, Value as Json};

use crate::{
    error::{ApiError, Code},
    http::Headers,
    idempotency,
    router::{Call, FromCall},
};

/// The largest body that a route takes, bytes.
pub const MAX_BODY: usize = 64 * 1024;

/// What is wrong with a member that is sent twice.
const TWICE: &str = "stands twice";

/// A type that a field can have.
pub trait Field: Sized {
    /// What is expected, to stand behind "must be".
    const EXPECTED: &'static str;

    /// The value that was sent as JSON; `None`: it is of another type.
    fn from_json(value: Json) -> Option<Self>;

    /// The value that was sent in a query; `None`: it is of another type.
    fn from_text(text: String) -> Option<Self> {
        Self::from_json(Json::String(text))
    }

    /// The value when nothing was sent; `None`: the field is required.
    fn left_out() -> Option<Self> {
        None
    }
}

impl Field for String {
    const EXPECTED: &'static str = "a text";

    fn from_json(value: Json) -> Option<Self> {
        match value {
            Json::String(text) => Some(text),
            _ => None,
        }
    }
}

impl Field for i64 {
    const EXPECTED: &'static str = "a whole number";

    fn from_json(value: Json) -> Option<Self> {
        value.as_i64()
    }

    fn from_text(text: String) -> Option<Self> {
        text.parse().ok()
    }
}

impl Field for bool {
    const EXPECTED: &'static str = "true or false";

    fn from_json(value: Json) -> Option<Self> {
        value.as_bool()
    }

    fn from_text(text: String) -> Option<Self> {
        text.parse().ok()
    }
}

impl Field for Vec<String> {
    const EXPECTED: &'static str = "a list of texts";

    fn from_json(value: Json) -> Option<Self> {
        match value {
            Json::Array(items) => items.into_iter().map(String::from_json).collect(),
            _ => None,
        }
    }
}

/// Texts by name, in the order of their names. A list, since they are few: a tree is more code than all forms together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Texts(Vec<(String, String)>);

impl Texts {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Names with their texts.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, text)| (name.as_str(), text.as_str()))
    }
}

impl Serialize for Texts {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter())
    }
}

impl Field for Texts {
    const EXPECTED: &'static str = "an object of texts";

    fn from_json(value: Json) -> Option<Self> {
        let Json::Object(members) = value else { return None };
        let mut texts = Vec::with_capacity(members.len());
        for (name, value) in members {
            let text = String::from_json(value)?;
            let place =
                texts.binary_search_by(|(known, _): &(String, String)| known.cmp(&name)).unwrap_or_else(|at| at);
            texts.insert(place, (name, text));
        }
        Some(Self(texts))
    }
}

impl Field for Map<String, Json> {
    const EXPECTED: &'static str = "an object";

    fn from_json(value: Json) -> Option<Self> {
        match value {
            Json::Object(members) => Some(members),
            _ => None,
        }
    }
}

impl Field for Vec<Map<String, Json>> {
    const EXPECTED: &'static str = "a list of objects";

    fn from_json(value: Json) -> Option<Self> {
        match value {
            Json::Array(items) => items.into_iter().map(Map::from_json).collect(),
            _ => None,
        }
    }
}

/// A field that may be left out, but not be null: null would mean nothing, and what is sent is never dropped.
impl<T: Field> Field for Option<T> {
    const EXPECTED: &'static str = T::EXPECTED;

    fn from_json(value: Json) -> Option<Self> {
        T::from_json(value).map(Some)
    }

    fn from_text(text: String) -> Option<Self> {
        T::from_text(text).map(Some)
    }

    fn left_out() -> Option<Self> {
        Some(None)
    }
}

/// A field for which null means something: "none" or "never". As `Option<OrNull<T>>` it tells null from left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrNull<T>(pub Option<T>);

impl<T: Field> Field for OrNull<T> {
    const EXPECTED: &'static str = T::EXPECTED;

    fn from_json(value: Json) -> Option<Self> {
        match value {
            Json::Null => Some(Self(None)),
            other => T::from_json(other).map(|value| Self(Some(value))),
        }
    }
}

/// A struct that is read from a body or a query; made by [`form!`](crate::form!).
pub trait Form: Sized {
    /// Its fields.
    const FIELDS: &'static [&'static str];

    /// Takes its fields. `None`: something is wrong with one of them, and `sent` knows what.
    fn read(sent: &mut Sent) -> Option<Self>;
}

/// Declares a form: a struct whose fields are [`Field`](crate::form::Field)s.
#[macro_export]
macro_rules! form {
    ($(#[$meta:meta])* $vis:vis struct $name:ident {
        $($(#[$about:meta])* $inner:vis $field:ident: $type:ty),* $(,)?
    }) => {
        $(#[$meta])*
        $vis struct $name {
            $($(#[$about])* $inner $field: $type),*
        }

        impl $crate::form::Form for $name {
            const FIELDS: &'static [&'static str] = &[$($crate::form::plain(stringify!($field))),*];

            fn read(sent: &mut $crate::form::Sent) -> Option<Self> {
                $(let $field = sent.take::<$type>($crate::form::plain(stringify!($field)));)*
                let _ = &sent;
                Some(Self { $($field: $field?),* })
            }
        }
    };
}

/// A field's name without the `r#` that lets it be a word of Rust's.
#[doc(hidden)]
pub const fn plain(name: &'static str) -> &'static str {
    match name.as_bytes() {
        [b'r', b'#', ..] => name.split_at(2).1,
        _ => name,
    }
}

/// What was sent, less what was taken, and what is wrong with it.
pub struct Sent {
    values: Map<String, Json>,
    is_query: bool,
    problems: Vec<Json>,
}

impl Sent {
    /// Takes the field of this name.
    pub fn take<T: Field>(&mut self, name: &'static str) -> Option<T> {
        let read = match (self.values.shift_remove(name), self.is_query) {
            (None, _) => {
                let default = T::left_out();
                if default.is_none() {
                    self.problem(name, "is missing");
                }
                return default;
            }
            (Some(Json::String(text)), true) => T::from_text(text),
            (Some(value), _) => T::from_json(value),
        };
        if read.is_none() {
            self.problem(name, &format!("must be {}", T::EXPECTED));
        }
        read
    }

    fn problem(&mut self, field: &str, problem: &str) {
        self.problems.push(serde_json::json!({ "field": field, "problem": problem }));
    }

    /// Reads the form. What it has not taken is unknown. `place` is told before the names of fields.
    fn read_at<T: Form>(mut self, place: &str) -> Result<T, ApiError> {
        let form = T::read(&mut self);
        match (form, self.refusal(T::FIELDS, place)) {
            (Some(form), None) => Ok(form),
            (_, refusal) => Err(refusal.unwrap_or_else(|| Code::ValidationError.into())),
        }
    }

    fn read<T: Form>(self) -> Result<T, ApiError> {
        self.read_at("")
    }

    fn refusal(mut self, known: &[&str], place: &str) -> Option<ApiError> {
        if self.values.is_empty() && self.problems.is_empty() {
            return None;
        }
        let unknown: Vec<String> = self.values.keys().cloned().collect();
        let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
        for name in unknown {
            self.problem(&name, &format!("is not known here; known are: {known}"));
        }
        for problem in &mut self.problems {
            if let Some(Json::String(field)) = problem.get_mut("field") {
                field.insert_str(0, place);
            }
        }
        Some(ApiError::from(Code::ValidationError).extra("fields", self.problems))
    }
}

/// Reads an object that stands inside of a body into a form; `place` is told before the names of its fields.
pub fn nested<T: Form>(place: &str, values: Map<String, Json>) -> Result<T, ApiError> {
    Sent { values, is_query: false, problems: Vec::new() }.read_at(place)
}

/// The query, read into a form.
pub struct Params<T>(pub T);

impl<T: Form> FromCall for Params<T> {
    fn from_call(call: &mut Call) -> Result<Self, ApiError> {
        query(call.app.head().uri.query().unwrap_or_default())?.read().map(Params)
    }
}

fn query(text: &str) -> Result<Sent, ApiError> {
    let mut values = Map::new();
    for (name, value) in form_urlencoded::parse(text.as_bytes()) {
        if values.insert(name.clone().into_owned(), Json::String(value.into_owned())).is_some() {
            return Err(ApiError::field(name, TWICE));
        }
    }
    Ok(Sent { values, is_query: true, problems: Vec::new() })
}

/// What a DELETE names beside its path: in the query, or else in a body, since many clients cannot send one with DELETE.
pub struct Wish<T>(pub T);

impl<T: Form> FromCall for Wish<T> {
    const READS_BODY: bool = true;

    fn from_call(call: &mut Call) -> Result<Self, ApiError> {
        let bytes = call.take_body()?;
        match call.app.head().uri.query() {
            Some(text) => query(text)?.read().map(Self),
            None => object(&bytes)?.read().map(Self),
        }
    }
}

/// The pairs of a form (`application/x-www-form-urlencoded`), for protocols that send one.
pub struct Pairs(pub Vec<(String, String)>);

impl FromCall for Pairs {
    const READS_BODY: bool = true;

    fn from_call(call: &mut Call) -> Result<Self, ApiError> {
        let bytes = call.take_body()?;
        Ok(Self(form_urlencoded::parse(&bytes).into_owned().collect()))
    }
}

/// The body, read into a form, and what `Idempotency-Key` asks for.
pub struct Ask<T> {
    /// The form.
    pub body: T,
    /// What to keep, when a key was sent to a route that keeps answers.
    pub kept: Option<idempotency::Request>,
}

form! {
    /// The form of a route that takes no body.
    pub struct Nothing {}
}

impl<T: Form> FromCall for Ask<T> {
    const READS_BODY: bool = true;

    fn from_call(call: &mut Call) -> Result<Self, ApiError> {
        let bytes = call.take_body()?;
        let body = object(&bytes)?.read()?;
        Ok(Self { body, kept: kept(call, &bytes)? })
    }
}

fn kept(call: &Call, bytes: &[u8]) -> Result<Option<idempotency::Request>, ApiError> {
    match &call.caller {
        Some(caller) if call.route.is_idempotent => {
            let (headers, path) = (&call.app.head().headers, call.app.head().uri.path());
            idempotency::Request::read(headers, caller, call.route.method, path, bytes)
        }
        _ => Ok(None),
    }
}

/// Reads a body, which must not be larger than [`MAX_BODY`].
pub(crate) async fn read_body(headers: &Headers, mut body: Body) -> Result<Vec<u8>, ApiError> {
    let declared = headers.first("content-length").and_then(|length| length.parse::<u64>().ok());
    if declared.is_some_and(|length| length > MAX_BODY as u64) {
        return Err(Code::BodyTooLarge.into());
    }
    // Copied piece by piece: each piece comes in a buffer of its own, and kept, those of single bytes would fill the memory.
    let mut bytes = Vec::new();
    // The host holds a body to its declared length; asking it for the end of what is complete would cost two more calls.
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
    Ok(bytes)
}

/// Reads a JSON object. An empty body is the empty object, for routes whose fields can all be left out.
fn object(bytes: &[u8]) -> Result<Sent, ApiError> {
    let text = std::str::from_utf8(bytes).map_err(|_| Code::InvalidJson.detail("The body is not UTF-8."))?;
    let text = if text.trim().is_empty() { "{}" } else { text };
    let Strict(json) = serde_json::from_str(text).map_err(|error| {
        if error.is_data() {
            // The one thing that our own reader refuses; its words hold the member's name alone.
            let words = error.to_string();
            return ApiError::field(words.rsplit_once(" at line ").map_or(words.as_str(), |(name, _)| name), TWICE);
        }
        Code::InvalidJson.detail(format!(
            "The body is not JSON: it breaks at line {}, column {}.",
            error.line(),
            error.column()
        ))
    })?;
    match json {
        Json::Object(values) => Ok(Sent { values, is_query: false, problems: Vec::new() }),
        _ => Err(ApiError::field("", "the body must be a JSON object")),
    }
}

/// Reads JSON that was stored; `None`: it is none.
pub fn json(text: &str) -> Option<Json> {
    serde_json::from_str(text).ok().map(|Strict(json)| json)
}

/// JSON as text: a value has no part that cannot be written. Not `to_string`, which would be one more writer of JSON in each
/// component.
pub fn written(json: &Json) -> String {
    serde_json::to_string(json).unwrap_or_default()
}

/// JSON in which no member stands twice: a reader that keeps one of the two would drop what was sent.
struct Strict(Json);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(StrictReader).map(Self)
    }
}

struct StrictReader;

impl<'de> Visitor<'de> for StrictReader {
    type Value = Json;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Json, E> {
        Ok(Json::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Json, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Json, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Json, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Json, E> {
        Ok(Json::String(value.to_owned()))
    }

    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Json, A::Error> {
        let mut list = Vec::new();
        while let Some(Strict(item)) = items.next_element()? {
            list.push(item);
        }
        Ok(Json::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Json, A::Error> {
        let mut object = Map::new();
        while let Some((name, Strict(value))) = members.next_entry::<String, _>()? {
            if object.contains_key(&name) {
                return Err(A::Error::custom(name));
            }
            object.insert(name, value);
        }
        Ok(Json::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    form! {
        #[derive(Debug)]
        struct Example {
            name: String,
            days: Option<OrNull<i64>>,
            r#type: Option<String>,
        }
    }

    fn read(body: &str) -> Result<Example, ApiError> {
        object(body.as_bytes()).and_then(Sent::read)
    }

    fn problems(refusal: &ApiError) -> Vec<(String, String)> {
        assert_eq!(refusal.code(), Code::ValidationError);
        let envelope = serde_json::to_value(refusal.envelope("req_1", "", None)).unwrap();
        let text = |value: &Json| value.as_str().unwrap().to_owned();
        envelope["fields"].as_array().unwrap().iter().map(|at| (text(&at["field"]), text(&at["problem"]))).collect()
    }

    #[test]
    fn a_form_is_read_and_null_differs_from_left_out() {
        assert_eq!(Example::FIELDS, ["name", "days", "type"]);
        let read_all = read(r#"{"name": "a", "days": null, "type": "x"}"#).unwrap();
        assert_eq!((read_all.days, read_all.r#type.as_deref()), (Some(OrNull(None)), Some("x")));
        let least = read(r#"{"name": "a"}"#).unwrap();
        assert_eq!((least.name.as_str(), least.days), ("a", None));
        assert_eq!(read(r#"{"name": "a", "days": 3}"#).unwrap().days, Some(OrNull(Some(3))));
    }

    #[test]
    fn all_that_is_wrong_is_told_at_once() {
        let refusal = read(r#"{"days": 1.5, "type": null, "x": 1, "y": 2}"#).unwrap_err();
        let known = "is not known here; known are: name, days, type";
        let expected = [
            ("name", "is missing"),
            ("days", "must be a whole number"),
            ("type", "must be a text"),
            ("x", known),
            ("y", known),
        ];
        assert_eq!(problems(&refusal), expected.map(|(field, problem)| (field.to_owned(), problem.to_owned())));
    }

    #[test]
    fn what_stands_twice_is_refused_at_any_depth() {
        for body in [r#"{"name": "a", "name": "b"}"#, r#"{"name": {"b": 1, "b": 2}}"#] {
            let told = problems(&read(body).unwrap_err());
            assert!(["name", "b"].contains(&told[0].0.as_str()) && told[0].1 == TWICE, "{told:?}");
        }
        assert_eq!(problems(&query("a=1&a=2").err().unwrap()), [("a".to_owned(), TWICE.to_owned())]);
    }

    #[test]
    fn what_is_no_json_object_is_told_so() {
        for body in ["{", "{\"a\":1}x", "nonsense"] {
            assert_eq!(read(body).unwrap_err().code(), Code::InvalidJson, "{body}");
        }
        assert!(object(b"\xff").is_err_and(|refusal| refusal.code() == Code::InvalidJson));
        for body in ["[]", "1", "null", "\"a\""] {
            assert_eq!(problems(&read(body).unwrap_err())[0].0, "", "{body}");
        }
        assert!(read(&format!("{}{}", "[".repeat(5_000), "]".repeat(5_000))).is_err());
    }
}
