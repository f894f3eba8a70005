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
    api::{Api, Members, Refusal, Trouble},
    form::{Form, number},
    page::{Shell, answer, answer_form, see, write_with},
    shown::{self, Settings},
    words::Html,
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

/// When a token ends whose maker chooses no end: days, and the words for them.
const ENDS: [(&str, &str); 6] =
    [("7", "a week"), ("30", "30 days"), ("90", "90 days"), ("180", "180 days"), ("365", "a year"), ("never", "never")];

/// Fields that give rights, each with its member of the body.
const GUARDED: &[(&str, &str)] = &[("way", "ways"), ("second_factor", "second_factor")];

#[derive(Template)]
#[template(path = "tenant.html")]
struct TenantPage {
    shell: Shell,
    /// The fields as they stand, or as they were typed.
    now: Form,
    shown: Html,
}

impl TenantPage {
    /// The choices of when a token ends: also what the API has set otherwise.
    fn ends(&self) -> Vec<(&str, String)> {
        let now = self.now.text("pat_days");
        let other = Some((now, format!("{now} days"))).filter(|_| ENDS.iter().all(|(days, _)| *days != now));
        ENDS.iter().map(|(days, text)| (*days, (*text).to_owned())).chain(other).collect()
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
    let now = fields(&shell.tenant);
    let shown = shown::field(typed.unwrap_or(&Form::default()), &now);
    write_with(&TenantPage { shell, now: typed.cloned().unwrap_or(now), shown }, status)
}

/// The fields of the form, as the tenant is.
fn fields(tenant: &Json) -> Form {
    let days = tenant.at("pat_days").as_i64().map_or_else(|| "never".to_owned(), |days| days.to_string());
    let mut fields =
        vec![("name", tenant.text("name")), ("second_factor", tenant.text("second_factor")), ("pat_days", &days)];
    fields.extend(tenant.words("ways").into_iter().map(|way| ("way", way)));
    Form::of(&fields)
}

fn body(typed: &Form) -> Result<Map<String, Json>, Trouble> {
    let mut body = Map::new();
    if typed.all("way").is_empty() {
        return Err(Refusal::of_field("way", "Nobody could sign in.", "Choose at least one way."));
    }
    let name = typed.text("name");
    body.insert("name".to_owned(), if name.is_empty() { Json::Null } else { name.into() });
    body.insert("ways".to_owned(), typed.all("way").into_iter().map(Json::from).collect());
    body.insert("second_factor".to_owned(), typed.text("second_factor").into());
    let days = typed.text("pat_days");
    body.insert("pat_days".to_owned(), if days == "never" { Json::Null } else { number(days) });
    Ok(body)
}

/// `POST /admin/tenant`.
pub(crate) async fn change(app: App, typed: Form) -> Result<Response, ApiError> {
    answer_form(&app, &typed, async {
        let api = Api::of(&app)?;
        let now = fields(&api.get(route::TENANT, &[], &[]).await?);
        let settings = Settings { route: route::TENANT_PATCH, names: &[], now: &now, guarded: GUARDED };
        match settings.send(&api, &typed, body).await {
            Ok(_) => Ok(see(&app, "/admin/tenant?done=changed")),
            Err(Trouble::Refused(refusal)) if refusal.is_for_the_form() => {
                show(&app, Some(&settings.again(&typed, &refusal)), Some(refusal)).await
            }
            Err(trouble) => Err(trouble),
        }
    })
    .await
}
