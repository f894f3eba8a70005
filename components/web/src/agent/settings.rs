//! The tab of the settings, whose forms others may have changed meanwhile.

use askama::Template;
use common::{route, scope::Patterns};
use serde_json::{Map, Value as Json};
use service::{app::App, response::Response};

use super::{Head, Heading, Tab, compute_text, json_of, label_lines, labels_text, money};
use crate::{
    api::{Api, Members, Refusal, Trouble},
    form::{Form, number, several},
    page::{Shell, see_done, write_with},
    shown::{self, Settings},
    words::Html,
};

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
    owner: Form,
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
            "owner" => &self.owner,
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
        "place" => fields.push(("parent", agent.text("parent").to_owned())),
        "owner" => fields.push(("owner", agent.at("owner").text("email").to_owned())),
        "settings" => {
            let texts = ["display_name", "description", "runtime", "model", "url", "access"];
            fields.extend(texts.map(|name| (name, agent.text(name).to_owned())));
            let numbers = ["tier", "max_concurrent_tasks", "silent_after_minutes"];
            let number = |name: &str| agent.at(name).as_i64().map(|number| number.to_string()).unwrap_or_default();
            fields.extend(numbers.map(|name| (name, number(name))));
            fields.push(("budget", agent.at("budget_cents").as_i64().map(money).unwrap_or_default()));
            fields.push(("compute", compute_text(agent)));
            fields.push(("labels", labels_text(agent)));
        }
        _ => {}
    }
    let fields: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
    Form::of(&fields)
}

/// The tab.
pub(super) async fn show(tab: &Tab<'_>, head: Heading<'_>) -> Result<Response, Trouble> {
    let Tab { typed, status, .. } = *tab;
    let (shell, head) = head.await?;
    let forms = ["settings", "ceiling", "place", "owner"];
    let [settings, ceiling, place, owner] = forms.map(|form| fields(&head.agent, form));
    write_with(&SettingsPage { shell, typed: typed.clone(), settings, ceiling, place, owner, head }, status)
}

/// One of the forms of the settings of the agent with this name, which the API is to know as `agent`.
pub(super) async fn change(
    app: &App,
    api: &Api<'_>,
    (name, agent): (&str, &str),
    typed: &Form,
) -> Result<Response, Trouble> {
    let now = fields(&api.get(route::AGENTS_GET, &[agent], &[]).await?, typed.text("form"));
    let form = Settings { route: route::AGENTS_PATCH, names: &[agent], now: &now, guarded: GUARDED };
    // What is only widened ends nothing: the page says nothing of the closure, which counts each change of a ceiling.
    let [asked, before] = [typed, &now].map(|form| Patterns::stored(&form.text("scope").replace(',', " ")));
    let is_wider = typed.is("form", "ceiling") && before.is_within(&asked);
    let sent = if is_wider { Form::parse(&typed.query_of_all()) } else { typed.clone() };
    match form.send(api, &sent, settings).await {
        Ok(Some(_)) if typed.is("form", "owner") => {
            // Its owner before may not see it any more.
            let is_seen = api.get(route::AGENTS_GET, &[agent], &[]).await.is_ok();
            let page = if is_seen { format!("/agents/{name}") } else { "/agents".to_owned() };
            Ok(see_done(app, typed, &page, "given-away"))
        }
        Ok(_) => Ok(see_done(app, typed, &format!("/agents/{name}/settings"), "changed")),
        Err(Trouble::Refused(refusal)) if refusal.is_for_the_form() => {
            super::show(app, name, "settings", &form.again(typed, &refusal), Some(refusal)).await
        }
        Err(trouble) => Err(trouble),
    }
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
        }
        "owner" => set("owner", typed.text("owner").into()),
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
            set("budget_cents", budget(typed)?);
            set("compute", json_of(typed, "compute")?);
            set("labels", label_lines(typed, "labels")?);
        }
    }
    Ok(body)
}

/// The field of a budget, in cents; null if it is empty.
pub(crate) fn budget(typed: &Form) -> Result<Json, Trouble> {
    match typed.text("budget") {
        "" => Ok(Json::Null),
        text => cents(text).map(Json::from).ok_or_else(|| {
            let fix = "An amount such as 200 or 12.50; empty for no limit.";
            Refusal::of_field("budget", "This is not an amount.", fix)
        }),
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

#[cfg(test)]
mod tests {
    use std::{cell::RefCell, rc::Rc};

    use serde_json::json;

    use super::*;
    use crate::testing::Visitor;

    /// R726: a ceiling by hand takes its preset from the agent, as the form says; where it is only wider, nothing has ended.
    #[tokio::test]
    async fn a_wider_ceiling_has_ended_nothing() {
        let visitor = Visitor::new(|method, path| {
            let agent = json!({
                "id": "agt_1", "name": "scout", "state": "running", "scope": ["agents.read"], "preset": "worker",
                "closure": if method == "PATCH" { json!({ "id": "cls_1" }) } else { json!(null) },
            });
            let body = match path {
                "/api/overview" => json!({ "caller": { "role": "admin", "scope": ["*"], "csrf_token": "c" } }),
                "/api/agents/scout" => agent,
                _ => json!({}),
            };
            (200, body)
        });
        let html = visitor.open("/agents/scout/settings").await.text;
        assert!(html.contains("the agent leaves its preset worker<"), "{html}");
        for (scope, ends) in [("agents.*", false), ("agents.read agents.list", false), ("agents.list", true)] {
            let sent = visitor.send("/agents/scout/settings", &[("form", "ceiling"), ("scope", scope)]).await;
            let to = sent.headers.get("location").unwrap().to_str().unwrap();
            assert_eq!(to.contains("closure="), ends, "{scope}: {to}");
        }
    }

    /// R724: an agent is given away by a form of its own, which says what ends, and not with its place.
    #[tokio::test]
    async fn an_agent_is_given_away_by_a_form_of_its_own() {
        for (sees, page) in [(true, "/agents/scout"), (false, "/agents")] {
            let asked: Rc<RefCell<Vec<String>>> = Rc::default();
            let seen = Rc::clone(&asked);
            let visitor = Visitor::new(move |method, path| {
                let agent =
                    json!({ "id": "agt_1", "name": "scout", "state": "running", "owner": { "email": "a@b.c" } });
                let is_given = !seen.borrow().is_empty();
                let body = match path {
                    "/api/overview" => json!({ "caller": { "role": "admin", "scope": ["*"], "csrf_token": "c" } }),
                    "/api/agents/scout" if method == "PATCH" => {
                        seen.borrow_mut().push(path.to_owned());
                        agent
                    }
                    "/api/agents/scout" if is_given && !sees => return (404, json!({ "error": "agent_not_found" })),
                    "/api/agents/scout" => agent,
                    _ => json!({}),
                };
                (200, body)
            });
            let html = visitor.open("/agents/scout/settings").await.text;
            let (_, form) = html.split_once("<summary>Give it away…</summary>").unwrap();
            assert!(form.contains("Their credentials, keys and secrets end"), "{form}");
            let fields = [("form", "place"), ("parent", ""), ("owner", "eve@example.com")];
            visitor.send("/agents/scout/settings", &fields).await;
            assert_eq!(asked.borrow_mut().drain(..).count(), 1);
            let given = visitor.send("/agents/scout/settings", &[("form", "owner"), ("owner", "e@b.c")]).await;
            assert_eq!(given.headers.get("location").unwrap(), &format!("{page}?done=given-away"));
        }
        let place = Form::of(&[("form", "place"), ("parent", "boss"), ("owner", "eve@example.com")]);
        assert_eq!(settings(&place).unwrap_or_default(), *json!({ "parent": "boss" }).as_object().unwrap());
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
        let read = |text: &str| label_lines(&Form::of(&[("labels", text)]), "labels");
        let all = json!({ "team": "support", "eu": "", "url": "https://a:1" });
        assert_eq!(read("team: support\n\n eu \nurl: https://a:1").unwrap_or_default(), all);
        // R442.
        assert!(read("team: support\n team : sales").is_err());
    }
}
