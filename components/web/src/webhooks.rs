//! `/admin/webhooks`: where events are sent. Everybody who may have webhooks sees their own; admins see the tenant's.

use askama::Template;
use common::{
    error::{ApiError, Code},
    event::EventKind,
    route,
    text::isolated,
};
use futures_util::future::{join, join4};
use serde_json::{Map, Value as Json, json};
use service::{app::App, extract::Path, response::Response};

use crate::{
    agents::Secret,
    api::{Api, Change, Members, Refusal, Trouble},
    form::{Form, several},
    list::List,
    page::{Shell, answer, answer_form, see, see_done, write_with},
    shown::{self, Settings},
    words::{self, Html},
};

#[derive(Template)]
#[template(path = "webhooks.html")]
struct WebhooksPage {
    shell: Shell,
    list: List,
    typed: Form,
    webhooks: Vec<Json>,
}

impl WebhooksPage {
    fn head(&self, text: &str, by: &str) -> Html {
        self.list.head(self.shell.link(), text, by)
    }
}

fn state(webhook: &Json) -> Html {
    words::state(webhook.text("state"))
}

/// Kinds of events that begin alike, as the API names them, and in words.
const GROUPS: [(&str, &str); 3] =
    [("agent.*", "All about agents"), ("access.*", "All about requests for access"), ("user.*", "All about people")];

/// A kind of events to be ticked.
struct Kind {
    word: String,
    sentence: String,
    is_ticked: bool,
}

/// What a kind is, for people.
pub(crate) fn told(word: &str) -> &str {
    let group = GROUPS.iter().find(|(known, _)| *known == word).map(|(_, sentence)| *sentence);
    let kind = || EventKind::ALL.iter().find(|kind| kind.as_str() == word).map(|kind| kind.sentence());
    group.or_else(kind).unwrap_or(word).trim_end_matches('.')
}

/// The kinds of which one can be chosen, with those that are chosen.
fn kinds(chosen: &[&str]) -> Vec<Kind> {
    let known = GROUPS.iter().map(|(word, _)| *word).chain(EventKind::ALL.iter().map(|kind| kind.as_str()));
    let known: Vec<&str> = known.collect();
    let others = chosen.iter().filter(|word| !known.contains(word));
    let all = known.iter().chain(others);
    all.map(|word| Kind { word: (*word).to_owned(), sentence: told(word).to_owned(), is_ticked: chosen.contains(word) })
        .collect()
}

impl WebhooksPage {
    fn state(&self, webhook: &Json) -> Html {
        state(webhook)
    }

    /// What it asks for, in few words.
    fn asks_for(&self, webhook: &Json) -> String {
        match webhook.words("kinds").as_slice() {
            [] => "All events".to_owned(),
            [only] => told(only).to_owned(),
            several => words::count(several.len(), "kind") + " of events",
        }
    }

    fn choices(&self) -> Vec<Kind> {
        kinds(&self.typed.all("kinds"))
    }

    fn is_all(&self) -> bool {
        !self.typed.is("which", "some")
    }
}

/// `GET /admin/webhooks`.
pub(crate) async fn list(app: App) -> Result<Response, ApiError> {
    answer(&app, show(&app, &Form::default(), None)).await
}

async fn show(app: &App, typed: &Form, refusal: Option<Refusal>) -> Result<Response, Trouble> {
    let api = Api::of(app)?;
    let mut list = List::of(app, "/admin/webhooks", &["q"]).sorted("created_at");
    let pairs = list.pairs("25");
    let (shell, page) =
        join(Shell::load(app, &api, "Webhooks", "webhooks"), api.get(route::WEBHOOKS_LIST, &[], &pairs)).await;
    let status = refusal.as_ref().map_or(200, |refusal| refusal.status);
    let (shell, page, refused) = shell?.with(refusal).with_list(page)?;
    list.found(&page);
    let page = WebhooksPage { shell, list, typed: typed.clone(), webhooks: page.list("items").to_vec() };
    write_with(&page, refused.unwrap_or(status))
}

/// The words of a field, as a list; nothing typed: `null`, which is all.
fn words_of(typed: &Form, name: &str) -> Json {
    let words = several(typed.text(name));
    if words.is_empty() { Json::Null } else { words.into() }
}

/// All kinds, which is chosen as such: taking the last tick away asks for no more than before.
fn body(typed: &Form) -> Result<Map<String, Json>, Trouble> {
    let mut body = typed.body(&["url"], &["name"]);
    let kinds: Vec<Json> = typed.all("kinds").into_iter().filter(|kind| !kind.is_empty()).map(Json::from).collect();
    if kinds.is_empty() && !typed.is("which", "all") {
        return Err(Refusal::of_field("kinds", "No event is ticked.", "Tick at least one, or choose all events."));
    }
    body.insert("kinds".to_owned(), if typed.is("which", "all") { Json::Null } else { kinds.into() });
    body.insert("agents".to_owned(), words_of(typed, "agents"));
    Ok(body)
}

/// `POST /admin/webhooks`.
pub(crate) async fn create(app: App, typed: Form) -> Result<Response, ApiError> {
    answer_form(&app, &typed, async {
        let api = Api::of(&app)?;
        let made = async {
            api.change(route::WEBHOOKS_CREATE, &[], Change { form: &typed, body: body(&typed)?.into() }).await
        };
        match made.await {
            Ok(made) => secret(&made, "is made").show(&app, &api, "webhooks").await,
            Err(Trouble::Refused(refusal)) if refusal.is_for_the_form() => show(&app, &typed, Some(refusal)).await,
            Err(trouble) => Err(trouble),
        }
    })
    .await
}

fn secret(made: &Json, verb: &str) -> Secret {
    Secret {
        heading: format!("The webhook {} {verb}", isolated(made.text("name"))),
        what: "This is its secret, which signs what is sent to it.".to_owned(),
        secret: made.text("secret").to_owned(),
        use_it: "Give it to the receiver, which checks the header webhook-signature with it.".to_owned(),
        also: None,
        ends: Some(String::new()),
        may: Vec::new(),
        warnings: Vec::new(),
        back: format!("/admin/webhooks/{}", made.text("id")),
    }
}

#[derive(Template)]
#[template(path = "webhook.html")]
struct WebhookPage {
    shell: Shell,
    typed: Form,
    webhook: Json,
    state: Html,
    choices: Vec<Kind>,
    is_all: bool,
    agents: String,
    shown: Html,
    deliveries: Vec<Json>,
    /// The one whose content is asked for; null: none is.
    opened: Json,
    list: List,
}

/// The status of the last answer, or why there is none.
pub(crate) fn outcome(delivery: &Json) -> String {
    match (delivery.number("status"), delivery.text("error")) {
        (0, "") => String::new(),
        (status, "") => status.to_string(),
        (_, error) => words::unanswered(error),
    }
}

/// Fields that give rights: where events are sent, and of which agents.
const GUARDED: &[(&str, &str)] = &[("url", "url"), ("kinds", "kinds"), ("agents", "agents")];

/// The fields of the form, as the webhook is.
fn fields(webhook: &Json) -> Form {
    let agents = webhook.words("agents").join(" ");
    let mut fields = vec![("url", webhook.text("url")), ("name", webhook.text("name")), ("agents", agents.as_str())];
    fields.push(("which", if webhook.words("kinds").is_empty() { "all" } else { "some" }));
    fields.extend(webhook.words("kinds").into_iter().map(|kind| ("kinds", kind)));
    Form::of(&fields)
}

impl WebhookPage {
    fn told(&self, delivery: &Json) -> String {
        told(delivery.text("kind")).to_owned()
    }

    fn state_of(&self, delivery: &Json) -> Html {
        words::state(delivery.text("state"))
    }

    /// The body of the one that is opened, for people to read. Empty: its person may not see it any more.
    fn body(&self) -> String {
        self.opened
            .get("body")
            .filter(|body| !body.is_null())
            .and_then(|body| serde_json::to_string_pretty(body).ok())
            .unwrap_or_default()
    }

    fn outcome(&self, delivery: &Json) -> String {
        outcome(delivery)
    }
}

/// `GET /admin/webhooks/{id}`.
pub(crate) async fn one(app: App, Path(id): Path) -> Result<Response, ApiError> {
    answer(&app, show_one(&app, &id, &Form::default(), None)).await
}

async fn show_one(app: &App, id: &str, typed: &Form, refusal: Option<Refusal>) -> Result<Response, Trouble> {
    let api = Api::of(app)?;
    let mut list = List::of(app, &format!("/admin/webhooks/{id}"), &["state"]);
    let pairs = list.pairs("25");
    let asked = list.asked.text("delivery");
    let open =
        async { if asked.is_empty() { Ok(Json::Null) } else { api.get(route::DELIVERY_GET, &[id, asked], &[]).await } };
    let (shell, webhook, page, opened) = join4(
        Shell::load(app, &api, "A webhook", "webhooks"),
        api.get(route::WEBHOOKS_GET, &[id], &[]),
        api.get(route::DELIVERIES_LIST, &[id], &pairs),
        open,
    )
    .await;
    let status = refusal.as_ref().map_or(200, |refusal| refusal.status);
    let webhook = webhook?;
    let shell = shell?.called(webhook.text("name"));
    let (shell, page, refused) = shell.with(refusal).with_list(page)?;
    list.found(&page);
    let page = WebhookPage {
        shell,
        typed: typed.clone(),
        state: state(&webhook),
        is_all: typed.or("which", if webhook.words("kinds").is_empty() { "all" } else { "some" }) == "all",
        choices: kinds(&if typed.text("url").is_empty() { webhook.words("kinds") } else { typed.all("kinds") }),
        agents: webhook.words("agents").join(" "),
        shown: shown::field(typed, &fields(&webhook)),
        webhook,
        deliveries: page.list("items").to_vec(),
        opened: opened?,
        list,
    };
    write_with(&page, refused.unwrap_or(status))
}

async fn change(app: &App, id: &str, typed: &Form) -> Result<Response, Trouble> {
    let api = Api::of(app)?;
    let now = fields(&api.get(route::WEBHOOKS_GET, &[id], &[]).await?);
    let settings = Settings { route: route::WEBHOOKS_PATCH, names: &[id], now: &now, guarded: GUARDED };
    match settings.send(&api, typed, body).await {
        Ok(_) => Ok(see(app, &format!("/admin/webhooks/{id}?done=changed"))),
        Err(Trouble::Refused(refusal)) if refusal.is_for_the_form() => {
            show_one(app, id, &settings.again(typed, &refusal), Some(refusal)).await
        }
        Err(trouble) => Err(trouble),
    }
}

/// `POST /admin/webhooks/{id}/{act}`.
pub(crate) async fn act(app: App, Path(id): Path, Path(act): Path, typed: Form) -> Result<Response, ApiError> {
    let delivery = typed.text("delivery").to_owned();
    let (route, segments, body, done) = match act.as_str() {
        "change" => return answer_form(&app, &typed, change(&app, &id, &typed)).await,
        "on" => (route::WEBHOOKS_PATCH, vec![id.as_str()], json!({ "state": "active" }), "changed"),
        "off" => (route::WEBHOOKS_PATCH, vec![id.as_str()], json!({ "state": "disabled" }), "changed"),
        "test" => (route::WEBHOOKS_TEST, vec![id.as_str()], Json::Null, "sent"),
        "rotate" => (route::WEBHOOKS_ROTATE, vec![id.as_str()], Json::Null, ""),
        "delete" => (route::WEBHOOKS_DELETE, vec![id.as_str()], Json::Null, "deleted"),
        "retry" => (route::DELIVERY_RETRY, vec![id.as_str(), delivery.as_str()], Json::Null, "sent"),
        _ => return Err(Code::NotFound.into()),
    };
    answer_form(&app, &typed, async {
        let api = Api::of(&app)?;
        match api.change(route, &segments, Change { form: &typed, body }).await {
            Ok(made) if act == "rotate" => secret(&made, "has another secret").show(&app, &api, "webhooks").await,
            Ok(_) if act == "delete" => Ok(see(&app, "/admin/webhooks?done=deleted")),
            Ok(_) => Ok(see_done(&app, &typed, &format!("/admin/webhooks/{id}"), done)),
            Err(Trouble::Refused(refusal)) if refusal.is_for_the_form() => {
                show_one(&app, &id, &typed, Some(refusal)).await
            }
            Err(trouble) => Err(trouble),
        }
    })
    .await
}
