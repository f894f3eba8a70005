//! `health`: whether a server is well, for what starts and watches it and has neither a shell nor curl.
//!
//! `/readyz` is answered by one component, which knows the database and its own settings. A component that refuses its settings answers each
//! request by a 500, so one request goes to each: a `GET` without a credential, which changes nothing.

use std::io::Write as _;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use bytes::Bytes;
use clap::Args;
use http::header::{ACCEPT, HOST};
use http::uri::Authority;
use http::{Request, Uri};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use serde_json::Value as Json;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout_at};

/// The longest answer that is read: the index of the routes.
const MOST: usize = 4 << 20;
/// Between two attempts.
const PAUSE: Duration = Duration::from_secs(1);
/// A page of the component that the index of the API does not name.
const PAGE: (&str, &str) = ("web", "/login");

/// Says whether a server is well: its database answers, and so does each component. The exit status is 0, or else 1.
#[derive(Debug, Args)]
pub(crate) struct Health {
    /// The server. By default the address that `--listen` has by default.
    #[arg(long)]
    url: Option<String>,
    /// Where the host listens, if there is no `--url`.
    #[arg(long, env = "SPIN_HTTP_LISTEN_ADDR", default_value = "127.0.0.1:3000", hide = true)]
    listen: String,
    /// How long the answers may take together.
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    timeout: u64,
    /// Try again for so long, until the server is well.
    #[arg(long, value_name = "SECONDS", default_value_t = 0)]
    wait: u64,
}

impl Health {
    pub(crate) fn run(&self) -> Result<()> {
        let place = self.place()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let said = runtime.block_on(self.until_well(&place))?;
        writeln!(std::io::stdout(), "{said}").context("cannot write to the standard output")
    }

    async fn until_well(&self, place: &Authority) -> Result<String> {
        let end = Instant::now() + Duration::from_secs(self.wait);
        loop {
            let deadline = Instant::now() + Duration::from_secs(self.timeout);
            let late = || format!("it has not answered within {} s", self.timeout);
            let said = timeout_at(deadline, ask(place)).await.with_context(late).flatten();
            match said {
                Err(_) if Instant::now() + PAUSE < end => sleep(PAUSE).await,
                said => return said.with_context(|| format!("http://{place} is not ready")),
            }
        }
    }

    /// Host and port. An address to listen on that means every address means this machine.
    fn place(&self) -> Result<Authority> {
        let url = self.url.clone().unwrap_or_else(|| {
            let any = [("0.0.0.0:", "127.0.0.1:"), ("[::]:", "[::1]:")];
            let known = any.iter().find_map(|(any, own)| Some(format!("{own}{}", self.listen.strip_prefix(any)?)));
            format!("http://{}", known.unwrap_or_else(|| self.listen.clone()))
        });
        let uri: Uri = url.parse().with_context(|| format!("{url:?} is no URL"))?;
        let is_plain = uri.scheme_str() == Some("http") && matches!(uri.path(), "" | "/") && uri.query().is_none();
        ensure!(is_plain, "{url:?} is not what the host serves: give http://, the host and its port, without a path");
        let place = uri.authority().cloned().with_context(|| format!("{url:?} names no host"))?;
        // One that cannot be read would count as none.
        let behind = place.as_str().rsplit(']').next().unwrap_or_default();
        ensure!(place.port_u16().is_some() || !behind.contains(':'), "{url:?} has no port from 1 to 65535");
        Ok(place)
    }
}

/// Asks for everything. The error says what is not well.
async fn ask(place: &Authority) -> Result<String> {
    let host = place.host().trim_matches(['[', ']']);
    let stream = TcpStream::connect((host, place.port_u16().unwrap_or(80))).await.context("nobody answers")?;
    let (mut client, connection) = http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let (status, ready) = get(&mut client, place, "/readyz").await?;
    ensure!(status == 200, "/readyz answers {status}{}", detail(&ready));
    ensure!(ready.get("status").is_some_and(|status| status == "ready"), "what answers is no Accredit");
    let (status, index) = get(&mut client, place, "/api").await?;
    ensure!(status == 200, "/api answers {status}{}", detail(&index));
    let mut ill = Vec::new();
    let all = components(&index);
    for (component, path) in &all {
        let (status, answer) = get(&mut client, place, path).await?;
        if status >= 500 {
            ill.push(format!("{component} answers {status}{}", detail(&answer)));
        }
    }
    if !ill.is_empty() {
        bail!("{}", ill.join("; "));
    }
    let is_empty = ready.get("bootstrapped") == Some(&Json::Bool(false));
    Ok(format!("ready: {} components{}", all.len(), if is_empty { ", without an admin yet" } else { "" }))
}

/// A path of each component: the first that can be read.
fn components(index: &Json) -> Vec<(String, String)> {
    let list = |json: &Json, name: &str| json.get(name).and_then(Json::as_array).cloned().unwrap_or_default();
    let text = |json: &Json, name: &str| json.get(name).and_then(Json::as_str).unwrap_or_default().to_owned();
    let filled = |path: &str| {
        let segments = path.split('/').map(|segment| if segment.starts_with('{') { "-" } else { segment });
        segments.collect::<Vec<_>>().join("/")
    };
    let of_group = |group: Json| {
        let route = list(&group, "routes").into_iter().find(|route| text(route, "method") == "GET")?;
        Some((text(&group, "group"), filled(&text(&route, "path"))))
    };
    let pages = std::iter::once((PAGE.0.to_owned(), PAGE.1.to_owned()));
    list(index, "groups").into_iter().filter_map(of_group).chain(pages).collect()
}

async fn get(client: &mut SendRequest<Empty<Bytes>>, place: &Authority, path: &str) -> Result<(u16, Json)> {
    let request = Request::get(path).header(HOST, place.as_str()).header(ACCEPT, "application/json");
    client.ready().await.with_context(|| format!("the connection ended before {path}"))?;
    let response = client.send_request(request.body(Empty::new())?).await.with_context(|| format!("{path} failed"))?;
    let status = response.status().as_u16();
    let body = Limited::new(response.into_body(), MOST).collect().await;
    let body = body.map_err(|error| anyhow::anyhow!("{path} broke off: {error}"))?.to_bytes();
    Ok((status, serde_json::from_slice(&body).unwrap_or_default()))
}

/// What a refusal says, for the end of a sentence.
fn detail(answer: &Json) -> String {
    let detail = answer.get("detail").and_then(Json::as_str).unwrap_or_default();
    if detail.is_empty() { String::new() } else { format!(": {}", detail.trim_end_matches('.')) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(url: Option<&str>, listen: &str) -> Result<String> {
        let health = Health { url: url.map(str::to_owned), listen: listen.to_owned(), timeout: 1, wait: 0 };
        health.place().map(|place| place.to_string())
    }

    #[test]
    fn every_address_means_this_machine() {
        for (listen, asked) in [
            ("127.0.0.1:3000", "127.0.0.1:3000"),
            ("0.0.0.0:8080", "127.0.0.1:8080"),
            ("[::]:80", "[::1]:80"),
            ("[fd00::1]:80", "[fd00::1]:80"),
        ] {
            assert_eq!(place(None, listen).unwrap(), asked);
            assert_eq!(place(Some("http://accredit:3000/"), listen).unwrap(), "accredit:3000");
        }
        for wrong in ["accredit", "https://a", "http://a/b", "http://a?b", "http://"] {
            assert!(place(Some(wrong), "").is_err(), "{wrong}");
        }
    }
}
