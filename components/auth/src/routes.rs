use common::route::{self, Group};
use service::router::{Router, Routes};

use crate::{can, doctor, health, introspect, whoami};

fn routes() -> Routes {
    Routes::new(Group::Auth)
        .on(route::WHOAMI, whoami::whoami)
        .on(route::CAN, can::can)
        .on(route::DOCTOR, doctor::doctor)
        .on(route::INTROSPECT, introspect::introspect)
        .on(route::HEALTHZ, health::healthz)
        .on(route::READYZ, health::readyz)
}

/// The component's routes.
pub fn router() -> Router {
    routes().build()
}

service::tests_of_routes!(Auth);
