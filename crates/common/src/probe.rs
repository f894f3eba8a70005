//! Probes: what a check of another service's API with an agent's secret has found.

use serde::Serialize;

/// The outcome of a probe's last run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ProbeStatus {
    /// As expected.
    Ok,
    /// The service does not know the credential: 401.
    Unauthorized,
    /// The service knows the credential, and it may not do this: 403.
    Forbidden,
    /// Another answer than the expected one.
    Unexpected,
    /// No answer.
    Unreachable,
    /// The agent has no such secret, or it cannot be sent in a header.
    MissingSecret,
    /// The operator does not allow requests to this host any more.
    NotAllowed,
}

/// The words for an address that the host lets nobody call: no waiting helps.
pub const NOT_PUBLIC: &str = "its address is not public";

impl ProbeStatus {
    /// Every status.
    pub const ALL: [Self; 7] = [
        Self::Ok,
        Self::Unauthorized,
        Self::Forbidden,
        Self::Unexpected,
        Self::Unreachable,
        Self::MissingSecret,
        Self::NotAllowed,
    ];

    /// The word that is stored and answered.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Unauthorized => "unauthorized",
            Self::Forbidden => "forbidden",
            Self::Unexpected => "unexpected",
            Self::Unreachable => "unreachable",
            Self::MissingSecret => "missing_secret",
            Self::NotAllowed => "not_allowed",
        }
    }

    /// The status that a word names.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == word)
    }

    /// The step that fixes it; `None`: there is nothing to fix. `detail` is the sentence of the result, with the other server's own words.
    pub fn fix(self, detail: &str, agent: &str, secret: &str, probe: &str) -> Option<String> {
        let set = format!("PUT /api/agents/{agent}/secrets/{secret} {{\"value\": \"…\"}}");
        let run = format!("POST /api/agents/{agent}/probes/{probe}/run");
        let step = match self {
            Self::Ok => return None,
            Self::Unauthorized => {
                format!("Create a new credential at that service, set it with {set}, then send {run}.")
            }
            Self::Forbidden => {
                format!("Give the credential there what it lacks, or set another one with {set}. Then send {run}.")
            }
            Self::Unexpected => {
                format!(
                    "Compare the answer with what the probe expects: GET /api/agents/{agent}/probes. Then send {run}."
                )
            }
            Self::Unreachable if detail.contains(NOT_PUBLIC) => {
                format!(
                    "Ask the operator to let the server call that address, or give the probe a public one. Then send {run}."
                )
            }
            Self::Unreachable => format!("Wait until the service answers again, then send {run}."),
            Self::MissingSecret => format!("Set it with {set}, then send {run}."),
            Self::NotAllowed => {
                format!("Ask the operator to add the host to the variable outbound_hosts, then send {run}.")
            }
        };
        Some(format!("{detail} {step}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// R615: nobody waits for an address that the host lets nobody call.
    #[test]
    fn an_address_that_is_not_public_is_not_waited_for() {
        let fix = |detail: &str| ProbeStatus::Unreachable.fix(detail, "scout", "KEY", "prb_1").unwrap_or_default();
        let refused = fix(&format!("No answer: {NOT_PUBLIC} (DestinationIpProhibited)."));
        assert!(refused.contains("Ask the operator") && !refused.contains("Wait"), "{refused}");
        assert!(fix("No answer: it refused the connection.").contains("Wait until the service answers again"));
    }
}
