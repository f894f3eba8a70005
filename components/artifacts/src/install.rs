//! `GET /cli/install.sh`: the script that installs the CLI from this server.
//!
//! R63: nothing that a caller sends gets into it but a `Host` of a strict shape, and that only while `public_url` is unset.
//! What is written into it is quoted for the shell all the same.

use std::net::{Ipv4Addr, Ipv6Addr};

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use common::{
    error::{ApiError, Code},
    http::{App, Headers},
    settings::Settings,
};

use crate::dist::{Dist, Kind, Manifest};

/// The script, with a mark for each value.
const TEMPLATE: &str = include_str!("install.sh");

/// The longest host name (RFC 1035, section 2.3.4).
const MAX_HOST: usize = 253;
/// The longest label of one.
const MAX_LABEL: usize = 63;

/// `GET /cli/install.sh`.
pub(crate) async fn script(app: App, dist: Dist, headers: Headers) -> Result<Response, ApiError> {
    let server = server(app.settings(), &headers).ok_or(Code::InvalidHost)?;
    let manifest = dist.manifest()?;
    let answer = [
        (header::CONTENT_TYPE, "text/x-shellscript; charset=utf-8"),
        (header::CONTENT_DISPOSITION, "inline; filename=\"install.sh\""),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        // It depends on who was asked, and on the release.
        (header::CACHE_CONTROL, "no-store"),
        (header::VARY, "host"),
    ];
    let answer = answer.map(|(name, value)| (name, HeaderValue::from_static(value)));
    Ok((StatusCode::OK, answer, write(&server, &manifest)).into_response())
}

fn write(server: &str, manifest: &Manifest) -> String {
    let mut choices = String::new();
    for artifact in manifest.of(Kind::Binary) {
        let platform = format!("{}-{}", artifact.platform.os, artifact.platform.arch);
        choices.push_str(&format!(
            "    {}) path={} size={} sha256={} ;;\n",
            quoted(&platform),
            quoted(&artifact.path()),
            artifact.size,
            quoted(&artifact.sha256)
        ));
    }
    TEMPLATE
        .replace("@SERVER@", &quoted(server))
        .replace("@VERSION@", &quoted(&manifest.version))
        .replace("    # @CHOICES@\n", &choices)
}

/// One word of the shell, whatever is in it.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

/// Where callers reach this server: what the operator has set, or else what this request was sent to.
fn server(settings: &Settings, headers: &Headers) -> Option<String> {
    if let Some(url) = &settings.public_url {
        return Some(format!("{}{}", url.origin, url.path));
    }
    of_host(&headers.single("host")?)
}

/// The url of a `Host`: a name, an IPv4 address or an IPv6 literal, with at most a port. All of the text has to fit.
///
/// This machine itself is asked without TLS, all others with it: whoever serves otherwise sets `public_url`.
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
    Some(format!("{scheme}://{host}"))
}

/// Labels of letters, digits, hyphens and underscores, parted by single dots.
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
    use axum::{body::Body, http::Request};
    use common::{settings::PublicUrl, testing::TestApp};
    use serde_json::Value::Null;

    use super::*;
    use crate::{routes::over, testing};

    /// R63.
    #[test]
    fn a_host_of_a_good_shape_is_taken() {
        for (host, url) in [
            ("example.com", "https://example.com"),
            ("Example.COM:8443", "https://Example.COM:8443"),
            ("build_host.corp:80", "https://build_host.corp:80"),
            ("192.0.2.1:3000", "https://192.0.2.1:3000"),
            ("127.0.0.1:3000", "http://127.0.0.1:3000"),
            ("127.8.9.1", "http://127.8.9.1"),
            ("localhost:3000", "http://localhost:3000"),
            ("LOCALHOST", "http://LOCALHOST"),
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

    #[test]
    fn whatever_is_quoted_is_one_word() {
        assert_eq!(quoted("a"), "'a'");
        assert_eq!(quoted("a'; id; '"), "'a'\\''; id; '\\'''");
    }

    async fn ask(t: &TestApp, hosts: &[&[u8]]) -> common::testing::Answer {
        let mut request = Request::get("/cli/install.sh");
        for host in hosts {
            request = request.header("host", *host);
        }
        t.send(request.body(Body::empty()).unwrap()).await
    }

    #[tokio::test]
    async fn the_script_knows_the_server_that_was_asked() {
        let folder = testing::folder(b"program", b"wheel");
        let t = TestApp::new(over(Dist::at(folder.path().into())));
        let answer = ask(&t, &[b"example.com:8443"]).await;
        answer.is(200);
        assert!(answer.text.contains("server='https://example.com:8443'\n"), "{}", answer.text);
        assert!(answer.text.contains("version='1.2.3'\n"), "{}", answer.text);
        let choice = format!(
            "    'linux-x86_64') path='/cli/download?os=linux&arch=x86_64' size=7 sha256='{}' ;;\n",
            testing::sha256(b"program")
        );
        assert!(answer.text.contains(&choice), "{}", answer.text);
        let marks = answer.text.matches('@').count() - answer.text.matches("\"$@\"").count();
        assert!(marks == 0 && answer.text.ends_with("\nmain \"$@\"\n"), "{}", answer.text);
        assert_eq!(answer.header("content-type"), "text/x-shellscript; charset=utf-8");
        assert_eq!(answer.header("content-length"), answer.text.len().to_string());
        assert_eq!((answer.header("cache-control"), answer.header("vary")), ("no-store", "host"));
    }

    /// R63: a refusal has nothing in it of what was sent, and nothing that a shell would run.
    #[tokio::test]
    async fn a_strange_host_gets_no_script() {
        let folder = testing::folder(b"program", b"wheel");
        let t = TestApp::new(over(Dist::at(folder.path().into())));
        let strange: [&[&[u8]]; 7] =
            [&[], &[b""], &[b"evil$(id)"], &[b"evil;id"], &[b"evil\xff"], &[b"evil.com "], &[b"a.com", b"evil.com"]];
        for hosts in strange {
            let refused = ask(&t, hosts).await.refused(400, "invalid_host");
            assert!(!refused.to_string().contains("evil") && !refused.to_string().contains(['`', '$']), "{refused}");
        }
    }

    #[tokio::test]
    async fn what_the_operator_has_set_counts_alone() {
        let folder = testing::folder(b"program", b"wheel");
        let settings =
            Settings { public_url: PublicUrl::parse("https://Example.com/team_1/acc/"), ..Default::default() };
        let t = TestApp::with(over(Dist::at(folder.path().into())), settings);
        let hosts: [&[&[u8]]; 4] = [&[], &[b"other.example"], &[b"evil$(id)"], &[b"a.com", b"evil.com"]];
        for hosts in hosts {
            let answer = ask(&t, hosts).await;
            answer.is(200);
            assert!(answer.text.contains("server='https://example.com/team_1/acc'\n"), "{}", answer.text);
            assert!(!answer.text.contains("evil") && !answer.text.contains("other"), "{}", answer.text);
        }
    }

    #[tokio::test]
    async fn the_script_knows_no_version_but_the_one_that_is_there() {
        let folder = testing::folder(b"program", b"wheel");
        let t = TestApp::new(over(Dist::at(folder.path().into())));
        let refused = t.nobody("GET", "/cli/install.sh?version=$(id)", Null).await.refused(422, "validation_error");
        assert!(!refused.to_string().contains("$(id)"), "{refused}");
    }
}
