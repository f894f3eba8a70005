use common::route::{self, Group};
use service::router::{Router, Routes};
use store::{outbox::Mail, page::Page};

use crate::{client_documents, key_sets, mail, probes, tick, webhooks};

fn routes() -> Routes {
    Routes::new(Group::Worker)
        .on(route::MAIL_TEST, mail::test)
        .gives::<mail::Queued>(&[202])
        .on(route::MAIL_OUTBOX, mail::list)
        .gives::<Page<Mail>>(&[200])
        .on(route::MAIL_RETRY, mail::retry)
        .gives::<Mail>(&[200])
        .on(route::PROBES_LIST, probes::list)
        .on(route::PROBES_CREATE, probes::create)
        .on(route::PROBES_RUN, probes::run)
        .on(route::PROBES_DELETE, probes::delete)
        .on(route::WEBHOOKS_LIST, webhooks::list)
        .on(route::WEBHOOKS_CREATE, webhooks::create)
        .on(route::WEBHOOKS_GET, webhooks::get)
        .on(route::WEBHOOKS_PATCH, webhooks::patch)
        .on(route::WEBHOOKS_DELETE, webhooks::delete)
        .on(route::WEBHOOKS_ROTATE, webhooks::rotate)
        .on(route::WEBHOOKS_TEST, webhooks::test)
        .on(route::DELIVERIES_LIST, webhooks::deliveries)
        .on(route::DELIVERY_RETRY, webhooks::retry)
        .on(route::CLIENT_DOCUMENT, client_documents::get)
        .gives::<client_documents::Shown>(&[200])
        .on(route::KEY_SETS, key_sets::fetch)
        .on(route::TICK, tick::tick)
}

/// The component's routes.
pub fn router() -> Router {
    routes().build()
}

service::tests_of_routes!(Worker);
