use common::route::{self, Group};
use service::{
    router::{Router, Routes},
    session::SignedIn,
};
use store::code::NewAddress;

use crate::{
    address, bootstrap, change_password, codes, factor, letters, operator, password, reauthenticate, recover, sign_in,
};

fn routes() -> Routes {
    Routes::new(Group::Signin)
        .on(route::BOOTSTRAP, bootstrap::bootstrap)
        .gives::<bootstrap::Created>(&[201])
        .on(route::TENANT_CREATE, bootstrap::create_tenant)
        .gives::<bootstrap::Created>(&[201])
        .on(route::OPERATOR_REVOKE, operator::revoke)
        .gives::<operator::Revoked>(&[200])
        .on(route::OPERATOR_RECOVER, recover::recover)
        .gives::<recover::Recovered>(&[200, 201])
        .on(route::SIGN_IN, sign_in::sign_in)
        .gives::<SignedIn>(&[200])
        .on(route::FACTOR, factor::get)
        .gives::<factor::State>(&[200])
        .on(route::FACTOR_BEGIN, factor::begin)
        .gives::<factor::Begun>(&[201])
        .on(route::FACTOR_CONFIRM, factor::confirm)
        .gives::<factor::Recovery>(&[200])
        .on(route::FACTOR_REMOVE, factor::remove)
        .gives_nothing()
        .on(route::FACTOR_CODES, factor::replace_codes)
        .gives::<factor::Recovery>(&[200])
        .on(route::FACTOR_VERIFY, factor::verify)
        .gives::<SignedIn>(&[200])
        .on(route::REAUTHENTICATE, reauthenticate::reauthenticate)
        .gives::<reauthenticate::Proved>(&[200])
        .on(route::NAME_CHANGE, address::rename)
        .gives_nothing()
        .on(route::EMAIL, address::get)
        .gives::<address::Address>(&[200])
        .on(route::EMAIL_ASK, address::ask)
        .gives::<NewAddress>(&[202])
        .on(route::EMAIL_WITHDRAW, address::withdraw)
        .gives_nothing()
        .on(route::EMAIL_CONFIRM, address::confirm)
        .gives_nothing()
        .on(route::CODE_LOOK, codes::look)
        .gives::<codes::Look>(&[200])
        .on(route::LINK_ASK, letters::link)
        .gives_nothing()
        .on(route::LINK_SIGN_IN, codes::sign_in)
        .gives::<SignedIn>(&[200])
        .on(route::FORGOT, letters::forgot)
        .gives_nothing()
        .on(route::RESET, codes::reset)
        .gives_nothing()
        .on(route::INVITE_ACCEPT, codes::accept)
        .gives_nothing()
        .on(route::PASSWORD_SET, password::set)
        .gives_nothing()
        .on(route::PASSWORD_CHANGE, change_password::change)
        .gives_nothing()
}

/// The component's routes.
pub fn router() -> Router {
    routes().build().leading()
}

service::tests_of_routes!(Signin);
