//! The command line: clap's commands, made of the table of verbs and of the verbs that are more than one route.

mod own;

use std::ffi::{OsStr, OsString};

use clap::{
    Arg, ArgAction, ArgMatches, Command,
    builder::{NonEmptyStringValueParser, TypedValueParser},
    error::{ContextKind, ContextValue, ErrorKind},
};
use common::{route::Query, secret::Secret};
use serde_json::Value as Json;

use crate::{
    again::{self, Typed},
    pages, span,
    verbs::{self, At, Input, Kind, Verb},
    words,
};

/// What stands before a subcommand's own description.
const GROUPS: &[(&str, &str)] = &[
    ("access", "Requests of agents for more"),
    ("admin", "Users, credentials, audit trail and mail of the tenant"),
    ("admin audit", "The audit trail"),
    ("admin mail", "Mails"),
    ("admin tenant", "The tenant's name and settings"),
    ("admin tokens", "Every credential of the tenant"),
    ("admin users", "Users"),
    ("agents", "Agents"),
    ("closures", "Since when nobody accepts what was ended"),
    ("agents grants", "Who else may read or edit an agent"),
    ("agents federated-credentials", "Whom an agent trusts: workloads that need no secret"),
    ("agents keys", "Keys of an agent"),
    ("agents probes", "Checks of other services' APIs with an agent's secrets"),
    ("agents secrets", "Secrets of an agent: names and ages, never values"),
    ("secrets", "The calling agent's own secrets"),
    ("admin clients", "OAuth clients of the tenant"),
    ("admin webhooks", "Where events are sent"),
    ("agents keys grants", "Who else may read or edit a key"),
    ("agents token", "An agent's token"),
    ("auth", "Sign in and out"),
    ("auth apps", "Apps that you let in"),
    ("auth device", "Devices that wait to be signed in"),
    ("auth email", "Your address"),
    ("auth factor", "Your second factor"),
    ("auth sessions", "Your sessions"),
    ("guides", "Guides for agents"),
    ("inbox", "Events for the calling agent"),
    ("mcp", "Clients of the Model Context Protocol"),
    ("notifications", "Notifications for you"),
    ("operator", "For the operator, with the operator secret"),
    ("presets", "Named sets of scopes"),
    ("scopes", "Scopes"),
    ("receipt", "Receipts of closures"),
    ("resources", "Services of the tenant that take signed tokens"),
    ("self", "This program"),
    ("skills", "Short guides for coding agents"),
    ("token", "Your personal access tokens"),
];

/// What stands for a value that is read from standard input.
const DASH: &str = "-";

/// Takes `-` alone. What is typed in its place is a credential, and stands in no message.
#[derive(Clone)]
struct Dash;

impl TypedValueParser for Dash {
    type Value = String;

    fn parse_ref(&self, command: &Command, arg: Option<&Arg>, value: &OsStr) -> Result<String, clap::Error> {
        match value.to_str() {
            Some(DASH) => Ok(DASH.to_owned()),
            _ => Err(taken_as_no_argument(command, arg)),
        }
    }
}

/// The refusal of a credential on the command line.
fn taken_as_no_argument(command: &Command, arg: Option<&Arg>) -> clap::Error {
    let words = command.get_bin_name().unwrap_or_else(|| command.get_name());
    let arg = arg.or_else(|| command.get_arguments().find(|arg| is_dash(arg)));
    let others = command.get_positionals().any(|other| arg.is_some_and(|arg| arg.get_id() != other.get_id()));
    let others = if others { " …" } else { "" };
    let step = match arg.map(|arg| arg.get_long().map(|flag| format!(" --{flag}")).unwrap_or_default()) {
        Some(flag) => format!("send it on standard input: {words}{others}{flag} -"),
        None => "set ACCREDIT_TOKEN, or save it from standard input: accredit auth login --token -".to_owned(),
    };
    let message = format!("credentials are not taken as arguments, which others can see; {step}");
    command.clone().error(ErrorKind::ValueValidation, message)
}

fn is_dash(arg: &Arg) -> bool {
    arg.get_value_names().is_some_and(|names| names.iter().any(|name| name == DASH))
}

/// An error about the line, without what may be a credential in it: one that stands where nothing is expected, too.
pub(crate) fn without_credentials(error: clap::Error, line: &[String]) -> clap::Error {
    let mut whole = command();
    whole.build();
    let mut at = &whole;
    for word in line {
        at = at.find_subcommand(word).unwrap_or(at);
    }
    let kinds = [ContextKind::InvalidArg, ContextKind::InvalidValue, ContextKind::InvalidSubcommand];
    let mut named = kinds.into_iter().filter_map(|kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.as_str()),
        _ => None,
    });
    // An option that does not exist is told by its name.
    let is_option = |text: &str| {
        text.strip_prefix("--")
            .is_some_and(|name| name.len() < 24 && name.chars().all(|c| c.is_ascii_lowercase() || c == '-'))
    };
    let is_stray = matches!(error.kind(), ErrorKind::UnknownArgument | ErrorKind::TooManyValues);
    let is_hidden = match is_stray && at.get_arguments().any(is_dash) {
        true => named.any(|text| !is_option(text)),
        false => named.any(|text| Secret::is_in(text.as_bytes())),
    };
    if is_hidden { taken_as_no_argument(at, None) } else { error }
}

/// What people type for verbs that are called otherwise here.
const OTHERWISE: &[(&str, &[&str])] = &[
    ("list", &["ls"]),
    ("get", &["show", "describe", "info", "view"]),
    ("create", &["new", "add"]),
    ("update", &["edit", "set"]),
    ("delete", &["rm", "remove", "destroy"]),
    ("login", &["signin", "sign-in"]),
    ("logout", &["signout", "sign-out"]),
];

/// The line as it is read. `accredit help agents list` and `accredit version` are what other programs have for the options.
pub(crate) fn in_words(mut line: Vec<OsString>) -> Vec<OsString> {
    match line.get(1).and_then(|word| word.to_str()) {
        Some("help") => {
            line.remove(1);
            line.push("--help".into());
        }
        Some("version") if line.len() == 2 => {
            line.pop();
            line.push("--version".into());
        }
        _ => {}
    }
    line
}

/// An error about a word that is no command, with the commands that may be meant, whole.
pub(crate) fn with_tips(mut error: clap::Error, line: &[String]) -> clap::Error {
    let Some(ContextValue::String(word)) = error.get(ContextKind::InvalidSubcommand) else { return error };
    let mut whole = command();
    whole.build();
    let (mut at, mut above) = (&whole, String::new());
    for word in line {
        if let Some(below) = at.find_subcommand(word) {
            at = below;
            above.push_str(word);
            above.push(' ');
        }
    }
    let tips = meant(word, &above);
    if !tips.is_empty() {
        let tips = tips.into_iter().map(|words| format!("accredit {words}")).collect();
        error.insert(ContextKind::SuggestedSubcommand, ContextValue::Strings(tips));
    }
    error
}

/// The commands and groups that a word may mean behind others: the usual name for it, or what stands elsewhere. None, if it can be many.
fn meant(word: &str, above: &str) -> Vec<String> {
    let usual = OTHERWISE.iter().find(|(_, others)| others.contains(&word)).map_or(word, |(usual, _)| usual);
    let own = own::all();
    let verbs: Vec<&str> =
        verbs::all().iter().map(|verb| verb.words).chain(own.iter().map(|(words, _)| *words)).collect();
    let exact = format!("{above}{usual}");
    if verbs.contains(&exact.as_str()) {
        return vec![exact];
    }
    let mut found: Vec<String> = Vec::new();
    for words in verbs {
        let parts: Vec<&str> = words.split(' ').collect();
        let at = parts.iter().position(|part| *part == usual || part.strip_suffix('s') == Some(usual));
        let Some(path) = at.and_then(|at| parts.get(..=at)).map(|path| path.join(" ")) else { continue };
        if !found.contains(&path) {
            found.push(path);
        }
    }
    let last = above.trim_end().rsplit(' ').next().unwrap_or_default();
    let nearer: Vec<String> =
        found.iter().filter(|path| !last.is_empty() && path.split(' ').any(|part| part == last)).cloned().collect();
    let found = if nearer.is_empty() { found } else { nearer };
    if found.len() > 3 { Vec::new() } else { found }
}

/// Keeps what was typed for every command, and says where and as whom it is done.
pub(crate) fn keep(typed: &ArgMatches) {
    let text = |option: &'static str| {
        typed.get_one::<String>(option.trim_start_matches('-')).map(|value| (option, value.clone()))
    };
    // What stands before an @ may be a password.
    let is_shown = |(_, value): &(&str, String)| !value.contains('@') || !value.contains("://");
    let options: Vec<_> = ["--profile", "--url"].into_iter().filter_map(text).filter(is_shown).collect();
    if !options.is_empty() {
        let mut words: Vec<String> = command().get_subcommands().map(|one| one.get_name().to_owned()).collect();
        words.push("--help".to_owned());
        again::keep(Typed { options, words });
    }
}

/// The whole command line.
pub(crate) fn command() -> Command {
    let mut root = Node::default();
    for verb in verbs::all() {
        root.put(verb.words, of_verb(&verb));
    }
    for (words, command) in own::all() {
        root.put(words, command);
    }
    let commands = root.into_commands("");
    let after = "Set ACCREDIT_URL and ACCREDIT_TOKEN, or sign in with: accredit auth login\n\
                 Exit status: 0 done, 1 refused, 2 no or bad credential, 3 not reachable, 64 usage.\n\
                 Times are in UTC.";
    Command::new("accredit")
        .version(env!("CARGO_PKG_VERSION"))
        .about("The command of an Accredit server: agents, their tokens, and what they may do")
        .after_help(after)
        .subcommand_required(true)
        .arg_required_else_help(true)
        .disable_help_subcommand(true)
        .max_term_width(100)
        .args(of_every_command())
        .subcommands(commands)
}

/// What every command takes. It stands below the command's own options.
fn of_every_command() -> [Arg; 5] {
    let text = |name: &'static str, value: &'static str| Arg::new(name).long(name).value_name(value);
    let switch = |name: &'static str| Arg::new(name).long(name).action(ArgAction::SetTrue);
    [
        text("url", "URL").help("The server [env: ACCREDIT_URL]"),
        text("profile", "NAME")
            .value_parser(NonEmptyStringValueParser::new())
            .help("The profile [env: ACCREDIT_PROFILE]"),
        switch("json").help("Print the API's answer, as JSON"),
        switch("yes").short('y').help("Ask no question: the answer is yes"),
        text("timeout", "TIME")
            .value_parser(up_to_an_hour)
            .help("Wait so long for an answer: 40s, or 2m; left out, 40s"),
    ]
    .map(|arg| arg.global(true).help_heading("Options of every command"))
}

/// Reads seconds, `30s` or `2m`.
fn up_to_an_hour(text: &str) -> Result<u64, String> {
    let seconds = text.parse().ok().or_else(|| u64::try_from(span::seconds(text)?).ok());
    seconds.filter(|seconds| (1..=3600).contains(seconds)).ok_or_else(|| "it must be 1s to 1h".to_owned())
}

/// Reads how many items are wanted.
fn at_least_one(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|number| *number > 0).ok_or_else(|| "it must be a whole number, 1 or more".to_owned())
}

/// Commands by their words.
#[derive(Default)]
struct Node {
    command: Option<Command>,
    below: Vec<(String, Self)>,
}

impl Node {
    fn put(&mut self, words: &str, command: Command) {
        let (first, rest) = words.split_once(' ').map_or((words, None), |(first, rest)| (first, Some(rest)));
        let at = match self.below.iter().position(|(name, _)| name == first) {
            Some(at) => at,
            None => {
                self.below.push((first.to_owned(), Self::default()));
                self.below.len() - 1
            }
        };
        if let Some((_, node)) = self.below.get_mut(at) {
            match rest {
                Some(rest) => node.put(rest, command),
                None => node.command = Some(command),
            }
        }
    }

    fn into_commands(self, above: &str) -> Vec<Command> {
        let made = self.below.into_iter().map(|(name, node)| {
            let words = format!("{above}{name}");
            if let Some(command) = node.command {
                return command.name(name);
            }
            let about = GROUPS.iter().find(|(known, _)| *known == words).map_or("", |(_, about)| about);
            Command::new(name)
                .about(about)
                .subcommand_required(true)
                .arg_required_else_help(true)
                .disable_help_subcommand(true)
                .subcommands(node.into_commands(&format!("{words} ")))
        });
        made.collect()
    }
}

/// The id of an argument for a name in the path.
pub(crate) fn path_id(name: &str) -> String {
    format!("path {name}")
}

/// The id of an argument for an input. Each command has `--url` for the server.
pub(crate) fn input_id(input: &Input) -> &'static str {
    if input.name == "url" { "agent_url" } else { input.name }
}

fn of_verb(verb: &Verb) -> Command {
    let mut command = Command::new(verb.words).about(verb.route.title);
    let is_alone = verb.names().count() == 1;
    for name in verb.names() {
        let shown = if verb.route.path.starts_with("/api/agents/{name}") && name == "name" { "agent" } else { name };
        let words = words::of(verb.route, &format!("{{{name}}}"));
        let mut arg = Arg::new(path_id(name)).value_name(shown.to_uppercase());
        arg = match (verb.is_about_me, verb.bulk.is_some() && is_alone) {
            (true, _) => arg.default_value("me").help(words),
            (_, true) => arg.required(true).num_args(1..).help(format!("{words}; of several, one after the other")),
            _ if verb.look_up.is_some() && name == "id" => {
                arg.required(true).help(format!("{words}, the first letters of it, or the name"))
            }
            _ => arg.required(true).help(words),
        };
        // `agents log TEXT` is about the caller: what is typed first is the text.
        if verb.is_about_me && verb.inputs.iter().any(|input| input.is_positional) {
            arg = Arg::new(path_id(name)).long("agent").value_name("NAME").default_value("me").help(words);
        }
        command = command.arg(arg);
    }
    for input in &verb.inputs {
        command = command.arg(of_input(input));
    }
    if let Query::Only(known) = verb.route.query {
        for name in
            known.iter().filter(|name| !verb.inputs.iter().any(|input| input.at == At::Query && input.name == **name))
        {
            let arg = flag(name).help(words::of_parameter(verb.route, name));
            command = command.arg(match *name {
                "confirm" => arg.num_args(0..=1).default_missing_value("true").value_parser(["true", "false"]),
                // It is sealed text: one of 64 begins with a hyphen.
                "cursor" => arg.allow_hyphen_values(true),
                _ => arg,
            });
            if *name == "limit" && pages::is_paged(verb.route) {
                let all = Arg::new("all").long("all").action(ArgAction::SetTrue).conflicts_with("limit");
                command = command
                    .mut_arg(name, |arg| arg.value_parser(at_least_one))
                    .arg(all.help("The whole list, however long it is"));
            }
        }
    }
    match verb.show {
        verbs::Show::Secret(_) => command.arg(raw()),
        verbs::Show::Log => command.arg(follow()),
        _ => command,
    }
}

/// The flag of a field or parameter.
fn flag(name: &'static str) -> Arg {
    Arg::new(name).long(verbs::long(name)).value_name(name.to_uppercase())
}

fn of_input(input: &Input) -> Arg {
    let arg = match input.is_positional {
        true => Arg::new(input_id(input)).required(true),
        // It can be a date.
        false if input.name == "expires_in_days" => {
            Arg::new(input_id(input)).long(input.long()).visible_alias("expires")
        }
        false => Arg::new(input_id(input)).long(input.long()),
    };
    let arg = arg.value_name(match input.kind {
        Kind::Lasts(_) | Kind::Life | Kind::When => "TIME".to_owned(),
        Kind::Object => "FILE".to_owned(),
        _ => input.name.to_uppercase(),
    });
    let arg = arg.help(words::of_input(input));
    match input.kind {
        Kind::No => arg.action(ArgAction::SetTrue).num_args(0),
        Kind::Number => arg.value_parser(number(input.null)).allow_negative_numbers(true),
        Kind::Lasts(_) | Kind::Life => arg.required(input.is_required).allow_negative_numbers(true),
        Kind::Words | Kind::Texts | Kind::Pairs => arg.action(ArgAction::Append).value_delimiter(','),
        // A secret on a command line is in the list of processes and in the shell's history.
        Kind::Secret | Kind::SecretText => arg.value_name(DASH).value_parser(Dash),
        Kind::Text | Kind::When | Kind::Data | Kind::Truth | Kind::File | Kind::Object => {
            arg.required(input.is_required)
        }
    }
}

/// Reads a number, or the word for null. An empty text is neither: a variable that a script forgot to set lifts no bound.
fn number(null: Option<&'static str>) -> impl Fn(&str) -> Result<Json, String> + Clone {
    move |text| match text.parse::<i64>() {
        _ if Some(text) == null => Ok(Json::Null),
        Ok(number) => Ok(number.into()),
        Err(_) => {
            Err(format!("it must be a whole number{}", null.map(|null| format!(", or {null}")).unwrap_or_default()))
        }
    }
}

fn follow() -> Arg {
    let help = "Go on, and print each line as it comes; with --json an object a line. Ctrl-C ends it, and so does the end of the agent, also when another one gets its name";
    Arg::new("follow")
        .long("follow")
        .short('f')
        .action(ArgAction::SetTrue)
        .conflicts_with_all(["until", "after", "before"])
        .help(help)
}

fn raw() -> Arg {
    Arg::new("raw").long("raw").action(ArgAction::SetTrue).help("Print the secret alone")
}

/// The words that were typed, and what came with the last of them.
pub(crate) fn typed(matches: &ArgMatches) -> (String, &ArgMatches) {
    let (mut words, mut at) = (Vec::new(), matches);
    while let Some((word, below)) = at.subcommand() {
        words.push(word);
        at = below;
    }
    (words.join(" "), at)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// R65: a credential that was typed stands in no message, wherever it was typed.
    #[test]
    fn a_credential_on_the_line_is_refused_and_not_repeated() {
        let credential = Secret::generate(common::secret::Kind::AgentToken, &common::secret::Chance::seeded(7));
        let token = credential.reveal();
        let refused = |line: &str| {
            let line: Vec<String> = line.split(' ').map(|word| word.replace("TOKEN", token)).collect();
            let error = command().try_get_matches_from(&line).unwrap_err();
            without_credentials(error, &line).to_string()
        };
        for (line, step) in [
            ("accredit token check TOKEN", "accredit token check -"),
            ("accredit token check - hunter2", "accredit token check -"),
            ("accredit auth login --token TOKEN", "accredit auth login --token -"),
            ("accredit auth login --token=TOKEN", "accredit auth login --token -"),
            ("accredit auth login --password hunter2", "accredit auth login --token -"),
            ("accredit auth login --password=hunter2", "accredit auth login --token -"),
            ("accredit agents secrets set scout K --value hunter2", "accredit agents secrets set … --value -"),
            ("accredit agents secrets set scout K hunter2", "accredit agents secrets set … --value -"),
            ("accredit agents secrets set scout K -----BEGIN-hunter2", "accredit agents secrets set … --value -"),
            ("accredit admin users set-password ada --password hunter2", "set-password … --password -"),
            ("accredit token introspect --token TOKEN", "accredit token introspect --token -"),
            ("accredit whoami TOKEN", "set ACCREDIT_TOKEN"),
            ("accredit TOKEN", "set ACCREDIT_TOKEN"),
            ("accredit agents TOKEN", "set ACCREDIT_TOKEN"),
        ] {
            let said = refused(line);
            assert!(said.contains("credentials are not taken as arguments") && said.contains(step), "{line}: {said}");
            assert!(!said.contains(token) && !said.contains("hunter2"), "{line}: {said}");
        }
        for (line, said) in [
            ("accredit whoami more", "'more'"),
            ("accredit agents secrets set scout K --valu -", "'--valu'"),
            ("accredit agents nonsense", "'nonsense'"),
            ("accredit auth login --timeout x", "'x'"),
        ] {
            assert!(refused(line).contains(said), "{line}: {}", refused(line));
        }
        for line in
            ["accredit token check -", "accredit auth login --token -", "accredit agents secrets set a B --value -"]
        {
            command().try_get_matches_from(line.split(' ')).unwrap();
        }
    }

    /// R290: what is called otherwise elsewhere leads to the command; help and version are taken as words too.
    #[test]
    fn other_words_lead_to_the_command() {
        for (line, tips) in [
            ("accredit login", &["accredit auth login"][..]),
            ("accredit logout", &["accredit auth logout"]),
            ("accredit users list", &["accredit admin users"]),
            ("accredit audit", &["accredit admin audit"]),
            ("accredit agent list", &["accredit agents"]),
            ("accredit agents ls", &["accredit agents list"]),
            ("accredit agents rm scout", &["accredit agents delete"]),
            ("accredit agents show scout", &["accredit agents get"]),
            ("accredit secrets list", &["accredit agents secrets list"]),
            ("accredit --json login", &["accredit auth login"]),
        ] {
            let line: Vec<String> = line.split(' ').map(str::to_owned).collect();
            let error = with_tips(command().try_get_matches_from(&line).unwrap_err(), &line);
            let expected = ContextValue::Strings(tips.iter().map(|tip| (*tip).to_owned()).collect());
            assert_eq!(error.get(ContextKind::SuggestedSubcommand), Some(&expected), "{line:?}: {error}");
        }
        let read = |line: &str| {
            let line = in_words(line.split(' ').map(OsString::from).collect());
            line.join(OsStr::new(" ")).into_string().unwrap()
        };
        assert_eq!(read("accredit help"), "accredit --help");
        assert_eq!(read("accredit help agents list"), "accredit agents list --help");
        assert_eq!(read("accredit version"), "accredit --version");
        assert_eq!(read("accredit agents help"), "accredit agents help");
    }

    /// R383: a help says what the API's description says: the summary of the operation, and the words of each field, parameter and name in
    /// the path, before what it says of typing.
    #[test]
    fn the_help_says_what_the_description_of_the_api_says() {
        let document: Json = serde_json::from_str(include_str!("../../docs/reference/openapi.json")).unwrap();
        let first = |words: &str| words.split([',', ';', ':']).next().unwrap().trim_end_matches('.').to_owned();
        let (mut wrong, mut compared) = (Vec::new(), 0);
        for verb in verbs::all() {
            let path = verb.route.path.replace("{*", "{");
            let operation = &document["paths"][path][verb.route.method.to_ascii_lowercase()];
            let command = of_verb(&verb);
            assert_eq!(command.get_about().unwrap().to_string(), operation["summary"], "{}", verb.words);
            let mut described: Vec<(String, String)> = Vec::new();
            for parameter in operation["parameters"].as_array().into_iter().flatten() {
                let named = parameter["$ref"].as_str().map(|at| document.pointer(at.trim_start_matches('#')).unwrap());
                let parameter = named.unwrap_or(parameter);
                let (name, said) = (parameter["name"].as_str().unwrap_or_default(), parameter["description"].as_str());
                match parameter["in"].as_str().unwrap_or_default() {
                    "path" => described.push((path_id(name), said.unwrap().to_owned())),
                    "query" => described.push((name.to_owned(), said.unwrap().to_owned())),
                    _ => {}
                }
            }
            let body = operation["requestBody"]["content"].as_object().and_then(|content| content.values().next());
            let body = body.map_or(&Json::Null, |body| &body["schema"]["properties"]);
            for (name, about) in body.as_object().into_iter().flatten() {
                let id = if name == "url" { "agent_url" } else { name };
                described.push((id.to_owned(), about["description"].as_str().unwrap().to_owned()));
            }
            for arg in command.get_arguments() {
                let id = arg.get_id().as_str();
                let Some((_, said)) = described.iter().find(|(known, _)| known == id) else {
                    // A file is the whole body.
                    let is_own = ["raw", "follow", "all", "file"].contains(&id);
                    wrong.extend((!is_own).then(|| format!("{}: {id} is not described", verb.words)));
                    continue;
                };
                let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
                let help = help.strip_prefix("No: ").unwrap_or(&help).to_owned();
                compared += 1;
                if help.is_empty() || !help.to_lowercase().starts_with(&first(said).to_lowercase()) {
                    wrong.push(format!("{}: {id}: {help:?}, and the API says {said:?}", verb.words));
                }
            }
        }
        // Of the verbs that are more than one route, what is sent as it is typed.
        for (words, option, path, method, name) in [
            ("auth login", "email", "/auth/token", "post", "email"),
            ("auth login", "tenant", "/auth/token", "post", "tenant"),
            ("auth login", "scope", "/auth/device/code", "post", "scope"),
            ("doctor", "expect", "/api/auth/doctor", "get", "expect"),
        ] {
            let operation = &document["paths"][path][method];
            let body = operation["requestBody"]["content"].as_object().and_then(|content| content.values().next());
            let parameters = operation["parameters"].as_array().into_iter().flatten();
            let mut said = body.and_then(|body| body["schema"]["properties"][name]["description"].as_str());
            said = said
                .or(parameters.into_iter().find(|one| one["name"] == name).and_then(|one| one["description"].as_str()));
            let own = own::all();
            let (_, command) = own.iter().find(|(known, _)| *known == words).unwrap();
            let help = command.get_arguments().find(|arg| arg.get_id() == option).and_then(Arg::get_help).unwrap();
            assert!(help.to_string().starts_with(&first(said.unwrap())), "{words} --{option}: {help}, not {said:?}");
        }
        assert!(wrong.is_empty() && compared > 300, "{compared} {wrong:#?}");
    }

    /// R286: a cursor is taken as it came, whatever it begins with.
    #[test]
    fn a_cursor_can_begin_with_a_hyphen() {
        for line in ["accredit agents list --cursor -aB_9 --all", "accredit token list --cursor --x"] {
            command().try_get_matches_from(line.split(' ')).unwrap();
        }
    }

    #[test]
    fn the_command_line_is_well_formed() {
        command().debug_assert();
    }

    /// Each command says what it does, each group has a title, and each parameter of a query says what it means.
    #[test]
    fn every_command_is_explained() {
        fn check(command: &Command, above: &str) {
            let words = format!("{above} {}", command.get_name());
            assert!(command.get_about().is_some_and(|about| !about.to_string().is_empty()), "{words}");
            for arg in command.get_arguments().filter(|arg| !arg.is_positional()) {
                assert!(arg.get_help().is_some_and(|help| !help.to_string().is_empty()), "{words} {}", arg.get_id());
            }
            command.get_subcommands().for_each(|below| check(below, &words));
        }
        check(&command(), "");
    }
}
