use common::{
    route::{self, Group},
    router::{Router, Routes},
};

use crate::{preset, requests, sharing};

fn routes() -> Routes {
    Routes::new(Group::Access)
        .on(route::KEY_GRANTS_LIST, sharing::list)
        .on(route::KEY_GRANTS_GIVE, sharing::give)
        .on(route::KEY_GRANTS_TAKE, sharing::take)
        .on(route::GRANTS_LIST, sharing::list)
        .on(route::GRANTS_GIVE, sharing::give)
        .on(route::GRANTS_TAKE, sharing::take)
        .on(route::EXPLAIN, sharing::explain)
        .on(route::ACCESS_ASK, requests::ask)
        .on(route::ACCESS_LIST, requests::list)
        .on(route::ACCESS_GET, requests::get)
        .on(route::ACCESS_APPROVE, requests::approve)
        .on(route::ACCESS_DENY, requests::deny)
        .on(route::ACCESS_REVOKE, requests::revoke)
        .on(route::PRESETS_LIST, preset::list)
        .on(route::PRESET_PUT, preset::put)
        .on(route::PRESET_DRIFT, preset::drift)
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
