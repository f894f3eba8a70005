//! `agents logs --follow`: what is in the log, and then each line as it comes. No event tells of a line, so the log is read again and again.
//!
//! A line has a time and no number, and several hosts write: a line can come behind one that is a little younger. So each look goes back
//! a little behind the newest line, and what was seen before is left out.

use std::{collections::HashMap, sync::mpsc::channel, time::Duration};

use clap::ArgMatches;
use common::{route, time::Timestamp};
use serde_json::Value as Json;

use super::{Lost, stop};
use crate::{
    context::Context,
    fail::{Exit, Failure},
    fix,
    http::{Call, Client},
    line::path_id,
    pages::list,
    run::{is_somebody, log_line, query},
    show,
    verbs::{self, Verb},
};

/// Between two looks.
const PAUSE: Duration = Duration::from_secs(1);
/// Lines of one answer.
const MOST: usize = 1_000;
/// Lines that are shown first, unless somebody says.
const FIRST: usize = 100;
/// How much older a line may be than one before it, seconds.
const LATE: i64 = 10;

pub(super) fn follow(context: &Context, typed: &ArgMatches) -> Result<u8, Failure> {
    let verbs = verbs::all();
    let verb =
        verbs.iter().find(|verb| verb.route == route::LOGS_READ).ok_or_else(|| Failure::usage("No such verb."))?;
    let mut log = Log::of(context.client()?.signed_in()?, verb, typed)?;
    let (end, ended) = channel();
    stop::told(move || {
        _ = end.send(());
    })?;
    let mut lines = log.first()?;
    let mut lost = Lost::default();
    loop {
        for line in &lines {
            match context.is_json {
                true => show::json(line),
                false => show::out(&log_line(line)),
            }
        }
        if ended.recv_timeout(PAUSE).is_ok() {
            return Ok(0);
        }
        lines = match log.next() {
            Ok(lines) => {
                lost.found();
                lines
            }
            Err(failure) if failure.exit == Exit::Unreachable => {
                lost.say(&failure);
                Vec::new()
            }
            Err(failure) => return Err(failure),
        };
    }
}

/// A log that is read.
struct Log<'v> {
    client: Client,
    verb: &'v Verb,
    agent: String,
    /// What was typed: which lines, and since when.
    query: Vec<(String, String)>,
    since: Option<Timestamp>,
    /// How many lines are shown first; `None`: all since then.
    first: Option<usize>,
    /// The lines that a look behind the newest one can bring again.
    seen: Vec<Json>,
}

impl<'v> Log<'v> {
    fn of(client: Client, verb: &'v Verb, typed: &ArgMatches) -> Result<Self, Failure> {
        is_somebody(&client, verb, typed)?;
        let agent = typed.get_one::<String>(&path_id("name")).cloned().unwrap_or_default();
        let mut query = query(verb, typed)?;
        let mut take = |name: &str| query.iter().position(|(known, _)| known == name).map(|at| query.remove(at).1);
        let (since, lines) = (take("since"), take("lines"));
        let since = since.and_then(|since| Timestamp::parse(&since));
        let first = match lines.map(|lines| lines.parse()) {
            Some(Ok(first @ 0..=MOST)) => Some(first),
            Some(_) => return Err(Failure::usage(format!("--lines is 0 to {MOST} with --follow."))),
            None => since.is_none().then_some(FIRST),
        };
        Ok(Self { client, verb, agent, query, since, first, seen: Vec::new() })
    }

    fn first(&mut self) -> Result<Vec<Json>, Failure> {
        let Some(first) = self.first else { return self.next() };
        self.seen = self.page(None)?;
        // What did not fit is older, and is not shown later.
        if self.seen.len() == MOST {
            self.since =
                self.since.max(self.seen.first().and_then(at).map(|at| Timestamp::from_millis(at.millis() + 1)));
        }
        let lines = self.seen.get(self.seen.len().saturating_sub(first)..).unwrap_or_default().to_vec();
        self.go_on();
        Ok(lines)
    }

    /// The lines that have come since the last look.
    fn next(&mut self) -> Result<Vec<Json>, Failure> {
        let mut all = self.page(None)?;
        let mut is_full = all.len() == MOST;
        // More than an answer holds: a machine slept, or an agent is talkative.
        while let Some(oldest) = all.first().and_then(at).filter(|_| is_full) {
            let earlier = self.page(Some(oldest.plus_seconds(LATE)))?;
            is_full = earlier.len() == MOST;
            let mut earlier = without(earlier, &all);
            is_full &= !earlier.is_empty();
            earlier.append(&mut all);
            all = earlier;
        }
        let lines = without(all.clone(), &self.seen);
        self.seen = all;
        self.go_on();
        Ok(lines)
    }

    /// The next look begins a little behind the newest line.
    fn go_on(&mut self) {
        let newest = self.seen.iter().filter_map(at).max();
        self.since = self.since.max(newest.map(|newest| newest.plus_seconds(-LATE)));
        let since = self.since;
        self.seen.retain(|line| at(line) >= since);
    }

    fn page(&self, until: Option<Timestamp>) -> Result<Vec<Json>, Failure> {
        let mut query = self.query.clone();
        query.push(("lines".to_owned(), MOST.to_string()));
        query.extend(self.since.map(|since| ("since".to_owned(), since.to_string())));
        query.extend(until.map(|until| ("until".to_owned(), until.to_string())));
        let call = Call { names: vec![self.agent.clone()], query, ..Call::default() };
        let answer = self.client.call(self.verb.route, call).map_err(|failure| fix::in_options(self.verb, failure))?;
        Ok(list(&answer.json, "lines").to_vec())
    }
}

fn at(line: &Json) -> Option<Timestamp> {
    Timestamp::parse(line.get("at")?.as_str()?)
}

/// The lines that are not among the known ones. Lines that are equal are counted.
fn without(lines: Vec<Json>, known: &[Json]) -> Vec<Json> {
    let mut left: HashMap<String, usize> = HashMap::new();
    for line in known {
        *left.entry(line.to_string()).or_default() += 1;
    }
    let is_new = |line: &Json| match left.get_mut(&line.to_string()) {
        Some(count) if *count > 0 => {
            *count -= 1;
            false
        }
        _ => true,
    };
    let mut lines = lines;
    let mut is_new = is_new;
    lines.retain(|line| is_new(line));
    lines
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// R285: a line that is written twice is shown twice, and one that was seen once.
    #[test]
    fn lines_that_are_equal_are_counted() {
        let line = |text: &str| json!({ "at": "2026-11-27T10:00:00.000Z", "level": "info", "text": text });
        let known = [line("a"), line("a"), line("b")];
        let read = vec![line("a"), line("b"), line("a"), line("c"), line("a")];
        assert_eq!(without(read, &known), [line("c"), line("a")]);
    }
}
