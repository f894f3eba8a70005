//! `POST /auth/introspect` (RFC 7662): a service of the company's asks what a credential that it was given may do now.
//!
//! 1. The form holds `token`; whatever else it holds is ignored (RFC 7662, section 2.1).
//! 2. What is not live now, is another tenant's, or belongs to a halted agent is `{"active": false}`, and nothing more.
//! 3. What is live is answered with its **effective** scope; `sub` is the person whose authority it carries, `act` the agent
//!    that acts with it (RFC 8693, section 4.1).

use axum::{http::StatusCode, response::Response};
use common::{
    caller::Caller,
    error::{ApiError, Code},
    form::Pairs,
    http::{App, json},
    secret::{Kind, Secret},
};
use serde::Serialize;

#[derive(Serialize)]
struct Inactive {
    active: bool,
}

#[derive(Serialize)]
struct Active<'a> {
    active: bool,
    scope: String,
    token_type: &'static str,
    sub: &'a str,
    username: &'a str,
    /// The agent that acts with the person's authority.
    #[serde(skip_serializing_if = "Option::is_none")]
    act: Option<Actor<'a>>,
    tenant: &'a str,
    /// Our own words: which kind of credential, and its record's id.
    kind: Kind,
    jti: &'a str,
    /// Seconds since 1970-01-01T00:00:00Z, as RFC 7662 has them.
    iat: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    exp: Option<i64>,
}

#[derive(Serialize)]
struct Actor<'a> {
    sub: &'a str,
    name: &'a str,
}

/// The handler.
pub(crate) async fn introspect(app: App, caller: Caller, Pairs(form): Pairs) -> Result<Response, ApiError> {
    let mut tokens = form.iter().filter(|(name, _)| name == "token");
    let (Some((_, token)), None) = (tokens.next(), tokens.next()) else {
        let detail = "The form must hold the parameter token, once.";
        return Err(Code::InvalidRequest.detail(detail).extra("error_description", detail));
    };
    let found = match Secret::parse(token.trim()) {
        Some(secret) => Caller::of(app.db(), secret, app.now()).await?,
        None => None,
    };
    let live = found.filter(|found| found.tenant_id() == caller.tenant_id() && found.is_live(app.now()));
    let Some(found) = live else { return json(StatusCode::OK, &Inactive { active: false }) };
    let scopes = found.scopes();
    let form = Active {
        active: true,
        scope: scopes.all_names().join(" "),
        token_type: "Bearer",
        sub: found.user_id().as_str(),
        username: found.email(),
        act: found.agent_id().zip(found.agent()).map(|(id, (name, _))| Actor { sub: id.as_str(), name }),
        tenant: found.tenant(),
        kind: found.credential_kind(),
        jti: found.credential_id().as_str(),
        iat: found.issued_at().millis().div_euclid(1000),
        exp: found.expires_at().map(|end| end.millis().div_euclid(1000)),
    };
    json(StatusCode::OK, &form)
}

#[cfg(test)]
mod tests {
    use axum::{body::Body, http::Request};
    use common::{
        scope::Role,
        testing::{Actor, Answer, TestApp},
    };
    use serde_json::{Value as Json, json};

    use super::*;
    use crate::with_neighbours;

    async fn ask(t: &TestApp, actor: &Actor, form: &str) -> Answer {
        let request = Request::builder()
            .method("POST")
            .uri("/auth/introspect")
            .header("authorization", format!("Bearer {}", actor.token))
            .header("content-type", "application/x-www-form-urlencoded");
        t.send(request.body(Body::from(form.to_owned())).unwrap()).await
    }

    /// What was approved for the agent is part of what its token may do, and ends.
    #[tokio::test]
    async fn an_approved_scope_is_told_while_it_counts() {
        let t = TestApp::new(with_neighbours());
        let tenant = t.tenant("main").await;
        let ada = t.user(&tenant, "ada@example.com", Role::Admin).await;
        let scout = t.agent(&ada, "scout", "agents.read").await;
        t.execute(&format!(
            "INSERT INTO access_requests (id, tenant_id, agent_id, scope, reason, hours, state, created_at, granted, ends_at)
             SELECT 'acc_1', tenant_id, id, 'ui.notify', 'r', 1, 'approved', 0, 'ui.notify', {} FROM agents",
            t.now().plus_seconds(60).millis()
        ))
        .await
        .unwrap();
        for expected in ["agents.read ui.notify", "agents.read"] {
            let told = ask(&t, &ada, &format!("token={}", scout.token)).await.is(200);
            assert_eq!(told["scope"], expected);
            t.wait(60);
        }
    }

    /// R43, and the effective scope: what the credential, its agent's ceiling and its owner's role leave.
    #[tokio::test]
    async fn a_live_token_is_told_with_its_effective_scope() {
        let t = TestApp::new(with_neighbours());
        let tenant = t.tenant("main").await;
        let ada = t.user(&tenant, "ada@example.com", Role::Admin).await;
        let max = t.user(&tenant, "max@example.com", Role::Member).await;
        let scout = t.agent(&max, "scout", "agents.read x.crm.* users.read").await;
        t.execute(&format!(
            "INSERT INTO custom_scopes VALUES ('{tenant}', 'x.crm.read', 'r', 0, 'u'), ('{tenant}', 'x.crm.write', 'w', 0, 'u'), ('{tenant}', 'x.mail', 'm', 0, 'u')"
        ))
        .await
        .unwrap();
        let told = ask(&t, &ada, &format!("token={}&token_type_hint=x&other=1", scout.token)).await.is(200);
        assert_eq!(
            told,
            json!({
                "active": true, "scope": "agents.read x.crm.read x.crm.write", "token_type": "Bearer", "sub": max.user,
                "username": "max@example.com", "act": { "sub": scout.agent, "name": "scout" }, "tenant": "main",
                "kind": "agent_token", "jti": scout.credential, "iat": 1_767_323_045,
            })
        );
        t.execute("UPDATE users SET role = 'viewer' WHERE email = 'max@example.com'").await.unwrap();
        let told = ask(&t, &ada, &format!("token={}", scout.token)).await.is(200);
        assert_eq!(told["scope"], "agents.read x.crm.read");
        let told = ask(&t, &ada, &format!("token={}", max.token)).await.is(200);
        assert_eq!((&told["act"], &told["exp"]), (&Json::Null, &json!(1_767_323_045 + 86_400)));
        for halted in ["state = 'paused'", "state = 'stopped'", "state = 'running', budget_cents = 1, spent_cents = 2"]
        {
            t.execute(&format!("UPDATE agents SET {halted}")).await.unwrap();
            assert_eq!(ask(&t, &ada, &format!("token={}", scout.token)).await.is(200), json!({ "active": false }));
        }
    }

    /// A key acts as its agent; what was approved for the agent is not the key's.
    #[tokio::test]
    async fn a_key_is_told_as_its_agents() {
        let t = TestApp::new(with_neighbours());
        let tenant = t.tenant("main").await;
        let ada = t.user(&tenant, "ada@example.com", Role::Admin).await;
        let scout = t.agent(&ada, "scout", "agents.read").await;
        let ends = Some(t.now().plus_seconds(60));
        let agent = scout.agent.as_ref();
        let key = t.credential(Kind::ApiKey, &tenant, &ada.user, agent, "agents.*", ends).await;
        t.execute(&format!(
            "INSERT INTO access_requests (id, tenant_id, agent_id, scope, reason, hours, state, created_at, granted, ends_at)
             SELECT 'acc_1', tenant_id, id, 'ui.notify', 'r', 1, 'approved', 0, 'ui.notify', {} FROM agents",
            t.now().plus_seconds(60).millis()
        ))
        .await
        .unwrap();
        assert_eq!(
            ask(&t, &ada, &format!("token={}", key.token)).await.is(200),
            json!({
                "active": true, "scope": "agents.read", "token_type": "Bearer", "sub": ada.user, "username": "ada@example.com",
                "act": { "sub": scout.agent, "name": "scout" }, "tenant": "main", "kind": "api_key", "jti": key.credential,
                "iat": 1_767_323_045, "exp": 1_767_323_105,
            })
        );
        t.execute("UPDATE agents SET state = 'paused'").await.unwrap();
        assert_eq!(ask(&t, &ada, &format!("token={}", key.token)).await.is(200), json!({ "active": false }));
    }

    #[tokio::test]
    async fn whatever_is_not_live_is_inactive_and_nothing_more() {
        let t = TestApp::new(with_neighbours());
        let (tenant, other) = (t.tenant("main").await, t.tenant("other").await);
        let ada = t.user(&tenant, "ada@example.com", Role::Admin).await;
        let eve = t.user(&other, "eve@example.com", Role::Admin).await;
        let pat = t.credential(Kind::Pat, &tenant, &ada.user, None, "*", Some(t.now().plus_seconds(10))).await;
        t.wait(10);
        let max = t.user(&tenant, "max@example.com", Role::Member).await;
        t.execute("UPDATE users SET deactivated_at = 1 WHERE email = 'max@example.com'").await.unwrap();
        for token in [eve.token.as_str(), &pat.token, &max.token, "nonsense", "", &format!("{}x", ada.token)] {
            assert_eq!(ask(&t, &ada, &format!("token={token}")).await.is(200), json!({ "active": false }), "{token}");
        }
        for form in ["", "other=1", "token=a&token=b"] {
            let refused = ask(&t, &ada, form).await.refused(400, "invalid_request");
            assert!(refused["error_description"].is_string());
        }
        let mia = t.user(&tenant, "mia@example.com", Role::Curator).await;
        ask(&t, &mia, "token=x").await.refused(403, "scope_denied");
    }
}
