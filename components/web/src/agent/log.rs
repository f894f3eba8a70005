//! The tab of the log.

use askama::Template;
use common::route;
use futures_util::future::join;
use serde_json::Value as Json;
use service::response::Response;

use super::{Head, Heading, Tab};
use crate::{
    api::{Members, Trouble},
    list::List,
    page::{Shell, write_with},
    words,
};

/// Lines of a log on a page.
const LINES: &str = "100";

#[derive(Template)]
#[template(path = "agent_log.html")]
struct LogPage {
    shell: Shell,
    head: Head,
    lines: Vec<Json>,
    list: List,
    /// The address of the lines before these; empty: there are none, or it is not known.
    older: String,
}

/// The tab.
pub(super) async fn show(tab: &Tab<'_>, head: Heading<'_>) -> Result<Response, Trouble> {
    let Tab { app, api, name, status, .. } = *tab;
    let list = List::of(app, &format!("/agents/{name}/log"), &["q", "level", "since", "until", "before"]);
    let since = words::first_moment(list.asked.text("since"));
    let mut asked = list.asked.pairs(&["q", "level", "until", "before"]);
    if !since.is_empty() {
        asked.push(("since", &since));
    }
    asked.push(("lines", LINES));
    let (head, log) = join(head, api.get(route::LOGS_READ, &[name], &asked)).await;
    let (shell, head) = head?;
    let (shell, log, refused) = match log {
        Err(Trouble::Refused(refusal)) if refusal.status == 403 => (shell, Json::Null, None),
        log => shell.with_list(log)?,
    };
    let lines = log.list("lines").to_vec();
    let oldest = lines.first().filter(|_| log.is("more"));
    let before = oldest.and_then(|line| line.get("seq")).map(Json::to_string);
    let older = before.map(|seq| list.with("before", &seq)).unwrap_or_default();
    write_with(&LogPage { shell, head, lines, list, older }, refused.unwrap_or(status))
}
