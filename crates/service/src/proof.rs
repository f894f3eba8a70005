//! Proofs that a sender has the key that its credential is bound to (DPoP, RFC 9449). A credential that is bound to none costs nothing here.
//!
//! What a proof says is compared here. Its signature is verified by `tokens`, which has the curves anyway: each other component would be
//! larger by them. A proof is taken in one request; to that end its digest is kept until it ends by itself.

use common::{
    error::{ApiError, Code},
    proof::{ALGORITHMS, Expected, Proof},
    route::{Query, Route},
    secret::equal,
    time::Timestamp,
    url::Url,
};
use store::proof;

use crate::{
    app::{App, is_from_inside},
    credential::own_base,
};

/// The header of a proof.
pub const HEADER: &str = "dpop";
/// Of a request from inside: the method, the path and the id of the request that it is sent for.
pub const FOR: [&str; 3] = ["x-forwarded-method", "x-forwarded-uri", "x-forwarded-request"];

/// Whether the request has a proof, good or not.
pub fn is_sent(app: &App) -> bool {
    !app.headers().all(HEADER).is_empty()
}

/// The thumbprint of the key that a request for a credential proves, if it sends a proof: what it gets is bound to that key.
pub async fn of_request(app: &App) -> Result<Option<String>, ApiError> {
    if !is_sent(app) {
        return Ok(None);
    }
    let (method, url) = (app.head().method.as_str(), own_base(app).map(|base| format!("{base}{}", app.path())));
    verify(app, (method, &url.ok_or(Code::PublicUrlMissing)?), None).await.map(Some)
}

/// Refuses a request that does not prove the key that its credential is bound to. `of_proxy`: at this route a proxy asks about a request.
pub(crate) async fn check(app: &App, of_proxy: Option<&Route>, token: &str, key: &str) -> Result<(), ApiError> {
    let (method, url) = match of_proxy {
        Some(route) => asked_by_proxy(app, route)?,
        None => asked(app)?,
    };
    let proved = verify(app, (&method, &url), Some(token)).await?;
    if equal(&proved, key) { Ok(()) } else { Err(refused("its key is not the one that the credential is bound to")) }
}

/// Method and address of the request that a client has sent to this server.
fn asked(app: &App) -> Result<(String, String), ApiError> {
    let base = own_base(app).ok_or(Code::PublicUrlMissing)?;
    let of_visitor = |name: &str| app.headers().single(name).filter(|_| is_from_inside(app.headers()));
    let [method, path, _] = FOR;
    let method = of_visitor(method).unwrap_or_else(|| app.head().method.as_str().to_owned());
    let path = of_visitor(path).unwrap_or_else(|| app.path().to_owned());
    Ok((method, format!("{base}{path}")))
}

/// Method and address of the request that a proxy asks about: the service's origin is that of `resource`, which its operator has written into
/// the proxy's configuration, and method and path are what the proxy says in its headers. A proxy that does not set them lets its client say
/// them, who could then use a proof for another request: so they must be there. At a row that takes any query the query is the client's own, so
/// that nothing there names the service.
fn asked_by_proxy(app: &App, route: &Route) -> Result<(String, String), ApiError> {
    let query = match route.query {
        Query::Any => "",
        Query::Only(_) => app.head().uri.query().unwrap_or_default(),
    };
    let resource = form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "resource");
    let origin = resource.and_then(|(_, resource)| {
        let url = Url::parse(&resource)?;
        Some(format!("{}://{}", if url.is_secure { "https" } else { "http" }, url.authority()))
    });
    let said = |name: &str| app.headers().single(name);
    match (origin, said("x-forwarded-method"), said("x-forwarded-uri")) {
        (Some(origin), Some(method), Some(path)) if path.starts_with('/') => Ok((method, format!("{origin}{path}"))),
        _ => Err(refused(
            "the proxy does not say for which request it is: it must name resource in its address, and set X-Forwarded-Method and X-Forwarded-Uri",
        )),
    }
}

/// Verifies the proof of a request; gives the thumbprint of its key.
async fn verify(app: &App, (method, url): (&str, &str), token: Option<&str>) -> Result<String, ApiError> {
    let sent = app.headers().all(HEADER);
    let text = match sent.as_slice() {
        [] => return Err(refused("there is none")),
        [one] => one.to_str().map_err(|_| refused("it is not of ASCII"))?.trim(),
        _ => return Err(refused("there is more than one header DPoP")),
    };
    let read = Proof::parse(text).map_err(refused)?;
    let expected = Expected { method, url, token, now: app.now().millis().div_euclid(1000) };
    read.check(&expected).map_err(refused)?;
    if !is_signed(app, text, &read).await? {
        return Err(refused("its signature is not one of its key"));
    }
    let own = app.request_id().as_str();
    let of_visitor = app.headers().single("x-forwarded-request").filter(|_| is_from_inside(app.headers()));
    let until = Timestamp::from_millis(read.known_until().saturating_mul(1000));
    if !proof::spend(app.db(), &read.digest(), of_visitor.as_deref().unwrap_or(own), until).await? {
        return Err(refused("it was sent before"));
    }
    Ok(read.thumbprint().to_owned())
}

/// The refusal of a proof (RFC 9449, sections 5 and 7.1).
pub fn refused(why: &str) -> ApiError {
    Code::InvalidProof.detail(format!("The DPoP proof is not accepted: {why}.")).extra("algs", ALGORITHMS.join(" "))
}

/// The refusal of a credential under a scheme that is not its own: a bound one as `Bearer`, or another one as `DPoP`.
pub(crate) fn wrong_scheme(is_bound: bool) -> ApiError {
    let (detail, fix) = match is_bound {
        true => (
            "This credential is bound to a key, and is worth nothing without a proof of that key.",
            "Send Authorization: DPoP <token>, and in the header DPoP a new proof of the key for this request.",
        ),
        false => ("This credential is not bound to a key.", "Send it as Authorization: Bearer <token>."),
    };
    let refusal = Code::InvalidToken.detail(detail).fix(fix).page("/docs/agents/concepts/dpop");
    if is_bound { refusal.extra("algs", ALGORITHMS.join(" ")) } else { refusal }
}

/// Whether the proof's own key has signed it.
#[cfg(not(target_family = "wasm"))]
#[expect(clippy::unused_async, reason = "in a component it is another one that answers")]
async fn is_signed(_: &App, _: &str, proof: &Proof<'_>) -> Result<bool, ApiError> {
    Ok(jose::has_signed(proof))
}

/// The same, by `tokens`.
#[cfg(target_family = "wasm")]
async fn is_signed(app: &App, text: &str, _: &Proof<'_>) -> Result<bool, ApiError> {
    use crate::inside;
    use common::route;

    let body = serde_json::json!({ "proof": text }).to_string();
    let failed = |cause: String| ApiError::from(Code::Internal).cause(format!("asking tokens about a proof: {cause}"));
    let request = inside::request(app, route::PROOFS, &[], &[])
        .header("content-type", "application/json")
        .header("content-length", body.len())
        .body(body)
        .map_err(|error| failed(error.to_string()))?;
    match inside::send(request).await.map_err(failed)?.status.as_u16() {
        204 => Ok(true),
        400 => Ok(false),
        status => Err(failed(status.to_string())),
    }
}
