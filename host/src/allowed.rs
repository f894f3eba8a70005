//! `allowed_outbound_hosts`: what a component may call.
//!
//! An entry is `scheme://host[:port]`. The scheme may be `*`. The host may be `*`, `*.domain`, `self`, a network or a
//! literal. The port may be `*` or a range `80..90` (without its end); if it is missing, it is the scheme's default port.
//!
//! What stays inside of the application is named by an entry of its own: no wildcard for the network grants it. Components trust what
//! other components tell them, and a component that calls URLs of others' choice must not speak to them.

use std::net::IpAddr;
use std::ops::Range;

use anyhow::{Context as _, Result, bail, ensure};

use crate::address::Network;

/// What the names of components end with (service chaining).
const COMPONENTS: &str = ".spin.internal";

/// The entries of one component, their templates filled in.
#[derive(Debug, Default)]
pub(crate) struct AllowedHosts(Vec<AllowedHost>);

#[derive(Debug)]
struct AllowedHost {
    /// `None`: any.
    scheme: Option<String>,
    host: Host,
    /// `None`: any.
    ports: Option<Range<u32>>,
}

#[derive(Debug, PartialEq)]
enum Host {
    Any,
    ToSelf,
    /// With its leading dot.
    Below(String),
    Name(String),
    Address(IpAddr),
    Network(Network),
}

impl AllowedHosts {
    /// Parses entries whose templates are filled in. Skips those that came out empty: their variable is optional and not set.
    pub(crate) fn parse(entries: &[String]) -> Result<Self> {
        let given = entries.iter().filter(|entry| !matches!(entry.as_str(), "" | "http://" | "https://"));
        given
            .map(|entry| AllowedHost::parse(entry).with_context(|| format!("allowed_outbound_hosts {entry:?}")))
            .collect::<Result<_>>()
            .map(Self)
    }

    /// Whether a request to this host is allowed. `port` is the port of the connection.
    pub(crate) fn allow(&self, scheme: &str, host: &str, port: u16) -> bool {
        let host = Host::literal(host);
        self.0.iter().any(|entry| entry.allows_scheme(scheme) && entry.host.covers(&host) && entry.allows_port(port))
    }

    /// Whether requests to the application itself (by path alone, or `http://self.alt`) are allowed.
    pub(crate) fn allow_self(&self) -> bool {
        let is_http = |entry: &AllowedHost| entry.allows_scheme("http") || entry.allows_scheme("https");
        self.0.iter().any(|entry| is_http(entry) && entry.host == Host::ToSelf)
    }
}

impl AllowedHost {
    fn parse(entry: &str) -> Result<Self> {
        let (scheme, rest) = entry.trim().split_once("://").context("needs a scheme, such as https://")?;
        ensure!(scheme == "*" || scheme.bytes().all(|b| b.is_ascii_alphabetic()), "the scheme may hold letters only");
        // A slash before the last character begins a path, unless it begins the prefix length of a network.
        if let Ok(network) = Network::parse(rest) {
            return Ok(Self {
                scheme: any_or(scheme),
                host: Host::Network(network),
                ports: Some(default_port(scheme)?),
            });
        }
        let (host, port) = match rest.rsplit_once(':') {
            Some((host, port)) if !port.contains(']') => (host, port.strip_suffix('/').unwrap_or(port)),
            _ => (rest.strip_suffix('/').unwrap_or(rest), ""),
        };
        let ports = match (port, port.split_once("..")) {
            ("", _) => Some(default_port(scheme)?),
            ("*", _) => None,
            (_, Some((first, end))) => Some(number(first)?..number(end)?),
            (one, None) => Some(number(one)?..number(one)? + 1),
        };
        Ok(Self { scheme: any_or(scheme), host: Host::parse(host)?, ports })
    }

    fn allows_scheme(&self, scheme: &str) -> bool {
        self.scheme.as_deref().is_none_or(|known| known == scheme)
    }

    fn allows_port(&self, port: u16) -> bool {
        self.ports.as_ref().is_none_or(|ports| ports.contains(&u32::from(port)))
    }
}

impl Host {
    fn parse(host: &str) -> Result<Self> {
        if let Ok(network) = Network::parse(host) {
            return Ok(Self::Network(network));
        }
        ensure!(!host.contains(['/', '@', '?', '#']), "must not have a path, a user or a query");
        match (host, host.strip_prefix("*.")) {
            ("", _) => bail!("needs a host"),
            ("*", _) => Ok(Self::Any),
            ("self" | "self.alt", _) => Ok(Self::ToSelf),
            (_, Some(domain)) if !domain.contains('*') => Ok(Self::Below(format!(".{}", domain.to_ascii_lowercase()))),
            _ if host.contains('*') => bail!("`*` may be the first label only"),
            _ => Ok(Self::literal(host)),
        }
    }

    fn literal(host: &str) -> Self {
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        bare.parse().map_or_else(|_| Self::Name(host.to_ascii_lowercase()), Self::Address)
    }

    /// Whether this entry's host covers a literal one.
    fn covers(&self, literal: &Self) -> bool {
        match (self, literal) {
            (Self::Any, Self::Name(name)) => !name.ends_with(COMPONENTS),
            (Self::Any, _) => true,
            (Self::Below(suffix), Self::Name(name)) => {
                name.ends_with(suffix.as_str()) && (suffix == COMPONENTS || !name.ends_with(COMPONENTS))
            }
            (Self::Network(network), Self::Address(address)) => network.contains(*address),
            (Self::ToSelf, _) => false,
            (entry, literal) => entry == literal,
        }
    }
}

fn any_or(scheme: &str) -> Option<String> {
    (scheme != "*").then(|| scheme.to_ascii_lowercase())
}

fn default_port(scheme: &str) -> Result<Range<u32>> {
    match scheme {
        "http" => Ok(80..81),
        "https" => Ok(443..444),
        _ => bail!("needs a port, since {scheme:?} has none of its own"),
    }
}

fn number(port: &str) -> Result<u32> {
    port.parse::<u16>().map(u32::from).with_context(|| format!("{port:?} is not a port"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allows(entry: &str, scheme: &str, host: &str, port: u16) -> bool {
        AllowedHosts::parse(&[entry.to_owned()]).unwrap().allow(scheme, host, port)
    }

    #[test]
    fn a_literal_allows_itself_on_its_schemes_port() {
        assert!(allows("https://example.com", "https", "Example.com", 443));
        assert!(!allows("https://example.com", "http", "example.com", 443));
        assert!(!allows("https://example.com", "https", "example.com", 8443));
        assert!(!allows("https://example.com", "https", "a.example.com", 443));
        assert!(allows("https://example.com:8443/", "https", "example.com", 8443));
        assert!(allows("http://[::1]:80", "http", "[::1]", 80));
        assert!(allows("http://one.spin.internal", "http", "one.spin.internal", 80));
    }

    #[test]
    fn a_wildcard_covers_what_it_stands_for() {
        assert!(allows("https://*:*", "https", "any.example", 9));
        assert!(allows("https://*:*", "https", "10.0.0.1", 9));
        assert!(!allows("https://*:*", "http", "any.example", 9));
        assert!(allows("*://*:80..90", "http", "x", 89));
        assert!(!allows("*://*:80..90", "http", "x", 90));
        assert!(allows("https://*.example.com", "https", "a.b.example.com", 443));
        assert!(!allows("https://*.example.com", "https", "example.com", 443));
        assert!(!allows("https://*.example.com", "https", "badexample.com", 443));
        assert!(allows("http://10.0.0.0/8:*", "http", "10.9.9.9", 5));
        assert!(allows("http://10.0.0.0/8", "http", "10.9.9.9", 80));
        assert!(!allows("http://10.0.0.0/8", "http", "ten.example", 80));
    }

    #[test]
    fn self_is_the_application_only() {
        let allowed = AllowedHosts::parse(&["http://self".to_owned()]).unwrap();
        assert!(allowed.allow_self());
        assert!(!allowed.allow("http", "self", 80));
        assert!(!AllowedHosts::parse(&["http://example.com".to_owned()]).unwrap().allow_self());
    }

    /// R49: a component that may call every host may not call the other components, which believe what it says of its caller.
    #[test]
    fn no_wildcard_of_the_network_leads_inside() {
        for entry in ["https://*:*", "*://*:*", "*://*.internal:*"] {
            for (scheme, port) in [("http", 80), ("https", 443)] {
                assert!(!allows(entry, scheme, "auth.spin.internal", port), "{entry}");
                assert!(!allows(entry, scheme, "AUTH.Spin.Internal", port), "{entry}");
            }
            assert!(!AllowedHosts::parse(&[entry.to_owned()]).unwrap().allow_self(), "{entry}");
        }
        assert!(allows("http://*.spin.internal", "http", "auth.spin.internal", 80));
    }

    #[test]
    fn an_empty_entry_allows_nothing() {
        let allowed = AllowedHosts::parse(&["https://".to_owned(), String::new()]).unwrap();
        assert!(!allowed.allow("https", "", 443));
    }

    #[test]
    fn an_invalid_entry_is_refused() {
        for entry in [
            "example.com",
            "https://a/path",
            "https://a*b",
            "https://*.a.*",
            "ftp://a",
            "https://a:x",
            "https://u@a",
            "*",
        ] {
            assert!(AllowedHosts::parse(&[entry.to_owned()]).is_err(), "{entry}");
        }
    }
}
