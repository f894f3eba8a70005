//! What several routes ask for in the same words: scope or preset, texts that may be cleared, labels.

use common::{
    caller::Caller,
    error::{ApiError, Code},
    form::OrNull,
    http::{prose, text},
    scope::{Patterns, Preset},
    store::agent::Labels,
};

/// The most labels of an agent.
const LABELS: usize = 32;
/// Characters of a description.
const DESCRIPTION: usize = 2_000;
/// Characters of a name for people, a runtime, a model.
const NAME: usize = 64;

/// Reads `scope` or `preset`, of which at most one may be sent. `None`: neither was.
pub(crate) fn rights(
    caller: &Caller,
    scope: Option<&[String]>,
    preset: Option<&str>,
) -> Result<Option<(Patterns, Option<Preset>)>, ApiError> {
    match (scope, preset) {
        (Some(_), Some(_)) => Err(ApiError::field("preset", "send scope or preset, not both")),
        (None, None) => Ok(None),
        (None, Some(word)) => {
            let preset = Preset::from_text(word).ok_or(Code::UnknownPreset)?;
            Ok(Some((Patterns::of_preset(preset), Some(preset))))
        }
        (Some(asked), None) => Ok(Some((caller.read_scope(asked)?, None))),
    }
}

/// Reads a text of an agent's that may be cleared. `None`: left out; `Some(None)`: null.
pub(crate) fn clearable(
    field: &'static str,
    value: Option<OrNull<String>>,
) -> Result<Option<Option<String>>, ApiError> {
    let Some(OrNull(value)) = value else { return Ok(None) };
    let read = |value: String| match field {
        "description" => prose(field, &value, DESCRIPTION),
        _ => text(field, &value, NAME),
    };
    value.map(read).transpose().map(Some)
}

/// Checks labels: names of 1 to 64 characters, texts of at most 128, 32 in all.
pub(crate) fn labels(labels: Labels) -> Result<Labels, ApiError> {
    let is_good = labels.len() <= LABELS
        && labels.iter().all(|(name, value)| {
            text("labels", name, 64).is_ok_and(|trimmed| trimmed == name)
                && (value.is_empty() || text("labels", value, 128).is_ok())
        });
    if is_good { Ok(labels) } else { Err(Code::InvalidLabels.into()) }
}
