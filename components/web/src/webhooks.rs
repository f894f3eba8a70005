//! `/admin/webhooks`: where events are sent. Everybody who may have webhooks sees their own; admins see the tenant's.

use askama::Template;
use common::{
    error::{ApiError, Code},
    route,
};
use futures_util::future::{join, join3};
use serde_json::{Map, Value as Json, json};
use service::{app::App, extract::Path, response::Response};

use crate::{
    agents::Secret,
    api::{Api, Change, Members, Refusal, Trouble},
    form::{Form, several},
    page::{Shell, answer, next_page, see, write_with},
    words::{self, Html},
};

#[derive(Template)]
#[template(path = "webhooks.html")]
struct WebhooksPage {
    shell: Shell,
    typed: Form,
    webhooks: Vec<Json>,
    more: String,
}

fn state(webhook: &Json) -> Html {
    words::state(webhook.text("state"))
}

/// What a filter asks for, in words.
fn filter(webhook: &Json, name: &str) -> String {
    let words = webhook.words(name);
    if words.is_empty() { "all".to_owned() } else { words.join(" ") }
}

impl WebhooksPage {
    fn state(&self, webhook: &Json) -> Html {
        state(webhook)
    }

    fn kinds(&self, webhook: &Json) -> String {
        filter(webhook, "kinds")
    }
}

/// `GET /admin/webhooks`.
pub(crate) async fn list(app: App) -> Result<Response, ApiError> {
    answer(&app, show(&app, &Form::default(), None)).await
}

async fn show(app: &App, typed: &Form, refusal: Option<Refusal>) -> Result<Response, Trouble> {
    let (api, asked) = (Api::of(app)?, Form::query(app));
    let pairs = asked.pairs(&["cursor"]);
    let (shell, page) =
        join(Shell::load(app, &api, "Webhooks", "webhooks"), api.get(route::WEBHOOKS_LIST, &[], &pairs)).await;
    let status = refusal.as_ref().map_or(200, |refusal| refusal.status);
    let (shell, page) = (shell?.with(refusal), page?);
    let more = next_page(&[], &page);
    let webhooks = page.list("items").to_vec();
    write_with(&WebhooksPage { shell, typed: typed.clone(), webhooks, more }, status)
}

/// The words of a field, as a list; nothing typed: `null`, which is all.
fn words_of(typed: &Form, name: &str) -> Json {
    let words = several(typed.text(name));
    if words.is_empty() { Json::Null } else { words.into() }
}

fn body(typed: &Form) -> Map<String, Json> {
    let mut body = typed.body(&["url"], &["name"]);
    for name in ["kinds", "agents"] {
        body.insert(name.to_owned(), words_of(typed, name));
    }
    body
}

/// `POST /admin/webhooks`.
pub(crate) async fn create(app: App, typed: Form) -> Result<Response, ApiError> {
    answer(&app, async {
        let api = Api::of(&app)?;
        match api.change(route::WEBHOOKS_CREATE, &[], Change { form: &typed, body: body(&typed).into() }).await {
            Ok(made) => secret(&made, "is made").show(&app, &api, "webhooks").await,
            Err(Trouble::Refused(refusal)) if may_mend(&refusal) => show(&app, &typed, Some(refusal)).await,
            Err(trouble) => Err(trouble),
        }
    })
    .await
}

/// Whether another address would do: a host that the operator has not allowed is a 403, and an agent that is not there a 404.
fn may_mend(refusal: &Refusal) -> bool {
    refusal.is_for_the_form() || matches!(refusal.slug.as_str(), "host_not_allowed" | "agent_not_found")
}

fn secret(made: &Json, verb: &str) -> Secret {
    Secret {
        heading: format!("The webhook {} {verb}", made.text("name")),
        what: "This is its secret, which signs what is sent to it.".to_owned(),
        secret: made.text("secret").to_owned(),
        use_it: "Give it to the receiver, which checks the header webhook-signature with it.".to_owned(),
        ends: String::new(),
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
    kinds: String,
    agents: String,
    deliveries: Vec<Json>,
    chosen: String,
    more: String,
}

impl WebhookPage {
    fn state_of(&self, delivery: &Json) -> Html {
        words::state(delivery.text("state"))
    }

    /// The status of the last answer, or why there is none.
    fn outcome(&self, delivery: &Json) -> String {
        match (delivery.number("status"), delivery.text("error")) {
            (0, error) => error.to_owned(),
            (status, "") => status.to_string(),
            (_, error) => error.to_owned(),
        }
    }
}

/// `GET /admin/webhooks/{id}`.
pub(crate) async fn one(app: App, Path(id): Path) -> Result<Response, ApiError> {
    answer(&app, show_one(&app, &id, &Form::default(), None)).await
}

async fn show_one(app: &App, id: &str, typed: &Form, refusal: Option<Refusal>) -> Result<Response, Trouble> {
    let (api, asked) = (Api::of(app)?, Form::query(app));
    let filters = asked.pairs(&["state"]);
    let mut pairs = filters.clone();
    pairs.extend(asked.pairs(&["cursor"]));
    let (shell, webhook, page) = join3(
        Shell::load(app, &api, "A webhook", "webhooks"),
        api.get(route::WEBHOOKS_GET, &[id], &[]),
        api.get(route::DELIVERIES_LIST, &[id], &pairs),
    )
    .await;
    let status = refusal.as_ref().map_or(200, |refusal| refusal.status);
    let (shell, webhook, page) = (shell?.with(refusal), webhook?, page?);
    let more = next_page(&filters, &page);
    let page = WebhookPage {
        shell,
        typed: typed.clone(),
        state: state(&webhook),
        kinds: if webhook.list("kinds").is_empty() { String::new() } else { filter(&webhook, "kinds") },
        agents: if webhook.list("agents").is_empty() { String::new() } else { filter(&webhook, "agents") },
        webhook,
        deliveries: page.list("items").to_vec(),
        chosen: asked.text("state").to_owned(),
        more,
    };
    write_with(&page, status)
}

/// `POST /admin/webhooks/{id}/{act}`.
pub(crate) async fn act(app: App, Path(id): Path, Path(act): Path, typed: Form) -> Result<Response, ApiError> {
    let delivery = typed.text("delivery").to_owned();
    let (route, segments, body, done) = match act.as_str() {
        "change" => (route::WEBHOOKS_PATCH, vec![id.as_str()], Json::from(body(&typed)), "changed"),
        "on" => (route::WEBHOOKS_PATCH, vec![id.as_str()], json!({ "state": "active" }), "changed"),
        "off" => (route::WEBHOOKS_PATCH, vec![id.as_str()], json!({ "state": "disabled" }), "changed"),
        "test" => (route::WEBHOOKS_TEST, vec![id.as_str()], Json::Null, "sent"),
        "rotate" => (route::WEBHOOKS_ROTATE, vec![id.as_str()], Json::Null, ""),
        "delete" => (route::WEBHOOKS_DELETE, vec![id.as_str()], Json::Null, "deleted"),
        "retry" => (route::DELIVERY_RETRY, vec![id.as_str(), delivery.as_str()], Json::Null, "sent"),
        _ => return Err(Code::NotFound.into()),
    };
    answer(&app, async {
        let api = Api::of(&app)?;
        match api.change(route, &segments, Change { form: &typed, body }).await {
            Ok(made) if act == "rotate" => secret(&made, "has another secret").show(&app, &api, "webhooks").await,
            Ok(_) if act == "delete" => Ok(see(&app, "/admin/webhooks?done=deleted")),
            Ok(_) => Ok(see(&app, &format!("/admin/webhooks/{id}?done={done}"))),
            Err(Trouble::Refused(refusal)) if may_mend(&refusal) => show_one(&app, &id, &typed, Some(refusal)).await,
            Err(trouble) => Err(trouble),
        }
    })
    .await
}
