//! The operator's route for a database that was restored from a backup: credentials that were revoked since the backup live
//! again in it, and nobody knows which. So all that was issued before a moment can be ended at once.

use std::collections::BTreeMap;

use common::{
    error::ApiError,
    id::{ClosureId, TenantId},
    route::Route,
    text::moment,
    time::Timestamp,
};
use http::StatusCode;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Value::Null, json};
use service::{
    app::App,
    change,
    extract::Body,
    form,
    response::{self, Response},
};
use store::{audit::Event, credential, db::Purpose, device, epoch, oauth_client, oauth_grant, webhook};

use crate::bootstrap::check_secret;

/// The operator is no person of a tenant.
pub(crate) const OPERATOR: &str = "operator";

form! {
    pub(crate) struct Revoke {
        secret: String,
        issued_before: String,
    }
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "OperatorRevoked")]
pub(crate) struct Revoked {
    revoked: i64,
    issued_before: Timestamp,
    /// The closures, one of each tenant of which something has ended: its admins can read it.
    closures: Vec<ClosureId>,
}

/// `POST /operator/revoke`: ends every credential and every approval, of all tenants, that was made before `issued_before`. People sign in
/// again with their passwords; agents need new tokens.
pub(crate) async fn revoke(app: App, route: &'static Route, Body(body): Body<Revoke>) -> Result<Response, ApiError> {
    check_secret(&app, &body.secret).await?;
    let issued_before = moment("issued_before", &body.issued_before)?;
    let tx = app.db().begin(Purpose::Revoking).await?;
    let since = epoch::last_of_each(&tx).await?;
    let ended = credential::revoke_issued_before(&tx, issued_before, app.now()).await?;
    let mut ended: BTreeMap<String, (TenantId, i64)> =
        ended.into_iter().map(|(tenant, count)| (tenant.to_string(), (tenant, count))).collect();
    let mut others = webhook::revoke_before(&tx, issued_before, app.now()).await?;
    others.extend(oauth_client::end_secrets_before(&tx, issued_before, app.now()).await?);
    for tenant in others {
        ended.entry(tenant.to_string()).or_insert((tenant, 0)).1 += 1;
    }
    device::end_made_before(&tx, issued_before).await?;
    oauth_grant::end_made_before(&tx, issued_before, app.now()).await?;
    let mut closures = Vec::new();
    for (tenant, count) in ended.values() {
        let event = Event {
            action: route.audit.unwrap_or_default(),
            object: tenant.as_str(),
            before: Null,
            after: json!({ "revoked": count, "issued_before": issued_before }),
        };
        let since = since.iter().find(|(known, _)| known == tenant).map_or(0, |(_, last)| *last);
        let closure = change::audit_closing(&tx, &app.origin(tenant, None), (since, OPERATOR), event).await?;
        closures.extend(closure.map(|closure| closure.id));
    }
    tx.commit().await?;
    let revoked = ended.values().map(|(_, count)| count).sum();
    response::json(StatusCode::OK, &Revoked { revoked, issued_before, closures })
}

#[cfg(test)]
mod tests {
    use common::{
        role::Role,
        secret::{Digest, Kind},
    };
    use serde_json::Value as Json;
    use service::{settings::Settings, testing::TestApp};

    use super::*;
    use crate::router;

    fn app() -> TestApp {
        let settings = Settings { operator_secret: Some(Digest::of(b"operator")), ..Settings::default() };
        TestApp::with(router(), settings)
    }

    /// Ends what is from before a time, by the operator's secret, and gives the answer.
    async fn revoke_before(t: &TestApp, issued_before: Json) -> Json {
        t.nobody("POST", "/operator/revoke", json!({ "secret": "operator", "issued_before": issued_before }))
            .await
            .is(200)
    }

    /// R75: credentials that an old backup brought back end, and those that were issued later stay.
    #[tokio::test]
    async fn every_credential_issued_before_a_moment_is_revoked() {
        let t = app();
        let (main, other) = (t.tenant("main").await, t.tenant("other").await);
        let ada = t.user(&main, "ada@example.com", Role::Admin).await;
        let eve = t.user(&other, "eve@example.com", Role::Admin).await;
        let scout = t.agent(&ada, "scout", "*").await.agent.unwrap();
        for (id, minute) in [("key_old", 0), ("key_new", 60)] {
            t.execute(&format!(
                "INSERT INTO api_keys (id, tenant_id, agent_id, name, type, sealed, sealed_at, created_at, created_by)
                 VALUES ('{id}', '{main}', '{scout}', '{id}', 'github', x'00', {}, 0, '{}')",
                t.now().plus_seconds(minute).millis(),
                ada.user
            ))
            .await
            .unwrap();
        }
        t.credential(Kind::ApiKey, &main, &ada.user, Some(&scout), "*", None).await;
        t.wait(60);
        let later = t.credential(Kind::Session, &main, &ada.user, None, "*", None).await;
        let body = |secret: &str, time: &str| json!({ "secret": secret, "issued_before": time });
        t.nobody("POST", "/operator/revoke", body("wrong", "2026-01-02T03:05:00Z"))
            .await
            .refused(403, "wrong_operator_secret");
        t.nobody("POST", "/operator/revoke", body("operator", "now")).await.refused(400, "invalid_time");
        assert_eq!(t.number("SELECT count(*) FROM credentials WHERE revoked_at IS NOT NULL").await, 0);
        let answer = revoke_before(&t, json!("2026-01-02T03:05:00Z")).await;
        assert_eq!((&answer["revoked"], &answer["issued_before"]), (&json!(5), &json!("2026-01-02T03:05:00.000Z")));
        // R165: what has ended in each tenant is closed, and its admins can read that.
        let closures = t.texts("SELECT id FROM closures ORDER BY id").await;
        assert_eq!(answer["closures"].as_array().unwrap().len(), 2);
        assert!(closures.iter().all(|id| answer["closures"].as_array().unwrap().contains(&json!(id))));
        let told = t.texts("SELECT tenant_id || ended FROM closures").await.concat();
        assert!(told.contains(&format!("{main}{{\"agents\":0,\"people\":0,\"tokens\":1,\"keys\":2,")), "{told}");
        let named =
            "SELECT count(*) FROM audit a JOIN closures c ON c.audit_id = a.id AND a.after ->> '$.closure.id' = c.id";
        assert_eq!(t.number(named).await, 2);
        let live = t.texts("SELECT id FROM credentials WHERE revoked_at IS NULL").await;
        assert_eq!(live, [later.credential.to_string()]);
        assert_eq!(t.texts("SELECT id FROM api_keys WHERE sealed IS NOT NULL").await, ["key_new"]);
        let set = format!("/api/users/{}/set-password", ada.user);
        t.as_(&eve, "POST", &set, json!({ "password": "x" })).await.refused(401, "token_revoked");
        assert_eq!(t.number("SELECT count(*) FROM audit WHERE action = 'operator.revoke'").await, 2);
    }

    /// R624: approvals that were revoked or spent since the backup end too; what was decided later, or is not decided, stays.
    #[tokio::test]
    async fn approvals_end_unless_they_were_decided_later() {
        let t = app();
        let ada = t.ada().await;
        let scout = t.agent(&ada, "scout", "*").await.agent.unwrap();
        t.execute("DELETE FROM credentials").await.unwrap();
        let before = t.now().plus_seconds(60);
        for (id, minute, once) in [("old", 0, "NULL"), ("once", 0, "'agents.update'"), ("new", 60, "NULL")] {
            t.execute(&format!(
                "INSERT INTO access_requests (id, tenant_id, agent_id, scope, reason, hours, state, granted, once, for_path, created_at, decided_at, ends_at)
                 VALUES ('{id}', '{}', '{scout}', '{id}', 'a', 8, 'approved', '', {once}, '/', 0, {}, {})",
                ada.tenant,
                t.now().plus_seconds(minute).millis(),
                t.now().plus_seconds(7200).millis(),
            ))
            .await
            .unwrap();
        }
        t.execute(&format!(
            "INSERT INTO access_requests (id, tenant_id, agent_id, scope, reason, hours, created_at)
             VALUES ('open', '{}', '{scout}', 'open', 'a', 8, 0)",
            ada.tenant
        ))
        .await
        .unwrap();
        t.wait(120);
        for ended in [2, 0] {
            assert_eq!(revoke_before(&t, json!(before)).await["revoked"], ended);
        }
        let states = t.texts("SELECT id || ' ' || state FROM access_requests ORDER BY id").await;
        assert_eq!(states, ["new approved", "old revoked", "once revoked", "open open"]);
        let told = t.number("SELECT count(*) FROM epochs WHERE kind = 'agent' AND change = 'narrowed'").await;
        assert_eq!(told, 2);
    }

    /// R548: the secret of an OAuth client that was ended or replaced since the backup ends too; one that was made later stays.
    #[tokio::test]
    async fn secrets_of_clients_end_unless_they_were_made_later() {
        let t = app();
        let ada = t.ada().await;
        t.execute("DELETE FROM credentials").await.unwrap();
        let before = t.now().plus_seconds(60);
        for (id, secret, minute) in
            [("old", "x'00'", 0), ("new", "x'01'", 60), ("public", "NULL", 0), ("rotated", "x'02'", 0)]
        {
            t.execute(&format!(
                "INSERT INTO oauth_clients (id, tenant_id, name, redirect_uris, secret, created_at, updated_at, created_by)
                 VALUES ('{id}', '{}', 'a', '[]', CAST({secret} || zeroblob(31) AS BLOB), {at}, {at}, '{}')",
                ada.tenant,
                ada.user,
                at = t.now().plus_seconds(minute).millis(),
            ))
            .await
            .unwrap();
        }
        t.execute(&format!(
            "INSERT INTO audit (id, at, tenant_id, action, object_id, outcome)
             VALUES ('aud_1', {}, '{}', 'oauth.client.rotate', 'rotated', 'done')",
            before.millis(),
            ada.tenant
        ))
        .await
        .unwrap();
        t.wait(120);
        for ended in [1, 0] {
            assert_eq!(revoke_before(&t, json!(before)).await["revoked"], ended);
        }
        assert_eq!(t.texts("SELECT id FROM oauth_clients WHERE secret_ended_at IS NOT NULL").await, ["old"]);
        let of_client = "SELECT count(*) FROM audit WHERE action = 'operator.revoke' AND object_id LIKE 'ten_%'";
        assert_eq!(t.number(of_client).await, 1);
    }

    /// R12, R117: a tenant that has nothing but webhooks made before the moment gets its row in the trail too.
    #[tokio::test]
    async fn webhooks_that_end_are_in_the_trail() {
        let t = app();
        let ada = t.ada().await;
        t.execute("DELETE FROM credentials").await.unwrap();
        t.execute(&format!(
            "INSERT INTO webhooks (id, tenant_id, user_id, name, url, takes_notifications, sealed, sealed_at, created_at, updated_at)
             VALUES ('whk_a', '{}', '{}', 'a', 'https://a.example', 0, x'00', 0, 0, 0)",
            ada.tenant, ada.user
        ))
        .await
        .unwrap();
        assert_eq!(revoke_before(&t, json!("2026-01-02T03:05:00Z")).await["revoked"], 1);
        let rows = t
            .texts("SELECT object_id || ' ' || (after ->> 'revoked') FROM audit WHERE action = 'operator.revoke'")
            .await;
        assert_eq!(rows, [format!("{} 1", ada.tenant)]);
        assert_eq!(t.texts("SELECT why FROM webhooks").await, ["revoked"]);
    }
}
