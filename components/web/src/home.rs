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
    chart::Chart,
    page::{Shell, answer, write},
    words::{self, Event},
};

/// Agents that are shown. More would be more bytes than a page may have.
const MOST: usize = 16;
const MOST_SHOWN: i64 = MOST as i64;

#[derive(Template)]
#[template(path = "home.html")]
struct HomePage {
    shell: Shell,
    rows: Vec<AgentRow>,
    back: &'static str,
    /// All that the visitor may read.
    all: i64,
    running: i64,
    paused: i64,
    stopped: i64,
    /// Agents of how many people.
    owners: usize,
    /// Credentials that end within a week.
    ending: i64,
    /// `None`: the visitor may not read the trail.
    chart: Option<Chart>,
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
    let (overview, tenant) = (api.get(route::OVERVIEW, &[], &[]), api.get(route::TENANT, &[], &[]));
    let (overview, tenant, note) = join3(overview, tenant, Shell::note(app, &api)).await;
    let overview = overview?;
    let shell = Shell::of(app, "Home", "home", (&overview, tenant, note));
    let (agents, lately) = (overview.at("agents"), overview.at("lately"));
    let (running, paused, stopped) = (agents.number("running"), agents.number("paused"), agents.number("stopped"));
    let newest = agents.list("newest");
    let page = HomePage {
        // A tree only where all of it is there.
        rows: match newest.get(..MOST) {
            Some(newest) if running + paused + stopped > MOST_SHOWN => {
                newest.iter().map(|agent| AgentRow::new(agent, 0, &shell)).collect()
            }
            newest_ones => agents::tree(newest_ones.unwrap_or(newest), &shell),
        },
        back: "/",
        all: running + paused + stopped,
        running,
        paused,
        stopped,
        owners: usize::try_from(agents.number("owners")).unwrap_or_default(),
        ending: overview.number("ending"),
        chart: (!lately.is_null()).then(|| Chart::of(lately.list("hours"), shell.now)),
        events: words::folded(events(lately.list("events"), &shell)),
        shell,
    };
    write(&page)
}

/// Rows of the trail, to be shown.
pub(crate) fn events(rows: &[Json], shell: &Shell) -> Vec<Event> {
    rows.iter().map(|row| words::event(row, shell.now)).collect()
}
