use common::route::{self, Group};
use service::router::{Router, Routes};
use store::{
    notification::{Count, Notification},
    page::Page,
};

use crate::{inbox, messages, notifications, notify, preferences, stream};

fn routes() -> Routes {
    Routes::new(Group::Notify)
        .on(route::NOTIFY, notify::notify)
        .gives::<notify::Delivered>(&[201])
        .on(route::NOTIFICATIONS_LIST, notifications::list)
        .gives::<Page<Notification>>(&[200])
        .on(route::NOTIFICATIONS_COUNT, notifications::count)
        .gives::<Count>(&[200])
        .on(route::NOTIFICATIONS_STREAM, stream::notifications)
        .gives_text("text/event-stream")
        .on(route::NOTIFICATIONS_PREFERENCES, preferences::get)
        .gives::<preferences::Preferences>(&[200])
        .on(route::NOTIFICATIONS_PREFER, preferences::patch)
        .gives::<preferences::Preferences>(&[200])
        .on(route::NOTIFICATION_READ, notifications::read)
        .gives::<Notification>(&[200])
        .on(route::NOTIFICATIONS_READ_ALL, notifications::read_all)
        .gives::<notifications::Marked>(&[200])
        .on(route::NOTIFICATION_DELETE, notifications::delete)
        .gives_nothing()
        .on(route::INBOX, inbox::read)
        .gives::<inbox::Page>(&[200])
        .on(route::INBOX_STREAM, stream::own_inbox)
        .gives_text("text/event-stream")
        .on(route::INBOX_ACK, inbox::acknowledge)
        .gives::<inbox::Acknowledged>(&[200])
        .on(route::MESSAGE, messages::send)
        .gives::<messages::Sent>(&[201])
}

/// The component's routes.
pub fn router() -> Router {
    routes().build()
}

service::tests_of_routes!(Notify);
