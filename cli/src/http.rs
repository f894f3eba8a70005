//! Requests: one at a time, with a time-out, and never to where a redirect leads: the credential is for one server.

use std::{
    io::{BufRead, BufReader},
    sync::Once,
    time::Duration,
};

use common::{
    error::Code,
    json::escaped,
    route::{ROUTES, Route},
    secret::Secret,
};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value as Json;
use ureq::{
    Agent, ProxyProtocol,
    http::{Request, request::Builder},
    tls::{RootCerts, TlsConfig},
};

use crate::{
    config::Url,
    fail::{Exit, Failure},
    fix,
    key::{Key, random},
    proxy::{self, Through},
    show, trust,
};

/// What a segment of a path cannot hold as it is.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');
/// Said once of a trail that is shown in part.
static IN_PART: Once = Once::new();
const PART: &str = "these are the rows of the agents that you may read; an admin's sign-in with the scope audit.read_all gets all of the tenant.";
/// The longest export that is read, bytes: the audit trail of a large tenant.
const MOST_OF_EXPORT: u64 = 1 << 30;
/// The longest other answer that is read, bytes. It may be that of another server.
const MOST: u64 = 64 << 20;
/// The step of a refusal that carries an ask.
const ASK: &str = "Ask for exactly this by the command below, which a person can approve. Its answer says how to wait for the decision. \
                   Once it is approved, run your command again.";
/// The step of a refusal of a bound token without its key.
const NO_KEY: &str = "Use the profile that has the key, with --profile NAME. If it is on another machine, get this one a token of its own: \
                      the owner of the agent runs accredit agents enrol NAME, and you run accredit auth enroll --bind with its code.";
/// The step of a refusal of a proof that this program made.
const OTHER_PROOF: &str = "Check the clock of this machine, and name the server by the address by which it knows itself: a proof is for one \
                           address, and for a minute.";
/// The refusals with 503 that stay until the operator has acted. All others pass by themselves: the database or a host is busy, or stops.
const OPERATORS: &[Code] = &[
    Code::StorageFull,
    Code::MailDisabled,
    Code::PublicUrlMissing,
    Code::SigningDisabled,
    Code::SecretsDisabled,
    Code::AuditKeyMissing,
];
/// The media types of answers that are JSON.
const JSON: &[&str] = &["application/json", "application/jwk-set+json"];
/// The media types of all others. Any portal answers plain text: an id of the server stands beside it.
const TEXTS: &[&str] = &["application/x-ndjson", "application/jwt", "text/csv", "text/plain"];
/// The media type of a stream of events.
const EVENTS: &str = "text/event-stream";
/// How long a stream is read before it is opened anew.
const STREAM: Duration = Duration::from_secs(150);
/// Seconds that a server may take for an answer, unless the user says otherwise.
pub(crate) const PATIENCE: u64 = 40;

/// One server, with or without a credential.
pub(crate) struct Client {
    agent: Agent,
    through: Option<Through>,
    pub(crate) url: Url,
    token: Option<Secret>,
    /// What the token is bound to; without a token, what the next one shall be bound to.
    key: Option<Key>,
}

/// A request.
#[derive(Default)]
pub(crate) struct Call<'a> {
    /// What the names in the path stand for, in order.
    pub(crate) names: Vec<String>,
    pub(crate) query: Vec<(String, String)>,
    pub(crate) body: Option<Json>,
    /// A form instead.
    pub(crate) form: Option<Vec<(&'a str, String)>>,
    /// The entity tag of the answer that the caller has.
    pub(crate) known: Option<String>,
}

/// An answer that is none of the refusals.
pub(crate) struct Answer {
    pub(crate) text: String,
    /// Null, if there is none.
    pub(crate) json: Json,
    pub(crate) tag: Option<String>,
    /// The id of the closure of what it has ended.
    pub(crate) closure: Option<String>,
    /// The answer is the one that the caller has.
    pub(crate) is_known: bool,
}

impl Answer {
    /// Prints it as it came, with one line end.
    pub(crate) fn print(&self) {
        if !self.text.is_empty() {
            show::raw(&format!("{}\n", self.text.trim_end_matches('\n')));
        }
    }
}

/// The name that would lead to another route: `/api/agents/archived` is no agent's address. `me` is whoever asks, at each of them.
fn word_of_another<'n>(route: &Route, names: &'n [String]) -> Option<&'n str> {
    let is_place = |segment: &str| segment.starts_with('{');
    let places = route.path.split('/').filter(|segment| is_place(segment)).count();
    let others = ROUTES.iter().filter(|other| other.path.split('/').count() == route.path.split('/').count());
    others.filter(|other| other.path != route.path).find_map(|other| {
        let (mut names, mut word) = (names.iter().take(places), None);
        for (own, others) in route.path.split('/').zip(other.path.split('/')) {
            let name = if is_place(own) { names.next() } else { None };
            match name.filter(|_| !is_place(others)) {
                Some(name) if name == others => word = Some(name.as_str()).filter(|name| *name != "me").or(word),
                None if own == others || is_place(own) && is_place(others) => {}
                _ => return None,
            }
        }
        word
    })
}

impl Client {
    pub(crate) fn new(url: &Url, token: Option<Secret>, patience: u64) -> Result<Self, Failure> {
        let through = proxy::of(url, |name| std::env::var_os(name))?;
        // Nothing is read for a connection that has no certificate.
        let has_certificate = url.is_tls() || through.is_some();
        let roots = if has_certificate { trust::roots()? } else { RootCerts::WebPki };
        let tls = TlsConfig::builder().root_certs(roots).build();
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .timeout_connect(Some(Duration::from_secs(patience.min(10))))
            .timeout_recv_response(Some(Duration::from_secs(patience)))
            .timeout_recv_body(Some(Duration::from_secs(patience.max(600))))
            .user_agent(concat!("accredit/", env!("CARGO_PKG_VERSION")))
            .tls_config(tls)
            .proxy(through.as_ref().map(|through| through.proxy.clone()))
            .build();
        Ok(Self { agent: config.into(), through, url: url.clone(), token, key: None })
    }

    /// The same server with another credential.
    pub(crate) fn with(&self, token: Secret) -> Self {
        let (agent, through) = (self.agent.clone(), self.through.clone());
        Self { agent, through, url: self.url.clone(), token: Some(token), key: None }
    }

    /// This client, which proves that it has this key.
    pub(crate) fn bound(self, key: Option<&Key>) -> Self {
        Self { key: key.cloned(), ..self }
    }

    /// A request with the credential, and with a proof of the key.
    fn authorized(&self, request: Builder, method: &str, uri: &str) -> Result<Builder, Failure> {
        let token = self.token.as_ref().map(Secret::reveal);
        let request = match (token, &self.key) {
            (None, _) => request,
            (Some(token), None) => request.header("authorization", format!("Bearer {token}")),
            (Some(token), Some(_)) => request.header("authorization", format!("DPoP {token}")),
        };
        match &self.key {
            Some(key) => Ok(request.header("dpop", key.proof(method, uri, token)?)),
            None => Ok(request),
        }
    }

    pub(crate) fn token(&self) -> Option<&Secret> {
        self.token.as_ref()
    }

    /// Sends a request of a route.
    pub(crate) fn call(&self, route: &Route, call: Call<'_>) -> Result<Answer, Failure> {
        if let Some(word) = word_of_another(route, &call.names) {
            let wrong =
                format!("{} is a word of the server's own addresses, and the name of nothing.", show::line(word));
            return Err(Failure::new(Exit::Refused, wrong).fix("Name what you mean by its name or its id."));
        }
        let mut names = call.names.iter();
        let segments = route.path.split('/').skip(1).map(|segment| match segment.starts_with('{') {
            true => format!("/{}", utf8_percent_encode(names.next().map_or("", String::as_str), SEGMENT)),
            false => format!("/{segment}"),
        });
        let mut uri = self.url.join(&segments.collect::<String>());
        if !call.query.is_empty() {
            let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(&call.query).finish();
            uri = format!("{uri}?{query}");
        }
        let mut request =
            Request::builder().method(route.method).uri(&uri).header("accept", "application/json, */*;q=0.1");
        request = self.authorized(request, route.method, &uri)?;
        if route.is_idempotent {
            request = request.header("idempotency-key", once()?);
        }
        if let Some(tag) = &call.known {
            request = request.header("if-none-match", tag);
        }
        let body = match (call.body, call.form) {
            (Some(json), _) => {
                request = request.header("content-type", "application/json");
                json.to_string()
            }
            (None, Some(pairs)) => {
                request = request.header("content-type", "application/x-www-form-urlencoded");
                form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish()
            }
            (None, None) => String::new(),
        };
        let has_body = matches!(route.method, "POST" | "PUT" | "PATCH");
        let response = if has_body {
            self.agent.run(request.body(body).map_err(unusable)?)
        } else {
            self.agent.run(request.body(()).map_err(unusable)?)
        };
        self.read(response.map_err(|error| self.lost(&error))?, call.known.is_some())
    }

    /// This client, if it has a credential.
    pub(crate) fn signed_in(self) -> Result<Self, Failure> {
        match self.token {
            Some(_) => Ok(self),
            None => Err(Failure::no_credential(self.url.as_str())),
        }
    }

    /// A stream of events, behind the one that was read last. It ends after some minutes at the latest; the caller comes again.
    pub(crate) fn stream(
        &self,
        route: &Route,
        query: &[(&str, &str)],
        last: Option<&str>,
    ) -> Result<impl BufRead + use<>, Failure> {
        let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(query).finish();
        let uri = self.url.join(route.path);
        let uri = if query.is_empty() { uri } else { format!("{uri}?{query}") };
        let mut request = Request::builder().uri(uri).header("accept", EVENTS).header("cache-control", "no-store");
        request = self.authorized(request, route.method, &self.url.join(route.path))?;
        if let Some(last) = last {
            request = request.header("last-event-id", last);
        }
        let request = request.body(()).map_err(unusable)?;
        // A connection that is dead without a word is noticed by this alone.
        let request = self.agent.configure_request(request).timeout_recv_body(Some(STREAM)).build();
        let response = self.agent.run(request).map_err(|error| self.lost(&error))?;
        let media = response.headers().get("content-type").and_then(|value| value.to_str().ok()).unwrap_or_default();
        match response.status().as_u16() {
            200 if media.starts_with(EVENTS) => Ok(BufReader::new(response.into_body().into_reader())),
            _ => Err(self.read(response, false).err().unwrap_or_else(|| self.stranger(""))),
        }
    }

    /// The refusal that ends a stream: the envelope alone, without a status.
    pub(crate) fn refused(&self, envelope: Json) -> Failure {
        let slug = envelope.get("error").and_then(Json::as_str).unwrap_or_default();
        let status = Code::ALL.iter().map(|code| code.row()).find(|row| row.slug == slug).map_or(401, |row| row.status);
        self.refusal(status, envelope)
    }

    /// The bytes of a file that the server hands out, in pieces.
    pub(crate) fn download(&self, path: &str) -> Result<ureq::Body, Failure> {
        let request = Request::builder().uri(self.url.of_link(path)).body(()).map_err(unusable)?;
        let response = self.agent.run(request).map_err(|error| self.lost(&error))?;
        match response.status().as_u16() {
            200 => Ok(response.into_body()),
            _ => Err(self.read(response, false).err().unwrap_or_else(|| self.stranger(""))),
        }
    }

    fn read(&self, response: ureq::http::Response<ureq::Body>, is_asked: bool) -> Result<Answer, Failure> {
        let (parts, mut body) = response.into_parts();
        let status = parts.status.as_u16();
        let header = |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let media = header("content-type").split(';').next().unwrap_or_default().trim();
        let is_export = matches!(media, "application/x-ndjson" | "text/csv");
        let most = if is_export { MOST_OF_EXPORT } else { MOST };
        let text = body.with_config().limit(most).read_to_string().map_err(|error| self.lost(&error))?;
        let is_json = JSON.contains(&media);
        // Nothing that others have written controls a terminal.
        let text = if is_json || is_export { escaped(&text) } else { text };
        let json = if is_json { serde_json::from_str(&text).unwrap_or_default() } else { Json::Null };
        let given = |name: &str| Some(header(name)).filter(|value| !value.is_empty()).map(str::to_owned);
        let (tag, closure) = (given("etag"), given("x-accredit-closure"));
        if header("x-accredit-covers") == "agents" {
            IN_PART.call_once(|| show::warn(PART));
        }
        match status {
            200..=299 if is_json && !json.is_null() => Ok(Answer { text, json, tag, closure, is_known: false }),
            // What answers in the server's place, such as a proxy, would make believe that something was done.
            204 if given("x-request-id").is_some() => Ok(Answer { text, json, tag, closure, is_known: false }),
            304 if is_asked => Ok(Answer { text, json, tag, closure, is_known: true }),
            200..=299
                if TEXTS.contains(&media) && (media != "text/plain" || header("x-request-id").starts_with("req_")) =>
            {
                Ok(Answer { text, json, tag, closure, is_known: false })
            }
            300..=399 => {
                let place = show::line(header("location"));
                let fix = "Use the address that the server really has. No credential was sent on.";
                Err(Failure::unreachable(format!("{} leads to another place: {place}", self.url.as_str())).fix(fix))
            }
            400..=599 if json.get("error").is_some() && json.get("request_id").is_some() => {
                Err(self.refusal(status, json))
            }
            502..=504 => Err(Failure::unreachable(format!(
                "{} does not answer: what stands before it says {status}.",
                self.url.as_str()
            ))
            .fix("Try again in a while. If it goes on, tell the operator of the server.")),
            _ => Err(self.stranger(&format!(" ({})", format!("{status} {}", show::line(media)).trim_end()))),
        }
    }

    fn stranger(&self, what: &str) -> Failure {
        Failure::unreachable(format!("What answers at {} is no Accredit server{what}.", self.url.as_str())).fix(
            self.url
                .too_long()
                .unwrap_or_else(|| "Check the address. A proxy in between may have answered in its place.".to_owned()),
        )
    }

    fn lost(&self, error: &ureq::Error) -> Failure {
        lost(&self.url, self.through.as_ref(), error)
    }

    fn refusal(&self, status: u16, answer: Json) -> Failure {
        let text = |name: &str| answer.get(name).and_then(Json::as_str).map(show::prose);
        let exit = match (status, text("error").as_deref()) {
            (401, _) => Exit::Credential,
            (503, Some(slug)) if !OPERATORS.iter().any(|code| code.row().slug == slug) => Exit::Unreachable,
            _ => Exit::Refused,
        };
        let mut failure = Failure::new(exit, text("detail").unwrap_or_default());
        failure.fix = text("fix").map(|fix| fix::in_commands(&fix::seen(&fix)));
        // The path is one that every server has, so the address is wrong. What the server takes for meant is what was asked.
        if text("error").as_deref() == Some("not_found") {
            failure.fix = self.url.too_long().or(failure.fix.take());
        }
        // The server names the algorithms where a key has to be proved. What it says of headers is for programs.
        if matches!(status, 400 | 401) && answer.get("algs").is_some() {
            failure.fix = Some(if self.key.is_some() { OTHER_PROOF } else { NO_KEY }.to_owned());
        }
        failure.ask = answer.get("ask").and_then(fix::of_ask);
        if failure.ask.is_some() {
            failure.fix = Some(ASK.to_owned());
        }
        failure.page = answer.get("doc_url").and_then(Json::as_str).map(|link| show::line(&self.url.of_link(link)));
        failure.request = text("request_id");
        let fields = answer.get("fields").and_then(Json::as_array).into_iter().flatten();
        let member =
            |field: &Json, name: &str| field.get(name).and_then(Json::as_str).map(show::line).unwrap_or_default();
        failure.lines =
            fields.map(|field| format!("{} {}", member(field, "field"), member(field, "problem"))).collect();
        failure.lines.extend(fix::unknown_words(&answer));
        failure.answer = Some(answer);
        failure
    }
}

/// Why there is no answer. With a proxy every connection leads to the proxy.
fn lost(url: &Url, through: Option<&Through>, error: &ureq::Error) -> Failure {
    use std::io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, InvalidData, UnexpectedEof};
    let why = show::line(&error.to_string());
    // rustls says it so of a record that is none of TLS.
    if url.is_tls() && why.contains("InvalidContentType") {
        let address = url.as_str().replacen("https://", "http://", 1);
        return Failure::unreachable(format!("What answers at {} does not speak TLS at this port.", url.as_str())).fix(
            match url.is_loopback {
                true => format!("Try it without: --url {address}"),
                false => "Check the address and its port.".to_owned(),
            },
        );
    }
    if let Some(failure) = trust::refused(url, error) {
        return failure;
    }
    let url = url.as_str();
    let Some(Through { proxy, variable }) = through else {
        if let ureq::Error::Timeout(what) = error {
            let is_slow = matches!(what, ureq::Timeout::RecvResponse | ureq::Timeout::RecvBody);
            let what = if is_slow {
                "has taken the request, and has not answered in time"
            } else {
                "cannot be reached in time"
            };
            return Failure::unreachable(format!("{url} {what}."))
                .fix("Check the address and the network, or wait longer: --timeout 2m");
        }
        return Failure::unreachable(format!("{url} cannot be reached: {why}"))
            .fix("Check the address and the network.");
    };
    let scheme = if proxy.protocol() == ProxyProtocol::Https { "https" } else { "http" };
    // Without the user's name and password.
    let place = show::line(&format!("{scheme}://{}:{}", proxy.host(), proxy.port()));
    let is_of_proxy = match error {
        ureq::Error::Io(error) => {
            !matches!(error.kind(), ConnectionReset | ConnectionAborted | BrokenPipe | UnexpectedEof | InvalidData)
        }
        ureq::Error::HostNotFound | ureq::Error::ConnectionFailed => true,
        _ => false,
    };
    let sentence = match is_of_proxy {
        true => format!("The proxy {place}, through which {url} is asked, cannot be reached: {why}"),
        false => format!("{url} cannot be reached through the proxy {place}: {why}"),
    };
    Failure::unreachable(sentence).fix(format!("Check the proxy in {variable}, or name the server's host in NO_PROXY."))
}

/// A key that makes one request out of one that is sent twice.
fn once() -> Result<String, Failure> {
    let bytes = random::<16>()?;
    Ok(format!("cli-{}", bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>()))
}

fn unusable(error: ureq::http::Error) -> Failure {
    Failure::usage(format!("The request cannot be sent: {error}"))
}

#[cfg(test)]
mod tests {
    use std::io::{Error, ErrorKind};

    use common::route;

    use super::*;

    /// R512: a name that is a word of the addresses leads to no other route.
    #[test]
    fn a_name_leads_to_no_other_route() {
        let word = |route: &Route, names: &[&str]| {
            let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
            word_of_another(route, &names).map(str::to_owned)
        };
        assert_eq!(word(route::AGENTS_GET, &["archived"]).as_deref(), Some("archived"));
        for (route, names) in [
            (route::AGENTS_GET, &["scout"][..]),
            (route::AGENTS_GET, &["me"]),
            (route::KEYS_GET, &["archived", "key_1"]),
            (route::AGENTS_GET, &["tree"]),
            (route::ARCHIVED_LIST, &[]),
        ] {
            assert_eq!(word(route, names), None, "{} {names:?}", route.path);
        }
    }

    /// R107: a proxy is named where it is in the way, with its variable and without its password.
    #[test]
    fn a_proxy_in_the_way_is_named() {
        let proxy = ureq::Proxy::new("http://ada:secret@proxy.example:8080").unwrap();
        let http = Through { proxy, variable: "ALL_PROXY" };
        let url = Url::parse("https://accredit.example").unwrap();
        let refused = ureq::Error::Io(Error::from(ErrorKind::ConnectionRefused));
        let reset = ureq::Error::Io(Error::from(ErrorKind::ConnectionReset));
        let forbidden = ureq::Error::ConnectProxyFailed("proxy server responded 403/403".to_owned());
        let said = |proxy, error| lost(&url, proxy, error);
        assert!(said(None, &refused).sentence.starts_with("https://accredit.example cannot be reached: "));
        for (error, begins) in [
            (&refused, "The proxy http://proxy.example:8080, through which https://accredit.example is asked, cannot"),
            (&ureq::Error::Io(Error::other("failed to lookup address")), "The proxy http://proxy.example:8080, "),
            (&ureq::Error::HostNotFound, "The proxy http://proxy.example:8080, "),
            (&reset, "https://accredit.example cannot be reached through the proxy http://proxy.example:8080: "),
            (&forbidden, "https://accredit.example cannot be reached through the proxy http://proxy.example:8080: "),
        ] {
            let failure = said(Some(&http), error);
            assert!(failure.sentence.starts_with(begins) && !failure.sentence.contains("secret"), "{failure:?}");
            assert!(failure.fix.as_deref().unwrap().contains("proxy in ALL_PROXY, or"), "{failure:?}");
        }
    }

    /// R432: of all refusals with 503, those of the host included, only what the operator has to mend is a refusal. What waits goes on over
    /// the others, and over what was asked too often.
    #[test]
    fn what_passes_by_itself_is_unreachable_for_now() {
        let client = Client::new(&Url::parse("http://127.0.0.1:1").unwrap(), None, 1).unwrap();
        let failure =
            |status, slug: &str| client.refusal(status, serde_json::json!({ "error": slug, "request_id": "r" }));
        let of_host =
            include_str!("../../docs/agents/errors.md").lines().filter_map(|line| line.strip_prefix("| 503 `"));
        let of_host: Vec<&str> = of_host.filter_map(|line| line.split('`').next()).collect();
        assert!(of_host.contains(&"server_stopping") && of_host.len() == 4, "{of_host:?}");
        let rows = || Code::ALL.iter().map(|code| code.row());
        let of_server = rows().filter(|row| row.status == 503).map(|row| row.slug);
        let mut refused: Vec<&str> = of_server
            .chain(of_host)
            .filter(|slug| {
                let failure = failure(503, slug);
                assert_eq!(failure.passes(), failure.exit == Exit::Unreachable, "{slug}");
                failure.exit == Exit::Refused
            })
            .collect();
        refused.sort_unstable();
        let of_operator = [
            "audit_key_missing",
            "mail_disabled",
            "public_url_missing",
            "secrets_disabled",
            "signing_disabled",
            "storage_full",
        ];
        assert_eq!(refused, of_operator);
        for row in rows().filter(|row| row.status != 503) {
            let failure = failure(row.status, row.slug);
            assert_ne!(failure.exit, Exit::Unreachable, "{}", row.slug);
            assert_eq!(failure.passes(), row.status == 429, "{}", row.slug);
        }
    }

    /// R552: an empty answer of another program is no answer.
    #[test]
    fn an_empty_answer_has_a_request_id() {
        let client = Client::new(&Url::parse("http://127.0.0.1:1").unwrap(), None, 1).unwrap();
        let read = |id: Option<&str>| {
            let mut response = ureq::http::Response::builder().status(204);
            if let Some(id) = id {
                response = response.header("x-request-id", id);
            }
            client.read(response.body(ureq::Body::builder().data("")).unwrap(), false)
        };
        assert!(read(Some("req_01")).is_ok());
        let failure = read(None).err().unwrap();
        assert!(
            failure.exit == Exit::Unreachable && failure.sentence.ends_with("no Accredit server (204)."),
            "{failure:?}"
        );
    }

    /// R434: every media type that a route of a verb answers with is taken.
    #[test]
    fn every_media_type_of_a_verb_is_taken() {
        let document: Json = serde_json::from_str(include_str!("../../docs/reference/openapi.json")).unwrap();
        let mut seen = std::collections::BTreeSet::new();
        for verb in crate::verbs::all() {
            let operation = &document["paths"][verb.route.path][verb.route.method.to_lowercase()];
            let responses = operation["responses"].as_object().unwrap();
            for (_, answer) in responses.iter().filter(|(status, _)| status.starts_with('2')) {
                let content = answer.get("content").and_then(Json::as_object);
                for media in content.into_iter().flat_map(|content| content.keys()) {
                    let is_taken = TEXTS.contains(&media.as_str()) || JSON.contains(&media.as_str());
                    assert!(is_taken, "{}: {media}", verb.words);
                    seen.insert(media.clone());
                }
            }
        }
        for media in TEXTS {
            assert!(seen.contains(*media), "{media} is no answer to a verb");
        }
    }

    /// R107: a port without TLS is told as one, and http only offered where nobody listens on the way.
    #[test]
    fn a_port_without_tls_is_told() {
        let message = "received corrupt message of type InvalidContentType";
        let error = ureq::Error::Io(Error::new(ErrorKind::InvalidData, message));
        for (url, fix) in [
            ("https://127.0.0.1:3000", "Try it without: --url http://127.0.0.1:3000"),
            ("https://accredit.example", "Check the address and its port."),
        ] {
            let failure = lost(&Url::parse(url).unwrap(), None, &error);
            assert_eq!(failure.sentence, format!("What answers at {url} does not speak TLS at this port."));
            assert_eq!(failure.fix.as_deref(), Some(fix));
        }
    }
}
