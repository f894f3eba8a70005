use common::{
    route::{self, Group},
    router::{Router, Routes},
};

use crate::{bootstrap, operator, own, password, sign_in};

fn routes() -> Routes {
    Routes::new(Group::Signin)
        .on(route::BOOTSTRAP, bootstrap::bootstrap)
        .on(route::TENANT_CREATE, bootstrap::tenant)
        .on(route::OPERATOR_REVOKE, operator::revoke)
        .on(route::SIGN_IN, sign_in::sign_in)
        .on(route::PASSWORD_SET, password::set)
        .on(route::PASSWORD_CHANGE, own::change)
}

/// The component's routes.
pub fn router() -> Router {
    routes().build()
}

common::tests_of_routes!(Signin);
