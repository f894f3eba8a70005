use common::route::{self, Group};
use service::router::{Router, Routes};

use crate::{
    access, again, agent, agents, all_tokens, archived, assets, audit, authorize, clients, custom_scopes, device,
    guides, home, install, leaks, links, login, notifications, outbox, presets, providers, receipt, resources,
    security, setup, tenant, tokens, users, webhooks,
};

fn routes() -> Routes {
    Routes::new(Group::Web)
        .on_open(route::HOME, home::home)
        .on_open(route::WEB_ASSET, assets::asset)
        .on_open(route::WEB_LOGIN, login::form)
        .on_open(route::WEB_SIGN_IN, login::sign_in)
        .on_open(route::WEB_LOGIN_FACTOR, login::factor_form)
        .on_open(route::WEB_SIGN_IN_FACTOR, login::sign_in_by_code)
        .on_open(route::WEB_AGAIN, again::show)
        .on_open(route::WEB_LINK_ASK, links::ask_link)
        .on_open(route::WEB_LINK, links::link)
        .on_open(route::WEB_LINK_SIGN_IN, links::sign_in)
        .on_open(route::WEB_FORGOT, links::forgot)
        .on_open(route::WEB_FORGOT_ASK, links::ask_reset)
        .on_open(route::WEB_RESET, links::reset)
        .on_open(route::WEB_RESET_SET, links::set_password)
        .on_open(route::WEB_LEAKS, leaks::form)
        .on_open(route::WEB_LEAK, leaks::report)
        .on_open(route::WEB_INVITE, links::invite)
        .on_open(route::WEB_INVITE_ACCEPT, links::accept)
        .on_open(route::WEB_OIDC_LOGIN, providers::sign_in)
        .on_open(route::WEB_OIDC_CALLBACK, providers::come_back)
        .on_open(route::WEB_LOGOUT, login::sign_out)
        .on_open(route::WEB_SETUP, setup::form)
        .on_open(route::WEB_SET_UP, setup::set_up)
        .on_open(route::WEB_PROFILE, security::profile)
        .on_open(route::WEB_CHANGE_PASSWORD, security::profile)
        .on_open(route::WEB_MAILS, security::choose_mails)
        .on_open(route::WEB_PASSWORD, security::change_password)
        .on_open(route::WEB_SECURITY, security::get)
        .on_open(route::WEB_ADDRESS, security::address)
        .on_open(route::WEB_SECURITY_ACT, security::act)
        .on_open(route::WEB_IDENTITY_ACT, providers::act)
        .on_open(route::WEB_AGENTS, agents::list)
        .on_open(route::WEB_AGENT, agent::overview)
        .on_open(route::WEB_AGENT_TAB, agent::tab)
        .on_open(route::WEB_AGENT_ACT, agent::act)
        .on_open(route::WEB_ARCHIVED, archived::list)
        .on_open(route::WEB_ARCHIVED_ONE, archived::confirm_purge)
        .on_open(route::WEB_ARCHIVED_ACT, archived::act)
        .on_open(route::WEB_INSTALL, install::show)
        .on_open(route::WEB_SET_UP_AGENT, install::set_up)
        .on_open(route::WEB_REGISTER, agents::form)
        .on_open(route::WEB_REGISTERED, agents::register)
        .on_open(route::WEB_STOP_ALL, agents::confirm_stop_all)
        .on_open(route::WEB_STOPPED_ALL, agents::stop_all)
        .on_open(route::WEB_STARTED_ALL, agents::start_all)
        .on_open(route::WEB_ACCESS, access::list)
        .on_open(route::WEB_ACCESS_ONE, access::one)
        .on_open(route::WEB_ACCESS_ACT, access::act)
        .on_open(route::WEB_TOKENS, tokens::list)
        .on_open(route::WEB_TOKEN_CREATE, tokens::create)
        .on_open(route::WEB_TOKEN_ACT, tokens::act)
        .on_open(route::WEB_SESSION_ACT, security::end_session)
        .on_open(route::WEB_AUTHORIZE, authorize::show)
        .on_open(route::WEB_AUTHORIZE_ACT, authorize::act)
        .on_open(route::WEB_DEVICE, device::show)
        .on_open(route::WEB_DEVICE_ACT, device::act)
        .on_open(route::WEB_NOTIFICATIONS, notifications::list)
        .on_open(route::WEB_NOTIFICATION_ACT, notifications::act)
        .on_open(route::WEB_GUIDES, guides::list)
        .on_open(route::WEB_GUIDE, guides::one)
        .on_open(route::WEB_USERS, users::list)
        .on_open(route::WEB_USER_CREATE, users::create)
        .on_open(route::WEB_USER, users::one)
        .on_open(route::WEB_USER_ACT, users::act)
        .on_open(route::WEB_TENANT, tenant::form)
        .on_open(route::WEB_TENANT_CHANGE, tenant::change)
        .on_open(route::WEB_WEBHOOKS, webhooks::list)
        .on_open(route::WEB_WEBHOOK_CREATE, webhooks::create)
        .on_open(route::WEB_WEBHOOK, webhooks::one)
        .on_open(route::WEB_WEBHOOK_ACT, webhooks::act)
        .on_open(route::WEB_OUTBOX, outbox::list)
        .on_open(route::WEB_OUTBOX_ACT, outbox::act)
        .on_open(route::WEB_CLIENTS, clients::list)
        .on_open(route::WEB_CLIENT_CREATE, clients::create)
        .on_open(route::WEB_CLIENT, clients::one)
        .on_open(route::WEB_CLIENT_ACT, clients::act)
        .on_open(route::WEB_PRESETS, presets::list)
        .on_open(route::WEB_PRESET_CREATE, presets::create)
        .on_open(route::WEB_PRESET, presets::one)
        .on_open(route::WEB_PRESET_ACT, presets::act)
        .on_open(route::WEB_SCOPES, custom_scopes::list)
        .on_open(route::WEB_SCOPE_DEFINE, custom_scopes::define)
        .on_open(route::WEB_SCOPE_ACT, custom_scopes::act)
        .on_open(route::WEB_RESOURCES, resources::list)
        .on_open(route::WEB_RESOURCE_CREATE, resources::create)
        .on_open(route::WEB_RESOURCE, resources::one)
        .on_open(route::WEB_RESOURCE_ACT, resources::act)
        .on_open(route::WEB_RECEIPT, receipt::download)
        .on_open(route::WEB_ALL_TOKENS, all_tokens::list)
        .on_open(route::WEB_ALL_TOKENS_ACT, all_tokens::revoke)
        .on_open(route::WEB_AUDIT, audit::list)
        .on_open(route::WEB_AUDIT_EXPORT, audit::export)
}

/// The component's routes.
pub fn router() -> Router {
    routes().build().leading()
}

#[cfg(test)]
mod forms;
#[cfg(test)]
mod tests {
    #[test]
    fn every_row_of_the_table_has_a_handler() {
        assert_eq!(super::routes().missing(), Vec::<&str>::new());
    }
}
