//! `/access`: what agents ask for, and the page that decides.

use askama::Template;
use common::{
    error::{ApiError, Code},
    route::{self, Access, ROUTES},
    scope::{Patterns, ScopeSet},
    text::isolated,
};
use futures_util::future::join3;
use serde_json::{Map, Value as Json, json};
use service::{app::App, extract::Path, response::Response};

use crate::{
    api::{Api, Asked, Change, Members, Refusal, Trouble},
    form::{Form, number},
    list::List,
    page::{Shell, answer, answer_form, see, see_done, write_with},
    scopes::{given, meaning},
    words::{self, Html},
};

const PATH: &str = "/access";
/// In place of the id of a request: those that were ticked.
const TICKED: &str = "ticked";
/// Requests that are decided in one go at most; a page shows no more.
const MOST: usize = 20;

#[derive(Template)]
#[template(path = "access.html")]
struct AccessPage {
    shell: Shell,
    list: List,
    /// Those that wait; `None`: they are not asked for.
    waiting: Option<Vec<Json>>,
    /// Where all that wait are; empty: these are all.
    more: String,
    /// Those that were decided; `None`: they are not asked for.
    decided: Option<Vec<Json>>,
    /// Those that are ticked, by id.
    ticked: Vec<String>,
    /// This page, to come back to after a click.
    back: String,
}

impl AccessPage {
    fn state(&self, request: &Json) -> Html {
        words::state(request.text("state"))
    }

    fn tags(&self, list: &Json, member: &str) -> Html {
        words::tags(list.list(member), 3)
    }

    fn head(&self, text: &str, by: &str) -> Html {
        self.list.head(self.shell.link(), text, by)
    }

    fn is_ticked(&self, request: &Json) -> bool {
        self.ticked.iter().any(|id| id == request.text("id"))
    }

    /// The query of this page, for the form that decides about several: its answer shows the same list.
    fn query(&self) -> &str {
        self.back.strip_prefix(PATH).unwrap_or_default()
    }
}

/// `GET /access`: the requests that the visitor may decide, the waiting ones first.
pub(crate) async fn list(app: App) -> Result<Response, ApiError> {
    answer(&app, show_list(&app, &[], None)).await
}

async fn show_list(app: &App, ticked: &[&str], refusal: Option<Refusal>) -> Result<Response, Trouble> {
    let api = Api::of(app)?;
    let mut list = List::of(app, PATH, &["q", "state", "agent", "owner"]).sorted("created_at");
    let (state, most) = (list.asked.text("state").to_owned(), MOST.to_string());
    let of = |state: &'static str, limit| {
        let mut pairs = list.pairs(limit);
        pairs.retain(|(name, _)| *name != "state");
        pairs.push(("state", state));
        pairs
    };
    let (open, closed) = (of("open", &most), of("decided", "25"));
    let as_asked = list.pairs(if state == "open" { &most } else { "25" });
    // Without a state those that wait stand before the first page of the others.
    let is_both = state.is_empty() && list.is_first();
    let before = async {
        match is_both {
            true => api.get(route::ACCESS_LIST, &[], &open).await,
            false => Ok(Json::Null),
        }
    };
    let rows = api.get(route::ACCESS_LIST, &[], if state.is_empty() { &closed } else { &as_asked });
    let (shell, before, rows) = join3(Shell::load(app, &api, "Requests", "access"), before, rows).await;
    let status = refusal.as_ref().map_or(200, |refusal| refusal.status);
    let (shell, rows, refused) = shell?.with(refusal).with_list(rows)?;
    list.found(&rows);
    let before = if refused.is_some() { Json::Null } else { before? };
    let more = if before.text("next_cursor").is_empty() { String::new() } else { list.with("state", "open") };
    let items = |list: &Json| Some(list.list("items").to_vec());
    let (waiting, decided) = match state.as_str() {
        "open" => (items(&rows), None),
        _ => (if is_both { items(&before) } else { None }, items(&rows)),
    };
    let ticked = ticked.iter().map(|id| (*id).to_owned()).collect();
    let back = list.here();
    write_with(&AccessPage { shell, list, waiting, more, decided, ticked, back }, refused.unwrap_or(status))
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
    // A wider request has taken it in: its page is another one, where nothing that was typed for this one counts.
    if request.text("id") != id {
        return Ok(see(app, &format!("{PATH}/{}", request.text("id"))));
    }
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
    if id == TICKED {
        return act_on_ticked(app, &act, typed).await;
    }
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

/// `POST /access/ticked/{act}`: decides about each request that is ticked, as its own button would.
async fn act_on_ticked(app: App, act: &str, typed: Form) -> Result<Response, ApiError> {
    let (is_approved, done) = match act {
        "approve" => (true, "approved-all"),
        "deny" => (false, "denied-all"),
        _ => return Err(Code::NotFound.into()),
    };
    answer_form(&app, &typed, async {
        let mut ids = typed.all("request");
        ids.sort_unstable();
        ids.dedup();
        if ids.is_empty() || ids.len() > MOST {
            let fix = format!("Tick the requests that you want to decide, at most {MOST}.");
            let none =
                Refusal::own(400, if ids.is_empty() { "Nothing is ticked." } else { "Too many are ticked." }, &fix);
            return show_list(&app, &ids, Some(none)).await;
        }
        let api = Api::of(&app)?;
        // A proof counts for all of them, and a code works once.
        api.prove(&typed).await?;
        let form = typed.without_proof();
        let (mut left, mut failed, mut unproved) = (Vec::new(), Vec::new(), None);
        for id in &ids {
            let (name, decision) = decide(&api, id, is_approved, &form).await;
            match decision {
                Ok(()) => continue,
                Err(Trouble::Refused(refusal)) => failed.push((name, format!("{} {}", refusal.detail, refusal.fix))),
                Err(Trouble::Prove(asked)) => unproved = Some(asked.refusal),
                Err(trouble) => return Err(trouble),
            }
            left.push(*id);
        }
        if let Some(refusal) = unproved {
            // Those that are decided are left out when it is sent again.
            let form = form.with_all("request", &left);
            return Err(Trouble::Prove(Box::new(Asked { refusal, form })));
        }
        if failed.is_empty() {
            return Ok(see_done(&app, &typed, PATH, done));
        }
        let (all, decided) = (ids.len(), ids.len() - left.len());
        let what = if is_approved { "approved" } else { "denied" };
        let fix = if decided == 0 { "Nothing was changed." } else { "These were not:" };
        let mut refusal = Refusal::own(409, &format!("{decided} of {all} requests are {what}."), fix);
        refusal.fields = failed;
        show_list(&app, &left, Some(refusal)).await
    })
    .await
}

/// Decides about one request, as the button beside it does: once where the agent has named what it is for, else for the hours that it asks
/// for. Gives also how the request is called.
async fn decide(api: &Api<'_>, id: &str, is_approved: bool, form: &Form) -> (String, Result<(), Trouble>) {
    let request = match api.get(route::ACCESS_GET, &[id], &[]).await {
        Ok(request) => request,
        // Such as one that its agent has withdrawn.
        Err(trouble) => return ("One:".to_owned(), Err(trouble)),
    };
    let name = format!("{}, {}:", request.at("agent").text("name"), request.words("scope").join(" "));
    let (row, body) = match (is_approved, request.at("for").is_null()) {
        (false, _) => (route::ACCESS_DENY, Json::Null),
        (true, true) => (route::ACCESS_APPROVE, Json::Null),
        (true, false) => (route::ACCESS_APPROVE, json!({ "lasts": "once" })),
    };
    (name, api.change(row, &[id], Change { form, body }).await.map(drop))
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
