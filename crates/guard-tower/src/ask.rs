//! Questions to Accredit, on threads of their own, over kept connections.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use guard_core::{Answer, Now, Question, question};
use ureq::{Agent, http};

/// The longest that an answer may take, beside the time for which it is held back.
const PATIENCE: Duration = Duration::from_secs(5);

/// Asks, and knows the time.
pub(crate) struct Asker {
    agent: Agent,
    since: Instant,
}

impl Asker {
    pub(crate) fn new() -> Self {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .allow_non_standard_methods(false)
            .build();
        #[expect(clippy::disallowed_methods, reason = "the one place that reads the clocks")]
        let since = Instant::now();
        Self { agent: config.into(), since }
    }

    pub(crate) fn now(&self) -> Now {
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        #[expect(clippy::disallowed_methods, reason = "the one place that reads the clocks")]
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Now { steady: millis(self.since.elapsed()), unix: i64::try_from(unix.as_millis()).unwrap_or(i64::MAX) }
    }

    /// Sends a question. `Err` says why there is no answer.
    pub(crate) async fn ask(&self, question: Question) -> Result<Answer, String> {
        let agent = self.agent.clone();
        let asked = tokio::task::spawn_blocking(move || send(&agent, question)).await;
        asked.map_err(|error| error.to_string())?
    }
}

fn send(agent: &Agent, question: Question) -> Result<Answer, String> {
    let said = |error: &dyn std::fmt::Display| error.to_string();
    let mut request = http::Request::builder().method(question.method).uri(question.url());
    for (name, value) in question.headers {
        request = request.header(name, value);
    }
    let patience = PATIENCE + Duration::from_secs(question.held);
    let answer = if question.method == "GET" {
        let request = request.body(()).map_err(|error| said(&error))?;
        let request = agent.configure_request(request).timeout_global(Some(patience)).build();
        agent.run(request)
    } else {
        let request = request.body(question.body).map_err(|error| said(&error))?;
        let request = agent.configure_request(request).timeout_global(Some(patience)).build();
        agent.run(request)
    };
    let (parts, mut body) = answer.map_err(|error| said(&error))?.into_parts();
    let most = u64::try_from(question::MOST_BODY).unwrap_or(u64::MAX);
    let body = body.with_config().limit(most).read_to_vec().map_err(|error| said(&error))?;
    let headers = parts.headers.iter().map(|(name, value)| (name.as_str().to_owned(), value.as_bytes().to_vec()));
    Ok(Answer { status: parts.status.as_u16(), headers: headers.collect(), body })
}
