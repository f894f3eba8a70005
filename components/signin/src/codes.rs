//! What a one-time code opens, each once: `POST /auth/email/token` signs in by a mailed link, `POST /auth/reset` sets a forgotten password
//! anew, `POST /auth/invite` sets the first one. The last two sign nobody in.

use common::{
    error::{ApiError, Code},
    event::EventKind,
    route::Route,
    secret::OneTimeCode,
};
use serde_json::{Value::Null, json};
use service::{
    app::App,
    event::{self, Event},
    extract::Body,
    form, mail,
    response::{Response, no_content},
    session::{self, Way},
};
use store::{
    audit,
    code::{self, Kind},
    credential,
    db::Purpose,
    outbox, user,
};

use crate::password;

form! {
    pub(crate) struct OneCode {
        pub(crate) code: String,
    }
}

form! {
    pub(crate) struct Reset {
        code: String,
        new: String,
    }
}

form! {
    pub(crate) struct Accept {
        code: String,
        password: String,
    }
}

/// `POST /auth/email/token`: a session, as `POST /auth/token` makes one.
pub(crate) async fn sign_in(app: App, Body(body): Body<OneCode>) -> Result<Response, ApiError> {
    let code = read(&body.code)?;
    let tx = app.db().begin(Purpose::Entry).await?;
    let granted = code::spend(&tx, Kind::Link, &code.digest(), app.now()).await?.ok_or(Code::InvalidCode)?;
    let user = granted.user_id.ok_or(Code::InvalidCode)?;
    code::end_of_user(&tx, Kind::Link, &user).await?;
    let login = user::login_of(&tx, &user).await?.filter(|login| login.is_active).ok_or(Code::InvalidCode)?;
    session::let_in(&app, tx, &login, Way::Link, None, Code::InvalidCode).await
}

/// `POST /auth/reset`.
pub(crate) async fn reset(app: App, route: &'static Route, Body(body): Body<Reset>) -> Result<Response, ApiError> {
    set_password(&app, route, Kind::Reset, &body.code, &body.new).await
}

/// `POST /auth/invite`.
pub(crate) async fn accept(app: App, route: &'static Route, Body(body): Body<Accept>) -> Result<Response, ApiError> {
    set_password(&app, route, Kind::Invite, &body.code, &body.password).await
}

pub(crate) fn read(code: &str) -> Result<OneTimeCode, ApiError> {
    OneTimeCode::parse(code.trim()).ok_or_else(|| Code::InvalidCode.into())
}

async fn set_password(
    app: &App,
    route: &'static Route,
    kind: Kind,
    code: &str,
    password: &str,
) -> Result<Response, ApiError> {
    let code = read(code)?.digest();
    // Seen early, so that nothing is hashed in vain; decided below.
    let found = code::find(app.db(), kind, &code, app.now()).await?.ok_or(Code::InvalidCode)?;
    let login = user::login_of(app.db(), found.user_id.as_ref().ok_or(Code::InvalidCode)?).await?;
    password::check_strength(password, &[login.as_ref().map_or("", |login| &login.email)])?;
    password::take_turn(app).await?;
    // Before the transaction: nothing slow may happen under the write lock.
    let hash = password::hash(password, app.chance())?;
    let tx = app.db().begin(Purpose::Entry).await?;
    let granted = code::spend(&tx, kind, &code, app.now()).await?.ok_or(Code::InvalidCode)?;
    let (tenant, user) = (&granted.tenant_id, granted.user_id.as_ref().ok_or(Code::InvalidCode)?);
    let was_here = user::has_signed_in(&tx, user).await?;
    // The new password ends all other codes of the person's.
    if !user::set_password(&tx, tenant, user.as_str(), &hash).await? {
        return Err(Code::InvalidCode.into());
    }
    let ended = credential::revoke_sessions(&tx, user, None, app.now()).await?;
    let (origin, after) = (app.origin(tenant, Some(user)), json!({ "ended_sessions": ended }));
    let set = Event::of_user(EventKind::UserPasswordSet, user).data(after.clone());
    event::deliver(app, &tx, &origin, Some(user), &set).await?;
    mail::hurry_if_left(app, &tx);
    let action = route.audit.unwrap_or_default();
    let row = audit::Event { action, object: user.as_str(), before: Null, after };
    audit::insert(&tx, &origin, &row).await?;
    // Of an invitation only somebody who has come in by another way meanwhile: it may be another person that has the link.
    if kind == Kind::Reset || was_here {
        let data = json!({ "by": null, "set": kind == Kind::Invite });
        mail::queue(app, &tx, (tenant, user), outbox::Kind::PasswordChanged, data).await?;
    }
    tx.commit().await?;
    Ok(no_content())
}

#[cfg(test)]
mod tests;
