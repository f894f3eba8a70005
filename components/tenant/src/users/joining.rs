//! Ways in for others: invitations, and links to set a new password. A link is in its answer once, and nothing is sent; a new user is
//! invited by mail, where there is mail.

use common::error::{ApiError, Code};
use serde_json::{Value::Null, json};
use service::{
    app::App,
    change::{Answer, Change, Write},
    credential::own_base,
    extract::{Body, Empty, Path},
    form,
    link::{self, Page, Sent},
    response::Response,
    throttle,
};
use store::{
    outbox,
    user::{self, User},
};

use crate::users::find;

/// Invitations that one admin mails in an hour.
const MOST: i64 = 100;
/// The window, seconds.
const WINDOW: i64 = 3_600;

form! {
    pub(crate) struct Invite {
        mail: Option<bool>,
    }
}

/// `POST /api/users/{id}/invite`: a link by which a user without a password sets one; with `mail` it is mailed to them, and the answer is
/// empty.
pub(crate) async fn invite(change: Change<Body<Invite>>, Path(id): Path) -> Result<Response, ApiError> {
    match change.input.0.mail {
        Some(true) => mail_again(change, &id).await,
        _ => answer_with_link(change, &id, Page::Invite).await,
    }
}

/// Mails an invitation once more, such as after the one before has ended.
async fn mail_again(change: Change<Body<Invite>>, id: &str) -> Result<Response, ApiError> {
    let (app, admin) = (&change.app, change.caller.user_id().as_str());
    if !app.settings().has_mail() {
        return Err(Code::MailDisabled.into());
    }
    if own_base(app).is_none() {
        return Err(Code::PublicUrlMissing.into());
    }
    let invitation = Invitation::decide(app, admin, true).await?;
    change
        .on(id, find, async |write, user, _| {
            check_invited(write, &user).await?;
            invitation.send(write, &user).await?;
            Ok(Answer::no_content().audited(&user.id, Null, json!({ "mailed": true })))
        })
        .await
}

/// Refuses an invitation of somebody who may not join, or has.
async fn check_invited(write: &Write<'_>, user: &User) -> Result<(), ApiError> {
    if !user.active {
        return Err(Code::UserDeactivated.with("user", user.id.as_str()));
    }
    if user::password_hash(&write.tx, &user.id).await?.is_some() {
        return Err(Code::AlreadyJoined.with("user", user.id.as_str()));
    }
    Ok(())
}

/// `POST /api/users/{id}/reset-password`: a link by which another user sets a new password.
pub(crate) async fn reset(change: Change<Body<Empty>>, Path(id): Path) -> Result<Response, ApiError> {
    answer_with_link(change, &id, Page::Reset).await
}

async fn answer_with_link<T>(change: Change<T>, id: &str, page: Page) -> Result<Response, ApiError> {
    let base = own_base(&change.app);
    change
        .on(id, find, async |write, user, _| {
            if !user.active {
                return Err(Code::UserDeactivated.with("user", user.id.as_str()));
            }
            if page == Page::Reset && user.id == *write.caller.user_id() {
                return Err(Code::OwnPassword.into());
            }
            if page == Page::Invite {
                check_invited(write, &user).await?;
            }
            let base = base.ok_or(Code::PublicUrlMissing)?;
            let whose = (write.caller.tenant_id(), &user.id);
            let link = link::mint(write.app(), &write.tx, whose, (page, Sent::ByHand), (&base, "")).await?;
            if page == Page::Reset {
                let body = format!(
                    "{} made a link by which a new password can be set for your account. If you did not ask for it, tell another admin of your tenant.",
                    write.author()
                );
                write.tell(&user.id, "A link to set your password was made", &body).await?;
            }
            let after = json!({ "expires_at": link.expires_at });
            Ok(Answer::ok(&link)?.with_secret().audited(&user.id, Null, after))
        })
        .await
}

/// How a new user gets in.
pub(crate) enum Invitation {
    /// Not by us: nobody asked for it.
    None,
    /// By mail, with this before every path.
    Mail(String),
    /// By a link that the admin has to hand over, since the server cannot mail one.
    ByHand,
}

impl Invitation {
    /// Decides it, and counts it where a mail is sent.
    pub(crate) async fn decide(app: &App, admin: &str, is_asked: bool) -> Result<Self, ApiError> {
        if !is_asked {
            return Ok(Self::None);
        }
        let base = own_base(app).filter(|_| app.settings().has_mail());
        let Some(base) = base else { return Ok(Self::ByHand) };
        throttle::count(app, &["invitations", admin], (MOST, WINDOW), Code::TooManyMails).await?;
        Ok(Self::Mail(base))
    }

    /// Queues the mail; answers with what the admin still has to do.
    pub(crate) async fn send(&self, write: &Write<'_>, user: &User) -> Result<Vec<String>, ApiError> {
        match self {
            Self::None => Ok(Vec::new()),
            Self::Mail(base) => {
                write.mail(&user.id, outbox::Kind::Invite, json!({ "base": base, "name": user.name })).await?;
                Ok(Vec::new())
            }
            Self::ByHand => Ok(vec![format!(
                "No mail was sent: this server sends none, or does not know its own address. Get a link with POST /api/users/{}/invite, and hand it over.",
                user.id
            )]),
        }
    }
}

#[cfg(test)]
mod tests;
