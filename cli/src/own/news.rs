//! What tells a watcher that there may be something to see: the server's stream of events (HTML Standard, section 9.2), or where there is
//! none the inbox, which waits for an event. Neither says what the tree is like now, so the watcher looks each time.

use std::{
    io::{BufRead, Read as _},
    sync::mpsc::Sender,
    thread,
    time::Duration,
};

use common::{
    route::{self, Route},
    secret::Kind,
};

use crate::{
    fail::{Exit, Failure},
    http::{Call, Client},
    pages::list,
};

/// Seconds between two attempts, unless the server says otherwise.
const PAUSE: u64 = 2;
/// Seconds between two looks where a stream says when there is something, and where nothing does.
const SELDOM: u64 = 30;
const OFTEN: u64 = 2;
/// Seconds until a stream that was refused is tried again, and how often an inbox is read meanwhile.
const LATER: u64 = 60;
const WAITS: usize = 50;
/// Seconds that the inbox waits for an event.
const WAIT: u64 = 25;
/// The longest line of a stream that is read, bytes.
const MOST: u64 = 1 << 20;

/// What the watcher is told.
pub(super) enum News {
    /// There may be something to see.
    Look,
    /// Nothing more may come for so many seconds: look then.
    Every(u64),
    /// The credential has ended.
    Ended(Failure),
    /// The watcher wants no more.
    Stop,
}

/// Nobody listens any more.
struct Gone;

/// Listens for as long as somebody wants to know.
pub(super) fn listen(client: &Client, news: &Sender<News>) {
    let is_agent = client.token().is_some_and(|token| matches!(token.kind(), Kind::AgentToken | Kind::ApiKey));
    let mut listener = Listener { client, news, last: None, pause: PAUSE };
    loop {
        let heard = match is_agent {
            true => listener.stream(route::INBOX_STREAM, &[]),
            false => listener.stream(route::NOTIFICATIONS_STREAM, &[("changes", "true")]),
        };
        let went_on = match heard {
            Ok(()) => listener.rest(),
            Err(failure) if failure.exit == Exit::Credential => Err(listener.ended(failure)),
            // The look says it, and also when it is over.
            Err(failure) if failure.exit == Exit::Unreachable => {
                listener.tell(News::Look).and_then(|()| listener.rest())
            }
            // It would be refused each time, and each time is in the audit trail.
            Err(failure) if failure.slug() == "scope_denied" => listener.tell(News::Every(OFTEN)).and(Err(Gone)),
            Err(_) if is_agent => listener.inbox(),
            Err(_) => listener.without(),
        };
        if went_on.is_err() {
            return;
        }
    }
}

struct Listener<'a> {
    client: &'a Client,
    news: &'a Sender<News>,
    /// The id of the last event.
    last: Option<String>,
    /// Seconds until the next attempt.
    pause: u64,
}

impl Listener<'_> {
    fn tell(&self, news: News) -> Result<(), Gone> {
        self.news.send(news).map_err(|_| Gone)
    }

    fn ended(&self, failure: Failure) -> Gone {
        drop(self.tell(News::Ended(failure)));
        Gone
    }

    fn rest(&self) -> Result<(), Gone> {
        thread::sleep(Duration::from_secs(self.pause.clamp(1, LATER)));
        Ok(())
    }

    /// Reads a stream to its end. An error: it was refused, or was never there.
    fn stream(&mut self, route: &Route, query: &[(&str, &str)]) -> Result<(), Failure> {
        let reader = self.client.stream(route, query, self.last.as_deref())?;
        // What happened before it began.
        if self.tell(News::Every(SELDOM)).and_then(|()| self.tell(News::Look)).is_err() {
            return Ok(());
        }
        self.events(reader)
    }

    fn events(&mut self, mut reader: impl BufRead) -> Result<(), Failure> {
        let (mut id, mut kind, mut data) = (None, String::new(), String::new());
        loop {
            let mut line = String::new();
            match reader.by_ref().take(MOST).read_line(&mut line) {
                Ok(read) if read > 0 && line.ends_with('\n') => {}
                // Its end, or that of the connection: an event that is cut off comes again.
                _ => return Ok(()),
            }
            let line = line.trim_end_matches(['\n', '\r']);
            let (field, value) = line.split_once(':').unwrap_or((line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value);
            match field {
                "id" => id = Some(value.to_owned()),
                "event" => value.clone_into(&mut kind),
                "data" => data.push_str(value),
                "retry" => self.pause = value.parse().map_or(self.pause, |millis: u64| millis.div_ceil(1000)),
                "" if line.is_empty() && kind == "refused" => {
                    return Err(self.client.refused(serde_json::from_str(&data).unwrap_or_default()));
                }
                "" if line.is_empty() => {
                    self.last = id.take().or(self.last.take());
                    kind.clear();
                    if !std::mem::take(&mut data).is_empty() && self.tell(News::Look).is_err() {
                        return Ok(());
                    }
                }
                _ => {}
            }
        }
    }

    /// Reads the inbox for a while, which waits until there is something.
    fn inbox(&mut self) -> Result<(), Gone> {
        self.tell(News::Every(SELDOM))?;
        for _ in 0..WAITS {
            let mut query = vec![("wait".to_owned(), WAIT.to_string()), ("limit".to_owned(), "200".to_owned())];
            query.extend(self.last.clone().map(|last| ("after".to_owned(), last)));
            match self.client.call(route::INBOX, Call { query, ..Call::default() }) {
                Ok(answer) => {
                    self.last = answer.json.get("cursor").and_then(|cursor| cursor.as_str()).map(str::to_owned);
                    if !list(&answer.json, "items").is_empty() {
                        self.tell(News::Look)?;
                    }
                }
                Err(failure) if failure.exit == Exit::Credential => return Err(self.ended(failure)),
                Err(failure) if failure.exit == Exit::Unreachable => {
                    self.tell(News::Look)?;
                    self.rest()?;
                }
                Err(_) => return self.without(),
            }
        }
        Ok(())
    }

    /// Nothing tells: the watcher looks by itself.
    fn without(&self) -> Result<(), Gone> {
        self.tell(News::Every(OFTEN))?;
        thread::sleep(Duration::from_secs(LATER));
        Ok(())
    }
}
