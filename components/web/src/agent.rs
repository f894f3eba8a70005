//! `/agents/{name}`: an agent, in tabs.

use askama::Template;
use common::{
    error::{ApiError, Code},
    permission::Action,
    route::{self, Route},
    text::isolated,
    time::Timestamp,
};
use futures_util::future::{join, join3, join4};
use serde_json::{Map, Value as Json, json};
use service::{app::App, extract::Path, response::Response};

use crate::{
    access::meaning,
    agents::{Ended, Secret},
    api::{Api, Change, Members, Refusal, Trouble},
    form::{Form, number, several},
    home::events,
    list::List,
    page::{Shell, answer, answer_form, see, see_done, write_with},
    scopes::{Choice, chosen},
    shown::{self, Settings},
    words::{self, Event, Html},
};

/// The tabs: the last part of the path, and the word for it.
const TABS: [(&str, &str); 8] = [
    ("", "State"),
    ("credentials", "Credentials"),
    ("secrets", "Secrets"),
    ("sharing", "Sharing"),
    ("why", "Why"),
    ("log", "Log"),
    ("history", "History"),
    ("settings", "Settings"),
];
/// Lines of a log on a page.
const LINES: &str = "100";
/// A page of one key, which `key` in the query names; it belongs to the credentials.
const KEY: &str = "key";

/// What every tab shows.
struct Head {
    agent: Json,
    state: Html,
    tab: &'static str,
    tabs: [(&'static str, &'static str); 8],
    /// What a stop that was just asked for has ended; null: nothing was asked for, or the visitor may not read it.
    closure: Json,
}

impl Head {
    /// Since when nobody accepts what was stopped, or until when a guard still can.
    fn closed(&self) -> String {
        closed(self.name(), &self.closure)
    }

    fn name(&self) -> &str {
        self.agent.text("name")
    }

    /// Its name for people; empty: it has no other.
    fn display(&self) -> &str {
        Some(self.agent.text("display_name")).filter(|name| *name != self.name()).unwrap_or_default()
    }

    fn state_is(&self, state: &str) -> bool {
        self.agent.text("state") == state
    }

    fn money(&self, member: &str) -> String {
        money(self.agent.number(member))
    }

    fn is_at(&self, tab: &str) -> bool {
        self.tab == tab || (tab == "credentials" && self.tab == KEY)
    }
}

/// The sentence of a closure; empty: there is none.
fn closed(name: &str, closure: &Json) -> String {
    // `2026-11-26T12:04:31.220Z`
    let time = |member: &str| closure.text(member).get(11..23).unwrap_or_default().to_owned();
    let (since, until) = (time("closed_at"), time("latest"));
    if !since.is_empty() {
        return format!("Nothing of {name} can be accepted anywhere since {since} UTC.");
    }
    if until.is_empty() {
        return String::new();
    }
    let guards = words::count(closure.list("waiting").len(), "guard");
    format!("{guards} not yet heard from: until {until} UTC at most, requests of {name} may still be accepted there.")
}

fn money(cents: i64) -> String {
    format!("{}.{:02}", cents / 100, cents % 100)
}

#[derive(Template)]
#[template(path = "agent_state.html")]
struct StatePage {
    shell: Shell,
    head: Head,
    below: Vec<Json>,
    labels: Vec<(String, String)>,
    /// What it may do, and for a time: each scope with what it means.
    may: Vec<(String, String)>,
    approved: Vec<(String, String)>,
    /// The last deployment; null: there was none.
    deployment: Json,
    /// What its runtime gives it; empty: nothing is known.
    compute: String,
}

#[derive(Template)]
#[template(path = "agent_credentials.html")]
struct CredentialsPage {
    shell: Shell,
    head: Head,
    typed: Form,
    /// `None`: the visitor may not read them.
    keys: Option<Vec<Json>>,
    more: String,
    kinds: [(&'static str, &'static str); 5],
    /// Whom the agent trusts, with a credential of its own for each workload; `None`: the visitor may not read them.
    trusted: Option<Vec<Json>>,
    /// Whether the visitor is one of those that can say whom it trusts.
    may_trust: bool,
    /// The tenant's own scopes.
    custom: Json,
}

impl CredentialsPage {
    /// Two forms of this page have the same fields: what was sent stands in the one that was sent.
    fn sent<'a>(&'a self, form: &str, field: &str) -> &'a str {
        if self.typed.is("form", form) { self.typed.text(field) } else { "" }
    }

    fn flaw(&self, form: &str, field: &str) -> Html {
        self.shell.flaw(if self.typed.is("form", form) { field } else { "" })
    }

    fn told(&self, form: &str, field: &str) -> Html {
        self.shell.told(if self.typed.is("form", form) { field } else { "" })
    }

    fn choice(&self, form: &str) -> Choice {
        let nothing = Form::default();
        let typed = if self.typed.is("form", form) { &self.typed } else { &nothing };
        Choice::of_agent(&self.head.agent, &self.custom, typed)
    }

    fn tags(&self, of: &Json) -> Html {
        words::tags(of.list("scope"), 3)
    }

    /// Claims that the assertions of a workload must have.
    fn claims(&self, trusted: &Json) -> Vec<(String, String)> {
        trusted.at("claims").as_object().map(labels).unwrap_or_default()
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
#[template(path = "agent_key.html")]
struct KeyPage {
    shell: Shell,
    head: Head,
    typed: Form,
    key: Json,
    status: Html,
    scope: Html,
    /// `None`: the visitor may not read them.
    grants: Option<Vec<Json>>,
}

#[derive(Template)]
#[template(path = "agent_settings.html")]
struct SettingsPage {
    shell: Shell,
    head: Head,
    typed: Form,
    /// The fields of the forms as they stand.
    settings: Form,
    ceiling: Form,
    place: Form,
}

impl SettingsPage {
    /// What stands in a field of a form: what was typed, or else what is.
    fn value(&self, form: &str, field: &str) -> &str {
        if self.typed.is("form", form) { self.typed.text(field) } else { self.form(form).text(field) }
    }

    fn form(&self, form: &str) -> &Form {
        match form {
            "ceiling" => &self.ceiling,
            "place" => &self.place,
            _ => &self.settings,
        }
    }

    fn shown(&self, form: &str) -> Html {
        let nothing = Form::default();
        shown::field(if self.typed.is("form", form) { &self.typed } else { &nothing }, self.form(form))
    }
}

/// Fields of the settings that give rights, each with its member of the body.
const GUARDED: &[(&str, &str)] =
    &[("scope", "scope"), ("parent", "parent"), ("owner", "owner"), ("tier", "tier"), ("budget", "budget_cents")];

/// The fields of a form of the settings, as the agent is.
fn fields(agent: &Json, form: &str) -> Form {
    let mut fields = vec![("form", form.to_owned())];
    match form {
        "ceiling" => fields.push(("scope", agent.words("scope").join("\n"))),
        "place" => {
            fields.push(("parent", agent.text("parent").to_owned()));
            fields.push(("owner", agent.at("owner").text("email").to_owned()));
        }
        "settings" => {
            let texts = ["display_name", "description", "runtime", "model", "url", "access"];
            fields.extend(texts.map(|name| (name, agent.text(name).to_owned())));
            let numbers = ["tier", "max_concurrent_tasks", "silent_after_minutes"];
            let number = |name: &str| agent.at(name).as_i64().map(|number| number.to_string()).unwrap_or_default();
            fields.extend(numbers.map(|name| (name, number(name))));
            fields.push(("budget", agent.at("budget_cents").as_i64().map(money).unwrap_or_default()));
            fields.push(("compute", compute_text(agent)));
            let labels = agent.at("labels").as_object().map(labels).unwrap_or_default();
            let labels: Vec<String> = labels.iter().map(|(name, value)| format!("{name}: {value}")).collect();
            fields.push(("labels", labels.join("\n")));
        }
        _ => {}
    }
    let fields: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
    Form::of(&fields)
}

#[derive(Template)]
#[template(path = "agent_sharing.html")]
struct SharingPage {
    shell: Shell,
    head: Head,
    typed: Form,
    grants: Option<Vec<Json>>,
    more: String,
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
    list: List,
    /// The address of the lines before these; empty: there are none, or it is not known.
    older: String,
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
    let known = TABS.iter().map(|(path, _)| *path).chain([KEY]).find(|path| *path == tab && !path.is_empty());
    let tab = known.ok_or_else(|| ApiError::from(Code::NotFound))?;
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
        let closure = async {
            match typed.text("closure") {
                "" => Json::Null,
                id => api.get(route::CLOSURE_GET, &[id], &[]).await.unwrap_or_default(),
            }
        };
        let agent = api.get(route::AGENTS_GET, &[name], &[]);
        let (shell, agent, closure) = join3(Shell::load(app, &api, name, "agents"), agent, closure).await;
        let (shell, agent) = (shell?.with(refusal), agent?);
        // Of several tabs of a browser each says which it is.
        let word = TABS.iter().find(|(path, _)| *path == tab && !path.is_empty()).map_or("", |(_, word)| *word);
        let shell = if word.is_empty() { shell } else { shell.called(&format!("{word} · {name}")) };
        let state = words::state(agent.text("state"));
        Ok::<_, Trouble>((shell, Head { agent, state, tab, tabs: TABS, closure }))
    };
    match tab {
        "credentials" => {
            let mut asked = vec![("limit", "25")];
            asked.extend(typed.pairs(&["cursor"]));
            let trusted = api.get(route::FEDERATED_CREDENTIALS_LIST, &[name], &[("limit", "200")]);
            let custom = api.get(route::SCOPES_CUSTOM, &[], &[]);
            let keys = api.get(route::KEYS_LIST, &[name], &asked);
            let (head, keys, trusted, custom) = join4(head, keys, trusted, custom).await;
            let kinds = [
                ("external", "A bearer key, for another program of this agent"),
                ("internal", "A bearer key, for use inside"),
                ("github", "The secret of a GitHub webhook"),
                ("slack", "The signing secret of a Slack app"),
                ("standard", "The secret of another service, by Standard Webhooks"),
            ];
            let more = next(&keys);
            let ((shell, head), keys, trusted) = (head?, readable(keys)?, readable(trusted)?);
            let is_owner = head.agent.at("owner").text("email") == shell.who.text("email");
            let may_trust = shell.may("agents.keys.write") && (is_owner || shell.is_admin());
            let typed = typed.clone();
            let custom = custom.unwrap_or_default();
            write_with(&CredentialsPage { shell, head, typed, keys, more, kinds, trusted, may_trust, custom }, status)
        }
        "secrets" => {
            let asked = join(api.get(route::SECRETS_LIST, &[name], &[]), api.get(route::PROBES_LIST, &[name], &[]));
            let (head, (secrets, probes)) = join(head, asked).await;
            let ((shell, head), secrets, probes) = (head?, readable(secrets)?, readable(probes)?);
            write_with(&SecretsPage { shell, head, typed: typed.clone(), secrets, probes }, status)
        }
        "sharing" => {
            let mut asked = vec![("limit", "50")];
            asked.extend(typed.pairs(&["cursor"]));
            let (head, grants) = join(head, api.get(route::GRANTS_LIST, &[name], &asked)).await;
            let more = next(&grants);
            let ((shell, head), grants) = (head?, readable(grants)?);
            write_with(&SharingPage { shell, head, typed: typed.clone(), grants, more }, status)
        }
        KEY => {
            let names = [name, typed.text("key")];
            let most = [("limit", "200")];
            let key = api.get(route::KEYS_GET, &names, &[]);
            let (head, key, grants) = join3(head, key, api.get(route::KEY_GRANTS_LIST, &names, &most)).await;
            let ((shell, head), key, grants) = (head?, key?, readable(grants)?);
            let (status_word, scope) = (words::state(key.text("status")), words::tags(key.list("scope"), usize::MAX));
            let page = KeyPage { shell, head, typed: typed.clone(), key, status: status_word, scope, grants };
            write_with(&page, status)
        }
        "settings" => {
            let (shell, head) = head.await?;
            let [settings, ceiling, place] = ["settings", "ceiling", "place"].map(|form| fields(&head.agent, form));
            write_with(&SettingsPage { shell, typed: typed.clone(), settings, ceiling, place, head }, status)
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
            let list = List::of(app, &format!("/agents/{name}/log"), &["q", "level", "since", "until"]);
            let since = words::first_moment(list.asked.text("since"));
            let mut asked = list.asked.pairs(&["q", "level", "until"]);
            if !since.is_empty() {
                asked.push(("since", &since));
            }
            asked.push(("lines", LINES));
            let (head, log) = join(head, api.get(route::LOGS_READ, &[name], &asked)).await;
            let (shell, head) = head?;
            let (shell, lines, refused) = match log {
                Err(Trouble::Refused(refusal)) if refusal.status == 403 => (shell, Vec::new(), None),
                log => {
                    let (shell, log, refused) = shell.with_list(log)?;
                    (shell, log.list("lines").to_vec(), refused)
                }
            };
            // Lines of one moment may be on both pages; none is on neither.
            let oldest = lines.first().filter(|_| lines.len().to_string() == LINES);
            let before = oldest.and_then(|line| Timestamp::parse(line.text("at")));
            let before = before.map(|at| Timestamp::from_millis(at.millis() + 1).to_string());
            let older = before.map(|at| list.with("until", &at)).unwrap_or_default();
            write_with(&LogPage { shell, head, lines, list, older }, refused.unwrap_or(status))
        }
        "history" => {
            // By its id: an agent that had the name before has another history.
            let (shell, head) = head.await?;
            let mut asked = vec![("object", head.agent.text("id")), ("limit", "50")];
            asked.extend(typed.pairs(&["cursor"]));
            let trail = api.get(route::AUDIT_LIST, &[], &asked).await?;
            let events = events(trail.list("items"), &shell);
            let more = trail.text("next_cursor").to_owned();
            write_with(&HistoryPage { shell, head, events, more }, status)
        }
        _ => {
            let below = [("parent", name), ("limit", "50")];
            let below = api.get(route::AGENTS_LIST, &[], &below);
            let (head, below, custom) = join3(head, below, api.get(route::SCOPES_CUSTOM, &[], &[])).await;
            let ((shell, head), below) = (head?, readable(below)?.unwrap_or_default());
            let custom = custom.unwrap_or_default();
            let meant = |scopes: Vec<&str>| {
                scopes.into_iter().map(|scope| (scope.to_owned(), meaning(scope, &custom))).collect::<Vec<_>>()
            };
            let labels = head.agent.at("labels").as_object().map(labels).unwrap_or_default();
            let (may, approved) = (meant(head.agent.words("scope")), meant(head.agent.words("approved")));
            let deployment = match head.agent.text("deploy_status") {
                "" => Json::Null,
                _ => api.get(route::DEPLOY_STATUS, &[name], &[]).await?,
            };
            let compute = compute_text(&head.agent);
            write_with(&StatePage { shell, head, below, labels, may, approved, deployment, compute }, status)
        }
    }
}

/// Where the next page of a list begins; empty: there is none, or the visitor may not read it.
fn next(list: &Result<Json, Trouble>) -> String {
    list.as_ref().map(|list| list.text("next_cursor").to_owned()).unwrap_or_default()
}

/// `compute` as it is shown and edited.
fn compute_text(agent: &Json) -> String {
    match agent.at("compute") {
        Json::Null => String::new(),
        compute => format!("{compute:#}"),
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
        "trust" => asked(route::FEDERATED_CREDENTIALS_CREATE, "credentials", "trusted"),
        "untrust" => about_key(route::FEDERATED_CREDENTIALS_DELETE, "untrusted"),
        "rotate-key" => about_key(route::KEYS_ROTATE, ""),
        "delete-key" => about_key(route::KEYS_DELETE, "deleted"),
        "set-secret" => about(route::SECRETS_PUT, "set", "key"),
        "delete-secret" => about(route::SECRETS_DELETE, "deleted", "secret"),
        "new-probe" => asked(route::PROBES_CREATE, "secrets", "made"),
        "run-probe" => about(route::PROBES_RUN, "ran", "probe"),
        "delete-probe" => about(route::PROBES_DELETE, "deleted", "probe"),
        "share-key" => Asked { tab: KEY, ..about_key(route::KEY_GRANTS_GIVE, "shared") },
        "unshare-key" => Asked { tab: KEY, ..about_key(route::KEY_GRANTS_TAKE, "unshared") },
        "settings" => asked(route::AGENTS_PATCH, "settings", "changed"),
        "share" => asked(route::GRANTS_GIVE, "sharing", "shared"),
        "unshare" => asked(route::GRANTS_TAKE, "sharing", "unshared"),
        _ => return Err(Code::NotFound.into()),
    };
    answer_form(&app, &typed, async {
        let api = Api::of(&app)?;
        if act == "settings" {
            return change(&app, &api, &name, &typed).await;
        }
        match send(&api, &name, &asked, &typed).await {
            Ok(_) if act == "archive" => Ok(see(&app, "/agents?done=archived")),
            Ok(made) if asked.done.is_empty() => {
                let has_grace = !matches!(typed.text("grace"), "" | "0");
                let before = if act == "issue" { "the token before it" } else { "its secret before" };
                let ended = if has_grace { Ended::default() } else { ended(&api, before, &made).await };
                secret(&name, &act, &made, has_grace).instead_of(ended, &app, &api, "agents").await
            }
            Ok(made) => {
                let tab = match asked.tab {
                    "" => String::new(),
                    // The page of the key has a query already.
                    KEY => "/credentials".to_owned(),
                    tab => format!("/{tab}"),
                };
                // Only the agent's own page shows it.
                let is_shown = typed.text("back").is_empty() && asked.tab.is_empty();
                let closure = if is_shown { made.at("closure").text("id") } else { "" };
                let done = if closure.is_empty() { asked.done } else { &format!("{}&closure={closure}", asked.done) };
                Ok(see_done(&app, &typed, &format!("/agents/{name}{tab}"), done))
            }
            Err(Trouble::Refused(refusal)) if refusal.is_for_the_form() => {
                show(&app, &name, asked.tab, &typed, Some(refusal)).await
            }
            Err(trouble) => Err(trouble),
        }
    })
    .await
}

/// One of the forms of the settings.
async fn change(app: &App, api: &Api<'_>, name: &str, typed: &Form) -> Result<Response, Trouble> {
    let now = fields(&api.get(route::AGENTS_GET, &[name], &[]).await?, typed.text("form"));
    let form = Settings { route: route::AGENTS_PATCH, names: &[name], now: &now, guarded: GUARDED };
    match form.send(api, typed, settings).await {
        Ok(_) => Ok(see_done(app, typed, &format!("/agents/{name}/settings"), "changed")),
        Err(Trouble::Refused(refusal)) if refusal.is_for_the_form() => {
            show(app, name, "settings", &form.again(typed, &refusal), Some(refusal)).await
        }
        Err(trouble) => Err(trouble),
    }
}

async fn send(api: &Api<'_>, name: &str, asked: &Asked, typed: &Form) -> Result<Json, Trouble> {
    let change = |body: Json| Change { form: typed, body };
    let route = asked.route;
    let grant = typed.pairs(&["subject", "relation"]);
    if asked.tab == KEY {
        let names = [name, typed.text("key")];
        return match route.method {
            "DELETE" => api.change_with(route, &names, &grant, change(Json::Null)).await,
            _ => api.change(route, &names, change(typed.filled(&["subject", "relation"]).into())).await,
        };
    }
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
        ("DELETE", "sharing") => api.change_with(route, &[name], &grant, change(Json::Null)).await,
        ("DELETE", "") => api.change_with(route, &[name], &[("confirm", "true")], change(Json::Null)).await,
        ("DELETE", _) => api.change(route, &[name], change(Json::Null)).await,
        (_, "sharing") => api.change(route, &[name], change(typed.filled(&["subject", "relation"]).into())).await,
        (_, "secrets") => {
            let mut body = typed.filled(&["name", "url", "method", "secret", "header", "scheme"]);
            if typed.is("bare", "yes") {
                body.insert("scheme".to_owned(), Json::Null);
            }
            for member in ["expect_status", "every_hours"] {
                if !typed.text(member).is_empty() {
                    body.insert(member.to_owned(), number(typed.text(member)));
                }
            }
            api.change(route, &[name], change(body.into())).await
        }
        (_, "credentials") if typed.is("form", "trust") => {
            api.change(route, &[name], change(trust(typed)?.into())).await
        }
        (_, "credentials") => {
            let mut body = typed.filled(&["name", "type", "value"]);
            for (field, member) in [("days", "expires_in_days"), ("grace", "grace_seconds")] {
                if !typed.text(field).is_empty() {
                    body.insert(member.to_owned(), number(typed.text(field)));
                }
            }
            if let Some(scope) = chosen(typed)? {
                body.insert("scope".to_owned(), scope);
            }
            api.change(route, &[name], change(body.into())).await
        }
        _ => api.change(route, &[name], change(Json::Null)).await,
    }
}

/// A federated credential, as it was typed.
fn trust(typed: &Form) -> Result<Map<String, Json>, Trouble> {
    let mut body = typed.filled(&["name", "issuer", "subject", "audience", "jwks_uri"]);
    let claims = label_lines(typed.text("claims"));
    if claims.as_object().is_some_and(|claims| !claims.is_empty()) {
        body.insert("claims".to_owned(), claims);
    }
    if let Some(scope) = chosen(typed)? {
        body.insert("scope".to_owned(), scope);
    }
    let keys = json_of(typed, "jwks")?;
    if !keys.is_null() {
        body.insert("jwks".to_owned(), keys);
    }
    if !typed.text("expires_in").is_empty() {
        body.insert("expires_in".to_owned(), number(typed.text("expires_in")));
    }
    body.insert("single_use".to_owned(), typed.is("single_use", "yes").into());
    Ok(body)
}

/// What a form of the settings changes. A field that was emptied is cleared; one that the form does not have stays.
fn settings(typed: &Form) -> Result<Map<String, Json>, Trouble> {
    let mut body = Map::new();
    let mut set = |member: &str, value: Json| drop(body.insert(member.to_owned(), value));
    match typed.text("form") {
        "ceiling" => set("scope", several(typed.text("scope")).into()),
        "spent" => set("spent_cents", 0.into()),
        "place" => {
            let parent = typed.text("parent");
            set("parent", if parent.is_empty() { Json::Null } else { parent.into() });
            if !typed.text("owner").is_empty() {
                set("owner", typed.text("owner").into());
            }
        }
        _ => {
            for member in ["display_name", "description", "runtime", "model", "url", "access"] {
                let text = typed.text(member);
                set(member, if text.is_empty() { Json::Null } else { text.into() });
            }
            for member in ["tier", "max_concurrent_tasks"] {
                if !typed.text(member).is_empty() {
                    set(member, number(typed.text(member)));
                }
            }
            let minutes = typed.text("silent_after_minutes");
            set("silent_after_minutes", if minutes.is_empty() { Json::Null } else { number(minutes) });
            let budget = typed.text("budget");
            set(
                "budget_cents",
                if budget.is_empty() { Json::Null } else { cents(budget).ok_or_else(no_amount)?.into() },
            );
            set("compute", json_of(typed, "compute")?);
            set("labels", label_lines(typed.text("labels")));
        }
    }
    Ok(body)
}

fn no_amount() -> Trouble {
    wrong("budget", "This is not an amount.", "An amount such as 200 or 12.50; empty for no limit.")
}

/// The refusal of a field that only the page reads.
fn wrong(field: &str, detail: &str, fix: &str) -> Trouble {
    let mut refusal = Refusal::own(400, detail, fix);
    refusal.fields = vec![(field.to_owned(), fix.to_owned())];
    Trouble::Refused(refusal)
}

/// A field that holds JSON; empty is null.
fn json_of(typed: &Form, field: &str) -> Result<Json, Trouble> {
    match typed.text(field) {
        "" => Ok(Json::Null),
        text => common::json::parse(text)
            .ok_or_else(|| wrong(field, "This is not JSON.", "JSON, such as {\"cpu\": 2}; or leave it empty.")),
    }
}

/// `12.50` or `12,5` as 1250.
fn cents(text: &str) -> Option<i64> {
    let (whole, part) = text.split_once(['.', ',']).unwrap_or((text, ""));
    let is_number = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    if whole.is_empty() || !is_number(whole) || !is_number(part) || part.len() > 2 {
        return None;
    }
    let part: i64 = format!("{part:0<2}").parse().ok()?;
    whole.parse::<i64>().ok()?.checked_mul(100)?.checked_add(part)
}

/// A label a line: `name: value`.
fn label_lines(text: &str) -> Json {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let labels = lines.map(|line| match line.split_once(':') {
        Some((name, value)) => (name.trim().to_owned(), Json::from(value.trim())),
        None => (line.to_owned(), Json::from("")),
    });
    Json::Object(labels.collect())
}

/// What a new secret has ended: `before`, as a sentence names it.
pub(crate) async fn ended(api: &Api<'_>, before: &str, made: &Json) -> Ended {
    let id = made.at("closure").text("id");
    if id.is_empty() {
        return Ended::default();
    }
    let closure = api.get(route::CLOSURE_GET, &[id], &[]).await.unwrap_or_default();
    Ended { since: closed(before, &closure), closure: id.to_owned() }
}

/// The page of a secret that a form made.
fn secret(name: &str, act: &str, made: &Json, has_grace: bool) -> Secret {
    let is_token = act == "issue";
    let (heading, what) = match act {
        "issue" => {
            let before = match made.at("closure") {
                Json::Null => "It had none before.",
                _ if has_grace => "The one before it works for the time that you gave it.",
                _ => "The one before it no longer works.",
            };
            (format!("{name} has a new token"), before.to_owned())
        }
        "rotate-key" => (
            format!("The key {} is rotated", isolated(made.text("name"))),
            "Its secret before no longer works.".to_owned(),
        ),
        _ => (format!("{name} has the key {}", isolated(made.text("name"))), "This is its secret.".to_owned()),
    };
    Secret {
        heading,
        what,
        secret: made.text(if is_token { "token" } else { "key" }).to_owned(),
        use_it: "Give it to the agent as the variable ACCREDIT_TOKEN, or as the header Authorization: Bearer."
            .to_owned(),
        ends: made.text("expires_at").to_owned(),
        may: made.list("scope").to_vec(),
        warnings: made.words("warnings").into_iter().map(str::to_owned).collect(),
        back: format!("/agents/{name}/credentials"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// R148
    #[test]
    fn a_closure_says_since_when_nothing_is_accepted() {
        let mut closure = json!({ "closed_at": "2026-11-26T12:04:31.220Z", "latest": null, "waiting": [] });
        assert_eq!(closed("scout", &closure), "Nothing of scout can be accepted anywhere since 12:04:31.220 UTC.");
        closure = json!({ "closed_at": null, "latest": "2026-11-26T12:04:41.220Z", "waiting": [{ "guard": "g" }] });
        let told = "1 guard not yet heard from: until 12:04:41.220 UTC at most, requests of scout may still be accepted there.";
        assert_eq!(closed("scout", &closure), told);
        assert_eq!(closed("scout", &Json::Null), "");
    }

    #[test]
    fn amounts_and_labels_are_read_as_people_write_them() {
        for (text, read) in [
            ("200", Some(20_000)),
            ("12.5", Some(1250)),
            ("12,05", Some(1205)),
            ("0", Some(0)),
            ("", None),
            ("1.234", None),
            ("-1", None),
            ("a", None),
        ] {
            assert_eq!(cents(text), read, "{text}");
        }
        assert_eq!(cents("99999999999999999999"), None);
        let read = label_lines("team: support\n\n eu \nurl: https://a:1");
        assert_eq!(read, json!({ "team": "support", "eu": "", "url": "https://a:1" }));
    }
}
