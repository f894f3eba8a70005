//! Routes: which pattern answers a path.
//!
//! Spin asks the crate routefinder, and so do we, in the version that it has: what comes out is its answer also where
//! that surprises. Patterns are parted at `/`: a literal, `:name` for one segment, `...` (or `*`) last for the rest,
//! also for nothing (`/x/...` matches `/x`). An exact route beats `:name`, `:name` beats the rest, and the longest
//! prefix beats the others. Slashes at both ends of a path count for nothing; within it each one parts two segments,
//! which may be empty: `/x//y` has no route `/x/y`.

use anyhow::{Result, anyhow, ensure};
use routefinder::{Captures, RouteSpec, Segment};

/// A table of routes, each with what answers it.
#[derive(Debug)]
pub(crate) struct Router<T> {
    routes: Vec<Route<T>>,
    /// Gives places in `routes`.
    finder: routefinder::Router<usize>,
}

/// A pattern and what answers it.
#[derive(Debug)]
pub(crate) struct Route<T> {
    /// The pattern as the manifest has it.
    pub(crate) pattern: String,
    /// What answers it.
    pub(crate) target: T,
}

/// What a path matched.
#[derive(Debug)]
pub(crate) struct Match<'r, 'p, T> {
    /// The route.
    pub(crate) route: &'r Route<T>,
    path: &'p str,
    captures: Captures<'r, 'p>,
}

impl<T> Router<T> {
    /// A table of these patterns. Of two that are written alike the last one counts, in the place of the first.
    /// `unreached` is told of each route that another one takes everything from: first that one, then the other.
    pub(crate) fn new(
        entries: impl IntoIterator<Item = (String, T)>,
        mut unreached: impl FnMut(&Route<T>, &Route<T>),
    ) -> Result<Self> {
        let mut routes: Vec<Route<T>> = Vec::new();
        for (pattern, target) in entries {
            let mut route = Route { pattern, target };
            match routes.iter_mut().find(|known| known.pattern == route.pattern) {
                Some(known) => {
                    std::mem::swap(known, &mut route);
                    unreached(&route, known);
                }
                None => routes.push(route),
            }
        }
        let mut finder = routefinder::Router::new();
        let mut specs: Vec<(RouteSpec, &Route<T>)> = Vec::new();
        for (place, route) in routes.iter().enumerate() {
            let spec = parse(&route.pattern)?;
            if let Some((_, first)) = specs.iter().find(|(known, _)| is_equal(known, &spec)) {
                unreached(route, first);
            }
            specs.push((spec.clone(), route));
            finder.add(spec, place).map_err(|never| anyhow!("{never}"))?;
        }
        Ok(Self { routes, finder })
    }

    /// The best match for `path` (without a query).
    pub(crate) fn find<'r, 'p>(&'r self, path: &'p str) -> Option<Match<'r, 'p, T>> {
        let found = self.finder.best_match(path)?;
        Some(Match { route: self.routes.get(*found.handler())?, path, captures: found.captures() })
    }
}

impl<T> Match<'_, '_, T> {
    /// What the `:name`s stand for, which may be nothing. Of two of one name the last one counts.
    pub(crate) fn names(&self) -> impl Iterator<Item = (&str, &str)> {
        let names = self.captures.params();
        let is_last =
            move |(place, name): &(usize, &str)| !names.iter().skip(place + 1).any(|other| other.name() == *name);
        let numbered = names.iter().enumerate().filter(move |(place, name)| is_last(&(*place, name.name())));
        numbered.map(|(_, name)| (name.name(), name.value()))
    }

    /// What `...` stands for, from its slash on, with the slashes that the path has; empty without one.
    pub(crate) fn rest(&self) -> String {
        match (self.captures.wildcard(), self.path.ends_with('/')) {
            (None, _) | (Some(""), false) => String::new(),
            (Some(""), true) => "/".to_owned(),
            (Some(rest), false) => format!("/{rest}"),
            (Some(rest), true) => format!("/{rest}/"),
        }
    }
}

/// Spin's form of a pattern: it begins with a slash, and one at its end is taken off.
pub(crate) fn whole(pattern: &str) -> String {
    let slash = if pattern.starts_with('/') { "" } else { "/" };
    let whole = format!("{slash}{pattern}");
    whole.strip_suffix('/').map(ToOwned::to_owned).unwrap_or(whole)
}

fn parse(pattern: &str) -> Result<RouteSpec> {
    let whole = whole(pattern);
    let plain = whole.strip_suffix("/...").map_or_else(|| whole.clone(), |prefix| format!("{prefix}/*"));
    let spec: RouteSpec = plain.parse().map_err(|error| anyhow!("in the route {pattern:?}: {error}"))?;
    // These Spin takes, and panics at the first request that gets so far.
    for (segment, next) in spec.segments().iter().zip(spec.segments().iter().skip(1)) {
        ensure!(*segment != Segment::Wildcard, "`*` must be the end of the route {pattern:?}");
        ensure!(
            !matches!(segment, Segment::Param(_)) || matches!(next, Segment::Slash | Segment::Dot),
            "a name in the route {pattern:?} must end at a slash or a dot"
        );
    }
    Ok(spec)
}

/// Whether two patterns match the same paths.
fn is_equal(one: &RouteSpec, other: &RouteSpec) -> bool {
    let (one, other) = (one.segments(), other.segments());
    let is_equal = |(one, other): (&Segment, &Segment)| {
        matches!((one, other), (Segment::Param(_), Segment::Param(_))) || one == other
    };
    one.len() == other.len() && one.iter().zip(other).all(is_equal)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn router(patterns: &[&'static str]) -> Router<usize> {
        let entries = patterns.iter().enumerate().map(|(place, pattern)| ((*pattern).to_owned(), place));
        Router::new(entries, |_, _| {}).unwrap()
    }

    fn best(patterns: &[&'static str], path: &str) -> Option<&'static str> {
        router(patterns).find(path).and_then(|found| patterns.get(found.route.target).copied())
    }

    #[test]
    fn an_exact_route_beats_the_longest_prefix_in_any_order() {
        assert_eq!(best(&["/...", "/one/...", "/one"], "/one"), Some("/one"));
        assert_eq!(best(&["/one", "/one/...", "/..."], "/one/two"), Some("/one/..."));
        assert_eq!(best(&["/one/two/...", "/one/..."], "/one/two/three"), Some("/one/two/..."));
        assert_eq!(best(&["/one/..."], "/two"), None);
    }

    #[test]
    fn a_literal_beats_a_name_beats_the_rest() {
        let patterns = ["/api/...", "/api/:name", "/api/self", "/api/:name/token"];
        assert_eq!(best(&patterns, "/api/self"), Some("/api/self"));
        assert_eq!(best(&patterns, "/api/scout"), Some("/api/:name"));
        assert_eq!(best(&patterns, "/api/self/token"), Some("/api/:name/token"));
        assert_eq!(best(&patterns, "/api/a/b/c"), Some("/api/..."));
    }

    #[test]
    fn a_prefix_matches_its_own_path_but_no_longer_word() {
        assert_eq!(best(&["/x/..."], "/x"), Some("/x/..."));
        assert_eq!(best(&["/x/..."], "/x/"), Some("/x/..."));
        assert_eq!(best(&["/x/..."], "/xy"), None);
        assert_eq!(best(&["/..."], "/"), Some("/..."));
    }

    #[test]
    fn empty_segments_count_within_a_path_but_not_at_its_ends() {
        let patterns = ["/one/...", "/one/exact/who", "/named/:name/who", "/named/literal/who", "/named/..."];
        for (path, pattern) in [
            ("//one/exact/who//", "/one/exact/who"),
            ("/one/exact//who", "/one/..."),
            ("/one//exact/who", "/one/..."),
            ("/named//who", "/named/:name/who"),
            ("/named//literal/who", "/named/..."),
        ] {
            assert_eq!(best(&patterns, path), Some(pattern), "{path}");
        }
    }

    #[test]
    fn a_name_is_exactly_one_segment_which_may_be_empty() {
        let router = router(&["/a/:id/b"]);
        let names =
            |path| router.find(path).map(|found| found.names().map(|(_, id)| id.to_owned()).collect::<Vec<_>>());
        assert_eq!(names("/a/7/b"), Some(vec!["7".to_owned()]));
        assert_eq!(names("/a//b"), Some(vec![String::new()]));
        assert_eq!(names("/a/7/8/b"), None);
    }

    #[test]
    fn of_two_names_that_are_alike_the_last_counts() {
        let router = router(&["/:a/:b/:a"]);
        assert_eq!(router.find("/1/2/3").unwrap().names().collect::<Vec<_>>(), [("b", "2"), ("a", "3")]);
    }

    #[test]
    fn a_name_may_end_at_a_dot() {
        let patterns = ["/x/:name", "/x/:name.json"];
        assert_eq!(best(&patterns, "/x/a.json"), Some("/x/:name.json"));
        assert_eq!(best(&patterns, "/x/a.xml"), Some("/x/:name"));
    }

    #[test]
    fn the_rest_keeps_its_slashes() {
        let router = router(&["/test/..."]);
        for (path, rest) in [
            ("/test", ""),
            ("/test/", "/"),
            ("/test/a", "/a"),
            ("/test/a/", "/a/"),
            ("/test/a/b", "/a/b"),
            ("/test//a", "//a"),
            ("/test/a//", "/a/"),
        ] {
            assert_eq!(router.find(path).unwrap().rest(), rest, "{path}");
        }
    }

    #[test]
    fn of_two_routes_written_alike_the_last_wins_and_of_two_that_are_equal_the_first() {
        for (patterns, path, winner) in [
            (["/x", "/x"], "/x", 1),
            (["/x/:a", "/x/:b"], "/x/1", 0),
            (["/x", "/x/"], "/x", 0),
            (["/x/*", "/x/..."], "/x/1", 0),
        ] {
            let mut told = Vec::new();
            let entries = patterns.iter().enumerate().map(|(place, pattern)| ((*pattern).to_owned(), place));
            let router = Router::new(entries, |loser, winner| told.push((loser.target, winner.target))).unwrap();
            assert_eq!(router.find(path).unwrap().route.target, winner, "{patterns:?}");
            assert_eq!(told, [(1 - winner, winner)], "{patterns:?}");
        }
    }

    #[test]
    fn what_spin_would_panic_at_is_refused() {
        for pattern in ["/*/x", "/a/*/...", "/:", "/*name", "/\u{e9}/:ab/c/:de/f/:g"] {
            assert!(Router::new([(pattern.to_owned(), ())], |_, _| {}).is_err(), "{pattern}");
        }
        // Dots in the middle are a literal, in Spin's own way.
        assert_eq!(best(&["/a/.../x"], "/a.../x"), Some("/a/.../x"));
    }
}
