//! `POST /auth/token`: sign-in with a password.
//!
//! 1. Take a place among the guesses of this account and network, before anything is known of the account; the sixth wrong one in
//!    ten minutes is refused without a hash.
//! 2. Take a place among the hashes of this second.
//! 3. Find the account and check the password, or nobody's hash: the same statements and the same work for an unknown
//!    address, an unknown tenant, a wrong password and an inactive account.
//! 4. Right: in one transaction the sign-in is recorded, on the condition that the account is still as it was checked, and
//!    the session is made.

use common::{
    email,
    error::{ApiError, Code},
    id::{CredentialId, TenantId, UserId},
    role::Role,
    route,
    secret::{Kind, Secret},
    text::is_unseen,
    time::Timestamp,
};
use http::{HeaderValue, StatusCode, header};
use serde::Serialize;
use serde_json::Value::Null;
use service::{
    app::App,
    extract::Body,
    form,
    form::Nullable,
    response::{self, Response},
};
use store::{
    attempt::Guesses,
    audit::{self, Event, refusals},
    credential,
    db::{Purpose, Tx},
    user,
};

use crate::{password, tries};

/// Wrong tries of one account from one network in a window.
const TRIES: i64 = 5;
/// The window, seconds.
const WINDOW: i64 = 600;
/// How long a session lives, seconds.
const SESSION: i64 = 24 * 3600;
/// Characters that are kept of the client's `User-Agent`.
const USER_AGENT: usize = 200;

form! {
    pub(crate) struct SignIn {
        email: String,
        password: String,
        tenant: Option<Nullable<String>>,
    }
}

#[derive(Serialize)]
struct SignedIn<'a> {
    access_token: &'a str,
    token_type: &'static str,
    user_id: &'a UserId,
    email: &'a str,
    role: Role,
    expires_at: Timestamp,
}

/// The handler.
pub(crate) async fn sign_in(app: App, Body(body): Body<SignIn>) -> Result<Response, ApiError> {
    let SignIn { email, password, tenant } = body;
    let tenant = tenant.and_then(|Nullable(slug)| slug);
    let check = check(&app, &email, &password, tenant.as_deref());
    tries::check(&app, &guesses(&app, &email), Code::LoginFailed, check).await
}

/// Guesses of an account's password from the request's network.
pub(crate) fn guesses(app: &App, email: &str) -> Guesses {
    // Whatever tenant is named: left out, it means one that has a name too, and guesses must not be counted twice.
    Guesses::new(&["sign-in", &email::key(email), &app.network()], TRIES, WINDOW)
}

/// Steps 2 to 4.
async fn check(app: &App, email: &str, password: &str, tenant: Option<&str>) -> Result<Response, ApiError> {
    password::take_turn(app).await?;
    let login = user::find_login(app.db(), tenant, email).await?;
    let is_right = password::verify(password, login.as_ref().and_then(|login| login.password_hash.as_deref()))?;
    let Some(login) = login.as_ref().filter(|login| is_right && login.is_active) else {
        let (user, from) = (login.as_ref().map(|login| &login.id), (app.address(), app.request_id()));
        refusals::count_login(app.db(), user, Code::LoginFailed.row().slug, from, app.now()).await?;
        return Err(Code::LoginFailed.into());
    };
    let stored = login.password_hash.as_deref().unwrap_or_default();
    let rehashed = if password::is_outdated(stored) { Some(password::hash(password, app.chance())?) } else { None };
    let_in(app, login, rehashed.as_deref()).await
}

async fn let_in(app: &App, login: &user::Login, rehashed: Option<&str>) -> Result<Response, ApiError> {
    let tx = app.db().begin(Purpose::Entry).await?;
    if !user::signed_in(&tx, login, rehashed, app.now()).await? {
        return Err(Code::LoginFailed.into());
    }
    let session = start_session(app, &tx, &login.tenant_id, &login.id).await?;
    tx.commit().await?;
    let form = SignedIn {
        access_token: session.token.reveal(),
        token_type: "bearer",
        user_id: &login.id,
        email: &login.email,
        role: login.role,
        expires_at: session.expires_at,
    };
    let mut response = response::json(StatusCode::OK, &form)?;
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

/// A session that was just made.
struct NewSession {
    token: Secret,
    expires_at: Timestamp,
}

/// Makes a session for a person, with its audit row: the end of every way to sign in. The caller has decided, in the same transaction,
/// that the person is let in.
async fn start_session(app: &App, tx: &Tx<'_>, tenant_id: &TenantId, user_id: &UserId) -> Result<NewSession, ApiError> {
    let id = CredentialId::generate(app.now(), app.chance());
    let token = Secret::generate(Kind::Session, app.chance());
    let expires_at = app.now().plus_seconds(SESSION);
    let user_agent = user_agent(app);
    let new = credential::New {
        id: &id,
        secret: &token,
        tenant_id,
        user_id,
        agent_id: None,
        scope: "*",
        created_at: app.now(),
        expires_at: Some(expires_at),
        user_agent: user_agent.as_deref(),
        name: None,
        key_id: None,
        minter: credential::Minter::default(),
    };
    credential::insert(tx, &new).await?;
    let action = route::SIGN_IN.audit.unwrap_or_default();
    let event = Event { action, object: id.as_str(), before: Null, after: Null };
    audit::insert(tx, &app.origin(tenant_id, Some(user_id)), &event).await?;
    Ok(NewSession { token, expires_at })
}

/// The client's own description of itself, without the characters that cannot be seen and without credentials.
fn user_agent(app: &App) -> Option<String> {
    let sent = app.headers().all("user-agent");
    let text = String::from_utf8_lossy(sent.first()?.as_bytes()).replace(is_unseen, "");
    Some(Secret::cut_off(text).chars().take(USER_AGENT).collect())
}

#[cfg(test)]
mod tests;
