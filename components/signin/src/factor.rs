//! The second factor of people: `/auth/factor`.
//!
//! 1. A factor is begun, which shows its secret once, and counts only when a first code has confirmed it.
//! 2. The end of a sign-in asks for it with a ticket (`service::session`), which `POST /auth/factor/verify` spends with a code.
//! 3. A code of the app is taken once: the newest time step is kept, by one statement. A recovery code is taken once too.
//! 4. Wrong codes are throttled as passwords are, by account and network. A caller that knows the password could guess six digits from
//!    many networks, so wrong codes of the app are counted for the account as a whole too. Recovery codes cannot be guessed: they go on
//!    letting the person in.

use common::{
    entrance::Entrance,
    error::{ApiError, Code},
    id::UserId,
    letter::{in_ascii, is_filling},
    secret::{Chance, Digest, OneTimeCode},
    time::Timestamp,
    vault,
};
use data_encoding::BASE32_NOPAD;
use http::StatusCode;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{
    Value::{self as Json, Null},
    json,
};
use service::{
    app::App,
    caller::Caller,
    change::{Answer, Change, Write},
    extract::Body,
    form, mail,
    response::{Response, json as answer},
    session::{self, Second},
};
use store::{
    attempt::Guesses,
    audit::refusals,
    code, credential,
    db::{Purpose, Tx},
    factor::{self, Factor},
    notification, outbox, tenant, user,
};

use crate::{codes::OneCode, totp::TotpSecret, tries};

/// Recovery codes of a person.
const CODES: usize = 10;
/// Characters of a recovery code, without hyphens: 80 random bits.
const CODE: usize = 16;
/// Wrong codes of the app for one account, from all networks, in a window: a guess is right with a chance of three in a million.
const TRIES_OF_ALL: i64 = 50;
/// The window, seconds.
const WINDOW_OF_ALL: i64 = 24 * 3600;

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "SecondFactor")]
pub(crate) struct State {
    enabled: bool,
    confirmed_at: Option<Timestamp>,
    /// Whether one is begun, and waits for its first code.
    begun: bool,
    recovery_codes_left: i64,
    /// Whether the tenant demands one of the caller.
    demanded: bool,
    /// Whether the caller has a password.
    has_password: bool,
}

/// `GET /auth/factor`: whether the caller has a second factor.
pub(crate) async fn get(app: App, caller: Caller) -> Result<Response, ApiError> {
    let found = factor::find(app.db(), caller.user_id()).await?;
    let demanded = tenant::get(app.db(), caller.tenant_id()).await?.second_factor.concerns(caller.role());
    let confirmed_at = found.as_ref().and_then(|found| found.confirmed_at);
    let state = State {
        enabled: confirmed_at.is_some(),
        confirmed_at,
        begun: found.is_some() && confirmed_at.is_none(),
        recovery_codes_left: found.map_or(0, |found| found.recovery_codes),
        demanded,
        has_password: user::password_hash(app.db(), caller.user_id()).await?.is_some(),
    };
    answer(StatusCode::OK, &state)
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "BegunSecondFactor")]
pub(crate) struct Begun<'a> {
    secret: &'a str,
    uri: &'a str,
}

/// `POST /auth/factor`: begins a second factor, in the place of one that was begun and not confirmed.
pub(crate) async fn begin(change: Change<()>) -> Result<Response, ApiError> {
    change
        .run(async |write, ()| {
            let (app, me) = (write.app(), write.caller.user_id());
            let secret = TotpSecret::generate(app.chance());
            let sealed = app.settings().vault.seal(vault::TOTP, &[me.as_str()], secret.reveal(), app.chance())?;
            if !factor::begin(&write.tx, me, &sealed, write.now()).await? {
                return Err(Code::SecondFactorExists.into());
            }
            let tenant = tenant::get(&write.tx, write.caller.tenant_id()).await?;
            let uri = uri(&secret, tenant.name.as_deref().unwrap_or(&tenant.slug), write.caller.email());
            let shown = Begun { secret: secret.reveal(), uri: &uri };
            Ok(Answer::created(&shown)?.with_secret().audited(me, Null, Null))
        })
        .await
}

/// The link by which an app takes the secret over (Key URI Format). In its label a colon stands between the issuer and the account, also one
/// that is encoded, so that neither of them may have one.
fn uri(secret: &TotpSecret, tenant: &str, email: &str) -> String {
    let issuer = format!("Accredit {tenant}");
    let part = |text: &str| {
        let words: Vec<&str> = text.split([':', ' ']).filter(|word| !word.is_empty()).collect();
        utf8_percent_encode(&words.join(" "), NON_ALPHANUMERIC).to_string()
    };
    let (label, issuer) = (format!("{}:{}", part(&issuer), part(email)), part(&issuer));
    format!("otpauth://totp/{label}?secret={}&issuer={issuer}&algorithm=SHA1&digits=6&period=30", secret.reveal())
}

/// New recovery codes as they are shown, with the digests that are stored.
fn new_recovery_codes(user: &UserId, chance: &Chance) -> (Vec<String>, Vec<Digest>) {
    let codes = (0..CODES).map(|_| BASE32_NOPAD.encode(&chance.bytes::<10>()));
    codes.map(|code| (in_groups(&code), recovery_digest(user, &code))).unzip()
}

/// With a hyphen after each four characters.
fn in_groups(code: &str) -> String {
    let mut text = String::with_capacity(code.len() + code.len() / 4);
    for (at, letter) in code.chars().enumerate() {
        if at > 0 && at % 4 == 0 {
            text.push('-');
        }
        text.push(letter);
    }
    text
}

fn recovery_digest(user: &UserId, code: &str) -> Digest {
    Digest::of_parts(&["recovery code", user.as_str(), code])
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "RecoveryCodes")]
pub(crate) struct Recovery {
    recovery_codes: Vec<String>,
}

/// `POST /auth/factor/confirm`: the first code. From now on every sign-in asks for one, and sessions that have proved only one factor end, but
/// for this one; the recovery codes are shown.
pub(crate) async fn confirm(change: Change<Body<OneCode>>) -> Result<Response, ApiError> {
    let (app, user, Body(body)) = (change.app.clone(), change.caller.user_id().clone(), &change.input);
    let typed = Typed::read(&body.code);
    let run = change.run(async |write, _| {
        let (me, now) = (write.caller.user_id(), write.now());
        let found = factor::find(&write.tx, me).await?.ok_or(Code::NoSecondFactor)?;
        if found.confirmed_at.is_some() {
            return Err(Code::SecondFactorExists.into());
        }
        let step = match &typed {
            Typed::OfApp(code) => open(write.app(), me, &found)?.step_of(code, now),
            Typed::Recovery(_) | Typed::Nothing => None,
        };
        // There are no recovery codes yet.
        let wrong = || ApiError::from(Code::WrongCode).fix("Send code as the six digits that the app shows now. If they are refused again, set the clock of its device.");
        let step = step.ok_or_else(wrong)?;
        if !factor::confirm(&write.tx, me, &found.sealed, step, now).await? {
            return Err(Code::WrongCode.into()); // it was begun anew meanwhile
        }
        // They were guesses of another app's codes.
        guesses_of_all(me).forget(&write.tx).await?;
        // Another session may be a stranger's, who knows the password and nothing else: it ends. One that has proved two factors stays, and
        // cannot take this one away by what it has proved.
        let this = write.caller.credential_id();
        let ended = credential::revoke_of_one_factor(&write.tx, me, this, now).await?;
        credential::unprove_others(&write.tx, me, this).await?;
        let (shown, digests) = new_recovery_codes(me, write.app().chance());
        factor::replace_recovery_codes(&write.tx, me, &digests).await?;
        let body = "Each sign-in to your account now asks for a code of your app. Sessions that knew only one factor have ended. If it was not you: ask an admin.";
        write.notify(me, "A second factor was set up", body).await?;
        write.mail(me, outbox::Kind::FactorAdded, json!({})).await?;
        Ok(Answer::ok(&Recovery { recovery_codes: shown })?.with_secret().audited(me, Null, json!({ "enabled": true, "sessions_ended": ended })))
    });
    tries::check(&app, &guesses(&app, &user), Code::WrongCode, run).await
}

/// `POST /auth/factor/recovery-codes`: ten new ones, in the place of all that there were.
pub(crate) async fn replace_codes(change: Change<()>) -> Result<Response, ApiError> {
    change
        .run(async |write, ()| {
            let me = write.caller.user_id();
            let found = factor::find(&write.tx, me).await?;
            let left = found.filter(|found| found.confirmed_at.is_some()).ok_or(Code::NoSecondFactor)?.recovery_codes;
            let (shown, digests) = new_recovery_codes(me, write.app().chance());
            factor::replace_recovery_codes(&write.tx, me, &digests).await?;
            write.mail(me, outbox::Kind::RecoveryCodesReplaced, json!({})).await?;
            let (before, after) = (json!({ "left": left }), json!({ "left": CODES }));
            Ok(Answer::ok(&Recovery { recovery_codes: shown })?.with_secret().audited(me, before, after))
        })
        .await
}

/// `DELETE /auth/factor`: removes the caller's own. The row asks for a fresh proof, which is a code.
pub(crate) async fn remove(change: Change<()>) -> Result<Response, ApiError> {
    change
        .run(async |write, ()| {
            let me = write.caller.user_id();
            if !factor::remove(&write.tx, me).await? {
                return Err(Code::NoSecondFactor.into());
            }
            let body = "Your account has no second factor any more. If it was not you: change your password, end your other sessions, and ask an admin.";
            write.notify(me, "Your second factor was removed", body).await?;
            write.mail(me, outbox::Kind::FactorRemoved, json!({})).await?;
            Ok(Answer::no_content().audited(me, json!({ "enabled": true }), json!({ "enabled": false })))
        })
        .await
}

form! {
    pub(crate) struct Verify {
        ticket: String,
        code: String,
    }
}

/// `POST /auth/factor/verify`: ends a sign-in with a code. A wrong one leaves the ticket as it is.
pub(crate) async fn verify(app: App, Body(body): Body<Verify>) -> Result<Response, ApiError> {
    let ticket = OneTimeCode::parse(body.ticket.trim()).ok_or(Code::TicketEnded)?.digest();
    let found = code::find(app.db(), code::Kind::Ticket, &ticket, app.now()).await?;
    let user = found.and_then(|found| found.user_id).ok_or(Code::TicketEnded)?;
    let typed = Typed::read(&body.code);
    let finish = async {
        let tx = app.db().begin(Purpose::Entry).await?;
        let spent = code::spend(&tx, code::Kind::Ticket, &ticket, app.now()).await?.ok_or(Code::TicketEnded)?;
        let login = user::login_of(&tx, &user).await?.ok_or(Code::TicketEnded)?;
        // Without a second factor by now, the account was changed since the password: the sign-in begins again.
        let ended = |refusal: ApiError| match refusal.code() {
            Code::NoSecondFactor => Code::TicketEnded.into(),
            _ => refusal,
        };
        let second = take(&app, &tx, &user, &typed).await.map_err(ended)?;
        let said = |name: &str| spent.data.get(name).and_then(Json::as_str);
        let entrance = said("way").and_then(Entrance::from_word);
        let by = (entrance.ok_or(Code::TicketEnded)?, said("provider"), second);
        session::let_in_by_code(&app, tx, &login, by, None, Code::TicketEnded).await
    };
    throttled(&app, &user, &typed, finish).await
}

/// What somebody typed as a code.
pub(crate) enum Typed {
    /// Six digits.
    OfApp(String),
    /// The characters of a recovery code.
    Recovery(String),
    /// Neither.
    Nothing,
}

impl Typed {
    /// Reads a code as people type it, or paste it out of a text: with blanks, hyphens or what is not seen, in upper or lower case, with the
    /// digits of their keyboard.
    pub(crate) fn read(text: &str) -> Self {
        let letters = text.chars().take(64).filter(|c| !is_filling(*c));
        let code: String = letters.map(|c| in_ascii(c).to_ascii_uppercase()).collect();
        match code.len() {
            6 if code.bytes().all(|b| b.is_ascii_digit()) => Self::OfApp(code),
            CODE if code.bytes().all(|b| b.is_ascii_alphanumeric()) => Self::Recovery(code),
            _ => Self::Nothing,
        }
    }
}

/// Checks something that takes a code, if there were not too many wrong ones.
pub(crate) async fn throttled<T>(
    app: &App,
    user: &UserId,
    typed: &Typed,
    check: impl Future<Output = Result<T, ApiError>>,
) -> Result<T, ApiError> {
    let check = async {
        let outcome = check.await;
        if outcome.as_ref().err().is_some_and(|refusal| refusal.code() == Code::WrongCode) {
            let (slug, from) = (Code::WrongCode.row().slug, (app.address(), app.request_id()));
            refusals::count_login(app.db(), Some(user), slug, from, app.now()).await?;
        }
        outcome
    };
    let by_network = guesses(app, user);
    match typed {
        Typed::Recovery(_) => tries::check(app, &by_network, Code::WrongCode, check).await,
        Typed::OfApp(_) | Typed::Nothing => {
            let of_all = guesses_of_all(user);
            let check = tries::check(app, &of_all, Code::WrongCode, check);
            tries::check(app, &by_network, Code::WrongCode, check).await
        }
    }
}

/// Guesses of the codes of an account's app from everywhere.
fn guesses_of_all(user: &UserId) -> Guesses {
    Guesses::new(&["second factor", user.as_str()], TRIES_OF_ALL, WINDOW_OF_ALL)
}

/// Guesses of an account's codes from the request's network.
fn guesses(app: &App, user: &UserId) -> Guesses {
    Guesses::new(&["second factor", user.as_str(), &app.network()], tries::TRIES, tries::WINDOW)
}

/// Takes a code of the person's second factor: it is used up when the transaction ends well. A wrong one is 403 `wrong_code`.
pub(crate) async fn take(app: &App, tx: &Tx<'_>, user: &UserId, typed: &Typed) -> Result<Second, ApiError> {
    let found = factor::find(tx, user).await?.filter(|found| found.confirmed_at.is_some());
    let found = found.ok_or(Code::NoSecondFactor)?;
    match typed {
        Typed::OfApp(code) => {
            let step = open(app, user, &found)?.step_of(code, app.now()).ok_or(Code::WrongCode)?;
            let is_taken = factor::take_step(tx, user, &found.sealed, step).await?;
            if is_taken { Ok(Second::Code) } else { Err(Code::WrongCode.into()) }
        }
        Typed::Recovery(code) => {
            if !factor::take_recovery_code(tx, user, &recovery_digest(user, code), app.now()).await? {
                return Err(Code::WrongCode.into());
            }
            tell_of_recovery_code(app, tx, user, found.recovery_codes - 1).await?;
            Ok(Second::RecoveryCode)
        }
        Typed::Nothing => Err(Code::WrongCode.into()),
    }
}

/// Tells a person that one of their recovery codes was used: somebody may have found the list.
async fn tell_of_recovery_code(app: &App, tx: &Tx<'_>, user: &UserId, left: i64) -> Result<(), ApiError> {
    let Some(login) = user::login_of(tx, user).await? else { return Ok(()) };
    let body = format!(
        "A recovery code was used for your account, and {left} are left. If it was not you: change your password, end your sessions, and replace the codes."
    );
    let text = ("A recovery code was used", body.as_str());
    let when = (&login.tenant_id, app.chance(), app.now());
    notification::insert_own(tx, when, (user, Some(user)), text).await?;
    mail::queue(app, tx, (&login.tenant_id, user), outbox::Kind::RecoveryCodeUsed, json!({ "left": left })).await?;
    Ok(())
}

/// Opens the secret of a factor.
fn open(app: &App, user: &UserId, found: &Factor) -> Result<TotpSecret, ApiError> {
    Ok(TotpSecret::opened(app.settings().vault.open(vault::TOTP, &[user.as_str()], &found.sealed)?))
}

/// Takes a code for a change of the caller's own.
pub(crate) async fn take_own(write: &Write<'_>, typed: &Typed) -> Result<Second, ApiError> {
    take(write.app(), &write.tx, write.caller.user_id(), typed).await
}

#[cfg(test)]
mod tests;
