//! R59: every `doc_url` that any test meets is fetched without a credential, and its anchor is there.

use std::{
    collections::BTreeSet,
    sync::{Mutex, PoisonError},
};

use crate::{Answer, raw};

/// Pages and anchors that were found by this process.
static FOUND: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

/// Asserts that the server serves a page and its anchor, to browsers and to those who ask for Markdown.
#[track_caller]
pub fn check(base_url: &str, doc_url: &str) {
    if FOUND.lock().unwrap_or_else(PoisonError::into_inner).contains(doc_url) {
        return;
    }
    let (page, anchor) = doc_url.split_once('#').map_or((doc_url, None), |(page, anchor)| (page, Some(anchor)));
    assert!(page.starts_with("/docs/agents/"), "a doc_url without a page: {doc_url:?}");
    let html = fetch(base_url, page, "text/html");
    assert_eq!(html.status(), 200, "{doc_url}: {}", html.text());
    assert!(html.header("content-type").starts_with("text/html"), "{doc_url}: {html:?}");
    let markdown = fetch(base_url, page, "text/markdown");
    assert_eq!(markdown.status(), 200, "{doc_url}");
    assert!(markdown.header("content-type").starts_with("text/markdown"), "{doc_url}: {markdown:?}");
    if let Some(anchor) = anchor {
        assert!(html.text().contains(&format!("id=\"{anchor}\"")), "{doc_url}: the HTML has no id {anchor:?}");
        let headings = headings(&markdown.text());
        assert!(headings.contains(anchor), "{doc_url}: no heading for {anchor:?} among {headings:?}");
    }
    FOUND.lock().unwrap_or_else(PoisonError::into_inner).insert(doc_url.to_owned());
}

fn fetch(base_url: &str, page: &str, accept: &str) -> Answer {
    let address = base_url.trim_start_matches("http://");
    let request = raw::request("GET", page, address, &[("accept", accept)], None);
    let response = raw::exchange(address, &request).unwrap_or_else(|error| panic!("no answer to GET {page}: {error}"));
    Answer::new(&format!("GET {page}"), base_url, response)
}

/// The anchors of a page's headings, as GitHub makes them.
pub fn headings(markdown: &str) -> BTreeSet<String> {
    let mut is_code = false;
    let mut anchors = BTreeSet::new();
    for line in markdown.lines() {
        if line.starts_with("```") {
            is_code = !is_code;
        }
        let Some(text) = line.strip_prefix('#').filter(|_| !is_code) else { continue };
        let text = text.trim_start_matches('#').trim().to_lowercase();
        anchors.insert(
            text.chars()
                .filter_map(|c| match c {
                    ' ' => Some('-'),
                    c if c.is_alphanumeric() || c == '_' || c == '-' => Some(c),
                    _ => None,
                })
                .collect(),
        );
    }
    anchors
}
