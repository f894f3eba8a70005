//! One request of a route, named exactly: what an agent asks for once, and what a person reads before they approve it.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use serde_json::Value as Json;

use crate::{
    route::{
        AGENTS_CREATE, AGENTS_IMPORT, AGENTS_PATCH, AGENTS_PUT, Access, Callers, DEPLOY, GRANTS_GIVE, GRANTS_TAKE,
        KEY_GRANTS_GIVE, KEY_GRANTS_TAKE, Object, ROUTES, Route,
    },
    secret::{Digest, Secret},
};

/// What a segment of a path cannot hold as it is.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');
/// The most characters of a path with its query.
const MOST: usize = 2_000;

/// A method, a path with its query, and a body by its digest.
#[derive(Clone, Debug)]
pub struct Exact {
    route: &'static Route,
    path: String,
    body: Option<String>,
    /// The body itself, if the agent shows it. It makes no other request of it.
    text: Option<String>,
    /// The agents that the body names, beside that of the path; known of a request that was sent. They make no other request of it.
    named: Vec<String>,
}

impl PartialEq for Exact {
    fn eq(&self, other: &Self) -> bool {
        (self.route, &self.path, &self.body) == (other.route, &other.path, &other.body)
    }
}

impl Eq for Exact {}

/// What is wrong with a request that was named: the member, and the problem.
pub type Flaw = (&'static str, &'static str);

impl Exact {
    /// The request of this method and path, which may have a query, with a body of this SHA-256 (`None`: it has none). Only a request that
    /// an agent could be refused for want of a scope can be named.
    pub fn new(method: &str, path: &str, body: Option<&str>) -> Result<Self, Flaw> {
        let is_plain = path.bytes().all(|byte| (0x21..0x7f).contains(&byte)) && !path.contains('#');
        if !is_plain || path.len() > MOST {
            return Err(("path", "must be a path of this API as it is sent: at most 2000 visible ASCII characters"));
        }
        if Secret::is_in(path.as_bytes()) || Secret::is_in(&percent_decode_str(path).collect::<Vec<u8>>()) {
            return Err(("path", "holds a credential, which belongs in the header Authorization"));
        }
        let (bare, query) = path.split_once('?').unwrap_or((path, ""));
        let route = row(method, bare).ok_or(("path", "is with this method no route that GET /api lists"))?;
        if !can_be_named(route) {
            return Err((
                "path",
                "is a route that an agent is never refused for want of a scope that could be approved",
            ));
        }
        let body = match body.map(Digest::parse) {
            None => None,
            Some(Some(digest)) => Some(digest.to_string()),
            Some(None) => return Err(("body_sha256", "must be the SHA-256 of the body as 64 hexadecimal digits")),
        };
        let mut path = normal(route, bare);
        if !query.is_empty() {
            path = format!("{path}?{query}");
        }
        Ok(Self { route, path, body, text: None, named: Vec::new() })
    }

    /// The same with its body itself, which gives the digest where none was named. `None`: the digest that was named is of another body.
    pub fn showing(self, text: &str) -> Option<Self> {
        let digest = Digest::of(text.as_bytes()).to_string();
        let is_same = self.body.as_ref().is_none_or(|named| *named == digest);
        is_same.then(|| Self { body: Some(digest), text: Some(text.to_owned()), ..self })
    }

    /// The request that was sent: its route, its path and query, and its body.
    pub fn sent(route: &'static Route, path: &str, query: Option<&str>, body: &[u8]) -> Option<Self> {
        let target = match query {
            None | Some("") => path.to_owned(),
            Some(query) => format!("{path}?{query}"),
        };
        let digest = (!body.is_empty()).then(|| Digest::of(body).to_string());
        let exact = Self::new(route.method, &target, digest.as_deref()).ok().filter(|exact| exact.route == route)?;
        Some(Self { named: named(route, body), ..exact })
    }

    /// One that was stored. `None`: its route is no more.
    pub fn stored(method: &str, path: String, body: Option<String>, text: Option<String>) -> Option<Self> {
        let bare = path.split('?').next().unwrap_or_default();
        Some(Self { route: row(method, bare)?, path, body, text, named: Vec::new() })
    }

    /// Its route.
    pub const fn route(&self) -> &'static Route {
        self.route
    }

    /// Its path as the router reads it, with its query.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The SHA-256 of its body, in hexadecimal; `None`: it has none.
    pub fn body(&self) -> Option<&str> {
        self.body.as_deref()
    }

    /// Its body itself, if the agent shows it.
    pub fn text(&self) -> Option<&str> {
        self.text.as_deref()
    }

    /// The agents that its body names.
    pub fn named(&self) -> &[String] {
        &self.named
    }

    /// What the names in its path stand for.
    pub fn names(&self) -> Vec<String> {
        names(self.route, self.path.split('?').next().unwrap_or_default())
    }

    /// The name or the id of the agent that its path begins with; `None`: it is not about an agent.
    pub fn agent(&self) -> Option<String> {
        let is_about_agent =
            matches!(self.route.object, Some(Object::Agent(_) | Object::AgentState(_) | Object::Key(_)));
        self.names().into_iter().next().filter(|_| is_about_agent)
    }

    /// The same in words: what the route does, and with what. What the names stand for is written as in the path, so that no text of an agent's
    /// passes for one of the server's.
    pub fn words(&self) -> String {
        let (bare, query) = self.path.split_once('?').unwrap_or((&self.path, ""));
        let mut with = matched(self.route.path, bare).map(|(_, named)| named).unwrap_or_default();
        if !query.is_empty() {
            with.push(query);
        }
        match with.is_empty() {
            true => self.route.title.to_owned(),
            false => format!("{}: {}", self.route.title, with.join(", ")),
        }
    }

    /// In words that an agent has no part in: what the route does, and with which agent, where it is about one.
    pub fn own_words(&self) -> String {
        match self.agent() {
            Some(name) => format!("{}: {name}", self.route.title),
            None => self.route.title.to_owned(),
        }
    }

    /// The digest of all of it.
    pub fn digest(&self) -> Digest {
        Digest::of_parts(&[self.route.method, &self.path, self.body.as_deref().unwrap_or_default()])
    }
}

/// The agents that the body of a request of this row names. A body that is no JSON names none.
fn named(route: &Route, body: &[u8]) -> Vec<String> {
    let is = |rows: &[&Route]| rows.contains(&route);
    let members: &[&str] = match () {
        () if is(&[DEPLOY]) => &["/name", "/create/parent"],
        () if is(&[AGENTS_CREATE, AGENTS_PATCH, AGENTS_PUT]) => &["/parent"],
        () if is(&[AGENTS_IMPORT]) => &["/agents"],
        () if is(&[GRANTS_GIVE, GRANTS_TAKE, KEY_GRANTS_GIVE, KEY_GRANTS_TAKE]) => &["/subject"],
        () if route.path.starts_with("/api/agents/bulk/") => &["/names"],
        () => return Vec::new(),
    };
    let sent: Json = serde_json::from_slice(body).unwrap_or_default();
    let found = members.iter().filter_map(|member| sent.pointer(member));
    let each = found.flat_map(|value| match value {
        Json::Array(all) => all.as_slice(),
        one => std::slice::from_ref(one),
    });
    // An entry of a document names the agent above it.
    let texts = each.filter_map(|one| one.as_str().or_else(|| one.get("parent")?.as_str()));
    texts.map(str::to_owned).collect()
}

/// Whether a refusal for want of a scope at this row could be helped by an approval for once.
fn can_be_named(route: &Route) -> bool {
    let is_for_agents = matches!(route.callers, Callers::Everyone | Callers::Agents);
    let needs_scope =
        matches!(route.access, Access::Scope(_)) || route.fields.iter().any(|field| field.scope.is_some());
    is_for_agents && needs_scope && !route.for_proxies
}

/// The row of a method and a path, as the routers find it: by the path first.
fn row(method: &str, path: &str) -> Option<&'static Route> {
    let fitting = ROUTES.iter().copied().filter_map(|route| Some((matched(route.path, path)?.0, route)));
    let (least, _) = fitting.clone().min_by_key(|(rank, _)| *rank)?;
    fitting.filter(|(rank, _)| *rank == least).map(|(_, route)| route).find(|route| route.method == method)
}

/// The path with what its names stand for written in one way.
fn normal(route: &Route, path: &str) -> String {
    let parts = route.path.split('/').zip(path.split('/'));
    let written = parts.map(|(own, sent)| match own.starts_with('{') {
        true => utf8_percent_encode(&decoded(sent), SEGMENT).to_string(),
        false => own.to_owned(),
    });
    written.collect::<Vec<_>>().join("/")
}

/// What the names of a route's path stand for in a path of it.
pub fn names(route: &Route, path: &str) -> Vec<String> {
    let named = matched(route.path, path).map(|(_, named)| named).unwrap_or_default();
    named.into_iter().map(decoded).collect()
}

/// A segment, percent-decoded. A segment that is not UTF-8 names nothing.
pub fn decoded(text: &str) -> String {
    percent_decode_str(text).decode_utf8().map(|text| text.into_owned()).unwrap_or_default()
}

/// Whether a path is of a pattern: how general the pattern is, where its first segments count most, and what its names stand for.
/// A name of one segment at the end stands for something.
pub fn matched<'p>(pattern: &str, path: &'p str) -> Option<(u64, Vec<&'p str>)> {
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

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "E3B0C44298FC1C149AFBF4C8996FB92427AE41E4649B934CA495991B7852B855";

    /// R174: the same request has one name, however it was written.
    #[test]
    fn a_request_is_named_as_the_router_reads_it() {
        let plain = Exact::new("DELETE", "/api/agents/scout?confirm=scout", None).unwrap();
        assert_eq!(Exact::new("DELETE", "/api/agents/sc%6Fut?confirm=scout", None).unwrap(), plain);
        assert_eq!(
            plain.words(),
            "Archive an agent and all agents below it, and revoke their credentials: scout, confirm=scout"
        );
        assert_ne!(Exact::new("DELETE", "/api/agents/scout", None).unwrap(), plain, "the query is part of it");
        let made = Exact::new("POST", "/api/agents", Some(DIGEST)).unwrap();
        assert_eq!(
            (made.body(), made.words().as_str()),
            (Some(DIGEST.to_lowercase().as_str()), "Register an agent and issue its token")
        );
        assert_eq!(Exact::sent(made.route(), "/api/agents", Some(""), b"").unwrap().body(), None);
        let odd = Exact::new("GET", "/api/agents/a%2Fb%20c", None).unwrap();
        assert_eq!((odd.path(), odd.names()), ("/api/agents/a%2Fb%20c", vec!["a/b c".to_owned()]));
        assert_eq!(odd.words(), "Get an agent: a%2Fb%20c");
        for one in [&plain, &made, &odd] {
            let again = Exact::stored(one.route().method, one.path().to_owned(), one.body().map(str::to_owned), None);
            assert_eq!(again.as_ref(), Some(one));
        }
    }

    /// R174: what cannot be approved cannot be named.
    #[test]
    fn a_request_that_no_approval_could_help_is_not_named() {
        for (method, path, body, member) in [
            ("POST", "/api/nothing", None, "path"),
            ("FLY", "/api/agents", None, "path"),
            ("GET", "/api/agents/import", None, "path"), // the router reads the path first
            ("get", "/api/agents", None, "path"),
            ("GET", "/api/agents/", None, "path"),
            ("GET", "api/agents", None, "path"),
            ("GET", "http://127.0.0.1/api/agents", None, "path"),
            ("GET", "/api/auth/whoami", None, "path"),   // no scope
            ("GET", "/api/users", None, "path"),         // for people
            ("GET", "/auth/verify", None, "path"),       // for proxies
            ("GET", "/docs/agents/index", None, "path"), // public
            ("GET", "/api/agents#top", None, "path"),
            ("GET", "/api/agents?q=a b", None, "path"),
            ("GET", "/api/agents?q=é", None, "path"),
            ("POST", "/api/agents", Some(""), "body_sha256"),
            ("POST", "/api/agents", Some("ab"), "body_sha256"),
            ("POST", "/api/agents", Some(&DIGEST[1..]), "body_sha256"),
        ] {
            assert_eq!(Exact::new(method, path, body).unwrap_err().0, member, "{method} {path}");
        }
        let long = format!("/api/agents?q={}", "a".repeat(MOST));
        assert_eq!(Exact::new("GET", &long, None).unwrap_err().0, "path");
        let secret = Secret::generate(crate::secret::Kind::Session, &crate::secret::Chance::seeded(1));
        let held = format!("/api/agents?q={}", secret.reveal());
        assert_eq!(
            Exact::new("GET", &held, None).unwrap_err().1,
            "holds a credential, which belongs in the header Authorization"
        );
    }
}
