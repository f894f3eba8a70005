//! What the answer of another server means, in its own words, without the secret that it was sent.

use common::{agent_secret::SecretValue, probe::ProbeStatus, secret::Secret, text::is_unseen};
use serde_json::{Map, Value as Json};
use store::probe::Finding;

use service::outbound::Answer;

/// Characters of the other server's words.
const WORDS: usize = 300;
/// Characters of an answer that are searched for the secret: more than are kept, so that none is cut in two.
const READ: usize = 4 * WORDS;
/// Characters in a row that make a text a piece of the secret.
const PIECE: usize = 6;
/// What stands for the secret.
const REMOVED: &str = "[removed]";

/// Judges an answer.
pub(super) fn verdict(host: &str, expect: i64, answer: &Answer, secret: &SecretValue) -> Finding {
    let status = i64::from(answer.status);
    let text = String::from_utf8_lossy(&answer.body);
    let body: Json = serde_json::from_str(&text).unwrap_or_default();
    // A service that answers 200 to everything says it in the body.
    let is_refused = body.get("ok") == Some(&Json::Bool(false));
    let words = words(&body, &text).map(|words| cleaned(&words, secret)).filter(|words| !words.is_empty());
    let said = words.as_deref().unwrap_or_default().to_ascii_lowercase();
    let found = match status {
        _ if status == expect && !is_refused => ProbeStatus::Ok,
        401 | 403 | 200..=299 if speaks_of_scope(&said) => ProbeStatus::Forbidden,
        401 => ProbeStatus::Unauthorized,
        403 => ProbeStatus::Forbidden,
        _ if is_refused && speaks_of_credential(&said) => ProbeStatus::Unauthorized,
        _ => ProbeStatus::Unexpected,
    };
    let detail = match (found, words) {
        (ProbeStatus::Ok, _) => format!("{host} answered {status}."),
        (_, Some(words)) => format!("{host} answered {status}: \"{words}\"."),
        (ProbeStatus::Unexpected, None) => format!("{host} answered {status}, and {expect} is expected."),
        (_, None) => format!("{host} answered {status}."),
    };
    Finding { status: found, http_status: Some(status), detail }
}

/// Whether words say that the credential is known and may not do this.
fn speaks_of_scope(words: &str) -> bool {
    ["insufficient_scope", "missing_scope", "missing scope", "insufficient permission", "required scope"]
        .iter()
        .any(|known| words.contains(known))
}

/// Whether words say that the credential is not a good one.
fn speaks_of_credential(words: &str) -> bool {
    ["auth", "token", "account_inactive", "credential"].iter().any(|known| words.contains(known))
}

/// The words of a refusal, where services put them.
fn words(body: &Json, text: &str) -> Option<String> {
    let Json::Object(members) = body else {
        let text = body.as_str().unwrap_or(text).trim();
        // A page says nothing to a program.
        let is_prose = !text.is_empty() && !text.starts_with(['<', '{', '[']) && (body.is_null() || body.is_string());
        return is_prose.then(|| text.chars().take(READ).collect());
    };
    let member = |members: &Map<String, Json>, name: &str| members.get(name).and_then(Json::as_str).map(str::to_owned);
    let inner = |name: &str| match members.get(name) {
        Some(Json::Object(inner)) => member(inner, "message"),
        Some(Json::Array(items)) => match items.first() {
            Some(Json::Object(inner)) => member(inner, "message"),
            Some(Json::String(text)) => Some(text.clone()),
            _ => None,
        },
        _ => None,
    };
    let mut words = inner("error")
        .or_else(|| member(members, "error_description"))
        .or_else(|| member(members, "message"))
        .or_else(|| member(members, "error"))
        .or_else(|| member(members, "detail"))
        .or_else(|| inner("errors"))
        .or_else(|| member(members, "title"))?;
    let more: Vec<String> = ["needed", "provided", "scope"]
        .iter()
        .filter_map(|name| member(members, name).map(|value| format!("{name}: {value}")))
        .collect();
    if !more.is_empty() {
        words.push_str(&format!(" ({})", more.join(", ")));
    }
    Some(words.chars().take(READ).collect())
}

/// Words without the secret, in one line, at most 300 characters.
pub(super) fn cleaned(words: &str, secret: &SecretValue) -> String {
    let words = redacted(words, secret.reveal());
    let plain: String = words.chars().map(|c| if is_unseen(c) { ' ' } else { c }).collect();
    let line = plain.split(' ').filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ");
    Secret::cut_off(line.replace('"', "'")).chars().take(WORDS).collect()
}

/// Replaces every piece of a secret that a server has sent back, whatever it did to the case of its letters; and every word in which it has
/// masked a part, since it shows the rest.
fn redacted(words: &str, secret: &str) -> String {
    let lower = |text: &str| text.chars().map(|c| c.to_ascii_lowercase()).collect::<Vec<char>>();
    let (text, secret) = (lower(words), lower(secret.trim()));
    let length = PIECE.min(secret.len()).max(1);
    let pieces: std::collections::BTreeSet<&[char]> = secret.windows(length).collect();
    let mut is_secret = vec![false; text.len()];
    for (at, window) in text.windows(length).enumerate() {
        if pieces.contains(window) {
            is_secret.iter_mut().skip(at).take(length).for_each(|mark| *mark = true);
        }
    }
    let mut clean = String::with_capacity(words.len());
    let mut was_secret = false;
    for (c, is_secret) in words.chars().zip(is_secret) {
        match (is_secret, was_secret) {
            (true, false) => clean.push_str(REMOVED),
            (true, true) => {}
            (false, _) => clean.push(c),
        }
        was_secret = is_secret;
    }
    let is_masked = |word: &str| word.contains("**") || word.contains('\u{2022}') || word.contains(REMOVED);
    clean.split(' ').map(|word| if is_masked(word) { REMOVED } else { word }).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "sk-proj-0123456789abcdefghijWXYZ";

    fn judge(expect: i64, status: u16, body: &str) -> (ProbeStatus, String) {
        let secret = SecretValue::opened(SECRET.to_owned());
        let answer = Answer { status, body: body.as_bytes().to_vec(), is_whole: true, retry_after: None };
        let found = verdict("api.example.com", expect, &answer, &secret);
        assert_eq!(found.http_status, Some(i64::from(status)));
        (found.status, found.detail)
    }

    /// R113: what each of these services answers to a wrong token, and to one that lacks a scope, as its documentation and its API show it.
    #[test]
    fn the_answers_of_real_services_are_told_apart_in_their_own_words() {
        use ProbeStatus::{Forbidden, Unauthorized};
        for (service, status, body, found, words) in [
            // docs.gitea.com/development/api-usage; routers/api/v1/api.go
            (
                "gitea",
                401,
                r#"{"message":"invalid username, password or token","url":"https://git.example.com/api/swagger"}"#,
                Unauthorized,
                "invalid username, password or token",
            ),
            (
                "gitea",
                401,
                r#"{"message":"token is required","url":"https://git.example.com/api/swagger"}"#,
                Unauthorized,
                "token is required",
            ),
            (
                "gitea",
                403,
                r#"{"message":"token does not have at least one of required scope(s), required=[read:user], token scope=write:repository","url":"https://git.example.com/api/swagger"}"#,
                Forbidden,
                "token does not have at least one of required scope(s), required=[read:user], token scope=write:repository",
            ),
            // docs.github.com/rest/authentication, docs.github.com/rest/using-the-rest-api/troubleshooting-the-rest-api
            (
                "github",
                401,
                r#"{"message":"Bad credentials","documentation_url":"https://docs.github.com/rest","status":"401"}"#,
                Unauthorized,
                "Bad credentials",
            ),
            (
                "github",
                401,
                r#"{"message":"Requires authentication","documentation_url":"https://docs.github.com/rest/users/users#get-the-authenticated-user","status":"401"}"#,
                Unauthorized,
                "Requires authentication",
            ),
            (
                "github",
                403,
                r#"{"message":"Resource not accessible by personal access token","documentation_url":"https://docs.github.com/rest/issues/issues#create-an-issue","status":"403"}"#,
                Forbidden,
                "Resource not accessible by personal access token",
            ),
            // docs.gitlab.com/api/rest/authentication, docs.gitlab.com/api/rest/troubleshooting
            ("gitlab", 401, r#"{"message":"401 Unauthorized"}"#, Unauthorized, "401 Unauthorized"),
            (
                "gitlab",
                401,
                r#"{"error":"invalid_token","error_description":"Token was revoked. You have to re-authorize from the user."}"#,
                Unauthorized,
                "Token was revoked. You have to re-authorize from the user.",
            ),
            (
                "gitlab",
                403,
                r#"{"error":"insufficient_scope","error_description":"The request requires higher privileges than provided by the access token.","scope":"api read_api"}"#,
                Forbidden,
                "The request requires higher privileges than provided by the access token. (scope: api read_api)",
            ),
            ("gitlab", 403, r#"{"message":"403 Forbidden"}"#, Forbidden, "403 Forbidden"),
            // docs.slack.dev/reference/methods/auth.test, docs.slack.dev/reference/methods/chat.postMessage
            ("slack", 200, r#"{"ok":false,"error":"invalid_auth"}"#, Unauthorized, "invalid_auth"),
            ("slack", 200, r#"{"ok":false,"error":"token_revoked"}"#, Unauthorized, "token_revoked"),
            ("slack", 200, r#"{"ok":false,"error":"account_inactive"}"#, Unauthorized, "account_inactive"),
            (
                "slack",
                200,
                r#"{"ok":false,"error":"missing_scope","needed":"chat:write","provided":"identify,users:read"}"#,
                Forbidden,
                "missing_scope (needed: chat:write, provided: identify,users:read)",
            ),
            // platform.openai.com/docs/guides/error-codes
            (
                "openai",
                401,
                r#"{"error":{"message":"You didn't provide an API key.","type":"invalid_request_error","param":null,"code":null}}"#,
                Unauthorized,
                "You didn't provide an API key.",
            ),
            (
                "openai",
                403,
                r#"{"error":{"message":"You have insufficient permissions for this operation. Missing scopes: api.model.read. Check that you have the correct role in your organization (Reader, Writer, Owner) and project (Member, Owner), and if you're using a restricted API key, that it has the necessary scopes.","type":"invalid_request_error","param":null,"code":"missing_scope"}}"#,
                Forbidden,
                "You have insufficient permissions for this operation. Missing scopes: api.model.read.",
            ),
            // It has answered 401 to the same thing.
            (
                "openai",
                401,
                r#"{"error":{"message":"You have insufficient permissions for this operation. Missing scopes: model.request.","type":"invalid_request_error","param":null,"code":null}}"#,
                Forbidden,
                "Missing scopes: model.request.",
            ),
        ] {
            let (status, detail) = judge(200, status, body);
            assert_eq!(status, found, "{service}: {body}");
            assert!(detail.contains(words), "{service}: {detail}");
        }
    }

    /// R113: OpenAI shows a part of a wrong key, others all of it.
    #[test]
    fn no_piece_of_the_secret_comes_back() {
        for echo in [
            SECRET,
            "Bearer sk-proj-0123456789abcdefghijWXYZ",
            "SK-PROJ-0123456789ABCDEFGHIJwxyz",
            "sk-proj-*******************WXYZ",
            "sk-proj-\u{2022}\u{2022}\u{2022}\u{2022}WXYZ",
            "0123456789",
            "x\nsk-proj-0123456789abcdefghijWXYZ\tx",
            "'sk-proj-0123456789abcdefghijWXYZ'",
            "key=abcdefghijWXYZ;",
        ] {
            let message = serde_json::json!({ "error": { "message": format!("Incorrect API key provided: {echo}. See our site.") } });
            let (status, detail) = judge(200, 401, &message.to_string());
            assert_eq!(status, ProbeStatus::Unauthorized);
            let lower = detail.to_lowercase();
            for piece in ["sk-pro", "012345", "6789ab", "wxyz"] {
                assert!(!lower.contains(piece), "{echo}: {detail}");
            }
            assert!(detail.contains("Incorrect API key provided: ") && detail.contains("[removed]"), "{detail}");
        }
    }

    #[test]
    fn words_are_one_line_that_steers_nothing_and_has_an_end() {
        assert_eq!(judge(200, 403, "\"a\\u001b[2Jb\"").1, "api.example.com answered 403: \"a [2Jb\".");
        assert_eq!(judge(200, 403, "[1]").1, "api.example.com answered 403.");
        let (_, detail) = judge(200, 403, "no\u{1b}[2J \u{202e}way\r\nout \"x\"");
        assert_eq!(detail, "api.example.com answered 403: \"no [2J way out 'x'\".");
        let long = format!("{{\"message\": \"{}\"}}", "word ".repeat(500));
        assert!(judge(200, 403, &long).1.chars().count() < 350);
        assert_eq!(judge(200, 502, "<html>Bad gateway</html>").1, "api.example.com answered 502, and 200 is expected.");
        assert_eq!(judge(200, 401, "").1, "api.example.com answered 401.");
        assert_eq!(judge(200, 401, "\u{0}\u{0}").0, ProbeStatus::Unauthorized);
    }

    #[test]
    fn only_the_expected_status_is_good() {
        assert_eq!(judge(200, 200, "{\"ok\": true}").0, ProbeStatus::Ok);
        assert_eq!(judge(200, 200, "anything").0, ProbeStatus::Ok);
        assert_eq!(judge(204, 200, "{}").0, ProbeStatus::Unexpected);
        for status in [301, 302, 307, 308, 404, 429, 500, 503] {
            assert_eq!(judge(200, status, "{\"message\": \"x\"}").0, ProbeStatus::Unexpected, "{status}");
        }
        assert_eq!(judge(200, 200, "{\"ok\": false, \"error\": \"ratelimited\"}").0, ProbeStatus::Unexpected);
    }
}
