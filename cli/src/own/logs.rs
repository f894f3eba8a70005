//! `agents logs --follow`: what is in the log, and then each line as it comes. No event tells of a line, so the log is read again and again,
//! each time from the number of the last line on. It is the log of one agent, by its id: another agent can get its name.

use std::{sync::mpsc::channel, time::Duration};

use clap::ArgMatches;
use common::route;
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
        let pause = if lines.len() == MOST { Duration::ZERO } else { PAUSE };
        if ended.recv_timeout(pause).is_ok() {
            return Ok(0);
        }
        lines = match log.next() {
            Ok(lines) => {
                lost.found();
                lines
            }
            Err(failure) if failure.passes() => {
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
    /// Its name, as it was typed.
    name: String,
    /// Its id; before the first answer the name.
    agent: String,
    /// What was typed: which lines.
    query: Vec<(String, String)>,
    /// Whether that is all of them.
    is_whole: bool,
    /// How many lines are shown first; `None`: all since the time that was typed.
    first: Option<usize>,
    /// The number of the last line that was read; 0: none was.
    last: i64,
}

impl<'v> Log<'v> {
    fn of(client: Client, verb: &'v Verb, typed: &ArgMatches) -> Result<Self, Failure> {
        is_somebody(&client, verb, typed)?;
        let agent = typed.get_one::<String>(&path_id("name")).cloned().unwrap_or_default();
        let mut query = query(verb, typed)?;
        let lines = query.iter().position(|(name, _)| name == "lines").map(|at| query.remove(at).1);
        let has = |name: &str| query.iter().any(|(known, _)| known == name);
        let first = match lines.map(|lines| lines.parse()) {
            Some(Ok(first @ 0..=MOST)) => Some(first),
            Some(_) => return Err(Failure::usage(format!("--lines is 0 to {MOST} with --follow."))),
            None => (!has("since")).then_some(FIRST),
        };
        let is_whole = !has("level") && !has("q");
        Ok(Self { client, verb, name: agent.clone(), agent, query, is_whole, first, last: 0 })
    }

    fn first(&mut self) -> Result<Vec<Json>, Failure> {
        let Some(first) = self.first else { return self.next() };
        let mut lines = self.page(&[("lines", first.max(1).to_string())])?;
        if first == 0 {
            lines.clear();
        }
        Ok(lines)
    }

    /// The lines next after the last one, as many as an answer holds.
    fn next(&mut self) -> Result<Vec<Json>, Failure> {
        let last = self.last;
        let lines = self.page(&[("after", last.to_string()), ("lines", MOST.to_string())])?;
        // The log keeps its newest lines. What it has forgotten by now was written since the last look.
        let forgotten = lines.first().and_then(number).map_or(0, |next| next - last - 1);
        if self.is_whole && last > 0 && forgotten > 0 {
            show::say(&format!("{forgotten} lines are left out: the log has forgotten them."));
        }
        Ok(lines)
    }

    fn page(&mut self, more: &[(&str, String)]) -> Result<Vec<Json>, Failure> {
        let mut query = self.query.clone();
        query.extend(more.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
        let call = Call { names: vec![self.agent.clone()], query, ..Call::default() };
        let answer = self.client.call(self.verb.route, call).map_err(|failure| match failure.slug() {
            "agent_not_found" if self.agent != self.name => self.gone(),
            _ => fix::in_options(self.verb, failure),
        })?;
        if let Some(id) = answer.json.get("id").and_then(Json::as_str) {
            id.clone_into(&mut self.agent);
        }
        let lines = list(&answer.json, "lines").to_vec();
        if let Some(last) = lines.last().and_then(number) {
            self.last = last;
            // Several hosts write, each with a clock of its own.
            self.query.retain(|(name, _)| name != "since");
        }
        Ok(lines)
    }

    /// The agent was archived, or may not be read any more. Another one can have its name by now.
    fn gone(&self) -> Failure {
        let name = show::line(&self.name);
        Failure::new(
            Exit::Refused,
            format!("The agent {name} that this log is of is no more, or not yours to read any more."),
        )
        .fix(format!("Follow the agent that has the name now, if there is one: accredit agents logs {name} --follow"))
    }
}

fn number(line: &Json) -> Option<i64> {
    line.get("seq")?.as_i64()
}
