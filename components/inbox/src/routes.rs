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

#[cfg(test)]
mod tests {
    #[test]
    fn every_row_of_the_table_has_a_handler() {
        assert_eq!(super::routes().missing(), Vec::<&str>::new());
    }

    /// R33, for whatever rows the table has.
    #[tokio::test]
    async fn foreign_objects_are_absent_on_every_route() {
        common::testing::foreign_objects_are_absent(common::route::Group::Inbox, super::router).await;
    }
}
