//! Enrolment codes: one-time codes that a runtime trades for the token of its agent. A code gives nothing by itself: when it is traded,
//! everything is decided as if its maker issued the token at that moment.

use common::{error::ApiError, event::EventKind, scope::Patterns, secret::OneTimeCode, time::Timestamp};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Value as Json, json};
use store::{
    agent::Agent,
    code::{self, Kind},
};

use crate::{
    change::Write,
    form::Nullable,
    issue::{Plan, Requested},
};

/// A code that was just made, as it is answered.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "EnrolmentCode")]
pub struct Made {
    /// The code: this once.
    pub code: String,
    /// Its end.
    pub expires_at: Timestamp,
    agent_id: String,
    agent_name: String,
    scope: Patterns,
    token_expires_at: Option<Timestamp>,
    /// What the caller should know.
    pub warnings: Vec<String>,
}

impl Made {
    /// For the audit trail.
    pub fn audited(&self) -> Json {
        json!({ "expires_at": self.expires_at, "scope": self.scope })
    }
}

/// The data of an event as a reader gets it that may not deploy the agent: without the code for its token.
pub fn without_code(kind: &str, mut data: Json) -> Json {
    if kind == EventKind::AgentDeploy.as_str()
        && let Some(members) = data.as_object_mut()
    {
        members.retain(|name, _| !name.starts_with("code"));
    }
    data
}

/// The member of a code's data that says that it was made by a deployment, which takes another scope than making a code.
pub const OF_DEPLOYMENT: &str = "of_deployment";

/// Makes a code for the agent, and ends those that it had. What the code would bring is refused here as it would be then.
pub async fn make(
    write: &Write<'_>,
    agent: &Agent,
    requested: &Requested,
    is_of_deployment: bool,
) -> Result<Made, ApiError> {
    let Plan { scope, expires_at, warnings, .. } = Plan::fresh(write, agent, requested.clone()).await?;
    let code = OneTimeCode::generate(write.app().chance());
    let mut data = json!({ "maker": write.caller.credential_id(), "scope": requested.scope });
    if let Some(members) = data.as_object_mut() {
        if let Some(Nullable(days)) = requested.sent.expires_in_days {
            members.insert("expires_in_days".to_owned(), json!(days));
        }
        if let Some(seconds) = requested.sent.expires_in {
            members.insert("expires_in".to_owned(), json!(seconds));
        }
        if is_of_deployment {
            members.insert(OF_DEPLOYMENT.to_owned(), json!(true));
        }
    }
    let tenant = write.caller.tenant_id();
    let new = code::New { code: &code, kind: Kind::Enrolment, tenant, user: None, agent: Some(&agent.id), data: &data };
    code::end_of_agent(&write.tx, Kind::Enrolment, &agent.id).await?;
    let ends = code::insert(&write.tx, &new, write.now()).await?;
    Ok(Made {
        code: code.reveal().to_owned(),
        expires_at: ends,
        agent_id: agent.id.to_string(),
        agent_name: agent.name.clone(),
        scope,
        token_expires_at: expires_at,
        warnings,
    })
}
