//! JSON Web Signatures (RFC 7515) by asymmetric keys: RS256 (RFC 7518, section 3.3), ES256 (section 3.4) and EdDSA with Ed25519
//! (RFC 8037, section 3.1; RFC 9864 calls it `Ed25519`). There is no other algorithm here: neither `none`, nor one with a shared secret
//! (RFC 8725, section 3.1).

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use common::{
    json,
    proof::{self, Proof},
};
use rsa::{BoxedUint, pkcs1v15, signature::Verifier, traits::PublicKeyParts};
use serde_json::Value as Json;
use sha2::Sha256;

use crate::text;

/// Characters of a token at most.
const LONGEST: usize = 16 * 1024;
/// Bits of an RSA key at least (RFC 7518, section 3.3) and at most.
const RSA_BITS: std::ops::RangeInclusive<u32> = 2048..=8192;

/// The accepted algorithms, as metadata lists them.
pub const ALGORITHMS: &[&str] = &["RS256", "ES256", "EdDSA"];

/// A signed text, taken apart. Nothing of it is known to be true before [`Jws::verify`].
pub struct Jws<'t> {
    algorithm: Algorithm,
    key_id: Option<String>,
    typ: Option<String>,
    signed: &'t str,
    claims: Vec<u8>,
    signature: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Algorithm {
    Rs256,
    Es256,
    EdDsa,
}

impl Algorithm {
    fn parse(word: &str) -> Option<Self> {
        match word {
            "RS256" => Some(Self::Rs256),
            "ES256" => Some(Self::Es256),
            "EdDSA" | "Ed25519" => Some(Self::EdDsa),
            _ => None,
        }
    }

    /// The key's type and, of curves, which one.
    const fn of_key(self) -> (&'static str, &'static str) {
        match self {
            Self::Rs256 => ("RSA", ""),
            Self::Es256 => ("EC", "P-256"),
            Self::EdDsa => ("OKP", "Ed25519"),
        }
    }

    /// Whether a key is one of this algorithm, for signatures.
    fn takes(self, key: &Json) -> bool {
        let (kind, curve) = self.of_key();
        let is_of_kind = text(key, "kty") == kind && text(key, "crv") == curve;
        // SPIFFE has a word of its own for keys that sign ("The SPIFFE Trust Domain and Bundle", section 4.2.2).
        let is_for_signatures = matches!(text(key, "use"), "" | "sig" | "jwt-svid");
        is_of_kind && is_for_signatures && (key.get("alg").is_none() || Self::parse(text(key, "alg")) == Some(self))
    }
}

impl<'t> Jws<'t> {
    /// Takes the compact form apart (RFC 7515, section 3.1). `Err` says in a few words what is wrong.
    pub fn parse(text_of_token: &'t str) -> Result<Self, &'static str> {
        if text_of_token.len() > LONGEST {
            return Err("the token is too long");
        }
        let (signed, signature) = text_of_token.rsplit_once('.').ok_or("the token has no parts")?;
        let (header, claims) = signed.split_once('.').ok_or("the token has no parts")?;
        let decoded = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|_| "a part of the token is no base64url");
        let header = String::from_utf8(decoded(header)?).ok().and_then(|header| json::parse(&header));
        let header = header.filter(Json::is_object).ok_or("the token's header is no JSON object")?;
        let algorithm = Algorithm::parse(text(&header, "alg")).ok_or("the token's algorithm is not accepted")?;
        // RFC 7515, section 4.1.11: what must be understood is not.
        if header.get("crit").is_some() {
            return Err("the token has a critical header");
        }
        let member = |name: &str| header.get(name).and_then(Json::as_str).map(str::to_owned);
        let (key_id, typ) = (member("kid"), member("typ"));
        Ok(Self { algorithm, key_id, typ, signed, claims: decoded(claims)?, signature: decoded(signature)? })
    }

    /// Its type (RFC 7515, section 4.1.9), if it has one.
    pub fn typ(&self) -> Option<&str> {
        self.typ.as_deref()
    }

    /// What was signed: the token without its signature, of which there may be several that hold.
    pub fn signed(&self) -> &str {
        self.signed
    }

    /// A text that the token claims, before anything of it is known to be true: to find the keys that could verify it.
    pub fn claimed(&self, name: &str) -> Option<String> {
        self.claims()?.get(name).and_then(Json::as_str).map(str::to_owned)
    }

    fn claims(&self) -> Option<Json> {
        std::str::from_utf8(&self.claims).ok().and_then(json::parse)
    }

    /// The key of a set that the token names, or else the only one that could have signed it: a key need have no name (RFC 7517, section 4.5),
    /// and neither need a token (RFC 7515, section 4.1.4).
    pub fn key<'k>(&self, keys: &'k [Json]) -> Option<&'k Json> {
        let algorithm = self.algorithm;
        let fitting = || keys.iter().filter(move |key| algorithm.takes(key));
        if let Some(id) = &self.key_id
            && let Some(named) = fitting().find(|key| text(key, "kid") == id)
        {
            return Some(named);
        }
        // A key with another name is not meant. Of several none is more likely than the others.
        let mut possible = fitting().filter(|key| self.key_id.is_none() || text(key, "kid").is_empty());
        possible.next().filter(|_| possible.next().is_none())
    }

    /// Verifies the signature under one of these keys, and gives the claims. `Err` says in a few words what is wrong.
    pub fn verify(&self, keys: &[Json]) -> Result<Json, &'static str> {
        let key = self.key(keys).ok_or("the issuer has no key that could have signed the token")?;
        let key = PublicKey::read(self.algorithm, key).ok_or("the issuer's key cannot be used")?;
        if !key.verifies(self.signed.as_bytes(), &self.signature) {
            return Err("the token's signature is wrong");
        }
        self.claims().filter(Json::is_object).ok_or("the token's claims are no JSON object")
    }
}

/// A public key that can be used.
enum PublicKey {
    Rsa(pkcs1v15::VerifyingKey<Sha256>),
    P256(p256::ecdsa::VerifyingKey),
    Ed25519(ed25519_dalek::VerifyingKey),
}

impl PublicKey {
    fn read(algorithm: Algorithm, key: &Json) -> Option<Self> {
        let member = |name: &str| URL_SAFE_NO_PAD.decode(text(key, name)).ok();
        match algorithm {
            Algorithm::Rs256 => {
                let part = |name: &str| member(name).map(|bytes| BoxedUint::from_be_slice_vartime(&bytes));
                let key = rsa::PublicKey::new(part("n")?, part("e")?).ok()?;
                let is_good = RSA_BITS.contains(&key.n().bit_width());
                is_good.then(|| Self::Rsa(pkcs1v15::VerifyingKey::new(key)))
            }
            Algorithm::Es256 => {
                let part = |name: &str| member(name).filter(|bytes| bytes.len() == 32);
                // SEC 1, section 2.3.3: an uncompressed point.
                let point = [&[4], part("x")?.as_slice(), part("y")?.as_slice()].concat();
                p256::ecdsa::VerifyingKey::from_sec1_bytes(&point).ok().map(Self::P256)
            }
            Algorithm::EdDsa => {
                let bytes = member("x")?.try_into().ok()?;
                ed25519_dalek::VerifyingKey::from_bytes(&bytes).ok().map(Self::Ed25519)
            }
        }
    }

    fn verifies(&self, signed: &[u8], signature: &[u8]) -> bool {
        match self {
            Self::Rsa(key) => {
                pkcs1v15::Signature::try_from(signature).is_ok_and(|signature| key.verify(signed, &signature).is_ok())
            }
            Self::P256(key) => p256::ecdsa::Signature::from_slice(signature)
                .is_ok_and(|signature| key.verify(signed, &signature).is_ok()),
            Self::Ed25519(key) => ed25519_dalek::Signature::from_slice(signature)
                .is_ok_and(|signature| key.verify_strict(signed, &signature).is_ok()),
        }
    }
}

/// Whether the key of a proof of possession has signed it.
pub fn has_signed(proof: &Proof<'_>) -> bool {
    let (algorithm, key, signed, signature) = proof.signature();
    let key = match algorithm {
        proof::Algorithm::Es256 => p256::ecdsa::VerifyingKey::from_sec1_bytes(key).ok().map(PublicKey::P256),
        proof::Algorithm::EdDsa => {
            let bytes = key.try_into().ok();
            bytes.and_then(|bytes| ed25519_dalek::VerifyingKey::from_bytes(bytes).ok()).map(PublicKey::Ed25519)
        }
    };
    key.is_some_and(|key| key.verifies(signed, signature))
}

/// Whether a key of a set can verify signatures here.
pub(crate) fn is_usable(key: &Json) -> bool {
    let takes = |algorithm: Algorithm| algorithm.takes(key) && PublicKey::read(algorithm, key).is_some();
    ALGORITHMS.iter().filter_map(|word| Algorithm::parse(word)).any(takes)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// RFC 7515, section A.2: RS256.
    #[test]
    fn the_rsa_example_of_the_standard_holds() {
        let n = "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ";
        let token = "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw";
        let key = |n: &str| json!({ "kty": "RSA", "n": n, "e": "AQAB" });
        let jws = Jws::parse(token).unwrap();
        assert_eq!(jws.verify(&[key(n)]).unwrap()["iss"], "joe");
        let other = n.replace("ofgW", "ofgX");
        assert_eq!(jws.verify(&[key(&other)]), Err("the token's signature is wrong"));
        assert_eq!(jws.verify(&[key(&n[..170])]), Err("the issuer's key cannot be used"), "a key of 1024 bits");
        assert_eq!(jws.verify(&[key("")]), Err("the issuer's key cannot be used"));
        for key in [
            json!({ "kty": "RSA", "n": n }),
            json!({ "kty": "RSA", "n": n, "e": "AA" }),
            json!({ "kty": "RSA", "n": 7, "e": [] }),
        ] {
            assert_eq!(jws.verify(&[key]), Err("the issuer's key cannot be used"));
        }
        let bent = token.replace("cC4hi", "cC4hj");
        assert_eq!(Jws::parse(&bent).unwrap().verify(&[key(n)]), Err("the token's signature is wrong"));
    }

    /// RFC 7515, section A.3: ES256.
    #[test]
    fn the_elliptic_curve_example_of_the_standard_holds() {
        let token = "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q";
        let (x, y) = ("f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU", "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0");
        let key = |x: &str, y: &str| json!({ "kty": "EC", "crv": "P-256", "x": x, "y": y });
        let jws = Jws::parse(token).unwrap();
        assert_eq!(jws.verify(&[key(x, y)]).unwrap()["iss"], "joe");
        assert_eq!(jws.verify(&[key(y, x)]), Err("the issuer's key cannot be used"), "no point of the curve");
        assert_eq!(jws.verify(&[key("", "")]), Err("the issuer's key cannot be used"));
        let nothing = format!("{}.{}", token.rsplit_once('.').unwrap().0, "A".repeat(86));
        assert_eq!(Jws::parse(&nothing).unwrap().verify(&[key(x, y)]), Err("the token's signature is wrong"));
    }

    /// RFC 8037, section A.4: EdDSA. Its text is no JSON, which is looked at last.
    #[test]
    fn the_edwards_curve_example_of_the_standard_holds() {
        let token = "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";
        let key = json!({ "kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo" });
        assert_eq!(
            Jws::parse(token).unwrap().verify(std::slice::from_ref(&key)),
            Err("the token's claims are no JSON object")
        );
        let bent = token.replace("hgyY", "hgyZ");
        assert_eq!(Jws::parse(&bent).unwrap().verify(&[key]), Err("the token's signature is wrong"));
    }

    /// RFC 9449, section 4.1: the proof of the standard, and one whose key is another.
    #[test]
    fn the_proof_of_the_standard_is_signed_by_its_key() {
        let text = "eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6IkVDIiwieCI6Imw4dEZyaHgtMzR0VjNoUklDUkRZOXpDa0RscEJoRjQyVVFVZldWQVdCRnMiLCJ5IjoiOVZFNGpmX09rX282NHpiVFRsY3VOSmFqSG10NnY5VERWclUwQ2R2R1JEQSIsImNydiI6IlAtMjU2In19.eyJqdGkiOiItQndDM0VTYzZhY2MybFRjIiwiaHRtIjoiUE9TVCIsImh0dSI6Imh0dHBzOi8vc2VydmVyLmV4YW1wbGUuY29tL3Rva2VuIiwiaWF0IjoxNTYyMjYyNjE2fQ.2-GxA6T8lP4vfrg8v-FdWP0A0zdrj8igiMLvqRMUvwnQg4PtFLbdLXiOSsX0x7NVY-FNyJK70nfbV37xRZT3Lg";
        assert!(has_signed(&Proof::parse(text).unwrap()));
        let bent = text.replace(".2-GxA", ".2-GxB");
        assert!(!has_signed(&Proof::parse(&bent).unwrap()));
        let other = |key: Json, alg: &str| {
            let header = json!({ "typ": "dpop+jwt", "alg": alg, "jwk": key });
            let (_, rest) = text.split_once('.').unwrap();
            format!("{}.{rest}", URL_SAFE_NO_PAD.encode(header.to_string()))
        };
        // A key that is no point, one of another curve, and another one than that which has signed.
        let zero = URL_SAFE_NO_PAD.encode([0; 32]);
        let (x, y) = ("f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU", "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0");
        for (key, alg) in [
            (json!({ "kty": "EC", "crv": "P-256", "x": zero, "y": zero }), "ES256"),
            (json!({ "kty": "EC", "crv": "P-256", "x": x, "y": y }), "ES256"),
            (json!({ "kty": "OKP", "crv": "Ed25519", "x": zero }), "EdDSA"),
        ] {
            assert!(!has_signed(&Proof::parse(&other(key, alg)).unwrap()), "{alg}");
        }
    }

    /// Of several keys the named one counts, of its own kind and for signatures; without a name there must be no choice.
    #[test]
    fn a_token_is_of_one_key() {
        let rsa = |more: Json| {
            let mut key = json!({ "kty": "RSA", "kid": "a" });
            key.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            key
        };
        let token = |header: Json| format!("{}.e30.AA", URL_SAFE_NO_PAD.encode(header.to_string()));
        let is_found = |header: Json, keys: &[Json]| Jws::parse(&token(header)).unwrap().key(keys).is_some();
        let named = || json!({ "alg": "RS256", "kid": "a" });
        assert!(is_found(named(), &[rsa(json!({ "kid": "b" })), rsa(json!({ "use": "sig", "alg": "RS256" }))]));
        // R303.
        assert!(is_found(named(), &[rsa(json!({ "kid": "b" })), rsa(json!({ "use": "jwt-svid" }))]));
        for other in ["enc", "x509-svid"] {
            assert!(!is_found(named(), &[rsa(json!({ "kid": "b" })), rsa(json!({ "use": other }))]));
        }
        assert!(!is_found(named(), &[rsa(json!({ "alg": "RS512" })), rsa(json!({ "kty": "EC", "crv": "P-256" }))]));
        assert!(is_found(json!({ "alg": "RS256" }), &[rsa(json!({}))]));
        assert!(!is_found(json!({ "alg": "RS256" }), &[rsa(json!({})), rsa(json!({ "kid": "b" }))]));
        assert!(!is_found(named(), &[]));
        // R445: a name is optional in both.
        let nameless = || rsa(json!({ "kid": null }));
        assert!(is_found(named(), &[nameless()]));
        assert!(is_found(named(), &[nameless(), rsa(json!({ "kid": "b" }))]));
        assert!(!is_found(named(), &[nameless(), nameless()]));
        assert!(is_found(named(), &[nameless(), nameless(), rsa(json!({}))]), "the one that is named");
        assert!(is_found(json!({ "alg": "RS256" }), &[nameless()]));
        assert!(!is_found(json!({ "alg": "RS256" }), &[nameless(), rsa(json!({}))]));
        for alg in [json!("none"), json!("HS256"), json!("RS512"), json!("PS256"), json!("rs256"), json!(""), json!(7)]
        {
            assert!(Jws::parse(&token(json!({ "alg": alg }))).is_err(), "{alg}");
        }
    }
}
