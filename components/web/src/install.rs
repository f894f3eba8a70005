//! `/install`: the command-line tool, and the text that sets up a coding agent.

use askama::Template;
use common::{error::ApiError, route};
use serde_json::json;
use service::{app::App, credential, response::Response};

use crate::{
    api::{Api, Change, Members, Refusal, Trouble},
    form::Form,
    page::{Frame, Shell, answer, answer_form, write, write_with},
    scopes::{USUAL, USUAL_SCOPES},
};

/// How long the token of a coding agent lives, days.
const DAYS: i64 = 90;
/// Stands for the token until there is one.
const PLACEHOLDER: &str = "acr_pat_…";

/// What a coding agent's token can carry: a word for the form, what it says, and the scopes.
const CHOICES: [(&str, &str, &[&str]); 2] =
    [("agents", USUAL, USUAL_SCOPES), ("all", "Everything that you may", &["*"])];

/// The text for a coding agent. The preview and the real one are this, with another token.
#[derive(Template)]
#[template(path = "coding_agent.txt")]
struct SetUpText<'a> {
    site: &'a str,
    token: &'a str,
}

#[derive(Template)]
#[template(path = "install_public.html")]
struct PublicPage {
    frame: Frame,
    site: String,
}

#[derive(Template)]
#[template(path = "install.html")]
struct InstallPage {
    shell: Shell,
    site: String,
    choices: [(&'static str, &'static str, &'static [&'static str]); 2],
    typed: Form,
    /// The text with a placeholder.
    preview: String,
    /// The text with the token that was made.
    text: String,
}

/// Where this server is reached. Without an address of its own a page elsewhere than on loopback has to leave it open.
fn site(app: &App) -> String {
    let origin = credential::own_origin(app).unwrap_or_else(|| "https://<this server>".to_owned());
    format!("{origin}{}", app.settings().link().strip_prefix(&origin).unwrap_or(app.settings().link()))
}

fn text(site: &str, token: &str) -> Result<String, Trouble> {
    SetUpText { site, token }.render().map_err(|error| Trouble::Outage(error.to_string()))
}

/// `GET /install`: for everybody how to install the tool; for visitors who are signed in the set-up of a coding agent too.
pub(crate) async fn show(app: App) -> Result<Response, ApiError> {
    answer(&app, async {
        match signed_in(&app, &Form::default(), None, "").await {
            Err(Trouble::SignIn) => {
                let page = PublicPage { frame: Frame::new(&app, "Install", None), site: site(&app) };
                write(&page)
            }
            other => other,
        }
    })
    .await
}

async fn signed_in(app: &App, typed: &Form, refusal: Option<Refusal>, token: &str) -> Result<Response, Trouble> {
    let api = Api::of(app)?;
    let status = refusal.as_ref().map_or(200, |refusal| refusal.status);
    let shell = Shell::load(app, &api, "Set up a coding agent", "install").await?.with(refusal);
    let site = site(app);
    let made = if token.is_empty() { String::new() } else { text(&site, token)? };
    let page = InstallPage {
        preview: text(&site, PLACEHOLDER)?,
        text: made,
        shell,
        choices: CHOICES,
        typed: typed.clone(),
        site,
    };
    write_with(&page, status)
}

/// `POST /install`: makes the token. The text with it is in this answer alone.
pub(crate) async fn set_up(app: App, typed: Form) -> Result<Response, ApiError> {
    answer_form(&app, &typed, async {
        let (_, _, scope) = CHOICES.iter().find(|(word, _, _)| typed.is("may", word)).unwrap_or(&CHOICES[0]);
        let name = typed.or("name", "coding agent");
        let body = json!({ "name": name, "scope": scope, "expires_in_days": DAYS });
        match Api::of(&app)?.change(route::PATS_CREATE, &[], Change { form: &typed, body }).await {
            Ok(made) => signed_in(&app, &typed, None, made.text("token")).await,
            Err(Trouble::Refused(refusal)) if refusal.is_for_the_form() => {
                signed_in(&app, &typed, Some(refusal), "").await
            }
            Err(trouble) => Err(trouble),
        }
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn preview_and_text_differ_in_the_token_alone() {
        let texts = ["acr_pat_secret", PLACEHOLDER].map(|token| text("http://127.0.0.1:1", token).ok().unwrap());
        assert_eq!(texts[0].replace("acr_pat_secret", PLACEHOLDER), texts[1]);
        for step in ["/cli/install.sh", "import-token", "whoami", "doctor", "skills", "Report"] {
            assert!(texts[0].contains(step), "{step}: {}", texts[0]);
        }
    }

    #[test]
    fn every_choice_is_made_of_scopes() {
        for (_, _, scopes) in CHOICES {
            assert!(scopes.iter().all(|scope| common::scope::ScopeSet::expand(scope).is_some()), "{scopes:?}");
        }
    }
}
