use common::{
    route::{self, Group},
    router::{Router, Routes},
};

use crate::{create, list, transfer};

fn routes() -> Routes {
    Routes::new(Group::Registry)
        .on(route::AGENTS_LIST, list::list)
        .on(route::AGENTS_CREATE, create::create)
        .on(route::AGENTS_EXPORT, transfer::export)
        .on(route::AGENTS_IMPORT, transfer::import)
}

/// The component's routes.
pub fn router() -> Router {
    routes().build()
}

common::tests_of_routes!(Registry);
