//! The ways in: how people may sign in to a tenant, and of whom a second factor is demanded.

use crate::role::Role;

/// A way to sign in that a tenant can switch off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Entrance {
    /// A password.
    Password,
    /// A link that was mailed.
    Link,
    /// An OpenID Connect provider.
    Oidc,
}

impl Entrance {
    /// Every way.
    pub const ALL: [Self; 3] = [Self::Password, Self::Link, Self::Oidc];

    /// The word that is stored and answered.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Password => "password",
            Self::Link => "link",
            Self::Oidc => "oidc",
        }
    }

    /// The way that a word names.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|way| way.as_str() == word)
    }
}

/// The ways that a tenant allows.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, schemars::JsonSchema)]
#[serde(transparent)]
pub struct Entrances(Vec<Entrance>);

impl Entrances {
    /// Each once, in one order.
    pub fn new(ways: impl IntoIterator<Item = Entrance>) -> Self {
        let mut ways: Vec<Entrance> = ways.into_iter().collect();
        ways.sort_unstable();
        ways.dedup();
        Self(ways)
    }

    /// Reads words with blanks between them, as they are stored. A word of a newer release stands for nothing here.
    pub fn stored(text: &str) -> Self {
        Self::new(text.split_ascii_whitespace().filter_map(Entrance::from_word))
    }

    /// As they are stored.
    pub fn to_column(&self) -> String {
        self.0.iter().map(|way| way.as_str()).collect::<Vec<_>>().join(" ")
    }

    /// Whether this way is allowed.
    pub fn allow(&self, way: Entrance) -> bool {
        self.0.contains(&way)
    }

    /// These and one more.
    #[must_use]
    pub fn with(&self, way: Entrance) -> Self {
        Self::new(self.0.iter().copied().chain([way]))
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Of whom a tenant demands a second factor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Demand {
    /// Of nobody: people decide for themselves.
    Nobody,
    /// Of admins.
    Admins,
    /// Of all people.
    All,
}

impl Demand {
    /// Every demand.
    pub const ALL: [Self; 3] = [Self::Nobody, Self::Admins, Self::All];

    /// The word that is stored and answered.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Nobody => "nobody",
            Self::Admins => "admins",
            Self::All => "all",
        }
    }

    /// The demand that a word names.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|demand| demand.as_str() == word)
    }

    /// Whether it concerns people of this role.
    pub fn concerns(self, role: Role) -> bool {
        match self {
            Self::Nobody => false,
            Self::Admins => role == Role::Admin,
            Self::All => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ways_are_kept_once_and_in_one_order() {
        let ways = Entrances::new([Entrance::Oidc, Entrance::Password, Entrance::Oidc]);
        assert_eq!(ways.to_column(), "password oidc");
        assert_eq!(Entrances::stored(&ways.to_column()), ways);
        assert_eq!(Entrances::stored("oidc carrier-pigeon  password"), ways);
        assert!(ways.allow(Entrance::Oidc) && !ways.allow(Entrance::Link));
        assert!(Entrances::stored("").is_empty());
    }

    #[test]
    fn a_demand_concerns_roles() {
        for (demand, of_members, of_admins) in
            [(Demand::Nobody, false, false), (Demand::Admins, false, true), (Demand::All, true, true)]
        {
            assert_eq!((demand.concerns(Role::Member), demand.concerns(Role::Admin)), (of_members, of_admins));
            assert_eq!(Demand::from_word(demand.as_str()), Some(demand));
        }
    }
}
