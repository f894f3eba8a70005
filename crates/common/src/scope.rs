//! Scopes: what a credential may be used for. Known scopes are bits of a set. Patterns are expanded to known scopes before two
//! sets are compared, so that `agents.*` and a list of all its members are equal.

use serde::{Serialize, Serializer};

macro_rules! scopes {
    ($($name:ident = $text:literal, $what:literal;)*) => {
        /// One permission that a credential can carry, written `noun.verb`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u8)]
        pub enum Scope { $(#[doc = $what] $name,)* }

        impl Scope {
            /// Every scope, in documentation order.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// The scope's name, such as `agents.read`.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }

            /// What the scope allows, in a sentence.
            pub const fn describe(self) -> &'static str {
                match self { $(Self::$name => $what,)* }
            }
        }
    };
}

scopes! {
    AgentsList = "agents.list", "List agents.";
    AgentsRead = "agents.read", "Read an agent: its state, owner, ceiling and labels.";
    AgentsLogs = "agents.logs", "Read an agent's log. An agent can append to its own log.";
    AgentsCreate = "agents.create", "Register an agent.";
    AgentsUpdate = "agents.update", "Change an agent's description, labels or ceiling.";
    AgentsDelete = "agents.delete", "Archive an agent and all agents below it, and restore or purge archived agents.";
    AgentsLifecycle = "agents.lifecycle", "Start, stop, pause, resume and restart an agent.";
    AgentsDeploy = "agents.deploy", "Ask an agent's runtime to run the agent.";
    AgentsShare = "agents.share", "List, create and delete the grants of an agent, which let others read or edit it.";
    AgentsMessage = "agents.message", "Send a message to an agent's inbox.";
    AgentsStopAll = "agents.stop_all", "Stop every agent of the tenant at once, and undo that. For people only.";
    AgentsTokenIssue = "agents.token.issue", "Issue an agent's token, which replaces the previous one.";
    AgentsTokenRevoke = "agents.token.revoke", "Revoke an agent's token.";
    AgentsKeysRead = "agents.keys.read", "List an agent's API keys, never their values.";
    AgentsKeysWrite = "agents.keys.write", "Create, rotate and delete an agent's API keys.";
    AgentsSecretsRead = "agents.secrets.read", "Read the names of an agent's secrets. Only the agent itself can read their values.";
    AgentsSecretsWrite = "agents.secrets.write", "Set and delete an agent's secrets.";
    UiNotify = "ui.notify", "Send a notification to the agent's owner.";
    NotificationsRead = "notifications.read", "Read your own notifications.";
    NotificationsWrite = "notifications.write", "Mark your own notifications as read, and delete them.";
    TokensRead = "tokens.read", "List your own personal access tokens, never their values.";
    TokensWrite = "tokens.write", "Revoke your own personal access tokens.";
    TokensAdmin = "tokens.admin", "List and revoke every credential of the tenant. For people only.";
    TokensIntrospect = "tokens.introspect", "Ask whether a token of the tenant is live, and what it may do.";
    UsersRead = "users.read", "List the tenant's users. For people only.";
    UsersWrite = "users.write", "Create and change users, with a session. For people only.";
    AuditRead = "audit.read", "Read the audit rows of the agents that you may read.";
    AuditReadAll = "audit.read_all", "Read the audit trail of the whole tenant. For people only.";
    WebhooksRead = "webhooks.read", "List webhooks. For people only.";
    WebhooksWrite = "webhooks.write", "Create, change and test webhooks. For people only.";
    GuidesRead = "guides.read", "Read guides, and the prompt that is built from them.";
    GuidesWrite = "guides.write", "Replace the guides of a source.";
    PresetsWrite = "presets.write", "Create new versions of presets. For people only.";
    ScopesWrite = "scopes.write", "Define and delete custom scopes. For people only.";
}

impl Scope {
    /// The scope with this name.
    pub fn from_text(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|scope| scope.as_str() == text)
    }

    pub(crate) const fn bit(self) -> u64 {
        1 << (self as u8)
    }

    /// Whether only people can use it, whatever an agent's credential carries.
    pub fn is_for_people(self) -> bool {
        PEOPLE_ONLY.contains(self)
    }
}

/// The scopes that only people can use.
const PEOPLE_ONLY: ScopeSet = ScopeSet(
    Scope::UsersRead.bit()
        | Scope::UsersWrite.bit()
        | Scope::TokensAdmin.bit()
        | Scope::AuditReadAll.bit()
        | Scope::AgentsStopAll.bit()
        | Scope::WebhooksRead.bit()
        | Scope::WebhooksWrite.bit()
        | Scope::PresetsWrite.bit()
        | Scope::ScopesWrite.bit(),
);

/// A set of known scopes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct ScopeSet(pub(crate) u64);

impl ScopeSet {
    /// No scope.
    pub const EMPTY: Self = Self(0);
    /// Every scope there is.
    pub const ALL: Self = Self((1 << Scope::ALL.len()) - 1);

    /// Reads a stored list of patterns, separated by spaces. An unknown pattern allows nothing.
    pub fn stored(text: &str) -> Self {
        Self(text.split_ascii_whitespace().filter_map(Self::expand).fold(0, |all, set| all | set.0))
    }

    /// The scopes that one pattern covers: `*`, `noun.*` or one scope. `None`: it covers no known scope.
    pub fn expand(pattern: &str) -> Option<Self> {
        if pattern == "*" {
            return Some(Self::ALL);
        }
        let Some(prefix) = pattern.strip_suffix('*') else {
            return Scope::from_text(pattern).map(|scope| Self(scope.bit()));
        };
        if !prefix.ends_with('.') {
            return None;
        }
        let bits = Scope::ALL.iter().filter(|s| s.as_str().starts_with(prefix)).fold(0, |all, s| all | s.bit());
        (bits != 0).then_some(Self(bits))
    }

    /// The scopes that are in both sets.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// The scopes that are in either set.
    #[must_use]
    pub const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The scopes that are in this set and not in `other`.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Whether the scope is in the set.
    pub const fn contains(self, scope: Scope) -> bool {
        self.0 & scope.bit() != 0
    }

    /// Whether the set is empty.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The scopes of this set that an agent can ever use.
    #[must_use]
    pub const fn for_agents(self) -> Self {
        self.without(PEOPLE_ONLY)
    }

    /// The names of the scopes: `["*"]` if the set holds all of them, otherwise one by one.
    pub fn names(self) -> Vec<&'static str> {
        if self == Self::ALL {
            return vec!["*"];
        }
        Scope::ALL.iter().filter(|scope| self.contains(**scope)).map(|scope| scope.as_str()).collect()
    }
}

impl FromIterator<Scope> for ScopeSet {
    fn from_iter<I: IntoIterator<Item = Scope>>(scopes: I) -> Self {
        Self(scopes.into_iter().fold(0, |all, scope| all | scope.bit()))
    }
}

impl schemars::JsonSchema for ScopeSet {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Scopes".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        Vec::<String>::json_schema(generator)
    }
}

impl Serialize for ScopeSet {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.names())
    }
}

/// The custom scopes that a tenant has defined: names such as `x.crm.read`, which open no route of this server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CustomScopes(pub(crate) Vec<String>);

/// The maximum length of a custom scope's name, characters.
const CUSTOM_MOST: usize = 64;

impl CustomScopes {
    /// Reads a column, in which the names are separated by spaces.
    pub fn stored(text: &str) -> Self {
        Self(text.split_ascii_whitespace().map(str::to_owned).collect())
    }

    /// Whether a text is a valid name of a custom scope: `x.` and one or more parts of lower-case letters, digits, `-` and `_`.
    pub fn is_name(text: &str) -> bool {
        let part_is_good = |part: &str| {
            !part.is_empty()
                && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_'))
        };
        text.len() <= CUSTOM_MOST && text.strip_prefix("x.").is_some_and(|rest| rest.split('.').all(part_is_good))
    }

    /// The names.
    pub fn names(&self) -> &[String] {
        &self.0
    }

    /// The names that a pattern covers.
    fn covered(&self, pattern: &str) -> impl Iterator<Item = &String> {
        let below = if pattern == "*" { Some("") } else { pattern.strip_suffix('*').filter(|at| at.ends_with('.')) };
        self.0.iter().filter(move |name| match below {
            Some(prefix) => name.starts_with(prefix),
            None => *name == pattern,
        })
    }
}

/// The texts, sorted and without duplicates.
pub(crate) fn sorted<'a>(texts: impl IntoIterator<Item = &'a String>) -> Vec<String> {
    let mut texts: Vec<&str> = texts.into_iter().map(String::as_str).collect();
    texts.sort_unstable();
    texts.dedup();
    texts.into_iter().map(str::to_owned).collect()
}

/// What a credential may be used for: known scopes and a tenant's custom ones.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Scopes {
    /// The known ones.
    pub known: ScopeSet,
    /// The custom ones, sorted.
    pub custom: Vec<String>,
}

impl Scopes {
    /// The scopes that patterns, separated by spaces, cover.
    pub fn stored(text: &str, custom: &CustomScopes) -> Self {
        let custom = sorted(text.split_ascii_whitespace().flat_map(|pattern| custom.covered(pattern)));
        Self { known: ScopeSet::stored(text), custom }
    }

    /// The scopes that are in both sets.
    #[must_use]
    pub fn and(mut self, other: &Self) -> Self {
        self.custom.retain(|name| other.custom.contains(name));
        Self { known: self.known.and(other.known), ..self }
    }

    /// The scopes that are in either set.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        let custom = sorted(self.custom.iter().chain(&other.custom));
        Self { known: self.known.or(other.known), custom }
    }

    /// The scopes that are in this set and not in `other`.
    #[must_use]
    pub fn without(mut self, other: &Self) -> Self {
        self.custom.retain(|name| !other.custom.contains(name));
        Self { known: self.known.without(other.known), ..self }
    }

    /// The scopes of this set that an agent can ever use.
    #[must_use]
    pub fn for_agents(self) -> Self {
        Self { known: self.known.for_agents(), ..self }
    }

    /// For each scope in the set, the patterns that cover it.
    pub fn coverings(&self) -> Vec<Vec<String>> {
        let covering = |name: &str| {
            let above = name.match_indices('.').map(|(at, _)| format!("{}.*", name.get(..at).unwrap_or_default()));
            above.chain([name.to_owned(), "*".to_owned()]).collect()
        };
        self.all_names().into_iter().map(covering).collect()
    }

    /// Whether the set holds this custom scope.
    pub fn has_custom(&self, name: &str) -> bool {
        self.custom.iter().any(|custom| custom == name)
    }

    /// The same set as patterns, one for each scope.
    pub fn to_patterns(&self) -> Patterns {
        let mut names = self.all_names();
        names.sort_unstable();
        Patterns::stored(&names.join(" "))
    }

    /// Whether the set is empty.
    pub fn is_empty(&self) -> bool {
        self.known.is_empty() && self.custom.is_empty()
    }

    /// Every name, one by one, for readers that do not know patterns.
    pub fn all_names(&self) -> Vec<&str> {
        let known = Scope::ALL.iter().filter(|scope| self.known.contains(**scope)).map(|scope| scope.as_str());
        known.chain(self.custom.iter().map(String::as_str)).collect()
    }

    /// The names: `["*"]` if the set holds every scope that exists, otherwise one by one.
    pub fn names(&self, custom: &CustomScopes) -> Vec<&str> {
        if self.known == ScopeSet::ALL && self.custom.len() == custom.0.len() {
            return vec!["*"];
        }
        self.all_names()
    }
}

/// The patterns that a mint asked for: as they were sent, all known, without duplicates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Patterns {
    patterns: Vec<String>,
    set: ScopeSet,
}

impl Patterns {
    /// Checks the patterns that were sent. `Err`: the patterns that cover no scope; empty if no pattern was sent.
    pub fn parse(asked: &[String], custom: &CustomScopes) -> Result<Self, Vec<String>> {
        let is_unknown = |p: &&String| ScopeSet::expand(p).is_none() && custom.covered(p).next().is_none();
        let unknown: Vec<String> = asked.iter().filter(is_unknown).cloned().collect();
        if asked.is_empty() || !unknown.is_empty() {
            return Err(unknown);
        }
        let patterns = sorted(asked);
        let set = ScopeSet::stored(&patterns.join(" "));
        Ok(Self { patterns, set })
    }

    /// Reads a column, in which the patterns are separated by spaces.
    pub fn stored(text: &str) -> Self {
        Self { patterns: text.split_ascii_whitespace().map(str::to_owned).collect(), set: ScopeSet::stored(text) }
    }

    /// The same patterns within bounds. A pattern that is wider than a bound is replaced by the scopes that it covers today;
    /// scopes that are defined later are not included.
    #[must_use]
    pub fn within(&self, bounds: &[&str], custom: &CustomScopes) -> Self {
        let mut kept: Vec<String> = Vec::new();
        for pattern in &self.patterns {
            if bounds.iter().all(|bound| bound.split_ascii_whitespace().any(|of| covers(of, pattern))) {
                kept.push(pattern.clone());
            } else {
                kept.extend(Scopes::stored(pattern, custom).all_names().into_iter().map(str::to_owned));
            }
        }
        Self::stored(&sorted(&kept).join(" "))
    }

    /// The same without names of custom scopes that are not defined: one that was deleted means nothing, and is not handed on for whoever
    /// defines it anew.
    #[must_use]
    pub fn defined(&self, custom: &CustomScopes) -> Self {
        let gone = self.undefined(custom);
        let kept: Vec<String> = self.patterns.iter().filter(|pattern| !gone.contains(pattern)).cloned().collect();
        Self::stored(&kept.join(" "))
    }

    /// The names of custom scopes that are not defined.
    pub fn undefined(&self, custom: &CustomScopes) -> Vec<String> {
        let is_gone = |pattern: &&String| CustomScopes::is_name(pattern) && !custom.names().contains(pattern);
        self.patterns.iter().filter(is_gone).cloned().collect()
    }

    /// Whether each pattern is covered by one of `bound`: so that they hold no scope that `bound` lacks, now and when scopes are added.
    pub fn is_within(&self, bound: &Self) -> bool {
        self.patterns.iter().all(|pattern| bound.patterns.iter().any(|of| covers(of, pattern)))
    }

    /// The known scopes that the patterns cover.
    pub const fn set(&self) -> ScopeSet {
        self.set
    }

    /// All scopes that the patterns cover.
    pub fn scopes(&self, custom: &CustomScopes) -> Scopes {
        Scopes::stored(&self.patterns.join(" "), custom)
    }

    /// The text for the column.
    pub fn to_column(&self) -> String {
        self.patterns.join(" ")
    }
}

/// Whether the pattern `of` covers all that `pattern` does, or the scope of this name.
pub fn covers(of: &str, pattern: &str) -> bool {
    match of.strip_suffix('*') {
        Some(below) => pattern.starts_with(below),
        None => of == pattern,
    }
}

impl schemars::JsonSchema for Patterns {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Scopes".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        Vec::<String>::json_schema(generator)
    }
}

impl Serialize for Patterns {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.patterns.serialize(serializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patterns(asked: &[&str]) -> Result<Patterns, Vec<String>> {
        Patterns::parse(
            &asked.iter().map(ToString::to_string).collect::<Vec<_>>(),
            &CustomScopes::stored("x.crm.read x.crm.write"),
        )
    }

    #[test]
    fn a_pattern_covers_all_scopes_below_it_and_nothing_else() {
        let tokens = ScopeSet::expand("agents.token.*").unwrap();
        assert_eq!(tokens.names(), ["agents.token.issue", "agents.token.revoke"]);
        assert!(ScopeSet::expand("agents.*").unwrap().contains(Scope::AgentsTokenIssue));
        for unknown in
            ["", "agents", "agents*", "agents.t*", "agents.token", "**", "*.read", ".*", "Agents.read", "nope.*"]
        {
            assert_eq!(ScopeSet::expand(unknown), None, "{unknown}");
        }
    }

    /// R9: unknown scopes are refused, and all of them are named.
    #[test]
    fn unknown_patterns_are_named() {
        assert_eq!(patterns(&["agents.read", "a.b", "c"]), Err(vec!["a.b".to_owned(), "c".to_owned()]));
        assert_eq!(patterns(&[]), Err(vec![]));
    }

    #[test]
    fn patterns_are_kept_as_sent_sorted_and_without_duplicates() {
        let asked = patterns(&["ui.notify", "agents.*", "ui.notify"]).unwrap();
        assert_eq!(asked.to_column(), "agents.* ui.notify");
        assert_eq!(Patterns::stored(&asked.to_column()), asked);
    }

    /// R87: what is within a bound stays within it, whatever scopes are added.
    #[test]
    fn patterns_are_within_a_bound_that_covers_each_of_them() {
        let within = |inner: &str, outer: &str| Patterns::stored(inner).is_within(&Patterns::stored(outer));
        assert!(within("agents.read", "agents.*") && within("agents.token.*", "agents.* x.a") && within("x.a", "*"));
        assert!(within("", "agents.read") && within("agents.read", "agents.list agents.read"));
        assert!(!within("agents.read ui.notify", "agents.*") && !within("*", "agents.*") && !within("x.a", ""));
        let all = Scopes::stored("agents.*", &CustomScopes::default()).to_patterns();
        assert!(all.is_within(&Patterns::stored("agents.*")) && !Patterns::stored("agents.*").is_within(&all));
    }

    #[test]
    fn a_custom_scope_is_covered_like_any_other() {
        let defined = CustomScopes::stored("x.crm.read x.crm.write x.mail.send");
        let custom = |text: &str| Vec::from_iter(Scopes::stored(text, &defined).custom);
        assert_eq!(custom("x.crm.*"), ["x.crm.read", "x.crm.write"]);
        assert_eq!(custom("x.mail.send ui.notify"), ["x.mail.send"]);
        assert_eq!(
            (custom("*").len(), custom("x.*").len(), custom("agents.*").len(), custom("x.cr*").len()),
            (3, 3, 0, 0)
        );
        assert!(patterns(&["x.crm.*"]).is_ok() && patterns(&["x.other.*", "x.crm"]).is_err());
        let less = Scopes::stored("*", &defined).without(&Scopes::stored("x.mail.send", &defined));
        assert!(!less.names(&defined).contains(&"*") && !less.names(&defined).contains(&"x.mail.send"));
        for bad in ["x", "x.", "x..a", "x.A", "x.a b", "y.a", "x.a.", "x.*", &format!("x.{}", "a".repeat(63))] {
            assert!(!CustomScopes::is_name(bad), "{bad}");
        }
        assert!(CustomScopes::is_name("x.crm.read_all-2"));
    }
}
