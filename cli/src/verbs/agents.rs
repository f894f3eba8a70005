//! Agents: registry, state, credentials, keys, secrets and sharing.

use common::route;

use super::{FACTORS, Kind, Show, Verb};
use crate::span::Unit;

const AGENTS: &[(&str, &str)] =
    &[("NAME", "name"), ("STATE", "state"), ("OWNER", "owner.email"), ("SEEN", "last_seen_at")];
const KEYS: &[(&str, &str)] =
    &[("NAME", "name"), ("TYPE", "type"), ("STATUS", "status"), ("USED", "last_used_at"), ("ID", "id")];
const GRANTS: &[(&str, &str)] = &[("SUBJECT", "subject.name"), ("RELATION", "relation"), ("SINCE", "created_at")];

/// All of them.
pub(super) fn all() -> Vec<Verb> {
    [registry(), state(), credentials(), keys(), secrets(), grants()].into_iter().flatten().collect()
}

/// What there is of an agent, its archive, and agents as files.
fn registry() -> Vec<Verb> {
    let archived = |verb: Verb| verb.look_up(route::ARCHIVED_LIST, "agt_");
    vec![
        Verb::new("agents list", route::AGENTS_LIST).table(AGENTS),
        Verb::new("agents create", route::AGENTS_CREATE)
            .takes("name", Kind::Text)
            .field("parent", Kind::Text)
            .or("none")
            .of_agent()
            .lives()
            .field("issue_token", Kind::No)
            .flagged("no-token")
            .field("secrets", Kind::Object)
            .typed(", such as {\"NAME\": \"value\"}")
            .show(Show::Secret("auth_token")),
        Verb::new("agents get", route::AGENTS_GET).about_me(),
        Verb::new("agents update", route::AGENTS_PATCH)
            .of_agent()
            .field("spent_cents", Kind::Number)
            .field("parent", Kind::Text)
            .or("none")
            .field("owner", Kind::Text)
            .asks_with("owner", "Give {name} and all agents below it to {owner}? Their credentials end."),
        Verb::new("agents replace", route::AGENTS_PUT)
            .of_agent()
            .asks("Replace all settings of {name}? What is left out is reset."),
        Verb::new("agents delete", route::AGENTS_DELETE)
            .asks("Archive {name}, and revoke its credentials?")
            .done("Archived {name}."),
        Verb::new("agents archived", route::ARCHIVED_LIST).table(&[
            ("NAME", "name"),
            ("ARCHIVED", "archived_at"),
            ("OWNER", "owner.email"),
            ("ID", "id"),
        ]),
        archived(Verb::new("agents restore", route::ARCHIVED_RESTORE)),
        archived(Verb::new("agents purge", route::ARCHIVED_PURGE)).asks("Purge {id} for ever?").done("Purged {id}."),
        Verb::new("agents export", route::AGENTS_EXPORT).show(Show::Plain),
        Verb::new("agents import", route::AGENTS_IMPORT).file("What export wrote; - is standard input"),
    ]
}

/// State, deployments, and what an agent says and is told.
fn state() -> Vec<Verb> {
    vec![
        Verb::new("agents start", route::AGENT_START).bulk(route::BULK_START).done("Started {name}."),
        Verb::new("agents stop", route::AGENT_STOP).bulk(route::BULK_STOP).done("Stopped {name}, and all below."),
        Verb::new("agents pause", route::AGENT_PAUSE).bulk(route::BULK_PAUSE).done("Paused {name}, and all below."),
        Verb::new("agents resume", route::AGENT_RESUME).bulk(route::BULK_RESUME).done("Resumed {name}."),
        Verb::new("agents restart", route::AGENT_RESTART).bulk(route::BULK_RESTART).done("Restarted {name}."),
        Verb::new("agents stop-all", route::STOP_ALL)
            .asks("Stop every agent of the tenant?")
            .done("Stopped every agent of the tenant."),
        Verb::new("agents start-all", route::START_ALL).show(Show::Facts),
        Verb::new("agents deploy", route::DEPLOY)
            .takes("name", Kind::Text)
            .field("create", Kind::Data)
            .typed(", as JSON such as {\"parent\": \"boss\"}")
            .lives()
            .show(Show::Facts),
        Verb::new("agents deploy-status", route::DEPLOY_STATUS).about_me(),
        Verb::new("agents deploy-failed", route::DEPLOY_FAILED)
            .about_me()
            .needs("reason", Kind::Text)
            .done("Reported."),
        Verb::new("agents heartbeat", route::HEARTBEAT).field("spent_cents", Kind::Number),
        Verb::new("agents logs", route::LOGS_READ).about_me().show(Show::Log),
        Verb::new("agents log", route::LOGS_APPEND)
            .about_me()
            .takes("text", Kind::Text)
            .field("level", Kind::Text)
            .done("Logged."),
        Verb::new("agents message", route::MESSAGE).takes("text", Kind::Text).field("data", Kind::Data),
        Verb::new("agents explain", route::EXPLAIN).about_me().show(Show::Table("factors", FACTORS)),
    ]
}

/// The token, codes for it, and workloads that get credentials by what their platform signs.
fn credentials() -> Vec<Verb> {
    vec![
        Verb::new("agents token issue", route::TOKEN_ISSUE)
            .of_credential()
            .field("grace_seconds", Kind::Lasts(Unit::Seconds))
            .field("dpop_jkt", Kind::Text)
            .asks("Replace the token of {name}?")
            .show(Show::Secret("token")),
        Verb::new("agents enrol", route::ENROLMENT_CREATE)
            .bulk(route::ENROLMENT_BULK)
            .of_credential()
            .show(Show::Secret("code")),
        Verb::new("agents enrol-end", route::ENROLMENT_REVOKE)
            .asks("End the unused enrolment codes of {name}?")
            .done("Ended."),
        Verb::new("agents token revoke", route::TOKEN_REVOKE).asks("Revoke the token of {name}?").done("Revoked."),
        Verb::new("agents federated-credentials list", route::FEDERATED_CREDENTIALS_LIST).table(&[
            ("ID", "id"),
            ("NAME", "name"),
            ("ISSUER", "issuer"),
            ("SUBJECT", "subject"),
            ("LIVE", "live_credentials"),
            ("LAST USED", "last_used_at"),
        ]),
        Verb::new("agents federated-credentials get", route::FEDERATED_CREDENTIALS_GET),
        Verb::new("agents federated-credentials create", route::FEDERATED_CREDENTIALS_CREATE)
            .takes("name", Kind::Text)
            .needs("issuer", Kind::Text)
            .needs("subject", Kind::Text)
            .field("audience", Kind::Text)
            .field("claims", Kind::Pairs)
            .field("scope", Kind::Words)
            .field("preset", Kind::Text)
            .field("jwks_uri", Kind::Text)
            .field("jwks", Kind::Object)
            .field("single_use", Kind::No)
            .flagged("reusable")
            .field("expires_in", Kind::Lasts(Unit::Seconds)),
        Verb::new("agents federated-credentials delete", route::FEDERATED_CREDENTIALS_DELETE)
            .asks("Delete the federated credential {id}, and end all that it has given?")
            .done("Deleted."),
    ]
}

/// API keys, and their grants.
fn keys() -> Vec<Verb> {
    let keys = |verb: Verb| verb.look_up(route::KEYS_LIST, "key_");
    vec![
        Verb::new("agents keys list", route::KEYS_LIST).table(KEYS),
        keys(Verb::new("agents keys get", route::KEYS_GET)),
        Verb::new("agents keys create", route::KEYS_CREATE)
            .takes("name", Kind::Text)
            .field("type", Kind::Text)
            .of_credential()
            .field("value", Kind::SecretText)
            .show(Show::Secret("key")),
        keys(Verb::new("agents keys rotate", route::KEYS_ROTATE))
            .field("grace_seconds", Kind::Lasts(Unit::Seconds))
            .field("value", Kind::SecretText)
            .asks("Replace the secret of the key {id}?")
            .show(Show::Secret("key")),
        keys(Verb::new("agents keys delete", route::KEYS_DELETE)).asks("Delete the key {id}?").done("Deleted."),
        keys(Verb::new("agents keys grants list", route::KEY_GRANTS_LIST)).table(GRANTS),
        keys(Verb::new("agents keys grants give", route::KEY_GRANTS_GIVE))
            .takes("subject", Kind::Text)
            .takes("relation", Kind::Text),
        keys(Verb::new("agents keys grants take", route::KEY_GRANTS_TAKE))
            .takes_query("subject")
            .asks("Take the grants of {subject}?")
            .done("Taken."),
    ]
}

/// Secrets, and probes that try them.
fn secrets() -> Vec<Verb> {
    vec![
        Verb::new("agents secrets list", route::SECRETS_LIST).table(&[("NAME", "name"), ("SET", "updated_at")]),
        Verb::new("agents secrets get", route::SECRETS_GET),
        Verb::new("agents secrets set", route::SECRETS_PUT).needs("value", Kind::SecretText).done("Set {key}."),
        Verb::new("agents secrets set-several", route::SECRETS_SET)
            .file("A file of JSON: {\"secrets\": {\"NAME\": \"value\"}}"),
        Verb::new("agents secrets delete", route::SECRETS_DELETE).asks("Delete the secret {key}?").done("Deleted."),
        Verb::new("agents probes list", route::PROBES_LIST).table(&[
            ("NAME", "name"),
            ("STATUS", "status"),
            ("CHECKED", "checked_at"),
            ("ID", "id"),
        ]),
        Verb::new("agents probes create", route::PROBES_CREATE)
            .takes("name", Kind::Text)
            .needs("url", Kind::Text)
            .flagged("probe-url")
            .needs("secret", Kind::Text)
            .field("method", Kind::Text)
            .field("header", Kind::Text)
            .field("scheme", Kind::Text)
            .or("none")
            .field("expect_status", Kind::Number)
            .field("every_hours", Kind::Lasts(Unit::Hours))
            .or("never"),
        Verb::new("agents probes run", route::PROBES_RUN),
        Verb::new("agents probes delete", route::PROBES_DELETE).asks("Delete the probe {id}?").done("Deleted."),
        Verb::new("secrets values", route::SECRETS_VALUES).show(Show::Plain),
    ]
}

/// Sharing.
fn grants() -> Vec<Verb> {
    vec![
        Verb::new("agents grants list", route::GRANTS_LIST).table(GRANTS),
        Verb::new("agents grants give", route::GRANTS_GIVE).takes("subject", Kind::Text).takes("relation", Kind::Text),
        Verb::new("agents grants take", route::GRANTS_TAKE)
            .takes_query("subject")
            .asks("Take the grants of {subject}?")
            .done("Taken."),
    ]
}
