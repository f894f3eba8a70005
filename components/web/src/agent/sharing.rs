//! The tab of the people and agents that may see or change the agent.

use askama::Template;
use common::route;
use futures_util::future::join;
use serde_json::Value as Json;
use service::response::Response;

use super::{Head, Heading, Tab, readable};
use crate::{
    api::{Members, Trouble},
    form::Form,
    list::List,
    page::{Shell, write_with},
};

#[derive(Template)]
#[template(path = "agent_sharing.html")]
struct SharingPage {
    shell: Shell,
    head: Head,
    typed: Form,
    grants: Option<Vec<Json>>,
    list: List,
}

/// The tab.
pub(super) async fn show(tab: &Tab<'_>, head: Heading<'_>) -> Result<Response, Trouble> {
    let Tab { app, api, name, typed, status, .. } = *tab;
    let mut list = List::of(app, &format!("/agents/{name}/sharing"), &[]);
    let asked = list.pairs("50");
    let (head, grants) = join(head, api.get(route::GRANTS_LIST, &[name], &asked)).await;
    list.found_in(&grants);
    let ((shell, head), grants) = (head?, readable(grants)?);
    write_with(&SharingPage { shell, head, typed: typed.clone(), grants, list }, status)
}
