//! The state of an instance, and one request's view of it.

use std::{
    future::Future,
    net::IpAddr,
    pin::Pin,
    sync::{Arc, OnceLock},
};

use common::{
    id::{RequestId, RequestIds, TenantId, UserId},
    network,
    secret::{Chance, Secret},
    time::Timestamp,
};
use http::{Method, Uri};
use ipnet::IpNet;
use store::{
    db::{Db, DbError},
    origin::Origin,
};

use crate::{clock::Clock, headers::Headers, settings::Settings};

/// The state of an instance: made once, given to every request.
pub struct Env {
    /// The database.
    pub db: &'static Db,
    /// Where `now` comes from.
    pub clock: Clock,
    /// Where randomness comes from.
    pub chance: Chance,
    /// The operator's settings.
    pub settings: Settings,
    /// Where requests get their ids from.
    pub requests: RequestIds,
}

/// The data that a request begins with.
pub struct Head {
    /// The method.
    pub method: Method,
    /// Path and query.
    pub uri: Uri,
    /// The headers.
    pub headers: Headers,
}

/// What runs after a response that left something urgent behind. A pointer, so that only components that mark something have what it
/// needs.
pub(crate) type Wake = fn(App) -> Pin<Box<dyn Future<Output = ()>>>;

/// One request's view of the instance. Cheap to clone.
#[derive(Clone)]
pub struct App(Arc<Inner>);

struct Inner {
    env: Arc<Env>,
    head: Head,
    now: Timestamp,
    request_id: RequestId,
    address: OnceLock<String>,
    urgent: OnceLock<Wake>,
}

impl App {
    /// Begins a request: reads the clock and makes the request's id.
    pub fn new(env: &Arc<Env>, head: Head) -> Self {
        let now = env.clock.now();
        let request_id = env.requests.next(now);
        Self(Arc::new(Inner {
            env: Arc::clone(env),
            head,
            now,
            request_id,
            address: OnceLock::new(),
            urgent: OnceLock::new(),
        }))
    }

    /// The data that the request began with.
    pub fn head(&self) -> &Head {
        &self.0.head
    }

    /// The headers.
    pub fn headers(&self) -> &Headers {
        &self.0.head.headers
    }

    /// The database.
    pub fn db(&self) -> &'static Db {
        self.0.env.db
    }

    /// The time of this request: one for everything that it does.
    pub fn now(&self) -> Timestamp {
        self.0.now
    }

    /// Where the time comes from, for requests that wait.
    pub fn clock(&self) -> &Clock {
        &self.0.env.clock
    }

    /// Randomness.
    pub fn chance(&self) -> &Chance {
        &self.0.env.chance
    }

    /// The operator's settings.
    pub fn settings(&self) -> &Settings {
        &self.0.env.settings
    }

    /// The request's path, as it was sent.
    pub fn path(&self) -> &str {
        self.0.head.uri.path()
    }

    /// This request's id.
    pub fn request_id(&self) -> &RequestId {
        &self.0.request_id
    }

    /// The client's address as text; empty when the host gave none.
    pub fn address(&self) -> &str {
        self.0.address.get_or_init(|| self.client().map(|address| address.to_string()).unwrap_or_default())
    }

    fn client(&self) -> Option<IpAddr> {
        client_address(&self.0.head.headers, &self.settings().trusted_proxies)
    }

    /// The key by which guesses are counted.
    pub fn network(&self) -> String {
        network::of(self.address())
    }

    /// Where a change of this request comes from if no credential authorises it: on the public routes. `None`: the operator,
    /// or a stranger.
    pub fn origin<'a>(&'a self, tenant: &'a TenantId, user: Option<&'a UserId>) -> Origin<'a> {
        Origin {
            tenant,
            user,
            agent: None,
            credential: None,
            address: self.address(),
            request: self.request_id(),
            now: self.now(),
            chance: self.chance(),
        }
    }

    /// Marks that something waits to be sent: `wake` runs after the response.
    pub(crate) fn mark_urgent(&self, wake: Wake) {
        self.0.urgent.get_or_init(|| wake);
    }

    /// What runs after the response, if something waits to be sent.
    pub(crate) fn urgent(&self) -> Option<Wake> {
        self.0.urgent.get().copied()
    }

    /// Does something after the response was decided. It never changes the response: a failure is logged.
    #[cfg_attr(target_family = "wasm", expect(clippy::unused_async, reason = "natively the work is awaited"))]
    pub async fn after_response(&self, work: impl Future<Output = Result<(), DbError>> + 'static) {
        let request_id = self.0.request_id.clone();
        let logged = async move {
            if let Err(error) = work.await {
                log(&request_id, "after the response", &error.to_string());
            }
        };
        #[cfg(target_family = "wasm")]
        spin_sdk::wasip3::spawn(logged);
        #[cfg(not(target_family = "wasm"))]
        logged.await;
    }

    /// Does something at the end of a response's body, where nothing can be awaited. Natively, in tests, it is left undone.
    pub fn at_the_end(&self, work: impl Future<Output = Result<(), DbError>> + 'static) {
        #[cfg(target_family = "wasm")]
        {
            let app = self.clone();
            spin_sdk::wasip3::spawn(async move { app.after_response(work).await });
        }
        #[cfg(not(target_family = "wasm"))]
        drop(work);
    }
}

/// One line for the operator, without credentials.
pub fn log(request_id: &RequestId, place: &str, what: &str) {
    let line = format!("{place}: {what}").replace(|c: char| c.is_control(), " ");
    eprintln!("{request_id} {}", Secret::cut_off(line));
}

/// The address of the connection: the last `spin-client-addr`, which the host appends after what the client sent.
fn peer(headers: &Headers) -> Option<IpAddr> {
    let values = headers.all("spin-client-addr");
    let last = values.last()?.to_str().ok()?;
    let peer: IpAddr = last.parse::<std::net::SocketAddr>().map(|at| at.ip()).or_else(|_| last.parse()).ok()?;
    Some(peer.to_canonical()) // an IPv4 address that came over IPv6 is that address
}

/// Whether another component of this application sent the request. Hosts give such requests the address 0.0.0.0 (Spin:
/// `CHAINED_CLIENT_ADDR` in crates/trigger-http), which no connection from outside can come from.
pub(crate) fn is_from_inside(headers: &Headers) -> bool {
    peer(headers).is_some_and(|peer| peer.is_unspecified())
}

/// The client's address: that of the connection. Behind trusted proxies it is the first address of `X-Forwarded-For`, read from the
/// right, that is not a trusted proxy. Of a request from inside it is the last one there, which the component wrote.
fn client_address(headers: &Headers, trusted: &[IpNet]) -> Option<IpAddr> {
    let peer = peer(headers)?;
    if peer.is_unspecified() {
        return Some(hops(headers).first().copied().flatten().unwrap_or(peer));
    }
    let is_trusted = |address: &IpAddr| trusted.iter().any(|network| network.contains(address));
    if !is_trusted(&peer) {
        return Some(peer);
    }
    let mut nearest = peer;
    for hop in hops(headers) {
        let Some(address) = hop else { break };
        nearest = address;
        if !is_trusted(&nearest) {
            break;
        }
    }
    Some(nearest)
}

/// The hops of `X-Forwarded-For` from the right, each with its address, if it has one. A client may have sent any bytes before what a proxy
/// has added to them. Empty ones count for nothing (RFC 9110, section 5.6.1).
fn hops(headers: &Headers) -> Vec<Option<IpAddr>> {
    let sent = headers.all("x-forwarded-for");
    let hops = sent.iter().rev().flat_map(|value| value.as_bytes().rsplit(|byte| *byte == b','));
    let hops = hops.map(<[u8]>::trim_ascii).filter(|hop| !hop.is_empty());
    hops.map(|hop| Some(hop_address(std::str::from_utf8(hop).ok()?)?.to_canonical())).collect()
}

/// The address in a hop of `X-Forwarded-For`; some proxies add its port, and brackets to one of IPv6.
fn hop_address(hop: &str) -> Option<IpAddr> {
    let whole = || hop.parse::<std::net::SocketAddr>().ok().map(|at| at.ip());
    let bare = hop.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(hop);
    bare.parse().ok().or_else(whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// R71: a client's own copy of the header changes nothing.
    #[test]
    fn the_last_spin_client_addr_counts() {
        let sent = Headers::from([("spin-client-addr", "6.6.6.6:1"), ("spin-client-addr", "192.0.2.1:4000")]);
        assert_eq!(client_address(&sent, &[]), "192.0.2.1".parse().ok());
    }

    #[test]
    fn forwarded_addresses_count_only_behind_a_trusted_proxy_and_from_the_right() {
        let forwarded = ("x-forwarded-for", "6.6.6.6, 192.0.2.7, 10.0.0.2");
        let sent = Headers::from([("spin-client-addr", "10.0.0.1:4000"), forwarded]);
        let trusted = ["10.0.0.1/32".parse().unwrap(), "10.0.0.2/32".parse().unwrap()];
        let networks = ["10.0.0.0/8".parse().unwrap()];
        assert_eq!(client_address(&sent, &networks), "192.0.2.7".parse().ok());
        assert_eq!(client_address(&sent, &trusted), "192.0.2.7".parse().ok());
        assert_eq!(client_address(&sent, &[]), "10.0.0.1".parse().ok());
        for (forwarded, address) in [
            ("192.0.2.7:5555", "192.0.2.7"),
            ("[2001:db8::7]:5555, 10.0.0.2:80", "2001:db8::7"),
            ("[2001:db8::7]", "2001:db8::7"),
            ("[::ffff:192.0.2.7]:1", "192.0.2.7"),
            ("unknown, 10.0.0.2", "10.0.0.2"),
        ] {
            let sent = Headers::from([("spin-client-addr", "10.0.0.1:4000"), ("x-forwarded-for", forwarded)]);
            assert_eq!(client_address(&sent, &trusted), address.parse().ok(), "{forwarded}");
        }
    }

    /// R743: what a client has sent before the address that a proxy adds does not hide that one.
    #[test]
    fn a_hop_that_is_no_address_hides_no_other_one() {
        let trusted = ["10.0.0.0/8".parse().unwrap()];
        let address = |forwarded: &[&[u8]]| {
            let mut sent = http::HeaderMap::new();
            sent.insert("spin-client-addr", "10.0.0.1:4000".parse().unwrap());
            for value in forwarded {
                sent.append("x-forwarded-for", http::HeaderValue::from_bytes(value).unwrap());
            }
            client_address(&Headers::new(sent), &trusted)
        };
        for forwarded in [
            &["ü, 192.0.2.7".as_bytes()][..],
            &[b"\xff, 192.0.2.7"],
            &[b"192.0.2.7,"],
            &[b"192.0.2.7, ,10.0.0.2 ,"],
            &[b"\xff", b"192.0.2.7"],
            &[b"6.6.6.6, \xff", b"192.0.2.7,10.0.0.2", b""],
        ] {
            assert_eq!(address(forwarded), "192.0.2.7".parse().ok(), "{forwarded:?}");
        }
        for forwarded in [&[b"6.6.6.6, \xff".as_slice()][..], &[b","], &[]] {
            assert_eq!(address(forwarded), "10.0.0.1".parse().ok(), "{forwarded:?}");
        }
    }

    /// R71: a component names its visitor's address; nobody outside can, whatever is sent.
    #[test]
    fn a_request_from_inside_names_its_visitors_address() {
        let address = |peer, forwarded| {
            let sent = Headers::from([
                ("spin-client-addr", "0.0.0.0:0"),
                ("spin-client-addr", peer),
                ("x-forwarded-for", forwarded),
            ]);
            (client_address(&sent, &[]), is_from_inside(&sent))
        };
        assert_eq!(address("0.0.0.0:0", "192.0.2.7"), ("192.0.2.7".parse().ok(), true));
        assert_eq!(address("0.0.0.0:0", "6.6.6.6, 2001:db8::7"), ("2001:db8::7".parse().ok(), true));
        assert_eq!(address("0.0.0.0:0", "somebody"), ("0.0.0.0".parse().ok(), true));
        assert_eq!(address("192.0.2.1:4000", "6.6.6.6"), ("192.0.2.1".parse().ok(), false));
    }
}
