//! `spin:sqlite/sqlite@3.1.0`: databases for components, by SQLite in this process.
//!
//! A component sees what Spin shows: each `open` is a connection of its own with a busy timeout of 5 s and foreign keys
//! on, one statement runs at a time, text after the first statement is ignored, files cannot be attached.
//!
//! This host differs in where a statement runs. A blocking call belongs on a thread of its own, but handing a short
//! SELECT over costs more than the SELECT. So:
//! 1. A read (by its first word and by `sqlite3_stmt_readonly`) outside a transaction runs at once, on the worker's
//!    thread, with no busy timeout and with a limit on its steps and bytes ([`statement::read_inline`]).
//! 2. A read that meets a limit or a lock is dropped and runs again from the start as in 4; a read outside a
//!    transaction leaves nothing behind. The connection remembers the text of a read that took too many steps, and
//!    runs it as in 4 from then on.
//! 3. A statement that begins to write waits in the queue of its file. The queue's one thread runs the statements one
//!    after the other; when one of them begins a transaction, it waits for the transaction's end ([`write_queue`]).
//!    A statement that changes rows outside a transaction does not run on its own connection ([`shared_writer`]).
//! 4. Everything else runs on a blocking thread. The first rows come back with the answer; the rest is streamed.

mod answer;
mod connection;
mod file;
mod interface;
mod open;
mod reserve;
mod shared_writer;
mod statement;
#[cfg(test)]
mod tests;
mod types;
mod write_queue;

pub(crate) use interface::{View, add_to_linker};
pub(crate) use open::{fold, look};
pub(crate) use reserve::keep_filled;
