//! What the operator says.

use common::{secret::Secret, url::Url};
use serde_json::json;

use crate::rules::{Rules, is_scope};

/// The lease if none is said, seconds.
const LEASE: u64 = 10;
/// The skew of clocks that is allowed if none is said, seconds.
const SKEW: i64 = 30;
/// What the names of the headers begin with that tell the service of the caller.
pub(crate) const TOLD: &str = "x-accredit-";
/// The names of all settings.
pub const NAMES: [&str; 12] = [
    "accredit",
    "ask",
    "resource",
    "scope",
    "tenant",
    "token",
    "lease",
    "skew",
    "rules",
    "secret_header",
    "secret",
    "preflight",
];

/// The operator's settings.
#[derive(Debug)]
pub struct Settings {
    /// The address of Accredit, without a slash at the end: the issuer of its tokens.
    pub accredit: String,
    /// Where it is asked.
    pub place: Place,
    /// The identifier of the protected service.
    pub resource: String,
    /// The scopes that a caller needs where no rule fits.
    pub scope: Vec<String>,
    /// The slug of the tenant whose credentials count.
    pub tenant: String,
    /// The guard's own credential. Without one it remembers nothing, and takes no signed token.
    pub token: Option<Token>,
    /// For how long it goes on by what it has heard, seconds.
    pub lease: u64,
    /// By how much clocks may differ, seconds.
    pub skew: i64,
    /// Which scopes a request needs.
    pub rules: Rules,
    /// A secret that the service gets.
    pub added: Option<Added>,
    /// Whether a browser's question before a request of another origin, which never has a credential, goes to the service (Fetch Standard,
    /// section 3.3).
    pub preflight: bool,
}

/// Where Accredit is asked.
#[derive(Debug, PartialEq, Eq)]
pub enum Place {
    /// At a URL without a slash at the end.
    Url(String),
    /// In the components of the same application.
    Chained,
}

/// A credential of Accredit, which is never shown.
pub struct Token(Secret);

impl Token {
    /// The header that presents it.
    pub fn bearer(&self) -> String {
        format!("Bearer {}", self.0.reveal())
    }
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token")
    }
}

/// A secret that the guard adds to requests of the service, in a header.
pub struct Added {
    /// The header, in lower case.
    pub name: String,
    value: String,
}

impl Added {
    /// The secret, for the one request that carries it.
    pub fn reveal(&self) -> &str {
        &self.value
    }
}

impl std::fmt::Debug for Added {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Added to {}", self.name)
    }
}

/// The name of a setting that cannot be used, and why.
#[derive(Debug, PartialEq, Eq)]
pub struct Wrong {
    /// The setting.
    pub name: &'static str,
    /// In a few words. It never repeats a value.
    pub why: String,
}

impl Wrong {
    /// A setting with a reason.
    pub fn new(name: &'static str, why: impl Into<String>) -> Self {
        Self { name, why: why.into() }
    }
}

impl std::fmt::Display for Wrong {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the setting {} {}", self.name, self.why)
    }
}

impl std::error::Error for Wrong {}

impl Settings {
    /// Reads the settings. The first five must be there, but for `ask`: a setting that was forgotten must not open the service.
    pub fn read(get: impl Fn(&'static str) -> Option<String>) -> Result<Self, Wrong> {
        let find = |name: &'static str| {
            get(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty() && value != "-")
        };
        let given = |name: &'static str| {
            let value = get(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty());
            value.ok_or_else(|| Wrong::new(name, "is missing"))
        };
        let accredit = address("accredit", &given("accredit")?)?;
        let place = match find("ask").as_deref() {
            None => Place::Url(accredit.clone()),
            Some("chained") => Place::Chained,
            Some(url) => Place::Url(address("ask", url)?),
        };
        let resource = given("resource")?;
        if Url::parse(&resource).and_then(|url| url.metadata()).is_none() {
            return Err(Wrong::new("resource", "is no URL of a service"));
        }
        let scope = match given("scope")?.as_str() {
            "-" => Vec::new(),
            scope => scope.split_ascii_whitespace().map(str::to_owned).collect(),
        };
        if !scope.iter().all(|name| is_scope(name)) {
            return Err(Wrong::new("scope", "has a name that cannot be a scope"));
        }
        let token = match find("token") {
            None => None,
            Some(text) => {
                let secret = Secret::parse(&text).ok_or_else(|| Wrong::new("token", "is no credential of Accredit"))?;
                Some(Token(secret))
            }
        };
        let lease = number("lease", find("lease"), 1..=60)?.unwrap_or(LEASE);
        let skew = number("skew", find("skew"), 0..=60)?.map_or(SKEW, |skew| i64::try_from(skew).unwrap_or(SKEW));
        let rules = Rules::parse(&find("rules").unwrap_or_default())
            .map_err(|wrong| Wrong::new("rules", format!("is wrong in rule {}, which {}", wrong.number, wrong.why)))?;
        let added = added(find("secret_header"), find("secret"))?;
        let preflight = match find("preflight").as_deref() {
            None => false,
            Some("pass") => true,
            Some(_) => return Err(Wrong::new("preflight", "is neither pass nor empty")),
        };
        let tenant = given("tenant")?;
        Ok(Self { accredit, place, resource, scope, tenant, token, lease, skew, rules, added, preflight })
    }

    /// The address of the service's metadata.
    pub fn metadata_url(&self) -> String {
        Url::parse(&self.resource).and_then(|url| url.metadata()).unwrap_or_default()
    }

    /// The address of a request for this path: at the origin of the service.
    pub(crate) fn url(&self, path: &str) -> String {
        let url = Url::parse(&self.resource);
        let scheme = if url.is_none_or(|url| url.is_secure) { "https" } else { "http" };
        format!("{scheme}://{}{path}", url.map(|url| url.authority()).unwrap_or_default())
    }

    /// The metadata of the service, if that is what path and query ask for (RFC 9728). A query that the identifier does not have changes
    /// nothing.
    pub fn metadata(&self, path: &str) -> Option<String> {
        let at = self.metadata_url();
        let own = Url::parse(&at)?.path;
        let is_asked = path == own || path.split('?').next() == Some(own);
        is_asked.then(|| {
            let mut scopes: Vec<&str> = self.scope.iter().map(String::as_str).chain(self.rules.scopes()).collect();
            let mut known = std::collections::BTreeSet::new();
            scopes.retain(|name| known.insert(*name));
            json!({
                "resource": self.resource,
                "authorization_servers": [self.accredit],
                "bearer_methods_supported": ["header"],
                "dpop_signing_alg_values_supported": common::proof::ALGORITHMS,
                "scopes_supported": scopes,
            })
            .to_string()
        })
    }
}

fn address(name: &'static str, text: &str) -> Result<String, Wrong> {
    let text = text.trim_end_matches('/');
    let is_good = Url::parse(text).is_some_and(|url| url.fragment.is_none() && !url.path.contains('?'));
    if is_good { Ok(text.to_owned()) } else { Err(Wrong::new(name, "is no address of a server")) }
}

fn number(
    name: &'static str,
    text: Option<String>,
    range: std::ops::RangeInclusive<u64>,
) -> Result<Option<u64>, Wrong> {
    let Some(text) = text else { return Ok(None) };
    let number = text.parse().ok().filter(|number| range.contains(number));
    let why = || format!("is no number from {} to {}", range.start(), range.end());
    number.map(Some).ok_or_else(|| Wrong::new(name, why()))
}

fn added(name: Option<String>, value: Option<String>) -> Result<Option<Added>, Wrong> {
    let (name, value) = match (name, value) {
        (None, None) => return Ok(None),
        (None, Some(_)) => return Err(Wrong::new("secret_header", "is missing, and secret is there")),
        (Some(_), None) => return Err(Wrong::new("secret", "is missing, and secret_header is there")),
        (Some(name), Some(value)) => (name.to_ascii_lowercase(), value),
    };
    let is_token = |name: &str| name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    const TAKEN: [&str; 7] =
        ["host", "connection", "content-length", "transfer-encoding", "upgrade", "x-forwarded-for", "te"];
    if !is_token(&name) || TAKEN.contains(&name.as_str()) || name.starts_with(TOLD) {
        return Err(Wrong::new("secret_header", "is no name of a header that can carry a secret"));
    }
    // A shorter one could stand in any header of an answer by chance.
    let is_value = value.len() >= 8 && value.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic());
    if !is_value {
        return Err(Wrong::new("secret", "is not 8 or more visible ASCII characters"));
    }
    Ok(Some(Added { name, value }))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A credential of the guard.
    pub(crate) static TOKEN: std::sync::LazyLock<String> = std::sync::LazyLock::new(|| {
        use common::secret::{Chance, Kind};
        Secret::generate(Kind::Pat, &Chance::seeded(1)).reveal().to_owned()
    });

    /// Usual settings with changes.
    pub(crate) fn settings(changed: &[(&'static str, &str)]) -> Result<Settings, Wrong> {
        let usual = [
            ("accredit", "https://accredit.example.com/base/"),
            ("resource", "https://crm.example.com/v1"),
            ("scope", "x.crm.read x.crm.write"),
            ("tenant", "main"),
            ("token", TOKEN.as_str()),
        ];
        let find = |all: &[(&'static str, &str)], name| {
            all.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
        };
        Settings::read(|name| find(changed, name).or_else(|| find(&usual, name)))
    }

    fn wrong(changed: &[(&'static str, &str)]) -> Option<&'static str> {
        settings(changed).err().map(|wrong| wrong.name)
    }

    /// R143, R178: a setting that was forgotten opens nothing, and one that is wrong is refused.
    #[test]
    fn every_setting_must_be_there_and_be_whole() {
        assert_eq!(wrong(&[]), None);
        for name in ["accredit", "resource", "scope", "tenant"] {
            for value in ["", "  "] {
                assert_eq!(wrong(&[(name, value)]), Some(name));
            }
        }
        for (name, value) in [
            ("accredit", "accredit.example.com"),
            ("accredit", "https://a/?x"),
            ("ask", "somewhere"),
            ("resource", "crm"),
            ("resource", "https://a#b"),
            ("scope", "x.*"),
            ("scope", "- x.crm.read"),
            ("token", "secret"),
            ("token", "acr_pat_short"),
            ("lease", "0"),
            ("lease", "61"),
            ("lease", "10s"),
            ("skew", "-1"),
            ("skew", "61"),
            ("rules", "GET /a"),
            ("secret", "a-long-secret"),
            ("secret_header", "x-api-key"),
        ] {
            assert_eq!(
                wrong(&[(name, value)]).map(|name| name.split('_').next().unwrap()),
                name.split('_').next(),
                "{name}: {value}"
            );
        }
        for (header, value) in [
            ("host", "12345678"),
            ("x-accredit-agent", "12345678"),
            ("a b", "12345678"),
            ("x_key", "12345678"),
            ("x-key", "1234567"),
            ("x-key", "1234567\n8"),
            ("content-length", "12345678"),
        ] {
            assert!(wrong(&[("secret_header", header), ("secret", value)]).is_some(), "{header}: {value}");
        }
        assert!(settings(&[("scope", "-")]).unwrap().scope.is_empty());
        assert_eq!(settings(&[("ask", "chained")]).unwrap().place, Place::Chained);
    }

    /// R180: no secret is in what is printed.
    #[test]
    fn secrets_are_not_shown() {
        let settings = settings(&[("secret_header", "X-Api-Key"), ("secret", "a-long-secret")]).unwrap();
        let shown = format!("{settings:?}");
        assert!(!shown.contains("a-long-secret") && !shown.contains(TOKEN.as_str()), "{shown}");
        let wrong = super::tests::settings(&[("token", "acr_pat_leaked")]).unwrap_err();
        assert!(!wrong.to_string().contains("leaked"), "{wrong}");
        assert_eq!(settings.added.unwrap().name, "x-api-key");
    }

    #[test]
    fn the_metadata_are_at_their_path_alone() {
        let settings = settings(&[("rules", "GET /a = x.crm.read; GET /b = x.b")]).unwrap();
        let told = settings.metadata("/.well-known/oauth-protected-resource/v1").unwrap();
        assert!(told.contains("\"authorization_servers\":[\"https://accredit.example.com/base\"]"), "{told}");
        assert!(told.contains("\"scopes_supported\":[\"x.crm.read\",\"x.crm.write\",\"x.b\"]"), "{told}");
        assert_eq!(settings.metadata("/.well-known/oauth-protected-resource/v1?x=1"), Some(told));
        for path in ["/", "/.well-known/oauth-protected-resource", "/v1/.well-known/oauth-protected-resource"] {
            assert_eq!(settings.metadata(path), None, "{path}");
        }
    }

    /// The challenge of a refusal names the place with the query.
    #[test]
    fn the_metadata_of_a_service_with_a_query_are_at_their_place() {
        let settings = settings(&[("resource", "https://crm.example.com/v1?tenant=1")]).unwrap();
        assert!(settings.metadata("/.well-known/oauth-protected-resource/v1?tenant=1").is_some());
        for path in ["/.well-known/oauth-protected-resource/v1", "/.well-known/oauth-protected-resource/v1?tenant=2"] {
            assert_eq!(settings.metadata(path), None, "{path}");
        }
    }
}
