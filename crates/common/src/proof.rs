//! Proofs that a sender has a key (DPoP, RFC 9449): read, and compared with the request that they are for. Whether the key has signed the
//! proof is for crates that know curves.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::Value as Json;

use crate::{
    json,
    secret::{Digest, equal},
    url::Url,
};

/// The accepted algorithms, as metadata lists them.
pub const ALGORITHMS: &[&str] = &["ES256", "EdDSA"];
/// Seconds for which a proof is taken after its `iat`, and by which a client's clock may be ahead.
pub const LIFE: i64 = 60;
/// Characters of a proof, of its `jti` and of its `htu` at most.
const LONGEST: usize = 4_096;
const LONGEST_ID: usize = 256;
const LONGEST_URL: usize = 2_000;
/// Members of a private key, and of one that both sides share.
const PRIVATE: [&str; 9] = ["d", "k", "p", "q", "dp", "dq", "qi", "oth", "r"];

/// A proof, taken apart. Nothing of it is known to be true before its signature is verified by its own key.
#[derive(Debug)]
pub struct Proof<'t> {
    algorithm: Algorithm,
    key: Vec<u8>,
    thumbprint: String,
    signed: &'t str,
    signature: Vec<u8>,
    method: String,
    url: String,
    token: Option<String>,
    issued: i64,
    from: Option<i64>,
    ends: Option<i64>,
    id: String,
}

/// How a proof is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// ECDSA with P-256 (RFC 7518, section 3.4).
    Es256,
    /// EdDSA with Ed25519 (RFC 8037, section 3.1).
    EdDsa,
}

/// The request that a proof must be for.
#[derive(Clone, Copy, Debug)]
pub struct Expected<'e> {
    /// Its method.
    pub method: &'e str,
    /// Its address. What follows a `?` counts for nothing.
    pub url: &'e str,
    /// The token that it presents; `None`: it asks for one.
    pub token: Option<&'e str>,
    /// Seconds since 1970.
    pub now: i64,
}

/// Whether a `typ` is that of proofs: a media type, in any case and with `application/` or without (RFC 7515, section 4.1.9).
fn is_type(typ: &str) -> bool {
    let typ = typ.to_ascii_lowercase();
    typ.strip_prefix("application/").unwrap_or(&typ) == "dpop+jwt"
}

impl<'t> Proof<'t> {
    /// Reads a proof (RFC 9449, section 4.2). `Err` says in a few words what is wrong.
    pub fn parse(text: &'t str) -> Result<Self, &'static str> {
        if text.len() > LONGEST {
            return Err("it is longer than 4096 characters");
        }
        let (signed, signature) = text.rsplit_once('.').ok_or("it has no three parts")?;
        let (header, claims) = signed.split_once('.').ok_or("it has no three parts")?;
        let decoded = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|_| "a part of it is no base64url");
        let object = |part: &str, why| {
            let text = String::from_utf8(decoded(part)?).map_err(|_| why)?;
            json::parse(&text).filter(Json::is_object).ok_or(why)
        };
        let header = object(header, "its header is no JSON object")?;
        let claims = object(claims, "its claims are no JSON object")?;
        let word = |object: &Json, name: &str| object.get(name).and_then(Json::as_str).map(str::to_owned);
        if word(&header, "typ").is_none_or(|typ| !is_type(&typ)) {
            return Err("its typ is not dpop+jwt");
        }
        if header.get("crit").is_some() {
            return Err("it has a critical header");
        }
        let algorithm = match word(&header, "alg").as_deref() {
            Some("ES256") => Algorithm::Es256,
            Some("EdDSA" | "Ed25519") => Algorithm::EdDsa,
            _ => return Err("its alg is neither ES256 nor EdDSA"),
        };
        let jwk = header.get("jwk").filter(|jwk| jwk.is_object()).ok_or("it has no jwk")?;
        let (key, thumbprint) = read_key(algorithm, jwk)?;
        let signature = decoded(signature)?;
        let id = word(&claims, "jti").filter(|id| !id.is_empty()).ok_or("it has no jti")?;
        let url = word(&claims, "htu").ok_or("it has no htu")?;
        if id.len() > LONGEST_ID || url.len() > LONGEST_URL {
            return Err("its jti or its htu is too long");
        }
        // NumericDate may have a fraction (RFC 7519, section 2).
        #[expect(
            clippy::cast_possible_truncation,
            reason = "a number beyond the range becomes its end, which is no time of now"
        )]
        let whole = |number: &Json| number.as_i64().or_else(|| number.as_f64().map(|number| number.floor() as i64));
        // Neither is asked for, and both count where they are (RFC 7519, sections 4.1.4 and 4.1.5).
        let may = |name, why| match claims.get(name) {
            None => Ok(None),
            Some(time) => whole(time).map(Some).ok_or(why),
        };
        Ok(Self {
            algorithm,
            key,
            thumbprint,
            signed,
            signature,
            method: word(&claims, "htm").ok_or("it has no htm")?,
            url,
            token: word(&claims, "ath"),
            issued: claims.get("iat").and_then(whole).ok_or("it has no iat")?,
            from: may("nbf", "its nbf is no number")?,
            ends: may("exp", "its exp is no number")?,
            id,
        })
    }

    /// Compares it with a request (RFC 9449, section 4.3).
    pub fn check(&self, expected: &Expected<'_>) -> Result<(), &'static str> {
        if self.method != expected.method {
            return Err("its htm is another method than the request's");
        }
        let (own, sent) = (normal(expected.url), normal(&self.url));
        if own.is_none() || own != sent {
            return Err("its htu is another address than the request's");
        }
        match (expected.token, &self.token) {
            (None, _) => {}
            (Some(_), None) => return Err("it has no ath"),
            (Some(token), Some(sent)) if equal(sent, &hash(token)) => {}
            (Some(_), Some(_)) => return Err("its ath is of another token"),
        }
        if self.issued.saturating_add(LIFE) <= expected.now {
            return Err("its iat is more than 60 seconds ago");
        }
        if self.issued > expected.now.saturating_add(LIFE) {
            return Err("its iat is more than 60 seconds ahead");
        }
        if self.ends.is_some_and(|ends| ends <= expected.now) {
            return Err("its exp is over");
        }
        // The client's clock may be ahead, as at `iat`.
        if self.from.is_some_and(|from| from > expected.now.saturating_add(LIFE)) {
            return Err("its nbf is more than 60 seconds ahead");
        }
        Ok(())
    }

    /// The thumbprint of its key (RFC 7638).
    pub fn thumbprint(&self) -> &str {
        &self.thumbprint
    }

    /// What tells it from every other one of its key.
    pub fn digest(&self) -> Digest {
        Digest::of(format!("{} {}", self.thumbprint, self.id).as_bytes())
    }

    /// Since when nobody takes it any more, seconds since 1970.
    pub fn known_until(&self) -> i64 {
        self.issued.saturating_add(LIFE)
    }

    /// Its algorithm, the bytes of its key (a point in SEC 1, or the 32 bytes of Ed25519), what was signed, and the signature.
    pub fn signature(&self) -> (Algorithm, &[u8], &[u8], &[u8]) {
        (self.algorithm, &self.key, self.signed.as_bytes(), &self.signature)
    }
}

/// The bytes of a public key, and its thumbprint.
fn read_key(algorithm: Algorithm, jwk: &Json) -> Result<(Vec<u8>, String), &'static str> {
    if PRIVATE.iter().any(|name| jwk.get(name).is_some()) {
        return Err("its jwk holds a private key, which was seen by others now");
    }
    let word = |name: &str| jwk.get(name).and_then(Json::as_str);
    let member = |name: &str| {
        let text = word(name).unwrap_or_default();
        let bytes = URL_SAFE_NO_PAD.decode(text).ok().filter(|bytes| bytes.len() == 32);
        bytes.map(|bytes| (bytes, text.to_owned())).ok_or("its jwk is no key that can be used")
    };
    let (kind, curve) = match algorithm {
        Algorithm::Es256 => ("EC", "P-256"),
        Algorithm::EdDsa => ("OKP", "Ed25519"),
    };
    if word("kty") != Some(kind) || word("crv") != Some(curve) {
        return Err("its jwk is no key of its alg");
    }
    let (x, x_text) = member("x")?;
    match algorithm {
        Algorithm::EdDsa => Ok((x, thumbprint(kind, curve, &x_text, None))),
        Algorithm::Es256 => {
            let (y, y_text) = member("y")?;
            // SEC 1, section 2.3.3: an uncompressed point.
            Ok(([&[4], x.as_slice(), y.as_slice()].concat(), thumbprint(kind, curve, &x_text, Some(&y_text))))
        }
    }
}

/// The thumbprint of a key (RFC 7638): the digest of its required members in the order of their names.
pub fn thumbprint(kty: &str, crv: &str, x: &str, y: Option<&str>) -> String {
    let y = y.map(|y| format!(",\"y\":\"{y}\"")).unwrap_or_default();
    hash(&format!("{{\"crv\":\"{crv}\",\"kty\":\"{kty}\",\"x\":\"{x}\"{y}}}"))
}

/// Whether a text can be a thumbprint: 43 characters of base64url for 32 bytes.
pub fn is_thumbprint(text: &str) -> bool {
    text.len() == 43 && URL_SAFE_NO_PAD.decode(text).is_ok_and(|bytes| bytes.len() == 32)
}

fn hash(text: &str) -> String {
    URL_SAFE_NO_PAD.encode(Digest::of(text.as_bytes()).bytes())
}

/// An address as it is compared (RFC 3986, sections 6.2.2 and 6.2.3), without query and fragment. `None`: it is none.
fn normal(text: &str) -> Option<String> {
    let lower = text.split_once("://").map(|(scheme, rest)| format!("{}://{rest}", scheme.to_ascii_lowercase()))?;
    let url = Url::parse(&lower)?;
    let port = url.port.unwrap_or(if url.is_secure { 443 } else { 80 });
    let path = url.path.split('?').next().filter(|path| !path.is_empty()).unwrap_or("/");
    let mut plain = String::with_capacity(path.len());
    let mut rest = path;
    while let Some((before, after)) = rest.split_once('%') {
        plain.push_str(before);
        // Two digits follow each sign: the URL was read.
        let (digits, after) = after.split_at_checked(2)?;
        match u8::from_str_radix(digits, 16).ok()? {
            byte if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) => plain.push(char::from(byte)),
            _ => plain.push_str(&format!("%{}", digits.to_ascii_uppercase())),
        }
        rest = after;
    }
    plain.push_str(rest);
    Some(format!("{}://{}:{port}{plain}", url.is_secure, url.host.to_ascii_lowercase()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// The example of RFC 9449, section 4.1, figures 1 and 2.
    const EXAMPLE: &str = "eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6IkVDIiwieCI6Imw4dEZyaHgtMzR0VjNoUklDUkRZOXpDa0RscEJoRjQyVVFVZldWQVdCRnMiLCJ5IjoiOVZFNGpmX09rX282NHpiVFRsY3VOSmFqSG10NnY5VERWclUwQ2R2R1JEQSIsImNydiI6IlAtMjU2In19.eyJqdGkiOiItQndDM0VTYzZhY2MybFRjIiwiaHRtIjoiUE9TVCIsImh0dSI6Imh0dHBzOi8vc2VydmVyLmV4YW1wbGUuY29tL3Rva2VuIiwiaWF0IjoxNTYyMjYyNjE2fQ.2-GxA6T8lP4vfrg8v-FdWP0A0zdrj8igiMLvqRMUvwnQg4PtFLbdLXiOSsX0x7NVY-FNyJK70nfbV37xRZT3Lg";

    fn expected<'e>() -> Expected<'e> {
        Expected { method: "POST", url: "https://server.example.com/token", token: None, now: 1_562_262_616 }
    }

    /// R210
    #[test]
    fn the_example_of_the_standard_is_read() {
        let proof = Proof::parse(EXAMPLE).unwrap();
        assert_eq!(proof.thumbprint(), "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I");
        assert_eq!(proof.check(&expected()), Ok(()));
        assert!(is_thumbprint(proof.thumbprint()) && !is_thumbprint("short") && !is_thumbprint(&"=".repeat(43)));
    }

    /// R210: each rule of section 4.3 that needs no key.
    #[test]
    fn a_proof_is_for_one_request() {
        let proof = Proof::parse(EXAMPLE).unwrap();
        let at = |now| proof.check(&Expected { now, ..expected() });
        assert!(at(1_562_262_616 + 59).is_ok() && at(1_562_262_616 - 60).is_ok());
        assert!(at(1_562_262_616 + 60).unwrap_err().contains("ago"));
        assert!(at(1_562_262_616 - 61).unwrap_err().contains("ahead"));
        assert!(at(i64::MAX).is_err() && at(i64::MIN).is_err());
        assert!(proof.check(&Expected { method: "post", ..expected() }).unwrap_err().contains("htm"));
        for url in [
            "http://server.example.com/token",
            "https://server.example.com/Token",
            "https://server.example.com:8443/token",
            "https://server.example.com/token/",
            "https://server.example.com",
            "https://example.com/token",
            "",
            "/token",
        ] {
            assert!(proof.check(&Expected { url, ..expected() }).unwrap_err().contains("htu"), "{url}");
        }
        for url in [
            "https://SERVER.example.com/token",
            "HTTPS://server.example.com:443/token",
            "https://server.example.com/t%6Fken?a=b",
            "https://server.example.com/token#x",
        ] {
            assert_eq!(proof.check(&Expected { url, ..expected() }), Ok(()), "{url}");
        }
        assert!(proof.check(&Expected { token: Some("a"), ..expected() }).unwrap_err().contains("no ath"));
    }

    /// The header and the claims of a good proof with changes.
    fn proof(header: &[(&str, Json)], claims: &[(&str, Json)]) -> String {
        let jwk = json!({ "kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo" });
        let mut parts = [
            json!({ "typ": "dpop+jwt", "alg": "EdDSA", "jwk": jwk }),
            json!({ "jti": "1", "htm": "POST", "htu": "https://server.example.com/token", "iat": 1_562_262_616, "ath": hash("a") }),
        ];
        for (part, changes) in parts.iter_mut().zip([header, claims]) {
            for (name, value) in changes {
                part[name] = value.clone();
                if value.is_null() {
                    part.as_object_mut().unwrap().shift_remove(*name);
                }
            }
        }
        let [header, claims] = parts.map(|part| URL_SAFE_NO_PAD.encode(part.to_string()));
        format!("{header}.{claims}.AA")
    }

    /// R210: wrong typ, alg, key or claims, and what is too long.
    #[test]
    fn what_is_no_proof_is_not_read() {
        let jwk = |more: Json| {
            let mut jwk = json!({ "kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo" });
            jwk.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            jwk
        };
        assert!(Proof::parse(&proof(&[], &[])).is_ok());
        // R751
        for typ in ["DPoP+JWT", "application/dpop+jwt"] {
            assert!(Proof::parse(&proof(&[("typ", json!(typ))], &[])).is_ok(), "{typ}");
        }
        assert!(Proof::parse(&proof(&[], &[("iat", json!(1_562_262_616.9))])).is_ok());
        for (name, value, why) in [
            ("typ", Json::Null, "typ"),
            ("typ", json!("JWT"), "typ"),
            ("typ", json!("at+jwt"), "typ"),
            ("alg", json!("none"), "alg"),
            ("alg", json!("HS256"), "alg"),
            ("alg", json!("RS256"), "alg"),
            ("alg", Json::Null, "alg"),
            ("alg", json!("ES256"), "no key of its alg"),
            ("jwk", Json::Null, "no jwk"),
            ("jwk", json!("11qY"), "no jwk"),
            ("jwk", jwk(json!({ "d": "AQAB" })), "private"),
            ("jwk", json!({ "kty": "oct", "k": "AQAB" }), "private"),
            ("jwk", jwk(json!({ "x": "AQAB" })), "no key that can be used"),
            ("jwk", jwk(json!({ "crv": "X25519" })), "no key of its alg"),
            ("crit", json!(["exp"]), "critical"),
        ] {
            let found = Proof::parse(&proof(&[(name, value)], &[])).map(drop);
            assert!(found.unwrap_err().contains(why), "{name} {why}");
        }
        for (name, value, why) in [
            ("jti", Json::Null, "jti"),
            ("jti", json!(""), "jti"),
            ("jti", json!("a".repeat(257)), "too long"),
            ("htm", Json::Null, "htm"),
            ("htm", json!(7), "htm"),
            ("htu", Json::Null, "htu"),
            ("htu", json!("a".repeat(2_001)), "too long"),
            ("iat", Json::Null, "iat"),
            ("iat", json!("1562262616"), "iat"),
            ("a", json!("a".repeat(4_096)), "longer"),
        ] {
            let found = Proof::parse(&proof(&[], &[(name, value)])).map(drop);
            assert!(found.unwrap_err().contains(why), "{name} {why}");
        }
        for text in ["", "a", "a.b", "a.b.c", "e30.e30.AA", "....", "e30.e30.AA.AA", "\u{e9}.e30.AA"] {
            assert!(Proof::parse(text).is_err(), "{text}");
        }
    }

    /// R210
    #[test]
    fn a_proof_is_for_one_token() {
        let text = proof(&[], &[]);
        let proof = Proof::parse(&text).unwrap();
        assert_eq!(proof.check(&Expected { token: Some("a"), ..expected() }), Ok(()));
        assert_eq!(proof.check(&Expected { token: Some("b"), ..expected() }), Err("its ath is of another token"));
        assert_eq!(proof.check(&expected()), Ok(()), "more than is asked for");
    }

    /// R234: a proof holds no longer than it says itself, and not before.
    #[test]
    fn a_proof_ends_when_it_says() {
        let at = |name: &str, value: Json| {
            let text = proof(&[], &[(name, value)]);
            Proof::parse(&text).and_then(|proof| proof.check(&expected()))
        };
        let now = expected().now;
        for (name, value) in [("exp", now + 1), ("exp", i64::MAX), ("nbf", now), ("nbf", now + 60), ("nbf", 0)] {
            assert_eq!(at(name, json!(value)), Ok(()), "{name} {value}");
        }
        for (name, value, why) in [
            ("exp", json!(now), "its exp is over"),
            ("exp", json!(now - 1), "its exp is over"),
            ("exp", json!(i64::MIN), "its exp is over"),
            ("exp", json!("soon"), "its exp is no number"),
            ("exp", json!([now + 1]), "its exp is no number"),
            ("nbf", json!(now + 61), "its nbf is more than 60 seconds ahead"),
            ("nbf", json!(i64::MAX), "its nbf is more than 60 seconds ahead"),
            ("nbf", json!("now"), "its nbf is no number"),
        ] {
            assert_eq!(at(name, value.clone()), Err(why), "{name} {value}");
        }
    }
}
