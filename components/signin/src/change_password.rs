//! `POST /auth/password`: a person's own password.
//!
//! 1. A repeated request gets the kept answer, before the password that it calls the current one is compared with the new one.
//! 2. The current password is checked as at a sign-in: tries are counted, hashes have their turn. A stolen session does
//!    not help to guess it.
//! 3. The new one is stored on the condition that the current one is still as it was checked; all other sessions end.

use common::{
    error::{ApiError, Code},
    event::EventKind,
};
use serde_json::{Value::Null, json};
use service::{
    change::{Answer, Change},
    event::Event,
    extract::Body,
    form,
    response::Response,
};
use store::{credential, outbox::Kind, user};

use crate::{
    password,
    tries::{self, guesses},
};

form! {
    pub(crate) struct NewPassword {
        current: Option<String>,
        new: String,
    }
}

/// The handler.
pub(crate) async fn change(change: Change<Body<NewPassword>>) -> Result<Response, ApiError> {
    let (app, caller, Body(body)) = (&change.app, &change.caller, &change.input);
    let me = user::get(app.db(), caller.tenant_id(), caller.user_id().as_str()).await?;
    password::check_strength_in(app.db(), caller.tenant_id(), &body.new, (&me.email, &me.name)).await?;
    if let Some(answer) = change.replay().await? {
        return Ok(answer);
    }
    let stored = user::password_hash(app.db(), caller.user_id()).await?;
    // With no password before, it is a further way to sign in, which a stolen session must not make.
    if stored.is_none() {
        password::check_allowed(app.db(), caller.tenant_id()).await?;
        change.require_fresh()?;
    }
    if let Some(stored) = &stored {
        let current = body.current.as_deref().ok_or_else(|| ApiError::field("current", "is missing"))?;
        tries::check(app, &guesses(app, caller.email()), Code::WrongPassword, password::check(app, current, stored))
            .await
            .map_err(|refusal| password::or_forgotten(app, refusal))?;
    }
    password::take_turn(app).await?;
    // Before the transaction: nothing slow may happen under the write lock.
    let hash = password::hash(&body.new, app.chance())?;
    change
        .run(async |write, _| {
            let (me, session) = (write.caller.user_id(), write.caller.credential_id());
            if stored.is_none() {
                password::check_allowed(&write.tx, write.caller.tenant_id()).await?;
            }
            if !user::change_password(&write.tx, me, stored.as_deref(), &hash).await? {
                return Err(Code::WrongPassword.into()); // it was changed meanwhile
            }
            let ended = credential::revoke_sessions(&write.tx, me, Some(session), write.now()).await?;
            write.mail(me, Kind::PasswordChanged, json!({ "set": stored.is_none() })).await?;
            let after = json!({ "ended_sessions": ended });
            write.emit(Event::of_user(EventKind::UserPasswordSet, me).data(after.clone())).await?;
            Ok(Answer::no_content().audited(me, Null, after).narrowing(stored.is_some()))
        })
        .await
}

#[cfg(test)]
mod tests;
