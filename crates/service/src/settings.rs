//! Every setting, read in one place. Unset, or set to nothing, means the safe way.

use std::{fmt, net::IpAddr};

use common::{
    email,
    secret::{Digest, Key},
    signing,
    text::is_unseen,
    url::{OutboundHosts, is_ambiguous_path, is_label},
    vault::Vault,
};
use ipnet::IpNet;
use store::{audit::chain, usage::Quotas};

pub mod provider;

/// The smallest bound of the database that leaves room to work in, MiB.
const LEAST_MIB: i64 = 1;

const MIB: i64 = 1024 * 1024;

/// The bound of the database where the operator sets none: no client can fill the disk with requests.
pub const DEFAULT_MIB: i64 = 10 * 1024;

/// Days that what has ended is kept, by default.
const RETENTION: i64 = 90;
/// Days that audit rows are kept at least.
const LEAST_AUDIT: i64 = 30;

/// The operator's settings.
pub struct Settings {
    /// Digest of the operator secret; unset: bootstrap, tenants and the operator's revocation do not answer.
    pub operator_secret: Option<Digest>,
    /// Where people and agents reach this server, without a slash at the end.
    pub public_url: Option<PublicUrl>,
    /// Bound of the database's size, MiB; unset: [`DEFAULT_MIB`]. `None` stands for no bound, which only tests have.
    pub database_max_mib: Option<i64>,
    /// Addresses and networks of proxies whose `X-Forwarded-For` counts; none by default.
    pub trusted_proxies: Vec<IpNet>,
    /// Keys of the audit trail's seals: the first one seals, all of them verify. None: nothing is sealed.
    pub audit_keys: Vec<Key>,
    /// Encrypts secrets that must be read again: those of agents and webhooks. Without keys none is accepted.
    pub vault: Vault,
    /// Keys from which those of signed tokens are derived: the first one signs, all of them are published. None: no token is signed.
    pub signing_keys: Vec<Key>,
    /// Where to report a vulnerability of this server: a `mailto:` or `https:` URL. Unset: `security.txt` is not served.
    pub security_contact: Option<String>,
    /// Passwords that the server checks in one second at most.
    pub hashes_per_second: Option<i64>,
    /// What one person may store; a tenant may store more ([`Quotas::of_tenant`]).
    pub quotas: Quotas,
    /// The provider that sends mail; unset: no mail is sent. Known to every component that queues mail.
    pub mail_provider: Option<Provider>,
    /// How mail is sent; known to the component that sends it.
    pub mail: Option<Mail>,
    /// The lowest number that the tier of an agent may have, which is the most trusted one; unset: 1, which is every tier.
    pub lowest_tier: LowestTier,
    /// Days that what has ended is kept; unset: 90.
    pub retention_days: i64,
    /// Days that rows of the audit trail are kept; unset: for ever.
    pub audit_retention_days: Option<i64>,
    /// The hosts that webhooks and probes may call; unset: none.
    pub outbound_hosts: OutboundHosts,
    /// The providers through which people sign in; known to the component that asks them.
    pub identity_providers: Vec<provider::IdentityProvider>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            operator_secret: None,
            public_url: None,
            database_max_mib: None,
            trusted_proxies: Vec::new(),
            audit_keys: Vec::new(),
            vault: Vault::default(),
            signing_keys: Vec::new(),
            security_contact: None,
            hashes_per_second: None,
            quotas: default_quotas(DEFAULT_MIB),
            mail_provider: None,
            mail: None,
            lowest_tier: LowestTier::default(),
            retention_days: RETENTION,
            audit_retention_days: None,
            outbound_hosts: OutboundHosts::default(),
            identity_providers: Vec::new(),
        }
    }
}

/// The quotas of a person that no honest one meets, in a database of this size: a tenth of it for what they store.
fn default_quotas(mib: i64) -> Quotas {
    let mib = (mib / 10).max(1);
    Quotas {
        agents: 10_000,
        credentials: 10_000,
        bytes: mib.saturating_mul(MIB),
        notifications: mib.saturating_mul(128).clamp(1_000, 20_000),
    }
}

/// Whether a text can stand in `security.txt`: one URL on one line.
fn is_contact(url: &str) -> bool {
    let rest = url.strip_prefix("mailto:").or_else(|| url.strip_prefix("https://"));
    rest.is_some_and(|rest| !rest.is_empty()) && url.bytes().all(|byte| byte.is_ascii_graphic())
}

/// Reads `quotas`: `name=number` for each that differs, such as `agents=500 mib=64`.
fn quotas(text: &str, database_mib: i64) -> Option<Quotas> {
    let mut quotas = default_quotas(database_mib);
    for part in text.split([' ', ',']).filter(|part| !part.is_empty()) {
        let (name, number) = part.split_once('=')?;
        let number: i64 = number.parse().ok().filter(|number| *number >= 1)?;
        match name {
            "agents" => quotas.agents = number,
            "credentials" => quotas.credentials = number,
            "mib" => quotas.bytes = number.saturating_mul(MIB),
            "notifications" => quotas.notifications = number,
            _ => return None,
        }
    }
    Some(quotas)
}

/// The lowest tiers of agents: of all tenants, and of those that are named.
#[derive(Debug, PartialEq, Eq)]
pub struct LowestTier {
    of_all: i64,
    of_tenants: Vec<(String, i64)>,
}

impl Default for LowestTier {
    fn default() -> Self {
        Self { of_all: 1, of_tenants: Vec::new() }
    }
}

impl LowestTier {
    /// Reads a number for all tenants, and `slug=number` for each that differs, such as `3 main=1`.
    fn parse(text: &str) -> Option<Self> {
        let mut lowest = Self::default();
        for part in text.split([' ', ',']).filter(|part| !part.is_empty()) {
            let (slug, number) = part.split_once('=').unwrap_or(("", part));
            let number = number.parse().ok().filter(|number| (1..=5).contains(number))?;
            match slug {
                "" => lowest.of_all = number,
                slug => lowest.of_tenants.push((slug.to_owned(), number)),
            }
        }
        Some(lowest)
    }

    /// The lowest tier in the tenant of this slug.
    pub fn of(&self, tenant: &str) -> i64 {
        self.of_tenants.iter().rfind(|(slug, _)| slug == tenant).map_or(self.of_all, |(_, number)| *number)
    }
}

/// The provider through whose API mail is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Provider {
    /// Resend.
    Resend,
    /// Twilio SendGrid.
    Sendgrid,
    /// Postmark.
    Postmark,
    /// The operator's own.
    Webhook,
}

impl Provider {
    fn parse(word: &str) -> Option<Self> {
        match word {
            "resend" => Some(Self::Resend),
            "sendgrid" => Some(Self::Sendgrid),
            "postmark" => Some(Self::Postmark),
            "webhook" => Some(Self::Webhook),
            _ => None,
        }
    }

    /// Where its API is; the operator's own has no usual place. The manifest grants these hosts.
    const fn usual_host(self) -> Option<&'static str> {
        match self {
            Self::Resend => Some("api.resend.com"),
            Self::Sendgrid => Some("api.sendgrid.com"),
            Self::Postmark => Some("api.postmarkapp.com"),
            Self::Webhook => None,
        }
    }
}

/// How mail is sent.
pub struct Mail {
    /// The provider.
    pub provider: Provider,
    /// `host[:port]` of the API; it is always https.
    pub host: String,
    /// The sender of all mail.
    pub from: Sender,
    /// The token by which the provider knows the operator.
    pub token: MailToken,
}

/// The sender of mail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sender {
    /// What its reader sees in the place of the address.
    pub name: Option<String>,
    /// The address.
    pub email: String,
}

impl Sender {
    /// Reads an address, or `Name <address>`.
    fn parse(text: &str) -> Option<Self> {
        let Some((name, rest)) = text.trim().split_once('<') else {
            return Some(Self { name: None, email: email::parse_ascii(text)? });
        };
        let name = name.trim().trim_matches('"').trim();
        let is_plain = name.chars().count() <= 64
            && !name.contains(|c: char| is_unseen(c) || matches!(c, '"' | '\\' | '<' | '>' | '@'));
        let email = email::parse_ascii(rest.strip_suffix('>')?)?;
        is_plain.then(|| Self { name: Some(name.to_owned()).filter(|name| !name.is_empty()), email })
    }
}

/// As a mail's header has it (RFC 5322, section 3.4).
impl fmt::Display for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => write!(f, "\"{name}\" <{}>", self.email),
            None => f.write_str(&self.email),
        }
    }
}

/// The provider's token.
pub struct MailToken(String);

impl MailToken {
    /// The token itself, for the request's header.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

/// The manifest's default of `mail_host`. It fills a slot of `allowed_outbound_hosts`: a name that is reserved never to exist
/// (RFC 6761, section 6.4) grants nothing there.
const NO_HOST: &str = "mail.invalid";

/// Reads how mail is sent. Only a component that was given the token sends any.
fn mail(provider: Provider, get: &impl Fn(&str) -> Option<String>) -> Result<Option<Mail>, &'static str> {
    let Some(token) = get("mail_token") else { return Ok(None) };
    let token = token.trim();
    // It goes into a header.
    if token.is_empty() || !token.bytes().all(|b| b.is_ascii_graphic()) {
        return Err("mail_token");
    }
    let from = get("mail_from").as_deref().and_then(Sender::parse).ok_or("mail_from")?;
    let host = get("mail_host").map(|host| host.trim().to_ascii_lowercase());
    let host = match host.filter(|host| !host.is_empty() && host != NO_HOST) {
        None => provider.usual_host().ok_or("mail_host")?.to_owned(),
        Some(host) => Some(host).filter(|host| is_plain_host(host)).ok_or("mail_host")?,
    };
    Ok(Some(Mail { provider, host, from, token: MailToken(token.to_owned()) }))
}

/// Whether a text is `host[:port]` and nothing else: no scheme, user, path or wildcard.
fn is_plain_host(text: &str) -> bool {
    let (host, port) = text.split_once(':').map_or((text, "443"), |(host, port)| (host, port));
    host.len() <= 253 && host.split('.').all(is_label) && port.parse::<u16>().is_ok_and(|port| port > 0)
}

/// An address, or a network such as `10.0.0.0/8`.
fn network(text: &str) -> Option<IpNet> {
    text.parse().ok().or_else(|| text.parse::<IpAddr>().ok().map(|address| address.to_canonical().into()))
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

impl fmt::Display for PublicUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.origin)?;
        f.write_str(&self.path)
    }
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
        // An address of IPv6 stands in brackets, and nothing else does.
        let (name, port) = match host.strip_prefix('[') {
            Some(rest) => {
                let (address, port) = rest.split_once(']')?;
                address.parse::<std::net::Ipv6Addr>().ok()?;
                (address, port)
            }
            None => host.split_at(host.find(':').unwrap_or(host.len())),
        };
        let port_is_one = port.is_empty()
            || port.strip_prefix(':').is_some_and(|port| port.parse::<u16>().is_ok_and(|port| port > 0));
        if !host_is_plain
            || !path_is_plain
            || is_ambiguous_path(path)
            || name.is_empty()
            || name.contains(['[', ']'])
            || !port_is_one
        {
            return None;
        }
        // A browser leaves the usual port out, and so do issuers: it would be another origin.
        let host = host.strip_suffix(if is_secure { ":443" } else { ":80" }).unwrap_or(host);
        let path = path.trim_end_matches('/');
        let path = if path.is_empty() { String::new() } else { format!("/{path}") };
        Some(Self { origin: format!("{scheme}://{}", host.to_ascii_lowercase()), path, is_secure })
    }
}

impl Settings {
    /// Reads the settings through `get`, which answers `None` for a variable that the component was not given.
    /// `Err` names the variable whose value cannot be used: better not to serve than to serve unsafely.
    pub fn read(get: impl Fn(&str) -> Option<String>) -> Result<Self, &'static str> {
        let given = get;
        let get = |name| given(name).map(|value: String| value.trim().to_owned()).filter(|value| !value.is_empty());
        let number = |name: &'static str, least: i64| match get(name) {
            None => Ok(None),
            Some(text) => text.parse().ok().filter(|number| *number >= least).map(Some).ok_or(name),
        };
        let mail_provider = match get("mail_provider") {
            None => None,
            Some(word) => Some(Provider::parse(&word).ok_or("mail_provider")?),
        };
        let database_max_mib = number("database_max_mib", LEAST_MIB)?.unwrap_or(DEFAULT_MIB);
        let proxies = get("trusted_proxies").unwrap_or_default();
        Ok(Self {
            operator_secret: get("operator_secret").map(|secret| Digest::of(secret.as_bytes())),
            public_url: match get("public_url") {
                None => None,
                Some(text) => Some(PublicUrl::parse(&text).ok_or("public_url")?),
            },
            database_max_mib: Some(database_max_mib),
            quotas: quotas(&get("quotas").unwrap_or_default(), database_max_mib).ok_or("quotas")?,
            trusted_proxies: proxies
                .split([',', ' '])
                .filter(|part| !part.is_empty())
                .map(|part| network(part).ok_or("trusted_proxies"))
                .collect::<Result<_, _>>()?,
            audit_keys: chain::keys(&get("audit_key").unwrap_or_default()),
            vault: Vault::parse(&get("secrets_key").unwrap_or_default()).ok_or("secrets_key")?,
            signing_keys: signing::keys(&get("signing_key").unwrap_or_default()).ok_or("signing_key")?,
            security_contact: match get("security_contact") {
                Some(url) if !is_contact(&url) => return Err("security_contact"),
                contact => contact,
            },
            hashes_per_second: number("hashes_per_second", 1)?,
            mail: match mail_provider {
                None => None,
                Some(provider) => mail(provider, &given)?,
            },
            mail_provider,
            retention_days: number("retention_days", 1)?.unwrap_or(RETENTION),
            audit_retention_days: number("audit_retention_days", LEAST_AUDIT)?,
            lowest_tier: LowestTier::parse(&get("lowest_tier").unwrap_or_default()).ok_or("lowest_tier")?,
            outbound_hosts: OutboundHosts::parse(&get("outbound_hosts").unwrap_or_default()).ok_or("outbound_hosts")?,
            identity_providers: provider::read_all(get)?,
        })
    }

    /// Whether mail is sent.
    pub fn has_mail(&self) -> bool {
        self.mail_provider.is_some()
    }

    /// The prefix of the path of every link.
    pub fn link(&self) -> &str {
        self.public_url.as_ref().map_or("", |url| url.path.as_str())
    }
}

/// The variables that [`Settings::read`] asks for, so that a test can hold the manifest against them.
pub const NAMES: &[&str] = &[
    "operator_secret",
    "audit_key",
    "secrets_key",
    "signing_key",
    "public_url",
    "database_max_mib",
    "trusted_proxies",
    "security_contact",
    "hashes_per_second",
    "quotas",
    "mail_provider",
    "mail_host",
    "mail_from",
    "mail_token",
    "outbound_hosts",
    "lowest_tier",
    "retention_days",
    "audit_retention_days",
    "oidc1",
    "oidc1_secret",
    "oidc2",
    "oidc2_secret",
    "oidc3",
    "oidc3_secret",
];

/// What a variable takes, for the operator whose value cannot be used. No value stands here: it may be a secret.
#[cfg_attr(all(not(target_family = "wasm"), not(test)), expect(dead_code, reason = "only a component logs it"))]
pub(crate) fn takes(name: &str) -> &'static str {
    match name {
        "secrets_key" | "signing_key" => "a text of at least 32 characters, or several, separated by commas",
        "public_url" => "http://host or https://host, perhaps with :port and a /path, without user, query and fragment",
        "database_max_mib" => "a whole number of MiB, 1 or more",
        "trusted_proxies" => "IP addresses and networks such as 10.0.0.0/8, separated by commas or blanks; no names",
        "security_contact" => "one URL that begins with https:// or mailto:",
        "hashes_per_second" | "retention_days" => "a whole number, 1 or more",
        "audit_retention_days" => "a whole number of days, 30 or more",
        "quotas" => {
            "name=number, separated by blanks; names are agents, credentials, mib and notifications, numbers 1 or more"
        }
        "mail_provider" => "one of resend, sendgrid, postmark, webhook",
        "mail_host" => "host or host:port, without https:// before it; it must be set for the provider webhook",
        "mail_from" => "one e-mail address in ASCII, or Name <address>",
        "mail_token" => "the provider's token: one line of visible ASCII characters",
        "outbound_hosts" => "host, host:port, *.domain or *, separated by blanks; without https:// before them",
        "lowest_tier" => "a number from 1 to 5, and tenant=number for each tenant that differs",
        "oidc1" | "oidc2" | "oidc3" => "preset=google client_id=…, and so on: docs/operations.md lists all",
        "oidc1_secret" | "oidc2_secret" | "oidc3_secret" => {
            "the secret that the provider gave: one line of visible ASCII characters, set where the provider is"
        }
        _ => "one line of text",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// R73: one place reads each setting, and unset means the safe way.
    #[test]
    fn unset_and_empty_are_the_same_and_safe() {
        for nothing in [None, Some(String::new()), Some("  ".to_owned())] {
            let settings = Settings::read(|_| nothing.clone()).unwrap();
            assert!(settings.operator_secret.is_none() && settings.public_url.is_none());
            assert!(settings.audit_keys.is_empty() && settings.signing_keys.is_empty());
            assert!(settings.vault.seal("a", &[], "b", &common::secret::Chance::seeded(1)).is_err());
            assert!(settings.mail.is_none() && settings.mail_provider.is_none());
            assert_eq!(settings.outbound_hosts, OutboundHosts::default());
            assert!(settings.trusted_proxies.is_empty() && settings.database_max_mib == Some(DEFAULT_MIB));
        }
    }

    /// R304: the usual port makes no other origin.
    #[test]
    fn the_usual_port_is_left_out() {
        let origin = |text: &str| PublicUrl::parse(text).map(|url| url.origin);
        assert_eq!(origin("https://Accredit.example:443/x").as_deref(), Some("https://accredit.example"));
        assert_eq!(origin("http://accredit.example:80").as_deref(), Some("http://accredit.example"));
        assert_eq!(origin("http://[::1]:443").as_deref(), Some("http://[::1]:443"));
        assert_eq!(origin("https://accredit.example:8443").as_deref(), Some("https://accredit.example:8443"));
    }

    #[test]
    fn a_value_that_cannot_be_used_is_named() {
        for (name, value) in [
            ("public_url", "example.com"),
            ("public_url", "javascript://x"),
            ("public_url", "https://a b"),
            // R586.
            ("public_url", "https://a.example/team/../x"),
            ("public_url", "https://a.example/./"),
            ("public_url", "https://x/\"y"),
            ("public_url", "https://a@x"),
            ("public_url", "https://x/?y"),
            ("public_url", "https://x/#y"),
            ("public_url", "https://x:abc"),
            ("public_url", "https://x:99999"),
            ("public_url", "https://x:"),
            ("public_url", "https://:443"),
            ("public_url", "https://[::"),
            ("public_url", "https://::1"),
            ("public_url", "https://[x]"),
            ("database_max_mib", "0"),
            ("database_max_mib", "many"),
            ("retention_days", "0"),
            ("audit_retention_days", "29"),
            ("trusted_proxies", "10.0.0.1, proxy"),
            ("trusted_proxies", "10.0.0.0/33"),
            ("quotas", "agents"),
            ("quotas", "agents=0"),
            ("quotas", "agent=1"),
            ("quotas", "mib=many"),
            ("secrets_key", "a text of less than 32 characters"),
            ("secrets_key", "0123456789abcdef0123456789abcdef,short"),
            ("signing_key", "a text of less than 32 characters"),
            ("signing_key", "0123456789abcdef0123456789abcdef,short"),
            ("lowest_tier", "0"),
            ("lowest_tier", "6"),
            ("lowest_tier", "main"),
            ("lowest_tier", "main=x"),
            ("outbound_hosts", "https://api.example.com"),
        ] {
            let read = Settings::read(|asked| (asked == name).then(|| value.to_owned()));
            assert_eq!(read.err(), Some(name), "{value}");
            assert!(takes(name) != takes(""), "the log says what {name} takes");
        }
    }

    /// R317: the host reads `trusted_proxies` as the components do; it is tested with the same lines.
    #[test]
    fn proxies_are_addresses_and_networks() {
        for line in include_str!("settings/proxies.txt").lines() {
            let (value, expected) = line.split_once(" => ").unwrap();
            let value = value.replace("TAB", "\t");
            let read = Settings::read(|asked| (asked == "trusted_proxies").then(|| value.clone()));
            let read = read.map_or_else(|_| "refused".to_owned(), |settings| format!("{:?}", settings.trusted_proxies));
            assert_eq!(read, expected, "{value}");
        }
    }

    /// R242: a sender has an address, and may have a name that cannot break out of a header.
    #[test]
    fn a_sender_may_have_a_name() {
        let shown = |text: &str| Sender::parse(text).map(|sender| sender.to_string());
        assert_eq!(shown(" a@example.com ").as_deref(), Some("a@example.com"));
        assert_eq!(shown("<a@example.com>").as_deref(), Some("a@example.com"));
        for text in ["Accredit at Northwind <a@example.com>", "\"Accredit at Northwind\" <a@example.com>"] {
            assert_eq!(shown(text).as_deref(), Some("\"Accredit at Northwind\" <a@example.com>"));
        }
        for bad in [
            "",
            "Accredit",
            "A <a@example.com",
            "A <a>",
            "A\" <b@example.com> \"c <a@example.com>",
            "A\r\nBcc: x <a@example.com>",
            "a@b.example <a@example.com>",
        ] {
            assert_eq!(shown(bad), None, "{bad}");
        }
    }

    /// R86: what a person may store grows with the database, and each quota can be set.
    #[test]
    fn quotas_follow_the_database_and_the_operator() {
        let read = |mib: &str, quotas: &str| {
            let settings = Settings::read(|asked| match asked {
                "database_max_mib" => Some(mib.to_owned()),
                "quotas" => Some(quotas.to_owned()),
                _ => None,
            });
            settings.unwrap().quotas
        };
        let usual = Quotas { agents: 10_000, credentials: 10_000, bytes: 1024 * MIB, notifications: 20_000 };
        assert_eq!(read("", ""), usual);
        assert_eq!(read("40", ""), Quotas { bytes: 4 * MIB, notifications: 1_000, ..usual });
        assert_eq!(read("1", "").bytes, MIB);
        assert_eq!(read("", "agents=5, mib=2"), Quotas { agents: 5, bytes: 2 * MIB, ..usual });
        let all = read("40", "agents=5 credentials=6 mib=7 notifications=8");
        assert_eq!(all, Quotas { agents: 5, credentials: 6, bytes: 7 * MIB, notifications: 8 });
        assert_eq!(all.of_tenant(), Quotas { agents: 25, credentials: 30, bytes: 35 * MIB, notifications: 8 });
    }

    #[test]
    fn a_tenant_can_have_a_lowest_tier_of_its_own() {
        let lowest = |text: &str| {
            let lowest = LowestTier::parse(text).unwrap();
            (lowest.of("main"), lowest.of("other"))
        };
        assert_eq!((lowest(""), lowest("3"), lowest("3 main=1"), lowest("other=5")), ((1, 1), (3, 3), (1, 3), (1, 5)));
    }

    fn read_mail(changes: &[(&str, &str)]) -> Result<Settings, &'static str> {
        let usual = [
            ("mail_provider", "resend"),
            ("mail_host", "mail.invalid"),
            ("mail_from", "no-reply@example.com"),
            ("mail_token", "t0ken"),
        ];
        Settings::read(|asked| {
            let find = |list: &[(&str, &str)]| {
                list.iter().find(|(name, _)| *name == asked).map(|(_, value)| (*value).to_owned())
            };
            find(changes).or_else(|| find(&usual))
        })
    }

    #[test]
    fn mail_needs_all_that_it_needs() {
        for (changes, host) in [
            (vec![], "api.resend.com"),
            (vec![("mail_host", "")], "api.resend.com"),
            (vec![("mail_provider", "sendgrid")], "api.sendgrid.com"),
            (vec![("mail_provider", "postmark")], "api.postmarkapp.com"),
            (vec![("mail_provider", "webhook"), ("mail_host", "Mail.example:8443")], "mail.example:8443"),
        ] {
            let mail = read_mail(&changes).unwrap().mail.unwrap();
            assert_eq!(
                (mail.host.as_str(), mail.from.email.as_str(), mail.token.reveal()),
                (host, "no-reply@example.com", "t0ken")
            );
        }
        for (name, value) in [
            ("mail_provider", "pigeon"),
            ("mail_token", ""),
            ("mail_token", "a b"),
            ("mail_token", "a\r\nx: y"),
            ("mail_from", ""),
            ("mail_from", "Accredit a@example.com"),
            ("mail_host", "https://mail.example"),
            ("mail_host", "mail.example/path"),
            ("mail_host", "user@mail.example"),
            ("mail_host", "*.example"),
            ("mail_host", "mail.example:0"),
            ("mail_host", "mail.example:"),
        ] {
            assert_eq!(read_mail(&[(name, value)]).err(), Some(name), "{value}");
        }
        assert_eq!(read_mail(&[("mail_provider", "webhook")]).err(), Some("mail_host"));
    }

    /// A component that queues mail learns that mail is configured, and nothing else.
    #[test]
    fn a_component_without_the_token_knows_only_that_there_is_mail() {
        let settings = Settings::read(|asked| (asked == "mail_provider").then(|| "resend".to_owned())).unwrap();
        assert!(settings.mail.is_none() && settings.mail_provider == Some(Provider::Resend));
    }

    #[test]
    fn a_public_url_has_an_origin_and_a_path() {
        let url = PublicUrl::parse("https://Acme.example:8443/team/accredit/").unwrap();
        assert_eq!((url.origin.as_str(), url.path.as_str()), ("https://acme.example:8443", "/team/accredit"));
        assert!(url.is_secure);
        assert_eq!(PublicUrl::parse("http://[::1]:3000").unwrap().path, "");
        assert_eq!(PublicUrl::parse("http://a_b/").unwrap().origin, "http://a_b");
    }
}
