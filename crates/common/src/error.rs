//! Refusals, for mending. One table owns slug, status, default sentence, fix and page; a test walks it.
//!
//! A handler answers `Err(Code::AgentNotFound.into())` or adds what it knows ([`ApiError::detail`], [`ApiError::with`]);
//! the door (`http.rs`) writes the envelope, because only there request id, kind of caller and wanted form are known.

use std::borrow::Cow;

use serde::Serialize;
use serde_json::{Map, Value as Json};

use crate::scope::ScopeSet;

/// When to look again after what an operator has to mend, seconds.
const OPERATOR_TAKES: i64 = 3_600;

/// What a fix says of the caller who gets it.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    /// The tenant's slug.
    pub tenant: &'a str,
    /// The agent's name and its owner's address, if it is one.
    pub agent_and_owner: Option<(&'a str, &'a str)>,
}

/// One line of the table.
#[derive(Debug, PartialEq, Eq)]
pub struct Row {
    /// The stable slug, `error` in the envelope.
    pub slug: &'static str,
    /// The status.
    pub status: u16,
    /// The sentence that stands when the place of the refusal has none of its own.
    pub detail: &'static str,
    /// The step that mends it, for people and for callers who are not known. `{name}` is replaced by [`ApiError::with`].
    pub fix: &'static str,
    /// The step for an agent, where it differs.
    pub agent_fix: Option<&'static str>,
    /// The page that explains it; empty: the slug's own section of the page of errors.
    pub page: &'static str,
}

/// What a refusal means: a line of the table. Each is a constant of its own, so that a component holds the texts of the refusals
/// that it can give, and no others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Code(&'static Row);

macro_rules! errors {
    ($($name:ident $status:literal $slug:literal: $detail:literal, $fix:literal $(, agent: $agent:literal)? $(, page: $page:literal)?;)*) => {
        #[expect(non_upper_case_globals, reason = "they are used as the variants of an enum would be")]
        impl Code {
            $(
                #[doc = $detail]
                pub const $name: Self = Self(&Row {
                    slug: $slug,
                    status: $status,
                    detail: $detail,
                    fix: $fix,
                    agent_fix: errors!(@option $($agent)?),
                    page: errors!(@text $($page)?),
                });
            )*

            /// Every code, in the order of the documentation.
            pub const ALL: &[Self] = &[$(Self::$name,)*];
        }
    };
    (@option) => { None };
    (@option $text:literal) => { Some($text) };
    (@text) => { "" };
    (@text $text:literal) => { $text };
}

errors! {
    InvalidJson 400 "invalid_json": "The body is not JSON in UTF-8.",
        "Send one JSON object, encoded in UTF-8, with the header Content-Type: application/json.";
    InvalidName 400 "invalid_name": "This name cannot be used.",
        "Choose a name of 1 to 63 letters, digits and hyphens that holds at least one letter or digit, such as build-bot, and is none of: archived, bulk, deploy, enroll, import, me, stop-all.",
        page: "/docs/agents/concepts/agents#names";
    InvalidText 400 "invalid_text": "This text cannot be used.",
        "Send {field} as 1 to {most} characters after trimming, without control, bidirectional or invisible characters; longer texts, such as body and text, may have tabs and line ends.";
    InvalidLabels 400 "invalid_labels": "These labels cannot be used.",
        "Send labels as an object of at most 32 names, each of 1 to 64 characters with a text of at most 128.";
    InvalidNumber 400 "invalid_number": "This number is out of range.",
        "Send {field} as a whole number from {least} to {most}.";
    InvalidAgentUrl 400 "invalid_agent_url": "This cannot be the address of an agent.",
        "Send url as an https URL of a public host name, of at most 2000 characters: no user, no literal address, no name of a private network.",
        page: "/docs/agents/concepts/agents#registering";
    BeyondParent 400 "beyond_parent": "An agent gives the agents below it no more than it has.",
        "Send {field} as at {bound} {value}.",
        agent: "Send {field} as at {bound} {value}; your owner {owner} can give more.",
        page: "/docs/agents/concepts/tree#what-an-agent-may-give";
    InvalidEmail 400 "invalid_email": "This is not an e-mail address.",
        "Send an address such as ada@example.com, in ASCII, of at most 254 characters.";
    WeakPassword 400 "weak_password": "This password is too short, too long or too common.",
        "Choose a password of at least 8 characters and at most 256 bytes that is not one of the common ones.";
    UnknownRole 400 "unknown_role": "There is no such role.",
        "Send role as one of: viewer, member, curator, admin.", page: "/docs/agents/concepts/permissions#roles";
    UnknownPreset 400 "unknown_preset": "There is no such preset.",
        "Send preset as a name that GET /api/presets lists, such as worker.", page: "/docs/agents/concepts/permissions#presets";
    InvalidPresetName 400 "invalid_preset_name": "This name cannot name a preset.",
        "Choose a name of 1 to 32 lower-case letters, digits and hyphens that starts and ends with a letter or digit.",
        page: "/docs/agents/concepts/permissions#presets";
    InvalidTenant 400 "invalid_tenant": "This slug cannot name a tenant.",
        "Choose a tenant slug of 1 to 63 lower-case letters, digits and hyphens that starts and ends with a letter or digit.";
    UnknownScope 400 "unknown_scope": "A scope that was asked for does not exist.",
        "Send scope as a list of at least one of the names in valid_scopes; noun.* covers all below it and * covers all.",
        page: "/docs/agents/concepts/permissions#scopes";
    ScopeTooWide 400 "scope_too_wide": "A credential can never carry more than the one that mints it, nor more than its agent's ceiling.",
        "{rest}Who may do more can give more, at most the agent's ceiling or, for a new agent, that of the agent above it.",
        agent: "{rest}Your owner {owner} can give more.",
        page: "/docs/agents/concepts/credentials#never-wider-never-longer";
    InvalidLifetime 400 "invalid_lifetime": "expires_in_days is out of range.",
        "Send expires_in_days as a whole number from 1 to 3650, or null for a credential that never ends.",
        page: "/docs/agents/concepts/credentials#lifetimes";
    LifetimeTooLong 400 "lifetime_too_long": "A credential can never outlive the one that mints it.",
        "Leave expires_in_days out to get all the life that is left, which is {days}.",
        page: "/docs/agents/concepts/credentials#never-wider-never-longer";
    InvalidGrace 400 "invalid_grace": "grace_seconds is out of range.",
        "Send grace_seconds as a whole number from 0 to 86400, and from 60 when you replace the very token that you present.",
        page: "/docs/agents/concepts/credentials#rotation";
    RotationKeepsRights 400 "rotation_keeps_rights": "Who replaces the token that he presents keeps its scope and its end.",
        "Send the same request again without scope, preset and expires_in_days.",
        page: "/docs/agents/concepts/credentials#rotation";
    InvalidCursor 400 "invalid_cursor": "This cursor is not one of yours for this list and these filters.",
        "Leave cursor out to start at the beginning; then pass next_cursor of an answer with the same filters.",
        page: "/docs/agents/concepts/lists";
    InvalidLimit 400 "invalid_limit": "limit is out of range.",
        "Send limit as a whole number from 1 to 200.", page: "/docs/agents/concepts/lists";
    InvalidFilter 400 "invalid_filter": "A filter has a value that it cannot have.",
        "Send {field} as one of: {valid}.", page: "/docs/agents/concepts/lists";
    InvalidTime 400 "invalid_time": "This is not a moment.",
        "Send {field} in RFC 3339 and UTC, such as 2026-11-22T02:38:46Z.", page: "/docs/agents/concepts/audit#filters";
    InvalidHead 400 "invalid_head": "This is not a head of the audit trail.",
        "Send head as it stands in the server's log behind the words audit head: a number, a blank (in a URL %20), and 64 hexadecimal digits; or the digits alone.",
        page: "/docs/agents/concepts/audit#verifying";
    InvalidIdempotencyKey 400 "invalid_idempotency_key": "The header Idempotency-Key cannot be used.",
        "Send one Idempotency-Key of 1 to 255 ASCII characters without control characters and double quotes, bare or in double quotes.",
        page: "/docs/agents/concepts/idempotency";

    InvalidScopeName 400 "invalid_scope_name": "This name cannot name a custom scope.",
        "Send name as x. and one or more parts of lower-case letters, digits, - and _, with dots between them, such as x.crm.read; at most 64 characters.",
        page: "/docs/agents/concepts/permissions#custom-scopes";
    InvalidRequest 400 "invalid_request": "The form lacks a parameter, or has it twice.",
        "Send a form (application/x-www-form-urlencoded) with token=<the token to ask about>, once.",
        page: "/docs/agents/concepts/introspection";

    ScopeNotGrantable 400 "scope_not_grantable": "No approval could let the agent use this.",
        "{rest}What can be asked for stands on the page in doc_url.",
        page: "/docs/agents/concepts/access#what-can-be-asked-for";
    ApprovalTooWide 400 "approval_too_wide": "More cannot be approved than was asked for, than the role of the agent's owner allows, and than you may use yourself.",
        "{rest}Who wants to approve nothing of it sends POST /api/access-requests/{request}/deny.",
        page: "/docs/agents/concepts/access#deciding";

    UnknownRelation 400 "unknown_relation": "There is no such relation to give.",
        "Send relation as one of: viewer, editor.", page: "/docs/agents/concepts/sharing";
    UnknownAction 400 "unknown_action": "There is no such action.",
        "Send action as one of: {valid}.", page: "/docs/agents/concepts/sharing";

    UnknownExpectation 400 "unknown_expectation": "This is nothing that can be expected.",
        "Send expect as preset: with a name that GET /api/presets lists, such as preset:worker, or as scopes of GET /api/scopes with commas between them; or leave it out.",
        page: "/docs/agents/concepts/doctor#what-is-expected";

    InvalidPriority 400 "invalid_priority": "There is no such priority.",
        "Send priority as one of: low, normal, high.", page: "/docs/agents/concepts/notifications";
    InvalidLevel 400 "invalid_level": "There is no such level.",
        "Send level as one of: debug, info, warn, error.", page: "/docs/agents/concepts/lifecycle#logs";
    InvalidUrl 400 "invalid_url": "This address cannot be used.",
        "Send {field} as an https URL or as a path of this site that starts with one /, of at most 2000 characters.",
        page: "/docs/agents/concepts/notifications";
    InvalidEvent 400 "invalid_event": "This is not the id of an event.",
        "Send the id of an event as GET /api/agents/me/inbox answered it, such as evt_0000000000000042.",
        page: "/docs/agents/concepts/inbox";
    InvalidWait 400 "invalid_wait": "wait is out of range.",
        "Send wait as a whole number of seconds from 0 to 25.", page: "/docs/agents/concepts/inbox";
    DataTooLarge 400 "data_too_large": "data is larger than 16 KiB.",
        "Send at most 16384 bytes of JSON in data; keep what is larger elsewhere and send where it is.",
        page: "/docs/agents/concepts/inbox";
    InvalidHost 400 "invalid_host": "The header Host is no address that a script could be given.",
        "Send the request to the name or the IP address of this server, with at most a port behind it, and without a header Host of your own.",
        page: "/docs/agents/cli#the-address-in-the-script";

    UnknownKeyType 400 "unknown_key_type": "There is no such type of key.",
        "Send type as one of: external, internal, github, slack.", page: "/docs/agents/concepts/keys#types";
    InvalidWebhookSecret 400 "invalid_webhook_secret": "This text cannot be the secret of a webhook.",
        "Send value as 8 to 256 visible ASCII characters that are none of this server's credentials, or leave it out to get one made.",
        page: "/docs/agents/concepts/keys#webhook-secrets";
    RotationTooWide 400 "rotation_too_wide": "Who rotates a key gets its new secret, and may have no more by it than he can give.",
        "Rotate it with a session of the agent's owner, or make a key that carries less: POST /api/agents/{agent}/keys {{\"name\": \"…\", \"scope\": […]}}.",
        agent: "Ask your owner {owner} to rotate it, or make a key that carries less: POST /api/agents/{agent}/keys {{\"name\": \"…\", \"scope\": […]}}.",
        page: "/docs/agents/concepts/keys#rotation";

    MissingCredential 401 "missing_credential": "This route needs a credential, and none was sent.",
        "Send the header Authorization: Bearer <token>. A person gets a token with POST /auth/token {{\"email\": \"…\", \"password\": \"…\"}}; an agent gets one from its owner.",
        page: "/docs/agents/concepts/credentials#sending-one";
    InvalidToken 401 "invalid_token": "The credential that was sent is not one of ours.",
        "Send the whole token as it was answered when it was made, in the header Authorization: Bearer <token>. Without it: a person signs in with POST /auth/token, an agent asks its owner for a new one.",
        page: "/docs/agents/concepts/credentials#sending-one";
    TokenExpired 401 "token_expired": "This credential has ended.",
        "Sign in again with POST /auth/token {{\"email\": \"…\", \"password\": \"…\", \"tenant\": \"{tenant}\"}}; with that session POST /auth/tokens {{\"name\": \"…\"}} makes a new personal access token.",
        agent: "Ask {owner} for a new token: {step}.",
        page: "/docs/agents/concepts/credentials#lifetimes";
    TokenRevoked 401 "token_revoked": "This credential was revoked.",
        "Sign in again with POST /auth/token {{\"email\": \"…\", \"password\": \"…\", \"tenant\": \"{tenant}\"}}; with that session POST /auth/tokens {{\"name\": \"…\"}} makes a new personal access token.",
        agent: "Ask {owner} for a new token: {step}.",
        page: "/docs/agents/concepts/credentials#revocation";
    AccountDeactivated 401 "account_deactivated": "The account behind this credential is deactivated.",
        "Ask an admin of your tenant to activate the account.",
        page: "/docs/agents/concepts/credentials#revocation";
    LoginFailed 401 "login_failed": "Address, password or tenant is wrong, or the account is not active.",
        "Check address, password and tenant, and sign in again. If you forgot the password, ask an admin to set one with POST /api/users/{{id}}/set-password.",
        page: "/docs/agents/concepts/credentials#sessions";

    OverBudget 402 "over_budget": "This agent has spent more than its budget.",
        "Raise the budget or begin to count anew: PATCH /api/agents/{agent} {{\"budget_cents\": <more>}} or {{\"spent_cents\": 0}}.",
        agent: "End your work, or ask {owner} to send PATCH /api/agents/{agent} {{\"budget_cents\": <more>}}; GET /api/auth/whoami still answers.",
        page: "/docs/agents/concepts/agents#budget";

    ScopeDenied 403 "scope_denied": "This credential lacks a scope that this route needs.",
        "{person_steps}.",
        agent: "{first}Ask for it: {steps}.";
    PersonRequired 403 "person_required": "Only people may do this, whatever an agent's credential carries.",
        "Sign in as a person with POST /auth/token and send the session's token.",
        agent: "Ask {owner}, or an admin of your tenant, to do it.",
        page: "/docs/agents/concepts/permissions#for-people-only";
    AgentRequired 403 "agent_required": "Only agents may do this.",
        "Send an agent's token: POST /api/agents {{\"name\": \"…\"}} registers an agent and answers one in auth_token.",
        page: "/docs/agents/concepts/agents";
    SessionRequired 403 "session_required": "Only a session may do this, no other credential.",
        "Sign in with POST /auth/token {{\"email\": \"…\", \"password\": \"…\", \"tenant\": \"{tenant}\"}} and send the access_token of its answer.",
        agent: "{owner} does this, signed in as a person.",
        page: "/docs/agents/concepts/permissions#session-only";
    WrongPassword 403 "wrong_password": "The current password is another one.",
        "Send the password that you sign in with as current. If you forgot it, ask an admin to set one with POST /api/users/{{id}}/set-password.",
        page: "/docs/agents/concepts/people#passwords";
    PermissionDenied 403 "permission_denied": "You may read this, but not change it so.",
        "Ask {owner}, who owns it, or an admin of your tenant.",
        agent: "Ask {owner}, who owns it.",
        page: "/docs/agents/concepts/permissions#relations";
    AgentPaused 403 "agent_paused": "This agent is paused.",
        "Resume the agent with POST /api/agents/{agent}/resume.",
        agent: "Wait, and ask GET /api/auth/whoami until agent_state is running; {owner} can resume you.",
        page: "/docs/agents/concepts/agents#states";
    AgentStopped 403 "agent_stopped": "This agent is stopped.",
        "Start the agent with POST /api/agents/{agent}/start.",
        agent: "End your work; {owner} can start you again.",
        page: "/docs/agents/concepts/agents#states";
    OwnLogOnly 403 "own_log_only": "Only the agent itself writes into its log.",
        "Let the agent write there; to tell it something, send POST /api/agents/{agent}/messages {{\"text\": \"…\"}}.",
        agent: "Send the same body to POST /api/agents/me/logs, which is your own log.",
        page: "/docs/agents/concepts/lifecycle#logs";
    AlreadyBootstrapped 403 "already_bootstrapped": "This server has its first tenant and admin, and makes them once only.",
        "Sign in with POST /auth/token, or ask your admin for an account.";
    WrongOperatorSecret 403 "wrong_operator_secret": "The operator secret is wrong.",
        "Send as secret the value of the variable operator_secret; cargo xtask up prints it until the server is bootstrapped.";
    CsrfFailed 403 "csrf_failed": "A change that is authorised by a cookie needs this site's own origin and the CSRF token.",
        "Send the token as Authorization: Bearer <token> instead of the cookie; a page of this site sends the header x-csrf-token.",
        page: "/docs/agents/concepts/credentials#cookies";

    NotFound 404 "not_found": "There is nothing at this path.",
        "GET /api lists every route of this server.";
    AgentNotFound 404 "agent_not_found": "There is no such agent, or you may not read it.",
        "GET /api/agents lists the agents that you may read; names are in lower case.";
    ParentNotFound 404 "parent_not_found": "There is no such agent to be above, or you may not read it.",
        "Send parent as the name of one of your agents: GET /api/agents lists those that you may read.",
        agent: "Send parent as your own name or that of an agent below you, or leave it out.",
        page: "/docs/agents/concepts/tree";
    OwnerNotFound 404 "owner_not_found": "There is no such active user in your tenant to give an agent to.",
        "Name an active user whose role is at least member, by address or id; an admin lists them with GET /api/users?active=true. In a query, + is written %2B.",
        page: "/docs/agents/concepts/tree#giving-away";
    ArchivedNotFound 404 "archived_agent_not_found": "There is no such archived agent, or it is not yours.",
        "GET /api/agents/archived lists the archived agents that you may restore.",
        page: "/docs/agents/concepts/agents#archiving";
    KeyNotFound 404 "key_not_found": "The agent has no such key, or you may not read it.",
        "GET /api/agents/{agent}/keys lists the keys of this agent that you may read.", page: "/docs/agents/concepts/keys";
    UserNotFound 404 "user_not_found": "There is no such user in your tenant.",
        "GET /api/users lists the users of your tenant.";
    TokenNotFound 404 "token_not_found": "There is no such token, or it is not yours.",
        "GET /auth/tokens lists your personal access tokens; an admin finds every credential of the tenant with GET /auth/admin/tokens.";
    ScopeNotFound 404 "scope_not_found": "The tenant has no custom scope of this name.",
        "GET /api/scopes/custom lists the tenant's custom scopes.";
    RequestNotFound 404 "request_not_found": "There is no such request, or you may not read the agent that asks.",
        "GET /api/access-requests lists the requests that you may see.", page: "/docs/agents/concepts/access";
    PresetNotFound 404 "preset_not_found": "Your tenant has no preset of this name.",
        "GET /api/presets lists the presets of your tenant.", page: "/docs/agents/concepts/permissions#presets";
    SubjectNotFound 404 "subject_not_found": "There is no such user in your tenant, nor an agent of that name that you may read.",
        "Send subject as a user's address or id, or as the name or id of an agent: GET /api/agents lists those that you may read.",
        page: "/docs/agents/concepts/sharing";
    NotificationNotFound 404 "notification_not_found": "You have no such notification.",
        "GET /api/notifications lists yours.";
    MailNotFound 404 "mail_not_found": "Your tenant has no such mail.",
        "GET /api/mail/outbox lists the tenant's mails.", page: "/docs/agents/concepts/mail#outbox";
    RecipientNotFound 404 "recipient_not_found": "There is no such active user who may read this agent.",
        "Leave user out to tell the agent's owner.",
        agent: "Leave user out to tell your owner {owner}, or ask {owner} for the address of somebody who may read you.",
        page: "/docs/agents/concepts/notifications";
    SessionNotFound 404 "session_not_found": "You have no such session.",
        "GET /auth/sessions lists your sessions.";

    CliNotBuilt 404 "cli_not_built": "This server has no CLI to hand out: none was built.",
        "Do it over HTTP, which needs no CLI: GET /docs/agents/ begins with the first calls. The operator of this server can put a CLI into its folder dist.",
        page: "/docs/agents/cli#when-none-was-built";
    ArtifactNotFound 404 "artifact_not_found": "This server hands out no such file.",
        "Ask for one of the files that GET /cli/manifest.json lists, by their url there.",
        page: "/docs/agents/cli#downloads";

    MethodNotAllowed 405 "method_not_allowed": "This path exists, but not with this method.",
        "Use a method of the header Allow; GET /api lists every route with its methods.";

    NameTaken 409 "name_taken": "This name and its variants -2 to -100 are taken.",
        "Choose another name.", page: "/docs/agents/concepts/agents#names";
    ParentOfAnother 409 "parent_of_another_owner": "An agent and the one above it have one owner.",
        "Send parent as the name of an agent of the same owner, or leave it out.",
        agent: "Send parent as your own name or that of an agent below you, or leave it out.",
        page: "/docs/agents/concepts/tree";
    ParentHalted 409 "parent_halted": "The agent above is paused or stopped, and so is everything below it.",
        "First POST /api/agents/{parent}/{verb}, which its owner {owner} can do, then send the same request again.",
        page: "/docs/agents/concepts/tree#states";
    IllegalState 409 "illegal_state": "The agent's state does not allow this step.",
        "Send POST /api/agents/{agent}/<step> with one of these steps: {legal}.",
        page: "/docs/agents/concepts/lifecycle#steps";
    NoneChanged 409 "none_changed": "None of these agents was changed.",
        "Follow the fix of each agent in results.",
        page: "/docs/agents/concepts/lifecycle#many-at-once";
    TreeCycle 409 "tree_cycle": "An agent cannot be below itself.",
        "Send parent as an agent that is not below this one, or as null.",
        page: "/docs/agents/concepts/tree";
    TreeTooDeep 409 "tree_too_deep": "The tree of agents is at most 8 deep.",
        "Send parent as an agent that is nearer to the root; GET /api/agents/{parent} names the one above it.",
        page: "/docs/agents/concepts/tree";
    HasChildren 409 "has_children": "There are agents below this one, which would go with it.",
        "Send the same request with ?confirm=true to archive this agent and the {count} below it; GET /api/agents?parent={agent} lists those right below.",
        page: "/docs/agents/concepts/agents#archiving";
    HasParent 409 "has_parent": "An agent below another one belongs to the same owner.",
        "Give the whole tree away from its root, or send \"parent\": null in the same request.",
        page: "/docs/agents/concepts/tree#giving-away";
    TooManyAgents 409 "too_many_agents": "There are more than 100 agents in this tree.",
        "Export the agents right below it, one by one: GET /api/agents?parent=<name> lists them.",
        page: "/docs/agents/concepts/tree#export-and-import";
    EmailTaken 409 "email_taken": "A user of this tenant has this address already.",
        "GET /api/users?q=<address> finds that user; choose another address for a new one.";
    SelfDeactivation 409 "self_deactivation": "This is your own account, which another admin has to deactivate.",
        "Ask another admin of your tenant: GET /api/users?role=admin&active=true lists them. DELETE /auth/sessions ends your other sessions, POST /auth/logout this one.",
        page: "/docs/agents/concepts/people#deactivated-accounts";
    SelfDeletion 409 "self_deletion": "This is your own account, which another admin has to delete.",
        "Ask another admin of your tenant: GET /api/users?role=admin&active=true lists them.",
        page: "/docs/agents/concepts/people#deleting-a-user";
    LastAdmin 409 "last_admin": "This is the last active admin of the tenant, which has to keep one.",
        "Make another user an admin first: PATCH /api/users/<id> {{\"role\": \"admin\"}}; GET /api/users lists them.",
        page: "/docs/agents/concepts/people#changing-a-user";
    OwnsAgents 409 "owns_agents": "This user owns agents, and an agent has an owner.",
        "Send the same request with ?agents=transfer:<id or address> to give all {count} to another user, or with ?agents=archive to archive them; GET /api/agents?owner={user} lists them.",
        page: "/docs/agents/concepts/people#deleting-a-user";
    TenantTaken 409 "tenant_taken": "A tenant has this slug already.",
        "Choose another slug.";
    ScopeTaken 409 "scope_taken": "The tenant has a custom scope of this name already.",
        "Use the one that is there: GET /api/scopes/custom lists them; or choose another name.";
    TooManyScopes 409 "too_many_scopes": "The tenant has as many custom scopes as it may have: 100.",
        "Take one away that nobody needs, with DELETE /api/scopes/custom?name=<name>.";
    TooManyPresets 409 "too_many_presets": "A tenant changes and makes at most 50 presets, in at most 1000 versions each.",
        "Use another of the names that GET /api/presets lists.", page: "/docs/agents/concepts/permissions#presets";
    TooManyGrants 409 "too_many_grants": "This agent or key has as many grants as it may have: 1000.",
        "Take one away that nobody needs, with DELETE {path}?subject=<address or name>.";
    KeyTaken 409 "key_taken": "The agent has a key of this name and type already.",
        "Send another name, or POST /api/agents/{agent}/keys/<its id>/rotate to replace the secret of the one that is there.",
        page: "/docs/agents/concepts/keys#names";
    TooManyApiKeys 409 "too_many_api_keys": "The agent has as many keys as it may have: 500.",
        "Delete one that nobody needs, with DELETE /api/agents/{agent}/keys/<its id>; GET /api/agents/{agent}/keys lists them.",
        page: "/docs/agents/concepts/keys";
    KeyEnded 409 "key_ended": "The key has ended or was revoked, so it cannot be rotated.",
        "DELETE /api/agents/{agent}/keys/{id}, then POST /api/agents/{agent}/keys {{\"name\": \"…\"}} makes a new one; the name is free by then.",
        page: "/docs/agents/concepts/keys#rotation";
    InboxFull 409 "inbox_full": "This agent's inbox holds as many events as it may: 10000.",
        "Wait until the agent has acknowledged some, with POST /api/agents/me/inbox/ack.",
        page: "/docs/agents/concepts/inbox";
    AlreadyGranted 409 "already_granted": "The agent's token can use all of this already.",
        "Send the request that needs it, with the agent's token; GET /api/auth/whoami names all that it can use.",
        page: "/docs/agents/concepts/access#asking";
    TooManyRequests 409 "too_many_access_requests": "The agent has as many open requests as it may have: 20.",
        "Wait until {owner} has decided some: GET /api/access-requests?state=open lists them.",
        page: "/docs/agents/concepts/access#asking";
    AlreadyDecided 409 "already_decided": "Somebody has decided this request already.",
        "GET /api/access-requests/{request} says how; what was approved is taken back with POST /api/access-requests/{request}/revoke.",
        page: "/docs/agents/concepts/access#deciding";
    NothingApproved 409 "nothing_approved": "Nothing was approved that could be taken back.",
        "GET /api/access-requests/{request} says what became of it; an open request is refused with POST /api/access-requests/{request}/deny.",
        page: "/docs/agents/concepts/access#deciding";
    TokenEnded 409 "token_ended": "This token has ended or was revoked, so it cannot be rotated.",
        "Make a new one with POST /auth/tokens {{\"name\": \"…\"}} from a session.",
        page: "/docs/agents/concepts/pats#rotation";
    TokenReplaced 409 "token_replaced": "This token was replaced already; it lives to the end of its grace, and replaces nothing any more.",
        "Use the token that replaced it.",
        agent: "Use the token of the answer that replaced this one; a request sent with an Idempotency-Key gives it again when it is repeated. If it is lost, ask {owner} for {step} before the grace ends.",
        page: "/docs/agents/concepts/credentials#rotation";
    IdempotencyOtherCredential 409 "idempotency_other_credential": "The first answer to this Idempotency-Key holds a secret, which only the credential that got it may have again.",
        "Send the request with the credential that sent it first, or with a new Idempotency-Key to do it anew.",
        page: "/docs/agents/concepts/idempotency";

    BodyTooLarge 413 "body_too_large": "The body is larger than 64 KiB.",
        "Send at most 65536 bytes.";

    RangeNotSatisfiable 416 "range_not_satisfiable": "The range begins behind the end of the file.",
        "Ask for a range that begins before the size, which stands behind the slash in the header Content-Range; or leave Range out.",
        page: "/docs/agents/cli#downloads";

    ValidationError 422 "validation_error": "A field is missing, unknown or of the wrong type.",
        "Mend what fields names, and send the request again; GET /api names the page of each route.";
    IdempotencyMismatch 422 "idempotency_mismatch": "This Idempotency-Key was used for another body.",
        "Send the first body again, or use a new Idempotency-Key for the new one.",
        page: "/docs/agents/concepts/idempotency";

    TooManyAttempts 429 "too_many_attempts": "Too many wrong tries for this account from this address.",
        "Wait for the seconds in the header Retry-After, then try again.",
        page: "/docs/agents/concepts/credentials#sessions";
    TooManyReports 429 "too_many_reports": "Too many reports from this address.",
        "Wait for the seconds in the header Retry-After, then send the report again.",
        page: "/docs/agents/concepts/credentials#leaks";
    TooManyMails 429 "too_many_mails": "You have asked for as many mails as you may.",
        "Wait for the seconds in the header Retry-After, then ask again.",
        page: "/docs/agents/concepts/mail#test";
    TooManyHashes 429 "too_many_hashes": "The server checks as many passwords as it can just now.",
        "Wait for the seconds in the header Retry-After, then try again.";
    TooManyKeys 429 "too_many_idempotency_keys": "You have as many kept answers as one caller may have.",
        "Send the request without Idempotency-Key, or wait until older keys end, 24 hours after their use.",
        page: "/docs/agents/concepts/idempotency";

    Internal 500 "internal": "Something in the server is wrong; it was logged with this request_id.",
        "Tell the operator of this server the request_id.";

    DatabaseUnavailable 503 "database_unavailable": "The database does not answer just now.",
        "Wait for the seconds in the header Retry-After, then send the request again, with the same Idempotency-Key if it had one.";
    StorageFull 503 "storage_full": "The database has reached the greatest size that the operator allows.",
        "Ask the operator to raise the variable database_max_mib or to make room; reading, and taking rights away, still work.";
    DatabaseTooNew 503 "database_too_new": "The database was upgraded by a newer release that this one must not work with.",
        "Ask the operator to deploy the newer release here too.";
    MailDisabled 503 "mail_disabled": "This server sends no mail, because the variable mail_provider is not set.",
        "Ask the operator to set the variables mail_provider, mail_from and mail_token, as the page in doc_url describes.",
        page: "/docs/agents/concepts/mail#setting-it-up";
    SecretsDisabled 503 "secrets_disabled": "This server stores no secrets that must be read again, because the variable secrets_key does not hold the key for them.",
        "Ask the operator to set the variable secrets_key to a text of at least 32 characters, or to what it was before, and send the request again.",
        page: "/docs/agents/concepts/keys#webhook-secrets";
    AuditKeyMissing 503 "audit_key_missing": "The audit trail is not sealed, because the variable audit_key is not set.",
        "Ask the operator to set the variable audit_key.", page: "/docs/agents/concepts/audit#verifying";
}

/// The body of every refusal.
#[derive(Serialize)]
pub struct Envelope<'a> {
    /// The slug.
    pub error: &'static str,
    /// What is wrong, as a sentence.
    pub detail: &'a str,
    /// The step that mends it.
    pub fix: Cow<'a, str>,
    /// The page and section that explain it.
    pub doc_url: String,
    /// What else the code's place knows.
    #[serde(flatten)]
    pub extra: &'a Map<String, Json>,
    /// For who asked for `application/problem+json`.
    #[serde(flatten)]
    pub problem: Option<Problem>,
    /// The request's id, which is in the log too.
    pub request_id: &'a str,
}

/// The members that RFC 9457 registers, beside our own `detail`.
#[derive(Serialize)]
pub struct Problem {
    /// The page that explains it.
    pub r#type: String,
    /// The table's sentence.
    pub title: &'static str,
    /// The status.
    pub status: u16,
}

/// A refusal: a code and what its place knows. Boxed, so that `Result`s stay small.
#[derive(Debug)]
pub struct ApiError(Box<Inner>);

#[derive(Debug)]
struct Inner {
    code: Code,
    detail: Option<String>,
    params: Vec<(&'static str, String)>,
    extra: Map<String, Json>,
    missing_scopes: Option<ScopeSet>,
    retry_after: Option<i64>,
    cause: Option<String>,
    headers: Vec<(&'static str, String)>,
}

impl From<Code> for ApiError {
    fn from(code: Code) -> Self {
        Self(Box::new(Inner {
            code,
            detail: None,
            params: Vec::new(),
            extra: Map::new(),
            missing_scopes: None,
            retry_after: None,
            cause: None,
            headers: Vec::new(),
        }))
    }
}

impl Code {
    /// Its line of the table.
    pub const fn row(self) -> &'static Row {
        self.0
    }

    /// The code with a sentence of its own.
    pub fn detail(self, detail: impl Into<String>) -> ApiError {
        ApiError::from(self).detail(detail)
    }

    /// The code with a header on the response.
    pub fn header(self, name: &'static str, value: impl Into<String>) -> ApiError {
        ApiError::from(self).header(name, value)
    }

    /// The code with a value for `{name}` in its fix.
    pub fn with(self, name: &'static str, value: impl Into<String>) -> ApiError {
        ApiError::from(self).with(name, value)
    }
}

impl ApiError {
    /// A missing, unknown or wrong field.
    pub fn field(field: impl Into<String>, problem: impl Into<String>) -> Self {
        Self::of_field(field.into(), problem.into())
    }

    fn of_field(field: String, problem: String) -> Self {
        let fields = serde_json::json!([{ "field": field, "problem": problem }]);
        Self::from(Code::ValidationError).extra("fields", fields)
    }

    /// What went wrong inside: for the log, never for the caller.
    #[must_use]
    pub fn cause(mut self, cause: impl std::fmt::Display) -> Self {
        self.0.cause = Some(cause.to_string());
        self
    }

    /// Replaces the table's sentence.
    #[must_use]
    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.0.detail = Some(detail.into());
        self
    }

    /// Gives the value of `{name}` in the fix.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.0.params.push((name, value.into()));
        self
    }

    /// Adds a member to the envelope.
    #[must_use]
    pub fn extra(mut self, name: &str, value: impl Into<Json>) -> Self {
        self.0.extra.insert(name.to_owned(), value.into());
        self
    }

    /// Names the scopes that the route needs and the ones that are missing.
    #[must_use]
    pub fn scopes(mut self, required: ScopeSet, missing: ScopeSet) -> Self {
        self.0.missing_scopes = Some(missing);
        self.extra("required_scopes", required.names()).extra("missing_scopes", missing.names())
    }

    /// Says when to come again, in seconds.
    #[must_use]
    pub fn retry_after(mut self, seconds: i64) -> Self {
        self.0.retry_after = Some(seconds.max(1));
        self
    }

    /// The same refusal under another code.
    #[must_use]
    pub fn instead(mut self, code: Code) -> Self {
        self.0.code = code;
        self
    }

    /// Adds a header to the response; the name is in lower case.
    #[must_use]
    pub fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.0.headers.push((name, value.into()));
        self
    }

    /// The headers that were added.
    pub fn headers(&self) -> &[(&'static str, String)] {
        &self.0.headers
    }

    /// What it means.
    pub fn code(&self) -> Code {
        self.0.code
    }

    /// The inner cause, for the log.
    pub fn inner(&self) -> Option<&str> {
        self.0.cause.as_deref()
    }

    /// The scopes that were missing.
    pub fn missing(&self) -> Option<ScopeSet> {
        self.0.missing_scopes
    }

    /// Seconds for `Retry-After`: 429 and 503 always have them.
    pub fn seconds(&self) -> Option<i64> {
        self.0.retry_after.or(match (self.0.code, self.0.code.row().status) {
            (Code::DatabaseUnavailable, _) | (_, 429) => Some(1),
            (Code::DatabaseTooNew, _) => Some(60), // an upgrade is going on
            // The operator has to do something: asking again at once mends nothing.
            (_, 503) => Some(OPERATOR_TAKES),
            _ => None,
        })
    }

    /// The envelope, for a caller who may be known.
    pub fn envelope<'a>(&'a self, request_id: &'a str, link: &str, reader: Option<Reader<'_>>) -> Envelope<'a> {
        let row = self.0.code.row();
        let mut params: Vec<(&str, &str)> = self.0.params.iter().map(|(k, v)| (*k, v.as_str())).collect();
        params.extend(reader.as_ref().map(|reader| ("tenant", reader.tenant)));
        let agent = reader.and_then(|reader| reader.agent_and_owner);
        let template = match (agent, row.agent_fix) {
            (Some((name, owner)), Some(fix)) => {
                params.extend([("agent", name), ("owner", owner)]);
                fix
            }
            _ => row.fix,
        };
        Envelope {
            error: row.slug,
            detail: self.0.detail.as_deref().unwrap_or(row.detail),
            fix: filled(template, &params),
            doc_url: self.page(link),
            extra: &self.0.extra,
            problem: None,
            request_id,
        }
    }

    fn page(&self, link: &str) -> String {
        let row = self.0.code.row();
        match (self.0.missing_scopes.and_then(|missing| missing.names().first().copied()), row.page) {
            (Some(scope), "") if scope != "*" => {
                format!("{link}/docs/agents/concepts/permissions#{}", anchor(scope))
            }
            (_, "") => format!("{link}/docs/agents/errors#{}", anchor(row.slug)),
            (_, page) => format!("{link}{page}"),
        }
    }
}

/// The anchor of a heading that names a scope or a slug: dots and underscores become hyphens.
pub fn anchor(name: &str) -> String {
    name.replace(['.', '_'], "-")
}

/// A template with its values; most have none.
fn filled<'a>(template: &'a str, params: &[(&str, &str)]) -> Cow<'a, str> {
    let has_braces = template.bytes().any(|byte| matches!(byte, b'{' | b'}'));
    if has_braces { fill(template, params).into() } else { template.into() }
}

/// Puts values into `{name}`; `{{` and `}}` stand for braces. A name without a value is left out with its braces.
fn fill(template: &str, params: &[(&str, &str)]) -> String {
    let mut text = String::with_capacity(template.len() + 32);
    let mut rest = template;
    while let Some(at) = rest.find(['{', '}']) {
        let (before, from) = rest.split_at(at);
        text.push_str(before);
        if let Some(after) = from.strip_prefix("{{") {
            text.push('{');
            rest = after;
        } else if let Some(after) = from.strip_prefix("}}") {
            text.push('}');
            rest = after;
        } else if let Some((name, after)) = from.strip_prefix('{').and_then(|from| from.split_once('}')) {
            let value = params.iter().find(|(key, _)| *key == name).map_or("", |(_, value)| value);
            text.push_str(value);
            rest = after;
        } else {
            text.push_str(from);
            rest = "";
        }
    }
    text.push_str(rest);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// R58, R59: every code has what its reader needs, and no two share a slug.
    #[test]
    fn every_code_says_what_is_wrong_and_how_to_mend_it() {
        let mut slugs = std::collections::BTreeSet::new();
        for code in Code::ALL {
            let row = code.row();
            assert!(slugs.insert(row.slug), "{} stands twice", row.slug);
            assert!((400..600).contains(&row.status));
            for sentence in [row.detail, row.fix].into_iter().chain(row.agent_fix) {
                assert!(sentence.ends_with('.') && sentence.len() > 10, "{}: {sentence}", row.slug);
                let single = sentence.replace("{{", "").replace("}}", "");
                for name in single.split('{').skip(1).filter_map(|after| after.split('}').next()) {
                    let is_name = name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
                    assert!(is_name && !name.is_empty(), "{}: {{{name}}} wants double braces: {sentence}", row.slug);
                }
            }
            assert!(row.page.is_empty() || row.page.starts_with("/docs/agents/"), "{}", row.slug);
        }
    }

    #[test]
    fn a_fix_is_filled_in_and_double_braces_stay() {
        assert_eq!(fill("{{\"a\": {b}}} {c}.", &[("b", "1")]), "{\"a\": 1} .");
        assert_eq!(fill("open { end", &[]), "open { end");
    }

    #[test]
    fn an_agent_reads_the_fix_for_agents() {
        let error = Code::PersonRequired.detail("No.");
        let person = error.envelope("req_1", "", None);
        let agent = error.envelope(
            "req_1",
            "/acc",
            Some(Reader { tenant: "main", agent_and_owner: Some(("scout", "ada@example.com")) }),
        );
        assert_eq!(agent.fix, "Ask ada@example.com, or an admin of your tenant, to do it.");
        assert_ne!(person.fix, agent.fix);
        assert_eq!(agent.doc_url, "/acc/docs/agents/concepts/permissions#for-people-only");
    }
}
