//! `cargo xtask`: the tasks of developers and CI, each in one command.

mod app;
mod bench;
mod browser;
mod build;
mod check;
mod command;
mod conformance;
mod debian;
mod dist;
mod dist_server;
mod http;
mod programs;
mod schemathesis;
mod secrets;
mod server;
mod soak;
mod test;
mod ui;
mod up;
mod wasm;
mod workspace;
mod zip;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, Parser, Subcommand};

use workspace::Workspace;

#[derive(Parser)]
#[command(
    bin_name = "cargo xtask",
    about = "What developers and CI do, each in one command",
    disable_help_subcommand = true
)]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Install what building needs and is missing
    Setup {
        /// Only say what is missing
        #[arg(long)]
        check: bool,
    },
    /// Build the components and the host
    Build(What),
    /// Build, then serve Accredit in the foreground
    Up(up::Up),
    /// Build what the tests need and run every test
    Test {
        /// Only tests with this in their name
        filter: Option<String>,
    },
    /// Build the CLI as the server hands it out, into dist/
    Dist {
        /// The server as one archive instead, into target/server/
        #[arg(long)]
        server: bool,
        /// Pack what was built before, for this machine's C library
        #[arg(long)]
        no_build: bool,
        /// Another folder for it
        #[arg(long, value_name = "FOLDER")]
        into: Option<std::path::PathBuf>,
    },
    /// Write what the server says about its own routes, from the code
    Reference,
    /// Format, lints, licences, advisories
    Check,
    /// Measure the routes against a component that only says hello
    Bench(bench::Bench),
    /// Give an agent ten tasks in plain English on a server of its own, and tell which of them it did
    Conformance(conformance::Conformance),
    /// Load of all kinds for a while: memory must stay flat, answers right
    Soak(soak::Soak),
}

#[derive(Args)]
struct What {
    /// Only the components
    #[arg(long)]
    components: bool,
    /// Only the host
    #[arg(long)]
    host: bool,
    /// Only these components
    #[arg(value_name = "COMPONENT", conflicts_with = "components")]
    names: Vec<String>,
}

fn main() -> ExitCode {
    match run(Cli::parse().task) {
        Ok(code) => code,
        Err(error) => {
            ui::say(format_args!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run(task: Task) -> Result<ExitCode> {
    match task {
        Task::Setup { check } => wasm::setup(check)?,
        Task::Build(what) => what.build()?,
        Task::Up(up) => return up.run(),
        Task::Test { filter } => return test::run(filter.as_deref()),
        Task::Dist { server: false, no_build, into } => dist::run(no_build, into.as_deref())?,
        Task::Dist { no_build, into, .. } => dist_server::run(no_build, into)?,
        Task::Reference => command::run(command::cargo().args(["run", "--quiet", "--package", "reference"]))?,
        Task::Check => return check::run(),
        Task::Bench(bench) => return bench.run(),
        Task::Conformance(conformance) => return conformance.run(),
        Task::Soak(soak) => return soak.run(),
    }
    Ok(ExitCode::SUCCESS)
}

impl What {
    fn build(&self) -> Result<()> {
        let workspace = Workspace::load()?;
        let named: Vec<&str> = self.names.iter().map(String::as_str).collect();
        if !named.is_empty() {
            build::components(&workspace, &named)?;
        } else if self.components || !self.host {
            build::components(&workspace, &workspace.components())?;
        }
        if self.host || (!self.components && named.is_empty()) {
            build::host(&workspace)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }
}
