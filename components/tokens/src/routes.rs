use common::route::{self, Group};
use service::router::{Router, Routes};
use store::{
    credential::{Session, list::Token},
    page::Page,
};

use crate::{
    admin_tokens, device, leaks,
    oauth::{jwks, metadata, token},
    sessions, tokens,
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
        .on(route::DEVICE_TOKEN, device::redeem)
        .on(route::DEVICE_GET, device::get)
        .on(route::DEVICE_APPROVE, device::approve)
        .on(route::DEVICE_DENY, device::deny)
        .on(route::LEAKS, leaks::report)
        .gives_nothing()
        .on(route::OAUTH_TOKEN, token::token)
        .on(route::OAUTH_METADATA, metadata::get)
        .gives::<metadata::Metadata>(&[200])
        .on(route::OAUTH_METADATA_ALIAS, metadata::get)
        .gives::<metadata::Metadata>(&[200])
        .on(route::OAUTH_JWKS, jwks::get)
}

/// The component's routes.
pub fn router() -> Router {
    routes().build()
}

service::tests_of_routes!(Tokens);
