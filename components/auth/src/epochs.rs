//! `GET /auth/epochs`: what has ended or was narrowed, for guards: services that remember for some seconds what they were told of a
//! credential.
//!
//! 1. A guard names itself and its lease. For so long it may go on by what it has heard; then it must refuse, or ask for each request.
//! 2. A guard counts its lease from the moment at which it sent the request, plus what the header says that the answer was held back.
//!    The server counts it from the moment before it looks: so it never ends later there than here.
//!    It writes down a tenth more than it lends, so that a guard that asks again within that time costs no write.
//! 3. With `after` a guard says that it has taken in everything up to this number. That it was answered says nothing.

use common::{
    error::{ApiError, Code},
    route::Route,
    text::within,
};
use http::{HeaderName, HeaderValue, StatusCode, header};
use schemars::JsonSchema;
use serde::Serialize;
use service::{
    app::App,
    caller::Caller,
    extract::Query,
    form, guard,
    response::{Response, empty, json},
    watch::{LOOKS, Watch},
};
use store::{
    epoch::{self, Epoch},
    guard::{Guard, Lent},
};

/// The lease of a guard that names none, seconds.
const LEASE: i64 = 10;
/// The longest lease, seconds.
const MOST_LEASE: i64 = 60;
/// Numbers in one answer at most.
const MOST: i64 = 1000;
/// The longest name of a guard, bytes.
const MOST_NAME: usize = 64;

/// How long the answer was held back, milliseconds.
const HELD: HeaderName = HeaderName::from_static("x-accredit-held-ms");
/// The tenant whose epochs these are, as `/auth/verify` names it.
const TENANT: HeaderName = HeaderName::from_static("x-accredit-tenant");

form! {
    pub(crate) struct Read {
        after: Option<i64>,
        wait: Option<i64>,
        limit: Option<i64>,
        guard: Option<String>,
        lease: Option<i64>,
    }
}

/// What has ended behind a number.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Epochs")]
pub(crate) struct Page {
    /// The last number that this answer is about: `after` of the next request, once it is taken in.
    epoch: i64,
    /// What came behind `after`, the oldest first.
    items: Vec<Epoch>,
    /// Whether there is more: ask again at once.
    more: bool,
}

/// The handler.
pub(crate) async fn read(
    app: App,
    route: &'static Route,
    caller: Caller,
    Query(query): Query<Read>,
) -> Result<Response, ApiError> {
    let limit = within("limit", query.limit.unwrap_or(MOST), 1..=MOST)?;
    let after = query.after.map(|after| within("after", after, 0..=i64::MAX)).transpose()?;
    let lease = within("lease", query.lease.unwrap_or(LEASE), 1..=MOST_LEASE)?;
    if query.lease.is_some() && query.guard.is_none() {
        return Err(ApiError::field("guard", "must be the name of the guard, since lease is sent"));
    }
    let is_name =
        |name: &String| !name.is_empty() && name.len() <= MOST_NAME && name.bytes().all(|byte| byte.is_ascii_graphic());
    if query.guard.as_ref().is_some_and(|name| !is_name(name)) {
        return Err(ApiError::field("guard", format!("must be 1 to {MOST_NAME} visible ASCII characters")));
    }
    // A guard that waits for longer than its lease would have none while it waits.
    let most_looks = if query.guard.is_some() { lease * LOOKS / 2 } else { i64::MAX };
    let mut watch = Watch::begin(&app, &caller, query.wait).await?.of_guard().at_most(most_looks);
    let tenant = caller.tenant_id();
    let mut now = app.now();
    if let (Some(after), false) = (after, watch.is_over()) {
        while !watch.is_over() && epoch::last(app.db(), tenant).await? == after {
            watch.wait(&app).await?;
        }
        // It may have been long: what is answered is what the credential may still be told.
        now = app.clock().now();
        guard::admit(&app, &caller.reload(app.db(), now).await?, route)?;
    }
    let asks = query.guard.as_deref().map(|name| Guard { tenant, credential: caller.credential_id(), name, lease });
    // First the lease, then the look: whatever is not seen by this look sees the lease.
    let mut last = None;
    if let Some(guard) = asks {
        let (is_lent, heard) = match after {
            Some(after) => {
                let (number, is_lent) = guard.look(app.db(), after, now).await?;
                last = Some(number).filter(|_| is_lent);
                (is_lent, after)
            }
            // It begins, and holds nothing yet.
            None => (false, epoch::last(app.db(), tenant).await?),
        };
        if !is_lent {
            match guard.lend(app.db(), heard, now).await? {
                Lent::Lent => {}
                Lent::TooMany => return Err(Code::TooManyGuards.into()),
                Lent::Taken => return Err(Code::GuardNameTaken.into()),
            }
        }
    }
    let page = match after {
        None => Page { epoch: epoch::last(app.db(), tenant).await?, items: Vec::new(), more: false },
        Some(after) if last == Some(after) => Page { epoch: after, items: Vec::new(), more: false },
        Some(after) => {
            let Some(items) = epoch::after(app.db(), tenant, after, limit).await? else {
                return Err(ApiError::from(Code::EpochsForgotten).extra("epoch", epoch::last(app.db(), tenant).await?));
            };
            let last = items.last().map_or(after, |item| item.epoch);
            let more = i64::try_from(items.len()).is_ok_and(|number| number == limit);
            Page { epoch: last, items, more }
        }
    };
    let tag = format!("\"{}\"", page.epoch);
    let is_known = page.items.is_empty() && app.headers().first("if-none-match").is_some_and(|sent| sent == tag);
    let mut response = if is_known { empty(StatusCode::NOT_MODIFIED) } else { json(StatusCode::OK, &page)? };
    let held = now.millis().saturating_sub(app.now().millis()).max(0);
    response.headers_mut().insert(HELD, HeaderValue::from(held));
    if let Ok(slug) = HeaderValue::from_str(caller.tenant()) {
        response.headers_mut().insert(TENANT, slug);
    }
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    Ok(response)
}

#[cfg(test)]
mod tests;
