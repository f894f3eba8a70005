//! Roles of people in a tenant.

use schemars::JsonSchema;
use serde::Serialize;

use crate::scope::{CustomScopes, Scope, ScopeSet, Scopes, sorted};

/// A person's role in a tenant; each has a ceiling that no credential of that person reaches beyond.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Looks at what was shared.
    Viewer,
    /// Owns agents.
    Member,
    /// A member who also keeps the guides.
    Curator,
    /// Everything in the tenant.
    Admin,
}

impl Role {
    /// Every role, the least first.
    pub const ALL: [Self; 4] = [Self::Viewer, Self::Member, Self::Curator, Self::Admin];

    /// The word that is stored and answered.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Member => "member",
            Self::Curator => "curator",
            Self::Admin => "admin",
        }
    }

    /// The role that a word names.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.as_str() == word)
    }

    /// Everything that the role can use, the tenant's custom scopes included: a viewer has those that end in `.read`.
    pub fn scopes(self, custom: &CustomScopes) -> Scopes {
        let names = custom.names().iter().filter(|name| self != Self::Viewer || name.ends_with(".read"));
        Scopes { known: self.ceiling(), custom: sorted(names) }
    }

    /// The most that a credential of a person with this role, or of that person's agents, can ever do.
    pub fn ceiling(self) -> ScopeSet {
        // Constants: every request asks for one of them.
        const VIEWER: ScopeSet = ScopeSet(
            Scope::AgentsList.bit()
                | Scope::AgentsRead.bit()
                | Scope::AuditRead.bit()
                | Scope::GuidesRead.bit()
                | Scope::NotificationsRead.bit()
                | Scope::NotificationsWrite.bit()
                | Scope::TokensRead.bit()
                | Scope::TokensWrite.bit(),
        );
        // The scopes from `agents.list` to `agents.secrets.write` stand together, at the beginning of the table.
        const AGENTS: ScopeSet = ScopeSet((Scope::AgentsSecretsWrite.bit() << 1) - 1);
        const OWN: ScopeSet = ScopeSet(Scope::UiNotify.bit() | Scope::WebhooksRead.bit() | Scope::WebhooksWrite.bit());
        const MEMBER: ScopeSet = VIEWER.or(AGENTS).or(OWN).without(ScopeSet(Scope::AgentsStopAll.bit()));
        match self {
            Self::Viewer => VIEWER,
            Self::Member => MEMBER,
            Self::Curator => MEMBER.or(ScopeSet(Scope::GuidesWrite.bit())),
            Self::Admin => ScopeSet::ALL,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_role_has_more_than_the_one_below() {
        for pair in Role::ALL.windows(2) {
            assert_eq!(pair[0].ceiling().without(pair[1].ceiling()), ScopeSet::EMPTY);
            assert_ne!(pair[0].ceiling(), pair[1].ceiling());
        }
        let member = "agents.* audit.read guides.read notifications.* tokens.read tokens.write ui.notify webhooks.*";
        let member = ScopeSet::stored(member).without(ScopeSet::stored("agents.stop_all"));
        assert_eq!(Role::Member.ceiling(), member);
        assert!(!Role::Curator.ceiling().contains(Scope::AgentsStopAll));
        assert!(!Role::Member.ceiling().contains(Scope::GuidesWrite));
        assert!(!Role::Viewer.ceiling().contains(Scope::AgentsCreate));
        assert_eq!(Role::Admin.ceiling().names(), ["*"]);
    }

    /// A viewer only reads, custom scopes too.
    #[test]
    fn a_role_has_the_custom_scopes_that_it_may_use() {
        let custom = CustomScopes::stored("x.crm.read x.crm.write x.mail.send");
        assert_eq!(Role::Viewer.scopes(&custom).custom, ["x.crm.read"]);
        assert_eq!(Role::Member.scopes(&custom).custom.len(), 3);
        assert_eq!(Role::Admin.scopes(&custom).names(&custom), ["*"]);
    }
}
