//! The tab of what happened to the agent.

use askama::Template;
use common::route;
use service::response::Response;

use super::{Head, Heading, Tab};
use crate::{
    api::{Members, Trouble},
    home::events,
    list::List,
    page::{Shell, write_with},
    words::Event,
};

#[derive(Template)]
#[template(path = "agent_history.html")]
struct HistoryPage {
    shell: Shell,
    head: Head,
    events: Vec<Event>,
    list: List,
}

/// The tab.
pub(super) async fn show(tab: &Tab<'_>, head: Heading<'_>) -> Result<Response, Trouble> {
    let Tab { app, api, name, status, .. } = *tab;
    // By its id: an agent that had the name before has another history.
    let (shell, head) = head.await?;
    let mut list = List::of(app, &format!("/agents/{name}/history"), &[]);
    let mut asked = list.pairs("50");
    asked.push(("object", head.agent.text("id")));
    let trail = api.get(route::AUDIT_LIST, &[], &asked).await?;
    let events = events(trail.list("items"), &shell);
    list.found(&trail);
    write_with(&HistoryPage { shell, head, events, list }, status)
}
