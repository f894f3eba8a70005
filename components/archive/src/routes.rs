use common::{
    route::{self, Group},
    router::{Router, Routes},
};

use crate::archived;

fn routes() -> Routes {
    Routes::new(Group::Archive)
        .on(route::ARCHIVED_LIST, archived::list)
        .on(route::ARCHIVED_RESTORE, archived::restore)
        .on(route::ARCHIVED_PURGE, archived::purge)
}

/// The component's routes.
pub fn router() -> Router {
    routes().build()
}

common::tests_of_routes!(Archive);
