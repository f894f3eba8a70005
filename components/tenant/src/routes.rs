use common::route::{self, Group};
use service::{
    change::Closing,
    router::{Router, Routes},
};
use store::{
    audit::{chain::Report, trail::Entry},
    credential::Session,
    custom_scope::CustomScope,
    guide::{Guide, Listed},
    identity::Identities,
    page::Page,
    resource::Resource,
    user::User,
};

use crate::{audit, guides, resources, scopes, settings, usage, users};

fn routes() -> Routes {
    Routes::new(Group::Tenant)
        .on(route::USERS_LIST, users::list)
        .gives::<Page<User>>(&[200])
        .on(route::USERS_CREATE, users::create)
        .gives::<User>(&[201])
        .on(route::USERS_GET, users::get)
        .gives::<User>(&[200])
        .on(route::USERS_PATCH, users::patch)
        .gives::<User>(&[200])
        .on(route::USERS_DELETE, users::leaving::delete)
        .gives_nothing()
        .on(route::USERS_ACTIVATE, users::leaving::activate)
        .gives::<User>(&[200])
        .on(route::USERS_DEACTIVATE, users::leaving::deactivate)
        .gives::<Closing<User>>(&[200])
        .on(route::USERS_FACTOR, users::remove_factor)
        .gives_nothing()
        .on(route::USERS_IDENTITIES_LIST, users::identities)
        .gives::<Identities>(&[200])
        .on(route::USERS_IDENTITIES, users::unlink)
        .gives_nothing()
        .on(route::USERS_SESSIONS_LIST, users::sessions)
        .gives::<Page<Session>>(&[200])
        .on(route::USERS_END_SESSION, users::end_session)
        .gives_nothing()
        .on(route::USERS_END_SESSIONS, users::end_sessions)
        .gives_nothing()
        .on(route::TENANT, settings::get)
        .gives::<store::tenant::Tenant>(&[200])
        .on(route::TENANT_PATCH, settings::patch)
        .gives::<store::tenant::Tenant>(&[200])
        .on(route::WAYS, settings::ways)
        .gives::<settings::Ways>(&[200])
        .on(route::USER_INVITE, users::joining::invite)
        .gives::<service::link::Link>(&[200])
        .gives_no_body_too(&[204])
        .on(route::USER_RESET_LINK, users::joining::reset)
        .gives::<service::link::Link>(&[200])
        .gives_no_body_too(&[204])
        .on(route::USAGE, usage::get)
        .gives::<usage::Everything>(&[200])
        .on(route::AUDIT_LIST, audit::list)
        .gives::<Page<Entry>>(&[200])
        .on(route::AUDIT_EXPORT, audit::export)
        .gives_text("application/x-ndjson, text/csv")
        .on(route::AUDIT_VERIFY, audit::verify)
        .gives::<Report>(&[200])
        .on(route::SCOPES, scopes::all)
        .gives::<scopes::All>(&[200])
        .on(route::SCOPES_CUSTOM, scopes::list)
        .gives::<scopes::Custom>(&[200])
        .on(route::SCOPES_DEFINE, scopes::define)
        .gives::<CustomScope>(&[201])
        .on(route::RESOURCES_LIST, resources::list)
        .gives::<Page<Resource>>(&[200])
        .on(route::RESOURCES_GET, resources::get)
        .gives::<Resource>(&[200])
        .on(route::RESOURCES_CREATE, resources::create)
        .gives::<Resource>(&[201])
        .on(route::RESOURCES_PATCH, resources::patch)
        .gives::<Resource>(&[200])
        .on(route::RESOURCES_DELETE, resources::delete)
        .gives_nothing()
        .on(route::GUIDES_LIST, guides::list)
        .gives::<Page<Listed>>(&[200])
        .on(route::GUIDES_GET, guides::get)
        .gives::<Guide>(&[200])
        .on(route::GUIDES_PROMPT, guides::prompt)
        .gives::<guides::Prompt>(&[200])
        .on(route::GUIDES_PUT, guides::put)
        .gives::<guides::Source>(&[200])
        .on(route::GUIDES_DELETE, guides::delete)
        .gives_nothing()
        .on(route::SCOPES_REMOVE, scopes::remove)
        .gives_nothing()
}

/// The component's routes.
pub fn router() -> Router {
    routes().build()
}

service::tests_of_routes!(Tenant);
