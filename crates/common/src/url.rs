//! URLs that callers and operators send, by one set of rules: absolute, of http or https, without a user part.

mod outbound;

pub use outbound::{OutboundHosts, check_outbound};

/// A URL, taken apart. It has no user name and no password: what stands before an `@` looks like the host that a reader trusts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Url<'a> {
    /// Whether its scheme is https.
    pub is_secure: bool,
    /// The host: a name, an IPv4 address, or an IPv6 address in brackets.
    pub host: &'a str,
    /// The port, if it names one.
    pub port: Option<u16>,
    /// Path and query: empty, or from the first `/` or `?` on.
    pub path: &'a str,
    /// What follows the `#`, if there is one.
    pub fragment: Option<&'a str>,
}

impl<'a> Url<'a> {
    /// Reads a URL of at most 2000 characters as RFC 3986 has them. `None`: it is none, is relative, or has another scheme or a user part.
    pub fn parse(text: &'a str) -> Option<Self> {
        let (is_secure, rest) = match text.strip_prefix("https://") {
            Some(rest) => (true, rest),
            None => (false, text.strip_prefix("http://")?),
        };
        let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        let (path, fragment) = path.split_once('#').map_or((path, None), |(path, rest)| (path, Some(rest)));
        let (host, port) = match authority.strip_prefix('[').and_then(|inner| inner.split_once(']')) {
            Some((inner, after)) => {
                let host = authority.get(..inner.len() + 2)?;
                (host, if after.is_empty() { None } else { Some(after.strip_prefix(':')?) })
            }
            None => authority.split_once(':').map_or((authority, None), |(host, port)| (host, Some(port))),
        };
        let port = match port {
            Some(port) => Some(port_number(port)?),
            None => None,
        };
        let is_whole = text.len() <= 2_000 && is_host(host) && is_plain(path) && fragment.is_none_or(is_plain);
        is_whole.then_some(Self { is_secure, host, port, path, fragment })
    }

    /// Where the metadata of the service with this identifier are: between its host and its path (RFC 9728, section 3.1). `None`: it has
    /// a fragment, which no identifier has.
    pub fn metadata(&self) -> Option<String> {
        if self.fragment.is_some() {
            return None;
        }
        let scheme = if self.is_secure { "https" } else { "http" };
        let path = if self.path == "/" { "" } else { self.path };
        Some(format!("{scheme}://{}/.well-known/oauth-protected-resource{path}", self.authority()))
    }

    /// The host, with the port if it names one.
    pub fn authority(&self) -> String {
        self.port.map_or_else(|| self.host.to_owned(), |port| format!("{}:{port}", self.host))
    }

    /// Whether its host looks public: a name with a dot, no literal address, no name of a private network. The caller checks what
    /// the name resolves to when the connection is made.
    pub fn has_public_host(&self) -> bool {
        let last = self.host.rsplit('.').next().unwrap_or_default().to_ascii_lowercase();
        // A last label that begins with a digit makes the whole an address, in decimal, octal or hexadecimal.
        let is_address = self.host.starts_with('[') || last.starts_with(|c: char| c.is_ascii_digit());
        let private =
            ["localhost", "local", "internal", "lan", "home", "corp", "intranet", "test", "invalid", "arpa", "alt"];
        self.host.contains('.') && !is_address && !private.contains(&last.as_str())
    }
}

/// The normal form of a URL, by which two spellings of one are told (RFC 3986, section 6.2): scheme and host in small letters, without the
/// usual port, and without a path that is `/` alone, as programs write it that read URLs. `None`: it is no URL, or has a fragment.
pub fn normal(text: &str) -> Option<String> {
    let (scheme, rest) = text.split_once("://")?;
    let text = format!("{}://{rest}", scheme.to_ascii_lowercase());
    let url = Url::parse(&text).filter(|url| url.fragment.is_none())?;
    let (scheme, usual) = if url.is_secure { ("https", 443) } else { ("http", 80) };
    let host = url.host.to_ascii_lowercase();
    let port = url.port.filter(|port| *port != usual).map(|port| format!(":{port}")).unwrap_or_default();
    let bare = url.path.strip_prefix('/').filter(|rest| rest.is_empty() || rest.starts_with('?'));
    Some(format!("{scheme}://{host}{port}{}", bare.unwrap_or(url.path)))
}

/// Whether two texts are spellings of one URL, or the same.
pub fn is_same(one: &str, other: &str) -> bool {
    one == other || normal(one).is_some_and(|one| normal(other) == Some(one))
}

/// A text and, of a URL, its other spellings with a host in small letters.
pub fn spellings(text: &str) -> Vec<String> {
    let mut all = vec![text.to_owned()];
    let normal = normal(text).unwrap_or_default();
    let Some(url) = Url::parse(&normal) else { return all };
    let (origin, path) = normal.split_at(normal.len() - url.path.len());
    let usual = if url.is_secure { ":443" } else { ":80" };
    for port in ["", usual].into_iter().take(if url.port.is_none() { 2 } else { 1 }) {
        for slash in ["", "/"].into_iter().take(if path.starts_with('/') { 1 } else { 2 }) {
            all.push(format!("{origin}{port}{slash}{path}"));
        }
    }
    all
}

/// Whether a text is a name of labels with dots between them, an IPv4 address, or an IPv6 address in brackets.
fn is_host(text: &str) -> bool {
    if let Some(inner) = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return inner.parse::<std::net::Ipv6Addr>().is_ok();
    }
    text.len() <= 253 && text.split('.').all(is_label)
}

fn port_number(text: &str) -> Option<u16> {
    let number = text.parse().ok().filter(|number| *number > 0)?;
    text.bytes().all(|b| b.is_ascii_digit()).then_some(number)
}

/// Whether a text can be a part of a host's name.
pub fn is_label(text: &str) -> bool {
    (1..=63).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
        && !text.starts_with('-')
        && !text.ends_with('-')
}

/// Whether a path has segments that a browser takes away, with what stands before them: `.` and `..`, also where the dots are encoded.
fn has_dot_segments(path: &str) -> bool {
    path.to_ascii_lowercase().replace("%2e", ".").split('/').any(|segment| matches!(segment, "." | ".."))
}

/// Whether another reader of a path may find other segments in it: by dot segments, or by slashes that are encoded.
pub fn is_ambiguous_path(path: &str) -> bool {
    let lower = path.to_ascii_lowercase();
    has_dot_segments(path) || lower.contains("%2f") || lower.contains("%5c")
}

/// Whether a text is of the characters that may stand behind a host. Every `%` is followed by two hexadecimal digits.
pub fn is_plain(text: &str) -> bool {
    let is_allowed = |b: u8| b.is_ascii_alphanumeric() || b"-._~:/?@!$&'()*+,;=%[]".contains(&b);
    let is_escape =
        |rest: &str| rest.as_bytes().first_chunk::<2>().is_some_and(|pair| pair.iter().all(u8::is_ascii_hexdigit));
    text.bytes().all(is_allowed) && text.split('%').skip(1).all(is_escape)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_public(text: &str) -> bool {
        Url::parse(text).is_some_and(|url| url.is_secure && url.fragment.is_none() && url.has_public_host())
    }

    /// R143
    #[test]
    fn the_metadata_of_a_service_are_between_its_host_and_its_path() {
        let metadata = |text: &str| Url::parse(text).and_then(|url| url.metadata());
        for (resource, at) in [
            ("https://crm.example.com", "https://crm.example.com/.well-known/oauth-protected-resource"),
            ("https://crm.example.com/", "https://crm.example.com/.well-known/oauth-protected-resource"),
            ("http://127.0.0.1:8080/a/b?c=d", "http://127.0.0.1:8080/.well-known/oauth-protected-resource/a/b?c=d"),
        ] {
            assert_eq!(metadata(resource).as_deref(), Some(at));
        }
        for resource in [
            "",
            "crm",
            "ftp://a",
            "https://",
            "https://a b",
            "https://a\"",
            "https://a/\"",
            "https://a#b",
            "https://u@a",
            "https://\u{e9}",
        ] {
            assert_eq!(metadata(resource), None, "{resource}");
        }
    }

    /// R744
    #[test]
    fn a_url_is_the_same_in_each_spelling() {
        for (text, expected) in [
            ("https://crm.example.com", Some("https://crm.example.com")),
            ("https://crm.example.com/", Some("https://crm.example.com")),
            ("HTTPS://CRM.Example.com:443/", Some("https://crm.example.com")),
            ("https://crm.example.com/?a=B", Some("https://crm.example.com?a=B")),
            ("https://API.Example.com/Mcp/", Some("https://api.example.com/Mcp/")),
            ("http://127.0.0.1:80/a", Some("http://127.0.0.1/a")),
            ("http://127.0.0.1:443/", Some("http://127.0.0.1:443")),
            ("https://[2001:DB8::1]:8443//", Some("https://[2001:db8::1]:8443//")),
            ("https://a/#", None),
            ("https://u@a/", None),
            ("urn:a", None),
            ("", None),
        ] {
            assert_eq!(normal(text).as_deref(), expected, "{text}");
            assert!(spellings(text).iter().all(|other| is_same(other, text)), "{text}");
        }
        let mut all = spellings("https://A/");
        all.sort_unstable();
        assert_eq!(all, ["https://A/", "https://a", "https://a/", "https://a:443", "https://a:443/"]);
        assert_eq!(spellings("http://a:81/b"), ["http://a:81/b"; 2]);
        assert!(!is_same("https://a/b", "https://a/b/") && !is_same("https://a/b", "https://a/B") && is_same("x", "x"));
    }

    /// R49, of the part that can be seen: no literal address in any form, no user, no private name. R85: no fragment.
    #[test]
    fn an_agents_url_is_of_a_public_name() {
        for good in ["https://agents.example.com", "https://a.example:8443/x?y", "https://xn--bcher-kva.example/%7e"] {
            assert!(is_public(good), "{good}");
        }
        for bad in [
            "",
            "http://a.example.com",
            "https://",
            "https://localhost",
            "https://a.localhost",
            "https://127.0.0.1",
            "https://[::1]",
            "https://[::ffff:10.0.0.1]",
            "https://2130706433",
            "https://0x7f.1",
            "https://0177.0.0.1",
            "https://127.1",
            "https://a.0x7f",
            "https://user@a.example.com",
            "https://user:word@a.example.com",
            "https://a.example.com:0",
            "https://a.example.com:99999",
            "https://a.example.com:",
            "https://a..b.com",
            "https://metadata.google.internal",
            "https://auth.spin.internal",
            "https://self.alt",
            "https://a.example.com.",
            "https://127.0.0.1.",
            "https://[::ffff:7f00:1]",
            "https://[64:ff9b::7f00:1]",
            "https://[2002:7f00:1::]",
            "https://\u{24db}ocalhost",
            "https://a\u{3002}example.com",
            "https://\u{ff11}27.0.0.1",
            "https://a.example.com/\u{202e}",
            "https://a.example.com\\@b",
            "https://-a.example.com",
            "ftp://a.example.com",
            "https://a.example.com/x?y#z",
            "https://a.example.com#",
        ] {
            assert!(!is_public(bad), "{bad}");
        }
    }

    /// R85
    #[test]
    fn a_url_is_absolute_and_has_no_user() {
        let whole = Url::parse("http://[2001:db8::1]:8080/a/b?c=%20d#e").unwrap();
        let expected =
            Url { is_secure: false, host: "[2001:db8::1]", port: Some(8080), path: "/a/b?c=%20d", fragment: Some("e") };
        assert_eq!(whole, expected);
        let least = Url { is_secure: true, host: "a", port: None, path: "", fragment: None };
        assert_eq!(Url::parse("https://a"), Some(least));
        for bad in [
            "a",
            "/a",
            "//a.example",
            "a.example",
            "https:/a.example",
            "https:a.example",
            "HTTPS://a.example",
            "javascript:alert(1)",
            "javascript://a.example/%0aalert(1)",
            "data:text/html,x",
            "file:///etc/passwd",
            "https://@a.example",
            "https://a@b.example",
            "https://a.example:80@b.example/",
            "https://a.example:x",
            "https://a.example:+1",
            "https://[::1",
            "https://[::1]x",
            "https://[x]",
            "https://[]",
            "https://?a",
            "https://#a",
            "https:///a",
            "https://a b",
            "https://a.example/ ",
            "https://a.example/a b",
            "https://a.example/%",
            "https://a.example/%2",
            "https://a.example/%zz",
            "https://a.example/\"><script>",
            "https://a.example/a\\b",
            "https://a.example/`{}|^",
            "https://a.example/\n",
            "https://b\u{fc}cher.example",
            "https://a.example/#a#b",
            &format!("https://a.example/{}", "x".repeat(2_000)),
        ] {
            assert_eq!(Url::parse(bad), None, "{bad}");
        }
    }
}
