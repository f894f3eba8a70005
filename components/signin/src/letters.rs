//! Mails that somebody without a session asks for: `POST /auth/email/link` for a link to sign in, `POST /auth/forgot` for one to set a
//! forgotten password.
//!
//! 1. What was sent alone decides about a refusal, and tries are counted by what was sent: by address and network, by address, by network.
//! 2. The request is stored as it is. Nothing here looks at an account: a known and an unknown address are the same statements.
//! 3. The worker, which is called after the answer, looks the account up and makes the mail, with a code that it mints then.

use common::{
    email,
    error::{ApiError, Code},
};
use serde_json::{Value as Json, json};
use service::{
    app::App,
    credential::own_base,
    extract::Body,
    form,
    form::Nullable,
    mail,
    response::{Response, local, no_content},
    throttle,
};
use store::{
    mail_request::{self, New},
    outbox::Kind,
};

use crate::bootstrap::is_slug;

/// What may be asked for from one network for one address, for one address from anywhere, and from one network, each in so many seconds.
/// A person for whom somebody else asks gets few mails; and an office behind one address may forget several passwords.
const OF_ADDRESS_AND_NETWORK: (i64, i64) = (5, 600);
const OF_ADDRESS: (i64, i64) = (10, 3_600);
const OF_NETWORK: (i64, i64) = (30, 600);

form! {
    pub(crate) struct Link {
        email: String,
        tenant: Option<Nullable<String>>,
        next: Option<Nullable<String>>,
    }
}

form! {
    pub(crate) struct Forgot {
        email: String,
        tenant: Option<Nullable<String>>,
        next: Option<Nullable<String>>,
    }
}

/// `POST /auth/email/link`: 204 for every address.
pub(crate) async fn link(app: App, Body(body): Body<Link>) -> Result<Response, ApiError> {
    let next = body.next.and_then(|Nullable(next)| next);
    let data = json!({ "next": local(next.as_deref().unwrap_or("/")) });
    ask(&app, Kind::Link, &body.email, body.tenant, data).await
}

/// `POST /auth/forgot`: 204 for every address.
pub(crate) async fn forgot(app: App, Body(body): Body<Forgot>) -> Result<Response, ApiError> {
    let next = body.next.and_then(|Nullable(next)| next);
    let data = next.map_or_else(|| json!({}), |next| json!({ "next": local(&next) }));
    ask(&app, Kind::Reset, &body.email, body.tenant, data).await
}

/// The address to which a mail is asked for, and what comes before the path of its link, where this server mails links.
pub(crate) fn read(app: &App, email: &str) -> Result<(String, String), ApiError> {
    if !app.settings().has_mail() {
        return Err(Code::MailDisabled.into());
    }
    let base = own_base(app).ok_or(Code::PublicUrlMissing)?;
    Ok((email::parse(email).ok_or(Code::InvalidEmail)?, base))
}

/// Counts one more mail that is asked for to an address, from the network of the request.
pub(crate) async fn count(app: &App, email: &str) -> Result<(), ApiError> {
    match is_beyond(app, email).await? {
        Some(refusal) => Err(refusal),
        None => Ok(()),
    }
}

/// The same, with the refusal for what others have asked for the address.
async fn is_beyond(app: &App, email: &str) -> Result<Option<ApiError>, ApiError> {
    let (key, network) = (email::key(email), app.network());
    for (of_address, of_network, most) in [("", network.as_str(), OF_NETWORK), (&key, &network, OF_ADDRESS_AND_NETWORK)]
    {
        throttle::count(app, &["mail", of_address, of_network], most, Code::TooManyMails).await?;
    }
    match throttle::count(app, &["mail", &key, ""], OF_ADDRESS, Code::TooManyMails).await {
        Err(refusal) if refusal.code() == Code::TooManyMails => Ok(Some(refusal)),
        counted => counted.map(|()| None),
    }
}

async fn ask(
    app: &App,
    kind: Kind,
    email: &str,
    tenant: Option<Nullable<String>>,
    mut data: Json,
) -> Result<Response, ApiError> {
    let (email, base) = read(app, email)?;
    let tenant = tenant.and_then(|Nullable(slug)| slug).map(|slug| slug.trim().to_ascii_lowercase());
    if tenant.as_deref().is_some_and(|slug| !is_slug(slug)) {
        return Err(Code::InvalidTenant.into());
    }
    // What strangers ask for in a person's name is no news to the one that asks now: the answer is as before, and the worker mails a person
    // all the same that asks from a network of theirs.
    let is_beyond = is_beyond(app, &email).await?.is_some();
    if let Some(members) = data.as_object_mut() {
        members.insert("base".to_owned(), base.into());
        members.insert("address".to_owned(), app.address().into());
        if is_beyond {
            members.insert("network".to_owned(), app.network().into());
        }
    }
    let (address, request) = (app.address(), app.request_id());
    let new = New { kind, tenant: tenant.as_deref(), email: &email, data: &data, address, request };
    mail_request::insert(app.db(), &new, app.now()).await?;
    mail::hurry(app);
    Ok(no_content())
}

#[cfg(test)]
mod tests;
