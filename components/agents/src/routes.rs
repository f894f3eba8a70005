use common::{
    route::{self, Group},
    router::{Router, Routes},
};

use crate::{
    access, archive, change, create, heartbeat, keys, lifecycle, log, preset, registry, sharing, token, transfer,
};

fn routes() -> Routes {
    Routes::new(Group::Agents)
        .on(route::AGENTS_LIST, registry::list)
        .on(route::AGENTS_CREATE, create::create)
        .on(route::AGENTS_GET, registry::get)
        .on(route::AGENTS_PATCH, change::patch)
        .on(route::AGENTS_PUT, change::put)
        .on(route::AGENTS_DELETE, archive::archive)
        .on(route::ARCHIVED_LIST, archive::list)
        .on(route::ARCHIVED_RESTORE, archive::restore)
        .on(route::ARCHIVED_PURGE, archive::purge)
        .on(route::AGENTS_EXPORT, transfer::export)
        .on(route::AGENTS_IMPORT, transfer::import)
        .on(route::AGENT_START, lifecycle::one)
        .on(route::AGENT_STOP, lifecycle::one)
        .on(route::AGENT_PAUSE, lifecycle::one)
        .on(route::AGENT_RESUME, lifecycle::one)
        .on(route::AGENT_RESTART, lifecycle::one)
        .on(route::BULK_START, lifecycle::many)
        .on(route::BULK_STOP, lifecycle::many)
        .on(route::BULK_PAUSE, lifecycle::many)
        .on(route::BULK_RESUME, lifecycle::many)
        .on(route::BULK_RESTART, lifecycle::many)
        .on(route::STOP_ALL, lifecycle::stop_all)
        .on(route::HEARTBEAT, heartbeat::heartbeat)
        .on(route::LOGS_READ, log::read)
        .on(route::LOGS_APPEND, log::append)
        .on(route::TOKEN_ISSUE, token::issue)
        .on(route::TOKEN_REVOKE, token::revoke)
        .on(route::KEYS_LIST, keys::list)
        .on(route::KEYS_CREATE, keys::create)
        .on(route::KEYS_GET, keys::get)
        .on(route::KEYS_DELETE, keys::delete)
        .on(route::KEYS_ROTATE, keys::rotate)
        .on(route::KEY_GRANTS_LIST, sharing::list)
        .on(route::KEY_GRANTS_GIVE, sharing::give)
        .on(route::KEY_GRANTS_TAKE, sharing::take)
        .on(route::GRANTS_LIST, sharing::list)
        .on(route::GRANTS_GIVE, sharing::give)
        .on(route::GRANTS_TAKE, sharing::take)
        .on(route::EXPLAIN, sharing::explain)
        .on(route::ACCESS_ASK, access::ask)
        .on(route::ACCESS_LIST, access::list)
        .on(route::ACCESS_GET, access::get)
        .on(route::ACCESS_APPROVE, access::approve)
        .on(route::ACCESS_DENY, access::deny)
        .on(route::ACCESS_REVOKE, access::revoke)
        .on(route::PRESETS_LIST, preset::list)
        .on(route::PRESET_PUT, preset::put)
        .on(route::PRESET_DRIFT, preset::drift)
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
        common::testing::foreign_objects_are_absent(common::route::Group::Agents, super::router).await;
    }
}
