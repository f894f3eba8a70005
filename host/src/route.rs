//! Routes: which pattern answers a path.
//!
//! Patterns are parted at `/`: a literal, `:name` for one segment, `...` (or `*`) last for the rest, also for nothing
//! (`/x/...` matches `/x`). Of two patterns that match, the first segment in which they differ decides: a literal
//! beats `:name`, `:name` beats `...`; so an exact route beats a prefix, and the longest prefix beats the others.
//! Empty segments count for nothing: `/x/` is `/x`.

use std::borrow::Cow;

use anyhow::{Result, ensure};

/// A table of routes, each with what answers it.
#[derive(Debug)]
pub(crate) struct Router<T> {
    routes: Vec<Route<T>>,
}

/// A pattern and what answers it.
#[derive(Debug)]
pub(crate) struct Route<T> {
    /// The pattern as the manifest has it.
    pub(crate) pattern: String,
    /// What answers it.
    pub(crate) target: T,
    segments: Vec<Segment>,
}

/// The order of the variants is their precedence.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Segment {
    Literal(String),
    Name(String),
    Rest,
}

/// What a path matched.
#[derive(Debug)]
pub(crate) struct Match<'r, 'p, T> {
    /// The route.
    pub(crate) route: &'r Route<T>,
    /// What the `:name`s stand for.
    pub(crate) names: Vec<(&'r str, &'p str)>,
    /// What `...` stands for, from its slash on; empty without one.
    pub(crate) rest: Cow<'p, str>,
}

impl<T> Router<T> {
    /// An empty table.
    pub(crate) fn new() -> Self {
        Self { routes: Vec::new() }
    }

    /// Adds a route. An equal pattern is replaced, and returned to be warned of.
    pub(crate) fn add(&mut self, pattern: &str, target: T) -> Result<Option<Route<T>>> {
        let segments = parse(pattern)?;
        let route = Route { pattern: pattern.to_owned(), target, segments };
        if let Some(equal) = self.routes.iter_mut().find(|known| shape(&known.segments).eq(shape(&route.segments))) {
            return Ok(Some(std::mem::replace(equal, route)));
        }
        let rank = |route: &Route<T>| route.segments.iter().map(precedence).collect::<Vec<_>>();
        self.routes.push(route);
        self.routes.sort_by_cached_key(rank);
        Ok(None)
    }

    /// The best match for `path` (without a query).
    pub(crate) fn find<'r, 'p>(&'r self, path: &'p str) -> Option<Match<'r, 'p, T>> {
        self.routes.iter().find_map(|route| route.matches(path))
    }
}

impl<T> Route<T> {
    fn matches<'r, 'p>(&'r self, path: &'p str) -> Option<Match<'r, 'p, T>> {
        let mut names = Vec::new();
        let mut left = path.trim_matches('/');
        for segment in &self.segments {
            left = left.trim_start_matches('/');
            let (part, tail) = left.split_once('/').unwrap_or((left, ""));
            match segment {
                Segment::Rest => return Some(Match { route: self, names, rest: rest(left, path) }),
                Segment::Literal(text) if text == part => {}
                Segment::Name(name) if !part.is_empty() => names.push((name.as_str(), part)),
                Segment::Literal(_) | Segment::Name(_) => return None,
            }
            left = tail;
        }
        left.is_empty().then_some(Match { route: self, names, rest: Cow::Borrowed("") })
    }
}

/// Spin's form of what `...` matched: with its slashes, as the path has them.
fn rest<'p>(left: &'p str, path: &'p str) -> Cow<'p, str> {
    match (left.is_empty(), path.ends_with('/')) {
        (true, false) => Cow::Borrowed(""),
        (true, true) => Cow::Borrowed("/"),
        (false, false) => format!("/{left}").into(),
        (false, true) => format!("/{left}/").into(),
    }
}

fn parse(pattern: &str) -> Result<Vec<Segment>> {
    let parts: Vec<&str> = pattern.split('/').filter(|part| !part.is_empty()).collect();
    let last = parts.len().saturating_sub(1);
    let segment = |(index, part): (usize, &&str)| {
        if matches!(*part, "..." | "*") {
            ensure!(index == last, "`{part}` must be the end of the route {pattern:?}");
            return Ok(Segment::Rest);
        }
        match part.strip_prefix(':') {
            Some(name) => {
                let is_plain =
                    !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b));
                ensure!(is_plain, "`{part}` in the route {pattern:?} needs a plain name");
                Ok(Segment::Name(name.to_owned()))
            }
            None => Ok(Segment::Literal((*part).to_owned())),
        }
    };
    parts.iter().enumerate().map(segment).collect()
}

/// A route's segments without the names: `/:a` and `/:b` are the same route.
fn shape(segments: &[Segment]) -> impl Iterator<Item = (u8, &str)> {
    segments.iter().map(|segment| match segment {
        Segment::Literal(text) => (0, text.as_str()),
        Segment::Name(_) => (1, ""),
        Segment::Rest => (2, ""),
    })
}

fn precedence(segment: &Segment) -> u8 {
    match segment {
        Segment::Literal(_) => 0,
        Segment::Name(_) => 1,
        Segment::Rest => 2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn router(patterns: &[&'static str]) -> Router<&'static str> {
        let mut router = Router::new();
        for pattern in patterns {
            router.add(pattern, *pattern).unwrap();
        }
        router
    }

    fn best(patterns: &[&'static str], path: &str) -> Option<&'static str> {
        router(patterns).find(path).map(|found| found.route.target)
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
    fn a_name_is_exactly_one_segment() {
        let router = router(&["/a/:id/b"]);
        assert_eq!(router.find("/a/7/b").unwrap().names, [("id", "7")]);
        assert!(router.find("/a//b").is_none());
        assert!(router.find("/a/7/8/b").is_none());
    }

    #[test]
    fn the_rest_keeps_its_slashes() {
        let router = router(&["/test/..."]);
        for (path, rest) in
            [("/test", ""), ("/test/", "/"), ("/test/a", "/a"), ("/test/a/", "/a/"), ("/test/a/b", "/a/b")]
        {
            assert_eq!(router.find(path).unwrap().rest, rest, "{path}");
        }
    }

    #[test]
    fn of_two_equal_routes_the_last_wins_and_the_first_is_told() {
        let mut router = router(&["/x/:a"]);
        assert_eq!(router.add("/x/:b", "second").unwrap().unwrap().target, "/x/:a");
        assert_eq!(router.find("/x/1").unwrap().route.target, "second");
    }

    #[test]
    fn nonsense_is_refused() {
        let mut router: Router<()> = Router::new();
        for pattern in ["/.../x", "/*/x", "/:", "/:a.json"] {
            assert!(router.add(pattern, ()).is_err(), "{pattern}");
        }
    }
}
