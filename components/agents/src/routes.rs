use common::route::{self, Group};
use service::{
    change::Closing,
    router::{Router, Routes},
};
use store::{
    access_request::AccessRequest,
    agent::{Agent, archived::Archived},
    grant::Grant,
    page::Page,
    preset::Preset,
};

use crate::{
    access_requests, archived, change, deploy, explain, export_import, get, grants, heartbeat, list, logs, overview,
    presets, register, state,
};

fn routes() -> Routes {
    Routes::new(Group::Agents)
        .on(route::AGENTS_LIST, list::list)
        .gives::<Page<Agent>>(&[200])
        .on(route::OVERVIEW, overview::overview)
        .gives::<overview::Overview<'static>>(&[200])
        .on(route::AGENTS_CREATE, register::register)
        .gives::<register::Created>(&[201])
        .on(route::AGENTS_GET, get::get)
        .gives::<Agent>(&[200])
        .on(route::AGENTS_PATCH, change::patch)
        .gives::<Agent>(&[200])
        .on(route::AGENTS_PUT, change::put)
        .gives::<Agent>(&[200])
        .on(route::AGENTS_DELETE, archived::archive)
        .gives_nothing()
        .on(route::ARCHIVED_LIST, archived::list)
        .gives::<Page<Archived>>(&[200])
        .on(route::ARCHIVED_RESTORE, archived::restore)
        .gives::<Agent>(&[200])
        .on(route::ARCHIVED_PURGE, archived::purge)
        .gives_nothing()
        .on(route::AGENTS_EXPORT, export_import::export)
        .gives::<export_import::Document>(&[200])
        .on(route::AGENTS_IMPORT, export_import::import)
        .gives::<export_import::Imported>(&[201])
        .on(route::AGENT_START, state::one)
        .gives::<state::Stepped>(&[200])
        .on(route::AGENT_STOP, state::one)
        .gives::<Closing<state::Stepped>>(&[200])
        .on(route::AGENT_PAUSE, state::one)
        .gives::<Closing<state::Stepped>>(&[200])
        .on(route::AGENT_RESUME, state::one)
        .gives::<state::Stepped>(&[200])
        .on(route::AGENT_RESTART, state::one)
        .gives::<state::Stepped>(&[200])
        .on(route::BULK_START, state::many)
        .gives::<state::Results>(&[200, 207])
        .on(route::BULK_STOP, state::many)
        .gives::<Closing<state::Results>>(&[200, 207])
        .on(route::BULK_PAUSE, state::many)
        .gives::<Closing<state::Results>>(&[200, 207])
        .on(route::BULK_RESUME, state::many)
        .gives::<state::Results>(&[200, 207])
        .on(route::BULK_RESTART, state::many)
        .gives::<state::Results>(&[200, 207])
        .on(route::STOP_ALL, state::stop_all)
        .gives::<Closing<state::StoppedAll>>(&[200])
        .on(route::START_ALL, state::start_all)
        .gives::<state::StartedAll>(&[200])
        .on(route::DEPLOY, deploy::deploy)
        .gives::<deploy::Asked>(&[202])
        .on(route::DEPLOY_STATUS, deploy::status)
        .gives::<deploy::Status>(&[200])
        .on(route::DEPLOY_FAILED, deploy::failed)
        .gives::<deploy::Status>(&[200])
        .on(route::HEARTBEAT, heartbeat::heartbeat)
        .gives::<heartbeat::Answer>(&[200])
        .on(route::LOGS_READ, logs::read)
        .gives::<logs::Log>(&[200])
        .on(route::LOGS_APPEND, logs::append)
        .gives::<logs::Appended>(&[201])
        .on(route::GRANTS_LIST, grants::list)
        .gives::<Page<Grant>>(&[200])
        .on(route::GRANTS_GIVE, grants::give)
        .gives::<grants::Given>(&[201, 200])
        .on(route::GRANTS_TAKE, grants::take)
        .gives_nothing()
        .on(route::KEY_GRANTS_LIST, grants::list)
        .gives::<Page<Grant>>(&[200])
        .on(route::KEY_GRANTS_GIVE, grants::give)
        .gives::<grants::Given>(&[201, 200])
        .on(route::KEY_GRANTS_TAKE, grants::take)
        .gives_nothing()
        .on(route::EXPLAIN, explain::explain)
        .gives::<explain::Explanation>(&[200])
        .on(route::ACCESS_ASK, access_requests::ask)
        .gives::<AccessRequest>(&[201, 200])
        .on(route::ACCESS_LIST, access_requests::list)
        .gives::<Page<AccessRequest>>(&[200])
        .on(route::ACCESS_GET, access_requests::get)
        .gives::<AccessRequest>(&[200])
        .on(route::ACCESS_WITHDRAW, access_requests::withdraw)
        .gives_nothing()
        .on(route::ACCESS_APPROVE, access_requests::approve)
        .gives::<AccessRequest>(&[200])
        .on(route::ACCESS_DENY, access_requests::deny)
        .gives::<AccessRequest>(&[200])
        .on(route::ACCESS_REVOKE, access_requests::revoke)
        .gives::<Closing<AccessRequest>>(&[200])
        .on(route::PRESETS_LIST, presets::list)
        .gives::<presets::All>(&[200])
        .on(route::PRESET_PUT, presets::put)
        .gives::<Preset>(&[200])
        .on(route::PRESET_GET, presets::get)
        .gives::<presets::WithVersions<'static>>(&[200])
        .on(route::PRESET_DELETE, presets::delete)
        .gives_nothing()
        .on(route::PRESET_DRIFT, presets::drift)
        .gives::<presets::Drift>(&[200])
}

/// The component's routes.
pub fn router() -> Router {
    routes().build()
}

service::tests_of_routes!(Agents);
