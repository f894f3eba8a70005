//! What is said of an agent, in the same words by several routes: texts that may be cleared, labels, numbers.

use common::{
    error::{ApiError, Code},
    form::OrNull,
    http::{is_public_url, prose, text, within},
    store::{
        agent::{Fields, Labels},
        state::MOST_CENTS,
    },
};

/// The most labels of an agent.
const LABELS: usize = 32;
/// Characters of a description.
const DESCRIPTION: usize = 2_000;
/// Characters of a name for people, a runtime, a model.
const NAME: usize = 64;
/// What was said of an agent, as it was sent. `None`: it was left out.
#[derive(Clone, Default)]
pub(crate) struct Said {
    pub(crate) display_name: Option<OrNull<String>>,
    pub(crate) description: Option<OrNull<String>>,
    pub(crate) runtime: Option<OrNull<String>>,
    pub(crate) model: Option<OrNull<String>>,
    pub(crate) url: Option<OrNull<String>>,
    pub(crate) labels: Option<Labels>,
    pub(crate) tier: Option<i64>,
    pub(crate) max_concurrent_tasks: Option<i64>,
    pub(crate) budget_cents: Option<OrNull<i64>>,
    pub(crate) spent_cents: Option<i64>,
}

impl Said {
    /// Checks all that was said and puts it into `fields`; what was left out stays as it is there.
    pub(crate) fn put_into(self, fields: &mut Fields) -> Result<(), ApiError> {
        for (name, value, field, most) in [
            ("display_name", self.display_name, &mut fields.display_name, NAME),
            ("description", self.description, &mut fields.description, DESCRIPTION),
            ("runtime", self.runtime, &mut fields.runtime, NAME),
            ("model", self.model, &mut fields.model, NAME),
        ] {
            let read =
                |value: String| if most == DESCRIPTION { prose(name, &value, most) } else { text(name, &value, most) };
            if let Some(OrNull(value)) = value {
                *field = value.map(read).transpose()?;
            }
        }
        if let Some(OrNull(url)) = self.url {
            if url.as_deref().is_some_and(|url| !is_public_url(url)) {
                return Err(Code::InvalidAgentUrl.into());
            }
            fields.url = url;
        }
        if let Some(labels) = self.labels {
            fields.labels = checked(labels)?;
        }
        if let Some(tier) = self.tier {
            fields.tier = within("tier", tier, 1..=5)?;
        }
        if let Some(most) = self.max_concurrent_tasks {
            fields.max_concurrent_tasks = within("max_concurrent_tasks", most, 1..=1_000)?;
        }
        if let Some(OrNull(budget)) = self.budget_cents {
            fields.budget_cents = budget.map(|cents| within("budget_cents", cents, 0..=MOST_CENTS)).transpose()?;
        }
        if let Some(spent) = self.spent_cents {
            fields.spent_cents = within("spent_cents", spent, 0..=MOST_CENTS)?;
        }
        Ok(())
    }
}

/// Checks labels: names of 1 to 64 characters, texts of at most 128, 32 in all.
fn checked(labels: Labels) -> Result<Labels, ApiError> {
    let is_good = labels.len() <= LABELS
        && labels.iter().all(|(name, value)| {
            text("labels", name, 64).is_ok_and(|trimmed| trimmed == name)
                && (value.is_empty() || text("labels", value, 128).is_ok())
        });
    if is_good { Ok(labels) } else { Err(Code::InvalidLabels.into()) }
}
