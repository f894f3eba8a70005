//! Events: what happens to agents and people, and whom each kind of event goes to. The one list of kinds; the manual's page has the same
//! list, and a test holds the two together.

/// Whom a kind of event goes to, and by which way, beside the webhooks that ask for it. Nobody is told of what they did themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct To {
    /// The inbox of the agent that it is about.
    pub agent: bool,
    /// The inbox of the agent above.
    pub above: bool,
    /// A person, by a notification: the agent's owner, or the user that it is about.
    pub person: Person,
    /// The tenant's admins, by a notification.
    pub admins: Admins,
    /// The people that get a mail too, if the server sends any and they have not turned it off.
    pub mail: Mail,
}

/// Whether an event is mailed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mail {
    /// No.
    No,
    /// To those that get a notification.
    Same,
    /// To them and to the admins, any of whom can see to it.
    AdminsToo,
}

/// Whether the owner of the agent, or the user, is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Person {
    /// No.
    No,
    /// Of what others do, and not of what an agent of theirs does.
    OfOthers,
    /// Also of what an agent of theirs does: it needs them.
    OfAgentsToo,
}

/// Whether the tenant's admins are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admins {
    /// No: the owner sees to it.
    No,
    /// In place of an owner whose account is not active, so that the owner cannot see to it.
    ForOwner,
    /// Always.
    Always,
}

const NOBODY: To = To { agent: false, above: false, person: Person::No, admins: Admins::No, mail: Mail::No };
const AGENT: To = To { agent: true, ..NOBODY };
const ABOVE: To = To { above: true, ..NOBODY };
const BOTH: To = To { agent: true, above: true, ..NOBODY };

impl To {
    /// The same, and the person, of what others do.
    const fn person(self) -> Self {
        Self { person: Person::OfOthers, ..self }
    }

    /// The same, and the person, also of what an agent of theirs does.
    const fn person_of_agents_too(self) -> Self {
        Self { person: Person::OfAgentsToo, ..self }
    }

    /// The same, and the admins in place of an owner whose account is not active.
    const fn admins_for_owner(self) -> Self {
        Self { admins: Admins::ForOwner, ..self }
    }

    /// The same, and the admins.
    const fn admins(self) -> Self {
        Self { admins: Admins::Always, ..self }
    }

    /// The same, by mail too.
    const fn mail(self) -> Self {
        Self { mail: Mail::Same, ..self }
    }

    /// The same, by mail to the admins too.
    const fn mail_to_admins_too(self) -> Self {
        Self { mail: Mail::AdminsToo, ..self }
    }

    /// The words for it, as the manual has them.
    pub fn words(self) -> Vec<&'static str> {
        let person = match self.person {
            Person::No => None,
            Person::OfOthers => Some("person"),
            Person::OfAgentsToo => Some("person (of agents too)"),
        };
        let admins = match self.admins {
            Admins::No => None,
            Admins::ForOwner => Some("admins (for owner)"),
            Admins::Always => Some("admins"),
        };
        let mail = match self.mail {
            Mail::No => None,
            Mail::Same => Some("mail"),
            Mail::AdminsToo => Some("mail (admins too)"),
        };
        let words = [self.agent.then_some("agent"), self.above.then_some("above"), person, admins, mail];
        words.into_iter().flatten().collect()
    }
}

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
    AgentUpdated = "agent.updated": ABOVE.person(), Newest, "An agent was changed, or moved below another one.";
    AgentArchived = "agent.archived": ABOVE.person(), Newest, "An agent was archived, with all agents below it.";
    AgentRestored = "agent.restored": BOTH.person(), Newest, "An archived agent was restored.";
    AgentPurged = "agent.purged": ABOVE.person(), Newest, "An archived agent was deleted for good.";
    AgentStateChanged = "agent.state_changed": BOTH.person(), Newest, "An agent was started, stopped, paused or resumed, or one above it was stopped or paused.";
    AgentRestart = "agent.restart": BOTH.person(), Newest, "An agent's runtime is asked to start it anew.";
    AgentTransferred = "agent.transferred": AGENT.person(), Newest, "An agent got another owner: its credentials, keys and grants ended.";
    AgentDeploy = "agent.deploy": BOTH.person(), Newest, "An agent's runtime is asked to run it.";
    AgentDeployed = "agent.deployed": ABOVE, Newest, "An agent that was deployed has sent its first heartbeat.";
    AgentDeployFailed = "agent.deploy_failed": ABOVE.person_of_agents_too().admins_for_owner(), Newest, "An agent could not be deployed: its runtime says why, or nothing was heard of it in time.";
    AgentTokenRotated = "agent.token_rotated", in inboxes "token_rotated": AGENT.person(), Counted, "An agent's token was issued or replaced.";
    AgentTokenRevoked = "agent.token_revoked", in inboxes "credentials_ended": AGENT.person(), Counted, "A token of an agent was revoked, or its credentials ended with the grant that they rested on.";
    AgentKeyCreated = "agent.key_created": AGENT.person(), Newest, "A key of an agent was created.";
    AgentKeyRotated = "agent.key_rotated": AGENT.person(), Newest, "A key of an agent got a new secret.";
    AgentKeyDeleted = "agent.key_deleted", in inboxes "credentials_ended": AGENT.person(), Counted, "A key of an agent was deleted.";
    AgentOverBudget = "agent.over_budget": BOTH.person_of_agents_too().admins_for_owner(), Newest, "An agent has spent more than its budget.";
    AgentSilent = "agent.silent": ABOVE.person().admins_for_owner().mail(), Newest, "An agent that runs has not been heard of for longer than usual.";
    LimitChanged = "limit_changed": AGENT, Counted, "A bound of an agent was changed: its ceiling, tier, tasks or budget.";
    GrantTaken = "grant_taken": AGENT.person(), Counted, "A grant to an agent or a user was deleted.";
    AccessRequested = "access.requested": ABOVE.person_of_agents_too().admins_for_owner().mail_to_admins_too(), Newest, "An agent asks for a scope.";
    AccessApproved = "access.approved", in inboxes "scope_granted": AGENT.person(), Counted, "What an agent asked for was approved.";
    AccessDenied = "access.denied", in inboxes "access_denied": AGENT.person(), Counted, "What an agent asked for was denied.";
    AccessEnded = "access.ended", in inboxes "access_denied": AGENT.person(), Counted, "An approval was revoked, or has ended by time.";
    SecretChanged = "secret_changed": AGENT.person(), Newest, "A secret of an agent was set, changed or deleted.";
    ProbeFailed = "probe_failed": AGENT.person().admins_for_owner(), Newest, "Another service refuses an agent's secret, or does not answer.";
    ProbeRecovered = "probe_recovered": AGENT.person().admins_for_owner(), Newest, "Another service accepts an agent's secret again.";
    TokenExpiring = "token_expiring": AGENT.person().admins_for_owner().mail(), Newest, "A credential expires in 7 days, or in one.";
    CredentialLeaked = "credential.leaked": BOTH.person().admins().mail(), Newest, "A credential was reported as leaked.";
    UserCreated = "user.created": NOBODY.admins(), Newest, "A user was created.";
    UserUpdated = "user.updated": NOBODY.person(), Newest, "A user's name, role or address was changed.";
    UserActivated = "user.activated": NOBODY.admins(), Newest, "An account was activated.";
    UserDeactivated = "user.deactivated": NOBODY.admins(), Newest, "An account was deactivated.";
    UserDeleted = "user.deleted": NOBODY.admins(), Newest, "A user was deleted, and their agents were transferred or archived.";
    UserPasswordSet = "user.password_set": NOBODY.person(), Newest, "A user's password was set or changed.";
    Message = "message": AGENT, Counted, "An agent was sent a message.";
    Hook = "hook": AGENT, Counted, "A signed request of another service has arrived for an agent.";
    Notification = "notification": NOBODY, Newest, "An agent notified a person.";
    WebhookTest = "webhook.test": NOBODY, Newest, "A webhook is tested.";
    WebhookDisabled = "webhook.disabled": NOBODY.person(), Newest, "A webhook was turned off, since its receiver is gone or has failed for days.";
}

impl EventKind {
    /// Whether a person should look soon: a right ends, something has failed, or somebody waits for them. All else is good to know.
    pub const fn is_pressing(self) -> bool {
        !matches!(
            self,
            Self::AgentUpdated
                | Self::AgentRestored
                | Self::AgentStateChanged
                | Self::AgentRestart
                | Self::AgentDeploy
                | Self::AgentTokenRotated
                | Self::AgentKeyCreated
                | Self::AgentKeyRotated
                | Self::AccessApproved
                | Self::AccessDenied
                | Self::AccessEnded
                | Self::SecretChanged
                | Self::ProbeRecovered
                | Self::UserCreated
                | Self::UserActivated
                | Self::UserDeactivated
                | Self::UserDeleted
        )
    }

    /// The page of this site that shows a person what it is about. `is_own`: the person is the user that it is about.
    pub fn page(self, agent: Option<&str>, user: Option<&str>, is_own: bool) -> Option<String> {
        Some(match (self, agent, user) {
            (Self::AgentPurged | Self::UserDeleted, ..) => return None,
            (Self::AgentArchived, ..) => "/archived".to_owned(),
            (Self::WebhookDisabled, ..) => "/admin/webhooks".to_owned(),
            (
                Self::AgentTokenRotated
                | Self::AgentTokenRevoked
                | Self::AgentKeyCreated
                | Self::AgentKeyRotated
                | Self::AgentKeyDeleted
                | Self::TokenExpiring
                | Self::CredentialLeaked,
                Some(agent),
                _,
            ) => format!("/agents/{agent}/credentials"),
            (Self::SecretChanged, Some(agent), _) => format!("/agents/{agent}/secrets"),
            (_, Some(agent), _) => format!("/agents/{agent}"),
            (Self::TokenExpiring, _, Some(_)) if is_own => "/tokens".to_owned(),
            (_, _, Some(_)) if is_own => "/security".to_owned(),
            (_, _, Some(user)) => format!("/admin/users/{user}"),
            _ => return None,
        })
    }

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
            let to = to.words();
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
