//! The URLs that this server itself calls for its callers, for webhooks and probes: one function decides, at every use.
//!
//! A guest cannot check an address and connect to what it checked, since the host resolves names. So this checks what can be seen: scheme,
//! form, and the operator's list of hosts. The host refuses private addresses after it has resolved the name, and follows no redirect.

use super::Url;
use crate::error::{ApiError, Code};

/// The port of https.
const HTTPS: u16 = 443;

/// The hosts that the operator lets this server call. None by default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OutboundHosts(Vec<Entry>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    host: Host,
    /// `None`: any.
    port: Option<u16>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Host {
    /// Every public name.
    Public,
    /// Every public name below a domain; with its leading dot.
    Below(String),
    /// Exactly this name or address, which may be private: the operator has named it.
    Exact(String),
}

impl OutboundHosts {
    /// Reads the variable: entries with commas or blanks between them. An entry is `name`, `*.domain` or `*`, a literal address too
    /// (IPv6 in brackets), with `:port` or `:*` behind it where the port is not 443. `None`: an entry is none, or names what is inside of
    /// this application.
    pub fn parse(text: &str) -> Option<Self> {
        let entries = text.split([',', ' ', '\n', '\t']).filter(|part| !part.is_empty());
        entries.map(|part| Entry::parse(&part.to_ascii_lowercase())).collect::<Option<_>>().map(Self)
    }

    /// Whether the operator has allowed the host and port of this URL.
    pub fn allow(&self, url: &Url<'_>) -> bool {
        let host = url.host.to_ascii_lowercase();
        let port = url.port.unwrap_or(HTTPS);
        let is_covered = |entry: &Entry| match &entry.host {
            Host::Exact(name) => *name == host,
            Host::Below(domain) => host.ends_with(domain.as_str()) && url.has_public_host(),
            Host::Public => url.has_public_host(),
        };
        !is_inside(&host) && self.0.iter().any(|entry| entry.port.is_none_or(|only| only == port) && is_covered(entry))
    }
}

impl Entry {
    fn parse(entry: &str) -> Option<Self> {
        let (host, port) = match entry.rsplit_once(':') {
            Some((host, port)) if !port.contains(']') => (host, port),
            _ => (entry, ""),
        };
        let port = match port {
            "" if host.len() < entry.len() => return None, // a colon without a port
            "" => Some(HTTPS),
            "*" => None,
            number => Some(super::port_number(number)?),
        };
        let host = match (host, host.strip_prefix("*.")) {
            ("*", _) => Host::Public,
            (_, Some(domain)) if super::is_host(domain) => Host::Below(format!(".{domain}")),
            _ if super::is_host(host) && !is_inside(host) => Host::Exact(host.to_owned()),
            _ => return None,
        };
        Some(Self { host, port })
    }
}

/// Whether a host is this application itself, or one of its components: hosts answer these names without asking the network.
fn is_inside(host: &str) -> bool {
    host == "self.alt" || host == "self" || host == "spin.internal" || host.ends_with(".spin.internal")
}

/// Checks that this server may call a URL that a caller sent in `field`: whole, https, without a user part and a fragment, and of a host
/// that the operator allows. 400 `invalid_outbound_url`, 403 `host_not_allowed`. Check it where it is stored, and again at every call: the
/// operator may have changed the list.
pub fn check_outbound<'a>(field: &'static str, text: &'a str, allowed: &OutboundHosts) -> Result<Url<'a>, ApiError> {
    let is_good = |url: &Url<'_>| url.is_secure && url.fragment.is_none();
    let invalid = || Code::InvalidOutboundUrl.with("field", field).extra("field", field);
    let url = Url::parse(text).filter(is_good).ok_or_else(invalid)?;
    if allowed.allow(&url) {
        return Ok(url);
    }
    Err(Code::HostNotAllowed.with("host", url.authority()).extra("field", field))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decide(list: &str, text: &str) -> Result<(), Code> {
        let allowed = OutboundHosts::parse(list).unwrap();
        check_outbound("url", text, &allowed).map(|_| ()).map_err(|refusal| refusal.code())
    }

    /// R49: without a list nothing is called; a list names exactly what it names.
    #[test]
    fn only_hosts_on_the_operators_list_are_called() {
        let list = "api.github.com, *.example.com git.corp:8443\n10.0.0.7:* [fd00::7]:8443 Hooks.Example.org:*";
        for good in [
            "https://api.github.com/user",
            "https://API.GitHub.com",
            "https://api.github.com:443/",
            "https://a.example.com/x?y=z",
            "https://a.b.example.com",
            "https://git.corp:8443/api/v1/user",
            "https://10.0.0.7",
            "https://10.0.0.7:9/",
            "https://[fd00::7]:8443/",
            "https://hooks.example.org:9443/",
        ] {
            assert_eq!(decide(list, good), Ok(()), "{good}");
            assert_eq!(decide("", good), Err(Code::HostNotAllowed), "{good}");
        }
        for bad in [
            "https://github.com",
            "https://api.github.com:8443",
            "https://api.github.com.evil.example",
            "https://xapi.github.com",
            "https://example.com",
            "https://badexample.com",
            "https://git.corp",
            "https://10.0.0.70",
            "https://[fd00::8]:8443/",
            "https://xn--pi-gmc.github.com",
        ] {
            assert_eq!(decide(list, bad), Err(Code::HostNotAllowed), "{bad}");
        }
    }

    /// R49: a wildcard is for public names only: no literal address in any form, no private name, nothing inside of the application. A host
    /// checks what a name resolves to.
    #[test]
    fn a_wildcard_covers_public_names_only() {
        for list in ["*:*", "*.com:* *.internal:* *.1:* *.alt:* *.localhost:* *.io:* *.arpa:*"] {
            for inside in [
                "https://localhost",
                "https://a.localhost",
                "https://127.0.0.1",
                "https://127.1",
                "https://2130706433",
                "https://0x7f000001",
                "https://0x7f.0.0.1",
                "https://0177.0.0.1",
                "https://0.0.0.0",
                "https://[::]",
                "https://[::1]",
                "https://[::ffff:127.0.0.1]",
                "https://[::ffff:7f00:1]",
                "https://[64:ff9b::7f00:1]",
                "https://[2002:7f00:1::]",
                "https://169.254.169.254/latest/meta-data/",
                "https://[fd00:ec2::254]",
                "https://metadata.google.internal",
                "https://auth.spin.internal",
                "https://spin.internal",
                "https://self.alt/internal/tick",
                "https://AUTH.Spin.Internal/",
                "https://router.lan",
                "https://intranet",
                "https://1.0.0.127.in-addr.arpa",
            ] {
                assert_eq!(decide(list, inside), Err(Code::HostNotAllowed), "{list}: {inside}");
            }
            assert_eq!(decide(list, "https://a.example.com"), Ok(()), "{list}");
        }
    }

    /// R49: what two readers of a URL could read in two ways is no URL here.
    #[test]
    fn an_ambiguous_url_is_refused_whatever_the_list_says() {
        for bad in [
            "http://a.example.com",
            "//a.example.com",
            "a.example.com",
            "ftp://a.example.com",
            "https://",
            "https:///a.example.com",
            "https://user@a.example.com",
            "https://user:word@a.example.com",
            "https://a.example.com@evil.example",
            "https://a.example.com:80@evil.example",
            "https://a.example.com\\@evil.example",
            "https://a.example.com#@evil.example",
            "https://a.example.com#",
            "https://a.example.com./",
            "https://a.example.com.:443/",
            "https://a..example.com",
            "https://.example.com",
            "https://127.0.0.1.",
            "https://[::1%25eth0]",
            "https://[::1",
            "https://::1",
            "https://a.example.com%2eevil.example",
            "https://a.example.com%00",
            "https://a.example.com\n",
            " https://a.example.com",
            "https://a.example.com /",
            "https://\u{ff41}.example.com",
            "https://\u{2488}27.0.0.1",
            "https://\u{24d0}.example.com",
            "https://a\u{3002}example.com",
            "https://a.ex\u{ad}ample.com",
            "https://a.example.com:0",
            "https://a.example.com:65536",
            "https://a.example.com:",
            "https://a.example.com:+1",
        ] {
            assert_eq!(decide("*:* a.example.com:*", bad), Err(Code::InvalidOutboundUrl), "{bad:?}");
        }
    }

    /// R73: a list that cannot be read is named at the start, and is never taken for less or more than it says.
    #[test]
    fn a_list_that_is_none_is_refused() {
        for bad in [
            "https://a.example",
            "a.example/path",
            "user@a.example",
            "a.*.example",
            "*a.example",
            "**",
            "*.",
            "*.*",
            "a.example:",
            "a.example:0",
            "a.example:x",
            "[::1",
            "a..b",
            "auth.spin.internal",
            "self.alt",
            "b\u{fc}cher.example",
        ] {
            assert_eq!(OutboundHosts::parse(bad), None, "{bad}");
        }
        assert_eq!(OutboundHosts::parse(" , "), Some(OutboundHosts::default()));
    }
}
