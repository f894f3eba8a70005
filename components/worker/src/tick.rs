//! `POST /internal/tick`: mail, webhooks, probes and housekeeping. Public, without a body, always 204. What waits to be sent,
//! mail, webhooks and probes, is looked for at each call and has leases of its own. A lease in the database lets all else run once a second,
//! however many callers there are and however often they call.

use common::error::ApiError;
use service::{
    app::{App, log},
    response::{Response, no_content},
};
use store::{
    audit::{chain, retention},
    closure,
    db::{DbError, schema},
    housekeeping,
    lease::{self, Lease},
};

use crate::{approvals, deliver, deployments, expiring, mail, probes, quotas, reseal, silence};

/// Closures that one tick looks at.
const MOST_CLOSURES: i64 = 200;

/// The handler. A failure is logged and tried again by the next tick; the caller could do nothing about it.
pub(crate) async fn tick(app: App) -> Result<Response, ApiError> {
    if let Err(error) = run(&app).await {
        log(app.request_id(), "tick", &error.to_string());
    }
    Ok(no_content())
}

async fn run(app: &App) -> Result<(), DbError> {
    // Before the lease, which the last tick of the same second may have: what was queued since is sent now.
    mail::send_soon(app).await;
    deliver::send_soon(app).await;
    let prober = app.clone();
    app.after_response(async move {
        // What they have found is sent at once, too.
        if probes::run_due(&prober).await? { deliver::send_due(&prober).await } else { Ok(()) }
    })
    .await;
    let mut taken = lease::take_tick(app.db(), app.now()).await?;
    if taken == Lease::AClockWasAhead {
        // If it fails, the lease stays as it is, and the next tick does it.
        housekeeping::forget_the_future(app.db(), app.now()).await?;
        log(app.request_id(), "tick", "a clock was ahead of this one: what it has put off is due now");
        taken = lease::take_tick(app.db(), app.now()).await?;
    }
    match taken {
        Lease::Taken => {}
        Lease::AfterAGap => log(
            app.request_id(),
            "tick",
            "there was no tick for more than a day, or this clock is ahead: what is old is deleted in an hour",
        ),
        Lease::Anothers | Lease::AClockWasAhead => return Ok(()),
    }
    // Each step by itself: one that fails holds up none of the others, and least of all the seal.
    let step = |what: &str, outcome: Result<(), DbError>| {
        if let Err(error) = outcome {
            log(app.request_id(), "tick", &format!("{what}: {error}"));
        }
    };
    step("closures", close_open(app).await);
    step("secrets to be sealed again", reseal::run(app).await);
    let mut was_told = false;
    for (what, told) in [
        ("silent agents", silence::tell(app).await),
        ("credentials that end soon", expiring::tell(app).await),
        ("approvals that ended", approvals::tell_ended(app).await),
        ("deployments", deployments::end_late(app).await),
    ] {
        match told {
            Ok(told) => was_told |= told,
            Err(error) => step(what, Err(error)),
        }
    }
    // What was told just now does not wait for the next tick, which may be far away.
    if was_told {
        mail::send_soon(app).await;
        deliver::send_soon(app).await;
    }
    let (quotas, days) = (&app.settings().quotas, app.settings().retention_days);
    match lease::may_forget(app.db(), app.now()).await {
        Ok(true) => {
            step("what is purged", housekeeping::purge(app.db(), quotas, days, app.now()).await);
            purge_trail(app).await;
        }
        Ok(false) => {}
        Err(error) => step("what is purged", Err(error)),
    }
    step("a database that is nearly full", tell_when_nearly_full(app).await);
    step("quotas that are nearly used up", quotas::tell(app).await);
    step("refusals", housekeeping::write_refusals(app.db(), app.chance(), app.now()).await);
    let schema = schema::look(app.db()).await?;
    match schema::is_news(app.db(), &schema).await {
        Ok(false) => {}
        Ok(true) => log(app.request_id(), "tick", &schema.to_string()),
        Err(error) => log(app.request_id(), "tick", &format!("{schema}; {error}")),
    }
    // The rows that are there are sealed even when the database is full and takes no further ones, and whatever failed above.
    if let Some(head) = chain::run(app.db(), &app.settings().audit_keys, &schema, app.now()).await? {
        log(app.request_id(), "tick", &format!("audit head {head}"));
    }
    Ok(())
}

/// Closes the closures that no guard can hold open any more.
async fn close_open(app: &App) -> Result<(), DbError> {
    // The clock is read after they were found, and so after their transactions have committed.
    let due = closure::list_due(app.db(), MOST_CLOSURES, app.now()).await?;
    if due.is_empty() {
        return Ok(());
    }
    let ids: Vec<&str> = due.iter().map(String::as_str).collect();
    closure::close(app.db(), &ids, app.clock().now()).await
}

/// Deletes audit rows that are older than the operator keeps them. A failure is logged: the rest of the tick goes on.
async fn purge_trail(app: &App) {
    let settings = app.settings();
    let Some(days) = settings.audit_retention_days else { return };
    match retention::run(app.db(), &settings.audit_keys, days, app.now()).await {
        Ok(None) => {}
        Ok(Some(made)) => log(
            app.request_id(),
            "tick",
            &format!("audit rows up to {} are deleted: {} in all", made.to_seq, made.rows),
        ),
        Err(error) => log(app.request_id(), "tick", &format!("audit retention: {error}")),
    }
}

/// Tells the operator once, in the log and as a notification, that little room is left; and again when that comes about again.
async fn tell_when_nearly_full(app: &App) -> Result<(), DbError> {
    let (used, Some(bound)) = app.db().size().await? else { return Ok(()) };
    let mib = |bytes: i64| bytes / (1024 * 1024);
    let (used_mib, bound_mib) = (mib(used), mib(bound));
    let body = format!(
        "{used_mib} of the {bound_mib} MiB that database_max_mib allows are in use. When they are full, requests that store something get 503 storage_full. Raise the variable database_max_mib, or look with GET /api/usage who stores the most."
    );
    let told = ("The database is nearly full", body.as_str());
    if housekeeping::tell_nearly_full(app.db(), (used, bound), app.chance(), told, app.now()).await? {
        let words = format!("the database is nearly full: {used_mib} of {bound_mib} MiB are in use");
        log(app.request_id(), "tick", &words);
    }
    Ok(())
}

#[cfg(test)]
pub(crate) mod tests;
