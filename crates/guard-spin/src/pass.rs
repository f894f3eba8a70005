//! A request comes in, is decided, and goes on to what is behind the guard; or a refusal goes back.

use std::{
    sync::OnceLock,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use common::task::with_spawned;
use guard_core::{
    Answer, Asked, Guard, Header, Now, Question, Refusal, Settings, Step, Wrong, header, question, rules,
};
use guard_core::{rules::Message, settings};
use spin_sdk::{
    time::sleep,
    variables::Error::Undefined,
    wasip3::{
        http::{
            client as wasi_client,
            types::{ErrorCode, Fields, Method, Request, Response, Scheme},
        },
        spawn, wit_future, wit_stream,
    },
    wit_bindgen::{FutureReader, StreamReader, StreamResult},
};

/// The longest that an answer may take, beside the time for which it is held back.
const PATIENCE: Duration = Duration::from_secs(5);
/// Between two looks at what is waited for: no task of a component wakes another one.
const MOMENT: Duration = Duration::from_millis(1);
/// How much is read of a body at once.
const PIECE: usize = 16 * 1024;

/// How what is behind a guard is reached.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Behind {
    /// By a request of the guard's own, about which the host says something itself.
    Request,
    /// By a call in the same instance: it gets the host's words about the request too.
    Call,
}

/// The variable of the component that holds a setting; `None`: the component was not given it.
pub async fn variable(prefix: &str, setting: &'static str) -> Result<Option<String>, Wrong> {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads settings")]
    match spin_sdk::variables::get(format!("{prefix}{setting}")).await {
        Ok(value) => Ok(Some(value)),
        Err(Undefined(_)) => Ok(None),
        // As if it were unset would be unsafe.
        Err(_) => Err(Wrong::new(setting, "cannot be looked up")),
    }
}

/// The guard that the variables of the component describe. Their names begin with `prefix`.
pub async fn configured(prefix: &str) -> Result<Guard, Wrong> {
    let mut values: Vec<(&str, String)> = Vec::new();
    for name in settings::NAMES {
        let Some(value) = variable(prefix, name).await? else { continue };
        // Longer rules are a file that the manifest gives to the component.
        let value = match value.strip_prefix('@').filter(|_| name == "rules") {
            Some(path) => {
                std::fs::read_to_string(path).map_err(|_| Wrong::new("rules", "names a file that cannot be read"))?
            }
            None => value,
        };
        values.push((name, value));
    }
    let find = |name: &str| values.iter().find(|(known, _)| *known == name).map(|(_, value)| value.clone());
    Ok(Guard::new(Settings::read(find)?))
}

/// The refusal of every request, while something is wrong with the settings. The log says what, by the name that the operator gave it.
pub fn not_configured(prefix: &str, wrong: &Wrong) -> Result<Response, ErrorCode> {
    let Wrong { name, why } = wrong;
    eprintln!("the setting {prefix}{name} {why}: every request is refused");
    own(Refusal::not_verified("This service is not configured."))
}

/// The time, by both clocks.
fn now() -> Now {
    static SINCE: OnceLock<Instant> = OnceLock::new();
    let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the clocks")]
    let (since, unix) =
        (SINCE.get_or_init(Instant::now).elapsed(), SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default());
    Now { steady: millis(since), unix: i64::try_from(unix.as_millis()).unwrap_or(i64::MAX) }
}

/// Answers a request: by `onward`, which gets it without scheme and authority, if it is let in.
pub async fn pass(
    request: Request,
    guard: &'static Guard,
    behind: Behind,
    onward: impl AsyncFnOnce(Request) -> Result<Response, ErrorCode>,
) -> Result<Response, ErrorCode> {
    let path = request.get_path_with_query().unwrap_or_else(|| "/".to_owned());
    let method = request.get_method();
    let name = method_name(&method);
    if let Some(metadata) = guard.metadata(name, &path) {
        return own(metadata);
    }
    follow(guard);
    let settings = guard.settings();
    let headers = request.get_headers().copy_all();
    let (_outcome, outcome) = wit_future::new(|| Ok(()));
    let (body, trailers) = Request::consume_body(request, outcome);
    let mut body = Body::Passed(body);
    let mut message = Message::Other;
    if settings.rules.name_tools_of(name, &path) {
        let Body::Passed(stream) = body else { return Err(broken("no body")) };
        let Some(bytes) = read(stream, rules::MOST_BODY).await else {
            return own(Refusal::too_large(settings, rules::MOST_BODY));
        };
        let named = headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case("mcp-name"));
        let named: Vec<&[u8]> = named.map(|(_, value)| value.as_slice()).collect();
        message = match rules::message(&bytes, &named) {
            Ok(message) => message,
            Err(why) => return own(Refusal::ambiguous(settings, why)),
        };
        body = Body::Read(bytes);
    }
    let client = client(&headers);
    let asked = Asked { method: name, path: &path, headers: &headers, client: client.as_deref(), message: &message };
    let mut check = match guard.check(&asked, now()) {
        Ok(check) => check,
        Err(refusal) => return own(refusal),
    };
    while guard.is_beginning(now()) {
        sleep(MOMENT).await;
    }
    let mut step = guard.step(&mut check, now());
    let told = loop {
        match step {
            Step::Pass(told) => break told,
            Step::Refuse(refusal, why) => {
                if let Some(why) = why {
                    eprintln!("{why}");
                }
                return own(refusal);
            }
            Step::Ask(question) => step = guard.heard(&mut check, ask(question).await, now()),
        }
    };
    let hosts = if behind == Behind::Call { header::of_the_host(&headers) } else { Vec::new() };
    let mut headers = header::passed(settings, headers, client.as_deref(), &told);
    headers.extend(hosts);
    let is_ours = matches!(body, Body::Read(_));
    let passed = passed((&method, &path), headers, body, trailers)?;
    // Of a body that is passed on nothing is spawned.
    let answer = if is_ours { with_spawned(onward(passed)).await? } else { onward(passed).await? };
    hide_secret(settings, answer)
}

/// Follows the epochs beside the requests, unless this instance does so already.
fn follow(guard: &'static Guard) {
    if !guard.begins_to_follow(now()) {
        return;
    }
    spawn(async move {
        while let Some(question) = guard.follow(now()) {
            let sent = now();
            let answer = ask(question.clone()).await;
            let (pause, line) = guard.followed((&question, sent), answer, now());
            if let Some(line) = line {
                eprintln!("{line}");
            }
            if pause > 0 {
                sleep(Duration::from_millis(pause)).await;
            }
        }
    });
}

fn method_name(method: &Method) -> &str {
    match method {
        Method::Get => "GET",
        Method::Head => "HEAD",
        Method::Post => "POST",
        Method::Put => "PUT",
        Method::Delete => "DELETE",
        Method::Connect => "CONNECT",
        Method::Options => "OPTIONS",
        Method::Trace => "TRACE",
        Method::Patch => "PATCH",
        Method::Other(name) => name,
    }
}

/// The client's address, which the host appends behind what the client has sent.
fn client(headers: &[Header]) -> Option<String> {
    let (_, value) = headers.iter().rev().find(|(name, _)| name.eq_ignore_ascii_case("spin-client-addr"))?;
    let peer = std::str::from_utf8(value).ok()?;
    Some(peer.parse::<std::net::SocketAddr>().map_or_else(|_| peer.to_owned(), |at| at.ip().to_string()))
}

/// A request's body.
enum Body {
    /// As it comes.
    Passed(StreamReader<u8>),
    /// It was looked at.
    Read(Vec<u8>),
}

type Trailers = FutureReader<Result<Option<Fields>, ErrorCode>>;

/// A whole body, if it is no longer than so many bytes.
async fn read(mut body: StreamReader<u8>, most: usize) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    loop {
        let (status, piece) = body.read(Vec::with_capacity(PIECE)).await;
        bytes.extend(piece);
        if bytes.len() > most {
            return None;
        }
        if !matches!(status, StreamResult::Complete(_)) {
            return Some(bytes);
        }
    }
}

/// A body of these bytes. Who waits for somebody that reads it, does so by [`with_spawned`].
fn written(bytes: Vec<u8>) -> (StreamReader<u8>, Trailers) {
    let (mut writer, contents) = wit_stream::new();
    let (trailers, end) = wit_future::new(|| Ok(None));
    spawn(async move {
        drop(writer.write_all(bytes).await);
        drop(writer);
        drop(trailers); // which says that there are none
    });
    (contents, end)
}

/// The same; no body if there are no bytes.
fn written_if_any(bytes: Vec<u8>) -> (Option<StreamReader<u8>>, Trailers) {
    if bytes.is_empty() {
        let (trailers, end) = wit_future::new(|| Ok(None));
        drop(trailers); // which says that there are none
        return (None, end);
    }
    let (contents, end) = written(bytes);
    (Some(contents), end)
}

/// Asks Accredit. `Err` says why there is no answer.
async fn ask(question: Question) -> Result<Answer, String> {
    let patience = PATIENCE + Duration::from_secs(question.held);
    let sent = std::pin::pin!(send(question));
    let late = std::pin::pin!(sleep(patience));
    match futures_util::future::select(sent, late).await {
        futures_util::future::Either::Left((answer, _)) => answer,
        futures_util::future::Either::Right(_) => Err(format!("not within {} s", patience.as_secs())),
    }
}

async fn send(question: Question) -> Result<Answer, String> {
    let headers = fields(question.headers).map_err(|error| error.to_string())?;
    let method = if question.method == "POST" { Method::Post } else { Method::Get };
    let (contents, end) = written_if_any(question.body);
    let (request, _) = Request::new(headers, contents, end, None);
    let scheme = if question.is_secure { Scheme::Https } else { Scheme::Http };
    let is_set = request.set_method(&method).is_ok()
        && request.set_scheme(Some(&scheme)).is_ok()
        && request.set_authority(Some(&question.authority)).is_ok()
        && request.set_path_with_query(Some(&question.path)).is_ok();
    if !is_set {
        return Err("its address cannot be used".to_owned());
    }
    let answer = with_spawned(wasi_client::send(request)).await.map_err(|error| error.to_string())?;
    let (status, headers) = (answer.get_status_code(), answer.get_headers().copy_all());
    let (_outcome, outcome) = wit_future::new(|| Ok(()));
    let (body, _trailers) = Response::consume_body(answer, outcome);
    let body = read(body, question::MOST_BODY).await.ok_or("its answer is too long")?;
    Ok(Answer { status, headers, body })
}

/// The request that goes on, with these headers and its own body.
fn passed(
    (method, path): (&Method, &str),
    headers: Vec<Header>,
    body: Body,
    trailers: Trailers,
) -> Result<Request, ErrorCode> {
    let (contents, end) = match body {
        Body::Passed(body) => (body, trailers),
        Body::Read(bytes) => {
            drop(trailers);
            written(bytes)
        }
    };
    let (onward, _) = Request::new(fields(headers)?, Some(contents), end, None);
    let is_set = onward.set_method(method).is_ok() && onward.set_path_with_query(Some(path)).is_ok();
    if is_set { Ok(onward) } else { Err(broken("a request that cannot be passed on")) }
}

/// The application's answer without the headers that repeat the secret.
fn hide_secret(settings: &Settings, answer: Response) -> Result<Response, ErrorCode> {
    if settings.added.is_none() {
        return Ok(answer);
    }
    let (status, mut headers) = (answer.get_status_code(), answer.get_headers().copy_all());
    let before = headers.len();
    headers.retain(|(_, value)| header::is_answered(settings, value));
    if headers.len() == before {
        return Ok(answer);
    }
    // An answer of our own may not have them.
    headers.retain(|(name, _)| !header::is_of_the_connection(name));
    let (_outcome, outcome) = wit_future::new(|| Ok(()));
    let (body, trailers) = Response::consume_body(answer, outcome);
    let (hidden, _) = Response::new(fields(headers)?, Some(body), trailers);
    hidden.set_status_code(status).map_err(|()| broken("no status"))?;
    Ok(hidden)
}

fn fields(headers: Vec<Header>) -> Result<Fields, ErrorCode> {
    Fields::from_list(&headers).map_err(broken)
}

/// An answer of the guard's own, or a refusal of Accredit.
fn own(refusal: Refusal) -> Result<Response, ErrorCode> {
    let mut headers = refusal.headers;
    // RFC 9110, section 8.6
    if refusal.status != 204 {
        headers.push(("content-length".to_owned(), refusal.body.len().to_string().into_bytes()));
    }
    let (contents, end) = written_if_any(refusal.body);
    let (response, _) = Response::new(fields(headers)?, contents, end);
    response.set_status_code(refusal.status).map_err(|()| broken("no status"))?;
    Ok(response)
}

/// The failure of a request, for the host's log.
pub fn broken(error: impl std::fmt::Display) -> ErrorCode {
    ErrorCode::InternalError(Some(error.to_string()))
}
