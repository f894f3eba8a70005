//! A statement's answer on its way from the thread that runs the statement to the component.

use tokio::sync::{mpsc, oneshot};

use crate::sqlite::types::{Error, MAX_BYTES, Outcome, RowResult, io, too_large};

/// Rows up to this many bytes are collected inline, and come with the answer of a blocking run.
pub(super) const FIRST_BYTES: usize = 256 * 1024;

/// A statement's answer: all rows, or the first rows and the source of the others.
pub(super) struct Answer {
    /// The columns' names.
    pub(super) columns: Vec<String>,
    /// All rows, or the first ones.
    pub(super) rows: Vec<RowResult>,
    /// What comes after `rows`.
    pub(super) rest: Rest,
}

/// What comes after an answer's first rows.
pub(super) enum Rest {
    /// Nothing: the statement has ended.
    Done(Outcome),
    /// More rows, in batches, and then the statement's outcome.
    Streamed(mpsc::Receiver<Vec<RowResult>>, oneshot::Receiver<Outcome>),
}

/// Gives an answer from a blocking thread, row by row.
pub(super) struct AnswerSender {
    /// Taken when the first rows are sent.
    first: Option<oneshot::Sender<Answer>>,
    columns: Vec<String>,
    batch: Vec<RowResult>,
    bytes: usize,
    /// Whether all rows are collected before the answer is sent.
    is_whole: bool,
    rest: Option<(mpsc::Sender<Vec<RowResult>>, oneshot::Sender<Outcome>)>,
}

impl AnswerSender {
    /// Sends the first rows with the answer and streams the others: the thread waits for a slow reader.
    pub(super) fn streamed(first: oneshot::Sender<Answer>) -> Self {
        Self { first: Some(first), columns: Vec::new(), batch: Vec::new(), bytes: 0, is_whole: false, rest: None }
    }

    /// Collects all rows before it sends the answer: the thread never waits for a reader.
    pub(super) fn whole(first: oneshot::Sender<Answer>) -> Self {
        Self { is_whole: true, ..Self::streamed(first) }
    }

    /// Sets the columns' names, before the first row.
    pub(super) fn set_columns(&mut self, columns: Vec<String>) {
        self.columns = columns;
    }

    /// Forgets the rows of a statement that is undone. Only of an answer that is collected whole.
    pub(super) fn forget(&mut self) {
        self.batch.clear();
        self.bytes = 0;
    }

    /// Adds a row.
    pub(super) fn push(&mut self, row: RowResult) -> Outcome {
        self.bytes += row.size();
        self.batch.push(row);
        if self.is_whole {
            return if self.bytes > MAX_BYTES { Err(too_large()) } else { Ok(()) };
        }
        if self.bytes < FIRST_BYTES {
            return Ok(());
        }
        self.bytes = 0;
        let batch = std::mem::take(&mut self.batch);
        if let Some((rows, _)) = &self.rest {
            return rows.blocking_send(batch).map_err(|_| Error::Io("row send error".to_owned()));
        }
        let (rows, batches) = mpsc::channel(2);
        let (done, outcome) = oneshot::channel();
        self.rest = Some((rows, done));
        self.begin(batch, Rest::Streamed(batches, outcome));
        Ok(())
    }

    /// Sends what is left, and the outcome.
    pub(super) fn finish(mut self, outcome: Outcome) {
        let batch = std::mem::take(&mut self.batch);
        match self.rest.take() {
            None => self.begin(batch, Rest::Done(outcome)),
            Some((rows, done)) => {
                // A reader that went away before the end does not wait for the outcome either. An empty batch would end the instance:
                // a stream that announces rows must have some.
                if !batch.is_empty() {
                    drop(rows.blocking_send(batch));
                }
                drop(rows);
                drop(done.send(outcome));
            }
        }
    }

    fn begin(&mut self, rows: Vec<RowResult>, rest: Rest) {
        if let Some(first) = self.first.take() {
            drop(first.send(Answer { columns: std::mem::take(&mut self.columns), rows, rest }));
        }
    }
}

/// The outcome of a statement that has sent its first rows. A statement whose thread is lost has failed: it must not end the instance.
pub(super) async fn outcome(outcome: oneshot::Receiver<Outcome>) -> Outcome {
    outcome.await.unwrap_or_else(|lost| Err(io(lost)))
}

impl Answer {
    /// Waits for the last row and returns all of them.
    pub(super) async fn collect(self) -> Result<(Vec<String>, Vec<RowResult>), Error> {
        let Self { columns, mut rows, rest } = self;
        let outcome = match rest {
            Rest::Done(outcome) => outcome,
            Rest::Streamed(mut batches, outcome) => {
                let mut bytes = 0;
                while let Some(batch) = batches.recv().await {
                    bytes += batch.iter().map(RowResult::size).sum::<usize>();
                    if bytes > MAX_BYTES {
                        return Err(too_large());
                    }
                    rows.extend(batch);
                }
                self::outcome(outcome).await
            }
        };
        outcome.map(|()| (columns, rows))
    }
}
