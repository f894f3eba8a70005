//! `spin:key-value/key-value@3.0.0`: stores for components, in one table of one SQLite file each, as Spin has them.
//!
//! Each store has one connection, and all calls run on blocking threads: components read it rarely, for values that may be
//! stale or lost.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::{Connection, OptionalExtension as _, params};
use tokio::runtime::Handle as Runtime;
use tokio::sync::oneshot;
use wasmtime::component::{
    Accessor, ComponentType, FutureReader, Lift, Linker, Lower, Resource, ResourceTable, ResourceType, StreamReader,
};

use crate::{private, threads};

/// Why a call failed.
#[derive(Debug, Clone, ComponentType, Lift, Lower)]
#[component(variant)]
pub(crate) enum Error {
    /// Too many stores are open.
    #[component(name = "store-table-full")]
    StoreTableFull,
    /// No store has this label.
    #[component(name = "no-such-store")]
    NoSuchStore,
    /// The manifest does not grant this store.
    #[component(name = "access-denied")]
    AccessDenied,
    /// SQLite's message.
    #[component(name = "other")]
    Other(String),
}

/// A store of the host, shared by all components that may open it.
pub(crate) struct Store {
    label: String,
    /// `None`: in memory.
    path: Option<PathBuf>,
    connection: Mutex<Option<Connection>>,
}

/// An open store, as the guest's resource.
pub(crate) struct Handle(Arc<Store>);

/// What the interface needs of an instance.
pub(crate) struct View<'a> {
    /// The stores that the component may open.
    pub(crate) stores: &'a HashMap<String, Arc<Store>>,
    /// Where the instance's handles are.
    pub(crate) table: &'a mut ResourceTable,
}

impl Store {
    /// A store in the file at `path`. The file is opened when the store is first used.
    pub(crate) fn new(label: String, path: Option<PathBuf>) -> Self {
        Self { label, path, connection: Mutex::default() }
    }

    /// Runs `call` on a blocking thread, with the store's connection and label.
    async fn run<T: Send + 'static>(
        self: Arc<Self>,
        call: impl FnOnce(&Connection, &str) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, Error> {
        let run = move || {
            let mut connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
            let connection = match &mut *connection {
                Some(connection) => connection,
                closed => closed.insert(self.open()?),
            };
            call(connection, &self.label)
        };
        let (sender, result) = oneshot::channel();
        threads::run(&Runtime::current(), move || drop(sender.send(run())));
        result.await.map_err(other)?.map_err(other)
    }

    fn open(&self) -> rusqlite::Result<Connection> {
        let connection = match &self.path {
            Some(path) => {
                // SQLite says what is wrong with the path.
                drop(private::file(path));
                Connection::open(path)?
            }
            None => Connection::open_in_memory()?,
        };
        connection.execute(
            "CREATE TABLE IF NOT EXISTS spin_key_value (
                store TEXT NOT NULL, key TEXT NOT NULL, value BLOB NOT NULL, PRIMARY KEY (store, key))",
            [],
        )?;
        Ok(connection)
    }

    async fn get(self: Arc<Self>, key: String) -> Result<Option<Vec<u8>>, Error> {
        const GET: &str = "SELECT value FROM spin_key_value WHERE store = ?1 AND key = ?2";
        self.run(move |db, store| db.prepare_cached(GET)?.query_row([store, &key], |row| row.get(0)).optional()).await
    }

    async fn set(self: Arc<Self>, key: String, value: Vec<u8>) -> Result<(), Error> {
        const SET: &str = "INSERT INTO spin_key_value (store, key, value) VALUES (?1, ?2, ?3)
            ON CONFLICT (store, key) DO UPDATE SET value = ?3";
        self.run(move |db, store| db.prepare_cached(SET)?.execute(params![store, key, value]).map(drop)).await
    }

    async fn delete(self: Arc<Self>, key: String) -> Result<(), Error> {
        const DELETE: &str = "DELETE FROM spin_key_value WHERE store = ?1 AND key = ?2";
        self.run(move |db, store| db.prepare_cached(DELETE)?.execute([store, &key]).map(drop)).await
    }

    async fn exists(self: Arc<Self>, key: String) -> Result<bool, Error> {
        const EXISTS: &str = "SELECT 1 FROM spin_key_value WHERE store = ?1 AND key = ?2";
        self.run(move |db, store| db.prepare_cached(EXISTS)?.exists([store, &key])).await
    }

    async fn keys(self: Arc<Self>) -> Result<Vec<String>, Error> {
        const KEYS: &str = "SELECT key FROM spin_key_value WHERE store = ?1";
        self.run(|db, store| db.prepare_cached(KEYS)?.query_map([store], |row| row.get(0))?.collect()).await
    }
}

impl View<'_> {
    fn open(&mut self, label: &str) -> Result<Resource<Handle>, Error> {
        let store = self.stores.get(label).ok_or(Error::AccessDenied)?.clone();
        self.table.push(Handle(store)).map_err(|_| Error::StoreTableFull)
    }

    /// A handle that is not a store is the guest's own fault, and traps.
    fn store(&self, handle: &Resource<Handle>) -> wasmtime::Result<Arc<Store>> {
        Ok(self.table.get(handle)?.0.clone())
    }
}

/// Offers the interface to components. `view` finds what it needs in an instance's state.
pub(crate) fn add_to_linker<T: Send>(linker: &mut Linker<T>, view: fn(&mut T) -> View<'_>) -> wasmtime::Result<()> {
    let store = move |accessor: &Accessor<T>, handle: &Resource<Handle>| {
        accessor.with(|mut access| view(access.data_mut()).store(handle))
    };
    let mut stores = linker.instance("spin:key-value/key-value@3.0.0")?;
    stores.resource("store", ResourceType::host::<Handle>(), move |mut store, rep| {
        Ok(view(store.data_mut()).table.delete(Resource::<Handle>::new_own(rep)).map(drop)?)
    })?;
    stores.func_wrap_concurrent("[static]store.open", move |accessor, (label,): (String,)| {
        Box::pin(async move { Ok((accessor.with(|mut access| view(access.data_mut()).open(&label)),)) })
    })?;
    stores.func_wrap_concurrent("[method]store.get", move |accessor, (handle, key): (Resource<Handle>, String)| {
        Box::pin(async move { Ok((store(accessor, &handle)?.get(key).await,)) })
    })?;
    stores.func_wrap_concurrent(
        "[method]store.set",
        move |accessor, (handle, key, value): (Resource<Handle>, String, Vec<u8>)| {
            Box::pin(async move { Ok((store(accessor, &handle)?.set(key, value).await,)) })
        },
    )?;
    stores.func_wrap_concurrent(
        "[method]store.delete",
        move |accessor, (handle, key): (Resource<Handle>, String)| {
            Box::pin(async move { Ok((store(accessor, &handle)?.delete(key).await,)) })
        },
    )?;
    stores.func_wrap_concurrent(
        "[method]store.exists",
        move |accessor, (handle, key): (Resource<Handle>, String)| {
            Box::pin(async move { Ok((store(accessor, &handle)?.exists(key).await,)) })
        },
    )?;
    stores.func_wrap_concurrent("[method]store.get-keys", move |accessor, (handle,): (Resource<Handle>,)| {
        Box::pin(async move {
            let (keys, outcome) = match store(accessor, &handle)?.keys().await {
                Ok(keys) => (keys, Ok(())),
                Err(error) => (Vec::new(), Err(error)),
            };
            accessor.with(|mut access| -> wasmtime::Result<_> {
                let keys = StreamReader::new(&mut access, keys)?;
                let outcome = FutureReader::new(&mut access, std::future::ready(wasmtime::error::Ok(outcome)))?;
                Ok(((keys, outcome),))
            })
        })
    })
}

fn other(error: impl std::fmt::Display) -> Error {
    Error::Other(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_value_is_set_read_listed_and_deleted() {
        let store = Arc::new(Store::new("default".into(), None));
        assert!(store.clone().get("k".into()).await.unwrap().is_none());
        store.clone().set("k".into(), b"1".to_vec()).await.unwrap();
        store.clone().set("k".into(), b"2".to_vec()).await.unwrap();
        assert_eq!(store.clone().get("k".into()).await.unwrap().unwrap(), b"2");
        assert!(store.clone().exists("k".into()).await.unwrap());
        assert_eq!(store.clone().keys().await.unwrap(), ["k"]);
        store.clone().delete("k".into()).await.unwrap();
        assert!(!store.exists("k".into()).await.unwrap());
    }
}
