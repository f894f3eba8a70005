//! The verbs that are more than one route, or none.

use clap::{Arg, ArgAction, Command, value_parser};
use common::route;

use super::{DASH, Dash, up_to_an_hour};
use crate::words;

/// All of them, by their words.
pub(super) fn all() -> Vec<(&'static str, Command)> {
    [credential(), agents(), others(), itself()].into_iter().flatten().collect()
}

/// The credential that this command uses.
fn credential() -> Vec<(&'static str, Command)> {
    let token = || Arg::new("token").long("token").value_name(DASH).value_parser(Dash);
    let file = || {
        Arg::new("export")
            .long("export")
            .action(ArgAction::SetTrue)
            .help("Print a line for the shell that sets both variables")
    };
    vec![
        (
            "auth login",
            Command::new("login")
                .about("Sign in: by a code that you approve in a browser, by password, or with a token")
                .args([
                    Arg::new("password")
                        .long("password")
                        .action(ArgAction::SetTrue)
                        .conflicts_with("token")
                        .help("By e-mail and password"),
                    Arg::new("email")
                        .long("email")
                        .value_name("EMAIL")
                        .help(format!("{}; with --password", words::of(route::SIGN_IN, "email"))),
                    Arg::new("tenant")
                        .long("tenant")
                        .value_name("TENANT")
                        .help(format!("{}; with --password", words::of(route::SIGN_IN, "tenant"))),
                    token().help("With a token from standard input"),
                    Arg::new("scope")
                        .long("scope")
                        .value_name("SCOPE")
                        .action(ArgAction::Append)
                        .value_delimiter(',')
                        .help(words::of(route::DEVICE_CODE, "scope").replace("spaces", "commas")),
                ]),
        ),
        (
            "auth import-token",
            Command::new("import-token").about("Save a token, after the server has accepted it").args([
                Arg::new("token")
                    .long("token")
                    .value_name(DASH)
                    .required(true)
                    .help("The token; - reads it from standard input"),
                Arg::new("skip-verify").long("skip-verify").action(ArgAction::SetTrue).help("Do not ask the server"),
            ]),
        ),
        (
            "auth enroll",
            Command::new("enroll").about("Trade an enrolment code for the agent's token, and save it").args([
                Arg::new("code").value_name(DASH).default_value("-").help("The code; - reads it from standard input"),
                Arg::new("bind")
                    .long("bind")
                    .action(ArgAction::SetTrue)
                    .help("Bind the token to a key that is made for it, and that stays on this machine"),
            ]),
        ),
        ("auth status", Command::new("status").about("Server, profile and credential that are used").arg(file())),
        (
            "auth logout",
            Command::new("logout").about("End the saved credential, and forget it").arg(
                Arg::new("keep").long("keep").action(ArgAction::SetTrue).help("Forget it here, and do not end it"),
            ),
        ),
    ]
}

/// Agents: their tree, their secrets, and what they wait for or lack.
fn agents() -> Vec<(&'static str, Command)> {
    let whose =
        || Arg::new("agent").long("agent").value_name("NAME").help("Refuse unless the credential is this agent's");
    vec![
        ("agents tree", Command::new("tree").about("The agents that you may read, as a tree")),
        (
            "agents watch",
            Command::new("watch").about("The tree as it changes; in a pipe, a line for each change").arg(
                Arg::new("every")
                    .long("every")
                    .value_name("TIME")
                    .value_parser(up_to_an_hour)
                    .help("Look at this interval, such as 30s, whatever the server's events say"),
            ),
        ),
        (
            "secrets exec",
            Command::new("exec").about("Run a command with the agent's secrets in its environment").args([
                whose(),
                Arg::new("command")
                    .value_name("CMD")
                    .last(true)
                    .required(true)
                    .num_args(1..)
                    .value_parser(value_parser!(std::ffi::OsString))
                    .help("The command and its arguments; no file is written"),
            ]),
        ),
        (
            "secrets write",
            Command::new("write").about("Write each secret into a file that only you can read").args([
                whose(),
                Arg::new("folder")
                    .value_name("DIR")
                    .required(true)
                    .value_parser(value_parser!(std::path::PathBuf))
                    .help("A directory of mode 0700, or one that is not there yet"),
            ]),
        ),
        (
            "access wait",
            Command::new("wait").about("Wait until somebody has decided a request").arg(
                Arg::new("id").value_name("ID").required(true).help("The id, the first letters of it, or the reason"),
            ),
        ),
        (
            "doctor",
            Command::new("doctor").about("What prevents you from working, and how to fix it").arg(
                Arg::new("expect")
                    .long("expect")
                    .value_name("SCOPE")
                    .action(ArgAction::Append)
                    .value_delimiter(',')
                    .help(words::of(route::DOCTOR, "expect")),
            ),
        ),
    ]
}

/// What goes to other programs, or comes from them.
fn others() -> Vec<(&'static str, Command)> {
    vec![
        (
            "mcp config",
            Command::new("config")
                .about("Print what a client of the Model Context Protocol needs to reach the server")
                .args([
                    Arg::new("client")
                        .long("client")
                        .value_name("CLIENT")
                        .value_parser(["claude", "codex", "cursor", "gemini", "vscode", "json"])
                        .default_value("claude")
                        .help("Whose configuration"),
                    Arg::new("with-token")
                        .long("with-token")
                        .action(ArgAction::SetTrue)
                        .help("Print the token in it, in place of the name of a variable"),
                ]),
        ),
        (
            "receipt verify",
            Command::new("verify").about("Whether a receipt of a closure is genuine, and what it proves").args([
                Arg::new("file").value_name("FILE").required(true).help("The receipt; - reads it from standard input"),
                Arg::new("jwks")
                    .long("jwks")
                    .value_name("FILE|URL")
                    .help("The keys of the server that signed it; left out, it is asked for them"),
                Arg::new("issuer")
                    .long("issuer")
                    .value_name("URL")
                    .help("The server whose receipt it must be; left out, that of the keys, or the configured one"),
            ]),
        ),
        (
            "token check",
            Command::new("check").about("Whether a text has the form of a credential; asks no server").arg(
                Arg::new("token")
                    .value_name(DASH)
                    .value_parser(Dash)
                    .default_value("-")
                    .help("Read from standard input"),
            ),
        ),
        ("skills list", Command::new("list").about("List the guides")),
        (
            "skills show",
            Command::new("show").about("Print a guide").arg(Arg::new("name").value_name("NAME").required(true)),
        ),
        (
            "skills install",
            Command::new("install").about("Write the guides into a folder of a coding agent").args([
                Arg::new("folder").value_name("FOLDER").required(true),
                Arg::new("name").long("name").value_name("NAME").action(ArgAction::Append).help("Only this one"),
            ]),
        ),
    ]
}

/// This program.
fn itself() -> Vec<(&'static str, Command)> {
    vec![
        (
            "self update",
            Command::new("update").about("Replace this program by the one that the server hands out").arg(
                Arg::new("check").long("check").action(ArgAction::SetTrue).help("Only say whether there is another"),
            ),
        ),
        (
            "completions",
            Command::new("completions").about("Print the completions of a shell").arg(
                Arg::new("shell").value_name("SHELL").required(true).value_parser(value_parser!(clap_complete::Shell)),
            ),
        ),
        (
            "man",
            Command::new("man")
                .about("Print the manual page of the program, or of a command")
                .arg(Arg::new("words").value_name("COMMAND").num_args(0..).help("Its words, such as: agents list")),
        ),
    ]
}
