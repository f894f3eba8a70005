//! The patterns that the access log names requests by: those of the application's own routes, which are finer than the manifest's. The manifest
//! names a file of them, one a line, in `[application.tool.accredit-host]`, which Spin ignores.

use std::collections::HashMap;
use std::sync::Arc;

/// Patterns, such as `/api/agents/{name}` and `/docs/{*page}`. A text beats a name, and a name beats the rest of a path.
#[derive(Default)]
pub(crate) struct Patterns(Node);

#[derive(Default)]
struct Node {
    texts: HashMap<String, Node>,
    name: Option<Box<Node>>,
    /// The pattern that ends here.
    end: Option<Arc<str>>,
    /// The pattern that takes the rest of the path.
    rest: Option<Arc<str>>,
}

impl Patterns {
    /// Reads a file of patterns.
    pub(crate) fn parse(text: &str) -> Self {
        let mut root = Node::default();
        for line in text.lines().map(str::trim).filter(|line| line.starts_with('/')) {
            root.put(line);
        }
        Self(root)
    }

    /// The pattern of a path. `None`: no line covers it.
    pub(crate) fn find(&self, path: &str) -> Option<Arc<str>> {
        self.0.find(path.strip_prefix('/')?)
    }
}

impl Node {
    fn put(&mut self, pattern: &str) {
        let mut at = self;
        for segment in pattern.split('/').skip(1) {
            if segment.starts_with("{*") {
                at.rest.get_or_insert_with(|| pattern.into());
                return;
            }
            at = match segment.starts_with('{') {
                true => at.name.get_or_insert_default(),
                false => at.texts.entry(segment.to_owned()).or_default(),
            };
        }
        at.end.get_or_insert_with(|| pattern.into());
    }

    fn find(&self, path: &str) -> Option<Arc<str>> {
        let (segment, rest) = path.split_once('/').map_or((path, None), |(segment, rest)| (segment, Some(rest)));
        let below = |node: &Self| match rest {
            Some(rest) => node.find(rest),
            None => node.end.clone(),
        };
        let by_text = self.texts.get(segment).and_then(below);
        let by_name = || self.name.as_deref().filter(|_| !segment.is_empty()).and_then(below);
        by_text.or_else(by_name).or_else(|| self.rest.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// R151.
    #[test]
    fn a_path_has_the_finest_pattern_that_covers_it() {
        let patterns = Patterns::parse(
            "/\n/api/agents\n/api/agents/{name}\n/api/agents/me/inbox\n/api/agents/{name}/keys/{id}\n/docs/{*page}\n/docs/api\n",
        );
        for (path, pattern) in [
            ("/", Some("/")),
            ("/api/agents", Some("/api/agents")),
            ("/api/agents/scout", Some("/api/agents/{name}")),
            ("/api/agents/me", Some("/api/agents/{name}")),
            ("/api/agents/me/inbox", Some("/api/agents/me/inbox")),
            ("/api/agents/me/keys/key_1", Some("/api/agents/{name}/keys/{id}")),
            ("/docs/agents/errors", Some("/docs/{*page}")),
            ("/docs/api", Some("/docs/api")),
            ("/docs/api/x", Some("/docs/{*page}")),
            ("/api/agents/", None),
            ("/api/agents/scout/", None),
            ("/api/agents/scout/keys", None),
            ("/api", None),
            ("api", None),
            ("", None),
        ] {
            assert_eq!(patterns.find(path).as_deref(), pattern, "{path}");
        }
    }
}
