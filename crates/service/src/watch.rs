//! Requests that wait until somebody has written to the database.
//!
//! Of those that wait in an instance one looks, six times a second, and rings for each other one for which there is something: somebody
//! has written, or its own time has come. So a thousand streams to which nothing happens cost little, also where being called back costs
//! much, as in Spin.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    rc::Rc,
    time::Duration,
};

use common::{
    error::{ApiError, Code},
    id::AgentId,
    time::Timestamp,
};
use store::{db::Version, inbox, stream};

use crate::{
    app::{App, log},
    bell::{Bell, bell},
    caller::Caller,
    clock, form,
};

form! {
    /// The query of a route about one thing that is waited for.
    pub struct Follow {
        /// For how many seconds at most.
        pub wait: Option<i64>,
    }
}

/// How often in a second an instance asks whether somebody has written: what happens reaches those who wait within 200 ms.
pub const LOOKS: i64 = 6;
/// The time between two looks.
const LOOK: Duration = Duration::from_millis(1000 / LOOKS.unsigned_abs());

thread_local! {
    /// When this instance asked last, and the version of the database then: all that wait in it look at the same moments, and ask once.
    static ASKED: Cell<Option<(Timestamp, Version)>> = const { Cell::new(None) };
    /// Whether one of those that wait looks for all.
    static IS_LED: Cell<bool> = const { Cell::new(false) };
    /// The others, the one that has waited for longest first.
    static WAITING: RefCell<Vec<Waiting>> = const { RefCell::new(Vec::new()) };
    /// The number of the last one of them.
    static LAST: Cell<u64> = const { Cell::new(0) };
    /// The streams that are open.
    static STREAMS: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
    /// The turn in which the streams said last that they are open.
    static RENEWED: Cell<i64> = const { Cell::new(0) };
}

/// One that waits while another one looks.
struct Waiting {
    number: u64,
    seen: Rc<Seen>,
    until: Timestamp,
    bell: Bell,
}

/// What one that waits has seen.
#[derive(Default)]
struct Seen {
    /// The version that there was before it looked last, or a later one in which there was nothing for it.
    version: Cell<Option<Version>>,
    /// The agent whose inbox is all that it waits for, by id.
    agent: Option<String>,
    /// The [mark](inbox::marks) of that inbox before it looked last.
    mark: RefCell<Option<String>>,
}

impl Seen {
    /// Whether there may be something for it. `marks` are the inboxes that were looked at in this version.
    fn has_news(&self, version: Option<Version>, marks: &HashMap<String, String>) -> bool {
        if self.version.get() == version {
            return false;
        }
        let Some(agent) = &self.agent else { return true };
        let mark = marks.get(agent);
        if mark.is_some() && *self.mark.borrow() == mark.cloned() {
            self.version.set(version);
            return false;
        }
        *self.mark.borrow_mut() = mark.cloned();
        true
    }

    /// Its agent, if it has not seen this version.
    fn asks_for(&self, version: Option<Version>) -> Option<String> {
        self.agent.clone().filter(|_| self.version.get() != version)
    }
}

/// Rings for those of whom this is true.
fn ring(mut is_due: impl FnMut(&Waiting) -> bool) {
    // Out of the list first: whoever is rung for may come back to it.
    let due: Vec<Waiting> = WAITING.with_borrow_mut(|waiting| waiting.extract_if(.., |one| is_due(one)).collect());
    due.into_iter().for_each(|one| one.bell.ring());
}

/// Rings for the first of those that wait, if nobody looks: it is to.
fn hand_on() {
    if !IS_LED.get() {
        let mut is_first = true;
        ring(|_| std::mem::take(&mut is_first));
    }
}

/// The task that looks for all, until this is dropped: then the next one does, also when it was given up in the middle.
struct Lead;

impl Lead {
    /// `None`: another one does.
    fn begin() -> Option<Self> {
        if IS_LED.replace(true) { None } else { Some(Self) }
    }

    /// Looks, and rings, until there may be something for this task too, or its own time has come.
    async fn look(self, app: &App, seen: &Seen, until: Timestamp) -> Result<(), ApiError> {
        loop {
            clock::sleep(rest(app.clock().now()).unwrap_or(LOOK)).await;
            let (version, now) = (version(app).await?, app.clock().now());
            let mut agents: Vec<String> =
                WAITING.with_borrow(|waiting| waiting.iter().filter_map(|one| one.seen.asks_for(version)).collect());
            agents.extend(seen.asks_for(version));
            let marks = match agents.is_empty() {
                true => HashMap::new(),
                false => inbox::marks(app.db(), &agents).await?.into_iter().collect(),
            };
            let is_due = |one: &Seen, until: Timestamp| {
                // Who has begun to wait meanwhile for another inbox is decided about at the next look.
                let was_asked = one.agent.as_ref().is_none_or(|agent| agents.contains(agent));
                (was_asked && one.has_news(version, &marks)) || until <= now
            };
            ring(|one| is_due(&one.seen, one.until));
            if is_due(seen, until) || !clock::PASSES {
                return Ok(());
            }
        }
    }
}

impl Drop for Lead {
    fn drop(&mut self) {
        IS_LED.set(false);
        hand_on();
    }
}

/// A place among those that wait, until this is dropped. Whoever is rung for and does not look, or was given up, hands on.
struct InLine(u64);

impl InLine {
    async fn wait(seen: Rc<Seen>, until: Timestamp) -> Self {
        let (bell, rung) = bell();
        let number = LAST.get().wrapping_add(1);
        LAST.set(number);
        WAITING.with_borrow_mut(|waiting| waiting.push(Waiting { number, seen, until, bell }));
        let line = Self(number);
        rung.wait().await;
        line
    }
}

impl Drop for InLine {
    fn drop(&mut self) {
        ring(|one| one.number == self.0);
        hand_on();
    }
}

/// How long this instance does not ask again.
fn rest(now: Timestamp) -> Option<Duration> {
    let (asked, _) = ASKED.get()?;
    let since = u64::try_from(now.millis() - asked.millis()).ok()?;
    LOOK.checked_sub(Duration::from_millis(since)).filter(|rest| !rest.is_zero())
}

/// The version of the database, at most a look old.
async fn version(app: &App) -> Result<Option<Version>, ApiError> {
    let now = app.clock().now();
    if rest(now).is_none() {
        ASKED.set(Some((now, app.db().version().await?)));
    }
    Ok(asked())
}

/// The version that this instance was told last.
fn asked() -> Option<Version> {
    ASKED.get().map(|(_, version)| version)
}

/// How many looks are between two moments.
fn looks_between(from: Timestamp, to: Timestamp) -> i64 {
    to.millis().saturating_sub(from.millis()).saturating_mul(LOOKS) / 1000
}

/// The length of a turn in which streams say that they are open, seconds.
const TURN: i64 = 15;

/// Says once a turn that the streams of this instance are open. All instances do so within the same seconds, and each with one statement:
/// whatever is written wakes all that wait.
pub async fn renew_streams(app: &App, now: Timestamp) -> Result<(), ApiError> {
    let turn = now.millis() / (TURN * 1000);
    if RENEWED.replace(turn) == turn {
        return Ok(());
    }
    let open = STREAMS.with_borrow(Clone::clone);
    let renewed = stream::renew(app.db(), &open, now).await;
    if renewed.is_err() {
        RENEWED.set(0);
    }
    Ok(renewed?)
}

/// The place of a stream, or of a request that waits, in the bound of its person or agent. It is left however the request ends.
pub struct Place(App);

impl Place {
    /// Takes a stream's place.
    pub async fn of_stream(app: &App, caller: &Caller) -> Result<Self, ApiError> {
        match stream::open(app.db(), app.request_id(), caller.subject().id(), app.now()).await? {
            true => {
                STREAMS.with_borrow_mut(|open| open.push(app.request_id().as_str().to_owned()));
                Ok(Self(app.clone()))
            }
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
        STREAMS.with_borrow_mut(|open| open.retain(|id| id != app.request_id().as_str()));
        self.0.at_the_end(async move { stream::close(app.db(), app.request_id()).await });
    }
}

/// What one request has seen, and for how long it still waits.
#[derive(Default)]
pub struct Watch {
    seen: Rc<Seen>,
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

    /// The same, for nothing but the events of this agent and the end of a credential of its tenant: what else is written wakes it no more.
    #[must_use]
    pub fn of_inbox(self, agent: Option<&AgentId>) -> Self {
        let seen =
            Seen { agent: agent.map(ToString::to_string), version: self.seen.version.clone(), ..Seen::default() };
        Self { seen: Rc::new(seen), ..self }
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
            let begun = app.clock().now();
            let until = begun.plus_millis(self.looks.saturating_mul(1000) / LOOKS);
            self.next(app, moment.map_or(until, |moment| moment.min(until))).await?;
            self.looks -= looks_between(begun, app.clock().now()).clamp(1, self.looks);
            if self.has_changed(app).await? || moment.is_some_and(|moment| moment <= app.clock().now()) {
                break;
            }
        }
        Ok(())
    }

    /// Waits for the next look, and on until somebody may have written, or until this moment.
    pub async fn next(&self, app: &App, until: Timestamp) -> Result<(), ApiError> {
        let mut line = None;
        loop {
            if let Some(lead) = Lead::begin() {
                drop(line);
                return lead.look(app, &self.seen, until).await;
            }
            line = Some(InLine::wait(Rc::clone(&self.seen), until).await);
            if asked() != self.seen.version.get() || until <= app.clock().now() {
                return Ok(());
            }
        }
    }

    /// Whether somebody may have written since this was asked last. The first time: yes. Ask before you read: what is written meanwhile is
    /// then seen by the next look.
    pub async fn has_changed(&mut self, app: &App) -> Result<bool, ApiError> {
        let version = version(app).await?;
        Ok(self.seen.version.replace(version) != version)
    }

    /// Reads again at the next look: there was more than this one took.
    pub fn look_again(&mut self) {
        self.seen.version.set(None);
    }
}

/// How many looks are in a wait of these seconds, as a query gives them.
pub fn looks(wait: Option<i64>) -> Result<i64, ApiError> {
    Ok(clock::wait(wait)? * LOOKS)
}

#[cfg(test)]
mod tests {
    use std::{pin::pin, task::Context, task::Poll};

    use futures_util::{FutureExt as _, future::poll_fn};

    use super::*;
    use crate::{router::Router, testing::TestApp};

    /// R652: while one looks, the others wait for its bell; and should it be given up in the middle, the first of them looks.
    #[tokio::test]
    async fn when_the_one_that_looks_is_given_up_the_next_one_does() {
        let t = TestApp::new(Router::default());
        let (app, watch) = (t.app(), Watch::default());
        let until = t.now().plus_seconds(60);
        let lead = Lead::begin().unwrap();
        let (mut first, mut second) = (pin!(watch.next(&app, until)), pin!(watch.next(&app, until)));
        let polled = poll_fn(|context: &mut Context<'_>| {
            Poll::Ready((first.poll_unpin(context).is_pending(), second.poll_unpin(context).is_pending()))
        });
        assert_eq!(polled.await, (true, true));
        drop(lead);
        first.await.unwrap();
        second.await.unwrap();
        assert!(!IS_LED.get() && WAITING.with_borrow(Vec::is_empty));
    }

    /// R652: who has seen what there is now, and whose time has not come, is left alone; who is given up in the line keeps nobody waiting.
    #[test]
    fn only_those_are_rung_for_whom_there_is_something() {
        let wait = |seconds: i64| Box::pin(InLine::wait(Rc::default(), Timestamp::from_millis(seconds * 1000)));
        let lead = Lead::begin();
        let mut waiting = [1, 9, 9, 9].map(wait);
        let mut rung = || waiting.each_mut().map(|one| one.now_or_never());
        assert!(rung().iter().all(Option::is_none));
        ring(|one| one.until <= Timestamp::from_millis(5000));
        let [first, second, ..] = rung();
        assert!(first.is_some() && second.is_none());
        drop((first, lead));
        // The second one is rung for, and is given up before it hears of it; the third one in the line.
        let [_, second, third, mut fourth] = waiting;
        drop((third, second));
        assert!((&mut fourth).now_or_never().is_some());
        assert!(WAITING.with_borrow(Vec::is_empty));
    }

    /// R671: streams say once a turn that they are open, those of an instance together.
    #[tokio::test]
    async fn the_streams_of_an_instance_are_renewed_together() {
        let t = TestApp::new(Router::default());
        let app = t.app();
        for id in ["req_1", "req_2"] {
            t.execute(&format!("INSERT INTO streams (id, subject_id, until) VALUES ('{id}', 'usr_1', 0)"))
                .await
                .unwrap();
            STREAMS.with_borrow_mut(|open| open.push(id.to_owned()));
        }
        let sum = async || t.number("SELECT sum(until) FROM streams").await;
        let begun = Timestamp::from_millis(t.now().millis() / 15_000 * 15_000);
        for (seconds, is_written) in [(0, true), (1, false), (14, false), (15, true), (29, false), (31, true)] {
            let (now, before) = (begun.plus_seconds(seconds), sum().await);
            renew_streams(&app, now).await.unwrap();
            assert_eq!(sum().await != before, is_written, "after {seconds} s");
            assert!(sum().await >= 2 * now.plus_seconds(20).millis(), "after {seconds} s");
        }
    }

    /// R682: a change is news for who waits for anything, and for who waits for an inbox if that has another mark; what was no news is not
    /// looked at again.
    #[tokio::test]
    async fn an_inbox_has_news_by_its_mark() {
        let t = TestApp::new(Router::default());
        let version = async || Some(t.db().version().await.unwrap());
        let marks = |mark: &str| HashMap::from([("agt_1".to_owned(), mark.to_owned())]);
        let of = |agent: Option<&str>| Seen { agent: agent.map(ToOwned::to_owned), ..Seen::default() };
        let (any, inbox) = (of(None), of(Some("agt_1")));
        let first = version().await;
        assert!(any.has_news(first, &marks("1-0")));
        // The first mark is news: nobody knows what there was before it.
        assert!(inbox.has_news(first, &marks("1-0")) && inbox.version.get().is_none());
        inbox.version.set(first);
        assert_eq!((inbox.asks_for(first), any.asks_for(None)), (None, None));
        t.db().close();
        let second = version().await;
        assert_ne!(first, second);
        assert_eq!(inbox.asks_for(second).as_deref(), Some("agt_1"));
        assert!(!inbox.has_news(second, &marks("1-0")) && inbox.version.get() == second);
        t.db().close();
        let third = version().await;
        assert!(inbox.has_news(third, &marks("2-0")) && inbox.version.get() == second);
        assert_eq!(inbox.mark.borrow().as_deref(), Some("2-0"));
        // An agent that is gone: its request finds out.
        assert!(inbox.has_news(third, &HashMap::new()));
    }
}
