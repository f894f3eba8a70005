//! What people and agents are told.

use common::route;

use super::{Kind, Verb};

/// All of them.
pub(super) fn all() -> Vec<Verb> {
    let notifications = |verb: Verb| verb.look_up(route::NOTIFICATIONS_LIST, "ntf_");
    vec![
        Verb::new("notify", route::NOTIFY)
            .takes("title", Kind::Text, "The title")
            .takes("body", Kind::Text, "The text")
            .field("priority", Kind::Text, "low, normal or high")
            .field("app_origin", Kind::Text, "The application that it is about")
            .or("none")
            .field("action_url", Kind::Text, "Where to act: an https URL, or a path of this site")
            .or("none")
            .field("user", Kind::Text, "Another user who may read you")
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
            .field("access_requests", Kind::Data, "true or false: an agent asks for access")
            .field("leaks", Kind::Data, "true or false: a credential was leaked")
            .field("expiring", Kind::Data, "true or false: a credential ends soon")
            .field("silent_agents", Kind::Data, "true or false: an agent has gone silent")
            .field("new_sign_ins", Kind::Data, "true or false: a sign-in with a new device or from a new network"),
        notifications(Verb::new("notifications read", route::NOTIFICATION_READ)).done("Read."),
        Verb::new("notifications read-all", route::NOTIFICATIONS_READ_ALL)
            .field("until", Kind::When, "Only those that came until then")
            .done("Read."),
        notifications(Verb::new("notifications delete", route::NOTIFICATION_DELETE))
            .asks("Delete {id}?")
            .done("Deleted."),
        Verb::new("inbox read", route::INBOX).table(&[("AT", "at"), ("TYPE", "type"), ("DATA", "data"), ("ID", "id")]),
        Verb::new("inbox ack", route::INBOX_ACK).takes(
            "upto",
            Kind::Text,
            "The id of the last event that you have done",
        ),
    ]
}
