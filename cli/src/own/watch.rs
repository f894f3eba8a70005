//! `agents watch`: the tree as it changes. On a terminal it is drawn anew in its place; into a pipe goes a line for each change. It looks when
//! the server's stream says that something has changed, and now and then in any case.

use std::{collections::BTreeMap, io::IsTerminal as _, sync::mpsc::channel, time::Duration};

use clap::ArgMatches;
use common::route;
use serde_json::{Value as Json, json};

use super::{
    lines_of_tree,
    news::{self, News},
    stop,
};
use crate::{
    context::Context,
    fail::Failure,
    http::{Call, Client},
    pages::list,
    show,
};

/// A page of the list as it was last read.
#[derive(Default)]
struct Page {
    tag: Option<String>,
    items: Vec<Json>,
    next: Option<String>,
}

pub(super) fn watch(context: &Context, typed: &ArgMatches) -> Result<u8, Failure> {
    let client = context.client()?.signed_in()?;
    let typed = typed.get_one::<u64>("every").copied();
    let (news, told) = channel();
    let end = news.clone();
    stop::told(move || drop(end.send(News::Stop)))?;
    let mut shown = Shown::default();
    let mut pages = Vec::new();
    let mut agents = read(&client, &mut pages)?;
    let listener = context.client()?;
    // Held here too: a listener that has nothing to listen to ends, and the watcher goes on.
    let to_listener = news.clone();
    std::thread::spawn(move || news::listen(&listener, &to_listener));
    let mut every = 1;
    let mut is_lost = false;
    loop {
        shown.show(&agents, context.is_json);
        // Several events that came at once take one look.
        let first = told.recv_timeout(Duration::from_secs(typed.unwrap_or(every)));
        for news in first.into_iter().chain(std::iter::from_fn(|| told.try_recv().ok())) {
            match news {
                News::Look => {}
                News::Every(seconds) => every = seconds,
                News::Ended(failure) => return Err(failure),
                News::Stop => return Ok(0),
            }
        }
        match read(&client, &mut pages) {
            Ok(read) => {
                if std::mem::take(&mut is_lost) {
                    shown.say("It answers again.");
                }
                agents = read;
            }
            Err(failure) if failure.passes() => {
                if !std::mem::replace(&mut is_lost, true) {
                    shown.say(&format!("{} Trying again.", failure.sentence));
                }
            }
            Err(failure) => return Err(failure),
        }
    }
}

/// All agents that the caller may read. A page that is as it was is not sent again.
fn read(client: &Client, pages: &mut Vec<Page>) -> Result<Vec<Json>, Failure> {
    let (mut at, mut cursor) = (0, None);
    loop {
        if at == pages.len() {
            pages.push(Page::default());
        }
        let Some(page) = pages.get_mut(at) else { break };
        let mut query = vec![("limit".to_owned(), "200".to_owned())];
        query.extend(cursor.take().map(|cursor: String| ("cursor".to_owned(), cursor)));
        let answer = client.call(route::AGENTS_LIST, Call { query, known: page.tag.clone(), ..Call::default() })?;
        if !answer.is_known {
            page.items = list(&answer.json, "items").to_vec();
            page.next = answer.json.get("next_cursor").and_then(Json::as_str).map(str::to_owned);
            page.tag = answer.tag;
        }
        at += 1;
        cursor.clone_from(&page.next);
        if cursor.is_none() {
            break;
        }
    }
    pages.truncate(at);
    Ok(pages.iter().flat_map(|page| page.items.iter().cloned()).collect())
}

/// What the reader has seen.
#[derive(Default)]
struct Shown {
    states: BTreeMap<String, String>,
    lines: Vec<String>,
}

impl Shown {
    fn show(&mut self, agents: &[Json], is_json: bool) {
        match is_json || !std::io::stdout().is_terminal() {
            true => self.tell(agents, is_json),
            false => self.draw(lines_of_tree(agents)),
        }
    }

    /// A line for each agent that is new, has another state, or is gone.
    fn tell(&mut self, agents: &[Json], is_json: bool) {
        let text = |agent: &Json, name: &str| agent.get(name).and_then(Json::as_str).unwrap_or_default().to_owned();
        let states: BTreeMap<String, String> =
            agents.iter().map(|agent| (text(agent, "name"), text(agent, "state"))).collect();
        let gone = self.states.keys().filter(|name| !states.contains_key(*name)).map(|name| (name, None));
        let changed = states.iter().filter(|(name, state)| self.states.get(*name) != Some(state));
        for (name, state) in changed.map(|(name, state)| (name, Some(state))).chain(gone) {
            match is_json {
                true => show::json(&json!({ "name": name, "state": state })),
                false => {
                    show::out(&format!("{}  {}", show::line(name), show::line(state.map_or("gone", |state| state))));
                }
            }
        }
        self.states = states;
    }

    /// Draws the tree over the one before, as much of it as there is room for.
    fn draw(&mut self, mut lines: Vec<String>) {
        let terminal = console::Term::stdout();
        let (rows, columns) = terminal.size();
        let room = usize::from(rows).saturating_sub(2).max(1);
        if lines.len() > room {
            let more = lines.len() - room;
            lines.truncate(room);
            lines.push(format!("and {more} more"));
        }
        if lines.is_empty() {
            lines.push("There are no agents.".to_owned());
        }
        let lines: Vec<String> =
            lines.into_iter().map(|line| line.chars().take(usize::from(columns).max(1)).collect()).collect();
        if lines != self.lines {
            drop(terminal.clear_last_lines(self.lines.len()));
            show::out(&lines.join("\n"));
            self.lines = lines;
        }
    }

    /// A word beside the output; the tree is drawn below it.
    fn say(&mut self, text: &str) {
        show::say(text);
        self.lines.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_are_remembered_and_an_agent_that_is_gone_is_forgotten() {
        let mut shown = Shown::default();
        let agents = |state: &str| vec![json!({ "name": "a", "state": state })];
        shown.tell(&agents("running"), true);
        assert_eq!(shown.states, BTreeMap::from([("a".to_owned(), "running".to_owned())]));
        shown.tell(&[], true);
        assert!(shown.states.is_empty());
    }
}
