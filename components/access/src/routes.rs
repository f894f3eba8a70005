use common::{
    route::{self, Group},
    router::{Router, Routes},
};

use crate::requests;

fn routes() -> Routes {
    Routes::new(Group::Access)
        .on(route::ACCESS_ASK, requests::ask)
        .on(route::ACCESS_LIST, requests::list)
        .on(route::ACCESS_GET, requests::get)
        .on(route::ACCESS_APPROVE, requests::approve)
        .on(route::ACCESS_DENY, requests::deny)
        .on(route::ACCESS_REVOKE, requests::revoke)
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
        common::testing::foreign_objects_are_absent(common::route::Group::Access, super::router).await;
    }
}
