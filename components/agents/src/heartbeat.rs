//! `POST /api/agents/me/heartbeat`: an agent reports that it is alive and what it has spent, and reads its state and what its probes have
//! found. One hot statement, and a second one when a result is stale.

use common::{
    agent::{AgentState, MOST_CENTS},
    error::{ApiError, Code},
    event::EventKind,
    id::AgentId,
    probe::ProbeStatus,
    secret::Kind,
    text::within,
    time::Timestamp,
};
use http::StatusCode;
use schemars::JsonSchema;
use serde::Serialize;
use service::{
    app::{App, log},
    caller::Caller,
    event::{self, Event},
    extract::Body,
    form, mail,
    response::{Response, json},
};
use store::{
    agent::{
        deploy,
        state::{self, HeartbeatState, ProbeResult},
    },
    credential::status::EXPIRING,
    db::{DbError, Purpose},
    probe,
};

form! {
    pub(crate) struct Heartbeat {
        spent_cents: Option<i64>,
    }
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Heartbeat")]
pub(crate) struct Answer {
    state: AgentState,
    warnings: Vec<String>,
    unread: i64,
    probes: Vec<Probe>,
    /// What the agent has spent in all, as it is kept.
    spent_cents: i64,
    budget_cents: Option<i64>,
}

/// A probe of the agent, with its last result.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "HeartbeatProbe")]
struct Probe {
    name: String,
    status: Option<ProbeStatus>,
    checked_at: Option<Timestamp>,
}

/// The handler.
pub(crate) async fn heartbeat(app: App, caller: Caller, Body(body): Body<Heartbeat>) -> Result<Response, ApiError> {
    let spent = body.spent_cents.map(|cents| within("spent_cents", cents, 0..=MOST_CENTS)).transpose()?;
    let agent = caller.agent_id().ok_or(Code::AgentRequired)?;
    let is_for_itself = caller.is_for_itself(app.db()).await?;
    if spent.is_some() && !is_for_itself {
        return Err(Caller::own_token_required());
    }
    let beat = state::heartbeat(app.db(), (agent, caller.credential_id()), (spent, is_for_itself), app.now()).await?;
    let beat = beat.ok_or(Code::AgentNotFound)?; // archived since the caller was looked up
    if beat.over_budget_at.is_none() && beat.budget_cents.is_some_and(|budget| beat.spent_cents > budget) {
        // A full database takes no event. The agent is refused all the same.
        if let Err(error) = tell_over_budget(&app, &caller, agent, &beat).await {
            log(app.request_id(), "heartbeat", &error.to_string());
        }
    }
    if beat.is_deployed
        && is_for_itself
        && let Err(error) = tell_deployed(&app, &caller, agent).await
    {
        // A full database: the next heartbeat tries again.
        log(app.request_id(), "heartbeat", &error.to_string());
    }
    let is_stale = |found: &ProbeResult| probe::is_stale(found.checked_at, app.now());
    if beat.state == AgentState::Running
        && beat.probes.iter().any(is_stale)
        && probe::heartbeat(app.db(), agent, app.now()).await?
    {
        mail::hurry(&app);
    }
    let mut warnings = warnings(&app, &caller, &beat);
    warnings.extend(beat.probes.iter().filter_map(failure));
    if let Some(sent) = spent.filter(|sent| *sent < beat.spent_cents) {
        let kept = beat.spent_cents;
        warnings.push(format!(
            "You sent {sent} cents, which is less than the {kept} that you have reported before. spent_cents is a running total: {kept} \
             is kept. Your owner can reset it."
        ));
    }
    let shown = |found: ProbeResult| Probe { name: found.name, status: found.status, checked_at: found.checked_at };
    let HeartbeatState { state, unread, spent_cents, budget_cents, probes, .. } = beat;
    let probes = probes.into_iter().map(shown).collect();
    json(StatusCode::OK, &Answer { state, warnings, unread, probes, spent_cents, budget_cents })
}

/// The warning of a probe that failed.
fn failure(found: &ProbeResult) -> Option<String> {
    found.status.filter(|status| *status != ProbeStatus::Ok)?;
    Some(format!("The probe {} failed. {}", found.name, found.detail))
}

/// Tells all whom it concerns, once, that an agent has spent more than its budget.
async fn tell_over_budget(app: &App, caller: &Caller, agent: &AgentId, beat: &HeartbeatState) -> Result<(), DbError> {
    let tx = app.db().begin(Purpose::Durable).await?;
    if !state::is_news_that_over_budget(&tx, agent, app.now()).await? {
        return Ok(());
    }
    let (name, _) = caller.agent_and_owner().unwrap_or_default();
    let (spent, budget) = (beat.spent_cents, beat.budget_cents);
    let money = |cents: i64| format!("{}.{:02}", cents / 100, cents % 100);
    let body = format!(
        "It has spent {} of {}. Its requests are refused until the budget is raised, or counted from 0, in its settings.",
        money(spent),
        money(budget.unwrap_or_default())
    );
    let event = Event::of_agent(EventKind::AgentOverBudget, agent)
        .data(serde_json::json!({ "spent_cents": spent, "budget_cents": budget }))
        .saying(format!("The agent {name} is over its budget"), body)
        .leading_to(format!("/agents/{agent}/settings"));
    // Nobody is its author, so that the agent hears of it too.
    event::deliver(app, &tx, &app.origin(caller.tenant_id(), None), None, &event).await?;
    mail::hurry_if_left(app, &tx);
    tx.commit().await
}

/// Ends a deployment well, and tells the agent above and webhooks.
async fn tell_deployed(app: &App, caller: &Caller, agent: &AgentId) -> Result<(), DbError> {
    let tx = app.db().begin(Purpose::Durable).await?;
    let Some(asked_at) = deploy::succeed(&tx, agent, caller.credential_id(), app.now()).await? else { return Ok(()) };
    let event = Event::of_agent(EventKind::AgentDeployed, agent).data(serde_json::json!({ "asked_at": asked_at }));
    event::deliver(app, &tx, &caller.origin(app), None, &event).await?;
    mail::hurry_if_left(app, &tx);
    tx.commit().await
}

/// Warnings to the agent about its state.
fn warnings(app: &App, caller: &Caller, beat: &HeartbeatState) -> Vec<String> {
    let mut warnings = Vec::new();
    let (name, owner) = caller.agent_and_owner().unwrap_or_default();
    match beat.state {
        AgentState::Running => {}
        AgentState::Paused => warnings.push(format!("You are paused. {owner} can resume you.")),
        AgentState::Stopped => warnings.push(format!("You are stopped. {owner} can start you again.")),
    }
    if let Some(budget) = beat.budget_cents {
        let spent = beat.spent_cents;
        if spent > budget {
            warnings.push(format!(
                "You have spent {spent} cents, which is more than your budget of {budget}. {owner} can raise the budget."
            ));
        } else if spent.saturating_mul(10) >= budget.saturating_mul(9) {
            warnings.push(format!(
                "You have spent {spent} cents of your budget of {budget}. {owner} can raise the budget."
            ));
        }
    }
    let ends = caller.expires_at().filter(|end| *end < app.now().plus_seconds(EXPIRING));
    // A workload gets another one by itself.
    if let Some(end) = ends.filter(|_| caller.federated().is_none()) {
        warnings.push(match caller.credential_kind() {
            Kind::ApiKey => format!("The key that you sent expires at {end}. {owner} can replace it."),
            _ => format!(
                "The token that you sent expires at {end}. Ask {owner} for a new one: POST /api/agents/{name}/token/issue."
            ),
        });
    }
    warnings
}

#[cfg(test)]
mod tests;
