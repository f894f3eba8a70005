//! Requests that wait until somebody has written to the database.

use std::{cell::Cell, time::Duration};

use common::{
    error::{ApiError, Code},
    time::Timestamp,
};
use store::{db::Version, stream};

use crate::{
    app::{App, log},
    caller::Caller,
    clock,
};

/// How often in a second an instance asks whether somebody has written: what happens reaches those who wait within 200 ms.
pub const LOOKS: i64 = 6;
/// The time between two looks.
const LOOK: Duration = Duration::from_millis(1000 / LOOKS.unsigned_abs());

thread_local! {
    /// When this instance asked last, and the version of the database then: all that wait in it look at the same moments, and ask once.
    static ASKED: Cell<Option<(Timestamp, Version)>> = const { Cell::new(None) };
}

/// How long this instance does not ask again.
fn rest(now: Timestamp) -> Option<Duration> {
    let (asked, _) = ASKED.get()?;
    let since = u64::try_from(now.millis() - asked.millis()).ok()?;
    LOOK.checked_sub(Duration::from_millis(since)).filter(|rest| !rest.is_zero())
}

/// The place of a stream, or of a request that waits, in the bound of its person or agent. It is left however the request ends.
pub struct Place(App);

impl Place {
    /// Takes a stream's place.
    pub async fn of_stream(app: &App, caller: &Caller) -> Result<Self, ApiError> {
        match stream::open(app.db(), app.request_id(), caller.subject().id(), app.now()).await? {
            true => Ok(Self(app.clone())),
            // Those that were cut off end by then.
            false => Err(ApiError::from(Code::TooManyStreams).retry_after(stream::RENEWED_WITHIN)),
        }
    }

    /// Takes the place of a request that waits. One that cannot be counted, as while the database is full, waits all the same.
    async fn of_wait(app: &App, subject: &str) -> Result<Self, ApiError> {
        match stream::begin_wait(app.db(), app.request_id(), subject, app.clock().now()).await {
            Ok(false) => {
                let refusal = Code::TooManyStreams
                    .detail("You have as many requests waiting as one person or agent may have at once.")
                    .fix("Wait for the number of seconds in the header Retry-After, or send the request without wait. One request that waits is enough for all that one program wants to know.");
                return Err(refusal.retry_after(clock::MOST_WAIT));
            }
            Ok(true) => {}
            Err(error) => log(app.request_id(), "a wait is not counted", &error.to_string()),
        }
        Ok(Self(app.clone()))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let app = self.0.clone();
        self.0.at_the_end(async move { stream::close(app.db(), app.request_id()).await });
    }
}

/// What one request has seen, and for how long it still waits.
#[derive(Default)]
pub struct Watch {
    version: Option<Version>,
    looks: i64,
    /// Whose place it takes once it waits.
    subject: Option<String>,
    place: Option<Place>,
}

impl Watch {
    /// Begins to watch before the request reads for the first time. `wait`: for how many seconds, as a query gives them.
    pub async fn begin(app: &App, caller: &Caller, wait: Option<i64>) -> Result<Self, ApiError> {
        let mut watch =
            Self { looks: looks(wait)?, subject: Some(caller.subject().id().to_owned()), ..Self::default() };
        if !watch.is_over() {
            watch.has_changed(app).await?;
        }
        Ok(watch)
    }

    /// The same, for no more than so many looks.
    #[must_use]
    pub fn at_most(self, looks: i64) -> Self {
        Self { looks: self.looks.min(looks), ..self }
    }

    /// The same, and it takes no place of its person's or agent's: many guards share one credential, and have a bound of their own.
    #[must_use]
    pub fn of_guard(self) -> Self {
        Self { subject: None, ..self }
    }

    /// Whether the request has waited for as long as it wants.
    pub fn is_over(&self) -> bool {
        self.looks == 0
    }

    /// Waits until somebody may have written, or until the time is over. Both want a look: a credential may have ended by its time.
    pub async fn wait(&mut self, app: &App) -> Result<(), ApiError> {
        self.wait_until(app, None).await
    }

    /// The same, or until a moment at which what is waited for comes about by itself.
    pub async fn wait_until(&mut self, app: &App, moment: Option<Timestamp>) -> Result<(), ApiError> {
        if let Some(subject) = self.subject.take() {
            self.place = Some(Place::of_wait(app, &subject).await?);
        }
        while !self.is_over() {
            self.looks -= 1;
            next_look(app).await;
            if self.has_changed(app).await? || moment.is_some_and(|moment| moment <= app.clock().now()) {
                break;
            }
        }
        Ok(())
    }

    /// Whether somebody may have written since this was asked last. The first time: yes. Ask before you read: what is written meanwhile is
    /// then seen by the next look.
    pub async fn has_changed(&mut self, app: &App) -> Result<bool, ApiError> {
        let now = app.clock().now();
        if rest(now).is_none() {
            ASKED.set(Some((now, app.db().version().await?)));
        }
        let version = ASKED.get().map(|(_, version)| version);
        Ok(std::mem::replace(&mut self.version, version) != version)
    }

    /// Reads again at the next look: there was more than this one took.
    pub fn look_again(&mut self) {
        self.version = None;
    }
}

/// How many looks are in a wait of these seconds, as a query gives them.
pub fn looks(wait: Option<i64>) -> Result<i64, ApiError> {
    Ok(clock::wait(wait)? * LOOKS)
}

/// Waits until the instance looks again.
pub async fn next_look(app: &App) {
    clock::sleep(rest(app.clock().now()).unwrap_or(LOOK)).await;
}
