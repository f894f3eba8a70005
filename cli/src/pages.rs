//! Lists, which the server hands out page by page. A list of any length is printed as it is read, and is never held whole.

use std::io::IsTerminal as _;

use clap::ArgMatches;
use common::{
    json::escaped,
    route::{Query, Route},
};
use serde_json::{Map, Value as Json};

use crate::{
    fail::Failure,
    http::{Answer, Call, Client},
    show,
    verbs::{Show, Verb},
};

/// Items that one answer holds at most.
const MOST: usize = 200;

/// Whether a route hands out pages.
pub(crate) fn is_paged(route: &Route) -> bool {
    matches!(route.query, Query::Only(known) if known.contains(&"cursor"))
}

/// The pages of a list, one after the other.
pub(crate) struct Pages<'c> {
    client: &'c Client,
    route: &'c Route,
    names: Vec<String>,
    query: Vec<(String, String)>,
    /// Items that are still wanted; `None`: all.
    left: Option<usize>,
    is_at_end: bool,
}

impl<'c> Pages<'c> {
    /// At most `most` items of a list, from the cursor of the query on.
    pub(crate) fn new(
        client: &'c Client,
        route: &'c Route,
        names: &[String],
        query: Vec<(String, String)>,
        most: Option<usize>,
    ) -> Self {
        Self { client, route, names: names.to_vec(), query, left: most, is_at_end: false }
    }

    fn set(&mut self, name: &str, value: String) {
        self.query.retain(|(known, _)| known != name);
        self.query.push((name.to_owned(), value));
    }

    /// The next page, with its items in this member. `None`: there is none, or enough was read.
    pub(crate) fn next(&mut self, member: &str) -> Result<Option<Answer>, Failure> {
        if self.is_at_end || self.left == Some(0) {
            return Ok(None);
        }
        let limit = self.left.map_or(MOST, |left| left.min(MOST));
        self.set("limit", limit.to_string());
        let call = Call { names: self.names.clone(), query: self.query.clone(), ..Call::default() };
        let page = self.client.call(self.route, call)?;
        self.left = self.left.map(|left| left.saturating_sub(list(&page.json, member).len()));
        match cursor(&page.json).map(str::to_owned) {
            // A server that leads in a circle would never end.
            Some(next) if self.query.iter().all(|(_, value)| *value != next) => self.set("cursor", next),
            _ => self.is_at_end = true,
        }
        Ok(Some(page))
    }
}

/// The items of a list, page by page, until there are as many as `most` or no more.
pub(crate) fn items(client: &Client, route: &Route, names: &[String], most: usize) -> Result<Vec<Json>, Failure> {
    let mut pages = Pages::new(client, route, names, Vec::new(), None);
    let mut items = Vec::new();
    while let Some(page) = pages.next("items")? {
        items.extend_from_slice(list(&page.json, "items"));
        if items.len() >= most {
            break;
        }
    }
    Ok(items)
}

/// How many items are wanted, where that is more than one answer holds; `Some(None)`: all.
pub(crate) fn wanted(verb: &Verb, typed: &ArgMatches) -> Option<Option<usize>> {
    if !is_paged(verb.route) {
        return None;
    }
    match limit(typed) {
        _ if typed.get_flag("all") => Some(None),
        limit => limit.filter(|limit| *limit > MOST).map(Some),
    }
}

/// The limit of a list that was typed.
pub(crate) fn limit(typed: &ArgMatches) -> Option<usize> {
    typed.try_get_one::<usize>("limit").ok().flatten().copied()
}

/// Prints pages as they come: a table, or one document of JSON.
pub(crate) fn print(mut pages: Pages<'_>, verb: &Verb, is_json: bool) -> Result<(), Failure> {
    let (member, columns) = match verb.show {
        Show::Table(member, columns) => (member, columns),
        _ => ("items", &[][..]),
    };
    let (mut table, mut last) = (show::Columns::default(), Json::Null);
    let mut is_begun = false;
    loop {
        let page = match pages.next(member) {
            Ok(Some(page)) => page.json,
            Ok(None) => break,
            Err(mut failure) => {
                // It does not stand within a document that has begun.
                if is_begun && is_json {
                    show::raw("\n");
                    failure.answer = None;
                }
                return Err(failure);
            }
        };
        let rows = list(&page, member);
        match is_json {
            true if !rows.is_empty() => {
                let texts: Vec<String> = rows.iter().map(|row| escaped(&row.to_string())).collect();
                let before = if is_begun { ",\n".to_owned() } else { format!("{{\"{member}\":[\n") };
                show::raw(&format!("{before}{}", texts.join(",\n")));
                is_begun = true;
            }
            false if !rows.is_empty() => {
                show::out(&table.page(rows, columns));
                is_begun = true;
            }
            _ => {}
        }
        last = page;
    }
    if is_json {
        let rest: Map<String, Json> =
            last.as_object().cloned().into_iter().flatten().filter(|(name, _)| name != member).collect();
        let rest: Vec<String> =
            rest.iter().map(|(name, value)| format!(",{}:{value}", Json::from(name.as_str()))).collect();
        let begin = if is_begun { "\n".to_owned() } else { format!("{{\"{member}\":[") };
        show::raw(&format!("{begin}]{}}}\n", escaped(&rest.concat())));
    } else if !is_begun {
        show::say("There is nothing.");
    }
    hint(&last, is_json);
    Ok(())
}

/// Says that there is more. A program that reads JSON sees the cursor itself.
pub(crate) fn hint(page: &Json, is_json: bool) {
    let is_whole = page.get("more") != Some(&Json::Bool(true));
    let words = match cursor(page) {
        Some(_) => "There is more: add --all, or a --limit.",
        // A part for which nobody can ask.
        None if !is_whole => "There are more, which are not shown.",
        None => return,
    };
    if !is_json || std::io::stdout().is_terminal() {
        show::say(words);
    }
}

fn cursor(page: &Json) -> Option<&str> {
    page.get("next_cursor").and_then(Json::as_str)
}

/// The items of a member.
pub(crate) fn list<'j>(json: &'j Json, name: &str) -> &'j [Json] {
    json.get(name).and_then(Json::as_array).map_or(&[], Vec::as_slice)
}
