//! The command line.

use std::net::{Ipv4Addr, SocketAddr, ToSocketAddrs as _};
use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, Subcommand, ValueEnum};

use crate::backup::{Backup, Restore};
use crate::compile;
use crate::health::Health;

/// Runs the Spin application of a manifest.
#[derive(Debug, Parser)]
#[command(name = "accredit-host", version, args_conflicts_with_subcommands = true, disable_help_subcommand = true)]
pub(crate) struct Flags {
    /// The manifest, or its directory.
    #[arg(short = 'f', long = "from", alias = "file", default_value = "spin.toml")]
    pub(crate) from: PathBuf,
    /// The address and port to listen on, or a name that has one, such as `localhost:3000`. Port 0 takes a free one.
    #[arg(long, env = "SPIN_HTTP_LISTEN_ADDR", default_value = "127.0.0.1:3000", value_parser = address)]
    pub(crate) listen: SocketAddr,
    /// The directory of databases and stores. By default `.spin` beside the manifest. An empty value keeps them in memory.
    #[arg(long)]
    pub(crate) state_dir: Option<String>,
    /// A variable: `key=value`, `key=@file`, `@file.json` or `@file.toml`.
    #[arg(long = "variable", value_name = "KEY=VALUE")]
    pub(crate) variables: Vec<String>,
    /// The runtime configuration.
    #[arg(long, env = "RUNTIME_CONFIG_FILE")]
    pub(crate) runtime_config_file: Option<PathBuf>,
    /// How to report the address when the host serves.
    #[arg(long, value_enum, default_value_t = Format::Plain)]
    pub(crate) format: Format,
    /// Do not print the address and the routes on stderr.
    #[arg(short, long)]
    pub(crate) quiet: bool,
    /// A host and port that components may call even if its address is private.
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) allow_private: Vec<String>,
    /// Connections at a time. Further ones get a 503.
    #[arg(long, default_value_t = 1024)]
    pub(crate) max_connections: usize,
    /// Connections of one client's address, or /64 network of IPv6, at a time. Those in the variable `trusted_proxies` have no bound.
    #[arg(long, default_value_t = 256)]
    pub(crate) max_connections_per_address: usize,
    /// How long a client may pause within the body of a request.
    #[arg(long, default_value = "30s", value_parser = parse_duration)]
    pub(crate) body_pause: Duration,
    /// Bytes per second that the body of a request must have on average after its first `--body-pause`. 0 takes any number.
    #[arg(long, value_name = "BYTES", default_value_t = 500)]
    pub(crate) body_rate: u32,
    /// How long the whole body of a request may take.
    #[arg(long, default_value = "300s", value_parser = parse_duration)]
    pub(crate) body_timeout: Duration,
    /// Requests that one instance answers in all. Spin's default is 128; a new instance takes 2 to 5 ms, for which up to 16 requests wait.
    #[arg(long, default_value_t = 16_384)]
    pub(crate) max_instance_reuse_count: usize,
    /// Requests that one instance answers at the same time.
    #[arg(long, default_value_t = 16)]
    pub(crate) max_instance_concurrent_reuse_count: usize,
    /// How long an instance waits for more requests.
    #[arg(long, default_value = "1s", value_parser = parse_duration)]
    pub(crate) idle_instance_timeout: Duration,
    /// How long a request may take until its response begins. By default there is no limit.
    #[arg(long, value_parser = parse_duration)]
    pub(crate) request_timeout: Option<Duration>,
    /// The most memory that one instance may have, in bytes. By default 256 MiB.
    #[arg(long, env = "SPIN_MAX_INSTANCE_MEMORY", value_name = "BYTES")]
    pub(crate) max_instance_memory: Option<usize>,
    /// The directory of compiled components. By default `accredit` in the user's cache directory.
    #[arg(long)]
    pub(crate) cache_dir: Option<PathBuf>,
    /// Compile all components at each start.
    #[arg(long)]
    pub(crate) no_cache: bool,
    /// Send no `POST /internal/tick`.
    #[arg(long)]
    pub(crate) no_tick: bool,
    /// Write a line of JSON for each request from outside into this file, or to the standard output: `-`. SIGHUP opens the file anew.
    #[arg(long, value_name = "FILE")]
    pub(crate) access_log: Option<PathBuf>,
    /// Answer `GET /metrics` on this address, in Prometheus' format. It must be a loopback address.
    #[arg(long, value_name = "ADDRESS:PORT", value_parser = address)]
    pub(crate) metrics: Option<SocketAddr>,
    /// Let `--metrics` have an address that others can reach.
    #[arg(long, requires = "metrics")]
    pub(crate) metrics_for_others: bool,
    /// What to do instead of serving.
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

/// What the host does instead of serving.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Backup(Backup),
    Restore(Restore),
    Health(Health),
    CompileAhead(compile::CompileAhead),
    /// Compiles for the process that started this one.
    #[command(name = compile::SUBCOMMAND, hide = true)]
    Compile(compile::Job),
}

/// How the host reports its address.
#[derive(Debug, Clone, Copy, PartialEq, ValueEnum)]
pub(crate) enum Format {
    /// On stderr, with the routes.
    Plain,
    /// On stderr too, and as one line of JSON on stdout.
    Json,
}

/// Spin's form: an address, or a name that has one; of several, that of this machine's own IPv4 network.
fn address(text: &str) -> Result<SocketAddr, String> {
    let found = text.to_socket_addrs().map_err(|error| format!("{error}; write it as 127.0.0.1:3000"))?;
    let found: Vec<SocketAddr> = found.collect();
    let own = found.iter().find(|address| address.ip() == Ipv4Addr::LOCALHOST);
    own.or(found.first()).copied().ok_or_else(|| format!("{text:?} has no address"))
}

/// Spin's form: a number of seconds, or a number with `s`, `ms`, `us` or `ns`.
fn parse_duration(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let number: u64 = digits.parse().map_err(|_| format!("{text:?} does not begin with a number"))?;
    match text.strip_prefix(digits) {
        Some("" | "s") => Ok(Duration::from_secs(number)),
        Some("ms") => Ok(Duration::from_millis(number)),
        Some("us") => Ok(Duration::from_micros(number)),
        Some("ns") => Ok(Duration::from_nanos(number)),
        _ => Err(format!("{text:?} must end in s, ms, us or ns")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// R470.
    #[test]
    fn a_name_is_an_address_too() {
        for (text, expected) in
            [("localhost:3000", "127.0.0.1:3000"), ("[::1]:0", "[::1]:0"), ("0.0.0.0:80", "0.0.0.0:80")]
        {
            assert_eq!(address(text), Ok(expected.parse().unwrap()), "{text}");
        }
        for text in ["127.0.0.1", "localhost", "127.0.0.1:99999", ""] {
            assert!(address(text).is_err(), "{text}");
        }
        let flags = Flags::try_parse_from(["accredit-host", "--metrics", "localhost:9100"]).unwrap();
        assert_eq!(flags.metrics, Some(SocketAddr::from((Ipv4Addr::LOCALHOST, 9100))));
    }

    /// R523: the manual says each default that is a number, in the row of its option and in their order.
    #[test]
    fn the_manual_has_the_defaults() {
        let manual = include_str!("../../docs/operations.md");
        let command = <Flags as clap::CommandFactory>::command();
        for arg in command.get_arguments() {
            let (Some(name), [default]) = (arg.get_long(), arg.get_default_values()) else { continue };
            let default = default.to_str().unwrap();
            if !default.starts_with(|c: char| c.is_ascii_digit()) {
                continue;
            }
            let option = format!("`--{name}`");
            let row =
                manual.lines().find(|line| line.starts_with("| `--") && line.contains(&option)).unwrap_or(&option);
            let mut cells = row.split(" | ");
            let at = cells.next().unwrap().split(", ").position(|one| one.contains(&option)).unwrap();
            let said = cells.next().unwrap_or_default().split(", ").nth(at).unwrap_or_default();
            assert_eq!(said.trim_matches('`'), default, "{row}");
        }
    }

    #[test]
    fn durations_have_spins_units() {
        assert_eq!(parse_duration("3"), Ok(Duration::from_secs(3)));
        assert_eq!(parse_duration("3s"), Ok(Duration::from_secs(3)));
        assert_eq!(parse_duration("250ms"), Ok(Duration::from_millis(250)));
        assert!(parse_duration("3h").is_err() && parse_duration("s").is_err());
    }
}
