//! R61, R120: every answer that any test gets is compared with the OpenAPI document of this repository.

use std::{
    collections::BTreeMap,
    fs,
    sync::{Arc, LazyLock, Mutex, PoisonError},
};

use jsonschema::Validator;
use serde_json::{Value as Json, json};

use crate::{Answer, host};

static DOCUMENT: LazyLock<Json> = LazyLock::new(|| {
    let path = host::root().join("docs/reference/openapi.json");
    serde_json::from_str(&fs::read_to_string(path).expect("the OpenAPI document")).expect("a JSON document")
});

/// Validators by the schema that they are for.
static VALIDATORS: Mutex<BTreeMap<String, Arc<Validator>>> = Mutex::new(BTreeMap::new());

/// Asserts that an answer to `what` (`GET /api/agents?limit=5`) is what the document says. Paths that it does not have, and requests
/// that are no method and path, are passed over.
#[track_caller]
pub fn check(what: &str, answer: &Answer) {
    let Some((method, target)) = what.split_once(' ') else { return };
    let path = target.split(['?', '#']).next().unwrap_or_default();
    let Some(template) = template(path) else { return };
    let Some(operation) = DOCUMENT["paths"][template].get(method.to_ascii_lowercase()) else { return };
    let (status, responses) = (answer.status(), &operation["responses"]);
    match status {
        200..=299 => {
            let Some(response) = responses.get(status.to_string()) else {
                panic!("{what}: /openapi.json says nothing of {status}: {answer:?}");
            };
            // R399: what a change has ended is named where a program looks for it.
            let closure = answer.header("x-accredit-closure");
            let is_said = response["headers"].get("X-Accredit-Closure").is_some();
            assert!(closure.is_empty() || is_said, "{what}: /openapi.json says nothing of X-Accredit-Closure");
            let media = answer.header("content-type").split(';').next().unwrap_or_default().trim();
            // The manual is HTML for browsers, and a stream may be asked for by HEAD.
            let is_text = media == "text/html" || response["content"].get(media).is_some();
            if is_text && media != "application/json" {
                return;
            }
            let may_be_empty = response["description"].as_str().is_some_and(|words| words.ends_with(", or no body"));
            if may_be_empty && answer.text().is_empty() {
                return;
            }
            match response["content"]["application/json"].get("schema") {
                Some(schema) => valid(what, schema, &answer.json()),
                None => assert_eq!(answer.text(), "", "{what}: {status} has no body"),
            }
        }
        400..=599 if answer.header("content-type").contains("json") => {
            // One route answers by a protocol of its own.
            let own = responses["4XX"]["content"]["application/json"].get("schema").cloned();
            valid(what, &own.unwrap_or_else(|| json!({ "$ref": "#/components/schemas/Envelope" })), &answer.json());
        }
        _ => {}
    }
}

/// Asserts that every example of an answer is what its schema says; how many there are.
#[track_caller]
pub fn check_examples() -> usize {
    let examples = DOCUMENT["components"]["examples"].as_object().into_iter().flatten();
    let checked = examples.map(|(name, example)| {
        let schema = json!({ "$ref": format!("#/components/schemas/{name}") });
        valid(&format!("the example of {name}"), &schema, &example["value"]);
    });
    checked.count()
}

#[track_caller]
fn valid(what: &str, schema: &Json, body: &Json) {
    let validator = {
        let mut known = VALIDATORS.lock().unwrap_or_else(PoisonError::into_inner);
        let make = || {
            let mut schema = schema.clone();
            schema["components"] = DOCUMENT["components"].clone();
            Arc::new(jsonschema::draft202012::new(&schema).expect("a schema"))
        };
        Arc::clone(known.entry(schema.to_string()).or_insert_with(make))
    };
    let problems: Vec<String> =
        validator.iter_errors(body).map(|error| format!("{error} at {}", error.instance_path())).collect();
    assert!(problems.is_empty(), "{what} is not as /openapi.json says ({schema}): {problems:?}: {body}");
}

/// The path of the document that a path is of: a literal segment comes before a name.
fn template(path: &str) -> Option<&'static str> {
    let paths = DOCUMENT["paths"].as_object()?;
    let fits = |template: &str| {
        let (own, sent): (Vec<&str>, Vec<&str>) = (template.split('/').collect(), path.split('/').collect());
        let is_name = |own: &str, sent: &str| own.starts_with('{') && !sent.is_empty();
        own.len() == sent.len() && own.iter().zip(sent).all(|(own, sent)| *own == sent || is_name(own, sent))
    };
    // The first name as late as possible.
    let found = paths.keys().filter(|template| fits(template));
    found.max_by_key(|template| template.find('{').unwrap_or(usize::MAX)).map(String::as_str)
}
