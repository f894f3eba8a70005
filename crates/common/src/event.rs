//! Events: what happens to agents and people, and whom each kind of event goes to. The one list of kinds; the manual's page has the same
//! list, and a test holds the two together.

/// Whom a kind of event goes to, beside the webhooks that ask for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct To {
    /// The inbox of the agent that it is about.
    pub agent: bool,
    /// The inbox of the agent above.
    pub above: bool,
    /// A person, by a notification: the agent's owner, or the user that it is about.
    pub person: bool,
    /// The tenant's admins, by a notification.
    pub admins: bool,
}

const NOBODY: To = To { agent: false, above: false, person: false, admins: false };
const AGENT: To = To { agent: true, ..NOBODY };
const ABOVE: To = To { above: true, ..NOBODY };
const PERSON: To = To { person: true, ..NOBODY };
const AGENT_AND_ABOVE: To = To { agent: true, above: true, ..NOBODY };
const AGENT_AND_PERSON: To = To { agent: true, person: true, ..NOBODY };
const ABOVE_AND_PERSON: To = To { above: true, person: true, ..NOBODY };
const NOT_ADMINS: To = To { admins: false, ..ALL };
const ALL: To = To { agent: true, above: true, person: true, admins: true };

/// How an inbox treats events of a kind when it has many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Room {
    /// It counts for the person that caused it, and is left out once the inbox holds as many of that person's as it may.
    Counted,
    /// It always arrives, and counts for nobody: of these the newest are kept.
    Newest,
}

macro_rules! kinds {
    ($($name:ident = $word:literal $(, in inboxes $inbox:literal)?: $to:expr, $room:ident, $sentence:literal;)*) => {
        /// A kind of event.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum EventKind {
            $(#[doc = $sentence] $name,)*
        }

        impl EventKind {
            /// Every kind.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// The word for it.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $word,)*
                }
            }

            /// The word in an inbox: for a few kinds one that is older than this list.
            pub const fn in_inbox(self) -> &'static str {
                match self {
                    $(Self::$name => kinds!(@inbox $word $($inbox)?),)*
                }
            }

            /// What has happened, as a sentence.
            pub const fn sentence(self) -> &'static str {
                match self {
                    $(Self::$name => $sentence,)*
                }
            }

            /// Whom it goes to, beside webhooks.
            pub const fn to(self) -> To {
                match self {
                    $(Self::$name => $to,)*
                }
            }

            /// How inboxes treat it.
            pub const fn room(self) -> Room {
                match self {
                    $(Self::$name => Room::$room,)*
                }
            }
        }
    };
    (@inbox $word:literal) => { $word };
    (@inbox $word:literal $inbox:literal) => { $inbox };
}

kinds! {
    AgentCreated = "agent.created": ABOVE, Newest, "An agent was registered.";
    AgentUpdated = "agent.updated": ABOVE, Newest, "An agent was changed, or moved below another one.";
    AgentArchived = "agent.archived": ABOVE_AND_PERSON, Newest, "An agent was archived, with all agents below it.";
    AgentRestored = "agent.restored": AGENT_AND_ABOVE, Newest, "An archived agent was restored.";
    AgentPurged = "agent.purged": ABOVE_AND_PERSON, Newest, "An archived agent was deleted for good.";
    AgentStateChanged = "agent.state_changed": AGENT_AND_ABOVE, Newest, "An agent was started, stopped, paused or resumed, or one above it was stopped or paused.";
    AgentRestart = "agent.restart": AGENT_AND_ABOVE, Newest, "An agent's runtime is asked to start it anew.";
    AgentTransferred = "agent.transferred": NOT_ADMINS, Newest, "An agent got another owner: its credentials, keys and grants ended.";
    AgentDeploy = "agent.deploy": AGENT_AND_ABOVE, Newest, "An agent's runtime is asked to run it.";
    AgentDeployed = "agent.deployed": ABOVE, Newest, "An agent that was deployed has sent its first heartbeat.";
    AgentDeployFailed = "agent.deploy_failed": ABOVE_AND_PERSON, Newest, "An agent could not be deployed: its runtime says why, or nothing was heard of it in time.";
    AgentTokenRotated = "agent.token_rotated", in inboxes "token_rotated": AGENT, Counted, "An agent's token was issued or replaced.";
    AgentTokenRevoked = "agent.token_revoked", in inboxes "credentials_ended": AGENT_AND_PERSON, Counted, "A token of an agent was revoked, or its credentials ended with the grant that they rested on.";
    AgentKeyCreated = "agent.key_created": AGENT, Newest, "A key of an agent was created.";
    AgentKeyRotated = "agent.key_rotated": AGENT, Newest, "A key of an agent got a new secret.";
    AgentKeyDeleted = "agent.key_deleted", in inboxes "credentials_ended": AGENT_AND_PERSON, Counted, "A key of an agent was deleted.";
    AgentOverBudget = "agent.over_budget": NOT_ADMINS, Newest, "An agent has spent more than its budget.";
    AgentSilent = "agent.silent": ABOVE_AND_PERSON, Newest, "An agent that runs has not been heard of for longer than usual.";
    LimitChanged = "limit_changed": AGENT, Counted, "A bound of an agent was changed: its ceiling, tier, tasks or budget.";
    GrantTaken = "grant_taken": AGENT_AND_PERSON, Counted, "A grant to an agent or a user was deleted.";
    AccessRequested = "access.requested": ABOVE_AND_PERSON, Newest, "An agent asks for a scope.";
    AccessApproved = "access.approved", in inboxes "scope_granted": AGENT, Counted, "What an agent asked for was approved.";
    AccessDenied = "access.denied", in inboxes "access_denied": AGENT, Counted, "What an agent asked for was denied.";
    AccessEnded = "access.ended", in inboxes "access_denied": AGENT, Counted, "An approval was revoked.";
    SecretChanged = "secret_changed": AGENT, Newest, "A secret of an agent was set, changed or deleted.";
    ProbeFailed = "probe_failed": AGENT_AND_PERSON, Newest, "Another service refuses an agent's secret, or does not answer.";
    ProbeRecovered = "probe_recovered": AGENT_AND_PERSON, Newest, "Another service accepts an agent's secret again.";
    TokenExpiring = "token_expiring": AGENT_AND_PERSON, Newest, "A credential expires in 7 days, or in one.";
    CredentialLeaked = "credential.leaked": ALL, Newest, "A credential was reported as leaked.";
    UserCreated = "user.created": NOBODY, Newest, "A user was created.";
    UserUpdated = "user.updated": PERSON, Newest, "A user's name, role or address was changed.";
    UserActivated = "user.activated": NOBODY, Newest, "An account was activated.";
    UserDeactivated = "user.deactivated": NOBODY, Newest, "An account was deactivated.";
    UserDeleted = "user.deleted": PERSON, Newest, "A user was deleted, and their agents transferred or archived.";
    UserPasswordSet = "user.password_set": PERSON, Newest, "A user's password was set or changed.";
    Message = "message": AGENT, Counted, "An agent was sent a message.";
    Hook = "hook": AGENT, Counted, "A signed request of another service has arrived for an agent.";
    Notification = "notification": NOBODY, Newest, "An agent notified a person.";
    WebhookTest = "webhook.test": NOBODY, Newest, "A webhook is tested.";
    WebhookDisabled = "webhook.disabled": PERSON, Newest, "A webhook was turned off, since its receiver is gone or has failed for days.";
}

impl EventKind {
    /// Whether there can be very many of it, so that it is the first to be left out for a receiver that does not keep up.
    pub const fn is_frequent(self) -> bool {
        matches!(self, Self::Message | Self::Hook | Self::Notification)
    }

    /// Whether a text of a filter stands for at least one kind: a word, or the beginning of words and `.*`.
    pub fn is_filter(text: &str) -> bool {
        Self::ALL.iter().any(|kind| kind.matches(text))
    }

    /// Whether the text of a filter stands for this kind.
    pub fn matches(self, filter: &str) -> bool {
        let word = self.as_str();
        match filter.strip_suffix(".*") {
            None => word == filter,
            Some(group) => word.strip_prefix(group).is_some_and(|rest| rest.starts_with('.')),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_a_word_of_its_own_and_a_sentence() {
        let mut seen = std::collections::BTreeSet::new();
        for kind in EventKind::ALL {
            let word = kind.as_str();
            assert!(seen.insert(word), "{word} twice");
            assert!(word.bytes().all(|b| b.is_ascii_lowercase() || b"._".contains(&b)), "{word}");
            let sentence = kind.sentence();
            assert!(sentence.ends_with('.') && sentence.starts_with(|c: char| c.is_ascii_uppercase()), "{sentence}");
        }
    }

    /// The manual lists the same kinds, in the same order, with the same sentences and words.
    #[test]
    fn the_manual_has_the_same_list() {
        let page = include_str!("../../../docs/agents/concepts/events.md");
        let rows: Vec<&str> = page.lines().filter(|line| line.starts_with("| `")).collect();
        assert_eq!(rows.len(), EventKind::ALL.len());
        for (kind, row) in EventKind::ALL.iter().zip(rows) {
            let (word, to) = (kind.as_str(), kind.to());
            let to = [(to.agent, "agent"), (to.above, "above"), (to.person, "person"), (to.admins, "admins")];
            let to: Vec<&str> = to.into_iter().filter_map(|(is, word)| is.then_some(word)).collect();
            let inbox = if kind.in_inbox() == word { String::new() } else { format!("`{}`", kind.in_inbox()) };
            let expected = format!("| `{word}` | {} | {} | {inbox} | ", kind.sentence(), to.join(", "));
            assert!(row.starts_with(&expected), "{row}\n{expected}");
        }
    }

    #[test]
    fn a_filter_is_a_word_or_a_group_of_words() {
        assert!(EventKind::AgentCreated.matches("agent.*") && EventKind::AgentCreated.matches("agent.created"));
        assert!(EventKind::Message.matches("message") && !EventKind::Message.matches("message.*"));
        for bad in ["", "*", ".*", "agent", "agent.", "agent.c*", "agent.*.*", "agent.flown", "Agent.created", "a.*"] {
            assert!(!EventKind::is_filter(bad), "{bad}");
        }
    }
}
