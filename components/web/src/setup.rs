//! Setting the server up: the first tenant and its admin.

use askama::Template;
use common::{error::ApiError, route};
use serde_json::{Value as Json, json};
use service::{app::App, credential, response::Response};

use crate::{
    api::{Api, Change, Members, Refusal, Trouble},
    form::Form,
    home_tenant::at_sign_in,
    login::{FormToken, check_same_site, is_new},
    page::{Frame, Note, answer, see, write_with},
};

#[derive(Template)]
#[template(path = "setup.html")]
struct SetupPage {
    frame: Frame,
    csrf: String,
    typed: Form,
    /// The site has no address that a session could be kept for.
    is_unsafe: bool,
    /// The server has no operator secret, so that nobody can set it up.
    is_closed: bool,
}

/// `GET /setup`, until somebody has.
pub(crate) async fn form(app: App) -> Result<Response, ApiError> {
    answer(&app, async {
        if !is_new(&app).await? {
            return Ok(see(&app, "/login"));
        }
        // Without a secret, which is no guess, the route says whether it is there.
        let asked = send(&app, &Form::default()).await;
        show(&app, Form::default(), asked.err().and_then(closed))
    })
    .await
}

/// The refusal of a server without an operator secret: its route is not there.
fn closed(trouble: Trouble) -> Option<Refusal> {
    match trouble {
        Trouble::Refused(refusal) if refusal.slug == "not_found" => Some(refusal),
        _ => None,
    }
}

fn show(app: &App, typed: Form, refusal: Option<Refusal>) -> Result<Response, Trouble> {
    let is_closed = refusal.as_ref().is_some_and(|refusal| refusal.slug == "not_found");
    let refusal = refusal.filter(|_| !is_closed);
    let status = refusal.as_ref().map_or(200, |refusal| refusal.status);
    let token = FormToken::of(app);
    let frame = Frame::new(app, "Set up", refusal.map(Note::from));
    let is_unsafe = credential::cookie_name(app).is_none();
    let page = SetupPage { frame, csrf: token.text.clone(), typed, is_unsafe, is_closed };
    Ok(token.set(write_with(&page, status)?))
}

/// `POST /setup`.
pub(crate) async fn set_up(app: App, typed: Form) -> Result<Response, ApiError> {
    answer(&app, async {
        match bootstrap(&app, &typed).await {
            // The browser may remember a tenant of a server that was here before.
            Ok(made) => {
                let typed = typed.with_all("tenant", &[made.at("tenant").text("slug")]);
                Ok(see(&app, &at_sign_in(&typed, "set-up")))
            }
            // Somebody was faster: the form can do nothing any more.
            Err(Trouble::Refused(refusal)) if refusal.slug == "already_bootstrapped" => Ok(see(&app, "/login")),
            Err(Trouble::Refused(refusal)) => show(&app, typed.clone(), Some(refusal)),
            Err(trouble) => Err(trouble),
        }
    })
    .await
}

async fn bootstrap(app: &App, typed: &Form) -> Result<Json, Trouble> {
    check_same_site(app, typed)?;
    send(app, typed).await
}

async fn send(app: &App, typed: &Form) -> Result<Json, Trouble> {
    let mut body = json!({
        "secret": typed.text("secret"), "email": typed.text("email"), "name": typed.text("name"), "password": typed.raw("password"),
    });
    if let (Some(members), false) = (body.as_object_mut(), typed.text("tenant").is_empty()) {
        members.insert("tenant".to_owned(), typed.text("tenant").into());
    }
    Api::without_session(app).change(route::BOOTSTRAP, &[], Change { form: typed, body }).await
}
