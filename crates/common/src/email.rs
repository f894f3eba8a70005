//! E-mail addresses, with letters of every script: UTF-8 before the `@` (RFC 6531), internationalised names behind it (UTS #46).
//!
//! An address has one form in which it is stored, whatever it was written in ([`parse`]), and one in which it is compared ([`key`]).
//! Only [`parse`] needs the tables of Unicode: components that look addresses up do without.

use icu_normalizer::ComposingNormalizerBorrowed;
use idna::{
    AsciiDenyList, punycode,
    uts46::{DnsLength, Hyphens, Uts46},
};

use crate::text::is_unseen;

/// How a label begins that stands for one with other letters than those of ASCII (RFC 5890, section 2.3.2.1).
const ACE: &str = "xn--";

/// Checks an e-mail address and gives it as written, trimmed, in normal form C, with the letters of its domain. `None`: we do not accept
/// it (RFC 5321 lengths, no quoted local part, no literal address).
pub fn parse(text: &str) -> Option<String> {
    // What comes with an address that is pasted.
    let text = text.trim_matches(|c: char| c.is_whitespace() || is_unseen(c));
    if is_plain(text) {
        return parse_ascii(text);
    }
    // Domains are mapped, and some of these are mapped to nothing.
    if text.contains(is_unseen) {
        return None;
    }
    let (local, domain) = text.rsplit_once('@')?;
    let (deny, hyphens) = (AsciiDenyList::STD3, Hyphens::CheckFirstLast);
    let sent = Uts46::new().to_ascii(domain.as_bytes(), deny, hyphens, DnsLength::Verify).ok()?;
    let (domain, checked) = Uts46::new().to_unicode(domain.as_bytes(), deny, hyphens);
    checked.ok()?;
    let local = ComposingNormalizerBorrowed::new_nfc().normalize(local);
    let is_short = local.len() + 1 + sent.len() <= 254;
    Some(format!("{local}@{domain}")).filter(|email| is_short && is_one(email))
}

/// The same for an address of ASCII alone: that of the operator's own settings.
pub fn parse_ascii(text: &str) -> Option<String> {
    let text = text.trim();
    (text.is_ascii() && text.len() <= 254 && is_one(text)).then(|| text.to_owned())
}

/// Whether no part of an address stands for another text.
fn is_plain(text: &str) -> bool {
    text.is_ascii() && !text.as_bytes().windows(ACE.len()).any(|part| part.eq_ignore_ascii_case(ACE.as_bytes()))
}

/// Whether a text has the form of one address.
fn is_one(text: &str) -> bool {
    let Some((local, domain)) = text.rsplit_once('@') else { return false };
    let is_letter = |c: char| !c.is_ascii() && !is_unseen(c) && !c.is_whitespace();
    let is_atom = |atom: &str| {
        !atom.is_empty()
            && atom.chars().all(|c| is_letter(c) || c.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~".contains(c))
    };
    let is_label = |label: &str| {
        (1..=63).contains(&label.chars().count())
            && label.chars().all(|c| is_letter(c) || c.is_ascii_alphanumeric() || c == '-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    (1..=64).contains(&local.len())
        && local.split('.').all(is_atom)
        && (domain.contains('.') || domain.eq_ignore_ascii_case("localhost"))
        && domain.split('.').all(is_label)
}

/// The form in which addresses are compared: lower case, with the letters of the domain. A tenant has one user for each. What was parsed
/// before is compared in every way of writing it; a text that was not, in all but composed letters.
pub fn key(email: &str) -> String {
    let email = email.trim();
    if is_plain(email) {
        return email.to_ascii_lowercase();
    }
    let lower = email.to_lowercase();
    let Some((local, domain)) = lower.rsplit_once('@') else { return lower };
    // The same letter, wherever in a word it stands.
    let local = local.replace('ς', "σ");
    let labels: Vec<String> = domain.split('.').map(letters).collect();
    format!("{local}@{}", labels.join("."))
}

/// A domain of the operator's own settings in the form in which [`key`] has it: written with its letters or in ASCII. `None`: it is no domain.
pub fn domain_key(text: &str) -> Option<String> {
    let is_domain = text.contains('.') && text.len() <= 253 && is_one(&format!("a@{text}"));
    is_domain.then(|| text.to_lowercase().split('.').map(letters).collect::<Vec<_>>().join("."))
}

/// The letters that a label in lower case stands for.
fn letters(label: &str) -> String {
    let letters = label.strip_prefix(ACE).and_then(punycode::decode_to_string);
    letters.filter(|letters| !letters.is_ascii()).unwrap_or_else(|| label.to_owned())
}

/// The address as mail is sent to it: its domain in ASCII, which every server of mail takes. `None`: it is not a single address.
pub fn sent_to(email: &str) -> Option<String> {
    let (local, domain) = email.rsplit_once('@').filter(|_| is_one(email))?;
    let ascii = |label: &str| match label.is_ascii() {
        true => Some(label.to_owned()),
        false => punycode::encode_str(label).map(|encoded| format!("{ACE}{encoded}")),
    };
    let labels: Vec<String> = domain.split('.').map(ascii).collect::<Option<_>>()?;
    Some(format!("{local}@{}", labels.join(".")))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// R17: a text that is not an address is refused; one address is one user, whatever its case.
    #[test]
    fn addresses_are_checked_and_compared_in_lower_case() {
        for good in ["ada@example.com", " Ada.L+x@Mail.Example.co.uk ", "root@localhost", "a@r3---sn.example"] {
            assert_eq!(parse(good).as_deref(), Some(good.trim()));
            assert_eq!(sent_to(good.trim()).as_deref(), Some(good.trim()));
        }
        for bad in [
            "",
            "ada",
            "@example.com",
            "ada@",
            "ada@example",
            "a b@example.com",
            "ada@exa mple.com",
            "a..b@example.com",
            ".a@example.com",
            "ada@-x.com",
            "ada@x..com",
            "ada@x_y.com",
            "ada@[192.0.2.1]",
            "\"a b\"@example.com",
            "<b>@example.com",
            "a@example.com,b@example.com",
            "a@example.com\r\nbcc:b@example.com",
            "a@b@example.com",
            &format!("{}@example.com", "a".repeat(65)),
            &format!("a@{}.com", "a".repeat(64)),
        ] {
            assert_eq!(parse(bad), None, "{bad:?}");
            assert_eq!(sent_to(bad), None, "{bad:?}");
        }
        assert_eq!(key(" Ada@Example.COM"), "ada@example.com");
        // R670: what is not seen comes with what is pasted.
        assert_eq!(parse("\u{feff}bo@example.com\u{200b} ").as_deref(), Some("bo@example.com"));
    }

    /// R95: an address with letters of any script is one account, however it is written: composed or not, in any case, its domain in
    /// letters or in ASCII.
    #[test]
    fn an_address_of_any_script_is_one_however_it_is_written() {
        for (stored, sent, others) in [
            (
                "Jos\u{e9}@b\u{fc}cher.example",
                "Jos\u{e9}@xn--bcher-kva.example",
                &[
                    "Jose\u{301}@bu\u{308}cher.example",
                    "JOS\u{c9}@B\u{dc}CHER.EXAMPLE",
                    "jos\u{e9}@XN--BCHER-KVA.Example",
                    "jos\u{e9}@xn--bcher-kva\u{3002}example",
                    " jos\u{e9}@\u{ff42}\u{fc}cher.example ",
                ][..],
            ),
            (
                "\u{3bf}\u{3b4}\u{3cc}\u{3c2}@\u{3c0}\u{3b1}\u{3c1}\u{3ac}\u{3b4}\u{3b5}\u{3b9}\u{3b3}\u{3bc}\u{3b1}.example",
                "\u{3bf}\u{3b4}\u{3cc}\u{3c2}@xn--hxajbheg2az3al.example",
                &["\u{39f}\u{394}\u{38c}\u{3a3}@xn--hxajbheg2az3al.example"][..],
            ),
            ("ada@b\u{fc}cher.example", "ada@xn--bcher-kva.example", &["ada@xn--bcher-kva.example"][..]),
            ("\u{c5}sa@example.com", "\u{c5}sa@example.com", &["\u{212b}sa@example.com", "a\u{30a}sa@example.com"][..]),
        ] {
            assert_eq!(parse(stored).as_deref(), Some(stored));
            assert_eq!(sent_to(stored).as_deref(), Some(sent));
            for other in others {
                let parsed = parse(other).unwrap_or_else(|| panic!("{other} is an address"));
                assert_eq!(key(&parsed), key(stored), "{other}");
            }
            assert_eq!(key(&key(stored)), key(stored));
        }
        assert_ne!(key("ada@b\u{fc}cher.example"), key("ada@bucher.example"));
        assert_eq!(parse("ada@xn--bcher-kva.example").as_deref(), Some("ada@b\u{fc}cher.example"));
    }

    #[test]
    fn what_no_domain_and_no_reader_can_be_is_refused() {
        for bad in [
            "ada@xn--.example",
            "ada@xn--a.example",
            "ada@xn--example-.com",
            "ada@b\u{fc}cher",
            "ada@b\u{fc}..example",
            "ada@\u{202e}b\u{fc}.example",
            "ada@b\u{200b}\u{fc}.example",
            "ada@-b\u{fc}.example",
            "ada@b\u{fc}_x.example",
            "a\u{202e}da@example.com",
            "a\u{200d}da@example.com",
            "a\u{a0}da@example.com",
            "\u{e9}\u{0}@example.com",
            "\u{e9}@example.com,b@example.com",
            "\u{e9}@\u{ff20}.example",
            &format!("{}@example.com", "\u{e9}".repeat(33)),
            &format!("ada@{}.example", "\u{fc}".repeat(63)),
        ] {
            assert_eq!(parse(bad), None, "{bad:?}");
        }
    }
}
