//! Every setting, read in one place. Unset, or set to nothing, means the safe way.

use crate::secret::{Digest, Key};

/// The smallest bound of the database that leaves room to work in, MiB.
const LEAST_MIB: i64 = 1;

/// The bound of the database where the operator sets none: nobody fills the disk by asking.
pub const DEFAULT_MIB: i64 = 10 * 1024;

/// What the operator has set.
#[derive(Default)]
pub struct Settings {
    /// Digest of the operator secret; unset: bootstrap and tenants do not answer.
    pub operator_secret: Option<Digest>,
    /// Where people and agents reach this server, without a slash at the end.
    pub public_url: Option<PublicUrl>,
    /// Bound of the database's size, MiB; unset: [`DEFAULT_MIB`]. `None` stands for no bound, which only tests have.
    pub database_max_mib: Option<i64>,
    /// Addresses of proxies whose `X-Forwarded-For` counts; none by default.
    pub trusted_proxies: Vec<std::net::IpAddr>,
    /// Keys of the audit trail's seals: the first one seals, all of them verify. None: nothing is sealed.
    pub audit_keys: Vec<Key>,
    /// Passwords that the server checks in one second at most.
    pub hashes_per_second: Option<i64>,
}

/// The public address, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicUrl {
    /// Scheme, host and port, as a browser sends it in `Origin`.
    pub origin: String,
    /// The path, without a slash at the end; it comes before every link.
    pub path: String,
    /// Whether it is `https`.
    pub is_secure: bool,
}

impl PublicUrl {
    /// Reads `http(s)://host[:port][/path]`; anything else is `None`.
    pub fn parse(text: &str) -> Option<Self> {
        let (scheme, rest) = text.split_once("://")?;
        let is_secure = match scheme {
            "https" => true,
            "http" => false,
            _ => return None,
        };
        let (host, path) = rest.split_once('/').map_or((rest, ""), |(host, path)| (host, path));
        let host_is_plain = !host.is_empty()
            && host.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b':' | b'[' | b']'));
        let path_is_plain =
            path.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b'/' | b'~'));
        if !host_is_plain || !path_is_plain {
            return None;
        }
        let path = path.trim_end_matches('/');
        let path = if path.is_empty() { String::new() } else { format!("/{path}") };
        Some(Self { origin: format!("{scheme}://{}", host.to_ascii_lowercase()), path, is_secure })
    }
}

impl Settings {
    /// Reads the settings through `get`, which answers `None` for a variable that the component was not given.
    /// `Err` names the variable whose value cannot be used: better not to serve than to serve unsafely.
    pub fn read(get: impl Fn(&str) -> Option<String>) -> Result<Self, &'static str> {
        let get = |name| get(name).map(|value: String| value.trim().to_owned()).filter(|value| !value.is_empty());
        let number = |name: &'static str, least: i64| match get(name) {
            None => Ok(None),
            Some(text) => text.parse().ok().filter(|number| *number >= least).map(Some).ok_or(name),
        };
        let proxies = get("trusted_proxies").unwrap_or_default();
        Ok(Self {
            operator_secret: get("operator_secret").map(|secret| Digest::of(secret.as_bytes())),
            public_url: match get("public_url") {
                None => None,
                Some(text) => Some(PublicUrl::parse(&text).ok_or("public_url")?),
            },
            database_max_mib: number("database_max_mib", LEAST_MIB)?.or(Some(DEFAULT_MIB)),
            trusted_proxies: proxies
                .split([',', ' '])
                .filter(|part| !part.is_empty())
                .map(|part| part.parse().map_err(|_| "trusted_proxies"))
                .collect::<Result<_, _>>()?,
            audit_keys: get("audit_key")
                .unwrap_or_default()
                .split([',', ' '])
                .filter(|part| !part.is_empty())
                .map(|part| Key::derive(part.as_bytes(), "accredit audit seal 1", &[]))
                .collect(),
            hashes_per_second: number("hashes_per_second", 1)?,
        })
    }

    /// What comes before the path of every link.
    pub fn link(&self) -> &str {
        self.public_url.as_ref().map_or("", |url| url.path.as_str())
    }
}

/// The variables that [`Settings::read`] asks for, so that a test can hold the manifest against them.
pub const NAMES: &[&str] =
    &["operator_secret", "audit_key", "public_url", "database_max_mib", "trusted_proxies", "hashes_per_second"];

#[cfg(test)]
mod tests {
    use super::*;

    /// R73: one place reads each setting, and unset means the safe way.
    #[test]
    fn unset_and_empty_are_the_same_and_safe() {
        for nothing in [None, Some(String::new()), Some("  ".to_owned())] {
            let settings = Settings::read(|_| nothing.clone()).unwrap();
            assert!(settings.operator_secret.is_none() && settings.public_url.is_none());
            assert!(settings.audit_keys.is_empty());
            assert!(settings.trusted_proxies.is_empty() && settings.database_max_mib == Some(DEFAULT_MIB));
        }
    }

    #[test]
    fn a_value_that_cannot_be_used_is_named() {
        for (name, value) in [
            ("public_url", "example.com"),
            ("public_url", "javascript://x"),
            ("public_url", "https://a b"),
            ("public_url", "https://x/\"y"),
            ("database_max_mib", "0"),
            ("database_max_mib", "many"),
            ("trusted_proxies", "10.0.0.1, proxy"),
        ] {
            let read = Settings::read(|asked| (asked == name).then(|| value.to_owned()));
            assert_eq!(read.err(), Some(name), "{value}");
        }
    }

    #[test]
    fn a_public_url_has_an_origin_and_a_path() {
        let url = PublicUrl::parse("https://Acme.example:8443/team/accredit/").unwrap();
        assert_eq!((url.origin.as_str(), url.path.as_str()), ("https://acme.example:8443", "/team/accredit"));
        assert!(url.is_secure);
        assert_eq!(PublicUrl::parse("http://[::1]:3000").unwrap().path, "");
    }
}
