//! A component that only the tests run. What it does is the last segment of the path, so that every route pattern can
//! reach every act; `who` and every other word say who was reached, and with which request.
#![forbid(unsafe_code)]

use std::{
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use http::{Request, Response, StatusCode};
use serde_json::{Value as Json, json};
use spin_sdk::{
    http::{EmptyBody, IntoResponse, body::IncomingBodyExt, send},
    http_service,
    key_value::Store,
    sqlite::{Connection, Value},
    time::sleep,
    variables,
};

/// Requests that this instance has begun.
static BEGUN: AtomicU32 = AtomicU32::new(0);
/// Requests that it is answering now.
static RUNNING: AtomicU32 = AtomicU32::new(0);
/// The most that it was answering at once.
static MOST: AtomicU32 = AtomicU32::new(0);

#[http_service]
async fn trap(request: spin_sdk::http::Request) -> impl IntoResponse {
    let number = BEGUN.fetch_add(1, Ordering::Relaxed) + 1;
    let running = RUNNING.fetch_add(1, Ordering::Relaxed) + 1;
    MOST.fetch_max(running, Ordering::Relaxed);
    let answer = act(request, number).await;
    RUNNING.fetch_sub(1, Ordering::Relaxed);
    match answer {
        Ok(body) => respond(StatusCode::OK, &body),
        // The refusal of a grant is returned, not hidden: the tests read it.
        Err(refusal) => respond(StatusCode::BAD_GATEWAY, &json!({ "refused": refusal })),
    }
}

fn respond(status: StatusCode, body: &Json) -> Response<String> {
    let mut response = Response::new(body.to_string());
    *response.status_mut() = status;
    response.headers_mut().insert("content-type", http::HeaderValue::from_static("application/json"));
    response
}

async fn act(request: spin_sdk::http::Request, number: u32) -> Result<Json, String> {
    let uri = request.uri().clone();
    let parameter = |name: &str| {
        let mut pairs = form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes());
        pairs.find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
    };
    let given = |name: &str| parameter(name).ok_or_else(|| format!("the parameter {name} is missing"));
    match uri.path().rsplit('/').next().unwrap_or_default() {
        "trap" => trap_now(),
        "count" => Ok(json!({ "number": number, "most_at_once": MOST.load(Ordering::Relaxed) })),
        "slow" => {
            let millis = given("ms")?.parse().map_err(|_| "ms is no number")?;
            eprintln!("slow: begun");
            sleep(Duration::from_millis(millis)).await;
            Ok(json!({ "number": number, "most_at_once": MOST.load(Ordering::Relaxed) }))
        }
        "spin" => {
            eprintln!("spin: begun");
            while std::hint::black_box(true) {}
            Ok(Json::Null)
        }
        "body" => {
            let body = request.into_body().bytes().await.map_err(said)?;
            Ok(json!({ "bytes": body.len() }))
        }
        "log" => {
            eprintln!("{}", given("text")?);
            Ok(Json::Null)
        }
        "memory" => {
            let mib: usize = given("mib")?.parse().map_err(|_| "mib is no number")?;
            let block = vec![1_u8; mib * 1024 * 1024];
            Ok(json!({ "sum": block.iter().map(|byte| u64::from(*byte)).sum::<u64>() }))
        }
        "var" => Ok(json!(variables::get(given("name")?).await.map_err(said)?)),
        "env" => Ok(json!(std::env::vars().collect::<std::collections::BTreeMap<_, _>>())),
        "file" => Ok(json!(std::fs::read_to_string(given("path")?).map_err(said)?)),
        "write" => Ok(json!(std::fs::write(given("path")?, "written").map_err(said)?)),
        "sqlite" => {
            let statements = given("sql")?;
            sqlite(&parameter("label").unwrap_or_else(|| "default".to_owned()), &statements).await
        }
        "kv" => {
            key_value(&parameter("label").unwrap_or_else(|| "default".to_owned()), &given("key")?, parameter("value"))
                .await
        }
        "fetch" => fetch(&given("url")?).await,
        _ => Ok(reached(&request)),
    }
}

#[expect(clippy::panic, reason = "this is what the component is for")]
fn trap_now() -> ! {
    panic!("asked to")
}

fn said(error: impl std::fmt::Debug) -> String {
    format!("{error:?}")
}

/// The component that was reached (`NAME` of the environment), and the request that came.
fn reached<B>(request: &Request<B>) -> Json {
    let headers =
        request.headers().iter().map(|(name, value)| json!([name.as_str(), String::from_utf8_lossy(value.as_bytes())]));
    json!({
        "name": std::env::var("NAME").unwrap_or_default(),
        "method": request.method().as_str(),
        "uri": request.uri().to_string(),
        "headers": headers.collect::<Vec<_>>(),
    })
}

/// Runs statements, separated by `;;`, on one new connection; the rows of the last one.
async fn sqlite(label: &str, statements: &str) -> Result<Json, String> {
    let connection = Connection::open(label).await.map_err(said)?;
    let mut last = Json::Null;
    for statement in statements.split(";;") {
        let result = connection.execute(statement, []).await.map_err(said)?;
        let rows = result.collect().await.map_err(said)?;
        last = rows.into_iter().map(|row| row.values.into_iter().map(column).collect::<Json>()).collect();
    }
    Ok(last)
}

fn column(value: Value) -> Json {
    match value {
        Value::Null => Json::Null,
        Value::Integer(number) => json!(number),
        Value::Real(number) => json!(number),
        Value::Text(text) => json!(text),
        Value::Blob(bytes) => json!(bytes),
    }
}

/// Sets a value when one is given, then reads it.
async fn key_value(label: &str, key: &str, value: Option<String>) -> Result<Json, String> {
    let store = Store::open(label).await.map_err(said)?;
    if let Some(value) = value {
        store.set(key, value.as_bytes()).await.map_err(said)?;
    }
    let found = store.get(key).await.map_err(said)?;
    Ok(json!(found.map(|bytes| String::from_utf8_lossy(&bytes).into_owned())))
}

async fn fetch(url: &str) -> Result<Json, String> {
    let request = Request::get(url).body(EmptyBody::new()).map_err(said)?;
    let response = send(request).await.map_err(said)?;
    let status = response.status().as_u16();
    let body = response.into_body().bytes().await.map_err(said)?;
    Ok(json!({ "status": status, "body": String::from_utf8_lossy(&body) }))
}
