//! Deadlines that move.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use tokio::time::Sleep;

/// Whether `deadline` has passed; wakes the task when it does.
///
/// Deadlines move with every request, and setting the timer each time would cost more than routing the request. So a
/// timer that is set too early stays as it is, and is set again when it fires.
pub(crate) fn poll(sleep: &mut Option<Pin<Box<Sleep>>>, cx: &mut Context<'_>, deadline: Instant) -> Poll<()> {
    let deadline = tokio::time::Instant::from_std(deadline);
    let sleep = sleep.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
    if sleep.deadline() > deadline {
        sleep.as_mut().reset(deadline);
    }
    loop {
        ready!(sleep.as_mut().poll(cx));
        if sleep.deadline() >= deadline {
            return Poll::Ready(());
        }
        sleep.as_mut().reset(deadline);
    }
}
