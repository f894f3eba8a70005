use common::{
    route::{self, Group},
    router::{Router, Routes},
};

use crate::{can, doctor, whoami};

fn routes() -> Routes {
    Routes::new(Group::Auth)
        .on(route::WHOAMI, whoami::whoami)
        .on(route::CAN, can::can)
        .on(route::DOCTOR, doctor::doctor)
}

/// The component's routes.
pub fn router() -> Router {
    routes().build()
}

common::tests_of_routes!(Auth);
