//! Sessions: the end of every way to sign in, and the cookie that a browser keeps one in.
//!
//! Where the person has a second factor, and the way has not proved two already, the end is a ticket: a one-time code that stands for the
//! sign-in so far. `POST /auth/factor/verify` spends it together with a code of the second factor.

use common::{
    entrance::{Entrance, Entrances},
    error::{ApiError, Code},
    id::{CredentialId, UserId},
    network,
    role::Role,
    secret::{Kind, OneTimeCode, Secret},
    text::is_unseen,
    time::Timestamp,
};
use http::StatusCode;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Value::Null, json};
use store::{
    audit::{self, Event},
    code, credential,
    db::Tx,
    device::Approver,
    outbox, tenant, user,
};

use crate::{
    app::App,
    credential::cookie_name,
    mail,
    response::{self, Response},
};

/// How long a session lives, seconds.
const LIFE: i64 = 24 * 3600;
/// The same of a session that a person gives to a terminal for what only sessions may do.
const DEVICE_LIFE: i64 = 600;
/// Characters that are kept of the client's `User-Agent`.
const USER_AGENT: usize = 200;
/// The audit row's action of every sign-in.
const ACTION: &str = "session.start";

/// How a person has proved who they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way<'a> {
    /// A link that was mailed to their address.
    Link,
    /// A password.
    Password,
    /// A provider of identities.
    Oidc {
        /// The operator's name for it.
        provider: &'a str,
        /// Whether the provider says that it asked for more than one factor (`amr`, RFC 8176).
        two_factors: bool,
        /// When the person proved who they are there; 0: nobody says.
        proved_at: Timestamp,
    },
    /// A code that they approved at another device: what they proved there, and when, is all that is proved.
    Device(Approver),
}

impl<'a> Way<'a> {
    /// The same as a way that a tenant can switch off. `None`: no tenant can.
    const fn entrance(self) -> Option<Entrance> {
        match self {
            Self::Link => Some(Entrance::Link),
            Self::Password => Some(Entrance::Password),
            Self::Oidc { .. } => Some(Entrance::Oidc),
            Self::Device(_) => None,
        }
    }

    /// The word in the audit row.
    const fn as_str(self) -> &'static str {
        match self.entrance() {
            Some(entrance) => entrance.as_str(),
            None => "device",
        }
    }

    /// The provider's name in the audit row.
    const fn provider(self) -> Option<&'a str> {
        if let Self::Oidc { provider, .. } = self { Some(provider) } else { None }
    }

    /// How long the session lives, seconds: one that another session approved, no longer than that one.
    fn life(self, now: Timestamp) -> i64 {
        match self {
            Self::Link | Self::Password | Self::Oidc { .. } => LIFE,
            Self::Device(by) => DEVICE_LIFE.min(now.seconds_until(by.ends_at)),
        }
    }

    /// Whether a person with a second factor is asked for its code.
    const fn asks_for_code(self) -> bool {
        !matches!(self, Self::Device(_)) && !self.proves_two_factors()
    }

    /// Whether it has proved two factors by itself.
    pub const fn proves_two_factors(self) -> bool {
        match self {
            Self::Link | Self::Password => false,
            Self::Oidc { two_factors, .. } => two_factors,
            Self::Device(by) => by.two_factors,
        }
    }
}

/// The second factor that ended a sign-in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Second {
    /// A code of the app.
    Code,
    /// A recovery code.
    RecoveryCode,
}

impl Second {
    /// The word in audit rows.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Code => "code",
            Self::RecoveryCode => "recovery_code",
        }
    }
}

/// What a person that has signed in gets: a session, once.
#[derive(Serialize, JsonSchema)]
pub struct SignedIn<'a> {
    access_token: &'a str,
    token_type: &'static str,
    user_id: &'a UserId,
    email: &'a str,
    role: Role,
    expires_at: Timestamp,
}

/// Lets a person in: records the sign-in on the condition that the account is still as it was checked, makes the session with its audit
/// row, and commits. Every way to sign in ends here; `tx` has done before what is particular to it, such as spending a code. `rehashed`
/// is the password's hash, where it was made anew; `refusal` is what a changed or deactivated account gets.
///
/// A way that the tenant has switched off is 403 `way_disabled`. A person with a second factor gets 401 `second_factor_required` with a
/// ticket, and what `tx` has done before lasts.
pub async fn let_in(
    app: &App,
    tx: Tx<'_>,
    login: &user::Login,
    way: Way<'_>,
    rehashed: Option<&str>,
    refusal: Code,
) -> Result<Response, ApiError> {
    let rules = tenant::rules(&tx, &login.tenant_id, &login.id).await?;
    let is_asked = rules.has_factor && way.asks_for_code();
    let at = (!is_asked).then(|| app.now());
    if at.is_some() && !rules.was_here {
        join(&tx, &login.id).await?;
    }
    if !user::signed_in(&tx, login, rehashed, at).await? {
        return Err(refusal.into());
    }
    check_way(&rules.ways, way.entrance())?;
    if is_asked {
        return Err(hand_out_ticket(app, tx, login, way).await?);
    }
    let proved_at = match way {
        Way::Device(by) => Some(by.proved_at),
        Way::Oidc { proved_at, .. } => Some(proved_at),
        Way::Link | Way::Password => None,
    };
    // Of a device too: its person may have approved it without a look.
    if rules.was_here {
        tell_if_new(app, &tx, login).await?;
    }
    let proof = (way.proves_two_factors(), proved_at);
    begin(app, tx, login, (way.as_str(), way.provider(), None), (proof, way.life(app.now()))).await
}

/// The same for a person that came in by `entrance`, perhaps through a provider, and has proved the second factor in the same transaction.
pub async fn let_in_by_code(
    app: &App,
    tx: Tx<'_>,
    login: &user::Login,
    (entrance, provider, second): (Entrance, Option<&str>, Second),
    rehashed: Option<&str>,
    refusal: Code,
) -> Result<Response, ApiError> {
    let rules = tenant::rules(&tx, &login.tenant_id, &login.id).await?;
    if !rules.was_here {
        join(&tx, &login.id).await?;
    }
    if !user::signed_in(&tx, login, rehashed, Some(app.now())).await? {
        return Err(refusal.into());
    }
    check_way(&rules.ways, Some(entrance))?;
    if rules.was_here {
        tell_if_new(app, &tx, login).await?;
    }
    begin(app, tx, login, (entrance.as_str(), provider, Some(second)), ((true, None), LIFE)).await
}

/// Mails a person about a sign-in with a device, or from a network, that none of their sessions which are still known had.
async fn tell_if_new(app: &App, tx: &Tx<'_>, login: &user::Login) -> Result<(), ApiError> {
    let (seen, sent) = (credential::seen(tx, login.id.as_str()).await?, user_agent(app).unwrap_or_default());
    let is_same =
        |agent: &Option<String>| without_version(agent.as_deref().unwrap_or_default()) == without_version(&sent);
    let mut networks = seen.iter().filter_map(|seen| seen.address.as_deref()).map(network::of).peekable();
    // A session that nothing was done with has no address.
    let is_known_network = networks.peek().is_none() || networks.any(|network| network == app.network());
    let is_known_device = seen.iter().any(|seen| is_same(&seen.user_agent));
    let new = match (is_known_device, is_known_network) {
        (true, true) => return Ok(()),
        (true, false) => "network",
        (false, true) => "device",
        (false, false) => "device and network",
    };
    let data = json!({ "device": device(&sent), "new": new, "at": app.now() });
    mail::queue(app, tx, (&login.tenant_id, &login.id), outbox::Kind::NewSignIn, data).await?;
    Ok(())
}

/// What a client calls itself, without what changes with each release of it.
fn without_version(agent: &str) -> String {
    agent.chars().filter(|c| !c.is_ascii_digit() && !matches!(c, '.' | '_')).collect()
}

/// What a client calls itself is long: the words that tell it from others.
pub fn device(user_agent: &str) -> String {
    let name = |names: &[(&str, &'static str)]| {
        names.iter().find(|(sign, _)| user_agent.contains(sign)).map(|(_, name)| *name)
    };
    let browser = name(&[
        // Browsers name those that they are like too: their own name comes first.
        ("Edg/", "Edge"),
        ("EdgA/", "Edge"),
        ("EdgiOS/", "Edge"),
        ("OPR/", "Opera"),
        ("SamsungBrowser/", "Samsung Internet"),
        ("FxiOS/", "Firefox"),
        ("Firefox/", "Firefox"),
        ("CriOS/", "Chrome"),
        ("Chrome/", "Chrome"),
        ("Safari/", "Safari"),
        ("curl/", "curl"),
    ]);
    let system = name(&[
        ("Windows", "Windows"),
        ("Android", "Android"),
        ("iPhone", "iPhone"),
        ("iPad", "iPad"),
        ("CrOS", "ChromeOS"),
        ("Mac OS X", "macOS"),
        ("Linux", "Linux"),
    ]);
    match (browser, system) {
        (Some(browser), Some(system)) => format!("{browser} on {system}"),
        (Some(one), None) | (None, Some(one)) => one.to_owned(),
        (None, None) if user_agent.is_empty() => "unknown".to_owned(),
        (None, None) => user_agent.chars().take(40).collect(),
    }
}

/// Takes in a person that signs in for the first time: every other way to take the account over ends, since somebody else may have the link.
async fn join(tx: &Tx<'_>, user: &UserId) -> Result<(), ApiError> {
    code::end_invitations(tx, user).await?;
    code::end_of_user(tx, code::Kind::Reset, user).await?;
    Ok(())
}

/// Refuses a way that the tenant has switched off.
fn check_way(allowed: &Entrances, entrance: Option<Entrance>) -> Result<(), ApiError> {
    match entrance {
        Some(entrance) if !allowed.allow(entrance) => Err(Code::WayDisabled.into()),
        _ => Ok(()),
    }
}

/// Ends a sign-in that waits for its second factor, with the ticket that stands for it. It is the person's own, and ends with the account,
/// with another password and by itself.
async fn hand_out_ticket(app: &App, tx: Tx<'_>, login: &user::Login, way: Way<'_>) -> Result<ApiError, ApiError> {
    let ticket = OneTimeCode::generate(app.chance());
    let data = json!({ "way": way.as_str(), "provider": way.provider() });
    let new = code::New {
        code: &ticket,
        kind: code::Kind::Ticket,
        tenant: &login.tenant_id,
        user: Some(&login.id),
        agent: None,
        data: &data,
    };
    let ends = code::insert(&tx, &new, app.now()).await?;
    tx.commit().await?;
    Ok(ApiError::from(Code::SecondFactorRequired)
        .extra("ticket", ticket.reveal())
        .extra("expires_at", ends.to_string()))
}

/// Makes the session with its audit row, and commits; `life` in seconds. `proved_at`: when its person proved who they are, if not now.
async fn begin(
    app: &App,
    tx: Tx<'_>,
    login: &user::Login,
    (way, provider, second): (&str, Option<&str>, Option<Second>),
    ((two_factors, proved_at), life): ((bool, Option<Timestamp>), i64),
) -> Result<Response, ApiError> {
    let id = CredentialId::generate(app.now(), app.chance());
    let token = Secret::generate(Kind::Session, app.chance());
    let expires_at = app.now().plus_seconds(life);
    let user_agent = user_agent(app);
    let new = credential::New {
        id: &id,
        secret: &token,
        tenant_id: &login.tenant_id,
        user_id: &login.id,
        agent_id: None,
        scope: "*",
        created_at: app.now(),
        expires_at: Some(expires_at),
        user_agent: user_agent.as_deref(),
        name: None,
        key_id: None,
        minter: credential::Minter::default(),
    };
    credential::insert(&tx, &new).await?;
    if two_factors {
        credential::proved_two_factors(&tx, &id).await?;
    }
    if let Some(proved_at) = proved_at {
        credential::prove(&tx, &id, proved_at).await?;
    }
    let said = [("way", Some(way)), ("provider", provider), ("second", second.map(Second::as_str))];
    let after = said.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
    let event = Event { action: ACTION, object: id.as_str(), before: Null, after };
    audit::insert(&tx, &app.origin(&login.tenant_id, Some(&login.id)), &event).await?;
    tx.commit().await?;
    let form = SignedIn {
        access_token: token.reveal(),
        token_type: "bearer",
        user_id: &login.id,
        email: &login.email,
        role: login.role,
        expires_at,
    };
    response::uncached_json(StatusCode::OK, &form)
}

/// The client's own description of itself, without the characters that cannot be seen and without credentials.
fn user_agent(app: &App) -> Option<String> {
    let sent = app.headers().all("user-agent");
    let text = String::from_utf8_lossy(sent.first()?.as_bytes()).replace(is_unseen, "");
    Some(Secret::cut_off(text).chars().take(USER_AGENT).collect())
}

/// The value of `Set-Cookie` by which a browser keeps a value for so many seconds, or with 0 forgets the one that it has.
fn set_cookie(app: &App, name: &str, value: &str, life: i64) -> String {
    format!("{name}={value}; Path=/; Max-Age={life};{} HttpOnly; SameSite=Lax", secure(app))
}

/// The value of `Set-Cookie` that leaves a session with a browser. `None`: this site has no cookie.
pub fn cookie(app: &App, token: &str) -> Option<String> {
    cookie_name(app).map(|name| set_cookie(app, name, token, LIFE))
}

/// The value of `Set-Cookie` by which a browser forgets its session. `None`: this site has no cookie.
pub fn no_cookie(app: &App) -> Option<String> {
    cookie_name(app).map(|name| set_cookie(app, name, "", 0))
}

/// The attribute of cookies of a site that is reached by https.
pub fn secure(app: &App) -> &'static str {
    if is_secure(app) { " Secure;" } else { "" }
}

/// Whether this site is reached by https.
pub fn is_secure(app: &App) -> bool {
    app.settings().public_url.as_ref().is_some_and(|url| url.is_secure)
}

#[cfg(test)]
mod tests {
    use super::device;

    /// R361: a browser that names those that it is like is called by its own name.
    #[test]
    fn a_device_is_called_by_its_own_name() {
        for (agent, name) in [
            (
                "Mozilla/5.0 (iPad; CPU OS 17_0 like Mac OS X) AppleWebKit/605.1.15 CriOS/120.0 Mobile/15E148 Safari/604.1",
                "Chrome on iPad",
            ),
            (
                "Mozilla/5.0 (iPhone; CPU iPhone OS 17_0 like Mac OS X) AppleWebKit/605.1.15 FxiOS/120.0 Mobile Safari/605.1.15",
                "Firefox on iPhone",
            ),
            (
                "Mozilla/5.0 (Linux; Android 13; SM-S911B) AppleWebKit/537.36 SamsungBrowser/23.0 Chrome/115.0 Mobile Safari/537.36",
                "Samsung Internet on Android",
            ),
            (
                "Mozilla/5.0 (X11; CrOS x86_64 14541.0.0) AppleWebKit/537.36 Chrome/120.0 Safari/537.36",
                "Chrome on ChromeOS",
            ),
            ("Mozilla/5.0 (X11; Linux x86_64; rv:120.0) Gecko/20100101 Firefox/120.0", "Firefox on Linux"),
            (
                "Mozilla/5.0 (Windows NT 10.0) AppleWebKit/537.36 Chrome/120.0 Safari/537.36 Edg/120.0",
                "Edge on Windows",
            ),
            ("", "unknown"),
        ] {
            assert_eq!(device(agent), name);
        }
    }
}
