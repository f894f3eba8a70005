//! Who is asking: from the request's credential to a caller with an effective scope, looked up afresh each time.
//!
//! 1. Take the credential: the one `Authorization: Bearer` header, else the cookie. Any `Authorization` header, valid or
//!    not, silences the cookie (RFC 6750, section 2; one method per request).
//! 2. Refuse a wrong prefix, length or checksum without asking the database.
//! 3. Read credential, tenant, user and agent by one SELECT on the digest.
//! 4. [`Caller::same_site`], [`Caller::admit`]: is a change by cookie from this site (403)? Is the credential live (401), is
//!    its agent running (403), is it of the kind that the route wants, and does it carry the scope (403)?

use std::sync::Arc;

use crate::{
    audit::{self, Event},
    db::{DbError, Purpose, Rows},
    error::{ApiError, Code, Known},
    http::{App, Headers},
    id::{AgentId, CredentialId, TenantId, UserId},
    route::{Access, ROUTES, Route},
    scope::{Defined, Role, Scope, ScopeSet, Scopes},
    secret::{Digest, Key, Kind, Secret},
    store::credential::{self, Found, FoundAgent},
    time::Timestamp,
};

/// The longest `Authorization` header that is looked at, bytes.
const MAX_HEADER: usize = 4096;
/// A session ends when it was not used for this long, seconds.
pub const SESSION_IDLE: i64 = 2 * 3600;
/// A use is recorded at most this often, seconds.
const USE_RECORDED_EVERY: i64 = 60;

/// The cookie of a session on https.
const SECURE_COOKIE: &str = "__Host-accredit";
/// The cookie of a session on a loopback host without `public_url`.
const LOOPBACK_COOKIE: &str = "accredit";

/// A caller whose credential is known. Cheap to clone.
#[derive(Clone)]
pub struct Caller(Arc<Inner>);

struct Inner {
    found: Found,
    presented: Secret,
    by_cookie: bool,
    scope: ScopeSet,
}

/// What credential, agent's ceiling and role leave of the custom scopes and of the known ones. `approved`: with what people
/// approved for the agent, which goes beyond credential and ceiling, but not beyond the role.
fn effective(found: &Found, approved: bool) -> Scopes {
    let (carried, role) = (Scopes::stored(&found.scope, &found.defined), Scopes::of_role(found.role, &found.defined));
    let Some(agent) = &found.agent else { return carried.and(&role) };
    let own = carried.and(&Scopes::stored(&agent.scope, &found.defined));
    let own = if approved { own.or(Scopes::stored(&agent.approved, &found.defined)) } else { own };
    own.and(&role).for_agents()
}

impl Caller {
    /// Finds who presents the request's credential. Being found is not being let in: see [`Caller::admit`].
    pub async fn find(app: &App, headers: &Headers) -> Result<Self, ApiError> {
        let (presented, by_cookie) = presented(app, headers)?;
        Self::look_up(app.db(), presented, by_cookie, app.now()).await
    }

    /// The same caller as the database knows him now, inside of a transaction.
    pub async fn again(&self, reads: &dyn Rows, now: Timestamp) -> Result<Self, ApiError> {
        let presented = Secret::parse(self.0.presented.reveal()).ok_or(Code::InvalidToken)?;
        Self::look_up(reads, presented, self.0.by_cookie, now).await
    }

    async fn look_up(reads: &dyn Rows, presented: Secret, by_cookie: bool, now: Timestamp) -> Result<Self, ApiError> {
        let Some(found) = credential::find(reads, &presented.digest(), now).await? else {
            return Err(Code::InvalidToken.into());
        };
        if found.kind != presented.kind() {
            return Err(ApiError::from(Code::Internal).cause("a credential's kind is not that of its prefix"));
        }
        let ceiling = found.role.ceiling();
        let scope = match &found.agent {
            None => ScopeSet::stored(&found.scope).and(ceiling),
            Some(agent) => {
                let own = ScopeSet::stored(&found.scope).and(ScopeSet::stored(&agent.scope));
                own.or(ScopeSet::stored(&agent.approved)).and(ceiling).for_agents()
            }
        };
        Ok(Self(Arc::new(Inner { found, presented, by_cookie, scope })))
    }

    /// Who would be asking with this secret, if anybody: for routes that speak about somebody else's credential.
    pub async fn of(reads: &dyn Rows, secret: Secret, now: Timestamp) -> Result<Option<Self>, ApiError> {
        match Self::look_up(reads, secret, false, now).await {
            Ok(caller) => Ok(Some(caller)),
            Err(refusal) if refusal.code() == Code::InvalidToken => Ok(None),
            Err(refusal) => Err(refusal),
        }
    }

    /// Whether the credential would be let in somewhere now: live, its account active, its agent running.
    pub fn is_live(&self, now: Timestamp) -> bool {
        self.live(now).is_ok() && self.state().is_ok()
    }

    /// Lets the caller in to the route, or says why not.
    pub fn admit(&self, app: &App, route: &Route) -> Result<(), ApiError> {
        self.live(app.now())?;
        self.state_for(route)?;
        self.kind(route)?;
        // A credential may always look at itself, and revoke itself.
        if route.unless_own && app.path().rsplit('/').next() == Some(self.credential_id().as_str()) {
            return Ok(());
        }
        self.scope_of(route)
    }

    /// Lets a caller stay who was let in before and looked up again: for requests that wait.
    pub fn still(&self, now: Timestamp, route: &Route) -> Result<(), ApiError> {
        self.live(now)?;
        self.state_for(route)
    }

    /// Is the credential live, and its account active?
    pub fn live(&self, now: Timestamp) -> Result<(), ApiError> {
        let found = &self.0.found;
        let idle = found.kind == Kind::Session
            && found.last_used_at.unwrap_or(found.created_at).plus_seconds(SESSION_IDLE) <= now;
        let archived = found.agent.as_ref().is_some_and(|agent| agent.is_archived);
        let code = if found.revoked_at.is_some() || archived {
            Code::TokenRevoked
        } else if idle || found.expires_at.is_some_and(|end| end <= now) {
            Code::TokenExpired
        } else if found.deactivated_at.is_some() {
            return Err(Code::AccountDeactivated.into());
        } else {
            return Ok(());
        };
        Err(self.ended(code))
    }

    /// The refusal of a credential that has ended or was revoked, with the step to the next one.
    pub fn ended(&self, code: Code) -> ApiError {
        let found = &self.0.found;
        let Some(agent) = &found.agent else { return code.into() };
        // An archived agent's name may be another's by now: it is registered anew.
        let name = &agent.name;
        let step = match found.kind {
            _ if agent.is_archived => format!("POST /api/agents {{\"name\": \"{name}\"}}"),
            Kind::ApiKey => format!("POST /api/agents/{name}/keys {{\"name\": \"<a new name>\"}}"),
            _ => format!("POST /api/agents/{name}/token/issue"),
        };
        code.with("step", step)
    }

    /// Refuses a change by cookie that does not come from this site. A browser sends the cookie with every page's requests;
    /// only our own pages know the token and have our origin.
    pub fn same_site(&self, app: &App, route: &Route, headers: &Headers) -> Result<(), ApiError> {
        if !self.0.by_cookie || route.is_safe() {
            return Ok(());
        }
        let own = own_origin(app, headers);
        let (origin, token) = (headers.first("origin"), headers.first("x-csrf-token"));
        let expected = self.csrf_token();
        let same = own.is_some() && origin.map(|origin| origin.to_ascii_lowercase()) == own;
        if same && token.is_some_and(|token| crate::secret::equal(&token, &expected)) {
            return Ok(());
        }
        Err(Code::CsrfFailed.into())
    }

    /// The CSRF token of this session: derived from its secret, so that nothing has to be stored.
    pub fn csrf_token(&self) -> String {
        use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
        URL_SAFE_NO_PAD.encode(self.key("csrf", &[]).mac(b"csrf").bytes())
    }

    /// Is its agent running and within its budget, where the route wants it?
    fn state_for(&self, route: &Route) -> Result<(), ApiError> {
        if route.while_halted { Ok(()) } else { self.state() }
    }

    /// Is its agent, if it is one's, running and within its budget?
    pub fn state(&self) -> Result<(), ApiError> {
        self.running().and_then(|()| self.within_budget())
    }

    /// Is its agent, if it is one's, running?
    pub fn running(&self) -> Result<(), ApiError> {
        match self.agent() {
            None | Some((_, "running")) => Ok(()),
            Some((_, "paused")) => Err(Code::AgentPaused.into()),
            Some(_) => Err(Code::AgentStopped.into()),
        }
    }

    /// Is its agent, if it is one's, within its budget?
    pub fn within_budget(&self) -> Result<(), ApiError> {
        match &self.0.found.agent {
            Some(agent) if agent.is_over_budget => Err(Code::OverBudget.into()),
            _ => Ok(()),
        }
    }

    /// Does any route of this scope take a credential of this kind? A scope without routes yet takes every kind.
    pub fn kind_for(&self, scope: Scope) -> Result<(), ApiError> {
        if scope.is_for_people() && self.agent_id().is_some() {
            return Err(Code::PersonRequired.into());
        }
        let mut rows = ROUTES.iter().filter(|row| row.access == Access::Scope(scope)).map(|row| self.kind(row));
        match rows.next() {
            Some(Err(refusal)) if rows.all(|row| row.is_err()) => Err(refusal),
            _ => Ok(()),
        }
    }

    /// Is the credential of the kind that the route wants?
    fn kind(&self, route: &Route) -> Result<(), ApiError> {
        if route.session_only && self.0.found.kind != Kind::Session {
            return Err(Code::SessionRequired.into());
        }
        if route.for_people && self.0.found.agent.is_some() {
            return Err(Code::PersonRequired.into());
        }
        if route.for_agents && self.0.found.agent.is_none() {
            return Err(Code::AgentRequired.into());
        }
        Ok(())
    }

    fn scope_of(&self, route: &Route) -> Result<(), ApiError> {
        match route.access {
            Access::Scope(scope) => self.require(scope),
            Access::Public | Access::Credential => Ok(()),
        }
    }

    /// Refuses a caller who lacks the scope.
    pub fn require(&self, scope: Scope) -> Result<(), ApiError> {
        if self.0.scope.contains(scope) {
            return Ok(());
        }
        let missing: ScopeSet = std::iter::once(scope).collect();
        Err(self.lacks(scope.as_str(), |role| role.ceiling().contains(scope)).scopes(missing, missing))
    }

    /// Refuses a caller who lacks the custom scope.
    pub fn require_custom(&self, name: &str) -> Result<(), ApiError> {
        if self.scopes().has_custom(name) {
            return Ok(());
        }
        Err(self.lacks(name, |role| Scopes::of_role(role, self.defined()).has_custom(name)))
    }

    /// The refusal of who lacks a scope. An agent is told how to ask for it, a person how to get it.
    fn lacks(&self, scope: &str, allows: impl Fn(Role) -> bool) -> ApiError {
        let refusal =
            Code::ScopeDenied.detail(format!("This credential lacks the scope {scope}, which this route needs."));
        let raise = (!allows(self.role())).then(|| {
            let least = Role::ALL.into_iter().find(|role| allows(*role)).unwrap_or(Role::Admin).as_str();
            format!("PATCH /api/users/{} {{\"role\": \"{least}\"}}", self.user_id().as_str())
        });
        let Some(agent) = &self.0.found.agent else {
            let steps = match raise {
                None => format!(
                    "Sign in with POST /auth/token {{\"email\": \"…\", \"password\": \"…\", \"tenant\": \"{}\"}}: a session carries all \
                     that your role allows",
                    self.tenant()
                ),
                Some(raise) => format!("An admin of your tenant can raise your role: {raise}"),
            };
            return refusal.with("person_steps", steps);
        };
        let first = raise
            .map(|raise| format!("First an admin of your tenant must raise the role of {}: {raise}. ", self.email()));
        refusal.with("first", first.unwrap_or_default()).with("steps", self.steps_of_an_agent(scope, agent))
    }

    /// How an agent asks for a scope. What is approved is its token's, never a key's.
    fn steps_of_an_agent(&self, scope: &str, agent: &FoundAgent) -> String {
        let owner = self.email();
        if self.0.found.kind == Kind::ApiKey {
            return format!(
                "{owner} can send {} and give you the key of its answer. What people approve at /api/access-requests is the agent's \
                 token's, never a key's",
                self.steps_to_a_key(scope, agent)
            );
        }
        // It is never given for a while, since a grant outlasts it.
        if scope == Scope::AgentsShare.as_str() {
            return format!("{owner} can send {}", self.steps_to_sharing());
        }
        format!(
            "POST /api/access-requests {{\"scope\": \"{scope}\", \"reason\": \"…\"}}. When {owner} or an admin has approved it, your \
             token can use it"
        )
    }

    /// What the owner must send for a key that carries a scope beside all that this one carries within the ceiling.
    fn steps_to_a_key(&self, scope: &str, agent: &FoundAgent) -> String {
        let name = &agent.name;
        self.steps_to(scope, agent, |scopes| {
            format!("POST /api/agents/{name}/keys {{\"name\": \"<a new name>\", \"scope\": {scopes}}}")
        })
    }

    /// What an agent's owner must send for a token that may share, beside all that this one carries within the ceiling.
    pub fn steps_to_sharing(&self) -> String {
        let Some(agent) = &self.0.found.agent else { return String::new() };
        self.steps_to(Scope::AgentsShare.as_str(), agent, |scopes| {
            format!("POST /api/agents/{}/token/issue {{\"scope\": {scopes}}}", agent.name)
        })
    }

    /// The step that makes a credential with these scopes, and before it the one that puts the scope into the agent's ceiling, if
    /// it is not there.
    fn steps_to(&self, scope: &str, agent: &FoundAgent, make: impl Fn(String) -> String) -> String {
        let covered = |patterns: &str| Scopes::stored(patterns, self.defined());
        let json = |names: Vec<&str>| serde_json::to_string(&names).unwrap_or_default();
        let (ceiling, needed) = (covered(&agent.scope), covered(scope));
        let allowed = ceiling.clone().or(needed.clone());
        let is_kept = |pattern: &&str| {
            let set = covered(pattern);
            *pattern != scope && !set.is_empty() && set.without(&allowed).is_empty()
        };
        let mut carried: Vec<&str> = self.carried().split_ascii_whitespace().filter(is_kept).collect();
        carried.push(scope);
        let make = make(json(carried));
        if needed.without(&ceiling).is_empty() {
            return make;
        }
        let mut wider: Vec<&str> = agent.scope.split_ascii_whitespace().collect();
        wider.push(scope);
        format!("PATCH /api/agents/{} {{\"scope\": {}}}, then {make}", agent.name, json(wider))
    }

    /// Records the use of the credential: at most once a minute, and at once when the address has changed.
    pub(crate) async fn record_use(&self, app: &App) {
        let (found, now, address) = (&self.0.found, app.now(), app.address());
        let is_recent = found.last_used_at.is_some_and(|used| used.plus_seconds(USE_RECORDED_EVERY) > now);
        if is_recent && found.last_used_address.as_deref() == Some(address.as_str()) {
            return;
        }
        let (app2, digest) = (app.clone(), self.0.presented.digest());
        let elsewhere = found.last_used_address.as_ref().is_some_and(|last| *last != address);
        if found.kind == Kind::Pat && elsewhere {
            let caller = self.clone();
            app.afterwards(async move { caller.record_move(&app2, &address).await }).await;
            return;
        }
        app.afterwards(async move { credential::record_use(app2.db(), &digest, now, &address).await }).await;
    }

    /// Records a PAT's use from another address than its last, with an audit row: one for each change, whoever comes first.
    async fn record_move(&self, app: &App, address: &str) -> Result<(), DbError> {
        let tx = app.db().begin(Purpose::Durable).await?;
        let last = self.0.found.last_used_address.as_deref().unwrap_or_default();
        if !credential::record_move(&tx, &self.digest(), app.now(), last, address).await? {
            return Ok(());
        }
        let event = Event {
            action: "token.first_use_new_ip",
            object: self.credential_id().as_str(),
            before: serde_json::json!({ "address": last }),
            after: serde_json::json!({ "address": address }),
        };
        audit::by_caller(app, &tx, self, &event).await?;
        tx.commit().await
    }

    /// Counts a refusal of this caller; the tick makes audit rows of the counts.
    pub(crate) async fn record_refusal(&self, app: &App, code: Code) {
        if !matches!(code.row().status, 401..=403) {
            return;
        }
        let (app2, caller, slug) = (app.clone(), self.clone(), code.row().slug);
        app.afterwards(async move { crate::store::refusal::count(&app2, &caller, slug).await }).await;
    }

    /// A key that only this credential yields, for a purpose.
    pub fn key(&self, purpose: &str, parts: &[&str]) -> Key {
        Key::derive(self.0.presented.reveal().as_bytes(), purpose, parts)
    }

    /// The tenant.
    pub fn tenant_id(&self) -> &TenantId {
        &self.0.found.tenant_id
    }

    /// The tenant's slug.
    pub fn tenant(&self) -> &str {
        &self.0.found.tenant
    }

    /// The person: of an agent, its owner.
    pub fn user_id(&self) -> &UserId {
        &self.0.found.user_id
    }

    /// The person's address.
    pub fn email(&self) -> &str {
        &self.0.found.email
    }

    /// The person's role, as it is now.
    pub fn role(&self) -> Role {
        self.0.found.role
    }

    /// The agent, if one is asking.
    pub fn agent_id(&self) -> Option<&AgentId> {
        self.0.found.agent.as_ref().map(|agent| &agent.id)
    }

    /// The agent's name and state, if one is asking.
    pub fn agent(&self) -> Option<(&str, &str)> {
        self.0.found.agent.as_ref().map(|agent| (agent.name.as_str(), agent.state.as_str()))
    }

    /// Whether a text names the asking agent itself: `me`, its name or its id.
    pub fn is_itself(&self, text: &str) -> bool {
        let named = |agent: &FoundAgent| text == "me" || text == agent.name || text == agent.id.as_str();
        self.0.found.agent.as_ref().is_some_and(named)
    }

    /// For the fixes.
    pub fn known(&self) -> Known<'_> {
        let found = &self.0.found;
        let agent_and_owner = found.agent.as_ref().map(|agent| (agent.name.as_str(), found.email.as_str()));
        Known { tenant: &found.tenant, agent_and_owner }
    }

    /// The id of who acts: the agent, or else the person.
    pub fn subject_id(&self) -> &str {
        self.agent_id().map_or(self.user_id().as_str(), |id| id.as_str())
    }

    /// The credential's record id.
    pub fn credential_id(&self) -> &CredentialId {
        &self.0.found.id
    }

    /// The credential's digest.
    pub fn digest(&self) -> Digest {
        self.0.presented.digest()
    }

    /// The credential's kind.
    pub fn credential_kind(&self) -> Kind {
        self.0.found.kind
    }

    /// What is shown of the credential.
    pub fn credential_prefix(&self) -> &str {
        &self.0.found.prefix
    }

    /// The credential's end; `None` is never.
    pub fn expires_at(&self) -> Option<Timestamp> {
        self.0.found.expires_at
    }

    /// The credential's own patterns, before role and ceiling narrow them.
    pub fn carried(&self) -> &str {
        &self.0.found.scope
    }

    /// The agent's ceiling, as patterns; of a person all.
    pub fn ceiling(&self) -> &str {
        self.0.found.agent.as_ref().map_or("*", |agent| &agent.scope)
    }

    /// What the caller may use now, of the known scopes.
    pub fn scope(&self) -> ScopeSet {
        self.0.scope
    }

    /// What the caller may use now, custom scopes included.
    pub fn scopes(&self) -> Scopes {
        if self.0.found.defined.names().is_empty() {
            return Scopes { known: self.0.scope, custom: Default::default() };
        }
        effective(&self.0.found, true)
    }

    /// What the caller may hand on: all that he may use but what was approved for him.
    pub fn mintable(&self) -> Scopes {
        effective(&self.0.found, false)
    }

    /// The tenant's custom scopes.
    pub fn defined(&self) -> &Defined {
        &self.0.found.defined
    }

    /// When the credential was made.
    pub fn issued_at(&self) -> Timestamp {
        self.0.found.created_at
    }
}

/// Takes the request's credential.
fn presented(app: &App, headers: &Headers) -> Result<(Secret, bool), ApiError> {
    let sent = headers.all("authorization");
    if let Some(value) = sent.first() {
        if sent.len() > 1 {
            return Err(Code::InvalidToken.detail("There is more than one Authorization header."));
        }
        if value.len() > MAX_HEADER {
            return Err(Code::InvalidToken.detail("The Authorization header is longer than 4096 bytes."));
        }
        let text = value.to_str().unwrap_or_default().trim();
        let (scheme, token) = text.split_once(|c: char| c.is_ascii_whitespace()).unwrap_or((text, ""));
        if !scheme.eq_ignore_ascii_case("bearer") {
            return Err(Code::InvalidToken.detail("The Authorization header's scheme is not Bearer."));
        }
        return Secret::parse(token.trim()).map(|secret| (secret, false)).ok_or_else(|| Code::InvalidToken.into());
    }
    match cookie(app, headers) {
        Some(text) => Secret::parse(&text)
            .filter(|secret| secret.kind() == Kind::Session)
            .map(|secret| (secret, true))
            .ok_or_else(|| Code::InvalidToken.into()),
        None => Err(Code::MissingCredential.into()),
    }
}

/// The session's cookie: the secure one where `public_url` is https, the plain one only on loopback without `public_url`.
fn cookie(app: &App, headers: &Headers) -> Option<String> {
    let name = match &app.settings().public_url {
        Some(url) if url.is_secure => SECURE_COOKIE,
        Some(_) => return None,
        None if own_origin(app, headers).is_some() => LOOPBACK_COOKIE,
        None => return None,
    };
    let sent = headers.texts("cookie");
    let mut pairs = sent.iter().flat_map(|pairs| pairs.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(key, _)| *key == name).map(|(_, value)| value.to_owned())
}

/// This site's origin: of `public_url`, or else of a loopback host as the request names it.
fn own_origin(app: &App, headers: &Headers) -> Option<String> {
    if let Some(url) = &app.settings().public_url {
        return Some(url.origin.clone());
    }
    let host = headers.first("host")?.to_ascii_lowercase();
    let (name, port) = match host.rsplit_once(':') {
        Some((name, port)) if !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()) => (name, port),
        _ => (host.as_str(), "80"),
    };
    let is_loopback = matches!(name, "127.0.0.1" | "localhost" | "[::1]") && port.parse::<u16>().is_ok();
    is_loopback.then(|| format!("http://{host}"))
}
