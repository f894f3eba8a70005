use common::route::{self, Group};
use service::router::{Router, Routes};
use store::{delivery::Delivery, outbox::Mail, page::Page, webhook::Webhook};

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
        .gives::<probes::All>(&[200])
        .on(route::PROBES_CREATE, probes::create)
        .gives::<probes::Shown>(&[201])
        .on(route::PROBES_RUN, probes::run)
        .gives::<probes::Shown>(&[200])
        .on(route::PROBES_DELETE, probes::delete)
        .gives_nothing()
        .on(route::WEBHOOKS_LIST, webhooks::list)
        .gives::<Page<Webhook>>(&[200])
        .on(route::WEBHOOKS_CREATE, webhooks::create)
        .gives::<webhooks::Shown<'static>>(&[201])
        .on(route::WEBHOOKS_GET, webhooks::get)
        .gives::<Webhook>(&[200])
        .on(route::WEBHOOKS_PATCH, webhooks::patch)
        .gives::<Webhook>(&[200])
        .on(route::WEBHOOKS_DELETE, webhooks::delete)
        .gives_nothing()
        .on(route::WEBHOOKS_ROTATE, webhooks::rotate)
        .gives::<webhooks::Shown<'static>>(&[201])
        .on(route::WEBHOOKS_TEST, webhooks::test)
        .gives::<webhooks::Queued>(&[202])
        .on(route::DELIVERIES_LIST, webhooks::deliveries)
        .gives::<Page<Delivery>>(&[200])
        .on(route::DELIVERY_GET, webhooks::delivery)
        .gives::<webhooks::Sent>(&[200])
        .on(route::DELIVERY_RETRY, webhooks::retry)
        .gives::<Delivery>(&[200])
        .on(route::CLIENT_DOCUMENT, client_documents::get)
        .gives::<client_documents::Shown>(&[200])
        .on(route::KEY_SETS, key_sets::fetch)
        .gives_nothing()
        .on(route::TICK, tick::tick)
        .gives_nothing()
}

/// The component's routes.
pub fn router() -> Router {
    routes().build()
}

service::tests_of_routes!(Worker);
