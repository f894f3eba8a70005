//! Texts that are written from right to left: a name must not turn the words around it.
//!
//! Each text that a template writes goes through [`Isolating`], which escapes it and, where it is written from right to left, puts it between
//! two characters. [`settle`] makes of them, once the page is whole, what fits where the text stands: an element `bdi` among words, the
//! characters themselves where there can be no element, and nothing in a value, which comes back as it was typed. So no template has to say
//! it, and none can forget it.

use std::fmt;

use askama::filters::{self, Escaper};
use common::text::{ISOLATE, ISOLATED, isolated};

/// How texts are written into templates: `askama.toml` names it.
#[derive(Clone, Copy)]
pub(crate) struct Isolating;

impl Escaper for Isolating {
    fn write_escaped_str<W: fmt::Write>(&self, dest: W, text: &str) -> fmt::Result {
        filters::Html.write_escaped_str(dest, &isolated(text))
    }
}

/// Attributes that are read by people.
const READ: [&str; 5] = ["alt", "aria-label", "label", "placeholder", "title"];

/// Where in a page a character stands.
enum Place {
    /// Among words.
    Words,
    Tag,
    /// In a value of an attribute; whether people read it.
    Value(bool),
}

/// The page with its isolated texts as HTML.
pub(crate) fn settle(html: String) -> String {
    if !html.contains(ISOLATE) {
        return html;
    }
    let (mut place, mut element, mut depth) = (Place::Words, "", 0_usize);
    let mut settled = String::with_capacity(html.len() + 1024);
    let mut rest = html.as_str();
    while let Some(c) = rest.chars().next() {
        let (here, after) = rest.split_at(c.len_utf8());
        match (&place, c) {
            (Place::Words, '<') => {
                // A text ends at the next tag at the latest.
                settled.extend(std::iter::repeat_n("</bdi>", std::mem::take(&mut depth)));
                element = after.split(|c: char| !c.is_ascii_alphanumeric()).next().unwrap_or_default();
                place = Place::Tag;
            }
            (Place::Tag, '>') => place = Place::Words,
            (Place::Tag, '"') => {
                let before = settled.trim_end_matches('=');
                let name = before.rsplit(|c: char| c != '-' && !c.is_ascii_alphanumeric()).next().unwrap_or_default();
                place = Place::Value(READ.contains(&name));
            }
            (Place::Value(_), '"') => place = Place::Tag,
            _ => {}
        }
        match (c, &place, element) {
            (ISOLATE | ISOLATED, Place::Words, "option" | "title") | (ISOLATE | ISOLATED, Place::Value(true), _) => {
                settled.push(c);
            }
            (ISOLATE, Place::Words, name) if name != "textarea" => {
                depth += 1;
                settled.push_str("<bdi>");
            }
            (ISOLATED, Place::Words, _) if depth > 0 => {
                depth -= 1;
                settled.push_str("</bdi>");
            }
            (ISOLATE | ISOLATED, ..) => {}
            _ => settled.push_str(here),
        }
        rest = after;
    }
    settled
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAME: &str = "\u{5d0}\u{5d1}";

    /// R275: an element among words, characters where there can be none, nothing in what is sent back.
    #[test]
    fn a_text_is_isolated_as_its_place_allows() {
        let name = isolated(NAME);
        for (written, shown) in [
            (format!("<p>By {name}, now</p>"), format!("<p>By <bdi>{NAME}</bdi>, now</p>")),
            (
                format!("<title>{name} · Accredit</title><p>{name}"),
                format!("<title>{name} · Accredit</title><p><bdi>{NAME}</bdi>"),
            ),
            (format!("<option value=\"{name}\">{name}</option>"), format!("<option value=\"{NAME}\">{name}</option>")),
            (format!("<textarea>{name}</textarea> {name}"), format!("<textarea>{NAME}</textarea> <bdi>{NAME}</bdi>")),
            (format!("<a title=\"{name}\" href=\"/?q={name}\">"), format!("<a title=\"{name}\" href=\"/?q={NAME}\">")),
            ("<p>a > b \"c\"</p>".to_owned(), "<p>a > b \"c\"</p>".to_owned()),
        ] {
            assert_eq!(settle(written), shown);
        }
    }

    /// The templates, each with its name.
    fn templates() -> Vec<(String, String)> {
        let folder = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/templates")).unwrap();
        let paths =
            folder.map(|entry| entry.unwrap().path()).filter(|path| path.extension().is_some_and(|e| e == "html"));
        paths.map(|path| (path.display().to_string(), std::fs::read_to_string(&path).unwrap())).collect()
    }

    /// R275: no template writes a text around the escaper.
    #[test]
    fn no_template_writes_a_text_as_it_is() {
        for (path, text) in templates() {
            let filters =
                text.split("{{").skip(1).filter_map(|rest| rest.split("}}").next()).filter(|one| one.contains('|'));
            assert_eq!(filters.filter(|one| !one.contains("||")).collect::<Vec<_>>(), Vec::<&str>::new(), "{path}");
        }
    }

    /// R275: what people write in their own words has its own direction in the field, too.
    #[test]
    fn a_field_for_words_has_the_direction_of_its_text() {
        const WORDS: [&str; 9] =
            ["access", "description", "display_name", "labels", "model", "name", "q", "reason", "runtime"];
        for (path, text) in templates() {
            for name in WORDS {
                for (at, _) in text.match_indices(&format!(" name=\"{name}\"")) {
                    let (before, after) = text.split_at(at);
                    let tag = before.rsplit('<').next().unwrap();
                    let is_typed = !tag.contains("\"hidden\"")
                        && (tag.contains("text\"") || tag.contains("search\"") || tag.starts_with("textarea"));
                    let is_set =
                        tag.contains(" dir=\"auto\"") || after.split('>').next().unwrap().contains(" dir=\"auto\"");
                    assert!(!is_typed || is_set, "{name} in {path}");
                }
            }
        }
    }
}
