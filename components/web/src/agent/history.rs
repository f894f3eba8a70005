//! The tab of what was done to the agent, and what it did.

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
    /// Whether it shows what the agent did, and not what was done to it.
    is_own: bool,
    events: Vec<Event>,
    list: List,
}

/// The tab.
pub(super) async fn show(tab: &Tab<'_>, head: Heading<'_>) -> Result<Response, Trouble> {
    let Tab { app, api, name, status, .. } = *tab;
    // By its id: an agent that had the name before has another history.
    let (shell, head) = head.await?;
    let mut list = List::of(app, &format!("/agents/{name}/history"), &["which"]);
    let is_own = list.asked.is("which", "did");
    let mut asked = list.pairs("50");
    asked.retain(|(name, _)| *name != "which");
    asked.push((if is_own { "actor" } else { "object" }, head.agent.text("id")));
    let trail = api.get(route::AUDIT_LIST, &[], &asked).await?;
    let events = events(trail.list("items"), &shell);
    list.found(&trail);
    write_with(&HistoryPage { shell, head, is_own, events, list }, status)
}
