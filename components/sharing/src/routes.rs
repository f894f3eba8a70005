use common::{
    route::{self, Group},
    router::{Router, Routes},
};

use crate::sharing;

fn routes() -> Routes {
    Routes::new(Group::Sharing)
        .on(route::KEY_GRANTS_LIST, sharing::list)
        .on(route::KEY_GRANTS_GIVE, sharing::give)
        .on(route::KEY_GRANTS_TAKE, sharing::take)
        .on(route::GRANTS_LIST, sharing::list)
        .on(route::GRANTS_GIVE, sharing::give)
        .on(route::GRANTS_TAKE, sharing::take)
        .on(route::EXPLAIN, sharing::explain)
}

/// The component's routes.
pub fn router() -> Router {
    routes().build()
}

common::tests_of_routes!(Sharing);
