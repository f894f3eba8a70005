//! `/access`: what agents ask for, and the page that decides.

use askama::Template;
use common::{
    error::{ApiError, Code},
    route::{self, Access, ROUTES},
    scope::{Patterns, ScopeSet},
    text::isolated,
};
use futures_util::future::{join, join3};
use serde_json::{Map, Value as Json};
use service::{app::App, extract::Path, response::Response};

use crate::{
    api::{Api, Change, Members, Refusal, Trouble},
    form::{Form, number},
    list::List,
    page::{Shell, answer, answer_form, see_done, write_with},
    scopes::{given, meaning},
    words::{self, Html},
};

#[derive(Template)]
#[template(path = "access.html")]
struct AccessPage {
    shell: Shell,
    list: List,
    decided: Vec<Json>,
}

impl AccessPage {
    fn state(&self, request: &Json) -> Html {
        words::state(request.text("state"))
    }

    fn tags(&self, list: &Json, member: &str) -> Html {
        words::tags(list.list(member), 3)
    }
}

/// `GET /access`: the requests that the visitor may decide, the waiting ones first.
pub(crate) async fn list(app: App) -> Result<Response, ApiError> {
    answer(&app, async {
        let api = Api::of(&app)?;
        let mut list = List::of(&app, "/access", &["state", "agent"]);
        let pairs = list.pairs("25");
        let (shell, all) =
            join(Shell::load(&app, &api, "Requests", "access"), api.get(route::ACCESS_LIST, &[], &pairs)).await;
        let (shell, all, refused) = shell?.with_list(all)?;
        list.found(&all);
        let decided = all.list("items").iter().filter(|one| one.text("state") != "open").cloned().collect();
        write_with(&AccessPage { shell, list, decided }, refused.unwrap_or(200))
    })
    .await
}

/// A scope in words: what would become possible.
pub(crate) struct Possible {
    pub(crate) scope: String,
    pub(crate) is_ticked: bool,
    pub(crate) sentence: String,
    /// The routes of the API that it opens.
    pub(crate) opens: Vec<&'static str>,
}

#[derive(Template)]
#[template(path = "decide.html")]
struct DecidePage {
    shell: Shell,
    typed: Form,
    request: Json,
    state: Html,
    granted: Html,
    possible: Vec<Possible>,
    agent: Json,
    holds: Html,
    /// The body that the one request has, for people to read. Empty: the agent does not show it, or it has none.
    body: String,
    /// For how long it can be given.
    terms: Vec<Term>,
}

/// One of the answers to "for how long".
struct Term {
    word: &'static str,
    title: &'static str,
    sentence: String,
    is_chosen: bool,
    is_possible: bool,
}

/// Once where the agent has named the request, for a time, and for good where its ceiling has what it asks for.
fn terms(request: &Json, agent: &Json, chosen: &str) -> Vec<Term> {
    let (exact, name) = (request.at("for"), request.at("agent").text("name"));
    let chosen = match (chosen, exact.is_null()) {
        ("", true) => "hours",
        ("", false) => "once",
        (chosen, _) => chosen,
    };
    let ceiling = Patterns::stored(&agent.words("scope").join(" "));
    let asked = request.words("scope").into_iter();
    let beyond: Vec<&str> = asked.filter(|scope| !Patterns::stored(scope).is_within(&ceiling)).collect();
    // Without the agent its ceiling is not known: the API decides.
    let is_within = beyond.is_empty() || agent.is_null();
    let term =
        |word, title, sentence, is_possible| Term { word, title, sentence, is_chosen: word == chosen, is_possible };
    let mut terms = Vec::new();
    if !exact.is_null() {
        let body = if exact.text("body_sha256").is_empty() { "" } else { ", with the body that it has tried to send" };
        terms.push(term(
            "once",
            "Once",
            format!("Only this, one time: {}{body}.", isolated(exact.text("words"))),
            true,
        ));
    }
    terms.push(term(
        "hours",
        "For a time",
        "All that the ticked scopes open, as often as it likes, until the hours are over.".to_owned(),
        true,
    ));
    let always = if is_within {
        "All that the ticked scopes open, until you take it back or its ceiling gets narrower.".to_owned()
    } else {
        let lacking = beyond.join(", ");
        format!("Not while the ceiling of {name} lacks {lacking}: widen it first, on the page of {name}.")
    };
    terms.push(term("always", "For good", always, is_within));
    terms
}

/// `GET /access/{id}`.
pub(crate) async fn one(app: App, Path(id): Path) -> Result<Response, ApiError> {
    answer(&app, show(&app, &id, &Form::default(), None)).await
}

async fn show(app: &App, id: &str, typed: &Form, refusal: Option<Refusal>) -> Result<Response, Trouble> {
    let api = Api::of(app)?;
    let (shell, request, custom) = join3(
        Shell::load(app, &api, "A request", "access"),
        api.get(route::ACCESS_GET, &[id], &[]),
        api.get(route::SCOPES_CUSTOM, &[], &[]),
    )
    .await;
    let status = refusal.as_ref().map_or(200, |refusal| refusal.status);
    let (shell, request) = (shell?.with(refusal), request?);
    let agent = api.get(route::AGENTS_GET, &[request.at("agent").text("id")], &[]).await.unwrap_or_default();
    let custom = custom.unwrap_or_default();
    let ticked = typed.all("scope");
    let possible = request.words("scope").into_iter().map(|scope| possible(scope, &ticked, &custom)).collect();
    let page = DecidePage {
        typed: typed.clone(),
        state: words::state(request.text("state")),
        granted: words::tags(request.list("granted"), usize::MAX),
        holds: words::tags(agent.list("scope"), usize::MAX),
        body: words::body(request.at("for").text("body")),
        terms: terms(&request, &agent, typed.text("lasts")),
        shell,
        request,
        possible,
        agent,
    };
    write_with(&page, status)
}

pub(crate) fn possible(scope: &str, ticked: &[&str], custom: &Json) -> Possible {
    let covered = ScopeSet::expand(scope).unwrap_or_default();
    let sentence = meaning(scope, custom);
    let is_opened = |access: Access| matches!(access, Access::Scope(needed) if covered.contains(needed));
    let opens = ROUTES.iter().filter(|route| is_opened(route.access)).map(|route| route.title).collect();
    Possible { scope: scope.to_owned(), is_ticked: ticked.is_empty() || ticked.contains(&scope), sentence, opens }
}

/// `POST /access/{id}/{act}`.
pub(crate) async fn act(app: App, Path(id): Path, Path(act): Path, typed: Form) -> Result<Response, ApiError> {
    let (route, done) = match act.as_str() {
        "approve" => (route::ACCESS_APPROVE, "approved"),
        "deny" => (route::ACCESS_DENY, "denied"),
        "revoke" => (route::ACCESS_REVOKE, "revoked"),
        _ => return Err(Code::NotFound.into()),
    };
    answer_form(&app, &typed, async {
        let body = match act.as_str() {
            "approve" => match approval(&typed) {
                Ok(body) => body.into(),
                Err(Trouble::Refused(refusal)) => return show(&app, &id, &typed, Some(refusal)).await,
                Err(trouble) => return Err(trouble),
            },
            "deny" => typed.filled(&["reason"]).into(),
            _ => Json::Null,
        };
        match Api::of(&app)?.change(route, &[&id], Change { form: &typed, body }).await {
            Ok(_) => Ok(see_done(&app, &typed, "/access", done)),
            Err(Trouble::Refused(refusal)) if refusal.is_for_the_form() => show(&app, &id, &typed, Some(refusal)).await,
            Err(trouble) => Err(trouble),
        }
    })
    .await
}

fn approval(typed: &Form) -> Result<Map<String, Json>, Trouble> {
    let mut body = Map::new();
    body.insert("scope".to_owned(), given(typed)?);
    let lasts = typed.text("lasts");
    if !lasts.is_empty() {
        body.insert("lasts".to_owned(), lasts.into());
    }
    // The field is on the page also where it means nothing.
    if !typed.text("hours").is_empty() && lasts != "always" {
        body.insert("hours".to_owned(), number(typed.text("hours")));
    }
    Ok(body)
}
