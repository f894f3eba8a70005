//! Forms: the fields that a body or a query may hold.
//!
//! [`form!`](crate::form!) declares a struct and how it is read. All errors in a body are reported at once: a field that
//! is missing, unknown, sent twice or of the wrong type. The handler decides what a value means.

use std::collections::BTreeMap;

use common::{
    error::{ApiError, Code},
    json,
    secret::Secret,
    text::{credential_in, holds_credential, part},
};
use serde_json::{Map, Value as Json};
use store::page::Order;

/// The error of a member that is sent twice.
const TWICE: &str = "is sent twice";

/// A type that a field can have.
pub trait Field: Sized {
    /// The expected value, in words that follow "must be".
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

    /// The expected value, with what only its type knows.
    fn expected() -> String {
        Self::EXPECTED.to_owned()
    }

    /// The expected value as a JSON Schema.
    fn schema() -> Json {
        serde_json::json!({ "description": Self::EXPECTED })
    }
}

impl Field for String {
    const EXPECTED: &'static str = "a string";

    fn schema() -> Json {
        typed("string")
    }

    fn from_json(value: Json) -> Option<Self> {
        match value {
            Json::String(text) => Some(text),
            _ => None,
        }
    }
}

/// The JSON Schema of a type without anything more to it.
fn typed(name: &str) -> Json {
    serde_json::json!({ "type": name })
}

impl Field for i64 {
    const EXPECTED: &'static str = "a whole number";

    fn schema() -> Json {
        typed("integer")
    }

    fn from_json(value: Json) -> Option<Self> {
        json::whole(&value)
    }

    fn from_text(text: String) -> Option<Self> {
        text.parse().ok()
    }
}

impl Field for bool {
    const EXPECTED: &'static str = "true or false";

    fn schema() -> Json {
        typed("boolean")
    }

    fn from_json(value: Json) -> Option<Self> {
        value.as_bool()
    }

    fn from_text(text: String) -> Option<Self> {
        text.parse().ok()
    }
}

impl Field for Vec<String> {
    const EXPECTED: &'static str = "a list of strings";

    fn schema() -> Json {
        serde_json::json!({ "type": "array", "items": String::schema() })
    }

    fn from_json(value: Json) -> Option<Self> {
        match value {
            Json::Array(items) => items.into_iter().map(String::from_json).collect(),
            _ => None,
        }
    }
}

impl Field for BTreeMap<String, String> {
    const EXPECTED: &'static str = "an object whose values are strings";

    fn schema() -> Json {
        serde_json::json!({ "type": "object", "additionalProperties": String::schema() })
    }

    fn from_json(value: Json) -> Option<Self> {
        let Json::Object(members) = value else { return None };
        members.into_iter().map(|(name, value)| Some((name, String::from_json(value)?))).collect()
    }
}

impl Field for Map<String, Json> {
    const EXPECTED: &'static str = "an object";

    fn schema() -> Json {
        typed("object")
    }

    fn from_json(value: Json) -> Option<Self> {
        match value {
            Json::Object(members) => Some(members),
            _ => None,
        }
    }
}

/// JSON of any kind, as it was sent.
impl Field for Json {
    const EXPECTED: &'static str = "JSON";

    fn from_json(value: Json) -> Option<Self> {
        Some(value)
    }
}

impl Field for Vec<Map<String, Json>> {
    const EXPECTED: &'static str = "a list of objects";

    fn schema() -> Json {
        serde_json::json!({ "type": "array", "items": Map::schema() })
    }

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

    fn expected() -> String {
        T::expected()
    }

    fn schema() -> Json {
        T::schema()
    }
}

/// A list of objects, each to be read into a form by [`nested`]. The problem of one that is no list of objects names their fields.
pub struct Objects<T> {
    /// The objects.
    pub items: Vec<Map<String, Json>>,
    of: std::marker::PhantomData<fn() -> T>,
}

impl<T: Form> Field for Objects<T> {
    const EXPECTED: &'static str = "a list of objects";

    fn from_json(value: Json) -> Option<Self> {
        Vec::from_json(value).map(|items| Self { items, of: std::marker::PhantomData })
    }

    fn expected() -> String {
        format!("{} {}", Self::EXPECTED, braced(T::fields()))
    }

    fn schema() -> Json {
        serde_json::json!({ "type": "array", "items": object(T::shapes()) })
    }
}

/// An object, to be read into a form by [`nested`].
pub struct Object<T> {
    /// Its members.
    pub members: Map<String, Json>,
    of: std::marker::PhantomData<fn() -> T>,
}

impl<T: Form> Field for Object<T> {
    const EXPECTED: &'static str = "an object";

    fn from_json(value: Json) -> Option<Self> {
        Map::from_json(value).map(|members| Self { members, of: std::marker::PhantomData })
    }

    fn expected() -> String {
        format!("{} {}", Self::EXPECTED, braced(T::fields()))
    }

    fn schema() -> Json {
        object(T::shapes())
    }
}

/// The names of fields as an object is written.
fn braced(fields: Vec<&'static str>) -> String {
    format!("{{{}}}", fields.join(", "))
}

/// A field of a form, as it is described to others.
#[derive(Clone)]
pub struct Shape {
    /// The name.
    pub name: &'static str,
    /// Whether it must be sent.
    pub is_required: bool,
    /// The expected value, in words.
    pub expected: String,
    /// The expected value as a JSON Schema.
    pub schema: Json,
}

impl Shape {
    /// The field of this name and type.
    pub fn of<T: Field>(name: &'static str) -> Self {
        Self { name, is_required: T::left_out().is_none(), expected: T::expected(), schema: T::schema() }
    }
}

/// The JSON Schema of an object with these fields and no others.
pub fn object(shapes: Vec<Shape>) -> Json {
    let required: Vec<&str> = shapes.iter().filter(|shape| shape.is_required).map(|shape| shape.name).collect();
    let mut schema = serde_json::json!({ "type": "object", "additionalProperties": false });
    if let Some(members) = schema.as_object_mut() {
        if !required.is_empty() {
            members.insert("required".to_owned(), required.into());
        }
        let fields: Map<String, Json> = shapes.into_iter().map(|shape| (shape.name.to_owned(), shape.schema)).collect();
        members.insert("properties".to_owned(), fields.into());
    }
    schema
}

/// A field for which null means something: "none" or "never". As `Option<Nullable<T>>` it distinguishes null from left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Nullable<T>(pub Option<T>);

impl<T: Field> Field for Nullable<T> {
    const EXPECTED: &'static str = T::EXPECTED;

    fn from_json(value: Json) -> Option<Self> {
        match value {
            Json::Null => Some(Self(None)),
            other => T::from_json(other).map(|value| Self(Some(value))),
        }
    }

    fn expected() -> String {
        format!("{} or null", T::expected())
    }

    fn schema() -> Json {
        let mut schema = T::schema();
        if let Some(name) = schema.get_mut("type") {
            *name = serde_json::json!([*name, "null"]);
        }
        schema
    }
}

/// A struct that is read from a body or a query; made by [`form!`](crate::form!).
pub trait Form: Sized {
    /// The names of its fields.
    fn fields() -> Vec<&'static str>;

    /// Its fields, as they are described to others.
    fn shapes() -> Vec<Shape>;

    /// Takes its fields. `None`: something is wrong with one of them, and `input` knows what.
    fn read(input: &mut Input) -> Option<Self>;
}

/// Declares a form: a struct whose fields are [`Field`](crate::form::Field)s. `..name: Other` takes in the fields of another form.
#[macro_export]
macro_rules! form {
    ($(#[$meta:meta])* $vis:vis struct $name:ident {
        $($(#[$about:meta])* $inner:vis $field:ident: $type:ty,)*
        $(..$(#[$part_about:meta])* $part_vis:vis $part:ident: $part_type:ty,)*
    }) => {
        $(#[$meta])*
        $vis struct $name {
            $($(#[$about])* $inner $field: $type,)*
            $($(#[$part_about])* $part_vis $part: $part_type,)*
        }

        impl $crate::form::Form for $name {
            fn fields() -> Vec<&'static str> {
                let own: &[&'static str] = &[$($crate::form::plain(stringify!($field))),*];
                own.iter().copied()$(.chain(<$part_type as $crate::form::Form>::fields()))*.collect()
            }

            fn shapes() -> Vec<$crate::form::Shape> {
                let own = [$($crate::form::Shape::of::<$type>($crate::form::plain(stringify!($field)))),*];
                own.into_iter()$(.chain(<$part_type as $crate::form::Form>::shapes()))*.collect()
            }

            fn read(input: &mut $crate::form::Input) -> Option<Self> {
                $(let $field = input.take::<$type>($crate::form::plain(stringify!($field)));)*
                $(let $part = <$part_type as $crate::form::Form>::read(input);)*
                let _ = &input;
                Some(Self { $($field: $field?,)* $($part: $part?,)* })
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

/// The members of a body that may have others than are known here, looked at as those of a form are.
pub fn members(body: &[u8]) -> Result<Map<String, Json>, ApiError> {
    Input::body(body, &[]).map(|input| input.values)
}

/// The fields that were sent and not taken yet, and the errors found in them.
pub struct Input {
    values: Map<String, Json>,
    is_query: bool,
    problems: Vec<Json>,
}

impl Input {
    fn new(values: Map<String, Json>, is_query: bool) -> Self {
        Self { values, is_query, problems: Vec::new() }
    }

    /// Reads a query.
    pub(crate) fn query(text: &str) -> Result<Self, ApiError> {
        // Read as it is, or not at all: a filter that was repaired finds something else.
        if percent_encoding::percent_decode_str(text).decode_utf8().is_err() {
            let refusal = Code::InvalidRequest.detail("The query is not UTF-8.");
            return Err(refusal.fix("Send the query in UTF-8, percent-encoded."));
        }
        let mut values = Map::new();
        for (name, value) in form_urlencoded::parse(text.as_bytes()) {
            if values.insert(name.clone().into_owned(), Json::String(value.into_owned())).is_some() {
                return Err(ApiError::field(name, TWICE));
            }
        }
        Ok(Self::new(values, true))
    }

    /// Reads a body that is a JSON object. An empty body is the empty object, for routes whose fields can all be left out. No text in
    /// it may hold one of our credentials, but for the fields of `secrets`: texts are stored, shown to others and audited.
    pub(crate) fn body(bytes: &[u8], secrets: &[&str]) -> Result<Self, ApiError> {
        let text = std::str::from_utf8(bytes).map_err(|_| Code::InvalidJson.detail("The body is not UTF-8."))?;
        let text = if text.trim().is_empty() { "{}" } else { text };
        if json::is_too_deep(text) {
            return Err(Code::InvalidJson.detail("The body has more than 64 levels of lists and objects."));
        }
        let json = json::parse_strict(text).map_err(|error| {
            if error.is_data() {
                // A repeated member, the only thing that our own reader refuses; the text begins with its name.
                let words = error.to_string();
                if Secret::is_in(words.as_bytes()) {
                    return credential_in("");
                }
                return ApiError::field(words.rsplit_once(" at line ").map_or(words.as_str(), |(name, _)| name), TWICE);
            }
            Code::InvalidJson.detail(format!(
                "The body is not JSON: the error is at line {}, column {}.",
                error.line(),
                error.column()
            ))
        })?;
        match json {
            Json::Object(values) => {
                for (name, value) in &values {
                    // A name that holds one is not repeated.
                    if Secret::is_in(name.as_bytes()) {
                        return Err(credential_in(""));
                    }
                    if holds_credential(value) && !secrets.contains(&name.as_str()) {
                        return Err(credential_in(name));
                    }
                }
                Ok(Self::new(values, false))
            }
            _ => Err(ApiError::field("", "the body must be a JSON object")),
        }
    }

    /// Takes the field of this name.
    pub fn take<T: Field>(&mut self, name: &'static str) -> Option<T> {
        let read = match (self.values.shift_remove(name), self.is_query) {
            (None, _) => {
                let default = T::left_out();
                if default.is_none() {
                    self.problem(name, &format!("is missing: {}", T::expected()));
                }
                return default;
            }
            (Some(Json::String(text)), true) => T::from_text(text),
            (Some(value), _) => T::from_json(value),
        };
        if read.is_none() {
            self.problem(name, &format!("must be {}", T::expected()));
        }
        read
    }

    fn problem(&mut self, field: &str, problem: &str) {
        self.problems.push(serde_json::json!({ "field": field, "problem": problem }));
    }

    /// Reads the form. A field that it has not taken is unknown. `place` stands before the names of fields in refusals.
    fn read_at<T: Form>(mut self, place: &str) -> Result<T, ApiError> {
        let form = T::read(&mut self);
        match (form, self.refusal(&T::fields(), place)) {
            (Some(form), None) => Ok(form),
            (_, refusal) => Err(refusal.unwrap_or_else(|| Code::ValidationError.into())),
        }
    }

    pub(crate) fn read<T: Form>(self) -> Result<T, ApiError> {
        self.read_at("")
    }

    fn refusal(mut self, known: &[&str], place: &str) -> Option<ApiError> {
        if self.values.is_empty() && self.problems.is_empty() {
            return None;
        }
        let unknown: Vec<String> = self.values.keys().cloned().collect();
        let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
        for name in unknown {
            self.problem(&name, &format!("is unknown; the known fields are: {known}"));
        }
        for problem in &mut self.problems {
            if let Some(Json::String(field)) = problem.get_mut("field") {
                field.insert_str(0, place);
            }
        }
        Some(ApiError::from(Code::ValidationError).extra("fields", self.problems))
    }
}

/// Reads an object inside of a body into a form; `place` stands before the names of its fields in refusals.
pub fn nested<T: Form>(place: &str, values: Map<String, Json>) -> Result<T, ApiError> {
    Input::new(values, false).read_at(place)
}

form! {
    /// The query parameters of every list.
    pub struct PageQuery {
        /// Rows of a page.
        pub limit: Option<i64>,
        /// Where the page begins.
        pub cursor: Option<String>,
    }
}

form! {
    /// Those of a list of things with names, which are found by a part of their name and sorted by it.
    pub struct NamedQuery {
        q: Option<String>,
        sort: Option<String>,
        ..
        /// Which page of them.
        pub page: PageQuery,
    }
}

impl NamedQuery {
    /// What is looked for, and the order.
    pub fn wanted(&self) -> Result<(Option<String>, Order), ApiError> {
        Ok((part(self.q.as_deref())?, Order::read(self.sort.as_deref())?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    form! {
        #[derive(Debug)]
        struct Example {
            name: String,
            days: Option<Nullable<i64>>,
            r#type: Option<String>,
        }
    }

    fn read(body: &str) -> Result<Example, ApiError> {
        Input::body(body.as_bytes(), &[]).and_then(Input::read)
    }

    fn problems(refusal: &ApiError) -> Vec<(String, String)> {
        assert_eq!(refusal.code(), Code::ValidationError);
        let envelope = serde_json::to_value(refusal.envelope("req_1", "", None)).unwrap();
        let text = |value: &Json| value.as_str().unwrap().to_owned();
        envelope["fields"].as_array().unwrap().iter().map(|at| (text(&at["field"]), text(&at["problem"]))).collect()
    }

    #[test]
    fn a_form_is_read_and_null_differs_from_left_out() {
        assert_eq!(Example::fields(), ["name", "days", "type"]);
        let read_all = read(r#"{"name": "a", "days": null, "type": "x"}"#).unwrap();
        assert_eq!((read_all.days, read_all.r#type.as_deref()), (Some(Nullable(None)), Some("x")));
        let least = read(r#"{"name": "a"}"#).unwrap();
        assert_eq!((least.name.as_str(), least.days), ("a", None));
        assert_eq!(read(r#"{"name": "a", "days": 3}"#).unwrap().days, Some(Nullable(Some(3))));
    }

    /// R749
    #[test]
    fn a_whole_number_is_one_however_it_is_written() {
        let days = |number: &str| read(&format!(r#"{{"name": "a", "days": {number}}}"#)).ok().map(|read| read.days);
        for (number, expected) in
            [("3.0", 3), ("3e0", 3), ("0.3E1", 3), ("-0.0", 0), ("9007199254740993", 9007199254740993)]
        {
            assert_eq!(days(number), Some(Some(Nullable(Some(expected)))), "{number}");
        }
        for number in ["3.5", "1e300", "9223372036854775808", "\"3\"", "true"] {
            assert!(days(number).is_none(), "{number}");
        }
    }

    form! {
        struct Whole {
            id: String,
            ..part: Example,
        }
    }

    #[test]
    fn a_form_takes_in_the_fields_of_another() {
        assert_eq!(Whole::fields(), ["id", "name", "days", "type"]);
        let whole: Whole = Input::body(br#"{"id": "1", "name": "a"}"#, &[]).and_then(Input::read).unwrap();
        assert_eq!((whole.id.as_str(), whole.part.name.as_str()), ("1", "a"));
        let refusal = Input::body(br#"{"id": "1", "x": 2}"#, &[]).and_then(Input::read::<Whole>).err().unwrap();
        let known = "is unknown; the known fields are: id, name, days, type";
        let expected = [("name", "is missing: a string"), ("x", known)];
        assert_eq!(problems(&refusal), expected.map(|(field, problem)| (field.to_owned(), problem.to_owned())));
    }

    #[test]
    fn all_that_is_wrong_is_told_at_once() {
        let refusal = read(r#"{"days": 1.5, "type": null, "x": 1, "y": 2}"#).unwrap_err();
        let known = "is unknown; the known fields are: name, days, type";
        let expected = [
            ("name", "is missing: a string"),
            ("days", "must be a whole number or null"),
            ("type", "must be a string"),
            ("x", known),
            ("y", known),
        ];
        assert_eq!(problems(&refusal), expected.map(|(field, problem)| (field.to_owned(), problem.to_owned())));
    }

    /// R515
    #[test]
    fn a_query_is_utf8_or_refused() {
        for query in ["q=%ff", "%c3=1", "q=%ED%A0%80"] {
            assert_eq!(Input::query(query).err().unwrap().code(), Code::InvalidRequest, "{query}");
        }
        assert!(Input::query("q=%c3%a4+%25&page=").is_ok());
    }

    #[test]
    fn what_stands_twice_is_refused_at_any_depth() {
        for body in [r#"{"name": "a", "name": "b"}"#, r#"{"name": {"b": 1, "b": 2}}"#] {
            let told = problems(&read(body).unwrap_err());
            assert!(["name", "b"].contains(&told[0].0.as_str()) && told[0].1 == TWICE, "{told:?}");
        }
        assert_eq!(problems(&Input::query("a=1&a=2").err().unwrap()), [("a".to_owned(), TWICE.to_owned())]);
    }

    /// R82: in any text at any depth, escaped or not, and in names too; the field is named, and what was found is not.
    #[test]
    fn a_credential_in_a_body_is_refused_by_its_field() {
        let secret = Secret::generate(common::secret::Kind::Pat, &common::secret::Chance::seeded(1));
        let (secret, escaped) = (secret.reveal(), secret.reveal().replace("acr_", "\\u0061cr_"));
        for (body, field) in [
            (format!(r#"{{"name": "{secret}"}}"#), "name"),
            (format!(r#"{{"name": "use {escaped}!", "days": 1}}"#), "name"),
            (format!(r#"{{"a": [1, {{"b": {{"c": "{secret}"}}}}], "d": "{secret}"}}"#), "a"),
            (format!(r#"{{"labels": {{"{secret}": 1}}}}"#), "labels"),
            (format!(r#"{{"{secret}": 1}}"#), ""),
            (format!(r#"{{"{secret}": 1, "{secret}": 2}}"#), ""),
        ] {
            let refusal = Input::body(body.as_bytes(), &["token"]).err().unwrap();
            assert_eq!(refusal.code(), Code::CredentialInText, "{body}");
            let envelope = serde_json::to_value(refusal.envelope("req_1", "", None)).unwrap();
            assert_eq!(envelope["fields"][0]["field"], field, "{body}");
            assert!(!envelope.to_string().contains(secret), "{envelope}");
        }
        let meant = format!(r#"{{"token": "{secret}", "like": "acr_pat_{}"}}"#, "x".repeat(49));
        assert!(Input::body(meant.as_bytes(), &["token"]).is_ok());
    }

    /// R553: what would hide a list to its readers is not taken.
    #[test]
    fn a_body_that_is_nested_too_deep_is_refused() {
        let body = |levels: usize| format!("{{\"a\":{}{}}}", "[".repeat(levels - 1), "]".repeat(levels - 1));
        assert!(Input::body(body(64).as_bytes(), &[]).is_ok());
        for levels in [65, 127, 128, 10_000] {
            let refusal = Input::body(body(levels).as_bytes(), &[]).err().unwrap();
            assert_eq!(refusal.code(), Code::InvalidJson, "{levels}");
        }
    }

    #[test]
    fn what_is_no_json_object_is_told_so() {
        for body in ["{", "{\"a\":1}x", "nonsense"] {
            assert_eq!(read(body).unwrap_err().code(), Code::InvalidJson, "{body}");
        }
        assert!(Input::body(b"\xff", &[]).is_err_and(|refusal| refusal.code() == Code::InvalidJson));
        for body in ["[]", "1", "null", "\"a\""] {
            assert_eq!(problems(&read(body).unwrap_err())[0].0, "", "{body}");
        }
        assert!(read(&format!("{}{}", "[".repeat(5_000), "]".repeat(5_000))).is_err());
    }
}
