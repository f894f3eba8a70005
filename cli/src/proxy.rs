//! Through which proxy a server is asked: the one that the environment names for it, as curl reads it.

use std::{ffi::OsString, net::IpAddr};

use ipnet::IpNet;
use ureq::{Proxy, ProxyProtocol};

use crate::{config::Url, fail::Failure};

/// A proxy, and the variable that names it.
#[derive(Clone)]
pub(crate) struct Through {
    pub(crate) proxy: Proxy,
    pub(crate) variable: &'static str,
}

/// The proxy for a server. `None`: there is none, or the server is exempt. One that this program cannot use is never passed over: what
/// should go through it would leave by another way.
pub(crate) fn of(url: &Url, environment: impl Fn(&str) -> Option<OsString>) -> Result<Option<Through>, Failure> {
    let set = |name: &str| environment(name).filter(|value| !value.to_string_lossy().trim().is_empty());
    // In upper case, HTTP_PROXY is what a CGI program gets from the header Proxy of a request, so curl does not read it.
    let (name, names) = match url.is_tls() {
        true => ("https_proxy", &["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"][..]),
        false => ("http_proxy", &["http_proxy", "all_proxy", "ALL_PROXY"][..]),
    };
    let found = names.iter().find_map(|name| Some((*name, set(name)?)));
    let Some((variable, value)) = found else { return Ok(None) };
    let none = ["no_proxy", "NO_PROXY"].iter().find_map(|name| set(name)).unwrap_or_default();
    // What is sent to this machine could be read on the way.
    if url.is_loopback || is_exempt(url, &none.to_string_lossy()) {
        return Ok(None);
    }
    let (host, _) = split(url.authority());
    let unusable = |what: &str| {
        Failure::usage(format!("{variable} {what}")).fix(format!(
            "Set {name} to an HTTP proxy, such as http://proxy.example:8080. To ask the server without a proxy, add {host} to NO_PROXY."
        ))
    };
    // The value may have a password, so it is in no message.
    let text = value.to_str().map(str::trim).filter(|text| has_port_or_none(text));
    let proxy = text.and_then(|text| Proxy::new(text).ok()).filter(|proxy| !proxy.host().is_empty());
    let proxy = proxy.ok_or_else(|| unusable("holds no address of a proxy."))?;
    match proxy.protocol() {
        ProxyProtocol::Http | ProxyProtocol::Https => Ok(Some(Through { proxy, variable })),
        _ => Err(unusable("names a SOCKS proxy, which this command does not speak.")),
    }
}

/// Whether the port of a proxy's address is one. What asks would take one that it cannot read for none.
fn has_port_or_none(text: &str) -> bool {
    let (_, rest) = text.split_once("://").unwrap_or(("", text));
    let authority = rest.split('/').next().unwrap_or_default();
    let (_, port) = split(authority.rsplit('@').next().unwrap_or_default());
    port.is_none_or(|port| port.is_empty() || port.parse::<u16>().is_ok_and(|port| port > 0))
}

/// Whether a list such as `example.org, 10.0.0.0/8, [::1]:3000` names the server. A domain covers those below it.
fn is_exempt(url: &Url, list: &str) -> bool {
    let (host, port) = split(url.authority());
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    let port = port.unwrap_or(if url.is_tls() { "443" } else { "80" });
    list.split([',', ' ', '\t']).filter(|entry| !entry.is_empty()).any(|entry| {
        if entry == "*" {
            return true;
        }
        let (name, of_port) = split(entry);
        if of_port.is_some_and(|of_port| of_port != port) {
            return false;
        }
        if let Ok(address) = host.parse::<IpAddr>() {
            return covers(name, address);
        }
        let name = name.strip_prefix('*').unwrap_or(name).trim_matches('.').to_ascii_lowercase();
        host.strip_suffix(&name).is_some_and(|before| !name.is_empty() && (before.is_empty() || before.ends_with('.')))
    })
}

/// Whether an address is the one, or in the network, that is written down.
fn covers(written: &str, address: IpAddr) -> bool {
    let address = address.to_canonical();
    match written.parse::<IpNet>() {
        Ok(network) => network.contains(&address),
        Err(_) => written.parse::<IpAddr>().is_ok_and(|known| known.to_canonical() == address),
    }
}

/// A host, without brackets, and a port.
fn split(text: &str) -> (&str, Option<&str>) {
    if let Some((host, rest)) = text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        return (host, rest.strip_prefix(':'));
    }
    match text.split_once(':') {
        Some((host, port)) if !port.contains(':') => (host, Some(port)),
        _ => (text, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fail::Exit;

    fn of_variables(url: &str, set: &[(&str, &str)]) -> Result<Option<Through>, Failure> {
        of(&Url::parse(url).unwrap(), |name| {
            set.iter().find(|(known, _)| *known == name).map(|(_, value)| OsString::from(value))
        })
    }

    /// R107: a proxy never sees what is sent to this machine.
    #[test]
    fn a_proxy_is_for_other_machines() {
        for (url, is_asked) in [
            ("https://accredit.example", true),
            ("https://localhost.evil.example", true),
            ("http://127.0.0.1:3000", false),
            ("https://127.9.9.9", false),
            ("https://[::1]:3000", false),
            ("http://localhost:3000", false),
        ] {
            for proxy in ["http://ada:secret@proxy.example:8080", "https://proxy.example", "proxy.example:8080"] {
                assert_eq!(of_variables(url, &[("all_proxy", proxy)]).unwrap().is_some(), is_asked, "{url}");
            }
            for proxy in ["socks5://proxy.example", "garbage://"] {
                assert_eq!(of_variables(url, &[("all_proxy", proxy)]).is_err(), is_asked, "{url}");
            }
        }
    }

    /// R107: the proxy of the scheme comes first, and the one for all is what is left.
    #[test]
    fn the_variable_of_the_scheme_comes_first() {
        let all = ["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"].map(|name| (name, "http://proxy.example"));
        for from in 0..all.len() {
            let through = of_variables("https://a.example", &all[from..]).unwrap().unwrap();
            assert_eq!(through.variable, all[from].0);
        }
        let both = [("HTTPS_PROXY", "http://one.example:81"), ("ALL_PROXY", "socks5://two.example")];
        let through = of_variables("https://a.example", &both).unwrap().unwrap();
        assert_eq!((through.proxy.host(), through.proxy.port()), ("one.example", 81));
        for name in ["http_proxy", "HTTP_PROXY", "no_proxy"] {
            assert!(of_variables("https://a.example", &[(name, "http://proxy.example")]).unwrap().is_none(), "{name}");
        }
        assert!(of_variables("https://a.example", &[("https_proxy", ""), ("all_proxy", " ")]).unwrap().is_none());
    }

    /// R107: a proxy that cannot be used is told, without its password, and not passed over.
    #[test]
    fn a_proxy_that_cannot_be_used_is_an_error() {
        for (value, what) in [
            ("socks5://ada:hidden@proxy.example:1080", "a SOCKS proxy"),
            ("socks5h://proxy.example", "a SOCKS proxy"),
            ("socks4a://proxy.example", "a SOCKS proxy"),
            ("garbage://", "no address"),
            ("ftp://ada:hidden@proxy.example", "no address"),
            ("http://", "no address"),
            ("http://:8080", "no address"),
            ("http://ada:hidden@proxy example", "no address"),
            // R546: it would be asked at port 80.
            ("http://ada:hidden@proxy.example:99999/", "no address"),
            ("proxy.example:0", "no address"),
        ] {
            let failure = of_variables("https://a.example:8443", &[("ALL_PROXY", value)]).err().unwrap();
            assert!(
                failure.sentence.starts_with("ALL_PROXY ") && failure.sentence.contains(what),
                "{value}: {failure:?}"
            );
            let fix = failure.fix.as_deref().unwrap();
            assert!(fix.contains("https_proxy") && fix.contains("add a.example to NO_PROXY"), "{failure:?}");
            assert!(failure.exit == Exit::Usage && !format!("{failure:?}").contains("hidden"), "{failure:?}");
            for exempt in ["a.example", "example:8443", "*"] {
                let set = [("ALL_PROXY", value), ("NO_PROXY", exempt)];
                assert!(of_variables("https://a.example:8443", &set).unwrap().is_none());
            }
        }
    }

    #[test]
    fn a_list_of_exempt_hosts_goes_by_labels() {
        for (url, list, expected) in [
            ("https://a.example.org", "example.org", true),
            ("https://example.org", "example.org", true),
            ("https://A.Example.Org", "eXample.org.", true),
            ("https://a.example.org", ".example.org", true),
            ("https://example.org", ".example.org", true),
            ("https://a.example.org", "*.example.org", true),
            ("https://badexample.org", "example.org", false),
            ("https://example.org", "a.example.org", false),
            ("https://example.org", ".", false),
            ("https://example.org", "", false),
            ("https://a.example.org", "other.example, example.org", true),
            ("https://a.example.org", "other.example example.org", true),
            ("https://a.example.org/acc", "a.example.org:443", true),
            ("https://a.example.org:8443", "a.example.org:443", false),
            ("https://a.example.org:8443", "example.org:8443", true),
            ("https://a.example.org", "*", true),
            ("https://10.1.2.3", "10.1.2.3", true),
            ("https://10.1.2.3:8443", "10.1.2.3:8443", true),
            ("https://10.1.2.3", "1.2.3", false),
            ("https://10.1.2.3", "10.0.0.0/8", true),
            ("https://11.1.2.3", "10.0.0.0/8", false),
            ("https://10.1.2.3", "0.0.0.0/0", true),
            ("https://10.1.2.3", "10.0.0.0/33", false),
            ("https://10.1.2.3", "10.0.0.0/x", false),
            ("https://[2001:db8::1]", "2001:DB8:0::1", true),
            ("https://[2001:db8::1]:8443", "[2001:db8::1]:8443", true),
            ("https://[2001:db8::1]", "2001:db8::/32", true),
            ("https://[2001:db8::1]", "0.0.0.0/0", false),
        ] {
            assert_eq!(is_exempt(&Url::parse(url).unwrap(), list), expected, "{url} {list}");
        }
    }
}
