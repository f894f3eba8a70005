use common::route::{self, Group};
use service::{
    router::{Router, Routes},
    session::SignedIn,
};

use crate::{bootstrap, change_password, codes, factor, letters, operator, password, reauthenticate, recover, sign_in};

fn routes() -> Routes {
    Routes::new(Group::Signin)
        .on(route::BOOTSTRAP, bootstrap::bootstrap)
        .gives::<bootstrap::Created>(&[201])
        .on(route::TENANT_CREATE, bootstrap::create_tenant)
        .gives::<bootstrap::Created>(&[201])
        .on(route::OPERATOR_REVOKE, operator::revoke)
        .gives::<operator::Revoked>(&[200])
        .on(route::OPERATOR_RECOVER, recover::recover)
        .on(route::SIGN_IN, sign_in::sign_in)
        .gives::<SignedIn>(&[200])
        .on(route::FACTOR, factor::get)
        .on(route::FACTOR_BEGIN, factor::begin)
        .on(route::FACTOR_CONFIRM, factor::confirm)
        .on(route::FACTOR_REMOVE, factor::remove)
        .on(route::FACTOR_CODES, factor::replace_codes)
        .on(route::FACTOR_VERIFY, factor::verify)
        .on(route::REAUTHENTICATE, reauthenticate::reauthenticate)
        .on(route::LINK_ASK, letters::link)
        .on(route::LINK_SIGN_IN, codes::sign_in)
        .on(route::FORGOT, letters::forgot)
        .on(route::RESET, codes::reset)
        .on(route::INVITE_ACCEPT, codes::accept)
        .on(route::PASSWORD_SET, password::set)
        .gives_nothing()
        .on(route::PASSWORD_CHANGE, change_password::change)
        .gives_nothing()
}

/// The component's routes.
pub fn router() -> Router {
    routes().build()
}

service::tests_of_routes!(Signin);
