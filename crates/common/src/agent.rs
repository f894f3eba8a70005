//! Agents: names, states, settings.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value as Json;

use crate::scope::Patterns;

/// The most characters of an agent's name: a DNS label.
const MOST: usize = 63;
/// Names that are words of the routes, and the command's word for no agent.
const RESERVED: [&str; 10] =
    ["accredit", "archived", "bulk", "deploy", "enroll", "import", "me", "none", "start-all", "stop-all"];

/// An agent's name: lower-case letters, digits and hyphens, no hyphen at either end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentName(String);

impl AgentName {
    /// Makes a name from typed text: lower case, with one hyphen for each run of other characters. `None`: the text holds a path
    /// separator, `..` or a control character, nothing is left of it, or the name is too long or reserved.
    pub fn parse(typed: &str) -> Option<Self> {
        let typed = typed.trim_matches(' ');
        if typed.contains(['/', '\\']) || typed.contains("..") || typed.chars().any(char::is_control) {
            return None;
        }
        let mut slug = String::new();
        for c in typed.chars().take(10 * MOST).flat_map(char::to_lowercase) {
            if c.is_ascii_lowercase() || c.is_ascii_digit() {
                slug.push(c);
            } else if !slug.is_empty() && !slug.ends_with('-') {
                slug.push('-');
            }
        }
        let slug = slug.trim_end_matches('-');
        let is_good = (1..=MOST).contains(&slug.len()) && typed.chars().count() <= 64 && !RESERVED.contains(&slug);
        is_good.then(|| Self(slug.to_owned()))
    }

    /// Whether a text is a name as it is stored: nothing of it would be changed.
    pub fn is_one(text: &str) -> bool {
        (1..=MOST).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
            && !(text.starts_with('-') || text.ends_with('-') || RESERVED.contains(&text))
    }

    /// The name with `-2`, `-3` … behind it, shortened so that it still fits.
    fn variant(&self, number: usize) -> String {
        let tail = format!("-{number}");
        let head: String = self.0.chars().take(MOST - tail.len()).collect();
        format!("{}{tail}", head.trim_end_matches('-'))
    }

    /// The name, then its variants up to `-100`: the first free one is taken.
    pub fn variants(&self) -> impl Iterator<Item = String> {
        std::iter::once(self.0.clone()).chain((2..=100).map(|number| self.variant(number)))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The state of an agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum AgentState {
    /// Its credentials are accepted.
    Running,
    /// Its credentials are refused until it is resumed.
    Paused,
    /// Its credentials are refused until it is started.
    Stopped,
}

impl AgentState {
    /// Every state.
    pub const ALL: [Self; 3] = [Self::Running, Self::Paused, Self::Stopped];

    /// The word that is stored and answered.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Stopped => "stopped",
        }
    }

    /// The state that a word names.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == word)
    }
}

/// What has become of the last request that an agent's runtime run it. It decides about nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum DeployStatus {
    /// The runtime was asked.
    Deploying,
    /// The agent has sent a heartbeat since.
    Running,
    /// The runtime has said that it cannot run it, or nothing was heard in time.
    Failed,
}

impl DeployStatus {
    /// Every status.
    pub const ALL: [Self; 3] = [Self::Deploying, Self::Running, Self::Failed];

    /// The word that is stored and answered.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Deploying => "deploying",
            Self::Running => "running",
            Self::Failed => "failed",
        }
    }

    /// The status that a word names.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == word)
    }
}

/// Texts by name, at most 32.
pub type Labels = BTreeMap<String, String>;

/// The most cents of a budget, and that can have been spent.
pub const MOST_CENTS: i64 = 1_000_000_000_000;

/// The most minutes of a silence: a year.
pub const MOST_SILENT_MINUTES: i64 = 525_600;

/// The settings of an agent: all of them can be set and changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct AgentSettings {
    /// A name for people.
    pub display_name: Option<String>,
    /// Its purpose.
    pub description: Option<String>,
    /// The runtime that it runs on.
    pub runtime: Option<String>,
    /// The model behind it.
    pub model: Option<String>,
    /// Where it can be reached: an https URL.
    pub url: Option<String>,
    /// What its runtime gives it: JSON that is kept as it was sent, and not read.
    pub compute: Option<Json>,
    /// What it may touch, in words for people.
    pub access: Option<String>,
    /// Labels.
    pub labels: Labels,
    /// The ceiling: no credential of the agent can use more.
    pub scope: Patterns,
    /// The preset that the ceiling came from.
    pub preset: Option<String>,
    /// The version of that preset.
    pub preset_version: Option<i64>,
    /// From 1, trusted most, to 5.
    pub tier: i64,
    /// Tasks that it may do at once; its runtime enforces it.
    pub max_concurrent_tasks: i64,
    /// Cents that it may spend. `None`: no bound.
    pub budget_cents: Option<i64>,
    /// Cents that it has spent, as it reports.
    pub spent_cents: i64,
    /// Minutes without a heartbeat after which its people are told that it is silent. `None`: they are not.
    pub silent_after_minutes: Option<i64>,
}

impl AgentSettings {
    /// The defaults of a new agent with this ceiling.
    pub fn new(scope: Patterns) -> Self {
        Self {
            display_name: None,
            description: None,
            runtime: None,
            model: None,
            url: None,
            compute: None,
            access: None,
            labels: Labels::new(),
            scope,
            preset: None,
            preset_version: None,
            tier: 3,
            max_concurrent_tasks: 1,
            budget_cents: None,
            spent_cents: 0,
            silent_after_minutes: None,
        }
    }

    /// Whether it has spent more than its budget.
    pub fn is_over_budget(&self) -> bool {
        self.budget_cents.is_some_and(|budget| self.spent_cents > budget)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Code;

    /// R44: whoever chooses a reserved word is told all of them, and so is who reads the manual.
    #[test]
    fn every_reserved_word_is_told() {
        let manual = include_str!("../../../docs/agents/concepts/agents.md");
        for word in RESERVED {
            assert!(Code::InvalidName.row().fix.contains(&format!(" {word}")), "{word}");
            assert!(manual.contains(&format!("`{word}`")), "{word}");
        }
    }

    /// R44: the same rules on every path that creates.
    #[test]
    fn a_name_is_a_slug() {
        for (typed, slug) in
            [("Scout", "scout"), (" Build  Bot_7 ", "build-bot-7"), ("Ä-1", "1"), ("a.b", "a-b"), ("x--y", "x-y")]
        {
            assert_eq!(AgentName::parse(typed).map(|name| name.0), Some(slug.to_owned()), "{typed:?}");
        }
        let long = "x".repeat(10_000);
        for bad in [
            "",
            " ",
            "-",
            "ü",
            "a/../b",
            "..",
            "a..b",
            "\\",
            "a\\b",
            "a/b",
            "a\nb",
            "a\0",
            "me",
            "Me",
            "Stop All",
            "bulk",
            &long,
            &"x".repeat(64),
        ] {
            assert_eq!(AgentName::parse(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn a_variant_still_fits() {
        let name = AgentName::parse(&"x".repeat(63)).unwrap();
        assert_eq!(name.variant(100).len(), 63);
        assert!(name.variant(2).ends_with("x-2"));
    }
}
