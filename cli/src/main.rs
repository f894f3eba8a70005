//! `accredit`: the command of an Accredit server.
//!
//! Imports run one way, from the bottom of this list to the top:
//!
//! ```text
//! main
//! own                   verbs that ask more than one route, or none
//! run                   a verb of the table: what was typed, the request, the answer
//! login                 sign-in, and a session for what only sessions may do
//! line                  the command line
//! closing               what a change has ended, and since when
//! successor             the token that has replaced the profile's own
//! pages                 lists of any length
//! context               what every verb has
//! http                  requests
//! proxy, trust          through which proxy, and which certificates are trusted
//! fix                   steps of refusals as commands
//! words                 what the API's description says of what is typed
//! verbs, config         the table of verbs; files of the user
//! span                  durations and times as people write them
//! show                  what a person sees
//! hidden                what is typed without an echo
//! key                   the key that a token is bound to
//! fail                  failures and exit statuses
//! again                 what was typed, in commands that are printed
//! ```
#![forbid(unsafe_code)]

mod again;
mod closing;
mod config;
mod context;
mod fail;
mod fix;
mod hidden;
mod http;
mod key;
mod line;
mod login;
mod own;
mod pages;
mod proxy;
mod run;
mod show;
mod span;
mod successor;
mod trust;
mod verbs;
mod words;

use std::process::ExitCode;

use clap::{ArgMatches, error::ErrorKind};

use crate::{
    context::Context,
    fail::{Exit, Failure},
};

fn main() -> ExitCode {
    let line = line::in_words(std::env::args_os().collect());
    let matches = match line::command().try_get_matches_from(&line) {
        Ok(matches) => matches,
        Err(error) => {
            let line: Vec<String> = line.iter().map(|word| word.to_string_lossy().into_owned()).collect();
            let error = line::with_tips(line::without_credentials(error, &line), &line);
            drop(error.print());
            let is_help = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
            return ExitCode::from(if is_help { 0 } else { Exit::Usage as u8 });
        }
    };
    let (words, typed) = line::typed(&matches);
    line::keep(typed);
    match act(&words, typed) {
        Ok(code) => ExitCode::from(code),
        Err(failure) => {
            let is_json = typed.try_get_one::<bool>("json").ok().flatten().copied().unwrap_or_default();
            match &failure.answer {
                Some(answer) if is_json => show::json(answer),
                _ => show::failure(&failure),
            }
            ExitCode::from(failure.exit as u8)
        }
    }
}

fn act(words: &str, typed: &ArgMatches) -> Result<u8, Failure> {
    if let Some(done) = own::offline(words, typed) {
        return done;
    }
    let context = Context::of(typed)?;
    with(&context, words, typed).map_err(|failure| context.settings.explained(failure))
}

fn with(context: &Context, words: &str, typed: &ArgMatches) -> Result<u8, Failure> {
    if let Some(done) = own::online(words, context, typed) {
        return done;
    }
    let verbs = verbs::all();
    let verb = verbs.iter().find(|verb| verb.words == words);
    let verb = verb.ok_or_else(|| Failure::usage(format!("accredit {words} is no command.")))?;
    run::run(context, verb, typed)
}
