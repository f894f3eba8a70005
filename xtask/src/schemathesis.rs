//! Schemathesis from PyPI, in an environment of Python's own in the user's cache, or below the target folder where the user has none: nothing
//! of it is in the project's tree.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use crate::command::{self, on_path};
use crate::debian;
use crate::ui::Step;
use crate::workspace::Workspace;

const VERSION: &str = "4.32.5";
/// What makes the values: with another version of it, a seed means other values.
const HYPOTHESIS: &str = "hypothesis==6.170.17";

/// The program; installed, if it is missing. The error says what prevents that.
pub(crate) fn ensure(workspace: &Workspace) -> Result<PathBuf> {
    if let Some(named) = std::env::var_os("ACCREDIT_SCHEMATHESIS") {
        return Ok(named.into());
    }
    let home = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let cache = home("XDG_CACHE_HOME").or_else(|| home("HOME").map(|home| home.join(".cache")));
    let cache = cache.map_or_else(|| workspace.target.clone(), |cache| cache.join("accredit"));
    // The host keeps compiled components there too, and takes no folder that others can write to.
    DirBuilder::new().recursive(true).mode(0o700).create(&cache)?;
    let folder = cache.join(format!("schemathesis-{VERSION}"));
    let program = folder.join("bin/schemathesis");
    // The program is there before what it imports: the last step says that all of it is there.
    if program.exists() && folder.join("whole").exists() {
        return Ok(program);
    }
    let step = Step::begin(format!("installing schemathesis {VERSION} from PyPI"));
    if on_path("python3").is_none() {
        debian::install(&["python3", "python3-venv"]).map_err(anyhow::Error::msg)?;
    }
    let mut venv = Command::new("python3");
    venv.args(["-m", "venv", "--clear"]).arg(&folder);
    if command::run(&mut venv).is_err() {
        debian::install(&["python3-venv"]).map_err(anyhow::Error::msg)?;
        command::run(&mut venv).context("python3 makes no venv: install Debian's python3-venv")?;
    }
    let mut pip = Command::new(folder.join("bin/pip"));
    pip.args(["install", "--quiet", "--disable-pip-version-check", &format!("schemathesis=={VERSION}"), HYPOTHESIS]);
    command::run(&mut pip)
        .context("pip cannot install schemathesis from PyPI; or name the program in ACCREDIT_SCHEMATHESIS")?;
    ensure!(program.exists(), "pip left no {}", program.display());
    std::fs::write(folder.join("whole"), "")?;
    step.done();
    Ok(program)
}
