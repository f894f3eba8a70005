use std::collections::BTreeMap;

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use common::{
    error::ApiError,
    http::{App, json},
    route::{Access, Group, ROUTES, Route},
    secret,
};
use serde::Serialize;

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
    /// `public`: no credential; `credential`: any; else the scope.
    access: &'static str,
    /// Whether agents are refused, whatever they carry.
    for_people: bool,
    /// Whether people are refused.
    for_agents: bool,
    session_only: bool,
    while_halted: bool,
    /// Whether `Idempotency-Key` is kept.
    idempotent: bool,
    /// The action of its audit row.
    audit: Option<&'static str>,
    page: String,
}

fn access(route: &Route) -> &'static str {
    match route.access {
        Access::Public => "public",
        Access::Credential => "credential",
        Access::Scope(scope) => scope.as_str(),
    }
}

/// `GET /api`: every route of the table.
pub(crate) async fn index(app: App) -> Result<Response, ApiError> {
    let link = app.settings().link();
    let mut groups: BTreeMap<Group, Vec<IndexedRoute>> = BTreeMap::new();
    for route in ROUTES {
        groups.entry(route.group).or_default().push(IndexedRoute {
            method: route.method,
            path: route.path,
            title: route.title,
            access: access(route),
            for_people: route.for_people,
            for_agents: route.for_agents,
            session_only: route.session_only,
            while_halted: route.while_halted,
            idempotent: route.is_idempotent,
            audit: route.audit,
            page: format!("{link}{}", route.page),
        });
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

/// `GET /`: the way to the documentation, until there are pages.
pub(crate) async fn home(app: App) -> Result<Response, ApiError> {
    Ok(see(&app))
}

/// `GET /docs`.
pub(crate) async fn to_docs(app: App) -> Result<Response, ApiError> {
    Ok(see(&app))
}

fn see(app: &App) -> Response {
    let to = HeaderValue::from_str(&format!("{}/docs/", app.settings().link()));
    (StatusCode::SEE_OTHER, [(header::LOCATION, to.unwrap_or_else(|_| HeaderValue::from_static("/docs/")))])
        .into_response()
}

#[cfg(test)]
mod tests {
    use common::{
        settings::{PublicUrl, Settings},
        testing::TestApp,
    };
    use serde_json::Value::Null;

    use super::*;
    use crate::router;

    #[tokio::test]
    async fn the_index_lists_every_row_of_the_table() {
        let t = TestApp::new(router());
        let index = t.nobody("GET", "/api", Null).await.is(200);
        let listed: usize =
            index["groups"].as_array().unwrap().iter().map(|g| g["routes"].as_array().unwrap().len()).sum();
        assert_eq!(listed, ROUTES.len());
    }

    /// Every link begins with the path of `public_url`.
    #[tokio::test]
    async fn links_carry_the_path_of_public_url() {
        let settings = Settings { public_url: PublicUrl::parse("https://example.com/acc"), ..Default::default() };
        let t = TestApp::with(router(), settings);
        assert_eq!(t.nobody("GET", "/", Null).await.header("location"), "/acc/docs/");
        assert_eq!(t.nobody("GET", "/api", Null).await.is(200)["docs"], "/acc/docs/");
        let refused = t.nobody("GET", "/nothing", Null).await.refused(404, "not_found");
        assert_eq!(refused["doc_url"], "/acc/docs/agents/errors#not-found");
    }
}
