//! The tab of what happened to the agent.

use askama::Template;
use common::route;
use service::response::Response;

use super::{Head, Heading, Tab};
use crate::{
    api::{Members, Trouble},
    home::events,
    page::{Shell, write_with},
    words::Event,
};

#[derive(Template)]
#[template(path = "agent_history.html")]
struct HistoryPage {
    shell: Shell,
    head: Head,
    events: Vec<Event>,
    more: String,
}

/// The tab.
pub(super) async fn show(tab: &Tab<'_>, head: Heading<'_>) -> Result<Response, Trouble> {
    let Tab { api, typed, status, .. } = *tab;
    // By its id: an agent that had the name before has another history.
    let (shell, head) = head.await?;
    let mut asked = vec![("object", head.agent.text("id")), ("limit", "50")];
    asked.extend(typed.pairs(&["cursor"]));
    let trail = api.get(route::AUDIT_LIST, &[], &asked).await?;
    let events = events(trail.list("items"), &shell);
    let more = trail.text("next_cursor").to_owned();
    write_with(&HistoryPage { shell, head, events, more }, status)
}
