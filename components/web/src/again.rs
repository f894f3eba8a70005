//! `/login/again`: a step up by a new sign-in, for people with neither a password nor a second factor. First it offers their ways to sign
//! in; once they have, it shows the form that waits ([`Kept`]), which goes on by its button.

use askama::Template;
use common::{error::ApiError, route};
use futures_util::future::join3;
use serde_json::Value as Json;
use service::{app::App, response::Response};

use crate::{
    api::{Api, Members, Trouble},
    cookie::KEPT,
    form::query,
    kept::{AGAIN, Kept},
    login::FormToken,
    page::{Frame, ProvePage, answer, see, write, write_with},
    providers,
};

#[derive(Template)]
#[template(path = "again.html")]
struct AgainPage {
    frame: Frame,
    csrf: String,
    email: String,
    tenant: String,
    next: &'static str,
    /// The page to which the visitor can go back.
    page: String,
    /// Whether a link can be mailed.
    has_link: bool,
    /// The providers at which the visitor is known.
    providers: Vec<Json>,
    /// Whether what was typed is too long to be kept.
    is_too_long: bool,
}

impl AgainPage {
    fn query(&self) -> String {
        query(&[("next", self.next)])
    }

    /// The form for signing in, which has all ways.
    fn otherwise(&self) -> String {
        query(&[("next", self.next), ("email", &self.email), ("tenant", &self.tenant)])
    }
}

/// `GET /login/again`.
pub(crate) async fn show(app: App) -> Result<Response, ApiError> {
    answer(&app, async {
        let Some(kept) = Kept::read(&app) else { return Ok(see(&app, "/")) };
        let api = Api::of(&app)?;
        let who = api.get(route::WHOAMI, &[], &[]).await?;
        match kept.is_of(&who) {
            // Somebody else's, who used this browser before.
            false => Ok(KEPT.forget(&app, see(&app, "/"))),
            true if kept.goes_on(&who) => go_on(&app, &who, kept),
            true => offer(&app, &api, &who, &kept).await,
        }
    })
    .await
}

fn go_on(app: &App, who: &Json, kept: Kept) -> Result<Response, Trouble> {
    if kept.fields.is_none() {
        return Ok(KEPT.forget(app, see(app, &kept.page)));
    }
    write(&ProvePage::kept(app, who.text("csrf_token"), kept))
}

async fn offer(app: &App, api: &Api<'_>, who: &Json, kept: &Kept) -> Result<Response, Trouble> {
    let (tenant, linked, offered) =
        join3(api.get(route::TENANT, &[], &[]), api.get(route::IDENTITIES_LIST, &[], &[]), providers::offered(app))
            .await;
    let ways = tenant.unwrap_or_default();
    let allows = |way: &str| ways.is_null() || ways.words("ways").contains(&way);
    // Without the list, all are offered: the provider knows.
    let is_linked = |provider: &Json| {
        let Ok(linked) = &linked else { return true };
        linked.list("items").iter().any(|one| one.text("provider") == provider.text("name"))
    };
    let providers = offered.into_iter().filter(|provider| allows("oidc") && is_linked(provider)).collect();
    let token = FormToken::of(app);
    let page = AgainPage {
        frame: Frame::new(app, "Is it you?", None),
        csrf: token.text.clone(),
        email: who.text("email").to_owned(),
        tenant: who.text("tenant").to_owned(),
        next: AGAIN,
        page: kept.page.clone(),
        has_link: app.settings().mail_provider.is_some() && allows("link"),
        providers,
        is_too_long: kept.fields.is_none(),
    };
    Ok(token.set(write_with(&page, 403)?))
}
