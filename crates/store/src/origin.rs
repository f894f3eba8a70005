//! Where a change comes from.

use common::{
    id::{AgentId, CredentialId, RequestId, TenantId, UserId},
    secret::Chance,
    time::Timestamp,
};

/// The author, time, address and request of a change: what an audit row says beside the change.
#[derive(Clone, Copy)]
pub struct Origin<'a> {
    /// The tenant.
    pub tenant: &'a TenantId,
    /// The person; of an agent, its owner. `None`: the operator, or an unknown caller.
    pub user: Option<&'a UserId>,
    /// The agent, if one does it.
    pub agent: Option<&'a AgentId>,
    /// The record of the credential, if one was presented.
    pub credential: Option<&'a CredentialId>,
    /// The client's address; empty when the host gave none.
    pub address: &'a str,
    /// The request.
    pub request: &'a RequestId,
    /// The time of the request.
    pub now: Timestamp,
    /// Randomness for new ids.
    pub chance: &'a Chance,
}
