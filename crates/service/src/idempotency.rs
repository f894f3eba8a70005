//! Kept answers: a POST that is sent twice with one `Idempotency-Key` happens once.
//!
//! 1. Inside of the write's own transaction: is there a row for (tenant, user, agent, method, path, key)? Then it is
//!    replayed: same body → the first answer; other body → 422. The body is compared by a MAC whose key comes from the
//!    idempotency key, so that the table does not reveal what was sent.
//! 2. Otherwise the write happens, and its last statement inserts the row. There is no reservation: a crash leaves both or
//!    neither, and a racing call waits for the write lock and then finds the row.
//! 3. The answer is sealed: under a key from the idempotency key, and where it holds a secret also from the credential, so
//!    that only the caller that got the secret can get it again.

use bytes::Bytes;
use common::{
    error::{ApiError, Code},
    id::UserId,
    route::{Rights, Route},
    secret::{Digest, Key, Secret},
    text::credential_in,
    time::Timestamp,
};
use http::{HeaderName, HeaderValue, StatusCode};
use serde_json::Value as Json;
use store::{
    closure::{self, Closure},
    credential,
    db::{Rows, Tx},
    kept_answer::{self, KeptAnswer},
};

use crate::{
    app::{App, log},
    call::{Call, FromCall},
    caller::Caller,
    response::{Response, bytes, empty, written_json},
};

/// The closure of a change, by its id: an answer without a body has no other place for it.
pub const CLOSURE: HeaderName = HeaderName::from_static("x-accredit-closure");
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// The media type of every answer that is kept.
const JSON: &str = "application/json";

/// How long an answer is kept, seconds.
pub const KEPT_FOR: i64 = 24 * 3600;
/// A request's `Idempotency-Key`: the digest that finds its kept answer, and the keys that seal one.
pub struct IdempotencyKey {
    digest: Digest,
    body_mac: Digest,
    /// Seals answers without a secret.
    common: Key,
    /// Seals answers with one: only credential and idempotency key together yield it.
    private: Key,
}

/// The key, if one was sent to a route that keeps answers.
impl FromCall for Option<IdempotencyKey> {
    const READS_BODY: bool = true;

    fn from_call(call: &mut Call) -> Result<Self, ApiError> {
        match &call.caller {
            Some(caller) if call.route.is_idempotent => {
                IdempotencyKey::read(&call.app, caller, call.route.method, &call.body_bytes())
            }
            _ => Ok(None),
        }
    }
}

impl IdempotencyKey {
    fn read(app: &App, caller: &Caller, method: &str, body: &Bytes) -> Result<Option<Self>, ApiError> {
        let sent = app.headers().all("idempotency-key");
        let value = match sent.as_slice() {
            [] => return Ok(None),
            [value] => value.to_str().ok(),
            _ => None,
        };
        let key = value.and_then(bare).ok_or(Code::InvalidIdempotencyKey)?;
        // It is not kept in clear here, but a proxy may log it.
        if Secret::is_in(key.as_bytes()) {
            return Err(credential_in("Idempotency-Key"));
        }
        let (tenant, user) = (caller.tenant_id().as_str(), caller.user_id().as_str());
        let agent = caller.agent_id().map_or("", |id| id.as_str());
        Ok(Some(Self {
            digest: Digest::of_parts(&[tenant, user, agent, method, app.path(), key]),
            body_mac: Key::derive(key.as_bytes(), "idempotency body", &[]).mac(body),
            common: Key::derive(key.as_bytes(), "idempotency answer", &[]),
            private: caller.key("idempotency answer", &[key]),
        }))
    }

    /// The answer in a row, if this request may have it, and if what it holds has not ended: a dead credential would pass for a live one.
    async fn open(
        &self,
        (reads, now): (&dyn Rows, Timestamp),
        caller: &Caller,
        row: &KeptAnswer,
    ) -> Result<Replayed, ApiError> {
        if !row.body_mac_matches(&self.body_mac) {
            return Err(Code::IdempotencyMismatch.into());
        }
        if row.holds_secret && row.credential_id != caller.credential_id().as_str() {
            return Err(Code::IdempotencyOtherCredential.into());
        }
        let key = if row.holds_secret { &self.private } else { &self.common };
        let opened = key.open(&row.answer, self.digest.bytes());
        let text = opened.ok_or_else(|| ApiError::from(Code::Internal).cause("a kept response could not be opened"))?;
        if row.holds_secret {
            let mut found = Vec::new();
            for secret in Secret::all_in(&String::from_utf8_lossy(&text)) {
                found.push(credential::is_live(reads, &secret.digest(), now).await?);
            }
            // One that is unknown may be another server's, among an agent's secrets; alone it was purged with its agent.
            let is_gone = !found.is_empty() && !found.contains(&Some(true));
            if is_gone || found.contains(&Some(false)) {
                return Err(Code::IdempotencyEnded.into());
            }
        }
        let status = u16::try_from(row.status).ok().and_then(|status| StatusCode::from_u16(status).ok());
        let status =
            status.ok_or_else(|| ApiError::from(Code::Internal).cause("a kept response has no valid status"))?;
        Ok(Replayed { status, text })
    }

    /// The parts of an answer that are kept.
    pub fn seal(&self, app: &App, caller: &Caller, first: &Answer) -> Result<KeptAnswer, ApiError> {
        let key = if first.holds_secret { &self.private } else { &self.common };
        let sealed = key.seal(first.text.as_bytes(), self.digest.bytes(), app.chance());
        Ok(KeptAnswer {
            credential_id: caller.credential_id().to_string(),
            body_mac: self.body_mac.bytes().to_vec(),
            holds_secret: first.holds_secret,
            status: i64::from(first.status.as_u16()),
            answer: sealed.ok_or_else(|| ApiError::from(Code::Internal).cause("a response could not be sealed"))?,
        })
    }

    /// The same about the object that the path names now: an object that gets the name later is another one.
    #[must_use]
    pub fn about(mut self, object: &str) -> Self {
        self.digest = Digest::of_parts(&[&self.digest.to_string(), object]);
        self
    }

    /// The digest by which the kept answer is found.
    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    /// The first answer as a response, if the request was sent before: for what is not in a transaction.
    pub async fn answer_again(&self, app: &App, caller: &Caller) -> Result<Option<Response>, ApiError> {
        match self.replay(app, app.db(), caller).await? {
            Some(first) => first.into_response(app).await.map(Some),
            None => Ok(None),
        }
    }

    /// The first answer, if the request was sent before.
    pub async fn replay(&self, app: &App, reads: &dyn Rows, caller: &Caller) -> Result<Option<Replayed>, ApiError> {
        match kept_answer::find(reads, &self.digest, app.now()).await? {
            Some(row) => self.open((reads, app.now()), caller, &row).await.map(Some),
            None => Ok(None),
        }
    }

    /// The id of the caller that a kept answer counts for. What is kept for a credential that rests on an editor's grant takes nothing
    /// from the agent's other credentials.
    pub fn whose(caller: &Caller) -> &str {
        caller.grantee().unwrap_or_else(|| caller.subject().id())
    }

    /// Keeps the answer, in the transaction of the change that it answers; `false`: the caller has as many as it may have.
    pub(crate) async fn keep(
        &self,
        app: &App,
        tx: &Tx<'_>,
        (caller, cause): (&Caller, &UserId),
        first: &Answer,
    ) -> Result<bool, ApiError> {
        let row = self.seal(app, caller, first)?;
        let whose = (Self::whose(caller), cause.as_str());
        let ends = app.now().plus_seconds(KEPT_FOR);
        Ok(kept_answer::insert(tx, &self.digest, whose, &row, ends, app.now()).await?)
    }
}

/// The key in the header, quoted or bare.
fn bare(value: &str) -> Option<&str> {
    let value = value.trim();
    let key = value.strip_prefix('"').map_or(Some(value), |rest| rest.strip_suffix('"'))?;
    let is_plain = (1..=255).contains(&key.len()) && key.bytes().all(|b| (0x20..0x7f).contains(&b) && b != b'"');
    is_plain.then_some(key)
}

/// A closure whose change has committed. Whatever fails here, it has happened: then the closure says what is surely true.
pub(crate) async fn settled(app: &App, mut stored: closure::Stored) -> Closure {
    let provisional = stored.provisional();
    stored.settled(app.db(), app.clock().now()).await.unwrap_or_else(|error| {
        log(app.request_id(), "closure", &error.to_string());
        provisional
    })
}

/// A first answer that is given again.
pub struct Replayed {
    status: StatusCode,
    text: Vec<u8>,
}

impl Replayed {
    /// The response. If a change had a closure, that is shown as it is now: what was kept is what was known before the commit. No
    /// transaction may be open here, since a closure may be closed by being looked at.
    pub async fn into_response(self, app: &App) -> Result<Response, ApiError> {
        let Self { status, mut text } = self;
        let mut closure_id = None;
        if let Some(mut json) = serde_json::from_slice::<Json>(&text).ok().filter(|json| json.get("closure").is_some())
        {
            let id = json.pointer("/closure/id").and_then(Json::as_str).unwrap_or_default().to_owned();
            if let Some(stored) = closure::find(app.db(), &id).await? {
                let closure = settled(app, stored).await;
                if let Some(member) = json.get_mut("closure") {
                    *member =
                        serde_json::to_value(&closure).map_err(|error| ApiError::from(Code::Internal).cause(error))?;
                }
                text = common::json::to_text(&json).into_bytes();
                closure_id = Some(id);
            }
        }
        let mut response = with_closure(written(status, text), closure_id.as_deref());
        response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
        Ok(response)
    }
}

/// An answer that can be kept.
pub struct Answer {
    status: StatusCode,
    media: &'static str,
    text: String,
    holds_secret: bool,
    closure: Option<String>,
}

impl Answer {
    /// A JSON answer with this status.
    pub fn json(status: StatusCode, form: &impl serde::Serialize) -> Result<Self, ApiError> {
        let text = serde_json::to_string(form).map_err(|error| ApiError::from(Code::Internal).cause(error))?;
        Ok(Self { status, media: JSON, text, holds_secret: false, closure: None })
    }

    /// 200, with a text of this media type. Only JSON is kept and replayed: for routes that keep no answers.
    pub fn text(media: &'static str, text: String) -> Self {
        Self { status: StatusCode::OK, media, text, holds_secret: false, closure: None }
    }

    /// 200.
    pub fn ok(form: &impl serde::Serialize) -> Result<Self, ApiError> {
        Self::json(StatusCode::OK, form)
    }

    /// 201.
    pub fn created(form: &impl serde::Serialize) -> Result<Self, ApiError> {
        Self::json(StatusCode::CREATED, form)
    }

    /// 204.
    pub fn no_content() -> Self {
        Self { status: StatusCode::NO_CONTENT, media: JSON, text: String::new(), holds_secret: false, closure: None }
    }

    /// The same, marked as showing a secret: it is replayed only to the credential that got it.
    #[must_use]
    pub fn with_secret(self) -> Self {
        Self { holds_secret: true, ..self }
    }

    /// The same with a closure: by its id in a header, and on the rows that only take rights away as a member of the answer, if that is an
    /// object. All others answer with what was changed, as it is now, and with nothing else.
    pub(crate) fn closing(&self, route: &Route, closure: &Closure) -> Result<Self, ApiError> {
        let member = serde_json::to_string(closure).map_err(|error| ApiError::from(Code::Internal).cause(error))?;
        let text = match self.text.strip_suffix('}').filter(|_| route.rights == Rights::Takes) {
            Some("{") => format!("{{\"closure\":{member}}}"),
            Some(members) => format!("{members},\"closure\":{member}}}"),
            None => self.text.clone(),
        };
        let (status, media, holds_secret) = (self.status, self.media, self.holds_secret);
        Ok(Self { status, media, text, holds_secret, closure: Some(closure.id.to_string()) })
    }

    /// The response.
    pub fn into_response(self) -> Response {
        let response = match self.media {
            JSON => written(self.status, self.text.into_bytes()),
            media => bytes(self.status, media, self.text),
        };
        with_closure(response, self.closure.as_deref())
    }
}

/// The same with the id of the closure of its change.
pub fn with_closure(mut response: Response, id: Option<&str>) -> Response {
    if let Some(id) = id.and_then(|id| HeaderValue::from_str(id).ok()) {
        response.headers_mut().insert(CLOSURE, id);
    }
    response
}

fn written(status: StatusCode, text: Vec<u8>) -> Response {
    if text.is_empty() { empty(status) } else { written_json(status, text) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_quoted_or_bare() {
        assert_eq!(bare("abc"), Some("abc"));
        assert_eq!(bare("\"a b\""), Some("a b"));
        for bad in ["", "\"\"", "\"abc", "a\"b", "\u{e9}", &"k".repeat(256)] {
            assert_eq!(bare(bad), None, "{bad:?}");
        }
    }
}
