//! Signing devices in (RFC 8628): a terminal asks for two codes, a person types the short one at `/device` and decides, and the terminal
//! trades the long one for what the person gave.
//!
//! 1. `POST /auth/device/code` (section 3.1) keeps what asks, and from where. Requests are counted by network.
//! 2. A session finds the request by its user code. Each look-up is counted by person, found or not, so that nobody guesses one.
//! 3. The person approves with scopes and an end, or denies, by one statement: a request is decided about once.
//! 4. `POST /auth/device/token` (section 3.4) spends the approval by one statement, and only then is a secret made: nothing that could be
//!    stolen lies in between.

use common::{
    error::{ApiError, Code},
    id::{CredentialId, TenantId},
    route::Route,
    scope::{CustomScopes, Patterns, ScopeSet},
    secret::{Digest, Kind, OneTimeCode, Secret, UserCode},
    text::within,
    time::Timestamp,
};
use http::StatusCode;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Value::Null, json};
use service::{
    app::App,
    caller::Caller,
    change::{Answer, Change},
    extract::{Body, Path, UrlEncoded},
    form, mail,
    mint::{self, NewCredential},
    proof, quota,
    response::{Response, json, uncached_json},
    session::{self, SignedIn, Way},
    site, throttle,
};
use store::{
    audit::{self, Event},
    credential,
    db::{Purpose, Tx},
    device::{self, Approved, Standing, Waiting},
    outbox, user,
};

use super::{
    clients,
    form::{Parameters, as_oauth, scope_words, token_type},
};

/// The grant type of section 3.4.
pub(crate) const GRANT: &str = "urn:ietf:params:oauth:grant-type:device_code";
/// Requests that one network may make in a window.
const REQUESTS: i64 = 30;
/// User codes that one person may look up in a window.
const LOOK_UPS: i64 = 60;
/// The window, seconds.
const WINDOW: i64 = 600;
/// The longest scope that is asked for, characters.
const MOST_SCOPE: usize = 2_000;
/// Days that a token lives, at most and if the person does not say.
const DAYS: i64 = 90;
/// User codes that are tried until one is free.
const CODES: usize = 8;

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "DeviceCodes")]
pub(crate) struct Codes<'a> {
    device_code: &'a str,
    user_code: &'a str,
    verification_uri: String,
    verification_uri_complete: String,
    expires_in: i64,
    interval: i64,
}

/// `POST /auth/device/code`.
pub(crate) async fn ask(app: App, UrlEncoded(form): UrlEncoded) -> Result<Response, ApiError> {
    ask_for(&app, &Parameters(form)).await.map_err(as_oauth)
}

async fn ask_for(app: &App, form: &Parameters) -> Result<Response, ApiError> {
    let client = clients::of_device(app, form).await?;
    let name = form.name("name", &client)?;
    let scope = wanted(form.find("scope")?.unwrap_or_default())?;
    let is_session = match form.find("want")? {
        None | Some("token") => false,
        Some("session") => true,
        Some(_) => {
            return Err(Code::InvalidRequest.detail("want is neither token nor session.").with("field", "want"));
        }
    };
    let server = site::address(app).ok_or(Code::InvalidHost)?;

    let refusal = Code::TooManyAttempts.detail("Too many devices asked to be signed in from this address.");
    throttle::count(app, &["device-code", &app.network()], (REQUESTS, WINDOW), refusal).await?;
    let code = OneTimeCode::generate(app.chance());
    let new =
        device::New { code: &code, name: &name, client: &client, address: app.address(), scope: &scope, is_session };
    let tx = app.db().begin(Purpose::Durable).await?;
    let user_code = insert(app, &tx, &new).await?;
    tx.commit().await?;

    let user_code = user_code.reveal();
    let answer = Codes {
        device_code: code.reveal(),
        verification_uri_complete: format!("{server}/device?user_code={user_code}"),
        verification_uri: format!("{server}/device"),
        user_code: &user_code,
        expires_in: device::LIFE,
        interval: device::INTERVAL,
    };
    uncached_json(StatusCode::OK, &answer)
}

/// Stores a request under a user code that is free.
async fn insert(app: &App, tx: &Tx<'_>, new: &device::New<'_>) -> Result<UserCode, ApiError> {
    for _ in 0..CODES {
        let user_code = UserCode::generate(app.chance());
        if device::insert(tx, new, &user_code, app.now()).await? {
            return Ok(user_code);
        }
    }
    Err(ApiError::from(Code::Internal).cause("no user code is free"))
}

/// The scopes that are asked for. The tenant is not known yet, so that each name of a custom scope may be one.
fn wanted(scope: &str) -> Result<String, ApiError> {
    let is_known = |word: &&str| {
        let name = word.strip_suffix(".*").unwrap_or(word);
        ScopeSet::expand(word).is_some() || *word == "x.*" || CustomScopes::is_name(name)
    };
    let words: Vec<&str> = scope_words(scope).collect();
    let unknown: Vec<&str> = words.iter().filter(|word| !is_known(word)).copied().collect();
    if !unknown.is_empty() || scope.len() > MOST_SCOPE {
        let shown: Vec<String> = unknown.iter().map(|word| Secret::cut_off((*word).to_owned())).collect();
        return Err(ApiError::from(Code::InvalidScope).extra("unknown_scopes", shown));
    }
    Ok(words.join(" "))
}

/// Counts a look-up of a user code, and reads the code.
async fn look_up(app: &App, caller: &Caller, typed: &str) -> Result<Digest, ApiError> {
    let refusal = Code::TooManyAttempts.detail("You have tried too many codes of devices.");
    throttle::count(app, &["user-code", caller.user_id().as_str()], (LOOK_UPS, WINDOW), refusal).await?;
    Ok(UserCode::parse(typed).ok_or(Code::DeviceNotFound)?.digest())
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Device")]
pub(crate) struct Shown<'a> {
    name: &'a str,
    client: &'a str,
    address: &'a str,
    scope: Vec<&'a str>,
    want: &'static str,
    created_at: Timestamp,
    expires_at: Timestamp,
}

/// The word for what is asked for.
const fn want(is_session: bool) -> &'static str {
    if is_session { "session" } else { "token" }
}

/// `GET /auth/device/{id}`: what the person decides about.
pub(crate) async fn get(app: App, caller: Caller, Path(code): Path) -> Result<Response, ApiError> {
    let code = look_up(&app, &caller, &code).await?;
    let found =
        device::find_waiting(app.db(), &code, caller.tenant_id(), app.now()).await?.ok_or(Code::DeviceNotFound)?;
    let shown = Shown {
        name: &found.name,
        client: &found.client,
        address: &found.address,
        scope: found.scope.split_ascii_whitespace().collect(),
        want: want(found.is_session),
        created_at: found.created_at,
        expires_at: found.expires_at,
    };
    json(StatusCode::OK, &shown)
}

form! {
    pub(crate) struct Approve {
        scope: Option<Vec<String>>,
        expires_in_days: Option<i64>,
    }
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "DecidedDevice")]
pub(crate) struct Decided<'a> {
    state: &'static str,
    name: &'a str,
}

/// `POST /auth/device/{id}/approve`.
pub(crate) async fn approve(change: Change<Body<Approve>>, Path(code): Path) -> Result<Response, ApiError> {
    let code = look_up(&change.app, &change.caller, &code).await?;
    let days = within("expires_in_days", change.input.0.expires_in_days.unwrap_or(DAYS), 1..=DAYS)?;
    change
        .run(async |write, Body(body)| {
            let now = write.now();
            let waiting = device::find_waiting(&write.tx, &code, write.caller.tenant_id(), now)
                .await?
                .ok_or(Code::DeviceNotFound)?;
            let scope = given(&write.caller, &waiting, body)?;
            if waiting.is_session {
                // What the new session is for needs a fresh proof, and it has this session's: without one it would be of no use.
                write.require_fresh()?;
            } else {
                quota::check_credentials(write.app(), &write.tx, &write.caller, write.caller.user_id()).await?;
            }
            let by = (write.caller.user_id(), write.caller.credential_id());
            if !device::approve(&write.tx, &code, by, (&scope, days), now).await? {
                return Err(Code::DeviceNotFound.into());
            }
            let after = json!({
                "name": waiting.name, "client": waiting.client, "address": waiting.address, "scope": scope,
                "want": want(waiting.is_session),
            });
            let answer = Answer::ok(&Decided { state: "approved", name: &waiting.name })?;
            Ok(answer.audited(write.caller.user_id(), Null, after))
        })
        .await
}

/// What the person gives: what they chose, or else what was asked for, or else all that they may.
fn given(caller: &Caller, waiting: &Waiting, body: Approve) -> Result<Patterns, ApiError> {
    if waiting.is_session {
        return match body.scope.is_some() || body.expires_in_days.is_some() {
            true => Err(ApiError::field("scope", "must not be sent for a session, which has neither scope nor days")),
            false => Ok(Patterns::stored("*")),
        };
    }
    let wanted: Vec<String> = waiting.scope.split_ascii_whitespace().map(str::to_owned).collect();
    let scope = body.scope.unwrap_or(if wanted.is_empty() { vec!["*".to_owned()] } else { wanted });
    caller.read_scope(&scope)
}

/// `POST /auth/device/{id}/deny`.
pub(crate) async fn deny(change: Change<()>, Path(code): Path) -> Result<Response, ApiError> {
    let code = look_up(&change.app, &change.caller, &code).await?;
    change
        .run(async |write, ()| {
            let waiting = device::find_waiting(&write.tx, &code, write.caller.tenant_id(), write.now())
                .await?
                .ok_or(Code::DeviceNotFound)?;
            if !device::deny(&write.tx, &code, write.caller.user_id(), write.now()).await? {
                return Err(Code::DeviceNotFound.into());
            }
            let after = json!({ "name": waiting.name, "client": waiting.client, "address": waiting.address });
            let answer = Answer::ok(&Decided { state: "denied", name: &waiting.name })?;
            Ok(answer.audited(write.caller.user_id(), Null, after))
        })
        .await
}

/// `POST /auth/device/token`.
pub(crate) async fn redeem(
    app: App,
    route: &'static Route,
    UrlEncoded(form): UrlEncoded,
) -> Result<Response, ApiError> {
    let form = Parameters(form);
    let granted = async {
        form.check_once()?;
        match form.get("grant_type")? {
            GRANT => {
                let key = proof::of_request(&app).await?;
                grant(&app, route, &form, key.as_deref()).await
            }
            _ => Err(Code::UnsupportedGrant.with("grants", GRANT)),
        }
    };
    granted.await.map_err(as_oauth)
}

/// The grant of section 3.4, also at `POST /oauth/token`.
pub(crate) async fn grant(
    app: &App,
    route: &Route,
    form: &Parameters,
    key: Option<&str>,
) -> Result<Response, ApiError> {
    let code = OneTimeCode::parse(form.get("device_code")?).ok_or_else(unknown)?.digest();
    let client = clients::of_device(app, form).await?;
    let mut standing = device::find(app.db(), &code, &client, app.now()).await?.ok_or_else(unknown)?;
    if matches!(standing, Standing::Waiting { .. }) {
        standing = device::poll(app.db(), &code, &client, app.now()).await?.ok_or_else(unknown)?;
    }
    match standing {
        Standing::Waiting { interval, is_too_fast } => {
            let code = if is_too_fast { Code::SlowDown } else { Code::AuthorizationPending };
            Err(ApiError::from(code).extra("interval", interval))
        }
        Standing::Denied => Err(Code::AccessDenied.into()),
        Standing::Expired => Err(Code::DeviceCodeExpired.into()),
        Standing::Spent => Err(Code::InvalidGrant.into()),
        Standing::Approved => spend(app, route, (&code, &client), form, key).await,
    }
}

/// One refusal for what has many reasons: it says nothing of the codes of others.
fn unknown() -> ApiError {
    Code::InvalidGrant
        .detail("This device code is unknown, or another client asked for it.")
        .fix("Send the device_code as POST /auth/device/code answered it, with the client_id that the request for it had, or without one if it had none. If it is refused all the same, ask for a new one.")
        .page("/docs/agents/concepts/device#polling")
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "DeviceToken")]
pub(crate) struct Redeemed<'a> {
    access_token: &'a str,
    token_type: &'static str,
    expires_in: i64,
    scope: String,
    id: &'a CredentialId,
    name: &'a str,
    user_id: &'a str,
    email: &'a str,
    expires_at: Timestamp,
}

/// What a device gets: what it asked for, a token or a session.
#[derive(JsonSchema)]
#[schemars(rename = "DeviceGrant", untagged)]
#[expect(dead_code, reason = "it describes what two places answer")]
pub(crate) enum Given<'a> {
    /// A token.
    Token(Redeemed<'a>),
    /// A session.
    Session(SignedIn<'a>),
}

/// Spends an approval, and makes what it was given for, in one transaction.
async fn spend(
    app: &App,
    route: &Route,
    (code, client): (&Digest, &str),
    form: &Parameters,
    key: Option<&str>,
) -> Result<Response, ApiError> {
    let tx = app.db().begin(Purpose::Durable).await?;
    clients::check_device_again(app, &tx, form, client).await?;
    let approved = device::spend(&tx, code, client, app.now()).await?.ok_or(Code::InvalidGrant)?;
    // The approval of a deactivated account has ended with it; this is what decides all the same.
    let login = user::login_of(&tx, &approved.user_id).await?.filter(|login| login.is_active);
    let login = login.ok_or(Code::AccessDenied)?;
    if approved.is_session {
        let by = device::approver(&tx, code, app.now()).await?.ok_or(Code::AccessDenied)?;
        return session::let_in(app, tx, &login, Way::Device(by), None, Code::AccessDenied).await;
    }
    let expires_at = app.now().plus_seconds(approved.days * 86_400);
    let (id, secret) = mint(app, &tx, route, &login.tenant_id, &approved, expires_at).await?;
    if let Some(key) = key {
        credential::bind(&tx, &id, key).await?;
    }
    tx.commit().await?;
    let scope = approved.scope.to_column();
    let answer = Redeemed {
        access_token: secret.reveal(),
        token_type: token_type(key),
        expires_in: app.now().seconds_until(expires_at),
        scope,
        id: &id,
        name: &approved.name,
        user_id: approved.user_id.as_str(),
        email: &login.email,
        expires_at,
    };
    uncached_json(StatusCode::OK, &answer)
}

/// Makes the token, as `POST /auth/tokens` would for the person who approved.
async fn mint(
    app: &App,
    tx: &Tx<'_>,
    route: &Route,
    tenant: &TenantId,
    approved: &Approved,
    expires_at: Timestamp,
) -> Result<(CredentialId, Secret), ApiError> {
    let origin = app.origin(tenant, Some(&approved.user_id));
    let id = CredentialId::generate(app.now(), app.chance());
    let new = NewCredential {
        kind: Kind::Pat,
        id: id.clone(),
        user: &approved.user_id,
        agent: None,
        key: None,
        name: Some(&approved.name),
        scope: &approved.scope,
        expires_at: Some(expires_at),
        grantee: None,
    };
    let secret = mint::credential(tx, &origin, &new).await?;
    let after = json!({
        "name": approved.name, "scope": approved.scope, "expires_at": expires_at, "device": approved.address,
    });
    let event = Event { action: route.audit.unwrap_or_default(), object: id.as_str(), before: Null, after };
    audit::insert(tx, &origin, &event).await?;
    let told = json!({ "name": approved.name, "scope": approved.scope, "expires_at": expires_at });
    mail::queue(app, tx, (tenant, &approved.user_id), outbox::Kind::TokenMade, told).await?;
    Ok((id, secret))
}

#[cfg(test)]
mod tests;
