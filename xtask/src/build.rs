//! `cargo xtask build`: the components for wasm, the host for this machine.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use crate::command;
use crate::ui::{Step, say};
use crate::wasm::Toolchain;
use crate::workspace::Workspace;

/// The bound on the size of all components together, bytes: each host that starts with an empty cache compiles them.
const HEAVY: u64 = 24_000_000;

/// Builds components, and leaves each `.wasm` where a manifest looks for it.
pub(crate) fn components(workspace: &Workspace, names: &[&str]) -> Result<()> {
    if names.is_empty() {
        return Ok(());
    }
    let toolchain = Toolchain::ensure()?;
    let step = Step::begin(format!("building components {}", names.join(" ")));
    let (mut cargo, built) = toolchain.build(workspace);
    for name in names {
        cargo.args(["--package", name]);
    }
    if let Some((commit, time)) = commit(workspace) {
        cargo.env("ACCREDIT_COMMIT", commit).env("ACCREDIT_BUILT_AT", time);
    }
    command::run(&mut cargo)?;
    let folder = workspace.wasm_folder();
    fs::create_dir_all(&folder)?;
    let mut all = 0;
    for name in names {
        // As cargo names the file of a package.
        let file = format!("{}.wasm", name.replace('-', "_"));
        let to = folder.join(&file);
        replace_if_other(&built.join(&file), &to)?;
        let size = fs::metadata(&to)?.len();
        all += size;
        say(format_args!("    {file:<14} {:>5} KB", size.div_ceil(1000)));
    }
    let remark = if all > HEAVY { "; more than the bound" } else { "" };
    say(format_args!("    {:<14} {:>5} KB of at most {} KB{remark}", "all", all.div_ceil(1000), HEAVY / 1000));
    step.done();
    Ok(())
}

/// The commit that is built, with `-dirty` where files differ from it, and the time of the build: that of the commit, so that the same source
/// makes the same bytes, or what `SOURCE_DATE_EPOCH` says. `None`: this is no repository.
pub(crate) fn commit(workspace: &Workspace) -> Option<(String, String)> {
    let root = workspace.root.to_str()?;
    let commit =
        command::output_of("git", &["-C", root, "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"])?;
    let time = match std::env::var("SOURCE_DATE_EPOCH") {
        Ok(seconds) => command::output_of("date", &["-u", "-d", &format!("@{seconds}"), "+%Y-%m-%dT%H:%M:%SZ"])?,
        Err(_) => {
            let form = "--format=%cd";
            let date = ["-c", "log.showSignature=false", "log", "-1", form, "--date=format-local:%Y-%m-%dT%H:%M:%SZ"];
            let output =
                std::process::Command::new("git").args(["-C", root]).args(date).env("TZ", "UTC").output().ok()?;
            String::from_utf8(output.stdout).ok()?
        }
    };
    Some((commit.trim().to_owned(), time.trim().to_owned()))
}

/// Builds a package's native program in the profile `native`; returns its path.
pub(crate) fn native(workspace: &Workspace, package: &str, program: &str) -> Result<PathBuf> {
    if !workspace.native(program).exists() {
        say(format_args!("    {package} is built for the first time here: that takes minutes"));
    }
    let step = Step::begin(format!("building {package}"));
    command::run(command::cargo().current_dir(&workspace.root).args([
        "build",
        "--profile",
        "native",
        "--package",
        package,
    ]))?;
    step.done();
    Ok(workspace.native(program))
}

/// The host.
pub(crate) fn host(workspace: &Workspace) -> Result<PathBuf> {
    native(workspace, "accredit-host", "accredit-host")
}

/// Puts a copy of `from` at `to`, in one move, unless it is there already: nobody reads half a file, and what is the same stays untouched.
fn replace_if_other(from: &Path, to: &Path) -> Result<()> {
    let new = fs::read(from).with_context(|| format!("cargo left no {}", from.display()))?;
    if from == to || fs::read(to).is_ok_and(|old| old == new) {
        return Ok(());
    }
    let part = to.with_extension(format!("part-{}", std::process::id()));
    fs::write(&part, new).and_then(|()| fs::rename(&part, to)).with_context(|| format!("cannot write {}", to.display()))
}
