//! `POST /api/agents/me/heartbeat`: an agent reports that it is alive and what it has spent, and reads its state. One hot statement.

use common::{
    agent::{AgentState, MOST_CENTS},
    error::{ApiError, Code},
    secret::Kind,
    text::within,
};
use http::StatusCode;
use serde::Serialize;
use service::{
    app::App,
    caller::Caller,
    extract::Body,
    form,
    response::{Response, json},
};
use store::{
    agent::state::{self, HeartbeatState},
    credential::status::EXPIRING,
};

form! {
    pub(crate) struct Heartbeat {
        spent_cents: Option<i64>,
    }
}

#[derive(Serialize)]
struct Answer {
    state: AgentState,
    warnings: Vec<String>,
    unread: i64,
}

/// The handler.
pub(crate) async fn heartbeat(app: App, caller: Caller, Body(body): Body<Heartbeat>) -> Result<Response, ApiError> {
    let spent = body.spent_cents.map(|cents| within("spent_cents", cents, 0..=MOST_CENTS)).transpose()?;
    let agent = caller.agent_id().ok_or(Code::AgentRequired)?;
    let beat = state::heartbeat(app.db(), agent, spent, app.now()).await?;
    let beat = beat.ok_or(Code::AgentNotFound)?; // archived since the caller was looked up
    let warnings = warnings(&app, &caller, &beat);
    json(StatusCode::OK, &Answer { state: beat.state, warnings, unread: beat.unread })
}

/// Warnings to the agent about its state.
fn warnings(app: &App, caller: &Caller, beat: &HeartbeatState) -> Vec<String> {
    let mut warnings = Vec::new();
    let (name, owner) = caller.reader().agent_and_owner.unwrap_or_default();
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
    if let Some(end) = caller.expires_at().filter(|end| *end < app.now().plus_seconds(EXPIRING)) {
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
