//! The first tab: what the agent is, and what it may do.

use askama::Template;
use common::route;
use futures_util::future::join3;
use serde_json::Value as Json;
use service::response::Response;

use super::{Head, Heading, Tab, compute_text, labels, readable};
use crate::{
    api::{Members, Trouble},
    page::{Shell, write_with},
    scopes::meaning,
    words,
};

#[derive(Template)]
#[template(path = "agent_state.html")]
struct StatePage {
    shell: Shell,
    head: Head,
    below: Vec<Json>,
    labels: Vec<(String, String)>,
    /// What it may do, and for a time: each scope with what it means.
    may: Vec<(String, String)>,
    approved: Vec<(String, String)>,
    /// The requests by which it may: those that the visitor may decide about.
    by: Vec<Json>,
    /// The last deployment; null: there was none.
    deployment: Json,
    /// What its runtime gives it; empty: nothing is known.
    compute: String,
}

/// The tab.
pub(super) async fn show(tab: &Tab<'_>, head: Heading<'_>) -> Result<Response, Trouble> {
    let Tab { api, name, status, .. } = *tab;
    let below = [("parent", name), ("limit", "50")];
    let below = api.get(route::AGENTS_LIST, &[], &below);
    let (head, below, custom) = join3(head, below, api.get(route::SCOPES_CUSTOM, &[], &[])).await;
    let ((shell, head), below) = (head?, readable(below)?.unwrap_or_default());
    let custom = custom.unwrap_or_default();
    let meant = |scopes: Vec<&str>| {
        scopes.into_iter().map(|scope| (scope.to_owned(), meaning(scope, &custom))).collect::<Vec<_>>()
    };
    let labels = head.agent.at("labels").as_object().map(labels).unwrap_or_default();
    let by = match head.agent.words("approved").is_empty() {
        true => Vec::new(),
        false => {
            let asked = [("agent", head.agent.text("id")), ("state", "approved"), ("limit", "10")];
            let found = readable(api.get(route::ACCESS_LIST, &[], &asked).await)?;
            // What is for good stands in the ceiling, and what is for once gives nothing by itself.
            found.unwrap_or_default().into_iter().filter(|one| one.text("lasts") == "hours").collect()
        }
    };
    let (may, approved) = (meant(head.agent.words("scope")), meant(head.agent.words("approved")));
    let deployment = match head.agent.text("deploy_status") {
        "" => Json::Null,
        _ => api.get(route::DEPLOY_STATUS, &[name], &[]).await?,
    };
    let compute = compute_text(&head.agent);
    write_with(&StatePage { shell, head, below, labels, may, approved, by, deployment, compute }, status)
}
