//! Mail that a change leaves behind: it is queued in the change's transaction. The component that sends it, as it does webhooks and probes,
//! is called once the answer is decided.

use std::{future::Future, pin::Pin};

use common::{
    error::ApiError,
    id::{TenantId, UserId},
};
use serde_json::{Value as Json, json};
use store::{
    db::{DbError, Tx},
    outbox::{self, Kind},
    user,
};

use crate::app::App;

/// Queues a mail to a person of the tenant, in the transaction of what it tells of, and has it sent after the answer. Its data is an
/// object without secrets; the address of the request goes with it. `false`: this server sends no mail, the account is not active, or the
/// person does not want mails of this kind.
pub async fn queue(
    app: &App,
    tx: &Tx<'_>,
    (tenant, user): (&TenantId, &UserId),
    kind: Kind,
    data: Json,
) -> Result<bool, ApiError> {
    queue_to(app, tx, (tenant, user, None), kind, data).await
}

/// The same to another address than the one that the person has now.
pub async fn queue_to(
    app: &App,
    tx: &Tx<'_>,
    whose: (&TenantId, &UserId, Option<&str>),
    kind: Kind,
    mut data: Json,
) -> Result<bool, ApiError> {
    if let Some(members) = data.as_object_mut() {
        members.insert("address".to_owned(), json!(app.address()));
    }
    let is_queued = put(app, tx, whose, kind, &data).await?;
    if is_queued {
        hurry(app);
    }
    Ok(is_queued)
}

/// The same of what no request has caused, for the component that sends mail.
pub async fn put(
    app: &App,
    tx: &Tx<'_>,
    (tenant, user, address): (&TenantId, &UserId, Option<&str>),
    kind: Kind,
    data: &Json,
) -> Result<bool, DbError> {
    if !app.settings().has_mail() {
        return Ok(false);
    }
    if outbox::is_enough(tx, user, kind, app.now()).await? {
        return Ok(false);
    }
    let Some(person) = user::find(tx, tenant, user.as_str()).await?.filter(|person| person.active) else {
        return Ok(false);
    };
    let mail = outbox::New { tenant, user, recipient: address.unwrap_or(&person.email), kind, data };
    if Kind::CHOSEN.contains(&kind) {
        return outbox::offer(tx, &mail, app.chance(), app.now()).await;
    }
    outbox::queue(tx, &mail, app.chance(), app.now()).await?;
    Ok(true)
}

/// Has the worker called after the answer, since something waits to be sent. The tick finds it too: a call that fails costs only time.
pub fn hurry(app: &App) {
    app.mark_urgent(wake);
}

/// The same if a transaction leaves something behind for the worker. If it does not commit, the answer is a refusal, and nobody is called.
pub fn hurry_if_left(app: &App, tx: &Tx<'_>) {
    if tx.leaves_work() {
        hurry(app);
    }
}

/// The call. A component has the import for it only if it marks something as urgent.
fn wake(app: App) -> Pin<Box<dyn Future<Output = ()>>> {
    Box::pin(async move {
        #[cfg(target_family = "wasm")]
        {
            use std::{cell::Cell, time::Duration};

            thread_local! {
                /// Whether a call is about to be made, which finds what is left behind meanwhile too.
                static IS_SOON: Cell<bool> = const { Cell::new(false) };
            }
            /// How long one call waits for others.
            const GATHERED: Duration = Duration::from_millis(100);

            if IS_SOON.replace(true) {
                return;
            }
            crate::clock::sleep(GATHERED).await;
            IS_SOON.set(false);
            call_worker(&app).await;
        }
        // Natively there is no other component.
        drop(app);
    })
}

/// Calls the worker: for the worker itself, when a call of its own has done all that one call may do and more is left.
#[cfg_attr(not(target_family = "wasm"), expect(clippy::unused_async, reason = "natively there is no other component"))]
pub async fn call_worker(app: &App) {
    #[cfg(target_family = "wasm")]
    match spin_sdk::http::post("http://worker.spin.internal/internal/tick", "").await {
        Ok(answer) if answer.status().is_success() => {}
        Ok(answer) => crate::app::log(app.request_id(), "calling the worker", &answer.status().to_string()),
        Err(error) => crate::app::log(app.request_id(), "calling the worker", &format!("{error:?}")),
    }
    #[cfg(not(target_family = "wasm"))]
    let _ = app;
}
