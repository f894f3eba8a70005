//! The tab of the secrets and of the probes that try them.

use askama::Template;
use common::{
    route,
    scope::{Scope, ScopeSet},
};
use futures_util::future::join;
use serde_json::Value as Json;
use service::response::Response;

use super::{Head, Heading, Tab, readable};
use crate::{
    api::{Members, Trouble},
    form::Form,
    page::{Shell, write_with},
    words::{self, Html},
};

#[derive(Template)]
#[template(path = "agent_secrets.html")]
struct SecretsPage {
    shell: Shell,
    head: Head,
    typed: Form,
    /// `None`: the visitor may not read them.
    secrets: Option<Vec<Json>>,
    probes: Option<Vec<Json>>,
}

impl SecretsPage {
    /// What keeps the agent from reading its secrets, as a sentence. `None`: nothing does, or it has no secrets.
    fn barrier(&self) -> Option<&'static str> {
        let agent = &self.head.agent;
        let carries = |words: &[&str]| ScopeSet::stored(&words.join(" ")).contains(Scope::AgentsSecretsRead);
        if self.secrets.as_ref().is_none_or(Vec::is_empty) || carries(&agent.words("approved")) {
            return None;
        }
        if !carries(&agent.words("scope")) {
            return Some(
                "It cannot read them: its scope lacks agents.secrets.read. Add the scope under Settings, then replace the token under \
                 Credentials.",
            );
        }
        // An approval for good counts too, and no route shows it with the agent.
        let lacks = agent.is("has_token") && !carries(&agent.at("token").words("scope"));
        lacks.then_some(
            "Its token does not carry agents.secrets.read. Unless somebody has approved the scope for good, replace the token under \
             Credentials.",
        )
    }

    fn result(&self, probe: &Json) -> Html {
        words::state(match probe.text("status") {
            "" => "not run",
            "ok" => "lets it in",
            "missing_secret" => "no secret",
            other => other,
        })
    }
}

/// The tab.
pub(super) async fn show(tab: &Tab<'_>, head: Heading<'_>) -> Result<Response, Trouble> {
    let Tab { api, name, typed, status, .. } = *tab;
    let asked = join(api.get(route::SECRETS_LIST, &[name], &[]), api.get(route::PROBES_LIST, &[name], &[]));
    let (head, (secrets, probes)) = join(head, asked).await;
    let ((shell, head), secrets, probes) = (head?, readable(secrets)?, readable(probes)?);
    write_with(&SecretsPage { shell, head, typed: typed.clone(), secrets, probes }, status)
}
