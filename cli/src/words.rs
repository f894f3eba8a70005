//! What fields and parameters are, in the words of the API's own description: `docs/reference/words.json`, of which the server makes
//! `/openapi.json` and the pages of the routes too. A help adds how something is typed.

use std::sync::LazyLock;

use common::route::Route;
use serde_json::{Map, Value as Json};

use crate::{
    span::Unit,
    verbs::{Input, Kind},
};

static WORDS: LazyLock<Map<String, Json>> =
    LazyLock::new(|| serde_json::from_str(include_str!("../../docs/reference/words.json")).unwrap_or_default());

/// What a field or a parameter of a route is, without the full stop; of a name in the path `{name}`.
pub(crate) fn of(route: &Route, name: &str) -> &'static str {
    let words = WORDS.get(&format!("{} {}", route.method, route.path)).and_then(|words| words.get(name)?.as_str());
    words.map_or("", |words| words.trim_end_matches('.'))
}

/// What a command asks for: the words up to the first that are about the API alone.
pub(crate) fn short(route: &Route, name: &str) -> &'static str {
    of(route, name).split(';').next().unwrap_or_default()
}

/// The help of a parameter of a query that has a flag.
pub(crate) fn of_parameter(route: &Route, name: &str) -> String {
    let typed = match name {
        "since" | "until" | "unused_since" => ": 2026-11-22, 2026-11-22T02:38:46Z, or how long ago, such as 2h",
        "has_token" | "active" | "unread_only" | "confirm" => ": true or false",
        "wait" => ", also as 25s",
        "format" if route.path.starts_with("/api/agents/") => "; or docker (lines for docker run --env-file)",
        _ => "",
    };
    of(route, name).to_owned() + typed
}

/// The help of an input.
pub(crate) fn of_input(input: &Input) -> String {
    if input.kind == Kind::File {
        return input.typed.to_owned();
    }
    // What null is in JSON is another word here, and so is the unit of a number.
    let words = of(input.route, input.name).replace("left out or null", "left out");
    let mut parts = words.split("; ").filter(|part| !part.starts_with("null:"));
    let first = parts.next().unwrap_or_default();
    let rest: String = parts.map(|part| format!("; {part}")).collect();
    let what = match input.kind {
        Kind::Lasts(_) | Kind::Life => without_unit(first).to_owned(),
        Kind::No => format!("No: {}", lower(first)),
        _ => first.to_owned(),
    };
    let what = what + input.typed;
    let typed = match input.kind {
        Kind::Lasts(unit) => format!(": {}", unit.forms(input.null)),
        Kind::Life => format!(": 12h, {}", Unit::Days.forms(input.null)),
        Kind::Words | Kind::Texts => ", separated by commas".to_owned(),
        Kind::Pairs => ", each as name=value".to_owned(),
        Kind::Truth => ": true or false".to_owned(),
        Kind::Data if !what.contains("JSON") => ", as JSON".to_owned(),
        Kind::Object => ": a file of JSON; - is standard input".to_owned(),
        Kind::When => ": 2026-11-22, 2026-11-22T02:38:46Z, or how long ago, such as 2h".to_owned(),
        Kind::Secret | Kind::SecretText if input.is_required => {
            ": - reads it from standard input; left out, it is asked for".to_owned()
        }
        Kind::Secret | Kind::SecretText => ": - reads it from standard input".to_owned(),
        Kind::Text | Kind::Number | Kind::Data | Kind::No | Kind::File => String::new(),
    };
    match input.null {
        Some(null) if !matches!(input.kind, Kind::Lasts(_) | Kind::Life) => format!("{what}{typed}, or {null}{rest}"),
        _ => what + &typed + &rest,
    }
}

/// Durations are typed with their unit.
fn without_unit(words: &str) -> &str {
    let units = [", seconds", ", minutes", ", hours", ", days"];
    units.iter().find_map(|unit| words.strip_suffix(unit)).unwrap_or(words)
}

fn lower(words: &str) -> String {
    let mut all = words.chars();
    all.next().map(|first| first.to_lowercase().chain(all).collect()).unwrap_or_default()
}
