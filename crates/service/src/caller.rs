//! The caller: from the request's credential to a caller with an effective scope, looked up anew for each request.
//!
//! 1. Take the credential (`credential.rs`).
//! 2. Read credential, tenant, user and agent by one SELECT on the digest.
//! 3. The effective scope is what the credential carries, within the agent's ceiling and the role's, with what people approved for the
//!    agent; of a credential that an editor minted, within what that editor may use.
//!
//! A caller that is found is not let in yet: the guard decides that (`guard.rs`).

use std::sync::Arc;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use common::{
    agent::AgentState,
    error::{ApiError, Code},
    exact::Exact,
    id::{AgentId, CredentialId, TenantId, UserId},
    role::Role,
    route::{self, Route},
    scope::{CustomScopes, Scope, ScopeSet, Scopes},
    secret::{Digest, Key, Kind, Secret},
    text,
    time::Timestamp,
};
use store::{
    access_request::Once,
    audit::{self, Event, refusals},
    credential::{self, CredentialRow, status::CredentialStatus},
    db::{DbError, Purpose, Rows},
    key,
    origin::Origin,
    page::PageRequest,
    person::Named,
    subject::Subject,
};

use crate::{
    app::App,
    credential::{Presented, presented},
    fixes,
    form::PageQuery,
    inside::UNATTENDED,
    proof,
};

/// How long a proof of who somebody is lets them do what needs a fresh one, seconds.
pub const FRESH: i64 = 15 * 60;
/// A use is recorded at most this often, seconds.
const USE_RECORDED_EVERY: i64 = 60;

/// How a person proves again who they are. A second factor is more than a password, so that it is asked for where there is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WayToProve {
    /// A code of the second factor.
    Code,
    /// The password.
    Password,
    /// A new sign-in: there is neither.
    SignIn,
}

impl WayToProve {
    /// The word in the refusal.
    const fn as_str(self) -> &'static str {
        match self {
            Self::Code => "code",
            Self::Password => "password",
            Self::SignIn => "sign_in",
        }
    }
}

/// A caller whose credential is known. Cheap to clone.
#[derive(Clone)]
pub struct Caller(Arc<Inner>, Option<Arc<OneRequest>>);

/// The one request that a caller may send by an approval for once.
pub(crate) struct OneRequest {
    /// The approval.
    pub(crate) once: Once,
    /// The request.
    pub(crate) exact: Exact,
    /// Whether this very request has spent the approval.
    pub(crate) is_paid: bool,
}

struct Inner {
    row: CredentialRow,
    digest: Digest,
    /// `None`: nobody presented the credential; it was looked up by its record.
    presented: Option<Presented>,
    scope: ScopeSet,
}

impl Caller {
    /// Finds the caller that presents the request's credential. One that is bound to a key must prove the key.
    pub async fn authenticate(app: &App) -> Result<Self, ApiError> {
        let caller = Self::presenting(app).await?;
        caller.check_proof(app, None).await?;
        Ok(caller)
    }

    /// Finds the caller that presents the request's credential, whether or not it proves the key that the credential is bound to.
    pub(crate) async fn presenting(app: &App) -> Result<Self, ApiError> {
        let presented = presented(app)?;
        Self::look_up(app.db(), presented.secret.digest(), Some(presented), app.now()).await
    }

    /// Refuses a request that does not prove the key that its credential is bound to, and one that proves a key for a credential that is bound
    /// to none. `of_proxy`: at this route a proxy asks about a request.
    pub(crate) async fn check_proof(&self, app: &App, of_proxy: Option<&Route>) -> Result<(), ApiError> {
        let is_dpop = self.0.presented.as_ref().is_some_and(|presented| presented.is_dpop);
        match (self.bound_to(), is_dpop) {
            (None, false) => Ok(()),
            (Some(key), true) => {
                let token = self.0.presented.as_ref().map_or("", |presented| presented.secret.reveal());
                // Boxed: no other request pays for it.
                Box::pin(proof::check(app, of_proxy, token, key)).await
            }
            (key, _) => Err(proof::wrong_scheme(key.is_some())),
        }
    }

    /// The same caller as the database knows it now: inside of a transaction, or after a wait.
    pub async fn reload(&self, reads: &dyn Rows, now: Timestamp) -> Result<Self, ApiError> {
        let again = |presented: &Presented| {
            let secret = Secret::parse(presented.secret.reveal())?;
            Some(Presented { secret, by_cookie: presented.by_cookie, is_dpop: presented.is_dpop })
        };
        let presented = self.0.presented.as_ref().and_then(again);
        let Self(inner, _) = Self::look_up(reads, self.0.digest, presented, now).await?;
        Ok(Self(inner, self.1.clone()))
    }

    /// The same caller with what was approved for this one request.
    pub(crate) fn with_once(&self, once: Once, exact: Exact) -> Self {
        Self(Arc::clone(&self.0), Some(Arc::new(OneRequest { once, exact, is_paid: false })))
    }

    /// The same caller, whose request has spent its approval.
    pub(crate) fn paid(&self) -> Self {
        let paid =
            |one: &Arc<OneRequest>| OneRequest { once: one.once.clone(), exact: one.exact.clone(), is_paid: true };
        Self(Arc::clone(&self.0), self.1.as_ref().map(paid).map(Arc::new))
    }

    /// The same caller without what was approved for this one request.
    pub(crate) fn without_once(&self) -> Self {
        Self(Arc::clone(&self.0), None)
    }

    /// The approval for one request by which it may do more than it may without.
    pub(crate) fn once(&self) -> Option<&OneRequest> {
        let one = self.1.as_deref()?;
        let own = self.without_once().scopes();
        (!self.by_once(one).without(&own).is_empty()).then_some(one)
    }

    /// The scopes of an approval for one request, as far as the owner's role allows them now.
    pub(crate) fn by_once(&self, one: &OneRequest) -> Scopes {
        one.once.scope.scopes(self.custom_scopes()).and(&self.role().scopes(self.custom_scopes())).for_agents()
    }

    /// The caller whose credential has this record: for what was made in a caller's name and is used by somebody else, later.
    pub async fn of_record(reads: &dyn Rows, id: &str, now: Timestamp) -> Result<Option<Self>, ApiError> {
        match credential::digest_of(reads, id).await? {
            Some(digest) => Self::look_up(reads, digest, None, now).await.map(Some),
            None => Ok(None),
        }
    }

    /// The caller that would present this secret, if it is known: for routes about other people's credentials.
    pub async fn find_by_secret(reads: &dyn Rows, secret: Secret, now: Timestamp) -> Result<Option<Self>, ApiError> {
        match Self::look_up(reads, secret.digest(), Some(Presented { secret, by_cookie: false, is_dpop: false }), now)
            .await
        {
            Ok(caller) => Ok(Some(caller)),
            Err(refusal) if refusal.code() == Code::InvalidToken => Ok(None),
            Err(refusal) => Err(refusal),
        }
    }

    async fn look_up(
        reads: &dyn Rows,
        digest: Digest,
        presented: Option<Presented>,
        now: Timestamp,
    ) -> Result<Self, ApiError> {
        let Some(row) = credential::find(reads, &digest, now).await? else {
            return Err(Code::InvalidToken.into());
        };
        if presented.as_ref().is_some_and(|presented| presented.secret.kind() != row.kind) {
            return Err(ApiError::from(Code::Internal).cause("a credential's kind is not that of its prefix"));
        }
        let ceiling = row.subject.role.ceiling();
        let scope = match &row.agent {
            None => ScopeSet::stored(&row.scope).and(ceiling),
            Some(agent) => {
                let own = ScopeSet::stored(&row.scope).and(ScopeSet::stored(&agent.scope));
                let own = row
                    .editor
                    .iter()
                    .fold(own, |own, editor| own.and(editor.role.ceiling()).and(ScopeSet::stored(&editor.scope)));
                let lasting = match for_good(&agent.approved) {
                    None => ScopeSet::default(),
                    Some(lasting) => ScopeSet::stored(&lasting).and(ScopeSet::stored(&agent.scope)),
                };
                own.or(ScopeSet::stored(&agent.approved)).or(lasting).and(ceiling).for_agents()
            }
        };
        Ok(Self(Arc::new(Inner { row, digest, presented, scope }), None))
    }

    /// Whether the credential would be let in somewhere now: it is live, its account active, its agent running and within budget.
    pub fn is_accepted(&self) -> bool {
        self.check_live().is_ok() && self.check_agent().is_ok()
    }

    /// Refuses a credential that is not live, or whose account is deactivated.
    pub fn check_live(&self) -> Result<(), ApiError> {
        match self.0.row.status {
            CredentialStatus::Active | CredentialStatus::Expiring => Ok(()),
            CredentialStatus::Revoked => Err(self.ended(Code::TokenRevoked)),
            CredentialStatus::Expired => Err(self.ended(Code::TokenExpired)),
            CredentialStatus::Deactivated => Err(Code::AccountDeactivated.into()),
        }
    }

    /// The refusal of a credential that expired or was revoked, with the step to the next one.
    pub fn ended(&self, code: Code) -> ApiError {
        fixes::ended(&self.0.row, code)
    }

    /// Refuses the session of a person who must set up a second factor first. All other credentials of theirs go on working.
    pub fn check_factor(&self) -> Result<(), ApiError> {
        match &self.0.row.proof {
            Some(proof) if proof.lacks_factor() => Err(Code::SecondFactorSetupRequired.into()),
            _ => Ok(()),
        }
    }

    /// The refusal of what takes a session.
    pub fn session_required(&self) -> ApiError {
        fixes::session_only(&self.0.row)
    }

    /// Refuses a session whose person has not proved for a while who they are, with the way to prove it.
    pub fn check_fresh(&self, now: Timestamp) -> Result<(), ApiError> {
        match &self.0.row.proof {
            None => Err(self.session_required()),
            // A proof that lies ahead is one of a clock that was wrong.
            Some(proof) if proof.at.plus_seconds(FRESH) > now && now.plus_seconds(FRESH) > proof.at => Ok(()),
            Some(_) => Err(self.must_prove()),
        }
    }

    /// The refusal that asks for a proof, with the way.
    pub fn must_prove(&self) -> ApiError {
        let way = self.way_to_prove();
        let step = match way {
            WayToProve::Code => "Send POST /auth/reauthenticate {\"code\": \"<the code of the app>\"}".to_owned(),
            WayToProve::Password => "Send POST /auth/reauthenticate {\"password\": \"…\"}".to_owned(),
            WayToProve::SignIn => {
                "Your account has neither a password nor a second factor: sign in again as you did before, and use the new session"
                    .to_owned()
            }
        };
        Code::ReauthenticationRequired.with("step", step).extra("way", way.as_str()).extra("max_age_seconds", FRESH)
    }

    /// How the person behind this session proves again who they are.
    pub fn way_to_prove(&self) -> WayToProve {
        match &self.0.row.proof {
            Some(proof) if proof.has_factor => WayToProve::Code,
            Some(proof) if proof.has_password => WayToProve::Password,
            _ => WayToProve::SignIn,
        }
    }

    /// Refuses an agent that is not running or has spent more than its budget.
    pub fn check_agent(&self) -> Result<(), ApiError> {
        self.check_running().and_then(|()| self.check_budget())
    }

    /// Refuses an agent that is not running.
    pub fn check_running(&self) -> Result<(), ApiError> {
        match self.agent() {
            None | Some((_, AgentState::Running)) => Ok(()),
            Some((_, AgentState::Paused)) => Err(Code::AgentPaused.into()),
            Some((_, AgentState::Stopped)) => Err(Code::AgentStopped.into()),
        }
    }

    /// Refuses an agent that has spent more than its budget.
    pub fn check_budget(&self) -> Result<(), ApiError> {
        match &self.0.row.agent {
            Some(agent) if agent.is_over_budget => Err(Code::OverBudget.into()),
            _ => Ok(()),
        }
    }

    /// Refuses a caller that lacks the scope.
    pub fn require(&self, scope: Scope) -> Result<(), ApiError> {
        if self.scope().contains(scope) {
            return Ok(());
        }
        let missing: ScopeSet = std::iter::once(scope).collect();
        let refusal = fixes::missing_scope(&self.0.row, scope.as_str(), self.can_notify(), &|role| {
            role.ceiling().contains(scope)
        });
        Err(refusal.scopes(missing, missing))
    }

    /// Refuses a caller that lacks one of these scopes, known or custom.
    pub(crate) fn require_each(&self, scopes: &Scopes) -> Result<(), ApiError> {
        scopes.all_names().into_iter().try_for_each(|name| match Scope::from_text(name) {
            Some(scope) => self.require(scope),
            None => self.require_custom(name),
        })
    }

    /// Whether what people approve at `/api/access-requests` applies to this credential: it is an agent's token, and rests on no grant.
    pub fn takes_approvals(&self) -> bool {
        self.agent_id().is_some() && self.credential_kind() == Kind::AgentToken && self.grantee().is_none()
    }

    /// Whether it stands for the agent itself: with the agent's token, a workload's credential or the key of a program that runs beside the
    /// agent. The key of a program elsewhere does what its scopes say, and neither lives nor reads for the agent.
    pub async fn is_for_itself(&self, reads: &dyn Rows) -> Result<bool, DbError> {
        Ok(self.credential_kind() != Kind::ApiKey || !key::is_external(reads, self.credential_id()).await?)
    }

    /// Refuses a caller that does not stand for the agent itself.
    pub async fn check_for_itself(&self, reads: &dyn Rows) -> Result<(), ApiError> {
        if self.is_for_itself(reads).await? { Ok(()) } else { Err(Self::own_token_required()) }
    }

    /// The refusal of what a key of a program elsewhere may not do.
    pub fn own_token_required() -> ApiError {
        let detail = "A key of the type external cannot do this: the agent itself does it.";
        Code::PermissionDenied.detail(detail).fix("Send it with the agent's own token.")
    }

    /// Refuses a caller that lacks the custom scope.
    pub fn require_custom(&self, name: &str) -> Result<(), ApiError> {
        if self.scopes().has_custom(name) {
            return Ok(());
        }
        Err(fixes::missing_scope(&self.0.row, name, self.can_notify(), &|role| {
            role.scopes(self.custom_scopes()).has_custom(name)
        }))
    }

    /// Refuses a caller that lacks one of these scopes of `service`, known or custom, and names all that it lacks.
    pub fn require_all(&self, required: &[&str]) -> Result<(), ApiError> {
        let has = |scopes: &Scopes, name: &str| match Scope::from_text(name) {
            Some(scope) => scopes.known.contains(scope),
            None => scopes.has_custom(name),
        };
        let own = self.scopes();
        let missing: Vec<&str> = required.iter().copied().filter(|name| !has(&own, name)).collect();
        if missing.is_empty() {
            return Ok(());
        }
        let (custom, names) = (self.custom_scopes(), missing.join(", "));
        let refusal = Code::ScopeDenied.detail(format!("This credential lacks {names}, which this service needs."));
        let is_unknown =
            |name: &&str| Scope::from_text(name).is_none() && !custom.names().iter().any(|known| known == name);
        let refusal = match missing.iter().copied().find(is_unknown) {
            Some(unknown) => refusal.fix(format!(
                "Nobody can have {unknown} yet: an admin of your tenant defines it with POST /api/scopes/custom {{\"name\": \"{unknown}\", \
                 \"description\": \"…\"}}, and then gives it to you."
            )),
            None => fixes::steps_to(refusal, &self.0.row, &missing, self.can_notify(), &|role| {
                missing.iter().all(|name| has(&role.scopes(custom), name))
            }),
        };
        Err(refusal.lacking(required.to_vec(), missing))
    }

    /// Whether it may send notifications, by which an agent reaches its owner.
    pub(crate) fn can_notify(&self) -> bool {
        self.scope().contains(Scope::UiNotify)
    }

    /// The request that an agent's owner must send for a token that can share, beside everything that this one carries within the ceiling.
    pub fn steps_to_sharing(&self) -> String {
        fixes::sharing(&self.0.row)
    }

    /// Which page of a list is asked for. Its cursors are bound to the path, to everything else in the query and to the credential, which
    /// yields the key that authenticates them: nothing has to be stored or shared, and no filter can be forgotten.
    pub fn page(&self, app: &App, page: &PageQuery) -> Result<PageRequest, ApiError> {
        let mut bound_to = vec![app.path()];
        for pair in app.head().uri.query().unwrap_or_default().split('&') {
            if !pair.is_empty() && !pair.starts_with("cursor=") && !pair.starts_with("limit=") {
                // In the order of their names, so that the order in which they were sent does not matter.
                let at = bound_to.iter().skip(1).take_while(|other| **other < pair).count() + 1;
                bound_to.insert(at, pair);
            }
        }
        PageRequest::new(page.limit, page.cursor.as_deref(), self.key("cursor", &bound_to))
    }

    /// A filter of a list by a person; nothing typed is no filter. A name is looked for where the caller is shown names.
    pub fn named(&self, field: &'static str, text: Option<&str>) -> Result<Option<Named>, ApiError> {
        let knows_names = self.scope().contains(Scope::UsersRead);
        Ok(text::word(field, text, 254)?.map(|text| Named { text, knows_names }))
    }

    /// Whether nobody asks at this moment: an open page does by itself, and that keeps no session alive.
    fn is_unattended(&self, app: &App) -> bool {
        let is_stream = app.path() == route::NOTIFICATIONS_STREAM.path;
        self.by_cookie() && (is_stream || app.headers().first(UNATTENDED).is_some())
    }

    /// Records the use of the credential: at most once a minute, and at once when the address has changed.
    pub async fn record_use(&self, app: &App) {
        let (row, now) = (&self.0.row, app.now());
        let last = row.last_used_address.as_deref();
        // From elsewhere it is told all the same: a thief could say the same of each request.
        if self.is_unattended(app) && last == Some(app.address()) {
            return;
        }
        let is_recent = row.last_used_at.is_some_and(|used| used.plus_seconds(USE_RECORDED_EVERY) > now);
        if is_recent && last == Some(app.address()) {
            return;
        }
        let has_moved = row.kind == Kind::Pat && last.is_some_and(|last| last != app.address());
        let (caller, app2) = (self.clone(), app.clone());
        app.after_response(async move {
            if has_moved {
                return caller.record_move(&app2).await;
            }
            credential::record_use(app2.db(), &caller.digest(), now, app2.address()).await
        })
        .await;
    }

    /// Records the use of a PAT from another address than its last, with an audit row. Of several requests the first one writes it.
    async fn record_move(&self, app: &App) -> Result<(), DbError> {
        let tx = app.db().begin(Purpose::Durable).await?;
        let last = self.0.row.last_used_address.as_deref().unwrap_or_default();
        if !credential::record_move(&tx, &self.digest(), app.now(), last, app.address()).await? {
            return Ok(());
        }
        let event = Event {
            action: "token.first_use_new_ip",
            object: self.credential_id().as_str(),
            before: serde_json::json!({ "address": last }),
            after: serde_json::json!({ "address": app.address() }),
        };
        audit::insert(&tx, &self.origin(app), &event).await?;
        tx.commit().await
    }

    /// Counts a refusal of this caller; the tick makes audit rows of the counts.
    pub(crate) async fn record_refusal(&self, app: &App, route: &Route, refusal: &ApiError) {
        let row = refusal.code().row();
        if !matches!(row.status, 401..=403) {
            return;
        }
        let (caller, app2) = (self.clone(), app.clone());
        let asked = format!("{} {}", route.method, route.path);
        let lacking: Vec<String> = refusal.missing_scopes().into_iter().map(str::to_owned).collect();
        app.after_response(async move {
            refusals::count(app2.db(), &caller.origin(&app2), row.slug, (&asked, &lacking)).await
        })
        .await;
    }

    /// Where the changes of this caller's request come from.
    pub fn origin<'a>(&'a self, app: &'a App) -> Origin<'a> {
        Origin {
            tenant: self.tenant_id(),
            user: Some(self.user_id()),
            agent: self.agent_id(),
            credential: Some(self.credential_id()),
            address: app.address(),
            request: app.request_id(),
            now: app.now(),
            chance: app.chance(),
        }
    }

    /// Whether the credential came in a cookie.
    pub fn by_cookie(&self) -> bool {
        self.0.presented.as_ref().is_some_and(|presented| presented.by_cookie)
    }

    /// The CSRF token of this session: derived from its secret, so that nothing has to be stored.
    pub fn csrf_token(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.key("csrf", &[]).mac(b"csrf").bytes())
    }

    /// A key that only this credential yields, for a purpose. A caller that presented none has nothing that a key is for: no form, no
    /// page of a list, no kept answer.
    pub fn key(&self, purpose: &str, parts: &[&str]) -> Key {
        let secret = self.0.presented.as_ref().map_or("", |presented| presented.secret.reveal());
        Key::derive(secret.as_bytes(), purpose, parts)
    }

    /// The subject whose authority the credential carries.
    pub fn subject(&self) -> &Subject {
        &self.0.row.subject
    }

    /// The tenant.
    pub fn tenant_id(&self) -> &TenantId {
        &self.subject().tenant
    }

    /// The tenant's slug.
    pub fn tenant(&self) -> &str {
        &self.0.row.tenant
    }

    /// The person; of an agent, its owner.
    pub fn user_id(&self) -> &UserId {
        &self.subject().user
    }

    /// The person's address.
    pub fn email(&self) -> &str {
        &self.0.row.email
    }

    /// The person's role, as it is now.
    pub fn role(&self) -> Role {
        self.subject().role
    }

    /// The agent, if one is calling.
    pub fn agent_id(&self) -> Option<&AgentId> {
        self.subject().agent.as_ref()
    }

    /// The agent's name and state, if one is calling.
    pub fn agent(&self) -> Option<(&str, AgentState)> {
        self.0.row.agent.as_ref().map(|agent| (agent.name.as_str(), agent.state))
    }

    /// Whether a text names the calling agent itself: `me`, its name or its id.
    pub fn is_itself(&self, text: &str) -> bool {
        let (Some(id), Some((name, _))) = (self.agent_id(), self.agent()) else { return false };
        text == "me" || text == name || text == id.as_str()
    }

    /// The agent's name and its owner's address, if an agent is calling.
    pub fn agent_and_owner(&self) -> Option<(&str, &str)> {
        self.agent().map(|(name, _)| (name, self.email()))
    }

    /// The credential's record id.
    pub fn credential_id(&self) -> &CredentialId {
        &self.0.row.id
    }

    /// The credential's digest.
    pub fn digest(&self) -> Digest {
        self.0.digest
    }

    /// The id of the editor on whose grant the credential rests, if its maker was neither the agent's owner nor an admin.
    pub fn grantee(&self) -> Option<&str> {
        self.subject().grantee.as_deref()
    }

    /// The credential's kind.
    pub fn credential_kind(&self) -> Kind {
        self.0.row.kind
    }

    /// The federated credential that the credential was given for: a workload gets another one by itself.
    pub fn federated(&self) -> Option<&str> {
        self.0.row.federated.as_deref()
    }

    /// The thumbprint of the key that the credential is bound to.
    pub fn bound_to(&self) -> Option<&str> {
        self.0.row.bound_to.as_deref()
    }

    /// The part of the credential that may be shown.
    pub fn credential_prefix(&self) -> &str {
        &self.0.row.prefix
    }

    /// When the credential ends. `None`: never.
    pub fn expires_at(&self) -> Option<Timestamp> {
        self.0.row.expires_at
    }

    /// When the credential was made.
    pub fn issued_at(&self) -> Timestamp {
        self.0.row.created_at
    }

    /// The credential's own patterns, before role and ceiling narrow them.
    pub fn carried(&self) -> &str {
        &self.0.row.scope
    }

    /// The agent's ceiling, as patterns; a person has all.
    pub fn ceiling(&self) -> &str {
        self.0.row.agent.as_ref().map_or("*", |agent| &agent.scope)
    }

    /// The built-in scopes that the caller can use now.
    pub fn scope(&self) -> ScopeSet {
        match &self.1 {
            None => self.0.scope,
            Some(one) => self.0.scope.or(self.by_once(one).known),
        }
    }

    /// The scopes that the caller can use now, custom ones included.
    pub fn scopes(&self) -> Scopes {
        let own = match self.custom_scopes().names().is_empty() {
            true => Scopes { known: self.0.scope, custom: Vec::new() },
            false => effective(&self.0.row, true),
        };
        self.1.iter().fold(own, |own, one| own.or(self.by_once(one)))
    }

    /// The scopes that the caller may give to new credentials: those that it can use, except those that were approved for it.
    pub fn mintable(&self) -> Scopes {
        effective(&self.0.row, false)
    }

    /// The tenant's custom scopes.
    pub fn custom_scopes(&self) -> &CustomScopes {
        &self.0.row.custom_scopes
    }
}

/// The scopes that credential, agent's ceiling and role all allow. `approved`: also the scopes that people approved for the agent, which
/// go beyond credential and ceiling, but not beyond the role.
fn effective(row: &CredentialRow, approved: bool) -> Scopes {
    let custom = &row.custom_scopes;
    let (carried, role) = (Scopes::stored(&row.scope, custom), row.subject.role.scopes(custom));
    let Some(agent) = &row.agent else { return carried.and(&role) };
    let own = carried.and(&Scopes::stored(&agent.scope, custom));
    let own = row
        .editor
        .iter()
        .fold(own, |own, editor| own.and(&editor.role.scopes(custom)).and(&Scopes::stored(&editor.scope, custom)));
    if !approved {
        return own.and(&role).for_agents();
    }
    let lasting = for_good(&agent.approved).unwrap_or_default();
    let lasting = Scopes::stored(&lasting, custom).and(&Scopes::stored(&agent.scope, custom));
    own.or(Scopes::stored(&agent.approved, custom)).or(lasting).and(&role).for_agents()
}

/// The patterns that were approved for good, of all that were approved. `None`: there are none, as for nearly every request. No other
/// reader takes a pattern with a `=` before it for a scope.
fn for_good(approved: &str) -> Option<String> {
    approved.contains('=').then(|| {
        let lasting: Vec<&str> = approved.split_ascii_whitespace().filter_map(|word| word.strip_prefix('=')).collect();
        lasting.join(" ")
    })
}
