//! What admins do.

use common::route;

use super::{Kind, Show, Verb};
use crate::span::Unit;

/// All of them.
pub(super) fn all() -> Vec<Verb> {
    [users(), tenant(), webhooks(), records()].into_iter().flatten().collect()
}

/// The people of the tenant.
fn users() -> Vec<Verb> {
    let users = |verb: Verb| verb.look_up(route::USERS_LIST, "usr_");
    vec![
        Verb::new("admin users list", route::USERS_LIST).table(&[
            ("EMAIL", "email"),
            ("ROLE", "role"),
            ("ACTIVE", "active"),
            ("SIGNED IN", "last_login_at"),
        ]),
        users(Verb::new("admin users get", route::USERS_GET)),
        Verb::new("admin users create", route::USERS_CREATE)
            .takes("email", Kind::Text)
            .needs("name", Kind::Text)
            .field("role", Kind::Text)
            .field("invite", Kind::No)
            .flagged("no-invite"),
        users(Verb::new("admin users update", route::USERS_PATCH))
            .field("name", Kind::Text)
            .field("role", Kind::Text)
            .field("email", Kind::Text),
        users(Verb::new("admin users delete", route::USERS_DELETE)).asks("Delete the user {id}?").done("Deleted."),
        users(Verb::new("admin users activate", route::USERS_ACTIVATE)),
        users(Verb::new("admin users deactivate", route::USERS_DEACTIVATE))
            .asks("Deactivate the user {id}, with all credentials?"),
        users(Verb::new("admin users set-password", route::PASSWORD_SET)).needs("password", Kind::Secret).done("Set."),
        users(Verb::new("admin users invite", route::USER_INVITE)).field("mail", Kind::Truth).show(Show::Secret("url")),
        users(Verb::new("admin users reset-password", route::USER_RESET_LINK))
            .field("mail", Kind::Truth)
            .show(Show::Secret("url")),
        users(Verb::new("admin users remove-factor", route::USERS_FACTOR))
            .asks("Remove the second factor of the user {id}?")
            .done("Removed."),
        users(Verb::new("admin users identities", route::USERS_IDENTITIES_LIST)).table(&[
            ("PROVIDER", "provider"),
            ("ADDRESS", "email"),
            ("LINKED", "created_at"),
            ("USED", "last_used_at"),
        ]),
        users(Verb::new("admin users unlink", route::USERS_IDENTITIES))
            .asks("Unlink the sign-ins of the user {id} at providers?")
            .done("Unlinked."),
        users(Verb::new("admin users sessions", route::USERS_SESSIONS_LIST)).table(&[
            ("PROGRAM", "user_agent"),
            ("ADDRESS", "last_used_address"),
            ("USED", "last_used_at"),
            ("PROVED", "proved_at"),
            ("TWO FACTORS", "two_factors"),
            ("ID", "id"),
        ]),
        users(Verb::new("admin users end-session", route::USERS_END_SESSION))
            .asks("End the session {session} of the user {id}?")
            .done("Ended."),
        users(Verb::new("admin users end-sessions", route::USERS_END_SESSIONS))
            .asks("Sign the user {id} out everywhere?")
            .done("Ended."),
    ]
}

/// The tenant itself, and its OAuth clients.
fn tenant() -> Vec<Verb> {
    vec![
        Verb::new("admin tenant get", route::TENANT),
        Verb::new("admin tenant update", route::TENANT_PATCH)
            .field("name", Kind::Text)
            .or("none")
            .field("ways", Kind::Words)
            .field("second_factor", Kind::Text)
            .field("pat_days", Kind::Lasts(Unit::Days))
            .or("never"),
        Verb::new("admin clients list", route::CLIENTS_LIST).table(&[
            ("NAME", "name"),
            ("SECRET", "confidential"),
            ("ID", "id"),
        ]),
        Verb::new("admin clients get", route::CLIENTS_GET),
        Verb::new("admin clients create", route::CLIENTS_CREATE)
            .needs("name", Kind::Text)
            .needs("redirect_uris", Kind::Words)
            .field("confidential", Kind::Truth)
            .field("jwks", Kind::Object)
            .field("jwks_uri", Kind::Text),
        Verb::new("admin clients update", route::CLIENTS_PATCH)
            .field("name", Kind::Text)
            .field("redirect_uris", Kind::Words)
            .field("jwks", Kind::Object)
            .field("jwks_uri", Kind::Text),
        Verb::new("admin clients delete", route::CLIENTS_DELETE)
            .asks("Delete the client {id}, and end all that people gave it?")
            .done("Deleted."),
        Verb::new("admin clients rotate", route::CLIENTS_ROTATE)
            .asks("Replace the secret of the client {id}? The one before ends at once.")
            .show(Show::Secret("client_secret")),
    ]
}

/// Webhooks and what was sent to them.
fn webhooks() -> Vec<Verb> {
    vec![
        Verb::new("admin webhooks list", route::WEBHOOKS_LIST).table(&[
            ("URL", "url"),
            ("STATE", "state"),
            ("OWNER", "user_email"),
            ("ID", "id"),
        ]),
        Verb::new("admin webhooks get", route::WEBHOOKS_GET),
        Verb::new("admin webhooks create", route::WEBHOOKS_CREATE)
            .needs("url", Kind::Text)
            .flagged("webhook-url")
            .field("name", Kind::Text)
            .field("kinds", Kind::Words)
            .or("all")
            .field("agents", Kind::Words)
            .or("all")
            .show(Show::Secret("secret")),
        Verb::new("admin webhooks update", route::WEBHOOKS_PATCH)
            .field("url", Kind::Text)
            .flagged("webhook-url")
            .field("name", Kind::Text)
            .field("kinds", Kind::Words)
            .or("all")
            .field("agents", Kind::Words)
            .or("all")
            .field("state", Kind::Text),
        Verb::new("admin webhooks delete", route::WEBHOOKS_DELETE).asks("Delete the webhook {id}?").done("Deleted."),
        Verb::new("admin webhooks rotate", route::WEBHOOKS_ROTATE)
            .field("overlap_hours", Kind::Lasts(Unit::Hours))
            .show(Show::Secret("secret")),
        Verb::new("admin webhooks test", route::WEBHOOKS_TEST),
        Verb::new("admin webhooks deliveries", route::DELIVERIES_LIST).table(&[
            ("AT", "created_at"),
            ("KIND", "kind"),
            ("STATE", "state"),
            ("TRIES", "tries"),
            ("STATUS", "status"),
            ("ERROR", "error"),
            ("ID", "id"),
        ]),
        Verb::new("admin webhooks delivery", route::DELIVERY_GET),
        Verb::new("admin webhooks retry", route::DELIVERY_RETRY),
    ]
}

/// Usage, credentials, the audit trail, and mails.
fn records() -> Vec<Verb> {
    vec![
        Verb::new("admin usage", route::USAGE).show(Show::Table(
            "users",
            &[("USER", "email"), ("AGENTS", "agents"), ("CREDENTIALS", "credentials"), ("BYTES", "bytes")],
        )),
        Verb::new("admin tokens list", route::TOKENS_LIST).table(&[
            ("OWNER", "user_email"),
            ("AGENT", "agent_name"),
            ("KIND", "kind"),
            ("STATUS", "status"),
            ("PREFIX", "prefix"),
        ]),
        Verb::new("admin tokens revoke", route::TOKENS_REVOKE)
            .look_up(route::TOKENS_LIST, "tok_")
            .asks("Revoke the credential {id}?")
            .done("Revoked."),
        Verb::new("admin audit list", route::AUDIT_LIST).table(&[
            ("AT", "at"),
            ("WHO", "actor.agent_name|actor.email"),
            ("ACTION", "action"),
            ("ON", "object_name"),
            ("OUTCOME", "outcome"),
        ]),
        Verb::new("admin audit export", route::AUDIT_EXPORT).show(Show::Plain),
        Verb::new("admin audit verify", route::AUDIT_VERIFY),
        Verb::new("admin mail test", route::MAIL_TEST),
        Verb::new("admin mail outbox", route::MAIL_OUTBOX).table(&[
            ("TO", "recipient"),
            ("KIND", "kind"),
            ("STATE", "state"),
            ("TRIES", "tries"),
            ("ID", "id"),
        ]),
        Verb::new("admin mail retry", route::MAIL_RETRY).look_up(route::MAIL_OUTBOX, "out_"),
    ]
}
