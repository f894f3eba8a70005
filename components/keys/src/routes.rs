use common::{
    route::{self, Group},
    router::{Router, Routes},
};

use crate::{keys, token};

fn routes() -> Routes {
    Routes::new(Group::Keys)
        .on(route::TOKEN_ISSUE, token::issue)
        .on(route::TOKEN_REVOKE, token::revoke)
        .on(route::KEYS_LIST, keys::list)
        .on(route::KEYS_CREATE, keys::create)
        .on(route::KEYS_GET, keys::get)
        .on(route::KEYS_DELETE, keys::delete)
        .on(route::KEYS_ROTATE, keys::rotate)
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
        common::testing::foreign_objects_are_absent(common::route::Group::Keys, super::router).await;
    }
}
