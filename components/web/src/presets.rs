//! `/admin/presets`: what classes of agents need, in versions.

use askama::Template;
use common::{
    error::{ApiError, Code},
    route,
    text::count,
};
use futures_util::future::{join3, join4};
use serde_json::{Map, Value as Json, json};
use service::{app::App, extract::Path, response::Response};

use crate::{
    agent::{label_lines, labels_text, money, settings::budget},
    api::{Api, Change, Members, Refusal, Trouble},
    form::{Form, number, several},
    page::{Shell, answer, answer_form, see, write_with},
    scopes::{Choice, kept, ticks_of},
    shown::CHANGED,
    words,
};

const PATH: &str = "/admin/presets";
/// Agents that lack something, as many as a page shows.
const MOST: &str = "25";

#[derive(Template)]
#[template(path = "presets.html")]
struct PresetsPage {
    shell: Shell,
    typed: Form,
    choice: Choice,
    presets: Vec<Json>,
}

/// `GET /admin/presets`.
pub(crate) async fn list(app: App) -> Result<Response, ApiError> {
    answer(&app, show(&app, &Form::default(), None)).await
}

async fn show(app: &App, typed: &Form, refusal: Option<Refusal>) -> Result<Response, Trouble> {
    let api = Api::of(app)?;
    let (shell, all, custom) = join3(
        Shell::load(app, &api, "Presets", "presets"),
        api.get(route::PRESETS_LIST, &[], &[]),
        api.get(route::SCOPES_CUSTOM, &[], &[]),
    )
    .await;
    let status = refusal.as_ref().map_or(200, |refusal| refusal.status);
    let (shell, all) = (shell?.admins_only()?.with(refusal), all?);
    let choice = Choice::of_preset(&custom.unwrap_or_default(), typed);
    write_with(&PresetsPage { shell, typed: typed.clone(), choice, presets: all.list("items").to_vec() }, status)
}

/// `POST /admin/presets`.
pub(crate) async fn create(app: App, typed: Form) -> Result<Response, ApiError> {
    answer_form(&app, &typed, async {
        let api = Api::of(&app)?;
        // Nothing would be the path of the list; this is no name either.
        let name = typed.or("name", "-").to_lowercase();
        let all = api.get(route::PRESETS_LIST, &[], &[]).await?;
        let made = if all.list("items").iter().any(|preset| preset.text("name") == name) {
            let fix = "Choose another name, or change that preset on its own page.";
            Err(Refusal::of_field("name", "There is a preset of this name.", fix))
        } else {
            put(&api, &name, None, &typed).await
        };
        match made {
            Ok(()) => Ok(see(&app, &format!("{PATH}/{name}?done=made"))),
            Err(Trouble::Refused(mut refusal)) if refusal.is_for_the_form() => {
                // In the path of the request, and a field of the form.
                if refusal.slug == "invalid_preset_name" {
                    refusal.fields = vec![("name".to_owned(), refusal.fix.clone())];
                }
                show(&app, &typed, Some(refusal)).await
            }
            Err(trouble) => Err(trouble),
        }
    })
    .await
}

/// Makes a version of a preset of what was typed; `before` is the newest one.
async fn put(api: &Api<'_>, name: &str, before: Option<&Json>, typed: &Form) -> Result<(), Trouble> {
    let custom = api.get(route::SCOPES_CUSTOM, &[], &[]).await?;
    let scope = kept(&before.map(|before| before.words("scope")).unwrap_or_default(), &custom, typed);
    let mut body = Map::from_iter([
        ("scope".to_owned(), scope.into()),
        ("secrets".to_owned(), several(typed.text("secrets")).into()),
    ]);
    if let Some(before) = before {
        let probes: Vec<Json> =
            typed.text("probes").lines().map(str::trim).filter(|name| !name.is_empty()).map(Json::from).collect();
        body.insert("probes".to_owned(), probes.into());
        body.insert("defaults".to_owned(), defaults(before, typed)?.into());
    }
    api.change(route::PRESET_PUT, &[name], Change { form: typed, body: body.into() }).await.map(drop)
}

/// The defaults that were typed; one that the form does not have stays.
fn defaults(before: &Json, typed: &Form) -> Result<Map<String, Json>, Trouble> {
    let mut defaults = before.at("defaults").as_object().cloned().unwrap_or_default();
    let mut set = |member: &str, value: Json| match value {
        Json::Null => drop(defaults.shift_remove(member)),
        value => drop(defaults.insert(member.to_owned(), value)),
    };
    for member in ["runtime", "model"] {
        let text = typed.text(member);
        set(member, if text.is_empty() { Json::Null } else { text.into() });
    }
    for member in ["tier", "max_concurrent_tasks"] {
        let text = typed.text(member);
        set(member, if text.is_empty() { Json::Null } else { number(text) });
    }
    set("budget_cents", budget(typed)?);
    let labels = label_lines(typed, "labels")?;
    set("labels", if labels.as_object().is_some_and(Map::is_empty) { Json::Null } else { labels });
    Ok(defaults)
}

#[derive(Template)]
#[template(path = "preset.html")]
struct PresetPage {
    shell: Shell,
    typed: Form,
    /// The fields as they stand.
    now: Form,
    choice: Choice,
    preset: Json,
    /// The agents that lack something of it; `None`: they cannot be listed.
    lacking: Option<Json>,
}

/// Whether the ceiling of an agent lacks something, as the list of drift has it.
fn is_behind(agent: &Json) -> bool {
    !agent.list("missing_scopes").is_empty()
}

impl PresetPage {
    /// Whether a list has an agent whose ceiling lacks something.
    fn is_behind(&self, lacking: &Json) -> bool {
        lacking.list("items").iter().any(is_behind)
    }

    /// How much a version allows.
    fn size(&self, version: &Json) -> String {
        count(version.list("scope").len(), "scope")
    }

    /// What stands in a field: what was typed, or else what is.
    fn value(&self, field: &str) -> &str {
        if self.typed.has("version") { self.typed.text(field) } else { self.now.text(field) }
    }
}

/// The fields of the form, as the preset is.
fn fields(preset: &Json) -> Form {
    let defaults = preset.at("defaults");
    let number = |name: &str| defaults.at(name).as_i64().map(|number| number.to_string()).unwrap_or_default();
    Form::of(&[
        ("secrets", &preset.words("secrets").join(" ")),
        ("probes", &preset.words("probes").join("\n")),
        ("runtime", defaults.text("runtime")),
        ("model", defaults.text("model")),
        ("tier", &number("tier")),
        ("max_concurrent_tasks", &number("max_concurrent_tasks")),
        ("budget", &defaults.at("budget_cents").as_i64().map(money).unwrap_or_default()),
        ("labels", &labels_text(defaults)),
    ])
}

/// `GET /admin/presets/{name}`.
pub(crate) async fn one(app: App, Path(name): Path) -> Result<Response, ApiError> {
    answer(&app, show_one(&app, &name, &Form::default(), None)).await
}

async fn show_one(app: &App, name: &str, typed: &Form, refusal: Option<Refusal>) -> Result<Response, Trouble> {
    let api = Api::of(app)?;
    let (shell, preset, custom, lacking) = join4(
        Shell::load(app, &api, "A preset", "presets"),
        api.get(route::PRESET_GET, &[name], &[]),
        api.get(route::SCOPES_CUSTOM, &[], &[]),
        api.get(route::PRESET_DRIFT, &[name], &[("limit", MOST)]),
    )
    .await;
    let status = refusal.as_ref().map_or(200, |refusal| refusal.status);
    let (shell, preset, custom) = (shell?.admins_only()?.with(refusal), preset?, custom.unwrap_or_default());
    let shell = shell.called(preset.text("name"));
    let ticked = ticks_of(&preset.words("scope"), &custom);
    let choice = Choice::of_preset(&custom, if typed.has("version") { typed } else { &ticked });
    let now = fields(&preset);
    write_with(&PresetPage { shell, typed: typed.clone(), now, choice, preset, lacking: lacking.ok() }, status)
}

/// `POST /admin/presets/{name}/{act}`.
pub(crate) async fn act(app: App, Path(name): Path, Path(act): Path, typed: Form) -> Result<Response, ApiError> {
    let done = match act.as_str() {
        "change" | "give" => format!("{PATH}/{name}?done=changed"),
        "delete" => format!("{PATH}?done=deleted"),
        _ => return Err(Code::NotFound.into()),
    };
    answer_form(&app, &typed, async {
        let api = Api::of(&app)?;
        let sent = match act.as_str() {
            "change" => change(&api, &name, &typed).await,
            "give" => give(&api, &name, &typed).await,
            _ => api.change(route::PRESET_DELETE, &[&name], Change { form: &typed, body: Json::Null }).await.map(drop),
        };
        match sent {
            Ok(()) => Ok(see(&app, &done)),
            Err(Trouble::Refused(refusal)) if refusal.is_for_the_form() => {
                let typed = if refusal.slug == CHANGED { Form::default() } else { typed.clone() };
                show_one(&app, &name, &typed, Some(refusal)).await
            }
            Err(trouble) => Err(trouble),
        }
    })
    .await
}

/// The newest version of a preset; refused if the page of the form showed another one.
async fn newest(api: &Api<'_>, name: &str, typed: &Form) -> Result<Json, Trouble> {
    let newest = api.get(route::PRESET_GET, &[name], &[]).await?;
    if typed.is("version", &newest.number("version").to_string()) {
        return Ok(newest);
    }
    let fix = "Nothing was changed. The page shows the newest version: do it again if you still want to.";
    let mut refusal = Refusal::own(409, "Somebody else made a version while this page stood open.", fix);
    CHANGED.clone_into(&mut refusal.slug);
    Err(Trouble::Refused(refusal))
}

/// Makes a version of what was typed.
async fn change(api: &Api<'_>, name: &str, typed: &Form) -> Result<(), Trouble> {
    let newest = newest(api, name, typed).await?;
    put(api, name, Some(&newest), typed).await
}

/// Lets the agents that are behind do what the newest version allows.
async fn give(api: &Api<'_>, name: &str, typed: &Form) -> Result<(), Trouble> {
    newest(api, name, typed).await?;
    let lacking = api.get(route::PRESET_DRIFT, &[name], &[("limit", MOST)]).await?;
    let mut failed = Vec::new();
    for agent in lacking.list("items").iter().filter(|agent| is_behind(agent)) {
        let (agent, body) = (agent.text("agent"), json!({ "preset": name }));
        match api.change(route::AGENTS_PATCH, &[agent], Change { form: typed, body }).await {
            Ok(_) => {}
            // Such as one below an agent that may do less.
            Err(Trouble::Refused(refusal)) => {
                failed.push((agent.to_owned(), format!("{} {}", refusal.detail, refusal.fix)))
            }
            Err(trouble) => return Err(trouble),
        }
    }
    if failed.is_empty() {
        return Ok(());
    }
    let mut refusal = Refusal::own(409, "Not all of them may do that now.", "These may not:");
    refusal.fields = failed;
    Err(Trouble::Refused(refusal))
}

#[cfg(test)]
mod tests;
