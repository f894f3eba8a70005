//! The table of routes: a row for each, which says what it asks of its callers.

use Action::{Delete, Read, Share, Update};
use Scope::*;

use super::{Field, Group, Route, Senders, delete, get, patch, post, put};
use crate::{permission::Action, scope::Scope};

/// A field that only people may send.
const fn people_field(name: &'static str) -> Field {
    Field { name, action: Update, senders: Senders::People, scope: None }
}

/// A field that says who else may act on the agent. A new owner ends its credentials, its grants and its approvals, and a new parent
/// may do with it what an owner may: so it takes what sharing takes.
const fn place(name: &'static str) -> Field {
    Field { name, action: Share, senders: Senders::People, scope: Some(AgentsShare) }
}

/// A field that bounds what an agent may do. A wider ceiling takes no scope of its own: nobody gives more than they carry.
const fn bound(name: &'static str) -> Field {
    Field { name, action: Update, senders: Senders::PeopleAndAgentsAbove, scope: None }
}

/// The bounds of an agent.
const BOUNDS: &[Field] = &[
    bound("scope"),
    bound("preset"),
    bound("tier"),
    bound("max_concurrent_tasks"),
    bound("budget_cents"),
    bound("silent_after_minutes"),
];

/// The bounds of an agent, and what only people may change of it.
const BOUNDS_AND_PLACE: &[Field] = &[
    bound("scope"),
    bound("preset"),
    bound("tier"),
    bound("max_concurrent_tasks"),
    bound("budget_cents"),
    bound("silent_after_minutes"),
    people_field("spent_cents"),
    place("owner"),
    place("parent"),
];

macro_rules! routes {
    ($($group:ident { $($name:ident = $route:expr;)* })*) => {
        // Rows and table are statics: of constants each crate that uses them has a copy, and all of these are in every component.
        $($(
            #[doc = "A row of the table."]
            pub const $name: &Route = {
                static ROW: Route = $route.group(Group::$group).named(stringify!($name));
                &ROW
            };
        )*)*

        /// The table.
        pub static ROUTES: &[&Route] = &[$($($name,)*)*];
    };
}

routes! {
    Auth {
        WHOAMI = get("/api/auth/whoami", "Who the caller is, and what it can use").while_halted().before_factor().page("concepts/credentials");
        CAN = get("/api/auth/can", "Whether the caller may do something").while_halted().query(&["action", "object"]).page("concepts/sharing");
        DOCTOR = get("/api/auth/doctor", "Diagnosis of the credential, with fixes").while_halted().query(&["expect"]).page("concepts/doctor");
        INTROSPECT = post("/auth/introspect", "Introspect a token (RFC 7662)").scope(TokensIntrospect).form().changes_nothing().page("concepts/introspection");
        VERIFY = get("/auth/verify", "Verify, for a proxy, that the sender of a request may use a service (forward auth)").for_proxies().query(&["scope", "resource", "tenant"]).page("concepts/guard");
        VERIFY_BELOW = get("/auth/verify/{scope}/{*path}", "The same for a proxy that puts a path before the path of the request").for_proxies().any_query().page("concepts/guard#envoy");
        EPOCHS = get("/auth/epochs", "What has ended or was narrowed since an epoch, for guards").scope(TokensIntrospect).query(&["after", "wait", "limit", "guard", "lease"]).page("concepts/guard#epochs");
        CLOSURE_GET = get("/api/closures/{id}", "Get a closure: what has ended, and when").query(&["wait"]).page("concepts/closures");
        API_INDEX = get("/api", "Every route with its scope and page; with for=me, the routes that the caller can use").public().query(&["for", "group"]);
        HEALTHZ = get("/healthz", "Liveness: whether the process answers").public().any_query().page("#is-the-server-well");
        READYZ = get("/readyz", "Readiness: whether the database answers and the server is bootstrapped").public().any_query().page("#is-the-server-well");
    }

    Signin {
        BOOTSTRAP = post("/auth/bootstrap", "Create the first tenant and its admin, once").public().secrets(&["secret"]).audited("tenant.bootstrap").page("concepts/people");
        SIGN_IN = post("/auth/token", "Sign in with a password").public().secrets(&["password", "code"]).audited("session.start").page("concepts/credentials");
        PASSWORD_CHANGE = post("/auth/password", "Change the caller's own password").for_sessions().secrets(&["current"]).idempotent().may_narrow().may_close().audited("user.change_password").page("concepts/people");
        FACTOR = get("/auth/factor", "The caller's second factor").for_sessions().before_factor().page("concepts/second-factor");
        FACTOR_BEGIN = post("/auth/factor", "Begin to set up a second factor").fresh().before_factor().audited("factor.begin").page("concepts/second-factor");
        FACTOR_CONFIRM = post("/auth/factor/confirm", "Confirm a second factor with its first code").for_sessions().before_factor().secrets(&["code"]).may_close().audited("factor.confirm").page("concepts/second-factor");
        FACTOR_REMOVE = delete("/auth/factor", "Remove the caller's second factor").fresh().audited("factor.remove").page("concepts/second-factor");
        FACTOR_CODES = post("/auth/factor/recovery-codes", "Replace the caller's recovery codes").fresh().audited("factor.recovery_codes").page("concepts/second-factor");
        FACTOR_VERIFY = post("/auth/factor/verify", "Finish a sign-in with a code of the second factor").public().secrets(&["ticket", "code"]).audited("session.start").page("concepts/second-factor");
        REAUTHENTICATE = post("/auth/reauthenticate", "Prove again who the person behind the session is").for_sessions().before_factor().enters().secrets(&["password", "code"]).audited("session.prove").page("concepts/second-factor");
        NAME_CHANGE = post("/auth/name", "Change the caller's own name").for_sessions().audited("user.change_name").page("concepts/people#your-own-address");
        EMAIL = get("/auth/email", "The caller's name and address, and the address that waits to be confirmed").for_sessions().page("concepts/people#your-own-address");
        EMAIL_ASK = post("/auth/email", "Ask for a mail to another address, to make it the caller's own").fresh().audited("user.ask_email").page("concepts/people#your-own-address");
        EMAIL_WITHDRAW = delete("/auth/email", "Withdraw the address that waits to be confirmed").for_sessions().revokes().audited("user.withdraw_email").page("concepts/people#your-own-address");
        EMAIL_CONFIRM = post("/auth/email/confirm", "Make another address the caller's own, with the code that was mailed there").for_sessions().secrets(&["code"]).may_close().audited("user.change_email").page("concepts/people#your-own-address");
        CODE_LOOK = post("/auth/code", "What the code of a link opens, without spending it").public().secrets(&["code"]).changes_nothing().page("concepts/people#codes-of-links");
        LINK_ASK = post("/auth/email/link", "Ask for a mail with a link to sign in").public().audited("session.link").page("concepts/people#a-link-by-mail");
        LINK_SIGN_IN = post("/auth/email/token", "Sign in with the code of a mailed link").public().secrets(&["code"]).audited("session.start").page("concepts/people#a-link-by-mail");
        FORGOT = post("/auth/forgot", "Ask for a mail with a link to set a forgotten password").public().audited("user.forgot_password").page("concepts/people#a-forgotten-password");
        RESET = post("/auth/reset", "Set a new password with the code of a link").public().secrets(&["code"]).audited("user.reset_password").page("concepts/people#a-forgotten-password");
        INVITE_ACCEPT = post("/auth/invite", "Set the first password with the code of an invitation").public().secrets(&["code"]).audited("user.accept_invite").page("concepts/people#invitations");
        OPERATOR_RECOVER = post("/operator/recover", "Make an admin of a tenant whose last one cannot get in").public().secrets(&["secret"]).audited("operator.recover").page("concepts/people#when-no-admin-can-get-in");
        TENANT_CREATE = post("/operator/tenants", "Create a further tenant and its admin").public().secrets(&["secret"]).audited("tenant.create").page("concepts/people");
        OPERATOR_REVOKE = post("/operator/revoke", "Revoke everything that was issued before a given time, after a backup was restored").public().secrets(&["secret"]).revokes().audited("operator.revoke").page("concepts/credentials#after-a-backup-was-restored");
        PASSWORD_SET = post("/api/users/{id}/set-password", "Set a user's password").scope(UsersWrite).fresh().idempotent().may_narrow().may_close().audited("user.set_password").page("concepts/people");
    }

    Tokens {
        LOGOUT = post("/auth/logout", "End the current session").for_sessions().before_factor().closes().audited("session.end").page("concepts/credentials");
        SESSIONS_LIST = get("/auth/sessions", "List the caller's sessions").for_sessions().query(&["cursor", "limit"]).page("concepts/credentials");
        SESSIONS_END_OTHERS = delete("/auth/sessions", "End all other sessions of the caller").for_sessions().closes().audited("session.end_others").page("concepts/credentials");
        SESSION_END = delete("/auth/sessions/{id}", "End one of the caller's sessions").for_sessions().closes().audited("session.end").page("concepts/credentials");
        PATS_CREATE = post("/auth/tokens", "Create a personal access token").for_sessions().idempotent().audited("token.create").page("concepts/pats");
        PATS_LIST = get("/auth/tokens", "List the caller's personal access tokens").scope(TokensRead).for_people().query(&["q", "kind", "sort", "status", "cursor", "limit"]).page("concepts/pats");
        PATS_GET = get("/auth/tokens/{id}", "Get one of the caller's personal access tokens").scope(TokensRead).for_people().own_needs_no_scope().page("concepts/pats");
        PATS_ROTATE = post("/auth/tokens/{id}/rotate", "Rotate a personal access token").for_people().idempotent().may_close().audited("token.rotate").page("concepts/pats");
        PATS_REVOKE = delete("/auth/tokens/{id}", "Revoke a personal access token").scope(TokensWrite).for_people().own_needs_no_scope().closes().audited("token.revoke").page("concepts/pats");
        OWN_END = delete("/auth/tokens/me", "End the credential that is sent").while_halted().before_factor().closes().audited("token.revoke").page("concepts/credentials#revocation");
        TOKENS_LIST = get("/auth/admin/tokens", "List every credential of the tenant").scope(TokensAdmin).for_people().query(&["user", "q", "kind", "status", "minted_with", "minted_by", "unused_since", "sort", "cursor", "limit"]).page("concepts/pats");
        TOKENS_REVOKE = delete("/auth/admin/tokens/{id}", "Revoke any credential of the tenant").scope(TokensAdmin).for_people().closes().audited("token.revoke").page("concepts/pats");
        DEVICE_CODE = post("/auth/device/code", "Ask to sign a device in (RFC 8628)").public().form().any_query().page("concepts/device");
        DEVICE_TOKEN = post("/auth/device/token", "Get the token of a device that a person approved (RFC 8628)").public().form().any_query().audited("token.create").page("concepts/device");
        DEVICE_GET = get("/auth/device/{id}", "Get the device that waits with this user code").for_sessions().page("concepts/device");
        DEVICE_APPROVE = post("/auth/device/{id}/approve", "Sign a device in: give it a token, or a session of ten minutes").for_sessions().audited("device.approve").page("concepts/device");
        DEVICE_DENY = post("/auth/device/{id}/deny", "Deny a device").for_sessions().revokes().audited("device.deny").page("concepts/device");
        PROOFS = post("/internal/proofs", "Verify the signature of a proof of a key").public().page("concepts/dpop");
        OAUTH_TOKEN = post("/oauth/token", "Get a token by a grant of OAuth").public().form().any_query().for_browsers().audited("token.create").page("concepts/oauth");
        OAUTH_METADATA = get("/.well-known/oauth-authorization-server", "What the authorization server supports (RFC 8414)").public().any_query().for_browsers().page("concepts/oauth");
        OAUTH_METADATA_ALIAS = get("/.well-known/openid-configuration", "The same document, where some clients look first").public().any_query().for_browsers().page("concepts/oauth");
        OAUTH_JWKS = get("/oauth/jwks", "The public keys of signed tokens (RFC 7517)").public().any_query().for_browsers().page("concepts/oauth#keys");
        CLOSURE_RECEIPT = get("/api/closures/{id}/receipt", "Get the receipt of a closure: signed, for those who do not ask this server").for_people().page("concepts/receipts");
        OAUTH_REGISTER = post("/oauth/register", "Register a program on a person's device as a client (RFC 7591)").public().any_query().for_browsers().changes_nothing().page("concepts/oauth-clients#dynamic-registration");
        OAUTH_REVOKE = post("/oauth/revoke", "Revoke a token of an app (RFC 7009)").public().form().any_query().for_browsers().revokes().audited("oauth.revoke").page("concepts/oauth-clients#revoking");
        CLIENTS_LIST = get("/api/oauth/clients", "List the tenant's OAuth clients").scope(ScopesWrite).for_people().query(&["q", "sort", "cursor", "limit"]).page("concepts/oauth-clients#registering");
        CLIENTS_CREATE = post("/api/oauth/clients", "Register an OAuth client").scope(ScopesWrite).for_people().idempotent().audited("oauth.client.create").page("concepts/oauth-clients#registering");
        CLIENTS_GET = get("/api/oauth/clients/{id}", "Get an OAuth client").scope(ScopesWrite).for_people().page("concepts/oauth-clients#registering");
        CLIENTS_PATCH = patch("/api/oauth/clients/{id}", "Change an OAuth client").scope(ScopesWrite).for_people().audited("oauth.client.update").page("concepts/oauth-clients#registering");
        CLIENTS_DELETE = delete("/api/oauth/clients/{id}", "Delete an OAuth client, and end all that it was given").scope(ScopesWrite).for_people().closes().audited("oauth.client.delete").page("concepts/oauth-clients#registering");
        CLIENTS_ROTATE = post("/api/oauth/clients/{id}/rotate", "Replace the secret of an OAuth client").scope(ScopesWrite).for_people().idempotent().audited("oauth.client.rotate").page("concepts/oauth-clients#registering");
        AUTHORIZATION = get("/api/oauth/authorize", "What an app asks of the caller, for the page that decides").for_sessions().query(&["request"]).page("concepts/oauth-clients#asking");
        AUTHORIZE = post("/api/oauth/authorize", "Let an app in").for_sessions().audited("oauth.allow").page("concepts/oauth-clients#asking");
        AUTHORIZE_DENY = post("/api/oauth/authorize/deny", "Do not let an app in").for_sessions().audited("oauth.deny").page("concepts/oauth-clients#asking");
        APPS_LIST = get("/auth/apps", "List the apps that the caller let in").scope(TokensRead).for_people().query(&["cursor", "limit"]).page("concepts/oauth-clients#what-a-person-sees");
        APPS_END = delete("/auth/apps/{id}", "End what an app was given").scope(TokensWrite).for_people().closes().audited("oauth.revoke").page("concepts/oauth-clients#what-a-person-sees");
        FEDERATED_CREDENTIALS_LIST = get("/api/agents/{name}/federated-credentials", "List the workloads that an agent trusts").scope(AgentsKeysRead).on_agent(Read).query(&["cursor", "limit"]).page("concepts/workload-identity");
        FEDERATED_CREDENTIALS_CREATE = post("/api/agents/{name}/federated-credentials", "Let workloads of an issuer get credentials of the agent without a secret").scope(AgentsKeysWrite).for_people().on_agent(Share).idempotent().audited("agent.federated_credential.create").page("concepts/workload-identity#trusting");
        FEDERATED_CREDENTIALS_GET = get("/api/agents/{name}/federated-credentials/{id}", "Get a federated credential").scope(AgentsKeysRead).on_agent(Read).page("concepts/workload-identity");
        FEDERATED_CREDENTIALS_DELETE = delete("/api/agents/{name}/federated-credentials/{id}", "Delete a federated credential, and end the credentials that it has given").scope(AgentsKeysWrite).on_agent(Update).closes().audited("agent.federated_credential.delete").page("concepts/workload-identity#ending");
        LEAKS = post("/auth/leaks", "Report a leaked credential, which revokes it").public().secrets(&["token"]).revokes().audited("token.leaked").page("concepts/credentials");
    }

    Oidc {
        OIDC_LIST = get("/auth/oidc", "List the providers through which people can sign in").public().page("concepts/providers");
        OIDC_START = post("/auth/oidc/{provider}/start", "Begin to sign in through a provider").public().changes_nothing().page("concepts/providers#the-steps");
        OIDC_LINK = post("/auth/oidc/{provider}/link", "Begin to link an identity at a provider to the caller's account").fresh().audited("identity.link").page("concepts/providers#linking");
        OIDC_FINISH = post("/auth/oidc/{provider}/finish", "Finish what was begun at a provider: a sign-in, or a link").public().audited("session.start").page("concepts/providers#the-steps");
        IDENTITIES_LIST = get("/auth/identities", "List the caller's linked identities").for_sessions().page("concepts/providers#linking");
        IDENTITY_UNLINK = delete("/auth/identities/{id}", "Unlink one of the caller's identities").fresh().closes().audited("identity.unlink").page("concepts/providers#linking");
    }

    Tenant {
        USERS_LIST = get("/api/users", "List the tenant's users").scope(UsersRead).for_people().query(&["q", "role", "active", "state", "sort", "cursor", "limit"]).page("concepts/people");
        USERS_CREATE = post("/api/users", "Create a user").scope(UsersWrite).for_sessions().idempotent().audited("user.create").page("concepts/people");
        USERS_GET = get("/api/users/{id}", "Get a user").scope(UsersRead).for_people().page("concepts/people");
        USERS_PATCH = patch("/api/users/{id}", "Change a user's name, role or address").scope(UsersWrite).for_sessions().may_narrow().may_close().audited("user.update").page("concepts/people");
        USERS_DELETE = delete("/api/users/{id}", "Delete a user, and transfer or archive the user's agents").scope(UsersWrite).for_sessions().closes().audited("user.delete").query(&["agents"]).page("concepts/people");
        USERS_ACTIVATE = post("/api/users/{id}/activate", "Activate an account").scope(UsersWrite).for_sessions().idempotent().audited("user.activate").page("concepts/people");
        USER_INVITE = post("/api/users/{id}/invite", "Make a link by which a user sets the first password, or mail it to them").scope(UsersWrite).fresh().audited("user.invite").page("concepts/people#invitations");
        USER_RESET_LINK = post("/api/users/{id}/reset-password", "Make a link by which a user sets a new password").scope(UsersWrite).fresh().audited("user.reset_link").page("concepts/people#a-forgotten-password");
        USERS_DEACTIVATE = post("/api/users/{id}/deactivate", "Deactivate an account, with all its credentials").scope(UsersWrite).for_sessions().idempotent().closes().audited("user.deactivate").page("concepts/people");
        USERS_FACTOR = delete("/api/users/{id}/factor", "Remove a user's second factor").scope(UsersWrite).fresh().audited("user.remove_factor").page("concepts/second-factor");
        USERS_IDENTITIES_LIST = get("/api/users/{id}/identities", "List the linked identities of a user").scope(UsersRead).for_people().page("concepts/providers#linking");
        USERS_IDENTITIES = delete("/api/users/{id}/identities", "Unlink all sign-ins of a user at providers").scope(UsersWrite).fresh().revokes().audited("user.unlink").page("concepts/providers#linking");
        USERS_SESSIONS_LIST = get("/api/users/{id}/sessions", "List the sessions of a user").scope(TokensAdmin).for_people().query(&["cursor", "limit"]).page("concepts/pats#for-admins");
        USERS_END_SESSION = delete("/api/users/{id}/sessions/{session}", "End one session of a user").scope(TokensAdmin).for_people().closes().audited("user.end_session").page("concepts/pats#for-admins");
        USERS_END_SESSIONS = delete("/api/users/{id}/sessions", "End all sessions of a user").scope(TokensAdmin).for_people().closes().audited("user.end_sessions").page("concepts/pats#for-admins");
        TENANT = get("/api/tenant", "The tenant's name and settings").for_people().before_factor().page("concepts/tenant");
        TENANT_PATCH = patch("/api/tenant", "Change the tenant's name and settings").scope(UsersWrite).fresh().audited("tenant.update").page("concepts/tenant");
        WAYS = get("/auth/ways", "The ways to sign in that the usual tenant allows").public().page("concepts/tenant");
        USAGE = get("/api/usage", "What the tenant and its users store, and their quotas").scope(UsersRead).for_people().page("concepts/quotas");
        AUDIT_LIST = get("/api/audit", "List audit rows of the agents that the caller may read, or of the whole tenant").scope(AuditRead).query(&["actor", "action", "object", "credential", "request", "outcome", "since", "until", "cursor", "limit"]).page("concepts/audit");
        AUDIT_EXPORT = get("/api/audit/export", "Export audit rows, one JSON object per line or as CSV").scope(AuditRead).audited("audit.export").query(&["actor", "action", "object", "credential", "request", "outcome", "since", "until", "format"]).page("concepts/audit");
        AUDIT_VERIFY = get("/api/audit/verify", "Verify that the audit trail is as it was sealed").scope(AuditReadAll).for_people().query(&["head", "from"]).page("concepts/audit");
        SCOPES = get("/api/scopes", "List every scope with its routes").public().page("concepts/permissions");
        SCOPES_CUSTOM = get("/api/scopes/custom", "List the tenant's custom scopes").page("concepts/permissions");
        SCOPES_DEFINE = post("/api/scopes/custom", "Define a custom scope").scope(ScopesWrite).for_people().idempotent().audited("scope.define").page("concepts/permissions");
        RESOURCES_LIST = get("/api/resources", "List services that take signed tokens").query(&["q", "sort", "cursor", "limit"]).page("concepts/resources");
        RESOURCES_GET = get("/api/resources/{id}", "Get a service that takes signed tokens").page("concepts/resources");
        RESOURCES_CREATE = post("/api/resources", "Register a service that takes signed tokens").scope(ScopesWrite).for_people().idempotent().audited("resource.create").page("concepts/resources#registering");
        RESOURCES_PATCH = patch("/api/resources/{id}", "Change a service that takes signed tokens").scope(ScopesWrite).for_people().may_narrow().may_close().audited("resource.update").page("concepts/resources#registering");
        RESOURCES_DELETE = delete("/api/resources/{id}", "Delete a service that takes signed tokens, and end its tokens").scope(ScopesWrite).for_people().closes().audited("resource.delete").page("concepts/resources#registering");
        GUIDES_LIST = get("/api/guides", "List or search guides").scope(GuidesRead).query(&["q", "source", "cursor", "limit"]).page("concepts/guides");
        GUIDES_GET = get("/api/guides/{source}/{name}", "Read a guide").scope(GuidesRead).page("concepts/guides");
        GUIDES_PROMPT = get("/api/guides/prompt", "Get a prompt made of the guides").scope(GuidesRead).query(&["budget"]).page("concepts/guides#the-prompt");
        GUIDES_PUT = put("/api/guides/{source}", "Replace the guides of a source").scope(GuidesWrite).audited("guide.put").page("concepts/guides");
        GUIDES_DELETE = delete("/api/guides/{source}", "Delete the guides of a source").scope(GuidesWrite).audited("guide.delete").page("concepts/guides");
        SCOPES_REMOVE = delete("/api/scopes/custom", "Delete a custom scope").scope(ScopesWrite).for_people().closes().audited("scope.remove").query(&["name"]).page("concepts/permissions");
    }

    Agents {
        AGENTS_LIST = get("/api/agents", "List the agents that the caller may read").scope(AgentsList).query(&["q", "state", "owner", "parent", "has_token", "sort", "cursor", "limit"]).page("concepts/agents");
        OVERVIEW = get("/api/overview", "What a person sees first: agents counted, requests that wait, what happened lately").for_people().query(&["parts"]).page("concepts/overview");
        AGENTS_CREATE = post("/api/agents", "Register an agent and issue its token").scope(AgentsCreate).idempotent().audited("agent.create").page("concepts/agents");
        AGENTS_GET = get("/api/agents/{name}", "Get an agent").scope(AgentsRead).on_agent(Read).page("concepts/agents");
        AGENTS_PATCH = patch("/api/agents/{name}", "Change an agent").scope(AgentsUpdate).on_agent(Update).fields(BOUNDS_AND_PLACE).may_narrow().may_close().audited("agent.update").page("concepts/agents");
        AGENTS_PUT = put("/api/agents/{name}", "Replace all settings of an agent").scope(AgentsUpdate).on_agent(Update).fields(BOUNDS).may_narrow().may_close().audited("agent.update").page("concepts/agents");
        AGENTS_DELETE = delete("/api/agents/{name}", "Archive an agent and all agents below it, and revoke their credentials").scope(AgentsDelete).on_agent(Delete).closes().audited("agent.archive").query(&["confirm"]).page("concepts/agents");
        ARCHIVED_LIST = get("/api/agents/archived", "List the archived agents that the caller may restore").scope(AgentsDelete).query(&["q", "owner", "sort", "cursor", "limit"]).page("concepts/agents");
        ARCHIVED_RESTORE = post("/api/agents/archived/{id}/restore", "Restore an archived agent, stopped and without credentials").scope(AgentsDelete).idempotent().audited("agent.restore").page("concepts/agents");
        ARCHIVED_PURGE = delete("/api/agents/archived/{id}", "Purge an archived agent permanently").scope(AgentsDelete).for_people().revokes().audited("agent.purge").page("concepts/agents");
        AGENTS_EXPORT = get("/api/agents/{name}/export", "Export an agent and those below it").scope(AgentsRead).on_agent(Read).page("concepts/tree#export-and-import");
        AGENTS_IMPORT = post("/api/agents/import", "Import exported agents, all or none").scope(AgentsCreate).up_to(1024 * 1024).idempotent().audited("agent.import").page("concepts/tree#export-and-import");
        AGENT_START = post("/api/agents/{name}/start", "Start a stopped agent").scope(AgentsLifecycle).on_agent_state(Update).idempotent().audited("agent.start").page("concepts/lifecycle");
        AGENT_STOP = post("/api/agents/{name}/stop", "Stop an agent and all agents below it").scope(AgentsLifecycle).on_agent_state(Update).idempotent().closes().audited("agent.stop").page("concepts/lifecycle");
        AGENT_PAUSE = post("/api/agents/{name}/pause", "Pause an agent and all agents below it").scope(AgentsLifecycle).on_agent_state(Update).idempotent().closes().audited("agent.pause").page("concepts/lifecycle");
        AGENT_RESUME = post("/api/agents/{name}/resume", "Resume a paused agent").scope(AgentsLifecycle).on_agent_state(Update).idempotent().audited("agent.resume").page("concepts/lifecycle");
        AGENT_RESTART = post("/api/agents/{name}/restart", "Restart an agent").scope(AgentsLifecycle).on_agent_state(Update).idempotent().audited("agent.restart").page("concepts/lifecycle");
        BULK_START = post("/api/agents/bulk/start", "Start several agents, each decided separately").scope(AgentsLifecycle).on_agent_state(Update).idempotent().audited("agent.start").page("concepts/lifecycle");
        BULK_STOP = post("/api/agents/bulk/stop", "Stop several agents").scope(AgentsLifecycle).on_agent_state(Update).idempotent().closes().audited("agent.stop").page("concepts/lifecycle");
        BULK_PAUSE = post("/api/agents/bulk/pause", "Pause several agents").scope(AgentsLifecycle).on_agent_state(Update).idempotent().closes().audited("agent.pause").page("concepts/lifecycle");
        BULK_RESUME = post("/api/agents/bulk/resume", "Resume several paused agents").scope(AgentsLifecycle).on_agent_state(Update).idempotent().audited("agent.resume").page("concepts/lifecycle");
        BULK_RESTART = post("/api/agents/bulk/restart", "Restart several agents").scope(AgentsLifecycle).on_agent_state(Update).idempotent().audited("agent.restart").page("concepts/lifecycle");
        STOP_ALL = post("/api/agents/stop-all", "Stop every agent of the tenant").scope(AgentsStopAll).for_people().idempotent().closes().audited("agent.stop_all").page("concepts/lifecycle");
        START_ALL = post("/api/agents/start-all", "Undo a stop of every agent").scope(AgentsStopAll).for_people().idempotent().audited("agent.start_all").page("concepts/lifecycle#stopping-all");
        DEPLOY = post("/api/agents/deploy", "Ask an agent's runtime to run it; register the agent first if there is none").scope(AgentsDeploy).on_agent(Update).idempotent().audited("agent.deploy").page("concepts/deployment");
        DEPLOY_STATUS = get("/api/agents/{name}/deploy-status", "Get an agent's last deployment").scope(AgentsRead).on_agent(Read).page("concepts/deployment#the-status");
        DEPLOY_FAILED = post("/api/agents/{name}/deploy-status", "Report a failed deployment").scope(AgentsDeploy).own_needs_no_scope().on_agent(Update).audited("agent.deploy.fail").page("concepts/deployment#the-status");
        HEARTBEAT = post("/api/agents/me/heartbeat", "Send a heartbeat, and get the own state").for_agents().while_halted().page("concepts/lifecycle");
        LOGS_READ = get("/api/agents/{name}/logs", "Read an agent's log").scope(AgentsLogs).on_agent(Read).query(&["lines", "since", "until", "level", "q", "after", "before"]).page("concepts/lifecycle");
        LOGS_APPEND = post("/api/agents/{name}/logs", "Append to the own log").scope(AgentsLogs).on_own_agent().page("concepts/lifecycle");
        KEY_GRANTS_LIST = get("/api/agents/{name}/keys/{id}/grants", "List the grants of a key").scope(AgentsKeysRead).on_key(Share).query(&["cursor", "limit"]).page("concepts/keys");
        KEY_GRANTS_GIVE = post("/api/agents/{name}/keys/{id}/grants", "Let a user or an agent read or edit a key").scope(AgentsKeysWrite).on_key(Share).idempotent().audited("agent.key.share").page("concepts/keys");
        KEY_GRANTS_TAKE = delete("/api/agents/{name}/keys/{id}/grants", "Delete a grant of a key").scope(AgentsKeysWrite).on_key(Share).closes().audited("agent.key.unshare").query(&["subject", "relation"]).page("concepts/keys");
        GRANTS_LIST = get("/api/agents/{name}/grants", "List the grants of an agent").scope(AgentsShare).on_agent(Share).query(&["cursor", "limit"]).page("concepts/sharing");
        GRANTS_GIVE = post("/api/agents/{name}/grants", "Let a user or an agent read or edit an agent").scope(AgentsShare).on_agent(Share).idempotent().audited("agent.share").page("concepts/sharing");
        GRANTS_TAKE = delete("/api/agents/{name}/grants", "Delete a grant of an agent").scope(AgentsShare).on_agent(Share).closes().audited("agent.unshare").query(&["subject", "relation"]).page("concepts/sharing");
        EXPLAIN = get("/api/agents/{name}/explain", "Who may do what with an agent, and why").scope(AgentsRead).on_agent(Read).query(&["subject", "action"]).page("concepts/sharing");
        ACCESS_ASK = post("/api/access-requests", "Ask for a scope that the agent lacks").for_agents().idempotent().audited("access.request").page("concepts/access");
        ACCESS_LIST = get("/api/access-requests", "List own access requests, or those to decide").query(&["q", "state", "agent", "owner", "sort", "cursor", "limit"]).page("concepts/access");
        ACCESS_GET = get("/api/access-requests/{id}", "Get an access request, or wait for its decision").on_access_request(Share).while_halted().query(&["wait"]).page("concepts/access");
        ACCESS_WITHDRAW = delete("/api/access-requests/{id}", "Withdraw an own open access request").for_agents().on_access_request(Share).revokes().audited("access.withdraw").page("concepts/access");
        ACCESS_APPROVE = post("/api/access-requests/{id}/approve", "Approve an access request: once, for some hours, or for good").for_sessions().on_access_request(Share).idempotent().audited("access.approve").page("concepts/access");
        ACCESS_DENY = post("/api/access-requests/{id}/deny", "Deny an access request").for_sessions().on_access_request(Share).idempotent().revokes().audited("access.deny").page("concepts/access");
        ACCESS_REVOKE = post("/api/access-requests/{id}/revoke", "Revoke an approval").for_sessions().on_access_request(Share).closes().audited("access.revoke").page("concepts/access");
        PRESETS_LIST = get("/api/presets", "List the presets").page("concepts/presets");
        PRESET_PUT = put("/api/presets/{name}", "Create a new version of a preset").scope(PresetsWrite).for_people().may_narrow().audited("preset.put").page("concepts/presets");
        PRESET_GET = get("/api/presets/{name}", "Get a preset with its versions").page("concepts/presets");
        PRESET_DELETE = delete("/api/presets/{name}", "Delete the tenant's versions of a preset that no agent has").scope(PresetsWrite).for_people().audited("preset.delete").page("concepts/presets");
        PRESET_DRIFT = get("/api/presets/{name}/drift", "List the agents that lag behind a preset").scope(AgentsList).query(&["cursor", "limit"]).page("concepts/presets");
    }

    Keys {
        TOKEN_ISSUE = post("/api/agents/{name}/token/issue", "Issue the agent's token, and end the one before").scope(AgentsTokenIssue).own_needs_no_scope().on_agent(Update).idempotent().may_close().audited("agent.token.issue").page("concepts/credentials");
        TOKEN_REVOKE = delete("/api/agents/{name}/token", "Revoke the agent's token").scope(AgentsTokenRevoke).on_agent(Update).closes().audited("agent.token.revoke").page("concepts/credentials");
        ENROLMENT_CREATE = post("/api/agents/{name}/enrolment", "Make a one-time code that a runtime trades for the agent's token").scope(AgentsTokenIssue).on_agent(Update).idempotent().audited("agent.enrolment.create").page("concepts/enrolment");
        ENROLMENT_REVOKE = delete("/api/agents/{name}/enrolment", "End the agent's unused enrolment codes").scope(AgentsTokenRevoke).on_agent(Update).revokes().audited("agent.enrolment.revoke").page("concepts/enrolment");
        ENROLMENT_BULK = post("/api/agents/bulk/enrolment", "Make enrolment codes for several agents, each decided separately").scope(AgentsTokenIssue).on_agent(Update).idempotent().audited("agent.enrolment.create").page("concepts/enrolment#many-agents-at-once");
        ENROL = post("/api/agents/enroll", "Trade an enrolment code for the agent's token and settings").public().may_close().audited("agent.enroll").page("concepts/enrolment");
        KEYS_LIST = get("/api/agents/{name}/keys", "List the agent's keys that the caller may read").scope(AgentsKeysRead).on_agent(Read).query(&["name", "type", "cursor", "limit"]).page("concepts/keys");
        KEYS_CREATE = post("/api/agents/{name}/keys", "Create a key of the agent").scope(AgentsKeysWrite).on_agent(Update).idempotent().audited("agent.key.create").page("concepts/keys");
        KEYS_GET = get("/api/agents/{name}/keys/{id}", "Get a key").scope(AgentsKeysRead).on_key(Read).page("concepts/keys");
        KEYS_DELETE = delete("/api/agents/{name}/keys/{id}", "Delete a key and revoke its secret").scope(AgentsKeysWrite).on_key(Delete).closes().audited("agent.key.delete").page("concepts/keys");
        SECRETS_LIST = get("/api/agents/{name}/secrets", "List the names of an agent's secrets").scope(AgentsSecretsRead).on_agent(Read).page("concepts/secrets");
        SECRETS_SET = put("/api/agents/{name}/secrets", "Set several secrets of an agent, all or none").scope(AgentsSecretsWrite).on_agent(Update).audited("agent.secret.set").page("concepts/secrets");
        SECRETS_GET = get("/api/agents/{name}/secrets/{key}", "Get the age of an agent's secret").scope(AgentsSecretsRead).on_agent(Read).page("concepts/secrets");
        SECRETS_PUT = put("/api/agents/{name}/secrets/{key}", "Set a secret of an agent").scope(AgentsSecretsWrite).on_agent(Update).audited("agent.secret.set").page("concepts/secrets");
        SECRETS_DELETE = delete("/api/agents/{name}/secrets/{key}", "Delete a secret of an agent").scope(AgentsSecretsWrite).on_agent(Update).revokes().audited("agent.secret.delete").page("concepts/secrets");
        SECRETS_VALUES = get("/api/agents/me/secrets/values", "Read the values of the calling agent's own secrets").scope(AgentsSecretsRead).for_agents().audited("agent.secret.read").query(&["format"]).page("concepts/secrets#into-the-process");
        HOOK = post("/api/hooks/{key_id}", "Take a signed webhook of GitHub, Slack or a sender of Standard Webhooks").public().raw(1024 * 1024).any_query().audited("agent.hook").page("concepts/hooks");
        KEYS_ROTATE = post("/api/agents/{name}/keys/{id}/rotate", "Rotate the secret of a key").scope(AgentsKeysWrite).on_key(Update).idempotent().may_close().audited("agent.key.rotate").page("concepts/keys");
    }

    Notify {
        NOTIFY = post("/api/ui/notify", "Send a notification to the agent's owner").scope(UiNotify).for_agents().idempotent().page("concepts/notifications");
        NOTIFICATIONS_LIST = get("/api/notifications", "List the caller's notifications").scope(NotificationsRead).for_people().query(&["unread_only", "since", "q", "priority", "cursor", "limit"]).page("concepts/notifications");
        NOTIFICATIONS_COUNT = get("/api/notifications/count", "Count the caller's notifications").scope(NotificationsRead).for_people().page("concepts/notifications");
        NOTIFICATIONS_STREAM = get("/api/notifications/stream", "Stream the caller's notifications as server-sent events").scope(NotificationsRead).for_people().query(&["changes"]).page("concepts/notifications#the-stream");
        NOTIFICATIONS_PREFERENCES = get("/api/notifications/preferences", "The kinds of mail that the caller gets").scope(NotificationsRead).for_people().page("concepts/mail#what-you-get");
        NOTIFICATIONS_PREFER = patch("/api/notifications/preferences", "Choose the kinds of mail to get").scope(NotificationsWrite).for_people().audited("user.choose_mail").page("concepts/mail#what-you-get");
        NOTIFICATION_READ = post("/api/notifications/{id}/read", "Mark a notification as read").scope(NotificationsWrite).for_people().page("concepts/notifications");
        NOTIFICATIONS_READ_ALL = post("/api/notifications/read-all", "Mark all of the caller's notifications as read").scope(NotificationsWrite).for_people().page("concepts/notifications");
        NOTIFICATION_DELETE = delete("/api/notifications/{id}", "Delete a notification").scope(NotificationsWrite).for_people().page("concepts/notifications");
        INBOX = get("/api/agents/me/inbox", "List the events in the inbox").for_agents().while_halted().query(&["after", "wait", "limit"]).page("concepts/inbox");
        INBOX_STREAM = get("/api/agents/me/inbox/stream", "Stream the inbox as server-sent events").for_agents().while_halted().query(&["after"]).page("concepts/inbox#the-stream");
        INBOX_ACK = post("/api/agents/me/inbox/ack", "Acknowledge events, which deletes them").for_agents().page("concepts/inbox");
        MESSAGE = post("/api/agents/{name}/messages", "Send a message to an agent's inbox").scope(AgentsMessage).on_agent(Read).idempotent().audited("agent.message").page("concepts/inbox");
    }

    Worker {
        MAIL_TEST = post("/api/mail/test", "Send a test mail to the caller's own address").for_sessions().idempotent().audited("mail.test").page("concepts/mail");
        MAIL_OUTBOX = get("/api/mail/outbox", "List the tenant's mails: due, sent and dead").scope(AuditReadAll).for_people().query(&["state", "q", "cursor", "limit"]).page("concepts/mail");
        MAIL_RETRY = post("/api/mail/outbox/{id}/retry", "Make a dead mail due again").scope(AuditReadAll).for_sessions().idempotent().audited("mail.retry").page("concepts/mail");
        PROBES_LIST = get("/api/agents/{name}/probes", "List an agent's probes with their last results").scope(AgentsSecretsRead).on_agent(Read).page("concepts/probes");
        PROBES_CREATE = post("/api/agents/{name}/probes", "Create a probe of another service's API").scope(AgentsSecretsWrite).on_agent(Update).idempotent().audited("agent.probe.create").page("concepts/probes");
        PROBES_RUN = post("/api/agents/{name}/probes/{id}/run", "Run a probe now").scope(AgentsSecretsWrite).on_agent(Update).audited("agent.probe.run").page("concepts/probes#running");
        PROBES_DELETE = delete("/api/agents/{name}/probes/{id}", "Delete a probe").scope(AgentsSecretsWrite).on_agent(Update).revokes().audited("agent.probe.delete").page("concepts/probes");
        WEBHOOKS_LIST = get("/api/webhooks", "List the caller's webhooks; for admins, the tenant's").scope(WebhooksRead).for_people().query(&["q", "sort", "cursor", "limit"]).page("concepts/webhooks");
        WEBHOOKS_CREATE = post("/api/webhooks", "Create a webhook, to which events are sent").scope(WebhooksWrite).for_people().idempotent().audited("webhook.create").page("concepts/webhooks");
        WEBHOOKS_GET = get("/api/webhooks/{id}", "Get a webhook").scope(WebhooksRead).for_people().page("concepts/webhooks");
        WEBHOOKS_PATCH = patch("/api/webhooks/{id}", "Change a webhook, or turn it off or on").scope(WebhooksWrite).for_people().may_narrow().audited("webhook.update").page("concepts/webhooks");
        WEBHOOKS_DELETE = delete("/api/webhooks/{id}", "Delete a webhook with its deliveries").scope(WebhooksWrite).for_people().revokes().audited("webhook.delete").page("concepts/webhooks");
        WEBHOOKS_ROTATE = post("/api/webhooks/{id}/rotate", "Give a webhook another secret; the one before signs too for a while").scope(WebhooksWrite).for_people().idempotent().audited("webhook.rotate").page("concepts/webhooks#rotation");
        WEBHOOKS_TEST = post("/api/webhooks/{id}/test", "Send a test event to a webhook").scope(WebhooksWrite).for_people().idempotent().audited("webhook.test").page("concepts/webhooks#test");
        DELIVERIES_LIST = get("/api/webhooks/{id}/deliveries", "List a webhook's deliveries, with the answers").scope(WebhooksRead).for_people().query(&["state", "cursor", "limit"]).page("concepts/webhooks#deliveries");
        DELIVERY_GET = get("/api/webhooks/{id}/deliveries/{delivery}", "Get a delivery, with what is sent").scope(WebhooksRead).for_people().page("concepts/webhooks#deliveries");
        DELIVERY_RETRY = post("/api/webhooks/{id}/deliveries/{delivery}/retry", "Send a delivery again at once").scope(WebhooksWrite).for_people().idempotent().audited("webhook.retry").page("concepts/webhooks#deliveries");
        CLIENT_DOCUMENT = get("/api/oauth/documents", "Read what the metadata document of an OAuth client says").for_sessions().query(&["client_id"]).page("concepts/oauth-clients#metadata-documents");
        KEY_SETS = post("/internal/key-sets", "Fetch the key sets that are waited for").public().any_query().page("concepts/workload-identity#keys");
        TICK = post("/internal/tick", "Run housekeeping, at most once a second").public().any_query().page("#is-the-server-well");
    }

    Artifacts {
        CLI_INSTALL = get("/cli/install.sh", "Script that installs the CLI").public().page("cli");
        CLI_MANIFEST = get("/cli/manifest.json", "Version and files of the CLI, with size and SHA-256").public().page("cli");
        CLI_LATEST = get("/cli/latest", "Version of the CLI").public().page("cli");
        CLI_DOWNLOAD = get("/cli/download", "Program of the CLI for a platform").public().query(&["os", "arch"]).page("cli");
        CLI_SIMPLE = get("/cli/simple/accredit/", "The wheels as an index for pip and uv (PEP 503)").public().any_query().page("cli#install-as-a-python-package");
        CLI_SIMPLE_ROOT = get("/cli/simple/", "The root of that index").public().any_query().page("cli#install-as-a-python-package");
        CLI_SIMPLE_BARE = get("/cli/simple", "Leads to the root of that index").public().any_query().page("cli#install-as-a-python-package");
        CLI_SIMPLE_BARE_WHEELS = get("/cli/simple/accredit", "Leads to that index").public().any_query().page("cli#install-as-a-python-package");
        CLI_WHEEL = get("/cli/wheel/{file}", "The CLI as a Python wheel").public().page("cli");
    }

    Docs {
        LLMS = get("/llms.txt", "Compact manual for agents: what to send, and what to do when refused").public().any_query();
        LLMS_FULL = get("/llms-full.txt", "Manual for agents on one page").public().any_query();
        OPENAPI = get("/openapi.json", "This API as an OpenAPI 3.1 document").public().any_query();
        SECURITY_TXT = get("/.well-known/security.txt", "Where to report a vulnerability (RFC 9116)").public().any_query();
        DOCS_INDEX = get("/docs", "Redirect to the documentation").public().any_query();
        DOCS_INDEX_SLASH = get("/docs/", "First page of the documentation").public().any_query();
        DOCS_PAGE = get("/docs/{*page}", "Page of the documentation").public().any_query();
    }

    // Public, since a page asks the routes above with the cookie of its visitor, and they decide. A change is theirs too.
    Web {
        HOME = get("/", "Home: agents, requests that wait, what happened").public().any_query();
        WEB_ASSET = get("/assets/{version}/{file}", "Style sheet and script of the pages").public().any_query();
        WEB_LOGIN = get("/login", "Sign-in form").public().any_query();
        WEB_SIGN_IN = post("/auth/login", "Sign in by form").public().form().any_query();
        WEB_LOGIN_FACTOR = get("/login/factor", "Form for the code of the second factor").public().any_query();
        WEB_SIGN_IN_FACTOR = post("/login/factor", "Finish a sign-in with the code by form").public().form().any_query();
        WEB_AGAIN = get("/login/again", "Sign in again for a form that waits for it, and go on").public().any_query();
        WEB_LINK_ASK = post("/login/link", "Ask for a link to sign in, by form").public().form().any_query();
        WEB_LINK = get("/auth/email/verify", "Button that a mailed link leads to").public().any_query();
        WEB_LINK_SIGN_IN = post("/auth/email/verify", "Sign in by a mailed link").public().form().any_query();
        WEB_FORGOT = get("/forgot", "Form for a forgotten password").public().any_query();
        WEB_FORGOT_ASK = post("/forgot", "Ask for a link to set a forgotten password, by form").public().form().any_query();
        WEB_RESET = get("/reset", "Form for a new password, which a mailed link leads to").public().any_query();
        WEB_RESET_SET = post("/reset", "Set a new password by form").public().form().any_query();
        WEB_INVITE = get("/invite", "Form for the first password, which an invitation leads to").public().any_query();
        WEB_INVITE_ACCEPT = post("/invite", "Accept an invitation by form").public().form().any_query();
        WEB_OIDC_LOGIN = get("/auth/oidc/{provider}/login", "Redirect to a provider to sign in there").public().any_query();
        WEB_OIDC_CALLBACK = get("/auth/oidc/{provider}/callback", "Where a provider sends the visitor back to").public().any_query();
        WEB_LEAKS = get("/leaks", "Form to report a leaked credential").public().any_query();
        WEB_LEAK = post("/leaks", "Report a leaked credential by form").public().form().any_query();
        WEB_LOGOUT = post("/logout", "Sign out by form").public().form().any_query();
        WEB_SETUP = get("/setup", "Set-up form, until the server is bootstrapped").public().any_query();
        WEB_SET_UP = post("/setup", "Bootstrap by form").public().form().any_query();
        WEB_PROFILE = get("/profile", "Redirect to the visitor's sign-in and sessions").public().any_query();
        WEB_CHANGE_PASSWORD = get("/.well-known/change-password", "Redirect to where a password is changed").public().any_query();
        WEB_SECURITY = get("/security", "The visitor's second factor, sessions, address and password").public().any_query();
        WEB_ADDRESS = get("/security/address", "Button that makes another address the visitor's own, which a mailed link leads to").public().any_query();
        WEB_SECURITY_ACT = post("/security/{act}", "Change the visitor's second factor or address by form").public().form().any_query();
        WEB_MAILS = post("/profile/mails", "Choose by form the kinds of mail to get").public().form().any_query();
        WEB_PASSWORD = post("/profile/password", "Change the visitor's own password by form").public().form().any_query();
        WEB_IDENTITY_ACT = post("/profile/identities/{id}/{act}", "Link or unlink an identity by form").public().form().any_query();
        WEB_AGENTS = get("/agents", "Agents: search, filter").public().any_query();
        WEB_AGENT = get("/agents/{name}", "An agent: its state").public().any_query();
        WEB_AGENT_TAB = get("/agents/{name}/{part}", "An agent: credentials, a key, sharing, settings, why, log, history").public().any_query();
        WEB_AGENT_ACT = post("/agents/{name}/{part}", "Change an agent by form").public().form().any_query();
        WEB_ARCHIVED = get("/archived", "Archived agents").public().any_query();
        WEB_ARCHIVED_ONE = get("/archived/{id}", "Confirmation of purging an archived agent").public().any_query();
        WEB_ARCHIVED_ACT = post("/archived/{id}/{act}", "Restore or purge an archived agent by form").public().form().any_query();
        WEB_INSTALL = get("/install", "How to install the CLI and set up a coding agent").public().any_query();
        WEB_SET_UP_AGENT = post("/install", "Create the token and the text that set up a coding agent, by form").public().form().any_query();
        WEB_REGISTER = get("/register", "Form for a new agent").public().any_query();
        WEB_REGISTERED = post("/register", "Register an agent by form").public().form().any_query();
        WEB_STOP_ALL = get("/stop-all", "Confirmation of stopping every agent").public().any_query();
        WEB_STOPPED_ALL = post("/stop-all", "Stop every agent by form").public().form().any_query();
        WEB_STARTED_ALL = post("/start-all", "Undo a stop of every agent by form").public().form().any_query();
        WEB_ACCESS = get("/access", "Access requests").public().any_query();
        WEB_ACCESS_ONE = get("/access/{id}", "An access request, to decide").public().any_query();
        WEB_ACCESS_ACT = post("/access/{id}/{act}", "Approve, deny or revoke by form").public().form().any_query();
        WEB_TOKENS = get("/tokens", "The visitor's personal access tokens").public().any_query();
        WEB_TOKEN_CREATE = post("/tokens", "Create a personal access token by form").public().form().any_query();
        WEB_TOKEN_ACT = post("/tokens/{id}/{act}", "Rotate or revoke a personal access token by form").public().form().any_query();
        WEB_SESSION_ACT = post("/sessions/{id}/end", "End a session, or all others, by form").public().form().any_query();
        WEB_DEVICE = get("/device", "Sign a device in with its code").public().any_query();
        WEB_DEVICE_ACT = post("/device", "Approve or deny a device by form").public().form().any_query();
        WEB_AUTHORIZE = get("/oauth/authorize", "Let an app in (RFC 6749), or not").public().any_query();
        WEB_AUTHORIZE_ACT = post("/oauth/authorize", "Decide by form whether an app is let in").public().form().any_query();
        WEB_GUIDES = get("/guides", "The tenant's guides for agents: by source, search").public().any_query();
        WEB_GUIDE = get("/guides/{source}/{name}", "A guide").public().any_query();
        WEB_NOTIFICATIONS = get("/notifications", "The visitor's notifications").public().any_query();
        WEB_NOTIFICATION_ACT = post("/notifications/{id}/{act}", "Mark a notification as read, or delete it, by form").public().form().any_query();
        WEB_USERS = get("/admin/users", "The tenant's users").public().any_query();
        WEB_USER_CREATE = post("/admin/users", "Create a user by form").public().form().any_query();
        WEB_USER = get("/admin/users/{id}", "A user").public().any_query();
        WEB_USER_ACT = post("/admin/users/{id}/{act}", "Change a user by form").public().form().any_query();
        WEB_TENANT = get("/admin/tenant", "The tenant's settings").public().any_query();
        WEB_TENANT_CHANGE = post("/admin/tenant", "Change the tenant's settings by form").public().form().any_query();
        WEB_WEBHOOKS = get("/admin/webhooks", "Webhooks").public().any_query();
        WEB_WEBHOOK_CREATE = post("/admin/webhooks", "Create a webhook by form").public().form().any_query();
        WEB_WEBHOOK = get("/admin/webhooks/{id}", "A webhook with its deliveries").public().any_query();
        WEB_WEBHOOK_ACT = post("/admin/webhooks/{id}/{act}", "Change a webhook by form").public().form().any_query();
        WEB_OUTBOX = get("/admin/outbox", "Mails and deliveries that wait or failed").public().any_query();
        WEB_OUTBOX_ACT = post("/admin/outbox/{id}/{act}", "Send a mail again by form").public().form().any_query();
        WEB_CLIENTS = get("/admin/clients", "OAuth clients").public().any_query();
        WEB_CLIENT_CREATE = post("/admin/clients", "Register an OAuth client by form").public().form().any_query();
        WEB_CLIENT = get("/admin/clients/{id}", "An OAuth client").public().any_query();
        WEB_CLIENT_ACT = post("/admin/clients/{id}/{act}", "Change an OAuth client by form").public().form().any_query();
        WEB_RESOURCES = get("/admin/resources", "Services that take signed tokens").public().any_query();
        WEB_RESOURCE_CREATE = post("/admin/resources", "Register a service by form").public().form().any_query();
        WEB_RESOURCE = get("/admin/resources/{id}", "A service that takes signed tokens").public().any_query();
        WEB_RESOURCE_ACT = post("/admin/resources/{id}/{act}", "Change a service by form").public().form().any_query();
        WEB_PRESETS = get("/admin/presets", "Presets").public().any_query();
        WEB_PRESET_CREATE = post("/admin/presets", "Make a preset by form").public().form().any_query();
        WEB_PRESET = get("/admin/presets/{name}", "A preset with its versions").public().any_query();
        WEB_PRESET_ACT = post("/admin/presets/{name}/{act}", "Change a preset by form").public().form().any_query();
        WEB_SCOPES = get("/admin/scopes", "Scopes of the tenant's own").public().any_query();
        WEB_SCOPE_DEFINE = post("/admin/scopes", "Define a scope by form").public().form().any_query();
        WEB_SCOPE_ACT = post("/admin/scopes/{name}/{act}", "Delete a scope by form").public().form().any_query();
        WEB_RECEIPT = get("/closures/{id}/receipt", "The receipt of a closure as a file").public().any_query();
        WEB_ALL_TOKENS = get("/admin/tokens", "Every credential of the tenant").public().any_query();
        WEB_ALL_TOKENS_ACT = post("/admin/tokens/{id}/revoke", "Revoke any credential of the tenant by form").public().form().any_query();
        WEB_AUDIT = get("/admin/audit", "The audit trail").public().any_query();
        WEB_AUDIT_EXPORT = get("/admin/audit/export", "The audit trail as a file").public().any_query();
    }

    // Public, since it asks the routes above with the credential of its caller, and they decide. A change is theirs too.
    Mcp {
        MCP = post("/mcp", "Use this API by the Model Context Protocol: tools, resources, prompts").public().up_to(80 * 1024).any_query().or_with_slash().page("concepts/mcp");
        MCP_RESOURCE = get("/.well-known/oauth-protected-resource", "Where clients of this server get a token (RFC 9728)").public().any_query().for_browsers().page("concepts/mcp#who-you-are");
        MCP_RESOURCE_OF = get("/.well-known/oauth-protected-resource/mcp", "Where clients of /mcp get a token (RFC 9728)").public().any_query().or_with_slash().for_browsers().page("concepts/mcp#who-you-are");
    }
}
