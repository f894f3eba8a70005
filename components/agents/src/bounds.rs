//! What an agent may give to those below it: no scope beyond its ceiling, whoever asks; and, where an agent asks, no better tier,
//! no more tasks at once, and no more of its budget than is left. A budget is given out once, also when a child is archived, has
//! its own lowered, or comes back.

use common::{
    error::{ApiError, Code},
    id::AgentId,
    store::{
        agent::{Agent, Fields},
        archived::Archived,
        tree,
    },
    write::Write,
};

fn beyond(field: &'static str, bound: &'static str, value: i64) -> ApiError {
    Code::BeyondParent.with("field", field).with("bound", bound).with("value", value.to_string()).extra("field", field)
}

/// Refuses what a parent cannot give. `old`: the agent as it is already.
pub(crate) async fn within_parent(
    write: &Write<'_>,
    parent: &Agent,
    old: Option<&Agent>,
    fields: &Fields,
) -> Result<(), ApiError> {
    let defined = write.caller.defined();
    let excess = fields.scope.scopes(defined).without(&parent.scope.scopes(defined));
    write.caller.refuse_excess(excess, &fields.scope)?;
    if write.caller.agent_id().is_none() {
        return Ok(());
    }
    if fields.tier < parent.tier && old.is_none_or(|old| fields.tier < old.tier) {
        return Err(beyond("tier", "least", parent.tier));
    }
    let (tasks, most) = (fields.max_concurrent_tasks, parent.max_concurrent_tasks);
    if tasks > most && old.is_none_or(|old| tasks > old.max_concurrent_tasks) {
        return Err(beyond("max_concurrent_tasks", "most", most));
    }
    if old.is_none_or(|old| fields.budget_cents != old.budget_cents) {
        within_budget(write, parent, old.map(|old| &old.id), fields.budget_cents, 0).await?;
    }
    Ok(())
}

/// Refuses an agent to bring back a budget that it could not give: meanwhile it may have given it to others.
pub(crate) async fn may_come_back(write: &Write<'_>, parent: &Agent, found: &Archived) -> Result<(), ApiError> {
    if write.caller.agent_id().is_none() {
        return Ok(());
    }
    within_budget(write, parent, Some(&found.id), found.budget_cents, found.spent_cents).await
}

/// Refuses a child a budget beyond what its parent has left beside it; one without a budget, if the parent has one.
async fn within_budget(
    write: &Write<'_>,
    parent: &Agent,
    child: Option<&AgentId>,
    budget: Option<i64>,
    spent: i64,
) -> Result<(), ApiError> {
    let Some(whole) = parent.budget_cents else { return Ok(()) };
    let given = tree::spoken_for_below(&write.tx, &parent.id, child).await?;
    let left = whole.saturating_sub(parent.spent_cents).saturating_sub(given).max(0);
    match budget {
        Some(budget) if budget.max(spent) <= left => Ok(()),
        _ => Err(beyond("budget_cents", "most", left)),
    }
}

/// Refuses to take from an agent's budget what it has spent or given to those below it: it could be given out again.
pub(crate) async fn keeps_what_is_given(write: &Write<'_>, agent: &Agent, budget: Option<i64>) -> Result<(), ApiError> {
    let given = tree::spoken_for_below(&write.tx, &agent.id, None).await?;
    let least = agent.spent_cents.saturating_add(given);
    match budget {
        Some(budget) if budget < least => Err(beyond("budget_cents", "least", least)),
        _ => Ok(()),
    }
}
