use common::{
    route::{self, Group},
    router::{Router, Routes},
};

use crate::trail;

fn routes() -> Routes {
    Routes::new(Group::Audit)
        .on(route::AUDIT_LIST, trail::list)
        .on(route::AUDIT_EXPORT, trail::export)
        .on(route::AUDIT_VERIFY, trail::verify)
}

/// The component's routes.
pub fn router() -> Router {
    routes().build()
}

common::tests_of_routes!(Audit);
