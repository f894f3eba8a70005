//! Patterns of paths: which path is of which row, and which row was meant by a path that is of none.

pub(crate) use common::exact::matched;
use common::{
    error::{ApiError, Code},
    route::{self, Group, ROUTES, Route},
};

/// The most routes that are named.
const MOST: usize = 3;

/// What others call what a row is about: the last word of a path, and the row. A row that changes something is named to those only that
/// change something.
const WORDS: [(&str, &Route); 16] = [
    ("me", route::WHOAMI),
    ("self", route::WHOAMI),
    ("user", route::WHOAMI),
    ("profile", route::WHOAMI),
    ("messages", route::INBOX),
    ("message", route::MESSAGE),
    ("events", route::INBOX),
    ("health", route::HEALTHZ),
    ("status", route::READYZ),
    ("requests", route::ACCESS_ASK),
    ("requests", route::ACCESS_LIST),
    ("rotate", route::TOKEN_ISSUE),
    ("login", route::SIGN_IN),
    ("signin", route::SIGN_IN),
    ("sign-in", route::SIGN_IN),
    ("swagger.json", route::OPENAPI),
];

/// What the routes of an authorization server are called elsewhere: the last word of a path with `oauth` in it, or of one that has no other.
const OAUTH: [(&str, &Route); 11] = [
    ("token", route::OAUTH_TOKEN),
    ("tokens", route::OAUTH_TOKEN),
    ("access_token", route::OAUTH_TOKEN),
    ("refresh", route::OAUTH_TOKEN),
    ("register", route::OAUTH_REGISTER),
    ("revoke", route::OAUTH_REVOKE),
    ("revocation", route::OAUTH_REVOKE),
    ("introspection", route::INTROSPECT),
    ("device_authorization", route::DEVICE_CODE),
    ("code", route::DEVICE_CODE),
    ("jwks.json", route::OAUTH_JWKS),
];

/// 404 for a path that no row has. A path that is a row's but for its case or its slashes, or that ends as one does, names that row: of
/// the method that was sent, or one that reads.
pub(crate) fn not_found(method: &str, path: &str) -> ApiError {
    let meant = meant(method, path);
    let Some(first) = meant.first() else { return Code::NotFound.into() };
    ApiError::from(Code::NotFound)
        .fix(format!("Send {first} instead. GET /api?for=me lists the routes that you can use."))
        .extra("did_you_mean", meant)
}

fn meant(method: &str, path: &str) -> Vec<String> {
    let segments: Vec<&str> = path.split('/').filter(|segment| !segment.is_empty()).collect();
    let clean = format!("/{}", segments.join("/"));
    let lower = clean.to_ascii_lowercase();
    let known = || {
        let fits = |route: &&Route| route.group != Group::Web && [method, "GET"].contains(&route.method);
        ROUTES.iter().copied().filter(fits)
    };
    // The same path, written otherwise: what was sent stands for the names, in its own case.
    let is_same = |route: &&Route| matched(route.path, &lower).is_some() && route.path != "/docs/{*page}";
    let same = known().filter(is_same).collect();
    let mut same =
        in_order(same, &|route| 2 * usize::from(route.method != method) + usize::from(route.path.contains('{')));
    if same.first().is_some_and(|route| route.method == method) {
        same.truncate(1);
    }
    if !same.is_empty() {
        return same.into_iter().take(MOST).map(|route| call(route, &filled(route, &clean))).collect();
    }
    let Some(last) = segments.last().map(|last| last.to_ascii_lowercase()) else { return Vec::new() };
    // The only other thing that can be done at the same place: `token/rotate` for `token/issue`.
    let parent = |path: &str| path.rsplit_once('/').map(|(parent, _)| parent.to_owned()).unwrap_or_default();
    let place = parent(&lower);
    let is_beside = |route: &&Route| {
        route.method == method && place.matches('/').count() > 3 && matched(&parent(route.path), &place).is_some()
    };
    let beside: Vec<&Route> = known().filter(is_beside).collect();
    if let [one] = beside.as_slice()
        && !one.path.ends_with('}')
    {
        let end = one.path.rsplit('/').next().unwrap_or_default();
        return vec![call(one, &format!("{}/{end}", filled(one, &parent(&clean))))];
    }
    // The word that others have for it.
    let is_oauth = segments.len() == 1 || lower.contains("oauth");
    let words: &[(&str, &Route)] = match OAUTH.iter().any(|(word, row)| *word == last && row.method == method) {
        true if is_oauth => &OAUTH,
        _ => &WORDS,
    };
    let mut said = words.iter().filter(|(word, row)| *word == last && [method, "GET"].contains(&row.method));
    let first = said.clone().find(|(_, row)| row.method == method).or_else(|| said.next());
    if let Some((_, row)) = first {
        // An agent is its own.
        return vec![call(row, &row.path.replace("{name}", "me"))];
    }
    // The last word of the path, which may be missing an `s` or have one too many.
    let singular = |word: &str| word.trim_end_matches('s').to_owned();
    let ends_so = |route: &&Route| route.path.rsplit('/').next().is_some_and(|end| singular(end) == singular(&last));
    let is_word = |route: &Route| route.path.rsplit('/').next() == Some(&last);
    let ends = in_order(known().filter(ends_so).collect(), &|route| {
        let depth = route.path.matches('/').count().min(9);
        20 * usize::from(route.method != method) + 10 * usize::from(!is_word(route)) + depth
    });
    ends.into_iter().take(MOST).map(|route| call(route, route.path)).collect()
}

/// The rows by their ranks, all below 40; those of one rank as they came. (Each sort of the standard library would add 15 to 30 KB to every
/// component, for a handful of rows.)
fn in_order<'r>(rows: Vec<&'r Route>, rank: &dyn Fn(&Route) -> usize) -> Vec<&'r Route> {
    (0..40).flat_map(|wanted| rows.iter().copied().filter(move |row| rank(row) == wanted)).collect()
}

fn call(route: &Route, path: &str) -> String {
    format!("{} {path}", route.method)
}

/// The path of a row with what was sent in the place of its names.
fn filled(route: &Route, sent: &str) -> String {
    let parts = route.path.split('/').zip(sent.split('/'));
    let parts: Vec<&str> = parts.map(|(own, sent)| if own.starts_with('{') { sent } else { own }).collect();
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// R121: the path that was meant is named.
    #[test]
    fn a_path_that_is_nearly_right_names_the_right_one() {
        for (method, path, expected) in [
            ("GET", "/api/agents/", "GET /api/agents"),
            ("GET", "/API/Agents", "GET /api/agents"),
            ("POST", "//api//agents", "POST /api/agents"),
            ("GET", "/api/agents/Scout/", "GET /api/agents/Scout"),
            ("POST", "/api/notify", "POST /api/ui/notify"),
            ("POST", "/api/heartbeat", "POST /api/agents/me/heartbeat"),
            ("GET", "/whoami", "GET /api/auth/whoami"),
            ("GET", "/api/inbox", "GET /api/agents/me/inbox"),
            ("POST", "/api/access-request", "POST /api/access-requests"),
            ("GET", "/OpenAPI.json", "GET /openapi.json"),
            ("GET", "/me", "GET /api/auth/whoami"),
            ("GET", "/api/tokens/me", "GET /api/auth/whoami"),
            ("POST", "/v1/me", "GET /api/auth/whoami"),
            ("POST", "/api/agents/me/token/rotate", "POST /api/agents/me/token/issue"),
            ("POST", "/api/agents/Scout/Token/refresh", "POST /api/agents/Scout/token/issue"),
            ("POST", "/api/auth/rotate", "POST /api/agents/me/token/issue"),
            ("GET", "/api/messages", "GET /api/agents/me/inbox"),
            ("GET", "/health", "GET /healthz"),
            ("POST", "/api/tokens", "POST /auth/tokens"),
            ("POST", "/api/auth/login", "POST /auth/token"),
            // R235
            ("POST", "/token", "POST /oauth/token"),
            ("POST", "/oauth2/token", "POST /oauth/token"),
            ("POST", "/OAuth2/v1/Token/", "POST /oauth/token"),
            ("POST", "/login/oauth/access_token", "POST /oauth/token"),
            ("POST", "/api/oauth/token", "POST /oauth/token"),
            ("POST", "/oauth2/revoke", "POST /oauth/revoke"),
            ("POST", "/oauth2/introspect", "POST /auth/introspect"),
            ("POST", "/oauth/device/code", "POST /auth/device/code"),
            ("POST", "/device_authorization", "POST /auth/device/code"),
            ("GET", "/.well-known/oauth/jwks.json", "GET /oauth/jwks"),
            ("POST", "/api/token", "POST /auth/token"),
            ("GET", "/swagger.json", "GET /openapi.json"),
            ("POST", "/api/requests", "POST /api/access-requests"),
            ("GET", "/api/requests", "GET /api/access-requests"),
        ] {
            assert_eq!(meant(method, path).first().map(String::as_str), Some(expected), "{path}");
        }
        for path in ["/", "/nothing", "/api/none/at/all", "/.env"] {
            assert!(meant("GET", path).is_empty(), "{path}: {:?}", meant("GET", path));
        }
        // A caller that reads is never told to change something.
        for last in ROUTES.iter().filter_map(|route| route.path.rsplit('/').next()) {
            for path in [format!("/{last}"), format!("/api/{last}"), format!("/API/agents/me/{last}/")] {
                let named = meant("GET", &path);
                assert!(named.iter().all(|call| call.starts_with("GET ")), "{path}: {named:?}");
            }
        }
    }
}
