//! `POST /auth/token`: sign-in with a password.
//!
//! 1. Take a place among the guesses of this account and network, before anything is known of the account; the sixth wrong one in
//!    ten minutes is refused without a hash.
//! 2. Where there were very many wrong ones from everywhere in a day, let only a few more of strangers through; who comes from a network where
//!    the person's sessions were used is none. Take a place among the hashes of this second.
//! 3. Find the account and check the password, or nobody's hash: the same statements and the same work for an unknown
//!    address, an unknown tenant, a wrong password and an inactive account.
//! 4. Right: in one transaction the code of the second factor is taken, where one was sent, the sign-in is recorded, on the condition
//!    that the account is still as it was checked, and the session is made.

use common::{
    email,
    entrance::Entrance,
    error::{ApiError, Code},
    secret::Digest,
};
use service::{
    app::App,
    extract::Body,
    form,
    form::Nullable,
    response::Response,
    session::{self, Way},
};
use store::{attempt::Guesses, audit::refusals, credential, db::Purpose, user};

use crate::{
    factor::{self, Typed},
    password,
    tries::{self, guesses, guesses_of_strangers},
};

/// Wrong tries of one account from everywhere in a day.
const TRIES_IN_A_DAY: (i64, i64) = (100, 24 * 3_600);

form! {
    pub(crate) struct SignIn {
        email: String,
        password: String,
        code: Option<Nullable<String>>,
        tenant: Option<Nullable<String>>,
    }
}

/// The handler.
pub(crate) async fn sign_in(app: App, Body(body): Body<SignIn>) -> Result<Response, ApiError> {
    let SignIn { email, password, code, tenant } = body;
    // As it is stored, however it was written. A text that is no address is nobody's.
    let email = email::parse(&email).unwrap_or(email);
    // Forms send empty fields too.
    let typed = |field: Option<Nullable<String>>| {
        field.and_then(|Nullable(text)| text).map(|text| text.trim().to_owned()).filter(|text| !text.is_empty())
    };
    let (code, tenant) = (typed(code), typed(tenant).map(|slug| slug.to_ascii_lowercase()));
    let check = check(&app, &email, &password, code.as_deref(), tenant.as_deref());
    let check = slowed(&app, &email, tenant.as_deref(), check);
    let outcome = tries::check(&app, &guesses(&app, &email), Code::LoginFailed, check).await;
    outcome.map_err(|refusal| password::or_forgotten(&app, refusal))
}

/// Guesses of an account's password from everywhere. One of 65,536 counters, which other addresses may share: counters that live for a day
/// must not be as many as the addresses that strangers make up.
fn guesses_in_a_day(email: &str) -> Guesses {
    let (most, seconds) = TRIES_IN_A_DAY;
    let place: String =
        Digest::of_parts(&[&email::key(email)]).bytes().iter().take(2).map(|b| format!("{b:02x}")).collect();
    Guesses::new(&["sign-in from everywhere", &place], most, seconds)
}

/// Slows guesses from many networks down, which the bound of each network does not see.
async fn slowed(
    app: &App,
    email: &str,
    tenant: Option<&str>,
    check: impl Future<Output = Result<Response, ApiError>>,
) -> Result<Response, ApiError> {
    let all = guesses_in_a_day(email);
    let guessed = all.count(app.db(), app.now()).await?;
    if all.are_too_many(guessed.wrong) && !is_at_home(app, email, tenant).await? {
        return tries::check(app, &guesses_of_strangers(email), Code::LoginFailed, check).await;
    }
    let outcome = check.await;
    if outcome.as_ref().err().is_some_and(|refusal| refusal.code() == Code::LoginFailed) {
        all.end(app.db(), true, app.now()).await?;
    }
    outcome
}

/// Whether the request comes from a network where sessions of the account's person were used: by the same statements for an account that
/// there is not.
async fn is_at_home(app: &App, email: &str, tenant: Option<&str>) -> Result<bool, ApiError> {
    let login = user::find_login(app.db(), tenant, email).await?;
    let user = login.as_ref().map(|login| &login.id);
    Ok(credential::is_known_network(app.db(), user, &app.network()).await?)
}

/// Steps 2 to 4.
async fn check(
    app: &App,
    email: &str,
    password: &str,
    code: Option<&str>,
    tenant: Option<&str>,
) -> Result<Response, ApiError> {
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
    let Some(code) = code else {
        let tx = app.db().begin(Purpose::Entry).await?;
        return session::let_in(app, tx, login, Way::Password, rehashed.as_deref(), Code::LoginFailed).await;
    };
    let typed = Typed::read(code);
    let finish = async {
        let tx = app.db().begin(Purpose::Entry).await?;
        let second = factor::take(app, &tx, &login.id, &typed).await.map_err(|refusal| match refusal.code() {
            Code::NoSecondFactor => refusal.fix("Send the same without code: this account has no second factor."),
            _ => refusal,
        })?;
        let by = (Entrance::Password, None, second);
        session::let_in_by_code(app, tx, login, by, rehashed.as_deref(), Code::LoginFailed).await
    };
    factor::throttled(app, &login.id, &typed, finish).await
}

#[cfg(test)]
mod tests;
