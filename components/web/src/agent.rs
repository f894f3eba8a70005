//! `/agents/{name}`: an agent, in tabs.

use askama::Template;
use common::{
    error::{ApiError, Code},
    permission::Action,
    route::{self, Route},
};
use futures_util::future::join;
use serde_json::{Map, Value as Json, json};
use service::{app::App, extract::Path, response::Response};

use crate::{
    agents::Secret,
    api::{Api, Change, Members, Refusal, Trouble},
    form::{Form, number},
    home::events,
    page::{Shell, answer, see, see_done, write_with},
    words::{self, Event, Html},
};

/// The tabs: the last part of the path, and the word for it.
const TABS: [(&str, &str); 7] = [
    ("", "State"),
    ("credentials", "Credentials"),
    ("secrets", "Secrets"),
    ("sharing", "Sharing"),
    ("why", "Why"),
    ("log", "Log"),
    ("history", "History"),
];

/// What every tab shows.
struct Head {
    agent: Json,
    state: Html,
    tab: &'static str,
    tabs: [(&'static str, &'static str); 7],
}

impl Head {
    fn name(&self) -> &str {
        self.agent.text("name")
    }

    fn state_is(&self, state: &str) -> bool {
        self.agent.text("state") == state
    }

    fn money(&self, member: &str) -> String {
        let cents = self.agent.number(member);
        format!("{}.{:02}", cents / 100, cents % 100)
    }
}

#[derive(Template)]
#[template(path = "agent_state.html")]
struct StatePage {
    shell: Shell,
    head: Head,
    below: Vec<Json>,
    labels: Vec<(String, String)>,
    scope: Html,
    approved: Html,
}

#[derive(Template)]
#[template(path = "agent_credentials.html")]
struct CredentialsPage {
    shell: Shell,
    head: Head,
    typed: Form,
    /// `None`: the visitor may not read them.
    keys: Option<Vec<Json>>,
    kinds: [(&'static str, &'static str); 4],
}

impl CredentialsPage {
    fn tags(&self, of: &Json) -> Html {
        words::tags(of.list("scope"), 3)
    }

    fn status(&self, key: &Json) -> Html {
        words::state(key.text("status"))
    }
}

#[derive(Template)]
#[template(path = "agent_secrets.html")]
struct SecretsPage {
    shell: Shell,
    head: Head,
    typed: Form,
    /// `None`: the visitor may not read them.
    secrets: Option<Vec<Json>>,
    probes: Option<Vec<Json>>,
}

impl SecretsPage {
    fn result(&self, probe: &Json) -> Html {
        words::state(match probe.text("status") {
            "" => "not run",
            "ok" => "lets it in",
            "missing_secret" => "no secret",
            other => other,
        })
    }
}

#[derive(Template)]
#[template(path = "agent_sharing.html")]
struct SharingPage {
    shell: Shell,
    head: Head,
    typed: Form,
    grants: Option<Vec<Json>>,
}

#[derive(Template)]
#[template(path = "agent_why.html")]
struct WhyPage {
    shell: Shell,
    head: Head,
    asked: Form,
    actions: Vec<&'static str>,
    explained: Option<Json>,
}

impl WhyPage {
    /// How a factor is shown: of the relations one has to hold, of the others each.
    fn class(&self, factor: &Json) -> &'static str {
        let is_relation =
            |factor: &Json| ["owner", "editor", "viewer", "tenant.admin"].contains(&factor.text("factor"));
        let factors = self.explained.as_ref().map_or(&[][..], |found| found.list("factors"));
        let one_holds = factors.iter().any(|one| is_relation(one) && one.is("holds"));
        match factor.is("holds") {
            true => "",
            false if is_relation(factor) && one_holds => "off",
            false => "no",
        }
    }
}

#[derive(Template)]
#[template(path = "agent_log.html")]
struct LogPage {
    shell: Shell,
    head: Head,
    lines: Vec<Json>,
}

#[derive(Template)]
#[template(path = "agent_history.html")]
struct HistoryPage {
    shell: Shell,
    head: Head,
    events: Vec<Event>,
    more: String,
}

/// `GET /agents/{name}`.
pub(crate) async fn overview(app: App, Path(name): Path) -> Result<Response, ApiError> {
    answer(&app, show(&app, &name, "", &Form::query(&app), None)).await
}

/// `GET /agents/{name}/{tab}`.
pub(crate) async fn tab(app: App, Path(name): Path, Path(tab): Path) -> Result<Response, ApiError> {
    let known = TABS.iter().find(|(path, _)| *path == tab && !path.is_empty());
    let (tab, _) = known.ok_or_else(|| ApiError::from(Code::NotFound))?;
    answer(&app, show(&app, &name, tab, &Form::query(&app), None)).await
}

async fn show(
    app: &App,
    name: &str,
    tab: &'static str,
    typed: &Form,
    refusal: Option<Refusal>,
) -> Result<Response, Trouble> {
    let (api, status) = (Api::of(app)?, refusal.as_ref().map_or(200, |refusal| refusal.status));
    let head = async {
        let (shell, agent) =
            join(Shell::load(app, &api, name, "agents"), api.get(route::AGENTS_GET, &[name], &[])).await;
        let (shell, agent) = (shell?.with(refusal), agent?);
        let state = words::state(agent.text("state"));
        Ok::<_, Trouble>((shell, Head { agent, state, tab, tabs: TABS }))
    };
    match tab {
        "credentials" => {
            let (head, keys) = join(head, api.get(route::KEYS_LIST, &[name], &[("limit", "200")])).await;
            let kinds = [
                ("external", "A bearer key, for another program of this agent"),
                ("internal", "A bearer key, for use inside"),
                ("github", "The secret of a GitHub webhook"),
                ("slack", "The signing secret of a Slack app"),
            ];
            let ((shell, head), keys) = (head?, readable(keys)?);
            write_with(&CredentialsPage { shell, head, typed: typed.clone(), keys, kinds }, status)
        }
        "secrets" => {
            let asked = join(api.get(route::SECRETS_LIST, &[name], &[]), api.get(route::PROBES_LIST, &[name], &[]));
            let (head, (secrets, probes)) = join(head, asked).await;
            let ((shell, head), secrets, probes) = (head?, readable(secrets)?, readable(probes)?);
            write_with(&SecretsPage { shell, head, typed: typed.clone(), secrets, probes }, status)
        }
        "sharing" => {
            let (head, grants) = join(head, api.get(route::GRANTS_LIST, &[name], &[("limit", "200")])).await;
            let ((shell, head), grants) = (head?, readable(grants)?);
            write_with(&SharingPage { shell, head, typed: typed.clone(), grants }, status)
        }
        "why" => {
            let mut asked = typed.pairs(&["subject", "action"]);
            if typed.text("action").is_empty() {
                asked.push(("action", Action::Read.as_str()));
            }
            let (head, explained) = join(head, api.get(route::EXPLAIN, &[name], &asked)).await;
            let ((mut shell, head), mut status) = (head?, status);
            let explained = match explained {
                Ok(explained) => Some(explained),
                Err(Trouble::Refused(refusal)) => {
                    status = refusal.status;
                    shell = shell.with(Some(refusal));
                    None
                }
                Err(trouble) => return Err(trouble),
            };
            let actions = Action::ALL.map(Action::as_str).to_vec();
            write_with(&WhyPage { shell, head, asked: typed.clone(), actions, explained }, status)
        }
        "log" => {
            let (head, log) = join(head, api.get(route::LOGS_READ, &[name], &[("lines", "200")])).await;
            let ((shell, head), lines) = (head?, readable_list(log, "lines")?.unwrap_or_default());
            write_with(&LogPage { shell, head, lines }, status)
        }
        "history" => {
            // By its id: an agent that had the name before has another history.
            let (shell, head) = head.await?;
            let mut asked = vec![("object", head.agent.text("id")), ("limit", "50")];
            asked.extend(typed.pairs(&["cursor"]));
            let trail = api.get(route::AUDIT_LIST, &[], &asked).await?;
            let events = events(&trail, std::slice::from_ref(&head.agent), &shell);
            let more = trail.text("next_cursor").to_owned();
            write_with(&HistoryPage { shell, head, events, more }, status)
        }
        _ => {
            let (head, below) =
                join(head, api.get(route::AGENTS_LIST, &[], &[("parent", name), ("limit", "50")])).await;
            let ((shell, head), below) = (head?, readable(below)?.unwrap_or_default());
            let labels = head.agent.at("labels").as_object().map(labels).unwrap_or_default();
            let scope = words::tags(head.agent.list("scope"), usize::MAX);
            let approved = words::tags(head.agent.list("approved"), usize::MAX);
            write_with(&StatePage { shell, head, below, labels, scope, approved }, status)
        }
    }
}

fn labels(members: &Map<String, Json>) -> Vec<(String, String)> {
    let value = |value: &Json| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    members.iter().map(|(name, text)| (name.clone(), value(text))).collect()
}

/// The items of a list; `None` if the visitor may not read it.
fn readable(list: Result<Json, Trouble>) -> Result<Option<Vec<Json>>, Trouble> {
    readable_list(list, "items")
}

fn readable_list(list: Result<Json, Trouble>, member: &str) -> Result<Option<Vec<Json>>, Trouble> {
    match list {
        Ok(list) => Ok(Some(list.list(member).to_vec())),
        Err(Trouble::Refused(refusal)) if refusal.status == 403 => Ok(None),
        // Said by the head too.
        Err(trouble) => Err(trouble),
    }
}

/// What a form of these pages asks for.
struct Asked {
    route: &'static Route,
    tab: &'static str,
    done: &'static str,
    /// The field of the form that names what the path names beside the agent; empty: nothing.
    about: &'static str,
}

/// `POST /agents/{name}/{act}`.
pub(crate) async fn act(app: App, Path(name): Path, Path(act): Path, typed: Form) -> Result<Response, ApiError> {
    let asked = |route, tab, done| Asked { route, tab, done, about: "" };
    let about_key = |route, done| Asked { route, tab: "credentials", done, about: "key" };
    let about = |route, done, about| Asked { route, tab: "secrets", done, about };
    let asked = match act.as_str() {
        "start" => asked(route::AGENT_START, "", "started"),
        "stop" => asked(route::AGENT_STOP, "", "stopped"),
        "pause" => asked(route::AGENT_PAUSE, "", "paused"),
        "resume" => asked(route::AGENT_RESUME, "", "resumed"),
        "restart" => asked(route::AGENT_RESTART, "", "restarted"),
        "archive" => asked(route::AGENTS_DELETE, "", "archived"),
        "issue" => asked(route::TOKEN_ISSUE, "credentials", ""),
        "revoke" => asked(route::TOKEN_REVOKE, "credentials", "revoked"),
        "new-key" => asked(route::KEYS_CREATE, "credentials", ""),
        "rotate-key" => about_key(route::KEYS_ROTATE, ""),
        "delete-key" => about_key(route::KEYS_DELETE, "deleted"),
        "set-secret" => about(route::SECRETS_PUT, "set", "key"),
        "delete-secret" => about(route::SECRETS_DELETE, "deleted", "secret"),
        "new-probe" => asked(route::PROBES_CREATE, "secrets", "made"),
        "run-probe" => about(route::PROBES_RUN, "ran", "probe"),
        "delete-probe" => about(route::PROBES_DELETE, "deleted", "probe"),
        "share" => asked(route::GRANTS_GIVE, "sharing", "shared"),
        "unshare" => asked(route::GRANTS_TAKE, "sharing", "unshared"),
        _ => return Err(Code::NotFound.into()),
    };
    answer(&app, async {
        let api = Api::of(&app)?;
        match send(&api, &name, &asked, &typed).await {
            Ok(_) if act == "archive" => Ok(see(&app, "/agents?done=archived")),
            Ok(made) if asked.done.is_empty() => secret(&name, &act, &made).show(&app, &api, "agents").await,
            Ok(_) => {
                let tab = if asked.tab.is_empty() { String::new() } else { format!("/{}", asked.tab) };
                Ok(see_done(&app, &typed, &format!("/agents/{name}{tab}"), asked.done))
            }
            Err(Trouble::Refused(refusal))
                if refusal.is_for_the_form()
                    || ["subject_not_found", "host_not_allowed"].contains(&refusal.slug.as_str()) =>
            {
                show(&app, &name, asked.tab, &typed, Some(refusal)).await
            }
            Err(trouble) => Err(trouble),
        }
    })
    .await
}

async fn send(api: &Api<'_>, name: &str, asked: &Asked, typed: &Form) -> Result<Json, Trouble> {
    let change = |body: Json| Change { form: typed, body };
    let route = asked.route;
    if !asked.about.is_empty() {
        let body = match route.method {
            "DELETE" => Json::Null,
            // As it was typed; a browser ends the lines of a text with both characters.
            "PUT" => json!({ "value": typed.raw("value").replace("\r\n", "\n") }),
            _ => typed.filled(&["value"]).into(),
        };
        return api.change(route, &[name, typed.text(asked.about)], change(body)).await;
    }
    match (route.method, asked.tab) {
        ("DELETE", "sharing") => {
            let grant = typed.pairs(&["subject", "relation"]);
            api.change_with(route, &[name], &grant, change(Json::Null)).await
        }
        ("DELETE", "") => api.change_with(route, &[name], &[("confirm", "true")], change(Json::Null)).await,
        ("DELETE", _) => api.change(route, &[name], change(Json::Null)).await,
        (_, "sharing") => api.change(route, &[name], change(typed.filled(&["subject", "relation"]).into())).await,
        (_, "secrets") => {
            let mut body = typed.filled(&["name", "url", "secret", "header"]);
            if let Some(hours) = Some(typed.text("every_hours")).filter(|hours| !hours.is_empty()) {
                body.insert("every_hours".to_owned(), number(hours));
            }
            api.change(route, &[name], change(body.into())).await
        }
        (_, "credentials") => {
            let mut body = typed.filled(&["name", "type", "value"]);
            if let Some(days) = Some(typed.text("days")).filter(|days| !days.is_empty()) {
                body.insert("expires_in_days".to_owned(), number(days));
            }
            api.change(route, &[name], change(body.into())).await
        }
        _ => api.change(route, &[name], change(Json::Null)).await,
    }
}

/// The page of a secret that a form made.
fn secret(name: &str, act: &str, made: &Json) -> Secret {
    let is_token = act == "issue";
    let (heading, what) = match act {
        "issue" => (format!("{name} has a new token"), "The one before it no longer works.".to_owned()),
        "rotate-key" => {
            (format!("The key {} is rotated", made.text("name")), "Its secret before no longer works.".to_owned())
        }
        _ => (format!("{name} has the key {}", made.text("name")), "This is its secret.".to_owned()),
    };
    Secret {
        heading,
        what,
        secret: made.text(if is_token { "token" } else { "key" }).to_owned(),
        use_it: "Give it to the agent as the variable ACCREDIT_TOKEN, or as the header Authorization: Bearer."
            .to_owned(),
        ends: made.text("expires_at").to_owned(),
        warnings: made.words("warnings").into_iter().map(str::to_owned).collect(),
        back: format!("/agents/{name}/credentials"),
    }
}
