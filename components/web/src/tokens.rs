//! `/tokens`: the visitor's personal access tokens.

use askama::Template;
use common::{
    error::{ApiError, Code},
    route,
    text::isolated,
};
use futures_util::future::join4;
use serde_json::Value as Json;
use service::{app::App, extract::Path, response::Response};

use crate::{
    agent::ended,
    agents::{PAGE, Secret},
    api::{Api, Change, Members, Refusal, Trouble},
    form::{Form, put_life},
    list::List,
    page::{Shell, answer, answer_form, see, write_with},
    scopes::{Choice, chosen},
    words::{self, Html},
};

#[derive(Template)]
#[template(path = "tokens.html")]
struct TokensPage {
    shell: Shell,
    typed: Form,
    list: List,
    /// The status of which they are; `all`: of any.
    status: String,
    tokens: Vec<Json>,
    /// The apps that the visitor let in.
    apps: Vec<Json>,
    /// The form for a new one stands in place of the list, as it was asked for, or since there is none yet.
    is_new: bool,
    is_asked: bool,
    choice: Choice,
}

impl TokensPage {
    fn head(&self, text: &str, by: &str) -> Html {
        self.list.head(self.shell.link(), text, by)
    }

    /// Whether those of the visitor's agents are shown too.
    fn is_any(&self) -> bool {
        self.list.asked.is("kind", "any")
    }

    fn tags(&self, token: &Json) -> Html {
        words::tags(token.list("scope"), 3)
    }

    /// An app as its person knows it: by its host, if its id is the address of a document.
    fn host(&self, app: &Json) -> String {
        common::url::Url::parse(app.text("client_id")).map_or_else(String::new, |url| url.host.to_owned())
    }

    /// When a token ends whose maker chooses no end.
    fn usual(&self) -> String {
        match self.shell.tenant.get("pat_days") {
            Some(Json::Null) => "never, as usual here".to_owned(),
            Some(days) => format!(
                "{}, as usual here",
                words::count(days.as_u64().and_then(|days| usize::try_from(days).ok()).unwrap_or_default(), "day")
            ),
            None => "as usual here".to_owned(),
        }
    }

    fn state(&self, token: &Json) -> Html {
        words::state(token.text("status"))
    }

    fn is_live(&self, token: &Json) -> bool {
        matches!(token.text("status"), "active" | "expiring")
    }
}

/// `GET /tokens`.
pub(crate) async fn list(app: App) -> Result<Response, ApiError> {
    answer(&app, show(&app, &Form::default(), None)).await
}

async fn show(app: &App, typed: &Form, refusal: Option<Refusal>) -> Result<Response, Trouble> {
    let api = Api::of(app)?;
    let mut list = List::of(app, "/tokens", &["status", "kind", "q"]).sorted("created_at");
    let status = list.asked.or("status", "active").to_owned();
    let mut pairs = list.pairs(PAGE);
    pairs.retain(|(name, _)| *name != "status");
    if status != "all" {
        pairs.push(("status", &status));
    }
    let (shell, tokens, apps, custom) = join4(
        Shell::load(app, &api, "Tokens", "tokens"),
        api.get(route::PATS_LIST, &[], &pairs),
        api.get(route::APPS_LIST, &[], &[("limit", "200")]),
        api.get(route::SCOPES_CUSTOM, &[], &[]),
    )
    .await;
    let code = refusal.as_ref().map_or(200, |refusal| refusal.status);
    let (shell, tokens, refused) = shell?.with(refusal).with_list(tokens)?;
    list.found(&tokens);
    // What an app renews itself is with the apps.
    let own: Vec<Json> = tokens.list("items").iter().filter(|token| token.at("client").is_null()).cloned().collect();
    let is_plain = !list.is_filtered() && list.is_first() && refused.is_none();
    let choice = Choice::of_person(&shell.who, &custom.unwrap_or_default(), typed);
    let is_asked = list.asked.is("new", "1") || typed.has("name");
    let page = TokensPage {
        choice,
        shell,
        typed: typed.clone(),
        is_new: is_asked || (own.is_empty() && is_plain),
        is_asked,
        list,
        tokens: own,
        apps: apps?.list("items").to_vec(),
        status,
    };
    write_with(&page, refused.unwrap_or(code))
}

/// `POST /tokens`.
pub(crate) async fn create(app: App, typed: Form) -> Result<Response, ApiError> {
    answer_form(&app, &typed, async {
        let mut body = typed.body(&["name"], &[]);
        match chosen(&typed) {
            Ok(scope) => drop(scope.map(|scope| body.insert("scope".to_owned(), scope))),
            Err(trouble) => return again(&app, &typed, trouble).await,
        }
        put_life(typed.text("days"), &mut body);
        let api = Api::of(&app)?;
        match api.change(route::PATS_CREATE, &[], Change { form: &typed, body: body.into() }).await {
            Ok(made) => secret(&made, "is made", "This is the token.").show(&app, &api, "tokens").await,
            Err(trouble) => again(&app, &typed, trouble).await,
        }
    })
    .await
}

fn secret(made: &Json, verb: &str, what: &str) -> Secret {
    Secret {
        heading: format!("The token {} {verb}", isolated(made.text("name"))),
        what: what.to_owned(),
        secret: made.text("token").to_owned(),
        use_it: "Put it where your tool looks: the variable ACCREDIT_TOKEN, or the header Authorization: Bearer."
            .to_owned(),
        also: None,
        ends: Some(made.text("expires_at").to_owned()),
        may: made.list("scope").to_vec(),
        warnings: made.words("warnings").into_iter().map(str::to_owned).collect(),
        back: "/tokens".to_owned(),
    }
}

/// The page once more, with what was typed.
async fn again(app: &App, typed: &Form, trouble: Trouble) -> Result<Response, Trouble> {
    match trouble {
        Trouble::Refused(refusal) if refusal.is_for_the_form() => show(app, typed, Some(refusal)).await,
        trouble => Err(trouble),
    }
}

/// `POST /tokens/{id}/{act}`.
pub(crate) async fn act(app: App, Path(id): Path, Path(act): Path, typed: Form) -> Result<Response, ApiError> {
    let route = match act.as_str() {
        "rotate" => route::PATS_ROTATE,
        "revoke" => route::PATS_REVOKE,
        "end-app" => route::APPS_END,
        _ => return Err(Code::NotFound.into()),
    };
    answer_form(&app, &typed, async {
        let api = Api::of(&app)?;
        match api.change(route, &[&id], Change { form: &typed, body: Json::Null }).await {
            Ok(made) if act == "rotate" => {
                let ended = ended(&api, "the token before it", &made).await;
                let shown = secret(&made, "is rotated", "The one before it no longer works.");
                shown.instead_of(ended, &app, &api, "tokens").await
            }
            Ok(_) if act == "end-app" => Ok(see(&app, "/tokens?done=app-ended")),
            Ok(_) => Ok(see(&app, "/tokens?done=revoked")),
            Err(trouble) => again(&app, &typed, trouble).await,
        }
    })
    .await
}
