use common::{
    route::{self, Group},
    router::{Router, Routes},
};

use crate::{change, one};

fn routes() -> Routes {
    Routes::new(Group::Agents)
        .on(route::AGENTS_GET, one::get)
        .on(route::AGENTS_PATCH, change::patch)
        .on(route::AGENTS_PUT, change::put)
        .on(route::AGENTS_DELETE, one::archive)
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
        common::testing::foreign_objects_are_absent(common::route::Group::Agents, super::router).await;
    }
}
