use common::{
    route::{self, Group},
    router::{Router, Routes},
};

use crate::{bootstrap, operator, password, sign_in};

fn routes() -> Routes {
    Routes::new(Group::Signin)
        .on(route::BOOTSTRAP, bootstrap::bootstrap)
        .on(route::TENANT_CREATE, bootstrap::tenant)
        .on(route::OPERATOR_REVOKE, operator::revoke)
        .on(route::SIGN_IN, sign_in::sign_in)
        .on(route::PASSWORD_SET, password::set)
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
        common::testing::foreign_objects_are_absent(common::route::Group::Signin, super::router).await;
    }
}
