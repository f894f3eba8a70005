//! `GET /api/closures/{id}?wait=`: what a change has ended, and since when nobody accepts it.

use common::{error::ApiError, route::Route};
use http::StatusCode;
use service::{
    app::App,
    caller::Caller,
    extract::{Path, Query},
    guard, object,
    response::{Response, json},
    watch::{Follow, Watch},
};
use store::closure::Status;

/// The handler. With `wait` it answers as soon as the closure is closed, or when that many seconds are over.
pub(crate) async fn get(
    app: App,
    route: &'static Route,
    mut caller: Caller,
    Path(id): Path,
    Query(query): Query<Follow>,
) -> Result<Response, ApiError> {
    let mut watch = Watch::begin(&app, &caller, query.wait).await?;
    loop {
        let mut stored = object::closure(app.db(), &caller, &id).await?;
        // The clock is read after the row was seen, and so after its transaction has committed.
        let closure = stored.settled(app.db(), app.clock().now()).await?;
        if closure.status == Status::Closed || watch.is_over() {
            return json(StatusCode::OK, &closure);
        }
        // A guard that hears of it writes that; the lease of one that does not ends by itself.
        watch.wait_until(&app, closure.latest).await?;
        caller = caller.reload(app.db(), app.clock().now()).await?;
        guard::admit(&app, &caller, route)?;
    }
}

#[cfg(test)]
mod tests;
