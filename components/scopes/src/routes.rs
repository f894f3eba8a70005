use common::{
    route::{self, Group},
    router::{Router, Routes},
};

use crate::{presets, scopes};

fn routes() -> Routes {
    Routes::new(Group::Scopes)
        .on(route::SCOPES, scopes::all)
        .on(route::SCOPES_CUSTOM, scopes::list)
        .on(route::SCOPES_DEFINE, scopes::define)
        .on(route::SCOPES_REMOVE, scopes::remove)
        .on(route::PRESETS_LIST, presets::list)
        .on(route::PRESET_PUT, presets::put)
        .on(route::PRESET_DRIFT, presets::drift)
}

/// The component's routes.
pub fn router() -> Router {
    routes().build()
}

common::tests_of_routes!(Scopes);
