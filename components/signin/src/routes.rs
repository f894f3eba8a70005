use common::route::{self, Group};
use service::router::{Router, Routes};

use crate::{bootstrap, change_password, operator, password, sign_in};

fn routes() -> Routes {
    Routes::new(Group::Signin)
        .on(route::BOOTSTRAP, bootstrap::bootstrap)
        .on(route::TENANT_CREATE, bootstrap::create_tenant)
        .on(route::OPERATOR_REVOKE, operator::revoke)
        .on(route::SIGN_IN, sign_in::sign_in)
        .on(route::PASSWORD_SET, password::set)
        .on(route::PASSWORD_CHANGE, change_password::change)
}

/// The component's routes.
pub fn router() -> Router {
    routes().build()
}

service::tests_of_routes!(Signin);
