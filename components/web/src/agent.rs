//! `/agents/{name}`: an agent, in tabs. Each tab has a file of its own; what its forms do is here.

mod credentials;
mod history;
mod log;
mod secrets;
pub(crate) mod settings;
mod sharing;
mod state;
mod why;

use std::pin::Pin;

use common::{
    error::{ApiError, Code},
    id::AgentId,
    route::{self, Route},
};
use futures_util::future::join;
use serde_json::{Map, Value as Json, json};
use service::{app::App, extract::Path, response::Response};

use crate::{
    agents::{self, Ended},
    api::{Api, Change, Members, Refusal, Trouble},
    form::{AGENT, Form, number, put_life},
    page::{Shell, answer, answer_form, see, see_done, see_done_to},
    scopes::chosen,
    words::{self, Html},
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
/// A page of one key, which `key` in the query names; it belongs to the credentials.
const KEY: &str = "key";

/// What every tab shows.
struct Head {
    agent: Json,
    state: Html,
    tab: &'static str,
    tabs: [(&'static str, &'static str); 8],
}

impl Head {
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

pub(crate) fn money(cents: i64) -> String {
    format!("{}.{:02}", cents / 100, cents % 100)
}

/// `GET /agents/{name}`.
pub(crate) async fn overview(app: App, Path(name): Path) -> Result<Response, ApiError> {
    answer(&app, show(&app, &name, "", &Form::query(&app), None)).await
}

/// `GET /agents/{name}/{tab}`.
pub(crate) async fn tab(app: App, Path(name): Path, Path(tab): Path) -> Result<Response, ApiError> {
    let known = TABS.iter().map(|(path, _)| *path).chain([KEY]).find(|path| *path == tab && !path.is_empty());
    let Some(tab) = known else {
        // Where a form is sent to: its page.
        let asked = asked(&tab).filter(|_| name.is_ascii()).ok_or_else(|| ApiError::from(Code::NotFound))?;
        return Ok(see(&app, &format!("/agents/{name}{}", asked.page())));
    };
    answer(&app, show(&app, &name, tab, &Form::query(&app), None)).await
}

/// What a tab is shown by.
struct Tab<'a> {
    app: &'a App,
    api: &'a Api<'a>,
    name: &'a str,
    /// The query, or a form that was refused.
    typed: &'a Form,
    /// Of the answer.
    status: u16,
}

/// What every tab shows, on its way.
type Heading<'a> = Pin<Box<dyn Future<Output = Result<(Shell, Head), Trouble>> + 'a>>;

async fn show(
    app: &App,
    name: &str,
    tab: &'static str,
    typed: &Form,
    refusal: Option<Refusal>,
) -> Result<Response, Trouble> {
    let (api, status) = (Api::of(app)?, refusal.as_ref().map_or(200, |refusal| refusal.status));
    let head: Heading<'_> = Box::pin(async {
        let agent = api.get(route::AGENTS_GET, &[name], &[]);
        let (shell, agent) = join(Shell::load(app, &api, name, "agents"), agent).await;
        let (shell, agent) = (shell?.with(refusal), agent?);
        // A form that was refused is shown again on the page of its own agent alone.
        if status != 200 && typed.has(AGENT) && !typed.is(AGENT, agent.text("id")) {
            return Err(another());
        }
        // Of several tabs of a browser each says which it is.
        let word = TABS.iter().find(|(path, _)| *path == tab && !path.is_empty()).map_or("", |(_, word)| *word);
        let name = agent.text("name");
        let shell = if word.is_empty() { shell.called(name) } else { shell.called(&format!("{word} · {name}")) };
        let shell = shell.of_agent(agent.text("id"));
        let state = agents::state(&agent);
        Ok((shell, Head { agent, state, tab, tabs: TABS }))
    });
    let asked = Tab { app, api: &api, name, typed, status };
    match tab {
        "credentials" => credentials::show(&asked, head).await,
        KEY => credentials::show_key(&asked, head).await,
        "secrets" => secrets::show(&asked, head).await,
        "sharing" => sharing::show(&asked, head).await,
        "why" => why::show(&asked, head).await,
        "log" => log::show(&asked, head).await,
        "history" => history::show(&asked, head).await,
        "settings" => settings::show(&asked, head).await,
        _ => state::show(&asked, head).await,
    }
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

/// The labels among these members as [`label_lines`] reads them.
pub(crate) fn labels_text(members: &Json) -> String {
    let labels = members.at("labels").as_object().map(labels).unwrap_or_default();
    labels.iter().map(|(name, value)| format!("{name}: {value}")).collect::<Vec<_>>().join("\n")
}

/// The items of a list; `None` if the visitor may not read it.
fn readable(list: Result<Json, Trouble>) -> Result<Option<Vec<Json>>, Trouble> {
    match list {
        Ok(list) => Ok(Some(list.list("items").to_vec())),
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

impl Asked {
    /// The tab that its form stands on, as a path below that of the agent.
    fn page(&self) -> String {
        match self.tab {
            "" => String::new(),
            // The page of the key has a query, which only its form knows.
            KEY => "/credentials".to_owned(),
            tab => format!("/{tab}"),
        }
    }
}

/// What the form asks for that is sent to this part of an agent's path.
fn asked(act: &str) -> Option<Asked> {
    let asked = |route, tab, done| Asked { route, tab, done, about: "" };
    let about_key = |route, done| Asked { route, tab: "credentials", done, about: "key" };
    let about = |route, done, about| Asked { route, tab: "secrets", done, about };
    Some(match act {
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
        _ => return None,
    })
}

/// `POST /agents/{name}/{act}`.
pub(crate) async fn act(app: App, Path(name): Path, Path(act): Path, typed: Form) -> Result<Response, ApiError> {
    let asked = asked(&act).ok_or_else(|| ApiError::from(Code::NotFound))?;
    answer_form(&app, &typed, async {
        let api = Api::of(&app)?;
        // The agent that the page showed, whatever agent has its name by now.
        let agent = typed.or(AGENT, &name);
        if act == "settings" {
            let changed = settings::change(&app, &api, (&name, agent), &typed).await;
            return changed.map_err(|trouble| gone(trouble, &name, &typed));
        }
        let acted = match send(&api, agent, &asked, &typed).await {
            Ok(_) if act == "archive" => Ok(see(&app, "/agents?done=archived")),
            Ok(made) if asked.done.is_empty() => {
                let has_grace = !matches!(typed.text("grace"), "" | "0");
                let before = if act == "issue" { "the token before it" } else { "its secret before" };
                let ended = if has_grace { Ended::default() } else { ended(&api, before, &made).await };
                credentials::secret(&app, &name, &act, &made, has_grace).instead_of(ended, &app, &api, "agents").await
            }
            Ok(made) if asked.tab.is_empty() => {
                let starts = matches!(act.as_str(), "start" | "resume" | "restart");
                let is_in_vain = starts && *made.at("owner").at("active") == false;
                let done = if is_in_vain { "started-in-vain" } else { asked.done };
                let page = format!("/agents/{name}");
                Ok(see_done_to(&app, &typed, (made.text("name"), &page), done))
            }
            Ok(made) => {
                let is_in_vain = asked.done == "shared" && !made.list("warnings").is_empty();
                let done = if is_in_vain { "shared-in-vain" } else { asked.done };
                Ok(see_done(&app, &typed, &format!("/agents/{name}{}", asked.page()), done))
            }
            Err(Trouble::Refused(refusal)) if refusal.is_for_the_form() => {
                show(&app, &name, asked.tab, &typed, Some(refusal)).await
            }
            Err(trouble) => Err(trouble),
        };
        acted.map_err(|trouble| gone(trouble, &name, &typed))
    })
    .await
}

/// The refusal of a form that names its agent by the id, which is not there any more, says so.
fn gone(trouble: Trouble, name: &str, typed: &Form) -> Trouble {
    let names_an_id = typed.has(AGENT) || name.starts_with(AgentId::PREFIX);
    match trouble {
        Trouble::Refused(refusal) if refusal.slug == "agent_not_found" && names_an_id => another(),
        trouble => trouble,
    }
}

fn another() -> Trouble {
    let detail = "The agent of that page was archived, or is no longer shared with you. If there is an agent with its name now, it is another one. Nothing was done.";
    Trouble::Refused(Refusal::own(404, detail, "Open the list of agents to see which are there now."))
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
            api.change(route, &[name], change(credentials::trust(typed)?.into())).await
        }
        (_, "credentials") => {
            let mut body = typed.filled(&["name", "type", "value"]);
            put_life(typed.text("days"), &mut body);
            if !typed.text("grace").is_empty() {
                body.insert("grace_seconds".to_owned(), number(typed.text("grace")));
            }
            if let Some(scope) = chosen(typed)? {
                body.insert("scope".to_owned(), scope);
            }
            api.change(route, &[name], change(body.into())).await
        }
        _ => api.change(route, &[name], change(Json::Null)).await,
    }
}

/// A field that holds JSON; empty is null.
fn json_of(typed: &Form, field: &str) -> Result<Json, Trouble> {
    match typed.text(field) {
        "" => Ok(Json::Null),
        text => common::json::parse(text).ok_or_else(|| {
            Refusal::of_field(field, "This is not JSON.", "JSON, such as {\"cpu\": 2}; or leave it empty.")
        }),
    }
}

/// A field with a label a line: `name: value`. Of two with one name neither is dropped in silence.
pub(crate) fn label_lines(typed: &Form, field: &str) -> Result<Json, Trouble> {
    let mut labels = Map::new();
    for line in typed.text(field).lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        let name = name.trim();
        if labels.insert(name.to_owned(), value.trim().into()).is_some() {
            let detail = format!("{} stands twice.", common::text::isolated(name));
            return Err(Refusal::of_field(field, &detail, &format!("{detail} Write each name once.")));
        }
    }
    Ok(labels.into())
}

/// What a new secret has ended: `before`, as a sentence names it.
pub(crate) async fn ended(api: &Api<'_>, before: &str, made: &Json) -> Ended {
    let id = made.at("closure").text("id");
    if id.is_empty() {
        return Ended::default();
    }
    let closure = api.get(route::CLOSURE_GET, &[id], &[]).await.unwrap_or_default();
    Ended { since: words::closed(before, &closure), closure: id.to_owned() }
}

#[cfg(test)]
mod tests {
    use std::{cell::RefCell, rc::Rc};

    use serde_json::json;

    use crate::testing::Visitor;

    const OLD: &str = "agt_old";
    const NEW: &str = "agt_new";

    /// The API of an admin: the agent `scout` is this one, and it is in this state.
    fn api(scout: &'static str, state: &'static str) -> (Visitor, Rc<RefCell<Vec<String>>>) {
        let asked: Rc<RefCell<Vec<String>>> = Rc::default();
        let seen = Rc::clone(&asked);
        let visitor = Visitor::new(move |method, path| {
            if method != "GET" {
                seen.borrow_mut().push(path.to_owned());
            }
            let gone = json!({ "error": "agent_not_found", "detail": "No.", "fix": "List them." });
            let agent = json!({
                "id": scout, "name": "scout", "state": state, "owner": { "email": "ada@example.com" }, "spent_cents": 1,
                "scope": ["agents.read"], "tier": 3, "max_concurrent_tasks": 1,
            });
            let row =
                json!({ "id": "row_1", "name": "one", "subject": { "id": "usr_1" }, "status": "active", "key": "one" });
            let list = json!({ "items": [row] });
            let body = match path {
                "/api/overview" => json!({
                    "caller": { "role": "admin", "scope": ["*"], "csrf_token": "c", "email": "ada@example.com" },
                    "agents": { "running": 1, "newest": [agent] },
                }),
                "/api/agents" => json!({ "items": [agent] }),
                _ => match path.strip_prefix("/api/agents/").map(|rest| rest.split_once('/').unwrap_or((rest, ""))) {
                    Some(("scout", "")) => agent,
                    Some((id, "")) if id == scout => agent,
                    Some((name, _)) if name == "scout" || name == scout => list,
                    Some(_) => return (404, gone),
                    None => json!({}),
                },
            };
            (200, body)
        });
        (visitor, asked)
    }

    /// R728: that a grant is without effect is said.
    #[tokio::test]
    async fn a_grant_without_effect_is_said() {
        for (warnings, done) in [(json!([]), "shared"), (json!(["No."]), "shared-in-vain")] {
            let visitor = Visitor::new(move |_, _| (201, json!({ "warnings": warnings })));
            let fields = [("subject", "vic@example.com"), ("relation", "editor")];
            let sent = visitor.send("/agents/scout/share", &fields).await;
            assert_eq!(sent.headers.get("location").unwrap(), &format!("/agents/scout/sharing?done={done}"));
        }
    }

    /// R727: what was done from a list says to which agent, and a start that lets nothing in says so.
    #[tokio::test]
    async fn a_list_says_which_agent_was_stopped() {
        let stopped = "Stopped: scout, with all agents below it.";
        let in_vain = "Started: scout, but the account of its owner is deactivated.";
        for (act, is_active, back, said) in [
            ("stop", true, "/agents", stopped),
            ("stop", true, "", "Stopped, with all agents below it."),
            ("start", true, "/agents", "Started: scout."),
            ("start", false, "/", in_vain),
            ("resume", false, "", "Started, but the account of its owner is deactivated."),
        ] {
            let visitor = Visitor::new(move |_, path| {
                let agent = json!({ "id": OLD, "name": "scout", "state": "running", "owner": { "active": is_active } });
                let body = match path {
                    "/api/overview" => json!({ "caller": { "role": "admin", "scope": ["*"], "csrf_token": "c" } }),
                    _ if path.starts_with("/api/agents/") => agent,
                    _ => json!({}),
                };
                (200, body)
            });
            let fields = if back.is_empty() { vec![] } else { vec![("back", back)] };
            let sent = visitor.send(&format!("/agents/{OLD}/{act}"), &fields).await;
            let to = sent.headers.get("location").unwrap().to_str().unwrap();
            let cookie = sent.headers.get("set-cookie").unwrap().to_str().unwrap();
            let page = visitor.open_with(cookie, to).await.text;
            assert!(page.contains(said), "{act} {to}: {page}");
        }
    }

    /// The forms of a page that act on the agent: where each is sent, and its fields.
    fn forms(html: &str) -> Vec<(String, Vec<(String, String)>)> {
        let value = |tag: &str, name: &str| {
            Some(tag.split_once(&format!(" {name}=\""))?.1.split('"').next().unwrap().to_owned())
        };
        let mut found = Vec::new();
        for form in html.split("<form").skip(1).map(|rest| rest.split("</form>").next().unwrap()) {
            let (head, _) = form.split_once('>').unwrap();
            let fields: Vec<(String, String)> = form
                .split('<')
                .filter(|tag| tag.starts_with("input type=\"hidden\""))
                .filter_map(|tag| value(tag, "name").zip(value(tag, "value")))
                .collect();
            let buttons = form.split("<button").skip(1).map(|rest| rest.split('>').next().unwrap());
            let own = value(head, "action").map(|action| (action, fields.clone()));
            let of_buttons = buttons.filter_map(|button| {
                let said = value(button, "name").zip(value(button, "value"));
                Some((value(button, "formaction")?, fields.iter().cloned().chain(said).collect()))
            });
            let acts =
                |action: &str| ["/agents/scout/", "/agents/agt_old/"].iter().any(|start| action.starts_with(start));
            found.extend(own.into_iter().chain(of_buttons).filter(|(action, _)| acts(action)));
        }
        found
    }

    /// R640: no form of a page acts on an agent that got the name of the one that the page showed.
    #[tokio::test]
    async fn a_form_acts_on_the_agent_that_its_page_showed() {
        let tabs =
            ["", "/credentials", "/credentials?key=row_1", "/secrets", "/sharing", "/settings", "/key?key=row_1"];
        let pages = tabs.map(|tab| format!("/agents/scout{tab}")).into_iter();
        let mut all: Vec<(String, Vec<(String, String)>)> = Vec::new();
        for page in pages.chain(["/", "/agents"].map(str::to_owned)) {
            for state in ["running", "paused", "stopped"] {
                let (visitor, _) = api(OLD, state);
                let answer = visitor.open(&page).await;
                assert_eq!(answer.status.as_u16(), 200, "{page}: {}", answer.text);
                all.extend(forms(&answer.text).into_iter().filter(|(action, _)| !action.ends_with("/why")));
            }
        }
        let actions: std::collections::BTreeSet<&str> = all.iter().map(|(action, _)| action.as_str()).collect();
        assert!(actions.len() >= 20, "{actions:?}");
        for (action, fields) in &all {
            let fields: Vec<(&str, &str)> =
                fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).chain([("may", "all")]).collect();
            let (visitor, asked) = api(NEW, "running");
            let answer = visitor.send(action, &fields).await;
            assert!(answer.status.as_u16() == 404, "{action}: {} {}", answer.status, answer.text);
            assert!(answer.text.contains("it is another one"), "{action}: {}", answer.text);
            let to_new = |path: &String| path.contains("/scout") || path.contains(NEW);
            assert!(!asked.borrow().iter().any(to_new), "{action}: {:?}", asked.borrow());
            // The same agent: the API is asked by its id, and the page goes on with its name.
            let (visitor, asked) = api(OLD, "running");
            let answer = visitor.send(action, &fields).await;
            assert!(answer.status.as_u16() < 400, "{action}: {} {}", answer.status, answer.text);
            assert!(asked.borrow().iter().all(|path| path.starts_with("/api/agents/agt_old")), "{:?}", asked.borrow());
            let to = answer.headers.get("location").map_or("", |to| to.to_str().unwrap());
            assert!(!to.contains(OLD), "{action}: {to}");
        }
        // A form without the field acts by the name.
        let (visitor, asked) = api(NEW, "running");
        assert_eq!(visitor.send("/agents/scout/stop", &[]).await.status.as_u16(), 303);
        assert_eq!(*asked.borrow(), ["/api/agents/scout/stop"]);
    }
}
