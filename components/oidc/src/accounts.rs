//! From an identity to an account: by issuer and subject, else by a verified address in a domain that the operator allows.
//!
//! A refusal is logged with its reason, and counted in the trail where there is an account.

use common::{
    email,
    entrance::Entrance,
    error::{ApiError, Code},
    event::EventKind,
    id::{IdentityId, TenantId, UserId},
    role::Role,
    text,
    time::Timestamp,
};
use serde_json::{Value::Null, json};
use service::{
    app::{App, log},
    caller::FRESH,
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
    notification,
    origin::Origin,
    outbox, tenant, user,
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
    /// When the person last proved there who they are; `None`: the provider does not say.
    pub(crate) auth_time: Option<Timestamp>,
}

/// The account that an identity opens.
enum Account {
    /// The identity is linked to it.
    Linked(Linked),
    /// It has the identity's address, and that is proved on both sides.
    OfAddress(user::Login),
    /// It has the identity's address, and was added for its person: nobody has ever used it.
    Added(user::Login),
    /// There is none yet; it would be this tenant's.
    New(TenantId, String),
    /// It is there, and this identity does not open it. The text is for the log.
    Closed(UserId, Code, &'static str),
}

/// Lets the person in. `is_again`: they were to prove anew at the provider who they are.
pub(crate) async fn sign_in(
    app: &App,
    provider: &IdentityProvider,
    identity: &Identity,
    is_again: bool,
) -> Result<Response, ApiError> {
    // Looked at once without the lock, to know what the transaction will store; and again under it.
    let purpose = match account(app.db(), provider, identity).await? {
        Account::New(..) => Purpose::Durable,
        Account::Linked(_) | Account::OfAddress(_) | Account::Added(_) => Purpose::Entry,
        Account::Closed(user, refusal, why) => return Err(closed(app, (&user, refusal, why)).await?),
    };
    let tx = app.db().begin(purpose).await?;
    let login = match account(&tx, provider, identity).await? {
        Account::Linked(Linked { id, email, login }) => {
            let said = (provider.name.as_str(), identity.said_email.as_deref());
            tell_of_address(app, &tx, provider, identity, (&login, email.as_deref())).await?;
            if !identity::record_use(&tx, (&id, &login.id), said, app.now()).await? {
                return Err(ApiError::from(Code::NoAccount).cause("the identity was unlinked meanwhile"));
            }
            login
        }
        Account::OfAddress(login) => {
            insert_and_tell(app, &tx, &app.origin(&login.tenant_id, Some(&login.id)), provider, identity).await?;
            login
        }
        Account::Added(login) => {
            insert_and_tell(app, &tx, &app.origin(&login.tenant_id, Some(&login.id)), provider, identity).await?;
            user::verify_email(&tx, &login.id, app.now()).await?;
            login
        }
        Account::New(tenant, email) => create(app, &tx, provider, identity, &tenant, &email).await?,
        Account::Closed(user, refusal, why) => {
            // The count waits for the lock that this transaction has.
            drop(tx);
            return Err(closed(app, (&user, refusal, why)).await?);
        }
    };
    let proved_at = proved_at(app, &tx, &login, identity, is_again).await?;
    let way = Way::Oidc { provider: &provider.name, two_factors: identity.two_factors, proved_at };
    let entered = session::let_in(app, tx, &login, way, None, Code::AccountDeactivated).await;
    match entered {
        Err(refusal) if refusal.code() == Code::WayDisabled => {
            count(app, &login.id, Code::WayDisabled).await?;
            Err(refusal.cause("the person's tenant does not allow providers"))
        }
        entered => entered,
    }
}

/// Tells a person whose provider has begun to say another address than that of the account: links and mails still go to the old one, which may
/// be somebody else's by now.
async fn tell_of_address(
    app: &App,
    tx: &Tx<'_>,
    provider: &IdentityProvider,
    identity: &Identity,
    (login, before): (&user::Login, Option<&str>),
) -> Result<(), ApiError> {
    let Some(said) = identity.email.as_deref().filter(|said| email::key(said) != email::key(&login.email)) else {
        return Ok(());
    };
    if before.is_some_and(|before| email::key(before) == email::key(said)) {
        return Ok(());
    }
    let title = format!("{} knows you by another address", provider.label);
    let body = format!(
        "It says {said}, and your account has {}. Links to sign in go there: if it is no longer yours, change the address of your account on the page /security.",
        login.email
    );
    let when = (&login.tenant_id, app.chance(), app.now());
    notification::insert_own(tx, when, (&login.id, Some(&login.id)), (&title, &body)).await?;
    Ok(())
}

/// When the person proved who they are; 0: nobody says, and something else has to prove it. A provider may let somebody through who signed in
/// there long ago, so that only its `auth_time` says when (OpenID Connect Core 1.0, section 2). Of one that says none, the sign-in itself
/// counts for a person that has nothing else: they could never prove anything.
async fn proved_at(
    app: &App,
    tx: &Tx<'_>,
    login: &user::Login,
    identity: &Identity,
    is_again: bool,
) -> Result<Timestamp, ApiError> {
    let now = app.now();
    if let Some(at) = identity.auth_time {
        let at = at.min(now);
        let is_late = is_again && at.plus_seconds(FRESH) <= now;
        return if is_late { Err(Code::NotProvedAgain.into()) } else { Ok(at) };
    }
    let rules = tenant::rules(tx, &login.tenant_id, &login.id).await?;
    let has_link = app.settings().has_mail() && rules.ways.allow(Entrance::Link);
    if login.password_hash.is_none() && !rules.has_factor && !has_link {
        return Ok(now);
    }
    if is_again { Err(Code::NotProvedAgain.into()) } else { Ok(Timestamp::from_millis(0)) }
}

/// The account of an identity. A deactivated one is refused, as everywhere.
async fn account(reads: &dyn Rows, provider: &IdentityProvider, identity: &Identity) -> Result<Account, ApiError> {
    if let Some(linked) = identity::find_login(reads, &identity.issuer, &identity.subject).await? {
        return Ok(if linked.login.is_active { Account::Linked(linked) } else { deactivated(linked.login) });
    }
    let (email, domain) = allowed(provider, identity)?;
    let slug = domain.tenant.as_deref();
    if let Some(login) = user::find_login(reads, slug, email).await? {
        let is_verified = user::has_verified_email(reads, &login.id).await?;
        // Somebody else may have entered the address of an account that they use: it opens nothing before it is proved. One that
        // nobody has ever used holds nothing of anybody, and is the person's for whom it was added.
        if !is_verified && user::is_used(reads, &login.id).await? {
            let why = "the account has been used, and its address was never proved";
            return Ok(Account::Closed(login.id, Code::AddressNotVerified, why));
        }
        // An address is given to somebody else when its person leaves or changes the name; the subject never is. What address the other
        // identity has now says nothing: it may have had this one. Its person links this one too, from a session.
        if is_verified && identity::has_any(reads, &login.id, &identity.issuer).await? {
            let why = "the account has another identity of this provider";
            return Ok(Account::Closed(login.id, Code::OtherIdentity, why));
        }
        return Ok(match (login.is_active, is_verified) {
            (false, _) => deactivated(login),
            (true, true) => Account::OfAddress(login),
            (true, false) => Account::Added(login),
        });
    }
    let tenant = tenant::find(reads, slug).await?;
    let missing =
        || ApiError::from(Code::NoAccount).cause(format!("there is no tenant for the domain {}", domain.name));
    Ok(Account::New(tenant.ok_or_else(missing)?, email.to_owned()))
}

/// Whether the identity would make an account, so that its name is asked for.
pub(crate) async fn is_new(reads: &dyn Rows, provider: &IdentityProvider, identity: &Identity) -> bool {
    matches!(account(reads, provider, identity).await, Ok(Account::New(..)))
}

/// The verified address of an identity, if its domain is one that the operator allows; else why not, for its person and for the log.
fn allowed<'a>(provider: &'a IdentityProvider, identity: &'a Identity) -> Result<(&'a str, &'a Domain), ApiError> {
    let Some(email) = identity.email.as_deref() else {
        let (detail, step, why) = match identity.said_email {
            Some(_) => (
                "The provider does not vouch for your address, so no account is found by it.",
                "Prove your address at the provider",
                "the provider does not vouch for the person's address",
            ),
            None => (
                "The provider does not say your address, so no account is found by it.",
                "Let the provider tell this server your address",
                "the provider says no address of the person",
            ),
        };
        let fix = format!("{step}, and begin again. Or sign in in another way, and link this sign-in under Security.");
        return Err(Code::NoAccount.detail(detail).fix(fix).cause(why));
    };
    let foreign = || {
        let detail = "Your address at the provider is in no domain that this server takes from it.";
        Code::NoAccount.detail(detail).cause("the person's address is in none of the provider's domains")
    };
    domain_of(provider, email).map(|domain| (email, domain)).ok_or_else(foreign)
}

/// The domain of an address, if the operator allows it with this provider.
fn domain_of<'a>(provider: &'a IdentityProvider, email: &str) -> Option<&'a Domain> {
    let key = email::key(email);
    let (_, domain) = key.rsplit_once('@')?;
    provider.domains.iter().find(|allowed| allowed.name == domain)
}

fn deactivated(login: user::Login) -> Account {
    Account::Closed(login.id, Code::AccountDeactivated, "the account is deactivated")
}

/// The refusal of an account that an identity does not open, counted.
async fn closed(app: &App, (user, refusal, why): (&UserId, Code, &str)) -> Result<ApiError, ApiError> {
    count(app, user, refusal).await?;
    Ok(ApiError::from(refusal).cause(format!("{user}: {why}")))
}

/// Counts a refused sign-in of a person.
async fn count(app: &App, user: &UserId, refusal: Code) -> Result<(), ApiError> {
    let from = (app.address(), app.request_id());
    refusals::count_login(app.db(), Some(user), refusal.row().slug, from, app.now()).await?;
    Ok(())
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
    let seen = text::without_unseen(said, NAME);
    let local = email.split('@').next().unwrap_or(email);
    text::persons_name("name", &seen, NAME).unwrap_or_else(|_| local.to_owned())
}

fn taken() -> ApiError {
    ApiError::from(Code::IdentityTaken).cause("the identity is linked to another account")
}

/// Links an identity to the person of the origin, with its audit row; returns the person.
async fn insert<'o>(
    app: &App,
    tx: &Tx<'_>,
    origin: &Origin<'o>,
    provider: &IdentityProvider,
    identity: &Identity,
) -> Result<&'o UserId, ApiError> {
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
        Inserted::Taken => return Err(taken()),
        Inserted::TooMany => return Err(Code::TooManyIdentities.into()),
    }
    let after = json!({ "provider": provider.name, "email": identity.said_email });
    audit::insert(tx, origin, &Event { action: LINK, object: id.as_str(), before: Null, after }).await?;
    Ok(user)
}

/// The same for an account that was there before: its person is mailed.
async fn insert_and_tell(
    app: &App,
    tx: &Tx<'_>,
    origin: &Origin<'_>,
    provider: &IdentityProvider,
    identity: &Identity,
) -> Result<(), ApiError> {
    let user = insert(app, tx, origin, provider, identity).await?;
    let data = json!({ "provider": provider.label, "email": identity.said_email });
    mail::queue(app, tx, (origin.tenant, user), outbox::Kind::IdentityLinked, data).await?;
    Ok(())
}

/// Refuses to link where the tenant lets nobody in through a provider: the link would be a way in from the day on which it does.
pub(crate) async fn check_linking(reads: &dyn Rows, tenant: &TenantId) -> Result<(), ApiError> {
    match tenant::get(reads, tenant).await?.ways.allow(Entrance::Oidc) {
        true => Ok(()),
        false => {
            Err(Code::WayDisabled.detail("Your tenant lets nobody in through a provider, so nothing can be linked."))
        }
    }
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
    check_linking(&tx, &session.subject.tenant).await?;
    let user = &session.subject.user;
    match identity::find_login(&tx, &identity.issuer, &identity.subject).await? {
        Some(linked) if linked.login.id == *user => return Ok(()),
        Some(_) => return Err(taken()),
        None => {}
    }
    let origin = Origin { credential: Some(&session.id), ..app.origin(&session.subject.tenant, Some(user)) };
    insert_and_tell(app, &tx, &origin, provider, identity).await?;
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
