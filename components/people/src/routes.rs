use common::{
    route::{self, Group},
    router::{Router, Routes},
};

use crate::{sessions, users};

fn routes() -> Routes {
    Routes::new(Group::People)
        .on(route::LOGOUT, sessions::logout)
        .on(route::SESSIONS_LIST, sessions::list)
        .on(route::SESSIONS_END_OTHERS, sessions::end_others)
        .on(route::SESSION_END, sessions::end)
        .on(route::USERS_LIST, users::list)
        .on(route::USERS_CREATE, users::create)
        .on(route::USERS_GET, users::get)
}

/// The component's routes.
pub fn router() -> Router {
    routes().build()
}

common::tests_of_routes!(People);
