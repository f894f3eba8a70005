//! `cargo xtask check`: format, lints, dependencies.

use std::process::{Command, ExitCode};

use anyhow::Result;

use crate::command;
use crate::ui::{Step, say};
use crate::wasm::Toolchain;
use crate::workspace::{WASM, Workspace};

/// The linter of the OpenAPI document.
const REDOCLY: &str = "@redocly/cli@2.77.0";

pub(crate) fn run() -> Result<ExitCode> {
    let workspace = Workspace::load()?;
    let mut failed = Vec::new();
    let mut check = |what: &'static str, command: &mut Command| {
        let step = Step::begin(what);
        match command::run(command.current_dir(&workspace.root)) {
            Ok(()) => step.done(),
            Err(error) => {
                say(format_args!("error: {error:#}"));
                failed.push(what);
            }
        }
    };

    check("format", command::cargo().args(["fmt", "--all", "--check"]));
    check("clippy", command::cargo().args(["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]));
    if let Ok(Toolchain::Installed) = Toolchain::find() {
        let mut clippy = command::cargo();
        clippy.args(["clippy", "--target", WASM]);
        for name in workspace.components().into_iter().chain(workspace.test_components()) {
            clippy.args(["--package", name]);
        }
        check("clippy for wasm", clippy.args(["--", "-D", "warnings"]));
    } else {
        say(format_args!("skipped: clippy for wasm needs the standard library that `rustup target add {WASM}` brings"));
    }
    if command::on_path("cargo-deny").is_some() {
        check(
            "licences, bans, sources",
            command::cargo().args(["deny", "--workspace", "check", "bans", "licenses", "sources"]),
        );
        check("advisories", command::cargo().args(["deny", "--workspace", "check", "advisories"]));
    } else {
        say("skipped: licences and advisories need `cargo install --locked cargo-deny`");
    }

    if command::on_path("npm").is_some() {
        let mut redocly = Command::new("npm");
        redocly.args(["exec", "--yes", "--package", REDOCLY, "--", "redocly", "lint", "--config", "redocly.yaml"]);
        check("OpenAPI document", redocly.args(["--max-problems", "20", "docs/reference/openapi.json"]));
    } else {
        say("skipped: linting the OpenAPI document needs npm");
    }

    if failed.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    say(format_args!("\nfailed: {}", failed.join(", ")));
    Ok(ExitCode::FAILURE)
}
