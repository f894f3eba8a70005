use common::{
    route::{self, Group},
    router::{Router, Routes},
};

use crate::sharing;

fn routes() -> Routes {
    Routes::new(Group::Sharing)
        .on(route::KEY_GRANTS_LIST, sharing::list)
        .on(route::KEY_GRANTS_GIVE, sharing::give)
        .on(route::KEY_GRANTS_TAKE, sharing::take)
        .on(route::GRANTS_LIST, sharing::list)
        .on(route::GRANTS_GIVE, sharing::give)
        .on(route::GRANTS_TAKE, sharing::take)
        .on(route::EXPLAIN, sharing::explain)
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
        common::testing::foreign_objects_are_absent(common::route::Group::Sharing, super::router).await;
    }
}
