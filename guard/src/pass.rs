//! The host's side: a request comes in, Accredit is asked, and the request goes on to the application, or a refusal goes back.

use std::time::Duration;

use spin_sdk::{
    time::sleep,
    wasip3::{
        exports::http::handler::Guest,
        http::{
            client as wasi_client,
            types::{ErrorCode, Fields, Method, Request, Response, Scheme},
        },
        spawn, wit_future, wit_stream,
    },
};

use crate::decide::{self, Header, Settings};

/// The longest that a verification takes.
const PATIENCE: Duration = Duration::from_secs(5);

struct Component;

spin_sdk::wasip3::http::service::export!(Component);

impl Guest for Component {
    async fn handle(request: Request) -> Result<Response, ErrorCode> {
        let mut values = Vec::new();
        for name in ["accredit", "app", "resource", "scope", "tenant"] {
            #[expect(clippy::disallowed_methods, reason = "the one place that reads settings")]
            if let Ok(value) = spin_sdk::variables::get(name).await {
                values.push((name, value));
            }
        }
        let read =
            Settings::read(|name| values.iter().find(|(known, _)| *known == name).map(|(_, value)| value.clone()));
        let settings = match read {
            Ok(settings) => settings,
            Err(decide::Wrong(name)) => {
                eprintln!("the variable {name} is missing or cannot be used: every request is refused");
                return own(503, "application/json", decide::own_refusal("This service is not configured."));
            }
        };
        pass(request, &settings).await
    }
}

async fn pass(request: Request, settings: &Settings) -> Result<Response, ErrorCode> {
    let path = request.get_path_with_query().unwrap_or_else(|| "/".to_owned());
    if matches!(request.get_method(), Method::Get | Method::Head)
        && let Some(metadata) = settings.metadata(&path)
    {
        return own(200, "application/json", metadata);
    }
    let headers = request.get_headers().copy_all();
    let client = client(&headers);
    let answer = match ask(settings, &headers, client.as_deref()).await {
        Ok(answer) => answer,
        Err(why) => {
            eprintln!("Accredit does not answer: {why}");
            return own(503, "application/json", decide::own_refusal("This request could not be verified."));
        }
    };
    let told = answer.get_headers().copy_all();
    match answer.get_status_code() {
        200 => forward(request, &path, settings, decide::passed(headers, client.as_deref(), told)).await,
        // It says why, and how to fix it.
        401 | 403 => {
            let status = answer.get_status_code();
            let (_outcome, outcome) = wit_future::new(|| Ok(()));
            let (body, trailers) = Response::consume_body(answer, outcome);
            let (refusal, _) = Response::new(fields(decide::refused(told))?, Some(body), trailers);
            refusal.set_status_code(status).map_err(|()| broken("no status"))?;
            Ok(refusal)
        }
        status => {
            eprintln!("Accredit answered {status} to a verification");
            own(503, "application/json", decide::own_refusal("This request could not be verified."))
        }
    }
}

/// The client's address, which the host appends behind what the client has sent.
fn client(headers: &[Header]) -> Option<String> {
    let (_, value) = headers.iter().rev().find(|(name, _)| name.eq_ignore_ascii_case("spin-client-addr"))?;
    let peer = std::str::from_utf8(value).ok()?;
    Some(peer.parse::<std::net::SocketAddr>().map_or_else(|_| peer.to_owned(), |at| at.ip().to_string()))
}

/// Asks Accredit about the sender of these headers.
async fn ask(settings: &Settings, headers: &[Header], client: Option<&str>) -> Result<Response, String> {
    let asked = fields(decide::asked(headers, client)).map_err(|error| error.to_string())?;
    let (trailers, end) = wit_future::new(|| Ok(None));
    drop(trailers); // which says that there are none
    let (question, _) = Request::new(asked, None, end, None);
    let (is_secure, authority) = settings.authority();
    let scheme = if is_secure { Scheme::Https } else { Scheme::Http };
    let is_set = question.set_method(&Method::Get).is_ok()
        && question.set_scheme(Some(&scheme)).is_ok()
        && question.set_authority(Some(&authority)).is_ok()
        && question.set_path_with_query(Some(&settings.question())).is_ok();
    if !is_set {
        return Err("its address cannot be used".to_owned());
    }
    let sent = std::pin::pin!(wasi_client::send(question));
    let late = std::pin::pin!(sleep(PATIENCE));
    match futures_util::future::select(sent, late).await {
        futures_util::future::Either::Left((answer, _)) => answer.map_err(|error| error.to_string()),
        futures_util::future::Either::Right(_) => Err(format!("not within {} s", PATIENCE.as_secs())),
    }
}

/// Passes a request on to the application, with these headers and its own body.
async fn forward(
    request: Request,
    path: &str,
    settings: &Settings,
    headers: Vec<Header>,
) -> Result<Response, ErrorCode> {
    let method = request.get_method();
    let (_outcome, outcome) = wit_future::new(|| Ok(()));
    let (body, trailers) = Request::consume_body(request, outcome);
    let (onward, _) = Request::new(fields(headers)?, Some(body), trailers, None);
    let app = format!("{}.spin.internal", settings.app);
    let is_set = onward.set_method(&method).is_ok()
        && onward.set_scheme(Some(&Scheme::Http)).is_ok()
        && onward.set_authority(Some(&app)).is_ok()
        && onward.set_path_with_query(Some(path)).is_ok();
    if is_set { wasi_client::send(onward).await } else { Err(broken("a request that cannot be passed on")) }
}

fn fields(headers: Vec<Header>) -> Result<Fields, ErrorCode> {
    Fields::from_list(&headers).map_err(broken)
}

/// An answer of the guard's own.
fn own(status: u16, media_type: &str, text: String) -> Result<Response, ErrorCode> {
    let headers = [
        ("content-type", media_type.as_bytes().to_vec()),
        ("content-length", text.len().to_string().into_bytes()),
        ("cache-control", b"no-store".to_vec()),
    ];
    let headers = headers.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    let (mut writer, contents) = wit_stream::new();
    let (trailers, end) = wit_future::new(|| Ok(None));
    spawn(async move {
        drop(writer.write_all(text.into_bytes()).await);
        drop(writer);
        drop(trailers); // which says that there are none
    });
    let (response, _) = Response::new(fields(headers)?, Some(contents), end);
    response.set_status_code(status).map_err(|()| broken("no status"))?;
    Ok(response)
}

fn broken(error: impl std::fmt::Display) -> ErrorCode {
    ErrorCode::InternalError(Some(error.to_string()))
}
