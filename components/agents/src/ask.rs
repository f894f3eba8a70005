//! What several routes ask for in the same words: scope or preset, a lifetime, texts that may be cleared.

use common::{
    error::{ApiError, Code},
    form::OrNull,
    http::{prose, text},
    scope::{Patterns, Preset, Role, Scope},
    store::agent::Labels,
    time::Lifetime,
};

/// The most labels of an agent.
const LABELS: usize = 32;
/// Characters of a description.
const DESCRIPTION: usize = 2_000;
/// Characters of a name for people, a runtime, a model.
const NAME: usize = 64;

/// Reads `scope` or `preset`, of which at most one may be sent. `None`: neither was.
pub(crate) fn rights(
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
        (Some(asked), None) => match Patterns::parse(asked) {
            Ok(patterns) => Ok(Some((patterns, None))),
            Err(unknown) => Err(unknown_scopes(unknown)),
        },
    }
}

fn unknown_scopes(unknown: Vec<String>) -> ApiError {
    let valid: Vec<&str> = Scope::ALL.iter().map(|scope| scope.as_str()).collect();
    let refusal =
        ApiError::from(Code::UnknownScope).extra("unknown_scopes", unknown.clone()).extra("valid_scopes", valid);
    if unknown.is_empty() { refusal.detail("scope is an empty list.") } else { refusal }
}

/// Reads `expires_in_days`. `None`: it was left out.
pub(crate) fn lifetime(days: Option<OrNull<i64>>) -> Result<Option<Lifetime>, ApiError> {
    match days {
        None => Ok(None),
        Some(OrNull(days)) => Lifetime::parse(days).map(Some).map_err(|_| Code::InvalidLifetime.into()),
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
    let is_good = labels.0.len() <= LABELS
        && labels.0.iter().all(|(name, value)| {
            text("labels", name, 64).is_ok_and(|trimmed| trimmed == *name)
                && (value.is_empty() || text("labels", value, 128).is_ok())
        });
    if is_good { Ok(labels) } else { Err(Code::InvalidLabels.into()) }
}

/// Says which of the scopes have no effect, because only people can use them or the owner's role lacks them.
pub(crate) fn warn_of_no_effect(patterns: &Patterns, role: Role, warnings: &mut Vec<String>) {
    let idle = patterns.set().without(role.ceiling().for_agents());
    if !idle.is_empty() {
        let (names, role) = (idle.names().join(", "), role.as_str());
        warnings.push(format!("These scopes have no effect, because agents cannot use them or the owner's role {role} lacks them: {names}."));
    }
}
