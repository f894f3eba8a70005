use common::{
    route::{self, Group},
    router::{Router, Routes},
};

use crate::health;

fn routes() -> Routes {
    Routes::new(Group::Health).on(route::HEALTHZ, health::healthz).on(route::READYZ, health::readyz)
}

/// The component's routes.
pub fn router() -> Router {
    routes().build()
}

common::tests_of_routes!(Health);
