//! What a visitor typed: the fields of a form, or the query of a page.

use std::sync::{Arc, OnceLock};

use serde_json::{Map, Value as Json};
use service::{
    app::App,
    call::{Call, FromCall},
    extract::UrlEncoded,
};

pub(crate) use service::response::local;

/// Fields that no page shows again, and no cookie keeps: passwords, and the value of an agent's secret or of a hook's key.
const SECRETS: [&str; 4] = ["password", "current", "new", "value"];
/// The fields of a proof, each with its name at the API.
const PROOFS: [(&str, &str); 2] = [("proof_code", "code"), ("proof_password", "password")];
/// The hidden field of a form of settings, with all fields as they were shown.
pub(crate) const SHOWN: &str = "shown";
/// The hidden field of a form of an agent's pages, with the id of the agent that they showed: another one may have its name by now.
pub(crate) const AGENT: &str = "agent";
/// The field of an address of a sign-in, and of its forms, with `1`: somebody else may sign in now.
pub(crate) const OTHER: &str = "other";
/// Fields of which their visitor knows nothing.
const UNSEEN: [&str; 11] = ["act", AGENT, "back", "csrf", "form", "from", "once", "request", "seed", "uri", SHOWN];

/// Fields by name, in the order in which they were sent.
#[derive(Clone, Default)]
pub(crate) struct Form {
    fields: Vec<(String, String)>,
    /// The id of the closure of what was ended, once that is known: each copy of the form knows it then.
    closure: Arc<OnceLock<String>>,
}

impl FromIterator<(String, String)> for Form {
    fn from_iter<I: IntoIterator<Item = (String, String)>>(fields: I) -> Self {
        Self { fields: fields.into_iter().collect(), closure: Arc::default() }
    }
}

impl FromCall for Form {
    const READS_BODY: bool = true;

    fn from_call(call: &mut Call) -> Result<Self, common::error::ApiError> {
        UrlEncoded::from_call(call).map(|UrlEncoded(pairs)| pairs.into_iter().collect())
    }
}

impl Form {
    /// Fields that nobody has typed.
    pub(crate) fn of(fields: &[(&str, &str)]) -> Self {
        fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    /// The query of a request.
    pub(crate) fn query(app: &App) -> Self {
        Self::parse(app.head().uri.query().unwrap_or_default())
    }

    /// A query that stands somewhere else.
    pub(crate) fn parse(query: &str) -> Self {
        form_urlencoded::parse(query.as_bytes()).into_owned().collect()
    }

    /// All fields, as a query.
    pub(crate) fn query_of_all(&self) -> String {
        self.without("")
    }

    /// The same form with other fields.
    fn with_fields(&self, fields: Vec<(String, String)>) -> Self {
        Self { fields, closure: Arc::clone(&self.closure) }
    }

    /// This form with some fields as they are in another one.
    pub(crate) fn merged(&self, other: &Self, is_of_other: impl Fn(&str) -> bool) -> Self {
        let mut fields: Vec<(String, String)> =
            other.fields.iter().filter(|(name, _)| is_of_other(name)).cloned().collect();
        let is_own = |name: &str| name != SHOWN && !is_of_other(name);
        fields.extend(self.fields.iter().filter(|(name, _)| is_own(name)).cloned());
        self.with_fields(fields)
    }

    /// This field alone: a page that is opened by a link takes no more from it.
    pub(crate) fn only(self, name: &str) -> Self {
        self.with_fields(self.fields.iter().filter(|(known, _)| known == name).cloned().collect())
    }

    /// All other fields, as a query.
    pub(crate) fn without(&self, name: &str) -> String {
        let pairs: Vec<(&str, &str)> = self
            .fields
            .iter()
            .filter(|(known, _)| known != name)
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        query(&pairs)
    }

    /// Takes note of the closure of what the form has ended; of several changes it is that of the first.
    pub(crate) fn note_closure(&self, closure: &str) {
        if !closure.is_empty() {
            drop(self.closure.set(closure.to_owned()));
        }
    }

    /// The id of the closure of what the form has ended, if it has.
    pub(crate) fn closure(&self) -> Option<&str> {
        self.closure.get().map(String::as_str)
    }

    /// A field without blanks around it; empty if it was not sent.
    pub(crate) fn text(&self, name: &str) -> &str {
        self.raw(name).trim()
    }

    /// A field as it was typed: passwords.
    pub(crate) fn raw(&self, name: &str) -> &str {
        self.fields.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value)
    }

    /// Whether a field was sent.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.fields.iter().any(|(known, _)| known == name)
    }

    /// A field, or this value if nothing was sent.
    pub(crate) fn or<'a>(&'a self, name: &str, otherwise: &'a str) -> &'a str {
        Some(self.text(name)).filter(|text| !text.is_empty()).unwrap_or(otherwise)
    }

    /// Whether a field has this value.
    pub(crate) fn is(&self, name: &str, value: &str) -> bool {
        self.text(name) == value
    }

    /// The proof of who the visitor is that a form has: its name at the API, and its value.
    pub(crate) fn proof(&self) -> Option<(&'static str, &str)> {
        let mut proofs = PROOFS.iter().map(|(field, name)| (*name, self.raw(field)));
        proofs.find(|(_, value)| !value.is_empty())
    }

    /// The same without a proof, which was looked at.
    pub(crate) fn without_proof(&self) -> Self {
        let is_proof = |name: &str| PROOFS.iter().any(|(field, _)| *field == name);
        self.with_fields(self.fields.iter().filter(|(name, _)| !is_proof(name)).cloned().collect())
    }

    /// The same with these values of a field.
    pub(crate) fn with_all(&self, name: &str, values: &[&str]) -> Self {
        let others = self.fields.iter().filter(|(known, _)| known != name).cloned();
        let fields = others.chain(values.iter().map(|value| (name.to_owned(), (*value).to_owned()))).collect();
        self.with_fields(fields)
    }

    /// What a page may show again: all fields but passwords and proofs.
    pub(crate) fn shown_again(&self) -> Vec<(String, String)> {
        let is_kept = |name: &str| !SECRETS.contains(&name) && !PROOFS.iter().any(|(field, _)| *field == name);
        self.fields.iter().filter(|(name, _)| is_kept(name)).cloned().collect()
    }

    /// The token that shows that it is of this site: its field `csrf`, or else the header.
    pub(crate) fn csrf(&self, app: &App) -> String {
        match self.raw("csrf") {
            "" => app.headers().first("x-csrf-token").unwrap_or_default(),
            text => text.to_owned(),
        }
    }

    /// The names of the passwords that were typed.
    pub(crate) fn passwords(&self) -> Vec<&'static str> {
        SECRETS.into_iter().filter(|name| !self.raw(name).is_empty()).collect()
    }

    /// All values of a field.
    pub(crate) fn all(&self, name: &str) -> Vec<&str> {
        self.fields.iter().filter(|(known, _)| known == name).map(|(_, value)| value.trim()).collect()
    }

    /// The fields that were filled in, as members of a JSON body.
    pub(crate) fn filled(&self, names: &[&str]) -> Map<String, Json> {
        let filled = names.iter().filter(|name| !self.text(name).is_empty());
        filled.map(|name| ((*name).to_owned(), self.text(name).into())).collect()
    }

    /// The same with fields that the API asks for, also empty: it says what is wrong about them together with what is wrong about others.
    pub(crate) fn body(&self, asked_for: &[&str], others: &[&str]) -> Map<String, Json> {
        let asked_for = asked_for.iter().map(|name| ((*name).to_owned(), self.text(name).into()));
        asked_for.chain(self.filled(others)).collect()
    }

    /// The fields that were filled in, as pairs of a query.
    pub(crate) fn pairs<'a>(&'a self, names: &[&'a str]) -> Vec<(&'a str, &'a str)> {
        names.iter().map(|name| (*name, self.text(name))).filter(|(_, value)| !value.is_empty()).collect()
    }
}

/// Whether the visitor knows nothing of a field.
pub(crate) fn is_unseen(field: &str) -> bool {
    UNSEEN.contains(&field)
}

/// The names of passwords among these.
pub(crate) fn passwords_of(names: &[String]) -> Vec<&'static str> {
    SECRETS.into_iter().filter(|password| names.iter().any(|name| name == password)).collect()
}

/// A number as JSON; a text that is no number goes as it is, and the API says what is wrong with it.
pub(crate) fn number(text: &str) -> Json {
    text.parse::<i64>().map_or_else(|_| text.into(), Json::from)
}

/// How long a credential can be made to live by the pages, beside for ever: what is sent, and how it is called.
pub(crate) const LIVES: [(&str, &str); 7] = [
    ("1h", "an hour"),
    ("8h", "8 hours"),
    ("1", "a day"),
    ("7", "a week"),
    ("30", "30 days"),
    ("90", "90 days"),
    ("365", "a year"),
];

/// Puts one of them into the body of a request for a credential.
pub(crate) fn put_life(text: &str, body: &mut Map<String, Json>) {
    let (member, value) = match text.strip_suffix('h').and_then(|hours| hours.parse::<i64>().ok()) {
        _ if text.is_empty() => return,
        _ if text == "never" => ("expires_in_days", Json::Null),
        Some(hours) => ("expires_in", hours.saturating_mul(3_600).into()),
        None => ("expires_in_days", number(text)),
    };
    body.insert(member.to_owned(), value);
}

/// The words of a field that takes several, with blanks, commas or line ends between them.
pub(crate) fn several(text: &str) -> Vec<Json> {
    text.split([' ', ',', '\n', '\r']).filter(|word| !word.is_empty()).map(Json::from).collect()
}

/// A query of pairs.
pub(crate) fn query(pairs: &[(&str, &str)]) -> String {
    form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// R349: what is typed where browsers hide it, or is encrypted, is never shown again. The operator's secret is typed where nothing is kept.
    #[test]
    fn no_secret_is_shown_again() {
        let templates = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/templates")).unwrap();
        let pages: Vec<String> = templates.map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap()).collect();
        let hidden = pages.iter().flat_map(|page| page.split("type=\"password\" name=\"").skip(1));
        let mut names: Vec<&str> = hidden.map(|rest| rest.split('"').next().unwrap()).collect();
        names.retain(|name| !["{{ name }}", "secret"].contains(name));
        assert!(names.contains(&"proof_password") && names.contains(&"value"), "{names:?}");
        for name in names {
            assert!(Form::of(&[(name, "s3cret")]).shown_again().is_empty(), "{name}");
        }
    }

    #[test]
    fn a_number_that_is_none_is_left_to_the_api() {
        assert_eq!(number("24"), Json::from(24));
        assert_eq!(number("a day"), Json::from("a day"));
    }
}
