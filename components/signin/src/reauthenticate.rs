//! `POST /auth/reauthenticate`: the person behind a session proves again who they are, for what needs a proof younger than 15 minutes.
//! A person with a second factor proves it by a code, all others by their password.

use common::{
    error::{ApiError, Code},
    time::Timestamp,
};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Value::Null, json};
use service::{
    caller::{FRESH, WayToProve},
    change::{Answer, Change, Done, Write},
    extract::Body,
    form,
    response::Response,
};
use store::{credential, user};

use crate::{
    factor::{self, Typed},
    password,
    tries::{self, guesses},
};

form! {
    pub(crate) struct Proof {
        password: Option<String>,
        code: Option<String>,
    }
}

#[derive(Serialize, JsonSchema)]
pub(crate) struct Proved {
    proved_at: Timestamp,
    fresh_until: Timestamp,
}

/// The handler.
pub(crate) async fn reauthenticate(change: Change<Body<Proof>>) -> Result<Response, ApiError> {
    let (app, caller) = (change.app.clone(), change.caller.clone());
    let Body(body) = &change.input;
    match caller.way_to_prove() {
        WayToProve::Code => {
            let code = body.code.as_deref().ok_or_else(|| ApiError::field("code", "is missing"))?;
            if body.password.is_some() {
                return Err(ApiError::field(
                    "password",
                    "is not asked for: you have a second factor, so send code alone",
                ));
            }
            let typed = Typed::read(code);
            let run = change.run(async |write, _| {
                let second = factor::take_own(write, &typed).await?;
                proved(write, second.as_str()).await
            });
            factor::throttled(&app, caller.user_id(), &typed, run).await
        }
        WayToProve::Password => {
            let password = body.password.as_deref().ok_or_else(|| ApiError::field("password", "is missing"))?;
            if body.code.is_some() {
                return Err(ApiError::field(
                    "code",
                    "is not asked for: you have no second factor, so send password alone",
                ));
            }
            let stored = user::password_hash(app.db(), caller.user_id()).await?.ok_or(Code::WrongPassword)?;
            let check = password::check(&app, password, &stored);
            let outcome = tries::check(&app, &guesses(&app, caller.email()), Code::WrongPassword, check).await;
            outcome.map_err(|refusal| password::or_forgotten(&app, refusal))?;
            change
                .run(async |write, _| {
                    // It may have been changed since it was checked.
                    if user::password_hash(&write.tx, write.caller.user_id()).await? != Some(stored) {
                        return Err(Code::WrongPassword.into());
                    }
                    proved(write, "password").await
                })
                .await
        }
        WayToProve::SignIn => Err(caller.must_prove()),
    }
}

async fn proved(write: &Write<'_>, way: &str) -> Result<Done, ApiError> {
    let (session, now) = (write.caller.credential_id(), write.now());
    credential::prove(&write.tx, session, now).await?;
    let proved = Proved { proved_at: now, fresh_until: now.plus_seconds(FRESH) };
    Ok(Answer::ok(&proved)?.audited(session, Null, json!({ "way": way })))
}
