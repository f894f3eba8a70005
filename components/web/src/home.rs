//! `/`: which agents are there, whose, in which state, what they may do; what waits for the visitor; what happened lately; and the stops.

use askama::Template;
use common::{error::ApiError, route};
use futures_util::future::join3;
use http::header;
use serde_json::Value as Json;
use service::{
    app::App,
    response::{Response, see_other},
};

use crate::{
    agents::{self, AgentRow},
    api::{Api, Members, Trouble},
    page::{Shell, answer, write},
    words::{self, Event},
};

/// Agents that this page asks for and counts; a plus says that there are more.
const COUNTED: &str = "100";
/// Rows of the tree on this page.
const MOST: usize = 40;

#[derive(Template)]
#[template(path = "home.html")]
struct HomePage {
    shell: Shell,
    rows: Vec<AgentRow>,
    back: &'static str,
    /// `12`, or `100+` when there are more than were asked for.
    all: String,
    /// The plus.
    more: &'static str,
    running: usize,
    paused: usize,
    stopped: usize,
    /// Agents of how many people.
    owners: usize,
    events: Vec<Event>,
}

/// `GET /`. A client that does not ask for HTML is led to the manual.
pub(crate) async fn home(app: App) -> Result<Response, ApiError> {
    let wants_html = app.headers().texts(header::ACCEPT.as_str()).iter().any(|accept| accept.contains("text/html"));
    if !wants_html {
        return Ok(see_other(&format!("{}/docs/", app.settings().link())));
    }
    answer(&app, show(&app)).await
}

async fn show(app: &App) -> Result<Response, Trouble> {
    let api = Api::of(app)?;
    let (shell, list, trail) = join3(
        Shell::load(app, &api, "Home", "home"),
        api.get(route::AGENTS_LIST, &[], &[("limit", COUNTED)]),
        api.get(route::AUDIT_LIST, &[], &[("limit", "10")]),
    )
    .await;
    let (shell, list) = (shell?, list?);
    let agents = list.list("items");
    let more = if list.at("next_cursor").is_null() { "" } else { "+" };
    let in_state = |state: &str| agents.iter().filter(|agent| agent.text("state") == state).count();
    let mut owners: Vec<&str> = agents.iter().map(|agent| agent.at("owner").text("id")).collect();
    owners.sort_unstable();
    owners.dedup();
    let trail = trail.unwrap_or_default();
    let events = events(&trail, agents, &shell);
    let page = HomePage {
        rows: agents::tree(agents, &shell, MOST),
        back: "/",
        all: format!("{}{more}", agents.len()),
        more,
        running: in_state("running"),
        paused: in_state("paused"),
        stopped: in_state("stopped"),
        owners: owners.len(),
        events,
        shell,
    };
    write(&page)
}

/// The rows of an answer of the trail, with the names of these agents and people.
pub(crate) fn events(trail: &Json, known: &[Json], shell: &Shell) -> Vec<Event> {
    let named = |id: &str| known.iter().find(|one| one.text("id") == id).map(|one| one.text("name").to_owned());
    trail.list("items").iter().map(|row| words::event(row, shell.now, &named)).collect()
}
