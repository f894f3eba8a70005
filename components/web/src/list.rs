//! Lists on pages: the address is their state. What is searched for, the filters, the order and the place are read from it, asked of the API,
//! and written into the links.

use service::app::App;

use crate::{
    api::{Members, Trouble},
    form::{Form, query},
    words::{Html, escape, written},
};
use serde_json::Value as Json;

/// Orders in which the first row has the smallest value; in all others it has the greatest.
const ASCENDING: [&str; 3] = ["name", "email", "expires_at"];
/// The member of the address that holds where a page before this one begins: once for each, but for the first page, the nearest one last.
const BEFORE: &str = "before";
/// How many of them an address holds. Behind more, an empty one stands for those that are forgotten.
const MOST_BEFORE: usize = 3;

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
    /// The part of the page in which it stands, as addresses name it; empty: it is the page.
    part: &'static str,
    /// The query of the next page; empty: there is none.
    next: String,
}

impl List {
    /// The list at this path, with these filters.
    pub(crate) fn of(app: &App, path: &str, filters: &'static [&'static str]) -> Self {
        let (asked, path) = (Form::query(app), path.to_owned());
        Self { path, asked, filters, sort: String::new(), usual: "", part: "", next: String::new() }
    }

    /// As a part of a page that has others: `#part`.
    pub(crate) fn within(mut self, part: &'static str) -> Self {
        self.part = part;
        self
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
                let mut before = self.before();
                before.extend(Some(self.asked.text("cursor")).filter(|here| !here.is_empty()));
                if before.len() > MOST_BEFORE {
                    before.drain(..before.len() - MOST_BEFORE);
                    before.insert(0, "");
                }
                self.at(&before, cursor)
            }
        };
    }

    /// The same of a list that the visitor may not read, or that cannot be had.
    pub(crate) fn found_in(&mut self, list: &Result<Json, Trouble>) {
        if let Ok(list) = list {
            self.found(list);
        }
    }

    /// Where the pages between the first one and this one begin.
    fn before(&self) -> Vec<&str> {
        self.asked.all(BEFORE)
    }

    /// The page that begins here, behind these.
    fn at(&self, before: &[&str], cursor: &str) -> String {
        let mut pairs = self.state();
        pairs.extend(before.iter().map(|begin| (BEFORE, *begin)));
        pairs.push(("cursor", cursor));
        self.address(&pairs)
    }

    /// The page before this one; empty: this is the first one, or it is not known any more.
    pub(crate) fn previous(&self) -> String {
        match self.before().as_slice() {
            _ if self.is_first() => String::new(),
            [] => self.first(),
            [.., ""] => String::new(),
            [before @ .., last] => self.at(before, last),
        }
    }

    fn address(&self, pairs: &[(&str, &str)]) -> String {
        let (path, part) = (&self.path, self.part);
        if pairs.is_empty() { format!("{path}{part}") } else { format!("{path}?{}{part}", query(pairs)) }
    }

    /// This page, to come back to after a click.
    pub(crate) fn here(&self) -> String {
        match self.asked.text("cursor") {
            "" => self.first(),
            cursor => self.at(&self.before(), cursor),
        }
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
        List { path: "/things".to_owned(), asked, filters, sort, usual, part: "", next: String::new() }
    }

    /// R188: the address is the state of a list, and nothing else of the address goes on.
    #[test]
    fn the_address_is_the_state() {
        let mut one = list("q=a+b&state=&sort=name&cursor=c&other=x");
        assert_eq!(one.pairs("25"), [("q", "a b"), ("sort", "name"), ("cursor", "c"), ("limit", "25")]);
        one.found(&json!({ "next_cursor": "n" }));
        assert_eq!(one.next(), "/things?q=a+b&sort=name&before=c&cursor=n");
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

    /// R342: each page of a list leads to the one before it, as far back as the address remembers, and to the first one.
    #[test]
    fn each_page_leads_back() {
        let mut addresses = vec!["/things?q=x".to_owned()];
        for number in 2..=9 {
            let mut page = list(addresses.last().unwrap().split_once('?').unwrap().1);
            page.found(&json!({ "next_cursor": format!("c{number}") }));
            addresses.push(page.next().to_owned());
        }
        assert_eq!(addresses[3], "/things?q=x&before=c2&before=c3&cursor=c4");
        let page = |number: usize| list(addresses[number - 1].split_once('?').unwrap().1);
        assert_eq!((page(1).previous().as_str(), page(2).previous().as_str()), ("", "/things?q=x"));
        for number in 3..=5 {
            assert_eq!(page(number).previous(), addresses[number - 2], "{number}");
        }
        let mut back = page(9);
        for number in (6..=8).rev() {
            let previous = back.previous();
            assert!(previous.ends_with(&format!("&cursor=c{number}")), "{number}: {previous}");
            back = list(previous.split_once('?').unwrap().1);
        }
        assert_eq!((back.previous().as_str(), back.first().as_str()), ("", "/things?q=x"));
        assert_eq!(page(3).here(), addresses[2]);
        assert_eq!(page(3).with("state", "paused"), "/things?q=x&state=paused", "another list begins at its start");
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
