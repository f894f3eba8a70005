//! Answers that a model can take: programs refuse a tool's answer of some 100 KB, and then the model sees none of it.

use common::route::{self, Query, Route};
use serde_json::{Value as Json, json};

/// Bytes of an answer at most, where it can be made shorter.
const MOST: usize = 64 * 1024;
/// Bytes of one member of an event's data in such an answer at most.
const MOST_OF_A_MEMBER: usize = 4 * 1024;
/// Bytes of a list at most.
const MOST_OF_A_LIST: usize = 100_000;

/// A shorter page of an inbox, for a page that is too long: as many of the first events as fit, each with its id, and without the members of
/// its data that are long. `None`: it is short enough.
pub(crate) fn inbox(text: &str) -> Option<Json> {
    if text.len() <= MOST {
        return None;
    }
    let mut page: Json = serde_json::from_str(text).ok()?;
    let items = page.get_mut("items")?.as_array_mut()?;
    let mut left = MOST;
    let mut kept = 0;
    for item in items.iter_mut() {
        shorten(item.get_mut("data")?);
        let length = item.to_string().len();
        if kept > 0 && length > left {
            break;
        }
        left = left.saturating_sub(length);
        kept += 1;
    }
    items.truncate(kept);
    let last = items.last().and_then(|item| item.get("id")).cloned();
    if let (Some(last), Some(cursor)) = (last, page.get_mut("cursor")) {
        *cursor = last;
    }
    Some(page)
}

/// Takes the long members out of an event's data, and says so.
fn shorten(data: &mut Json) {
    let Some(members) = data.as_object_mut() else { return };
    let mut bytes = 0;
    for value in members.values_mut() {
        let length = value.to_string().len();
        if length > MOST_OF_A_MEMBER {
            bytes += length;
            *value = Json::Null;
        }
    }
    if bytes > 0 {
        members.insert("withheld".to_owned(), json!("too_large"));
        members.insert("withheld_bytes".to_owned(), json!(bytes));
    }
}

/// What a model is told instead of a list that is too long.
pub(crate) fn too_long(route: &Route, length: usize) -> Option<String> {
    let has_limit = matches!(route.query, Query::Only(known) if known.contains(&"limit"));
    (length > MOST_OF_A_LIST && has_limit && *route != *route::INBOX).then(|| {
        format!(
            "The answer has {} KB, which is more than most programs hand on to a model. Call the tool again with limit=10, and go on with cursor.",
            length / 1000
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(seq: usize, data: &Json) -> Json {
        json!({ "id": format!("evt_{seq:016}"), "type": "hook", "at": "2026-11-29T10:00:00.000Z", "data": data })
    }

    /// R674: an inbox that is too long for a model comes in part, with the ids that it acknowledges.
    #[test]
    fn a_long_inbox_comes_in_part() {
        let large = event(1, &json!({ "hook": "gh", "body": { "text": "x".repeat(1024 * 1024) } }));
        let page = json!({ "items": [large, event(2, &json!({ "text": "hi" }))], "cursor": "evt_0000000000000002" });
        let short = inbox(&page.to_string()).unwrap();
        assert_eq!(short["items"][0]["data"]["hook"], "gh");
        assert_eq!(
            (&short["items"][0]["data"]["body"], &short["items"][0]["data"]["withheld"]),
            (&Json::Null, &json!("too_large"))
        );
        assert_eq!((&short["items"][1], &short["cursor"]), (&page["items"][1], &page["cursor"]));
        // Many of middle length: the first ones, and the place of the last of them.
        let items: Vec<Json> = (1..=50).map(|seq| event(seq, &json!({ "body": "y".repeat(4000) }))).collect();
        let short = inbox(&json!({ "items": items, "cursor": "evt_0000000000000050" }).to_string()).unwrap();
        let left = short["items"].as_array().unwrap();
        assert!((5..50).contains(&left.len()) && short.to_string().len() < MOST + 2000);
        assert_eq!(short["cursor"], left.last().unwrap()["id"]);
        assert_eq!(left[0], items[0]);
        assert_eq!(inbox(&json!({ "items": [event(1, &json!({}))], "cursor": "evt_1" }).to_string()), None);
        assert_eq!(inbox(&"x".repeat(MOST + 1)), None);
    }

    /// R674: a list that is too long says how to get a shorter one.
    #[test]
    fn a_long_list_says_how_to_get_less() {
        assert!(too_long(route::AUDIT_LIST, 100_001).is_some_and(|said| said.contains("limit=10")));
        for (route, length) in [(route::AUDIT_LIST, 100_000), (route::INBOX, 500_000), (route::AGENTS_GET, 500_000)] {
            assert_eq!(too_long(route, length), None);
        }
    }
}
