//! Lists of agents.

use common::{agent::AgentState, id::AgentId, permission::Action, time::Timestamp};

use super::{Agent, approved, column, joins, live_token, select_from};
use crate::{
    db::{DbError, Reads, Rows, page},
    page::{COLUMNS, Order, PageRequest, ROWS, any_has, pattern},
    permission::{BELOW, Binder, PermissionSql},
    person::Named,
    subject::Subject,
};

/// The agent `a` as JSON: what its row and that of its token decide was written when they changed (`written_agents` and `written_tokens`
/// in the migrations), the rest is appended here. Ids and times hold nothing that JSON escapes. Arguments of `concat`, which copies its
/// parts once; `||` copies them each time anew.
fn written(now: &str, above: &str) -> String {
    let approved = approved(now);
    format!(
        r#"a.written, ',"deploy_status":', ifnull('"' || a.deploy_status || '"', 'null'),
            ',"approved":', ifnull('["' || replace({approved}, ' ', '","') || '"]', '[]'),
            ',"owner":{{"id":"', a.owner_id, '","email":', json_quote(u.email), ',"active":', iif(u.deactivated_at IS NULL, 'true', 'false'),
            '}},"parent":', json_quote(CASE WHEN {above} THEN p.name END),
            iif(c.id IS NULL, ',"has_token":false,"token":null}}', concat(',"has_token":true,"token":{{', c.written, ',"last_used_at":',
                ifnull(strftime('"%Y-%m-%dT%H:%M:%fZ"', c.last_used_at / 1000.0, 'unixepoch'), 'null'), '}}}}'))"#
    )
}

/// Rows that are read in place: a page of the usual length, and the row that shows whether there is another page.
const SHORT: i64 = 51;

/// The filter of a list of agents.
#[derive(Default)]
pub struct Filter<'a> {
    /// A part of name or display name.
    pub q: Option<&'a str>,
    /// The state.
    pub state: Option<AgentState>,
    /// Of this person.
    pub owner: Option<Named>,
    /// The name or id of the agent above.
    pub parent: Option<&'a str>,
    /// With or without a live token.
    pub has_token: Option<bool>,
    /// The order.
    pub order: Order,
}

/// The agents that the caller may read, as JSON.
pub async fn list(
    reads: &dyn Rows,
    subject: &Subject,
    filter: &Filter<'_>,
    page: &PageRequest,
    now: Timestamp,
) -> Result<String, DbError> {
    let mut binder = Binder::default();
    let now = binder.bind(now);
    let (at, id) = page.after();
    let (at, id, tenant) = (binder.bind(at), binder.bind(id), binder.bind(&subject.tenant));
    // First which ones, from the table of agents alone; only those of the page are read whole.
    let mut narrow = String::new();
    if let Some(q) = filter.q {
        let q = binder.bind(pattern(q));
        narrow.push_str(&format!(" AND {}", any_has(&q, &["a.name", "a.display_name"])));
    }
    if let Some(state) = filter.state {
        narrow.push_str(&format!(" AND a.state = {}", binder.bind(state.as_str())));
    }
    if let Some(owner) = &filter.owner {
        let is_owner = owner.is(&mut binder);
        narrow.push_str(&match owner.is_one() {
            // By its index.
            true => format!(" AND a.owner_id = (SELECT u.id FROM users u WHERE u.tenant_id = {tenant} AND {is_owner})"),
            false => format!(" AND EXISTS (SELECT 1 FROM users u WHERE u.id = a.owner_id AND {is_owner})"),
        });
    }
    let permission = PermissionSql::new(subject, &mut binder);
    let above = permission.about("p").on_agent(Action::Read);
    if let Some(parent) = filter.parent {
        // Below an agent that the caller may not read there is nothing, as below an absent one.
        let (column, parent) = (column(parent), binder.bind(parent));
        narrow.push_str(&format!(
            " AND a.parent_id = (SELECT p.id FROM agents p WHERE p.tenant_id = {tenant} AND p.archived_at IS NULL
                                 AND p.{column} = {parent} AND {above})"
        ));
    }
    if let Some(has_token) = filter.has_token {
        let not = if has_token { "" } else { "NOT " };
        narrow.push_str(&format!(
            " AND {not}EXISTS (SELECT 1 FROM credentials c JOIN users u ON u.id = a.owner_id WHERE {})",
            live_token(&now)
        ));
    }
    let rows = binder.bind(page.rows());
    let (written, joins) = (written(&now, &above), joins(&now));
    // Names are unique, so that one says its place.
    let (ids, sorted, place) = match filter.order {
        Order::Newest => {
            (permission.readable(&narrow, (&at, &id), &rows), "SELECT id", ("id DESC", "a.created_at, ' ', a.id"))
        }
        Order::Name => (permission.readable_by_name(&narrow, &id, &rows), "SELECT id, name", ("name", "'0 ', a.name")),
    };
    let (sorted_by, place) = place;
    // CROSS JOIN is SQLite's word for "in this order".
    let sql = format!(
        "SELECT ifnull(group_concat(r, {ROWS}), '') AS page FROM (
             SELECT concat({written}, {COLUMNS}, {place}) AS r
             FROM ({sorted} FROM ({ids}) ORDER BY {sorted_by}) l CROSS JOIN agents a ON a.id = l.id {joins})"
    );
    // Without a filter a person's page is found by its index, and an ordinary one is short; with a filter, or below an agent, many rows
    // may be read. Those lists have a text of their own, since a host may remember that a text took long.
    let is_short =
        narrow.is_empty() && filter.order == Order::Newest && subject.agent.is_none() && page.rows() <= SHORT;
    let rows: Option<String> = match is_short {
        true => reads.find(&sql, binder.into_args()).await?,
        false => reads.optional(&format!("{sql} LIMIT 1"), binder.into_args()).await?,
    };
    Ok(page.written_page(&rows.unwrap_or_default()))
}

/// The agents below one that the caller may read, each after the one above it; at most `most` of them.
pub async fn list_below(
    reads: &dyn Rows,
    subject: &Subject,
    top: &AgentId,
    most: usize,
    now: Timestamp,
) -> Result<Vec<Agent>, DbError> {
    let mut binder = Binder::default();
    let (top, now) = (binder.bind(top), binder.bind(now));
    let permission = PermissionSql::new(subject, &mut binder);
    let (may, above) = (permission.on_agent(Action::Read), permission.about("p").on_agent(Action::Read));
    let from = "below CROSS JOIN agents a ON a.id = below.id";
    let sql = format!(
        "{} {} WHERE a.id <> {top} AND {may} ORDER BY below.depth, a.id LIMIT {most}",
        BELOW,
        select_from(from, &now, &above, "")
    );
    reads.packed(&page(&sql), binder.into_args()).await
}
