//! The caller as a subject of decisions.

use common::{
    id::{AgentId, TenantId, UserId},
    role::Role,
};

/// A person, or an agent with its owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    /// The tenant.
    pub tenant: TenantId,
    /// The person; of an agent, its owner.
    pub user: UserId,
    /// The person's role.
    pub role: Role,
    /// The agent, if it is one.
    pub agent: Option<AgentId>,
}

impl Subject {
    /// The id of the agent, or else of the person.
    pub fn id(&self) -> &str {
        self.agent.as_ref().map_or(self.user.as_str(), AgentId::as_str)
    }
}
