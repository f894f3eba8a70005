//! Forward auth: a proxy asks before it passes a request on. It sends the headers of that request, and with some proxies its method and
//! its path; what it wants to know stands in its own configuration, before all of that.

use common::error::{ApiError, Code};

use crate::app::App;

/// The longest identifier of a resource, bytes.
const MOST_RESOURCE: usize = 512;

/// Refuses a request without an `Authorization` header. A browser sends the cookie of this site with requests that any page makes it send,
/// and what they do behind the proxy nobody here knows: so a cookie is no credential there.
pub(crate) fn check_header(app: &App) -> Result<(), ApiError> {
    if app.headers().all("authorization").is_empty() { Err(Code::MissingCredential.into()) } else { Ok(()) }
}

/// A refusal that a proxy can pass on, with the place of the metadata of the service that it protects.
pub(crate) fn refusal(app: &App, refusal: ApiError) -> ApiError {
    let query = app.head().uri.query().unwrap_or_default();
    let resource = form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "resource");
    refusal.to_proxy(resource.and_then(|(_, resource)| metadata(&resource)))
}

/// Where the metadata of a resource are: between its host and its path (RFC 9728, section 3.1). `None`: the text is no identifier of a
/// resource.
pub fn metadata(resource: &str) -> Option<String> {
    let (scheme, rest) = resource.split_once("://")?;
    let is_plain = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\' | b'#' | b'<' | b'>');
    let at = rest.find(['/', '?']).unwrap_or(rest.len());
    let (host, path) = rest.split_at_checked(at)?;
    let is_whole = matches!(scheme, "https" | "http") && !host.is_empty() && !host.contains('@');
    if !is_whole || resource.len() > MOST_RESOURCE || !resource.bytes().all(is_plain) {
        return None;
    }
    let path = if path == "/" { "" } else { path };
    Some(format!("{scheme}://{host}/.well-known/oauth-protected-resource{path}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// R143
    #[test]
    fn the_metadata_of_a_resource_are_between_its_host_and_its_path() {
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
            "https://a#b",
            "https://u@a",
            "https://\u{e9}",
        ] {
            assert_eq!(metadata(resource), None, "{resource}");
        }
    }
}
