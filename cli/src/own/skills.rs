//! Short guides for coding agents, which are part of this program.

use std::{fs, path::PathBuf};

use clap::ArgMatches;
use serde_json::json;

use crate::{
    fail::{Failure, of_file},
    show,
};

/// A guide: its name, what it is for, and its text.
const SKILLS: &[(&str, &str, &str)] = &[
    (
        "accredit",
        "Who you are, what you may do, and what to do when you are refused",
        include_str!("../../skills/accredit.md"),
    ),
    ("accredit-agents", "Register, stop and hand over agents", include_str!("../../skills/accredit-agents.md")),
    (
        "accredit-tokens",
        "Make, rotate and revoke tokens without showing them",
        include_str!("../../skills/accredit-tokens.md"),
    ),
];

pub(super) fn list(typed: &ArgMatches) -> Result<u8, Failure> {
    let rows: Vec<_> = SKILLS.iter().map(|(name, what, _)| json!({ "name": name, "what": what })).collect();
    if typed.get_flag("json") {
        show::json(&json!({ "items": rows }));
        return Ok(0);
    }
    show::out(&show::table(&rows, &[("NAME", "name"), ("WHAT", "what")]));
    Ok(0)
}

fn find(name: &str) -> Result<&'static (&'static str, &'static str, &'static str), Failure> {
    let unknown =
        || Failure::usage(format!("There is no guide {}.", show::line(name))).fix("See: accredit skills list");
    SKILLS.iter().find(|(known, _, _)| *known == name).ok_or_else(unknown)
}

pub(super) fn show(typed: &ArgMatches) -> Result<u8, Failure> {
    let (_, _, text) = find(typed.get_one::<String>("name").map_or("", String::as_str))?;
    show::raw(text);
    Ok(0)
}

/// Writes `FOLDER/<name>/SKILL.md`, where coding agents look for guides. A file that is there is replaced: it is ours by its name.
pub(super) fn install(typed: &ArgMatches) -> Result<u8, Failure> {
    let folder = PathBuf::from(typed.get_one::<String>("folder").map_or("", String::as_str));
    let named: Vec<&String> = typed.get_many("name").into_iter().flatten().collect();
    let chosen = match named.as_slice() {
        [] => SKILLS.iter().collect(),
        names => names.iter().map(|name| find(name)).collect::<Result<Vec<_>, _>>()?,
    };
    for (name, _, text) in chosen {
        let file = folder.join(name).join("SKILL.md");
        fs::create_dir_all(folder.join(name)).and_then(|()| fs::write(&file, text)).map_err(of_file(file.display()))?;
        show::out(&file.display().to_string());
    }
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guide_is_short_and_says_what_it_is_for() {
        for (name, what, text) in SKILLS {
            assert!(text.starts_with(&format!("---\nname: {name}\ndescription: {what}\n---\n")), "{name}");
            assert!(text.len() < 4_000, "{name}");
        }
    }

    /// Every command that a guide names is one.
    #[test]
    fn the_commands_of_the_guides_are_there() {
        let mut count = 0;
        for (name, _, text) in SKILLS {
            for line in text.lines().filter_map(|line| line.trim().strip_prefix("accredit ")) {
                let line = line.split(" #").next().unwrap_or_default().split(" |").next().unwrap_or_default();
                // What stands in quotes is one word.
                let parts = line.split('\'').enumerate();
                let words = parts.flat_map(|(place, part)| match place % 2 {
                    0 => part.split_whitespace().collect(),
                    _ => vec![part],
                });
                let matched = crate::line::command().try_get_matches_from(std::iter::once("accredit").chain(words));
                assert!(matched.is_ok(), "{name}: accredit {line}: {}", matched.unwrap_err());
                count += 1;
            }
        }
        assert!(count > 10, "{count}");
    }
}
