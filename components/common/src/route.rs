//! The route table. Every route has a row here, and the routers are built from the rows: a route without a row does not
//! exist. The guard in `http.rs` reads a row to decide who may come in; `/api`, the docs and the tests read the same rows.

use std::{future::Future, pin::Pin};

use axum::{
    Router,
    extract::Request,
    handler::Handler,
    response::{IntoResponse, Response},
    routing::{MethodFilter, on},
};

use crate::{http, permission::Action, scope::Scope};

/// The component that serves a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Group {
    /// People and sessions; who am I.
    Auth,
    /// The routes that hash passwords, and bootstrap.
    Signin,
    /// The registry of agents and their tokens.
    Agents,
    /// Notifications, and the tick.
    Notify,
    /// The CLI, handed out.
    Artifacts,
    /// Documentation, health, and every unknown path.
    Docs,
}

impl Group {
    /// The component's id, folder and wasm file.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Auth => "auth",
            Self::Signin => "signin",
            Self::Agents => "agents",
            Self::Notify => "notify",
            Self::Artifacts => "artifacts",
            Self::Docs => "docs",
        }
    }

    /// What the index says of it.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Auth => "Who am I, sessions, users",
            Self::Signin => "Bootstrap, tenants, sign-in, passwords",
            Self::Agents => "Agents and their tokens",
            Self::Notify => "Housekeeping",
            Self::Artifacts => "The command-line tool, to install and to download",
            Self::Docs => "Documentation and health",
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
    /// The path in axum's notation.
    pub path: &'static str,
    /// Who serves it.
    pub group: Group,
    /// What it does, in a few words.
    pub title: &'static str,
    /// Who may come in.
    pub access: Access,
    /// Whether agents are refused with `person_required`, whatever they carry.
    pub for_people: bool,
    /// Whether only a session will do.
    pub session_only: bool,
    /// Whether a paused, stopped or overspent agent is answered.
    pub while_halted: bool,
    /// What the caller must be allowed to do with the object that the path names.
    pub action: Option<Action>,
    /// Whether `Idempotency-Key` is kept.
    pub is_idempotent: bool,
    /// The audit action of the row that it writes; `None`: it changes nothing.
    pub audit: Option<&'static str>,
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
        session_only: false,
        while_halted: false,
        action: None,
        is_idempotent: false,
        audit: None,
        query: Query::Only(&[]),
        page: "/docs/agents/",
    }
}

const AGENTS_PAGE: &str = "/docs/agents/concepts/agents";
const USERS_PAGE: &str = "/docs/agents/concepts/people";
const CREDENTIALS_PAGE: &str = "/docs/agents/concepts/credentials";
const CLI_PAGE: &str = "/docs/agents/cli";

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
    LOGOUT = Route { session_only: true, for_people: true, audit: Some("session.end"), page: CREDENTIALS_PAGE,
        ..row(Group::Auth, "POST", "/auth/logout", "End this session") };
    SESSIONS_LIST = Route { session_only: true, for_people: true, query: Query::Only(&["cursor", "limit"]), page: CREDENTIALS_PAGE,
        ..row(Group::Auth, "GET", "/auth/sessions", "My sessions") };
    SESSIONS_END_OTHERS = Route { session_only: true, for_people: true, audit: Some("session.end_others"), page: CREDENTIALS_PAGE,
        ..row(Group::Auth, "DELETE", "/auth/sessions", "End all my other sessions") };
    SESSION_END = Route { session_only: true, for_people: true, audit: Some("session.end"), page: CREDENTIALS_PAGE,
        ..row(Group::Auth, "DELETE", "/auth/sessions/{id}", "End one of my sessions") };
    USERS_LIST = Route { access: Access::Scope(Scope::UsersRead), for_people: true,
        query: Query::Only(&["q", "role", "active", "cursor", "limit"]), page: USERS_PAGE,
        ..row(Group::Auth, "GET", "/api/users", "The tenant's users") };
    USERS_CREATE = Route { access: Access::Scope(Scope::UsersWrite), for_people: true, session_only: true,
        is_idempotent: true, audit: Some("user.create"), page: USERS_PAGE,
        ..row(Group::Auth, "POST", "/api/users", "Create a user") };
    USERS_GET = Route { access: Access::Scope(Scope::UsersRead), for_people: true, page: USERS_PAGE,
        ..row(Group::Auth, "GET", "/api/users/{id}", "One user") };

    BOOTSTRAP = Route { access: Access::Public, audit: Some("tenant.bootstrap"), page: USERS_PAGE,
        ..row(Group::Signin, "POST", "/auth/bootstrap", "Make the first tenant and its admin, once") };
    SIGN_IN = Route { access: Access::Public, audit: Some("session.start"), page: CREDENTIALS_PAGE,
        ..row(Group::Signin, "POST", "/auth/token", "Sign in with a password") };
    TENANT_CREATE = Route { access: Access::Public, audit: Some("tenant.create"), page: USERS_PAGE,
        ..row(Group::Signin, "POST", "/operator/tenants", "Make a further tenant and its admin") };
    PASSWORD_SET = Route { access: Access::Scope(Scope::UsersWrite), for_people: true, session_only: true,
        is_idempotent: true, audit: Some("user.set_password"), page: USERS_PAGE,
        ..row(Group::Signin, "POST", "/api/users/{id}/set-password", "Set a user's password") };

    AGENTS_LIST = Route { access: Access::Scope(Scope::AgentsList), action: Some(Action::Read),
        query: Query::Only(&["q", "state", "owner", "has_token", "cursor", "limit"]), page: AGENTS_PAGE,
        ..row(Group::Agents, "GET", "/api/agents", "The agents that I may read") };
    AGENTS_CREATE = Route { access: Access::Scope(Scope::AgentsCreate), for_people: true,
        is_idempotent: true, audit: Some("agent.create"), page: AGENTS_PAGE,
        ..row(Group::Agents, "POST", "/api/agents", "Register an agent and issue its token") };
    AGENTS_GET = Route { access: Access::Scope(Scope::AgentsRead), action: Some(Action::Read), page: AGENTS_PAGE,
        ..row(Group::Agents, "GET", "/api/agents/{name}", "One agent") };
    AGENTS_PATCH = Route { access: Access::Scope(Scope::AgentsUpdate), action: Some(Action::Update),
        audit: Some("agent.update"), page: AGENTS_PAGE,
        ..row(Group::Agents, "PATCH", "/api/agents/{name}", "Change an agent") };
    AGENTS_DELETE = Route { access: Access::Scope(Scope::AgentsDelete), action: Some(Action::Delete),
        audit: Some("agent.archive"), page: AGENTS_PAGE,
        ..row(Group::Agents, "DELETE", "/api/agents/{name}", "Archive an agent; its credentials die with it") };
    TOKEN_ISSUE = Route { access: Access::Scope(Scope::AgentsTokenIssue), action: Some(Action::Update),
        is_idempotent: true, audit: Some("agent.token.issue"), page: CREDENTIALS_PAGE,
        ..row(Group::Agents, "POST", "/api/agents/{name}/token/issue", "Issue the agent's token; the one before ends") };
    TOKEN_REVOKE = Route { access: Access::Scope(Scope::AgentsTokenRevoke), action: Some(Action::Update),
        audit: Some("agent.token.revoke"), page: CREDENTIALS_PAGE,
        ..row(Group::Agents, "DELETE", "/api/agents/{name}/token", "Revoke the agent's token") };

    TICK = Route { access: Access::Public, query: Query::Any,
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
        ..row(Group::Docs, "GET", "/healthz", "Is the process alive?") };
    READYZ = Route { access: Access::Public, query: Query::Any,
        ..row(Group::Docs, "GET", "/readyz", "Does the database answer, and is the server bootstrapped?") };
}

impl Route {
    fn filter(&self) -> MethodFilter {
        match self.method {
            "POST" => MethodFilter::POST,
            "PUT" => MethodFilter::PUT,
            "PATCH" => MethodFilter::PATCH,
            "DELETE" => MethodFilter::DELETE,
            _ => MethodFilter::GET,
        }
    }

    /// Whether the method only reads.
    pub fn is_safe(&self) -> bool {
        self.method == "GET"
    }
}

/// A handler behind the guard. A handler itself, not a layer: a layer would box and clone a service for each request.
#[derive(Clone)]
struct Guarded<H> {
    route: &'static Route,
    handler: H,
}

impl<H: Handler<T, ()>, T> Handler<(T,), ()> for Guarded<H> {
    type Future = Pin<Box<dyn Future<Output = Response> + Send>>;

    fn call(self, mut request: Request, (): ()) -> Self::Future {
        Box::pin(async move {
            match http::enter(self.route, &mut request).await {
                Ok(entered) => http::leave(entered, self.handler.call(request, ()).await).await,
                Err(refusal) => refusal,
            }
        })
    }
}

/// A handler of a public row: nobody's credential is looked at. A component that has no other rows asks no database, and
/// its wasm imports none.
#[derive(Clone)]
struct Open<H> {
    route: &'static Route,
    handler: H,
}

impl<H: Handler<T, ()>, T> Handler<(T,), ()> for Open<H> {
    type Future = Pin<Box<dyn Future<Output = Response> + Send>>;

    fn call(self, mut request: Request, (): ()) -> Self::Future {
        Box::pin(async move {
            match http::enter_openly(self.route, &mut request) {
                Ok(()) => self.handler.call(request, ()).await,
                Err(refusal) => refusal.into_response(),
            }
        })
    }
}

/// Builds one component's router from its rows.
pub struct Routes {
    group: Group,
    router: Router,
    mounted: Vec<&'static Route>,
}

impl Routes {
    /// An empty router for the group.
    pub fn new(group: Group) -> Self {
        Self { group, router: Router::new(), mounted: Vec::new() }
    }

    /// Answers the row's requests with `handler`, behind the guard.
    #[must_use]
    pub fn on<H: Handler<T, ()>, T: 'static>(mut self, route: &'static Route, handler: H) -> Self {
        self.router = self.router.route(route.path, on(route.filter(), Guarded { route, handler }));
        self.mounted.push(route);
        self
    }

    /// The same for a public row, in a component that has no database. A row that is not public stays without a handler.
    #[must_use]
    pub fn on_open<H: Handler<T, ()>, T: 'static>(mut self, route: &'static Route, handler: H) -> Self {
        if route.access == Access::Public {
            self.router = self.router.route(route.path, on(route.filter(), Open { route, handler }));
            self.mounted.push(route);
        }
        self
    }

    /// The router, and our 404 and 405 for all else.
    pub fn build(self) -> Router {
        self.router.fallback(http::not_found).method_not_allowed_fallback(http::method_not_allowed)
    }

    /// The group's rows that no handler was given for: must be none.
    pub fn missing(&self) -> Vec<&'static str> {
        ROUTES.iter().filter(|row| row.group == self.group && !self.mounted.contains(row)).map(|row| row.path).collect()
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
            if route.path != "/internal/tick" {
                assert_eq!(route.is_safe(), route.audit.is_none(), "{name}");
            }
            if let Access::Scope(scope) = route.access {
                assert!(!scope.is_for_people() || route.for_people, "{name}");
            }
            assert!(!route.session_only || route.for_people, "{name}");
            assert!(route.access != Access::Public || !route.is_idempotent, "{name}");
            assert!(route.page.starts_with("/docs/agents/"), "{name}");
        }
    }
}
