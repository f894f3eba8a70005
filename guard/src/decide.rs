//! What is decided without the host: the settings, the question, the headers that pass, and the metadata.

use common::url::Url;
use serde_json::json;

/// The headers that the application is told of the caller; Accredit sends all of them with each answer.
pub const TOLD: &str = "x-accredit-";

/// A header as the host has it.
pub type Header = (String, Vec<u8>);

/// The operator's settings.
#[derive(Debug, PartialEq, Eq)]
pub struct Settings {
    /// Where Accredit is, without a slash at the end.
    pub accredit: String,
    /// The component that is protected.
    pub app: String,
    /// The identifier of the protected service.
    pub resource: String,
    /// The scopes that a caller needs, separated by blanks; empty: none.
    pub scope: String,
    /// The slug of the tenant whose credentials count.
    pub tenant: String,
}

/// The name of a setting that cannot be used.
#[derive(Debug, PartialEq, Eq)]
pub struct Wrong(pub &'static str);

impl Settings {
    /// Reads the settings. All but `scope` must be there: a setting that was forgotten must not open the application.
    pub fn read(get: impl Fn(&'static str) -> Option<String>) -> Result<Self, Wrong> {
        let given = |name: &'static str| {
            Ok(get(name).filter(|value| !value.trim().is_empty()).ok_or(Wrong(name))?.trim().to_owned())
        };
        let accredit = given("accredit")?.trim_end_matches('/').to_owned();
        if Url::parse(&accredit).is_none_or(|url| url.fragment.is_some() || url.path.contains('?')) {
            return Err(Wrong("accredit"));
        }
        let app = given("app")?;
        if !common::url::is_label(&app) {
            return Err(Wrong("app"));
        }
        let resource = given("resource")?;
        if Url::parse(&resource).and_then(|url| url.metadata()).is_none() {
            return Err(Wrong("resource"));
        }
        let scope = match given("scope")?.as_str() {
            "-" => String::new(),
            scope => scope.to_owned(),
        };
        Ok(Self { accredit, app, resource, scope, tenant: given("tenant")? })
    }

    /// Path and query of the question to Accredit, behind its own path.
    pub fn question(&self) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.append_pair("tenant", &self.tenant).append_pair("resource", &self.resource);
        if !self.scope.is_empty() {
            query.append_pair("scope", &self.scope);
        }
        let path = Url::parse(&self.accredit).map_or("", |url| url.path);
        format!("{path}/auth/verify?{}", query.finish())
    }

    /// Whether Accredit is asked over TLS, and its host with the port.
    pub fn authority(&self) -> (bool, String) {
        let Some(url) = Url::parse(&self.accredit) else { return (true, String::new()) };
        let port = url.port.map(|port| format!(":{port}")).unwrap_or_default();
        (url.is_secure, format!("{}{port}", url.host))
    }

    /// The metadata of the service, if that is what path and query ask for (RFC 9728). A query that the identifier does not have changes
    /// nothing.
    pub fn metadata(&self, path: &str) -> Option<String> {
        let at = Url::parse(&self.resource)?.metadata()?;
        let own = Url::parse(&at)?.path;
        let is_asked = path == own || path.split('?').next() == Some(own);
        let scopes: Vec<&str> = self.scope.split_ascii_whitespace().collect();
        is_asked.then(|| {
            json!({
                "resource": self.resource,
                "authorization_servers": [self.accredit],
                "bearer_methods_supported": ["header"],
                "scopes_supported": scopes,
            })
            .to_string()
        })
    }
}

/// The headers of the request that Accredit needs: the credential, every one of them, and in which form a refusal is wanted.
pub fn asked(headers: &[Header], client: Option<&str>) -> Vec<Header> {
    let is_needed = |name: &str| ["authorization", "accept"].iter().any(|needed| name.eq_ignore_ascii_case(needed));
    let mut asked: Vec<Header> = headers.iter().filter(|(name, _)| is_needed(name)).cloned().collect();
    asked.extend(client.map(|client| ("x-forwarded-for".to_owned(), client.as_bytes().to_vec())));
    asked
}

/// Headers that are about one connection (RFC 9110, section 7.6.1), and the host's own words about it.
fn is_of_the_connection(name: &str) -> bool {
    const OF_ONE: [&str; 9] = [
        "connection",
        "host",
        "http2-settings",
        "keep-alive",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    ];
    OF_ONE.contains(&name) || name.starts_with("spin-")
}

/// The headers for the application: those of the client without its credential and without anything that could be taken for Accredit's,
/// the client's address behind those that it names itself, and those of Accredit.
pub fn passed(headers: Vec<Header>, client: Option<&str>, answer: Vec<Header>) -> Vec<Header> {
    // Some frameworks take `_` for `-`.
    let name_of = |name: &str| name.to_ascii_lowercase().replace('_', "-");
    let is_clients = |name: &str| {
        let name = name_of(name);
        name != "authorization" && !is_of_the_connection(&name) && !name.starts_with(TOLD)
    };
    let mut passed: Vec<Header> = headers.into_iter().filter(|(name, _)| is_clients(name)).collect();
    passed.extend(client.map(|client| ("x-forwarded-for".to_owned(), client.as_bytes().to_vec())));
    passed.extend(answer.into_iter().filter(|(name, value)| name_of(name).starts_with(TOLD) && !value.is_empty()));
    passed
}

/// The headers of a refusal that the client gets.
pub fn refused(answer: Vec<Header>) -> Vec<Header> {
    const KEPT: [&str; 6] =
        ["content-type", "content-length", "www-authenticate", "cache-control", "retry-after", "x-request-id"];
    answer.into_iter().filter(|(name, _)| KEPT.iter().any(|kept| name.eq_ignore_ascii_case(kept))).collect()
}

/// The body of a refusal of the guard's own.
pub fn own_refusal(detail: &str) -> String {
    json!({
        "error": "not_verified",
        "detail": detail,
        "fix": "Wait a moment, then send the request again. If it goes on, tell the operator of this service.",
    })
    .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(changed: &[(&'static str, &str)]) -> Result<Settings, Wrong> {
        let usual = [
            ("accredit", "https://accredit.example.com/base/"),
            ("app", "crm"),
            ("resource", "https://crm.example.com/v1"),
            ("scope", "x.crm.read x.crm.write"),
            ("tenant", "main"),
        ];
        let find = |all: &[(&'static str, &str)], name| {
            all.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
        };
        Settings::read(|name| find(changed, name).or_else(|| find(&usual, name)))
    }

    /// R143: a setting that was forgotten opens nothing.
    #[test]
    fn every_setting_must_be_there_and_be_whole() {
        assert!(settings(&[]).is_ok());
        for name in ["accredit", "app", "resource", "scope", "tenant"] {
            for value in ["", "  "] {
                assert_eq!(settings(&[(name, value)]), Err(Wrong(name)));
            }
        }
        for (name, value) in [
            ("accredit", "accredit.example.com"),
            ("accredit", "https://a/?x"),
            ("app", "crm.spin.internal"),
            ("app", "a/b"),
            ("resource", "crm"),
            ("resource", "https://a#b"),
        ] {
            assert_eq!(settings(&[(name, value)]), Err(Wrong(name)), "{value}");
        }
        assert_eq!(settings(&[("scope", "-")]).unwrap().scope, "");
    }

    #[test]
    fn the_question_names_tenant_service_and_scopes() {
        let asked = settings(&[]).unwrap();
        let resource = "https%3A%2F%2Fcrm.example.com%2Fv1";
        assert_eq!(
            asked.question(),
            format!("/base/auth/verify?tenant=main&resource={resource}&scope=x.crm.read+x.crm.write")
        );
        assert_eq!(asked.authority(), (true, "accredit.example.com".to_owned()));
        let local = settings(&[("accredit", "http://127.0.0.1:3000"), ("scope", "-")]).unwrap();
        assert_eq!(local.question(), format!("/auth/verify?tenant=main&resource={resource}"));
        assert_eq!(local.authority(), (false, "127.0.0.1:3000".to_owned()));
    }

    fn header(name: &str, value: &str) -> Header {
        (name.to_owned(), value.as_bytes().to_vec())
    }

    /// R143: nothing that a client sends under Accredit's names reaches the application, and not its credential.
    #[test]
    fn the_application_is_told_by_accredit_alone() {
        let sent = [
            ("Accept", "*/*"),
            ("X-Accredit-Subject", "forged"),
            ("x-ACCREDIT-agent", "forged"),
            ("X_Accredit_Agent", "forged"),
            ("x-accredit_new", "forged"),
            ("Authorization", "Bearer a"),
            ("host", "crm.example.com"),
            ("cookie", "c"),
            ("Connection", "keep-alive"),
            ("spin-client-addr", "192.0.2.1:4000"),
        ];
        let sent: Vec<Header> = sent.iter().map(|(name, value)| header(name, value)).collect();
        let answer =
            vec![header("x-accredit-subject", "usr_1"), header("x-accredit-agent", ""), header("content-length", "0")];
        let client = header("x-forwarded-for", "192.0.2.1");
        let expected =
            vec![header("Accept", "*/*"), header("cookie", "c"), client, header("x-accredit-subject", "usr_1")];
        assert_eq!(passed(sent.clone(), Some("192.0.2.1"), answer), expected);
        let asked = asked(&sent, Some("192.0.2.1"));
        assert_eq!(
            asked,
            [header("Accept", "*/*"), header("Authorization", "Bearer a"), header("x-forwarded-for", "192.0.2.1")]
        );
    }

    #[test]
    fn the_metadata_are_at_their_path_alone() {
        let settings = settings(&[]).unwrap();
        let told = settings.metadata("/.well-known/oauth-protected-resource/v1").unwrap();
        assert!(told.contains("\"authorization_servers\":[\"https://accredit.example.com/base\"]"), "{told}");
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
