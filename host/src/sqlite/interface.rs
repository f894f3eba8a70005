//! The functions that a component imports, each in a blocking and an asynchronous form.

use std::collections::HashMap;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::sync::mpsc;
use wasmtime::StoreContextMut;
use wasmtime::component::{
    Accessor, Destination, FutureReader, Linker, Resource, ResourceTable, ResourceType, StreamProducer, StreamReader,
    StreamResult, VecBuffer,
};

use crate::sqlite::answer::{self, Answer, Rest};
use crate::sqlite::connection::Connection;
use crate::sqlite::types::{Error, Outcome, QueryResult, RowResult, Value};

/// Connections that one instance may hold at a time, as in Spin.
const CONNECTIONS: usize = 256;

/// What the interface needs of an instance.
pub(crate) struct View<'a> {
    /// The databases that the component may open. `None`: in memory.
    pub(crate) databases: &'a HashMap<String, Option<PathBuf>>,
    /// Connections that the instance has open.
    pub(crate) connections: &'a mut usize,
    /// Where the instance's handles are.
    pub(crate) table: &'a mut ResourceTable,
}

impl View<'_> {
    fn open(&mut self, label: &str) -> Result<Resource<Handle>, Error> {
        let path = self.databases.get(label).ok_or(Error::AccessDenied)?.clone();
        if *self.connections >= CONNECTIONS {
            return Err(Error::Io("too many connections opened".to_owned()));
        }
        let handle = Handle(Arc::new(Connection::new(path)));
        let handle = self.table.push(handle).map_err(|error| Error::Io(error.to_string()))?;
        *self.connections += 1;
        Ok(handle)
    }

    /// A handle that is not a connection is the guest's own fault, and traps.
    fn connection(&self, handle: &Resource<Handle>) -> wasmtime::Result<Arc<Connection>> {
        Ok(self.table.get(handle)?.0.clone())
    }

    fn close(&mut self, rep: u32) -> wasmtime::Result<()> {
        self.table.delete(Resource::<Handle>::new_own(rep))?;
        *self.connections = self.connections.saturating_sub(1);
        Ok(())
    }
}

/// An open connection, as the guest's resource.
pub(crate) struct Handle(Arc<Connection>);

type Streams = Result<(Vec<String>, StreamReader<RowResult>, FutureReader<Outcome>), Error>;

/// Offers the interface to components. `view` finds what it needs in an instance's state.
pub(crate) fn add_to_linker<T: Send>(linker: &mut Linker<T>, view: fn(&mut T) -> View<'_>) -> wasmtime::Result<()> {
    let mut sqlite = linker.instance("spin:sqlite/sqlite@3.1.0")?;
    sqlite.resource("connection", ResourceType::host::<Handle>(), move |mut store, rep| {
        view(store.data_mut()).close(rep)
    })?;
    sqlite.func_wrap("[static]connection.open", move |mut store, (label,): (String,)| {
        Ok((view(store.data_mut()).open(&label),))
    })?;
    sqlite.func_wrap_concurrent("[static]connection.open-async", move |accessor, (label,): (String,)| {
        Box::pin(async move { Ok((accessor.with(|mut access| view(access.data_mut()).open(&label)),)) })
    })?;
    sqlite.func_wrap_async(
        "[method]connection.execute",
        move |mut store, (handle, sql, parameters): (Resource<Handle>, String, Vec<Value>)| {
            let connection = view(store.data_mut()).connection(&handle);
            Box::new(async move { Ok((execute(connection?, sql, parameters).await,)) })
        },
    )?;
    sqlite.func_wrap_concurrent(
        "[method]connection.execute-async",
        move |accessor, (handle, sql, parameters): (Resource<Handle>, String, Vec<Value>)| {
            let connection = accessor.with(|mut access| view(access.data_mut()).connection(&handle));
            Box::pin(async move { Ok((execute_async(accessor, connection?, sql, parameters).await?,)) })
        },
    )?;
    sqlite.func_wrap_async(
        "[method]connection.last-insert-rowid",
        move |mut store, (handle,): (Resource<Handle>,)| {
            let connection = view(store.data_mut()).connection(&handle);
            Box::new(async move { Ok((connection?.effect().await.last_row,)) })
        },
    )?;
    sqlite.func_wrap_concurrent(
        "[method]connection.last-insert-rowid-async",
        move |accessor, (handle,): (Resource<Handle>,)| {
            let connection = accessor.with(|mut access| view(access.data_mut()).connection(&handle));
            Box::pin(async move { Ok((connection?.effect().await.last_row,)) })
        },
    )?;
    sqlite.func_wrap_async("[method]connection.changes", move |mut store, (handle,): (Resource<Handle>,)| {
        let connection = view(store.data_mut()).connection(&handle);
        Box::new(async move { Ok((connection?.effect().await.changes,)) })
    })?;
    sqlite.func_wrap_concurrent("[method]connection.changes-async", move |accessor, (handle,): (Resource<Handle>,)| {
        let connection = accessor.with(|mut access| view(access.data_mut()).connection(&handle));
        Box::pin(async move { Ok((connection?.effect().await.changes,)) })
    })
}

async fn execute(connection: Arc<Connection>, sql: String, parameters: Vec<Value>) -> Result<QueryResult, Error> {
    let (columns, rows) = connection.run(sql, parameters).await?.collect().await?;
    Ok(QueryResult { columns, rows })
}

async fn execute_async<T>(
    accessor: &Accessor<T>,
    connection: Arc<Connection>,
    sql: String,
    parameters: Vec<Value>,
) -> wasmtime::Result<Streams> {
    let Answer { columns, rows, rest } = match connection.run(sql, parameters).await {
        Ok(answer) => answer,
        Err(error) => return Ok(Err(error)),
    };
    accessor.with(|mut access| -> wasmtime::Result<Streams> {
        let (rows, outcome) = match rest {
            Rest::Done(outcome) => {
                let outcome = FutureReader::new(&mut access, std::future::ready(wasmtime::error::Ok(outcome)))?;
                (StreamReader::new(&mut access, rows)?, outcome)
            }
            Rest::Streamed(batches, outcome) => {
                let outcome = async move { wasmtime::error::Ok(answer::outcome(outcome).await) };
                let outcome = FutureReader::new(&mut access, outcome)?;
                (StreamReader::new(&mut access, Rows { first: rows, batches })?, outcome)
            }
        };
        Ok(Ok((columns, rows, outcome)))
    })
}

/// Rows that a blocking thread is still reading.
struct Rows {
    first: Vec<RowResult>,
    batches: mpsc::Receiver<Vec<RowResult>>,
}

impl<T> StreamProducer<T> for Rows {
    type Item = RowResult;
    type Buffer = VecBuffer<RowResult>;

    fn poll_produce<'a>(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut store: StoreContextMut<'a, T>,
        mut to: Destination<'a, RowResult, VecBuffer<RowResult>>,
        finish: bool,
    ) -> Poll<wasmtime::Result<StreamResult>> {
        if to.remaining(&mut store) == Some(0) {
            return Poll::Ready(Ok(StreamResult::Completed));
        }
        if !self.first.is_empty() {
            to.set_buffer(std::mem::take(&mut self.first).into());
            return Poll::Ready(Ok(StreamResult::Completed));
        }
        let batch = self.batches.poll_recv(cx);
        if finish && batch.is_pending() {
            return Poll::Ready(Ok(StreamResult::Cancelled));
        }
        Poll::Ready(Ok(match ready!(batch) {
            Some(rows) => {
                to.set_buffer(rows.into());
                StreamResult::Completed
            }
            None => StreamResult::Dropped,
        }))
    }
}
