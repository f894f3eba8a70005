//! Proofs that the sender of a request has the key that its signed token is bound to (DPoP, RFC 9449).

use std::collections::HashMap;

use common::proof::{Algorithm, Expected, Proof};
use p256::ecdsa::signature::Verifier;

use crate::header::{Header, PROOF};

/// Proofs that are known at most.
const MOST: usize = 65_536;

/// Proofs that were taken, each until nobody takes it any more: seconds since 1970.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    until: HashMap<[u8; 32], i64>,
    /// The second in which those that are over were last looked for.
    swept_at: i64,
}

/// Why a proof does not count.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// In a few words.
    Wrong(&'static str),
    /// More proofs are known than can be remembered: this one may be among those that were sent before.
    Full,
}

/// Reads the one proof of a request, and verifies all of it but that it is new.
pub(crate) fn verify<'h>(headers: &'h [Header], expected: &Expected<'_>, key: &str) -> Result<Proof<'h>, &'static str> {
    let mut sent = headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case(PROOF));
    let text = match (sent.next(), sent.next()) {
        (Some((_, value)), None) => std::str::from_utf8(value).map_err(|_| "it is not of ASCII")?,
        (None, _) => return Err("there is none"),
        _ => return Err("there is more than one header DPoP"),
    };
    let proof = Proof::parse(text.trim())?;
    proof.check(expected)?;
    if proof.thumbprint() != key {
        return Err("its key is not the one that the token is bound to");
    }
    if has_signed(&proof) { Ok(proof) } else { Err("its signature is not one of its key") }
}

fn has_signed(proof: &Proof<'_>) -> bool {
    let (algorithm, key, signed, signature) = proof.signature();
    match algorithm {
        Algorithm::Es256 => {
            let (key, signature) =
                (p256::ecdsa::VerifyingKey::from_sec1_bytes(key), p256::ecdsa::Signature::from_slice(signature));
            key.is_ok_and(|key| signature.is_ok_and(|signature| key.verify(signed, &signature).is_ok()))
        }
        Algorithm::EdDsa => {
            let key = key.try_into().ok().and_then(|key| ed25519_dalek::VerifyingKey::from_bytes(key).ok());
            let signature = ed25519_dalek::Signature::from_slice(signature);
            key.is_some_and(|key| signature.is_ok_and(|signature| key.verify_strict(signed, &signature).is_ok()))
        }
    }
}

impl Seen {
    /// Takes a proof at a moment, in seconds since 1970.
    pub(crate) fn take(&mut self, proof: &Proof<'_>, now: i64) -> Result<(), Fault> {
        if self.until.len() >= MOST && self.swept_at != now {
            self.until.retain(|_, until| *until > now);
            self.swept_at = now;
        }
        if self.until.len() >= MOST {
            return Err(Fault::Full);
        }
        match self.until.insert(*proof.digest().bytes(), proof.known_until()) {
            None => Ok(()),
            Some(_) => Err(Fault::Wrong("it was sent before")),
        }
    }
}
