//! What people and agents are told.

use common::route;

use super::{Kind, Verb};

/// All of them.
pub(super) fn all() -> Vec<Verb> {
    let notifications = |verb: Verb| verb.look_up(route::NOTIFICATIONS_LIST, "ntf_");
    vec![
        Verb::new("notify", route::NOTIFY)
            .takes("title", Kind::Text)
            .takes("body", Kind::Text)
            .field("priority", Kind::Text)
            .field("app_origin", Kind::Text)
            .or("none")
            .field("action_url", Kind::Text)
            .or("none")
            .field("user", Kind::Text)
            .or("none"),
        Verb::new("notifications list", route::NOTIFICATIONS_LIST).table(&[
            ("TITLE", "title"),
            ("FROM", "source"),
            ("AT", "created_at"),
            ("READ", "read_at"),
            ("ID", "id"),
        ]),
        Verb::new("notifications count", route::NOTIFICATIONS_COUNT),
        Verb::new("notifications mails", route::NOTIFICATIONS_PREFERENCES),
        Verb::new("notifications choose-mails", route::NOTIFICATIONS_PREFER)
            .field("access_requests", Kind::Truth)
            .field("leaks", Kind::Truth)
            .field("expiring", Kind::Truth)
            .field("silent_agents", Kind::Truth)
            .field("new_sign_ins", Kind::Truth),
        notifications(Verb::new("notifications read", route::NOTIFICATION_READ)).done("Read."),
        Verb::new("notifications read-all", route::NOTIFICATIONS_READ_ALL).field("until", Kind::When).done("Read."),
        notifications(Verb::new("notifications delete", route::NOTIFICATION_DELETE))
            .asks("Delete {id}?")
            .done("Deleted."),
        Verb::new("inbox read", route::INBOX).table(&[("AT", "at"), ("TYPE", "type"), ("DATA", "data"), ("ID", "id")]),
        Verb::new("inbox ack", route::INBOX_ACK).takes("upto", Kind::Text),
    ]
}
