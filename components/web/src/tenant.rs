//! `/admin/tenant`: the settings of the tenant.

use askama::Template;
use common::{
    entrance::{Demand, Entrance},
    error::ApiError,
    route,
};
use serde_json::{Map, Value as Json};
use service::{app::App, response::Response};

use crate::{
    api::{Api, Change, Members, Refusal, Trouble},
    form::{Form, number},
    page::{Shell, answer, answer_form, see, write_with},
};

const WAYS: [(&str, &str, &str); 3] = [
    (Entrance::Password.as_str(), "Password", "an address and a password"),
    (Entrance::Link.as_str(), "Link by mail", "a link that is mailed and works once; this server has to send mail"),
    (Entrance::Oidc.as_str(), "Company account", "a provider that the operator has set up"),
];

const DEMANDS: [(&str, &str); 3] = [
    (Demand::Nobody.as_str(), "Nobody: people decide for themselves"),
    (Demand::Admins.as_str(), "Admins"),
    (Demand::All.as_str(), "All people"),
];

#[derive(Template)]
#[template(path = "tenant.html")]
struct TenantPage {
    shell: Shell,
    /// The fields as they stand, or as they were typed.
    name: String,
    ways: Vec<String>,
    demand: String,
    days: String,
}

impl TenantPage {
    fn has_way(&self, way: &str) -> bool {
        self.ways.iter().any(|one| one == way)
    }

    fn is_demand(&self, word: &str) -> bool {
        self.demand == word
    }
}

/// `GET /admin/tenant`.
pub(crate) async fn form(app: App) -> Result<Response, ApiError> {
    answer(&app, show(&app, None, None)).await
}

async fn show(app: &App, typed: Option<&Form>, refusal: Option<Refusal>) -> Result<Response, Trouble> {
    let api = Api::of(app)?;
    let status = refusal.as_ref().map_or(200, |refusal| refusal.status);
    let shell = Shell::load(app, &api, "Settings", "settings").await?.admins_only()?.with(refusal);
    let now = &shell.tenant;
    let days = now.at("pat_days").as_i64().map_or_else(|| "never".to_owned(), |days| days.to_string());
    let owned = |words: Vec<&str>| words.into_iter().map(str::to_owned).collect();
    let page = match typed {
        None => TenantPage {
            name: now.text("name").to_owned(),
            ways: owned(now.words("ways")),
            demand: now.text("second_factor").to_owned(),
            days,
            shell,
        },
        Some(typed) => TenantPage {
            name: typed.text("name").to_owned(),
            ways: owned(typed.all("way")),
            demand: typed.text("second_factor").to_owned(),
            days: typed.text("pat_days").to_owned(),
            shell,
        },
    };
    write_with(&page, status)
}

/// `POST /admin/tenant`.
pub(crate) async fn change(app: App, typed: Form) -> Result<Response, ApiError> {
    answer_form(&app, &typed, async {
        let mut body = Map::new();
        let name = typed.text("name");
        body.insert("name".to_owned(), if name.is_empty() { Json::Null } else { name.into() });
        body.insert("ways".to_owned(), typed.all("way").into_iter().map(Json::from).collect());
        body.insert("second_factor".to_owned(), typed.text("second_factor").into());
        let days = typed.text("pat_days");
        body.insert("pat_days".to_owned(), if days == "never" { Json::Null } else { number(days) });
        let change = Change { form: &typed, body: body.into() };
        match Api::of(&app)?.change(route::TENANT_PATCH, &[], change).await {
            Ok(_) => Ok(see(&app, "/admin/tenant?done=changed")),
            Err(Trouble::Refused(refusal)) if refusal.is_for_the_form() => {
                show(&app, Some(&typed), Some(refusal)).await
            }
            Err(trouble) => Err(trouble),
        }
    })
    .await
}
