//! What was typed for every command, such as `--profile`: a command that is printed to be pasted has it too. Without it, that one would run
//! as somebody else, or at another server.

use std::sync::OnceLock;

static TYPED: OnceLock<Typed> = OnceLock::new();

/// What begins a command.
const PROGRAM: &str = "accredit ";
/// What is said of a command that somebody else runs, who has profiles of their own.
const OTHERS: &[&str] = &["owner", "dmin to ", "dmin can ", "dmin registers "];

/// What was typed beside a verb.
pub(crate) struct Typed {
    /// Options with what was typed for them.
    pub(crate) options: Vec<(&'static str, String)>,
    /// The words that a command can begin with.
    pub(crate) words: Vec<String>,
}

/// Keeps what was typed, once.
pub(crate) fn keep(typed: Typed) {
    _ = TYPED.set(typed);
}

/// The text, with what was typed in each command of it.
pub(crate) fn told(text: &str) -> String {
    TYPED.get().map_or_else(|| text.to_owned(), |typed| with(text, typed))
}

fn with(text: &str, typed: &Typed) -> String {
    let (mut written, mut rest) = (String::new(), text);
    while let Some((before, after)) = rest.split_once(PROGRAM) {
        written.push_str(before);
        let is_whole = !written.ends_with(|c: char| c.is_alphanumeric() || "-_./@'".contains(c));
        let word = after.split([' ', '.', ',', ';', ')']).next().unwrap_or_default();
        let is_command = is_whole && typed.words.iter().any(|known| known == word);
        let is_of_others = is_of_others(&written);
        written.push_str(PROGRAM);
        // What the text itself names is what is meant.
        let new = typed.options.iter().filter(|(option, _)| is_command && !text.contains(option));
        for (option, value) in new.filter(|(option, _)| !is_of_others || *option != "--profile") {
            written.push_str(&format!("{option} {} ", quoted(value)));
        }
        rest = after;
    }
    written + rest
}

/// Whether the part of a sentence before a command says that somebody else runs it.
fn is_of_others(before: &str) -> bool {
    let start = [". ", ", ", "; ", ": "].iter().filter_map(|end| before.rfind(end)).max().unwrap_or(0);
    let part = before.get(start..).unwrap_or_default();
    let is_asked = part.split_once("sk ").is_some_and(|(_, asked)| asked.contains(" to "));
    is_asked || OTHERS.iter().any(|others| part.contains(others))
}

/// A word of a shell.
pub(crate) fn quoted(text: &str) -> String {
    let is_plain = |c: char| c.is_alphanumeric() || "-_.,@:/+=".contains(c);
    if !text.is_empty() && text.chars().all(is_plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// R654: a command that is pasted runs as the same one, at the same server.
    #[test]
    fn a_command_goes_on_with_what_was_typed() {
        let words = ["auth", "agents", "access", "--help"].map(str::to_owned).to_vec();
        let options = vec![("--profile", "my bot".to_owned()), ("--url", "https://a.example".to_owned())];
        let typed = Typed { options, words };
        for (text, expected) in [
            ("Sign in: accredit auth login", "Sign in: accredit --profile 'my bot' --url https://a.example auth login"),
            (
                "Run accredit agents list, or accredit --help.",
                "Run accredit --profile 'my bot' --url https://a.example agents list, or \
                 accredit --profile 'my bot' --url https://a.example --help.",
            ),
            (
                "Wait for the decision of ada or an admin: accredit access wait acc_1.",
                "Wait for the decision of ada or an admin: accredit --profile 'my bot' --url https://a.example access wait acc_1.",
            ),
            // Somebody else has other profiles.
            (
                "Wait. An admin can list them with accredit agents list.",
                "Wait. An admin can list them with accredit --url https://a.example agents list.",
            ),
            (
                "Stop, or ask ada@a.example to run accredit agents list.",
                "Stop, or ask ada@a.example to run accredit --url https://a.example agents list.",
            ),
            (
                "The agent's owner runs accredit agents enrol x",
                "The agent's owner runs accredit --url https://a.example agents enrol x",
            ),
            // What is named stays.
            ("accredit auth login --url https://b --profile b", "accredit auth login --url https://b --profile b"),
            (
                "uv tool upgrade accredit in it; not-accredit agents",
                "uv tool upgrade accredit in it; not-accredit agents",
            ),
        ] {
            assert_eq!(with(text, &typed), expected);
        }
        assert_eq!(told("accredit auth login"), "accredit auth login");
    }
}
