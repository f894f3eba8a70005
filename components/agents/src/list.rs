//! Which agents the caller may read.

use common::{
    agent::AgentState,
    error::{ApiError, Code},
    text::part,
};
use http::StatusCode;
use service::{
    app::App,
    caller::Caller,
    extract::Query,
    form,
    form::PageQuery,
    headers::Headers,
    response::{Fresh, Response},
};
use store::{
    agent::list::{self, Filter},
    page::Order,
};

form! {
    pub(crate) struct List {
        q: Option<String>,
        state: Option<String>,
        owner: Option<String>,
        parent: Option<String>,
        has_token: Option<String>,
        sort: Option<String>,
        ..page: PageQuery,
    }
}

/// `GET /api/agents`: the agents that the caller may read. A client that asks again and again gets 304 while nothing has changed.
pub(crate) async fn list(
    app: App,
    caller: Caller,
    headers: Headers,
    Query(query): Query<List>,
) -> Result<Response, ApiError> {
    let q = part(query.q.as_deref())?;
    let wanted = caller.page(&app, &query.page)?;
    let filter = Filter {
        q: q.as_deref(),
        state: query.state.as_deref().map(state).transpose()?,
        owner: caller.named("owner", query.owner.as_deref())?,
        parent: query.parent.as_deref(),
        has_token: query.has_token.as_deref().map(has_token).transpose()?,
        order: Order::read(query.sort.as_deref())?,
    };
    let page = list::list(app.db(), caller.subject(), &filter, &wanted, app.now()).await?;
    Ok(Fresh::new(page).answer(&headers, StatusCode::OK, "application/json"))
}

fn state(word: &str) -> Result<AgentState, ApiError> {
    AgentState::from_word(word).ok_or_else(|| {
        let valid = AgentState::ALL.map(AgentState::as_str).join(", ");
        Code::InvalidFilter.with("field", "state").with("valid", valid)
    })
}

fn has_token(word: &str) -> Result<bool, ApiError> {
    word.parse().map_err(|_| Code::InvalidFilter.with("field", "has_token").with("valid", "true, false"))
}

#[cfg(test)]
mod tests;
