use common::{
    route::{self, Group},
    router::{Router, Routes},
};

use crate::{admin, introspect, leak, pat};

fn routes() -> Routes {
    Routes::new(Group::Tokens)
        .on(route::PATS_CREATE, pat::create)
        .on(route::PATS_LIST, pat::list)
        .on(route::PATS_GET, pat::get)
        .on(route::PATS_ROTATE, pat::rotate)
        .on(route::PATS_REVOKE, pat::revoke)
        .on(route::TOKENS_LIST, admin::list)
        .on(route::TOKENS_REVOKE, admin::revoke)
        .on(route::INTROSPECT, introspect::introspect)
        .on(route::LEAKS, leak::report)
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
        common::testing::foreign_objects_are_absent(common::route::Group::Tokens, super::router).await;
    }
}
