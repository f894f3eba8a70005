//! A layer for services of tower, such as those of axum and hyper: it lets in the callers that Accredit verifies, and tells the service
//! who they are.
//!
//! ```no_run
//! let settings = guard_tower::Settings::read(|name| std::env::var(format!("GUARD_{}", name.to_uppercase())).ok())?;
//! let app = axum::Router::new().route("/orders", get(orders)).layer(guard_tower::GuardLayer::new(settings));
//! ```
//!
//! Put it around the whole router. Within `Router::nest` a layer sees paths without their beginning, so that rules and proofs of keys would be
//! compared with other paths than those that are asked for.
//!
//! The settings and the rules are those of the component `guard`. What has no caller that is let in never reaches the service. The layer
//! needs a runtime of tokio. A request that is decided by what was heard before costs no question.
#![forbid(unsafe_code)]

mod ask;

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use guard_core::{Asked, Guard, Header, Refusal, Step, header, rules, rules::Message};
pub use guard_core::{Settings, Wrong};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, header::CONNECTION};
use http_body::Body;
use http_body_util::{BodyExt as _, Limited};
use tower_layer::Layer;
use tower_service::Service;

use crate::ask::Asker;

/// Between two looks at whether the guard has begun.
const MOMENT: Duration = Duration::from_millis(1);

/// Puts a guard before a service. All copies share what they have heard.
#[derive(Clone)]
pub struct GuardLayer(Arc<Shared>);

/// A service with a guard before it.
#[derive(Clone)]
pub struct GuardService<S> {
    shared: Arc<Shared>,
    inner: S,
}

struct Shared {
    guard: Guard,
    asker: Asker,
}

impl GuardLayer {
    /// A layer with these settings.
    pub fn new(settings: Settings) -> Self {
        Self(Arc::new(Shared { guard: Guard::new(settings), asker: Asker::new() }))
    }
}

impl<S> Layer<S> for GuardLayer {
    type Service = GuardService<S>;

    fn layer(&self, inner: S) -> GuardService<S> {
        GuardService { shared: Arc::clone(&self.0), inner }
    }
}

type Answering<R, E> = Pin<Box<dyn Future<Output = Result<Response<R>, E>> + Send>>;

impl<S, B, R> Service<Request<B>> for GuardService<S>
where
    S: Service<Request<B>, Response = Response<R>> + Clone + Send + 'static,
    S::Future: Send,
    B: Body<Data = Bytes> + From<Bytes> + Send + 'static,
    B::Error: std::error::Error + Send + Sync + 'static,
    R: From<Bytes>,
{
    type Response = Response<R>;
    type Error = S::Error;
    type Future = Answering<R, S::Error>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let other = self.inner.clone();
        // The one that was ready is the one that is called.
        let mut inner = std::mem::replace(&mut self.inner, other);
        let shared = Arc::clone(&self.shared);
        Box::pin(async move {
            match shared.admit(request).await {
                Ok(request) => {
                    let mut response = inner.call(request).await?;
                    shared.hide_secret(response.headers_mut());
                    Ok(response)
                }
                Err(refusal) => Ok(answer(refusal)),
            }
        })
    }
}

impl Shared {
    /// The request as the service gets it, or what the caller is told instead.
    async fn admit<B>(self: &Arc<Self>, request: Request<B>) -> Result<Request<B>, Refusal>
    where
        B: Body<Data = Bytes> + From<Bytes>,
        B::Error: std::error::Error + Send + Sync + 'static,
    {
        let (mut parts, body) = request.into_parts();
        let path = parts.uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
        let method = parts.method.as_str().to_owned();
        if let Some(metadata) = self.guard.metadata(&method, &path) {
            return Err(metadata);
        }
        self.follow();
        let (message, body) = self.message(&method, &path, &parts.headers, body).await?;
        let headers: Vec<Header> =
            parts.headers.iter().map(|(name, value)| (name.as_str().to_owned(), value.as_bytes().to_vec())).collect();
        let asked = Asked { method: &method, path: &path, headers: &headers, client: None, message: &message };
        let mut check = self.guard.check(&asked, self.asker.now())?;
        while self.guard.is_beginning(self.asker.now()) {
            tokio::time::sleep(MOMENT).await;
        }
        let mut step = self.guard.step(&mut check, self.asker.now());
        let told = loop {
            match step {
                Step::Pass(told) => break told,
                Step::Refuse(refusal, why) => {
                    if let Some(why) = why {
                        eprintln!("guard: {why}");
                    }
                    return Err(refusal);
                }
                Step::Ask(question) => {
                    let answer = self.asker.ask(question).await;
                    step = self.guard.heard(&mut check, answer, self.asker.now());
                }
            }
        };
        let settings = self.guard.settings();
        let names: Vec<HeaderName> = parts.headers.keys().cloned().collect();
        for name in names.into_iter().filter(|name| !header::is_clients(settings, name.as_str())) {
            parts.headers.remove(name);
        }
        // The service may be a proxy.
        if parts.headers.get_all(CONNECTION).iter().any(|named| header::takes_away(settings, named.as_bytes())) {
            parts.headers.remove(CONNECTION);
        }
        for (name, value) in header::added(settings, &told) {
            if let (Ok(name), Ok(mut value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
                // Nothing that prints headers shows it.
                value.set_sensitive(settings.added.as_ref().is_some_and(|added| added.name == name.as_str()));
                parts.headers.insert(name, value);
            }
        }
        Ok(Request::from_parts(parts, body))
    }

    /// What the body says, if a rule names tools, and the body as it was.
    async fn message<B>(&self, method: &str, path: &str, headers: &HeaderMap, body: B) -> Result<(Message, B), Refusal>
    where
        B: Body<Data = Bytes> + From<Bytes>,
        B::Error: std::error::Error + Send + Sync + 'static,
    {
        let settings = self.guard.settings();
        if !settings.rules.name_tools_of(method, path) {
            return Ok((Message::Other, body));
        }
        let read = Limited::new(body, rules::MOST_BODY).collect().await;
        let bytes = read.map_err(|_| Refusal::too_large(settings, rules::MOST_BODY))?.to_bytes();
        let named: Vec<&[u8]> = headers.get_all("mcp-name").iter().map(HeaderValue::as_bytes).collect();
        let message = rules::message(&bytes, &named).map_err(|why| Refusal::ambiguous(settings, why))?;
        Ok((message, B::from(bytes)))
    }

    /// Follows the epochs beside the requests, unless somebody does.
    fn follow(self: &Arc<Self>) {
        if !self.guard.begins_to_follow(self.asker.now()) {
            return;
        }
        let shared = Arc::clone(self);
        tokio::spawn(async move {
            while let Some(question) = shared.guard.follow(shared.asker.now()) {
                let sent = shared.asker.now();
                let answer = shared.asker.ask(question.clone()).await;
                let (pause, line) = shared.guard.followed((&question, sent), answer, shared.asker.now());
                if let Some(line) = line {
                    eprintln!("guard: {line}");
                }
                if pause > 0 {
                    tokio::time::sleep(Duration::from_millis(pause)).await;
                }
            }
        });
    }

    /// Takes away what of the service's answer repeats the secret.
    fn hide_secret(&self, headers: &mut HeaderMap) {
        let settings = self.guard.settings();
        if settings.added.is_none() {
            return;
        }
        let repeats = |(name, value): (&HeaderName, &HeaderValue)| {
            (!header::is_answered(settings, value.as_bytes())).then(|| name.clone())
        };
        let names: Vec<HeaderName> = headers.iter().filter_map(repeats).collect();
        for name in names {
            headers.remove(name);
        }
    }
}

fn answer<R: From<Bytes>>(refusal: Refusal) -> Response<R> {
    let mut response = Response::new(R::from(Bytes::from(refusal.body)));
    *response.status_mut() = StatusCode::from_u16(refusal.status).unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
    for (name, value) in refusal.headers {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            response.headers_mut().append(name, value);
        }
    }
    response
}

#[cfg(test)]
mod tests {
    use axum::body::{Body, to_bytes};

    use super::*;

    fn settings(accredit: &str) -> Settings {
        let rules = "GET /a = x.crm.read; POST /mcp tool * = x.crm.read";
        let all = [
            ("accredit", accredit),
            ("resource", "https://crm.example.com/v1"),
            ("scope", "-"),
            ("tenant", "main"),
            ("rules", rules),
        ];
        Settings::read(|name| all.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned()))
            .unwrap()
    }

    /// R178: without Accredit nobody reaches the service; what needs no caller is answered.
    #[tokio::test]
    async fn without_accredit_nobody_is_let_in() {
        // Nobody listens at the port of a listener that is gone.
        let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let layer = GuardLayer::new(settings(&format!("http://{gone}")));
        let mut service = layer.layer(axum::Router::<()>::new().fallback(async || "reached"));
        for (method, path, body, expected) in [
            ("GET", "/a", "", 503),
            ("POST", "/mcp", "{}", 503),
            ("POST", "/mcp", "[]", 400),
            ("GET", "/a%2fb", "", 400),
            ("GET", "/.well-known/oauth-protected-resource/v1", "", 200),
        ] {
            let request = Request::builder().method(method).uri(path).header("authorization", "Bearer acr_agt_1");
            let answer = service.call(request.body(Body::from(body)).unwrap()).await.unwrap();
            assert_eq!(answer.status(), expected, "{method} {path}");
            let text = to_bytes(answer.into_body(), 10_000).await.unwrap();
            assert!(!String::from_utf8_lossy(&text).contains("reached"), "{path}");
        }
    }

    /// Code, and its tokens as text.
    macro_rules! with_text {
        ($($code:tt)*) => {
            (stringify!($($code)*), || -> Result<axum::Router, Wrong> { $($code)* })
        };
    }

    /// R426: the example of the manual, and of this crate's documentation, is compiled as it stands there.
    #[test]
    fn the_example_of_the_manual_is_compiled() {
        use axum::routing::get;

        use crate as guard_tower;
        const PAGE: &str = include_str!("../../../docs/agents/concepts/guarding.md");
        async fn orders() {}
        let (text, example) = with_text! {
            let settings = guard_tower::Settings::read(|name| std::env::var(format!("GUARD_{}", name.to_uppercase())).ok())?;
            let app = axum::Router::new().route("/orders", get(orders)).layer(guard_tower::GuardLayer::new(settings));
            Ok(app)
        };
        assert!(example().is_err(), "nothing is set");
        let bare = |text: &str| text.split_whitespace().collect::<String>();
        let block = PAGE.split("```rust\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
        assert_eq!(bare(text), bare(block) + "Ok(app)");
        let documented = block.lines().map(|line| format!("//! {line}\n")).collect::<String>();
        assert!(include_str!("lib.rs").contains(&documented), "{documented}");
        assert_eq!(PAGE.matches("```rust").count(), 1);
    }
}
