//! R120: Schemathesis, a client that knows the OpenAPI document and nothing else, asks every operation with good and bad values. Whatever it
//! sends, an answer is one that the document describes, and never a fault of the server.
//!
//! `cargo xtask test` installs it from PyPI; `ACCREDIT_SCHEMATHESIS` names another copy of the program.

#![expect(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "helpers of tests: whatever is not as expected ends the test"
)]

use std::{fs, path::PathBuf};

use serde_json::{Value as Json, json};
use tests::{Server, process::asking, server::KEY};

/// Seconds for each kind of caller. It stops where it is then; a slow machine, on which that was too early, has the next of them too.
const SECONDS: [&str; 3] = ["45", "180", "720"];
const SEED: &str = "1";
/// What would end the caller's own credential or lock it out, waits for long, or asks for a secret that no caller has.
const EXCLUDED: &str = "/stream$|/inbox$|^/auth/(logout|tokens/me|sessions|password|leaks|factor|oidc|token$)|^/api/users/[^/]+/sessions|^/auth/(admin/)?tokens/[{]id[}]$|^/operator/|^/internal|^/api/tenant$";
/// Of an answer. A 503 of the table is as described; a 500 is looked for in the log.
const CHECKS: &str = "status_code_conformance,content_type_conformance,response_headers_conformance,\
                      response_schema_conformance";

/// The program.
fn program() -> PathBuf {
    let named = std::env::var_os("ACCREDIT_SCHEMATHESIS").map(PathBuf::from);
    named.unwrap_or_else(|| {
        panic!(
            "Schemathesis is missing. `cargo xtask test` installs it with python3 and its module venv from PyPI; or install it by \
             hand, and name the program in ACCREDIT_SCHEMATHESIS"
        )
    })
}

/// Asks all operations as this caller, for so many seconds at most; gives the report.
fn ask(server: &Server, bearer: &str, seconds: &str) -> Json {
    let folder = tempfile::tempdir().unwrap();
    let report = folder.path().join("report.json");
    let mut command = asking(program());
    command.current_dir(folder.path()).arg("run").arg(format!("{}/openapi.json", server.host().base_url()));
    command.args([
        "--phases",
        "examples,coverage,fuzzing",
        "--max-examples",
        "5",
        "--max-time",
        seconds,
        "--seed",
        SEED,
    ]);
    // In one thread: the order of what it sends is the seed's.
    command.args([
        "--workers",
        "1",
        "--request-timeout",
        "60",
        "--continue-on-failure",
        "--no-shrink",
        "--warnings",
        "off",
    ]);
    command.args(["--generation-database", "none", "--checks", CHECKS, "--exclude-path-regex", EXCLUDED]);
    command.args(["--header", &format!("Authorization: Bearer {bearer}"), "--report", "json", "--report-json-path"]);
    let output = command.arg(&report).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let text = fs::read_to_string(&report).unwrap_or_else(|error| panic!("no report: {error}\n{said}"));
    let report: Json = serde_json::from_str(&text).unwrap();
    let failures = report["failures"].as_array().unwrap();
    assert!(failures.is_empty(), "{failures:#?}\n{said}");
    report
}

/// Asks until enough was asked.
fn ask_enough(server: &Server, bearer: &str) {
    let mut asked = Vec::new();
    let is_enough = SECONDS.iter().any(|seconds| {
        let report = ask(server, bearer, seconds);
        let count = |path: &str| report.pointer(path).and_then(Json::as_u64).unwrap_or_default();
        asked.push((report["operations"].clone(), report["test_cases"].clone()));
        count("/operations/tested") > 100 && count("/test_cases/generated") > 500
    });
    assert!(is_enough, "{asked:#?}");
}

#[test]
fn whatever_is_sent_an_answer_is_one_that_is_described() {
    let mail = [
        ("mail_provider", "webhook"),
        ("mail_host", "localhost:9"),
        ("mail_from", "a@example.com"),
        ("mail_token", "t"),
    ];
    let settings = Server::settings().variable("secrets_key", KEY).variable("signing_key", KEY);
    let settings = settings.variable("audit_key", "another-key-of-the-operator-that-is-long-enough");
    let server = mail.into_iter().fold(settings, |settings, (name, value)| settings.variable(name, value)).start();
    let admin = server.bootstrap();
    ask_enough(&server, admin.bearer());
    // It has not locked itself out: what it asked was answered by routes, not by the guard.
    admin.get("/api/auth/whoami").is(200);

    let scout = server.agent(&admin, "fuzzed", &["*"]);
    admin.post("/api/agents/fuzzed/start", &json!({}));
    ask_enough(&server, scout.client.bearer());
    let log = server.host().log();
    let failed: Vec<&str> = log.lines().filter(|line| line.contains(" internal: ")).collect();
    assert!(failed.is_empty() && !log.contains("panicked"), "{failed:#?}");
}
