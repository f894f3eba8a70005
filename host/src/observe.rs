//! What an operator sees of requests from outside: the access log and the counters. Nothing is looked at unless a flag asks for it.

use std::sync::Arc;
use std::time::Instant;

use http::{Request, Response, StatusCode};
use time::OffsetDateTime;
use time::macros::format_description;

use crate::access_log::{AccessLog, Line};
use crate::metrics::{Metrics, Wait};
use crate::patterns::Patterns;

/// The longest method and request id that are written, in bytes: a client may send any.
const LONGEST: usize = 64;

/// What looks at requests.
pub(crate) struct Observer {
    pub(crate) log: Option<AccessLog>,
    /// What the log names requests by, where one of them covers the path.
    pub(crate) patterns: Patterns,
    pub(crate) metrics: Metrics,
}

/// In the extensions of a response: the component took too long.
#[derive(Clone, Copy)]
pub(crate) struct Late;

/// A request that is being answered. It is told of when this is dropped.
pub(crate) struct Seen {
    observer: Arc<Observer>,
    began: Instant,
    time: Option<OffsetDateTime>,
    method: String,
    /// The pattern of the route, and the component.
    place: Option<(Arc<str>, Arc<str>)>,
    status: u16,
    micros: u64,
    bytes: u64,
    request_id: Option<String>,
}

impl Observer {
    /// A request whose head is there, and the route and component that it belongs to.
    pub(crate) fn begin<B>(self: &Arc<Self>, request: &Request<B>, place: Option<(String, Arc<str>)>) -> Seen {
        let place = place.map(|(pattern, component)| {
            let finer = self.log.as_ref().and_then(|_| self.patterns.find(request.uri().path()));
            (finer.unwrap_or_else(|| pattern.into()), component)
        });
        Seen {
            observer: self.clone(),
            began: Instant::now(),
            time: self.log.is_some().then(OffsetDateTime::now_utc),
            method: request.method().as_str().chars().take(LONGEST).collect(),
            place,
            status: 0,
            micros: 0,
            bytes: 0,
            request_id: None,
        }
    }
}

impl Seen {
    /// The response begins.
    pub(crate) fn answered<B>(&mut self, response: &Response<B>) {
        self.micros = self.waited();
        self.status = response.status().as_u16();
        let id = response.headers().get("x-request-id").and_then(|id| id.to_str().ok());
        self.request_id = id.map(|id| id.chars().take(LONGEST).collect());
        if response.status() == StatusCode::REQUEST_TIMEOUT {
            self.observer.metrics.timed_out(Wait::Body);
        }
        if response.extensions().get::<Late>().is_some() {
            self.observer.metrics.timed_out(Wait::Response);
        }
    }

    /// Microseconds since its head was there.
    fn waited(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    /// A piece of the body goes out.
    pub(crate) fn sent(&mut self, bytes: usize) {
        self.bytes += bytes as u64;
    }
}

impl Drop for Seen {
    fn drop(&mut self) {
        // The client went away before there was an answer.
        if self.status == 0 {
            (self.status, self.micros) = (499, self.waited());
        }
        let component = self.place.as_ref().map(|(_, component)| &**component);
        self.observer.metrics.answered(component, self.status, self.micros, self.bytes);
        let (Some(log), Some(time)) = (&self.observer.log, self.time) else { return };
        let form = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");
        log.write(&Line {
            time: time.format(form).unwrap_or_default(),
            method: &self.method,
            route: self.place.as_ref().map(|(pattern, _)| &**pattern),
            component,
            status: self.status,
            us: self.micros,
            bytes: self.bytes,
            request_id: self.request_id.as_deref(),
        });
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::metrics::{Backlog, Gauges};

    /// R151.
    #[test]
    fn a_client_that_goes_away_has_waited() {
        let observer =
            Arc::new(Observer { log: None, patterns: Patterns::default(), metrics: Metrics::new(std::iter::empty()) });
        let mut seen = observer.begin(&Request::new(()), None);
        seen.began -= Duration::from_secs(1);
        drop(seen);
        let backlog = Backlog::default();
        let gauges = Gauges { connections: 0, most_connections: 0, instances: Vec::new(), backlog };
        let text = observer.metrics.text(&gauges);
        for line in [
            "accredit_requests_total{component=\"\",status=\"499\"} 1",
            "accredit_request_duration_seconds_bucket{component=\"\",le=\"0.5\"} 0",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}:\n{text}");
        }
    }
}
