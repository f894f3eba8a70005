//! `/admin/scopes`: scopes that the tenant defines for its own services.

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

const PATH: &str = "/admin/scopes";

#[derive(Template)]
#[template(path = "custom_scopes.html")]
struct ScopesPage {
    shell: Shell,
    typed: Form,
    scopes: Vec<Json>,
}

/// `GET /admin/scopes`.
pub(crate) async fn list(app: App) -> Result<Response, ApiError> {
    answer(&app, show(&app, &Form::default(), None)).await
}

async fn show(app: &App, typed: &Form, refusal: Option<Refusal>) -> Result<Response, Trouble> {
    let api = Api::of(app)?;
    let (shell, all) = join(Shell::load(app, &api, "Scopes", "scopes"), api.get(route::SCOPES_CUSTOM, &[], &[])).await;
    let status = refusal.as_ref().map_or(200, |refusal| refusal.status);
    let (shell, all) = (shell?.admins_only()?.with(refusal), all?);
    write_with(&ScopesPage { shell, typed: typed.clone(), scopes: all.list("items").to_vec() }, status)
}

/// `POST /admin/scopes`.
pub(crate) async fn define(app: App, typed: Form) -> Result<Response, ApiError> {
    answer_form(&app, &typed, async {
        let api = Api::of(&app)?;
        let body = typed.body(&["name", "description"], &[]);
        match api.change(route::SCOPES_DEFINE, &[], Change { form: &typed, body: body.into() }).await {
            Ok(_) => Ok(see(&app, &format!("{PATH}?done=made"))),
            Err(Trouble::Refused(refusal)) if refusal.is_for_the_form() => show(&app, &typed, Some(refusal)).await,
            Err(trouble) => Err(trouble),
        }
    })
    .await
}

/// `POST /admin/scopes/{name}/{act}`.
pub(crate) async fn act(app: App, Path(name): Path, Path(act): Path, typed: Form) -> Result<Response, ApiError> {
    if act != "delete" {
        return Err(Code::NotFound.into());
    }
    answer_form(&app, &typed, async {
        let body = serde_json::json!({ "name": name });
        match Api::of(&app)?.change(route::SCOPES_REMOVE, &[], Change { form: &typed, body }).await {
            Ok(_) => Ok(see(&app, &format!("{PATH}?done=deleted"))),
            Err(Trouble::Refused(refusal)) if refusal.is_for_the_form() => {
                show(&app, &Form::default(), Some(refusal)).await
            }
            Err(trouble) => Err(trouble),
        }
    })
    .await
}
