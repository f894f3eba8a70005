use common::{
    route::{self, Group},
    router::{Router, Routes},
};

use crate::{mail, tell, tick};

fn routes() -> Routes {
    Routes::new(Group::Notify)
        .on(route::NOTIFY, tell::notify)
        .on(route::MAIL_TEST, mail::test)
        .on(route::MAIL_OUTBOX, mail::list)
        .on(route::MAIL_RETRY, mail::retry)
        .on(route::TICK, tick::tick)
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
        common::testing::foreign_objects_are_absent(common::route::Group::Notify, super::router).await;
    }
}
