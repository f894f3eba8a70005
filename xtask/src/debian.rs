//! Installing packages of Debian, where we may.

use std::process::Command;
use std::time::Duration;

use crate::command;
use crate::ui::Step;

const APT_LIMIT: Duration = Duration::from_secs(600);

/// Installs Debian packages, as root or with a sudo that asks nothing. The error says why that cannot be.
pub(crate) fn install(packages: &[&str]) -> Result<(), String> {
    if command::on_path("apt-get").is_none() {
        return Err("no apt-get here to install packages with".to_owned());
    }
    let is_root = rustix::process::geteuid().is_root();
    if !is_root && !command::succeeds_within(Command::new("sudo").args(["-n", "true"]), Duration::from_secs(10)) {
        return Err(format!("only root may install packages: `sudo apt-get install {}`", packages.join(" ")));
    }
    let apt = |arguments: &[&str]| {
        let mut command = if is_root { Command::new("env") } else { Command::new("sudo") };
        if !is_root {
            command.args(["-n", "env"]);
        }
        // Never in the way of what is installed: `--no-remove`. Another apt may be at work: wait for it.
        command
            .args(["DEBIAN_FRONTEND=noninteractive", "apt-get", "-qq", "-o", "DPkg::Lock::Timeout=120"])
            .args(arguments);
        command::succeeds_within(&mut command, APT_LIMIT)
    };
    let step = Step::begin(format!("apt-get install {}", packages.join(" ")));
    // Old lists may do too: only the installation decides.
    apt(&["update"]);
    let mut install = vec!["install", "-y", "--no-install-recommends", "--no-remove"];
    install.extend(packages);
    if !apt(&install) {
        return Err(format!("`apt-get install {}` failed; run it by hand to see why", packages.join(" ")));
    }
    step.done();
    Ok(())
}
