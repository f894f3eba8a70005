use common::route::{self, Group};
use service::router::{Router, Routes};

use crate::{admin_tokens, device, leaks, sessions, tokens};

fn routes() -> Routes {
    Routes::new(Group::Tokens)
        .on(route::LOGOUT, sessions::end_own)
        .on(route::SESSIONS_LIST, sessions::list)
        .on(route::SESSIONS_END_OTHERS, sessions::end_others)
        .on(route::SESSION_END, sessions::end)
        .on(route::OWN_END, sessions::end_own)
        .on(route::PATS_CREATE, tokens::create)
        .on(route::PATS_LIST, tokens::list)
        .on(route::PATS_GET, tokens::get)
        .on(route::PATS_ROTATE, tokens::rotate)
        .on(route::PATS_REVOKE, tokens::revoke)
        .on(route::TOKENS_LIST, admin_tokens::list)
        .on(route::TOKENS_REVOKE, admin_tokens::revoke)
        .on(route::DEVICE_CODE, device::ask)
        .on(route::DEVICE_TOKEN, device::redeem)
        .on(route::DEVICE_GET, device::get)
        .on(route::DEVICE_APPROVE, device::approve)
        .on(route::DEVICE_DENY, device::deny)
        .on(route::LEAKS, leaks::report)
}

/// The component's routes.
pub fn router() -> Router {
    routes().build()
}

service::tests_of_routes!(Tokens);
