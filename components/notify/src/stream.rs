//! Streams of events (HTML Standard, section 9.2, server-sent events): what a person is told, and an agent's inbox, as it comes.
//!
//! A stream looks when somebody has written to the database since its last look, and at least each [`CHECKED_EVERY`] seconds. Before it
//! sends what it found, the caller is looked up anew: a stream ends with its credential. It ends after [`LONGEST`] too; the client comes
//! again with the last id that it has.

use std::{collections::VecDeque, convert::Infallible};

use bytes::Bytes;
use common::{
    error::{ApiError, Code},
    id::NotificationId,
    route::Route,
    scope::Scope,
    time::Timestamp,
};
use futures_util::stream;
use serde::Serialize;
use service::{
    app::App,
    body::Body,
    caller::Caller,
    extract::Query,
    form, guard,
    headers::Headers,
    reader,
    response::{Response, event_stream},
    watch::{self, Place},
};
use store::{
    notification,
    stream::{self as streams, Glance},
};

use crate::inbox::{self, Shown, number};

/// How long a stream lives, seconds.
const LONGEST: i64 = 600;
/// How often the credential is asked again, seconds.
const CHECKED_EVERY: i64 = 15;
/// How often something is sent at least, seconds: it keeps the connection from falling asleep, and finds a client that has gone.
const SAID_EVERY: i64 = 5;
/// The most rows that are read at once.
const MOST: usize = 100;
/// Notifications are ordered by the moment of their request, and may be stored a little later: so far back each look begins, seconds.
const LATE: i64 = 10;

/// What a stream is about.
trait Source {
    /// Whether a look finds out by itself that the credential has ended.
    const FINDS_THE_END: bool = false;
    /// Whether it is about the inbox of the caller alone.
    const IS_INBOX: bool = false;

    /// Events since the last look, the oldest first, written as they are sent; none: there are no more. An error ends the stream.
    async fn look(&mut self, app: &App, caller: &Caller) -> Result<Vec<String>, ApiError>;
}

/// One event.
fn event(id: &str, kind: &str, data: &impl Serialize) -> Result<String, ApiError> {
    let data = serde_json::to_string(data).map_err(|error| ApiError::from(Code::Internal).cause(error))?;
    Ok(format!("id: {id}\nevent: {kind}\ndata: {data}\n\n"))
}

/// An open stream.
struct Open<S> {
    app: App,
    caller: Caller,
    route: &'static Route,
    source: S,
    watch: watch::Watch,
    checked_at: Timestamp,
    said_at: Timestamp,
    ends_at: Timestamp,
    waiting: VecDeque<String>,
    is_over: bool,
}

impl<S: Source> Open<S> {
    /// The next piece; `None`: the stream is over.
    async fn next(&mut self) -> Option<String> {
        loop {
            if let Some(piece) = self.waiting.pop_front() {
                return Some(piece);
            }
            if self.is_over {
                return None;
            }
            match self.step().await {
                Ok(()) => {}
                Err(refusal) => {
                    self.is_over = true;
                    let link = self.app.settings().link();
                    let envelope = refusal.envelope(
                        self.app.request_id().as_str(),
                        link,
                        Some(reader::of(&self.caller, &self.app)),
                    );
                    let data = serde_json::to_string(&envelope).unwrap_or_default();
                    self.waiting.push_back(format!("event: refused\ndata: {data}\n\n"));
                }
            }
        }
    }

    /// Waits until there is something to do, and does it.
    async fn step(&mut self) -> Result<(), ApiError> {
        let now = self.app.clock().now();
        if now >= self.ends_at {
            self.is_over = true;
            return Ok(());
        }
        watch::renew_streams(&self.app, now).await?;
        let is_due = self.checked_at.plus_seconds(CHECKED_EVERY) <= now;
        if self.said_at.plus_seconds(SAID_EVERY) <= now {
            self.said_at = now;
            // A comment.
            self.waiting.push_back(":\n\n".to_owned());
        }
        if !self.watch.has_changed(&self.app).await? && !is_due {
            let until = self.checked_at.plus_seconds(CHECKED_EVERY).min(self.said_at.plus_seconds(SAID_EVERY));
            return self.watch.next(&self.app, until.min(self.ends_at)).await;
        }
        let found = self.source.look(&self.app, &self.caller).await?;
        if !S::FINDS_THE_END || is_due || !found.is_empty() {
            self.caller = self.caller.reload(self.app.db(), now).await?;
            guard::admit(&self.app, &self.caller, self.route)?;
        }
        if !found.is_empty() {
            self.watch.look_again();
        }
        self.waiting.extend(found);
        if is_due {
            self.checked_at = now;
        }
        Ok(())
    }
}

async fn answer<S: Source + 'static>(
    app: App,
    caller: Caller,
    route: &'static Route,
    source: S,
) -> Result<Response, ApiError> {
    let place = Place::of_stream(&app, &caller).await?;
    let now = app.now();
    let watch = watch::Watch::default().of_inbox(caller.agent_id().filter(|_| S::IS_INBOX));
    let open = Open {
        caller,
        route,
        source,
        watch,
        checked_at: now,
        said_at: now,
        ends_at: now.plus_seconds(LONGEST),
        waiting: VecDeque::from(["retry: 2000\n\n".to_owned()]),
        is_over: false,
        app,
    };
    let pieces = stream::unfold((open, place), |(mut open, place)| async move {
        let piece = open.next().await?;
        Some((Ok::<_, Infallible>(Bytes::from(piece)), (open, place)))
    });
    Ok(event_stream(Body::pieces(pieces)))
}

/// A person's notifications.
struct Told {
    /// Where a look begins that is not to go on behind a row.
    since: Timestamp,
    /// The row behind which the next look goes on, since there are more.
    behind: Option<(Timestamp, NotificationId)>,
    /// Those that were sent, as far back as a look goes.
    sent: VecDeque<(Timestamp, NotificationId)>,
    /// Whether changes are told too.
    changes: bool,
    /// What was said of them last.
    glance: Option<Glance>,
}

impl Told {
    /// An event without an id, which nobody resumes from, if something has changed.
    async fn changed(&mut self, app: &App, caller: &Caller) -> Result<Option<String>, ApiError> {
        if !self.changes {
            return Ok(None);
        }
        let sees_agents = caller.scope().contains(Scope::AgentsList);
        let now = streams::glance(app.db(), caller.subject(), sees_agents).await?;
        if self.glance.as_ref() == Some(&now) {
            return Ok(None);
        }
        let data = serde_json::to_string(&now).map_err(|error| ApiError::from(Code::Internal).cause(error))?;
        self.glance = Some(now);
        Ok(Some(format!("event: changed\ndata: {data}\n\n")))
    }
}

impl Source for Told {
    async fn look(&mut self, app: &App, caller: &Caller) -> Result<Vec<String>, ApiError> {
        loop {
            let begin = self.behind.as_ref().map_or((self.since, ""), |(at, id)| (*at, id.as_str()));
            let rows = notification::behind(app.db(), caller.user_id(), begin, MOST).await?;
            let is_last = rows.len() < MOST;
            self.behind = rows.last().filter(|_| !is_last).map(|row| (row.created_at, row.id.clone()));
            let mut written = Vec::new();
            for row in rows {
                if self.sent.iter().all(|(_, id)| *id != row.id) {
                    written.push(event(row.id.as_str(), "notification", &row)?);
                    self.sent.push_back((row.created_at, row.id));
                }
            }
            if let Some(last) = self.sent.iter().map(|(at, _)| *at).max() {
                self.since = self.since.max(last.plus_seconds(-LATE));
                let since = self.since;
                self.sent.retain(|(at, _)| *at >= since);
            }
            // Rows that were sent before are read again, and may fill a page.
            if is_last || !written.is_empty() {
                written.extend(self.changed(app, caller).await?);
                return Ok(written);
            }
        }
    }
}

/// The id that the client has seen last. An empty one is none (HTML Standard, section 9.2.4).
fn last_seen(headers: &Headers) -> Option<String> {
    headers.first("last-event-id").filter(|id| !id.is_empty())
}

form! {
    pub(crate) struct Watch {
        changes: Option<bool>,
    }
}

/// `GET /api/notifications/stream?changes=`: what the caller is told from now on, or since the notification that `Last-Event-ID` names.
/// With `changes` also that something has changed that an open page may show.
pub(crate) async fn notifications(
    app: App,
    route: &'static Route,
    caller: Caller,
    headers: Headers,
    Query(query): Query<Watch>,
) -> Result<Response, ApiError> {
    let last = last_seen(&headers);
    let since = last.as_deref().map(|last| {
        NotificationId::time_of(last).ok_or_else(|| {
            let refusal = Code::InvalidEvent.detail("This is not the id of a notification.");
            refusal.fix("Send an id of GET /api/notifications as Last-Event-ID, or leave the header out to begin now.")
        })
    });
    let since = since.transpose()?;
    // Those that are not much older than the last one are sent once more: they may have been stored after it.
    let since = since.map_or(app.now(), |at| at.plus_seconds(-LATE));
    let changes = query.changes.unwrap_or(false);
    let mut told = Told { since, behind: None, sent: VecDeque::new(), changes, glance: None };
    if let Some(last) = last.and_then(|last| NotificationId::try_from(last).ok()) {
        told.sent.push_back((since.plus_seconds(LATE), last));
    }
    answer(app, caller, route, told).await
}

/// An agent's inbox.
struct Inbox {
    route: &'static Route,
    after: i64,
}

impl Source for Inbox {
    const FINDS_THE_END: bool = true;
    const IS_INBOX: bool = true;

    async fn look(&mut self, app: &App, caller: &Caller) -> Result<Vec<String>, ApiError> {
        let events = inbox::look(app, caller, self.route, self.after, i64::try_from(MOST).unwrap_or(0)).await?;
        let mut written = Vec::new();
        for found in events {
            self.after = found.seq;
            let shown = Shown::to(caller, found);
            written.push(event(&shown.id, &shown.r#type, &shown)?);
        }
        Ok(written)
    }
}

form! {
    pub(crate) struct Begin {
        after: Option<String>,
    }
}

/// `GET /api/agents/me/inbox/stream`: the events behind `Last-Event-ID`, or else behind `after`, and those that come.
pub(crate) async fn own_inbox(
    app: App,
    route: &'static Route,
    caller: Caller,
    headers: Headers,
    Query(query): Query<Begin>,
) -> Result<Response, ApiError> {
    let last = last_seen(&headers).or(query.after);
    let after = last.as_deref().map(number).transpose()?.unwrap_or(0);
    inbox::check_place(&app, &caller, after).await?;
    answer(app, caller, route, Inbox { route, after }).await
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicBool, Ordering},
        thread,
        time::Duration,
    };

    use serde_json::{Value::Null, json};
    use service::testing::{Actor, TestApp, at_once};

    use super::{CHECKED_EVERY, LONGEST};
    use crate::router;

    /// Waits until a stream has begun and asks nothing more. A moment without a statement is none yet: a busy machine has such moments too.
    fn until_quiet(t: &TestApp, begun: u64) {
        let (mut seen, mut quiet) = (begun, 0);
        while quiet < 5 {
            thread::sleep(Duration::from_millis(100));
            let now = t.db().statements();
            quiet = if now == begun || now != seen { 0 } else { quiet + 1 };
            seen = now;
        }
    }

    /// What a stream sends until it is over. All that it needs is there: nobody writes meanwhile.
    async fn sent(t: &TestApp, by: &Actor, path: &str, last: &str) -> String {
        let bearer = format!("Bearer {}", by.token);
        let headers = [("authorization", bearer.as_str()), ("last-event-id", last)];
        let begun = t.db().statements();
        let texts = at_once(2, async |number| {
            if number == 0 {
                return t.call("GET", path, &headers, Null).await.text;
            }
            // Once the stream asks nothing more of the database, it has sent what there is. After ten minutes it ends.
            until_quiet(t, begun);
            t.wait(600);
            String::new()
        });
        texts.concat()
    }

    /// R57: an inbox that holds more than one look brings is sent whole.
    #[tokio::test]
    async fn a_full_inbox_is_sent_at_once() {
        let t = TestApp::new(router());
        let ada = t.ada().await;
        let scout = t.agent(&ada, "scout", "agents.read").await;
        t.execute(
            "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 250)
             INSERT INTO inbox (agent_id, seq, kind, data, created_at, caused_by)
             SELECT a.id, i, 'x', '{}', 0, '' FROM n, agents a",
        )
        .await
        .unwrap();
        let sent = sent(&t, &scout, "/api/agents/me/inbox/stream", "evt_0000000000000000").await;
        assert_eq!(sent.matches("\nevent: x\n").count(), 250);
    }

    /// R425: a credential that ends by its own time ends its streams, although nobody writes: it is asked again while they are open.
    #[tokio::test]
    async fn a_credential_that_ends_by_itself_ends_its_streams() {
        for path in ["/api/notifications/stream", "/api/agents/me/inbox/stream"] {
            let t = TestApp::new(router());
            let ada = t.ada().await;
            let scout = t.agent(&ada, "scout", "agents.read").await;
            let by = if path.contains("/me/") { &scout } else { &ada };
            let ends = t.now().plus_seconds(60).millis();
            t.execute(&format!("UPDATE credentials SET expires_at = {ends}")).await.unwrap();
            let (begun, is_over) = (t.db().statements(), AtomicBool::new(false));
            let texts = at_once(2, async |number| {
                if number == 0 {
                    let bearer = format!("Bearer {}", by.token);
                    let sent = t.call("GET", path, &[("authorization", &bearer)], Null).await.text;
                    is_over.store(true, Ordering::Release);
                    return sent;
                }
                // Its first look is over: what comes then comes by time alone.
                until_quiet(&t, begun);
                t.wait(60 + CHECKED_EVERY);
                for _ in 0..1_000 {
                    if is_over.load(Ordering::Acquire) {
                        return String::new();
                    }
                    thread::sleep(Duration::from_millis(10));
                }
                // It did not end with its credential: it ends by its length, and has not told why.
                t.wait(LONGEST);
                String::new()
            });
            let sent = texts.concat();
            assert!(sent.contains("event: refused\ndata: {\"error\":\"token_expired\""), "{path}: {sent}");
        }
    }

    /// R55: notifications that are more than one look brings are sent whole, in order and once, although all are of one moment.
    #[tokio::test]
    async fn many_notifications_are_sent_at_once() {
        let t = TestApp::new(router());
        let ada = t.ada().await;
        let scout = t.agent(&ada, "scout", "ui.notify").await;
        let mut ids = Vec::new();
        for _ in 0..250 {
            let made = t.as_(&scout, "POST", "/api/ui/notify", json!({ "title": "t", "body": "b" })).await.is(201);
            ids.push(made["notification_id"].as_str().unwrap().to_owned());
        }
        ids.sort();
        let first = ids.remove(0);
        let sent = sent(&t, &ada, "/api/notifications/stream", &first).await;
        let told: Vec<&str> = sent.lines().filter_map(|line| line.strip_prefix("id: ")).collect();
        assert_eq!(told, ids);
    }
}
