//! What a provider says of itself: its endpoints (OpenID Connect Discovery 1.0) and its keys (RFC 7517). Both are kept for an hour.

use common::{error::ApiError, time::Timestamp, url::Url};
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use service::{app::App, settings::provider::IdentityProvider};

use crate::{
    cache,
    call::{self, outage, text},
};

/// How long what a provider said is used, seconds.
const KEPT: i64 = 3_600;
/// How soon after they were fetched keys are fetched again for one that is not among them, seconds: nobody makes this server ask a
/// provider more often, whatever tokens say.
const AGAIN: i64 = 60;

/// Characters of what it says that go into the log at most.
const MOST_TOLD: usize = 200;

/// The endpoints of a provider.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Metadata {
    /// Where the browser is sent to.
    pub(crate) authorization_endpoint: String,
    /// Where a code is traded.
    pub(crate) token_endpoint: String,
    /// Where the keys are.
    pub(crate) jwks_uri: String,
    /// Where a person's claims are, if anywhere. What an earlier release has kept does not say it.
    #[serde(default)]
    pub(crate) userinfo_endpoint: Option<String>,
    /// Whether the token endpoint wants the client secret in the form, since it takes no other way.
    pub(crate) wants_secret_in_form: bool,
    /// Whether an answer always names its issuer (RFC 9207, section 3).
    pub(crate) names_issuer: bool,
}

/// A value with the time at which it was fetched, milliseconds.
#[derive(Serialize, Deserialize)]
struct Fetched<T> {
    at: i64,
    value: T,
}

impl<T> Fetched<T> {
    fn is_younger(&self, seconds: i64, now: Timestamp) -> bool {
        // A time to come is that of a clock that was wrong.
        self.at <= now.millis() && now.millis() < Timestamp::from_millis(self.at).plus_seconds(seconds).millis()
    }
}

async fn kept<T: for<'de> Deserialize<'de>>(app: &App, key: &str) -> Option<Fetched<T>> {
    serde_json::from_slice(&cache::get(app.request_id(), key).await?).ok()
}

async fn keep<T: Serialize>(app: &App, key: &str, value: T) -> T {
    let fetched = Fetched { at: app.now().millis(), value };
    if let Ok(text) = serde_json::to_vec(&fetched) {
        cache::set(app.request_id(), key, &text).await;
    }
    fetched.value
}

/// A key of the store. Another setting is another key.
fn key_of(what: &str, provider: &IdentityProvider) -> String {
    format!("oidc {what} {} {}", provider.base, provider.issuer)
}

/// The provider's endpoints.
pub(crate) async fn metadata(app: &App, provider: &IdentityProvider) -> Result<Metadata, ApiError> {
    let key = key_of("metadata", provider);
    if let Some(known) = kept::<Metadata>(app, &key).await.filter(|known| known.is_younger(KEPT, app.now())) {
        return Ok(known.value);
    }
    call::admit(app).await?;
    // Section 4: a slash at the end of the issuer is removed first.
    let url = format!("{}/.well-known/openid-configuration", provider.base.trim_end_matches('/'));
    let said = call::get(&url).await?;
    let metadata = read(provider, &said).map_err(|what| outage(format!("{url}: {what}")))?;
    Ok(keep(app, &key, metadata).await)
}

fn read(provider: &IdentityProvider, said: &Json) -> Result<Metadata, String> {
    // Section 4.3: it must be the issuer that was asked.
    let issuer = text(said, "issuer");
    if issuer != provider.issuer {
        let issuer: String = issuer.chars().take(MOST_TOLD).collect();
        return Err(format!("the issuer is {issuer:?} there, and {:?} in the setting", provider.issuer));
    }
    let endpoint = |name: &str| {
        let url = text(said, name);
        let is_good = Url::parse(url).is_some_and(|url| url.is_secure && url.fragment.is_none());
        if is_good { Ok(url.to_owned()) } else { Err(format!("{name} is no https URL")) }
    };
    let methods = said.get("token_endpoint_auth_methods_supported").and_then(Json::as_array);
    let has = |method: &str| methods.is_some_and(|methods| methods.iter().any(|known| known == method));
    Ok(Metadata {
        authorization_endpoint: endpoint("authorization_endpoint")?,
        token_endpoint: endpoint("token_endpoint")?,
        jwks_uri: endpoint("jwks_uri")?,
        // Few need it: one that cannot be used is none.
        userinfo_endpoint: endpoint("userinfo_endpoint").ok(),
        // Section 3: without the list it takes `client_secret_basic`.
        wants_secret_in_form: has("client_secret_post") && !has("client_secret_basic"),
        names_issuer: said.get("authorization_response_iss_parameter_supported") == Some(&Json::Bool(true)),
    })
}

/// The provider's keys, in which `has` finds the one that is needed. Those that are kept are asked first; if they do not have it, the
/// provider may have new ones, at most once a minute.
pub(crate) async fn keys(
    app: &App,
    provider: &IdentityProvider,
    metadata: &Metadata,
    has: impl Fn(&[Json]) -> bool,
) -> Result<Vec<Json>, ApiError> {
    let key = key_of("keys", provider);
    if let Some(known) = kept::<Vec<Json>>(app, &key).await {
        let now = app.now();
        if known.is_younger(AGAIN, now) || (known.is_younger(KEPT, now) && has(&known.value)) {
            return Ok(known.value);
        }
    }
    let said = call::get(&metadata.jwks_uri).await?;
    let keys = said.get("keys").and_then(Json::as_array);
    let keys = keys.ok_or_else(|| outage(format!("{}: no key set", metadata.jwks_uri)))?;
    Ok(keep(app, &key, keys.clone()).await)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{ACME, metadata, providers};

    /// R713: the log names both issuers, since they often differ by a slash alone.
    #[test]
    fn another_issuer_is_told_beside_the_setting() {
        let why = read(&providers()[0], &metadata(&format!("{ACME}/"))).err();
        let told = "the issuer is \"https://sso.acme.example/\" there, and \"https://sso.acme.example\" in the setting";
        assert_eq!(why.as_deref(), Some(told));
    }
}
