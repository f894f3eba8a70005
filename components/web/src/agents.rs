//! `/agents`, `/register`, `/stop-all`: the list of agents, a new one, and the stop for all.

use askama::Template;
use common::{error::ApiError, preset::Preset, route, text::isolated};
use futures_util::future::{join, join3};
use serde_json::Value as Json;
use service::{app::App, credential::own_base, response::Response};

use crate::{
    api::{Api, Change, Members, Refusal, Trouble},
    form::{Form, put_life},
    list::List,
    page::{Shell, answer, answer_form, see, write, write_with},
    words::{self, Html},
};

/// Agents on a page, and a person's own tokens. More would be more bytes than a page may have.
pub(crate) const PAGE: &str = "17";

/// An agent in a table.
pub(crate) struct AgentRow {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) what: String,
    /// How many agents stand above it, of those in the table.
    pub(crate) depth: usize,
    /// The agent above it, if that is not in the table; empty: there is none.
    pub(crate) below: String,
    pub(crate) state: Html,
    /// What can be done about its state with one click, and the word for it.
    pub(crate) act: &'static str,
    pub(crate) act_word: &'static str,
    pub(crate) owner: String,
    pub(crate) tags: Html,
    pub(crate) seen: Html,
    /// When it was registered, where the list shows it.
    pub(crate) made: Option<Html>,
}

impl AgentRow {
    /// What tells its row from that of another agent that has the name later: the end of its id.
    pub(crate) fn key(&self) -> &str {
        self.id.get(self.id.len().saturating_sub(10)..).unwrap_or(&self.id)
    }

    pub(crate) fn new(agent: &Json, depth: usize, shell: &Shell) -> Self {
        let (act, act_word) = match agent.text("state") {
            "running" => ("stop", "Stop"),
            "paused" => ("resume", "Resume"),
            _ => ("start", "Start"),
        };
        // In an overview: one of both, and the owner's address.
        let what = ["display_name", "description", "title"].map(|member| agent.text(member));
        let what = what.into_iter().find(|text| !text.is_empty());
        let owner = agent.at("owner");
        Self {
            id: agent.text("id").to_owned(),
            name: agent.text("name").to_owned(),
            what: what.unwrap_or_default().to_owned(),
            depth,
            below: if depth == 0 { agent.text("parent").to_owned() } else { String::new() },
            state: state(agent),
            act,
            act_word,
            owner: owner.as_str().unwrap_or_else(|| owner.text("email")).to_owned(),
            tags: words::tags(agent.list("scope"), 2),
            seen: shell.when(agent.text("last_seen_at")),
            made: Some(agent.text("created_at")).filter(|at| !at.is_empty()).map(|at| shell.when(at)),
        }
    }
}

/// The state of an agent; of one whose owner is deactivated that, since no credential of it works, and of one that has spent its budget that.
pub(crate) fn state(agent: &Json) -> Html {
    // In an overview the owner is an address.
    let is_active = [agent.at("owner").at("active"), agent.at("owner_active")].iter().all(|active| **active != false);
    words::state(match agent.text("state") {
        _ if !is_active => "owner deactivated",
        "running" if is_over_budget(agent) => "over budget",
        state => state,
    })
}

/// Whether the agent is refused since it has spent more than its budget. An overview does not say.
pub(crate) fn is_over_budget(agent: &Json) -> bool {
    agent.at("budget_cents").as_i64().is_some_and(|budget| agent.number("spent_cents") > budget)
}

/// Agents as a tree: each below the one above it, if that is in the list too; in the order of their names.
pub(crate) fn tree(agents: &[Json], shell: &Shell) -> Vec<AgentRow> {
    let mut sorted: Vec<&Json> = agents.iter().collect();
    sorted.sort_by_key(|agent| agent.text("name"));
    let is_listed = |name: &str| agents.iter().any(|agent| agent.text("name") == name);
    let mut rows = Vec::new();
    // Those that are still to be shown, the next one at the end.
    let roots = sorted.iter().filter(|agent| !is_listed(agent.text("parent")));
    let mut waiting: Vec<(usize, &Json)> = roots.map(|agent| (0, *agent)).collect();
    waiting.reverse();
    while let Some((depth, agent)) = waiting.pop() {
        rows.push(AgentRow::new(agent, depth, shell));
        let below = sorted.iter().rev().filter(|one| one.text("parent") == agent.text("name"));
        waiting.extend(below.map(|one| (depth + 1, *one)));
    }
    rows
}

#[derive(Template)]
#[template(path = "agents.html")]
struct AgentsPage {
    shell: Shell,
    list: List,
    rows: Vec<AgentRow>,
    /// This page, to come back to after a click.
    back: String,
}

impl AgentsPage {
    fn head(&self, text: &str, by: &str) -> Html {
        self.list.head(self.shell.link(), text, by)
    }

    /// Whether the page shows all agents that there are, and each is stopped.
    fn all_stopped(&self) -> bool {
        let is_whole = !self.list.is_filtered() && self.list.is_first() && self.list.next().is_empty();
        is_whole && !self.rows.is_empty() && self.rows.iter().all(|row| row.act == "start")
    }
}

/// `GET /agents`: the address is the state of the list.
pub(crate) async fn list(app: App) -> Result<Response, ApiError> {
    answer(&app, show_list(&app)).await
}

async fn show_list(app: &App) -> Result<Response, Trouble> {
    let api = Api::of(app)?;
    let mut list = List::of(app, "/agents", &["q", "state", "owner", "parent", "has_token"]).sorted("name");
    let pairs = list.pairs(PAGE);
    let (shell, agents) =
        join(Shell::load(app, &api, "Agents", "agents"), api.get(route::AGENTS_LIST, &[], &pairs)).await;
    let (shell, agents, refused) = shell?.with_list(agents)?;
    list.found(&agents);
    let agents = agents.list("items");
    let rows = match list.is_sorted_by("name") {
        true => tree(agents, &shell),
        false => agents.iter().map(|agent| AgentRow::new(agent, 0, &shell)).collect(),
    };
    let back = list.here();
    write_with(&AgentsPage { shell, list, rows, back }, refused.unwrap_or(200))
}

#[derive(Template)]
#[template(path = "register.html")]
struct RegisterPage {
    shell: Shell,
    typed: Form,
    presets: Vec<Json>,
    /// Names that can stand above.
    parents: Vec<String>,
}

impl RegisterPage {
    /// What a preset is for; empty: the tenant has made it, or changed what it carries.
    fn about(&self, preset: &Json) -> &'static str {
        let known = Preset::from_text(preset.text("name"));
        let known = known.filter(|known| preset.words("scope").join(" ") == known.scope());
        known.map_or("", Preset::describe)
    }
}

/// The preset that is chosen stands first, then the others by name.
fn usual_first(presets: &[Json]) -> Vec<Json> {
    let (usual, others): (Vec<&Json>, Vec<&Json>) =
        presets.iter().partition(|preset| preset.text("name") == Preset::Worker.as_str());
    usual.into_iter().chain(others).cloned().collect()
}

/// `GET /register`.
pub(crate) async fn form(app: App) -> Result<Response, ApiError> {
    answer(&app, show_form(&app, &Form::query(&app), None)).await
}

async fn show_form(app: &App, typed: &Form, refusal: Option<Refusal>) -> Result<Response, Trouble> {
    let api = Api::of(app)?;
    let (shell, presets, agents) = join3(
        Shell::load(app, &api, "New agent", "agents"),
        api.get(route::PRESETS_LIST, &[], &[]),
        api.get(route::AGENTS_LIST, &[], &[("limit", "200")]),
    )
    .await;
    let status = refusal.as_ref().map_or(200, |refusal| refusal.status);
    let mut parents: Vec<String> = agents?.list("items").iter().map(|agent| agent.text("name").to_owned()).collect();
    parents.sort_unstable();
    let page = RegisterPage {
        shell: shell?.with(refusal),
        typed: typed.clone(),
        presets: usual_first(presets?.list("items")),
        parents,
    };
    write_with(&page, status)
}

/// What to do with a token or a key that an agent signs its requests with.
pub(crate) const GIVE_IT: &str =
    "Give it to the agent as the variable ACCREDIT_TOKEN, or as the header Authorization: Bearer.";

/// A command that tries a new token, which is in a variable, and the sentence above it.
fn to_try(app: &App, name: &str) -> Option<(String, String)> {
    let base = own_base(app)?;
    let sentence = format!("To try it; the page of {name} says then when it was last seen:");
    Some((sentence, format!("curl -H \"Authorization: Bearer $ACCREDIT_TOKEN\" {base}/api/auth/whoami")))
}

/// `POST /register`.
pub(crate) async fn register(app: App, typed: Form) -> Result<Response, ApiError> {
    answer_form(&app, &typed, async {
        let mut body = typed.body(&["name"], &["display_name", "description", "runtime", "model", "parent", "preset"]);
        put_life(typed.text("days"), &mut body);
        let typed_name = typed.text("name");
        // What is no name of an agent is kept for people.
        if !typed_name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
            && !typed_name.is_empty()
        {
            body.entry("display_name").or_insert_with(|| typed_name.into());
        }
        let api = Api::of(&app)?;
        match api.change(route::AGENTS_CREATE, &[], Change { form: &typed, body: body.into() }).await {
            Ok(made) => {
                let name = made.text("name");
                let mut warnings: Vec<String> = made.words("warnings").into_iter().map(str::to_owned).collect();
                if name != typed_name {
                    warnings.push(format!("You typed {}. The agent's name is {name}.", isolated(typed_name)));
                }
                let secret = Secret {
                    heading: format!("{name} is registered"),
                    what: "This is its token.".to_owned(),
                    secret: made.text("auth_token").to_owned(),
                    use_it: GIVE_IT.to_owned(),
                    also: to_try(&app, name),
                    ends: Some(made.at("token").text("expires_at").to_owned()),
                    may: made.list("scope").to_vec(),
                    warnings,
                    back: format!("/agents/{name}"),
                };
                secret.show(&app, &api, "agents").await
            }
            Err(Trouble::Refused(refusal)) if refusal.is_for_the_form() => show_form(&app, &typed, Some(refusal)).await,
            Err(trouble) => Err(trouble),
        }
    })
    .await
}

/// A secret that is shown this once.
pub(crate) struct Secret {
    pub(crate) heading: String,
    pub(crate) what: String,
    pub(crate) secret: String,
    pub(crate) use_it: String,
    /// What else is copied from here, with the sentence above it.
    pub(crate) also: Option<(String, String)>,
    /// When it ends; empty: never. `None`: that it does not need not be said.
    pub(crate) ends: Option<String>,
    pub(crate) warnings: Vec<String>,
    /// The scopes that it carries; empty: it carries none.
    pub(crate) may: Vec<Json>,
    /// The page to go on to.
    pub(crate) back: String,
}

#[derive(Template)]
#[template(path = "secret.html")]
struct SecretPage {
    shell: Shell,
    shown: Secret,
    ended: Ended,
}

/// What a secret that is shown has replaced.
#[derive(Default)]
pub(crate) struct Ended {
    /// Since when it is not accepted; empty: nothing is known.
    pub(crate) since: String,
    /// The id of its closure.
    pub(crate) closure: String,
}

impl Secret {
    /// The page, which is the answer to the form: nothing else ever shows it.
    pub(crate) async fn show(self, app: &App, api: &Api<'_>, nav: &'static str) -> Result<Response, Trouble> {
        self.instead_of(Ended::default(), app, api, nav).await
    }

    /// The same, with what it has replaced.
    pub(crate) async fn instead_of(
        self,
        ended: Ended,
        app: &App,
        api: &Api<'_>,
        nav: &'static str,
    ) -> Result<Response, Trouble> {
        let shell = Shell::load(app, api, "Shown once", nav).await?;
        write(&SecretPage { shell, shown: self, ended })
    }
}

#[derive(Template)]
#[template(path = "stop_all.html")]
struct StopAllPage {
    shell: Shell,
    /// Agents that are not stopped yet.
    live: usize,
    /// Whether there are agents that are.
    has_stopped: bool,
}

/// `GET /stop-all`: asks whether to stop all agents, and offers to undo that.
pub(crate) async fn confirm_stop_all(app: App) -> Result<Response, ApiError> {
    answer(&app, async {
        let api = Api::of(&app)?;
        let (overview, tenant) = join(api.get(route::OVERVIEW, &[], &[]), api.get(route::TENANT, &[], &[])).await;
        let overview = overview?;
        let (shell, agents) = (Shell::of(&app, "Stop all", "agents", (&overview, tenant, None)), overview.at("agents"));
        let live = usize::try_from(agents.number("running") + agents.number("paused")).unwrap_or_default();
        let has_stopped = agents.number("stopped") > 0;
        if !shell.may("agents.stop_all") {
            let fix = match shell.may("agents.lifecycle") {
                true => "Ask an admin. You can stop each of your own agents on its page.",
                false => "Ask an admin.",
            };
            return Err(Trouble::Refused(Refusal::own(403, "Only admins can stop every agent of the tenant.", fix)));
        }
        write(&StopAllPage { shell, live, has_stopped })
    })
    .await
}

/// `POST /stop-all`.
pub(crate) async fn stop_all(app: App, typed: Form) -> Result<Response, ApiError> {
    answer_form(&app, &typed, async {
        let change = Change { form: &typed, body: Json::Null };
        Api::of(&app)?.change(route::STOP_ALL, &[], change).await?;
        Ok(see(&app, "/?done=stopped-all"))
    })
    .await
}

/// `POST /start-all`.
pub(crate) async fn start_all(app: App, typed: Form) -> Result<Response, ApiError> {
    answer_form(&app, &typed, async {
        let change = Change { form: &typed, body: Json::Null };
        let started = Api::of(&app)?.change(route::START_ALL, &[], change).await?;
        let is_any = started.number("started") + started.number("paused") > 0;
        Ok(see(&app, if is_any { "/?done=started-all" } else { "/stop-all?done=nothing-to-undo" }))
    })
    .await
}

#[cfg(test)]
mod tests {
    use serde_json::{Value as Json, json};

    use super::PAGE;
    use crate::{assets, testing::Visitor};

    fn agent(number: usize) -> Json {
        json!({
            "id": format!("agt_01K7{number:022}"), "name": format!("support-desk-europe-{number}"), "state": "running",
            "description": "Answers the tickets of customers in Europe, and hands refunds on.", "parent": null,
            "owner": { "email": "noor.haddad@example.com" }, "scope": ["agents.token.issue", "agents.read", "ui.notify"],
            "last_seen_at": "2026-01-02T03:00:00.000Z", "created_at": "2026-01-02T03:00:00.000Z",
        })
    }

    /// R687: what stands in place of the state of an agent whose owner is deactivated, in a list and in an overview.
    #[test]
    fn an_agent_of_a_deactivated_owner_does_not_run() {
        let shown = |agent: Json| super::state(&agent).to_string();
        for (agent, word) in [
            (json!({ "state": "running", "owner": { "active": true } }), "Running"),
            (json!({ "state": "running", "owner": { "active": false } }), "Owner deactivated"),
            (json!({ "state": "paused", "owner": "ada@example.com", "owner_active": true }), "Paused"),
            (json!({ "state": "paused", "owner": "ada@example.com", "owner_active": false }), "Owner deactivated"),
            // R722: one that has spent its budget does not either.
            (json!({ "state": "running", "budget_cents": 10, "spent_cents": 10 }), "Running"),
            (json!({ "state": "running", "budget_cents": 10, "spent_cents": 11 }), "Over budget"),
            (json!({ "state": "running", "budget_cents": null, "spent_cents": 11 }), "Running"),
            (json!({ "state": "stopped", "budget_cents": 10, "spent_cents": 11 }), "Stopped"),
        ] {
            assert!(shown(agent).contains(word), "{word}");
        }
    }

    /// R721: the command that tries a new token can be copied as it is.
    #[tokio::test]
    async fn the_command_that_tries_a_token_can_be_copied() {
        let visitor = Visitor::new(|method, path| match (method, path) {
            ("POST", "/api/agents") => (201, json!({ "name": "scout", "auth_token": "one" })),
            (_, "/api/overview") => (200, json!({ "caller": { "role": "admin", "scope": ["*"], "csrf_token": "c" } })),
            _ => (200, json!({})),
        });
        let html = visitor.send("/register", &[("name", "scout")]).await.text;
        let (_, command) = html.split_once("<pre id=\"also\" tabindex=\"0\">").unwrap();
        assert!(command.contains("/api/auth/whoami</pre>"), "{command}");
        assert!(command.contains(" data-copy=\"also\" hidden>"), "{command}");
    }

    /// R729: somebody whose role lets them read alone is told of what is shared with them, and of nothing that they cannot do.
    #[tokio::test]
    async fn viewers_are_told_what_is_so_for_them() {
        for (scope, none, may_create) in
            [("agents.read", "No agent is shared with you", false), ("agents.create", "No agents yet", true)]
        {
            let visitor = Visitor::new(move |_, path| match path {
                "/api/overview" => (200, json!({ "caller": { "role": "viewer", "scope": [scope] }, "agents": {} })),
                _ => (200, json!({})),
            });
            for page in ["/", "/agents"] {
                let html = visitor.open(page).await.text;
                assert!(html.contains(none) && html.contains("No agents yet") == may_create, "{page} {scope}: {html}");
            }
            if scope == "agents.read" {
                assert!(!visitor.open("/stop-all").await.text.contains("your own agents"));
            }
        }
    }

    /// R723: where every agent is stopped, the way back does not stand behind a red button that stops.
    #[tokio::test]
    async fn the_way_back_from_a_stop_of_all_is_named() {
        for (state, word, class) in [("stopped", "Start again…", "button"), ("paused", "Stop all…", "button stop")]
        {
            let visitor = Visitor::new(move |_, path| {
                let agent = json!({ "id": "agt_1", "name": "scout", "state": state });
                let body = match path {
                    "/api/overview" => json!({
                        "caller": { "role": "admin", "scope": ["*"] },
                        "agents": { "running": 0, state: 1, "newest": [agent] },
                    }),
                    "/api/agents" => json!({ "items": [agent] }),
                    _ => json!({}),
                };
                (200, body)
            });
            for page in ["/", "/agents"] {
                let html = visitor.open(page).await.text;
                let link = format!("<a class=\"{class}\" href=\"/stop-all\">{word}</a>");
                assert!(html.contains(&link), "{page} {state}: {html}");
            }
            let asked = visitor.open("/stop-all").await.text;
            assert_eq!(asked.contains("If the last stop of all is still in force"), state == "stopped", "{asked}");
        }
    }

    fn token(number: usize) -> Json {
        json!({
            "id": format!("tok_01K7{number:022}"), "kind": "pat", "prefix": "acr_pat_1234", "status": "active", "client": null,
            "name": format!("a machine of mine {number}"), "scope": ["agents.token.issue", "agents.read", "ui.notify"],
            "last_used_at": "2026-01-02T03:00:00.000Z", "last_used_ip": "203.0.113.255",
            "created_at": "2026-01-02T03:00:00.000Z", "expires_at": "2026-02-02T03:00:00.000Z",
        })
    }

    fn event(number: usize) -> Json {
        json!({
            "at": "2026-01-02T03:00:00.000Z", "action": "agent.token.issue", "outcome": "done", "count": 1,
            "actor": { "email": "noor.haddad@example.com" }, "object": format!("agt_01K7{number:022}"),
            "object_name": format!("support-desk-europe-{number}"),
        })
    }

    /// R193: a page that is full has at most 60 KB with its files, and a button for each row.
    #[tokio::test]
    async fn a_full_page_is_small() {
        let rows: usize = PAGE.parse().unwrap();
        let visitor = Visitor::new(move |_, path| {
            let some = |row: fn(usize) -> Json, many: usize| (0..many).map(row).collect::<Vec<_>>();
            let body = match path {
                "/api/overview" => json!({
                    "caller": { "role": "admin", "scope": ["*"], "csrf_token": "c".repeat(43), "email": "ada@example.com" },
                    "agents": { "running": 900, "paused": 1, "stopped": 2, "owners": 40, "newest": some(agent, 25) },
                    "lately": { "hours": [], "events": some(event, 10) }, "ending": 3,
                }),
                "/api/agents" => json!({ "items": some(agent, rows), "next_cursor": "n".repeat(103) }),
                "/auth/tokens" => json!({ "items": some(token, rows), "next_cursor": "n".repeat(103) }),
                _ => json!({}),
            };
            (200, body)
        });
        // A page of a list far behind its first one: the addresses of those before it are on it too.
        let cursor = "n".repeat(103);
        let far = format!("before=&before={cursor}&before={cursor}&before={cursor}&cursor={cursor}");
        for (path, buttons) in [
            ("/", 16),
            (&*format!("/agents?q=desk&sort=created_at&{far}"), rows),
            (&format!("/tokens?sort=expires_at&{far}"), 2 * rows),
        ] {
            let html = visitor.open(path).await.text;
            assert_eq!(html.matches(" formaction=").count(), buttons, "{path}: {html}");
            assert!(html.len() + assets::BYTES <= 60 * 1024, "{path}: {} and {}", html.len(), assets::BYTES);
        }
    }
}
