use common::route::{self, Group};
use service::router::{Router, Routes};
use store::closure::Closure;

use crate::{can, closures, doctor, epochs, health, index, introspect, verify, whoami};

fn routes() -> Routes {
    Routes::new(Group::Auth)
        .on(route::WHOAMI, whoami::whoami)
        .gives::<service::whoami::Whoami>(&[200])
        .on(route::CAN, can::can)
        .gives::<can::Decision>(&[200])
        .on(route::DOCTOR, doctor::doctor)
        .gives::<doctor::Diagnosis>(&[200])
        .on(route::INTROSPECT, introspect::introspect)
        .gives::<introspect::Told>(&[200])
        .on(route::VERIFY, verify::verify)
        .gives_no_body(&[200])
        .on(route::VERIFY_BELOW, verify::verify_below)
        .gives_no_body(&[200])
        .on(route::EPOCHS, epochs::read)
        .gives::<epochs::Page>(&[200])
        .on(route::CLOSURE_GET, closures::get)
        .gives::<Closure>(&[200])
        .on(route::API_INDEX, index::index)
        .gives::<index::Listed>(&[200])
        .on(route::HEALTHZ, health::healthz)
        .gives::<health::Health>(&[200])
        .on(route::READYZ, health::readyz)
        .gives::<health::Ready>(&[200])
}

/// The component's routes.
pub fn router() -> Router {
    routes().build().holding(verify::First::default())
}

service::tests_of_routes!(Auth);
