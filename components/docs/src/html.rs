//! Markdown to HTML: our own pages only, so raw HTML in them is text, and each heading has the anchor that GitHub would give it.

use http::{HeaderValue, header};
use pulldown_cmark::{CowStr, Event, HeadingLevel, Options, Parser, Tag, TagEnd};

/// Nothing but our style sheet: no script at all.
const POLICY: &str =
    "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The pages' style: readable at any width, light and dark.
pub(crate) const STYLE: &str = include_str!("style.css");

/// What decides about the form of a page.
pub(crate) const VARIES: HeaderValue = HeaderValue::from_static("accept, accept-encoding");

/// Sets what every page is sent with.
pub(crate) fn protect(headers: &mut http::HeaderMap) {
    headers.insert(header::VARY, VARIES);
    for (name, value) in [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CONTENT_SECURITY_POLICY, POLICY),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
}

/// A whole page. `link` comes before every path.
pub(crate) fn document(link: &str, markdown: &str) -> String {
    let mut events: Vec<Event<'_>> = Parser::new_ext(markdown, Options::ENABLE_TABLES).collect();
    let title = name_headings(&mut events);
    for event in &mut events {
        match event {
            Event::Html(text) | Event::InlineHtml(text) => *event = Event::Text(text.clone()),
            Event::Start(Tag::Link { dest_url, .. }) if dest_url.starts_with('/') => {
                *dest_url = CowStr::from(format!("{link}{dest_url}"));
            }
            _ => {}
        }
    }
    let mut body = String::with_capacity(markdown.len() * 2);
    pulldown_cmark::html::push_html(&mut body, events.into_iter());
    // What scrolls can be reached by the keyboard (WCAG 2.1, 2.1.1). A text of a page never has a bare tag.
    let body = body.replace("<pre>", "<pre tabindex=\"0\">");
    let body =
        body.replace("<table>", "<div class=\"table\" tabindex=\"0\"><table>").replace("</table>", "</table></div>");
    // An empty head of a column is no head.
    let body = body.replace("<th></th>", "<td></td>").replace("<th>", "<th scope=\"col\">");
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>{title} · Accredit</title>\n\
         <link rel=\"stylesheet\" href=\"{link}/docs/style.css\">\n</head>\n<body>\n\
         <header><a href=\"{link}/docs/\">Accredit</a> <nav><a href=\"{link}/docs/agents/concepts/agents\">Agents</a> \
         <a href=\"{link}/docs/agents/concepts/credentials\">Credentials</a> <a href=\"{link}/docs/agents/concepts/permissions\">Permissions</a> \
         <a href=\"{link}/docs/agents/errors\">Errors</a> \
         <a href=\"{link}/docs/api\">API</a></nav></header>\n<main>\n{body}</main>\n</body>\n</html>\n"
    )
}

/// Gives each heading its anchor; returns the text of the first one, escaped, for the title.
fn name_headings(events: &mut [Event<'_>]) -> String {
    let mut title = String::new();
    let mut at: Option<(usize, HeadingLevel)> = None;
    let mut text = String::new();
    let mut named: Vec<(usize, String)> = Vec::new();
    for (place, event) in events.iter().enumerate() {
        match event {
            Event::Start(Tag::Heading { level, .. }) => at = Some((place, *level)),
            Event::Text(part) | Event::Code(part) if at.is_some() => text.push_str(part),
            Event::End(TagEnd::Heading(_)) => {
                if let Some((start, level)) = at.take() {
                    if level == HeadingLevel::H1 && title.is_empty() {
                        title = text.replace('&', "&amp;").replace('<', "&lt;");
                    }
                    let (anchor, mut number) = (slug(&text), 0);
                    let mut own = anchor.clone();
                    while named.iter().any(|(_, known)| *known == own) {
                        number += 1;
                        own = format!("{anchor}-{number}");
                    }
                    named.push((start, own));
                }
                text.clear();
            }
            _ => {}
        }
    }
    for (place, anchor) in named {
        if let Some(Event::Start(Tag::Heading { id, .. })) = events.get_mut(place) {
            *id = Some(CowStr::from(anchor));
        }
    }
    title
}

/// The anchor of a heading: lower case, blanks to hyphens, punctuation dropped. It begins with a letter: a number is that of a step.
fn slug(heading: &str) -> String {
    let slug: String = heading
        .to_lowercase()
        .chars()
        .filter_map(|c| match c {
            ' ' | '-' => Some('-'),
            c if c.is_alphanumeric() || c == '_' => Some(c),
            _ => None,
        })
        .collect();
    if slug.starts_with(|c: char| c.is_alphabetic()) { slug } else { format!("step-{slug}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headings_have_anchors_and_raw_html_is_text() {
        let page =
            document("/acc", "# A <b> & c\n\n## Never wider, never longer\n\n<script>x</script>\n\n[l](/docs/)\n");
        assert!(page.contains("<h2 id=\"never-wider-never-longer\">"), "{page}");
        assert!(!page.contains("<script>") && page.contains("href=\"/acc/docs/\">l"), "{page}");
        assert!(page.contains("<title>A "), "{page}");
    }

    /// R193: a table scrolls by keyboard, and has no head without a word.
    #[test]
    fn a_table_scrolls_and_has_no_empty_head() {
        let page = document("", "# A\n\n| a | |\n|---|---|\n| b | c |\n");
        assert!(
            page.contains("<div class=\"table\" tabindex=\"0\"><table><thead><tr><th scope=\"col\">a</th><td></td>"),
            "{page}"
        );
    }

    /// R193: an id is there once, and begins with a letter.
    #[test]
    fn anchors_are_unique_and_begin_with_a_letter() {
        let page = document("", "# A\n\n## 1. Sign in\n\n## Fields\n\n## Fields\n");
        for id in ["step-1-sign-in", "fields", "fields-1"] {
            assert_eq!(page.matches(&format!("<h2 id=\"{id}\">")).count(), 1, "{page}");
        }
    }
}
