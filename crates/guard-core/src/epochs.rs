//! What has ended, as far as the guard has heard.

use std::collections::VecDeque;

use serde_json::Value as Json;

/// The most changes that are kept. What is older than all of them counts as not known.
const MOST: usize = 10_000;

/// A change that took a right away.
#[derive(Debug)]
struct Change {
    epoch: i64,
    /// The id of what has ended. `None`: anything can have been narrowed.
    id: Option<String>,
}

/// The changes since a beginning, without gaps.
#[derive(Debug)]
pub(crate) struct Epochs {
    /// Everything behind this number is known.
    begins: i64,
    /// The last number that was taken in.
    last: i64,
    changes: VecDeque<Change>,
}

impl Epochs {
    /// Nothing is known before this number.
    pub(crate) fn begin(epoch: i64) -> Self {
        Self { begins: epoch, last: epoch, changes: VecDeque::new() }
    }

    /// The last number that was taken in.
    pub(crate) fn last(&self) -> i64 {
        self.last
    }

    /// Takes in a page of them. `None`: it is none, or does not follow what is known.
    pub(crate) fn take(&mut self, page: &Json) -> Option<Taken> {
        let items = page.get("items")?.as_array()?;
        let mut changes = Vec::new();
        for (item, expected) in items.iter().zip(self.last.checked_add(1)?..) {
            if item.get("epoch")?.as_i64()? != expected {
                return None;
            }
            let word = |name: &str| item.get(name).and_then(Json::as_str);
            let id = match (word("kind")?, word("change")?) {
                // A key is the secret of a hook, which no guard sees.
                ("key", "ended" | "halted") => Some(String::new()),
                ("credential" | "agent" | "user", "ended" | "halted") => Some(word("id")?.to_owned()),
                // What rests on something that was narrowed is narrowed too; and so may it be with what is not known here.
                _ => None,
            };
            changes.push(Change { epoch: expected, id });
        }
        let last = changes.last().map_or(self.last, |change| change.epoch);
        if page.get("epoch")?.as_i64()? != last {
            return None;
        }
        self.last = last;
        self.changes.extend(changes);
        while self.changes.len() > MOST {
            self.begins = self.changes.pop_front().map_or(self.begins, |dropped| dropped.epoch);
        }
        Some(Taken { is_all: page.get("more").and_then(Json::as_bool) == Some(false) })
    }

    /// Whether something that was true at `epoch`, and rests on these ids, may have ended since.
    pub(crate) fn concern<'i>(&self, epoch: i64, rests_on: impl Iterator<Item = &'i str> + Clone) -> bool {
        if !(self.begins..=self.last).contains(&epoch) {
            return true;
        }
        let after = self.changes.iter().rev().take_while(|change| change.epoch > epoch);
        let concerns = |id: &String| rests_on.clone().any(|own| own == id);
        after.into_iter().any(|change| change.id.as_ref().is_none_or(concerns))
    }
}

/// What a page left.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Taken {
    /// Whether there was nothing more at that moment.
    pub(crate) is_all: bool,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn page(from: i64, items: &[(&str, &str, &str)], more: bool) -> Json {
        let items: Vec<Json> = items
            .iter()
            .zip(from + 1..)
            .map(|((kind, id, change), epoch)| json!({ "epoch": epoch, "kind": kind, "id": id, "change": change }))
            .collect();
        json!({ "epoch": from + items.len() as i64, "items": items, "more": more })
    }

    /// R178: what ended concerns what rests on it and is older; what was narrowed concerns all.
    #[test]
    fn a_change_concerns_what_rests_on_it() {
        let mut epochs = Epochs::begin(7);
        let concern = |epochs: &Epochs, epoch, ids: &[&str]| epochs.concern(epoch, ids.iter().copied());
        assert!(!concern(&epochs, 7, &["agt_1"]));
        assert!(concern(&epochs, 6, &["agt_1"]) && concern(&epochs, 8, &["agt_1"]), "nothing is known of these");
        let items = [("agent", "agt_1", "halted"), ("key", "agt_2", "ended"), ("user", "usr_1", "ended")];
        assert_eq!(epochs.take(&page(7, &items, false)), Some(Taken { is_all: true }));
        assert_eq!(epochs.last(), 10);
        assert!(concern(&epochs, 7, &["tok_1", "agt_1"]) && !concern(&epochs, 8, &["agt_1"]));
        assert!(concern(&epochs, 9, &["usr_1"]) && !concern(&epochs, 7, &["agt_2"]));
        for item in [
            ("user", "usr_9", "narrowed"),
            ("tenant", "ten_1", "narrowed"),
            ("agent", "agt_9", "new"),
            ("new", "x", "ended"),
        ] {
            let mut epochs = Epochs::begin(10);
            assert!(epochs.take(&page(10, &[item], true)).is_some_and(|taken| !taken.is_all));
            assert!(concern(&epochs, 10, &["agt_7"]) && !concern(&epochs, 11, &["agt_7"]));
        }
    }

    /// R178: a page that does not follow what is known changes nothing.
    #[test]
    fn a_page_with_a_gap_is_not_taken() {
        let mut epochs = Epochs::begin(7);
        let item = [("agent", "agt_1", "halted")];
        let mut ahead = page(7, &item, false);
        ahead["epoch"] = json!(9);
        for bad in [
            page(8, &item, false),
            page(6, &item, false),
            ahead,
            json!({}),
            json!([]),
            json!({ "items": [{}], "epoch": 8 }),
        ] {
            assert_eq!(epochs.take(&bad), None, "{bad}");
            assert_eq!(epochs.last(), 7);
        }
    }

    /// R178: memory is bounded; what is no longer known counts as ended.
    #[test]
    fn old_changes_are_forgotten() {
        let mut epochs = Epochs::begin(0);
        let items = [("agent", "agt_1", "halted")].repeat(1000);
        for number in 0..11 {
            epochs.take(&page(number * 1000, &items, false)).unwrap();
        }
        assert!(epochs.concern(999, ["agt_2"].into_iter()) && !epochs.concern(1000, ["agt_2"].into_iter()));
        assert_eq!(epochs.changes.len(), MOST);
    }
}
