//! What OAuth clients send, by rules that need no database: redirect URIs, challenges of PKCE, client ids that are URLs.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

use crate::{secret::Digest, url::Url};

/// The longest redirect URI and client id, characters.
pub const MOST_URI: usize = 500;
/// Redirect URIs of one client at most.
pub const MOST_URIS: usize = 16;

/// Parameters that an authorization response adds to a redirect URI (RFC 6749, section 4.1.2; RFC 9207): the URI holds none of them.
const ADDED: [&str; 6] = ["code", "state", "iss", "error", "error_description", "error_uri"];

/// Whether the host is this computer itself, as the person's browser sees it (RFC 8252, sections 7.3 and 8.3).
fn is_loopback(url: &Url<'_>) -> bool {
    matches!(url.host, "127.0.0.1" | "[::1]" | "localhost")
}

/// The path without its query.
fn path_of<'a>(url: &Url<'a>) -> &'a str {
    url.path.split('?').next().unwrap_or_default()
}

/// Whether a path has segments that another reader would take away, or slashes that are encoded.
fn has_dots(path: &str) -> bool {
    let path = path.to_ascii_lowercase().replace("%2e", ".");
    path.split('/').any(|segment| matches!(segment, "." | "..")) || path.contains("%2f") || path.contains("%5c")
}

/// Takes a redirect URI that a client may register: https, or http of this computer itself; without a user part, a fragment, segments of
/// dots or encoded slashes, and without a parameter that an answer adds.
pub fn redirect_uri(text: &str) -> Option<Url<'_>> {
    let url = Url::parse(text).filter(|url| url.fragment.is_none() && text.len() <= MOST_URI)?;
    let query = url.path.split_once('?').map_or("", |(_, query)| query);
    let adds = |pair: &str| ADDED.contains(&pair.split('=').next().unwrap_or_default());
    let is_good = (url.is_secure || is_loopback(&url)) && !has_dots(path_of(&url)) && !query.split('&').any(adds);
    is_good.then_some(url)
}

/// Whether a redirect URI is one that a client registered: the same text; of this computer itself also with another port, which a program
/// is given when it starts (RFC 8252, section 7.3).
pub fn is_registered(registered: &str, sent: &str) -> bool {
    let (Some(known), Some(url)) = (redirect_uri(registered), redirect_uri(sent)) else { return false };
    if registered == sent {
        return true;
    }
    let is_local = !known.is_secure && !url.is_secure && is_loopback(&known) && known.host == url.host;
    is_local && known.path == url.path
}

/// Whether a redirect URI leads to a program on the person's own computer.
pub fn is_local(redirect: &str) -> bool {
    redirect_uri(redirect).is_some_and(|url| is_loopback(&url))
}

/// Scheme, host and port of a redirect URI, as a browser's policy names them.
pub fn origin_of(redirect: &str) -> Option<&str> {
    let url = redirect_uri(redirect)?;
    redirect.get(..redirect.len() - url.path.len())
}

/// Takes a client id that is the URL of a document about the client (draft-ietf-oauth-client-id-metadata-document, section 3): https, with a
/// path, without segments of dots and without a fragment. One with a query is refused too, as the draft discourages them.
pub fn document_url(text: &str) -> Option<Url<'_>> {
    let url = Url::parse(text).filter(|url| url.is_secure && url.fragment.is_none() && text.len() <= MOST_URI)?;
    let is_good = url.path.starts_with('/') && !url.path.contains('?') && !has_dots(url.path);
    is_good.then_some(url)
}

/// Whether a text is a challenge of the method S256 (RFC 7636, section 4.2).
pub fn is_challenge(text: &str) -> bool {
    URL_SAFE_NO_PAD.decode(text).is_ok_and(|bytes| bytes.len() == 32)
}

/// Whether a verifier is of the form of section 4.1, and is the one that the challenge was made of.
pub fn verifies(challenge: &str, verifier: &str) -> bool {
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'~');
    let has_form = (43..=128).contains(&verifier.len()) && verifier.bytes().all(is_plain);
    let made: Option<[u8; 32]> = URL_SAFE_NO_PAD.decode(challenge).ok().and_then(|bytes| bytes.try_into().ok());
    has_form && made.is_some_and(|made| Digest::from(made).matches(&Digest::of(verifier.as_bytes())))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// R133: a redirect URI is compared as text; only the port of this computer itself is free.
    #[test]
    fn a_redirect_uri_is_compared_exactly() {
        let app = "https://app.example.com/cb";
        for (registered, sent) in [
            (app, app),
            ("https://app.example.com/cb?x=1", "https://app.example.com/cb?x=1"),
            ("http://127.0.0.1/cb", "http://127.0.0.1:51004/cb"),
            ("http://127.0.0.1:8080/cb", "http://127.0.0.1:9/cb"),
            ("http://[::1]/cb?a=b", "http://[::1]:9/cb?a=b"),
            ("http://localhost/callback", "http://localhost:33418/callback"),
        ] {
            assert!(is_registered(registered, sent), "{registered} {sent}");
        }
        for sent in [
            "",
            "https://app.example.com",
            "https://app.example.com/cb/",
            "https://app.example.com/CB",
            "https://APP.example.com/cb",
            "https://app.example.com:443/cb",
            "https://app.example.com:8443/cb",
            "http://app.example.com/cb",
            "https://app.example.com/cb?x=1",
            "https://app.example.com/cb#x",
            "https://app.example.com/cb#",
            "https://app.example.com/x/../cb",
            "https://app.example.com/./cb",
            "https://app.example.com/%2e%2e/cb",
            "https://app.example.com/x%2F..%2Fcb",
            "https://app.example.com%2fcb",
            "https://app.example.com/%63b",
            "https://app.example.com\\@evil.example/cb",
            "https://evil.example/https://app.example.com/cb",
            "https://app.example.com@evil.example/cb",
            "https://app.example.com:x@evil.example/cb",
            "https://app.example.com.evil.example/cb",
            "https://evil.example/?https://app.example.com/cb",
            " https://app.example.com/cb",
            "https://app.example.com/cb\n",
            "//app.example.com/cb",
            "javascript:alert(1)",
            "https://app.example.com/cb https://evil.example",
        ] {
            assert!(!is_registered(app, sent), "{sent}");
        }
        for (registered, sent) in [
            ("http://127.0.0.1/cb", "http://localhost/cb"),
            ("http://127.0.0.1/cb", "http://127.0.0.2:80/cb"),
            ("http://127.0.0.1/cb", "http://127.0.0.1:80/cb2"),
            ("http://127.0.0.1/cb", "http://127.0.0.1:80/cb?x"),
            ("http://127.0.0.1/cb", "https://127.0.0.1:80/cb"),
            ("https://127.0.0.1/cb", "https://127.0.0.1:81/cb"),
            ("http://127.0.0.1/cb", "http://x@127.0.0.1/cb"),
            ("http://127.0.0.1/cb", "http://127.0.0.1:80@evil.example/cb"),
            ("http://127.0.0.1/cb", "http://127.0.0.1.evil.example/cb"),
            ("http://localhost/cb", "http://localhost.evil.example/cb"),
            ("http://127.0.0.1/cb", "http://127.0.0.1:70000/cb"),
        ] {
            assert!(!is_registered(registered, sent), "{registered} {sent}");
        }
    }

    /// R133.
    #[test]
    fn only_https_and_this_computer_can_be_registered() {
        for good in ["https://a.example", "https://a.example/cb?tenant=1", "http://127.0.0.1/", "http://localhost:1/x"]
        {
            assert!(redirect_uri(good).is_some(), "{good}");
        }
        for bad in [
            "http://a.example/cb",
            "http://127.0.0.2/cb",
            "app:/cb",
            "https://a.example/cb?code=1",
            "https://a.example/cb?x=1&state",
            "https://a.example/a/../b",
            "https://a.example/a%2fb",
            "https://a.example/cb#",
            &format!("https://a.example/{}", "a".repeat(MOST_URI)),
        ] {
            assert!(redirect_uri(bad).is_none(), "{bad}");
        }
        assert_eq!(origin_of("https://a.example:8443/cb?x"), Some("https://a.example:8443"));
        assert_eq!(origin_of("http://[::1]:9"), Some("http://[::1]:9"));
        assert!(is_local("http://localhost:9/cb") && !is_local("https://a.example/cb"));
    }

    /// R132.
    #[test]
    fn a_client_id_that_is_a_url_names_a_document() {
        for good in ["https://app.example.com/oauth/client.json", "https://app.example.com:8443/"] {
            assert!(document_url(good).is_some(), "{good}");
        }
        for bad in [
            "http://app.example.com/client.json",
            "https://app.example.com",
            "https://app.example.com/a/../client.json",
            "https://app.example.com/./client.json",
            "https://app.example.com/%2e%2e/client.json",
            "https://app.example.com/client.json#x",
            "https://app.example.com/client.json?x=1",
            "https://user@app.example.com/client.json",
            "https://user:word@app.example.com/client.json",
            "cli_0",
            "",
        ] {
            assert!(document_url(bad).is_none(), "{bad}");
        }
    }

    /// R133: the example of RFC 7636, appendix B.
    #[test]
    fn a_verifier_is_held_against_its_challenge() {
        let (challenge, verifier) =
            ("E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM", "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk");
        assert!(is_challenge(challenge) && verifies(challenge, verifier));
        for bad in ["", challenge, &verifier[1..], &verifier.replace('d', "e"), &"a".repeat(43), &"a".repeat(129)] {
            assert!(!verifies(challenge, bad), "{bad}");
        }
        for bad in ["", verifier, &challenge[1..], &format!("{challenge}="), &"=".repeat(43), &"!".repeat(43)] {
            assert!(!is_challenge(bad) || bad == verifier, "{bad}");
        }
    }
}
