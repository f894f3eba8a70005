use common::{
    route::{self, Group},
    router::{Router, Routes},
};

use crate::{heartbeat, log, state};

fn routes() -> Routes {
    Routes::new(Group::Lifecycle)
        .on(route::AGENT_START, state::one)
        .on(route::AGENT_STOP, state::one)
        .on(route::AGENT_PAUSE, state::one)
        .on(route::AGENT_RESUME, state::one)
        .on(route::AGENT_RESTART, state::one)
        .on(route::BULK_START, state::many)
        .on(route::BULK_STOP, state::many)
        .on(route::BULK_PAUSE, state::many)
        .on(route::BULK_RESUME, state::many)
        .on(route::BULK_RESTART, state::many)
        .on(route::STOP_ALL, state::stop_all)
        .on(route::HEARTBEAT, heartbeat::heartbeat)
        .on(route::LOGS_READ, log::read)
        .on(route::LOGS_APPEND, log::append)
}

/// The component's routes.
pub fn router() -> Router {
    routes().build()
}

common::tests_of_routes!(Lifecycle);
