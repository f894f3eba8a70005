//! From an identity to an account: by issuer and subject, else by a verified address in a domain that the operator allows.

use common::{
    email,
    error::{ApiError, Code},
    event::EventKind,
    id::{IdentityId, TenantId, UserId},
    role::Role,
    text,
};
use serde_json::{Value::Null, json};
use service::{
    app::{App, log},
    event, mail,
    response::Response,
    session::{self, Way},
    settings::provider::{Domain, IdentityProvider},
};
use store::{
    audit::{self, Event, refusals},
    credential::{self, CredentialRow, status::CredentialStatus},
    db::{Purpose, Rows, Tx},
    identity::{self, Inserted, Linked},
    origin::Origin,
    tenant, user,
};

use crate::flow::Flow;

/// The action in the audit row of a link.
const LINK: &str = "identity.link";
/// Characters of a name at most.
const NAME: usize = 64;

/// A person, as a provider knows them.
#[derive(Debug)]
pub(crate) struct Identity {
    /// The provider's own name for itself.
    pub(crate) issuer: String,
    /// The provider's name for the person.
    pub(crate) subject: String,
    /// The address, if the provider vouches for it.
    pub(crate) email: Option<String>,
    /// The address that the provider says, whether it vouches for it or not: to be shown.
    pub(crate) said_email: Option<String>,
    /// What the person is called.
    pub(crate) name: Option<String>,
    /// Whether more than one factor was asked for.
    pub(crate) two_factors: bool,
}

/// The account that an identity opens.
enum Account {
    /// The identity is linked to it.
    Linked(Linked),
    /// It has the identity's address, and that is proved on both sides.
    OfAddress(user::Login),
    /// There is none yet; it would be this tenant's.
    New(TenantId, String),
}

/// Lets the person in.
pub(crate) async fn sign_in(app: &App, provider: &IdentityProvider, identity: &Identity) -> Result<Response, ApiError> {
    // Looked at once without the lock, to know what the transaction will store; and again under it.
    let purpose = match account(app, app.db(), provider, identity).await? {
        Account::New(..) => Purpose::Durable,
        Account::Linked(_) | Account::OfAddress(_) => Purpose::Entry,
    };
    let tx = app.db().begin(purpose).await?;
    let account = account(app, &tx, provider, identity).await?;
    let login = match account {
        Account::Linked(Linked { id, login }) => {
            let said = (provider.name.as_str(), identity.said_email.as_deref());
            if !identity::record_use(&tx, (&id, &login.id), said, app.now()).await? {
                return Err(Code::NoAccount.into());
            }
            login
        }
        Account::OfAddress(login) => {
            let origin = app.origin(&login.tenant_id, Some(&login.id));
            insert(app, &tx, &origin, provider, identity).await?;
            login
        }
        Account::New(tenant, email) => create(app, &tx, provider, identity, &tenant, &email).await?,
    };
    let way = Way::Oidc { two_factors: identity.two_factors };
    session::let_in(app, tx, &login, way, None, Code::AccountDeactivated).await
}

/// The account of an identity. A deactivated one is refused, as everywhere.
async fn account(
    app: &App,
    reads: &dyn Rows,
    provider: &IdentityProvider,
    identity: &Identity,
) -> Result<Account, ApiError> {
    if let Some(linked) = identity::find_login(reads, &identity.issuer, &identity.subject).await? {
        check_active(app, &linked.login).await?;
        return Ok(Account::Linked(linked));
    }
    let Some((email, domain)) = allowed(provider, identity) else { return Err(Code::NoAccount.into()) };
    let slug = domain.tenant.as_deref();
    if let Some(login) = user::find_login(reads, slug, email).await? {
        // It may have been entered for another person, or by one: an address that is not proved opens nothing.
        if !user::has_verified_email(reads, &login.id).await? {
            return Err(Code::AddressNotVerified.into());
        }
        check_active(app, &login).await?;
        return Ok(Account::OfAddress(login));
    }
    let tenant = tenant::find(reads, slug).await?;
    let missing =
        || ApiError::from(Code::NoAccount).cause(format!("there is no tenant for the domain {}", domain.name));
    Ok(Account::New(tenant.ok_or_else(missing)?, email.to_owned()))
}

/// The verified address of an identity, if its domain is one that the operator allows.
fn allowed<'a>(provider: &'a IdentityProvider, identity: &'a Identity) -> Option<(&'a str, &'a Domain)> {
    let email = identity.email.as_deref()?;
    let key = email::key(email);
    let (_, domain) = key.rsplit_once('@')?;
    Some((email, provider.domains.iter().find(|allowed| allowed.name == domain)?))
}

async fn check_active(app: &App, login: &user::Login) -> Result<(), ApiError> {
    if login.is_active {
        return Ok(());
    }
    let (refusal, from) = (Code::AccountDeactivated, (app.address(), app.request_id()));
    refusals::count_login(app.db(), Some(&login.id), refusal.row().slug, from, app.now()).await?;
    Err(refusal.into())
}

/// Makes the account of a person who signs in for the first time.
async fn create(
    app: &App,
    tx: &Tx<'_>,
    provider: &IdentityProvider,
    identity: &Identity,
    tenant: &TenantId,
    email: &str,
) -> Result<user::Login, ApiError> {
    let (id, role) = (UserId::generate(app.now(), app.chance()), Role::Member);
    let name = name(identity, email);
    let new =
        user::New { id: &id, tenant_id: tenant, email, name: &name, role, password_hash: None, created_at: app.now() };
    if !user::insert(tx, &new).await? {
        return Err(ApiError::from(Code::NoAccount).cause("the address was taken meanwhile"));
    }
    user::verify_email(tx, &id, app.now()).await?;
    let origin = app.origin(tenant, Some(&id));
    let after = json!({ "email": email, "name": name, "role": role, "provider": provider.name });
    let event = Event { action: "user.create", object: id.as_str(), before: Null, after };
    audit::insert(tx, &origin, &event).await?;
    let created = json!({ "email": email, "name": name, "role": role });
    let created = event::Event::of_user(EventKind::UserCreated, &id).data(created);
    event::deliver(app, tx, &origin, Some(&id), &created).await?;
    mail::hurry_if_left(app, tx);
    insert(app, tx, &origin, provider, identity).await?;
    let login = user::login_of(tx, &id).await?;
    login.ok_or_else(|| ApiError::from(Code::Internal).cause("a new account is not there"))
}

/// What the person is called, as far as the rules for names allow; or else what stands before the `@`.
fn name(identity: &Identity, email: &str) -> String {
    let said = identity.name.as_deref().unwrap_or_default();
    let seen: String = said.chars().filter(|c| !text::is_unseen(*c)).take(NAME).collect();
    let local = email.split('@').next().unwrap_or(email);
    text::text("name", &seen, NAME).unwrap_or_else(|_| local.to_owned())
}

/// Links an identity to the person of the origin, with its audit row.
async fn insert(
    app: &App,
    tx: &Tx<'_>,
    origin: &Origin<'_>,
    provider: &IdentityProvider,
    identity: &Identity,
) -> Result<(), ApiError> {
    let id = IdentityId::generate(app.now(), app.chance());
    let user = origin.user.ok_or_else(|| ApiError::from(Code::Internal).cause("a link without a person"))?;
    let new = identity::New {
        id: &id,
        user,
        issuer: &identity.issuer,
        subject: &identity.subject,
        provider: &provider.name,
        email: identity.said_email.as_deref(),
    };
    match identity::insert(tx, &new, app.now()).await? {
        Inserted::Linked => {}
        Inserted::Taken => return Err(Code::IdentityTaken.into()),
        Inserted::TooMany => return Err(Code::TooManyIdentities.into()),
    }
    let after = json!({ "provider": provider.name, "email": identity.said_email });
    audit::insert(tx, origin, &Event { action: LINK, object: id.as_str(), before: Null, after }).await?;
    Ok(())
}

/// Links an identity to the person whose session asked for it, if the session is still there. Again is the same as once.
pub(crate) async fn link(
    app: &App,
    provider: &IdentityProvider,
    identity: &Identity,
    flow: &Flow,
) -> Result<(), ApiError> {
    let tx = app.db().begin(Purpose::Durable).await?;
    let session = session_of(app, &tx, provider, flow).await?;
    let user = &session.subject.user;
    match identity::find_login(&tx, &identity.issuer, &identity.subject).await? {
        Some(linked) if linked.login.id == *user => return Ok(()),
        Some(_) => return Err(Code::IdentityTaken.into()),
        None => {}
    }
    let origin = Origin { credential: Some(&session.id), ..app.origin(&session.subject.tenant, Some(user)) };
    insert(app, &tx, &origin, provider, identity).await?;
    tx.commit().await?;
    Ok(())
}

/// The session that asked for a link, as the database knows it now.
async fn session_of(
    app: &App,
    tx: &Tx<'_>,
    provider: &IdentityProvider,
    flow: &Flow,
) -> Result<CredentialRow, ApiError> {
    let expired = || Code::SignInExpired.with("provider", &provider.name);
    let digest = flow.session().ok_or_else(expired)?;
    let found = credential::find(tx, &digest, app.now()).await?.ok_or_else(expired)?;
    match found.status {
        CredentialStatus::Active | CredentialStatus::Expiring => Ok(found),
        CredentialStatus::Deactivated => Err(Code::AccountDeactivated.into()),
        CredentialStatus::Revoked | CredentialStatus::Expired => {
            log(app.request_id(), "link", "the session has ended meanwhile");
            Err(expired())
        }
    }
}
