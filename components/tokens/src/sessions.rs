//! The sessions of the calling person.

use common::{
    error::{ApiError, Code},
    route::Route,
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

/// `POST /auth/logout`: ends the session in the database and clears its cookie.
pub(crate) async fn logout(change: Change<()>) -> Result<Response, ApiError> {
    let mut response = change
        .run(async |write, ()| {
            let id = write.caller.credential_id();
            credential::revoke(&write.tx, id, write.now()).await?;
            Ok(Answer::no_content().audited(id, Null, Null))
        })
        .await?;
    for cookie in CLEARED_COOKIES {
        response.headers_mut().append(header::SET_COOKIE, HeaderValue::from_static(cookie));
    }
    Ok(response)
}

/// `GET /auth/sessions`: the person's live sessions.
pub(crate) async fn list(
    app: App,
    caller: Caller,
    route: &'static Route,
    Query(query): Query<PageQuery>,
) -> Result<Response, ApiError> {
    let page = caller.page(route, &query, &[])?;
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
            Ok(Answer::no_content().audited(user, Null, json!({ "ended": ended })))
        })
        .await
}

#[cfg(test)]
mod tests;
