//! `/tokens`: the visitor's personal access tokens, sessions and password.

use askama::Template;
use common::{
    error::{ApiError, Code},
    route,
};
use futures_util::future::join3;
use serde_json::{Value as Json, json};
use service::{app::App, extract::Path, response::Response};

use crate::{
    agents::Secret,
    api::{Api, Change, Members, Refusal, Trouble},
    form::{Form, number},
    page::{Shell, answer, see, write_with},
    words::{self, Html},
};

/// The sessions' form that ends all others names this instead of an id.
const OTHERS: &str = "others";

#[derive(Template)]
#[template(path = "tokens.html")]
struct TokensPage {
    shell: Shell,
    typed: Form,
    status: String,
    tokens: Vec<Json>,
    sessions: Vec<Json>,
    more: String,
}

impl TokensPage {
    fn tags(&self, token: &Json) -> Html {
        words::tags(token.list("scope"), 3)
    }

    fn state(&self, token: &Json) -> Html {
        words::state(token.text("status"))
    }

    fn is_live(&self, token: &Json) -> bool {
        matches!(token.text("status"), "active" | "expiring")
    }

    /// What a browser calls itself is long: the word that tells it from others.
    fn device(&self, session: &Json) -> String {
        let agent = session.text("user_agent");
        let name =
            |names: &[(&str, &'static str)]| names.iter().find(|(sign, _)| agent.contains(sign)).map(|(_, name)| *name);
        let browser = name(&[
            ("Edg/", "Edge"),
            ("OPR/", "Opera"),
            ("Firefox/", "Firefox"),
            ("Chrome/", "Chrome"),
            ("Safari/", "Safari"),
            ("curl/", "curl"),
        ]);
        let system = name(&[
            ("Windows", "Windows"),
            ("Android", "Android"),
            ("iPhone", "iPhone"),
            ("iPad", "iPad"),
            ("Mac OS X", "macOS"),
            ("Linux", "Linux"),
        ]);
        match (browser, system) {
            (Some(browser), Some(system)) => format!("{browser} on {system}"),
            (Some(one), None) | (None, Some(one)) => one.to_owned(),
            (None, None) if agent.is_empty() => "unknown".to_owned(),
            (None, None) => agent.chars().take(40).collect(),
        }
    }
}

/// `GET /profile`.
pub(crate) async fn profile(app: App) -> Result<Response, ApiError> {
    Ok(see(&app, "/tokens"))
}

/// `GET /tokens`.
pub(crate) async fn list(app: App) -> Result<Response, ApiError> {
    answer(&app, show(&app, &Form::default(), None)).await
}

async fn show(app: &App, typed: &Form, refusal: Option<Refusal>) -> Result<Response, Trouble> {
    let (api, asked) = (Api::of(app)?, Form::query(app));
    let status = asked.or("status", "active").to_owned();
    let mut pairs = vec![("limit", "100")];
    if status != "all" {
        pairs.push(("status", status.as_str()));
    }
    pairs.extend(asked.pairs(&["cursor"]));
    let (shell, tokens, sessions) = join3(
        Shell::load(app, &api, "Tokens", "tokens"),
        api.get(route::PATS_LIST, &[], &pairs),
        api.get(route::SESSIONS_LIST, &[], &[("limit", "50")]),
    )
    .await;
    let code = refusal.as_ref().map_or(200, |refusal| refusal.status);
    let (shell, tokens, sessions) = (shell?.with(refusal), tokens?, sessions?);
    let page = TokensPage {
        shell,
        typed: typed.clone(),
        more: tokens.text("next_cursor").to_owned(),
        tokens: tokens.list("items").to_vec(),
        sessions: sessions.list("items").to_vec(),
        status,
    };
    write_with(&page, code)
}

/// `POST /tokens`.
pub(crate) async fn create(app: App, typed: Form) -> Result<Response, ApiError> {
    answer(&app, async {
        let mut body = typed.filled(&["name"]);
        let scope: Vec<Json> =
            typed.text("scope").split([' ', ',', '\n', '\r']).filter(|word| !word.is_empty()).map(Json::from).collect();
        if !scope.is_empty() {
            body.insert("scope".to_owned(), scope.into());
        }
        match typed.text("days") {
            "" => {}
            "never" => drop(body.insert("expires_in_days".to_owned(), Json::Null)),
            days => drop(body.insert("expires_in_days".to_owned(), number(days))),
        }
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
        heading: format!("The token {} {verb}", made.text("name")),
        what: what.to_owned(),
        secret: made.text("token").to_owned(),
        use_it: "Put it where your tool looks: the variable ACCREDIT_TOKEN, or the header Authorization: Bearer."
            .to_owned(),
        ends: made.text("expires_at").to_owned(),
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
        _ => return Err(Code::NotFound.into()),
    };
    answer(&app, async {
        let api = Api::of(&app)?;
        match api.change(route, &[&id], Change { form: &typed, body: Json::Null }).await {
            Ok(made) if act == "rotate" => {
                secret(&made, "is rotated", "The one before it no longer works.").show(&app, &api, "tokens").await
            }
            Ok(_) => Ok(see(&app, "/tokens?done=revoked")),
            Err(trouble) => again(&app, &typed, trouble).await,
        }
    })
    .await
}

/// `POST /sessions/{id}/end`: one of them, or all others.
pub(crate) async fn end_session(app: App, Path(id): Path, typed: Form) -> Result<Response, ApiError> {
    answer(&app, async {
        let api = Api::of(&app)?;
        let change = Change { form: &typed, body: Json::Null };
        let ended = match id.as_str() {
            OTHERS => api.change(route::SESSIONS_END_OTHERS, &[], change).await,
            id => api.change(route::SESSION_END, &[id], change).await,
        };
        match ended {
            Ok(_) => Ok(see(&app, "/tokens?done=ended")),
            Err(trouble) => again(&app, &typed, trouble).await,
        }
    })
    .await
}

/// `POST /profile/password`.
pub(crate) async fn change_password(app: App, typed: Form) -> Result<Response, ApiError> {
    answer(&app, async {
        let mut body = json!({ "new": typed.raw("new") });
        if let (Some(members), false) = (body.as_object_mut(), typed.raw("current").is_empty()) {
            members.insert("current".to_owned(), typed.raw("current").into());
        }
        let changed = Api::of(&app)?.change(route::PASSWORD_CHANGE, &[], Change { form: &typed, body }).await;
        match changed {
            Ok(_) => Ok(see(&app, "/tokens?done=password")),
            Err(trouble) => again(&app, &Form::default(), trouble).await,
        }
    })
    .await
}
