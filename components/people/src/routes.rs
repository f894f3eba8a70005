use common::{
    route::{self, Group},
    router::{Router, Routes},
};

use crate::{sessions, users};

fn routes() -> Routes {
    Routes::new(Group::People)
        .on(route::LOGOUT, sessions::logout)
        .on(route::SESSIONS_LIST, sessions::list)
        .on(route::SESSIONS_END_OTHERS, sessions::end_others)
        .on(route::SESSION_END, sessions::end)
        .on(route::USERS_LIST, users::list)
        .on(route::USERS_CREATE, users::create)
        .on(route::USERS_GET, users::get)
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
        common::testing::foreign_objects_are_absent(common::route::Group::People, super::router).await;
    }
}
