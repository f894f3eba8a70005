use common::route::{self, Group};
use service::router::{Router, Routes};

use crate::{mail, tick};

fn routes() -> Routes {
    Routes::new(Group::Worker)
        .on(route::MAIL_TEST, mail::test)
        .on(route::MAIL_OUTBOX, mail::list)
        .on(route::MAIL_RETRY, mail::retry)
        .on(route::TICK, tick::tick)
}

/// The component's routes.
pub fn router() -> Router {
    routes().build()
}

service::tests_of_routes!(Worker);
