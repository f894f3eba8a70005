use common::route::{self, Group};
use service::router::{Router, Routes};

use crate::{
    access_requests, archived, change, explain, export_import, get, grants, heartbeat, list, logs, overview, presets,
    register, state,
};

fn routes() -> Routes {
    Routes::new(Group::Agents)
        .on(route::AGENTS_LIST, list::list)
        .on(route::OVERVIEW, overview::overview)
        .on(route::AGENTS_CREATE, register::register)
        .on(route::AGENTS_GET, get::get)
        .on(route::AGENTS_PATCH, change::patch)
        .on(route::AGENTS_PUT, change::put)
        .on(route::AGENTS_DELETE, archived::archive)
        .on(route::ARCHIVED_LIST, archived::list)
        .on(route::ARCHIVED_RESTORE, archived::restore)
        .on(route::ARCHIVED_PURGE, archived::purge)
        .on(route::AGENTS_EXPORT, export_import::export)
        .on(route::AGENTS_IMPORT, export_import::import)
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
        .on(route::LOGS_READ, logs::read)
        .on(route::LOGS_APPEND, logs::append)
        .on(route::GRANTS_LIST, grants::list)
        .on(route::GRANTS_GIVE, grants::give)
        .on(route::GRANTS_TAKE, grants::take)
        .on(route::KEY_GRANTS_LIST, grants::list)
        .on(route::KEY_GRANTS_GIVE, grants::give)
        .on(route::KEY_GRANTS_TAKE, grants::take)
        .on(route::EXPLAIN, explain::explain)
        .on(route::ACCESS_ASK, access_requests::ask)
        .on(route::ACCESS_LIST, access_requests::list)
        .on(route::ACCESS_GET, access_requests::get)
        .on(route::ACCESS_APPROVE, access_requests::approve)
        .on(route::ACCESS_DENY, access_requests::deny)
        .on(route::ACCESS_REVOKE, access_requests::revoke)
        .on(route::PRESETS_LIST, presets::list)
        .on(route::PRESET_PUT, presets::put)
        .on(route::PRESET_GET, presets::get)
        .on(route::PRESET_DELETE, presets::delete)
        .on(route::PRESET_DRIFT, presets::drift)
}

/// The component's routes.
pub fn router() -> Router {
    routes().build()
}

service::tests_of_routes!(Agents);
