use common::{
    route::{self, Group},
    router::{Router, Routes},
};

use crate::{create, list, transfer};

fn routes() -> Routes {
    Routes::new(Group::Registry)
        .on(route::AGENTS_LIST, list::list)
        .on(route::AGENTS_CREATE, create::create)
        .on(route::AGENTS_EXPORT, transfer::export)
        .on(route::AGENTS_IMPORT, transfer::import)
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
        common::testing::foreign_objects_are_absent(common::route::Group::Registry, super::router).await;
    }
}
