//! Signatures of webhooks: those that this server sends (Standard Webhooks), and those of others that it checks.
//!
//! A signature is over the raw body, and compared in a time that does not depend on where it differs.

use base64::{Engine, engine::general_purpose::STANDARD};

use crate::secret::{Chance, Digest, WebhookSecret, hmac};
use crate::time::Timestamp;

/// The beginning of a secret in the text form of Standard Webhooks.
const WHSEC: &str = "whsec_";
/// How far the clocks of two servers may be apart, and how old a request may be, seconds.
pub const TOLERANCE: i64 = 300;

/// A new secret in the form of Standard Webhooks: `whsec_` and 32 random bytes in base64.
pub fn generate(chance: &Chance) -> WebhookSecret {
    WebhookSecret::of(format!("{WHSEC}{}", STANDARD.encode(chance.bytes::<32>())))
}

/// Takes a secret in the form of Standard Webhooks, with or without `whsec_`: 24 to 64 bytes in base64. `None`: it is none.
pub fn parse(text: &str) -> Option<WebhookSecret> {
    let encoded = text.strip_prefix(WHSEC).unwrap_or(text);
    let bytes = STANDARD.decode(encoded).ok()?;
    (24..=64).contains(&bytes.len()).then(|| WebhookSecret::of(format!("{WHSEC}{encoded}")))
}

/// The header `webhook-signature` for one secret. `None`: the secret is not in this form.
pub fn standard(secret: &WebhookSecret, (id, at): (&str, Timestamp), body: &[u8]) -> Option<String> {
    let key = STANDARD.decode(secret.reveal().strip_prefix(WHSEC)?).ok()?;
    let signed = [id.as_bytes(), b".", seconds(at).as_bytes(), b".", body].concat();
    Some(format!("v1,{}", STANDARD.encode(hmac(&key, &signed))))
}

/// The time in the header `webhook-timestamp`.
pub fn seconds(at: Timestamp) -> String {
    at.millis().div_euclid(1_000).to_string()
}

/// Whether one of the signatures in `webhook-signature` is that of this secret, and the time is now.
pub fn is_standard(
    secret: &WebhookSecret,
    (id, time, signatures): (&str, &str, &str),
    body: &[u8],
    now: Timestamp,
) -> bool {
    let Some(at) = fresh(time, now) else { return false };
    let Some(expected) = standard(secret, (id, at), body) else { return false };
    // All are compared, whichever matches.
    !id.is_empty() && signatures.split(' ').take(16).fold(false, |found, one| equal(one, &expected) | found)
}

/// The header `X-Hub-Signature-256` of a body (GitHub, "Validating webhook deliveries").
pub fn github(secret: &WebhookSecret, body: &[u8]) -> String {
    format!("sha256={}", hex(&hmac(secret.reveal().as_bytes(), body)))
}

/// Whether this is that header.
pub fn is_github(secret: &WebhookSecret, signature: &str, body: &[u8]) -> bool {
    equal(signature, &github(secret, body))
}

/// Whether these are the headers `X-Slack-Request-Timestamp` and `X-Slack-Signature` of a body, and the time is now (Slack, "Verifying
/// requests from Slack").
pub fn is_slack(secret: &WebhookSecret, (time, signature): (&str, &str), body: &[u8], now: Timestamp) -> bool {
    let signed = [b"v0:".as_slice(), time.as_bytes(), b":", body].concat();
    let expected = format!("v0={}", hex(&hmac(secret.reveal().as_bytes(), &signed)));
    equal(signature, &expected) & fresh(time, now).is_some()
}

/// A time in seconds that is at most [`TOLERANCE`] away from now.
fn fresh(time: &str, now: Timestamp) -> Option<Timestamp> {
    let seconds: i64 = time.parse().ok()?;
    let at = Timestamp::from_millis(seconds.checked_mul(1_000)?);
    let distance = now.millis().checked_sub(at.millis())?.checked_abs()?;
    (distance <= TOLERANCE * 1_000 && self::seconds(at) == time).then_some(at)
}

fn equal(left: &str, right: &str) -> bool {
    Digest::of(left.as_bytes()).matches(&Digest::of(right.as_bytes()))
}

fn hex(bytes: &[u8; 32]) -> String {
    Digest::from(*bytes).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_800_000_000;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(seconds * 1_000)
    }

    fn secret(text: &str) -> WebhookSecret {
        WebhookSecret::parse(text.to_owned()).unwrap()
    }

    /// The vector of Standard Webhooks' own documentation.
    #[test]
    fn standard_signatures_are_those_of_the_specification() {
        let secret = parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let body = br#"{"test": 2432232314}"#;
        let (id, signature) = ("msg_p5jXN8AQM9LWM0D4loKWxJek", "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
        assert_eq!(standard(&secret, (id, at(1_614_265_330)), body).as_deref(), Some(signature));
        let now = at(1_614_265_330 + TOLERANCE);
        let time = "1614265330";
        for (sent, good) in [
            ((id, time, signature), true),
            ((id, time, format!("v1,AAAA {signature} v1a,x").as_str()), true),
            (("", time, signature), false),
            (("msg_x", time, signature), false),
            ((id, "1614265331", signature), false),
            ((id, "01614265330", signature), false),
            ((id, "", signature), false),
            ((id, time, ""), false),
            ((id, time, signature.trim_start_matches("v1,")), false),
        ] {
            assert_eq!(is_standard(&secret, sent, body, now), good, "{sent:?}");
        }
        assert!(!is_standard(&secret, (id, time, signature), br#"{"test": 2432232315}"#, now));
        assert!(!is_standard(&secret, (id, time, signature), body, at(1_614_265_330 + TOLERANCE + 1)), "old");
        assert!(!is_standard(&secret, (id, time, signature), body, at(1_614_265_330 - TOLERANCE - 1)), "not yet");
    }

    /// The vectors of GitHub's and of Slack's documentation.
    #[test]
    fn signatures_of_github_and_slack_are_those_of_their_documentation() {
        // The secret of the documentation has blanks, which a key's value here has not.
        let github = WebhookSecret::of("It's a Secret to Everybody".to_owned());
        let signature = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
        assert!(is_github(&github, signature, b"Hello, World!"));
        for (signature, body) in [
            (signature, "Hello, World"),
            (&signature.to_uppercase(), "Hello, World!"),
            (signature.trim_start_matches("sha256="), "Hello, World!"),
            ("", "Hello, World!"),
        ] {
            assert!(!is_github(&github, signature, body.as_bytes()), "{signature}");
        }

        let slack = secret("8f742231b10e8888abcd99yyyzzz85a5");
        let body = b"token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c";
        let sent = ("1531420618", "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503");
        assert!(is_slack(&slack, sent, body, at(1_531_420_618 + TOLERANCE)));
        assert!(!is_slack(&slack, sent, body, at(1_531_420_618 + TOLERANCE + 1)), "old");
        assert!(!is_slack(&slack, sent, &body[1..], at(1_531_420_618)));
        assert!(!is_slack(&slack, ("1531420619", sent.1), body, at(1_531_420_618)));
        assert!(
            !is_slack(&slack, ("", sent.1), body, at(NOW)) && !is_slack(&slack, (sent.0, ""), body, at(1_531_420_618))
        );
    }

    #[test]
    fn a_standard_secret_is_base64_of_24_to_64_bytes() {
        let made = generate(&Chance::seeded(1));
        assert!(
            made.reveal().starts_with(WHSEC) && parse(made.reveal()).is_some_and(|read| read.reveal() == made.reveal())
        );
        assert_eq!(
            parse("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap().reveal(),
            "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
        );
        for bad in [
            "",
            "whsec_",
            "whsec_short",
            "whsec_c2hvcnQ=",
            "not base64 at all, but long enough to be one",
            &"A".repeat(100),
        ] {
            assert!(parse(bad).is_none(), "{bad}");
        }
    }
}
