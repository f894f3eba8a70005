//! The route table. Every route has a row here, and the routers are built from the rows: a route without a row does not exist.
//! The guard reads a row to decide whether to accept a caller. `GET /api`, `GET /api/auth/can`, the manual and the tests read the
//! same rows.

mod table;

pub use table::*;

use crate::{permission::Action, scope::Scope};

/// The component that serves a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Group {
    /// The caller's identity and permissions, introspection, health.
    Auth,
    /// Routes that hash passwords, and routes of the operator.
    Signin,
    /// Sessions, personal access tokens, the tenant's credentials for admins, leaks.
    Tokens,
    /// Sign-in through the providers of people's identities.
    Oidc,
    /// Users, scopes, the audit trail.
    Tenant,
    /// Agents: registry, archive, state, logs, sharing, access requests, presets.
    Agents,
    /// Tokens, keys and secrets of agents.
    Keys,
    /// Notifications for people, inboxes of agents, messages.
    Notify,
    /// Mail, webhooks, probes and housekeeping.
    Worker,
    /// Downloads of the CLI.
    Artifacts,
    /// The manual, the list of routes, and every unknown path.
    Docs,
    /// The pages for people.
    Web,
    /// The Model Context Protocol.
    Mcp,
}

impl Group {
    /// The component's id, folder and wasm file.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Auth => "auth",
            Self::Signin => "signin",
            Self::Tokens => "tokens",
            Self::Oidc => "oidc",
            Self::Tenant => "tenant",
            Self::Agents => "agents",
            Self::Keys => "keys",
            Self::Notify => "notify",
            Self::Worker => "worker",
            Self::Artifacts => "artifacts",
            Self::Docs => "docs",
            Self::Web => "web",
            Self::Mcp => "mcp",
        }
    }

    /// The group's heading in `GET /api`.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Auth => "The caller's identity and permissions, introspection, health",
            Self::Signin => "Bootstrap, tenants, sign-in, passwords",
            Self::Tokens => "Sessions, personal access tokens, credentials of the tenant, leaks",
            Self::Oidc => "Sign-in through identity providers",
            Self::Tenant => "Users, scopes, the audit trail",
            Self::Agents => "Agents: registry, archive, state, logs, sharing, access requests, presets",
            Self::Keys => "Tokens, keys and secrets of agents, webhooks of others",
            Self::Notify => "Notifications, inboxes, messages",
            Self::Worker => "Mail, webhooks, probes, housekeeping",
            Self::Artifacts => "Command-line tool: install and download",
            Self::Docs => "Documentation",
            Self::Web => "Pages for people",
            Self::Mcp => "Model Context Protocol",
        }
    }
}

/// What a credential must carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Nothing: the server does not look at credentials.
    Public,
    /// Any live credential.
    Credential,
    /// A live credential with this scope.
    Scope(Scope),
}

/// The kinds of callers that a route accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Callers {
    /// People and agents.
    Everyone,
    /// People only, with a session or a personal access token. Agents get 403 `person_required`.
    People,
    /// Agents only. People get 403 `agent_required`.
    Agents,
    /// People with a session only. Other credentials get 403 `session_required`.
    Sessions,
}

/// The object that a path or a body names, and the action that the caller must be allowed to perform on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Object {
    /// An agent.
    Agent(Action),
    /// The state of an agent. An agent cannot set its own state or the state of an agent above it.
    AgentState(Action),
    /// A key of an agent: it takes a relation to the key and a relation to its agent.
    Key(Action),
    /// An access request: it takes a relation to the agent that asks.
    AccessRequest(Action),
    /// The calling agent itself, and no other agent.
    OwnAgent,
}

/// A field of the body that needs more of the caller than the other fields of its route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    /// The name.
    pub name: &'static str,
    /// The action on the object.
    pub action: Action,
    /// The callers that may send it.
    pub senders: Senders,
    /// The scope that it takes beside that of the row. `None`: the row's is enough.
    pub scope: Option<Scope>,
}

/// The callers that may send a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Senders {
    /// People only.
    People,
    /// People, and the agents above the one that the path names: an agent never widens its own bounds.
    PeopleAndAgentsAbove,
}

/// The media type of a route's body. A body that is not empty must say that it is of this type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Media {
    /// A JSON object.
    Json,
    /// A form, as the OAuth standards have it.
    Form,
    /// Whatever another service sends: it is signed as it is.
    Any,
}

impl Media {
    /// The value of `Content-Type`, without parameters.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Form => "application/x-www-form-urlencoded",
            Self::Any => "*/*",
        }
    }
}

/// The query parameters that a route knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Query {
    /// Only these. Others are refused.
    Only(&'static [&'static str]),
    /// Any. Unknown parameters are ignored.
    Any,
}

/// What the change of a row does to rights. It decides whether the change goes through when the database is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rights {
    /// It may give some, or stores more: 503 `storage_full` when the database is full. Reads too.
    Gives,
    /// It only takes some away: it always goes through, and an `Idempotency-Key` never keeps it from being done again.
    Takes,
    /// The body decides: it goes through if it only makes rights less, which the handler says with its answer.
    Decided,
    /// It proves who somebody is: it goes through as a sign-in does, so that an admin who can fix a full database is let do it.
    Enters,
}

/// One row of the table.
#[derive(Debug, PartialEq, Eq)]
pub struct Route {
    /// The row's name in the table. Tools of models are called so: it stays what it is.
    pub name: &'static str,
    /// The method.
    pub method: &'static str,
    /// The path. `{name}` stands for one segment, `{*name}` for the rest.
    pub path: &'static str,
    /// The component that serves it.
    pub group: Group,
    /// What the route does, as a short title.
    pub title: &'static str,
    /// What the credential must carry.
    pub access: Access,
    /// The kinds of callers that it accepts.
    pub callers: Callers,
    /// Whether it also accepts an agent that is paused, stopped or over its budget.
    pub while_halted: bool,
    /// Whether a credential needs no scope if the path names that same credential, or an agent's token if it names that agent.
    pub own_needs_no_scope: bool,
    /// Whether it takes a session only whose person has proved within the last minutes who they are.
    pub is_fresh: bool,
    /// Whether it also accepts the session of a person who must set up a second factor before anything else.
    pub before_factor: bool,
    /// The object that the request names.
    pub object: Option<Object>,
    /// Fields of the body that need a different action on the agent, or another scope, than the row.
    pub fields: &'static [Field],
    /// The media type of its body.
    pub media: Media,
    /// The longest body that it takes, bytes.
    pub most_body: usize,
    /// Fields of the body whose text is compared with a secret and never kept: they may hold a credential. All other texts are
    /// refused when they do.
    pub secrets: &'static [&'static str],
    /// Whether responses are kept for `Idempotency-Key`.
    pub is_idempotent: bool,
    /// What it does to rights.
    pub rights: Rights,
    /// The action in the audit row that it writes. `None`: it changes nothing, or only a row that is itself a record.
    pub audit: Option<&'static str>,
    /// Whether it only reads, although its method is not GET.
    pub changes_nothing: bool,
    /// The query parameters that it knows.
    pub query: Query,
    /// The page that explains it, below `/docs/agents/`.
    pub page: &'static str,
    /// Whether a proxy asks it in the name of the request that it is about to pass on: with that request's method, whatever it is, and with
    /// the credential of its `Authorization` header alone.
    pub for_proxies: bool,
    /// Whether its answer says what has ended, and from when on nobody accepts it any more: a closure.
    pub closes: bool,
    /// Whether pages of every origin may ask it, without cookies (CORS).
    pub for_browsers: bool,
    /// Whether the path with a slash at its end is the same address.
    pub takes_slash: bool,
}

/// A row with the default values. The methods below set what differs.
const fn route(method: &'static str, path: &'static str, title: &'static str) -> Route {
    Route {
        name: "",
        method,
        path,
        group: Group::Docs,
        title,
        access: Access::Credential,
        callers: Callers::Everyone,
        while_halted: false,
        own_needs_no_scope: false,
        is_fresh: false,
        before_factor: false,
        object: None,
        fields: &[],
        media: Media::Json,
        most_body: 64 * 1024,
        secrets: &[],
        is_idempotent: false,
        rights: Rights::Gives,
        audit: None,
        changes_nothing: false,
        query: Query::Only(&[]),
        page: "",
        for_proxies: false,
        closes: false,
        for_browsers: false,
        takes_slash: false,
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

/// The columns of the table. Each method sets one field of [`Route`].
impl Route {
    const fn group(self, group: Group) -> Self {
        Self { group, ..self }
    }

    const fn named(self, name: &'static str) -> Self {
        Self { name, ..self }
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

    const fn fields(self, fields: &'static [Field]) -> Self {
        Self { fields, ..self }
    }

    const fn form(self) -> Self {
        Self { media: Media::Form, ..self }
    }

    /// Any body of at most so many bytes, as another service signs it.
    const fn raw(self, most_body: usize) -> Self {
        Self { media: Media::Any, most_body, ..self }
    }

    /// A JSON body of at most so many bytes.
    const fn up_to(self, most_body: usize) -> Self {
        Self { most_body, ..self }
    }

    const fn secrets(self, fields: &'static [&'static str]) -> Self {
        Self { secrets: fields, ..self }
    }

    const fn while_halted(self) -> Self {
        Self { while_halted: true, ..self }
    }

    const fn own_needs_no_scope(self) -> Self {
        Self { own_needs_no_scope: true, ..self }
    }

    /// For sessions whose person has proved within the last minutes who they are.
    const fn fresh(self) -> Self {
        Self { callers: Callers::Sessions, is_fresh: true, ..self }
    }

    const fn before_factor(self) -> Self {
        Self { before_factor: true, ..self }
    }

    const fn idempotent(self) -> Self {
        Self { is_idempotent: true, ..self }
    }

    const fn enters(self) -> Self {
        Self { rights: Rights::Enters, ..self }
    }

    const fn revokes(self) -> Self {
        Self { rights: Rights::Takes, ..self }
    }

    /// It takes rights away, and its answer has a closure.
    const fn closes(self) -> Self {
        Self { rights: Rights::Takes, closes: true, ..self }
    }

    /// What it changes may take rights away: then the header of its answer names a closure.
    const fn may_close(self) -> Self {
        Self { closes: true, ..self }
    }

    const fn or_with_slash(self) -> Self {
        Self { takes_slash: true, ..self }
    }

    const fn for_browsers(self) -> Self {
        Self { for_browsers: true, ..self }
    }

    const fn for_proxies(self) -> Self {
        Self { for_proxies: true, ..self }
    }

    const fn may_narrow(self) -> Self {
        Self { rights: Rights::Decided, ..self }
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

impl Route {
    /// The fields of the row that a body holds.
    pub fn sent_fields(&self, has_field: impl Fn(&str) -> bool) -> impl Iterator<Item = &'static Field> {
        self.fields.iter().filter(move |field| has_field(field.name))
    }

    /// Whether it only reads.
    pub fn is_safe(&self) -> bool {
        self.method == "GET" || self.changes_nothing
    }

    /// The action on the object that the caller must be allowed to perform, given these fields. `None`: no relation is needed.
    pub fn action(&self, has_field: impl Fn(&str) -> bool) -> Option<Action> {
        let by_field = self.fields.iter().find(|field| has_field(field.name)).map(|field| field.action);
        by_field.or(match self.object? {
            Object::Agent(action)
            | Object::AgentState(action)
            | Object::Key(action)
            | Object::AccessRequest(action) => Some(action),
            Object::OwnAgent => None,
        })
    }

    /// The last part of the path of its own page: the method and the path, with hyphens.
    pub fn slug(&self) -> String {
        let mut slug = self.method.to_ascii_lowercase();
        for part in self.path.split(|c: char| !c.is_ascii_alphanumeric()).filter(|part| !part.is_empty()) {
            slug.push('-');
            slug.push_str(part);
        }
        if self.path.ends_with('/') { slug + "-" } else { slug }
    }

    /// Its own page, with its fields and its answer, as a path on this server.
    pub fn reference_path(&self) -> String {
        format!("/docs/agents/routes/{}", self.slug())
    }

    /// The page that explains it, as a path on this server.
    pub fn page_path(&self) -> String {
        format!("/docs/agents/{}", self.page)
    }
}

/// Actions of audit rows that no route has for its own.
pub const OTHER_ACTIONS: [&str; 10] = [
    "access.spend",
    "agent.federated_credential.use",
    "credential.end",
    "identity.link",
    "oauth.refresh",
    "oauth.replay",
    "oauth.token",
    "session.start",
    "token.exchange",
    "token.first_use_new_ip",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_rows_have_the_same_method_and_path() {
        let (mut seen, mut slugs) = (std::collections::BTreeSet::new(), std::collections::BTreeSet::new());
        for route in ROUTES {
            assert!(seen.insert((route.method, route.path)), "{} {}", route.method, route.path);
            assert!(slugs.insert(route.slug()), "{} {}", route.method, route.path);
        }
    }

    /// R12: a route that changes something is audited, and a route that only reads is not. A scope that agents cannot have is for
    /// people only.
    #[test]
    fn every_row_is_consistent() {
        for route in ROUTES {
            let name = format!("{} {}", route.method, route.path);
            // Writes whose row is itself a record, of a caller that belongs to no tenant yet or to its own alone, and the tick, which writes rows for other routes.
            let is_hot = [
                "/internal/tick",
                "/internal/key-sets",
                "/internal/proofs",
                "/api/ui/notify",
                "/auth/device/code",
                "/api/agents/me/inbox/ack",
                "/api/agents/me/heartbeat",
                "/api/agents/{name}/logs",
            ]
            .contains(&route.path)
                || route.path.starts_with("/api/notifications");
            // Reading values, or the trail as a whole, changes nothing and is recorded all the same.
            if ["/api/agents/me/secrets/values", "/api/audit/export"].contains(&route.path) {
                assert!(route.is_safe() && route.audit.is_some(), "{name}");
                continue;
            }
            // A form of a page, and a call of a tool, is sent on to the route that changes something.
            if !is_hot && !matches!(route.group, Group::Web | Group::Mcp) {
                assert_eq!(route.is_safe(), route.audit.is_none(), "{name}");
            }
            if let Access::Scope(scope) = route.access {
                let is_for_people = matches!(route.callers, Callers::People | Callers::Sessions);
                assert!(!scope.is_for_people() || is_for_people, "{name}");
            }
            assert!(route.access != Access::Public || !route.is_idempotent, "{name}");
            // Only a session has a moment at which its person proved who they are.
            assert!(!route.is_fresh || route.callers == Callers::Sessions, "{name}");
            assert!(route.rights == Rights::Gives || !route.is_safe(), "{name}");
            // A page of another origin may ask only what looks at no cookie.
            assert!(!route.for_browsers || route.access == Access::Public, "{name}");
            assert!(
                !matches!(route.group, Group::Docs | Group::Web | Group::Mcp) || route.access == Access::Public,
                "{name}"
            );
        }
    }
}
