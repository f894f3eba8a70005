//! Fixes as their reader can follow them. A fix of the table advises what most callers of a route can do; this reader may be barred from
//! it, and then the sentence says who can do it, or when.

use std::borrow::Cow;

use crate::{
    exact::matched,
    route::{ROUTES, Route},
    scope::Scope,
};

/// What a fix says about the caller that receives it.
pub struct Reader<'a> {
    /// The tenant's slug.
    pub tenant: &'a str,
    /// The agent's name and its owner's address, if the caller is an agent.
    pub agent_and_owner: Option<(&'a str, &'a str)>,
    /// What keeps the caller from sending a request.
    pub bar: Bars<'a>,
    /// How an agent tells its owner what it cannot do itself, behind a sentence that asks for it. Empty for others.
    pub tell: String,
}

/// Says what keeps a caller from sending a request of this row to this path. `None`: nothing that is known.
pub type Bars<'a> = Box<dyn Fn(&Route, &str) -> Option<Bar> + 'a>;

/// What keeps a caller from sending a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bar {
    /// The agent is paused, stopped or over its budget.
    Halted,
    /// The route is for people.
    Person,
    /// The route is for sessions.
    Session,
    /// The route is for agents.
    Agent,
    /// The credential lacks the scope; `by_role`: the person's role has it.
    Scope {
        /// The scope.
        scope: Scope,
        /// Whether another credential of the same person could carry it.
        by_role: bool,
    },
}

/// A request that a fix names.
#[derive(Debug, PartialEq, Eq)]
pub struct Named<'a> {
    /// The method.
    pub method: &'a str,
    /// The path, with its query; `<…>` stands for what the reader knows.
    pub path: &'a str,
    /// The row that is meant. `None`: there is no such row.
    pub route: Option<&'static Route>,
    /// Where it begins in the text.
    start: usize,
    /// Where it ends, behind its body.
    end: usize,
}

const METHODS: [&str; 5] = ["GET", "POST", "PUT", "PATCH", "DELETE"];

/// Words before a request which say that somebody else sends it.
const OTHERS: [&str; 10] =
    ["Ask ", "ask ", "admin", "owner ", "operator", "can send", "@", "the service", "Let the agent", "the agent has"];

/// The requests that a text names, in order.
pub fn named(text: &str) -> Vec<Named<'_>> {
    let mut found = Vec::new();
    for (slash, _) in text.match_indices(" /") {
        let method =
            METHODS.into_iter().find(|method| text.get(..slash).is_some_and(|before| before.ends_with(method)));
        let Some((method, rest)) = method.zip(text.get(slash + 1..)) else { continue };
        let path = path_in(rest);
        let after = slash + 1 + path.len();
        let body = text.get(after..).map_or(0, body_in);
        let route = row(method, path.split('?').next().unwrap_or_default());
        found.push(Named { method, path, route, start: slash - method.len(), end: after + body });
    }
    found
}

/// The path at the beginning of a text. A blank ends it, but not within `<…>`.
fn path_in(text: &str) -> &str {
    let mut is_inside = false;
    let end = text.find(|c: char| {
        match c {
            '<' => is_inside = true,
            '>' => is_inside = false,
            _ => {}
        }
        !is_inside && (c.is_whitespace() || matches!(c, ',' | ';' | ':' | ')'))
    });
    let path = text.get(..end.unwrap_or(text.len())).unwrap_or_default();
    path.strip_suffix('.').unwrap_or(path)
}

/// How long the body is that follows a path, with the blank before it.
fn body_in(text: &str) -> usize {
    if !text.starts_with(" {") {
        return 0;
    }
    let mut depth = 0_u32;
    for (at, c) in text.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 1 => return at + 1,
            '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    0
}

fn row(method: &str, path: &str) -> Option<&'static Route> {
    let fits = ROUTES.iter().copied().filter(|route| route.method == method);
    fits.filter_map(|route| Some((matched(route.path, path)?.0, route)))
        .min_by_key(|(rank, _)| *rank)
        .map(|(_, row)| row)
}

/// The sentences of a text, each without the blank behind it. A body is never parted.
fn sentences(text: &str) -> Vec<&str> {
    let (mut parts, mut from, mut depth) = (Vec::new(), 0, 0_u32);
    for (at, c) in text.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            '.' if depth == 0 && text.get(at + 1..).is_some_and(|rest| rest.starts_with(' ')) => {
                parts.extend(text.get(from..=at));
                from = at + 2;
            }
            _ => {}
        }
    }
    parts.extend(text.get(from..));
    parts
}

/// The requests of a sentence that its reader is told to send.
pub fn advised(sentence: &str) -> Vec<Named<'_>> {
    let is_own = |named: &Named<'_>| {
        let before = sentence.get(..named.start).unwrap_or_default();
        !OTHERS.iter().any(|word| before.contains(word))
    };
    named(sentence).into_iter().filter(is_own).collect()
}

/// The fix as this reader can follow it.
pub(crate) fn fitting<'a>(fix: Cow<'a, str>, reader: &Reader<'_>) -> Cow<'a, str> {
    if !fix.contains(" /") {
        return fix;
    }
    let parts = sentences(&fix);
    let fitted: Vec<Cow<'_, str>> = parts.iter().map(|sentence| fitted(sentence, reader)).collect();
    if fitted.iter().all(|sentence| matches!(sentence, Cow::Borrowed(_))) {
        return fix;
    }
    fitted.join(" ").into()
}

fn fitted<'a>(sentence: &'a str, reader: &Reader<'_>) -> Cow<'a, str> {
    let own = advised(sentence);
    let barred = |named: &Named<'_>| {
        let path = named.path.split('?').next().unwrap_or_default();
        named.route.and_then(|route| (reader.bar)(route, path))
    };
    let Some((bar, at)) = own.iter().find_map(|named| Some((barred(named)?, named.start))) else {
        return sentence.into();
    };
    // An alternative that comes first is enough.
    if let Some((kept, _)) = sentence.get(..at).and_then(|before| before.rsplit_once(", or ")) {
        return format!("{kept}.").into();
    }
    let (Some(first), Some(last)) = (own.first(), own.last()) else { return sentence.into() };
    let sent = sentence.get(first.start..last.end).unwrap_or_default();
    let owner = reader.agent_and_owner.map(|(_, owner)| owner);
    let text = match (bar, owner) {
        (Bar::Halted, _) => format!("When you run again, as GET /api/auth/whoami says, {}", lowered(sentence)),
        // It says itself that it takes one.
        (Bar::Session, None) if sentence.contains("session") => return sentence.into(),
        (Bar::Person, Some(owner)) => format!("{owner} can send {sent} for you: it takes a person."),
        (Bar::Session, Some(owner)) => format!("{owner} can send {sent} for you: it takes a session."),
        (Bar::Scope { scope, by_role: true }, Some(owner)) => {
            format!("{owner} can send {sent} for you: you lack {}.", scope.as_str())
        }
        (Bar::Scope { scope, by_role: true }, None) => {
            format!("{sent} needs {}, which this credential lacks: a session has it.", scope.as_str())
        }
        (Bar::Scope { scope, .. }, _) => {
            format!("An admin of your tenant can send {sent}: you lack {}.", scope.as_str())
        }
        (Bar::Session | Bar::Person, None) => format!("{sent} takes a session: sign in with POST /auth/token."),
        (Bar::Agent, _) => format!("{sent} is for agents."),
    };
    text.into()
}

/// A sentence behind other words: its first letter is small, unless it begins with a method.
fn lowered(sentence: &str) -> Cow<'_, str> {
    let begins_so = METHODS.iter().any(|method| sentence.starts_with(method));
    match sentence.split_at_checked(1).filter(|_| !begins_so) {
        Some((first, rest)) => format!("{}{rest}", first.to_ascii_lowercase()).into(),
        None => sentence.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        error::{ApiError, Code},
        route,
    };

    fn reader(bar: impl Fn(&Route) -> Option<Bar> + 'static, agent: bool) -> Reader<'static> {
        Reader {
            tenant: "main",
            agent_and_owner: agent.then_some(("scout", "ada@example.com")),
            bar: Box::new(move |route, _| bar(route)),
            tell: String::new(),
        }
    }

    fn read(code: Code, reader: Reader<'_>) -> String {
        // Values of placeholders, which stand for names.
        let names = ["agent", "webhook", "path", "preset", "request", "successor", "token", "user", "parent", "id"];
        let refusal = names.into_iter().fold(ApiError::from(code), |refusal, name| match name {
            "path" => refusal.with(name, "/api/agents/scout/grants"),
            _ => refusal.with(name, "scout"),
        });
        let refusal = refusal.with("verb", "start").with("legal", "start").with("free", "Delete what nobody needs");
        refusal.envelope("req_1", "", Some(reader)).fix.into_owned()
    }

    /// R200: each request that a fix of the table names is one of the route table.
    #[test]
    fn each_request_of_a_fix_is_a_row() {
        for code in Code::ALL {
            for agent in [false, true] {
                let fix = read(*code, reader(|_| None, agent));
                for named in named(&fix) {
                    let is_step = named.path.ends_with("/<step>");
                    assert!(named.route.is_some() || is_step, "{}: {named:?}: {fix}", code.row().slug);
                }
            }
        }
    }

    /// R200: whatever a reader is barred from, no fix of the table tells it to send that, and none is empty.
    #[test]
    fn no_fix_advises_what_its_reader_cannot_send() {
        let scope = |by_role| {
            move |route: &Route| match route.access {
                route::Access::Scope(scope) => Some(Bar::Scope { scope, by_role }),
                _ => None,
            }
        };
        let halted =
            |route: &Route| (!route.while_halted && route.access != route::Access::Public).then_some(Bar::Halted);
        let person = |route: &Route| {
            matches!(route.callers, route::Callers::People | route::Callers::Sessions).then_some(Bar::Person)
        };
        let session = |route: &Route| (route.callers == route::Callers::Sessions).then_some(Bar::Session);
        type Make = Box<dyn Fn() -> Reader<'static>>;
        let readers: Vec<(Make, bool)> = vec![
            (Box::new(move || reader(scope(true), true)), true),
            (Box::new(move || reader(scope(false), true)), true),
            (Box::new(move || reader(scope(true), false)), true),
            (Box::new(move || reader(scope(false), false)), true),
            (Box::new(move || reader(person, true)), true),
            (Box::new(move || reader(session, false)), false),
            (Box::new(move || reader(halted, true)), false),
        ];
        for code in Code::ALL {
            for (reader, is_strict) in &readers {
                let fix = read(*code, reader());
                for sentence in sentences(&fix).into_iter().filter(|_| *is_strict) {
                    for named in advised(sentence) {
                        let bar = named.route.and_then(|route| (reader().bar)(route, named.path));
                        let says_so = sentence.contains(" needs ");
                        assert!(bar.is_none() || says_so, "{}: {bar:?}: {sentence}", code.row().slug);
                    }
                }
            }
        }
    }

    #[test]
    fn a_request_is_found_with_its_path_and_its_body() {
        let text = "Send DELETE /api/agents/a/keys/<its id>/x?y=1, then POST /api/agents {\"a\": {\"b\": \"c. d\"}}. GET /api.";
        let found = named(text);
        let shown: Vec<_> =
            found.iter().map(|n| (n.method, n.path, text.get(n.start..n.end).unwrap_or_default())).collect();
        assert_eq!(
            shown,
            [
                ("DELETE", "/api/agents/a/keys/<its id>/x?y=1", "DELETE /api/agents/a/keys/<its id>/x?y=1"),
                ("POST", "/api/agents", "POST /api/agents {\"a\": {\"b\": \"c. d\"}}"),
                ("GET", "/api", "GET /api"),
            ]
        );
        assert_eq!(sentences(text).len(), 2);
    }

    #[test]
    fn an_alternative_that_is_barred_is_left_out() {
        let keys = |route: &Route| {
            (route.path.contains("keys")).then_some(Bar::Scope { scope: Scope::AgentsKeysWrite, by_role: true })
        };
        assert_eq!(read(Code::KeyTaken, reader(keys, true)), "Send another name.");
    }

    #[test]
    fn a_barred_sentence_says_who_or_when() {
        let list = |route: &Route| {
            (route.path == "/api/agents").then_some(Bar::Scope { scope: Scope::AgentsList, by_role: true })
        };
        assert_eq!(
            read(Code::AgentNotFound, reader(list, true)),
            "ada@example.com can send GET /api/agents for you: you lack agents.list. Names are in lower case."
        );
        let halted = |_: &Route| Some(Bar::Halted);
        assert_eq!(
            read(Code::RequestNotFound, reader(halted, true)),
            "When you run again, as GET /api/auth/whoami says, send GET /api/access-requests to list the requests that you may see."
        );
    }
}
