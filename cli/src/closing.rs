//! What a change has ended, and whether anybody can still accept it: its closure, which the answer holds, or names in a header where it has
//! no body, or where its body is what was changed.

use common::route;
use serde_json::{Value as Json, json};

use crate::{
    again,
    http::{Answer, Call, Client},
    show,
};

/// The closure of an answer; of one that cannot be read, its id alone. `None`: nothing was ended.
pub(crate) fn of(client: &Client, answer: &Answer) -> Option<Json> {
    if let Some(closure) = answer.json.get("closure").filter(|closure| closure.get("id").is_some()) {
        return Some(closure.clone());
    }
    let id = answer.closure.clone()?;
    // The change may have ended the credential that asks.
    let read = client.call(route::CLOSURE_GET, Call { names: vec![id.clone()], ..Call::default() });
    Some(read.map_or_else(|_| json!({ "id": id }), |read| read.json))
}

/// It as a line: how it stands, what has ended, and since when.
pub(crate) fn in_words(closure: &Json) -> String {
    let text = |json: &Json, name: &str| json.get(name).and_then(Json::as_str).map(show::line).unwrap_or_default();
    let id = text(closure, "id");
    let counts = closure.get("ended").and_then(Json::as_object).into_iter().flatten();
    let counts = counts.filter_map(|(what, count)| Some((what, count.as_u64().filter(|count| *count > 0)?)));
    let counts: Vec<String> = counts.map(|(what, count)| format!("{} {count}", show::line(what))).collect();
    // An agent that gets a smaller budget than it has spent is refused, and goes on with a larger one.
    let verb = if text(closure, "action") == "agent.update" { "Ended or refused" } else { "Ended" };
    let ended = if counts.is_empty() { String::new() } else { format!(" {verb}: {}.", counts.join(", ")) };
    again::told(&match text(closure, "status").as_str() {
        "closed" => {
            format!(
                "closed: Nothing of it is accepted anywhere since {}.{ended} Closure: {id}",
                text(closure, "closed_at")
            )
        }
        "partial" => {
            let guards = closure.get("waiting").and_then(Json::as_array).into_iter().flatten();
            let guards: Vec<String> = guards.map(|guard| text(guard, "guard")).collect();
            format!(
                "partial: {} can accept it until {} at most.{ended} Follow it with accredit closures get {id} --wait 25s",
                guards.join(", "),
                text(closure, "latest")
            )
        }
        _ => format!("closure: accredit closures get {id} says since when nobody accepts it."),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// R399: a line says how a closure stands, what has ended, and how to follow it.
    #[test]
    fn a_closure_is_one_line() {
        let mut closure = json!({
            "id": "cls_1", "ended": { "agents": 0, "tokens": 3, "keys": 1 }, "status": "closed",
            "closed_at": "2026-11-26T12:04:31.220Z", "latest": null, "waiting": [],
        });
        assert_eq!(
            in_words(&closure),
            "closed: Nothing of it is accepted anywhere since 2026-11-26T12:04:31.220Z. Ended: tokens 3, keys 1. Closure: cls_1"
        );
        closure["status"] = json!("partial");
        closure["latest"] = json!("2026-11-26T12:04:41.220Z");
        closure["waiting"] =
            json!([{ "guard": "crm\u{1b}[2J", "until": "2026-11-26T12:04:41.220Z" }, { "guard": "mail" }]);
        assert_eq!(
            in_words(&closure),
            "partial: crm[2J, mail can accept it until 2026-11-26T12:04:41.220Z at most. Ended: tokens 3, keys 1. Follow it with accredit \
             closures get cls_1 --wait 25s"
        );
        // R722: what is over its budget has not ended.
        closure["action"] = json!("agent.update");
        assert!(in_words(&closure).contains(" Ended or refused: tokens 3, keys 1."), "{}", in_words(&closure));
        let unread = in_words(&json!({ "id": "cls_1" }));
        assert_eq!(unread, "closure: accredit closures get cls_1 says since when nobody accepts it.");
    }
}
