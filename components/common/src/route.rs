//! The route table. Every route has a row here, and the routers are built from the rows ([`crate::router`]): a route without a
//! row does not exist. The guard in `http.rs` reads a row to decide who may come in; `/api`, the docs and the tests read the
//! same rows.

use crate::{permission::Action, scope::Scope};

/// The component that serves a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Group {
    /// Who am I, and what may I do?
    Auth,
    /// Sessions and users.
    People,
    /// The audit trail.
    Audit,
    /// The routes that hash passwords, and bootstrap.
    Signin,
    /// Personal access tokens, introspection, leaks.
    Tokens,
    /// What can be given: scopes, presets.
    Scopes,
    /// Which agents there are.
    Registry,
    /// One agent.
    Agents,
    /// The archived agents.
    Archive,
    /// The state of agents, their heartbeats and logs.
    Lifecycle,
    /// The tokens and keys of agents.
    Keys,
    /// Grants on agents and keys.
    Sharing,
    /// Requests for access.
    Access,
    /// What agents and people are told.
    Inbox,
    /// What agents tell people.
    Tell,
    /// Mail, and the tick.
    Notify,
    /// The CLI, handed out.
    Artifacts,
    /// Whether the server is well.
    Health,
    /// Documentation, and every unknown path.
    Docs,
}

impl Group {
    /// The component's id, folder and wasm file.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Auth => "auth",
            Self::People => "people",
            Self::Audit => "audit",
            Self::Signin => "signin",
            Self::Tokens => "tokens",
            Self::Scopes => "scopes",
            Self::Registry => "registry",
            Self::Agents => "agents",
            Self::Archive => "archive",
            Self::Lifecycle => "lifecycle",
            Self::Keys => "keys",
            Self::Sharing => "sharing",
            Self::Access => "access",
            Self::Inbox => "inbox",
            Self::Tell => "tell",
            Self::Notify => "notify",
            Self::Artifacts => "artifacts",
            Self::Health => "health",
            Self::Docs => "docs",
        }
    }

    /// What the index says of it.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Auth => "Who am I, and what may I do?",
            Self::People => "Sessions, users",
            Self::Audit => "The audit trail",
            Self::Signin => "Bootstrap, tenants, sign-in, passwords",
            Self::Tokens => "Personal access tokens, introspection, leaks",
            Self::Scopes => "Scopes, presets",
            Self::Registry => "Agents: list, register, export, import",
            Self::Agents => "One agent: read, change, archive",
            Self::Archive => "Archived agents",
            Self::Lifecycle => "The state of agents, heartbeats, logs",
            Self::Keys => "Tokens and keys of agents",
            Self::Sharing => "Sharing of agents and keys",
            Self::Access => "Requests for access",
            Self::Inbox => "Inboxes of agents, messages to them, notifications for people",
            Self::Tell => "Telling people",
            Self::Notify => "Mail, housekeeping",
            Self::Artifacts => "The command-line tool, to install and to download",
            Self::Health => "Health",
            Self::Docs => "Documentation",
        }
    }
}

/// Who may come in at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Everybody; a credential is not looked at.
    Public,
    /// Any live credential.
    Credential,
    /// A live credential with this scope.
    Scope(Scope),
}

/// Which query parameters a route knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Query {
    /// These; all others are refused.
    Only(&'static [&'static str]),
    /// A page: what it does not know it ignores.
    Any,
}

/// One row.
#[derive(Debug, PartialEq, Eq)]
pub struct Route {
    /// The method.
    pub method: &'static str,
    /// The path: `{name}` stands for one segment, `{*name}` for all that is left.
    pub path: &'static str,
    /// Who serves it.
    pub group: Group,
    /// What it does, in a few words.
    pub title: &'static str,
    /// Who may come in.
    pub access: Access,
    /// Whether agents are refused with `person_required`, whatever they carry.
    pub for_people: bool,
    /// Whether people are refused with `agent_required`.
    pub for_agents: bool,
    /// Whether only a session will do.
    pub session_only: bool,
    /// Whether a paused, stopped or overspent agent is answered.
    pub while_halted: bool,
    /// Whether a credential needs no scope where the path names itself.
    pub unless_own: bool,
    /// What the caller must be allowed to do with the object that the path names.
    pub action: Option<Action>,
    /// Whether `Idempotency-Key` is kept.
    pub is_idempotent: bool,
    /// The audit action of the row that it writes; `None`: it changes nothing, or nothing but a row that speaks for itself.
    pub audit: Option<&'static str>,
    /// Whether it only asks, although its method is not GET.
    pub changes_nothing: bool,
    /// The query parameters that it knows.
    pub query: Query,
    /// The page that explains it.
    pub page: &'static str,
}

/// A row with the usual answers, for the rows below to differ from.
const fn row(group: Group, method: &'static str, path: &'static str, title: &'static str) -> Route {
    Route {
        method,
        path,
        group,
        title,
        access: Access::Credential,
        for_people: false,
        for_agents: false,
        session_only: false,
        while_halted: false,
        unless_own: false,
        action: None,
        is_idempotent: false,
        audit: None,
        changes_nothing: false,
        query: Query::Only(&[]),
        page: "/docs/agents/",
    }
}

const AGENTS_PAGE: &str = "/docs/agents/concepts/agents";
const LIFECYCLE_PAGE: &str = "/docs/agents/concepts/lifecycle";
const SHARING_PAGE: &str = "/docs/agents/concepts/sharing";
const ACCESS_PAGE: &str = "/docs/agents/concepts/access";
const PRESETS_PAGE: &str = "/docs/agents/concepts/permissions#presets";
const KEYS_PAGE: &str = "/docs/agents/concepts/keys";
const NOTIFY_PAGE: &str = "/docs/agents/concepts/notifications";
const MAIL_PAGE: &str = "/docs/agents/concepts/mail";
const INBOX_PAGE: &str = "/docs/agents/concepts/inbox";
const USERS_PAGE: &str = "/docs/agents/concepts/people";
const AUDIT_PAGE: &str = "/docs/agents/concepts/audit";
const PATS_PAGE: &str = "/docs/agents/concepts/pats";
const INTROSPECT_PAGE: &str = "/docs/agents/concepts/introspection";
const SCOPES_PAGE: &str = "/docs/agents/concepts/permissions";
const CREDENTIALS_PAGE: &str = "/docs/agents/concepts/credentials";
const CLI_PAGE: &str = "/docs/agents/cli";
const WELL_PAGE: &str = "/docs/agents/#is-the-server-well";
const BACKUP_PAGE: &str = "/docs/agents/concepts/credentials#after-a-backup-was-restored";
const EXPORT_PAGE: &str = "/docs/agents/concepts/tree#export-and-import";

/// A row that sets the state of agents.
const fn step(path: &'static str, audit: &'static str, title: &'static str) -> Route {
    Route {
        access: Access::Scope(Scope::AgentsLifecycle),
        is_idempotent: true,
        audit: Some(audit),
        page: LIFECYCLE_PAGE,
        ..row(Group::Lifecycle, "POST", path, title)
    }
}

macro_rules! routes {
    ($($name:ident = $route:expr;)*) => {
        $(#[doc = "A row of the table."] pub const $name: &Route = &$route;)*

        /// The table.
        pub const ROUTES: &[&Route] = &[$($name,)*];
    };
}

routes! {
    WHOAMI = Route { while_halted: true, page: CREDENTIALS_PAGE,
        ..row(Group::Auth, "GET", "/api/auth/whoami", "Who am I, and what may I do?") };
    CAN = Route { while_halted: true, query: Query::Only(&["action", "object"]), page: SHARING_PAGE,
        ..row(Group::Auth, "GET", "/api/auth/can", "May I do this? Every factor, without doing it") };
    DOCTOR = Route { while_halted: true, query: Query::Only(&["expect"]), page: "/docs/agents/concepts/doctor",
        ..row(Group::Auth, "GET", "/api/auth/doctor", "What is wrong with my credential, and how is it mended?") };
    LOGOUT = Route { session_only: true, for_people: true, audit: Some("session.end"), page: CREDENTIALS_PAGE,
        ..row(Group::People, "POST", "/auth/logout", "End this session") };
    SESSIONS_LIST = Route { session_only: true, for_people: true, query: Query::Only(&["cursor", "limit"]), page: CREDENTIALS_PAGE,
        ..row(Group::People, "GET", "/auth/sessions", "My sessions") };
    SESSIONS_END_OTHERS = Route { session_only: true, for_people: true, audit: Some("session.end_others"), page: CREDENTIALS_PAGE,
        ..row(Group::People, "DELETE", "/auth/sessions", "End all my other sessions") };
    SESSION_END = Route { session_only: true, for_people: true, audit: Some("session.end"), page: CREDENTIALS_PAGE,
        ..row(Group::People, "DELETE", "/auth/sessions/{id}", "End one of my sessions") };
    USERS_LIST = Route { access: Access::Scope(Scope::UsersRead), for_people: true,
        query: Query::Only(&["q", "role", "active", "cursor", "limit"]), page: USERS_PAGE,
        ..row(Group::People, "GET", "/api/users", "The tenant's users") };
    USERS_CREATE = Route { access: Access::Scope(Scope::UsersWrite), for_people: true, session_only: true,
        is_idempotent: true, audit: Some("user.create"), page: USERS_PAGE,
        ..row(Group::People, "POST", "/api/users", "Create a user") };
    USERS_GET = Route { access: Access::Scope(Scope::UsersRead), for_people: true, page: USERS_PAGE,
        ..row(Group::People, "GET", "/api/users/{id}", "One user") };
    USERS_PATCH = Route { access: Access::Scope(Scope::UsersWrite), for_people: true, session_only: true,
        audit: Some("user.update"), page: USERS_PAGE,
        ..row(Group::People, "PATCH", "/api/users/{id}", "Change a user's name, role or address") };
    USERS_DELETE = Route { access: Access::Scope(Scope::UsersWrite), for_people: true, session_only: true,
        audit: Some("user.delete"), query: Query::Only(&["agents"]), page: USERS_PAGE,
        ..row(Group::People, "DELETE", "/api/users/{id}", "Delete a user; the agents are given away or archived") };
    USERS_ACTIVATE = Route { access: Access::Scope(Scope::UsersWrite), for_people: true, session_only: true,
        is_idempotent: true, audit: Some("user.activate"), page: USERS_PAGE,
        ..row(Group::People, "POST", "/api/users/{id}/activate", "Let an account be used again") };
    USERS_DEACTIVATE = Route { access: Access::Scope(Scope::UsersWrite), for_people: true, session_only: true,
        is_idempotent: true, audit: Some("user.deactivate"), page: USERS_PAGE,
        ..row(Group::People, "POST", "/api/users/{id}/deactivate", "Refuse an account with all that is its") };

    AUDIT_LIST = Route { access: Access::Scope(Scope::AuditRead), page: AUDIT_PAGE,
        query: Query::Only(&["actor", "action", "object", "outcome", "since", "until", "cursor", "limit"]),
        ..row(Group::Audit, "GET", "/api/audit", "What happened to the agents that I may read, or in my tenant") };
    AUDIT_EXPORT = Route { access: Access::Scope(Scope::AuditRead), page: AUDIT_PAGE,
        query: Query::Only(&["actor", "action", "object", "outcome", "since", "until"]),
        ..row(Group::Audit, "GET", "/api/audit/export", "The same, whole, one JSON object a line") };
    AUDIT_VERIFY = Route { access: Access::Scope(Scope::AuditReadAll), for_people: true, page: AUDIT_PAGE,
        query: Query::Only(&["head", "from"]),
        ..row(Group::Audit, "GET", "/api/audit/verify", "Is the audit trail as it was sealed?") };

    BOOTSTRAP = Route { access: Access::Public, audit: Some("tenant.bootstrap"), page: USERS_PAGE,
        ..row(Group::Signin, "POST", "/auth/bootstrap", "Make the first tenant and its admin, once") };
    SIGN_IN = Route { access: Access::Public, audit: Some("session.start"), page: CREDENTIALS_PAGE,
        ..row(Group::Signin, "POST", "/auth/token", "Sign in with a password") };
    PASSWORD_CHANGE = Route { session_only: true, for_people: true, is_idempotent: true, audit: Some("user.change_password"),
        page: USERS_PAGE,
        ..row(Group::Signin, "POST", "/auth/password", "Change my password") };
    TENANT_CREATE = Route { access: Access::Public, audit: Some("tenant.create"), page: USERS_PAGE,
        ..row(Group::Signin, "POST", "/operator/tenants", "Make a further tenant and its admin") };
    OPERATOR_REVOKE = Route { access: Access::Public, audit: Some("operator.revoke"), page: BACKUP_PAGE,
        ..row(Group::Signin, "POST", "/operator/revoke", "After a backup was restored: revoke all that was issued before a moment") };
    PASSWORD_SET = Route { access: Access::Scope(Scope::UsersWrite), for_people: true, session_only: true,
        is_idempotent: true, audit: Some("user.set_password"), page: USERS_PAGE,
        ..row(Group::Signin, "POST", "/api/users/{id}/set-password", "Set a user's password") };

    PATS_CREATE = Route { session_only: true, for_people: true, is_idempotent: true, audit: Some("token.create"), page: PATS_PAGE,
        ..row(Group::Tokens, "POST", "/auth/tokens", "Make a personal access token") };
    PATS_LIST = Route { access: Access::Scope(Scope::TokensRead), for_people: true,
        query: Query::Only(&["sort", "status", "cursor", "limit"]), page: PATS_PAGE,
        ..row(Group::Tokens, "GET", "/auth/tokens", "My personal access tokens") };
    PATS_GET = Route { access: Access::Scope(Scope::TokensRead), for_people: true, unless_own: true, page: PATS_PAGE,
        ..row(Group::Tokens, "GET", "/auth/tokens/{id}", "One of my personal access tokens") };
    PATS_ROTATE = Route { for_people: true, is_idempotent: true, audit: Some("token.rotate"), page: PATS_PAGE,
        ..row(Group::Tokens, "POST", "/auth/tokens/{id}/rotate", "Replace a personal access token") };
    PATS_REVOKE = Route { access: Access::Scope(Scope::TokensWrite), for_people: true, unless_own: true,
        audit: Some("token.revoke"), page: PATS_PAGE,
        ..row(Group::Tokens, "DELETE", "/auth/tokens/{id}", "Revoke a personal access token") };
    TOKENS_LIST = Route { access: Access::Scope(Scope::TokensAdmin), for_people: true,
        query: Query::Only(&["user", "kind", "status", "unused_since", "sort", "cursor", "limit"]), page: PATS_PAGE,
        ..row(Group::Tokens, "GET", "/auth/admin/tokens", "Every credential of the tenant") };
    TOKENS_REVOKE = Route { access: Access::Scope(Scope::TokensAdmin), for_people: true, audit: Some("token.revoke"), page: PATS_PAGE,
        ..row(Group::Tokens, "DELETE", "/auth/admin/tokens/{id}", "Revoke any credential of the tenant") };
    INTROSPECT = Route { access: Access::Scope(Scope::TokensIntrospect), changes_nothing: true, page: INTROSPECT_PAGE,
        ..row(Group::Tokens, "POST", "/auth/introspect", "What may the bearer of this token do now? (RFC 7662)") };
    SCOPES = Route { access: Access::Public, page: SCOPES_PAGE,
        ..row(Group::Scopes, "GET", "/api/scopes", "Every scope, with its routes") };
    SCOPES_CUSTOM = Route { page: SCOPES_PAGE,
        ..row(Group::Scopes, "GET", "/api/scopes/custom", "The tenant's own scopes") };
    SCOPES_DEFINE = Route { access: Access::Scope(Scope::ScopesWrite), for_people: true, is_idempotent: true,
        audit: Some("scope.define"), page: SCOPES_PAGE,
        ..row(Group::Scopes, "POST", "/api/scopes/custom", "Define a scope of the tenant's own") };
    SCOPES_REMOVE = Route { access: Access::Scope(Scope::ScopesWrite), for_people: true, audit: Some("scope.remove"),
        query: Query::Only(&["name"]), page: SCOPES_PAGE,
        ..row(Group::Scopes, "DELETE", "/api/scopes/custom", "Take a scope of the tenant's own away") };
    LEAKS = Route { access: Access::Public, audit: Some("token.leaked"), page: CREDENTIALS_PAGE,
        ..row(Group::Tokens, "POST", "/auth/leaks", "End a credential that was found in the open") };

    AGENTS_LIST = Route { access: Access::Scope(Scope::AgentsList), action: Some(Action::Read),
        query: Query::Only(&["q", "state", "owner", "parent", "has_token", "cursor", "limit"]), page: AGENTS_PAGE,
        ..row(Group::Registry, "GET", "/api/agents", "The agents that I may read") };
    AGENTS_CREATE = Route { access: Access::Scope(Scope::AgentsCreate),
        is_idempotent: true, audit: Some("agent.create"), page: AGENTS_PAGE,
        ..row(Group::Registry, "POST", "/api/agents", "Register an agent and issue its token") };
    AGENTS_GET = Route { access: Access::Scope(Scope::AgentsRead), action: Some(Action::Read), page: AGENTS_PAGE,
        ..row(Group::Agents, "GET", "/api/agents/{name}", "One agent") };
    AGENTS_PATCH = Route { access: Access::Scope(Scope::AgentsUpdate), action: Some(Action::Update),
        audit: Some("agent.update"), page: AGENTS_PAGE,
        ..row(Group::Agents, "PATCH", "/api/agents/{name}", "Change an agent") };
    AGENTS_PUT = Route { access: Access::Scope(Scope::AgentsUpdate), action: Some(Action::Update),
        audit: Some("agent.update"), page: AGENTS_PAGE,
        ..row(Group::Agents, "PUT", "/api/agents/{name}", "Say anew all that is said of an agent") };
    AGENTS_DELETE = Route { access: Access::Scope(Scope::AgentsDelete), action: Some(Action::Delete),
        audit: Some("agent.archive"), query: Query::Only(&["confirm"]), page: AGENTS_PAGE,
        ..row(Group::Agents, "DELETE", "/api/agents/{name}", "Archive an agent and all below it; their credentials die with them") };
    ARCHIVED_LIST = Route { access: Access::Scope(Scope::AgentsDelete), query: Query::Only(&["cursor", "limit"]), page: AGENTS_PAGE,
        ..row(Group::Archive, "GET", "/api/agents/archived", "The archived agents that I may restore") };
    ARCHIVED_RESTORE = Route { access: Access::Scope(Scope::AgentsDelete), is_idempotent: true, audit: Some("agent.restore"), page: AGENTS_PAGE,
        ..row(Group::Archive, "POST", "/api/agents/archived/{id}/restore", "Restore an archived agent: stopped, without credentials") };
    ARCHIVED_PURGE = Route { access: Access::Scope(Scope::AgentsDelete), for_people: true, audit: Some("agent.purge"), page: AGENTS_PAGE,
        ..row(Group::Archive, "DELETE", "/api/agents/archived/{id}", "Forget an archived agent for good") };
    AGENTS_EXPORT = Route { access: Access::Scope(Scope::AgentsRead), action: Some(Action::Read), page: EXPORT_PAGE,
        ..row(Group::Registry, "GET", "/api/agents/{name}/export", "An agent and those below it, to be imported elsewhere") };
    AGENTS_IMPORT = Route { access: Access::Scope(Scope::AgentsCreate), is_idempotent: true, audit: Some("agent.import"), page: EXPORT_PAGE,
        ..row(Group::Registry, "POST", "/api/agents/import", "Register what was exported, all of it or nothing") };
    AGENT_START = Route { action: Some(Action::Update),
        ..step("/api/agents/{name}/start", "agent.start", "Start a stopped agent") };
    AGENT_STOP = Route { action: Some(Action::Update),
        ..step("/api/agents/{name}/stop", "agent.stop", "Stop an agent and all below it") };
    AGENT_PAUSE = Route { action: Some(Action::Update),
        ..step("/api/agents/{name}/pause", "agent.pause", "Pause an agent and all below it") };
    AGENT_RESUME = Route { action: Some(Action::Update),
        ..step("/api/agents/{name}/resume", "agent.resume", "Let a paused agent go on") };
    AGENT_RESTART = Route { action: Some(Action::Update),
        ..step("/api/agents/{name}/restart", "agent.restart", "Let an agent begin anew") };
    BULK_START = step("/api/agents/bulk/start", "agent.start", "Start several agents, each decided by itself");
    BULK_STOP = step("/api/agents/bulk/stop", "agent.stop", "Stop several agents");
    BULK_PAUSE = step("/api/agents/bulk/pause", "agent.pause", "Pause several agents");
    BULK_RESUME = step("/api/agents/bulk/resume", "agent.resume", "Let several paused agents go on");
    BULK_RESTART = step("/api/agents/bulk/restart", "agent.restart", "Let several agents begin anew");
    STOP_ALL = Route { access: Access::Scope(Scope::AgentsStopAll), for_people: true,
        ..step("/api/agents/stop-all", "agent.stop_all", "Stop every agent of my tenant") };
    HEARTBEAT = Route { for_agents: true, while_halted: true, page: LIFECYCLE_PAGE,
        ..row(Group::Lifecycle, "POST", "/api/agents/me/heartbeat", "I, an agent, am here; how do I stand?") };
    LOGS_READ = Route { access: Access::Scope(Scope::AgentsLogs), action: Some(Action::Read),
        query: Query::Only(&["lines", "since"]), page: LIFECYCLE_PAGE,
        ..row(Group::Lifecycle, "GET", "/api/agents/{name}/logs", "The newest lines of an agent's log") };
    LOGS_APPEND = Route { access: Access::Scope(Scope::AgentsLogs), action: Some(Action::Read), page: LIFECYCLE_PAGE,
        ..row(Group::Lifecycle, "POST", "/api/agents/{name}/logs", "Append to my own log") };
    TOKEN_ISSUE = Route { access: Access::Scope(Scope::AgentsTokenIssue), action: Some(Action::Update),
        is_idempotent: true, audit: Some("agent.token.issue"), page: CREDENTIALS_PAGE,
        ..row(Group::Keys, "POST", "/api/agents/{name}/token/issue", "Issue the agent's token; the one before ends") };
    TOKEN_REVOKE = Route { access: Access::Scope(Scope::AgentsTokenRevoke), action: Some(Action::Update),
        audit: Some("agent.token.revoke"), page: CREDENTIALS_PAGE,
        ..row(Group::Keys, "DELETE", "/api/agents/{name}/token", "Revoke the agent's token") };

    KEYS_LIST = Route { access: Access::Scope(Scope::AgentsKeysRead), action: Some(Action::Read),
        query: Query::Only(&["name", "type", "cursor", "limit"]), page: KEYS_PAGE,
        ..row(Group::Keys, "GET", "/api/agents/{name}/keys", "The agent's keys that I may read") };
    KEYS_CREATE = Route { access: Access::Scope(Scope::AgentsKeysWrite), action: Some(Action::Update),
        is_idempotent: true, audit: Some("agent.key.create"), page: KEYS_PAGE,
        ..row(Group::Keys, "POST", "/api/agents/{name}/keys", "Make a key of the agent") };
    KEYS_GET = Route { access: Access::Scope(Scope::AgentsKeysRead), action: Some(Action::Read), page: KEYS_PAGE,
        ..row(Group::Keys, "GET", "/api/agents/{name}/keys/{id}", "One key") };
    KEYS_DELETE = Route { access: Access::Scope(Scope::AgentsKeysWrite), action: Some(Action::Update),
        audit: Some("agent.key.delete"), page: KEYS_PAGE,
        ..row(Group::Keys, "DELETE", "/api/agents/{name}/keys/{id}", "Delete a key; its secret ends") };
    KEYS_ROTATE = Route { access: Access::Scope(Scope::AgentsKeysWrite), action: Some(Action::Update),
        is_idempotent: true, audit: Some("agent.key.rotate"), page: KEYS_PAGE,
        ..row(Group::Keys, "POST", "/api/agents/{name}/keys/{id}/rotate", "Give a key a new secret") };
    KEY_GRANTS_LIST = Route { access: Access::Scope(Scope::AgentsKeysRead), action: Some(Action::Update),
        query: Query::Only(&["cursor", "limit"]), page: KEYS_PAGE,
        ..row(Group::Sharing, "GET", "/api/agents/{name}/keys/{id}/grants", "Who may read or edit the key") };
    KEY_GRANTS_GIVE = Route { access: Access::Scope(Scope::AgentsKeysWrite), action: Some(Action::Update), is_idempotent: true,
        audit: Some("agent.key.share"), page: KEYS_PAGE,
        ..row(Group::Sharing, "POST", "/api/agents/{name}/keys/{id}/grants", "Let a user or an agent read or edit the key") };
    KEY_GRANTS_TAKE = Route { access: Access::Scope(Scope::AgentsKeysWrite), action: Some(Action::Update),
        audit: Some("agent.key.unshare"), query: Query::Only(&["subject", "relation"]), page: KEYS_PAGE,
        ..row(Group::Sharing, "DELETE", "/api/agents/{name}/keys/{id}/grants", "Take a grant of the key away") };

    GRANTS_LIST = Route { access: Access::Scope(Scope::AgentsShare), action: Some(Action::Share),
        query: Query::Only(&["cursor", "limit"]), page: SHARING_PAGE,
        ..row(Group::Sharing, "GET", "/api/agents/{name}/grants", "Who may read or edit the agent") };
    GRANTS_GIVE = Route { access: Access::Scope(Scope::AgentsShare), action: Some(Action::Share), is_idempotent: true,
        audit: Some("agent.share"), page: SHARING_PAGE,
        ..row(Group::Sharing, "POST", "/api/agents/{name}/grants", "Let a user or an agent read or edit the agent") };
    GRANTS_TAKE = Route { access: Access::Scope(Scope::AgentsShare), action: Some(Action::Share),
        audit: Some("agent.unshare"), query: Query::Only(&["subject", "relation"]), page: SHARING_PAGE,
        ..row(Group::Sharing, "DELETE", "/api/agents/{name}/grants", "Take a grant away") };
    EXPLAIN = Route { access: Access::Scope(Scope::AgentsRead), action: Some(Action::Read),
        query: Query::Only(&["subject", "action"]), page: SHARING_PAGE,
        ..row(Group::Sharing, "GET", "/api/agents/{name}/explain", "Why somebody may do something with the agent, or not") };

    ACCESS_ASK = Route { for_agents: true, is_idempotent: true, audit: Some("access.request"), page: ACCESS_PAGE,
        ..row(Group::Access, "POST", "/api/access-requests", "Ask for a scope that I, an agent, lack") };
    ACCESS_LIST = Route { query: Query::Only(&["state", "agent", "cursor", "limit"]), page: ACCESS_PAGE,
        ..row(Group::Access, "GET", "/api/access-requests", "What agents ask for: mine, or those that I decide about") };
    ACCESS_GET = Route { action: Some(Action::Share), page: ACCESS_PAGE,
        ..row(Group::Access, "GET", "/api/access-requests/{id}", "One request, and what became of it") };
    ACCESS_APPROVE = Route { for_people: true, session_only: true, action: Some(Action::Share), is_idempotent: true,
        audit: Some("access.approve"), page: ACCESS_PAGE,
        ..row(Group::Access, "POST", "/api/access-requests/{id}/approve", "Let an agent use what it asked for, for some hours") };
    ACCESS_DENY = Route { for_people: true, session_only: true, action: Some(Action::Share), is_idempotent: true,
        audit: Some("access.deny"), page: ACCESS_PAGE,
        ..row(Group::Access, "POST", "/api/access-requests/{id}/deny", "Refuse what an agent asked for") };
    ACCESS_REVOKE = Route { for_people: true, session_only: true, action: Some(Action::Share), audit: Some("access.revoke"), page: ACCESS_PAGE,
        ..row(Group::Access, "POST", "/api/access-requests/{id}/revoke", "Take back what was approved") };

    PRESETS_LIST = Route { page: PRESETS_PAGE,
        ..row(Group::Scopes, "GET", "/api/presets", "What classes of agents need, in the newest versions") };
    PRESET_PUT = Route { access: Access::Scope(Scope::PresetsWrite), for_people: true, audit: Some("preset.put"), page: PRESETS_PAGE,
        ..row(Group::Scopes, "PUT", "/api/presets/{name}", "Say what a class of agents needs: a new version") };
    PRESET_DRIFT = Route { access: Access::Scope(Scope::AgentsList), query: Query::Only(&["cursor", "limit"]), page: PRESETS_PAGE,
        ..row(Group::Scopes, "GET", "/api/presets/{name}/drift", "The agents of a preset that lack something of its newest version") };

    NOTIFY = Route { access: Access::Scope(Scope::UiNotify), for_agents: true, is_idempotent: true, page: NOTIFY_PAGE,
        ..row(Group::Tell, "POST", "/api/ui/notify", "Tell my owner something") };
    NOTIFICATIONS_LIST = Route { access: Access::Scope(Scope::NotificationsRead), for_people: true,
        query: Query::Only(&["unread_only", "since", "cursor", "limit"]), page: NOTIFY_PAGE,
        ..row(Group::Inbox, "GET", "/api/notifications", "My notifications") };
    NOTIFICATIONS_COUNT = Route { access: Access::Scope(Scope::NotificationsRead), for_people: true, page: NOTIFY_PAGE,
        ..row(Group::Inbox, "GET", "/api/notifications/count", "How many notifications I have") };
    NOTIFICATION_READ = Route { access: Access::Scope(Scope::NotificationsWrite), for_people: true, page: NOTIFY_PAGE,
        ..row(Group::Inbox, "POST", "/api/notifications/{id}/read", "Mark a notification as read") };
    NOTIFICATIONS_READ_ALL = Route { access: Access::Scope(Scope::NotificationsWrite), for_people: true, page: NOTIFY_PAGE,
        ..row(Group::Inbox, "POST", "/api/notifications/read-all", "Mark all my notifications as read") };
    NOTIFICATION_DELETE = Route { access: Access::Scope(Scope::NotificationsWrite), for_people: true, page: NOTIFY_PAGE,
        ..row(Group::Inbox, "DELETE", "/api/notifications/{id}", "Delete a notification") };
    INBOX = Route { for_agents: true, while_halted: true, query: Query::Only(&["after", "wait", "limit"]), page: INBOX_PAGE,
        ..row(Group::Inbox, "GET", "/api/agents/me/inbox", "What I, an agent, was told") };
    INBOX_ACK = Route { for_agents: true, page: INBOX_PAGE,
        ..row(Group::Inbox, "POST", "/api/agents/me/inbox/ack", "Forget what I have dealt with") };
    MESSAGE = Route { access: Access::Scope(Scope::AgentsMessage), action: Some(Action::Read), is_idempotent: true,
        audit: Some("agent.message"), page: INBOX_PAGE,
        ..row(Group::Inbox, "POST", "/api/agents/{name}/messages", "Put a message into an agent's inbox") };
    MAIL_TEST = Route { session_only: true, for_people: true, is_idempotent: true, audit: Some("mail.test"), page: MAIL_PAGE,
        ..row(Group::Notify, "POST", "/api/mail/test", "Send a mail to my own address") };
    MAIL_OUTBOX = Route { access: Access::Scope(Scope::AuditReadAll), for_people: true,
        query: Query::Only(&["state", "cursor", "limit"]), page: MAIL_PAGE,
        ..row(Group::Notify, "GET", "/api/mail/outbox", "The tenant's mails: due, sent and dead") };
    MAIL_RETRY = Route { access: Access::Scope(Scope::AuditReadAll), for_people: true, session_only: true,
        is_idempotent: true, audit: Some("mail.retry"), page: MAIL_PAGE,
        ..row(Group::Notify, "POST", "/api/mail/outbox/{id}/retry", "Make a dead mail due again") };
    TICK = Route { access: Access::Public, query: Query::Any,
        page: WELL_PAGE,
        ..row(Group::Notify, "POST", "/internal/tick", "Housekeeping; leased to once a second") };

    CLI_INSTALL = Route { access: Access::Public, page: CLI_PAGE,
        ..row(Group::Artifacts, "GET", "/cli/install.sh", "The script that installs the CLI") };
    CLI_MANIFEST = Route { access: Access::Public, page: CLI_PAGE,
        ..row(Group::Artifacts, "GET", "/cli/manifest.json", "The CLI's version and files, with size and SHA-256") };
    CLI_LATEST = Route { access: Access::Public, page: CLI_PAGE,
        ..row(Group::Artifacts, "GET", "/cli/latest", "The CLI's version") };
    CLI_DOWNLOAD = Route { access: Access::Public, query: Query::Only(&["os", "arch"]), page: CLI_PAGE,
        ..row(Group::Artifacts, "GET", "/cli/download", "The CLI's program for a platform") };
    CLI_WHEEL = Route { access: Access::Public, page: CLI_PAGE,
        ..row(Group::Artifacts, "GET", "/cli/wheel/{file}", "The CLI as a Python wheel") };

    API_INDEX = Route { access: Access::Public, query: Query::Any,
        ..row(Group::Docs, "GET", "/api", "Every route, with its scope and page") };
    HOME = Route { access: Access::Public, query: Query::Any,
        ..row(Group::Docs, "GET", "/", "Where to begin") };
    DOCS_INDEX = Route { access: Access::Public, query: Query::Any,
        ..row(Group::Docs, "GET", "/docs", "The documentation's table of contents") };
    DOCS_INDEX_SLASH = Route { access: Access::Public, query: Query::Any,
        ..row(Group::Docs, "GET", "/docs/", "The documentation's table of contents") };
    DOCS_PAGE = Route { access: Access::Public, query: Query::Any,
        ..row(Group::Docs, "GET", "/docs/{*page}", "A page of the documentation") };
    HEALTHZ = Route { access: Access::Public, query: Query::Any,
        page: WELL_PAGE,
        ..row(Group::Health, "GET", "/healthz", "Is the process alive?") };
    READYZ = Route { access: Access::Public, query: Query::Any,
        page: WELL_PAGE,
        ..row(Group::Health, "GET", "/readyz", "Does the database answer, and is the server bootstrapped?") };
}

impl Route {
    /// Whether the method only reads.
    pub fn is_safe(&self) -> bool {
        self.method == "GET" || self.changes_nothing
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
            // Hot writes of one statement, whose row speaks for itself; and the tick, which writes rows of others.
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
            assert!(!(route.for_people && route.for_agents), "{name}");
            if let Access::Scope(scope) = route.access {
                assert!(!scope.is_for_people() || route.for_people, "{name}");
            }
            assert!(!route.session_only || route.for_people, "{name}");
            assert!(route.access != Access::Public || !route.is_idempotent, "{name}");
            assert!(route.page.starts_with("/docs/agents/"), "{name}");
        }
    }
}
