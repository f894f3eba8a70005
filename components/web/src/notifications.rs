//! `/notifications`: what agents and the server told the visitor.

use askama::Template;
use common::{
    error::{ApiError, Code},
    route,
};
use futures_util::future::join;
use serde_json::Value as Json;
use service::{app::App, extract::Path, response::Response};

use crate::{
    api::{Api, Change, Members},
    form::{Form, local},
    list::List,
    page::{Shell, answer, answer_form, see, write_with},
    words,
};

#[derive(Template)]
#[template(path = "notifications.html")]
struct NotificationsPage {
    shell: Shell,
    items: Vec<Json>,
    list: List,
}

impl NotificationsPage {
    fn is_high(&self, item: &Json) -> bool {
        item.text("priority") == "high"
    }

    fn is_unread(&self, item: &Json) -> bool {
        item.at("read_at").is_null()
    }

    /// The agent that sent it; empty: the server itself.
    fn agent<'a>(&self, item: &'a Json) -> &'a str {
        item.text("source").strip_prefix("agent:").unwrap_or_default()
    }

    /// What it says; the last line of what is said about an access request is for programs.
    fn body(&self, item: &Json) -> String {
        let body = item.text("body");
        match body.rsplit_once('\n') {
            Some((rest, _)) if !self.decides(item).is_empty() => rest.to_owned(),
            _ => body.to_owned(),
        }
    }

    /// The page that decides, of what the server itself says about an access request.
    fn decides(&self, item: &Json) -> String {
        let url = item.text("action_url");
        let is_request = item.text("source") == "accredit" && url.starts_with("/access/") && local(url) == url;
        if is_request { format!("{}{url}", self.shell.link()) } else { String::new() }
    }

    /// Where it leads: a path of this site with what comes before it, or a page elsewhere. Anything else is no link.
    fn target(&self, item: &Json) -> String {
        let url = item.text("action_url");
        match url {
            "" => String::new(),
            _ if !self.decides(item).is_empty() => String::new(),
            _ if url.starts_with("https://") => url.to_owned(),
            _ if local(url) == url => format!("{}{url}", self.shell.link()),
            _ => String::new(),
        }
    }

    /// Host of a page elsewhere, which is said beside the link.
    fn host<'a>(&self, item: &'a Json) -> &'a str {
        let rest = item.text("action_url").strip_prefix("https://").unwrap_or_default();
        rest.split(['/', '?', '#']).next().unwrap_or_default()
    }
}

/// `GET /notifications`.
pub(crate) async fn list(app: App) -> Result<Response, ApiError> {
    answer(&app, async {
        let api = Api::of(&app)?;
        let mut list = List::of(&app, "/notifications", &["show", "q", "since"]);
        let since = words::first_moment(list.asked.text("since"));
        let mut pairs = list.pairs("25");
        pairs.retain(|(name, _)| !["show", "since"].contains(name));
        match list.asked.text("show") {
            "unread" => pairs.push(("unread_only", "true")),
            "high" => pairs.push(("priority", "high")),
            _ => {}
        }
        if !since.is_empty() {
            pairs.push(("since", &since));
        }
        let (shell, page) = join(
            Shell::load(&app, &api, "Notifications", "notifications"),
            api.get(route::NOTIFICATIONS_LIST, &[], &pairs),
        )
        .await;
        let (shell, page, refused) = shell?.with_list(page)?;
        list.found(&page);
        write_with(&NotificationsPage { shell, items: page.list("items").to_vec(), list }, refused.unwrap_or(200))
    })
    .await
}

/// `POST /notifications/{id}/{act}`; `all` instead of an id means all of them.
pub(crate) async fn act(app: App, Path(id): Path, Path(act): Path, typed: Form) -> Result<Response, ApiError> {
    let (route, done) = match (id.as_str(), act.as_str()) {
        ("all", "read") => (route::NOTIFICATIONS_READ_ALL, "marked"),
        (_, "read") => (route::NOTIFICATION_READ, "marked"),
        (_, "delete") => (route::NOTIFICATION_DELETE, "deleted"),
        _ => return Err(Code::NotFound.into()),
    };
    answer_form(&app, &typed, async {
        let api = Api::of(&app)?;
        // What has come since the page was shown stays unread.
        let body = if id == "all" { typed.filled(&["until"]).into() } else { Json::Null };
        api.change(route, &[&id], Change { form: &typed, body }).await?;
        Ok(see(&app, &format!("/notifications?done={done}")))
    })
    .await
}
