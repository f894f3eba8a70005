//! Statements on connections as components have them, over real files.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::task::{Context, Waker};

use tempfile::TempDir;
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use crate::sqlite::answer::{self, Answer, AnswerSender, FIRST_BYTES, Rest};
use crate::sqlite::connection::Connection;
use crate::sqlite::open::BUSY_TIMEOUT;
use crate::sqlite::shared_writer::Effect;
use crate::sqlite::types::{RowResult, Value};
use crate::sqlite::write_queue::{Job, WriteQueue};
use crate::threads;

fn in_memory() -> Arc<Connection> {
    Arc::new(Connection::new(None))
}

fn to(path: &Path) -> Arc<Connection> {
    Arc::new(Connection::new(Some(path.to_owned())))
}

/// A place for a file, which is deleted with its directory.
fn place() -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("test.db");
    (directory, path)
}

/// A file with the table `t`, and three connections to it.
async fn on_a_file() -> (TempDir, PathBuf, [Arc<Connection>; 3]) {
    let (directory, path) = place();
    let connections = [(); 3].map(|()| to(&path));
    rows(&connections[0], "PRAGMA journal_mode=WAL").await.unwrap();
    rows(&connections[0], "CREATE TABLE t(a)").await.unwrap();
    (directory, path, connections)
}

async fn rows(connection: &Arc<Connection>, sql: &str) -> Result<Vec<Vec<Value>>, String> {
    let answer = async { connection.clone().run(sql.to_owned(), Vec::new()).await?.collect().await };
    match answer.await {
        Ok((_, rows)) => Ok(rows.into_iter().map(|row| row.values).collect()),
        Err(error) => Err(format!("{error:?}")),
    }
}

#[tokio::test]
async fn a_short_read_runs_inline_once_the_connection_is_open() {
    let connection = in_memory();
    assert!(connection.run_inline("SELECT 1", &[]).is_none());
    assert_eq!(rows(&connection, "SELECT 1").await.unwrap(), [[Value::Integer(1)]]);
    assert_eq!(
        connection.run_inline("SELECT ?1", &[Value::Text("a".into())]).unwrap().rows[0].values,
        [Value::Text("a".into())]
    );
}

#[tokio::test]
async fn a_slow_read_is_stopped_inline_and_still_answered() {
    let connection = in_memory();
    rows(&connection, "SELECT 1").await.unwrap();
    let slow = "WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c WHERE i < 100000) SELECT i FROM c";
    assert!(connection.run_inline(slow, &[]).is_none());
    assert_eq!(rows(&connection, slow).await.unwrap().len(), 100_000);
    assert_eq!(connection.slow_reads().len(), 1, "it is not begun inline again");
    assert!(connection.run_inline("SELECT 1", &[]).is_some());
}

#[tokio::test]
async fn a_write_and_a_read_in_a_transaction_never_run_inline() {
    let connection = in_memory();
    rows(&connection, "CREATE TABLE t(a)").await.unwrap();
    assert!(connection.run_inline("WITH a AS (SELECT 1) INSERT INTO t SELECT * FROM a", &[]).is_none());
    rows(&connection, "BEGIN").await.unwrap();
    assert!(connection.run_inline("SELECT 1", &[]).is_none());
    rows(&connection, "COMMIT").await.unwrap();
    assert_eq!(rows(&connection, "INSERT INTO t VALUES (7) RETURNING a").await.unwrap(), [[Value::Integer(7)]]);
    assert_eq!(connection.clone().effect().await.changes, 1);
}

/// The first connection to a file is opened on a blocking thread, further ones where their first read runs. After the
/// last one was closed, the next is the first one again. A read that meets a lock is left to the blocking run.
#[tokio::test]
async fn a_further_connection_to_a_file_is_opened_inline() {
    let (_directory, path) = place();
    let [first, second] = [(); 2].map(|()| to(&path));
    assert!(second.run_inline("SELECT 1", &[]).is_none(), "no connection is open");
    rows(&first, "CREATE TABLE t(a)").await.unwrap();
    assert!(second.run_inline("SELECT * FROM t", &[]).is_some());
    rows(&first, "PRAGMA locking_mode=EXCLUSIVE").await.unwrap();
    rows(&first, "BEGIN EXCLUSIVE").await.unwrap();
    assert!(to(&path).run_inline("SELECT * FROM t", &[]).is_none(), "the file is locked");
    rows(&first, "COMMIT").await.unwrap();
    drop((first, second));
    assert!(to(&path).run_inline("SELECT 1", &[]).is_none(), "no connection is open any more");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_waits_for_the_open_transaction_and_is_not_refused() {
    let (_directory, _, [one, two, three]) = on_a_file().await;
    rows(&one, "BEGIN IMMEDIATE").await.unwrap();
    let others = [two, three].map(|connection| {
        tokio::spawn(async move { rows(&connection, "INSERT INTO t SELECT count(*) FROM t RETURNING a").await })
    });
    for _ in 0..3 {
        rows(&one, "INSERT INTO t VALUES ('x')").await.unwrap();
    }
    assert_eq!(rows(&one, "SELECT count(*) FROM t").await.unwrap(), [[Value::Integer(3)]]);
    rows(&one, "COMMIT").await.unwrap();
    let mut seen = Vec::new();
    for other in others {
        seen.extend(other.await.unwrap().unwrap().concat());
    }
    seen.sort_by_key(|value| format!("{value:?}"));
    assert_eq!(seen, [Value::Integer(3), Value::Integer(4)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_waits_neither_for_a_transaction_that_only_reads_nor_for_a_dropped_connection() {
    let (_directory, _, [one, two, three]) = on_a_file().await;
    rows(&one, "BEGIN").await.unwrap();
    rows(&two, "BEGIN IMMEDIATE").await.unwrap();
    drop(two);
    // Well before the busy timeout, so that it is not the timeout that lets the write go on.
    tokio::time::timeout(BUSY_TIMEOUT / 2, rows(&three, "INSERT INTO t VALUES (1)")).await.unwrap().unwrap();
    assert_eq!(rows(&one, "SELECT count(*) FROM t").await.unwrap(), [[Value::Integer(1)]]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_panic_in_the_queue_fails_its_own_statement_only() {
    let (_directory, path, [one, ..]) = on_a_file().await;
    WriteQueue::of(&path).unwrap().push(Job::Own(Box::new(|| panic!("for this test")))).unwrap();
    rows(&one, "INSERT INTO t VALUES (1)").await.unwrap();
}

/// R80: the instance goes on, and the component gets an error for this statement, whether it had rows already or none.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_thread_fails_its_own_statement_only() {
    let (sender, answer) = oneshot::channel();
    let mut lost = AnswerSender::streamed(sender);
    let row = || RowResult { values: vec![Value::Text("x".repeat(FIRST_BYTES))] };
    lost.push(row()).unwrap();
    let answer = answer.await.unwrap();
    let Rest::Streamed(mut batches, outcome) = answer.rest else { panic!("more rows were to come") };
    drop(lost);
    assert!(batches.recv().await.is_none() && answer::outcome(outcome).await.is_err());
    let (sender, first) = oneshot::channel::<Answer>();
    threads::run(&Handle::current(), move || {
        let _kept = sender;
        panic!("for this test");
    });
    assert!(first.await.is_err());
    assert_eq!(rows(&in_memory(), "SELECT 1").await.unwrap(), [[Value::Integer(1)]]);
}

/// The rows of a write are collected whole, however many there are: the queue never waits for a reader.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_with_many_rows_is_answered() {
    let (_directory, _, [one, ..]) = on_a_file().await;
    let many = "INSERT INTO t WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000) SELECT i FROM n RETURNING a";
    assert_eq!(rows(&one, many).await.unwrap().len(), 20_000);
}

#[tokio::test]
async fn text_after_the_first_statement_is_ignored() {
    let connection = in_memory();
    assert_eq!(rows(&connection, "SELECT 1; SELECT nonsense").await.unwrap(), [[Value::Integer(1)]]);
    assert_eq!(rows(&connection, "SELECT 2; DROP TABLE t").await.unwrap(), [[Value::Integer(2)]]);
    assert!(rows(&connection, "nonsense").await.unwrap_err().contains("syntax error"));
}

#[tokio::test]
async fn files_cannot_be_attached_and_foreign_keys_are_on() {
    let connection = in_memory();
    assert!(rows(&connection, "ATTACH 'other.db' AS other").await.unwrap_err().contains("not authorized"));
    assert!(rows(&connection, "ATTACH ':memory:' AS other").await.is_ok());
    assert_eq!(rows(&connection, "PRAGMA foreign_keys").await.unwrap(), [[Value::Integer(1)]]);
}

#[tokio::test]
async fn a_busy_timeout_that_the_component_sets_is_kept() {
    let connection = in_memory();
    assert_eq!(rows(&connection, "PRAGMA busy_timeout").await.unwrap(), [[Value::Integer(5000)]]);
    rows(&connection, "PRAGMA busy_timeout = 70").await.unwrap();
    rows(&connection, "SELECT 1").await.unwrap();
    assert_eq!(rows(&connection, "PRAGMA busy_timeout").await.unwrap(), [[Value::Integer(70)]]);
}

/// Writes that wait for an open transaction, then run together: how each ended.
async fn together(path: &Path, statements: &[&str]) -> Vec<Result<Vec<Vec<Value>>, String>> {
    let first = to(path);
    let others: Vec<Arc<Connection>> = statements.iter().map(|_| to(path)).collect();
    for connection in &others {
        rows(connection, "SELECT 1").await.unwrap();
    }
    rows(&first, "BEGIN IMMEDIATE").await.unwrap();
    let mut waiting: Vec<_> = others.iter().zip(statements).map(|(by, sql)| Box::pin(rows(by, sql))).collect();
    for write in &mut waiting {
        // Its first step is to enter the queue.
        assert!(write.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    }
    rows(&first, "COMMIT").await.unwrap();
    let mut ended = Vec::new();
    for write in waiting {
        ended.push(write.await);
    }
    ended
}

/// One that fails, at once or only at the end of the transaction, fails alone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writes_that_run_together_fail_alone() {
    let (_directory, path, [one, ..]) = on_a_file().await;
    rows(&one, "CREATE TABLE u(a INTEGER PRIMARY KEY, b INTEGER REFERENCES u DEFERRABLE INITIALLY DEFERRED)")
        .await
        .unwrap();
    let wrong = ["INSERT INTO u VALUES (1, NULL)", "INSERT INTO u VALUES (7, 99)", "nonsense"];
    for wrong in wrong {
        rows(&one, "DELETE FROM t").await.unwrap();
        let count = "INSERT INTO t SELECT count(*) FROM t RETURNING a";
        rows(&one, "INSERT OR IGNORE INTO u VALUES (1, NULL)").await.unwrap();
        let ended = together(&path, &[count, count, wrong, count]).await;
        let number = |number| Ok(vec![vec![Value::Integer(number)]]);
        assert!(ended[2].is_err(), "{wrong}: {ended:?}");
        assert_eq!([&ended[0], &ended[1], &ended[3]], [&number(0), &number(1), &number(2)], "{wrong}");
        assert_eq!(rows(&one, "SELECT count(*) FROM t").await.unwrap(), [[Value::Integer(3)]]);
        assert_eq!(rows(&one, "SELECT count(*) FROM u").await.unwrap(), [[Value::Integer(1)]]);
    }
}

/// A statement that runs elsewhere runs as on its own connection: with its settings, and with what only that connection has.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_is_that_of_its_own_connection() {
    let (_directory, path, [one, two, three]) = on_a_file().await;
    rows(&one, "INSERT INTO t VALUES (1), (2)").await.unwrap();
    rows(&two, "SELECT 1").await.unwrap();
    rows(&two, "UPDATE t SET a = 9").await.unwrap();
    rows(&two, "INSERT INTO t VALUES (3)").await.unwrap();
    assert_eq!(two.clone().effect().await, Effect { changes: 1, last_row: 3 });
    rows(&two, "UPDATE t SET a = 9").await.unwrap();
    assert_eq!(two.clone().effect().await.changes, 3);
    // A bound of one connection is none of another one.
    let pages = rows(&three, "PRAGMA max_page_count = 3").await.unwrap();
    assert_eq!(pages, [[Value::Integer(3)]]);
    let large = "INSERT INTO t VALUES (zeroblob(20000)) RETURNING length(a)";
    assert!(rows(&three, large).await.unwrap_err().contains("full"));
    assert_eq!(rows(&one, large).await.unwrap(), [[Value::Integer(20_000)]]);
    // What is temporary is seen by its own connection alone.
    let own = to(&path);
    rows(&own, "CREATE TEMP TABLE t(a)").await.unwrap();
    rows(&own, "INSERT INTO t VALUES (1)").await.unwrap();
    assert_eq!(rows(&own, "SELECT count(*) FROM t").await.unwrap(), [[Value::Integer(1)]]);
    assert_eq!(rows(&one, "SELECT count(*) FROM t").await.unwrap(), [[Value::Integer(4)]]);
}

/// When no component has the file open, neither has the queue: SQLite has written its log back and deleted it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_queue_closes_the_file_with_the_last_connection() {
    let (_directory, path, connections) = on_a_file().await;
    for connection in &connections {
        rows(connection, "INSERT INTO t VALUES (1)").await.unwrap();
    }
    let log = path.with_file_name("test.db-wal");
    assert!(log.exists());
    drop(connections);
    while log.exists() {
        tokio::task::yield_now().await;
    }
}
