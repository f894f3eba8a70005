use common::{
    route::{self, Group},
    router::{Router, Routes},
};

use crate::{change, one};

fn routes() -> Routes {
    Routes::new(Group::Agents)
        .on(route::AGENTS_GET, one::get)
        .on(route::AGENTS_PATCH, change::patch)
        .on(route::AGENTS_PUT, change::put)
        .on(route::AGENTS_DELETE, one::archive)
}

/// The component's routes.
pub fn router() -> Router {
    routes().build()
}

common::tests_of_routes!(Agents);
