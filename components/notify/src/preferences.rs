//! `/api/notifications/preferences`: the kinds of mail that a person gets. Mails about the security of one's own account are none of them:
//! nobody can turn them off.

use common::error::ApiError;
use http::StatusCode;
use schemars::JsonSchema;
use serde::Serialize;
use service::{
    app::App,
    caller::Caller,
    change::{Answer, Change},
    extract::Body,
    form,
    response::{Response, json},
};
use store::{audit, outbox::Kind, user};

/// Which mails a person gets.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "MailPreferences")]
pub(crate) struct Preferences {
    access_requests: bool,
    leaks: bool,
    expiring: bool,
    silent_agents: bool,
    new_sign_ins: bool,
}

impl Preferences {
    /// From the kinds that are turned off.
    fn without(off: &[Kind]) -> Self {
        let has = |kind| !off.contains(&kind);
        Self {
            access_requests: has(Kind::AccessRequest),
            leaks: has(Kind::Leak),
            expiring: has(Kind::Expiring),
            silent_agents: has(Kind::Silent),
            new_sign_ins: has(Kind::NewSignIn),
        }
    }

    /// The kinds that are turned off.
    fn off(self) -> Vec<Kind> {
        let all = [
            (self.access_requests, Kind::AccessRequest),
            (self.leaks, Kind::Leak),
            (self.expiring, Kind::Expiring),
            (self.silent_agents, Kind::Silent),
            (self.new_sign_ins, Kind::NewSignIn),
        ];
        all.into_iter().filter(|(is_on, _)| !is_on).map(|(_, kind)| kind).collect()
    }
}

/// `GET /api/notifications/preferences`.
pub(crate) async fn get(app: App, caller: Caller) -> Result<Response, ApiError> {
    json(StatusCode::OK, &Preferences::without(&user::mails_off(app.db(), caller.user_id()).await?))
}

form! {
    pub(crate) struct Patch {
        access_requests: Option<bool>,
        leaks: Option<bool>,
        expiring: Option<bool>,
        silent_agents: Option<bool>,
        new_sign_ins: Option<bool>,
    }
}

/// `PATCH /api/notifications/preferences`: changes what is sent. Mails of a kind that is turned off and that wait are not sent any more.
pub(crate) async fn patch(change: Change<Body<Patch>>) -> Result<Response, ApiError> {
    let Body(sent) = &change.input;
    let all = [sent.access_requests, sent.leaks, sent.expiring, sent.silent_agents, sent.new_sign_ins];
    if all.iter().all(Option::is_none) {
        return Err(ApiError::field(
            "",
            "send at least one of: access_requests, leaks, expiring, silent_agents, new_sign_ins",
        ));
    }
    change
        .run(async |write, Body(sent)| {
            let user = write.caller.user_id();
            let found = Preferences::without(&user::mails_off(&write.tx, user).await?);
            let changed = Preferences {
                access_requests: sent.access_requests.unwrap_or(found.access_requests),
                leaks: sent.leaks.unwrap_or(found.leaks),
                expiring: sent.expiring.unwrap_or(found.expiring),
                silent_agents: sent.silent_agents.unwrap_or(found.silent_agents),
                new_sign_ins: sent.new_sign_ins.unwrap_or(found.new_sign_ins),
            };
            let answer = Answer::ok(&changed)?;
            if changed == found {
                return Ok(answer.unchanged());
            }
            user::set_mails_off(&write.tx, user, &changed.off()).await?;
            let (before, after) = audit::changed(serde_json::json!(found), serde_json::json!(changed));
            Ok(answer.audited(user, before, after))
        })
        .await
}

#[cfg(test)]
mod tests {
    use common::role::Role;
    use serde_json::{Value::Null, json};
    use service::testing::TestApp;

    use crate::router;

    const PATH: &str = "/api/notifications/preferences";

    /// R124: each person chooses for themselves; what waits of a kind that is turned off goes with it, and the rest stays.
    #[tokio::test]
    async fn people_choose_their_mails() {
        let t = TestApp::new(router());
        let tenant = t.tenant("main").await;
        let ada = t.user(&tenant, "ada@example.com", Role::Admin).await;
        let max = t.user(&tenant, "max@example.com", Role::Viewer).await;
        let all = json!({ "access_requests": true, "leaks": true, "expiring": true, "silent_agents": true, "new_sign_ins": true });
        assert_eq!(t.as_(&max, "GET", PATH, Null).await.is(200), all);
        for (number, user) in [&ada, &max].into_iter().enumerate() {
            for kind in ["access_request", "silent", "password_changed"] {
                t.execute(&format!(
                    "INSERT INTO outbox (id, tenant_id, user_id, kind, recipient, data, due_at, created_at)
                     VALUES ('out_{number}{kind}', '{tenant}', '{}', '{kind}', 'a@example.com', '{{}}', 0, 0)",
                    user.user
                ))
                .await
                .unwrap();
            }
        }
        let some = json!({ "access_requests": false, "leaks": true, "expiring": true, "silent_agents": false, "new_sign_ins": true });
        let sent = json!({ "access_requests": false, "silent_agents": false });
        assert_eq!(t.as_(&max, "PATCH", PATH, sent.clone()).await.is(200), some);
        assert_eq!(t.as_(&max, "PATCH", PATH, sent).await.is(200), some, "once more");
        assert_eq!(t.as_(&max, "GET", PATH, Null).await.is(200), some);
        assert_eq!(t.as_(&ada, "GET", PATH, Null).await.is(200), all);
        let waits =
            "SELECT kind FROM outbox WHERE user_id = (SELECT id FROM users WHERE email_key = 'max@example.com')";
        assert_eq!(t.texts(waits).await, ["password_changed"]);
        assert_eq!(t.number("SELECT count(*) FROM outbox").await, 4);
        let told = t.texts("SELECT action || ' ' || before || ' ' || after FROM audit").await;
        let [before, after] = [true, false].map(|is| json!({ "access_requests": is, "silent_agents": is }));
        assert_eq!(told, [format!("user.choose_mail {before} {after}")]);
        assert_eq!(t.as_(&max, "PATCH", PATH, json!({ "silent_agents": true })).await.is(200)["silent_agents"], true);
    }

    /// R124: no body turns off what nobody can turn off.
    #[tokio::test]
    async fn wrong_choices_are_refused() {
        let t = TestApp::new(router());
        let ada = t.ada().await;
        let scout = t.agent(&ada, "scout", "*").await;
        for body in [
            json!({}),
            json!({ "security": false }),
            json!({ "password_changed": false }),
            json!({ "leaks": "no" }),
            json!({ "leaks": null, "expiring": 0 }),
        ] {
            t.as_(&ada, "PATCH", PATH, body).await.refused(422, "validation_error");
        }
        t.as_(&scout, "PATCH", PATH, json!({ "leaks": false })).await.refused(403, "person_required");
        t.as_(&scout, "GET", PATH, Null).await.refused(403, "person_required");
        assert_eq!(t.texts("SELECT mails_off FROM users").await, [" "]);
    }
}
