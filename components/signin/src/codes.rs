//! What a one-time code opens: `POST /auth/code` says it and spends nothing. The others spend it, each once: `POST /auth/email/token` signs
//! in by a mailed link, `POST /auth/reset` sets a forgotten password anew, `POST /auth/invite` sets the first one. The last two sign nobody in.

use common::{
    entrance::Entrances,
    error::{ApiError, Code},
    event::EventKind,
    role::Role,
    route::Route,
    secret::OneTimeCode,
    time::Timestamp,
};
use http::StatusCode;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Value::Null, json};
use service::{
    app::App,
    change,
    event::{self, Event},
    extract::Body,
    form, mail,
    response::{self, Response, no_content},
    session::{self, Way},
};
use store::{
    attempt::Guesses,
    audit,
    code::{self, Kind},
    credential,
    db::Purpose,
    epoch, outbox, tenant, user,
};

use crate::{password, tries};

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

/// Wrong codes from one network in a window.
const WRONG: i64 = 60;
/// The window, seconds.
const WINDOW: i64 = 600;

/// What became of the code of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "CodeState")]
#[serde(rename_all = "lowercase")]
pub(crate) enum State {
    /// It works.
    Live,
    /// It was used.
    Used,
    /// Its time is over.
    Ended,
}

/// What the code of a link opens.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "LinkCode")]
pub(crate) struct Look {
    /// `reset`, `invite`, `link` or `new_address`.
    kind: &'static str,
    /// Whether it works. The members below are null when it does not.
    state: State,
    /// The address of the person whom it is for; of a code that confirms another address, that one.
    email: Option<String>,
    /// The tenant's slug.
    tenant: Option<String>,
    /// The tenant's name; null: it has none beside its slug.
    tenant_name: Option<String>,
    /// Of an invitation: the role of the person.
    role: Option<Role>,
    /// The ways to sign in that the tenant allows.
    ways: Option<Entrances>,
    /// When it ends.
    expires_at: Option<Timestamp>,
}

/// `POST /auth/code`: what the code of a link opens. It spends nothing. A code cannot be guessed; wrong ones are counted by network all the
/// same, and beyond the bound nothing is looked up.
pub(crate) async fn look(app: App, Body(body): Body<OneCode>) -> Result<Response, ApiError> {
    let code = read(&body.code)?.digest();
    let wrong = Guesses::new(&["code of a link", &app.network()], WRONG, WINDOW);
    let guessed = wrong.count(app.db(), app.now()).await?;
    if wrong.are_too_many(guessed.wrong) {
        let refusal = Code::TooManyAttempts.detail("There were too many wrong codes from this address.");
        return Err(refusal.retry_after(app.now().seconds_until(guessed.ends_at)));
    }
    let Some(known) = code::look(app.db(), &code).await? else {
        wrong.end(app.db(), true, app.now()).await?;
        return Err(Code::InvalidCode.into());
    };
    let state = match known.is_spent {
        true => State::Used,
        false if known.expires_at <= app.now() => State::Ended,
        false => State::Live,
    };
    let mut shown = Look {
        kind: known.kind.as_str(),
        state,
        email: None,
        tenant: None,
        tenant_name: None,
        role: None,
        ways: None,
        expires_at: None,
    };
    // A link that works no more may lie about anywhere: whose it was is nobody's business.
    if state == State::Live {
        let login = user::login_of(app.db(), &known.user_id).await?.filter(|login| login.is_active);
        let login = login.ok_or(Code::InvalidCode)?;
        let tenant = tenant::get(app.db(), &known.tenant_id).await?;
        let wanted = known.data.get("email").and_then(serde_json::Value::as_str);
        shown.email = Some(wanted.map_or(login.email, str::to_owned));
        shown.tenant = Some(tenant.slug);
        shown.tenant_name = tenant.name;
        shown.role = Some(login.role).filter(|_| known.kind == Kind::Invite);
        shown.ways = Some(tenant.ways);
        shown.expires_at = Some(known.expires_at);
    }
    response::uncached_json(StatusCode::OK, &shown)
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
    let person = found.user_id.as_ref().ok_or(Code::InvalidCode)?;
    // The code is not spent.
    password::check_allowed(app.db(), &found.tenant_id).await?;
    let login = user::login_of(app.db(), person).await?.ok_or(Code::InvalidCode)?;
    password::check_strength_in(app.db(), &found.tenant_id, password, (&login.email, &login.name)).await?;
    password::take_turn(app).await?;
    // Before the transaction: nothing slow may happen under the write lock.
    let hash = password::hash(password, app.chance())?;
    let tx = app.db().begin(Purpose::Entry).await?;
    let granted = code::spend(&tx, kind, &code, app.now()).await?.ok_or(Code::InvalidCode)?;
    let (tenant, user) = (&granted.tenant_id, granted.user_id.as_ref().ok_or(Code::InvalidCode)?);
    password::check_allowed(&tx, tenant).await?;
    let had_one = user::password_hash(&tx, user).await?.is_some();
    let was_here = user::has_signed_in(&tx, user).await?;
    let since = epoch::last(&tx, tenant).await?;
    // The new password ends all other codes of the person's.
    if !user::set_password(&tx, tenant, user.as_str(), &hash).await? {
        return Err(Code::InvalidCode.into());
    }
    tries::forget(app, &tx, (tenant, &login.email)).await?;
    let ended = credential::revoke_sessions(&tx, user, None, app.now()).await?;
    let (origin, after) = (app.origin(tenant, Some(user)), json!({ "ended_sessions": ended }));
    let set = Event::of_user(EventKind::UserPasswordSet, user).data(after.clone());
    event::deliver(app, &tx, &origin, Some(user), &set).await?;
    mail::hurry_if_left(app, &tx);
    let action = route.audit.unwrap_or_default();
    let row = audit::Event { action, object: user.as_str(), before: Null, after };
    change::audit_closing(&tx, &origin, (since, user.as_str()), row).await?;
    // Of a first password only somebody who signed in by a link or a provider until now: it may be another person that has the link.
    if had_one || was_here {
        let data = json!({ "by": null, "set": !had_one });
        mail::queue(app, &tx, (tenant, user), outbox::Kind::PasswordChanged, data).await?;
    }
    tx.commit().await?;
    Ok(no_content())
}

#[cfg(test)]
mod tests;
