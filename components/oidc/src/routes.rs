use common::route::{self, Group};
use service::router::{Router, Routes};

use crate::{finish, identities, providers, start};

fn routes() -> Routes {
    Routes::new(Group::Oidc)
        .on(route::OIDC_LIST, providers::list)
        .on(route::OIDC_START, start::start)
        .on(route::OIDC_LINK, start::link)
        .on(route::OIDC_FINISH, finish::finish)
        .on(route::IDENTITIES_LIST, identities::list)
        .on(route::IDENTITY_UNLINK, identities::unlink)
}

/// The component's routes.
pub fn router() -> Router {
    routes().build()
}

service::tests_of_routes!(Oidc);
