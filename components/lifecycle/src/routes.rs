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

#[cfg(test)]
mod tests {
    #[test]
    fn every_row_of_the_table_has_a_handler() {
        assert_eq!(super::routes().missing(), Vec::<&str>::new());
    }

    /// R33, for whatever rows the table has.
    #[tokio::test]
    async fn foreign_objects_are_absent_on_every_route() {
        common::testing::foreign_objects_are_absent(common::route::Group::Lifecycle, super::router).await;
    }
}
