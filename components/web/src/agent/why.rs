//! The tab that says why a subject may or may not do something.

use askama::Template;
use common::{permission::Action, route};
use futures_util::future::join;
use serde_json::Value as Json;
use service::response::Response;

use super::{Head, Heading, Tab};
use crate::{
    api::{Members, Trouble},
    form::Form,
    page::{Shell, write_with},
    words::title,
};

#[derive(Template)]
#[template(path = "agent_why.html")]
struct WhyPage {
    shell: Shell,
    head: Head,
    asked: Form,
    actions: Vec<&'static str>,
    explained: Option<Json>,
}

impl WhyPage {
    /// The word for a factor.
    fn word(&self, factor: &Json) -> String {
        match factor.text("factor") {
            "tenant_gate" => "Same tenant".to_owned(),
            "tenant.admin" => "Admin".to_owned(),
            other => title(other),
        }
    }

    /// How a factor is shown: of the relations one has to hold, of the others each.
    fn class(&self, factor: &Json) -> &'static str {
        let is_relation =
            |factor: &Json| ["owner", "editor", "viewer", "tenant.admin"].contains(&factor.text("factor"));
        let factors = self.explained.as_ref().map_or(&[][..], |found| found.list("factors"));
        let one_holds = factors.iter().any(|one| is_relation(one) && one.is("holds"));
        match factor.is("holds") {
            true => "",
            false if is_relation(factor) && one_holds => "off",
            false => "no",
        }
    }
}

/// The tab.
pub(super) async fn show(tab: &Tab<'_>, head: Heading<'_>) -> Result<Response, Trouble> {
    let Tab { api, name, typed, status, .. } = *tab;
    let mut asked = typed.pairs(&["subject", "action"]);
    if typed.text("action").is_empty() {
        asked.push(("action", Action::Read.as_str()));
    }
    let (head, explained) = join(head, api.get(route::EXPLAIN, &[name], &asked)).await;
    let ((mut shell, head), mut status) = (head?, status);
    let explained = match explained {
        Ok(explained) => Some(explained),
        Err(Trouble::Refused(refusal)) => {
            status = refusal.status;
            shell = shell.with(Some(refusal));
            None
        }
        Err(trouble) => return Err(trouble),
    };
    let actions = Action::ALL.map(Action::as_str).to_vec();
    write_with(&WhyPage { shell, head, asked: typed.clone(), actions, explained }, status)
}
