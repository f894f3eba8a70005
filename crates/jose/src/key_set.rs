//! Key sets (RFC 7517, section 5).

use serde_json::{Map, Value as Json};

use crate::{jws::is_usable, text};

/// Keys of a set that are kept at most.
const MOST_KEYS: usize = 32;
/// Members of a public key that are kept: RFC 7517, section 4; RFC 7518, section 6; RFC 8037, section 2.
const MEMBERS: [&str; 9] = ["kty", "kid", "use", "alg", "crv", "x", "y", "n", "e"];
/// Members of a private key, and of one that both sides share.
const PRIVATE: [&str; 8] = ["d", "k", "p", "q", "dp", "dq", "qi", "oth"];

/// The keys of a set that can verify signatures here, each with the members that are needed for it. `Err` says in a few words what is wrong: a
/// private or shared key among them was seen by somebody who should not have it.
pub fn read(set: &Json) -> Result<Vec<Json>, &'static str> {
    let keys = set.get("keys").and_then(Json::as_array).ok_or("it is no object with a list of keys")?;
    if keys.iter().any(|key| text(key, "kty") == "oct" || PRIVATE.iter().any(|name| key.get(name).is_some())) {
        return Err("it holds a private or a shared key");
    }
    let usable: Vec<Json> = keys.iter().filter(|key| is_usable(key)).take(MOST_KEYS).map(public).collect();
    if usable.is_empty() {
        return Err("it has no key for RS256 of 2048 to 8192 bits, ES256 or EdDSA with Ed25519");
    }
    Ok(usable)
}

/// Whether a token can say which key is meant: each that stands beside another of its kind has a `kid` of its own. A key that is alone needs
/// none (RFC 7517, section 4.5).
pub fn are_distinct(keys: &[Json]) -> bool {
    let kind = |key| (text(key, "kty"), text(key, "crv"));
    let is_like = |a, b| kind(a) == kind(b) && (text(a, "kid").is_empty() || text(a, "kid") == text(b, "kid"));
    let mut pairs = keys.iter().enumerate().flat_map(|(at, key)| {
        keys.iter().enumerate().filter(move |(other, _)| *other != at).map(move |(_, other)| (key, other))
    });
    !pairs.any(|(key, other)| is_like(key, other))
}

fn public(key: &Json) -> Json {
    let member = |name: &&str| Some(((*name).to_owned(), key.get(*name).filter(|value| value.is_string())?.clone()));
    Json::Object(MEMBERS.iter().filter_map(member).collect::<Map<_, _>>())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn point() -> Json {
        json!({
            "kty": "EC", "crv": "P-256", "kid": "a", "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
            "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
        })
    }

    /// R169: of a set are kept the keys that can be used, and nothing else of them; a private or shared key is none to publish.
    #[test]
    fn a_set_is_read_for_its_usable_public_keys() {
        let mut key = point();
        key["x5c"] = json!(["MIIB"]);
        key["use"] = json!("sig");
        let kept = read(&json!({ "keys": [key, { "kty": "EC", "crv": "P-384" }, 7, {}] })).unwrap();
        let mut expected = point();
        expected["use"] = json!("sig");
        assert_eq!(kept, [expected]);
        let many: Vec<Json> = (0..MOST_KEYS + 1).map(|_| point()).collect();
        assert_eq!(read(&json!({ "keys": many })).unwrap().len(), MOST_KEYS);
        let with = |name: &str| {
            let mut key = point();
            key[name] = json!("AQAB");
            key
        };
        for (bad, why) in [
            (json!({}), "no object with a list"),
            (json!([point()]), "no object with a list"),
            (json!({ "keys": {} }), "no object with a list"),
            (json!({ "keys": [] }), "no key for"),
            (json!({ "keys": [{ "kty": "EC", "crv": "P-256", "x": "AA", "y": "AA" }] }), "no key for"),
            (json!({ "keys": [{ "kty": "oct", "k": "AA" }, point()] }), "private or a shared"),
            (json!({ "keys": [point(), with("d")] }), "private or a shared"),
        ] {
            assert!(read(&bad).unwrap_err().contains(why), "{bad}");
        }
        // R445.
        let named = |kid: Json| {
            let mut key = point();
            key["kid"] = kid;
            public(&key)
        };
        for (keys, are) in [
            (vec![named(json!(null))], true),
            (vec![named(json!("a")), named(json!("b"))], true),
            (vec![named(json!("a")), named(json!("a"))], false),
            (vec![named(json!("a")), named(json!(null))], false),
            (vec![named(json!(null)), json!({ "kty": "OKP", "crv": "Ed25519" })], true),
        ] {
            assert_eq!(are_distinct(&keys), are, "{keys:?}");
        }
        let mut encrypts = point();
        encrypts["use"] = json!("enc");
        assert!(read(&json!({ "keys": [encrypts] })).is_err());
    }
}
