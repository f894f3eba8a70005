//! Agents: registry, state, credentials, keys, secrets and sharing.

use common::route;

use super::{FACTORS, GRACE, Kind, Show, Verb};
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
            .takes("name", Kind::Text, "Its name")
            .field("parent", Kind::Text, "The agent above it")
            .or("none")
            .of_agent()
            .lives("How long its token lives")
            .field("issue_token", Kind::No, "Make no token")
            .flagged("no-token")
            .field(
                "secrets",
                Kind::Object,
                "A file of JSON with its secrets, {\"NAME\": \"value\"}; - is standard input",
            )
            .show(Show::Secret("auth_token")),
        Verb::new("agents get", route::AGENTS_GET).about_me(),
        Verb::new("agents update", route::AGENTS_PATCH)
            .of_agent()
            .field("spent_cents", Kind::Number, "What it has spent, in cents")
            .field("parent", Kind::Text, "Move it below this agent")
            .or("none")
            .field("owner", Kind::Text, "Give it and all below it to this user: address or id"),
        Verb::new("agents replace", route::AGENTS_PUT).of_agent(),
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
        Verb::new("agents import", route::AGENTS_IMPORT).takes(
            "file",
            Kind::File,
            "What export wrote; - is standard input",
        ),
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
        Verb::new("agents deploy", route::DEPLOY)
            .takes("name", Kind::Text, "The agent")
            .field(
                "create",
                Kind::Data,
                "How to register it if there is none: a JSON object such as {\"parent\": \"boss\"}",
            )
            .lives("How long its token lives")
            .show(Show::Facts),
        Verb::new("agents deploy-status", route::DEPLOY_STATUS).about_me(),
        Verb::new("agents deploy-failed", route::DEPLOY_FAILED)
            .about_me()
            .needs("reason", Kind::Text, "Why its runtime cannot run it")
            .done("Reported."),
        Verb::new("agents heartbeat", route::HEARTBEAT).field(
            "spent_cents",
            Kind::Number,
            "All that you have spent, in cents",
        ),
        Verb::new("agents logs", route::LOGS_READ).about_me().show(Show::Log),
        Verb::new("agents log", route::LOGS_APPEND)
            .about_me()
            .takes("text", Kind::Text, "The line")
            .field("level", Kind::Text, "debug, info, warn or error")
            .done("Logged."),
        Verb::new("agents message", route::MESSAGE).takes("text", Kind::Text, "What to say").field(
            "data",
            Kind::Data,
            "A JSON object beside it",
        ),
        Verb::new("agents explain", route::EXPLAIN).about_me().show(Show::Table("factors", FACTORS)),
    ]
}

/// The token, codes for it, and workloads that get credentials by what their platform signs.
fn credentials() -> Vec<Verb> {
    vec![
        Verb::new("agents token issue", route::TOKEN_ISSUE)
            .of_credential()
            .field("grace_seconds", Kind::Lasts(Unit::Seconds), GRACE)
            .field("dpop_jkt", Kind::Text, "the thumbprint of a key without whose proofs the token is worth nothing")
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
            .takes("name", Kind::Text, "The name")
            .needs("issuer", Kind::Text, "The issuer of the workload's tokens, as in iss")
            .needs("subject", Kind::Text, "Their subject, as in sub; * stays within : and /")
            .field("audience", Kind::Text, "Their audience; left out: the server's address")
            .field("claims", Kind::Pairs, "Further claims, each as name=value")
            .field("scope", Kind::Words, "What a credential carries: scopes, separated by commas")
            .field("preset", Kind::Text, "The same by a preset")
            .field("jwks_uri", Kind::Text, "Where the issuer's keys are, if discovery does not say it")
            .field("jwks", Kind::Object, "File with the issuer's keys, if the server cannot reach them")
            .field("single_use", Kind::No, "Take a token of the platform more than once, as Kubernetes needs it")
            .flagged("reusable")
            .field("expires_in", Kind::Lasts(Unit::Seconds), "How long a credential lives, at most 1h"),
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
            .takes("name", Kind::Text, "The key's name")
            .field("type", Kind::Text, "external, internal, github, slack or standard")
            .of_credential()
            .field("value", Kind::SecretText, "The webhook's secret that you bring")
            .show(Show::Secret("key")),
        keys(Verb::new("agents keys rotate", route::KEYS_ROTATE))
            .field("grace_seconds", Kind::Lasts(Unit::Seconds), GRACE)
            .field("value", Kind::SecretText, "The webhook's secret that you bring")
            .asks("Replace the secret of the key {id}?")
            .show(Show::Secret("key")),
        keys(Verb::new("agents keys delete", route::KEYS_DELETE)).asks("Delete the key {id}?").done("Deleted."),
        keys(Verb::new("agents keys grants list", route::KEY_GRANTS_LIST)).table(GRANTS),
        keys(Verb::new("agents keys grants give", route::KEY_GRANTS_GIVE))
            .takes("subject", Kind::Text, "A user's address or id, or an agent")
            .takes("relation", Kind::Text, "viewer or editor"),
        keys(Verb::new("agents keys grants take", route::KEY_GRANTS_TAKE))
            .takes_query("subject", "A user's address or id, or an agent")
            .asks("Take the grants of {subject}?")
            .done("Taken."),
    ]
}

/// Secrets, and probes that try them.
fn secrets() -> Vec<Verb> {
    vec![
        Verb::new("agents secrets list", route::SECRETS_LIST).table(&[("NAME", "name"), ("SET", "updated_at")]),
        Verb::new("agents secrets get", route::SECRETS_GET),
        Verb::new("agents secrets set", route::SECRETS_PUT)
            .needs("value", Kind::SecretText, "The value")
            .done("Set {key}."),
        Verb::new("agents secrets set-several", route::SECRETS_SET).takes(
            "file",
            Kind::File,
            "A file of JSON: {\"secrets\": {\"NAME\": \"value\"}}",
        ),
        Verb::new("agents secrets delete", route::SECRETS_DELETE).asks("Delete the secret {key}?").done("Deleted."),
        Verb::new("agents probes list", route::PROBES_LIST).table(&[
            ("NAME", "name"),
            ("STATUS", "status"),
            ("CHECKED", "checked_at"),
            ("ID", "id"),
        ]),
        Verb::new("agents probes create", route::PROBES_CREATE)
            .takes("name", Kind::Text, "The probe's name")
            .needs("url", Kind::Text, "The URL that it calls")
            .flagged("probe-url")
            .needs("secret", Kind::Text, "The name of the secret that it sends")
            .field("method", Kind::Text, "GET, HEAD or POST")
            .field("header", Kind::Text, "The header that the secret goes into")
            .field("scheme", Kind::Text, "What stands before the secret, such as Bearer")
            .or("none")
            .field("expect_status", Kind::Number, "The status of a service that lets it in")
            .field("every_hours", Kind::Lasts(Unit::Hours), "Run it by itself at this interval, 1h to 7d")
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
        Verb::new("agents grants give", route::GRANTS_GIVE)
            .takes("subject", Kind::Text, "A user's address or id, or an agent")
            .takes("relation", Kind::Text, "viewer or editor"),
        Verb::new("agents grants take", route::GRANTS_TAKE)
            .takes_query("subject", "A user's address or id, or an agent")
            .asks("Take the grants of {subject}?")
            .done("Taken."),
    ]
}
