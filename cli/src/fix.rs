//! The steps of refusals as commands of this CLI: `POST /api/agents/scout/resume` is `accredit agents resume scout`.

use common::{
    event::EventKind,
    route::{self, Query, Route},
    scope::Scope,
};
use serde_json::Value as Json;

use crate::{
    again::quoted,
    fail::Failure,
    show,
    verbs::{self, At, Kind, Verb},
};

/// What a person does for these, although they are routes of programs.
const OTHERS: &[(&Route, &str)] = &[
    (route::SIGN_IN, "accredit auth login"),
    (route::DOCTOR, "accredit doctor"),
    (route::OWN_END, "accredit auth logout"),
    (route::LOGOUT, "accredit auth logout"),
    (route::DEVICE_CODE, "accredit auth login"),
    (route::FACTOR_VERIFY, "accredit auth login"),
    (route::API_INDEX, "accredit --help"),
    (route::ENROL, "accredit auth enroll"),
];

/// What fixes say of members of the answer, in the words of what a person sees of it.
const SEEN: &[(&str, &str)] = &[
    ("the names in valid_scopes", "the names that are listed by accredit scopes list and accredit scopes custom"),
    ("list in doc_url", "list on the page below"),
    ("page in doc_url", "page below"),
    ("every field that fields lists", "every field above"),
    ("the fields that fields lists", "the fields above"),
    (": a session carries everything that your role allows", ", and choose Everything on the page that it shows"),
    ("Send the same request", "Run the same command"),
    ("send the same request", "run the same command"),
    (" In a query, write + as %2B.", ""),
];
/// How like a word it is what may be meant by it, from 0 to 1.
const LIKE: f64 = 0.6;
/// How many of these are named.
const MOST_MEANT: usize = 3;

/// Stands for one of several steps.
const STEP: &str = "'<step>'";

/// The text with each request that has a verb as the command.
pub(crate) fn in_commands(text: &str) -> String {
    let (mut written, mut rest) = (String::new(), text);
    while let Some((before, mut request, mut after)) = next_request(rest) {
        let Some(first) = command(&request) else {
            written.push_str(rest.get(..rest.len() - after.len()).unwrap_or_default());
            rest = after;
            continue;
        };
        // A request is sent; a command is run.
        let instead = [("Send ", "Run "), ("send ", "run ")];
        let instead = instead.iter().find_map(|(send, run)| Some((before.strip_suffix(send)?, *run)));
        let (start, run) = instead.unwrap_or((before, ""));
        written.push_str(start);
        written.push_str(run);
        if let Some((steps, left)) = steps_of(&first, after) {
            written.push_str(&steps);
            rest = left;
            continue;
        }
        written.push_str(&first);
        // Another body for the same request.
        while let Some((body, left)) = after.strip_prefix(" or ").and_then(next_body) {
            request.body = body;
            written.push_str(" or ");
            written.push_str(&command(&request).unwrap_or_default());
            after = left;
        }
        rest = after;
    }
    written.push_str(rest);
    written
}

/// A command with a hole for a step, with each of the steps that a text names behind it in its place.
fn steps_of<'t>(command: &str, after: &'t str) -> Option<(String, &'t str)> {
    let named = after.strip_prefix(" with one of these steps: ").filter(|_| command.contains(STEP))?;
    let (steps, left) = named.split_at_checked(named.find('.').unwrap_or(named.len()))?;
    let commands: Vec<String> = steps.split(", ").map(|step| command.replace(STEP, step.trim())).collect();
    Some((commands.join(" or "), left))
}

/// The ask of a refusal, as a command. `None`: it is none that this CLI knows.
pub(crate) fn of_ask(ask: &Json) -> Option<String> {
    let (method, path) = (ask.get("method")?.as_str()?, ask.get("path")?.as_str()?);
    let command = command(&Request { method, path, query: "", body: ask.get("body").cloned() })?;
    Some(show::line(&command))
}

/// A fix, without names of members that a person does not see, and with the options of the command that was typed.
pub(crate) fn seen(fix: &str) -> String {
    with_options(&SEEN.iter().fold(fix.to_owned(), |fix, (member, seen)| fix.replace(member, seen)))
}

/// A parameter of the query that shall be added, `?confirm=true`, as the option.
fn with_options(fix: &str) -> String {
    let (mut written, mut rest) = (String::new(), fix);
    while let Some((before, (name, after))) =
        rest.split_once(" with ?").and_then(|(before, from)| Some((before, from.split_once('=')?)))
    {
        let (value, left) = after.split_at(end_of_word(after, " ,;)"));
        let bare = value.trim_end_matches('.');
        written.push_str(&format!(
            "{before} with --{} {}{}",
            verbs::long(name),
            quoted(bare),
            value.replacen(bare, "", 1)
        ));
        rest = left;
    }
    written + rest
}

/// Where a word of a text ends, by one of these. What stands in angles is to be filled in, and may have blanks.
fn end_of_word(text: &str, ends: &str) -> usize {
    let mut is_hole = false;
    let is_end = |c: char| {
        is_hole = (is_hole || c == '<') && c != '>';
        !is_hole && ends.contains(c)
    };
    text.find(is_end).unwrap_or(text.len())
}

/// The words of a refusal that the server does not know, each with what may be meant by it.
pub(crate) fn unknown_words(answer: &Json) -> Vec<String> {
    let listed = |name: &str| answer.get(name).and_then(Json::as_array).into_iter().flatten().filter_map(Json::as_str);
    let kind = answer.get("kind").and_then(Json::as_str).filter(|_| answer["error"] == "unknown_event_kind");
    let mut known: Vec<&str> = listed("valid_scopes").collect();
    if kind.is_some() {
        known = EventKind::ALL.iter().map(|kind| kind.as_str()).collect();
    } else if known.is_empty() {
        known = Scope::ALL.iter().map(|scope| scope.as_str()).collect();
    }
    let words = listed("unknown_scopes").chain(listed("unknown")).chain(kind);
    let asked = |word: &str| match meant(word, &known) {
        meant if meant.is_empty() => show::line(word),
        meant => format!("{}: do you mean {}?", show::line(word), show::line(&meant.join(" or "))),
    };
    words.map(asked).collect()
}

/// The known words that are most like one, and the patterns of them.
fn meant(word: &str, known: &[&str]) -> Vec<String> {
    let word = word.to_ascii_lowercase();
    let mut patterns: Vec<String> =
        known.iter().filter_map(|known| known.split_once('.')).map(|(noun, _)| format!("{noun}.*")).collect();
    patterns.dedup();
    let all = known.iter().map(|known| (*known).to_owned()).chain(patterns);
    let mut like: Vec<(f64, String)> =
        all.map(|known| (strsim::normalized_damerau_levenshtein(&word, &known), known)).collect();
    like.retain(|(like, _)| *like >= LIKE);
    like.sort_by(|(one, _), (other, _)| other.total_cmp(one));
    like.dedup();
    like.into_iter().map(|(_, known)| known).take(MOST_MEANT).collect()
}

/// The failure of a verb, in the words of its command line: fields are its options, and null is what is typed for it.
pub(crate) fn in_options(verb: &Verb, mut failure: Failure) -> Failure {
    failure.sentence = of_verb(verb, &failure.sentence);
    failure.fix = failure.fix.take().map(|fix| of_verb(verb, &fix));
    let of_line = |line: &String| {
        // A problem is told behind the name of its field.
        let (name, problem) = line.split_once(' ')?;
        let (option, null) = option(verb, name)?;
        let problem = match problem.strip_suffix(" or null") {
            Some(rest) => {
                format!("{}{}", of_verb(verb, rest), null.map(|word| format!(" or {word}")).unwrap_or_default())
            }
            None => of_verb(verb, problem),
        };
        Some(format!("{option} {problem}"))
    };
    failure.lines = failure.lines.iter().map(|line| of_line(line).unwrap_or_else(|| line.clone())).collect();
    failure
}

/// What is typed for a field or a parameter of a verb, and for its null. `None`: it has none of this name.
fn option(verb: &Verb, name: &str) -> Option<(String, Option<&'static str>)> {
    if let Some(input) = verb.inputs.iter().find(|input| input.name == name) {
        let option = if input.is_positional { name.to_uppercase() } else { format!("--{}", input.long()) };
        return Some((option, input.null));
    }
    let Query::Only(known) = verb.route.query else { return None };
    known.contains(&name).then(|| (format!("--{}", verbs::long(name)), None))
}

/// A sentence with the options of a verb. Names of fields can be words of the language: those stand for a field where something is said to
/// be sent or left out.
fn of_verb(verb: &Verb, text: &str) -> String {
    let is_of_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let (mut written, mut rest, mut null) = (String::new(), text, None);
    while let Some(start) = rest.find(is_of_word) {
        let (before, from) = rest.split_at(start);
        let (word, after) = from.split_at(from.find(|c| !is_of_word(c)).unwrap_or(from.len()));
        written.push_str(before);
        rest = after;
        if before.ends_with('.') {
            null = None;
        }
        let is_quoted = written.ends_with(['"', '\'', '-', '/']) || after.starts_with(['"', '\'', '-', '/']);
        let sent =
            ["Send ", "send "].iter().find(|send| written.ends_with(**send)).filter(|_| after.starts_with(" as "));
        let is_left_out = ["eave out ", "without "].iter().any(|out| written.ends_with(out));
        let is_field = !is_quoted && (word.contains('_') || sent.is_some() || is_left_out);
        match option(verb, word).filter(|_| is_field) {
            Some((option, of_field)) => {
                if let Some(send) = sent {
                    written.truncate(written.len() - send.len());
                    written.push_str(if send.starts_with('S') { "Give " } else { "give " });
                }
                written.push_str(&option);
                null = Some(of_field);
            }
            None => match (null, word) {
                (Some(Some(never)), "null") if !is_quoted => written.push_str(never),
                // There is nothing to type for it.
                (Some(None), "null") if written.ends_with(", or as ") && after == "." => {
                    written.truncate(written.len() - ", or as ".len());
                }
                _ => written.push_str(word),
            },
        }
    }
    written.push_str(rest);
    written
}

/// A request that stands in a text.
struct Request<'a> {
    method: &'a str,
    path: &'a str,
    query: &'a str,
    body: Option<Json>,
}

/// The first request in a text, with what stands before and after it.
fn next_request(text: &str) -> Option<(&str, Request<'_>, &str)> {
    let methods = ["GET", "POST", "PUT", "PATCH", "DELETE"];
    let places = methods.iter().filter_map(|method| Some((text.find(&format!("{method} /"))?, *method)));
    let (at, method) = places.min_by_key(|(at, _)| *at)?;
    let (before, from) = text.split_at_checked(at)?;
    let from = from.get(method.len() + 1..)?;
    let (target, mut after) = from.split_at_checked(end_of_word(from, " ,;):"))?;
    let bare = target.trim_end_matches('.');
    if bare.len() < target.len() {
        after = from.get(bare.len()..)?;
    }
    let (path, query) = bare.split_once('?').unwrap_or((bare, ""));
    let body = after.strip_prefix(' ').and_then(next_body).map(|(body, left)| {
        after = left;
        body
    });
    Some((before, Request { method, path, query, body: body.flatten() }, after))
}

/// The object that a text begins with, and what stands after it. `None`: there is none. A form with holes: what the person has to fill in
/// stands in angles.
fn next_body(text: &str) -> Option<(Option<Json>, &str)> {
    if !text.starts_with('{') {
        return None;
    }
    let mut whole = serde_json::Deserializer::from_str(text).into_iter::<Json>();
    if let Some(Ok(body)) = whole.next() {
        return Some((Some(body), text.get(whole.byte_offset()..)?));
    }
    let (object, left) = text.split_at_checked(text.find('}')? + 1)?;
    let whole = object.replace(": <", ": \"<").replace(">}", ">\"}").replace(">,", ">\",");
    Some((serde_json::from_str(&whole).ok(), left))
}

fn command(request: &Request<'_>) -> Option<String> {
    if let Some(agent) = request.path.strip_prefix("/api/agents/").and_then(|rest| rest.strip_suffix("/<step>")) {
        return Some(format!("accredit agents {STEP} {}", quoted(agent)));
    }
    let other = OTHERS.iter().find(|(route, _)| route.method == request.method && route.path == request.path);
    if let Some((_, command)) = other {
        return Some((*command).to_owned());
    }
    let all = verbs::all();
    let fitting = all.iter().filter(|verb| verb.route.method == request.method);
    let matching = fitting.filter_map(|verb| Some((verb, named(verb.route.path, request.path)?)));
    let (verb, names) = matching.min_by_key(|(_, names)| names.len())?;
    let mut words = vec!["accredit".to_owned(), verb.words.to_owned()];
    // What a fix leaves open.
    let open =
        |name: &str| name.strip_prefix('{').and_then(|name| name.strip_suffix('}')).map(|name| format!("<{name}>"));
    words.extend(names.into_iter().map(|name| quoted(&open(name).unwrap_or_else(|| name.to_owned()))));
    // It waits until somebody has decided, and not once.
    if verb.route == route::ACCESS_GET && request.query.starts_with("wait=") {
        return Some(words.join(" ").replacen(verb.words, "access wait", 1));
    }
    for (name, value) in form_urlencoded::parse(request.query.as_bytes()) {
        words.extend(flag(verb, At::Query, &name, &quoted(&value)));
    }
    for (name, value) in request.body.iter().filter_map(Json::as_object).flatten() {
        let value = match value {
            Json::String(text) => text.clone(),
            Json::Array(list) => list.iter().filter_map(Json::as_str).collect::<Vec<_>>().join(","),
            other => other.to_string(),
        };
        words.extend(flag(verb, At::Body, name, &quoted(&value)));
    }
    Some(words.join(" "))
}

/// What is typed for a member. `None`: nothing.
fn flag(verb: &Verb, at: At, name: &str, value: &str) -> Option<String> {
    let input = verb.inputs.iter().find(|input| input.at == at && input.name == name);
    let name = input.map_or_else(|| verbs::long(name), verbs::Input::long);
    Some(match input {
        Some(input) if input.is_positional => value.to_owned(),
        // A secret is asked for.
        Some(input) if matches!(input.kind, Kind::Secret | Kind::SecretText) => format!("--{name} -"),
        Some(input) if input.kind == Kind::No && value == "true" => return None,
        Some(input) if input.kind == Kind::No => format!("--{name}"),
        _ => format!("--{name} {value}"),
    })
}

/// What the names of a pattern stand for in a path. `None`: it is of another pattern.
fn named<'p>(pattern: &str, path: &'p str) -> Option<Vec<&'p str>> {
    let (mut names, mut parts) = (Vec::new(), path.split('/'));
    for segment in pattern.split('/') {
        let part = parts.next()?;
        if segment.starts_with('{') {
            names.push(part);
        } else if segment != part {
            return None;
        }
    }
    parts.next().is_none().then_some(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// R149: a step that a person can take in a terminal is a command; what is left is for programs, browsers or other people's clients.
    #[test]
    fn no_step_of_the_table_is_left_as_a_request() {
        // A browser's: links of mails, and providers. A client's own: files of the command, and the manual. A guard's: epochs.
        let others = [
            "GET /auth/epochs",
            "POST /auth/email/link",
            "POST /auth/forgot",
            "/auth/oidc",
            "/auth/identities",
            "GET /llms.txt",
            "GET /docs/agents/",
            "GET /cli/manifest.json",
        ];
        let mut left = Vec::new();
        for code in common::error::Code::ALL {
            let row = code.row();
            for fix in [Some(row.fix), row.agent_fix].into_iter().flatten() {
                let fix = fix.replace("{verb}", "start").replace("{{", "{").replace("}}", "}");
                let shown = in_commands(&fix);
                let is_other = others.iter().any(|other| shown.contains(other));
                let methods = ["GET /", "POST /", "PUT /", "PATCH /", "DELETE /"];
                if !is_other && methods.iter().any(|method| shown.contains(method)) {
                    left.push(format!("{}: {shown}", row.slug));
                }
            }
        }
        assert!(left.is_empty(), "{left:#?}");
    }

    /// R367: no fix names a member of the answer, which a person does not see.
    #[test]
    fn no_fix_of_the_table_names_what_is_not_shown() {
        let members = [
            "doc_url",
            "valid_scopes",
            "unknown_scopes",
            "missing_scopes",
            "excess_scopes",
            "did_you_mean",
            "in results",
        ];
        for row in common::error::Code::ALL.iter().map(|code| code.row()) {
            // What each agent is told is shown in place of its fix.
            let is_of_each = row.slug == "none_changed";
            for fix in [Some(row.fix), row.agent_fix].into_iter().flatten().map(seen).filter(|_| !is_of_each) {
                let named = members.iter().chain(&["fields lists"]).find(|member| fix.contains(**member));
                assert_eq!(named, None, "{}: {fix}", row.slug);
            }
        }
    }

    /// R436: a parameter of a query that shall be added is an option of the command, and the request is the command.
    #[test]
    fn no_fix_of_the_table_names_a_query() {
        use common::error::Code;
        let shown = |code: Code| in_commands(&seen(code.row().fix));
        assert_eq!(
            shown(Code::HasChildren),
            "Run the same command with --confirm true to archive this agent and the {count} below it. accredit agents list --parent \
             '{agent}' lists the agents directly below it."
        );
        assert_eq!(
            shown(Code::OwnsAgents),
            "Run the same command with --agents 'transfer:<id or address>' to give the {count} to another user, or with --agents archive \
             to archive them. accredit agents list --owner '{user}' lists the agents."
        );
        for row in Code::ALL.iter().map(|code| code.row()) {
            for fix in [Some(row.fix), row.agent_fix].into_iter().flatten() {
                let shown = in_commands(&seen(fix));
                let named =
                    [" ?", "In a query", "%2B", "end the same request"].iter().find(|named| shown.contains(**named));
                assert_eq!(named, None, "{}: {shown}", row.slug);
            }
        }
    }

    /// R367
    #[test]
    fn a_word_that_is_not_known_is_told_with_what_may_be_meant() {
        let refusal = |unknown: &str, word: &str, slug: &str| {
            let word = if unknown == "kind" { word.into() } else { serde_json::json!([word]) };
            unknown_words(&serde_json::json!({ "error": slug, unknown: word })).concat()
        };
        for (word, told) in [
            ("agents.reed", "agents.reed: do you mean agents.read"),
            ("Agents:List", "Agents:List: do you mean agents.list"),
            ("agents", "agents: do you mean agents.*"),
            ("zzz\u{1b}[2J", "zzz[2J"),
        ] {
            for (unknown, slug) in [("unknown_scopes", "invalid_scope"), ("unknown", "unknown_expectation")] {
                let line = refusal(unknown, word, slug);
                assert!(line.starts_with(told), "{line}");
            }
        }
        let told = refusal("kind", "agent.statechanged", "unknown_event_kind");
        assert!(told.starts_with("agent.statechanged: do you mean agent.state_changed"), "{told}");
        let own =
            serde_json::json!({ "unknown_scopes": ["x.crm.reed"], "valid_scopes": ["agents.read", "x.crm.read"] });
        assert_eq!(unknown_words(&own), ["x.crm.reed: do you mean x.crm.read?"]);
        assert!(refusal("kind", "agents.read", "other").is_empty());
    }

    /// R208: in the shell's quotes, in one line.
    #[test]
    fn an_ask_is_a_command() {
        let ask = |reason: &str| {
            let once = serde_json::json!({ "method": "POST", "path": "/api/agents", "body_sha256": "ab" });
            let body = serde_json::json!({ "scope": ["agents.create", "agents.read"], "reason": reason, "for": once });
            of_ask(&serde_json::json!({ "method": "POST", "path": "/api/access-requests", "body": body }))
        };
        let command = ask("It's mine: $(x)\n\u{1b}").unwrap();
        let (scope, rest) = command.split_once(" --").unwrap();
        assert_eq!(scope, "accredit access request agents.create,agents.read");
        assert!(rest.contains(r"reason 'It'\''s mine: $(x) '"), "{rest}");
        assert!(rest.contains(r#"for '{"#) && rest.contains(r#""body_sha256":"ab""#), "{rest}");
        assert_eq!(of_ask(&serde_json::json!({ "method": "POST", "path": "/nowhere" })), None);
    }

    /// R149: what a refusal says of fields is said of options, and of words that are none it stays as it is.
    #[test]
    fn a_refusal_speaks_of_options() {
        let all = verbs::all();
        let verb = |words: &str| all.iter().find(|verb| verb.words == words).unwrap();
        let fix = |code: common::error::Code| code.row().fix.to_owned();
        use common::error::Code;
        for (words, text, expected) in [
            (
                "token create",
                fix(Code::InvalidLifetime),
                "Give --ttl as a whole number from 1 to 3650, or as never for a credential that never expires.",
            ),
            (
                "token create",
                fix(Code::LifetimeTooLong),
                "Leave the lifetime out to get the whole remaining one, which is {days}.",
            ),
            ("token create", "expires_in_days is out of range.".to_owned(), "--ttl is out of range."),
            (
                "token create",
                "Send name as a word. Each name is short.".to_owned(),
                "Give NAME as a word. Each name is short.",
            ),
            ("token create", "Send {\"expires_in_days\": null}.".to_owned(), "Send {\"expires_in_days\": null}."),
            (
                "token list",
                fix(Code::InvalidCursor),
                "Leave out --cursor to start at the beginning. For each further page, send the next_cursor of the previous page with the same filters.",
            ),
            (
                "agents update",
                fix(Code::TreeCycle),
                "Give --parent as the name of an agent that is not below this one, or as none.",
            ),
            ("agents update", "Send url as an https URL.".to_owned(), "Give --agent-url as an https URL."),
            ("agents keys create", fix(Code::InvalidGrace), fix(Code::InvalidGrace).as_str()),
            (
                "agents keys rotate",
                fix(Code::InvalidGrace),
                "Give --grace-seconds as a whole number from 0 to 86400, or from 60 to 86400 if you replace the credential that you present.",
            ),
            ("whoami", fix(Code::InvalidLifetime), fix(Code::InvalidLifetime).as_str()),
        ] {
            assert_eq!(of_verb(verb(words), &text), expected, "{words}");
        }
        let mut failure = Failure::usage("Some fields are wrong.");
        failure.lines =
            ["expires_in_days must be a whole number or null", "parent must be a text or null", "other is unknown"]
                .map(str::to_owned)
                .to_vec();
        let lines = in_options(verb("agents create"), failure).lines.clone();
        assert_eq!(
            lines,
            ["--ttl must be a whole number or never", "--parent must be a text or none", "other is unknown"]
        );
    }

    #[test]
    fn a_step_is_a_command() {
        for (text, expected) in [
            (
                "Resume the agent with POST /api/agents/scout/resume.",
                "Resume the agent with accredit agents resume scout.",
            ),
            (
                "Send GET /api/agents to list them. Names are short.",
                "Run accredit agents list to list them. Names are short.",
            ),
            (
                "Sign in again with POST /auth/token {\"email\": \"…\", \"password\": \"…\"}. To create one, send POST /auth/tokens {\"name\": \"…\"} with it.",
                "Sign in again with accredit auth login. To create one, run accredit token create '…' with it.",
            ),
            (
                "Ask for it: POST /api/access-requests {\"scope\": \"agents.delete\", \"reason\": \"…\"}. Then wait.",
                "Ask for it: accredit access request agents.delete --reason '…'. Then wait.",
            ),
            (
                "Raise it: PATCH /api/agents/scout {\"budget_cents\": <more>} or {\"spent_cents\": 0}.",
                "Raise it: accredit agents update scout --budget-cents '<more>' or accredit agents update scout --spent-cents 0.",
            ),
            ("Send GET /api to list every route.", "Run accredit --help to list every route."),
            ("Send GET /auth/oidc to list the providers.", "Send GET /auth/oidc to list the providers."),
            (
                "Send another name, or send POST /api/agents/scout/keys/<its id>/rotate to replace it.",
                "Send another name, or run accredit agents keys rotate scout '<its id>' to replace it.",
            ),
            ("Send POST /api/agents/scout/<step> with one of these steps: stop.", "Run accredit agents stop scout."),
            (
                "Send POST /api/agents/scout/<step> with one of these steps: pause, stop. Then wait.",
                "Run accredit agents pause scout or accredit agents stop scout. Then wait.",
            ),
            (
                "GET /auth/tokens and GET /api/agents/<name>/keys list them",
                "accredit token list and accredit agents keys list '<name>' list them",
            ),
            (
                "Wait for the decision of ada@example.com or an admin: GET /api/access-requests/acc_1?wait=25.",
                "Wait for the decision of ada@example.com or an admin: accredit access wait acc_1.",
            ),
            (
                "Ask an admin to set one with POST /api/users/{id}/set-password.",
                "Ask an admin to set one with accredit admin users set-password '<id>'.",
            ),
            ("Wait.", "Wait."),
            ("GET /", "GET /"),
        ] {
            assert_eq!(in_commands(text), expected);
        }
    }
}
