//! From an ID token to an identity: OpenID Connect Core 1.0, section 3.1.3.7. A token is no proof before every step has passed.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use common::{
    email,
    error::{ApiError, Code},
    secret::{Digest, equal},
    time::Timestamp,
};
use jose::Jws;
use serde_json::Value as Json;
use service::{
    app::App,
    settings::provider::{ANY_DIRECTORY, IdentityProvider, Preset, is_uuid},
};

use crate::{
    accounts::{self, Identity},
    call::text,
    discovery::{self, Metadata},
    flow::Flow,
    userinfo,
};

/// How far the provider's clock may be from ours, seconds.
const SKEW: i64 = 60;
/// How old a token may be that was just asked for, seconds.
const OLDEST: i64 = 600;

/// The provider's answer proves nothing. The cause is for the log.
pub(crate) fn invalid(what: impl std::fmt::Display) -> ApiError {
    ApiError::from(Code::IdentityInvalid).cause(what)
}

/// The person behind a token response.
pub(crate) async fn identity(
    app: &App,
    provider: &IdentityProvider,
    metadata: &Metadata,
    begun: &Flow,
    tokens: &Json,
) -> Result<Identity, ApiError> {
    let token = text(tokens, "id_token");
    let jws = Jws::parse(token).map_err(invalid)?;
    let keys = discovery::keys(app, provider, metadata, |keys| jws.key(keys).is_some()).await?;
    // Steps 6 to 8: signature and algorithm. Before anything that the token says is looked at.
    let mut claims = jws.verify(&keys).map_err(invalid)?;
    let checked = check(provider, &claims, &begun.nonce(), app.now()).and_then(|()| {
        check_key_issuer(provider, jws.key(&keys), &claims)?;
        check_access_token(&claims, text(tokens, "access_token"))
    });
    checked.map_err(invalid)?;
    let is_new = !begun.is_link() && accounts::is_new(app.db(), provider, &read(provider, &claims)).await;
    let needs_name = is_new && full_name(&claims).is_none();
    let filled = userinfo::fill(app, provider, metadata, tokens, (&mut claims, needs_name)).await;
    // Who links an identity is known already, and needs no address.
    if !begun.is_link() {
        filled?;
    }
    Ok(read(provider, &claims))
}

/// Steps 2 to 5 and 9 to 11.
fn check(provider: &IdentityProvider, claims: &Json, nonce: &str, now: Timestamp) -> Result<(), &'static str> {
    // Step 2: the issuer is exactly the one that was asked.
    if text(claims, "iss").is_empty() || text(claims, "iss") != issuer(provider, claims)? {
        return Err("the token is of another issuer");
    }
    // Steps 3 and 4: for us, and if for others too, then made for us.
    let id = provider.client_id.as_str();
    let authorized = claims.get("azp").map(|azp| azp.as_str() == Some(id));
    let is_for_us = match claims.get("aud") {
        Some(Json::String(audience)) => audience == id,
        Some(Json::Array(all)) => all.iter().any(|one| one == id) && (all.len() == 1 || authorized == Some(true)),
        _ => false,
    };
    // Step 5.
    if !is_for_us || authorized == Some(false) {
        return Err("the token is for another client");
    }
    // Steps 9 and 10. RFC 7519, section 2: seconds, which may have a fraction.
    let (now, time) = (now.millis() / 1000, |name: &str| claims.get(name).and_then(seconds));
    if time("exp").ok_or("the token has no end")? + SKEW <= now {
        return Err("the token has expired");
    }
    let issued = time("iat").ok_or("the token does not say when it was issued")?;
    if issued > now + SKEW || issued < now - OLDEST || time("nbf").is_some_and(|from| from > now + SKEW) {
        return Err("the token is of another time");
    }
    if time("auth_time").is_some_and(|at| at > now + SKEW) {
        return Err("the token tells of a sign-in that is still to come");
    }
    // Step 11: of this very sign-in.
    if !equal(text(claims, "nonce"), nonce) {
        return Err("the token has another nonce");
    }
    // Section 2: at most 255 characters of ASCII.
    let subject = text(claims, "sub");
    if subject.is_empty() || subject.len() > 255 || !subject.bytes().all(|b| b.is_ascii_graphic() || b == b' ') {
        return Err("the token names nobody");
    }
    Ok(())
}

fn seconds(value: &Json) -> Option<i64> {
    let fraction = || value.as_f64().filter(|number| number.abs() < 1e12);
    #[expect(clippy::cast_possible_truncation, reason = "the fraction does not count, and the bound is above")]
    value.as_i64().filter(|number| number.abs() < 1_000_000_000_000).or_else(|| fraction().map(|number| number as i64))
}

/// What the token has to name as its issuer. A provider that speaks for many directories puts in the one that the token is of.
fn issuer(provider: &IdentityProvider, claims: &Json) -> Result<String, &'static str> {
    if !provider.issuer.contains(ANY_DIRECTORY) {
        return Ok(provider.issuer.clone());
    }
    let directory = text(claims, "tid");
    if !is_uuid(directory) {
        return Err("the token names no directory");
    }
    Ok(provider.issuer.replace(ANY_DIRECTORY, directory))
}

/// A key that is one directory's own signs for no other (Microsoft, "Access tokens", "Validate the issuer": the key's `issuer`).
fn check_key_issuer(provider: &IdentityProvider, key: Option<&Json>, claims: &Json) -> Result<(), &'static str> {
    let of_key = key.map(|key| text(key, "issuer")).unwrap_or_default();
    if provider.preset != Preset::Microsoft || of_key.is_empty() {
        return Ok(());
    }
    let is_fitting = of_key.replace(ANY_DIRECTORY, text(claims, "tid")) == text(claims, "iss");
    if is_fitting { Ok(()) } else { Err("the key is of another issuer") }
}

/// Section 3.1.3.8: where the token names the access token beside it, it is this one.
fn check_access_token(claims: &Json, access_token: &str) -> Result<(), &'static str> {
    let Some(named) = claims.get("at_hash").and_then(Json::as_str) else { return Ok(()) };
    let digest = Digest::of(access_token.as_bytes());
    let half = digest.bytes().first_chunk::<16>().map(|half| URL_SAFE_NO_PAD.encode(half)).unwrap_or_default();
    // With Ed25519 the hash is SHA-512, twice as long, and it is not compared: both tokens are of one answer of the provider, and what the
    // access token gives has to be about the same subject.
    if named.len() == half.len() && named != half { Err("the token is of another access token") } else { Ok(()) }
}

/// The identity in checked claims.
fn read(provider: &IdentityProvider, claims: &Json) -> Identity {
    let said = email::parse(text(claims, "email"));
    let factors = claims.get("amr").and_then(Json::as_array);
    Identity {
        issuer: text(claims, "iss").to_owned(),
        subject: text(claims, "sub").to_owned(),
        name: name(claims),
        email: said.clone().filter(|email| is_verified(provider.preset, claims, email)),
        said_email: said,
        // RFC 8176, section 2: more than one factor was used.
        two_factors: factors.is_some_and(|factors| factors.iter().any(|factor| factor == "mfa")),
        auth_time: claims.get("auth_time").and_then(seconds).map(|at| Timestamp::from_millis(at.max(0) * 1000)),
    }
}

/// A claim of section 5.1 that says something.
fn word<'a>(claims: &'a Json, name: &str) -> Option<&'a str> {
    Some(text(claims, name).trim()).filter(|word| !word.is_empty())
}

/// The whole name, or what is said of its two parts.
fn full_name(claims: &Json) -> Option<String> {
    let parts = || {
        let parts: Vec<&str> =
            ["given_name", "family_name"].into_iter().filter_map(|part| word(claims, part)).collect();
        Some(parts.join(" ")).filter(|parts| !parts.is_empty())
    };
    word(claims, "name").map(str::to_owned).or_else(parts)
}

/// What the person is called. A user name that is an address is none.
fn name(claims: &Json) -> Option<String> {
    let called =
        || word(claims, "nickname").or_else(|| word(claims, "preferred_username").filter(|name| !name.contains('@')));
    full_name(claims).or_else(|| called().map(str::to_owned))
}

/// Whether the provider vouches for the address: that the person reads its mail, now.
fn is_verified(preset: Preset, claims: &Json, email: &str) -> bool {
    let says = |name: &str| match claims.get(name) {
        Some(Json::Bool(yes)) => *yes,
        Some(Json::String(word)) => word == "true" || word == "1",
        Some(Json::Number(number)) => number.as_i64() == Some(1),
        _ => false,
    };
    match preset {
        // Google, "OpenID Connect", on `email_verified`: of an address that is neither of Gmail nor of a Workspace, Google once knew.
        Preset::Google => {
            let is_gmail = email::key(email).ends_with("@gmail.com");
            says("email_verified") && (is_gmail || !text(claims, "hd").is_empty())
        }
        // Any directory can write any address into `email`. `xms_edov` says that the domain's owner was verified.
        Preset::Microsoft => says("xms_edov"),
        Preset::Generic => says("email_verified"),
        Preset::Github => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::testing::{provider, providers};

    fn claims() -> Json {
        json!({ "iss": "https://sso.acme.example", "aud": "accredit", "sub": "7", "exp": 1600, "iat": 1000, "nonce": "n" })
    }

    fn check_with(changes: &[(&str, Json)]) -> Result<(), &'static str> {
        let mut claims = claims();
        for (name, value) in changes {
            match value {
                Json::Null => drop(claims.as_object_mut().unwrap().remove(*name)),
                value => claims[*name] = value.clone(),
            }
        }
        check(&providers()[0], &claims, "n", Timestamp::from_millis(1_000_000))
    }

    /// R102: every step of section 3.1.3.7 refuses alone.
    #[test]
    fn every_claim_has_to_be_right() {
        assert_eq!(check_with(&[]), Ok(()));
        for good in [
            vec![("aud", json!(["accredit"]))],
            vec![("aud", json!(["accredit", "other"])), ("azp", json!("accredit"))],
            vec![("azp", json!("accredit"))],
            vec![("exp", json!(941))],
            vec![("exp", json!(1600.5))],
            vec![("iat", json!(1060))],
            vec![("nbf", json!(1060))],
            vec![("auth_time", json!(1060))],
            vec![("auth_time", json!("today"))],
        ] {
            assert_eq!(check_with(&good), Ok(()), "{good:?}");
        }
        for (changes, what) in [
            (vec![("iss", json!("https://sso.acme.example/"))], "the token is of another issuer"),
            (vec![("iss", Json::Null)], "the token is of another issuer"),
            (vec![("aud", json!("other"))], "the token is for another client"),
            (vec![("aud", json!([]))], "the token is for another client"),
            (vec![("aud", json!(["accredit", "other"]))], "the token is for another client"),
            (vec![("aud", json!(["accredit", "other"])), ("azp", json!("other"))], "the token is for another client"),
            (vec![("aud", json!({ "accredit": 1 }))], "the token is for another client"),
            (vec![("azp", json!("other"))], "the token is for another client"),
            (vec![("azp", json!(7))], "the token is for another client"),
            (vec![("exp", json!(940))], "the token has expired"),
            (vec![("exp", json!("1600"))], "the token has no end"),
            (vec![("exp", json!(1e300))], "the token has no end"),
            (vec![("exp", json!(i64::MAX))], "the token has no end"),
            (vec![("iat", Json::Null)], "the token does not say when it was issued"),
            (vec![("iat", json!(1061))], "the token is of another time"),
            (vec![("iat", json!(399))], "the token is of another time"),
            (vec![("nbf", json!(1061))], "the token is of another time"),
            (vec![("auth_time", json!(1061))], "the token tells of a sign-in that is still to come"),
            (vec![("nonce", json!("m"))], "the token has another nonce"),
            (vec![("nonce", Json::Null)], "the token has another nonce"),
            (vec![("sub", json!(""))], "the token names nobody"),
            (vec![("sub", json!(7))], "the token names nobody"),
            (vec![("sub", json!("a".repeat(256)))], "the token names nobody"),
        ] {
            assert_eq!(check_with(&changes), Err(what), "{changes:?}");
        }
    }

    /// R101: an address counts only where its provider vouches for it.
    #[test]
    fn an_address_counts_where_the_provider_vouches_for_it() {
        let google = provider("preset=google client_id=a");
        let microsoft = provider("preset=microsoft client_id=a");
        let acme = &providers()[0];
        let email = |provider: &IdentityProvider, claims: &Json| read(provider, claims).email;
        let ada = Some("ada@example.com".to_owned());
        let with = |more: Json| {
            let mut claims = json!({ "email": "ada@example.com" });
            claims.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            claims
        };
        assert_eq!(email(acme, &with(json!({ "email_verified": true }))), ada);
        assert_eq!(email(acme, &with(json!({ "email_verified": "true" }))), ada);
        for more in [json!({}), json!({ "email_verified": false }), json!({ "email_verified": "false" })] {
            assert_eq!(email(acme, &with(more)), None);
        }
        assert_eq!(email(&google, &with(json!({ "email_verified": true }))), None, "Google once knew");
        assert_eq!(email(&google, &with(json!({ "email_verified": true, "hd": "example.com" }))), ada);
        assert_eq!(email(&google, &with(json!({ "email_verified": false, "hd": "example.com" }))), None);
        let gmail = json!({ "email": "Ada@Gmail.com", "email_verified": true });
        assert_eq!(email(&google, &gmail), Some("Ada@Gmail.com".to_owned()));
        assert_eq!(email(&microsoft, &with(json!({ "email_verified": true }))), None, "any directory says so");
        assert_eq!(email(&microsoft, &with(json!({ "xms_edov": true }))), ada);
        assert_eq!(email(&microsoft, &with(json!({ "xms_edov": "1" }))), ada);
        assert_eq!(email(&microsoft, &with(json!({ "xms_edov": 0 }))), None);
    }

    #[test]
    fn a_provider_for_many_directories_names_the_tokens_own() {
        let id = "11111111-2222-3333-4444-555555555555";
        let microsoft = provider("preset=microsoft client_id=accredit");
        let mut claims = claims();
        claims["iss"] = json!(format!("https://login.microsoftonline.com/{id}/v2.0"));
        let now = Timestamp::from_millis(1_000_000);
        assert_eq!(check(&microsoft, &claims, "n", now), Err("the token names no directory"));
        claims["tid"] = json!("11111111-2222-3333-4444-555555555556");
        assert_eq!(check(&microsoft, &claims, "n", now), Err("the token is of another issuer"));
        claims["tid"] = json!(id);
        assert_eq!(check(&microsoft, &claims, "n", now), Ok(()));
        let key = |issuer: &str| json!({ "issuer": issuer });
        let of = |key: &Json| check_key_issuer(&microsoft, Some(key), &claims);
        assert_eq!(of(&json!({})), Ok(()));
        assert_eq!(of(&key("https://login.microsoftonline.com/{tenantid}/v2.0")), Ok(()));
        assert_eq!(of(&key("https://login.microsoftonline.com/other/v2.0")), Err("the key is of another issuer"));
    }

    /// OpenID Connect Core 1.0, section A.3, has the example.
    #[test]
    fn the_access_token_beside_is_the_one_that_is_named() {
        let claims = json!({ "at_hash": "77QmUPtjPfzWtF2AnpK9RQ" });
        let token = "jHkWEdUXMU1BwAsC4vtUsZwnNvTIxEl0z9K3vx5KF0Y";
        assert_eq!(check_access_token(&claims, token), Ok(()));
        assert_eq!(check_access_token(&claims, "other"), Err("the token is of another access token"));
        assert_eq!(check_access_token(&json!({}), "other"), Ok(()));
    }

    /// R714: what a person is called, where the provider says no whole name.
    #[test]
    fn a_person_is_called_as_the_provider_says() {
        let called = |claims: Json| name(&claims).unwrap_or_default();
        let mut claims = json!({ "name": " ", "given_name": "Max", "family_name": "Mustermann", "nickname": "Maxi",
                                 "preferred_username": "mmus" });
        for (without, left) in [
            ("", "Max Mustermann"),
            ("family_name", "Max"),
            ("given_name", "Maxi"),
            ("nickname", "mmus"),
            ("preferred_username", ""),
        ] {
            claims[without] = Json::Null;
            assert_eq!(called(claims.clone()), left, "{without}");
        }
        assert_eq!(called(json!({ "preferred_username": "max@acme.example" })), "");
        assert_eq!(called(json!({ "name": "Max", "given_name": "M" })), "Max");
    }

    #[test]
    fn two_factors_are_what_the_provider_says() {
        let two = |amr: Json| read(&providers()[0], &json!({ "amr": amr })).two_factors;
        assert!(two(json!(["pwd", "mfa"])));
        assert!(!two(json!(["pwd"])) && !two(json!("mfa")) && !two(Json::Null));
    }
}
