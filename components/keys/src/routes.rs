use common::route::{self, Group};
use service::router::{Router, Routes};

use crate::{keys, token};

fn routes() -> Routes {
    Routes::new(Group::Keys)
        .on(route::TOKEN_ISSUE, token::issue)
        .on(route::TOKEN_REVOKE, token::revoke)
        .on(route::KEYS_LIST, keys::list)
        .on(route::KEYS_CREATE, keys::create)
        .on(route::KEYS_GET, keys::get)
        .on(route::KEYS_DELETE, keys::delete)
        .on(route::KEYS_ROTATE, keys::rotate)
}

/// The component's routes.
pub fn router() -> Router {
    routes().build()
}

service::tests_of_routes!(Keys);
