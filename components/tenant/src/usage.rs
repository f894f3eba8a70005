//! `GET /api/usage`: what the tenant and its users store, beside their quotas.

use common::error::ApiError;
use http::StatusCode;
use schemars::JsonSchema;
use serde::Serialize;
use service::{
    app::App,
    caller::Caller,
    response::{Response, json},
};
use store::usage::{self, OfUser, Quotas};

/// The most users in an answer.
const MOST: u8 = 100;

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Usage")]
pub(crate) struct Everything {
    quotas: Each,
    tenant: OfTenant,
    users: Vec<OfUser>,
    /// Whether more users store something, or nothing.
    more: bool,
}

/// The quotas of each user and of the tenant.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "AllQuotas")]
struct Each {
    user: Quotas,
    tenant: QuotasOfTenant,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "TenantQuotas")]
struct QuotasOfTenant {
    agents: i64,
    credentials: i64,
    bytes: i64,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "TenantUsage")]
struct OfTenant {
    agents: i64,
    credentials: i64,
    bytes: i64,
}

/// The handler. Of the users those that store the most, since a tenant may have many.
pub(crate) async fn get(app: App, caller: Caller) -> Result<Response, ApiError> {
    let (db, tenant, user) = (app.db(), caller.tenant_id(), app.settings().quotas);
    let all = user.of_tenant();
    let stored = usage::find(db, tenant, caller.user_id()).await?.tenant;
    let (_, credentials) =
        usage::live_credentials(db, (tenant, all.credentials), (caller.user_id(), 0), app.now()).await?;
    let mut users = usage::list(db, tenant, &user, i64::from(MOST) + 1, app.now()).await?;
    let more = users.len() > usize::from(MOST);
    users.truncate(MOST.into());
    let of_tenant = QuotasOfTenant { agents: all.agents, credentials: all.credentials, bytes: all.bytes };
    let tenant = OfTenant { agents: stored.agents, credentials, bytes: stored.bytes };
    json(StatusCode::OK, &Everything { quotas: Each { user, tenant: of_tenant }, tenant, users, more })
}

#[cfg(test)]
mod tests;
