//! Tasks of a component.

use std::{future::poll_fn, pin::pin, task::Poll};

/// Waits for a future, and has it polled once more right after its first turn. What it has spawned by then begins with it: the runtime of
/// components (wit-bindgen 0.57) takes spawned work in after a turn, and wakes nobody for it where others wait beside. A body that was
/// spawned would wait for whatever happens next, which may be the end of a long wait.
pub async fn with_spawned<T>(work: impl Future<Output = T>) -> T {
    let (mut work, mut is_begun) = (pin!(work), false);
    poll_fn(|context| {
        let polled = work.as_mut().poll(context);
        if matches!(polled, Poll::Pending) && !std::mem::replace(&mut is_begun, true) {
            context.waker().wake_by_ref();
        }
        polled
    })
    .await
}

#[cfg(test)]
mod tests {
    use std::{
        cell::Cell,
        sync::{
            Arc,
            atomic::{AtomicUsize, Ordering},
        },
        task::{Context, Wake},
    };

    use super::*;

    struct Counted(AtomicUsize);

    impl Wake for Counted {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::AcqRel);
        }
    }

    /// R483: it is woken once, and never again by itself.
    #[test]
    fn a_future_that_waits_is_polled_once_more() {
        let counted = Arc::new(Counted(AtomicUsize::new(0)));
        let waker = Arc::clone(&counted).into();
        let (is_ready, mut context) = (Cell::new(false), Context::from_waker(&waker));
        let waits = poll_fn(|_| if is_ready.get() { Poll::Ready(7) } else { Poll::Pending });
        let mut work = pin!(with_spawned(waits));
        for _ in 0..3 {
            assert!(work.as_mut().poll(&mut context).is_pending());
            assert_eq!(counted.0.load(Ordering::Acquire), 1);
        }
        is_ready.set(true);
        assert_eq!(work.as_mut().poll(&mut context), Poll::Ready(7));
    }
}
