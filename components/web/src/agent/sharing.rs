//! The tab of the people and agents that may see or change the agent.

use askama::Template;
use common::route;
use futures_util::future::join;
use serde_json::Value as Json;
use service::response::Response;

use super::{Head, Heading, Tab, next, readable};
use crate::{
    api::{Members, Trouble},
    form::Form,
    page::{Shell, write_with},
};

#[derive(Template)]
#[template(path = "agent_sharing.html")]
struct SharingPage {
    shell: Shell,
    head: Head,
    typed: Form,
    grants: Option<Vec<Json>>,
    more: String,
}

/// The tab.
pub(super) async fn show(tab: &Tab<'_>, head: Heading<'_>) -> Result<Response, Trouble> {
    let Tab { api, name, typed, status, .. } = *tab;
    let mut asked = vec![("limit", "50")];
    asked.extend(typed.pairs(&["cursor"]));
    let (head, grants) = join(head, api.get(route::GRANTS_LIST, &[name], &asked)).await;
    let more = next(&grants);
    let ((shell, head), grants) = (head?, readable(grants)?);
    write_with(&SharingPage { shell, head, typed: typed.clone(), grants, more }, status)
}
