//! The public keys of others. They are fetched by the one component that calls servers: this one writes down what it waits for, and calls
//! that one. A set counts for an hour. A token of a key that is not in it has the set fetched again, at most once a minute.

use std::time::Duration;

use common::{
    error::{ApiError, Code},
    route,
    url::check_outbound,
};
use serde_json::{Map, Value as Json, json};
use service::{
    app::{App, log},
    clock, inside,
};
use store::key_set::{self, AGAIN, KeySet, Keys, Source};

/// How often one that waits for a set which is being fetched for somebody else looks again, and how long it waits.
const LOOK: Duration = Duration::from_millis(250);
const LOOKS: usize = 40;
/// The most bytes of a set that is kept in a row of an admin.
const MOST_PASTED: usize = 16 * 1024;

/// Reads the fields `jwks` and `jwks_uri` of a form, of which one at most is sent.
pub(super) fn read(app: &App, jwks: Option<&Map<String, Json>>, uri: Option<&str>) -> Result<Option<Keys>, ApiError> {
    match (jwks, uri) {
        (None, None) => Ok(None),
        (Some(_), Some(_)) => Err(ApiError::field("jwks", "and jwks_uri cannot both be sent")),
        (Some(set), None) => Ok(Some(Keys::Pasted(pasted(&Json::Object(set.clone()))?))),
        (None, Some(uri)) => {
            check_outbound("jwks_uri", uri, &app.settings().outbound_hosts)?;
            Ok(Some(Keys::From(Source::Jwks(uri.to_owned()))))
        }
    }
}

/// Reads a set that an admin has pasted.
fn pasted(set: &Json) -> Result<Vec<Json>, ApiError> {
    let keys = jose::read(set).map_err(|why| ApiError::field("jwks", format!("cannot be used: {why}")))?;
    if !jose::are_distinct(&keys) {
        let problem = "cannot be used: of several keys of one kind each must have a kid of its own, so that an assertion can name its key";
        return Err(ApiError::field("jwks", problem));
    }
    if common::json::to_text(&json!(keys)).len() > MOST_PASTED {
        return Err(ApiError::field("jwks", "must be of at most 16 KiB"));
    }
    Ok(keys)
}

/// The keys of a source that are of use, among which `has` looks for the one that is needed.
pub(super) async fn keys(app: &App, source: &Source, has: impl Fn(&[Json]) -> bool) -> Result<Vec<Json>, ApiError> {
    let known = key_set::find(app.db(), source).await?;
    if let Some(keys) = fresh(app, known.as_ref())
        && has(&keys)
    {
        return Ok(keys);
    }
    key_set::want(app.db(), source, app.now()).await?;
    let mut known = key_set::find(app.db(), source).await?;
    let was_awaited = known.as_ref().is_some_and(|set| set.is_awaited);
    if was_awaited && call(app).await {
        for _ in 0..LOOKS {
            known = key_set::find(app.db(), source).await?;
            if known.as_ref().is_none_or(|set| !set.is_awaited) {
                break;
            }
            clock::sleep(LOOK).await;
        }
    }
    // Only a set that was fetched for this token says that its issuer has no such key: until then it may have a new one.
    let is_new = was_awaited && known.as_ref().is_some_and(|set| !set.is_awaited && set.failure.is_none());
    let keys = fresh(app, known.as_ref());
    let is_old = keys.is_some();
    keys.filter(|keys| is_new || has(keys)).ok_or_else(|| {
        let why = known.as_ref().and_then(|set| set.failure.as_deref());
        let detail = match why {
            None if is_old => {
                "The key set that verifies this token has no such key yet, and is fetched once a minute.".to_owned()
            }
            why => format!(
                "The key set that verifies this token cannot be read: {}.",
                why.unwrap_or("no answer has come yet")
            ),
        };
        let next =
            known.as_ref().map_or(AGAIN, |set| app.clock().now().seconds_until(set.tried_at.plus_seconds(AGAIN)));
        Code::KeySetUnavailable.detail(detail).retry_after(next.max(1))
    })
}

/// The keys of a set that counts.
fn fresh(app: &App, known: Option<&KeySet>) -> Option<Vec<Json>> {
    let set = known.filter(|set| set.is_fresh(app.clock().now()))?;
    Some(jose::read(&json!({ "keys": set.keys })).unwrap_or_default())
}

/// Calls the component that fetches; `false`: it does not answer.
async fn call(app: &App) -> bool {
    let request = inside::request(app, route::KEY_SETS, &[], &[]).body(String::new());
    let sent = match request {
        Ok(request) => inside::send(request).await,
        Err(error) => Err(error.to_string()),
    };
    sent.map_err(|cause| log(app.request_id(), "calling the worker", &cause)).is_ok()
}
