//! What providers say of themselves, kept in the key-value store: it may be stale for an hour, or lost.

#[cfg(target_family = "wasm")]
pub(crate) use wasm::{get, set};

#[cfg(target_family = "wasm")]
mod wasm {
    use common::id::RequestId;
    use service::app::log;
    use spin_sdk::key_value::Store;

    /// A value; nothing where the store does not answer.
    pub(crate) async fn get(request: &RequestId, key: &str) -> Option<Vec<u8>> {
        let read = async { Store::open_default().await?.get(key).await };
        read.await.unwrap_or_else(|error| {
            log(request, "key-value store", &error.to_string());
            None
        })
    }

    /// Keeps a value, if the store takes it.
    pub(crate) async fn set(request: &RequestId, key: &str, value: &[u8]) {
        let write = async { Store::open_default().await?.set(key, value).await };
        if let Err(error) = write.await {
            log(request, "key-value store", &error.to_string());
        }
    }
}

#[cfg(not(target_family = "wasm"))]
pub(crate) use native::{get, set};

#[cfg(not(target_family = "wasm"))]
mod native {
    use std::{cell::RefCell, collections::BTreeMap};

    use common::id::RequestId;

    // A test runs in a thread of its own.
    thread_local! {
        static KEPT: RefCell<BTreeMap<String, Vec<u8>>> = RefCell::default();
    }

    pub(crate) async fn get(_: &RequestId, key: &str) -> Option<Vec<u8>> {
        KEPT.with_borrow(|kept| kept.get(key).cloned())
    }

    pub(crate) async fn set(_: &RequestId, key: &str, value: &[u8]) {
        KEPT.with_borrow_mut(|kept| kept.insert(key.to_owned(), value.to_owned()));
    }
}
