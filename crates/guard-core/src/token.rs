//! Signed tokens (RFC 9068), verified by the keys of Accredit and by nothing that the token says of itself.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::Value as Json;

use crate::keys::Keys;

/// Characters of a token at most.
const LONGEST: usize = 16 * 1024;

/// What a token must say.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Expected<'e> {
    /// `iss`.
    pub(crate) issuer: &'e str,
    /// `aud`.
    pub(crate) audience: &'e str,
    /// `tenant`.
    pub(crate) tenant: &'e str,
}

/// What a token says, once its signature was verified.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Claims {
    /// The agent, or else the person.
    pub(crate) subject: String,
    /// The person whose authority it carries.
    pub(crate) owner: Option<String>,
    /// The tenant.
    pub(crate) tenant: String,
    /// Names of scopes.
    pub(crate) scopes: Vec<String>,
    /// `jti`.
    pub(crate) id: String,
    /// `iat`.
    pub(crate) issued: i64,
    /// `nbf`.
    pub(crate) begins: Option<i64>,
    /// `exp`.
    pub(crate) ends: i64,
    /// The last epoch before it was made.
    pub(crate) epoch: Option<i64>,
    /// The ids of everything that must go on for it to be accepted.
    pub(crate) rests_on: Vec<String>,
    /// The thumbprint of the key that it is bound to.
    pub(crate) key: Option<String>,
}

/// Why a token is not taken.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// No key has the name that it says.
    UnknownKey,
    /// In a few words.
    Wrong(&'static str),
}

/// A token, taken apart. Nothing of it is known to be true.
struct Jws<'t> {
    key: String,
    algorithm: String,
    signed: &'t str,
    claims: &'t str,
    signature: Vec<u8>,
}

/// Whether a credential has the form of a signed token: three parts.
pub(crate) fn is_jwt(text: &str) -> bool {
    text.split('.').count() == 3 && !text.starts_with("acr_")
}

impl<'t> Jws<'t> {
    fn parse(token: &'t str) -> Result<Self, &'static str> {
        if token.len() > LONGEST {
            return Err("it is too long");
        }
        let (signed, signature) = token.rsplit_once('.').ok_or("it has no three parts")?;
        let (header, claims) = signed.split_once('.').ok_or("it has no three parts")?;
        let header = object(header).ok_or("its header is no JSON object")?;
        let word = |name: &str| header.get(name).and_then(Json::as_str).map(str::to_owned);
        // RFC 7515, section 4.1.11: what must be understood is not.
        if header.get("crit").is_some() {
            return Err("it has a critical header");
        }
        if word("typ").as_deref() != Some("at+jwt") {
            return Err("its typ is not at+jwt");
        }
        let algorithm = word("alg").filter(|alg| alg == "EdDSA" || alg == "ES256");
        let algorithm = algorithm.ok_or("its alg is neither EdDSA nor ES256")?;
        let key = word("kid").ok_or("it names no key")?;
        let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| "its signature is no base64url")?;
        Ok(Self { key, algorithm, signed, claims, signature })
    }
}

fn object(part: &str) -> Option<Json> {
    let text = String::from_utf8(URL_SAFE_NO_PAD.decode(part).ok()?).ok()?;
    common::json::parse(&text).filter(Json::is_object)
}

/// Verifies a token by its signature and by all that does not change with time.
pub(crate) fn verify(token: &str, keys: &Keys, expected: Expected<'_>) -> Result<Claims, Fault> {
    let jws = Jws::parse(token).map_err(Fault::Wrong)?;
    if !keys.has(&jws.key) {
        return Err(Fault::UnknownKey);
    }
    if !keys.verify(&jws.key, &jws.algorithm, jws.signed.as_bytes(), &jws.signature) {
        return Err(Fault::Wrong("its signature is wrong"));
    }
    let claims = object(jws.claims).ok_or(Fault::Wrong("its claims are no JSON object"))?;
    read(&claims, expected).map_err(Fault::Wrong)
}

fn read(claims: &Json, expected: Expected<'_>) -> Result<Claims, &'static str> {
    let word = |name: &str| claims.get(name).and_then(Json::as_str);
    let number = |name: &str| claims.get(name).and_then(Json::as_i64);
    if word("iss") != Some(expected.issuer) {
        return Err("its iss is not this Accredit server");
    }
    // One service, byte by byte: a token for several could be used at all of them.
    if word("aud") != Some(expected.audience) {
        return Err("its aud is not this service");
    }
    if word("tenant") != Some(expected.tenant) {
        return Err("it is of another tenant");
    }
    let key = match claims.get("cnf") {
        None => None,
        // RFC 9449, section 6.1. What it is bound to in another way, or in two, nothing here could verify.
        Some(Json::Object(cnf)) if cnf.len() == 1 => {
            Some(cnf.get("jkt").and_then(Json::as_str).ok_or("it is bound in a way that is not known here")?.to_owned())
        }
        Some(_) => return Err("it is bound in a way that is not known here"),
    };
    let begins = match claims.get("nbf") {
        None => None,
        Some(_) => Some(number("nbf").ok_or("its nbf is no number of seconds")?),
    };
    let ids = |name: &str| claims.get(name).and_then(Json::as_array).cloned().unwrap_or_default();
    Ok(Claims {
        subject: word("sub")
            .filter(|sub| sub.starts_with("agt_") || sub.starts_with("usr_"))
            .ok_or("it has no sub")?
            .to_owned(),
        owner: word("owner").map(str::to_owned),
        tenant: expected.tenant.to_owned(),
        scopes: word("scope").unwrap_or_default().split_ascii_whitespace().map(str::to_owned).collect(),
        id: word("jti").filter(|jti| !jti.is_empty()).ok_or("it has no jti")?.to_owned(),
        issued: number("iat").ok_or("it has no iat")?,
        begins,
        ends: number("exp").ok_or("it has no exp")?,
        epoch: number("epoch"),
        rests_on: ids("rests_on").iter().filter_map(Json::as_str).map(str::to_owned).collect(),
        key,
    })
}

impl Claims {
    /// Why it does not hold at this moment, in seconds since 1970.
    pub(crate) fn check_time(&self, now: i64, skew: i64) -> Result<(), &'static str> {
        if self.ends.saturating_add(skew) <= now {
            return Err("it has expired");
        }
        if self.begins.is_some_and(|begins| begins > now.saturating_add(skew)) {
            return Err("its nbf is still to come");
        }
        if self.issued > now.saturating_add(skew) {
            return Err("its iat is still to come");
        }
        Ok(())
    }
}
