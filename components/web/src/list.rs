//! Lists on pages: the address is their state. What is searched for, the filters, the order and the place are read from it, asked of the API,
//! and written into the links.

use service::app::App;

use crate::{
    api::Members,
    form::{Form, query},
    words::{Html, escape, written},
};
use serde_json::Value as Json;

/// Orders in which the first row has the smallest value; in all others it has the greatest.
const ASCENDING: [&str; 3] = ["name", "email", "expires_at"];

/// A list, as its address asks for it.
pub(crate) struct List {
    /// The address without a query.
    path: String,
    /// What was asked for.
    pub(crate) asked: Form,
    filters: &'static [&'static str],
    /// The order, and the one that the list has by itself.
    sort: String,
    usual: &'static str,
    /// The query of the next page; empty: there is none.
    next: String,
}

impl List {
    /// The list at this path, with these filters.
    pub(crate) fn of(app: &App, path: &str, filters: &'static [&'static str]) -> Self {
        let (asked, path) = (Form::query(app), path.to_owned());
        Self { path, asked, filters, sort: String::new(), usual: "", next: String::new() }
    }

    /// With an order that the visitor can choose; `usual` is the one without a choice.
    pub(crate) fn sorted(mut self, usual: &'static str) -> Self {
        self.usual = usual;
        self.sort = self.asked.or("sort", usual).to_owned();
        self
    }

    fn state(&self) -> Vec<(&str, &str)> {
        let mut pairs = self.asked.pairs(self.filters);
        if self.sort != self.usual {
            pairs.push(("sort", &self.sort));
        }
        pairs
    }

    /// What the API is asked: filters, order and place, and so many rows.
    pub(crate) fn pairs<'a>(&'a self, limit: &'a str) -> Vec<(&'a str, &'a str)> {
        let mut pairs = self.asked.pairs(self.filters);
        if !self.sort.is_empty() {
            pairs.push(("sort", &self.sort));
        }
        pairs.extend(self.asked.pairs(&["cursor"]));
        pairs.push(("limit", limit));
        pairs
    }

    /// Takes from the answer where the next page begins.
    pub(crate) fn found(&mut self, list: &Json) {
        self.next = match list.text("next_cursor") {
            "" => String::new(),
            cursor => {
                let mut pairs = self.state();
                pairs.push(("cursor", cursor));
                self.address(&pairs)
            }
        };
    }

    fn address(&self, pairs: &[(&str, &str)]) -> String {
        if pairs.is_empty() { self.path.clone() } else { format!("{}?{}", self.path, query(pairs)) }
    }

    /// This page, to come back to after a click.
    pub(crate) fn here(&self) -> String {
        let mut pairs = self.state();
        pairs.extend(self.asked.pairs(&["cursor"]));
        self.address(&pairs)
    }

    /// Its first page.
    pub(crate) fn first(&self) -> String {
        self.address(&self.state())
    }

    /// The next page; empty: this is the last one.
    pub(crate) fn next(&self) -> &str {
        &self.next
    }

    /// The same list with another value of one filter.
    pub(crate) fn with(&self, filter: &str, value: &str) -> String {
        let mut pairs: Vec<(&str, &str)> = self.state().into_iter().filter(|(name, _)| *name != filter).collect();
        if !value.is_empty() {
            pairs.push((filter, value));
        }
        self.address(&pairs)
    }

    /// The list without a filter.
    pub(crate) fn all(&self) -> &str {
        &self.path
    }

    pub(crate) fn is_first(&self) -> bool {
        self.asked.text("cursor").is_empty()
    }

    pub(crate) fn is_filtered(&self) -> bool {
        self.filters.iter().any(|name| !self.asked.text(name).is_empty())
    }

    pub(crate) fn is_sorted_by(&self, by: &str) -> bool {
        self.sort == by
    }

    /// What the form of the filters sends too: the order.
    pub(crate) fn kept(&self) -> Html {
        match self.sort == self.usual {
            true => written(String::new()),
            false => written(format!("<input type=\"hidden\" name=\"sort\" value=\"{}\">", escape(&self.sort))),
        }
    }

    /// A head of a column that sorts by it; `link` is what comes before every path.
    pub(crate) fn head(&self, link: &str, text: &str, by: &str) -> Html {
        let mut pairs = self.asked.pairs(self.filters);
        if by != self.usual {
            pairs.push(("sort", by));
        }
        let (text, address) = (escape(text), escape(&format!("{link}{}", self.address(&pairs))));
        let (sort, mark) = match (self.is_sorted_by(by), ASCENDING.contains(&by)) {
            (false, _) => ("", ""),
            (true, true) => (" aria-sort=\"ascending\"", " <span aria-hidden=\"true\">↑</span>"),
            (true, false) => (" aria-sort=\"descending\"", " <span aria-hidden=\"true\">↓</span>"),
        };
        written(format!("<th scope=\"col\"{sort}><a href=\"{address}\">{text}{mark}</a></th>"))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn list(query: &str) -> List {
        let filters: &'static [&'static str] = &["q", "state"];
        let usual = "created_at";
        let asked = Form::parse(query);
        let sort = asked.or("sort", usual).to_owned();
        List { path: "/things".to_owned(), asked, filters, sort, usual, next: String::new() }
    }

    /// R188: the address is the state of a list, and nothing else of the address goes on.
    #[test]
    fn the_address_is_the_state() {
        let mut one = list("q=a+b&state=&sort=name&cursor=c&other=x");
        assert_eq!(one.pairs("25"), [("q", "a b"), ("sort", "name"), ("cursor", "c"), ("limit", "25")]);
        one.found(&json!({ "next_cursor": "n" }));
        assert_eq!(one.next(), "/things?q=a+b&sort=name&cursor=n");
        assert_eq!(one.here(), "/things?q=a+b&sort=name&cursor=c");
        assert_eq!((one.first().as_str(), one.is_first(), one.is_filtered()), ("/things?q=a+b&sort=name", false, true));
        assert_eq!(one.with("state", "paused"), "/things?q=a+b&sort=name&state=paused");
        assert_eq!(one.kept().to_string(), "<input type=\"hidden\" name=\"sort\" value=\"name\">");
        let plain = list("");
        assert_eq!(
            (plain.here().as_str(), plain.is_filtered(), plain.kept().to_string().as_str()),
            ("/things", false, "")
        );
    }

    /// R188: the column by which a list is sorted says so, and in which direction.
    #[test]
    fn the_sorted_column_says_its_direction() {
        let one = list("q=x&sort=name");
        let (name, made) =
            (one.head("/b", "Name", "name").to_string(), one.head("/b", "Made", "created_at").to_string());
        assert!(name.contains("aria-sort=\"ascending\"") && name.contains("/b/things?q=x&amp;sort=name"), "{name}");
        assert!(!made.contains("aria-sort") && made.contains("href=\"/b/things?q=x\""), "{made}");
        let made = list("").head("", "Made", "created_at").to_string();
        assert!(made.contains("aria-sort=\"descending\""), "{made}");
        let hostile = list("q=%22%3E%3Cscript%3E&sort=%22%3E%3Cscript%3E");
        assert!(!hostile.head("", "Made", "created_at").to_string().contains("<script"));
        assert!(!hostile.kept().to_string().contains("<script"));
    }
}
