//! Every credential of the tenant, for its admins.

use axum::{http::StatusCode, response::Response};
use common::{
    caller::Caller,
    error::{ApiError, Code},
    form,
    form::Params,
    http::{App, Segment, json, moment},
    page::Wanted,
    route,
    secret::Kind,
    store::token::{self, Filter, Owner, Token},
    time::Timestamp,
};
use serde::Serialize;

use crate::pat;

form! {
    pub(crate) struct List {
        user: Option<String>,
        kind: Option<String>,
        status: Option<String>,
        unused_since: Option<String>,
        sort: Option<String>,
        limit: Option<i64>,
        cursor: Option<String>,
    }
}

/// A credential with whose it is.
#[derive(Serialize)]
struct Owned {
    #[serde(flatten)]
    token: Token,
    #[serde(flatten)]
    owner: Owner,
}

/// `GET /auth/admin/tokens`: the tenant's credentials, of people and agents.
pub(crate) async fn list(app: App, caller: Caller, Params(ask): Params<List>) -> Result<Response, ApiError> {
    let (sort, status) = pat::order(ask.sort.as_deref(), ask.status.as_deref())?;
    let invalid = |field: &'static str, valid: &str| Code::InvalidFilter.with("field", field).with("valid", valid);
    let kind = match ask.kind.as_deref() {
        None => None,
        Some(word) => Some(Kind::from_word(word).ok_or_else(|| invalid("kind", "session, pat, agent_token, api_key"))?),
    };
    let unused_since = ask.unused_since.as_deref().map(|since| moment("unused_since", since)).transpose()?;
    let filters =
        [&ask.user, &ask.kind, &ask.status, &ask.unused_since, &ask.sort].map(|f| f.as_deref().unwrap_or_default());
    let wanted = Wanted::read(&caller, ask.limit, ask.cursor.as_deref(), &filters)?;
    let filter = Filter { own: None, user: ask.user.as_deref(), kind, status, unused_since, sort };
    let rows = token::list(app.db(), caller.tenant_id(), &filter, &wanted, app.now()).await?;
    let rows = rows.into_iter().map(|token| Owned { owner: token.owner.clone(), token }).collect();
    let place = |row: &Owned| (Timestamp::from_millis(row.token.place), row.token.id.to_string());
    json(StatusCode::OK, &wanted.page(rows, place))
}

/// `DELETE /auth/admin/tokens/{id}`: revokes any credential of the tenant.
pub(crate) async fn revoke(app: App, caller: Caller, Segment(id): Segment) -> Result<Response, ApiError> {
    let found = token::find(app.db(), caller.tenant_id(), None, &id, app.now()).await?.ok_or(Code::TokenNotFound)?;
    pat::end(&app, route::TOKENS_REVOKE, &caller, &found, None).await
}

#[cfg(test)]
mod tests {
    use common::{scope::Role, testing::TestApp};
    use serde_json::Value::Null;

    use super::*;
    use crate::with_neighbours;

    const ALL: &str = "/auth/admin/tokens";

    #[tokio::test]
    async fn an_admin_sees_and_revokes_every_credential_of_his_tenant_only() {
        let t = TestApp::new(with_neighbours());
        let (main, other) = (t.tenant("main").await, t.tenant("other").await);
        let ada = t.user(&main, "ada@example.com", Role::Admin).await;
        let max = t.user(&main, "max@example.com", Role::Member).await;
        let eve = t.user(&other, "eve@example.com", Role::Admin).await;
        let pat = t.credential(Kind::Pat, &main, &max.user, None, "agents.read", None).await;
        let scout = t.agent(&max, "scout", "agents.read").await;
        t.as_(&max, "GET", ALL, Null).await.refused(403, "scope_denied");
        t.as_(&scout, "GET", ALL, Null).await.refused(403, "person_required");

        let ids = async |query: &str| -> Vec<String> {
            let page = t.as_(&ada, "GET", &format!("{ALL}?{query}"), Null).await.is(200);
            page["items"].as_array().unwrap().iter().map(|item| item["id"].as_str().unwrap().to_owned()).collect()
        };
        assert_eq!(ids("").await.len(), 4, "two sessions, a PAT and an agent's token");
        assert_eq!(ids("kind=pat").await, [pat.credential.to_string()]);
        assert_eq!(ids("user=MAX@example.com").await.len(), 3);
        assert_eq!(ids(&format!("user={}&kind=agent_token", max.user)).await, [scout.credential.to_string()]);
        assert!(ids(&format!("user={}", eve.user)).await.is_empty());
        t.wait(61);
        ids("").await;
        assert_eq!(ids("unused_since=2026-01-02T03:05:00Z&kind=session").await, [max.credential.to_string()]);
        let item = t.as_(&ada, "GET", &format!("{ALL}?kind=agent_token"), Null).await.is(200)["items"][0].clone();
        assert_eq!(
            (&item["user_email"], &item["agent_name"], &item["agent_id"]),
            (&"max@example.com".into(), &"scout".into(), &scout.agent.as_ref().unwrap().as_str().into())
        );

        let key = t.credential(Kind::ApiKey, &main, &max.user, scout.agent.as_ref(), "agents.read", None).await;
        let item = t.as_(&ada, "GET", &format!("{ALL}?kind=api_key"), Null).await.is(200)["items"][0].clone();
        assert_eq!((&item["id"], &item["agent_name"]), (&key.credential.as_str().into(), &"scout".into()));

        // R6: refused on the next request.
        for actor in [&pat, &key, &scout] {
            t.as_(&ada, "DELETE", &format!("{ALL}/{}", actor.credential), Null).await.is(204);
            t.as_(actor, "GET", "/api/scopes/custom", Null).await.refused(401, "token_revoked");
            t.as_(&ada, "DELETE", &format!("{ALL}/{}", actor.credential), Null).await.is(204);
        }
        assert_eq!(t.number("SELECT count(*) FROM audit WHERE action = 'token.revoke'").await, 3);
        // R33: another tenant's is an absent one.
        for id in [eve.credential.as_str(), "tok_nothing"] {
            t.as_(&ada, "DELETE", &format!("{ALL}/{id}"), Null).await.refused(404, "token_not_found");
        }
        for (bad, slug) in [
            ("kind=x", "invalid_filter"),
            ("status=x", "invalid_filter"),
            ("sort=x", "invalid_filter"),
            ("unused_since=yesterday", "invalid_time"),
        ] {
            t.as_(&ada, "GET", &format!("{ALL}?{bad}"), Null).await.refused(400, slug);
        }
    }
}
