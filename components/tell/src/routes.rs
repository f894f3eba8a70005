use common::{
    route::{self, Group},
    router::{Router, Routes},
};

use crate::tell;

fn routes() -> Routes {
    Routes::new(Group::Tell).on(route::NOTIFY, tell::notify)
}

/// The component's routes.
pub fn router() -> Router {
    routes().build()
}

common::tests_of_routes!(Tell);
