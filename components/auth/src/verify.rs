//! `/auth/verify`: forward auth. A proxy asks, in the name of a request that it is about to pass on, whether its sender may use the
//! service behind it, and tells the service who it is.
//!
//! 1. The credential is that of the `Authorization` header alone. A session is for this server alone, as at the introspection.
//! 2. The credential is of the tenant that the proxy names; without a name, of the tenant of the bootstrap. A custom scope of another
//!    tenant may have the same name and means something else.
//! 3. It carries every scope that the proxy names.
//! 4. The answer says all of the headers, those without a value too: a proxy that copies them overwrites whatever the client has sent.

use std::sync::{Arc, OnceLock};

use common::{
    error::{ApiError, Code},
    id::TenantId,
    scope::{CustomScopes, Scope},
    secret::Kind,
};
use http::{HeaderName, HeaderValue, StatusCode};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use service::{
    app::App,
    call::{Call, FromCall},
    caller::Caller,
    extract::Path,
    guard, proxy,
    response::{Response, empty},
};
use store::tenant;

/// The most scopes that a proxy names.
const MOST_SCOPES: usize = 32;

/// What the proxy wants to know.
#[derive(Default)]
struct Wanted {
    scopes: Vec<String>,
    tenant: Option<String>,
}

impl Wanted {
    fn of_query(query: &str) -> Result<Self, ApiError> {
        let (mut wanted, mut has_resource) = (Self::default(), false);
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            match &*name {
                "scope" => wanted.add(&value)?,
                "tenant" if wanted.tenant.is_none() => wanted.tenant = Some(value.into_owned()),
                "resource" if !has_resource && proxy::metadata(&value).is_some() => has_resource = true,
                "resource" if !has_resource => {
                    return Err(ApiError::field(
                        "resource",
                        "must be the URL of the service, without a fragment, such as https://crm.example.com",
                    ));
                }
                twice => return Err(ApiError::field(twice, "is sent twice")),
            }
        }
        Ok(wanted)
    }

    /// Adds names that are separated by blanks.
    fn add(&mut self, names: &str) -> Result<(), ApiError> {
        // A variable that was left empty in a proxy's configuration must not open the service.
        if names.split_ascii_whitespace().next().is_none() {
            return Err(Code::UnknownScope
                .detail("The scope is empty.")
                .fix("Name in the proxy's configuration the scopes that the service needs, of valid_scopes. If it needs none, leave scope out, or send - in the path.")
                .extra("unknown_scopes", Vec::<&str>::new()));
        }
        for name in names.split_ascii_whitespace() {
            if Scope::from_text(name).is_none() && !CustomScopes::is_name(name) {
                return Err(Code::UnknownScope
                    .detail("A scope is a whole name here, such as agents.read or x.crm.read, and no pattern.")
                    .fix("Name in the proxy's configuration each scope that the service needs by its whole name, of valid_scopes, with blanks between them.")
                    .extra("unknown_scopes", vec![name]));
            }
            if !self.scopes.iter().any(|known| known == name) {
                self.scopes.push(name.to_owned());
            }
        }
        if self.scopes.len() > MOST_SCOPES {
            return Err(ApiError::field("scope", format!("must be at most {MOST_SCOPES} names")));
        }
        Ok(())
    }
}

/// A refusal of a scope with those that there are.
fn with_valid(caller: &Caller, refusal: ApiError) -> ApiError {
    if refusal.code() != Code::UnknownScope {
        return refusal;
    }
    let known = Scope::ALL.iter().map(|scope| scope.as_str());
    let valid: Vec<&str> = known.chain(caller.custom_scopes().names().iter().map(String::as_str)).collect();
    refusal.extra("valid_scopes", valid).page("/docs/agents/concepts/guard")
}

/// `GET /auth/verify?scope=&resource=&tenant=`, by any method.
pub(crate) async fn verify(app: App, caller: Caller, first: First) -> Result<Response, ApiError> {
    let wanted = Wanted::of_query(app.head().uri.query().unwrap_or_default());
    let wanted = wanted.map_err(|refusal| with_valid(&caller, refusal))?;
    decide(&app, &caller, &wanted, &first).await
}

/// `/auth/verify/{scope}/…`: for proxies that put a path before that of the request. What comes behind it, and the query, are the
/// client's own, and nothing of them is read.
pub(crate) async fn verify_below(
    app: App,
    caller: Caller,
    Path(scope): Path,
    first: First,
) -> Result<Response, ApiError> {
    let mut wanted = Wanted::default();
    if scope != "-" {
        wanted.add(&scope).map_err(|refusal| with_valid(&caller, refusal))?;
    }
    decide(&app, &caller, &wanted, &first).await
}

/// The tenant of the bootstrap, once this instance has seen it: no other one ever takes its place.
#[derive(Clone, Default)]
pub(crate) struct First(Arc<OnceLock<TenantId>>);

impl FromCall for First {
    fn from_call(call: &mut Call) -> Result<Self, ApiError> {
        call.held()
    }
}

impl First {
    async fn is(&self, app: &App, tenant: &TenantId) -> Result<bool, ApiError> {
        if let Some(first) = self.0.get() {
            return Ok(first == tenant);
        }
        let is_first = tenant::is_first(app.db(), tenant).await?;
        if is_first {
            self.0.get_or_init(|| tenant.clone());
        }
        Ok(is_first)
    }
}

async fn decide(app: &App, caller: &Caller, wanted: &Wanted, first: &First) -> Result<Response, ApiError> {
    if caller.credential_kind() == Kind::Session {
        return Err(Code::InvalidToken
            .detail("A session is for this server alone, and no service behind a proxy takes it.")
            .fix("Send a personal access token, which POST /auth/tokens makes from your session, or the token of an agent."));
    }
    let is_of_tenant = match &wanted.tenant {
        Some(slug) => caller.tenant() == slug,
        None => first.is(app, caller.tenant_id()).await?,
    };
    if !is_of_tenant {
        return Err(Code::InvalidToken.into());
    }
    for scope in wanted.scopes.iter().filter_map(|name| Scope::from_text(name)) {
        guard::check_kind_for(caller, scope)?;
    }
    let names: Vec<&str> = wanted.scopes.iter().map(String::as_str).collect();
    caller.require_all(&names)?;
    let mut response = empty(StatusCode::OK);
    for (name, value) in told(caller) {
        response.headers_mut().insert(name, value);
    }
    Ok(response)
}

/// What is not visible ASCII is percent-encoded, and the percent sign itself.
const HIDDEN: &AsciiSet = &CONTROLS.add(b' ').add(b'%');

fn written(text: &str) -> HeaderValue {
    let text = utf8_percent_encode(text, HIDDEN).to_string();
    HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static(""))
}

/// The headers for the service.
fn told(caller: &Caller) -> [(HeaderName, HeaderValue); 8] {
    let (agent, _) = caller.agent().unzip();
    let scopes = caller.scopes();
    // Names of scopes are ASCII, and separated by blanks.
    let scopes = HeaderValue::try_from(scopes.all_names().join(" ")).unwrap_or(HeaderValue::from_static(""));
    [
        (HeaderName::from_static("x-accredit-subject"), written(caller.user_id().as_str())),
        (HeaderName::from_static("x-accredit-kind"), HeaderValue::from_static(caller.credential_kind().as_str())),
        (HeaderName::from_static("x-accredit-agent"), written(agent.unwrap_or_default())),
        (HeaderName::from_static("x-accredit-agent-id"), written(caller.agent_id().map_or("", |id| id.as_str()))),
        (HeaderName::from_static("x-accredit-owner"), written(caller.email())),
        (HeaderName::from_static("x-accredit-tenant"), written(caller.tenant())),
        (HeaderName::from_static("x-accredit-scopes"), scopes),
        (HeaderName::from_static("x-accredit-credential"), written(caller.credential_id().as_str())),
    ]
}

#[cfg(test)]
mod tests;
