use common::{
    route::{self, Group},
    router::{Router, Routes},
};

use crate::{events, notifications};

fn routes() -> Routes {
    Routes::new(Group::Inbox)
        .on(route::INBOX, events::read)
        .on(route::INBOX_ACK, events::acknowledge)
        .on(route::MESSAGE, events::message)
        .on(route::NOTIFICATIONS_LIST, notifications::list)
        .on(route::NOTIFICATIONS_COUNT, notifications::count)
        .on(route::NOTIFICATION_READ, notifications::read)
        .on(route::NOTIFICATIONS_READ_ALL, notifications::read_all)
        .on(route::NOTIFICATION_DELETE, notifications::delete)
}

/// The component's routes.
pub fn router() -> Router {
    routes().build()
}

common::tests_of_routes!(Inbox);
