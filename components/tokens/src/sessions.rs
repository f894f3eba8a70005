//! The sessions of the calling person.

use common::{
    error::{ApiError, Code},
    secret::Kind,
};
use http::{HeaderValue, StatusCode, header};
use serde_json::{Value::Null, json};
use service::{
    app::App,
    caller::Caller,
    change::{Answer, Change},
    extract::{Path, Query},
    form::PageQuery,
    response::{Response, json},
};
use store::credential;

/// Clear the session's cookie, whichever of the two names it has.
const CLEARED_COOKIES: [&str; 2] = [
    "accredit=; Path=/; Max-Age=0; HttpOnly; SameSite=Lax",
    "__Host-accredit=; Path=/; Max-Age=0; Secure; HttpOnly; SameSite=Lax",
];

/// `POST /auth/logout`, and `DELETE /auth/tokens/me` for a credential of any kind: ends what sends the request, and nothing beside it.
/// Nobody is told: its bearer did it. A session's cookie is cleared.
pub(crate) async fn end_own(change: Change<()>) -> Result<Response, ApiError> {
    let is_session = change.caller.credential_kind() == Kind::Session;
    let mut response = change
        .run(async |write, ()| {
            let (id, kind) = (write.caller.credential_id(), write.caller.credential_kind());
            credential::revoke(&write.tx, id, write.now()).await?;
            let before = if is_session { Null } else { json!({ "kind": kind }) };
            Ok(match write.caller.agent_id() {
                Some(agent) => Answer::no_content().audited(agent, json!({ "token": id, "kind": kind }), Null),
                None => Answer::no_content().audited(id, before, Null),
            })
        })
        .await?;
    if !is_session {
        return Ok(response);
    }
    for cookie in CLEARED_COOKIES {
        response.headers_mut().append(header::SET_COOKIE, HeaderValue::from_static(cookie));
    }
    Ok(response)
}

/// `GET /auth/sessions`: the person's live sessions.
pub(crate) async fn list(app: App, caller: Caller, Query(query): Query<PageQuery>) -> Result<Response, ApiError> {
    let page = caller.page(&app, &query)?;
    let rows = credential::sessions(app.db(), caller.user_id(), caller.credential_id(), app.now(), &page).await?;
    json(StatusCode::OK, &page.page(rows, |row| (row.created_at, row.id.to_string())))
}

/// `DELETE /auth/sessions/{id}`: ends one of the person's sessions.
pub(crate) async fn end(change: Change<()>, Path(id): Path) -> Result<Response, ApiError> {
    change
        .run(async |write, ()| {
            if !credential::revoke_session(&write.tx, write.caller.user_id(), &id, write.now()).await? {
                return Err(Code::SessionNotFound.into());
            }
            Ok(Answer::no_content().audited(&id, Null, Null))
        })
        .await
}

/// `DELETE /auth/sessions`: ends all of the person's sessions but this one.
pub(crate) async fn end_others(change: Change<()>) -> Result<Response, ApiError> {
    change
        .run(async |write, ()| {
            let (user, this) = (write.caller.user_id(), write.caller.credential_id());
            let ended = credential::revoke_sessions(&write.tx, user, Some(this), write.now()).await?;
            let answer = Answer::no_content();
            Ok(if ended == 0 { answer.unchanged() } else { answer.audited(user, Null, json!({ "ended": ended })) })
        })
        .await
}

#[cfg(test)]
mod tests;
