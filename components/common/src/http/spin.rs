//! A component's entry: from the host's request to the router's, and from the router's response to the host's.
//!
//! The SDK has such a bridge too. This one asks the host for less: nothing of a GET's body, no header that nobody reads, no scheme. Each
//! question costs as much as the router's whole work for a request.

use std::{
    fmt::Display,
    sync::{Arc, OnceLock},
};

use axum::{
    body::{Body, HttpBody},
    http::{HeaderValue, Method, StatusCode},
    response::Response,
};
use http_body_util::BodyExt;
use spin_sdk::wasip3::{
    http::types,
    http_compat::{BodyWriter, IncomingRequestBody},
    spawn, wit_future,
};

use super::{Env, Head, Headers, serve};
use crate::{
    db::Db,
    error::{ApiError, Code},
    id::{RequestId, RequestNumbers},
    router::Router,
    secret::Chance,
    settings,
    time::Clock,
};

/// The system's allocator took a sixth of a request's time in the component.
#[global_allocator]
static ALLOCATOR: talc::wasm::WasmDynamicTalc = talc::wasm::new_wasm_dynamic_allocator();

/// What an instance keeps between requests: its environment and its router, each made once.
static INSTANCE: OnceLock<(Arc<Env>, Router)> = OnceLock::new();

/// Answers a request that the host handed over.
pub async fn answer(request: types::Request, router: fn() -> Router) -> Result<types::Response, types::ErrorCode> {
    let (env, router) = match INSTANCE.get() {
        Some(made) => made,
        None => {
            let mut values = Vec::new();
            for name in settings::NAMES {
                #[expect(clippy::disallowed_methods, reason = "the one place that reads settings")]
                if let Ok(value) = spin_sdk::variables::get(name).await {
                    values.push((*name, value));
                }
            }
            match settings::Settings::read(|name| {
                values.iter().find(|(known, _)| *known == name).map(|(_, value)| value.clone())
            }) {
                Ok(settings) => INSTANCE.get_or_init(|| (Arc::new(env(settings)), router())),
                Err(name) => return give(unusable(name)),
            }
        }
    };
    let (head, body) = take(request)?;
    give(serve(env, router, head, body).await)
}

fn env(settings: settings::Settings) -> Env {
    Env {
        db: super::Lasting::new(Db::spin(settings.database_max_mib)),
        clock: Clock::System,
        requests: RequestNumbers::new(&Chance::System),
        chance: Chance::System,
        settings,
    }
}

fn unusable(name: &str) -> Response {
    eprintln!("the variable {name} has a value that cannot be used; nothing is served until it is mended");
    let id = RequestId::generate(Clock::System.now(), &Chance::System);
    let mut response = ApiError::from(Code::Internal)
        .detail("A setting of this server cannot be used; its log names it.")
        .envelope(id.as_str(), "", None)
        .into_answer();
    if let Ok(id) = HeaderValue::from_str(id.as_str()) {
        response.headers_mut().insert("x-request-id", id);
    }
    response
}

/// What the host holds of a request's head.
pub(crate) struct Given {
    fields: types::Fields,
    authority: Authority,
}

/// wasi:http takes the `Host` header out and gives the authority apart; [`Given::all`] puts it back, where handlers look for it.
enum Authority {
    /// To be asked for, as hardly ever somebody does. The request, with a body that nobody reads, is kept as long as the headers are.
    Of(types::Request),
    /// Asked for before the body was taken, which is the end of the request.
    Known(Option<String>),
}

impl Given {
    /// All values of a name.
    pub(super) fn all(&self, name: &str) -> Vec<HeaderValue> {
        let mut values = self.fields.get(name);
        if name == "host" && values.is_empty() {
            let authority = match &self.authority {
                Authority::Of(request) => request.get_authority(),
                Authority::Known(authority) => authority.clone(),
            };
            values.extend(authority.map(String::into_bytes));
        }
        // What the host has is valid. Were it not, it would still count as a header: one that nobody can read.
        let value = |bytes: Vec<u8>| HeaderValue::from_maybe_shared(bytes::Bytes::from(bytes));
        values.into_iter().map(|bytes| value(bytes).unwrap_or(HeaderValue::from_static(""))).collect()
    }
}

fn take(request: types::Request) -> Result<(Head, Body), types::ErrorCode> {
    let method = match request.get_method() {
        types::Method::Get => Method::GET,
        types::Method::Post => Method::POST,
        types::Method::Put => Method::PUT,
        types::Method::Patch => Method::PATCH,
        types::Method::Delete => Method::DELETE,
        types::Method::Head => Method::HEAD,
        types::Method::Options => Method::OPTIONS,
        types::Method::Connect => Method::CONNECT,
        types::Method::Trace => Method::TRACE,
        types::Method::Other(name) => Method::from_bytes(name.as_bytes()).map_err(broken)?,
    };
    let uri = request.get_path_with_query().unwrap_or_default().try_into().map_err(broken)?;
    let fields = request.get_headers();
    let (authority, body) = match method {
        // No route reads what a GET brings along.
        Method::GET | Method::HEAD => (Authority::Of(request), Body::empty()),
        _ => {
            let authority = Authority::Known(request.get_authority());
            let body = Body::new(IncomingRequestBody::new(request)?.map_err(|_| axum::Error::new(BrokenOff)));
            (authority, body)
        }
    };
    Ok((Head { method, uri, headers: Headers::new(Given { fields, authority }) }, body))
}

fn give(response: Response) -> Result<types::Response, types::ErrorCode> {
    let (parts, mut body) = response.into_parts();
    let headers: Vec<(String, Vec<u8>)> =
        parts.headers.iter().map(|(name, value)| (name.as_str().to_owned(), value.as_bytes().to_vec())).collect();
    let headers = types::Fields::from_list(&headers).map_err(broken)?;
    let given = if body.is_end_stream() {
        let (trailers, end) = wit_future::new(|| Ok(None));
        drop(trailers); // which says that there are none
        types::Response::new(headers, None, end).0
    } else {
        let (writer, contents, end) = BodyWriter::new();
        spawn(async move {
            // Fails only when the client is gone, which nobody needs to hear of.
            drop(writer.send_http_body(&mut body).await);
        });
        types::Response::new(headers, Some(contents), end).0
    };
    if parts.status != StatusCode::OK {
        given.set_status_code(parts.status.as_u16()).map_err(|()| broken("no status"))?;
    }
    Ok(given)
}

/// The host's own words for what cannot be a message of HTTP; it answers with an empty 500.
fn broken(error: impl Display) -> types::ErrorCode {
    types::ErrorCode::InternalError(Some(error.to_string()))
}

/// The host ended a body early. Its own words for why are not kept: nobody reads them, and they are 5 KB in each component.
#[derive(Debug)]
struct BrokenOff;

impl Display for BrokenOff {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the body broke off")
    }
}

impl std::error::Error for BrokenOff {}
