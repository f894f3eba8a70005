use common::route::{self, Group};
use service::router::{Router, Routes};
use store::{key::Key, page::Page};

use crate::{enrolment, hooks, keys, secrets, token};

fn routes() -> Routes {
    Routes::new(Group::Keys)
        .on(route::TOKEN_ISSUE, token::issue)
        .gives::<token::Issued>(&[200])
        .on(route::TOKEN_REVOKE, token::revoke)
        .gives_nothing()
        .on(route::ENROLMENT_CREATE, enrolment::create)
        .on(route::ENROLMENT_REVOKE, enrolment::revoke)
        .on(route::ENROLMENT_BULK, enrolment::create_many)
        .on(route::ENROL, enrolment::enrol)
        .on(route::KEYS_LIST, keys::list)
        .gives::<Page<Key>>(&[200])
        .on(route::KEYS_CREATE, keys::create)
        .gives::<keys::Shown>(&[201])
        .on(route::KEYS_GET, keys::get)
        .gives::<Key>(&[200])
        .on(route::KEYS_DELETE, keys::delete)
        .gives_nothing()
        .on(route::KEYS_ROTATE, keys::rotate)
        .gives::<keys::Shown>(&[201])
        .on(route::HOOK, hooks::receive)
        .on(route::SECRETS_LIST, secrets::list)
        .on(route::SECRETS_SET, secrets::set_several)
        .on(route::SECRETS_GET, secrets::get)
        .on(route::SECRETS_PUT, secrets::set)
        .on(route::SECRETS_DELETE, secrets::delete)
        .on(route::SECRETS_VALUES, secrets::values)
}

/// The component's routes.
pub fn router() -> Router {
    routes().build()
}

service::tests_of_routes!(Keys);
