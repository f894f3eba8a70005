use common::route::{self, Group};
use service::router::{Router, Routes};
use store::{agent::secret::SecretRecord, key::Key, page::Page};

use crate::{enrolment, hooks, keys, secrets, token};

fn routes() -> Routes {
    Routes::new(Group::Keys)
        .on(route::TOKEN_ISSUE, token::issue)
        .gives::<token::Issued>(&[200])
        .on(route::TOKEN_REVOKE, token::revoke)
        .gives_nothing()
        .on(route::ENROLMENT_CREATE, enrolment::create)
        .gives::<service::enrolment::Made>(&[201])
        .on(route::ENROLMENT_REVOKE, enrolment::revoke)
        .gives_nothing()
        .on(route::ENROLMENT_BULK, enrolment::create_many)
        .gives::<enrolment::Results>(&[200, 207])
        .on(route::ENROL, enrolment::enrol)
        .gives::<enrolment::Enrolled<'static>>(&[200])
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
        .gives::<hooks::Taken<'static>>(&[202, 200])
        .gives_no_body_too(&[200])
        .on(route::SECRETS_LIST, secrets::list)
        .gives::<secrets::All>(&[200])
        .on(route::SECRETS_SET, secrets::set_several)
        .gives::<secrets::All>(&[200])
        .on(route::SECRETS_GET, secrets::get)
        .gives::<SecretRecord>(&[200])
        .on(route::SECRETS_PUT, secrets::set)
        .gives::<secrets::Set>(&[200])
        .on(route::SECRETS_DELETE, secrets::delete)
        .gives_nothing()
        .on(route::SECRETS_VALUES, secrets::values)
        .gives::<secrets::Shown>(&[200])
        .gives_text("text/plain")
}

/// The component's routes.
pub fn router() -> Router {
    routes().build()
}

service::tests_of_routes!(Keys);
