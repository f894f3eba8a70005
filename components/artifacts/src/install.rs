//! `GET /cli/install.sh`: the script that installs the CLI from this server.
//!
//! R63: of what a caller sends, only a `Host` of a strict form gets into it, and that only while `public_url` is unset. All values
//! in it are quoted for the shell all the same.

use std::net::{Ipv4Addr, Ipv6Addr};

use common::error::{ApiError, Code};
use http::{HeaderValue, StatusCode, header};
use service::{
    app::App,
    headers::Headers,
    response::{Response, bytes},
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
    let mut response = bytes(StatusCode::OK, "text/x-shellscript; charset=utf-8", write(&server, &manifest));
    for (name, value) in [
        (header::CONTENT_DISPOSITION, "inline; filename=\"install.sh\""),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        // It depends on the `Host` of the request, and on the release.
        (header::CACHE_CONTROL, "no-store"),
        (header::VARY, "host"),
    ] {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    Ok(response)
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

/// Where callers reach this server: the `public_url` that the operator set, or else the host of this request.
fn server(settings: &Settings, headers: &Headers) -> Option<String> {
    if let Some(url) = &settings.public_url {
        return Some(format!("{}{}", url.origin, url.path));
    }
    of_host(&headers.single("host")?)
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
    Some(format!("{scheme}://{host}"))
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
mod tests;
