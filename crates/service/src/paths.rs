//! Patterns of paths: which path is of which row, and which row was meant by a path that is of none.

pub(crate) use common::exact::matched;
use common::{
    error::{ApiError, Code},
    route::{self, Group, ROUTES, Route},
};

/// The most routes that are named.
const MOST: usize = 3;

/// What others call the caller.
const OWN: [&str; 4] = ["me", "self", "user", "profile"];

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
    let mut same: Vec<&Route> = known().filter(is_same).collect();
    same.sort_by_key(|route| (route.method != method, route.path.contains('{')));
    if same.first().is_some_and(|route| route.method == method) {
        same.truncate(1);
    }
    if !same.is_empty() {
        return same.into_iter().take(MOST).map(|route| call(route, &filled(route, &clean))).collect();
    }
    // The last word of the path, which may be missing an `s` or have one too many.
    let Some(last) = segments.last().map(|last| last.to_ascii_lowercase()) else { return Vec::new() };
    if OWN.contains(&last.as_str()) {
        return vec![call(route::WHOAMI, route::WHOAMI.path)];
    }
    let singular = |word: &str| word.trim_end_matches('s').to_owned();
    let ends_so = |route: &&Route| route.path.rsplit('/').next().is_some_and(|end| singular(end) == singular(&last));
    let mut ends: Vec<&Route> = known().filter(ends_so).collect();
    ends.sort_by_key(|route| (route.method != method, route.path.matches('/').count()));
    ends.into_iter().take(MOST).map(|route| call(route, route.path)).collect()
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
