//! Links that open something once: each has a one-time code, which only its page's form spends.

use common::{
    error::ApiError,
    id::{TenantId, UserId},
    secret::OneTimeCode,
    time::Timestamp,
};
use form_urlencoded::Serializer;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::json;
use store::{
    code::{self, Kind},
    db::Tx,
    tenant::slug_to_name,
};

use crate::app::App;

/// A link, for the one message or answer that has it.
#[derive(Serialize, JsonSchema)]
pub struct Link {
    /// The whole address of the page, with the code.
    pub url: String,
    /// When the code ends.
    pub expires_at: Timestamp,
}

/// The page that a link leads to, whose form spends its code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Page {
    /// Sets the first password.
    Invite,
    /// Makes another address one's own.
    NewAddress,
    /// Sets a new password.
    Reset,
    /// Signs in.
    SignIn,
}

impl Page {
    /// What its code is for.
    const fn kind(self) -> Kind {
        match self {
            Self::Invite => Kind::Invite,
            Self::NewAddress => Kind::NewAddress,
            Self::Reset => Kind::Reset,
            Self::SignIn => Kind::Link,
        }
    }

    const fn path(self) -> &'static str {
        match self {
            Self::Invite => "/invite",
            Self::NewAddress => "/security/address",
            Self::Reset => "/reset",
            Self::SignIn => "/auth/email/verify",
        }
    }
}

/// How a link gets to its reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// In an answer: anybody that it is handed to may open it.
    ByHand,
    /// By mail: its reader reads the mail of the address, which a trigger writes down when the code is spent.
    ByMail,
}

/// Mints a code for a person, now, and makes the link that has it. `base` is what comes before every path
/// ([`crate::credential::own_base`]); it names the tenant, unless that is the usual one; `next`, a local path, is where a sign-in leads.
pub async fn mint(
    app: &App,
    tx: &Tx<'_>,
    (tenant, user): (&TenantId, &UserId),
    (page, sent): (Page, Sent),
    (base, next): (&str, &str),
) -> Result<Link, ApiError> {
    let code = OneTimeCode::generate(app.chance());
    let data = if sent == Sent::ByMail { json!({ "mailed": true }) } else { json!({}) };
    let new = code::New { code: &code, kind: page.kind(), tenant, user: Some(user), agent: None, data: &data };
    let expires_at = code::insert(tx, &new, app.clock().now()).await?;
    Ok(Link { url: url(tx, tenant, page, &code, (base, next)).await?, expires_at })
}

/// The same to the page that makes `email` a person's own address. `None`: the person does not want it any more.
pub async fn mint_for_address(
    app: &App,
    tx: &Tx<'_>,
    (tenant, user): (&TenantId, &UserId),
    (base, email): (&str, &str),
) -> Result<Option<Link>, ApiError> {
    let code = OneTimeCode::generate(app.chance());
    let Some(expires_at) = code::renew(tx, user, email, &code, app.clock().now()).await? else { return Ok(None) };
    Ok(Some(Link { url: url(tx, tenant, Page::NewAddress, &code, (base, "")).await?, expires_at }))
}

async fn url(
    tx: &Tx<'_>,
    tenant: &TenantId,
    page: Page,
    code: &OneTimeCode,
    (base, next): (&str, &str),
) -> Result<String, ApiError> {
    let mut query = Serializer::new(String::new());
    query.append_pair("code", code.reveal());
    if let Some(slug) = slug_to_name(tx, tenant).await? {
        query.append_pair("tenant", &slug);
    }
    if !next.is_empty() {
        query.append_pair("next", next);
    }
    Ok(format!("{base}{}?{}", page.path(), query.finish()))
}
