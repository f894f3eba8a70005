//! Every credential of the tenant, for its admins.

use common::{
    error::{ApiError, Code},
    id::{AgentId, CredentialId, UserId},
    secret::Kind,
    text::{moment, part},
    time::Timestamp,
};
use http::StatusCode;
use schemars::JsonSchema;
use serde::Serialize;
use service::{
    app::App,
    caller::Caller,
    change::Change,
    extract::{Path, Query},
    form,
    form::PageQuery,
    response::{Response, json},
};
use store::{
    credential::list::{self, Filter, Owner, Token},
    db::Rows,
};

use crate::tokens::{read_sort, read_status, revoke_found};

form! {
    pub(crate) struct List {
        user: Option<String>,
        q: Option<String>,
        kind: Option<String>,
        status: Option<String>,
        minted_with: Option<String>,
        minted_by: Option<String>,
        unused_since: Option<String>,
        sort: Option<String>,
        ..page: PageQuery,
    }
}

/// A credential with its owner.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "OwnedToken")]
pub(crate) struct Owned {
    #[serde(flatten)]
    token: Token,
    #[serde(flatten)]
    owner: Owner,
}

/// Reads `kind`.
fn read_kind(word: Option<&str>) -> Result<Option<Kind>, ApiError> {
    let invalid = || Code::InvalidFilter.with("field", "kind").with("valid", Kind::ALL.map(Kind::as_str).join(", "));
    word.map(|word| Kind::from_word(word).ok_or_else(invalid)).transpose()
}

/// Reads `minted_with`.
fn read_minted_with(id: String) -> Result<CredentialId, ApiError> {
    CredentialId::try_from(id).map_err(|_| ApiError::field("minted_with", "must be the id of a credential (tok_…)"))
}

/// Reads `minted_by`.
fn read_minted_by(id: &str) -> Result<&str, ApiError> {
    let is_id = UserId::try_from(id.to_owned()).is_ok() || AgentId::try_from(id.to_owned()).is_ok();
    if is_id {
        Ok(id)
    } else {
        Err(ApiError::field("minted_by", "must be the id of a person or an agent (usr_… or agt_…)"))
    }
}

/// `GET /auth/admin/tokens`: the tenant's credentials, of people and agents.
pub(crate) async fn list(app: App, caller: Caller, Query(query): Query<List>) -> Result<Response, ApiError> {
    let (sort, status) = (read_sort(query.sort.as_deref())?, read_status(query.status.as_deref())?);
    let kind = read_kind(query.kind.as_deref())?;
    let unused_since = query.unused_since.as_deref().map(|since| moment("unused_since", since)).transpose()?;
    let minted_with = query.minted_with.clone().map(read_minted_with).transpose()?;
    let q = part(query.q.as_deref())?;
    let page = caller.page(&app, &query.page)?;
    let filter = Filter {
        own: None,
        q: q.as_deref(),
        user: caller.named("user", query.user.as_deref())?,
        kind,
        lasting: false,
        status,
        minted_with: minted_with.as_ref(),
        minted_by: query.minted_by.as_deref().map(read_minted_by).transpose()?,
        unused_since,
        sort,
    };
    let rows = list::list(app.db(), caller.tenant_id(), &filter, &page, app.now()).await?;
    let rows = rows.into_iter().map(|token| Owned { owner: token.owner.clone(), token }).collect();
    let place = |row: &Owned| (Timestamp::from_millis(row.token.place), row.token.id.to_string());
    json(StatusCode::OK, &page.page(rows, place))
}

/// `DELETE /auth/admin/tokens/{id}`: revokes any credential of the tenant.
pub(crate) async fn revoke(change: Change<()>, Path(id): Path) -> Result<Response, ApiError> {
    let now = change.app.now();
    let find = async |reads: &dyn Rows, caller: &Caller, id: &str| {
        let found = list::find(reads, caller.tenant_id(), None, id, now).await?;
        found.ok_or_else(|| ApiError::from(Code::TokenNotFound))
    };
    change.on(&id, find, async |write, found, ()| revoke_found(write, found).await).await
}

#[cfg(test)]
mod tests;
