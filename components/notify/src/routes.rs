use common::route::{self, Group};
use service::router::{Router, Routes};

use crate::{inbox, messages, notifications, notify, stream};

fn routes() -> Routes {
    Routes::new(Group::Notify)
        .on(route::NOTIFY, notify::notify)
        .on(route::NOTIFICATIONS_LIST, notifications::list)
        .on(route::NOTIFICATIONS_COUNT, notifications::count)
        .on(route::NOTIFICATIONS_STREAM, stream::notifications)
        .on(route::NOTIFICATION_READ, notifications::read)
        .on(route::NOTIFICATIONS_READ_ALL, notifications::read_all)
        .on(route::NOTIFICATION_DELETE, notifications::delete)
        .on(route::INBOX, inbox::read)
        .on(route::INBOX_STREAM, stream::own_inbox)
        .on(route::INBOX_ACK, inbox::acknowledge)
        .on(route::MESSAGE, messages::send)
}

/// The component's routes.
pub fn router() -> Router {
    routes().build()
}

service::tests_of_routes!(Notify);
