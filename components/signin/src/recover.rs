//! `POST /operator/recover`: a way back for a tenant whose last admin cannot get in. It makes a new admin, or makes a user of the tenant an
//! active admin; without a password the answer has a link, once, by which the person sets one.

use common::{
    email,
    entrance::Entrance,
    error::{ApiError, Code},
    id::{TenantId, UserId},
    role::Role,
    route::Route,
    text::persons_name,
    time::Timestamp,
};
use http::StatusCode;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::json;
use service::{
    app::App,
    change,
    credential::own_base,
    extract::Body,
    form,
    link::{self, Page, Sent},
    mail,
    response::{self, Response},
};
use store::{
    audit::Event,
    credential,
    db::{Purpose, Tx},
    epoch, factor, notification,
    outbox::Kind,
    tenant,
    user::{self, User},
};

use crate::{bootstrap::check_secret, operator::OPERATOR, password, tries};

form! {
    pub(crate) struct Recover {
        secret: String,
        tenant: String,
        email: String,
        name: Option<String>,
        password: Option<String>,
    }
}

#[derive(Serialize, JsonSchema)]
pub(crate) struct Recovered {
    user: User,
    /// Null if the request had a password.
    url: Option<String>,
    expires_at: Option<Timestamp>,
}

/// The handler.
pub(crate) async fn recover(app: App, route: &'static Route, Body(body): Body<Recover>) -> Result<Response, ApiError> {
    check_secret(&app, &body.secret).await?;
    let email = email::parse(&body.email).ok_or(Code::InvalidEmail)?;
    let name = body.name.as_deref().map(|name| persons_name("name", name, 64)).transpose()?;
    let base = own_base(&app);
    let hash = match &body.password {
        None if base.is_none() => return Err(Code::PublicUrlMissing.into()),
        None => None,
        Some(password) => {
            let known = user::find_login(app.db(), Some(body.tenant.trim()), &email).await?;
            let name = known.as_ref().map(|login| &login.name).or(name.as_ref());
            password::check_strength(password, &[&email, name.map_or("", |name| name), body.tenant.trim()])?;
            password::take_turn(&app).await?;
            Some(password::hash(password, app.chance())?)
        }
    };
    // An admin who frees room must get in when the database is full.
    let tx = app.db().begin(Purpose::Entry).await?;
    let tenant = tenant::find(&tx, Some(body.tenant.trim())).await?.ok_or(Code::TenantNotFound)?;
    let since = epoch::last(&tx, &tenant).await?;
    let known = user::find_login(&tx, Some(body.tenant.trim()), &email).await?;
    let (id, before) = match &known {
        Some(login) => {
            let before = user::get(&tx, &tenant, login.id.as_str()).await?;
            user::make_admin(&tx, &login.id, hash.as_deref()).await?;
            (login.id.clone(), json!({ "role": before.role, "active": before.active }))
        }
        None => {
            let missing = || ApiError::field("name", "is missing: no user of the tenant has this address");
            (insert(&app, &tx, &tenant, (&email, &name.ok_or_else(missing)?), hash.as_deref()).await?, json!(null))
        }
    };
    // The app with their second factor may be lost too.
    let had_factor = factor::remove(&tx, &id).await?;
    // What they get is a password. Of a tenant that signs in by others alone, those others are what failed.
    let was_closed = tenant::allow(&tx, &tenant, Entrance::Password).await?;
    // A session that is open now is not that of the admin who asked the operator.
    let ended = credential::revoke_sessions(&tx, &id, None, app.now()).await?;
    tries::forget(&app, &tx, (&tenant, &email)).await?;
    let page = if known.is_some() { Page::Reset } else { Page::Invite };
    let link = match (base, &body.password) {
        (Some(base), None) => Some(link::mint(&app, &tx, (&tenant, &id), (page, Sent::ByHand), (&base, "")).await?),
        _ => None,
    };
    let user = user::get(&tx, &tenant, id.as_str()).await?;
    let after = json!({ "email": user.email, "role": user.role, "active": true, "link": link.is_some(), "ended_sessions": ended, "factor_removed": had_factor, "passwords_allowed": was_closed });
    let event = Event { action: route.audit.unwrap_or_default(), object: id.as_str(), before, after };
    change::audit_closing(&tx, &app.origin(&tenant, None), (since, OPERATOR), event).await?;
    tell(&app, &tx, &tenant, &user, was_closed).await?;
    let by = json!({ "by": "The operator of this server" });
    if had_factor {
        mail::queue(&app, &tx, (&tenant, &id), Kind::FactorRemoved, by.clone()).await?;
    }
    if known.as_ref().is_some_and(|login| login.password_hash.is_some()) && hash.is_some() {
        mail::queue(&app, &tx, (&tenant, &id), Kind::PasswordChanged, by).await?;
    }
    tx.commit().await?;
    let (url, expires_at) = link.map(|link| (link.url, link.expires_at)).unzip();
    let status = if known.is_some() { StatusCode::OK } else { StatusCode::CREATED };
    response::uncached_json(status, &Recovered { user, url, expires_at })
}

async fn insert(
    app: &App,
    tx: &Tx<'_>,
    tenant: &TenantId,
    (email, name): (&str, &str),
    password_hash: Option<&str>,
) -> Result<UserId, ApiError> {
    let id = UserId::generate(app.now(), app.chance());
    let (role, created_at) = (Role::Admin, app.now());
    let new = user::New { id: &id, tenant_id: tenant, email, name, role, password_hash, created_at };
    if user::insert(tx, &new).await? { Ok(id) } else { Err(Code::EmailTaken.into()) }
}

/// Tells the other admins of the tenant of the new one. `was_closed`: nobody could sign in by a password before.
async fn tell(app: &App, tx: &Tx<'_>, tenant: &TenantId, admin: &User, was_closed: bool) -> Result<(), ApiError> {
    let also = if was_closed { " Passwords let people in again: see the ways to sign in of the tenant." } else { "" };
    let body = format!("The operator of this server made {} an admin of your tenant.{also}", admin.email);
    for person in user::owner_and_admins(tx, tenant, &admin.id).await? {
        let text = ("The operator made an admin", body.as_str());
        notification::insert_own(tx, (tenant, app.chance(), app.now()), (&person.id, None), text).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
