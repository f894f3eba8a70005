use std::collections::BTreeMap;

use common::{
    error::ApiError,
    route::{Access, Callers, Field, Group, ROUTES, Route, Senders},
    scope::Scope,
    secret,
};
use http::StatusCode;
use serde::Serialize;
use service::{
    app::App,
    response::{Response, json, see_other},
};

#[derive(Serialize)]
struct Index {
    name: &'static str,
    version: &'static str,
    docs: String,
    /// For secret scanners.
    credential_pattern: &'static str,
    groups: Vec<IndexedGroup>,
}

#[derive(Serialize)]
struct IndexedGroup {
    group: &'static str,
    title: &'static str,
    routes: Vec<IndexedRoute>,
}

#[derive(Serialize)]
struct IndexedRoute {
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

#[derive(Serialize)]
struct IndexedField {
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

/// `GET /api`: every route of the table.
pub(crate) async fn index(app: App) -> Result<Response, ApiError> {
    let link = app.settings().link();
    let mut groups: BTreeMap<Group, Vec<IndexedRoute>> = BTreeMap::new();
    // The pages are for people, and do nothing that a route of the API does not.
    for route in ROUTES.iter().filter(|route| route.group != Group::Web) {
        groups.entry(route.group).or_default().push(IndexedRoute::new(route, link));
    }
    let groups = groups
        .into_iter()
        .map(|(group, routes)| IndexedGroup { group: group.as_str(), title: group.title(), routes })
        .collect();
    let form = Index {
        name: "accredit",
        version: env!("CARGO_PKG_VERSION"),
        docs: format!("{link}/docs/"),
        credential_pattern: secret::PATTERN,
        groups,
    };
    json(StatusCode::OK, &form)
}

/// `GET /docs`.
pub(crate) async fn to_docs(app: App) -> Result<Response, ApiError> {
    Ok(see_docs(&app))
}

fn see_docs(app: &App) -> Response {
    see_other(&format!("{}/docs/", app.settings().link()))
}

#[cfg(test)]
mod tests {
    use serde_json::Value::Null;
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
    }

    /// Every link begins with the path of `public_url`.
    #[tokio::test]
    async fn links_carry_the_path_of_public_url() {
        let settings = Settings { public_url: PublicUrl::parse("https://example.com/acc"), ..Default::default() };
        let t = TestApp::with(router(), settings);
        assert_eq!(t.nobody("GET", "/docs", Null).await.header("location"), "/acc/docs/");
        assert_eq!(t.nobody("GET", "/api", Null).await.is(200)["docs"], "/acc/docs/");
        let refused = t.nobody("GET", "/nothing", Null).await.refused(404, "not_found");
        assert_eq!(refused["doc_url"], "/acc/docs/agents/errors#not-found");
    }
}
