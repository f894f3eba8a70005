//! `/auth/apps`: what a person let in, as that person sees it.

use common::error::{ApiError, Code};
use http::StatusCode;
use serde_json::{Value::Null, json};
use service::{
    app::App,
    caller::Caller,
    change::{Answer, Change},
    extract::{Path, Query},
    form::PageQuery,
    response::{Response, json},
};
use store::{
    db::Rows,
    oauth_grant::{self, Grant},
};

/// `GET /auth/apps`: the live ones, the newest first.
pub(crate) async fn list(app: App, caller: Caller, Query(query): Query<PageQuery>) -> Result<Response, ApiError> {
    let page = caller.page(&app, &query)?;
    let rows = oauth_grant::list(app.db(), caller.user_id(), &page, app.now()).await?;
    json(StatusCode::OK, &page.page(rows, |row| (row.created_at, row.id.to_string())))
}

/// `DELETE /auth/apps/{id}`: 204 too when it had ended before.
pub(crate) async fn end(change: Change<()>, Path(id): Path) -> Result<Response, ApiError> {
    let now = change.app.now();
    let find = async |reads: &dyn Rows, caller: &Caller, id: &str| {
        let found: Option<Grant> = oauth_grant::find(reads, caller.user_id(), id, now).await?;
        found.ok_or_else(|| ApiError::from(Code::AppNotFound))
    };
    change
        .on(&id, find, async |write, found, ()| {
            if !oauth_grant::end(&write.tx, found.id.as_str(), write.now()).await? {
                return Ok(Answer::no_content().unchanged());
            }
            let before = json!({ "name": found.client_name, "client_id": found.client_id, "scope": found.scope });
            Ok(Answer::no_content().audited(&found.id, before, Null))
        })
        .await
}
