use common::route::{self, Group};
use service::router::{Router, Routes};

use crate::{bootstrap, change_password, factor, operator, password, reauthenticate, sign_in};

fn routes() -> Routes {
    Routes::new(Group::Signin)
        .on(route::BOOTSTRAP, bootstrap::bootstrap)
        .on(route::TENANT_CREATE, bootstrap::create_tenant)
        .on(route::OPERATOR_REVOKE, operator::revoke)
        .on(route::SIGN_IN, sign_in::sign_in)
        .on(route::FACTOR, factor::get)
        .on(route::FACTOR_BEGIN, factor::begin)
        .on(route::FACTOR_CONFIRM, factor::confirm)
        .on(route::FACTOR_REMOVE, factor::remove)
        .on(route::FACTOR_CODES, factor::replace_codes)
        .on(route::FACTOR_VERIFY, factor::verify)
        .on(route::REAUTHENTICATE, reauthenticate::reauthenticate)
        .on(route::PASSWORD_SET, password::set)
        .on(route::PASSWORD_CHANGE, change_password::change)
}

/// The component's routes.
pub fn router() -> Router {
    routes().build()
}

service::tests_of_routes!(Signin);
