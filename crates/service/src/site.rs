//! The address of this server, as its callers reach it: for what they are handed to use elsewhere.
//!
//! R63: of what a caller sends, only a `Host` of a strict form counts, and that only while `public_url` is unset.

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::app::App;

/// The longest host name (RFC 1035, section 2.3.4).
const MAX_HOST: usize = 253;
/// The longest label of one.
const MAX_LABEL: usize = 63;

/// Where callers reach this server: the `public_url` that the operator set, or else the host of this request.
///
/// `None`: the host cannot be used.
pub fn address(app: &App) -> Option<String> {
    if let Some(url) = &app.settings().public_url {
        return Some(url.to_string());
    }
    of_host(&app.headers().single("host")?)
}

/// The URL of a `Host`: a name, an IPv4 address or an IPv6 literal, perhaps with a port. `None`: the text is anything else.
///
/// A loopback host is reached without TLS, every other one with it; operators that serve otherwise set `public_url`.
fn of_host(host: &str) -> Option<String> {
    let (is_loopback, port) = match host.strip_prefix('[') {
        Some(literal) => {
            let (address, port) = literal.split_once(']')?;
            let address: Ipv6Addr = address.parse().ok()?;
            (address.to_canonical().is_loopback(), port)
        }
        None => {
            let (name, port) = host.split_at(host.find(':').unwrap_or(host.len()));
            if !is_name(name) {
                return None;
            }
            let name = name.to_ascii_lowercase();
            let is_loopback = name
                .parse::<Ipv4Addr>()
                .map_or_else(|_| name == "localhost" || name.ends_with(".localhost"), |address| address.is_loopback());
            (is_loopback, port)
        }
    };
    let is_port = |port: &str| {
        port.bytes().all(|b| b.is_ascii_digit()) && port.len() <= 5 && port.parse::<u16>().is_ok_and(|port| port > 0)
    };
    if !port.is_empty() && !port.strip_prefix(':').is_some_and(is_port) {
        return None;
    }
    let scheme = if is_loopback { "http" } else { "https" };
    Some(format!("{scheme}://{}", host.to_ascii_lowercase()))
}

/// Labels of letters, digits, hyphens and underscores, separated by single dots.
fn is_name(name: &str) -> bool {
    let is_label = |label: &str| {
        (1..=MAX_LABEL).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
    };
    name.len() <= MAX_HOST && name.split('.').all(is_label)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// R63.
    #[test]
    fn a_host_of_a_good_form_is_accepted() {
        for (host, url) in [
            ("example.com", "https://example.com"),
            ("Example.COM:8443", "https://example.com:8443"),
            ("build_host.corp:80", "https://build_host.corp:80"),
            ("192.0.2.1:3000", "https://192.0.2.1:3000"),
            ("127.0.0.1:3000", "http://127.0.0.1:3000"),
            ("127.8.9.1", "http://127.8.9.1"),
            ("localhost:3000", "http://localhost:3000"),
            ("LOCALHOST", "http://localhost"),
            ("accredit.localhost:3000", "http://accredit.localhost:3000"),
            ("[::1]:3000", "http://[::1]:3000"),
            ("[::1]", "http://[::1]"),
            ("[::ffff:127.0.0.1]:3000", "http://[::ffff:127.0.0.1]:3000"),
            ("[2001:db8::7]:65535", "https://[2001:db8::7]:65535"),
            ("a", "https://a"),
            ("localhost.example.com", "https://localhost.example.com"),
            ("127.0.0.1.example.com", "https://127.0.0.1.example.com"),
        ] {
            assert_eq!(of_host(host).as_deref(), Some(url), "{host}");
        }
    }

    /// R63.
    #[test]
    fn any_other_host_is_refused() {
        let long = format!("{}.com", "a.".repeat(130));
        for host in [
            "",
            " ",
            "a b",
            " a",
            "a ",
            "a\"",
            "a'",
            "'; id; '",
            "$(id)",
            "a$(id)",
            "`id`",
            "a;id",
            "a&b",
            "a|b",
            "a<b",
            "a\\b",
            "a\n",
            "a.com\n",
            "a.com:80\n",
            "a.com\r",
            "a.com\t",
            "a\0",
            "[::1]\n",
            "[::1]:80\n",
            "a.com:",
            "a.com:0",
            "a.com:+80",
            "a.com:65536",
            "a.com:000080",
            "a.com:80:80",
            "a.com:80a",
            "a.com/path",
            "a.com?x",
            "a.com#x",
            "user@a.com",
            "a..com",
            ".a.com",
            "a.com.",
            "-a.com",
            "a-.com",
            "::1",
            "[::1",
            "[::1]x",
            "[::1]:",
            "[::1%25eth0]",
            "[fe80::1%eth0]",
            "[1.2.3.4]",
            "[$(id)]",
            "[]",
            "ä.com",
            "a%20b",
            "a*b",
            &"a".repeat(64),
            &long,
        ] {
            assert_eq!(of_host(host), None, "{host:?}");
        }
    }
}
