//! One connection that runs the single statements of many.
//!
//! Each instance of a component has connections of its own. A write by one of them makes all others forget the pages
//! that they hold, and each statement that is a transaction of its own writes its pages to the log. So a statement that
//! changes rows outside a transaction runs on a connection that the queue of writes keeps, set as the connection that
//! it came from; and those that wait are one transaction. Nobody is answered before it has ended. If any of them fails,
//! all are undone, and each runs alone: what one sees, and what fails, is as if each had run on its own.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use rusqlite::TransactionBehavior;
use tokio::sync::oneshot;

use crate::sqlite::answer::{Answer, AnswerSender};
use crate::sqlite::open::{count_wait, lock, open, patience};
use crate::sqlite::types::{Error, Outcome, Value, io};
use crate::sqlite::{file, statement};

/// Connections that a file has at a time, one for each set of settings.
const WRITERS: usize = 4;
/// PRAGMAs that leave nothing behind in a connection: those of the file. The time that it waits is looked at where it counts.
const OF_THE_FILE: [&str; 3] = ["journal_mode", "user_version", "busy_timeout"];
/// PRAGMAs that a connection can be given again.
const OF_A_CONNECTION: [&str; 3] = ["synchronous", "max_page_count", "journal_size_limit"];

/// What a connection was set to since it was opened: values of PRAGMAs by their names.
#[derive(Debug, Default, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Settings(BTreeMap<&'static str, String>);

impl Settings {
    /// The settings after a statement that is no read. `None`: the connection has something now that no other one has.
    pub(super) fn after(settings: Arc<Self>, sql: &str) -> Option<Arc<Self>> {
        if statement::is_change(sql) {
            return Some(settings);
        }
        let words = sql.trim().trim_end_matches(';').to_ascii_lowercase();
        let Some(pragma) = words.strip_prefix("pragma") else {
            let is_own = ["temp", "attach", "detach"].iter().any(|word| words.contains(word));
            return (!is_own).then_some(settings);
        };
        let Some((name, value)) = pragma.split_once('=') else {
            return (!pragma.contains('(')).then_some(settings);
        };
        let (name, value) = (name.trim(), value.trim());
        if OF_THE_FILE.contains(&name) {
            return Some(settings);
        }
        let name = OF_A_CONNECTION.iter().find(|known| **known == name)?;
        if !value.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return None;
        }
        let mut next = Self::clone(&settings);
        next.0.insert(name, value.to_owned());
        Some(Arc::new(next))
    }

    fn set(&self, connection: &rusqlite::Connection) -> rusqlite::Result<()> {
        // Without a value that comes back, where the PRAGMA gives one.
        self.0.iter().try_for_each(|(name, value)| connection.pragma_update(None, name, value))
    }
}

/// What a statement did, as SQLite tells of it.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Effect {
    /// Rows.
    pub(super) changes: u64,
    /// The last row that was inserted.
    pub(super) last_row: i64,
}

impl Effect {
    /// Of the last statement of this connection.
    pub(super) fn of(connection: &rusqlite::Connection) -> Self {
        Self { changes: connection.changes(), last_row: connection.last_insert_rowid() }
    }
}

/// A statement that is a transaction of its own.
pub(super) struct Single {
    settings: Arc<Settings>,
    sql: String,
    parameters: Vec<Value>,
    answer: AnswerSender,
    since: Instant,
    /// Where its connection keeps what it did.
    effect: Arc<Mutex<Option<Effect>>>,
}

impl Single {
    /// A statement that waits from now on.
    pub(super) fn new(
        settings: Arc<Settings>,
        sql: String,
        parameters: Vec<Value>,
        sender: oneshot::Sender<Answer>,
        effect: Arc<Mutex<Option<Effect>>>,
    ) -> Self {
        Self { settings, sql, parameters, answer: AnswerSender::whole(sender), since: Instant::now(), effect }
    }

    /// Whether it may run with these.
    pub(super) fn fits(&self, others: &[Self]) -> bool {
        others.first().is_none_or(|other| other.settings == self.settings)
    }

    fn run(&mut self, connection: &rusqlite::Connection) -> Outcome {
        statement::run_to_end(connection, &self.sql, &self.parameters, &mut self.answer)?;
        *lock(&self.effect) = Some(Effect::of(connection));
        Ok(())
    }
}

/// The connections of a file's queue.
pub(super) struct SharedWriter {
    path: PathBuf,
    connections: BTreeMap<Arc<Settings>, rusqlite::Connection>,
}

impl SharedWriter {
    /// Of the file at `path`; opens it at the first statement.
    pub(super) fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), connections: BTreeMap::new() }
    }

    /// Closes the file.
    pub(super) fn close(&mut self) {
        self.connections.clear();
    }

    /// Runs statements of the same settings, and answers each.
    pub(super) fn run(&mut self, mut batch: Vec<Single>) {
        batch.iter().for_each(|single| count_wait(single.since.elapsed()));
        if let Err(error) = file::check(&self.path) {
            batch.into_iter().for_each(|single| single.answer.finish(Err(io(&error))));
            return;
        }
        if batch.len() > 1 && self.together(&mut batch).is_ok() {
            batch.into_iter().for_each(|single| single.answer.finish(Ok(())));
            return;
        }
        for mut single in batch {
            single.answer.forget();
            let outcome = self.alone(&mut single);
            if outcome.is_err() {
                // As with its own connection, the next one is opened anew.
                self.connections.remove(&single.settings);
            }
            single.answer.finish(outcome);
        }
    }

    /// Runs statements in one transaction. A failure leaves nothing of them.
    fn together(&mut self, batch: &mut [Single]) -> Outcome {
        let Some(first) = batch.first() else { return Ok(()) };
        let connection = self.connection(&first.settings.clone(), first.since)?;
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(io)?;
        batch.iter_mut().try_for_each(|single| single.run(&transaction))?;
        transaction.commit().map_err(io)
    }

    fn alone(&mut self, single: &mut Single) -> Outcome {
        let connection = self.connection(&single.settings.clone(), single.since)?;
        single.run(connection)
    }

    /// The connection with these settings, which waits for another process as long as a statement may that waits since then.
    fn connection(&mut self, settings: &Arc<Settings>, since: Instant) -> Result<&mut rusqlite::Connection, Error> {
        if self.connections.len() >= WRITERS && !self.connections.contains_key(settings) {
            self.close();
        }
        let connection = match self.connections.entry(settings.clone()) {
            Entry::Occupied(open) => open.into_mut(),
            Entry::Vacant(place) => {
                let opened = open(Some(&self.path)).map_err(io)?;
                settings.set(&opened).map_err(io)?;
                place.insert(opened)
            }
        };
        connection.busy_timeout(patience(since.elapsed())).map_err(io)?;
        Ok(connection)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_another_connection_has_not_is_seen() {
        let after = |sql: &str| Settings::after(Arc::default(), sql);
        for sql in [
            "BEGIN",
            "PRAGMA data_version",
            "pragma journal_mode=WAL",
            "UPDATE t SET temp = 1",
            "PRAGMA busy_timeout = 9;",
        ] {
            assert_eq!(after(sql), Some(Arc::default()), "{sql}");
        }
        for sql in [
            "CREATE TEMP TABLE t(a)",
            "DROP TABLE temp.t",
            "ATTACH ':memory:' AS a",
            "PRAGMA foreign_keys = 0",
            "PRAGMA foreign_keys(0)",
            "PRAGMA synchronous = OFF; SELECT 1",
        ] {
            assert_eq!(after(sql), None, "{sql}");
        }
        let set = |first: &str, then: &str| Settings::after(after(first)?, then);
        let normal = set("PRAGMA synchronous = FULL", "PRAGMA synchronous=NORMAL;");
        assert!(normal.is_some() && normal == after("pragma Synchronous = normal"));
        assert_ne!(normal, set("PRAGMA synchronous=NORMAL", "PRAGMA max_page_count = 7"));
    }
    /// R484: what the store sets on a connection is what another one can be given. Otherwise each hot statement would write alone, on its own
    /// connection.
    #[test]
    fn settings_of_the_store_are_known() {
        let store = include_str!("../../../crates/store/src/db.rs");
        let pragmas: Vec<&str> =
            store.split("PRAGMA ").skip(1).filter_map(|rest| rest.split(['"', '\n']).next()).collect();
        let set: Vec<&str> = pragmas.into_iter().filter(|pragma| pragma.contains('=')).collect();
        assert!(set.len() >= 4, "{set:?}");
        for pragma in set {
            let sql = format!("PRAGMA {pragma}").replace("{max}", "7");
            let settings = Settings::after(Arc::default(), &sql);
            let settings = settings.unwrap_or_else(|| panic!("no other connection can be given: {sql}"));
            settings.set(&rusqlite::Connection::open_in_memory().unwrap()).unwrap();
            assert_eq!(
                Settings::after(settings, "INSERT INTO t VALUES (1)").map(|after| after.0.len()),
                Some(1),
                "{sql}"
            );
        }
    }
}
