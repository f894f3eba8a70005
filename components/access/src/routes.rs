use common::{
    route::{self, Group},
    router::{Router, Routes},
};

use crate::requests;

fn routes() -> Routes {
    Routes::new(Group::Access)
        .on(route::ACCESS_ASK, requests::ask)
        .on(route::ACCESS_LIST, requests::list)
        .on(route::ACCESS_GET, requests::get)
        .on(route::ACCESS_APPROVE, requests::approve)
        .on(route::ACCESS_DENY, requests::deny)
        .on(route::ACCESS_REVOKE, requests::revoke)
}

/// The component's routes.
pub fn router() -> Router {
    routes().build()
}

common::tests_of_routes!(Access);
