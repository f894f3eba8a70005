//! The programs of this machine that tests over HTTP run, as `tests/programs.txt` lists them, each with Debian's package.

use crate::command::on_path;
use crate::debian;
use crate::ui::say;

const LIST: &str = include_str!("../../tests/programs.txt");

/// What is missing: the program, and Debian's package.
fn missing() -> Vec<(&'static str, &'static str)> {
    LIST.lines().filter_map(|line| line.split_once(' ')).filter(|(program, _)| on_path(program).is_none()).collect()
}

/// Installs what is missing. `Err` says what still is, and why; each test that needs it fails then.
pub(crate) fn ensure() -> Result<(), String> {
    let lacking = missing();
    if lacking.is_empty() {
        return Ok(());
    }
    let packages: Vec<&str> = lacking.iter().map(|(_, package)| *package).collect();
    let refused = debian::install(&packages).err().map(|why| format!(" ({why})")).unwrap_or_default();
    let still = missing();
    if still.is_empty() { Ok(()) } else { Err(advice(&still) + &refused) }
}

fn advice(lacking: &[(&str, &str)]) -> String {
    let (programs, packages): (Vec<&str>, Vec<&str>) = lacking.iter().copied().unzip();
    format!("some tests over HTTP fail here: no {}. Install {}", programs.join(", "), packages.join(", "))
}

/// For `cargo xtask setup`: whether all is there; with `only_check` nothing is installed.
pub(crate) fn setup(only_check: bool) -> bool {
    let outcome = match missing() {
        lacking if only_check && !lacking.is_empty() => Err(advice(&lacking)),
        _ => ensure(),
    };
    match &outcome {
        Ok(()) => say("ok       programs that tests over HTTP run"),
        Err(why) => say(format_args!("missing  {why}")),
    }
    outcome.is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_has_a_package_for_each_program() {
        assert!(LIST.lines().all(|line| line.split(' ').count() == 2) && LIST.lines().is_sorted());
    }
}
