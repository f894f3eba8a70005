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
    /// Whether there is a way on.
    is_signed_in: bool,
}

/// `GET /leaks`.
pub(crate) async fn form(app: App) -> Result<Response, ApiError> {
    answer(&app, async { show(&app, None) }).await
}

fn show(app: &App, refusal: Option<Refusal>) -> Result<Response, Trouble> {
    let status = refusal.as_ref().map_or(200, |refusal| refusal.status);
    let token = FormToken::of(app);
    let note = refusal.map(Note::from).or_else(|| Note::done(app));
    let frame = Frame::new(app, "Report a leaked credential", note);
    let page = LeaksPage { frame, csrf: token.text.clone(), is_signed_in: Api::of(app).is_ok() };
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

#[cfg(test)]
mod tests {
    use serde_json::{Value::Null, json};
    use service::testing::TestApp;

    use crate::{router, testing::Visitor};

    /// R731: somebody with a session, who has come from the tokens, finds the way back.
    #[tokio::test]
    async fn a_reporter_with_a_session_finds_the_way_back() {
        let visitor = Visitor::new(|_, _| (200, json!({})));
        assert!(visitor.open("/leaks").await.text.contains("href=\"/tokens\""));
        let nobody = TestApp::new(router()).call("GET", "/leaks", &[("accept", "text/html")], Null).await;
        assert!(!nobody.text.contains("href=\"/tokens\""), "{}", nobody.text);
    }
}
