//! The headers of a request: which of them Accredit is asked with, which the service gets, and which come back.

use crate::settings::{Settings, TOLD};

/// A name and a value.
pub type Header = (String, Vec<u8>);

/// The header of a proof (RFC 9449, section 4.1).
pub(crate) const PROOF: &str = "dpop";

/// What a page of another origin may send to where the metadata are: what clients of MCP send with each request.
pub(crate) fn for_pages() -> Vec<Header> {
    let allowed = [
        ("access-control-allow-methods", "GET"),
        ("access-control-allow-headers", "authorization, content-type, dpop, mcp-protocol-version"),
        ("access-control-max-age", "600"),
    ];
    allowed.map(|(name, value)| (name.to_owned(), value.as_bytes().to_vec())).to_vec()
}

/// Whether a header is about one connection (RFC 9110, sections 7.6.1 and 11.7), or says something of the host's own about it. A message of
/// WASI holds none of the former.
pub fn is_of_the_connection(name: &str) -> bool {
    const OF_ONE: [&str; 11] = [
        "connection",
        "host",
        "http2-settings",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    ];
    let name = name_of(name);
    OF_ONE.contains(&name.as_str()) || name.starts_with(HOSTS)
}

/// How the names of headers begin in which the host says something about a request.
const HOSTS: &str = "spin-";

/// Headers by which some frameworks take another method or path than those of the request, which the rules have looked at.
const OTHERWISE: [&str; 5] =
    ["x-http-method-override", "x-http-method", "x-method-override", "x-original-url", "x-rewrite-url"];

/// A name as frameworks read it: some take `_` for `-`, and some, such as PHP, all that is neither a letter nor a digit.
fn name_of(name: &str) -> String {
    name.to_ascii_lowercase().replace(|c: char| !c.is_ascii_alphanumeric(), "-")
}

/// Whether the service gets this header of the client: not its credential, nothing that could be taken for Accredit's, and not the
/// place of the secret that the guard adds.
pub fn is_clients(settings: &Settings, name: &str) -> bool {
    let name = name_of(name);
    let is_added = settings.added.as_ref().is_some_and(|added| added.name == name);
    let is_otherwise = !settings.rules.is_empty() && OTHERWISE.contains(&name.as_str());
    name != "authorization" && name != PROOF && !name.starts_with(TOLD) && !is_added && !is_otherwise
}

/// Whether a `Connection` of the client names a header that is not the client's: the next proxy would take that one away, and the service
/// would not be told who calls (RFC 9110, section 7.6.1).
pub fn takes_away(settings: &Settings, connection: &[u8]) -> bool {
    String::from_utf8_lossy(connection).split(',').any(|name| !is_clients(settings, name.trim()))
}

/// The headers of the request that Accredit needs: the credential, every one of them, and in which form a refusal is wanted.
pub fn asked(headers: &[Header], client: Option<&str>) -> Vec<Header> {
    let is_needed = |name: &str| ["authorization", "accept"].iter().any(|needed| name.eq_ignore_ascii_case(needed));
    let mut asked: Vec<Header> = headers.iter().filter(|(name, _)| is_needed(name)).cloned().collect();
    asked.extend(client.map(|client| ("x-forwarded-for".to_owned(), client.as_bytes().to_vec())));
    asked
}

/// What Accredit needs beside, to verify the proof of a key: the proof, and which request it is for.
pub fn proved(headers: &[Header], (method, path): (&str, &str)) -> Vec<Header> {
    let proofs = headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case(PROOF)).cloned();
    let said = [("x-forwarded-method", method), ("x-forwarded-uri", path)];
    proofs.chain(said.map(|(name, value)| (name.to_owned(), value.as_bytes().to_vec()))).collect()
}

/// The headers for a service behind a connection of the guard's own: those of the client that pass, the client's address behind those that
/// it names itself, what Accredit says, and the secret.
pub fn passed(settings: &Settings, headers: Vec<Header>, client: Option<&str>, told: &[Header]) -> Vec<Header> {
    let is_passed = |name: &str| !is_of_the_connection(name) && is_clients(settings, name);
    let mut passed: Vec<Header> = headers.into_iter().filter(|(name, _)| is_passed(name)).collect();
    passed.extend(client.map(|client| ("x-forwarded-for".to_owned(), client.as_bytes().to_vec())));
    passed.extend(added(settings, told));
    passed
}

/// What the host says about a request, for a service that is called without a connection of its own.
pub fn of_the_host(headers: &[Header]) -> Vec<Header> {
    headers.iter().filter(|(name, _)| name_of(name).starts_with(HOSTS)).cloned().collect()
}

/// What the guard adds: the headers that have a value, of those that Accredit says, and the secret. Nothing for a request of nobody.
pub fn added(settings: &Settings, told: &[Header]) -> Vec<Header> {
    if told.is_empty() {
        return Vec::new();
    }
    let mut added: Vec<Header> = told.iter().filter(|(_, value)| !value.is_empty()).cloned().collect();
    added.extend(settings.added.as_ref().map(|secret| (secret.name.clone(), secret.reveal().as_bytes().to_vec())));
    added
}

/// Of an answer of Accredit, the headers about the caller.
pub fn told(answer: &[Header]) -> Vec<Header> {
    answer.iter().filter(|(name, _)| name_of(name).starts_with(TOLD)).cloned().collect()
}

/// The headers of a refusal that the client gets.
pub fn refused(answer: &[Header]) -> Vec<Header> {
    const KEPT: [&str; 5] = ["content-type", "www-authenticate", "cache-control", "retry-after", "x-request-id"];
    answer.iter().filter(|(name, _)| KEPT.iter().any(|kept| name.eq_ignore_ascii_case(kept))).cloned().collect()
}

/// Whether a header of the service's answer goes back: not one in which the service repeats the secret.
pub fn is_answered(settings: &Settings, value: &[u8]) -> bool {
    settings.added.as_ref().is_none_or(|added| {
        let secret = added.reveal().as_bytes();
        !value.windows(secret.len()).any(|part| part == secret)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::tests::settings;

    fn header(name: &str, value: &str) -> Header {
        (name.to_owned(), value.as_bytes().to_vec())
    }

    /// R143: nothing that a client sends under Accredit's names reaches the service, and not its credential. R180: nor what it sends in the
    /// place of the secret.
    #[test]
    fn the_service_is_told_by_accredit_alone() {
        let changes = [("secret_header", "X-Api-Key"), ("secret", "a-long-secret"), ("rules", "GET /a = x.a")];
        let settings = settings(&changes).unwrap();
        let sent = [
            ("Accept", "*/*"),
            ("X-Accredit-Subject", "forged"),
            ("x-ACCREDIT-agent", "forged"),
            ("X_Accredit_Agent", "forged"),
            ("x-accredit_new", "forged"),
            // R518
            ("X.Accredit.Agent", "forged"),
            ("x~accredit-agent", "forged"),
            ("X.API.Key", "forged"),
            ("Authorization", "Bearer a"),
            ("host", "crm.example.com"),
            ("cookie", "c"),
            ("Connection", "keep-alive"),
            // R482
            ("Proxy-Authorization", "Basic eA=="),
            ("X-HTTP-Method-Override", "DELETE"),
            ("X-Original-URL", "/admin"),
            ("X-API-KEY", "forged"),
            ("x_api_key", "forged"),
            ("spin-client-addr", "192.0.2.1:4000"),
        ];
        let sent: Vec<Header> = sent.iter().map(|(name, value)| header(name, value)).collect();
        let answer =
            [header("x-accredit-subject", "usr_1"), header("x-accredit-agent", ""), header("content-length", "0")];
        let client = header("x-forwarded-for", "192.0.2.1");
        let expected = [
            header("Accept", "*/*"),
            header("cookie", "c"),
            client,
            header("x-accredit-subject", "usr_1"),
            header("x-api-key", "a-long-secret"),
        ];
        assert_eq!(passed(&settings, sent.clone(), Some("192.0.2.1"), &told(&answer)), expected);
        let asked = asked(&sent, Some("192.0.2.1"));
        assert_eq!(
            asked,
            [header("Accept", "*/*"), header("Authorization", "Bearer a"), header("x-forwarded-for", "192.0.2.1")]
        );
        for (connection, is_taken) in [
            ("keep-alive, Upgrade", false),
            ("close, X-Accredit-Kind", true),
            ("close ,x_accredit_agent\t", true),
            ("X-Api-Key", true),
            ("", false),
        ] {
            assert_eq!(takes_away(&settings, connection.as_bytes()), is_taken, "{connection}");
        }
        for name in
            ["Keep-Alive", "connection", "Upgrade", "Proxy-Authenticate", "proxy_authorization", "spin-client-addr"]
        {
            assert!(is_of_the_connection(name), "{name}");
        }
        assert!(!is_of_the_connection("content-type") && !is_of_the_connection("www-authenticate"));
        assert!(!is_answered(&settings, b"key=a-long-secret;") && is_answered(&settings, b"a-long-secre"));
    }

    /// Without rules nothing looks at the method, and without a secret every answer goes back.
    #[test]
    fn what_is_not_compared_is_passed() {
        let settings = settings(&[]).unwrap();
        assert!(is_clients(&settings, "x-http-method-override") && is_clients(&settings, "x-api-key"));
        assert!(is_answered(&settings, b"a-long-secret"));
    }
}
