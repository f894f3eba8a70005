//! What people are told of an event, where the change that makes it says nothing more exact.

use common::{event::EventKind, text::count};
use serde_json::Value as Json;
use store::{addressee::Subject, origin::Origin};

/// The title and the text of a notification.
pub(super) fn of(kind: EventKind, subject: &Subject, origin: &Origin<'_>, data: &Json) -> (String, String) {
    let name = &subject.name;
    let by = match &subject.by {
        Some(email) if origin.agent.is_some() => format!("An agent of {email}"),
        Some(email) => email.clone(),
        None => "The server".to_owned(),
    };
    let text = |member: &str| data.get(member).and_then(Json::as_str).unwrap_or_default();
    let list = |member: &str| list(data.get(member));
    let (title, body) = match kind {
        EventKind::AgentUpdated => {
            (format!("The agent {name} was changed"), format!("{by} changed: {}.", list("changed")))
        }
        EventKind::AgentRestored => (
            format!("The agent {name} was restored"),
            format!("{by} restored it. It is stopped and has no credentials: start it, and issue a token."),
        ),
        EventKind::AgentStateChanged => {
            let (done, below) = match text("step") {
                "pause" => ("paused", ", with all agents below it"),
                "stop" => ("stopped", ", with all agents below it"),
                "resume" => ("resumed", ""),
                _ => ("started", ""),
            };
            (format!("The agent {name} was {done}"), format!("{by} {done} it{below}."))
        }
        EventKind::AgentRestart => {
            (format!("The agent {name} is restarted"), format!("{by} asked its runtime to start it anew."))
        }
        EventKind::AgentDeploy => (
            format!("The agent {name} is deployed"),
            format!("{by} asked for it to be run. Its first heartbeat must come until {}.", text("until")),
        ),
        EventKind::AgentTokenRotated => (
            format!("The agent {name} has another token"),
            format!("{by} issued it. If you did not expect that, ask them."),
        ),
        // A federated credential: whoever runs a workload that it names acts as the agent.
        EventKind::AgentKeyCreated if !text("issuer").is_empty() => (
            format!("Workloads may act as {name}"),
            format!(
                "{by} lets workloads of {} act as the agent: {}. If you did not expect that, ask them.",
                text("issuer"),
                text("name")
            ),
        ),
        EventKind::AgentKeyCreated => {
            (format!("A key of {name} was created"), format!("{by} created the key {}.", text("name")))
        }
        EventKind::AgentKeyRotated => {
            (format!("A key of {name} was rotated"), format!("{by} gave the key {} a new secret.", text("name")))
        }
        EventKind::GrantTaken => (
            format!("The agent {name} lost a grant"),
            format!("{by} took away its grant {} of the agent {}.", text("relation"), text("agent")),
        ),
        EventKind::AccessApproved => {
            (format!("A request of {name} was approved"), format!("{by} approved {}{}.", list("scope"), lasting(data)))
        }
        EventKind::AccessDenied => {
            let reason = match text("reason") {
                "" => String::new(),
                reason => format!(" The reason: {reason}"),
            };
            (format!("A request of {name} was denied"), format!("{by} denied {}.{reason}", list("scope")))
        }
        EventKind::AccessEnded if data.get("revoked") == Some(&Json::Bool(true)) => {
            (format!("An approval of {name} was revoked"), format!("{by} revoked {}.", list("scope")))
        }
        EventKind::AccessEnded => (
            format!("An approval of {name} has ended"),
            format!(
                "It could use {} until {}. If it needs more time, it can ask again.",
                list("scope"),
                text("ends_at")
            ),
        ),
        EventKind::SecretChanged => {
            let parts = [("set", list("set")), ("deleted", list("deleted"))];
            let parts = parts.iter().filter(|(_, names)| !names.is_empty());
            let parts: Vec<String> = parts.map(|(verb, names)| format!("{verb} {names}")).collect();
            (format!("Secrets of {name} were changed"), format!("{by} {}.", parts.join(", and ")))
        }
        EventKind::UserCreated if origin.user == Some(&subject.person) => (
            format!("{name} is a new user"),
            "The account was made at their first sign-in by an identity provider.".to_owned(),
        ),
        EventKind::UserCreated => {
            (format!("{name} is a new user"), format!("{by} created the account, with the role {}.", text("role")))
        }
        EventKind::UserUpdated => {
            let changed: Vec<&str> = data
                .get("after")
                .and_then(Json::as_object)
                .into_iter()
                .flatten()
                .map(|(member, _)| member.as_str())
                .collect();
            ("Your account was changed".to_owned(), format!("{by} changed: {}.", changed.join(", ")))
        }
        EventKind::UserActivated => {
            (format!("The account of {name} was activated"), format!("{by} activated it: they can sign in again."))
        }
        EventKind::UserDeactivated => (
            format!("The account of {name} was deactivated"),
            format!("{by} deactivated it: they cannot sign in, and their agents are refused."),
        ),
        EventKind::UserDeleted => {
            let agents = data.get("agents").and_then(Json::as_i64).unwrap_or_default();
            (
                format!("The user {} was deleted", text("email")),
                format!("{by} deleted the account, which owned {}.", count(agents, "agent")),
            )
        }
        EventKind::UserPasswordSet => ("Your password was set".to_owned(), format!("{by} set it.")),
        // Each of these comes with a text of its own, or goes to no person.
        EventKind::AgentCreated
        | EventKind::AgentArchived
        | EventKind::AgentPurged
        | EventKind::AgentTransferred
        | EventKind::AgentDeployed
        | EventKind::AgentDeployFailed
        | EventKind::AgentTokenRevoked
        | EventKind::AgentKeyDeleted
        | EventKind::AgentOverBudget
        | EventKind::AgentSilent
        | EventKind::LimitChanged
        | EventKind::AccessRequested
        | EventKind::ProbeFailed
        | EventKind::ProbeRecovered
        | EventKind::TokenExpiring
        | EventKind::CredentialLeaked
        | EventKind::Message
        | EventKind::Hook
        | EventKind::Notification
        | EventKind::WebhookTest
        | EventKind::WebhookDisabled => {
            (kind.sentence().trim_end_matches('.').to_owned(), format!("It is about {name}."))
        }
    };
    (cut(title, TITLE), cut(body, BODY))
}

/// Characters of a title and of a text at most: what agents may send has the same bounds.
const TITLE: usize = 120;
const BODY: usize = 4_000;

fn cut(text: String, most: usize) -> String {
    if text.chars().count() <= most {
        return text;
    }
    text.chars().take(most - 1).chain(['…']).collect()
}

/// Names in a member of data, as a sentence has them.
fn list(value: Option<&Json>) -> String {
    match value {
        Some(Json::Array(items)) => items.iter().filter_map(Json::as_str).collect::<Vec<_>>().join(", "),
        Some(Json::String(one)) => one.clone(),
        _ => String::new(),
    }
}

/// For how long something was approved.
fn lasting(data: &Json) -> String {
    match (data.get("lasts").and_then(Json::as_str), data.get("ends_at").and_then(Json::as_str)) {
        (Some("once"), _) => " for one request".to_owned(),
        (_, Some(end)) => format!(" until {end}"),
        _ => " for good".to_owned(),
    }
}
