//! For native tests of components: the real handlers, SQL and migrations over a real SQLite file, with a clock that tests move and
//! randomness that they can repeat.

mod absent;

use std::{future::Future, ops::Deref, sync::Arc, thread};

pub use absent::foreign_objects_are_absent;
use common::{id::RequestIds, secret::Chance};
use http::{HeaderMap, Request, StatusCode};
use serde_json::Value as Json;
pub use store::testing::{Actor, START, TestDb};

use crate::{
    app::{App, Env, Head},
    body::RequestBody,
    clock::Clock,
    headers::Headers,
    http::serve,
    router::Router,
    settings::Settings,
};

/// A component's router over a database of its own. It has the methods of [`TestDb`] too.
pub struct TestApp {
    env: Arc<Env>,
    router: Router,
    db: TestDb,
}

impl Deref for TestApp {
    type Target = TestDb;

    fn deref(&self) -> &TestDb {
        &self.db
    }
}

/// An answer, read to its end.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body as text.
    pub text: String,
}

impl Answer {
    /// Asserts the status and gives the body as JSON (null when it is empty).
    #[track_caller]
    pub fn is(&self, status: u16) -> Json {
        assert_eq!(self.status.as_u16(), status, "{}", self.text);
        serde_json::from_str(&self.text).unwrap_or(Json::Null)
    }

    /// Asserts a refusal by status and slug, that its envelope is whole, and gives it.
    #[track_caller]
    pub fn refused(&self, status: u16, slug: &str) -> Json {
        let body = self.is(status);
        let member = |name: &str| body.get(name).and_then(Json::as_str).unwrap_or_default().to_owned();
        assert_eq!(member("error"), slug, "{body}");
        for name in ["detail", "fix", "doc_url", "request_id"] {
            assert!(!member(name).is_empty(), "{name}: {body}");
        }
        assert_eq!(self.header("x-request-id"), member("request_id"));
        body
    }

    /// A header's text; empty when it is not there.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
}

/// Settings of a server that sends mail; `public_url` may be empty.
#[expect(clippy::unwrap_used, reason = "it is for tests")]
pub fn mailing(public_url: &str) -> Settings {
    let settings = Settings::read(|name| {
        let value = match name {
            "mail_provider" => "webhook",
            "mail_host" => "mail.example",
            "mail_from" => "no-reply@example.com",
            "mail_token" => "t0ken",
            "public_url" => public_url,
            _ => return None,
        };
        Some(value.to_owned())
    });
    settings.unwrap()
}

/// Runs `work` in so many threads at once, and returns what each of them gives, in order.
///
/// # Panics
/// When one of them does.
pub fn at_once<T: Send, F: Future<Output = T>>(threads: usize, work: impl Fn(usize) -> F + Sync) -> Vec<T> {
    let barrier = std::sync::Barrier::new(threads);
    thread::scope(|scope| {
        let (work, barrier) = (&work, &barrier);
        let run = |number| {
            scope.spawn(move || {
                barrier.wait();
                futures_executor::block_on(work(number))
            })
        };
        let running: Vec<_> = (0..threads).map(run).collect();
        let joined = running.into_iter().map(|thread| thread.join());
        joined.map(|result| result.unwrap_or_else(|cause| std::panic::resume_unwind(cause))).collect()
    })
}

#[expect(clippy::expect_used, clippy::missing_panics_doc, reason = "tests only: a broken harness should end the test")]
impl TestApp {
    /// A router over an empty database, with no settings.
    pub fn new(router: Router) -> Self {
        Self::with(router, Settings::default())
    }

    /// A router over an empty database.
    pub fn with(router: Router, settings: Settings) -> Self {
        Self::on(TestDb::bounded(settings.database_max_mib), router, settings, 1)
    }

    /// A router over the database of another one, as a second instance or host has it.
    pub fn over(router: Router, other: &Self) -> Self {
        Self::over_with(router, Settings::default(), other)
    }

    /// The same with settings of its own.
    pub fn over_with(router: Router, settings: Settings, other: &Self) -> Self {
        Self::on(other.db.second(), router, settings, 2)
    }

    fn on(db: TestDb, router: Router, settings: Settings, seed: u64) -> Self {
        let env = Env {
            db: db.db(),
            clock: Clock::Fixed(db.clock()),
            chance: db.chance().clone(),
            requests: RequestIds::new(&Chance::seeded(seed)),
            settings,
        };
        Self { env: Arc::new(env), router, db }
    }

    /// A request that has begun, for tests of what handlers call.
    pub fn app(&self) -> App {
        let head = Head {
            method: http::Method::GET,
            uri: http::Uri::from_static("/"),
            headers: Headers::new(HeaderMap::new()),
        };
        App::new(&self.env, head)
    }

    /// Sends a request as it is.
    pub async fn send(&self, request: Request<RequestBody>) -> Answer {
        let _request = self.db.db().request();
        let (parts, body) = request.into_parts();
        let head = Head { method: parts.method, uri: parts.uri, headers: Headers::new(parts.headers) };
        let (parts, body) = serve(&self.env, &self.router, head, body).await.into_parts();
        // RFC 9110, section 8.6: neither has content, so neither says how long it is.
        let is_bare = matches!(parts.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        assert!(!is_bare || !parts.headers.contains_key("content-length"), "{parts:?}");
        let bytes = body.collect().await.expect("a body");
        let text = String::from_utf8(bytes.to_vec()).expect("UTF-8");
        Answer { status: parts.status, headers: parts.headers, text }
    }

    /// Sends a request with headers and, unless it is null, a JSON body.
    pub async fn call(&self, method: &str, path: &str, headers: &[(&str, &str)], body: Json) -> Answer {
        let mut request = Request::builder().method(method).uri(path).header("host", "127.0.0.1:3000");
        request = request.header("spin-client-addr", "192.0.2.1:4000");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if !body.is_null() && !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-type")) {
            request = request.header("content-type", "application/json");
        }
        let body = RequestBody::from(if body.is_null() { String::new() } else { body.to_string() });
        self.send(request.body(body).expect("a request")).await
    }

    /// Sends a request as an actor.
    pub async fn as_(&self, actor: &Actor, method: &str, path: &str, body: Json) -> Answer {
        self.call(method, path, &[("authorization", &format!("Bearer {}", actor.token))], body).await
    }

    /// Sends a request without a credential.
    pub async fn nobody(&self, method: &str, path: &str, body: Json) -> Answer {
        self.call(method, path, &[], body).await
    }
}
