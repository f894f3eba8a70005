//! Routes: which pattern a path belongs to.
//!
//! Spin uses the crate routefinder. This host uses the same version of it, so that the answer is the same even where it
//! surprises. A pattern consists of segments between slashes: a literal, `:name` for one segment, and at the end `...` (or
//! `*`) for the rest, which may be empty (`/x/...` matches `/x`). An exact route beats `:name`, `:name` beats the rest, and
//! the longest prefix beats the others. Slashes at both ends of a path are ignored. Within a path each slash separates two
//! segments, which may be empty: `/x/y` does not match `/x//y`.

use anyhow::{Result, anyhow, ensure};
use routefinder::{Captures, RouteSpec, Segment};

/// A table of routes, each with its target.
#[derive(Debug)]
pub(crate) struct Router<T> {
    routes: Vec<Route<T>>,
    /// Finds indexes into `routes`.
    finder: routefinder::Router<usize>,
}

/// A pattern and its target.
#[derive(Debug)]
pub(crate) struct Route<T> {
    /// The pattern as the manifest has it.
    pub(crate) pattern: String,
    /// What answers its requests.
    pub(crate) target: T,
}

/// The route that a path matched.
#[derive(Debug)]
pub(crate) struct Match<'r, 'p, T> {
    /// The route.
    pub(crate) route: &'r Route<T>,
    path: &'p str,
    captures: Captures<'r, 'p>,
}

impl<T> Router<T> {
    /// A table of these patterns. If two are the same text, the last one counts, in the place of the first. Calls `unreached`
    /// for each route that no path can reach, with that route and the one that takes its place.
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
    /// The names and values of the `:name`s. A value may be empty. If two have the same name, the last one counts.
    pub(crate) fn names(&self) -> impl Iterator<Item = (&str, &str)> {
        let names = self.captures.params();
        let is_last =
            move |(place, name): &(usize, &str)| !names.iter().skip(place + 1).any(|other| other.name() == *name);
        let numbered = names.iter().enumerate().filter(move |(place, name)| is_last(&(*place, name.name())));
        numbered.map(|(_, name)| (name.name(), name.value()))
    }

    /// The part of the path that `...` matched, with the slash before it and one after it if the path has one. Empty without `...`.
    pub(crate) fn rest(&self) -> String {
        match (self.captures.wildcard(), self.path.ends_with('/')) {
            (None, _) | (Some(""), false) => String::new(),
            (Some(""), true) => "/".to_owned(),
            (Some(rest), false) => format!("/{rest}"),
            (Some(rest), true) => format!("/{rest}/"),
        }
    }
}

/// Spin's form of a pattern: with a slash at its beginning, and without one at its end.
pub(crate) fn whole(pattern: &str) -> String {
    let slash = if pattern.starts_with('/') { "" } else { "/" };
    let whole = format!("{slash}{pattern}");
    whole.strip_suffix('/').map(ToOwned::to_owned).unwrap_or(whole)
}

fn parse(pattern: &str) -> Result<RouteSpec> {
    let whole = whole(pattern);
    let plain = whole.strip_suffix("/...").map_or_else(|| whole.clone(), |prefix| format!("{prefix}/*"));
    let spec: RouteSpec = plain.parse().map_err(|error| anyhow!("in the route {pattern:?}: {error}"))?;
    // Spin accepts these patterns, and panics at the first request that is compared with them.
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
mod tests;
