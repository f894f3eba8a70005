//! The steps of refusals as commands of this CLI: `POST /api/agents/scout/resume` is `accredit agents resume scout`.

use common::route::{self, Route};
use serde_json::Value as Json;

use crate::verbs::{self, At, Kind, Verb};

/// What a person does for these, although they are routes of programs.
const OTHERS: &[(&Route, &str)] = &[
    (route::SIGN_IN, "accredit auth login"),
    (route::DOCTOR, "accredit doctor"),
    (route::OWN_END, "accredit auth logout"),
    (route::LOGOUT, "accredit auth logout"),
];

/// The text with each request that has a verb as the command.
pub(crate) fn in_commands(text: &str) -> String {
    let (mut written, mut rest) = (String::new(), text);
    while let Some((before, request, after)) = next_request(rest) {
        written.push_str(before);
        match command(&request) {
            Some(command) => written.push_str(&command),
            None => written.push_str(rest.get(before.len()..rest.len() - after.len()).unwrap_or_default()),
        }
        rest = after;
    }
    written.push_str(rest);
    written
}

/// A request that stands in a text.
struct Request<'a> {
    method: &'a str,
    path: &'a str,
    query: &'a str,
    body: Option<Json>,
}

/// The first request in a text, with what stands before and after it.
fn next_request(text: &str) -> Option<(&str, Request<'_>, &str)> {
    let methods = ["GET", "POST", "PUT", "PATCH", "DELETE"];
    let places = methods.iter().filter_map(|method| Some((text.find(&format!("{method} /"))?, *method)));
    let (at, method) = places.min_by_key(|(at, _)| *at)?;
    let (before, from) = text.split_at_checked(at)?;
    let from = from.get(method.len() + 1..)?;
    let end = from.find([' ', ',', ';', ')', ':']).unwrap_or(from.len());
    let (target, mut after) = from.split_at_checked(end)?;
    let bare = target.trim_end_matches('.');
    if bare.len() < target.len() {
        after = from.get(bare.len()..)?;
    }
    let (path, query) = bare.split_once('?').unwrap_or((bare, ""));
    let mut body = None;
    if let Some(object) = after.strip_prefix(' ').filter(|rest| rest.starts_with('{')) {
        let close = object.find('}')?;
        let (object, left) = object.split_at_checked(close + 1)?;
        // A form with holes: what the person has to fill in stands in angles.
        body = serde_json::from_str(&object.replace(": <", ": \"<").replace(">}", ">\"}").replace(">,", ">\",")).ok();
        after = left;
    }
    Some((before, Request { method, path, query, body }, after))
}

fn command(request: &Request<'_>) -> Option<String> {
    let other = OTHERS.iter().find(|(route, _)| route.method == request.method && route.path == request.path);
    if let Some((_, command)) = other {
        return Some((*command).to_owned());
    }
    let all = verbs::all();
    let fitting = all.iter().filter(|verb| verb.route.method == request.method);
    let matching = fitting.filter_map(|verb| Some((verb, named(verb.route.path, request.path)?)));
    let (verb, names) = matching.min_by_key(|(_, names)| names.len())?;
    let mut words = vec!["accredit".to_owned(), verb.words.to_owned()];
    words.extend(names.into_iter().map(quoted));
    for (name, value) in form_urlencoded::parse(request.query.as_bytes()) {
        words.push(flag(verb, At::Query, &name, &quoted(&value)));
    }
    for (name, value) in request.body.iter().filter_map(Json::as_object).flatten() {
        let value = match value {
            Json::String(text) => text.clone(),
            Json::Array(list) => list.iter().filter_map(Json::as_str).collect::<Vec<_>>().join(","),
            other => other.to_string(),
        };
        words.push(flag(verb, At::Body, name, &quoted(&value)));
    }
    Some(words.join(" "))
}

fn flag(verb: &Verb, at: At, name: &str, value: &str) -> String {
    let input = verb.inputs.iter().find(|input| input.at == at && input.name == name);
    let name = verbs::long(name);
    match input {
        Some(input) if input.is_positional => value.to_owned(),
        // A secret is asked for.
        Some(input) if input.kind == Kind::Secret => format!("--{name} -"),
        Some(input) if input.kind == Kind::No => format!("--{name}"),
        _ => format!("--{name} {value}"),
    }
}

/// What the names of a pattern stand for in a path. `None`: it is of another pattern.
fn named<'p>(pattern: &str, path: &'p str) -> Option<Vec<&'p str>> {
    let (mut names, mut parts) = (Vec::new(), path.split('/'));
    for segment in pattern.split('/') {
        let part = parts.next()?;
        if segment.starts_with('{') {
            names.push(part);
        } else if segment != part {
            return None;
        }
    }
    parts.next().is_none().then_some(names)
}

/// A word of a shell.
fn quoted(text: &str) -> String {
    let is_plain = |c: char| c.is_alphanumeric() || "-_.,@:/+=*".contains(c);
    if !text.is_empty() && text.chars().all(|c| is_plain(c) && c != '*') {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_is_a_command() {
        for (text, expected) in [
            (
                "Resume the agent with POST /api/agents/scout/resume.",
                "Resume the agent with accredit agents resume scout.",
            ),
            (
                "Send GET /api/agents to list them. Names are short.",
                "Send accredit agents list to list them. Names are short.",
            ),
            (
                "Sign in again with POST /auth/token {\"email\": \"…\", \"password\": \"…\"}. To create one, send POST /auth/tokens {\"name\": \"…\"} with it.",
                "Sign in again with accredit auth login. To create one, send accredit token create '…' with it.",
            ),
            (
                "Ask for it: POST /api/access-requests {\"scope\": \"agents.delete\", \"reason\": \"…\"}. Then wait.",
                "Ask for it: accredit access request agents.delete --reason '…'. Then wait.",
            ),
            (
                "Raise it: PATCH /api/agents/scout {\"budget_cents\": <more>} or {\"spent_cents\": 0}.",
                "Raise it: accredit agents update scout --budget-cents '<more>' or {\"spent_cents\": 0}.",
            ),
            ("Send GET /api to list every route.", "Send GET /api to list every route."),
            (
                "GET /auth/tokens and GET /api/agents/<name>/keys list them",
                "accredit token list and accredit agents keys list '<name>' list them",
            ),
            ("Wait.", "Wait."),
            ("GET /", "GET /"),
        ] {
            assert_eq!(in_commands(text), expected);
        }
    }
}
