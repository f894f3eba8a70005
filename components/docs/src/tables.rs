//! What the manual says from the code's own tables: errors, scopes and routes.

use std::collections::BTreeSet;

use common::{
    error::{Code, anchor},
    role::Role,
    route::{Access, Callers, Group, ROUTES, Route, Senders},
    scope::Scope,
};

use crate::library::{AllFields, Fields};

/// The error with this page.
pub(crate) fn error_of(name: &str) -> Option<Code> {
    Code::ALL.iter().copied().find(|code| anchor(code.row().slug) == name)
}

/// The scope with this page.
pub(crate) fn scope_of(name: &str) -> Option<Scope> {
    Scope::ALL.iter().copied().find(|scope| anchor(scope.as_str()) == name)
}

/// The route with this page. The pages for people have none.
pub(crate) fn route_of(name: &str) -> Option<&'static Route> {
    known().find(|route| route.slug() == name)
}

fn known() -> impl Iterator<Item = &'static Route> {
    ROUTES.iter().copied().filter(|route| route.group != Group::Web)
}

/// The statuses of refusals, in order.
pub(crate) fn statuses() -> BTreeSet<u16> {
    Code::ALL.iter().map(|code| code.row().status).collect()
}

/// The page that leads to all slugs.
pub(crate) fn errors() -> String {
    let line = |status: u16| {
        let slugs = Code::ALL.iter().filter(|code| code.row().status == status).count();
        format!("- [{status}](/docs/agents/errors/{status}): {slugs}\n")
    };
    let lines: String = statuses().into_iter().map(line).collect();
    format!(
        "# Every slug\n\nBy status, and how many there are. Each slug has its own page: `/docs/agents/errors/` and the slug, with `-` in the \
         place of `_`. [The form of a refusal](/docs/agents/errors).\n\n{lines}"
    )
}

/// The page of all slugs of a status.
pub(crate) fn errors_of(status: u16) -> String {
    let line = |code: &Code| format!("- [`{}`]({})\n", code.row().slug, code.reference_path());
    let lines: String = Code::ALL.iter().filter(|code| code.row().status == status).map(line).collect();
    format!("# Slugs of status {status}\n\n{lines}\n[All others](/docs/agents/errors/all).\n")
}

/// The page of an error.
pub(crate) fn error(code: Code) -> String {
    let row = code.row();
    let mut text = format!("# `{}`\n\nStatus {}. {}\n\n## How to fix it\n\n", row.slug, row.status, row.detail);
    if let Some(fix) = row.agent_fix {
        text.push_str(&format!("You are an agent: {}\n\nYou are a person: {}\n\n", plain(fix), plain(row.fix)));
    } else {
        text.push_str(&format!("{}\n\n", plain(row.fix)));
    }
    if !row.page.is_empty() {
        text.push_str(&format!("More: [{0}]({0}).\n\n", row.page));
    }
    text.push_str(
        "Words in `<…>` are placeholders: the response to your request holds the values. \
         [The form of a refusal](/docs/agents/errors), and all others.\n",
    );
    text
}

/// The text that a reader sees for a placeholder whose own name is not clear enough.
const WORDS: [(&str, &str); 7] = [
    ("{bound}", "<least or most>"),
    ("{excess}", "<the scopes in excess_scopes>"),
    ("{legal}", "<the words in legal>"),
    (
        "{person_steps}",
        "Sign in with POST /auth/token: a session carries everything that your role allows. If your role does not allow the scope, ask an admin to raise the role with PATCH /api/users/<id>",
    ),
    ("{step}", "<the request to send>"),
    ("{steps}", "<the requests to send>"),
    ("{verb}", "<resume or start>"),
];

/// A template for a reader: doubled braces stand for single ones, and `{name}`, which the response fills in, becomes `<name>`. A
/// placeholder at the beginning, before a capital letter, stands for a whole sentence or nothing: it is left out.
pub(crate) fn plain(template: &str) -> String {
    let mut text = template;
    if let Some((name, rest)) = text.strip_prefix('{').and_then(|text| text.split_once('}'))
        && !name.starts_with('{')
        && rest.starts_with(char::is_uppercase)
    {
        text = rest;
    }
    let mut text = text.replace("{{", "\u{1}").replace("}}", "\u{2}");
    for (name, words) in WORDS {
        text = text.replace(name, words);
    }
    text.replace('{', "<").replace('}', ">").replace('\u{1}', "{").replace('\u{2}', "}")
}

/// The list of all scopes.
pub(crate) fn scopes() -> String {
    let line = |scope: &Scope| {
        let name = scope.as_str();
        format!("- [`{name}`](/docs/agents/scopes/{}): {}\n", anchor(name), scope.describe())
    };
    Scope::ALL.iter().map(line).collect()
}

/// The page of a scope.
pub(crate) fn scope(scope: Scope) -> String {
    let mut text = format!("# `{}`\n\n{}\n\n", scope.as_str(), scope.describe());
    if scope.is_for_people() {
        text.push_str("It has no effect for agents: it is [for people only](/docs/agents/concepts/permissions#for-people-only).\n\n");
    }
    text.push_str("Routes that need it:\n\n");
    for route in known().filter(|route| route.access == Access::Scope(scope)) {
        text.push_str(&linked(route));
    }
    for route in known() {
        for field in route.fields.iter().filter(|field| field.scope == Some(scope)) {
            text.push_str(&format!(
                "- [`{} {}`]({}): the field `{}`\n",
                route.method,
                route.path,
                route.reference_path(),
                field.name
            ));
        }
    }
    let roles: Vec<&str> =
        Role::ALL.into_iter().filter(|role| role.ceiling().contains(scope)).map(Role::as_str).collect();
    text.push_str(&format!(
        "\nRoles that allow it: {}. [How a request is decided](/docs/agents/concepts/permissions).\n",
        roles.join(", ")
    ));
    text
}

fn linked(route: &Route) -> String {
    format!("- [`{} {}`]({}): {}\n", route.method, route.path, route.reference_path(), route.title)
}

/// The groups that have routes with pages.
pub(crate) fn groups() -> Vec<Group> {
    let mut groups: Vec<Group> = known().map(|route| route.group).collect();
    groups.dedup();
    groups
}

/// The page that leads to every route, for people.
pub(crate) fn api() -> String {
    let line = |group: Group| format!("- [{}](/docs/api/{})\n", group.title(), group.as_str());
    let lines: String = groups().into_iter().map(line).collect();
    format!(
        "# The API\n\nEvery route has its own page, and each group a list of them. Programs read [/openapi.json](/openapi.json), and agents \
         [/llms.txt](/llms.txt).\n\n{lines}"
    )
}

/// The page of the routes of a group.
pub(crate) fn api_of(group: Group) -> String {
    let lines: String = known().filter(|route| route.group == group).map(linked).collect();
    format!("# {}\n\n{lines}\n[All other routes](/docs/api).\n", group.title())
}

/// The page of a route.
pub(crate) fn route(route: &Route, fields: &AllFields) -> String {
    let fields = fields.of(route);
    let mut text = format!("# `{} {}`\n\n{}.\n\n{}\n\n", route.method, route.path, route.title, needs(route));
    let mut table = |title: &str, of: &[(String, bool, String)]| {
        if of.is_empty() {
            return;
        }
        text.push_str(&format!("## {title}\n\n| field | form | | is |\n|---|---|---|---|\n"));
        for (name, is_required, form) in of {
            let required = if *is_required { "required" } else { "" };
            let words = fields.words.get(name).map_or("", String::as_str);
            text.push_str(&format!("| `{name}` | {form} | {required}{} | {words} |\n", field_needs(route, name)));
        }
        text.push('\n');
    };
    table("Query", &fields.query);
    table("Body", &fields.body);
    text.push_str(&example(route, &fields));
    match (fields.status, &fields.answer) {
        (Some(status), Some(members)) if !members.is_empty() => {
            text.push_str(&format!("Answers {status} with `{}`.\n\n", members.join("`, `")));
        }
        (Some(status), _) => text.push_str(&format!("Answers {status}.\n\n")),
        _ => {}
    }
    text.push_str(&format!(
        "More: [{0}]({0}). A refusal has [this form](/docs/agents/errors): follow its `fix`.\n",
        route.page_path()
    ));
    text
}

/// What a route needs of its caller, in sentences.
fn needs(route: &Route) -> String {
    let mut needs = match route.access {
        Access::Public => "It needs no credential.".to_owned(),
        Access::Credential => "It needs a credential and no scope.".to_owned(),
        Access::Scope(scope) => {
            format!("It needs the scope [`{0}`](/docs/agents/scopes/{1}).", scope.as_str(), anchor(scope.as_str()))
        }
    };
    needs.push_str(match route.callers {
        Callers::Everyone => "",
        Callers::People => " It is for people: agents get 403 `person_required`.",
        Callers::Agents => " It is for agents: people get 403 `agent_required`.",
        Callers::Sessions => " It takes sessions only: every other credential gets 403 `session_required`.",
    });
    if route.while_halted {
        needs.push_str(" An agent that is paused, stopped or over its budget can call it too.");
    }
    if route.is_idempotent {
        needs.push_str(" Send an [`Idempotency-Key`](/docs/agents/concepts/idempotency) to repeat it safely.");
    }
    needs
}

/// What a field needs more than its route.
fn field_needs(route: &Route, name: &str) -> String {
    let Some(field) = route.fields.iter().find(|field| field.name == name) else { return String::new() };
    let senders = match field.senders {
        Senders::People => " people only",
        Senders::PeopleAndAgentsAbove => " people, and agents above this one",
    };
    field.scope.map_or_else(|| senders.to_owned(), |scope| format!("{senders}; scope `{}`", scope.as_str()))
}

/// A request to copy.
fn example(route: &Route, fields: &Fields) -> String {
    let query = fields.example_query.as_deref().unwrap_or_default();
    let mut text = format!("## Example\n\n```\n{} {}{query}\n", route.method, route.path.replace("{*", "{"));
    if route.access != Access::Public {
        text.push_str("Authorization: Bearer <token>\n");
    }
    if let Some(body) = &fields.example {
        text.push_str(&format!("Content-Type: {}\n\n{body}\n", route.media.as_str()));
    }
    text.push_str("```\n\n");
    text
}
