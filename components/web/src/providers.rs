//! Signing in through a provider, and linking an identity.
//!
//! A browser goes from here to the provider and comes back; what was begun is in a cookie meanwhile ([`flows`]), which only the component
//! `oidc` can read. It is `SameSite=Lax`: the browser sends it when the provider leads back here, and with no request of another site's page.

use common::{
    error::{ApiError, Code},
    route,
};
use serde_json::{Value as Json, json};
use service::{app::App, extract::Path, response::Response};

use crate::{
    api::{Api, Change, Members, Refusal, Trouble},
    flows,
    form::{Form, OTHER, local},
    kept::{Kept, named, waiting},
    login,
    page::{answer, answer_form, leave, see, see_other_site},
};

/// `GET /auth/oidc/{provider}/login`.
pub(crate) async fn sign_in(app: App, Path(provider): Path) -> Result<Response, ApiError> {
    answer(&app, async {
        let (asked, form) = (Form::query(&app), Form::default());
        let next = local(asked.text("next"));
        let again = Kept::read(&app, &named(next)).is_some_and(|kept| kept.waits_for_proof());
        let body = json!({ "next": next, "again": again, "other": asked.is(OTHER, "1") });
        let begun =
            Api::without_session(&app).change(route::OIDC_START, &[&provider], Change { form: &form, body }).await;
        match begun {
            Ok(begun) => Ok(keep(&app, see_other_site(begun.text("url")), &begun)),
            Err(Trouble::Refused(refusal)) => login::show_login(&app, &asked, Some(refusal)).await,
            Err(trouble) => Err(trouble),
        }
    })
    .await
}

/// `GET /auth/oidc/{provider}/callback`: the provider has sent the visitor back.
pub(crate) async fn come_back(app: App, Path(provider): Path) -> Result<Response, ApiError> {
    let sent = Form::query(&app);
    let response = answer(&app, finish(&app, &provider, &sent)).await?;
    Ok(flows::end(&app, response, sent.text("state")))
}

async fn finish(app: &App, provider: &str, sent: &Form) -> Result<Response, Trouble> {
    let form = Form::default();
    let mut body = sent.filled(&["code", "iss", "error"]);
    body.insert("state".to_owned(), sent.text("state").into());
    body.insert("flow".to_owned(), flows::read(app, sent.text("state")).into());
    let change = Change { form: &form, body: body.into() };
    match Api::without_session(app).change(route::OIDC_FINISH, &[provider], change).await {
        Ok(done) if done.get("linked").is_some() => Ok(see(app, &done_at(done.text("next"), "linked"))),
        Ok(signed_in) => {
            let next = local(signed_in.text("next")).to_owned();
            login::finish(app, Ok(signed_in), (&next, "")).await
        }
        Err(Trouble::Refused(refusal)) if !refusal.next.ticket.is_empty() => {
            let next = local(&refusal.next.path).to_owned();
            login::finish(app, Err(Trouble::Refused(refusal)), (&next, "")).await
        }
        Err(Trouble::Refused(refusal)) => refuse(app, refusal).await,
        Err(trouble) => Err(trouble),
    }
}

/// Refusals of the person whom the provider sends: it would send the same one again.
const OF_PERSON: [&str; 5] =
    ["no_account", "account_deactivated", "address_not_verified", "other_identity", "way_disabled"];

/// A visitor with a session has linked something, or wanted to, or has come to the address once more; all others wanted to sign in.
async fn refuse(app: &App, mut refusal: Refusal) -> Result<Response, Trouble> {
    let (is_over, kept) = (refusal.slug == "sign_in_expired", waiting(app, &refusal.next.path));
    let has_session = login::has_session(app).await;
    if is_over {
        "This sign-in was finished before, took too long, or was begun in another browser."
            .clone_into(&mut refusal.detail);
        "Begin again.".clone_into(&mut refusal.fix);
    }
    match (has_session, kept) {
        (true, Some(kept)) if is_over => Ok(see(app, &kept)),
        (true, None) if is_over => Ok(see(app, &done_at(&refusal.next.path, "signed-in"))),
        (true, None) => Err(Trouble::Refused(refusal)),
        // One with a form that waits for a sign-in has all ways again.
        (_, kept) => {
            let next = kept.unwrap_or_else(|| refusal.next.path.clone());
            let other = if OF_PERSON.contains(&refusal.slug.as_str()) { "1" } else { "" };
            login::show_login(app, &Form::of(&[("next", &next), (OTHER, other)]), Some(refusal)).await
        }
    }
}

fn done_at(next: &str, done: &str) -> String {
    let next = local(next);
    let sign = if next.contains('?') { '&' } else { '?' };
    format!("{next}{sign}done={done}")
}

/// `POST /profile/identities/{id}/{act}`: `link`, of a provider, or `unlink`, of an identity.
pub(crate) async fn act(app: App, Path(id): Path, Path(act): Path, typed: Form) -> Result<Response, ApiError> {
    answer_form(&app, &typed, async {
        let api = Api::of(&app)?;
        match act.as_str() {
            "link" => {
                let body = json!({ "next": local(typed.or("back", "/security")) });
                let begun = api.change(route::OIDC_LINK, &[&id], Change { form: &typed, body }).await?;
                let text = "Sign in there with the identity that you want to link. It leads back here.";
                let words = ("To the provider", text, "Do not link");
                Ok(keep(&app, leave(&app, words, ("/security", begun.text("url")))?, &begun))
            }
            "unlink" => {
                let change = Change { form: &typed, body: Json::Null };
                api.change(route::IDENTITY_UNLINK, &[&id], change).await?;
                Ok(see(&app, &done_at(typed.or("back", "/security"), "unlinked")))
            }
            _ => {
                let not_found = Code::NotFound.row();
                Err(Trouble::Refused(Refusal::own(not_found.status, not_found.detail, not_found.fix)))
            }
        }
    })
    .await
}

/// Leaves with the browser what was begun.
fn keep(app: &App, response: Response, begun: &Json) -> Response {
    let query = begun.text("url").split_once('?').map_or("", |(_, query)| query);
    let state = Form::parse(query).text("state").to_owned();
    flows::keep(app, response, (&state, begun.text("flow")), begun.number("expires_in"))
}
