//! Sessions: the end of every way to sign in, and the cookie that a browser keeps one in.

use common::{
    error::{ApiError, Code},
    id::{CredentialId, UserId},
    role::Role,
    secret::{Kind, Secret},
    text::is_unseen,
    time::Timestamp,
};
use http::{HeaderValue, StatusCode, header};
use serde::Serialize;
use serde_json::{Value::Null, json};
use store::{
    audit::{self, Event},
    credential,
    db::Tx,
    user,
};

use crate::{
    app::App,
    credential::cookie_name,
    response::{self, Response},
};

/// How long a session lives, seconds.
const LIFE: i64 = 24 * 3600;
/// Characters that are kept of the client's `User-Agent`.
const USER_AGENT: usize = 200;
/// The audit row's action of every sign-in.
const ACTION: &str = "session.start";

/// How a person has proved who they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// A password.
    Password,
}

impl Way {
    /// The word in the audit row.
    const fn as_str(self) -> &'static str {
        match self {
            Self::Password => "password",
        }
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

/// Lets a person in: records the sign-in on the condition that the account is still as it was checked, makes the session with its audit
/// row, and commits. Every way to sign in ends here; `tx` has done before what is particular to it, such as spending a code. `rehashed`
/// is the password's hash, where it was made anew; `refusal` is what a changed or deactivated account gets.
pub async fn let_in(
    app: &App,
    tx: Tx<'_>,
    login: &user::Login,
    way: Way,
    rehashed: Option<&str>,
    refusal: Code,
) -> Result<Response, ApiError> {
    if !user::signed_in(&tx, login, rehashed, app.now()).await? {
        return Err(refusal.into());
    }
    let id = CredentialId::generate(app.now(), app.chance());
    let token = Secret::generate(Kind::Session, app.chance());
    let expires_at = app.now().plus_seconds(LIFE);
    let user_agent = user_agent(app);
    let new = credential::New {
        id: &id,
        secret: &token,
        tenant_id: &login.tenant_id,
        user_id: &login.id,
        agent_id: None,
        scope: "*",
        created_at: app.now(),
        expires_at: Some(expires_at),
        user_agent: user_agent.as_deref(),
        name: None,
        key_id: None,
        minter: credential::Minter::default(),
    };
    credential::insert(&tx, &new).await?;
    let event = Event { action: ACTION, object: id.as_str(), before: Null, after: json!({ "way": way.as_str() }) };
    audit::insert(&tx, &app.origin(&login.tenant_id, Some(&login.id)), &event).await?;
    tx.commit().await?;
    let form = SignedIn {
        access_token: token.reveal(),
        token_type: "bearer",
        user_id: &login.id,
        email: &login.email,
        role: login.role,
        expires_at,
    };
    let mut response = response::json(StatusCode::OK, &form)?;
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

/// The client's own description of itself, without the characters that cannot be seen and without credentials.
fn user_agent(app: &App) -> Option<String> {
    let sent = app.headers().all("user-agent");
    let text = String::from_utf8_lossy(sent.first()?.as_bytes()).replace(is_unseen, "");
    Some(Secret::cut_off(text).chars().take(USER_AGENT).collect())
}

/// The value of `Set-Cookie` that leaves a session with a browser. `None`: this site has no cookie.
pub fn cookie(app: &App, token: &str) -> Option<String> {
    cookie_name(app)
        .map(|name| format!("{name}={token}; Path=/; Max-Age={LIFE};{} HttpOnly; SameSite=Lax", secure(app)))
}

/// The value of `Set-Cookie` by which a browser forgets its session. `None`: this site has no cookie.
pub fn no_cookie(app: &App) -> Option<String> {
    cookie_name(app).map(|name| format!("{name}=; Path=/; Max-Age=0;{} HttpOnly; SameSite=Lax", secure(app)))
}

/// The attribute of cookies of a site that is reached by https.
pub fn secure(app: &App) -> &'static str {
    if is_secure(app) { " Secure;" } else { "" }
}

/// Whether this site is reached by https.
pub fn is_secure(app: &App) -> bool {
    app.settings().public_url.as_ref().is_some_and(|url| url.is_secure)
}
