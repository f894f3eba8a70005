//! The route table. Every route has a row here, and the routers are built from the rows: a route without a row does not exist.
//! The guard reads a row to decide whether to let a caller in; `GET /api`, `GET /api/auth/can`, the manual and the tests read the
//! same rows.

use Action::{Delete, Read, Share, Update};
use Scope::*;

use crate::{permission::Action, scope::Scope};

/// The component that serves a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Group {
    /// Who is calling, and what may they do? Health.
    Auth,
    /// The routes that hash passwords, and those of the operator.
    Signin,
    /// Sessions, personal access tokens, every credential for admins, leaks.
    Tokens,
    /// What belongs to a tenant: users, custom scopes, the audit trail.
    Tenant,
    /// Agents: the registry, their state, sharing, requests for access, presets.
    Agents,
    /// The token and the keys of an agent.
    Keys,
    /// Notifications for people, inboxes of agents.
    Notify,
    /// Mail and housekeeping.
    Worker,
    /// The CLI as files.
    Artifacts,
    /// The manual, and every unknown path.
    Docs,
}

impl Group {
    /// The component's id, folder and wasm file.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Auth => "auth",
            Self::Signin => "signin",
            Self::Tokens => "tokens",
            Self::Tenant => "tenant",
            Self::Agents => "agents",
            Self::Keys => "keys",
            Self::Notify => "notify",
            Self::Worker => "worker",
            Self::Artifacts => "artifacts",
            Self::Docs => "docs",
        }
    }

    /// The group's heading in `GET /api`.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Auth => "The caller's identity and permissions, introspection, health",
            Self::Signin => "Bootstrap, tenants, sign-in, passwords",
            Self::Tokens => "Sessions, personal access tokens, credentials of the tenant, leaks",
            Self::Tenant => "Users, scopes, the audit trail",
            Self::Agents => "Agents: registry, archive, state, logs, sharing, access requests, presets",
            Self::Keys => "Tokens and keys of agents",
            Self::Notify => "Notifications, inboxes, messages",
            Self::Worker => "Mail, housekeeping",
            Self::Artifacts => "The command-line tool: install and download",
            Self::Docs => "Documentation",
        }
    }
}

/// What a credential must carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Nothing: no credential is looked at.
    Public,
    /// Any live credential.
    Credential,
    /// A live credential with this scope.
    Scope(Scope),
}

/// Which kinds of callers a route takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Callers {
    /// People and agents.
    Everyone,
    /// People, with a session or a personal access token. Agents get 403 `person_required`.
    People,
    /// Agents. People get 403 `agent_required`.
    Agents,
    /// People with a session. Other credentials get 403 `session_required`.
    Sessions,
}

/// The object that a path or a body names, and what the caller must be allowed to do with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Object {
    /// An agent.
    Agent(Action),
    /// The state of an agent, which an agent never sets of itself or of an agent above it.
    AgentState(Action),
    /// A key of an agent: a relation to the key, and one to its agent.
    Key(Action),
    /// A request for access: a relation to the agent that asks.
    AccessRequest(Action),
    /// The calling agent itself, and no other.
    OwnAgent,
}

/// Which query parameters a route knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Query {
    /// These; all others are refused.
    Only(&'static [&'static str]),
    /// Any: unknown ones are ignored.
    Any,
}

/// One row.
#[derive(Debug, PartialEq, Eq)]
pub struct Route {
    /// The method.
    pub method: &'static str,
    /// The path: `{name}` stands for one segment, `{*name}` for the rest.
    pub path: &'static str,
    /// The component that serves it.
    pub group: Group,
    /// What it does, in a few words.
    pub title: &'static str,
    /// What the credential must carry.
    pub access: Access,
    /// Which kinds of callers it takes.
    pub callers: Callers,
    /// Whether a paused, stopped or overspent agent gets an answer.
    pub while_halted: bool,
    /// Whether a credential needs no scope when the path names that credential.
    pub own_needs_no_scope: bool,
    /// The object that the request names.
    pub object: Option<Object>,
    /// Fields of the body that ask for another action on the agent than the row does.
    pub fields: &'static [(&'static str, Action)],
    /// Whether answers are kept for `Idempotency-Key`.
    pub is_idempotent: bool,
    /// Whether it only takes rights away: then it goes through even when the database is full.
    pub revokes: bool,
    /// The action in the audit row that it writes. `None`: it changes nothing, or only a row that is its own record.
    pub audit: Option<&'static str>,
    /// Whether it only reads, although its method is not GET.
    pub changes_nothing: bool,
    /// The query parameters that it knows.
    pub query: Query,
    /// The page that explains it, below `/docs/agents/`.
    pub page: &'static str,
}

/// A row with the usual answers; the methods below state what is different.
const fn route(method: &'static str, path: &'static str, title: &'static str) -> Route {
    Route {
        method,
        path,
        group: Group::Docs,
        title,
        access: Access::Credential,
        callers: Callers::Everyone,
        while_halted: false,
        own_needs_no_scope: false,
        object: None,
        fields: &[],
        is_idempotent: false,
        revokes: false,
        audit: None,
        changes_nothing: false,
        query: Query::Only(&[]),
        page: "",
    }
}

const fn get(path: &'static str, title: &'static str) -> Route {
    route("GET", path, title)
}

const fn post(path: &'static str, title: &'static str) -> Route {
    route("POST", path, title)
}

const fn put(path: &'static str, title: &'static str) -> Route {
    route("PUT", path, title)
}

const fn patch(path: &'static str, title: &'static str) -> Route {
    route("PATCH", path, title)
}

const fn delete(path: &'static str, title: &'static str) -> Route {
    route("DELETE", path, title)
}

/// The columns of the table; each method sets one field of [`Route`].
impl Route {
    const fn group(self, group: Group) -> Self {
        Self { group, ..self }
    }

    const fn public(self) -> Self {
        Self { access: Access::Public, ..self }
    }

    const fn scope(self, scope: Scope) -> Self {
        Self { access: Access::Scope(scope), ..self }
    }

    const fn for_people(self) -> Self {
        Self { callers: Callers::People, ..self }
    }

    const fn for_agents(self) -> Self {
        Self { callers: Callers::Agents, ..self }
    }

    const fn for_sessions(self) -> Self {
        Self { callers: Callers::Sessions, ..self }
    }

    const fn on_agent(self, action: Action) -> Self {
        Self { object: Some(Object::Agent(action)), ..self }
    }

    const fn on_agent_state(self, action: Action) -> Self {
        Self { object: Some(Object::AgentState(action)), ..self }
    }

    const fn on_key(self, action: Action) -> Self {
        Self { object: Some(Object::Key(action)), ..self }
    }

    const fn on_access_request(self, action: Action) -> Self {
        Self { object: Some(Object::AccessRequest(action)), ..self }
    }

    const fn on_own_agent(self) -> Self {
        Self { object: Some(Object::OwnAgent), ..self }
    }

    const fn fields(self, fields: &'static [(&'static str, Action)]) -> Self {
        Self { fields, ..self }
    }

    const fn while_halted(self) -> Self {
        Self { while_halted: true, ..self }
    }

    const fn own_needs_no_scope(self) -> Self {
        Self { own_needs_no_scope: true, ..self }
    }

    const fn idempotent(self) -> Self {
        Self { is_idempotent: true, ..self }
    }

    const fn revokes(self) -> Self {
        Self { revokes: true, ..self }
    }

    const fn changes_nothing(self) -> Self {
        Self { changes_nothing: true, ..self }
    }

    const fn audited(self, action: &'static str) -> Self {
        Self { audit: Some(action), ..self }
    }

    const fn query(self, known: &'static [&'static str]) -> Self {
        Self { query: Query::Only(known), ..self }
    }

    const fn any_query(self) -> Self {
        Self { query: Query::Any, ..self }
    }

    const fn page(self, page: &'static str) -> Self {
        Self { page, ..self }
    }
}

macro_rules! routes {
    ($($group:ident { $($name:ident = $route:expr;)* })*) => {
        $($(#[doc = "A row of the table."] pub const $name: &Route = &$route.group(Group::$group);)*)*

        /// The table.
        pub const ROUTES: &[&Route] = &[$($($name,)*)*];
    };
}

routes! {
    Auth {
        WHOAMI = get("/api/auth/whoami", "Who am I, and what may I do?").while_halted().page("concepts/credentials");
        CAN = get("/api/auth/can", "May I do this? Every factor, without doing it").while_halted().query(&["action", "object"]).page("concepts/sharing");
        DOCTOR = get("/api/auth/doctor", "What is wrong with my credential, and how is it mended?").while_halted().query(&["expect"]).page("concepts/doctor");
        INTROSPECT = post("/auth/introspect", "What may the bearer of this token do now? (RFC 7662)").scope(TokensIntrospect).changes_nothing().page("concepts/introspection");
        HEALTHZ = get("/healthz", "Is the process alive?").public().any_query().page("#is-the-server-well");
        READYZ = get("/readyz", "Does the database answer, and is the server bootstrapped?").public().any_query().page("#is-the-server-well");
    }

    Signin {
        BOOTSTRAP = post("/auth/bootstrap", "Make the first tenant and its admin, once").public().audited("tenant.bootstrap").page("concepts/people");
        SIGN_IN = post("/auth/token", "Sign in with a password").public().audited("session.start").page("concepts/credentials");
        PASSWORD_CHANGE = post("/auth/password", "Change my password").for_sessions().idempotent().audited("user.change_password").page("concepts/people");
        TENANT_CREATE = post("/operator/tenants", "Make a further tenant and its admin").public().audited("tenant.create").page("concepts/people");
        OPERATOR_REVOKE = post("/operator/revoke", "After a backup was restored: revoke all that was issued before a moment").public().revokes().audited("operator.revoke").page("concepts/credentials#after-a-backup-was-restored");
        PASSWORD_SET = post("/api/users/{id}/set-password", "Set a user's password").scope(UsersWrite).for_sessions().idempotent().audited("user.set_password").page("concepts/people");
    }

    Tokens {
        LOGOUT = post("/auth/logout", "End this session").for_sessions().revokes().audited("session.end").page("concepts/credentials");
        SESSIONS_LIST = get("/auth/sessions", "My sessions").for_sessions().query(&["cursor", "limit"]).page("concepts/credentials");
        SESSIONS_END_OTHERS = delete("/auth/sessions", "End all my other sessions").for_sessions().revokes().audited("session.end_others").page("concepts/credentials");
        SESSION_END = delete("/auth/sessions/{id}", "End one of my sessions").for_sessions().revokes().audited("session.end").page("concepts/credentials");
        PATS_CREATE = post("/auth/tokens", "Make a personal access token").for_sessions().idempotent().audited("token.create").page("concepts/pats");
        PATS_LIST = get("/auth/tokens", "My personal access tokens").scope(TokensRead).for_people().query(&["sort", "status", "cursor", "limit"]).page("concepts/pats");
        PATS_GET = get("/auth/tokens/{id}", "One of my personal access tokens").scope(TokensRead).for_people().own_needs_no_scope().page("concepts/pats");
        PATS_ROTATE = post("/auth/tokens/{id}/rotate", "Replace a personal access token").for_people().idempotent().audited("token.rotate").page("concepts/pats");
        PATS_REVOKE = delete("/auth/tokens/{id}", "Revoke a personal access token").scope(TokensWrite).for_people().own_needs_no_scope().revokes().audited("token.revoke").page("concepts/pats");
        TOKENS_LIST = get("/auth/admin/tokens", "Every credential of the tenant").scope(TokensAdmin).for_people().query(&["user", "kind", "status", "unused_since", "sort", "cursor", "limit"]).page("concepts/pats");
        TOKENS_REVOKE = delete("/auth/admin/tokens/{id}", "Revoke any credential of the tenant").scope(TokensAdmin).for_people().revokes().audited("token.revoke").page("concepts/pats");
        LEAKS = post("/auth/leaks", "End a credential that was found in the open").public().revokes().audited("token.leaked").page("concepts/credentials");
    }

    Tenant {
        USERS_LIST = get("/api/users", "The tenant's users").scope(UsersRead).for_people().query(&["q", "role", "active", "cursor", "limit"]).page("concepts/people");
        USERS_CREATE = post("/api/users", "Create a user").scope(UsersWrite).for_sessions().idempotent().audited("user.create").page("concepts/people");
        USERS_GET = get("/api/users/{id}", "One user").scope(UsersRead).for_people().page("concepts/people");
        USERS_PATCH = patch("/api/users/{id}", "Change a user's name, role or address").scope(UsersWrite).for_sessions().audited("user.update").page("concepts/people");
        USERS_DELETE = delete("/api/users/{id}", "Delete a user; the agents are given away or archived").scope(UsersWrite).for_sessions().revokes().audited("user.delete").query(&["agents"]).page("concepts/people");
        USERS_ACTIVATE = post("/api/users/{id}/activate", "Let an account be used again").scope(UsersWrite).for_sessions().idempotent().audited("user.activate").page("concepts/people");
        USERS_DEACTIVATE = post("/api/users/{id}/deactivate", "Refuse an account with all that is its").scope(UsersWrite).for_sessions().idempotent().revokes().audited("user.deactivate").page("concepts/people");
        AUDIT_LIST = get("/api/audit", "What happened to the agents that I may read, or in my tenant").scope(AuditRead).query(&["actor", "action", "object", "outcome", "since", "until", "cursor", "limit"]).page("concepts/audit");
        AUDIT_EXPORT = get("/api/audit/export", "The same, whole, one JSON object a line").scope(AuditRead).query(&["actor", "action", "object", "outcome", "since", "until"]).page("concepts/audit");
        AUDIT_VERIFY = get("/api/audit/verify", "Is the audit trail as it was sealed?").scope(AuditReadAll).for_people().query(&["head", "from"]).page("concepts/audit");
        SCOPES = get("/api/scopes", "Every scope, with its routes").public().page("concepts/permissions");
        SCOPES_CUSTOM = get("/api/scopes/custom", "The tenant's own scopes").page("concepts/permissions");
        SCOPES_DEFINE = post("/api/scopes/custom", "Define a scope of the tenant's own").scope(ScopesWrite).for_people().idempotent().audited("scope.define").page("concepts/permissions");
        SCOPES_REMOVE = delete("/api/scopes/custom", "Take a scope of the tenant's own away").scope(ScopesWrite).for_people().revokes().audited("scope.remove").query(&["name"]).page("concepts/permissions");
    }

    Agents {
        AGENTS_LIST = get("/api/agents", "The agents that I may read").scope(AgentsList).query(&["q", "state", "owner", "parent", "has_token", "cursor", "limit"]).page("concepts/agents");
        AGENTS_CREATE = post("/api/agents", "Register an agent and issue its token").scope(AgentsCreate).idempotent().audited("agent.create").page("concepts/agents");
        AGENTS_GET = get("/api/agents/{name}", "One agent").scope(AgentsRead).on_agent(Read).page("concepts/agents");
        AGENTS_PATCH = patch("/api/agents/{name}", "Change an agent").scope(AgentsUpdate).on_agent(Update).fields(&[("owner", Share), ("parent", Share)]).audited("agent.update").page("concepts/agents");
        AGENTS_PUT = put("/api/agents/{name}", "Say anew all that is said of an agent").scope(AgentsUpdate).on_agent(Update).audited("agent.update").page("concepts/agents");
        AGENTS_DELETE = delete("/api/agents/{name}", "Archive an agent and all below it; their credentials die with them").scope(AgentsDelete).on_agent(Delete).revokes().audited("agent.archive").query(&["confirm"]).page("concepts/agents");
        ARCHIVED_LIST = get("/api/agents/archived", "The archived agents that I may restore").scope(AgentsDelete).query(&["cursor", "limit"]).page("concepts/agents");
        ARCHIVED_RESTORE = post("/api/agents/archived/{id}/restore", "Restore an archived agent: stopped, without credentials").scope(AgentsDelete).idempotent().audited("agent.restore").page("concepts/agents");
        ARCHIVED_PURGE = delete("/api/agents/archived/{id}", "Forget an archived agent for good").scope(AgentsDelete).for_people().revokes().audited("agent.purge").page("concepts/agents");
        AGENTS_EXPORT = get("/api/agents/{name}/export", "An agent and those below it, to be imported elsewhere").scope(AgentsRead).on_agent(Read).page("concepts/tree#export-and-import");
        AGENTS_IMPORT = post("/api/agents/import", "Register what was exported, all of it or nothing").scope(AgentsCreate).idempotent().audited("agent.import").page("concepts/tree#export-and-import");
        AGENT_START = post("/api/agents/{name}/start", "Start a stopped agent").scope(AgentsLifecycle).on_agent_state(Update).idempotent().audited("agent.start").page("concepts/lifecycle");
        AGENT_STOP = post("/api/agents/{name}/stop", "Stop an agent and all below it").scope(AgentsLifecycle).on_agent_state(Update).idempotent().revokes().audited("agent.stop").page("concepts/lifecycle");
        AGENT_PAUSE = post("/api/agents/{name}/pause", "Pause an agent and all below it").scope(AgentsLifecycle).on_agent_state(Update).idempotent().revokes().audited("agent.pause").page("concepts/lifecycle");
        AGENT_RESUME = post("/api/agents/{name}/resume", "Let a paused agent go on").scope(AgentsLifecycle).on_agent_state(Update).idempotent().audited("agent.resume").page("concepts/lifecycle");
        AGENT_RESTART = post("/api/agents/{name}/restart", "Let an agent begin anew").scope(AgentsLifecycle).on_agent_state(Update).idempotent().audited("agent.restart").page("concepts/lifecycle");
        BULK_START = post("/api/agents/bulk/start", "Start several agents, each decided by itself").scope(AgentsLifecycle).on_agent_state(Update).idempotent().audited("agent.start").page("concepts/lifecycle");
        BULK_STOP = post("/api/agents/bulk/stop", "Stop several agents").scope(AgentsLifecycle).on_agent_state(Update).idempotent().revokes().audited("agent.stop").page("concepts/lifecycle");
        BULK_PAUSE = post("/api/agents/bulk/pause", "Pause several agents").scope(AgentsLifecycle).on_agent_state(Update).idempotent().revokes().audited("agent.pause").page("concepts/lifecycle");
        BULK_RESUME = post("/api/agents/bulk/resume", "Let several paused agents go on").scope(AgentsLifecycle).on_agent_state(Update).idempotent().audited("agent.resume").page("concepts/lifecycle");
        BULK_RESTART = post("/api/agents/bulk/restart", "Let several agents begin anew").scope(AgentsLifecycle).on_agent_state(Update).idempotent().audited("agent.restart").page("concepts/lifecycle");
        STOP_ALL = post("/api/agents/stop-all", "Stop every agent of my tenant").scope(AgentsStopAll).for_people().idempotent().revokes().audited("agent.stop_all").page("concepts/lifecycle");
        HEARTBEAT = post("/api/agents/me/heartbeat", "I, an agent, am here; how do I stand?").for_agents().while_halted().page("concepts/lifecycle");
        LOGS_READ = get("/api/agents/{name}/logs", "The newest lines of an agent's log").scope(AgentsLogs).on_agent(Read).query(&["lines", "since"]).page("concepts/lifecycle");
        LOGS_APPEND = post("/api/agents/{name}/logs", "Append to my own log").scope(AgentsLogs).on_own_agent().page("concepts/lifecycle");
        KEY_GRANTS_LIST = get("/api/agents/{name}/keys/{id}/grants", "Who may read or edit the key").scope(AgentsKeysRead).on_key(Share).query(&["cursor", "limit"]).page("concepts/keys");
        KEY_GRANTS_GIVE = post("/api/agents/{name}/keys/{id}/grants", "Let a user or an agent read or edit the key").scope(AgentsKeysWrite).on_key(Share).idempotent().audited("agent.key.share").page("concepts/keys");
        KEY_GRANTS_TAKE = delete("/api/agents/{name}/keys/{id}/grants", "Take a grant of the key away").scope(AgentsKeysWrite).on_key(Share).revokes().audited("agent.key.unshare").query(&["subject", "relation"]).page("concepts/keys");
        GRANTS_LIST = get("/api/agents/{name}/grants", "Who may read or edit the agent").scope(AgentsShare).on_agent(Share).query(&["cursor", "limit"]).page("concepts/sharing");
        GRANTS_GIVE = post("/api/agents/{name}/grants", "Let a user or an agent read or edit the agent").scope(AgentsShare).on_agent(Share).idempotent().audited("agent.share").page("concepts/sharing");
        GRANTS_TAKE = delete("/api/agents/{name}/grants", "Take a grant away").scope(AgentsShare).on_agent(Share).revokes().audited("agent.unshare").query(&["subject", "relation"]).page("concepts/sharing");
        EXPLAIN = get("/api/agents/{name}/explain", "Why somebody may do something with the agent, or not").scope(AgentsRead).on_agent(Read).query(&["subject", "action"]).page("concepts/sharing");
        ACCESS_ASK = post("/api/access-requests", "Ask for a scope that I, an agent, lack").for_agents().idempotent().audited("access.request").page("concepts/access");
        ACCESS_LIST = get("/api/access-requests", "What agents ask for: mine, or those that I decide about").query(&["state", "agent", "cursor", "limit"]).page("concepts/access");
        ACCESS_GET = get("/api/access-requests/{id}", "One request, and what became of it").on_access_request(Share).page("concepts/access");
        ACCESS_APPROVE = post("/api/access-requests/{id}/approve", "Let an agent use what it asked for, for some hours").for_sessions().on_access_request(Share).idempotent().audited("access.approve").page("concepts/access");
        ACCESS_DENY = post("/api/access-requests/{id}/deny", "Refuse what an agent asked for").for_sessions().on_access_request(Share).idempotent().audited("access.deny").page("concepts/access");
        ACCESS_REVOKE = post("/api/access-requests/{id}/revoke", "Take back what was approved").for_sessions().on_access_request(Share).revokes().audited("access.revoke").page("concepts/access");
        PRESETS_LIST = get("/api/presets", "What classes of agents need, in the newest versions").page("concepts/permissions#presets");
        PRESET_PUT = put("/api/presets/{name}", "Say what a class of agents needs: a new version").scope(PresetsWrite).for_people().audited("preset.put").page("concepts/permissions#presets");
        PRESET_DRIFT = get("/api/presets/{name}/drift", "The agents of a preset that lack something of its newest version").scope(AgentsList).query(&["cursor", "limit"]).page("concepts/permissions#presets");
    }

    Keys {
        TOKEN_ISSUE = post("/api/agents/{name}/token/issue", "Issue the agent's token; the one before ends").scope(AgentsTokenIssue).on_agent(Update).idempotent().audited("agent.token.issue").page("concepts/credentials");
        TOKEN_REVOKE = delete("/api/agents/{name}/token", "Revoke the agent's token").scope(AgentsTokenRevoke).on_agent(Update).revokes().audited("agent.token.revoke").page("concepts/credentials");
        KEYS_LIST = get("/api/agents/{name}/keys", "The agent's keys that I may read").scope(AgentsKeysRead).on_agent(Read).query(&["name", "type", "cursor", "limit"]).page("concepts/keys");
        KEYS_CREATE = post("/api/agents/{name}/keys", "Make a key of the agent").scope(AgentsKeysWrite).on_agent(Update).idempotent().audited("agent.key.create").page("concepts/keys");
        KEYS_GET = get("/api/agents/{name}/keys/{id}", "One key").scope(AgentsKeysRead).on_key(Read).page("concepts/keys");
        KEYS_DELETE = delete("/api/agents/{name}/keys/{id}", "Delete a key; its secret ends").scope(AgentsKeysWrite).on_key(Delete).revokes().audited("agent.key.delete").page("concepts/keys");
        KEYS_ROTATE = post("/api/agents/{name}/keys/{id}/rotate", "Give a key a new secret").scope(AgentsKeysWrite).on_key(Update).idempotent().audited("agent.key.rotate").page("concepts/keys");
    }

    Notify {
        NOTIFY = post("/api/ui/notify", "Tell my owner something").scope(UiNotify).for_agents().idempotent().page("concepts/notifications");
        NOTIFICATIONS_LIST = get("/api/notifications", "My notifications").scope(NotificationsRead).for_people().query(&["unread_only", "since", "cursor", "limit"]).page("concepts/notifications");
        NOTIFICATIONS_COUNT = get("/api/notifications/count", "How many notifications I have").scope(NotificationsRead).for_people().page("concepts/notifications");
        NOTIFICATION_READ = post("/api/notifications/{id}/read", "Mark a notification as read").scope(NotificationsWrite).for_people().page("concepts/notifications");
        NOTIFICATIONS_READ_ALL = post("/api/notifications/read-all", "Mark all my notifications as read").scope(NotificationsWrite).for_people().page("concepts/notifications");
        NOTIFICATION_DELETE = delete("/api/notifications/{id}", "Delete a notification").scope(NotificationsWrite).for_people().page("concepts/notifications");
        INBOX = get("/api/agents/me/inbox", "What I, an agent, was told").for_agents().while_halted().query(&["after", "wait", "limit"]).page("concepts/inbox");
        INBOX_ACK = post("/api/agents/me/inbox/ack", "Forget what I have dealt with").for_agents().page("concepts/inbox");
        MESSAGE = post("/api/agents/{name}/messages", "Put a message into an agent's inbox").scope(AgentsMessage).on_agent(Read).idempotent().audited("agent.message").page("concepts/inbox");
    }

    Worker {
        MAIL_TEST = post("/api/mail/test", "Send a mail to my own address").for_sessions().idempotent().audited("mail.test").page("concepts/mail");
        MAIL_OUTBOX = get("/api/mail/outbox", "The tenant's mails: due, sent and dead").scope(AuditReadAll).for_people().query(&["state", "cursor", "limit"]).page("concepts/mail");
        MAIL_RETRY = post("/api/mail/outbox/{id}/retry", "Make a dead mail due again").scope(AuditReadAll).for_sessions().idempotent().audited("mail.retry").page("concepts/mail");
        TICK = post("/internal/tick", "Housekeeping; leased to once a second").public().any_query().page("#is-the-server-well");
    }

    Artifacts {
        CLI_INSTALL = get("/cli/install.sh", "The script that installs the CLI").public().page("cli");
        CLI_MANIFEST = get("/cli/manifest.json", "The CLI's version and files, with size and SHA-256").public().page("cli");
        CLI_LATEST = get("/cli/latest", "The CLI's version").public().page("cli");
        CLI_DOWNLOAD = get("/cli/download", "The CLI's program for a platform").public().query(&["os", "arch"]).page("cli");
        CLI_WHEEL = get("/cli/wheel/{file}", "The CLI as a Python wheel").public().page("cli");
    }

    Docs {
        API_INDEX = get("/api", "Every route, with its scope and page").public().any_query();
        HOME = get("/", "Where to begin").public().any_query();
        DOCS_INDEX = get("/docs", "The documentation's table of contents").public().any_query();
        DOCS_INDEX_SLASH = get("/docs/", "The documentation's table of contents").public().any_query();
        DOCS_PAGE = get("/docs/{*page}", "A page of the documentation").public().any_query();
    }
}

impl Route {
    /// Whether it only reads.
    pub fn is_safe(&self) -> bool {
        self.method == "GET" || self.changes_nothing
    }

    /// What the caller must be allowed to do with the object, when the body holds these fields. `None`: no relation is asked for.
    pub fn action(&self, has_field: impl Fn(&str) -> bool) -> Option<Action> {
        let by_field = self.fields.iter().find(|(field, _)| has_field(field)).map(|(_, action)| *action);
        by_field.or(match self.object? {
            Object::Agent(action)
            | Object::AgentState(action)
            | Object::Key(action)
            | Object::AccessRequest(action) => Some(action),
            Object::OwnAgent => None,
        })
    }

    /// The page that explains it, as a path of this server.
    pub fn page_path(&self) -> String {
        format!("/docs/agents/{}", self.page)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_rows_are_one_route() {
        let mut seen = std::collections::BTreeSet::new();
        for route in ROUTES {
            assert!(seen.insert((route.method, route.path)), "{} {}", route.method, route.path);
        }
    }

    /// R12: what changes something is audited, and what reads is not; a scope that agents cannot have is for people.
    #[test]
    fn every_row_is_consistent() {
        for route in ROUTES {
            let name = format!("{} {}", route.method, route.path);
            // Hot writes of one statement, whose row is its own record; and the tick, which writes rows for others.
            let is_hot = [
                "/internal/tick",
                "/api/ui/notify",
                "/api/agents/me/inbox/ack",
                "/api/agents/me/heartbeat",
                "/api/agents/{name}/logs",
            ]
            .contains(&route.path)
                || route.path.starts_with("/api/notifications");
            if !is_hot {
                assert_eq!(route.is_safe(), route.audit.is_none(), "{name}");
            }
            if let Access::Scope(scope) = route.access {
                let is_for_people = matches!(route.callers, Callers::People | Callers::Sessions);
                assert!(!scope.is_for_people() || is_for_people, "{name}");
            }
            assert!(route.access != Access::Public || !route.is_idempotent, "{name}");
            assert!(!(route.revokes && route.is_safe()), "{name}");
            assert!(route.group != Group::Docs || route.access == Access::Public, "{name}");
        }
    }
}
