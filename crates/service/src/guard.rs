//! The guard: compares the row of a route with the caller. Every route of the table is behind it.

use common::{
    error::{ApiError, Code},
    route::{self, Access, Callers, Query, ROUTES, Route},
    scope::Scope,
    secret::{Kind, equal},
};

use crate::{app::App, caller::Caller, credential::own_origin};

/// Lets a caller in to the route, or says why not: is the credential live and its account active (401), is its agent running and within
/// budget (403, 402), is it of the kind that the route takes, has its person the second factor that is demanded, does it carry the scope,
/// and has its person proved lately who they are (403)?
pub fn admit(app: &App, caller: &Caller, route: &Route) -> Result<(), ApiError> {
    stay(caller, route)?;
    check_kind(caller, route)?;
    if !route.before_factor {
        caller.check_factor()?;
    }
    if let Access::Scope(scope) = route.access
        && !names_own(app.path(), caller, route)
    {
        caller.require(scope)?;
    }
    if route.is_fresh { caller.check_fresh(app.now()) } else { Ok(()) }
}

/// Whether the path names the credential that is presented: a credential may always read and revoke itself, and an agent's token may
/// always replace itself.
pub(crate) fn names_own(path: &str, caller: &Caller, route: &Route) -> bool {
    if !route.own_needs_no_scope {
        return false;
    }
    let names = route.path.split('/').zip(path.split('/'));
    let mut named = names.filter(|(pattern, _)| pattern.starts_with('{')).map(|(_, name)| name);
    named.next().is_some_and(|name| is_own(name, caller, route))
}

/// The same for a name.
pub fn is_own(name: &str, caller: &Caller, route: &Route) -> bool {
    route.own_needs_no_scope
        && match route.object {
            Some(_) => caller.credential_kind() == Kind::AgentToken && caller.is_itself(name),
            None => caller.credential_id().as_str() == name,
        }
}

/// Checks a caller again that was let in before and looked up again: for requests that wait.
pub fn stay(caller: &Caller, route: &Route) -> Result<(), ApiError> {
    caller.check_live()?;
    if route.while_halted { Ok(()) } else { caller.check_agent() }
}

/// Refuses a caller whose credential is of a kind that the route does not take.
pub fn check_kind(caller: &Caller, route: &Route) -> Result<(), ApiError> {
    let is_agent = caller.agent_id().is_some();
    match route.callers {
        Callers::Sessions if caller.credential_kind() != Kind::Session => Err(caller.session_required()),
        Callers::People if is_agent => Err(instead(Code::PersonRequired, route)),
        Callers::Agents if !is_agent => Err(instead(Code::AgentRequired, route)),
        _ => Ok(()),
    }
}

/// What the other kind of caller does in the place of a row.
const INSTEAD: [(&Route, &str); 8] = [
    (route::PATS_ROTATE, "An agent replaces its own token with POST /api/agents/me/token/issue."),
    (route::PATS_REVOKE, "An agent ends its own token with DELETE /auth/tokens/me."),
    (route::PATS_LIST, "An agent sees its own token with GET /api/auth/whoami."),
    (route::PATS_GET, "An agent sees its own token with GET /api/auth/whoami."),
    (
        route::NOTIFICATIONS_LIST,
        "An agent reads its inbox with GET /api/agents/me/inbox. It notifies people with POST /api/ui/notify.",
    ),
    (route::NOTIFICATIONS_STREAM, "An agent reads its inbox as a stream with GET /api/agents/me/inbox/stream."),
    (route::INBOX, "A person reads notifications, with GET /api/notifications."),
    (route::INBOX_STREAM, "A person reads notifications as a stream with GET /api/notifications/stream."),
];

fn instead(code: Code, route: &Route) -> ApiError {
    match INSTEAD.iter().find(|(row, _)| *row == route) {
        Some((_, fix)) => ApiError::from(code).fix(*fix),
        None => code.into(),
    }
}

/// Refuses a scope that no route takes from a credential of this kind. A scope without routes yet is usable by every kind.
pub fn check_kind_for(caller: &Caller, scope: Scope) -> Result<(), ApiError> {
    if scope.is_for_people() && caller.agent_id().is_some() {
        return Err(Code::PersonRequired.into());
    }
    let mut rows = ROUTES.iter().filter(|row| row.access == Access::Scope(scope)).map(|row| check_kind(caller, row));
    match rows.next() {
        Some(Err(refusal)) if rows.all(|row| row.is_err()) => Err(refusal),
        _ => Ok(()),
    }
}

/// Refuses a change by cookie that does not come from this site. A browser sends the cookie with the requests of every page; only our
/// own pages know the token and have our origin.
pub(crate) fn check_same_site(app: &App, caller: &Caller, route: &Route) -> Result<(), ApiError> {
    if !caller.by_cookie() || route.is_safe() {
        return Ok(());
    }
    let own = own_origin(app);
    let (origin, token) = (app.headers().first("origin"), app.headers().first("x-csrf-token"));
    let is_same = own.is_some() && origin.map(|origin| origin.to_ascii_lowercase()) == own;
    if is_same && token.is_some_and(|token| equal(&token, &caller.csrf_token())) {
        return Ok(());
    }
    Err(Code::CsrfFailed.into())
}

/// Refuses a change at a public row that a page of another site asks for. Such a page has no credential of ours, and needs none here: it
/// could lock its reader out of the sign-in, or guess from inside of a network. Browsers say where a request comes from; programs say
/// nothing. A page of the same site but of another origin is another page: `same-site` names every port of a machine. What takes a secret can
/// be guessed at, also where it changes nothing. A row that is for such pages takes what proves a client, and nothing of the browser's.
pub fn check_own_page(app: &App, route: &Route) -> Result<(), ApiError> {
    if route.is_safe() && route.secrets.is_empty() || route.for_browsers {
        return Ok(());
    }
    let (site, origin) = (app.headers().first("sec-fetch-site"), app.headers().first("origin"));
    let is_ours = site.is_none_or(|site| site == "same-origin" || site == "none");
    if is_ours && origin.is_none_or(|origin| is_own_origin(app, &origin)) {
        return Ok(());
    }
    Err(Code::CrossSite.into())
}

/// Whether an origin is this site's: of a server without `public_url`, that of the request's own host, by whatever scheme.
fn is_own_origin(app: &App, origin: &str) -> bool {
    if let Some(own) = own_origin(app) {
        return origin.eq_ignore_ascii_case(&own);
    }
    let authority = origin.strip_prefix("https://").or_else(|| origin.strip_prefix("http://"));
    let host = app.headers().first("host");
    authority.zip(host).is_some_and(|(authority, host)| authority.eq_ignore_ascii_case(&host))
}

/// Refuses query parameters that the route does not know.
pub(crate) fn check_query(route: &Route, query: Option<&str>) -> Result<(), ApiError> {
    let (Query::Only(known), Some(query)) = (route.query, query) else { return Ok(()) };
    let unknown = form_urlencoded::parse(query.as_bytes()).find(|(name, _)| !known.contains(&name.as_ref()));
    match unknown {
        None => Ok(()),
        Some((name, _)) => {
            let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            Err(ApiError::field(name, format!("is not a query parameter of this route; its parameters are: {known}")))
        }
    }
}
