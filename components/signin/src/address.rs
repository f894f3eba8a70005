//! `/auth/email` and `/auth/name`: a person's own address and name, changed by themselves. Of the address:
//!
//! 1. They ask for another one, and have proved lately who they are. What is stored and answered looks at no other account.
//! 2. The mail to that address has a code. Nothing has changed yet.
//! 3. The code and a session of the same person together make the address theirs: a mail that went to somebody else by a typing error
//!    gives nothing away. Whether the address is free is decided now, by the statement that stores it.

use common::{
    email,
    error::{ApiError, Code},
    event::EventKind,
    text::persons_name,
};
use http::StatusCode;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Value::Null, json};
use service::{
    app::App,
    caller::Caller,
    change::{Answer, Change},
    event::Event,
    extract::Body,
    form,
    response::{Response, json as answer},
    throttle,
};
use store::{
    code::{self, Kind, NewAddress},
    credential, outbox,
    user::{self, UpdateOutcome, User},
};

use crate::{
    codes::{self, OneCode},
    letters,
};

/// The mails that one person may ask for, to whatever addresses, in so many seconds.
const OF_PERSON: (i64, i64) = (5, 3_600);

#[derive(Serialize, JsonSchema)]
pub(crate) struct Address {
    /// What the caller is called.
    name: String,
    email: String,
    /// The address that waits to be confirmed; null: none does.
    pending: Option<NewAddress>,
}

/// `GET /auth/email`.
pub(crate) async fn get(app: App, caller: Caller) -> Result<Response, ApiError> {
    let pending = code::new_address(app.db(), caller.user_id(), app.now()).await?;
    let User { name, email, .. } = user::get(app.db(), caller.tenant_id(), caller.user_id().as_str()).await?;
    answer(StatusCode::OK, &Address { name, email, pending })
}

form! {
    pub(crate) struct Rename {
        name: String,
    }
}

/// `POST /auth/name`: what the caller is called from now on.
pub(crate) async fn rename(change: Change<Body<Rename>>) -> Result<Response, ApiError> {
    let Body(body) = &change.input;
    let name = persons_name("name", &body.name, 64)?;
    change
        .run(async |write, _| {
            let (tenant, me) = (write.caller.tenant_id(), write.caller.user_id());
            let mut person = user::get(&write.tx, tenant, me.as_str()).await?;
            let was = std::mem::replace(&mut person.name, name.clone());
            if was == name {
                return Ok(Answer::no_content().unchanged());
            }
            // No address and no role is changed, so that nothing refuses it.
            user::update(&write.tx, tenant, &person, write.app().settings().has_mail()).await?;
            let (before, after) = (json!({ "name": was }), json!({ "name": name }));
            let updated = Event::of_user(EventKind::UserUpdated, me);
            write.emit(updated.data(json!({ "before": before, "after": after }))).await?;
            Ok(Answer::no_content().audited(me, before, after))
        })
        .await
}

form! {
    pub(crate) struct Ask {
        email: String,
    }
}

/// `POST /auth/email`: the same answer and the same work for every address that is not the caller's own.
pub(crate) async fn ask(change: Change<Body<Ask>>) -> Result<Response, ApiError> {
    let (app, Body(body)) = (&change.app, &change.input);
    let (email, base) = letters::read(app, &body.email)?;
    if email::key(&email) == email::key(change.caller.email()) {
        return Err(Code::SameEmail.into());
    }
    throttle::count(app, &["new address", change.caller.user_id().as_str()], OF_PERSON, Code::TooManyMails).await?;
    letters::count(app, &email).await?;
    change
        .run(async |write, _| {
            let (tenant, me) = (write.caller.tenant_id(), write.caller.user_id());
            let wanted = code::want_address(&write.tx, (tenant, me), &email, write.app().chance(), write.now()).await?;
            let data = json!({ "was": write.caller.email(), "base": base });
            write.mail_to(Some(&email), me, outbox::Kind::NewAddress, data).await?;
            let answer = Answer::json(StatusCode::ACCEPTED, &wanted)?;
            Ok(answer.audited(me, Null, json!({ "email": email })))
        })
        .await
}

/// `DELETE /auth/email`: withdraws the address that waits.
pub(crate) async fn withdraw(change: Change<()>) -> Result<Response, ApiError> {
    change
        .run(async |write, ()| {
            let me = write.caller.user_id();
            let Some(wanted) = code::new_address(&write.tx, me, write.now()).await? else {
                return Ok(Answer::no_content().unchanged());
            };
            code::withdraw_address(&write.tx, me).await?;
            Ok(Answer::no_content().audited(me, json!({ "email": wanted.email }), Null))
        })
        .await
}

/// What the bearer of a code does that does not work here.
fn unknown() -> ApiError {
    let fix = "Open the newest mail that you have, in the session of the person that asked for it, or ask for another one with POST /auth/email.";
    ApiError::from(Code::InvalidCode).fix(fix)
}

/// Somebody else got the address meanwhile. Few may look for them.
fn taken() -> ApiError {
    let fix = "Ask for another address with POST /auth/email, or ask an admin of your tenant who has this one.";
    ApiError::from(Code::EmailTaken).fix(fix)
}

/// `POST /auth/email/confirm`: from now on the address is the caller's, in the place of the one before. It ends what a password ends, all
/// other sessions: somebody who had the old address may have got in by it.
pub(crate) async fn confirm(change: Change<Body<OneCode>>) -> Result<Response, ApiError> {
    let Body(body) = &change.input;
    let digest = codes::read(&body.code).map_err(|_| unknown())?.digest();
    change
        .run(async |write, _| {
            let (me, session, now) = (write.caller.user_id(), write.caller.credential_id(), write.now());
            let spent = code::spend(&write.tx, Kind::NewAddress, &digest, now).await?;
            let granted = spent.filter(|granted| granted.user_id.as_ref() == Some(me)).ok_or_else(unknown)?;
            let email = granted.data.get("email").and_then(serde_json::Value::as_str).ok_or_else(unknown)?;
            let mut person = user::get(&write.tx, write.caller.tenant_id(), me.as_str()).await?;
            let was = std::mem::replace(&mut person.email, email.to_owned());
            match user::update(&write.tx, write.caller.tenant_id(), &person, write.app().settings().has_mail()).await? {
                UpdateOutcome::Done => {}
                UpdateOutcome::EmailTaken => return Err(taken()),
                UpdateOutcome::LastAdmin => return Err(Code::LastAdmin.into()),
            }
            user::verify_email(&write.tx, me, now).await?;
            let ended = credential::revoke_sessions(&write.tx, me, Some(session), now).await?;
            let told = json!({ "was": was, "now": email });
            write.mail_to(Some(&was), me, outbox::Kind::EmailChanged, told.clone()).await?;
            write.mail(me, outbox::Kind::EmailChanged, told).await?;
            let (before, after) = (json!({ "email": was }), json!({ "email": email }));
            write
                .emit(Event::of_user(EventKind::UserUpdated, me).data(json!({ "before": before, "after": after })))
                .await?;
            let after = json!({ "email": email, "ended_sessions": ended });
            Ok(Answer::no_content().audited(me, before, after))
        })
        .await
}

#[cfg(test)]
mod tests;
