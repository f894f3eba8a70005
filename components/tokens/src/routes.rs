use common::route::{self, Group};
use service::router::{Router, Routes};
use store::{
    credential::{Session, list::Token},
    federated_credential::FederatedCredential,
    oauth_client::Client,
    oauth_grant::Grant,
    page::Page,
};

use crate::{
    admin_tokens, leaks,
    oauth::{apps, authorize, clients, device, federated, jwks, metadata, proofs, registration, revoke, token},
    receipt, sessions, tokens,
};

fn routes() -> Routes {
    Routes::new(Group::Tokens)
        .on(route::LOGOUT, sessions::end_own)
        .gives_nothing()
        .on(route::SESSIONS_LIST, sessions::list)
        .gives::<Page<Session>>(&[200])
        .on(route::SESSIONS_END_OTHERS, sessions::end_others)
        .gives_nothing()
        .on(route::SESSION_END, sessions::end)
        .gives_nothing()
        .on(route::OWN_END, sessions::end_own)
        .gives_nothing()
        .on(route::PATS_CREATE, tokens::create)
        .gives::<tokens::Shown>(&[201])
        .on(route::PATS_LIST, tokens::list)
        .gives::<Page<Token>>(&[200])
        .on(route::PATS_GET, tokens::get)
        .gives::<Token>(&[200])
        .on(route::PATS_ROTATE, tokens::rotate)
        .gives::<tokens::Shown>(&[201])
        .on(route::PATS_REVOKE, tokens::revoke)
        .gives_nothing()
        .on(route::TOKENS_LIST, admin_tokens::list)
        .gives::<Page<admin_tokens::Owned>>(&[200])
        .on(route::TOKENS_REVOKE, admin_tokens::revoke)
        .gives_nothing()
        .on(route::DEVICE_CODE, device::ask)
        .gives::<device::Codes<'static>>(&[200])
        .on(route::DEVICE_TOKEN, device::redeem)
        .gives::<device::Given<'static>>(&[200])
        .on(route::DEVICE_GET, device::get)
        .gives::<device::Shown<'static>>(&[200])
        .on(route::DEVICE_APPROVE, device::approve)
        .gives::<device::Decided<'static>>(&[200])
        .on(route::DEVICE_DENY, device::deny)
        .gives::<device::Decided<'static>>(&[200])
        .on(route::CLOSURE_RECEIPT, receipt::get)
        .gives_text("application/jwt")
        .on(route::OAUTH_REVOKE, revoke::revoke)
        .gives_no_body(&[200])
        .on(route::OAUTH_REGISTER, registration::register)
        .gives::<registration::Shown<'static>>(&[201])
        .on(route::APPS_LIST, apps::list)
        .gives::<Page<Grant>>(&[200])
        .on(route::APPS_END, apps::end)
        .gives_nothing()
        .on(route::CLIENTS_LIST, clients::list)
        .gives::<Page<Client>>(&[200])
        .on(route::CLIENTS_CREATE, clients::create)
        .gives::<clients::Shown>(&[201])
        .on(route::CLIENTS_GET, clients::get)
        .gives::<Client>(&[200])
        .on(route::CLIENTS_PATCH, clients::patch)
        .gives::<Client>(&[200])
        .on(route::CLIENTS_DELETE, clients::delete)
        .gives_nothing()
        .on(route::CLIENTS_ROTATE, clients::rotate)
        .gives::<clients::Shown>(&[201])
        .on(route::AUTHORIZATION, authorize::get)
        .gives::<authorize::Shown>(&[200])
        .on(route::AUTHORIZE, authorize::allow)
        .gives::<authorize::Decided>(&[200])
        .on(route::AUTHORIZE_DENY, authorize::deny)
        .gives::<authorize::Decided>(&[200])
        .on(route::FEDERATED_CREDENTIALS_LIST, federated::list)
        .gives::<Page<FederatedCredential>>(&[200])
        .on(route::FEDERATED_CREDENTIALS_CREATE, federated::create)
        .gives::<FederatedCredential>(&[201])
        .on(route::FEDERATED_CREDENTIALS_GET, federated::get)
        .gives::<FederatedCredential>(&[200])
        .on(route::FEDERATED_CREDENTIALS_DELETE, federated::delete)
        .gives_nothing()
        .on(route::LEAKS, leaks::report)
        .gives_nothing()
        .on(route::PROOFS, proofs::verify)
        .gives_nothing()
        .on(route::OAUTH_TOKEN, token::token)
        .gives::<token::Granted<'static>>(&[200])
        .on(route::OAUTH_METADATA, metadata::get)
        .gives::<metadata::Metadata>(&[200])
        .on(route::OAUTH_METADATA_ALIAS, metadata::get)
        .gives::<metadata::Metadata>(&[200])
        .on(route::OAUTH_JWKS, jwks::get)
        .gives::<jwks::KeySet>(&[200])
        .gives_text("application/jwk-set+json")
}

/// The component's routes.
pub fn router() -> Router {
    routes().build()
}

service::tests_of_routes!(Tokens);
