//! Tools of models, by the Model Context Protocol: which rows of the route table are tools, what they and the names in their paths are
//! called, and in which order a model reads them. What a tool says of itself is written from the types of its handler into
//! `docs/reference/mcp.json`.

use crate::{
    permission::Action,
    route::{self, Access, Callers, Group, Media, Object, ROUTES, Rights, Route},
};

/// What an agent at work needs first. All other tools follow in the order of the table.
const FIRST: &[&Route] = &[
    route::WHOAMI,
    route::CAN,
    route::HEARTBEAT,
    route::INBOX,
    route::INBOX_ACK,
    route::NOTIFY,
    route::ACCESS_ASK,
    route::ACCESS_LIST,
    route::ACCESS_GET,
    route::MESSAGE,
    route::AGENTS_GET,
    route::AGENTS_LIST,
    route::LOGS_APPEND,
    route::LOGS_READ,
    route::AGENTS_CREATE,
    route::AGENT_STOP,
];

/// Rows that are no tools although a credential of any kind may call them: what streams, what is a file, what is for proxies and guards, and
/// the values of secrets, which belong into a process and not into what a model reads. A guide is read as a resource, like the manual, and the
/// prompt that is made of guides is for what starts a model.
const NOT: &[&Route] = &[
    route::INBOX_STREAM,
    route::NOTIFICATIONS_STREAM,
    route::AUDIT_EXPORT,
    route::VERIFY,
    route::VERIFY_BELOW,
    route::EPOCHS,
    route::CLOSURE_RECEIPT,
    route::SECRETS_VALUES,
    route::GUIDES_GET,
    route::GUIDES_PROMPT,
];

/// Whether a row is a tool. What takes a session is none: a person does it, and no model for them.
pub fn is_tool(route: &Route) -> bool {
    route.access != Access::Public
        && route.callers != Callers::Sessions
        && route.media == Media::Json
        && !NOT.contains(&route)
}

/// Every tool, in the order in which a model reads them.
pub fn tools() -> impl Iterator<Item = &'static Route> {
    let rest = ROUTES.iter().copied().filter(|route| is_tool(route) && !FIRST.contains(route));
    FIRST.iter().copied().chain(rest)
}

/// What a tool is called.
pub fn name(route: &Route) -> String {
    route.name.to_ascii_lowercase()
}

/// The names in the path of a row, in their order, as arguments of its tool: `/api/agents/{name}/keys/{id}` has `agent` and `key_id`, since
/// `name` and `id` may be fields of the body too.
pub fn path_arguments(route: &Route) -> Vec<String> {
    let mut before = "";
    let mut names = Vec::new();
    for segment in route.path.split('/') {
        let Some(name) = segment.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) else {
            before = segment;
            continue;
        };
        let object = before.strip_suffix('s').unwrap_or(before).replace('-', "_");
        names.push(match name {
            "name" => object,
            "id" => object + "_id",
            other => other.to_owned(),
        });
    }
    names
}

/// Whether a tool takes something away that its caller may still need.
pub fn is_destructive(route: &Route) -> bool {
    route.method == "DELETE" || route.rights == Rights::Takes
}

/// Whether a second call with the same arguments changes nothing more.
pub fn is_repeatable(route: &Route) -> bool {
    route.is_safe()
        || matches!(route.method, "PUT" | "DELETE")
        || route.rights == Rights::Takes
        || matches!(route.object, Some(Object::AgentState(Action::Update)))
}

/// Whether a tool reaches beyond this server.
pub fn is_of_the_world(route: &Route) -> bool {
    route.group == Group::Worker
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// R138: names are well formed and no two are the same, in the table and in a path; the order is that of every call.
    #[test]
    fn every_tool_has_a_name_of_its_own() {
        let names: Vec<String> = tools().map(name).collect();
        let all: BTreeSet<&String> = names.iter().collect();
        assert_eq!(all.len(), names.len());
        for name in &names {
            assert!(name.len() <= 40 && name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{name}");
        }
        assert_eq!(names.first().map(String::as_str), Some("whoami"));
        for route in tools() {
            let arguments: BTreeSet<String> = path_arguments(route).into_iter().collect();
            assert_eq!(arguments.len(), route.path.matches('{').count(), "{}", route.path);
        }
        assert_eq!(path_arguments(route::KEY_GRANTS_TAKE), ["agent", "key_id"]);
        assert_eq!(path_arguments(route::DELIVERY_RETRY), ["webhook_id", "delivery"]);
        assert_eq!(path_arguments(route::ACCESS_GET), ["access_request_id"]);
    }

    /// R138: nothing that takes a session is a tool, so that no model decides for a person, nor what shows the values of secrets.
    #[test]
    fn what_only_a_person_may_do_is_no_tool() {
        let tools: Vec<&Route> = tools().collect();
        for route in
            [route::ACCESS_APPROVE, route::PASSWORD_CHANGE, route::FACTOR, route::PATS_CREATE, route::USERS_CREATE]
        {
            assert!(!tools.contains(&route), "{}", route.path);
        }
        assert!(!tools.contains(&route::SECRETS_VALUES) && !tools.contains(&route::SIGN_IN));
        assert!(FIRST.iter().all(|route| is_tool(route)) && NOT.iter().all(|route| !is_tool(route)));
    }
}
