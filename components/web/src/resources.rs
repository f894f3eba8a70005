//! `/admin/resources`: services of the tenant that take signed tokens.

use askama::Template;
use common::{
    error::{ApiError, Code},
    route,
};
use futures_util::future::join;
use serde_json::{Map, Value as Json};
use service::{app::App, extract::Path, response::Response};

use crate::{
    api::{Api, Change, Members, Refusal, Trouble},
    form::{Form, several},
    list::List,
    page::{Shell, answer, answer_form, see, write_with},
    shown::{self, Settings},
    words::Html,
};

const PATH: &str = "/admin/resources";
/// What services verify, each with what to say of it.
const ALGS: [(&str, &str); 2] = [("EdDSA", "EdDSA: Ed25519"), ("ES256", "ES256: for libraries without EdDSA")];

#[derive(Template)]
#[template(path = "resources.html")]
struct ResourcesPage {
    shell: Shell,
    list: List,
    typed: Form,
    resources: Vec<Json>,
}

impl ResourcesPage {
    fn head(&self, text: &str, by: &str) -> Html {
        self.list.head(self.shell.link(), text, by)
    }
}

/// `GET /admin/resources`.
pub(crate) async fn list(app: App) -> Result<Response, ApiError> {
    answer(&app, show(&app, &Form::default(), None)).await
}

async fn show(app: &App, typed: &Form, refusal: Option<Refusal>) -> Result<Response, Trouble> {
    let api = Api::of(app)?;
    let mut list = List::of(app, PATH, &["q"]).sorted("created_at");
    let pairs = list.pairs("25");
    let (shell, page) =
        join(Shell::load(app, &api, "Services", "resources"), api.get(route::RESOURCES_LIST, &[], &pairs)).await;
    let status = refusal.as_ref().map_or(200, |refusal| refusal.status);
    let (shell, page, refused) = shell?.admins_only()?.with(refusal).with_list(page)?;
    list.found(&page);
    let page = ResourcesPage { shell, list, typed: typed.clone(), resources: page.list("items").to_vec() };
    write_with(&page, refused.unwrap_or(status))
}

/// What may be changed of a service, as it was typed.
fn body(typed: &Form) -> Map<String, Json> {
    let mut body = typed.filled(&["name", "signing_alg"]);
    for name in ["scopes", "introspectors"] {
        body.insert(name.to_owned(), several(typed.text(name)).into());
    }
    body
}

/// `POST /admin/resources`.
pub(crate) async fn create(app: App, typed: Form) -> Result<Response, ApiError> {
    answer_form(&app, &typed, async {
        let api = Api::of(&app)?;
        let mut body = body(&typed);
        body.insert("identifier".to_owned(), typed.text("identifier").into());
        match api.change(route::RESOURCES_CREATE, &[], Change { form: &typed, body: body.into() }).await {
            Ok(made) => Ok(see(&app, &format!("{PATH}/{}?done=made", made.text("id")))),
            Err(Trouble::Refused(refusal)) if refusal.is_for_the_form() => show(&app, &typed, Some(refusal)).await,
            Err(trouble) => Err(trouble),
        }
    })
    .await
}

#[derive(Template)]
#[template(path = "resource.html")]
struct ResourcePage {
    shell: Shell,
    typed: Form,
    /// The fields as they stand.
    now: Form,
    resource: Json,
    shown: Html,
}

/// Fields that give rights.
const GUARDED: &[(&str, &str)] = &[("scopes", "scopes"), ("introspectors", "introspectors")];

/// The fields of the form, as the service is.
fn fields(resource: &Json) -> Form {
    let words = |name: &str| resource.words(name).join(" ");
    Form::of(&[
        ("name", resource.text("name")),
        ("scopes", &words("scopes")),
        ("introspectors", &words("introspectors")),
        ("signing_alg", resource.text("signing_alg")),
    ])
}

impl ResourcePage {
    fn is_alg(&self, word: &str) -> bool {
        self.typed.or("signing_alg", self.resource.text("signing_alg")) == word
    }
}

/// `GET /admin/resources/{id}`.
pub(crate) async fn one(app: App, Path(id): Path) -> Result<Response, ApiError> {
    answer(&app, show_one(&app, &id, &Form::default(), None)).await
}

async fn show_one(app: &App, id: &str, typed: &Form, refusal: Option<Refusal>) -> Result<Response, Trouble> {
    let api = Api::of(app)?;
    let resource = api.get(route::RESOURCES_GET, &[id], &[]);
    let (shell, resource) = join(Shell::load(app, &api, "A service", "resources"), resource).await;
    let status = refusal.as_ref().map_or(200, |refusal| refusal.status);
    let (shell, resource) = (shell?.admins_only()?.with(refusal), resource?);
    let shell = shell.called(resource.text("name"));
    let now = fields(&resource);
    let shown = shown::field(typed, &now);
    write_with(&ResourcePage { shell, typed: typed.clone(), now, resource, shown }, status)
}

/// `POST /admin/resources/{id}/{act}`.
pub(crate) async fn act(app: App, Path(id): Path, Path(act): Path, typed: Form) -> Result<Response, ApiError> {
    let is_end = match act.as_str() {
        "change" => false,
        "delete" => true,
        _ => return Err(Code::NotFound.into()),
    };
    answer_form(&app, &typed, async {
        let api = Api::of(&app)?;
        let now = fields(&api.get(route::RESOURCES_GET, &[&id], &[]).await?);
        let settings = Settings { route: route::RESOURCES_PATCH, names: &[&id], now: &now, guarded: GUARDED };
        let sent = match is_end {
            true => {
                api.change(route::RESOURCES_DELETE, &[&id], Change { form: &typed, body: Json::Null }).await.map(drop)
            }
            false => settings.send(&api, &typed, |typed| Ok(body(typed))).await.map(drop),
        };
        match sent {
            Ok(()) if is_end => Ok(see(&app, &format!("{PATH}?done=deleted"))),
            Ok(()) => Ok(see(&app, &format!("{PATH}/{id}?done=changed"))),
            Err(Trouble::Refused(refusal)) if refusal.is_for_the_form() => {
                show_one(&app, &id, &settings.again(&typed, &refusal), Some(refusal)).await
            }
            Err(trouble) => Err(trouble),
        }
    })
    .await
}
