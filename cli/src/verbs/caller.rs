//! The caller: its identity, sessions, password, address and second factor, devices, apps and tokens.

use common::route;

use super::{FACTORS, Kind, Show, Verb};
use crate::span::Unit;

const TOKENS: &[(&str, &str)] =
    &[("NAME", "name"), ("PREFIX", "prefix"), ("STATUS", "status"), ("USED", "last_used_at"), ("ENDS", "expires_at")];

/// All of them.
pub(super) fn all() -> Vec<Verb> {
    [itself(), tokens()].into_iter().flatten().collect()
}

/// Identity, ways to sign in, and what was let in.
fn itself() -> Vec<Verb> {
    vec![
        Verb::new("whoami", route::WHOAMI),
        Verb::new("auth whoami", route::WHOAMI),
        Verb::new("can", route::CAN).takes_query("action").show(Show::Table("factors", FACTORS)),
        Verb::new("auth sessions list", route::SESSIONS_LIST).table(&[
            ("PROGRAM", "user_agent"),
            ("ADDRESS", "last_used_address"),
            ("USED", "last_used_at"),
            ("THIS", "current"),
            ("ID", "id"),
        ]),
        Verb::new("auth sessions end", route::SESSION_END)
            .look_up(route::SESSIONS_LIST, "tok_")
            .asks("End the session {id}?")
            .done("Ended."),
        Verb::new("auth sessions end-others", route::SESSIONS_END_OTHERS)
            .asks("End all of your other sessions?")
            .done("Ended."),
        Verb::new("auth password", route::PASSWORD_CHANGE)
            .field("current", Kind::Secret)
            .needs("new", Kind::Secret)
            .done("Changed. Your other sessions are ended."),
        Verb::new("auth name", route::NAME_CHANGE).takes("name", Kind::Text).done("Changed."),
        Verb::new("auth email get", route::EMAIL),
        Verb::new("auth email change", route::EMAIL_ASK).takes("email", Kind::Text),
        Verb::new("auth email withdraw", route::EMAIL_WITHDRAW)
            .asks("Withdraw the address that waits to be confirmed?")
            .done("Withdrawn. Your address stays as it is."),
        Verb::new("auth email confirm", route::EMAIL_CONFIRM)
            .needs("code", Kind::Secret)
            .done("Changed. Your other sessions are ended."),
        Verb::new("auth factor get", route::FACTOR),
        Verb::new("auth factor set-up", route::FACTOR_BEGIN),
        Verb::new("auth factor confirm", route::FACTOR_CONFIRM).takes("code", Kind::Text),
        Verb::new("auth factor remove", route::FACTOR_REMOVE).asks("Remove your second factor?").done("Removed."),
        Verb::new("auth factor recovery-codes", route::FACTOR_CODES).asks("Replace your recovery codes?"),
        Verb::new("auth device get", route::DEVICE_GET),
        Verb::new("auth device approve", route::DEVICE_APPROVE)
            .field("scope", Kind::Words)
            .field("expires_in_days", Kind::Lasts(Unit::Days))
            .asks("Does the device in front of you show {id}, and did you start it?")
            .done("Approved."),
        Verb::new("auth device deny", route::DEVICE_DENY).done("Denied."),
        Verb::new("auth apps list", route::APPS_LIST).table(&[
            ("APP", "client_name"),
            ("USED", "used_at"),
            ("ENDS", "ends_at"),
            ("ID", "id"),
        ]),
        Verb::new("auth apps end", route::APPS_END).asks("End what you gave the app {id}?").done("Ended."),
    ]
}

/// Personal access tokens, and what is done with the text of a credential.
fn tokens() -> Vec<Verb> {
    let pats = |verb: Verb| verb.look_up(route::PATS_LIST, "tok_");
    vec![
        Verb::new("token create", route::PATS_CREATE)
            .takes("name", Kind::Text)
            .field("scope", Kind::Words)
            .lives()
            .show(Show::Secret("token")),
        Verb::new("token list", route::PATS_LIST).table(TOKENS),
        pats(Verb::new("token get", route::PATS_GET)),
        pats(Verb::new("token rotate", route::PATS_ROTATE))
            .field("grace_seconds", Kind::Lasts(Unit::Seconds))
            .asks("Replace the token {id}?")
            .show(Show::Secret("token")),
        pats(Verb::new("token revoke", route::PATS_REVOKE)).asks("Revoke the token {id}?").done("Revoked."),
        Verb::new("token report-leak", route::LEAKS)
            .needs("token", Kind::Secret)
            .asks("Revoke this credential, no matter whose it is?")
            .done("Reported. If it was a live credential of this server, it is revoked."),
        Verb::new("token introspect", route::INTROSPECT).needs("token", Kind::Secret),
    ]
}
