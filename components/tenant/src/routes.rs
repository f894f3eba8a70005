use common::route::{self, Group};
use service::router::{Router, Routes};

use crate::{audit, scopes, settings, usage, users};

fn routes() -> Routes {
    Routes::new(Group::Tenant)
        .on(route::USERS_LIST, users::list)
        .on(route::USERS_CREATE, users::create)
        .on(route::USERS_GET, users::get)
        .on(route::USERS_PATCH, users::patch)
        .on(route::USERS_DELETE, users::leaving::delete)
        .on(route::USERS_ACTIVATE, users::leaving::activate)
        .on(route::USERS_DEACTIVATE, users::leaving::deactivate)
        .on(route::USERS_FACTOR, users::remove_factor)
        .on(route::TENANT, settings::get)
        .on(route::TENANT_PATCH, settings::patch)
        .on(route::WAYS, settings::ways)
        .on(route::USER_INVITE, users::joining::invite)
        .on(route::USER_RESET_LINK, users::joining::reset)
        .on(route::USAGE, usage::get)
        .on(route::AUDIT_LIST, audit::list)
        .on(route::AUDIT_EXPORT, audit::export)
        .on(route::AUDIT_VERIFY, audit::verify)
        .on(route::SCOPES, scopes::all)
        .on(route::SCOPES_CUSTOM, scopes::list)
        .on(route::SCOPES_DEFINE, scopes::define)
        .on(route::SCOPES_REMOVE, scopes::remove)
}

/// The component's routes.
pub fn router() -> Router {
    routes().build()
}

service::tests_of_routes!(Tenant);
