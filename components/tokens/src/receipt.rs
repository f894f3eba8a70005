//! `GET /api/closures/{id}/receipt`: a closure, signed, so that it can be shown to somebody who does not ask this server.
//!
//! 1. It is a JWS in the compact form (RFC 7515). Its type, `closure+jwt`, is that of no token, and it has no audience: nobody takes it for one.
//! 2. `closure` is what never changes. The row of the change in the audit trail names the digest of that, and the receipt names the row and
//!    the digest that its seal lists: so neither can be written anew without the other.
//! 3. It says how the closure stood at `iat`. Of one that is closed that stays so; of one that is partial `latest` holds all the same.

use common::error::{ApiError, Code};
use http::{HeaderValue, StatusCode, header};
use serde_json::{Value as Json, Value::Null, json};
use service::{
    app::App,
    caller::Caller,
    credential::own_base,
    extract::Path,
    object,
    response::{Response, bytes},
};
use store::{
    audit::{chain, trail},
    closure::Stored,
    resource::SigningAlg,
};

use crate::oauth::{jwt, keys::Signer};

/// The type in the header of the signature.
const TYPE: &str = "closure+jwt";

/// The handler.
pub(crate) async fn get(app: App, caller: Caller, Path(id): Path) -> Result<Response, ApiError> {
    let mut stored = object::closure(app.db(), &caller, &id).await?;
    let secret = app.settings().signing_keys.first().ok_or(Code::SigningDisabled)?;
    let issuer = own_base(&app).ok_or(Code::PublicUrlMissing)?;
    // The clock is read after the row was seen, and so after its transaction has committed.
    let now = app.clock().now();
    let closure = stored.settled(app.db(), now).await?;
    let claims = json!({
        "iss": issuer,
        "iat": now.millis().div_euclid(1000),
        "sub": stored.id,
        "closure": stored.facts(),
        "digest": stored.digest().to_string(),
        "status": closure.status,
        "closed_at": closure.closed_at,
        "latest": closure.latest,
        "waiting": closure.waiting,
        "audit": row(&app, &stored).await?,
    });
    let text = jwt::sign(&*Signer::of(secret, SigningAlg::EdDsa)?, TYPE, &claims);
    let mut response = bytes(StatusCode::OK, "application/jwt", text);
    if let Ok(name) = HeaderValue::from_str(&format!("attachment; filename=\"{}.jwt\"", stored.id.as_str())) {
        response.headers_mut().insert(header::CONTENT_DISPOSITION, name);
    }
    Ok(response)
}

/// The row of the change in the trail; null: it names no digest, since an older release wrote it. A row that was deleted, since it was older
/// than the operator keeps rows, is left with its id.
async fn row(app: &App, stored: &Stored) -> Result<Json, ApiError> {
    let Some(id) = stored.audit() else { return Ok(Null) };
    let found = trail::raw_row(app.db(), id).await?;
    let (seq, digest) = found.map(|row| (row.seq, chain::row_digest(&row).to_string())).unzip();
    Ok(json!({ "id": id, "seq": seq, "digest": digest }))
}

#[cfg(test)]
mod tests;
