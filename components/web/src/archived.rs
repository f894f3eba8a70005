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
    form::Form,
    page::{Shell, answer, answer_form, see, write_with},
};

#[derive(Template)]
#[template(path = "archived.html")]
struct ArchivedPage {
    shell: Shell,
    agents: Vec<Json>,
    more: String,
    is_first: bool,
}

#[derive(Template)]
#[template(path = "purge.html")]
struct PurgePage {
    shell: Shell,
    agent: Json,
}

/// `GET /archived`.
pub(crate) async fn list(app: App) -> Result<Response, ApiError> {
    answer(&app, show(&app, None)).await
}

async fn show(app: &App, refusal: Option<Refusal>) -> Result<Response, Trouble> {
    let (api, asked) = (Api::of(app)?, Form::query(app));
    let mut pairs = asked.pairs(&["cursor"]);
    pairs.push(("limit", "25"));
    let (shell, page) =
        join(Shell::load(app, &api, "Archived agents", "agents"), api.get(route::ARCHIVED_LIST, &[], &pairs)).await;
    let status = refusal.as_ref().map_or(200, |refusal| refusal.status);
    let (shell, page) = (shell?.with(refusal), page?);
    let (agents, more) = (page.list("items").to_vec(), page.text("next_cursor").to_owned());
    write_with(&ArchivedPage { shell, agents, more, is_first: asked.text("cursor").is_empty() }, status)
}

/// `GET /archived/{id}`: asks before an agent is deleted for good.
pub(crate) async fn confirm_purge(app: App, Path(id): Path) -> Result<Response, ApiError> {
    answer(&app, async {
        let api = Api::of(&app)?;
        let (shell, page) =
            join(Shell::load(&app, &api, "Purge", "agents"), api.get(route::ARCHIVED_LIST, &[], &[("limit", "200")]))
                .await;
        let (shell, page) = (shell?, page?);
        let agent = page.list("items").iter().find(|agent| agent.text("id") == id).cloned();
        let missing =
            || Refusal::own(404, "There is no such archived agent.", "It may have been restored or purged meanwhile.");
        write_with(&PurgePage { shell, agent: agent.ok_or_else(|| Trouble::Refused(missing()))? }, 200)
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
            Ok(_) => Ok(see(&app, "/archived?done=purged")),
            Err(Trouble::Refused(refusal)) if refusal.is_for_the_form() => show(&app, Some(refusal)).await,
            Err(trouble) => Err(trouble),
        }
    })
    .await
}
