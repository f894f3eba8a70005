//! The users of a tenant: list, read, create, change.

pub(crate) mod joining;
pub(crate) mod leaving;

use common::{
    email,
    error::{ApiError, Code, Flaws},
    event::EventKind,
    id::UserId,
    role::Role,
    text::{count, part, persons_name},
};
use http::StatusCode;
use serde::Serialize;
use serde_json::{
    Value::{self as Json, Null},
    json,
};
use service::{
    app::App,
    caller::Caller,
    change::{Answer, Change, Write},
    event::Event,
    extract::{Body, Path, Query},
    form,
    form::PageQuery,
    response::{self, Response},
};
use store::{
    addressee, audit, code, credential,
    db::Rows,
    factor,
    identity::{self, Identities},
    outbox::Kind,
    user::{self, Account, Sort, UpdateOutcome, User},
};

use self::joining::Invitation;

form! {
    pub(crate) struct List {
        q: Option<String>,
        role: Option<String>,
        active: Option<String>,
        state: Option<String>,
        sort: Option<String>,
        ..page: PageQuery,
    }
}

/// `GET /api/users`: the tenant's users.
pub(crate) async fn list(app: App, caller: Caller, Query(query): Query<List>) -> Result<Response, ApiError> {
    let q = part(query.q.as_deref())?.map(|q| persons_name("q", &q, 100)).transpose()?;
    let page = caller.page(&app, &query.page)?;
    let role = query.role.as_deref().map(read_role).transpose()?;
    let active = match query.active.as_deref() {
        None => None,
        Some("true") => Some(true),
        Some("false") => Some(false),
        Some(_) => return Err(Code::InvalidFilter.with("field", "active").with("valid", "true, false")),
    };
    let invalid = |field, valid| move || Code::InvalidFilter.with("field", field).with("valid", valid);
    let state =
        query.state.as_deref().map(|word| Account::from_word(word).ok_or_else(invalid("state", Account::WORDS)));
    let state = state.transpose()?;
    let invalid = invalid("sort", Sort::WORDS);
    let sort = query.sort.as_deref().map_or(Ok(Sort::default()), |word| Sort::from_word(word).ok_or_else(invalid))?;
    let filter = user::Filter { q: q.as_deref(), role, active, state, sort };
    let rows = user::list(app.db(), caller.tenant_id(), &filter, &page).await?;
    response::json(StatusCode::OK, &page.page(rows, |row| sort.place(row)))
}

fn read_role(word: &str) -> Result<Role, ApiError> {
    Role::from_word(word).ok_or_else(|| Code::UnknownRole.into())
}

fn read_email(text: &str) -> Result<String, ApiError> {
    email::parse(text).ok_or_else(|| Code::InvalidEmail.into())
}

fn read_name(name: &str) -> Result<String, ApiError> {
    persons_name("name", name, 64)
}

/// `GET /api/users/{id}`: one user of the tenant.
pub(crate) async fn get(app: App, caller: Caller, Path(id): Path) -> Result<Response, ApiError> {
    response::json(StatusCode::OK, &find(app.db(), &caller, &id).await?)
}

/// The user of the caller's tenant with this id, as [`Change::on`] looks it up.
pub(crate) async fn find(reads: &dyn Rows, caller: &Caller, id: &str) -> Result<User, ApiError> {
    user::get(reads, caller.tenant_id(), id).await
}

form! {
    pub(crate) struct Create {
        email: String,
        name: String,
        role: Option<String>,
        invite: Option<bool>,
    }
}

/// A user, and what the admin should know.
#[derive(Serialize)]
pub(crate) struct Warned<'a> {
    #[serde(flatten)]
    pub(crate) user: &'a User,
    pub(crate) warnings: Vec<String>,
}

/// What goes on working after somebody was shut out, or is no admin any more: what they made for agents of others.
pub(crate) async fn what_stays(write: &Write<'_>, user: &User) -> Result<Vec<String>, ApiError> {
    let (made, opened) = credential::made_for_others(&write.tx, &user.id, write.now()).await?;
    let (who, id) = (&user.email, &user.id);
    let mut warnings = Vec::new();
    if made > 0 {
        warnings.push(format!(
            "{who} has issued {} of agents of others that still work. GET /auth/admin/tokens?minted_by={id}&status=active lists them; DELETE /auth/admin/tokens/<id> revokes one.",
            count(made, "credential")
        ));
    }
    if !opened.is_empty() {
        warnings.push(format!(
            "{who} has let workloads of an issuer act as agents of others: {}. GET /api/agents/<name>/federated-credentials lists them.",
            opened.join(", ")
        ));
    }
    Ok(warnings)
}

/// `POST /api/users`: creates a user without a password, and invites them to choose one.
pub(crate) async fn create(change: Change<Body<Create>>) -> Result<Response, ApiError> {
    let Body(body) = &change.input;
    let mut flaws = Flaws::default();
    let name = flaws.check("name", read_name(&body.name));
    let email = flaws.check("email", read_email(&body.email));
    let role = flaws.check("role", body.role.as_deref().map_or(Ok(Role::Member), read_role));
    let (Some(name), Some(email), Some(role)) = (name, email, role) else { return Err(flaws.refusal()) };
    if role == Role::Admin {
        change.require_fresh()?;
    }
    let is_invited = body.invite.unwrap_or(true);
    // A repeated request sends no further mail.
    if let Some(answer) = change.replay().await? {
        return Ok(answer);
    }
    let invitation = Invitation::decide(&change.app, change.caller.user_id().as_str(), is_invited).await?;
    change
        .run(async |write, _| {
            let id = UserId::generate(write.now(), write.app().chance());
            let new = user::New {
                id: &id,
                tenant_id: write.caller.tenant_id(),
                email: &email,
                name: &name,
                role,
                password_hash: None,
                created_at: write.now(),
            };
            if !user::insert(&write.tx, &new).await? {
                return Err(Code::EmailTaken.into());
            }
            let stored = find(&write.tx, &write.caller, id.as_str()).await?;
            let warnings = invitation.send(write, &stored).await?;
            if role == Role::Admin {
                tell_admins(write, &stored, None).await?;
            }
            let after = json!({ "email": email, "name": name, "role": role });
            write.emit(Event::of_user(EventKind::UserCreated, &id).data(after.clone())).await?;
            Ok(Answer::created(&Warned { user: &stored, warnings })?.audited(id, Null, after))
        })
        .await
}

form! {
    pub(crate) struct Patch {
        name: Option<String>,
        role: Option<String>,
        email: Option<String>,
    }
}

/// `PATCH /api/users/{id}`: changes what is sent. A new role counts from the next request on, for every credential of the user and of
/// their agents.
pub(crate) async fn patch(change: Change<Body<Patch>>, Path(id): Path) -> Result<Response, ApiError> {
    let Body(body) = &change.input;
    if body.name.is_none() && body.role.is_none() && body.email.is_none() {
        return Err(ApiError::field("", "send at least one of: name, role, email"));
    }
    let mut flaws = Flaws::default();
    let name = flaws.check("name", body.name.as_deref().map(read_name).transpose());
    let role = flaws.check("role", body.role.as_deref().map(read_role).transpose());
    let email = flaws.check("email", body.email.as_deref().map(read_email).transpose());
    let (Some(name), Some(role), Some(email)) = (name, role, email) else { return Err(flaws.refusal()) };
    // Seen early, since it is counted; decided below.
    let is_readdressed = email.is_some() && waits(change.app.db(), &change.caller, &id).await?;
    let invitation = Invitation::decide(&change.app, change.caller.user_id().as_str(), is_readdressed).await?;
    change
        .on(&id, find, async |write, found, _| {
            let before = audited(&found);
            let was = found.clone();
            let user = User {
                name: name.unwrap_or(found.name),
                role: role.unwrap_or(found.role),
                email: email.unwrap_or(found.email),
                ..found
            };
            let (before, after) = audit::changed(before, audited(&user));
            if before == after {
                return Ok(Answer::ok(&Warned { user: &user, warnings: Vec::new() })?.unchanged());
            }
            // Whoever has an admin's open session would take the account over by a link that is mailed there, as by another password.
            let is_own = user.id == *write.caller.user_id();
            if is_own && email::key(&user.email) != email::key(&was.email) && write.app().settings().has_mail() {
                let step = "is your own: POST /auth/email changes it, by a code that is mailed to the new one";
                return Err(ApiError::field("email", step));
            }
            // It makes an admin, or sends to another address what is mailed to the person, such as links to sign in.
            if user.role == Role::Admin && was.role != Role::Admin || user.email != was.email {
                write.require_fresh()?;
            }
            // Nobody has the account yet: the person hears of it by an invitation to the right address, and the wrong one of nothing more.
            // Nor is a role of theirs mailed, of which the invitation's page says what it is by then.
            let is_waiting = !user::is_used(&write.tx, &user.id).await?;
            let is_unused = user.email != was.email && is_waiting;
            let is_invited = is_unused && code::is_invited(&write.tx, &user.id).await?;
            if is_unused {
                code::end_invitations(&write.tx, &user.id).await?;
            }
            match user::update(&write.tx, write.caller.tenant_id(), &user, write.app().settings().has_mail()).await? {
                UpdateOutcome::Done => {
                    let only_narrows = user.role < was.role && user.name == was.name && user.email == was.email;
                    let mut event = Event::of_user(EventKind::UserUpdated, &user.id);
                    if user.role > was.role {
                        let (now, was, by) = (user.role.as_str(), was.role.as_str(), write.author());
                        event = event.saying(format!("Your role is now {now}"), format!("{by} changed your role from {was} to {now}."));
                        if !is_waiting {
                            write.mail(&user.id, Kind::RoleRaised, json!({ "was": was, "now": now })).await?;
                        }
                    }
                    if user.role == Role::Admin && was.role != Role::Admin {
                        tell_admins(write, &user, Some(was.role)).await?;
                    }
                    if user.role < was.role {
                        let (now, was, by) = (user.role.as_str(), was.role.as_str(), write.author());
                        let body = format!(
                            "{by} changed your role from {was} to {now}. Your credentials and your agents can use what {now} allows, and no more."
                        );
                        event = event.saying(format!("Your role is now {now}"), body);
                        if !is_waiting {
                            write.mail(&user.id, Kind::RoleLowered, json!({ "was": was, "now": now })).await?;
                        }
                    }
                    if is_invited {
                        invitation.send(write, &user).await?;
                    }
                    let mut trail = after.clone();
                    if user.email != was.email && !is_unused {
                        // Somebody who had the old address may have got in by it: the same as when people change their own.
                        let this = Some(write.caller.credential_id());
                        let ended = credential::revoke_sessions(&write.tx, &user.id, this, write.now()).await?;
                        if let (1.., Some(members)) = (ended, trail.as_object_mut()) {
                            members.insert("ended_sessions".to_owned(), ended.into());
                        }
                        let (id, told) = (&user.id, json!({ "was": was.email, "now": user.email }));
                        write.mail_to(Some(&was.email), id, Kind::EmailChanged, told.clone()).await?;
                        write.mail(id, Kind::EmailChanged, told).await?;
                    }
                    write.emit(event.data(json!({ "before": before, "after": after }))).await?;
                    let is_shut_out = user.role < was.role && was.role == Role::Admin;
                    let warnings = if is_shut_out { what_stays(write, &user).await? } else { Vec::new() };
                    let answer = Answer::ok(&Warned { user: &user, warnings })?;
                    Ok(answer.audited(&user.id, before, trail).narrowing(only_narrows))
                }
                UpdateOutcome::EmailTaken => Err(Code::EmailTaken.into()),
                UpdateOutcome::LastAdmin => Err(Code::LastAdmin.into()),
            }
        })
        .await
}

/// Tells the other admins that there is one more: by mail, and of a person that was there before by a notification too. An account that is
/// made is told of as one.
async fn tell_admins(write: &Write<'_>, new: &User, was: Option<Role>) -> Result<(), ApiError> {
    let (who, by, was) = (&new.email, write.author(), was.map(Role::as_str));
    for admin in addressee::admins(&write.tx, write.caller.tenant_id()).await? {
        if admin == new.id || admin == *write.caller.user_id() {
            continue;
        }
        if let Some(was) = was {
            let body = format!(
                "{by} changed the role of {who} from {was} to admin. An admin may do everything in the tenant."
            );
            write.notify(&admin, &format!("{who} is now an admin"), &body).await?;
        }
        write.mail(&admin, Kind::RoleRaised, json!({ "who": who, "was": was, "now": new.role })).await?;
    }
    Ok(())
}

/// Whether a user was invited, and nobody has used the account yet.
async fn waits(reads: &dyn Rows, caller: &Caller, id: &str) -> Result<bool, ApiError> {
    let Some(found) = user::find(reads, caller.tenant_id(), id).await? else { return Ok(false) };
    Ok(!user::is_used(reads, &found.id).await? && code::is_invited(reads, &found.id).await?)
}

/// `DELETE /api/users/{id}/factor`: removes a user's second factor, such as of a person who has lost the device and the recovery codes.
pub(crate) async fn remove_factor(change: Change<()>, Path(id): Path) -> Result<Response, ApiError> {
    change
        .on(&id, find, async |write, user, ()| {
            if !factor::remove(&write.tx, &user.id).await? {
                return Err(Code::NoSecondFactor.into());
            }
            let body = format!(
                "{} removed the second factor of your account. If you did not ask for it: ask an admin, and change your password.",
                write.author()
            );
            write.notify(&user.id, "Your second factor was removed", &body).await?;
            write.mail(&user.id, Kind::FactorRemoved, json!({})).await?;
            Ok(Answer::no_content().audited(&user.id, json!({ "second_factor": true }), json!({ "second_factor": false })))
        })
        .await
}

/// `GET /api/users/{id}/identities`: what a user has linked, the newest first; there are few.
pub(crate) async fn identities(app: App, caller: Caller, Path(id): Path) -> Result<Response, ApiError> {
    let user = find(app.db(), &caller, &id).await?;
    response::json(StatusCode::OK, &Identities { items: identity::list(app.db(), &user.id).await? })
}

/// `DELETE /api/users/{id}/identities`: unlinks what a user is at providers, such as after the company has moved to another one.
pub(crate) async fn unlink(change: Change<()>, Path(id): Path) -> Result<Response, ApiError> {
    change
        .on(&id, find, async |write, found, ()| {
            let providers = identity::delete_all(&write.tx, &found.id).await?;
            if providers.is_empty() {
                return Ok(Answer::no_content().unchanged());
            }
            if !user::leaves_an_admin(&write.tx, &found.id, write.app().settings().has_mail()).await? {
                return Err(Code::LastAdmin.into());
            }
            let body = format!(
                "{} unlinked your sign-in at {}. One with your proved address links it anew. Your sessions go on.",
                write.author(),
                providers.join(", ")
            );
            write.notify(&found.id, "Your sign-in was unlinked", &body).await?;
            write.mail(&found.id, Kind::IdentityUnlinked, json!({ "provider": providers.join(", ") })).await?;
            Ok(Answer::no_content().audited(&found.id, json!({ "identities": providers }), json!({ "identities": [] })))
        })
        .await
}

/// `GET /api/users/{id}/sessions`: a user's live sessions.
pub(crate) async fn sessions(
    app: App,
    caller: Caller,
    Path(id): Path,
    Query(query): Query<PageQuery>,
) -> Result<Response, ApiError> {
    let (user, page) = (find(app.db(), &caller, &id).await?, caller.page(&app, &query)?);
    let rows = credential::sessions(app.db(), &user.id, caller.credential_id(), app.now(), &page).await?;
    response::json(StatusCode::OK, &page.page(rows, |row| (row.created_at, row.id.to_string())))
}

/// `DELETE /api/users/{id}/sessions/{session}`: ends one session of a user.
pub(crate) async fn end_session(change: Change<()>, Path(id): Path, Path(session): Path) -> Result<Response, ApiError> {
    change
        .on(&id, find, async |write, user, ()| {
            if !credential::revoke_session(&write.tx, &user.id, &session, write.now()).await? {
                return Err(Code::SessionNotFound
                    .detail("This user has no such session.")
                    .fix(format!("Send GET /api/users/{}/sessions to list the user's sessions.", user.id)));
            }
            let body = format!("{} ended one of your sessions. The others go on to work.", write.author());
            write.tell(&user.id, "Your session was ended", &body).await?;
            Ok(Answer::no_content().audited(&user.id, Null, json!({ "session": session })))
        })
        .await
}

/// `DELETE /api/users/{id}/sessions`: ends all sessions of a user; of the caller's own all but the one that asks.
pub(crate) async fn end_sessions(change: Change<()>, Path(id): Path) -> Result<Response, ApiError> {
    change
        .on(&id, find, async |write, user, ()| {
            let this = write.caller.credential_id();
            let ended = credential::revoke_sessions(&write.tx, &user.id, Some(this), write.now()).await?;
            if ended == 0 {
                return Ok(Answer::no_content().unchanged());
            }
            let body =
                format!("{} signed you out everywhere. Your tokens and your agents go on to work.", write.author());
            write.tell(&user.id, "Your sessions were ended", &body).await?;
            Ok(Answer::no_content().audited(&user.id, Null, json!({ "ended": ended })))
        })
        .await
}

/// The content of an audit row about a user.
pub(crate) fn audited(user: &User) -> Json {
    json!({ "email": user.email, "name": user.name, "role": user.role, "active": user.active })
}

#[cfg(test)]
mod tests;
