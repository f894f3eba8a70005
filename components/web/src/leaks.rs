//! `/leaks`: anybody who has found a credential of this server in the open ends it, and nobody learns whether it was one.

use askama::Template;
use common::{
    error::ApiError,
    route,
    secret::{ClientSecret, RefreshToken, Secret},
};
use service::{app::App, response::Response};

use crate::{
    api::{Api, Change, Refusal, Trouble},
    form::Form,
    login::{FormToken, check_same_site},
    page::{Frame, Note, answer, see, write_with},
};

#[derive(Template)]
#[template(path = "leaks.html")]
struct LeaksPage {
    frame: Frame,
    csrf: String,
}

/// `GET /leaks`.
pub(crate) async fn form(app: App) -> Result<Response, ApiError> {
    answer(&app, async { show(&app, None) }).await
}

fn show(app: &App, refusal: Option<Refusal>) -> Result<Response, Trouble> {
    let status = refusal.as_ref().map_or(200, |refusal| refusal.status);
    let token = FormToken::of(app);
    let note = refusal.map(Note::from).or_else(|| Note::done(app));
    let page = LeaksPage { frame: Frame::new(app, "Report a leaked credential", note), csrf: token.text.clone() };
    Ok(token.set(write_with(&page, status)?))
}

/// Whether it has the form of a credential, and its checksum: what somebody has cut off ends nothing.
fn is_whole(text: &str) -> bool {
    let text = text.trim();
    RefreshToken::parse(text).is_some() || ClientSecret::parse(text).is_some() || Secret::parse(text).is_some()
}

/// Sends what was pasted on, if it can be one.
async fn end(app: &App, typed: &Form) -> Result<(), Trouble> {
    check_same_site(app, typed)?;
    if !is_whole(typed.text("token")) {
        let detail = "This is not a credential of an Accredit server, or not all of one.";
        let fix = "Paste all of it: 57 characters, of which the first are acr_.";
        return Err(Refusal::of_field("token", detail, fix));
    }
    let change = Change { form: typed, body: typed.body(&["token"], &[]).into() };
    Api::without_session(app).change(route::LEAKS, &[], change).await.map(drop)
}

/// `POST /leaks`.
pub(crate) async fn report(app: App, typed: Form) -> Result<Response, ApiError> {
    answer(&app, async {
        match end(&app, &typed).await {
            Ok(()) => Ok(see(&app, "/leaks?done=leak-reported")),
            Err(Trouble::Refused(refusal)) => show(&app, Some(refusal)),
            Err(trouble) => Err(trouble),
        }
    })
    .await
}
