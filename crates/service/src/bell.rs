//! A bell: how one task of an instance wakes another one, without any message.
//!
//! In a component that is the end of a stream within it: a task that another one wakes by its waker traps today, while a stream whose
//! writing end is dropped wakes its reader on each host.

#[cfg(target_family = "wasm")]
use spin_sdk::wasip3::{
    wit_bindgen::{StreamReader, StreamWriter},
    wit_stream,
};

#[cfg(not(target_family = "wasm"))]
use futures_channel::oneshot::{Receiver, Sender, channel};

/// Rings when it is rung or dropped.
pub(crate) struct Bell {
    #[cfg(target_family = "wasm")]
    _end: StreamWriter<u8>,
    #[cfg(not(target_family = "wasm"))]
    _end: Sender<()>,
}

impl Bell {
    /// Rings.
    pub(crate) fn ring(self) {}
}

/// Who hears the bell.
pub(crate) struct Rung {
    #[cfg(target_family = "wasm")]
    end: StreamReader<u8>,
    #[cfg(not(target_family = "wasm"))]
    end: Receiver<()>,
}

impl Rung {
    /// Waits until the bell rings.
    pub(crate) async fn wait(self) {
        #[cfg(target_family = "wasm")]
        {
            let mut end = self.end;
            end.next().await;
        }
        #[cfg(not(target_family = "wasm"))]
        let _ = self.end.await;
    }
}

/// A bell, and who hears it.
pub(crate) fn bell() -> (Bell, Rung) {
    #[cfg(target_family = "wasm")]
    let (bell, end) = wit_stream::new::<u8>();
    #[cfg(not(target_family = "wasm"))]
    let (bell, end) = channel::<()>();
    (Bell { _end: bell }, Rung { end })
}
