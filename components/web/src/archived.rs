//! `/archived`: agents that were archived, to restore or to purge.

use askama::Template;
use common::{
    error::{ApiError, Code},
    route,
};
use futures_util::future::join;
use serde_json::Value as Json;
use service::{app::App, extract::Path, response::Response};

use crate::{
    api::{Api, Change, Members, Refusal, Trouble},
    form::{Form, local, query},
    list::List,
    page::{Shell, answer, answer_form, see, see_done, write_with},
    words::Html,
};

const PATH: &str = "/archived";

#[derive(Template)]
#[template(path = "archived.html")]
struct ArchivedPage {
    shell: Shell,
    list: List,
    agents: Vec<Json>,
    /// The query that names this page to the one that asks before a purge.
    back: String,
}

impl ArchivedPage {
    fn head(&self, text: &str, by: &str) -> Html {
        self.list.head(self.shell.link(), text, by)
    }
}

#[derive(Template)]
#[template(path = "purge.html")]
struct PurgePage {
    shell: Shell,
    agent: Json,
    /// The page of the list to come back to.
    back: String,
}

/// `GET /archived`.
pub(crate) async fn list(app: App) -> Result<Response, ApiError> {
    answer(&app, show(&app, None)).await
}

async fn show(app: &App, refusal: Option<Refusal>) -> Result<Response, Trouble> {
    let api = Api::of(app)?;
    let mut list = List::of(app, PATH, &["q", "owner"]).sorted("archived_at");
    let pairs = list.pairs("25");
    let (shell, found) =
        join(Shell::load(app, &api, "Archived agents", "agents"), api.get(route::ARCHIVED_LIST, &[], &pairs)).await;
    let status = refusal.as_ref().map_or(200, |refusal| refusal.status);
    let (shell, found, refused) = shell?.with(refusal).with_list(found)?;
    list.found(&found);
    let (agents, back) = (found.list("items").to_vec(), query(&[("back", &list.here())]));
    write_with(&ArchivedPage { shell, list, agents, back }, refused.unwrap_or(status))
}

/// `GET /archived/{id}`: asks before an agent is deleted for good.
pub(crate) async fn confirm_purge(app: App, Path(id): Path) -> Result<Response, ApiError> {
    answer(&app, async {
        let api = Api::of(&app)?;
        let (shell, page) =
            join(Shell::load(&app, &api, "Purge", "agents"), api.get(route::ARCHIVED_LIST, &[], &[("q", &id)])).await;
        let (shell, page) = (shell?, page?);
        let agent = page.list("items").iter().find(|agent| agent.text("id") == id).cloned();
        let missing =
            || Refusal::own(404, "There is no such archived agent.", "It may have been restored or purged meanwhile.");
        let agent = agent.ok_or_else(|| Trouble::Refused(missing()))?;
        let back = local(Form::query(&app).or("back", PATH)).to_owned();
        write_with(&PurgePage { shell, agent, back }, 200)
    })
    .await
}

/// `POST /archived/{id}/{act}`.
pub(crate) async fn act(app: App, Path(id): Path, Path(act): Path, typed: Form) -> Result<Response, ApiError> {
    let route = match act.as_str() {
        "restore" => route::ARCHIVED_RESTORE,
        "purge" => route::ARCHIVED_PURGE,
        _ => return Err(Code::NotFound.into()),
    };
    answer_form(&app, &typed, async {
        match Api::of(&app)?.change(route, &[&id], Change { form: &typed, body: Json::Null }).await {
            Ok(agent) if act == "restore" => Ok(see(&app, &format!("/agents/{}?done=restored", agent.text("name")))),
            Ok(_) => Ok(see_done(&app, &typed, PATH, "purged")),
            Err(Trouble::Refused(refusal)) if refusal.is_for_the_form() => show(&app, Some(refusal)).await,
            Err(trouble) => Err(trouble),
        }
    })
    .await
}
