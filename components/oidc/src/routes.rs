use common::route::{self, Group};
use service::router::{Router, Routes};
use store::identity::Identities;

use crate::{finish, identities, providers, start};

fn routes() -> Routes {
    Routes::new(Group::Oidc)
        .on(route::OIDC_LIST, providers::list)
        .gives::<providers::All>(&[200])
        .on(route::OIDC_START, start::start)
        .gives::<start::Begun>(&[200])
        .on(route::OIDC_LINK, start::link)
        .gives::<start::Begun>(&[200])
        .on(route::OIDC_FINISH, finish::finish)
        .gives::<finish::Finished<'static>>(&[200])
        .on(route::IDENTITIES_LIST, identities::list)
        .gives::<Identities>(&[200])
        .on(route::IDENTITY_UNLINK, identities::unlink)
        .gives_nothing()
}

/// The component's routes.
pub fn router() -> Router {
    routes().build()
}

service::tests_of_routes!(Oidc);
