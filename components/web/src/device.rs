//! `/device`: a terminal asks to be signed in, and the visitor decides (RFC 8628, section 3.3).
//!
//! The address may hold the code already, so the page asks to compare it: somebody else may have sent the link, to be let in as its reader.

use askama::Template;
use common::{
    error::{ApiError, Code},
    route,
    secret::UserCode,
};
use futures_util::future::join3;
use serde_json::{Map, Value as Json};
use service::{app::App, response::Response};

use crate::{
    access::{Possible, possible},
    api::{Api, Change, Members, Refusal, Trouble},
    form::{Form, number, query},
    page::{Note, Shell, answer, answer_form, see, write_with},
    scopes::{Choice, chosen, given},
};

#[derive(Template)]
#[template(path = "device.html")]
struct DevicePage {
    shell: Shell,
    typed: Form,
    /// The request that waits with the typed code; null: the visitor has to type one.
    request: Json,
    /// What it asks for.
    possible: Vec<Possible>,
    /// What it can be given, if it does not say what it needs.
    choice: Choice,
    /// Whether the visitor has just decided about one.
    is_decided: bool,
}

impl DevicePage {
    /// The code as the device shows it.
    fn code(&self) -> String {
        let typed = self.typed.text("user_code");
        UserCode::parse(typed).map_or_else(|| typed.to_owned(), |code| code.reveal())
    }

    /// This page.
    fn next(&self) -> String {
        format!("/device?{}", query(&[("user_code", &self.code())]))
    }

    fn is_session(&self) -> bool {
        self.request.text("want") == "session"
    }
}

/// `GET /device`.
pub(crate) async fn show(app: App) -> Result<Response, ApiError> {
    answer(&app, page(&app, &Form::query(&app).only("user_code"), None)).await
}

async fn page(app: &App, typed: &Form, refusal: Option<Refusal>) -> Result<Response, Trouble> {
    let api = Api::of(app)?;
    let code = typed.text("user_code");
    let (shell, found, custom) = if code.is_empty() {
        let shell = Shell::load(app, &api, "Sign a device in", "").await;
        (shell, Ok(Json::Null), Ok(Json::Null))
    } else {
        join3(
            Shell::load(app, &api, "Sign a device in", ""),
            api.get(route::DEVICE_GET, &[code], &[]),
            api.get(route::SCOPES_CUSTOM, &[], &[]),
        )
        .await
    };
    let (shell, mut refusal) = (shell?, refusal);
    let request = match found {
        Ok(request) => request,
        Err(Trouble::Refused(reason)) => {
            refusal = refusal.or(Some(reason));
            Json::Null
        }
        Err(trouble) => return Err(trouble),
    };
    let status = refusal.as_ref().map_or(200, |refusal| refusal.status);
    let (custom, ticked) = (custom.unwrap_or_default(), typed.all("scope"));
    let possible = request.words("scope").into_iter().map(|scope| possible(scope, &ticked, &custom)).collect();
    let choice = Choice::of_person(&shell.who, &custom, typed);
    let is_decided = code.is_empty() && refusal.is_none() && Note::done(app).is_some();
    let shell = shell.with(refusal);
    write_with(&DevicePage { shell, typed: typed.clone(), request, possible, choice, is_decided }, status)
}

/// `POST /device`.
pub(crate) async fn act(app: App, typed: Form) -> Result<Response, ApiError> {
    let (route, done) = match typed.text("act") {
        "approve" => (route::DEVICE_APPROVE, "device-approved"),
        "deny" => (route::DEVICE_DENY, "device-denied"),
        _ => return Err(Code::NotFound.into()),
    };
    answer_form(&app, &typed, async {
        let api = Api::of(&app)?;
        let body = match typed.is("act", "approve").then(|| approval(&typed)) {
            Some(Ok(body)) => body.into(),
            Some(Err(Trouble::Refused(refusal))) => return page(&app, &typed, Some(refusal)).await,
            Some(Err(trouble)) => return Err(trouble),
            None => Json::Null,
        };
        match api.change(route, &[typed.text("user_code")], Change { form: &typed, body }).await {
            Ok(_) => Ok(see(&app, &format!("/device?done={done}"))),
            Err(Trouble::Refused(refusal)) => page(&app, &typed, Some(refusal)).await,
            Err(trouble) => Err(trouble),
        }
    })
    .await
}

/// What the visitor gives. The form for a session has none of these fields.
fn approval(typed: &Form) -> Result<Map<String, Json>, Trouble> {
    let mut body = Map::new();
    if typed.is("from", "boxes") {
        body.insert("scope".to_owned(), given(typed)?);
    } else if typed.has("may")
        && let Some(scope) = chosen(typed)?
    {
        body.insert("scope".to_owned(), scope);
    }
    if !typed.text("days").is_empty() {
        body.insert("expires_in_days".to_owned(), number(typed.text("days")));
    }
    Ok(body)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::testing::Visitor;

    /// R731: after a device is approved its person goes on at the terminal: no empty form takes the focus.
    #[tokio::test]
    async fn a_device_that_is_decided_about_leaves_no_form() {
        let visitor = Visitor::new(|_, path| match path {
            "/api/overview" => (200, json!({ "caller": { "role": "member", "csrf_token": "c" } })),
            _ => (200, json!({})),
        });
        let fields = [("act", "approve"), ("user_code", "BCDF-GHJK"), ("may", "all")];
        let sent = visitor.send("/device", &fields).await;
        let cookie = sent.headers.get("set-cookie").unwrap().to_str().unwrap();
        let page = visitor.open_with(cookie, sent.header("location")).await.text;
        assert!(page.contains("Go back to the terminal") && !page.contains("name=\"user_code\""), "{page}");
        assert!(visitor.open("/device").await.text.contains("name=\"user_code\""));
    }
}
