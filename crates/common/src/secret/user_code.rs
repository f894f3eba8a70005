//! Codes that people type.

use super::{Chance, Digest};
use crate::letter::{in_ascii, is_filling};

/// The letters of user codes: no vowels, so that no word comes out, and none that looks like another (RFC 8628, section 6.1).
const USER_LETTERS: &[u8; 20] = b"BCDFGHJKLMNPQRSTVWXZ";
/// Letters of a user code, which is shown in two groups.
const USER_CODE: usize = 8;
/// The largest multiple of the number of letters that fits into a byte: what is above would make some letters more likely.
const USER_BYTES: u8 = 240;

/// What a person types at a page to sign a device in. Short, so it lives for minutes and guesses are counted.
pub struct UserCode(String);

impl UserCode {
    /// A new one: eight letters.
    pub fn generate(chance: &Chance) -> Self {
        let mut letters = String::with_capacity(USER_CODE);
        while letters.len() < USER_CODE {
            let fair = chance.bytes::<16>().into_iter().filter(|byte| *byte < USER_BYTES);
            let fair = fair.filter_map(|byte| USER_LETTERS.get(usize::from(byte) % USER_LETTERS.len()));
            letters.extend(fair.take(USER_CODE - letters.len()).map(|letter| char::from(*letter)));
        }
        Self(letters)
    }

    /// Takes what a person typed, or copied out of a text: letters in any case, also in full width, with blanks, any hyphens, full stops and
    /// what is not seen wherever they are.
    pub fn parse(text: &str) -> Option<Self> {
        let letters: String = text
            .chars()
            .filter(|c| !is_filling(*c) && *c != '.')
            .map(|c| in_ascii(c).to_ascii_uppercase())
            .take(USER_CODE + 1)
            .collect();
        let is_good = letters.len() == USER_CODE && letters.bytes().all(|letter| USER_LETTERS.contains(&letter));
        is_good.then_some(Self(letters))
    }

    /// The code as it is shown: two groups with a hyphen between them.
    pub fn reveal(&self) -> String {
        let (first, second) = self.0.split_at(USER_CODE / 2);
        format!("{first}-{second}")
    }

    /// The digest, which is stored and looked up.
    pub fn digest(&self) -> Digest {
        Digest::of(self.0.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// R104, R668.
    #[test]
    fn a_user_code_is_read_however_it_is_typed() {
        let code = UserCode::generate(&Chance::seeded(5));
        let shown = code.reveal();
        assert_eq!((shown.len(), shown.find('-')), (9, Some(4)));
        // Also as it comes out of a text: with another hyphen, or the full stop of its sentence.
        let other = ["\u{2011}", "\u{2013}", "\u{a0}"].map(|between| format!("{}.", shown.replace('-', between)));
        let wide = |c: char| char::from_u32(u32::from(c) - 0x21 + 0xff01).unwrap();
        let other = other.into_iter().chain([shown.chars().map(wide).collect(), format!("\u{200b}{shown}\u{feff}")]);
        let typed =
            [shown.clone(), shown.to_lowercase(), shown.replace('-', ""), format!(" {} ", shown.replace('-', " - "))];
        for typed in typed.into_iter().chain(other) {
            assert!(UserCode::parse(&typed).is_some_and(|parsed| parsed.digest() == code.digest()), "{typed}");
        }
        for bad in ["", "BCDF", "BCDF-GHJ", "BCDF-GHJKL", "ACDF-GHJK", "BCDF-GHJ1", "BCDF_GHJK", "\u{212a}CDFGHJK"] {
            assert!(UserCode::parse(bad).is_none(), "{bad}");
        }
        let mut seen = [0_u32; 128];
        let chance = Chance::seeded(6);
        for _ in 0..1000 {
            UserCode::generate(&chance).0.bytes().for_each(|letter| seen[usize::from(letter)] += 1);
        }
        assert!(USER_LETTERS.iter().all(|letter| (300..500).contains(&seen[usize::from(*letter)])), "{seen:?}");
    }
}
