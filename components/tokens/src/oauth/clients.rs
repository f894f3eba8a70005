//! Clients that admins register: `/api/oauth/clients`; and how a client is found and proves itself at the token endpoint.

use base64::{Engine, engine::general_purpose::STANDARD};
use common::{
    error::{ApiError, Code, Flaws},
    id::ClientId,
    oauth::{MOST_URIS, document_url, is_registered, private_use, redirect_uri},
    secret::ClientSecret,
    text::{isolated, text},
    url::Url,
};
use http::StatusCode;
use jose::Jws;
use percent_encoding::percent_decode_str;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value as Json, Value::Null, json};
use service::{
    app::App,
    caller::Caller,
    change::{Answer, Change},
    credential::own_base,
    extract::{Body, Empty, Path, Query},
    form,
    form::NamedQuery,
    quota,
    response::{Response, json},
};
use store::{
    audit,
    db::Rows,
    federated_credential,
    key_set::Keys,
    oauth_client::{self, Client},
    oauth_document,
    oauth_grant::{self, Common},
};

use super::{
    assertion::{self, Expected},
    form::Parameters,
    key_sets,
    registration::{self, Registered},
};

/// The type of what a client signs (RFC 7523, section 8.2).
pub(super) const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// How a person makes room.
const FREE: &str =
    "Delete clients that nobody needs with DELETE /api/oauth/clients/<id>, which GET /api/oauth/clients lists";

/// The tenant's own client with this id.
async fn registered(reads: &dyn Rows, caller: &Caller, id: &str) -> Result<Option<Client>, ApiError> {
    Ok(oauth_client::find(reads, id).await?.filter(|client| client.tenant == *caller.tenant_id()))
}

async fn find(reads: &dyn Rows, caller: &Caller, id: &str) -> Result<Client, ApiError> {
    Ok(registered(reads, caller, id).await?.ok_or(Code::ClientNotFound)?)
}

/// `GET /api/oauth/clients`: the newest first.
pub(crate) async fn list(app: App, caller: Caller, Query(query): Query<NamedQuery>) -> Result<Response, ApiError> {
    let (q, order) = query.wanted()?;
    let page = caller.page(&app, &query.page)?;
    let rows = oauth_client::list(app.db(), caller.tenant_id(), (q.as_deref(), order), &page).await?;
    json(StatusCode::OK, &page.ordered(rows, order, |row| (row.created_at, row.id.to_string(), row.name.clone())))
}

/// `GET /api/oauth/clients/{id}`, with how many people have let it in.
pub(crate) async fn get(app: App, caller: Caller, Path(id): Path) -> Result<Response, ApiError> {
    let client = find(app.db(), &caller, &id).await?;
    let people = oauth_grant::people(app.db(), client.id.as_str(), app.now()).await?;
    json(StatusCode::OK, &Client { people: Some(people), ..client })
}

form! {
    pub(crate) struct Create {
        name: String,
        redirect_uris: Vec<String>,
        confidential: Option<bool>,
        jwks: Option<Map<String, Json>>,
        jwks_uri: Option<String>,
    }
}

/// A client, and the one time that its secret is shown.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "NewOauthClient")]
pub(crate) struct Shown<'a> {
    #[serde(flatten)]
    client: &'a Client,
    /// What a confidential client proves itself with; null: it is public, or proves itself by a key.
    client_secret: Option<&'a str>,
}

/// Refuses a scheme of a program's own for a client that proves itself: what runs on a person's device keeps no secret, and of such a
/// program only PKCE says that it is the one that asked (RFC 8252, sections 7.1 and 8.5).
fn check_public(uris: &[String], is_confidential: bool) -> Result<(), ApiError> {
    let private: Vec<&String> = uris.iter().filter(|uri| private_use(uri).is_some()).collect();
    if !is_confidential || private.is_empty() {
        return Ok(());
    }
    Err(ApiError::from(Code::InvalidRedirectUri)
        .detail("A confidential client has no redirect URI with a scheme of its own.")
        .fix("Send https URIs for this client, and register another one, without confidential and without keys, for a program on a person's device.")
        .extra("field", "redirect_uris")
        .extra("refused", json!(private)))
}

/// Checks redirect URIs.
fn check_uris(uris: &[String]) -> Result<(), ApiError> {
    let is_repeated = |(at, uri): (usize, &String)| uris.iter().take(at).any(|other| other == uri);
    let bad: Vec<&String> =
        uris.iter().filter(|uri| redirect_uri(uri).is_none() && private_use(uri).is_none()).collect();
    if !(1..=MOST_URIS).contains(&uris.len()) || !bad.is_empty() || uris.iter().enumerate().any(is_repeated) {
        return Err(ApiError::from(Code::InvalidRedirectUri)
            .extra("field", "redirect_uris")
            .extra("refused", json!(bad)));
    }
    Ok(())
}

/// For the audit trail.
fn audited(client: &Client) -> Json {
    let mut shown =
        json!({ "name": client.name, "redirect_uris": client.redirect_uris, "confidential": client.confidential });
    if let (Some(keys), Some(members)) = (&client.keys, shown.as_object_mut()) {
        let ids = match keys {
            Keys::From(_) => json!(client.jwks_uri),
            Keys::Pasted(keys) => keys.iter().map(|key| key.get("kid").cloned().unwrap_or_default()).collect(),
        };
        members.insert("keys".to_owned(), ids);
    }
    shown
}

/// `POST /api/oauth/clients`.
pub(crate) async fn create(change: Change<Body<Create>>) -> Result<Response, ApiError> {
    let Body(body) = &change.input;
    let mut flaws = Flaws::default();
    let name = flaws.check("name", text("name", &body.name, 64));
    flaws.check("redirect_uris", check_uris(&body.redirect_uris));
    let keys = flaws.check("jwks", key_sets::read(&change.app, body.jwks.as_ref(), body.jwks_uri.as_deref()));
    let (Some(name), Some(keys)) = (name, keys) else { return Err(flaws.refusal()) };
    flaws.end()?;
    if keys.is_some() && body.confidential == Some(false) {
        return Err(ApiError::field("confidential", "must not be false for a client with keys"));
    }
    check_public(&body.redirect_uris, keys.is_some() || body.confidential == Some(true))?;
    change
        .run(async |write, Body(body)| {
            let id = ClientId::generate(write.now(), write.app().chance());
            let secret = (body.confidential == Some(true) && keys.is_none())
                .then(|| ClientSecret::generate(write.app().chance()));
            let digest = secret.as_ref().map(ClientSecret::digest);
            let whose = (write.caller.tenant_id(), &id, write.caller.user_id());
            let settings = (name.as_str(), body.redirect_uris.as_slice());
            let proof = (digest.as_ref(), keys.as_ref());
            if !oauth_client::insert(&write.tx, whose, settings, proof, write.now()).await? {
                return Err(quota::reached("OAuth clients", FREE, "tenant", oauth_client::MOST));
            }
            let made = find(&write.tx, &write.caller, id.as_str()).await?;
            let shown = Shown { client: &made, client_secret: secret.as_ref().map(ClientSecret::reveal) };
            Ok(Answer::created(&shown)?.with_secret().audited(&id, Null, audited(&made)))
        })
        .await
}

form! {
    pub(crate) struct Patch {
        name: Option<String>,
        redirect_uris: Option<Vec<String>>,
        jwks: Option<Map<String, Json>>,
        jwks_uri: Option<String>,
    }
}

/// `PATCH /api/oauth/clients/{id}`: changes the fields that are sent.
pub(crate) async fn patch(change: Change<Body<Patch>>, Path(id): Path) -> Result<Response, ApiError> {
    let Body(body) = &change.input;
    let mut flaws = Flaws::default();
    let name = flaws.check("name", body.name.as_deref().map(|name| text("name", name, 64)).transpose());
    flaws.check("redirect_uris", body.redirect_uris.as_deref().map(check_uris).transpose());
    let keys = flaws.check("jwks", key_sets::read(&change.app, body.jwks.as_ref(), body.jwks_uri.as_deref()));
    let (Some(name), Some(keys)) = (name, keys) else { return Err(flaws.refusal()) };
    flaws.end()?;
    change
        .on(&id, find, async |write, before, Body(body)| {
            let name = name.as_deref().unwrap_or(&before.name);
            let uris = body.redirect_uris.as_ref().unwrap_or(&before.redirect_uris);
            if keys.is_some() && before.keys.is_none() {
                return Err(ApiError::field(
                    "",
                    "keys are for a client that was registered with keys: register another one",
                ));
            }
            check_public(uris, before.confidential)?;
            let keys = keys.as_ref().or(before.keys.as_ref());
            if !oauth_client::update(&write.tx, &before.id, (name, uris), keys, write.now()).await? {
                return Ok(Answer::ok(&before)?.unchanged());
            }
            let after = find(&write.tx, &write.caller, before.id.as_str()).await?;
            let (old, new) = audit::changed(audited(&before), audited(&after));
            Ok(Answer::ok(&after)?.audited(&before.id, old, new))
        })
        .await
}

/// `DELETE /api/oauth/clients/{id}`: with it ends all that people gave the client.
pub(crate) async fn delete(change: Change<()>, Path(id): Path) -> Result<Response, ApiError> {
    change
        .on(&id, find, async |write, found, ()| {
            let (name, by) = (isolated(&found.name), write.author());
            let body = format!("{by} removed the app {name}: it can do nothing in your name any more.");
            let title = format!("The app {name} was removed");
            let ended = write.end_apps(Common::Client(found.id.as_str()), &title, &body).await?;
            oauth_client::delete(&write.tx, &found.id).await?;
            Ok(Answer::no_content().audited(&found.id, audited(&found), json!({ "grants_ended": ended })))
        })
        .await
}

/// `POST /api/oauth/clients/{id}/rotate`: another secret; the one before ends at once.
pub(crate) async fn rotate(change: Change<Body<Empty>>, Path(id): Path) -> Result<Response, ApiError> {
    change
        .on(&id, find, async |write, found, _| {
            let secret = ClientSecret::generate(write.app().chance());
            if !oauth_client::replace_secret(&write.tx, &found.id, &secret.digest(), write.now()).await? {
                return Err(match found.keys {
                    None => Code::PublicClient.into(),
                    Some(_) => ApiError::from(Code::PublicClient)
                        .detail("This client proves itself by a key: it has no secret that could be replaced.")
                        .fix("Replace its keys: send PATCH /api/oauth/clients/<id> with jwks or jwks_uri."),
                });
            }
            let after = find(&write.tx, &write.caller, found.id.as_str()).await?;
            let shown = Shown { client: &after, client_secret: Some(secret.reveal()) };
            Ok(Answer::created(&shown)?.with_secret().audited(&found.id, Null, json!({ "secret": "replaced" })))
        })
        .await
}

/// A client as an authorization request names it.
pub(super) struct Known {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) redirect_uris: Vec<String>,
    /// Whether an admin of the tenant registered it. Of others nobody here has looked at more than their document.
    pub(super) is_registered: bool,
}

impl Known {
    /// The host of a client id that is a URL.
    pub(super) fn host(&self) -> Option<String> {
        Url::parse(&self.id).map(|url| url.authority())
    }
}

/// The client that an authorization request of this person names.
pub(super) async fn of_request(app: &App, reads: &dyn Rows, caller: &Caller, id: &str) -> Result<Known, ApiError> {
    if document_url(id).is_some() {
        // The page has it read before.
        let found = oauth_document::find(reads, id, app.now()).await?.ok_or(Code::UnknownClient)?;
        return Ok(Known {
            id: id.to_owned(),
            name: found.name,
            redirect_uris: found.redirect_uris,
            is_registered: false,
        });
    }
    if let Some(Registered { name, redirect_uris }) = registration::open(app, id) {
        return Ok(Known { id: id.to_owned(), name, redirect_uris, is_registered: false });
    }
    let found = registered(reads, caller, id).await?.ok_or(Code::UnknownClient)?;
    let Client { id, name, redirect_uris, .. } = found;
    Ok(Known { id: id.to_string(), name, redirect_uris, is_registered: true })
}

/// Whether a client that an admin registered still has the redirect URI to which a code went. Of others no admin takes one away.
pub(super) async fn still_leads_to(reads: &dyn Rows, id: &str, sent: &str) -> Result<bool, ApiError> {
    let found = oauth_client::find(reads, id).await?;
    Ok(found.is_none_or(|client| client.redirect_uris.iter().any(|known| is_registered(known, sent))))
}

/// Finds the client that sends a form, and has it prove itself; returns its id. One that has registered itself, or that has neither a secret
/// nor keys, is public: what it says it is.
pub(super) async fn authenticate(app: &App, form: &Parameters) -> Result<String, ApiError> {
    match Proof::read(app, form)? {
        Proof::Assertion { client, text } => by_assertion(app, client, text).await,
        Proof::Secret { client, secret } => by_secret(app, app.db(), client, secret).await,
    }
}

/// The client of a device (RFC 8628, sections 3.1 and 3.4): what a program calls itself. One that an admin registered proves itself, and a
/// sender of a proof has to be one.
pub(crate) async fn of_device(app: &App, form: &Parameters) -> Result<String, ApiError> {
    let named = form.name("client_id", "unknown")?;
    if is_unregistered(app, form).await? {
        return Ok(named);
    }
    authenticate(app, form).await
}

/// Whether a form comes from a program that no admin registered, and that proves nothing.
pub(super) async fn is_unregistered(app: &App, form: &Parameters) -> Result<bool, ApiError> {
    let named = form.find("client_id")?.unwrap_or_default();
    Ok(proves_nothing(app, form)? && oauth_client::find(app.db(), named).await?.is_none())
}

/// Refuses the client of a device that has proved itself as this one, and was deleted since or got another secret.
pub(crate) async fn check_device_again(
    app: &App,
    reads: &dyn Rows,
    form: &Parameters,
    id: &str,
) -> Result<(), ApiError> {
    if proves_nothing(app, form)? && oauth_client::find(reads, id).await?.is_none() {
        return Ok(());
    }
    check_again(app, reads, form, id).await
}

/// Whether a form comes without anything that a client proves itself with.
fn proves_nothing(app: &App, form: &Parameters) -> Result<bool, ApiError> {
    let has = |name| form.find(name).map(|sent| sent.is_some());
    Ok(!has("client_secret")? && !has("client_assertion")? && !has("client_assertion_type")? && basic(app)?.is_none())
}

/// Whether the client that sends a form and has proved itself could send nothing to prove itself with: it has done so, or its document says so.
pub(super) async fn is_public(app: &App, form: &Parameters, id: &str) -> Result<bool, ApiError> {
    Ok(match Proof::read(app, form)? {
        Proof::Secret { secret, .. } => secret.is_none(),
        Proof::Assertion { .. } if document_url(id).is_none() => false,
        Proof::Assertion { .. } => oauth_document::proof(app.db(), id).await?.is_none_or(|proof| proof.is_public),
    })
}

/// Refuses a client that has proved itself as this one and was deleted since, or got another secret: for the transaction that gives it something.
pub(super) async fn check_again(app: &App, reads: &dyn Rows, form: &Parameters, id: &str) -> Result<(), ApiError> {
    match Proof::read(app, form)? {
        Proof::Secret { client, secret } => by_secret(app, reads, client, secret).await.map(drop),
        // Its signature has been verified, and the assertion is spent.
        Proof::Assertion { .. } => keys_of(reads, id).await?.map(drop).ok_or_else(|| Code::InvalidClient.into()),
    }
}

/// What a client proves itself with, one way of several (RFC 6749, section 2.3).
enum Proof<'f> {
    /// A secret, or nothing.
    Secret { client: String, secret: Option<String> },
    /// What it has signed; its id may stand there alone.
    Assertion { client: Option<String>, text: &'f str },
}

impl<'f> Proof<'f> {
    fn read(app: &App, form: &'f Parameters) -> Result<Self, ApiError> {
        let several = || {
            Code::InvalidRequest
                .detail("The client proves itself in more than one way.")
                .fix("Prove the client in one way, and leave the others out: the header Authorization: Basic, client_secret in the form, or client_assertion with client_assertion_type.")
                .page("/docs/agents/concepts/oauth-clients#the-token-requests")
        };
        let another = || {
            Code::InvalidClient
                .detail("client_id in the form is another client than that of the header Authorization.")
                .fix("Leave client_id out of the form, or send in it the client of the header.")
        };
        let sent = form.find("client_id")?;
        let secret = form.find("client_secret")?;
        let (client, secret) = match (basic(app)?, secret) {
            (Some(_), Some(_)) => return Err(several()),
            (Some((id, _)), None) if sent.is_some_and(|sent| sent != id) => return Err(another()),
            (Some((id, secret)), None) => (Some(id), Some(secret)),
            (None, secret) => (sent.map(str::to_owned), secret.map(str::to_owned)),
        };
        match (form.find("client_assertion_type")?, form.find("client_assertion")?) {
            (None, None) => {
                let client = client.ok_or(Code::InvalidClient)?;
                Ok(Self::Secret { client, secret: secret.filter(|secret| !secret.is_empty()) })
            }
            (Some(ASSERTION_TYPE), Some(_)) if secret.is_some() => Err(several()),
            (Some(ASSERTION_TYPE), Some(text)) => Ok(Self::Assertion { client, text }),
            _ => Err(Code::InvalidRequest
                .detail(format!(
                    "client_assertion and client_assertion_type belong together; the type is {ASSERTION_TYPE}."
                ))
                .with("field", "client_assertion_type")),
        }
    }
}

async fn by_secret(app: &App, reads: &dyn Rows, id: String, secret: Option<String>) -> Result<String, ApiError> {
    let unregistered = match document_url(&id) {
        Some(_) => Some(oauth_document::proof(reads, &id).await?.is_none_or(|proof| proof.is_public)),
        None => registration::open(app, &id).map(|_| true),
    };
    if let Some(is_public) = unregistered {
        return if is_public && secret.is_none() { Ok(id) } else { Err(Code::InvalidClient.into()) };
    }
    let client = oauth_client::find(reads, &id).await?.ok_or(Code::InvalidClient)?;
    let is_proved = match (&client.secret, secret) {
        (None, None) => client.keys.is_none(),
        (Some(known), Some(sent)) if client.secret_ended_at.is_none() => {
            ClientSecret::parse(&sent).is_some_and(|sent| sent.digest().matches(known))
        }
        _ => false,
    };
    if is_proved { Ok(id) } else { Err(Code::InvalidClient.into()) }
}

/// The keys by which a client proves itself, if it has any.
async fn keys_of(reads: &dyn Rows, id: &str) -> Result<Option<Keys>, ApiError> {
    let Some(_) = document_url(id) else {
        return Ok(oauth_client::find(reads, id).await?.and_then(|client| client.keys));
    };
    let keys = oauth_document::proof(reads, id).await?.and_then(|proof| proof.keys);
    // Nobody has looked at those that stand in a document.
    let read = |keys: Keys| match keys {
        Keys::Pasted(keys) => Keys::Pasted(jose::read(&json!({ "keys": keys })).unwrap_or_default()),
        fetched @ Keys::From(_) => fetched,
    };
    Ok(keys.map(read))
}

/// RFC 7523, sections 2.2 and 3: the client is issuer and subject, this server is the audience.
async fn by_assertion(app: &App, client: Option<String>, text: &str) -> Result<String, ApiError> {
    let refused = |why: &str| {
        Code::InvalidClient
            .detail(format!("The client assertion is not accepted: {why}."))
            .fix("Send as client_assertion a new JWT that a key of the client has signed: iss and sub are the client_id, aud is the issuer of this server alone, exp is soon, jti is a new one.")
            .page("/docs/agents/concepts/oauth-clients#a-key-in-place-of-a-secret")
    };
    let id = match client {
        Some(id) => id,
        // Nothing is known to be true of it yet: it says whose keys to try.
        None => Jws::parse(text).map_err(refused)?.claimed("sub").ok_or_else(|| refused("it has no sub"))?,
    };
    let keys = keys_of(app.db(), &id).await?.ok_or(Code::InvalidClient)?;
    let issuer = own_base(app).ok_or(Code::PublicUrlMissing)?;
    let token = format!("{issuer}/oauth/token");
    let expected = Expected {
        issuer: &id,
        audiences: &[issuer.as_str(), &token],
        is_sole: true,
        types: &["jwt", "client-authentication+jwt"],
        keys: &keys,
    };
    let assertion = assertion::verify(app, text, &expected, refused).await?;
    if assertion.subject != id {
        return Err(refused("its sub is another client"));
    }
    let digest = assertion.digest(&["client", &id]);
    if !federated_credential::spend_at_once(app.db(), &digest, assertion.known_until).await? {
        return Err(refused("it was sent before"));
    }
    Ok(id)
}

/// Id and secret of the header (RFC 6749, section 2.3.1). `None`: there is no header.
fn basic(app: &App) -> Result<Option<(String, String)>, ApiError> {
    let sent = app.headers().texts("authorization");
    let (first, more) = match sent.as_slice() {
        [] => return Ok(None),
        [first, more @ ..] => (first, more),
    };
    // Another scheme proves nothing about a client.
    if !first.trim().to_ascii_lowercase().starts_with("basic") {
        return Ok(None);
    }
    let decoded = || {
        let (scheme, text) = first.trim().split_once(' ').filter(|_| more.is_empty() && first.len() <= 4_096)?;
        let bytes = STANDARD.decode(text.trim()).ok().filter(|_| scheme.eq_ignore_ascii_case("basic"))?;
        let text = String::from_utf8(bytes).ok()?;
        let (id, secret) = text.split_once(':')?;
        let plain =
            |part: &str| percent_decode_str(&part.replace('+', " ")).decode_utf8().ok().map(|part| part.into_owned());
        Some((plain(id)?, plain(secret)?))
    };
    decoded().map(Some).ok_or_else(|| Code::InvalidClient.into())
}

#[cfg(test)]
mod tests;
