//! Patterns of subjects: which workloads of an issuer are trusted.
//!
//! A subject has parts with `:` and `/` between them: `repo:acme/shop:ref:refs/heads/main`, `system:serviceaccount:prod:api`,
//! `spiffe://acme.example/ns/prod/sa/api`. In a pattern `*` stands for one or more characters of one part. The first two parts are where issuers
//! write the kind of the workload and its owner, and an issuer that serves everybody gives everybody names below them: there a pattern has no `*`.

/// The longest subject, characters (OpenID Connect Core 1.0, section 2).
pub const LONGEST: usize = 255;
/// Stars of one pattern at most.
const MOST_STARS: usize = 8;

fn is_end(c: char) -> bool {
    matches!(c, ':' | '/')
}

/// Whether a text can be a subject: 1 to 255 visible characters of ASCII.
pub fn is_subject(text: &str) -> bool {
    (1..=LONGEST).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic())
}

/// Whether a text can be a pattern of subjects.
pub fn is_pattern(text: &str) -> bool {
    let stars = text.matches('*').count();
    let mut parts = text.split(is_end).filter(|part| !part.is_empty());
    let owner = [parts.next(), parts.next()];
    let is_owned = owner.iter().all(|part| part.is_some_and(|part| !part.contains('*')));
    is_subject(text) && stars <= MOST_STARS && !text.contains("**") && (stars == 0 || is_owned)
}

/// Whether an issuer is a trust domain of SPIFFE (SPIFFE-ID, section 2.1): `spiffe://acme.example`.
pub fn is_trust_domain(issuer: &str) -> bool {
    let is_plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'-' | b'_');
    let name = issuer.strip_prefix("spiffe://");
    name.is_some_and(|name| (1..=LONGEST).contains(&name.len()) && name.bytes().all(is_plain))
}

/// Whether a subject, or a pattern of subjects, is of this trust domain.
pub fn is_of_domain(domain: &str, subject: &str) -> bool {
    subject.strip_prefix(domain).and_then(|rest| rest.strip_prefix('/')).is_some_and(|path| !path.is_empty())
}

/// Whether a subject is one that the pattern stands for: byte by byte, but for its stars.
pub fn matches(pattern: &str, subject: &str) -> bool {
    let mut literals = pattern.split('*');
    let Some(mut rest) = literals.next().and_then(|first| subject.strip_prefix(first)) else { return false };
    let mut literals = literals.peekable();
    while let Some(literal) = literals.next() {
        let span = rest.find(is_end).unwrap_or(rest.len());
        // Where it begins behind at least one character of the star, which ends with the part. The last one ends with the subject.
        let is_last = literals.peek().is_none();
        let found = if is_last {
            rest.strip_suffix(literal).map(str::len)
        } else {
            (1..=span).find(|at| rest.get(*at..).is_some_and(|rest| rest.starts_with(literal)))
        };
        let Some(at) = found.filter(|at| (1..=span).contains(at)) else { return false };
        rest = rest.get(at + literal.len()..).unwrap_or_default();
    }
    rest.is_empty()
}

/// A subject without the ids that stand behind names: `repo:acme@12/shop@34:ref` is `repo:acme/shop:ref`.
fn without_ids(subject: &str) -> String {
    let plain = |part: &str| {
        let (name, end) = part.split_at(part.strip_suffix(is_end).unwrap_or(part).len());
        let name = match name.rsplit_once('@') {
            Some((before, id)) if !before.is_empty() && !id.is_empty() && id.bytes().all(|b| b.is_ascii_digit()) => {
                before
            }
            _ => name,
        };
        format!("{name}{end}")
    };
    subject.split_inclusive(is_end).map(plain).collect()
}

/// Whether a subject is not what the pattern stands for only because one of the two has ids behind its names (`acme@12`) and the other has none,
/// as GitHub has written its subjects in both ways.
pub fn differs_by_ids(pattern: &str, subject: &str) -> bool {
    let (plain_pattern, plain_subject) = (without_ids(pattern), without_ids(subject));
    let has_ids = (plain_pattern != pattern, plain_subject != subject);
    has_ids.0 != has_ids.1 && matches(&plain_pattern, &plain_subject)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// R389: a trust domain has no path, and another one is never within it.
    #[test]
    fn a_trust_domain_is_a_name_alone() {
        for good in ["spiffe://acme.example", "spiffe://a-1_b", "spiffe://10.0.0.1"] {
            assert!(is_trust_domain(good), "{good}");
        }
        for bad in [
            "",
            "spiffe://",
            "spiffe:acme",
            "SPIFFE://acme",
            "spiffe://Acme",
            "spiffe://acme/",
            "spiffe://acme/ns",
            "spiffe://acme:8443",
            "spiffe://*",
            "spiffe://u@acme",
            "https://acme.example",
            "spiffe://acme?x",
            "spiffe://acme#x",
            "spiffe://ac%6de",
        ] {
            assert!(!is_trust_domain(bad), "{bad}");
        }
        let domain = "spiffe://acme.example";
        assert!(is_of_domain(domain, "spiffe://acme.example/a") && is_of_domain(domain, "spiffe://acme.example/*"));
        for other in [
            "spiffe://acme.example",
            "spiffe://acme.example/",
            "spiffe://acme.example.evil/a",
            "spiffe://acme/a",
            "/a",
            "",
        ] {
            assert!(!is_of_domain(domain, other), "{other}");
        }
    }

    /// R256: the hint is for ids that one side lacks; ids that are other ones are another repository.
    #[test]
    fn subjects_may_differ_in_ids_alone() {
        let (old, new) = ("repo:acme/Shop:ref:refs/heads/main", "repo:acme@123/Shop@456:ref:refs/heads/main");
        for (pattern, subject) in [
            (old, new),
            (new, old),
            ("repo:acme/*:environment:production", "repo:acme@123/shop@456:environment:production"),
        ] {
            assert!(!matches(pattern, subject) && differs_by_ids(pattern, subject), "{pattern} {subject}");
        }
        for (pattern, subject) in [
            (old, old),
            (new, new),
            (new, "repo:acme@999/Shop@456:ref:refs/heads/main"),
            (old, "repo:acme@123/shop@456:ref:refs/heads/main"),
            (old, "repo:acme@x1/Shop@456:ref:refs/heads/main"),
            (old, "repo:acme@/Shop@:ref:refs/heads/main"),
            (old, ""),
        ] {
            assert!(!differs_by_ids(pattern, subject), "{pattern} {subject}");
        }
    }

    /// R170: a star stands for a piece of one part, and for nothing else.
    #[test]
    fn a_star_stays_in_its_part() {
        let main = "repo:acme/shop:ref:refs/heads/main";
        for (pattern, subject) in [
            (main, main),
            ("repo:acme/shop:ref:refs/heads/*", main),
            ("repo:acme/*:ref:refs/heads/main", main),
            ("repo:acme/s*p:ref:refs/*/m*n", main),
            ("repo:acme/*:*:refs/heads/main", main),
            ("repo:acme/*-*:x", "repo:acme/a-b-c:x"),
            ("spiffe://acme.example/ns/*/sa/api", "spiffe://acme.example/ns/prod/sa/api"),
            ("system:serviceaccount:prod:*", "system:serviceaccount:prod:api"),
        ] {
            assert!(is_pattern(pattern) && matches(pattern, subject), "{pattern} {subject}");
        }
        for (pattern, subject) in [
            (main, "repo:acme/shop:ref:refs/heads/main2"),
            (main, "repo:acme/shop:ref:refs/heads/mai"),
            (main, "Repo:acme/shop:ref:refs/heads/main"),
            ("repo:acme/shop:ref:refs/heads/*", "repo:acme/shop:ref:refs/heads/"),
            ("repo:acme/shop:ref:refs/heads/*", "repo:acme/shop:ref:refs/heads/a/b"),
            ("repo:acme/shop:ref:refs/heads/*", "repo:acme/shop:ref:refs/heads/a:b"),
            ("repo:acme/*:ref:refs/heads/main", "repo:acme/evil/shop:ref:refs/heads/main"),
            ("repo:acme/*:ref:refs/heads/main", "repo:acme/shop:environment:x:ref:refs/heads/main"),
            ("repo:acme/*:ref:refs/heads/main", "repo:acme/:ref:refs/heads/main"),
            ("repo:acme/*:environment:prod", "repo:acme/shop:environment:prod:x"),
            ("system:serviceaccount:prod:*", "system:serviceaccount:prod:"),
            ("system:serviceaccount:prod:*", "system:serviceaccount:test:api"),
            ("a:b:x*", "a:b:x"),
            ("a:b:x*x", "a:b:x"),
            ("a:b:x*x", "a:b:xx"),
            ("a:b:*a*", "a:b:a"),
            ("a:b:*", "a:b"),
        ] {
            assert!(is_pattern(pattern) && !matches(pattern, subject), "{pattern} {subject}");
        }
        assert!(matches("a:b:x*x", "a:b:xyx") && matches("a:b:*a*", "a:b:bab"));
    }

    /// R170: nobody trusts all repositories of a forge, or all service accounts of a cluster.
    #[test]
    fn a_pattern_names_the_owner() {
        for good in ["repo:acme/shop:*", "8a6e0804-2bd0-4672-b79d-d97027f9071a", "spiffe://a.example/*", "a"] {
            assert!(is_pattern(good), "{good}");
        }
        for bad in [
            "",
            "*",
            "repo:*",
            "repo:*/shop:x",
            "repo:acme*/shop:x",
            "*:acme:x",
            "rep*:acme:x",
            "spiffe://*/ns/x",
            "a*",
            "repo:acme/**",
            "repo:acme/a b",
            "repo:acme/\u{e9}",
            "repo:acme/\n",
            "a:b:*-*-*-*-*-*-*-*-*",
        ] {
            assert!(!is_pattern(bad), "{bad}");
        }
        assert!(!is_pattern(&"a".repeat(256)) && is_pattern(&"a".repeat(255)));
    }

    /// Any two texts are compared without a panic, and a pattern without stars is the text itself.
    #[test]
    fn odd_texts_are_compared() {
        for pattern in ["", "a", "\u{e9}", "::", "*", "**", "a*", "*a", ":*", "\u{e9}*x", "a:b:*\u{e9}*"] {
            for subject in ["", "*", "a", "\u{e9}", "a:b:\u{e9}\u{e9}", "a:b:x\u{e9}y", "::", "x\u{e9}x"] {
                let matches = matches(pattern, subject);
                assert!(pattern.contains('*') || matches == (pattern == subject), "{pattern} {subject}");
            }
        }
    }
}
