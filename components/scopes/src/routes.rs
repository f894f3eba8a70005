use common::{
    route::{self, Group},
    router::{Router, Routes},
};

use crate::{presets, scopes};

fn routes() -> Routes {
    Routes::new(Group::Scopes)
        .on(route::SCOPES, scopes::all)
        .on(route::SCOPES_CUSTOM, scopes::list)
        .on(route::SCOPES_DEFINE, scopes::define)
        .on(route::SCOPES_REMOVE, scopes::remove)
        .on(route::PRESETS_LIST, presets::list)
        .on(route::PRESET_PUT, presets::put)
        .on(route::PRESET_DRIFT, presets::drift)
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
        common::testing::foreign_objects_are_absent(common::route::Group::Scopes, super::router).await;
    }
}
