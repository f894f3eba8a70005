//! Ways in for others: invitations, and links to set a new password. A link is in its answer once, and nothing is sent; a new user is
//! invited by mail, where there is mail.

use common::{
    entrance::Entrance,
    error::{ApiError, Code},
};
use serde_json::{Value::Null, json};
use service::{
    app::App,
    change::{Answer, Change, Write},
    credential::own_base,
    extract::{Body, Path},
    form,
    link::{self, Page},
    response::Response,
    throttle,
};
use store::{
    code, outbox, tenant,
    user::{self, User},
};

use crate::users::find;

/// Invitations and links that one admin mails in an hour.
const MOST: i64 = 100;
/// The window, seconds.
const WINDOW: i64 = 3_600;

form! {
    pub(crate) struct ByMail {
        mail: Option<bool>,
    }
}

/// `POST /api/users/{id}/invite`: a link by which a user without a password sets one; with `mail` it is mailed to them, and the answer is
/// empty.
pub(crate) async fn invite(change: Change<Body<ByMail>>, Path(id): Path) -> Result<Response, ApiError> {
    match change.input.0.mail {
        Some(true) => mail_again(change, &id).await,
        _ => answer_with_link(change, &id, Page::Invite).await,
    }
}

/// Mails an invitation once more, such as after the one before has ended.
async fn mail_again(change: Change<Body<ByMail>>, id: &str) -> Result<Response, ApiError> {
    let invitation = Invitation::Mail(base_of_mails(&change).await?);
    change
        .on(id, find, async |write, user, _| {
            check_invited(write, &user).await?;
            invitation.send(write, &user).await?;
            Ok(Answer::no_content().audited(&user.id, Null, json!({ "mailed": true })))
        })
        .await
}

/// What comes before the path of a link that an admin mails, which is counted.
async fn base_of_mails<T>(change: &Change<T>) -> Result<String, ApiError> {
    let app = &change.app;
    if !app.settings().has_mail() {
        return Err(Code::MailDisabled.into());
    }
    let base = own_base(app).ok_or(Code::PublicUrlMissing)?;
    count(app, change.caller.user_id().as_str()).await?;
    Ok(base)
}

async fn count(app: &App, admin: &str) -> Result<(), ApiError> {
    throttle::count(app, &["invitations", admin], (MOST, WINDOW), Code::TooManyMails).await
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

/// `POST /api/users/{id}/reset-password`: a link by which another user sets a new password; with `mail` it is mailed to them, and the answer
/// is empty.
pub(crate) async fn reset(change: Change<Body<ByMail>>, Path(id): Path) -> Result<Response, ApiError> {
    match change.input.0.mail {
        Some(true) => mail_reset(change, &id).await,
        _ => answer_with_link(change, &id, Page::Reset).await,
    }
}

/// Mails a link to set a new password, or, where the tenant has no passwords, one to sign in. It counts for the admin: what strangers ask
/// for in the person's name takes nothing from it.
async fn mail_reset(change: Change<Body<ByMail>>, id: &str) -> Result<Response, ApiError> {
    let base = base_of_mails(&change).await?;
    change
        .on(id, find, async |write, user, _| {
            check_may_reset(write, &user)?;
            let ways = tenant::get(&write.tx, write.caller.tenant_id()).await?.ways;
            let kind = match (ways.allow(Entrance::Password), ways.allow(Entrance::Link)) {
                (true, _) => outbox::Kind::Reset,
                (false, true) => outbox::Kind::Link,
                (false, false) => return Err(Code::WayDisabled.into()),
            };
            write.mail(&user.id, kind, json!({ "base": base, "next": "/" })).await?;
            Ok(Answer::no_content().audited(&user.id, Null, json!({ "mailed": true })))
        })
        .await
}

/// Refuses a link to set the password of somebody who may not come in, and one's own.
fn check_may_reset(write: &Write<'_>, user: &User) -> Result<(), ApiError> {
    if !user.active {
        return Err(Code::UserDeactivated.with("user", user.id.as_str()));
    }
    if user.id == *write.caller.user_id() {
        return Err(Code::OwnPassword.into());
    }
    Ok(())
}

async fn answer_with_link<T>(change: Change<T>, id: &str, page: Page) -> Result<Response, ApiError> {
    let base = own_base(&change.app);
    change
        .on(id, find, async |write, user, _| {
            match page {
                Page::Invite => check_invited(write, &user).await?,
                _ => check_may_reset(write, &user)?,
            }
            let base = base.ok_or(Code::PublicUrlMissing)?;
            if page == Page::Invite {
                code::end_invitations(&write.tx, &user.id).await?;
            }
            let whose = (write.caller.tenant_id(), &user.id);
            let link = link::mint(write.app(), &write.tx, whose, page, (&base, "")).await?;
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
        count(app, admin).await?;
        Ok(Self::Mail(base))
    }

    /// Queues the mail, and ends the invitations before it; answers with what the admin still has to do.
    pub(crate) async fn send(&self, write: &Write<'_>, user: &User) -> Result<Vec<String>, ApiError> {
        match self {
            Self::None => Ok(Vec::new()),
            Self::Mail(base) => {
                code::end_invitations(&write.tx, &user.id).await?;
                let data = json!({ "base": base, "name": user.name, "role": user.role });
                write.mail(&user.id, outbox::Kind::Invite, data).await?;
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
