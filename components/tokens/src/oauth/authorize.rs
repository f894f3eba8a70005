//! What an app asks of a person (RFC 6749, section 4.1.1; OAuth 2.1), and what the person decides. The page `/oauth/authorize` sends the
//! request on as it came, so that one reading of it decides about what is shown and about what is given.
//!
//! 1. Client and redirect URI first: as long as one of them is wrong, nothing is sent anywhere.
//! 2. Every other fault is an answer to the client, at its redirect URI.
//! 3. What is left are scopes that the client asks for and that the person may grant. Allowing them makes a code, bound to client, redirect
//!    URI, challenge and resource. It holds for a minute.

use std::sync::LazyLock;

use common::{
    error::{ApiError, Code},
    oauth::{is_challenge, is_local, is_registered, leads_to},
    proof::is_thumbprint,
    route::{Access, ROUTES},
    scope::{Patterns, ScopeSet, Scopes},
    secret::{OneTimeCode, Secret},
    text::within,
};
use http::StatusCode;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Value::Null, json};
use service::{
    app::App,
    caller::Caller,
    change::{Answer, Change},
    credential::own_base,
    extract::{self, Body},
    form, quota,
    response::{Response, uncached_json},
};
use store::{
    code::{self, Kind},
    db::Rows,
    oauth_document, oauth_grant, outbox,
    resource::{self, Resource},
};

use super::{
    clients::{self, Known},
    form::scope_words,
    issued::is_own,
};

/// The longest request, characters: with all of it encoded once more it still is an address that a sign-in can lead back to.
const MOST: usize = 3_000;
/// Days that a grant lives, at most and if the person does not say.
const DAYS: i64 = 90;
/// Parameters of which a request has at most one (RFC 6749, section 3.1).
const ONCE: [&str; 14] = [
    "client_id",
    "redirect_uri",
    "response_type",
    "response_mode",
    "state",
    "scope",
    "code_challenge",
    "code_challenge_method",
    "resource",
    "prompt",
    "request",
    "request_uri",
    "nonce",
    "dpop_jkt",
];

/// The scopes that some routes take only with a fresh proof of who the person is. To give them away takes one too.
static FRESH: LazyLock<ScopeSet> = LazyLock::new(|| {
    let scope = |access| if let Access::Scope(scope) = access { Some(scope) } else { None };
    ROUTES.iter().filter(|route| route.is_fresh).filter_map(|route| scope(route.access)).collect()
});

/// A request whose client and redirect URI are good: whatever is decided about it, the client is told.
struct Asked {
    client: Known,
    redirect_uri: String,
    state: Option<String>,
    wanted: Result<Wanted, Fault>,
}

impl Asked {
    /// The address of an answer: the redirect URI with these parameters, `state` and `iss` (RFC 9207).
    fn answer(&self, app: &App, pairs: &[(&str, &str)]) -> Result<String, ApiError> {
        let issuer = own_base(app).ok_or(Code::PublicUrlMissing)?;
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.extend_pairs(pairs);
        if let Some(state) = &self.state {
            query.append_pair("state", state);
        }
        query.append_pair("iss", &issuer);
        let sign = if self.redirect_uri.contains('?') { '&' } else { '?' };
        // Some clients decode what is percent-encoded alone: a `+` would stay one.
        Ok(format!("{}{sign}{}", self.redirect_uri, query.finish().replace('+', "%20")))
    }

    /// The address of an answer that is no code.
    fn refusal(&self, app: &App, fault: &Fault) -> Result<String, ApiError> {
        self.answer(app, &[("error", fault.error), ("error_description", &fault.why)])
    }
}

/// What a request asks for.
struct Wanted {
    challenge: String,
    /// The thumbprint of the key that the client will prove.
    key: Option<String>,
    /// The resource as the client named it.
    resource: Option<String>,
    target: Target,
    /// What the client asks for and the person may grant.
    offered: Scopes,
    /// What the client asks for and the person may not grant.
    left_out: Vec<String>,
    /// Whether the client named scopes. If not, the person chooses among all.
    names_scopes: bool,
}

/// What the tokens are for.
enum Target {
    /// This server.
    Own,
    /// A service of the tenant.
    Service(Box<Resource>),
}

impl Target {
    /// The identifier that a grant has; `None`: this server.
    fn identifier(&self) -> Option<&str> {
        match self {
            Self::Own => None,
            Self::Service(service) => Some(&service.identifier),
        }
    }

    /// What tokens for it can carry, of what the person can use.
    fn within(&self, can: Scopes) -> Scopes {
        match self {
            Self::Own => can,
            Self::Service(service) => {
                let custom = can.custom.into_iter().filter(|name| service.scopes.contains(name)).collect();
                Scopes { known: ScopeSet::EMPTY, custom }
            }
        }
    }
}

/// An answer to the client that is no code (RFC 6749, section 4.1.2.1).
struct Fault {
    error: &'static str,
    why: String,
}

fn fault(error: &'static str, why: impl Into<String>) -> Fault {
    Fault { error, why: why.into() }
}

/// The parameters of a request. An empty one is left out.
struct Query(Vec<(String, String)>);

impl Query {
    fn find(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, value)| known == name && !value.is_empty()).map(|(_, value)| value.as_str())
    }

    fn count(&self, name: &str) -> usize {
        self.0.iter().filter(|(known, _)| known == name).count()
    }
}

/// Reads a request. `Err`: nothing may be sent to its redirect URI.
async fn read(app: &App, reads: &dyn Rows, caller: &Caller, text: &str) -> Result<Asked, ApiError> {
    if text.len() > MOST {
        return Err(Code::InvalidAuthorization.into());
    }
    let query = Query(form_urlencoded::parse(text.as_bytes()).into_owned().collect());
    let client_id = query.find("client_id").filter(|_| query.count("client_id") == 1).ok_or(Code::UnknownClient)?;
    let client = clients::of_request(app, reads, caller, client_id).await?;
    let sent = query.find("redirect_uri").filter(|_| query.count("redirect_uri") == 1);
    let sent = sent.ok_or_else(|| Code::RedirectUriMismatch.detail("The request has no redirect_uri, or several."))?;
    let is_known = client.redirect_uris.iter().any(|known| is_registered(known, sent));
    let redirect_uri = is_known.then(|| sent.to_owned()).ok_or(Code::RedirectUriMismatch)?;
    // RFC 6749, appendix A.5. What is of other characters could not be given back as it came.
    let is_state = |state: &&str| state.bytes().all(|b| (b' '..=b'~').contains(&b)) && !Secret::is_in(state.as_bytes());
    let state = query.find("state").filter(|state| query.count("state") == 1 && is_state(state)).map(str::to_owned);
    let wanted = match wanted(app, reads, caller, &query).await? {
        Ok(_) if state.is_none() && query.find("state").is_some() => {
            Err(fault("invalid_request", "state is not of visible ASCII, or holds a credential of this server"))
        }
        wanted => wanted,
    };
    Ok(Asked { client, redirect_uri, state, wanted })
}

/// Reads all of a request but its client, redirect URI and state.
async fn wanted(
    app: &App,
    reads: &dyn Rows,
    caller: &Caller,
    query: &Query,
) -> Result<Result<Wanted, Fault>, ApiError> {
    let challenge = match challenge(query) {
        Ok(challenge) => challenge.to_owned(),
        Err(fault) => return Ok(Err(fault)),
    };
    let key = query.find("dpop_jkt").map(str::to_owned);
    let resource = query.find("resource").map(str::to_owned);
    let target = match resource.as_deref() {
        None => Target::Own,
        Some(resource) if is_own(app, resource) => Target::Own,
        Some(resource) => match resource::identified(reads, caller.tenant_id(), resource).await? {
            Some(service) => Target::Service(Box::new(service)),
            None => return Ok(Err(fault("invalid_target", "no service with this identifier is known here"))),
        },
    };
    Ok(scopes(caller, &target, query).map(|(offered, left_out, names_scopes)| Wanted {
        challenge,
        key,
        resource,
        target,
        offered,
        left_out,
        names_scopes,
    }))
}

/// Reads what stands alone; returns the challenge.
fn challenge(query: &Query) -> Result<&str, Fault> {
    // RFC 8707 lets a client name several resources; a token of this server is for one.
    if query.count("resource") > 1 {
        return Err(fault("invalid_target", "a request names at most one resource"));
    }
    if let Some(name) = ONCE.into_iter().find(|name| query.count(name) > 1) {
        return Err(fault("invalid_request", format!("{name} is there more than once")));
    }
    for (name, error) in [("request", "request_not_supported"), ("request_uri", "request_uri_not_supported")] {
        if query.find(name).is_some() {
            return Err(fault(error, format!("the parameter {name} is not supported")));
        }
    }
    match query.find("response_type") {
        Some("code") => {}
        None => return Err(fault("invalid_request", "response_type is missing")),
        Some(_) => return Err(fault("unsupported_response_type", "response_type can only be code")),
    }
    if query.find("response_mode").is_some_and(|mode| mode != "query") {
        return Err(fault("invalid_request", "response_mode can only be query"));
    }
    if query.find("prompt").is_some_and(|prompt| prompt.split(' ').any(|word| word == "none")) {
        return Err(fault("interaction_required", "a person decides about each request"));
    }
    let challenge =
        query.find("code_challenge").ok_or_else(|| fault("invalid_request", "code_challenge is missing"))?;
    if query.find("code_challenge_method") != Some("S256") {
        return Err(fault("invalid_request", "code_challenge_method must be S256"));
    }
    if !is_challenge(challenge) {
        return Err(fault("invalid_request", "code_challenge is not 43 characters of base64url"));
    }
    if query.find("dpop_jkt").is_some_and(|key| !is_thumbprint(key)) {
        return Err(fault("invalid_request", "dpop_jkt is no thumbprint of a key: 43 characters of base64url"));
    }
    Ok(challenge)
}

/// What the client asks for of what the person may grant, what it asks for beside that, and whether it names scopes.
fn scopes(caller: &Caller, target: &Target, query: &Query) -> Result<(Scopes, Vec<String>, bool), Fault> {
    let custom = caller.custom_scopes();
    let words: Vec<String> = scope_words(query.find("scope").unwrap_or_default()).map(str::to_owned).collect();
    let can = target.within(caller.scopes());
    let wanted = match words.as_slice() {
        [] => can.clone(),
        words => match Patterns::parse(words, custom) {
            Ok(patterns) => patterns.scopes(custom),
            Err(unknown) => {
                let unknown = Secret::cut_off(unknown.join(" "));
                return Err(fault("invalid_scope", format!("no such scope: {}", visible(&unknown))));
            }
        },
    };
    let offered = wanted.clone().and(&can);
    let left_out = wanted.without(&can).all_names().into_iter().map(str::to_owned).collect();
    if offered.is_empty() {
        return Err(fault("invalid_scope", "the person may grant none of these scopes"));
    }
    Ok((offered, left_out, !words.is_empty()))
}

/// The characters of a text that may be in `error_description` (RFC 6749, section 4.1.2.1), of a bounded number.
fn visible(text: &str) -> String {
    text.chars().filter(|c| (' '..='~').contains(c) && !matches!(c, '"' | '\\')).take(100).collect()
}

/// The client, as a page shows it.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "AskingClient")]
struct ShownClient {
    id: String,
    /// As it calls itself, or as the admin who registered it does.
    name: String,
    /// The host of a client id that is a URL.
    host: Option<String>,
    /// Whether an admin of the tenant registered it.
    is_registered: bool,
}

/// What an app asks.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "AuthorizationRequest")]
pub(crate) struct Shown {
    client: ShownClient,
    redirect_uri: String,
    /// Host and port of the redirect URI; the scheme of one that a program on the person's own device answers to, such as `com.example.app:`.
    returns_to: String,
    /// Whether that is a program on the person's own computer.
    is_local: bool,
    /// The service that the tokens would be for; null: this server.
    resource: Option<String>,
    /// What the app asks for and the caller may grant.
    scope: Vec<String>,
    /// What the app asks for and the caller may not grant.
    left_out: Vec<String>,
    /// Whether the app named scopes; if not, `scope` is all that the caller may grant.
    names_scopes: bool,
    /// Where the browser has to go if nothing can be decided: the redirect URI with an error. Else null.
    redirect_to: Option<String>,
    /// That error.
    error: Option<String>,
    error_description: Option<String>,
}

fn shown(app: &App, asked: Asked) -> Result<Shown, ApiError> {
    let redirect_to = asked.wanted.as_ref().err().map(|fault| asked.refusal(app, fault)).transpose()?;
    let Asked { client, redirect_uri: redirect, wanted, .. } = asked;
    let shown = Shown {
        returns_to: leads_to(&redirect).unwrap_or_default(),
        is_local: is_local(&redirect),
        client: ShownClient {
            host: client.host(),
            id: client.id,
            name: client.name,
            is_registered: client.is_registered,
        },
        redirect_uri: redirect,
        resource: None,
        scope: Vec::new(),
        left_out: Vec::new(),
        names_scopes: false,
        redirect_to,
        error: None,
        error_description: None,
    };
    Ok(match wanted {
        Err(Fault { error, why }) => Shown { error: Some(error.to_owned()), error_description: Some(why), ..shown },
        Ok(Wanted { target, offered, left_out, names_scopes, .. }) => {
            let scope = offered.all_names().into_iter().map(str::to_owned).collect();
            Shown { resource: target.identifier().map(str::to_owned), scope, left_out, names_scopes, ..shown }
        }
    })
}

form! {
    pub(crate) struct Ask {
        request: String,
    }
}

/// `GET /api/oauth/authorize`: what a request asks. It grants nothing.
pub(crate) async fn get(
    app: App,
    caller: Caller,
    extract::Query(ask): extract::Query<Ask>,
) -> Result<Response, ApiError> {
    let asked = read(&app, app.db(), &caller, &ask.request).await?;
    uncached_json(StatusCode::OK, &shown(&app, asked)?)
}

form! {
    pub(crate) struct Allow {
        request: String,
        scope: Option<Vec<String>>,
        expires_in_days: Option<i64>,
    }
}

form! {
    pub(crate) struct Deny {
        request: String,
    }
}

/// Where the browser goes with the answer.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "AuthorizationResponse")]
pub(crate) struct Decided {
    redirect_to: String,
    /// The code in it; null: it holds an error.
    code: Option<String>,
}

/// `POST /api/oauth/authorize`: makes a code for what the person allows.
pub(crate) async fn allow(change: Change<Body<Allow>>) -> Result<Response, ApiError> {
    let days = within("expires_in_days", change.input.0.expires_in_days.unwrap_or(DAYS), 1..=DAYS)?;
    change
        .run(async |write, Body(body)| {
            let app = write.app();
            let asked = read(app, &write.tx, &write.caller, &body.request).await?;
            let wanted = match &asked.wanted {
                Ok(wanted) => wanted,
                Err(fault) => {
                    let redirect_to = asked.refusal(app, fault)?;
                    return Ok(Answer::ok(&Decided { redirect_to, code: None })?.unchanged());
                }
            };
            let scope = chosen(&write.caller, &wanted.offered, body.scope.as_deref())?;
            if !scope.set().and(*FRESH).is_empty() {
                write.require_fresh()?;
            }
            let user = write.caller.user_id();
            if oauth_grant::count(&write.tx, user, write.now()).await? >= oauth_grant::MOST {
                let free = "End apps that you do not use with DELETE /auth/apps/<id>, which GET /auth/apps lists";
                return Err(quota::reached("apps", free, "person", oauth_grant::MOST));
            }
            quota::check_credentials(app, &write.tx, &write.caller, user).await?;
            let code = OneTimeCode::generate(app.chance());
            let data = json!({
                "client_id": asked.client.id, "client_name": asked.client.name, "redirect_uri": asked.redirect_uri,
                "challenge": wanted.challenge, "dpop_jkt": wanted.key, "resource": wanted.resource, "service": wanted.target.identifier(),
                "scope": scope.to_column(), "days": days,
            });
            let new = code::New {
                code: &code,
                kind: Kind::Authorization,
                tenant: write.caller.tenant_id(),
                user: Some(user),
                agent: None,
                data: &data,
            };
            code::insert(&write.tx, &new, write.now()).await?;
            // The document may end before the code: without it nobody would know that the client has to prove itself.
            let until = write.now().plus_seconds(oauth_document::LIFE);
            oauth_document::keep(&write.tx, &asked.client.id, until).await?;
            let redirect_to = asked.answer(app, &[("code", code.reveal())])?;
            let after = json!({
                "name": asked.client.name, "client_id": asked.client.id, "redirect_uri": asked.redirect_uri,
                "resource": wanted.target.identifier(), "scope": scope, "expires_in_days": days,
            });
            // Somebody who has a session for a moment could let an app in that lasts.
            let told = json!({
                "name": asked.client.name, "host": asked.client.host(), "is_registered": asked.client.is_registered,
                "resource": wanted.target.identifier(), "scope": scope, "expires_at": write.now().plus_seconds(days * 86_400),
            });
            write.mail(user, outbox::Kind::AppLetIn, told).await?;
            let decided = Decided { redirect_to, code: Some(code.reveal().to_owned()) };
            Ok(Answer::ok(&decided)?.with_secret().audited(user, Null, after))
        })
        .await
}

/// What the person gives: what they chose, or all that is offered.
fn chosen(caller: &Caller, offered: &Scopes, scope: Option<&[String]>) -> Result<Patterns, ApiError> {
    let custom = caller.custom_scopes();
    let chosen = match scope {
        None => offered.clone(),
        Some([]) => {
            return Err(ApiError::field("scope", "must name at least one scope; to give none, deny the request"));
        }
        Some(scope) => caller.read_scope(scope)?.scopes(custom),
    };
    let excess = chosen.clone().without(offered);
    if !excess.is_empty() {
        let problem = format!(
            "holds what the app does not ask for, or what you may not grant: {}",
            excess.all_names().join(", ")
        );
        return Err(ApiError::field("scope", problem));
    }
    // One by one: a scope that is defined later is not given.
    Ok(chosen.to_patterns())
}

/// `POST /api/oauth/authorize/deny`.
pub(crate) async fn deny(change: Change<Body<Deny>>) -> Result<Response, ApiError> {
    change
        .run(async |write, Body(body)| {
            let app = write.app();
            let asked = read(app, &write.tx, &write.caller, &body.request).await?;
            let redirect_to = asked.refusal(app, &fault("access_denied", "the person denied the request"))?;
            let (client, redirect_uri) = (&asked.client, &asked.redirect_uri);
            let after = json!({ "name": client.name, "client_id": client.id, "redirect_uri": redirect_uri });
            Ok(Answer::ok(&Decided { redirect_to, code: None })?.audited(write.caller.user_id(), Null, after))
        })
        .await
}

#[cfg(test)]
mod tests;
