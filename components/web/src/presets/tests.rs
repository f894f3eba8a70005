use serde_json::{Value as Json, json};

use crate::{
    form::Form,
    scopes::{kept, ticks_of},
    testing::Visitor,
};

fn custom() -> Json {
    json!({ "items": [{ "name": "x.crm.read", "description": "Read." }, { "name": "x.crm.write", "description": "Write." }] })
}

fn ticked(names: &[&str]) -> Form {
    names.iter().map(|name| ("scope".to_owned(), (*name).to_owned())).collect()
}

/// R686: patterns are ticked name by name; one of which everything is ticked stays one.
#[test]
fn patterns_survive_a_form_of_ticks() {
    let before = ["agents.keys.*", "ui.notify", "x.crm.*", "x.gone.read"];
    let shown = ticks_of(&before, &custom());
    assert_eq!(shown.all("scope"), ["agents.keys.read", "agents.keys.write", "ui.notify", "x.crm.read", "x.crm.write"]);
    assert_eq!(kept(&before, &custom(), &shown), ["agents.keys.*", "ui.notify", "x.crm.*"]);
    let less = ticked(&["agents.keys.read", "ui.notify", "x.crm.read", "x.crm.write", "agents.read"]);
    assert_eq!(kept(&before, &custom(), &less), ["ui.notify", "x.crm.*", "agents.read", "agents.keys.read"]);
    // What no agent can be given is not in the form, and stays.
    assert_eq!(kept(&["users.write", "ui.notify"], &custom(), &ticked(&["ui.notify"])), ["users.write", "ui.notify"]);
    assert!(kept(&[], &custom(), &ticked(&[])).is_empty());
}

fn visitor(version: i64) -> Visitor {
    Visitor::new(move |method, path| match (method, path) {
        (_, "/api/overview") => (200, json!({ "caller": { "role": "admin", "csrf_token": "c", "scope": ["*"] } })),
        (_, "/api/scopes/custom") => (200, custom()),
        ("GET", "/api/presets/support") => (
            200,
            json!({
                "name": "support", "version": version, "scope": ["agents.read"], "secrets": ["CRM_KEY"],
                "defaults": { "tier": 4, "labels": { "team": "support" } }, "versions": [],
            }),
        ),
        ("GET", "/api/presets/support/drift") => (
            200,
            json!({ "items": [{ "agent": "scout", "missing_scopes": ["ui.notify"], "token_missing_scopes": [], "missing_secrets": [] }] }),
        ),
        ("PUT", _) => (400, json!({ "error": "invalid_request", "detail": "Sent.", "fix": "Sent." })),
        _ => (404, json!({ "error": "preset_not_found", "detail": "No.", "fix": "No." })),
    })
}

/// R686: a preset's page shows what it has, and which agents lack something; a form that stood open while somebody else made a version
/// saves nothing.
#[tokio::test]
async fn a_preset_is_shown_and_changed() {
    let page = visitor(3).open("/admin/presets/support").await;
    assert_eq!(page.status, 200, "{}", page.text);
    for part in [
        "value=\"agents.read\" checked",
        "value=\"CRM_KEY\"",
        "<option selected>4</option>",
        "team: support",
        "/agents/scout/settings",
    ] {
        assert!(page.text.contains(part), "{part}: {}", page.text);
    }
    assert!(!page.text.contains("value=\"users.write\""), "no agent can be given it");
    let old = [("csrf", "c"), ("version", "2"), ("scope", "ui.notify")];
    let raced = visitor(3).send("/admin/presets/support/change", &old).await;
    assert!(raced.status == 409 && raced.text.contains("Somebody else made a version"), "{}", raced.text);
    let current = [("csrf", "c"), ("version", "3"), ("scope", "ui.notify")];
    let sent = visitor(3).send("/admin/presets/support/change", &current).await;
    assert!(sent.text.contains("Sent."), "{}", sent.text);
}
