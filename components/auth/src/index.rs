//! `GET /api`: every route of the table, or those that the caller can use.

use std::collections::{BTreeMap, BTreeSet};

use common::{
    error::{ApiError, Code},
    route::{Access, Callers, Field, Group, ROUTES, Route, Senders},
    scope::Scope,
    secret,
};
use http::StatusCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use service::{
    app::App,
    caller::Caller,
    extract::Query,
    form, guard,
    response::{Response, json, uncached_json},
};

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "RouteIndex")]
pub(crate) struct Index {
    name: &'static str,
    version: &'static str,
    /// The commit that it was built from; null where the build did not say.
    commit: Option<&'static str>,
    /// When that was built.
    built_at: Option<&'static str>,
    docs: String,
    /// For secret scanners.
    credential_pattern: &'static str,
    groups: Vec<IndexedGroup>,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "IndexedGroup")]
pub(crate) struct IndexedGroup {
    group: &'static str,
    title: &'static str,
    routes: Vec<IndexedRoute>,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "IndexedRoute")]
pub(crate) struct IndexedRoute {
    method: &'static str,
    path: &'static str,
    title: &'static str,
    /// `public`: no credential; `credential`: any; otherwise the scope.
    access: &'static str,
    /// Whether agents are refused, whatever scopes they carry.
    for_people: bool,
    /// Whether people are refused.
    for_agents: bool,
    /// Whether every credential but a session is refused.
    session_only: bool,
    /// Whether a session has to have proved lately who its person is.
    fresh: bool,
    /// Whether a paused, stopped or overspent agent gets an answer.
    while_halted: bool,
    /// Whether `Idempotency-Key` is kept.
    idempotent: bool,
    /// The action of its audit row.
    audit: Option<&'static str>,
    /// The media type of its body, for a method that has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    content_type: Option<&'static str>,
    /// Fields of the body that ask for more than the others.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    fields: Vec<IndexedField>,
    page: String,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "IndexedField")]
pub(crate) struct IndexedField {
    name: &'static str,
    /// The scope that it takes beside that of the route.
    scope: Option<&'static str>,
    /// What the caller must be allowed to do with the object.
    action: &'static str,
    /// Whether no agent may send it.
    for_people: bool,
}

impl IndexedField {
    fn new(field: &Field) -> Self {
        Self {
            name: field.name,
            scope: field.scope.map(Scope::as_str),
            action: field.action.as_str(),
            for_people: field.senders == Senders::People,
        }
    }
}

impl IndexedRoute {
    fn new(route: &Route, link: &str) -> Self {
        Self {
            method: route.method,
            path: route.path,
            title: route.title,
            access: match route.access {
                Access::Public => "public",
                Access::Credential => "credential",
                Access::Scope(scope) => scope.as_str(),
            },
            for_people: matches!(route.callers, Callers::People | Callers::Sessions),
            for_agents: route.callers == Callers::Agents,
            session_only: route.callers == Callers::Sessions,
            fresh: route.is_fresh,
            while_halted: route.while_halted,
            idempotent: route.is_idempotent,
            audit: route.audit,
            content_type: (route.method != "GET").then_some(route.media.as_str()),
            fields: route.fields.iter().map(IndexedField::new).collect(),
            page: format!("{link}{}", route.page_path()),
        }
    }
}

/// What the index answers.
#[derive(JsonSchema)]
#[schemars(rename = "ApiIndex", untagged)]
#[expect(dead_code, reason = "it describes what two functions answer")]
pub(crate) enum Listed {
    /// Every route.
    All(Index),
    /// With `for=me`: those that the caller can use now.
    Usable(Usable),
}

form! {
    pub(crate) struct Asked {
        r#for: Option<String>,
        group: Option<String>,
    }
}

/// `GET /api`: every route of the table; with `for=me`, those that the caller can use now.
pub(crate) async fn index(app: App, Query(query): Query<Asked>) -> Result<Response, ApiError> {
    let group = query.group.as_deref().map(read_group).transpose()?;
    // The pages are for people, and do nothing that a route of the API does not.
    let is_shown = |route: &Route| route.group != Group::Web && group.is_none_or(|group| route.group == group);
    let routes = ROUTES.iter().copied().filter(|route| is_shown(route));
    match query.r#for.as_deref() {
        None => all(&app, routes),
        Some("me") => for_caller(&app, routes).await,
        Some(_) => Err(Code::InvalidFilter.with("field", "for").with("valid", "me")),
    }
}

fn read_group(word: &str) -> Result<Group, ApiError> {
    let groups =
        || ROUTES.iter().map(|route| route.group).filter(|group| *group != Group::Web).collect::<BTreeSet<_>>();
    let found = groups().into_iter().find(|group| group.as_str() == word);
    found.ok_or_else(|| {
        let valid: Vec<&str> = groups().into_iter().map(Group::as_str).collect();
        Code::InvalidFilter.with("field", "group").with("valid", valid.join(", "))
    })
}

fn all(app: &App, routes: impl Iterator<Item = &'static Route>) -> Result<Response, ApiError> {
    let link = app.settings().link();
    let mut groups: BTreeMap<Group, Vec<IndexedRoute>> = BTreeMap::new();
    for route in routes {
        groups.entry(route.group).or_default().push(IndexedRoute::new(route, link));
    }
    let groups = groups
        .into_iter()
        .map(|(group, routes)| IndexedGroup { group: group.as_str(), title: group.title(), routes })
        .collect();
    let form = Index {
        name: "accredit",
        version: env!("CARGO_PKG_VERSION"),
        commit: option_env!("ACCREDIT_COMMIT"),
        built_at: option_env!("ACCREDIT_BUILT_AT"),
        docs: format!("{link}/docs/"),
        credential_pattern: secret::PATTERN,
        groups,
    };
    json(StatusCode::OK, &form)
}

/// What is known of each route beside its row, by method and path. `cargo xtask reference` writes the file from the handlers' types.
const FIELDS: &str = include_str!("../../../docs/reference/fields.json");

#[derive(Deserialize)]
struct Fields {
    #[serde(default)]
    body: Vec<(String, bool, String)>,
    #[serde(default)]
    query: Vec<(String, bool, String)>,
    example: Option<Json>,
    example_query: Option<String>,
}

/// The routes that a caller can use now.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "UsableRoutes")]
pub(crate) struct Usable {
    /// Whom the list is for.
    r#for: String,
    routes: Vec<UsableRoute>,
    /// Where to read on.
    more: String,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "UsableRoute")]
pub(crate) struct UsableRoute {
    call: String,
    does: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    scope: Option<&'static str>,
    /// The fields of the query, without those of pages; those with `?` may be left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    query: Option<String>,
    /// The fields of the body; those with `?` may be left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    example: Option<Json>,
}

impl UsableRoute {
    fn new(route: &Route, fields: Option<&Fields>, caller: &Caller) -> Self {
        let may_send = |name: &str| {
            let field = route.fields.iter().find(|field| field.name == name);
            caller.agent_id().is_none() || field.is_none_or(|field| field.senders != Senders::People)
        };
        let query = fields.and_then(|fields| fields.example_query.as_deref()).unwrap_or_default();
        // The example says them already.
        let is_said = |name: &str| query.contains(&format!("{name}="));
        let listed = |of: &[(String, bool, String)]| {
            let names = of.iter().filter(|(name, ..)| may_send(name) && !is_said(name));
            let marked =
                names.map(|(name, is_required, _)| if *is_required { name.clone() } else { format!("{name}?") });
            Some(marked.collect::<Vec<_>>().join(", ")).filter(|names| !names.is_empty())
        };
        // Every list has pages, as its own page of the manual says.
        let without_pages = |names: String| match names.strip_suffix("cursor?, limit?") {
            Some(rest) => Some(rest.trim_end_matches(", ").to_owned()).filter(|rest| !rest.is_empty()),
            None => Some(names),
        };
        Self {
            call: format!("{} {}{query}", route.method, route.path),
            does: route.title,
            scope: match route.access {
                Access::Scope(scope) => Some(scope.as_str()),
                Access::Public | Access::Credential => None,
            },
            query: fields.and_then(|fields| listed(&fields.query)).and_then(without_pages),
            body: fields.and_then(|fields| listed(&fields.body)),
            example: fields.and_then(|fields| fields.example.clone()),
        }
    }
}

/// What the guard would let this caller in to. Routes that need no credential are left out: each caller can use those.
async fn for_caller(app: &App, routes: impl Iterator<Item = &'static Route>) -> Result<Response, ApiError> {
    let caller = Caller::authenticate(app).await?;
    caller.check_live()?;
    let fields: BTreeMap<String, Fields> =
        serde_json::from_str(FIELDS).map_err(|error| ApiError::from(Code::Internal).cause(error))?;
    let is_open = |route: &&Route| {
        let has_scope = match route.access {
            Access::Public => false,
            Access::Credential => true,
            Access::Scope(scope) => caller.scope().contains(scope) || guard::is_own("me", &caller, route),
        };
        let has_factor = route.before_factor || caller.check_factor().is_ok();
        // Proxies ask in the names of others.
        !route.for_proxies
            && has_scope
            && has_factor
            && guard::check_kind(&caller, route).is_ok()
            && guard::stay(&caller, route).is_ok()
    };
    let shown =
        |route: &Route| UsableRoute::new(route, fields.get(&format!("{} {}", route.method, route.path)), &caller);
    let form = Usable {
        r#for: caller.agent().map_or_else(|| caller.email().to_owned(), |(name, _)| name.to_owned()),
        routes: routes.filter(is_open).map(shown).collect(),
        more: format!("{}/llms.txt", app.settings().link()),
    };
    uncached_json(StatusCode::OK, &form)
}

#[cfg(test)]
mod tests {
    use common::role::Role;
    use serde_json::{Value::Null, json};
    use service::{
        settings::{PublicUrl, Settings},
        testing::TestApp,
    };

    use super::*;
    use crate::router;

    #[tokio::test]
    async fn the_index_lists_every_row_of_the_table_but_the_pages() {
        let t = TestApp::new(router());
        let index = t.nobody("GET", "/api", Null).await.is(200);
        let listed: usize =
            index["groups"].as_array().unwrap().iter().map(|g| g["routes"].as_array().unwrap().len()).sum();
        assert_eq!(listed, ROUTES.iter().filter(|route| route.group != Group::Web).count());
        let one = t.nobody("GET", "/api?group=notify", Null).await.is(200);
        assert_eq!((one["groups"].as_array().unwrap().len(), &one["groups"][0]["group"]), (1, &json!("notify")));
    }

    /// R119: a parameter or a value that is not known is refused, with those that are.
    #[tokio::test]
    async fn the_index_refuses_what_it_does_not_know() {
        let t = TestApp::new(router());
        t.nobody("GET", "/api?of=me", Null).await.refused(422, "validation_error");
        for query in ["for=you", "group=web", "group=nothing"] {
            let refused = t.nobody("GET", &format!("/api?{query}"), Null).await.refused(400, "invalid_filter");
            let fix = refused["fix"].as_str().unwrap();
            assert!(fix.contains("me") || fix.contains("agents, keys"), "{fix}");
        }
        t.nobody("GET", "/api?for=me", Null).await.refused(401, "missing_credential");
    }

    /// R119: a worker reads in one small answer what it can do, with fields, example and scope.
    #[tokio::test]
    async fn an_agent_reads_what_it_can_do_in_four_kilobytes() {
        let t = TestApp::new(router());
        let tenant = t.tenant("main").await;
        let ada = t.user(&tenant, "ada@example.com", Role::Admin).await;
        let worker = t.agent(&ada, "scout", common::preset::Preset::Worker.scope()).await;
        let answer = t.as_(&worker, "GET", "/api?for=me", Null).await;
        assert!(answer.text.len() <= 4 * 1024, "{}: {}", answer.text.len(), answer.text);
        let listed = answer.is(200);
        let routes = listed["routes"].as_array().unwrap();
        let find = |call: &str| routes.iter().find(|route| route["call"] == call);
        let notify = find("POST /api/ui/notify").unwrap();
        assert_eq!(
            (&notify["scope"], &notify["body"]),
            (&json!("ui.notify"), &json!("title, body, priority?, app_origin?, action_url?, user?"))
        );
        assert!(notify["example"]["title"].is_string(), "{notify}");
        assert!(find("POST /api/agents/me/heartbeat").is_some() && find("GET /api/users").is_none());
        assert!(find("POST /api/agents").is_none() && find("POST /auth/tokens").is_none());
    }

    /// Every link begins with the path of `public_url`.
    #[tokio::test]
    async fn links_carry_the_path_of_public_url() {
        let settings = Settings { public_url: PublicUrl::parse("https://example.com/acc"), ..Default::default() };
        let t = TestApp::with(router(), settings);
        assert_eq!(t.nobody("GET", "/api", Null).await.is(200)["docs"], "/acc/docs/");
    }
}
