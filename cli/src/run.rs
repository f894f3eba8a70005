//! A verb of the table: from what was typed to the request, and from the answer to what a person sees.

use std::io::Read as _;

use clap::{ArgMatches, parser::ValueSource};
use common::{
    id::is_id,
    route::{self, Access, Media, Query, Route},
    secret::Kind as SecretKind,
};
use serde_json::{Map, Value as Json, json};

use crate::{
    again, closing,
    context::Context,
    fail::{Exit, Failure},
    fix,
    http::{Answer, Call, Client},
    line::{input_id, path_id},
    login,
    pages::{self, Pages, items, list},
    show,
    span::{self, Unit},
    successor,
    verbs::{self, At, Input, Kind, LookUp, Show, Verb},
    words,
};

/// Items of a list that a short name is looked up among.
const MOST_LOOKED_UP: usize = 2_000;
/// What ends a secret that was made, where the same command would make one beside it.
const ENDS: &[(&Route, &str)] = &[
    (route::PATS_CREATE, "token revoke {id}"),
    (route::PATS_ROTATE, "token revoke {id}"),
    (route::AGENTS_CREATE, "agents token revoke {name}"),
    (route::KEYS_CREATE, "agents keys delete {name} {id}"),
    (route::ENROLMENT_CREATE, "agents enrol-end {name}"),
    (route::WEBHOOKS_CREATE, "admin webhooks delete {id}"),
];
/// What the prefix of each credential begins with.
const CREDENTIAL: &str = "acr_";

/// Runs a verb; returns the exit status.
pub(crate) fn run(context: &Context, verb: &Verb, typed: &ArgMatches) -> Result<u8, Failure> {
    let mut client = context.client()?;
    if verb.route.access != Access::Public {
        client = client.signed_in()?;
    }
    is_somebody(&client, verb, typed)?;
    let (names, several) = names(&client, verb, typed)?;
    let query = query(verb, typed)?;
    let body = body(verb, typed)?;
    if let Some(question) = question(verb, typed, &names, body.as_ref()) {
        context.make_sure(&question)?;
    }
    if let Some(session) = login::session_for(context, &client, verb.route)? {
        client = client.with(session);
    }
    if let (Some(route), true) = (verb.bulk, several.len() > 1) {
        let all = bulk(context, &client, route, &several, body.unwrap_or_default());
        return all.map_err(|failure| fix::in_options(verb, failure));
    }
    if let Some(most) = pages::wanted(verb, typed) {
        let pages = Pages::new(&client, verb.route, &names, query, most);
        return pages::print(pages, verb, context.is_json)
            .map(|()| 0)
            .map_err(|failure| fix::in_options(verb, failure));
    }
    let body = body.filter(|_| !matches!(verb.route.method, "GET" | "DELETE"));
    let sent = body.clone().unwrap_or_default();
    let call = match (verb.route.media, body) {
        (Media::Form, Some(fields)) => {
            let text = |value: Json| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            let fields =
                verb.inputs.iter().filter_map(|input| Some((input.name, text(fields.get(input.name)?.clone()))));
            Call { names: names.clone(), query, form: Some(fields.collect()), ..Call::default() }
        }
        (_, body) => Call { names: names.clone(), query, body: body.map(Json::Object), ..Call::default() },
    };
    let answer = client.call(verb.route, call).map_err(|failure| fix::in_options(verb, failure))?;
    for (typed, stored) in renamed(&sent, &answer.json) {
        show::say(&format!("Registered as {}, not as {}.", show::line(stored), show::line(typed)));
    }
    let closure = closing::of(&client, &answer);
    let shown = show_secret(context, verb, typed, &names, &answer);
    if context.is_json {
        if shown.is_none() {
            answer.print();
        }
        pages::hint(&answer.json, true);
        match &closure {
            Some(closure) if answer.text.is_empty() => show::json(&json!({ "closure": closure })),
            Some(closure) if answer.json.get("closure").is_none() => show::say(&closing::in_words(closure)),
            _ => {}
        }
    } else {
        if !matches!(shown, Some(Err(_))) {
            show_answer(verb, typed, &names, &answer);
        }
        if let Some(closure) = &closure {
            let line = closing::in_words(closure);
            // Beside a secret, which may be all that a pipe is for.
            match verb.show {
                Show::Secret(_) => show::say(&line),
                _ => show::out(&line),
            }
        }
    }
    // The secret was shown before: one that cannot be saved is not lost.
    if !typed.try_contains_id("dpop_jkt").unwrap_or_default() {
        successor::keep(context, &client, verb, &names, &answer)?;
    }
    shown.unwrap_or(Ok(()))?;
    Ok(u8::from(has_failed(verb.route, &answer.json)))
}

/// Whether the answer says no: what was asked is not allowed, or a probe found something wrong.
fn has_failed(route: &Route, answer: &Json) -> bool {
    let is_probed = route == route::PROBES_RUN;
    let found = answer.get("status").and_then(Json::as_str).filter(|_| is_probed);
    answer.get("allowed") == Some(&Json::Bool(false)) || found.is_some_and(|status| status != "ok")
}

/// Names that the server has stored otherwise than they were typed, with what it stored: an agent's name is made of what was typed, and
/// gets a number behind it if it is taken.
fn renamed<'t>(sent: &'t Map<String, Json>, answer: &'t Json) -> Vec<(&'t str, &'t str)> {
    let name = |one: &'t Json| one.get("name").and_then(Json::as_str).map(str::trim);
    let stored = ["name", "agent_name"].into_iter().find_map(|member| answer.get(member)?.as_str());
    let stored = stored.or_else(|| answer.get("agent").and_then(name));
    let one = sent.get("name").and_then(Json::as_str).map(str::trim).zip(stored);
    let documents = sent.get("agents").and_then(Json::as_array).into_iter().flatten();
    let several = documents.zip(list(answer, "agents")).filter_map(|(sent, stored)| name(sent).zip(name(stored)));
    one.into_iter().chain(several).filter(|(typed, stored)| typed != stored).collect()
}

/// Refuses to take a person for the agent that nobody has named.
pub(crate) fn is_somebody(client: &Client, verb: &Verb, typed: &ArgMatches) -> Result<(), Failure> {
    let is_person = client.token().is_some_and(|token| matches!(token.kind(), SecretKind::Session | SecretKind::Pat));
    let is_left_out = |name| typed.value_source(&path_id(name)) == Some(ValueSource::DefaultValue);
    if !verb.is_about_me || !is_person || !verb.names().any(is_left_out) {
        return Ok(());
    }
    let option = if verb.inputs.iter().any(|input| input.is_positional) { "--agent NAME" } else { "NAME" };
    Err(Failure::usage("Which agent? Left out, it is the agent that asks, and you are a person.")
        .fix(format!("Name it: accredit {} {option}. accredit agents list lists them.", verb.words)))
}

/// What the names in the path stand for; and all that were typed for the last one, where several may be.
fn names(client: &Client, verb: &Verb, typed: &ArgMatches) -> Result<(Vec<String>, Vec<String>), Failure> {
    let (mut names, mut several) = (Vec::new(), Vec::new());
    for name in verb.names() {
        let all: Vec<String> = typed.get_many::<String>(&path_id(name)).into_iter().flatten().cloned().collect();
        let first = all.first().cloned().unwrap_or_default();
        if first.trim().is_empty() {
            return Err(Failure::usage(format!("{} is empty.", name.to_uppercase())));
        }
        let found = match verb.look_up.filter(|_| name == "id") {
            Some(look_up) => find(client, look_up, &names, &first)?,
            None => first,
        };
        names.push(found);
        several = all;
    }
    Ok((names, several))
}

/// The id that was meant: an id as it is, the first letters of one, a name or an address. What is not found is left to the server.
pub(crate) fn find(client: &Client, look_up: LookUp, above: &[String], typed: &str) -> Result<String, Failure> {
    if is_id(typed, &[look_up.prefix]) {
        return Ok(typed.to_owned());
    }
    let above: Vec<String> = above.iter().take(look_up.route.path.matches('{').count()).cloned().collect();
    match items(client, look_up.route, &above, MOST_LOOKED_UP) {
        Ok(items) => choose(&items, look_up.prefix, typed),
        // A caller that may not see the list can still know the id.
        Err(refusal) if refusal.exit == Exit::Refused => Ok(typed.to_owned()),
        Err(failure) => Err(failure),
    }
}

/// The one item that a short name means. Several are named, and none of them is taken. What has the form of an id, of a prefix or of an
/// address is one: somebody may have named something of theirs like it.
fn choose(items: &[Json], prefix: &str, typed: &str) -> Result<String, Failure> {
    let text = |item: &Json, name: &str| item.get(name).and_then(Json::as_str).unwrap_or_default().to_owned();
    let has_address = |item: &Json| ["email", "user_email"].iter().any(|name| item.get(name).is_some());
    let named: &[&str] = match typed.get(..4).map(str::to_ascii_lowercase) {
        Some(begin) if begin == prefix || begin == CREDENTIAL => &["id"],
        _ if typed.contains('@') && items.iter().any(has_address) => &["email", "user_email"],
        _ => &["id", "name", "email", "user_email"],
    };
    let is_exact = |item: &&Json| named.iter().any(|name| text(item, name).eq_ignore_ascii_case(typed));
    let begins = |item: &&Json| ["id", "prefix"].iter().any(|name| text(item, name).starts_with(typed));
    let mut found: Vec<&Json> = items.iter().filter(is_exact).collect();
    let mut is_known = true;
    if found.is_empty() {
        found = items.iter().filter(begins).collect();
        // What all ids or prefixes of a kind begin with names none of them, also where there is only one.
        is_known = typed.len() > if typed.starts_with(CREDENTIAL) { "acr_pat_".len() } else { prefix.len() };
    }
    // A name of something that has ended may have been used again.
    let is_live = |item: &&Json| !matches!(text(item, "status").as_str(), "revoked" | "expired");
    if found.iter().any(is_live) {
        found.retain(is_live);
    }
    match found.as_slice() {
        [] => Ok(typed.to_owned()),
        [one] if is_known => Ok(text(one, "id")),
        several => {
            let why = if is_known { "can mean several" } else { "is the name of none, and too short for an id" };
            let mut failure = Failure::usage(format!("{} {why}.", show::line(typed))).fix("Type an id instead.");
            let shown = |item: &&Json| {
                let name = ["email", "name", "title", "reason", "prefix"]
                    .iter()
                    .map(|name| text(item, name))
                    .find(|name| !name.is_empty());
                let words = [text(item, "id"), name.unwrap_or_default(), text(item, "type"), text(item, "prefix")];
                let mut words: Vec<String> = words.iter().map(|word| show::line(word)).collect();
                words.retain(|word| !word.is_empty());
                words.dedup();
                words.join("  ")
            };
            failure.lines = several.iter().take(20).map(shown).collect();
            Err(failure)
        }
    }
}

pub(crate) fn query(verb: &Verb, typed: &ArgMatches) -> Result<Vec<(String, String)>, Failure> {
    let Query::Only(known) = verb.route.query else { return Ok(Vec::new()) };
    let mut query = Vec::new();
    for name in known {
        if let Some(limit) = pages::limit(typed).filter(|_| *name == "limit") {
            query.push(("limit".to_owned(), limit.to_string()));
            continue;
        }
        let Some(text) = typed.try_get_one::<String>(name).ok().flatten() else { continue };
        let option = format!("--{}", verbs::long(name));
        // A script whose variable is unset would get, and go on with, everybody's.
        if text.trim().is_empty() {
            return Err(Failure::usage(format!("{option} is empty.")).fix("Leave it out to get all."));
        }
        // What is typed for no parent elsewhere; here it would be an agent's name.
        if *name == "parent" && text == "none" {
            return Err(Failure::usage("--parent none names no agent.")
                .fix("accredit agents tree shows the agents without a parent at its left edge."));
        }
        let value = match *name {
            "since" | "until" | "unused_since" => moment(&option, text)?,
            "wait" => span::lasts(&option, text, Unit::Seconds, None, span::now())?.to_string(),
            _ => text.clone(),
        };
        query.push(((*name).to_owned(), value));
    }
    Ok(query)
}

/// A moment as the server takes it.
fn moment(option: &str, text: &str) -> Result<String, Failure> {
    span::when(option, text, span::now()).map(|at| at.to_string())
}

/// The fields of the body. `None`: the verb has none, and the route none that must be sent.
fn body(verb: &Verb, typed: &ArgMatches) -> Result<Option<Map<String, Json>>, Failure> {
    let mut fields = Map::new();
    for input in verb.inputs.iter().filter(|input| input.at == At::Body) {
        match field(input, typed)? {
            Some(Json::Object(several)) if matches!(input.kind, Kind::File | Kind::Life) => fields.extend(several),
            Some(value) => drop(fields.insert(input.name.to_owned(), value)),
            None => {}
        }
    }
    let is_needed = verb.inputs.iter().any(|input| input.at == At::Body);
    Ok((is_needed || !fields.is_empty()).then_some(fields))
}

fn field(input: &Input, typed: &ArgMatches) -> Result<Option<Json>, Failure> {
    let id = input_id(input);
    let text = || typed.get_one::<String>(id).map(String::as_str);
    let all = || typed.get_many::<String>(id).map(|all| all.map(|one| one.trim()).filter(|one| !one.is_empty()));
    let flag = input.long();
    let is_null = |text: &str| input.null.is_some_and(|null| text == null);
    Ok(match input.kind {
        Kind::Text => text().map(|text| match is_null(text) || (input.null.is_some() && text.is_empty()) {
            true => Json::Null,
            false => Json::from(text),
        }),
        Kind::Number => typed.get_one::<Json>(id).cloned(),
        Kind::Words if input.null.is_some() && all().is_some_and(|words| words.eq(input.null)) => Some(Json::Null),
        Kind::Lasts(unit) => text()
            .map(|text| match is_null(text) {
                true => Ok(Json::Null),
                false => span::lasts(&format!("--{flag}"), text, unit, input.null, span::now()).map(Json::from),
            })
            .transpose()?,
        Kind::Life => text()
            .map(|text| match is_null(text) {
                true => Ok(json!({ input.name: null })),
                false => span::life(&format!("--{flag}"), text, input.null, span::now())
                    .map(|(field, number)| json!({ field: number })),
            })
            .transpose()?,
        Kind::When => text().map(|text| moment(&input.name.to_uppercase(), text)).transpose()?.map(Json::from),
        Kind::No => typed.get_flag(id).then_some(Json::Bool(false)),
        Kind::Words => all().map(|words| words.flat_map(str::split_whitespace).map(Json::from).collect()),
        Kind::Texts => all().map(|texts| texts.map(Json::from).collect()),
        Kind::Pairs if input.null.is_some() && all().is_some_and(|pairs| pairs.eq(input.null)) => Some(json!({})),
        Kind::Pairs => all().map(|pairs| read_pairs(&flag, pairs)).transpose()?,
        Kind::Data | Kind::Truth => text().map(|text| read_json(&format!("--{flag}"), text)).transpose()?,
        Kind::Secret if text().is_some() || input.is_required => {
            Some(show::secret(words::short(input.route, input.name))?.into())
        }
        Kind::SecretText if text().is_some() || input.is_required => {
            Some(show::secret_text(words::short(input.route, input.name))?.into())
        }
        Kind::Secret | Kind::SecretText => None,
        Kind::File | Kind::Object => text().map(read_file).transpose()?,
    })
}

fn read_pairs<'t>(flag: &str, pairs: impl Iterator<Item = &'t str>) -> Result<Json, Failure> {
    let mut read = Map::new();
    for pair in pairs {
        let wrong = || Failure::usage(format!("{} is no name=value for --{flag}.", show::line(pair)));
        let (name, value) = pair.split_once('=').ok_or_else(wrong)?;
        if read.insert(name.to_owned(), value.into()).is_some() {
            let fix = "Write each name once.";
            return Err(Failure::usage(format!("--{flag} has {} twice.", show::line(name))).fix(fix));
        }
    }
    Ok(read.into())
}

/// Reads JSON of which nothing is dropped.
fn read_json(from: &str, text: &str) -> Result<Json, Failure> {
    common::json::parse_strict(text).map_err(|error| {
        Failure::usage(match error.is_data() {
            true => format!("{from} has a member twice: {}", show::line(&error.to_string())),
            false => format!("{from} is no JSON: {error}"),
        })
    })
}

fn read_file(path: &str) -> Result<Json, Failure> {
    let mut text = String::new();
    match path {
        "-" => std::io::stdin().lock().read_to_string(&mut text).map(drop),
        path => std::fs::read_to_string(path).map(|read| text = read),
    }
    .map_err(|error| Failure::usage(format!("{path}: {error}")))?;
    let json = read_json(path, show::unmarked(&text))?;
    if json.is_object() { Ok(json) } else { Err(Failure::usage(format!("{path} is no JSON object."))) }
}

/// The question before the verb. `None`: it does nothing that cannot be undone.
fn question(verb: &Verb, typed: &ArgMatches, names: &[String], body: Option<&Map<String, Json>>) -> Option<String> {
    let is_asked = verb.asks_with.is_none_or(|field| body.is_some_and(|body| body.contains_key(field)));
    let question = verb.asks.filter(|_| is_asked)?;
    Some(filled(question, verb, typed, &told(verb, typed, names)))
}

/// The names of a question: each as it was typed, with the id that it was found to be.
fn told(verb: &Verb, typed: &ArgMatches, names: &[String]) -> Vec<String> {
    let told = |(name, found): (&str, &String)| match typed.get_one::<String>(&path_id(name)) {
        Some(typed) if !found.starts_with(typed.as_str()) => format!("{typed} ({found})"),
        _ => found.clone(),
    };
    verb.names().zip(names).map(told).collect()
}

/// A sentence with what was typed.
fn filled(sentence: &str, verb: &Verb, typed: &ArgMatches, names: &[String]) -> String {
    let mut text = sentence.to_owned();
    for (name, value) in verb.names().zip(names) {
        text = text.replace(&format!("{{{name}}}"), &show::line(value));
    }
    for input in &verb.inputs {
        if let Some(value) = typed.try_get_one::<String>(input.name).ok().flatten() {
            text = text.replace(&format!("{{{}}}", input.name), &show::line(value));
        }
    }
    text
}

/// Several agents at once, each decided by itself.
fn bulk(
    context: &Context,
    client: &Client,
    route: &'static Route,
    names: &[String],
    mut body: Map<String, Json>,
) -> Result<u8, Failure> {
    body.insert("names".to_owned(), json!(names));
    let answer = client.call(route, Call { body: Some(Json::Object(body)), ..Call::default() });
    // Where none was changed, each says why.
    let of_each = |failure: Failure| match failure.answer.clone() {
        Some(json) if failure.slug() == "none_changed" && !context.is_json => {
            Ok(Answer { text: String::new(), json, tag: None, closure: None, is_known: false })
        }
        _ => Err(failure),
    };
    let answer = answer.or_else(of_each)?;
    let members = |name: &str| answer.json.get(name).and_then(Json::as_object).into_iter().flatten();
    // Steps are one list; enrolment has one for each outcome.
    let results = members("results").map(|(name, result)| (name, result, result.get("ok") == Some(&Json::Bool(true))));
    let issued = members("issued").map(|(name, result)| (name, result, true));
    let failed = members("failed").map(|(name, result)| (name, result, false));
    let all: Vec<(&String, &Json, bool)> = results.chain(issued).chain(failed).collect();
    let has_failed = u8::from(all.iter().any(|(_, _, is_ok)| !is_ok));
    if context.is_json {
        answer.print();
        return Ok(has_failed);
    }
    for (name, result, is_ok) in all {
        let texts = ["code", "state", "detail", "fix"].map(|member| result.get(member).and_then(Json::as_str));
        let [code, state, detail, fix] = texts.map(|text| text.map(show::line).unwrap_or_default());
        let name = show::line(name);
        match is_ok {
            true => show::out(&format!("{name}  {code}{state}")),
            false => {
                show::say(&format!("{name}  {detail}"));
                let fix = again::told(&fix::in_commands(&fix));
                show::say(&format!("{:1$}  fix: {2}", "", name.chars().count(), fix));
            }
        }
    }
    for (name, _) in members("skipped") {
        show::say(&format!("{}  skipped: it has a live token", show::line(name)));
    }
    if let Some(closure) = closing::of(client, &answer) {
        show::out(&closing::in_words(&closure));
    }
    Ok(has_failed)
}

fn show_answer(verb: &Verb, typed: &ArgMatches, names: &[String], answer: &Answer) {
    let json = &answer.json;
    match verb.show {
        Show::Plain => answer.print(),
        Show::Done(sentence) => show::out(&filled(sentence, verb, typed, names)),
        Show::Log => {
            if list(json, "lines").is_empty() {
                show::say("There is nothing.");
            }
            // The newest are read last, just above the prompt.
            let more = json.get("more") == Some(&Json::Bool(true));
            let is_ahead = typed.try_contains_id("after").unwrap_or_default();
            let edge = if is_ahead { list(json, "lines").last() } else { list(json, "lines").first() };
            for line in list(json, "lines") {
                show::out(&log_line(line));
            }
            if let Some(seq) = edge.filter(|_| more).and_then(|line| line.get("seq")) {
                show::say(&match is_ahead {
                    true => format!("There are newer lines: add --after {seq}."),
                    false => format!("There are older lines: add --lines up to 1000, or --before {seq}."),
                });
            }
        }
        Show::Table(member, columns) => {
            if let Some(Json::Bool(allowed)) = json.get("allowed") {
                show::out(if *allowed { "Yes." } else { "No." });
            }
            match list(json, member) {
                [] => show::say("There is nothing."),
                rows => show::out(&show::table(rows, columns)),
            }
            pages::hint(json, false);
        }
        // What was mailed in its place.
        Show::Secret(_) if json.is_null() => show::say("Done."),
        // It was shown before.
        Show::Secret(_) if typed.get_flag("raw") => {
            warn(json);
            return;
        }
        Show::Secret(member) if json.get(member).is_some_and(Json::is_string) => {
            show::say("Copy it now: it is shown this once.");
        }
        Show::Secret(member) => show::out(&show::facts(json, &[member, "warnings", "closure"])),
        Show::Facts => show::out(&show::facts(json, &["warnings", "csrf_token", "next", "closure"])),
    }
    show_next(json);
    warn(json);
}

/// Shows the answer with a secret, which nobody can read again. `None`: there is none. The error says what was made, and how to end it.
fn show_secret(
    context: &Context,
    verb: &Verb,
    typed: &ArgMatches,
    names: &[String],
    answer: &Answer,
) -> Option<Result<(), Failure>> {
    let Show::Secret(member) = verb.show else { return None };
    let secret = show::line(answer.json.get(member)?.as_str()?);
    let text = match () {
        () if context.is_json => answer.text.trim_end_matches('\n').to_owned(),
        () if typed.get_flag("raw") => secret,
        () => format!("{}\n\n{secret}", show::facts(&answer.json, &[member, "warnings", "closure"])),
    };
    Some(show::once(&text).map_err(|error| lost(verb, names, &answer.json, &error)))
}

/// A secret that was made, and that could not be written.
fn lost(verb: &Verb, names: &[String], answer: &Json, error: &std::io::Error) -> Failure {
    let text = |names: &[&str]| names.iter().find_map(|name| answer.pointer(name)?.as_str()).map(show::line);
    let made = text(&["/prefix", "/token/prefix"]).map(|prefix| format!("{prefix}…"));
    let made = made.or_else(|| text(&["/id", "/agent_name"])).map(|made| format!(" of {made}")).unwrap_or_default();
    let failure = Failure::new(
        Exit::Refused,
        format!("standard output: {error}. The secret{made} was made all the same, and cannot be read again."),
    );
    let end = ENDS.iter().find(|(route, _)| *route == verb.route).map(|(_, end)| {
        let name = verb.names().zip(names).find(|(name, _)| *name == "name").map(|(_, name)| name.clone());
        let name = name.or_else(|| text(&["/name"])).unwrap_or_default();
        end.replace("{name}", &name).replace("{id}", &text(&["/id"]).unwrap_or_default())
    });
    failure.fix(end.map_or_else(
        || "Run the same command again: another one takes its place.".to_owned(),
        |end| format!("End it: accredit {end}"),
    ))
}

/// What the answer warns of.
fn warn(answer: &Json) {
    for warning in list(answer, "warnings").iter().filter_map(Json::as_str) {
        show::warn(&again::told(&fix::in_commands(&show::line(warning))));
    }
}

/// A line of a log.
pub(crate) fn log_line(line: &Json) -> String {
    let text = |member: &str| line.get(member).and_then(Json::as_str).map(show::line).unwrap_or_default();
    format!("{} {:<5} {}", text("at"), text("level"), text("text"))
}

/// What to do now, on a line of its own: a command in it is pasted.
pub(crate) fn show_next(json: &Json) {
    if let Some(next) = json.get("next").and_then(Json::as_str) {
        show::out(&format!("next: {}", again::told(&fix::in_commands(&show::line(next)))));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// R615: what a probe finds is the outcome of the command, as a decision is.
    #[test]
    fn a_probe_that_finds_something_wrong_fails() {
        for (route, answer, failed) in [
            (route::PROBES_RUN, json!({ "status": "ok" }), false),
            (route::PROBES_RUN, json!({ "status": "unreachable" }), true),
            (route::PROBES_RUN, json!({ "status": "missing_secret" }), true),
            (route::DEPLOY_STATUS, json!({ "status": "failed" }), false),
            (route::CAN, json!({ "allowed": false }), true),
        ] {
            assert_eq!(has_failed(route, &answer), failed, "{} {answer}", route.path);
        }
    }

    /// R653: what cannot be undone asks, also where one field alone makes it so; and the question has what was typed.
    #[test]
    fn what_cannot_be_undone_asks() {
        let asked = |line: &str, found: &str| {
            let matches = crate::line::command().try_get_matches_from(line.split(' ')).unwrap();
            let (words, typed) = crate::line::typed(&matches);
            let verbs = verbs::all();
            let verb = verbs.iter().find(|verb| verb.words == words).unwrap();
            question(verb, typed, &[found.to_owned()], body(verb, typed).unwrap().as_ref())
        };
        for (line, found, expected) in [
            (
                "accredit agents update scout --owner bo@a.example",
                "scout",
                Some("Give scout and all agents below it to bo@a.example? Their credentials end."),
            ),
            ("accredit agents update scout --model m", "scout", None),
            (
                "accredit agents replace scout --model m",
                "scout",
                Some("Replace all settings of scout? What is left out is reset."),
            ),
            (
                "accredit admin clients rotate cli_1",
                "cli_1",
                Some("Replace the secret of the client cli_1? The one before ends at once."),
            ),
            (
                "accredit admin users delete bo@a.example",
                "usr_01aaaa",
                Some("Delete the user bo@a.example (usr_01aaaa)?"),
            ),
            ("accredit admin users delete usr_01a", "usr_01aaaa", Some("Delete the user usr_01aaaa?")),
        ] {
            assert_eq!(asked(line, found).as_deref(), expected, "{line}");
        }
    }

    #[test]
    fn a_short_name_means_one_or_none() {
        let items = [
            json!({ "id": "tok_01aaaa", "name": "laptop", "prefix": "acr_pat_AAAA", "status": "revoked" }),
            json!({ "id": "tok_01bbbb", "name": "laptop", "prefix": "acr_pat_BBBB", "status": "active" }),
            json!({ "id": "tok_01cccc", "name": "ci", "prefix": "acr_pat_CCCC", "status": "active" }),
            json!({ "id": "tok_01dddd", "name": "ci", "prefix": "acr_pat_DDDD", "status": "active" }),
        ];
        for (typed, id) in
            [("laptop", "tok_01bbbb"), ("tok_01c", "tok_01cccc"), ("acr_pat_D", "tok_01dddd"), ("none", "none")]
        {
            assert_eq!(choose(&items, "tok_", typed).unwrap(), id, "{typed}");
        }
        for typed in ["ci", "tok_01", "acr_pat_"] {
            let failure = choose(&items, "tok_", typed).unwrap_err();
            assert_eq!(failure.exit, Exit::Usage);
            assert!(failure.lines.iter().any(|line| line.starts_with("tok_01cccc")), "{failure:?}");
        }
        // R660: two of one name are told apart.
        let lines = choose(&items, "tok_", "ci").unwrap_err().lines.clone();
        assert_eq!(lines, ["tok_01cccc  ci  acr_pat_CCCC", "tok_01dddd  ci  acr_pat_DDDD"]);
        let key = |id, of| json!({ "id": id, "name": "db", "type": of, "prefix": null });
        let lines =
            choose(&[key("key_01a", "internal"), key("key_01b", "provider")], "key_", "db").unwrap_err().lines.clone();
        assert_eq!(lines, ["key_01a  db  internal", "key_01b  db  provider"]);
    }

    /// R660: of a secret that is lost it is said what was made, and how to end it.
    #[test]
    fn a_secret_that_is_lost_can_be_ended() {
        let error = std::io::Error::from(std::io::ErrorKind::StorageFull);
        let verbs = verbs::all();
        let told = |words: &str, names: &[&str], answer: Json| {
            let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            let failure = lost(verbs.iter().find(|verb| verb.words == words).unwrap(), &names, &answer, &error);
            (failure.sentence.clone(), failure.fix.clone().unwrap())
        };
        let (sentence, fix) = told("token create", &[], json!({ "id": "tok_1", "prefix": "acr_pat_A", "token": "x" }));
        assert!(sentence.contains("The secret of acr_pat_A… was made"), "{sentence}");
        assert_eq!(fix, "End it: accredit token revoke tok_1");
        for (words, names, answer, expected) in [
            ("token rotate", &["tok_1"][..], json!({ "id": "tok_2" }), "End it: accredit token revoke tok_2"),
            ("agents create", &[], json!({ "id": "agt_1", "name": "bot" }), "End it: accredit agents token revoke bot"),
            (
                "agents keys create",
                &["bot"],
                json!({ "id": "key_1", "name": "k" }),
                "End it: accredit agents keys delete bot key_1",
            ),
            ("agents enrol", &["bot"], json!({ "code": "x" }), "End it: accredit agents enrol-end bot"),
            ("agents token issue", &["bot"], json!({}), "Run the same command again: another one takes its place."),
        ] {
            assert_eq!(told(words, names, answer).1, expected, "{words}");
        }
    }

    /// R551: a name that is mistyped is not taken for the one thing whose id begins so.
    #[test]
    fn what_all_ids_begin_with_means_none() {
        let one = [json!({ "id": "tok_01aaaa", "name": "ci", "prefix": "acr_pat_AAAA", "status": "active" })];
        for typed in ["t", "tok_", "a", "acr", "acr_", "acr_pat_"] {
            let failure = choose(&one, "tok_", typed).unwrap_err();
            assert!(failure.exit == Exit::Usage && failure.sentence.contains("too short"), "{failure:?}");
        }
        for typed in ["ci", "CI", "tok_0", "acr_pat_A"] {
            assert_eq!(choose(&one, "tok_", typed).unwrap(), "tok_01aaaa", "{typed}");
        }
        let named = [json!({ "id": "tok_01aaaa", "name": "t", "prefix": "acr_pat_AAAA", "status": "active" })];
        assert_eq!(choose(&named, "tok_", "t").unwrap(), "tok_01aaaa");
        assert_eq!(choose(&named, "tok_", "x").unwrap(), "x");
    }

    /// R550: a filter that is empty is not left out.
    #[test]
    fn an_empty_filter_is_refused() {
        let sent = |line: &[&str]| {
            let matches = crate::line::command().try_get_matches_from(line).unwrap();
            let (words, typed) = crate::line::typed(&matches);
            let verbs = crate::verbs::all();
            query(verbs.iter().find(|verb| verb.words == words).unwrap(), typed)
        };
        for (line, option) in [
            (&["accredit", "agents", "list", "--owner", ""], "--owner"),
            (&["accredit", "agents", "archived", "--owner", " "], "--owner"),
            (&["accredit", "agents", "list", "--parent", ""], "--parent"),
        ] {
            let failure = sent(line).unwrap_err();
            assert!(failure.exit == Exit::Usage && failure.sentence == format!("{option} is empty."), "{failure:?}");
        }
        // R660: what is no parent elsewhere is no agent here.
        let failure = sent(&["accredit", "agents", "list", "--parent", "none"]).unwrap_err();
        assert!(failure.exit == Exit::Usage && failure.sentence == "--parent none names no agent.", "{failure:?}");
        assert_eq!(sent(&["accredit", "agents", "list", "--owner", "ada"]).unwrap(), [("owner".into(), "ada".into())]);
    }

    /// R468: nobody takes the place of a credential or a person by a name that looks like theirs.
    #[test]
    fn a_name_is_no_prefix_and_no_address() {
        let items = [
            json!({ "id": "tok_01aaaa", "name": "leaked", "prefix": "acr_pat_AAAA", "user_email": "ada@a.example" }),
            json!({ "id": "tok_01bbbb", "name": "acr_pat_AAAA", "prefix": "acr_pat_BBBB", "user_email": "eve@a.example" }),
            json!({ "id": "tok_01cccc", "name": "tok_01aa", "prefix": "acr_pat_CCCC", "user_email": "eve@a.example" }),
            json!({ "id": "tok_01dddd", "name": "ada@a.example", "prefix": "acr_pat_DDDD", "user_email": "eve@a.example" }),
            json!({ "id": "tok_01eeee", "name": "acr_pat_ZZZZ", "prefix": "acr_pat_EEEE", "user_email": "eve@a.example" }),
        ];
        for (typed, id) in [
            ("acr_pat_AAAA", "tok_01aaaa"),
            ("tok_01aa", "tok_01aaaa"),
            ("ada@a.example", "tok_01aaaa"),
            ("acr_pat_ZZZZ", "acr_pat_ZZZZ"),
            ("leaked", "tok_01aaaa"),
        ] {
            assert_eq!(choose(&items, "tok_", typed).unwrap(), id, "{typed}");
        }
        let people = [
            json!({ "id": "usr_01aaaa", "name": "carl@a.example", "email": "eve@a.example" }),
            json!({ "id": "usr_01bbbb", "name": "Bob", "email": "bob@a.example" }),
        ];
        for (typed, id) in
            [("carl@a.example", "carl@a.example"), ("BOB@a.example", "usr_01bbbb"), ("Bob", "usr_01bbbb")]
        {
            assert_eq!(choose(&people, "usr_", typed).unwrap(), id, "{typed}");
        }
        // Where nothing has an address, a name may look like one.
        let own = [json!({ "id": "tok_01aaaa", "name": "ci@build", "prefix": "acr_pat_AAAA" })];
        assert_eq!(choose(&own, "tok_", "ci@build").unwrap(), "tok_01aaaa");
    }

    /// R221: a name that became another is told, for each agent of a document too; one that was trimmed is the same.
    #[test]
    fn a_name_that_became_another_is_told() {
        for (sent, answer, told) in [
            (json!({ "name": "Bad Name" }), json!({ "name": "bad-name" }), vec![("Bad Name", "bad-name")]),
            (json!({ "name": "scout" }), json!({ "name": "scout-2" }), vec![("scout", "scout-2")]),
            (json!({ "name": "A b" }), json!({ "agent": { "name": "a-b" }, "created": true }), vec![("A b", "a-b")]),
            (json!({ "name": " scout " }), json!({ "name": "scout" }), vec![]),
            (json!({ "name": "scout" }), json!({ "ok": true }), vec![]),
            (json!({ "scope": ["a"] }), json!({ "name": "scout" }), vec![]),
            (
                json!({ "agents": [{ "name": "one" }, { "name": "Two" }] }),
                json!({ "agents": [{ "name": "one" }, { "name": "two" }] }),
                vec![("Two", "two")],
            ),
        ] {
            assert_eq!(renamed(sent.as_object().unwrap(), &answer), told, "{sent}");
        }
    }

    /// R149: null is typed as a word or, of a text, as nothing, where null says something.
    #[test]
    fn null_can_be_typed() {
        let sent = |line: &str| {
            let words = line.split(' ').map(|word| if word == "''" { "" } else { word });
            let matches = crate::line::command().try_get_matches_from(words).map_err(|error| error.to_string())?;
            let (words, typed) = crate::line::typed(&matches);
            let verbs = crate::verbs::all();
            let verb = verbs.iter().find(|verb| verb.words == words).unwrap();
            Ok::<Json, String>(Json::Object(body(verb, typed).unwrap().unwrap()))
        };
        for (line, expected) in [
            ("--budget-cents none", json!({ "budget_cents": null })),
            ("--budget-cents 500", json!({ "budget_cents": 500 })),
            ("--budget-cents -1", json!({ "budget_cents": -1 })),
            ("--tier 3", json!({ "tier": 3 })),
            ("--description none", json!({ "description": null })),
            ("--description ''", json!({ "description": null })),
            ("--description null", json!({ "description": "null" })),
            ("--agent-url none --model m", json!({ "url": null, "model": "m" })),
            ("--parent none", json!({ "parent": null })),
            ("--labels none", json!({ "labels": {} })),
            ("--labels a=none,none=b", json!({ "labels": { "a": "none", "none": "b" } })),
            ("--preset none", json!({ "preset": "none" })),
            ("--owner ''", json!({ "owner": "" })),
            ("--scope ''", json!({ "scope": [] })),
            // R367: commas, blanks, or both.
            ("--scope a,b --scope c", json!({ "scope": ["a", "b", "c"] })),
            ("--scope a\tb,\nc", json!({ "scope": ["a", "b", "c"] })),
        ] {
            assert_eq!(sent(&format!("accredit agents update scout {line}")).unwrap(), expected, "{line}");
        }
        for (line, expected) in [
            ("--kinds all", json!({ "kinds": null })),
            ("--kinds agent.created,all", json!({ "kinds": ["agent.created", "all"] })),
            ("--agents all --name n", json!({ "agents": null, "name": "n" })),
        ] {
            assert_eq!(sent(&format!("accredit admin webhooks update whk_1 {line}")).unwrap(), expected, "{line}");
        }
        assert_eq!(sent("accredit admin tenant update --pat-days never").unwrap(), json!({ "pat_days": null }));
        // R442: of two with one name neither is dropped.
        for line in ["--labels a=b,a=c", "--labels a=b --labels a=b", "--compute {\"a\":1,\"a\":2}"] {
            let words = format!("accredit agents update scout {line}");
            let matches = crate::line::command().try_get_matches_from(words.split(' ')).unwrap();
            let (words, typed) = crate::line::typed(&matches);
            let verbs = crate::verbs::all();
            let refused = body(verbs.iter().find(|verb| verb.words == words).unwrap(), typed).unwrap_err();
            assert!(refused.sentence.contains("twice"), "{line}: {}", refused.sentence);
        }
        for (line, says) in [
            ("--budget-cents ''", "a whole number, or none"),
            ("--budget-cents null", "a whole number, or none"),
            ("--tier none", "a whole number"),
        ] {
            let refused = sent(&format!("accredit agents update scout {line}")).unwrap_err();
            assert!(refused.contains(says), "{line}: {refused}");
        }
    }
}
