//! Time-based one-time passwords (RFC 6238): HMAC-SHA-1, steps of 30 seconds, six digits. It is what every authenticator app takes.

use common::{secret::Chance, time::Timestamp};
use data_encoding::BASE32_NOPAD;
use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;

/// The length of a step, milliseconds (RFC 6238, section 5.2).
const STEP: i64 = 30_000;
/// The number of different codes: six digits.
const CODES: u32 = 1_000_000;
/// Steps before and after the present one whose code is taken too: clocks differ (RFC 6238, section 5.2).
const SKEW: i64 = 1;

/// A secret that a person's app and this server share. It cannot be copied or printed: [`TotpSecret::reveal`] is the one exit.
pub(crate) struct TotpSecret(String);

impl TotpSecret {
    /// A new one: 160 random bits (RFC 4226, section 4, R6), in base 32 as apps take it.
    pub(crate) fn generate(chance: &Chance) -> Self {
        Self(BASE32_NOPAD.encode(&chance.bytes::<20>()))
    }

    /// One that the vault has opened.
    pub(crate) fn opened(text: String) -> Self {
        Self(text)
    }

    /// The text, for the one answer that shows it and for the vault.
    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }

    /// The time step whose code this is: the present one, or one beside it. `None`: it is another code, or no code at all.
    pub(crate) fn step_of(&self, code: &str, now: Timestamp) -> Option<i64> {
        let key = BASE32_NOPAD.decode(self.0.as_bytes()).ok()?;
        let present = now.millis() / STEP;
        // All of them are computed, whichever matches.
        let matching =
            (present - SKEW..=present + SKEW).filter(|step| common::secret::equal(&code_at(&key, *step), code));
        matching.fold(None, |_, step| Some(step))
    }

    /// The code of a moment.
    #[cfg(test)]
    pub(crate) fn code(&self, now: Timestamp) -> String {
        code_at(&BASE32_NOPAD.decode(self.0.as_bytes()).unwrap(), now.millis() / STEP)
    }
}

/// The code of a step: dynamic truncation of the MAC (RFC 4226, section 5.3).
fn code_at(key: &[u8], step: i64) -> String {
    // HMAC takes keys of every length.
    let Ok(mac) = Hmac::<Sha1>::new_from_slice(key) else { return String::new() };
    let mac = mac.chain_update(step.to_be_bytes()).finalize().into_bytes();
    let offset = usize::from(mac.last().copied().unwrap_or_default() & 0xf);
    let four = mac.get(offset..offset + 4).and_then(|bytes| <[u8; 4]>::try_from(bytes).ok()).unwrap_or_default();
    format!("{:06}", (u32::from_be_bytes(four) & 0x7fff_ffff) % CODES)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The vectors of RFC 6238, appendix B (SHA-1), of which an app shows the last six of the eight digits.
    #[test]
    fn codes_are_those_of_the_rfc() {
        let secret = TotpSecret::opened(BASE32_NOPAD.encode(b"12345678901234567890"));
        for (seconds, code) in [
            (59, "94287082"),
            (1_111_111_109, "07081804"),
            (1_111_111_111, "14050471"),
            (1_234_567_890, "89005924"),
            (2_000_000_000, "69279037"),
            (20_000_000_000, "65353130"),
        ] {
            let now = Timestamp::from_millis(seconds * 1000);
            assert_eq!(secret.code(now), code[2..], "{seconds}");
            assert_eq!(secret.step_of(&code[2..], now), Some(seconds / 30));
        }
    }

    /// The vectors of RFC 4226, appendix D: the counter is the step.
    #[test]
    fn codes_are_those_of_hotp() {
        let all = ["755224", "287082", "359152", "969429", "338314", "254676", "287922", "162583", "399871", "520489"];
        for (step, code) in (0..).zip(all) {
            assert_eq!(code_at(b"12345678901234567890", step), code);
        }
    }

    #[test]
    fn one_step_of_skew_is_taken_and_no_more() {
        let secret = TotpSecret::generate(&Chance::seeded(1));
        assert_eq!(secret.reveal().len(), 32);
        let at = |seconds: i64| Timestamp::from_millis(1_767_323_040_000 + seconds * 1000); // the first moment of a step
        let (code, step) = (secret.code(at(0)), at(0).millis() / STEP);
        for (seconds, is_taken) in [(-31, false), (-30, true), (0, true), (29, true), (59, true), (60, false)] {
            assert_eq!(secret.step_of(&code, at(seconds)), is_taken.then_some(step), "{seconds}");
        }
        for wrong in ["", "12345", "1234567", "abcdef", "１２３４５６"] {
            assert_eq!(secret.step_of(wrong, at(0)), None, "{wrong}");
        }
    }
}
