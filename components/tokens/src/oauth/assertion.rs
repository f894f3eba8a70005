//! Assertions in JWT (RFC 7523, section 3): what somebody else has signed, held against what is expected of it. RFC 8725 says what can be wrong
//! with it.

use common::{error::ApiError, secret::Digest, time::Timestamp, workload};
use jose::Jws;
use serde_json::Value as Json;
use service::app::App;
use store::key_set::{Keys, Source};

use super::key_sets;

/// How far the clock of the one that signs may be from ours, seconds.
const SKEW: i64 = 60;
/// How long an assertion may live, seconds.
const LONGEST: i64 = 86_400;

/// What is expected of an assertion.
pub(super) struct Expected<'a> {
    /// What `iss` must be. A trust domain of SPIFFE need not stand there: the subject names it (JWT-SVID, section 3).
    pub(super) issuer: &'a str,
    /// `aud` must hold one of them.
    pub(super) audiences: &'a [&'a str],
    /// Whether `aud` must hold nothing else: what is for several could be sent here by another one of them.
    pub(super) is_sole: bool,
    /// The types that it may have, in lower case; none is always good.
    pub(super) types: &'a [&'a str],
    pub(super) keys: &'a Keys,
}

/// An assertion that holds.
pub(super) struct Assertion {
    pub(super) claims: Json,
    pub(super) subject: String,
    /// What tells it from every other one of its issuer, and until when it has to be known.
    pub(super) id: String,
    pub(super) known_until: Timestamp,
}

impl Assertion {
    /// The digest by which it is taken once. `whose` says for whom.
    pub(super) fn digest(&self, whose: &[&str]) -> Digest {
        Digest::of_parts(&[whose, &["assertion", self.id.as_str()]].concat())
    }
}

/// Verifies an assertion. `refuse` makes a refusal of a few words on what is wrong.
pub(super) async fn verify(
    app: &App,
    text: &str,
    expected: &Expected<'_>,
    refuse: impl Fn(&str) -> ApiError,
) -> Result<Assertion, ApiError> {
    let jws = Jws::parse(text).map_err(&refuse)?;
    // RFC 8725, section 3.11: a token that was made for something else.
    if jws.typ().is_some_and(|typ| !expected.types.contains(&typ.to_ascii_lowercase().as_str())) {
        return Err(refuse("it is a token of another type"));
    }
    let claims = match expected.keys {
        Keys::Pasted(keys) => jws.verify(keys),
        Keys::From(source) => jws.verify(&keys_of(app, source, &jws).await?),
    };
    let claims = claims.map_err(&refuse)?;
    let known_until = check(&claims, expected, app.now()).map_err(&refuse)?;
    let subject = text_of(&claims, "sub").to_owned();
    // A second signature of the same text may hold as well: what was signed counts.
    let id = match claims.get("jti") {
        None => format!("signed {}", jws.signed()),
        Some(Json::String(id)) if (1..=255).contains(&id.len()) => format!("jti {id}"),
        Some(_) => return Err(refuse("its jti is no text of 1 to 255 bytes")),
    };
    Ok(Assertion { claims, subject, id, known_until })
}

async fn keys_of(app: &App, source: &Source, jws: &Jws<'_>) -> Result<Vec<Json>, ApiError> {
    key_sets::keys(app, source, |keys| jws.key(keys).is_some()).await
}

fn text_of<'a>(claims: &'a Json, name: &str) -> &'a str {
    claims.get(name).and_then(Json::as_str).unwrap_or_default()
}

/// Checks issuer, audience and times; gives the moment from which it is refused for its age.
fn check(claims: &Json, expected: &Expected<'_>, now: Timestamp) -> Result<Timestamp, &'static str> {
    let is_domain = workload::is_trust_domain(expected.issuer);
    let is_known = match claims.get("iss") {
        None => is_domain,
        Some(issuer) => issuer.as_str().is_some_and(|issuer| !issuer.is_empty() && issuer == expected.issuer),
    };
    if !is_known {
        return Err("its iss is another issuer");
    }
    let is_for_us = |audience: &str| expected.audiences.contains(&audience);
    let is_right = match claims.get("aud") {
        Some(Json::String(audience)) => is_for_us(audience),
        Some(Json::Array(all)) => all.iter().all(Json::is_string) && all.iter().filter_map(Json::as_str).any(is_for_us),
        _ => false,
    };
    if !is_right {
        return Err("its aud is another audience");
    }
    if expected.is_sole && claims.get("aud").and_then(Json::as_array).is_some_and(|all| all.len() != 1) {
        return Err("its aud has more than one audience");
    }
    if text_of(claims, "sub").is_empty() {
        return Err("it has no sub");
    }
    // The keys of a trust domain speak for no other one.
    if is_domain && !workload::is_of_domain(expected.issuer, text_of(claims, "sub")) {
        return Err("its sub is of another trust domain");
    }
    let now = now.millis().div_euclid(1000);
    let time = |name: &str| match claims.get(name) {
        None => Ok(None),
        Some(value) => seconds(value).map(Some).ok_or("a time in it is no number of seconds"),
    };
    let ends = time("exp")?.ok_or("it has no exp")?;
    if ends + SKEW <= now {
        return Err("it has expired");
    }
    let issued = time("iat")?;
    if issued.is_some_and(|at| at > now + SKEW) || time("nbf")?.is_some_and(|from| from > now + SKEW) {
        return Err("it is of a time to come");
    }
    if ends - issued.unwrap_or(now) > LONGEST {
        return Err("it lives longer than 24 hours");
    }
    Ok(Timestamp::from_millis((ends + SKEW) * 1000))
}

/// Seconds, which may have a fraction (RFC 7519, section 2).
fn seconds(value: &Json) -> Option<i64> {
    let number = value.as_f64().filter(|number| number.abs() < 1e11)?;
    #[expect(clippy::cast_possible_truncation, reason = "the fraction does not count, and the bound is above")]
    Some(number as i64)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check_with(changes: &[(&str, Json)]) -> Result<Timestamp, &'static str> {
        check_for(false, changes)
    }

    fn check_for(is_sole: bool, changes: &[(&str, Json)]) -> Result<Timestamp, &'static str> {
        let mut claims = json!({
            "iss": "https://issuer.example", "aud": "https://accredit.example", "sub": "a", "iat": 1000, "nbf": 1000, "exp": 1600,
        });
        for (name, value) in changes {
            match value {
                Json::Null => drop(claims.as_object_mut().unwrap().remove(*name)),
                value => claims[*name] = value.clone(),
            }
        }
        let expected = Expected {
            issuer: "https://issuer.example",
            audiences: &["https://accredit.example"],
            is_sole,
            types: &[],
            keys: &Keys::Pasted(Vec::new()),
        };
        check(&claims, &expected, Timestamp::from_millis(1_000_999))
    }

    /// R170: each claim refuses alone, and nothing that looks like the right one is taken for it.
    #[test]
    fn every_claim_has_to_be_right() {
        assert_eq!(check_with(&[]), Ok(Timestamp::from_millis(1_660_000)));
        for good in [
            vec![("aud", json!(["https://accredit.example"]))],
            vec![("aud", json!(["other", "https://accredit.example"]))],
            vec![("exp", json!(941))],
            vec![("exp", json!(1600.5))],
            vec![("iat", Json::Null), ("nbf", Json::Null)],
            vec![("iat", json!(1060)), ("nbf", json!(1060))],
            vec![("exp", json!(1000 + LONGEST))],
        ] {
            assert!(check_with(&good).is_ok(), "{good:?}");
        }
        for (changes, why) in [
            (vec![("iss", json!("https://issuer.example/"))], "its iss is another issuer"),
            (vec![("iss", json!("HTTPS://issuer.example"))], "its iss is another issuer"),
            (vec![("iss", json!(["https://issuer.example"]))], "its iss is another issuer"),
            (vec![("iss", Json::Null)], "its iss is another issuer"),
            (vec![("aud", Json::Null)], "its aud is another audience"),
            (vec![("aud", json!("https://accredit.example/"))], "its aud is another audience"),
            (vec![("aud", json!("https://Accredit.example"))], "its aud is another audience"),
            (vec![("aud", json!([]))], "its aud is another audience"),
            (vec![("aud", json!(["https://accredit.example", 7]))], "its aud is another audience"),
            (vec![("aud", json!({ "https://accredit.example": 1 }))], "its aud is another audience"),
            (vec![("sub", Json::Null)], "it has no sub"),
            (vec![("sub", json!(7))], "it has no sub"),
            (vec![("exp", Json::Null)], "it has no exp"),
            (vec![("exp", json!(940))], "it has expired"),
            (vec![("exp", json!("1600"))], "a time in it is no number of seconds"),
            (vec![("exp", json!(i64::MAX))], "a time in it is no number of seconds"),
            (vec![("exp", json!(1e300))], "a time in it is no number of seconds"),
            (vec![("iat", json!(i64::MIN))], "a time in it is no number of seconds"),
            (vec![("iat", json!(1061))], "it is of a time to come"),
            (vec![("iat", json!("1000"))], "a time in it is no number of seconds"),
            (vec![("nbf", json!(1061))], "it is of a time to come"),
            (vec![("exp", json!(1001 + LONGEST))], "it lives longer than 24 hours"),
            (vec![("iat", Json::Null), ("exp", json!(1001 + LONGEST))], "it lives longer than 24 hours"),
            (vec![("iat", json!(-99_999_999_999_i64))], "it lives longer than 24 hours"),
        ] {
            assert_eq!(check_with(&changes), Err(why), "{changes:?}");
        }
    }

    /// R389: an SVID need not say who has signed it; what it says has to be right, and its subject is of the trust domain.
    #[test]
    fn a_svid_is_of_its_trust_domain() {
        let domain = "spiffe://acme.example";
        let keys = Keys::Pasted(Vec::new());
        let expected = |issuer| Expected { issuer, audiences: &["a"], is_sole: false, types: &[], keys: &keys };
        let check = |issuer, iss: Json, sub: &str| {
            let mut claims = json!({ "aud": ["a"], "sub": sub, "exp": 1600 });
            if !iss.is_null() {
                claims["iss"] = iss;
            }
            check(&claims, &expected(issuer), Timestamp::from_millis(1_000_000)).map(drop)
        };
        let own = "spiffe://acme.example/ns/prod/sa/api";
        assert_eq!(check(domain, Json::Null, own), Ok(()));
        assert_eq!(check(domain, json!(domain), own), Ok(()));
        for iss in
            [json!(""), json!("https://acme.example"), json!("spiffe://acme.example/"), json!([domain]), json!(false)]
        {
            assert_eq!(check(domain, iss.clone(), own), Err("its iss is another issuer"), "{iss}");
        }
        for sub in
            ["spiffe://evil.example/ns/prod/sa/api", "spiffe://acme.example.evil/a", "spiffe://acme.example", "api"]
        {
            assert_eq!(check(domain, Json::Null, sub), Err("its sub is of another trust domain"), "{sub}");
        }
        // Every other issuer has to be named.
        for issuer in ["https://acme.example", "spiffe://acme.example/ns", "fed_1"] {
            assert_eq!(check(issuer, Json::Null, own), Err("its iss is another issuer"), "{issuer}");
        }
    }

    /// R233: what a client signs for this server names nobody beside it.
    #[test]
    fn an_audience_that_must_stand_alone_does() {
        let own = "https://accredit.example";
        for good in [json!(own), json!([own])] {
            assert!(check_for(true, &[("aud", good)]).is_ok());
        }
        for aud in [json!([own, "https://other.example"]), json!(["https://other.example", own]), json!([own, own])] {
            assert_eq!(check_for(true, &[("aud", aud)]), Err("its aud has more than one audience"));
        }
        for aud in [json!([]), json!("https://other.example"), Json::Null] {
            assert_eq!(check_for(true, &[("aud", aud)]), Err("its aud is another audience"));
        }
    }
}
