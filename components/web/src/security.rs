//! `/security`: how the visitor signs in. Their second factor, sessions and password.

use askama::Template;
use common::{error::ApiError, route};
use futures_util::future::join5;
use serde_json::{Value as Json, json};
use service::{app::App, extract::Path, response::Response};

use crate::{
    api::{Api, Change, Members, Refusal, Trouble},
    form::Form,
    page::{Shell, answer, next_page, see, write, write_with},
    providers::Identities,
    qr,
    words::Html,
};

/// The sessions' form that ends all others names this instead of an id.
const OTHERS: &str = "others";

/// The kinds of mail that people choose, by their names at the API.
const MAILS: [(&str, &str, &str); 4] = [
    ("access_requests", "Access requests", "an agent asks for more than it may do"),
    ("leaks", "Leaks", "a credential was reported as leaked"),
    ("expiring", "Credentials that end", "a token or a key ends within a week"),
    ("silent_agents", "Silent agents", "an agent of yours has sent no heartbeat for longer than its settings allow"),
];

#[derive(Template)]
#[template(path = "security.html")]
struct SecurityPage {
    shell: Shell,
    factor: Json,
    sessions: Vec<Json>,
    /// The query of older sessions; empty: there are none.
    more: String,
    identities: Identities,
    /// Which mails the visitor gets; null where that cannot be had.
    mails: Json,
}

impl SecurityPage {
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

    /// Whether the visitor can do nothing else before they have set a second factor up.
    fn must_set_up(&self) -> bool {
        self.factor.is("demanded") && !self.factor.is("enabled")
    }
}

/// `GET /profile`.
pub(crate) async fn profile(app: App) -> Result<Response, ApiError> {
    Ok(see(&app, "/security"))
}

/// `GET /security`.
pub(crate) async fn get(app: App) -> Result<Response, ApiError> {
    answer(&app, show(&app, None)).await
}

async fn show(app: &App, refusal: Option<Refusal>) -> Result<Response, Trouble> {
    let (api, asked) = (Api::of(app)?, Form::query(app));
    let (shell, factor, sessions, identities, mails) = join5(
        Shell::load(app, &api, "Security", "security"),
        api.get(route::FACTOR, &[], &[]),
        api.get(route::SESSIONS_LIST, &[], &asked.pairs(&["cursor"])),
        Identities::load(app, &api),
        api.get(route::NOTIFICATIONS_PREFERENCES, &[], &[]),
    )
    .await;
    let code = refusal.as_ref().map_or(200, |refusal| refusal.status);
    let sessions = match sessions {
        // Somebody who must set a second factor up first sees nothing else.
        Err(Trouble::Refused(refusal)) if refusal.slug == "second_factor_setup_required" => Json::Null,
        sessions => sessions?,
    };
    let more = next_page(&[], &sessions);
    let (sessions, mails) = (sessions.list("items").to_vec(), mails.unwrap_or_default());
    write_with(&SecurityPage { shell: shell?.with(refusal), factor: factor?, sessions, more, identities, mails }, code)
}

/// The page once more, with a note.
async fn again(app: &App, trouble: Trouble) -> Result<Response, Trouble> {
    match trouble {
        Trouble::Refused(refusal) if refusal.is_for_the_form() => show(app, Some(refusal)).await,
        trouble => Err(trouble),
    }
}

/// `POST /security/{act}`.
pub(crate) async fn act(app: App, Path(act): Path, typed: Form) -> Result<Response, ApiError> {
    let change = |body| Change { form: &typed, body };
    answer(&app, async {
        let api = Api::of(&app)?;
        let done = match act.as_str() {
            "begin" => {
                let begun = api.change(route::FACTOR_BEGIN, &[], change(Json::Null)).await;
                return match begun {
                    Ok(begun) => show_secret(&app, &api, begun, None).await,
                    Err(trouble) => again(&app, trouble).await,
                };
            }
            "confirm" => {
                let body = json!({ "code": typed.text("code") });
                return match api.change(route::FACTOR_CONFIRM, &[], change(body)).await {
                    Ok(confirmed) => show_codes(&app, &api, &confirmed, true).await,
                    // The app has the secret by now, and the page shows it no more.
                    Err(Trouble::Refused(refusal)) if refusal.slug == "wrong_code" => {
                        show_secret(&app, &api, Json::Null, Some(refusal)).await
                    }
                    Err(trouble) => again(&app, trouble).await,
                };
            }
            "codes" => {
                return match api.change(route::FACTOR_CODES, &[], change(Json::Null)).await {
                    Ok(replaced) => show_codes(&app, &api, &replaced, false).await,
                    Err(trouble) => again(&app, trouble).await,
                };
            }
            "remove" => api.change(route::FACTOR_REMOVE, &[], change(Json::Null)).await,
            _ => {
                let refusal =
                    Refusal::own(404, "This path does not exist.", "Go back, and choose a button of the page.");
                return Err(Trouble::Refused(refusal));
            }
        };
        match done {
            Ok(_) => Ok(see(&app, "/security?done=factor-removed")),
            Err(trouble) => again(&app, trouble).await,
        }
    })
    .await
}

#[derive(Template)]
#[template(path = "factor.html")]
struct FactorPage {
    shell: Shell,
    /// The secret in groups of four; empty once it was shown.
    secret: String,
    uri: String,
    code: Option<Html>,
}

async fn show_secret(app: &App, api: &Api<'_>, begun: Json, refusal: Option<Refusal>) -> Result<Response, Trouble> {
    let status = refusal.as_ref().map_or(200, |refusal| refusal.status);
    let shell = Shell::load(app, api, "Second factor", "security").await?.with(refusal);
    let letters: Vec<char> = begun.text("secret").chars().collect();
    let secret = letters.chunks(4).map(|four| four.iter().collect::<String>()).collect::<Vec<_>>().join(" ");
    let uri = begun.text("uri").to_owned();
    let code = Some(&uri).filter(|uri| !uri.is_empty()).and_then(|uri| qr::svg(uri, "The secret as a QR code"));
    write_with(&FactorPage { shell, secret, uri, code }, status)
}

#[derive(Template)]
#[template(path = "recovery.html")]
struct RecoveryPage {
    shell: Shell,
    codes: Vec<String>,
    /// The second factor was confirmed by the same form.
    is_first: bool,
}

async fn show_codes(app: &App, api: &Api<'_>, shown: &Json, is_first: bool) -> Result<Response, Trouble> {
    let shell = Shell::load(app, api, "Recovery codes", "security").await?;
    let codes = shown.words("recovery_codes").into_iter().map(str::to_owned).collect();
    write(&RecoveryPage { shell, codes, is_first })
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
            Ok(_) => Ok(see(&app, "/security?done=ended")),
            Err(trouble) => again(&app, trouble).await,
        }
    })
    .await
}

/// `POST /profile/mails`: a box that is not ticked turns its kind off.
pub(crate) async fn choose_mails(app: App, typed: Form) -> Result<Response, ApiError> {
    answer(&app, async {
        let chosen = typed.all("mail");
        let body = MAILS.iter().map(|(name, ..)| ((*name).to_owned(), Json::from(chosen.contains(name)))).collect();
        let change = Change { form: &typed, body: Json::Object(body) };
        match Api::of(&app)?.change(route::NOTIFICATIONS_PREFER, &[], change).await {
            Ok(_) => Ok(see(&app, "/security?done=changed")),
            Err(trouble) => again(&app, trouble).await,
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
            Ok(_) => Ok(see(&app, "/security?done=password")),
            Err(trouble) => again(&app, trouble).await,
        }
    })
    .await
}
