//! The verbs that are more than one route, or none.

mod logs;
mod mcp;
mod news;
mod receipt;
mod secrets;
mod skills;
mod stop;
mod update;
mod watch;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use clap::ArgMatches;
use common::{route, secret::Secret};
use serde_json::{Value as Json, json};

use crate::{
    again, closing,
    config::Url,
    context::Context,
    fail::{Exit, Failure},
    fix,
    http::Call,
    key::Key,
    line, login,
    pages::{items, list},
    run::{find, show_next},
    show,
    verbs::LookUp,
};

/// Between two attempts to reach a server that is away.
const PAUSE: Duration = Duration::from_secs(2);

/// Whether a server that is asked again and again is away. It is said once, and once that it is back.
#[derive(Default)]
struct Lost(bool);

impl Lost {
    fn say(&mut self, failure: &Failure) {
        if !std::mem::replace(&mut self.0, true) {
            show::say(&format!("{} Trying again.", failure.sentence));
        }
    }

    fn found(&mut self) {
        if std::mem::take(&mut self.0) {
            show::say("It answers again.");
        }
    }
}

/// Checks that a table of the doctor shows.
const CHECKS: &[(&str, &str)] = &[("CHECK", "requires"), ("STATUS", "status"), ("DETAIL", "detail")];

/// A verb that asks no server. `None`: it is another one.
pub(crate) fn offline(words: &str, typed: &ArgMatches) -> Option<Result<u8, Failure>> {
    Some(match words {
        "token check" => check(typed),
        "skills list" => skills::list(typed),
        "skills show" => skills::show(typed),
        "skills install" => skills::install(typed),
        "completions" => completions(typed),
        "man" => man(typed),
        _ => return None,
    })
}

/// A verb that asks one. `None`: it is of the table.
pub(crate) fn online(words: &str, context: &Context, typed: &ArgMatches) -> Option<Result<u8, Failure>> {
    Some(match words {
        "auth login" => login::login(context, typed),
        "auth enroll" => login::enroll(context, typed),
        "auth import-token" => login::import(context, typed),
        "auth status" => status(context, typed),
        "auth logout" => logout(context, typed),
        "agents tree" => tree(context),
        "agents watch" => watch::watch(context, typed),
        "agents logs" if typed.get_flag("follow") => logs::follow(context, typed),
        "access wait" => wait(context, typed),
        "secrets exec" => secrets::exec(context, typed),
        "secrets write" => secrets::write(context, typed),
        "secrets values" => return secrets::for_docker(context, typed),
        "mcp config" => mcp::config(context, typed),
        "doctor" => doctor(context, typed),
        "receipt verify" => receipt::verify(context, typed),
        "self update" => update::update(context, typed),
        _ => return None,
    })
}

/// `token check`: form and checksum.
fn check(typed: &ArgMatches) -> Result<u8, Failure> {
    let text = show::secret("Token")?;
    let is_json = typed.get_flag("json");
    match Secret::parse(text.trim()) {
        Some(secret) if is_json => {
            show::json(&json!({ "valid": true, "kind": secret.kind(), "prefix": secret.shown() }));
            Ok(0)
        }
        Some(secret) => {
            show::out(&format!("The form is right: a {} that begins with {}…", secret.kind().title(), secret.shown()));
            Ok(0)
        }
        None if is_json => {
            show::json(&json!({ "valid": false }));
            Ok(1)
        }
        None => Err(Failure::new(Exit::Refused, "This is no credential: prefix, length or checksum is wrong.")
            .fix("Copy the whole token, as it was issued: 57 characters that begin with acr_.")),
    }
}

fn completions(typed: &ArgMatches) -> Result<u8, Failure> {
    if let Some(shell) = typed.get_one::<clap_complete::Shell>("shell") {
        let mut text = Vec::new();
        clap_complete::generate(*shell, &mut line::command(), "accredit", &mut text);
        show::raw(&String::from_utf8_lossy(&text));
    }
    Ok(0)
}

/// `man`: the page of the program, or of one of its commands.
fn man(typed: &ArgMatches) -> Result<u8, Failure> {
    let mut command = line::command();
    command.build();
    for word in typed.get_many::<String>("words").into_iter().flatten() {
        let below = command.find_subcommand(word).cloned();
        command = below.ok_or_else(|| {
            let sentence = format!("{} has no command {}.", command.get_name(), show::line(word));
            Failure::usage(sentence).fix("accredit --help lists the commands.")
        })?;
    }
    let mut text = Vec::new();
    let name = command.get_display_name().unwrap_or("accredit").to_owned();
    let written = clap_mangen::Man::new(command.name(name)).render(&mut text);
    written.map_err(crate::fail::of_file("the manual page"))?;
    show::raw(&String::from_utf8_lossy(&text));
    Ok(0)
}

/// `auth status`.
fn status(context: &Context, typed: &ArgMatches) -> Result<u8, Failure> {
    let settings = &context.settings;
    let url = settings.server()?;
    let token = settings.token.as_ref().ok_or_else(|| Failure::no_credential(url.as_str()))?;
    if typed.get_flag("export") {
        settings.hand_out()?;
        // Nothing in either needs more than these quotes: an address has no quote, and a credential has letters, digits, - and _.
        show::out(&format!("export ACCREDIT_URL='{}' ACCREDIT_TOKEN='{}'", url.as_str(), token.reveal()));
        return Ok(0);
    }
    let who = context.client()?.call(route::WHOAMI, Call::default())?;
    if context.is_json {
        who.print();
        return Ok(0);
    }
    let from = match settings.is_from_environment {
        true => "ACCREDIT_TOKEN".to_owned(),
        false => settings.file()?.display().to_string(),
    };
    let facts = json!({
        "server": url.as_str(), "profile": settings.profile, "credential": format!("{} {}…", token.kind().title(), token.shown()),
        "key": settings.key_of_token().map(Key::thumbprint), "from": from, "ends": who.json.pointer("/credential/expires_at"), "person": who.json.get("email"),
        "role": who.json.get("role"), "agent": who.json.get("agent_name"), "tenant": who.json.get("tenant"),
    });
    show::out(&show::facts(&facts, &[]));
    Ok(0)
}

/// `auth logout`: ends the credential that is saved, and forgets it. One that has ended already is forgotten too.
fn logout(context: &Context, typed: &ArgMatches) -> Result<u8, Failure> {
    let settings = &context.settings;
    let mut closure = None;
    let is_kept = typed.get_flag("keep");
    // A credential that is forgotten here and lives on there would be thought to have ended.
    let named = settings.url.as_ref().map(Url::as_str);
    if let Some(other) = settings.elsewhere.as_deref().filter(|other| !is_kept && named != Some(*other)) {
        let profile = show::line(&settings.profile);
        let told =
            format!("The profile {profile} is signed in to {}, and that server was not named.", show::line(other));
        return Err(Failure::new(Exit::Refused, told).fix(
            "Sign out without --url and ACCREDIT_URL; or add --keep, which ends nothing and only forgets it here.",
        ));
    }
    if !is_kept && settings.token.is_some() {
        let client = context.client()?;
        match client.call(route::OWN_END, Call::default()) {
            Ok(answer) => closure = closing::of(&client, &answer),
            Err(failure) if failure.exit == Exit::Credential => {}
            Err(mut failure) => {
                if let (Exit::Unreachable, Some(fix), false) =
                    (failure.exit, failure.fix.clone(), settings.is_from_environment)
                {
                    failure.fix = Some(format!(
                        "{fix} If the server is gone, add --keep, which only forgets the credential here."
                    ));
                }
                return Err(failure);
            }
        }
    }
    let end = || closure.as_ref().map_or((), |closure| show::out(&closing::in_words(closure)));
    if settings.is_from_environment && is_kept {
        show::out("Nothing is saved for it: unset ACCREDIT_TOKEN, which still works.");
        return Ok(0);
    }
    if settings.is_from_environment {
        show::out("Ended. Unset ACCREDIT_TOKEN: it no longer works.");
        if settings.is_saved_too {
            let profile = show::line(&settings.profile);
            show::say(&format!("The profile {profile} is still signed in: run this again without ACCREDIT_TOKEN."));
        }
        end();
        return Ok(0);
    }
    match settings.forget()? {
        true => show::out("Signed out."),
        false => show::out("You were not signed in."),
    }
    end();
    Ok(0)
}

/// `agents tree`: all that the caller may read, each below the one above it.
fn tree(context: &Context) -> Result<u8, Failure> {
    let client = context.client()?.signed_in()?;
    let agents = items(&client, route::AGENTS_LIST, &[], usize::MAX)?;
    if context.is_json {
        show::json(&json!({ "items": agents }));
        return Ok(0);
    }
    for text in lines_of_tree(&agents) {
        show::out(&text);
    }
    Ok(0)
}

fn lines_of_tree(agents: &[Json]) -> Vec<String> {
    let text = |agent: &Json, name: &str| agent.get(name).and_then(Json::as_str).unwrap_or_default().to_owned();
    // A parent is an id and a name, or the name alone.
    let parent = |agent: &Json| {
        let parent = agent.get("parent")?;
        parent.get("name").unwrap_or(parent).as_str().map(str::to_owned)
    };
    let names: BTreeSet<String> = agents.iter().map(|agent| text(agent, "name")).collect();
    let mut below: BTreeMap<String, Vec<&Json>> = BTreeMap::new();
    for agent in agents {
        // One whose parent the caller may not read stands at the top.
        let parent = parent(agent).filter(|parent| names.contains(parent)).unwrap_or_default();
        below.entry(parent).or_default().push(agent);
    }
    let mut lines = Vec::new();
    let mut left: Vec<(usize, &Json)> =
        below.remove("").unwrap_or_default().into_iter().rev().map(|agent| (0, agent)).collect();
    while let Some((depth, agent)) = left.pop() {
        let name = text(agent, "name");
        lines.push(format!("{}{}  {}", "  ".repeat(depth), show::line(&name), show::line(&text(agent, "state"))));
        left.extend(below.remove(&name).unwrap_or_default().into_iter().rev().map(|agent| (depth + 1, agent)));
    }
    lines
}

/// `access wait`: 0 if it was approved, 1 if it was decided otherwise.
fn wait(context: &Context, typed: &ArgMatches) -> Result<u8, Failure> {
    let client = context.client()?.signed_in()?;
    let look_up = LookUp { route: route::ACCESS_LIST, prefix: "acc_" };
    let id = find(&client, look_up, &[], typed.get_one::<String>("id").map_or("", String::as_str))?;
    let spinner = show::spinner("Waiting for the decision");
    let (mut is_known, mut lost) = (false, Lost::default());
    let answer = loop {
        // The first look says whether there is such a request, and that the server is there.
        let query = is_known.then(|| ("wait".to_owned(), "25".to_owned())).into_iter().collect();
        let call = Call { names: vec![id.clone()], query, ..Call::default() };
        let answer = match client.call(route::ACCESS_GET, call) {
            Ok(answer) => answer,
            // A decision may take days, in which a server is restarted.
            Err(failure) if is_known && failure.passes() => {
                spinner.suspend(|| lost.say(&failure));
                std::thread::sleep(PAUSE);
                continue;
            }
            Err(failure) => return Err(failure),
        };
        spinner.suspend(|| lost.found());
        is_known = true;
        if answer.json.get("state").and_then(Json::as_str) != Some("open") {
            break answer;
        }
    };
    spinner.finish_and_clear();
    if context.is_json {
        answer.print();
    } else {
        show::out(&show::facts(&answer.json, &["next"]));
        show_next(&answer.json);
    }
    Ok(u8::from(answer.json.get("state").and_then(Json::as_str) != Some("approved")))
}

/// `doctor`: 0 if nothing is wrong, 1 if something is, 2 without a live credential, 3 without a server.
fn doctor(context: &Context, typed: &ArgMatches) -> Result<u8, Failure> {
    let client = context.client()?;
    if client.token().is_none() {
        client.call(route::READYZ, Call::default())?;
        return Err(Failure::credential(format!(
            "{} is well, but there is no credential for it.",
            client.url.as_str()
        )));
    }
    let expect: Vec<&str> = typed.get_many::<String>("expect").into_iter().flatten().map(String::as_str).collect();
    let query = if expect.is_empty() { Vec::new() } else { vec![("expect".to_owned(), expect.join(","))] };
    let answer = client.call(route::DOCTOR, Call { query, ..Call::default() })?;
    let is_well = answer.json.get("overall").and_then(Json::as_str) != Some("fail");
    if context.is_json {
        answer.print();
        return Ok(u8::from(!is_well));
    }
    let checks = list(&answer.json, "checks");
    show::out(&show::table(checks, CHECKS));
    for fix in checks.iter().filter_map(|check| check.get("fix")?.as_str()) {
        show::say(&format!("fix: {}", again::told(&fix::in_commands(&show::line(fix)))));
    }
    Ok(u8::from(!is_well))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agents_stand_below_their_parents() {
        let agents = [
            json!({ "name": "b", "state": "running", "parent": { "id": "agt_1", "name": "a" } }),
            json!({ "name": "a", "state": "running", "parent": null }),
            json!({ "name": "c", "state": "paused", "parent": { "id": "agt_2", "name": "b" } }),
            json!({ "name": "d", "state": "stopped", "parent": { "id": "agt_9", "name": "unseen" } }),
        ];
        assert_eq!(lines_of_tree(&agents), ["a  running", "  b  running", "    c  paused", "d  stopped"]);
    }
}
