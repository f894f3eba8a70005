//! Forms of settings, which stand open while others change the same. Each sends what it showed, in one hidden field, and asks for no more
//! than its visitor has changed of it. Where that gives rights and somebody else has changed it meanwhile too, the form is refused, and
//! shown anew as it stands.

use common::route::Route;
use serde_json::{Map, Value as Json};

use crate::{
    api::{Api, Change, Refusal, Trouble},
    form::{Form, SHOWN},
    words::{self, Html},
};

/// A form that was refused for what somebody else has changed meanwhile.
pub(crate) const CHANGED: &str = "changed_meanwhile";

/// What a form of settings is about.
pub(crate) struct Settings<'a> {
    /// The route that changes them, and the names in its path.
    pub(crate) route: &'a Route,
    pub(crate) names: &'a [&'a str],
    /// The fields as they stand now.
    pub(crate) now: &'a Form,
    /// Fields that give rights, each with its member of the body.
    pub(crate) guarded: &'a [(&'a str, &'a str)],
}

/// The hidden field of a form: what stands in it, or, where it is shown again, what stood in it at first.
pub(crate) fn field(typed: &Form, now: &Form) -> Html {
    let shown =
        Some(typed.raw(SHOWN)).filter(|shown| !shown.is_empty()).map_or_else(|| now.query_of_all(), str::to_owned);
    words::hidden_field(SHOWN, &shown)
}

impl Settings<'_> {
    /// Sends what the visitor has changed. `None`: nothing.
    pub(crate) async fn send(
        &self,
        api: &Api<'_>,
        typed: &Form,
        body: impl Fn(&Form) -> Result<Map<String, Json>, Trouble>,
    ) -> Result<Option<Json>, Trouble> {
        let body = self.changed(typed, body)?;
        if body.is_empty() {
            return Ok(None);
        }
        api.change(self.route, self.names, Change { form: typed, body: body.into() }).await.map(Some)
    }

    /// The members of the body that the visitor has changed. A form that does not say what it showed has changed them all.
    fn changed(
        &self,
        typed: &Form,
        body: impl Fn(&Form) -> Result<Map<String, Json>, Trouble>,
    ) -> Result<Map<String, Json>, Trouble> {
        let mut asked = body(typed)?;
        if !typed.has(SHOWN) {
            return Ok(asked);
        }
        let shown = body(&Form::parse(typed.raw(SHOWN)))?;
        asked.retain(|member, value| !shown.get(member).is_some_and(|shown| is_same(shown, value)));
        let now = body(self.now)?;
        let is_other = |one: Option<&Json>, other: Option<&Json>| match (one, other) {
            (Some(one), Some(other)) => !is_same(one, other),
            (one, other) => one.is_some() != other.is_some(),
        };
        let raced = self.guarded.iter().filter(|(_, member)| {
            let (asked, shown, now) = (asked.get(*member), shown.get(*member), now.get(*member));
            asked.is_some() && is_other(shown, now) && is_other(asked, now)
        });
        let fields: Vec<(String, String)> =
            raced.map(|(field, _)| ((*field).to_owned(), theirs(&typed.all(field)))).collect();
        if fields.is_empty() {
            return Ok(asked);
        }
        let fix = "Nothing was saved. The form shows how it stands now: send it again if you still want to change it.";
        let mut refusal = Refusal::own(409, "Somebody else changed the same while this form stood open.", fix);
        CHANGED.clone_into(&mut refusal.slug);
        refusal.fields = fields;
        Err(Trouble::Refused(refusal))
    }

    /// What stands in the form that is shown again after a refusal: what was typed; but where somebody else was first, how it stands now,
    /// with what the visitor alone has changed.
    pub(crate) fn again(&self, typed: &Form, refusal: &Refusal) -> Form {
        if refusal.slug != CHANGED {
            return typed.clone();
        }
        let shown = Form::parse(typed.raw(SHOWN));
        typed.merged(self.now, |field| {
            let is_raced = refusal.fields.iter().any(|(raced, _)| raced == field);
            let lines =
                |form: &Form| form.all(field).iter().map(|value| value.replace("\r\n", "\n")).collect::<Vec<_>>();
            is_raced || lines(typed) == lines(&shown)
        })
    }
}

fn theirs(typed: &[&str]) -> String {
    format!("Somebody else has changed this meanwhile. You had: {}", typed.join(", "))
}

/// Whether two values say the same: a browser ends the lines of a text with both characters.
fn is_same(one: &Json, other: &Json) -> bool {
    match (one, other) {
        (Json::String(one), Json::String(other)) => one.replace("\r\n", "\n") == other.replace("\r\n", "\n"),
        (one, other) => one == other,
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    /// R325: each form in which something stands that is stored says what it showed.
    #[test]
    fn every_form_of_settings_says_what_it_showed() {
        let mut found = Vec::new();
        for file in fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/templates")).unwrap() {
            let path = file.unwrap().path();
            let html = fs::read_to_string(&path).unwrap();
            for form in html.split("<form").skip(1).filter_map(|rest| rest.split("</form>").next()) {
                let is_of_settings =
                    ["self.value(", "now.text(", "typed.or(\"name\", user", "typed.or(\"name\", webhook", "mails.is("];
                if form.contains("method=\"post\"") && is_of_settings.iter().any(|mark| form.contains(mark)) {
                    // A preset has versions: its form names the one that it showed.
                    let says = form.contains("shown") || form.contains("name=\"version\"");
                    assert!(says, "{}: {form}", path.display());
                    found.push(path.file_stem().unwrap().to_str().unwrap().to_owned());
                }
            }
        }
        found.sort();
        let all = [
            "agent_settings",
            "agent_settings",
            "agent_settings",
            "client",
            "preset",
            "resource",
            "security",
            "tenant",
            "user",
            "webhook",
        ];
        assert_eq!(found, all);
    }
}
