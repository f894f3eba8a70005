//! `receipt verify`: whether a receipt of a closure is what it says, without the server that signed it.
//!
//! What is to be believed must not name what it is to be believed by: the issuer and the keys come from the user, and a receipt that names
//! another issuer, or a key that is not among these, is refused.

use std::{fs, io::Read as _};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use clap::ArgMatches;
use common::{json::to_text, route, secret::Digest};
use ed25519_dalek::{Signature, VerifyingKey};
use serde_json::{Value as Json, json};

use crate::{
    config::Url,
    context::Context,
    fail::{Exit, Failure, of_file},
    http::{Call, Client},
    show,
};

/// The longest receipt and the longest set of keys that are read, bytes.
const MOST: u64 = 4 << 20;
/// Where a server's keys are.
const KEYS: &str = route::OAUTH_JWKS.path;

/// The verb.
pub(super) fn verify(context: &Context, typed: &ArgMatches) -> Result<u8, Failure> {
    let text = |name: &str| typed.get_one::<String>(name).map(String::as_str);
    let receipt = read(text("file").unwrap_or("-"), "the receipt")?;
    // Keys from an address are those of the server there.
    let named = text("jwks").filter(|place| place.contains("://")).map(server_of).transpose()?;
    let server = named.as_ref().or(context.settings.url.as_ref());
    let issuer = match (text("issuer"), server) {
        (Some(issuer), _) => issuer.trim_end_matches('/'),
        (None, Some(server)) => server.as_str(),
        (None, None) => {
            return Err(Failure::usage("Nobody said which server's receipt this should be.")
                .fix("Add --issuer https://…, the address of the server that you trust."));
        }
    };
    let keys = match (text("jwks"), server) {
        (Some(file), _) if named.is_none() => read(file, "the keys")?,
        (_, Some(server)) => {
            if server.as_str() != issuer {
                let sentence = format!("The keys of {} say nothing of what {issuer} signs.", server.as_str());
                return Err(Failure::usage(sentence).fix("Give the keys of the issuer with --jwks."));
            }
            Client::new(server, None, context.patience)?.call(route::OAUTH_JWKS, Call::default())?.text
        }
        (_, None) => {
            return Err(Failure::usage("There are no keys to verify with.")
                .fix("Add --jwks with a file of the server's keys, or with their address."));
        }
    };
    let keys = serde_json::from_str(&keys)
        .map_err(|_| Failure::new(Exit::Refused, "The keys are no set of keys (RFC 7517)."))?;
    let proved = check(receipt.trim(), &keys, issuer).map_err(|unproved| {
        let failure = Failure::new(Exit::Refused, format!("This receipt proves nothing: {}", unproved.why));
        match unproved.issuer {
            Some(named) => failure.fix(format!(
                "If {named} is the public address of the server that you trust, add --issuer {named}, with its keys by --jwks."
            )),
            None => failure.fix("Ask the person who gave it to you for the file as the server sent it."),
        }
    })?;
    if context.is_json {
        show::json(&proved.claims);
        return Ok(0);
    }
    show::out("The signature is right, and so is what it is about.");
    show::out(&show::facts(&facts(&proved), &[]));
    show::out(&sentence(&proved.claims));
    Ok(0)
}

/// The server whose keys are at an address.
fn server_of(place: &str) -> Result<Url, Failure> {
    let server = place.strip_suffix(KEYS).ok_or_else(|| {
        Failure::usage(format!("{} is no address of a server's keys.", show::line(place)))
            .fix(format!("They are at https://…{KEYS}. Keys from elsewhere: give a file."))
    })?;
    Url::parse(server)
}

/// A file, or standard input for `-`.
fn read(file: &str, what: &str) -> Result<String, Failure> {
    let mut text = String::new();
    let read = match file {
        "-" => std::io::stdin().take(MOST).read_to_string(&mut text),
        file => fs::File::open(file).and_then(|open| open.take(MOST).read_to_string(&mut text)),
    };
    read.map_err(of_file(format!("{what}, {file}")))?;
    Ok(show::unmarked(&text).to_owned())
}

/// What a receipt says, once it is believed.
struct Proved {
    claims: Json,
    key: String,
}

fn text<'a>(json: &'a Json, path: &str) -> &'a str {
    json.pointer(path).and_then(Json::as_str).unwrap_or_default()
}

/// Why a receipt proves nothing.
#[derive(Debug)]
struct Unproved {
    /// As the end of a sentence.
    why: String,
    /// The server that it is of, where that is another one.
    issuer: Option<String>,
}

impl From<String> for Unproved {
    fn from(why: String) -> Self {
        Self { why, issuer: None }
    }
}

impl From<&str> for Unproved {
    fn from(why: &str) -> Self {
        why.to_owned().into()
    }
}

/// Verifies a receipt by keys and the address of the server that it must be of.
fn check(receipt: &str, keys: &Json, issuer: &str) -> Result<Proved, Unproved> {
    let parts: Vec<&str> = receipt.split('.').collect();
    let [header, payload, signature] = parts.as_slice() else { return Err("it is no signed text.".into()) };
    let decoded = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|_| "it was changed or cut off.".to_owned());
    let json = |part: &str| -> Result<Json, String> {
        serde_json::from_slice(&decoded(part)?).map_err(|_| "it was changed or cut off.".to_owned())
    };
    let head = json(header)?;
    if text(&head, "/typ") != "closure+jwt" {
        return Err("it is no receipt of a closure, but something else that is signed.".into());
    }
    // The one algorithm of receipts: what the text says of itself chooses nothing.
    if text(&head, "/alg") != "EdDSA" || head.get("crit").is_some() {
        return Err("it is signed in a way in which no receipt is.".into());
    }
    let kid = text(&head, "/kid");
    let listed = keys.get("keys").and_then(Json::as_array).map(Vec::as_slice).unwrap_or_default();
    let key = listed
        .iter()
        .find(|key| text(key, "/kid") == kid && text(key, "/kty") == "OKP" && text(key, "/crv") == "Ed25519")
        .and_then(|key| URL_SAFE_NO_PAD.decode(text(key, "/x")).ok()?.try_into().ok())
        .and_then(|bytes: [u8; 32]| VerifyingKey::from_bytes(&bytes).ok())
        .ok_or("the key that it names is not among the given keys.")?;
    let signature = Signature::from_slice(&decoded(signature)?).map_err(|_| "it was changed or cut off.")?;
    let signed = format!("{header}.{payload}");
    key.verify_strict(signed.as_bytes(), &signature).map_err(|_| "its signature is not of this text.")?;

    let claims = json(payload)?;
    if text(&claims, "/iss") != issuer {
        let named = show::line(text(&claims, "/iss"));
        return Err(Unproved { why: format!("it is of {named}, and not of {issuer}."), issuer: Some(named) });
    }
    let closure = claims.get("closure").unwrap_or(&Json::Null);
    let digest = Digest::of(to_text(closure).as_bytes()).to_string();
    let is_whole = text(&claims, "/digest") == digest && claims.get("sub") == closure.get("id");
    match text(&claims, "/status") {
        "closed" if is_whole && !text(&claims, "/closed_at").is_empty() => {}
        "partial" if is_whole && !text(&claims, "/latest").is_empty() => {}
        // A server that signs this has a fault.
        _ => return Err("what it says does not fit together.".into()),
    }
    Ok(Proved { claims, key: kid.to_owned() })
}

/// What a receipt says, in lines.
fn facts(proved: &Proved) -> Json {
    let claims = &proved.claims;
    let closure = claims.get("closure").unwrap_or(&Json::Null);
    let counts = closure.get("ended").and_then(Json::as_object).into_iter().flatten();
    let ended: Vec<String> = counts
        .filter(|(_, number)| number.as_i64() != Some(0))
        .map(|(kind, number)| format!("{number} {kind}"))
        .collect();
    let by = match text(closure, "/agent") {
        "" => text(closure, "/user").to_owned(),
        agent => format!("the agent {agent} of {}", text(closure, "/user")),
    };
    let row = claims.get("audit").filter(|row| row.is_object());
    json!({
        "closure": closure.get("id"),
        "signed by": claims.get("iss"),
        "key": proved.key,
        "action": closure.get("action"),
        "object": closure.get("object"),
        "by": by,
        "tenant": closure.get("tenant"),
        "at": closure.get("at"),
        "epoch": closure.get("epoch"),
        "ended": if ended.is_empty() { "rights of the whole tenant".to_owned() } else { ended.join(", ") },
        "audit row": row.and_then(|row| row.get("id")),
        "digest": claims.get("digest"),
    })
}

/// What it proves.
fn sentence(claims: &Json) -> String {
    let line = |path: &str| show::line(text(claims, path));
    match text(claims, "/status") {
        "closed" => format!(
            "{} states: nothing of this that began after {} was accepted, by it or by a guard that keeps its rules.",
            line("/iss"),
            line("/closed_at")
        ),
        _ => format!(
            "{} states: when this was signed, a guard could still accept some of it, until {} at the latest, and none could after that.",
            line("/iss"),
            line("/latest")
        ),
    }
}

#[cfg(test)]
mod tests {
    use ed25519_dalek::{Signer as _, SigningKey};

    use super::*;

    const ISSUER: &str = "https://accredit.example";

    fn key(seed: u8) -> SigningKey {
        SigningKey::from_bytes(&[seed; 32])
    }

    fn encoded(json: &Json) -> String {
        URL_SAFE_NO_PAD.encode(to_text(json))
    }

    fn signed(head: &Json, claims: &Json, key: &SigningKey) -> String {
        let text = format!("{}.{}", encoded(head), encoded(claims));
        let signature = URL_SAFE_NO_PAD.encode(key.sign(text.as_bytes()).to_bytes());
        format!("{text}.{signature}")
    }

    fn head() -> Json {
        json!({ "typ": "closure+jwt", "alg": "EdDSA", "kid": "k1" })
    }

    fn keys() -> Json {
        let x = URL_SAFE_NO_PAD.encode(key(1).verifying_key().as_bytes());
        json!({ "keys": [
            { "kty": "EC", "crv": "P-256", "x": "AA", "y": "AA", "kid": "k0" },
            { "kty": "OKP", "crv": "Ed25519", "x": x, "kid": "k1" },
        ] })
    }

    fn claims() -> Json {
        let closure =
            json!({ "id": "cls_1", "action": "agent.stop", "ended": { "agents": 3, "people": 0 }, "epoch": 7 });
        let digest = Digest::of(to_text(&closure).as_bytes()).to_string();
        json!({
            "iss": ISSUER, "sub": "cls_1", "closure": closure, "digest": digest, "status": "closed",
            "closed_at": "2026-11-26T12:04:31.220Z", "latest": null,
        })
    }

    fn why(receipt: &str) -> String {
        check(receipt, &keys(), ISSUER).err().map(|unproved| unproved.why).unwrap_or_default()
    }

    /// R166: a receipt is believed by its key and issuer alone, and said in words.
    #[test]
    fn a_receipt_is_verified_and_said_in_words() {
        let proved = check(&signed(&head(), &claims(), &key(1)), &keys(), ISSUER).unwrap();
        let said = facts(&proved);
        assert_eq!((&said["ended"], &said["key"], &said["audit row"]), (&json!("3 agents"), &json!("k1"), &Json::Null));
        assert!(sentence(&proved.claims).contains("nothing of this that began after 2026-11-26T12:04:31.220Z"));
        let mut partial = claims();
        (partial["status"], partial["closed_at"]) = (json!("partial"), Json::Null);
        partial["latest"] = json!("2026-11-26T12:04:41.220Z");
        let proved = check(&signed(&head(), &partial, &key(1)), &keys(), ISSUER).unwrap();
        assert!(sentence(&proved.claims).contains("until 2026-11-26T12:04:41.220Z at the latest"));
    }

    /// R166: whatever is not signed as it stands, by a key of the issuer, as a receipt, is refused.
    #[test]
    fn a_forged_receipt_is_refused() {
        let good = signed(&head(), &claims(), &key(1));
        let parts: Vec<&str> = good.split('.').collect();
        let mut other = claims();
        other["closed_at"] = json!("2025-01-01T00:00:00.000Z");
        let tampered = format!("{}.{}.{}", parts[0], encoded(&other), parts[2]);
        assert!(why(&tampered).contains("not of this text"));
        for (name, value, told) in [
            ("alg", json!("none"), "in a way"),
            ("alg", json!("HS256"), "in a way"),
            ("alg", json!("ES256"), "in a way"),
            ("crit", json!(["b64"]), "in a way"),
            ("typ", json!("at+jwt"), "something else"),
            ("typ", json!("JWT"), "something else"),
            ("kid", json!("k0"), "not among"),
            ("kid", json!("k2"), "not among"),
            ("kid", json!(1), "not among"),
        ] {
            let mut head = head();
            head[name] = value.clone();
            assert!(why(&signed(&head, &claims(), &key(1))).contains(told), "{name}: {value}");
        }
        // Without a signature, and with one by the public key as if it were a secret.
        let none = json!({ "typ": "closure+jwt", "alg": "none" });
        assert!(why(&format!("{}.{}.", encoded(&none), encoded(&claims()))).contains("in a way"));
        assert!(why(&signed(&head(), &claims(), &key(2))).contains("not of this text"));
        let mut foreign = claims();
        foreign["iss"] = json!("https://accredit.example.evil");
        assert!(why(&signed(&head(), &foreign, &key(1))).contains("and not of https://accredit.example"));
        for (name, value) in [
            ("digest", json!("00")),
            ("sub", json!("cls_2")),
            ("status", json!("open")),
            ("closed_at", Json::Null),
            ("closure", Json::Null),
        ] {
            let mut wrong = claims();
            wrong[name] = value;
            assert!(why(&signed(&head(), &wrong, &key(1))).contains("does not fit"), "{name}");
        }
        for text in ["", "a", "a.b", "a.b.c", "a.b.c.d", &good[..good.len() - 4], &format!("{good}=")] {
            assert!(!why(text).is_empty(), "{text}");
        }
        assert!(check(&good, &json!({}), ISSUER).is_err() && check(&good, &json!([]), ISSUER).is_err());
    }

    #[test]
    fn keys_are_those_of_the_server_where_they_are() {
        assert_eq!(server_of("https://a.example/acc/oauth/jwks").unwrap().as_str(), "https://a.example/acc");
        for place in ["https://a.example/keys", "ftp://a.example/oauth/jwks", "http://a.example/oauth/jwks"] {
            assert_eq!(server_of(place).unwrap_err().exit, Exit::Usage, "{place}");
        }
    }
}
