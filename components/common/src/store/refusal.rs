//! Table `refusals`: how often a known caller was refused with which slug in which minute.

use crate::{
    args,
    caller::Caller,
    db::{DbError, Happened},
    http::App,
    id::UserId,
};

const COUNT: &str = "
    ON CONFLICT (subject, slug, minute) DO UPDATE
    SET count = count + 1, credential_id = excluded.credential_id, address = excluded.address, request_id = excluded.request_id";

/// Counts one refusal of a caller.
pub async fn count(app: &App, caller: &Caller, slug: &str) -> Result<(), DbError> {
    let sql = format!(
        "INSERT INTO refusals (subject, slug, minute, count, tenant_id, user_id, agent_id, credential_id, address, request_id)
         VALUES (?1, ?2, ?3, 1, ?4, ?5, ?6, ?7, ?8, ?9) {COUNT}"
    );
    let agent = caller.agent_id().map(|id| id.as_str());
    let row = args![
        agent.unwrap_or(caller.user_id().as_str()),
        slug,
        app.now().minute(),
        caller.tenant_id(),
        caller.user_id(),
        agent,
        caller.credential_id(),
        app.address(),
        app.request_id().as_str(),
    ];
    app.db().hot::<Happened>(&sql, row).await.map(drop)
}

/// Counts one failed sign-in. For an account that is not there the same statement runs and writes nothing.
pub async fn count_login(app: &App, user: Option<&UserId>, slug: &str) -> Result<(), DbError> {
    let sql = format!(
        "INSERT INTO refusals (subject, slug, minute, count, tenant_id, user_id, address, request_id)
         SELECT id, ?2, ?3, 1, tenant_id, id, ?4, ?5 FROM users WHERE id = ?1 {COUNT}"
    );
    let row = args![user.map(UserId::as_str), slug, app.now().minute(), app.address(), app.request_id().as_str()];
    app.db().hot::<Happened>(&sql, row).await.map(drop)
}
