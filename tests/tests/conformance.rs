//! R160, R161: `cargo xtask conformance` tells an agent that does its tasks from one that does nothing and from one that does something
//! else; a script that knows of Accredit only what the server says of itself does all of them.

#![expect(clippy::panic, clippy::unwrap_used, reason = "helpers of tests: whatever is not as expected ends the test")]

use std::{collections::BTreeMap, fs, path::PathBuf, process::Command};

use serde_json::{Value as Json, json};
use tests::{host, process::asking};

const TASKS: [&str; 10] = [
    "who-am-i",
    "tell-a-person",
    "write-progress",
    "ask-for-a-right",
    "correct-a-request",
    "rotate-own-token",
    "read-a-secret",
    "answer-a-message",
    "stop-when-told",
    "enrol",
];

/// The program that `cargo xtask test` names, or what cargo runs.
fn xtask() -> Command {
    match std::env::var_os("ACCREDIT_XTASK") {
        Some(program) => asking(PathBuf::from(program)),
        None => {
            let mut cargo = asking(env!("CARGO"));
            cargo.args(["run", "--quiet", "--package", "xtask", "--"]);
            cargo
        }
    }
}

/// Runs the tasks with an agent; gives whether it did all of them, and the document.
fn play(agent: &str, more: &[&str]) -> (bool, Json) {
    let mut command = xtask();
    // The harness starts the host that the other tests start.
    let played = command.current_dir(host::root()).args(["conformance", "--no-build", "--agent", agent]).args(more);
    let played = played.output().unwrap();
    let said = String::from_utf8_lossy(&played.stderr);
    let document = serde_json::from_slice(&played.stdout).unwrap_or_else(|error| panic!("{error}: {said}"));
    (played.status.success(), document)
}

fn script(how: &str) -> String {
    format!("python3 {}/tests/conformance/agent.py {how}", host::root().display())
}

fn verdicts(document: &Json) -> BTreeMap<String, String> {
    let tasks = document["tasks"].as_array().unwrap();
    tasks.iter().map(|task| (task["task"].as_str().unwrap().into(), task["verdict"].as_str().unwrap().into())).collect()
}

/// R160, R161, R414: what the server says of itself is enough for each task.
#[test]
fn a_script_that_reads_what_the_server_says_succeeds_at_every_task() {
    let (is_done, document) = play(&script(""), &[]);
    assert!(is_done, "{document:#}");
    assert_eq!(
        (&document["succeeded"], &document["wrong_path"], &document["gave_up"]),
        (&json!(10), &json!(0), &json!(0))
    );
    let tasks = document["tasks"].as_array().unwrap();
    assert_eq!(tasks.iter().map(|task| task["task"].as_str().unwrap()).collect::<Vec<_>>(), TASKS);
    for task in tasks {
        // `/`, the page that it leads to, the manual, the routes, and what the task takes.
        let requests = task["requests"].as_u64().unwrap();
        assert!((4..=40).contains(&requests) && task["ended"] == "exit 0", "{task}");
    }
    // R414: the page lists these tasks, and what became of them when it was written last.
    let page = fs::read_to_string(host::root().join("docs/conformance.md")).unwrap();
    let rows = |heading: &str| -> Vec<Vec<String>> {
        let (_, below) = page.split_once(heading).unwrap();
        let lines = below.lines().skip_while(|line| !line.starts_with("|---")).skip(1);
        let rows = lines.take_while(|line| line.starts_with('|'));
        rows.map(|line| line.trim_matches('|').split('|').map(|cell| cell.trim().replace('`', "")).collect()).collect()
    };
    assert_eq!(rows("\n## The tasks\n").iter().map(|row| &*row[0]).collect::<Vec<_>>(), TASKS);
    // How many requests it took depends on how long it waited.
    let written: BTreeMap<String, String> =
        rows("\n## The last result\n").into_iter().map(|row| (row[0].clone(), row[1].clone())).collect();
    assert_eq!(written, verdicts(&document));
    assert!(
        page.contains("**No result of a model is recorded.**")
            && page.contains(r#"{"succeeded": 10, "wrong_path": 0, "gave_up": 0}"#)
    );
    // Refusals that lead on are a part of two tasks.
    assert!(tasks.iter().filter(|task| task["refused"].as_u64() > Some(0)).count() >= 2, "{document:#}");
}

/// R397: without an agent, the scripted ones show which share of them reaches its answer with one click, and how fast; with a task, they
/// do not run.
#[test]
fn the_scripted_agents_reach_their_answer_with_one_click() {
    let played = xtask().current_dir(host::root()).args(["conformance", "--no-build"]).output().unwrap();
    let said = String::from_utf8_lossy(&played.stderr);
    assert!(played.status.success(), "{said}");
    assert!(
        said.contains("refusals: 10 of 10 agents reach their answer with one click of a person; median "),
        "{said}"
    );
    let document: Json = serde_json::from_slice(&played.stdout).unwrap();
    let refusals = &document["refusals"];
    assert_eq!((&refusals["agents"], &refusals["reached"], &refusals["share"]), (&json!(10), &json!(10), &json!(1.0)));
    let each = refusals["each"].as_array().unwrap();
    assert_eq!(each.len(), 10);
    for agent in each {
        // Its request, the ask, at least one look at the decision, and its request again.
        assert!(agent["clicks"] == 1 && agent["requests"].as_u64() >= Some(4), "{agent}");
        assert!(agent["ms_after_decision"].as_u64() <= agent["ms"].as_u64(), "{agent}");
        assert!(agent["ms"].as_u64() <= refusals["slowest_ms"].as_u64(), "{agent}");
    }
    assert_eq!(document["tasks"], json!([]));
    let (_, document) = play("exit 7", &["--task", "who-am-i"]);
    assert_eq!(document["refusals"], Json::Null);
}

/// R160: an agent that changes nothing has given up, whether it ends at once, fails, or hangs until its time is over.
#[test]
fn an_agent_that_does_nothing_gives_up() {
    let (is_done, document) = play(&script("--lazy"), &[]);
    assert!(!is_done);
    assert!(verdicts(&document).values().all(|verdict| verdict == "gave_up"), "{document:#}");
    assert_eq!((&document["gave_up"], document["tasks"].as_array().unwrap().len()), (&json!(10), 10));
    for task in document["tasks"].as_array().unwrap() {
        assert_eq!((&task["requests"], task["why"].is_string()), (&json!(0), true), "{task}");
    }
    let (_, document) = play("exit 7", &["--task", "who-am-i"]);
    assert_eq!(
        (&document["tasks"][0]["verdict"], &document["tasks"][0]["ended"]),
        (&json!("gave_up"), &json!("exit 7"))
    );
    // It and what it has started are ended.
    let hangs = "cat >/dev/null; sleep 600 & wait";
    let (_, document) = play(hangs, &["--task", "enrol", "--seconds", "1"]);
    assert_eq!(
        (&document["tasks"][0]["verdict"], &document["tasks"][0]["ended"]),
        (&json!("gave_up"), &json!("time-out"))
    );
}

/// R160: an agent that changes something else is told as on a wrong path, task by task.
#[test]
fn an_agent_that_does_something_else_is_on_a_wrong_path() {
    let (is_done, document) = play(&script("--wrong"), &[]);
    assert!(!is_done);
    let verdicts = verdicts(&document);
    assert_eq!(verdicts.len(), TASKS.len());
    assert!(verdicts.values().all(|verdict| verdict == "wrong_path"), "{document:#}");
}

/// R160: the agent gets URL and token, and nothing else of Accredit's.
#[test]
fn an_agent_gets_url_and_token_and_nothing_else() {
    let mut command = xtask();
    let agent = "cat >&2; env | grep ^ACCREDIT_ | sed 's/=.*//' | sort | tr '\\n' ' ' >&2; ls -A >&2; echo end >&2";
    let played = command
        .current_dir(host::root())
        .env("ACCREDIT_CONFIG_DIR", "/nowhere")
        .args(["conformance", "--no-build", "--task", "tell-a-person", "--task", "enrol", "--agent", agent])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&played.stderr);
    assert!(said.contains("ACCREDIT_TOKEN ACCREDIT_URL end"), "{said}");
    assert!(said.contains("enrol with: ") && said.contains("ACCREDIT_URL end"), "{said}");
    assert!(!said.contains("ACCREDIT_CONFIG_DIR"), "{said}");
}
