//! Counters, and their text in the exposition format of Prometheus (version 0.0.4).

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};

/// Upper bounds of the buckets of latencies: as the text has them, and in microseconds.
const BUCKETS: [(&str, u64); 14] = [
    ("0.0005", 500),
    ("0.001", 1_000),
    ("0.0025", 2_500),
    ("0.005", 5_000),
    ("0.01", 10_000),
    ("0.025", 25_000),
    ("0.05", 50_000),
    ("0.1", 100_000),
    ("0.25", 250_000),
    ("0.5", 500_000),
    ("1", 1_000_000),
    ("2.5", 2_500_000),
    ("10", 10_000_000),
    ("30", 30_000_000),
];
/// Statuses that are counted apart: those below 600, which are all that there are.
const STATUSES: usize = 600;

/// What waited for too long.
#[derive(Clone, Copy)]
pub(crate) enum Wait {
    /// The head of a request.
    Head,
    /// The body of a request, or its pace.
    Body,
    /// A client that reads nothing of its response.
    Write,
    /// A response, until its beginning.
    Response,
}

const WAITS: [(Wait, &str); 4] =
    [(Wait::Head, "head"), (Wait::Body, "body"), (Wait::Write, "write"), (Wait::Response, "response")];

/// How often something took how long.
#[derive(Default)]
pub(crate) struct Histogram {
    buckets: [AtomicU64; BUCKETS.len()],
    /// Those beyond the last bucket.
    longer: AtomicU64,
    micros: AtomicU64,
}

impl Histogram {
    /// As a constant.
    pub(crate) const fn new() -> Self {
        let buckets = [const { AtomicU64::new(0) }; BUCKETS.len()];
        Self { buckets, longer: AtomicU64::new(0), micros: AtomicU64::new(0) }
    }

    pub(crate) fn add(&self, micros: u64) {
        let place = BUCKETS.iter().position(|(_, most)| micros <= *most);
        let bucket = place.and_then(|place| self.buckets.get(place)).unwrap_or(&self.longer);
        bucket.fetch_add(1, Ordering::Relaxed);
        self.micros.fetch_add(micros, Ordering::Relaxed);
    }

    /// `labels` are empty, or end in a comma.
    fn write(&self, text: &mut String, name: &str, labels: &str) {
        let mut sum = 0;
        for ((bound, _), bucket) in BUCKETS.iter().zip(&self.buckets) {
            sum += count(bucket);
            _ = writeln!(text, "{name}_bucket{{{labels}le=\"{bound}\"}} {sum}");
        }
        let (all, micros) = (sum + count(&self.longer), count(&self.micros));
        let only = labels.strip_suffix(',').map(|labels| format!("{{{labels}}}")).unwrap_or_default();
        _ = writeln!(text, "{name}_bucket{{{labels}le=\"+Inf\"}} {all}");
        _ = writeln!(text, "{name}_sum{only} {}.{:06}", micros / 1_000_000, micros % 1_000_000);
        _ = writeln!(text, "{name}_count{only} {all}");
    }
}

fn count(count: &AtomicU64) -> u64 {
    count.load(Ordering::Relaxed)
}

/// What is counted of the writes to all databases of this process, whose connections are made far from where counters are read.
pub(crate) struct Writes {
    /// How long statements that begin to write waited for their turn.
    pub(crate) waits: Histogram,
    /// Statements that did not get a lock in time.
    pub(crate) refused: AtomicU64,
}

/// The same.
pub(crate) static WRITES: Writes = Writes { waits: Histogram::new(), refused: AtomicU64::new(0) };

/// What is counted of one component.
struct OfComponent {
    id: String,
    statuses: Vec<AtomicU64>,
    durations: Histogram,
    bytes: AtomicU64,
}

/// All counters. They only grow, from the start of the host.
pub(crate) struct Metrics {
    components: Vec<OfComponent>,
    waits: [AtomicU64; WAITS.len()],
    pub(crate) refused_connections: AtomicU64,
}

/// What is measured when the text is asked for.
pub(crate) struct Gauges {
    pub(crate) connections: usize,
    pub(crate) most_connections: usize,
    /// Live instances by component.
    pub(crate) instances: Vec<(String, u64)>,
    pub(crate) backlog: Backlog,
}

/// What waits in the database. `None`: it did not say so.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Backlog {
    pub(crate) mails: Option<u64>,
    pub(crate) deliveries: Option<u64>,
    /// Seconds since the last seal over the audit trail was made.
    pub(crate) seal_age: Option<u64>,
    /// Audit rows without a seal.
    pub(crate) unsealed: Option<u64>,
}

impl Metrics {
    /// Counters of these components, and of requests that belong to none: the host answers those.
    pub(crate) fn new(components: impl Iterator<Item = String>) -> Self {
        let of = |id| OfComponent {
            id,
            statuses: (0..STATUSES).map(|_| AtomicU64::new(0)).collect(),
            durations: Histogram::new(),
            bytes: AtomicU64::new(0),
        };
        let mut all: Vec<OfComponent> = components.map(of).collect();
        all.sort_by(|one, other| one.id.cmp(&other.id));
        all.push(of(String::new()));
        Self { components: all, waits: Default::default(), refused_connections: AtomicU64::new(0) }
    }

    /// Counts a request that was answered. `None`: by the host.
    pub(crate) fn answered(&self, component: Option<&str>, status: u16, micros: u64, bytes: u64) {
        let id = component.unwrap_or_default();
        let Some(of) = self.components.iter().find(|of| of.id == id) else { return };
        if let Some(count) = of.statuses.get(usize::from(status)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        of.durations.add(micros);
        of.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Counts a time-out.
    pub(crate) fn timed_out(&self, wait: Wait) {
        if let Some(count) = self.waits.get(wait as usize) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The text. Components are those of the manifest, so no value needs an escape.
    pub(crate) fn text(&self, gauges: &Gauges) -> String {
        let mut text = String::with_capacity(16 * 1024);
        let head = |text: &mut String, name: &str, kind: &str, help: &str| {
            _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
        };
        head(&mut text, "accredit_build_info", "gauge", "The version of the host.");
        _ = writeln!(text, "accredit_build_info{{version=\"{}\"}} 1", env!("CARGO_PKG_VERSION"));

        let name = "accredit_requests_total";
        head(
            &mut text,
            name,
            "counter",
            "Requests from outside, by component and status; no component: the host itself.",
        );
        for of in &self.components {
            for (status, number) in of.statuses.iter().enumerate().map(|(status, number)| (status, count(number))) {
                if number > 0 {
                    _ = writeln!(text, "{name}{{component=\"{}\",status=\"{status}\"}} {number}", of.id);
                }
            }
        }
        let name = "accredit_request_duration_seconds";
        head(&mut text, name, "histogram", "Time until a response begins.");
        for of in &self.components {
            of.durations.write(&mut text, name, &format!("component=\"{}\",", of.id));
        }
        let name = "accredit_response_bytes_total";
        head(&mut text, name, "counter", "Bytes of the bodies of responses.");
        for of in &self.components {
            _ = writeln!(text, "{name}{{component=\"{}\"}} {}", of.id, count(&of.bytes));
        }
        let name = "accredit_instances";
        head(&mut text, name, "gauge", "Live instances.");
        for (id, number) in &gauges.instances {
            _ = writeln!(text, "{name}{{component=\"{id}\"}} {number}");
        }
        head(&mut text, "accredit_connections", "gauge", "Open connections.");
        _ = writeln!(text, "accredit_connections {}", gauges.connections);
        head(&mut text, "accredit_connections_max", "gauge", "Connections that may be open.");
        _ = writeln!(text, "accredit_connections_max {}", gauges.most_connections);
        let name = "accredit_connections_refused_total";
        head(&mut text, name, "counter", "Connections for which there was no room.");
        _ = writeln!(text, "{name} {}", count(&self.refused_connections));
        let name = "accredit_timeouts_total";
        head(&mut text, name, "counter", "What took too long: heads and bodies of requests, readers, responses.");
        for (wait, kind) in WAITS {
            let number = self.waits.get(wait as usize).map(count).unwrap_or_default();
            _ = writeln!(text, "{name}{{kind=\"{kind}\"}} {number}");
        }
        let name = "accredit_sqlite_wait_seconds";
        head(&mut text, name, "histogram", "Time that writes waited for their turn.");
        WRITES.waits.write(&mut text, name, "");
        let name = "accredit_sqlite_locked_total";
        head(&mut text, name, "counter", "Statements that did not get the lock of the database in time.");
        _ = writeln!(text, "{name} {}", count(&WRITES.refused));
        let Backlog { mails, deliveries, seal_age, unsealed } = gauges.backlog;
        let known = [
            ("accredit_outbox", "{kind=\"mail\"}", mails, "Mails and deliveries to webhooks that wait to be sent."),
            ("accredit_outbox", "{kind=\"webhook\"}", deliveries, ""),
            ("accredit_seal_age_seconds", "", seal_age, "Time since the audit trail was sealed last."),
            ("accredit_unsealed_rows", "", unsealed, "Rows of the audit trail that no seal covers yet."),
        ];
        for (name, labels, value, help) in known {
            if !help.is_empty() {
                head(&mut text, name, "gauge", help);
            }
            if let Some(value) = value {
                _ = writeln!(text, "{name}{labels} {value}");
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// R151.
    #[test]
    fn counters_are_those_of_what_happened() {
        let metrics = Metrics::new(["b", "a"].map(str::to_owned).into_iter());
        metrics.answered(Some("a"), 200, 700, 10);
        metrics.answered(Some("a"), 503, 3_000_000, 5);
        metrics.answered(Some("a"), 200, 60_000_000, 0);
        metrics.answered(None, 404, 10, 0);
        metrics.answered(Some("unknown"), 200, 1, 1);
        metrics.timed_out(Wait::Write);
        WRITES.waits.add(2_000_000);
        let backlog = Backlog { mails: Some(3), seal_age: Some(60), ..Backlog::default() };
        let instances = vec![("a".to_owned(), 1)];
        let text = metrics.text(&Gauges { connections: 2, most_connections: 9, instances, backlog });
        for line in [
            "accredit_requests_total{component=\"a\",status=\"200\"} 2",
            "accredit_requests_total{component=\"a\",status=\"503\"} 1",
            "accredit_requests_total{component=\"\",status=\"404\"} 1",
            "accredit_request_duration_seconds_bucket{component=\"a\",le=\"0.0005\"} 0",
            "accredit_request_duration_seconds_bucket{component=\"a\",le=\"0.001\"} 1",
            "accredit_request_duration_seconds_bucket{component=\"a\",le=\"10\"} 2",
            "accredit_request_duration_seconds_bucket{component=\"a\",le=\"+Inf\"} 3",
            "accredit_request_duration_seconds_sum{component=\"a\"} 63.000700",
            "accredit_request_duration_seconds_count{component=\"a\"} 3",
            "accredit_response_bytes_total{component=\"a\"} 15",
            "accredit_instances{component=\"a\"} 1",
            "accredit_connections 2",
            "accredit_timeouts_total{kind=\"write\"} 1",
            "accredit_timeouts_total{kind=\"head\"} 0",
            "accredit_outbox{kind=\"mail\"} 3",
            "accredit_seal_age_seconds 60",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}:\n{text}");
        }
        // What the database did not say is left out.
        assert!(!text.contains("accredit_outbox{kind=\"webhook\"}"));
        assert!(!text.lines().any(|line| line.starts_with("accredit_unsealed_rows")));
        assert!(text.contains("accredit_sqlite_wait_seconds_bucket{le=\"2.5\"} "));
        assert!(!text.contains("{}"), "{text}");
        // Each line is a comment, or a name with labels and a number.
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            assert!(line.rsplit_once(' ').is_some_and(|(_, number)| number.parse::<f64>().is_ok()), "{line}");
        }
    }
}
