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
    /// The id of the editor on whose grant the agent's credential rests, if its maker was neither owner nor admin. The agent is then
    /// confined: no more to itself than that editor, and nothing to the agents below it or shared with it.
    pub grantee: Option<String>,
}

impl Subject {
    /// The id of the agent, or else of the person.
    pub fn id(&self) -> &str {
        self.agent.as_ref().map_or(self.user.as_str(), AgentId::as_str)
    }
}
