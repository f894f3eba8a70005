use common::{
    route::{self, Group},
    router::{Router, Routes},
};

use crate::archived;

fn routes() -> Routes {
    Routes::new(Group::Archive)
        .on(route::ARCHIVED_LIST, archived::list)
        .on(route::ARCHIVED_RESTORE, archived::restore)
        .on(route::ARCHIVED_PURGE, archived::purge)
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
        common::testing::foreign_objects_are_absent(common::route::Group::Archive, super::router).await;
    }
}
