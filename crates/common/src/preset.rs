//! The built-in presets: named sets of scopes for classes of agents.

use crate::scope::Patterns;

/// The scopes that a class of agents needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preset {
    /// Reads, logs, messages, notifies its owner.
    Worker,
    /// Reads only.
    Reader,
    /// A worker that also starts and stops agents and issues their tokens.
    Operator,
    /// A worker that also writes guides.
    Publisher,
    /// A worker that also makes and equips agents.
    Engineer,
}

impl Preset {
    /// Every preset.
    pub const ALL: [Self; 5] = [Self::Worker, Self::Reader, Self::Operator, Self::Publisher, Self::Engineer];

    /// The preset's name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Worker => "worker",
            Self::Reader => "reader",
            Self::Operator => "operator",
            Self::Publisher => "publisher",
            Self::Engineer => "engineer",
        }
    }

    /// What it is for, for people.
    pub const fn describe(self) -> &'static str {
        match self {
            Self::Worker => "Does its work: reads agents and guides, writes logs and messages, and tells you of it.",
            Self::Reader => "Only looks: at agents, guides and what has happened.",
            Self::Operator => "Looks after other agents: also starts and stops them and issues their tokens.",
            Self::Publisher => "Also writes the guides that agents read.",
            Self::Engineer => "Builds other agents: also makes, changes and deploys them, with their keys and secrets.",
        }
    }

    /// The preset of that name.
    pub fn from_text(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|preset| preset.as_str() == text)
    }

    /// Its patterns.
    pub fn patterns(self) -> Patterns {
        Patterns::stored(self.scope())
    }

    /// Its patterns, separated by blanks and sorted, as a column holds them.
    pub const fn scope(self) -> &'static str {
        match self {
            Self::Worker => "agents.list agents.logs agents.message agents.read guides.read ui.notify",
            Self::Reader => "agents.list agents.read audit.read guides.read",
            Self::Operator => {
                "agents.lifecycle agents.list agents.logs agents.message agents.read agents.token.* guides.read ui.notify"
            }
            Self::Publisher => "agents.list agents.logs agents.message agents.read guides.read guides.write ui.notify",
            Self::Engineer => {
                "agents.create agents.deploy agents.keys.* agents.list agents.logs agents.message agents.read \
                 agents.secrets.* agents.update guides.read ui.notify"
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scope::ScopeSet;

    #[test]
    fn presets_name_only_known_scopes_that_agents_can_use() {
        for preset in Preset::ALL {
            let names: Vec<&str> = preset.scope().split(' ').collect();
            assert!(names.is_sorted(), "{names:?}");
            assert!(names.iter().all(|name| ScopeSet::expand(name).is_some()), "{names:?}");
            let set = preset.patterns().set();
            assert_eq!(set.for_agents(), set);
        }
    }
}
