//! What OAuth clients send, by rules that need no database: redirect URIs, challenges of PKCE, client ids that are URLs.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

use crate::{
    secret::Digest,
    url::{Url, is_ambiguous_path, is_plain},
};

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

/// Takes a redirect URI that a client may register: https, or http of this computer itself; without a user part, a fragment, segments of
/// dots or encoded slashes, and without a parameter that an answer adds.
pub fn redirect_uri(text: &str) -> Option<Url<'_>> {
    let url = Url::parse(text).filter(|url| url.fragment.is_none() && text.len() <= MOST_URI)?;
    let query = url.path.split_once('?').map_or("", |(_, query)| query);
    let is_good =
        (url.is_secure || is_loopback(&url)) && !is_ambiguous_path(path_of(&url)) && !query.split('&').any(adds);
    is_good.then_some(url)
}

/// Schemes that mean something to browsers, systems or other programs than the client's own: those that browsers run or show themselves, those
/// that any page may take over (HTML, section 8.7.1.3), and the permanent ones of IANA's register.
const COMMON: [&str; 4] = [
    // Run or shown by a browser, or of its own pages.
    "about app blob brave browser content data edge filesystem firefox googlechrome googlechromes intent jar javascript livescript mocha \
     opera resource safari vbscript view-source vivaldi wyciwyg",
    // Of a system: its files, settings, shops and other programs.
    "afp android-app android-resource appinstaller apt callto cifs davs facetime facetime-audio file ftps help hcp imessage itms itms-apps \
     itms-services macappstore maps market nxm onenote org-protocol outlook prefs rdp res rlogin search search-ms shell shortcuts skype smb \
     steam tel telprompt webcal",
    // That a page may take over.
    "bitcoin ftp geo im irc ircs magnet mailto matrix mms news nntp openpgp4fpr sftp sip sms smsto ssb ssh urn wtai xmpp",
    // Registered for good, or in every system's tables.
    "aaa aaas acap acct cap cid coap coaps crid dav dict dns doi dtn example feed git go gopher h323 http https iax icap imap info ipn ipp \
     ipps jabber ldap ldaps leaptofrogans mid msrp msrps mt mtqp mupdate mvn nfs ni nih opaquelocktoken payto pkcs11 pop pres reload rsync \
     rtsp rtsps rtspu service session shttp sieve sips snmp stun stuns svn tag telnet tftp thismessage tip tn3270 turn turns tv udp vemmi \
     vnc ws wss xcon z39.50 z39.50r z39.50s",
];
/// The same of schemes that begin so.
const COMMON_FAMILIES: &str =
    "ms- microsoft chrome moz- safari- x-apple x-man x-msg web+ ext+ soap.beep xmlrpc.beep iris coap+ javascript";
/// The longest scheme, characters.
const MOST_SCHEME: usize = 64;

/// Takes a redirect URI of a program on the person's own device that answers to a scheme of its own (RFC 8252, section 7.1), and returns the
/// scheme. Only the text that was registered is ever compared with it. It has no user part, no fragment, no segments of dots and no parameter
/// that an answer adds; its scheme is in lower case, and means nothing to anybody else.
pub fn private_use(text: &str) -> Option<&str> {
    let (scheme, rest) = text.split_once(':').filter(|_| text.len() <= MOST_URI)?;
    let is_letter = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"+-.".contains(&b);
    let is_scheme = (2..=MOST_SCHEME).contains(&scheme.len())
        && scheme.starts_with(|c: char| c.is_ascii_lowercase())
        && scheme.bytes().all(is_letter);
    let is_common = COMMON.iter().flat_map(|names| names.split(' ')).any(|name| name == scheme)
        || COMMON_FAMILIES.split(' ').any(|family| scheme.starts_with(family));
    let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
    let has_user =
        path.strip_prefix("//").and_then(|rest| rest.split('/').next()).is_some_and(|host| host.contains('@'));
    let is_good =
        path.starts_with('/') && is_plain(rest) && !has_user && !is_ambiguous_path(path) && !query.split('&').any(adds);
    (is_scheme && !is_common && is_good).then_some(scheme)
}

/// Whether a pair of a query has a name that an authorization response adds.
fn adds(pair: &str) -> bool {
    ADDED.contains(&pair.split('=').next().unwrap_or_default())
}

/// Whether a redirect URI is one that a client registered: the same text; of this computer itself also with another port, which a program
/// is given when it starts (RFC 8252, section 7.3).
pub fn is_registered(registered: &str, sent: &str) -> bool {
    if private_use(sent).is_some() {
        return registered == sent;
    }
    let (Some(known), Some(url)) = (redirect_uri(registered), redirect_uri(sent)) else { return false };
    if registered == sent {
        return true;
    }
    let is_local = !known.is_secure && !url.is_secure && is_loopback(&known) && known.host == url.host;
    is_local && known.path == url.path
}

/// Whether a redirect URI leads to a program on the person's own computer.
pub fn is_local(redirect: &str) -> bool {
    private_use(redirect).is_some() || redirect_uri(redirect).is_some_and(|url| is_loopback(&url))
}

/// Where a redirect URI leads, for its reader: host and port, or the scheme of a program on the person's own device, such as `com.example.app:`.
pub fn leads_to(redirect: &str) -> Option<String> {
    let scheme = private_use(redirect).map(|scheme| format!("{scheme}:"));
    scheme.or_else(|| redirect_uri(redirect).map(|url| url.authority()))
}

/// Scheme, host and port of a redirect URI, as a browser's policy names them; of one with a scheme of its own the scheme.
pub fn origin_of(redirect: &str) -> Option<&str> {
    if let Some(scheme) = private_use(redirect) {
        return redirect.get(..=scheme.len());
    }
    let url = redirect_uri(redirect)?;
    redirect.get(..redirect.len() - url.path.len())
}

/// Takes a client id that is the URL of a document about the client (draft-ietf-oauth-client-id-metadata-document, section 3): https, with a
/// path, without segments of dots and without a fragment. One with a query is refused too, as the draft discourages them.
pub fn document_url(text: &str) -> Option<Url<'_>> {
    let url = Url::parse(text).filter(|url| url.is_secure && url.fragment.is_none() && text.len() <= MOST_URI)?;
    let is_good = url.path.starts_with('/') && !url.path.contains('?') && !is_ambiguous_path(url.path);
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

    /// R251: a scheme of a program's own leads to that program alone, by the very text; none that means something to anybody else.
    #[test]
    fn a_private_scheme_is_one_that_nobody_else_has() {
        for (good, scheme) in [
            ("cursor://anysphere.cursor-mcp/oauth/callback", "cursor"),
            ("com.example.app:/cb", "com.example.app"),
            ("vscode://x/y", "vscode"),
            ("vscode-insiders://x/y?a=b", "vscode-insiders"),
            ("myapp:///cb", "myapp"),
        ] {
            assert_eq!(private_use(good), Some(scheme), "{good}");
            assert_eq!(origin_of(good), good.get(..=scheme.len()));
            assert_eq!(leads_to(good), Some(format!("{scheme}:")));
            assert!(redirect_uri(good).is_none() && is_local(good) && is_registered(good, good), "{good}");
            for other in [format!("{good}/"), format!("{good}?"), good.to_uppercase(), good.replacen(':', ":1", 1)] {
                assert!(!is_registered(good, &other) && !is_registered(&other, good), "{other}");
            }
        }
        assert!(!is_registered("vscode://x:1/y", "vscode://x:2/y") && !is_registered("vscode://x/y", "https://x/y"));
        for scheme in [
            "http",
            "https",
            "javascript",
            "data",
            "file",
            "blob",
            "about",
            "vbscript",
            "mailto",
            "tel",
            "ws",
            "wss",
            "ftp",
            "view-source",
            "chrome",
            "chrome-extension",
            "moz-extension",
            "ms-settings",
            "ms-msdt",
            "search-ms",
            "intent",
            "web+app",
            "ssh",
            "smb",
            "urn",
            "x-apple-shortcuts",
            "javascripts",
            "JavaScript",
            "1app",
            "a",
            "app_1",
            "a b",
            "",
            "-app",
            "\u{e9}app",
        ] {
            for rest in ["//x/y", "/cb", "alert(1)"] {
                assert_eq!(private_use(&format!("{scheme}:{rest}")), None, "{scheme}:{rest}");
            }
        }
        for bad in [
            "cursor",
            "cursor:",
            "cursor:cb",
            "cursor://user@host/cb",
            "cursor://host/cb#x",
            "cursor://host/../cb",
            "cursor://host/%2e%2e/cb",
            "cursor://host/a%2fb",
            "cursor://host/cb?code=1",
            "cursor://host/cb?a=b&state",
            "cursor://host/\"><script>",
            "cursor://host/cb; script-src *",
            " cursor://host/cb",
            "java\nscript://x/y",
            &format!("cursor://{}", "a".repeat(MOST_URI)),
        ] {
            assert_eq!(private_use(bad), None, "{bad}");
        }
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
