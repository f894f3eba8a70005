//! Typed, sortable ids: a prefix that names the kind, then a ULID in lower case (48 bits of time, 80 of chance).

use crate::{secret::Chance, time::Timestamp};

/// Crockford's base 32, lower case: no `i`, `l`, `o`, `u`.
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
/// Characters after the prefix.
const LENGTH: usize = 26;
/// The first of them, which are the time.
const TIME: usize = 10;

/// Appends 26 characters: time first, so that ids sort by when they were made.
///
/// The 130 bits of 26 characters hold 48 of time and 80 of chance; the first two are always 0, so the first 10 characters
/// are the time and the other 16 are chance.
fn push_ulid(text: &mut String, now: Timestamp, low: [u8; 10]) {
    let mut push = |bits: u64, characters: u32| {
        for at in (0..characters).rev() {
            let digit = usize::try_from((bits >> (at * 5)) & 31).unwrap_or(0);
            text.push(ALPHABET.get(digit).copied().map_or('0', char::from));
        }
    };
    let [a, b, c, d, e, f, g, h, i, j] = low;
    push(u64::try_from(now.millis()).unwrap_or(0) & 0xffff_ffff_ffff, 10);
    push(u64::from_be_bytes([0, 0, 0, a, b, c, d, e]), 8);
    push(u64::from_be_bytes([0, 0, 0, f, g, h, i, j]), 8);
}

/// A prefix and a ULID.
fn prefixed(prefix: &str, now: Timestamp, low: [u8; 10]) -> String {
    let mut text = String::with_capacity(prefix.len() + LENGTH);
    text.push_str(prefix);
    push_ulid(&mut text, now, low);
    text
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident = $prefix:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, schemars::JsonSchema)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// The prefix of every id of this kind.
            pub const PREFIX: &str = $prefix;

            /// A new id, made at `now`.
            pub fn generate(now: Timestamp, chance: &Chance) -> Self {
                Self(prefixed($prefix, now, chance.bytes()))
            }

            /// The id as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }

        /// Takes a stored id; the error is the text back if it has another prefix.
        impl TryFrom<String> for $name {
            type Error = String;

            fn try_from(text: String) -> Result<Self, String> {
                if text.starts_with($prefix) { Ok(Self(text)) } else { Err(text) }
            }
        }
    )*

        /// The prefixes of all kinds.
        pub const PREFIXES: &[&str] = &[$($prefix),*];
    };
}

ids! {
    /// An organisation.
    TenantId = "ten_";
    /// A person.
    UserId = "usr_";
    /// A program with its own identity.
    AgentId = "agt_";
    /// A credential's record (never the secret): session, PAT, agent token or key.
    CredentialId = "tok_";
    /// An API key of an agent: one secret, or two while one is in its grace.
    KeyId = "key_";
    /// A probe of an agent.
    ProbeId = "prb_";
    /// A person's identity at a provider through which they sign in.
    IdentityId = "idn_";
    /// An OAuth client that an admin registered.
    ClientId = "cli_";
    /// Whom an agent trusts, so that a workload gets credentials of it.
    FederatedCredentialId = "fed_";
    /// What a person gave an OAuth client.
    AppGrantId = "apg_";
    /// A request for access.
    AccessRequestId = "acc_";
    /// A notification.
    NotificationId = "ntf_";
    /// A mail in the outbox.
    MailId = "out_";
    /// A row of the audit trail.
    AuditId = "aud_";
    /// An event, as webhooks get it: the same for each of them.
    EventId = "msg_";
    /// Where events are sent.
    WebhookId = "whk_";
    /// An event on its way to one webhook.
    DeliveryId = "dlv_";
    /// What a change has ended, and since when nobody accepts it.
    ClosureId = "cls_";
    /// A service of a tenant that takes signed tokens.
    ResourceId = "res_";
    /// A signed token: its `jti`.
    SignedTokenId = "jti_";
    /// One request, in the header `x-request-id` and in every refusal.
    RequestId = "req_";
}

/// Whether a text is an id of one of these prefixes, as they are made: one that was cut off or mistyped is none.
pub fn is_id(text: &str, prefixes: &[&str]) -> bool {
    let rest = prefixes.iter().find_map(|prefix| text.strip_prefix(prefix));
    rest.is_some_and(|rest| rest.len() == LENGTH && rest.bytes().all(|byte| ALPHABET.contains(&byte)))
}

/// Whether a text begins as an id does: it is one, or what is left of one that was cut off.
pub fn begins_as_id(text: &str) -> bool {
    PREFIXES.iter().any(|prefix| text.starts_with(prefix))
}

impl NotificationId {
    /// The first one of its moment: all that were made before sort before it.
    pub fn first_at(now: Timestamp) -> Self {
        Self(prefixed(Self::PREFIX, now, [0; 10]))
    }

    /// When the notification that an id names was made, whether it is still there or not. `None`: the text is no such id.
    pub fn time_of(text: &str) -> Option<Timestamp> {
        time_of(text, Self::PREFIX)
    }
}

impl AccessRequestId {
    /// When the request that an id names was made, whether it is still there or not. `None`: the text is no such id.
    pub fn time_of(text: &str) -> Option<Timestamp> {
        time_of(text, Self::PREFIX)
    }
}

fn time_of(text: &str, prefix: &str) -> Option<Timestamp> {
    if !is_id(text, &[prefix]) {
        return None;
    }
    let digit = |byte: u8| ALPHABET.iter().position(|known| *known == byte).and_then(|at| i64::try_from(at).ok());
    let time = text.bytes().skip(prefix.len()).take(TIME);
    let millis = time.map(digit).try_fold(0_i64, |millis, digit| Some(millis << 5 | digit?))?;
    Some(Timestamp::from_millis(millis))
}

macro_rules! time_parts {
    ($($name:ident)*) => {$(
        impl $name {
            /// The id without its chance: its kind and when it was made.
            pub fn time_part(&self) -> &str {
                self.0.get(..Self::PREFIX.len() + TIME).unwrap_or_default()
            }
        }
    )*};
}

time_parts! { AuditId EventId DeliveryId NotificationId }

/// Makes the request ids of one instance: a random start, then a counter. An id has to be unique, not secret, and reading
/// randomness for every request costs measurable time.
pub struct RequestIds {
    start: [u8; 6],
    next: std::sync::atomic::AtomicU32,
}

impl RequestIds {
    /// A beginning for one instance.
    pub fn new(chance: &Chance) -> Self {
        let [a, b, c, d, e, f, g, h, i, j] = chance.bytes::<10>();
        Self { start: [a, b, c, d, e, f], next: u32::from_be_bytes([g, h, i, j]).into() }
    }

    /// The next request's id.
    pub fn next(&self, now: Timestamp) -> RequestId {
        let [a, b, c, d, e, f] = self.start;
        let [g, h, i, j] = self.next.fetch_add(1, std::sync::atomic::Ordering::Relaxed).to_be_bytes();
        RequestId(prefixed(RequestId::PREFIX, now, [a, b, c, d, e, f, g, h, i, j]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_sort_by_the_time_they_were_made() {
        let chance = Chance::seeded(7);
        let notified = NotificationId::generate(Timestamp::from_millis(1_469_918_176_385), &chance);
        assert_eq!(NotificationId::time_of(notified.as_str()).map(Timestamp::millis), Some(1_469_918_176_385));
        assert_eq!(NotificationId::time_of("ntf_x"), None);
        let early = UserId::generate(Timestamp::from_millis(1_000), &chance);
        let late = UserId::generate(Timestamp::from_millis(1_001), &chance);
        assert!(early < late);
        assert_eq!(early.as_str().len(), "usr_".len() + LENGTH);
    }

    /// The form of a ULID, by its published example: 48 bits of time, then 80 of chance, in Crockford's base 32.
    #[test]
    fn an_id_is_a_prefix_and_a_ulid() {
        let all = prefixed("usr_", Timestamp::from_millis(0xffff_ffff_ffff), [0xff; 10]);
        assert_eq!(all, "usr_7zzzzzzzzzzzzzzzzzzzzzzzzz");
        let counted = prefixed("", Timestamp::from_millis(1_469_918_176_385), [0, 0, 0, 0, 0, 0, 0, 0, 0, 33]);
        assert_eq!(counted, "01aryz6s410000000000000011");
    }

    #[test]
    fn an_id_is_told_from_other_texts() {
        let id = UserId::generate(Timestamp::from_millis(1_000), &Chance::seeded(7)).to_string();
        assert!(is_id(&id, &["agt_", "usr_"]));
        for bad in ["", "usr_", &id[..29], &format!("{id}0"), &id.to_uppercase(), &id.replace("usr_", "agt_"), &id[4..]]
        {
            assert!(!is_id(bad, &["usr_"]), "{bad}");
        }
    }

    #[test]
    fn two_ids_of_one_moment_differ() {
        let chance = Chance::seeded(7);
        let now = Timestamp::from_millis(1_000);
        assert_ne!(UserId::generate(now, &chance), UserId::generate(now, &chance));
    }
}
