//! A component's entry: from the host's request to the router's, and from the router's response to the host's.
//!
//! The SDK has such a bridge too. This one asks the host for less: nothing of a GET's body, no header that nobody reads, no scheme. Each
//! question costs as much as the router's whole work for a request.

use std::{cell::OnceCell, fmt::Display, rc::Rc, sync::Arc};

use common::{
    error::{ApiError, Code},
    id::{RequestId, RequestIds},
    route,
    secret::Chance,
};
use http::{HeaderValue, Method, StatusCode};
use spin_sdk::{
    variables::Error::Undefined,
    wasip3::{http::types, spawn, wit_future, wit_stream},
};
use store::db::Db;

use crate::{
    app::{Env, Head},
    body::{Incoming, RequestBody},
    clock::Clock,
    headers::{Authority, Given, Headers},
    http::{REQUEST_ID, serve},
    response::{self, Response},
    router::Router,
    settings::{self, Settings},
};

/// The system's allocator took a sixth of a request's time in the component.
#[global_allocator]
static ALLOCATOR: talc::wasm::WasmDynamicTalc = talc::wasm::new_wasm_dynamic_allocator();

/// The state that an instance keeps between requests: its environment and its router, each made once.
struct Instance {
    env: Arc<Env>,
    router: Router,
}

thread_local! {
    // A guest has one thread.
    static INSTANCE: OnceCell<Rc<Instance>> = const { OnceCell::new() };
}

/// Answers a request that the host handed over.
pub async fn answer(request: types::Request, router: fn() -> Router) -> Result<types::Response, types::ErrorCode> {
    let instance = match INSTANCE.with(|instance| instance.get().cloned()) {
        Some(instance) => instance,
        None => match settings().await {
            Ok(settings) => {
                let made = || Rc::new(Instance { env: Arc::new(env(settings)), router: router() });
                INSTANCE.with(|instance| Rc::clone(instance.get_or_init(made)))
            }
            Err(why) => return give(unusable(&request, &why)),
        },
    };
    let Some((head, body)) = take(request) else { return give(unreadable()) };
    let incoming = match &body {
        RequestBody::Host(incoming) => Some(incoming.clone()),
        RequestBody::Full(_) => None,
    };
    let response = serve(&instance.env, &instance.router, head, body).await;
    if let Some(incoming) = incoming {
        incoming.drop_unread();
    }
    give(response)
}

/// Reads the settings. The error says for the log which variable cannot be used, and why.
async fn settings() -> Result<Settings, String> {
    let mut values = Vec::new();
    for name in settings::NAMES {
        #[expect(clippy::disallowed_methods, reason = "the one place that reads settings")]
        match spin_sdk::variables::get(name).await {
            Ok(value) => values.push((*name, value)),
            // The component was not given it.
            Err(Undefined(_)) => {}
            // As if it were unset would be unsafe. The error is not for the log: it can hold a line of `.env`.
            Err(_) => {
                return Err(format!("the variable {name} cannot be looked up, since .env or another provider fails"));
            }
        }
    }
    Settings::read(|name| values.iter().find(|(known, _)| *known == name).map(|(_, value)| value.clone())).map_err(
        |name| format!("the variable {name} has a value that is not valid: it takes {}", settings::takes(name)),
    )
}

fn env(settings: Settings) -> Env {
    Env {
        // It lives as long as the instance. Nothing closes it: a component that never asks the database would import it otherwise.
        db: Box::leak(Box::new(Db::spin(settings.database_max_mib))),
        clock: Clock::System,
        requests: RequestIds::new(&Chance::System),
        chance: Chance::System,
        settings,
    }
}

/// What is answered while a setting is not valid. The process is alive all the same: whoever starts it anew for that gains nothing.
fn unusable(request: &types::Request, why: &str) -> Response {
    let path = request.get_path_with_query();
    if path.is_some_and(|path| path == route::HEALTHZ.path)
        && let Ok(alive) = response::json(StatusCode::OK, &serde_json::json!({ "status": "ok" }))
    {
        return alive;
    }
    eprintln!("{why}. Each component that takes it serves nothing until it is fixed");
    refuse(ApiError::from(Code::Internal).detail("A setting of this server is not valid. The server's log names it."))
}

/// A method or a path that is not valid; no host of ours lets one through.
fn unreadable() -> Response {
    refuse(Code::NotFound.into())
}

/// Refuses a request before there is anything that could serve it.
fn refuse(refusal: ApiError) -> Response {
    let id = RequestId::generate(Clock::System.now(), &Chance::System);
    let mut response = response::refusal(&refusal, &id, "", None, false);
    if let Ok(id) = HeaderValue::from_str(id.as_str()) {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    response
}

/// Takes a request apart. `None`: the request cannot be routed.
fn take(request: types::Request) -> Option<(Head, RequestBody)> {
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
        types::Method::Other(name) => Method::from_bytes(name.as_bytes()).ok()?,
    };
    let uri = request.get_path_with_query().unwrap_or_default().try_into().ok()?;
    let fields = request.get_headers();
    let (authority, body) = match method {
        // No route reads the body of a GET.
        Method::GET | Method::HEAD => (Authority::Of(request), RequestBody::from("")),
        _ => {
            let authority = Authority::Known(request.get_authority());
            (authority, RequestBody::Host(Incoming::new(request)))
        }
    };
    Some((Head { method, uri, headers: Headers::new(Given::new(fields, authority)) }, body))
}

fn give(response: Response) -> Result<types::Response, types::ErrorCode> {
    let (parts, mut body) = response.into_parts();
    let headers: Vec<(String, Vec<u8>)> =
        parts.headers.iter().map(|(name, value)| (name.as_str().to_owned(), value.as_bytes().to_vec())).collect();
    let headers = types::Fields::from_list(&headers).map_err(broken)?;
    let given = if body.length() == Some(0) {
        let (trailers, end) = wit_future::new(|| Ok(None));
        drop(trailers); // which says that there are none
        types::Response::new(headers, None, end).0
    } else {
        let (mut writer, contents) = wit_stream::new();
        let (trailers, end) = wit_future::new(|| Ok(None));
        spawn(async move {
            while let Some(piece) = body.next().await {
                let Ok(piece) = piece else {
                    // The host breaks the connection, which shows the client that something is missing.
                    drop(writer);
                    drop(trailers.write(Err(broken("the body broke off"))).await);
                    return;
                };
                if !writer.write_all(piece.into()).await.is_empty() {
                    return; // the client is gone; this needs no report
                }
            }
            drop(writer);
            drop(trailers); // which says that there are none
        });
        types::Response::new(headers, Some(contents), end).0
    };
    if parts.status != StatusCode::OK {
        given.set_status_code(parts.status.as_u16()).map_err(|()| broken("no status"))?;
    }
    Ok(given)
}

/// An error of the host's for a message that cannot be HTTP; the host answers with an empty 500.
fn broken(error: impl Display) -> types::ErrorCode {
    types::ErrorCode::InternalError(Some(error.to_string()))
}
