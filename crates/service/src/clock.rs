//! The clock.

use common::{
    error::{ApiError, Code},
    time::Timestamp,
};

/// The longest time that a request can wait for something, seconds: less than what proxies usually allow one.
pub(crate) const MOST_WAIT: i64 = 25;

/// Where `now` comes from: read once for each request.
#[derive(Clone, Debug)]
pub enum Clock {
    /// The machine's clock.
    System,
    /// A clock that tests set and move; milliseconds since the Unix epoch.
    #[cfg(not(target_family = "wasm"))]
    Fixed(std::sync::Arc<std::sync::atomic::AtomicI64>),
}

impl Clock {
    /// The current time.
    pub fn now(&self) -> Timestamp {
        match self {
            #[expect(clippy::disallowed_methods, reason = "the one place that reads the clock")]
            Self::System => {
                let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
                Timestamp::from_millis(since.map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX)))
            }
            #[cfg(not(target_family = "wasm"))]
            Self::Fixed(millis) => Timestamp::from_millis(millis.load(std::sync::atomic::Ordering::SeqCst)),
        }
    }
}

/// Takes the seconds that a request wants to wait for something; left out: it does not wait.
pub fn wait(seconds: Option<i64>) -> Result<i64, ApiError> {
    let seconds = seconds.unwrap_or(0);
    if (0..=MOST_WAIT).contains(&seconds) { Ok(seconds) } else { Err(Code::InvalidWait.into()) }
}

/// Whether [`sleep`] lets time pass.
pub(crate) const PASSES: bool = cfg!(target_family = "wasm");

/// Lets time pass. Natively, in tests, it does not: their clock is moved by hand.
pub async fn sleep(duration: std::time::Duration) {
    #[cfg(target_family = "wasm")]
    spin_sdk::time::sleep(duration).await;
    #[cfg(not(target_family = "wasm"))]
    let _ = duration;
}
