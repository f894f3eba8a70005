//! Patterns of paths: which path is of which row, and which row was meant by a path that is of none.

use common::{
    error::{ApiError, Code},
    route::{Group, ROUTES, Route},
};

/// The most routes that are named.
const MOST: usize = 3;

/// Whether a path is of a pattern: how general the pattern is, where its first segments count most, and what its names stand for.
/// A name of one segment at the end stands for something.
pub(crate) fn matched<'p>(pattern: &str, path: &'p str) -> Option<(u64, Vec<&'p str>)> {
    let (mut rank, mut weight, mut named, mut left) = (0, 1 << 60, Vec::new(), Some(path));
    for segment in pattern.split('/') {
        let rest = left?;
        let (first, others) = rest.split_once('/').map_or((rest, None), |(first, others)| (first, Some(others)));
        left = others;
        if segment.starts_with("{*") {
            named.push(rest);
            left = None;
            rank += 2 * weight;
        } else if segment.starts_with('{') {
            named.push(first);
            rank += weight;
        } else if segment != first {
            return None;
        }
        weight >>= 2;
    }
    let takes_nothing = pattern.rsplit('/').next().is_some_and(|last| last.starts_with('{') && !last.starts_with("{*"));
    let is_whole = left.is_none() && !(takes_nothing && named.last()?.is_empty());
    is_whole.then_some((rank, named))
}

/// 404 for a path that no row has. A path that is a row's but for its case or its slashes, or that ends as one does, names that row.
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
    let known = || ROUTES.iter().copied().filter(|route| route.group != Group::Web);
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
        ] {
            assert_eq!(meant(method, path).first().map(String::as_str), Some(expected), "{path}");
        }
        for path in ["/", "/nothing", "/api/none/at/all", "/.env"] {
            assert!(meant("GET", path).is_empty(), "{path}: {:?}", meant("GET", path));
        }
    }
}
