use common::{
    route::{self, Group},
    router::{Router, Routes},
};

use crate::{end, sessions, users};

fn routes() -> Routes {
    Routes::new(Group::People)
        .on(route::LOGOUT, sessions::logout)
        .on(route::SESSIONS_LIST, sessions::list)
        .on(route::SESSIONS_END_OTHERS, sessions::end_others)
        .on(route::SESSION_END, sessions::end)
        .on(route::USERS_LIST, users::list)
        .on(route::USERS_CREATE, users::create)
        .on(route::USERS_GET, users::get)
        .on(route::USERS_PATCH, users::patch)
        .on(route::USERS_DELETE, end::delete)
        .on(route::USERS_ACTIVATE, end::activate)
        .on(route::USERS_DEACTIVATE, end::deactivate)
}

/// The component's routes.
pub fn router() -> Router {
    routes().build()
}

common::tests_of_routes!(People);
