use common::{
    route::{self, Group},
    router::{Router, Routes},
};

use crate::{admin, introspect, leak, pat};

fn routes() -> Routes {
    Routes::new(Group::Tokens)
        .on(route::PATS_CREATE, pat::create)
        .on(route::PATS_LIST, pat::list)
        .on(route::PATS_GET, pat::get)
        .on(route::PATS_ROTATE, pat::rotate)
        .on(route::PATS_REVOKE, pat::revoke)
        .on(route::TOKENS_LIST, admin::list)
        .on(route::TOKENS_REVOKE, admin::revoke)
        .on(route::INTROSPECT, introspect::introspect)
        .on(route::LEAKS, leak::report)
}

/// The component's routes.
pub fn router() -> Router {
    routes().build()
}

common::tests_of_routes!(Tokens);
