//! `/admin/clients`: OAuth clients that admins register.

use askama::Template;
use common::{
    error::{ApiError, Code},
    route,
    text::isolated,
};
use futures_util::future::join;
use serde_json::{Map, Value as Json};
use service::{app::App, extract::Path, response::Response};

use crate::{
    agents::Secret,
    api::{Api, Change, Members, Refusal, Trouble},
    form::Form,
    list::List,
    page::{Shell, answer, answer_form, see, write_with},
    shown::{self, Settings},
    words::Html,
};

const PATH: &str = "/admin/clients";

#[derive(Template)]
#[template(path = "clients.html")]
struct ClientsPage {
    shell: Shell,
    list: List,
    typed: Form,
    clients: Vec<Json>,
}

impl ClientsPage {
    fn head(&self, text: &str, by: &str) -> Html {
        self.list.head(self.shell.link(), text, by)
    }
}

/// `GET /admin/clients`.
pub(crate) async fn list(app: App) -> Result<Response, ApiError> {
    answer(&app, show(&app, &Form::default(), None)).await
}

async fn show(app: &App, typed: &Form, refusal: Option<Refusal>) -> Result<Response, Trouble> {
    let api = Api::of(app)?;
    let mut list = List::of(app, PATH, &["q"]).sorted("created_at");
    let pairs = list.pairs("25");
    let (shell, page) =
        join(Shell::load(app, &api, "OAuth clients", "clients"), api.get(route::CLIENTS_LIST, &[], &pairs)).await;
    let status = refusal.as_ref().map_or(200, |refusal| refusal.status);
    let (shell, page, refused) = shell?.admins_only()?.with(refusal).with_list(page)?;
    list.found(&page);
    let page = ClientsPage { shell, list, typed: typed.clone(), clients: page.list("items").to_vec() };
    write_with(&page, refused.unwrap_or(status))
}

/// Name and redirect URIs as they were typed.
fn body(typed: &Form) -> Map<String, Json> {
    let mut body = Map::new();
    body.insert("name".to_owned(), typed.text("name").into());
    let uris: Json = typed.text("redirect_uris").split_whitespace().map(Json::from).collect();
    body.insert("redirect_uris".to_owned(), uris);
    body
}

/// `POST /admin/clients`.
pub(crate) async fn create(app: App, typed: Form) -> Result<Response, ApiError> {
    answer_form(&app, &typed, async {
        let api = Api::of(&app)?;
        let mut body = body(&typed);
        body.insert("confidential".to_owned(), typed.is("confidential", "yes").into());
        match api.change(route::CLIENTS_CREATE, &[], Change { form: &typed, body: body.into() }).await {
            Ok(made) if made.is("confidential") => secret(&made, "is registered").show(&app, &api, "clients").await,
            Ok(made) => Ok(see(&app, &format!("{PATH}/{}?done=made", made.text("id")))),
            Err(Trouble::Refused(refusal)) if refusal.is_for_the_form() => show(&app, &typed, Some(refusal)).await,
            Err(trouble) => Err(trouble),
        }
    })
    .await
}

fn secret(made: &Json, verb: &str) -> Secret {
    Secret {
        heading: format!("The client {} {verb}", isolated(made.text("name"))),
        what: "This is its secret, with which it proves itself when it gets a token.".to_owned(),
        secret: made.text("client_secret").to_owned(),
        use_it: format!("Put it into the client's settings, with the client id {}.", made.text("id")),
        also: None,
        ends: Some(String::new()),
        may: Vec::new(),
        warnings: Vec::new(),
        back: format!("{PATH}/{}", made.text("id")),
    }
}

#[derive(Template)]
#[template(path = "client.html")]
struct ClientPage {
    shell: Shell,
    typed: Form,
    client: Json,
    /// The fields as they stand.
    now: Form,
    shown: Html,
}

/// Fields that give rights.
const GUARDED: &[(&str, &str)] = &[("redirect_uris", "redirect_uris")];

/// The fields of the form, as the client is.
fn fields(client: &Json) -> Form {
    Form::of(&[("name", client.text("name")), ("redirect_uris", &client.words("redirect_uris").join("\n"))])
}

impl ClientPage {
    /// Whether it proves itself with a secret, and not by a key.
    fn has_secret(&self) -> bool {
        self.client.is("confidential") && self.client.text("token_endpoint_auth_method") != "private_key_jwt"
    }
}

/// `GET /admin/clients/{id}`.
pub(crate) async fn one(app: App, Path(id): Path) -> Result<Response, ApiError> {
    answer(&app, show_one(&app, &id, &Form::default(), None)).await
}

async fn show_one(app: &App, id: &str, typed: &Form, refusal: Option<Refusal>) -> Result<Response, Trouble> {
    let api = Api::of(app)?;
    let client = api.get(route::CLIENTS_GET, &[id], &[]);
    let (shell, client) = join(Shell::load(app, &api, "An OAuth client", "clients"), client).await;
    let status = refusal.as_ref().map_or(200, |refusal| refusal.status);
    let (shell, client) = (shell?.admins_only()?.with(refusal), client?);
    let shell = shell.called(client.text("name"));
    let now = fields(&client);
    let shown = shown::field(typed, &now);
    write_with(&ClientPage { shell, typed: typed.clone(), client, now, shown }, status)
}

/// `POST /admin/clients/{id}/{act}`.
pub(crate) async fn act(app: App, Path(id): Path, Path(act): Path, typed: Form) -> Result<Response, ApiError> {
    let route = match act.as_str() {
        "change" => return answer_form(&app, &typed, change(&app, &id, &typed)).await,
        "rotate" => route::CLIENTS_ROTATE,
        "delete" => route::CLIENTS_DELETE,
        _ => return Err(Code::NotFound.into()),
    };
    answer_form(&app, &typed, async {
        let api = Api::of(&app)?;
        match api.change(route, &[&id], Change { form: &typed, body: Json::Null }).await {
            Ok(made) if act == "rotate" => secret(&made, "has another secret").show(&app, &api, "clients").await,
            Ok(_) => Ok(see(&app, &format!("{PATH}?done=deleted"))),
            Err(Trouble::Refused(refusal)) if refusal.is_for_the_form() => {
                show_one(&app, &id, &typed, Some(refusal)).await
            }
            Err(trouble) => Err(trouble),
        }
    })
    .await
}

async fn change(app: &App, id: &str, typed: &Form) -> Result<Response, Trouble> {
    let api = Api::of(app)?;
    let now = fields(&api.get(route::CLIENTS_GET, &[id], &[]).await?);
    let settings = Settings { route: route::CLIENTS_PATCH, names: &[id], now: &now, guarded: GUARDED };
    match settings.send(&api, typed, |typed| Ok(body(typed))).await {
        Ok(_) => Ok(see(app, &format!("{PATH}/{id}?done=changed"))),
        Err(Trouble::Refused(refusal)) if refusal.is_for_the_form() => {
            show_one(app, id, &settings.again(typed, &refusal), Some(refusal)).await
        }
        Err(trouble) => Err(trouble),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::testing::Visitor;

    /// R172: a client is offered another secret only if it has one.
    #[tokio::test]
    async fn only_a_client_with_a_secret_is_offered_another_one() {
        for (confidential, method, has_secret) in
            [(true, "client_secret_basic", true), (true, "private_key_jwt", false), (false, "none", false)]
        {
            let visitor = Visitor::new(move |_, path| match path {
                "/api/overview" => (200, json!({ "caller": { "role": "admin", "csrf_token": "c" } })),
                "/api/oauth/clients/cli_1" => {
                    (200, json!({ "confidential": confidential, "token_endpoint_auth_method": method }))
                }
                _ => (200, json!({})),
            });
            let page = visitor.open("/admin/clients/cli_1").await;
            assert_eq!(page.status, 200, "{}", page.text);
            assert_eq!(page.text.contains("New secret"), has_secret, "{method}: {}", page.text);
            assert_eq!(page.text.contains("with a secret"), has_secret, "{method}");
            assert_eq!(page.text.contains("by a key of its own"), method == "private_key_jwt", "{method}");
        }
    }
}
